/* range_kernels.c -- see the header. Windows are walked in the order and with the operations of
 * range_functions.c, whose comments say why they are so.
 */
#include "query/range_kernels.h"

#include <math.h>

#include "query/compensated.h"

#include "base/banned.h"

/* ---- rate and kin ---- */

/* The resets inside one window after the other. */
struct reset_walk {
    const struct resets *r;
    size_t lo, hi;
};

/* Adds what the resets in lo <= i < hi hid; both samples of a reset are in the window. */
static double add_hidden(struct reset_walk *walk, size_t lo, size_t hi, double growth)
{
    const struct resets *r = walk->r;

    while (walk->lo < r->n && r->at[walk->lo] <= lo)
        walk->lo++;
    if (walk->hi < walk->lo)
        walk->hi = walk->lo;
    while (walk->hi < r->n && r->at[walk->hi] < hi)
        walk->hi++;
    for (size_t i = walk->lo; i < walk->hi; i++)
        growth += r->before[i];
    return growth;
}

static void counter_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    const struct windows *w = j->w;
    struct reset_walk walk = { j->resets, 0, 0 };

    for (size_t i = from; i < to; i++) {
        size_t lo = w->lo[i], hi = w->hi[i];
        double first, growth;

        if (hi - lo < 2) {
            j->out[i] = absent();
            continue;
        }
        first = j->v[lo];
        growth = j->v[hi - 1] - first;
        if (walk.r->n > 0)
            growth = add_hidden(&walk, lo, hi, growth);
        if (growth > 0 && first >= 0 && !(first >= growth * w->bound[i]))
            j->out[i] = j->one(j->ctx, i);
        else
            j->out[i] = growth * w->factor[i];
    }
}

static void delta_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    const struct windows *w = j->w;

    for (size_t i = from; i < to; i++)
        j->out[i] = w->hi[i] - w->lo[i] < 2 ? absent()
                                            : (j->v[w->hi[i] - 1] - j->v[w->lo[i]]) * w->factor[i];
}

/* ---- over all samples ---- */

static void count_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        j->out[i] = j->w->lo[i] == j->w->hi[i] ? absent() : (double)(j->w->hi[i] - j->w->lo[i]);
}

static void present_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        j->out[i] = j->w->lo[i] == j->w->hi[i] ? absent() : 1;
}

static void first_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        j->out[i] = j->w->lo[i] == j->w->hi[i] ? absent() : j->v[j->w->lo[i]];
}

static void last_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        j->out[i] = j->w->lo[i] == j->w->hi[i] ? absent() : j->v[j->w->hi[i] - 1];
}

/* Steps from i on whose windows have as many samples as that of i, at most LANES. */
enum { LANES = 4 };

static size_t equal_windows(const struct windows *w, size_t i, size_t to)
{
    size_t n = w->hi[i] - w->lo[i], k = 1;

    while (k < LANES && i + k < to && w->hi[i + k] - w->lo[i + k] == n)
        k++;
    return k;
}

/* The same as compensated_add(), without branches, so that several run side by side. */
static inline void compensated_add_flat(double v, double *sum, double *c)
{
    double t = *sum + v;
    bool keep = fabs(*sum) >= fabs(v);
    double high = keep ? *sum : v, low = keep ? v : *sum;
    double next = *c + ((high - t) + low);

    *c = isinf(t) ? 0 : next;
    *sum = t;
}

/* A sum depends on itself; those of four windows do not depend on each other. */
static void sum_lanes(const struct kernel_job *j, size_t i, size_t n, double *sum, double *c)
{
    const double *v[LANES];

    for (size_t k = 0; k < LANES; k++) {
        v[k] = j->v + j->w->lo[i + k];
        sum[k] = c[k] = 0;
    }
    for (size_t s = 0; s < n; s++)
        for (size_t k = 0; k < LANES; k++)
            compensated_add_flat(v[k][s], &sum[k], &c[k]);
}

static void sum_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    const struct windows *w = j->w;

    for (size_t i = from; i < to;) {
        size_t n = w->hi[i] - w->lo[i], k = equal_windows(w, i, to);
        double sum[LANES], c[LANES];

        if (n == 0 || k < LANES) {
            j->out[i] = n == 0 ? absent() : j->one(j->ctx, i);
            i++;
            continue;
        }
        sum_lanes(j, i, n, sum, c);
        for (k = 0; k < LANES; k++, i++)
            j->out[i] = isinf(sum[k]) ? sum[k] : sum[k] + c[k];
    }
}

/* The average is that of the sum unless the sum overflows on its way, after which it never is
 * finite again. */
