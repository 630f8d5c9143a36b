/* manager.c -- threads that evaluate groups when they are due, and the exchange of the groups under
 * them.
 *
 *   slots ── slot ── group    a slot stays as long as its group is in the rules; a load puts
 *                             another group into it
 *
 * Who works on a group claims its slot: a worker for an evaluation, a load for the exchange. So a
 * load waits for one evaluation at a time, and all other groups go on, some with the old rules and
 * some with the new.
 */
#include "alert/manager.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alert/alert_store.h"
#include "alert/ended.h"
#include "alert/group.h"
#include "alert/notifier.h"
#include "alert/schedule.h"
#include "base/arena.h"
#include "base/log.h"
#include "storage/db.h"

#include "base/banned.h"

enum { DEFAULT_THREADS = 4, MAX_WAIT_MS = 1000, NS_PER_MS = 1000000, MINUTE_MS = 60000 };

struct slot {
    struct group *group;
    int64_t next_ms; /* the slot time it is to be evaluated at next */
    bool claimed;    /* somebody works on it */
    bool fresh;      /* made by a load that has not ended: nobody else knows it */
    bool over;       /* its group is not in the rules any more */
};

/* What was loaded: it owns what groups borrow. */
struct loaded {
    struct rule_set *set;
    struct arena *arena;
    struct rule_settings settings;
};

struct rule_manager {
    struct rule_manager_options options;
    struct alert_listener listener;
    struct group_env env;
    pthread_t *threads;
    size_t n_threads;
    atomic_bool cancel; /* ends running queries */

    pthread_mutex_t load_lock; /* held by a load and by evaluate_at; guards these two: */
    bool restored;
    struct loaded *loaded;

    pthread_mutex_t lock;   /* guards what follows; taken after load_lock, before a group's */
    pthread_cond_t changed; /* slots, claims, stopping */
    struct slot **slots;    /* by file and name */
    size_t n_slots;
    struct ended *ended;
    struct steady_time steady;
    bool stopping;
};

/* ---- time ---- */

/* All groups begin anew when the wall clock has moved for good. */
static void move_slots(struct rule_manager *m, int64_t now_ms)
{
    for (size_t i = 0; i < m->n_slots; i++) {
        struct slot *s = m->slots[i];
        int64_t interval_ms = group_interval_ms(s->group);

        s->next_ms = slot_before(now_ms, interval_ms, slot_place(group_key(s->group), interval_ms))
                     + interval_ms;
    }
}

static int64_t now_ms(struct rule_manager *m)
{
    const struct clock *clock = m->options.clock;
    int64_t wall_ms = clock_wall_ms(clock), now;

    switch (steady_time_now(&m->steady, wall_ms, clock_mono_ns(clock), &now)) {
    case STEADY_RUNS:
        break;
    case STEADY_JUMPED:
        log_warn("the system's clock has jumped; rules go on as if it had not", "ms=%lld",
                 (long long)(wall_ms - now));
        break;
    case STEADY_RETURNED:
        log_info("the system's clock is back", "ms=%lld", (long long)now);
        break;
    case STEADY_MOVED:
        log_warn("the system's clock has not come back; rules follow it", "ms=%lld",
                 (long long)now);
        move_slots(m, now);
        break;
    }
    return now;
}

static int64_t first_slot(const struct group *g, int64_t t_ms)
{
    int64_t interval_ms = group_interval_ms(g);

    return slot_before(t_ms, interval_ms, slot_place(group_key(g), interval_ms)) + interval_ms;
}

/* Waits for a change, at most until the group that is due next. */
static void wait_until(struct rule_manager *m, int64_t wait_ms)
{
    struct timespec until;
    int64_t ns;

    if (wait_ms > MAX_WAIT_MS)
        wait_ms = MAX_WAIT_MS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns = until.tv_nsec + wait_ms * NS_PER_MS;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&m->changed, &m->lock, &until);
}

/* ---- series of rules that are gone ---- */

/* Takes those that are due, or all, off the list. The lock is held. */
static struct ended *take_ended(struct rule_manager *m, bool all)
{
    int64_t mono_ns = clock_mono_ns(m->options.clock);
    struct ended *due = NULL, **at = &m->ended;

