/* histogram_sum.h -- adding up native histograms.
 *
 * A sum is of the coarsest schema, the widest zero bucket and, with custom bounds, the bounds that
 * all of its histograms have. Every count is a compensated sum (compensated.h), so that of two
 * histograms the result is the plain sum of their counts, and of many it does not depend on their
 * order but in the last bits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "storage/histogram.h"

struct arena;

/* What came up while adding. */
enum {
    HISTOGRAMS_INCOMPATIBLE = 1, /* exponential with custom buckets: the sum is of no use */
    HISTOGRAMS_COLLIDING = 2,    /* one began with a counter reset, another without one */
    HISTOGRAMS_RECONCILED = 4    /* custom bounds differed */
};

/* The buckets of one side as a sorted list. */
struct bucket_list {
    int64_t *index;
    double *count, *c; /* the sums are count + c */
    size_t n, cap;
};

/* Zero-initialise it with its arena. */
struct histogram_sum {
    struct arena *arena;
    bool begun; /* the rest counts from the first histogram on */
    unsigned notes;
    int32_t schema;
    enum histogram_hint hint;
    bool seen_reset, seen_no_reset;
    double count, c_count, sum, c_sum, zero_count, c_zero_count;
    double zero_threshold;
    struct bucket_list positive, negative;
    double *custom, *spare; /* spare: NULL, or room for other bounds */
    uint32_t n_custom;
};

/* Adds factor (1 or -1) times h. False when the arena is full. Once the sum is
 * HISTOGRAMS_INCOMPATIBLE nothing is added any more. */
MUST_USE bool histogram_sum_add(struct histogram_sum *s, const struct histogram *h, double factor);

/* Makes the buckets at least as wide as those of a schema; nothing with custom bounds. */
void histogram_sum_coarsen(struct histogram_sum *s, int32_t schema);

/* The sum as a histogram, in arena a: empty buckets that its histograms list are listed, unless
 * compact. NULL when the arena is full. */
struct histogram *histogram_sum_result(const struct histogram_sum *s, struct arena *a,
                                       bool compact);

/* ---- avg: the sum while it is finite, then a running mean ---- */

struct histogram_mean {
    struct histogram_sum sum;
    double count;
    bool is_mean;
};

/* Adds one more histogram; scratch may be emptied afterwards. False when an arena is full. */
MUST_USE bool histogram_mean_add(struct histogram_mean *m, const struct histogram *h,
                                 struct arena *scratch);
/* To be asked for once, as nothing can be added afterwards. */
struct histogram *histogram_mean_result(struct histogram_mean *m, struct arena *a, bool compact);
