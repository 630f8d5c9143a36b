/* eval.c -- the walk over the tree.
 *
 * Nothing here holds series but vector_add(): a node's series pass through sinks, one at a time. A
 * part marked invariant is evaluated at the first step alone and its series are spread over the
 * rest.
 */
#include "query/eval.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "query/eval_private.h"
#include "query/functions.h"
#include "query/functions_impl.h"
#include "query/grouping.h"
#include "query/histogram_ops.h"
#include "storage/histogram.h"

#include "base/banned.h"

/* ---- limits ---- */

enum errc query_poll(struct query *q, struct err *err)
{
    const struct query_options *o = q->options;

    if (o->cancel && atomic_load_explicit(o->cancel, memory_order_relaxed))
        return err_set(err, ERR_CANCELED, 0, "query was canceled in expression evaluation");
    if (clock_mono_ns(o->clock) >= q->shared->deadline_ns)
        return err_set(err, ERR_TIMEOUT, 0, "query timed out in expression evaluation");
    return OK;
}

enum errc query_poll_at(struct query *q, size_t i, struct err *err)
{
    return i % 64 == 0 ? query_poll(q, err) : OK;
}

enum errc query_hold(struct query *q, uint64_t samples, struct err *err)
{
    struct query_shared *s = q->shared;

    s->held += samples;
    if (s->held > s->peak)
        s->peak = s->held;
    if (s->held > q->options->max_samples)
        return err_set(
            err, ERR_LIMIT, 0,
            "query processing would load too many samples into memory in query execution");
    return OK;
}

void query_next_series(struct query *q)
{
    arena_reset(q->scratch);
}

void query_release(struct query *q, uint64_t samples)
{
    ASSERT(q->shared->held >= samples);
    q->shared->held -= samples;
}

/* ---- values and vectors ---- */

/* Room for one value per step. More steps than samples are allowed would only fill memory. */
static enum errc values_alloc(struct query *q, double **out, struct err *err)
{
    if (q->steps.n > q->options->max_samples)
        return query_hold(q, q->steps.n, err);
    *out = arena_alloc(q->arena, q->steps.n * sizeof(double));
    return *out ? OK : eval_arena_full(q, err);
}

enum errc values_new(struct query *q, double **out, struct err *err)
{
    enum errc rc = values_alloc(q, out, err);

    for (size_t i = 0; rc == OK && i < q->steps.n; i++)
        (*out)[i] = absent();
    return rc;
}

enum errc histograms_new(struct query *q, const struct histogram ***out, struct err *err)
{
    if (q->steps.n > q->options->max_samples)
        return query_hold(q, q->steps.n, err);
    *out = ARENA_NEW(q->arena, const struct histogram *, q->steps.n);
    return *out ? OK : eval_arena_full(q, err);
}

static enum errc copy_histograms(struct query *q, const struct fseries *from,
                                 const struct histogram ***out, struct err *err)
{
    enum errc rc = histograms_new(q, out, err);

    for (size_t i = 0; rc == OK && i < q->steps.n; i++) {
        const struct histogram *h = series_histogram(from, i);

        if (h && !((*out)[i] = histogram_copy(q->arena, h)))
            rc = eval_arena_full(q, err);
    }
    return rc;
}

enum errc vector_add(struct query *q, struct vector *v, const struct fseries *s, struct err *err)
{
    double *copy;
    uint64_t weight;
    enum errc rc = values_alloc(q, &copy, err);

    if (rc != OK)
        return rc;
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 16;
        struct fseries *items =
            arena_grow(q->arena, v->items, v->cap * sizeof *items, cap * sizeof *items);

        if (!items)
            return eval_arena_full(q, err);
        v->items = items;
        v->cap = cap;
    }
    weight = series_weight(s, q->steps.n);
    if ((rc = query_hold(q, weight, err)) != OK)
        return rc;
    v->held += weight;
    memcpy(copy, s->v, q->steps.n * sizeof *copy);
    v->items[v->n++] = (struct fseries){ s->labels, s->drop_name, copy, NULL };
    return s->h ? copy_histograms(q, s, &v->items[v->n - 1].h, err) : OK;
}

void vector_release(struct query *q, struct vector *v)
{
    query_release(q, v->held);
    v->held = 0;
}

static bool overlaps(const struct fseries *a, const struct fseries *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_absent(a->v[i]) && !is_absent(b->v[i]))
            return true;
    return false;
}

/* Gives kept the values of s too, in a copy: the old ones may belong to somebody else. */
static enum errc join_series(struct query *q, struct fseries *kept, const struct fseries *s,
                             struct err *err)
{
    double *v;
    const struct histogram **h = NULL;
    enum errc rc = values_alloc(q, &v, err);

