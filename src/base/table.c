#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

void table_free(struct table *t)
{
    free(t->slots);
    *t = (struct table){ 0 };
}

uint32_t table_find(const struct table *t, uint64_t hash, table_eq *eq, const void *ctx,
                    const void *key)
{
    if (!t->slots)
        return TABLE_NONE;
    for (size_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        const struct table_slot *s = &t->slots[i];

        if (s->id == TABLE_NONE)
            return TABLE_NONE;
        if (s->hash_high == (uint32_t)(hash >> 32) && eq(ctx, s->id, key))
            return s->id;
    }
}

static void put(struct table_slot *slots, size_t mask, uint64_t hash, uint32_t id)
{
    size_t i = hash & mask;

    while (slots[i].id != TABLE_NONE)
        i = (i + 1) & mask;
    slots[i] = (struct table_slot){ id, (uint32_t)(hash >> 32) };
}

static bool grow(struct table *t, uint64_t (*rehash)(const void *, uint32_t), const void *ctx)
{
    size_t size = t->slots ? (t->mask + 1) * 2 : 16;
    struct table_slot *slots = malloc(size * sizeof *slots);

    if (!slots)
        return false;
    memset(slots, 0xff, size * sizeof *slots);
    for (size_t i = 0; t->slots && i <= t->mask; i++)
        if (t->slots[i].id != TABLE_NONE)
            put(slots, size - 1, rehash(ctx, t->slots[i].id), t->slots[i].id);
    free(t->slots);
    t->slots = slots;
    t->mask = size - 1;
    return true;
}

bool table_add(struct table *t, uint64_t hash, uint32_t id,
               uint64_t (*rehash)(const void *, uint32_t), const void *ctx)
{
    ASSERT(id != TABLE_NONE);
    if ((!t->slots || t->n + 1 > (t->mask + 1) / 8 * 7) && !grow(t, rehash, ctx))
        return false;
    put(t->slots, t->mask, hash, id);
    t->n++;
    return true;
}

/* What follows moves up, unless it would then lie before where its search begins. */
void table_remove(struct table *t, uint64_t hash, uint32_t id,
                  uint64_t (*rehash)(const void *, uint32_t), const void *ctx)
{
    size_t hole = hash & t->mask;

    while (t->slots[hole].id != id) {
        ASSERT(t->slots[hole].id != TABLE_NONE);
        hole = (hole + 1) & t->mask;
    }
    for (size_t i = (hole + 1) & t->mask; t->slots[i].id != TABLE_NONE; i = (i + 1) & t->mask) {
        size_t home = rehash(ctx, t->slots[i].id) & t->mask;

        if (((i - home) & t->mask) < ((i - hole) & t->mask))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole].id = TABLE_NONE;
    t->n--;
}
