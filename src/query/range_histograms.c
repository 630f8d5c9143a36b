/* range_histograms.c
 *
 * rate, increase and delta of histograms are the last one less the first, with what each reset hid
 * added, stretched to the window like floats are; range_functions.c has that part. Windows in which
 * floats and histograms mix have no rate and no sum, only a warning.
 */
#include "query/range_histograms.h"

#include <math.h>

#include "base/arena.h"
#include "query/eval.h"
#include "query/histogram_buckets.h"
#include "query/histogram_ops.h"
#include "query/range_functions.h"

#include "base/banned.h"

/* ---- what users are told ---- */

/* Adds TEXT "N" with the name of the series. */
static void tell(const struct over_site *site, enum annotation_kind kind, const char *text)
{
    struct buf name = { 0 };

    print_quoted(&name, labels_get(site->labels, METRIC_NAME));
    annotate(site->q, kind, site->call->call.args[0]->pos, "%s%.*s", text,
             STR_ARG(buf_as_str(&name)));
    buf_free(&name);
}

static void warn_of_mix(const struct over_site *site)
{
    tell(site, ANNOTATION_WARNING, "encountered a mix of histograms and floats for metric name ");
}

static void warn_of_schemas(const struct over_site *site)
{
    tell(site, ANNOTATION_WARNING,
         "vector contains a mix of histograms with exponential and custom buckets schemas for "
         "metric name ");
}

static void warn_of_kind(const struct over_site *site, bool is_counter)
{
    tell(site, ANNOTATION_WARNING,
         is_counter ? "this native histogram metric is not a counter: "
                    : "this native histogram metric is not a gauge: ");
}

static void tell_reconciled(const struct over_site *site, const char *operation)
{
    annotate(site->q, ANNOTATION_INFO, site->call->call.args[0]->pos,
             "mismatched custom buckets were reconciled during %s", operation);
}

/* Gives a histogram that was made in the arena for parts. */
static enum errc give(const struct over_site *site, const struct histogram *h, struct outcome *out,
                      struct err *err)
{
    if (h)
        h = histogram_copy(site->q->scratch, h);
    if (!h)
        return eval_arena_full(site->q, err);
    *out = (struct outcome){ 0, h };
    return OK;
}

static bool has_floats(const struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (!w->h[i])
            return true;
    return false;
}

/* ---- rate, increase, delta ---- */

/* A difference under way. */
struct growth {
    const struct over_site *site;
    const struct window *w;
    bool is_counter, is_rate;
    struct histogram_sum sum;
};

static bool grow(struct growth *g, const struct histogram *h, double factor)
{
    unsigned before = g->sum.notes;
    bool ok;

    g->sum.notes &= ~(unsigned)HISTOGRAMS_RECONCILED;
    ok = histogram_sum_add(&g->sum, h, factor);
    if (g->sum.notes & HISTOGRAMS_RECONCILED)
        tell_reconciled(g->site, factor < 0 ? "subtraction" : "addition");
    g->sum.notes |= before;
    return ok;
}

static bool is_reset_at(const struct window *w, size_t i)
{
    return window_start_reset(w, i) || histogram_is_reset(w->h[i - 1], w->h[i]);
}

/* Warns of gauges among counters, and the other way round. */
static void check_kinds(const struct growth *g, size_t first, size_t last)
{
    bool wrong = false;

    for (size_t i = first; i <= last; i++)
        if (g->is_counter || i == first || i == last)
            wrong |= (g->w->h[i]->hint == HINT_GAUGE) == g->is_counter;
    if (wrong)
        warn_of_kind(g->site, g->is_counter);
}

/* Whether the layouts of samples from..last can be put together, the one before them being prev; a
 * gauge's middle does not matter. */
