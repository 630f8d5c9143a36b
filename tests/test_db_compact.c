/* Rewriting day files: what is read stays the same, whatever the days went through. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/day.h"
#include "storage/db.h"
#include "storage/db_private.h"

enum { DAY = 19675, N_SERIES = 10, N_SLOTS = 3000, SLOT_MS = 90000 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

/* ---- a model: what the store must hold ---- */

struct model {
    double v[N_SERIES][N_SLOTS];
    bool has[N_SERIES][N_SLOTS];
};

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

static const char *series_name(int i)
{
    static char name[48];

    snprintf(name, sizeof name, "m%d job=j%d zone=z%d", i % 3, i, i % 2);
    return name;
}

static int64_t slot_time(int slot)
{
    return T0 + (int64_t)slot * SLOT_MS;
}

static void append_some(struct db *db, struct model *m)
{
    struct sample samples[200];
    int series = (int)rng(N_SERIES);
    size_t n = 1 + rng(200);

    for (size_t i = 0; i < n; i++) {
        int slot = (int)rng(N_SLOTS);

        if (!m->has[series][slot])
            m->v[series][slot] = (double)rng(1000) / 7;
        m->has[series][slot] = true;
        samples[i] = (struct sample){ slot_time(slot), m->v[series][slot] };
    }
    assert_true(append_series(db, series_name(series), samples, n, NULL));
}

static void assert_equals_model(struct db *db, const struct model *m)
{
    for (int i = 0; i < N_SERIES; i++) {
        struct column c = read_series(db, series_name(i), INT64_MIN, INT64_MAX);
        size_t at = 0;

        for (int slot = 0; slot < N_SLOTS; slot++) {
            if (!m->has[i][slot])
                continue;
            assert_true(at < c.n);
            assert_int_equal(c.t_ms[at], slot_time(slot));
            assert_true(c.v[at] == m->v[i][slot]);
            at++;
        }
        assert_int_equal(c.n, at);
        column_free(&c);
    }
}

static void compact_db(struct db *db)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    if (db_compact(db, NULL, &err) != OK)
        fail_msg("compact: %s", err_text(&err));
    arena_free(a);
}

/* Files and flushes of a day. */
static size_t n_files(struct db *db, int64_t day, uint64_t *flushes)
{
    struct day_files files;
    size_t n;

    assert_int_equal(days_list(db->days, day, day, &files, NULL), OK);
    *flushes = 0;
    for (size_t i = 0; i < files.n; i++) {
        struct day_summary s;

        assert_int_equal(day_file_summary(files.items[i], &s, NULL), OK);
        *flushes += s.flushes;
    }
    n = files.n;
    day_files_free(&files);
    return n;
}

static void assert_shape(struct db *db, int64_t day, size_t files, uint64_t flushes)
{
    uint64_t found;

    assert_int_equal(n_files(db, day, &found), files);
    assert_int_equal(found, flushes);
}

/* ---- tests ---- */

