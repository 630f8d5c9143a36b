/* fuzz_pack.c -- any bytes as a pack. Checksums are made right first, so that the checks behind
 * them are reached. What is read with a cache must be what is read without. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/pack_cache.h"
#include "storage/pack_private.h"

#include "base/banned.h"

enum { MAX_CHUNKS = 200 }; /* that are read, so that a run ends */

static void mend_column(uint8_t *p, struct pack_span span)
{
    if (span.at)
        store_u32le(p + span.at - PACK_CRC_BYTES, crc32c(0, p + span.at, span.len));
}

static void mend_columns(uint8_t *data, const struct pack *p)
{
    for (size_t i = 0; p->at_columns && i < p->n_chunks && i < MAX_CHUNKS; i++) {
        struct pack_chunk chunk = pack_chunk(p, i);

        if (!chunk.times_are_aside)
            mend_column(data, chunk.times);
        mend_column(data, chunk.starts);
        if (!chunk.is_inline)
            mend_column(data, chunk.values);
    }
}

static void mend(uint8_t *p, size_t size)
{
    size_t len;

    if (size < PACK_HEADER_BYTES)
        return;
    store_u32le(p + PACK_AT_BYTES, (uint32_t)size);
    len = load_u32le(p + PACK_AT_DIRECTORY_BYTES);
    if (len <= size - PACK_HEADER_BYTES)
        store_u32le(p + PACK_AT_CRC, crc32c(crc32c(0, p, PACK_AT_CRC), p + PACK_AT_CRC + 4,
                                            PACK_HEADER_BYTES + len - PACK_AT_CRC - 4));
}

/* Any bytes as times that were stored beside the pack. */
static enum errc find_times(void *ctx, uint32_t number, struct bytes *column, struct err *err)
{
    const struct pack *p = ctx;

    (void)err;
    column->ptr = p->data.ptr + number % p->data.len;
    column->len = p->data.len - number % p->data.len;
    return OK;
}

static void read_chunk(const struct pack *p, size_t i, struct pack_cache *cache)
{
    struct pack_chunk chunk = pack_chunk(p, i);
    struct column a = { 0 }, b = { 0 };
    const struct pack_source source = { .times = find_times, .ctx = (void *)(uintptr_t)p };
    struct pack_source with_cache = source;
    enum errc rc = pack_read(p, &chunk, &source, &a, NULL);

    ASSERT(pack_find(p, chunk.id) <= i);
    if (rc == OK)
        ASSERT(a.n == chunk.n && a.t_ms[a.n - 1] == chunk.max_t_ms);
    else
        ASSERT(a.n == 0);
    with_cache.cache = cache;
    if (pack_read(p, &chunk, &with_cache, &b, NULL) == OK && rc == OK)
        ASSERT(memcmp(a.v, b.v, a.n * sizeof *a.v) == 0
               && memcmp(a.t_ms, b.t_ms, a.n * sizeof *a.t_ms) == 0);
    column_free(&a);
    column_free(&b);
}

static void read_all(uint8_t *data, size_t size, bool mended)
{
    struct pack_cache *cache = pack_cache_new(1 << 16);
    struct pack p;

    if (cache && pack_open((struct bytes){ data, size }, false, &p, NULL) == OK) {
        if (mended)
            mend_columns(data, &p);
        for (size_t i = 0; i < p.n_chunks && i < MAX_CHUNKS; i++)
            read_chunk(&p, i, cache);
    }
    pack_cache_free(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    read_all(copy, size, false);
    mend(copy, size);
    read_all(copy, size, true);
    free(copy);
    return 0;
}
