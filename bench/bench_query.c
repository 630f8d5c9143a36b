/* bench_query.c -- what queries cost inside the process: no HTTP, no JSON, one thread of the caller.
 *
 * Fills a store with a fleet's samples (fleet.h), in memory or, with --folder, flushed to disk, and
 * runs each query of the command line again and again. For profilers; bench/query measures servers.
 *
 *   bench_query [--folder DIR] [--series N] [--samples N] [--step S --hours H] [--runs N] QUERY...
 *
 * Without --step queries are instant ones at the end of the data. A store that is in the folder
 * already is used as it is. ALL in a query stands for the length of the data but its first hour.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "fleet.h"
#include "ingest/pbwire.h"
#include "query/query.h"
#include "storage/db.h"

#include "base/banned.h"

enum { MAX_LABELS = 16, WARM_UP = 2, HOUR_MS = 3600000 };

struct settings {
    const char *folder;
    uint32_t n_series, n_samples, step_s, hours, n_runs;
};

static _Noreturn void fail(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err ? err_text(err) : "failed");
    exit(1);
}

/* The labels of a series from their wire form: repeated field 1, a name and a value each. */
static size_t read_labels(struct bytes wire, struct label *items)
{
    struct pb_reader r = pb_on(wire);
    struct pb_field f;
    size_t n = 0;

    while (pb_next(&r, &f)) {
        struct pb_reader l = pb_on(f.bytes);
        struct pb_field part;

        while (pb_next(&l, &part))
            *(pb_number(&part) == 1 ? &items[n].name : &items[n].value) = pb_str(&part);
        n++;
    }
    return n;
}

/* One scrape of one pod. */
static void append_scrape(struct db *db, struct pod *p)
{
    static struct label labels[POD_SERIES][MAX_LABELS];
    static struct write_series series[POD_SERIES];
    static struct sample samples[POD_SERIES];
    struct write_batch batch = {
        .series = series, .n_series = POD_SERIES, .samples = samples, .n_samples = POD_SERIES
    };
    struct write_result res = { 0 };
    double values[POD_SERIES];
    int64_t t_ms = pod_scrape(p, values);
    struct err err = { 0 };

    for (uint32_t i = 0; i < POD_SERIES; i++) {
        size_t n = read_labels(pod_labels(p, i), labels[i]);

        series[i] = (struct write_series){
            .labels = labels[i], .n_labels = n, .first_sample = i, .n_samples = 1
        };
        samples[i] = (struct sample){ t_ms, values[i] };
    }
    if (db_append(db, &batch, &res, &err) != OK || res.stored != POD_SERIES)
        fail("append", &err);
    buf_free(&res.text);
}

