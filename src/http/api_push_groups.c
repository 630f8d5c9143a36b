/* api_push_groups.c -- the interface of Prometheus' Pushgateway:
 *
 *   PUT     /metrics/job/<job>{/<label>/<value>}   replaces the group
 *   POST    the same                               replaces the families that are pushed
 *   DELETE  the same                               deletes it
 *   GET     /api/v1/metrics                        lists groups
 *
 * A label's name may end with @base64; its value is base64url then, "=" for an empty one. Values are
 * percent-decoded segment by segment, so that a %2F is part of a value.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "collect/push_groups.h"
#include "http/api_push.h"
#include "http/encoding.h"
#include "ingest/exposition_protobuf.h"

#include "base/banned.h"

enum { MAX_LABELS = 64, MAX_SAMPLES = 100000 };

#define PREFIX "/metrics/"

/* ---- the path ---- */

static struct str next_segment(struct str *rest)
{
    const char *slash = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
    struct str segment = *rest;

    segment.len = slash ? (size_t)(slash - rest->ptr) : rest->len;
    *rest = slash ? (struct str){ slash + 1, rest->len - segment.len - 1 } : STR("");
    return segment;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static enum errc decode_base64(struct str s, struct arena *a, struct str *out, struct err *err)
{
    char *text = arena_alloc(a, s.len + 1);
    uint32_t bits = 0, n_bits = 0;
    size_t n = 0;

    if (!text)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    while (s.len && s.ptr[s.len - 1] == '=')
        s.len--;
    for (size_t i = 0; i < s.len; i++) {
        int digit = base64_digit(s.ptr[i]);

        if (digit < 0)
            return err_set(err, ERR_BAD_DATA, 0, "\"%.*s\" is not base64url", STR_ARG(s));
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8)
            text[n++] = (char)(bits >> (n_bits -= 8));
    }
    *out = (struct str){ text, n };
    return OK;
}

static enum errc read_pair(struct str name, struct str value, struct arena *a, struct label *out,
                           struct err *err)
{
    static const struct str suffix = { "@base64", 7 };
    enum errc rc = http_unescape(name, false, a, &out->name, err);

    if (rc == OK)
        rc = http_unescape(value, false, a, &out->value, err);
    if (rc != OK || !str_ends_with(out->name, suffix))
        return rc;
    out->name.len -= suffix.len;
    return decode_base64(out->value, a, &out->value, err);
}

enum errc api_push_path(struct str path, struct arena *a, struct labels *name, struct err *err)
{
    struct label *labels = ARENA_NEW(a, struct label, MAX_LABELS);
    struct str rest, whole;
    size_t n = 0;
    enum errc rc = OK;

    ASSERT(str_starts_with(path, STR(PREFIX)));
    if (!labels)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    rest = whole = (struct str){ path.ptr + strlen(PREFIX), path.len - strlen(PREFIX) };
    while (rest.len && rc == OK) {
        struct str key = next_segment(&rest);

        if (rest.len == 0 && path.ptr[path.len - 1] != '/')
            return err_set(err, ERR_BAD_DATA, 0,
                           "odd number of components in label string \"%.*s\"", STR_ARG(whole));
        if (n == MAX_LABELS)
            return err_set(err, ERR_BAD_DATA, 0, "more than %d labels", MAX_LABELS);
        rc = read_pair(key, next_segment(&rest), a, &labels[n++], err);
    }
    return rc == OK ? push_group_name(labels, n, name, err) : rc;
}

/* ---- requests ---- */

static void answer_error(struct http_response *rs, enum errc rc, const struct err *err)
{
    unsigned status = rc == ERR_BAD_DATA ? 400 : rc == ERR_TOO_LARGE || rc == ERR_LIMIT ? 413 : 503;

    http_response_text(rs, status, "%s", err_text(err));
    if (status == 503)
        http_response_header(rs, "Retry-After", "5");
}

static enum errc check_read(const struct exposition *x, struct err *err)
{
    if (x->n_bad_lines)
        return err_set(err, ERR_BAD_DATA, 0, "text format parsing error, nothing was stored:\n%.*s",
                       STR_ARG(buf_as_str(&x->text)));
    if (x->batch.n_series >= MAX_SAMPLES)
        return err_set(err, ERR_TOO_LARGE, 0, "a push of more than %d samples", MAX_SAMPLES);
    return OK;
}

/* Clients send many content types, and some none: what is neither OpenMetrics nor protobuf is taken
 * for text. */
static bool is_protobuf(const struct http_request *rq)
{
    struct str media = http_media_type(http_header(rq, "Content-Type"));

    return http_is_token(media, "application/vnd.google.protobuf");
}

static void push(struct api *api, struct push_groups *groups, struct labels name,
                 const struct http_request *rq, struct http_response *rs)
{
    struct exposition_options o = { .openmetrics = api_is_openmetrics(rq), .refuse_times = true };
    struct err err = err_in(rq->arena), ignored = { 0 };
    struct push_scratch *s = NULL;
    struct buf storage = { 0 }, text = { 0 };
    struct bytes body;
    enum errc rc = OK;

    if (!http_body_decode(rq, API_MAX_PUSH, &storage, &body, rs))
        goto done;
    if (is_protobuf(rq)) {
        rc = exposition_from_protobuf(body, API_MAX_PUSH, &text, &err);
        body = buf_as_bytes(&text);
    }
    s = push_scratch_take(api->push);
    if (rc == OK)
        rc = s ? exposition_begin(&s->text, &o, (struct str){ (const char *)body.ptr, body.len },
                                  &err)
               : err_set(&err, ERR_NOMEM, 0, "out of memory");
    if (rc == OK)
        rc = exposition_next(&s->text, MAX_SAMPLES, &err);
    if (rc == OK)
        rc = check_read(&s->text, &err);
    if (rc == OK)
        rc = push_groups_push(groups, name, &s->text, rq->method == HTTP_PUT, &err);
    if (rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE)
        (void)!push_groups_failed(groups, name, &ignored);
    if (rc != OK)
        answer_error(rs, rc, &err);
done:
    push_scratch_give(api->push, s);
    buf_free(&storage);
    buf_free(&text);
}

void api_push_group(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct push_groups *groups = atomic_load(&api->push->groups);
    struct err err = err_in(rq->arena);
    struct labels name;
    enum errc rc;

    if (!groups) {
        http_response_text(rs, 503, "Service Unavailable");
        http_response_header(rs, "Retry-After", "1");
        return;
    }
    rc = api_push_path(rq->path, rq->arena, &name, &err);
    if (rc == OK && rq->method != HTTP_DELETE) {
        push(api, groups, name, rq, rs);
        return;
    }
    if (rc == OK)
        rc = push_groups_delete(groups, name, &err);
    if (rc == OK)
        rs->status = 202;
    else
        answer_error(rs, rc, &err);
}

void api_push_list(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct push_groups *groups = atomic_load(&api->push->groups);

    (void)rq;
    api_begin(rs);
    if (groups)
        push_groups_json(groups, &rs->body);
    else
        buf_text(&rs->body, "[]");
    api_end(&rs->body, &(struct api_notes){ 0 });
}
