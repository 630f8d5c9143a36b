/* The catalogue of day files: what exists, what is published, what is open. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
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
#include "storage/day.h"
#include "storage/days.h"

enum { DAY = 20000, MAP_BYTES = 64 << 20 };

struct fixture {
    char *dir;
    struct arena *arena;
    struct err err;
    struct days *days;
};

static void reopen(struct fixture *f)
{
    days_close(f->days);
    f->days = NULL;
    if (days_open(f->dir, MAP_BYTES, &f->days, &f->err) != OK)
        fail_msg("open: %s", err_text(&f->err));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = test_folder_new();
    f->arena = arena_new(0);
    f->err = err_in(f->arena);
    reopen(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    days_close(f->days);
    arena_free(f->arena);
    test_folder_remove(f->dir);
    free(f);
    return 0;
}

/* Adds a sample to the newest file of a day as a flush. */
static void write_flush(struct fixture *f, int64_t number, uint64_t flush)
{
    struct label name = { METRIC_NAME, STR("m") };
    struct column c = { 0 };
    struct day_writer *w;
    struct day *day;

    assert_true(column_add(&c, day_first_ms(number) + (int64_t)flush, 1));
    assert_int_equal(days_get_newest(f->days, number, &day, &f->err), OK);
    assert_int_equal(day_writer_begin(day, flush, &w, &f->err), OK);
    assert_int_equal(day_writer_add(w, (struct labels){ &name, 1 }, &c, &f->err), OK);
    assert_int_equal(day_writer_commit(w, &f->err), OK);
    day_unref(day);
    column_free(&c);
}

static size_t n_listed(struct fixture *f)
{
    struct day_files files;
    size_t n;

    assert_int_equal(days_list(f->days, INT64_MIN, INT64_MAX, &files, &f->err), OK);
    n = files.n;
    day_files_free(&files);
    return n;
}

static void make_file(struct fixture *f, const char *name)
{
    char *path = NULL;
    FILE *file;

    assert_true(asprintf(&path, "%s/days/%s", f->dir, name) > 0);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static bool exists(struct fixture *f, const char *name)
{
    char *path = NULL;
    struct stat st;
    bool found;

    assert_true(asprintf(&path, "%s/days/%s", f->dir, name) > 0);
    found = stat(path, &st) == 0;
    free(path);
    return found;
}

static void what_was_published_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct day_files files;

    write_flush(f, DAY, 7);
    write_flush(f, DAY - 2, 7);
    assert_int_equal(n_listed(f), 0);
    assert_int_equal(days_publish(f->days, 7, &f->err), OK);
    write_flush(f, DAY + 1, 8);
    assert_int_equal(n_listed(f), 2);
    reopen(f);
    assert_int_equal(days_released(f->days), 7);
    assert_int_equal(days_list(f->days, DAY - 1, DAY + 1, &files, &f->err), OK);
    assert_int_equal(files.n, 1);
    assert_int_equal(day_file_id(files.items[0]).day, DAY);
    assert_int_equal(days_last_flush(f->days, DAY), 7);
    assert_int_equal(days_last_flush(f->days, DAY + 1), 0); /* was never published */
    day_files_free(&files);
}

static void a_failed_publish_changes_nothing_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    char *temp = NULL;

    assert_true(asprintf(&temp, "%s/MANIFEST.tmp", f->dir) > 0);
    write_flush(f, DAY, 7);
    assert_int_equal(mkdir(temp, 0700), 0); /* where the new MANIFEST would be written */
    assert_int_not_equal(days_publish(f->days, 7, &f->err), OK);
    assert_int_equal(n_listed(f), 0);
    assert_int_equal(days_released(f->days), 0);
    assert_int_equal(rmdir(temp), 0);
    assert_int_equal(days_publish(f->days, 7, &f->err), OK);
    assert_int_equal(n_listed(f), 1);
    free(temp);
}

