/* exemplar_store.c -- exemplars lie in slots. A slot is in two lists: that of its series, oldest
 * first, and that of all, in order of arrival, from whose start the oldest gives way. A series that
 * has its full number takes its own oldest slot again, so that a busy series drives out no other.
 */
#include "storage/exemplar_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "base/vec.h"
#include "base/banned.h"

#define NONE UINT32_MAX

struct slot {
    int64_t t_ms;
    double v;
    uint8_t *labels; /* malloc'd */
    size_t labels_len;
    uint32_t series;         /* index in exemplar_set.series */
    uint32_t next_of_series; /* younger; NONE at the end */
    uint32_t before, next;   /* of all, by arrival */
};

struct series {
    uint32_t ref, first, last, n; /* n = 0: all gave way */
};

struct exemplar_set {
    struct slot *slots;
    struct series *series;
    size_t n_slots, cap_slots, n_series, cap_series;
    struct table by_ref;
    uint32_t first, last; /* slots by arrival */
};

struct exemplar_store {
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct exemplar_set open, frozen;
    uint64_t frozen_generation; /* 0 without frozen ones */
};

static const struct exemplar_set empty_set = { .first = NONE, .last = NONE };

struct exemplar_store *exemplar_store_new(void)
{
    struct exemplar_store *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->open = s->frozen = empty_set;
    return s;
}

static void set_free(struct exemplar_set *s)
{
    for (size_t i = 0; i < s->n_slots; i++)
        free(s->slots[i].labels);
    free(s->slots);
    free(s->series);
    table_free(&s->by_ref);
    *s = empty_set;
}

