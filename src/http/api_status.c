/* api_status.c -- what the server says about itself. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "alert/alerting.h"
#include "base/duration.h"
#include "http/api_private.h"

#include "base/banned.h"

/* The Prometheus release whose query language and API are met. Clients compare it: Grafana switches
 * features by it, Thanos refuses an older one. */
#define PROMETHEUS_VERSION "3.14.0"

/* Endpoints of what does not exist here: clients ask, and take an error for a fault. */
static const struct {
    const char *path, *data;
} constants[] = {
    { "/api/v1/targets",
      "{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}" },
    { "/api/v1/targets/metadata", "[]" },
    { "/api/v1/scrape_pools", "{\"scrapePools\":[]}" },
    { "/api/v1/notifications", "[]" },
};

static void respond_json(struct http_response *rs, const char *data)
{
    api_begin(rs);
    buf_text(&rs->body, data);
    api_end(&rs->body, &(struct api_notes){ 0 });
}

void api_constant(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    size_t i = 0;

    (void)ctx;
    while (i < ARRAY_LEN(constants) && !str_is(rq->path, constants[i].path))
        i++;
    ASSERT(i < ARRAY_LEN(constants));
    respond_json(rs, constants[i].data);
}

/* ---- objects of texts ---- */

static void add_member(struct buf *b, bool first, const char *name, struct str value)
{
    if (!first)
        buf_u8(b, ',');
    json_string(b, str_from(name));
    buf_u8(b, ':');
    json_string(b, value);
}

/* There must be no key "features": with one Grafana takes us for Mimir and enables rule editing. */
void api_buildinfo(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct buf *b = &rs->body;

    (void)rq;
    api_begin(rs);
    buf_text(b, "{\"version\":\"" PROMETHEUS_VERSION "\",\"revision\":\"\",\"branch\":\"\","
                "\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\","
                "\"application\":\"Tidemark\",");
    add_member(b, true, "applicationVersion", str_from(api->o.version));
    buf_u8(b, '}');
    api_end(b, &(struct api_notes){ 0 });
}

void api_flags(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;

    (void)rq;
    api_begin(rs);
    buf_u8(&rs->body, '{');
    for (size_t i = 0; i < api->o.n_flags; i++)
        add_member(&rs->body, i == 0, api->o.flags[i].name, str_from(api->o.flags[i].value));
    buf_u8(&rs->body, '}');
    api_end(&rs->body, &(struct api_notes){ 0 });
}

/* The configuration in force, without secrets. */
void api_config(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct alerting *alerting = atomic_load(&api->alerting);
    struct buf yaml = { 0 };

    (void)rq;
    if (alerting)
        alerting_print_config(alerting, &yaml);
    api_begin(rs);
    buf_u8(&rs->body, '{');
    add_member(&rs->body, true, "yaml", buf_as_str(&yaml));
    buf_u8(&rs->body, '}');
    api_end(&rs->body, &(struct api_notes){ 0 });
    rs->body.failed |= yaml.failed;
    buf_free(&yaml);
}

/* Served before the store is there: its use is to see that the server is at work. */
void api_walreplay(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    (void)rq;
    respond_json(rs, api_db(ctx) ? "{\"min\":0,\"max\":0,\"current\":0,\"state\":\"done\"}"
                                 : "{\"min\":0,\"max\":0,\"current\":0,\"state\":\"in progress\"}");
}

static void add_date(struct buf *b, const char *name, int64_t t_ms)
{
    time_t seconds = (time_t)(t_ms / 1000);
    struct tm tm;
    char text[40];
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    add_member(b, false, name, (struct str){ text, n });
}

void api_runtimeinfo(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct buf *b = &rs->body, retention = { 0 };
    struct alerting *alerting = atomic_load(&api->alerting);
    struct reload_status last = { true, api->started_ms };
    struct db_stats stats;
    char cwd[4096], host[256];

    (void)rq;
    if (alerting)
        last = alerting_reload_status(alerting);
    db_stats(api_db(api), &stats);
    if (!getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    if (gethostname(host, sizeof host) != 0)
        host[0] = '\0';
    host[sizeof host - 1] = '\0';
    api_begin(rs);
    buf_printf(b,
               "{\"reloadConfigSuccess\":%s,\"corruptionCount\":%llu,\"goroutineCount\":0,"
               "\"GOMAXPROCS\":%ld,\"GOMEMLIMIT\":0",
               last.ok ? "true" : "false",
               (unsigned long long)(stats.corruptions + stats.log_records_skipped),
               sysconf(_SC_NPROCESSORS_ONLN));
    add_date(b, "startTime", api->started_ms);
    add_date(b, "lastConfigTime", last.loaded_ms);
    add_date(b, "serverTime", clock_wall_ms(api->o.clock));
    add_member(b, false, "CWD", str_from(cwd));
    add_member(b, false, "hostname", str_from(host));
    add_member(b, false, "GOGC", STR(""));
    add_member(b, false, "GODEBUG", STR(""));
    duration_print(&retention, api->o.retention_ms);
    add_member(b, false, "storageRetention", buf_as_str(&retention));
    buf_free(&retention);
    buf_u8(b, '}');
    api_end(b, &(struct api_notes){ 0 });
}

/* ---- probes and the front page ---- */

void api_healthy(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct db *db = api_db(ctx);
    struct db_stats stats = { 0 };

    (void)rq;
    if (db)
        db_stats(db, &stats);
    if (stats.write_failed)
        http_response_text(rs, 503,
                           "Tidemark is not healthy: the log could not be written, and writes are "
                           "refused until a restart.");
    else
        http_response_text(rs, 200, "Tidemark is Healthy.");
}

void api_ready(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    (void)rq;
    if (api_db(ctx))
        http_response_text(rs, 200, "Tidemark is Ready.");
    else
        http_response_text(rs, 503, "Service Unavailable");
    http_response_header(rs, "X-Prometheus-Stopping", "false");
}

void api_home(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;

    (void)rq;
    rs->content_type = "text/html; charset=utf-8";
    http_response_header(rs, "Content-Security-Policy", "default-src 'none'");
    buf_printf(&rs->body,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Tidemark</title></head><body>\n"
               "<h1>Tidemark %s</h1>\n"
               "<p>A time-series database that speaks the Prometheus HTTP API. Add this address "
               "to Grafana as a Prometheus data source, and <code>/api/v1/write</code> to a "
               "sender as its remote-write URL.</p>\n<ul>\n",
               api->o.version);
    for (size_t i = 0; i < n_api_routes; i++) {
        const char *path = api_routes[i].pattern;

        if (api_routes[i].methods & HTTP_GET && !strchr(path, '*'))
            buf_printf(&rs->body, "<li><a href=\"%s\">%s</a></li>\n", path, path);
        else
            buf_printf(&rs->body, "<li>%s</li>\n", path);
    }
    buf_text(&rs->body, "</ul>\n</body></html>\n");
}
