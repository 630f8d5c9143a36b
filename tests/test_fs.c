#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/arena.h"
#include "base/fs.h"
#include "temp_dir.h"

#include "base/banned.h"

struct path {
    char text[PATH_MAX];
};

static struct path in_dir(void **state, const char *name)
{
    const struct temp_dir *dir = *state;
    struct path p;

    snprintf(p.text, sizeof p.text, "%s/%s", dir->path, name);
    return p;
}

static struct bytes bytes_of(const char *s)
{
    return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void assert_content(const char *path, const char *expected)
{
    struct buf b = { 0 };

    assert_int_equal(fs_read_file(path, 1000, &b, NULL), OK);
    assert_int_equal(b.len, strlen(expected));
    if (b.len)
        assert_memory_equal(b.ptr, expected, b.len);
    buf_free(&b);
}

static bool count(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
    return true;
}

static bool stop_at_once(void *ctx, const char *name)
{
    (void)count(ctx, name);
    return false;
}

static size_t n_entries(const char *path)
{
    size_t n = 0;

    assert_int_equal(fs_each(path, count, &n, NULL), OK);
    return n;
}

static void an_atomic_write_replaces_the_file(void **state)
{
    const struct temp_dir *dir = *state;
    struct path p = in_dir(state, "f");

    assert_int_equal(fs_write_atomic(dir->path, "f", bytes_of("one"), NULL), OK);
    assert_content(p.text, "one");
    assert_int_equal(fs_write_atomic(dir->path, "f", bytes_of("x"), NULL), OK);
    assert_content(p.text, "x");
    assert_int_equal(fs_write_atomic(dir->path, "f", (struct bytes){ 0 }, NULL), OK);
    assert_content(p.text, "");
    assert_int_equal(n_entries(dir->path), 1); /* nothing temporary is left */
}

static void a_failed_atomic_write_keeps_the_old_file(void **state)
{
    const struct temp_dir *dir = *state;
    struct path folder = in_dir(state, "f.tmp");
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    assert_int_equal(fs_write_atomic(dir->path, "f", bytes_of("one"), NULL), OK);
    assert_int_equal(mkdir(folder.text, 0700), 0); /* in the way of the temporary file */
    assert_int_equal(fs_write_atomic(dir->path, "f", bytes_of("two"), &err), ERR_IO);
    assert_non_null(strstr(err_text(&err), folder.text));
    assert_content(in_dir(state, "f").text, "one");
    assert_int_equal(rmdir(folder.text), 0);
    assert_int_equal(fs_write_atomic("/nonexistent/folder", "f", bytes_of("x"), &err),
                     ERR_NOT_FOUND);
    arena_free(a);
}

static void reading_stops_at_the_limit(void **state)
{
    const struct temp_dir *dir = *state;
    struct path p = in_dir(state, "f");
    struct buf b = { 0 };

    assert_int_equal(fs_write_atomic(dir->path, "f", bytes_of("12345"), NULL), OK);
    assert_int_equal(fs_read_file(p.text, 5, &b, NULL), OK);
    assert_int_equal(fs_read_file(p.text, 4, &b, NULL), ERR_TOO_LARGE);
    buf_clear(&b);
    buf_text(&b, "kept");
    assert_int_equal(fs_read_file(p.text, 5, &b, NULL), OK);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.ptr, "kept12345", 9);
    buf_free(&b);
}

static void a_large_file_is_read_whole(void **state)
{
    const struct temp_dir *dir = *state;
    struct buf data = { 0 }, back = { 0 };

    for (uint32_t i = 0; i < 50000; i++)
        buf_u32(&data, i * 2654435761u);
    assert_int_equal(fs_write_atomic(dir->path, "f", buf_as_bytes(&data), NULL), OK);
    assert_int_equal(fs_size(in_dir(state, "f").text), data.len);
    assert_int_equal(fs_read_file(in_dir(state, "f").text, data.len, &back, NULL), OK);
    assert_int_equal(back.len, data.len);
    assert_memory_equal(back.ptr, data.ptr, data.len);
    buf_free(&data);
    buf_free(&back);
}

static void what_is_not_there_is_named(void **state)
{
    struct path p = in_dir(state, "none");
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct buf b = { 0 };
    size_t n = 0;

    assert_int_equal(fs_read_file(p.text, 10, &b, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err_text(&err), p.text));
    assert_int_equal(fs_each(p.text, count, &n, &err), ERR_NOT_FOUND);
    assert_int_equal(fs_sync_dir(p.text, &err), ERR_NOT_FOUND);
    assert_int_equal(fs_remove(p.text, &err), OK);
    assert_int_equal(fs_size(p.text), 0);
    buf_free(&b);
    arena_free(a);
}

