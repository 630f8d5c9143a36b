#include "alert/group.h"

#include <stdlib.h>
#include <string.h>

#include "alert/alert_store.h"
#include "alert/group_private.h"
#include "alert/notifier.h"
#include "alert/rule_eval.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/db.h"

#include "base/banned.h"

/* ---- identity ---- */

static uint64_t hash_group(const struct rule_group *def)
{
    struct buf b = { 0 };
    uint64_t hash;

    buf_str(&b, def->file);
    buf_u8(&b, 0);
    buf_str(&b, def->name);
    hash = hash64(b.ptr, b.len);
    buf_free(&b);
    return hash;
}

/* Equal rules are told apart by their order: ordinal says how many were before. */
static uint64_t hash_rule(const struct rule *rule, uint32_t ordinal)
{
    struct buf b = { 0 };
    uint64_t hash;

    buf_u8(&b, (uint8_t)rule->kind);
    buf_u32(&b, ordinal);
    buf_uvarint(&b, rule->name.len);
    buf_str(&b, rule->name);
    labels_encode(&b, rule->labels);
    hash = hash64(b.ptr, b.len);
    buf_free(&b);
    return hash;
}

static int by_key_and_place(const void *pa, const void *pb)
{
    const struct group_rule *a = *(struct group_rule *const *)pa,
                            *b = *(struct group_rule *const *)pb;

    return a->key != b->key ? (a->key > b->key) - (a->key < b->key) : (a > b) - (a < b);
}

/* Sorting brings equal rules together: files of many rules are generated, and all may be equal.
 * False when out of memory. */
static bool set_keys(struct group *g)
{
    size_t n = g->def->n_rules;
    struct group_rule **sorted = calloc(n + 1, sizeof *sorted);
    uint64_t key = 0;
    uint32_t ordinal = 0;

    if (!sorted)
        return false;
    for (size_t i = 0; i < n; i++) {
        g->rules[i].key = hash_rule(g->rules[i].def, 0);
        sorted[i] = &g->rules[i];
    }
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, by_key_and_place);
    for (size_t i = 0; i < n; i++) {
        ordinal = i > 0 && sorted[i]->key == key ? ordinal + 1 : 0;
        key = sorted[i]->key;
        if (ordinal > 0)
            sorted[i]->key = hash_rule(sorted[i]->def, ordinal);
    }
    free(sorted);
    return true;
}

struct group *group_new(const struct rule_group *def, const struct rule_settings *settings)
{
    struct group *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->rules = calloc(def->n_rules + 1, sizeof *g->rules);
    if (!g->rules) {
        free(g);
        return NULL;
    }
    g->def = def;
    g->settings = settings;
    g->key = hash_group(def);
    for (size_t i = 0; i < def->n_rules; i++)
        g->rules[i].def = &def->rules[i];
    if (!set_keys(g)) {
        free(g->rules);
        free(g);
        return NULL;
    }
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void group_free(struct group *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->def->n_rules; i++) {
        alert_set_free(&g->rules[i].alerts);
        series_set_free(&g->rules[i].written);
        free(g->rules[i].last_error);
    }
    pthread_mutex_destroy(&g->lock);
    free(g->rules);
    free(g);
}

uint64_t group_key(const struct group *g)
{
    return g->key;
}

bool group_is(const struct group *g, struct str file, struct str name)
{
    return str_equal(g->def->file, file) && str_equal(g->def->name, name);
}

int64_t group_interval_ms(const struct group *g)
{
    return g->def->interval_ms > 0 ? g->def->interval_ms : g->settings->interval_ms;
}

int64_t group_query_offset_ms(const struct group *g)
{
    return g->def->query_offset_ms >= 0 ? g->def->query_offset_ms : g->settings->query_offset_ms;
}

void group_count(struct group *g, uint64_t iterations, uint64_t missed)
{
    pthread_mutex_lock(&g->lock);
    g->counters.iterations += iterations;
    g->counters.missed += missed;
    pthread_mutex_unlock(&g->lock);
}

/* ---- an evaluation ---- */

struct round {
    struct group *g;
    const struct group_env *env;
    int64_t t_ms;
    struct arena *arena; /* of the rule that is evaluated */
    struct rule_writer *writer;
    uint64_t samples;
    double rule_seconds;
};

static bool is_cancelled(const struct round *r)
{
    return r->env->query.cancel && atomic_load(r->env->query.cancel);
}

static double seconds_since(const struct round *r, int64_t start_ns)
{
    return (double)(clock_mono_ns(r->env->clock) - start_ns) / 1e9;
}

