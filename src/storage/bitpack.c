#include "storage/bitpack.h"

#include <string.h>

#include "base/bytes.h"

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

void bitpack_get(const uint8_t *in, const uint8_t *end, size_t n, unsigned width, uint64_t *out)
{
    bitpack_get_portable(in, end, n, width, out);
}
