#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/arena.h"
#include "db_tools.h"
#include "storage/db.h"

#define T0 (1700000000 * 1000LL)

/* How many series match name=~"up|down",job="x" in a range; their label sets are sorted. */
static size_t count_selected(struct db *db, int64_t min_t_ms, int64_t max_t_ms)
{
    struct arena *a = arena_new(0);
    struct matcher m[2];
    struct series_list list;
    struct db_view *v;

    assert_int_equal(matcher_init(&m[0], MATCH_RE, METRIC_NAME, STR("up|down"), a, NULL), OK);
    assert_int_equal(matcher_init(&m[1], MATCH_EQ, STR("job"), STR("x"), a, NULL), OK);
    assert_int_equal(db_view_open(db, min_t_ms, max_t_ms, &v, NULL), OK);
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(db_select(v, m, 2, min_t_ms, max_t_ms, a, &list, NULL), OK);
        for (size_t i = 1; i < list.n; i++)
            assert_true(labels_cmp(list.items[i - 1].labels, list.items[i].labels) < 0);
    }
    db_view_close(v);
    matcher_free(&m[0]);
    matcher_free(&m[1]);
    arena_free(a);
    return list.n;
}

static void append(struct db *db, const char *series, int64_t t_ms, double v)
{
    struct sample s = { t_ms, v };

    assert_true(append_series(db, series, &s, 1, NULL));
}

static void new_series_are_found_and_others_change_nothing(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);

    (void)state;
    append(db, "up job=x", T0, 1);
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 1);
    append(db, "up job=y", T0, 1); /* another */
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 1);
    append(db, "down job=x", T0, 1);
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 2);
    for (int i = 0; i < 3000; i++) { /* more than are looked at one by one */
        char text[32];

        snprintf(text, sizeof text, "up job=x i=%d", i);
        append(db, text, T0, 1);
    }
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 3002);
    db_close(db);
}

static void days_and_flushes_make_other_selections(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct column c;

    (void)state;
    append(db, "up job=x", T0, 1);
    append(db, "up job=x", T0 + DAY_MS, 2);
    append(db, "down job=x", T0, 3);
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 2);
    flush_db(db);
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 2);
    assert_int_equal(count_selected(db, T0, T0), 2);
    assert_int_equal(count_selected(db, T0 + DAY_MS, T0 + DAY_MS), 1); /* the other day's file */
    append(db, "up job=x late=1", T0 + 1000, 4);
    assert_int_equal(count_selected(db, T0, T0 + 1000), 3);
    flush_db(db); /* the day has a series more */
    assert_int_equal(count_selected(db, T0, T0 + 1000), 3);
    db_close(db);

    db = open_db(&o); /* nothing is in the head now: texts are those of the days */
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 3);
    append(db, "up job=x", T0 + DAY_MS + 1000, 5);
    assert_int_equal(count_selected(db, INT64_MIN, INT64_MAX), 3);
    c = read_series(db, "up job=x", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 3);
    assert_true(c.v[0] == 1 && c.v[1] == 2 && c.v[2] == 5);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

static void series_of_the_head_without_samples_in_the_range_are_left_out(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);

    (void)state;
    append(db, "up job=x", T0, 1);
    append(db, "down job=x", T0 + 60000, 1);
    assert_int_equal(count_selected(db, T0, T0 + 60000), 2);
    assert_int_equal(count_selected(db, T0, T0 + 59999), 1);
    assert_int_equal(count_selected(db, T0 + 1, T0 + 60000), 1);
    db_close(db);
}

/* What db_read_newest() gives of up{job="x"}: the newest sample is the last of it. */
static struct column newest(struct db *db, int64_t min_t_ms, int64_t max_t_ms)
{
    struct arena *a = arena_new(0);
    struct matcher m;
    struct series_list list;
    struct column c = { 0 };
    struct db_view *v;

    assert_int_equal(matcher_init(&m, MATCH_EQ, METRIC_NAME, STR("up"), a, NULL), OK);
    assert_int_equal(db_view_open(db, min_t_ms, max_t_ms, &v, NULL), OK);
    assert_int_equal(db_select(v, &m, 1, min_t_ms, max_t_ms, a, &list, NULL), OK);
    if (list.n > 0)
        assert_int_equal(db_read_newest(v, &list.items[0], min_t_ms, max_t_ms, &c, NULL), OK);
    db_view_close(v);
    matcher_free(&m);
    arena_free(a);
    return c;
}

static void check_newest(struct db *db, int64_t max_t_ms, double want)
{
    struct column c = newest(db, max_t_ms - 300000, max_t_ms);

    assert_true(c.n > 0 && c.v[c.n - 1] == want);
    column_free(&c);
}

static void the_newest_sample_is_that_of_the_range_wherever_it_is(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct column c;

    (void)state;
    append(db, "up job=x", T0, 1);
    append(db, "up job=x", T0 + 15000, 2);
    check_newest(db, T0 + 20000, 2);
    check_newest(db, T0 + 15000, 2);
    check_newest(db, T0 + 14999, 1); /* newer ones are there */
    append(db, "up job=x", T0 + 5000, 3);
    check_newest(db, T0 + 20000, 2); /* after a late one, too */
    check_newest(db, T0 + 6000, 3);
    flush_db(db);
    check_newest(db, T0 + 20000, 2); /* from disk */
    append(db, "up job=x", T0 + 30000, 4);
    check_newest(db, T0 + 40000, 4);
    check_newest(db, T0 + 20000, 2);
    c = newest(db, T0 + 30001, T0 + 600000);
    assert_int_equal(c.n, 0);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

static void values_of_selected_series_are_complete(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct arena *a = arena_new(0);
    struct str_list list;
    struct db_view *v;
    struct matcher m;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char text[64];

        snprintf(text, sizeof text, i % 3 ? "up job=x i=%d" : "up job=x a=1 i=%d", i % 400);
        append(db, text, T0 + i, 1);
    }
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("job"), STR("x"), a, NULL), OK);
    assert_int_equal(db_view_open(db, INT64_MIN, INT64_MAX, &v, NULL), OK);
    assert_int_equal(db_label_values(v, STR("i"), &m, 1, a, &list, NULL), OK);
    assert_int_equal(list.n, 400);
    assert_int_equal(db_label_names(v, &m, 1, a, &list, NULL), OK);
    assert_int_equal(list.n, 4);
    assert_int_equal(db_label_values(v, STR("none"), &m, 1, a, &list, NULL), OK);
    assert_int_equal(list.n, 0);
    db_view_close(v);
    matcher_free(&m);
    arena_free(a);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_series_are_found_and_others_change_nothing),
        cmocka_unit_test(days_and_flushes_make_other_selections),
        cmocka_unit_test(the_newest_sample_is_that_of_the_range_wherever_it_is),
        cmocka_unit_test(values_of_selected_series_are_complete),
        cmocka_unit_test(series_of_the_head_without_samples_in_the_range_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
