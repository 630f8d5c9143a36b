#include "http/api.h"

#include <stdlib.h>

#include "alert/alerting.h"
#include "base/arena.h"
#include "http/api_private.h"
#include "http/api_push.h"
#include "http/params.h"

#include "base/banned.h"

enum {
    READ = HTTP_GET | HTTP_POST,
    ADMIN = HTTP_POST | HTTP_PUT,
    JSON = API_JSON,
    JSON_DB = API_JSON | API_NEEDS_DB,
    TEXT_DB = ROUTE_NO_FORM | API_NEEDS_DB
};

/* Prometheus answers POST on some of these only; Grafana asks with POST first and takes a 404 or
 * 500 as final, so that every read endpoint answers it. */
const struct route api_routes[] = {
    { "/api/v1/query", READ, HTTP_QUERY, API_MAX_FORM, api_query, JSON_DB },
    { "/api/v1/query_range", READ, HTTP_QUERY, API_MAX_FORM, api_query_range, JSON_DB },
    { "/api/v1/query_exemplars", READ, HTTP_QUERY, API_MAX_FORM, api_query_exemplars, JSON_DB },
    { "/api/v1/format_query", READ, HTTP_CHEAP, API_MAX_FORM, api_format_query, JSON },
    { "/api/v1/parse_query", READ, HTTP_CHEAP, API_MAX_FORM, api_parse_query, JSON },
    { "/api/v1/labels", READ, HTTP_QUERY, API_MAX_FORM, api_labels, JSON_DB },
    { "/api/v1/label/*/values", READ, HTTP_QUERY, API_MAX_FORM, api_label_values, JSON_DB },
    { "/api/v1/series", READ, HTTP_QUERY, API_MAX_FORM, api_series, JSON_DB },
    { "/api/v1/metadata", READ, HTTP_QUERY, API_MAX_FORM, api_metadata, JSON_DB },
    { "/api/v1/read", HTTP_POST, HTTP_QUERY, API_MAX_FORM, api_read, API_NEEDS_DB },
    { "/api/v1/write", HTTP_POST, HTTP_WRITE, API_MAX_WRITE, api_write, API_NEEDS_DB },
    { "/api/v1/import/prometheus", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_import_text, TEXT_DB },
    { "/metrics/job/**", HTTP_PUT | HTTP_POST | HTTP_DELETE, HTTP_WRITE, API_MAX_PUSH,
      api_push_group, TEXT_DB },
    { "/metrics/job@base64/**", HTTP_PUT | HTTP_POST | HTTP_DELETE, HTTP_WRITE, API_MAX_PUSH,
      api_push_group, TEXT_DB },
    { "/api/v1/metrics", READ, HTTP_CHEAP, API_MAX_FORM, api_push_list, JSON_DB },
    { "/v1/metrics", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_metrics, API_NEEDS_DB },
    { "/api/v1/otlp/v1/metrics", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_metrics,
      API_NEEDS_DB },
    { "/opentelemetry/v1/metrics", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_metrics,
      API_NEEDS_DB },
    { "/v1/traces", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_traces, 0 },
    { "/api/v1/otlp/v1/traces", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_traces, 0 },
    { "/v1/logs", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_logs, 0 },
    { "/api/v1/otlp/v1/logs", HTTP_POST, HTTP_WRITE, API_MAX_PUSH, api_otlp_logs, 0 },
    { "/api/v1/rules", READ, HTTP_CHEAP, API_MAX_FORM, api_rules, JSON },
    { "/api/v1/alerts", READ, HTTP_CHEAP, API_MAX_FORM, api_alerts, JSON },
    { "/api/v1/alertmanagers", READ, HTTP_CHEAP, API_MAX_FORM, api_alertmanagers, JSON },
    { "/api/v1/targets", READ, HTTP_CHEAP, API_MAX_FORM, api_constant, JSON },
    { "/api/v1/targets/metadata", READ, HTTP_CHEAP, API_MAX_FORM, api_constant, JSON },
    { "/api/v1/scrape_pools", READ, HTTP_CHEAP, API_MAX_FORM, api_constant, JSON },
    { "/api/v1/notifications", READ, HTTP_CHEAP, API_MAX_FORM, api_constant, JSON },
    { "/api/v1/status/config", READ, HTTP_CHEAP, API_MAX_FORM, api_config, JSON },
    { "/api/v1/status/tsdb", READ, HTTP_QUERY, API_MAX_FORM, api_tsdb, JSON_DB },
    { "/api/v1/status/walreplay", READ, HTTP_CHEAP, API_MAX_FORM, api_walreplay, JSON },
    { "/api/v1/status/buildinfo", READ, HTTP_CHEAP, API_MAX_FORM, api_buildinfo, JSON },
    { "/api/v1/status/runtimeinfo", READ, HTTP_CHEAP, API_MAX_FORM, api_runtimeinfo, JSON_DB },
    { "/api/v1/status/flags", READ, HTTP_CHEAP, API_MAX_FORM, api_flags, JSON },
    { "/api/v1/admin/tsdb/flush", ADMIN, HTTP_ADMIN, API_MAX_FORM, api_admin_flush, JSON_DB },
    { "/api/v1/admin/tsdb/delete_series", ADMIN, HTTP_ADMIN, API_MAX_FORM, api_admin_delete,
      JSON_DB },
    { "/api/v1/admin/tsdb/clean_tombstones", ADMIN, HTTP_ADMIN, API_MAX_FORM, api_admin_clean,
      JSON_DB },
    { "/api/v1/admin/tsdb/snapshot", ADMIN, HTTP_ADMIN, API_MAX_FORM, api_admin_snapshot, JSON_DB },
    { "/-/healthy", HTTP_GET, HTTP_CHEAP, 0, api_healthy, 0 },
    { "/-/ready", HTTP_GET, HTTP_CHEAP, 0, api_ready, 0 },
    { "/-/reload", HTTP_POST | HTTP_PUT, HTTP_CHEAP, API_MAX_FORM, api_reload, 0 },
    { "/-/quit", HTTP_POST | HTTP_PUT, HTTP_CHEAP, API_MAX_FORM, api_quit, 0 },
    { "/federate", HTTP_GET, HTTP_QUERY, 0, api_federate, API_NEEDS_DB },
    { "/graph", HTTP_GET, HTTP_QUERY, 0, api_graph, API_NEEDS_DB },
    { "/metrics", HTTP_GET, HTTP_CHEAP, 0, api_metrics, 0 },
    { "/", HTTP_GET, HTTP_CHEAP, 0, api_home, 0 },
};
const size_t n_api_routes = ARRAY_LEN(api_routes);

