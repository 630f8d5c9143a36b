/* aggregate.c
 *
 * A fold keeps a few columns (one number a step) for each group and adds each series to them as it
 * arrives; a series is never kept. Column 0 is absent where the group has no sample yet and becomes
 * the result.
 *
 *   sum            sum, compensation
 *   avg            sum or mean, compensation, count, 1 once the mean is kept (the sum overflowed)
 *   count          count
 *   min max        extreme, any number in place of NaN
 *   group          1
 *   stddev stdvar  sum of squared differences, mean, count (Welford, "Note on a method for
 *                  calculating corrected sums of squares and products", Technometrics 4, 1962)
 */
#include "query/aggregate.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/vec.h"
#include "query/compensated.h"
#include "query/histogram_sum.h"
#include "query/loops.h"

#include "base/banned.h"

enum { MAX_COLUMNS = 4, POLL_STEPS = 64 /* of histograms, between two polls */ };

/* What histograms do to a fold. */
enum fold_histograms {
    HISTOGRAMS_COUNT,   /* as much as floats */
    HISTOGRAMS_IGNORED, /* with an info */
    HISTOGRAMS_SUM,
    HISTOGRAMS_AVG
};

struct fold {
    uint8_t n_columns;
    enum fold_histograms histograms;
    void (*add)(double *const *acc, const double *v, size_t n);
    void (*finish)(double *const *acc, size_t n); /* NULL: column 0 is the result */
};

static void add_sum(double *const *acc, const double *v, size_t n)
{
    loops()->add(acc[0], acc[1], v, n);
}

static void finish_sum(double *const *acc, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_absent(acc[0][i]))
            acc[0][i] += acc[1][i];
}

/* One more value; *count includes it. */
static void add_to_mean(double v, double *mean, double *c, double count)
{
    double q = (count - 1) / count;

    *mean *= q;
    *c *= q;
    compensated_add(v / count, mean, c);
}

static void add_avg(double *const *acc, const double *v, size_t n)
{
    double *sum = acc[0], *c = acc[1], *count = acc[2], *is_mean = acc[3];

    for (size_t i = 0; i < n; i++) {
        double next_sum, next_c;

        if (is_absent(v[i]))
            continue;
        if (count[i]++ == 0) {
            sum[i] = v[i];
            continue;
        }
        if (is_mean[i] == 0) {
            next_sum = sum[i];
            next_c = c[i];
            compensated_add(v[i], &next_sum, &next_c);
            if (!isinf(next_sum)) {
                sum[i] = next_sum;
                c[i] = next_c;
                continue;
            }
            is_mean[i] = 1;
            sum[i] /= count[i] - 1;
            c[i] /= count[i] - 1;
        }
        add_to_mean(v[i], &sum[i], &c[i], count[i]);
    }
}

static void finish_avg(double *const *acc, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (acc[2][i] == 0)
            continue;
        if (acc[3][i] != 0)
            acc[0][i] += acc[1][i];
        else
            acc[0][i] = acc[0][i] / acc[2][i] + acc[1][i] / acc[2][i];
    }
}

static void add_count(double *const *acc, const double *v, size_t n)
{
    loops()->count(acc[0], v, n);
}

static void add_group(double *const *acc, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_absent(v[i]))
            acc[0][i] = 1;
}

static void add_min(double *const *acc, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_absent(v[i]) && (isnan(acc[0][i]) || v[i] < acc[0][i]))
            acc[0][i] = v[i];
}

static void add_max(double *const *acc, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_absent(v[i]) && (isnan(acc[0][i]) || v[i] > acc[0][i]))
            acc[0][i] = v[i];
}

static void add_variance(double *const *acc, const double *v, size_t n)
{
    double *m2 = acc[0], *mean = acc[1], *count = acc[2];

    for (size_t i = 0; i < n; i++) {
        double d;

        if (is_absent(v[i]))
            continue;
        if (count[i]++ == 0) {
            m2[i] = isfinite(v[i]) ? 0 : f64_from_bits(QUIET_NAN_BITS);
            mean[i] = v[i];
            continue;
        }
        d = v[i] - mean[i];
        mean[i] += d / count[i];
        m2[i] += d * (v[i] - mean[i]);
    }
}

static void finish_variance(double *const *acc, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (acc[2][i] != 0)
            acc[0][i] /= acc[2][i];
}

static void finish_deviation(double *const *acc, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (acc[2][i] != 0)
            acc[0][i] = sqrt(acc[0][i] / acc[2][i]);
}

static const struct fold folds[AGG_OP_COUNT] = {
    [AGG_SUM] = { 2, HISTOGRAMS_SUM, add_sum, finish_sum },
    [AGG_AVG] = { 4, HISTOGRAMS_AVG, add_avg, finish_avg },
    [AGG_COUNT] = { 1, HISTOGRAMS_COUNT, add_count, NULL },
    [AGG_MIN] = { 1, HISTOGRAMS_IGNORED, add_min, NULL },
    [AGG_MAX] = { 1, HISTOGRAMS_IGNORED, add_max, NULL },
    [AGG_GROUP] = { 1, HISTOGRAMS_COUNT, add_group, NULL },
    [AGG_STDDEV] = { 3, HISTOGRAMS_IGNORED, add_variance, finish_deviation },
    [AGG_STDVAR] = { 3, HISTOGRAMS_IGNORED, add_variance, finish_variance },
};

