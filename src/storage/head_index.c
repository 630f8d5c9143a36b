#include "storage/head_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "storage/head.h"
#include "base/banned.h"

struct ref_list {
    uint32_t *ids;
    size_t n, cap;
};

/* A pair as it stands in a request, which is how series are recognised: kept apart from the rest of
 * the pair, so that what is looked at lies together. */
struct pair_key {
    uint8_t *wire; /* malloc'd; NULL: no pair has this id now */
    size_t len;
};

struct pair {
    struct str name, value; /* in the wire form */
    uint64_t hash;
    struct ref_list refs;
};

struct name {
    struct str text;
    uint64_t hash;
    struct ref_list pairs;
};

struct entry {
    uint64_t hash;   /* of the encoded labels */
    uint32_t *pairs; /* ids_new() */
    uint32_t n;      /* 0: not there any more */
};

/* Series that came together mostly end together, so small blocks are empty in time. */
enum { BLOCK_ENTRIES = 64, MAX_FREE_IDS = 32 };

struct block {
    uint32_t n_live;
    struct entry entries[BLOCK_ENTRIES];
};

enum { WIRE_FIELD_1 = 1 << 3 | 2, WIRE_FIELD_2 = 2 << 3 | 2 }; /* keys of protobuf, with a length */

struct head_index {
    struct arena *texts;                  /* names, and the pair ids of series */
    uint32_t *free_ids[MAX_FREE_IDS + 1]; /* lists of those of removed ones, by length */
    struct block **blocks;                /* NULL: all in it are removed */
    struct pair *pairs;
    struct pair_key *keys; /* of the pairs */
    struct name *names;
    struct ref_list free_pairs;
    void **dead_texts; /* until nobody looks at them any more */
    size_t n_dead_texts, cap_dead_texts, n_entries, blocks_made, n_blocks, cap_blocks, n_pairs,
        cap_pairs, cap_keys, n_names, cap_names;
    struct table by_labels, by_pair, by_name;
    size_t list_bytes, text_bytes; /* of all ref lists, and of the pairs' texts */
};

struct head_index *head_index_new(void)
{
    struct head_index *x = calloc(1, sizeof *x);

    if (x && !(x->texts = arena_new(0))) {
        free(x);
        return NULL;
    }
    return x;
}

void head_index_free(struct head_index *x)
{
    if (!x)
        return;
    head_index_reap(x);
    for (size_t i = 0; i < x->n_pairs; i++) {
        free(x->pairs[i].refs.ids);
        free(x->keys[i].wire);
    }
    for (size_t i = 0; i < x->blocks_made; i++)
        free(x->blocks[i]);
    for (size_t i = 0; i < x->n_names; i++)
        free(x->names[i].pairs.ids);
    free(x->blocks);
    free(x->free_pairs.ids);
    free(x->dead_texts);
    free(x->pairs);
    free(x->keys);
    free(x->names);
    table_free(&x->by_labels);
    table_free(&x->by_pair);
    table_free(&x->by_name);
    arena_free(x->texts);
    free(x);
}

/* NULL when it has been removed, and all around it. */
static struct entry *entry(const struct head_index *x, uint32_t ref)
{
    struct block *b = x->blocks[ref / BLOCK_ENTRIES];

    return b ? &b->entries[ref % BLOCK_ENTRIES] : NULL;
}

static bool labels_are(const void *ctx, uint32_t id, const void *key)
{
    const struct head_index *x = ctx;
    const struct entry *e = entry(x, id);
    const struct labels *ls = key;

    if (!e || e->n == 0 || e->n != ls->n)
        return false;
    for (size_t i = 0; i < ls->n; i++) {
        const struct pair *p = &x->pairs[e->pairs[i]];

        if (!str_equal(p->value, ls->items[i].value) || !str_equal(p->name, ls->items[i].name))
            return false;
    }
    return true;
}

bool head_index_has(const struct head_index *x, uint32_t ref)
{
    const struct entry *e = entry(x, ref);

    return e && e->n > 0;
}

bool head_index_is(const struct head_index *x, uint32_t ref, struct labels ls)
{
    return labels_are(x, ref, &ls);
}

/* memcmp() of two texts of a few dozen bytes, without the call. */
static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n < 8)
        return memcmp(a, b, n) == 0;
    for (size_t i = 0; i < n - 8; i += 8)
        if (load_u64le(a + i) != load_u64le(b + i))
            return false;
    return load_u64le(a + n - 8) == load_u64le(b + n - 8);
}

