#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "http/api.h"
#include "http/server.h"
#include "http_client.h"
#include "ingest/snappy.h"
#include "storage/db.h"

#include "base/banned.h"

/* A whole server over a store in memory, at a fixed time. */
enum { NOW_S = 1700000000 };

struct fixture {
    struct api *api;
    struct db *db;
    struct http_server *server;
    uint16_t port;
};

static int64_t fixed_wall_ms(void *ctx)
{
    (void)ctx;
    return NOW_S * 1000LL;
}

static const struct clock fixed_clock = { fixed_wall_ms, fixed_wall_ms, NULL };

/* ---- remote write by hand ---- */

static void add_field(struct buf *b, unsigned number, const struct buf *content)
{
    buf_uvarint(b, number << 3 | 2);
    buf_uvarint(b, content->len);
    buf_add(b, content->ptr, content->len);
}

static void add_text(struct buf *b, unsigned number, const char *text)
{
    buf_uvarint(b, number << 3 | 2);
    buf_uvarint(b, strlen(text));
    buf_text(b, text);
}

static void add_label(struct buf *series, const char *name, const char *value)
{
    struct buf label = { 0 };

    add_text(&label, 1, name);
    add_text(&label, 2, value);
    add_field(series, 1, &label);
    buf_free(&label);
}

static void add_sample(struct buf *series, int64_t t_ms, double v)
{
    struct buf sample = { 0 };

    buf_u8(&sample, 1 << 3 | 1);
    buf_u64(&sample, f64_bits(v));
    buf_u8(&sample, 2 << 3 | 0);
    buf_uvarint(&sample, (uint64_t)t_ms);
    add_field(series, 2, &sample);
    buf_free(&sample);
}

/* Ends a series and begins the next. */
static void end_series(struct buf *request, struct buf *series)
{
    add_field(request, 1, series);
    buf_clear(series);
}

static struct answer write_as(uint16_t port, const char *headers, const struct buf *request)
{
    struct buf packed = { 0 };
    struct answer a;
    char head[512];

    snprintf(head, sizeof head, "POST /api/v1/write HTTP/1.1%s", headers);
    assert_int_equal(snappy_encode(buf_as_bytes(request), &packed, NULL), OK);
    a = client_ask(port, head, buf_as_bytes(&packed));
    buf_free(&packed);
    return a;
}

#define PROTOBUF_1 "\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy"

/* up{job="a"} 1, 2, 3 and up{job="<b>"} 0.5 in the last three minutes; metadata of up. */
static void write_sample_data(uint16_t port)
{
    struct buf request = { 0 }, series = { 0 }, meta = { 0 };
    struct answer a;

    add_label(&series, "__name__", "up");
    add_label(&series, "job", "a");
    for (int i = 0; i < 3; i++)
        add_sample(&series, (NOW_S - 120 + 60 * i) * 1000LL, i + 1);
    end_series(&request, &series);
    add_label(&series, "job", "<b>"); /* not in order */
    add_label(&series, "__name__", "up");
    add_sample(&series, NOW_S * 1000LL - 500, 0.5);
    end_series(&request, &series);
    add_label(&series, "__name__", "a.b");
    add_label(&series, "x.y", "z");
    add_sample(&series, NOW_S * 1000LL, 1e-7);
    end_series(&request, &series);
    buf_u8(&meta, 1 << 3 | 0);
    buf_u8(&meta, 2); /* gauge */
    add_text(&meta, 2, "up");
    add_text(&meta, 4, "Whether \"it\" is up");
    add_field(&request, 3, &meta);
    a = write_as(port, PROTOBUF_1, &request);
    assert_int_equal(a.status, 204);
    assert_int_equal(a.body.len, 0);
    answer_free(&a);
    buf_free(&request);
    buf_free(&series);
    buf_free(&meta);
}

/* ---- set-up ---- */

