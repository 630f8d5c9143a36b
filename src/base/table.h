/* table.h -- an open-addressing hash table from 64-bit hashes to 32-bit ids.
 *
 * The table stores no keys: the caller keeps them in an array indexed by id and says in eq()
 * whether the key under an id is the one sought. Linear probing, power-of-two size, at most 7/8
 * full.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define TABLE_NONE UINT32_MAX /* no such id */

typedef bool table_eq(const void *ctx, uint32_t id, const void *key);

struct table_slot {
    uint32_t id; /* TABLE_NONE when free */
    uint32_t hash_high;
};

/* Zero-initialise it. Fields are private. */
struct table {
    struct table_slot *slots;
    size_t mask; /* number of slots - 1; 0 without slots */
    size_t n;
};

void table_free(struct table *t);

/* The id whose hash is hash and for which eq(ctx, id, key) holds, or TABLE_NONE. */
uint32_t table_find(const struct table *t, uint64_t hash, table_eq *eq, const void *ctx,
                    const void *key);

/* Takes out an id that is there. rehash() is asked about it and others. */
void table_remove(struct table *t, uint64_t hash, uint32_t id,
                  uint64_t (*rehash)(const void *, uint32_t), const void *ctx);

/* Adds an id that is not there yet; rehash(ctx, id) gives the hash of any id again when the table
 * grows. False when out of memory: nothing has changed. */
MUST_USE bool table_add(struct table *t, uint64_t hash, uint32_t id,
                        uint64_t (*rehash)(const void *, uint32_t), const void *ctx);

/* Has the processor fetch what a look-up of the hash begins with. */
static inline void table_prefetch(const struct table *t, uint64_t hash)
{
    if (t->slots)
        __builtin_prefetch(&t->slots[hash & t->mask]);
}
