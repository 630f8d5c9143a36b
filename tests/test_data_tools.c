/* verify, backup and restore, as from the command line. */
#include <fcntl.h>
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

#include "base/fs.h"
#include "base/log.h"
#include "data_tools.h"
#include "db_tools.h"
#include "http/api.h"
#include "http/server.h"
#include "storage/db.h"
#include "temp_dir.h"

#include "base/banned.h"

static const int64_t T0 = 1700000000000;

struct fixture {
    char *base, *dir, *out; /* dir and out are in base */
    struct db *db;
};

static char *join(const char *dir, const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

static void open_store(struct fixture *f)
{
    struct db_options o = test_db_options(f->dir);

    f->db = open_db(&o);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->base = test_folder_new();
    f->dir = join(f->base, "data");
    f->out = join(f->base, "out");
    open_store(f);
    for (int i = 0; i < 50; i++) {
        struct sample s = { T0 + i * 5000000LL, i };

        assert_true(append_series(f->db, "m job=distinctive", &s, 1, NULL));
    }
    flush_db(f->db);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    db_close(f->db);
    test_folder_remove(f->base);
    free(f->dir);
    free(f->out);
    free(f);
    return 0;
}

static void close_store(struct fixture *f)
{
    db_close(f->db);
    f->db = NULL;
}

/* Runs a command with what it prints thrown away. */
static int run(const char *command, const char *first, const char *second)
{
    char *argv[] = { (char *)(uintptr_t)command, (char *)(uintptr_t)first,
                     (char *)(uintptr_t)second, NULL };
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    int status;

    fflush(stdout);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    status = data_tools_main(first ? second ? 3 : 2 : 1, argv);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(null);
    close(out);
    close(err);
    return status;
}

static size_t n_samples_in(const char *dir)
{
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct column c = read_series(db, "m job=distinctive", INT64_MIN, INT64_MAX);
    size_t n = c.n;

    column_free(&c);
    db_close(db);
    return n;
}

static void a_directory_in_use_is_left_alone(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run("verify", f->dir, NULL), TOOLS_FAILED);
    assert_int_equal(run("backup", f->dir, f->out), TOOLS_FAILED);
    assert_int_not_equal(access(f->out, F_OK), 0);
}

static void a_backup_is_restored_and_served(void **state)
{
    struct fixture *f = *state;
    char *again = join(f->base, "again");

    close_store(f);
    assert_int_equal(run("verify", f->dir, NULL), TOOLS_GOOD);
    assert_int_equal(run("verify", "--json", f->dir), TOOLS_GOOD);
    assert_int_equal(run("backup", f->dir, f->out), TOOLS_GOOD);
    assert_int_equal(run("restore", f->out, again), TOOLS_GOOD);
    assert_int_equal(n_samples_in(again), 50);
    assert_int_equal(run("restore", f->out, again), TOOLS_FAILED); /* not empty */
    assert_int_equal(run("backup", f->dir, f->out), TOOLS_FAILED);
    free(again);
}

/* Changes a letter of the first place where a text stands in a file. */
static void damage(const char *path)
{
    struct buf all = { 0 };
    const char *at;

    assert_int_equal(fs_read_file(path, 64 << 20, &all, NULL), OK);
    at = memmem(all.ptr, all.len, "distinctive", 11);
    assert_non_null(at);
    assert_true(flip_in_file(path, (size_t)(at - (const char *)all.ptr), 4));
    buf_free(&all);
}

static void what_is_damaged_is_not_restored(void **state)
{
    struct fixture *f = *state;
    char *again = join(f->base, "again"), *file;

    close_store(f);
    assert_int_equal(run("backup", f->dir, f->out), TOOLS_GOOD);
    file = join(f->out, "days/2023-11-14.1.mdb");
    damage(file);
    assert_int_equal(run("verify", f->out, NULL), TOOLS_FAILED);
    assert_int_equal(run("restore", f->out, again), TOOLS_FAILED);
    assert_int_not_equal(access(again, F_OK), 0);
    free(file);
    free(again);
}

static void a_running_server_is_backed_up_through_its_api(void **state)
{
    struct fixture *f = *state;
    struct api_flag flag = { "storage.tsdb.path", f->dir };
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();
    struct http_server *server;
    char url[64];
    struct api *api;

    ao.enable_admin = true;
    ao.flags = &flag;
    ao.n_flags = 1;
    api = api_new(&ao);
    api_set_db(api, f->db);
    so.service = api_service(api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &server, NULL), OK);
    snprintf(url, sizeof url, "--url=http://127.0.0.1:%u/", so.listener.port);
    assert_int_equal(run("backup", url, f->out), TOOLS_GOOD);
    http_server_stop(server, 5000);
    api_free(api);
    assert_int_equal(n_samples_in(f->out), 50);
}

static void bad_usage_is_told(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run("verify", NULL, NULL), TOOLS_USAGE);
    assert_int_equal(run("verify", f->dir, f->dir), TOOLS_USAGE);
    assert_int_equal(run("restore", f->dir, NULL), TOOLS_USAGE);
    assert_int_equal(run("restore", "--json", f->dir), TOOLS_USAGE);
    assert_int_equal(run("verify", "--nonsense", f->dir), TOOLS_USAGE);
    assert_int_equal(run("verify", f->base, NULL), TOOLS_FAILED); /* no data directory */
    assert_true(data_tools_has("backup"));
    assert_false(data_tools_has("serve"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_in_use_is_left_alone),
        TEST(a_backup_is_restored_and_served),
        TEST(what_is_damaged_is_not_restored),
        TEST(a_running_server_is_backed_up_through_its_api),
        TEST(bad_usage_is_told),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
