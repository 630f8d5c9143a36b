/* head.c -- the series of the head: finding, making and removing them. */
#include "storage/head.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/vec.h"
#include "storage/head_private.h"
#include "base/banned.h"

static void shard_init(struct shard *s, struct run_pool *pool, struct run_pool *frozen_pool)
{
    pthread_mutex_init(&s->lock, NULL);
    s->pool = pool;
    s->frozen_pool = frozen_pool;
    s->min_t_ms = s->frozen_min_t_ms = INT64_MAX;
    s->max_t_ms = s->frozen_max_t_ms = INT64_MIN;
}

/* Somebody reads it nearly always: new series must not wait until nobody does. */
static void index_lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

/* 512 MiB of address space, touched as it fills. */
static struct block **blocks_new(void)
{
    void *p = mmap(NULL, MAX_BLOCKS * sizeof(struct block *), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

struct head *head_new(void)
{
    struct head *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);

    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    index_lock_init(&h->index_lock);
    h->index = head_index_new();
    h->blocks = blocks_new();
    h->flushed_t_ms = INT64_MIN;
    h->pools[0] = run_pool_new();
    h->pools[1] = run_pool_new();
    for (size_t i = 0; i < SHARDS; i++)
        shard_init(&h->shards[i], h->pools[0], h->pools[1]);
    if (!h->index || !h->blocks || !h->pools[0] || !h->pools[1]) {
        head_free(h);
        return NULL;
    }
    return h;
}

static void block_free(struct block *b)
{
    for (size_t i = 0; b && i < BLOCK_SERIES; i++)
        late_free(b->records[i].late);
    free(b);
}

void head_free(struct head *h)
{
    if (!h)
        return;
    for (uint64_t ref = 0; h->blocks && ref < h->n_series + (uint64_t)BLOCK_SERIES;
         ref += BLOCK_SERIES)
        block_free(block_of(h, ref));
    if (h->blocks)
        munmap(h->blocks, MAX_BLOCKS * sizeof *h->blocks);
    free(h->doomed);
    head_index_free(h->index);
    run_pool_free(h->pools[0]);
    run_pool_free(h->pools[1]);
    pthread_rwlock_destroy(&h->index_lock);
    for (size_t i = 0; i < SHARDS; i++) {
        extra_set_free(&h->shards[i].extra);
        extra_set_free(&h->shards[i].frozen_extra);
        pthread_mutex_destroy(&h->shards[i].lock);
    }
    free(h);
}

/* ---- series ---- */

/* Aligned, so that a record has a cache line to itself. */
static struct block *block_new(void)
{
    struct block *b = aligned_alloc(64, sizeof *b);

    _Static_assert(sizeof *b % 64 == 0, "as aligned_alloc() wants it");
    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

/* Whoever finds a series says so: while it is used, no sweep takes it out. */
static void mark_used(struct head *h, uint32_t ref)
{
    uint32_t tick = atomic_load_explicit(&h->tick, memory_order_relaxed);
    _Atomic uint32_t *used_at = &note(h, ref)->used_at;

    if (atomic_load_explicit(used_at, memory_order_relaxed) != tick)
        atomic_store_explicit(used_at, tick, memory_order_relaxed);
}

static void note_index_bytes(struct head *h)
{
    h->index_bytes = head_index_bytes(h->index) + h->n_blocks * sizeof(struct block);
}

static enum errc create(struct head *h, struct labels ls, uint64_t hash, uint32_t *ref,
                        struct err *err)
{
    uint32_t next = h->n_series;
    struct block **block = &h->blocks[next / BLOCK_SERIES];

