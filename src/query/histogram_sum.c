/* histogram_sum.c
 *
 * A histogram is added to lists of buckets sorted by index. Buckets that are missing are put in
 * first, which happens a few times until the lists have all the buckets of a metric; then each count
 * goes to its place in one walk over both.
 *
 * Zero buckets of different widths are made equal first: the narrower is widened, its buckets that
 * come to lie inside counted as zeros. A bucket that the new border would cut widens it further, so
 * that it may be the other's turn.
 */
#include "query/histogram_sum.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "query/compensated.h"
#include "query/histogram_buckets.h"
#include "query/histogram_ops.h"

#include "base/banned.h"

static bool is_custom(const struct histogram_sum *s)
{
    return s->schema == HISTOGRAM_CUSTOM_SCHEMA;
}

/* ---- lists ---- */

static void *grow(struct arena *a, void *p, size_t n, size_t cap)
{
    return arena_grow(a, p, n * sizeof(uint64_t), cap * sizeof(uint64_t));
}

static bool list_reserve(struct arena *a, struct bucket_list *l, size_t n)
{
    size_t cap = l->cap ? 2 * l->cap : 16;
    void *index, *count, *c;

    if (n <= l->cap)
        return true;
    if (cap < n)
        cap = n;
    if (!(index = grow(a, l->index, l->n, cap)) || !(count = grow(a, l->count, l->n, cap))
        || !(c = grow(a, l->c, l->n, cap)))
        return false;
    l->index = index;
    l->count = count;
    l->c = c;
    l->cap = cap;
    return true;
}

/* Where the buckets of a histogram go in a sum: to a coarser schema, or to the bounds left over of
 * its own. Indices must rise. */
struct bucket_map {
    int shift;
    const struct histogram *h; /* with custom bounds, else NULL */
    const double *custom;
    uint32_t n_custom, at;
};

static int64_t mapped(struct bucket_map *m, int64_t index)
{
    double upper;

    if (!m->h)
        return bucket_reduced(index, m->shift);
    upper = histogram_bound(m->h, index);
    while (m->at < m->n_custom && m->custom[m->at] < upper)
        m->at++;
    return m->at;
}

/* The buckets of a side as they go into a sum, those that go to the same place one after the other;
 * of exponential ones only those beyond the zero bucket, but all of the first histogram's. */
struct incoming {
    const struct histogram_sum *s;
    const struct histogram *h;
    struct bucket_cursor cursor;
    struct bucket_map map;
    bool beyond_zero;
};

/* Whether a bucket of h lies in the sum's zero bucket. When that is wider than h's, its buckets have
 * been counted as zeros up to the one that the border cuts. (Prometheus asks about the bucket of the
 * sum's schema that it goes to, and counts it twice where that is cut.) */
static bool lies_in_zero(const struct incoming *in, int64_t index)
{
    double zero = in->s->zero_threshold;

    if (is_custom(in->s))
        return false;
    if (in->h->zero_threshold < zero)
        return histogram_bound(in->h, index - 1) < zero;
    return histogram_bound(in->h, index) <= zero;
}

static bool incoming_next(struct incoming *in, int64_t *index, double *count)
{
    int64_t from;

    while (bucket_next(&in->cursor, &from, count)) {
        if (!in->beyond_zero && lies_in_zero(in, from))
            continue;
        in->beyond_zero = true;
        *index = mapped(&in->map, from);
        return true;
    }
    return false;
}

/* How many of the incoming buckets the list lacks. */
static size_t count_missing(const struct bucket_list *l, struct incoming in)
{
    size_t at = 0, missing = 0;
    int64_t index, last = INT64_MIN;
    double count;

    while (incoming_next(&in, &index, &count)) {
        while (at < l->n && l->index[at] < index)
            at++;
        missing += (at == l->n || l->index[at] != index) && index != last;
        last = index;
    }
    return missing;
}

/* Puts in the incoming buckets that the list lacks, with no counts. The missing ones are appended,
 * then merged in from the end. */
