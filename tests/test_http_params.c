#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "http/message.h"
#include "http/params.h"
#include "http/route.h"

#include "base/banned.h"

static void times_are_numbers_or_rfc3339(void **state)
{
    static const struct {
        const char *text;
        int64_t t_ms;
    } cases[] = {
        { "0", 0 },
        { "1435781451.781", 1435781451781 },
        { "1.4357814517e9", 1435781451700 },
        { "-1.5", -1500 },
        { "0.0004", 0 },
        { "0.0006", 1 },
        { "1.9996", 2000 },
        { "1700000000000", 1700000000000000 },
        { "9223309901257974", TIME_MAX_MS - 999 },
        { "-9223309901257974", TIME_MIN_MS },
        { "-292273086-05-16T16:47:06Z", TIME_MIN_MS },
        { "292277025-08-18T07:12:54.999999999Z", TIME_MAX_MS },
        { "1970-01-01T00:00:00Z", 0 },
        { "2015-07-01T20:10:51.781Z", 1435781451781 },
        { "2015-07-01T20:10:51.781999999Z", 1435781451781 },
        { "2015-07-01T22:10:51.7+02:00", 1435781451700 },
        { "2015-07-01T14:40:51-05:30", 1435781451000 },
        { "1969-12-31T23:59:59.5Z", -500 },
        { "2000-02-29T00:00:00Z", 951782400000 },
        { "2100-03-01T00:00:00Z", 4107542400000 },
        { "0001-01-01T00:00:00Z", -62135596800000 },
        { "0000-03-01T00:00:00Z", -62162035200000 },
        { "0000-01-01T00:00:00Z", -62167219200000 },
        { "9999-12-31T23:59:59.999Z", 253402300799999 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t t_ms = 1;

        assert_int_equal(param_time(str_from(cases[i].text), &t_ms, NULL), OK);
        assert_int_equal(t_ms, cases[i].t_ms);
    }
}

static void other_times_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "abc",
        "NaN",
        "Inf",
        "1e30",
        "9223309901257975",
        "2015-07-01",
        "2015-07-01T20:10:51",
        "2015-07-01 20:10:51Z",
        "2015-07-01t20:10:51Z",
        "2015-7-01T20:10:51Z",
        "2015-13-01T20:10:51Z",
        "2015-00-01T20:10:51Z",
        "2015-02-29T20:10:51Z",
        "1900-02-29T20:10:51Z",
        "2015-07-00T20:10:51Z",
        "2015-07-01T24:10:51Z",
        "2015-07-01T20:60:51Z",
        "2015-07-01T20:10:60Z",
        "2015-07-01T20:10:51.Z",
        "2015-07-01T20:10:51+2:00",
        "2015-07-01T20:10:51+02:00 ",
        "2015-07-01T20:10:51Zx",
    };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    int64_t t_ms;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(param_time(str_from(cases[i]), &t_ms, &err), ERR_BAD_DATA);
    assert_int_equal(param_time(STR("x\"y"), &t_ms, &err), ERR_BAD_DATA);
    assert_string_equal(err_text(&err), "cannot parse \"x\\\"y\" to a valid timestamp");
    assert_int_equal(param_time((struct str){ "1\0", 2 }, &t_ms, &err), ERR_BAD_DATA);
    arena_free(a);
}