static void folders_are_made_with_their_parents(void **state)
{
    struct path deep = in_dir(state, "a/b//c/"), file = in_dir(state, "file");
    const struct temp_dir *dir = *state;

    assert_int_equal(fs_make_dirs(deep.text, NULL), OK);
    assert_int_equal(fs_make_dirs(deep.text, NULL), OK);
    assert_int_equal(n_entries(in_dir(state, "a/b").text), 1);
    assert_int_equal(fs_write_atomic(dir->path, "file", bytes_of(""), NULL), OK);
    assert_int_not_equal(fs_make_dirs(in_dir(state, "file/sub").text, NULL), OK);
    assert_int_not_equal(fs_make_dirs(file.text, NULL), OK); /* a file is no folder */
    assert_int_not_equal(fs_make_dirs("", NULL), OK);
    assert_int_equal(rmdir(in_dir(state, "a/b/c").text), 0);
    assert_int_equal(rmdir(in_dir(state, "a/b").text), 0);
    assert_int_equal(rmdir(in_dir(state, "a").text), 0);
}

static void a_walk_can_be_ended(void **state)
{
    const struct temp_dir *dir = *state;
    size_t n = 0;

    assert_int_equal(fs_write_atomic(dir->path, "a", bytes_of(""), NULL), OK);
    assert_int_equal(fs_write_atomic(dir->path, "b", bytes_of(""), NULL), OK);
    assert_int_equal(n_entries(dir->path), 2);
    assert_int_equal(fs_each(dir->path, stop_at_once, &n, NULL), OK);
    assert_int_equal(n, 1);
    assert_int_equal(fs_remove(in_dir(state, "a").text, NULL), OK);
    assert_int_equal(n_entries(dir->path), 1);
}

static void writes_land_at_their_offset(void **state)
{
    struct path p = in_dir(state, "f");
    int fd = open(p.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fs_pwrite(fd, "abc", 3, 0, p.text, NULL), OK);
    assert_int_equal(fs_pwrite(fd, "xyz", 3, 2, p.text, NULL), OK);
    assert_int_equal(fs_pwrite(fd, NULL, 0, 9, p.text, NULL), OK);
    close(fd);
    assert_content(p.text, "abxyz");
}

static void a_failed_write_is_reported(void **state)
{
    struct path p = in_dir(state, "f");
    int fd = open(p.text, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fs_pwrite(fd, "abc", 3, 0, p.text, NULL), ERR_IO);
    close(fd);
}

static void a_lock_is_held_by_one_only(void **state)
{
    struct path p = in_dir(state, "LOCK");
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    int first, second = -1;

    assert_int_equal(fs_lock(p.text, &first, NULL), OK);
    assert_int_equal(fs_lock(p.text, &second, &err), ERR_CONFLICT);
    assert_non_null(strstr(err_text(&err), p.text));
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(fs_lock(p.text, &second, NULL), OK);
    close(second);
    arena_free(a);
}

static void a_lock_is_released_when_its_holder_dies(void **state)
{
    struct path p = in_dir(state, "LOCK");
    int fd, status;
    pid_t child = fork();

    if (child == 0)
        _exit(fs_lock(p.text, &fd, NULL) == OK ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(fs_lock(p.text, &fd, NULL), OK);
    close(fd);
}

static void room_on_a_disk_is_less_than_what_is_free(void **state)
{
    const struct temp_dir *t = *state;
    uint64_t available;

    assert_true(fs_has_room(t->path, 1, &available));
    assert_true(available > 1);
    assert_false(fs_has_room(t->path, available, &available)); /* a reserve stays */
    assert_true(fs_has_room("/nonexistent", 1, &available));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_atomic_write_replaces_the_file, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_failed_atomic_write_keeps_the_old_file, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test_setup_teardown(reading_stops_at_the_limit, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_large_file_is_read_whole, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_named, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(folders_are_made_with_their_parents, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_walk_can_be_ended, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(writes_land_at_their_offset, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_failed_write_is_reported, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_lock_is_held_by_one_only, temp_dir_make, temp_dir_remove),
        cmocka_unit_test_setup_teardown(a_lock_is_released_when_its_holder_dies, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test_setup_teardown(room_on_a_disk_is_less_than_what_is_free, temp_dir_make,
                                        temp_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