static bool add_missing(struct arena *a, struct bucket_list *l, struct incoming in)
{
    size_t missing = count_missing(l, in), old = l->n, at = 0, added = 0;
    int64_t index, last = INT64_MIN, *news;
    double count;

    if (missing == 0)
        return true;
    news = arena_alloc(a, missing * sizeof *news);
    if (!news || !list_reserve(a, l, l->n + missing))
        return false;
    while (incoming_next(&in, &index, &count)) {
        while (at < old && l->index[at] < index)
            at++;
        if ((at == old || l->index[at] != index) && index != last)
            news[added++] = index;
        last = index;
    }
    l->n += missing;
    for (size_t to = l->n; added > 0;) {
        bool is_new = old == 0 || news[added - 1] > l->index[old - 1];

        to--;
        l->index[to] = is_new ? news[added - 1] : l->index[old - 1];
        l->count[to] = is_new ? 0 : l->count[old - 1];
        l->c[to] = is_new ? 0 : l->c[old - 1];
        *(is_new ? &added : &old) -= 1;
    }
    return true;
}

/* The list has all the buckets most of the time: whether it does is found out on the way. */
static bool list_add(struct arena *a, struct bucket_list *l, struct incoming in, double factor)
{
    const struct incoming all = in;
    size_t at = 0;
    int64_t index;
    double count;

    while (incoming_next(&in, &index, &count)) {
        while (at < l->n && l->index[at] < index)
            at++;
        if (at == l->n || l->index[at] != index) {
            if (!add_missing(a, l, all))
                return false;
            for (at = 0; l->index[at] < index;)
                at++;
        }
        compensated_add(factor * count, &l->count[at], &l->c[at]);
    }
    return true;
}

/* Moves every bucket to where the map puts it; those that meet are added. */
static void list_map(struct bucket_list *l, struct bucket_map map)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        int64_t index = mapped(&map, l->index[i]);

        if (n > 0 && l->index[n - 1] == index) {
            compensated_add(l->count[i], &l->count[n - 1], &l->c[n - 1]);
            l->c[n - 1] += l->c[i];
            continue;
        }
        l->index[n] = index;
        l->count[n] = l->count[i];
        l->c[n++] = l->c[i];
    }
    l->n = n;
}

static double list_value(const struct bucket_list *l, size_t i)
{
    return isinf(l->count[i]) ? l->count[i] : l->count[i] + l->c[i];
}

/* ---- zero buckets ---- */

/* One side's share in a zero bucket widened to *threshold. Returns whether a bucket with counts
 * was cut: *threshold then is its far border. */
static bool widen_over_side(const struct histogram *h, const struct histogram_side *side,
                            double *threshold, double *zeros)
{
    struct bucket_cursor cursor = bucket_cursor(side, false);
    struct histogram_bucket b;
    int64_t index;
    double count;

    while (bucket_next(&cursor, &index, &count)) {
        b = histogram_bucket(h, false, index, count);
        if (b.lower >= *threshold)
            return false;
        *zeros += count;
        if (b.upper <= *threshold)
            continue;
        if (count == 0)
            return false;
        *threshold = b.upper;
        return true;
    }
    return false;
}

double histogram_widened_zeros(const struct histogram *h, double *threshold)
{
    double zeros;

    if (*threshold <= h->zero_threshold)
        return h->zero_count;
    do {
        zeros = h->zero_count;
        (void)widen_over_side(h, &h->positive, threshold, &zeros);
    } while (widen_over_side(h, &h->negative, threshold, &zeros));
    return zeros;
}

static void side_of_list(const struct bucket_list *l, struct histogram_side *side,
                         struct histogram_span *spans)
{
    int64_t next = 0;

    *side =
        (struct histogram_side){ .spans = spans, .counts = l->count, .n_counts = (uint32_t)l->n };
    for (size_t i = 0; i < l->n; i++) {
        int64_t gap = l->index[i] - next;

        if (i > 0 && gap == 0) {
            spans[side->n_spans - 1].length++;
        } else {
            for (; gap > INT32_MAX; gap -= INT32_MAX)
                spans[side->n_spans++] = (struct histogram_span){ INT32_MAX, 0 };
            for (; gap < INT32_MIN; gap -= INT32_MIN)
                spans[side->n_spans++] = (struct histogram_span){ INT32_MIN, 0 };
            spans[side->n_spans++] = (struct histogram_span){ (int32_t)gap, 1 };
        }
        next = l->index[i] + 1;
    }
}

