/* selector_histograms.h -- what selectors do with histograms beyond what they do with floats.
 */
#pragma once

#include "base/err.h"
#include "query/eval.h"

struct column;

/* Gives the histograms of a column, staleness markers removed, the hints that samples next to each
 * other have: that the counter went on. Where it was reset the hint is unknown, as in Prometheus,
 * unless only the writer's hint tells. Under a function that asks for counts and sums alone (selector.stats_only)
 * buckets are left out, so that resets must be told by the hint. prev is the histogram before the
 * column, or NULL. What is made lies in the scratch arena. */
MUST_USE enum errc hints_of_range(struct query *q, const struct node *selector,
                                  const struct histogram *prev, struct column *c, struct err *err);

/* Sets h where the newest sample before a step's time, of which v is known to be usable, is a
 * histogram. */
MUST_USE enum errc pick_histograms(struct query *q, const struct node *selector,
                                   const struct column *c, const double *v,
                                   const struct histogram **h, struct err *err);

/* The samples of a smoothed selector, of a series with histograms. */
MUST_USE enum errc pick_smoothed_samples(struct query *q, const struct node *selector,
                                         struct labels labels, const struct column *c, double *v,
                                         const struct histogram **h, struct err *err);