size_t head_index_follow(const struct head_index *x, uint32_t ref, struct bytes wire)
{
    const struct entry *e = entry(x, ref);
    size_t at = 0;

    if (!e)
        return 0;
    for (size_t i = 0; i < e->n; i++) {
        struct pair_key key = x->keys[e->pairs[i]];

        if (key.len > wire.len - at || !same_bytes(key.wire, wire.ptr + at, key.len))
            return 0;
        at += key.len;
    }
    return at < wire.len && wire.ptr[at] == WIRE_FIELD_1 ? 0 : at;
}

void head_index_prefetch_hash(const struct head_index *x, uint64_t hash)
{
    table_prefetch(&x->by_labels, hash);
}

void head_index_prefetch(const struct head_index *x, uint32_t ref)
{
    const struct entry *e = entry(x, ref);

    if (e)
        __builtin_prefetch(e);
}

static uint64_t entry_hash(const void *ctx, uint32_t id)
{
    return entry(ctx, id)->hash;
}

uint32_t head_index_find(const struct head_index *x, struct labels ls, uint64_t hash)
{
    uint32_t ref = table_find(&x->by_labels, hash, labels_are, x, &ls);

    return ref == TABLE_NONE ? HEAD_NO_SERIES : ref;
}

static bool ref_list_reserve(struct head_index *x, struct ref_list *l)
{
    size_t before = l->cap;

    if (!vec_reserve(&l->ids, &l->cap, l->n + 1, sizeof *l->ids))
        return false;
    x->list_bytes += (l->cap - before) * sizeof *l->ids;
    return true;
}

static bool ref_list_add(struct head_index *x, struct ref_list *l, uint32_t id)
{
    if (!ref_list_reserve(x, l))
        return false;
    l->ids[l->n++] = id;
    return true;
}

/* ---- names ---- */

static bool name_is(const void *ctx, uint32_t id, const void *key)
{
    return str_equal(((const struct head_index *)ctx)->names[id].text, *(const struct str *)key);
}

static uint64_t name_hash(const void *ctx, uint32_t id)
{
    return ((const struct head_index *)ctx)->names[id].hash;
}

static uint32_t find_name(const struct head_index *x, struct str text)
{
    return table_find(&x->by_name, hash64(text.ptr, text.len), name_is, x, &text);
}

static uint32_t intern_name(struct head_index *x, struct str text)
{
    uint32_t id = find_name(x, text);
    struct name n = { .hash = hash64(text.ptr, text.len) };

    if (id != TABLE_NONE)
        return id;
    n.text = str_copy(x->texts, text);
    if (!n.text.ptr || !vec_reserve(&x->names, &x->cap_names, x->n_names + 1, sizeof n))
        return TABLE_NONE;
    id = (uint32_t)x->n_names;
    x->names[id] = n;
    if (!table_add(&x->by_name, n.hash, id, name_hash, x))
        return TABLE_NONE;
    x->n_names++;
    return id;
}

/* ---- pairs ---- */

static uint64_t hash_of_pair(struct str name, struct str value)
{
    return hash64(name.ptr, name.len) * 0x9e3779b97f4a7c15u ^ hash64(value.ptr, value.len);
}

static bool pair_is(const void *ctx, uint32_t id, const void *key)
{
    const struct pair *p = &((const struct head_index *)ctx)->pairs[id];
    const struct label *l = key;

    return str_equal(p->value, l->value) && str_equal(p->name, l->name);
}

static uint64_t pair_hash(const void *ctx, uint32_t id)
{
    return ((const struct head_index *)ctx)->pairs[id].hash;
}

static size_t uvarint_bytes(uint64_t v)
{
    size_t n = 1;

    while (v >>= 7)
        n++;
    return n;
}

