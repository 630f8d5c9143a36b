/* codec_bits.h -- which of n places are marked, in few bytes.
 *
 *   uvarint  how many are marked; with none or all of them nothing follows
 *   u8       form: 0..15  Rice codes with this parameter k
 *                  16     one bit a place, lowest bit first, padded to a byte
 *                  32 + form: those that are not marked, instead
 *
 * A Rice code stands for the places skipped before the next marked one: skipped >> k zeros and a
 * one, then the low k bits of skipped, lowest first; the last byte is padded with zeros. It is close
 * to the best possible when places are marked at random (R. F. Rice, "Some practical universal
 * noiseless coding techniques", JPL Publication 79-22, 1979).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Words of 64 places that n places take. */
static inline size_t bits_words(size_t n)
{
    return (n + 63) / 64;
}

static inline bool bits_test(const uint64_t *words, size_t i)
{
    return words[i / 64] >> i % 64 & 1;
}

size_t bits_count(const uint64_t *words, size_t n);

/* Appends the marks of n places, given as bits of words; those behind n are zero. */
void bits_encode(struct buf *b, const uint64_t *words, size_t n);

/* Reads marks of n places into bits_words(n) words and counts them; false when they make no sense:
 * words is then undefined. */
MUST_USE bool bits_decode(struct reader *r, size_t n, uint64_t *words, size_t *count);
