/* fuzz_query.c -- evaluates any text as a PromQL query over a small store in memory, as an instant
 * and as a range query. Limits are tight, so that each run is short.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "query/query.h"
#include "storage/db.h"

#include "base/banned.h"

enum { MINUTE_MS = 60000, N_SAMPLES = 40 };

static void add_series(struct db *db, struct str name, struct str label, struct str value,
                       double start, double step)
{
    struct label labels[] = { { METRIC_NAME, name }, { label, value } };
    struct sample samples[N_SAMPLES];
    struct write_series series = { .labels = labels, .n_labels = 2, .n_samples = N_SAMPLES };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .samples = samples, .n_samples = N_SAMPLES
    };
    struct write_result res = { 0 };

    for (size_t i = 0; i < N_SAMPLES; i++) {
        samples[i] = (struct sample){ (int64_t)i * MINUTE_MS, start + step * (double)(i % 11) };
        if (i % 13 == 12)
            samples[i].v = stale_nan();
    }
    if (db_append(db, &batch, &res, NULL) != OK || res.stored != N_SAMPLES)
        abort();
    buf_free(&res.text);
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
    return db;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct db *db; /* made once, used by all runs */
    struct str text = { (const char *)data, size };
    struct arena *arena = arena_new(1 << 20);
    struct err err = err_in(arena);
    struct query_result *r = NULL;

    if (!db)
        db = store();
    struct query_options o = query_options_default(db);

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
