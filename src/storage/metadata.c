#include "storage/metadata.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "base/banned.h"

enum { MAX_FAMILY = 1024, MAX_TEXT = 4096 };

struct entry {
    char *texts; /* family, help and unit one after another */
    struct metric_metadata m;
    bool saved; /* in state.mdb */
};

struct metadata_map {
    size_t max_bytes;
    pthread_mutex_t lock;
    struct entry *items; /* guarded by lock, as are the next four */
    size_t n, cap;
    size_t bytes; /* of items in use and their texts */
    struct table by_family;
};

struct metadata_map *metadata_map_new(size_t max_bytes)
{
    struct metadata_map *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->max_bytes = max_bytes;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void metadata_map_free(struct metadata_map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        free(m->items[i].texts);
    free(m->items);
    table_free(&m->by_family);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static bool family_is(const void *ctx, uint32_t id, const void *key)
{
    return str_equal(((const struct metadata_map *)ctx)->items[id].m.family,
                     *(const struct str *)key);
}

static uint64_t family_hash(const void *ctx, uint32_t id)
{
    struct str family = ((const struct metadata_map *)ctx)->items[id].m.family;

    return hash64(family.ptr, family.len);
}

static struct str append(char **to, struct str s)
{
    struct str copy = { *to, s.len };

    if (s.len)
        memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return copy;
}

static size_t text_bytes(const struct metric_metadata *m)
{
    return m->family.len + m->help.len + m->unit.len;
}

static bool entry_set(struct entry *e, const struct metric_metadata *m)
{
    char *texts = malloc(text_bytes(m) + 1), *to = texts;

    if (!texts)
        return false;
    struct entry fresh = {
        texts,
        { append(&to, m->family), m->type, append(&to, m->help), append(&to, m->unit) },
        false,
    };

    free(e->texts);
    *e = fresh;
    return true;
}

static bool same(const struct metric_metadata *a, const struct metric_metadata *b)
{
    return a->type == b->type && str_equal(a->help, b->help) && str_equal(a->unit, b->unit);
}

static bool acceptable(const struct metric_metadata *m)
{
    return m->family.len > 0 && m->family.len <= MAX_FAMILY && m->help.len <= MAX_TEXT
           && m->unit.len <= MAX_TEXT && m->type < METRIC_TYPE_COUNT && utf8_valid(m->family)
           && utf8_valid(m->help) && utf8_valid(m->unit);
}

static struct entry *find(const struct metadata_map *m, struct str family)
{
    uint32_t id = table_find(&m->by_family, hash64(family.ptr, family.len), family_is, m, &family);

    return id == TABLE_NONE ? NULL : &m->items[id];
}

static bool change(struct metadata_map *m, struct entry *e, const struct metric_metadata *to)
{
    size_t before = text_bytes(&e->m);

    if (!entry_set(e, to))
        return false;
    m->bytes += text_bytes(to) - before;
    return true;
}

static bool add(struct metadata_map *m, const struct metric_metadata *entry)
{
    struct entry fresh = { 0 };

    if (!vec_reserve(&m->items, &m->cap, m->n + 1, sizeof *m->items) || !entry_set(&fresh, entry))
        return false;
    m->items[m->n] = fresh;
    if (!table_add(&m->by_family, hash64(entry->family.ptr, entry->family.len), (uint32_t)m->n,
                   family_hash, m)) {
        free(fresh.texts);
        return false;
    }
    m->n++;
    m->bytes += sizeof fresh + text_bytes(entry);
    return true;
}

/* False when out of memory. */
static bool put(struct metadata_map *m, const struct metric_metadata *entry, bool *unsaved)
{
    struct entry *e = find(m, entry->family);

    *unsaved = false;
    if (e ? !same(&e->m, entry) && !change(m, e, entry) : m->bytes < m->max_bytes && !add(m, entry))
        return false;
    e = find(m, entry->family);
    *unsaved = e && !e->saved;
    return true;
}

enum errc metadata_map_put(struct metadata_map *m, const struct metric_metadata *entries, size_t n,
                           bool *unsaved, struct err *err)
{
    bool ok = true;

    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n && ok; i++) {
        unsaved[i] = false;
        if (acceptable(&entries[i]))
            ok = put(m, &entries[i], &unsaved[i]);
    }
    pthread_mutex_unlock(&m->lock);
    return ok ? OK : err_set(err, ERR_NOMEM, 0, "no memory for metric metadata");
}

void metadata_map_saved(struct metadata_map *m, const struct metric_metadata *entries, size_t n)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        struct entry *e = find(m, entries[i].family);

        if (e && same(&e->m, &entries[i]))
            e->saved = true;
    }
    pthread_mutex_unlock(&m->lock);
}

static int by_family(const void *a, const void *b)
{
    return str_cmp(((const struct metric_metadata *)a)->family,
                   ((const struct metric_metadata *)b)->family);
}

enum errc metadata_map_list(struct metadata_map *m, struct arena *a, struct metadata_list *out,
                            struct err *err)
{
    bool ok;

    pthread_mutex_lock(&m->lock);
    out->n = m->n;
    out->items = ARENA_NEW(a, struct metric_metadata, m->n);
    ok = out->items != NULL;
    for (size_t i = 0; ok && i < m->n; i++) {
        const struct metric_metadata *from = &m->items[i].m;
        struct metric_metadata *to = &out->items[i];

        *to = (struct metric_metadata){ str_copy(a, from->family), from->type,
                                        str_copy(a, from->help), str_copy(a, from->unit) };
        ok = to->family.ptr && to->help.ptr && to->unit.ptr;
    }
    pthread_mutex_unlock(&m->lock);
    if (!ok)
        return err_set(err, ERR_LIMIT, 0, "metadata needs more than %zu bytes of memory",
                       arena_limit(a));
    qsort(out->items, out->n, sizeof *out->items, by_family);
    return OK;
}
