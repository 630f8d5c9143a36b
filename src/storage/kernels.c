#include "storage/kernels.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/banned.h"

/* Places i .. end - 1, with next the last value given out; returns it afterwards. Values that are
 * read lie at or behind the place that is written. */
static const uint64_t *repeat(uint64_t *out, size_t i, size_t end, const uint64_t *marks,
                              const uint64_t *next)
{
    while (i < end) {
        uint64_t word = marks[(i - 1) / 64] >> (i - 1) % 64;
        size_t left = 64 - (i - 1) % 64, stop = end - i < left ? end : i + left;

        if (word == 0) {
            for (uint64_t v = *next; i < stop; i++)
                out[i] = v;
            continue;
        }
        for (; i < stop; i++, word >>= 1) {
            next += word & 1;
            out[i] = *next;
        }
    }
    return next;
}

void kernel_repeat_portable(uint64_t *out, size_t n, const uint64_t *marks, size_t kept)
{
    const uint64_t *next = out + n - kept;

    out[0] = *next;
    (void)repeat(out, 1, n, marks, next);
}

void kernel_place(uint64_t *out, size_t n, const uint64_t *marks, size_t kept, uint64_t common)
{
    const uint64_t *next = out + n - kept, *end = out + n;

    for (size_t i = 0; i < n;) {
        uint64_t word = marks[i / 64];
        size_t stop = n - i < 64 ? n : i + 64;

        if (word == 0) {
            for (; i < stop; i++)
                out[i] = common;
            continue;
        }
        if ((size_t)(end - next) < 64) { /* next may end before the marks do */
            for (; i < stop && next < end; i++, word >>= 1) {
                out[i] = word & 1 ? *next : common;
                next += word & 1;
            }
            word = 0;
        }
        for (; i < stop; i++, word >>= 1) {
            out[i] = word & 1 ? *next : common;
            next += word & 1;
        }
    }
}

void kernel_decimals_portable(uint64_t *v, size_t n, double divisor)
{
    if (divisor == 1) {
        for (size_t i = 0; i < n; i++)
            v[i] = f64_bits((double)(int64_t)v[i]);
        return;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = f64_bits((double)(int64_t)v[i] / divisor);
}

#define EXPONENT_MASK 0x7ff0000000000000

void kernel_accumulate_portable(double *sum, double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool number = (f64_bits(v[i]) & EXPONENT_MASK) != EXPONENT_MASK;

        sum[i] += number ? v[i] : 0;
        v[i] = number ? sum[i] : v[i];
    }
}

#if defined(__x86_64__)

static bool have_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

/* For four marks: which of the values from next on go to the four places, as pairs of 32-bit lanes.
 * With all four marked they begin one later. */
#define LANES(a, b, c, d)                                                                          \
    {                                                                                              \
        2 * a, 2 * a + 1, 2 * b, 2 * b + 1, 2 * c, 2 * c + 1, 2 * d, 2 * d + 1                     \
    }
static const int32_t lanes_of[16][8] = {
    LANES(0, 0, 0, 0), LANES(1, 1, 1, 1), LANES(0, 1, 1, 1), LANES(1, 2, 2, 2),
    LANES(0, 0, 1, 1), LANES(1, 1, 2, 2), LANES(0, 1, 2, 2), LANES(1, 2, 3, 3),
    LANES(0, 0, 0, 1), LANES(1, 1, 1, 2), LANES(0, 1, 1, 2), LANES(1, 2, 2, 3),
    LANES(0, 0, 1, 2), LANES(1, 1, 2, 3), LANES(0, 1, 2, 3), LANES(0, 1, 2, 3),
};

