/* selector.c -- from stored columns to values at steps, and to the windows of ranges.
 *
 * A series is read once for all steps; two indices move over its samples while the steps go by. The
 * columns and the array of values are scratch, reused from series to series.
 */
#include "query/eval_private.h"

#include <math.h>

#include "base/arena.h"
#include "query/functions.h"
#include "query/loops.h"
#include "query/selector_histograms.h"
#include "storage/db.h"
#include "storage/histogram.h"

#include "base/banned.h"

/* ---- reading ---- */

struct reading {
    struct query *q;
    struct series_list list;
    int64_t min_ms, max_ms;
    struct column column; /* scratch */
    struct column before; /* likewise, for the histogram before the first */
    uint64_t held;        /* samples counted for column */
    bool newest_only;     /* of each series the newest sample is enough */
};

static enum errc reading_open(struct reading *r, const struct node *selector, struct err *err)
{
    return db_select(r->q->shared->view, selector->selector.matchers, selector->selector.n_matchers,
                     r->min_ms, r->max_ms, r->q->arena, &r->list, err);
}

/* The samples of series i, held until reading_done(). */
static enum errc reading_next(struct reading *r, size_t i, struct err *err)
{
    enum errc rc = query_poll(r->q, err);

    if (rc == OK)
        rc = (r->newest_only ? db_read_newest : db_read)(r->q->shared->view, &r->list.items[i],
                                                         r->min_ms, r->max_ms, &r->column, err);
    if (rc != OK)
        return rc;
    query_next_series(r->q);
    r->held = samples_weight(r->column.h, r->column.n);
    r->q->shared->samples += r->held;
    return query_hold(r->q, r->held, err);
}

static void reading_done(struct reading *r)
{
    query_release(r->q, r->held);
}

/* Staleness markers end series for instant selectors; ranges and interpolation never see them. */
static void remove_stale(struct column *c)
{
    size_t kept = loops()->find_marker(c->v, c->n); /* the end, most of the time */

    for (size_t i = kept; i < c->n; i++)
        if (!is_stale(c->v[i])) {
            c->t_ms[kept] = c->t_ms[i];
            c->v[kept] = c->v[i];
            if (c->h)
                c->h[kept] = c->h[i];
            if (c->start_ms)
                c->start_ms[kept] = c->start_ms[i];
            kept++;
        }
    c->n = kept;
}

/* ---- instant selectors ---- */

/* The value on the line between two samples. */
static double between(const struct column *c, size_t i, int64_t ref_ms)
{
    int64_t t1 = c->t_ms[i], t2 = c->t_ms[i + 1];

    return c->v[i] + (c->v[i + 1] - c->v[i]) * (double)(ref_ms - t1) / (double)(t2 - t1);
}

static double picked(const struct column *c, size_t i, enum pick pick)
{
    switch (pick) {
    case PICK_VALUES:
        return c->v[i];
    case PICK_TIMES:
    case PICK_SAMPLE_TIMES:
        return (double)c->t_ms[i] / 1000;
    case PICK_START_TIMES:
        return c->start_ms ? (double)c->start_ms[i] / 1000 : 0;
    }
    return 0;
}

/* The newest sample at or before each step's time, if it is young enough; false without any. */
static bool pick_newest(struct query *q, const struct node *n, const struct column *c,
                        enum pick pick, double *v)
{
    int64_t lookback = q->options->lookback_ms;
    bool any = false;
    size_t next = 0;

    for (size_t i = 0; i < q->steps.n; i++) {
        int64_t ref = ref_time(&q->steps, &n->selector.mod, i);

        while (next < c->n && c->t_ms[next] <= ref)
            next++;
        if (next == 0 || c->t_ms[next - 1] <= time_sub(ref, lookback) || is_stale(c->v[next - 1])) {
            v[i] = absent();
            continue;
        }
        v[i] = picked(c, next - 1, pick);
        any = true;
    }
    return any;
}

/* Interpolates between the samples around each step's time; without a later one the earlier value
 * goes on. */
