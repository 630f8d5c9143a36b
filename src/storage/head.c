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
#include "base/banned.h"

enum {
    SHARDS = 64,         /* sample locks, dealt out in stripes of consecutive refs, */
    STRIPE = 64,         /* so that a request, whose refs mostly follow each other, takes few */
    MAX_LOCKED = 256,    /* samples appended before a reader gets its turn */
    LATE_LOOKBACK = 32,  /* late samples compared with a new one to find repeats */
    BLOCK_SERIES = 4096, /* series records are allocated in blocks, so that they never move */
    MAX_BLOCKS = 1 << 20,
};

struct run {
    struct sample *samples; /* each newer than all before it */
    struct sample *late;    /* the others, in order of arrival; none once a frozen run is settled */
    uint32_t n, cap, n_late, cap_late;
    int64_t newest_t_ms; /* of samples when n > 0; saves looking there, where no cache reaches */
};

struct series_record {
    struct run open, frozen; /* guarded by the shard's lock */
    _Atomic uint64_t defined_in;
    _Atomic uint32_t followed_by; /* a guess: what came next when this one was last sent */
    bool has_extra; /* it had a histogram or start time once; guarded by the shard's lock */
};

struct shard {
    pthread_mutex_t lock;
    /* guarded by lock: */
    uint64_t samples, bytes, frozen_samples, frozen_bytes;
    uint64_t frozen_generation; /* 0 without frozen runs */
    struct extra_set extra, frozen_extra;
    int64_t min_t_ms, max_t_ms;               /* of the open runs */
    int64_t frozen_min_t_ms, frozen_max_t_ms; /* of the frozen ones */
} __attribute__((aligned(64)));

struct head {
    pthread_rwlock_t index_lock;
    struct head_index *index;      /* guarded by index_lock */
    struct series_record **blocks; /* grown under index_lock; a published block stays where it is */
    _Atomic uint32_t n_series;
    _Atomic size_t index_bytes;
    struct shard shards[SHARDS];
};

static struct series_record *record(const struct head *h, uint32_t ref)
{
    return &h->blocks[ref / BLOCK_SERIES][ref % BLOCK_SERIES];
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

struct head *head_new(void)
{
    struct head *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);

    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    h->index = head_index_new();
    h->blocks =
        calloc(MAX_BLOCKS, sizeof *h->blocks); /* 8 MiB of address space, touched as it fills */
    if (!h->index || !h->blocks) {
        head_index_free(h->index);
        free(h->blocks);
        free(h);
        return NULL;
    }
    pthread_rwlock_init(&h->index_lock, NULL);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&h->shards[i].lock, NULL);
        h->shards[i].min_t_ms = h->shards[i].frozen_min_t_ms = INT64_MAX;
        h->shards[i].max_t_ms = h->shards[i].frozen_max_t_ms = INT64_MIN;
    }
    return h;
}

static void run_free(struct run *r)
{
    free(r->samples);
    free(r->late);
    *r = (struct run){ 0 };
}

void head_free(struct head *h)
{
    if (!h)
        return;
    for (uint32_t ref = 0; ref < h->n_series; ref++) {
        run_free(&record(h, ref)->open);
        run_free(&record(h, ref)->frozen);
    }
    for (size_t i = 0; i < MAX_BLOCKS && h->blocks[i]; i++)
        free(h->blocks[i]);
    free(h->blocks);
    head_index_free(h->index);
    pthread_rwlock_destroy(&h->index_lock);
    for (size_t i = 0; i < SHARDS; i++) {
        extra_set_free(&h->shards[i].extra);
        extra_set_free(&h->shards[i].frozen_extra);
        pthread_mutex_destroy(&h->shards[i].lock);
    }
    free(h);
}

/* ---- series ---- */

static enum errc create(struct head *h, struct labels ls, uint64_t hash, uint32_t *ref,
                        struct err *err)
{
    uint32_t next = h->n_series;
    struct series_record **block = &h->blocks[next / BLOCK_SERIES];

