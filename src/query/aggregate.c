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
#include "query/loops.h"

#include "base/banned.h"

enum { MAX_COLUMNS = 4 };

struct fold {
    uint8_t n_columns;
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
    [AGG_SUM] = { 2, add_sum, finish_sum },
    [AGG_AVG] = { 4, add_avg, finish_avg },
    [AGG_COUNT] = { 1, add_count, NULL },
    [AGG_MIN] = { 1, add_min, NULL },
    [AGG_MAX] = { 1, add_max, NULL },
    [AGG_GROUP] = { 1, add_group, NULL },
    [AGG_STDDEV] = { 3, add_variance, finish_deviation },
    [AGG_STDVAR] = { 3, add_variance, finish_variance },
};

struct fold_group {
    double *columns[MAX_COLUMNS];
    struct name_loss name;
};

struct folding {
    struct query *q;
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

static enum errc fold_series(void *ctx, struct fseries *s, struct err *err)
{
    struct folding *f = ctx;
    size_t n = f->by.n;
    uint32_t id;
    enum errc rc = grouping_add(&f->by, s->labels, &id, err);

    if (rc != OK || (f->by.n > n && (rc = add_fold_group(f, err)) != OK))
        return rc;
    f->fold->add(f->groups[id].columns, s->v, f->q->steps.n);
    note_name_loss(&f->groups[id].name, s, f->q->steps.n);
    return OK;
}

static enum errc eval_fold(struct query *q, const struct node *n, sink *to, void *ctx,
                           struct err *err)
{
    struct folding f = { .q = q, .fold = &folds[n->aggregate.op], .by = aggregate_grouping(q, n) };
    enum errc rc = eval_each(q, n->aggregate.expr, fold_series, &f, err);

    for (size_t i = 0; rc == OK && i < f.by.n; i++) {
        struct fold_group *g = &f.groups[i];
        struct fseries s = { f.by.groups[i].labels, g->name.drop_name, g->columns[0], NULL };

        if (f.fold->finish)
            f.fold->finish(g->columns, q->steps.n);
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
    return ERR_UNSUPPORTED;
}
