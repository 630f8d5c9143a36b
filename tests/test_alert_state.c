#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alert_state.h"
#include "alert/alert_store.h"
#include "base/arena.h"

#include "base/banned.h"

enum { MINUTE = 60000, T0 = 1000 * MINUTE };

/* The labels {alertname="A", job=NAME}; valid until the next call with the same slot. */
struct fixture_labels {
    struct label items[2];
};

static struct labels labels_of(struct fixture_labels *f, const char *job)
{
    f->items[0] = (struct label){ STR("alertname"), STR("A") };
    f->items[1] = (struct label){ STR("job"), str_from(job) };
    return (struct labels){ f->items, 2 };
}

static int by_hash(const void *a, const void *b)
{
    uint64_t ha = ((const struct alert_input *)a)->hash, hb = ((const struct alert_input *)b)->hash;

    return (ha > hb) - (ha < hb);
}

/* Updates with a result of one series a letter of jobs; the value is minutes since T0. */
static enum errc update(struct alert_set *set, const char *jobs, const struct alert_timing *timing,
                        struct err *err)
{
    struct fixture_labels labels[8];
    struct alert_input inputs[8];
    char names[8][2];
    size_t n = strlen(jobs);

    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%c", jobs[i]);
        inputs[i] = (struct alert_input){ .labels = labels_of(&labels[i], names[i]),
                                          .value = (double)(timing->t_ms - T0) / MINUTE };
        inputs[i].hash = labels_hash(inputs[i].labels);
    }
    qsort(inputs, n, sizeof *inputs, by_hash);
    return alert_set_update(set, inputs, n, timing, err);
}

/* "a:firing b:pending", by job. */
static const char *describe(const struct alert_set *set, char *out, size_t size)
{
    out[0] = '\0';
    for (char job = 'a'; job <= 'h'; job++)
        for (size_t i = 0; i < set->n; i++) {
            const struct alert *a = set->items[i];
            struct str name = labels_get(a->labels, STR("job"));
            size_t used = strlen(out);

            if (name.len == 1 && name.ptr[0] == job)
                snprintf(out + used, size - used, "%s%c:%s%s", used ? " " : "", job,
                         alert_state_name(a->state), a->keep_firing_since_ms ? "+kept" : "");
        }
    return out;
}

/* ---- transitions ---- */

/* What an evaluation a minute yields, and what the states are after each. */
struct script {
    const char *name;
    int64_t for_ms, keep_firing_for_ms;
    uint32_t limit;
    struct {
        const char *jobs, *states;
    } minutes[7];
};

static const struct script scripts[] = {
    { "for is 0: fires at once",
      0,
      0,
      0,
      { { "a", "a:firing" }, { "a", "a:firing" }, { "", "a:inactive" }, { "", "a:inactive" } } },
    { "fires when for is over, not before",
      2 * MINUTE,
      0,
      0,
      { { "a", "a:pending" }, { "a", "a:pending" }, { "a", "a:firing" }, { "a", "a:firing" } } },
    { "pending is forgotten when it is gone",
      2 * MINUTE,
      0,
      0,
      { { "a", "a:pending" },
        { "a", "a:pending" },
        { "", "" },
        { "a", "a:pending" },
        { "a", "a:pending" },
        { "a", "a:firing" } } },
    { "resolved comes back as a new alert",
      MINUTE,
      0,
      0,
      { { "a", "a:pending" },
        { "a", "a:firing" },
        { "", "a:inactive" },
        { "a", "a:pending" },
        { "a", "a:firing" } } },
    { "keep_firing_for bridges a gap",
      0,
      2 * MINUTE,
      0,
      { { "a", "a:firing" },
        { "", "a:firing+kept" },
        { "a", "a:firing" },
        { "", "a:firing+kept" },
        { "", "a:firing+kept" },
        { "", "a:inactive" } } },
    { "keep_firing_for does not keep what is pending",
      2 * MINUTE,
      5 * MINUTE,
      0,
      { { "a", "a:pending" }, { "", "" } } },
    { "each on its own",
      MINUTE,
      0,
      0,
      { { "a", "a:pending" },
        { "ab", "a:firing b:pending" },
        { "b", "a:inactive b:firing" },
        { "bc", "a:inactive b:firing c:pending" },
        { "cb", "a:inactive b:firing c:firing" } } },
};