static int setup_empty(void **state)
{
    static const struct api_flag flags[] = { { "log.level", "info" } };
    struct fixture *f = calloc(1, sizeof *f);
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();

    ao.version = "1.2.3";
    ao.clock = &fixed_clock;
    ao.flags = flags;
    ao.n_flags = ARRAY_LEN(flags);
    f->api = api_new(&ao);
    so.service = api_service(f->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &f->server, NULL), OK);
    f->port = so.listener.port;
    *state = f;
    return 0;
}

static int setup(void **state)
{
    struct db_options o = db_options_default();
    struct fixture *f;

    setup_empty(state);
    f = *state;
    o.clock = &fixed_clock;
    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    api_set_db(f->api, f->db);
    write_sample_data(f->port);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 5000);
    db_close(f->db);
    api_free(f->api);
    free(f);
    return 0;
}

static void assert_get(struct fixture *f, const char *target, int status, const char *body)
{
    struct answer a = client_get(f->port, target);

    assert_string_equal(answer_text(&a), body);
    assert_int_equal(a.status, status);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
    answer_free(&a);
}

#define SUCCESS(data)     "{\"status\":\"success\",\"data\":" data "}"
#define BAD_DATA(text)    "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"
#define RESULT(type, res) SUCCESS("{\"resultType\":\"" type "\",\"result\":" res "}")
#define UP_A              "{\"__name__\":\"up\",\"job\":\"a\"}"
#define UP_B              "{\"__name__\":\"up\",\"job\":\"<b>\"}"

/* ---- queries ---- */

static void queries_answer_exactly(void **state)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        { "query?query=1%2B1&time=4", RESULT("scalar", "[4,\"2\"]") },
        { "query?query=1e-7&time=1.5", RESULT("scalar", "[1.5,\"0.0000001\"]") },
        { "query?query=%22%3Ca%3E%22&time=4", RESULT("string", "[4,\"<a>\"]") },
        { "query?query=up",
          RESULT("vector", "[{\"metric\":" UP_B ",\"value\":[1700000000,\"0.5\"]},"
                           "{\"metric\":" UP_A ",\"value\":[1700000000,\"3\"]}]") },
        { "query?query=up&time=1699999999.25",
          RESULT("vector", "[{\"metric\":" UP_A ",\"value\":[1699999999.250,\"2\"]}]") },
        { "query?query=up%7Bjob%3D%22a%22%7D%5B2m%5D",
          RESULT("matrix",
                 "[{\"metric\":" UP_A ",\"values\":[[1699999940,\"2\"],[1700000000,\"3\"]]}]") },
        { "query?query=nothing", RESULT("vector", "[]") },
        { "query?query=up&limit=1",
          "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{"
          "\"metric\":" UP_B
          ",\"value\":[1700000000,\"0.5\"]}]},\"warnings\":[\"results truncated due to limit\"]}" },
        { "query?query=up&limit=2",
          RESULT("vector", "[{\"metric\":" UP_B ",\"value\":[1700000000,\"0.5\"]},"
                           "{\"metric\":" UP_A ",\"value\":[1700000000,\"3\"]}]") },
        { "query?query=%7B%22a.b%22%7D",
          RESULT("vector", "[{\"metric\":{\"__name__\":\"a.b\",\"x.y\":\"z\"},"
                           "\"value\":[1700000000,\"1e-07\"]}]") },
        { "query_range?query=up%7Bjob%3D%22a%22%7D&start=1699999880&end=1700000000&step=60",
          RESULT("matrix",
                 "[{\"metric\":" UP_A
                 ",\"values\":[[1699999880,\"1\"],[1699999940,\"2\"],[1700000000,\"3\"]]}]") },
        { "query_range?query=1&start=0&end=1.5&step=0.5",
          RESULT("matrix", "[{\"metric\":{},\"values\":"
                           "[[0,\"1\"],[0.500,\"1\"],[1,\"1\"],[1.500,\"1\"]]}]") },
        { "query_range?query=nothing&start=0&end=11000&step=1", RESULT("matrix", "[]") },
        { "query?query=up&lookback_delta=10&time=1700000000.1",
          RESULT("vector", "[{\"metric\":" UP_B ",\"value\":[1700000000.100,\"0.5\"]},"
                           "{\"metric\":" UP_A ",\"value\":[1700000000.100,\"3\"]}]") },
        { "query?query=up&lookback_delta=10ms&time=1700000000.1", RESULT("vector", "[]") },
        { "query_exemplars?query=up&start=1700000000000&end=1700000000000", SUCCESS("[]") },
        { "format_query?query=sum(up)by(job)", SUCCESS("\"sum by (job) (up)\"") },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];

        snprintf(target, sizeof target, "/api/v1/%s", cases[i].target);
        assert_get(*state, target, 200, cases[i].body);
    }
}

