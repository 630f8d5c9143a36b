/* api_write.c -- POST /api/v1/write: remote write 1.0.
 *
 * The sender acts on the status alone (Remote-Write 1.0 specification): 2xx, the next batch; 4xx,
 * the batch is dropped; 5xx, the same batch again, for ever. So bad data is never a 5xx, trouble of
 * ours never a 4xx, and nothing that was not stored a 2xx. Good samples of a batch with bad ones
 * are stored all the same.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "http/api_private.h"

#include "base/banned.h"

/* ---- memory for decoding, reused ---- */

static struct write_scratch *scratch_take(struct api *api)
{
    struct write_scratch *s;

    pthread_mutex_lock(&api->lock);
    s = api->scratch;
    if (s)
        api->scratch = s->next;
    pthread_mutex_unlock(&api->lock);
    return s ? s : calloc(1, sizeof *s);
}

/* There are never more than writes at once, so the list needs no bound of its own. */
static void scratch_give(struct api *api, struct write_scratch *s)
{
    remote_write_recycle(&s->rw);
    pthread_mutex_lock(&api->lock);
    s->next = api->scratch;
    api->scratch = s;
    pthread_mutex_unlock(&api->lock);
}

void api_write_free(struct api *api)
{
    while (api->scratch) {
        struct write_scratch *s = api->scratch;

        api->scratch = s->next;
        remote_write_free(&s->rw);
        free(s);
    }
}

/* ---- what it claims to be ---- */

/* An undecoded body must not be taken for an empty message: message 2.0 read as 1.0 has no series,
 * and vmagent tries zstd first and repacks on 415. */
static bool accept_type(const struct http_request *rq, struct http_response *rs)
{
    struct str type = http_header(rq, "Content-Type");
    struct str media = http_media_type(type), proto = http_media_param(type, "proto");
    struct str encoding = http_header(rq, "Content-Encoding");

    if (media.len && !http_is_token(media, "application/x-protobuf"))
        http_response_text(rs, 415,
                           "Content-Type %.*s is not accepted by this server; "
                           "only application/x-protobuf is acceptable",
                           STR_ARG(media));
    else if (proto.len && !str_is(proto, "prometheus.WriteRequest"))
        http_response_text(rs, 415,
                           "%.*s protobuf message is not accepted by this server; "
                           "only accepts prometheus.WriteRequest",
                           STR_ARG(proto));
    else if (encoding.len && !http_is_token(encoding, "snappy"))
        http_response_text(rs, 415,
                           "%.*s encoding (compression) is not accepted by this server; "
                           "only snappy is acceptable",
                           STR_ARG(encoding));
    else
        return true;
    return false;
}

/* ---- the answer ---- */

static void write_error(struct http_response *rs, enum errc rc, const struct err *err)
{
    switch (rc) {
    case ERR_BAD_DATA:
        http_response_text(rs, 400, "%s", err_text(err));
        break;
    case ERR_TOO_LARGE:
        http_response_text(rs, 413, "%s", err_text(err));
        break;
    default: /* ours: the sender should keep the batch */
        http_response_text(rs, 503, "%s", err_text(err));
        http_response_header(rs, "Retry-After", "5");
    }
}

static void write_done(struct http_response *rs, const struct write_result *res)
{
    uint64_t rejected = 0;

    for (int i = 0; i < DB_REJECT_COUNT; i++)
        rejected += res->rejected[i];
    if (rejected == 0) {
        rs->status = 204;
        return;
    }
    http_response_text(rs, 400, "%" PRIu64 " of %" PRIu64 " samples were not stored:\n%.*s",
                       rejected, rejected + res->stored, STR_ARG(buf_as_str(&res->text)));
}

void api_write(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct write_result res = { 0 };
    struct write_scratch *s;
    enum errc rc;

    if (!accept_type(rq, rs))
        return;
    s = scratch_take(api);
    if (!s) {
        write_error(rs, ERR_NOMEM, &(struct err){ .code = ERR_NOMEM });
        return;
    }
    s->rw.db = api_db(api);
    rc = remote_write_read(&s->rw, rq->body, &err);
    if (!rc)
        rc = db_append(api_db(api), &s->rw.batch, &res, &err);
    if (rc)
        write_error(rs, rc, &err);
    else
        write_done(rs, &res);
    buf_free(&res.text);
    scratch_give(api, s);
}
