/* selection.c
 *
 * Building: the head's series first, whose texts live until the second sweep from now; then the days', by
 * labels. A day's texts point into its file's map, so those of series that the head does not know
 * are copied, each once.
 */
#include "storage/selection.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/postings.h"

#include "base/banned.h"

enum {
    MAX_KEPT = 256,
    MAX_SHARE = 2,      /* one selection takes at most this part of the cache */
    MAX_CHECKED = 1024, /* new series of the head looked at before building is cheaper */
};

/* ---- building ---- */

/* A place on its way into an array. */
struct place_link {
    struct place place;
    struct place_link *next;
};

struct found {
    struct labels labels;
    struct place_link *first, **end;
    uint32_t n_places, head_ref;
};

struct build {
    struct selection *s;
    struct arena *scratch; /* what is not kept */
    struct found *items;
    size_t n, cap;
    struct table by_labels;
    bool joins; /* there are days: series are looked up by labels */
    struct str *texts;
    size_t n_texts, cap_texts;
    struct table by_text;
};

static enum errc build_full(const struct build *b, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "the selected series need more than %zu bytes of memory",
                   arena_limit(b->scratch));
}

static bool labels_are(const void *ctx, uint32_t id, const void *key)
{
    return labels_equal(((const struct build *)ctx)->items[id].labels, *(const struct labels *)key);
}

static uint64_t labels_rehash(const void *ctx, uint32_t id)
{
    return labels_hash(((const struct build *)ctx)->items[id].labels);
}

static bool text_is(const void *ctx, uint32_t id, const void *key)
{
    return str_equal(((const struct build *)ctx)->texts[id], *(const struct str *)key);
}

static uint64_t text_rehash(const void *ctx, uint32_t id)
{
    struct str s = ((const struct build *)ctx)->texts[id];

    return hash64(s.ptr, s.len);
}

/* A text that is kept; ptr NULL when the arena is full. */
static struct str keep_text(struct build *b, struct str text)
{
    uint64_t hash = hash64(text.ptr, text.len);
    uint32_t id = table_find(&b->by_text, hash, text_is, b, &text);

    if (id != TABLE_NONE)
        return b->texts[id];
    text = str_copy(b->s->arena, text);
    if (text.ptr && vec_reserve(&b->texts, &b->cap_texts, b->n_texts + 1, sizeof *b->texts)) {
        b->texts[b->n_texts] = text;
        if (table_add(&b->by_text, hash, (uint32_t)b->n_texts, text_rehash, b))
            b->n_texts++;
    }
    return text;
}

static bool keep_labels(struct build *b, struct labels ls, struct labels *out)
{
    struct label *items = arena_alloc(b->s->arena, ls.n * sizeof *items);

    if (!items)
        return false;
    for (size_t i = 0; i < ls.n; i++) {
        items[i] =
            (struct label){ keep_text(b, ls.items[i].name), keep_text(b, ls.items[i].value) };
        if (!items[i].name.ptr || !items[i].value.ptr)
            return false;
    }
    *out = (struct labels){ items, ls.n };
    return true;
}

/* Adds a series whose labels are kept already. */
static struct found *add_found(struct build *b, struct labels ls, uint64_t hash)
{
    if (!vec_reserve(&b->items, &b->cap, b->n + 1, sizeof *b->items))
        return NULL;
    b->items[b->n] = (struct found){ .labels = ls, .head_ref = HEAD_NO_SERIES };
    if (b->joins && !table_add(&b->by_labels, hash, (uint32_t)b->n, labels_rehash, b))
        return NULL;
    return &b->items[b->n++];
}

static enum errc build_head(struct build *b, struct head *h, const struct matcher *matchers,
                            size_t n, struct err *err)
{
    struct index_source index;
    struct postings refs;
    enum errc rc;

    head_lock_index(h);
    index = head_index(h);
    b->s->head_series = head_n_series(h);
    b->s->head_removals = head_removals(h);
    rc = postings_select(&index, matchers, n, b->scratch, &refs, err);
    for (size_t i = 0; rc == OK && i < refs.n; i++) {
        struct found *f;
        struct labels ls;

        if ((rc = head_labels(h, refs.ids[i], b->s->arena, &ls, err)) != OK)
            break;
        f = add_found(b, ls, head_labels_hash(h, refs.ids[i]));
        if (f)
            f->head_ref = refs.ids[i];
        else
            rc = build_full(b, err);
    }
    head_unlock_index(h);
    return rc;
}

static enum errc add_place(struct build *b, struct labels ls, struct place place, struct err *err)
{
    uint64_t hash = labels_hash(ls);
    uint32_t at = table_find(&b->by_labels, hash, labels_are, b, &ls);
    struct place_link *link = ARENA_NEW(b->scratch, struct place_link, 1);
    struct found *f = at != TABLE_NONE ? &b->items[at] : NULL;
    struct labels kept;

