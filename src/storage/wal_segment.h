/* wal_segment.h -- the bytes of a log segment: its header, its records, and a reader that goes on
 * after damage. Memory only; the files are wal_store's.
 *
 * A segment file is pre-written once and then used again and again, each time under a fresh random
 * nonce that every record's check depends on: bytes left from an earlier use never parse.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    WAL_HEADER_BYTES = 4096, /* a page of its own, which no append rewrites */
    WAL_HEAD_BYTES = 16,     /* before each record */
    WAL_ALIGN = 8,           /* where records may begin */
};

/* No segment is larger, so offsets fit 32 bits with room to add. */
#define WAL_SEGMENT_LIMIT ((size_t)2 << 30)

struct wal_header {
    uint64_t number; /* also in the file's name */
    uint64_t generation;
    uint64_t nonce;
    uint64_t previous;     /* the segment before this one, 0 when unknown ... */
    uint64_t previous_end; /* ... and how many of its bytes were durable when it was closed */
};

void wal_header_encode(const struct wal_header *h, uint8_t out[WAL_HEADER_BYTES]);

/* Reads the header at the start of a segment.
 *   ERR_CORRUPT      shorter than a header, no magic, or a bad checksum
 *   ERR_UNSUPPORTED  a sound header of a format that this program does not know */
MUST_USE enum errc wal_header_decode(struct bytes file, struct wal_header *out);

struct wal_head {
    uint32_t length;  /* of the payload in bytes; 1 or more */
    uint32_t durable; /* the segment's bytes up to here were synced when this was written */
    uint32_t payload_crc;
};

/* The bytes that stand before a record's payload at offset of a segment with this nonce. */
void wal_head_encode(const struct wal_head *h, uint64_t nonce, uint32_t offset,
                     uint8_t out[WAL_HEAD_BYTES]);

/* The room a record takes: head, payload and zeros up to the next place to begin. */
size_t wal_record_space(size_t payload_bytes);

/* Reads the records of one segment. The counts are final once wal_reader_next() returned false. */
struct wal_reader {
    uint64_t skipped; /* bad places that had been durable */
    uint64_t torn;    /* bad places that had not */

    /* private */
    struct bytes file;
    uint64_t nonce;
    size_t at, end, durable;
};

/* A reader of a whole segment with a header that wal_header_decode() accepted; file is borrowed.
 * durable is how many of its bytes are known from elsewhere to have been synced, 0 when unknown. */
struct wal_reader wal_reader_on(struct bytes file, const struct wal_header *h, uint64_t durable);

/* The next good record, borrowed from the file; false at the end of the log. */
MUST_USE bool wal_reader_next(struct wal_reader *r, struct bytes *record);
