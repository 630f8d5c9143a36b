#include "alert/notify_sender.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "alert/notify_message.h"
#include "alert/notify_queue.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/http_client.h"
#include "base/log.h"

#include "base/banned.h"

const struct notify_tuning notify_tuning_default = {
    .min_pause_ms = 1000,
    .max_pause_ms = 30000,
    .max_retry_after_ms = 300000,
    .max_batch = 256,
};

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    MAX_SHOWN_BYTES = 300, /* of a label set or an answer, in a log line */
    ERR_ARENA_BYTES = 16 << 10,
};

struct notify_sender {
    struct notify_env *env;
    char *url; /* a copy: the thread reads it without the lock */
    pthread_t thread;
    atomic_bool stop; /* ends a running request, too */

    /* guarded by env->lock */
    pthread_cond_t wake;
    struct notify_target *target;
    bool has_new_target;
    bool draining, ended;
    bool try_now; /* whatever becomes of the batch that is on its way */
    struct notify_queue *queue;
    int64_t next_try_ns;
    uint64_t n_sent, n_errors, n_dropped, n_requests;
    double latency_seconds;

    /* the thread's own */
    struct http_client *client; /* NULL: to be made */
    unsigned n_failures;        /* in a row */
    uint64_t random_seed;
    struct notify_message **taken; /* room for a batch */
    bool *done;
    struct buf body, answer;
    struct arena *err_arena;
};

/* What sending a batch has come to. */
struct delivery {
    struct notify_sender *s;
    size_t n_sent, n_errors, n_refused, n_requests;
    double latency_seconds;
    int64_t retry_after_s;
    char *refusal; /* of the first alert refused, for the log; in the sender's err_arena */
};

int64_t notify_pause_ms(const struct notify_tuning *t, unsigned n_failures, int64_t retry_after_s,
                        uint64_t random)
{
    int64_t pause_ms = t->min_pause_ms, asked_ms;

    ASSERT(n_failures > 0 && retry_after_s >= 0);
    for (unsigned i = 1; i < n_failures && pause_ms < t->max_pause_ms; i++)
        pause_ms *= 2;
    if (pause_ms > t->max_pause_ms)
        pause_ms = t->max_pause_ms;
    pause_ms -= (int64_t)(random % ((uint64_t)pause_ms / 4 + 1));
    if (retry_after_s > t->max_retry_after_ms / 1000)
        asked_ms = t->max_retry_after_ms;
    else
        asked_ms = retry_after_s * 1000;
    return asked_ms > pause_ms ? asked_ms : pause_ms;
}

/* ---- targets ---- */

static enum errc check_settings(const struct alertmanager *am, struct err *err)
{
    enum errc rc = http_url_check(am->url, err);

    if (rc)
        return rc;
    if (memchr(am->url.ptr, '?', am->url.len))
        return err_set(err, ERR_BAD_CONFIG, 0, "%.*s: the URL of an Alertmanager has no query",
                       (int)((const char *)memchr(am->url.ptr, '?', am->url.len) - am->url.ptr),
                       am->url.ptr);
    if (am->timeout_ms < 0)
        return err_set(err, ERR_BAD_CONFIG, 0, "%.*s: the timeout must not be negative",
                       STR_ARG(am->url));
    return http_authorization_check(am->authorization, err);
}

static bool copy_settings(struct notify_target *t, const struct alertmanager *am)
{
    struct str base = am->url;

    while (str_ends_with(base, STR("/")))
        base.len--;
    t->url = arena_printf(t->arena, "%.*s/api/v2/alerts", STR_ARG(base));
    t->settings = (struct alertmanager){
        .url = str_from(t->url),
        .timeout_ms = am->timeout_ms ? am->timeout_ms : DEFAULT_TIMEOUT_MS,
        .user = str_copy(t->arena, am->user),
        .password = str_copy(t->arena, am->password),
        .authorization = str_copy(t->arena, am->authorization),
    };
    return t->url && t->settings.user.ptr && t->settings.password.ptr
           && t->settings.authorization.ptr;
}

enum errc notify_target_new(const struct alertmanager *settings, struct notify_target **out,
                            struct err *err)
{
    struct notify_target *t;
    enum errc rc = check_settings(settings, err);

    if (rc)
        return rc;
    t = calloc(1, sizeof *t);
    if (!t || !(t->arena = arena_new(0)) || !copy_settings(t, settings)) {
        notify_target_free(t);
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    }
    *out = t;
    return OK;
}

void notify_target_free(struct notify_target *t)
{
    if (!t)
        return;
    arena_free(t->arena);
    free(t);
}

/* ---- sending a batch ---- */

/* Whether an answer is about the alerts, and will be the same next time. */
static bool is_refusal(int status)
{
    return status == 400 || status == 413 || status == 422;
}

static bool write_body(struct notify_sender *s, size_t first, size_t n)
{
    int64_t now_ms = clock_wall_ms(s->env->clock);

    buf_clear(&s->body);
    buf_u8(&s->body, '[');
    for (size_t i = first; i < first + n; i++) {
        if (i > first)
            buf_u8(&s->body, ',');
        notify_message_print(&s->body, s->taken[i], now_ms);
    }
    buf_u8(&s->body, ']');
    return !s->body.failed;
}

