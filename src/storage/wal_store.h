/* wal_store.h -- the folder of log segments: finding, making, pre-writing and recycling files.
 *
 *   <number>.log    a segment; ten decimal digits, rising in the order of writing
 *   <number>.spare  a pre-written file that holds nothing of value
 *   <number>.bad    a segment whose header did not check, kept for a person to look at
 *
 * Anything else in the folder is left alone. A spare becomes a segment in three durable steps: new
 * header synced, file renamed, folder synced. A released segment becomes a spare by a rename, and
 * is not touched before that rename is durable. So at every moment a .log file has a sound header
 * and either its records or none.
 *
 * While the segment being written has room left, a thread of its own pre-writes the next file, so
 * that growing does not delay those who wait for a sync.
 *
 * Threads: wal_store_create() and wal_store_prepare() from one; wal_store_release() from one other;
 * wal_store_usage() from any; wal_store_segments() and wal_store_load() before any of these.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/wal_segment.h"

/* The calls that make data durable, as in their manual pages; called from several threads. */
struct wal_io {
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int n, off_t offset);
    int (*fdatasync)(void *ctx, int fd);
    int (*fsync_dir)(void *ctx, int fd);
    void *ctx;
};

extern const struct wal_io wal_io_system;

/* Writes all of iov (which it changes) at offset, resuming after short writes and EINTR. -1 and
 * errno on failure. */
MUST_USE int wal_io_write(const struct wal_io *io, int fd, struct iovec *iov, int n,
                          uint64_t offset);

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