    while (*at) {
        struct ended *e = *at;

        if (!all && e->due_ns > mono_ns) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->next = due;
        due = e;
    }
    return due;
}

/* The lock is held, but not while it works. */
static void mark_ended(struct rule_manager *m, struct ended *due)
{
    uint64_t *taken = NULL;
    size_t n = 0, cap = 0;
    bool ok = true;

    for (size_t i = 0; ok && i < m->n_slots; i++)
        ok = group_hashes(m->slots[i]->group, &taken, &n, &cap);
    pthread_mutex_unlock(&m->lock);
    if (ok)
        ended_mark(due, m->options.db, taken, n);
    else
        ended_drop(due);
    free(taken);
    pthread_mutex_lock(&m->lock);
}

static void add_ended(struct rule_manager *m, struct group *g, int64_t t_ms)
{
    int64_t due_ns = clock_mono_ns(m->options.clock) + 2 * group_interval_ms(g) * NS_PER_MS;
    struct ended *e = ended_new(g, t_ms, due_ns);

    if (!e)
        return;
    pthread_mutex_lock(&m->lock);
    e->next = m->ended;
    m->ended = e;
    pthread_mutex_unlock(&m->lock);
}

/* ---- workers ---- */

/* The unclaimed slot that is due first, or NULL. */
static struct slot *next_slot(const struct rule_manager *m)
{
    struct slot *first = NULL;

    for (size_t i = 0; i < m->n_slots; i++) {
        struct slot *s = m->slots[i];

        if (!s->claimed && (!first || s->next_ms < first->next_ms))
            first = s;
    }
    return first;
}

static void release(struct rule_manager *m, struct slot *s)
{
    s->claimed = false;
    pthread_cond_broadcast(&m->changed);
}

/* Evaluates at the newest slot; those before it were missed. The lock is held, but not while it
 * works. */
static void evaluate(struct rule_manager *m, struct slot *s, int64_t now)
{
    struct group *g = s->group;
    int64_t interval_ms = group_interval_ms(g);
    int64_t t_ms = slot_before(now, interval_ms, slot_place(group_key(g), interval_ms));
    uint64_t missed = (uint64_t)((t_ms - s->next_ms) / interval_ms);

    s->claimed = true;
    s->next_ms = t_ms + interval_ms;
    pthread_mutex_unlock(&m->lock);
    group_count(g, missed + 1, missed);
    group_evaluate(g, &m->env, t_ms);
    pthread_mutex_lock(&m->lock);
    release(m, s);
}

