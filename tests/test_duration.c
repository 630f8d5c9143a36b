#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/duration.h"

#include "base/banned.h"

static const int64_t minute = 60000, hour = 3600000, day = 86400000;

static void a_duration_is_the_sum_of_its_parts(void **state)
{
    const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        { "0", 0 },
        { "0s", 0 },
        { "0y0ms", 0 },
        { "1ms", 1 },
        { "5m", 5 * minute },
        { "1h30m", 90 * minute },
        { "15d", 15 * day },
        { "1y", 365 * day },
        { "2w", 14 * day },
        { "54s321ms", 54321 },
        { "1y2w3d4h5m6s7ms", (365 + 14 + 3) * day + 4 * hour + 5 * minute + 6007 },
        { "90m", 90 * minute },
        { "007s", 7000 },
        { "292y", 292 * 365 * day },
        { "9223372036854ms", INT64_MAX / 1000000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;

        assert_int_equal(duration_parse(str_from(cases[i].text), &ms, NULL), OK);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void errors_are_prometheus(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "", "empty duration string" },
        { "5m1h", "not a valid duration string: \"5m1h\"" },
        { "5m5m", "not a valid duration string: \"5m5m\"" },
        { "1ms1s", "not a valid duration string: \"1ms1s\"" },
        { "m", "not a valid duration string: \"m\"" },
        { "-5m", "not a valid duration string: \"-5m\"" },
        { " 5m", "not a valid duration string: \" 5m\"" },
        { "5", "not a valid duration string: \"5\"" },
        { "1h5", "not a valid duration string: \"1h5\"" },
        { "00", "not a valid duration string: \"00\"" },
        { "99999999999999999999s", "not a valid duration string: \"99999999999999999999s\"" },
        { "5x", "unknown unit \"x\" in duration \"5x\"" },
        { "5y1hs", "unknown unit \"hs\" in duration \"5y1hs\"" },
        { "1.5h", "unknown unit \".\" in duration \"1.5h\"" },
        { "5M", "unknown unit \"M\" in duration \"5M\"" },
        { "5m ", "unknown unit \"m \" in duration \"5m \"" },
        { "293y", "duration out of range" },
        { "9223372036855ms", "duration out of range" },
        { "292y100w", "duration out of range" },
        { "9223372036854775807y", "duration out of range" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        int64_t ms = 42;

        assert_int_equal(duration_parse(str_from(cases[i].text), &ms, &err), ERR_BAD_DATA);
        assert_string_equal(err_text(&err), cases[i].error);
        assert_int_equal(ms, 42);
        arena_free(a);
    }
}

static void the_canonical_form_uses_the_largest_units(void **state)
{
    const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        { 0, "0s" },
        { 1, "1ms" },
        { 1000, "1s" },
        { 1500, "1s500ms" },
        { 5 * minute, "5m" },
        { 90 * minute, "1h30m" },
        { day, "1d" },
        { 7 * day, "1w" },
        { 90 * day, "90d" },
        { 14 * day, "2w" },
        { 365 * day, "1y" },
        { 730 * day, "2y" },
        { 366 * day, "366d" },
        { 7 * day + hour, "7d1h" },
        { -5 * minute, "-5m" },
        { INT64_MIN, "-106751991167d7h12m55s808ms" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = { 0 };

        duration_print(&b, cases[i].ms);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].text);
        buf_free(&b);
    }
}

static void a_printed_duration_reads_back(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms < 800 * day; ms = ms * 3 / 2 + 1) {
        struct buf b = { 0 };
        int64_t back;

        duration_print(&b, ms);
        assert_int_equal(duration_parse(buf_as_str(&b), &back, NULL), OK);
        assert_int_equal(back, ms);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_is_the_sum_of_its_parts),
        cmocka_unit_test(errors_are_prometheus),
        cmocka_unit_test(the_canonical_form_uses_the_largest_units),
        cmocka_unit_test(a_printed_duration_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
