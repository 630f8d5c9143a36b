#include "storage/pack_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

enum { MAX_ENTRIES = 32 };

struct entry {
    const uint8_t *bytes;
    size_t n, size;
    uint64_t used; /* the higher the later */
    void *data;
};

struct pack_cache {
    size_t max_bytes, size;
    uint64_t clock;
    struct entry entries[MAX_ENTRIES];
    size_t n;
};

struct pack_cache *pack_cache_new(size_t max_bytes)
{
    struct pack_cache *c = calloc(1, sizeof *c);

    if (c)
        c->max_bytes = max_bytes;
    return c;
}

void pack_cache_free(struct pack_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        free(c->entries[i].data);
    free(c);
}

static struct entry *find(struct pack_cache *c, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].bytes == bytes && c->entries[i].n == n)
            return &c->entries[i];
    return NULL;
}

const void *pack_cache_get(struct pack_cache *c, const uint8_t *bytes, size_t n)
{
    struct entry *e = find(c, bytes, n);

    if (!e)
        return NULL;
    e->used = ++c->clock;
    return e->data;
}

static void remove_entry(struct pack_cache *c, struct entry *e)
{
    free(e->data);
    c->size -= e->size;
    *e = c->entries[--c->n];
}

static struct entry *oldest(struct pack_cache *c)
{
    struct entry *e = c->entries;

    for (size_t i = 1; i < c->n; i++)
        if (c->entries[i].used < e->used)
            e = &c->entries[i];
    return e;
}

void *pack_cache_put(struct pack_cache *c, const uint8_t *bytes, size_t n, size_t size)
{
    void *data = malloc(size ? size : 1);

    if (!data)
        return NULL;
    ASSERT(!find(c, bytes, n));
    while (c->n > 0 && (c->n == MAX_ENTRIES || c->size + size > c->max_bytes))
        remove_entry(c, oldest(c));
    c->entries[c->n++] = (struct entry){ bytes, n, size, ++c->clock, data };
    c->size += size;
    return data;
}

void pack_cache_drop(struct pack_cache *c, const uint8_t *bytes, size_t n)
{
    struct entry *e = find(c, bytes, n);

    if (e)
        remove_entry(c, e);
}