    if (next / BLOCK_SERIES >= MAX_BLOCKS)
        return err_set(err, ERR_LIMIT, 0, "more than %u series", next);
    if (!*block && !(*block = calloc(BLOCK_SERIES, sizeof **block)))
        return err_set(err, ERR_NOMEM, 0, "no memory for another series");
    if (!head_index_add(h->index, ls, hash, next))
        return err_set(err, ERR_NOMEM, 0, "no memory for the labels of another series");
    h->n_series = next + 1;
    h->index_bytes = head_index_bytes(h->index) + (next + 1) * sizeof **block;
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

static uint32_t recognise(const struct head *h, struct labels ls, uint32_t before, struct buf *key)
{
    _Atomic uint32_t *guess;
    uint32_t ref;

    if (before == HEAD_NO_SERIES)
        return find(h, ls, key);
    guess = &record(h, before)->followed_by;
    ref = atomic_load_explicit(guess, memory_order_relaxed);
    if (!head_index_is(h->index, ref, ls)) {
        ref = find(h, ls, key);
        if (ref != HEAD_NO_SERIES)
            atomic_store_explicit(guess, ref, memory_order_relaxed);
    }
    return ref;
}

void head_recognise(struct head *h, const struct labels *sets, size_t n, uint32_t *refs)
{
    /* should it fail to grow, series are not recognised, and head_resolve() says so */
    struct buf key = { 0 };
    uint32_t before = HEAD_NO_SERIES;

    pthread_rwlock_rdlock(&h->index_lock);
    for (size_t i = 0; i < n; i++)
        before = refs[i] = recognise(h, sets[i], before, &key);
    pthread_rwlock_unlock(&h->index_lock);
    buf_free(&key);
}

enum errc head_resolve(struct head *h, const struct labels *sets, size_t n, bool may_create,
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
    if (unknown == 0 || !may_create || rc != OK) {
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
        if (refs[i] == HEAD_NO_SERIES)
            rc = create(h, sets[i], hash, &refs[i], err);
    }
    pthread_rwlock_unlock(&h->index_lock);
    buf_free(&key);
    return rc;
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
    return atomic_load_explicit(&record(h, ref)->defined_in, memory_order_acquire);
}

void head_set_defined_in(struct head *h, uint32_t ref, uint64_t generation)
{
    atomic_store_explicit(&record(h, ref)->defined_in, generation, memory_order_release);
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

static enum append_result same_or_not(double known, double v)
{
    return f64_bits(known) == f64_bits(v) ? APPEND_REPEAT : APPEND_DUPLICATE;
}

/* Looks for a sample at the same time among those the run knows; APPEND_STORED when there is none.
 */
static enum append_result look_up(const struct run *r, struct sample s)
{
    size_t i = lower_bound(r->samples, r->n, s.t_ms);

    if (i < r->n && r->samples[i].t_ms == s.t_ms)
        return same_or_not(r->samples[i].v, s.v);
    for (size_t k = 0; k < LATE_LOOKBACK && k < r->n_late; k++)
        if (r->late[r->n_late - 1 - k].t_ms == s.t_ms)
            return same_or_not(r->late[r->n_late - 1 - k].v, s.v);
    return APPEND_STORED;
}

static bool push(struct sample **items, uint32_t *n, uint32_t *cap, struct sample s,
                 uint64_t *bytes)
{
    if (UNLIKELY(*n == *cap)) {
        uint32_t want = *cap < 8 ? 8 : *cap + *cap / 2;
        struct sample *p = want > *cap ? realloc(*items, want * sizeof *p) : NULL;

        if (!p)
            return false;
        *bytes += (want - *cap) * sizeof *p;
        *items = p;
        *cap = want;
    }
    (*items)[(*n)++] = s;
    return true;
}

static void note_sample(struct shard *shard, int64_t t_ms)
{
    shard->samples++;
    shard->min_t_ms = t_ms < shard->min_t_ms ? t_ms : shard->min_t_ms;
    shard->max_t_ms = t_ms > shard->max_t_ms ? t_ms : shard->max_t_ms;
}

/* Looks for a float at the same time, open or frozen. */
static enum append_result look_up_float(const struct series_record *rec, struct sample s)
{
    const struct run *open = &rec->open, *frozen = &rec->frozen;
    enum append_result known = APPEND_STORED;

    if (open->n && s.t_ms <= open->newest_t_ms)
        known = look_up(open, s);
    if (known == APPEND_STORED && frozen->n && s.t_ms <= frozen->newest_t_ms)
        known = look_up(frozen, s);
    return known;
}

static enum append_result insert(struct shard *shard, uint32_t ref, struct series_record *rec,
                                 struct sample s, int64_t start_ms)
{
    struct run *open = &rec->open;
    bool newest = open->n == 0 || s.t_ms > open->newest_t_ms;
    enum append_result known = look_up_float(rec, s);

    if (known != APPEND_STORED)
        return known;
    if (UNLIKELY(rec->has_extra)
        && (extra_find(&shard->extra, ref, s.t_ms).ptr
            || extra_find(&shard->frozen_extra, ref, s.t_ms).ptr))
        return APPEND_DUPLICATE;
    if (UNLIKELY(rec->has_extra || start_ms)) {
        rec->has_extra = true;
        if (!extra_note_float(&shard->extra, ref, s.t_ms, start_ms, newest, &shard->bytes))
            return APPEND_NOMEM;
    }
    if (!(newest ? push(&open->samples, &open->n, &open->cap, s, &shard->bytes)
                 : push(&open->late, &open->n_late, &open->cap_late, s, &shard->bytes)))
        return APPEND_NOMEM;
    if (newest)
        open->newest_t_ms = s.t_ms;
    note_sample(shard, s.t_ms);
    return APPEND_STORED;
}

static enum append_result insert_histogram(struct shard *shard, uint32_t ref,
                                           struct series_record *rec, int64_t t_ms,
                                           int64_t start_ms, struct bytes encoding)
{
    bool newest = rec->open.n == 0 || t_ms > rec->open.newest_t_ms;
    struct bytes known;

    if (look_up_float(rec, (struct sample){ t_ms, 0 }) != APPEND_STORED)
        return APPEND_DUPLICATE;
    known = extra_find(&shard->extra, ref, t_ms);
    if (!known.ptr)
        known = extra_find(&shard->frozen_extra, ref, t_ms);
    if (known.ptr)
        return known.len == encoding.len && memcmp(known.ptr, encoding.ptr, known.len) == 0
                   ? APPEND_REPEAT
                   : APPEND_DUPLICATE;
    rec->has_extra = true;
    if (!extra_add_histogram(&shard->extra, ref, t_ms, start_ms, encoding, newest, &shard->bytes))
        return APPEND_NOMEM;
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
    return insert(lock_for(a, ref), ref, record(a->head, ref), s, 0);
}

enum append_result head_appender_add_started(struct head_appender *a, uint32_t ref, struct sample s,
                                             int64_t start_ms)
{
    return insert(lock_for(a, ref), ref, record(a->head, ref), s, start_ms);
}

enum append_result head_appender_add_histogram(struct head_appender *a, uint32_t ref, int64_t t_ms,
                                               int64_t start_ms, struct bytes encoding)
{
    return insert_histogram(lock_for(a, ref), ref, record(a->head, ref), t_ms, start_ms, encoding);
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

void head_freeze(struct head *h, uint64_t generation)
{
    uint32_t n = h->n_series;

    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];

        pthread_mutex_lock(&s->lock);
        for (uint64_t ref = first_in_shard(i); ref < n; ref = next_in_shard(ref)) {
            struct series_record *r = record(h, (uint32_t)ref);

            ASSERT(!r->frozen.samples && !r->frozen.late);
            r->frozen = r->open;
            r->open = (struct run){ 0 };
        }
        ASSERT(s->frozen_extra.n == 0);
        s->frozen_extra = s->extra;
        s->extra = (struct extra_set){ 0 };
        s->frozen_generation = generation;
        s->frozen_samples = s->samples;
        s->frozen_bytes = s->bytes;
        s->frozen_min_t_ms = s->min_t_ms;
        s->frozen_max_t_ms = s->max_t_ms;
        s->samples = s->bytes = 0;
        s->min_t_ms = INT64_MAX;
        s->max_t_ms = INT64_MIN;
        pthread_mutex_unlock(&s->lock);
    }
}

void head_drop_frozen(struct head *h)
{
    uint32_t n = h->n_series;

    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];

