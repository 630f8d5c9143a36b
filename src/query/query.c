/* query.c -- a query's life: parse, prepare, open a view, evaluate, close the view, put the result
 * in order.
 *
 * The result's arena is the query's: tree, selected series and result go together. What is copied
 * is the labels of the result, since their texts belong to the view.
 */
#include "query/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "query/eval_private.h"
#include "query/grouping.h"
#include "query/parse.h"
#include "query/range_functions.h"
#include "storage/db.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { MINUTE_MS = 60000 };

struct query_options query_options_default(struct db *db)
{
    return (struct query_options){
        .db = db,
        .lookback_ms = 5 * MINUTE_MS,
        .subquery_step_ms = MINUTE_MS,
        .timeout_ms = 2 * MINUTE_MS,
        .max_samples = 50000000,
        .max_bytes = (size_t)1 << 30,
        .clock = &clock_system,
    };
}

/* One run of a query, and the result it grows. */
struct run {
    struct query q;
    struct query_shared shared;
    struct query_options options;
    struct node *root;
    bool is_range;
    struct query_result *result;
    size_t cap; /* of result->series */
};

/* ---- collecting ---- */

static enum errc result_add(struct run *r, struct labels ls, bool without_name,
                            struct result_series **out, struct err *err)
{
    struct query_result *res = r->result;
    struct result_series *s;
    struct labels copy;

    if (res->n_series == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 16;

        s = arena_grow(res->arena, res->series, r->cap * sizeof *s, cap * sizeof *s);
        if (!s)
            return eval_arena_full(&r->q, err);
        res->series = s;
        r->cap = cap;
    }
    if (without_name) {
        enum errc rc = labels_without_metadata(&r->q, ls, &ls, err);

        if (rc != OK)
            return rc;
    }
    copy = labels_copy(res->arena, ls);
    if (ls.n > 0 && !copy.items)
        return eval_arena_full(&r->q, err);
    s = &res->series[res->n_series++];
    *s = (struct result_series){ .labels = copy };
    *out = s;
    return OK;
}

static enum errc points_new(struct run *r, struct result_series *s, size_t n, bool histograms,
                            struct err *err)
{
    enum errc rc = query_hold(&r->q, n, err);

    if (rc != OK)
        return rc;
    s->points = ARENA_NEW(r->result->arena, struct point, n);
    if (histograms)
        s->h = ARENA_NEW(r->result->arena, const struct histogram *, n);
    return s->points && (s->h || !histograms) ? OK : eval_arena_full(&r->q, err);
}

static void add_point(struct result_series *s, int64_t t_ms, double v)
{
    s->points[s->n_points++] = (struct point){ t_ms, v };
}

/* Makes the point added last a copy of h; nothing when h is NULL. */
static enum errc set_histogram(struct run *r, struct result_series *s, const struct histogram *h,
                               struct err *err)
{
    enum errc rc;

    if (!h)
        return OK;
    if ((rc = query_hold(&r->q, histogram_weight(h) - 1, err)) != OK)
        return rc;
    s->h[s->n_points - 1] = histogram_copy(r->result->arena, h);
    return s->h[s->n_points - 1] ? OK : eval_arena_full(&r->q, err);
}

/* A sink: the values of a series as points. */
static enum errc add_values(void *ctx, struct fseries *s, struct err *err)
{
    struct run *r = ctx;
    struct result_series *out;
    size_t n = 0;
    enum errc rc;

    for (size_t i = 0; i < r->q.steps.n; i++)
        n += !is_absent(s->v[i]);
    if (n == 0)
        return OK;
    if ((rc = result_add(r, s->labels, s->drop_name, &out, err)) != OK
        || (rc = points_new(r, out, n, s->h != NULL, err)) != OK)
        return rc;
    for (size_t i = 0; rc == OK && i < r->q.steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        add_point(out, step_time(&r->q.steps, i), s->v[i]);
        if (s->h)
            rc = set_histogram(r, out, s->h[i], err);
    }
    return rc;
}

/* A range sink: the samples of the only window. Of an anchored or smoothed range, its borders and
 * the samples between them. */
static enum errc add_samples(void *ctx, const struct range_series *s, struct err *err)
{
    struct run *r = ctx;
    const struct modifiers *m = range_modifiers(r->root);
    bool extended = m->anchored || m->smoothed;
    struct window_bounds at = { 0 };
    struct window w = { .anchored = m->anchored, .smoothed = m->smoothed };
    struct result_series *out;
    struct borders borders;
    enum errc rc;

