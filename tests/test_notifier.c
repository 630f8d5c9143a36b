#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "alert/notifier.h"
#include "alert/notifier_private.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include "http_peer.h"

#include "base/banned.h"

enum { MAX_REQUESTS = 4096, PATIENCE_S = 20 };

static const struct notify_tuning quick = {
    .min_pause_ms = 1, .max_pause_ms = 4, .max_retry_after_ms = 300000, .max_batch = 256
};

/* ---- an Alertmanager that does as it is told ---- */

struct fake {
    struct http_peer *peer; /* NULL: away */
    uint16_t port;
    char url[64];

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    struct peer_reply reply;
    size_t n_failures;          /* so many requests get reply, the others 200 */
    const char *poison;         /* a body with this text in it gets 400 */
    size_t max_body;            /* a longer one gets 413; 0: no limit */
    size_t n_requests;          /* answered in any way */
    size_t n_accepted;          /* with 200 */
    char *bodies[MAX_REQUESTS]; /* of those */
    char *head;                 /* of the last request */
};

static struct peer_reply decide(struct fake *f, const struct peer_request *r)
{
    static const char refusal[] = "{\"code\":400,\"message\":\"invalid label set\"}";

    if (f->poison && memmem(r->body.ptr, r->body.len, f->poison, strlen(f->poison)))
        return (struct peer_reply){ .status = 400, .body = refusal };
    if (f->max_body && r->body.len > f->max_body)
        return (struct peer_reply){ .status = 413 };
    if (f->n_failures > 0) {
        f->n_failures--;
        return f->reply;
    }
    return (struct peer_reply){ .status = 200 };
}

static struct peer_reply answer(void *ctx, const struct peer_request *r)
{
    struct fake *f = ctx;
    struct peer_reply reply;

    pthread_mutex_lock(&f->lock);
    reply = decide(f, r);
    if (reply.status == 200) {
        assert_true(f->n_accepted < MAX_REQUESTS);
        f->bodies[f->n_accepted++] = strndup(r->body.ptr, r->body.len);
    }
    free(f->head);
    f->head = strdup(r->head);
    f->n_requests++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return reply;
}

static void fake_arrive(struct fake *f)
{
    f->peer = http_peer_start(f->port, answer, f);
}

static void fake_leave(struct fake *f)
{
    http_peer_stop(f->peer);
    f->peer = NULL;
}

static struct fake *fake_new(void)
{
    struct fake *f = calloc(1, sizeof *f);

    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    fake_arrive(f);
    f->port = http_peer_port(f->peer);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u", f->port);
    return f;
}

static void fake_free(struct fake *f)
{
    http_peer_stop(f->peer);
    for (size_t i = 0; i < f->n_accepted; i++)
        free(f->bodies[i]);
    free(f->head);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

/* Every request gets this answer, until it is told otherwise. */
static void fake_answer(struct fake *f, struct peer_reply reply, size_t times)
{
    pthread_mutex_lock(&f->lock);
    f->reply = reply;
    f->n_failures = times;
    pthread_mutex_unlock(&f->lock);
}

/* Waits until *count, a counter of f, is at least n. */
static void fake_wait(struct fake *f, const size_t *count, size_t n)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&f->lock);
    while (*count < n)
        assert_int_equal(pthread_cond_timedwait(&f->changed, &f->lock, &end), 0);
    pthread_mutex_unlock(&f->lock);
}

