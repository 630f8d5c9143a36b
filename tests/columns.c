#include "columns.h"

#include <math.h>

#include "base/bytes.h"
#include "random.h"
#include "storage/sample.h"

#include "base/banned.h"

/* Of as many bits as chance will have it. */
static uint64_t any_size(uint64_t *rng)
{
    return random_u64(rng) >> random_below(rng, 64);
}

static double next_float(uint64_t *rng, unsigned kind, double last, uint64_t seed)
{
    static const double specials[] = { -0.0, INFINITY, -INFINITY, 5e-324, -5e-324, 1e308, 0x1p53 };

    switch (kind) {
    case 0: /* any bits, NaN with payloads among them */
        return f64_from_bits(random_u64(rng));
    case 1: /* small integers */
        return (double)random_below(rng, 100);
    case 2: /* a counter with idle spells */
        return random_below(rng, 3) ? last : last + (double)random_below(rng, 1000);
    case 3: /* a sum of decimals, with its rounding */
        return last + (double)random_below(rng, 1000) / 1e6;
    case 4: /* a sum of anything */
        return last + (double)random_u64(rng) * 0x1p-60;
    case 5: /* staleness markers */
        return random_below(rng, 5) ? stale_nan() : (double)random_below(rng, 9);
    case 6: /* neighbours */
        return f64_from_bits((seed >> 12) + random_below(rng, 7));
    case 7: /* hundredths of both signs */
        return ((double)random_below(rng, 200) - 100) / 100;
    case 8: /* a counter with things in it that are no numbers of its kind */
        return random_below(rng, 50) ? last + 3 : specials[random_below(rng, ARRAY_LEN(specials))];
    case 9: /* integers of any size and sign */
        return (double)(int64_t)any_size(rng) * (random_below(rng, 2) ? -1 : 1);
    case 10: /* few bits set */
        return f64_from_bits(random_u64(rng) & seed & random_u64(rng));
    case 11: /* a gauge that mostly stands still */
        return random_below(rng, 20) ? last : (double)random_below(rng, 50);
    case 12: /* floats of 32 bits */
        return (double)(float)(0.3 + (double)random_below(rng, 1000) * 1e-5);
    case 13: /* up and down by a tenth */
        return last + (random_below(rng, 10) ? 0.1 : -0.1);
    case 14: /* decimals with as many digits as there are */
        return (double)(any_size(rng) >> 11) / pow(10, (double)random_below(rng, 23));
    case 15: /* multiples of a page */
        return (double)(random_below(rng, 1000) * 4096 + (seed >> 40));
    case 16: /* a counter with resets */
        return random_below(rng, 100) ? last + (double)random_below(rng, 4) : 0;
    default: /* constant */
        return f64_from_bits(seed);
    }
}

void random_floats(uint64_t *rng, unsigned kind, double *v, size_t n)
{
    uint64_t seed = random_u64(rng);
    double last = 0;

    for (size_t i = 0; i < n; i++)
        v[i] = last = next_float(rng, kind, isfinite(last) ? last : 0, seed);
}

static int64_t next_int(uint64_t *rng, unsigned kind, uint64_t last, unsigned size, size_t i)
{
    switch (kind) {
    case 0: /* any bits, up to a size */
        return (int64_t)(random_u64(rng) >> size);
    case 1: /* a walk */
        return (int64_t)(last + (random_u64(rng) >> size) - (random_u64(rng) >> size));
    case 2: /* of any size and sign */
        return (int64_t)(random_below(rng, 2) ? any_size(rng) : -any_size(rng));
    case 3: /* steps, most of them none */
        return (int64_t)(last + (random_below(rng, 4) ? 0 : random_u64(rng) >> size));
    case 4: /* a line */
        return (int64_t)(i * (77ull << size));
    case 5: /* a line with some off it */
        return (int64_t)(i * 15000 + (random_below(rng, 5) ? 0 : random_below(rng, 8)));
    case 6: /* two values */
        return random_below(rng, 4) ? 5 : INT64_MIN;
    case 7: /* multiples */
        return (int64_t)((random_u64(rng) >> size) * 4096 + 77);
    case 8: /* few others */
        return random_below(rng, 100) ? -1 : (int64_t)random_u64(rng);
    default: /* one far out of a block */
        return random_below(rng, 64) ? (int64_t)random_below(rng, 32) : INT64_MAX;
    }
}

void random_ints(uint64_t *rng, unsigned kind, int64_t *v, size_t n)
{
    unsigned size = (unsigned)random_below(rng, 64);
    uint64_t last = random_u64(rng);

    for (size_t i = 0; i < n; i++) {
        v[i] = next_int(rng, kind, last, size, i);
        last = (uint64_t)v[i];
    }
}