    if (rc == OK && (kept->h || s->h))
        rc = histograms_new(q, &h, err);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < q->steps.n; i++) {
        const struct fseries *from = is_absent(s->v[i]) ? kept : s;

        v[i] = from->v[i];
        if (h)
            h[i] = series_histogram(from, i);
    }
    kept->v = v;
    kept->h = h;
    return OK;
}

enum errc vector_join(struct query *q, struct vector *v, struct err *err)
{
    struct grouping seen = { .q = q };
    size_t n_kept = 0;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < v->n; i++) {
        struct fseries *s = &v->items[i];
        uint32_t id;

        if ((rc = grouping_add(&seen, s->labels, &id, err)) != OK)
            break;
        if (id == n_kept)
            v->items[n_kept++] = *s;
        else if (overlaps(&v->items[id], s, q->steps.n))
            rc = err_set(err, ERR_EXECUTION, 0,
                         "vector cannot contain metrics with the same labelset");
        else
            rc = join_series(q, &v->items[id], s, err);
    }
    grouping_free(&seen);
    if (rc == OK)
        v->n = n_kept;
    return rc;
}

enum errc eval_check_duplicates(struct query *q, const struct vector *v, struct err *err)
{
    struct vector copy = { ARENA_NEW(q->arena, struct fseries, v->n), v->n, v->n, 0 };

    if (!copy.items)
        return eval_arena_full(q, err);
    if (v->n > 0)
        memcpy(copy.items, v->items, v->n * sizeof *copy.items);
    return vector_join(q, &copy, err);
}

/* ---- sinks that collect ---- */

struct collect {
    struct query *q;
    struct vector *out;
};

static enum errc collect_series(void *ctx, struct fseries *s, struct err *err)
{
    struct collect *c = ctx;

    return vector_add(c->q, c->out, s, err);
}

enum errc eval_vector(struct query *q, const struct node *n, struct vector *out, struct err *err)
{
    *out = (struct vector){ 0 };
    return eval_each(q, n, collect_series, &(struct collect){ q, out }, err);
}

struct scalar_sink {
    struct query *q;
    double *v;
    bool got;
};

static enum errc take_scalar(void *ctx, struct fseries *s, struct err *err)
{
    struct scalar_sink *t = ctx;

    (void)err;
    ASSERT(!t->got && !s->h);
    memcpy(t->v, s->v, t->q->steps.n * sizeof *s->v);
    t->got = true;
    return OK;
}

enum errc eval_scalar(struct query *q, const struct node *n, double **out, struct err *err)
{
    struct scalar_sink t = { .q = q };
    enum errc rc = values_new(q, &t.v, err);

    if (rc == OK)
        rc = eval_each(q, n, take_scalar, &t, err);
    ASSERT(rc != OK || t.got);
    *out = t.v;
    return rc;
}

struct str eval_string(const struct node *n)
{
    while (n->kind == NODE_PAREN)
        n = n->paren;
    ASSERT(n->kind == NODE_STRING);
    return n->string;
}

/* ---- the kinds of nodes ---- */

/* Passes the series of one step on as series of all steps. */
struct spread {
    sink *to;
    void *ctx;
    struct query *q;
    double *v;
    const struct histogram **h; /* made when needed */
};

static enum errc spread_series(void *ctx, struct fseries *s, struct err *err)
{
    struct spread *sp = ctx;
    struct fseries out = { s->labels, s->drop_name, sp->v, NULL };
    enum errc rc;

    if (is_absent(s->v[0]))
        return OK;
    for (size_t i = 0; i < sp->q->steps.n; i++)
        sp->v[i] = s->v[0];
    if (series_histogram(s, 0)) {
        if (!sp->h && (rc = histograms_new(sp->q, &sp->h, err)) != OK)
            return rc;
        for (size_t i = 0; i < sp->q->steps.n; i++)
            sp->h[i] = s->h[0];
        out.h = sp->h;
    }
    return sp->to(sp->ctx, &out, err);
}

static enum errc eval_number(struct query *q, double value, sink *to, void *ctx, struct err *err)
{
    struct spread sp = { to, ctx, q, NULL, NULL };
    struct fseries one = { .v = &value };
    enum errc rc = values_new(q, &sp.v, err);

    return rc == OK ? spread_series(&sp, &one, err) : rc;
}

static enum errc eval_invariant(struct query *q, const struct node *n, sink *to, void *ctx,
                                struct err *err)
{
    struct spread sp = { to, ctx, q, NULL, NULL };
    struct query once = *q;
    enum errc rc = values_new(q, &sp.v, err);

    once.steps.n = 1;
    return rc == OK ? eval_each(&once, n, spread_series, &sp, err) : rc;
}

/* Applies a function to every value. */
struct map {
    struct query *q;
    double (*each)(double v);
    bool keeps_name;
    sink *to;
    void *ctx;
};

static enum errc map_series(void *ctx, struct fseries *s, struct err *err)
{
    struct map *m = ctx;