static size_t occurrences(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* How many alerts with this text were accepted. */
static size_t fake_count(struct fake *f, const char *what)
{
    size_t n = 0;

    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_accepted; i++)
        n += occurrences(f->bodies[i], what);
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* ---- a notifier and its Alertmanagers ---- */

static const int64_t start_ms = 1435781451781; /* 2015-07-01T20:10:51.781Z */

struct rig {
    struct fake *fakes[2];
    struct notifier *notifier;
    atomic_llong now_ms; /* the clock */
    struct clock clock;
    struct arena *arena;
    struct err err;
};

static int64_t rig_wall_ms(void *ctx)
{
    return atomic_load(&((struct rig *)ctx)->now_ms);
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);

    r->fakes[0] = fake_new();
    r->fakes[1] = fake_new();
    atomic_store(&r->now_ms, start_ms);
    r->clock = (struct clock){ rig_wall_ms, clock_system.mono_ns, r };
    r->arena = arena_new(0);
    r->err = err_in(r->arena);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    notifier_free(r->notifier, 0);
    fake_free(r->fakes[0]);
    fake_free(r->fakes[1]);
    arena_free(r->arena);
    free(r);
    return 0;
}

static struct notifier_options options_for(struct rig *r, struct alertmanager *ams, size_t n)
{
    struct notifier_options o = notifier_options_default();

    for (size_t i = 0; i < n; i++)
        ams[i] = (struct alertmanager){ .url = str_from(r->fakes[i]->url) };
    o.alertmanagers = ams;
    o.n_alertmanagers = n;
    o.clock = &r->clock;
    return o;
}

static void start_with(struct rig *r, const struct notifier_options *o)
{
    assert_int_equal(notifier_new_tuned(o, &quick, &r->notifier, &r->err), OK);
}

/* Starts a notifier for the first n Alertmanagers. */
static void start(struct rig *r, size_t n)
{
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, n);

    start_with(r, &o);
}

/* One state of alert id: it started at start_ms, and is to be believed for 4 minutes. */
static void tell_at(struct rig *r, uint64_t id, bool resolved, int64_t ends_ms)
{
    char text[32];
    struct label labels[] = { { STR("alertname"), STR("Down") }, { STR("id"), { text, 0 } } };
    struct notification item = {
        .id = id, .starts_ms = start_ms, .ends_ms = ends_ms, .resolved = resolved
    };

    labels[1].value.len = (size_t)snprintf(text, sizeof text, "<%ju>", (uintmax_t)id);
    item.labels = (struct labels){ labels, ARRAY_LEN(labels) };
    notifier_send(r->notifier, &item, 1);
}

static void fire(struct rig *r, uint64_t id)
{
    tell_at(r, id, false, atomic_load(&r->now_ms) + 240000);
}

static void resolve(struct rig *r, uint64_t id)
{
    tell_at(r, id, true, start_ms + 1000);
}

static void wait_until_told(struct rig *r, uint64_t id)
{
    int64_t end_ns = clock_mono_ns(&clock_system) + INT64_C(1000000000) * PATIENCE_S;

    while (notifier_pending(r->notifier, id)) {
        assert_true(clock_mono_ns(&clock_system) < end_ns);
        sched_yield();
    }
}

static struct alertmanager_status status_of(struct rig *r, size_t i)
{
    struct alertmanager_status *all;
    size_t n;

    assert_int_equal(notifier_status(r->notifier, r->arena, &all, &n, &r->err), OK);
    assert_true(i < n);
    return all[i];
}

/* Until an attempt that was begun from now on has failed: what is sent next is made of all that is queued by now. The first
 * one to end may have been begun before. */
static void wait_for_fresh_attempt(struct rig *r)
{
    int64_t end_ns = clock_mono_ns(&clock_system) + INT64_C(1000000000) * PATIENCE_S;
    uint64_t before = status_of(r, 0).requests;

    while (status_of(r, 0).requests < before + 2) {
        assert_true(clock_mono_ns(&clock_system) < end_ns);
        sched_yield();
    }
}

/* ---- what is sent ---- */

