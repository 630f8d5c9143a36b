/* Expected texts and values are those of Go's strconv. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"

#include "base/banned.h"

static const char *formatted(double v, enum number_form form, char text[NUMBER_MAX + 1])
{
    text[number_format(v, form, text)] = '\0';
    return text;
}

static void every_form_is_gos(void **state)
{
    static const struct {
        uint64_t bits;
        const char *json, *plain, *g, *e;
    } cases[] = {
        { 0x0000000000000000, "0", "0", "0", "0e+00" },
        { 0x8000000000000000, "-0", "-0", "-0", "-0e+00" },
        { 0x7ff8000000000001, "NaN", "NaN", "NaN", "NaN" },
        { 0x7ff0000000000000, "+Inf", "+Inf", "+Inf", "+Inf" },
        { 0xfff0000000000000, "-Inf", "-Inf", "-Inf", "-Inf" },
        { 0x3ff0000000000000, "1", "1", "1", "1e+00" },
        { 0xbff8000000000000, "-1.5", "-1.5", "-1.5", "-1.5e+00" },
        { 0x3fb999999999999a, "0.1", "0.1", "0.1", "1e-01" },
        { 0x4059000000000000, "100", "100", "100", "1e+02" },
        { 0x40fe240000000000, "123456", "123456", "123456", "1.23456e+05" },
        { 0x412e847e00000000, "999999", "999999", "999999", "9.99999e+05" },
        { 0x412e848000000000, "1000000", "1000000", "1e+06", "1e+06" },
        { 0x4132d68700000000, "1234567", "1234567", "1.234567e+06", "1.234567e+06" },
        { 0x3f1a36e2eb1c432d, "0.0001", "0.0001", "0.0001", "1e-04" },
        { 0x3ee4f8b588e368f1, "0.00001", "0.00001", "1e-05", "1e-05" },
        { 0x3eb0c6f7a0b5ed8d, "0.000001", "0.000001", "1e-06", "1e-06" },
        { 0x3eb0c6f784902b25, "9.999999e-07", "0.0000009999999", "9.999999e-07", "9.999999e-07" },
        { 0x3e7ad7f29abcaf48, "1e-07", "0.0000001", "1e-07", "1e-07" },
        { 0x4415af1d78b58c40, "100000000000000000000", "100000000000000000000", "1e+20", "1e+20" },
        { 0x444b1ae4d6e2ef50, "1e+21", "1000000000000000000000", "1e+21", "1e+21" },
        { 0x441ac53a7e04bcda, "123456789012345680000", "123456789012345680000",
          "1.2345678901234568e+20", "1.2345678901234568e+20" },
        { 0x4480f0cf064dd592, "1e+22", "10000000000000000000000", "1e+22", "1e+22" },
        { 0x3fd3333333333333, "0.3", "0.3", "0.3", "3e-01" },
        { 0x3fe5555555555555, "0.6666666666666666", "0.6666666666666666", "0.6666666666666666",
          "6.666666666666666e-01" },
        { 0x4340000000000000, "9007199254740992", "9007199254740992", "9.007199254740992e+15",
          "9.007199254740992e+15" },
        { 0x4340000000000001, "9007199254740994", "9007199254740994", "9.007199254740994e+15",
          "9.007199254740994e+15" },
        { 0x3d30000000000000, "5.684341886080802e-14", "0.00000000000005684341886080802",
          "5.684341886080802e-14", "5.684341886080802e-14" },
        { 0x4580000000000000, "6.189700196426902e+26", "618970019642690200000000000",
          "6.189700196426902e+26", "6.189700196426902e+26" },
        { 0x433fffffffffffff, "9007199254740991", "9007199254740991", "9.007199254740991e+15",
          "9.007199254740991e+15" },
        { 0x4011666666666666, "4.35", "4.35", "4.35", "4.35e+00" },
        { 0x430c6bf526340000, "1000000000000000", "1000000000000000", "1e+15", "1e+15" },
        { 0x4341c37937e08000, "10000000000000000", "10000000000000000", "1e+16", "1e+16" },
        { 0x419d6f3454800000, "123456789.125", "123456789.125", "1.23456789125e+08",
          "1.23456789125e+08" },
        { 0x3eff75104d551d69, "0.00003", "0.00003", "3e-05", "3e-05" },
    };
    char text[NUMBER_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = f64_from_bits(cases[i].bits);

        assert_string_equal(formatted(v, NUMBER_JSON, text), cases[i].json);
        assert_string_equal(formatted(v, NUMBER_PLAIN, text), cases[i].plain);
        assert_string_equal(formatted(v, NUMBER_G, text), cases[i].g);
        assert_string_equal(formatted(v, NUMBER_E, text), cases[i].e);
    }
}

static void the_longest_text_fits(void **state)
{
    static const uint64_t bits[] = { 0x8000000000000001, 0x800fffffffffffff, 0xffefffffffffffff };
    char text[NUMBER_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        assert_true(number_format(f64_from_bits(bits[i]), NUMBER_PLAIN, text) <= NUMBER_MAX);
}

/* xorshift64*, so that every run sees the same numbers */
static uint64_t next_random(uint64_t *x)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * 0x2545f4914f6cdd1dU;
}

