#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alert_store.h"
#include "alert/manager.h"
#include "base/arena.h"
#include "db_tools.h"
#include "rule_tools.h"

#include "base/banned.h"

enum { MINUTE = 60000 };
static const int64_t t0 = 1700000040000; /* a whole minute */

/* A manager without threads over a store on disk. */
struct fixture {
    char *dir;
    struct db *db;
    struct fake_clock clock;
    struct rule_manager *manager;
};

static void set_minute(struct fixture *f, int minute)
{
    f->clock.wall_ms = t0 + (int64_t)minute * MINUTE;
    f->clock.mono_ns = (int64_t)minute * MINUTE * 1000000;
}

static void start(struct fixture *f, int minute)
{
    struct db_options o = test_db_options(f->dir);
    struct rule_manager_options mo;

    set_minute(f, minute);
    o.clock = &f->clock.clock;
    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    mo = rule_manager_options_default(f->db);
    mo.clock = &f->clock.clock;
    mo.n_threads = 0;
    assert_int_equal(rule_manager_new(&mo, &f->manager, NULL), OK);
}

static void stop(struct fixture *f)
{
    rule_manager_free(f->manager);
    db_close(f->db);
    f->manager = NULL;
    f->db = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    fake_clock_init(&f->clock, t0);
    f->dir = test_folder_new();
    start(f, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop(f);
    test_folder_remove(f->dir);
    free(f);
    return 0;
}

static const struct rule_settings settings = { .interval_ms = MINUTE,
                                               .external_url = { "http://me", 9 } };

static void load_groups(struct fixture *f, const char *const *names,
                        const struct rule_spec *const *specs, size_t n)
{
    struct rule_set *set = rule_set_new();

    for (size_t i = 0; i < n; i++)
        test_group_add(set, names[i], specs[i]);
    assert_int_equal(rule_manager_load(f->manager, set, &settings, NULL), OK);
}

/* Loads one group, "g". */
static void load(struct fixture *f, const struct rule_spec *specs)
{
    load_groups(f, (const char *const[]){ "g" }, &specs, 1);
}

/* Puts a sample of a series, "name a=x", at minute m. */
static void put(struct fixture *f, const char *series, int m, double v)
{
    struct sample s = { t0 + (int64_t)m * MINUTE, v };

    set_minute(f, m);
    assert_true(append_series(f->db, series, &s, 1, NULL));
}

static void run(struct fixture *f, int m)
{
    set_minute(f, m);
    rule_manager_evaluate_at(f->manager, f->clock.wall_ms);
}

/* What the series called name are at minute m. */
static void expect(struct fixture *f, int m, const char *name, const char *lines)
{
    char *got = test_samples_at(f->db, name, t0 + (int64_t)m * MINUTE);

    assert_string_equal(got, lines);
    free(got);
}

/* The only alert of rule i of the first group, in minutes since t0; none: -1. */
static void expect_alert(struct fixture *f, size_t i, enum alert_state alert_state,
                         int64_t active_minute)
{
    struct arena *a = arena_new(0);
    struct group_status *groups;
    const struct rule_status *rule;
    size_t n;

    assert_int_equal(rule_manager_status(f->manager, a, &groups, &n, NULL), OK);
    rule = &groups[0].rules[i];
    assert_int_equal(rule->state, alert_state);
    assert_int_equal(rule->n_alerts, alert_state != ALERT_INACTIVE);
    if (rule->n_alerts > 0)
        assert_int_equal((rule->alerts[0].active_at_ms - t0) / MINUTE, active_minute);
    arena_free(a);
}

static size_t n_stored(struct fixture *f)
{
    struct arena *a = arena_new(0);
    struct stored_alert *stored;
    size_t n;

    assert_int_equal(alert_store_read(f->db, a, &stored, &n, NULL), OK);
    arena_free(a);
    return n;
}

/* ---- restart ---- */

static const struct rule_spec for_5m[9] = {
    { .alert = "A", .expr = "m > 5", .for_ms = 5 * MINUTE }
};
static const struct rule_spec at_once[9] = { { .alert = "A", .expr = "m > 5" } };

static void pending_survives_and_time_away_does_not_count(void **state)
{
    struct fixture *f = *state;

    load(f, for_5m);
    put(f, "m", 0, 9);
    for (int m = 0; m <= 2; m++)
        run(f, m);
    stop(f);
    start(f, 60);
    load(f, for_5m);
    expect_alert(f, 0, ALERT_PENDING, 0);
    put(f, "m", 60, 9);
    run(f, 60);
    expect_alert(f, 0, ALERT_PENDING, 57); /* 3 minutes are over, as if there had been no break */
    expect(f, 60, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\"} 1700003460\n");
    run(f, 61);
    expect_alert(f, 0, ALERT_PENDING, 57);
    stop(f); /* it is not shifted twice */
    start(f, 62);
    load(f, for_5m);
    run(f, 62);
    expect_alert(f, 0, ALERT_FIRING, 57);
}

static void firing_survives_and_waits_for_data(void **state)
{
    struct fixture *f = *state;

    load(f, for_5m);
    for (int m = 0; m <= 5; m++) {
        put(f, "m", m, 9);
        run(f, m);
    }
    expect_alert(f, 0, ALERT_FIRING, 0);
    stop(f);
    start(f, 60);
    load(f, for_5m);
    expect_alert(f, 0, ALERT_FIRING, 0);
    run(f, 60); /* senders have not come back yet */
    expect_alert(f, 0, ALERT_FIRING, 0);
    expect(f, 60, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1\n");
    put(f, "m", 61, 8);
    run(f, 61);
    expect_alert(f, 0, ALERT_FIRING, 0);
    run(f, 67); /* and away again, which now counts */
    expect_alert(f, 0, ALERT_INACTIVE, 0);
}

static void what_ended_while_away_is_marked_stale(void **state)
{
    struct fixture *f = *state;

    load(f, at_once);
    put(f, "m", 0, 9);
    run(f, 0);
    stop(f);
    start(f, 2);
    load(f, at_once);
    put(f, "m", 2, 1);
    run(f, 2);
    expect_alert(f, 0, ALERT_FIRING, 0); /* for two minutes it may come back */
    run(f, 4);
    expect_alert(f, 0, ALERT_INACTIVE, 0);
    expect(f, 4, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"firing\"} stale\n");
    expect(f, 4, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\"} stale\n");
}

static void a_kept_alert_survives(void **state)
{
    static const struct rule_spec kept[9] = {
        { .alert = "A", .expr = "m > 5", .keep_firing_for_ms = 10 * MINUTE }
    };
    struct fixture *f = *state;

    load(f, kept);
    put(f, "m", 0, 9);
    run(f, 0);
    put(f, "m", 1, 1);
    run(f, 1);
    stop(f);
    start(f, 9);
    load(f, kept);
    run(f, 9);
    run(f, 10);
    expect_alert(f, 0, ALERT_FIRING, 0);
    run(f, 11);
    expect_alert(f, 0, ALERT_INACTIVE, 0);
}

static void a_resolution_is_stored_for_15_minutes(void **state)
{
    struct fixture *f = *state;

    load(f, at_once);
    put(f, "m", 0, 9);
    run(f, 0);
    put(f, "m", 1, 1);
    run(f, 1);
    assert_int_equal(n_stored(f), 1);
    stop(f);
    start(f, 10);
    load(f, at_once);
    run(f, 10);
    assert_int_equal(n_stored(f), 1);
    run(f, 17);
    assert_int_equal(n_stored(f), 0);
}

static void equal_rules_keep_their_own_states(void **state)
{
    static const struct rule_spec twins[9] = { { .alert = "A", .expr = "m > 5" },
                                               { .alert = "A", .expr = "m > 50" } };
    struct fixture *f = *state;

    load(f, twins);
    put(f, "m", 0, 9);
    run(f, 0);
    stop(f);
    start(f, 1);
    load(f, twins);
    expect_alert(f, 0, ALERT_FIRING, 0);
    expect_alert(f, 1, ALERT_INACTIVE, 0);
}

static void alerts_without_a_rule_are_forgotten_and_their_series_end(void **state)
{
    static const struct rule_spec other[9] = { { .alert = "B", .expr = "m > 5" } };
    struct fixture *f = *state;

    load(f, at_once);
    put(f, "m", 0, 9);
    run(f, 0);
    assert_int_equal(n_stored(f), 1);
    stop(f);
    start(f, 3);
    load(f, other);
    assert_int_equal(n_stored(f), 0);
    expect(f, 3, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"firing\"} stale\n");
    expect(f, 3, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\"} stale\n");
}

/* ---- reload ---- */

static void a_changed_rule_keeps_its_alerts(void **state)
{
    static const struct rule_spec changed[9] = {
        { .record = "r", .expr = "m" },
        { .alert = "A", .expr = "m > 6", .for_ms = 5 * MINUTE, .annotations = "a=b" },
    };
    struct fixture *f = *state;

    load(f, for_5m);
    put(f, "m", 0, 9);
    run(f, 0);
    load(f, changed);
    expect_alert(f, 1, ALERT_PENDING, 0);
    put(f, "m", 4, 9);
    run(f, 5);
    expect_alert(f, 1, ALERT_FIRING, 0);
    expect(f, 5, "ALERTS",
           "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1\n"
           "ALERTS{alertname=\"A\", alertstate=\"pending\"} stale\n");
    assert_int_equal(n_stored(f), 1);
}

static void removed_rules_are_forgotten_and_their_series_end(void **state)
{
    static const struct rule_spec before[9] = { { .record = "kept", .expr = "m" },
                                                { .record = "gone", .expr = "m" },
                                                { .alert = "Gone", .expr = "m" } };
    static const struct rule_spec after[9] = { { .record = "kept", .expr = "m" } };
    struct fixture *f = *state;

    load(f, before);
    put(f, "m", 0, 9);
    run(f, 0);
    assert_int_equal(n_stored(f), 1);
    set_minute(f, 1);
    load(f, after);
    assert_int_equal(n_stored(f), 0);
    run(f, 2);
    expect(f, 1, "gone", "gone stale\n");
    expect(f, 1, "kept", "");
    expect(f, 2, "kept", "kept 9\n");
    expect(f, 1, "ALERTS", "ALERTS{alertname=\"Gone\", alertstate=\"firing\"} stale\n");
    set_minute(f, 3);
    load_groups(f, NULL, NULL, 0);
    run(f, 4);
    expect(f, 3, "kept", "kept stale\n");
}

static void a_rule_that_moved_to_another_group_goes_on(void **state)
{
    static const struct rule_spec rules[9] = { { .record = "r", .expr = "m" } };
    const struct rule_spec *const specs[] = { rules };
    struct fixture *f = *state;

    load_groups(f, (const char *const[]){ "old" }, specs, 1);
    put(f, "m", 0, 9);
    run(f, 0);
    set_minute(f, 1);
    load_groups(f, (const char *const[]){ "new" }, specs, 1);
    run(f, 1);
    expect(f, 1, "r", "r 9\n");
    stop(f);
    start(f, 1);
    expect(f, 1, "r", "r 9\n");
}

static void groups_are_shown_by_file_and_name(void **state)
{
    const struct rule_spec *const specs[] = { at_once, for_5m, at_once };
    struct arena *a = arena_new(0);
    struct fixture *f = *state;
    struct group_status *groups;
    size_t n;

    load_groups(f, (const char *const[]){ "b", "c", "a" }, specs, 3);
    assert_int_equal(rule_manager_status(f->manager, a, &groups, &n, NULL), OK);
    assert_int_equal(n, 3);
    assert_string_equal(groups[0].name.ptr, "a");
    assert_string_equal(groups[1].name.ptr, "b");
    assert_string_equal(groups[2].name.ptr, "c");
    assert_int_equal(groups[2].rules[0].for_ms, 5 * MINUTE);
    arena_free(a);
}

/* ---- threads ---- */

static uint64_t iterations(struct rule_manager *m)
{
    struct arena *a = arena_new(0);
    struct group_status *groups;
    uint64_t least = UINT64_MAX;
    size_t n;

    assert_int_equal(rule_manager_status(m, a, &groups, &n, NULL), OK);
    for (size_t i = 0; i < n; i++)
        if (groups[i].iterations - groups[i].missed < least)
            least = groups[i].iterations - groups[i].missed;
    arena_free(a);
    return least;
}

/* Loads again and again, and looks, while three threads evaluate every 5 ms. */
static void evaluating_loading_and_looking_go_together(void **state)
{
    static const struct rule_spec one[9] = { { .record = "r", .expr = "vector(1)" },
                                             { .alert = "A", .expr = "r" } };
    static const struct rule_spec two[9] = { { .record = "r", .expr = "vector(2)" } };
    struct rule_settings often = settings;
    struct db_options o = test_db_options(NULL);
    struct rule_manager_options mo;
    struct rule_manager *m;
    struct db *db;

    (void)state;
    often.interval_ms = 5;
    assert_int_equal(db_open(&o, &db, NULL), OK);
    mo = rule_manager_options_default(db);
    mo.n_threads = 3;
    assert_int_equal(rule_manager_new(&mo, &m, NULL), OK);
    for (int i = 0; i < 20; i++) {
        struct rule_set *set = rule_set_new();
        const uint64_t enough = i == 0 ? 3 : iterations(m) + 1;

        test_group_add(set, "a", i % 2 ? one : two);
        test_group_add(set, "b", i % 2 ? two : one);
        if (i % 3)
            test_group_add(set, "c", one);
        assert_int_equal(rule_manager_load(m, set, &often, NULL), OK);
        while (i % 3 == 0 && iterations(m) < enough)
            sched_yield();
    }
    rule_manager_free(m);
    db_close(db);
}

#define MANAGER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANAGER_TEST(pending_survives_and_time_away_does_not_count),
        MANAGER_TEST(firing_survives_and_waits_for_data),
        MANAGER_TEST(what_ended_while_away_is_marked_stale),
        MANAGER_TEST(a_kept_alert_survives),
        MANAGER_TEST(a_resolution_is_stored_for_15_minutes),
        MANAGER_TEST(equal_rules_keep_their_own_states),
        MANAGER_TEST(alerts_without_a_rule_are_forgotten_and_their_series_end),
        MANAGER_TEST(a_changed_rule_keeps_its_alerts),
        MANAGER_TEST(removed_rules_are_forgotten_and_their_series_end),
        MANAGER_TEST(a_rule_that_moved_to_another_group_goes_on),
        MANAGER_TEST(groups_are_shown_by_file_and_name),
        cmocka_unit_test(evaluating_loading_and_looking_go_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