/* A rule's failure shows in its health; the same one again is not logged again. */
static void set_failed(struct round *r, struct group_rule *rule, const struct err *err)
{
    const char *text = err_text(err);
    const struct rule_group *def = r->g->def;
    char *copy = strdup(text);

    if (rule->health != RULE_HEALTH_ERR || !rule->last_error || strcmp(rule->last_error, text) != 0)
        log_warn("rule failed", "file=\"%.*s\" group=\"%.*s\" rule=\"%.*s\" err=\"%s\"",
                 STR_ARG(def->file), STR_ARG(def->name), STR_ARG(rule->def->name), text);
    pthread_mutex_lock(&r->g->lock);
    free(rule->last_error);
    rule->last_error = copy;
    rule->health = RULE_HEALTH_ERR;
    rule->failures++;
    r->g->counters.failures++;
    pthread_mutex_unlock(&r->g->lock);
}

static void set_ok(struct round *r, struct group_rule *rule)
{
    pthread_mutex_lock(&r->g->lock);
    free(rule->last_error);
    rule->last_error = NULL;
    rule->health = RULE_HEALTH_OK;
    pthread_mutex_unlock(&r->g->lock);
}

/* Stores the samples that wait. Rules whose samples were lost have failed. */
static void flush(struct round *r)
{
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    enum errc rc = rule_writer_flush(r->writer, r->env->db, &err);

    for (size_t i = 0; i < r->g->def->n_rules; i++) {
        struct group_rule *rule = &r->g->rules[i];

        if (rule->waiting && rc != OK)
            set_failed(r, rule, &err);
        rule->waiting = false;
    }
    arena_free(arena);
}

static enum errc out_of_memory(struct round *r, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "the rule's result needs more than %zu bytes",
                   arena_limit(r->arena));
}

/* Hands over what a rule yields. */
static enum errc write_series(struct round *r, struct group_rule *rule, struct series_value *values,
                              size_t n, struct err *err)
{
    size_t n_before = r->writer->n;
    enum errc rc;

    pthread_mutex_lock(&r->g->lock);
    rc = series_set_write(&rule->written, values, n, r->t_ms - group_query_offset_ms(r->g),
                          r->writer, err);
    pthread_mutex_unlock(&r->g->lock);
    if (rc == OK)
        r->samples += n;
    rule->waiting = r->writer->n > n_before;
    return rc;
}

/* ---- recording ---- */

static enum errc take_records(struct round *r, struct group_rule *rule,
                              const struct rule_output *out, struct err *err)
{
    struct series_value *values = ARENA_NEW(r->arena, struct series_value, out->n);
    uint32_t limit = r->g->def->limit;

    if (limit > 0 && out->n > limit)
        return err_set(err, ERR_LIMIT, 0, "exceeded limit of %u with %zu series", limit, out->n);
    if (!values)
        return out_of_memory(r, err);
    for (size_t i = 0; i < out->n; i++)
        values[i] = (struct series_value){ { out->items[i].hash, out->items[i].labels },
                                           out->items[i].value,
                                           out->items[i].h };
    return write_series(r, rule, values, out->n, err);
}

/* ---- alerting ---- */

static enum errc named_series(const struct alert *alert, const struct label *over, size_t n_over,
                              struct arena *a, struct series_value *out, double v)
{
    enum errc rc = labels_merge(alert->labels, (struct labels){ over, n_over }, a, &out->id.labels);

    if (rc == OK) {
        out->id.hash = labels_hash(out->id.labels);
        out->v = v;
    }
    return rc;
}

/* The time is in whole seconds, rounded down, as Prometheus writes it. */
enum errc alert_series_of(const struct alert *alert, struct arena *a,
                          struct series_value out[ALERT_SERIES], size_t *n)
{
    const struct label state[] = {
        { METRIC_NAME, STR("ALERTS") },
        { STR("alertstate"), str_from(alert_state_name(alert->state)) },
    };
    const struct label since[] = { { METRIC_NAME, STR("ALERTS_FOR_STATE") } };
    int64_t active_s = alert->active_at_ms / 1000 - (alert->active_at_ms % 1000 < 0);
    enum errc rc;

    *n = 0;
    if (alert->state == ALERT_INACTIVE)
        return OK;
    rc = named_series(alert, state, ARRAY_LEN(state), a, &out[0], 1);
    if (rc == OK)
        rc = named_series(alert, since, ARRAY_LEN(since), a, &out[1], (double)active_s);
    *n = ALERT_SERIES;
    return rc;
}

static enum errc write_alerts(struct round *r, struct group_rule *rule, struct err *err)
{
    const struct alert_set *set = &rule->alerts;
    struct series_value *values = ARENA_NEW(r->arena, struct series_value, set->n * ALERT_SERIES);
    size_t n = 0;

    if (!values)
        return out_of_memory(r, err);
    for (size_t i = 0; i < set->n; i++) {
        size_t n_series;

        if (alert_series_of(set->items[i], r->arena, values + n, &n_series) != OK)
            return out_of_memory(r, err);
        n += n_series;
    }
    return write_series(r, rule, values, n, err);
}

