/* api_match.c -- the match[] parameters of a request. */
#include "base/arena.h"
#include "http/api_private.h"
#include "query/parse.h"
#include "storage/matcher.h"

#include "base/banned.h"

enum { MAX_SELECTORS = 1000 };

/* The position of a syntax error helps; a selector that selects everything has none. */
static void selector_error(const struct http_request *rq, struct http_response *rs, struct str text,
                           enum errc rc, const struct err *err)
{
    struct buf b = { 0 };

    if (rc != ERR_BAD_QUERY) {
        api_error(rs, rc, err_text(err));
        return;
    }
    if (str_starts_with(str_from(err_text(err)), STR("match[]")))
        buf_text(&b, err_text(err));
    else
        parse_error_print(&b, text, err);
    buf_u8(&b, 0);
    api_bad_param(rq, rs, "match[]", b.failed ? err_text(err) : (const char *)b.ptr);
    buf_free(&b);
}

static bool read_selector(const struct http_request *rq, struct http_response *rs, struct str text,
                          struct api_selectors *out)
{
    struct err err = err_in(rq->arena);
    struct api_selector *s = &out->items[out->n];
    enum errc rc;

    if (out->n == MAX_SELECTORS) {
        api_error(rs, ERR_BAD_DATA, "more than 1000 match[] parameters");
        return false;
    }
    rc = parse_selector(text, rq->arena, &s->matchers, &s->n, &err);
    if (rc) {
        selector_error(rq, rs, text, rc, &err);
        return false;
    }
    out->n++;
    return true;
}

bool api_selectors_read(const struct http_request *rq, struct http_response *rs,
                        struct api_selectors *out)
{
    bool ok = true;

    *out =
        (struct api_selectors){ .items = ARENA_NEW(rq->arena, struct api_selector, MAX_SELECTORS) };
    if (!out->items) {
        api_error(rs, ERR_LIMIT, "request too large");
        return false;
    }
    for (size_t i = 0; ok && i < rq->params.n; i++)
        if (str_is(rq->params.items[i].name, "match[]"))
            ok = read_selector(rq, rs, rq->params.items[i].value, out);
    if (!ok)
        api_selectors_free(out);
    return ok;
}

void api_selectors_free(struct api_selectors *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->items[i].n; k++)
            matcher_free(&s->items[i].matchers[k]);
    s->n = 0;
}
