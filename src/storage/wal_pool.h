/* wal_pool.h -- pre-written files for the log to come, and the calls by which it reaches the disk.
 *
 *   <number>.log    a segment; ten decimal digits, rising in the order of writing
 *   <number>.spare  a pre-written file that holds nothing of value
 *   <number>.bad    a segment whose header did not check, kept for a person to look at
 *
 * While the segment being written has room left, a thread of its own pre-writes the next file, so
 * that growing does not delay those who wait for a sync.
 *
 * Threads: wal_pool_get() and wal_pool_prepare() from one; the rest from any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

/* The calls that read and make durable, as in their manual pages; called from several threads. */
struct wal_io {
    ssize_t (*pread)(void *ctx, int fd, void *to, size_t n, off_t offset);
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

/* The open folder of a log. */
struct wal_folder {
    const char *dir;
    int fd;
    const struct wal_io *io;
};

/* Tells of errno: ERR_UNAVAILABLE for a lack of disk space, memory or file descriptors, where
 * waiting may help, ERR_IO otherwise. */
MUST_USE enum errc wal_folder_fail(const struct wal_folder *folder, const char *what,
                                   const char *name, struct err *err);

enum {
    WAL_NAME_BYTES = 32,
    WAL_MAX_SPARES = 4, /* what a checkpoint of two segments releases and uses, twice */
};

/* Writes "<number>.<suffix>" and returns out. */
const char *wal_file_name(uint64_t number, const char *suffix, char out[WAL_NAME_BYTES]);

/* Reads the name of a segment or a spare; *suffix points into name. False for any other name. */
bool wal_file_parse(const char *name, uint64_t *number, const char **suffix);

struct wal_spare {
    uint64_t number;
    size_t bytes;
};

struct wal_pool;

/* A pool without spares; folder is borrowed until it is closed. Files are at least min_bytes and,
 * but for large records, at most max_bytes. */
MUST_USE enum errc wal_pool_open(const struct wal_folder *folder, size_t min_bytes,
                                 size_t max_bytes, struct wal_pool **out, struct err *err);
void wal_pool_close(struct wal_pool *p); /* NULL is fine; the files stay */

/* A file has this number: later ones are higher. */
void wal_pool_saw(struct wal_pool *p, uint64_t number);

/* A number that no file has. */
uint64_t wal_pool_number(struct wal_pool *p);

/* Hands a spare file over to the pool, which deletes the smallest when there are too many. */
void wal_pool_put(struct wal_pool *p, struct wal_spare spare);

/* Takes a spare file, or makes one, that holds at least least_bytes and is of the size that load
 * asks for: with grow, from now on twice as much as before. On a full disk it is as small as it
 * may. ERR_UNAVAILABLE or ERR_IO as for wal_folder_fail(), no file is left behind. */
MUST_USE enum errc wal_pool_get(struct wal_pool *p, size_t least_bytes, bool grow,
                                struct wal_spare *out, struct err *err);

/* Has a spare made in the background of the size to grow to, if there is none. */
void wal_pool_prepare(struct wal_pool *p);
