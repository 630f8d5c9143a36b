/* fleet.c
 *
 * A pod has one random stream, seeded by (seed, index) and used in a fixed order, which is what
 * makes it repeatable. Labels are laid out once, in the order in which values are filled in.
 */
#include "fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

enum {
    MODELS_OF_POD = 2,
    ENDPOINTS_OF_POD = 3,
    ROUTES = MODELS_OF_POD * ENDPOINTS_OF_POD,
    DURATION_BUCKETS = 14,
    TTFT_BUCKETS = 12,
    STATUSES = 3,
    TOKEN_TYPES = 3,
    PROCESS_SERIES = 16,
    /* buckets, _sum, _count of two histograms; requests, tokens, cost, active, tokens a second */
    ROUTE_SERIES = DURATION_BUCKETS + TTFT_BUCKETS + 4 + STATUSES + TOKEN_TYPES + 3,
    MAX_LABELS = 9,
    STEPS_A_DAY = 24 * 3600 * 1000 / FLEET_STEP_MS,
    MAX_LATE_MS = 8,
};
_Static_assert(ROUTES *ROUTE_SERIES + PROCESS_SERIES == POD_SERIES, "the table in fleet.h adds up");

struct model {
    const char *name;
    double latency_s, tokens_in, tokens_out, price_in, price_out; /* prices: dollars per million */
};

static const struct model models[] = {
    { "gpt-4o", 2.2, 1200, 350, 2.50, 10.00 },        { "gpt-4o-mini", 0.9, 800, 250, 0.15, 0.60 },
    { "claude-sonnet", 2.8, 2000, 500, 3.00, 15.00 }, { "claude-haiku", 0.8, 900, 280, 0.80, 4.00 },
    { "llama-3-70b", 4.5, 900, 300, 0.60, 0.80 },     { "llama-3-8b", 0.6, 700, 220, 0.05, 0.08 },
    { "mistral-large", 3.1, 1100, 380, 2.00, 6.00 },  { "mixtral-8x7b", 1.4, 950, 330, 0.24, 0.24 },
    { "qwen-72b", 3.6, 1300, 410, 0.90, 0.90 },       { "embed-large", 0.1, 400, 1, 0.13, 0.00 },
};
static const char *const services[] = { "chat",      "search",  "support", "summaries",
                                        "translate", "coding",  "billing", "moderation",
                                        "reports",   "catalog", "mail",    "onboarding" };
static const char *const namespaces[] = { "production", "staging", "research" };
static const char *const endpoints[] = { "/v1/chat/completions", "/v1/completions",
                                         "/v1/embeddings",       "/v1/responses",
                                         "/v1/moderations",      "/v1/batches" };
static const char *const statuses[] = { "success", "error", "rate_limited" };
static const char *const token_types[] = { "input", "output", "cached" };
static const double duration_le[] = {
    0.05, 0.1, 0.25, 0.5, 1, 2, 4, 6, 8, 12, 20, 30, 60, INFINITY
};
static const double ttft_le[] = { 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2, 5, INFINITY };
_Static_assert(ARRAY_LEN(duration_le) == DURATION_BUCKETS && ARRAY_LEN(ttft_le) == TTFT_BUCKETS
                   && ARRAY_LEN(statuses) == STATUSES && ARRAY_LEN(token_types) == TOKEN_TYPES,
               "the enum counts these");

static const char *const process_names[PROCESS_SERIES] = {
    "up",
    "llm_build_info",
    "process_start_time_seconds",
    "process_max_fds",
    "process_open_fds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "llm_queue_depth",
    "llm_queue_limit",
    "llm_workers",
    "llm_cache_hit_ratio",
    "gpu_utilization_ratio",
    "gpu_memory_used_bytes",
    "gpu_power_watts",
    "gpu_temperature_celsius",
};

/* What one (model, endpoint) of a pod has counted. */
struct route {
    const struct model *model;
    const char *endpoint;
    double requests_a_step;                                  /* at noon */
    uint64_t duration[DURATION_BUCKETS], ttft[TTFT_BUCKETS]; /* each request once: not cumulated */
    double duration_sum, ttft_sum, cost, tokens_a_second;
    uint64_t status[STATUSES], tokens[TOKEN_TYPES], active;
};

struct pod {
    struct fleet_options options;
    uint64_t rng;
    uint32_t step, restart_step; /* restart_step: n_steps when it never does */
    int64_t phase_ms;
    struct route routes[ROUTES];
    uint64_t restarts, fds, queue, memory_pages, temperature;
    double cpu_s, gpu_ratio;
    struct buf labels;
    size_t ends[POD_SERIES]; /* of the series' labels in labels */
    uint32_t n_ends;
};

