#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "alert/alert_store.h"
#include "alert/group.h"
#include "alert/group_private.h"
#include "base/arena.h"
#include "db_tools.h"
#include "rule_tools.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { MINUTE = 60000 };
static const int64_t t0 = 1700000040000; /* a whole minute */

/* A group over a store in memory, one evaluation a minute. */
struct fixture {
    struct db *db;
    struct fake_clock clock;
    struct rule_set *set;
    struct rule_settings settings;
    struct group_env env;
    struct test_listener listener;
    struct rule_group *def;
    struct group *group;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct db_options o = test_db_options(NULL);

    fake_clock_init(&f->clock, t0);
    o.clock = &f->clock.clock;
    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    test_listener_init(&f->listener);
    f->settings =
        (struct rule_settings){ .interval_ms = MINUTE, .external_url = STR("http://me:9420/") };
    f->env = (struct group_env){ .db = f->db,
                                 .query = query_options_default(f->db),
                                 .listener = &f->listener.listener,
                                 .clock = &f->clock.clock,
                                 .resend_delay_ms = MINUTE };
    f->set = rule_set_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    group_free(f->group);
    rule_set_free(f->set);
    test_listener_free(&f->listener);
    db_close(f->db);
    free(f);
    return 0;
}

static void use_rules(struct fixture *f, const struct rule_spec *specs)
{
    f->def = test_group_add(f->set, "g", specs);
    f->group = group_new(f->def, &f->settings);
    assert_non_null(f->group);
}

/* Puts a sample of a series, "name a=x", at minute m. */
static void put(struct fixture *f, const char *series, int m, double v)
{
    struct sample s = { t0 + (int64_t)m * MINUTE, v };

    assert_true(append_series(f->db, series, &s, 1, NULL));
}

/* Evaluates at minute m. */
static void run(struct fixture *f, int m)
{
    f->clock.wall_ms = t0 + (int64_t)m * MINUTE;
    assert_true(group_evaluate(f->group, &f->env, f->clock.wall_ms));
}

static void expect_at(struct fixture *f, int64_t t_ms, const char *name, const char *lines)
{
    char *got = test_samples_at(f->db, name, t_ms);

    assert_string_equal(got, lines);
    free(got);
}

/* What the series called name are at minute m. */
static void expect(struct fixture *f, int m, const char *name, const char *lines)
{
    expect_at(f, t0 + (int64_t)m * MINUTE, name, lines);
}

static void expect_told(struct fixture *f, const char *lines)
{
    assert_string_equal(test_listener_take(&f->listener), lines);
}

/* The health and error of rule i. */
static void expect_health(struct fixture *f, size_t i, enum rule_health health, const char *error)
{
    struct arena *a = arena_new(0);
    struct group_status s;

    assert_int_equal(group_status(f->group, a, &s), OK);
    assert_string_equal(s.rules[i].last_error.ptr, error);
    assert_int_equal(s.rules[i].health, health);
    arena_free(a);
}

/* ---- identity ---- */

static void many_equal_rules_are_told_apart_by_their_order(void **state)
{
    enum { N = 200000 }; /* comparing each with each would take minutes */
    struct fixture *f = *state;
    struct rule *rules = calloc(N, sizeof *rules);
    struct rule_group def = { .name = STR("g"), .rules = rules, .n_rules = N };
    struct group *many, *few;

    for (size_t i = 0; i < N; i++)
        rules[i].name = i == 1 ? STR("other") : STR("same");
    many = group_new(&def, &f->settings);
    def.n_rules = 4;
    few = group_new(&def, &f->settings);
    for (size_t i = 0; i < 4; i++) {
        assert_true(many->rules[i].key == few->rules[i].key);
        for (size_t k = 0; k < i; k++)
            assert_true(many->rules[i].key != many->rules[k].key);
    }
    group_free(few);
    def.n_rules = N;
    group_free(many);
    free(rules);
}

/* ---- recording ---- */

static void records_carry_the_labels_of_the_rule(void **state)
{
    struct fixture *f = *state;

    use_rules(f, (struct rule_spec[9]){
                     { .record = "r", .expr = "m", .labels = "drop=;job=rule;new=n" },
                     { .record = "s", .expr = "42", .labels = "a={{ literal }}" },
                 });
    put(f, "m drop=x job=a other=o", 0, 7);
    run(f, 0);
    expect(f, 0, "r", "r{job=\"rule\", new=\"n\", other=\"o\"} 7\n");
    expect(f, 0, "s", "s{a=\"{{ literal }}\"} 42\n");
    expect_health(f, 0, RULE_HEALTH_OK, "");
}

