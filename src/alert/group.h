/* group.h -- one rule group: its rules evaluated one after another, the states of its alerts, what
 * it wrote last.
 *
 * A group knows no threads and no time of its own: manager.c calls group_evaluate() when it is due.
 * An evaluation
 *
 *   runs each rule     query, labels, templates (rule_eval.h); the samples wait in a writer, which
 *                      is flushed before a rule that may read one of them
 *   stores the states  of alerts that changed, in one transaction (alert_store.h)
 *   flushes            the rest of the samples and staleness markers
 *   notifies           of alerts that fired, resolved or were not mentioned for a while
 *
 * in this order, so that after a crash no sample and no notification tells of a state that has been
 * forgotten. A rule that fails keeps its alerts as they are, and those that fire are sent all the
 * same.
 *
 * Threads: evaluating, restoring and adopting belong to one thread at a time; group_status() and
 * group_hashes() to any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/manager.h"
#include "alert/write.h"
#include "base/err.h"

struct alert;
struct alert_changes;
struct group;
struct notification;
struct stored_alert;

/* Who is told about alerts: the notifier's functions (notifier.h). */
struct alert_listener {
    void (*send)(void *ctx, const struct notification *items, size_t n);
    bool (*is_pending)(void *ctx, uint64_t id);
    void *ctx;
};

/* What a group needs of the world. */
struct group_env {
    struct db *db;
    struct query_options query;            /* cancelled: the evaluation counts for nothing */
    const struct alert_listener *listener; /* NULL: nobody is told */
    const struct clock *clock;
    int64_t resend_delay_ms;
};

/* A group without states. def and settings are borrowed and outlive it. NULL when out of memory. */
struct group *group_new(const struct rule_group *def, const struct rule_settings *settings);
void group_free(struct group *g); /* NULL is fine */

uint64_t group_key(const struct group *g); /* hash of file and name; never changes: it is stored */
int64_t group_interval_ms(const struct group *g);
bool group_is(const struct group *g, struct str file, struct str name);

/* Evaluates as of t_ms. False when it was cancelled. */
bool group_evaluate(struct group *g, const struct group_env *env, int64_t t_ms);

/* Counts slots that came, and those that were missed among them. */
void group_count(struct group *g, uint64_t iterations, uint64_t missed);

/* ---- restart ---- */

/* Takes the alerts that belong to the group's rules, and marks them taken. Those that are in no
 * result until hold_until_ms stay as they are. Only before the first evaluation. ERR_NOMEM. What
 * cannot be read from the store about when an alert was last seen is done without. */
MUST_USE enum errc group_restore(struct group *g, const struct group_env *env,
                                 struct stored_alert *stored, size_t n, int64_t hold_until_ms,
                                 struct err *err);

/* ---- reload ---- */

/* Moves what old knows into g: counters, the states of rules that are the same (kind, name, labels;
 * the k-th of equal ones to the k-th), and the health of those that have not changed at all. The
 * rest stays in old. */
void group_adopt(struct group *g, struct group *old);

/* Deletes what is stored of the alerts that g still has. */
void group_forget(struct group *g, struct alert_changes *changes);

/* Moves the series that g wrote last into out, which must have room for group_n_rules() sets; empty
 * ones are left out. Returns how many. */
size_t group_n_rules(const struct group *g);
size_t group_take_series(struct group *g, struct series_set *out);

/* Appends the hashes of all series that g wrote last. False when out of memory. */
bool group_hashes(struct group *g, uint64_t **hashes, size_t *n, size_t *cap);

/* The series ALERTS and ALERTS_FOR_STATE that stand for an alert, in the arena; 0 for one that is
 * inactive. */
enum { ALERT_SERIES = 2 };
MUST_USE enum errc alert_series_of(const struct alert *alert, struct arena *a,
                                   struct series_value out[ALERT_SERIES], size_t *n);

/* A copy of everything, in the arena. ERR_LIMIT. */
MUST_USE enum errc group_status(struct group *g, struct arena *a, struct group_status *out);