    window_at(&at, &r->q, r->root, s, 0);
    w.n = at.hi - at.lo;
    if (w.n == 0)
        return OK;
    w.t_ms = s->t_ms + at.lo;
    w.v = s->v + at.lo;
    w.start_ms = at.start_ms;
    w.end_ms = at.end_ms;
    for (size_t i = at.lo; extended && s->h && i < at.hi; i++)
        if (s->h[i])
            return err_set(err, ERR_EXECUTION, r->root->pos,
                           "%s modifier is not supported with histograms",
                           m->anchored ? "anchored" : "smoothed");
    if (extended && !window_borders(&w, false, &borders))
        return OK;
    if ((rc = result_add(r, s->labels, s->drop_name, &out, err)) != OK
        || (rc = points_new(r, out, w.n + 2, s->h != NULL, err)) != OK)
        return rc;
    if (extended)
        add_point(out, w.start_ms, borders.left);
    for (size_t i = 0; rc == OK && i < w.n; i++) {
        if (extended && (w.t_ms[i] <= w.start_ms || w.t_ms[i] >= w.end_ms))
            continue;
        add_point(out, w.t_ms[i], w.v[i]);
        if (s->h)
            rc = set_histogram(r, out, s->h[at.lo + i], err);
    }
    if (extended)
        add_point(out, w.end_ms, borders.right);
    return rc;
}

/* ---- putting in order ---- */

static int compare_series(const void *a, const void *b)
{
    return labels_cmp(((const struct result_series *)a)->labels,
                      ((const struct result_series *)b)->labels);
}

/* Merges the points of b, a series that came to have the labels of a, into a. Two samples of one kind
 * at one time are refused; of a float and a histogram both stay. */
static enum errc join_points(struct run *r, struct result_series *a, const struct result_series *b,
                             struct err *err)
{
    struct result_series out = { .labels = a->labels };
    bool histograms = a->h || b->h;
    size_t i = 0, j = 0;

    out.points = ARENA_NEW(r->result->arena, struct point, a->n_points + b->n_points);
    if (histograms)
        out.h = ARENA_NEW(r->result->arena, const struct histogram *, a->n_points + b->n_points);
    if (!out.points || (histograms && !out.h))
        return eval_arena_full(&r->q, err);
    while (i < a->n_points || j < b->n_points) {
        bool both = i < a->n_points && j < b->n_points;
        bool take_b = both ? b->points[j].t_ms < a->points[i].t_ms : i == a->n_points;
        const struct result_series *from = take_b ? b : a;
        size_t at = take_b ? j : i;

        if (both && a->points[i].t_ms == b->points[j].t_ms
            && !result_histogram(a, i) == !result_histogram(b, j))
            return err_set(err, ERR_EXECUTION, 0,
                           "vector cannot contain metrics with the same labelset");
        out.points[out.n_points] = from->points[at];
        if (histograms)
            out.h[out.n_points] = result_histogram(from, at);
        out.n_points++;
        *(take_b ? &j : &i) += 1;
    }
    *a = out;
    return OK;
}

/* Joins series that have become equal by losing their names. */
static enum errc join_equal(struct run *r, struct err *err)
{
    struct query_result *res = r->result;
    struct grouping seen = { .q = &r->q };
    size_t n_kept = 0;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < res->n_series; i++) {
        uint32_t id;

        if ((rc = grouping_add(&seen, res->series[i].labels, &id, err)) != OK)
            break;
        if (id == n_kept)
            res->series[n_kept++] = res->series[i];
        else
            rc = join_points(r, &res->series[id], &res->series[i], err);
    }
    grouping_free(&seen);
    res->n_series = n_kept;
    return rc;
}

static enum errc finish(struct run *r, struct err *err)
{
    struct query_result *res = r->result;
    enum errc rc = join_equal(r, err);

    if (rc != OK)
        return rc;
    if (res->type == TYPE_MATRIX && res->n_series > 1)
        qsort(res->series, res->n_series, sizeof *res->series, compare_series);
    res->samples = r->shared.samples;
    res->peak_samples = r->shared.peak;
    if (annotations_texts(r->q.annotations, ANNOTATION_WARNING, res->arena, &res->warnings,
                          &res->n_warnings)
            != OK
        || annotations_texts(r->q.annotations, ANNOTATION_INFO, res->arena, &res->infos,
                             &res->n_infos)
               != OK)
        return eval_arena_full(&r->q, err);
    return OK;
}

/* ---- the run ---- */

