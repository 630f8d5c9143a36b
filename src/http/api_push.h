/* api_push.h -- what the endpoints that are pushed to share: OTLP over HTTP and gRPC, text.
 *
 * Threads: any.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "http/api_private.h"
#include "ingest/exposition.h"
#include "ingest/otlp.h"
#include "ingest/otlp_answer.h"

/* What senders of something else than metrics are told. */
#define API_NO_TRACES                                                                              \
    STR("Tidemark keeps metrics only; OTEL_TRACES_EXPORTER=none stops sending spans")
#define API_NO_LOGS STR("Tidemark keeps metrics only; OTEL_LOGS_EXPORTER=none stops sending logs")

enum { API_MAX_PUSH = 32 << 20 }; /* compressed or not, and the same once decoded */

struct otlp_delta;
struct otlp_settings;
struct otlp_writers;
struct push_groups;

/* Memory for reading a request, kept for the next one. */
struct push_scratch {
    struct push_scratch *next;
    struct otlp otlp;
    struct exposition text;
};

struct api_push {
    struct otlp_delta *delta;
    struct otlp_writers *writers;
    pthread_mutex_t lock; /* guards the next two */
    struct push_scratch *scratch;
    struct otlp_settings *settings;
    _Atomic(struct push_groups *) groups;  /* NULL before api_set_push_groups() */
    atomic_uint_fast64_t lines, bad_lines; /* of imported text */
    atomic_uint_fast64_t points, rejected[OTLP_REJECT_COUNT], two_writers, ignored;
};

http_handler api_otlp_metrics, api_otlp_traces, api_otlp_logs; /* api_push_otlp.c */
http_handler api_import_text;                                  /* api_push_text.c */
http_handler api_push_group, api_push_list;                    /* api_push_groups.c */

/* The labels that name a group in a path that begins with /metrics/ (api_push_groups.c), in the
 * arena. ERR_BAD_DATA, ERR_NOMEM. */
MUST_USE enum errc api_push_path(struct str path, struct arena *a, struct labels *name,
                                 struct err *err);

/* NULL when out of memory. */
struct push_scratch *push_scratch_take(struct api_push *push);
void push_scratch_give(struct api_push *push, struct push_scratch *s); /* NULL is fine */

/* Whether a request's body calls itself OpenMetrics (api_push_text.c). */
bool api_is_openmetrics(const struct http_request *rq);

struct api_push *api_push_new(void);       /* NULL when out of memory */
void api_push_free(struct api_push *push); /* NULL is fine */

/* Stores an ExportMetricsServiceRequest. OK: *rejected data points were not stored, message (the
 * caller's to free) says why or warns; otherwise nothing was.
 *   ERR_BAD_DATA, ERR_TOO_LARGE   the sender's fault: it must not send it again
 *   anything else                 ours: it should try again */
MUST_USE enum errc api_otlp_store(struct api *api, struct bytes body, bool json, uint64_t *rejected,
                                  struct buf *message, struct err *err);
