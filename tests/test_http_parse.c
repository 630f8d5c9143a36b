#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "api_rig.h"

#include "base/banned.h"

#define SELECTOR(name)                                                                             \
    "{\"anchored\":false,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"" name    \
    "\"}],\"name\":\"" name "\",\"offset\":0,\"smoothed\":false,\"startOrEnd\":null,"              \
    "\"timestamp\":null,\"type\":\"vectorSelector\"}"

static void trees_have_prometheus_shape(void **state)
{
    static const struct {
        const char *query, *data;
    } cases[] = {
        { "-1.5", "{\"type\":\"numberLiteral\",\"val\":\"-1.5\"}" },
        { "-a", "{\"expr\":" SELECTOR("a") ",\"op\":\"-\",\"type\":\"unaryExpr\"}" },
        { "(%22a%5C%22b%22)", "{\"expr\":{\"type\":\"stringLiteral\",\"val\":\"a\\\"b\"},"
                              "\"type\":\"parenExpr\"}" },
        { "a", SELECTOR("a") },
        { "rate(x%7By!=%22z%22%7D[5m]%20@%2010%20offset%201m)",
          "{\"args\":[{\"anchored\":false,\"matchers\":[{\"name\":\"y\",\"type\":\"!=\","
          "\"value\":\"z\"},{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"x\"}],"
          "\"name\":\"x\",\"offset\":60000,\"range\":300000,\"smoothed\":false,"
          "\"startOrEnd\":null,\"timestamp\":10000,\"type\":\"matrixSelector\"}],"
          "\"func\":{\"argTypes\":[\"matrix\"],\"name\":\"rate\",\"returnType\":\"vector\","
          "\"variadic\":0},\"type\":\"call\"}" },
        { "a[1h:1m]%20@%20end()",
          "{\"expr\":" SELECTOR("a") ",\"offset\":0,\"range\":3600000,\"startOrEnd\":\"end\","
                                     "\"step\":60000,\"timestamp\":null,\"type\":\"subquery\"}" },
        { "topk%20without%20(l)%20(3,a)",
          "{\"expr\":" SELECTOR("a") ",\"grouping\":[\"l\"],\"op\":\"topk\","
                                     "\"param\":{\"type\":\"numberLiteral\",\"val\":\"3\"},"
                                     "\"type\":\"aggregation\",\"without\":true}" },
        { "a%20/%20on(l)%20group_left(m)%20b",
          "{\"bool\":false,\"lhs\":" SELECTOR("a") ",\"matching\":{\"card\":\"many-to-one\","
                                                   "\"fillValues\":{\"lhs\":null,\"rhs\":null},"
                                                   "\"include\":[\"m\"],\"labels\":[\"l\"],"
                                                   "\"on\":true},\"op\":\"/\",\"rhs\":" SELECTOR(
                                                       "b") ",\"type\":\"binaryExpr\"}" },
        { "a%20%3E%20bool%201",
          "{\"bool\":true,\"lhs\":" SELECTOR(
              "a") ",\"matching\":null,\"op\":\">\",\"rhs\":{\"type\":\"numberLiteral\","
                   "\"val\":\"1\"},\"type\":\"binaryExpr\"}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf target = { 0 }, body = { 0 };

        buf_printf(&target, "/api/v1/parse_query?query=%s", cases[i].query);
        buf_u8(&target, 0);
        buf_printf(&body, RIG_SUCCESS("%s"), cases[i].data);
        buf_u8(&body, 0);
        rig_get(*state, (char *)target.ptr, 200, "application/json", (char *)body.ptr);
        buf_free(&target);
        buf_free(&body);
    }
}

static void faults_have_their_position(void **state)
{
    static const char *const paths[] = { "parse_query", "format_query", "query_exemplars" };

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char target[64];

        snprintf(target, sizeof target, "/api/v1/%s?query=a%%20b", paths[i]);
        rig_get(*state, target, 400, "application/json",
                RIG_BAD_DATA("invalid parameter \\\"query\\\": 1:3: parse error: unexpected "
                             "identifier \\\"b\\\""));
    }
}

static void queries_are_formatted(void **state)
{
    rig_get(*state, "/api/v1/format_query?query=sum%20by(b)(%20a%20)", 200, "application/json",
            RIG_SUCCESS("\"sum by (b) (a)\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_have_prometheus_shape),
        cmocka_unit_test(faults_have_their_position),
        cmocka_unit_test(queries_are_formatted),
    };

    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
