/* wal_store.c
 *
 * Why pre-write: overwriting blocks that exist changes no metadata, so a sync is one flush of the
 * device instead of a journal commit as well; reserving without writing (fallocate) is not enough,
 * since turning unwritten blocks into written ones is metadata too.
 *
 * Sizes double whenever a segment has been filled, and do not shrink until the log is opened again:
 * the spares of a busy hour are what the next one needs.
 */
#include "storage/wal_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"
#include "base/banned.h"

enum {
    MAX_SPARES = 4, /* what a checkpoint of two segments of 64 MiB releases and uses, twice */
    DIGITS = 10,
    NAME_BYTES = 32,
    PAGE_BYTES = 4096,
    ZERO_BYTES = 16384,
    ZEROS_PER_WRITE = 64,
};

static const uint8_t zeros[ZERO_BYTES];

struct spare {
    uint64_t number;
    size_t bytes;
};

struct wal_store {
    struct wal_store_options options;
    char *dir;
    int dir_fd;
    uint64_t n_bad;
    pthread_t preparer;
    bool has_preparer;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    uint64_t next_number;
    size_t target_bytes; /* size of the next new segment */
    struct wal_segment *segments;
    size_t n_segments, cap_segments;
    struct spare spares[MAX_SPARES];
    size_t n_spares;
    bool preparing, stop;
};

/* --- the system's calls --- */

static ssize_t sys_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t offset)
{
    (void)ctx;
    return pwritev(fd, iov, n, offset);
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

const struct wal_io wal_io_system = { sys_pwritev, sys_fdatasync, sys_fsync, NULL };

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

static const char *name_of(uint64_t number, const char *suffix, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%0*" PRIu64 ".%s", DIGITS, number, suffix);
    return out;
}

/* Reads "<ten digits>.<suffix>"; false for any other name. */
static bool parse_name(const char *name, uint64_t *number, const char **suffix)
{
    *number = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(name[i] - '0');
    }
    if (name[DIGITS] != '.' || *number == 0)
        return false;
    *suffix = name + DIGITS + 1;
    return strcmp(*suffix, "log") == 0 || strcmp(*suffix, "spare") == 0;
}

/* ERR_UNAVAILABLE where waiting may help, ERR_IO where not. */
static enum errc fail(const struct wal_store *s, const char *what, const char *name,
                      struct err *err)
{
    int e = errno;
    bool lack = e == ENOSPC || e == EDQUOT || e == EMFILE || e == ENFILE || e == ENOMEM;

    return err_set(err, lack ? ERR_UNAVAILABLE : ERR_IO, 0, "%s %s/%s: %s", what, s->dir, name,
                   strerror(e));
}

static enum errc sync_dir(const struct wal_store *s, struct err *err)
{
    const struct wal_io *io = s->options.io;

    if (io->fsync_dir(io->ctx, s->dir_fd) != 0) /* never "later": what was renamed is in doubt */
        return err_set(err, ERR_IO, 0, "sync folder %s: %s", s->dir, strerror(errno));
    return OK;
}

static uint64_t take_number(struct wal_store *s)
{
    uint64_t number;

    pthread_mutex_lock(&s->lock);
    number = s->next_number++;
    pthread_mutex_unlock(&s->lock);
    return number;
}

/* --- spares --- */

