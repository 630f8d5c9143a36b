/* bitpack.h -- up to 64 unsigned numbers of equal width, bit beside bit.
 *
 * Value i takes the bits i * width .. (i + 1) * width - 1 of the block, the lowest bit of byte 0
 * first; the last byte is padded with zeros. Widths are 0..64.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { BITPACK_BLOCK = 64, BITPACK_MAX_BYTES = BITPACK_BLOCK * 8 };

/* The bytes that n values take. */
static inline size_t bitpack_bytes(size_t n, unsigned width)
{
    return (n * width + 7) / 8;
}

/* The bits that v needs: 0 for 0. */
static inline unsigned bit_length(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* Writes n <= 64 values, each below 2^width, as bitpack_bytes() bytes to out, which has room for
 * BITPACK_MAX_BYTES + 8 whatever the width. */
void bitpack_put(uint8_t *out, const uint64_t *v, size_t n, unsigned width);

/* Reads n <= 64 values from bitpack_bytes() bytes at in; those up to end may be looked at. The
 * fastest way this processor knows. */
void bitpack_get(const uint8_t *in, const uint8_t *end, size_t n, unsigned width, uint64_t *out);

/* The same without special instructions, so that the two can be compared. */
void bitpack_get_portable(const uint8_t *in, const uint8_t *end, size_t n, unsigned width,
                          uint64_t *out);
