#include "http/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "base/arena.h"

#include "base/banned.h"

static const struct {
    enum http_method method;
    const char *name;
} methods_by_name[] = {
    { HTTP_GET, "GET" }, { HTTP_HEAD, "HEAD" },     { HTTP_POST, "POST" },
    { HTTP_PUT, "PUT" }, { HTTP_DELETE, "DELETE" }, { HTTP_OPTIONS, "OPTIONS" },
};

enum http_method http_method_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods_by_name); i++)
        if (strcmp(name, methods_by_name[i].name) == 0)
            return methods_by_name[i].method;
    return HTTP_OTHER;
}

void http_methods_print(struct buf *b, unsigned methods)
{
    const char *between = "";

    for (size_t i = 0; i < ARRAY_LEN(methods_by_name); i++) {
        if (methods & methods_by_name[i].method) {
            buf_printf(b, "%s%s", between, methods_by_name[i].name);
            between = ", ";
        }
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum errc http_unescape(struct str s, bool plus, struct arena *a, struct str *out, struct err *err)
{
    char *to = arena_alloc(a, s.len + 1);
    size_t n = 0;

    if (!to)
        return err_set(err, ERR_LIMIT, 0, "request too large");
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '%') {
            struct str bad = { s.ptr + i, s.len - i < 3 ? s.len - i : 3 };
            int high = bad.len == 3 ? hex_digit(bad.ptr[1]) : -1;
            int low = bad.len == 3 ? hex_digit(bad.ptr[2]) : -1;

            if (high < 0 || low < 0)
                return err_set(err, ERR_BAD_DATA, (uint32_t)i, "invalid URL escape \"%.*s\"",
                               STR_ARG(bad));
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        to[n++] = c;
    }
    to[n] = '\0';
    *out = (struct str){ to, n };
    return OK;
}

/* Cuts *rest at the first sep: what stood before it. *found says whether there was one. */
static struct str cut(struct str *rest, char sep, bool *found)
{
    const char *at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
    struct str before = *rest;

    *found = at != NULL;
    if (!at) {
        *rest = (struct str){ NULL, 0 };
        return before;
    }
    before.len = (size_t)(at - before.ptr);
    rest->ptr = at + 1;
    rest->len -= before.len + 1;
    return before;
}

/* One more slot in p, whose capacity is the next power of two. */
static struct http_pair *add_pair(struct http_pairs *p, struct arena *a)
{
    if ((p->n & (p->n - 1)) == 0) {
        size_t cap = p->n ? p->n * 2 : 1;
        struct http_pair *grown =
            arena_grow(a, p->items, p->n * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return NULL;
        p->items = grown;
    }
    return &p->items[p->n++];
}

enum errc http_pairs_parse(struct str text, struct arena *a, struct http_pairs *out,
                           struct err *err)
{
    bool more = true;

    while (more) {
        bool has_value;
        struct str value = cut(&text, '&', &more);
        struct str name = cut(&value, '=', &has_value);
        struct http_pair *pair;
        enum errc rc;

        if (name.len == 0 && !has_value)
            continue;
        if (out->n == HTTP_MAX_PARAMS)
            return err_set(err, ERR_LIMIT, 0, "more than %d parameters", HTTP_MAX_PARAMS);
        pair = add_pair(out, a);
        if (!pair)
            return err_set(err, ERR_LIMIT, 0, "request too large");
        *pair = (struct http_pair){ 0 };
        rc = http_unescape(name, true, a, &pair->name, err);
        if (!rc)
            rc = http_unescape(value, true, a, &pair->value, err);
        if (rc)
            return rc;
    }
    return OK;
}

struct str http_param(const struct http_request *rq, const char *name)
{
    for (size_t i = 0; i < rq->params.n; i++)
        if (str_is(rq->params.items[i].name, name))
            return rq->params.items[i].value;
    return (struct str){ "", 0 };
}

bool http_is_token(struct str text, const char *value)
{
    return text.len == strlen(value) && strncasecmp(text.ptr, value, text.len) == 0;
}

struct str http_header(const struct http_request *rq, const char *name)
{
    for (size_t i = 0; i < rq->headers.n; i++)
        if (http_is_token(rq->headers.items[i].name, name))
            return rq->headers.items[i].value;
    return (struct str){ "", 0 };
}

static struct str trim(struct str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct str http_media_type(struct str content_type)
{
    bool found;

    return trim(cut(&content_type, ';', &found));
}

struct str http_media_param(struct str content_type, const char *name)
{
    bool more;

    (void)cut(&content_type, ';', &more);
    while (more) {
        bool found;
        struct str value = cut(&content_type, ';', &more);
        struct str key = trim(cut(&value, '=', &found));

        value = trim(value);
        if (!http_is_token(key, name))
            continue;
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = (struct str){ value.ptr + 1, value.len - 2 };
        return value;
    }
    return (struct str){ "", 0 };
}

void http_response_header(struct http_response *rs, const char *name, const char *value)
{
    ASSERT(rs->n_headers < ARRAY_LEN(rs->headers));
    rs->headers[rs->n_headers].name = name;
    rs->headers[rs->n_headers++].value = value;
}

void http_response_clear(struct http_response *rs)
{
    if (rs->done)
        rs->done(rs->ctx);
    rs->next = NULL;
    rs->next_waits = false;
    rs->done = NULL;
    rs->ctx = NULL;
    buf_clear(&rs->body);
    rs->body.failed = false;
}

void http_response_text(struct http_response *rs, unsigned status, const char *fmt, ...)
{
    char small[1024];
    va_list ap;
    int n;

    http_response_clear(rs);
    rs->status = status;
    rs->content_type = HTTP_TEXT;
    va_start(ap, fmt);
    n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof small) {
        char *to = (char *)buf_reserve(&rs->body, (size_t)n + 1);

        va_start(ap, fmt);
        if (to)
            rs->body.len += (size_t)vsnprintf(to, (size_t)n + 1, fmt, ap);
        va_end(ap);
    } else if (n > 0) {
        buf_add(&rs->body, small, (size_t)n);
    }
    buf_u8(&rs->body, '\n');
}
