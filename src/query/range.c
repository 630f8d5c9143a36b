/* range.c -- calls of functions over ranges: one window per step and series.
 */
#include "query/eval_private.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/vec.h"
#include "query/functions_impl.h"
#include "query/stepset.h"

#include "base/banned.h"

enum { POLL_SAMPLES = 10000 }; /* steps count like samples */

/* The resets of a counter over all windows. A walk over a window's samples at each step would be
 * most of what rate() does; resets are few. */
struct resets {
    size_t *at;     /* indices of samples smaller than the one before */
    double *before; /* the values of those before */
    size_t n, at_cap, before_cap;
    size_t lo, hi; /* those in the current window */
};

/* Evaluates one call, series by series. */
struct over {
    struct query *q;
    const struct node *call, *range;
    double *args[FUNC_MAX_ARGS]; /* the scalar arguments, a column each */
    size_t n_args;
    uint64_t *checked; /* steps at which .check was called; NULL without one */
    double *v;         /* the values of one series */
    double *scratch;   /* of window.scratch */
    size_t scratch_cap;
    struct resets resets;
    sink *to;
    void *ctx;
};

/* The argument of a range function that is a range. */
static const struct node *range_argument(const struct node *call)
{
    for (size_t i = 0; i < call->call.n_args; i++)
        if (call->call.args[i]->type == TYPE_MATRIX)
            return call->call.args[i];
    ASSERT(false && "a range function has a range argument");
    return NULL;
}

/* Only some functions know what to do with the wider windows of anchored and smoothed ranges. */
static enum errc check_modifiers(const struct node *call, const struct modifiers *m,
                                 struct err *err)
{
    static const char *const anchored[] = { "changes", "delta", "increase", "rate", "resets" };
    static const char *const smoothed[] = { "delta", "increase", "rate" };
    struct str name = call->call.name;

    for (size_t i = 0; m->anchored && i < ARRAY_LEN(anchored); i++)
        if (str_is(name, anchored[i]))
            return OK;
    for (size_t i = 0; m->smoothed && i < ARRAY_LEN(smoothed); i++)
        if (str_is(name, smoothed[i]))
            return OK;
    if (m->anchored)
        return err_set(err, ERR_EXECUTION, call->pos,
                       "anchored modifier can only be used with: changes, delta, increase, rate, "
                       "resets - not with %.*s",
                       STR_ARG(name));
    if (m->smoothed)
        return err_set(err, ERR_EXECUTION, call->pos,
                       "smoothed modifier can only be used with: delta, increase, rate - not with "
                       "%.*s",
                       STR_ARG(name));
    return OK;
}

static enum errc check_step(struct over *o, size_t step, const double *args, struct err *err)
{
    if (!o->checked || stepset_has(o->checked, step))
        return OK;
    stepset_add(o->checked, step);
    return o->call->call.func->check(o->q, o->call, args, err);
}

/* Tells users of rate() and increase() that a gauge will not do, by its name. */
static void annotate_non_counter(struct over *o, struct labels ls)
{
    static const struct str suffixes[] = {
        { "_total", 6 }, { "_sum", 4 }, { "_count", 6 }, { "_bucket", 7 }
    };
    struct str name = labels_get(ls, METRIC_NAME);
    struct buf quoted = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (str_ends_with(name, suffixes[i]))
            return;
    if (name.len == 0)
        return;
    print_quoted(&quoted, name);
    annotate(o->q, ANNOTATION_INFO, o->range->pos,
             "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: %.*s",
             STR_ARG(buf_as_str(&quoted)));
    buf_free(&quoted);
}

static enum errc find_resets(struct resets *r, const struct range_series *s, struct err *err)
{
    r->n = r->lo = r->hi = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (!(s->v[i] < s->v[i - 1]))
            continue;
        if (!vec_reserve(&r->at, &r->at_cap, r->n + 1, sizeof *r->at)
            || !vec_reserve(&r->before, &r->before_cap, r->n + 1, sizeof *r->before))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        r->at[r->n] = i;
        r->before[r->n++] = s->v[i - 1];
    }
    return OK;
}

/* Both samples of a reset are in the window lo <= i < hi. */
static void move_resets(struct resets *r, const struct window_bounds *b, struct window *w)
{
    while (r->lo < r->n && r->at[r->lo] <= b->lo)
        r->lo++;
    if (r->hi < r->lo)
        r->hi = r->lo;
    while (r->hi < r->n && r->at[r->hi] < b->hi)
        r->hi++;
    w->n_resets = r->hi - r->lo;
    w->before_resets = w->n_resets > 0 ? r->before + r->lo : NULL;
}