static uint8_t *put_uvarint(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

static uint8_t *put_text(uint8_t *to, uint8_t key, struct str text, struct str *copy)
{
    *to++ = key;
    to = put_uvarint(to, text.len);
    memcpy(to, text.ptr, text.len);
    *copy = (struct str){ (const char *)to, text.len };
    return to + text.len;
}

/* Copies a label in its wire form; false when out of memory. */
static bool copy_pair(const struct label *l, struct pair *p, struct pair_key *key)
{
    size_t inner =
        2 + uvarint_bytes(l->name.len) + l->name.len + uvarint_bytes(l->value.len) + l->value.len;
    size_t len = 1 + uvarint_bytes(inner) + inner;
    uint8_t *wire = malloc(len), *to = wire;

    if (!wire)
        return false;
    *to++ = WIRE_FIELD_1;
    to = put_uvarint(to, inner);
    to = put_text(to, WIRE_FIELD_1, l->name, &p->name);
    to = put_text(to, WIRE_FIELD_2, l->value, &p->value);
    ASSERT(to == wire + len);
    *key = (struct pair_key){ wire, len };
    return true;
}

static uint32_t intern_pair(struct head_index *x, const struct label *l)
{
    struct ref_list *of_name;
    struct pair p = { .hash = hash_of_pair(l->name, l->value) };
    uint32_t id = table_find(&x->by_pair, p.hash, pair_is, x, l);
    struct pair_key key;
    uint32_t name;

    if (id != TABLE_NONE)
        return id;
    name = intern_name(x, l->name);
    if (name == TABLE_NONE)
        return TABLE_NONE;
    of_name = &x->names[name].pairs;
    id = x->free_pairs.n ? x->free_pairs.ids[x->free_pairs.n - 1] : (uint32_t)x->n_pairs;
    if (!vec_reserve(&x->pairs, &x->cap_pairs, (size_t)id + 1, sizeof p)
        || !vec_reserve(&x->keys, &x->cap_keys, (size_t)id + 1, sizeof key)
        || !ref_list_reserve(x, of_name) || !copy_pair(l, &p, &key))
        return TABLE_NONE;
    x->pairs[id] = p;
    x->keys[id] = key;
    if (!table_add(&x->by_pair, p.hash, id, pair_hash, x)) {
        free(key.wire);
        x->keys[id].wire = NULL;
        return TABLE_NONE;
    }
    if (id < x->n_pairs) /* from here on it is found; a pair without refs does no harm */
        x->free_pairs.n--;
    else
        x->n_pairs++;
    x->text_bytes += key.len;
    of_name->ids[of_name->n++] = id;
    return id;
}

/* ---- series ---- */

/* Pair ids of a series, used again after its removal. */
static uint32_t *ids_new(struct head_index *x, size_t n)
{
    size_t room = n < 2 ? 2 : n; /* a free one holds the pointer to the next */
    uint32_t *ids;

    if (room > MAX_FREE_IDS || !x->free_ids[room])
        return arena_alloc(x->texts, room * sizeof *ids);
    ids = x->free_ids[room];
    memcpy(&x->free_ids[room], ids, sizeof x->free_ids[room]);
    return ids;
}

static void ids_free(struct head_index *x, uint32_t *ids, size_t n)
{
    size_t room = n < 2 ? 2 : n;

    if (room > MAX_FREE_IDS)
        return;
    memcpy(ids, &x->free_ids[room], sizeof x->free_ids[room]);
    x->free_ids[room] = ids;
}

/* The place of a new series; NULL when out of memory. */
static struct entry *entry_new(struct head_index *x)
{
    size_t block = x->n_entries / BLOCK_ENTRIES;

    if (block == x->blocks_made) {
        if (!vec_reserve(&x->blocks, &x->cap_blocks, block + 1, sizeof *x->blocks)
            || !(x->blocks[block] = calloc(1, sizeof *x->blocks[block])))
            return NULL;
        x->blocks_made++;
        x->n_blocks++;
    }
    return entry(x, (uint32_t)x->n_entries);
}

static bool list_entry(struct head_index *x, const struct entry *e, uint32_t ref)
{
    size_t listed = 0;

    while (listed < e->n && ref_list_add(x, &x->pairs[e->pairs[listed]].refs, ref))
        listed++;
    if (listed == e->n && table_add(&x->by_labels, e->hash, ref, entry_hash, x))
        return true;
    while (listed > 0)
        x->pairs[e->pairs[--listed]].refs.n--;
    return false;
}

/* Where a series is among its neighbours: new ones come by the thousand from one place, and share
 * most of their labels with the one before, so that those need no look-up. */
struct beside {
    const struct entry *entry; /* the newest; NULL without one */
    size_t at;                 /* its labels before this are smaller than what is sought */
};

static struct beside beside_newest(const struct head_index *x)
{
    return (struct beside){ x->n_entries ? entry(x, (uint32_t)x->n_entries - 1) : NULL, 0 };
}

/* The pair of a label, if the newest series has it. Labels are asked for in order of their names. */
static uint32_t find_beside(const struct head_index *x, struct beside *b, const struct label *l)
{
    while (b->entry && b->at < b->entry->n) {
        uint32_t id = b->entry->pairs[b->at];
        int order = str_cmp(x->pairs[id].name, l->name);

        if (order > 0)
            break;
        b->at++;
        if (order == 0)
            return str_equal(x->pairs[id].value, l->value) ? id : TABLE_NONE;
    }
    return TABLE_NONE;
}

bool head_index_add(struct head_index *x, struct labels ls, uint64_t hash, uint32_t ref)
{
    struct entry e = { .hash = hash, .n = (uint32_t)ls.n, .pairs = ids_new(x, ls.n) };
    struct beside beside = beside_newest(x);
    struct entry *place;

    ASSERT(ref == x->n_entries);
    if (!e.pairs)
        return false;
    for (size_t i = 0; i < ls.n; i++) {
        e.pairs[i] = find_beside(x, &beside, &ls.items[i]);
        if (e.pairs[i] == TABLE_NONE && (e.pairs[i] = intern_pair(x, &ls.items[i])) == TABLE_NONE)
            return false;
    }
    place = entry_new(x);
    if (!place || !list_entry(x, &e, ref))
        return false;
    *place = e;
    x->blocks[ref / BLOCK_ENTRIES]->n_live++;
    x->n_entries++;
    return true;
}

/* ---- removing ---- */

static void mark(uint64_t *bits, size_t i)
{
    bits[i / 64] |= (uint64_t)1 << i % 64;
}

static bool is_marked(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

/* Leaves those out of a list that are marked. */
static void filter(struct head_index *x, struct ref_list *l, const uint64_t *marked)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        if (!is_marked(marked, l->ids[i]))
            l->ids[n++] = l->ids[i];
    l->n = n;
    if (n < l->cap / 2) {
        uint32_t *smaller = realloc(l->ids, (n + 1) * sizeof *smaller);

        if (smaller) {
            x->list_bytes -= (l->cap - n - 1) * sizeof *smaller;
            l->ids = smaller;
            l->cap = n + 1;
        }
    }
}

/* Takes out a pair that no series has; false when out of memory. */
static bool remove_pair(struct head_index *x, uint32_t id)
{
    struct pair *p = &x->pairs[id];

    if (!vec_reserve(&x->dead_texts, &x->cap_dead_texts, x->n_dead_texts + 1, sizeof *x->dead_texts)
        || !ref_list_add(x, &x->free_pairs, id))
        return false;
    table_remove(&x->by_pair, p->hash, id, pair_hash, x);
    x->dead_texts[x->n_dead_texts++] = x->keys[id].wire;
    x->text_bytes -= x->keys[id].len;
    x->list_bytes -= p->refs.cap * sizeof *p->refs.ids;
    free(p->refs.ids);
    *p = (struct pair){ .hash = 0 };
    x->keys[id] = (struct pair_key){ .wire = NULL };
    return true;
}

static void remove_empty_pairs(struct head_index *x)
{
    for (size_t k = 0; k < x->n_names; k++) {
        struct ref_list *l = &x->names[k].pairs;
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++)
            if (x->pairs[l->ids[i]].refs.n > 0 || !remove_pair(x, l->ids[i]))
                l->ids[n++] = l->ids[i];
        l->n = n;
    }
}

