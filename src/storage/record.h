/* record.h -- what one log record says: the samples of one request, with the labels of series the
 * log does not know yet.
 *
 * Series are named by the head's refs, which mean something only inside one log generation: the
 * first record that uses a ref in a generation defines it, so a generation can be replayed by
 * itself.
 *
 *   u8       version, 2
 *   uvarint  number of definitions; for each:
 *              uvarint  ref
 *              uvarint  length
 *              bytes    encoded labels (labels.h)
 *   uvarint  number of series; for each:
 *              varint   ref - previous ref
 *              uvarint  number of floats * 4 + 1 if samples have start times + 2 if others follow
 *              if others follow: uvarint number of histograms, uvarint number of exemplars
 *              for each float:
 *                <time>
 *                <value>
 *              for each histogram:
 *                <time>
 *                uvarint  length
 *                bytes    encoded histogram (histogram.h)
 *              for each exemplar:
 *                varint   time - previous time in the record
 *                <value>
 *                uvarint  length
 *                bytes    encoded labels
 *
 *   <time>   varint  time - previous time in the record
 *            if samples have start times: varint  start time (0 unknown) - previous one in the record
 *
 *   <value>  uvarint  the integer, zigzag, * 2, of a value that is one (is_integer())
 *            or u8  n * 2 + 1, then n bytes: the bits without the zero bytes at their low end
 *
 * Version 1 had floats only, 8 bytes each: the number of floats stood there as it is. It is still read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/histogram.h"
#include "storage/labels.h"
#include "storage/sample.h"

/* Builds a record: definitions first, then the series. */
struct record_writer {
    struct buf definitions, series, scratch;
    uint64_t n_definitions, n_series;
    bool has_starts;
    int64_t last_ref, last_t_ms, last_start_ms;
};

/* What a series of the record has. */
struct record_counts {
    uint64_t n_floats, n_histograms, n_exemplars;
    bool has_starts; /* of floats or histograms */
};

void record_define(struct record_writer *w, uint32_t ref, struct labels ls);

/* Begins a series. As many calls of the next three follow as it says, in their order. */
void record_series(struct record_writer *w, uint32_t ref, struct record_counts counts);
/* start_ms is ignored unless the series has start times; 0 unknown. */
void record_float(struct record_writer *w, struct sample s, int64_t start_ms);
void record_histogram(struct record_writer *w, int64_t t_ms, int64_t start_ms,
                      const struct histogram *h);
void record_exemplar(struct record_writer *w, int64_t t_ms, double v, struct labels ls);

/* Appends the whole record to out. ERR_NOMEM. The writer is empty afterwards and keeps its memory.
 */
MUST_USE enum errc record_finish(struct record_writer *w, struct buf *out);
void record_writer_free(struct record_writer *w);

/* What a record is read into: a call for each definition and sample. A false return stops. Those
 * that are NULL are not called. */
struct record_handler {
    void *ctx;
    bool (*define)(void *ctx, uint32_t ref, struct bytes encoded_labels);
    bool (*sample)(void *ctx, uint32_t ref, struct sample s, int64_t start_ms);
    bool (*histogram)(void *ctx, uint32_t ref, int64_t t_ms, int64_t start_ms,
                      struct bytes encoded);
    bool (*exemplar)(void *ctx, uint32_t ref, int64_t t_ms, double v, struct bytes encoded_labels);
};

/* Reads a record. ERR_CORRUPT when it is malformed (whether encoded labels and histograms are is for
 * the handler to see), ERR_CANCELED when the handler stopped it. */
MUST_USE enum errc record_read(struct bytes record, const struct record_handler *h,
                               struct err *err);
