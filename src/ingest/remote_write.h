/* remote_write.h -- remote write 1.0 (prometheus.io/docs/specs/prw/remote_write_spec): bytes of a
 * request to a batch for db_append().
 *
 * Strings are not copied: labels and metadata point into the decoded body. Labels, series and
 * samples lie in flat arrays that a struct remote_write keeps from one request to the next, so that
 * a request of a usual size allocates nothing.
 *
 * Only the encoding is judged here. Labels come as they were sent, unsorted, repeated or empty, and
 * a series may come several times: db_append() canonicalises and checks. Metadata without a family name or with text that is not UTF-8 is left out: it comes
 * in requests of its own, and one bad help text should not lose the others.
 *
 * Threads: one struct remote_write belongs to one request at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "ingest/write_values.h"
#include "storage/db.h"

/* Limits of one request, far above what senders do (Prometheus: 2,000 samples). Two bytes of a
 * request can ask for an item, so that without them a body could ask for 25 times its size. */
enum {
    REMOTE_WRITE_MAX_BYTES = 32 << 20, /* of the decoded body */
    REMOTE_WRITE_MAX_SERIES = 250000,
    REMOTE_WRITE_MAX_LABELS = 4000000, /* of all series */
    REMOTE_WRITE_MAX_SAMPLES = 2000000,
    REMOTE_WRITE_MAX_METADATA = 100000
};

/* Zero-initialise it; free it with remote_write_free(). */
struct remote_write {
    struct db
        *db; /* where series are recognised while they are read, so that the labels of those it
                    * knows are left out of the batch; NULL: all labels are read. The caller's. */
    struct write_batch batch; /* the request, after OK; valid until the next call */
    size_t n_bad_metadata;    /* left out of the batch */

    /* private from here on */
    struct buf body;
    struct label *labels;
    struct write_series *series;
    struct sample *samples;
    struct metric_metadata *metadata;
    struct db_recogniser recogniser;
    struct write_values values;
    size_t n_labels, cap_labels, cap_series, cap_samples, cap_metadata;
};

/* Reads a request as it is sent, a Snappy block. After an error the batch is empty.
 *   ERR_BAD_DATA   not a Snappy block, or not a WriteRequest: the text names what and where,
 *                  "timeseries[3].samples[0].timestamp: truncated varint at byte 812", and pos is
 *                  the byte offset in the decoded body
 *   ERR_TOO_LARGE  over one of the limits above
 *   ERR_NOMEM */
MUST_USE enum errc remote_write_read(struct remote_write *rw, struct bytes body, struct err *err);

/* The same for the protobuf message, already decoded. The batch points into it. */
MUST_USE enum errc remote_write_parse(struct remote_write *rw, struct bytes message,
                                      struct err *err);

/* Forgets the request; keeps memory for one of a usual size and gives the rest back. */
void remote_write_recycle(struct remote_write *rw);

void remote_write_free(struct remote_write *rw); /* leaves it zeroed */
