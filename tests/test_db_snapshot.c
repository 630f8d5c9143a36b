/* Snapshots of a store that goes on, and the check of whole data directories. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/db.h"
#include "storage/db_private.h"
#include "storage/db_verify.h"

enum { DAY = 19675, MAP_BYTES = 256 << 20 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

struct fixture {
    char *dir;
    struct db_options o;
    struct fake_clock clock;
    struct db *db;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = test_folder_new();
    f->o = test_db_options(f->dir);
    f->db = open_db(&f->o);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    db_close(f->db);
    test_folder_remove(f->dir);
    free(f);
    return 0;
}

/* Samples from..to - 1 of one series, 100,000 s apart: a day and a bit. */
static void append_range(struct fixture *f, const char *series, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct sample s = { T0 + i * 100000000LL, i };

        assert_true(append_series(f->db, series, &s, 1, NULL));
    }
}

static char *take_snapshot(struct fixture *f, bool skip_head)
{
    char name[DB_SNAPSHOT_NAME_MAX], *path = NULL;
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    if (db_snapshot(f->db, skip_head, NULL, name, &err) != OK)
        fail_msg("snapshot: %s", err_text(&err));
    assert_true(asprintf(&path, "%s/snapshots/%s", f->dir, name) > 0);
    arena_free(a);
    return path;
}

static size_t n_samples_in(const char *dir, const char *series)
{
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct column c = read_series(db, series, INT64_MIN, INT64_MAX);
    size_t n = c.n;

    for (size_t i = 0; i < n; i++)
        assert_true(c.v[i] == (double)i);
    column_free(&c);
    db_close(db);
    return n;
}

struct faults {
    size_t n;
    char first[512];
};

static void note_fault(void *ctx, const char *text)
{
    struct faults *f = ctx;

    if (f->n++ == 0)
        snprintf(f->first, sizeof f->first, "%s", text);
}

static struct verify_result verify(const char *dir, struct faults *faults)
{
    struct db_verify v = { .dir = dir, .map_bytes = MAP_BYTES, .fault = note_fault, .ctx = faults };
    struct verify_result res = { 0 };

    *faults = (struct faults){ 0 };
    assert_int_equal(db_verify(&v, &res, NULL), OK);
    assert_int_equal(res.faults, faults->n);
    return res;
}

static void a_snapshot_opens_with_all_that_was_there(void **state)
{
    struct fixture *f = *state;
    struct faults faults;
    char *first, *second;

    append_range(f, "m job=a", 0, 5);
    first = take_snapshot(f, false);
    append_range(f, "m job=a", 5, 9);
    second = take_snapshot(f, true);
    append_range(f, "m job=a", 9, 10);
    assert_int_equal(n_samples_in(first, "m job=a"), 5);
    assert_int_equal(n_samples_in(second, "m job=a"), 5); /* without what was in memory */
    free(first);
    first = take_snapshot(f, false);
    assert_int_equal(verify(first, &faults).samples, 10);
    assert_int_equal(faults.n, 0);
    assert_int_equal(n_samples_in(first, "m job=a"), 10);
    free(first);
    free(second);
}

static void *append_more(void *arg)
{
    struct fixture *f = *(void **)arg;
    atomic_bool *stop = ((void **)arg)[1];

    for (int i = 0; !atomic_load(stop) && i < 100000; i++) {
        struct sample s = { T0 + i * 1000LL, i };

        if (!append_series(f->db, "busy", &s, 1, NULL)
            || (i % 20 == 19 && db_flush(f->db, NULL) != OK))
            return arg;
    }
    return NULL;
}

static void snapshots_during_writes_are_consistent(void **state)
{
    struct fixture *f = *state;
    atomic_bool stop = false;
    void *args[] = { f, &stop }, *failed;
    pthread_t thread;
    size_t last = 0;

    assert_int_equal(pthread_create(&thread, NULL, append_more, args), 0);
    for (int i = 0; i < 5; i++) {
        char *path = take_snapshot(f, i % 2);
        size_t n = n_samples_in(path, "busy");

        assert_true(n >= last);
        last = n;
        free(path);
        assert_int_equal(db_compact(f->db, NULL, NULL), OK);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
}

/* Changes a byte in the middle of each place where text stands. */
static void damage_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "r+b");
    char *all;
    size_t size, n = 0;

    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size = (size_t)ftell(file);
    rewind(file);
    all = malloc(size);
    assert_int_equal(fread(all, 1, size, file), size);
    for (char *at = all; (at = memmem(at, size - (size_t)(at - all), text, strlen(text))); at++) {
        fseek(file, at - all, SEEK_SET);
        fputc('#', file);
        n++;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(n > 0);
    free(all);
}

