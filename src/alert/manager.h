/* manager.h -- evaluating rule groups on time, keeping the states of alerts, writing what rules
 * yield.
 *
 * Semantics are Prometheus' (docs/alerting.md): a group is evaluated at its slots (hash of file and
 * name, modulo the interval), its rules one after another; what they yield is stored before the
 * next one runs: recorded series, ALERTS and ALERTS_FOR_STATE, and staleness markers for series
 * that ended. A slot that was missed is counted and not caught up.
 *
 * Better than Prometheus: the states of alerts are kept in state.mdb with every change, so a
 * restart forgets neither pending nor firing nor keep_firing_for nor a resolution that no
 * Alertmanager has heard yet, whatever `for` is; time that the process was away does not count as
 * pending. An evaluation that fails resolves nothing: firing alerts go on being sent.
 *
 * Threads: any; evaluations run on threads of the manager.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/rule.h"
#include "alert/status.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "query/query.h"
#include "storage/labels.h"

struct arena;
struct db;
struct notifier;
struct rule_manager;

struct rule_manager_options {
    struct db *db;
    struct query_options query;
    struct notifier *notifier; /* NULL: nobody is told */
    const struct clock *clock; /* NULL: clock_system */
    size_t n_threads;          /* groups evaluated at once; 4 by default */
    int64_t resend_delay_ms;   /* 1 min */
    int64_t restore_grace_ms;  /* 2 min: see rule_manager_load() */
};

/* What a configuration sets, and a reload changes. */
struct rule_settings {
    int64_t interval_ms;           /* of groups that name none: 1 min */
    int64_t query_offset_ms;       /* of groups that name none: 0 */
    struct labels external_labels; /* copied */
    struct str external_url;       /* copied; for generatorURL and templates */
};

struct rule_manager_options rule_manager_options_default(struct db *db);

/* A manager without rules; its threads run. ERR_NOMEM. */
MUST_USE enum errc rule_manager_new(const struct rule_manager_options *options,
                                    struct rule_manager **out, struct err *err);

/* Ends the running evaluations and stops. States are in state.mdb. NULL is fine. */
void rule_manager_free(struct rule_manager *m);

/* Takes over a set (also on error). A group that has not changed goes on; a changed one keeps the
 * alert states of rules with the same name and labels; states of rules that are gone are dropped,
 * and their series marked stale. ERR_NOMEM: the old set stays.
 *
 * The first load reads back the states of alerts. Senders may need a while to reconnect: restored
 * alerts that are in no result are neither resolved nor forgotten for restore_grace_ms. ERR_IO,
 * ERR_CORRUPT when the states cannot be read. */
MUST_USE enum errc rule_manager_load(struct rule_manager *m, struct rule_set *set,
                                     const struct rule_settings *settings, struct err *err);

/* Evaluates all groups once, now, as of t_ms, in the caller's thread: for tests. */
void rule_manager_evaluate_at(struct rule_manager *m, int64_t t_ms);

/* ---- looking at it: what /api/v1/rules and /api/v1/alerts show ---- */

/* A copy of everything, in the arena, groups by file and name. ERR_LIMIT. */
MUST_USE enum errc rule_manager_status(struct rule_manager *m, struct arena *a,
                                       struct group_status **out, size_t *n, struct err *err);