static void histograms_are_recorded_as_such(void **state)
{
    struct fixture *f = *state;
    struct label labels[] = { { METRIC_NAME, STR("h") } };
    const struct histogram_span span = { 0, 2 };
    const double counts[] = { 3, 4 };
    const struct write_histogram sample = {
        .t_ms = t0, .h = { .count = 7, .sum = 10, .positive = { &span, counts, 1, 2 } }
    };
    struct write_series series = { .labels = labels, .n_labels = 1, .n_histograms = 1 };
    const struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = &sample, .n_histograms = 1
    };
    struct write_result res = { 0 };

    use_rules(
        f, (struct rule_spec[9]){ { .record = "twice", .expr = "h * 2" },
                                  { .record = "count", .expr = "histogram_count(twice)" },
                                  { .record = "p50", .expr = "histogram_quantile(1, twice)" },
                                  { .alert = "A", .expr = "twice", .labels = "is={{ $value }}" } });
    assert_int_equal(db_append(f->db, &batch, &res, NULL), OK);
    assert_int_equal(res.stored, 1);
    buf_free(&res.text);
    run(f, 0);
    expect(f, 0, "count", "count 14\n");
    expect(f, 0, "p50", "p50 2\n");
    expect(f, 0, "ALERTS",
           "ALERTS{alertname=\"A\", alertstate=\"firing\", "
           "is=\"{count:14, sum:20, (0.5,1]:6, (1,2]:8}\"} 1\n");
    run(f, 6); /* the histogram has gone, and with it what was made of it */
    run(f, 7);
    expect(f, 7, "count", "");
}

static void a_rule_sees_what_the_one_before_it_yields(void **state)
{
    struct fixture *f = *state;

    use_rules(f, (struct rule_spec[9]){
                     { .record = "r1", .expr = "m + 1" },
                     { .record = "r2", .expr = "sum(r1) * 10" },
                     { .record = "r3", .expr = "count({__name__=\"r2\"})" },
                     { .alert = "A", .expr = "r3 > 0" },
                     { .record = "r4", .expr = "count_over_time(ALERTS[1m])" },
                     { .record = "r5", .expr = "sum(count by (__name__) ({job=~\".+\"}))" },
                 });
    put(f, "m job=a", 0, 1);
    put(f, "m job=b", 0, 2);
    run(f, 0);
    expect(f, 0, "r2", "r2 50\n");
    expect(f, 0, "r3", "r3 1\n");
    expect(f, 0, "r4", "r4{alertname=\"A\", alertstate=\"firing\"} 1\n");
    expect(f, 0, "r5", "r5 4\n");
}

static void samples_lie_at_the_slot_less_the_offset(void **state)
{
    struct fixture *f = *state;

    use_rules(
        f, (struct rule_spec[9]){ { .record = "r", .expr = "m" }, { .alert = "A", .expr = "m" } });
    f->def->query_offset_ms = 5000;
    put(f, "m", 0, 1);
    run(f, 0);
    expect_at(f, t0 - 5000, "r", "");
    put(f, "m", 1, 2); /* too new for the evaluation a minute later */
    run(f, 1);
    expect_at(f, t0 + MINUTE - 5000, "r", "r 1\n");
    expect_at(f, t0 + MINUTE - 5000, "ALERTS_FOR_STATE",
              "ALERTS_FOR_STATE{alertname=\"A\"} 1700000100\n");
}

static void series_that_are_not_recorded_again_have_ended(void **state)
{
    struct fixture *f = *state;

    use_rules(f, (struct rule_spec[9]){ { .record = "r", .expr = "m > 0" } });
    put(f, "m job=a", 0, 1);
    put(f, "m job=b", 0, 1);
    put(f, "m job=c", 0, 1);
    run(f, 0);
    put(f, "m job=b", 1, 0);
    put(f, "m job=d", 1, 1);
    run(f, 1);
    expect(f, 1, "r", "r{job=\"a\"} 1\nr{job=\"b\"} stale\nr{job=\"c\"} 1\nr{job=\"d\"} 1\n");
    run(f, 2);
    expect(f, 2, "r", "r{job=\"a\"} 1\nr{job=\"c\"} 1\nr{job=\"d\"} 1\n");
}

