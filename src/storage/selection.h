/* selection.h -- which series satisfy matchers, in the head and in days, joined by their labels.
 * Internal to the db.
 *
 * Dashboards and rules ask for the same series again and again, so a selection is kept and shared
 * for as long as its answer stays the same: a day file only ever gets more series, and says how
 * many it has; the head likewise, and its new ones are looked at before a selection is used again.
 * Whether a series has samples at some time is no part of it.
 *
 * Threads: any. A selection does not change; it is reference counted.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/head.h"
#include "storage/labels.h"
#include "storage/manifest.h"
#include "storage/matcher.h"

struct day_txn;
struct selection_cache;

/* A day file that takes part, as a transaction sees it. */
struct selection_source {
    struct manifest_day id;
    uint32_t n_series; /* day_txn_series() */
    struct day_txn *txn;
};

/* Where a series has samples beside the head: series id of source number source. */
struct place {
    uint32_t source, id;
};

struct selected {
    struct labels labels;
    const struct place *places; /* by source */
    uint32_t n_places;
    uint32_t head_ref; /* HEAD_NO_SERIES: not in the head */
};

struct selection {
    struct selected *items; /* sorted by labels_cmp, each label set once */
    size_t n;
    /* the rest is private */
    struct arena *arena;
    uint64_t hash;
    struct buf key; /* matchers and sources */
    uint32_t refs, head_series;
    uint64_t head_removals;
    uint64_t used; /* the cache's tick */
};

/* An empty cache that keeps selections of at most max_bytes in all; NULL when out of memory. */
struct selection_cache *selection_cache_new(size_t max_bytes);
void selection_cache_free(struct selection_cache *c); /* NULL is fine */

/* The selection of n matchers over the head and the sources, with a reference to it. Building it
 * takes at most limit_bytes (0: any). ERR_LIMIT, ERR_CORRUPT, ERR_IO. */
MUST_USE enum errc selection_get(struct selection_cache *c, struct head *h,
                                 const struct selection_source *sources, size_t n_sources,
                                 const struct matcher *matchers, size_t n, size_t limit_bytes,
                                 struct selection **out, struct err *err);
void selection_unref(struct selection_cache *c, struct selection *s); /* NULL is fine */
