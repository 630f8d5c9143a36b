/* wal_store.c -- the list of segments, kept in step with the folder. */
#include "storage/wal_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"

#include "base/banned.h"

enum { PAGE_BYTES = 4096 };

struct wal_store {
    struct wal_folder folder;
    struct wal_pool *pool;
    size_t max_segment_bytes;
    uint64_t n_bad;

    pthread_mutex_t lock; /* guards all below */
    struct wal_segment *segments;
    size_t n_segments, cap_segments;
};

static enum errc sync_dir(const struct wal_store *s, struct err *err)
{
    const struct wal_io *io = s->folder.io;

    if (io->fsync_dir(io->ctx, s->folder.fd) != 0) /* never "later": what was renamed is in doubt */
        return err_set(err, ERR_IO, 0, "sync folder %s: %s", s->folder.dir, strerror(errno));
    return OK;
}

/* --- making segments --- */

/* Writes the header that makes a spare the segment it is going to be renamed to. */
static enum errc dedicate(const struct wal_store *s, const struct wal_spare *spare,
                          const struct wal_header *h, int *fd, struct err *err)
{
    const struct wal_io *io = s->folder.io;
    uint8_t page[WAL_HEADER_BYTES];
    struct iovec iov = { page, sizeof page };
    char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];
    enum errc rc = OK;

    wal_file_name(spare->number, "spare", from);
    wal_file_name(h->number, "log", to);
    wal_header_encode(h, page);
    *fd = openat(s->folder.fd, from, O_WRONLY | O_CLOEXEC);
    if (*fd < 0)
        return wal_folder_fail(&s->folder, "open", from, err);
    if (wal_io_write(io, *fd, &iov, 1, 0) != 0)
        rc = wal_folder_fail(&s->folder, "write", from, err);
    else if (io->fdatasync(io->ctx, *fd) != 0)
        rc = wal_folder_fail(&s->folder, "sync", from, err);
    else if (renameat(s->folder.fd, from, s->folder.fd, to) != 0)
        rc = wal_folder_fail(&s->folder, "rename", from, err);
    if (rc == OK)
        return sync_dir(s, err);
    unlinkat(s->folder.fd, from, 0);
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
    size_t least = WAL_HEADER_BYTES + wal_record_space(want->record_bytes);
    struct wal_file file = { .fd = -1 };
    struct wal_segment segment;
    struct wal_spare spare;
    enum errc rc = wal_pool_get(s->pool, least, want->grow, &spare, err);

    if (rc != OK)
        return rc;
    file.bytes = spare.bytes;
    file.header = (struct wal_header){
        .number = wal_pool_number(s->pool),
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
    struct wal_spare renamed[WAL_MAX_SPARES];
    struct wal_segment segment;
    size_t n = 0;
    bool any = false;
    enum errc rc = OK;

    while (unlist_segment(s, generation, &segment)) {
        uint64_t number = segment.header.number;
        bool keep = n < WAL_MAX_SPARES && segment.bytes <= s->max_segment_bytes;
        char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];

        wal_file_name(number, "log", from);
        wal_file_name(number, "spare", to);
        if ((keep ? renameat(s->folder.fd, from, s->folder.fd, to)
                  : unlinkat(s->folder.fd, from, 0))
            != 0)
            rc = wal_folder_fail(&s->folder, keep ? "rename" : "remove", from,
                                 rc == OK ? err : NULL);
        else if (keep)
            renamed[n++] = (struct wal_spare){ number, segment.bytes };
        any = true;
    }
    if (any && rc == OK)
        rc = sync_dir(s, err);
    for (size_t i = 0; i < n && rc == OK; i++)
        wal_pool_put(s->pool, renamed[i]);
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
    ssize_t n = s->folder.io->pread(s->folder.io->ctx, fd, page, sizeof page, 0);
    enum errc rc = wal_header_decode((struct bytes){ page, n < 0 ? 0 : (size_t)n }, out);

    if (rc == ERR_UNSUPPORTED)
        return err_set(err, rc, 0, "%s/%s was written by a newer program", s->folder.dir, name);
    return rc == OK && out->number != number ? ERR_CORRUPT : rc;
}