static void a_text_reads_back_to_the_same_bits(void **state)
{
    static const enum number_form forms[] = { NUMBER_JSON, NUMBER_PLAIN, NUMBER_G, NUMBER_E };
    uint64_t x = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double v = f64_from_bits(next_random(&x)), back;
        char text[NUMBER_MAX + 1];

        if (i % 4 == 0) /* short decimals, as most metrics are */
            v = (double)(int64_t)(next_random(&x) >> 30) / 1000;
        if (isnan(v))
            continue;
        formatted(v, forms[i % 4], text);
        assert_true(number_parse(str_from(text), false, &back, NULL));
        assert_int_equal(f64_bits(back), f64_bits(v));
    }
}

static void fewer_digits_would_not_do(void **state)
{
    uint64_t x = 2;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double v = fabs(f64_from_bits(next_random(&x))), back;
        char text[NUMBER_MAX + 1], shorter[40];

        if (!isfinite(v) || v == 0)
            continue;
        formatted(v, NUMBER_E, text);
        int n_digits = (int)(strchr(text, 'e') - text) - (text[1] == '.');

        if (n_digits < 2)
            continue;
        snprintf(shorter, sizeof shorter, "%.*e", n_digits - 2, v);
        back = strtod(shorter, NULL);
        assert_true(f64_bits(back) != f64_bits(v));
    }
}

static void reading_follows_gos_grammar(void **state)
{
    static const struct {
        const char *text;
        uint64_t bits;
    } cases[] = {
        { "0x1p-2", 0x3fd0000000000000 },
        { "1_000", 0x408f400000000000 },
        { "1e5", 0x40f86a0000000000 },
        { "0x1.8p3", 0x4028000000000000 },
        { "0X_1P+1", 0x4000000000000000 },
        { "inf", 0x7ff0000000000000 },
        { "+Infinity", 0x7ff0000000000000 },
        { "nan", 0x7ff8000000000001 },
        { "-0", 0x8000000000000000 },
        { "0x.8p1", 0x3ff0000000000000 },
        { "1.", 0x3ff0000000000000 },
        { "-.5", 0xbfe0000000000000 },
        { "0_1", 0x3ff0000000000000 },
        { "1e1_0", 0x4202a05f20000000 },
        { "0x1p1_0", 0x4090000000000000 },
        { "0xfp1", 0x403e000000000000 },
        { "123456789012345678901234567890", 0x45f8ee90ff6c373e },
        { "4.9e-324", 0x0000000000000001 },
        { "2.4703282292062327e-324", 0x0000000000000000 },
        { "2.4703282292062328e-324", 0x0000000000000001 },
        { "1e-400", 0x0000000000000000 },
        { "1.7976931348623158e308", 0x7fefffffffffffff },
        { "0x1.fffffffffffff8p0", 0x4000000000000000 },
        { "0x1.fffffffffffff7ffp0", 0x3fffffffffffffff },
        { "0x1p-1075", 0x0000000000000000 },
        { "0x1.8p-1075", 0x0000000000000001 },
        { "007", 0x401c000000000000 },
        { "1e0005", 0x40f86a0000000000 },
        { "0x1e5p0", 0x407e500000000000 },
        { "iNf", 0x7ff0000000000000 },
        { "-INFINITY", 0xfff0000000000000 },
        { "NaN", 0x7ff8000000000001 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v;

        if (!number_parse(str_from(cases[i].text), true, &v, NULL))
            fail_msg("\"%s\" is refused", cases[i].text);
        if (f64_bits(v) != cases[i].bits)
            fail_msg("\"%s\" is read as %a", cases[i].text, v);
    }
}

static void what_go_refuses_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      "+",   ".",     "1__0", "_1",  "1_",   "1e+_5",   "1_.5", "1._5", "0b1",  "0o17",
        "1e",    "1e+", "--1",   "1 ",   " 1",  "infi", "infinit", "+nan", "-nan", "0x",   "0x1",
        "0x.p1", "1p5", "1e5.0", "e5",   ".e1", "1,5",  "0x1p",    "1f",   "nano", "0x1.8"
    };
    double v;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (number_parse(str_from(texts[i]), true, &v, NULL))
            fail_msg("\"%s\" is read as %a", texts[i], v);
    assert_false(number_parse((struct str){ "1\0", 2 }, true, &v, NULL));
}

