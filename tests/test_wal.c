/* test_wal.c -- the log through its front door, with the disk failing behind it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/wal.h"
#include "storage/wal_store.h"
#include "temp_dir.h"

#include "base/banned.h"

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

static void remember(struct entries *e, uint64_t generation, struct bytes record, void *user)
{
    assert_true(vec_reserve(&e->items, &e->cap, e->n + 1, sizeof *e->items));
    e->items[e->n++] =
        (struct entry){ generation, hash64(record.ptr, record.len), record.len, user };
}

static void assert_same(const struct entries *a, const struct entries *b)
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
    size_t most_bytes; /* a write takes no more than this many; 0 no limit */
    bool interrupted;  /* and every other one is interrupted first */
};

struct rig {
    struct wal_options options;
    struct wal *wal;
    struct entries replayed, applied;
    struct fault fault;
    uint64_t cut_to;
    enum errc replay_result;
    atomic_bool in_callback;
};

static bool fails(struct fault *f, int nth, int wanted)
{
    int call = atomic_fetch_add(&f->calls, 1) + 1;

    if (nth != wanted && call != f->fail_call)
        return false;
    errno = f->error;
    return true;
}

static ssize_t fault_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t offset)
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

static int fault_sync(void *ctx, int fd)
{
    struct fault *f = ctx;

    return fails(f, atomic_fetch_add(&f->syncs, 1) + 1, f->fail_sync) ? -1 : fdatasync(fd);
}

static int fault_sync_dir(void *ctx, int fd)
{
    struct fault *f = ctx;

    atomic_fetch_add(&f->dir_syncs, 1);
    return fails(f, -1, 0) ? -1 : fsync(fd);
}

static enum errc on_replay(void *ctx, uint64_t generation, struct bytes record, struct err *err)
{
    struct rig *rig = ctx;

    if (rig->replay_result != OK)
        return err_set(err, rig->replay_result, 0, "no");
    remember(&rig->replayed, generation, record, NULL);
    return OK;
}

static void on_apply(void *ctx, uint64_t generation, struct bytes record, void *user)
{
    struct rig *rig = ctx;

    assert_false(atomic_exchange(&rig->in_callback, true));
    remember(&rig->applied, generation, record, user);
    atomic_store(&rig->in_callback, false);
}

static void on_cut(void *ctx, uint64_t new_generation)
{
    struct rig *rig = ctx;

    assert_false(atomic_exchange(&rig->in_callback, true));
    for (size_t i = 0; i < rig->applied.n; i++)
        assert_true(rig->applied.items[i].generation < new_generation);
    assert_true(wal_generation(rig->wal) == new_generation - 1); /* seen only after cut() */
    rig->cut_to = new_generation;
    atomic_store(&rig->in_callback, false);
}

static void rig_init(struct rig *rig, void **state)
{
    const struct temp_dir *dir = *state;

    memset(rig, 0, sizeof *rig);
    rig->fault.io = (struct wal_io){ fault_pwritev, fault_sync, fault_sync_dir, &rig->fault };
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
static void rig_init_roomy(struct rig *rig, void **state)
{
    rig_init(rig, state);
    rig->options.min_segment_bytes = rig->options.max_segment_bytes = 8 * LARGEST_SEGMENT;
}

static void rig_open(struct rig *rig)
{
    rig->replayed.n = 0;
    assert_int_equal(wal_open(&rig->options, &rig->wal, NULL), OK);
}

static void rig_close(struct rig *rig)
{
    wal_close(rig->wal);
    rig->wal = NULL;
}

static void rig_free(struct rig *rig)
{
    rig_close(rig);
    free(rig->replayed.items);
    free(rig->applied.items);
}

static struct wal_stats rig_stats(struct rig *rig)
{
    struct wal_stats stats;

    wal_stats(rig->wal, &stats);
    return stats;
}

/* Appends n bytes that differ with seed, for the current generation. */
static enum errc append(struct rig *rig, size_t n, uint8_t seed)
{
    uint8_t *p = malloc(n);
    enum errc rc;

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + i * 7);
    rc = wal_append(rig->wal, wal_generation(rig->wal), (struct bytes){ p, n }, NULL, NULL);
    free(p);
    return rc;
}

