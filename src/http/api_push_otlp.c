/* api_push_otlp.c -- OTLP over HTTP: POST /v1/metrics and its aliases, /v1/traces, /v1/logs.
 *
 * A client sends again after 429, 502, 503 and 504 only, and loses the batch after anything else,
 * 500 among them. So what is our fault is 503 with Retry-After, what is the client's 400 or 413, and
 * what is wrong with some data points 200 with their exact number.
 */
#include "http/api_push.h"

#include "base/arena.h"
#include "http/encoding.h"

#include "base/banned.h"

#define PROTOBUF "application/x-protobuf"

static bool is_json(const struct http_request *rq)
{
    return http_is_token(http_media_type(http_header(rq, "Content-Type")), HTTP_JSON);
}

static bool is_protobuf(const struct http_request *rq)
{
    struct str media = http_media_type(http_header(rq, "Content-Type"));

    return http_is_token(media, PROTOBUF) || http_is_token(media, "application/protobuf");
}

static void answer(struct http_response *rs, unsigned status, bool json)
{
    http_response_clear(rs);
    rs->status = status;
    rs->content_type = json ? HTTP_JSON : PROTOBUF;
}

static void answer_error(struct http_response *rs, unsigned status, bool json, const char *text)
{
    enum rpc_code code = status == 503   ? RPC_UNAVAILABLE
                         : status == 413 ? RPC_RESOURCE_EXHAUSTED
                                         : RPC_INVALID_ARGUMENT;

    answer(rs, status, json);
    otlp_status(&rs->body, json, code, str_from(text));
    if (status == 503)
        http_response_header(rs, "Retry-After", "5");
}

/* Takes a body of a known type and encoding, decoded into storage; false: answered. */
static bool take_body(const struct http_request *rq, struct http_response *rs, struct buf *storage,
                      struct bytes *body, bool *json)
{
    struct str media = http_media_type(http_header(rq, "Content-Type"));
    const char *why;

    *json = is_json(rq);
    if (!*json && !is_protobuf(rq)) {
        http_response_text(
            rs, 415, "Content-Type \"%.*s\" is not supported; " PROTOBUF " and " HTTP_JSON " are",
            STR_ARG(media));
        return false;
    }
    if (http_body_decode(rq, API_MAX_PUSH, storage, body, rs))
        return true;
    why = arena_printf(rq->arena, "%.*s", STR_ARG(buf_as_str(&rs->body)));
    answer_error(rs, rs->status, *json, why ? why : "the body cannot be decoded");
    return false;
}

void api_otlp_metrics(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct buf message = { 0 };
    struct buf storage = { 0 };
    struct bytes body;
    uint64_t rejected = 0;
    enum errc rc;
    bool json;

    if (!take_body(rq, rs, &storage, &body, &json)) {
        buf_free(&storage);
        return;
    }
    rc = api_otlp_store(api, body, json, &rejected, &message, &err);
    if (rc == OK) {
        answer(rs, 200, json);
        otlp_answer(&rs->body, json, OTLP_METRICS, rejected, buf_as_str(&message));
    } else {
        answer_error(rs,
                     rc == ERR_BAD_DATA    ? 400
                     : rc == ERR_TOO_LARGE ? 413
                                           : 503,
                     json, err_text(&err));
    }
    buf_free(&message);
    buf_free(&storage);
}

/* SDKs send these when they are given one address for everything. An error would fill their logs,
 * and silence would hide that nothing is kept. */
static void answer_unkept(const struct http_request *rq, struct http_response *rs,
                          enum otlp_signal signal, struct str text)
{
    struct buf storage = { 0 };
    struct bytes body;
    bool json;

    if (take_body(rq, rs, &storage, &body, &json)) {
        answer(rs, 200, json);
        otlp_answer(&rs->body, json, signal, otlp_count_items(body, json, signal), text);
    }
    buf_free(&storage);
}

void api_otlp_traces(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    (void)ctx;
    answer_unkept(rq, rs, OTLP_TRACES, API_NO_TRACES);
}

void api_otlp_logs(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    (void)ctx;
    answer_unkept(rq, rs, OTLP_LOGS, API_NO_LOGS);
}