static void an_alert_is_sent_as_alertmanager_reads_it(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 1);
    struct label labels[] = { { STR("alertname"), STR("Down") }, { STR("job"), STR("a\"b\n") } };
    struct label annotations[] = { { STR("summary"), STR("h\xc3\xa9 \xff") } };
    struct label external[] = { { STR("job"), STR("outer") }, { STR("region"), STR("eu") } };
    struct notification items[] = {
        { .id = 1,
          .labels = { labels, 2 },
          .annotations = { annotations, 1 },
          .starts_ms = start_ms - 1,
          .ends_ms = start_ms + 240000,
          .generator_url = STR("http://tidemark/graph?g0.expr=up") },
        { .id = 2, .starts_ms = start_ms - 2, .ends_ms = start_ms - 1, .resolved = true },
    };

    ams[0].url = str_from(r->fakes[0]->url);
    o.external_labels = (struct labels){ external, 2 };
    start_with(r, &o);
    notifier_send(r->notifier, items, 2);
    fake_wait(r->fakes[0], &r->fakes[0]->n_accepted, 1);
    assert_string_equal(
        r->fakes[0]->bodies[0],
        "[{\"labels\":{\"alertname\":\"Down\",\"job\":\"a\\\"b\\n\",\"region\":\"eu\"},"
        "\"annotations\":{\"summary\":\"h\xc3\xa9 \xef\xbf\xbd\"},"
        "\"generatorURL\":\"http://tidemark/graph?g0.expr=up\","
        "\"startsAt\":\"2015-07-01T20:10:51.780Z\",\"endsAt\":\"2015-07-01T20:14:51.781Z\"},"
        "{\"labels\":{\"job\":\"outer\",\"region\":\"eu\"},\"annotations\":{},\"generatorURL\":"
        "\"\","
        "\"startsAt\":\"2015-07-01T20:10:51.779Z\",\"endsAt\":\"2015-07-01T20:10:51.780Z\"}]");
    assert_non_null(strstr(r->fakes[0]->head, "POST /api/v2/alerts HTTP/1.1\r\n"));
    assert_non_null(strstr(r->fakes[0]->head, "Content-Type: application/json\r\n"));
}

static void a_prefix_of_the_url_is_kept(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 1);
    char url[96];

    snprintf(url, sizeof url, "%s/am//", r->fakes[0]->url);
    ams[0].url = str_from(url);
    ams[0].authorization = STR("Bearer secret");
    start_with(r, &o);
    fire(r, 1);
    fake_wait(r->fakes[0], &r->fakes[0]->n_accepted, 1);
    assert_non_null(strstr(r->fakes[0]->head, "POST /am/api/v2/alerts HTTP/1.1\r\n"));
    assert_non_null(strstr(r->fakes[0]->head, "Authorization: Bearer secret\r\n"));
    assert_true(str_ends_with(status_of(r, 0).url, STR("/am/api/v2/alerts")));
}

/* Clocks are set back, and rules are slow: neither may turn what fires into what is over, or make
 * Alertmanager refuse an alert because it ends before it starts. */
static void ends_are_after_now_or_after_the_start(void **state)
{
    static const struct {
        bool resolved;
        int64_t starts, ends; /* ms after now */
        const char *ends_at;
    } cases[] = {
        { false, 0, 240000, "\"endsAt\":\"2015-07-01T20:14:51.781Z\"" },
        { false, 0, -5000, "\"endsAt\":\"2015-07-01T20:11:51.781Z\"" },
        { false, 300000, 0, "\"endsAt\":\"2015-07-01T20:15:51.781Z\"" },
        { true, -2000, -1000, "\"endsAt\":\"2015-07-01T20:10:50.781Z\"" },
        { true, 1000, 0, "\"endsAt\":\"2015-07-01T20:10:52.781Z\"" },
    };
    struct rig *r = *state;

    start(r, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct notification item = { .id = i,
                                     .starts_ms = start_ms + cases[i].starts,
                                     .ends_ms = start_ms + cases[i].ends,
                                     .resolved = cases[i].resolved };

        notifier_send(r->notifier, &item, 1);
        fake_wait(r->fakes[0], &r->fakes[0]->n_accepted, i + 1);
        assert_non_null(strstr(r->fakes[0]->bodies[i], cases[i].ends_at));
    }
}