static void append_all(struct rig *rig, const size_t *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(append(rig, sizes[i], (uint8_t)i), OK);
}

/* --- files behind the log's back --- */

static char *segment_path(const struct rig *rig, uint64_t number, const char *suffix)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%010" PRIu64 ".%s", rig->options.dir, number, suffix) > 0);
    return path;
}

static struct buf read_segment(const struct rig *rig, uint64_t number)
{
    char *path = segment_path(rig, number, "log");
    struct buf file = { 0 };

    assert_int_equal(fs_read_file(path, 1 << 24, &file, NULL), OK);
    free(path);
    return file;
}

static void write_segment(const struct rig *rig, uint64_t number, const uint8_t *p, size_t n)
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

static bool count_file(void *ctx, const char *name)
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

static struct census count_files(const struct rig *rig)
{
    struct census c = { 0 };

    assert_int_equal(fs_each(rig->options.dir, count_file, &c, NULL), OK);
    return c;
}

/* --- the ordinary life --- */

static void records_come_back_in_order(void **state)
{
    static const size_t sizes[] = { 1, 7, 8, 9, 15, 16, 17, 4096, 3000, 60000, 2, 5000, 100 };
    struct rig rig;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(wal_generation(rig.wal), 1);
    append_all(&rig, sizes, ARRAY_LEN(sizes));
    assert_int_equal(rig_stats(&rig).records, ARRAY_LEN(sizes));
    for (int i = 0; i < 2; i++) { /* replaying changes nothing */
        rig_close(&rig);
        rig_open(&rig);
        assert_same(&rig.replayed, &rig.applied);
        assert_int_equal(rig_stats(&rig).replayed, ARRAY_LEN(sizes));
        assert_int_equal(rig_stats(&rig).skipped, 0);
        assert_int_equal(wal_generation(rig.wal), 2);
    }
    append_all(&rig, sizes, ARRAY_LEN(sizes));
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(wal_generation(rig.wal), 3);
    rig_free(&rig);
}

static void a_log_without_records_leaves_no_files(void **state)
{
    struct rig rig;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    assert_int_equal(wal_release(rig.wal, ended, NULL), OK);
    rig_close(&rig);
    assert_int_equal(count_files(&rig).logs, 0);
    rig_open(&rig);
    rig_free(&rig);
}

enum { N_THREADS = 8, PER_THREAD = 150 };

struct appender {
    struct rig *rig;
    uint32_t id;
    pthread_t thread;
    unsigned conflicts;
};

/* Each record names its thread, its turn and the generation that it was made for. */
static void *append_many(void *arg)
{
    struct appender *a = arg;
    uint8_t record[300];
    uint64_t turn = 0;

    while (turn < PER_THREAD) {
        uint64_t generation = wal_generation(a->rig->wal);
        size_t len = 24 + (a->id * 31 + turn * 17) % 250;
        enum errc rc;

        memset(record, (int)turn, sizeof record);
        store_u64le(record, a->id);
        store_u64le(record + 8, turn);
        store_u64le(record + 16, generation);
        rc = wal_append(a->rig->wal, generation, (struct bytes){ record, len },
                        (void *)(uintptr_t)(a->id * PER_THREAD + turn + 1), NULL);
        ASSERT(rc == OK || rc == ERR_CONFLICT);
        turn += rc == OK;
        a->conflicts += rc == ERR_CONFLICT;
    }
    return NULL;
}

