/* histogram_stats.h -- what can be estimated from a native histogram.
 *
 * Inside a bucket observations are taken to be spread evenly: on a logarithmic scale in exponential
 * buckets, on a linear one in those with custom bounds and in the zero bucket.
 */
#pragma once

#include <stdbool.h>

#include "storage/histogram.h"

struct arena;

/* What NaN observations did: they are in the count, but in no bucket. */
enum nan_effect { NAN_NONE, NAN_RESULT, NAN_SKEWED, NAN_EXCLUDED };

/* The q-quantile: NaN without observations and for a NaN q, -Inf for q < 0, +Inf for q > 1. *nan is
 * NAN_RESULT when it fell among the NaN, NAN_SKEWED when there are some. */
double histogram_quantile(const struct histogram *h, double q, enum nan_effect *nan);

/* The share of observations in lower..upper. *nan is NAN_EXCLUDED when there are NaN. */
double histogram_fraction(const struct histogram *h, double lower, double upper,
                          enum nan_effect *nan);

/* The variance, with all observations of a bucket in its middle. */
double histogram_variance(const struct histogram *h);

/* What is left of h below a threshold (above: beyond it), buckets cut where it lies, the sum
 * estimated anew; h itself when nothing goes. NULL when the arena is full. */
const struct histogram *histogram_trimmed(struct arena *a, const struct histogram *h,
                                          double threshold, bool above);