        pthread_mutex_lock(&s->lock);
        for (uint64_t ref = first_in_shard(i); ref < n; ref = next_in_shard(ref))
            run_free(&record(h, (uint32_t)ref)->frozen);
        extra_set_free(&s->frozen_extra);
        s->frozen_generation = s->frozen_samples = s->frozen_bytes = 0;
        s->frozen_min_t_ms = INT64_MAX;
        s->frozen_max_t_ms = INT64_MIN;
        pthread_mutex_unlock(&s->lock);
    }
}

static bool copy_out(struct column *out, struct sample s, bool *overlaps)
{
    if (out->n && s.t_ms <= out->t_ms[out->n - 1])
        *overlaps = true;
    return column_add(out, s.t_ms, s.v);
}

/* As many copy_out()s, of n > 0 samples that increase. */
static bool copy_sorted(struct column *out, const struct sample *s, size_t n, bool *overlaps)
{
    int64_t *t_ms;
    double *v;

    if (!column_reserve(out, out->n + n))
        return false;
    if (out->n && s[0].t_ms <= out->t_ms[out->n - 1])
        *overlaps = true;
    t_ms = out->t_ms + out->n;
    v = out->v + out->n;
    for (size_t i = 0; i < n; i++) {
        t_ms[i] = s[i].t_ms;
        v[i] = s[i].v;
    }
    column_filled(out, n);
    return true;
}

