/* range_kernels.h -- functions over ranges, all windows of a series at once.
 *
 * A kernel gives what the function's .over gives window by window, bit for bit, but knows the
 * windows of all steps beforehand (windows.h) and carries over from one step to the next what is
 * exact to carry over. Functions without a kernel, and anchored and smoothed ranges, are evaluated
 * window by window.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "query/range_functions.h"
#include "query/windows.h"

/* The resets of a counter over all windows; they are few. */
struct resets {
    size_t *at;     /* indices of samples smaller than the one before, increasing */
    double *before; /* the values of those before */
    size_t n, at_cap, before_cap;
};

/* One series and where its results go. */
struct kernel_job {
    const struct windows *w;
    const double *v;
    const struct resets *resets; /* of functions that want a counter */
    double *out;                 /* by step; absent() where a window has too few samples */
    uint32_t *scratch;           /* room for as many as there are samples */
    /* The function at one step, the slow way: for what a kernel leaves out. */
    double (*one)(void *ctx, size_t step);
    void *ctx;
};

/* Steps from <= i < to, in any order of calls. */
typedef void range_kernel(const struct kernel_job *j, size_t from, size_t to);

/* The kernel of the function whose .over that is, or NULL. */
range_kernel *range_kernel_find(over_function *over);
/* Whether it wants factor and bound in the windows, and the factor per second. */
bool range_kernel_extrapolates(over_function *over, bool *per_second);
