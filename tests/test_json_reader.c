#include "base/json_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/banned.h"

/* Whether the whole text is one JSON value. */
static bool is_json(const char *text, size_t n)
{
    struct json_reader r = json_reader_on((struct str){ text, n });
    bool ok;

    json_skip(&r);
    json_end(&r);
    ok = r.fault == NULL;
    json_reader_free(&r);
    return ok;
}

static void the_grammar_is_that_of_the_standard(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1.5e+3",
        "\"\"",
        "\"\\u00e4\\n\"",
        "true",
        " null ",
        "[]",
        "[1,[2],{}]",
        "{\"a\":{\"b\":[false]},\"\\u0041\":1}",
        "\t{ \"a\" : 1 , \"b\" : [ ] }\r\n",
    };
    static const char *const bad[] = {
        "",         "-",     "01",   "1.",    ".5",       "1e",      "+1",
        "tru",      "nul",   "[1,]", "[,1]",  "[1 2]",    "{\"a\"}", "{\"a\":1,}",
        "{a:1}",    "{1:1}", "[",    "{",     "\"",       "\"\\x\"", "\"\\u12g4\"",
        "\"a\nb\"", "1 1",   "]",    "nulll", "{\"a\":}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!is_json(good[i], strlen(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (is_json(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    assert_false(is_json("1\0", 2));
    assert_false(is_json("[\0]", 3));
}

static void strings_are_unescaped(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        { "\"plain\"", "plain" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"\\u00e4\\u20AC\"", "\xc3\xa4\xe2\x82\xac" },
        { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
        { "\"\\ud83dx\"", "\xef\xbf\xbdx" },
        { "\"\\ude00\"", "\xef\xbf\xbd" },
        { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                                "A" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_reader r = json_reader_on(str_from(cases[i].json));
        struct buf b = { 0 };

        assert_true(json_read_string(&r, &b));
        if (!str_is(buf_as_str(&b), cases[i].want))
            fail_msg("%s is \"%.*s\"", cases[i].json, STR_ARG(buf_as_str(&b)));
        buf_free(&b);
        json_reader_free(&r);
    }
}

static void members_come_with_their_keys(void **state)
{
    struct json_reader r = json_reader_on(STR("{\"a\":1,\"b\\n\":[2,3],\"c\":null}"));
    struct str key;

    (void)state;
    assert_true(json_begin_object(&r));
    assert_true(json_next_member(&r, &key) && str_is(key, "a"));
    assert_int_equal(json_peek(&r), JSON_NUMBER);
    assert_true(str_is(json_read_number(&r), "1"));
    assert_true(json_next_member(&r, &key) && str_is(key, "b\n"));
    assert_true(json_begin_array(&r));
    assert_true(json_next_item(&r) && str_is(json_read_number(&r), "2"));
    assert_true(json_next_item(&r) && str_is(json_read_number(&r), "3"));
    assert_false(json_next_item(&r));
    assert_true(json_next_member(&r, &key) && json_peek(&r) == JSON_NULL);
    json_read_null(&r);
    assert_false(json_next_member(&r, &key));
    json_end(&r);
    assert_null(r.fault);
    json_reader_free(&r);
}

static void the_first_fault_stays_with_its_place(void **state)
{
    struct json_reader r = json_reader_on(STR("[1, x, 2]"));

    (void)state;
    assert_true(json_begin_array(&r));
    while (json_next_item(&r))
        (void)json_read_number(&r);
    assert_string_equal(r.fault, "expected a number");
    assert_int_equal(json_offset(&r), 4);
    json_skip(&r);
    json_fail(&r, "later");
    assert_string_equal(r.fault, "expected a number");
    assert_int_equal(json_peek(&r), JSON_NONE);
    json_reader_free(&r);
}

static void depth_is_bounded(void **state)
{
    static char text[2 * 100000];

    (void)state;
    memset(text, '[', sizeof text / 2);
    memset(text + sizeof text / 2, ']', sizeof text / 2);
    assert_false(is_json(text, sizeof text));
    assert_true(is_json(text + sizeof text / 2 - JSON_MAX_DEPTH, 2 * JSON_MAX_DEPTH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar_is_that_of_the_standard),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(members_come_with_their_keys),
        cmocka_unit_test(the_first_fault_stays_with_its_place),
        cmocka_unit_test(depth_is_bounded),
    };

    return cmocka_run_group_tests_name("json_reader", tests, NULL, NULL);
}
