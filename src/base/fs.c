#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/banned.h"

static enum errc fail(struct err *err, const char *what, const char *path)
{
    enum errc rc = errno == ENOENT                      ? ERR_NOT_FOUND
                   : errno == ENOSPC || errno == EDQUOT ? ERR_UNAVAILABLE
                                                        : ERR_IO;

    return err_set(err, rc, 0, "%s %s: %s", what, path, strerror(errno));
}

/* Makes a new folder's own name durable; without it a power cut takes all that was synced in it. */
static enum errc sync_parent(const char *path, struct err *err)
{
    char parent[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');

    if (slash)
        snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return fs_sync_dir(parent, err);
}

enum errc fs_make_dirs(const char *path, struct err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    struct stat st;

    if (n == 0 || n >= sizeof part)
        return err_set(err, ERR_BAD_CONFIG, 0, "bad folder name: \"%s\"", path);
    for (size_t i = 1; i <= n; i++) {
        enum errc rc = OK;

        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0750) == 0)
            rc = sync_parent(part, err);
        else if (errno != EEXIST)
            rc = fail(err, "create folder", part);
        if (rc != OK)
            return rc;
    }
    if (stat(path, &st) != 0)
        return fail(err, "create folder", path);
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return fail(err, "create folder", path);
    }
    return OK;
}

enum errc fs_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum errc rc = OK;

    if (fd < 0)
        return fail(err, "open folder", path);
    if (fsync(fd) != 0)
        rc = fail(err, "sync folder", path);
    close(fd);
    return rc;
}

enum errc fs_pwrite(int fd, const void *p, size_t n, uint64_t offset, const char *path,
                    struct err *err)
{
    const char *from = p;

    while (n) {
        ssize_t done = pwrite(fd, from, n, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            errno = done == 0 ? ENOSPC : errno;
            return fail(err, "write", path);
        }
        from += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return OK;
}

enum errc fs_write_atomic(const char *dir, const char *name, struct bytes data, struct err *err)
{
    char temp[PATH_MAX], path[PATH_MAX];
    enum errc rc;
    int fd;

    if (snprintf(temp, sizeof temp, "%s/%s.tmp", dir, name) >= (int)sizeof temp
        || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s/%s", dir, name);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return fail(err, "create", temp);
    rc = fs_pwrite(fd, data.ptr, data.len, 0, temp, err);
    if (rc == OK && fdatasync(fd) != 0)
        rc = fail(err, "sync", temp);
    close(fd);
    if (rc == OK && rename(temp, path) != 0)
        rc = fail(err, "rename", temp);
    if (rc != OK) {
        unlink(temp);
        return rc;
    }
    return fs_sync_dir(dir, err);
}

enum errc fs_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t start = out->len;
    enum errc rc = OK;

    if (fd < 0)
        return fail(err, "open", path);
    for (;;) {
        uint8_t *to = buf_reserve(out, 65536);
        ssize_t n;

        if (!to) {
            rc = err_set(err, ERR_NOMEM, 0, "read %s: out of memory", path);
            break;
        }
        n = read(fd, to, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = fail(err, "read", path);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        if (out->len - start > max) {
            rc = err_set(err, ERR_TOO_LARGE, 0, "%s: larger than %zu bytes", path, max);
            break;
        }
    }
    close(fd);
    return rc;
}

enum errc fs_remove(const char *path, struct err *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return fail(err, "remove", path);
    return OK;
}

enum errc fs_each(const char *path, bool (*fn)(void *ctx, const char *name), void *ctx,
                  struct err *err)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    enum errc rc = OK;

    if (!dir)
        return fail(err, "open folder", path);
    while (errno = 0, (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!fn(ctx, entry->d_name))
            break;
    }
    if (!entry && errno != 0)
        rc = fail(err, "list", path);
    closedir(dir);
    return rc;
}

enum errc fs_lock(const char *path, int *fd, struct err *err)
{
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

    if (f < 0)
        return fail(err, "open", path);
    if (flock(f, LOCK_EX | LOCK_NB) != 0) {
        enum errc rc =
            errno == EWOULDBLOCK
                ? err_set(err, ERR_CONFLICT, 0,
                          "%s: locked by another process; is tidemark running already?", path)
                : fail(err, "lock", path);
        close(f);
        return rc;
    }
    *fd = f;
    return OK;
}

uint64_t fs_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool fs_has_room(const char *path, uint64_t bytes, uint64_t *free_bytes)
{
    enum { RESERVE_BYTES = 64 << 20, RESERVE_SHARE = 20 };
    struct statvfs fs;
    uint64_t reserve;

    *free_bytes = UINT64_MAX;
    if (statvfs(path, &fs) != 0)
        return true;
    *free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    reserve = (uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_SHARE;
    if (reserve > RESERVE_BYTES)
        reserve = RESERVE_BYTES;
    return *free_bytes >= reserve && *free_bytes - reserve >= bytes;
}
