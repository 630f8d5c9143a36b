#include "ingest/xor_chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/sample.h"
#include "xor_reader.h"

#include "base/banned.h"

static void assert_hex(const struct buf *b, const char *hex)
{
    struct buf text = { 0 };

    for (size_t i = 0; i < b->len; i++)
        buf_printf(&text, "%02x", b->ptr[i]);
    buf_u8(&text, 0);
    assert_string_equal((char *)text.ptr, hex);
    buf_free(&text);
}

static void chunks_are_prometheus_bytes(void **state)
{
    static const int64_t t[] = { 1700000000000, 1700000015000, 1700000030000, 1700000045001,
                                 1700000061000 };
    static const double v[] = { 1, 5, 5, 9.5, 12 };
    static const int64_t steps[] = { 0,      1000,    2000,     11192,       12193,
                                     100000, 1000000, 10000000, 100000000000 };
    const double values[] = { 0, 0, 0, 1, 1, -1.5, -1.5, -1.5, f64_from_bits(0x7ff8000000000000) };
    static const int64_t one_t = 1700000000000;
    static const double one_v = -1e300;
    struct buf b = { 0 };

    (void)state;
    xor_chunk_encode(&b, t, v, ARRAY_LEN(t));
    assert_hex(&b, "000580a0abfef9623ff00000000000009875c26ffe48001d436f07cd16");
    buf_clear(&b);
    xor_chunk_encode(&b, steps, values, ARRAY_LEN(steps));
    assert_hex(&b, "0009000000000000000000e8071400188affe8005c2a62d80d800f8000000000063250bc0000"
                   "000001ee6281e0000002e8ea9fa8160000");
    buf_clear(&b);
    xor_chunk_encode(&b, &one_t, &one_v, 1);
    assert_hex(&b, "000180a0abfef962fe37e43c8800759c");
    buf_free(&b);
}

/* Times and values of every kind, read back by a reader written from the format alone. */
static void every_bit_is_kept(void **state)
{
    enum { N = 3000 };
    static int64_t t[N];
    static double v[N];
    static const int64_t gaps[] = { 1,     2,      8191,   8192,   8193,    65535,  65536,
                                    65537, 524287, 524288, 524289, 1 << 30, 15000,  15000,
                                    15001, 14999,  15000,  1,      1,       100000, 1ll << 40 };
    uint64_t x = 42;
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < N; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        t[i] = i ? t[i - 1] + gaps[(x >> 33) % ARRAY_LEN(gaps)] : -1000000;
        v[i] = (x >> 60) == 0   ? f64_from_bits(x)
               : (x >> 60) == 1 ? stale_nan()
               : (x >> 60) < 5  ? (double)(x >> 40)
                                : (i ? v[i - 1] : 0) + (double)((x >> 50) & 3);
    }
    for (size_t from = 0; from < N; from += 101) {
        size_t n = N - from < 500 ? N - from : 500;
        struct xor_reader r;

        buf_clear(&b);
        xor_chunk_encode(&b, t + from, v + from, n);
        r = xor_read(buf_as_bytes(&b));
        assert_int_equal(r.n, n);
        for (size_t i = 0; i < n; i++) {
            xor_next(&r);
            assert_true(r.t_ms == t[from + i]);
            assert_int_equal(f64_bits(r.v), f64_bits(v[from + i]));
        }
        assert_true(xor_at_end(&r));
    }
    buf_free(&b);
}

static void extreme_times_wrap_as_readers_do(void **state)
{
    static const int64_t t[] = { INT64_MIN, 0, INT64_MAX };
    static const double v[] = { 1, 2, 3 };
    struct buf b = { 0 };
    struct xor_reader r;

    (void)state;
    xor_chunk_encode(&b, t, v, ARRAY_LEN(t));
    r = xor_read(buf_as_bytes(&b));
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        xor_next(&r);
        assert_true(r.t_ms == t[i] && r.v == v[i]);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_prometheus_bytes),
        cmocka_unit_test(every_bit_is_kept),
        cmocka_unit_test(extreme_times_wrap_as_readers_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