static void durations_are_seconds_or_units(void **state)
{
    static const struct {
        const char *text;
        enum errc rc;
        int64_t ms;
    } cases[] = {
        { "15", OK, 15000 },         { "0.5", OK, 500 },           { "1e-3", OK, 1 },
        { "0.0005", OK, 0 },         { "-3", OK, -3000 },          { "1h30m", OK, 5400000 },
        { "1m0s", OK, 60000 },       { "1d", OK, 86400000 },       { "", ERR_BAD_DATA, 0 },
        { "5m1h", ERR_BAD_DATA, 0 }, { "x", ERR_BAD_DATA, 0 },     { "NaN", ERR_BAD_DATA, 0 },
        { "1e12", ERR_BAD_DATA, 0 }, { "-1e12", ERR_BAD_DATA, 0 }, { "300y", ERR_BAD_DATA, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;

        assert_int_equal(param_duration(str_from(cases[i].text), &ms, NULL), cases[i].rc);
        if (!cases[i].rc)
            assert_int_equal(ms, cases[i].ms);
    }
}

static void limits_are_not_negative(void **state)
{
    uint64_t n;

    (void)state;
    assert_int_equal(param_limit(STR(""), &n, NULL), OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(param_limit(STR("0"), &n, NULL), OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(param_limit(STR("12"), &n, NULL), OK);
    assert_int_equal(n, 12);
    assert_int_equal(param_limit(STR("-1"), &n, NULL), ERR_BAD_DATA);
    assert_int_equal(param_limit(STR("1.5"), &n, NULL), ERR_BAD_DATA);
    assert_int_equal(param_limit(STR("x"), &n, NULL), ERR_BAD_DATA);
}

static void escaped_label_names_are_decoded(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "job", "job" },
        { "U__job", "job" },
        { "U__a_2e_b", "a.b" },
        { "U__a__b", "a_b" },
        { "U__h_e9__1F600_", "h\xc3\xa9\xf0\x9f\x98\x80" },
        { "U__", "" },
        { "U__a_", "U__a_" },
        { "U__a_2e", "U__a_2e" },
        { "U__a_zz_", "U__a_zz_" },
        { "U__a_1234567_", "U__a_1234567_" },
        { "U__a_d800_", "U__a_d800_" },
        { "U__a_110000_", "U__a_110000_" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = param_label_name(str_from(cases[i].in), a);

        assert_true(str_is(got, cases[i].out));
    }
    arena_free(a);
}

static void pairs_keep_order_repeats_and_nul(void **state)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct http_pairs p = { 0 };
    struct http_request rq = { 0 };

    (void)state;
    assert_int_equal(http_pairs_parse(STR("&a=1&&b&=x&a=%31+2&c=%00%ff&d=x=y&"), a, &p, &err), OK);
    assert_int_equal(p.n, 6);
    rq.params = p;
    assert_true(str_is(http_param(&rq, "a"), "1"));
    assert_true(str_is(p.items[3].value, "1 2"));
    assert_true(str_is(http_param(&rq, "b"), ""));
    assert_true(str_is(http_param(&rq, ""), "x"));
    assert_int_equal(http_param(&rq, "c").len, 2);
    assert_memory_equal(http_param(&rq, "c").ptr, "\0\xff", 2);
    assert_true(str_is(http_param(&rq, "d"), "x=y"));
    assert_true(str_is(http_param(&rq, "missing"), ""));
    arena_free(a);
}

static void bad_escapes_and_too_many_pairs_are_refused(void **state)
{
    static const char *const bad[] = { "a=%", "a=%1", "a=%g1", "%zz=1", "a=1&b=%2" };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct http_pairs p = { 0 };
    struct buf many = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(http_pairs_parse(str_from(bad[i]), a, &p, &err), ERR_BAD_DATA);
    assert_string_equal(err_text(&err), "invalid URL escape \"%2\"");
    for (int i = 0; i <= HTTP_MAX_PARAMS; i++)
        buf_text(&many, "a&");
    p = (struct http_pairs){ 0 };
    assert_int_equal(http_pairs_parse(buf_as_str(&many), a, &p, &err), ERR_LIMIT);
    buf_free(&many);
    arena_free(a);
}

static void full_arena_is_an_error_not_a_crash(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 600; limit += 7) {
        struct arena *a = arena_new(limit);
        struct http_pairs p = { 0 };
        enum errc rc = http_pairs_parse(STR("a=1&b=2&c=3&d=4&e=5&f=6&g=7"), a, &p, NULL);

        assert_true(rc == OK || rc == ERR_LIMIT);
        arena_free(a);
    }
}

static void media_types_follow_rfc9110(void **state)
{
    static const struct {
        const char *header, *type, *proto;
    } cases[] = {
        { "application/x-protobuf", "application/x-protobuf", "" },
        { "application/x-protobuf;proto=a.b", "application/x-protobuf", "a.b" },
        { " text/plain ; charset=utf-8; Proto = \"a.b\" ", "text/plain", "a.b" },
        { "", "", "" },
        { ";", "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(str_is(http_media_type(str_from(cases[i].header)), cases[i].type));
        assert_true(str_is(http_media_param(str_from(cases[i].header), "proto"), cases[i].proto));
    }
}

static void routes_match_whole_segments(void **state)
{
    static const struct route routes[] = {
        { .pattern = "/" },
        { .pattern = "/api/v1/labels" },
        { .pattern = "/api/v1/label/*/values" },
    };
    static const struct {
        const char *path;
        int route;
        const char *arg;
    } cases[] = {
        { "/", 0, "" },
        { "", -1, "" },
        { "//", -1, "" },
        { "/api/v1/labels", 1, "" },
        { "/api/v1/labels/", -1, "" },
        { "/api/v1/label", -1, "" },
        { "/api/v1/label/x/values", 2, "x" },
        { "/api/v1/label/a%2Fb/values", 2, "a%2Fb" },
        { "/api/v1/label/a/b/values", -1, "" },
        { "/api/v1/label//values", -1, "" },
        { "/api/v1/label/x/valuesx", -1, "" },
        { "/API/v1/labels", -1, "" },
    };
    struct http_service service = { .routes = routes, .n_routes = ARRAY_LEN(routes) };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str arg;
        const struct route *r = route_find(&service, str_from(cases[i].path), &arg);

        assert_ptr_equal(r, cases[i].route < 0 ? NULL : &routes[cases[i].route]);
        if (r)
            assert_true(str_is(arg, cases[i].arg));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_numbers_or_rfc3339),
        cmocka_unit_test(other_times_are_refused),
        cmocka_unit_test(durations_are_seconds_or_units),
        cmocka_unit_test(limits_are_not_negative),
        cmocka_unit_test(escaped_label_names_are_decoded),
        cmocka_unit_test(pairs_keep_order_repeats_and_nul),
        cmocka_unit_test(bad_escapes_and_too_many_pairs_are_refused),
        cmocka_unit_test(full_arena_is_an_error_not_a_crash),
        cmocka_unit_test(media_types_follow_rfc9110),
        cmocka_unit_test(routes_match_whole_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