static enum errc set_aside(struct wal_store *s, const char *name, uint64_t number, struct err *err)
{
    char bad[WAL_NAME_BYTES];

    s->n_bad++;
    log_error("log segment with a damaged header set aside", "file=%s/%s as=%s", s->folder.dir,
              name, wal_file_name(number, "bad", bad));
    return renameat(s->folder.fd, name, s->folder.fd, bad) == 0
               ? OK
               : wal_folder_fail(&s->folder, "rename", name, err);
}

static enum errc scan_file(struct wal_store *s, const char *name, struct err *err)
{
    struct wal_segment segment = { 0 };
    const char *suffix;
    struct stat st;
    uint64_t number;
    enum errc rc;
    int fd;

    if (!wal_file_parse(name, &number, &suffix))
        return OK;
    fd = openat(s->folder.fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = wal_folder_fail(&s->folder, "open", name, err);
    } else if (!S_ISREG(st.st_mode)) {
        rc = OK;
    } else {
        segment.bytes = (size_t)st.st_size;
        wal_pool_saw(s->pool, number);
        rc = strcmp(suffix, "spare") == 0
                 ? (wal_pool_put(s->pool, (struct wal_spare){ number, segment.bytes }), OK)
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
    char *dir = strdup(options->dir);
    struct scan scan = { s, err, OK };
    enum errc rc;

    if (!s || !dir) {
        free(s);
        free(dir);
        return err_set(err, ERR_NOMEM, 0, "open log: out of memory");
    }
    s->folder = (struct wal_folder){ dir, -1, options->io };
    s->max_segment_bytes = options->max_segment_bytes;
    pthread_mutex_init(&s->lock, NULL);
    rc = fs_make_dirs(dir, err);
    if (rc != OK)
        goto done;
    s->folder.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->folder.fd < 0) {
        rc = err_set(err, ERR_IO, 0, "open folder %s: %s", dir, strerror(errno));
        goto done;
    }
    rc = wal_pool_open(&s->folder, options->min_segment_bytes, options->max_segment_bytes, &s->pool,
                       err);
    if (rc != OK)
        goto done;
    rc = fs_each(dir, scan_entry, &scan, err);
    rc = rc == OK ? scan.rc : rc;
    if (rc != OK)
        goto done;
    if (s->n_segments)
        qsort(s->segments, s->n_segments, sizeof *s->segments, by_number);
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
    wal_pool_close(s->pool);
    if (s->folder.fd >= 0)
        close(s->folder.fd);
    pthread_mutex_destroy(&s->lock);
    free(s->segments);
    free((char *)s->folder.dir);
    free(s);
}

void wal_store_prepare(struct wal_store *s)
{
    wal_pool_prepare(s->pool);
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
    const struct wal_io *io = s->folder.io;
    char name[WAL_NAME_BYTES];
    enum errc rc = OK;
    uint8_t *to;
    int fd;

    buf_clear(out);
    to = buf_reserve(out, segment->bytes);
    if (!to)
        return err_set(err, ERR_NOMEM, 0, "read log segment: out of memory");
    fd = openat(s->folder.fd, wal_file_name(segment->header.number, "log", name),
                O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return wal_folder_fail(&s->folder, "open", name, err);
    while (out->len < segment->bytes) {
        size_t left = segment->bytes - out->len;
        ssize_t n = io->pread(io->ctx, fd, to + out->len, left, (off_t)out->len);

        if (n < 0 && errno == EIO) {
            log_error("unreadable page of a log segment", "file=%s/%s offset=%zu", s->folder.dir,
                      name, out->len);
            n = left < PAGE_BYTES ? (ssize_t)left : PAGE_BYTES;
            memset(to + out->len, 0, (size_t)n);
        } else if (n < 0 && errno != EINTR) {
            rc = wal_folder_fail(&s->folder, "read", name, err);
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
