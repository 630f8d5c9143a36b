/* xor_reader.h -- reads Prometheus' XOR chunks, for tests: slow, plain, and from the format's
 * description alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct xor_reader {
    struct bytes b;
    size_t bit, i, n;
    int64_t t_ms;
    double v;
    uint64_t delta, last;
    unsigned leading, length;
};

static inline uint64_t xor_bits(struct xor_reader *r, unsigned n)
{
    uint64_t v = 0;

    for (; n > 0; n--, r->bit++) {
        size_t at = r->bit / 8;

        v = v << 1 | (at < r->b.len ? (r->b.ptr[at] >> (7 - r->bit % 8)) & 1 : 0);
    }
    return v;
}

static inline uint64_t xor_uvarint(struct xor_reader *r)
{
    uint64_t v = 0, byte;
    unsigned shift = 0;

    do {
        byte = xor_bits(r, 8);
        v |= (byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && shift < 70);
    return v;
}

static inline struct xor_reader xor_read(struct bytes b)
{
    struct xor_reader r = { .b = b };

    r.n = xor_bits(&r, 16);
    return r;
}

static inline uint64_t xor_step(struct xor_reader *r)
{
    static const unsigned bits[] = { 0, 14, 17, 20, 64 };
    size_t ones = 0;
    uint64_t u;

    while (ones < 4 && xor_bits(r, 1))
        ones++;
    u = xor_bits(r, bits[ones]);
    if (bits[ones] && bits[ones] < 64 && u > 1ull << (bits[ones] - 1))
        u -= 1ull << bits[ones];
    return u;
}

static inline void xor_value(struct xor_reader *r)
{
    if (!xor_bits(r, 1))
        return;
    if (xor_bits(r, 1)) {
        r->leading = (unsigned)xor_bits(r, 5);
        r->length = (unsigned)xor_bits(r, 6);
        if (r->length == 0)
            r->length = 64;
    }
    r->last ^= xor_bits(r, r->length) << (64 - r->leading - r->length);
}

/* The next sample, in t_ms and v. */
static inline void xor_next(struct xor_reader *r)
{
    if (r->i == 0) {
        r->t_ms = unzigzag(xor_uvarint(r));
        r->last = xor_bits(r, 64);
    } else {
        r->delta = r->i == 1 ? xor_uvarint(r) : r->delta + xor_step(r);
        r->t_ms = (int64_t)((uint64_t)r->t_ms + r->delta);
        xor_value(r);
    }
    r->v = f64_from_bits(r->last);
    r->i++;
}

/* Whether all samples have been read, and nothing but padding is left. */
static inline bool xor_at_end(const struct xor_reader *r)
{
    return r->i == r->n && (r->bit + 7) / 8 == r->b.len;
}
