/* range.c -- calls of functions over ranges: one window per step and series.
 */
#include "query/eval_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/vec.h"
#include "query/functions_impl.h"
#include "query/loops.h"
#include "query/range_kernels.h"
#include "query/stepset.h"

#include "base/banned.h"

enum { POLL_SAMPLES = 1 << 18 }; /* visited between two polls; steps count like samples */

/* Evaluates one call, series by series. */
struct over {
    struct query *q;
    const struct node *call, *range;
    double *args[FUNC_MAX_ARGS]; /* the scalar arguments, a column each */
    size_t n_args;
    uint64_t *checked;          /* steps at which .check was called; NULL without one */
    double *v;                  /* the values of one series */
    const struct histogram **h; /* likewise, made when needed */
    struct float_window {       /* room for the floats of a window */
        int64_t *t_ms;
        double *v;
        size_t t_cap, v_cap;
    } floats;
    double *scratch; /* of window.scratch and kernel_job.scratch */
    size_t scratch_cap;
    struct resets resets;
    range_kernel *kernel; /* NULL: window by window */
    struct window_cache windows;
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

/* The resets among samples some of which tell when their counters began. */
static enum errc find_resets_by_starts(struct resets *r, const struct range_series *s,
                                       struct err *err)
{
    const struct window all = { .t_ms = s->t_ms, .v = s->v, .since_ms = s->since_ms, .n = s->n };

    r->n = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (!(s->v[i] < s->v[i - 1]) && !window_start_reset(&all, i))
            continue;
        if (!vec_reserve(&r->at, &r->at_cap, r->n + 1, sizeof *r->at)
            || !vec_reserve(&r->before, &r->before_cap, r->n + 1, sizeof *r->before))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        r->at[r->n] = i;
        r->before[r->n++] = s->v[i - 1];
    }
    return OK;
}

static enum errc find_resets(struct resets *r, const struct range_series *s, struct err *err)
{
    const struct loops *l = loops();

    r->n = 0;
    for (size_t i = l->find_decrease(s->v, 1, s->n); i < s->n;
         i = l->find_decrease(s->v, i + 1, s->n)) {
        if (!vec_reserve(&r->at, &r->at_cap, r->n + 1, sizeof *r->at)
            || !vec_reserve(&r->before, &r->before_cap, r->n + 1, sizeof *r->before))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        r->at[r->n] = i;
        r->before[r->n++] = s->v[i - 1];
    }
    return OK;
}