static void many_threads_append_each_record_once(void **state)
{
    struct appender appenders[N_THREADS];
    bool seen[N_THREADS * PER_THREAD + 1] = { 0 };
    struct rig rig;
    uint64_t ended = 0;

    rig_init(&rig, state);
    rig_open(&rig);
    for (uint32_t i = 0; i < N_THREADS; i++) {
        appenders[i] = (struct appender){ .rig = &rig, .id = i };
        assert_int_equal(pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
    }
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
        assert_int_equal(ended, i);
        assert_int_equal(wal_generation(rig.wal), i + 1);
    }
    for (uint32_t i = 0; i < N_THREADS; i++)
        pthread_join(appenders[i].thread, NULL);
    assert_int_equal(rig.applied.n, N_THREADS * PER_THREAD);
    for (size_t i = 0; i < rig.applied.n; i++) {
        size_t who = (uintptr_t)rig.applied.items[i].user;

        assert_true(who > 0 && who < ARRAY_LEN(seen) && !seen[who]);
        seen[who] = true;
        assert_true(i == 0
                    || rig.applied.items[i - 1].generation <= rig.applied.items[i].generation);
    }
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    rig_free(&rig);
}

/* Replays whatever stands there and checks the generation that append_many() wrote down. */
static enum errc check_generation(void *ctx, uint64_t generation, struct bytes record,
                                  struct err *err)
{
    (void)ctx;
    return record.len >= 24 && load_u64le(record.ptr + 16) == generation
               ? OK
               : err_set(err, ERR_CORRUPT, 0, "record of another generation");
}

static void no_record_is_written_to_another_generation(void **state)
{
    struct appender a = { 0 };
    struct rig rig;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    a.rig = &rig;
    assert_int_equal(pthread_create(&a.thread, NULL, append_many, &a), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    pthread_join(a.thread, NULL);
    rig_close(&rig);
    rig.options.replay = check_generation;
    rig_open(&rig);
    assert_int_equal(rig_stats(&rig).replayed, PER_THREAD);
    rig_free(&rig);
}

static void a_cut_makes_older_records_conflict(void **state)
{
    uint8_t byte = 1;
    struct bytes record = { &byte, 1 };
    struct rig rig;
    uint64_t ended = 0;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(wal_append(rig.wal, 1, record, NULL, NULL), OK);
    assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    assert_int_equal(ended, 1);
    assert_int_equal(rig.cut_to, 2);
    assert_int_equal(wal_append(rig.wal, 1, record, NULL, NULL), ERR_CONFLICT);
    assert_int_equal(rig.applied.n, 1);
    assert_int_equal(wal_append(rig.wal, wal_generation(rig.wal), record, NULL, NULL), OK);
    assert_int_equal(rig_stats(&rig).segments, 2); /* none holds two generations */
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    rig_free(&rig);
}

static void a_replay_that_fails_ends_the_opening(void **state)
{
    struct rig rig;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(append(&rig, 10, 1), OK);
    rig_close(&rig);
    rig.replay_result = ERR_NOMEM;
    assert_int_equal(wal_open(&rig.options, &rig.wal, NULL), ERR_NOMEM);
    rig.replay_result = OK;
    rig_open(&rig);
    assert_int_equal(rig.replayed.n, 1);
    rig_free(&rig);
}

/* --- sizes, recycling --- */

static void segments_double_up_to_the_largest(void **state)
{
    static const size_t expected[] = { 8192, 16384, 32768, 65536, 65536, 65536 };
    struct rig rig;

    rig_init(&rig, state);
    rig_open(&rig);
    while (rig_stats(&rig).segments < ARRAY_LEN(expected))
        assert_int_equal(append(&rig, 1000, 3), OK);
    rig_close(&rig);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        bool found = false;

        for (uint64_t number = 1; number < 20; number++) {
            char *path = segment_path(&rig, number, "log");

            found |= fs_size(path) == expected[i];
            free(path);
        }
        assert_true(found);
    }
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig_stats(&rig).segment_bytes, 8192 + 16384 + 32768 + 3 * 65536);
    rig_free(&rig);
}