static enum errc evaluate(struct run *r, struct err *err)
{
    if (r->root->type == TYPE_STRING) {
        r->result->string = eval_string(r->root);
        return OK;
    }
    if (r->root->type == TYPE_MATRIX)
        return range_each(&r->q, r->root, add_samples, r, err);
    return eval_each(&r->q, r->root, add_values, r, err);
}

/* Whatever the query reads lies in one view, so that all of it is of one moment. */
static enum errc evaluate_in_view(struct run *r, struct err *err)
{
    struct time_span span;
    enum errc rc = query_prepare(&r->q, r->root, &span, err);

    while (r->root->kind == NODE_PAREN)
        r->root = r->root->paren;
    if (rc == OK && span.min_ms > span.max_ms)
        span.min_ms = span.max_ms = r->shared.start_ms; /* nothing is read */
    if (rc == OK)
        rc = db_view_open(r->options.db, span.min_ms, span.max_ms, &r->shared.view, err);
    if (rc == OK)
        rc = evaluate(r, err);
    if (rc == OK)
        rc = finish(r, err);
    db_view_close(r->shared.view);
    return rc;
}

static enum errc parse(struct run *r, struct err *err)
{
    struct err fault = err_in(r->q.arena);
    struct buf b = { 0 };
    enum errc rc = parse_query(r->q.text, r->q.arena, &r->root, &fault);

    if (rc == ERR_BAD_QUERY) {
        parse_error_print(&b, r->q.text, &fault);
        rc = err_set(err, rc, fault.pos, "%.*s", STR_ARG(buf_as_str(&b)));
        buf_free(&b);
    } else if (rc != OK) {
        rc = err_set(err, rc, fault.pos, "%s", err_text(&fault));
    }
    if (rc == OK && r->is_range && r->root->type != TYPE_SCALAR && r->root->type != TYPE_VECTOR)
        rc = err_set(err, ERR_BAD_QUERY, 0,
                     "invalid expression type \"%s\" for range query, must be Scalar or instant "
                     "Vector",
                     value_type_doc(r->root->type));
    return rc;
}

static int64_t deadline(const struct clock *clock, int64_t timeout_ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(timeout_ms, 1000000, &ns))
        return INT64_MAX;
    return time_add(clock_mono_ns(clock), ns);
}

static enum errc run(struct run *r, const struct query_options *o, struct str text,
                     struct query_result **out, struct err *err)
{
    struct arena *arena = arena_new(o->max_bytes);
    enum errc rc;

    *out = NULL;
    if (!arena)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    r->options = *o;
    if (!r->options.clock)
        r->options.clock = &clock_system;
    r->shared.deadline_ns = deadline(r->options.clock, o->timeout_ms);
    r->q.options = &r->options;
    r->q.arena = arena;
    r->q.scratch = arena_new(o->max_bytes);
    r->q.temp = arena_new(o->max_bytes);
    r->q.text = str_copy(arena, text);
    r->q.shared = &r->shared;
    r->q.annotations = annotations_new(arena);
    r->result = ARENA_NEW(arena, struct query_result, 1);
    if (!r->q.text.ptr || !r->q.annotations || !r->result || !r->q.scratch || !r->q.temp) {
        rc = eval_arena_full(&r->q, err);
    } else {
        r->result->arena = arena;
        rc = parse(r, err);
    }
    if (rc == OK) {
        r->result->type = r->is_range ? TYPE_MATRIX : r->root->type;
        r->result->t_ms = r->shared.start_ms;
        rc = evaluate_in_view(r, err);
    }
    parse_free(r->root);
    arena_free(r->q.scratch);
    arena_free(r->q.temp);
    if (rc != OK)
        arena_free(arena);
    else
        *out = r->result;
    return rc;
}

enum errc query_instant(const struct query_options *o, struct str text, int64_t t_ms,
                        struct query_result **out, struct err *err)
{
    struct run r = { .q.steps = { t_ms, 1, 1 }, .shared = { .start_ms = t_ms, .end_ms = t_ms } };

    return run(&r, o, text, out, err);
}

enum errc query_range(const struct query_options *o, struct str text, int64_t start_ms,
                      int64_t end_ms, int64_t step_ms, struct query_result **out, struct err *err)
{
    struct run r = {
        .q.steps = { start_ms, step_ms, (size_t)((end_ms - start_ms) / step_ms) + 1 },
        .shared = { .start_ms = start_ms, .end_ms = end_ms, .step_ms = step_ms },
        .is_range = true,
    };

    ASSERT(step_ms > 0 && end_ms >= start_ms);
    return run(&r, o, text, out, err);
}

void query_result_free(struct query_result *r)
{
    if (r)
        arena_free(r->arena);
}
