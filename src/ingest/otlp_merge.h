/* otlp_merge.h -- adding native histograms, for deltas that become cumulative. */
#pragma once

#include <stdbool.h>

struct arena;
struct histogram;

/* A copy on the heap, or NULL when out of memory. */
struct histogram *otlp_merged_new(const struct histogram *h);
void otlp_merged_free(struct histogram *h); /* NULL is fine */

/* Buckets that one side of a total has at most, as many as clients keep. Those of all doubles are
 * fewer at the coarsest schema. */
enum { OTLP_MERGED_BUCKETS = 160 };

/* Whether h can be made coarse enough for that: it has no buckets beyond the largest double. */
bool otlp_can_merge(const struct histogram *h);

/* Adds delta to *total (NULL: zero) and makes *delta the new total, with memory of a; scratch is
 * reset. The coarser of two exponential schemas is used, and a coarser one still while a side has
 * more than OTLP_MERGED_BUCKETS; when that does not help, bounds of their own differ, or only one
 * has such, *total begins anew with delta. False when out of memory: *total is unchanged. */
bool otlp_merge(struct histogram **total, struct histogram *delta, struct arena *scratch,
                struct arena *a);
