/* alert_state.h -- the alerts of one rule, and how an evaluation changes them.
 *
 *            in the result, 0 < for          for is over
 *   (none) --------------------------> pending ----------> firing
 *     ^ \____ in the result, for = 0 ____________________/ |  ^ |
 *     |                                   |                |  |_| not in the result, and
 *     |<------ not in the result ---------'                |      keep_firing_for not over
 *     |                                                    v not in the result
 *     '<-- 15 minutes later, and all have heard ------- inactive --> in the result: a new alert
 *
 * A firing alert for which `for` has been raised beyond the time it has been active is pending
 * again. An alert is known by its labels. Nothing here evaluates, stores or sends: group.c does.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/status.h"
#include "base/err.h"
#include "storage/labels.h"

struct histogram;

struct alert {
    uint64_t hash; /* labels_hash() */
    struct labels labels, annotations;
    double value;
    enum alert_state state; /* inactive: resolved, kept to be sent */
    int64_t active_at_ms;   /* when its condition became true */
    /* 0 when not set: */
    int64_t fired_at_ms, resolved_at_ms, keep_firing_since_ms;
    int64_t sent_at_ms; /* handed to the notifier last */
    /* Of an alert read back after a restart that has not been in a result since: */
    bool restored;
    int64_t seen_ms; /* the last evaluation before the restart that saw it; 0: not known */
    bool changed;    /* since alert_set_saved() */
};

/* Zero-initialise it; free it with alert_set_free(). */
struct alert_set {
    struct alert **items; /* by hash, then labels */
    size_t n;
    uint64_t *removed; /* hashes of alerts that went since alert_set_saved() */
    size_t n_removed, cap_removed;
    int64_t hold_until_ms; /* before this time, restored alerts that are in no result stay */
};

void alert_set_free(struct alert_set *set);

/* One element of a rule's result: borrowed. */
struct alert_input {
    uint64_t hash;
    struct labels labels, annotations;
    double value;              /* 0 for a histogram */
    const struct histogram *h; /* of a recording rule, in place of value; NULL: a float */
};

struct alert_timing {
    int64_t t_ms, interval_ms; /* of the evaluation, of its group */
    int64_t for_ms, keep_firing_for_ms;
    uint32_t limit; /* of pending and firing alerts; 0: none */
};

/* Takes in a result: n inputs by hash, then labels, each label set once. ERR_LIMIT (`exceeded limit
 * of 1 with 2 alerts`), ERR_NOMEM: nothing has changed. */
MUST_USE enum errc alert_set_update(struct alert_set *set, const struct alert_input *inputs,
                                    size_t n, const struct alert_timing *timing, struct err *err);

/* Drops alerts that resolved more than 15 minutes before t_ms, unless keep(ctx, alert); keep may be
 * NULL. ERR_NOMEM: some are still there. */
MUST_USE enum errc alert_set_expire(struct alert_set *set, int64_t t_ms,
                                    bool (*keep)(void *ctx, const struct alert *a), void *ctx);

/* Whether an alert is to be sent at t_ms: it resolved since it was sent, or was sent more than
 * resend_ms ago. */
bool alert_is_due(const struct alert *a, int64_t t_ms, int64_t resend_ms);

/* Adds a copy of an alert read back, as restored; not for a set that was updated. ERR_NOMEM. */
MUST_USE enum errc alert_set_restore(struct alert_set *set, const struct alert *a);

/* To be called when all changes are in the store. */
void alert_set_saved(struct alert_set *set);
bool alert_set_changed(const struct alert_set *set);

/* The gravest state in the set. */
enum alert_state alert_set_state(const struct alert_set *set);
