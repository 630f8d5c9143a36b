#include "storage/head.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "storage/head_extra.h"
#include "storage/head_index.h"
#include "storage/head_run.h"
#include "base/banned.h"

enum {
    SHARDS = 64,         /* sample locks, dealt out in stripes of consecutive refs, */
    STRIPE = 64,         /* so that a request, whose refs mostly follow each other, takes few */
    MAX_LOCKED = 256,    /* samples appended before a reader gets its turn */
    LATE_LOOKBACK = 32,  /* late samples compared with a new one to find repeats */
    BLOCK_SERIES = 4096, /* series records are allocated in blocks, so that they never move */
    MAX_BLOCKS = 1 << 20,
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
};

struct block {
    struct series_record records[BLOCK_SERIES];
    struct series_note notes[BLOCK_SERIES];
};

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
    struct head_index *index; /* guarded by index_lock */
    struct block **blocks;    /* grown under index_lock; a published block stays where it is */
    _Atomic uint32_t n_series;
    _Atomic size_t index_bytes;
    struct run_pool
        *pools[2]; /* one takes the open runs' samples, the other has the frozen ones' */
    struct shard shards[SHARDS];
};

static struct series_record *record(const struct head *h, uint32_t ref)
{
    return &h->blocks[ref / BLOCK_SERIES]->records[ref % BLOCK_SERIES];
}

static struct series_note *note(const struct head *h, uint32_t ref)
{
    return &h->blocks[ref / BLOCK_SERIES]->notes[ref % BLOCK_SERIES];
}

static struct shard *shard_of(struct head *h, uint32_t ref)
{
    return &h->shards[ref / STRIPE % SHARDS];
}

/* The first ref of shard number i, and the one after ref in the same shard. */
static uint64_t first_in_shard(uint32_t i)
{
    return (uint64_t)i * STRIPE;
}

static uint64_t next_in_shard(uint64_t ref)
{
    return (ref + 1) % STRIPE ? ref + 1 : ref + 1 + (SHARDS - 1) * STRIPE;
}

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

struct head *head_new(void)
{
    struct head *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);

    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    index_lock_init(&h->index_lock);
    h->index = head_index_new();
    h->blocks =
        calloc(MAX_BLOCKS, sizeof *h->blocks); /* 8 MiB of address space, touched as it fills */
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

static void late_free(struct late *late)
{
    if (!late)
        return;
    free(late->open);
    free(late->frozen);
    free(late);
}

