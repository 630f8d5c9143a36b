/* grpc.h -- unary gRPC calls over HTTP/2 without TLS (github.com/grpc/grpc, PROTOCOL-HTTP2.md).
 * nghttp2 is named in grpc.c only.
 *
 * One thread moves bytes; a call whose message has arrived completely is answered by a worker
 * thread, so that a handler may wait for the disk. Messages may be compressed with gzip.
 *
 * Limits: connections, streams of a connection, headers, size of a message compressed and not, all
 * messages together, and times: for a call to arrive, for an answer to be taken, between two calls.
 * A client that begins calls only to cancel them is disconnected.
 *
 * Threads: start and stop belong to one thread; handlers run on many.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "http/listen.h"
#include "ingest/otlp_answer.h"

struct arena;
struct grpc_server;

/* A handler's answer: the message, or why there is none. */
struct grpc_answer {
    enum rpc_code code;
    const char *text;   /* when code is not RPC_OK; in the arena or static */
    struct buf message; /* freed by the server */
};

typedef void grpc_handler(void *ctx, struct bytes message, struct arena *arena,
                          struct grpc_answer *answer);

struct grpc_method {
    const char *path; /* "/package.Service/Method" */
    grpc_handler *handler;
};

struct grpc_options {
    struct listener listener; /* the server's once it has been started */
    const struct grpc_method *methods;
    size_t n_methods;
    void *ctx; /* the handlers' */
    size_t n_workers, max_queued;
    size_t max_connections, max_streams; /* streams: of one connection at once */
    size_t max_message_bytes;            /* as sent, and decoded */
    size_t max_bodies_bytes;             /* of all calls that are arriving or being answered */
    int64_t request_timeout_ms, idle_timeout_ms;
};

/* Defaults for everything but listener, methods and ctx. */
struct grpc_options grpc_options_default(void);

/* ERR_NOMEM, ERR_IO, ERR_LIMIT (no more threads). On error the listener is still the caller's. */
MUST_USE enum errc grpc_server_start(const struct grpc_options *options, struct grpc_server **out,
                                     struct err *err);

/* Stops accepting, lets running calls finish and their answers go out for at most grace_ms, closes
 * what is left. Frees s; NULL is fine. */
void grpc_server_stop(struct grpc_server *s, int64_t grace_ms);
