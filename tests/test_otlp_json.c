#include "ingest/otlp_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ingest/otlp.h"
#include "otlp_build.h"
#include "storage/histogram.h"

#include "base/banned.h"

struct fixture {
    struct otlp otlp;
    struct otlp_options options;
    struct arena *arena;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    if (!fx || !(fx->arena = arena_new(0)))
        return -1;
    fx->err = err_in(fx->arena);
    fx->options = otlp_options_default();
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    otlp_free(&fx->otlp);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

static enum errc read_json(struct fixture *fx, const char *json)
{
    return otlp_read_json(&fx->otlp, &fx->options,
                          (struct bytes){ (const uint8_t *)json, strlen(json) }, &fx->err);
}

#define METRICS(text) "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[" text "]}]}]}"

/* Bytes, so that nothing is lost on either way. */
static void json_becomes_the_same_message_as_protobuf(void **state)
{
    static const char json[] =
        "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
        "{\"stringValue\":\"api\"}}],\"droppedAttributesCount\":0},\"scopeMetrics\":[{\"metrics\":["
        "{\"name\":\"llm.requests\",\"unit\":\"1\",\"sum\":{\"dataPoints\":[{\"startTimeUnixNano\":"
        "\"1700000000000000001\",\"timeUnixNano\":1700000000000000002,\"asDouble\":1.5}]}}]}]}]}";
    struct buf got = { 0 }, want = { 0 }, point = { 0 }, data = { 0 }, scope = { 0 };
    static const char *const resource[] = { "service.name", "api", NULL };

    (void)state;
    pb_put_fixed64(&point, 2, 1700000000000000001);
    pb_put_fixed64(&point, 3, 1700000000000000002);
    pb_put_double(&point, 4, 1.5);
    pb_put_message(&data, 1, &point);
    {
        struct buf metric = { 0 };

        pb_put_text(&metric, 1, "llm.requests");
        pb_put_text(&metric, 3, "1");
        pb_put_message(&metric, 7, &data);
        pb_put_message(&scope, 2, &metric);
        buf_free(&metric);
    }
    otlp_put_resource(&want, resource, &scope);
    assert_int_equal(otlp_json_to_protobuf((struct bytes){ (const uint8_t *)json, sizeof json - 1 },
                                           1 << 20, &got, NULL),
                     OK);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
    buf_free(&got);
    buf_free(&want);
    buf_free(&point);
    buf_free(&data);
    buf_free(&scope);
}

static void integers_are_strings_or_numbers_and_keep_every_digit(void **state)
{
    static const struct {
        const char *text;
        double want;
    } cases[] = {
        { "5", 5 },
        { "\"5\"", 5 },
        { "-7", -7 },
        { "\"-7\"", -7 },
        { "9007199254740993", 9007199254740992 },
        { "\"9223372036854775807\"", 9223372036854775807.0 },
        { "\"-9223372036854775808\"", -9223372036854775808.0 },
        { "1.5e3", 1500 },
    };
    struct fixture *fx = *state;
    char json[512];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(json, sizeof json,
                 METRICS("{\"name\":\"g\",\"gauge\":{\"dataPoints\":[{\"asInt\":%s}]}}"),
                 cases[i].text);
        if (read_json(fx, json) != OK)
            fail_msg("%s: %s", cases[i].text, err_text(&fx->err));
        assert_true(fx->otlp.batch.samples[0].v == cases[i].want);
    }
}

static void doubles_may_be_infinite_or_no_number(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(read_json(fx, METRICS("{\"name\":\"g\",\"gauge\":{\"dataPoints\":["
                                           "{\"asDouble\":\"NaN\"},{\"asDouble\":\"Infinity\"},"
                                           "{\"asDouble\":\"-Infinity\"},{\"asDouble\":3}]}}")),
                     OK);
    assert_true(fx->otlp.batch.samples[0].v != fx->otlp.batch.samples[0].v);
    assert_true(fx->otlp.batch.samples[1].v == 1 / 0.0);
    assert_true(fx->otlp.batch.samples[2].v == -1 / 0.0);
    assert_true(fx->otlp.batch.samples[3].v == 3);
}

/* As the Node exporters write it: counts as numbers, times as strings, ids in hexadecimal. */
static void histograms_and_exemplars_are_read(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(
        read_json(
            fx, METRICS("{\"histogram\":{\"aggregationTemporality\":"
                        "\"AGGREGATION_TEMPORALITY_CUMULATIVE\",\"dataPoints\":[{\"attributes\":"
                        "[{\"key\":\"n\",\"value\":{\"intValue\":\"12\"}},{\"key\":\"l\",\"value\":"
                        "{\"arrayValue\":{\"values\":[{\"boolValue\":true},{\"bytesValue\":"
                        "\"AAEC\"}]}}}],\"timeUnixNano\":\"1700000000000000000\",\"count\":3,"
                        "\"sum\":4.5,\"bucketCounts\":[1,\"2\"],\"explicitBounds\":[0.5],"
                        "\"exemplars\":[{\"timeUnixNano\":\"1700000000000000000\",\"asDouble\":0.4,"
                        "\"traceId\":\"0AF7651916CD43DD8448EB211C80319C\"}],\"min\":1}]},"
                        "\"name\":\"h\",\"metadata\":[{}]}")),
        OK);
    assert_int_equal(fx->otlp.batch.n_series, 4);
    assert_true(str_is(fx->otlp.batch.series[2].labels[1].value, "[true,\"AAEC\"]"));
    assert_true(str_is(fx->otlp.batch.series[2].labels[3].value, "12"));
    assert_int_equal(fx->otlp.batch.series[2].n_exemplars, 1);
    assert_true(str_is(fx->otlp.batch.exemplars[0].labels.items[0].value,
                       "0af7651916cd43dd8448eb211c80319c"));
}