static void states_change_as_prometheus_says(void **state)
{
    char got[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        const struct script *s = &scripts[i];
        struct alert_set set = { 0 };

        for (size_t m = 0; m < ARRAY_LEN(s->minutes) && s->minutes[m].jobs; m++) {
            struct alert_timing t = { T0 + (int64_t)m * MINUTE, MINUTE, s->for_ms,
                                      s->keep_firing_for_ms, s->limit };

            assert_int_equal(update(&set, s->minutes[m].jobs, &t, NULL), OK);
            if (strcmp(describe(&set, got, sizeof got), s->minutes[m].states) != 0)
                fail_msg("%s: minute %zu: %s, expected %s", s->name, m, got, s->minutes[m].states);
        }
        alert_set_free(&set);
    }
}

static void times_are_those_of_the_transitions(void **state)
{
    struct alert_set set = { 0 };
    const char *const jobs[] = { "a", "a", "a", "", "" };

    (void)state;
    for (int m = 0; m < 5; m++) {
        struct alert_timing t = { T0 + m * MINUTE, MINUTE, 2 * MINUTE, 0, 0 };

        assert_int_equal(update(&set, jobs[m], &t, NULL), OK);
    }
    assert_int_equal(set.n, 1);
    assert_int_equal(set.items[0]->active_at_ms, T0);
    assert_int_equal(set.items[0]->fired_at_ms, T0 + 2 * MINUTE);
    assert_int_equal(set.items[0]->resolved_at_ms, T0 + 3 * MINUTE);
    assert_true(set.items[0]->value == 2); /* the last one seen */
    alert_set_free(&set);
}

