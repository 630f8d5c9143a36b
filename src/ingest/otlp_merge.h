/* otlp_merge.h -- adding native histograms, for deltas that become cumulative. */
#pragma once

#include <stdbool.h>

struct arena;
struct histogram;

/* A copy on the heap, or NULL when out of memory. */
struct histogram *otlp_merged_new(const struct histogram *h);
void otlp_merged_free(struct histogram *h); /* NULL is fine */

/* Adds delta to *total (NULL: zero) and makes *delta the new total, with memory of the arena. The
 * coarser of two exponential schemas is used; when bounds of their own differ, or only one has such,
 * *total begins anew with delta. False when out of memory: *total is unchanged. */
bool otlp_merge(struct histogram **total, struct histogram *delta, struct arena *a);
