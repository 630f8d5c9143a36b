/* Tokens of PromQL and the values of literals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/arena.h"
#include "query/lex.h"
#include "query/literal.h"

#include "base/banned.h"

/* All tokens as "unexpected" names them, joined by spaces; a lexical error as pos:text. */
static void describe_all(struct str text, struct arena *a, struct buf *out)
{
    struct lexer lx = lexer_on(text, a);

    for (;;) {
        struct token t = lex_next(&lx);

        if (out->len)
            buf_u8(out, ' ');
        if (t.kind == TOK_ERROR) {
            buf_printf(out, "%u:%s", t.pos, t.error);
            return;
        }
        if (t.kind == TOK_END)
            return;
        assert_true(t.pos < t.end && t.end <= text.len);
        token_describe(out, text, &t);
    }
}

struct lex_case {
    struct str text;
    const char *tokens;
};

static void check_cases(const struct lex_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena *a = arena_new(0);
        struct buf b = { 0 };

        describe_all(cases[i].text, a, &b);
        buf_u8(&b, 0);
        if (b.len > 1 && b.ptr[b.len - 2] == ' ')
            b.ptr[b.len - 2] = 0;
        assert_string_equal((char *)b.ptr, cases[i].tokens);
        buf_free(&b);
        arena_free(a);
    }
}

