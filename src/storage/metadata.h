/* metadata.h -- type, help and unit of metric families, in memory.
 *
 * The store's own copy: what state.mdb keeps, for fast answers and to see what must be written.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "storage/db.h"

struct metadata_map;

enum { METADATA_MAX_BYTES = 256 << 20 }; /* of memory, for a store */

/* A map that takes about max_bytes at most, or NULL when out of memory. */
struct metadata_map *metadata_map_new(size_t max_bytes);
void metadata_map_free(struct metadata_map *m); /* NULL is fine */

/* Keeps a copy of each of n entries; of equal families the last counts. unsaved (n flags) tells
 * which are not known to be in state.mdb. Left out, and never unsaved: a family with too long a
 * name or text (1,024 and 4,096 bytes), invalid UTF-8 or an unknown type, and a new one when the
 * map is full. ERR_NOMEM. */
MUST_USE enum errc metadata_map_put(struct metadata_map *m, const struct metric_metadata *entries,
                                    size_t n, bool *unsaved, struct err *err);

/* These entries are in state.mdb now, as far as the map still says the same. */
void metadata_map_saved(struct metadata_map *m, const struct metric_metadata *entries, size_t n);

/* All entries sorted by family, copied into the arena. ERR_LIMIT. */
MUST_USE enum errc metadata_map_list(struct metadata_map *m, struct arena *a,
                                     struct metadata_list *out, struct err *err);
