/* fuzz_otlp.c -- reads the input as an ExportMetricsServiceRequest under every strategy, and checks
 * that what comes out is consistent. The first byte chooses the options. */
#include "base/arena.h"
#include "ingest/otlp_answer.h"
#include "otlp_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str promote[] = { { "service.name", 12 }, { "a", 1 } };
    struct otlp_options options = otlp_options_default();
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct otlp o = { 0 };
    struct bytes in = { data, size };
    enum errc rc;

    if (size > 0) {
        options.strategy = (enum otlp_strategy)(data[0] % OTLP_STRATEGY_COUNT);
        options.promote_scope = data[0] & 4;
        options.promote_all = data[0] & 8;
        options.custom_buckets = data[0] & 16;
        options.collapse_underscores = data[0] & 32;
        options.delta = data[0] & 64 ? OTLP_DELTA_RAW : OTLP_DELTA_CONVERT;
        options.promote = promote;
        options.n_promote = ARRAY_LEN(promote);
        in = (struct bytes){ data + 1, size - 1 };
    }
    rc = otlp_read(&o, &options, in, &err);
    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    ASSERT(rc == OK || o.batch.n_series == 0);
    check_otlp(&o);
    otlp_recycle(&o);
    ASSERT(otlp_read(&o, &options, in, NULL) == rc);
    otlp_free(&o);
    (void)otlp_count_items(in, false, OTLP_TRACES);
    arena_free(arena);
    return 0;
}
