#include "collect/push_groups.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db_tools.h"
#include "ingest/exposition.h"

#include "base/banned.h"

enum { T0 = 1700000000, N_FAMILIES = 20000 };
#define T0_MS (T0 * 1000LL)

struct fixture {
    char *dir;
    struct fake_clock clock;
    struct db_options db_options;
    struct db *db;
    struct push_groups_options options;
    struct push_groups *groups;
    struct exposition x;
    struct arena *arena;
    struct err err;
};

static void open_all(struct fixture *fx)
{
    fx->db = open_db(&fx->db_options);
    fx->options.db = fx->db;
    assert_int_equal(push_groups_new(&fx->options, &fx->groups, NULL), OK);
}

static void close_all(struct fixture *fx)
{
    push_groups_free(fx->groups);
    db_close(fx->db);
}

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    fx->arena = arena_new(0);
    fx->err = err_in(fx->arena);
    fake_clock_init(&fx->clock, T0_MS);
    fx->dir = test_folder_new();
    fx->db_options = test_db_options(fx->dir);
    fx->db_options.clock = &fx->clock.clock;
    fx->options = push_groups_options_default(NULL);
    fx->options.clock = &fx->clock.clock;
    open_all(fx);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    close_all(fx);
    test_folder_remove(fx->dir);
    exposition_free(&fx->x);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

/* Time goes on, on both clocks. */
static void pass(struct fixture *fx, int64_t ms)
{
    fx->clock.wall_ms += ms;
    fx->clock.mono_ns += ms * 1000000;
}

static struct labels job(struct label *l)
{
    struct labels name;

    l[0] = (struct label){ STR("job"), STR("j") };
    assert_int_equal(push_group_name(l, 1, &name, NULL), OK);
    return name;
}

static enum errc push(struct fixture *fx, const char *text, bool replace)
{
    static const struct exposition_options o = { .refuse_times = true };
    struct label l[1];

    assert_int_equal(exposition_begin(&fx->x, &o, str_from(text), NULL), OK);
    assert_int_equal(exposition_next(&fx->x, 100000, NULL), OK);
    return push_groups_push(fx->groups, job(l), &fx->x, replace, &fx->err);
}

/* The newest sample of a series; its time in *t_ms. */
static double newest(struct fixture *fx, const char *series, int64_t *t_ms)
{
    struct column c = read_series(fx->db, series, INT64_MIN, INT64_MAX);
    double v;

    if (c.n == 0)
        fail_msg("%s is not stored", series);
    v = c.v[c.n - 1];
    if (t_ms)
        *t_ms = c.t_ms[c.n - 1];
    column_free(&c);
    return v;
}

static size_t n_samples(struct fixture *fx, const char *series)
{
    struct column c = read_series(fx->db, series, INT64_MIN, INT64_MAX);
    size_t n = c.n;

    column_free(&c);
    return n;
}

static void a_push_is_stored_at_once_with_the_groups_labels(void **state)
{
    struct fixture *fx = *state;
    int64_t t_ms;

    assert_int_equal(push(fx, "a{x=\"1\",job=\"own\"} 5\n", true), OK);
    assert_true(newest(fx, "a job=j x=1", &t_ms) == 5);
    assert_true(t_ms == T0_MS);
    assert_true(newest(fx, "push_time_seconds job=j", NULL) == T0);
    assert_true(newest(fx, "push_failure_time_seconds job=j", NULL) == 0);
}

static void groups_are_stored_again_at_every_interval(void **state)
{
    struct fixture *fx = *state;
    int64_t t_ms;

    assert_int_equal(push(fx, "a 5\n", true), OK);
    pass(fx, 1);
    assert_int_equal(push_groups_tick(fx->groups), 60000); /* the first, at the start */
    pass(fx, 59999);
    assert_int_equal(push_groups_tick(fx->groups), 1);
    assert_int_equal(n_samples(fx, "a job=j"), 2);
    pass(fx, 1);
    assert_int_equal(push_groups_tick(fx->groups), 60000);
    assert_true(newest(fx, "a job=j", &t_ms) == 5);
    assert_true(t_ms == T0_MS + 60001);
    assert_int_equal(n_samples(fx, "a job=j"), 3);
    assert_true(newest(fx, "push_time_seconds job=j", NULL) == T0);
}

/* Two pushes in one millisecond must not be two values at one time. */
static void pushes_never_share_a_time(void **state)
{
    struct fixture *fx = *state;
    int64_t t_ms;

    for (int i = 0; i < 3; i++) {
        char text[16];

        snprintf(text, sizeof text, "a %d\n", i);
        assert_int_equal(push(fx, text, true), OK);
    }
    assert_true(newest(fx, "a job=j", &t_ms) == 2);
    assert_true(t_ms == T0_MS + 2);
}

