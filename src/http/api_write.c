/* api_write.c -- POST /api/v1/write: remote write 1.0 and 2.0.
 *
 * The sender acts on the status alone (Remote-Write 1.0 specification): 2xx, the next batch; 4xx,
 * the batch is dropped; 5xx, the same batch again, for ever. So bad data is never a 5xx, trouble of
 * ours never a 4xx, and nothing that was not stored a 2xx. Good samples of a batch with bad ones
 * are stored all the same. A sender of 2.0 learns from the headers X-Prometheus-Remote-Write-*-Written
 * what was, and takes a 2xx without them for a failure.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
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
    remote_write2_recycle(&s->rw2);
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
        remote_write2_free(&s->rw2);
        free(s);
    }
}

/* ---- what it claims to be ---- */

enum write_version { WRITE_REFUSED, WRITE_1, WRITE_2 };

#define PROTO_1 "prometheus.WriteRequest"
#define PROTO_2 "io.prometheus.write.v2.Request"

/* An undecoded body must not be taken for an empty message: message 2.0 read as 1.0 has no series,
 * and vmagent tries zstd first and repacks on 415. */
static enum write_version accept_type(const struct http_request *rq, struct http_response *rs)
{
    struct str type = http_header(rq, "Content-Type");
    struct str media = http_media_type(type), proto = http_media_param(type, "proto");
    struct str encoding = http_header(rq, "Content-Encoding");

    if (media.len && !http_is_token(media, "application/x-protobuf"))
        http_response_text(rs, 415,
                           "Content-Type %.*s is not accepted by this server; "
                           "only application/x-protobuf is acceptable",
                           STR_ARG(media));
    else if (proto.len && !str_is(proto, PROTO_1) && !str_is(proto, PROTO_2))
        http_response_text(rs, 415,
                           "%.*s protobuf message is not accepted by this server; "
                           "only accepts " PROTO_1 ", " PROTO_2,
                           STR_ARG(proto));
    else if (encoding.len && !http_is_token(encoding, "snappy"))
        http_response_text(rs, 415,
                           "%.*s encoding (compression) is not accepted by this server; "
                           "only snappy is acceptable",
                           STR_ARG(encoding));
    else
        return str_is(proto, PROTO_2) ? WRITE_2 : WRITE_1;
    return WRITE_REFUSED;
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

static uint64_t count_rejected(const struct write_result *res)
{
    uint64_t n = 0;

    for (int i = 0; i < DB_REJECT_COUNT; i++)
        n += res->rejected[i];
    return n;
}

static void write_done(struct http_response *rs, const struct write_result *res)
{
    uint64_t rejected = count_rejected(res);

    if (rejected == 0) {
        rs->status = 204;
        return;
    }
    http_response_text(rs, 400, "%" PRIu64 " of %" PRIu64 " samples were not stored:\n%.*s",
                       rejected, rejected + res->stored, STR_ARG(buf_as_str(&res->text)));
}

static void write_1(struct api *api, struct write_scratch *s, const struct http_request *rq,
                    struct http_response *rs)
{
    struct err err = err_in(rq->arena);
    struct write_result res = { 0 };
    enum errc rc;

    s->rw.db = api_db(api);
    rc = remote_write_read(&s->rw, rq->body, &err);
    if (!rc)
        rc = db_append(api_db(api), &s->rw.batch, &res, &err);
    if (rc)
        write_error(rs, rc, &err);
    else
        write_done(rs, &res);
    buf_free(&res.text);
}

/* ---- 2.0 ---- */

/* Not told of exemplars: those whose labels are too long, which senders cannot know. */
static void write_done_2(struct http_response *rs, const struct remote_write2 *rw,
                         const struct write_result *res)
{
    uint64_t rejected = count_rejected(res) + rw->n_left_out;
    uint64_t exemplars = res->exemplars_out_of_order + rw->n_bad_exemplars;

    if (rejected == 0 && exemplars == 0) {
        rs->status = 204;
        return;
    }
    http_response_text(rs, 400,
                       "%" PRIu64 " of %" PRIu64 " samples and %" PRIu64 " of %" PRIu64
                       " exemplars were not stored:\n%.*s%.*s%s",
                       rejected, rejected + res->stored, exemplars,
                       exemplars + res->stored_exemplars + res->exemplars_refused,
                       STR_ARG(buf_as_str(&rw->text)), STR_ARG(buf_as_str(&res->text)),
                       res->exemplars_out_of_order ? "out of order exemplar\n" : "");
}

static void add_count(const struct http_request *rq, struct http_response *rs, const char *name,
                      uint64_t n)
{
    const char *value = arena_printf(rq->arena, "%" PRIu64, n);

    http_response_header(rs, name, value ? value : "0");
}

static void write_2(struct api *api, struct write_scratch *s, const struct http_request *rq,
                    struct http_response *rs)
{
    struct err err = err_in(rq->arena);
    struct write_result res = { 0 };
    enum errc rc = remote_write2_read(&s->rw2, rq->body, &err);

    if (!rc)
        rc = db_append(api_db(api), &s->rw2.batch, &res, &err);
    if (rc) {
        write_error(rs, rc, &err);
        buf_free(&res.text);
        res = (struct write_result){ 0 };
    } else {
        write_done_2(rs, &s->rw2, &res);
    }
    add_count(rq, rs, "X-Prometheus-Remote-Write-Samples-Written",
              res.stored - res.stored_histograms);
    add_count(rq, rs, "X-Prometheus-Remote-Write-Histograms-Written", res.stored_histograms);
    add_count(rq, rs, "X-Prometheus-Remote-Write-Exemplars-Written", res.stored_exemplars);
    buf_free(&res.text);
}

void api_write(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    enum write_version version = accept_type(rq, rs);
    struct write_scratch *s;

    if (version == WRITE_REFUSED)
        return;
    s = scratch_take(api);
    if (!s) {
        write_error(rs, ERR_NOMEM, &(struct err){ .code = ERR_NOMEM });
        return;
    }
    if (version == WRITE_1)
        write_1(api, s, rq, rs);
    else
        write_2(api, s, rq, rs);
    scratch_give(api, s);
}
