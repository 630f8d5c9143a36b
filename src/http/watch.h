/* watch.h -- one thread that notices what the HTTP library does not: that a client left while its
 * request runs, and that a connection has outlived an absolute deadline.
 *
 * The library's own timeout counts inactivity only, so a client that sends a byte now and then
 * would hold a connection for ever; here the deadline is on the whole phase. A connection over its
 * deadline is shut down, which the library then sees as an end of the stream.
 *
 * Threads: every function may be called from any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct watch;

/* A connection. Zero-initialise it; the fields are private and guarded by the watch's lock unless
 * they say otherwise. */
struct watch_item {
    struct watch_item *prev, *next;
    uint64_t id;
    int fd;
    _Atomic int64_t deadline_ns; /* 0: none; needs no lock */
    atomic_bool *left;
    int64_t since_ns; /* when left was given */
    bool armed;       /* epoll knows it */
};

/* Starts the thread, which looks at deadlines and at new clients every tick_ms. */
MUST_USE enum errc watch_start(int tick_ms, struct watch **out, struct err *err);
void watch_stop(struct watch *w); /* ends the thread, frees w; NULL is fine */

/* Begins to watch the socket fd of a connection. */
void watch_add(struct watch *w, struct watch_item *item, int fd);

/* Forgets it. To be called before fd is closed, since its number may then be used again. */
void watch_remove(struct watch *w, struct watch_item *item);

/* The connection is shut down after timeout_ms from now; 0 takes the deadline away. */
void watch_deadline(struct watch_item *item, int64_t timeout_ms);

/* Sets *left when the client closes its side, until the next call. NULL ends that: *left is not
 * touched after the call has returned. Nothing is asked of the system for what ends within a tick,
 * as nearly all requests do. */
void watch_client(struct watch *w, struct watch_item *item, atomic_bool *left);

/* Sets the flags given by watch_client() of all connections. */
void watch_cancel_all(struct watch *w);