static void exponential_histograms_and_summaries_are_read(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(
        read_json(
            fx,
            METRICS("{\"name\":\"e\",\"exponentialHistogram\":{\"aggregationTemporality\":2,"
                    "\"dataPoints\":[{\"count\":\"3\",\"scale\":-1,\"zeroCount\":1,\"positive\":"
                    "{\"offset\":-2,\"bucketCounts\":[1,\"1\"]}}]}},"
                    "{\"name\":\"s\",\"summary\":{\"dataPoints\":[{\"count\":1,\"sum\":2,"
                    "\"quantileValues\":[{\"quantile\":0.5,\"value\":2}]}]}}")),
        OK);
    assert_int_equal(fx->otlp.batch.histograms[0].h.schema, -1);
    assert_int_equal(fx->otlp.batch.histograms[0].h.positive.spans[0].offset, -1);
    assert_int_equal(histogram_check(&fx->otlp.batch.histograms[0].h, NULL), OK);
    assert_int_equal(fx->otlp.batch.n_series, 4);
}

static void unknown_keys_and_null_are_ignored(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(read_json(fx, "{}"), OK);
    assert_int_equal(
        read_json(
            fx, METRICS("{\"name\":\"g\",\"unit\":null,\"new\":{\"a\":[1,{}]},\"gauge\":"
                        "{\"dataPoints\":[{\"asInt\":1,\"attributes\":null,\"x\":\"\\u00e4\"}]}}")),
        OK);
    assert_int_equal(fx->otlp.batch.n_series, 1);
}

static void faults_are_named_with_their_path(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        { METRICS("{\"name\":\"a\"},{\"name\":7}"),
          "OTLP JSON: resourceMetrics[0].scopeMetrics[0].metrics[1].name: expected a string at "
          "byte" },
        { METRICS("{\"gauge\":{\"dataPoints\":[{\"asInt\":1.5}]}}"),
          "metrics[0].gauge.dataPoints[0].asInt: expected an integer of 64 bits" },
        { METRICS("{\"gauge\":{\"dataPoints\":[{\"asInt\":\"18446744073709551616\"}]}}"),
          "asInt: expected an integer of 64 bits" },
        { METRICS("{\"gauge\":{\"dataPoints\":[{\"asInt\":\"\"}]}}"),
          "asInt: expected an integer of 64 bits" },
        { METRICS("{\"gauge\":{\"dataPoints\":[{\"asDouble\":\"x\"}]}}"),
          "asDouble: expected a number" },
        { METRICS("{\"histogram\":{\"dataPoints\":[{\"bucketCounts\":[1,{}]}]}}"),
          "bucketCounts[1]: expected a number" },
        { METRICS("{\"gauge\":{\"dataPoints\":[{\"exemplars\":[{\"traceId\":\"xy\"}]}]}}"),
          "traceId: expected hexadecimal digits" },
        { METRICS(
              "{\"gauge\":{\"dataPoints\":[{\"attributes\":[{\"value\":{\"bytesValue\":\"?\"}}]}]"
              "}}"),
          "bytesValue: expected base64" },
        { "[]", "OTLP JSON: expected an object at byte 0" },
        { "{\"resourceMetrics\":[", "unexpected end" },
        { "{} x", "more text after the value" },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(read_json(fx, cases[i].json), ERR_BAD_DATA);
        if (!strstr(err_text(&fx->err), cases[i].want))
            fail_msg("\"%s\" does not say \"%s\"", err_text(&fx->err), cases[i].want);
        assert_int_equal(fx->otlp.batch.n_series, 0);
    }
}

static void nesting_is_bounded(void **state)
{
    struct fixture *fx = *state;
    struct buf b = { 0 };
    enum errc rc;

    buf_text(&b, "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"value\":");
    for (int i = 0; i < 1000; i++)
        buf_text(&b, "{\"arrayValue\":{\"values\":[");
    rc = otlp_read_json(&fx->otlp, &fx->options, buf_as_bytes(&b), &fx->err);
    assert_int_equal(rc, ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&fx->err), "nested too deeply"));
    buf_free(&b);
}

static void what_it_becomes_is_bounded(void **state)
{
    static const char json[] = METRICS("{\"name\":\"a_name_of_some_length\"}");
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(otlp_json_to_protobuf((struct bytes){ (const uint8_t *)json, sizeof json - 1 },
                                           10, &out, NULL),
                     ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(json_becomes_the_same_message_as_protobuf),
        TEST(integers_are_strings_or_numbers_and_keep_every_digit),
        TEST(doubles_may_be_infinite_or_no_number),
        TEST(histograms_and_exemplars_are_read),
        TEST(exponential_histograms_and_summaries_are_read),
        TEST(unknown_keys_and_null_are_ignored),
        TEST(faults_are_named_with_their_path),
        TEST(nesting_is_bounded),
        TEST(what_it_becomes_is_bounded),
    };

    return cmocka_run_group_tests_name("otlp_json", tests, NULL, NULL);
}