static void only_what_manifest_does_not_name_is_tidied_away(void **state)
{
    struct fixture *f = *state;
    static const char *const strays[] = { "2024-10-04.2.mdb", "2024-10-04.1.mdb.tmp",
                                          "2024-10-04.1.mdb.tmp-lock", "2024-10-05.1.mdb",
                                          "2024-10-05.1.mdb-lock" };

    write_flush(f, DAY, 7);
    assert_int_equal(days_publish(f->days, 7, &f->err), OK);
    assert_true(exists(f, "2024-10-04.1.mdb"));
    for (size_t i = 0; i < ARRAY_LEN(strays); i++)
        make_file(f, strays[i]);
    make_file(f, "notes.txt");
    reopen(f);
    for (size_t i = 0; i < ARRAY_LEN(strays); i++)
        assert_false(exists(f, strays[i]));
    assert_true(exists(f, "notes.txt"));
    assert_int_equal(days_last_flush(f->days, DAY), 7);
}

static void a_lost_manifest_does_not_cost_the_day_files(void **state)
{
    struct fixture *f = *state;
    struct days *other;
    char *path = NULL;

    write_flush(f, DAY, 7);
    assert_int_equal(days_publish(f->days, 7, &f->err), OK);
    assert_true(asprintf(&path, "%s/MANIFEST", f->dir) > 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(days_open(f->dir, MAP_BYTES, &other, &f->err), ERR_CORRUPT);
    assert_non_null(strstr(err_text(&f->err), "restore it from a backup"));
    assert_true(exists(f, "2024-10-04.1.mdb"));
    free(path);
}

/* Descriptors of this process that are open on day files, lock files left out. */
static size_t n_open_files(void)
{
    DIR *fds = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(fds);
    for (struct dirent *e; (e = readdir(fds));) {
        char target[512];
        ssize_t len = readlinkat(dirfd(fds), e->d_name, target, sizeof target);

        n += len > 0 && str_ends_with((struct str){ target, (size_t)len }, STR(".mdb"));
    }
    closedir(fds);
    return n;
}

static void at_most_64_files_stay_open_besides_those_in_use(void **state)
{
    struct fixture *f = *state;
    struct day *held = NULL, *day;
    size_t per_file;

    for (int i = 0; i < 70; i++)
        write_flush(f, DAY + i, 1);
    assert_int_equal(days_publish(f->days, 1, &f->err), OK);
    reopen(f);
    assert_int_equal(days_get(f->days, (struct manifest_day){ DAY, 1 }, &held, &f->err), OK);
    per_file = n_open_files();
    assert_true(per_file > 0);
    for (int i = 1; i < 70; i++) {
        assert_int_equal(days_get(f->days, (struct manifest_day){ DAY + i, 1 }, &day, &f->err), OK);
        day_unref(day);
    }
    assert_int_equal(n_open_files(), 64 * per_file);
    assert_int_equal(days_get(f->days, (struct manifest_day){ DAY, 1 }, &day, &f->err), OK);
    assert_ptr_equal(day, held); /* the oldest, but in use */
    day_unref(day);
    day_unref(held);
}

static void a_dropped_day_can_be_read_to_the_end(void **state)
{
    struct fixture *f = *state;
    struct column c = { 0 };
    struct day_txn *txn;
    struct day *day;
    bool overlaps = false;
    size_t dropped;

    for (int i = 0; i < 3; i++)
        write_flush(f, DAY + i, 5);
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    assert_int_equal(days_get(f->days, (struct manifest_day){ DAY, 1 }, &day, &f->err), OK);
    assert_int_equal(day_txn_begin(day, 5, &txn, &f->err), OK);
    assert_int_equal(days_drop_before(f->days, DAY + 2, &dropped, &f->err), OK);
    assert_int_equal(dropped, 2);
    assert_int_equal(n_listed(f), 1);
    assert_false(exists(f, "2024-10-04.1.mdb"));
    assert_int_equal(days_get(f->days, (struct manifest_day){ DAY, 1 }, &day, &f->err),
                     ERR_NOT_FOUND);
    assert_int_equal(day_read(txn, 1, INT64_MIN, INT64_MAX, &c, &overlaps, &f->err), OK);
    assert_int_equal(c.n, 1);
    day_txn_end(txn);
    day_unref(day);
    column_free(&c);
    reopen(f);
    assert_int_equal(n_listed(f), 1);
}

static void a_day_may_go_on_in_another_file(void **state)
{
    struct fixture *f = *state;
    struct day_files files;
    size_t dropped;

    assert_int_equal(days_begin_file(f->days, DAY, &f->err), ERR_CONFLICT);
    write_flush(f, DAY, 5);
    assert_int_equal(days_begin_file(f->days, DAY, &f->err), ERR_CONFLICT); /* itself new */
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    assert_int_equal(days_begin_file(f->days, DAY, &f->err), OK);
    assert_int_equal(days_publish(f->days, 5, &f->err), OK); /* nothing was written to it yet */
    assert_int_equal(n_listed(f), 1);
    write_flush(f, DAY, 6);
    assert_int_equal(days_publish(f->days, 6, &f->err), OK);
    reopen(f);
    assert_int_equal(days_list(f->days, DAY, DAY, &files, &f->err), OK);
    assert_int_equal(files.n, 2);
    assert_int_equal(day_file_id(files.items[0]).generation, 1);
    assert_int_equal(day_file_id(files.items[1]).generation, 2);
    assert_int_equal(days_last_flush(f->days, DAY), 6);
    day_files_free(&files);
    assert_int_equal(days_drop_before(f->days, DAY + 1, &dropped, &f->err), OK);
    assert_int_equal(n_listed(f), 0);
    assert_false(exists(f, "2024-10-04.1.mdb") || exists(f, "2024-10-04.2.mdb"));
}

static void a_file_that_cannot_be_created_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct days_stats stats;
    struct day *day;
    char *path = NULL;

    assert_true(asprintf(&path, "%s/days/2024-10-04.1.mdb.tmp", f->dir) > 0);
    assert_int_equal(mkdir(path, 0700), 0); /* where the file would be made */
    assert_int_not_equal(days_get_newest(f->days, DAY, &day, &f->err), OK);
    days_stats(f->days, &stats);
    assert_int_equal(stats.days, 0);
    assert_int_equal(rmdir(path), 0);
    write_flush(f, DAY, 1);
    days_stats(f->days, &stats);
    assert_int_equal(stats.days, 1);
    free(path);
}

