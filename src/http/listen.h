/* listen.h -- a listening TCP socket from an address as users write it. */
#pragma once

#include <stdint.h>

#include "base/err.h"

enum { LISTEN_URL_MAX = 128 };

struct listener {
    int fd;
    uint16_t port;            /* the real one, when 0 was asked for */
    char url[LISTEN_URL_MAX]; /* under which this machine reaches it: http://127.0.0.1:9420 */
};

/* Checks `host:port`, `:port` (all addresses) and `[IPv6]:port` without opening anything.
 * ERR_BAD_CONFIG says what was expected. */
MUST_USE enum errc listen_check(const char *address, struct err *err);

/* Opens it. ERR_BAD_CONFIG (not an address, an unknown host), ERR_CONFLICT (in use), ERR_IO (any
 * other refusal of the system); the text names the address. The caller closes out->fd. */
MUST_USE enum errc listen_open(const char *address, struct listener *out, struct err *err);