static bool pick_smoothed(struct query *q, const struct node *n, const struct column *c, double *v)
{
    int64_t lookback = q->options->lookback_ms;
    bool any = false;
    size_t next = 0;

    for (size_t i = 0; i < q->steps.n; i++) {
        int64_t ref = ref_time(&q->steps, &n->selector.mod, i);

        while (next < c->n && c->t_ms[next] <= ref)
            next++;
        v[i] = absent();
        if (next == 0 || c->t_ms[next - 1] <= time_sub(ref, lookback))
            continue;
        if (c->t_ms[next - 1] == ref || next == c->n || c->t_ms[next] > time_add(ref, lookback))
            v[i] = c->v[next - 1];
        else
            v[i] = between(c, next - 1, ref);
        any = true;
    }
    return any;
}

/* What an instant selector fills, reused from series to series. */
struct picking {
    const struct node *n;
    enum pick pick;
    double *v;
    const struct histogram **h; /* made when needed */
};

/* One series with histograms. */
static enum errc pick_samples(struct reading *r, struct picking *p, struct fseries *s,
                              struct err *err)
{
    bool smoothed = p->n->selector.mod.smoothed;
    enum errc rc = p->h ? OK : histograms_new(r->q, &p->h, err);

    s->h = p->h;
    if (rc != OK)
        return rc;
    if (smoothed)
        return pick_smoothed_samples(r->q, p->n, s->labels, &r->column, p->v, p->h, err);
    (void)pick_newest(r->q, p->n, &r->column, p->pick, p->v);
    return pick_histograms(r->q, p->n, &r->column, p->v, p->h, err);
}

static enum errc pick_series(struct reading *r, struct picking *p, struct fseries *s, bool *any,
                             struct err *err)
{
    struct query *q = r->q;
    bool smoothed = p->n->selector.mod.smoothed && p->pick == PICK_VALUES;
    enum errc rc = OK;

    if (smoothed) {
        reading_done(r);
        remove_stale(&r->column);
        r->held = samples_weight(r->column.h, r->column.n);
        rc = query_hold(q, r->held, err);
    }
    if (rc == OK && r->column.h && (p->pick == PICK_VALUES || p->pick == PICK_SAMPLE_TIMES)) {
        rc = pick_samples(r, p, s, err);
        *any = series_has_value(s, q->steps.n);
    } else {
        *any = smoothed ? pick_smoothed(q, p->n, &r->column, p->v)
                        : pick_newest(q, p->n, &r->column, p->pick, p->v);
    }
    reading_done(r);
    return rc;
}

enum errc eval_selector(struct query *q, const struct node *n, enum pick pick, sink *to, void *ctx,
                        struct err *err)
{
    const struct modifiers *m = &n->selector.mod;
    int64_t lookback = q->options->lookback_ms;
    int64_t last = ref_time(&q->steps, m, q->steps.n - 1);
    struct reading r = {
        .q = q,
        .min_ms = time_add(time_sub(ref_time(&q->steps, m, 0), lookback), 1),
        .max_ms = m->smoothed ? time_add(last, lookback) : last,
        .newest_only = q->steps.n == 1 && !m->smoothed,
    };
    struct picking p = { .n = n, .pick = pick };
    enum errc rc = values_new(q, &p.v, err);

    if (rc == OK)
        rc = reading_open(&r, n, err);
    for (size_t i = 0; rc == OK && i < r.list.n; i++) {
        struct fseries s = { .labels = r.list.items[i].labels, .v = p.v };
        bool any;

        if ((rc = reading_next(&r, i, err)) != OK)
            break;
        rc = pick_series(&r, &p, &s, &any, err);
        if (rc == OK && any)
            rc = to(ctx, &s, err);
    }
    column_free(&r.column);
    return rc;
}

/* ---- ranges ---- */

const struct modifiers *range_modifiers(const struct node *n)
{
    return n->kind == NODE_MATRIX ? &n->matrix.selector->selector.mod : &n->subquery.mod;
}

int64_t range_length_ms(const struct node *n)
{
    return n->kind == NODE_MATRIX ? n->matrix.range.ms : n->subquery.range.ms;
}

