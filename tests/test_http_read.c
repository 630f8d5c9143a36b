#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api_rig.h"
#include "db_tools.h"
#include "ingest/snappy.h"
#include "pb_build.h"

#include "base/banned.h"

#define NOW_MS (RIG_NOW_S * 1000LL)

/* A request for {job="x"} of the last hour; answer: 0 samples, 1 chunks. */
static struct answer ask(struct api_rig *rig, uint64_t answer)
{
    struct buf request = { 0 }, query = { 0 }, matcher = { 0 }, packed = { 0 };
    struct answer a;

    pb_put_varint(&query, 1, NOW_MS - 3600000);
    pb_put_varint(&query, 2, NOW_MS);
    pb_put_text(&matcher, 2, "job");
    pb_put_text(&matcher, 3, "x");
    pb_put_message(&query, 3, &matcher);
    pb_put_message(&request, 1, &query);
    pb_put_varint(&request, 2, answer);
    assert_int_equal(snappy_encode(buf_as_bytes(&request), &packed, NULL), OK);
    a = client_ask(rig->port,
                   "POST /api/v1/read HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n"
                   "Content-Encoding: snappy\r\nX-Prometheus-Remote-Read-Version: 0.1.0",
                   buf_as_bytes(&packed));
    buf_free(&request);
    buf_free(&query);
    buf_free(&matcher);
    buf_free(&packed);
    return a;
}

static void samples_are_one_snappy_block(void **state)
{
    struct api_rig *rig = *state;
    struct buf series = { 0 }, result = { 0 }, want = { 0 }, got = { 0 };
    struct answer a;

    rig_append(rig, "up job=x", 1000, 1.5);
    a = ask(rig, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/x-protobuf");
    assert_string_equal(answer_header(&a, "Content-Encoding"), "snappy");
    assert_int_equal(snappy_decode(buf_as_bytes(&a.body), 1 << 20, &got, NULL), OK);
    pb_put_label(&series, "__name__", "up");
    pb_put_label(&series, "job", "x");
    pb_put_sample(&series, 1.5, NOW_MS - 1000);
    pb_put_message(&result, 1, &series);
    pb_put_message(&want, 1, &result);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
    buf_free(&series);
    buf_free(&result);
    buf_free(&want);
    buf_free(&got);
    answer_free(&a);
}

static void chunks_are_streamed_without_an_encoding(void **state)
{
    enum { N = 900000 };
    struct api_rig *rig = *state;
    struct sample *samples = malloc(N * sizeof *samples);
    struct answer a;
    uint64_t x = 1;

    for (size_t i = 0; i < N; i++) { /* noise, so that the answer takes several batches */
        x = x * 6364136223846793005u + 1442695040888963407u;
        samples[i] = (struct sample){ NOW_MS - N + (int64_t)i, (double)(x >> 11) };
    }
    assert_true(append_series(rig->db, "noise job=x", samples, N, NULL));
    free(samples);
    a = ask(rig, 1);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Type"),
                        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    assert_null(answer_header(&a, "Content-Encoding"));
    assert_true(a.chunked && a.complete);
    assert_true(a.body.len > N * 6u);
    answer_free(&a);
}

static void faults_are_texts(void **state)
{
    struct api_rig *rig = *state;
    struct answer a = client_ask(rig->port, "POST /api/v1/read HTTP/1.1",
                                 (struct bytes){ (const uint8_t *)"abc", 3 });

    assert_int_equal(a.status, 400);
    assert_string_equal(answer_header(&a, "Content-Type"), HTTP_TEXT);
    answer_free(&a);
    rig_get(rig, "/api/v1/read", 405, HTTP_TEXT, NULL);
    a = ask(rig, 7);
    assert_int_equal(a.status, 400);
    assert_string_equal(answer_text(&a),
                        "server does not support any of the requested response types: [7]; "
                        "supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]\n");
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
        WITH_RIG(samples_are_one_snappy_block),
        WITH_RIG(chunks_are_streamed_without_an_encoding),
        WITH_RIG(faults_are_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
