#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "storage/labels_json.h"

#include "base/banned.h"

static void assert_text(struct buf *b, const char *want)
{
    buf_u8(b, 0);
    assert_false(b->failed);
    assert_string_equal((char *)b->ptr, want);
    buf_clear(b);
}

static void strings_are_escaped(void **state)
{
    static const struct {
        struct str in;
        const char *string, *text;
    } cases[] = {
        { { "", 0 }, "\"\"", "\"\"" },
        { { NULL, 0 }, "\"\"", "\"\"" },
        { { "a\"b\\c", 5 }, "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\"" },
        { { "\n\r\t\x01\x1f\x7f", 6 },
          "\"\\n\\r\\t\\u0001\\u001f\x7f\"",
          "\"\\n\\r\\t\\u0001\\u001f\x7f\"" },
        { { "a\0b", 3 }, "\"a\\u0000b\"", "\"a\\u0000b\"" },
        { { "<b>&", 4 }, "\"<b>&\"", "\"\\u003cb\\u003e\\u0026\"" },
        { { "h\xc3\xa9 \xf0\x9f\x98\x80", 8 },
          "\"h\xc3\xa9 \xf0\x9f\x98\x80\"",
          "\"h\xc3\xa9 \xf0\x9f\x98\x80\"" },
        { { "a\xff\xc3", 3 }, "\"a\xef\xbf\xbd\xef\xbf\xbd\"", "\"a\xef\xbf\xbd\xef\xbf\xbd\"" },
        { { "\xed\xa0\x80x", 4 },
          "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"",
          "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"" },
        { { "\xe2\x80\xa8", 3 }, "\"\\u2028\"", "\"\\u2028\"" },
    };
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_string(&b, cases[i].in);
        assert_text(&b, cases[i].string);
        json_text(&b, cases[i].in);
        assert_text(&b, cases[i].text);
    }
    buf_free(&b);
}

static void labels_are_an_object(void **state)
{
    struct label items[] = { { STR("__name__"), STR("up") }, { STR("a.b"), STR("x\"y") } };
    struct buf b = { 0 };

    (void)state;
    json_labels(&b, (struct labels){ NULL, 0 });
    assert_text(&b, "{}");
    json_labels(&b, (struct labels){ items, 2 });
    assert_text(&b, "{\"__name__\":\"up\",\"a.b\":\"x\\\"y\"}");
    buf_free(&b);
}

static void times_are_seconds(void **state)
{
    static const struct {
        int64_t t_ms;
        const char *sample, *shortest;
    } cases[] = {
        { 0, "0", "0" },
        { 1, "0.001", "0.001" },
        { 1500, "1.500", "1.5" },
        { 1050, "1.050", "1.05" },
        { 60000, "60", "60" },
        { 1435781451781, "1435781451.781", "1435781451.781" },
        { -1, "-0.001", "-0.001" },
        { -1500, "-1.500", "-1.5" },
        { INT64_MIN, "-9223372036854775.808", "-9223372036854776" },
        { INT64_MAX, "9223372036854775.807", "9223372036854776" },
    };
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_time(&b, cases[i].t_ms);
        assert_text(&b, cases[i].sample);
        json_time_shortest(&b, cases[i].t_ms);
        assert_text(&b, cases[i].shortest);
    }
    buf_free(&b);
}

static void values_are_strings(void **state)
{
    static const struct {
        double v;
        const char *value, *scalar;
    } cases[] = {
        { 0, "\"0\"", "\"0\"" },
        { -0.0, "\"-0\"", "\"-0\"" },
        { 1e-7, "\"1e-07\"", "\"0.0000001\"" },
        { 1e21, "\"1e+21\"", "\"1000000000000000000000\"" },
        { 0.1, "\"0.1\"", "\"0.1\"" },
        { NAN, "\"NaN\"", "\"NaN\"" },
        { INFINITY, "\"+Inf\"", "\"+Inf\"" },
        { -INFINITY, "\"-Inf\"", "\"-Inf\"" },
    };
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_value(&b, cases[i].v);
        assert_text(&b, cases[i].value);
        json_scalar(&b, cases[i].v);
        assert_text(&b, cases[i].scalar);
    }
    buf_free(&b);
}

static void samples_are_pairs(void **state)
{
    struct buf b = { 0 };

    (void)state;
    json_sample(&b, 1435781451781, 1e-7);
    json_sample(&b, -1500, -0.0);
    json_sample(&b, INT64_MIN, INFINITY);
    assert_text(&b, "[1435781451.781,\"1e-07\"][-1.500,\"-0\"]"
                    "[-9223372036854775.808,\"+Inf\"]");
    buf_free(&b);
}

static void times_are_rfc_3339(void **state)
{
    static const struct {
        int64_t t_ms;
        const char *text;
    } cases[] = {
        { 0, "\"1970-01-01T00:00:00.000Z\"" },
        { 1, "\"1970-01-01T00:00:00.001Z\"" },
        { 1435781451781, "\"2015-07-01T20:10:51.781Z\"" },
        { 951782400050, "\"2000-02-29T00:00:00.050Z\"" },
        { 253402300799999, "\"9999-12-31T23:59:59.999Z\"" },
        { 253402300800000, "\"9999-12-31T23:59:59.999Z\"" },
        { INT64_MAX, "\"9999-12-31T23:59:59.999Z\"" },
        { -1, "\"1970-01-01T00:00:00.000Z\"" },
        { INT64_MIN, "\"1970-01-01T00:00:00.000Z\"" },
    };
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_rfc3339(&b, cases[i].t_ms);
        assert_text(&b, cases[i].text);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped), cmocka_unit_test(labels_are_an_object),
        cmocka_unit_test(times_are_seconds),   cmocka_unit_test(values_are_strings),
        cmocka_unit_test(samples_are_pairs),   cmocka_unit_test(times_are_rfc_3339),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
