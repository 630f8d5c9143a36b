/* remote_read.h -- Prometheus' remote read (prometheus/prompb/remote.proto): the request, and both
 * kinds of answers.
 *
 * A request asks for raw samples of series by matchers and time. It is answered either with all
 * samples as one message (SAMPLES), which must be made whole, or with a stream of frames that hold
 * chunks (STREAMED_XOR_CHUNKS), which is made in batches: between two of them no view of the store
 * is open, so that a reader may take its time. A batch begins with the series (or the time within a
 * long one) that the last one ended at; what is stored meanwhile may or may not be in the rest.
 *
 * Threads: a request and a stream belong to one thread at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"
#include "storage/matcher.h"

struct arena;
struct db;

enum {
    REMOTE_READ_MAX_BYTES = 8 << 20,   /* of the decoded request */
    REMOTE_READ_MAX_QUERIES = 1000,    /* of a request */
    REMOTE_READ_MAX_MATCHERS = 1000,   /* of a query */
    REMOTE_READ_FRAME_BYTES = 1 << 20, /* a frame ends with the chunk that reaches this */
    REMOTE_READ_BATCH_BYTES = 4 << 20, /* and a batch with the frame or series that reaches this */
};

enum remote_read_answer { REMOTE_READ_SAMPLES, REMOTE_READ_XOR_CHUNKS };

struct remote_read_query {
    int64_t min_t_ms, max_t_ms; /* closed */
    struct matcher *matchers;
    size_t n;
};

/* A request. Zero-initialise it; free it with remote_read_free(). */
struct remote_read {
    struct arena *arena; /* owns all */
    struct remote_read_query *queries;
    size_t n_queries;
    enum remote_read_answer answer; /* the first that was asked for and is known */
    struct labels
        external; /* added to series that lack them; set by the caller, in its own memory */
};

/* Reads a request as it is sent, a Snappy block. After an error there is nothing to free.
 *   ERR_BAD_DATA   not a Snappy block, not a ReadRequest, a bad matcher or pattern, or none of the
 *                  answers that it accepts is known
 *   ERR_TOO_LARGE  over one of the limits above
 *   ERR_NOMEM */
MUST_USE enum errc remote_read_parse(struct bytes body, struct remote_read *out, struct err *err);
void remote_read_free(struct remote_read *rr); /* leaves it zeroed */

/* A matcher for exactly the value of an external label matches series without that label instead:
 * they are what the reader means. To be called once, after external has been set. ERR_LIMIT. */
MUST_USE enum errc remote_read_apply_external(struct remote_read *rr, struct err *err);

/* What reading may cost. */
struct remote_read_limits {
    uint64_t max_samples;      /* of an answer of samples: 50,000,000 */
    size_t max_bytes;          /* of its message, before compression: 256 MiB */
    size_t max_series_bytes;   /* of the labels of selected series: 512 MiB */
    const atomic_bool *cancel; /* becomes true when the client has left; may be NULL */
};
struct remote_read_limits remote_read_limits_default(void);

/* Appends the whole ReadResponse, not compressed. ERR_LIMIT with Prometheus' text when it has too
 * many samples, ERR_CANCELED, and what db_select() and db_read() say. */
MUST_USE enum errc remote_read_samples(const struct remote_read *rr, struct db *db,
                                       const struct remote_read_limits *limits, struct buf *out,
                                       struct err *err);

/* An answer in frames. */
struct remote_read_stream;

/* Takes rr over, external labels copied: rr is zeroed. NULL when out of memory: rr is unchanged. */
struct remote_read_stream *remote_read_stream_new(struct remote_read *rr, struct db *db,
                                                  const struct remote_read_limits *limits);
void remote_read_stream_free(struct remote_read_stream *s); /* NULL is fine */

/* Appends the next batch of whole frames; *more says whether there is another. Errors as above, and
 * then the answer cannot be completed. */
MUST_USE enum errc remote_read_stream_next(struct remote_read_stream *s, struct buf *out,
                                           bool *more, struct err *err);