/* The first reset whose sample is at or after i. */
static size_t resets_from(const struct resets *r, size_t i)
{
    size_t lo = 0, hi = r->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (r->at[mid] < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* One series on its way through the windows. */
struct over_run {
    struct over *o;
    const struct range_series *s;
    const struct windows *windows;
    bool starts; /* the function looks at start times, and there are some */
    struct window w;
    double args[FUNC_MAX_ARGS]; /* of w */
};

/* Sets w to the window of a step, which has samples. */
static void set_window(struct over_run *r, size_t step)
{
    const struct over *o = r->o;
    size_t lo = r->windows->lo[step], hi = r->windows->hi[step];
    int64_t end_ms = ref_time(&o->q->steps, range_modifiers(o->range), step);

    r->w.t_ms = r->s->t_ms + lo;
    r->w.v = r->s->v + lo;
    r->w.h = r->s->h ? r->s->h + lo : NULL;
    r->w.since_ms = r->starts ? r->s->since_ms + lo : NULL;
    r->w.n = hi - lo;
    r->w.start_ms = time_sub(end_ms, range_length_ms(o->range));
    r->w.end_ms = end_ms;
    r->w.eval_ms = step_time(&o->q->steps, step);
    for (size_t i = 0; i < o->n_args; i++)
        r->args[i] = o->args[i][step];
    if (o->call->call.func->wants_counter) {
        size_t first = resets_from(&o->resets, lo + 1); /* both its samples are in the window */

        r->w.n_resets = resets_from(&o->resets, hi) - first;
        r->w.before_resets = r->w.n_resets > 0 ? o->resets.before + first : NULL;
    }
}

static double over_one(void *ctx, size_t step)
{
    struct over_run *r = ctx;

    set_window(r, step);
    return r->o->call->call.func->over(&r->w);
}

/* Warns when a sample of the window (irate: the last) claims to have begun before the one before it
 * was taken, though that one had begun at another time. */
static void annotate_overlap(const struct over_run *r)
{
    const struct window *w = &r->w;
    size_t i = str_is(r->o->call->call.name, "irate") && w->n > 1 ? w->n - 1 : 1;
    struct buf name = { 0 };

    while (i < w->n
           && (w->since_ms[i] == 0 || w->since_ms[i] >= w->t_ms[i - 1]
               || w->since_ms[i] == w->since_ms[i - 1]))
        i++;
    if (i >= w->n)
        return;
    print_quoted(&name, labels_get(r->s->labels, METRIC_NAME));
    annotate_occurrence(r->o->q, ANNOTATION_WARNING, r->o->call->call.args[0]->pos,
                        "sample has start time that overlaps with previous sample timestamp for "
                        "metric %.*s",
                        STR_ARG(buf_as_str(&name)));
    buf_free(&name);
}

static bool has_histograms(const struct window *w)
{
    for (size_t i = 0; w->h && i < w->n; i++)
        if (w->h[i])
            return true;
    return false;
}

/* Leaves only the floats of w, which has histograms; false when there are none. */
static bool cut_to_floats(struct over *o, struct window *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        if (!w->h[i]) {
            o->floats.t_ms[n] = w->t_ms[i];
            o->floats.v[n++] = w->v[i];
        }
    w->t_ms = o->floats.t_ms;
    w->v = o->floats.v;
    w->h = NULL;
    w->since_ms = NULL; /* of no use to functions of floats */
    w->n = n;
    return n > 0;
}

static void annotate_ignored(const struct over_site *site)
{
    struct buf name = { 0 };

    print_quoted(&name, labels_get(site->labels, METRIC_NAME));
    annotate(site->q, ANNOTATION_INFO, site->call->call.args[0]->pos,
             "ignored histograms in a range containing both floats and histograms for metric name "
             "%.*s",
             STR_ARG(buf_as_str(&name)));
    buf_free(&name);
}

/* A window of a series with histograms. */
static enum errc over_samples(struct over_run *r, size_t step, struct err *err)
{
    struct over *o = r->o;
    const struct func *f = o->call->call.func;
    const struct over_site site = { o->q, o->call, r->s->labels };
    struct window w = r->w;
    struct outcome out = { absent(), NULL };
    bool mixed = has_histograms(&w);
    enum errc rc = OK;

    if (mixed && f->histograms) {
        rc = f->histograms(&site, &w, &out, err);
        o->v[step] = out.v;
        o->h[step] = out.h;
        return rc;
    }
    if (mixed && f->over_kind == OVER_FLOATS) {
        if (!cut_to_floats(o, &w))
            return OK;
        annotate_ignored(&site);
    }
    rc = check_step(o, step, r->args, err);
    o->v[step] = rc == OK ? f->over(&w) : absent();
    return rc;
}

/* Window by window. */
static enum errc over_windows(struct over_run *r, struct err *err)
{
    struct over *o = r->o;
    size_t unpolled = 0;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < o->q->steps.n; i++, unpolled++) {
        o->v[i] = absent();
        if (r->windows->lo[i] == r->windows->hi[i])
            continue;
        set_window(r, i);
        if (r->starts)
            annotate_overlap(r);
        if (r->s->h)
            rc = over_samples(r, i, err);
        else if ((rc = check_step(o, i, r->args, err)) == OK)
            o->v[i] = o->call->call.func->over(&r->w);
        unpolled += r->s->h ? samples_weight(r->w.h, r->w.n) : r->w.n;
        if (rc == OK && unpolled >= POLL_SAMPLES) {
            unpolled = 0;
            rc = query_poll(o->q, err);
        }
    }
    return rc;
}

/* Room for the histograms of a series. */
static enum errc prepare_histograms(struct over *o, const struct range_series *s, struct err *err)
{
    enum errc rc = o->h ? OK : histograms_new(o->q, &o->h, err);

    if (rc != OK)
        return rc;
    memset(o->h, 0, o->q->steps.n * sizeof *o->h);
    if (!vec_reserve(&o->floats.t_ms, &o->floats.t_cap, s->n, sizeof(int64_t))
        || !vec_reserve(&o->floats.v, &o->floats.v_cap, s->n, sizeof(double)))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    return OK;
}

/* All windows at once, in pieces between which it is polled. */
static enum errc over_kernel(struct over_run *r, struct err *err)
{
    struct over *o = r->o;
    struct kernel_job job = { .w = r->windows,
                              .v = r->s->v,
                              .resets = &o->resets,
                              .out = o->v,
                              .scratch = (uint32_t *)o->scratch,
                              .one = over_one,
                              .ctx = r };
    size_t n = o->q->steps.n, piece = POLL_SAMPLES / (r->windows->most + 1) + 1;
    enum errc rc = OK;

    for (size_t from = 0; rc == OK && from < n; from += piece) {
        o->kernel(&job, from, n - from < piece ? n : from + piece);
        if (n > piece)
            rc = query_poll(o->q, err);
    }
    return rc;
}

static bool has_float(const struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; i < n_steps; i++)
        if (!is_absent(s->v[i]) && !series_histogram(s, i))
            return true;
    return false;
}