/* A text of outside, shortened and quoted; in the arena for errors. */
static const char *shown(struct notify_sender *s, struct str text)
{
    struct buf b = { 0 };
    char *copy;

    if (text.len > MAX_SHOWN_BYTES)
        text.len = MAX_SHOWN_BYTES;
    print_quoted(&b, text);
    copy = b.failed ? NULL : arena_strndup(s->err_arena, (char *)b.ptr, b.len);
    buf_free(&b);
    return copy ? copy : "\"\"";
}

static void refuse(struct delivery *d, size_t i, int status)
{
    struct notify_sender *s = d->s;

    s->done[i] = true;
    if (d->n_refused++ == 0)
        d->refusal = arena_printf(s->err_arena, "status=%d answer=%s first=%s", status,
                                  shown(s, buf_as_str(&s->answer)),
                                  shown(s, notify_message_labels(s->taken[i])));
}

/* One request with n messages from first on. */
static enum errc post(struct delivery *d, size_t first, size_t n, int *status, struct err *err)
{
    struct notify_sender *s = d->s;
    int64_t start_ns;
    enum errc rc;

    d->retry_after_s = 0;
    if (!s->client || !write_body(s, first, n))
        return err_set(err, ERR_NOMEM, 0, "%s: out of memory", s->url);
    start_ns = clock_mono_ns(&clock_system);
    rc = http_client_post(s->client, s->url, "application/json", buf_as_bytes(&s->body), status,
                          &d->retry_after_s, &s->answer, err);
    d->latency_seconds += (double)(clock_mono_ns(&clock_system) - start_ns) / 1e9;
    d->n_requests++;
    return rc;
}

/* Tells of n messages from first on, halving them as long as they are refused. An error ends it:
 * those that are not done have to be sent again. */
static enum errc tell(struct delivery *d, size_t first, size_t n, struct err *err)
{
    int status = 0;
    enum errc rc = post(d, first, n, &status, err);

    if (!rc && status / 100 == 2) {
        memset(d->s->done + first, true, n);
        d->n_sent += n;
        return OK;
    }
    d->n_errors += rc == ERR_CANCELED ? 0 : n;
    if (rc)
        return rc;
    if (!is_refusal(status))
        return err_set(err, ERR_UNAVAILABLE, 0, "%s: answered %d %s", d->s->url, status,
                       shown(d->s, buf_as_str(&d->s->answer)));
    if (n == 1) {
        refuse(d, first, status);
        return OK;
    }
    rc = tell(d, first, n / 2, err);
    return rc ? rc : tell(d, first + n / 2, n - n / 2, err);
}

/* ---- the thread ---- */

/* The caller holds the lock. */
static void wait_until(struct notify_sender *s, int64_t end_ns)
{
    struct timespec end = { .tv_sec = end_ns / 1000000000, .tv_nsec = end_ns % 1000000000 };

    pthread_cond_timedwait(&s->wake, &s->env->lock, &end);
}

/* Waits until there is something to send and the time to do it; false: the thread has to end. The
 * caller holds the lock. */
static bool wait_for_work(struct notify_sender *s)
{
    while (!atomic_load(&s->stop)) {
        if (notify_queue_length(s->queue) > 0) {
            if (s->try_now || clock_mono_ns(&clock_system) >= s->next_try_ns)
                return true;
            wait_until(s, s->next_try_ns);
        } else {
            if (s->draining)
                return false;
            pthread_cond_wait(&s->wake, &s->env->lock);
        }
    }
    return false;
}

/* The caller holds the lock. */
static void use_target(struct notify_sender *s)
{
    struct http_client_options options = http_client_options_default();

    if (s->has_new_target) {
        http_client_free(s->client);
        s->client = NULL;
        s->has_new_target = false;
    }
    if (s->client)
        return;
    options.timeout_ms = s->target->settings.timeout_ms;
    options.user = s->target->settings.user;
    options.password = s->target->settings.password;
    options.authorization = s->target->settings.authorization;
    options.cancel = &s->stop;
    s->client = http_client_new(&options); /* without memory: the next try makes it */
}

/* Says what became of a batch, and how long to wait before the next one. */
static int64_t judge(struct notify_sender *s, const struct delivery *d, enum errc rc,
                     const struct err *err)
{
    int64_t pause_ms = 0;

    if (d->n_refused > 0)
        log_warn("alerts refused by Alertmanager are dropped", "url=%s count=%zu %s", s->url,
                 d->n_refused, d->refusal ? d->refusal : "");
    if (rc == ERR_CANCELED)
        return 0;
    if (rc) {
        uint64_t random = hash64(&s->random_seed, sizeof s->random_seed);

        s->random_seed++;
        pause_ms = notify_pause_ms(&s->env->tuning, ++s->n_failures, d->retry_after_s, random);
        log_warn("Alertmanager cannot be told", "error=%s retry_in=%.3gs",
                 shown(s, str_from(err_text(err))), (double)pause_ms / 1000);
    } else if (s->n_failures > 0) {
        s->n_failures = 0;
        log_info("Alertmanager can be told again", "url=%s", s->url);
    }
    return pause_ms;
}

