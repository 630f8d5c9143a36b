/* group_keep.c -- what a group knows survives a restart and a reload, and can be looked at.
 *
 * A restart reads back the alerts. When a pending one was last seen is not in its record, which is
 * only written when a state changes: the samples of ALERTS_FOR_STATE tell.
 */
#include <stdlib.h>
#include <string.h>

#include "alert/alert_store.h"
#include "alert/group_private.h"
#include "alert/rule_eval.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/db.h"
#include "storage/matcher.h"

#include "base/banned.h"

const char *rule_health_name(enum rule_health h)
{
    static const char *const names[] = { "unknown", "ok", "err" };

    ASSERT((size_t)h < ARRAY_LEN(names));
    return names[h];
}

/* Looks from a place on: a reload finds most rules where they were. */
static struct group_rule *find_rule(const struct group *g, uint64_t key, size_t place)
{
    size_t n = g->def->n_rules;

    for (size_t i = 0; i < n; i++) {
        struct group_rule *rule = &g->rules[(place + i) % n];

        if (rule->key == key)
            return rule;
    }
    return NULL;
}

/* ---- restart: when was it seen last ---- */

static struct alert *find_alert(const struct alert_set *set, uint64_t hash)
{
    size_t lo = 0, hi = set->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (set->items[mid]->hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < set->n && set->items[lo]->hash == hash ? set->items[lo] : NULL;
}

struct looking {
    const struct alert_set *set;
    struct db_view *view;
    int64_t min_t_ms, max_t_ms, query_offset_ms;
    struct arena *arena;
    struct column samples;
};

static enum errc look_at(struct looking *l, const struct series *s, struct err *err)
{
    const struct label unnamed = { METRIC_NAME, { 0 } };
    struct labels labels;
    struct alert *alert;
    enum errc rc = labels_merge(s->labels, (struct labels){ &unnamed, 1 }, l->arena, &labels);

    alert = rc == OK ? find_alert(l->set, labels_hash(labels)) : NULL;
    if (!alert || alert->state != ALERT_PENDING)
        return rc;
    rc = db_read(l->view, s, l->min_t_ms, l->max_t_ms, &l->samples, err);
    for (size_t i = l->samples.n; rc == OK && i > 0 && alert->seen_ms == 0; i--)
        if (!is_stale(l->samples.v[i - 1]))
            alert->seen_ms = l->samples.t_ms[i - 1] + l->query_offset_ms;
    return rc;
}

static enum errc look_at_all(struct looking *l, struct str alertname, struct err *err)
{
    struct matcher m[2] = { 0 };
    struct series_list list = { 0 };
    enum errc rc;

    if ((rc = matcher_init(&m[0], MATCH_EQ, METRIC_NAME, STR("ALERTS_FOR_STATE"), l->arena, err))
            == OK
        && (rc = matcher_init(&m[1], MATCH_EQ, STR("alertname"), alertname, l->arena, err)) == OK)
        rc = db_select(l->view, m, ARRAY_LEN(m), l->min_t_ms, l->max_t_ms, l->arena, &list, err);
    for (size_t i = 0; rc == OK && i < list.n; i++)
        rc = look_at(l, &list.items[i], err);
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        matcher_free(&m[i]);
    return rc;
}

/* Finds when the pending alerts of a rule were last seen. */
static void find_last_seen(const struct group *g, struct group_rule *rule,
                           const struct group_env *env, int64_t max_t_ms)
{
    struct looking l = { .set = &rule->alerts,
                         .min_t_ms = INT64_MAX,
                         .max_t_ms = max_t_ms,
                         .query_offset_ms = group_query_offset_ms(g) };
    struct err err;
    enum errc rc;

    for (size_t i = 0; i < rule->alerts.n; i++) {
        const struct alert *a = rule->alerts.items[i];

        if (a->state == ALERT_PENDING && a->active_at_ms - l.query_offset_ms < l.min_t_ms)
            l.min_t_ms = a->active_at_ms - l.query_offset_ms;
    }
    if (l.min_t_ms > max_t_ms)
        return;
    l.arena = arena_new(env->query.max_bytes);
    err = err_in(l.arena);
    rc = l.arena ? db_view_open(env->db, l.min_t_ms, max_t_ms, &l.view, &err) : ERR_NOMEM;
    if (rc == OK)
        rc = look_at_all(&l, rule->def->name, &err);
    if (rc != OK)
        log_warn("time away counts for pending alerts", "rule=\"%.*s\" err=\"%s\"",
                 STR_ARG(rule->def->name), l.arena ? err_text(&err) : errc_text(rc));
    db_view_close(l.view);
    column_free(&l.samples);
    arena_free(l.arena);
}

/* The series of restored alerts were written: should they not come back, they have ended. */
static enum errc assume_written(struct group_rule *rule)
{
    const struct alert_set *set = &rule->alerts;
    struct arena *a = arena_new(0);
    struct series_value *values =
        a ? ARENA_NEW(a, struct series_value, set->n * ALERT_SERIES) : NULL;
    enum errc rc = values ? OK : ERR_NOMEM;
    size_t n = 0;