static enum errc take_alerts(struct round *r, struct group_rule *rule,
                             const struct rule_output *out, struct err *err)
{
    const struct alert_timing timing = {
        .t_ms = r->t_ms,
        .interval_ms = group_interval_ms(r->g),
        .for_ms = rule->def->for_ms,
        .keep_firing_for_ms = rule->def->keep_firing_for_ms,
        .limit = r->g->def->limit,
    };
    enum errc rc;

    pthread_mutex_lock(&r->g->lock);
    rc = alert_set_update(&rule->alerts, out->items, out->n, &timing, err);
    pthread_mutex_unlock(&r->g->lock);
    return rc == OK ? write_alerts(r, rule, err) : rc;
}

/* ---- one rule ---- */

static bool has_query(struct labels templates)
{
    for (size_t i = 0; i < templates.n; i++)
        if (templates.items[i].value.len
            && memmem(templates.items[i].value.ptr, templates.items[i].value.len, "query", 5))
            return true;
    return false;
}

/* Whether a rule may read a sample that waits in the writer. */
static bool reads_waiting(const struct round *r, const struct rule *def)
{
    if (r->writer->n == 0)
        return false;
    return rule_writer_feeds(r->writer, def->tree)
           || (def->kind == RULE_ALERTING
               && (has_query(def->labels) || has_query(def->annotations)));
}

static enum errc run_rule(struct round *r, struct group_rule *rule, struct err *err)
{
    const struct rule_context c = {
        .query = &r->env->query,
        .settings = r->g->settings,
        .t_ms = r->t_ms,
        .query_offset_ms = group_query_offset_ms(r->g),
        .arena = r->arena,
    };
    struct rule_output out = { 0 };
    enum errc rc = rule_eval(rule->def, &c, &out, err);

    if (rc == OK && is_cancelled(r)) /* templates may hold the words of that instead of theirs */
        rc = err_set(err, ERR_CANCELED, 0, "the evaluation was canceled");
    if (rc == OK && rule->def->kind == RULE_ALERTING)
        rc = take_alerts(r, rule, &out, err);
    else if (rc == OK)
        rc = take_records(r, rule, &out, err);
    pthread_mutex_lock(&r->g->lock);
    r->g->counters.expansions += out.expansions;
    r->g->counters.expansion_failures += out.expansion_failures;
    pthread_mutex_unlock(&r->g->lock);
    rule_output_free(&out);
    return rc;
}

static void evaluate_rule(struct round *r, struct group_rule *rule)
{
    int64_t start_ns = clock_mono_ns(r->env->clock);
    int64_t start_ms = clock_wall_ms(r->env->clock);
    struct err err = err_in(r->arena);
    enum errc rc;
    double seconds;

    if (reads_waiting(r, rule->def))
        flush(r);
    rc = run_rule(r, rule, &err);
    seconds = seconds_since(r, start_ns);
    if (rc != OK && is_cancelled(r))
        return;
    if (rc != OK)
        set_failed(r, rule, &err);
    else
        set_ok(r, rule);
    pthread_mutex_lock(&r->g->lock);
    rule->evaluated_ms = start_ms;
    rule->seconds = seconds;
    rule->evaluations++;
    r->g->counters.evaluations++;
    pthread_mutex_unlock(&r->g->lock);
    r->rule_seconds += seconds;
}

/* ---- after the rules ---- */

static uint64_t alert_id(const struct group *g, const struct group_rule *rule,
                         const struct alert *a)
{
    uint8_t bytes[24];

    store_u64be(bytes, g->key);
    store_u64be(bytes + 8, rule->key);
    store_u64be(bytes + 16, a->hash);
    return hash64(bytes, sizeof bytes);
}

/* Whose alerts are asked about. */
struct asking {
    const struct round *r;
    const struct group_rule *rule;
};

/* One that was read back may never have been sent: it is, in this round. */
static bool is_unheard(void *ctx, const struct alert *a)
{
    const struct asking *q = ctx;
    const struct alert_listener *l = q->r->env->listener;

    return a->sent_at_ms == 0 || l->is_pending(l->ctx, alert_id(q->r->g, q->rule, a));
}

static void expire(struct round *r)
{
    for (size_t i = 0; i < r->g->def->n_rules; i++) {
        struct group_rule *rule = &r->g->rules[i];
        struct asking q = { r, rule };

        pthread_mutex_lock(&r->g->lock);
        if (alert_set_expire(&rule->alerts, r->t_ms, r->env->listener ? is_unheard : NULL, &q)
            != OK)
            log_warn("no memory to forget resolved alerts", "rule=\"%.*s\"",
                     STR_ARG(rule->def->name));
        pthread_mutex_unlock(&r->g->lock);
    }
}

