/* ended.h -- series whose rules are gone: they get staleness markers, unless another rule has taken
 * them over.
 *
 * A rule that was moved to another group, or a group that was renamed, writes the same series as
 * before. So the markers wait until the new one has had its turn: two intervals.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/write.h"
#include "base/err.h"

struct db;
struct group;

struct ended {
    struct ended *next;
    struct series_set *sets;
    size_t n_sets;
    int64_t t_ms;   /* of the markers */
    int64_t due_ns; /* on the monotonic clock */
};

/* Takes the series that a group wrote last. NULL when there are none, or out of memory. */
struct ended *ended_new(struct group *g, int64_t t_ms, int64_t due_ns);
void ended_free(struct ended *e); /* one; NULL is fine */

/* Frees a list without having marked it, and says so in the log. */
void ended_drop(struct ended *list);

/* Stores a marker for each series of the list whose hash is not among the n taken ones, which are
 * sorted by this. Frees the list. What fails is logged. */
void ended_mark(struct ended *list, struct db *db, uint64_t *taken, size_t n);
