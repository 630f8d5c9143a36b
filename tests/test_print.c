/* Canonical texts and the prettifier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "query/parse.h"

#include "base/banned.h"

static void print_text(struct str text, bool pretty, struct buf *out)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct node *n;

    buf_clear(out);
    if (parse_query(text, a, &n, &err) != OK)
        fail_msg("%.*s: %s", STR_ARG(text), err_text(&err));
    if (pretty)
        node_prettify(out, n);
    else
        node_print(out, n);
    parse_free(n);
    arena_free(a);
    assert_false(out->failed);
}

struct print_case {
    const char *text, *printed; /* NULL: the same */
};

/* Printed as given, and again the same when that is read. */
static void check_printed(const struct print_case *cases, size_t n)
{
    struct buf b = { 0 }, again = { 0 };

    for (size_t i = 0; i < n; i++) {
        const char *want = cases[i].printed ? cases[i].printed : cases[i].text;

        print_text(str_from(cases[i].text), false, &b);
        if (!str_is(buf_as_str(&b), want))
            fail_msg("%s: %.*s, not %s", cases[i].text, STR_ARG(buf_as_str(&b)), want);
        print_text(buf_as_str(&b), false, &again);
        if (!str_equal(buf_as_str(&again), buf_as_str(&b)))
            fail_msg("%s: %.*s when read again", want, STR_ARG(buf_as_str(&again)));
    }
    buf_free(&b);
    buf_free(&again);
}

