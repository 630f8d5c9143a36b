/* Remote write 2.0 over HTTP: what is stored, and what the sender is told. test_remote_write2.c has
 * the messages, test_http_api.c the writes of 1.0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api_rig.h"
#include "base/arena.h"
#include "ingest/snappy.h"
#include "pb_build.h"

#define NOW_MS (RIG_NOW_S * INT64_C(1000))
#define PROTOBUF_2                                                                                 \
    "\r\nContent-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request"                \
    "\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 2.0.0"

/* A request under construction: one label __name__ for each series, symbol 1, and others by hand. */
struct request {
    struct buf msg, series, sub;
    uint64_t n_symbols;
};

static uint64_t put_symbol(struct request *r, const char *text)
{
    if (r->n_symbols == 0) {
        pb_put_text(&r->msg, 4, "");
        pb_put_text(&r->msg, 4, "__name__");
        r->n_symbols = 2;
    }
    pb_put_text(&r->msg, 4, text);
    return r->n_symbols++;
}

static void put_refs(struct buf *to, uint64_t name, uint64_t value)
{
    pb_put_varint(to, 1, name);
    pb_put_varint(to, 1, value);
}

static void begin_series(struct request *r, const char *name)
{
    put_refs(&r->series, 1, put_symbol(r, name));
}

static void put_sample(struct request *r, int64_t t_ms, double v, int64_t start_ms)
{
    pb_put_double(&r->sub, 1, v);
    pb_put_varint(&r->sub, 2, (uint64_t)t_ms);
    pb_put_varint(&r->sub, 3, (uint64_t)start_ms);
    pb_put_message(&r->series, 2, &r->sub);
}

/* An integer histogram of one bucket. */
static void put_histogram(struct request *r, int64_t t_ms, uint64_t count, uint64_t in_bucket)
{
    struct buf span = { 0 };

    pb_put_varint(&span, 2, 1);
    pb_put_varint(&r->sub, 1, count);
    pb_put_double(&r->sub, 3, 1.5);
    pb_put_message(&r->sub, 11, &span);
    pb_put_varint(&r->sub, 12, zigzag((int64_t)in_bucket));
    pb_put_varint(&r->sub, 15, (uint64_t)t_ms);
    pb_put_varint(&r->sub, 17, (uint64_t)t_ms - 1000);
    pb_put_message(&r->series, 3, &r->sub);
    buf_free(&span);
}

static void put_exemplar(struct request *r, int64_t t_ms, double v, const char *trace_id)
{
    put_refs(&r->sub, put_symbol(r, "trace_id"), put_symbol(r, trace_id));
    pb_put_double(&r->sub, 2, v);
    pb_put_varint(&r->sub, 3, (uint64_t)t_ms);
    pb_put_message(&r->series, 4, &r->sub);
}

static void end_series(struct request *r)
{
    pb_put_message(&r->msg, 5, &r->series);
}

/* Sends it and begins the next one. */
static struct answer send_request(struct api_rig *rig, struct request *r)
{
    struct buf packed = { 0 };
    struct answer a;

    assert_int_equal(snappy_encode(buf_as_bytes(&r->msg), &packed, NULL), OK);
    a = client_ask(rig->port, "POST /api/v1/write HTTP/1.1" PROTOBUF_2, buf_as_bytes(&packed));
    buf_free(&packed);
    buf_free(&r->msg);
    buf_free(&r->series);
    buf_free(&r->sub);
    *r = (struct request){ 0 };
    return a;
}

static void assert_written(const struct answer *a, const char *samples, const char *histograms,
                           const char *exemplars)
{
    const struct {
        const char *name, *value;
    } headers[] = {
        { "X-Prometheus-Remote-Write-Samples-Written", samples },
        { "X-Prometheus-Remote-Write-Histograms-Written", histograms },
        { "X-Prometheus-Remote-Write-Exemplars-Written", exemplars },
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const char *value = answer_header(a, headers[i].name);

        assert_non_null(value);
        assert_string_equal(value, headers[i].value);
    }
}

static void everything_a_request_has_is_stored_and_counted(void **state)
{
    struct api_rig *rig = *state;
    struct request r = { 0 };
    uint64_t help;
    struct answer a;

    help = put_symbol(&r, "What it counts");
    begin_series(&r, "requests_total");
    put_sample(&r, NOW_MS - 1000, 5, NOW_MS - 60000);
    put_sample(&r, NOW_MS, 7, NOW_MS - 60000);
    pb_put_varint(&r.sub, 1, METRIC_COUNTER);
    pb_put_varint(&r.sub, 3, help);
    pb_put_message(&r.series, 5, &r.sub);
    end_series(&r);
    begin_series(&r, "latency");
    put_histogram(&r, NOW_MS, 3, 3);
    end_series(&r);
    begin_series(&r,
                 "requests_total"); /* exemplars in a series of their own, as Prometheus sends */
    put_exemplar(&r, NOW_MS, 1, "abc");
    end_series(&r);
    a = send_request(rig, &r);
    assert_int_equal(a.status, 204);
    assert_int_equal(a.body.len, 0);
    assert_written(&a, "2", "1", "1");
    answer_free(&a);

    rig_get(rig, "/api/v1/query?query=requests_total", 200, NULL,
            RIG_SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":"
                        "\"requests_total\"},\"value\":[1700000000,\"7\"]}]}"));
    rig_get(rig, "/api/v1/metadata", 200, NULL,
            RIG_SUCCESS("{\"requests_total\":[{\"type\":\"counter\",\"help\":\"What it counts\","
                        "\"unit\":\"\"}]}"));
}

