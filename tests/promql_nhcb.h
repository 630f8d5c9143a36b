/* promql_nhcb.h -- classic histograms as native ones with custom buckets, as load_with_nhcb wants
 * them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "promql_load.h"

struct arena;

/* The native series that the classic ones among n series make, at most max of them: named without
 * _bucket, _count or _sum, bounds and counts from the le of buckets. Of equal bounds the first
 * counts; where counts decrease there is no histogram. False when there are more than max. */
bool nhcb_from_classic(const struct series_line *series, size_t n, struct arena *a,
                       struct series_line *out, size_t max, size_t *n_out);
