/* functions_histogram.c
 *
 * histogram_quantile, histogram_quantiles and histogram_fraction. Of classic histograms, series that
 * agree in all labels but `le` are the cumulative buckets of one; which buckets there are may change
 * from step to step. A float without a proper `le` gets a warning. Native histograms are computed as
 * they come, and only their results are kept: where there is a classic one of the same name and
 * labels, neither has a result.
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
#include "query/histogram_stats.h"
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
    uint64_t *mixed; /* the steps with a native one too; NULL without any */
};

/* The results for a native histogram, a column each. */
struct native {
    struct labels labels;
    double **results;
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
    /* What is computed, for each of n_params: a quantile, or the fraction between two bounds. */
    double *params[10], *upper;
    size_t n_params;
    struct native *natives;
    size_t n_natives, natives_cap;
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

/* ---- native histograms ---- */

static void annotate_nan(const struct histograms *h, enum nan_effect nan, struct labels ls)
{
    static const char *const effects[] = {
        [NAN_RESULT] = "result is NaN",
        [NAN_SKEWED] = "result is skewed higher",
        [NAN_EXCLUDED] = "which are excluded from all fractions",
    };
    struct buf text = { 0 };

    if (nan == NAN_NONE)
        return;
    buf_printf(&text, "input to %s has NaN observations, %s",
               nan == NAN_EXCLUDED ? "histogram_fraction" : "histogram_quantile", effects[nan]);
    print_for_metric(&text, labels_get(ls, METRIC_NAME));
    annotate(h->q, ANNOTATION_INFO, h->pos, "%.*s", STR_ARG(buf_as_str(&text)));
    buf_free(&text);
}

static double native_result(const struct histograms *h, const struct fseries *s, size_t param,
                            size_t step)
{
    enum nan_effect nan;
    double v = h->upper ? histogram_fraction(s->h[step], h->params[0][step], h->upper[step], &nan)
                        : histogram_quantile(s->h[step], h->params[param][step], &nan);

    annotate_nan(h, nan, s->labels);
    return v;
}

/* Computes the histograms of s. */
static enum errc add_native(struct histograms *h, const struct fseries *s, struct err *err)
{
    struct native *native;
    enum errc rc = OK;

    if (!vec_reserve(&h->natives, &h->natives_cap, h->n_natives + 1, sizeof *h->natives))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    native = &h->natives[h->n_natives++];
    *native = (struct native){ s->labels, ARENA_NEW(h->q->arena, double *, h->n_params) };
    if (!native->results)
        return eval_arena_full(h->q, err);
    for (size_t p = 0; rc == OK && p < h->n_params; p++) {
        if ((rc = values_new(h->q, &native->results[p], err)) != OK
            || (rc = query_hold(h->q, h->q->steps.n, err)) != OK)
            return rc;
        h->held += h->q->steps.n;
        for (size_t i = 0; rc == OK && i < h->q->steps.n; i++) {
            rc = query_poll_at(h->q, i, err);
            if (rc == OK && series_histogram(s, i))
                native->results[p][i] = native_result(h, s, p, i);
        }
    }
    return rc;
}

/* ---- classic ones ---- */

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
        h->items[n] = (struct classic){ TABLE_NONE, TABLE_NONE, 0, NULL };
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

    if (series_has_histogram(s, h->q->steps.n) && (rc = add_native(h, s, err)) != OK)
        return rc;
    if (s->h && !series_keep_floats(s, h->q->steps.n))
        return OK;
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

/* Whether a classic histogram has buckets at a step. */
static bool has_buckets(const struct histograms *h, const struct classic *c, size_t step)
{
    for (uint32_t i = c->first; i != TABLE_NONE; i = h->series[i].next)
        if (!is_absent(h->series[i].v[step]))
            return true;
    return false;
}

static void warn_of_mix(const struct histograms *h, struct labels ls)
{
    struct buf text = { 0 };

    buf_text(&text, "vector contains a mix of classic and native histograms");
    print_for_metric(&text, labels_get(ls, METRIC_NAME));
    annotate(h->q, ANNOTATION_WARNING, h->pos, "%.*s", STR_ARG(buf_as_str(&text)));
    buf_free(&text);
}

/* Takes the results where a native histogram meets a classic one. */
static enum errc strike_mixed(struct histograms *h, struct native *native, struct err *err)
{
    struct classic *c;
    uint32_t id;
    enum errc rc = grouping_find(&h->by, native->labels, &id, err);

