#include "query/quantile.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "storage/sample.h"

#include "base/banned.h"

static double nan_value(void)
{
    return f64_from_bits(QUIET_NAN_BITS);
}

static int nan_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x);
    return (x > y) - (x < y);
}

/* What a quantile outside 0..1 gives; false for one inside. */
static bool outside(double q, double *v)
{
    if (isnan(q))
        *v = nan_value();
    else if (q < 0 || q > 1)
        *v = q < 0 ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}

double quantile_of(double q, double *v, size_t n)
{
    double result, rank, weight;
    size_t low, high;

    if (n == 0)
        return nan_value();
    if (outside(q, &result))
        return result;
    qsort(v, n, sizeof *v, nan_first);
    rank = q * (double)(n - 1);
    weight = rank - floor(rank);
    low = (size_t)floor(rank);
    high = low + 1 < n ? low + 1 : n - 1;
    return v[low] * (1 - weight) + v[high] * weight;
}

/* ---- classic histograms ---- */

static int by_le(const void *a, const void *b)
{
    double x = ((const struct bucket *)a)->le, y = ((const struct bucket *)b)->le;

    return isnan(x) || isnan(y) ? isnan(y) - isnan(x) : (x > y) - (x < y);
}

/* Sorts, and adds up buckets of equal bounds. Returns how many are left, 0 when the highest is not
 * +Inf. */
static size_t normalise(struct bucket *b, size_t n)
{
    size_t last = 0;

    if (n == 0)
        return 0;
    qsort(b, n, sizeof *b, by_le);
    if (!isinf(b[n - 1].le) || b[n - 1].le < 0)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (b[i].le == b[last].le)
            b[last].count += b[i].count;
        else
            b[++last] = b[i];
    }
    return last + 1;
}

/* Equal but for rounding: relative to their sum, or absolutely where both are next to nothing. */
static bool almost_equal(double a, double b, double epsilon)
{
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);

    if (a == b || (isnan(a) && isnan(b)))
        return true;
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return difference < epsilon * DBL_MIN;
    return difference / fmin(sum, DBL_MAX) < epsilon;
}

/* Makes counts monotonic: a difference of rounding silently, a true decrease with a note. */
static void repair_counts(struct bucket *b, size_t n, struct bucket_repair *repair)
{
    double prev = b[0].count;

    for (size_t i = 1; i < n; i++) {
        double count = b[i].count;

        if (count == prev)
            continue;
        if (almost_equal(prev, count, 1e-12)) {
            b[i].count = prev;
        } else if (count < prev) {
            b[i].count = prev;
            if (!repair->done)
                repair->min_le = b[i].le;
            repair->max_le = b[i].le;
            repair->max_difference = fmax(repair->max_difference, prev - count);
            repair->done = true;
        } else {
            prev = count;
        }
    }
}

double bucket_quantile(double q, struct bucket *b, size_t n, struct bucket_repair *repair)
{
    double result, rank, start = 0, count;
    size_t i = 0;

    *repair = (struct bucket_repair){ 0 };
    if (outside(q, &result))
        return result;
    if ((n = normalise(b, n)) == 0)
        return nan_value();
    repair_counts(b, n, repair);
    if (n < 2 || b[n - 1].count == 0)
        return nan_value();
    rank = q * b[n - 1].count;
    while (i < n - 1 && !(b[i].count >= rank))
        i++;
    if (i == n - 1)
        return b[n - 2].le;
    if (i == 0 && b[0].le <= 0)
        return b[0].le;
    count = b[i].count;
    if (i > 0) {
        start = b[i - 1].le;
        count -= b[i - 1].count;
        rank -= b[i - 1].count;
    }
    return start + (b[i].le - start) * (rank / count);
}

/* The estimated number of observations at most v. */
static double rank_of(double v, const struct bucket *b, size_t n)
{
    double below = 0, start = b[0].le > 0 ? 0 : -INFINITY;

    for (size_t i = 0; i < n; below = b[i].count, start = b[i].le, i++) {
        if (start >= v)
            return below;
        if (b[i].le <= v)
            continue;
        if (isinf(start))
            return b[i].count; /* nothing is known within a bucket that has no lower bound */
        return below + (b[i].count - below) * (v - start) / (b[i].le - start);
    }
    return b[n - 1].count;
}

double bucket_fraction(double lower, double upper, struct bucket *b, size_t n)
{
    double total, lower_rank, upper_rank;

    if ((n = normalise(b, n)) == 0)
        return nan_value();
    total = b[n - 1].count;
    if (total == 0 || isnan(lower) || isnan(upper))
        return nan_value();
    if (lower >= upper)
        return 0;
    lower_rank = rank_of(lower, b, n);
    upper_rank = rank_of(upper, b, n);
    if (lower_rank > total)
        lower_rank = total;
    if (upper_rank > total)
        upper_rank = total;
    return (upper_rank - lower_rank) / total;
}