static void records_find_room_or_are_refused(void **state)
{
    struct arena *texts = arena_new(0);
    struct err err = err_in(texts);
    static uint8_t big[LARGEST_RECORD + 1];
    struct rig rig;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(append(&rig, LARGEST_RECORD, 1), OK); /* larger than any segment */
    assert_int_equal(append(&rig, SMALL_SEGMENT, 1), OK);
    assert_int_equal(wal_append(rig.wal, 1, (struct bytes){ big, sizeof big }, NULL, &err),
                     ERR_TOO_LARGE);
    assert_string_equal(err_text(&err), "log record of 1048577 bytes is larger than 1048576");
    assert_int_equal(append(&rig, 1, 1), OK);
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig.replayed.n, 3);
    arena_free(texts);
    rig_free(&rig);
}

static void released_segments_are_recycled_and_never_replayed(void **state)
{
    struct rig rig;
    uint64_t ended = 0;

    rig_init(&rig, state);
    rig.options.max_segment_bytes = SMALL_SEGMENT;
    rig_open(&rig);
    for (int round = 0; round < 12; round++) {
        struct census files;

        for (int i = 0; i < 60; i++) /* three segments full of like records */
            assert_int_equal(append(&rig, 160, (uint8_t)round), OK);
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
        assert_int_equal(append(&rig, 161, (uint8_t)round), OK);
        assert_int_equal(wal_release(rig.wal, ended, NULL), OK);
        files = count_files(&rig);
        assert_true(files.logs <= 2 && files.spares >= 1 && files.spares <= 4);
    }
    rig_close(&rig);
    rig.options.released = ended;
    for (int i = 0; i < 2; i++) {
        rig_open(&rig);
        assert_int_equal(rig.replayed.n, 1); /* though its segment is full of older ones */
        assert_int_equal(rig.replayed.items[0].len, 161);
        assert_int_equal(rig.replayed.items[0].generation, ended + 1);
        assert_int_equal(rig_stats(&rig).skipped, 0);
        assert_int_equal(rig_stats(&rig).segments, 1);
        rig_close(&rig);
    }
    rig_free(&rig);
}

static void opening_drops_what_was_released_before_a_crash(void **state)
{
    struct rig rig;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(&rig, 10, 1), OK);
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    }
    rig_close(&rig);
    rig.options.released = 2; /* known to the caller, though no segment was ever released */
    rig_open(&rig);
    assert_int_equal(rig.replayed.n, 1);
    assert_int_equal(rig.replayed.items[0].generation, 3);
    assert_int_equal(wal_generation(rig.wal), 4);
    assert_int_equal(count_files(&rig).logs, 1);
    rig_close(&rig);
    rig.options.released = 9;
    rig_open(&rig);
    assert_int_equal(rig.replayed.n, 0);
    assert_int_equal(wal_generation(rig.wal), 10);
    rig_free(&rig);
}

static void other_files_are_left_alone(void **state)
{
    static const char *const names[] = { "notes.txt",      "1.log",          "0000000001.log.old",
                                         "0000000000.log", "000000000x.log", "00000000011.log" };
    struct rig rig;
    uint64_t ended;

    rig_init(&rig, state);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = temp_dir_file(*state, names[i]);

        fclose(fopen(path, "w"));
        free(path);
    }
    rig_open(&rig);
    assert_int_equal(append(&rig, 10, 1), OK);
    assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    assert_int_equal(wal_release(rig.wal, ended, NULL), OK);
    rig_close(&rig);
    rig_open(&rig);
    assert_int_equal(rig_stats(&rig).skipped, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = temp_dir_file(*state, names[i]);

        assert_int_equal(access(path, F_OK), 0);
        free(path);
    }
    rig_free(&rig);
}

/* --- damage --- */

/* Three records, synced one by one; returns the segment's bytes and where each begins. */
static struct buf three_records(struct rig *rig, void **state, size_t starts[4])
{
    static const size_t sizes[] = { 40, 48, 56 };

    rig_init(rig, state);
    rig_open(rig);
    append_all(rig, sizes, ARRAY_LEN(sizes));
    rig_close(rig);
    starts[0] = WAL_HEADER_BYTES;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        starts[i + 1] = starts[i] + wal_record_space(sizes[i]);
    return read_segment(rig, 2); /* the file was made under number 1, as a spare */
}

enum tear { TRUNCATED, ZEROS, GARBAGE, N_TEARS };