static void remove_entry(struct head_index *x, uint32_t ref, uint64_t *pairs)
{
    struct block **block = &x->blocks[ref / BLOCK_ENTRIES];
    struct entry *e = entry(x, ref);

    table_remove(&x->by_labels, e->hash, ref, entry_hash, x);
    for (size_t i = 0; i < e->n; i++)
        mark(pairs, e->pairs[i]);
    ids_free(x, e->pairs, e->n);
    *e = (struct entry){ .n = 0 };
    if (--(*block)->n_live == 0 && (ref / BLOCK_ENTRIES + 1) * BLOCK_ENTRIES <= x->n_entries) {
        free(*block);
        *block = NULL;
        x->n_blocks--;
    }
}

bool head_index_remove(struct head_index *x, const uint32_t *refs, size_t n)
{
    uint64_t *removed = calloc(x->n_entries / 64 + 1, sizeof *removed);
    uint64_t *pairs = calloc(x->n_pairs / 64 + 1, sizeof *pairs);
    bool ok = removed && pairs;

    for (size_t i = 0; ok && i < n; i++) {
        mark(removed, refs[i]);
        remove_entry(x, refs[i], pairs);
    }
    for (size_t i = 0; ok && i < x->n_pairs; i++)
        if (is_marked(pairs, i))
            filter(x, &x->pairs[i].refs, removed);
    if (ok)
        remove_empty_pairs(x);
    free(removed);
    free(pairs);
    return ok;
}