/* The caller holds the lock. */
static void settle(struct notify_sender *s, const struct delivery *d, size_t n)
{
    s->n_dropped += d->n_refused + notify_queue_settle(s->queue, s->taken, s->done, n);
    s->n_sent += d->n_sent;
    s->n_errors += d->n_errors;
    s->n_requests += d->n_requests;
    s->latency_seconds += d->latency_seconds;
}

static void *sender_thread(void *arg)
{
    struct notify_sender *s = arg;
    pthread_mutex_t *lock = &s->env->lock;

    pthread_mutex_lock(lock);
    while (wait_for_work(s)) {
        size_t n = notify_queue_take(s->queue, s->taken, s->env->tuning.max_batch);
        struct delivery d = { .s = s };
        struct err err = err_in(s->err_arena);
        int64_t pause_ms;
        enum errc rc;

        use_target(s);
        s->try_now = false;
        pthread_mutex_unlock(lock);
        memset(s->done, false, n);
        rc = tell(&d, 0, n, &err);
        pause_ms = judge(s, &d, rc, &err);
        arena_reset(s->err_arena);
        pthread_mutex_lock(lock);
        settle(s, &d, n);
        s->next_try_ns = clock_mono_ns(&clock_system) + pause_ms * 1000000;
    }
    s->ended = true;
    pthread_cond_broadcast(&s->env->ended);
    pthread_mutex_unlock(lock);
    return NULL;
}

/* ---- starting, stopping, and what others see ---- */

static void sender_free(struct notify_sender *s)
{
    pthread_cond_destroy(&s->wake);
    notify_target_free(s->target);
    notify_queue_free(s->queue);
    http_client_free(s->client);
    arena_free(s->err_arena);
    buf_free(&s->body);
    buf_free(&s->answer);
    free(s->taken);
    free(s->done);
    free(s->url);
    free(s);
}

static void init_wake(struct notify_sender *s)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum errc notify_sender_start(struct notify_env *env, struct notify_target *target,
                              size_t max_queued, struct notify_sender **out, struct err *err)
{
    struct notify_sender *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    init_wake(s);
    s->env = env;
    s->random_seed = (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)(uintptr_t)s;
    s->url = strdup(target->url);
    s->taken = calloc(env->tuning.max_batch, sizeof *s->taken);
    s->done = calloc(env->tuning.max_batch, sizeof *s->done);
    s->queue = notify_queue_new(max_queued);
    s->err_arena = arena_new(ERR_ARENA_BYTES);
    s->target = target;
    if (!s->url || !s->taken || !s->done || !s->queue || !s->err_arena
        || pthread_create(&s->thread, NULL, sender_thread, s) != 0) {
        s->target = NULL; /* still the caller's */
        sender_free(s);
        return err_set(err, ERR_NOMEM, 0, "no memory or thread to notify %s", target->url);
    }
    *out = s;
    return OK;
}

const char *notify_sender_url(const struct notify_sender *s)
{
    return s->url;
}

void notify_sender_set(struct notify_sender *s, struct notify_target *target, size_t max_queued)
{
    notify_target_free(s->target);
    s->target = target;
    s->has_new_target = true;
    s->try_now = true;
    notify_queue_set_max(s->queue, max_queued);
    notify_sender_wake(s);
}

void notify_sender_put(struct notify_sender *s, struct notify_message *m)
{
    s->n_dropped += m ? notify_queue_put(s->queue, m) : 1;
}

void notify_sender_wake(struct notify_sender *s)
{
    pthread_cond_signal(&s->wake);
}

bool notify_sender_has(const struct notify_sender *s, uint64_t id)
{
    return notify_queue_has(s->queue, id);
}

struct alertmanager_status notify_sender_status(const struct notify_sender *s)
{
    return (struct alertmanager_status){
        .url = str_from(s->url),
        .sent = s->n_sent,
        .errors = s->n_errors,
        .dropped = s->n_dropped,
        .queue_length = notify_queue_length(s->queue),
        .latency_seconds_sum = s->latency_seconds,
        .requests = s->n_requests,
    };
}

void notify_sender_drain(struct notify_sender *s)
{
    s->draining = true;
    s->try_now = true;
    notify_sender_wake(s);
}

bool notify_sender_has_ended(const struct notify_sender *s)
{
    return s->ended;
}

void notify_sender_stop(struct notify_sender *s)
{
    size_t n_left;

    if (!s)
        return;
    pthread_mutex_lock(&s->env->lock);
    atomic_store(&s->stop, true);
    notify_sender_wake(s);
    pthread_mutex_unlock(&s->env->lock);
    pthread_join(s->thread, NULL);
    n_left = notify_queue_length(s->queue);
    if (n_left > 0)
        log_warn("Alertmanager was not told of everything", "url=%s alerts=%zu", s->url, n_left);
    sender_free(s);
}