/* The bytes from at on never reached the disk; returns how many are there. */
static size_t tear_at(struct buf *file, size_t at, enum tear how)
{
    uint32_t x = (uint32_t)at * 2654435761u + 1;

    if (how == TRUNCATED)
        return at;
    for (size_t i = at; i < file->len; i++) {
        x = x * 1664525u + 1013904223u;
        file->ptr[i] = how == ZEROS ? 0 : (uint8_t)(file->ptr[i] ^ (x >> 24 | 1));
    }
    return file->len;
}

static void a_tail_torn_anywhere_loses_only_what_it_tore(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf whole = three_records(&rig, state, starts), file = { 0 };

    for (size_t at = starts[1]; at < starts[3]; at++) {
        for (enum tear how = 0; how < N_TEARS; how++) {
            size_t intact = at < starts[2] ? 1 : 2;

            buf_clear(&file);
            buf_add(&file, whole.ptr, whole.len);
            write_segment(&rig, 2, file.ptr, tear_at(&file, at, how));
            rig_open(&rig);
            assert_int_equal(rig.replayed.n, intact);
            for (size_t i = 0; i < intact; i++)
                assert_int_equal(rig.replayed.items[i].hash, rig.applied.items[i].hash);
            assert_int_equal(rig_stats(&rig).skipped, 0);
            rig_close(&rig);
        }
    }
    buf_free(&whole);
    buf_free(&file);
    rig_free(&rig);
}

static void appending_goes_on_after_a_torn_tail(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    write_segment(&rig, 2, file.ptr, tear_at(&file, starts[2] + 20, ZEROS));
    rig.applied.n = 2;
    rig_open(&rig);
    assert_int_equal(append(&rig, 70, 9), OK);
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig_stats(&rig).skipped, 0); /* it was never promised */
    buf_free(&file);
    rig_free(&rig);
}

static void a_flipped_bit_loses_one_record(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    for (size_t at = starts[1]; at < starts[2]; at++) {
        uint8_t bit = (uint8_t)(1 << at % 8);

        file.ptr[at] ^= bit;
        write_segment(&rig, 2, file.ptr, file.len);
        file.ptr[at] ^= bit;
        rig_open(&rig);
        assert_int_equal(rig.replayed.n, 2);
        assert_int_equal(rig.replayed.items[0].hash, rig.applied.items[0].hash);
        assert_int_equal(rig.replayed.items[1].hash, rig.applied.items[2].hash);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        rig_close(&rig);
    }
    buf_free(&file);
    rig_free(&rig);
}

/* The segment after it tells how far a closed one was durable, so a loss at its end shows. */
static void a_damaged_end_of_a_closed_segment_is_no_torn_tail(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(append(&rig, 40, 1), OK);
    assert_int_equal(append(&rig, 40, 2), OK);
    assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    assert_int_equal(append(&rig, 40, 3), OK);
    rig_close(&rig);
    file = read_segment(&rig, 2);
    starts[1] = WAL_HEADER_BYTES + wal_record_space(40);
    for (size_t at = starts[1]; at < starts[1] + wal_record_space(40); at++) {
        file.ptr[at] ^= 0x10;
        write_segment(&rig, 2, file.ptr, file.len);
        file.ptr[at] ^= 0x10;
        rig_open(&rig);
        assert_int_equal(rig.replayed.n, 2);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        rig_close(&rig);
    }
    buf_free(&file);
    rig_free(&rig);
}

/* Puts a record into a segment image. */
static size_t put_record(uint8_t *image, size_t at, size_t durable, size_t n, uint64_t nonce)
{
    struct wal_head head = { (uint32_t)n, (uint32_t)durable, 0 };

    memset(image + at + WAL_HEAD_BYTES, (int)n, n);
    head.payload_crc = crc32c(0, image + at + WAL_HEAD_BYTES, n);
    wal_head_encode(&head, nonce, (uint32_t)at, image + at);
    return at + wal_record_space(n);
}

