/* notifier.c -- the list of senders, one for each Alertmanager, and changing it while they run.
 *
 * A reload first makes everything that can fail, starts the new senders, and then swaps. An alert is
 * written once, and its message shared by all queues.
 */
#include "alert/notifier.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "alert/notifier_private.h"
#include "alert/notify_message.h"
#include "alert/notify_sender.h"
#include "base/arena.h"
#include "base/log.h"

#include "base/banned.h"

enum { DEFAULT_MAX_QUEUED = 10000 };

/* What one reload leads to. */
struct plan {
    struct notify_sender **senders;
    struct notify_target **targets; /* for the sender at the same place; NULL: it has its own */
    bool *is_new;
    size_t n;
    struct labels external_labels;
    struct arena *arena; /* holds all of the above but what the pointers point to */
};

struct notifier {
    struct notify_env env;
    pthread_mutex_t reload_lock; /* one reload at a time; taken before env.lock */

    /* changed with both locks, read with one */
    struct notify_sender **senders;
    size_t n_senders;
    struct labels external_labels;
    struct arena *arena; /* of the above */
};

struct notifier_options notifier_options_default(void)
{
    return (struct notifier_options){ .max_queued = DEFAULT_MAX_QUEUED };
}

/* ---- changing the senders ---- */

static struct notify_sender *find_sender(struct notify_sender *const *senders, size_t n,
                                         const char *url)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(notify_sender_url(senders[i]), url) == 0)
            return senders[i];
    return NULL;
}

static bool plan_init(struct plan *p, const struct notifier_options *o)
{
    size_t n = o->n_alertmanagers;

    *p = (struct plan){ .arena = arena_new(0) };
    if (!p->arena)
        return false;
    p->senders = ARENA_NEW(p->arena, struct notify_sender *, n);
    p->targets = ARENA_NEW(p->arena, struct notify_target *, n);
    p->is_new = ARENA_NEW(p->arena, bool, n);
    p->external_labels = labels_copy(p->arena, o->external_labels);
    return p->senders && p->targets && p->is_new
           && (p->external_labels.items || o->external_labels.n == 0);
}

/* Takes back a plan that is not carried out. */
static void plan_undo(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        notify_target_free(p->targets[i]);
        if (p->is_new[i])
            notify_sender_stop(p->senders[i]);
    }
    arena_free(p->arena);
}

/* Adds an Alertmanager with the sender it has, or a new one. */
static enum errc plan_add(struct plan *p, struct notifier *n, const struct alertmanager *am,
                          size_t max_queued, struct err *err)
{
    struct notify_target *target;
    struct notify_sender *known;
    enum errc rc = notify_target_new(am, &target, err);

    if (rc)
        return rc;
    if (find_sender(p->senders, p->n, target->url)) {
        notify_target_free(target);
        return OK;
    }
    known = find_sender(n->senders, n->n_senders, target->url);
    if (known) {
        p->senders[p->n] = known;
        p->targets[p->n] = target;
    } else {
        rc = notify_sender_start(&n->env, target, max_queued, &p->senders[p->n], err);
        if (rc) {
            notify_target_free(target);
            return rc;
        }
        p->is_new[p->n] = true;
    }
    p->n++;
    return OK;
}

/* Puts the plan into force; *p becomes what there was before. Senders that stay are in both. */
static void plan_swap(struct plan *p, struct notifier *n, size_t max_queued)
{
    struct plan old = { .senders = n->senders, .n = n->n_senders, .arena = n->arena };

    pthread_mutex_lock(&n->env.lock);
    n->senders = p->senders;
    n->n_senders = p->n;
    n->external_labels = p->external_labels;
    n->arena = p->arena;
    for (size_t i = 0; i < p->n; i++)
        if (p->targets[i])
            notify_sender_set(p->senders[i], p->targets[i], max_queued);
    pthread_mutex_unlock(&n->env.lock);
    *p = old;
}

enum errc notifier_reload(struct notifier *n, const struct notifier_options *options,
                          struct err *err)
{
    size_t max_queued = options->max_queued ? options->max_queued : DEFAULT_MAX_QUEUED;
    enum errc rc = OK;
    struct plan p;

    pthread_mutex_lock(&n->reload_lock);
    if (!plan_init(&p, options))
        rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    for (size_t i = 0; !rc && i < options->n_alertmanagers; i++)
        rc = plan_add(&p, n, &options->alertmanagers[i], max_queued, err);
    if (rc) {
        plan_undo(&p);
    } else {
        plan_swap(&p, n, max_queued);
        for (size_t i = 0; i < p.n; i++)
            if (!find_sender(n->senders, n->n_senders, notify_sender_url(p.senders[i])))
                notify_sender_stop(p.senders[i]);
        arena_free(p.arena);
    }
    pthread_mutex_unlock(&n->reload_lock);
    return rc;
}

