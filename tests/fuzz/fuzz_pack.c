/* fuzz_pack.c -- any bytes as a pack. Checksums are made right first, so that the checks behind
 * them are reached. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/pack.h"

#include "base/banned.h"

enum { HEADER_BYTES = 24, ENTRY_BYTES = 40, AT_CRC = 16, COLUMN_HEADER_BYTES = 12 };

static void mend_column(uint8_t *p, size_t size, uint32_t at)
{
    if (at > size || size - at < COLUMN_HEADER_BYTES)
        return;
    size_t payload = load_u32le(p + at + 4);

    if (payload <= size - at - COLUMN_HEADER_BYTES)
        store_u32le(p + at, crc32c(0, p + at + 4, COLUMN_HEADER_BYTES - 4 + payload));
}

static void mend(uint8_t *p, size_t size)
{
    if (size < HEADER_BYTES)
        return;
    size_t n = load_u32le(p + 12);

    if (n > (size - HEADER_BYTES) / ENTRY_BYTES)
        return;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *entry = p + HEADER_BYTES + i * ENTRY_BYTES;

        mend_column(p, size, load_u32le(entry + 12));
        mend_column(p, size, load_u32le(entry + 16));
    }
    store_u32le(p + AT_CRC, crc32c(crc32c(0, p, AT_CRC), p + AT_CRC + 4,
                                   HEADER_BYTES + n * ENTRY_BYTES - AT_CRC - 4));
}

static void read_all(struct bytes data)
{
    struct column out = { 0 };
    struct pack p;

    if (pack_open(data, false, &p, NULL) == OK) {
        for (size_t i = 0; i < p.n_chunks; i++) {
            struct pack_chunk chunk = pack_chunk(&p, i);
            size_t n = out.n;

            ASSERT(pack_find(&p, chunk.id) <= i);
            if (pack_read(&p, &chunk, &out, NULL) == OK)
                ASSERT(out.n == n + chunk.n && out.t_ms[out.n - 1] == chunk.max_t_ms);
            else
                ASSERT(out.n == n);
            out.n = 0;
        }
    }
    column_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    read_all((struct bytes){ copy, size });
    mend(copy, size);
    read_all((struct bytes){ copy, size });
    free(copy);
    return 0;
}