void head_free(struct head *h)
{
    if (!h)
        return;
    for (uint32_t ref = 0; ref < h->n_series; ref++)
        late_free(record(h, ref)->late);
    for (size_t i = 0; h->blocks && i < MAX_BLOCKS && h->blocks[i]; i++)
        free(h->blocks[i]);
    free(h->blocks);
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

static enum errc create(struct head *h, struct labels ls, uint64_t hash, uint32_t *ref,
                        struct err *err)
{
    uint32_t next = h->n_series;
    struct block **block = &h->blocks[next / BLOCK_SERIES];

    if (next / BLOCK_SERIES >= MAX_BLOCKS)
        return err_set(err, ERR_LIMIT, 0, "more than %u series", next);
    if (!*block && !(*block = block_new()))
        return err_set(err, ERR_NOMEM, 0, "no memory for another series");
    if (!head_index_add(h->index, ls, hash, next))
        return err_set(err, ERR_NOMEM, 0, "no memory for the labels of another series");
    h->n_series = next + 1;
    h->index_bytes = head_index_bytes(h->index) + (next + 1) * (sizeof **block / BLOCK_SERIES);
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

size_t head_follow(const struct head *h, uint32_t *last, struct bytes wire)
{
    uint32_t ref, next;
    size_t n;

    if (*last == HEAD_NO_SERIES)
        return 0;
    ref = atomic_load_explicit(&note(h, *last)->followed_by, memory_order_relaxed);
    next = atomic_load_explicit(&note(h, ref)->followed_by, memory_order_relaxed);
    head_index_prefetch(h->index, next);
    n = head_index_follow(h->index, ref, wire);
    if (n)
        *last = ref;
    return n;
}

uint32_t head_recognise(struct head *h, uint32_t *last, struct labels ls, struct buf *key)
{
    _Atomic uint32_t *guess = *last == HEAD_NO_SERIES ? NULL : &note(h, *last)->followed_by;
    uint32_t ref = guess ? atomic_load_explicit(guess, memory_order_relaxed) : HEAD_NO_SERIES;

    if (guess && head_index_is(h->index, ref, ls))
        return *last = ref;
    ref = find(h, ls, key);
    if (ref == HEAD_NO_SERIES)
        return ref;
    if (guess)
        atomic_store_explicit(guess, ref, memory_order_relaxed);
    return *last = ref;
}

enum errc head_resolve(struct head *h, const struct labels *sets, size_t n, uint64_t max_series,
                       uint32_t *refs, struct err *err)
{
    struct buf key = { 0 };
    size_t unknown = 0;
    enum errc rc = OK;

    pthread_rwlock_rdlock(&h->index_lock);
    for (size_t i = 0; i < n; i++) {
        if (sets[i].n == 0 || refs[i] != HEAD_NO_SERIES)
            continue;
        refs[i] = find(h, sets[i], &key);
        unknown += refs[i] == HEAD_NO_SERIES;
    }
    pthread_rwlock_unlock(&h->index_lock);
    if (key.failed)
        rc = err_set(err, ERR_NOMEM, 0, "no memory to look up series");
    if (unknown == 0 || h->n_series >= max_series || rc != OK) {
        buf_free(&key);
        return rc;
    }

    pthread_rwlock_wrlock(&h->index_lock);
    for (size_t i = 0; i < n && rc == OK; i++) {
        uint64_t hash;

        if (sets[i].n == 0 || refs[i] != HEAD_NO_SERIES)
            continue;
        buf_clear(&key);
        labels_encode(&key, sets[i]);
        hash = hash64(key.ptr, key.len);
        refs[i] =
            head_index_find(h->index, sets[i], hash); /* made meanwhile, or twice in this request */
        if (refs[i] == HEAD_NO_SERIES && h->n_series < max_series)
            rc = create(h, sets[i], hash, &refs[i], err);
    }
    pthread_rwlock_unlock(&h->index_lock);
    buf_free(&key);
    return rc;
}

uint32_t head_n_series(const struct head *h)
{
    return atomic_load_explicit(&h->n_series, memory_order_acquire);
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

/* ---- samples ---- */

static enum append_result same_or_not(uint64_t known, double v)
{
    return known == f64_bits(v) ? APPEND_REPEAT : APPEND_DUPLICATE;
}

static bool late_find(const struct sample *s, size_t n, int64_t t_ms, uint64_t *bits)
{
    for (size_t k = 0; k < LATE_LOOKBACK && k < n; k++)
        if (s[n - 1 - k].t_ms == t_ms) {
            *bits = f64_bits(s[n - 1 - k].v);
            return true;
        }
    return false;
}

/* The position of the first sample at or after t_ms. */
static size_t lower_bound(const struct sample *s, size_t n, int64_t t_ms)
{
    size_t lo = 0;

    while (n > 0) {
        size_t half = n / 2;

        if (s[lo + half].t_ms < t_ms) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

static bool sorted_find(const struct sample *s, size_t n, int64_t t_ms, uint64_t *bits)
{
    size_t i = lower_bound(s, n, t_ms);

    if (i == n || s[i].t_ms != t_ms)
        return false;
    *bits = f64_bits(s[i].v);
    return true;
}

static bool find_frozen(const struct shard *shard, const struct series_record *rec, int64_t t_ms,
                        uint64_t *bits)
{
    const struct late *late = rec->late;

    if (late && late->settled)
        return sorted_find(late->frozen, late->n_frozen, t_ms, bits);
    return run_find(shard->frozen_pool, rec->frozen, t_ms, bits)
           || (late && late_find(late->frozen, late->n_frozen, t_ms, bits));
}

/* Looks for a sample at a time that is not after the newest; APPEND_STORED when there is none. */
static enum append_result look_up(const struct shard *shard, const struct series_record *rec,
                                  struct sample s)
{
    const struct late *late = rec->late;
    uint64_t bits;

    if (s.t_ms == rec->open.newest_t_ms)
        return same_or_not(rec->open.last_bits, s.v);
    if (run_find(shard->pool, rec->open.end, s.t_ms, &bits)
        || (late && late_find(late->open, late->n_open, s.t_ms, &bits))
        || find_frozen(shard, rec, s.t_ms, &bits))
        return same_or_not(bits, s.v);
    return APPEND_STORED;
}

static bool add_late(struct shard *shard, struct series_record *rec, struct sample s)
{
    struct late *late = rec->late;
    size_t cap, before;

    if (!late && !(late = rec->late = calloc(1, sizeof *late)))
        return false;
    cap = before = late->cap_open;
    if (!vec_reserve(&late->open, &cap, late->n_open + 1, sizeof s))
        return false;
    late->cap_open = (uint32_t)cap;
    late->open[late->n_open++] = s;
    shard->bytes += (cap - before) * sizeof s;
    return true;
}

static bool add_newest(struct shard *shard, struct series_record *rec, struct sample s)
{
    uint64_t before = run_pool_bytes(shard->pool);
    bool ok = run_add(shard->pool, &rec->open, s);

    shard->bytes += run_pool_bytes(shard->pool) - before;
    return ok;
}

/* Whether there is nothing that a sample could be older than. */
static bool has_no_floats(const struct series_record *rec)
{
    return run_is_empty(rec->open.end) && run_is_empty(rec->frozen)
           && !(rec->late && (rec->late->n_open || rec->late->n_frozen));
}

static bool is_newest(const struct series_record *rec, int64_t t_ms)
{
    return t_ms > rec->open.newest_t_ms || has_no_floats(rec);
}

static void note_sample(struct shard *shard, int64_t t_ms)
{
    shard->samples++;
    shard->min_t_ms = t_ms < shard->min_t_ms ? t_ms : shard->min_t_ms;
    shard->max_t_ms = t_ms > shard->max_t_ms ? t_ms : shard->max_t_ms;
}

static struct bytes find_histogram(const struct shard *shard, uint32_t ref, int64_t t_ms)
{
    struct bytes known = extra_find(&shard->extra, ref, t_ms);

    return known.ptr ? known : extra_find(&shard->frozen_extra, ref, t_ms);
}

/* The part of insert() for series with histograms or start times; APPEND_STORED: go on. */
static enum append_result insert_beside(struct shard *shard, uint32_t ref,
                                        struct series_record *rec, int64_t t_ms, int64_t start_ms,
                                        bool newest)
{
    if (rec->has_extra && find_histogram(shard, ref, t_ms).ptr)
        return APPEND_DUPLICATE;
    rec->has_extra = true;
    return extra_note_float(&shard->extra, ref, t_ms, start_ms, newest, &shard->bytes)
               ? APPEND_STORED
               : APPEND_NOMEM;
}

static enum append_result insert(struct head_appender *a, struct shard *shard, uint32_t ref,
                                 struct sample s, int64_t start_ms)
{
    struct series_record *rec = record(a->head, ref);
    bool newest = is_newest(rec, s.t_ms);
    enum append_result result = APPEND_STORED;

    if (UNLIKELY(!newest))
        result = look_up(shard, rec, s);
    if (result == APPEND_STORED && UNLIKELY(rec->has_extra || start_ms))
        result = insert_beside(shard, ref, rec, s.t_ms, start_ms, newest);
    if (result != APPEND_STORED)
        return result;
    if (!(newest ? add_newest(shard, rec, s) : add_late(shard, rec, s)))
        return APPEND_NOMEM;
    a->late_floats += !newest;
    note_sample(shard, s.t_ms);
    return APPEND_STORED;
}

static enum append_result insert_histogram(struct head_appender *a, struct shard *shard,
                                           uint32_t ref, int64_t t_ms, int64_t start_ms,
                                           struct bytes encoding)
{
    struct series_record *rec = record(a->head, ref);
    bool newest = is_newest(rec, t_ms);
    struct bytes known;

    if (!newest && look_up(shard, rec, (struct sample){ t_ms, 0 }) != APPEND_STORED)
        return APPEND_DUPLICATE;
    known = find_histogram(shard, ref, t_ms);
    if (known.ptr)
        return known.len == encoding.len && memcmp(known.ptr, encoding.ptr, known.len) == 0
                   ? APPEND_REPEAT
                   : APPEND_DUPLICATE;
    rec->has_extra = true;
    if (!extra_add_histogram(&shard->extra, ref, t_ms, start_ms, encoding, &newest, &shard->bytes))
        return APPEND_NOMEM;
    a->late_histograms += !newest;
    note_sample(shard, t_ms);
    return APPEND_STORED;
}

/* A lock taken and released for each sample costs more than the sample: it waits for the store to
 * memory that is in no cache. */
static struct shard *lock_for(struct head_appender *a, uint32_t ref)
{
    struct shard *shard = shard_of(a->head, ref);

    if (shard != a->locked || ++a->n_locked > MAX_LOCKED) {
        head_appender_done(a);
        pthread_mutex_lock(&shard->lock);
        a->locked = shard;
        a->n_locked = 1;
    }
    return shard;
}

enum append_result head_appender_add(struct head_appender *a, uint32_t ref, struct sample s)
{
    return insert(a, lock_for(a, ref), ref, s, 0);
}

enum append_result head_appender_add_started(struct head_appender *a, uint32_t ref, struct sample s,
                                             int64_t start_ms)
{
    return insert(a, lock_for(a, ref), ref, s, start_ms);
}

enum append_result head_appender_add_histogram(struct head_appender *a, uint32_t ref, int64_t t_ms,
                                               int64_t start_ms, struct bytes encoding)
{
    return insert_histogram(a, lock_for(a, ref), ref, t_ms, start_ms, encoding);
}

void head_appender_done(struct head_appender *a)
{
    if (a->locked)
        pthread_mutex_unlock(&a->locked->lock);
    a->locked = NULL;
}

enum append_result head_append(struct head *h, uint32_t ref, struct sample s)
{
    struct head_appender a = { .head = h };
    enum append_result result = head_appender_add(&a, ref, s);

    head_appender_done(&a);
    return result;
}

static void freeze_record(struct series_record *r)
{
    struct late *late = r->late;

    ASSERT(run_is_empty(r->frozen) && !(late && late->frozen));
    r->frozen = run_cut(&r->open);
    if (late) {
        late->frozen = late->open;
        late->n_frozen = late->n_open;
        late->cap_frozen = late->cap_open;
        late->open = NULL;
        late->n_open = late->cap_open = 0;
    }
}

static void freeze_shard(struct shard *s, uint64_t generation)
{
    struct run_pool *pool = s->pool;

    ASSERT(s->frozen_extra.n == 0);
    s->frozen_extra = s->extra;
    s->extra = (struct extra_set){ 0 };
    s->pool = s->frozen_pool;
    s->frozen_pool = pool;
    s->frozen_generation = generation;
    s->frozen_samples = s->samples;
    s->frozen_bytes = s->bytes;
    s->frozen_min_t_ms = s->min_t_ms;
    s->frozen_max_t_ms = s->max_t_ms;
    s->samples = s->bytes = 0;
    s->min_t_ms = INT64_MAX;
    s->max_t_ms = INT64_MIN;
}

void head_freeze(struct head *h, uint64_t generation)
{
    uint32_t n = h->n_series;

    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];

        pthread_mutex_lock(&s->lock);
        for (uint64_t ref = first_in_shard(i); ref < n; ref = next_in_shard(ref))
            freeze_record(record(h, (uint32_t)ref));
        freeze_shard(s, generation);
        pthread_mutex_unlock(&s->lock);
    }
}

static void drop_frozen_late(struct series_record *r)
{
    struct late *late = r->late;

    free(late->frozen);
    late->frozen = NULL;
    late->n_frozen = late->cap_frozen = 0;
    late->settled = false;
    if (!late->open) {
        late_free(late);
        r->late = NULL;
    }
}

void head_drop_frozen(struct head *h)
{
    uint32_t n = h->n_series;

    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];

        pthread_mutex_lock(&s->lock);
        for (uint64_t ref = first_in_shard(i); ref < n; ref = next_in_shard(ref)) {
            struct series_record *r = record(h, (uint32_t)ref);

            r->frozen = (struct run_end){ 0 };
            if (r->late)
                drop_frozen_late(r);
        }
        extra_set_free(&s->frozen_extra);
        s->frozen_generation = s->frozen_samples = s->frozen_bytes = 0;
        s->frozen_min_t_ms = INT64_MAX;
        s->frozen_max_t_ms = INT64_MIN;
        pthread_mutex_unlock(&s->lock);
    }
    run_pool_clear(h->shards[0].frozen_pool); /* all shards have the same, but while they freeze */
}

/* ---- reading ---- */

static bool copy_out(struct column *out, struct sample s, bool *overlaps)
{
    if (out->n && s.t_ms <= out->t_ms[out->n - 1])
        *overlaps = true;
    return column_add(out, s.t_ms, s.v);
}

static bool copy_late(const struct sample *s, size_t n, int64_t min_t_ms, int64_t max_t_ms,
                      struct column *out, bool *overlaps)
{
    for (size_t i = 0; i < n; i++)
        if (s[i].t_ms >= min_t_ms && s[i].t_ms <= max_t_ms && !copy_out(out, s[i], overlaps))
            return false;
    return true;
}

/* The same of samples in order. */
static bool copy_sorted(const struct sample *s, size_t n, int64_t min_t_ms, int64_t max_t_ms,
                        struct column *out, bool *overlaps)
{
    size_t first = lower_bound(s, n, min_t_ms);

    for (size_t i = first; i < n && s[i].t_ms <= max_t_ms; i++)
        if (!copy_out(out, s[i], overlaps))
            return false;
    return true;
}

/* A run that may be read without the shard's lock. */
struct found_run {
    const struct run_pool *pool; /* NULL: the run is empty */
    struct run_tail tail;
};

static void find_run(struct found_run *f, const struct run_pool *pool, struct run_end end)
{
    f->pool = run_is_empty(end) ? NULL : pool;
    if (f->pool)
        run_tail_copy(pool, end, &f->tail);
}

static bool read_run(const struct found_run *f, int64_t min_t_ms, int64_t max_t_ms,
                     struct column *out, bool *overlaps)
{
    size_t before = out->n;

    if (!f->pool)
        return true;
    if (!run_read(f->pool, &f->tail, min_t_ms, max_t_ms, out))
        return false;
    if (before > 0 && out->n > before && out->t_ms[before] <= out->t_ms[before - 1])
        *overlaps = true;
    return true;
}

/* Frozen floats of a series that may have late ones, with the shard locked. */
static bool read_frozen(const struct shard *shard, const struct series_record *rec,
                        int64_t min_t_ms, int64_t max_t_ms, struct column *out, bool *overlaps)
{
    const struct late *late = rec->late;
    struct found_run f;

    if (late && late->settled)
        return copy_sorted(late->frozen, late->n_frozen, min_t_ms, max_t_ms, out, overlaps);
    find_run(&f, shard->frozen_pool, rec->frozen);
    return read_run(&f, min_t_ms, max_t_ms, out, overlaps)
           && (!late || copy_late(late->frozen, late->n_frozen, min_t_ms, max_t_ms, out, overlaps));
}

static bool read_open(const struct shard *shard, const struct series_record *rec, int64_t min_t_ms,
                      int64_t max_t_ms, struct column *out, bool *overlaps)
{
    const struct late *late = rec->late;
    struct found_run f;

    find_run(&f, shard->pool, rec->open.end);
    return read_run(&f, min_t_ms, max_t_ms, out, overlaps)
           && (!late || copy_late(late->open, late->n_open, min_t_ms, max_t_ms, out, overlaps));
}

/* Reads a series of which not everything is in its runs, with the shard locked. */
static bool read_all(const struct shard *shard, uint32_t ref, const struct series_record *rec,
                     int64_t min_t_ms, int64_t max_t_ms, bool frozen, struct column *out,
                     bool *overlaps)
{
    size_t from = out->n;

    if (frozen
        && (!read_frozen(shard, rec, min_t_ms, max_t_ms, out, overlaps)
            || !extra_read(&shard->frozen_extra, ref, min_t_ms, max_t_ms, out, from, overlaps)))
        return false;
    from = out->n;
    return read_open(shard, rec, min_t_ms, max_t_ms, out, overlaps)
           && extra_read(&shard->extra, ref, min_t_ms, max_t_ms, out, from, overlaps);
}

enum errc head_read(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                    uint64_t after, struct column *out, bool *overlaps)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    struct found_run frozen = { .pool = NULL }, open = { .pool = NULL };
    bool has_frozen, ok = true;

    pthread_mutex_lock(&shard->lock);
    has_frozen = shard->frozen_generation > after;
    if (r->late || r->has_extra) {
        ok = read_all(shard, ref, r, min_t_ms, max_t_ms, has_frozen, out, overlaps);
    } else {
        if (has_frozen)
            find_run(&frozen, shard->frozen_pool, r->frozen);
        find_run(&open, shard->pool, r->open.end);
    }
    pthread_mutex_unlock(&shard->lock);
    ok = ok && read_run(&frozen, min_t_ms, max_t_ms, out, overlaps)
         && read_run(&open, min_t_ms, max_t_ms, out, overlaps);
    return ok ? OK : ERR_NOMEM;
}