static void batches_hold_256_alerts(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    fake_answer(f, (struct peer_reply){ .status = 503 }, SIZE_MAX);
    start(r, 1);
    fire(r, 1);
    fake_wait(f, &f->n_requests, 1); /* from now on everything waits */
    for (uint64_t id = 2; id <= 600; id++)
        fire(r, id);
    wait_for_fresh_attempt(r);
    fake_answer(f, (struct peer_reply){ 0 }, 0);
    wait_until_told(r, 600);
    assert_int_equal(f->n_accepted, 3);
    assert_int_equal(occurrences(f->bodies[0], "startsAt"), 256);
    assert_int_equal(occurrences(f->bodies[1], "startsAt"), 256);
    assert_int_equal(occurrences(f->bodies[2], "startsAt"), 88);
    assert_non_null(strstr(f->bodies[0], "<1>"));
    assert_non_null(strstr(f->bodies[1], "<257>"));
    assert_non_null(strstr(f->bodies[2], "<600>"));
    assert_int_equal(status_of(r, 0).sent, 600);
}

/* ---- servers that are away, and come back ---- */

static void no_transition_is_lost_while_the_server_is_away(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    fake_leave(f);
    start(r, 1);
    fire(r, 1);
    fire(r, 2);
    atomic_fetch_add(&r->now_ms, 3600000);
    resolve(r, 1);
    assert_true(notifier_pending(r->notifier, 1));
    wait_for_fresh_attempt(r);
    fake_arrive(f);
    wait_until_told(r, 1);
    wait_until_told(r, 2);
    assert_int_equal(f->n_accepted, 2);
    /* an hour later, both still arrive as firing: believed for 4 minutes from now */
    assert_int_equal(occurrences(f->bodies[0], "\"endsAt\":\"2015-07-01T21:14:51.781Z\""), 2);
    assert_non_null(strstr(f->bodies[0], "<1>"));
    assert_non_null(strstr(f->bodies[0], "<2>"));
    assert_non_null(strstr(f->bodies[1], "<1>"));
    assert_null(strstr(f->bodies[1], "<2>"));
    assert_non_null(strstr(f->bodies[1], "\"endsAt\":\"2015-07-01T20:10:52.781Z\""));
    assert_int_equal(status_of(r, 0).dropped, 0);
    assert_true(status_of(r, 0).requests >= 2);
}

static void repeated_states_are_sent_once(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    fake_leave(f);
    start(r, 1);
    for (int i = 0; i < 100; i++)
        fire(r, 1);
    assert_in_range(status_of(r, 0).queue_length, 1, 2); /* 2: the first is on its way */
    fake_arrive(f);
    wait_until_told(r, 1);
    assert_in_range(fake_count(f, "<1>"), 1, 2);
    assert_int_equal(status_of(r, 0).queue_length, 0);
}

static void answers_about_the_server_are_tried_again(void **state)
{
    static const int statuses[] = { 301, 401, 403, 404, 408, 415, 429, 500, 502, 503, 504 };
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    start(r, 1);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        fake_answer(f, (struct peer_reply){ .status = statuses[i] }, 3);
        fire(r, i);
        wait_until_told(r, i);
        assert_int_equal(f->n_accepted, i + 1);
        assert_int_equal(f->n_requests, (i + 1) * 4);
    }
    assert_int_equal(status_of(r, 0).sent, ARRAY_LEN(statuses));
    assert_int_equal(status_of(r, 0).errors, ARRAY_LEN(statuses) * 3);
    assert_int_equal(status_of(r, 0).dropped, 0);
}

static void a_server_that_hangs_is_tried_again(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 1);

    ams[0].timeout_ms = 20;
    fake_answer(r->fakes[0], (struct peer_reply){ .hang = true }, 2);
    start_with(r, &o);
    fire(r, 1);
    wait_until_told(r, 1);
    assert_int_equal(fake_count(r->fakes[0], "<1>"), 1);
    assert_int_equal(status_of(r, 0).errors, 2);
}

