/* Memory that cannot be read: an error where it is guarded, a line that names the file elsewhere. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "temp_dir.h"

#include "base/banned.h"

enum { FILE_BYTES = 8 * 4096 };

/* A map of a file that has been cut to its first page. */
static volatile const char *map_cut_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    void *map;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
    map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
    return map;
}

/* Whether p can be read. */
static bool can_read(volatile const char *p)
{
    struct fault_guard g;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return false;
    (void)*p;
    fault_end(&g);
    return true;
}

static void a_guarded_read_fails_and_the_next_ones_work(void **state)
{
    char *path = temp_dir_file(*state, "cut");
    volatile const char *map = map_cut_file(path);

    fault_install();
    for (int i = 0; i < 3; i++) {
        assert_false(can_read(map + 5 * 4096));
        assert_true(can_read(map));
    }
    munmap((void *)(uintptr_t)map, FILE_BYTES);
    free(path);
}

static void guards_nest(void **state)
{
    struct fault_guard outer;
    char *path = temp_dir_file(*state, "cut");
    volatile const char *map = map_cut_file(path);
    volatile bool inner_failed = false;

    fault_install();
    if (sigsetjmp(fault_begin(&outer)->env, 0) == 0) {
        inner_failed = !can_read(map + 4096);
        (void)map[2 * 4096];
        fail();
    }
    assert_true(inner_failed);
    munmap((void *)(uintptr_t)map, FILE_BYTES);
    free(path);
}

/* What the process that reads beyond the guard says. */
static void an_unguarded_read_names_the_file(void **state)
{
    char *path = temp_dir_file(*state, "distinctive.mdb"), text[1024];
    size_t n = 0;
    int fds[2], status;
    ssize_t got;
    pid_t child;

    assert_int_equal(pipe(fds), 0);
    child = fork();
    if (child == 0) {
        volatile const char *map = map_cut_file(path);
        struct rlimit no_core = { 0 };

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(fds[1], STDERR_FILENO);
        fault_install();
        (void)map[3 * 4096];
        _exit(0);
    }
    close(fds[1]);
    while (n < sizeof text - 1 && (got = read(fds[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    assert_non_null(strstr(text, "SIGBUS: cannot read "));
    assert_non_null(strstr(text, path));
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_guarded_read_fails_and_the_next_ones_work),
        TEST(guards_nest),
        TEST(an_unguarded_read_names_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
