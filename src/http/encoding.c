#include "http/encoding.h"

#include <stdlib.h>
#include <strings.h>

#include "base/arena.h"
#include "base/gzip.h"
#include "base/number.h"

#include "base/banned.h"

enum { MIN_BYTES = 1024 }; /* a smaller response fits into one packet anyway */

/* ---- requests ---- */

static void decode_error(struct http_response *rs, enum errc rc, const struct err *err)
{
    switch (rc) {
    case ERR_BAD_DATA:
        http_response_text(rs, 400, "%s", err_text(err));
        break;
    case ERR_TOO_LARGE:
        http_response_text(rs, 413, "%s", err_text(err));
        break;
    default:
        http_response_text(rs, 503, "%s", err_text(err));
        http_response_header(rs, "Retry-After", "5");
    }
}

bool http_body_decode(const struct http_request *rq, size_t max_decoded, struct buf *storage,
                      struct bytes *body, struct http_response *rs)
{
    struct str coding = http_header(rq, "Content-Encoding");
    struct err err = err_in(rq->arena);
    enum errc rc = OK;

    *body = rq->body;
    if (coding.len == 0 || http_is_token(coding, "identity")) {
        if (body->len > max_decoded)
            rc = err_set(&err, ERR_TOO_LARGE, 0,
                         "request body is larger than the limit of %zu bytes", max_decoded);
    } else if (http_is_token(coding, "gzip") || http_is_token(coding, "x-gzip")
               || http_is_token(coding, "deflate")) {
        rc = gzip_decode(rq->body, max_decoded, storage, &err);
        *body = buf_as_bytes(storage);
    } else {
        http_response_text(rs, 415, "Content-Encoding %.*s is not accepted here; only gzip is",
                           STR_ARG(coding));
        return false;
    }
    if (rc)
        decode_error(rs, rc, &err);
    return rc == OK;
}

/* ---- what a client accepts ---- */

/* Cuts the next item off a list with commas, without its parameters; *q is its weight. */
static struct str next_item(struct str *list, double *q)
{
    const char *comma = list->len ? memchr(list->ptr, ',', list->len) : NULL;
    struct str item = { list->ptr, comma ? (size_t)(comma - list->ptr) : list->len };
    struct str weight = http_media_param(item, "q");

    *list = comma ? (struct str){ comma + 1, list->len - item.len - 1 } : (struct str){ NULL, 0 };
    *q = 1;
    if (weight.len && !number_parse(weight, false, q, NULL))
        *q = 0;
    return http_media_type(item);
}

/* The weight that a name has in the list, or otherwise when it is not there. */
static double weight_of(struct str list, const char *name, double otherwise)
{
    while (list.len) {
        double q;
        struct str item = next_item(&list, &q);

        if (http_is_token(item, name))
            return q;
    }
    return otherwise;
}

bool http_accepts_coding(const struct http_request *rq, const char *coding)
{
    struct str list = http_header(rq, "Accept-Encoding");

    return weight_of(list, coding, weight_of(list, "*", 0)) > 0;
}

/* ---- responses ---- */

struct squeezer {
    struct http_response inner; /* its body is the piece to be encoded next */
    struct gzip_writer *gzip;
};

static void squeezer_free(void *ctx)
{
    struct squeezer *s = ctx;

    http_response_clear(&s->inner);
    buf_free(&s->inner.body);
    gzip_writer_free(s->gzip);
    free(s);
}

/* The encoder keeps small pieces back, so several may be needed for any output. */
static bool squeeze_more(void *ctx, struct buf *out)
{
    struct squeezer *s = ctx;
    struct buf *piece = &s->inner.body;
    size_t before = out->len;
    bool more;

    do {
        buf_clear(piece);
        more = s->inner.next(s->inner.ctx, piece);
        if (piece->failed) {
            out->failed = true;
            return false;
        }
        gzip_writer_add(s->gzip, buf_as_bytes(piece), !more, out);
    } while (more && out->len == before && !out->failed);
    return more;
}

static bool is_worth_it(const struct http_response *rs)
{
    struct str type = http_media_type(str_from(rs->content_type));

    for (size_t i = 0; i < rs->n_headers; i++)
        if (strcasecmp(rs->headers[i].name, "Content-Encoding") == 0)
            return false;
    if (!rs->next && rs->body.len < MIN_BYTES)
        return false;
    return str_starts_with(type, STR("text/")) || str_is(type, "application/json");
}

/* The whole body at once, or what there is of it so far. */
static bool squeeze_body(struct http_response *rs, struct gzip_writer *gzip)
{
    struct buf packed = { 0 };

    gzip_writer_add(gzip, buf_as_bytes(&rs->body), !rs->next, &packed);
    if (packed.failed) {
        buf_free(&packed);
        return false;
    }
    buf_free(&rs->body);
    rs->body = packed;
    return true;
}

void http_response_compress(const struct http_request *rq, struct http_response *rs)
{
    struct gzip_writer *gzip;
    struct squeezer *s = NULL;

    if (!is_worth_it(rs) || rs->body.failed)
        return;
    http_response_header(rs, "Vary", "Accept-Encoding");
    if (!http_accepts_coding(rq, "gzip") || !(gzip = gzip_writer_new()))
        return;
    if ((rs->next && !(s = calloc(1, sizeof *s))) || !squeeze_body(rs, gzip)) {
        gzip_writer_free(gzip);
        free(s);
        return;
    }
    http_response_header(rs, "Content-Encoding", "gzip");
    if (!s) {
        gzip_writer_free(gzip);
        return;
    }
    s->gzip = gzip;
    s->inner.next = rs->next;
    s->inner.done = rs->done;
    s->inner.ctx = rs->ctx;
    rs->next = squeeze_more;
    rs->done = squeezer_free;
    rs->ctx = s;
}
