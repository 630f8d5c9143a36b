/* histogram_ops.h -- arithmetic and comparison of native histograms.
 *
 * Operands are never changed. Results are in the arena given and share nothing with the operands
 * unless it says so; NULL means that the arena is full.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "query/histogram_sum.h"
#include "storage/histogram.h"

/* h times factor / divisor in all counts and the sum. A negative one makes it a gauge. Dividing by
 * 0 leaves no buckets. */
struct histogram *histogram_scaled(struct arena *a, const struct histogram *h, double factor,
                                   double divisor);

/* h without its empty buckets. */
struct histogram *histogram_compacted(struct arena *a, const struct histogram *h);

/* x + y, or x - y, with HISTOGRAMS_… in *notes (added to what is there). Incompatible operands give
 * x. Empty buckets stay unless compact. */
struct histogram *histogram_added(struct arena *a, const struct histogram *x,
                                  const struct histogram *y, bool compact, unsigned *notes);
struct histogram *histogram_subtracted(struct arena *a, const struct histogram *x,
                                       const struct histogram *y, bool compact, unsigned *notes);

/* Whether all but the hint and the form is the same, to the bit. */
bool histogram_equal(const struct histogram *x, const struct histogram *y);

/* Whether the counter was reset between prev and cur. */
bool histogram_is_reset(const struct histogram *prev, const struct histogram *cur);

/* On the line from x to y, fraction (0..1) of the way; across a counter's reset from nothing to y.
 */
struct histogram *histogram_between(struct arena *a, const struct histogram *x,
                                    const struct histogram *y, double fraction, bool is_reset,
                                    unsigned *notes);

/* An empty histogram with the layout of h. It borrows h's bounds. */
struct histogram *histogram_empty_like(struct arena *a, const struct histogram *h);

/* h with another hint; it borrows everything else of h. */
struct histogram *histogram_with_hint(struct arena *a, const struct histogram *h,
                                      enum histogram_hint hint);

/* The count of a zero bucket of h widened to *threshold (not below its own); a bucket with counts
 * that the border would cut widens it further, to *threshold. */
double histogram_widened_zeros(const struct histogram *h, double *threshold);
