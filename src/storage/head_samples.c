/* head_samples.c -- the samples of the head: adding, freezing and reading them. */
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "storage/head_private.h"
#include "base/banned.h"

void late_free(struct late *late)
{
    if (!late)
        return;
    free(late->open);
    free(late->frozen);
    free(late);
}

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

bool head_series_has_samples(struct head *h, uint32_t ref)
{
    struct shard *shard = shard_of(h, ref);
    struct series_record *r = record(h, ref);
    bool has;

    pthread_mutex_lock(&shard->lock);
    has = !has_no_floats(r)
          || (r->has_extra
              && (extra_has(&shard->extra, ref, INT64_MIN, INT64_MAX)
                  || extra_has(&shard->frozen_extra, ref, INT64_MIN, INT64_MAX)));
    pthread_mutex_unlock(&shard->lock);
    return has;
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

/* ---- freezing ---- */

/* The block of shard number i after that of *ref, UINT64_MAX: its first; NULL: there is none. */
static struct block *next_block(const struct head *h, uint32_t i, uint64_t *ref)
{
    uint64_t n = h->n_series;

    for (*ref = *ref == UINT64_MAX ? (uint64_t)i * STRIPE : *ref + (uint64_t)SHARDS * STRIPE;
         *ref < n; *ref += (uint64_t)SHARDS * STRIPE)
        if (block_of(h, *ref))
            return block_of(h, *ref);
    return NULL;
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

void head_note_flushed(struct head *h, int64_t t_ms)
{
    if (t_ms > h->flushed_t_ms)
        h->flushed_t_ms = t_ms;
}

void head_freeze(struct head *h, uint64_t generation)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];
        uint64_t at = UINT64_MAX;
        struct block *b;

        pthread_mutex_lock(&s->lock);
        head_note_flushed(h, s->max_t_ms);
        while ((b = next_block(h, i, &at)))
            for (size_t k = 0; k < BLOCK_SERIES; k++)
                freeze_record(&b->records[k]);
        freeze_shard(s, generation);
        pthread_mutex_unlock(&s->lock);
    }
}

static void drop_frozen_samples(struct series_record *r)
{
    struct late *late = r->late;

    r->frozen = (struct run_end){ 0 };
    if (!late)
        return;
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
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &h->shards[i];
        uint64_t at = UINT64_MAX;
        struct block *b;

        pthread_mutex_lock(&s->lock);
        while ((b = next_block(h, i, &at)))
            for (size_t k = 0; k < BLOCK_SERIES; k++)
                drop_frozen_samples(&b->records[k]);
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
            && r->open.newest_t_ms >= min_t_ms && r->open.newest_t_ms <= max_t_ms
            && r->open.newest_t_ms > h->flushed_t_ms;
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

        if (!block_of(h, ref)
            || !has_frozen_samples(shard_of(h, ref), ref, record(h, ref), &unsettled))
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
