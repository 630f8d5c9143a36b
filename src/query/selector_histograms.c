#include "query/selector_histograms.h"

#include <string.h>

#include "base/arena.h"
#include "query/eval_private.h"
#include "query/histogram_buckets.h"
#include "query/histogram_ops.h"

#include "base/banned.h"

/* ---- hints ---- */

static bool goes_on(const struct histogram *prev, const struct histogram *h)
{
    struct histogram cur = *h;

    cur.hint = HINT_UNKNOWN; /* what the writer says of another sample before it does not count */
    return !histogram_is_reset(prev, &cur);
}

/* What is done with resets. */
enum resets {
    RESETS_HIDDEN, /* as in Prometheus: whoever needs to know compares */
    RESETS_KEPT,   /* those that only the writer knows of are told */
    RESETS_TOLD    /* all are */
};

/* prev is the sample before, NULL when that is a float or not known. */
static enum histogram_hint hint_of(const struct histogram *prev, const struct histogram *h,
                                   enum resets resets)
{
    bool known = prev && prev->hint != HINT_GAUGE;

    if (h->hint == HINT_GAUGE)
        return HINT_GAUGE;
    if (h->hint == HINT_RESET && resets != RESETS_HIDDEN)
        return resets == RESETS_TOLD || !known || goes_on(prev, h) ? HINT_RESET : HINT_UNKNOWN;
    if (!known || h->hint == HINT_RESET)
        return HINT_UNKNOWN;
    if (goes_on(prev, h))
        return HINT_NO_RESET;
    return resets == RESETS_TOLD ? HINT_RESET : HINT_UNKNOWN;
}

static struct histogram *without_buckets(struct arena *a, const struct histogram *h)
{
    struct histogram *out = ARENA_NEW(a, struct histogram, 1);

    if (out) {
        out->schema = h->schema;
        out->count = h->count;
        out->sum = h->sum;
    }
    return out;
}

/* h as a query sees it; NULL when the scratch arena is full. */
static const struct histogram *as_read(struct query *q, const struct node *selector,
                                       const struct histogram *prev, const struct histogram *h,
                                       enum resets resets)
{
    bool stats_only = selector->selector.stats_only;
    enum histogram_hint hint = hint_of(prev, h, stats_only ? RESETS_TOLD : resets);
    struct histogram *out;

    if (!stats_only)
        return hint == h->hint ? h : histogram_with_hint(q->scratch, h, hint);
    if ((out = without_buckets(q->scratch, h)))
        out->hint = hint;
    return out;
}

enum errc hints_of_range(struct query *q, const struct node *selector, const struct histogram *prev,
                         struct column *c, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct histogram *h = c->h[i];

        if (h && !(c->h[i] = as_read(q, selector, prev, h, RESETS_KEPT)))
            return eval_arena_full(q, err);
        prev = h;
    }
    return OK;
}

/* ---- the newest sample ---- */

static const struct histogram *usable(const struct column *c, size_t i)
{
    return is_stale(c->v[i]) ? NULL : c->h[i];
}

enum errc pick_histograms(struct query *q, const struct node *selector, const struct column *c,
                          const double *v, const struct histogram **h, struct err *err)
{
    const struct histogram *newest = NULL;
    size_t next = 0, at = SIZE_MAX;

    for (size_t i = 0; i < q->steps.n; i++) {
        int64_t ref = ref_time(&q->steps, &selector->selector.mod, i);

        while (next < c->n && c->t_ms[next] <= ref)
            next++;
        h[i] = NULL;
        if (is_absent(v[i]))
            continue;
        if (at != next - 1) {
            at = next - 1;
            newest = c->h[at];
            if (newest
                && !(newest = as_read(q, selector, at ? usable(c, at - 1) : NULL, newest,
                                      RESETS_HIDDEN)))
                return eval_arena_full(q, err);
        }
        h[i] = newest;
    }
    return OK;
}

/* ---- smoothed ---- */

struct smoothing {
    struct query *q;
    const struct node *selector;
    struct labels labels;
    const struct column *c;
};

static void warn(const struct smoothing *s, const char *text)
{
    struct buf name = { 0 };

    print_quoted(&name, labels_get(s->labels, METRIC_NAME));
    annotate(s->q, ANNOTATION_WARNING, s->selector->pos, "%s for metric name %.*s", text,
             STR_ARG(buf_as_str(&name)));
    buf_free(&name);
}

static bool is_mixed(const struct column *c, size_t lo, size_t hi)
{
    for (size_t i = lo; i < hi; i++)
        if (!c->h[i] != !c->h[lo])
            return true;
    return false;
}

/* The sample at ref_ms, between i and i + 1; absent when they do not go together. */
static enum errc between_samples(const struct smoothing *s, size_t i, int64_t ref_ms, double *v,
                                 const struct histogram **h, struct err *err)
{
    const struct column *c = s->c;
    const struct histogram *x = c->h[i], *y = c->h[i + 1];
    double gap = (double)(c->t_ms[i + 1] - c->t_ms[i]), at = (double)(ref_ms - c->t_ms[i]);
    unsigned notes = 0;
    bool is_counter;

    if (!x) {
        *v = c->v[i] + (c->v[i + 1] - c->v[i]) * at / gap;
        return OK;
    }
    if (histogram_is_custom(x) != histogram_is_custom(y)) {
        warn(s, "vector contains a mix of histograms with exponential and custom buckets schemas");
        return OK;
    }
    is_counter = x->hint != HINT_GAUGE || y->hint != HINT_GAUGE;
    *h = histogram_between(s->q->temp, x, y, at / gap, is_counter && histogram_is_reset(x, y),
                           &notes);
    if (*h)
        *h = histogram_copy(s->q->scratch, *h);
    arena_reset(s->q->temp);
    *v = 0;
    return *h ? OK : eval_arena_full(s->q, err);
}

static enum errc carried_forward(const struct smoothing *s, size_t i, double *v,
                                 const struct histogram **h, struct err *err)
{
    *v = s->c->v[i];
    *h = s->c->h[i];
    if (*h && !(*h = histogram_with_hint(s->q->scratch, *h, HINT_UNKNOWN)))
        return eval_arena_full(s->q, err);
    return OK;
}

enum errc pick_smoothed_samples(struct query *q, const struct node *selector, struct labels labels,
                                const struct column *c, double *v, const struct histogram **h,
                                struct err *err)
{
    const struct smoothing s = { q, selector, labels, c };
    int64_t lookback = q->options->lookback_ms;
    size_t lo = 0, next = 0, hi = 0;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < q->steps.n; i++) {
        int64_t ref = ref_time(&q->steps, &selector->selector.mod, i);

        while (lo < c->n && c->t_ms[lo] <= time_sub(ref, lookback))
            lo++;
        while (next < c->n && c->t_ms[next] <= ref)
            next++;
        while (hi < c->n && c->t_ms[hi] <= time_add(ref, lookback))
            hi++;
        v[i] = absent();
        h[i] = NULL;
        if (next <= lo)
            continue;
        if (is_mixed(c, lo, hi)) {
            warn(&s, "encountered a mix of histograms and floats");
            continue;
        }
        if (c->t_ms[next - 1] == ref || next == hi)
            rc = carried_forward(&s, next - 1, &v[i], &h[i], err);
        else
            rc = between_samples(&s, next - 1, ref, &v[i], &h[i], err);
    }
    return rc;
}
