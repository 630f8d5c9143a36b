/* xor_chunk.c
 *
 *   be16      number of samples
 *   varint    time of sample 0
 *   64 bits   value of sample 0
 *   uvarint   time of sample 1 less that of sample 0
 *   xor       value of sample 1
 *   for each later sample:                    time step (delta of deltas), most significant bit first
 *     step                                      0
 *     xor                                      10 + 14 bits   -8191 .. 8192
 *                                             110 + 17 bits   -65535 .. 65536
 *   xor: see bit_writer.h                    1110 + 20 bits   -524287 .. 524288
 *   zeros up to a whole byte                 1111 + 64 bits   any
 */
#include "ingest/xor_chunk.h"

#include "ingest/bit_writer.h"

#include "base/banned.h"

static const struct {
    uint64_t prefix;
    unsigned prefix_bits, bits;
} steps[] = { { 2, 2, 14 }, { 6, 3, 17 }, { 14, 4, 20 }, { 15, 4, 64 } };

/* Of n bits, the pattern 100..0 is the positive end of the range. */
static bool fits(int64_t v, unsigned n)
{
    int64_t half = n < 64 ? 1ll << (n - 1) : INT64_MAX;

    return n == 64 || (v > -half && v <= half);
}

static void put_step(struct bit_writer *w, int64_t step)
{
    size_t i = 0;

    if (step == 0) {
        put_bits(w, 0, 1);
        return;
    }
    while (!fits(step, steps[i].bits))
        i++;
    put_bits(w, steps[i].prefix, steps[i].prefix_bits);
    put_bits(w, (uint64_t)step, steps[i].bits);
}

void xor_chunk_encode(struct buf *out, const int64_t *t_ms, const double *v, size_t n)
{
    struct bit_writer w = { .out = out };
    struct xor_window x = { .last = f64_bits(v[0]) };
    uint64_t delta = 0;

    ASSERT(n > 0 && n <= XOR_CHUNK_MAX_SAMPLES);
    put_bits(&w, n, 16);
    put_uvarint(&w, zigzag(t_ms[0]));
    put_bits(&w, x.last, 64);
    for (size_t i = 1; i < n; i++) { /* differences wrap, as readers' do */
        uint64_t d = (uint64_t)t_ms[i] - (uint64_t)t_ms[i - 1];

        if (i == 1)
            put_uvarint(&w, d);
        else
            put_step(&w, (int64_t)(d - delta));
        put_xor(&w, &x, v[i]);
        delta = d;
    }
    end_bits(&w);
}