static void avg_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    const struct windows *w = j->w;

    for (size_t i = from; i < to;) {
        size_t n = w->hi[i] - w->lo[i], k = equal_windows(w, i, to);
        double sum[LANES], c[LANES], count = (double)n;

        if (n == 0 || k < LANES) {
            j->out[i] = n == 0 ? absent() : j->one(j->ctx, i);
            i++;
            continue;
        }
        sum_lanes(j, i, n, sum, c);
        for (k = 0; k < LANES; k++, i++)
            j->out[i] = isfinite(sum[k]) ? sum[k] / count + c[k] / count : j->one(j->ctx, i);
    }
}

/* ---- extremes ---- */

/* Whether a walk over each window costs less than carrying candidates along. */
static bool windows_are_short(const struct windows *w)
{
    return w->most <= 8;
}

static void one_by_one(const struct kernel_job *j, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        j->out[i] = j->w->lo[i] == j->w->hi[i] ? absent() : j->one(j->ctx, i);
}

/* The samples that may yet be the extreme of a window, the oldest first and best in front: of equal
 * ones the oldest counts, and NaN never does. */
struct candidates {
    uint32_t *at;
    size_t first, end;
    uint32_t next; /* the sample to look at next */
};

static void take_candidate(struct candidates *c, const double *v, bool max)
{
    double new = v[c->next];

    if (!isnan(new)) {
        while (c->end > c->first && (max ? v[c->at[c->end - 1]] < new : v[c->at[c->end - 1]] > new))
            c->end--;
        c->at[c->end++] = c->next;
    }
    c->next++;
}

static void extreme_kernel(const struct kernel_job *j, size_t from, size_t to, bool max)
{
    const struct windows *w = j->w;
    struct candidates c = { .at = j->scratch, .next = w->lo[from] };

    if (windows_are_short(w)) {
        one_by_one(j, from, to);
        return;
    }
    for (size_t i = from; i < to; i++) {
        if (w->lo[i] == w->hi[i]) {
            j->out[i] = absent();
            continue;
        }
        if (c.next < w->lo[i]) { /* between windows */
            c.next = w->lo[i];
            c.first = c.end;
        }
        while (c.next < w->hi[i])
            take_candidate(&c, j->v, max);
        while (c.first < c.end && c.at[c.first] < w->lo[i])
            c.first++;
        j->out[i] = j->v[c.first < c.end ? c.at[c.first] : w->hi[i] - 1];
    }
}

static void min_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    extreme_kernel(j, from, to, false);
}

static void max_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    extreme_kernel(j, from, to, true);
}

/* ---- events between neighbours ---- */

/* Fills scratch: how many of the samples 1..i differ from the one before in the way asked for.
 * Counts are exact, so a window's is a difference. */
static void count_events(const struct kernel_job *j, size_t from, size_t to, bool resets)
{
    const struct windows *w = j->w;
    uint32_t *upto = j->scratch, n = 0;

    upto[w->lo[from]] = 0;
    for (size_t i = w->lo[from] + 1; i < w->hi[to - 1]; i++) {
        double a = j->v[i - 1], b = j->v[i];

        n += resets ? b < a : b != a && !(isnan(a) && isnan(b));
        upto[i] = n;
    }
}

static void events_kernel(const struct kernel_job *j, size_t from, size_t to, bool resets)
{
    const struct windows *w = j->w;

    if (w->lo[from] < w->hi[to - 1])
        count_events(j, from, to, resets);
    for (size_t i = from; i < to; i++)
        j->out[i] = w->lo[i] == w->hi[i]
                        ? absent()
                        : (double)(j->scratch[w->hi[i] - 1] - j->scratch[w->lo[i]]);
}

static void changes_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    events_kernel(j, from, to, false);
}

static void resets_kernel(const struct kernel_job *j, size_t from, size_t to)
{
    events_kernel(j, from, to, true);
}

/* ---- which there are ---- */

static const struct kernel_row {
    over_function *over;
    range_kernel *kernel;
    bool extrapolates, per_second;
} kernels[] = {
    { rate_over, counter_kernel, true, true },      { increase_over, counter_kernel, true, false },
    { delta_over, delta_kernel, true, false },      { sum_over, sum_kernel, false, false },
    { avg_over, avg_kernel, false, false },         { count_over, count_kernel, false, false },
    { min_over, min_kernel, false, false },         { max_over, max_kernel, false, false },
    { first_over, first_kernel, false, false },     { last_over, last_kernel, false, false },
    { present_over, present_kernel, false, false }, { changes_over, changes_kernel, false, false },
    { resets_over, resets_kernel, false, false },
};

static const struct kernel_row *find_row(over_function *over)
{
    for (size_t i = 0; i < ARRAY_LEN(kernels); i++)
        if (kernels[i].over == over)
            return &kernels[i];
    return NULL;
}

range_kernel *range_kernel_find(over_function *over)
{
    const struct kernel_row *row = find_row(over);

    return row ? row->kernel : NULL;
}

bool range_kernel_extrapolates(over_function *over, bool *per_second)
{
    const struct kernel_row *row = find_row(over);

    *per_second = row && row->per_second;
    return row && row->extrapolates;
}