    if (next == HEAD_NO_SERIES)
        return err_set(err, ERR_LIMIT, 0,
                       "%u series have been made since the start: restart to make more", next);
    if (!*block) {
        if (!(*block = block_new()))
            return err_set(err, ERR_NOMEM, 0, "no memory for another series");
        h->n_blocks++;
    }
    if (!head_index_add(h->index, ls, hash, next))
        return err_set(err, ERR_NOMEM, 0, "no memory for the labels of another series");
    (*block)->n_live++;
    mark_used(h, next);
    h->n_series = next + 1;
    h->n_live++;
    note_index_bytes(h);
    *ref = next;
    return OK;
}

/* By hash, under index_lock; key is scratch. */
static uint32_t find(const struct head *h, struct labels ls, struct buf *key)
{
    buf_clear(key);
    labels_encode(key, ls);
    return head_index_find(h->index, ls, hash64(key->ptr, key->len));
}

size_t head_follow(struct head *h, uint32_t *last, struct bytes wire)
{
    uint32_t ref;
    size_t n;

    if (*last == HEAD_NO_SERIES)
        return 0;
    ref = atomic_load_explicit(&note(h, *last)->followed_by, memory_order_relaxed);
    n = head_index_follow(h->index, ref, wire);
    if (n == 0)
        return 0;
    *last = ref;
    mark_used(h, ref);
    head_index_prefetch(h->index,
                        atomic_load_explicit(&note(h, ref)->followed_by, memory_order_relaxed));
    return n;
}

uint32_t head_recognise(struct head *h, uint32_t *last, struct labels ls, struct buf *key)
{
    _Atomic uint32_t *guess = *last == HEAD_NO_SERIES ? NULL : &note(h, *last)->followed_by;
    uint32_t ref = guess ? atomic_load_explicit(guess, memory_order_relaxed) : HEAD_NO_SERIES;

    if (!guess || !head_index_is(h->index, ref, ls)) {
        ref = find(h, ls, key);
        if (ref == HEAD_NO_SERIES)
            return ref;
        if (guess)
            atomic_store_explicit(guess, ref, memory_order_relaxed);
    }
    mark_used(h, ref);
    return *last = ref;
}

/* The hashes of the sets that are to be looked up, malloc'd; NULL when out of memory. */
static uint64_t *hash_sets(const struct labels *sets, size_t n, const uint32_t *refs)
{
    uint64_t *hashes = malloc((n + 1) * sizeof *hashes);
    struct buf key = { 0 };

    for (size_t i = 0; hashes && i < n; i++) {
        if (sets[i].n == 0 || refs[i] != HEAD_NO_SERIES)
            continue;
        buf_clear(&key);
        labels_encode(&key, sets[i]);
        if (key.failed) {
            free(hashes);
            hashes = NULL;
            break;
        }
        hashes[i] = hash64(key.ptr, key.len);
    }
    buf_free(&key);
    return hashes;
}

/* Looks up what is not known; how many are not found. Under index_lock. */
static size_t find_all(struct head *h, const struct labels *sets, const uint64_t *hashes, size_t n,
                       uint32_t *refs)
{
    size_t unknown = 0;

    for (size_t i = 0; i < n; i++)
        if (sets[i].n > 0 && refs[i] == HEAD_NO_SERIES)
            head_index_prefetch_hash(h->index, hashes[i]);
    for (size_t i = 0; i < n; i++) {
        if (sets[i].n == 0 || refs[i] != HEAD_NO_SERIES)
            continue;
        refs[i] = head_index_find(h->index, sets[i], hashes[i]);
        if (refs[i] == HEAD_NO_SERIES)
            unknown++;
        else
            mark_used(h, refs[i]);
    }
    return unknown;
}

enum errc head_resolve(struct head *h, const struct labels *sets, size_t n, uint64_t max_series,
                       uint32_t *refs, struct err *err)
{
    uint64_t *hashes = hash_sets(sets, n, refs);
    enum errc rc = OK;
    size_t unknown;

    if (!hashes)
        return err_set(err, ERR_NOMEM, 0, "no memory to look up series");
    pthread_rwlock_rdlock(&h->index_lock);
    unknown = find_all(h, sets, hashes, n, refs);
    pthread_rwlock_unlock(&h->index_lock);
    if (unknown == 0 || h->n_live >= max_series) {
        free(hashes);
        return OK;
    }

    pthread_rwlock_wrlock(&h->index_lock);
    for (size_t i = 0; i < n && rc == OK; i++) {
        if (sets[i].n == 0 || refs[i] != HEAD_NO_SERIES)
            continue;
        refs[i] = head_index_find(h->index, sets[i],
                                  hashes[i]); /* made meanwhile, or twice in this request */
        if (refs[i] != HEAD_NO_SERIES)
            mark_used(h, refs[i]);
        else if (h->n_live < max_series)
            rc = create(h, sets[i], hashes[i], &refs[i], err);
    }
    pthread_rwlock_unlock(&h->index_lock);
    free(hashes);
    return rc;
}

enum errc head_define(struct head *h, struct labels ls, struct bytes encoded, uint32_t *ref,
                      struct err *err)
{
    uint64_t hash = hash64(encoded.ptr, encoded.len);
    enum errc rc = OK;

