/* Dropping days by age and by size, and the ballast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/db.h"
#include "storage/db_private.h"

enum { DAY = 19675, N_DAYS = 6 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

struct fixture {
    char *dir;
    struct db_options o;
    struct fake_clock clock;
    struct db *db;
};

static char *path_in(struct fixture *f, const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", f->dir, name) > 0);
    return path;
}

/* A store of some days with one sample each. */
static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = test_folder_new();
    f->o = test_db_options(f->dir);
    fake_clock_init(&f->clock, T0 + N_DAYS * DAY_MS);
    f->o.clock = &f->clock.clock;
    f->db = open_db(&f->o);
    for (int i = 0; i < N_DAYS; i++) {
        struct sample s = { T0 + i * DAY_MS, i };

        assert_true(append_series(f->db, "m", &s, 1, NULL));
    }
    flush_db(f->db);
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

static uint64_t n_days(struct fixture *f)
{
    struct db_stats s;

    db_stats(f->db, &s);
    return s.days;
}

static void reopen(struct fixture *f)
{
    db_close(f->db);
    f->db = open_db(&f->o);
}

static void beyond_the_size_the_oldest_days_go_and_do_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct sample late = { T0 + DAY_MS + 5, 1 };
    struct write_result res = { 0 };
    struct db_stats s;
    uint64_t file_bytes;

    db_stats(f->db, &s);
    file_bytes = (s.disk_bytes - s.log_bytes) / N_DAYS;
    f->o.retention_bytes = s.log_bytes + 3 * file_bytes + file_bytes / 2;
    reopen(f);
    db_retire(f->db);
    assert_int_equal(n_days(f), 3);
    db_stats(f->db, &s);
    assert_int_equal(s.retired, N_DAYS - 3);
    assert_int_equal(s.size_retentions, 1);
    assert_true(append_series(f->db, "m", &late, 1, &res));
    assert_int_equal(res.rejected[DB_REJECT_TOO_OLD], 1);
    buf_free(&res.text);
    db_retire(f->db);
    assert_int_equal(n_days(f), 3);
}

static void the_newest_day_stays_whatever_its_size(void **state)
{
    struct fixture *f = *state;
    struct column c;

    f->o.retention_bytes = 1;
    reopen(f);
    db_retire(f->db);
    assert_int_equal(n_days(f), 1);
    c = read_series(f->db, "m", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 1);
    assert_true(c.v[0] == N_DAYS - 1);
    column_free(&c);
}

static void the_ballast_is_given_up_for_a_manifest_that_cannot_be_written(void **state)
{
    struct fixture *f = *state;
    char *ballast = path_in(f, "ballast"), *temp = path_in(f, "MANIFEST.tmp");
    struct stat st;

    db_retire(f->db);
    assert_int_equal(stat(ballast, &st), 0);
    assert_true(st.st_size >= 64 << 10 && (uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
    f->o.retention_ms = DAY_MS;
    reopen(f);
    assert_int_equal(mkdir(temp, 0700), 0); /* where the new MANIFEST would be written */
    assert_int_equal(fs_size(ballast) > 0, true);
    db_retire(f->db);
    assert_int_equal(n_days(f), N_DAYS);
    assert_int_equal(rmdir(temp), 0);
    db_retire(f->db);
    assert_int_equal(n_days(f), 2);
    assert_int_equal(fs_size(ballast) > 0, true); /* there is space again */
    free(ballast);
    free(temp);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beyond_the_size_the_oldest_days_go_and_do_not_come_back),
        TEST(the_newest_day_stays_whatever_its_size),
        TEST(the_ballast_is_given_up_for_a_manifest_that_cannot_be_written),
    };

    log_set_level(LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
