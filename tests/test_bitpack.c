#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "random.h"
#include "storage/bitpack.h"

#include "base/banned.h"

/* Packs n values in memory of exactly their size plus slack, so that sanitizers see reads past it. */
static void assert_round_trip(uint64_t *rng, size_t n, unsigned width, size_t slack)
{
    uint64_t v[BITPACK_BLOCK], got[BITPACK_BLOCK], portable[BITPACK_BLOCK];
    uint8_t packed[BITPACK_MAX_BYTES + 8];
    size_t bytes = bitpack_bytes(n, width);
    uint8_t *exact = malloc(bytes + slack + 1);

    assert_non_null(exact);
    for (size_t i = 0; i < n; i++)
        v[i] = width ? random_u64(rng) >> (64 - width) : 0;
    bitpack_put(packed, v, n, width);
    memcpy(exact, packed, bytes);
    memset(exact + bytes, 0xff, slack);
    bitpack_get(exact, exact + bytes + slack, n, width, got);
    bitpack_get_portable(exact, exact + bytes + slack, n, width, portable);
    assert_memory_equal(got, v, n * sizeof *v);
    assert_memory_equal(portable, v, n * sizeof *v);
    free(exact);
}

static void every_width_and_count_survives(void **state)
{
    uint64_t rng = 1;

    (void)state;
    for (unsigned width = 0; width <= 64; width++)
        for (size_t n = 1; n <= BITPACK_BLOCK; n++)
            for (size_t slack = 0; slack <= 64; slack += 8)
                assert_round_trip(&rng, n, width, slack);
}

static void bits_are_laid_out_from_the_lowest(void **state)
{
    static const uint64_t v[] = { 1, 2, 7, 0, 5 };
    static const uint8_t want[] = { 0xd1, 0x51 }; /* 001 010 111 000 101, lowest bits first */
    uint8_t got[BITPACK_MAX_BYTES + 8];

    (void)state;
    bitpack_put(got, v, ARRAY_LEN(v), 3);
    assert_int_equal(bitpack_bytes(ARRAY_LEN(v), 3), sizeof want);
    assert_memory_equal(got, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_and_count_survives),
        cmocka_unit_test(bits_are_laid_out_from_the_lowest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