/* ---- errors ---- */

/* Clients parse the JSON of 400, 422 and 503 only, so that what a query can cause stays there. */
static const struct {
    unsigned status;
    const char *type;
} by_code[] = {
    [OK] = { 500, "internal" }, /* not an error */
    [ERR_NOMEM] = { 500, "internal" },
    [ERR_IO] = { 500, "internal" },
    [ERR_CORRUPT] = { 500, "internal" },
    [ERR_NOT_FOUND] = { 404, "not_found" },
    [ERR_OUT_OF_ORDER] = { 400, "bad_data" },
    [ERR_FULL] = { 500, "internal" },
    [ERR_LIMIT] = { 422, "execution" },
    [ERR_TOO_LARGE] = { 400, "bad_data" },
    [ERR_TIMEOUT] = { 503, "timeout" },
    [ERR_CANCELED] = { 499, "canceled" },
    [ERR_UNAVAILABLE] = { 503, "unavailable" },
    [ERR_CONFLICT] = { 500, "internal" },
    [ERR_EXECUTION] = { 422, "execution" },
    [ERR_BAD_QUERY] = { 400, "bad_data" },
    [ERR_BAD_DATA] = { 400, "bad_data" },
    [ERR_BAD_CONFIG] = { 500, "internal" },
    [ERR_UNSUPPORTED] = { 422, "execution" },
};
_Static_assert(ARRAY_LEN(by_code) == ERR_COUNT, "every code has a status and a type");

void api_error(struct http_response *rs, enum errc code, const char *text)
{
    ASSERT(code > OK && code < ERR_COUNT);
    http_response_clear(rs);
    rs->status = by_code[code].status;
    rs->content_type = HTTP_JSON;
    buf_printf(&rs->body,
               "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", by_code[code].type);
    json_text(&rs->body, str_from(text));
    buf_u8(&rs->body, '}');
}