struct fold_group {
    double *columns[MAX_COLUMNS];
    struct histogram_mean **histograms; /* by step, of sum and avg; NULL without any */
    struct name_loss name;
};

struct folding {
    struct query *q;
    const struct node *n;
    const struct fold *fold;
    struct grouping by;
    struct fold_group *groups; /* by number in by */
    size_t cap;
    uint64_t held; /* samples counted as kept */
};

static enum errc add_fold_group(struct folding *f, struct err *err)
{
    size_t n = f->q->steps.n;
    struct fold_group *g;
    enum errc rc;

    if (!vec_reserve(&f->groups, &f->cap, f->by.n, sizeof *f->groups))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    g = &f->groups[f->by.n - 1];
    *g = (struct fold_group){ 0 };
    if ((rc = query_hold(f->q, n, err)) != OK)
        return rc;
    f->held += n;
    if ((rc = values_new(f->q, &g->columns[0], err)) != OK)
        return rc;
    for (size_t i = 1; i < f->fold->n_columns; i++)
        if (!(g->columns[i] = ARENA_NEW(f->q->arena, double, n)))
            return eval_arena_full(f->q, err);
    return OK;
}

/* ---- histograms ---- */

static void annotate_mixed_schemas(struct folding *f, struct labels ls)
{
    struct buf name = { 0 };

    print_quoted(&name, labels_get(ls, METRIC_NAME));
    annotate(f->q, ANNOTATION_WARNING, f->n->aggregate.expr->pos,
             "vector contains a mix of histograms with exponential and custom buckets schemas for "
             "metric name %.*s",
             STR_ARG(buf_as_str(&name)));
    buf_free(&name);
}

static enum errc fold_histogram(struct folding *f, struct fold_group *g, const struct fseries *s,
                                size_t step, struct err *err)
{
    struct histogram_mean **m = &g->histograms[step];
    struct arena *a = f->q->arena;
    unsigned notes;
    bool ok;

    if (!*m) {
        if (!(*m = ARENA_NEW(a, struct histogram_mean, 1)))
            return eval_arena_full(f->q, err);
        (*m)->sum.arena = a;
    }
    notes = (*m)->sum.notes;
    ok = f->fold->histograms == HISTOGRAMS_SUM ? histogram_sum_add(&(*m)->sum, s->h[step], 1)
                                               : histogram_mean_add(*m, s->h[step], f->q->temp);
    arena_reset(f->q->temp);
    if ((*m)->sum.notes & ~notes & HISTOGRAMS_INCOMPATIBLE)
        annotate_mixed_schemas(f, s->labels);
    return ok ? OK : eval_arena_full(f->q, err);
}

/* Takes the histograms out of s: into g, or to nowhere. */
static enum errc fold_histograms(struct folding *f, struct fold_group *g, struct fseries *s,
                                 struct err *err)
{
    size_t n = f->q->steps.n;
    enum errc rc = OK;

    if (f->fold->histograms == HISTOGRAMS_COUNT || !series_has_histogram(s, n))
        return OK;
    if (f->fold->histograms == HISTOGRAMS_IGNORED)
        annotate_ignored_histogram(f->q, f->n->aggregate.op, f->n->aggregate.expr->pos);
    else if (!g->histograms
             && !(g->histograms = ARENA_NEW(f->q->arena, struct histogram_mean *, n)))
        return eval_arena_full(f->q, err);
    for (size_t i = 0; rc == OK && g->histograms && i < n; i++) {
        if (series_histogram(s, i))
            rc = fold_histogram(f, g, s, i, err);
        if (rc == OK && i % POLL_STEPS == 0)
            rc = query_poll(f->q, err);
    }
    (void)series_keep_floats(s, n);
    return rc;
}

static void annotate_sum(struct folding *f, unsigned notes)
{
    uint32_t pos = f->n->aggregate.expr->pos;

    if (notes & HISTOGRAMS_COLLIDING)
        annotate(f->q, ANNOTATION_WARNING, pos,
                 "conflicting counter resets during histogram aggregation");
    if (notes & HISTOGRAMS_RECONCILED)
        annotate(f->q, ANNOTATION_INFO, pos,
                 "mismatched custom buckets were reconciled during aggregation");
}

/* The sums or means of g in q->scratch. Where there are floats too there is no result. */
static enum errc finish_histograms(struct folding *f, struct fold_group *g, struct fseries *s,
                                   struct err *err)
{
    enum errc rc = g->histograms ? histograms_new(f->q, &s->h, err) : OK;