static void a_server_that_is_away_holds_up_no_other(void **state)
{
    struct rig *r = *state;

    fake_leave(r->fakes[0]);
    start(r, 2);
    fire(r, 1);
    fake_wait(r->fakes[1], &r->fakes[1]->n_accepted, 1);
    resolve(r, 1);
    fake_wait(r->fakes[1], &r->fakes[1]->n_accepted, 2);
    assert_true(notifier_pending(r->notifier, 1)); /* the other has not heard */
    fake_arrive(r->fakes[0]);
    wait_until_told(r, 1);
    assert_int_equal(fake_count(r->fakes[0], "<1>"), 2);
    assert_int_equal(fake_count(r->fakes[1], "<1>"), 2);
}

static void pauses_double_and_honour_the_server(void **state)
{
    static const struct {
        unsigned n_failures;
        int64_t retry_after_s;
        int64_t min_ms, max_ms;
    } cases[] = {
        { 1, 0, 750, 1000 },
        { 2, 0, 1500, 2000 },
        { 3, 0, 3000, 4000 },
        { 5, 0, 12000, 16000 },
        { 6, 0, 22500, 30000 },
        { 7, 0, 22500, 30000 },
        { UINT32_MAX, 0, 22500, 30000 },
        { 1, 17, 17000, 17000 },
        { 9, 17, 22500, 30000 },
        { 1, 299, 299000, 299000 },
        { 1, 86400, 300000, 300000 },
        { 1, INT64_MAX, 300000, 300000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t lowest = INT64_MAX, highest = 0;

        for (uint64_t random = 0; random < 100000; random++) {
            int64_t ms = notify_pause_ms(&notify_tuning_default, cases[i].n_failures,
                                         cases[i].retry_after_s, random * 104729);

            lowest = ms < lowest ? ms : lowest;
            highest = ms > highest ? ms : highest;
        }
        assert_int_equal(lowest, cases[i].min_ms);
        assert_int_equal(highest, cases[i].max_ms);
    }
}

static void retry_after_is_waited_for(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    fake_answer(f, (struct peer_reply){ .status = 429, .headers = "Retry-After: 200\r\n" }, 1);
    start(r, 1);
    fire(r, 1);
    fake_wait(f, &f->n_requests, 1);
    for (uint64_t id = 2; id < 50; id++) { /* each wakes the thread */
        fire(r, id);
        sched_yield();
    }
    assert_int_equal(f->n_requests, 1);
    notifier_free(r->notifier, 10000); /* the end does not wait that long: one more try */
    r->notifier = NULL;
    assert_int_equal(f->n_accepted, 1);
    assert_int_equal(fake_count(f, "startsAt"), 49);
}

/* ---- alerts that are refused ---- */

static void a_bad_alert_is_found_and_dropped(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    fake_answer(f, (struct peer_reply){ .status = 503 }, SIZE_MAX);
    f->poison = "<77>";
    start(r, 1);
    fire(r, 1);
    fake_wait(f, &f->n_requests, 1);
    for (uint64_t id = 2; id <= 200; id++)
        fire(r, id);
    fake_answer(f, (struct peer_reply){ 0 }, 0);
    wait_until_told(r, 200);
    for (uint64_t id = 1; id <= 200; id++) {
        char text[32];

        snprintf(text, sizeof text, "<%ju>", (uintmax_t)id);
        assert_int_equal(fake_count(f, text), id != 77);
    }
    assert_false(notifier_pending(r->notifier, 77));
    assert_int_equal(status_of(r, 0).dropped, 1);
    assert_int_equal(status_of(r, 0).sent, 199);
    assert_true(f->n_accepted < 10);
}

static void alerts_that_are_all_bad_are_all_dropped(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    f->poison = "Down";
    start(r, 1);
    for (uint64_t id = 0; id < 20; id++)
        fire(r, id);
    for (uint64_t id = 0; id < 20; id++)
        wait_until_told(r, id);
    assert_int_equal(status_of(r, 0).dropped, 20);
    assert_int_equal(status_of(r, 0).sent, 0);
    f->poison = NULL;
    fire(r, 1);
    wait_until_told(r, 1);
    assert_int_equal(status_of(r, 0).sent, 1);
}

static void batches_that_are_too_long_are_halved(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    f->max_body = 1000;
    fake_leave(f);
    start(r, 1);
    for (uint64_t id = 0; id < 100; id++)
        fire(r, id);
    fake_arrive(f);
    for (uint64_t id = 0; id < 100; id++)
        wait_until_told(r, id);
    assert_int_equal(fake_count(f, "startsAt"), 100);
    assert_int_equal(status_of(r, 0).dropped, 0);
}

/* While halving, the server goes: what it has heard is not sent again, the rest is. */
static void a_failure_while_halving_keeps_the_rest(void **state)
{
    struct rig *r = *state;
    struct fake *f = r->fakes[0];

    f->poison = "<3>";
    fake_leave(f);
    start(r, 1);
    for (uint64_t id = 0; id < 4; id++)
        fire(r, id);
    fake_answer(f, (struct peer_reply){ .status = 503 }, 2); /* of those without the bad one */
    fake_arrive(f);
    for (uint64_t id = 0; id < 4; id++)
        wait_until_told(r, id);
    assert_int_equal(fake_count(f, "<0>"), 1);
    assert_int_equal(fake_count(f, "<1>"), 1);
    assert_int_equal(fake_count(f, "<2>"), 1);
    assert_int_equal(status_of(r, 0).dropped, 1);
}

/* ---- bounds and the end ---- */

static void the_oldest_alerts_are_dropped(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 1);
    struct fake *f = r->fakes[0];

    o.max_queued = 10;
    fake_answer(f, (struct peer_reply){ .status = 429, .headers = "Retry-After: 100\r\n" }, 1);
    start_with(r, &o);
    fire(r, 1);
    fake_wait(f, &f->n_requests, 1);
    for (uint64_t id = 2; id <= 15; id++)
        fire(r, id);
    notifier_free(r->notifier, 10000);
    r->notifier = NULL;
    assert_int_equal(fake_count(f, "startsAt"), 10);
    assert_int_equal(fake_count(f, "<5>"), 0);
    assert_int_equal(fake_count(f, "<6>"), 1);
}