static void literals_print_in_one_way(void **state)
{
    static const struct print_case cases[] = {
        { "1048576", NULL },
        { "1e-3", "0.001" },
        { "1e21", "1000000000000000000000" },
        { "0x10", "16" },
        { "010", "8" },
        { "inf", "+Inf" },
        { "-INF", "-Inf" },
        { "nan", "NaN" },
        { "- -1", "1" },
        { "-0", NULL },
        { "90d", NULL },
        { "7d", "1w" },
        { "60m", "1h" },
        { "54s321ms", NULL },
        { "0s", NULL },
        { "-5m", NULL },
        { "1y2w3d", "382d" },
        { "'it\"s'", "\"it\\\"s\"" },
        { "`a\nb\\`", "\"a\\nb\\\\\"" },
        { "'\\xff\\u00a0\xc3\xa9'", "\"\\xff\\u00a0\xc3\xa9\"" },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

static void selectors_print_sorted_matchers(void **state)
{
    static const struct print_case cases[] = {
        { "foo", NULL },
        { "foo{}", "foo" },
        { "foo { z='1' , a!='2', m=~`3`, b!~'4', }", "foo{a!=\"2\",b!~\"4\",m=~\"3\",z=\"1\"}" },
        { "{__name__='a'}", "{__name__=\"a\"}" },
        { "{'a.b'}", "{__name__=\"a.b\"}" },
        { "{'_0'='1'}", "{_0=\"1\"}" },
        { "{'x y'='1'}", "{\"x y\"=\"1\"}" },
        { "foo offset 60", "foo offset 1m" },
        { "foo offset -7m", NULL },
        { "foo offset 0", "foo" },
        { "foo offset 0.0001", "foo" },
        { "foo[0.0001:(1e-4)]", "foo[0.0001:]" },
        { "foo offset 5m anchored @ 10", "foo @ 10.000 anchored offset 5m" },
        { "foo @ -1.5", "foo @ -1.500" },
        { "foo @ -0.0004", "foo @ 0.000" },
        { "foo @ START ( )", "foo @ start()" },
        { "foo smoothed @ end()", "foo @ end() smoothed" },
        { "foo[300] offset 1m @ 10", "foo[5m] @ 10.000 offset 1m" },
        { "foo smoothed [1001ms] offset 1m", "foo[1s1ms] smoothed offset 1m" },
        { "foo[5m:60] offset 1m @ 10", "foo[5m:1m] @ 10.000 offset 1m" },
        { "(a + b) [ 1h : ]", "(a + b)[1h:]" },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

static void operators_print_with_their_matching(void **state)
{
    static const struct print_case cases[] = {
        { "a+b", "a + b" },
        { "a AND b", "a and b" },
        { "a > bool 1", NULL },
        { "a - on(b) c", "a - on (b) c" },
        { "a - on() c", "a - on () c" },
        { "a - ignoring() c", "a - c" },
        { "a - ignoring() group_right c", "a - ignoring () group_right () c" },
        { "a - on(b) group_left c", "a - on (b) group_left () c" },
        { "a > bool on(b,'c.d') group_left(e,) c", "a > bool on (b, \"c.d\") group_left (e) c" },
        { "a + fill_left(5) fill_right(5) b", "a + fill (5) b" },
        { "a + fill_right(1e21) fill_left(-Inf) b", "a + fill_left (-Inf) fill_right (1e+21) b" },
        { "a + fill_left(0.00001) b", "a + fill_left (1e-05) b" },
        { "a + on(x) fill(5m) b", "a + on (x) fill (300) b" },
        { "-a", NULL },
        { "+ a", "+a" },
        { "- ( a )", "-(a)" },
        { "-1 ^ 2", NULL },
        { "- - a", "--a" },
        { "a ^ b ^ c", NULL },
        { "(a + b) * (c)", NULL },
        { "a </ 5 >/ b", NULL },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

static void calls_and_aggregations_print_their_arguments(void **state)
{
    static const struct print_case cases[] = {
        { "sum(a)", NULL },
        { "SUM ( a )", "sum(a)" },
        { "sum by(code) (x)", "sum by (code) (x)" },
        { "sum(x) by (a,b,)", "sum by (a, b) (x)" },
        { "sum by () (x)", "sum(x)" },
        { "sum without() (x)", "sum without () (x)" },
        { "sum by ('a.b','c') (x)", "sum by (\"a.b\", c) (x)" },
        { "topk(5,x) without (a)", "topk without (a) (5, x)" },
        { "count_values('v',x)", "count_values(\"v\", x)" },
        { "rate(a[5m])", NULL },
        { "time( )", "time()" },
        { "clamp(a,1,2)", "clamp(a, 1, 2)" },
        { "step()+range()", "step() + range()" },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

static void duration_expressions_print_as_written(void **state)
{
    static const struct print_case cases[] = {
        { "foo[200-min_of(-step()^+step(),1)]", "foo[200 - min_of(-step() ^ step(), 1)]" },
        { "foo[(5m)]", NULL },
        { "foo[2*(10m+5)]", "foo[2 * (10m + 5)]" },
        { "foo[STEP():RANGE()]", "foo[step():range()]" },
        { "foo offset +(5)", "foo offset (5)" },
        { "foo offset -(5)", "foo offset -(5)" },
        { "foo offset (5m)*2", "foo offset (5m) * 2" },
        { "foo offset - -5m + 3", "foo offset (5m + 3)" },
        { "foo offset - -step()", "foo offset --step()" },
        { "foo offset max_of(1s,step())", "foo offset max_of(1s, step())" },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

/* An arithmetic operator after an offset in parentheses would become part of it. */
static void an_offset_keeps_its_distance_from_operators(void **state)
{
    static const struct print_case cases[] = {
        { "foo offset (5m) @ 1 * 2", "foo @ 1.000 offset +(5m) * 2" },
        { "foo offset +(5m) * 2", NULL },
        { "foo offset (5m) * 2 @ 1 * 2", "foo @ 1.000 offset +((5m) * 2) * 2" },
        { "-foo offset +(5m) / b offset (1m) @ 0 - c",
          "-foo offset +(5m) / b @ 0.000 offset +(1m) - c" },
        { "foo offset (5m) > 2", NULL },
        { "foo offset (5m) atan2 b", NULL },
        { "(foo offset (5m)) * 2", NULL },
        { "abs(foo offset (5m)) * 2", NULL },
        { "foo[5m:] offset (5m) @ 1", "foo[5m:] @ 1.000 offset (5m)" },
    };

    (void)state;
    check_printed(cases, ARRAY_LEN(cases));
}

#define LONG "a_metric_whose_name_is_forty_bytes_long_"

static void long_texts_are_broken_into_lines(void **state)
{
    static const struct print_case cases[] = {
        { "sum(a)   +\n# comment\n b", "sum(a) + b" },
        { LONG " + " LONG " + bc34567890123", /* 99 bytes */
          LONG " + " LONG " + bc34567890123" },
        { LONG " + " LONG " + bc34567890123x", LONG " + " LONG " + bc34567890123x" }, /* 100 */
        { LONG " + " LONG " + bc34567890123xy", "  " LONG " + " LONG "\n+\n  bc34567890123xy" },
        { "(" LONG "+" LONG "+" LONG ")", "(\n    " LONG " + " LONG "\n  +\n    " LONG "\n)" },
        { "sum by (a) (" LONG "{b='c'}) / on(x) group_left sum(" LONG ")",
          "  sum by (a) (" LONG "{b=\"c\"})\n/ on (x) group_left ()\n  sum(" LONG ")" },
        { "sum without(a)(" LONG "*" LONG "*" LONG ")",
          "sum without (a) (\n    " LONG " * " LONG "\n  *\n    " LONG "\n)" },
        { "topk(5, " LONG "*" LONG "*" LONG ")",
          "topk(\n  5,\n    " LONG " * " LONG "\n  *\n    " LONG "\n)" },
        { "label_replace(" LONG ",'" LONG "','" LONG "','a','b')",
          "label_replace(\n  " LONG ",\n  \"" LONG "\",\n  \"" LONG "\",\n  \"a\",\n  \"b\"\n)" },
        { "-(" LONG "*" LONG "*" LONG ")", "-(\n    " LONG " * " LONG "\n  *\n    " LONG "\n)" },
        { "rate((" LONG "*" LONG "*" LONG ")[5m:] offset 1m)",
          "rate(\n  (\n      " LONG " * " LONG "\n    *\n      " LONG "\n  )[5m:] offset 1m\n)" },
        { "rate(a[5m:]) + (" LONG "*" LONG "*" LONG ")",
          "  rate(a[5m:])\n+\n  (\n      " LONG " * " LONG "\n    *\n      " LONG "\n  )" },
        { "a{b='" LONG LONG LONG "'}", "a{b=\"" LONG LONG LONG "\"}" },
        { "'" LONG LONG LONG "'", "\"" LONG LONG LONG "\"" },
        { LONG " offset (1m) @ 1 + " LONG LONG,
          "  " LONG " @ 1.000 offset +(1m)\n+\n  " LONG LONG },
    };
    struct buf b = { 0 }, one_line = { 0 }, again = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_text(str_from(cases[i].text), true, &b);
        if (!str_is(buf_as_str(&b), cases[i].printed))
            fail_msg("%s:\n%.*s\nnot\n%s", cases[i].text, STR_ARG(buf_as_str(&b)),
                     cases[i].printed);
        print_text(str_from(cases[i].text), false, &one_line);
        print_text(buf_as_str(&b), false, &again);
        assert_true(str_equal(buf_as_str(&again), buf_as_str(&one_line)));
    }
    buf_free(&b);
    buf_free(&one_line);
    buf_free(&again);
}

/* Short subqueries lose their indent, as in Prometheus. */
static void a_short_subquery_stands_at_the_margin(void **state)
{
    struct buf b = { 0 };

    (void)state;
    print_text(STR("quantile_over_time(scalar(" LONG " * " LONG " * " LONG "), x[5m:])"), true, &b);
    assert_true(str_ends_with(buf_as_str(&b), STR("\n  ),\nx[5m:]\n)")));
    buf_free(&b);
}

/* A megabyte below many levels is not printed once for each. */
static void huge_leaves_are_prettified_at_once(void **state)
{
    struct buf text = { 0 }, b = { 0 };

    (void)state;
    for (int i = 0; i < 90; i++)
        buf_text(&text, "abs(");
    buf_text(&text, "a{b='");
    for (int i = 0; i < 1000000; i++)
        buf_u8(&text, 'x');
    buf_text(&text, "'}");
    for (int i = 0; i < 90; i++)
        buf_u8(&text, ')');
    print_text(buf_as_str(&text), true, &b);
    assert_true(b.len > 1000000 && b.len < 1100000);
    buf_free(&text);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_print_in_one_way),
        cmocka_unit_test(selectors_print_sorted_matchers),
        cmocka_unit_test(operators_print_with_their_matching),
        cmocka_unit_test(calls_and_aggregations_print_their_arguments),
        cmocka_unit_test(duration_expressions_print_as_written),
        cmocka_unit_test(an_offset_keeps_its_distance_from_operators),
        cmocka_unit_test(long_texts_are_broken_into_lines),
        cmocka_unit_test(a_short_subquery_stands_at_the_margin),
        cmocka_unit_test(huge_leaves_are_prettified_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
