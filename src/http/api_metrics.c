/* api_metrics.c -- /metrics: our own state in the text format (Prometheus exposition format 0.0.4).
 *
 * Names are Prometheus' where the meaning is the same, so that existing dashboards and alerts work.
 * Label values come from tables of ours only, never from a request.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/number.h"
#include "http/api_private.h"

#include "base/banned.h"

/* ---- counting requests ---- */

static const unsigned codes[] = { 200, 204, 400, 404, 405, 408, 413, 415, 422, 499, 500, 503 };
_Static_assert(ARRAY_LEN(codes) < API_CODES, "one is left for the others");

static const double bounds_s[API_BUCKETS] = { 0.1, 0.2, 0.4, 1, 3, 8, 20, 60, 120 };

void api_count(void *ctx, const struct route *route, unsigned status, int64_t took_ns)
{
    struct api *api = ctx;
    struct handler_stats *s = &api->stats[route ? (size_t)(route - api_routes) : n_api_routes];
    size_t code = 0, bucket = 0;

    while (code < ARRAY_LEN(codes) && codes[code] != status)
        code++;
    while (bucket < API_BUCKETS && (double)took_ns > bounds_s[bucket] * 1e9)
        bucket++;
    atomic_fetch_add_explicit(&s->by_code[code], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->le[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->sum_us, (uint64_t)took_ns / 1000, memory_order_relaxed);
}

/* ---- writing ---- */

void metric_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_value(struct buf *b, double v)
{
    buf_u8(b, ' ');
    number_print(b, v, NUMBER_G);
    buf_u8(b, '\n');
}

void metric_single(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    metric_family(b, name, type, help);
    buf_text(b, name);
    metric_value(b, v);
}

/* A route as a label value: * becomes the name of what stands there. */
static const char *handler_name(size_t i)
{
    if (i == n_api_routes)
        return "unknown";
    if (strstr(api_routes[i].pattern, "/**"))
        return "/metrics/job/:name";
    if (strchr(api_routes[i].pattern, '*'))
        return "/api/v1/label/:name/values";
    return api_routes[i].pattern;
}

static void add_requests(struct buf *b, const struct api *api)
{
    metric_family(b, "prometheus_http_requests_total", "counter", "HTTP requests answered.");
    for (size_t i = 0; i <= n_api_routes; i++) {
        for (size_t c = 0; c <= ARRAY_LEN(codes); c++) {
            uint64_t n = atomic_load(&api->stats[i].by_code[c]);
            char code[8];

            if (n == 0)
                continue;
            snprintf(code, sizeof code, c < ARRAY_LEN(codes) ? "%u" : "other",
                     c < ARRAY_LEN(codes) ? codes[c] : 0);
            buf_printf(b,
                       "prometheus_http_requests_total{handler=\"%s\",code=\"%s\"} %" PRIu64 "\n",
                       handler_name(i), code, n);
        }
    }
}

static void add_durations(struct buf *b, const struct api *api)
{
    static const char name[] = "prometheus_http_request_duration_seconds";

    metric_family(b, name, "histogram", "Time from the request line to the start of the response.");
    for (size_t i = 0; i <= n_api_routes; i++) {
        const struct handler_stats *s = &api->stats[i];
        uint64_t n = 0;

        for (size_t k = 0; k <= API_BUCKETS; k++)
            n += atomic_load(&s->le[k]);
        if (n == 0)
            continue;
        n = 0;
        for (size_t k = 0; k <= API_BUCKETS; k++) {
            char le[NUMBER_MAX];
            size_t len = number_format(k < API_BUCKETS ? bounds_s[k] : 1 / 0.0, NUMBER_G, le);

            n += atomic_load(&s->le[k]);
            buf_printf(b, "%s_bucket{handler=\"%s\",le=\"%.*s\"} %" PRIu64 "\n", name,
                       handler_name(i), (int)len, le, n);
        }
        buf_printf(b, "%s_sum{handler=\"%s\"}", name, handler_name(i));
        metric_value(b, (double)atomic_load(&s->sum_us) / 1e6);
        buf_printf(b, "%s_count{handler=\"%s\"} %" PRIu64 "\n", name, handler_name(i), n);
    }
}

/* ---- the process ---- */

static bool count_entry(void *ctx, const char *name)
{
    uint64_t *n = ctx;

    (void)name;
    ++*n;
    return true;
}

/* Virtual and resident memory, in pages. */
static bool read_memory(unsigned long *virtual_pages, unsigned long *resident_pages)
{
    FILE *f = fopen("/proc/self/statm", "re");
    bool ok = f && fscanf(f, "%lu %lu", virtual_pages, resident_pages) == 2;

    if (f)
        fclose(f);
    return ok;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void add_process(struct buf *b, const struct api *api)
{
    double page = (double)sysconf(_SC_PAGESIZE);
    unsigned long virtual_pages, resident_pages;
    struct rusage used;
    struct rlimit files;
    uint64_t n_files = 0;

    if (getrusage(RUSAGE_SELF, &used) == 0)
        metric_single(b, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
                      seconds(used.ru_utime) + seconds(used.ru_stime));
    if (read_memory(&virtual_pages, &resident_pages)) {
        metric_single(b, "process_virtual_memory_bytes", "gauge", "Address space.",
                      (double)virtual_pages * page);
        metric_single(b, "process_resident_memory_bytes", "gauge",
                      "Memory in use, mapped files included.", (double)resident_pages * page);
    }
    if (fs_each("/proc/self/fd", count_entry, &n_files, NULL) == OK)
        metric_single(b, "process_open_fds", "gauge", "Open files and sockets.", (double)n_files);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        metric_single(b, "process_max_fds", "gauge", "How many may be open.",
                      (double)files.rlim_cur);
    metric_single(b, "process_start_time_seconds", "gauge", "Start, since the Unix epoch.",
                  (double)api->started_ms / 1000);
}

/* ---- the store ---- */

static const struct {
    const char *name, *type, *help;
    size_t at; /* of a uint64_t in struct db_stats */
} db_rows[] = {
    { "tidemark_samples_repeated_total", "counter", "Samples that were there already, bit for bit.",
      offsetof(struct db_stats, samples_repeated) },
    { "prometheus_tsdb_exemplar_exemplars_appended_total", "counter", "Exemplars stored.",
      offsetof(struct db_stats, exemplars_appended) },
    { "prometheus_tsdb_exemplar_out_of_order_exemplars_total", "counter",
      "Exemplars not stored, since their series has a newer one.",
      offsetof(struct db_stats, exemplars_out_of_order) },
    { "prometheus_tsdb_exemplar_exemplars_in_storage", "gauge",
      "Exemplars in memory, not yet in a day file.", offsetof(struct db_stats, exemplars) },
    { "prometheus_tsdb_exemplar_series_with_exemplars_in_storage", "gauge",
      "Series with exemplars in memory.", offsetof(struct db_stats, series_with_exemplars) },
    { "prometheus_tsdb_head_series", "gauge", "Series in memory.",
      offsetof(struct db_stats, head_series) },
    { "tidemark_head_samples", "gauge", "Samples in memory, not yet in a day file.",
      offsetof(struct db_stats, head_samples) },
    { "tidemark_head_bytes", "gauge", "Memory taken by those samples.",
      offsetof(struct db_stats, head_bytes) },
    { "prometheus_tsdb_wal_storage_size_bytes", "gauge", "Size of the log.",
      offsetof(struct db_stats, log_bytes) },
    { "tidemark_log_syncs_total", "counter", "Times the log was brought to stable storage.",
      offsetof(struct db_stats, log_syncs) },
    { "prometheus_tsdb_wal_corruptions_total", "counter", "Damaged log records skipped at start.",
      offsetof(struct db_stats, log_records_skipped) },
    { "tidemark_flushes_total", "counter", "Moves of samples from memory to day files.",
      offsetof(struct db_stats, flushes) },
    { "tidemark_flush_failures_total", "counter", "Moves of samples that failed.",
      offsetof(struct db_stats, flush_failures) },
    { "tidemark_days", "gauge", "Days kept.", offsetof(struct db_stats, days) },
    { "prometheus_tsdb_storage_blocks_bytes", "gauge", "Size of the day files.",
      offsetof(struct db_stats, disk_bytes) },
    { "prometheus_tsdb_retention_limit_bytes", "gauge",
      "How much disk space day files and log may take, 0: any.",
      offsetof(struct db_stats, retention_bytes) },
    { "prometheus_tsdb_size_retentions_total", "counter",
      "Times that days were dropped because of their size.",
      offsetof(struct db_stats, size_retentions) },
    { "tidemark_day_files_retired_total", "counter", "Day files dropped by the retention.",
      offsetof(struct db_stats, retired) },
    { "prometheus_tsdb_compactions_total", "counter", "Days rewritten.",
      offsetof(struct db_stats, compactions) },
    { "prometheus_tsdb_compactions_failed_total", "counter", "Days that could not be rewritten.",
      offsetof(struct db_stats, compaction_failures) },
    { "tidemark_compaction_read_bytes_total", "counter", "Size of the files that were replaced.",
      offsetof(struct db_stats, compaction_bytes_read) },
    { "tidemark_compaction_written_bytes_total", "counter", "Size of the files that replaced them.",
      offsetof(struct db_stats, compaction_bytes_written) },
    { "tidemark_scrub_passes_total", "counter", "Times that all day files were looked through.",
      offsetof(struct db_stats, scrub_passes) },
    { "tidemark_scrub_values_total", "counter", "Stored values looked at by that.",
      offsetof(struct db_stats, scrub_values) },
    { "tidemark_scrub_bytes_total", "counter", "Their size.",
      offsetof(struct db_stats, scrub_bytes) },
    { "tidemark_scrub_faults_total", "counter", "Damage found by that, each time it is met.",
      offsetof(struct db_stats, scrub_faults) },
    { "tidemark_corruptions_total", "counter", "Stored values whose checksum did not match.",
      offsetof(struct db_stats, corruptions) },
};

/* A counter of floats and one of histograms. */
static void add_by_type(struct buf *b, const char *name, const char *help, uint64_t floats,
                        uint64_t histograms)
{
    metric_family(b, name, "counter", help);
    buf_printf(b, "%s{type=\"float\"} %" PRIu64 "\n%s{type=\"histogram\"} %" PRIu64 "\n", name,
               floats, name, histograms);
}

static void add_appended(struct buf *b, const struct db_stats *s)
{
    uint64_t too_old = s->samples_rejected[DB_REJECT_TOO_OLD];

    add_by_type(b, "prometheus_tsdb_head_samples_appended_total", "Samples stored.",
                s->samples_appended - s->histograms_appended, s->histograms_appended);
    add_by_type(b, "prometheus_tsdb_out_of_order_samples_appended_total",
                "Samples stored that are older than others of their series.", s->late_floats,
                s->late_histograms);
    add_by_type(b, "prometheus_tsdb_too_old_samples_total",
                "Samples not stored, being older than the retention.",
                too_old - s->too_old_histograms, s->too_old_histograms);
}

static void add_store(struct buf *b, struct db *db)
{
    struct db_stats s;

    db_stats(db, &s);
    add_appended(b, &s);
    for (size_t i = 0; i < ARRAY_LEN(db_rows); i++) {
        uint64_t v;

        memcpy(&v, (const char *)&s + db_rows[i].at, sizeof v);
        metric_single(b, db_rows[i].name, db_rows[i].type, db_rows[i].help, (double)v);
    }
    metric_family(b, "tidemark_samples_rejected_total", "counter",
                  "Samples not stored, by reason.");
    for (int i = 0; i < DB_REJECT_COUNT; i++)
        buf_printf(b, "tidemark_samples_rejected_total{reason=\"%s\"} %" PRIu64 "\n",
                   db_reject_name((enum db_reject)i), s.samples_rejected[i]);
    metric_single(b, "tidemark_compaction_seconds_total", "counter",
                  "Time spent on rewriting days, rests included.", s.compaction_seconds);
    if (s.min_t_ms <= s.max_t_ms) {
        metric_single(b, "prometheus_tsdb_lowest_timestamp_seconds", "gauge", "Oldest sample.",
                      (double)s.min_t_ms / 1000);
        metric_single(b, "tidemark_highest_timestamp_seconds", "gauge", "Newest sample.",
                      (double)s.max_t_ms / 1000);
    }
    metric_single(b, "tidemark_write_failed", "gauge",
                  "1 when the log could not be written and writes are refused until a restart.",
                  s.write_failed);
}

void api_metrics(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct buf *b = &rs->body;
    struct db *db = api_db(api);

    (void)rq;
    rs->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metric_family(b, "tidemark_build_info", "gauge", "1, with the version of the program.");
    buf_printf(b, "tidemark_build_info{version=\"%s\"} 1\n", api->o.version);
    metric_single(b, "prometheus_ready", "gauge", "1 when all stored samples can be queried.",
                  db != NULL);
    add_process(b, api);
    add_requests(b, api);
    add_durations(b, api);
    if (db)
        add_store(b, db);
    api_metrics_push(b, api);
    api_metrics_rules(b, api);
}