/* ---- starting and stopping ---- */

static void env_init(struct notify_env *env, const struct notifier_options *options,
                     const struct notify_tuning *tuning)
{
    pthread_condattr_t monotonic;

    env->clock = options->clock ? options->clock : &clock_system;
    env->tuning = *tuning;
    pthread_mutex_init(&env->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&env->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum errc notifier_new_tuned(const struct notifier_options *options,
                             const struct notify_tuning *tuning, struct notifier **out,
                             struct err *err)
{
    struct notifier *n = calloc(1, sizeof *n);
    enum errc rc;

    if (!n)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    env_init(&n->env, options, tuning);
    pthread_mutex_init(&n->reload_lock, NULL);
    rc = notifier_reload(n, options, err);
    if (rc) {
        notifier_free(n, 0);
        return rc;
    }
    *out = n;
    return OK;
}

enum errc notifier_new(const struct notifier_options *options, struct notifier **out,
                       struct err *err)
{
    return notifier_new_tuned(options, &notify_tuning_default, out, err);
}

static bool all_have_ended(const struct notifier *n)
{
    for (size_t i = 0; i < n->n_senders; i++)
        if (!notify_sender_has_ended(n->senders[i]))
            return false;
    return true;
}

/* The caller holds the lock. */
static void drain(struct notifier *n, int64_t grace_ms)
{
    int64_t end_ns = clock_mono_ns(&clock_system) + grace_ms * 1000000;
    struct timespec end = { .tv_sec = end_ns / 1000000000, .tv_nsec = end_ns % 1000000000 };

    for (size_t i = 0; i < n->n_senders; i++)
        notify_sender_drain(n->senders[i]);
    while (!all_have_ended(n))
        if (pthread_cond_timedwait(&n->env.ended, &n->env.lock, &end) == ETIMEDOUT)
            return;
}

void notifier_free(struct notifier *n, int64_t grace_ms)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->env.lock);
    if (grace_ms > 0)
        drain(n, grace_ms);
    pthread_mutex_unlock(&n->env.lock);
    for (size_t i = 0; i < n->n_senders; i++)
        notify_sender_stop(n->senders[i]);
    arena_free(n->arena);
    pthread_cond_destroy(&n->env.ended);
    pthread_mutex_destroy(&n->env.lock);
    pthread_mutex_destroy(&n->reload_lock);
    free(n);
}

/* ---- using it ---- */

static void queue_one(struct notifier *n, const struct notification *item, int64_t now_ms)
{
    struct notify_message *m = notify_message_new(item, n->external_labels, now_ms);

    for (size_t i = 0; i < n->n_senders; i++)
        notify_sender_put(n->senders[i], m);
    if (m)
        notify_message_release(m);
}

static uint64_t count_dropped(const struct notifier *n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n->n_senders; i++)
        sum += notify_sender_status(n->senders[i]).dropped;
    return sum;
}

void notifier_send(struct notifier *n, const struct notification *items, size_t count)
{
    int64_t now_ms = clock_wall_ms(n->env.clock);
    uint64_t n_dropped;

    pthread_mutex_lock(&n->env.lock);
    n_dropped = count_dropped(n);
    if (n->n_senders > 0)
        for (size_t i = 0; i < count; i++)
            queue_one(n, &items[i], now_ms);
    for (size_t i = 0; i < n->n_senders; i++)
        notify_sender_wake(n->senders[i]);
    n_dropped = count_dropped(n) - n_dropped;
    pthread_mutex_unlock(&n->env.lock);
    if (n_dropped > 0)
        log_warn("too many alerts wait for Alertmanager, the oldest are dropped", "count=%ju",
                 (uintmax_t)n_dropped);
}

bool notifier_pending(struct notifier *n, uint64_t id)
{
    bool found = false;

    pthread_mutex_lock(&n->env.lock);
    for (size_t i = 0; i < n->n_senders && !found; i++)
        found = notify_sender_has(n->senders[i], id);
    pthread_mutex_unlock(&n->env.lock);
    return found;
}

enum errc notifier_status(struct notifier *n, struct arena *a, struct alertmanager_status **out,
                          size_t *count, struct err *err)
{
    struct alertmanager_status *all;
    bool ok;

    pthread_mutex_lock(&n->env.lock);
    *count = n->n_senders;
    all = ARENA_NEW(a, struct alertmanager_status, n->n_senders);
    ok = all;
    for (size_t i = 0; ok && i < n->n_senders; i++) {
        all[i] = notify_sender_status(n->senders[i]);
        all[i].url = str_copy(a, all[i].url);
        ok = all[i].url.ptr;
    }
    pthread_mutex_unlock(&n->env.lock);
    if (!ok)
        return err_set(err, ERR_LIMIT, 0, "no room for the status of %zu Alertmanagers", *count);
    *out = all;
    return OK;
}
