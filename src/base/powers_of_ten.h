/* powers_of_ten.h -- 10^k to 128 bits: the smallest integer g >= 10^k * 2^s with 2^127 <= g < 2^128,
 * where s = 127 - floor(log2(10^k)).
 */
#pragma once

#include <stdint.h>

enum { POWER_MIN = -292, POWER_MAX = 324 };

struct u128 {
    uint64_t high, low;
};

extern const struct u128 powers_of_ten[POWER_MAX - POWER_MIN + 1]; /* by k - POWER_MIN */