/* ---- chance ---- */

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t random_u64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In (0, 1). */
static double uniform(struct pod *p)
{
    return ((double)(random_u64(&p->rng) >> 12) + 0.5) * 0x1p-52;
}

static uint32_t below(struct pod *p, uint32_t n)
{
    return (uint32_t)(random_u64(&p->rng) % n);
}

/* Box and Muller, 1958; the second number is not kept. */
static double normal(struct pod *p)
{
    double radius = sqrt(-2 * log(uniform(p)));

    return radius * cos(2 * M_PI * uniform(p));
}

static double log_normal(struct pod *p, double median, double sigma)
{
    return median * exp(sigma * normal(p));
}

/* Knuth's method for small means, the normal approximation for large ones. */
static uint32_t poisson(struct pod *p, double mean)
{
    uint32_t n = 0;

    if (mean > 30) {
        double v = mean + sqrt(mean) * normal(p);

        return v > 0 ? (uint32_t)lround(v) : 0;
    }
    for (double left = exp(-mean), product = uniform(p); product > left; product *= uniform(p))
        n++;
    return n;
}

/* A step of -1, 0 or 1 that stays in min..max; two times in three it stands still. */
static uint64_t wander(struct pod *p, uint64_t v, uint64_t min, uint64_t max)
{
    uint32_t way = below(p, 6);

    if (way == 0 && v < max)
        return v + 1;
    return way == 1 && v > min ? v - 1 : v;
}

/* ---- labels ---- */

struct tag {
    const char *name, *value;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tag *)a)->name, ((const struct tag *)b)->name);
}

static void add_field(struct buf *b, unsigned number, const char *text)
{
    size_t n = strlen(text);

    ASSERT(n < 0x80); /* its length is one byte */
    buf_u8(b, (uint8_t)(number << 3 | 2));
    buf_u8(b, (uint8_t)n);
    buf_add(b, text, n);
}

/* The labels of the next series: those of the pod, and up to three more. A NULL name ends them. */
static void add_series(struct pod *p, const struct tag *of_pod, const char *name,
                       const struct tag *more, size_t n_more)
{
    struct tag tags[MAX_LABELS] = { { "__name__", name } };
    size_t n = 1;

    for (; of_pod->name; of_pod++)
        tags[n++] = *of_pod;
    for (size_t i = 0; i < n_more && more[i].name; i++)
        tags[n++] = more[i];
    ASSERT(n <= MAX_LABELS && p->n_ends < POD_SERIES);
    qsort(tags, n, sizeof *tags, by_name);
    for (size_t i = 0; i < n; i++) {
        size_t size = 4 + strlen(tags[i].name) + strlen(tags[i].value);

        ASSERT(size < 0x80);
        buf_u8(&p->labels, 1 << 3 | 2);
        buf_u8(&p->labels, (uint8_t)size);
        add_field(&p->labels, 1, tags[i].name);
        add_field(&p->labels, 2, tags[i].value);
    }
    p->ends[p->n_ends++] = p->labels.len;
}

/* A series of a route; own may be no label at all. */
static void add_family(struct pod *p, const struct tag *of_pod, const struct route *r,
                       const char *name, struct tag own)
{
    struct tag more[] = { { "model", r->model->name }, { "endpoint", r->endpoint }, own };

    add_series(p, of_pod, name, more, ARRAY_LEN(more));
}

static void add_histogram(struct pod *p, const struct tag *of_pod, const struct route *r,
                          const char *base, const double *le, size_t n_le)
{
    char name[64], bound[16];

    snprintf(name, sizeof name, "%s_bucket", base);
    for (size_t i = 0; i < n_le; i++) {
        snprintf(bound, sizeof bound, isinf(le[i]) ? "+Inf" : "%g", le[i]);
        add_family(p, of_pod, r, name, (struct tag){ "le", bound });
    }
    snprintf(name, sizeof name, "%s_sum", base);
    add_family(p, of_pod, r, name, (struct tag){ 0 });
    snprintf(name, sizeof name, "%s_count", base);
    add_family(p, of_pod, r, name, (struct tag){ 0 });
}

