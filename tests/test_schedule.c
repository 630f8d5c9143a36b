#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alert/schedule.h"
#include "base/compiler.h"

#include "base/banned.h"

static void slots_are_a_grid_with_a_place(void **state)
{
    static const struct {
        int64_t t_ms, interval_ms, place_ms, slot_ms;
    } cases[] = {
        { 0, 60000, 0, 0 },
        { 59999, 60000, 0, 0 },
        { 60000, 60000, 0, 60000 },
        { 60000, 60000, 1, 1 },
        { 60001, 60000, 1, 60001 },
        { 0, 60000, 1, -59999 },
        { -1, 60000, 0, -60000 },
        { -60000, 60000, 0, -60000 },
        { 1700000012345, 15000, 14999, 1700000009999 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(slot_before(cases[i].t_ms, cases[i].interval_ms, cases[i].place_ms),
                         cases[i].slot_ms);
    assert_int_equal(slot_place(UINT64_MAX, 60000), UINT64_MAX % 60000);
}

/* Asks a second of monotonic time after another; wall_s is what the wall clock says. */
struct ask {
    int64_t mono_s, wall_s;
    enum steady_event event;
    int64_t now_s;
};

static void play(const struct ask *asks, size_t n)
{
    struct steady_time s = steady_time_start(1000 * 1000, 0);

    for (size_t i = 0; i < n; i++) {
        int64_t now_ms;

        assert_int_equal(
            steady_time_now(&s, asks[i].wall_s * 1000, asks[i].mono_s * 1000000000, &now_ms),
            asks[i].event);
        assert_int_equal(now_ms, asks[i].now_s * 1000);
    }
}

static void a_drifting_clock_is_followed(void **state)
{
    static const struct ask asks[] = {
        { 1, 1001, STEADY_RUNS, 1001 },
        { 2, 1003, STEADY_RUNS, 1003 }, /* a second too much */
        { 4, 1006, STEADY_RUNS, 1006 },
        { 5, 1006, STEADY_RUNS, 1006 }, /* a second too little */
    };

    (void)state;
    play(asks, ARRAY_LEN(asks));
}

static void a_jump_that_comes_back_changes_nothing(void **state)
{
    static const struct ask asks[] = {
        { 1, 1001, STEADY_RUNS, 1001 },      { 2, 87402, STEADY_JUMPED, 1002 },
        { 3, 87403, STEADY_RUNS, 1003 },     { 61, 87461, STEADY_RUNS, 1061 },
        { 61, 1061, STEADY_RETURNED, 1061 }, { 62, 1062, STEADY_RUNS, 1062 },
        { 63, 63, STEADY_JUMPED, 1063 },     { 64, 1064, STEADY_RETURNED, 1064 },
    };

    (void)state;
    play(asks, ARRAY_LEN(asks));
}

static void a_jump_that_stays_is_believed_after_a_minute(void **state)
{
    static const struct ask asks[] = {
        { 1, 501, STEADY_JUMPED, 1001 },
        { 60, 560, STEADY_RUNS, 1060 },
        { 61, 561, STEADY_MOVED, 561 },
        { 62, 562, STEADY_RUNS, 562 },
    };

    (void)state;
    play(asks, ARRAY_LEN(asks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_a_grid_with_a_place),
        cmocka_unit_test(a_drifting_clock_is_followed),
        cmocka_unit_test(a_jump_that_comes_back_changes_nothing),
        cmocka_unit_test(a_jump_that_stays_is_believed_after_a_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
