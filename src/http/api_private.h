/* api_private.h -- what the files api*.c share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "http/api.h"
#include "http/message.h"
#include "http/route.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"
#include "query/query.h"
#include "storage/db.h"
#include "storage/labels_json.h"

/* Flags of a route. */
enum {
    API_NEEDS_DB = 1, /* 503 until the store is there */
    API_JSON = 2      /* its errors are JSON */
};

enum {
    API_MAX_FORM = 4 << 20,         /* a query of 1 MiB may be three times as long when encoded */
    API_MAX_WRITE = 16 << 20,       /* compressed */
    API_MAX_META_BYTES = 512 << 20, /* memory of one listing of labels or series */
    API_MAX_RULES_BYTES = 1 << 30   /* memory of a copy of all rules and alerts */
};

/* Status codes that are counted apart; others are counted under the last, "other". */
enum { API_CODES = 16, API_BUCKETS = 9 };

struct handler_stats {
    atomic_uint_fast64_t by_code[API_CODES];
    atomic_uint_fast64_t le[API_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    atomic_uint_fast64_t sum_us;
};

/* Memory of a write, kept for the next one. */
struct write_scratch {
    struct write_scratch *next;
    struct remote_write rw;
    struct remote_write2 rw2;
};

struct api {
    struct api_options o;
    struct http_service service;
    _Atomic(struct db *) db;
    _Atomic(struct rule_manager *) rules;
    _Atomic(struct notifier *) notifier;
    _Atomic(struct alerting *) alerting;
    int64_t started_ms;
    struct handler_stats *stats; /* one for each route and, last, one for unknown paths */
    struct api_push *push;       /* of OTLP and what else is pushed (api_push.c) */
    pthread_mutex_t lock;        /* guards scratch */
    struct write_scratch *scratch;
};

struct node;

extern const struct route api_routes[];
extern const size_t n_api_routes;

/* ---- answers (api.c) ---- */

/* {"status":"error",...} with the status that belongs to code. */
void api_error(struct http_response *rs, enum errc code, const char *text);

/* The same for `invalid parameter "name": …`, always 400. */
void api_bad_param(const struct http_request *rq, struct http_response *rs, const char *name,
                   const char *text);

/* {"status":"success","data": -- what follows is the caller's, then api_end(). */
void api_begin(struct http_response *rs);

/* Ends what api_begin() began: the warnings and infos (may be none), }. */
struct api_notes {
    const struct str *warnings, *infos;
    size_t n_warnings, n_infos;
    const char *warning; /* one more, or NULL */
};
void api_end(struct buf *b, const struct api_notes *notes);

#define API_TRUNCATED "results truncated due to limit"

/* The store; never NULL in a route with API_NEEDS_DB. */
struct db *api_db(const struct api *api);

/* The time parameter name, or otherwise when it is absent. False: rs has the error. */
bool api_time(const struct http_request *rq, struct http_response *rs, const char *name,
              int64_t otherwise_ms, int64_t *t_ms);
bool api_limit(const struct http_request *rq, struct http_response *rs, uint64_t *n);

struct api_selector {
    struct matcher *matchers;
    size_t n;
};
struct api_selectors {
    struct api_selector *items; /* in the request's arena */
    size_t n;
};
/* All match[] parameters. False: rs has the error, and there is nothing to free (api_match.c). */
bool api_selectors_read(const struct http_request *rq, struct http_response *rs,
                        struct api_selectors *out);
/* The same without an answer: the text of err is the whole of what a client is to be told. */
MUST_USE enum errc api_selectors_parse(const struct http_request *rq, struct api_selectors *out,
                                       struct err *err);
void api_selectors_free(struct api_selectors *s);

/* The query of rq as a tree in its arena; NULL when it is wrong and rs has the error. Free it with
 * parse_free() (api_parse.c). */
struct node *api_parse_only(const struct http_request *rq, struct http_response *rs);

/* Whether the request comes from a page of another site, which can make a browser send a POST
 * without asking anybody (api_lifecycle.c). */
bool api_is_foreign(const struct http_request *rq);

/* What a query of rq runs with, by the server's options (api_query.c). */
struct query_options api_query_options(const struct api *api, const struct http_request *rq);

/* ---- handlers ---- */

http_handler api_query, api_query_range;                             /* api_query.c */
http_handler api_query_exemplars;                                    /* api_exemplars.c */
http_handler api_format_query, api_parse_query;                      /* api_parse.c */
http_handler api_labels, api_label_values, api_series, api_metadata; /* api_meta.c */
http_handler api_constant, api_buildinfo, api_runtimeinfo, api_flags, api_config, api_walreplay,
    api_healthy, api_ready, api_home;                  /* api_status.c */
http_handler api_tsdb;                                 /* api_tsdb.c */
http_handler api_metrics;                              /* api_metrics.c */
http_handler api_rules, api_alerts, api_alertmanagers; /* api_rules.c */
http_handler api_reload, api_quit;                     /* api_lifecycle.c */
http_handler api_federate;                             /* api_federate.c */
http_handler api_read;                                 /* api_read.c */
http_handler api_graph;                                /* api_graph.c */
http_handler api_write;                                /* api_write.c */
http_handler api_admin_flush, api_admin_delete, api_admin_clean,
    api_admin_snapshot; /* api_admin.c */

/* Metrics of rules and notifications (api_metrics_rules.c). */
void api_metrics_rules(struct buf *b, const struct api *api);

/* Metrics of what is pushed (api_push.c). */
void api_metrics_push(struct buf *b, const struct api *api);

/* # HELP and # TYPE; a metric without labels (api_metrics.c). */
void metric_family(struct buf *b, const char *name, const char *type, const char *help);
void metric_single(struct buf *b, const char *name, const char *type, const char *help, double v);
/* A blank, the value and the line's end. */
void metric_value(struct buf *b, double v);

/* Counts a request (api_metrics.c). */
void api_count(void *ctx, const struct route *route, unsigned status, int64_t took_ns);

/* Frees the memory kept for writes (api_write.c). */
void api_write_free(struct api *api);
