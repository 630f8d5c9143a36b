#include "query/histogram_ops.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "query/histogram_buckets.h"

#include "base/banned.h"

/* ---- scaling ---- */

static bool scale_side(struct arena *a, struct histogram_side *s, double factor, double divisor)
{
    double *counts = arena_alloc(a, s->n_counts * sizeof *counts);

    for (uint32_t i = 0; counts && i < s->n_counts; i++)
        counts[i] = s->counts[i] * factor / divisor;
    s->counts = counts;
    return counts != NULL;
}

struct histogram *histogram_scaled(struct arena *a, const struct histogram *h, double factor,
                                   double divisor)
{
    struct histogram *out = histogram_copy(a, h);

    if (!out || !scale_side(a, &out->positive, factor, divisor)
        || !scale_side(a, &out->negative, factor, divisor))
        return NULL;
    out->is_integer = false;
    out->count = h->count * factor / divisor;
    out->sum = h->sum * factor / divisor;
    out->zero_count = h->zero_count * factor / divisor;
    if (factor < 0 || divisor < 0)
        out->hint = HINT_GAUGE;
    if (divisor == 0)
        out->positive = out->negative = (struct histogram_side){ 0 };
    return out;
}

/* ---- sums ---- */

struct histogram *histogram_compacted(struct arena *a, const struct histogram *h)
{
    struct histogram_sum s = { .arena = a };

    return histogram_sum_add(&s, h, 1) ? histogram_sum_result(&s, a, true) : NULL;
}

static struct histogram *sum_of_two(struct arena *a, const struct histogram *x,
                                    const struct histogram *y, double factor, bool compact,
                                    unsigned *notes)
{
    struct histogram_sum s = { .arena = a };

    if (!histogram_sum_add(&s, x, 1) || !histogram_sum_add(&s, y, factor))
        return NULL;
    *notes |= s.notes;
    return histogram_sum_result(&s, a, compact);
}

struct histogram *histogram_added(struct arena *a, const struct histogram *x,
                                  const struct histogram *y, bool compact, unsigned *notes)
{
    return sum_of_two(a, x, y, 1, compact, notes);
}

struct histogram *histogram_subtracted(struct arena *a, const struct histogram *x,
                                       const struct histogram *y, bool compact, unsigned *notes)
{
    return sum_of_two(a, x, y, -1, compact, notes);
}

struct histogram *histogram_between(struct arena *a, const struct histogram *x,
                                    const struct histogram *y, double fraction, bool is_reset,
                                    unsigned *notes)
{
    struct histogram *part;

    if (is_reset)
        return histogram_scaled(a, y, fraction, 1);
    part = histogram_subtracted(a, y, x, false, notes);
    if (part)
        part = histogram_scaled(a, part, fraction, 1);
    return part ? histogram_added(a, part, x, false, notes) : NULL;
}

struct histogram *histogram_with_hint(struct arena *a, const struct histogram *h,
                                      enum histogram_hint hint)
{
    struct histogram *out = arena_alloc(a, sizeof *out);

    if (out) {
        *out = *h;
        out->hint = hint;
    }
    return out;
}

struct histogram *histogram_empty_like(struct arena *a, const struct histogram *h)
{
    struct histogram *out = ARENA_NEW(a, struct histogram, 1);

    if (out) {
        out->schema = h->schema;
        out->custom = h->custom;
        out->n_custom = h->n_custom;
    }
    return out;
}

/* ---- equality ---- */

static bool same_bits(const double *x, const double *y, size_t n)
{
    return n == 0 || memcmp(x, y, n * sizeof *x) == 0;
}

/* The next span with buckets from *at on, the offsets of empty ones added to its own; length 0 at
 * the end. */
static struct histogram_span next_span(const struct histogram_side *s, uint32_t *at,
                                       int64_t *offset)
{
    struct histogram_span span = { 0, 0 };

    *offset = 0;
    while (*at < s->n_spans && span.length == 0) {
        span = s->spans[(*at)++];
        *offset += span.offset;
    }
    return span;
}

static bool same_side(const struct histogram_side *x, const struct histogram_side *y)
{
    uint32_t i = 0, j = 0;
    struct histogram_span a, b;
    int64_t at_a, at_b;

    do {
        a = next_span(x, &i, &at_a);
        b = next_span(y, &j, &at_b);
        if (a.length != b.length || (a.length > 0 && at_a != at_b))
            return false;
    } while (a.length > 0);
    return x->n_counts == y->n_counts && same_bits(x->counts, y->counts, x->n_counts);
}