static void a_dropped_file_stays_until_its_last_user_lets_go(void **state)
{
    struct fixture *f = *state;
    struct day_files files;
    struct day *day;
    size_t dropped;

    write_flush(f, DAY, 5);
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    reopen(f); /* so that the file is closed */
    assert_int_equal(days_list(f->days, DAY, DAY, &files, &f->err), OK);
    assert_int_equal(days_drop_before(f->days, DAY + 1, &dropped, &f->err), OK);
    assert_int_equal(dropped, 1);
    assert_true(exists(f, "2024-10-04.1.mdb"));
    write_flush(f, DAY, 6); /* samples for that day again: its name is still taken */
    assert_true(exists(f, "2024-10-04.2.mdb"));
    assert_int_equal(day_file_open(files.items[0], &day, &f->err), OK);
    assert_int_equal(day_last_flush(day), 5);
    day_unref(day);
    day_files_free(&files);
    assert_false(exists(f, "2024-10-04.1.mdb"));
}

/* An empty file under the name that a rewriting was given. */
static struct day *make_rewritten(struct fixture *f, const struct day_rewrite *r)
{
    struct day *made;

    assert_int_equal(day_open(r->path, r->id.day, MAP_BYTES, true, &made, &f->err), OK);
    return made;
}

static void flushes_during_a_rewriting_begin_a_file_beside_the_new_one(void **state)
{
    struct fixture *f = *state;
    struct day_files files;
    struct day_rewrite r, other;

    write_flush(f, DAY, 5);
    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), ERR_CONFLICT); /* unpublished */
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    assert_int_equal(days_begin_rewrite(f->days, DAY + 1, &r, &f->err), ERR_NOT_FOUND);
    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), OK);
    assert_int_equal(r.id.generation, 2);
    assert_int_equal(days_begin_rewrite(f->days, DAY, &other, &f->err), ERR_CONFLICT);
    write_flush(f, DAY, 6);
    assert_int_equal(days_publish(f->days, 6, &f->err), OK);
    assert_true(exists(f, "2024-10-04.3.mdb"));
    assert_int_equal(days_finish_rewrite(f->days, &r, make_rewritten(f, &r), &f->err), OK);
    assert_false(exists(f, "2024-10-04.1.mdb"));
    reopen(f);
    assert_int_equal(days_list(f->days, DAY, DAY, &files, &f->err), OK);
    assert_int_equal(files.n, 2);
    assert_int_equal(day_file_id(files.items[0]).generation, 2);
    assert_int_equal(day_file_id(files.items[1]).generation, 3);
    day_files_free(&files);
}

