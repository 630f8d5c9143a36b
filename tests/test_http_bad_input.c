/* test_http_bad_input.c -- what no client should send: the right 4xx, in the right form, and the
 * server goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api_rig.h"

#include "base/banned.h"

static void parameters_are_refused_by_name(void **state)
{
    static const struct {
        const char *target;
        int status;
        const char *type, *part; /* of the answer */
    } cases[] = {
        { "/api/v1/query", 400, HTTP_JSON, "\\\"query\\\": unknown position: parse error" },
        { "/api/v1/query?query=up%00", 400, HTTP_JSON, "unexpected character: '\\\\x00'" },
        { "/api/v1/query?query=%ff", 400, HTTP_JSON, "unexpected character" },
        { "/api/v1/query?query=up&time=1%00", 400, HTTP_JSON, "cannot parse \\\"1\\\\x00\\\"" },
        { "/api/v1/query?query=up&time=1e30", 400, HTTP_JSON, "\\\"time\\\"" },
        { "/api/v1/query?query=up&time=&timeout=1s%00", 400, HTTP_JSON, "\\\"timeout\\\"" },
        { "/api/v1/query?query=up&limit=-1", 400, HTTP_JSON, "limit must be non-negative" },
        { "/api/v1/query?query=up&limit=99999999999999999999", 400, HTTP_JSON, "\\\"limit\\\"" },
        { "/api/v1/query?query=up&time=1&time=x", 200, HTTP_JSON, "" }, /* the first counts */
        { "/api/v1/query?query=up&%zz=1", 400, HTTP_JSON, "invalid URL escape" },
        { "/api/v1/query_range?query=up", 400, HTTP_JSON, "\\\"start\\\"" },
        { "/api/v1/query_range?query=up&start=2&end=1&step=1", 400, HTTP_JSON, "\\\"end\\\"" },
        { "/api/v1/query_range?query=up&start=1&end=2&step=0", 400, HTTP_JSON,
          "zero or negative query resolution step" },
        { "/api/v1/query_range?query=up&start=1&end=2&step=1%00", 400, HTTP_JSON, "\\\"step\\\"" },
        { "/api/v1/label/a%00b/values", 200, HTTP_JSON, "[]" },
        { "/api/v1/label/%FF/values", 400, HTTP_JSON, "invalid label name: \\\"\\\\xff\\\"" },
        { "/api/v1/label/a%2/values", 400, HTTP_TEXT, "invalid URL escape" },
        { "/api/v1/series", 400, HTTP_JSON, "no match[] parameter provided" },
        { "/api/v1/series?match[]=%7B%7D", 400, HTTP_JSON, "at least one non-empty matcher" },
        { "/api/v1/series?match[]=up%00", 400, HTTP_JSON, "unexpected character" },
        { "/api/v1/labels?limit=1e9", 400, HTTP_JSON, "\\\"limit\\\"" },
        { "/api/v1/metadata?limit=x", 400, HTTP_JSON, "limit must be a number" },
        { "/api/v1/rules?type=x%00", 400, HTTP_JSON, "\\\"type\\\"" },
        { "/api/v1/rules?group_next_token=x", 400, HTTP_JSON, "group_limit" },
        { "/api/v1/status/tsdb?limit=%00", 400, HTTP_JSON, "limit must be a positive number" },
        { "/federate?match[]=%00", 400, HTTP_TEXT, "match[]" },
        { "/graph?g0.expr=%00", 200, NULL, "parse error" },
        { "/api/v1/../../etc/passwd", 404, HTTP_TEXT, "page not found" },
        { "/api/v1/query/", 404, HTTP_TEXT, "page not found" },
        { "//api/v1/query", 404, HTTP_TEXT, "page not found" },
    };
    struct api_rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = client_get(rig->port, cases[i].target);

        if (a.status != cases[i].status || !strstr(answer_text(&a), cases[i].part))
            fail_msg("%s: %d %s", cases[i].target, a.status, answer_text(&a));
        if (cases[i].type)
            assert_string_equal(answer_header(&a, "Content-Type"), cases[i].type);
        answer_free(&a);
    }
}

/* A form of n times text, joined by &. */
static struct answer ask_with(struct api_rig *rig, const char *target, const char *text, size_t n)
{
    struct buf form = { 0 };
    struct answer a;

    for (size_t i = 0; i < n; i++)
        buf_printf(&form, "%s%s", i ? "&" : "", text);
    buf_u8(&form, 0);
    a = client_form(rig->port, target, (const char *)form.ptr);
    buf_free(&form);
    return a;
}

static void too_much_is_refused(void **state)
{
    static const struct {
        const char *target, *text;
        size_t n;
        int status;
        const char *part;
    } cases[] = {
        { "/api/v1/query", "a=1", 10001, 400, "more than 10000 parameters" },
        { "/api/v1/series", "match[]=up", 1001, 400, "more than 1000 match[] parameters" },
        { "/api/v1/series", "match[]=up", 1000, 200, "[]" },
        { "/api/v1/query", "aaaaaaaaaaaaaaaa", 300000, 413, "larger than the limit" },
        { "/api/v1/query?query=1", "", 1, 200, "success" }, /* and the server goes on */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = ask_with(*state, cases[i].target, cases[i].text, cases[i].n);

        if (a.status != cases[i].status || !strstr(answer_text(&a), cases[i].part))
            fail_msg("%s: %d %s", cases[i].target, a.status, answer_text(&a));
        answer_free(&a);
    }
}

static void methods_and_types_are_checked(void **state)
{
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        { "PUT /api/v1/query HTTP/1.1", 405 },
        { "DELETE /api/v1/series HTTP/1.1", 405 },
        { "GET /api/v1/write HTTP/1.1", 405 },
        { "GET /api/v1/read HTTP/1.1", 405 },
        { "POST /federate HTTP/1.1", 405 },
        { "POST /-/healthy HTTP/1.1", 405 },
        { "GET /-/reload HTTP/1.1", 405 },
        { "GET /api/v1/admin/tsdb/snapshot HTTP/1.1", 405 },
        { "POST /api/v1/query?query=1 HTTP/1.1\r\nContent-Type: application/json", 200 },
        { "POST /api/v1/query?query=1 HTTP/1.1\r\nContent-Encoding: br\r\n"
          "Content-Type: application/x-www-form-urlencoded",
          415 },
        { "HEAD /-/ready HTTP/1.1", 200 },
        { "OPTIONS /api/v1/query HTTP/1.1\r\nOrigin: http://grafana", 204 },
    };
    struct api_rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a =
            client_ask(rig->port, cases[i].head, (struct bytes){ (const uint8_t *)"", 0 });

        if (a.status != cases[i].status)
            fail_msg("%s: %d", cases[i].head, a.status);
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_refused_by_name),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(methods_and_types_are_checked),
    };

    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
