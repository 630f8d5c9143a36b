/* route.h -- which handler answers a path and a method.
 *
 * A service is a table of routes and the context their handlers get. Paths are compared as they
 * were sent, segment by segment, and only then decoded, once: a %2F is part of a name, never a
 * separator.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

/* Which threads run a handler. A heavy query, or writes that wait for the disk, never hold up a
 * health check; what an operator asks for may take minutes and runs one after the other. */
enum http_class { HTTP_CHEAP, HTTP_QUERY, HTTP_WRITE, HTTP_ADMIN, HTTP_CLASS_COUNT };

/* Answers rq in rs. ctx is the service's. */
typedef void http_handler(void *ctx, const struct http_request *rq, struct http_response *rs);

/* A flag of a route: its body is never a form, whatever its type says. Clients such as curl call
 * everything that they send so. */
enum { ROUTE_NO_FORM = 1 << 15 };

struct route {
    const char *pattern; /* a segment "*" (at most one) stands for any text, "**" at the end for all
                            segments that follow, at least one */
    unsigned methods;    /* HEAD is implied by GET, OPTIONS always answered */
    enum http_class class;
    size_t max_body_bytes; /* a larger request is refused with 413 */
    http_handler *handler;
    unsigned flags; /* ROUTE_NO_FORM and, below it, the service's own */
};

struct http_service {
    const struct route *routes;
    size_t n_routes;
    void *ctx;

    /* Called before a handler; false means that it has filled rs itself. May be NULL. */
    bool (*admit)(void *ctx, const struct route *route, const struct http_request *rq,
                  struct http_response *rs);

    /* Called after each request, from any thread; route is NULL when no path matched. May be NULL.
     */
    void (*count)(void *ctx, const struct route *route, unsigned status, int64_t took_ns);
};

/* The route for a path (still percent-encoded), or NULL. What stood for * is put into *arg, still
 * encoded; it is never empty. */
const struct route *route_find(const struct http_service *service, struct str path,
                               struct str *arg);

/* The methods a route answers, HEAD and OPTIONS among them. */
unsigned route_methods(const struct route *route);
