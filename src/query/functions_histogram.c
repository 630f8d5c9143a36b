/* functions_histogram.c
 *
 * histogram_quantile, histogram_quantiles and histogram_fraction over classic histograms: series
 * that agree in all labels but `le` are the cumulative buckets of one. Which buckets there are may
 * change from step to step. Native histograms would take part here too; a float without a proper
 * `le` gets a warning.
 *
 * Counts that decrease from bucket to bucket are repaired; one info for each metric name tells of
 * all series and steps where that was needed.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/vec.h"
#include "query/aggregate.h"
#include "query/eval.h"
#include "query/functions_impl.h"
#include "query/grouping.h"
#include "query/quantile.h"
#include "query/stepset.h"

#include "base/banned.h"

static const struct str le_name = { "le", 2 }, metric_name = { "__name__", 8 };

/* A bucket's series; those of one histogram are linked. */
struct bucket_series {
    double le;
    const double *v;
    uint32_t next; /* TABLE_NONE ends */
};

struct classic {
    uint32_t first, last;
    size_t n;
};

/* The repairs of all histograms of one metric. */
struct repairs {
    struct bucket_repair total;
    size_t n;
    int64_t first_ms, last_ms;
};

struct histograms {
    struct query *q;
    uint32_t pos; /* of the vector argument */
    struct grouping by;
    struct classic *items; /* by number in by */
    size_t cap;
    struct bucket_series *series;
    size_t n_series, series_cap;
    size_t most_buckets;
    struct grouping by_name;
    struct repairs *repairs; /* by number in by_name */
    size_t repairs_cap;
    struct bucket *buckets; /* scratch: most_buckets */
    double *out;            /* scratch: one column */
    uint64_t held;
    sink *to;
    void *ctx;
};

/* ` for metric name "N"`, or nothing for an unnamed one. */
static void print_for_metric(struct buf *b, struct str name)
{
    if (name.len == 0)
        return;
    buf_text(b, " for metric name ");
    print_quoted(b, name);
}

static void warn_about_le(const struct histograms *h, struct labels ls)
{
    struct buf text = { 0 };

    buf_text(&text, "bucket label \"le\" is missing or has a malformed value of ");
    print_quoted(&text, labels_get(ls, le_name));
    print_for_metric(&text, labels_get(ls, METRIC_NAME));
    annotate(h->q, ANNOTATION_WARNING, h->pos, "%.*s", STR_ARG(buf_as_str(&text)));
    buf_free(&text);
}

static enum errc histogram_of(struct histograms *h, struct labels ls, struct classic **out,
                              struct err *err)
{
    size_t n = h->by.n;
    uint32_t id;
    enum errc rc = grouping_add(&h->by, ls, &id, err);

    if (rc != OK)
        return rc;
    if (h->by.n > n) {
        if (!vec_reserve(&h->items, &h->cap, n + 1, sizeof *h->items))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        h->items[n] = (struct classic){ TABLE_NONE, TABLE_NONE, 0 };
    }
    *out = &h->items[id];
    return OK;
}

static double *copy_values(const struct histograms *h, const double *v)
{
    double *copy = ARENA_NEW(h->q->arena, double, h->q->steps.n);

    if (copy)
        memcpy(copy, v, h->q->steps.n * sizeof *v);
    return copy;
}

static enum errc keep_bucket(void *ctx, struct fseries *s, struct err *err)
{
    struct histograms *h = ctx;
    struct classic *histogram;
    struct bucket_series bucket = { .next = TABLE_NONE };
    bool out_of_range;
    enum errc rc;

    if (!number_parse(labels_get(s->labels, le_name), true, &bucket.le, &out_of_range)
        || out_of_range) {
        warn_about_le(h, s->labels);
        return OK;
    }
    if ((rc = histogram_of(h, s->labels, &histogram, err)) != OK
        || (rc = query_hold(h->q, h->q->steps.n, err)) != OK)
        return rc;
    h->held += h->q->steps.n;
    if (!(bucket.v = copy_values(h, s->v)))
        return eval_arena_full(h->q, err);
    if (!vec_reserve(&h->series, &h->series_cap, h->n_series + 1, sizeof *h->series))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    h->series[h->n_series] = bucket;
    if (histogram->n++ == 0)
        histogram->first = (uint32_t)h->n_series;
    else
        h->series[histogram->last].next = (uint32_t)h->n_series;
    histogram->last = (uint32_t)h->n_series++;
    if (histogram->n > h->most_buckets)
        h->most_buckets = histogram->n;
    return OK;
}

