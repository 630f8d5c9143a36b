/* notifier.h -- telling Alertmanagers about alerts, until they have heard.
 *
 * Every Alertmanager gets every alert. Each has a queue of its own and a thread that sends batches of at most 256 as a
 * JSON array to PREFIX/api/v2/alerts. What the queue holds is the newest state of each alert, in order of their first
 * arrival; a firing alert that was not delivered before it resolved is sent as firing first, in an earlier request, so that
 * no transition is lost (notify_queue.h has the details). A firing alert that had to wait is sent with an endsAt as far
 * ahead as it was when it was queued: it would arrive as resolved otherwise.
 *
 * A server that is away, hangs, or answers with anything but 2xx, 400, 413 and 422 is tried again with growing pauses (1 s
 * to 30 s; Retry-After is honoured up to 5 min). Those three are final: a batch is halved until the bad alert is alone,
 * which is dropped, counted and logged.
 *
 * The queue is in memory: what makes it durable is that the states of alerts are (manager.h), and that a resolved alert is
 * kept there until notifier_pending() says that nobody waits for it.
 *
 * Wire: Alertmanager API v2 (OpenAPI), POST /api/v2/alerts.
 *
 * Threads: any; notifier_free() comes last.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "storage/labels.h"

struct notifier;

struct notification {
    uint64_t id; /* of the alert; the same for all its states */
    struct labels labels, annotations;
    int64_t starts_ms, ends_ms; /* ends: when it resolved, or until when it is to be believed */
    bool resolved;
    struct str generator_url;
};

struct alertmanager {
    struct str url;            /* http://host:9093/prefix, without /api/v2/alerts */
    int64_t timeout_ms;        /* of a request; 0: 10 s */
    struct str user, password; /* basic auth; empty: none */
    struct str authorization;  /* "Bearer x"; empty: none */
};

struct notifier_options {
    const struct alertmanager *alertmanagers; /* copied */
    size_t n_alertmanagers;
    struct labels external_labels; /* added where an alert has no such label; copied */
    size_t max_queued;             /* of each; the oldest are dropped beyond: 10,000 by default */
    const struct clock
        *clock; /* for the times that are sent, not for waiting; NULL: clock_system */
};

struct notifier_options notifier_options_default(void);

/* Starts the sending threads. The same URL twice is one Alertmanager. ERR_BAD_CONFIG for a URL or authorization that is
 * none, ERR_NOMEM. */
MUST_USE enum errc notifier_new(const struct notifier_options *options, struct notifier **out,
                                struct err *err);

/* Tries to deliver what is queued for at most grace_ms, then stops. NULL is fine. */
void notifier_free(struct notifier *n, int64_t grace_ms);

/* Replaces the Alertmanagers, external labels and max_queued (not the clock); queues of those whose URL stays are kept,
 * and tried again at once. What others have not heard is forgotten. After an error nothing has changed. */
MUST_USE enum errc notifier_reload(struct notifier *n, const struct notifier_options *options,
                                   struct err *err);

/* Queues copies. Never waits for a server. Without memory they are dropped and counted. */
void notifier_send(struct notifier *n, const struct notification *items, size_t count);

/* Whether the newest state of an alert waits for some Alertmanager, or is on its way. What was dropped does not wait. */
bool notifier_pending(struct notifier *n, uint64_t id);

struct alertmanager_status {
    struct str url;        /* the full one that is posted to; in the arena */
    uint64_t sent;         /* alerts, as are the next three: 2xx was answered */
    uint64_t errors;       /* were in a request that failed or was refused; once for each request */
    uint64_t dropped;      /* never delivered: refused, or the queue was full */
    uint64_t queue_length; /* not delivered yet */
    double latency_seconds_sum;
    uint64_t requests;
};
/* One for each Alertmanager, in the arena; ERR_LIMIT. For /metrics and /api/v1/alertmanagers. */
MUST_USE enum errc notifier_status(struct notifier *n, struct arena *a,
                                   struct alertmanager_status **out, size_t *count,
                                   struct err *err);