static void fill(struct db *db, const struct settings *s, int64_t start_ms)
{
    struct fleet_options o = { 1, start_ms, s->n_samples };
    uint32_t n_pods = s->n_series / POD_SERIES;
    struct pod **pods = calloc(n_pods + 1, sizeof(struct pod *));

    for (uint32_t i = 0; i < n_pods; i++)
        if (!(pods[i] = pod_new(&o, i)))
            fail("a pod", NULL);
    for (uint32_t k = 0; k < s->n_samples; k++)
        for (uint32_t i = 0; i < n_pods; i++)
            append_scrape(db, pods[i]);
    for (uint32_t i = 0; i < n_pods; i++)
        pod_free(pods[i]);
    free(pods);
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The query with ALL replaced. */
static struct str query_text(const char *text, int64_t all_s, struct buf *b)
{
    const char *at = strstr(text, "ALL");

    if (!at)
        return str_from(text);
    buf_printf(b, "%.*s%llds%s", (int)(at - text), text, (long long)all_s, at + 3);
    return buf_as_str(b);
}

static void measure(struct db *db, const struct settings *s, const char *text, int64_t end_ms)
{
    struct query_options o = query_options_default(db);
    int64_t all_ms = (int64_t)s->n_samples * FLEET_STEP_MS - HOUR_MS;
    int64_t length_ms = s->hours ? (int64_t)s->hours * HOUR_MS : all_ms;
    struct arena *arena = arena_new(0);
    struct buf b = { 0 };
    struct str query = query_text(text, all_ms / 1000, &b);
    size_t n_series = 0, n_points = 0;
    uint64_t n_samples = 0;
    double before = 0, sum = 0;

    o.max_samples = UINT64_MAX / 2;
    for (uint32_t i = 0; i < s->n_runs + WARM_UP; i++) {
        struct err err = err_in(arena);
        struct query_result *r = NULL;
        enum errc rc;

        if (i == WARM_UP)
            before = cpu_ms();
        rc = s->step_s
                 ? query_range(&o, query, end_ms - length_ms, end_ms, s->step_s * 1000, &r, &err)
                 : query_instant(&o, query, end_ms, &r, &err);
        if (rc != OK)
            fail(text, &err);
        n_series = r->n_series;
        n_samples = r->samples;
        n_points = 0;
        sum = 0;
        for (size_t k = 0; k < r->n_series; k++) {
            n_points += r->series[k].n_points;
            for (size_t p = 0; p < r->series[k].n_points; p++)
                sum += r->series[k].points[p].v;
        }
        query_result_free(r);
    }
    printf("%10.3f ms  %6zu series %8zu points %10llu samples  sum %.12g  %s\n",
           (cpu_ms() - before) / s->n_runs, n_series, n_points, (unsigned long long)n_samples, sum,
           text);
    buf_free(&b);
    arena_free(arena);
}

/* The last whole minute of the data: the store knows only the day. */
static int64_t newest_minute_ms(struct db *db, int64_t by_ms)
{
    struct query_options o = query_options_default(db);
    struct query_result *r = NULL;
    struct err err = { 0 };
    int64_t t_ms;

    if (query_instant(&o, STR("max(max_over_time(timestamp(up)[25h:1m]))"), by_ms, &r, &err) != OK)
        fail("the newest sample", &err);
    if (r->n_series == 0)
        fail("the newest sample", NULL);
    t_ms = (int64_t)(r->series[0].points[0].v * 1000) / 60000 * 60000;
    query_result_free(r);
    return t_ms;
}

static struct settings parse_arguments(int argc, char **argv)
{
    static const struct option options[] = { { "folder", required_argument, NULL, 'f' },
                                             { "series", required_argument, NULL, 'n' },
                                             { "samples", required_argument, NULL, 'm' },
                                             { "step", required_argument, NULL, 's' },
                                             { "hours", required_argument, NULL, 'h' },
                                             { "runs", required_argument, NULL, 'r' },
                                             { 0 } };
    struct settings s = { .n_series = 10000, .n_samples = 1700, .n_runs = 5 };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint32_t number = c == 'f' || c == '?' ? 0 : (uint32_t)strtoul(optarg, NULL, 10);

        if (c == 'f')
            s.folder = optarg;
        else if (c == '?')
            exit(2);
        else
            *(c == 'n'   ? &s.n_series
              : c == 'm' ? &s.n_samples
              : c == 's' ? &s.step_s
              : c == 'h' ? &s.hours
                         : &s.n_runs) = number;
    }
    return s;
}

int main(int argc, char **argv)
{
    struct settings s = parse_arguments(argc, argv);
    struct db_options o = db_options_default();
    int64_t start_ms = (clock_wall_ms(&clock_system) / FLEET_STEP_MS - s.n_samples) * FLEET_STEP_MS;
    struct db_stats stats;
    struct err err = { 0 };
    struct db *db;

    o.dir = s.folder;
    o.head_bytes = o.head_bytes * 16;
    if (db_open(&o, &db, &err) != OK)
        fail("open", &err);
    db_stats(db, &stats);
    if (stats.min_t_ms > stats.max_t_ms) {
        fill(db, &s, start_ms);
        if (s.folder && db_flush(db, &err) != OK)
            fail("flush", &err);
        db_stats(db, &stats);
    }
    for (int i = optind; i < argc; i++)
        measure(db, &s, argv[i], newest_minute_ms(db, stats.max_t_ms));
    db_close(db);
}