void exemplar_store_free(struct exemplar_store *s)
{
    if (!s)
        return;
    set_free(&s->open);
    set_free(&s->frozen);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- series ---- */

static uint64_t hash_ref(uint32_t ref)
{
    return ref * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_series(const void *ctx, uint32_t i)
{
    return hash_ref(((const struct exemplar_set *)ctx)->series[i].ref);
}

static bool series_is(const void *ctx, uint32_t i, const void *key)
{
    return ((const struct exemplar_set *)ctx)->series[i].ref == *(const uint32_t *)key;
}

static struct series *find_series(const struct exemplar_set *s, uint32_t ref)
{
    uint32_t i = table_find(&s->by_ref, hash_ref(ref), series_is, s, &ref);

    return i == TABLE_NONE ? NULL : &s->series[i];
}

/* NULL when out of memory. */
static struct series *get_series(struct exemplar_set *s, uint32_t ref)
{
    struct series *found = find_series(s, ref);

    if (found)
        return found;
    if (!vec_reserve(&s->series, &s->cap_series, s->n_series + 1, sizeof *s->series))
        return NULL;
    s->series[s->n_series] = (struct series){ ref, NONE, NONE, 0 };
    if (!table_add(&s->by_ref, hash_ref(ref), (uint32_t)s->n_series, hash_series, s))
        return NULL;
    return &s->series[s->n_series++];
}

static const struct slot *newest_of(const struct exemplar_set *s, uint32_t ref)
{
    const struct series *series = find_series(s, ref);

    return series && series->n ? &s->slots[series->last] : NULL;
}

/* ---- slots ---- */

/* Takes the oldest slot of its series out of all lists. */
static void unlink_slot(struct exemplar_set *s, uint32_t at)
{
    struct slot *slot = &s->slots[at];
    struct series *series = &s->series[slot->series];

    ASSERT(series->first == at);
    series->first = slot->next_of_series;
    if (--series->n == 0)
        series->last = NONE;
    *(slot->before == NONE ? &s->first : &s->slots[slot->before].next) = slot->next;
    *(slot->next == NONE ? &s->last : &s->slots[slot->next].before) = slot->before;
    free(slot->labels);
    slot->labels = NULL;
}

/* Puts it behind all others, in its series too. */
static void link_slot(struct exemplar_set *s, uint32_t at, struct series *series)
{
    struct slot *slot = &s->slots[at];

    slot->series = (uint32_t)(series - s->series);
    slot->next_of_series = slot->next = NONE;
    slot->before = s->last;
    *(s->last == NONE ? &s->first : &s->slots[s->last].next) = at;
    s->last = at;
    *(series->last == NONE ? &series->first : &s->slots[series->last].next_of_series) = at;
    series->last = at;
    series->n++;
}

/* A slot in no list, of one that gives way when there are enough; NONE when out of memory. The
 * oldest of all is the oldest of its series, since a series takes them in order of time. */
static uint32_t take_slot(struct exemplar_set *s, const struct series *series)
{
    uint32_t at = series->n == EXEMPLARS_PER_SERIES ? series->first
                  : s->n_slots == EXEMPLARS_MAX     ? s->first
                                                    : NONE;

    if (at != NONE) {
        unlink_slot(s, at);
        return at;
    }
    if (!vec_reserve(&s->slots, &s->cap_slots, s->n_slots + 1, sizeof *s->slots))
        return NONE;
    return (uint32_t)s->n_slots++;
}

/* ---- adding ---- */

static bool same_labels(const struct slot *slot, struct bytes labels)
{
    return slot->labels_len == labels.len
           && (labels.len == 0 || memcmp(slot->labels, labels.ptr, labels.len) == 0);
}

/* Whether e may follow the newest of its series. */
static enum exemplar_result compare(const struct slot *newest, const struct stored_exemplar *e)
{
    if (!newest || e->t_ms > newest->t_ms)
        return EXEMPLAR_STORED;
    if (e->t_ms < newest->t_ms)
        return EXEMPLAR_OUT_OF_ORDER;
    if (f64_bits(e->v) == f64_bits(newest->v) && same_labels(newest, e->labels))
        return EXEMPLAR_REPEAT;
    return e->v < newest->v ? EXEMPLAR_OUT_OF_ORDER : EXEMPLAR_STORED;
}

static enum exemplar_result add(struct exemplar_store *store, uint32_t ref,
                                const struct stored_exemplar *e)
{
    struct exemplar_set *s = &store->open;
    const struct slot *newest = newest_of(s, ref);
    enum exemplar_result verdict = compare(newest ? newest : newest_of(&store->frozen, ref), e);
    struct series *series;
    uint8_t *labels;
    uint32_t at;

    if (verdict != EXEMPLAR_STORED)
        return verdict;
    series = get_series(s, ref);
    labels = malloc(e->labels.len + 1);
    at = series && labels ? take_slot(s, series) : NONE;
    if (at == NONE) {
        free(labels);
        return EXEMPLAR_NOMEM;
    }
    if (e->labels.len)
        memcpy(labels, e->labels.ptr, e->labels.len);
    s->slots[at] =
        (struct slot){ .t_ms = e->t_ms, .v = e->v, .labels = labels, .labels_len = e->labels.len };
    link_slot(s, at, series);
    return EXEMPLAR_STORED;
}

enum exemplar_result exemplar_store_add(struct exemplar_store *s, uint32_t ref,
                                        const struct stored_exemplar *e)
{
    enum exemplar_result result;

    pthread_mutex_lock(&s->lock);
    result = add(s, ref, e);
    pthread_mutex_unlock(&s->lock);
    return result;
}

void exemplar_store_freeze(struct exemplar_store *s, uint64_t generation)
{
    pthread_mutex_lock(&s->lock);
    ASSERT(s->frozen.n_series == 0);
    s->frozen = s->open;
    s->open = empty_set;
    s->frozen_generation = generation;
    pthread_mutex_unlock(&s->lock);
}

void exemplar_store_drop_frozen(struct exemplar_store *s)
{
    pthread_mutex_lock(&s->lock);
    set_free(&s->frozen);
    s->frozen_generation = 0;
    pthread_mutex_unlock(&s->lock);
}

/* ---- reading ---- */

static bool each(const struct exemplar_set *s, uint32_t ref, exemplar_fn *fn, void *ctx)
{
    const struct series *series = find_series(s, ref);

    for (uint32_t at = series ? series->first : NONE; at != NONE;
         at = s->slots[at].next_of_series) {
        const struct slot *slot = &s->slots[at];
        struct stored_exemplar e = { slot->t_ms, slot->v, { slot->labels, slot->labels_len } };

        if (!fn(ctx, &e))
            return false;
    }
    return true;
}

bool exemplar_store_each(struct exemplar_store *s, uint32_t ref, uint64_t after, exemplar_fn *fn,
                         void *ctx)
{
    bool ok;

    pthread_mutex_lock(&s->lock);
    ok = (s->frozen_generation <= after || each(&s->frozen, ref, fn, ctx))
         && each(&s->open, ref, fn, ctx);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool exemplar_store_each_frozen(struct exemplar_store *s, uint32_t ref, exemplar_fn *fn, void *ctx)
{
    bool ok;

    pthread_mutex_lock(&s->lock);
    ok = each(&s->frozen, ref, fn, ctx);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static int compare_refs(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

bool exemplar_store_frozen_refs(struct exemplar_store *s, uint32_t **refs, size_t *n)
{
    *n = 0;
    pthread_mutex_lock(&s->lock);
    *refs = malloc((s->frozen.n_series + 1) * sizeof **refs);
    for (size_t i = 0; *refs && i < s->frozen.n_series; i++)
        if (s->frozen.series[i].n)
            (*refs)[(*n)++] = s->frozen.series[i].ref;
    pthread_mutex_unlock(&s->lock);
    if (*n)
        qsort(*refs, *n, sizeof **refs, compare_refs);
    return *refs;
}

static void count(const struct exemplar_set *s, struct exemplar_stats *out)
{
    for (size_t i = 0; i < s->n_series; i++) {
        if (s->series[i].n == 0)
            continue;
        out->exemplars += s->series[i].n;
        out->series++;
        if (s->slots[s->series[i].last].t_ms > out->newest_t_ms)
            out->newest_t_ms = s->slots[s->series[i].last].t_ms;
    }
}

void exemplar_store_stats(struct exemplar_store *s, struct exemplar_stats *out)
{
    *out = (struct exemplar_stats){ .newest_t_ms = INT64_MIN };
    pthread_mutex_lock(&s->lock);
    count(&s->frozen, out);
    count(&s->open, out);
    pthread_mutex_unlock(&s->lock);
}