#define STEP_TOO_SMALL                                                                             \
    BAD_DATA("exceeded maximum resolution of 11,000 points per timeseries. "                       \
             "Try decreasing the query resolution (?step=XX)")

static void bad_parameters_are_named(void **state)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        { "query?query=up&time=x",
          BAD_DATA("invalid parameter \\\"time\\\": invalid time value for 'time': cannot parse "
                   "\\\"x\\\" to a valid timestamp") },
        { "query?query=up&timeout=x",
          BAD_DATA("invalid parameter \\\"timeout\\\": cannot parse \\\"x\\\" to a valid "
                   "duration") },
        { "query?query=up&limit=-1",
          BAD_DATA("invalid parameter \\\"limit\\\": limit must be non-negative") },
        { "query?query=up&lookback_delta=x",
          BAD_DATA("error parsing lookback delta duration: cannot parse \\\"x\\\" to a valid "
                   "duration") },
        { "query?query=%zz", BAD_DATA("invalid URL escape \\\"%zz\\\"") },
        { "query_range?query=up&end=1&step=1",
          BAD_DATA("invalid parameter \\\"start\\\": cannot parse \\\"\\\" to a valid "
                   "timestamp") },
        { "query_range?query=up&start=0&end=%3C&step=1",
          BAD_DATA("invalid parameter \\\"end\\\": cannot parse \\\"\\u003c\\\" to a valid "
                   "timestamp") },
        { "query_range?query=up&start=2&end=1&step=1",
          BAD_DATA("invalid parameter \\\"end\\\": end timestamp must not be before start time") },
        { "query_range?query=up&start=0&end=1&step=0",
          BAD_DATA("invalid parameter \\\"step\\\": zero or negative query resolution step widths "
                   "are not accepted. Try a positive integer") },
        { "query_range?query=up&start=0&end=1&step=1e12",
          BAD_DATA("invalid parameter \\\"step\\\": cannot parse \\\"1e12\\\" to a valid duration. "
                   "It overflows int64") },
        { "query_range?query=up&start=0&end=11001&step=1", STEP_TOO_SMALL },
        { "query_range?query=up&start=-9223309901257974&end=9223309901257974&step=1y",
          STEP_TOO_SMALL },
        { "series", BAD_DATA("no match[] parameter provided") },
        { "series?match[]=%7B%7D",
          BAD_DATA("invalid parameter \\\"match[]\\\": match[] must contain at least one non-empty "
                   "matcher") },
        { "labels?start=x",
          BAD_DATA("invalid parameter \\\"start\\\": invalid time value for 'start': cannot parse "
                   "\\\"x\\\" to a valid timestamp") },
        { "label/a%FF/values", BAD_DATA("invalid label name: \\\"a\\\\xff\\\"") },
        { "metadata?limit=x", BAD_DATA("limit must be a number") },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];

        snprintf(target, sizeof target, "/api/v1/%s", cases[i].target);
        assert_get(*state, target, 400, cases[i].body);
    }
}

