/* http_peer.h -- a small HTTP/1.1 server on this machine, for tests of what sends requests: it
 * answers as a handler says, and misbehaves when told to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct http_peer;

struct peer_request {
    const char *head; /* request line and headers, NUL-terminated */
    struct str body;
    unsigned connection; /* the how manieth since the start, from 1 */
};

struct peer_reply {
    int status;
    const char *headers; /* "Retry-After: 7\r\n", or NULL */
    const char *body;    /* or NULL */
    size_t filler_bytes; /* follow the body */
    bool hang;           /* no answer at all; the connection stays */
    bool break_off;      /* ends in the middle of the body, and with it the connection */
};

/* Runs in the peer's thread, one request at a time. */
typedef struct peer_reply peer_handler(void *ctx, const struct peer_request *r);

/* Listens on port of 127.0.0.1 (0: any), or the test fails. */
struct http_peer *http_peer_start(uint16_t port, peer_handler *handler, void *ctx);
uint16_t http_peer_port(const struct http_peer *p);

/* Closes all connections; the port is free for another peer. NULL is fine. */
void http_peer_stop(struct http_peer *p);

/* The value of a header of a request in buffer of size bytes, or NULL. */
const char *peer_header(const struct peer_request *r, const char *name, char *buffer, size_t size);
