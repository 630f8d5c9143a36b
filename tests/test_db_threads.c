/* The store under threads: appends, reads, flushes and the retention at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/db.h"
#include "storage/db_private.h"

static const int64_t T0_MS = 1700000000000;

struct racer {
    struct db *db;
    int id;
    size_t n;
};

static void *append_all(void *arg)
{
    struct racer *r = arg;
    char name[32];

    snprintf(name, sizeof name, "race id=%d", r->id);
    for (size_t i = 0; i < r->n; i++) {
        struct sample s = { T0_MS + (int64_t)i * 1000, (double)i };

        if (!append_series(r->db, name, &s, 1, NULL))
            return r;
    }
    return NULL;
}

static void appends_readers_and_flushes_may_run_at_once(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    pthread_t threads[4];
    struct racer racers[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){ db, i, 400 };
        assert_int_equal(pthread_create(&threads[i], NULL, append_all, &racers[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        struct column c = read_series(db, "race id=1", INT64_MIN, INT64_MAX);

        for (size_t k = 0; k < c.n; k++) /* a prefix, without holes */
            assert_true(c.v[k] == (double)k);
        column_free(&c);
        flush_db(db);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        char name[32];
        struct column c;

        pthread_join(threads[i], &failed);
        assert_null(failed);
        snprintf(name, sizeof name, "race id=%d", i);
        c = read_series(db, name, INT64_MIN, INT64_MAX);
        assert_int_equal(c.n, 400);
        column_free(&c);
    }
    db_close(db);
    test_folder_remove(dir);
}

/* Everything at once: appenders, a flusher, the retention, statistics and label names; the test itself
 * reads. */
enum { N_APPENDERS = 3, N_ROUNDS = 300, ROUND_MS = DAY_MS / 40, LATE = -1 };

struct traffic {
    struct db *db;
    struct fake_clock *clock;
    atomic_int acknowledged[N_APPENDERS], next, n_done;
};

static int64_t round_time(int i)
{
    return T0_MS + (int64_t)i * ROUND_MS;
}

/* Appends to its own series, late samples too, and every few rounds begins another one. */
static void *append_rounds(void *arg)
{
    struct traffic *t = arg;
    int me = atomic_fetch_add(&t->next, 1);
    bool ok = true;

    for (int i = 0; i < N_ROUNDS && ok; i++) {
        struct sample s[] = { { round_time(i), i }, { round_time(i - 3) + 1, LATE } };
        char name[32];

        snprintf(name, sizeof name, "traffic id=%d", me);
        ok = append_series(t->db, name, s, 2, NULL);
        if (i % 10 == 0) {
            snprintf(name, sizeof name, "churn id=%d n=%d", me, i);
            ok = ok && append_series(t->db, name, s, 1, NULL);
        }
        if (ok)
            atomic_store(&t->acknowledged[me], i + 1);
    }
    atomic_fetch_add(&t->n_done, 1);
    return ok ? NULL : t;
}

static void *flush_all_the_time(void *arg)
{
    struct traffic *t = arg;
    bool ok = true;

    while (ok && atomic_load(&t->n_done) < N_APPENDERS) {
        ok = db_flush(t->db, NULL) == OK;
        t->clock->mono_ns +=
            3600 * INT64_C(1000000000); /* so that ended series are removed as well */
    }
    return ok ? NULL : t;
}

static void *keep_all_the_time(void *arg)
{
    struct traffic *t = arg;
    bool ok = true;

    while (ok && atomic_load(&t->n_done) < N_APPENDERS)
        ok = db_keep(t->db);
    return ok ? NULL : t;
}

static void *look_around_all_the_time(void *arg)
{
    struct traffic *t = arg;
    bool ok = true;

    while (ok && atomic_load(&t->n_done) < N_APPENDERS) {
        struct arena *a = arena_new(0);
        struct db_stats stats;
        struct str_list names;
        struct db_view *v;

        db_stats(t->db, &stats);
        ok = db_view_open(t->db, INT64_MIN, INT64_MAX, &v, NULL) == OK;
        if (ok)
            ok = db_label_names(v, NULL, 0, a, &names, NULL) == OK
                 && db_label_values(v, STR("n"), NULL, 0, a, &names, NULL) == OK;
        if (ok)
            db_view_close(v);
        arena_free(a);
    }
    return ok ? NULL : t;
}

/* All that was acknowledged before and has not left the retention since is seen, once. */
static void assert_nothing_is_missing(struct traffic *t, int id)
{
    int n = atomic_load(&t->acknowledged[id]);
    char name[32];
    struct column c;
    int64_t kept_ms;
    size_t at = 0;

    snprintf(name, sizeof name, "traffic id=%d", id);
    c = read_series(t->db, name, INT64_MIN, INT64_MAX);
    kept_ms = day_last_ms(day_of(db_horizon(t->db)));
    while (at < c.n && c.t_ms[at] < kept_ms)
        at++;
    for (int i = 0; i < n; i++) {
        if (round_time(i) < kept_ms)
            continue;
        while (at < c.n && c.v[at] == LATE)
            at++;
        assert_true(at < c.n);
        assert_int_equal(c.t_ms[at], round_time(i));
        assert_true(c.v[at] == i);
        at++;
    }
    column_free(&c);
}

static void no_acknowledged_sample_is_missed_while_all_runs_at_once(void **state)
{
    static void *(*const jobs[])(void *) = { append_rounds,     append_rounds,
                                             append_rounds,     flush_all_the_time,
                                             keep_all_the_time, look_around_all_the_time };
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    pthread_t threads[ARRAY_LEN(jobs)];
    struct traffic t = { 0 };
    struct fake_clock clock;
    struct db_stats stats;

    (void)state;
    fake_clock_init(&clock, round_time(0));
    o.clock = &clock.clock;
    t.clock = &clock;
    o.retention_ms = 3 * DAY_MS;
    o.head_bytes = 64 << 10; /* the keeper flushes as well */
    t.db = open_db(&o);
    assert_true(append_series(t.db, "first", &(struct sample){ round_time(0), 0 }, 1, NULL));
    clock.wall_ms = round_time(N_ROUNDS); /* from now on the samples move the horizon */
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, jobs[i], &t), 0);
    while (atomic_load(&t.n_done) < N_APPENDERS)
        for (int id = 0; id < N_APPENDERS; id++)
            assert_nothing_is_missing(&t, id);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < 2; i++) {
        for (int id = 0; id < N_APPENDERS; id++)
            assert_nothing_is_missing(&t, id);
        db_close(t.db);
        t.db = open_db(&o);
        assert_true(db_keep(t.db));
    }
    db_stats(t.db, &stats);
    assert_in_range(stats.days, 4, 5);
    db_close(t.db);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_readers_and_flushes_may_run_at_once),
        cmocka_unit_test(no_acknowledged_sample_is_missed_while_all_runs_at_once),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
