/* histogram.h -- a native histogram: one sample that is a whole distribution.
 *
 * The model is Prometheus': counts of observations in buckets, each count its own (not cumulative).
 * Schemas -4..8 have exponential buckets, bucket i of the positive side being
 * (2^((i-1) * 2^-schema), 2^(i * 2^-schema)] and the negative side its mirror image, and a bucket
 * [-zero_threshold, zero_threshold] in between. Schema -53 has buckets with bounds of its own, on
 * the positive side only: (custom[i-1], custom[i]], the first from -Inf, one more after the last up
 * to +Inf.
 *
 * Populated buckets are listed by spans: the offset of the first span is the index of its first
 * bucket, that of each later one the number of buckets left out before it.
 *
 * Counts are doubles. Those of an integer histogram are whole and at most 2^53, so that they are
 * exact; is_integer keeps the form in which it was written. A histogram whose sum has the bits of
 * the staleness marker is one.
 *
 * Encoding (histogram_encode), unique to its histogram, so that bytes are compared in its place:
 *
 *   u8       form: 0 integer, 1 float, plus 2 * hint
 *   varint   schema
 *   u64 LE   bits of sum
 *   f64 LE   zero_threshold
 *   number   count
 *   number   zero_count
 *   uvarint  number of custom bounds, then each as f64 LE
 *   for the positive side, then the negative one:
 *     uvarint  number of spans; for each: varint offset, uvarint length
 *     number   for each bucket of the spans; integers as differences (varint), the first from 0
 *
 *   number: uvarint for an integer histogram, f64 LE for a float one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

enum {
    HISTOGRAM_MIN_SCHEMA = -4,
    HISTOGRAM_MAX_SCHEMA = 8,
    HISTOGRAM_CUSTOM_SCHEMA = -53,
    HISTOGRAM_MAX_BUCKETS = 65536 /* of both sides together, and of custom bounds */
};

/* What the writer knows of the sample before it; the numbers are those of the protocols. */
enum histogram_hint { HINT_UNKNOWN, HINT_RESET, HINT_NO_RESET, HINT_GAUGE, HINT_COUNT };

struct histogram_span {
    int32_t offset;
    uint32_t length;
};

/* One side: as many counts as the lengths of the spans add up to. */
struct histogram_side {
    const struct histogram_span *spans;
    const double *counts;
    uint32_t n_spans, n_counts;
};

struct histogram {
    int32_t schema;
    enum histogram_hint hint;
    bool is_integer;
    double count, sum;
    double zero_threshold, zero_count;
    struct histogram_side positive, negative;
    const double *custom; /* bounds, strictly increasing, of schema -53 */
    uint32_t n_custom;
};

/* Whether h may be stored: the checks and the texts of Prometheus. Of a staleness marker only the
 * form and the sum count: who decodes it from outside leaves observations, buckets and bounds empty,
 * and one that has some is bad.
 * ERR_BAD_DATA with a text that does not name the series, ERR_LIMIT over HISTOGRAM_MAX_BUCKETS. */
MUST_USE enum errc histogram_check(const struct histogram *h, struct err *err);

/* Whether all fields are the same, bit by bit, the hint and the form included. */
bool histogram_identical(const struct histogram *a, const struct histogram *b);

/* A deep copy in the arena, or NULL when it is full. */
struct histogram *histogram_copy(struct arena *a, const struct histogram *h);

/* Appends the encoding. */
void histogram_encode(struct buf *b, const struct histogram *h);

/* Reads one encoding from r into the arena. ERR_CORRUPT, ERR_NOMEM when the arena is full. */
MUST_USE enum errc histogram_decode(struct reader *r, struct arena *a, struct histogram *out,
                                    struct err *err);
