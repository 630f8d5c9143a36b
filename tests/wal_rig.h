/* wal_rig.h -- a log under test: what it replayed and applied, a disk that fails when told, and its
 * files behind its back. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/wal.h"
#include "storage/wal_pool.h"
#include "temp_dir.h"

enum { SMALL_SEGMENT = 8192, LARGEST_SEGMENT = 65536, LARGEST_RECORD = 1 << 20 };

/* --- what a log was seen to replay or apply --- */

struct entry {
    uint64_t generation, hash;
    size_t len;
    void *user;
};

struct entries {
    struct entry *items;
    size_t n, cap;
};

static inline void remember(struct entries *e, uint64_t generation, struct bytes record, void *user)
{
    assert_true(vec_reserve(&e->items, &e->cap, e->n + 1, sizeof *e->items));
    e->items[e->n++] =
        (struct entry){ generation, hash64(record.ptr, record.len), record.len, user };
}

static inline void assert_same(const struct entries *a, const struct entries *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->items[i].hash, b->items[i].hash);
        assert_int_equal(a->items[i].len, b->items[i].len);
        assert_int_equal(a->items[i].generation, b->items[i].generation);
    }
}

/* --- a log under test, and a disk that fails when told --- */

struct fault {
    struct wal_io io;
    atomic_int writes, syncs, dir_syncs, calls; /* calls: all of them */
    int fail_call, fail_write, fail_sync;       /* which one fails, from 1; 0 none ... */
    int fail_from_write;                        /* ... this one and all after it */
    int error;
    int wait_for;       /* a failing sync first waits until so many threads ... */
    atomic_int waiting; /* ... say that they are about to append */
    size_t most_bytes;  /* a write takes no more than this many; 0 no limit */
    off_t unreadable;   /* the page with this byte cannot be read; 0 none */
    bool interrupted;   /* and every other one is interrupted first */
};

struct rig {
    struct wal_options options;
    struct wal *wal;
    struct entries replayed, applied;
    struct fault fault;
    uint64_t cut_to;
    enum errc replay_result;
    atomic_bool in_callback;
    atomic_size_t acknowledged;
};

static inline bool fails(struct fault *f, int nth, int wanted)
{
    int call = atomic_fetch_add(&f->calls, 1) + 1;

    if (nth != wanted && call != f->fail_call)
        return false;
    errno = f->error;
    return true;
}

static inline ssize_t fault_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t offset)
{
    struct fault *f = ctx;
    int nth = atomic_fetch_add(&f->writes, 1) + 1;

    if (f->fail_from_write && nth >= f->fail_from_write) {
        errno = f->error;
        return -1;
    }
    if (fails(f, nth, f->fail_write))
        return -1;
    if (f->interrupted && nth % 2) {
        errno = EINTR;
        return -1;
    }
    if (f->most_bytes && iov->iov_len > f->most_bytes)
        return pwrite(fd, iov->iov_base, f->most_bytes, offset);
    return pwritev(fd, iov, f->most_bytes ? 1 : n, offset);
}

static inline ssize_t fault_pread(void *ctx, int fd, void *to, size_t n, off_t offset)
{
    struct fault *f = ctx;
    off_t bad = f->unreadable;

    if (bad && offset <= bad && bad < offset + (off_t)n && offset / 4096 == bad / 4096) {
        errno = EIO;
        return -1;
    }
    if (bad > offset && (off_t)n > bad / 4096 * 4096 - offset)
        n = (size_t)(bad / 4096 * 4096 - offset); /* as the kernel does: up to the bad page */
    return pread(fd, to, n, offset);
}

static inline int fault_sync(void *ctx, int fd)
{
    struct fault *f = ctx;
    int nth = atomic_fetch_add(&f->syncs, 1) + 1;

    if (!fails(f, nth, f->fail_sync))
        return fdatasync(fd);
    while (atomic_load(&f->waiting) < f->wait_for)
        sched_yield();
    for (int i = 0; i < 1000; i++) /* let them get into the queue; the more the harder the test */
        sched_yield();
    errno = f->error;
    return -1;
}

static inline int fault_sync_dir(void *ctx, int fd)
{
    struct fault *f = ctx;

    atomic_fetch_add(&f->dir_syncs, 1);
    return fails(f, -1, 0) ? -1 : fsync(fd);
}

static inline enum errc on_replay(void *ctx, uint64_t generation, struct bytes record,
                                  struct err *err)
{
    struct rig *rig = ctx;

