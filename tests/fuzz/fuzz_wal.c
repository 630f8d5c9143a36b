/* fuzz_wal.c -- any bytes as a log segment; and damage to a segment of our own making, from which
 * only records that were written may come back, in order, each at most once. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/wal_segment.h"

#include "base/banned.h"

enum { ROOM = 2048, BLOCK = 512, MAX_RECORDS = 16 };

static const struct wal_header header = { .number = 1,
                                          .generation = 1,
                                          .nonce = 0x1122334455667788 };

struct image {
    uint8_t bytes[WAL_HEADER_BYTES + ROOM];
    size_t at[MAX_RECORDS], len[MAX_RECORDS], n, end;
    uint8_t written[WAL_HEADER_BYTES + ROOM]; /* bytes before the damage */
};

static void put(struct image *m, size_t len, bool synced)
{
    struct wal_head head = { (uint32_t)len, 0, 0 };
    uint8_t *to = m->bytes + m->end;

    if (len == 0 || m->n == MAX_RECORDS || wal_record_space(len) > sizeof m->bytes - m->end)
        return;
    memset(to + WAL_HEAD_BYTES, (int)(m->n * 37 + 1), len);
    head.durable = synced ? (uint32_t)m->end : WAL_HEADER_BYTES;
    head.payload_crc = crc32c(0, to + WAL_HEAD_BYTES, len);
    wal_head_encode(&head, header.nonce, (uint32_t)m->end, to);
    m->at[m->n] = m->end + WAL_HEAD_BYTES;
    m->len[m->n++] = len;
    m->end += wal_record_space(len);
}

/* At most one burst of 32 bits in any record, which a CRC-32 always notices: were they free, the
 * fuzzer would in time find bytes of equal checksum and call that our mistake. */
static void damage(struct image *m, const uint8_t *data, size_t size)
{
    for (size_t block = 0; block < ROOM / BLOCK && size >= 5; block++, data += 5, size -= 5) {
        uint8_t *at = m->bytes + WAL_HEADER_BYTES + block * BLOCK + data[0] % (BLOCK - 284);

        for (size_t i = 0; i < 4; i++)
            at[i] ^= data[1 + i];
    }
}

/* Two bytes for each record, then five for each damaged place. */
static void write_damage_read(const uint8_t *data, size_t size)
{
    struct image *m = calloc(1, sizeof *m);
    size_t next = 0, i = 1;
    struct wal_reader r;
    struct bytes record;

    if (!m)
        return;
    m->end = WAL_HEADER_BYTES;
    for (; i + 1 < size && data[i] & 1; i += 2)
        put(m, data[i + 1], data[i] & 2);
    memcpy(m->written, m->bytes, sizeof m->bytes);
    if (i < size)
        damage(m, data + i, size - i);
    r = wal_reader_on((struct bytes){ m->bytes, sizeof m->bytes }, &header,
                      size ? WAL_HEADER_BYTES + data[0] * 8 : 0);
    while (wal_reader_next(&r, &record)) {
        while (next < m->n && m->bytes + m->at[next] != record.ptr)
            next++;
        ASSERT(next < m->n && m->len[next] == record.len);
        ASSERT(memcmp(m->written + m->at[next], record.ptr, record.len) == 0);
        next++;
    }
    ASSERT(r.skipped + r.torn <= 2 * (ROOM / BLOCK) + 1); /* a burst may meet two records */
    free(m);
}

static void read_raw(const uint8_t *data, size_t size)
{
    struct bytes file = { data, size };
    struct wal_header h;
    struct bytes record;
    struct wal_reader r;
    size_t total = 0;

    if (size < WAL_HEADER_BYTES)
        return;
    if (wal_header_decode(file, &h) != OK)
        h = header;
    r = wal_reader_on(file, &h, h.previous_end);
    while (wal_reader_next(&r, &record)) {
        ASSERT(record.ptr >= data && record.ptr + record.len <= data + size);
        total += wal_record_space(record.len);
    }
    ASSERT(total <= size + WAL_ALIGN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_raw(data, size);
    write_damage_read(data, size);
    return 0;
}
