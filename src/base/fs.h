/* fs.h -- files and folders, with errors that name the path.
 *
 * Everything that must survive a power cut is written under a temporary name, synced, renamed, and
 * the folder synced.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Creates path and its missing parents (mode 0750), durably. OK when it exists already. */
MUST_USE enum errc fs_make_dirs(const char *path, struct err *err);

/* Makes the names in a folder durable. */
MUST_USE enum errc fs_sync_dir(const char *path, struct err *err);

/* Replaces dir/name by the given bytes, atomically and durably. */
MUST_USE enum errc fs_write_atomic(const char *dir, const char *name, struct bytes data,
                                   struct err *err);

/* Appends the whole file to out. ERR_NOT_FOUND when there is none, ERR_TOO_LARGE beyond max bytes.
 */
MUST_USE enum errc fs_read_file(const char *path, size_t max, struct buf *out, struct err *err);

/* Removes a file; OK when there is none. */
MUST_USE enum errc fs_remove(const char *path, struct err *err);

/* Calls fn for each entry of a folder except . and .., in no order. fn may remove the entry it is
 * given; a false return ends the walk. */
MUST_USE enum errc fs_each(const char *path, bool (*fn)(void *ctx, const char *name), void *ctx,
                           struct err *err);

/* Writes all n bytes at offset, resuming after short writes and EINTR. */
MUST_USE enum errc fs_pwrite(int fd, const void *p, size_t n, uint64_t offset, const char *path,
                             struct err *err);

/* Opens and locks path (created when missing) for this process; *fd holds the lock until closed.
 * ERR_CONFLICT when another process has it. */
MUST_USE enum errc fs_lock(const char *path, int *fd, struct err *err);

/* Whether the disk of path has room for so many bytes and a reserve: 64 MiB, or a twentieth of a
 * small disk. *free_bytes is what it has. True also when nobody knows. */
bool fs_has_room(const char *path, uint64_t bytes, uint64_t *free_bytes);

/* The size of a file in bytes, 0 when there is none. */
uint64_t fs_size(const char *path);
