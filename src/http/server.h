/* server.h -- HTTP/1.1 over libmicrohttpd: receives requests, runs handlers, sends responses.
 *
 * A few threads of the library move bytes and never run a handler. A request that has arrived
 * completely is queued to the worker threads of its route's class while its connection is
 * suspended; the response is then sent piece by piece as the client takes it, so that a slow client
 * holds memory but no worker, lock or transaction. A client that leaves while its query runs has
 * the request's cancel flag set.
 *
 * Limits: size of the body per route and of all bodies together, size of the header, number of
 * connections, and an absolute time for a request to arrive, for a response to be taken, and
 * between two requests of a connection.
 *
 * Threads: start and stop belong to one thread; handlers run on many.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/listen.h"
#include "http/route.h"

struct http_server;

struct http_server_options {
    const struct http_service *service; /* borrowed until http_server_stop() has returned */
    struct listener listener;           /* belongs to the server once it has been started */
    size_t n_io_threads;
    size_t n_workers[HTTP_CLASS_COUNT];
    size_t max_queued[HTTP_CLASS_COUNT]; /* requests beyond get 503 */
    size_t max_connections;              /* further ones wait to be accepted */
    size_t max_header_bytes;             /* of request line and headers together, about */
    size_t max_bodies_bytes;             /* of all requests being received or answered */
    int64_t header_timeout_ms;   /* from the connection, or the first line, to the headers */
    int64_t request_timeout_ms;  /* from there to the last byte of the body */
    int64_t response_timeout_ms; /* until the client has taken it all */
    int64_t idle_timeout_ms;     /* until the next request of a connection */
};

/* Defaults for everything but service and listener. */
struct http_server_options http_server_options_default(void);

/* ERR_NOMEM, ERR_IO, ERR_LIMIT (no more threads). On error the listener is still the caller's. */
MUST_USE enum errc http_server_start(const struct http_server_options *options,
                                     struct http_server **out, struct err *err);

/* Stops accepting, lets running requests finish and responses go out for at most grace_ms, then
 * cancels and closes what is left. Frees s; NULL is fine. */
void http_server_stop(struct http_server *s, int64_t grace_ms);
