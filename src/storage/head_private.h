/* head_private.h -- the inside of a head, shared by head.c (series) and head_samples.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/head.h"
#include "storage/head_extra.h"
#include "storage/head_index.h"
#include "storage/head_run.h"

enum {
    SHARDS = 64,           /* sample locks, dealt out in stripes of consecutive refs, */
    STRIPE = 64,           /* so that a request, whose refs mostly follow each other, takes few */
    MAX_LOCKED = 256,      /* samples appended before a reader gets its turn */
    LATE_LOOKBACK = 32,    /* late samples compared with a new one to find repeats */
    BLOCK_SERIES = STRIPE, /* series records are allocated in blocks, so that they never move */
    MAX_BLOCKS = 1 << 26,
    IDLE_SWEEPS = 2, /* unused between two sweeps: idle */
    USERS = 4,       /* counters of appends, by the tick they began at */
};

/* Samples that came after newer ones. Few series have any. */
struct late {
    struct sample *open; /* in order of arrival */
    struct sample *frozen;
    uint32_t n_open, cap_open, n_frozen, cap_frozen;
    bool settled; /* frozen is in order, and holds the samples of the frozen run as well */
};

/* One cache line, guarded by the shard's lock. While there is a frozen run, open.newest_t_ms is not
 * older than its newest sample, even if the open run is empty. */
struct series_record {
    struct run open;
    struct run_end frozen;
    struct late *late; /* NULL without */
    bool has_extra;    /* it had a histogram or start time once */
};
_Static_assert(sizeof(struct series_record) <= 64, "appending touches one cache line of it");

/* What those who resolve series note about one. */
struct series_note {
    _Atomic uint64_t defined_in;
    _Atomic uint32_t followed_by; /* a guess: what came next when this one was last sent */
    _Atomic uint32_t used_at;     /* the tick at which it was last found or made */
};

struct block {
    struct series_record records[BLOCK_SERIES];
    struct series_note notes[BLOCK_SERIES];
    uint32_t n_live; /* guarded by index_lock */
} __attribute__((aligned(64)));

struct shard {
    pthread_mutex_t lock;
    /* guarded by lock: */
    uint64_t samples, bytes, frozen_samples, frozen_bytes;
    struct extra_set extra, frozen_extra;
    struct run_pool *pool, *frozen_pool;      /* of all shards alike, but during a freeze */
    uint64_t frozen_generation;               /* 0 without frozen runs */
    int64_t min_t_ms, max_t_ms;               /* of the open runs */
    int64_t frozen_min_t_ms, frozen_max_t_ms; /* of the frozen ones */
} __attribute__((aligned(64)));

struct head {
    pthread_rwlock_t index_lock;
    struct head_index *index;     /* guarded by index_lock */
    struct block **blocks;        /* grown under index_lock; a published block stays where it is */
    _Atomic int64_t flushed_t_ms; /* no sample that has left, or is frozen, is newer */
    _Atomic uint32_t n_series;    /* refs handed out */
    _Atomic uint32_t n_live;      /* of them not removed */
    size_t n_blocks;              /* guarded by index_lock */
    _Atomic uint32_t tick;        /* sweeps so far */
    _Atomic uint64_t n_removals;
    _Atomic uint32_t users[USERS]; /* appends under way */
    uint32_t *doomed; /* blocks without series: freed by the next sweep; the sweeper's */
    size_t n_doomed, cap_doomed;
    _Atomic size_t index_bytes;
    struct run_pool
        *pools[2]; /* one takes the open runs' samples, the other has the frozen ones' */
    struct shard shards[SHARDS];
};

static inline struct series_record *record(const struct head *h, uint32_t ref)
{
    return &h->blocks[ref / BLOCK_SERIES]->records[ref % BLOCK_SERIES];
}

static inline struct series_note *note(const struct head *h, uint32_t ref)
{
    return &h->blocks[ref / BLOCK_SERIES]->notes[ref % BLOCK_SERIES];
}

/* NULL when all series around ref have been removed. */
static inline struct block *block_of(const struct head *h, uint64_t ref)
{
    return h->blocks[ref / BLOCK_SERIES];
}

static inline struct shard *shard_of(struct head *h, uint32_t ref)
{
    return &h->shards[ref / STRIPE % SHARDS];
}

void late_free(struct late *late); /* NULL is fine */

/* Whether it has samples in memory, open or frozen. */
bool head_series_has_samples(struct head *h, uint32_t ref);