static void underscores_need_permission(void **state)
{
    double v;

    (void)state;
    assert_true(number_parse(STR("1_000"), true, &v, NULL));
    assert_true(v == 1000);
    assert_false(number_parse(STR("1_000"), false, &v, NULL));
    assert_false(number_parse(STR("0x_1p1"), false, &v, NULL));
}

static void overflow_is_reported(void **state)
{
    static const struct {
        const char *text;
        bool out_of_range;
    } cases[] = {
        { "1e308", false },
        { "1e309", true },
        { "-1e999999999999", true },
        { "1e-400", false },
        { "inf", false },
        { "0x1p1024", true },
        { "1.7976931348623158e308", false },
        { "1.7976931348623159e308", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool out_of_range = !cases[i].out_of_range;
        double v;

        assert_true(number_parse(str_from(cases[i].text), false, &v, &out_of_range));
        assert_int_equal(out_of_range, cases[i].out_of_range);
        if (out_of_range)
            assert_true(isinf(v) && signbit(v) == (cases[i].text[0] == '-'));
    }
}

static void long_numbers_are_read(void **state)
{
    struct buf b = { 0 };
    double v;

    (void)state;
    for (int i = 0; i < 1000; i++)
        buf_text(&b, i ? "0" : "1");
    buf_text(&b, "e-999");
    assert_true(number_parse(buf_as_str(&b), false, &v, NULL));
    assert_true(v == 1);
    buf_free(&b);
}

static void integers_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        int64_t v;
    } good[] = {
        { "0", 0 },
        { "-0", 0 },
        { "+5", 5 },
        { "0005", 5 },
        { "-17", -17 },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
    };
    static const char *const bad[] = { "",
                                       "+",
                                       "-",
                                       "1 ",
                                       " 1",
                                       "1.",
                                       "1e1",
                                       "0x1",
                                       "1_0",
                                       "9223372036854775808",
                                       "--1",
                                       "-9223372036854775809",
                                       "99999999999999999999" };
    int64_t v;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(number_parse_i64(str_from(good[i].text), &v));
        assert_int_equal(v, good[i].v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(number_parse_i64(str_from(bad[i]), &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_gos),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(a_text_reads_back_to_the_same_bits),
        cmocka_unit_test(fewer_digits_would_not_do),
        cmocka_unit_test(reading_follows_gos_grammar),
        cmocka_unit_test(what_go_refuses_is_refused),
        cmocka_unit_test(underscores_need_permission),
        cmocka_unit_test(overflow_is_reported),
        cmocka_unit_test(long_numbers_are_read),
        cmocka_unit_test(integers_are_read_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
