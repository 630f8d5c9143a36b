#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/matcher.h"

#include "base/banned.h"

static int setup(void **state)
{
    *state = arena_new(0);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static void a_matcher_decides_on_the_whole_value(void **state)
{
    static const struct {
        enum match_op op;
        const char *pattern, *value;
        bool matches;
    } cases[] = {
        { MATCH_EQ, "a", "a", true },       { MATCH_EQ, "a", "ab", false },
        { MATCH_EQ, "", "", true },         { MATCH_EQ, "", "a", false },
        { MATCH_NE, "a", "a", false },      { MATCH_NE, "a", "", true },
        { MATCH_RE, "a.c", "abc", true },   { MATCH_RE, "a.c", "xabc", false },
        { MATCH_RE, "a|b", "b", true },     { MATCH_RE, "a|b", "ab", false },
        { MATCH_NRE, "a.c", "abc", false }, { MATCH_NRE, "a.c", "xabc", true },
        { MATCH_NRE, "a|b", "c", true },    { MATCH_NRE, "[ab]+c?", "abab", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct matcher m;
        enum errc rc = OK;

        assert_int_equal(
            matcher_init(&m, cases[i].op, STR("x"), str_from(cases[i].pattern), *state, NULL), OK);
        assert_int_equal(matcher_matches(&m, str_from(cases[i].value), &rc), cases[i].matches);
        assert_int_equal(rc, OK);
        matcher_free(&m);
    }
}

static void a_missing_label_has_the_empty_value(void **state)
{
    static const struct {
        enum match_op op;
        const char *value;
        bool matches;
    } cases[] = {
        { MATCH_EQ, "", true },   { MATCH_EQ, "a", false },   { MATCH_NE, "", false },
        { MATCH_NE, "a", true },  { MATCH_RE, ".*", true },   { MATCH_RE, ".+", false },
        { MATCH_RE, "a|", true }, { MATCH_RE, "a?", true },   { MATCH_NRE, "a", true },
        { MATCH_NRE, "", false }, { MATCH_NRE, ".*", false }, { MATCH_NRE, ".+", true },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct matcher m;

        assert_int_equal(
            matcher_init(&m, cases[i].op, STR("x"), str_from(cases[i].value), *state, NULL), OK);
        assert_int_equal(matcher_matches_empty(&m), cases[i].matches);
        matcher_free(&m);
    }
}

static void a_matcher_prints_as_promql(void **state)
{
    static const struct {
        enum match_op op;
        const char *name, *value, *text;
    } cases[] = {
        { MATCH_EQ, "job", "api", "job=\"api\"" },
        { MATCH_NE, "job", "a\"b\\", "job!=\"a\\\"b\\\\\"" },
        { MATCH_RE, "le", "a|b\n", "le=~\"a|b\\n\"" },
        { MATCH_NRE, "_x9", "", "_x9!~\"\"" },
        { MATCH_EQ, "http.status", "1", "\"http.status\"=\"1\"" },
        { MATCH_EQ, "a:b", "1", "\"a:b\"=\"1\"" },
        { MATCH_EQ, "9a", "1", "\"9a\"=\"1\"" },
        { MATCH_EQ, "", "1", "\"\"=\"1\"" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct matcher m;
        struct buf b = { 0 };

        assert_int_equal(matcher_init(&m, cases[i].op, str_from(cases[i].name),
                                      str_from(cases[i].value), *state, NULL),
                         OK);
        matcher_print(&b, &m);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].text);
        buf_free(&b);
        matcher_free(&m);
    }
}

static void a_bad_pattern_is_refused_with_gos_words(void **state)
{
    struct err err = err_in(*state);
    struct matcher m;

    assert_int_equal(matcher_init(&m, MATCH_RE, STR("x"), STR("a(b"), *state, &err), ERR_BAD_QUERY);
    assert_string_equal(err_text(&err), "error parsing regexp: missing closing ): `a(b`");
    matcher_free(&m);
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("x"), STR("a(b"), *state, &err), OK);
    matcher_free(&m);
}

static void name_and_value_are_copies(void **state)
{
    char name[] = "job", value[] = "api";
    struct matcher m;

    assert_int_equal(matcher_init(&m, MATCH_RE, str_from(name), str_from(value), *state, NULL), OK);
    name[0] = value[0] = '!';
    assert_true(str_is(m.name, "job"));
    assert_true(str_is(m.value, "api"));
    matcher_free(&m);
}

static void a_full_arena_is_an_error(void **state)
{
    struct arena *small = arena_new(16);
    struct matcher m;

    (void)state;
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("job"), STR("0123456789abcdef"), small, NULL),
                     ERR_LIMIT);
    matcher_free(&m);
    arena_free(small);
}

/* A pattern that exceeds every limit must neither match nor pass for "does not match". */
static void a_match_limit_is_an_error_for_both_operators(void **state)
{
    const enum match_op ops[] = { MATCH_RE, MATCH_NRE };
    struct str value = STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct matcher m;
        enum errc rc = OK;

        assert_int_equal(
            matcher_init(&m, ops[i], STR("x"), STR("(?:(?:.?){500}){2}[b-x]"), *state, NULL), OK);
        assert_false(matcher_matches(&m, value, &rc));
        assert_int_equal(rc, ERR_LIMIT);
        matcher_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_matcher_decides_on_the_whole_value, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_label_has_the_empty_value, setup, teardown),
        cmocka_unit_test_setup_teardown(a_matcher_prints_as_promql, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_pattern_is_refused_with_gos_words, setup, teardown),
        cmocka_unit_test_setup_teardown(name_and_value_are_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_arena_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_match_limit_is_an_error_for_both_operators, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