static void exemplars_are_found_by_any_expression(void **state)
{
    struct api_rig *rig = *state;
    struct request r = { 0 };
    struct answer a;

    begin_series(&r, "m");
    put_exemplar(&r, NOW_MS - 1500, 1, "abc");
    put_exemplar(&r, NOW_MS, 0.25, "def");
    end_series(&r);
    begin_series(&r, "other");
    put_exemplar(&r, NOW_MS, 3, "x");
    end_series(&r);
    a = send_request(rig, &r);
    assert_int_equal(a.status, 204);
    assert_written(&a, "0", "0", "3");
    answer_free(&a);
    rig_get(
        rig,
        "/api/v1/query_exemplars?query=sum(rate(m%5B5m%5D))%2Fm&start=1699999990&end=1700000000",
        200, NULL,
        RIG_SUCCESS("[{\"seriesLabels\":{\"__name__\":\"m\"},\"exemplars\":["
                    "{\"labels\":{\"trace_id\":\"abc\"},\"value\":\"1\","
                    "\"timestamp\":1699999998.500},"
                    "{\"labels\":{\"trace_id\":\"def\"},\"value\":\"0.25\","
                    "\"timestamp\":1700000000}]}]"));
    rig_get(rig, "/api/v1/query_exemplars?query=other&start=1&end=2", 200, NULL, RIG_SUCCESS("[]"));
    rig_get(rig, "/api/v1/query_exemplars?query=1%2B1", 200, NULL, RIG_SUCCESS("[]"));
    rig_get(rig, "/api/v1/query_exemplars?query=m&start=2&end=1", 400, NULL, NULL);
}

static void good_parts_are_stored_and_bad_ones_named(void **state)
{
    struct api_rig *rig = *state;
    struct request r = { 0 };
    struct answer a;

    begin_series(&r, "good");
    put_sample(&r, NOW_MS, 7, 0);
    put_exemplar(&r, NOW_MS, 1, "abc");
    put_exemplar(&r, NOW_MS - 5, 1, "older");
    end_series(&r);
    begin_series(&r, "future");
    put_sample(&r, NOW_MS + 3600000, 7, 0);
    end_series(&r);
    begin_series(&r, "odd");
    put_histogram(&r, NOW_MS, 3, 9);
    put_histogram(&r, NOW_MS - 1, 9, 9);
    end_series(&r);
    put_refs(&r.series, 1, 99);
    put_sample(&r, NOW_MS, 7, 0);
    end_series(&r);
    a = send_request(rig, &r);
    assert_int_equal(a.status, 400);
    assert_written(&a, "1", "1", "1");
    assert_true(!strncmp(answer_text(&a),
                         "3 of 5 samples and 1 of 2 exemplars were not stored:\n"
                         "labelRefs 1 (name) = 99 (value) outside of symbols table (size 9)\n",
                         60));
    assert_non_null(strstr(answer_text(&a), "too far in the future"));
    assert_non_null(strstr(answer_text(&a), "9 observations found in buckets, but the Count field "
                                            "is 3"));
    assert_non_null(strstr(answer_text(&a), "series odd\n"));
    assert_non_null(strstr(answer_text(&a), "out of order exemplar\n"));
    answer_free(&a);
}

static void a_repeat_is_written_again(void **state)
{
    struct api_rig *rig = *state;

    for (int i = 0; i < 2; i++) {
        struct request r = { 0 };
        struct answer a;

        begin_series(&r, "m");
        put_sample(&r, NOW_MS, 7, 0);
        put_histogram(&r, NOW_MS - 1, 9, 9);
        put_exemplar(&r, NOW_MS, 1, "abc");
        end_series(&r);
        a = send_request(rig, &r);
        assert_int_equal(a.status, 204);
        assert_written(&a, "1", "1", "1");
        answer_free(&a);
    }
}

static void errors_say_that_nothing_was_written(void **state)
{
    struct api_rig *rig = *state;
    struct request r = { 0 };
    struct answer a;

    pb_put_varint(&r.msg, 5, 1);
    a = send_request(rig, &r);
    assert_int_equal(a.status, 400);
    assert_written(&a, "0", "0", "0");
    answer_free(&a);
    a = client_ask(rig->port, "POST /api/v1/write HTTP/1.1" PROTOBUF_2,
                   (struct bytes){ (const uint8_t *)"zz", 2 });
    assert_int_equal(a.status, 400);
    assert_written(&a, "0", "0", "0");
    answer_free(&a);
}

static void the_media_type_may_be_written_in_all_ways(void **state)
{
    static const char *const types[] = {
        "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "application/x-protobuf; proto=io.prometheus.write.v2.Request",
        "Application/X-Protobuf ; PROTO=\"io.prometheus.write.v2.Request\"",
    };
    struct api_rig *rig = *state;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char head[256];
        struct answer a;

        snprintf(head, sizeof head, "POST /api/v1/write HTTP/1.1\r\nContent-Type: %s", types[i]);
        a = client_ask(rig->port, head, (struct bytes){ (const uint8_t *)"\0", 1 });
        assert_int_equal(a.status, 204);
        assert_written(&a, "0", "0", "0");
        answer_free(&a);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(everything_a_request_has_is_stored_and_counted),
        CASE(exemplars_are_found_by_any_expression),
        CASE(good_parts_are_stored_and_bad_ones_named),
        CASE(a_repeat_is_written_again),
        CASE(errors_say_that_nothing_was_written),
        CASE(the_media_type_may_be_written_in_all_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
