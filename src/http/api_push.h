/* api_push.h -- what the endpoints that are pushed to share: OTLP over HTTP and gRPC, text.
 *
 * Threads: any.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "http/api_private.h"
#include "ingest/otlp.h"
#include "ingest/otlp_answer.h"

enum { API_MAX_PUSH = 32 << 20 }; /* compressed or not, and the same once decoded */

struct otlp_delta;
struct otlp_settings;
struct otlp_writers;
struct push_scratch;

struct api_push {
    struct otlp_delta *delta;
    struct otlp_writers *writers;
    pthread_mutex_t lock; /* guards the next two */
    struct push_scratch *scratch;
    struct otlp_settings *settings;
    atomic_uint_fast64_t points, rejected[OTLP_REJECT_COUNT], two_writers, ignored;
};

http_handler api_otlp_metrics, api_otlp_traces, api_otlp_logs; /* api_push_otlp.c */

struct api_push *api_push_new(void);       /* NULL when out of memory */
void api_push_free(struct api_push *push); /* NULL is fine */

/* Stores an ExportMetricsServiceRequest. OK: *rejected data points were not stored, message (the
 * caller's to free) says why or warns; otherwise nothing was.
 *   ERR_BAD_DATA, ERR_TOO_LARGE   the sender's fault: it must not send it again
 *   anything else                 ours: it should try again */
MUST_USE enum errc api_otlp_store(struct api *api, struct bytes body, bool json, uint64_t *rejected,
                                  struct buf *message, struct err *err);
