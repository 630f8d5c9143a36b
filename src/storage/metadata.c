#include "storage/metadata.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "base/banned.h"

enum { MAX_FAMILY = 1024, MAX_TEXT = 4096, MAX_FAMILIES = 1000000 };

struct entry {
    char *texts; /* family, help and unit one after another */
    struct metric_metadata m;
};

struct metadata_map {
    pthread_mutex_t lock;
    struct entry *items; /* guarded by lock, as are the next three */
    size_t n, cap;
    struct table by_family;
};

struct metadata_map *metadata_map_new(void)
{
    struct metadata_map *m = calloc(1, sizeof *m);

    if (m)
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

static bool entry_set(struct entry *e, const struct metric_metadata *m)
{
    char *texts = malloc(m->family.len + m->help.len + m->unit.len + 1), *to = texts;

    if (!texts)
        return false;
    struct entry fresh = {
        texts, { append(&to, m->family), m->type, append(&to, m->help), append(&to, m->unit) }
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

/* False when out of memory. */
static bool put(struct metadata_map *m, const struct metric_metadata *entry, bool *changed)
{
    uint64_t hash = hash64(entry->family.ptr, entry->family.len);
    uint32_t id = table_find(&m->by_family, hash, family_is, m, &entry->family);

    *changed = false;
    if (id != TABLE_NONE) {
        if (same(&m->items[id].m, entry))
            return true;
        return *changed = entry_set(&m->items[id], entry);
    }
    if (m->n >= MAX_FAMILIES)
        return true;
    if (!vec_reserve(&m->items, &m->cap, m->n + 1, sizeof *m->items))
        return false;
    m->items[m->n] = (struct entry){ 0 };
    if (!entry_set(&m->items[m->n], entry))
        return false;
    if (!table_add(&m->by_family, hash, (uint32_t)m->n, family_hash, m)) {
        free(m->items[m->n].texts);
        return false;
    }
    m->n++;
    return *changed = true;
}

enum errc metadata_map_put(struct metadata_map *m, const struct metric_metadata *entries, size_t n,
                           bool *changed, struct err *err)
{
    bool ok = true;

    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n && ok; i++) {
        changed[i] = false;
        if (acceptable(&entries[i]))
            ok = put(m, &entries[i], &changed[i]);
    }
    pthread_mutex_unlock(&m->lock);
    return ok ? OK : err_set(err, ERR_NOMEM, 0, "no memory for metric metadata");
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
