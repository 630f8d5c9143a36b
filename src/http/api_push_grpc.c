/* api_push_grpc.c -- OTLP over gRPC: the services of the collector.
 *
 * A client calls again after UNAVAILABLE only (and after RESOURCE_EXHAUSTED with a RetryInfo, which
 * is never sent: a request that is too large stays so).
 */
#include "http/api_push.h"

#include "base/arena.h"
#include "http/grpc.h"

#include "base/banned.h"

static void export_metrics(void *ctx, struct bytes message, struct arena *arena,
                           struct grpc_answer *answer)
{
    struct api *api = ctx;
    struct err err = err_in(arena);
    struct buf text = { 0 };
    uint64_t rejected = 0;
    enum errc rc = api_db(api) ? api_otlp_store(api, message, false, &rejected, &text, &err)
                               : err_set(&err, ERR_UNAVAILABLE, 0, "the server is starting");

    if (rc == OK) {
        otlp_answer(&answer->message, false, OTLP_METRICS, rejected, buf_as_str(&text));
    } else {
        answer->code = rc == ERR_BAD_DATA    ? RPC_INVALID_ARGUMENT
                       : rc == ERR_TOO_LARGE ? RPC_RESOURCE_EXHAUSTED
                                             : RPC_UNAVAILABLE;
        answer->text = err_text(&err);
    }
    buf_free(&text);
}

static void export_traces(void *ctx, struct bytes message, struct arena *arena,
                          struct grpc_answer *answer)
{
    (void)ctx, (void)arena;
    otlp_answer(&answer->message, false, OTLP_TRACES, otlp_count_items(message, false, OTLP_TRACES),
                API_NO_TRACES);
}

static void export_logs(void *ctx, struct bytes message, struct arena *arena,
                        struct grpc_answer *answer)
{
    (void)ctx, (void)arena;
    otlp_answer(&answer->message, false, OTLP_LOGS, otlp_count_items(message, false, OTLP_LOGS),
                API_NO_LOGS);
}

#define SERVICE "/opentelemetry.proto.collector."

static const struct grpc_method methods[] = {
    { SERVICE "metrics.v1.MetricsService/Export", export_metrics },
    { SERVICE "trace.v1.TraceService/Export", export_traces },
    { SERVICE "logs.v1.LogsService/Export", export_logs },
};

const struct grpc_method *api_grpc_methods(size_t *n)
{
    *n = ARRAY_LEN(methods);
    return methods;
}
