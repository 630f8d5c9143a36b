#include "query/histogram_stats.h"

#include <math.h>

#include "base/arena.h"
#include "query/compensated.h"
#include "query/histogram_buckets.h"
#include "query/histogram_ops.h"

#include "base/banned.h"

/* Where only one side of zero has buckets, so has the zero bucket. */
static void cut_zero_bucket(const struct histogram *h, struct histogram_bucket *b)
{
    if (h->negative.n_counts == 0 && h->positive.n_counts > 0)
        b->lower = 0;
    else if (h->positive.n_counts == 0 && h->negative.n_counts > 0)
        b->upper = 0;
}

/* The share of an exponential bucket that lies below v, which is inside. */
static double exponential_share(const struct histogram_bucket *b, double v)
{
    double lower = log2(fabs(b->lower)), upper = log2(fabs(b->upper)), at = log2(fabs(v));

    if (v > 0)
        return (at - lower) / (upper - lower);
    return 1 - (at - upper) / (lower - upper);
}

static double linear_share(const struct histogram_bucket *b, double v)
{
    return (v - b->lower) / (b->upper - b->lower);
}

/* ---- quantile ---- */

/* The value with a share of the bucket's observations below it. */
static double value_at(const struct histogram *h, const struct histogram_bucket *b, double share)
{
    double lower, upper;

    if (histogram_is_custom(h) || (b->lower <= 0 && b->upper >= 0))
        return b->lower + (b->upper - b->lower) * share;
    lower = log2(fabs(b->lower));
    upper = log2(fabs(b->upper));
    if (b->lower > 0)
        return exp2(lower + (upper - lower) * share);
    return -exp2(upper + (lower - upper) * (1 - share));
}

static double rest_of_walk(struct bucket_walk *w, struct histogram_bucket *b)
{
    double total = 0;

    while (bucket_walk_next(w, b))
        total += b->count;
    return total;
}

/* The border to return instead of a value inside an outermost custom bucket; false for any other. */
static bool outermost(const struct histogram *h, struct histogram_bucket *b, double *v)
{
    if (!histogram_is_custom(h)) {
        if (b->lower < 0 && b->upper > 0)
            cut_zero_bucket(h, b);
        return false;
    }
    if (b->lower == -INFINITY) {
        *v = b->upper;
        b->lower = 0;
        return b->upper <= 0;
    }
    *v = b->lower;
    return b->upper == INFINITY;
}

double histogram_quantile(const struct histogram *h, double q, enum nan_effect *nan)
{
    bool up = isnan(h->sum) || q < 0.5;
    double rank = up ? q * h->count : (1 - q) * h->count, seen = 0, v;
    struct bucket_walk walk = bucket_walk(h, !up);
    struct histogram_bucket b = { 0 }, next;

    *nan = NAN_NONE;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    if (h->count == 0 || isnan(q))
        return NAN;
    while (bucket_walk_next(&walk, &next)) {
        b = next;
        if (b.count == 0)
            continue;
        seen += b.count;
        if (seen >= rank)
            break;
    }
    if (outermost(h, &b, &v))
        return v;
    if (seen > h->count)
        seen = h->count;
    if (seen < rank) {
        *nan = isnan(h->sum) ? NAN_RESULT : NAN_NONE;
        return isnan(h->sum) ? NAN : b.upper;
    }
    rank = up ? rank - (seen - b.count) : seen - rank;
    /* As in Prometheus the last bucket walked over is the one looked into, even here. */
    if (isnan(h->sum) && seen + rest_of_walk(&walk, &b) < h->count)
        *nan = NAN_SKEWED;
    return value_at(h, &b, rank / b.count);
}

/* ---- fraction ---- */

/* How many observations are below v, found bucket by bucket. */
struct below {
    double v, count;
    bool known;
};

static void look_below(struct below *f, const struct histogram *h, const struct histogram_bucket *b,
                       double before)
{
    bool linear = histogram_is_custom(h) || (b->lower <= 0 && b->upper >= 0);

    if (f->known || (b->lower < f->v && b->upper <= f->v))
        return;
    f->known = true;
    if (b->lower >= f->v)
        f->count = before;
    else if (linear && b->lower == -INFINITY)
        f->count = b->count;
    else if (linear)
        f->count = before + b->count * linear_share(b, f->v);
    else
        f->count = before + b->count * exponential_share(b, f->v);
}

static double at_most(const struct below *f, double total)
{
    return !f->known || f->count > total ? total : f->count;
}

double histogram_fraction(const struct histogram *h, double lower, double upper,
                          enum nan_effect *nan)
{
    struct below low = { .v = lower }, high = { .v = upper };
    struct bucket_walk walk = bucket_walk(h, false);
    struct histogram_bucket b;
    double before = 0, total = h->count;

