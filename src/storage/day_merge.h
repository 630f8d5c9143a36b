/* day_merge.h -- the files of a day written anew as one.
 *
 * Series come in the order of their labels and each has all its samples in one run, so that the new
 * file has long chunks, dense packs and one list of postings for each name=value. Of two samples
 * for one time the one that a reader of the old files sees is kept. A series keeps its newest
 * EXEMPLARS_PER_DAY exemplars.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct day;

struct day_merge {
    struct day *const *sources; /* oldest first */
    size_t n;
    struct day *target; /* empty */
    uint64_t flush;     /* flushes up to this one are taken; the new file has it as its only one */
    /* Called now and then; false ends the merge with ERR_CANCELED. NULL: never called. */
    bool (*go_on)(void *ctx);
    void *ctx;
};

/* Writes the target, durably; *n_stored is how many samples and exemplars it has: with 0 nothing was
 * written. Memory is
 * needed for the index of the new file, and for one series at a time. ERR_CORRUPT when something of
 * the sources cannot be read, and as day_writer_add(). */
MUST_USE enum errc day_merge(const struct day_merge *m, uint64_t *n_stored, struct err *err);