static void raising_for_makes_a_firing_alert_pending_again(void **state)
{
    struct alert_set set = { 0 };
    char got[64];

    (void)state;
    assert_int_equal(update(&set, "a", &(struct alert_timing){ T0, MINUTE, 0, 0, 0 }, NULL), OK);
    assert_int_equal(
        update(&set, "a", &(struct alert_timing){ T0 + MINUTE, MINUTE, 5 * MINUTE, 0, 0 }, NULL),
        OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:pending");
    assert_int_equal(set.items[0]->active_at_ms, T0);
    assert_int_equal(set.items[0]->fired_at_ms, 0);
    alert_set_free(&set);
}

static void over_the_limit_nothing_changes(void **state)
{
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct alert_set set = { 0 };
    struct alert_timing t = { T0, MINUTE, 0, 0, 2 };
    char got[64];

    (void)state;
    assert_int_equal(update(&set, "ab", &t, &err), OK);
    t.t_ms += MINUTE;
    assert_int_equal(update(&set, "bcd", &t, &err), ERR_LIMIT);
    assert_string_equal(err_text(&err), "exceeded limit of 2 with 3 alerts");
    assert_string_equal(describe(&set, got, sizeof got), "a:firing b:firing");
    t.keep_firing_for_ms = 10 * MINUTE; /* kept ones count, resolved ones do not */
    assert_int_equal(update(&set, "bc", &t, &err), ERR_LIMIT);
    t.keep_firing_for_ms = 0;
    assert_int_equal(update(&set, "bc", &t, &err), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:inactive b:firing c:firing");
    alert_set_free(&set);
    arena_free(arena);
}

/* ---- resolved ones ---- */

static bool keeps(void *ctx, const struct alert *a)
{
    (void)a;
    return *(bool *)ctx;
}

static void a_resolved_alert_goes_after_15_minutes_when_all_have_heard(void **state)
{
    struct alert_set set = { 0 };
    bool unheard = true;

    (void)state;
    assert_int_equal(update(&set, "a", &(struct alert_timing){ T0, MINUTE, 0, 0, 0 }, NULL), OK);
    assert_int_equal(update(&set, "", &(struct alert_timing){ T0 + 1, MINUTE, 0, 0, 0 }, NULL), OK);
    assert_int_equal(alert_set_expire(&set, T0 + 1 + 15 * MINUTE, NULL, NULL), OK);
    assert_int_equal(set.n, 1);
    assert_int_equal(alert_set_expire(&set, T0 + 2 + 15 * MINUTE, keeps, &unheard), OK);
    assert_int_equal(set.n, 1);
    unheard = false;
    alert_set_saved(&set);
    assert_int_equal(alert_set_expire(&set, T0 + 2 + 15 * MINUTE, keeps, &unheard), OK);
    assert_int_equal(set.n, 0);
    assert_int_equal(set.n_removed, 1);
    alert_set_free(&set);
}

static void an_alert_is_due_when_it_changed_or_was_long_unsaid(void **state)
{
    static const struct {
        enum alert_state state;
        int64_t resolved_at_ms, sent_at_ms, t_ms;
        bool due;
    } cases[] = {
        { ALERT_PENDING, 0, 0, 100, false },     { ALERT_FIRING, 0, 0, 100, true },
        { ALERT_FIRING, 0, 100, 110, false },    { ALERT_FIRING, 0, 100, 111, true },
        { ALERT_INACTIVE, 101, 100, 102, true }, { ALERT_INACTIVE, 101, 102, 112, false },
        { ALERT_INACTIVE, 101, 102, 113, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alert a = { .state = cases[i].state,
                           .resolved_at_ms = cases[i].resolved_at_ms,
                           .sent_at_ms = cases[i].sent_at_ms };

        if (alert_is_due(&a, cases[i].t_ms, 10) != cases[i].due)
            fail_msg("case %zu", i);
    }
}

/* ---- restart ---- */

static struct alert stored(struct fixture_labels *f, const char *job, enum alert_state state)
{
    struct alert a = { .labels = labels_of(f, job), .state = state, .active_at_ms = T0 };

    a.hash = labels_hash(a.labels);
    if (state == ALERT_FIRING)
        a.fired_at_ms = T0 + 3 * MINUTE;
    return a;
}

static void time_away_does_not_count_as_pending(void **state)
{
    struct fixture_labels f;
    struct alert_set set = { 0 };
    struct alert a = stored(&f, "a", ALERT_PENDING);
    struct alert_timing t = { T0 + 33 * MINUTE, MINUTE, 5 * MINUTE, 0, 0 };
    char got[64];

    (void)state;
    assert_int_equal(alert_set_restore(&set, &a), OK);
    set.items[0]->seen_ms = T0 + 2 * MINUTE; /* 2 of 5 minutes were over */
    assert_int_equal(update(&set, "a", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:pending");
    assert_int_equal(set.items[0]->active_at_ms, T0 + 30 * MINUTE);
    t.t_ms += MINUTE;
    assert_int_equal(update(&set, "a", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:pending");
    t.t_ms += MINUTE;
    assert_int_equal(update(&set, "a", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:firing");
    alert_set_free(&set);
}

static void a_restart_between_two_evaluations_costs_no_time(void **state)
{
    struct fixture_labels f;
    struct alert_set set = { 0 };
    struct alert a = stored(&f, "a", ALERT_PENDING);
    struct alert_timing t = { T0 + 3 * MINUTE, MINUTE, 3 * MINUTE, 0, 0 };

    (void)state;
    assert_int_equal(alert_set_restore(&set, &a), OK);
    set.items[0]->seen_ms = T0 + 2 * MINUTE;
    assert_int_equal(update(&set, "a", &t, NULL), OK);
    assert_int_equal(set.items[0]->state, ALERT_FIRING);
    assert_int_equal(set.items[0]->active_at_ms, T0);
    alert_set_free(&set);
}

static void restored_alerts_wait_for_data_to_come_back(void **state)
{
    struct fixture_labels fa, fb, fc;
    struct alert_set set = { .hold_until_ms = T0 + 12 * MINUTE };
    struct alert a = stored(&fa, "a", ALERT_FIRING), b = stored(&fb, "b", ALERT_PENDING),
                 c = stored(&fc, "c", ALERT_FIRING);
    struct alert_timing t = { T0 + 10 * MINUTE, MINUTE, 3 * MINUTE, 0, 0 };
    char got[128];

    (void)state;
    assert_int_equal(alert_set_restore(&set, &a), OK);
    assert_int_equal(alert_set_restore(&set, &b), OK);
    assert_int_equal(alert_set_restore(&set, &c), OK);
    assert_int_equal(update(&set, "c", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:firing b:pending c:firing");
    t.t_ms += MINUTE; /* c was seen since: it has resolved */
    assert_int_equal(update(&set, "", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:firing b:pending c:inactive");
    t.t_ms += MINUTE;
    assert_int_equal(update(&set, "", &t, NULL), OK);
    assert_string_equal(describe(&set, got, sizeof got), "a:inactive c:inactive");
    alert_set_free(&set);
}

static void keep_firing_for_begins_after_waiting(void **state)
{
    struct fixture_labels f;
    struct alert_set set = { .hold_until_ms = T0 + 12 * MINUTE };
    struct alert a = stored(&f, "a", ALERT_FIRING);
    struct alert_timing t = { T0 + 12 * MINUTE, MINUTE, 0, 2 * MINUTE, 0 };
    static const char *const expected[] = { "a:firing+kept", "a:firing+kept", "a:inactive" };
    char got[64];

    (void)state;
    assert_int_equal(alert_set_restore(&set, &a), OK);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++, t.t_ms += MINUTE) {
        assert_int_equal(update(&set, "", &t, NULL), OK);
        assert_string_equal(describe(&set, got, sizeof got), expected[i]);
    }
    alert_set_free(&set);
}

/* ---- what is to be stored ---- */

static void only_changes_are_stored(void **state)
{
    static const struct {
        const char *jobs;
        size_t n_changes;
    } minutes[] = {
        { "ab", 2 },                                                  /* new */
        { "ab", 0 },                                                  /* the same */
        { "ab", 2 },                                                  /* firing */
        { "a", 1 },                                                   /* kept */
        { "a", 0 },  { "ab", 1 }, { "a", 1 }, { "a", 0 }, { "a", 1 }, /* resolved */
        { "ac", 1 },                                                  /* pending */
        { "a", 1 },                                                   /* forgotten */
    };
    struct alert_set set = { 0 };

    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(minutes); m++) {
        struct alert_timing t = { T0 + (int64_t)m * MINUTE, MINUTE, 2 * MINUTE, 2 * MINUTE, 0 };
        struct alert_changes changes = { 0 };

        assert_int_equal(update(&set, minutes[m].jobs, &t, NULL), OK);
        assert_int_equal(alert_set_changed(&set), minutes[m].n_changes > 0);
        alert_changes_of(&changes, 1, 2, &set, false);
        if (changes.n != minutes[m].n_changes)
            fail_msg("minute %zu: %zu changes", m, changes.n);
        alert_set_saved(&set);
        alert_changes_free(&changes);
    }
    alert_set_free(&set);
}

static void a_record_reads_back_as_it_was(void **state)
{
    const struct label annotations[] = { { STR("empty"), STR("") }, { STR("summary"), STR("é") } };
    struct fixture_labels f;
    struct alert a = stored(&f, "x", ALERT_FIRING);
    struct alert_key key = { 1, 2, a.hash };
    struct alert_changes c = { 0 };
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct stored_alert back;
    struct bytes k, v;

    (void)state;
    a.annotations = (struct labels){ annotations, 2 };
    a.value = -0.5;
    a.resolved_at_ms = -7;
    a.keep_firing_since_ms = T0;
    alert_changes_put(&c, &key, &a);
    k = (struct bytes){ c.bytes.ptr + c.spans[0].key_at, ALERT_KEY_BYTES };
    v = (struct bytes){ c.bytes.ptr + c.spans[0].value_at, c.spans[0].n_value };
    assert_int_equal(alert_record_decode(k, v, arena, &back, &err), OK);
    assert_int_equal(back.key.group, 1);
    assert_int_equal(back.key.rule, 2);
    assert_true(labels_equal(back.alert.labels, a.labels));
    assert_true(labels_equal(back.alert.annotations, a.annotations));
    assert_int_equal(back.alert.state, ALERT_FIRING);
    assert_true(back.alert.value == a.value);
    assert_int_equal(back.alert.active_at_ms, a.active_at_ms);
    assert_int_equal(back.alert.fired_at_ms, a.fired_at_ms);
    assert_int_equal(back.alert.resolved_at_ms, -7);
    assert_int_equal(back.alert.keep_firing_since_ms, T0);

    for (size_t n = 0; n < v.len; n++) /* cut anywhere */
        assert_int_equal(
            alert_record_decode(k, (struct bytes){ v.ptr, n }, arena, &back, &err) == OK, false);
    for (size_t i = 0; i < v.len;
         i++) { /* damaged anywhere: no crash; the store's checksum refuses it */
        ((uint8_t *)v.ptr)[i] ^= 0xff;
        (void)!alert_record_decode(k, v, arena, &back, &err);
        ((uint8_t *)v.ptr)[i] ^= 0xff;
    }
    ((uint8_t *)v.ptr)[0] = 2;
    assert_int_equal(alert_record_decode(k, v, arena, &back, &err), ERR_UNSUPPORTED);
    ((uint8_t *)v.ptr)[0] = 1;
    ((uint8_t *)k.ptr)[ALERT_KEY_BYTES - 1] ^= 1;
    assert_int_equal(alert_record_decode(k, v, arena, &back, &err), ERR_CORRUPT);
    alert_changes_free(&c);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_change_as_prometheus_says),
        cmocka_unit_test(times_are_those_of_the_transitions),
        cmocka_unit_test(raising_for_makes_a_firing_alert_pending_again),
        cmocka_unit_test(over_the_limit_nothing_changes),
        cmocka_unit_test(a_resolved_alert_goes_after_15_minutes_when_all_have_heard),
        cmocka_unit_test(an_alert_is_due_when_it_changed_or_was_long_unsaid),
        cmocka_unit_test(time_away_does_not_count_as_pending),
        cmocka_unit_test(a_restart_between_two_evaluations_costs_no_time),
        cmocka_unit_test(restored_alerts_wait_for_data_to_come_back),
        cmocka_unit_test(keep_firing_for_begins_after_waiting),
        cmocka_unit_test(only_changes_are_stored),
        cmocka_unit_test(a_record_reads_back_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
