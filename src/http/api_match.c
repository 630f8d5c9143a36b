/* api_match.c -- the match[] parameters of a request. */
#include "base/arena.h"
#include "http/api_private.h"
#include "query/parse.h"
#include "storage/matcher.h"

#include "base/banned.h"

enum { MAX_SELECTORS = 1000 };

/* The position of a syntax error helps; a selector that selects everything has none. */
static enum errc selector_error(struct str text, enum errc rc, struct err *err)
{
    struct buf b = { 0 };

    if (rc != ERR_BAD_QUERY)
        return rc;
    if (str_starts_with(str_from(err_text(err)), STR("match[]")))
        buf_text(&b, err_text(err));
    else
        parse_error_print(&b, text, err);
    rc = err_set(err, ERR_BAD_DATA, 0, "invalid parameter \"match[]\": %.*s",
                 STR_ARG(buf_as_str(&b)));
    buf_free(&b);
    return rc;
}

static enum errc read_selector(const struct http_request *rq, struct str text,
                               struct api_selectors *out, struct err *err)
{
    struct api_selector *s = &out->items[out->n];
    enum errc rc;

    if (out->n == MAX_SELECTORS)
        return err_set(err, ERR_BAD_DATA, 0, "more than %d match[] parameters", MAX_SELECTORS);
    rc = parse_selector(text, rq->arena, &s->matchers, &s->n, err);
    if (rc)
        return selector_error(text, rc, err);
    out->n++;
    return OK;
}

enum errc api_selectors_parse(const struct http_request *rq, struct api_selectors *out,
                              struct err *err)
{
    size_t n = 0;
    enum errc rc = OK;

    for (size_t i = 0; i < rq->params.n; i++)
        n += str_is(rq->params.items[i].name, "match[]");
    *out = (struct api_selectors){ 0 };
    if (n == 0)
        return OK;
    out->items = ARENA_NEW(rq->arena, struct api_selector, n);
    if (!out->items)
        return err_set(err, ERR_LIMIT, 0, "request too large");
    for (size_t i = 0; !rc && i < rq->params.n; i++)
        if (str_is(rq->params.items[i].name, "match[]"))
            rc = read_selector(rq, rq->params.items[i].value, out, err);
    if (rc)
        api_selectors_free(out);
    return rc;
}

bool api_selectors_read(const struct http_request *rq, struct http_response *rs,
                        struct api_selectors *out)
{
    struct err err = err_in(rq->arena);
    enum errc rc = api_selectors_parse(rq, out, &err);

    if (rc)
        api_error(rs, rc, err_text(&err));
    return rc == OK;
}

void api_selectors_free(struct api_selectors *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->items[i].n; k++)
            matcher_free(&s->items[i].matchers[k]);
    s->n = 0;
}
