/* codec_float.h -- a column of doubles in few bytes, every bit kept.
 *
 *   column := u8 form + flags, then
 *     [16]  marks of the samples that differ from the one before, of n - 1 places (codec_bits.h);
 *           the rest is of those and the first only
 *     form 0  plain     8 bytes each
 *          1  bits      column of integers (codec_ints.h): the bits, those of negative numbers
 *                       inverted but for the sign, so that the order of integers is that of numbers
 *          2  decimal   u8 e, column of m: the value is m / 10^e
 *          3  residual  u8 e, column of m, column of r: the bits, as in form 1, are those of
 *                       m / 10^e plus r. Sums of decimals stray from them by rounding
 *     [32]  uvarint count, then for each: uvarint places skipped since the one before, u64 bits.
 *           What no number column holds well: NaN and its payloads, infinities, -0.0, and values
 *           that are not the decimal that their neighbours are
 *
 * Decimals as integers: Afroozeh, Kuffo and Boncz, "ALP: Adaptive Lossless floating-Point
 * Compression", SIGMOD 2024, here with a division, which is correctly rounded, so that fewer values
 * need a patch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "storage/codec_ints.h"

/* Memory that an encoder needs, of no meaning between calls. */
struct floats_scratch {
    int64_t kept[INTS_MAX], m[INTS_MAX], r[INTS_MAX], work[INTS_MAX];
    uint32_t patches[INTS_MAX];
};

/* Appends the column of 1..INTS_MAX values. */
void floats_encode(struct buf *b, const double *v, size_t n, struct floats_scratch *s);

/* Reads a column of n <= INTS_MAX values; false when it makes no sense: out is then undefined. */
MUST_USE bool floats_decode(struct reader *r, double *out, size_t n);