    if (rig->replay_result != OK)
        return err_set(err, rig->replay_result, 0, "no");
    remember(&rig->replayed, generation, record, NULL);
    return OK;
}

static inline void on_apply(void *ctx, uint64_t generation, struct bytes record, void *user)
{
    struct rig *rig = ctx;

    assert_false(atomic_exchange(&rig->in_callback, true));
    remember(&rig->applied, generation, record, user);
    atomic_store(&rig->in_callback, false);
}

static inline void on_cut(void *ctx, uint64_t new_generation)
{
    struct rig *rig = ctx;

    assert_false(atomic_exchange(&rig->in_callback, true));
    for (size_t i = 0; i < rig->applied.n; i++)
        assert_true(rig->applied.items[i].generation < new_generation);
    assert_true(wal_generation(rig->wal) == new_generation - 1); /* seen only after cut() */
    rig->cut_to = new_generation;
    atomic_store(&rig->in_callback, false);
}

static inline void rig_init(struct rig *rig, void **state)
{
    const struct temp_dir *dir = *state;

    memset(rig, 0, sizeof *rig);
    rig->fault.io =
        (struct wal_io){ fault_pread, fault_pwritev, fault_sync, fault_sync_dir, &rig->fault };
    rig->fault.error = EIO;
    rig->options = wal_options_default();
    rig->options.dir = dir->path;
    rig->options.min_segment_bytes = SMALL_SEGMENT;
    rig->options.max_segment_bytes = LARGEST_SEGMENT;
    rig->options.max_record_bytes = LARGEST_RECORD;
    rig->options.ctx = rig;
    rig->options.replay = on_replay;
    rig->options.apply = on_apply;
    rig->options.cut = on_cut;
    rig->options.io = &rig->fault.io;
}

/* Segments so large that no test fills half of one, which keeps the background thread quiet. */
static inline void rig_init_roomy(struct rig *rig, void **state)
{
    rig_init(rig, state);
    rig->options.min_segment_bytes = rig->options.max_segment_bytes = 8 * LARGEST_SEGMENT;
}

static inline void rig_open(struct rig *rig)
{
    rig->replayed.n = 0;
    assert_int_equal(wal_open(&rig->options, &rig->wal, NULL), OK);
}

static inline void rig_close(struct rig *rig)
{
    wal_close(rig->wal);
    rig->wal = NULL;
}

static inline void rig_free(struct rig *rig)
{
    rig_close(rig);
    free(rig->replayed.items);
    free(rig->applied.items);
}

static inline struct wal_stats rig_stats(struct rig *rig)
{
    struct wal_stats stats;

    wal_stats(rig->wal, &stats);
    return stats;
}

/* Appends n bytes that differ with seed, for the current generation. */
static inline enum errc append(struct rig *rig, size_t n, uint8_t seed)
{
    uint8_t *p = malloc(n);
    enum errc rc;

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + i * 7);
    rc = wal_append(rig->wal, wal_generation(rig->wal), (struct bytes){ p, n }, NULL, NULL);
    free(p);
    return rc;
}

static inline void append_all(struct rig *rig, const size_t *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(append(rig, sizes[i], (uint8_t)i), OK);
}

/* --- files behind the log's back --- */

static inline char *segment_path(const struct rig *rig, uint64_t number, const char *suffix)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%010" PRIu64 ".%s", rig->options.dir, number, suffix) > 0);
    return path;
}

static inline struct buf read_segment(const struct rig *rig, uint64_t number)
{
    char *path = segment_path(rig, number, "log");
    struct buf file = { 0 };

    assert_int_equal(fs_read_file(path, 1 << 24, &file, NULL), OK);
    free(path);
    return file;
}

static inline void write_segment(const struct rig *rig, uint64_t number, const uint8_t *p, size_t n)
{
    char *path = segment_path(rig, number, "log");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fs_pwrite(fd, p, n, 0, path, NULL), OK);
    close(fd);
    free(path);
}

struct census {
    size_t logs, spares, bads, others;
};

static inline bool count_file(void *ctx, const char *name)
{
    struct census *c = ctx;
    struct str s = str_from(name);

    if (str_ends_with(s, STR(".log")))
        c->logs++;
    else if (str_ends_with(s, STR(".spare")))
        c->spares++;
    else if (str_ends_with(s, STR(".bad")))
        c->bads++;
    else
        c->others++;
    return true;
}

static inline struct census count_files(const struct rig *rig)
{
    struct census c = { 0 };

    assert_int_equal(fs_each(rig->options.dir, count_file, &c, NULL), OK);
    return c;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)