static void *work(void *ctx)
{
    struct rule_manager *m = ctx;

    pthread_mutex_lock(&m->lock);
    while (!m->stopping) {
        int64_t now = now_ms(m);
        struct slot *s = next_slot(m);
        struct ended *due = take_ended(m, false);

        if (due)
            mark_ended(m, due);
        else if (s && s->next_ms <= now)
            evaluate(m, s, now);
        else
            wait_until(m, s ? s->next_ms - now : MAX_WAIT_MS);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* Waits until nobody works on a slot, and claims it. */
static void claim(struct rule_manager *m, struct slot *s)
{
    pthread_mutex_lock(&m->lock);
    while (s->claimed)
        pthread_cond_wait(&m->changed, &m->lock);
    s->claimed = true;
    pthread_mutex_unlock(&m->lock);
}

void rule_manager_evaluate_at(struct rule_manager *m, int64_t t_ms)
{
    pthread_mutex_lock(&m->load_lock);
    for (size_t i = 0; i < m->n_slots; i++) {
        struct slot *s = m->slots[i];

        claim(m, s);
        group_count(s->group, 1, 0);
        group_evaluate(s->group, &m->env, t_ms);
        pthread_mutex_lock(&m->lock);
        release(m, s);
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_lock(&m->lock);
    mark_ended(m, take_ended(m, true));
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_unlock(&m->load_lock);
}

/* ---- a manager's life ---- */

static void send(void *ctx, const struct notification *items, size_t n)
{
    notifier_send(ctx, items, n);
}

static bool is_pending(void *ctx, uint64_t id)
{
    return notifier_pending(ctx, id);
}

struct rule_manager_options rule_manager_options_default(struct db *db)
{
    return (struct rule_manager_options){
        .db = db,
        .query = query_options_default(db),
        .n_threads = DEFAULT_THREADS,
        .resend_delay_ms = MINUTE_MS,
        .restore_grace_ms = 2 * MINUTE_MS,
    };
}

static void init(struct rule_manager *m, const struct rule_manager_options *options)
{
    pthread_condattr_t monotonic;

    m->options = *options;
    if (!m->options.clock)
        m->options.clock = &clock_system;
    m->listener = (struct alert_listener){ send, is_pending, options->notifier };
    m->env = (struct group_env){
        .db = options->db,
        .query = options->query,
        .listener = options->notifier ? &m->listener : NULL,
        .clock = m->options.clock,
        .resend_delay_ms = options->resend_delay_ms,
    };
    m->env.query.cancel = &m->cancel;
    m->steady = steady_time_start(clock_wall_ms(m->options.clock), clock_mono_ns(m->options.clock));
    pthread_mutex_init(&m->load_lock, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum errc rule_manager_new(const struct rule_manager_options *options, struct rule_manager **out,
                           struct err *err)
{
    struct rule_manager *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(err, ERR_NOMEM, 0, "no memory for the rules");
    init(m, options);
    m->threads = calloc(options->n_threads + 1, sizeof *m->threads);
    while (m->threads && m->n_threads < options->n_threads
           && pthread_create(&m->threads[m->n_threads], NULL, work, m) == 0)
        m->n_threads++;
    if (!m->threads || m->n_threads < options->n_threads) {
        rule_manager_free(m);
        return err_set(err, ERR_NOMEM, 0, "no threads for the rules");
    }
    *out = m;
    return OK;
}

static void loaded_free(struct loaded *l)
{
    if (!l)
        return;
    rule_set_free(l->set);
    arena_free(l->arena);
    free(l);
}

static void slot_free(struct slot *s)
{
    if (s)
        group_free(s->group);
    free(s);
}

void rule_manager_free(struct rule_manager *m)
{
    if (!m)
        return;
    atomic_store(&m->cancel, true);
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < m->n_threads; i++)
        pthread_join(m->threads[i], NULL);
    pthread_mutex_lock(&m->lock);
    mark_ended(m, take_ended(m, true));
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < m->n_slots; i++)
        slot_free(m->slots[i]);
    free(m->slots);
    free(m->threads);
    loaded_free(m->loaded);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->load_lock);
    free(m);
}

/* ---- loading: what is made before anything changes ---- */

static bool copy_settings(struct loaded *l, const struct rule_settings *s)
{
    l->settings = *s;
    l->settings.external_labels = labels_copy(l->arena, s->external_labels);
    l->settings.external_url = str_copy(l->arena, s->external_url);
    return l->settings.external_url.ptr
           && (s->external_labels.n == 0 || l->settings.external_labels.items);
}

/* Takes over set. NULL when out of memory. */
static struct loaded *loaded_new(struct rule_set *set, const struct rule_settings *settings)
{
    struct loaded *l = calloc(1, sizeof *l);

    if (!l) {
        rule_set_free(set);
        return NULL;
    }
    l->set = set;
    l->arena = arena_new(0);
    if (!l->arena || !copy_settings(l, settings)) {
        loaded_free(l);
        return NULL;
    }
    return l;
}

static int compare_defs(const void *pa, const void *pb)
{
    const struct rule_group *a = pa, *b = pb;
    int order = str_cmp(a->file, b->file);

    return order ? order : str_cmp(a->name, b->name);
}

/* The slots of a set, not yet at work. */
struct fresh_slots {
    struct slot **items;
    size_t n;
};

static void fresh_free(struct fresh_slots *f)
{
    for (size_t i = 0; f->items && i < f->n; i++)
        slot_free(f->items[i]);
    free(f->items);
}

static bool fresh_new(struct loaded *l, struct fresh_slots *out)
{
    *out = (struct fresh_slots){ .items = calloc(l->set->n_groups + 1, sizeof *out->items) };
    if (!out->items)
        return false;
    if (l->set->n_groups > 1)
        qsort(l->set->groups, l->set->n_groups, sizeof *l->set->groups, compare_defs);
    for (; out->n < l->set->n_groups; out->n++) {
        struct slot *s = calloc(1, sizeof *s);

        out->items[out->n] = s;
        if (s)
            s->fresh = true;
        if (s)
            s->group = group_new(&l->set->groups[out->n], &l->settings);
        if (!s || !s->group) {
            out->n++;
            fresh_free(out);
            return false;
        }
    }
    return true;
}

/* ---- loading: the first time ---- */

/* Alerts that belong to no rule any more: a marker for their series, as of now. */
static enum errc end_orphan(struct rule_writer *w, const struct stored_alert *s, int64_t t_ms,
                            struct arena *a)
{
    struct series_value series[ALERT_SERIES];
    size_t n;
    enum errc rc = alert_series_of(&s->alert, a, series, &n);

    for (size_t i = 0; rc == OK && i < n; i++)
        rc = rule_writer_add(w, series[i].id.labels, (struct sample){ t_ms, stale_nan() });
    return rc;
}

static enum errc drop_orphans(struct rule_manager *m, const struct stored_alert *stored, size_t n,
                              struct arena *a, struct err *err)
{
    struct rule_writer *w = rule_writer_new();
    struct alert_changes changes = { 0 };
    int64_t t_ms = clock_wall_ms(m->options.clock);
    enum errc rc = w ? OK : err_set(err, ERR_NOMEM, 0, "no memory for the states of alerts");

    for (size_t i = 0; rc == OK && i < n; i++)
        if (!stored[i].taken) {
            rc = end_orphan(w, &stored[i], t_ms, a);
            alert_changes_delete(&changes, &stored[i].key);
        }
    if (rc == OK)
        rc = rule_writer_flush(w, m->options.db, err);
    if (rc == OK)
        rc = alert_changes_commit(&changes, m->options.db, err);
    alert_changes_free(&changes);
    rule_writer_free(w);
    return rc;
}

/* Reads back the states of alerts for groups that have none yet. */
static enum errc restore(struct rule_manager *m, struct fresh_slots *fresh, struct err *err)
{
    int64_t now = clock_wall_ms(m->options.clock);
    struct arena *a = arena_new(0);
    struct stored_alert *stored = NULL;
    size_t n = 0;
    enum errc rc = a ? alert_store_read(m->options.db, a, &stored, &n, err)
                     : err_set(err, ERR_NOMEM, 0, "no memory for the states of alerts");

    for (size_t i = 0; rc == OK && i < fresh->n; i++)
        rc = group_restore(fresh->items[i]->group, &m->env, stored, n,
                           now + m->options.restore_grace_ms, err);
    if (rc == OK)
        rc = drop_orphans(m, stored, n, a, err);
    if (rc == OK && n > 0)
        log_info("states of alerts restored", "alerts=%zu", n);
    arena_free(a);
    return rc;
}

/* ---- loading: the exchange ---- */

/* Looks from *place on, and leaves it behind what it found: both lists have the same order. */
static struct slot **find_fresh(const struct fresh_slots *fresh, const struct group *g,
                                size_t *place)
{
    for (size_t i = 0; i < fresh->n; i++) {
        size_t at = (*place + i) % fresh->n;
        struct slot *s = fresh->items[at];

        if (!s->fresh || group_key(s->group) != group_key(g))
            continue;
        *place = at + 1;
        return &fresh->items[at];
    }
    return NULL;
}

/* Frees a slot, after its group has given back what was stored and written for its rules. */
static void bury(struct rule_manager *m, struct slot *s, struct alert_changes *changes,
                 int64_t t_ms)
{
    group_forget(s->group, changes);
    add_ended(m, s->group, t_ms);
    slot_free(s);
}

/* Puts the group of *fresh into a claimed slot, which then stands in its place. */
static void exchange(struct rule_manager *m, struct slot *s, struct slot **fresh,
                     struct alert_changes *changes, int64_t t_ms)
{
    struct slot *made = *fresh;
    struct group *old = s->group;

    pthread_mutex_lock(&m->lock);
    group_adopt(made->group, old);
    s->group = made->group;
    if (group_interval_ms(s->group) != group_interval_ms(old))
        s->next_ms = first_slot(s->group, t_ms);
    release(m, s);
    pthread_mutex_unlock(&m->lock);
    made->group = old;
    bury(m, made, changes, t_ms);
    *fresh = s;
}

/* Exchanges group by group; then fresh->items are the slots. */
static void exchange_all(struct rule_manager *m, struct fresh_slots *fresh,
                         struct alert_changes *changes, int64_t t_ms)
{
    struct slot **before = m->slots;
    size_t n_before = m->n_slots, place = 0;

    for (size_t i = 0; i < n_before; i++) {
        struct slot **at = find_fresh(fresh, before[i]->group, &place);

        claim(m, before[i]);
        if (at)
            exchange(m, before[i], at, changes, t_ms);
        else
            before[i]->over = true;
    }
    pthread_mutex_lock(&m->lock);
    m->slots = fresh->items;
    m->n_slots = fresh->n;
    for (size_t i = 0; i < m->n_slots; i++)
        if (m->slots[i]->fresh) {
            m->slots[i]->fresh = false;
            m->slots[i]->next_ms = first_slot(m->slots[i]->group, t_ms);
        }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < n_before; i++)
        if (before[i]->over)
            bury(m, before[i], changes, t_ms);
    free(before);
}

static void forget(struct rule_manager *m, const struct alert_changes *changes)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    if (alert_changes_commit(changes, m->options.db, &err) != OK)
        log_error("states of alerts of removed rules are still stored", "err=\"%s\"",
                  err_text(&err));
    arena_free(a);
}