static bool check_schemas(const struct growth *g, const struct histogram *prev, size_t from,
                          size_t last)
{
    const struct histogram *const *h = g->w->h;
    bool custom = histogram_is_custom(h[last]), same = histogram_is_custom(prev) == custom;

    for (size_t i = from; g->is_counter && i < last; i++)
        same &= histogram_is_custom(h[i]) == custom;
    if (!same)
        warn_of_schemas(g->site);
    return same;
}

/* The last sample less the first, resets made up for; false when the arena is full. */
static bool raw_growth(struct growth *g, const struct histogram *first)
{
    const struct window *w = g->w;
    const struct histogram *const *h = w->h;

    if (!grow(g, h[w->n - 1], 1) || !grow(g, first, -1))
        return false;
    for (size_t i = 1; g->is_counter && i < w->n; i++) {
        histogram_sum_coarsen(&g->sum, h[i]->schema);
        if (is_reset_at(w, i) && !grow(g, i == 1 ? first : h[i - 1], 1))
            return false;
    }
    return true;
}

static enum errc finish_growth(struct growth *g, double factor, struct outcome *out,
                               struct err *err)
{
    struct arena *a = g->site->q->temp;
    struct histogram *h = histogram_sum_result(&g->sum, a, true);

    if (h && factor != 1)
        h = histogram_scaled(a, h, factor, 1);
    if (h)
        h->hint = HINT_GAUGE;
    return give(g->site, h, out, err);
}

static enum errc extrapolated(struct growth *g, struct outcome *out, struct err *err)
{
    const struct window *w = g->w;
    const struct histogram *first = w->h[0];
    bool born = g->is_counter && window_is_born_inside(w);
    double count;

    if (w->n == 1 && !born)
        return OK;
    /* The layout of a sample that was all reset away must not matter. */
    if (g->is_counter && w->n > 1 && is_reset_at(w, 1)
        && !(first = histogram_empty_like(g->site->q->temp, w->h[1])))
        return eval_arena_full(g->site->q, err);
    if (!check_schemas(g, first, 1, w->n - 1))
        return OK;
    if (w->n == 1 ? !grow(g, first, 1) : !raw_growth(g, first))
        return eval_arena_full(g->site->q, err);
    if (born && w->n > 1 && !grow(g, w->h[0], 1))
        return eval_arena_full(g->site->q, err);
    if (g->sum.notes & HISTOGRAMS_INCOMPATIBLE) { /* the first sample, reset away but born inside */
        warn_of_schemas(g->site);
        return OK;
    }
    count = g->sum.count + g->sum.c_count;
    return finish_growth(g, growth_factor(w, w->h[0]->count, count, g->is_counter, g->is_rate), out,
                         err);
}

/* A border between samples i and i + 1. */
static const struct histogram *border_at(const struct growth *g, size_t i, int64_t t_ms)
{
    const struct window *w = g->w;
    double fraction = (double)(t_ms - w->t_ms[i]) / (double)(w->t_ms[i + 1] - w->t_ms[i]);
    bool is_reset = g->is_counter && histogram_is_reset(w->h[i], w->h[i + 1]);
    unsigned notes = 0;
    const struct histogram *h =
        histogram_between(g->site->q->temp, w->h[i], w->h[i + 1], fraction, is_reset, &notes);

    if (notes & HISTOGRAMS_RECONCILED)
        tell_reconciled(g->site, "subtraction");
    return h;
}

/* Adds what resets hid from the left border over the samples between to the right one. A border is
 * the sample there or in its place, so that none is compared with itself: its hint may call it a
 * reset whatever comes before. The first sample after an interpolated border may say that it begins
 * with a reset: that one is behind the border. */
static bool add_hidden(struct growth *g, const struct borders *b, const struct histogram *left,
                       const struct histogram *right)
{
    const struct histogram *const *h = g->w->h;
    const struct histogram *prev = left;
    bool interpolated = left != h[b->first];

    for (size_t i = b->first + 1; i <= b->last; i++) {
        const struct histogram *at = i < b->last ? h[i] : right, *cur = at;

        if (prev == left && interpolated
            && !(cur = histogram_with_hint(g->site->q->temp, at, HINT_UNKNOWN)))
            return false;
        if (histogram_is_reset(prev, cur) && !grow(g, prev, 1))
            return false;
        prev = at;
    }
    return true;
}