static void parse_errors_tell_where(void **state)
{
    static const char *const targets[] = { "query?query=sum(", "query?query=", "query?query=up%00",
                                           "series?match[]=up%7B", "format_query?query=1%2B" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char target[256];
        struct answer a;

        snprintf(target, sizeof target, "/api/v1/%s", targets[i]);
        a = client_get(f->port, target);
        assert_int_equal(a.status, 400);
        assert_non_null(strstr(answer_text(&a), "\"error\":\"invalid parameter \\\""));
        assert_non_null(strstr(answer_text(&a), ": parse error: "));
        answer_free(&a);
    }
}

static void evaluation_errors_are_422(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/api/v1/query?query=up%20%2B%20on()%20up");

    assert_int_equal(a.status, 422);
    assert_non_null(strstr(answer_text(&a), "\"errorType\":\"execution\""));
    answer_free(&a);
    a = client_get(f->port, "/api/v1/query?query=up&timeout=0");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(answer_text(&a), "\"errorType\":\"timeout\""));
    answer_free(&a);
}

static void post_merges_form_and_url(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_form(f->port, "/api/v1/query?query=2&time=9", "query=1%2B2");

    assert_string_equal(answer_text(&a), RESULT("scalar", "[9,\"3\"]"));
    answer_free(&a);
    a = client_form(f->port, "/api/v1/query?query=up%7Bjob%3D%22a%22%7D", "");
    assert_string_equal(answer_text(&a),
                        RESULT("vector", "[{\"metric\":" UP_A ",\"value\":[1700000000,\"3\"]}]"));
    answer_free(&a);
    a = client_form(f->port, "/api/v1/series?match[]=a.b", "match[]=up");
    assert_int_equal(a.status, 400); /* a.b needs quotes: both were read */
    answer_free(&a);
    a = client_form(f->port, "/api/v1/series?match[]=%7B%22a.b%22%7D",
                    "match[]=up%7Bjob%3D%22a%22%7D&match[]=up%7Bjob!%3D%22x%22%7D");
    assert_string_equal(answer_text(&a),
                        SUCCESS("[{\"__name__\":\"a.b\",\"x.y\":\"z\"}," UP_B "," UP_A "]"));
    answer_free(&a);
}

static void stats_are_given_when_asked_for(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/api/v1/query?query=up&stats=all");
    const char *stats = strstr(answer_text(&a), "],\"stats\":{\"timings\":{\"evalTotalTime\":");

    assert_non_null(stats);
    assert_non_null(strstr(stats, "\"samples\":{\"totalQueryableSamples\":"));
    answer_free(&a);
}

static void large_results_are_streamed(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(
        f->port, "/api/v1/query_range?query=vector(1.25)&start=1700000000&end=1700011000&step=1");
    size_t n = 0;

    assert_true(a.chunked && a.complete && a.status == 200);
    for (const char *p = answer_text(&a); (p = strstr(p, ",\"1.25\"]")); p++)
        n++;
    assert_int_equal(n, 11001);
    assert_memory_equal(a.body.ptr + a.body.len - 5, "]}]}}", 5);
    answer_free(&a);
}