static void a_rewriting_that_fails_or_stops_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct day_rewrite r;
    char *temp = NULL;

    assert_true(asprintf(&temp, "%s/MANIFEST.tmp", f->dir) > 0);
    write_flush(f, DAY, 5);
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), OK);
    day_unref(make_rewritten(f, &r));
    days_abort_rewrite(f->days, &r);
    assert_false(exists(f, "2024-10-04.2.mdb"));

    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), OK);
    assert_int_equal(mkdir(temp, 0700), 0); /* where the new MANIFEST would be written */
    assert_int_not_equal(days_finish_rewrite(f->days, &r, make_rewritten(f, &r), &f->err), OK);
    assert_int_equal(rmdir(temp), 0);
    assert_int_equal(n_listed(f), 1);
    assert_int_equal(days_last_flush(f->days, DAY), 5);

    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), OK);
    assert_int_equal(r.id.generation, 3); /* MANIFEST might have named the other */
    assert_int_equal(days_finish_rewrite(f->days, &r, NULL, &f->err), OK); /* nothing is left */
    assert_int_equal(n_listed(f), 0);
    free(temp);
}

static void a_day_dropped_while_it_is_rewritten_stays_dropped(void **state)
{
    struct fixture *f = *state;
    struct day_rewrite r;
    size_t dropped;

    write_flush(f, DAY, 5);
    assert_int_equal(days_publish(f->days, 5, &f->err), OK);
    assert_int_equal(days_begin_rewrite(f->days, DAY, &r, &f->err), OK);
    assert_int_equal(days_drop_before(f->days, DAY + 1, &dropped, &f->err), OK);
    assert_int_equal(days_finish_rewrite(f->days, &r, make_rewritten(f, &r), &f->err), OK);
    assert_int_equal(n_listed(f), 0);
    assert_false(exists(f, "2024-10-04.1.mdb") || exists(f, "2024-10-04.2.mdb"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_published_is_there_after_a_restart),
        TEST(a_failed_publish_changes_nothing_and_may_be_tried_again),
        TEST(only_what_manifest_does_not_name_is_tidied_away),
        TEST(a_lost_manifest_does_not_cost_the_day_files),
        TEST(at_most_64_files_stay_open_besides_those_in_use),
        TEST(a_dropped_day_can_be_read_to_the_end),
        TEST(a_day_may_go_on_in_another_file),
        TEST(a_file_that_cannot_be_created_leaves_no_trace),
        TEST(a_dropped_file_stays_until_its_last_user_lets_go),
        TEST(flushes_during_a_rewriting_begin_a_file_beside_the_new_one),
        TEST(a_rewriting_that_fails_or_stops_changes_nothing),
        TEST(a_day_dropped_while_it_is_rewritten_stays_dropped),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
