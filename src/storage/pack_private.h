/* pack_private.h -- what pack_writer.c, pack.c and pack_v1.c share; not for others.
 *
 * A pack of version 2; numbers of fixed size are little endian.
 *
 *   offset size  header
 *        0    4  magic "TMPK"
 *        4    1  version = 2
 *        5    3  zero
 *        8    4  bytes of the whole pack
 *       12    4  number of chunks, 1 or more
 *       16    4  CRC-32C of header and directory without this field
 *       20    4  bytes of the directory
 *       24       directory, then columns
 *
 *   directory
 *        2  number of columns of times T, then 2 number of groups of buckets G
 *   T * 22  i64 min time, u32 max time - min time, u16 samples, then u32 offset of the column and u32
 *           bytes of its payload. Or, of times in a column beside the pack: 2^31 + 2^13 * times in
 *           that column + how many of them come before, and u32 number of the column
 *    G * 4  u32 offset of the group's column
 *   B * 10  for each block of 16 chunks: u32 id of its first, u16 offset of its entries from the
 *           directory's beginning, u32 offset of its first column of values
 *        n  entries, sorted by (id, min time)
 *
 *   entry
 *        1  head: content (enum pack_content), + 8 start times, + 16 the times of the entry before
 *           it in its block, + 32 the id after that of the entry before it, + 64 values are here
 *           and not in a column
 *   [not 32]  uvarint id - id before; of the first of a block 0
 *   [not 16]  uvarint number of the column of times
 *   a bucket  uvarint number of the group, u8 rank
 *     others  uvarint bytes of values, [64] the values
 *        [8]  uvarint bytes of start times
 *
 * A column is a CRC-32C of its payload, and the payload. Offsets count from the end of the
 * directory. There come columns of times, of groups, then values and start times of each chunk in
 * order of entries; each begins where the one before ends.
 *
 *   times, starts    codec_ints.h; 0 is an unknown start time
 *   floats           codec_float.h
 *   rows             uvarint length, then the encoding of histogram.h, for each histogram
 *   columns          codec_histogram.h
 *   group            u8 number of buckets m, m times uvarint bytes, m columns as of floats. The value
 *                    of a bucket is the sum of the numbers of its column and those before it; what is
 *                    no finite number in its own column is its value, and is no part of the sum
 */
#pragma once

#include "storage/pack.h"

enum {
    PACK_AT_VERSION = 4,
    PACK_AT_BYTES = 8,
    PACK_AT_CHUNKS = 12,
    PACK_AT_CRC = 16,
    PACK_AT_DIRECTORY_BYTES = 20,
    PACK_HEADER_BYTES = 24,
    PACK_AT_TABLES = PACK_HEADER_BYTES + 4,
    PACK_TIMES_BYTES = 22,
    PACK_GROUP_BYTES = 4,
    PACK_BLOCK_BYTES = 10,
    PACK_BLOCK_CHUNKS = 16,
    PACK_CRC_BYTES = 4,
    PACK_VERSION = 2,
};

#define PACK_ASIDE     (1u << 31)
#define PACK_RUN_SHIFT 13
#define PACK_RUN_MASK  ((1u << PACK_RUN_SHIFT) - 1)
_Static_assert(PACK_MAX_SAMPLES <= PACK_RUN_MASK, "a run's length and a place in it");

enum {
    PACK_CONTENT_MASK = 7,
    PACK_HAS_STARTS = 8,
    PACK_SAME_TIMES = 16,
    PACK_NEXT_ID = 32,
    PACK_INLINE = 64,
    PACK_MAX_INLINE = 24,
};

/* What the values of a chunk are, and in which codec. */
enum pack_content {
    PACK_FLOATS,
    PACK_INT_ROWS,
    PACK_FLOAT_ROWS,
    PACK_BUCKET,
    PACK_INT_COLUMNS,
    PACK_FLOAT_COLUMNS,
    PACK_CONTENT_COUNT,
};

extern const char pack_magic[4];

/* Version 1; see pack_v1.c. */
MUST_USE enum errc pack_v1_open(struct bytes data, bool trusted, struct pack *out, struct err *err);
struct pack_chunk pack_v1_chunk(const struct pack *p, size_t i);
size_t pack_v1_find(const struct pack *p, uint32_t id);
MUST_USE enum errc pack_v1_read(const struct pack *p, const struct pack_chunk *chunk,
                                struct column *out, struct err *err);

/* By id, then time. */
static inline int pack_compare(uint32_t id_a, int64_t t_a, uint32_t id_b, int64_t t_b)
{
    if (id_a != id_b)
        return id_a < id_b ? -1 : 1;
    return (t_a > t_b) - (t_a < t_b);
}

/* Appends times and histograms given as rows; ERR_CORRUPT without words, ERR_NOMEM. */
MUST_USE enum errc pack_decode_rows(struct bytes payload, const int64_t *t_ms, size_t n,
                                    bool is_integer, struct column *out);
