/* group_private.h -- what group.c (evaluating) and group_keep.c (restart, reload, looking at it)
 * share. */
#pragma once

#include <pthread.h>

#include "alert/alert_state.h"
#include "alert/group.h"

/* A rule and what is known of it. */
struct group_rule {
    const struct rule *def;
    uint64_t key; /* hash of what makes it the same rule after a restart or reload; stored */
    bool waiting; /* samples of this evaluation are in the writer */

    /* Changed by the evaluating thread only, under the group's lock. */
    struct alert_set alerts;
    struct series_set written;
    enum rule_health health;
    char *last_error; /* NULL: none */
    double seconds;
    int64_t evaluated_ms;
    uint64_t evaluations, failures;
};

struct group_counters {
    uint64_t evaluations, failures, iterations, missed, samples, expansions, expansion_failures;
    double seconds, rule_seconds, restore_seconds;
    int64_t evaluated_ms;
};

struct group {
    const struct rule_group *def;
    const struct rule_settings *settings;
    uint64_t key;
    struct group_rule *rules; /* def->n_rules */
    pthread_mutex_t lock;     /* guards counters, and rules as said there */
    struct group_counters counters;
};

int64_t group_query_offset_ms(const struct group *g);
