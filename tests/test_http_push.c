/* Everything that is pushed over HTTP: OTLP, text, groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "alert/config.h"
#include "base/gzip.h"
#include "collect/push_groups.h"
#include "db_tools.h"
#include "http/api.h"
#include "http/server.h"
#include "http_client.h"
#include "ingest/otlp.h"
#include "otlp_build.h"

#include "base/banned.h"

enum { T0 = 1700000000 };
#define T0_MS (T0 * 1000LL)

/* A server over a store in memory at a fixed time. */
struct fixture {
    struct fake_clock clock;
    struct api *api;
    struct db *db;
    struct push_groups *groups;
    struct http_server *server;
    uint16_t port;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();
    struct db_options o = test_db_options(NULL);
    struct push_groups_options po;

    *state = f;
    fake_clock_init(&f->clock, T0_MS);
    ao.clock = o.clock = &f->clock.clock;
    f->api = api_new(&ao);
    f->db = open_db(&o);
    api_set_db(f->api, f->db);
    po = push_groups_options_default(f->db);
    po.clock = &f->clock.clock;
    assert_int_equal(push_groups_new(&po, &f->groups, NULL), OK);
    api_set_push_groups(f->api, f->groups);
    so.service = api_service(f->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &f->server, NULL), OK);
    f->port = so.listener.port;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 5000);
    push_groups_free(f->groups);
    db_close(f->db);
    api_free(f->api);
    free(f);
    return 0;
}

static struct bytes text_bytes(const char *text)
{
    return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

static void expect_stored(struct fixture *f, const char *series, double v)
{
    struct column c = read_series(f->db, series, INT64_MIN, INT64_MAX);

    if (c.n == 0)
        fail_msg("%s is not stored", series);
    assert_true(c.v[c.n - 1] == v);
    column_free(&c);
}

static bool stored(struct fixture *f, const char *series)
{
    struct column c = read_series(f->db, series, INT64_MIN, INT64_MAX);
    bool any = c.n > 0;

    column_free(&c);
    return any;
}

static void expect_metric(struct fixture *f, const char *line)
{
    struct answer a = client_get(f->port, "/metrics");

    if (!strstr(answer_text(&a), line))
        fail_msg("/metrics does not say %s", line);
    answer_free(&a);
}

/* ---- OTLP ---- */

#define POST_PROTOBUF "POST /v1/metrics HTTP/1.1\r\nContent-Type: application/x-protobuf"
#define POST_JSON     "POST /v1/metrics HTTP/1.1\r\nContent-Type: application/json; charset=utf-8"

#define JSON_GAUGE(name, t_ns, value)                                                              \
    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"" name                     \
    "\",\"gauge\":{\"dataPoints\":[{\"timeUnixNano\":\"" t_ns "\",\"asDouble\":" value             \
    "}]}}]}]}]}"
#define NOW_NS "1700000000000000000"

static struct buf gauge_request(const char *name, double v)
{
    static const char *const no_attributes[] = { NULL };
    struct buf point = { 0 }, data = { 0 }, scope = { 0 }, request = { 0 };

    otlp_put_times(&point, 0, T0_MS);
    pb_put_double(&point, 4, v);
    pb_put_message(&data, 1, &point);
    otlp_put_metric(&scope, name, "", 5, &data);
    otlp_put_resource(&request, no_attributes, &scope);
    buf_free(&point);
    buf_free(&data);
    buf_free(&scope);
    return request;
}

static void otlp_is_stored_from_protobuf_and_json(void **state)
{
    static const char *const paths[] = { "/v1/metrics", "/api/v1/otlp/v1/metrics",
                                         "/opentelemetry/v1/metrics" };
    struct fixture *f = *state;
    struct answer a;
    char head[128], name[8];

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct buf request;

        snprintf(name, sizeof name, "m%zu", i);
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nContent-Type: application/x-protobuf",
                 paths[i]);
        request = gauge_request(name, (double)i);
        a = client_ask(f->port, head, buf_as_bytes(&request));
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body.len, 0); /* an empty message */
        assert_string_equal(answer_header(&a, "Content-Type"), "application/x-protobuf");
        answer_free(&a);
        buf_free(&request);
        expect_stored(f, name, (double)i);
    }
    a = client_ask(f->port, POST_JSON, text_bytes(JSON_GAUGE("j", NOW_NS, "2.5")));
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_text(&a), "{}");
    assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
    answer_free(&a);
    expect_stored(f, "j", 2.5);
    expect_metric(f, "\ntidemark_otlp_data_points_total 4\n");
}

