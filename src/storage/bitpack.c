#include "storage/bitpack.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/banned.h"

void bitpack_put(uint8_t *out, const uint64_t *v, size_t n, unsigned width)
{
    uint64_t word = 0;
    unsigned used = 0; /* bits of word */

    DEBUG_ASSERT(n <= BITPACK_BLOCK && width <= 64);
    for (size_t i = 0; i < n; i++) {
        word |= v[i] << used;
        used += width;
        if (used >= 64) {
            store_u64le(out, word);
            out += 8;
            used -= 64;
            word = used ? v[i] >> (width - used) : 0;
        }
    }
    if (used)
        store_u64le(out, word); /* the bytes behind the last are the next thing's to fill */
}

/* Needs 9 readable bytes from the one each value begins in. */
static void get_with_slack(const uint8_t *in, size_t n, unsigned width, uint64_t *out)
{
    uint64_t mask = width == 64 ? UINT64_MAX : (1ull << width) - 1;

    if (width <= 57) {
        for (size_t i = 0, bit = 0; i < n; i++, bit += width)
            out[i] = load_u64le(in + (bit >> 3)) >> (bit & 7) & mask;
        return;
    }
    for (size_t i = 0, bit = 0; i < n; i++, bit += width) {
        const uint8_t *p = in + (bit >> 3);
        unsigned shift = bit & 7;
        uint64_t low = load_u64le(p) >> shift, high = p[8];

        out[i] = (shift ? low | high << (64 - shift) : low) & mask;
    }
}

void bitpack_get_portable(const uint8_t *in, const uint8_t *end, size_t n, unsigned width,
                          uint64_t *out)
{
    size_t bytes = bitpack_bytes(n, width);
    uint8_t copy[BITPACK_MAX_BYTES + 9];

    DEBUG_ASSERT(n <= BITPACK_BLOCK && width <= 64 && bytes <= (size_t)(end - in));
    if (width == 0) {
        memset(out, 0, n * sizeof *out);
        return;
    }
    if ((size_t)(end - in) < bytes + 9) {
        memcpy(copy, in, bytes);
        memset(copy + bytes, 0, 9);
        in = copy;
    }
    get_with_slack(in, n, width, out);
}

#if defined(__x86_64__)

static bool have_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

/* Four values lie in the eight bytes from the one the first begins in: widths up to 14. */
__attribute__((target("avx2"))) static void get_narrow(const uint8_t *in, unsigned width,
                                                       uint64_t *out)
{
    __m256i mask = _mm256_set1_epi64x((long long)((1ull << width) - 1));
    __m256i shifts = _mm256_set_epi64x(3 * width, 2 * width, width, 0);

    for (size_t i = 0, bit = 0; i < BITPACK_BLOCK; i += 4, bit += 4 * width) {
        uint64_t word = load_u64le(in + (bit >> 3)) >> (bit & 7);
        __m256i v = _mm256_srlv_epi64(_mm256_set1_epi64x((long long)word), shifts);

        _mm256_storeu_si256((__m256i *)(out + i), _mm256_and_si256(v, mask));
    }
}

/* Two do: widths up to 28. */
__attribute__((target("avx2"))) static void get_middling(const uint8_t *in, unsigned width,
                                                         uint64_t *out)
{
    __m256i mask = _mm256_set1_epi64x((long long)((1ull << width) - 1));
    __m256i shifts = _mm256_set_epi64x(width, 0, width, 0);

    for (size_t i = 0, bit = 0; i < BITPACK_BLOCK; i += 4, bit += 4 * width) {
        size_t next = bit + 2 * width;
        long long a = (long long)(load_u64le(in + (bit >> 3)) >> (bit & 7));
        long long b = (long long)(load_u64le(in + (next >> 3)) >> (next & 7));
        __m256i v = _mm256_srlv_epi64(_mm256_set_epi64x(b, b, a, a), shifts);

        _mm256_storeu_si256((__m256i *)(out + i), _mm256_and_si256(v, mask));
    }
}

#else

static bool have_avx2(void)
{
    return false;
}

static void get_narrow(const uint8_t *in, unsigned width, uint64_t *out)
{
    get_with_slack(in, BITPACK_BLOCK, width, out);
}

static void get_middling(const uint8_t *in, unsigned width, uint64_t *out)
{
    get_with_slack(in, BITPACK_BLOCK, width, out);
}

#endif

/* A whole block with enough readable bytes behind it. */
static void get_block(const uint8_t *in, unsigned width, uint64_t *out)
{
    if (width <= 14)
        get_narrow(in, width, out);
    else
        get_middling(in, width, out);
}

void bitpack_get(const uint8_t *in, const uint8_t *end, size_t n, unsigned width, uint64_t *out)
{
    uint8_t padded[BITPACK_BLOCK * 28 / 8 + 9];
    uint64_t block[BITPACK_BLOCK];

    if (width == 0 || width > 28 || n < 8 || !have_avx2()) {
        bitpack_get_portable(in, end, n, width, out);
    } else if (n == BITPACK_BLOCK && (size_t)(end - in) >= bitpack_bytes(n, width) + 9) {
        get_block(in, width, out);
    } else {
        memset(padded, 0, sizeof padded);
        memcpy(padded, in, bitpack_bytes(n, width));
        get_block(padded, width, block);
        memcpy(out, block, n * sizeof *out);
    }
}
