/* kernels.h -- the loops over samples that decoding consists of, with vector instructions where this
 * processor has them and they pay.
 *
 * Each has a portable twin that gives the same bits; tests compare the two.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Spreads kept values, which lie at the end of the n values at out, over all of it: out[0] is the
 * first of them, and each marked one of the n - 1 places behind it the next, each other the one
 * before it. There are as many kept values as marks, and one. */
void kernel_repeat(uint64_t *out, size_t n, const uint64_t *marks, size_t kept);
void kernel_repeat_portable(uint64_t *out, size_t n, const uint64_t *marks, size_t kept);

/* The same for values that stand at marked ones of n places, with common everywhere else. */
void kernel_place(uint64_t *out, size_t n, const uint64_t *marks, size_t kept, uint64_t common);

/* In place: integers become the doubles that they are, divided by divisor. */
void kernel_decimals(uint64_t *v, size_t n, double divisor);
void kernel_decimals_portable(uint64_t *v, size_t n, double divisor);

/* Each number of v is added to the sum beside it and becomes that sum; what is no finite number stays as
 * it is and is not added. */
void kernel_accumulate(double *sum, double *v, size_t n);
void kernel_accumulate_portable(double *sum, double *v, size_t n);