bool head_newest(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                 struct sample *out)
{
    struct shard *shard = shard_of(h, ref);
    const struct series_record *r = record(h, ref);
    bool found;

    pthread_mutex_lock(&shard->lock);
    found = !r->late && !r->has_extra && !run_is_empty(r->open.end)
            && r->open.newest_t_ms >= min_t_ms && r->open.newest_t_ms <= max_t_ms;
    if (found)
        *out = (struct sample){ r->open.newest_t_ms, f64_from_bits(r->open.last_bits) };
    pthread_mutex_unlock(&shard->lock);
    return found;
}

static bool run_may_have(const struct run_pool *pool, struct run_end end, int64_t newest_t_ms,
                         int64_t min_t_ms, int64_t max_t_ms)
{
    return !run_is_empty(end) && newest_t_ms >= min_t_ms
           && (newest_t_ms <= max_t_ms || run_begins_by(pool, end, max_t_ms));
}

static bool may_have(const struct shard *shard, uint32_t ref, const struct series_record *r,
                     int64_t min_t_ms, int64_t max_t_ms)
{
    return (r->late && r->late->n_open)
           || run_may_have(shard->pool, r->open.end, r->open.newest_t_ms, min_t_ms, max_t_ms)
           || (r->has_extra && extra_has(&shard->extra, ref, min_t_ms, max_t_ms));
}

