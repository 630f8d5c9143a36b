/* fuzz_query.c -- evaluates any text as a PromQL query over a small store in memory, as an instant
 * and as a range query. The store has floats and histograms of several layouts, some with start
 * times. Limits are tight, so that each run is short.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "query/query.h"
#include "storage/db.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { MINUTE_MS = 60000, N_SAMPLES = 40 };

static void add_series(struct db *db, struct str name, struct str label, struct str value,
                       double start, double step)
{
    struct label labels[] = { { METRIC_NAME, name }, { label, value } };
    struct sample samples[N_SAMPLES];
    int64_t starts[N_SAMPLES];
    struct write_series series = { .labels = labels, .n_labels = 2, .n_samples = N_SAMPLES };
    struct write_batch batch = { .series = &series,
                                 .n_series = 1,
                                 .samples = samples,
                                 .start_ms = starts,
                                 .n_samples = N_SAMPLES };
    struct write_result res = { 0 };

    for (size_t i = 0; i < N_SAMPLES; i++) {
        samples[i] = (struct sample){ (int64_t)i * MINUTE_MS, start + step * (double)(i % 11) };
        starts[i] = i % 11 ? samples[i].t_ms - (int64_t)(i % 11) * 50000 : 0;
        if (i % 13 == 12)
            samples[i].v = stale_nan();
    }
    if (db_append(db, &batch, &res, NULL) != OK || res.stored != N_SAMPLES)
        abort();
    buf_free(&res.text);
}

/* The i-th histogram of a series: layouts take turns, counts grow and are reset. */
static struct histogram histogram_of(size_t i, bool custom)
{
    static const struct histogram_span wide[] = { { -3, 2 }, { 2, 1 } }, narrow[] = { { 1, 3 } };
    static const double bounds[] = { 0.5, 1, 2.5, 10 };
    static double counts[N_SAMPLES][3];
    double *c = counts[i], n = (double)(i % 9);
    struct histogram h = { .schema = (int32_t)(i / 15), .sum = 3 * n };

    c[0] = n;
    c[1] = 2 * n;
    c[2] = i % 5 == 0 ? 0 : 1;
    h.count = c[0] + c[1] + c[2];
    h.positive = (struct histogram_side){ i % 2 ? wide : narrow, c, i % 2 ? 2 : 1, 3 };
    if (custom) {
        h.schema = HISTOGRAM_CUSTOM_SCHEMA;
        h.custom = bounds + i / 20;
        h.n_custom = 3;
        h.positive.spans = narrow;
        h.positive.n_spans = 1;
        return h;
    }
    h.negative = (struct histogram_side){ narrow, c, 1, 3 };
    h.count *= 2;
    h.zero_threshold = i > 25 ? 0.3 : 0.001;
    h.zero_count = i % 7 == 3 ? 4 : 0;
    h.count += h.zero_count;
    if (i == 30)
        h.sum = f64_from_bits(QUIET_NAN_BITS);
    if (i % 13 == 12)
        h.hint = HINT_GAUGE;
    return h;
}

static void add_histograms(struct db *db, struct str name, bool custom)
{
    struct label labels[] = { { METRIC_NAME, name }, { STR("x"), STR("1") } };
    struct write_histogram samples[N_SAMPLES];
    struct write_series series = { .labels = labels, .n_labels = 2, .n_histograms = N_SAMPLES };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = samples, .n_histograms = N_SAMPLES
    };
    struct write_result res = { 0 };

    for (size_t i = 0; i < N_SAMPLES; i++) {
        int64_t t_ms = (int64_t)i * MINUTE_MS;

        samples[i] = (struct write_histogram){ t_ms, i % 9 ? t_ms - (int64_t)(i % 9) * 50000 : 0,
                                               histogram_of(i, custom) };
        if (i == 20)
            samples[i].h = (struct histogram){ .sum = stale_nan() };
    }
    if (db_append(db, &batch, &res, NULL) != OK || res.stored != N_SAMPLES)
        abort();
    buf_free(&res.text);
}

static struct db *kept;

static void close_store(void)
{
    db_close(kept);
}

static struct db *store(void)
{
    struct db_options o = db_options_default();
    struct db *db;

    o.retention_ms = 200 * 365 * (int64_t)DAY_MS;
    if (db_open(&o, &db, NULL) != OK)
        abort();
    add_series(db, STR("a"), STR("x"), STR("1"), 0, 1);
    add_series(db, STR("a"), STR("x"), STR("2"), 5, -0.5);
    add_series(db, STR("b"), STR("x"), STR("1"), 1e308, 1e307);
    add_series(db, STR("b_bucket"), STR("le"), STR("1"), 3, 2);
    add_series(db, STR("b_bucket"), STR("le"), STR("+Inf"), 4, 3);
    add_series(db, STR("a"), STR("job"), STR("1"), 2, 1);
    add_series(db, STR("target_info"), STR("job"), STR("1"), 1, 0);
    add_histograms(db, STR("h"), false);
    add_histograms(db, STR("c"), true);
    return db;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena *arena = arena_new(1 << 20);
    struct err err = err_in(arena);
    struct query_result *r = NULL;

    if (!kept) { /* made once, used by all runs */
        kept = store();
        atexit(close_store);
    }
    struct query_options o = query_options_default(kept);

    o.max_samples = 20000;
    o.max_bytes = 8 << 20;
    o.timeout_ms = 200;
    if (query_instant(&o, text, 20 * MINUTE_MS, &r, &err) == OK)
        query_result_free(r);
    r = NULL;
    if (query_range(&o, text, 5 * MINUTE_MS, 25 * MINUTE_MS, 90000, &r, &err) == OK)
        query_result_free(r);
    arena_free(arena);
    return 0;
}
