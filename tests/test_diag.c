#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/diag.h"

#include "base/banned.h"

static void faults_are_printed_by_file_and_place(void **state)
{
    struct diags d = { .arena = arena_new(0) };
    struct buf b = { 0 };
    char file[] = "b.yml";

    (void)state;
    diag_error(&d, file, 10, 2, "later %d", 1);
    diag_error(&d, file, 9, 7, "earlier");
    diag_warning(&d, file, 10, 2, "same place");
    file[0] = 'a'; /* names are copied */
    diag_error(&d, file, 0, 0, "as a whole");
    diags_print(&b, &d);
    buf_u8(&b, 0);
    assert_string_equal((char *)b.ptr, "a.yml: as a whole\n"
                                       "b.yml:9:7: earlier\n"
                                       "b.yml:10:2: later 1\n"
                                       "b.yml:10:2: warning: same place\n");
    assert_int_equal(d.n, 4);
    assert_int_equal(d.n_errors, 3);
    assert_false(d.full);
    buf_free(&b);
    arena_free(d.arena);
}

static void errors_count_when_there_is_no_memory_for_words(void **state)
{
    struct diags d = { .arena = arena_new(1000) };
    struct buf b = { 0 };

    (void)state;
    for (uint32_t i = 1; i <= 100; i++)
        diag_error(&d, "f", i, 1, "a text of some length");
    assert_true(d.full);
    assert_true(d.n < 100);
    assert_int_equal(d.n_errors, 100);
    diags_print(&b, &d);
    assert_true(str_ends_with(buf_as_str(&b), STR("for want of memory\n")));
    buf_free(&b);
    arena_free(d.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_printed_by_file_and_place),
        cmocka_unit_test(errors_count_when_there_is_no_memory_for_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
