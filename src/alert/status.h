/* status.h -- what can be seen of rule groups, rules and alerts: copies, for the HTTP API.
 *
 * All of it lives in the arena that the caller gave to rule_manager_status().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alert/rule.h"
#include "base/bytes.h"
#include "storage/labels.h"

/* In order of gravity. */
enum alert_state { ALERT_INACTIVE, ALERT_PENDING, ALERT_FIRING };
const char *alert_state_name(enum alert_state s); /* "inactive", "pending", "firing" */

struct alert_status {
    enum alert_state state;
    struct labels labels, annotations;
    int64_t active_at_ms, keep_firing_since_ms; /* 0: not set */
    double value;
};

enum rule_health { RULE_HEALTH_UNKNOWN, RULE_HEALTH_OK, RULE_HEALTH_ERR };
const char *rule_health_name(enum rule_health h); /* "unknown", "ok", "err" */

struct rule_status {
    enum rule_kind kind;
    struct str name, query;
    struct labels labels, annotations; /* as in the file */
    int64_t for_ms, keep_firing_for_ms;
    enum rule_health health;
    struct str last_error;
    double evaluation_seconds;
    int64_t last_evaluation_ms;     /* 0: never */
    uint64_t evaluations, failures; /* counters */
    enum alert_state state;         /* the worst of its alerts */
    struct alert_status *alerts;    /* pending and firing ones */
    size_t n_alerts;
};

struct group_status {
    struct str name, file;
    int64_t interval_ms;
    uint32_t limit;
    double evaluation_seconds;  /* of all its rules, samples stored and alerts handed over */
    double rule_seconds;        /* the sum of its rules' own */
    double restore_seconds;     /* reading back states, when the group was first loaded */
    int64_t last_evaluation_ms; /* 0: never */
    uint64_t evaluations, failures, iterations, missed; /* counters; the first two of rules */
    uint64_t samples;                                   /* that the last evaluation yielded */
    uint64_t expansions, expansion_failures;            /* of templates; counters */
    struct rule_status *rules;
    size_t n_rules;
};
