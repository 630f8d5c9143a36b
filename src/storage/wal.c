/* wal.c -- the queue of appenders, the committer that serves it, and replay.
 *
 *   appender                     committer
 *     checksum the payload
 *     queue a request  ────────▶   take all that is queued
 *     sleep                        a group: what fits the segment, 8 MiB, 256 records
 *                                  write it with one call, sync, apply each
 *     wake, answer     ◀────────   post each request's own semaphore
 *
 * Requests live on their appenders' stacks, so an append allocates nothing, and each sleeps on its
 * own semaphore: a group of n wakes n threads that need no common lock. Only the committer changes
 * the generation and writes segments, so it checks a record's generation when it places the record,
 * and a cut is a request like any other, served in its turn.
 *
 * Segments are made by the first record that needs one. A cut therefore needs no room on disk: a
 * full disk can always be relieved by flushing and releasing.
 *
 * Bytes are drawn in wal_segment.c, files in wal_store.h.
 */
#include "storage/wal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/log.h"
#include "storage/wal_segment.h"
#include "storage/wal_store.h"
#include "base/banned.h"

enum {
    GROUP_RECORDS = 256,
    IOV_PER_RECORD = 3, /* head, payload, padding */
    GROUP_BYTES = 8 << 20,
    REASON_BYTES = 256,
};
_Static_assert(GROUP_RECORDS *IOV_PER_RECORD <= 1024, "one pwritev takes IOV_MAX pieces");

static const uint8_t padding[WAL_ALIGN];

struct request {
    struct request *next;
    bool is_cut;
    uint64_t generation; /* the record's; of a cut: the one that ended */
    struct bytes record;
    void *user;
    uint32_t payload_crc;
    uint8_t head[WAL_HEAD_BYTES];
    enum errc rc; /* set before done is posted */
    sem_t done;
};

struct queue {
    struct request *first, **last; /* last: where the next one is linked */
};

struct wal {
    struct wal_options options;
    struct wal_store *store;
    _Atomic uint64_t generation; /* written by the committer only */
    pthread_t committer;
    bool has_committer;