static enum errc histograms_load(struct histograms *h, const struct node *vector, struct err *err)
{
    enum errc rc;

    h->pos = vector->pos;
    h->by = (struct grouping){ .q = h->q, .choice = { .names = &le_name, .n = 1 } };
    h->by_name =
        (struct grouping){ .q = h->q, .choice = { .names = &metric_name, .n = 1, .keep = true } };
    if ((rc = eval_each(h->q, vector, keep_bucket, h, err)) != OK)
        return rc;
    if (!(h->buckets = ARENA_NEW(h->q->arena, struct bucket, h->most_buckets)))
        return eval_arena_full(h->q, err);
    return values_new(h->q, &h->out, err);
}

static void histograms_free(struct histograms *h)
{
    query_release(h->q, h->held);
    grouping_free(&h->by);
    grouping_free(&h->by_name);
    free(h->items);
    free(h->series);
    free(h->repairs);
}

/* The buckets of a histogram at a step, in h->buckets. */
static size_t buckets_at(struct histograms *h, size_t histogram, size_t step)
{
    size_t n = 0;

    for (uint32_t i = h->items[histogram].first; i != TABLE_NONE; i = h->series[i].next)
        if (!is_absent(h->series[i].v[step]))
            h->buckets[n++] = (struct bucket){ h->series[i].le, h->series[i].v[step] };
    return n;
}

static enum errc emit(const struct histograms *h, struct labels ls, struct err *err)
{
    struct fseries s = { .labels = ls, .drop_name = true, .v = h->out };

    for (size_t i = 0; i < h->q->steps.n; i++)
        if (!is_absent(h->out[i]))
            return h->to(h->ctx, &s, err);
    return OK;
}

/* ---- the infos about repairs ---- */

static enum errc note_repair(struct histograms *h, size_t histogram, size_t step,
                             const struct bucket_repair *repair, struct err *err)
{
    size_t n = h->by_name.n;
    int64_t t_ms = step_time(&h->q->steps, step);
    struct repairs *r;
    uint32_t id;
    enum errc rc = grouping_add(&h->by_name, h->by.groups[histogram].labels, &id, err);

    if (rc != OK)
        return rc;
    if (h->by_name.n > n) {
        if (!vec_reserve(&h->repairs, &h->repairs_cap, n + 1, sizeof *h->repairs))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        h->repairs[n] = (struct repairs){ *repair, 0, t_ms, t_ms };
    }
    r = &h->repairs[id];
    r->total.min_le = fmin(r->total.min_le, repair->min_le);
    r->total.max_le = fmax(r->total.max_le, repair->max_le);
    r->total.max_difference = fmax(r->total.max_difference, repair->max_difference);
    r->first_ms = t_ms < r->first_ms ? t_ms : r->first_ms;
    r->last_ms = t_ms > r->last_ms ? t_ms : r->last_ms;
    r->n++;
    return OK;
}

/* RFC 3339 in whole seconds, UTC. */
static void print_time(struct buf *b, int64_t t_ms)
{
    time_t seconds = (time_t)(t_ms / 1000);
    struct tm t;

    if (gmtime_r(&seconds, &t))
        buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                   t.tm_hour, t.tm_min, t.tm_sec);
}

