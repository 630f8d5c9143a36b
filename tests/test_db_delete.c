/* Deleting samples: what was deleted stays away, what comes later stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/day.h"
#include "storage/db.h"
#include "storage/db_private.h"

enum { DAY = 19675, N_SERIES = 6, N_SLOTS = 2000, SLOT_MS = 120000 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

/* ---- a model: what the store must hold ---- */

struct model {
    double v[N_SERIES][N_SLOTS];
    bool has[N_SERIES][N_SLOTS];
};

static const char *series_name(int i)
{
    static char name[32];

    snprintf(name, sizeof name, "m%d job=j%d", i % 2, i);
    return name;
}

static int64_t slot_time(int slot)
{
    return T0 + (int64_t)slot * SLOT_MS;
}

static void append_some(struct db *db, struct model *m, double v)
{
    struct sample samples[100];
    int series = (int)rng(N_SERIES);
    size_t n = 1 + rng(100);

    for (size_t i = 0; i < n; i++) {
        int slot = (int)rng(N_SLOTS);

        if (!m->has[series][slot])
            m->v[series][slot] = v;
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

static enum errc delete_equal(struct db *db, const char *name, const char *value, int64_t min_t_ms,
                              int64_t max_t_ms)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct matcher m;
    struct db_selector s = { &m, 1 };
    enum errc rc;

    assert_int_equal(matcher_init(&m, MATCH_EQ, str_from(name), str_from(value), a, &err), OK);
    rc = db_delete(db, &s, 1, min_t_ms, max_t_ms, &err);
    matcher_free(&m);
    arena_free(a);
    return rc;
}

/* Deletes a range of one series, or of all of a metric. */
static void delete_some(struct db *db, struct model *m)
{
    int from = (int)rng(N_SLOTS), to = from + (int)rng(N_SLOTS / 4), series = (int)rng(N_SERIES);
    bool metric = rng(3) == 0;
    char value[16];

    snprintf(value, sizeof value, metric ? "m%d" : "j%d", metric ? series % 2 : series);
    assert_int_equal(
        delete_equal(db, metric ? "__name__" : "job", value, slot_time(from), slot_time(to)), OK);
    for (int i = 0; i < N_SERIES; i++)
        for (int slot = from; slot <= to && slot < N_SLOTS; slot++)
            if (metric ? i % 2 == series % 2 : i == series)
                m->has[i][slot] = false;
}

static void compact(struct db *db)
{
    assert_int_equal(db_compact(db, NULL, NULL), OK);
}

static void appends_deletes_flushes_restarts_and_rewritings_agree_with_a_model(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 7;
    for (int i = 0; i < 300; i++) {
        append_some(db, m, i); /* deleted samples come again with other values */
        if (rng(10) == 0)
            delete_some(db, m);
        if (rng(15) == 0)
            flush_db(db);
        if (rng(40) == 0)
            compact(db);
        if (rng(50) == 0) {
            db_close(db);
            db = open_db(&o);
        }
        if (rng(20) == 0)
            assert_equals_model(db, m);
    }
    assert_equals_model(db, m);
    flush_db(db);
    compact(db);
    assert_equals_model(db, m);
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

struct fixture {
    char *dir;
    struct db_options o;
    struct db *db;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sample s[] = { { T0, 1 }, { T0 + 1000, 2 }, { T0 + 2000, 3 } };

    f->dir = test_folder_new();
    f->o = test_db_options(f->dir);
    f->db = open_db(&f->o);
    assert_true(append_series(f->db, "m job=a", s, 3, NULL));
    assert_true(append_series(f->db, "m job=b", s, 3, NULL));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    db_close(f->db);
    test_folder_remove(f->dir);
    free(f);
    return 0;
}

static size_t n_samples(struct fixture *f, const char *series)
{
    struct column c = read_series(f->db, series, INT64_MIN, INT64_MAX);
    size_t n = c.n;

    column_free(&c);
    return n;
}

static void a_deletion_applies_at_once_and_survives_a_restart(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(delete_equal(f->db, "job", "a", T0 + 1000, T0 + 1000), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(n_samples(f, "m job=a"), 2);
        assert_int_equal(n_samples(f, "m job=b"), 3);
        db_close(f->db);
        f->db = open_db(&f->o);
    }
}

static size_t n_selected(struct fixture *f, int64_t min_t_ms, int64_t max_t_ms)
{
    struct arena *a = arena_new(0);
    struct series_list list;
    struct matcher m;
    struct db_view *v;
    size_t n;

    assert_int_equal(matcher_init(&m, MATCH_EQ, METRIC_NAME, STR("m"), a, NULL), OK);
    assert_int_equal(db_view_open(f->db, min_t_ms, max_t_ms, &v, NULL), OK);
    assert_int_equal(db_select(v, &m, 1, min_t_ms, max_t_ms, a, &list, NULL), OK);
    n = list.n;
    db_view_close(v);
    matcher_free(&m);
    arena_free(a);
    return n;
}

static void a_series_without_samples_left_is_not_found(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(delete_equal(f->db, "job", "a", INT64_MIN, INT64_MAX), OK);
    assert_int_equal(n_selected(f, INT64_MIN, INT64_MAX), 1);
    assert_true(append_series(f->db, "m job=a", &(struct sample){ T0 + 1000, 7 }, 1, NULL));
    assert_int_equal(n_selected(f, INT64_MIN, INT64_MAX), 2);
    flush_db(f->db);
    assert_int_equal(n_selected(f, INT64_MIN, INT64_MAX), 2);
    assert_int_equal(n_samples(f, "m job=a"), 1);
}

static void cleaning_drops_what_was_deleted_and_days_left_empty(void **state)
{
    struct fixture *f = *state;
    struct db_stats s;

    assert_int_equal(db_clean(f->db, NULL, NULL), OK);
    db_stats(f->db, &s);
    assert_int_equal(s.compactions, 0);
    assert_int_equal(delete_equal(f->db, "job", "a", INT64_MIN, INT64_MAX), OK);
    assert_int_equal(db_clean(f->db, NULL, NULL), OK);
    db_stats(f->db, &s);
    assert_int_equal(s.compactions, 1);
    assert_int_equal(s.days, 1);
    assert_int_equal(n_samples(f, "m job=b"), 3);
    assert_int_equal(delete_equal(f->db, "__name__", "m", INT64_MIN, INT64_MAX), OK);
    assert_int_equal(db_clean(f->db, NULL, NULL), OK);
    db_stats(f->db, &s);
    assert_int_equal(s.days, 0);
    assert_int_equal(n_samples(f, "m job=b"), 0);
    db_close(f->db);
    f->db = open_db(&f->o);
    assert_int_equal(n_samples(f, "m job=b"), 0);
}

static void a_day_that_comes_back_is_not_taken_for_the_one_before(void **state)
{
    struct fixture *f = *state;

    flush_db(f->db);
    assert_int_equal(n_selected(f, INT64_MIN, INT64_MAX), 2); /* and is remembered */
    assert_int_equal(delete_equal(f->db, "__name__", "m", INT64_MIN, INT64_MAX), OK);
    assert_int_equal(db_clean(f->db, NULL, NULL), OK);
    for (int i = 0; i < 2; i++) {
        char name[16];

        snprintf(name, sizeof name, "m job=%c", 'x' + i);
        assert_true(append_series(f->db, name, &(struct sample){ T0, 7 }, 1, NULL));
    }
    flush_db(f->db);
    assert_int_equal(n_samples(f, "m job=a"), 0);
    assert_int_equal(n_samples(f, "m job=x"), 1);
    assert_int_equal(n_samples(f, "m job=y"), 1);
}

static void beyond_the_limit_of_deletions_cleaning_is_asked_for(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < DAY_MAX_DELETIONS; i++)
        assert_int_equal(delete_equal(f->db, "job", "a", T0 + 5000, T0 + 5000 + i), OK);
    assert_int_equal(delete_equal(f->db, "job", "a", T0, T0), ERR_LIMIT);
    assert_int_equal(n_samples(f, "m job=a"), 3);
    assert_int_equal(db_clean(f->db, NULL, NULL), OK);
    assert_int_equal(delete_equal(f->db, "job", "a", T0, T0), OK);
    assert_int_equal(n_samples(f, "m job=a"), 2);
}

static void a_store_in_memory_says_that_it_cannot_delete(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);

    (void)state;
    assert_int_equal(delete_equal(db, "job", "a", T0, T0), ERR_UNSUPPORTED);
    db_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_deletes_flushes_restarts_and_rewritings_agree_with_a_model),
        TEST(a_deletion_applies_at_once_and_survives_a_restart),
        TEST(a_series_without_samples_left_is_not_found),
        TEST(cleaning_drops_what_was_deleted_and_days_left_empty),
        TEST(a_day_that_comes_back_is_not_taken_for_the_one_before),
        TEST(beyond_the_limit_of_deletions_cleaning_is_asked_for),
        cmocka_unit_test(a_store_in_memory_says_that_it_cannot_delete),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
