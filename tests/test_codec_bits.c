#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random.h"
#include "storage/codec_bits.h"

#include "base/banned.h"

enum { MAX_N = 6000, MAX_WORDS = (MAX_N + 63) / 64 };

/* About per_mille of n places, at random. */
static void mark(uint64_t *rng, uint64_t *words, size_t n, unsigned per_mille)
{
    memset(words, 0, MAX_WORDS * sizeof *words);
    for (size_t i = 0; i < n; i++)
        if (random_below(rng, 1000) < per_mille)
            words[i / 64] |= 1ull << i % 64;
}

static size_t round_trip(const uint64_t *words, size_t n)
{
    uint64_t got[MAX_WORDS];
    struct buf b = { 0 };
    size_t count;

    bits_encode(&b, words, n);
    buf_u8(&b, 77); /* what follows is left alone */
    struct reader r = reader_on(buf_as_bytes(&b));

    assert_true(bits_decode(&r, n, got, &count));
    assert_int_equal(count, bits_count(words, n));
    assert_memory_equal(got, words, bits_words(n) * sizeof *words);
    assert_int_equal(read_u8(&r), 77);
    assert_int_equal(reader_left(&r), 0);
    size_t bytes = b.len - 1;

    buf_free(&b);
    return bytes;
}

static void marks_of_any_density_survive(void **state)
{
    static const unsigned per_mille[] = { 0, 1, 5, 30, 100, 300, 500, 700, 900, 990, 999, 1000 };
    uint64_t rng = 1, words[MAX_WORDS];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(per_mille); i++)
        for (size_t n = 1; n <= MAX_N; n += 1 + n / 7) {
            mark(&rng, words, n, per_mille[i]);
            (void)round_trip(words, n);
        }
}

static void few_marks_take_few_bytes(void **state)
{
    static const struct {
        unsigned per_mille;
        size_t bytes; /* of 6000 places, at most; the entropy is 75, 352 and 750 */
    } cases[] = { { 0, 1 }, { 10, 75 }, { 100, 370 }, { 500, 760 }, { 900, 370 }, { 1000, 2 } };
    uint64_t rng = 2, words[MAX_WORDS];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        mark(&rng, words, MAX_N, cases[i].per_mille);
        assert_in_range(round_trip(words, MAX_N), 1, cases[i].bytes);
    }
}

static void damaged_marks_are_refused_or_read(void **state)
{
    uint64_t rng = 3, words[MAX_WORDS];
    struct buf b = { 0 };

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        size_t n = 1 + random_below(&rng, 400), count;

        mark(&rng, words, n, (unsigned)random_below(&rng, 1000));
        buf_clear(&b);
        bits_encode(&b, words, n);
        b.ptr[random_below(&rng, b.len)] ^= (uint8_t)(1u << random_below(&rng, 8));
        struct reader r = reader_on((struct bytes){ b.ptr, random_below(&rng, b.len + 1) });

        if (bits_decode(&r, n, words, &count))
            assert_int_equal(bits_count(words, n), count);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_any_density_survive),
        cmocka_unit_test(few_marks_take_few_bytes),
        cmocka_unit_test(damaged_marks_are_refused_or_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