static bool frozen_may_have(const struct shard *shard, uint32_t ref, const struct series_record *r,
                            int64_t min_t_ms, int64_t max_t_ms)
{
    return (r->late && r->late->n_frozen)
           || run_may_have(shard->frozen_pool, r->frozen, r->open.newest_t_ms, min_t_ms, max_t_ms)
           || (r->has_extra && extra_has(&shard->frozen_extra, ref, min_t_ms, max_t_ms));
}

bool head_has_samples(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                      uint64_t after)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    bool has;

    pthread_mutex_lock(&shard->lock);
    has =
        may_have(shard, ref, r, min_t_ms, max_t_ms)
        || (shard->frozen_generation > after && frozen_may_have(shard, ref, r, min_t_ms, max_t_ms));
    pthread_mutex_unlock(&shard->lock);
    return has;
}

/* ---- for the flusher ---- */

/* Merges the late samples of a frozen run into the others, in memory of its own: readers go on
 * meanwhile. False when out of memory. */
static bool settle(struct shard *shard, struct series_record *r)
{
    struct late *late = r->late;
    struct column c = { 0 };
    struct sample *all, *old = late->frozen;
    bool overlaps = false, ok = read_frozen(shard, r, INT64_MIN, INT64_MAX, &c, &overlaps);
    size_t n = c.n; /* with repeats that were not noticed */

    ok = ok && column_normalise(&c) && (all = malloc(c.n * sizeof *all));
    if (ok) {
        for (size_t i = 0; i < c.n; i++)
            all[i] = (struct sample){ c.t_ms[i], c.v[i] };
        pthread_mutex_lock(&shard->lock);
        shard->frozen_samples -= n - c.n;
        shard->frozen_bytes += (c.n - late->cap_frozen) * sizeof *all;
        late->frozen = all;
        late->n_frozen = late->cap_frozen = (uint32_t)c.n;
        late->settled = true;
        pthread_mutex_unlock(&shard->lock);
        free(old);
    }
    column_free(&c);
    return ok;
}

