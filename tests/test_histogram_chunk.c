#include "ingest/histogram_chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/sample.h"

#include "base/banned.h"

enum { MAX = 8, BUCKETS = 3 };

/* Histograms of schema 3 with spans (0,2)(1,1), filled by a test. */
static const struct histogram_span spans[] = { { 0, 2 }, { 1, 1 } };
static double counts[MAX][BUCKETS];
static struct histogram items[MAX];
static const struct histogram *pointers[MAX];
static int64_t times[MAX];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAX; i++) {
        items[i] = (struct histogram){ .schema = 3,
                                       .is_integer = true,
                                       .zero_threshold = 0x1p-128,
                                       .positive = { spans, counts[i], 2, BUCKETS } };
        pointers[i] = &items[i];
        times[i] = 1795215896553 + 15000 * (int64_t)i;
    }
    return 0;
}

/* count 10+5i, zero 1, sum 2.5i, buckets 3+2i, one more, 2+i less than that */
static void fill_integer(size_t i)
{
    items[i].count = 10 + 5 * (double)i;
    items[i].zero_count = 1;
    items[i].sum = 2.5 * (double)i;
    counts[i][0] = 3 + 2 * (double)i;
    counts[i][1] = counts[i][0] + 1;
    counts[i][2] = counts[i][1] - 2 - (double)i;
}

static void assert_chunk(size_t n, const char *hex)
{
    struct buf b = { 0 }, text = { 0 };

    histogram_chunk_encode(&b, times, pointers, n);
    for (size_t i = 0; i < b.len; i++)
        buf_printf(&text, "%02x", b.ptr[i]);
    buf_u8(&text, 0);
    assert_string_equal((char *)text.ptr, hex);
    buf_free(&b);
    buf_free(&text);
}

static void integer_chunks_are_prometheus_bytes(void **state)
{
    (void)state;
    fill_integer(0);
    items[0].sum = 2.5;
    assert_chunk(1, "000100749ca48c5fc000343f6695fd38a8a0020000000000004e36");
    for (size_t i = 0; i < 6; i++)
        fill_integer(i);
    items[6].sum = stale_nan();
    times[6] = times[0] + 105000;
    assert_chunk(7, "000700749ca48c5fc000343f6695fd38a880000000000000004e36f83a98c2b09b00192e200201"
                    "b03a06a17a06c1347c1d4c18bdff64000000000008");
}

static void float_chunks_are_prometheus_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        items[i].is_integer = false;
        items[i].count = 10.5 + (double)i;
        items[i].zero_count = 0.5;
        items[i].sum = 1.5 * (double)i;
        counts[i][0] = 1.5 + (double)i;
        counts[i][1] = 2 + (double)i;
        counts[i][2] = 3.25;
    }
    assert_chunk(4,
                 "000400749ca48c5fc000343f6695fd2804a0000000000007fc00000000000000000000000000000"
                 "7ff000000000000080000000000000008014000000000001f07531b81b117fff09bfffd80cd81f6"
                 "12fffc002d61645ac4dd627ed060");
}

static void stale_marker_may_stand_alone(void **state)
{
    struct buf b = { 0 };

    (void)state;
    items[0].sum = stale_nan();
    histogram_chunk_encode(&b, times, pointers, 1);
    assert_true(b.len > 3 && !b.failed);
    buf_free(&b);
}

static void chunk_ends_where_a_reader_could_miss_a_reset(void **state)
{
    static const struct histogram_span other[] = { { 0, 2 }, { 2, 1 } };
    struct histogram *a = &items[0], *b = &items[1];

    (void)state;
    fill_integer(0);
    fill_integer(1);
    assert_true(histogram_chunk_goes_on(a, b));
    assert_false(histogram_chunk_goes_on(b, a)); /* counts fall */
    a->hint = b->hint = HINT_GAUGE;
    assert_true(histogram_chunk_goes_on(b, a)); /* which gauges may */
    b->hint = HINT_UNKNOWN;
    assert_false(histogram_chunk_goes_on(a, b));
    a->hint = HINT_UNKNOWN;
    b->hint = HINT_RESET;
    assert_false(histogram_chunk_goes_on(a, b));
    b->hint = HINT_NO_RESET;
    assert_true(histogram_chunk_goes_on(a, b));
    b->positive.spans = other;
    assert_false(histogram_chunk_goes_on(a, b));
    b->positive.spans = spans;
    b->schema = 2;
    assert_false(histogram_chunk_goes_on(a, b));
    b->schema = 3;
    b->zero_count = 0; /* falls */
    assert_false(histogram_chunk_goes_on(a, b));
    b->sum = stale_nan();
    assert_true(histogram_chunk_goes_on(a, b));
    assert_false(histogram_chunk_goes_on(b, a));
    b->is_integer = false;
    assert_false(histogram_chunk_goes_on(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(integer_chunks_are_prometheus_bytes, setup),
        cmocka_unit_test_setup(float_chunks_are_prometheus_bytes, setup),
        cmocka_unit_test_setup(stale_marker_may_stand_alone, setup),
        cmocka_unit_test_setup(chunk_ends_where_a_reader_could_miss_a_reset, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