/* How many spans a list may need: one a bucket, and more where a gap is wider than an offset. */
static size_t spans_needed(const struct bucket_list *l)
{
    size_t n = l->n;
    int64_t next = 0;

    for (size_t i = 0; i < l->n; i++) {
        n += (size_t)(llabs(l->index[i] - next) / INT32_MAX);
        next = l->index[i];
    }
    return n;
}

/* Takes the buckets that lie inside the zero bucket out of the list. */
static void trim_list(struct histogram_sum *s, struct bucket_list *l)
{
    struct histogram bounds = { .schema = s->schema };
    size_t inside = 0, kept = 0;

    while (inside < l->n && histogram_bound(&bounds, l->index[inside] - 1) < s->zero_threshold)
        inside++;
    for (size_t i = inside; i < l->n; i++) {
        if (l->count[i] == 0 && l->c[i] == 0)
            continue;
        l->index[kept] = l->index[i];
        l->count[kept] = l->count[i];
        l->c[kept++] = l->c[i];
    }
    l->n = kept;
}

/* What is not yet counted as zeros of a list's compensations. */
static double inside_compensation(const struct histogram_sum *s, const struct bucket_list *l)
{
    struct histogram bounds = { .schema = s->schema };
    double c = 0;

    for (size_t i = 0; i < l->n && histogram_bound(&bounds, l->index[i] - 1) < s->zero_threshold;
         i++)
        c += l->c[i];
    return c;
}

/* Makes the zero bucket reach to threshold at least. */
static bool widen_sum(struct histogram_sum *s, double threshold)
{
    struct histogram view = { .schema = s->schema,
                              .zero_threshold = s->zero_threshold,
                              .zero_count = s->zero_count };
    struct histogram_span *spans = arena_alloc(
        s->arena, (spans_needed(&s->positive) + spans_needed(&s->negative)) * sizeof *spans);

    if (!spans)
        return false;
    side_of_list(&s->positive, &view.positive, spans);
    side_of_list(&s->negative, &view.negative, spans + spans_needed(&s->positive));
    s->zero_count = histogram_widened_zeros(&view, &threshold);
    s->zero_threshold = threshold;
    s->c_zero_count += inside_compensation(s, &s->positive) + inside_compensation(s, &s->negative);
    trim_list(s, &s->positive);
    trim_list(s, &s->negative);
    return true;
}

/* Makes the zero buckets equally wide; *zeros becomes the count of h's. */
static bool reconcile_zero_buckets(struct histogram_sum *s, const struct histogram *h,
                                   double *zeros)
{
    double threshold = h->zero_threshold;

    *zeros = h->zero_count;
    while (threshold != s->zero_threshold) {
        if (isnan(threshold) || isnan(s->zero_threshold))
            return true;
        if (threshold < s->zero_threshold) {
            threshold = s->zero_threshold;
            *zeros = histogram_widened_zeros(h, &threshold);
        } else if (!widen_sum(s, threshold)) {
            return false;
        }
    }
    return true;
}

/* ---- custom bounds ---- */

static bool same_bounds(const struct histogram_sum *s, const struct histogram *h)
{
    if (s->n_custom != h->n_custom)
        return false;
    for (uint32_t i = 0; i < s->n_custom; i++)
        if (s->custom[i] != h->custom[i])
            return false;
    return true;
}

/* How many bounds both have; they are put into kept unless it is NULL. */
static uint32_t common_bounds(const struct histogram_sum *s, const struct histogram *h,
                              double *kept)
{
    uint32_t n = 0, j = 0;

    for (uint32_t i = 0; i < s->n_custom; i++) {
        while (j < h->n_custom && h->custom[j] < s->custom[i])
            j++;
        if (j == h->n_custom || h->custom[j] != s->custom[i])
            continue;
        if (kept)
            kept[n] = s->custom[i];
        n++;
    }
    return n;
}

