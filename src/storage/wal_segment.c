/* wal_segment.c
 *
 *   segment: offset size field
 *                 0    8 magic         "tidelog\n"
 *                 8    4 version       u32 LE, 1
 *                12    4 zero
 *                16    8 number        u64 LE, as in the file's name
 *                24    8 generation    u64 LE, of all its records
 *                32    8 nonce         random, new for each use of the file
 *                40    8 previous      u64 LE, the segment before this one, or 0 ...
 *                48    8 previous_end  u64 LE, ... and how many bytes of it were durable
 *                56    4 zero
 *                60    4 crc           CRC-32C of the 60 bytes above
 *                64      zeros
 *              4096      records, then zeros or bytes of an earlier use
 *
 *   record:  offset size field
 *                 0    4 length        u32 LE, bytes of payload; never 0
 *                 4    4 durable       u32 LE, offset in the segment up to which all was synced
 *                 8    4 payload crc   CRC-32C of the payload
 *                12    4 head crc      CRC-32C of nonce, offset (u32 LE) and the 12 bytes above
 *                16    n payload
 *                        zeros to a multiple of 8
 *
 * The head has a check of its own for two reasons. A damaged payload does not hide where the next
 * record begins; and where a head is damaged, the search for the next one costs 24 bytes of CRC for
 * each place it looks at, not a whole record's worth for each number that could be a length.
 *
 * After a power cut any subset of the sectors of the last, unsynced group may have arrived, so a
 * bad record before a good one need not be a loss. The durable mark tells: what is bad below the
 * highest mark was once promised, what is bad above it never was.
 */
#include "storage/wal_segment.h"

#include "base/hash.h"
#include "base/banned.h"

static const char MAGIC[8] = { 't', 'i', 'd', 'e', 'l', 'o', 'g', '\n' };

enum {
    VERSION = 1,
    AT_VERSION = 8,
    AT_NUMBER = 16,
    AT_GENERATION = 24,
    AT_NONCE = 32,
    AT_PREVIOUS = 40,
    AT_PREVIOUS_END = 48,
    AT_HEADER_CRC = 60,

    AT_LENGTH = 0,
    AT_DURABLE = 4,
    AT_PAYLOAD_CRC = 8,
    AT_HEAD_CRC = 12,
};
_Static_assert(WAL_HEADER_BYTES % WAL_ALIGN == 0 && WAL_HEAD_BYTES % WAL_ALIGN == 0,
               "records begin aligned");

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_BYTES])
{
    memset(out, 0, WAL_HEADER_BYTES);
    memcpy(out, MAGIC, sizeof MAGIC);
    store_u32le(out + AT_VERSION, VERSION);
    store_u64le(out + AT_NUMBER, h->number);
    store_u64le(out + AT_GENERATION, h->generation);
    store_u64le(out + AT_NONCE, h->nonce);
    store_u64le(out + AT_PREVIOUS, h->previous);
    store_u64le(out + AT_PREVIOUS_END, h->previous_end);
    store_u32le(out + AT_HEADER_CRC, crc32c(0, out, AT_HEADER_CRC));
}

enum errc wal_header_decode(struct bytes file, struct wal_header *out)
{
    const uint8_t *p = file.ptr;

    if (file.len < WAL_HEADER_BYTES || memcmp(p, MAGIC, sizeof MAGIC) != 0
        || load_u32le(p + AT_HEADER_CRC) != crc32c(0, p, AT_HEADER_CRC))
        return ERR_CORRUPT;
    if (load_u32le(p + AT_VERSION) != VERSION)
        return ERR_UNSUPPORTED;
    *out = (struct wal_header){
        .number = load_u64le(p + AT_NUMBER),
        .generation = load_u64le(p + AT_GENERATION),
        .nonce = load_u64le(p + AT_NONCE),
        .previous = load_u64le(p + AT_PREVIOUS),
        .previous_end = load_u64le(p + AT_PREVIOUS_END),
    };
    return OK;
}