void window_at(struct window_bounds *w, struct query *q, const struct node *range,
               const struct range_series *s, size_t step)
{
    const struct modifiers *m = range_modifiers(range);
    int64_t lookback = q->options->lookback_ms, from, to;

    w->end_ms = to = ref_time(&q->steps, m, step);
    w->start_ms = from = time_sub(w->end_ms, range_length_ms(range));
    if (m->anchored || m->smoothed)
        from = time_sub(from, lookback);
    if (m->smoothed)
        to = time_add(to, lookback);
    while (w->lo < s->n && s->t_ms[w->lo] <= from)
        w->lo++;
    if (w->hi < w->lo)
        w->hi = w->lo;
    while (w->hi < s->n && s->t_ms[w->hi] <= to)
        w->hi++;
}

/* Gives the histograms of series i their hints. That of the first depends on the one before, which
 * is fetched for it. */
static enum errc give_hints(struct reading *r, size_t i, const struct node *selector,
                            struct err *err)
{
    int64_t first_ms = time_sub(r->min_ms, r->q->options->lookback_ms);
    const struct histogram *before = NULL;
    enum errc rc;

    if (r->column.h[0]) {
        rc = db_read(r->q->shared->view, &r->list.items[i], first_ms, r->min_ms - 1, &r->before,
                     err);
        if (rc != OK)
            return rc;
        remove_stale(&r->before);
        if (r->before.h && r->before.n > 0)
            before = r->before.h[r->before.n - 1];
    }
    return hints_of_range(r->q, selector, before, &r->column, err);
}

static enum errc matrix_each(struct query *q, const struct node *n, range_sink *to, void *ctx,
                             struct err *err)
{
    const struct node *selector = n->matrix.selector;
    const struct modifiers *m = &selector->selector.mod;
    int64_t lookback = q->options->lookback_ms;
    int64_t first = time_sub(ref_time(&q->steps, m, 0), n->matrix.range.ms);
    int64_t last = ref_time(&q->steps, m, q->steps.n - 1);
    struct reading r = {
        .q = q,
        .min_ms = time_add(m->anchored || m->smoothed ? time_sub(first, lookback) : first, 1),
        .max_ms = m->smoothed ? time_add(last, lookback) : last,
    };
    enum errc rc = reading_open(&r, selector, err);

    for (size_t i = 0; rc == OK && i < r.list.n; i++) {
        if ((rc = reading_next(&r, i, err)) != OK)
            break;
        remove_stale(&r.column);
        if (r.column.h && r.column.n > 0 && (rc = give_hints(&r, i, selector, err)) != OK)
            break;
        rc = to(ctx,
                &(struct range_series){ .labels = r.list.items[i].labels,
                                        .t_ms = r.column.t_ms,
                                        .v = r.column.v,
                                        .h = r.column.h,
                                        .since_ms = r.column.start_ms,
                                        .n = r.column.n },
                err);
        reading_done(&r);
    }
    column_free(&r.column);
    column_free(&r.before);
    return rc;
}

/* ---- subqueries ---- */

struct subquery {
    struct query inner;
    struct column column; /* scratch */
    struct vector kept;   /* when label sets may repeat */
    range_sink *to;
    void *ctx;
};

/* Aggregations that pass on some of their input's series. */
static bool aggregate_op_selects(enum aggregate_op op)
{
    return op == AGG_TOPK || op == AGG_BOTTOMK || op == AGG_LIMITK || op == AGG_LIMIT_RATIO;
}

/* Whether an expression never yields a label set twice. */
static bool yields_unique(const struct node *n)
{
    switch (n->kind) {
    case NODE_SELECTOR:
    case NODE_MATRIX:
    case NODE_SUBQUERY: /* joined already */
    case NODE_NUMBER:
        return true;
    case NODE_PAREN:
        return yields_unique(n->paren);
    case NODE_UNARY:
        return yields_unique(n->unary.expr);
    case NODE_CALL:
        if (n->type == TYPE_SCALAR)
            return true;
        if (!n->call.func->each && !n->call.func->over)
            return false;
        for (size_t i = 0; i < n->call.n_args; i++)
            if (!yields_unique(n->call.args[i]))
                return false;
        return true;
    case NODE_AGGREGATE:
        return !aggregate_op_selects(n->aggregate.op) || yields_unique(n->aggregate.expr);
    case NODE_BINARY: /* with a scalar the series of the other side, one by one */
        if (n->binary.lhs->type == TYPE_SCALAR)
            return yields_unique(n->binary.rhs);
        return n->binary.rhs->type == TYPE_SCALAR && yields_unique(n->binary.lhs);
    case NODE_STRING:
        break;
    }
    return false;
}

