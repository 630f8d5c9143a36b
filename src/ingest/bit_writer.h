/* bit_writer.h -- appending bits to a buffer, the most significant first, as Prometheus' chunks
 * have them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* Zero-initialise all but out. */
struct bit_writer {
    struct buf *out;
    uint64_t bits; /* private: the low n bits wait for more */
    unsigned n;    /* 0 to 7 between calls */
};

/* The low n bits of v, n at most 64. */
static inline void put_bits(struct bit_writer *w, uint64_t v, unsigned n)
{
    if (n > 32) {
        put_bits(w, v >> 32, n - 32);
        n = 32;
    }
    w->bits = w->bits << n | (v & ((1ull << n) - 1));
    for (w->n += n; w->n >= 8; w->n -= 8)
        buf_u8(w->out, (uint8_t)(w->bits >> (w->n - 8)));
}

/* LEB128, each byte as 8 bits. */
static inline void put_uvarint(struct bit_writer *w, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_bits(w, (v & 0x7f) | 0x80, 8);
    put_bits(w, v, 8);
}

/* Fills the last byte with zeros. */
static inline void end_bits(struct bit_writer *w)
{
    if (w->n)
        put_bits(w, 0, 8 - w->n);
}

/* The XOR of values, one after another of one series. Zero-initialise all but last. */
struct xor_window {
    uint64_t last; /* bits of the value before */
    unsigned leading, trailing;
    bool open; /* a window has been written */
};

/* 0: the same; 10: the meaningful bits fit into the last window; 11: a new window follows, its
 * leading zeros (5 bits) and its length (6 bits, 64 as 0). */
static inline void put_xor(struct bit_writer *w, struct xor_window *x, double v)
{
    uint64_t diff = f64_bits(v) ^ x->last;
    unsigned leading, trailing;

    x->last ^= diff;
    if (diff == 0) {
        put_bits(w, 0, 1);
        return;
    }
    leading = (unsigned)__builtin_clzll(diff);
    trailing = (unsigned)__builtin_ctzll(diff);
    if (leading > 31)
        leading = 31;
    if (x->open && leading >= x->leading && trailing >= x->trailing) {
        put_bits(w, 2, 2);
    } else {
        *x = (struct xor_window){ x->last, leading, trailing, true };
        put_bits(w, 3, 2);
        put_bits(w, leading, 5);
        put_bits(w, (64 - leading - trailing) & 63, 6);
    }
    put_bits(w, diff >> x->trailing, 64 - x->leading - x->trailing);
}
