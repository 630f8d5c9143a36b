/* test_wal.c -- the log through its front door, with the disk failing behind it. */
#include <pthread.h>

#include "base/arena.h"
#include "wal_rig.h"

#include "base/banned.h"

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

static void segments_grow_only_after_one_was_filled(void **state)
{
    struct rig rig;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    while (rig_stats(&rig).segments < 2)
        assert_int_equal(append(&rig, 1000, 3), OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
        assert_int_equal(wal_release(rig.wal, ended, NULL), OK);
        assert_int_equal(append(&rig, 100, 3), OK);
        assert_int_equal(rig_stats(&rig).segment_bytes, 2 * SMALL_SEGMENT);
    }
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

static void a_recycled_segment_is_not_written_anew(void **state)
{
    struct rig rig;
    uint64_t ended;

    rig_init_roomy(&rig, state);
    rig_open(&rig);
    for (int i = 0; i < 3; i++) {
        int writes = rig.fault.writes, dir_syncs;

        assert_int_equal(append(&rig, 100, 1), OK);
        if (i > 0)
            assert_int_equal(rig.fault.writes, writes + 2); /* its header, the record */
        assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
        dir_syncs = rig.fault.dir_syncs;
        assert_int_equal(wal_release(rig.wal, ended, NULL), OK);
        assert_int_equal(rig.fault.dir_syncs, dir_syncs + 1); /* before anybody may reuse it */
        assert_int_equal(count_files(&rig).logs, 0);
        assert_int_equal(count_files(&rig).spares, 1);
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

    atomic_fetch_add(&rig->fault.waiting, 1);
    while (append(rig, 100, 1) == OK)
        atomic_fetch_add(&rig->acknowledged, 1);
    return NULL;
}

static void a_failure_reaches_everybody_who_waits(void **state)
{
    pthread_t threads[N_THREADS];
    struct rig rig;

    rig_init_roomy(&rig, state);
    rig.fault.fail_sync = 3; /* of the pre-writing, the header, the first group */
    rig.fault.wait_for = N_THREADS;
    rig_open(&rig);
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_until_failure, &rig), 0);
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rig.acknowledged, rig.applied.n);
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

static void trying_again_on_a_full_disk_is_no_growth(void **state)
{
    struct rig rig;

    rig_init(&rig, state);
    rig.options.min_segment_bytes = LARGEST_SEGMENT;
    rig.options.max_segment_bytes = LARGEST_SEGMENT * 8;
    rig_open(&rig);
    assert_int_equal(append(&rig, 20000, 1), OK);
    rig.fault.error = ENOSPC;
    rig.fault.fail_from_write = rig.fault.writes + 1;
    for (int i = 0; i < 4; i++)
        assert_int_equal(append(&rig, 50000, 2), ERR_UNAVAILABLE);
    rig.fault.fail_from_write = 0;
    assert_int_equal(append(&rig, 50000, 2), OK);
    assert_int_equal(rig_stats(&rig).segment_bytes, LARGEST_SEGMENT * 3);
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
        TEST(segments_grow_only_after_one_was_filled),
        TEST(records_find_room_or_are_refused),
        TEST(released_segments_are_recycled_and_never_replayed),
        TEST(a_recycled_segment_is_not_written_anew),
        TEST(opening_drops_what_was_released_before_a_crash),
        TEST(other_files_are_left_alone),
        TEST(after_a_failed_sync_or_write_nothing_is_accepted),
        TEST(a_failure_reaches_everybody_who_waits),
        TEST(short_and_interrupted_writes_are_resumed),
        TEST(a_full_disk_heals),
        TEST(a_disk_too_full_for_growth_gets_a_small_segment),
        TEST(trying_again_on_a_full_disk_is_no_growth),
        TEST(whichever_call_fails_acknowledged_records_come_back),
    };

    log_set_level(LOG_ERROR + 1); /* failures are wanted here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