static void bodies_may_be_compressed_and_chunked(void **state)
{
    struct fixture *f = *state;
    struct buf packed = { 0 }, request = { 0 };
    struct answer a;
    int fd;

    assert_int_equal(gzip_encode(text_bytes(JSON_GAUGE("z", NOW_NS, "1")), &packed, NULL), OK);
    a = client_ask(f->port, POST_JSON "\r\nContent-Encoding: gzip", buf_as_bytes(&packed));
    assert_int_equal(a.status, 200);
    answer_free(&a);
    expect_stored(f, "z", 1);

    buf_text(&request, POST_JSON "\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                                 "Content-Encoding: gzip\r\n\r\n");
    for (size_t i = 0; i < packed.len; i++)
        buf_printf(&request, "1\r\n%c\r\n", packed.ptr[i]);
    buf_text(&request, "0\r\n\r\n");
    fd = client_connect(f->port);
    assert_true(client_send(fd, request.ptr, request.len));
    a = client_read(fd, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    close(fd);
    buf_free(&request);
    buf_free(&packed);
}

static void what_cannot_be_read_is_the_senders_fault(void **state)
{
    static const struct {
        const char *head, *body;
        int status;
        const char *text;
    } cases[] = {
        { POST_JSON, "{\"resourceMetrics\":7}", 400,
          "{\"code\":3,\"message\":\"OTLP JSON: resourceMetrics: expected an array at byte 19\"}" },
        { POST_PROTOBUF, "\x0a\x05", 400, NULL },
        { POST_JSON "\r\nContent-Encoding: gzip", "{}", 400, NULL },
        { POST_JSON "\r\nContent-Encoding: br", "{}", 415, NULL },
        { "POST /v1/metrics HTTP/1.1\r\nContent-Type: text/plain", "x", 415, NULL },
        { "POST /v1/metrics HTTP/1.1", "x", 415, NULL },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = client_ask(f->port, cases[i].head, text_bytes(cases[i].body));

        assert_int_equal(a.status, cases[i].status);
        if (cases[i].text)
            assert_string_equal(answer_text(&a), cases[i].text);
        assert_null(answer_header(&a, "Retry-After"));
        answer_free(&a);
    }
}

static void a_bomb_is_too_large(void **state)
{
    struct fixture *f = *state;
    struct buf zeros = { 0 }, packed = { 0 };
    size_t n = (32 << 20) + 1;
    struct answer a;

    assert_non_null(buf_reserve(&zeros, n));
    memset(zeros.ptr, 0, n);
    zeros.len = n;
    assert_int_equal(gzip_encode(buf_as_bytes(&zeros), &packed, NULL), OK);
    a = client_ask(f->port, POST_PROTOBUF "\r\nContent-Encoding: gzip", buf_as_bytes(&packed));
    assert_int_equal(a.status, 413);
    answer_free(&a);
    buf_free(&zeros);
    buf_free(&packed);
}

/* One point is too far in the future, one has no value, one is good. */
static void the_number_of_refused_points_is_exact(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_ask(
        f->port, POST_JSON,
        text_bytes(
            "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":["
            "{\"name\":\"a\",\"gauge\":{\"dataPoints\":[{\"timeUnixNano\":\"" NOW_NS
            "\",\"asInt\":1},{\"timeUnixNano\":\"" NOW_NS "\"}]}},"
            "{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":"
            "[{\"timeUnixNano\":\"1700000900000000000\",\"count\":3,\"sum\":1,\"bucketCounts\":"
            "[1,2],\"explicitBounds\":[1]}]}}]}]}]}"));

    assert_int_equal(a.status, 200);
    assert_non_null(strstr(answer_text(&a), "{\"partialSuccess\":{\"rejectedDataPoints\":\"2\","));
    assert_non_null(strstr(answer_text(&a), "metric \\\"a\\\": a data point has no value"));
    assert_non_null(strstr(answer_text(&a), "too far in the future"));
    answer_free(&a);
    expect_stored(f, "a", 1);
    expect_metric(f, "tidemark_otlp_data_points_rejected_total{reason=\"no_value\"} 1\n");
    expect_metric(f, "tidemark_otlp_data_points_rejected_total{reason=\"store\"} 1\n");
    expect_metric(f, "\ntidemark_otlp_data_points_total 1\n");
}

static void before_the_store_is_there_clients_are_told_to_wait(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    api_set_db(f->api, NULL);
    a = client_ask(f->port, POST_JSON, text_bytes("{}"));
    assert_int_equal(a.status, 503);
    assert_non_null(answer_header(&a, "Retry-After"));
    answer_free(&a);
    api_set_db(f->api, f->db);
}

static void spans_and_logs_are_answered_kindly(void **state)
{
    static const char want[] = "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\""
                               "Tidemark keeps metrics only; OTEL_TRACES_EXPORTER=none stops "
                               "sending spans\"}}";
    struct fixture *f = *state;
    struct answer a =
        client_ask(f->port, "POST /v1/traces HTTP/1.1\r\nContent-Type: application/json",
                   text_bytes("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{},{}]}]}]}"));

    assert_int_equal(a.status, 200);
    assert_string_equal(answer_text(&a), want);
    answer_free(&a);
    a = client_ask(f->port, "POST /v1/logs HTTP/1.1\r\nContent-Type: application/x-protobuf",
                   (struct bytes){ (const uint8_t *)"\x0a\x04\x12\x02\x12\x00", 6 });
    assert_int_equal(a.status, 200);
    assert_memory_equal(a.body.ptr, "\x0a\x4b\x08\x01\x12\x47", 6); /* one record */
    answer_free(&a);
}

static void delta_becomes_cumulative(void **state)
{
    struct fixture *f = *state;
    static const char body[] =
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"d\",\"sum\":"
        "{\"aggregationTemporality\":1,\"isMonotonic\":true,\"dataPoints\":[{\"startTimeUnixNano\":"
        "\"%d000000000\",\"timeUnixNano\":\"%d000000000\",\"asInt\":5}]}}]}]}]}";
    char json[512];
    struct answer a;

    for (int i = 0; i < 3; i++) {
        if (i == 1) { /* a day ahead: the store refuses it, and it must not stand in the way */
            snprintf(json, sizeof json, body, T0 + 10, T0 + 86400);
            a = client_ask(f->port, POST_JSON, text_bytes(json));
            assert_non_null(strstr(answer_text(&a), "\"rejectedDataPoints\":\"1\""));
            answer_free(&a);
        }

        snprintf(json, sizeof json, body, T0 + 10 * i, T0 + 10 * i + 10);
        a = client_ask(f->port, POST_JSON, text_bytes(json));
        assert_string_equal(answer_text(&a), "{}");
        answer_free(&a);
    }
    expect_stored(f, "d_total", 15);
    expect_metric(f, "tidemark_otlp_delta_series 1\n");
}

static void exemplars_and_native_histograms_can_be_queried(void **state)
{
    static const char body[] =
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"e\","
        "\"exponentialHistogram\":{\"aggregationTemporality\":2,\"dataPoints\":[{\"timeUnixNano\":"
        "\"" NOW_NS "\",\"count\":3,\"sum\":6,\"scale\":0,\"positive\":{\"offset\":0,"
        "\"bucketCounts\":[1,2]},\"exemplars\":[{\"timeUnixNano\":\"" NOW_NS "\",\"asDouble\":2.5,"
        "\"traceId\":\"0af7651916cd43dd8448eb211c80319c\"}]}]}}]}]}]}";
    struct fixture *f = *state;
    struct answer a = client_ask(f->port, POST_JSON, text_bytes(body));

    assert_string_equal(answer_text(&a), "{}");
    answer_free(&a);
    a = client_get(f->port, "/api/v1/query?query=histogram_avg(e)&time=1700000000");
    assert_non_null(strstr(answer_text(&a), "\"value\":[1700000000,\"2\"]"));
    answer_free(&a);
    a = client_get(f->port, "/api/v1/query_exemplars?query=e&start=1699999000&end=1700000001");
    assert_non_null(strstr(answer_text(&a), "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\""));
    answer_free(&a);
}

static void settings_hold_from_the_next_request_on(void **state)
{
    struct fixture *f = *state;
    struct otlp_options o = otlp_options_default();
    struct answer a;

    o.strategy = OTLP_UTF8;
    assert_true(api_set_otlp(f->api, &o));
    a = client_ask(f->port, POST_JSON, text_bytes(JSON_GAUGE("a.b", NOW_NS, "1")));
    assert_int_equal(a.status, 200);
    answer_free(&a);
    assert_true(stored(f, "a.b"));
    assert_false(stored(f, "a_b"));
}

static void a_configuration_may_name_every_strategy(void **state)
{
    struct fixture *f = *state;
    struct config_otlp c = config_otlp_default();

    assert_string_equal(c.translation_strategy, otlp_strategy_name(OTLP_UNDERSCORES_SUFFIXES));
    for (int i = 0; i < OTLP_STRATEGY_COUNT; i++) {
        c.translation_strategy = otlp_strategy_name((enum otlp_strategy)i);
        assert_true(api_set_otlp_config(f->api, &c));
    }
}

/* ---- text ---- */

#define POST_TEXT "POST /api/v1/import/prometheus"
#define FORM_TYPE "Content-Type: application/x-www-form-urlencoded"

static void imported_text_is_stored(void **state)
{
    struct fixture *f = *state;
    struct answer a =
        client_ask(f->port, POST_TEXT "?extra_label=job=j&extra_label=env=t HTTP/1.1",
                   text_bytes("# TYPE a counter\na{x=\"1\"} 1 1699999990000\na{x=\"1\"} 2\n"));

    assert_int_equal(a.status, 204);
    answer_free(&a);
    expect_stored(f, "a env=t job=j x=1", 2);
    a = client_ask(f->port,
                   POST_TEXT "?timestamp=1699999000000 HTTP/1.1\r\n"
                             "Content-Type: application/openmetrics-text; version=1.0.0",
                   text_bytes("b 5 1699999990.5\nc 6\n# EOF\n"));
    assert_int_equal(a.status, 204);
    answer_free(&a);
    expect_stored(f, "b", 5);
    expect_stored(f, "c", 6);
    a = client_get(f->port, "/api/v1/metadata?metric=a");
    assert_non_null(strstr(answer_text(&a), "\"type\":\"counter\""));
    answer_free(&a);
}

static void bad_lines_are_named_and_good_ones_stored(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_ask(f->port, POST_TEXT " HTTP/1.1",
                                 text_bytes("good 1\nbad\nfuture 1 1700009999000\ngood2 2\n"));

    assert_int_equal(a.status, 400);
    assert_non_null(strstr(answer_text(&a),
                           "2 samples were stored; 1 lines are wrong and 1 samples "
                           "were refused:\nline 2: expected a value\n"));
    assert_non_null(strstr(answer_text(&a), "too far in the future"));
    answer_free(&a);
    expect_stored(f, "good2", 2);
    expect_metric(f, "\ntidemark_import_bad_lines_total 1\n");
}

static void parameters_of_an_import_are_checked(void **state)
{
    static const char *const params[] = { "extra_label=x", "extra_label=9=1", "timestamp=soon",
                                          "extra_label=%zz" };
    struct fixture *f = *state;
    char head[128];

    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        struct answer a;

        snprintf(head, sizeof head, POST_TEXT "?%s HTTP/1.1", params[i]);
        a = client_ask(f->port, head, text_bytes("a 1\n"));
        assert_int_equal(a.status, 400);
        answer_free(&a);
    }
    assert_false(stored(f, "a"));
}

/* As curl does when it is not told otherwise. */
static void text_that_calls_itself_a_form_is_text(void **state)
{
    static const char *const heads[] = {
        POST_TEXT "?extra_label=job=j HTTP/1.1\r\n" FORM_TYPE,
        "POST /metrics/job/j HTTP/1.1\r\n" FORM_TYPE,
        "PUT /metrics/job/j HTTP/1.1\r\n" FORM_TYPE,
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        char text[64], series[64];
        struct answer a;

        snprintf(text, sizeof text, "disk%zu{use=\"50%%\"} 1\n", i);
        snprintf(series, sizeof series, "disk%zu job=j use=50%%", i);
        a = client_ask(f->port, heads[i], text_bytes(text));
        if (a.status != 200 && a.status != 204)
            fail_msg("%s: %d %s", heads[i], a.status, answer_text(&a));
        answer_free(&a);
        expect_stored(f, series, 1);
    }
}

/* ---- groups ---- */

static struct answer push_to(struct fixture *f, const char *method, const char *path,
                             const char *body)
{
    char head[256];

    snprintf(head, sizeof head, "%s %s HTTP/1.1", method, path);
    return client_ask(f->port, head, text_bytes(body));
}

static void expect_push(struct fixture *f, const char *method, const char *path, const char *body,
                        int status)
{
    struct answer a = push_to(f, method, path, body);

    if (a.status != status)
        fail_msg("%s %s: %d %s", method, path, a.status, answer_text(&a));
    answer_free(&a);
}

static void groups_are_named_by_their_path(void **state)
{
    struct fixture *f = *state;

    expect_push(f, "PUT", "/metrics/job/j", "a 1\n", 200);
    expect_stored(f, "a job=j", 1);
    expect_push(f, "POST", "/metrics/job/j/env/x%2Fy", "a 2\n", 200);
    expect_stored(f, "a env=x/y job=j", 2);
    expect_push(f, "PUT", "/metrics/job@base64/YS9i/env@base64/=", "a 3\n", 200);
    expect_stored(f, "a job=a/b", 3);
    expect_push(f, "PUT", "/metrics/job@base64/YS9i/k@base64/_w==", "a 3\n", 400); /* not UTF-8 */
    expect_push(f, "PUT", "/metrics/job/j/env", "a 1\n", 400);
    expect_push(f, "PUT", "/metrics/job/j/env/x/job/k", "a 1\n", 400);
    expect_push(f, "PUT", "/metrics/job@base64/?", "a 1\n", 404);
    expect_push(f, "PUT", "/metrics/job@base64/!!", "a 1\n", 400);
    expect_push(f, "PUT", "/metrics/job/", "a 1\n", 404);
    expect_push(f, "PUT", "/metrics/instance/x", "a 1\n", 404);
    expect_push(f, "GET", "/metrics/job/j", "", 405);
}

static void groups_are_replaced_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct column c;

    expect_push(f, "PUT", "/metrics/job/j", "a 1\nb 2\n", 200);
    f->clock.wall_ms += 1000;
    expect_push(f, "POST", "/metrics/job/j", "a 5\n", 200);
    expect_stored(f, "a job=j", 5);
    expect_stored(f, "b job=j", 2);
    f->clock.wall_ms += 1000;
    expect_push(f, "DELETE", "/metrics/job/j", "", 202);
    c = read_series(f->db, "b job=j", INT64_MIN, INT64_MAX);
    assert_true(is_stale(c.v[c.n - 1]));
    column_free(&c);
    expect_metric(f, "\ntidemark_push_groups 0\n");
    expect_metric(f, "\ntidemark_pushes_total 2\n");
}

static void a_bad_push_leaves_its_time_only(void **state)
{
    struct fixture *f = *state;
    struct answer a = push_to(f, "PUT", "/metrics/job/j", "good 1\nbad\n");

    assert_int_equal(a.status, 400);
    assert_non_null(strstr(answer_text(&a), "line 2: expected a value"));
    answer_free(&a);
    assert_false(stored(f, "good job=j"));
    expect_stored(f, "push_failure_time_seconds job=j", T0);
    expect_push(f, "PUT", "/metrics/job/j", "a 1 1700000000000\n", 400); /* a timestamp */
}

#define PUT_PROTOBUF                                                                               \
    "PUT /metrics/job/j HTTP/1.1\r\nContent-Type: application/vnd.google.protobuf; "               \
    "proto=io.prometheus.client.MetricFamily; encoding=delimited"

/* As Prometheus' client for Go pushes. */
static void groups_may_be_pushed_as_protobuf(void **state)
{
    static const char family[] = "\x12\x0a\x01g\x18\x01\x22\x0b\x12\x09\x09\0\0\0\0\0\0\xf8\x3f";
    struct fixture *f = *state;
    struct answer a = client_ask(f->port, PUT_PROTOBUF,
                                 (struct bytes){ (const uint8_t *)family, sizeof family - 1 });

    assert_int_equal(a.status, 200);
    answer_free(&a);
    expect_stored(f, "g job=j", 1.5);
    a = client_ask(f->port, PUT_PROTOBUF, text_bytes("\x7f"));
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(answer_text(&a), "protobuf metrics: length beyond"));
    answer_free(&a);
}

