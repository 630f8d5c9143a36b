/* fuzz_exposition.c -- reads the input as exposition text, by its first byte as OpenMetrics, whole
 * and in parts: the same samples must come out, with sorted labels. */
#include "ingest/exposition.h"

#include "base/banned.h"

static uint64_t add_batch(const struct exposition *x, uint64_t sum)
{
    for (size_t i = 0; i < x->batch.n_series; i++) {
        const struct write_series *s = &x->batch.series[i];

        ASSERT(s->n_labels > 0 && s->n_samples == 1 && s->first_sample == i);
        for (size_t k = 0; k < s->n_labels; k++) {
            ASSERT(k == 0 || str_cmp(s->labels[k - 1].name, s->labels[k].name) < 0);
            for (size_t j = 0; j < s->labels[k].value.len; j++)
                sum = 31 * sum + (uint8_t)s->labels[k].value.ptr[j];
        }
        ASSERT(!is_stale(x->batch.samples[i].v));
        sum = 31 * sum + f64_bits(x->batch.samples[i].v) + (uint64_t)x->batch.samples[i].t_ms;
        ASSERT(exposition_family(x, i).len > 0);
    }
    return sum;
}

static uint64_t read_all(struct exposition *x, const struct exposition_options *o, struct str text,
                         size_t part)
{
    uint64_t sum = 0;

    ASSERT(exposition_begin(x, o, text, NULL) == OK);
    do {
        ASSERT(exposition_next(x, part, NULL) == OK);
        sum = add_batch(x, sum);
    } while (x->batch.n_series);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label extra[] = { { { "e", 1 }, { "1", 1 } }, { { "job", 3 }, { "", 0 } } };
    struct exposition_options o = { .openmetrics = size && data[0] & 1,
                                    .refuse_times = size && data[0] & 2,
                                    .extra = extra,
                                    .n_extra = size && data[0] & 4 ? ARRAY_LEN(extra) : 0 };
    struct str text = { (const char *)data + (size > 0), size - (size > 0) };
    struct exposition x = { 0 };
    uint64_t whole = read_all(&x, &o, text, SIZE_MAX), n = x.n_samples, n_bad = x.n_bad_lines;

    exposition_recycle(&x);
    ASSERT(read_all(&x, &o, text, 1) == whole);
    ASSERT(x.n_samples == n && x.n_bad_lines == n_bad);
    exposition_free(&x);
    return 0;
}
