/* codec_ints.h -- a column of 64-bit integers in few bytes, exactly.
 *
 * What is regular is taken out by transforms, one inside the other, until what is left is packed in
 * blocks of 64 with as many bits as most of a block's values need. Arithmetic is modulo 2^64, so
 * that every column has every transform, however large its differences.
 *
 *   column := u8 form, then
 *     0 packed    blocks of 64 values, the last one shorter (see below)
 *     1 constant  varint value
 *     2 delta     varint first value, column of the n - 1 differences
 *     3 line      varint first, varint step, column of value[i] - first - i * step
 *     4 scaled    varint base, uvarint scale (2 or more), column of (value - base) / scale
 *     5 sparse    varint common value, marks of the others (codec_bits.h), column of the others
 *
 *   block := u8 head, then
 *     head         width of 0..62 bits, 63 for 64 bits; + 64 * mode. Mode 3 stands for exceptions:
 *                  u8 mode + 4 * (count - 1) follows
 *     mode 0       values as they are; 1: in zigzag; 2: varint base follows, values less base
 *     exceptions   u8 place and the whole value as varint, less base in mode 2; their bits below
 *                  are zero
 *     bits         bitpack.h
 *
 * The encoder chooses by estimates and may change freely; a column means the same for ever.
 *
 * Frame of reference with patched exceptions: Zukowski et al., "Super-Scalar RAM-CPU Cache
 * Compression", ICDE 2006.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { INTS_MAX = 8192 };

/* Appends the column of 1..INTS_MAX values, which it overwrites. */
void ints_encode(struct buf *b, int64_t *v, size_t n);

/* About how many bits ints_encode() would take. */
size_t ints_estimate_bits(const int64_t *v, size_t n);

/* Reads a column of n <= INTS_MAX values; false when it makes no sense: out is then undefined. */
MUST_USE bool ints_decode(struct reader *r, int64_t *out, size_t n);
