/* bench_push.c -- what does reading pushed metrics cost, without storing them: CPU nanoseconds for a
 * data point of six attributes, as OTLP in protobuf and JSON and as exposition text. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ingest/exposition.h"
#include "ingest/otlp.h"
#include "ingest/otlp_json.h"

#include "base/banned.h"

enum { POINTS = 2000, ROUNDS = 500 };

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void print_rate(const char *what, double begun, size_t bytes)
{
    double ns = (cpu_ns() - begun) / ((double)POINTS * ROUNDS);

    printf("%-14s %8.0f ns/point %8.0f bytes/point %10.0f points/s\n", what, ns,
           (double)bytes / POINTS, 1e9 / ns);
}

static const char *const models[] = { "gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "llama-3.3-70b" };

static void make_text(struct buf *b)
{
    for (int i = 0; i < POINTS; i++)
        buf_printf(
            b,
            "llm_cost_dollars_total{gen_ai_request_model=\"%s\",endpoint=\"/v1/endpoint-%d\","
            "status=\"ok\",region=\"eu-central-%d\",pod=\"llm-gateway-7d9f8b6c5-%05d\","
            "tenant=\"tenant-%d\"} %.*g 1700000000000\n",
            models[i % 4], i % 20, i % 4, i / 100, i, i % 3 ? 6 : 17, i * 0.137);
}

static void put_attribute(struct buf *b, const char *key, const char *fmt, int i)
{
    char value[64];

    snprintf(value, sizeof value, "%s%05d", fmt, i);
    buf_printf(b, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":\"%s\"}}",
               b->ptr[b->len - 1] == '[' ? "" : ",", key, value);
}

static void make_json(struct buf *b)
{
    buf_text(b, "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","
                "\"value\":{\"stringValue\":\"llm\"}}]},\"scopeMetrics\":[{\"metrics\":[{\"name\":"
                "\"llm_cost_dollars\",\"sum\":{\"dataPoints\":[");
    for (int i = 0; i < POINTS; i++) {
        buf_printf(b, "%s{\"attributes\":[", i ? "," : "");
        put_attribute(b, "gen_ai.request.model", models[i % 4], 0);
        put_attribute(b, "endpoint", "/v1/endpoint-", i % 20);
        put_attribute(b, "status", "ok", 0);
        put_attribute(b, "region", "eu-central-", i % 4);
        put_attribute(b, "pod", "llm-gateway-7d9f8b6c5-", i / 100);
        put_attribute(b, "tenant", "tenant-", i);
        buf_printf(b,
                   "],\"startTimeUnixNano\":\"1700000000000000000\",\"timeUnixNano\":"
                   "\"1700000015000000000\",\"asDouble\":%.*g}",
                   i % 3 ? 6 : 17, i * 0.137);
    }
    buf_text(b, "],\"aggregationTemporality\":2,\"isMonotonic\":true}}]}]}]}");
}

static void measure_text(void)
{
    static const struct exposition_options o = { 0 };
    struct exposition x = { 0 };
    struct buf text = { 0 };
    double begun;

    make_text(&text);
    begun = cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT(exposition_begin(&x, &o, buf_as_str(&text), NULL) == OK);
        ASSERT(exposition_next(&x, SIZE_MAX, NULL) == OK && x.batch.n_series == POINTS);
    }
    print_rate("text", begun, text.len);
    exposition_free(&x);
    buf_free(&text);
}

static void measure_otlp(void)
{
    struct otlp_options options = otlp_options_default();
    struct buf json = { 0 }, message = { 0 };
    struct otlp o = { 0 };
    double begun;

    make_json(&json);
    ASSERT(otlp_json_to_protobuf(buf_as_bytes(&json), OTLP_MAX_BYTES, &message, NULL) == OK);
    begun = cpu_ns();
    for (int i = 0; i < ROUNDS; i++)
        ASSERT(otlp_read(&o, &options, buf_as_bytes(&message), NULL) == OK && o.n_points == POINTS);
    print_rate("OTLP protobuf", begun, message.len);
    begun = cpu_ns();
    for (int i = 0; i < ROUNDS; i++)
        ASSERT(otlp_read_json(&o, &options, buf_as_bytes(&json), NULL) == OK);
    print_rate("OTLP JSON", begun, json.len);
    otlp_free(&o);
    buf_free(&json);
    buf_free(&message);
}

int main(void)
{
    measure_text();
    measure_otlp();
    return 0;
}