    if (link && !f && keep_labels(b, ls, &kept))
        f = add_found(b, kept, hash);
    if (!link || !f)
        return build_full(b, err);
    link->place = place;
    *(f->first ? f->end : &f->first) = link;
    f->end = &link->next;
    f->n_places++;
    return OK;
}

static enum errc build_day(struct build *b, const struct selection_source *source, uint32_t number,
                           const struct matcher *matchers, size_t n, struct err *err)
{
    struct index_source index = day_index(source->txn);
    struct postings ids;
    enum errc rc = postings_select(&index, matchers, n, b->scratch, &ids, err);

    for (size_t i = 0; rc == OK && i < ids.n; i++) {
        struct labels ls;

        rc = day_labels(source->txn, ids.ids[i], b->scratch, &ls, err);
        if (rc == OK)
            rc = add_place(b, ls, (struct place){ number, ids.ids[i] }, err);
    }
    return rc;
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const struct found *)a)->labels, ((const struct found *)b)->labels);
}

/* Puts what was found into the selection, in order. */
static enum errc build_items(struct build *b, struct err *err)
{
    struct selection *s = b->s;
    size_t n_places = 0;
    struct place *places;

    for (size_t i = 0; i < b->n; i++)
        n_places += b->items[i].n_places;
    s->items = arena_alloc(s->arena, b->n * sizeof *s->items);
    places = arena_alloc(s->arena, n_places * sizeof *places);
    if (!s->items || !places)
        return build_full(b, err);
    if (b->n > 0)
        qsort(b->items, b->n, sizeof *b->items, by_labels);
    for (size_t i = 0; i < b->n; i++) {
        const struct found *f = &b->items[i];

        s->items[i] = (struct selected){ f->labels, places, f->n_places, f->head_ref };
        for (const struct place_link *l = f->first; l; l = l->next)
            *places++ = l->place;
    }
    s->n = b->n;
    return OK;
}

static void selection_free(struct selection *s)
{
    if (!s)
        return;
    buf_free(&s->key);
    arena_free(s->arena);
    free(s);
}

static enum errc build(struct head *h, const struct selection_source *sources, size_t n_sources,
                       const struct matcher *matchers, size_t n, size_t limit_bytes,
                       struct selection **out, struct err *err)
{
    struct selection *s = calloc(1, sizeof *s);
    struct build b = { .s = s, .scratch = arena_new(limit_bytes), .joins = n_sources > 0 };
    enum errc rc = OK;

    if (!s || !b.scratch || !(s->arena = arena_new(limit_bytes)))
        rc = err_set(err, ERR_NOMEM, 0, "no memory to select series");
    if (rc == OK)
        rc = build_head(&b, h, matchers, n, err);
    for (size_t i = 0; rc == OK && i < n_sources; i++)
        rc = build_day(&b, &sources[i], (uint32_t)i, matchers, n, err);
    if (rc == OK)
        rc = build_items(&b, err);
    table_free(&b.by_labels);
    table_free(&b.by_text);
    free(b.items);
    free(b.texts);
    arena_free(b.scratch);
    if (rc != OK)
        selection_free(s);
    else
        *out = s;
    return rc;
}

/* ---- the cache ---- */

struct selection_cache {
    size_t max_bytes;
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct selection *items[MAX_KEPT];
    size_t n, bytes;
    uint64_t tick;
};

