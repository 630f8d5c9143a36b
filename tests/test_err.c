#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"

#include "base/banned.h"

static void every_code_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(errc_text((enum errc)i)) > 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(errc_text((enum errc)i), errc_text((enum errc)j));
    }
}

static void an_error_keeps_code_place_and_words(void **state)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    (void)state;
    assert_int_equal(err.code, OK);
    assert_string_equal(err_text(&err), "no error");
    assert_int_equal(err_set(&err, ERR_BAD_QUERY, 7, "%s at %d", "trouble", 42), ERR_BAD_QUERY);
    assert_int_equal(err.code, ERR_BAD_QUERY);
    assert_int_equal(err.pos, 7);
    assert_string_equal(err_text(&err), "trouble at 42");
    assert_int_equal(err_set(&err, ERR_IO, 0, "%05000d", 1), ERR_IO);
    assert_int_equal(strlen(err_text(&err)), 5000);
    arena_free(a);
}

static void without_room_the_codes_text_stands_in(void **state)
{
    struct arena *full = arena_new(16);
    struct err err = err_in(full), bare = err_in(NULL);

    (void)state;
    assert_int_equal(err_set(&err, ERR_LIMIT, 3, "a text of more than sixteen bytes"), ERR_LIMIT);
    assert_string_equal(err_text(&err), errc_text(ERR_LIMIT));
    assert_int_equal(err_set(&bare, ERR_IO, 0, "x"), ERR_IO);
    assert_string_equal(err_text(&bare), errc_text(ERR_IO));
    assert_int_equal(err_set(NULL, ERR_CORRUPT, 0, "x"), ERR_CORRUPT);
    arena_free(full);
}

/* Standard error goes to a pipe while a line is written. */
static struct str captured(struct arena *a, enum log_level level, const char *msg, const char *pair)
{
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    char text[4096];
    ssize_t n;

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(saved >= 0 && dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    log_line(level, msg, "%s", pair);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    n = read(pipe_fds[0], text, sizeof text);
    close(saved);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return str_copy(a, (struct str){ text, n > 0 ? (size_t)n : 0 });
}

static void a_log_line_is_logfmt(void **state)
{
    struct arena *a = arena_new(0);
    struct str line = captured(a, LOG_WARN, "say \"hi\"\n\\", "day=7");

    (void)state;
    assert_true(str_starts_with(line, STR("ts=2")));
    assert_int_equal(line.ptr[26], 'Z'); /* ts=2026-11-21T09:30:00.123Z */
    assert_string_equal(line.ptr + 27, " level=warn msg=\"say \\\"hi\\\"\\x0a\\\\\" day=7\n");
    line = captured(a, LOG_ERROR, "m", "");
    assert_true(str_ends_with(line, STR(" level=error msg=\"m\"\n")));
    arena_free(a);
}

static void lines_below_the_level_are_dropped(void **state)
{
    struct arena *a = arena_new(0);

    (void)state;
    assert_int_equal(captured(a, LOG_DEBUG, "m", "").len, 0);
    log_set_level(LOG_DEBUG);
    assert_true(captured(a, LOG_DEBUG, "m", "").len > 0);
    log_set_level(LOG_ERROR);
    assert_int_equal(captured(a, LOG_WARN, "m", "").len, 0);
    assert_true(captured(a, LOG_ERROR, "m", "").len > 0);
    log_set_level(LOG_INFO);
    arena_free(a);
}

static void level_names_are_read(void **state)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    enum log_level level;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(log_level_parse(str_from(names[i]), &level));
        assert_int_equal(level, i);
    }
    assert_false(log_level_parse(STR("INFO"), &level));
    assert_false(log_level_parse(STR(""), &level));
    assert_false(log_level_parse(STR("warning"), &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_text_of_its_own),
        cmocka_unit_test(an_error_keeps_code_place_and_words),
        cmocka_unit_test(without_room_the_codes_text_stands_in),
        cmocka_unit_test(a_log_line_is_logfmt),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(level_names_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
