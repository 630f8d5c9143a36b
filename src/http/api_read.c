/* api_read.c -- POST /api/v1/read: remote read.
 *
 * Errors are plain texts: 400 for what the client can change, 500 for what it cannot. A stream that
 * has begun cannot be taken back: its connection is cut, so that the reader sees that it is not
 * whole.
 */
#include <stdlib.h>

#include "alert/alerting.h"
#include "base/log.h"
#include "http/api_private.h"
#include "ingest/remote_read.h"
#include "ingest/snappy.h"

#include "base/banned.h"

static void read_error(struct http_response *rs, enum errc rc, const struct err *err)
{
    static const unsigned by_code[ERR_COUNT] = {
        [ERR_BAD_DATA] = 400,  [ERR_BAD_QUERY] = 400, [ERR_LIMIT] = 400,
        [ERR_TOO_LARGE] = 413, [ERR_CANCELED] = 499,
    };

    http_response_text(rs, by_code[rc] ? by_code[rc] : 500, "%s", err_text(err));
}

/* ---- a stream of frames ---- */

static bool stream_more(void *ctx, struct buf *b)
{
    struct err err = err_in(NULL);
    bool more = false;
    enum errc rc = remote_read_stream_next(ctx, b, &more, &err);

    if (rc) {
        if (rc != ERR_CANCELED)
            log_warn("a remote read was cut off", "err=\"%s\"", err_text(&err));
        b->failed = true;
    }
    return more;
}

static void stream_free(void *ctx)
{
    remote_read_stream_free(ctx);
}

/* The first batch is made here, so that most errors still have a status. */
static void respond_stream(struct api *api, struct remote_read *rr,
                           const struct remote_read_limits *limits, struct http_response *rs,
                           struct err *err)
{
    struct remote_read_stream *s = remote_read_stream_new(rr, api_db(api), limits);
    bool more = false;
    enum errc rc = s ? remote_read_stream_next(s, &rs->body, &more, err)
                     : err_set(err, ERR_NOMEM, 0, "remote read: out of memory");

    rs->done = stream_free;
    rs->ctx = s;
    if (rc) {
        read_error(rs, rc, err);
        return;
    }
    rs->content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    rs->next = more ? stream_more : NULL;
    rs->next_waits = true;
}

/* ---- all at once ---- */

static void respond_samples(struct api *api, const struct remote_read *rr,
                            const struct remote_read_limits *limits, struct http_response *rs,
                            struct err *err)
{
    struct buf message = { 0 };
    enum errc rc = remote_read_samples(rr, api_db(api), limits, &message, err);

    if (!rc)
        rc = snappy_encode(buf_as_bytes(&message), &rs->body, err);
    buf_free(&message);
    if (rc) {
        read_error(rs, rc, err);
        return;
    }
    rs->content_type = "application/x-protobuf";
    http_response_header(rs, "Content-Encoding", "snappy");
}

void api_read(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct alerting *alerting = atomic_load(&api->alerting);
    struct remote_read_limits limits = remote_read_limits_default();
    struct err err = err_in(rq->arena);
    struct remote_read rr;
    enum errc rc = remote_read_parse(rq->body, &rr, &err);

    limits.max_samples = api->o.read_max_samples;
    limits.cancel = rq->cancel;
    if (!rc && alerting)
        rc = alerting_external_labels(alerting, rq->arena, &rr.external, &err);
    if (!rc)
        rc = remote_read_apply_external(&rr, &err);
    if (rc)
        read_error(rs, rc, &err);
    else if (rr.answer == REMOTE_READ_XOR_CHUNKS)
        respond_stream(api, &rr, &limits, rs, &err);
    else
        respond_samples(api, &rr, &limits, rs, &err);
    remote_read_free(&rr);
}
