/* shortest.c
 *
 * v = c * 2^q. Quantities with _4 are four times what they stand for, so that the borders of the
 * interval, which lie halfway to the neighbours, are integers before scaling.
 */
#include "base/shortest.h"

#include <stdbool.h>

#include "base/bytes.h"
#include "base/powers_of_ten.h"

#include "base/banned.h"

enum { FRACTION_BITS = 52, MIN_EXPONENT = -1074 };

/* floor(log10(2^q)), floor(log10(3/4 * 2^q)), floor(log2(10^k)): exact for the exponents of doubles
 * (Giulietti, section 9.10). */
static int floor_log10_pow2(int q)
{
    return (int)(((int64_t)q * 661971961083) >> 41);
}

static int floor_log10_three_quarters_pow2(int q)
{
    return (int)(((int64_t)q * 661971961083 - 274743187321) >> 41);
}

static int floor_log2_pow10(int k)
{
    return (int)(((int64_t)k * 913124641741) >> 38);
}

/* The product's bits above 2^128; the last one is set when anything below is (rounding to odd). */
static uint64_t scale(struct u128 g, uint64_t c)
{
    __extension__ typedef unsigned __int128 wide;
    wide low = (wide)g.low * c, high = (wide)g.high * c + (uint64_t)(low >> 64);

    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* The integer in the scaled interval that is closest to v, or one with a digit less if there is. */
static struct shortest choose(uint64_t v_4, uint64_t low_4, uint64_t high_4, int k)
{
    uint64_t s = v_4 / 4;
    bool below, above;

    if (s >= 10) {
        uint64_t tens = s / 10;

        below = low_4 <= 40 * tens;
        above = 40 * tens + 40 <= high_4;
        if (below != above)
            return (struct shortest){ tens + above, k + 1 };
    }
    below = low_4 <= 4 * s;
    above = 4 * s + 4 <= high_4;
    if (below != above)
        return (struct shortest){ s + above, k };
    return (struct shortest){ s + (v_4 > 4 * s + 2 || (v_4 == 4 * s + 2 && s % 2)), k };
}

struct shortest shortest_decimal(double v)
{
    uint64_t bits = f64_bits(v), c = bits & ((UINT64_C(1) << FRACTION_BITS) - 1), open;
    int biased = (int)(bits >> FRACTION_BITS), q = MIN_EXPONENT, k, shift;
    bool gap_is_half = c == 0 && biased > 1; /* below a power of two */
    struct u128 g;

    if (biased > 0) {
        c |= UINT64_C(1) << FRACTION_BITS;
        q += biased - 1;
    }
    k = gap_is_half ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    shift = q + floor_log2_pow10(-k) + 1;
    g = powers_of_ten[-k - POWER_MIN];
    open = c & 1; /* ties round to even: the borders of an odd number are not its own */
    return choose(scale(g, 4 * c << shift),
                  scale(g, (4 * c - (gap_is_half ? 1 : 2)) << shift) + open,
                  scale(g, (4 * c + 2) << shift) - open, k);
}
