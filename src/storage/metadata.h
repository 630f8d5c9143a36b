/* metadata.h -- type, help and unit of metric families, in memory.
 *
 * The store's own copy: what state.mdb keeps, for fast answers and to see what has changed.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "storage/db.h"

struct metadata_map;

struct metadata_map *metadata_map_new(void); /* NULL when out of memory */
void metadata_map_free(struct metadata_map *m);

/* Stores a copy of what is new or different among n entries; changed (n flags) tells which. A
 * family with too long a name or text (1,024 and 4,096 bytes), invalid UTF-8, or beyond 1,000,000
 * families is left out. ERR_NOMEM. */
MUST_USE enum errc metadata_map_put(struct metadata_map *m, const struct metric_metadata *entries,
                                    size_t n, bool *changed, struct err *err);

/* All entries sorted by family, copied into the arena. ERR_LIMIT. */
MUST_USE enum errc metadata_map_list(struct metadata_map *m, struct arena *a,
                                     struct metadata_list *out, struct err *err);