    for (size_t i = 0; rc == OK && i < set->n; i++) {
        size_t n_series;

        rc = alert_series_of(set->items[i], a, values + n, &n_series);
        n += n_series;
    }
    if (rc == OK)
        rc = series_set_assign(&rule->written, values, n);
    arena_free(a);
    return rc;
}

enum errc group_restore(struct group *g, const struct group_env *env, struct stored_alert *stored,
                        size_t n, int64_t hold_until_ms, struct err *err)
{
    int64_t start_ns = clock_mono_ns(env->clock);
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < n; i++) {
        struct group_rule *rule =
            stored[i].key.group == g->key ? find_rule(g, stored[i].key.rule, 0) : NULL;

        if (!rule || rule->def->kind != RULE_ALERTING)
            continue;
        rc = alert_set_restore(&rule->alerts, &stored[i].alert);
        stored[i].taken = true;
    }
    for (size_t i = 0; rc == OK && i < g->def->n_rules; i++) {
        struct group_rule *rule = &g->rules[i];

        rule->alerts.hold_until_ms = hold_until_ms;
        if (rule->alerts.n == 0)
            continue;
        find_last_seen(g, rule, env, hold_until_ms);
        rc = assume_written(rule);
    }
    g->counters.restore_seconds = (double)(clock_mono_ns(env->clock) - start_ns) / 1e9;
    return rc == OK ? OK : err_set(err, rc, 0, "no memory to restore alerts");
}

/* ---- reload ---- */

static bool is_unchanged(const struct rule *a, const struct rule *b)
{
    return str_equal(a->expr, b->expr) && a->for_ms == b->for_ms
           && a->keep_firing_for_ms == b->keep_firing_for_ms
           && labels_equal(a->annotations, b->annotations);
}

static void adopt_rule(struct group_rule *rule, struct group_rule *old)
{
    rule->alerts = old->alerts;
    rule->written = old->written;
    old->alerts = (struct alert_set){ 0 };
    old->written = (struct series_set){ 0 };
    if (!is_unchanged(rule->def, old->def))
        return;
    rule->health = old->health;
    rule->last_error = old->last_error;
    old->last_error = NULL;
    rule->seconds = old->seconds;
    rule->evaluated_ms = old->evaluated_ms;
    rule->evaluations = old->evaluations;
    rule->failures = old->failures;
}

void group_adopt(struct group *g, struct group *old)
{
    pthread_mutex_lock(&old->lock);
    g->counters = old->counters;
    for (size_t i = 0; i < g->def->n_rules; i++) {
        struct group_rule *from = find_rule(old, g->rules[i].key, i);

        if (from)
            adopt_rule(&g->rules[i], from);
    }
    pthread_mutex_unlock(&old->lock);
}

void group_forget(struct group *g, struct alert_changes *changes)
{
    for (size_t i = 0; i < g->def->n_rules; i++)
        alert_changes_of(changes, g->key, g->rules[i].key, &g->rules[i].alerts, true);
}

size_t group_n_rules(const struct group *g)
{
    return g->def->n_rules;
}

size_t group_take_series(struct group *g, struct series_set *out)
{
    size_t n = 0;

    for (size_t i = 0; i < g->def->n_rules; i++)
        if (g->rules[i].written.n > 0) {
            out[n++] = g->rules[i].written;
            g->rules[i].written = (struct series_set){ 0 };
        }
    return n;
}