void head_index_reap(struct head_index *x)
{
    while (x->n_dead_texts > 0)
        free(x->dead_texts[--x->n_dead_texts]);
}

/* ---- reading ---- */

struct labels head_index_labels(const struct head_index *x, uint32_t ref, struct arena *a)
{
    const struct entry *e = entry(x, ref);
    size_t n = e ? e->n : 0;
    struct label *items = arena_alloc(a, n * sizeof *items);

    if (!items)
        return (struct labels){ 0 };
    for (size_t i = 0; i < n; i++)
        items[i] = (struct label){ x->pairs[e->pairs[i]].name, x->pairs[e->pairs[i]].value };
    return (struct labels){ items, n };
}

uint64_t head_index_hash(const struct head_index *x, uint32_t ref)
{
    const struct entry *e = entry(x, ref);

    return e ? e->hash : 0;
}

size_t head_index_bytes(const struct head_index *x)
{
    const size_t slots = x->by_labels.mask + x->by_pair.mask + x->by_name.mask;

    return arena_used(x->texts) + x->list_bytes + slots * sizeof(struct table_slot) + x->text_bytes
           + x->n_blocks * sizeof **x->blocks + x->cap_pairs * sizeof *x->pairs
           + x->cap_keys * sizeof *x->keys + x->cap_names * sizeof *x->names;
}

static int by_labels(const void *a, const void *b, void *ctx)
{
    const struct head_index *x = ctx;
    const struct entry *l = entry(x, *(const uint32_t *)a), *r = entry(x, *(const uint32_t *)b);

    for (size_t i = 0; i < l->n && i < r->n; i++) {
        const struct pair *p = &x->pairs[l->pairs[i]], *q = &x->pairs[r->pairs[i]];
        int c;

        if (p == q)
            continue;
        c = str_cmp(p->name, q->name);
        return c ? c : str_cmp(p->value, q->value);
    }
    return (l->n > r->n) - (l->n < r->n);
}

void head_index_sort(const struct head_index *x, uint32_t *refs, size_t n)
{
    qsort_r(refs, n, sizeof *refs, by_labels, (void *)x);
}

/* ---- as an index_source ---- */

static enum errc source_each_value(void *ctx, struct str name,
                                   bool (*fn)(void *fn_ctx, struct str value), void *fn_ctx,
                                   struct err *err)
{
    const struct head_index *x = ctx;
    uint32_t id = find_name(x, name);

    (void)err;
    for (size_t i = 0; id != TABLE_NONE && i < x->names[id].pairs.n; i++)
        if (!fn(fn_ctx, x->pairs[x->names[id].pairs.ids[i]].value))
            break;
    return OK;
}

static enum errc source_postings(void *ctx, struct str name, struct str value, struct arena *a,
                                 struct postings *out, struct err *err)
{
    const struct head_index *x = ctx;
    struct label l = { name, value };
    uint32_t id = table_find(&x->by_pair, hash_of_pair(name, value), pair_is, x, &l);

    (void)a;
    (void)err;
    *out = (struct postings){ 0 };
    if (id != TABLE_NONE) /* borrowed: lists of a million series are no rarity */
        *out = (struct postings){ x->pairs[id].refs.ids, x->pairs[id].refs.n };
    return OK;
}

static enum errc source_all(void *ctx, struct arena *a, struct postings *out, struct err *err)
{
    const struct head_index *x = ctx;

    out->ids = arena_alloc(a, x->n_entries * sizeof *out->ids);
    if (!out->ids)
        return err_set(err, ERR_LIMIT, 0, "postings need more than %zu bytes of memory",
                       arena_limit(a));
    out->n = 0;
    for (uint32_t ref = 0; ref < x->n_entries; ref++) {
        const struct entry *e = entry(x, ref);

        if (e && e->n > 0)
            out->ids[out->n++] = ref;
    }
    return OK;
}

struct index_source head_index_source(struct head_index *x)
{
    return (struct index_source){ x, source_each_value, source_postings, source_all };
}

void head_index_each_name(const struct head_index *x, bool (*fn)(void *ctx, struct str name),
                          void *ctx)
{
    for (size_t i = 0; i < x->n_names; i++)
        if (x->names[i].pairs.n > 0 && !fn(ctx, x->names[i].text))
            break;
}
