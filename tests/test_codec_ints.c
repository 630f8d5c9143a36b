#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "columns.h"
#include "random.h"
#include "storage/codec_ints.h"

#include "base/banned.h"

enum { MAX_N = 2000 };

static size_t round_trip(const int64_t *v, size_t n)
{
    int64_t work[INTS_MAX], got[INTS_MAX];
    struct buf b = { 0 };

    memcpy(work, v, n * sizeof *v);
    ints_encode(&b, work, n);
    buf_u8(&b, 77); /* what follows is left alone */
    struct reader r = reader_on(buf_as_bytes(&b));

    assert_true(ints_decode(&r, got, n));
    assert_memory_equal(got, v, n * sizeof *v);
    assert_int_equal(read_u8(&r), 77);
    assert_int_equal(reader_left(&r), 0);
    size_t bytes = b.len - 1;

    buf_free(&b);
    return bytes;
}

static void columns_of_every_kind_survive(void **state)
{
    uint64_t rng = 1;
    int64_t v[MAX_N];

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = 1 + random_below(&rng, round % 20 ? 200 : MAX_N);

        random_ints(&rng, round % INT_KINDS, v, n);
        (void)round_trip(v, n);
    }
}

static void extremes_survive(void **state)
{
    static const int64_t cases[][3] = {
        { INT64_MIN, INT64_MAX, INT64_MIN }, { INT64_MAX, INT64_MIN, 0 },  { 0, INT64_MIN, 0 },
        { INT64_MIN, 0, INT64_MIN },         { -1, INT64_MAX, INT64_MIN },
    };
    int64_t all[INTS_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t n = 1; n <= 3; n++)
            (void)round_trip(cases[i], n);
    for (size_t i = 0; i < INTS_MAX; i++)
        all[i] = i % 2 ? INT64_MIN : INT64_MAX;
    (void)round_trip(all, INTS_MAX);
}

static void regular_columns_take_few_bytes(void **state)
{
    int64_t v[480];
    uint64_t rng = 2;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = 1700000000123;
    assert_in_range(round_trip(v, ARRAY_LEN(v)), 1, 8);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = 1700000000123 + (int64_t)i * 15000;
    assert_in_range(round_trip(v, ARRAY_LEN(v)), 1, 16);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] += random_below(&rng, 5) ? 0 : 1 + (int64_t)random_below(&rng, 8);
    assert_in_range(round_trip(v, ARRAY_LEN(v)), 1, 120); /* the entropy is 85 */
}

static void damaged_columns_are_refused_or_read(void **state)
{
    uint64_t rng = 3;
    int64_t v[200];
    struct buf b = { 0 };

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = 1 + random_below(&rng, ARRAY_LEN(v));

        random_ints(&rng, round % INT_KINDS, v, n);
        buf_clear(&b);
        ints_encode(&b, v, n);
        b.ptr[random_below(&rng, b.len)] ^= (uint8_t)(1u << random_below(&rng, 8));
        struct reader r = reader_on((struct bytes){ b.ptr, random_below(&rng, b.len + 1) });

        if (ints_decode(&r, v, n))
            assert_false(r.overrun);
    }
    buf_free(&b);
}

static void endless_nesting_is_refused(void **state)
{
    uint8_t deltas[4000];
    struct reader r = reader_on((struct bytes){ deltas, sizeof deltas });
    int64_t v[INTS_MAX];

    (void)state;
    memset(deltas, 2, sizeof deltas); /* the form of a delta, and a first value, again and again */
    assert_false(ints_decode(&r, v, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_of_every_kind_survive),
        cmocka_unit_test(extremes_survive),
        cmocka_unit_test(regular_columns_take_few_bytes),
        cmocka_unit_test(damaged_columns_are_refused_or_read),
        cmocka_unit_test(endless_nesting_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
