/* xor_chunk.h -- Prometheus' chunk of floats (encoding 1, "XOR"), as remote read sends it.
 *
 * Delta-of-delta times and XORed values of Pelkonen et al., "Gorilla", VLDB 2015, section 4.1, with
 * wider time steps (prometheus/tsdb/docs/format/chunks.md). The bits are drawn in xor_chunk.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    XOR_CHUNK_MAX_SAMPLES = 65535,
    XOR_CHUNK_SAMPLES = 120 /* what Prometheus puts into one, and readers expect */
};

/* Appends a chunk of n samples (1 to XOR_CHUNK_MAX_SAMPLES), times strictly increasing. Every bit of
 * a value is kept, so staleness markers survive. Sets out->failed when out of memory. */
void xor_chunk_encode(struct buf *out, const int64_t *t_ms, const double *v, size_t n);