static void an_unsynced_group_with_holes_is_torn_not_lost(void **state)
{
    static uint8_t image[WAL_HEADER_BYTES + 4096];
    const struct wal_header header = { .number = 1, .generation = 1, .nonce = 77 };
    size_t synced = put_record(image, WAL_HEADER_BYTES, WAL_HEADER_BYTES, 100, header.nonce);
    size_t second = put_record(image, synced, synced, 101, header.nonce);
    size_t third = put_record(image, second, synced, 102, header.nonce);
    struct wal_reader r;
    struct bytes record;

    (void)state;
    put_record(image, third, synced, 103, header.nonce);
    image[synced + 50] ^= 1; /* a payload ... */
    image[second + 2] ^= 1;  /* ... and a head of the group that the power cut met */
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 100);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 103);
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.torn, 2);
    assert_int_equal(r.skipped, 0);
    image[WAL_HEADER_BYTES + 50] ^= 1; /* but the first one was durable */
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 103);
    assert_false(wal_reader_next(&r, &record));
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.skipped, 1);
}

static void records_of_another_nonce_or_place_do_not_parse(void **state)
{
    static uint8_t image[WAL_HEADER_BYTES + 4096];
    const struct wal_header header = { .number = 1, .generation = 1, .nonce = 77 };
    size_t first = put_record(image, WAL_HEADER_BYTES, WAL_HEADER_BYTES, 100, 78);
    struct wal_reader r;
    struct bytes record;

    (void)state;
    put_record(image, first, first, 100, header.nonce);
    memmove(image + first + 8, image + first, wal_record_space(100));
    memset(image + first, 0, 8);
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.skipped + r.torn, 0);
}

static void a_damaged_header_sets_one_segment_aside(void **state)
{
    static const size_t places[] = { 0, 8, 16, 24, 32, 40, 63 };
    struct rig rig;

    rig_init(&rig, state);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        uint64_t number;
        char *path, *bad;

        rig.applied.n = 0;
        rig_open(&rig);
        assert_int_equal(append(&rig, 10, 1), OK);
        rig_close(&rig);
        for (number = 1; path = segment_path(&rig, number, "log"), access(path, F_OK) != 0;
             number++)
            free(path);
        bad = segment_path(&rig, number, "bad");
        assert_true(flip_in_file(path, places[i], 4));
        rig_open(&rig);
        assert_int_equal(append(&rig, 20, 1), OK);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        assert_int_equal(rig_stats(&rig).replayed, 0);
        assert_int_equal(access(bad, F_OK), 0);
        rig_close(&rig);
        rig_open(&rig);
        assert_int_equal(rig_stats(&rig).skipped, 0); /* reported once */
        assert_int_equal(rig_stats(&rig).replayed, 1);
        rig.options.released = wal_generation(rig.wal) - 1;
        rig_close(&rig);
        free(path);
        free(bad);
    }
    assert_int_equal(count_files(&rig).bads, ARRAY_LEN(places));
    rig_free(&rig);
}

static void segments_too_short_or_renamed_are_set_aside(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    write_segment(&rig, 5, file.ptr, 0);
    write_segment(&rig, 6, file.ptr, WAL_HEADER_BYTES - 1);
    write_segment(&rig, 7, file.ptr, file.len); /* sound, but says that it is number 2 */
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig_stats(&rig).skipped, 3);
    assert_int_equal(count_files(&rig).bads, 3);
    buf_free(&file);
    rig_free(&rig);
}

static void a_newer_format_is_refused(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    store_u32le(file.ptr + 8, 2);
    store_u32le(file.ptr + 60, crc32c(0, file.ptr, 60));
    write_segment(&rig, 2, file.ptr, file.len);
    assert_int_equal(wal_open(&rig.options, &rig.wal, NULL), ERR_UNSUPPORTED);
    assert_int_equal(count_files(&rig).logs, 1); /* left as it was */
    buf_free(&file);
    rig_free(&rig);
}

/* --- a disk that fails --- */

