/* wal_pool.c
 *
 * Why pre-write: overwriting blocks that exist changes no metadata, so a sync is one flush of the
 * device instead of a journal commit as well; reserving without writing (fallocate) is not enough,
 * since turning unwritten blocks into written ones is metadata too.
 *
 * Sizes double whenever a segment has been filled, and do not shrink until the log is opened again:
 * the spares of a busy hour are what the next one needs.
 */
#include "storage/wal_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/banned.h"

enum {
    DIGITS = 10,
    PAGE_BYTES = 4096,
    ZERO_BYTES = 16384,
    ZEROS_PER_WRITE = 64,
};

static const uint64_t NUMBER_END = 10000000000; /* the first that has more digits */
static const uint8_t zeros[ZERO_BYTES];

struct wal_pool {
    const struct wal_folder *folder;
    size_t min_bytes, max_bytes;
    pthread_t preparer;
    bool has_preparer;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    uint64_t next_number;
    size_t target_bytes; /* size of the next new file */
    struct wal_spare spares[WAL_MAX_SPARES];
    size_t n_spares;
    bool preparing, stop;
};

/* --- the system's calls --- */

static ssize_t sys_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t offset)
{
    (void)ctx;
    return pwritev(fd, iov, n, offset);
}

static ssize_t sys_pread(void *ctx, int fd, void *to, size_t n, off_t offset)
{
    (void)ctx;
    return pread(fd, to, n, offset);
}

static int sys_fdatasync(void *ctx, int fd)
{
    (void)ctx;
    return fdatasync(fd);
}

static int sys_fsync(void *ctx, int fd)
{
    (void)ctx;
    return fsync(fd);
}

const struct wal_io wal_io_system = { sys_pread, sys_pwritev, sys_fdatasync, sys_fsync, NULL };

int wal_io_write(const struct wal_io *io, int fd, struct iovec *iov, int n, uint64_t offset)
{
    while (n > 0) {
        ssize_t wrote = io->pwritev(io->ctx, fd, iov, n, (off_t)offset);
        size_t left;

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            errno = wrote == 0 ? ENOSPC : errno;
            return -1;
        }
        offset += (uint64_t)wrote;
        for (left = (size_t)wrote; n > 0 && left >= iov->iov_len; iov++, n--)
            left -= iov->iov_len;
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

/* --- names and errors --- */

const char *wal_file_name(uint64_t number, const char *suffix, char out[WAL_NAME_BYTES])
{
    ASSERT(number < NUMBER_END);
    snprintf(out, WAL_NAME_BYTES, "%0*" PRIu64 ".%s", DIGITS, number, suffix);
    return out;
}

bool wal_file_parse(const char *name, uint64_t *number, const char **suffix)
{
    *number = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(name[i] - '0');
    }
    *suffix = name + DIGITS + 1;
    return *number > 0 && *number < NUMBER_END / 2 && name[DIGITS] == '.'
           && (strcmp(*suffix, "log") == 0 || strcmp(*suffix, "spare") == 0);
}

enum errc wal_folder_fail(const struct wal_folder *folder, const char *what, const char *name,
                          struct err *err)
{
    int e = errno;
    bool lack = e == ENOSPC || e == EDQUOT || e == EMFILE || e == ENFILE || e == ENOMEM;

    return err_set(err, lack ? ERR_UNAVAILABLE : ERR_IO, 0, "%s %s/%s: %s", what, folder->dir, name,
                   strerror(e));
}

/* --- the pool --- */

void wal_pool_saw(struct wal_pool *p, uint64_t number)
{
    pthread_mutex_lock(&p->lock);
    if (p->next_number <= number)
        p->next_number = number + 1;
    pthread_mutex_unlock(&p->lock);
}

uint64_t wal_pool_number(struct wal_pool *p)
{
    uint64_t number;

    pthread_mutex_lock(&p->lock);
    number = p->next_number++;
    pthread_mutex_unlock(&p->lock);
    return number;
}