static void what_is_queued_is_sent_before_the_end(void **state)
{
    struct rig *r = *state;

    start(r, 2);
    for (uint64_t id = 0; id < 1000; id++)
        fire(r, id);
    resolve(r, 500);
    notifier_free(r->notifier, 60000);
    r->notifier = NULL;
    for (size_t i = 0; i < 2; i++) {
        assert_true(fake_count(r->fakes[i], "<999>") >= 1);
        assert_true(fake_count(r->fakes[i], "<500>") >= 1);
        assert_int_equal(fake_count(r->fakes[i], "\"endsAt\":\"2015-07-01T20:10:52.781Z\""), 1);
    }
}

static void the_end_does_not_wait_beyond_its_grace(void **state)
{
    static const int64_t graces_ms[] = { 0, 30 };
    struct rig *r = *state;
    int64_t begin_ns = clock_mono_ns(&clock_system);

    for (size_t i = 0; i < ARRAY_LEN(graces_ms); i++) {
        fake_answer(r->fakes[0], (struct peer_reply){ .hang = true }, 1);
        start(r, 1);
        fire(r, 1);
        fake_wait(r->fakes[0], &r->fakes[0]->n_requests, i + 1);
        notifier_free(r->notifier, graces_ms[i]);
        r->notifier = NULL;
    }
    assert_true(clock_mono_ns(&clock_system) - begin_ns < INT64_C(5000000000));
}

static void without_alertmanagers_nothing_waits(void **state)
{
    struct rig *r = *state;
    struct alertmanager_status *all;
    size_t n;

    start(r, 0);
    fire(r, 1);
    assert_false(notifier_pending(r->notifier, 1));
    assert_int_equal(notifier_status(r->notifier, r->arena, &all, &n, &r->err), OK);
    assert_int_equal(n, 0);
}