/* What could not be saved stays marked as changed, and is tried again with the next evaluation. */
static void save(struct round *r)
{
    struct alert_changes changes = { 0 };
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    size_t n = r->g->def->n_rules;

    for (size_t i = 0; i < n; i++)
        if (alert_set_changed(&r->g->rules[i].alerts))
            alert_changes_of(&changes, r->g->key, r->g->rules[i].key, &r->g->rules[i].alerts,
                             false);
    if (alert_changes_commit(&changes, r->env->db, &err) == OK)
        for (size_t i = 0; i < n; i++)
            alert_set_saved(&r->g->rules[i].alerts);
    else
        log_error("states of alerts not stored", "group=\"%.*s\" err=\"%s\"",
                  STR_ARG(r->g->def->name), err_text(&err));
    alert_changes_free(&changes);
    arena_free(arena);
}

/* As Go's url.QueryEscape does. */
static void add_query_escaped(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
            || (c && strchr("-_.~", c))) {
            buf_u8(b, c);
        } else if (c == ' ') {
            buf_u8(b, '+');
        } else {
            buf_u8(b, '%');
            buf_u8(b, (uint8_t)hex[c >> 4]);
            buf_u8(b, (uint8_t)hex[c & 15]);
        }
    }
}

/* The page that shows a rule's expression. */
static void add_generator_url(struct buf *b, const struct round *r, const struct rule *rule)
{
    struct str base = r->g->settings->external_url;

    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    buf_str(b, base);
    buf_text(b, "/graph?g0.expr=");
    add_query_escaped(b, rule->expr);
    buf_text(b, "&g0.tab=1");
}

/* A firing alert is to be believed until four chances to hear of it again have passed. */
static struct notification describe(const struct round *r, const struct group_rule *rule,
                                    const struct alert *a, struct str url)
{
    int64_t interval_ms = group_interval_ms(r->g), resend_ms = r->env->resend_delay_ms;
    bool resolved = a->state == ALERT_INACTIVE;

    return (struct notification){
        .id = alert_id(r->g, rule, a),
        .labels = a->labels,
        .annotations = a->annotations,
        .starts_ms = a->fired_at_ms,
        .ends_ms = resolved ? a->resolved_at_ms
                            : r->t_ms + 4 * (interval_ms > resend_ms ? interval_ms : resend_ms),
        .resolved = resolved,
        .generator_url = url,
    };
}

static void notify_of(struct round *r, struct group_rule *rule)
{
    struct notification *items = NULL;
    struct buf url = { 0 };
    size_t n = 0, cap = 0;

    for (size_t i = 0; i < rule->alerts.n; i++) {
        struct alert *a = rule->alerts.items[i];

        if (!alert_is_due(a, r->t_ms, r->env->resend_delay_ms)
            || !vec_reserve(&items, &cap, n + 1, sizeof *items))
            continue; /* without memory: it stays due */
        if (n == 0)
            add_generator_url(&url, r, rule->def);
        items[n++] = describe(r, rule, a, buf_as_str(&url));
        a->sent_at_ms = r->t_ms;
    }
    if (n > 0)
        r->env->listener->send(r->env->listener->ctx, items, n);
    free(items);
    buf_free(&url);
}

static void notify(struct round *r)
{
    if (r->env->listener)
        for (size_t i = 0; i < r->g->def->n_rules; i++)
            notify_of(r, &r->g->rules[i]);
}

/* ---- the whole ---- */

static void run_round(struct round *r)
{
    for (size_t i = 0; i < r->g->def->n_rules && !is_cancelled(r); i++) {
        evaluate_rule(r, &r->g->rules[i]);
        arena_reset(r->arena);
    }
    expire(r);
    save(r);
    flush(r);
    notify(r);
}

bool group_evaluate(struct group *g, const struct group_env *env, int64_t t_ms)
{
    struct round r = { .g = g, .env = env, .t_ms = t_ms };
    int64_t start_ns = clock_mono_ns(env->clock), start_ms = clock_wall_ms(env->clock);

    r.arena = arena_new(env->query.max_bytes);
    r.writer = rule_writer_new();
    if (r.arena && r.writer)
        run_round(&r);
    else
        log_error("no memory to evaluate a group", "group=\"%.*s\"", STR_ARG(g->def->name));
    rule_writer_free(r.writer);
    arena_free(r.arena);
    pthread_mutex_lock(&g->lock);
    g->counters.seconds = seconds_since(&r, start_ns);
    g->counters.rule_seconds = r.rule_seconds;
    g->counters.evaluated_ms = start_ms;
    g->counters.samples = r.samples;
    pthread_mutex_unlock(&g->lock);
    return !is_cancelled(&r);
}