/* Leaves the bounds that both have. However often it happens, two arrays do. */
static bool intersect_bounds(struct histogram_sum *s, const struct histogram *h)
{
    struct histogram old = { .schema = s->schema, .custom = s->custom, .n_custom = s->n_custom };
    uint32_t n = common_bounds(s, h, NULL);
    double *was;

    s->notes |= HISTOGRAMS_RECONCILED;
    if (n == s->n_custom)
        return true;
    if (!s->spare && !(s->spare = arena_alloc(s->arena, s->n_custom * sizeof *s->spare)))
        return false;
    (void)common_bounds(s, h, s->spare);
    list_map(&s->positive, (struct bucket_map){ .h = &old, .custom = s->spare, .n_custom = n });
    was = s->custom;
    s->custom = s->spare;
    s->spare = was;
    s->n_custom = n;
    return true;
}

/* ---- the sum ---- */

static bool begin(struct histogram_sum *s, const struct histogram *h)
{
    double *custom = arena_alloc(s->arena, h->n_custom * sizeof *custom);

    if (!custom)
        return false;
    if (h->n_custom > 0)
        memcpy(custom, h->custom, h->n_custom * sizeof *custom);
    s->begun = true;
    s->schema = h->schema;
    s->hint = h->hint;
    s->zero_threshold = h->zero_threshold;
    s->custom = custom;
    s->n_custom = h->n_custom;
    return true;
}

static void merge_hint(struct histogram_sum *s, enum histogram_hint hint)
{
    s->seen_reset |= hint == HINT_RESET;
    s->seen_no_reset |= hint == HINT_NO_RESET;
    if (s->seen_reset && s->seen_no_reset)
        s->notes |= HISTOGRAMS_COLLIDING;
    if (s->hint != hint)
        s->hint = s->hint == HINT_GAUGE || hint == HINT_GAUGE ? HINT_GAUGE : HINT_UNKNOWN;
}

void histogram_sum_coarsen(struct histogram_sum *s, int32_t schema)
{
    if (is_custom(s) || schema >= s->schema || schema == HISTOGRAM_CUSTOM_SCHEMA)
        return;
    list_map(&s->positive, (struct bucket_map){ .shift = s->schema - schema });
    list_map(&s->negative, (struct bucket_map){ .shift = s->schema - schema });
    s->schema = schema;
}

/* Gives the sum a layout that h fits into. */
static bool fit(struct histogram_sum *s, const struct histogram *h, double *zeros)
{
    *zeros = h->zero_count;
    if (is_custom(s))
        return same_bounds(s, h) || intersect_bounds(s, h);
    if (!reconcile_zero_buckets(s, h, zeros))
        return false;
    histogram_sum_coarsen(s, h->schema);
    return true;
}

static struct incoming incoming_of(const struct histogram_sum *s, const struct histogram *h,
                                   const struct histogram_side *side, bool first)
{
    struct incoming in = {
        .s = s, .h = h, .cursor = bucket_cursor(side, false), .beyond_zero = first
    };

    if (is_custom(s))
        in.map = (struct bucket_map){ .h = h, .custom = s->custom, .n_custom = s->n_custom };
    else
        in.map.shift = h->schema - s->schema;
    return in;
}

bool histogram_sum_add(struct histogram_sum *s, const struct histogram *h, double factor)
{
    double zeros;
    bool first = !s->begun;

    if (first && !begin(s, h))
        return false;
    if (is_custom(s) != histogram_is_custom(h))
        s->notes |= HISTOGRAMS_INCOMPATIBLE;
    if (s->notes & HISTOGRAMS_INCOMPATIBLE)
        return true;
    merge_hint(s, h->hint);
    if (!fit(s, h, &zeros))
        return false;
    compensated_add(factor * zeros, &s->zero_count, &s->c_zero_count);
    compensated_add(factor * h->count, &s->count, &s->c_count);
    compensated_add(factor * h->sum, &s->sum, &s->c_sum);
    return list_add(s->arena, &s->positive, incoming_of(s, h, &h->positive, first), factor)
           && list_add(s->arena, &s->negative, incoming_of(s, h, &h->negative, first), factor);
}