void api_bad_param(const struct http_request *rq, struct http_response *rs, const char *name,
                   const char *text)
{
    const char *full = arena_printf(rq->arena, "invalid parameter \"%s\": %s", name, text);

    api_error(rs, ERR_BAD_DATA, full ? full : "invalid parameter");
}

/* ---- successes ---- */

void api_begin(struct http_response *rs)
{
    rs->status = 200;
    rs->content_type = HTTP_JSON;
    buf_text(&rs->body, "{\"status\":\"success\",\"data\":");
}

static void add_notes(struct buf *b, const char *key, const struct str *texts, size_t n,
                      const char *one_more)
{
    if (n == 0 && !one_more)
        return;
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_u8(b, ',');
        json_text(b, texts[i]);
    }
    if (one_more) {
        if (n)
            buf_u8(b, ',');
        json_text(b, str_from(one_more));
    }
    buf_u8(b, ']');
}

void api_end(struct buf *b, const struct api_notes *notes)
{
    add_notes(b, "warnings", notes->warnings, notes->n_warnings, notes->warning);
    add_notes(b, "infos", notes->infos, notes->n_infos, NULL);
    buf_u8(b, '}');
}

/* ---- parameters ---- */

bool api_time(const struct http_request *rq, struct http_response *rs, const char *name,
              int64_t otherwise_ms, int64_t *t_ms)
{
    struct err err = err_in(rq->arena);
    struct str text = http_param(rq, name);
    const char *why;

    *t_ms = otherwise_ms;
    if (text.len == 0 || param_time(text, t_ms, &err) == OK)
        return true;
    why = arena_printf(rq->arena, "invalid time value for '%s': %s", name, err_text(&err));
    api_bad_param(rq, rs, name, why ? why : err_text(&err));
    return false;
}

bool api_limit(const struct http_request *rq, struct http_response *rs, uint64_t *n)
{
    struct err err = err_in(rq->arena);

    if (param_limit(http_param(rq, "limit"), n, &err) == OK)
        return true;
    api_bad_param(rq, rs, "limit", err_text(&err));
    return false;
}

/* ---- the service ---- */

struct db *api_db(const struct api *api)
{
    return atomic_load(&api->db);
}

static bool admit(void *ctx, const struct route *route, const struct http_request *rq,
                  struct http_response *rs)
{
    struct api *api = ctx;

    if (route->flags & API_NEEDS_DB && !api_db(api)) {
        http_response_text(rs, 503, "Service Unavailable");
        http_response_header(rs, "Retry-After", "1");
        return false;
    }
    if (rq->params_error && route->flags & API_JSON) {
        api_error(rs, ERR_BAD_DATA, rq->params_error);
        return false;
    }
    return true;
}

struct api_options api_options_default(void)
{
    return (struct api_options){
        .version = "",
        .query_timeout_ms = 120000,
        .query_max_samples = 50000000,
        .lookback_ms = 300000,
        .read_max_samples = 50000000,
        .retention_ms = 15LL * 86400000,
    };
}

struct api *api_new(const struct api_options *options)
{
    struct api *api = calloc(1, sizeof *api);

    if (!api)
        return NULL;
    api->o = *options;
    if (!api->o.clock)
        api->o.clock = &clock_system;
    api->started_ms = clock_wall_ms(api->o.clock);
    pthread_mutex_init(&api->lock, NULL);
    api->service = (struct http_service){
        .routes = api_routes,
        .n_routes = n_api_routes,
        .ctx = api,
        .admit = admit,
        .count = api_count,
    };
    api->stats = calloc(n_api_routes + 1, sizeof *api->stats);
    api->push = api_push_new();
    if (!api->stats || !api->push) {
        api_free(api);
        return NULL;
    }
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    api_write_free(api);
    api_push_free(api->push);
    pthread_mutex_destroy(&api->lock);
    free(api->stats);
    free(api);
}

const struct http_service *api_service(const struct api *api)
{
    return &api->service;
}

void api_set_db(struct api *api, struct db *db)
{
    atomic_store(&api->db, db);
}

void api_set_rules(struct api *api, struct rule_manager *rules, struct notifier *notifier)
{
    atomic_store(&api->notifier, notifier);
    atomic_store(&api->rules, rules);
}

void api_set_alerting(struct api *api, struct alerting *alerting)
{
    atomic_store(&api->alerting, alerting);
    api_set_rules(api, alerting_rules(alerting), alerting_notifier(alerting));
}