static void annotate_repairs(const struct histograms *h)
{
    for (size_t i = 0; i < h->by_name.n; i++) {
        const struct repairs *r = &h->repairs[i];
        struct buf text = { 0 };

        buf_text(&text, "input to histogram_quantile needed to be fixed for monotonicity (see "
                        "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                        "#histogram_quantile)");
        print_for_metric(&text, labels_get(h->by_name.groups[i].labels, METRIC_NAME));
        buf_text(&text, ", from buckets ");
        number_print(&text, r->total.min_le, NUMBER_G);
        buf_text(&text, " to ");
        number_print(&text, r->total.max_le, NUMBER_G);
        buf_printf(&text, ", with a max diff of %.2g, over %zu samples from ",
                   r->total.max_difference, r->n);
        print_time(&text, r->first_ms);
        buf_text(&text, " to ");
        print_time(&text, r->last_ms);
        annotate(h->q, ANNOTATION_INFO, h->pos, "%.*s", STR_ARG(buf_as_str(&text)));
        buf_free(&text);
    }
}

/* ---- quantiles ---- */

static void warn_about_quantiles(struct query *q, const double *quantile, uint32_t pos)
{
    double last = 0;

    for (size_t i = 0; i < q->steps.n; i++) {
        if (quantile[i] >= 0 && quantile[i] <= 1)
            continue;
        if (i == 0 || f64_bits(quantile[i]) != f64_bits(last))
            annotate_quantile(q, quantile[i], pos);
        last = quantile[i];
    }
}

/* A quantile of one histogram at each step, into h->out. Repairs are noted when repaired, a set of
 * steps, does not have the step yet. */
static enum errc quantile_column(struct histograms *h, size_t histogram, const double *quantile,
                                 uint64_t *repaired, struct err *err)
{
    enum errc rc = query_poll(h->q, err);

    for (size_t i = 0; rc == OK && i < h->q->steps.n; i++) {
        size_t n = buckets_at(h, histogram, i);
        struct bucket_repair repair;

        h->out[i] = absent();
        if (n == 0)
            continue;
        h->out[i] = bucket_quantile(quantile[i], h->buckets, n, &repair);
        if (!repair.done || stepset_has(repaired, i))
            continue;
        stepset_add(repaired, i);
        rc = note_repair(h, histogram, i, &repair, err);
    }
    return rc;
}

enum errc call_histogram_quantile(struct query *q, const struct node *call, sink *to, void *ctx,
                                  struct err *err)
{
    struct histograms h = { .q = q, .to = to, .ctx = ctx };
    double *quantile;
    enum errc rc = eval_scalar(q, call->call.args[0], &quantile, err);

    if (rc != OK)
        return rc;
    warn_about_quantiles(q, quantile, call->call.args[0]->pos);
    rc = histograms_load(&h, call->call.args[1], err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++) {
        uint64_t *repaired;

        if ((rc = stepset_new(q, &repaired, err)) == OK
            && (rc = quantile_column(&h, i, quantile, repaired, err)) == OK)
            rc = emit(&h, h.by.groups[i].labels, err);
    }
    annotate_repairs(&h);
    histograms_free(&h);
    return rc;
}

/* q as OpenMetrics writes it: always recognisable as a float. */
static enum errc quantile_text(struct query *q, double v, struct str *out, struct err *err)
{
    char text[NUMBER_MAX + 2];
    struct str s = { text, number_format(v, NUMBER_G, text) };

    if (isfinite(v) && !memchr(text, '.', s.len) && !memchr(text, 'e', s.len)) {
        text[s.len++] = '.';
        text[s.len++] = '0';
    }
    *out = str_copy(q->arena, s);
    return out->ptr ? OK : eval_arena_full(q, err);
}

static bool same_quantile(double a, double b)
{
    return f64_bits(a) == f64_bits(b) || (isnan(a) && isnan(b));
}

/* Emits the column once for each value the quantile takes, since the value becomes a label. */
static enum errc emit_by_quantile(struct histograms *h, size_t histogram, struct str label,
                                  const double *quantile, struct err *err)
{
    size_t n_steps = h->q->steps.n;
    double *all = copy_values(h, h->out);
    uint64_t *done;
    enum errc rc = all ? stepset_new(h->q, &done, err) : eval_arena_full(h->q, err);

    for (size_t i = 0; rc == OK && i < n_steps; i++) {
        struct labels ls = h->by.groups[histogram].labels;
        struct str text;

        if (stepset_has(done, i))
            continue;
        for (size_t j = 0; j < n_steps; j++) {
            bool same = same_quantile(quantile[i], quantile[j]);

            h->out[j] = same ? all[j] : absent();
            if (same)
                stepset_add(done, j);
        }
        if ((rc = query_poll(h->q, err)) == OK
            && (rc = quantile_text(h->q, quantile[i], &text, err)) == OK
            && (rc = labels_set(h->q, ls, label, text, &ls, err)) == OK)
            rc = emit(h, ls, err);
    }
    return rc;
}

static enum errc quantiles_of(struct histograms *h, size_t histogram, const struct node *call,
                              double *const *quantiles, struct err *err)
{
    struct str label = eval_string(call->call.args[1]);
    uint64_t *repaired;
    enum errc rc = stepset_new(h->q, &repaired, err);

    for (size_t i = 0; rc == OK && i + 2 < call->call.n_args; i++)
        if ((rc = quantile_column(h, histogram, quantiles[i], repaired, err)) == OK)
            rc = emit_by_quantile(h, histogram, label, quantiles[i], err);
    return rc;
}

/* The same quantile twice gives the same labels twice. An instant query finds that at its end. */
static enum errc check_distinct(const struct histograms *h, double *const *quantiles, size_t n,
                                struct err *err)
{
    size_t n_steps = h->q->steps.n;

    for (size_t i = 0; h->by.n > 0 && n_steps > 1 && i < n; i++)
        for (size_t j = 0; j < i; j++)
            for (size_t k = 0; k < n_steps; k++)
                if (same_quantile(quantiles[i][k], quantiles[j][k]))
                    return err_set(err, ERR_EXECUTION, h->pos,
                                   "vector cannot contain metrics with the same labelset");
    return OK;
}

enum errc call_histogram_quantiles(struct query *q, const struct node *call, sink *to, void *ctx,
                                   struct err *err)
{
    struct histograms h = { .q = q, .to = to, .ctx = ctx };
    double *quantiles[10];
    size_t n = call->call.n_args - 2;
    struct node *const *args = call->call.args + 2;
    enum errc rc = label_name_check(eval_string(call->call.args[1]), call->pos, err);

    ASSERT(n <= ARRAY_LEN(quantiles)); /* the type check has counted them */
    for (size_t i = 0; rc == OK && i < n; i++)
        if ((rc = eval_scalar(q, args[i], &quantiles[i], err)) == OK)
            warn_about_quantiles(q, quantiles[i], args[i]->pos);
    if (rc != OK)
        return rc;
    if ((rc = histograms_load(&h, call->call.args[0], err)) == OK)
        rc = check_distinct(&h, quantiles, n, err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++)
        rc = quantiles_of(&h, i, call, quantiles, err);
    annotate_repairs(&h);
    histograms_free(&h);
    return rc;
}

/* ---- fractions ---- */

enum errc call_histogram_fraction(struct query *q, const struct node *call, sink *to, void *ctx,
                                  struct err *err)
{
    struct histograms h = { .q = q, .to = to, .ctx = ctx };
    double *lower, *upper;
    enum errc rc;

    if ((rc = eval_scalar(q, call->call.args[0], &lower, err)) != OK
        || (rc = eval_scalar(q, call->call.args[1], &upper, err)) != OK)
        return rc;
    rc = histograms_load(&h, call->call.args[2], err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++) {
        for (size_t j = 0; j < q->steps.n; j++) {
            size_t n = buckets_at(&h, i, j);

            h.out[j] = n ? bucket_fraction(lower[j], upper[j], h.buckets, n) : absent();
        }
        if ((rc = query_poll(q, err)) == OK)
            rc = emit(&h, h.by.groups[i].labels, err);
    }
    histograms_free(&h);
    return rc;
}

enum errc call_of_native_histograms(struct query *q, const struct node *call, sink *to, void *ctx,
                                    struct err *err)
{
    (void)to;
    (void)ctx;
    return eval_each(q, call->call.args[0], sink_discard, NULL, err);
}