static enum errc between_borders(struct growth *g, struct outcome *out, struct err *err)
{
    const struct window *w = g->w;
    const struct histogram *left, *right;
    struct borders b;

    if (!window_borders(w, g->is_counter, &b) || (w->smoothed && w->t_ms[b.first] > w->end_ms))
        return OK;
    check_kinds(g, b.first, b.last);
    if (!check_schemas(g, w->h[b.first], b.first + 1, b.last))
        return OK;
    left = w->h[b.first];
    right = w->h[b.last];
    if (w->smoothed && w->t_ms[b.first] < w->start_ms)
        left = border_at(g, b.first, w->start_ms);
    if (w->smoothed && b.last > 0 && w->t_ms[b.last] > w->end_ms)
        right = border_at(g, b.last - 1, w->end_ms);
    if (!left || !right || !grow(g, right, 1) || !grow(g, left, -1)
        || (g->is_counter && !add_hidden(g, &b, left, right)))
        return eval_arena_full(g->site->q, err);
    return finish_growth(g, g->is_rate ? 1 / window_seconds(w) : 1, out, err);
}

static enum errc growth(const struct over_site *site, const struct window *w, bool is_counter,
                        bool is_rate, struct outcome *out, struct err *err)
{
    struct growth g = { site, w, is_counter, is_rate, { .arena = site->q->temp } };

    arena_reset(site->q->temp);
    if (has_floats(w)) {
        warn_of_mix(site);
        return OK;
    }
    if (w->anchored || w->smoothed)
        return between_borders(&g, out, err);
    if (w->n == 1 && !(is_counter && window_is_born_inside(w)))
        return OK;
    check_kinds(&g, 0, w->n - 1);
    return extrapolated(&g, out, err);
}

enum errc rate_histograms(const struct over_site *site, const struct window *w, struct outcome *out,
                          struct err *err)
{
    return growth(site, w, true, true, out, err);
}

enum errc increase_histograms(const struct over_site *site, const struct window *w,
                              struct outcome *out, struct err *err)
{
    return growth(site, w, true, false, out, err);
}

enum errc delta_histograms(const struct over_site *site, const struct window *w,
                           struct outcome *out, struct err *err)
{
    return growth(site, w, false, false, out, err);
}

/* ---- irate, idelta ---- */

static enum errc last_growth(const struct over_site *site, const struct window *w, bool is_rate,
                             struct outcome *out, struct err *err)
{
    struct window last = *w;
    struct growth g = { site, &last, is_rate, is_rate, { .arena = site->q->temp } };
    double gap;
    bool reset;

    arena_reset(site->q->temp);
    if (w->n < 2)
        return OK;
    window_cut_to_last(&last, 2);
    gap = (double)(last.t_ms[1] - last.t_ms[0]) / 1000;
    if (!last.h[0] && !last.h[1]) {
        out->v = is_rate ? irate_over(&last) : idelta_over(&last);
        return OK;
    }
    if (!last.h[0] || !last.h[1]) {
        warn_of_mix(site);
        return OK;
    }
    check_kinds(&g, 0, 1);
    reset = is_rate && is_reset_at(&last, 1);
    if (!reset && !check_schemas(&g, last.h[0], 1, 1))
        return OK;
    if (!grow(&g, last.h[1], 1) || (!reset && !grow(&g, last.h[0], -1)))
        return eval_arena_full(site->q, err);
    return finish_growth(&g, is_rate ? 1 / gap : 1, out, err);
}

enum errc irate_histograms(const struct over_site *site, const struct window *w,
                           struct outcome *out, struct err *err)
{
    return last_growth(site, w, true, out, err);
}

