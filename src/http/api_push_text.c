/* api_push_text.c -- text that is pushed: POST /api/v1/import/prometheus.
 *
 * Good lines are stored whatever the others are like; the answer names the bad ones.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "http/api_push.h"
#include "http/encoding.h"

#include "base/banned.h"

enum {
    PART_SAMPLES = 10000, /* stored at once */
    MAX_EXTRA = 32,
    MAX_TEXT = 16 << 10 /* of what is said about refused samples */
};

bool api_is_openmetrics(const struct http_request *rq)
{
    return http_is_token(http_media_type(http_header(rq, "Content-Type")),
                         "application/openmetrics-text");
}

/* ---- parameters ---- */

static int by_name(const void *a, const void *b)
{
    const struct label *x = a, *y = b;

    return str_cmp(x->name, y->name);
}

/* extra_label=name=value, any number of times. False: answered. */
static bool read_extra(const struct http_request *rq, struct http_response *rs,
                       struct label extra[MAX_EXTRA], size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < rq->params.n; i++) {
        struct str text = rq->params.items[i].value;
        const char *equals = text.len ? memchr(text.ptr, '=', text.len) : NULL;
        struct str name = { text.ptr, equals ? (size_t)(equals - text.ptr) : 0 };

        if (!str_is(rq->params.items[i].name, "extra_label"))
            continue;
        if (!equals || !name_is_legacy(name, false) || *n == MAX_EXTRA) {
            http_response_text(rs, 400,
                               "invalid parameter \"extra_label\": \"%.*s\" is not name=value, or "
                               "there are more than %d",
                               STR_ARG(text), MAX_EXTRA);
            return false;
        }
        extra[(*n)++] = (struct label){ name, { equals + 1, text.len - name.len - 1 } };
    }
    qsort(extra, *n, sizeof *extra, by_name);
    return true;
}

static bool read_options(const struct api *api, const struct http_request *rq,
                         struct http_response *rs, struct exposition_options *o,
                         struct label extra[MAX_EXTRA])
{
    struct str t = http_param(rq, "timestamp");

    *o = (struct exposition_options){ .openmetrics = api_is_openmetrics(rq),
                                      .default_t_ms = clock_wall_ms(api->o.clock),
                                      .extra = extra };
    if (rq->params_error) {
        http_response_text(rs, 400, "%s", rq->params_error);
        return false;
    }
    if (t.len && !number_parse_i64(t, &o->default_t_ms)) {
        http_response_text(rs, 400,
                           "invalid parameter \"timestamp\": \"%.*s\" is not a number of "
                           "milliseconds",
                           STR_ARG(t));
        return false;
    }
    return read_extra(rq, rs, extra, &o->n_extra);
}

/* ---- storing ---- */

static enum errc store_parts(struct api *api, struct exposition *x, struct write_result *res,
                             struct err *err)
{
    struct write_result part = { 0 };
    enum errc rc;
    bool more;

    do {
        rc = exposition_next(x, PART_SAMPLES, err);
        more = rc == OK && x->batch.n_series > 0;
        if (rc == OK && (more || x->batch.n_metadata))
            rc = db_append(api_db(api), &x->batch, &part, err);
        res->stored += part.stored;
        for (size_t i = 0; i < DB_REJECT_COUNT; i++)
            res->rejected[i] += part.rejected[i];
        if (res->text.len < MAX_TEXT)
            buf_str(&res->text, buf_as_str(&part.text));
        buf_free(&part.text);
        part = (struct write_result){ 0 };
    } while (rc == OK && more);
    return rc;
}

static void answer(struct http_response *rs, const struct exposition *x,
                   const struct write_result *res)
{
    uint64_t rejected = 0;

    for (size_t i = 0; i < DB_REJECT_COUNT; i++)
        rejected += res->rejected[i];
    if (rejected == 0 && x->n_bad_lines == 0) {
        rs->status = 204;
        return;
    }
    http_response_text(rs, 400,
                       "%" PRIu64 " samples were stored; %" PRIu64 " lines are wrong and %" PRIu64
                       " samples were refused:\n%.*s%.*s",
                       res->stored, x->n_bad_lines, rejected, STR_ARG(buf_as_str(&x->text)),
                       STR_ARG(buf_as_str(&res->text)));
    if (x->n_bad_lines > EXPOSITION_MAX_NAMED)
        buf_printf(&rs->body, "and %" PRIu64 " more lines\n",
                   x->n_bad_lines - EXPOSITION_MAX_NAMED);
}

static void answer_failure(struct http_response *rs, enum errc rc, const struct err *err)
{
    http_response_text(rs, rc == ERR_TOO_LARGE ? 413 : 503, "%s", err_text(err));
    if (rc != ERR_TOO_LARGE)
        http_response_header(rs, "Retry-After", "5");
}

void api_import_text(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct label extra[MAX_EXTRA];
    struct exposition_options o;
    struct push_scratch *s = NULL;
    struct write_result res = { 0 };
    struct buf storage = { 0 };
    struct bytes body;
    enum errc rc;

    if (!read_options(api, rq, rs, &o, extra)
        || !http_body_decode(rq, API_MAX_PUSH, &storage, &body, rs))
        goto done;
    s = push_scratch_take(api->push);
    rc = s ? exposition_begin(&s->text, &o, (struct str){ (const char *)body.ptr, body.len }, &err)
           : err_set(&err, ERR_NOMEM, 0, "out of memory");
    if (rc == OK)
        rc = store_parts(api, &s->text, &res, &err);
    if (rc != OK)
        answer_failure(rs, rc, &err);
    else
        answer(rs, &s->text, &res);
    if (s) {
        atomic_fetch_add(&api->push->lines, s->text.n_samples);
        atomic_fetch_add(&api->push->bad_lines, s->text.n_bad_lines);
    }
done:
    push_scratch_give(api->push, s);
    buf_free(&res.text);
    buf_free(&storage);
}