static void replacing_ends_what_is_gone(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(push(fx, "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n", true), OK);
    pass(fx, 1000);
    assert_int_equal(push(fx, "a{x=\"1\"} 9\n", false), OK); /* this family only */
    assert_true(newest(fx, "a job=j x=1", NULL) == 9);
    assert_true(is_stale(newest(fx, "a job=j x=2", NULL)));
    assert_true(newest(fx, "b job=j", NULL) == 3);
    pass(fx, 1000);
    assert_int_equal(push(fx, "c 1\n", true), OK); /* all */
    assert_true(is_stale(newest(fx, "a job=j x=1", NULL)));
    assert_true(is_stale(newest(fx, "b job=j", NULL)));
    assert_true(newest(fx, "c job=j", NULL) == 1);
    pass(fx, 1000);
    assert_int_equal(push(fx, "", true), OK); /* an empty body empties the group */
    assert_true(is_stale(newest(fx, "c job=j", NULL)));
    assert_true(newest(fx, "push_time_seconds job=j", NULL) == T0 + 3);
}

static void deleting_ends_all_of_it(void **state)
{
    struct fixture *fx = *state;
    struct push_groups_stats stats;
    struct label l[1];

    assert_int_equal(push(fx, "a 1\n", true), OK);
    pass(fx, 1000);
    assert_int_equal(push_groups_delete(fx->groups, job(l), NULL), OK);
    assert_true(is_stale(newest(fx, "a job=j", NULL)));
    assert_true(is_stale(newest(fx, "push_time_seconds job=j", NULL)));
    assert_int_equal(push_groups_delete(fx->groups, job(l), NULL), OK); /* gone already */
    push_groups_stats(fx->groups, &stats);
    assert_int_equal(stats.groups, 0);
    assert_int_equal(stats.bytes, 0);
    pass(fx, 100000);
    push_groups_tick(fx->groups);
    assert_int_equal(n_samples(fx, "a job=j"), 2);
}

/* Pushes families m<i> for i from first on, step apart, backwards; two have a help. */
static void push_families(struct fixture *fx, int first, int step, bool replace)
{
    struct buf b = { 0 };

    for (int i = N_FAMILIES - step + first; i >= 0; i -= step)
        buf_printf(&b, i / 2 == 20 ? "# HELP m%d %d\nm%d %d\n" : "# m%d %d\nm%d %d\n", i, first, i,
                   first);
    buf_u8(&b, 0);
    assert_false(b.failed);
    if (push(fx, (const char *)b.ptr, replace) != OK)
        fail_msg("%s", err_text(&fx->err));
    buf_free(&b);
}

/* None of a push, of one beside it and of one in its place looks at families times families. */
static void a_group_may_have_very_many_families(void **state)
{
    struct fixture *fx = *state;
    struct buf b = { 0 };

    push_families(fx, 0, 1, true);
    pass(fx, 1000);
    push_families(fx, 1, 2, false);
    assert_true(newest(fx, "m40 job=j", NULL) == 0);
    assert_true(newest(fx, "m41 job=j", NULL) == 1);
    push_groups_json(fx->groups, &b);
    buf_u8(&b, 0);
    assert_non_null(strstr((const char *)b.ptr, "\"m40\":{\"type\":\"untyped\",\"help\":\"0\""));
    assert_non_null(strstr((const char *)b.ptr, "\"m41\":{\"type\":\"untyped\",\"help\":\"1\""));
    buf_free(&b);
    pass(fx, 1000);
    push_families(fx, 0, 2, true);
    assert_true(newest(fx, "m40 job=j", NULL) == 0);
    assert_true(isnan(newest(fx, "m41 job=j", NULL)));
}

static void failures_are_told_and_change_nothing_else(void **state)
{
    struct fixture *fx = *state;
    struct label l[1];

    assert_int_equal(push(fx, "a 1\n", true), OK);
    pass(fx, 5000);
    assert_int_equal(push_groups_failed(fx->groups, job(l), NULL), OK);
    assert_true(newest(fx, "a job=j", NULL) == 1);
    assert_true(newest(fx, "push_failure_time_seconds job=j", NULL) == T0 + 5);
    assert_true(newest(fx, "push_time_seconds job=j", NULL) == T0);
}

static void groups_survive_a_restart(void **state)
{
    struct fixture *fx = *state;
    struct buf before = { 0 }, after = { 0 };

    assert_int_equal(push(fx, "# HELP a A\n# TYPE a gauge\na{x=\"1\"} 1\n", true), OK);
    push_groups_json(fx->groups, &before);
    close_all(fx);
    pass(fx, 60000);
    open_all(fx);
    push_groups_json(fx->groups, &after);
    assert_true(str_equal(buf_as_str(&before), buf_as_str(&after)));
    push_groups_tick(fx->groups);
    assert_int_equal(n_samples(fx, "a job=j x=1"), 2);
    assert_int_equal(push(fx, "b 1\n", true), OK);
    assert_true(is_stale(newest(fx, "a job=j x=1", NULL)));
    buf_free(&before);
    buf_free(&after);
}

