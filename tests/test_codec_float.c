/* With --values N, N random values in columns of all kinds go through the codec and back instead of
 * the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "columns.h"
#include "random.h"
#include "storage/codec_float.h"
#include "storage/sample.h"

#include "base/banned.h"

struct rig {
    struct floats_scratch scratch;
    double v[INTS_MAX], got[INTS_MAX];
    struct buf b;
};

static int rig_new(void **state)
{
    *state = calloc(1, sizeof(struct rig));
    return *state ? 0 : -1;
}

static int rig_free(void **state)
{
    struct rig *rig = *state;

    buf_free(&rig->b);
    free(rig);
    return 0;
}

/* Whether the first n values come back bit by bit. */
static bool survive(struct rig *rig, size_t n)
{
    struct reader r;

    buf_clear(&rig->b);
    floats_encode(&rig->b, rig->v, n, &rig->scratch);
    r = reader_on(buf_as_bytes(&rig->b));
    return floats_decode(&r, rig->got, n) && reader_left(&r) == 0
           && memcmp(rig->got, rig->v, n * sizeof *rig->v) == 0;
}

static void columns_of_every_kind_survive(void **state)
{
    uint64_t rng = 1;

    for (unsigned round = 0; round < 5000; round++) {
        size_t n = 1 + random_below(&rng, round % 20 ? 200 : INTS_MAX);
        struct rig *rig = *state;

        random_floats(&rng, round % FLOAT_KINDS, rig->v, n);
        assert_true(survive(rig, n));
    }
}

static void every_bit_of_a_value_survives(void **state)
{
    static const uint64_t bits[] = {
        STALE_NAN_BITS,      QUIET_NAN_BITS,      0x7ff0000000000001u, 0xfff8dead0000beefu,
        0x8000000000000000u, 0x7ff0000000000000u, 0xfff0000000000000u, 0x0000000000000001u,
        0x8000000000000001u, 0x7fefffffffffffffu, 0x433fffffffffffffu, 0x4340000000000000u,
        0x4340000000000001u, 0xc33fffffffffffffu,
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        for (size_t k = 0; k < ARRAY_LEN(bits); k++) {
            rig->v[0] = f64_from_bits(bits[i]);
            rig->v[1] = f64_from_bits(bits[k]);
            rig->v[2] = 1;
            assert_true(survive(rig, 1) && survive(rig, 2) && survive(rig, 3));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        rig->v[i] = f64_from_bits(bits[i]);
    assert_true(survive(rig, ARRAY_LEN(bits)));
}

static void the_usual_kinds_take_few_bytes(void **state)
{
    enum { N = 480 };
    static const struct {
        unsigned kind;
        size_t bytes; /* of 480 values, at most */
    } cases[] = {
        { 1, 440 }, { 2, 410 },  { 3, 750 },  { 7, 510 },
        { 11, 60 }, { 13, 300 }, { 16, 192 }, { 17, 18 },
    };
    struct rig *rig = *state;
    uint64_t rng = 2;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        random_floats(&rng, cases[i].kind, rig->v, N);
        assert_true(survive(rig, N));
        assert_in_range(rig->b.len, 1, cases[i].bytes);
    }
}

static void no_column_takes_more_than_its_plain_bytes(void **state)
{
    struct rig *rig = *state;
    uint64_t rng = 3;

    for (unsigned round = 0; round < 200; round++) {
        size_t n = 1 + random_below(&rng, 500);

        random_floats(&rng, round % FLOAT_KINDS, rig->v, n);
        assert_true(survive(rig, n));
        assert_in_range(rig->b.len, 1, 1 + n * 8);
    }
}

static void damaged_columns_are_refused_or_read(void **state)
{
    struct rig *rig = *state;
    uint64_t rng = 4;

    for (unsigned round = 0; round < 20000; round++) {
        size_t n = 1 + random_below(&rng, 200);

        random_floats(&rng, round % FLOAT_KINDS, rig->v, n);
        assert_true(survive(rig, n));
        rig->b.ptr[random_below(&rng, rig->b.len)] ^= (uint8_t)(1u << random_below(&rng, 8));
        struct reader r =
            reader_on((struct bytes){ rig->b.ptr, random_below(&rng, rig->b.len + 1) });

        if (floats_decode(&r, rig->got, n))
            assert_false(r.overrun);
    }
}

static int run_long(uint64_t n_values)
{
    void *state = NULL;
    uint64_t rng = n_values, done = 0;

    if (rig_new(&state) != 0)
        return 1;
    for (unsigned round = 0; done < n_values; round++) {
        size_t n = 1 + random_below(&rng, round % 4 ? 500 : INTS_MAX);
        struct rig *rig = state;

        random_floats(&rng, round % FLOAT_KINDS, rig->v, n);
        if (!survive(rig, n)) {
            printf("column %u of kind %u, %zu values, does not survive\n", round,
                   round % FLOAT_KINDS, n);
            return 1;
        }
        done += n;
    }
    rig_free(&state);
    printf("%llu values survived\n", (unsigned long long)done);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_of_every_kind_survive),
        cmocka_unit_test(every_bit_of_a_value_survives),
        cmocka_unit_test(the_usual_kinds_take_few_bytes),
        cmocka_unit_test(no_column_takes_more_than_its_plain_bytes),
        cmocka_unit_test(damaged_columns_are_refused_or_read),
    };

    if (argc == 3 && strcmp(argv[1], "--values") == 0)
        return run_long(strtoull(argv[2], NULL, 10));
    return cmocka_run_group_tests(tests, rig_new, rig_free);
}