/* Fills o->v; *any tells whether there is a value at some step. */
static enum errc over_windows(struct over *o, const struct range_series *s, bool *any,
                              struct err *err)
{
    const struct func *f = o->call->call.func;
    const struct modifiers *m = range_modifiers(o->range);
    struct window_bounds bounds = { 0 };
    double args[FUNC_MAX_ARGS];
    struct window w = {
        .args = args, .scratch = o->scratch, .anchored = m->anchored, .smoothed = m->smoothed
    };
    size_t unpolled = 0;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < o->q->steps.n; i++, unpolled++) {
        if (unpolled >= POLL_SAMPLES) {
            unpolled = 0;
            if ((rc = query_poll(o->q, err)) != OK)
                break;
        }
        window_at(&bounds, o->q, o->range, s, i);
        o->v[i] = absent();
        if (bounds.lo == bounds.hi)
            continue;
        w.t_ms = s->t_ms + bounds.lo;
        w.v = s->v + bounds.lo;
        w.n = bounds.hi - bounds.lo;
        w.start_ms = bounds.start_ms;
        w.end_ms = bounds.end_ms;
        w.eval_ms = step_time(&o->q->steps, i);
        for (size_t a = 0; a < o->n_args; a++)
            args[a] = o->args[a][i];
        if ((rc = check_step(o, i, args, err)) != OK)
            break;
        if (f->wants_counter)
            move_resets(&o->resets, &bounds, &w);
        o->v[i] = f->over(&w);
        *any = *any || !is_absent(o->v[i]);
        unpolled += w.n;
    }
    return rc;
}

static enum errc over_series(void *ctx, const struct range_series *s, struct err *err)
{
    struct over *o = ctx;
    const struct func *f = o->call->call.func;
    struct fseries out = { .labels = s->labels,
                           .drop_name = s->drop_name || !f->keeps_name,
                           .v = o->v };
    bool any = false;
    enum errc rc;

    if (s->n == 0)
        return OK;
    if (!vec_reserve(&o->scratch, &o->scratch_cap, s->n, sizeof *o->scratch))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    rc = f->wants_counter ? find_resets(&o->resets, s, err) : OK;
    if (rc == OK)
        rc = over_windows(o, s, &any, err);
    if (rc != OK || !any)
        return rc;
    if (f->wants_counter)
        annotate_non_counter(o, s->labels);
    return o->to(o->ctx, &out, err);
}

enum errc eval_over(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    struct over o = { .q = q, .call = call, .range = range_argument(call), .to = to, .ctx = ctx };
    enum errc rc = check_modifiers(call, range_modifiers(o.range), err);

    for (size_t i = 0; rc == OK && i < call->call.n_args; i++)
        if (call->call.args[i] != o.range)
            rc = eval_scalar(q, call->call.args[i], &o.args[o.n_args++], err);
    if (rc == OK)
        rc = values_new(q, &o.v, err);
    if (rc == OK && call->call.func->check)
        rc = stepset_new(q, &o.checked, err);
    if (rc == OK)
        rc = range_each(q, o.range, over_series, &o, err);
    free(o.scratch);
    free(o.resets.at);
    free(o.resets.before);
    return rc;
}

/* ---- absent_over_time ---- */

struct absence {
    struct query *q;
    const struct node *range;
    double *v; /* 1 where nothing was found yet */
};

static enum errc strike_present(void *ctx, const struct range_series *s, struct err *err)
{
    struct absence *a = ctx;
    struct window_bounds w = { 0 };

    (void)err;
    for (size_t i = 0; s->n > 0 && i < a->q->steps.n; i++) {
        window_at(&w, a->q, a->range, s, i);
        if (w.lo < w.hi)
            a->v[i] = absent();
    }
    return OK;
}

enum errc call_absent_over_time(struct query *q, const struct node *call, sink *to, void *ctx,
                                struct err *err)
{
    struct absence a = { .q = q, .range = range_argument(call) };
    struct fseries out = { 0 };
    bool any = false;
    enum errc rc;

    if ((rc = check_modifiers(call, range_modifiers(a.range), err)) != OK
        || (rc = values_new(q, &a.v, err)) != OK
        || (rc = absent_labels(q, a.range, &out.labels, err)) != OK)
        return rc;
    for (size_t i = 0; i < q->steps.n; i++)
        a.v[i] = 1;
    rc = range_each(q, a.range, strike_present, &a, err);
    for (size_t i = 0; i < q->steps.n; i++)
        any = any || !is_absent(a.v[i]);
    out.v = a.v;
    return rc == OK && any ? to(ctx, &out, err) : rc;
}