    *nan = NAN_NONE;
    if (h->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    while (bucket_walk_next(&walk, &b)) {
        if (b.lower <= 0 && b.upper >= 0)
            cut_zero_bucket(h, &b);
        look_below(&low, h, &b, before);
        look_below(&high, h, &b, before);
        before += b.count;
    }
    if (isnan(h->sum)) {
        *nan = before < h->count ? NAN_EXCLUDED : NAN_NONE;
        total = before;
    }
    return (at_most(&high, total) - at_most(&low, total)) / h->count;
}

/* ---- variance ---- */

static double middle(const struct histogram *h, const struct histogram_bucket *b)
{
    double v;

    if (histogram_is_custom(h))
        return (b->upper + b->lower) / 2;
    if (b->lower <= 0 && b->upper >= 0)
        return 0;
    v = sqrt(b->upper * b->lower);
    return b->upper < 0 ? -v : v;
}

double histogram_variance(const struct histogram *h)
{
    double mean = h->sum / h->count, sum = 0, c = 0;
    struct bucket_walk walk = bucket_walk(h, false);
    struct histogram_bucket b;

    while (bucket_walk_next(&walk, &b)) {
        double d = middle(h, &b) - mean;

        if (b.count != 0)
            compensated_add(b.count * d * d, &sum, &c);
    }
    return (sum + c) / h->count;
}

/* ---- trim ---- */

struct trim {
    const struct histogram *h;
    double threshold;
    bool above;
    bool changed;
    double count, sum; /* of what is kept */
};

/* What is kept of a bucket, and the value its observations are taken to have. */
struct kept {
    double count, middle;
};

static double middle_between(const struct trim *t, double lower, double upper)
{
    double v;

    if (isinf(lower))
        return isinf(upper) ? 0 : upper > 0 ? upper / 2 : upper;
    if (isinf(upper))
        return lower;
    if (histogram_is_custom(t->h))
        return (lower + upper) / 2;
    v = sqrt(fabs(lower * upper));
    return upper > 0 ? v : -v;
}

/* Of a bucket without a lower border there is no telling how far down it goes: from zero, if it ends
 * above. */
static struct kept cut_first(const struct trim *t, const struct histogram_bucket *b)
{
    double x = t->threshold, upper = b->upper;
    bool finite = !isinf(upper);

    if (t->above) {
        if (x >= 0 && finite)
            return (struct kept){ b->count * (1 - x / upper), (x + upper) / 2 };
        return (struct kept){ 0, 0 };
    }
    if (upper <= 0)
        return (struct kept){ b->count, x };
    if (x > 0 && finite)
        return (struct kept){ b->count * x / upper, x / 2 };
    return (struct kept){ 0, 0 };
}

static struct kept cut_bucket(const struct trim *t, const struct histogram_bucket *b)
{
    double x = t->threshold, below;

    if (isinf(b->lower))
        return cut_first(t, b);
    if (isinf(b->upper))
        return t->above ? (struct kept){ b->count, x } : (struct kept){ 0, 0 };
    below = b->count * (histogram_is_custom(t->h) ? linear_share(b, x) : exponential_share(b, x));
    if (t->above)
        return (struct kept){ b->count - below, middle_between(t, x, b->upper) };
    return (struct kept){ below, middle_between(t, b->lower, x) };
}

static struct kept keep_of_bucket(const struct trim *t, const struct histogram_bucket *b)
{
    double x = t->threshold;
    bool whole = t->above ? b->lower >= x : b->upper <= x;
    bool part = t->above ? b->upper > x : b->lower < x;

    if (whole)
        return (struct kept){ b->count, middle_between(t, b->lower, b->upper) };
    return part ? cut_bucket(t, b) : (struct kept){ 0, 0 };
}

static bool has_counts(const struct histogram_side *s)
{
    for (uint32_t i = 0; i < s->n_counts; i++)
        if (s->counts[i] != 0)
            return true;
    return false;
}

static struct kept keep_of_zero_bucket(const struct trim *t)
{
    const struct histogram *h = t->h;
    double x = t->threshold, lower = -h->zero_threshold, upper = h->zero_threshold;
    bool positive = has_counts(&h->positive), negative = has_counts(&h->negative);

    if (positive && !negative)
        lower = 0;
    else if (negative && !positive)
        upper = 0;
    if (t->above ? x <= lower : x >= upper)
        return (struct kept){ h->zero_count, (lower + upper) / 2 };
    if (t->above ? x >= upper : x <= lower)
        return (struct kept){ 0, 0 };
    if (t->above)
        return (struct kept){ h->zero_count * (upper - x) / (upper - lower), (x + upper) / 2 };
    return (struct kept){ h->zero_count * (x - lower) / (upper - lower), (lower + x) / 2 };
}

static void note_kept(struct trim *t, struct kept kept, double count)
{
    if (kept.count != count)
        t->changed = true;
    t->count += kept.count;
    t->sum += kept.count * kept.middle;
}

static bool trim_side(struct trim *t, struct arena *a, struct histogram_side *side, bool negative)
{
    struct bucket_cursor cursor = bucket_cursor(side, false);
    double *counts = arena_alloc(a, side->n_counts * sizeof *counts), count;
    int64_t index;
    size_t n = 0;

    while (counts && bucket_next(&cursor, &index, &count)) {
        struct histogram_bucket b = histogram_bucket(t->h, negative, index, count);
        struct kept kept = { 0, 0 };

        if (count != 0) {
            kept = keep_of_bucket(t, &b);
            note_kept(t, kept, count);
        }
        counts[n++] = kept.count;
    }
    side->counts = counts;
    return counts != NULL;
}

const struct histogram *histogram_trimmed(struct arena *a, const struct histogram *h,
                                          double threshold, bool above)
{
    struct trim t = { .h = h, .threshold = threshold, .above = above };
    struct histogram out = *h;

    if (!trim_side(&t, a, &out.positive, false) || !trim_side(&t, a, &out.negative, true))
        return NULL;
    if (h->zero_count != 0) {
        struct kept kept = keep_of_zero_bucket(&t);

        note_kept(&t, kept, h->zero_count);
        out.zero_count = kept.count;
    }
    if (!t.changed)
        return h;
    out.count = t.count;
    out.sum = t.sum;
    out.is_integer = false;
    return histogram_compacted(a, &out);
}