/* Whether a series has frozen samples, and late ones among them. */
static bool has_frozen_samples(struct shard *shard, uint32_t ref, const struct series_record *r,
                               bool *unsettled)
{
    bool has;

    pthread_mutex_lock(&shard->lock);
    *unsettled = r->late && r->late->n_frozen && !r->late->settled;
    has = frozen_may_have(shard, ref, r, INT64_MIN, INT64_MAX);
    pthread_mutex_unlock(&shard->lock);
    return has;
}

enum errc head_settle_frozen(struct head *h, uint32_t **refs, size_t *n)
{
    uint32_t n_series = h->n_series;
    uint32_t *found = malloc(((size_t)n_series + 1) * sizeof *found);

    *n = 0;
    for (uint32_t ref = 0; found && ref < n_series; ref++) {
        bool unsettled;

        if (!has_frozen_samples(shard_of(h, ref), ref, record(h, ref), &unsettled))
            continue;
        found[(*n)++] = ref;
        if (unsettled && !settle(shard_of(h, ref), record(h, ref))) {
            free(found);
            found = NULL;
        }
    }
    if (!found)
        return ERR_NOMEM;
    pthread_rwlock_rdlock(&h->index_lock);
    head_index_sort(h->index, found, *n);
    pthread_rwlock_unlock(&h->index_lock);
    *refs = found;
    return OK;
}

enum errc head_read_frozen(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                           struct column *out)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    const struct sample *settled = NULL;
    struct found_run run = { .pool = NULL };
    bool overlaps = false, has_extra, ok;
    size_t n = 0;

    column_clear(out);
    pthread_mutex_lock(&shard->lock);
    has_extra = r->has_extra;
    if (r->late && r->late->settled) {
        settled = r->late->frozen;
        n = r->late->n_frozen;
    } else {
        ASSERT(!r->late || r->late->n_frozen == 0);
        find_run(&run, shard->frozen_pool, r->frozen);
    }
    pthread_mutex_unlock(&shard->lock);
    ok = settled ? copy_sorted(settled, n, min_t_ms, max_t_ms, out, &overlaps)
                 : read_run(&run, min_t_ms, max_t_ms, out, &overlaps);
    if (ok && has_extra) /* what is frozen does not change */
        ok = extra_read(&shard->frozen_extra, ref, min_t_ms, max_t_ms, out, 0, &overlaps);
    return ok && (!overlaps || column_normalise(out)) ? OK : ERR_NOMEM;
}

void head_stats(struct head *h, struct head_stats *out)
{
    *out = (struct head_stats){ .series = h->n_series,
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