    if (rc != OK || id == TABLE_NONE || labels_get(native->labels, le_name).len > 0)
        return rc;
    c = &h->items[id];
    for (size_t i = 0; i < h->q->steps.n; i++) {
        if (is_absent(native->results[0][i]) || !has_buckets(h, c, i))
            continue;
        if (!c->mixed && (rc = stepset_new(h->q, &c->mixed, err)) != OK)
            return rc;
        stepset_add(c->mixed, i);
        for (size_t p = 0; p < h->n_params; p++)
            native->results[p][i] = absent();
        warn_of_mix(h, native->labels);
    }
    return OK;
}

static enum errc histograms_load(struct histograms *h, const struct node *vector, struct err *err)
{
    enum errc rc;

    h->pos = vector->pos;
    h->by = (struct grouping){ .q = h->q, .choice = { .names = &le_name, .n = 1 } };
    h->by_name =
        (struct grouping){ .q = h->q, .choice = { .names = &metric_name, .n = 1, .keep = true } };
    rc = eval_each(h->q, vector, keep_bucket, h, err);
    for (size_t i = 0; rc == OK && i < h->n_natives; i++)
        rc = strike_mixed(h, &h->natives[i], err);
    if (rc != OK)
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
    free(h->natives);
    free(h->items);
    free(h->series);
    free(h->repairs);
}

/* The buckets of a histogram at a step, in h->buckets. */
static size_t buckets_at(struct histograms *h, size_t histogram, size_t step)
{
    const struct classic *c = &h->items[histogram];
    size_t n = 0;

    if (c->mixed && stepset_has(c->mixed, step))
        return 0;
    for (uint32_t i = c->first; i != TABLE_NONE; i = h->series[i].next)
        if (!is_absent(h->series[i].v[step]))
            h->buckets[n++] = (struct bucket){ h->series[i].le, h->series[i].v[step] };
    return n;
}

static enum errc emit(const struct histograms *h, struct labels ls, struct err *err)
{
    struct fseries s = { .labels = ls, .drop_name = true, .v = h->out };

    query_next_series(h->q);
    return series_has_value(&s, h->q->steps.n) ? h->to(h->ctx, &s, err) : OK;
}

/* The results of native histograms where there is one for each. */
static enum errc emit_natives(const struct histograms *h, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < h->n_natives; i++) {
        memcpy(h->out, h->natives[i].results[0], h->q->steps.n * sizeof *h->out);
        rc = emit(h, h->natives[i].labels, err);
    }
    return rc;
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
    struct histograms h = { .q = q, .n_params = 1, .to = to, .ctx = ctx };
    enum errc rc = eval_scalar(q, call->call.args[0], &h.params[0], err);