bool group_hashes(struct group *g, uint64_t **hashes, size_t *n, size_t *cap)
{
    bool ok = true;

    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; ok && i < g->def->n_rules; i++) {
        const struct series_set *set = &g->rules[i].written;

        ok = vec_reserve(hashes, cap, *n + set->n, sizeof **hashes);
        for (size_t k = 0; ok && k < set->n; k++)
            (*hashes)[(*n)++] = set->items[k].hash;
    }
    pthread_mutex_unlock(&g->lock);
    return ok;
}

/* ---- looking at it ---- */

static bool copy_text(struct arena *a, struct str s, struct str *out)
{
    *out = str_copy(a, s);
    return out->ptr != NULL;
}

static bool copy_labels(struct arena *a, struct labels ls, struct labels *out)
{
    *out = labels_copy(a, ls);
    return out->items || ls.n == 0;
}

static bool copy_alerts(const struct alert_set *set, struct arena *a, struct rule_status *out)
{
    out->alerts = ARENA_NEW(a, struct alert_status, set->n);
    if (!out->alerts)
        return false;
    for (size_t i = 0; i < set->n; i++) {
        const struct alert *from = set->items[i];
        struct alert_status *to = &out->alerts[out->n_alerts];

        if (from->state == ALERT_INACTIVE)
            continue;
        *to = (struct alert_status){ .state = from->state,
                                     .active_at_ms = from->active_at_ms,
                                     .keep_firing_since_ms = from->keep_firing_since_ms,
                                     .value = from->value };
        if (!copy_labels(a, from->labels, &to->labels)
            || !copy_labels(a, from->annotations, &to->annotations))
            return false;
        out->n_alerts++;
    }
    return true;
}

static bool copy_rule(const struct group_rule *rule, struct arena *a, struct rule_status *out)
{
    const struct rule *def = rule->def;

    *out = (struct rule_status){
        .kind = def->kind,
        .for_ms = def->for_ms,
        .keep_firing_for_ms = def->keep_firing_for_ms,
        .health = rule->health,
        .evaluation_seconds = rule->seconds,
        .last_evaluation_ms = rule->evaluated_ms,
        .evaluations = rule->evaluations,
        .failures = rule->failures,
        .state = alert_set_state(&rule->alerts),
    };
    return copy_text(a, def->name, &out->name) && copy_text(a, def->expr, &out->query)
           && copy_labels(a, def->labels, &out->labels)
           && copy_labels(a, def->annotations, &out->annotations)
           && copy_text(a, str_from(rule->last_error), &out->last_error)
           && copy_alerts(&rule->alerts, a, out);
}

/* Under the group's lock. */
static bool copy_group(const struct group *g, struct arena *a, struct group_status *out)
{
    const struct group_counters *c = &g->counters;
    bool ok;

    *out = (struct group_status){
        .interval_ms = group_interval_ms(g),
        .limit = g->def->limit,
        .evaluation_seconds = c->seconds,
        .rule_seconds = c->rule_seconds,
        .restore_seconds = c->restore_seconds,
        .last_evaluation_ms = c->evaluated_ms,
        .evaluations = c->evaluations,
        .failures = c->failures,
        .iterations = c->iterations,
        .missed = c->missed,
        .samples = c->samples,
        .expansions = c->expansions,
        .expansion_failures = c->expansion_failures,
        .rules = ARENA_NEW(a, struct rule_status, g->def->n_rules),
    };
    ok = out->rules && copy_text(a, g->def->name, &out->name)
         && copy_text(a, g->def->file, &out->file);
    for (; ok && out->n_rules < g->def->n_rules; out->n_rules++)
        ok = copy_rule(&g->rules[out->n_rules], a, &out->rules[out->n_rules]);
    return ok;
}

enum errc group_status(struct group *g, struct arena *a, struct group_status *out)
{
    bool ok;

    pthread_mutex_lock(&g->lock);
    ok = copy_group(g, a, out);
    pthread_mutex_unlock(&g->lock);
    return ok ? OK : ERR_LIMIT;
}