static void add_route(struct pod *p, const struct tag *of_pod, const struct route *r)
{
    add_histogram(p, of_pod, r, "llm_request_duration_seconds", duration_le, DURATION_BUCKETS);
    add_histogram(p, of_pod, r, "llm_time_to_first_token_seconds", ttft_le, TTFT_BUCKETS);
    for (size_t i = 0; i < STATUSES; i++)
        add_family(p, of_pod, r, "llm_requests_total", (struct tag){ "status", statuses[i] });
    for (size_t i = 0; i < TOKEN_TYPES; i++)
        add_family(p, of_pod, r, "llm_tokens_total", (struct tag){ "type", token_types[i] });
    add_family(p, of_pod, r, "llm_cost_dollars_total", (struct tag){ 0 });
    add_family(p, of_pod, r, "llm_active_requests", (struct tag){ 0 });
    add_family(p, of_pod, r, "llm_output_tokens_per_second", (struct tag){ 0 });
}

static void add_labels(struct pod *p, uint32_t index)
{
    const char *service = services[index % ARRAY_LEN(services)];
    char pod[64], instance[64], version[32];
    const struct tag of_pod[] = {
        { "instance", instance },
        { "job", "llm-gateway" },
        { "namespace", namespaces[index / ARRAY_LEN(services) % ARRAY_LEN(namespaces)] },
        { "pod", pod },
        { "service", service },
        { 0 },
    };
    uint64_t name_rng = p->options.seed ^ (uint64_t)index << 32;

    snprintf(pod, sizeof pod, "llm-%s-%08x-%05u", service, (unsigned)(random_u64(&name_rng) >> 32),
             (unsigned)index);
    snprintf(instance, sizeof instance, "10.%u.%u.%u:9100", (unsigned)(16 + index / 62500),
             (unsigned)(index / 250 % 250), (unsigned)(index % 250 + 1));
    snprintf(version, sizeof version, "2.%u.%u", (unsigned)(index % 3), (unsigned)(index % 7));
    for (size_t i = 0; i < ROUTES; i++)
        add_route(p, of_pod, &p->routes[i]);
    for (size_t i = 0; i < PROCESS_SERIES; i++) {
        const struct tag own = { "version", version };

        add_series(p, of_pod, process_names[i], &own, i == 1); /* llm_build_info alone has one */
    }
    ASSERT(p->n_ends == POD_SERIES);
}

/* ---- a pod's life ---- */

struct pod *pod_new(const struct fleet_options *o, uint32_t index)
{
    struct pod *p = calloc(1, sizeof *p);
    uint32_t first_model, first_endpoint;

    if (!p)
        return NULL;
    p->options = *o;
    p->rng = o->seed * 0xd1342543de82ef95u + index;
    p->phase_ms = below(p, FLEET_STEP_MS - 2 * MAX_LATE_MS);
    p->restart_step = below(p, 20) == 0 ? below(p, o->n_steps) : o->n_steps;
    first_model = below(p, ARRAY_LEN(models));
    first_endpoint = below(p, ARRAY_LEN(endpoints));
    for (uint32_t i = 0; i < ROUTES; i++) {
        struct route *r = &p->routes[i];

        r->model = &models[(first_model + 3 * (i / ENDPOINTS_OF_POD)) % ARRAY_LEN(models)];
        r->endpoint = endpoints[(first_endpoint + i % ENDPOINTS_OF_POD) % ARRAY_LEN(endpoints)];
        r->requests_a_step = log_normal(p, 0.7, 1.7);
    }
    p->fds = 40;
    p->memory_pages = 300000;
    p->temperature = 55;
    add_labels(p, index);
    if (p->labels.failed) {
        pod_free(p);
        return NULL;
    }
    return p;
}

void pod_free(struct pod *p)
{
    if (!p)
        return;
    buf_free(&p->labels);
    free(p);
}

struct bytes pod_labels(const struct pod *p, uint32_t i)
{
    size_t start = i ? p->ends[i - 1] : 0;

    return (struct bytes){ p->labels.ptr + start, p->ends[i] - start };
}

static size_t bucket_of(const double *le, double v)
{
    size_t i = 0;

    while (v > le[i]) /* ends at +Inf */
        i++;
    return i;
}