static void damage_is_found_and_named(void **state)
{
    struct fixture *f = *state;
    struct faults faults;
    char *snapshot, *path = NULL;

    append_range(f, "m job=distinctive", 0, 3);
    snapshot = take_snapshot(f, false);
    assert_true(asprintf(&path, "%s/days/2023-11-14.1.mdb", snapshot) > 0);
    damage_text(path, "distinctive");
    assert_true(verify(snapshot, &faults).faults > 0);
    assert_non_null(strstr(faults.first, "2023-11-14.1.mdb: symbol"));
    assert_int_equal(truncate(path, 8192), 0);
    verify(snapshot, &faults);
    assert_int_equal(faults.n, 1);
    assert_non_null(strstr(faults.first, "it was truncated"));
    assert_int_equal(unlink(path), 0);
    verify(snapshot, &faults);
    assert_int_equal(faults.n, 1);
    free(path);
    assert_true(asprintf(&path, "%s/MANIFEST", snapshot) > 0);
    damage_text(path, "released");
    verify(snapshot, &faults);
    assert_non_null(strstr(faults.first, "MANIFEST"));
    free(path);
    free(snapshot);
}

static void a_damaged_store_gives_no_snapshot(void **state)
{
    struct fixture *f = *state;
    char name[DB_SNAPSHOT_NAME_MAX], *path = NULL;
    struct stat st;

    append_range(f, "m job=distinctive", 0, 3);
    flush_db(f->db);
    db_close(f->db);
    assert_true(asprintf(&path, "%s/days/2023-11-14.1.mdb", f->dir) > 0);
    damage_text(path, "distinctive");
    f->db = open_db(&f->o);
    assert_int_equal(db_snapshot(f->db, false, NULL, name, NULL), ERR_CORRUPT);
    free(path);
    assert_true(asprintf(&path, "%s/snapshots/%s.tmp", f->dir, name) > 0);
    assert_int_not_equal(stat(path, &st), 0);
    free(path);
}

static void the_scrubber_finds_damage_pass_after_pass(void **state)
{
    struct fixture *f = *state;
    struct db_stats s;
    char *path = NULL;
    uint64_t values;

    append_range(f, "m job=distinctive", 0, 3);
    db_close(f->db);
    fake_clock_init(&f->clock, T0);
    f->o.clock = &f->clock.clock;
    f->db = open_db(&f->o);
    assert_false(db_scrub_step(f->db)); /* not right after the start */
    f->clock.mono_ns += 700 * 1000000000LL;
    while (db_scrub_step(f->db))
        ;
    db_stats(f->db, &s);
    assert_int_equal(s.scrub_passes, 1);
    assert_int_equal(s.scrub_faults, 0);
    assert_true(s.scrub_values > 20);
    values = s.scrub_values;
    assert_false(db_scrub_step(f->db));
    db_close(f->db);
    assert_true(asprintf(&path, "%s/days/2023-11-14.1.mdb", f->dir) > 0);
    damage_text(path, "distinctive");
    free(path);
    f->db = open_db(&f->o);
    assert_false(db_scrub_step(f->db));
    log_set_level(LOG_ERROR + 1);
    for (unsigned pass = 1; pass < 3; pass++) {
        f->clock.mono_ns += 25 * 3600 * 1000000000LL;
        while (db_scrub_step(f->db))
            ;
        db_stats(f->db, &s);
        assert_int_equal(s.scrub_passes, pass);
        assert_true(s.scrub_faults >= pass && s.scrub_values < 3 * values);
    }
    log_set_level(LOG_ERROR);
}

static void an_interrupted_snapshot_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char name[DB_SNAPSHOT_NAME_MAX], *path = NULL;
    atomic_bool cancel = true;
    struct stat st;

    append_range(f, "m", 0, 3);
    assert_int_equal(db_snapshot(f->db, false, &cancel, name, NULL), ERR_CANCELED);
    assert_true(asprintf(&path, "%s/snapshots/%s.tmp/days", f->dir, name) > 0);
    assert_int_not_equal(stat(path, &st), 0);
    assert_int_equal(fs_make_dirs(path, NULL), OK); /* as a crash leaves it */
    db_close(f->db);
    f->db = open_db(&f->o);
    assert_int_not_equal(stat(path, &st), 0);
    free(path);
}

static void a_directory_after_a_crash_is_sound(void **state)
{
    struct fixture *f = *state;
    struct faults faults;
    char *log = NULL;

    append_range(f, "m job=a", 0, 20);
    flush_db(f->db);
    append_range(f, "m job=logged", 0, 20);
    verify(f->dir, &faults); /* the log is read as a crash would leave it */
    assert_int_equal(faults.n, 0);
    assert_true(asprintf(&log, "%s/log/0000000002.log", f->dir) > 0);
    if (fs_size(log) > 0) {
        damage_text(log, "logged");
        verify(f->dir, &faults);
        assert_int_equal(faults.n, 1);
        assert_non_null(strstr(faults.first, "records are damaged"));
    }
    free(log);
}

static void what_is_no_data_directory_is_refused(void **state)
{
    struct db_verify v = { .dir = "/nonexistent", .map_bytes = MAP_BYTES, .fault = note_fault };
    struct verify_result res = { 0 };

    (void)state;
    assert_int_equal(db_verify(&v, &res, NULL), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_opens_with_all_that_was_there),
        TEST(snapshots_during_writes_are_consistent),
        TEST(damage_is_found_and_named),
        TEST(a_damaged_store_gives_no_snapshot),
        TEST(the_scrubber_finds_damage_pass_after_pass),
        TEST(an_interrupted_snapshot_leaves_nothing),
        TEST(a_directory_after_a_crash_is_sound),
        cmocka_unit_test(what_is_no_data_directory_is_refused),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
