/* sample.h -- one value of one series at one time.
 *
 * Times are milliseconds since the Unix epoch. Values are IEEE 754 doubles and keep every bit. A
 * staleness marker ("the series has ended here") is one particular NaN: compare bits, never
 * isnan().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;
struct histogram;

#define STALE_NAN_BITS 0x7ff0000000000002u
#define QUIET_NAN_BITS 0x7ff8000000000001u /* an ordinary NaN, as Prometheus writes it */

enum { DAY_MS = 86400000 };

struct sample {
    int64_t t_ms;
    double v;
};

static inline bool is_stale(double v)
{
    return f64_bits(v) == STALE_NAN_BITS;
}

static inline double stale_nan(void)
{
    return f64_from_bits(STALE_NAN_BITS);
}

/* Whether a value is an integer of less than 2^53, which conversion to and fro keeps; -0.0 is none. */
static inline bool is_integer(double v, int64_t *i)
{
    const double limit = 9007199254740992.0;

    if (!(v > -limit && v < limit))
        return false;
    *i = (int64_t)v;
    return f64_bits((double)*i) == f64_bits(v);
}

/* The UTC day a time lies in, counted from 1970-01-01; rounds down, so that times before it work
 * too. */
static inline int64_t day_of(int64_t t_ms)
{
    return t_ms >= 0 ? t_ms / DAY_MS : -((-(t_ms + 1)) / DAY_MS) - 1;
}

/* The times that a day begins and ends with; the first and the last day that times of 64 bits know
 * are cut short. */
static inline int64_t day_first_ms(int64_t day)
{
    int64_t t_ms;

    if (__builtin_mul_overflow(day, (int64_t)DAY_MS, &t_ms))
        return day < 0 ? INT64_MIN : INT64_MAX;
    return t_ms;
}

static inline int64_t day_last_ms(int64_t day)
{
    int64_t next = day_first_ms(day + 1);

    return next == INT64_MAX ? next : next - 1;
}

/* Samples of one series, times strictly increasing: parallel arrays on the heap, grown as needed,
 * reused by the caller. Zero-initialise it; free it with column_free().
 *
 * A sample is a float, or a histogram: then h[i] points to it and v[i] is its sum, so that the
 * staleness marker is found in v[i] whatever the kind. The arrays h and start_ms exist only when a
 * sample needs them: most columns are plain floats.
 */
struct column {
    int64_t *t_ms;
    double *v;
    const struct histogram **h; /* NULL: floats only; h[i] NULL: sample i is a float */
    int64_t *start_ms; /* NULL: none known; when the counter of sample i began at zero, 0 unknown */
    size_t n, cap;
    size_t n_unreadable;      /* histograms that are missing because their encoding is none */
    struct arena *histograms; /* private: holds what h points to */
};

/* Room for n samples in all, in every array that exists; false when out of memory. What adds floats
 * by writing t_ms and v itself calls column_filled() afterwards. */
MUST_USE bool column_reserve(struct column *c, size_t n);
/* Makes the column longer by n floats that were written to t_ms and v. */
void column_filled(struct column *c, size_t n);
/* Appends one sample; false when out of memory: nothing has changed. */
MUST_USE bool column_add(struct column *c, int64_t t_ms, double v);
/* The same for a histogram, of which a deep copy is kept until column_clear(). */
MUST_USE bool column_add_histogram(struct column *c, int64_t t_ms, const struct histogram *h);
/* The same for the encoding of one (histogram.h). ERR_CORRUPT when it is none, ERR_NOMEM: nothing
 * has changed. */
MUST_USE enum errc column_add_encoded(struct column *c, int64_t t_ms, struct bytes encoding);
/* Notes the start time of the last sample, or of sample i; 0 does nothing. False when out of
 * memory. */
MUST_USE bool column_set_start(struct column *c, int64_t start_ms);
MUST_USE bool column_set_start_at(struct column *c, size_t i, int64_t start_ms);
/* Takes out the samples from..to - 1. */
void column_cut(struct column *c, size_t from, size_t to);
/* Empties the column, keeping memory for the next. */
void column_clear(struct column *c);
void column_free(struct column *c);

/* Sorts c by time if needed; of equal times the first in c is kept. False when out of memory: c is
 * unchanged. */
MUST_USE bool column_normalise(struct column *c);