static enum errc load(struct rule_manager *m, struct loaded *l, struct err *err)
{
    struct alert_changes changes = { 0 };
    struct loaded *before = m->loaded;
    struct fresh_slots fresh;
    int64_t t_ms;
    enum errc rc = OK;

    if (!fresh_new(l, &fresh))
        return err_set(err, ERR_NOMEM, 0, "no memory for the rules");
    if (!m->restored)
        rc = restore(m, &fresh, err);
    if (rc != OK) {
        fresh_free(&fresh);
        return rc;
    }
    m->restored = true;
    pthread_mutex_lock(&m->lock);
    t_ms = now_ms(m);
    pthread_mutex_unlock(&m->lock);
    exchange_all(m, &fresh, &changes, t_ms);
    m->loaded = l;
    loaded_free(before);
    forget(m, &changes);
    alert_changes_free(&changes);
    return OK;
}

enum errc rule_manager_load(struct rule_manager *m, struct rule_set *set,
                            const struct rule_settings *settings, struct err *err)
{
    struct loaded *l = loaded_new(set, settings);
    enum errc rc;

    if (!l)
        return err_set(err, ERR_NOMEM, 0, "no memory for the rules");
    pthread_mutex_lock(&m->load_lock);
    rc = load(m, l, err);
    pthread_mutex_unlock(&m->load_lock);
    if (rc != OK)
        loaded_free(l);
    return rc;
}

/* ---- looking at it ---- */

enum errc rule_manager_status(struct rule_manager *m, struct arena *a, struct group_status **out,
                              size_t *n, struct err *err)
{
    enum errc rc = OK;

    *n = 0;
    pthread_mutex_lock(&m->lock);
    *out = ARENA_NEW(a, struct group_status, m->n_slots);
    if (!*out)
        rc = ERR_LIMIT;
    for (size_t i = 0; rc == OK && i < m->n_slots; i++)
        rc = group_status(m->slots[i]->group, a, &(*out)[(*n)++]);
    pthread_mutex_unlock(&m->lock);
    return rc == OK ? OK
                    : err_set(err, rc, 0, "the rules need more than %zu bytes", arena_limit(a));
}