static void serve_one(struct pod *p, struct route *r, double *out_tokens, double *out_s)
{
    const struct model *m = r->model;
    double duration_s = log_normal(p, m->latency_s, 0.6);
    double ttft_s = duration_s * (0.05 + 0.2 * uniform(p));
    double roll = uniform(p);
    uint64_t in = (uint64_t)log_normal(p, m->tokens_in, 0.5);
    uint64_t out = (uint64_t)log_normal(p, m->tokens_out, 0.7);

    r->duration[bucket_of(duration_le, duration_s)]++;
    r->ttft[bucket_of(ttft_le, ttft_s)]++;
    r->duration_sum += duration_s;
    r->ttft_sum += ttft_s;
    if (roll < 0.03) {
        r->status[roll < 0.02 ? 1 : 2]++;
        return;
    }
    r->status[0]++;
    r->tokens[0] += in;
    r->tokens[1] += out;
    r->tokens[2] += in / 4;
    r->cost += ((double)in * m->price_in + (double)out * m->price_out) / 1e6;
    *out_tokens += (double)out;
    *out_s += duration_s;
}

static void serve(struct pod *p, struct route *r, double daily)
{
    uint32_t n = poisson(p, r->requests_a_step * daily);
    double out_tokens = 0, out_s = 0;

    for (uint32_t i = 0; i < n; i++)
        serve_one(p, r, &out_tokens, &out_s);
    if (out_s > 0)
        r->tokens_a_second = out_tokens / out_s;
    r->active = wander(p, r->active, 0, 1 + (uint64_t)(r->requests_a_step * 2));
    p->cpu_s += round(n * 1.3 + below(p, 4)) / 100;
}

static void restart(struct pod *p)
{
    for (size_t i = 0; i < ROUTES; i++)
        p->routes[i] = (struct route){ .model = p->routes[i].model,
                                       .endpoint = p->routes[i].endpoint,
                                       .requests_a_step = p->routes[i].requests_a_step };
    p->cpu_s = 0;
    p->restarts++;
}

static double *fill_histogram(double *v, const uint64_t *counts, size_t n, double sum)
{
    uint64_t below_or_in = 0;

    for (size_t i = 0; i < n; i++)
        *v++ = (double)(below_or_in += counts[i]);
    *v++ = sum;
    *v++ = (double)below_or_in;
    return v;
}

static double *fill_route(double *v, const struct route *r)
{
    v = fill_histogram(v, r->duration, DURATION_BUCKETS, r->duration_sum);
    v = fill_histogram(v, r->ttft, TTFT_BUCKETS, r->ttft_sum);
    for (size_t i = 0; i < STATUSES; i++)
        *v++ = (double)r->status[i];
    for (size_t i = 0; i < TOKEN_TYPES; i++)
        *v++ = (double)r->tokens[i];
    *v++ = r->cost;
    *v++ = (double)r->active;
    *v++ = r->tokens_a_second;
    return v;
}

static void fill_process(const struct pod *p, double *v)
{
    const double values[PROCESS_SERIES] = {
        1,
        1,
        (double)p->options.start_ms / 1000 + (p->restarts ? p->restart_step * 15.0 : 0) - 3600,
        1048576,
        (double)p->fds,
        p->cpu_s,
        (double)p->memory_pages * 4096,
        9.5e9,
        (double)p->queue,
        256,
        8,
        0.25 + (double)(p->step / 40 % 8) / 100,
        p->gpu_ratio,
        6.8e10,
        70 + 250 * p->gpu_ratio,
        (double)p->temperature,
    };

    memcpy(v, values, sizeof values);
}

int64_t pod_scrape(struct pod *p, double values[POD_SERIES])
{
    int64_t t_ms = p->options.start_ms + p->phase_ms + (int64_t)p->step * FLEET_STEP_MS;
    double of_day = (double)(t_ms / FLEET_STEP_MS % STEPS_A_DAY) / STEPS_A_DAY;
    double daily = 1 - 0.7 * cos(2 * M_PI * (of_day - 0.1)); /* most at half past two */
    double *v = values;

    if (below(p, 5) == 0)
        t_ms += 1 + below(p, MAX_LATE_MS);
    if (p->step == p->restart_step)
        restart(p);
    for (size_t i = 0; i < ROUTES; i++)
        serve(p, &p->routes[i], daily);
    p->fds = wander(p, p->fds, 20, 90);
    p->queue = wander(p, p->queue, 0, 12);
    p->memory_pages = wander(p, p->memory_pages, 250000, 350000);
    p->temperature = wander(p, p->temperature, 45, 80);
    p->gpu_ratio = 0.4 + 0.1 * daily + 0.05 * uniform(p);
    for (size_t i = 0; i < ROUTES; i++)
        v = fill_route(v, &p->routes[i]);
    fill_process(p, v);
    p->step++;
    return t_ms;
}