/* Pieces end anywhere: inside a series, right after its labels, between two. */
static void every_series_is_written_once(void **state)
{
    enum { N = 3000 };
    struct fixture *f = *state;
    struct buf request = { 0 }, series = { 0 }, vector = { 0 }, matrix = { 0 };
    struct answer a;

    buf_text(&vector, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[");
    buf_text(&matrix, "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[");
    for (int i = 0; i < N; i++) {
        char id[200];

        snprintf(id, sizeof id, "%0*d", 4 + i * 7 % 150, i); /* of many lengths, few in order */
        add_label(&series, "__name__", "many");
        add_label(&series, "id", id);
        add_sample(&series, (NOW_S - 1) * 1000LL, i);
        add_sample(&series, NOW_S * 1000LL, i + 0.5);
        end_series(&request, &series);
    }
    a = write_as(f->port, PROTOBUF_1, &request);
    assert_int_equal(a.status, 204);
    answer_free(&a);
    a = client_get(f->port, "/api/v1/label/id/values"); /* sorted as the series are */
    assert_true(a.complete);
    for (char *id = strchr(answer_text(&a), '['); (id = strchr(id, '"'));) {
        size_t n = strcspn(id + 1, "\"");
        long i = strtol(id + 1, NULL, 10);
        const char *comma = vector.ptr[vector.len - 1] == '[' ? "" : ",";

        buf_printf(&vector,
                   "%s{\"metric\":{\"__name__\":\"many\",\"id\":\"%.*s\"},\"value\":"
                   "[1700000000,\"%ld.5\"]}",
                   comma, (int)n, id + 1, i);
        buf_printf(&matrix,
                   "%s{\"metric\":{\"__name__\":\"many\",\"id\":\"%.*s\"},\"values\":"
                   "[[1699999999,\"%ld\"],[1700000000,\"%ld.5\"]]}",
                   comma, (int)n, id + 1, i, i);
        id += n + 2;
    }
    answer_free(&a);
    buf_add(&vector, "]}}", 4);
    buf_add(&matrix, "]}}", 4);
    a = client_get(f->port, "/api/v1/query?query=many");
    assert_true(a.chunked && a.complete);
    assert_string_equal(answer_text(&a), (char *)vector.ptr);
    answer_free(&a);
    a = client_get(f->port, "/api/v1/query?query=many[1m]");
    assert_true(a.chunked && a.complete);
    assert_string_equal(answer_text(&a), (char *)matrix.ptr);
    answer_free(&a);
    buf_free(&request);
    buf_free(&series);
    buf_free(&vector);
    buf_free(&matrix);
}

/* ---- labels, series, metadata ---- */

static void listings_answer_exactly(void **state)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        { "labels", SUCCESS("[\"__name__\",\"job\",\"x.y\"]") },
        { "labels?match[]=up", SUCCESS("[\"__name__\",\"job\"]") },
        { "labels?match[]=up&match[]=%7B%22a.b%22%7D", SUCCESS("[\"__name__\",\"job\",\"x.y\"]") },
        { "labels?match[]=nothing", SUCCESS("[]") },
        { "labels?limit=2", "{\"status\":\"success\",\"data\":[\"__name__\",\"job\"],"
                            "\"warnings\":[\"results truncated due to limit\"]}" },
        { "labels?limit=3", SUCCESS("[\"__name__\",\"job\",\"x.y\"]") },
        { "labels?start=2&end=1", SUCCESS("[]") },
        { "labels?start=-9223309901257974&end=9223309901257974",
          SUCCESS("[\"__name__\",\"job\",\"x.y\"]") },
        { "label/job/values", SUCCESS("[\"<b>\",\"a\"]") },
        { "label/__name__/values", SUCCESS("[\"a.b\",\"up\"]") },
        { "label/U__x_2e_y/values", SUCCESS("[\"z\"]") },
        { "label/x%2Ey/values", SUCCESS("[\"z\"]") },
        { "label/missing/values", SUCCESS("[]") },
        { "label/job/values?match[]=up%7Bjob%3D~%22a.*%22%7D", SUCCESS("[\"a\"]") },
        { "series?match[]=up", SUCCESS("[" UP_B "," UP_A "]") },
        { "series?match[]=up&match[]=up", SUCCESS("[" UP_B "," UP_A "]") },
        { "series?match[]=up&limit=1", "{\"status\":\"success\",\"data\":[" UP_B
                                       "],\"warnings\":[\"results truncated due to limit\"]}" },
        { "series?match[]=nothing", SUCCESS("[]") },
        { "metadata", SUCCESS("{\"up\":[{\"type\":\"gauge\",\"help\":\"Whether \\\"it\\\" is up\","
                              "\"unit\":\"\"}]}") },
        { "metadata?metric=nothing", SUCCESS("{}") },
        { "metadata?metric=up&limit=40000&limit_per_metric=1",
          SUCCESS("{\"up\":[{\"type\":\"gauge\",\"help\":\"Whether \\\"it\\\" is up\","
                  "\"unit\":\"\"}]}") },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];

        snprintf(target, sizeof target, "/api/v1/%s", cases[i].target);
        assert_get(*state, target, 200, cases[i].body);
    }
}

