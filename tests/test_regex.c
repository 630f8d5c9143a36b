/* Expected results are those of Go's regexp on ^(?s:PATTERN)$. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/regex.h"

#include "base/banned.h"

#define STRING(s)                                                                                  \
    {                                                                                              \
        (s), sizeof(s) - 1                                                                         \
    } /* a struct str in a table */

static struct regex *compiled(struct str pattern)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct regex *re = NULL;

    if (regex_compile(pattern, &re, &err) != OK)
        fail_msg("%.*s: %s", STR_ARG(pattern), err_text(&err));
    arena_free(a);
    return re;
}

static bool matches(const char *pattern, struct str s)
{
    struct regex *re = compiled(str_from(pattern));
    bool matched = false;

    assert_int_equal(regex_match(re, s, &matched), OK);
    regex_free(re);
    return matched;
}

/* One pattern, the texts that match it and those that do not. */
struct match_case {
    const char *pattern;
    const char *yes[9], *no[9]; /* ended by NULL */
};

static void check_matches(const struct match_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct match_case *c = &cases[i];

        for (size_t j = 0; c->yes[j]; j++)
            if (!matches(c->pattern, str_from(c->yes[j])))
                fail_msg("%s does not match \"%s\"", c->pattern, c->yes[j]);
        for (size_t j = 0; c->no[j]; j++)
            if (matches(c->pattern, str_from(c->no[j])))
                fail_msg("%s matches \"%s\"", c->pattern, c->no[j]);
    }
}