static void faults_of_a_result_are_named_and_write_nothing(void **state)
{
    struct fixture *f = *state;

    use_rules(f, (struct rule_spec[9]){
                     { .record = "dup", .expr = "m", .labels = "job=" },
                     { .record = "text", .expr = "\"text\"" },
                     { .record = "limited", .expr = "m" },
                     { .alert = "Dup", .expr = "m", .labels = "job=" },
                     { .alert = "Limited", .expr = "m" },
                     { .alert = "Good", .expr = "m{job=\"a\"}" },
                 });
    f->def->limit = 1;
    put(f, "m job=a", 0, 1);
    put(f, "m job=b", 0, 1);
    run(f, 0);
    expect_health(f, 0, RULE_HEALTH_ERR,
                  "vector contains metrics with the same labelset after applying rule labels");
    expect_health(f, 1, RULE_HEALTH_ERR, "rule result is not a vector or scalar");
    expect_health(f, 2, RULE_HEALTH_ERR, "exceeded limit of 1 with 2 series");
    expect_health(f, 3, RULE_HEALTH_ERR,
                  "vector contains metrics with the same labelset after applying alert labels");
    expect_health(f, 4, RULE_HEALTH_ERR, "exceeded limit of 1 with 2 alerts");
    expect_health(f, 5, RULE_HEALTH_OK, "");
    expect(f, 0, "limited", "");
    expect(f, 0, "ALERTS", "ALERTS{alertname=\"Good\", alertstate=\"firing\", job=\"a\"} 1\n");
}

/* ---- alerting ---- */

static void alerts_are_written_with_their_states(void **state)
{
    struct fixture *f = *state;

    use_rules(f, (struct rule_spec[9]){ { .alert = "A", .expr = "m > 5", .for_ms = 2 * MINUTE } });
    put(f, "m job=a", 0, 9);
    run(f, 0);
    expect(f, 0, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"pending\", job=\"a\"} 1\n");
    expect(f, 0, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} 1700000040\n");
    run(f, 1);
    run(f, 2);
    expect(f, 2, "ALERTS",
           "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\"} 1\n"
           "ALERTS{alertname=\"A\", alertstate=\"pending\", job=\"a\"} stale\n");
    expect(f, 2, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} 1700000040\n");
    put(f, "m job=a", 3, 1);
    run(f, 3);
    expect(f, 3, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\"} stale\n");
    expect(f, 3, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} stale\n");
    run(f, 4);
    expect(f, 4, "ALERTS", "");
}

static void labels_and_annotations_are_expanded(void **state)
{
    struct fixture *f = *state;
    struct arena *a = arena_new(0);
    struct group_status s;

    use_rules(f, (struct rule_spec[9]){ {
                     .alert = "A",
                     .expr = "m",
                     .labels = "alertname=other;gone={{ $labels.nosuch }};job=;severity=page {{ "
                               "$labels.__name__ }}",
                     .annotations = "bad={{ nosuch }};empty=;summary={{ $labels.job }} is {{ "
                                    "$value }}",
                 } });
    put(f, "m gone=x job=a", 0, 2.5);
    run(f, 0);
    expect(f, 0, "ALERTS",
           "ALERTS{alertname=\"A\", alertstate=\"firing\", severity=\"page m\"} 1\n");
    assert_int_equal(group_status(f->group, a, &s), OK);
    assert_int_equal(s.rules[0].n_alerts, 1);
    assert_int_equal(s.rules[0].health, RULE_HEALTH_OK);
    assert_int_equal(s.expansion_failures, 1);
    assert_true(str_starts_with(labels_get(s.rules[0].alerts[0].annotations, STR("bad")),
                                STR("<error expanding template: ")));
    assert_true(str_is(labels_get(s.rules[0].alerts[0].annotations, STR("summary")), "a is 2.5"));
    assert_int_equal(s.rules[0].alerts[0].annotations.n, 3);
    arena_free(a);
}

#define URL "http://me:9420/graph?g0.expr=m+%3E+5&g0.tab=1"

