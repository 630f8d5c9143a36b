/* pack_cache.h -- decoded columns of packs that are likely to be wanted again soon: times that many
 * series share, buckets of one histogram.
 *
 * An entry is known by where its bytes are in memory, so those must stay what they are as long as
 * the cache lives. What was used longest ago makes room. Threads: for one at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct pack_cache;

/* At most max_bytes of columns, but always one; NULL when out of memory. */
struct pack_cache *pack_cache_new(size_t max_bytes);
void pack_cache_free(struct pack_cache *c); /* NULL is fine */

/* What was kept for these bytes, decoded as n values of one size; NULL when nothing is. Borrowed until the next
 * pack_cache_put(). */
MUST_USE const void *pack_cache_get(struct pack_cache *c, const uint8_t *bytes, size_t n);

/* Memory of this size to keep a decoded column in; NULL when out of memory. The caller fills it, or
 * takes it back. */
MUST_USE void *pack_cache_put(struct pack_cache *c, const uint8_t *bytes, size_t n, size_t size);
void pack_cache_drop(struct pack_cache *c, const uint8_t *bytes, size_t n);
