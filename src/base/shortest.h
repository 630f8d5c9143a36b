/* shortest.h -- the shortest decimal that reads back to the same double.
 *
 * Raffaello Giulietti, "The Schubfach way to render doubles", 2020 (sections 8 and 9): the interval of
 * all numbers that round to v is scaled by a power of ten so that it holds at most a few integers;
 * three multiplications of 64 by 128 bits, rounded to odd, are enough to decide exactly.
 */
#pragma once

#include <stdint.h>

/* digits * 10^exp10; digits may end in zeros. */
struct shortest {
    uint64_t digits;
    int exp10;
};

/* v is finite and above zero. Of several shortest ones the closest to v. */
struct shortest shortest_decimal(double v);
