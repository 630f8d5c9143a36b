/* columns.h -- made-up columns of every shape that the codecs tell apart. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { FLOAT_KINDS = 18, INT_KINDS = 10 };

/* Fills n values of a kind below FLOAT_KINDS or INT_KINDS. */
void random_floats(uint64_t *rng, unsigned kind, double *v, size_t n);
void random_ints(uint64_t *rng, unsigned kind, int64_t *v, size_t n);
