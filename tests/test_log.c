#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/log.h"

#include "base/banned.h"

static void a_message_is_one_line_whatever_it_names(void **state)
{
    char text[512] = { 0 };
    int ends[2], before = dup(STDERR_FILENO);

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_warn("a\nb", "group=\"%s\"", "g\nts=1 level=error msg=forged");
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, "msg=\"a\\x0ab\" group=\"g ts=1 level=error msg=forged\"\n"));
    close(ends[0]);
    close(ends[1]);
    close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_line_whatever_it_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