__attribute__((target("avx2,popcnt"))) static void repeat_avx2(uint64_t *out, size_t n,
                                                               const uint64_t *marks, size_t kept)
{
    const uint64_t *next = out + n - kept, *end = out + n;
    size_t i = 1;

    out[0] = *next;
    for (; i + 3 < n && end - next >= 5; i += 4) {
        unsigned four = marks[(i - 1) / 64] >> (i - 1) % 64 & 15;
        __m256i lanes = _mm256_loadu_si256((const __m256i *)lanes_of[four]);
        __m256i values = _mm256_loadu_si256((const __m256i *)(next + (four == 15)));

        _mm256_storeu_si256((__m256i *)(out + i), _mm256_permutevar8x32_epi32(values, lanes));
        next += _mm_popcnt_u32(four);
    }
    (void)repeat(out, i, n, marks, next);
}

/* 64-bit integers to doubles, rounded once: the high half as a multiple of 2^32, exact, plus the low
 * half, exact. The constants are 2^52, and 2^84 + 2^63, and their sum. */
__attribute__((target("avx2"))) static __m256d to_doubles(__m256i v)
{
    __m256i low = _mm256_blend_epi16(_mm256_set1_epi64x(0x4330000000000000), v, 0x33);
    __m256i high =
        _mm256_xor_si256(_mm256_srli_epi64(v, 32), _mm256_set1_epi64x(0x4530000080000000));
    __m256d high_double = _mm256_sub_pd(
        _mm256_castsi256_pd(high), _mm256_castsi256_pd(_mm256_set1_epi64x(0x4530000080100000)));

    return _mm256_add_pd(high_double, _mm256_castsi256_pd(low));
}

__attribute__((target("avx2"))) static void decimals_avx2(uint64_t *v, size_t n, double divisor)
{
    __m256d by = _mm256_set1_pd(divisor);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        __m256d d = to_doubles(_mm256_loadu_si256((const __m256i *)(v + i)));

        if (divisor != 1)
            d = _mm256_div_pd(d, by);
        _mm256_storeu_pd((double *)(void *)(v + i), d);
    }
    kernel_decimals_portable(v + i, n - i, divisor);
}

__attribute__((target("avx2"))) static void accumulate_avx2(double *sum, double *v, size_t n)
{
    const __m256i exponent = _mm256_set1_epi64x(EXPONENT_MASK);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        __m256d value = _mm256_loadu_pd(v + i), total = _mm256_loadu_pd(sum + i);
        __m256i bits = _mm256_and_si256(_mm256_castpd_si256(value), exponent);
        __m256d special = _mm256_castsi256_pd(_mm256_cmpeq_epi64(bits, exponent));

        total = _mm256_add_pd(total, _mm256_andnot_pd(special, value));
        _mm256_storeu_pd(sum + i, total);
        _mm256_storeu_pd(v + i, _mm256_blendv_pd(total, value, special));
    }
    kernel_accumulate_portable(sum + i, v + i, n - i);
}

#else

static bool have_avx2(void)
{
    return false;
}

static void repeat_avx2(uint64_t *out, size_t n, const uint64_t *marks, size_t kept)
{
    kernel_repeat_portable(out, n, marks, kept);
}

static void decimals_avx2(uint64_t *v, size_t n, double divisor)
{
    kernel_decimals_portable(v, n, divisor);
}

static void accumulate_avx2(double *sum, double *v, size_t n)
{
    kernel_accumulate_portable(sum, v, n);
}

#endif

void kernel_accumulate(double *sum, double *v, size_t n)
{
    if (have_avx2())
        accumulate_avx2(sum, v, n);
    else
        kernel_accumulate_portable(sum, v, n);
}

void kernel_repeat(uint64_t *out, size_t n, const uint64_t *marks, size_t kept)
{
    if (kept == n)
        return; /* all are where they belong */
    if (have_avx2())
        repeat_avx2(out, n, marks, kept);
    else
        kernel_repeat_portable(out, n, marks, kept);
}

void kernel_decimals(uint64_t *v, size_t n, double divisor)
{
    if (have_avx2())
        decimals_avx2(v, n, divisor);
    else
        kernel_decimals_portable(v, n, divisor);
}