    pthread_rwlock_wrlock(&h->index_lock);
    *ref = head_index_find(h->index, ls, hash);
    if (*ref == HEAD_NO_SERIES)
        rc = create(h, ls, hash, ref, err);
    else
        mark_used(h, *ref);
    pthread_rwlock_unlock(&h->index_lock);
    return rc;
}

uint32_t head_n_series(const struct head *h)
{
    return atomic_load_explicit(&h->n_series, memory_order_acquire);
}

/* ---- removing series that have ended ---- */

uint32_t head_enter(struct head *h)
{
    for (;;) {
        uint32_t tick = h->tick;

        h->users[tick % USERS]++;
        if (h->tick == tick)
            return tick;
        h->users[tick % USERS]--;
    }
}

void head_leave(struct head *h, uint32_t ticket)
{
    h->users[ticket % USERS]--;
}

uint32_t head_tick(const struct head *h)
{
    return h->tick;
}

bool head_keep(struct head *h, const uint32_t *refs, size_t n, uint32_t found_at)
{
    bool ok;

    pthread_rwlock_rdlock(&h->index_lock);
    ok = h->tick - found_at < IDLE_SWEEPS;
    for (size_t i = 0; ok && i < n; i++)
        if (refs[i] != HEAD_NO_SERIES)
            mark_used(h, refs[i]);
    pthread_rwlock_unlock(&h->index_lock);
    return ok;
}

static bool is_unused(const struct head *h, uint32_t ref)
{
    return h->tick - atomic_load_explicit(&note(h, ref)->used_at, memory_order_relaxed)
           >= IDLE_SWEEPS;
}

/* Fills refs[] with the series that are there, unused and without samples; returns their number. */
static size_t find_ended(struct head *h, uint32_t *refs)
{
    size_t n = 0;

    for (uint32_t ref = 0; ref < h->n_series; ref++)
        if (block_of(h, ref) && head_index_has(h->index, ref) && is_unused(h, ref)
            && !head_series_has_samples(h, ref))
            refs[n++] = ref;
    return n;
}

/* Those that had ended before and still are unused leave; nobody can have begun to use them, since that takes
 * the lock. */
static bool remove_ended(struct head *h, const uint32_t *refs, size_t n)
{
    if (!vec_reserve(&h->doomed, &h->cap_doomed, n, sizeof *h->doomed)
        || !head_index_remove(h->index, refs, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct block *b = block_of(h, refs[i]);

        if (--b->n_live == 0
            && (refs[i] / BLOCK_SERIES + 1) * (uint64_t)BLOCK_SERIES <= h->n_series)
            h->doomed[h->n_doomed++] = refs[i] / BLOCK_SERIES;
    }
    h->n_live -= (uint32_t)n;
    h->n_removals++;
    note_index_bytes(h);
    return true;
}

/* Frees what the sweep before has left because somebody might still have looked at it. */
static void reap(struct head *h)
{
    pthread_rwlock_wrlock(&h->index_lock);
    head_index_reap(h->index);
    for (; h->n_doomed > 0; h->n_blocks--) {
        struct block **b = &h->blocks[h->doomed[--h->n_doomed]];

        block_free(*b);
        *b = NULL;
    }
    pthread_rwlock_unlock(&h->index_lock);
}

size_t head_sweep(struct head *h)
{
    uint32_t *refs;
    size_t n, unused = 0;

    for (uint32_t i = 1; i < USERS; i++)
        if (h->users[(h->tick + i) % USERS] > 0) /* of ticks before this one */
            return 0;
    reap(h);
    h->tick++;
    refs = malloc(((size_t)h->n_series + 1) * sizeof *refs);
    if (!refs)
        return 0;
    pthread_rwlock_rdlock(&h->index_lock);
    n = find_ended(h, refs);
    pthread_rwlock_unlock(&h->index_lock);
    pthread_rwlock_wrlock(&h->index_lock);
    for (size_t i = 0; i < n; i++)
        if (is_unused(h, refs[i]))
            refs[unused++] = refs[i];
    if (unused > 0 && !remove_ended(h, refs, unused))
        unused = 0;
    pthread_rwlock_unlock(&h->index_lock);
    free(refs);
    return unused;
}

uint64_t head_removals(const struct head *h)
{
    return h->n_removals;
}

enum errc head_labels(struct head *h, uint32_t ref, struct arena *a, struct labels *out,
                      struct err *err)
{
    *out = head_index_labels(h->index, ref, a);
    if (!out->items)
        return err_set(err, ERR_LIMIT, 0, "series labels need more than %zu bytes of memory",
                       arena_limit(a));
    return OK;
}

uint64_t head_labels_hash(const struct head *h, uint32_t ref)
{
    return head_index_hash(h->index, ref);
}

uint64_t head_defined_in(const struct head *h, uint32_t ref)
{
    return atomic_load_explicit(&note(h, ref)->defined_in, memory_order_acquire);
}

void head_set_defined_in(struct head *h, uint32_t ref, uint64_t generation)
{
    atomic_store_explicit(&note(h, ref)->defined_in, generation, memory_order_release);
}

void head_lock_index(struct head *h)
{
    pthread_rwlock_rdlock(&h->index_lock);
}

void head_unlock_index(struct head *h)
{
    pthread_rwlock_unlock(&h->index_lock);
}

struct index_source head_index(struct head *h)
{
    return head_index_source(h->index);
}

void head_each_name(struct head *h, bool (*fn)(void *ctx, struct str name), void *ctx)
{
    head_index_each_name(h->index, fn, ctx);
}

void head_stats(struct head *h, struct head_stats *out)
{
    *out = (struct head_stats){ .series = h->n_live,
                                .index_bytes = h->index_bytes,
                                .min_t_ms = INT64_MAX,
                                .max_t_ms = INT64_MIN };
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];

        pthread_mutex_lock(&s->lock);
        out->samples += s->samples + s->frozen_samples;
        out->bytes += s->bytes + s->frozen_bytes;
        out->min_t_ms = s->min_t_ms < out->min_t_ms ? s->min_t_ms : out->min_t_ms;
        out->max_t_ms = s->max_t_ms > out->max_t_ms ? s->max_t_ms : out->max_t_ms;
        out->min_t_ms = s->frozen_min_t_ms < out->min_t_ms ? s->frozen_min_t_ms : out->min_t_ms;
        out->max_t_ms = s->frozen_max_t_ms > out->max_t_ms ? s->frozen_max_t_ms : out->max_t_ms;
        pthread_mutex_unlock(&s->lock);
    }
}
