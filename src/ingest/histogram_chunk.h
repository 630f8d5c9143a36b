/* histogram_chunk.h -- Prometheus' chunks of native histograms (encodings 2, integer, and 3, float),
 * as remote read sends them (prometheus/tsdb/docs/format/chunks.md).
 *
 * One chunk holds histograms with the same buckets whose counts never fall, so that a reader may
 * take every histogram but the first of a chunk for one without a counter reset.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "storage/histogram.h"

enum { HISTOGRAM_CHUNK_SAMPLES = 120 };

/* Whether b may follow a in one chunk. */
bool histogram_chunk_goes_on(const struct histogram *a, const struct histogram *b);

/* Appends a chunk of n histograms (1 to 65535), each of which may follow the one before it, times
 * strictly increasing. Staleness markers come last. Sets out->failed when out of memory. The
 * encoding is 2 when h[0]->is_integer, else 3. */
void histogram_chunk_encode(struct buf *out, const int64_t *t_ms, const struct histogram *const *h,
                            size_t n);