static bool read_run(const struct run *r, int64_t min_t_ms, int64_t max_t_ms, struct column *out,
                     bool *overlaps)
{
    size_t first = lower_bound(r->samples, r->n, min_t_ms), end = first;

    if (max_t_ms >= min_t_ms)
        end = max_t_ms == INT64_MAX ? r->n : lower_bound(r->samples, r->n, max_t_ms + 1);
    if (end > first && !copy_sorted(out, r->samples + first, end - first, overlaps))
        return false;
    for (size_t i = 0; i < r->n_late; i++)
        if (r->late[i].t_ms >= min_t_ms && r->late[i].t_ms <= max_t_ms
            && !copy_out(out, r->late[i], overlaps))
            return false;
    return true;
}

/* One run and what lies beside it. */
static bool read_both(const struct series_record *rec, const struct run *r,
                      const struct extra_set *extra, uint32_t ref, int64_t min_t_ms,
                      int64_t max_t_ms, struct column *out, bool *overlaps)
{
    size_t from = out->n;

    if (!read_run(r, min_t_ms, max_t_ms, out, overlaps))
        return false;
    return !rec->has_extra || extra_read(extra, ref, min_t_ms, max_t_ms, out, from, overlaps);
}

enum errc head_read(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                    uint64_t after, struct column *out, bool *overlaps)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    bool ok = true;

    pthread_mutex_lock(&shard->lock);
    if (shard->frozen_generation > after)
        ok = read_both(r, &r->frozen, &shard->frozen_extra, ref, min_t_ms, max_t_ms, out, overlaps);
    ok = ok && read_both(r, &r->open, &shard->extra, ref, min_t_ms, max_t_ms, out, overlaps);
    pthread_mutex_unlock(&shard->lock);
    return ok ? OK : ERR_NOMEM;
}

static bool run_has(const struct run *r, int64_t min_t_ms, int64_t max_t_ms)
{
    if (r->n_late)
        return true; /* may */
    return r->n && r->samples[0].t_ms <= max_t_ms && r->samples[r->n - 1].t_ms >= min_t_ms;
}

bool head_has_samples(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                      uint64_t after)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    bool has;

    pthread_mutex_lock(&shard->lock);
    has = run_has(&r->open, min_t_ms, max_t_ms)
          || (r->has_extra && extra_has(&shard->extra, ref, min_t_ms, max_t_ms));
    if (!has && shard->frozen_generation > after)
        has = run_has(&r->frozen, min_t_ms, max_t_ms)
              || (r->has_extra && extra_has(&shard->frozen_extra, ref, min_t_ms, max_t_ms));
    pthread_mutex_unlock(&shard->lock);
    return has;
}

/* Merges the late samples of a frozen run into the sorted ones, in memory of its own: readers go on
 * meanwhile. False when out of memory. */
static bool settle(struct shard *shard, struct run *r)
{
    struct column c = { 0 };
    struct run settled = { 0 }, old = *r;
    bool overlaps = false;
    bool ok = read_run(r, INT64_MIN, INT64_MAX, &c, &overlaps) && column_normalise(&c)
              && (settled.samples = malloc(c.n * sizeof *settled.samples));

    if (ok) {
        for (size_t i = 0; i < c.n; i++)
            settled.samples[i] = (struct sample){ c.t_ms[i], c.v[i] };
        settled.n = settled.cap = (uint32_t)c.n;
        settled.newest_t_ms = c.t_ms[c.n - 1];
        pthread_mutex_lock(&shard->lock);
        *r = settled;
        shard->frozen_samples -= (size_t)old.n + old.n_late - settled.n;
        shard->frozen_bytes -=
            ((size_t)old.cap + old.cap_late - settled.cap) * sizeof(struct sample);
        pthread_mutex_unlock(&shard->lock);
        run_free(&old);
    }
    column_free(&c);
    return ok;
}

enum errc head_settle_frozen(struct head *h, uint32_t **refs, size_t *n)
{
    uint32_t n_series = h->n_series;
    uint32_t *found = malloc(((size_t)n_series + 1) * sizeof *found);

    *n = 0;
    for (uint32_t ref = 0; found && ref < n_series; ref++) {
        struct run *r = &record(h, ref)->frozen; /* written by the flusher only, who calls this */

        if (r->n_late && !settle(shard_of(h, ref), r)) {
            free(found);
            found = NULL;
        } else if (r->n || extra_has(&shard_of(h, ref)->frozen_extra, ref, INT64_MIN, INT64_MAX)) {
            found[(*n)++] = ref;
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
    const struct run *r = &record(h, ref)->frozen;
    const struct extra_set *extra = &shard_of(h, ref)->frozen_extra;
    bool overlaps = false;

    ASSERT(r->n_late == 0);
    column_clear(out);
    if (!read_run(r, min_t_ms, max_t_ms, out, &overlaps)
        || !extra_read(extra, ref, min_t_ms, max_t_ms, out, 0, &overlaps))
        return ERR_NOMEM;
    return !overlaps || column_normalise(out) ? OK : ERR_NOMEM;
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