static void a_pattern_matches_the_whole_text(void **state)
{
    static const struct match_case cases[] = {
        { "", { "" }, { "a", "\n" } },
        { "a", { "a" }, { "", "aa", "ba", "a\n", "A" } },
        { "a|b", { "a", "b" }, { "", "ab", "a|b" } },
        { "a|", { "a", "" }, { "b" } },
        { "|a", { "a", "" }, { "b" } },
        { "(a|b)c", { "ac", "bc" }, { "a", "c", "abc" } },
        { "foo(bar|baz)?", { "foo", "foobar", "foobaz" }, { "fooba", "bar" } },
        { "a|ab|abc", { "a", "ab", "abc" }, { "abcd", "b" } },
        { "(a|ab)(c|bcd)", { "ac", "abc", "abcd", "abbcd" }, { "ab", "abd" } },
        { "^a$", { "a" }, { "a\n", "" } },
        { "^^a$$", { "a" }, { "aa" } },
        { "(^a|b$)", { "a", "b" }, { "ab" } },
        { "a^b", { NULL }, { "ab", "a^b" } },
        { "a$b", { NULL }, { "ab", "a$b", "a\nb" } },
        { "\\Aa\\z", { "a" }, { "a\n" } },
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
}

static void dots_and_wildcards(void **state)
{
    static const struct match_case cases[] = {
        { ".", { "a", "\n", "\xc3\xa9", "\xe4\xb8\x96", "\xf0\x9f\x98\x80" }, { "", "ab" } },
        { ".*", { "", "a", "a\nb" }, { NULL } },
        { ".+", { "a", "a\nb" }, { "" } },
        { "a.*", { "a", "ab", "a\n" }, { "", "ba" } },
        { ".*a", { "a", "ba", "aba" }, { "", "ab" } },
        { ".+a", { "ba", "aba", "aa" }, { "a", "" } },
        { ".*a.*", { "a", "bab" }, { "", "b" } },
        { ".*ab.*ab", { "abab", "xabyab", "ababab" }, { "ab", "aab", "abb" } },
        { "a.b",
          { "a.b", "a\nb",
            "a\xc3\xa9"
            "b" },
          { "ab", "a..b" } },
        { "a.+b.*c", { "axbc", "axxbyyc", "abbc" }, { "abc", "axb" } },
        { ".*.+.*.+", { "ab", "abc" }, { "a", "" } },
        { ".*(foo|bar)-.+", { "foo-x", "xbar-yy" }, { "foo-", "foo", "baz-x" } },
        { ".*\xc3\xa9", { "\xc3\xa9", "a\xc3\xa9", "\xc3\xa8\xc3\xa9" }, { "\xc3\xa8" } },
        { "(?-s).", { "a" }, { "\n" } },
        { "(?-s:a.)b", { "axb" }, { "a\nb" } },
        { "(?-s:.).", { "a\n" }, { "\na" } },
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
}

static void classes(void **state)
{
    static const struct match_case cases[] = {
        { "[abc]", { "a", "c" }, { "", "d", "ab" } },
        { "[a-c]x", { "ax", "cx" }, { "dx", "-x" } },
        { "[^a-c]", { "d", "\n", "\xc3\xa9" }, { "a", "" } },
        { "[]a]", { "]", "a" }, { "b" } },
        { "[^]a]", { "b" }, { "]", "a" } },
        { "[a-]", { "a", "-" }, { "b" } },
        { "[-a]", { "a", "-" }, { "b" } },
        { "[a^]", { "a", "^" }, { "b" } },
        { "[\\]\\-\\\\]", { "]", "-", "\\" }, { "a" } },
        { "[\\d-z]", { "1", "-", "z" }, { "a" } },
        { "[a-c-e]", { "b", "-", "e" }, { "d" } },
        { "[[:alpha:]]", { "a", "Z" }, { "1", "\xc3\xa9", "[" } },
        { "[[:^alpha:]1]", { "1", ":", "\xc3\xa9" }, { "a" } },
        { "[[:space:]]", { " ", "\v", "\t" }, { "a" } },
        { "[[:word:]]+", { "a_9" }, { "a-b" } },
        { "[[:alpha]+", { "[:alph" }, { "]", "b" } },
        { "[[:punct:]]", { "!", "/", ":", "@", "[", "`", "{", "~" }, { "a", "0", " " } },
        { "\\d", { "0", "9" }, { "a", "\xd9\xa3" } },
        { "\\D", { "a", "\xd9\xa3", "\n" }, { "1" } },
        { "\\s", { " ", "\t", "\n", "\f", "\r" }, { "\v", "\xc2\xa0", "a" } },
        { "\\S", { "\v", "a", "\xc2\xa0" }, { " " } },
        { "\\w+", { "aZ_9" }, { "-", "\xc3\xa9" } },
        { "\\W", { "-", "\xc3\xa9" }, { "_" } },
        { "[\\s\\S]", { "a", "\n" }, { "" } },
        { "[^\\s\\S]", { NULL }, { "a", "" } },
        { "[^\\x00-\\x{10FFFF}]", { NULL }, { "a", "" } },
        { "\\pL\\PL", { "a1", "\xc3\xa9-" }, { "11", "aa" } },
        { "\\p{Greek}", { "\xce\xbb" }, { "a", "\xcd\x82" } }, /* Script, not Script_Extensions */
        { "\\P{Greek}|\\p{^Latin}", { "a", "1", "\xce\xbb" }, { "" } },
        { "\\p{lu}", { "A" }, { "a" } },
        { "[\\p{Upper case_Letter}\\d]", { "A", "1" }, { "a" } },
        { "\\p{Any}\\p{ASCII}",
          { "\xc3\xa9"
            "a" },
          { "a\xc3\xa9" } },
        { "\\P{Any}", { NULL }, { "a", "" } },
        { "\\P{ASCII}", { "\xc3\xa9" }, { "a" } },
        { "\\p{Assigned}", { "a" }, { "\xcd\xb8" } },
        { "\\x{d800}|a", { "a" }, { "\xef\xbf\xbe" } },
        { "[\\x{d800}-\\x{dfff}]|a", { "a" }, { "b" } },
        { "[^\\x{d800}]", { "a" }, { "" } },
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
}

static void escapes(void **state)
{
    static const struct match_case cases[] = {
        { "a\\.b", { "a.b" }, { "axb" } },
        { "\\a\\f\\n\\r\\t\\v", { "\a\f\n\r\t\v" }, { NULL } },
        { "\\v", { "\v" }, { "\n", "\r" } },
        { "\\x41\\x{e9}\\x{1F600}", { "A\xc3\xa9\xf0\x9f\x98\x80" }, { NULL } },
        { "\\Qa.b*\\E+", { "a.b*", "a.b**" }, { "axb" } },
        { "\\Qa\\nb", { "a\\nb" }, { "a\nb" } },
        { "\\_\\-\\/\\ \\\"", { "_-/ \"" }, { NULL } },
        { "a\\b-\\bb", { "a-b" }, { NULL } },
        { "a\\Bb", { "ab" }, { "a" } },
        { "\xc3\xa9\\b.", { NULL }, { "\xc3\xa9-" } }, /* \b knows ASCII words only */
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
    assert_true(matches("\\101\\12\\08", STR("A\n\0"
                                             "8")));
    assert_true(matches("\\0", (struct str){ "", 1 }));
    assert_false(matches("\\0", STR("")));
}

static void repetition(void **state)
{
    static const struct match_case cases[] = {
        { "a*", { "", "aaa" }, { "b" } },
        { "a+?b??", { "a", "aab" }, { "b" } },
        { "ab*", { "a", "abb" }, { "abab" } },
        { "(ab)*", { "", "abab" }, { "aba" } },
        { "(?:ab){2}", { "abab" }, { "ab", "ababab" } },
        { "a{2,}", { "aa", "aaaa" }, { "a" } },
        { "a{1,3}?", { "a", "aaa" }, { "aaaa", "" } },
        { "a{0}", { "" }, { "a" } },
        { "a{,5}", { "a{,5}" }, { "a", "aaa" } },
        { "a{01}", { "a{01}" }, { "a" } },
        { "a{1", { "a{1" }, { "a" } },
        { "{", { "{" }, { "" } },
        { "x{2}{", { "xx{" }, { "xx" } },
        { "^*a", { "a" }, { "^a" } },
        { "\\b+a", { "a" }, { NULL } },
        { "(?:)*", { "" }, { "a" } },
        { "()+", { "" }, { "a" } },
        { "a*(?i)*", { "", "aa" }, { "A" } },
        { "(|a)*", { "", "aaa" }, { "b" } },
        { "(a*)*b", { "b", "aab" }, { "a" } },
        { "(?U)a+b*?", { "a", "aab" }, { "b" } },
        { "\\x{d800}*a", { "a" }, { "" } },
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
}

static void flags(void **state)
{
    static const struct match_case cases[] = {
        { "(?i)abc", { "ABC", "aBc" }, { "ab" } },
        { "(?i)k", { "k", "K", "\xe2\x84\xaa" }, { "q" } },
        { "(?i)s|\xce\xa3", { "S", "\xc5\xbf", "\xcf\x82", "\xcf\x83" }, { "\xc3\x9f" } },
        { "(?i)[^k]", { "s" }, { "K", "\xe2\x84\xaa" } },
        { "(?i)\\W", { "-" }, { "\xe2\x84\xaa", "\xc5\xbf", "A" } },
        { "(?i)[\\Wk]", { "-", "K", "\xe2\x84\xaa" }, { "\xc5\xbf" } },
        { "(?i)[[:lower:]]", { "A", "\xc5\xbf" }, { "1" } },
        { "(?i)[\xce\xb1-\xce\xb3]", { "\xce\x91", "\xce\xb2" }, { "a" } },
        { "(?i)\\p{Lu}", { "a", "A" }, { "1" } },
        { "a(?i)b|c", { "aB", "C" }, { "Ab" } },
        { "(a(?i)b)c", { "aBc" }, { "abC" } },
        { "(?i:a)b", { "Ab" }, { "aB" } },
        { "(?i)a(?-i)b", { "Ab" }, { "aB" } },
        { "(?i)1.2", { "1x2", "1X2" }, { "12" } },
        { "(?m)a$\nb", { "a\nb" }, { "ab" } },
        { "(?m)(^a$\n?)*", { "a", "a\na\n", "" }, { "aa" } },
        { "a\n(?m)^", { "a\n" }, { "a" } }, /* after the last newline, unlike Perl */
        { "(?m:^)a(?m:$)", { "a" }, { "\na", "a\n" } },
        { "(?s-i)a.", { "a\n" }, { "A\n" } },
        { "(?)a", { "a" }, { "b" } },
    };

    (void)state;
    check_matches(cases, ARRAY_LEN(cases));
}

static void errors_are_gos(void **state)
{
    static const struct {
        const char *pattern, *reason;
    } cases[] = {
        { "a(b", "missing closing ): `a(b`" },
        { "(?i:a", "missing closing ): `(?i:a`" },
        { "a)", "unexpected ): `a)`" },
        { "a|)b", "unexpected ): `a|)b`" },
        { "x[a", "missing closing ]: `[a`" },
        { "[]", "missing closing ]: `[]`" },
        { "[a-", "missing closing ]: `[a-`" },
        { "[z-a]", "invalid character class range: `z-a`" },
        { "[a-\\d]", "invalid escape sequence: `\\d`" },
        { "[[:foo:]]", "invalid character class range: `[:foo:]`" },
        { "\\pX", "invalid character class range: `\\pX`" },
        { "\\p", "invalid character class range: `\\p`" },
        { "\\p{Lu", "invalid character class range: `\\p{Lu`" },
        { "\\p{}", "invalid character class range: `\\p{}`" },
        { "\\p{Grek}", "invalid character class range: `\\p{Grek}`" },
        { "\\p{L&}", "invalid character class range: `\\p{L&}`" },
        { "[\\P{Foo}]", "invalid character class range: `\\P{Foo}`" },
        { "*a", "missing argument to repetition operator: `*`" },
        { "a|+?", "missing argument to repetition operator: `+?`" },
        { "(?i)*", "missing argument to repetition operator: `*`" },
        { "{2}", "missing argument to repetition operator: `{2}`" },
        { "a**", "invalid nested repetition operator: `**`" },
        { "a++", "invalid nested repetition operator: `++`" },
        { "a*+b", "invalid nested repetition operator: `*+`" },
        { "a?{2}?", "invalid nested repetition operator: `?{2}?`" },
        { "a{1001}", "invalid repeat count: `{1001}`" },
        { "a{99999999999999}", "invalid repeat count: `{99999999999999}`" },
        { "a{2,1}", "invalid repeat count: `{2,1}`" },
        { "(a{500}){3}?", "invalid repeat count: `{3}?`" },
        { "(?=a)", "invalid or unsupported Perl syntax: `(?=`" },
        { "(?!a)", "invalid or unsupported Perl syntax: `(?!`" },
        { "(?>a)", "invalid or unsupported Perl syntax: `(?>`" },
        { "(?#a)", "invalid or unsupported Perl syntax: `(?#`" },
        { "(?P=a)", "invalid or unsupported Perl syntax: `(?P`" },
        { "(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`" },
        { "(?x)a", "invalid or unsupported Perl syntax: `(?x`" },
        { "(?i", "invalid or unsupported Perl syntax: `(?i`" },
        { "(?<=a)", "invalid named capture: `(?<=a)`" },
        { "(?P<n", "invalid named capture: `(?P<n`" },
        { "(?P<>a)", "invalid named capture: `(?P<>`" },
        { "(?<x y>a)", "invalid named capture: `(?<x y>`" },
        { "a\\", "trailing backslash at end of expression: ``" },
        { "\\1", "invalid escape sequence: `\\1`" },
        { "\\8", "invalid escape sequence: `\\8`" },
        { "\\h", "invalid escape sequence: `\\h`" },
        { "\\Z", "invalid escape sequence: `\\Z`" },
        { "\\C", "invalid escape sequence: `\\C`" },
        { "\\E", "invalid escape sequence: `\\E`" },
        { "\\xg1", "invalid escape sequence: `\\xg1`" },
        { "\\x{110000}", "invalid escape sequence: `\\x{110000`" },
        { "\\x{}", "invalid escape sequence: `\\x{}`" },
        { "\\\xc3\xa9", "invalid escape sequence: `\\\xc3\xa9`" },
        { "a\xff"
          "b",
          "invalid UTF-8: `\xff"
          "b`" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        struct regex *re = NULL;

        assert_int_equal(regex_compile(str_from(cases[i].pattern), &re, &err), ERR_BAD_QUERY);
        assert_null(re);
        assert_string_equal(err_text(&err),
                            arena_printf(a, "error parsing regexp: %s", cases[i].reason));
        arena_free(a);
    }
}

static void size_and_depth_are_limited(void **state)
{
    enum { DEEP = 201 };
    char *text = malloc(REGEX_MAX_PATTERN + 1);
    struct regex *re = NULL;

    (void)state;
    memset(text, 'a', REGEX_MAX_PATTERN + 1);
    assert_int_equal(regex_compile((struct str){ text, REGEX_MAX_PATTERN + 1 }, &re, NULL),
                     ERR_TOO_LARGE);
    assert_int_equal(regex_compile((struct str){ text, REGEX_MAX_PATTERN }, &re, NULL), OK);
    regex_free(re);
    re = NULL;
    memset(text, '(', DEEP);
    memset(text + DEEP, ')', DEEP);
    assert_int_equal(regex_compile((struct str){ text, (size_t)2 * DEEP }, &re, NULL),
                     ERR_BAD_QUERY);
    assert_null(re);
    for (size_t i = 0; i + 3 <= REGEX_MAX_PATTERN; i += 3)
        memcpy(text + i, "\\pL", 3);
    assert_int_equal(regex_compile((struct str){ text, REGEX_MAX_PATTERN / 3 * 3 }, &re, NULL),
                     ERR_TOO_LARGE); /* more than PCRE2 can hold */
    assert_null(re);
    free(text);
}

static void catastrophic_patterns_are_bounded(void **state)
{
    static const char *const patterns[] = {
        "(a+)+[bc]",      "(a|aa)+[bc]", "(.*)*[yz]",           "(x+x+)+[yz]",
        "([a-z]+)*[0-9]", "(a*)*[bc]",   "(?:a?){30}a{30}[bc]",
    };
    static char subject[40];

    (void)state;
    memset(subject, 'a', sizeof subject);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        assert_false(matches(patterns[i], (struct str){ subject, sizeof subject }));
}

/* What no engine decides within the limits must not pass for "no match". */
static void an_exceeded_limit_is_an_error(void **state)
{
    static char subject[4096];
    struct regex *re = compiled(STR("(?:(?:.?){500}){2}[bx]"));
    bool matched = false;

    (void)state;
    memset(subject, 'a', sizeof subject);
    assert_int_equal(regex_match(re, (struct str){ subject, sizeof subject }, &matched), ERR_LIMIT);
    regex_free(re);
}

static void literal_alternations_are_sets(void **state)
{
    static const struct {
        const char *pattern;
        const char *texts[6]; /* sorted; none: not literal */
    } cases[] = {
        { "b|a|b", { "a", "b" } },
        { "(b|a)", { "a", "b" } },
        { "foo(bar|baz|)", { "foo", "foobar", "foobaz" } },
        { "^(?:a\\.b|c)$", { "a.b", "c" } },
        { "[ab]c?", { "a", "ac", "b", "bc" } },
        { "", { "" } },
        { "a|", { "", "a" } },
        { "\xc3\xa9|\\x{e8}", { "\xc3\xa8", "\xc3\xa9" } },
        { "(?i)1|2", { "1", "2" } },
        { "a.", { NULL } },
        { "a*", { NULL } },
        { "(?i)a", { NULL } },
        { "[^a]", { NULL } },
        { "a\\b", { NULL } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled(str_from(cases[i].pattern));
        const struct str *texts;
        size_t n, expected = 0;

        while (cases[i].texts[expected])
            expected++;
        assert_int_equal(regex_literals(re, &texts, &n), expected > 0);
        if (expected)
            assert_int_equal(n, expected);
        for (size_t j = 0; j < expected; j++)
            assert_true(str_is(texts[j], cases[i].texts[j]));
        regex_free(re);
    }
}

static void large_sets_find_each_of_their_texts(void **state)
{
    enum { N = 2000 };
    struct buf pattern = { 0 };
    struct regex *re;

    (void)state;
    for (int i = 0; i < N; i++)
        buf_printf(&pattern, "%spod-%d", i ? "|" : "", i);
    re = compiled(buf_as_str(&pattern));
    for (int i = -1; i <= N; i++) {
        char text[32];
        bool matched;
        int len = snprintf(text, sizeof text, "pod-%d", i);

        assert_int_equal(regex_match(re, (struct str){ text, (size_t)len }, &matched), OK);
        assert_int_equal(matched, i >= 0 && i < N);
    }
    regex_free(re);
    buf_free(&pattern);
}

static void prefixes_are_found(void **state)
{
    static const struct {
        const char *pattern, *prefix;
    } cases[] = {
        { "abc", "abc" },    { "abc.*", "abc" },
        { "ab?", "a" },      { "(abc)d+e", "abcd" },
        { "abc|abd", "ab" }, { "(foo|fob)x", "fo" },
        { "^ab\\d", "ab" },  { ".*a", "" },
        { "(?i)abc", "" },   { "a(?i)b", "a" },
        { "a{2}b", "a" },    { "[a]b", "" },
        { "(|a)b", "" },     { "\xc3\xa9+", "\xc3\xa9" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled(str_from(cases[i].pattern));

        if (!str_is(regex_prefix(re), cases[i].prefix))
            fail_msg("%s: prefix \"%.*s\"", cases[i].pattern, STR_ARG(regex_prefix(re)));
        regex_free(re);
    }
}

static void replacing_expands_the_template(void **state)
{
    static const struct {
        const char *pattern, *text, *template, *result; /* NULL: no match */
    } cases[] = {
        { "(.*):(.*)", "host:80", "$1", "host" },
        { "(.*):(.*)", "host:80", "$2-${1}", "80-host" },
        { "(.*):(.*)", "a:b:c", "$1|$2", "a:b|c" }, /* the first * is greedy */
        { "(.*?):(.*)", "a:b:c", "$1|$2", "a|b:c" },
        { "(?U)(.*):(.*)", "a:b:c", "$1|$2", "a|b:c" },
        { "(.*)", "x", "$1x", "" }, /* the group "1x" */
        { "(.*)", "x", "${1}x", "xx" },
        { "(.*)", "x", "$$1$", "$1$" },
        { "(.*)", "x", "$", "$" },
        { "(.*)", "x", "${1", "${1" },
        { "(.*)", "x", "${}$-", "${}$-" },
        { "(.*)", "x", "$0$00$9", "x" },
        { "(.*)", "x", "$1\xc3\xa9", "" },                  /* a letter: the name goes on */
        { "(.*)", "x", "$1\xe2\x86\x92", "x\xe2\x86\x92" }, /* an arrow: it does not */
        { "(?P<a_1>.)(?<b>.)", "xy", "$b$a_1", "yx" },
        { "(?P<n>a)|(?P<n>b)", "b", "<$n>", "<b>" },
        { "(a)|b", "b", "<$1>", "<>" },
        { "(?:a)(b)", "ab", "$1", "b" },
        { "((a)|b)+", "ab", "$1$2", "ba" },
        { "foo", "foo", "lit", "lit" },
        { "foo|bar", "bar", "<$0>", "<bar>" },
        { "foo", "bar", "x", NULL },
        { "(\\d+)x", "12y", "x", NULL },
        { "", "", "empty", "empty" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled(str_from(cases[i].pattern));
        struct buf out = { 0 };
        bool matched;

        assert_int_equal(
            regex_replace(re, str_from(cases[i].text), str_from(cases[i].template), &out, &matched),
            OK);
        assert_int_equal(matched, cases[i].result != NULL);
        buf_u8(&out, 0);
        assert_string_equal((const char *)out.ptr, cases[i].result ? cases[i].result : "");
        buf_free(&out);
        regex_free(re);
    }
}

static void an_invalid_byte_is_one_replacement_character(void **state)
{
    (void)state;
    assert_true(matches(".", STR("\xff")));
    assert_true(matches("a.b", STR("a\x80"
                                   "b")));
    assert_true(matches("[^a]{2}", STR("\xc3\xc3")));
    assert_true(matches("\\x{FFFD}", STR("\xff")));
    assert_false(matches("\xc3\xbf", STR("\xff")));
}

static void *match_many(void *arg)
{
    static const struct {
        struct str text;
        bool expected;
    } cases[] = { { STRING("a1-b2"), true }, { STRING("a1-"), false }, { STRING("zz9-c0"), true } };
    const struct regex *re = arg;
    uintptr_t wrong = 0;

    for (size_t i = 0; i < 3000; i++) {
        struct buf out = { 0 };
        bool matched = false, replaced = false;
        size_t c = i % ARRAY_LEN(cases);

        wrong += regex_match(re, cases[c].text, &matched) != OK || matched != cases[c].expected;
        wrong += regex_replace(re, cases[c].text, STR("$1"), &out, &replaced) != OK
                 || replaced != cases[c].expected;
        buf_free(&out);
    }
    return (void *)wrong;
}

static void threads_share_a_pattern(void **state)
{
    enum { N = 4 };
    static const char *const patterns[] = { "([a-z]+\\d)-[a-z]\\d", "(.+)-.+" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct regex *re = compiled(str_from(patterns[i]));
        pthread_t threads[N];

        for (size_t t = 0; t < N; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, match_many, re), 0);
        for (size_t t = 0; t < N; t++) {
            void *wrong;

            assert_int_equal(pthread_join(threads[t], &wrong), 0);
            assert_null(wrong);
        }
        regex_free(re);
    }
}

static struct regex *compiled_for_search(const char *pattern)
{
    struct regex *re = NULL;

    assert_int_equal(regex_compile_search(str_from(pattern), &re, NULL), OK);
    return re;
}

static void searching_finds_a_match_anywhere(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool expected;
    } cases[] = {
        { "b", "abc", true },           { "^b", "abc", false },
        { "c$", "abc", true },          { "", "", true },
        { "a|c", "xxc", true },         { "a.c", "a\nc", false },
        { "(?s)a.c", "a\nc", true },    { "(?i)B+", "ABBA", true },
        { "foo|bar", "x bar y", true }, { "foo.*", "a foo b", true },
        { "[0-9]{3}", "12 34", false }, { "\\bb", "ab b", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled_for_search(cases[i].pattern);
        bool matched = !cases[i].expected;

        assert_int_equal(regex_search(re, str_from(cases[i].text), &matched), OK);
        if (matched != cases[i].expected)
            fail_msg("searching %s in \"%s\": %d", cases[i].pattern, cases[i].text, matched);
        regex_free(re);
    }
}

static void every_match_is_replaced(void **state) /* as by Go's ReplaceAllString */
{
    static const struct {
        const char *pattern, *text, *template, *expected;
    } cases[] = {
        { "(a)b", "ab abab", "x$1", "xa xaxa" },
        { "a*", "baac", "-", "-b-c-" },
        { "", "äb", "-", "-ä-b-" },
        { "x", "", "y", "" },
        { "", "", "y", "y" },
        { "^a", "aaa", "b", "baa" },
        { "(\\w+):(\\d+)", "h:1, k:22", "${2}_$1", "1_h, 22_k" },
        { ".", "a\nb", "x", "x\nx" },
        { "\\b", "ab c", "|", "|ab| |c|" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct regex *re = compiled_for_search(cases[i].pattern);
        struct buf out = { 0 };

        buf_text(&out, "kept:");
        assert_int_equal(
            regex_replace_all(re, str_from(cases[i].text), str_from(cases[i].template), 100, &out),
            OK);
        buf_u8(&out, 0);
        assert_string_equal((char *)out.ptr + strlen("kept:"), cases[i].expected);
        buf_free(&out);
        regex_free(re);
    }
}

static void a_searched_pattern_may_hold_a_zero_byte(void **state)
{
    struct regex *re = NULL;
    bool matched = false;

    (void)state;
    assert_int_equal(regex_compile_search((struct str){ "a\0b", 3 }, &re, NULL), OK);
    assert_int_equal(regex_search(re, (struct str){ "xa\0by", 5 }, &matched), OK);
    assert_true(matched);
    assert_int_equal(regex_search(re, STR("xa"), &matched), OK);
    assert_false(matched);
    regex_free(re);
}

static void replacing_stops_at_the_limit(void **state)
{
    struct regex *re = compiled_for_search("");
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(regex_replace_all(re, STR("aaaaaaaa"), STR("0123456789"), 50, &out),
                     ERR_LIMIT);
    assert_in_range(out.len, 0, 70);
    buf_free(&out);
    regex_free(re);
}

static void errors_of_searches_show_the_pattern_as_written(void **state)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct regex *re = NULL;

    (void)state;
    assert_int_equal(regex_compile_search(STR("(a"), &re, &err), ERR_BAD_QUERY);
    assert_string_equal(err_text(&err), "error parsing regexp: missing closing ): `(a`");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_matches_the_whole_text),
        cmocka_unit_test(dots_and_wildcards),
        cmocka_unit_test(classes),
        cmocka_unit_test(escapes),
        cmocka_unit_test(repetition),
        cmocka_unit_test(flags),
        cmocka_unit_test(errors_are_gos),
        cmocka_unit_test(size_and_depth_are_limited),
        cmocka_unit_test(catastrophic_patterns_are_bounded),
        cmocka_unit_test(an_exceeded_limit_is_an_error),
        cmocka_unit_test(literal_alternations_are_sets),
        cmocka_unit_test(large_sets_find_each_of_their_texts),
        cmocka_unit_test(prefixes_are_found),
        cmocka_unit_test(replacing_expands_the_template),
        cmocka_unit_test(an_invalid_byte_is_one_replacement_character),
        cmocka_unit_test(searching_finds_a_match_anywhere),
        cmocka_unit_test(every_match_is_replaced),
        cmocka_unit_test(a_searched_pattern_may_hold_a_zero_byte),
        cmocka_unit_test(replacing_stops_at_the_limit),
        cmocka_unit_test(errors_of_searches_show_the_pattern_as_written),
        cmocka_unit_test(threads_share_a_pattern),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