    for (size_t i = 0; rc == OK && g->histograms && i < f->q->steps.n; i++) {
        struct histogram_mean *m = g->histograms[i];

        if (!m)
            continue;
        annotate_sum(f, m->sum.notes);
        if (!is_absent(s->v[i])) {
            annotate(f->q, ANNOTATION_WARNING, f->n->aggregate.expr->pos,
                     "encountered a mix of histograms and floats for aggregation");
            s->v[i] = absent();
            continue;
        }
        if (m->sum.notes & HISTOGRAMS_INCOMPATIBLE)
            continue;
        s->h[i] = f->fold->histograms == HISTOGRAMS_SUM
                      ? histogram_sum_result(&m->sum, f->q->scratch, true)
                      : histogram_mean_result(m, f->q->scratch, true);
        s->v[i] = 0;
        if (!s->h[i])
            rc = eval_arena_full(f->q, err);
    }
    return rc;
}

/* ---- the whole ---- */

static enum errc fold_series(void *ctx, struct fseries *s, struct err *err)
{
    struct folding *f = ctx;
    size_t n = f->by.n;
    uint32_t id;
    enum errc rc = grouping_add(&f->by, s->labels, &id, err);

    if (rc != OK || (f->by.n > n && (rc = add_fold_group(f, err)) != OK))
        return rc;
    note_name_loss(&f->groups[id].name, s, f->q->steps.n);
    if (s->h && (rc = fold_histograms(f, &f->groups[id], s, err)) != OK)
        return rc;
    f->fold->add(f->groups[id].columns, s->v, f->q->steps.n);
    return OK;
}

static enum errc eval_fold(struct query *q, const struct node *n, sink *to, void *ctx,
                           struct err *err)
{
    struct folding f = {
        .q = q, .n = n, .fold = &folds[n->aggregate.op], .by = aggregate_grouping(q, n)
    };
    enum errc rc = eval_each(q, n->aggregate.expr, fold_series, &f, err);

    for (size_t i = 0; rc == OK && i < f.by.n; i++) {
        struct fold_group *g = &f.groups[i];
        struct fseries s = { f.by.groups[i].labels, g->name.drop_name, g->columns[0], NULL };

        query_next_series(q);
        if (f.fold->finish)
            f.fold->finish(g->columns, q->steps.n);
        if ((rc = finish_histograms(&f, g, &s, err)) == OK && series_has_value(&s, q->steps.n))
            rc = to(ctx, &s, err);
    }
    query_release(q, f.held);
    grouping_free(&f.by);
    free(f.groups);
    return rc;
}

struct grouping aggregate_grouping(struct query *q, const struct node *n)
{
    struct grouping by = { .q = q };

    by.choice = (struct label_choice){
        .names = n->aggregate.labels,
        .n = n->aggregate.n_labels,
        .keep = !n->aggregate.without,
        .drop_name = n->aggregate.without,
    };
    return by;
}

void note_name_loss(struct name_loss *loss, const struct fseries *s, size_t n_steps)
{
    size_t last = n_steps - 1;

    while (last > 0 && is_absent(s->v[last]))
        last--;
    if (last < loss->last_step)
        return;
    loss->drop_name = s->drop_name || (last == loss->last_step && loss->drop_name);
    loss->last_step = last;
}

struct param_range param_range(const double *v, size_t n)
{
    struct param_range r = { INFINITY, -INFINITY, false };

    for (size_t i = 0; i < n; i++) {
        r.has_nan |= isnan(v[i]);
        if (v[i] < r.min)
            r.min = v[i];
        if (v[i] > r.max)
            r.max = v[i];
    }
    return r;
}

void annotate_ignored_histogram(struct query *q, enum aggregate_op op, uint32_t pos)
{
    annotate(q, ANNOTATION_INFO, pos, "ignored histogram in %s aggregation", aggregate_op_text(op));
}

void annotate_quantile(struct query *q, double value, uint32_t pos)
{
    char text[NUMBER_MAX];
    int n = (int)number_format(value, NUMBER_G, text);

    annotate(q, ANNOTATION_WARNING, pos, "quantile value should be between 0 and 1, got %.*s", n,
             text);
}

enum errc eval_aggregate(struct query *q, const struct node *n, sink *to, void *ctx,
                         struct err *err)
{
    switch (n->aggregate.op) {
    case AGG_SUM:
    case AGG_AVG:
    case AGG_COUNT:
    case AGG_MIN:
    case AGG_MAX:
    case AGG_GROUP:
    case AGG_STDDEV:
    case AGG_STDVAR:
        return eval_fold(q, n, to, ctx, err);
    case AGG_TOPK:
    case AGG_BOTTOMK:
        return eval_topk(q, n, to, ctx, err);
    case AGG_LIMITK:
        return eval_limitk(q, n, to, ctx, err);
    case AGG_LIMIT_RATIO:
        return eval_limit_ratio(q, n, to, ctx, err);
    case AGG_QUANTILE:
        return eval_quantile(q, n, to, ctx, err);
    case AGG_COUNT_VALUES:
        return eval_count_values(q, n, to, ctx, err);
    case AGG_OP_COUNT:
        break;
    }
    ASSERT(!"an aggregation operator");
    return OK;
}
