/* wal_store.h -- the segments in a log's folder: finding, making, reading and releasing them.
 *
 * Names and spares are wal_pool.h's; anything else in the folder is left alone. A spare becomes a
 * segment in three durable steps: new header synced, file renamed, folder synced. A released
 * segment becomes a spare by a rename, and is not touched before that rename is durable. So at
 * every moment a .log file has a sound header and either its records or none.
 *
 * Threads: wal_store_create() and wal_store_prepare() from one; wal_store_release() from one other;
 * wal_store_usage() from any; wal_store_segments() and wal_store_load() before any of these.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/wal_pool.h"
#include "storage/wal_segment.h"

struct wal_store_options {
    const char *dir;
    size_t min_segment_bytes, max_segment_bytes;
    const struct wal_io *io;
};

struct wal_store;

/* Lists the folder (created when missing), takes the spares into the pool, and renames segments
 * with a damaged header to .bad. ERR_UNSUPPORTED when one was written by a newer program. */
MUST_USE enum errc wal_store_open(const struct wal_store_options *options, struct wal_store **out,
                                  struct err *err);
void wal_store_close(struct wal_store *s); /* NULL is fine */

/* A segment on disk that has not been released. */
struct wal_segment {
    struct wal_header header;
    size_t bytes;
};

/* All of them by number. Borrowed: valid until the next create or release. */
const struct wal_segment *wal_store_segments(struct wal_store *s, size_t *n);

/* How many segments were found damaged from the header on. */
uint64_t wal_store_bad_segments(const struct wal_store *s);

/* Reads a segment whole, replacing what out held. Pages that the disk cannot read become zeros
 * (with a line in the log), so that the others still count. */
MUST_USE enum errc wal_store_load(struct wal_store *s, const struct wal_segment *segment,
                                  struct buf *out, struct err *err);

/* The segment being written. */
struct wal_file {
    int fd; /* -1: none */
    struct wal_header header;
    size_t bytes;
};

struct wal_want {
    uint64_t generation;
    uint64_t previous, previous_end; /* for the header */
    size_t record_bytes;             /* the record that must fit */
    bool grow;                       /* the one before was filled: take the next larger size */
};

/* Makes a durable, empty segment, from a spare when one is large enough. The caller closes
 * out->fd.
 *   ERR_UNAVAILABLE  no disk space, memory or file descriptors: nothing has changed, try again
 *   ERR_IO           anything else; the folder may or may not show the segment */
MUST_USE enum errc wal_store_create(struct wal_store *s, const struct wal_want *want,
                                    struct wal_file *out, struct err *err);

/* Has a spare of the size after this one made in the background, if there is none. */
void wal_store_prepare(struct wal_store *s);

/* Turns all segments of generations up to this one into spares, and deletes what is too many. */
MUST_USE enum errc wal_store_release(struct wal_store *s, uint64_t generation, struct err *err);

/* The segments on disk and their size together. */
void wal_store_usage(struct wal_store *s, uint64_t *n_segments, uint64_t *n_bytes);
