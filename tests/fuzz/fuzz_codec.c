/* fuzz_codec.c -- any bytes as a column of integers, floats, marks or histograms; and any bytes as
 * values, which must come back. */
#include <stdlib.h>
#include <string.h>

#include "storage/codec_bits.h"
#include "storage/codec_float.h"
#include "storage/codec_histogram.h"

#include "base/banned.h"

/* In memory of exactly their size, so that sanitizers see reads past it. */
static void decode(const uint8_t *data, size_t size, size_t n, unsigned what)
{
    uint64_t *out = malloc(n * sizeof *out);
    struct reader r = reader_on((struct bytes){ data, size });
    size_t count;

    if (!out)
        return;
    if (what == 0)
        (void)!ints_decode(&r, (int64_t *)out, n);
    else if (what == 1)
        (void)!floats_decode(&r, (double *)(void *)out, n);
    else if (bits_decode(&r, n, out, &count))
        ASSERT(count == bits_count(out, n));
    free(out);
}

static void decode_histograms(const uint8_t *data, size_t size, size_t n, bool is_integer)
{
    struct reader r = reader_on((struct bytes){ data, size });
    int64_t *t_ms = calloc(n, sizeof *t_ms);
    struct column out = { 0 };

    if (t_ms && histograms_decode(&r, is_integer, t_ms, n, &out) == OK)
        ASSERT(out.n == n);
    column_free(&out);
    free(t_ms);
}

static void round_trip(const uint8_t *data, size_t n)
{
    struct floats_scratch *scratch = malloc(sizeof *scratch);
    double *v = malloc(n * sizeof *v), *got = malloc(n * sizeof *v);
    struct buf b = { 0 };

    if (scratch && v && got) {
        memcpy(v, data, n * sizeof *v);
        floats_encode(&b, v, n, scratch);
        struct reader r = reader_on(buf_as_bytes(&b));

        ASSERT(b.len <= n * sizeof *v + 1);
        ASSERT(floats_decode(&r, got, n) && memcmp(v, got, n * sizeof *v) == 0);
    }
    free(scratch);
    free(v);
    free(got);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;

    if (size < 4)
        return 0;
    n = 1 + (data[1] | (size_t)data[2] << 8) % INTS_MAX;
    if (data[0] % 8 < 5) {
        uint8_t *copy = malloc(size - 3);

        if (copy)
            memcpy(copy, data + 3, size - 3);
        if (data[0] % 8 < 3)
            decode(copy, size - 3, n, data[0] % 8);
        else
            decode_histograms(copy, size - 3, 1 + (n - 1) % 300, data[0] % 8 == 3);
        free(copy);
    } else if (size >= 11) {
        n = (size - 3) / 8;
        round_trip(data + 3, n < INTS_MAX ? n : INTS_MAX);
    }
    return 0;
}