static void an_alert_is_told_when_it_fires_again_later_and_when_it_resolves(void **state)
{
    struct fixture *f = *state;
    uint64_t id;

    use_rules(
        f,
        (struct rule_spec[9]){
            { .alert = "A", .expr = "m > 5", .for_ms = MINUTE, .annotations = "v={{ $value }}" } });
    f->env.resend_delay_ms = 2 * MINUTE;
    put(f, "m", 0, 9);
    run(f, 0);
    expect_told(f, ""); /* pending */
    put(f, "m", 1, 8);
    run(f, 1);
    expect_told(f, "firing {alertname=\"A\"}{v=\"8\"} 1700000100-1700000580 " URL "\n");
    id = f->listener.last_id;
    put(f, "m", 2, 7);
    run(f, 2);
    run(f, 3);
    expect_told(f, "");
    run(f, 4); /* more than two minutes later */
    expect_told(f, "firing {alertname=\"A\"}{v=\"7\"} 1700000100-1700000760 " URL "\n");
    put(f, "m", 5, 1);
    run(f, 5);
    expect_told(f, "resolved {alertname=\"A\"}{v=\"7\"} 1700000100-1700000340 " URL "\n");
    assert_int_equal(f->listener.last_id, id);
    run(f, 6);
    expect_told(f, "");
    run(f, 8);
    expect_told(f, "resolved {alertname=\"A\"}{v=\"7\"} 1700000100-1700000340 " URL "\n");
    f->listener.pending = true;
    run(f, 30); /* nobody has heard */
    expect_told(f, "resolved {alertname=\"A\"}{v=\"7\"} 1700000100-1700000340 " URL "\n");
    f->listener.pending = false;
    run(f, 40);
    expect_told(f, "");
}

static void a_failing_rule_keeps_its_alerts_and_goes_on_telling(void **state)
{
    struct fixture *f = *state;
    uint64_t max_samples = f->env.query.max_samples;

    use_rules(f, (struct rule_spec[9]){ { .alert = "A", .expr = "m > 5" } });
    put(f, "m", 0, 9);
    run(f, 0);
    assert_non_null(strstr(test_listener_take(&f->listener), "firing"));
    f->env.query.max_samples = 0;
    run(f, 1);
    run(f, 2);
    expect_told(f, "firing {alertname=\"A\"} 1700000040-1700000400 " URL "\n");
    expect(f, 2, "ALERTS", "");
    expect_health(f, 0, RULE_HEALTH_ERR,
                  "query processing would load too many samples into memory in query execution");
    f->env.query.max_samples = max_samples;
    run(f, 3);
    expect_health(f, 0, RULE_HEALTH_OK, "");
    expect(f, 3, "ALERTS", "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1\n");
    expect(f, 3, "ALERTS_FOR_STATE", "ALERTS_FOR_STATE{alertname=\"A\"} 1700000040\n");
}

static void a_cancelled_evaluation_counts_for_nothing(void **state)
{
    struct fixture *f = *state;
    atomic_bool cancel = false;

    use_rules(f, (struct rule_spec[9]){ { .alert = "A", .expr = "m" } });
    f->env.query.cancel = &cancel;
    put(f, "m", 0, 9);
    run(f, 0);
    atomic_store(&cancel, true);
    assert_false(group_evaluate(f->group, &f->env, t0 + MINUTE));
    expect_health(f, 0, RULE_HEALTH_OK, "");
    expect(f, 1, "ALERTS", "");
    f->env.query.cancel = NULL;
}

/* A clock that sets a flag when it has been asked often enough. */
struct cancelling_clock {
    struct clock clock;
    atomic_bool cancel;
    int n_left;
};

static int64_t count_down(void *ctx)
{
    struct cancelling_clock *c = ctx;

    if (c->n_left-- == 0)
        atomic_store(&c->cancel, true);
    return 0;
}

static void no_alert_changes_when_its_templates_are_cancelled(void **state)
{
    struct fixture *f = *state;
    struct cancelling_clock c = { .clock = { count_down, count_down, &c } };

    use_rules(f,
              (struct rule_spec[9]){
                  { .alert = "A", .expr = "m", .labels = "l={{ query `m` | first | value }}" } });
    put(f, "m", 0, 9);
    run(f, 0);
    assert_non_null(strstr(test_listener_take(&f->listener), "firing"));
    f->env.query.cancel = &c.cancel;
    f->env.query.clock = &c.clock;
    for (int i = 0; i < 10; i++) {
        atomic_store(&c.cancel, false);
        c.n_left = i;
        (void)group_evaluate(f->group, &f->env, t0 + 1000 * i);
        expect_told(f, "");
    }
    assert_true(c.n_left > 0); /* the last one was whole */
    f->env.query.cancel = NULL;
    f->env.query.clock = NULL;
}