enum errc idelta_histograms(const struct over_site *site, const struct window *w,
                            struct outcome *out, struct err *err)
{
    return last_growth(site, w, false, out, err);
}

/* ---- resets, changes ---- */

static bool was_reset(const struct window *w, size_t i)
{
    if (!w->h[i] != !w->h[i - 1])
        return true;
    return w->h[i] ? is_reset_at(w, i) : w->v[i] < w->v[i - 1] || window_start_reset(w, i);
}

static bool has_changed(const struct window *w, size_t i)
{
    if (!w->h[i] != !w->h[i - 1])
        return true;
    if (w->h[i])
        return !histogram_equal(w->h[i - 1], w->h[i]);
    return w->v[i] != w->v[i - 1] && !(isnan(w->v[i]) && isnan(w->v[i - 1]));
}

static enum errc count_steps(const struct window *w, bool (*counts)(const struct window *, size_t),
                             struct outcome *out)
{
    size_t first = window_count_from(w), n = 0;

    if (first == w->n)
        return OK;
    for (size_t i = first + 1; i < w->n; i++)
        n += counts(w, i);
    out->v = (double)n;
    return OK;
}

enum errc resets_histograms(const struct over_site *site, const struct window *w,
                            struct outcome *out, struct err *err)
{
    (void)site;
    (void)err;
    return count_steps(w, was_reset, out);
}

enum errc changes_histograms(const struct over_site *site, const struct window *w,
                             struct outcome *out, struct err *err)
{
    (void)site;
    (void)err;
    return count_steps(w, has_changed, out);
}

/* ---- sum, avg ---- */

/* Says what came up; false when there is no sum. */
static bool usable(const struct over_site *site, unsigned notes)
{
    if (notes & HISTOGRAMS_COLLIDING)
        annotate(site->q, ANNOTATION_WARNING, site->call->call.args[0]->pos,
                 "conflicting counter resets during histogram aggregation");
    if (notes & HISTOGRAMS_RECONCILED)
        tell_reconciled(site, "aggregation");
    if (notes & HISTOGRAMS_INCOMPATIBLE)
        warn_of_schemas(site);
    return !(notes & HISTOGRAMS_INCOMPATIBLE);
}

enum errc sum_histograms(const struct over_site *site, const struct window *w, struct outcome *out,
                         struct err *err)
{
    struct arena *a = site->q->temp;
    struct histogram_sum sum = { .arena = a };

    arena_reset(site->q->temp);
    if (has_floats(w)) {
        warn_of_mix(site);
        return OK;
    }
    for (size_t i = 0; i < w->n; i++)
        if (!histogram_sum_add(&sum, w->h[i], 1))
            return eval_arena_full(site->q, err);
    if (!usable(site, sum.notes))
        return OK;
    return give(site, histogram_sum_result(&sum, a, false), out, err);
}

enum errc avg_histograms(const struct over_site *site, const struct window *w, struct outcome *out,
                         struct err *err)
{
    struct arena *a = site->q->temp;
    struct histogram_mean mean = { .sum.arena = a };

    arena_reset(site->q->temp);
    if (has_floats(w)) {
        warn_of_mix(site);
        return OK;
    }
    for (size_t i = 0; i < w->n; i++)
        if (!histogram_mean_add(&mean, w->h[i], a))
            return eval_arena_full(site->q, err);
    if (!usable(site, mean.sum.notes))
        return OK;
    return give(site, histogram_mean_result(&mean, a, false), out, err);
}

/* ---- one sample ---- */

enum errc first_histograms(const struct over_site *site, const struct window *w,
                           struct outcome *out, struct err *err)
{
    (void)site;
    (void)err;
    *out = (struct outcome){ w->v[0], w->h[0] };
    return OK;
}

enum errc last_histograms(const struct over_site *site, const struct window *w, struct outcome *out,
                          struct err *err)
{
    (void)site;
    (void)err;
    *out = (struct outcome){ w->v[w->n - 1], w->h[w->n - 1] };
    return OK;
}
