/* quantile.h -- quantiles of samples and of classic histograms, without a query around them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The q-quantile of v, which it sorts: linear between the two nearest ranks, NaN the smallest
 * value. NaN without values and for a NaN q, -Inf for q < 0, +Inf for q > 1. */
double quantile_of(double q, double *v, size_t n);

/* A bucket of a classic histogram: how many observations are at most le. */
struct bucket {
    double le, count;
};

/* What was done to counts that decreased from one bucket to the next. */
struct bucket_repair {
    bool done;
    double min_le, max_le; /* of the buckets changed */
    double max_difference;
};

/* The q-quantile of a histogram; sorts, merges and repairs the buckets in place. NaN when the
 * highest bucket is not +Inf or there are no observations. */
double bucket_quantile(double q, struct bucket *b, size_t n, struct bucket_repair *repair);

/* The estimated share of observations in lower..upper; sorts and merges the buckets in place. */
double bucket_fraction(double lower, double upper, struct bucket *b, size_t n);