struct selection_cache *selection_cache_new(size_t max_bytes)
{
    struct selection_cache *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->max_bytes = max_bytes;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* Under lock. */
static void release(struct selection *s)
{
    if (--s->refs == 0)
        selection_free(s);
}

static size_t bytes_of(const struct selection *s)
{
    return sizeof *s + s->key.cap + arena_used(s->arena);
}

static void evict(struct selection_cache *c, size_t i)
{
    c->bytes -= bytes_of(c->items[i]);
    release(c->items[i]);
    c->items[i] = c->items[--c->n];
}

void selection_cache_free(struct selection_cache *c)
{
    if (!c)
        return;
    while (c->n > 0)
        evict(c, c->n - 1);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void selection_unref(struct selection_cache *c, struct selection *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&c->lock);
    release(s);
    pthread_mutex_unlock(&c->lock);
}

static void print_key(struct buf *b, const struct selection_source *sources, size_t n_sources,
                      const struct matcher *matchers, size_t n)
{
    buf_uvarint(b, n);
    for (size_t i = 0; i < n; i++) {
        buf_u8(b, (uint8_t)matchers[i].op);
        buf_uvarint(b, matchers[i].name.len);
        buf_str(b, matchers[i].name);
        buf_uvarint(b, matchers[i].value.len);
        buf_str(b, matchers[i].value);
    }
    for (size_t i = 0; i < n_sources; i++) {
        buf_u64(b, (uint64_t)sources[i].id.day);
        buf_u64(b, sources[i].id.generation);
        buf_u64(b, sources[i].n_series);
    }
}

/* Its place in the cache, or c->n. Under lock. */
static size_t find(const struct selection_cache *c, uint64_t hash, const struct buf *key)
{
    size_t i = 0;

    while (i < c->n
           && (c->items[i]->hash != hash || c->items[i]->key.len != key->len
               || memcmp(c->items[i]->key.ptr, key->ptr, key->len) != 0))
        i++;
    return i;
}

static bool matches_all(const struct matcher *matchers, size_t n, struct labels ls, enum errc *rc)
{
    for (size_t i = 0; i < n; i++)
        if (!matcher_matches(&matchers[i], labels_get(ls, matchers[i].name), rc))
            return false;
    return true;
}

/* Whether none of the series that the head got since s was built, up to n_series, belongs to it. */
static bool still_holds(const struct selection *s, struct head *h, uint32_t n_series,
                        const struct matcher *matchers, size_t n)
{
    struct arena *scratch;
    enum errc rc = OK;
    bool holds = true;

    if (s->head_removals != head_removals(h))
        return false;               /* labels may be gone as well */
    if (n_series <= s->head_series) /* another thread may have seen more by now */
        return true;
    if (n_series - s->head_series > MAX_CHECKED || !(scratch = arena_new(0)))
        return false;
    head_lock_index(h);
    for (uint32_t ref = s->head_series; holds && ref < n_series; ref++) {
        struct labels ls;

        arena_reset(scratch);
        holds = head_labels(h, ref, scratch, &ls, NULL) == OK && !matches_all(matchers, n, ls, &rc)
                && rc == OK;
    }
    head_unlock_index(h);
    arena_free(scratch);
    return holds;
}

/* A reference to the selection of that key, if it is there and still right. */
static struct selection *look_up(struct selection_cache *c, struct head *h, uint64_t hash,
                                 const struct buf *key, const struct matcher *matchers, size_t n)
{
    uint32_t n_series = head_n_series(h);
    struct selection *s = NULL;
    size_t i;

    pthread_mutex_lock(&c->lock);
    i = find(c, hash, key);
    if (i < c->n && !still_holds(c->items[i], h, n_series, matchers, n)) {
        evict(c, i);
        i = c->n;
    }
    if (i < c->n) {
        s = c->items[i];
        s->refs++;
        s->head_series = n_series > s->head_series ? n_series : s->head_series;
        s->used = ++c->tick;
    }
    pthread_mutex_unlock(&c->lock);
    return s;
}

static size_t least_used(const struct selection_cache *c)
{
    size_t least = 0;

    for (size_t i = 1; i < c->n; i++)
        if (c->items[i]->used < c->items[least]->used)
            least = i;
    return least;
}

static void keep(struct selection_cache *c, struct selection *s)
{
    size_t bytes = bytes_of(s), same;

    if (bytes > c->max_bytes / MAX_SHARE)
        return;
    pthread_mutex_lock(&c->lock);
    same = find(c, s->hash, &s->key);
    if (same < c->n)
        evict(c, same); /* another thread was as fast */
    while (c->n > 0 && (c->n == MAX_KEPT || c->bytes + bytes > c->max_bytes))
        evict(c, least_used(c));
    s->refs++;
    s->used = ++c->tick;
    c->items[c->n++] = s;
    c->bytes += bytes;
    pthread_mutex_unlock(&c->lock);
}

enum errc selection_get(struct selection_cache *c, struct head *h,
                        const struct selection_source *sources, size_t n_sources,
                        const struct matcher *matchers, size_t n, size_t limit_bytes,
                        struct selection **out, struct err *err)
{
    struct buf key = { 0 };
    uint64_t hash;
    enum errc rc;

    print_key(&key, sources, n_sources, matchers, n);
    if (key.failed) {
        buf_free(&key);
        return err_set(err, ERR_NOMEM, 0, "no memory to select series");
    }
    hash = hash64(key.ptr, key.len);
    *out = look_up(c, h, hash, &key, matchers, n);
    if (*out) {
        buf_free(&key);
        return OK;
    }
    rc = build(h, sources, n_sources, matchers, n, limit_bytes, out, err);
    if (rc != OK) {
        buf_free(&key);
        return rc;
    }
    (*out)->key = key;
    (*out)->hash = hash;
    (*out)->refs = 1;
    keep(c, *out);
    return OK;
}
