#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "storage/sample.h"

#include "base/banned.h"

static void fill(struct column *c, const int64_t *times, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_true(column_add(c, times[i], (double)i));
}

static void only_one_nan_is_the_staleness_marker(void **state)
{
    (void)state;
    assert_true(is_stale(stale_nan()));
    assert_true(isnan(stale_nan()));
    assert_false(is_stale(f64_from_bits(QUIET_NAN_BITS)));
    assert_false(is_stale(f64_from_bits(STALE_NAN_BITS | 1ULL << 63)));
    assert_false(is_stale(f64_from_bits(0x7ff8000000000002)));
    assert_false(is_stale(0));
}

static void days_round_down(void **state)
{
    static const struct {
        int64_t t_ms, day;
    } cases[] = {
        { 0, 0 },
        { DAY_MS - 1, 0 },
        { DAY_MS, 1 },
        { -1, -1 },
        { -DAY_MS, -1 },
        { -DAY_MS - 1, -2 },
        { 1700000000000, 19675 },
        { INT64_MAX, 106751991167 },
        { INT64_MIN, -106751991168 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(day_of(cases[i].t_ms), cases[i].day);
}

static void the_first_and_last_days_end_with_the_times_there_are(void **state)
{
    static const struct {
        int64_t day, first, last;
    } cases[] = {
        { 0, 0, DAY_MS - 1 },
        { -1, -DAY_MS, -1 },
        { 20000, 20000LL * DAY_MS, 20001LL * DAY_MS - 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(day_first_ms(cases[i].day) == cases[i].first);
        assert_true(day_last_ms(cases[i].day) == cases[i].last);
    }
    assert_true(day_first_ms(day_of(INT64_MIN)) == INT64_MIN);
    assert_true(day_last_ms(day_of(INT64_MIN)) == day_first_ms(day_of(INT64_MIN) + 1) - 1);
    assert_true(day_first_ms(day_of(INT64_MAX)) == day_last_ms(day_of(INT64_MAX) - 1) + 1);
    assert_true(day_last_ms(day_of(INT64_MAX)) == INT64_MAX);
}

static void a_column_keeps_every_bit(void **state)
{
    static const uint64_t bits[] = { STALE_NAN_BITS, QUIET_NAN_BITS, 0x8000000000000000, 1,
                                     0x7ff4000000000000 };
    struct column c = { 0 };

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        assert_true(column_add(&c, (int64_t)i, f64_from_bits(bits[i % ARRAY_LEN(bits)])));
    assert_int_equal(c.n, 1000);
    for (size_t i = 0; i < c.n; i++) {
        assert_int_equal(c.t_ms[i], i);
        assert_int_equal(f64_bits(c.v[i]), bits[i % ARRAY_LEN(bits)]);
    }
    column_free(&c);
    assert_null(c.t_ms);
    assert_int_equal(c.n, 0);
}

static void reserving_too_much_changes_nothing(void **state)
{
    struct column c = { 0 };

    (void)state;
    assert_true(column_add(&c, 1, 2));
    assert_false(column_reserve(&c, SIZE_MAX));
    assert_false(column_reserve(&c, SIZE_MAX / 16));
    assert_int_equal(c.n, 1);
    assert_true(column_reserve(&c, 5000));
    assert_true(c.cap >= 5000);
    assert_int_equal(c.t_ms[0], 1);
    column_free(&c);
}

/* Values are the places the samples had before. */
static void normalising_sorts_and_keeps_the_first_of_equal_times(void **state)
{
    static const struct {
        int64_t times[8];
        size_t n;
        int64_t sorted[8];
        double first[8];
        size_t n_sorted;
    } cases[] = {
        { { 0 }, 0, { 0 }, { 0 }, 0 },
        { { 5 }, 1, { 5 }, { 0 }, 1 },
        { { 1, 2, 3 }, 3, { 1, 2, 3 }, { 0, 1, 2 }, 3 },
        { { 3, 2, 1 }, 3, { 1, 2, 3 }, { 2, 1, 0 }, 3 },
        { { 1, 1, 2 }, 3, { 1, 2 }, { 0, 2 }, 2 },
        { { 2, 1, 2, 1 }, 4, { 1, 2 }, { 1, 0 }, 2 },
        { { 7, 7, 7, 7, 7 }, 5, { 7 }, { 0 }, 1 },
        { { 4, -1, 4, INT64_MAX, INT64_MIN, -1, 0 },
          7,
          { INT64_MIN, -1, 0, 4, INT64_MAX },
          { 4, 1, 6, 0, 3 },
          5 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct column c = { 0 };

        fill(&c, cases[i].times, cases[i].n);
        assert_true(column_normalise(&c));
        assert_int_equal(c.n, cases[i].n_sorted);
        for (size_t j = 0; j < c.n; j++) {
            assert_int_equal(c.t_ms[j], cases[i].sorted[j]);
            assert_true(c.v[j] == cases[i].first[j]);
        }
        column_free(&c);
    }
}

/* Against a search for the first sample of each time. */
static void normalising_random_columns(void **state)
{
    uint32_t x = 1;

    (void)state;
    for (size_t n = 1; n < 200; n++) {
        struct column c = { 0 };
        int64_t times[200];

        for (size_t i = 0; i < n; i++) {
            x = x * 1664525 + 1013904223;
            times[i] = (x >> 16) % 100;
        }
        fill(&c, times, n);
        assert_true(column_normalise(&c));
        for (size_t j = 0; j < c.n; j++) {
            size_t first = 0;

            while (times[first] != c.t_ms[j])
                first++;
            assert_true(c.v[j] == (double)first);
            assert_true(j == 0 || c.t_ms[j - 1] < c.t_ms[j]);
        }
        for (size_t i = 0; i < n; i++) {
            size_t j = 0;

            while (j < c.n && c.t_ms[j] != times[i])
                j++;
            assert_true(j < c.n);
        }
        column_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_nan_is_the_staleness_marker),
        cmocka_unit_test(days_round_down),
        cmocka_unit_test(the_first_and_last_days_end_with_the_times_there_are),
        cmocka_unit_test(a_column_keeps_every_bit),
        cmocka_unit_test(reserving_too_much_changes_nothing),
        cmocka_unit_test(normalising_sorts_and_keeps_the_first_of_equal_times),
        cmocka_unit_test(normalising_random_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
