/* message.h -- an HTTP request and its response, free of any HTTP library.
 *
 * The server (http/server.h) makes a request, a handler reads it and fills a response, the server
 * sends that. Everything in a request but its body lives until the response has been sent, in the
 * request's arena.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

/* A set of methods is a sum of these. */
enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_PUT = 8,
    HTTP_DELETE = 16,
    HTTP_OPTIONS = 32,
    HTTP_OTHER = 64
};

enum http_method http_method_parse(const char *name);

/* Appends the names of a set of methods: "GET, HEAD, POST". */
void http_methods_print(struct buf *b, unsigned methods);

struct http_pair {
    struct str name, value; /* may hold any bytes, NUL too */
};

struct http_pairs {
    struct http_pair *items;
    size_t n;
};

struct http_request {
    enum http_method method;
    struct str path;          /* as sent: still percent-encoded, without the query */
    struct str path_arg;      /* what stood for `*` in the route's pattern, decoded */
    struct http_pairs params; /* those of a form body, then those of the URL */
    const char *params_error; /* why the parameters could not be read, or NULL */
    struct http_pairs headers;
    struct bytes body;         /* gone when the handler has returned */
    int64_t complete_ns;       /* when the last byte had arrived, on the monotonic clock */
    const atomic_bool *cancel; /* becomes true when the client has left */
    struct arena *arena;
};

enum { HTTP_MAX_PARAMS = 10000 };

/* Decodes %XX, and + as a blank when plus is true, into the arena. ERR_BAD_DATA for a % without
 * two hexadecimal digits, ERR_LIMIT when the arena is full. */
MUST_USE enum errc http_unescape(struct str s, bool plus, struct arena *a, struct str *out,
                                 struct err *err);

/* Appends the pairs of `a=1&b=2` (application/x-www-form-urlencoded) to out. ERR_BAD_DATA for a bad
 * escape, ERR_LIMIT beyond HTTP_MAX_PARAMS in all or when the arena is full. */
MUST_USE enum errc http_pairs_parse(struct str text, struct arena *a, struct http_pairs *out,
                                    struct err *err);

/* The value of the first parameter called name; empty when there is none. */
struct str http_param(const struct http_request *rq, const char *name);

/* The first header called name, in any case; empty when there is none. */
struct str http_header(const struct http_request *rq, const char *name);

/* Whether text is value, whatever the case of the letters. */
bool http_is_token(struct str text, const char *value);

/* The media type of a Content-Type value, without parameters and blanks around it. */
struct str http_media_type(struct str content_type);

/* The value of a parameter of a Content-Type value, unquoted; empty when there is none. */
struct str http_media_param(struct str content_type, const char *name);

/* What a handler answers. It starts as 200 with an empty body. A body that would be large is not
 * built whole: body holds its first piece (or nothing), and each call of next() appends another
 * one, of about HTTP_PIECE_BYTES, whatever the buffer already holds; it returns false with the
 * last. A next() that sets the buffer's failed cuts the connection off. done(), when not NULL, frees
 * ctx in the end, also when the client left before it got everything. Both may run on any thread,
 * one call at a time; what they need lives in ctx. A next() that takes long, or makes pieces that
 * are much larger, says so by next_waits: it is called on the threads of the route's class only. */
enum { HTTP_PIECE_BYTES = 32 << 10 };

struct http_response {
    unsigned status;
    const char *content_type; /* NULL: none */
    struct buf body;
    bool (*next)(void *ctx, struct buf *out);
    bool next_waits;
    void (*done)(void *ctx);
    void *ctx;
    struct {
        const char *name, *value; /* static, or in the request's arena */
    } headers[8];
    size_t n_headers;
};

#define HTTP_TEXT "text/plain; charset=utf-8"
#define HTTP_JSON "application/json"

/* Adds a header; more than fit is our mistake. */
void http_response_header(struct http_response *rs, const char *name, const char *value);

/* Makes rs a plain text of one line (a newline is added). */
void http_response_text(struct http_response *rs, unsigned status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Drops body and generator: rs is as at the start again, its headers kept. */
void http_response_clear(struct http_response *rs);