static void assert_failed_for_good(struct rig *rig)
{
    int calls = rig->fault.calls;
    uint64_t ended;

    assert_true(rig_stats(rig).failed);
    assert_int_equal(append(rig, 10, 1), ERR_UNAVAILABLE);
    assert_int_equal(wal_cut(rig->wal, &ended, NULL), ERR_UNAVAILABLE);
    assert_int_equal(rig->fault.calls, calls); /* nothing is tried again */
}

static void after_a_failed_sync_or_write_nothing_is_accepted(void **state)
{
    static const struct {
        bool sync;
        int error;
    } cases[] = { { true, EIO }, { true, ENOSPC }, { false, EIO }, { false, ENOSPC } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *texts = arena_new(0);
        struct err err = err_in(texts);
        struct rig rig;
        uint8_t byte = 1;

        rig_init_roomy(&rig, state);
        rig_open(&rig);
        assert_int_equal(append(&rig, 10, 1), OK);
        rig.fault.error = cases[i].error;
        if (cases[i].sync)
            rig.fault.fail_sync = rig.fault.syncs + 1;
        else
            rig.fault.fail_write = rig.fault.writes + 1;
        assert_int_equal(
            wal_append(rig.wal, wal_generation(rig.wal), (struct bytes){ &byte, 1 }, NULL, &err),
            ERR_UNAVAILABLE);
        assert_non_null(strstr(err_text(&err), "the log has failed: "));
        assert_non_null(strstr(err_text(&err), strerror(cases[i].error)));
        assert_int_equal(rig.applied.n, 1);
        assert_failed_for_good(&rig);
        assert_int_equal(rig.applied.n, 1);
        arena_free(texts);
        rig_free(&rig);
    }
}

static void *append_until_failure(void *arg)
{
    struct rig *rig = arg;

    while (append(rig, 100, 1) == OK) {
    }
    return NULL;
}

static void a_failure_reaches_everybody_who_waits(void **state)
{
    pthread_t threads[N_THREADS];
    struct rig rig;

    rig_init_roomy(&rig, state);
    rig.fault.fail_sync = 40;
    rig_open(&rig);
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_until_failure, &rig), 0);
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_failed_for_good(&rig);
    rig_free(&rig);
}

static void short_and_interrupted_writes_are_resumed(void **state)
{
    static const size_t sizes[] = { 1, 8, 100, 3000 };
    struct rig rig;

    rig_init(&rig, state);
    rig.fault.most_bytes = 13;
    rig.fault.interrupted = true;
    rig_open(&rig);
    append_all(&rig, sizes, ARRAY_LEN(sizes));
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    rig_free(&rig);
}

static void a_full_disk_heals(void **state)
{
    static const int errors[] = { ENOSPC, EDQUOT, EMFILE };
    struct rig rig;
    uint64_t ended = 0;

    rig_init_roomy(&rig, state);
    rig_open(&rig);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        rig.fault.error = errors[i];
        rig.fault.fail_from_write = rig.fault.writes + 1;
        assert_int_equal(append(&rig, 200, 2), ERR_UNAVAILABLE);
        assert_int_equal(append(&rig, 200, 3), ERR_UNAVAILABLE);
        assert_true(rig_stats(&rig).stalled && !rig_stats(&rig).failed);
        assert_int_equal(count_files(&rig).spares, 0); /* nothing is left half made */
        assert_int_equal(count_files(&rig).logs, i);
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK); /* the way to free some room */
        rig.fault.fail_from_write = 0;
        assert_int_equal(append(&rig, 200, 4), OK);
        assert_false(rig_stats(&rig).stalled);
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    }
    assert_int_equal(rig.applied.n, ARRAY_LEN(errors));
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    rig_free(&rig);
}

static void a_disk_too_full_for_growth_gets_a_small_segment(void **state)
{
    struct rig rig;

    rig_init(&rig, state);
    rig.options.min_segment_bytes = LARGEST_SEGMENT;
    rig.options.max_segment_bytes = LARGEST_SEGMENT * 4;
    rig_open(&rig);
    assert_int_equal(append(&rig, 20000, 1), OK); /* less than half: no spare is asked for */
    rig.fault.error = ENOSPC;
    rig.fault.fail_write = rig.fault.writes + 1;
    assert_int_equal(append(&rig, 50000, 2), OK);
    assert_int_equal(rig_stats(&rig).segment_bytes, LARGEST_SEGMENT * 2);
    rig_free(&rig);
}

