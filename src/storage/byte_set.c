#include "storage/byte_set.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/vec.h"

#include "base/banned.h"

void byte_set_free(struct byte_set *s)
{
    buf_free(&s->bytes);
    free(s->ends);
    free(s->hashes);
    table_free(&s->table);
    *s = (struct byte_set){ 0 };
}

struct bytes byte_set_get(const struct byte_set *s, size_t i)
{
    size_t from = i ? s->ends[i - 1] : 0;

    DEBUG_ASSERT(i < s->n);
    return (struct bytes){ s->bytes.ptr + from, s->ends[i] - from };
}

static bool equals(const void *ctx, uint32_t i, const void *key)
{
    const struct bytes *string = key;
    struct bytes mine = byte_set_get(ctx, i);

    return mine.len == string->len && memcmp(mine.ptr, string->ptr, mine.len) == 0;
}

static uint64_t rehash(const void *ctx, uint32_t i)
{
    return ((const struct byte_set *)ctx)->hashes[i];
}

uint32_t byte_set_add(struct byte_set *s, struct bytes string)
{
    uint64_t hash = hash64(string.ptr, string.len);
    uint32_t i = table_find(&s->table, hash, equals, s, &string);

    ASSERT(string.len > 0);
    if (i != TABLE_NONE)
        return i;
    if (s->n >= UINT32_MAX - 1 || !vec_reserve(&s->ends, &s->cap_ends, s->n + 1, sizeof *s->ends)
        || !vec_reserve(&s->hashes, &s->cap_hashes, s->n + 1, sizeof *s->hashes)
        || !table_add(&s->table, hash, (uint32_t)s->n, rehash, s))
        return UINT32_MAX;
    s->hashes[s->n] = hash;
    buf_add(&s->bytes, string.ptr, string.len);
    s->ends[s->n] = s->bytes.len;
    return s->bytes.failed ? UINT32_MAX : (uint32_t)s->n++;
}