static enum errc over_series(void *ctx, const struct range_series *s, struct err *err)
{
    struct over *o = ctx;
    const struct func *f = o->call->call.func;
    const struct modifiers *m = range_modifiers(o->range);
    struct fseries out = { .labels = s->labels,
                           .drop_name = s->drop_name || !f->keeps_name,
                           .v = o->v };
    struct over_run r = { .o = o, .s = s };
    enum errc rc;

    if (s->n == 0)
        return OK;
    if (!vec_reserve(&o->scratch, &o->scratch_cap, s->n, sizeof *o->scratch))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    r.w = (struct window){
        .args = r.args, .scratch = o->scratch, .anchored = m->anchored, .smoothed = m->smoothed
    };
    if ((rc = windows_of(&o->windows, s, &r.windows, err)) != OK)
        return rc;
    r.starts =
        s->since_ms && f->wants_starts && !(f->wants_counter && (m->anchored || m->smoothed));
    if (f->wants_counter)
        rc = r.starts ? find_resets_by_starts(&o->resets, s, err) : find_resets(&o->resets, s, err);
    if (rc == OK && s->h) {
        rc = prepare_histograms(o, s, err);
        out.h = o->h;
    }
    if (rc == OK)
        rc = o->kernel && !s->h && !r.starts ? over_kernel(&r, err) : over_windows(&r, err);
    if (rc != OK || !series_has_value(&out, o->q->steps.n))
        return rc;
    if (f->wants_counter && has_float(&out, o->q->steps.n))
        annotate_non_counter(o, s->labels);
    return o->to(o->ctx, &out, err);
}

/* Chooses the kernel, if there is one for plain windows. */
static void choose_kernel(struct over *o)
{
    const struct modifiers *m = range_modifiers(o->range);
    over_function *over = o->call->call.func->over;

    o->windows = (struct window_cache){ .q = o->q, .range = o->range };
    if (m->anchored || m->smoothed)
        return;
    o->kernel = range_kernel_find(over);
    o->windows.growth = range_kernel_extrapolates(over, &o->windows.per_second);
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
    choose_kernel(&o);
    if (rc == OK)
        rc = range_each(q, o.range, over_series, &o, err);
    window_cache_free(&o.windows);
    free(o.scratch);
    free(o.floats.t_ms);
    free(o.floats.v);
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
