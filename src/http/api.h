/* api.h -- Prometheus' HTTP API over a store: what the server serves.
 *
 * The API is there before the store: until api_set_db() is called every endpoint that needs it
 * answers 503, so that a probe sees a server that is starting instead of none.
 *
 * Threads: the api_set_ functions from any thread, once; the rest from the thread that
 * made it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "http/route.h"

struct alerting;
struct api;
struct db;
struct notifier;
struct config_otlp;
struct grpc_method;
struct otlp_options;
struct push_groups;
struct rule_manager;

/* A name and its value as text: the flags shown by /api/v1/status/flags. */
struct api_flag {
    const char *name, *value;
};

struct api_options {
    const char *version;          /* the program's own */
    int64_t query_timeout_ms;     /* 2 min */
    uint64_t query_max_samples;   /* 50,000,000 */
    int64_t lookback_ms;          /* 5 min */
    uint64_t read_max_samples;    /* of a remote read that is not streamed: 50,000,000 */
    int64_t retention_ms;         /* shown only */
    const struct api_flag *flags; /* borrowed; shown only */
    size_t n_flags;
    bool enable_lifecycle; /* POST /-/reload and /-/quit are allowed */
    bool enable_admin;     /* POST /api/v1/admin/... is allowed */
    /* What it does: any thread; the text of err is the answer when it fails. NULL: nothing. */
    enum errc (*reload)(void *ctx, struct err *err);
    /* What POST /-/quit does: begins to stop the program, and returns. NULL: nothing. */
    void (*quit)(void *ctx);
    void *reload_ctx;          /* of both */
    const struct clock *clock; /* NULL: clock_system */
};

struct api_options api_options_default(void);

/* NULL when out of memory. */
struct api *api_new(const struct api_options *options);
void api_free(struct api *api); /* after the server has stopped; NULL is fine */

/* What to give to http_server_start(). Valid as long as api. */
const struct http_service *api_service(const struct api *api);

/* What to give to grpc_server_start(), with api as the handlers' context: n methods. */
const struct grpc_method *api_grpc_methods(size_t *n);

/* From now on the store is there. It must outlive the server. */
void api_set_db(struct api *api, struct db *db);

/* From now on OTLP is translated so; the lists are copied. Any thread, any time. False when out of
 * memory: nothing has changed. */
MUST_USE bool api_set_otlp(struct api *api, const struct otlp_options *options);

/* The same from a configuration file's section. */
MUST_USE bool api_set_otlp_config(struct api *api, const struct config_otlp *c);

/* From now on metrics can be pushed to groups, which must outlive the server. */
void api_set_push_groups(struct api *api, struct push_groups *groups);

/* From now on there are rules, and maybe somebody who is told about alerts (NULL: nobody). Both
 * must outlive the server. Without rules, the endpoints that list them answer that there are none.
 * */
void api_set_rules(struct api *api, struct rule_manager *rules, struct notifier *notifier);

/* The same with all that belongs to them: the configuration too, its external labels, and how the
 * last reload went. */
void api_set_alerting(struct api *api, struct alerting *alerting);
