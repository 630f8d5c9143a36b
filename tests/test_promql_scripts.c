#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "promql_script.h"

/* Runs all scripts of a folder; false when one cannot be read. */
static bool run_folder(const char *dir, FILE *report, struct script_counts *total)
{
    char *pattern = NULL;
    glob_t found = { 0 };
    bool ok = asprintf(&pattern, "%s/*.test", dir) >= 0 && glob(pattern, 0, NULL, &found) == 0;

    for (size_t i = 0; ok && i < found.gl_pathc; i++) {
        struct script_counts c = { 0 };

        ok = promql_script_run(found.gl_pathv[i], report, &c);
        printf("%s: %zu passed, %zu failed\n", found.gl_pathv[i], c.passed, c.failed);
        total->passed += c.passed;
        total->failed += c.failed;
    }
    globfree(&found);
    free(pattern);
    return ok;
}

static void all_own_scripts_pass(void **state)
{
    struct script_counts c = { 0 };

    (void)state;
    assert_true(run_folder(TEST_DIR "/promql", stderr, &c));
    assert_true(c.passed > 0);
    assert_int_equal(c.failed, 0);
}

/* Where there are further scripts. */
static void all_further_scripts_pass(void **state)
{
    struct script_counts c = { 0 };

    (void)state;
    if (PROMQL_SCRIPTS_DIR[0] == '\0')
        skip();
    assert_true(run_folder(PROMQL_SCRIPTS_DIR, stdout, &c));
    printf("all: %zu passed, %zu failed\n", c.passed, c.failed);
    assert_true(c.passed > 0);
    assert_int_equal(c.failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_own_scripts_pass),
        cmocka_unit_test(all_further_scripts_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