/* The histograms among the values of s, for each value. What is known of resets between them holds
 * for samples next to each other in the store only, so that it is forgotten. */
static const struct histogram **subquery_histograms(struct query *q, const struct fseries *s)
{
    const struct histogram **out = ARENA_NEW(q->scratch, const struct histogram *, q->steps.n);
    size_t n = 0;

    for (size_t i = 0; out && i < q->steps.n; i++) {
        struct histogram *copy;

        if (is_absent(s->v[i]))
            continue;
        out[n++] = s->h[i];
        if (!s->h[i] || s->h[i]->hint == HINT_UNKNOWN || s->h[i]->hint == HINT_GAUGE)
            continue;
        if (!(copy = arena_alloc(q->scratch, sizeof *copy)))
            return NULL;
        *copy = *s->h[i];
        copy->hint = HINT_UNKNOWN;
        out[n - 1] = copy;
    }
    return out;
}

/* Passes on one inner series as samples. */
static enum errc subquery_pass(void *ctx, struct fseries *s, struct err *err)
{
    struct subquery *sub = ctx;
    struct query *q = &sub->inner;
    struct range_series out = { .labels = s->labels, .drop_name = s->drop_name };
    uint64_t held;
    enum errc rc;

    column_clear(&sub->column);
    if (!column_reserve(&sub->column, q->steps.n))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    for (size_t i = 0; i < q->steps.n; i++)
        if (!is_absent(s->v[i])) {
            sub->column.t_ms[sub->column.n] = step_time(&q->steps, i);
            sub->column.v[sub->column.n++] = s->v[i];
        }
    out.t_ms = sub->column.t_ms;
    out.v = sub->column.v;
    out.n = sub->column.n;
    if (s->h && !(out.h = subquery_histograms(q, s)))
        return eval_arena_full(q, err);
    held = samples_weight(out.h, out.n);
    if ((rc = query_hold(q, held, err)) != OK)
        return rc;
    rc = sub->to(sub->ctx, &out, err);
    query_release(q, held);
    return rc;
}

static enum errc subquery_keep(void *ctx, struct fseries *s, struct err *err)
{
    struct subquery *sub = ctx;

    return vector_add(&sub->inner, &sub->kept, s, err);
}

static enum errc subquery_each(struct query *q, const struct node *n, range_sink *to, void *ctx,
                               struct err *err)
{
    struct subquery sub = { .inner = *q, .to = to, .ctx = ctx };
    const struct node *expr = n->subquery.expr;
    enum errc rc;

    sub.inner.steps = subquery_steps(n, &q->steps);
    if (sub.inner.steps.n == 0)
        return OK;
    if (yields_unique(expr)) {
        rc = eval_each(&sub.inner, expr, subquery_pass, &sub, err);
    } else {
        rc = eval_each(&sub.inner, expr, subquery_keep, &sub, err);
        if (rc == OK)
            rc = vector_join(&sub.inner, &sub.kept, err);
        for (size_t i = 0; rc == OK && i < sub.kept.n; i++) {
            query_next_series(q);
            rc = subquery_pass(&sub, &sub.kept.items[i], err);
        }
        vector_release(q, &sub.kept);
    }
    column_free(&sub.column);
    return rc;
}

enum errc range_each(struct query *q, const struct node *n, range_sink *to, void *ctx,
                     struct err *err)
{
    return n->kind == NODE_MATRIX ? matrix_each(q, n, to, ctx, err)
                                  : subquery_each(q, n, to, ctx, err);
}