/* ---- writes ---- */

static void writes_of_other_kinds_get_415(void **state)
{
    static const char *const headers[] = {
        "\r\nContent-Type: application/x-protobuf;proto=io.prometheus.write.v3.Request",
        "\r\nContent-Type: application/x-protobuf; proto=\"prometheus.ReadRequest\"",
        "\r\nContent-Type: application/json",
        "\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: zstd",
        "\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip",
    };
    static const char *const accepted[] = {
        "",
        "\r\nContent-Type: application/x-protobuf",
        "\r\nContent-Type: Application/X-Protobuf; proto=prometheus.WriteRequest",
        "\r\nContent-Encoding: Snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0",
    };
    struct fixture *f = *state;
    struct buf empty = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct answer a = write_as(f->port, headers[i], &empty);

        assert_int_equal(a.status, 415);
        answer_free(&a);
    }
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct answer a = write_as(f->port, accepted[i], &empty);

        assert_int_equal(a.status, 204);
        answer_free(&a);
    }
}

static void bad_samples_are_named_and_good_ones_stored(void **state)
{
    struct fixture *f = *state;
    struct buf request = { 0 }, series = { 0 };
    struct answer a;

    add_label(&series, "__name__", "good");
    add_sample(&series, NOW_S * 1000LL, 7);
    end_series(&request, &series);
    add_label(&series, "__name__", "future");
    add_sample(&series, (NOW_S + 3600) * 1000LL, 8);
    end_series(&request, &series);
    add_label(&series, "job", "nameless");
    add_sample(&series, NOW_S * 1000LL, 9);
    end_series(&request, &series);
    a = write_as(f->port, PROTOBUF_1, &request);
    assert_int_equal(a.status, 400);
    assert_memory_equal(answer_text(&a), "2 of 3 samples were not stored:\n", 32);
    assert_non_null(strstr(answer_text(&a), "future"));
    assert_non_null(strstr(answer_text(&a), "nameless"));
    answer_free(&a);
    assert_get(f, "/api/v1/query?query=good", 200,
               RESULT("vector", "[{\"metric\":{\"__name__\":\"good\"},"
                                "\"value\":[1700000000,\"7\"]}]"));
    buf_free(&request);
    buf_free(&series);
}

static void undecodable_writes_are_400(void **state)
{
    static const struct {
        struct bytes body;
        const char *text;
    } cases[] = {
        { { (const uint8_t *)"", 0 }, "snappy: corrupt input\n" },
        { { (const uint8_t *)"\xff\xff\xff\xff\x0f", 5 }, "snappy: corrupt input\n" },
        { { (const uint8_t *)"\xff\x06\0\0sNaPpY", 10 }, "framing format" },
        { { (const uint8_t *)"\x02\x04\x0a\x05", 4 }, "byte" }, /* a field longer than the body */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a =
            client_ask(f->port, "POST /api/v1/write HTTP/1.1" PROTOBUF_1, cases[i].body);

        assert_int_equal(a.status, 400);
        assert_non_null(strstr(answer_text(&a), cases[i].text));
        answer_free(&a);
    }
}

/* ---- status ---- */

static void status_endpoints_answer_exactly(void **state)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        { "status/buildinfo",
          SUCCESS("{\"version\":\"3.14.0\",\"revision\":\"\",\"branch\":\"\",\"buildUser\":\"\","
                  "\"buildDate\":\"\",\"goVersion\":\"\",\"application\":\"Tidemark\","
                  "\"applicationVersion\":\"1.2.3\"}") },
        { "status/flags", SUCCESS("{\"log.level\":\"info\"}") },
        { "rules", SUCCESS("{\"groups\":[]}") },
        { "alerts", SUCCESS("{\"alerts\":[]}") },
        { "targets?state=any",
          SUCCESS("{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}") },
        { "alertmanagers", SUCCESS("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}") },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];
        struct fixture *f = *state;
        struct answer a;

        snprintf(target, sizeof target, "/api/v1/%s", cases[i].target);
        assert_get(f, target, 200, cases[i].body);
        a = client_form(f->port, target, ""); /* Grafana asks with POST first */
        assert_string_equal(answer_text(&a), cases[i].body);
        answer_free(&a);
    }
}