static uint32_t head_crc(const uint8_t *head, uint64_t nonce, uint32_t offset)
{
    uint8_t all[8 + 4 + AT_HEAD_CRC];

    store_u64le(all, nonce);
    store_u32le(all + 8, offset);
    memcpy(all + 12, head, AT_HEAD_CRC);
    return crc32c(0, all, sizeof all);
}

void wal_head_encode(const struct wal_head *h, uint64_t nonce, uint32_t offset,
                     uint8_t out[WAL_HEAD_BYTES])
{
    store_u32le(out + AT_LENGTH, h->length);
    store_u32le(out + AT_DURABLE, h->durable);
    store_u32le(out + AT_PAYLOAD_CRC, h->payload_crc);
    store_u32le(out + AT_HEAD_CRC, head_crc(out, nonce, offset));
}

size_t wal_record_space(size_t payload_bytes)
{
    return (WAL_HEAD_BYTES + payload_bytes + WAL_ALIGN - 1) & ~(size_t)(WAL_ALIGN - 1);
}

/* Reads the head at an offset; false when there is none whose payload the file could hold. */
static bool head_at(const struct wal_reader *r, size_t at, struct wal_head *out)
{
    const uint8_t *p = r->file.ptr + at;
    size_t left = r->file.len - at;
    uint32_t length;

    if (left <= WAL_HEAD_BYTES)
        return false;
    length = load_u32le(p + AT_LENGTH);
    if (length == 0 || length > left - WAL_HEAD_BYTES)
        return false;
    if (load_u32le(p + AT_HEAD_CRC) != head_crc(p, r->nonce, (uint32_t)at))
        return false;
    *out = (struct wal_head){
        .length = length,
        .durable = load_u32le(p + AT_DURABLE),
        .payload_crc = load_u32le(p + AT_PAYLOAD_CRC),
    };
    return out->durable <= at;
}

/* Moves *at forward to the next sound head. */
static bool find_head(const struct wal_reader *r, size_t *at, struct wal_head *out)
{
    for (; *at + WAL_HEAD_BYTES < r->file.len; *at += WAL_ALIGN)
        if (head_at(r, *at, out))
            return true;
    return false;
}

/* Walks the heads once to learn where the log ends and how much of it had been promised. */
static void survey(struct wal_reader *r)
{
    size_t at = r->at;
    struct wal_head h;

    while (find_head(r, &at, &h)) {
        at += wal_record_space(h.length);
        r->end = at;
        if (h.durable > r->durable)
            r->durable = h.durable;
    }
}

struct wal_reader wal_reader_on(struct bytes file, const struct wal_header *h, uint64_t durable)
{
    struct wal_reader r = {
        .file = file,
        .nonce = h->nonce,
        .at = WAL_HEADER_BYTES,
        .end = WAL_HEADER_BYTES,
        .durable = durable < WAL_SEGMENT_LIMIT ? (size_t)durable : 0,
    };

    ASSERT(file.len >= WAL_HEADER_BYTES && file.len <= WAL_SEGMENT_LIMIT);
    survey(&r);
    return r;
}

static void count_bad(struct wal_reader *r, size_t start)
{
    if (start < r->durable)
        r->skipped++;
    else
        r->torn++;
}

bool wal_reader_next(struct wal_reader *r, struct bytes *record)
{
    struct wal_head h;

    while (r->at < r->end) {
        size_t start = r->at;
        bool found = find_head(r, &r->at, &h);

        ASSERT(found); /* survey() met the head that ends at r->end */
        if (r->at != start)
            count_bad(r, start);
        start = r->at;
        *record = (struct bytes){ r->file.ptr + start + WAL_HEAD_BYTES, h.length };
        r->at += wal_record_space(h.length);
        if (crc32c(0, record->ptr, record->len) == h.payload_crc)
            return true;
        count_bad(r, start);
    }
    if (r->at < r->durable) {
        r->skipped++; /* the end is missing, and it had been promised */
        r->at = r->end = r->durable;
    }
    return false;
}
