/* record.h -- what one log record says: the samples of one request, with the labels of series the
 * log does not know yet.
 *
 * Series are named by the head's refs, which mean something only inside one log generation: the
 * first record that uses a ref in a generation defines it, so a generation can be replayed by
 * itself.
 *
 *   u8       version, 1
 *   uvarint  number of definitions; for each:
 *              uvarint  ref
 *              uvarint  length
 *              bytes    encoded labels (labels.h)
 *   uvarint  number of series; for each:
 *              varint   ref - previous ref
 *              uvarint  number of samples; for each:
 *                         varint  time - previous time in the record
 *                         u64 LE  bits of the value
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"
#include "storage/sample.h"

/* Builds a record: definitions first, then the series. */
struct record_writer {
    struct buf definitions, series;
    uint64_t n_definitions, n_series;
    uint32_t last_ref;
    int64_t last_t_ms;
};

void record_define(struct record_writer *w, uint32_t ref, struct labels ls);
void record_series(struct record_writer *w, uint32_t ref, uint64_t n_samples);
void record_sample(struct record_writer *w,
                   struct sample s); /* n_samples times after record_series */
/* Appends the whole record to out. ERR_NOMEM. The writer is empty afterwards and keeps its memory.
 */
MUST_USE enum errc record_finish(struct record_writer *w, struct buf *out);
void record_writer_free(struct record_writer *w);

/* What a record is read into. define is called for each definition; sample for each sample. A false
 * return stops. */
struct record_handler {
    void *ctx;
    bool (*define)(void *ctx, uint32_t ref, struct bytes encoded_labels);
    bool (*sample)(void *ctx, uint32_t ref, struct sample s);
};

/* Reads a record; define may be NULL to skip definitions. ERR_CORRUPT when it is malformed,
 * ERR_CANCELED when the handler stopped it. */
MUST_USE enum errc record_read(struct bytes record, const struct record_handler *h,
                               struct err *err);
