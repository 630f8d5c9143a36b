/* windows.h -- where the windows of all steps lie in a column of times.
 *
 * Series that are scraped together share their times, and so the bounds of their windows and how
 * far a window's growth has to be extrapolated. A cache keeps both for the columns of times seen
 * last: most series of a query find theirs there and pay one comparison of times.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "query/eval_private.h"
#include "query/functions.h"

struct windows {
    const uint32_t *lo, *hi; /* by step: the samples lo <= i < hi */
    size_t most;             /* samples in the fullest window */
    uint64_t total;          /* in all windows */
    /* Only of a cache with growth, for windows of two samples or more: rate() and kin are the
     * growth times factor, unless the counter might have begun at zero inside the window, which
     * cannot be when its first value is at least growth times bound. */
    const double *factor, *bound;
};

/* A cache holds no more than this, unless the windows of one series take more. */
enum { WINDOW_CACHE_BYTES = 4 << 20 };

/* Zeroed but for what is named here. */
struct window_cache {
    struct query *q;
    const struct node *range;  /* a range selector or subquery */
    bool growth;               /* wants factor and bound, */
    bool per_second;           /* the factor that of rate() */
    struct window_slot *slots; /* private, as is the next */
    size_t n_slots;
    size_t bytes; /* held by the slots */
};

void window_cache_free(struct window_cache *c);

/* The windows of a series, valid until the next call; at most 2^32 - 1 samples. ERR_NOMEM. */
MUST_USE enum errc windows_of(struct window_cache *c, const struct range_series *s,
                              const struct windows **out, struct err *err);