    if (s->h && !series_keep_floats(s, m->q->steps.n))
        return OK;
    for (size_t i = 0; i < m->q->steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        s->v[i] = m->each(s->v[i]);
        if (is_absent(s->v[i])) /* a sign was taken off some NaN that looks like the marker */
            s->v[i] = f64_from_bits(QUIET_NAN_BITS);
    }
    s->drop_name = s->drop_name || !m->keeps_name;
    return m->to(m->ctx, s, err);
}

static enum errc negate_series(void *ctx, struct fseries *s, struct err *err)
{
    struct map *m = ctx;

    for (size_t i = 0; i < m->q->steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        s->v[i] = -s->v[i];
        if (is_absent(s->v[i])) /* it was the marker with the other sign */
            s->v[i] = f64_from_bits(QUIET_NAN_BITS);
    }
    for (size_t i = 0; s->h && i < m->q->steps.n; i++) {
        const struct histogram *h = series_histogram(s, i);

        if (h && !(s->h[i] = histogram_scaled(m->q->scratch, h, -1, 1)))
            return eval_arena_full(m->q, err);
    }
    s->drop_name = true;
    return m->to(m->ctx, s, err);
}

static enum errc eval_unary(struct query *q, const struct node *n, sink *to, void *ctx,
                            struct err *err)
{
    struct map m = { .q = q, .to = to, .ctx = ctx };

    if (!n->unary.minus)
        return eval_each(q, n->unary.expr, to, ctx, err);
    return eval_each(q, n->unary.expr, negate_series, &m, err);
}

static enum errc eval_call(struct query *q, const struct node *n, sink *to, void *ctx,
                           struct err *err)
{
    const struct func *f = n->call.func;

    ASSERT(f);
    if (f->over)
        return eval_over(q, n, to, ctx, err);
    if (f->eval)
        return f->eval(q, n, to, ctx, err);
    if (f->each)
        return eval_each(q, n->call.args[0], map_series,
                         &(struct map){ q, f->each, f->keeps_name, to, ctx }, err);
    ASSERT(!"start(), end(), range() and step() have become numbers");
    return OK;
}

enum errc eval_each(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    enum errc rc = query_poll(q, err);

    if (rc != OK)
        return rc;
    if (n->invariant && q->steps.n > 1 && n->kind != NODE_NUMBER)
        return eval_invariant(q, n, to, ctx, err);
    switch (n->kind) {
    case NODE_NUMBER:
        return eval_number(q, n->number.value, to, ctx, err);
    case NODE_SELECTOR:
        return eval_selector(q, n, PICK_VALUES, to, ctx, err);
    case NODE_CALL:
        return eval_call(q, n, to, ctx, err);
    case NODE_AGGREGATE:
        return eval_aggregate(q, n, to, ctx, err);
    case NODE_BINARY:
        return eval_binary(q, n, to, ctx, err);
    case NODE_UNARY:
        return eval_unary(q, n, to, ctx, err);
    case NODE_PAREN:
        return eval_each(q, n->paren, to, ctx, err);
    case NODE_STRING:
    case NODE_MATRIX:
    case NODE_SUBQUERY:
        break;
    }
    ASSERT(false && "an expression that yields values");
    return OK;
}

/* ---- timestamp(), start_timestamp() ---- */

struct stamp {
    struct query *q;
    sink *to;
    void *ctx;
};

static enum errc stamp_series(void *ctx, struct fseries *s, struct err *err)
{
    struct stamp *st = ctx;

    for (size_t i = 0; i < st->q->steps.n; i++)
        if (!is_absent(s->v[i]))
            s->v[i] = (double)step_time(&st->q->steps, i) / 1000;
    s->h = NULL;
    s->drop_name = true;
    return st->to(st->ctx, s, err);
}

static enum errc drop_name(void *ctx, struct fseries *s, struct err *err)
{
    struct stamp *st = ctx;

    s->drop_name = true;
    return st->to(st->ctx, s, err);
}

enum errc call_timestamp(struct query *q, const struct node *call, sink *to, void *ctx,
                         struct err *err)
{
    const struct node *arg = call->call.args[0];
    struct stamp st = { q, to, ctx };

    if (arg->kind == NODE_SELECTOR)
        return eval_selector(q, arg, PICK_TIMES, drop_name, &st, err);
    return eval_each(q, arg, stamp_series, &st, err);
}

/* Only samples as they are stored have a start time. */
enum errc call_start_timestamp(struct query *q, const struct node *call, sink *to, void *ctx,
                               struct err *err)
{
    const struct node *arg = call->call.args[0];

    if (arg->kind == NODE_SELECTOR)
        return eval_selector(q, arg, PICK_START_TIMES, drop_name, &(struct stamp){ q, to, ctx },
                             err);
    return eval_each(q, arg, sink_discard, NULL, err);
}