static void groups_are_listed(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    expect_push(f, "PUT", "/metrics/job/j", "# HELP a Help\n# TYPE a gauge\na{x=\"1\"} 1.5\n", 200);
    a = client_get(f->port, "/api/v1/metrics");
    assert_string_equal(
        answer_text(&a),
        "{\"status\":\"success\",\"data\":[{\"labels\":{\"job\":\"j\"},\"last_push_successful\":"
        "true,"
        "\"push_time_seconds\":\"1.7e+09\",\"push_failure_time_seconds\":\"0\",\"a\":{\"type\":"
        "\"gauge\",\"help\":\"Help\",\"metrics\":[{\"labels\":{\"job\":\"j\",\"x\":\"1\"},"
        "\"value\":"
        "\"1.5\"}]}}]}");
    answer_free(&a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(otlp_is_stored_from_protobuf_and_json),
        TEST(bodies_may_be_compressed_and_chunked),
        TEST(what_cannot_be_read_is_the_senders_fault),
        TEST(a_bomb_is_too_large),
        TEST(the_number_of_refused_points_is_exact),
        TEST(before_the_store_is_there_clients_are_told_to_wait),
        TEST(spans_and_logs_are_answered_kindly),
        TEST(delta_becomes_cumulative),
        TEST(exemplars_and_native_histograms_can_be_queried),
        TEST(settings_hold_from_the_next_request_on),
        TEST(a_configuration_may_name_every_strategy),
        TEST(imported_text_is_stored),
        TEST(bad_lines_are_named_and_good_ones_stored),
        TEST(parameters_of_an_import_are_checked),
        TEST(text_that_calls_itself_a_form_is_text),
        TEST(groups_are_named_by_their_path),
        TEST(groups_are_replaced_and_deleted),
        TEST(a_bad_push_leaves_its_time_only),
        TEST(groups_may_be_pushed_as_protobuf),
        TEST(groups_are_listed),
    };

    return cmocka_run_group_tests_name("http_push", tests, NULL, NULL);
}
