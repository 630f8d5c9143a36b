/* codec_histogram.h -- native histograms of one series in few bytes: a column for each field and for
 * each bucket.
 *
 *   column of hints           codec_ints.h
 *   column of sums            codec_float.h
 *   column of counts          numbers: codec_ints.h for integer histograms, codec_float.h for float ones
 *   column of zero counts     numbers
 *   uvarint number of runs of equal layout, then for each run
 *     uvarint samples of the run
 *     uvarint bytes, layout   an integer histogram (histogram.h) with this schema, zero threshold,
 *                             these bounds and spans, all its numbers zero
 *     for each bucket, positive before negative ones
 *       column of its counts  numbers, as many as the run has samples
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/codec_float.h"
#include "storage/sample.h"

struct histogram;

enum { HISTOGRAMS_MAX_COUNTS = 1 << 22 }; /* of all buckets of a column: 32 MiB when decoded */

/* Whether columns are the way to store them: layouts seldom change, HISTOGRAMS_MAX_COUNTS are
 * not exceeded, and numbers of integer histograms are whole. */
bool histograms_suit(const struct histogram *const *h, size_t n);

/* Appends the columns of 1..INTS_MAX histograms of one form, which suit. */
void histograms_encode(struct buf *b, const struct histogram *const *h, size_t n,
                       struct floats_scratch *s);

/* Appends n <= INTS_MAX histograms of the form to out. ERR_CORRUPT, ERR_NOMEM, without words; out
 * may have grown then. */
MUST_USE enum errc histograms_decode(struct reader *r, bool is_integer, const int64_t *t_ms,
                                     size_t n, struct column *out);