static void a_resolution_is_told_after_a_restart_however_late(void **state)
{
    struct fixture *f = *state;
    const struct label name = { STR("alertname"), STR("A") };
    struct stored_alert stored = { .alert = { .labels = { &name, 1 },
                                              .hash = labels_hash((struct labels){ &name, 1 }),
                                              .active_at_ms = t0,
                                              .fired_at_ms = t0,
                                              .resolved_at_ms = t0 + MINUTE } };

    use_rules(f, (struct rule_spec[9]){ { .alert = "A", .expr = "m > 5" } });
    stored.key.group = f->group->key;
    stored.key.rule = f->group->rules[0].key;
    stored.key.labels = stored.alert.hash;
    assert_int_equal(group_restore(f->group, &f->env, &stored, 1, t0 + 32 * MINUTE, NULL), OK);
    run(f, 30);
    expect_told(f, "resolved {alertname=\"A\"} 1700000040-1700000100 " URL "\n");
    run(f, 32);
    expect_told(f, "");
}

/* ---- looking at it ---- */

static void the_status_counts_and_copies(void **state)
{
    struct fixture *f = *state;
    struct arena *a = arena_new(0), *small = arena_new(64);
    struct group_status s;

    use_rules(f, (struct rule_spec[9]){
                     { .alert = "A", .expr = "m", .for_ms = MINUTE, .annotations = "x=y" },
                     { .alert = "B", .expr = "nosuch" },
                     { .record = "r", .expr = "\"text\"" },
                 });
    put(f, "m job=a", 0, 9);
    assert_int_equal(group_status(f->group, a, &s), OK);
    assert_int_equal(s.rules[0].health, RULE_HEALTH_UNKNOWN);
    assert_int_equal(s.rules[0].last_evaluation_ms, 0);
    group_count(f->group, 3, 2);
    run(f, 0);
    assert_int_equal(group_status(f->group, a, &s), OK);
    assert_string_equal(s.name.ptr, "g");
    assert_string_equal(s.file.ptr, "rules.yml");
    assert_int_equal(s.interval_ms, MINUTE);
    assert_int_equal(s.evaluations, 3);
    assert_int_equal(s.failures, 1);
    assert_int_equal(s.iterations, 3);
    assert_int_equal(s.missed, 2);
    assert_int_equal(s.samples, 2);
    assert_int_equal(s.last_evaluation_ms, t0);
    assert_int_equal(s.rules[0].state, ALERT_PENDING);
    assert_int_equal(s.rules[0].n_alerts, 1);
    assert_int_equal(s.rules[0].alerts[0].active_at_ms, t0);
    assert_true(s.rules[0].alerts[0].value == 9);
    assert_int_equal(s.rules[1].state, ALERT_INACTIVE);
    assert_int_equal(s.rules[1].n_alerts, 0);
    assert_int_equal(s.rules[2].failures, 1);
    assert_int_equal(group_status(f->group, small, &s), ERR_LIMIT);
    arena_free(small);
    arena_free(a);
}

#define GROUP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GROUP_TEST(many_equal_rules_are_told_apart_by_their_order),
        GROUP_TEST(records_carry_the_labels_of_the_rule),
        GROUP_TEST(histograms_are_recorded_as_such),
        GROUP_TEST(a_rule_sees_what_the_one_before_it_yields),
        GROUP_TEST(samples_lie_at_the_slot_less_the_offset),
        GROUP_TEST(series_that_are_not_recorded_again_have_ended),
        GROUP_TEST(faults_of_a_result_are_named_and_write_nothing),
        GROUP_TEST(alerts_are_written_with_their_states),
        GROUP_TEST(labels_and_annotations_are_expanded),
        GROUP_TEST(an_alert_is_told_when_it_fires_again_later_and_when_it_resolves),
        GROUP_TEST(a_failing_rule_keeps_its_alerts_and_goes_on_telling),
        GROUP_TEST(a_cancelled_evaluation_counts_for_nothing),
        GROUP_TEST(no_alert_changes_when_its_templates_are_cancelled),
        GROUP_TEST(a_resolution_is_told_after_a_restart_however_late),
        GROUP_TEST(the_status_counts_and_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