bool histogram_equal(const struct histogram *x, const struct histogram *y)
{
    return x->schema == y->schema && same_bits(&x->count, &y->count, 1)
           && same_bits(&x->sum, &y->sum, 1) && same_bits(&x->zero_count, &y->zero_count, 1)
           && x->zero_threshold == y->zero_threshold && x->n_custom == y->n_custom
           && same_bits(x->custom, y->custom, x->n_custom) && same_side(&x->positive, &y->positive)
           && same_side(&x->negative, &y->negative);
}

/* ---- counter resets ---- */

static bool same_custom(const struct histogram *x, const struct histogram *y)
{
    return x->n_custom == y->n_custom && same_bits(x->custom, y->custom, x->n_custom);
}

/* The counts of buckets up to a bound that were not counted before. */
static double count_up_to(const struct histogram *h, struct bucket_cursor *c, double bound)
{
    double total = 0, count;
    int64_t index;
    struct bucket_cursor ahead = *c;

    while (bucket_next(&ahead, &index, &count) && histogram_bound(h, index) <= bound) {
        total += count;
        *c = ahead;
    }
    return total;
}

/* Of histograms with different custom bounds what lies between common ones is compared. */
static bool custom_is_reset(const struct histogram *prev, const struct histogram *cur)
{
    struct bucket_cursor p = bucket_cursor(&prev->positive, false);
    struct bucket_cursor c = bucket_cursor(&cur->positive, false);
    uint32_t i = 0, j = 0;

    while (i < prev->n_custom && j < cur->n_custom) {
        double bound = prev->custom[i];

        if (bound == cur->custom[j]) {
            if (count_up_to(cur, &c, bound) < count_up_to(prev, &p, bound))
                return true;
            i++;
            j++;
        } else if (bound < cur->custom[j]) {
            i++;
        } else {
            j++;
        }
    }
    return count_up_to(cur, &c, INFINITY) < count_up_to(prev, &p, INFINITY);
}

/* Whether a bucket of prev beyond the zero bucket of cur has gone or has become smaller. */
static bool side_is_reset(const struct histogram *prev, const struct histogram *cur, bool negative)
{
    struct bucket_cursor p = bucket_cursor(negative ? &prev->negative : &prev->positive, false);
    struct bucket_cursor c = bucket_cursor(negative ? &cur->negative : &cur->positive, false);
    int shift = histogram_is_custom(cur) ? 0 : prev->schema - cur->schema;
    int64_t index, cur_index = INT64_MIN, group = INT64_MIN;
    double count, cur_count = 0, total = 0;
    bool more = true;

    while (more) {
        int64_t to = 0;

        more = bucket_next(&p, &index, &count);
        if (more && !histogram_is_custom(cur)
            && histogram_bound(prev, index - 1) < cur->zero_threshold)
            continue;
        to = more ? (shift ? bucket_reduced(index, shift) : index) : 0;
        if (more && (to == group || group == INT64_MIN)) {
            total += count;
            group = to;
            continue;
        }
        while (group != INT64_MIN && cur_index < group && bucket_next(&c, &cur_index, &cur_count))
            ;
        if (total != 0 && (cur_index != group || total > cur_count))
            return true;
        group = to;
        total = count;
    }
    return false;
}

bool histogram_is_reset(const struct histogram *prev, const struct histogram *cur)
{
    double threshold = cur->zero_threshold, zeros;

    if (cur->hint == HINT_RESET || cur->hint == HINT_NO_RESET)
        return cur->hint == HINT_RESET;
    if (cur->count < prev->count)
        return true;
    if (histogram_is_custom(cur) != histogram_is_custom(prev))
        return true;
    if (histogram_is_custom(cur) && !same_custom(prev, cur))
        return custom_is_reset(prev, cur);
    if (cur->schema > prev->schema || cur->zero_threshold < prev->zero_threshold)
        return true;
    zeros = histogram_widened_zeros(prev, &threshold);
    if (threshold != cur->zero_threshold || cur->zero_count < zeros)
        return true;
    return side_is_reset(prev, cur, false) || side_is_reset(prev, cur, true);
}
