/* remote_write2.h -- remote write 2.0 (prometheus.io/docs/specs/prw/remote_write_spec_2_0): bytes of
 * a request to a batch for db_append().
 *
 * Every text of a request stands once in its table of symbols, and labels are numbers into it: a
 * label costs two small numbers here where 1.0 has two texts. Series carry their own metadata, and
 * samples a start time.
 *
 * As with 1.0, texts are not copied, and only the encoding is judged. What is wrong with one series
 * or exemplar (numbers beyond the table, nothing in it) leaves out that one: the sender is told, and
 * the rest is stored. A series of exemplars alone is accepted, since Prometheus sends such.
 *
 * Threads: one struct remote_write2 belongs to one request at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "ingest/write_values.h"
#include "storage/db.h"

/* Limits of one request, as those of 1.0; two bytes of a request can ask for an item. */
enum {
    REMOTE_WRITE2_MAX_BYTES = 32 << 20, /* of the decoded body */
    REMOTE_WRITE2_MAX_SYMBOLS = 1000000,
    REMOTE_WRITE2_MAX_SERIES = 250000,
    REMOTE_WRITE2_MAX_LABELS = 4000000, /* of all series */
    REMOTE_WRITE2_MAX_SAMPLES = 2000000,
    REMOTE_WRITE2_NAMED = 10 /* what is left out is described so often, the rest counted */
};

/* The metadata of a series that was met; others of its family say the same. */
struct remote_write2_seen {
    uint32_t name, help, unit;
    uint64_t type;
};

enum { REMOTE_WRITE2_SEEN = 256 };

/* Zero-initialise it; free it with remote_write2_free(). */
struct remote_write2 {
    struct write_batch batch; /* the request, after OK; valid until the next call */
    size_t n_left_out;        /* floats and histograms of series left out; 1 for one without any */
    size_t n_bad_exemplars;   /* left out by themselves */
    struct buf text;          /* a line for each of the first that were left out */

    /* private from here on */
    struct buf body;
    struct str *symbols;
    uint32_t *refs; /* of one series */
    struct label *labels;
    struct write_series *series;
    struct sample *samples;
    int64_t *start_ms;
    struct metric_metadata *metadata;
    struct write_values values;
    struct remote_write2_seen seen[REMOTE_WRITE2_SEEN];
    size_t n_symbols, n_refs, n_labels, n_named;
    size_t cap_symbols, cap_refs, cap_labels, cap_series, cap_samples, cap_starts, cap_metadata;
    bool has_starts;
};

/* Reads a request as it is sent, a Snappy block. After an error the batch is empty.
 *   ERR_BAD_DATA   not a Snappy block, or not a Request: the text names what and where,
 *                  "timeseries[3].samples[0].timestamp: truncated varint at byte 812", and pos is
 *                  the byte offset in the decoded body
 *   ERR_TOO_LARGE  over one of the limits above, or of write_values.h
 *   ERR_NOMEM */
MUST_USE enum errc remote_write2_read(struct remote_write2 *rw, struct bytes body, struct err *err);

/* The same for the protobuf message, already decoded. The batch points into it. */
MUST_USE enum errc remote_write2_parse(struct remote_write2 *rw, struct bytes message,
                                       struct err *err);

/* Forgets the request; keeps memory for one of a usual size and gives the rest back. */
void remote_write2_recycle(struct remote_write2 *rw);

void remote_write2_free(struct remote_write2 *rw); /* leaves it zeroed */