/* Appends, cuts, releases; true when everything was accepted. Released records may come back or
 * not, all others must. */
static bool lead_a_life(struct rig *rig, uint64_t *released)
{
    bool all = true;
    uint64_t ended;

    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 12; i++)
            all &= append(rig, 700, (uint8_t)(round * 16 + i)) == OK;
        if (wal_cut(rig->wal, &ended, NULL) != OK)
            return false;
        if (round == 1 || round == 2) {
            *released = ended - 1;
            all &= wal_release(rig->wal, *released, NULL) == OK;
        }
    }
    return all;
}

static void assert_kept(const struct rig *rig, uint64_t released)
{
    size_t at = 0;

    for (size_t i = 0; i < rig->applied.n; i++) {
        const struct entry *e = &rig->applied.items[i];

        if (e->generation <= released)
            continue;
        while (at < rig->replayed.n && rig->replayed.items[at].hash != e->hash)
            at++; /* unacknowledged ones may be there or not */
        assert_true(at < rig->replayed.n);
        assert_int_equal(rig->replayed.items[at].generation, e->generation);
        at++;
    }
    for (size_t i = 0; i < rig->replayed.n; i++)
        assert_true(rig->replayed.items[i].generation > released);
}

static void whichever_call_fails_acknowledged_records_come_back(void **state)
{
    bool all = false;

    for (int n = 1; !all; n++) {
        struct rig rig;
        uint64_t released = 0;

        assert_true(n < 2000);
        rig_init(&rig, state);
        rig.fault.fail_call = n;
        rig_open(&rig);
        all = lead_a_life(&rig, &released) && rig.fault.calls < n;
        rig_close(&rig);
        rig.options.released = released;
        rig.fault.fail_call = 0;
        rig_open(&rig);
        assert_kept(&rig, released);
        assert_int_equal(rig_stats(&rig).skipped, 0);
        assert_int_equal(append(&rig, 10, 1), OK);
        rig_free(&rig);
        assert_int_equal(fs_each(((struct temp_dir *)*state)->path, temp_dir_unlink,
                                 ((struct temp_dir *)*state)->path, NULL),
                         OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order),
        TEST(a_log_without_records_leaves_no_files),
        TEST(many_threads_append_each_record_once),
        TEST(no_record_is_written_to_another_generation),
        TEST(a_cut_makes_older_records_conflict),
        TEST(a_replay_that_fails_ends_the_opening),
        TEST(segments_double_up_to_the_largest),
        TEST(records_find_room_or_are_refused),
        TEST(released_segments_are_recycled_and_never_replayed),
        TEST(opening_drops_what_was_released_before_a_crash),
        TEST(other_files_are_left_alone),
        TEST(a_tail_torn_anywhere_loses_only_what_it_tore),
        TEST(appending_goes_on_after_a_torn_tail),
        TEST(a_flipped_bit_loses_one_record),
        TEST(a_damaged_end_of_a_closed_segment_is_no_torn_tail),
        TEST(an_unsynced_group_with_holes_is_torn_not_lost),
        TEST(records_of_another_nonce_or_place_do_not_parse),
        TEST(a_damaged_header_sets_one_segment_aside),
        TEST(segments_too_short_or_renamed_are_set_aside),
        TEST(a_newer_format_is_refused),
        TEST(after_a_failed_sync_or_write_nothing_is_accepted),
        TEST(a_failure_reaches_everybody_who_waits),
        TEST(short_and_interrupted_writes_are_resumed),
        TEST(a_full_disk_heals),
        TEST(a_disk_too_full_for_growth_gets_a_small_segment),
        TEST(whichever_call_fails_acknowledged_records_come_back),
    };

    log_set_level(LOG_ERROR + 1); /* failures are wanted here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