static void probes_and_pages_answer(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *contains;
    } cases[] = {
        { "GET /-/healthy HTTP/1.1", 200, "Tidemark is Healthy.\n" },
        { "HEAD /-/healthy HTTP/1.1", 200, "" },
        { "GET /-/ready HTTP/1.1", 200, "Tidemark is Ready.\n" },
        { "GET / HTTP/1.1", 200, "/api/v1/query_range" },
        { "GET /rules HTTP/1.1", 404, "page not found" },
        { "GET /config/v1/rules/a/b HTTP/1.1", 404, "page not found" },
        { "GET /api/v1/write HTTP/1.1", 405, "Method Not Allowed" },
        { "OPTIONS /api/v1/query HTTP/1.1", 204, "" },
        { "GET /api/v1/status/runtimeinfo HTTP/1.1", 200, "\"storageRetention\":\"15d\"" },
        { "GET /metrics HTTP/1.1", 200, "\nprometheus_tsdb_head_series 3\n" },
        { "GET /metrics HTTP/1.1", 200,
          "\nprometheus_tsdb_head_samples_appended_total{type=\"float\"} 5\n" },
        { "GET /metrics HTTP/1.1", 200, "\ntidemark_samples_rejected_total{reason=\"too_old\"} 0" },
        { "GET /metrics HTTP/1.1", 200, "\nprocess_resident_memory_bytes " },
        { "GET /metrics HTTP/1.1", 200,
          "\nprometheus_http_requests_total{handler=\"/api/v1/write\",code=\"204\"} 1\n" },
        { "GET /metrics HTTP/1.1", 200,
          "\nprometheus_http_requests_total{handler=\"unknown\",code=\"404\"} 2\n" },
        { "GET /metrics HTTP/1.1", 200,
          "\nprometheus_http_request_duration_seconds_count{handler=\"/api/v1/write\"} 2\n" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = client_ask(f->port, cases[i].head, (struct bytes){ 0 });

        assert_int_equal(a.status, cases[i].status);
        assert_non_null(strstr(answer_text(&a), cases[i].contains));
        answer_free(&a);
    }
}

static void server_without_store_says_wait(void **state)
{
    static const struct {
        const char *target;
        int status;
    } cases[] = {
        { "/-/ready", 503 },         { "/-/healthy", 200 }, { "/api/v1/query?query=1", 503 },
        { "/api/v1/labels", 503 },   { "/metrics", 200 },   { "/api/v1/status/buildinfo", 200 },
        { "/api/v1/metadata", 503 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = client_get(f->port, cases[i].target);

        assert_int_equal(a.status, cases[i].status);
        if (a.status == 503)
            assert_string_equal(answer_text(&a), "Service Unavailable\n");
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_DATA(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        WITH_DATA(queries_answer_exactly),
        WITH_DATA(bad_parameters_are_named),
        WITH_DATA(parse_errors_tell_where),
        WITH_DATA(evaluation_errors_are_422),
        WITH_DATA(post_merges_form_and_url),
        WITH_DATA(stats_are_given_when_asked_for),
        WITH_DATA(large_results_are_streamed),
        WITH_DATA(every_series_is_written_once),
        WITH_DATA(listings_answer_exactly),
        WITH_DATA(writes_of_other_kinds_get_415),
        WITH_DATA(bad_samples_are_named_and_good_ones_stored),
        WITH_DATA(undecodable_writes_are_400),
        WITH_DATA(status_endpoints_answer_exactly),
        WITH_DATA(probes_and_pages_answer),
        cmocka_unit_test_setup_teardown(server_without_store_says_wait, setup_empty, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