static void a_status_needs_room(void **state)
{
    struct rig *r = *state;
    struct arena *tiny = arena_new(16);
    struct alertmanager_status *all;
    size_t n;

    start(r, 2);
    assert_int_equal(notifier_status(r->notifier, tiny, &all, &n, &r->err), ERR_LIMIT);
    arena_free(tiny);
}

/* ---- other settings ---- */

static void a_reload_keeps_the_queues_that_stay(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 2);
    struct label external = { STR("region"), STR("eu") };

    fake_leave(r->fakes[0]);
    start(r, 1);
    fire(r, 1);
    resolve(r, 1);
    o.external_labels = (struct labels){ &external, 1 };
    assert_int_equal(notifier_reload(r->notifier, &o, &r->err), OK);
    assert_true(notifier_pending(r->notifier, 1));
    fire(r, 2);
    fake_wait(r->fakes[1], &r->fakes[1]->n_accepted, 1);
    fake_arrive(r->fakes[0]);
    wait_until_told(r, 1);
    wait_until_told(r, 2);
    assert_int_equal(fake_count(r->fakes[0], "<1>"), 2);
    assert_int_equal(fake_count(r->fakes[0], "<2>"), 1);
    assert_int_equal(fake_count(r->fakes[1], "<1>"), 0); /* it was not there yet */
    assert_int_equal(fake_count(r->fakes[0], "\"region\":\"eu\""), 1);
    assert_int_equal(fake_count(r->fakes[1], "\"region\":\"eu\""), 1);
}

static void a_reload_forgets_the_queues_that_go(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 2);

    fake_answer(r->fakes[0], (struct peer_reply){ .hang = true }, SIZE_MAX);
    start(r, 1);
    fire(r, 1);
    fake_wait(r->fakes[0], &r->fakes[0]->n_requests, 1);
    o.alertmanagers = &ams[1];
    o.n_alertmanagers = 1;
    assert_int_equal(notifier_reload(r->notifier, &o, &r->err), OK);
    assert_false(notifier_pending(r->notifier, 1));
    fire(r, 2);
    wait_until_told(r, 2);
    assert_int_equal(fake_count(r->fakes[1], "<2>"), 1);
}

static void a_reload_brings_new_credentials_at_once(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 1);
    struct fake *f = r->fakes[0];

    fake_answer(f, (struct peer_reply){ .status = 401, .headers = "Retry-After: 200\r\n" }, 1);
    start(r, 1);
    fire(r, 1);
    fake_wait(f, &f->n_requests, 1);
    ams[0].user = STR("ann");
    ams[0].password = STR("secret");
    assert_int_equal(notifier_reload(r->notifier, &o, &r->err), OK);
    wait_until_told(r, 1);
    assert_non_null(strstr(f->head, "Authorization: Basic YW5uOnNlY3JldA==\r\n"));
}

static void the_same_url_twice_is_one_alertmanager(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 2);
    struct alertmanager_status *all;
    char url[96];
    size_t n;

    snprintf(url, sizeof url, "%s/", r->fakes[0]->url);
    ams[1].url = str_from(url);
    start_with(r, &o);
    assert_int_equal(notifier_status(r->notifier, r->arena, &all, &n, &r->err), OK);
    assert_int_equal(n, 1);
}

static void a_bad_setting_changes_nothing(void **state)
{
    static const struct {
        struct alertmanager am;
        const char *text;
    } cases[] = {
        { { .url = { "localhost:9093", 14 } }, "http" },
        { { .url = { "", 0 } }, "http" },
        { { .url = { "http://a/?x=secret", 18 } }, "no query" },
        { { .url = { "http://ann:secret@a", 19 } }, "user or password" },
        { { .url = { "http://a", 8 }, .timeout_ms = -1 }, "timeout" },
        { { .url = { "http://a", 8 }, .authorization = { "secret\n", 7 } }, "control character" },
    };
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 2);
    struct notifier *none = NULL;

    start(r, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alertmanager both[] = { ams[1], cases[i].am };

        o.alertmanagers = both;
        assert_int_equal(notifier_reload(r->notifier, &o, &r->err), ERR_BAD_CONFIG);
        assert_non_null(strstr(r->err.msg, cases[i].text));
        assert_null(strstr(r->err.msg, "secret"));
        assert_int_equal(notifier_new(&o, &none, &r->err), ERR_BAD_CONFIG);
        assert_null(none);
    }
    fire(r, 1);
    wait_until_told(r, 1);
    assert_int_equal(fake_count(r->fakes[0], "<1>"), 1);
    assert_int_equal(r->fakes[1]->n_requests, 0);
}

