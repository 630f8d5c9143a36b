#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "random.h"
#include "storage/codec_bits.h"
#include "storage/kernels.h"

#include "base/banned.h"

enum { MAX_N = 700 };

/* Marks n places with some density and returns how many. */
static size_t mark(uint64_t *rng, uint64_t *marks, size_t n)
{
    uint64_t density = random_below(rng, 101);

    memset(marks, 0, MAX_N / 8 + 8);
    for (size_t i = 0; i < n; i++)
        if (random_below(rng, 100) < density)
            marks[i / 64] |= 1ull << i % 64;
    return n ? bits_count(marks, n) : 0;
}

/* In memory of exactly n values, so that sanitizers see what goes past it. */
static uint64_t *with_kept(uint64_t *rng, size_t n, size_t kept)
{
    uint64_t *v = malloc(n * sizeof *v);

    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = i >= n - kept ? random_u64(rng) : 77;
    return v;
}

static void repeats_are_those_of_a_plain_loop(void **state)
{
    uint64_t rng = 1, marks[MAX_N / 64 + 2], kept_values[MAX_N];

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = 1 + random_below(&rng, round % 2 ? 20 : MAX_N);
        size_t kept = mark(&rng, marks, n - 1) + 1, next = 0;
        uint64_t *a = with_kept(&rng, n, kept), *b = malloc(n * sizeof *b);

        assert_non_null(b);
        memcpy(b, a, n * sizeof *b);
        memcpy(kept_values, a + n - kept, kept * sizeof *a);
        kernel_repeat(a, n, marks, kept);
        kernel_repeat_portable(b, n, marks, kept);
        for (size_t i = 0; i < n; i++) {
            next += i > 0 && bits_test(marks, i - 1);
            assert_true(a[i] == kept_values[next] && b[i] == kept_values[next]);
        }
        free(a);
        free(b);
    }
}

static void values_are_placed_at_marks(void **state)
{
    uint64_t rng = 2, marks[MAX_N / 64 + 2], kept_values[MAX_N];

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = 1 + random_below(&rng, round % 2 ? 20 : MAX_N);
        size_t kept = mark(&rng, marks, n), next = 0;
        uint64_t *v = with_kept(&rng, n, kept);

        memcpy(kept_values, v + n - kept, kept * sizeof *v);
        kernel_place(v, n, marks, kept, 5);
        for (size_t i = 0; i < n; i++)
            assert_true(v[i] == (bits_test(marks, i) ? kept_values[next++] : 5));
        free(v);
    }
}

static void decimals_are_rounded_once(void **state)
{
    static const double divisors[] = { 1, 10, 1e6, 1e18 };
    uint64_t rng = 3, a[100], b[100];

    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        size_t n = random_below(&rng, 101);

        for (size_t i = 0; i < n; i++) {
            a[i] = random_u64(&rng) >> random_below(&rng, 64);
            a[i] = b[i] = random_below(&rng, 2) ? a[i] : -a[i];
        }
        kernel_decimals(a, n, divisors[round % 4]);
        for (size_t i = 0; i < n; i++)
            assert_true(a[i] == f64_bits((double)(int64_t)b[i] / divisors[round % 4]));
        kernel_decimals_portable(b, n, divisors[round % 4]);
        assert_memory_equal(a, b, n * sizeof *a);
    }
}

static void sums_leave_out_what_is_no_number(void **state)
{
    uint64_t rng = 4;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        double v[2][50], sum[2][50];
        size_t n = random_below(&rng, 51);

        for (size_t i = 0; i < n; i++) {
            uint64_t bits = random_u64(&rng);

            bits |= random_below(&rng, 5) ? 0 : 0x7ff0000000000000u;
            v[0][i] = v[1][i] = random_below(&rng, 2) ? f64_from_bits(bits) : (double)(bits >> 50);
            sum[0][i] = sum[1][i] = (double)random_below(&rng, 1000);
        }
        kernel_accumulate(sum[0], v[0], n);
        kernel_accumulate_portable(sum[1], v[1], n);
        assert_memory_equal(sum[0], sum[1], n * sizeof sum[0][0]);
        assert_memory_equal(v[0], v[1], n * sizeof v[0][0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeats_are_those_of_a_plain_loop),
        cmocka_unit_test(values_are_placed_at_marks),
        cmocka_unit_test(decimals_are_rounded_once),
        cmocka_unit_test(sums_leave_out_what_is_no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
