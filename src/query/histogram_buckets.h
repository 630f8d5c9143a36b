/* histogram_buckets.h -- the buckets of a native histogram: their bounds, and ways to walk them.
 *
 * The model is storage/histogram.h's. Bounds of exponential buckets are those that Prometheus
 * computes, to the last bit, since they show in results.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "storage/histogram.h"

static inline bool histogram_is_custom(const struct histogram *h)
{
    return h->schema == HISTOGRAM_CUSTOM_SCHEMA;
}

/* The upper bound of bucket index of the positive side; the lower one is that of index - 1. */
double histogram_bound(const struct histogram *h, int64_t index);

/* The bucket of a coarser schema, shift steps down, that bucket index lies in. */
static inline int64_t bucket_reduced(int64_t index, int shift)
{
    return ((index - 1) >> shift) + 1;
}

/* Walks the populated buckets of one side in either direction. Empty ones are there when the spans
 * list them. Private but for the two functions. */
struct bucket_cursor {
    const struct histogram_side *side;
    bool down;
    uint32_t span, left; /* left: buckets of the span still to come */
    uint32_t at;         /* the next count */
    int64_t index;       /* of the next bucket */
};

struct bucket_cursor bucket_cursor(const struct histogram_side *side, bool down);
bool bucket_next(struct bucket_cursor *c, int64_t *index, double *count);

/* A bucket with its bounds. */
struct histogram_bucket {
    double lower, upper, count;
    bool lower_inclusive, upper_inclusive;
};

/* The bucket of an index of one side. */
struct histogram_bucket histogram_bucket(const struct histogram *h, bool negative, int64_t index,
                                         double count);

/* Walks all buckets in the order of their values, upwards or down: the negative side, the zero
 * bucket when its count is above 0, the positive side. Of buckets that reach into the zero bucket
 * only what lies outside is given. */
struct bucket_walk {
    const struct histogram *h;
    struct bucket_cursor first, last; /* the sides before and after the zero bucket */
    bool first_negative;
    int stage;
};

struct bucket_walk bucket_walk(const struct histogram *h, bool down);
bool bucket_walk_next(struct bucket_walk *w, struct histogram_bucket *b);

struct buf;

/* `{count:10, sum:5.5, [-1,-0.5):2, (0.5,1]:5}`: the text of a histogram as a label's value and in
 * messages. */
void histogram_print(struct buf *b, const struct histogram *h);