void wal_pool_put(struct wal_pool *p, struct wal_spare spare)
{
    char name[WAL_NAME_BYTES];
    bool usable = spare.bytes >= p->min_bytes && spare.bytes <= p->max_bytes;
    size_t least = 0;

    pthread_mutex_lock(&p->lock);
    if (usable && p->n_spares < WAL_MAX_SPARES) {
        p->spares[p->n_spares++] = spare;
        spare.number = 0;
    } else if (usable) {
        for (size_t i = 1; i < p->n_spares; i++)
            if (p->spares[i].bytes < p->spares[least].bytes)
                least = i;
        if (p->spares[least].bytes < spare.bytes) {
            struct wal_spare smaller = p->spares[least];

            p->spares[least] = spare;
            spare = smaller;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (spare.number)
        unlinkat(p->folder->fd, wal_file_name(spare.number, "spare", name), 0);
}

/* Takes the smallest spare of at least this size. */
static bool take_spare(struct wal_pool *p, size_t bytes, struct wal_spare *out)
{
    size_t best = WAL_MAX_SPARES;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_spares; i++)
        if (p->spares[i].bytes >= bytes
            && (best == WAL_MAX_SPARES || p->spares[i].bytes < p->spares[best].bytes))
            best = i;
    if (best < WAL_MAX_SPARES) {
        *out = p->spares[best];
        p->spares[best] = p->spares[--p->n_spares];
    }
    pthread_mutex_unlock(&p->lock);
    return best < WAL_MAX_SPARES;
}

static int write_zeros(const struct wal_pool *p, int fd, size_t bytes)
{
    const struct wal_io *io = p->folder->io;
    struct iovec iov[ZEROS_PER_WRITE];

    for (size_t at = 0; at < bytes;) {
        int n = 0;
        size_t chunk = 0;

        for (; n < ZEROS_PER_WRITE && at + chunk < bytes; n++) {
            size_t left = bytes - at - chunk;

            iov[n].iov_base = (void *)zeros;
            iov[n].iov_len = left < ZERO_BYTES ? left : ZERO_BYTES;
            chunk += iov[n].iov_len;
        }
        if (wal_io_write(io, fd, iov, n, at) != 0)
            return -1;
        at += chunk;
    }
    return 0;
}

/* Makes a zero-filled, synced file. */
static enum errc make_spare(struct wal_pool *p, size_t bytes, struct wal_spare *out,
                            struct err *err)
{
    const struct wal_io *io = p->folder->io;
    char name[WAL_NAME_BYTES];
    enum errc rc = OK;
    int fd;

    *out = (struct wal_spare){ wal_pool_number(p), bytes };
    wal_file_name(out->number, "spare", name);
    fd = openat(p->folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return wal_folder_fail(p->folder, "create", name, err);
    /* Reserving first finds a full disk before writing up to it; not every file system can. */
    if ((fallocate(fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        || write_zeros(p, fd, bytes) != 0 || io->fdatasync(io->ctx, fd) != 0) {
        rc = wal_folder_fail(p->folder, "pre-write", name, err);
        unlinkat(p->folder->fd, name, 0);
    }
    close(fd);
    return rc;
}

static size_t larger_size(const struct wal_pool *p)
{
    size_t twice = p->target_bytes * 2;

    return twice < p->max_bytes ? twice : p->max_bytes;
}

static void *preparer(void *arg)
{
    struct wal_pool *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        size_t bytes = larger_size(p);
        struct wal_spare spare;

        if (!p->preparing) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        /* A failure is not worth words here: who needs the file will try, and report, again. */
        if (take_spare(p, bytes, &spare) || make_spare(p, bytes, &spare, NULL) == OK)
            wal_pool_put(p, spare);
        pthread_mutex_lock(&p->lock);
        p->preparing = false;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void wal_pool_prepare(struct wal_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->preparing = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

enum errc wal_pool_get(struct wal_pool *p, size_t least_bytes, bool grow, struct wal_spare *out,
                       struct err *err)
{
    size_t least = (least_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, bytes;
    enum errc rc;

    if (least < p->min_bytes)
        least = p->min_bytes;
    pthread_mutex_lock(&p->lock);
    while (p->preparing)
        pthread_cond_wait(&p->changed, &p->lock);
    if (grow)
        p->target_bytes = larger_size(p);
    bytes = p->target_bytes > least ? p->target_bytes : least;
    pthread_mutex_unlock(&p->lock);

    if (take_spare(p, bytes, out))
        return OK;
    rc = make_spare(p, bytes, out, err);
    if (rc != ERR_UNAVAILABLE || bytes == least)
        return rc;
    return take_spare(p, least, out) ? OK : make_spare(p, least, out, err);
}

/* --- opening --- */

enum errc wal_pool_open(const struct wal_folder *folder, size_t min_bytes, size_t max_bytes,
                        struct wal_pool **out, struct err *err)
{
    struct wal_pool *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(err, ERR_NOMEM, 0, "open log: out of memory");
    p->folder = folder;
    p->min_bytes = p->target_bytes = min_bytes;
    p->max_bytes = max_bytes;
    p->next_number = 1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->has_preparer = pthread_create(&p->preparer, NULL, preparer, p) == 0;
    if (!p->has_preparer) {
        wal_pool_close(p);
        return err_set(err, ERR_NOMEM, 0, "open log: cannot start a thread");
    }
    *out = p;
    return OK;
}

void wal_pool_close(struct wal_pool *p)
{
    if (!p)
        return;
    if (p->has_preparer) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->preparer, NULL);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
