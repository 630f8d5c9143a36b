/* loops.h -- the loops over columns of floats in which queries spend their time.
 *
 * Each has a portable form and one for wider registers, chosen by the processor at hand. Both do
 * the same operations in the same order on each element, so their results are the same bits
 * (tests/test_loops.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct loops {
    /* Adds v to sums and their compensations, element by element, as compensated_add(); absent
     * elements of v change nothing, and an absent sum becomes the element itself. */
    void (*add)(double *sum, double *c, const double *v, size_t n);
    /* Adds 1 to each count at which v is not absent; an absent count becomes 1. */
    void (*count)(double *counts, const double *v, size_t n);
    /* The first i >= from with v[i] < v[i - 1], or n; from is at least 1. */
    size_t (*find_decrease)(const double *v, size_t from, size_t n);
    /* The first i at which v is a staleness marker, that is, absent; or n. */
    size_t (*find_marker)(const double *v, size_t n);
};

/* The fastest here, and the portable ones. */
const struct loops *loops(void);
extern const struct loops loops_portable;
