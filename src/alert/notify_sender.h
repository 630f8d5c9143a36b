/* notify_sender.h -- the thread that tells one Alertmanager what is in its queue.
 *
 * What an answer means: 2xx, the server has the alerts. 400, 413 or 422, there is something wrong with
 * some alert: the batch is halved until that one is alone, and it is dropped. (Alertmanager has stored
 * the good ones by then, and is told of them again: that changes nothing.) Everything else is about
 * the server, what is in front of it, or our configuration (401, 404), and can be mended while the
 * alerts wait: they are sent again after a pause.
 *
 * Threads: the functions that say so are called with the lock of the notify_env held.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notifier.h"
#include "base/clock.h"
#include "base/err.h"

struct notify_message;
struct notify_sender;

struct notify_tuning {
    int64_t min_pause_ms, max_pause_ms; /* after a first failure, and what doubling leads to */
    int64_t max_retry_after_ms;         /* a server cannot ask for more */
    size_t max_batch;
};

extern const struct notify_tuning notify_tuning_default;

/* The pause after n_failures (1 or more) in a row: doubled each time, up to a quarter taken off by
 * random so that many senders do not come at once, and at least what Retry-After asks for. */
int64_t notify_pause_ms(const struct notify_tuning *t, unsigned n_failures, int64_t retry_after_s,
                        uint64_t random);

/* What all senders of a notifier share. */
struct notify_env {
    pthread_mutex_t lock; /* guards the queues, counters and settings of all senders */
    pthread_cond_t ended; /* a sender's thread has ended; waits on the monotonic clock */
    const struct clock *clock;
    struct notify_tuning tuning;
};

/* A copy of settings, with the full URL. */
struct notify_target {
    char *url;           /* PREFIX/api/v2/alerts */
    struct arena *arena; /* holds all of it */
    struct alertmanager settings;
};

/* ERR_BAD_CONFIG, ERR_NOMEM. */
MUST_USE enum errc notify_target_new(const struct alertmanager *settings,
                                     struct notify_target **out, struct err *err);
void notify_target_free(struct notify_target *t); /* NULL is fine */

/* Starts a thread. Takes over the target unless it fails: ERR_NOMEM. */
MUST_USE enum errc notify_sender_start(struct notify_env *env, struct notify_target *target,
                                       size_t max_queued, struct notify_sender **out,
                                       struct err *err);

/* The URL of its target; never changes. */
const char *notify_sender_url(const struct notify_sender *s);

/* Takes over a target of the same URL, and tries again now. Locked. */
void notify_sender_set(struct notify_sender *s, struct notify_target *target, size_t max_queued);

/* Queues m; NULL counts as one that was dropped. The thread hears of it with notify_sender_wake().
 * Locked. */
void notify_sender_put(struct notify_sender *s, struct notify_message *m);
void notify_sender_wake(struct notify_sender *s); /* locked */

bool notify_sender_has(const struct notify_sender *s, uint64_t id); /* locked */

/* The url is borrowed from s. Locked. */
struct alertmanager_status notify_sender_status(const struct notify_sender *s);

/* Lets the thread end once its queue is empty, beginning with a try now. Locked. */
void notify_sender_drain(struct notify_sender *s);
bool notify_sender_has_ended(const struct notify_sender *s); /* locked */

/* Ends the thread within a moment, whatever is queued, and frees s. Not locked. NULL is fine. */
void notify_sender_stop(struct notify_sender *s);