static void scale_list(struct bucket_list *l, double factor, double divisor)
{
    for (size_t i = 0; i < l->n; i++) {
        l->count[i] = l->count[i] * factor / divisor;
        l->c[i] = l->c[i] * factor / divisor;
    }
}

/* Everything times factor / divisor. */
static void scale(struct histogram_sum *s, double factor, double divisor)
{
    double *const fields[] = { &s->count, &s->c_count,    &s->sum,
                               &s->c_sum, &s->zero_count, &s->c_zero_count };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        *fields[i] = *fields[i] * factor / divisor;
    scale_list(&s->positive, factor, divisor);
    scale_list(&s->negative, factor, divisor);
}

static double with_compensation(double sum, double c)
{
    return isinf(sum) ? sum : sum + c;
}

static bool finish_list(const struct bucket_list *l, struct arena *a, bool compact,
                        struct histogram_side *side)
{
    struct bucket_list out = { .index = arena_alloc(a, l->n * sizeof(int64_t)),
                               .count = arena_alloc(a, l->n * sizeof(double)) };
    struct histogram_span *spans;

    if (!out.index || !out.count)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        double v = list_value(l, i);

        if (compact && v == 0)
            continue;
        out.index[out.n] = l->index[i];
        out.count[out.n++] = v;
    }
    if (!(spans = arena_alloc(a, spans_needed(&out) * sizeof *spans)))
        return false;
    side_of_list(&out, side, spans);
    return true;
}

struct histogram *histogram_sum_result(const struct histogram_sum *s, struct arena *a, bool compact)
{
    struct histogram *h = ARENA_NEW(a, struct histogram, 1);
    double *custom = arena_alloc(a, s->n_custom * sizeof *custom);

    compact = compact || (s->notes & HISTOGRAMS_RECONCILED);
    if (!h || !custom || !finish_list(&s->positive, a, compact, &h->positive)
        || !finish_list(&s->negative, a, compact, &h->negative))
        return NULL;
    if (s->n_custom > 0)
        memcpy(custom, s->custom, s->n_custom * sizeof *custom);
    h->custom = custom;
    h->n_custom = s->n_custom;
    h->schema = s->schema;
    h->hint = s->hint;
    h->count = with_compensation(s->count, s->c_count);
    h->sum = with_compensation(s->sum, s->c_sum);
    h->zero_threshold = s->zero_threshold;
    h->zero_count = with_compensation(s->zero_count, s->c_zero_count);
    return h;
}

/* ---- avg ---- */

static bool is_huge(double v)
{
    return fabs(v) > DBL_MAX / 2;
}

static bool any_huge(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_huge(v[i]))
            return true;
    return false;
}

/* Whether a sum with h could be infinite. Where Prometheus waits until it is, this looks at the
 * size of the two parts: the means differ in the last bits. */
static bool may_overflow(const struct histogram_sum *s, const struct histogram *h)
{
    return is_huge(s->count) || is_huge(h->count) || is_huge(s->sum) || is_huge(h->sum)
           || is_huge(s->zero_count) || is_huge(h->zero_count)
           || any_huge(s->positive.count, s->positive.n)
           || any_huge(s->negative.count, s->negative.n)
           || any_huge(h->positive.counts, h->positive.n_counts)
           || any_huge(h->negative.counts, h->negative.n_counts);
}

bool histogram_mean_add(struct histogram_mean *m, const struct histogram *h, struct arena *scratch)
{
    const struct histogram *part;

    m->count++;
    if (m->count > 1 && !m->is_mean && may_overflow(&m->sum, h)) {
        m->is_mean = true;
        scale(&m->sum, 1, m->count - 1);
    }
    if (!m->is_mean)
        return histogram_sum_add(&m->sum, h, 1);
    scale(&m->sum, (m->count - 1) / m->count, 1);
    part = histogram_scaled(scratch, h, 1, m->count);
    return part && histogram_sum_add(&m->sum, part, 1);
}

struct histogram *histogram_mean_result(struct histogram_mean *m, struct arena *a, bool compact)
{
    if (!m->is_mean)
        scale(&m->sum, 1, m->count);
    m->is_mean = true;
    return histogram_sum_result(&m->sum, a, compact);
}