static void a_group_ends_when_nobody_pushes_to_it(void **state)
{
    struct fixture *fx = *state;
    struct push_groups_stats stats;

    push_groups_free(fx->groups);
    fx->options.ttl_ms = 100000;
    assert_int_equal(push_groups_new(&fx->options, &fx->groups, NULL), OK);
    assert_int_equal(push(fx, "a 1\n", true), OK);
    pass(fx, 99999);
    push_groups_tick(fx->groups);
    assert_false(is_stale(newest(fx, "a job=j", NULL)));
    pass(fx, 60000);
    push_groups_tick(fx->groups);
    assert_true(is_stale(newest(fx, "a job=j", NULL)));
    push_groups_stats(fx->groups, &stats);
    assert_int_equal(stats.groups, 0);
    assert_int_equal(stats.expired, 1);
}

static void bad_pushes_are_refused_whole(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "a 1\na 2\n", "a series was pushed twice: a{job=\"j\"}" },
        { "a{job=\"x\"} 1\na{job=\"y\"} 2\n", "a series was pushed twice" },
        { "a 1\npush_time_seconds 2\n", "push_time_seconds tells about the group" },
        { "a{x=\"\xff\"} 1\n", "" },
    };
    struct fixture *fx = *state;
    struct push_groups_stats stats;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(push(fx, cases[i].text, true), ERR_BAD_DATA);
        assert_non_null(strstr(err_text(&fx->err), cases[i].why));
    }
    push_groups_stats(fx->groups, &stats);
    assert_int_equal(stats.groups, 0);
    assert_int_equal(n_samples(fx, "a job=j"), 0);
}

static void size_and_number_are_bounded(void **state)
{
    struct fixture *fx = *state;
    struct label other[] = { { STR("job"), STR("k") } };
    struct labels name;

    push_groups_free(fx->groups);
    fx->options.max_groups = 1;
    fx->options.max_group_bytes = 150;
    assert_int_equal(push_groups_new(&fx->options, &fx->groups, NULL), OK);
    assert_int_equal(push(fx, "a 1\n", true), OK);
    assert_int_equal(push_group_name(other, 1, &name, NULL), OK);
    assert_int_equal(push_groups_push(fx->groups, name, &fx->x, true, NULL), ERR_LIMIT);
    assert_int_equal(
        push(fx, "a{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"3\"} 1\na{x=\"4\"} 1\na{x=\"5\"} 1\n", true),
        ERR_TOO_LARGE);
    assert_true(newest(fx, "a job=j", NULL) == 1);
}

static void names_need_a_job_and_ordinary_labels(void **state)
{
    static const struct {
        struct label labels[2];
        size_t n;
        const char *why; /* NULL: good */
    } cases[] = {
        { { { { "job", 3 }, { "a", 1 } }, { { "b", 1 }, { "", 0 } } }, 2, NULL },
        { { { { "job", 3 }, { "", 0 } } }, 1, "job name is required" },
        { { { { "a", 1 }, { "x", 1 } } }, 1, "job name is required" },
        { { { { "job", 3 }, { "a", 1 } }, { { "job", 3 }, { "b", 1 } } }, 2, "given twice" },
        { { { { "job", 3 }, { "a", 1 } }, { { "__x", 3 }, { "b", 1 } } },
          2,
          "improper label name" },
        { { { { "job", 3 }, { "a", 1 } }, { { "x.y", 3 }, { "b", 1 } } },
          2,
          "improper label name" },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct label labels[2] = { cases[i].labels[0], cases[i].labels[1] };
        struct labels name;
        enum errc rc = push_group_name(labels, cases[i].n, &name, &fx->err);

        assert_int_equal(rc, cases[i].why ? ERR_BAD_DATA : OK);
        if (cases[i].why)
            assert_non_null(strstr(err_text(&fx->err), cases[i].why));
        else
            assert_int_equal(name.n, 1); /* an empty value is no label */
    }
}

static void the_thread_stores_and_stops(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(push(fx, "a 1\n", true), OK);
    assert_int_equal(push_groups_start(fx->groups, NULL), OK);
    push_groups_stop(fx->groups);
    push_groups_stop(fx->groups);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_push_is_stored_at_once_with_the_groups_labels),
        TEST(groups_are_stored_again_at_every_interval),
        TEST(pushes_never_share_a_time),
        TEST(replacing_ends_what_is_gone),
        TEST(deleting_ends_all_of_it),
        TEST(a_group_may_have_very_many_families),
        TEST(failures_are_told_and_change_nothing_else),
        TEST(groups_survive_a_restart),
        TEST(a_group_ends_when_nobody_pushes_to_it),
        TEST(bad_pushes_are_refused_whole),
        TEST(size_and_number_are_bounded),
        TEST(names_need_a_job_and_ordinary_labels),
        TEST(the_thread_stores_and_stops),
    };

    return cmocka_run_group_tests_name("push_groups", tests, NULL, NULL);
}
