/* exemplar_store.h -- the exemplars that have not reached the day files yet.
 *
 * Bounded twice: a series keeps its newest EXEMPLARS_PER_SERIES, and all together the newest
 * EXEMPLARS_MAX; the oldest give way. As with the head's samples there are open ones, which take
 * more, and frozen ones, which a flush writes; each has the bounds for itself.
 *
 * What a series takes is Prometheus' rule: one equal to its newest is ignored, one that is older is
 * refused, as is one of the same time with a smaller value.
 *
 * Threads: any; one lock of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct exemplar_store;

enum {
    EXEMPLARS_PER_SERIES = 100,
    EXEMPLARS_MAX = 100000,
    EXEMPLARS_PER_DAY = 1000 /* of a series, once its day has been rewritten */
};

/* An empty store, or NULL when out of memory. */
struct exemplar_store *exemplar_store_new(void);
void exemplar_store_free(struct exemplar_store *s); /* NULL is fine */

struct stored_exemplar {
    int64_t t_ms;
    double v;
    struct bytes labels; /* encoded, labels.h */
};

enum exemplar_result {
    EXEMPLAR_STORED,
    EXEMPLAR_REPEAT, /* equal to the newest */
    EXEMPLAR_OUT_OF_ORDER,
    EXEMPLAR_NOMEM
};

/* Adds a copy of e to series ref. */
enum exemplar_result exemplar_store_add(struct exemplar_store *s, uint32_t ref,
                                        const struct stored_exemplar *e);

/* Moves the open ones aside, as those of a log generation. The frozen ones of before must have been
 * dropped. */
void exemplar_store_freeze(struct exemplar_store *s, uint64_t generation);
void exemplar_store_drop_frozen(struct exemplar_store *s);

/* What is given each exemplar; false stops. The labels live until it returns. */
typedef bool exemplar_fn(void *ctx, const struct stored_exemplar *e);

/* Gives the exemplars of ref in order of time: the frozen ones if their generation is above after,
 * then the open ones. False when fn stopped it. fn must not call this store. */
bool exemplar_store_each(struct exemplar_store *s, uint32_t ref, uint64_t after, exemplar_fn *fn,
                         void *ctx);

/* The refs that have frozen exemplars, increasing, malloc'd; false when out of memory. */
bool exemplar_store_frozen_refs(struct exemplar_store *s, uint32_t **refs, size_t *n);
/* The same as exemplar_store_each for the frozen ones alone. */
bool exemplar_store_each_frozen(struct exemplar_store *s, uint32_t ref, exemplar_fn *fn, void *ctx);

struct exemplar_stats {
    uint64_t exemplars, series; /* in the store */
    int64_t newest_t_ms;        /* of those it holds; INT64_MIN when it is empty */
};
void exemplar_store_stats(struct exemplar_store *s, struct exemplar_stats *out);