    /* the committer's own */
    struct wal_file file;            /* the segment being written, fd -1 when there is none */
    uint32_t at;                     /* where its next record goes; all before is durable */
    uint64_t previous, previous_end; /* the one before it */
    bool filled;                     /* that one was closed for want of room */
    bool prepared;                   /* its successor has been asked for */
    struct arena *texts;             /* for the words of its errors */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wanted;
    struct queue queue;
    bool stop;
    struct wal_stats stats;
    char reason[REASON_BYTES]; /* why stats.failed or stats.stalled */
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static void queue_add(struct queue *q, struct request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

static struct request *queue_pop(struct queue *q)
{
    struct request *r = q->first;

    q->first = r->next;
    if (!q->first)
        q->last = &q->first;
    return r;
}

/* Moves all of from to the end of to. */
static void queue_move(struct queue *to, struct queue *from)
{
    if (!from->first)
        return;
    *to->last = from->first;
    to->last = from->last;
    queue_init(from);
}

/* Wakes the appender, whose stack holds r: nobody touches r afterwards. */
static void answer(struct request *r, enum errc rc)
{
    r->rc = rc;
    sem_post(&r->done);
}

static void answer_all(struct queue *q, enum errc rc)
{
    while (q->first)
        answer(queue_pop(q), rc);
}

/* --- failing --- */

/* The log is done for: nothing that is queued, or comes, will be acknowledged. */
static void fail_for_good(struct wal *w, const char *reason)
{
    struct queue orphans;

    queue_init(&orphans);
    pthread_mutex_lock(&w->lock);
    ASSERT(!w->stats.failed);
    w->stats.failed = true;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
    queue_move(&orphans, &w->queue);
    pthread_mutex_unlock(&w->lock);
    log_error("the log has failed; nothing is accepted until a restart", "reason=\"%s\"", reason);
    answer_all(&orphans, ERR_UNAVAILABLE);
}

static void set_stalled(struct wal *w, bool stalled, const char *reason)
{
    bool changed;

    pthread_mutex_lock(&w->lock);
    changed = w->stats.stalled != stalled;
    w->stats.stalled = stalled;
    if (stalled)
        snprintf(w->reason, sizeof w->reason, "%s", reason);
    pthread_mutex_unlock(&w->lock);
    if (changed && stalled)
        log_error("no new log segment; refusing writes until there is room", "reason=\"%s\"",
                  reason);
    else if (changed)
        log_info("log segments can be made again", "folder=%s", w->options.dir);
}

static bool has_failed(struct wal *w)
{
    bool failed;

    pthread_mutex_lock(&w->lock);
    failed = w->stats.failed;
    pthread_mutex_unlock(&w->lock);
    return failed;
}

/* --- the segment being written --- */

static void close_segment(struct wal *w, bool filled)
{
    if (w->file.fd < 0)
        return;
    close(w->file.fd);
    w->file.fd = -1;
    w->previous = w->file.header.number;
    w->previous_end = w->at;
    w->filled = filled;
}

static size_t room_left(const struct wal *w)
{
    return w->file.fd < 0 ? 0 : w->file.bytes - w->at;
}

/* Begins a segment with room for at least this record. ERR_UNAVAILABLE: it may be tried again;
 * anything else has failed the log. */
static enum errc open_segment(struct wal *w, size_t record_bytes)
{
    struct wal_want want = {
        .generation = wal_generation(w),
        .previous = w->previous,
        .previous_end = w->previous_end,
        .record_bytes = record_bytes,
        .grow = w->filled,
    };
    struct err err = err_in(w->texts);
    enum errc rc;

    arena_reset(w->texts);
    rc = wal_store_create(w->store, &want, &w->file, &err);
    w->filled = w->prepared = false;
    if (rc == OK) {
        w->at = WAL_HEADER_BYTES;
        set_stalled(w, false, "");
    } else if (rc == ERR_UNAVAILABLE) {
        set_stalled(w, true, err_text(&err));
    } else {
        fail_for_good(w, err_text(&err));
    }
    return rc;
}

/* --- a group --- */

struct group {
    struct queue requests;
    struct iovec iov[GROUP_RECORDS * IOV_PER_RECORD];
    int n_iov;
    uint32_t n, bytes;
};

static void place(const struct wal *w, struct group *g, struct request *r)
{
    struct wal_head head = { (uint32_t)r->record.len, w->at, r->payload_crc };
    size_t space = wal_record_space(r->record.len);
    size_t pad = space - WAL_HEAD_BYTES - r->record.len;

    wal_head_encode(&head, w->file.header.nonce, w->at + g->bytes, r->head);
    g->iov[g->n_iov++] = (struct iovec){ r->head, WAL_HEAD_BYTES };
    g->iov[g->n_iov++] = (struct iovec){ (void *)r->record.ptr, r->record.len };
    if (pad)
        g->iov[g->n_iov++] = (struct iovec){ (void *)padding, pad };
    queue_add(&g->requests, r);
    g->bytes += (uint32_t)space;
    g->n++;
}

/* Fills an empty group from the taken requests: records of this generation that fit one segment. */
static void gather(struct wal *w, struct queue *taken, struct group *g)
{
    while (taken->first && !taken->first->is_cut && g->n < GROUP_RECORDS
           && g->bytes < GROUP_BYTES) {
        struct request *r = taken->first;
        size_t space = wal_record_space(r->record.len);

        if (r->generation != wal_generation(w)) {
            answer(queue_pop(taken), ERR_CONFLICT);
            continue;
        }
        if (room_left(w) < g->bytes + space) {
            enum errc rc;

            if (g->n)
                return; /* commit these first */
            close_segment(w, true);
            rc = open_segment(w, r->record.len);
            if (rc != OK) {
                answer(queue_pop(taken), ERR_UNAVAILABLE);
                return;
            }
        }
        place(w, g, queue_pop(taken));
    }
}

static void count_group(struct wal *w, const struct group *g)
{
    pthread_mutex_lock(&w->lock);
    w->stats.bytes_written += g->bytes;
    w->stats.records += g->n;
    w->stats.syncs++;
    pthread_mutex_unlock(&w->lock);
}

static bool store_group(struct wal *w, struct group *g)
{
    const struct wal_io *io = w->options.io;
    const char *what = NULL;
    char reason[REASON_BYTES];

    if (wal_io_write(io, w->file.fd, g->iov, g->n_iov, w->at) != 0)
        what = "write";
    else if (io->fdatasync(io->ctx, w->file.fd) != 0)
        what = "sync";
    if (!what)
        return true;
    snprintf(reason, sizeof reason, "%s segment %" PRIu64 " in %s: %s", what, w->file.header.number,
             w->options.dir, strerror(errno));
    fail_for_good(w, reason);
    return false;
}

/* Serves the records at the front of the taken requests. */
static void commit(struct wal *w, struct queue *taken)
{
    struct group g; /* 12 KiB, not worth clearing */

    queue_init(&g.requests);
    g.n_iov = 0;
    g.n = g.bytes = 0;
    gather(w, taken, &g);
    if (g.n == 0)
        return;
    if (!store_group(w, &g)) {
        answer_all(&g.requests, ERR_UNAVAILABLE);
        return;
    }
    w->at += g.bytes;
    count_group(w, &g);
    if (!w->prepared && room_left(w) < w->file.bytes / 2) {
        w->prepared = true;
        wal_store_prepare(w->store);
    }
    if (w->options.apply)
        for (struct request *r = g.requests.first; r; r = r->next)
            w->options.apply(w->options.ctx, r->generation, r->record, r->user);
    answer_all(&g.requests, OK);
}

static void cut(struct wal *w, struct request *r)
{
    uint64_t ended = wal_generation(w);

    close_segment(w, false);
    if (w->options.cut)
        w->options.cut(w->options.ctx, ended + 1);
    atomic_store_explicit(&w->generation, ended + 1, memory_order_release);
    r->generation = ended;
    answer(r, OK);
}

/* --- the committer --- */

/* Waits for requests and takes them all; false when there are none and none will come. */
static bool take(struct wal *w, struct queue *taken)
{
    pthread_mutex_lock(&w->lock);
    while (!w->queue.first && !w->stop)
        pthread_cond_wait(&w->wanted, &w->lock);
    queue_move(taken, &w->queue);
    pthread_mutex_unlock(&w->lock);
    return taken->first;
}

static void *committer(void *arg)
{
    struct wal *w = arg;
    struct queue taken;

    queue_init(&taken);
    while (take(w, &taken)) {
        while (taken.first && !has_failed(w)) {
            if (taken.first->is_cut)
                cut(w, queue_pop(&taken));
            else
                commit(w, &taken);
        }
        answer_all(&taken, ERR_UNAVAILABLE);
    }
    close_segment(w, false);
    return NULL;
}

/* Adds a request for the committer; false when the log has failed. */
static bool enqueue(struct wal *w, struct request *r)
{
    bool accepted;

    pthread_mutex_lock(&w->lock);
    ASSERT(!w->stop);
    accepted = !w->stats.failed;
    if (accepted && !w->queue.first)
        pthread_cond_signal(&w->wanted);
    if (accepted)
        queue_add(&w->queue, r);
    pthread_mutex_unlock(&w->lock);
    return accepted;
}

static enum errc explain_unavailable(struct wal *w, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&w->lock);
    rc = err_set(err, ERR_UNAVAILABLE, 0, "the log %s: %s",
                 w->stats.failed ? "has failed" : "has no room", w->reason);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* Queues a request and waits for its answer; once queued, r->rc is the committer's to set. */
static enum errc submit(struct wal *w, struct request *r, struct err *err)
{
    enum errc rc = ERR_UNAVAILABLE;

    sem_init(&r->done, 0, 0);
    if (enqueue(w, r)) {
        while (sem_wait(&r->done) != 0)
            ASSERT(errno == EINTR);
        rc = r->rc;
    }
    sem_destroy(&r->done);
    return rc == ERR_UNAVAILABLE ? explain_unavailable(w, err) : rc;
}

uint64_t wal_generation(const struct wal *w)
{
    return atomic_load_explicit(&w->generation, memory_order_acquire);
}

enum errc wal_append(struct wal *w, uint64_t generation, struct bytes record, void *user,
                     struct err *err)
{
    struct request r = { .generation = generation, .record = record, .user = user };
    enum errc rc = ERR_CONFLICT;

    ASSERT(record.len > 0 && generation <= wal_generation(w));
    if (record.len > w->options.max_record_bytes)
        return err_set(err, ERR_TOO_LARGE, 0, "log record of %zu bytes is larger than %zu",
                       record.len, w->options.max_record_bytes);
    if (generation == wal_generation(w)) {
        r.payload_crc = crc32c(0, record.ptr, record.len);
        rc = submit(w, &r, err);
    }
    if (rc == ERR_CONFLICT)
        return err_set(err, rc, 0, "the log has left generation %" PRIu64, generation);
    return rc;
}

enum errc wal_cut(struct wal *w, uint64_t *ended, struct err *err)
{
    struct request r = { .is_cut = true };
    enum errc rc = submit(w, &r, err);

    if (rc == OK)
        *ended = r.generation;
    return rc;
}

enum errc wal_release(struct wal *w, uint64_t generation, struct err *err)
{
    ASSERT(generation < wal_generation(w));
    return wal_store_release(w->store, generation, err);
}

void wal_stats(struct wal *w, struct wal_stats *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->stats;
    pthread_mutex_unlock(&w->lock);
    wal_store_usage(w->store, &out->segments, &out->segment_bytes);
}

/* --- opening --- */

/* How many bytes of a segment the next one knows to have been durable. */
static uint64_t known_durable(const struct wal_segment *segment, const struct wal_segment *next)
{
    return next && next->header.previous == segment->header.number ? next->header.previous_end : 0;
}

static enum errc replay_segment(struct wal *w, const struct wal_segment *segment,
                                const struct wal_segment *next, struct buf *file, struct err *err)
{
    enum errc rc = wal_store_load(w->store, segment, file, err);
    struct wal_reader reader;
    struct bytes record;

    if (rc != OK)
        return rc;
    if (file->len < WAL_HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, 0, "log segment %" PRIu64 " shrank while being read",
                       segment->header.number);
    reader = wal_reader_on(buf_as_bytes(file), &segment->header, known_durable(segment, next));
    while (rc == OK && wal_reader_next(&reader, &record)) {
        w->stats.replayed++;
        if (w->options.replay)
            rc = w->options.replay(w->options.ctx, segment->header.generation, record, err);
    }
    w->stats.skipped += reader.skipped;
    w->stats.torn += reader.torn;
    if (reader.skipped)
        log_error("damaged log records skipped", "folder=%s segment=%" PRIu64 " places=%" PRIu64,
                  w->options.dir, segment->header.number, reader.skipped);
    return rc;
}

static enum errc replay(struct wal *w, struct err *err)
{
    size_t n;
    const struct wal_segment *segments = wal_store_segments(w->store, &n);
    uint64_t newest = w->options.released > w->options.used ? w->options.released : w->options.used;
    struct buf file = { 0 };
    enum errc rc = OK;

    for (size_t i = 0; i < n && rc == OK; i++) {
        const struct wal_segment *next = i + 1 < n ? &segments[i + 1] : NULL;

        if (segments[i].header.generation > newest)
            newest = segments[i].header.generation;
        if (segments[i].header.generation > w->options.released)
            rc = replay_segment(w, &segments[i], next, &file, err);
    }
    buf_free(&file);
    atomic_store_explicit(&w->generation, newest + 1, memory_order_release);
    return rc;
}

struct wal_options wal_options_default(void)
{
    return (struct wal_options){
        .min_segment_bytes = (size_t)1 << 20,
        .max_segment_bytes = (size_t)64 << 20,
        .max_record_bytes = (size_t)64 << 20,
    };
}

static enum errc start(struct wal *w, struct err *err)
{
    struct wal_store_options store = {
        .dir = w->options.dir,
        .min_segment_bytes = w->options.min_segment_bytes,
        .max_segment_bytes = w->options.max_segment_bytes,
        .io = w->options.io,
    };
    enum errc rc = wal_store_open(&store, &w->store, err);

    if (rc != OK)
        return rc;
    w->stats.skipped = wal_store_bad_segments(w->store);
    rc = replay(w, err);
    if (rc != OK)
        return rc;
    rc = wal_store_release(w->store, w->options.released, err);
    if (rc != OK)
        return rc;
    w->has_committer = pthread_create(&w->committer, NULL, committer, w) == 0;
    return w->has_committer ? OK : err_set(err, ERR_NOMEM, 0, "open log: cannot start a thread");
}

enum errc wal_open(const struct wal_options *options, struct wal **out, struct err *err)
{
    struct wal *w = calloc(1, sizeof *w);
    struct arena *texts = arena_new(4096);
    char *dir = strdup(options->dir);
    enum errc rc;

    ASSERT(options->min_segment_bytes > WAL_HEADER_BYTES
           && options->min_segment_bytes <= options->max_segment_bytes
           && options->max_segment_bytes <= WAL_SEGMENT_LIMIT
           && options->max_record_bytes <= WAL_SEGMENT_LIMIT / 2);
    if (!w || !texts || !dir) {
        free(w);
        arena_free(texts);
        free(dir);
        return err_set(err, ERR_NOMEM, 0, "open log: out of memory");
    }
    w->options = *options;
    w->options.dir = dir;
    w->options.io = options->io ? options->io : &wal_io_system;
    w->texts = texts;
    w->file.fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wanted, NULL);
    queue_init(&w->queue);
    rc = start(w, err);
    if (rc == OK)
        *out = w;
    else
        wal_close(w);
    return rc;
}

void wal_close(struct wal *w)
{
    if (!w)
        return;
    if (w->has_committer) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_signal(&w->wanted);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->committer, NULL);
    }
    wal_store_close(w->store);
    pthread_cond_destroy(&w->wanted);
    pthread_mutex_destroy(&w->lock);
    arena_free(w->texts);
    free((char *)w->options.dir);
    free(w);
}
