/* head_run.h -- samples of one series in memory, compressed as they come.
 *
 * A run is a sequence of samples with strictly increasing times, every bit of the values kept. Its
 * bytes lie in chunks of some hundred, each of which can be decoded by itself, and these in
 * fragments of one cache line, so that a series of five samples takes 64 bytes and none takes room
 * for samples that never come. Appending allocates nothing but a fragment now and then, from a pool
 * that all runs of a log generation share and that is given back as a whole.
 *
 * The run itself keeps what appending needs; to read it, its end is enough.
 *
 * Threads: none of its own. Bytes of a chunk that is not the run's last never change, so a reader
 * that has copied the last one (run_tail) under the lock of the appender reads on without it, as
 * long as nobody clears the pool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "storage/sample.h"

enum {
    RUN_FRAGMENT_BYTES = 64,
    RUN_HEADER_BYTES = 32,                                /* of a chunk, in its first fragment */
    RUN_LINK_BYTES = 4,                                   /* of the other fragments */
    RUN_CHUNK_FRAGMENTS = 5,                              /* at most */
    RUN_MAX_SAMPLES = 1024,                               /* of a chunk */
    RUN_MAX_BYTES = RUN_FRAGMENT_BYTES - RUN_HEADER_BYTES /* of a chunk, without header and links */
                    + (RUN_CHUNK_FRAGMENTS - 1) * (RUN_FRAGMENT_BYTES - RUN_LINK_BYTES),
};

/* ---- the memory ---- */

struct run_pool;

struct run_pool *run_pool_new(void);     /* NULL when out of memory */
void run_pool_free(struct run_pool *p);  /* NULL is fine */
void run_pool_clear(struct run_pool *p); /* gives all memory back: its runs are no more */
uint64_t run_pool_bytes(const struct run_pool *p);

/* ---- writing ---- */

/* The end of a run: the last chunk and how much of it counts. All zero: empty. */
struct run_end {
    uint32_t chunk;
    uint16_t n, bytes;
};

/* A run that grows. Zero-initialise it; newest_t_ms, last_bits and end may be read by all, the rest is
 * private. */
struct run {
    int64_t newest_t_ms; /* when the run is not empty, as is the next */
    uint64_t last_bits;  /* of the newest value */
    int32_t step_ms; /* the grid that times are expected on: newest_t_ms - off_ms + step_ms ... */
    int8_t off_ms, last_off_ms; /* how far the newest sample and the one before are behind it */
    uint8_t used;               /* bytes of the last fragment */
    uint8_t flags;
    uint32_t fragment; /* the last one */
    struct run_end end;
};

static inline bool run_is_empty(struct run_end end)
{
    return end.chunk == 0;
}

/* Appends a sample that is newer than the newest. False when out of memory: nothing has changed. */
MUST_USE bool run_add(struct run_pool *p, struct run *r, struct sample s);

/* Ends a run, which begins anew, empty, but expects the times it did before. */
struct run_end run_cut(struct run *r);

/* ---- reading ---- */

/* A copy of the last chunk of a run, the only one that may change. */
struct run_tail {
    struct run_end end;
    int64_t first_t_ms;                /* of the last chunk */
    uint32_t previous;                 /* chunk, 0 without */
    uint8_t bytes[RUN_MAX_BYTES + 32]; /* private */
    uint64_t first_bits;
    int32_t step_ms;
};

void run_tail_copy(const struct run_pool *p, struct run_end end, struct run_tail *tail);

/* Appends the samples in min_t_ms..max_t_ms to out. False when out of memory. */
MUST_USE bool run_read(const struct run_pool *p, const struct run_tail *tail, int64_t min_t_ms,
                       int64_t max_t_ms, struct column *out);

/* Whether a run has a sample at t_ms, and the bits of its value. */
bool run_find(const struct run_pool *p, struct run_end end, int64_t t_ms, uint64_t *bits);

/* Whether a run that is not empty has a sample at or before t_ms. */
bool run_begins_by(const struct run_pool *p, struct run_end end, int64_t t_ms);