/* Puts a spare into the pool. What is too many, the smallest, is deleted. */
static void keep_spare(struct wal_store *s, struct spare spare)
{
    char name[NAME_BYTES];
    bool usable =
        spare.bytes >= s->options.min_segment_bytes && spare.bytes <= s->options.max_segment_bytes;
    size_t least = 0;

    pthread_mutex_lock(&s->lock);
    if (usable && s->n_spares < MAX_SPARES) {
        s->spares[s->n_spares++] = spare;
        spare.number = 0;
    } else if (usable) {
        for (size_t i = 1; i < s->n_spares; i++)
            if (s->spares[i].bytes < s->spares[least].bytes)
                least = i;
        if (s->spares[least].bytes < spare.bytes) {
            struct spare smaller = s->spares[least];

            s->spares[least] = spare;
            spare = smaller;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (spare.number)
        unlinkat(s->dir_fd, name_of(spare.number, "spare", name), 0);
}

/* Takes the smallest spare of at least this size. */
static bool take_spare(struct wal_store *s, size_t bytes, struct spare *out)
{
    size_t best = MAX_SPARES;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_spares; i++)
        if (s->spares[i].bytes >= bytes
            && (best == MAX_SPARES || s->spares[i].bytes < s->spares[best].bytes))
            best = i;
    if (best < MAX_SPARES) {
        *out = s->spares[best];
        s->spares[best] = s->spares[--s->n_spares];
    }
    pthread_mutex_unlock(&s->lock);
    return best < MAX_SPARES;
}

static int write_zeros(const struct wal_store *s, int fd, size_t bytes)
{
    const struct wal_io *io = s->options.io;
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
static enum errc make_spare(struct wal_store *s, size_t bytes, struct spare *out, struct err *err)
{
    const struct wal_io *io = s->options.io;
    char name[NAME_BYTES];
    enum errc rc = OK;
    int fd;

    *out = (struct spare){ take_number(s), bytes };
    name_of(out->number, "spare", name);
    fd = openat(s->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return fail(s, "create", name, err);
    /* Reserving first finds a full disk before writing up to it; not every file system can. */
    if ((fallocate(fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        || write_zeros(s, fd, bytes) != 0 || io->fdatasync(io->ctx, fd) != 0) {
        rc = fail(s, "pre-write", name, err);
        unlinkat(s->dir_fd, name, 0);
    }
    close(fd);
    return rc;
}

static size_t larger_size(const struct wal_store *s)
{
    size_t twice = s->target_bytes * 2;

    return twice < s->options.max_segment_bytes ? twice : s->options.max_segment_bytes;
}

static void *preparer(void *arg)
{
    struct wal_store *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        size_t bytes = larger_size(s);
        struct spare spare;

        if (!s->preparing) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        /* A failure is not worth words here: who needs the file will try, and report, again. */
        if (take_spare(s, bytes, &spare) || make_spare(s, bytes, &spare, NULL) == OK)
            keep_spare(s, spare);
        pthread_mutex_lock(&s->lock);
        s->preparing = false;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void wal_store_prepare(struct wal_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->preparing = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* --- making segments --- */

static size_t segment_size_for(const struct wal_store *s, size_t record_bytes)
{
    size_t need = WAL_HEADER_BYTES + wal_record_space(record_bytes);

    need = (need + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return need > s->options.min_segment_bytes ? need : s->options.min_segment_bytes;
}

/* A spare of the size that load asks for; on a full disk, of the size that will just do. */
static enum errc get_spare(struct wal_store *s, const struct wal_want *want, struct spare *out,
                           struct err *err)
{
    size_t least = segment_size_for(s, want->record_bytes), bytes;
    enum errc rc;

    pthread_mutex_lock(&s->lock);
    while (s->preparing)
        pthread_cond_wait(&s->changed, &s->lock);
    if (want->grow)
        s->target_bytes = larger_size(s);
    bytes = s->target_bytes > least ? s->target_bytes : least;
    pthread_mutex_unlock(&s->lock);

    if (take_spare(s, bytes, out))
        return OK;
    rc = make_spare(s, bytes, out, err);
    if (rc != ERR_UNAVAILABLE || bytes == least)
        return rc;
    return take_spare(s, least, out) ? OK : make_spare(s, least, out, err);
}

/* Writes the header that makes a spare the segment it is going to be renamed to. */
static enum errc dedicate(const struct wal_store *s, const struct spare *spare,
                          const struct wal_header *h, int *fd, struct err *err)
{
    const struct wal_io *io = s->options.io;
    uint8_t page[WAL_HEADER_BYTES];
    struct iovec iov = { page, sizeof page };
    char from[NAME_BYTES], to[NAME_BYTES];
    enum errc rc = OK;

    name_of(spare->number, "spare", from);
    name_of(h->number, "log", to);
    wal_header_encode(h, page);
    *fd = openat(s->dir_fd, from, O_WRONLY | O_CLOEXEC);
    if (*fd < 0)
        return fail(s, "open", from, err);
    if (wal_io_write(io, *fd, &iov, 1, 0) != 0)
        rc = fail(s, "write", from, err);
    else if (io->fdatasync(io->ctx, *fd) != 0)
        rc = fail(s, "sync", from, err);
    else if (renameat(s->dir_fd, from, s->dir_fd, to) != 0)
        rc = fail(s, "rename", from, err);
    if (rc == OK)
        return sync_dir(s, err);
    unlinkat(s->dir_fd, from, 0);
    return rc;
}

/* Adds to the list of segments, whose numbers rise. */
static enum errc list_segment(struct wal_store *s, const struct wal_segment *segment,
                              struct err *err)
{
    enum errc rc = OK;

    pthread_mutex_lock(&s->lock);
    if (vec_reserve(&s->segments, &s->cap_segments, s->n_segments + 1, sizeof *s->segments))
        s->segments[s->n_segments++] = *segment;
    else
        rc = err_set(err, ERR_NOMEM, 0, "list of log segments: out of memory");
    pthread_mutex_unlock(&s->lock);
    return rc;
}

enum errc wal_store_create(struct wal_store *s, const struct wal_want *want, struct wal_file *out,
                           struct err *err)
{
    struct wal_file file = { .fd = -1 };
    struct wal_segment segment;
    struct spare spare;
    enum errc rc = get_spare(s, want, &spare, err);

    if (rc != OK)
        return rc;
    file.bytes = spare.bytes;
    file.header = (struct wal_header){
        .number = take_number(s),
        .generation = want->generation,
        .previous = want->previous,
        .previous_end = want->previous_end,
    };
    if (getrandom(&file.header.nonce, sizeof file.header.nonce, 0) != sizeof file.header.nonce)
        rc = err_set(err, ERR_IO, 0, "random nonce: %s", strerror(errno));
    else
        rc = dedicate(s, &spare, &file.header, &file.fd, err);
    segment = (struct wal_segment){ file.header, file.bytes };
    if (rc == OK)
        rc = list_segment(s, &segment, err);
    if (rc == OK)
        *out = file;
    else if (file.fd >= 0)
        close(file.fd);
    return rc;
}

/* --- releasing them --- */

/* Takes the first segment of a generation up to this one off the list. */
static bool unlist_segment(struct wal_store *s, uint64_t generation, struct wal_segment *out)
{
    bool found = false;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_segments && !found; i++) {
        found = s->segments[i].header.generation <= generation;
        if (found) {
            *out = s->segments[i];
            memmove(&s->segments[i], &s->segments[i + 1],
                    (s->n_segments - i - 1) * sizeof *s->segments);
            s->n_segments--;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* At most this many renamed files wait for the folder's sync; the others are deleted at once. */
enum errc wal_store_release(struct wal_store *s, uint64_t generation, struct err *err)
{
    struct spare renamed[MAX_SPARES];
    struct wal_segment segment;
    size_t n = 0;
    bool any = false;
    enum errc rc = OK;

    while (unlist_segment(s, generation, &segment)) {
        uint64_t number = segment.header.number;
        bool keep = n < MAX_SPARES && segment.bytes <= s->options.max_segment_bytes;
        char from[NAME_BYTES], to[NAME_BYTES];

        name_of(number, "log", from);
        name_of(number, "spare", to);
        if ((keep ? renameat(s->dir_fd, from, s->dir_fd, to) : unlinkat(s->dir_fd, from, 0)) != 0)
            rc = fail(s, keep ? "rename" : "remove", from, rc == OK ? err : NULL);
        else if (keep)
            renamed[n++] = (struct spare){ number, segment.bytes };
        any = true;
    }
    if (any && rc == OK)
        rc = sync_dir(s, err);
    for (size_t i = 0; i < n && rc == OK; i++)
        keep_spare(s, renamed[i]);
    return rc;
}

/* --- opening --- */

struct scan {
    struct wal_store *store;
    struct err *err;
    enum errc rc;
};

/* Reads and checks the header of one file: ERR_CORRUPT when it is damaged. */
static enum errc read_header(const struct wal_store *s, int fd, const char *name, uint64_t number,
                             struct wal_header *out, struct err *err)
{
    uint8_t page[WAL_HEADER_BYTES];
    ssize_t n = pread(fd, page, sizeof page, 0);
    enum errc rc = wal_header_decode((struct bytes){ page, n < 0 ? 0 : (size_t)n }, out);

    if (rc == ERR_UNSUPPORTED)
        return err_set(err, rc, 0, "%s/%s was written by a newer program", s->dir, name);
    return rc == OK && out->number != number ? ERR_CORRUPT : rc;
}

static enum errc set_aside(struct wal_store *s, const char *name, uint64_t number, struct err *err)
{
    char bad[NAME_BYTES];

    s->n_bad++;
    log_error("log segment with a damaged header set aside", "file=%s/%s as=%s", s->dir, name,
              name_of(number, "bad", bad));
    return renameat(s->dir_fd, name, s->dir_fd, bad) == 0 ? OK : fail(s, "rename", name, err);
}

static enum errc scan_file(struct wal_store *s, const char *name, struct err *err)
{
    struct wal_segment segment = { 0 };
    const char *suffix;
    struct stat st;
    uint64_t number;
    enum errc rc;
    int fd;

    if (!parse_name(name, &number, &suffix))
        return OK;
    fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = fail(s, "open", name, err);
    } else if (!S_ISREG(st.st_mode)) {
        rc = OK;
    } else {
        segment.bytes = (size_t)st.st_size;
        if (s->next_number <= number)
            s->next_number = number + 1;
        rc = strcmp(suffix, "spare") == 0
                 ? (keep_spare(s, (struct spare){ number, segment.bytes }), OK)
             : segment.bytes > WAL_SEGMENT_LIMIT
                 ? ERR_CORRUPT
                 : read_header(s, fd, name, number, &segment.header, err);
        if (rc == ERR_CORRUPT)
            rc = set_aside(s, name, number, err);
        else if (rc == OK && segment.header.number)
            rc = list_segment(s, &segment, err);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static bool scan_entry(void *ctx, const char *name)
{
    struct scan *scan = ctx;

    scan->rc = scan_file(scan->store, name, scan->err);
    return scan->rc == OK;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct wal_segment *)a)->header.number;
    uint64_t y = ((const struct wal_segment *)b)->header.number;

    return (x > y) - (x < y);
}

enum errc wal_store_open(const struct wal_store_options *options, struct wal_store **out,
                         struct err *err)
{
    struct wal_store *s = calloc(1, sizeof *s);
    struct scan scan = { s, err, OK };
    enum errc rc;

    if (!s || !(s->dir = strdup(options->dir))) {
        free(s);
        return err_set(err, ERR_NOMEM, 0, "open log: out of memory");
    }
    s->options = *options;
    s->dir_fd = -1;
    s->next_number = 1;
    s->target_bytes = options->min_segment_bytes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    rc = fs_make_dirs(s->dir, err);
    if (rc != OK)
        goto done;
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0) {
        rc = err_set(err, ERR_IO, 0, "open folder %s: %s", s->dir, strerror(errno));
        goto done;
    }
    rc = fs_each(s->dir, scan_entry, &scan, err);
    rc = rc == OK ? scan.rc : rc;
    if (rc != OK)
        goto done;
    if (s->n_segments)
        qsort(s->segments, s->n_segments, sizeof *s->segments, by_number);
    s->has_preparer = pthread_create(&s->preparer, NULL, preparer, s) == 0;
    if (!s->has_preparer) {
        rc = err_set(err, ERR_NOMEM, 0, "open log: cannot start a thread");
        goto done;
    }
    *out = s;
    s = NULL;
done:
    wal_store_close(s);
    return rc;
}

void wal_store_close(struct wal_store *s)
{
    if (!s)
        return;
    if (s->has_preparer) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->preparer, NULL);
    }
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->segments);
    free(s->dir);
    free(s);
}

const struct wal_segment *wal_store_segments(struct wal_store *s, size_t *n)
{
    *n = s->n_segments;
    return s->segments;
}

uint64_t wal_store_bad_segments(const struct wal_store *s)
{
    return s->n_bad;
}

enum errc wal_store_load(struct wal_store *s, const struct wal_segment *segment, struct buf *out,
                         struct err *err)
{
    char name[NAME_BYTES];
    enum errc rc = OK;
    uint8_t *to;
    int fd;

    buf_clear(out);
    to = buf_reserve(out, segment->bytes);
    if (!to)
        return err_set(err, ERR_NOMEM, 0, "read log segment: out of memory");
    fd = openat(s->dir_fd, name_of(segment->header.number, "log", name), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(s, "open", name, err);
    while (out->len < segment->bytes) {
        size_t left = segment->bytes - out->len;
        ssize_t n = pread(fd, to + out->len, left, (off_t)out->len);

        if (n < 0 && errno == EIO) {
            log_error("unreadable page of a log segment", "file=%s/%s offset=%zu", s->dir, name,
                      out->len);
            n = left < PAGE_BYTES ? (ssize_t)left : PAGE_BYTES;
            memset(to + out->len, 0, (size_t)n);
        } else if (n < 0 && errno != EINTR) {
            rc = fail(s, "read", name, err);
            break;
        }
        if (n == 0)
            break;
        out->len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return rc;
}

void wal_store_usage(struct wal_store *s, uint64_t *n_segments, uint64_t *n_bytes)
{
    pthread_mutex_lock(&s->lock);
    *n_segments = s->n_segments;
    *n_bytes = 0;
    for (size_t i = 0; i < s->n_segments; i++)
        *n_bytes += s->segments[i].bytes;
    pthread_mutex_unlock(&s->lock);
}