/* ---- many threads ---- */

enum { N_THREADS = 4, N_ALERTS = 300 };

struct firing_thread {
    struct rig *rig;
    uint64_t first_id;
    pthread_t thread;
};

static void *fire_and_resolve(void *arg)
{
    struct firing_thread *t = arg;

    for (uint64_t i = 0; i < N_ALERTS; i++) {
        fire(t->rig, t->first_id + i);
        if (i % 3 == 0)
            resolve(t->rig, t->first_id + i);
        notifier_pending(t->rig->notifier, t->first_id);
    }
    return NULL;
}

static void threads_and_reloads_lose_nothing(void **state)
{
    struct rig *r = *state;
    struct alertmanager ams[2];
    struct notifier_options o = options_for(r, ams, 2);
    struct firing_thread threads[N_THREADS];

    start(r, 2);
    for (size_t i = 0; i < N_THREADS; i++) {
        threads[i] = (struct firing_thread){ .rig = r, .first_id = 10000 * (i + 1) };
        pthread_create(&threads[i].thread, NULL, fire_and_resolve, &threads[i]);
    }
    for (size_t i = 0; i < 20; i++) {
        o.n_alertmanagers = i % 2 ? 2 : 1;
        assert_int_equal(notifier_reload(r->notifier, &o, &r->err), OK);
        status_of(r, 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    notifier_free(r->notifier, 60000);
    r->notifier = NULL;
    for (size_t i = 0; i < N_THREADS; i++) {
        for (uint64_t id = 0; id < N_ALERTS; id++) {
            char text[32];

            snprintf(text, sizeof text, "<%ju>", (uintmax_t)(threads[i].first_id + id));
            assert_int_equal(fake_count(r->fakes[0], text), id % 3 == 0 ? 2 : 1);
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(an_alert_is_sent_as_alertmanager_reads_it),
        TEST(a_prefix_of_the_url_is_kept),
        TEST(ends_are_after_now_or_after_the_start),
        TEST(batches_hold_256_alerts),
        TEST(no_transition_is_lost_while_the_server_is_away),
        TEST(repeated_states_are_sent_once),
        TEST(answers_about_the_server_are_tried_again),
        TEST(a_server_that_hangs_is_tried_again),
        TEST(a_server_that_is_away_holds_up_no_other),
        cmocka_unit_test(pauses_double_and_honour_the_server),
        TEST(retry_after_is_waited_for),
        TEST(a_bad_alert_is_found_and_dropped),
        TEST(alerts_that_are_all_bad_are_all_dropped),
        TEST(batches_that_are_too_long_are_halved),
        TEST(a_failure_while_halving_keeps_the_rest),
        TEST(the_oldest_alerts_are_dropped),
        TEST(what_is_queued_is_sent_before_the_end),
        TEST(the_end_does_not_wait_beyond_its_grace),
        TEST(without_alertmanagers_nothing_waits),
        TEST(a_status_needs_room),
        TEST(a_reload_keeps_the_queues_that_stay),
        TEST(a_reload_forgets_the_queues_that_go),
        TEST(a_reload_brings_new_credentials_at_once),
        TEST(the_same_url_twice_is_one_alertmanager),
        TEST(a_bad_setting_changes_nothing),
        TEST(threads_and_reloads_lose_nothing),
    };

    log_set_level(LOG_ERROR); /* the failures here are wanted */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