static void tokens_are_told_apart(void **state)
{
    const struct lex_case cases[] = {
        { STR(""), "" },
        { STR(" \t\r\n# only a comment"), "" },
        { STR("a # x\n b"), "identifier \"a\" identifier \"b\"" },
        { STR("a # x\r b"), "identifier \"a\" identifier \"b\"" },
        { STR("+ - * / % ^"), "<op:+> <op:-> <op:*> <op:/> <op:%> <op:^>" },
        { STR("== != <= < >= > </ >/"),
          "<op:==> <op:!=> <op:<=> <op:<> <op:>=> <op:>> <op:</> <op:>/>" },
        { STR("a<-b"), "identifier \"a\" <op:<> <op:-> identifier \"b\"" },
        { STR("a=b"), "identifier \"a\" \"=\" identifier \"b\"" },
        { STR("@ , ( )"), "<op:@> \",\" \"(\" \")\"" },
        { STR("and OR Unless atan2"), "<op:and> <op:OR> <op:Unless> <op:atan2>" },
        { STR("sum AVG limit_ratio"), "<aggr:sum> <aggr:AVG> <aggr:limit_ratio>" },
        { STR("by WITHOUT on bool"), "<by> <WITHOUT> <on> <bool>" },
        { STR("start end"), "\"start\" \"end\"" },
        { STR("a:b :c _d"), "metric identifier \"a:b\" metric identifier \":c\" "
                            "identifier \"_d\"" },
        { STR("fill fill (fill_left\n("), "identifier \"fill\" <fill> \"(\" <fill_left> \"(\" "
                                          "22:unclosed left parenthesis" },
        { STR("{on=~'x',by!~`y`,a!=\"z\"}"),
          "\"{\" identifier \"on\" <op:=~> string \"'x'\" \",\" identifier \"by\" <op:!~> string "
          "\"`y`\" \",\" identifier \"a\" <op:!=> string \"\\\"z\\\"\" \"}\"" },
        { STR("{a # x }\n}"), "\"{\" identifier \"a\" \"}\"" },
        { STR("'abcdefghi' 12345678901"), "string \"'abcdefghi\"... number \"1234567890\"..." },
        { STR("[ 5m : STEP() ]"), "\"[\" duration \"5m\" \":\" \"STEP\" \"(\" \")\" \"]\"" },
        { STR("[(range()+1)]"), "\"[\" \"(\" \"range\" \"(\" \")\" <op:+> number \"1\" \")\" "
                                "\"]\"" },
        { STR("[5m # x\n]"), "\"[\" duration \"5m\" \"]\"" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void numbers_and_durations_are_cut_where_they_end(void **state)
{
    const struct lex_case cases[] = {
        { STR("1 1. .5 1e3 1e-3 1.5E+3"),
          "number \"1\" number \"1.\" number \".5\" number \"1e3\" number \"1e-3\" "
          "number \"1.5E+3\"" },
        { STR("1_000 0x1F 0X_ff 010 .5.5"), "number \"1_000\" number \"0x1F\" number \"0X_ff\" "
                                            "number \"010\" number \".5.5\"" },
        { STR("Inf nAn"), "number \"Inf\" number \"nAn\"" },
        { STR("5m 1h30m 54s321ms 1.5h 5hs"), "duration \"5m\" duration \"1h30m\" "
                                             "duration \"54s321ms\" duration \"1.5h\" "
                                             "duration \"5hs\"" },
        { STR("5m)"), "duration \"5m\" 3:unexpected right parenthesis ')'" },
        { STR("5mm"), "0:bad number or duration syntax: \"5mm\"" },
        { STR("5m1"), "0:bad number or duration syntax: \"5m1\"" },
        { STR("2.5."), "0:bad number or duration syntax: \"2.5.\"" },
        { STR("1..2"), "0:bad number or duration syntax: \"1..\"" },
        { STR("1e2e3"), "0:bad number or duration syntax: \"1e2e\"" },
        { STR("1e"), "0:bad number or duration syntax: \"1e\"" },
        { STR("1_"), "0:bad number or duration syntax: \"1_\"" },
        { STR("1__0"), "0:bad number or duration syntax: \"1__\"" },
        { STR("1_.5"), "0:bad number or duration syntax: \"1_.\"" },
        { STR("0b1"), "0:bad number or duration syntax: \"0\"" },
        { STR("0x1p-2"), "0:bad number or duration syntax: \"0x1\"" },
        { STR("1a"), "0:bad number or duration syntax: \"1\"" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void lexical_errors_name_the_place(void **state)
{
    const struct lex_case cases[] = {
        { STR(" ("), "\"(\" 2:unclosed left parenthesis" },
        { STR("())"), "\"(\" \")\" 3:unexpected right parenthesis ')'" },
        { STR("[5m"), "\"[\" duration \"5m\" 3:unclosed left bracket" },
        { STR("[ "), "\"[\" 2:unexpected end of input in duration expression" },
        { STR("[5m["), "\"[\" duration \"5m\" 3:unexpected left bracket '['" },
        { STR("a]"), "identifier \"a\" 1:unexpected right bracket ']'" },
        { STR("[5m:5m:"), "\"[\" duration \"5m\" \":\" duration \"5m\" 6:unexpected colon ':'" },
        { STR("[:"), "\"[\" 2:unexpected colon before duration in duration expression" },
        { STR("[5m x"), "\"[\" duration \"5m\" 4:unexpected character: 'x', expected ':'" },
        { STR("[5m sx"), "\"[\" duration \"5m\" 4:unexpected character: 's', expected ':'" },
        { STR("['"), "\"[\" 1:unexpected character in duration expression: '\\''" },
        { STR("[#"), "\"[\" 1:unexpected character in duration expression: '#'" },
        { STR("{{"), "\"{\" 1:unexpected left brace '{'" },
        { STR("{"), "\"{\" 1:unexpected end of input inside braces" },
        { STR("{:"), "\"{\" 1:unexpected character inside braces: ':'" },
        { STR("{!x"), "\"{\" 1:unexpected character after '!' inside braces: 'x'" },
        { STR("!~"), "0:unexpected character after '!': '~'" },
        { STR("!"), "0:unexpected character after '!': '\xef\xbf\xbd'" },
        { STR("=~"), "0:unexpected character after '=': '~'" },
        { STR(" ."), "1:unexpected character: '.'" },
        { STR("\xc3\xa9"), "0:unexpected character: '\xc3\xa9'" },
        { STR("\xc2\xa0"), "0:unexpected character: '\\u00a0'" },
        { STR("\0"), "0:unexpected character: '\\x00'" },
        { STR("\xff"), "0:unexpected character: '\xef\xbf\xbd'" },
        { STR(" \"a"), "1:unterminated quoted string" },
        { STR("'a\nb'"), "0:unterminated quoted string" },
        { STR("`a\nb"), "0:unterminated raw string" },
        { STR("'\xff'"), "0:invalid UTF-8 rune" },
        { STR("'\xef\xbf\xbd'"), "0:invalid UTF-8 rune" },
        { STR("'\\"), "0:escape sequence not terminated" },
        { STR("'\\x4"), "0:escape sequence not terminated" },
        { STR("'\\c'"), "0:unknown escape sequence U+0063 'c'" },
        { STR("'\\\"'"), "0:unknown escape sequence U+0022 '\"'" },
        { STR("'\\\n'"), "0:unknown escape sequence U+000A" },
        { STR("'\\x.'"), "0:illegal character U+002E '.' in escape sequence" },
        { STR("'\\08'"), "0:illegal character U+0038 '8' in escape sequence" },
        { STR("'\\400'"), "0:escape sequence is an invalid Unicode code point" },
        { STR("'\\ud800'"), "0:escape sequence is an invalid Unicode code point" },
        { STR("'\\U00110000'"), "0:escape sequence is an invalid Unicode code point" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void words_may_be_names(void **state)
{
    const struct {
        struct str text;
        bool metric, label;
    } cases[] = {
        { STR("foo"), true, true },         { STR("a:b"), true, true },
        { STR("sum"), true, true },         { STR("and"), true, true },
        { STR("atan2"), false, true },      { STR("by"), true, true },
        { STR("without"), true, false },    { STR("offset"), true, true },
        { STR("on"), false, true },         { STR("ignoring"), false, true },
        { STR("group_left"), false, true }, { STR("bool"), false, true },
        { STR("start"), true, true },       { STR("max_of"), true, true },
        { STR("inf"), false, false },       { STR("+"), false, false },
        { STR("1"), false, false },         { STR("("), false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct lexer lx = lexer_on(cases[i].text, a);
        struct token t = lex_next(&lx);

        assert_int_equal(token_is_metric_name(cases[i].text, &t), cases[i].metric);
        assert_int_equal(token_is_label_name(cases[i].text, &t), cases[i].label);
        arena_free(a);
    }
}

static void string_literals_are_decoded(void **state)
{
    const struct {
        struct str quoted, text;
    } cases[] = {
        { STR("\"\""), STR("") },
        { STR("'it\"s'"), STR("it\"s") },
        { STR("'\\a\\b\\f\\n\\r\\t\\v\\\\\\''"), STR("\a\b\f\n\r\t\v\\'") },
        { STR("\"\\\"\""), STR("\"") },
        { STR("'\\x41\\101\\xff\\377\\000'"), STR("AA\xff\xff\0") },
        { STR("'\\u00e9\\U0001F600'"), STR("\xc3\xa9\xf0\x9f\x98\x80") },
        { STR("`\\n\n'\"`"), STR("\\n\n'\"") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct str s;

        assert_int_equal(literal_string(cases[i].quoted, a, &s), OK);
        assert_int_equal(s.len, cases[i].text.len);
        assert_memory_equal(s.ptr, cases[i].text.ptr, s.len);
        arena_free(a);
    }
}

static void number_literals_are_converted(void **state)
{
    const struct {
        struct str text;
        double v;
    } cases[] = {
        { STR("1_000_000"), 1e6 },
        { STR(".123_456"), .123456 },
        { STR("5."), 5 },
        { STR("1e-9"), 1e-9 },
        { STR("0x8f"), 143 },
        { STR("0x_53_AB"), 0x53ab },
        { STR("010"), 8 },
        { STR("0_10"), 8 },
        { STR("0755"), 493 },
        { STR("08"), 8 },
        { STR("09.5"), 9.5 },
        { STR("0"), 0 },
        { STR("9223372036854775808"), 0x1p63 },
        { STR("iNf"), INFINITY },
        { STR("1e-400"), 0 },
    };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    double v;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(literal_number(cases[i].text, 0, &v, &err), OK);
        assert_true(v == cases[i].v);
    }
    assert_int_equal(literal_number(STR("NaN"), 0, &v, &err), OK);
    assert_true(isnan(v));
    assert_int_equal(literal_number(STR("1e400"), 7, &v, &err), ERR_BAD_QUERY);
    assert_int_equal(err.pos, 7);
    assert_string_equal(
        err.msg, "error parsing number: strconv.ParseFloat: parsing \"1e400\": value out of range");
    assert_int_equal(literal_number(STR("1_"), 0, &v, &err), ERR_BAD_QUERY);
    assert_string_equal(err.msg,
                        "error parsing number: strconv.ParseFloat: parsing \"1_\": invalid syntax");
    arena_free(a);
}

static void duration_literals_are_seconds(void **state)
{
    const struct {
        struct str text;
        double seconds;
        const char *error;
    } cases[] = {
        { STR("5m"), 300, NULL },
        { STR("1h30m"), 5400, NULL },
        { STR("54s321ms"), 54 + 0.321, NULL },
        { STR("1y2w"), 379 * 86400.0, NULL },
        { STR("0s"), 0, NULL },
        { STR("5m1h"), 0, "not a valid duration string: \"5m1h\"" },
        { STR("5y1hs"), 0, "unknown unit \"hs\" in duration \"5y1hs\"" },
        { STR("1.5h"), 0, "unknown unit \".\" in duration \"1.5h\"" },
        { STR("293y"), 0, "duration out of range" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        double v = 0;
        enum errc rc = literal_duration(cases[i].text, 9, &v, &err);

        assert_int_equal(rc, cases[i].error ? ERR_BAD_QUERY : OK);
        if (cases[i].error) {
            assert_string_equal(err.msg, cases[i].error);
            assert_int_equal(err.pos, 9);
        } else {
            assert_true(v == cases[i].seconds);
        }
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_told_apart),
        cmocka_unit_test(numbers_and_durations_are_cut_where_they_end),
        cmocka_unit_test(lexical_errors_name_the_place),
        cmocka_unit_test(words_may_be_names),
        cmocka_unit_test(string_literals_are_decoded),
        cmocka_unit_test(number_literals_are_converted),
        cmocka_unit_test(duration_literals_are_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