    if (rc != OK)
        return rc;
    warn_about_quantiles(q, h.params[0], call->call.args[0]->pos);
    rc = histograms_load(&h, call->call.args[1], err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++) {
        uint64_t *repaired;

        if ((rc = stepset_new(q, &repaired, err)) == OK
            && (rc = quantile_column(&h, i, h.params[0], repaired, err)) == OK)
            rc = emit(&h, h.by.groups[i].labels, err);
    }
    if (rc == OK)
        rc = emit_natives(&h, err);
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
static enum errc emit_by_quantile(struct histograms *h, struct labels labels, struct str label,
                                  const double *quantile, struct err *err)
{
    size_t n_steps = h->q->steps.n;
    double *all = copy_values(h, h->out);
    uint64_t *done;
    enum errc rc = all ? stepset_new(h->q, &done, err) : eval_arena_full(h->q, err);

    for (size_t i = 0; rc == OK && i < n_steps; i++) {
        struct labels ls = labels;
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

static enum errc quantiles_of(struct histograms *h, size_t histogram, struct str label,
                              struct err *err)
{
    uint64_t *repaired;
    enum errc rc = stepset_new(h->q, &repaired, err);

    for (size_t i = 0; rc == OK && i < h->n_params; i++)
        if ((rc = quantile_column(h, histogram, h->params[i], repaired, err)) == OK)
            rc = emit_by_quantile(h, h->by.groups[histogram].labels, label, h->params[i], err);
    return rc;
}

static enum errc quantiles_of_native(struct histograms *h, const struct native *native,
                                     struct str label, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < h->n_params; i++) {
        memcpy(h->out, native->results[i], h->q->steps.n * sizeof *h->out);
        rc = emit_by_quantile(h, native->labels, label, h->params[i], err);
    }
    return rc;
}

/* The same quantile twice gives the same labels twice. An instant query finds that at its end. */
static enum errc check_distinct(const struct histograms *h, struct err *err)
{
    size_t n_steps = h->q->steps.n;

    for (size_t i = 0; h->by.n + h->n_natives > 0 && n_steps > 1 && i < h->n_params; i++)
        for (size_t j = 0; j < i; j++)
            for (size_t k = 0; k < n_steps; k++)
                if (same_quantile(h->params[i][k], h->params[j][k]))
                    return err_set(err, ERR_EXECUTION, h->pos,
                                   "vector cannot contain metrics with the same labelset");
    return OK;
}

enum errc call_histogram_quantiles(struct query *q, const struct node *call, sink *to, void *ctx,
                                   struct err *err)
{
    struct histograms h = { .q = q, .n_params = call->call.n_args - 2, .to = to, .ctx = ctx };
    struct node *const *args = call->call.args + 2;
    struct str label = eval_string(call->call.args[1]);
    enum errc rc = label_name_check(label, call->pos, err);

    ASSERT(h.n_params <= ARRAY_LEN(h.params)); /* the type check has counted them */
    for (size_t i = 0; rc == OK && i < h.n_params; i++)
        if ((rc = eval_scalar(q, args[i], &h.params[i], err)) == OK)
            warn_about_quantiles(q, h.params[i], args[i]->pos);
    if (rc != OK)
        return rc;
    if ((rc = histograms_load(&h, call->call.args[0], err)) == OK)
        rc = check_distinct(&h, err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++)
        rc = quantiles_of(&h, i, label, err);
    for (size_t i = 0; rc == OK && i < h.n_natives; i++)
        rc = quantiles_of_native(&h, &h.natives[i], label, err);
    annotate_repairs(&h);
    histograms_free(&h);
    return rc;
}

/* ---- fractions ---- */

enum errc call_histogram_fraction(struct query *q, const struct node *call, sink *to, void *ctx,
                                  struct err *err)
{
    struct histograms h = { .q = q, .n_params = 1, .to = to, .ctx = ctx };
    enum errc rc;

    if ((rc = eval_scalar(q, call->call.args[0], &h.params[0], err)) != OK
        || (rc = eval_scalar(q, call->call.args[1], &h.upper, err)) != OK)
        return rc;
    rc = histograms_load(&h, call->call.args[2], err);
    for (size_t i = 0; rc == OK && i < h.by.n; i++) {
        for (size_t j = 0; j < q->steps.n; j++) {
            size_t n = buckets_at(&h, i, j);

            h.out[j] = n ? bucket_fraction(h.params[0][j], h.upper[j], h.buckets, n) : absent();
        }
        if ((rc = query_poll(q, err)) == OK)
            rc = emit(&h, h.by.groups[i].labels, err);
    }
    if (rc == OK)
        rc = emit_natives(&h, err);
    histograms_free(&h);
    return rc;
}