static void appends_flushes_restarts_and_rewritings_keep_every_sample(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 1;
    for (int i = 0; i < 300; i++) {
        append_some(db, m);
        if (rng(10) == 0)
            flush_db(db);
        if (rng(30) == 0)
            compact_db(db);
        if (rng(40) == 0) {
            flush_db(db);
            (void)!days_begin_file(db->days, DAY + rng(3), NULL); /* when there is one */
            for (int k = 0; k < 3; k++)
                append_some(db, m);
            flush_db(db);
        }
        if (rng(50) == 0) {
            db_close(db);
            db = open_db(&o);
        }
        if (rng(50) == 0)
            assert_equals_model(db, m);
    }
    flush_db(db);
    compact_db(db);
    assert_equals_model(db, m);
    for (int i = 0; i < 3; i++)
        assert_shape(db, DAY + i, 1, 1);
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

static void fill(struct db *db, struct model *m, int appends, int flushes)
{
    for (int k = 0; k < flushes; k++) {
        for (int i = 0; i < appends; i++)
            append_some(db, m);
        flush_db(db);
    }
}

static void a_view_reads_on_while_its_days_are_rewritten(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct matcher all;
    struct series_list list;
    struct column c = { 0 };
    struct db_view *v;
    size_t before = 0;

    (void)state;
    rng_state = 2;
    fill(db, m, 10, 3);
    assert_int_equal(matcher_init(&all, MATCH_EQ, METRIC_NAME, STR("m0"), a, &err), OK);
    assert_int_equal(db_view_open(db, INT64_MIN, INT64_MAX, &v, &err), OK);
    compact_db(db); /* before the view has opened any file */
    assert_int_equal(db_select(v, &all, 1, INT64_MIN, INT64_MAX, a, &list, &err), OK);
    assert_true(list.n > 0);
    for (size_t i = 0; i < list.n; i++) {
        assert_int_equal(db_read(v, &list.items[i], INT64_MIN, INT64_MAX, &c, &err), OK);
        before += c.n;
    }
    db_view_close(v);

    size_t expected = 0;
    for (int i = 0; i < N_SERIES; i += 3)
        for (int slot = 0; slot < N_SLOTS; slot++)
            expected += m->has[i][slot];
    assert_int_equal(before, expected);
    assert_equals_model(db, m);
    column_free(&c);
    matcher_free(&all);
    arena_free(a);
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

static void *append_in_background(void *arg)
{
    struct model *m = ((void **)arg)[1];
    struct db *db = ((void **)arg)[0];

    for (int i = 0; i < 60; i++) {
        append_some(db, m);
        if (i % 5 == 4 && db_flush(db, NULL) != OK)
            return arg;
    }
    return NULL;
}

static void flushes_and_rewritings_at_the_same_time_lose_nothing(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);
    void *args[] = { db, m }, *failed = NULL;
    pthread_t thread;

    (void)state;
    rng_state = 3;
    fill(db, m, 10, 2);
    assert_int_equal(pthread_create(&thread, NULL, append_in_background, args), 0);
    for (int i = 0; i < 20; i++)
        (void)!db_compact(db, NULL,
                          NULL); /* ERR_CONFLICT while a flush has failed is none of ours */
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_equals_model(db, m);
    compact_db(db);
    assert_equals_model(db, m);
    db_close(db);
    db = open_db(&o);
    assert_equals_model(db, m);
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

static void *die_later(void *arg)
{
    struct timespec t = { .tv_nsec = *(long *)arg };

    nanosleep(&t, NULL);
    _exit(0);
}

/* Begins over and over to rewrite, until killed. */
static void compact_until_killed(const struct db_options *o, long after_ns)
{
    pthread_t killer;
    struct db *db;

    if (db_open(o, &db, NULL) != OK || pthread_create(&killer, NULL, die_later, &after_ns) != 0)
        _exit(1);
    for (int i = 0;; i++) {
        struct sample s = { T0 + i, 1 };

        append_series(db, "noise", &s, 1, NULL);
        if (db_flush(db, NULL) != OK || db_compact(db, NULL, NULL) != OK)
            _exit(1);
    }
}

static void a_process_that_dies_while_rewriting_loses_nothing(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 4;
    for (int i = 0; i < 25; i++) {
        int status;
        pid_t child;

        fill(db, m, 3, 2);
        db_close(db);
        child = fork();
        if (child == 0)
            compact_until_killed(&o, 1000000L * (1 + rng(60)));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        db = open_db(&o);
        assert_equals_model(db, m);
    }
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

static void append_at(struct db *db, int64_t from_ms, int n)
{
    for (int i = 0; i < n; i++) {
        struct sample s = { from_ms + i, i };

        assert_true(append_series(db, "m", &s, 1, NULL));
    }
    flush_db(db);
}

static void a_day_is_rewritten_when_it_has_passed_and_again_when_much_is_late(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct fake_clock clock;
    struct db *db;

    (void)state;
    fake_clock_init(&clock, T0 + 3 * DAY_MS);
    o.clock = &clock.clock;
    db = open_db(&o);
    append_at(db, T0, 100);
    append_at(db, T0 + 1000, 100);
    append_at(db, T0 + DAY_MS, 1);
    assert_false(db_upkeep_step(db)); /* the day has just passed */
    assert_shape(db, DAY, 1, 2);
    append_at(db, T0 + DAY_MS + 3700000, 1);
    assert_true(db_upkeep_step(db));
    assert_shape(db, DAY, 1, 1);
    assert_false(db_upkeep_step(db));

    append_at(db, T0 + 5000, 9); /* below 5 % */
    clock.mono_ns += 2 * 3600 * 1000000000LL;
    assert_false(db_upkeep_step(db));
    append_at(db, T0 + 6000, 9);
    assert_true(db_upkeep_step(db));
    assert_shape(db, DAY, 1, 1);
    append_at(db, T0 + 7000, 100);
    assert_false(db_upkeep_step(db)); /* an hour has not passed */
    clock.mono_ns += 3601 * 1000000000LL;
    assert_true(db_upkeep_step(db));
    assert_shape(db, DAY, 1, 1);
    assert_shape(db, DAY + 1, 1, 2); /* today's */
    db_close(db);
    test_folder_remove(dir);
}

static void what_cannot_be_read_stays_as_it_is(void **state)
{
    char *dir = test_folder_new(), *file = NULL;
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sample s[] = { { T0, 1 }, { T0 + 1, 2 } };
    struct db_stats stats;
    struct column c;
    char *path;
    FILE *f;
    char *text = NULL;
    size_t size;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(append_series(db, "unreadable", &s[i], 1, NULL));
        assert_true(append_series(db, "sound", &s[i], 1, NULL));
        flush_db(db);
    }
    db_close(db);
    assert_true(asprintf(&path, "%s/days/2023-11-14.1.mdb", dir) > 0);
    f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size = (size_t)ftell(f);
    text = malloc(size);
    rewind(f);
    assert_int_equal(fread(text, 1, size, f), size);
    for (char *at = text; (at = memmem(at, size - (size_t)(at - text), "unreadable", 10)); at++) {
        fseek(f, at - text, SEEK_SET);
        fputc('X', f);
    }
    fclose(f);
    db = open_db(&o);
    assert_int_equal(db_compact(db, NULL, NULL), ERR_CORRUPT);
    db_stats(db, &stats);
    assert_int_equal(stats.compactions, 0);
    assert_int_equal(stats.compaction_failures, 1);
    assert_shape(db, DAY, 1, 2);
    c = read_series(db, "sound", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 2);
    column_free(&c);
    db_close(db);
    free(text);
    free(path);
    free(file);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_flushes_restarts_and_rewritings_keep_every_sample),
        cmocka_unit_test(a_view_reads_on_while_its_days_are_rewritten),
        cmocka_unit_test(flushes_and_rewritings_at_the_same_time_lose_nothing),
        cmocka_unit_test(a_process_that_dies_while_rewriting_loses_nothing),
        cmocka_unit_test(a_day_is_rewritten_when_it_has_passed_and_again_when_much_is_late),
        cmocka_unit_test(what_cannot_be_read_stays_as_it_is),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
