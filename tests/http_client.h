/* http_client.h -- a small HTTP/1.1 client on a raw socket, for tests that need to misbehave.
 *
 * A socket that gives nothing for 20 s is given up, so that a test fails instead of hanging.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* What a request got. Free it with answer_free(). */
struct answer {
    int status; /* 0: the connection ended without an answer */
    bool chunked, complete;
    struct buf head; /* status line and headers, NUL-terminated */
    struct buf body; /* NUL-terminated (not counted in len) */
};

void answer_free(struct answer *a);

/* The body as text. */
const char *answer_text(const struct answer *a);

/* The value of a header, or NULL; valid until the next call. */
const char *answer_header(const struct answer *a, const char *name);

/* A connection to this machine, or a failed test. */
int client_connect(uint16_t port);

/* Sends all of it; false when the server closed the connection. */
bool client_send(int fd, const void *data, size_t n);
bool client_text(int fd, const char *text);

/* Appends one line with its end to out. */
bool client_line(int fd, struct buf *out);

/* Reads one answer. no_body: to a HEAD request. */
struct answer client_read(int fd, bool no_body);

/* One request on a connection of its own. head: request line and headers without their last line
 * end; with a body a Content-Length is added. */
struct answer client_ask(uint16_t port, const char *head, struct bytes body);
struct answer client_get(uint16_t port, const char *target);

/* A POST of a form. */
struct answer client_form(uint16_t port, const char *target, const char *form);
