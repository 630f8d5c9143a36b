/* PromQL text to trees: shapes, positions, syntax errors, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/arena.h"
#include "query/parse.h"

#include "base/banned.h"

/* The tree with every operation in parentheses. */
static void print_shape(struct buf *b, const struct node *n)
{
    switch (n->kind) {
    case NODE_BINARY:
        buf_u8(b, '(');
        print_shape(b, n->binary.lhs);
        buf_printf(b, " %s ", binary_op_text(n->binary.op));
        print_shape(b, n->binary.rhs);
        buf_u8(b, ')');
        break;
    case NODE_UNARY:
        buf_text(b, n->unary.minus ? "(-" : "(+");
        print_shape(b, n->unary.expr);
        buf_u8(b, ')');
        break;
    case NODE_PAREN:
        buf_u8(b, '<');
        print_shape(b, n->paren);
        buf_u8(b, '>');
        break;
    default:
        node_print(b, n);
    }
}

static struct node *parse_ok(const char *text, struct arena *a)
{
    struct err err = err_in(a);
    struct node *n = NULL;

    if (parse_query(str_from(text), a, &n, &err) != OK)
        fail_msg("%s: %s", text, err_text(&err));
    assert_non_null(n);
    return n;
}

static void operators_bind_as_documented(void **state)
{
    static const struct {
        const char *text, *shape;
    } cases[] = {
        { "a or b and c", "(a or (b and c))" },
        { "a and b or c", "((a and b) or c)" },
        { "a unless b and c", "((a unless b) and c)" },
        { "a and b == c", "(a and (b == c))" },
        { "a == b != c", "((a == b) != c)" },
        { "a < b + c", "(a < (b + c))" },
        { "a </ b >/ c", "((a </ b) >/ c)" },
        { "a - b - c", "((a - b) - c)" },
        { "a + b * c", "(a + (b * c))" },
        { "a * b / c % d atan2 e", "((((a * b) / c) % d) atan2 e)" },
        { "2 * 3 % 2", "((2 * 3) % 2)" },
        { "a ^ b ^ c", "(a ^ (b ^ c))" },
        { "a * b ^ c * d", "((a * (b ^ c)) * d)" },
        { "-1 ^ 2", "(-(1 ^ 2))" },
        { "2 ^ -1", "(2 ^ -1)" },
        { "2 ^ -a * b", "((2 ^ (-a)) * b)" },
        { "2 ^ -a ^ b", "(2 ^ (-(a ^ b)))" },
        { "-a * b", "((-a) * b)" },
        { "-a + b", "((-a) + b)" },
        { "a - -b", "(a - (-b))" },
        { "- -1", "1" },
        { "+1", "1" },
        { "-(1)", "(-<1>)" },
        { "+a", "(+a)" },
        { "(a + b) * c", "(<(a + b)> * c)" },
        { "a + b offset 5m", "(a + b offset 5m)" },
        { "-a @ 1", "(-a @ 1.000)" },
        { "a + b[5m:] * 0", NULL }, /* refused: a range as operand */
        { "foo offset 5m * 2", "(foo offset 5m * 2)" },
        { "foo offset 2 ^ 2", "(foo offset 2s ^ 2)" },
        { "foo offset -2 ^ 2", "(foo offset -2s ^ 2)" },
        { "foo offset (5m) * 2", "foo offset (5m) * 2" },
        { "foo offset (5m) * 2 > 3", "(foo offset (5m) * 2 > 3)" },
        { "foo offset -(5m) * 2", "(foo offset -(5m) * 2)" },
        { "foo offset +(5m) * 2", "(foo offset (5m) * 2)" },
        { "foo offset min_of(1s, 2s) + 8000", "(foo offset min_of(1s, 2s) + 8000)" },
        { "foo offset step() * 0", "(foo offset step() * 0)" },
        { "foo offset - -5m + 3", "foo offset (5m + 3)" },
        { "foo offset - -5m", "foo offset 5m" },
        { "fill + fill(0) other", "(fill + other)" },
        { "and and or or unless", "((and and or) or unless)" },
        { "and and or", "(and and or)" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct buf b = { 0 };
        struct node *n = NULL;

        if (cases[i].shape) {
            n = parse_ok(cases[i].text, a);
            print_shape(&b, n);
            buf_u8(&b, 0);
            assert_string_equal((char *)b.ptr, cases[i].shape);
        } else {
            assert_int_equal(parse_query(str_from(cases[i].text), a, &n, NULL), ERR_BAD_QUERY);
        }
        parse_free(cases[i].shape ? n : NULL);
        buf_free(&b);
        arena_free(a);
    }
}

static void matching_is_kept_as_written(void **state)
{
    struct arena *a = arena_new(0);
    struct node *n = parse_ok("a * ON(x, \"y z\") group_left(v, sum) fill_right(-1) b", a);
    const struct matching *m = &n->binary.matching;

    (void)state;
    assert_true(m->on && m->given);
    assert_int_equal(m->card, CARD_MANY_TO_ONE);
    assert_int_equal(m->n_labels, 2);
    assert_true(str_is(m->labels[1], "y z"));
    assert_int_equal(m->n_include, 2);
    assert_true(str_is(m->include[1], "sum"));
    assert_true(m->fill_right && !m->fill_left);
    assert_true(m->fill_right_value == -1);
    assert_int_equal(parse_ok("a and on() b", a)->binary.matching.card, CARD_MANY_TO_MANY);
    assert_int_equal(parse_ok("a + ignoring(x) group_right b", a)->binary.matching.card,
                     CARD_ONE_TO_MANY);
    assert_false(parse_ok("1 + on() a", a)->binary.matching.given);
    arena_free(a);
}

static void modifiers_reach_their_selector(void **state)
{
    struct arena *a = arena_new(0);
    const struct node *n = parse_ok("foo[5m] offset -1m @ -1.5", a);
    const struct modifiers *mod = &n->matrix.selector->selector.mod;

    (void)state;
    assert_int_equal(n->matrix.range.ms, 300000);
    assert_int_equal(mod->offset.ms, -60000);
    assert_int_equal(mod->at, AT_TIME);
    assert_int_equal(mod->at_ms, -1500);
    n = parse_ok("foo anchored [1001ms] @ start()", a);
    mod = &n->matrix.selector->selector.mod;
    assert_int_equal(n->kind, NODE_MATRIX);
    assert_int_equal(n->matrix.range.ms, 1001);
    assert_true(mod->anchored && !mod->smoothed);
    assert_int_equal(mod->at, AT_START);
    arena_free(a);
}

static void subqueries_hold_range_and_step(void **state)
{
    struct arena *a = arena_new(0);
    const struct node *n = parse_ok("foo offset 1m [5m:30] @ end() offset 2m", a);

    (void)state;
    assert_int_equal(n->kind, NODE_SUBQUERY);
    assert_int_equal(n->subquery.range.ms, 300000);
    assert_int_equal(n->subquery.step.ms, 30000);
    assert_int_equal(n->subquery.mod.at, AT_END);
    assert_int_equal(n->subquery.mod.offset.ms, 120000);
    assert_int_equal(n->subquery.expr->selector.mod.offset.ms, 60000);
    n = parse_ok("foo[5m:]", a);
    assert_null(n->subquery.step.expr);
    n = parse_ok("foo[step() + 1:range()]", a);
    assert_int_equal(n->subquery.range.expr->kind, NODE_BINARY);
    assert_int_equal(n->subquery.step.expr->kind, NODE_CALL);
    assert_null(parse_ok("foo offset 0s", a)->selector.mod.offset.expr);
    arena_free(a);
}

static void the_outer_name_is_the_last_matcher(void **state)
{
    struct arena *a = arena_new(0);
    struct node *n = parse_ok("sum{a=\"1\", \"b.c\"!~'x.*',}", a);

    (void)state;
    assert_true(str_is(n->selector.name, "sum"));
    assert_int_equal(n->selector.n_matchers, 3);
    assert_int_equal(n->selector.matchers[1].op, MATCH_NRE);
    assert_true(str_is(n->selector.matchers[1].name, "b.c"));
    assert_true(str_is(n->selector.matchers[2].name, "__name__"));
    parse_free(n);
    n = parse_ok("{'a b', x=''}", a);
    assert_int_equal(n->selector.name.len, 0);
    assert_true(str_is(n->selector.matchers[0].value, "a b"));
    arena_free(a);
}

static void positions_cover_the_source(void **state)
{
    static const struct {
        const char *text;
        uint32_t pos, end;
    } cases[] = {
        { "  foo  ", 2, 5 },        { " foo{a=\"b\"} offset 5m ", 1, 21 },
        { " - a ", 1, 4 },          { " -1", 1, 3 },
        { " ( a ) ", 1, 6 },        { " sum(a) by (b) ", 1, 14 },
        { " rate(a[5m]) ", 1, 12 }, { " a[5m:] ", 1, 7 },
        { " a + b ", 1, 6 },        { " 'x' ", 1, 4 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct node *n = parse_ok(cases[i].text, a);

        assert_int_equal(n->pos, cases[i].pos);
        assert_int_equal(n->end, cases[i].end);
        parse_free(n);
        arena_free(a);
    }
}

struct error_case {
    struct str text;
    const char *message;
};

static void check_errors(const struct error_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        struct buf b = { 0 };
        struct node *node;

        if (parse_query(cases[i].text, a, &node, &err) == OK)
            fail_msg("accepted: %.*s", STR_ARG(cases[i].text));
        assert_int_equal(err.code, ERR_BAD_QUERY);
        parse_error_print(&b, cases[i].text, &err);
        buf_u8(&b, 0);
        assert_string_equal((char *)b.ptr, cases[i].message);
        buf_free(&b);
        arena_free(a);
    }
}

static void syntax_errors_say_what_and_where(void **state)
{
    const struct error_case cases[] = {
        { STR(""), "unknown position: parse error: no expression found in input" },
        { STR(" \n "), "1:1: parse error: no expression found in input" },
        { STR("1+"), "1:3: parse error: unexpected end of input" },
        { STR("*1"), "1:1: parse error: unexpected <op:*>" },
        { STR("(1))"), "1:5: parse error: unexpected right parenthesis ')'" },
        { STR("((1)"), "1:5: parse error: unclosed left parenthesis" },
        { STR("a b"), "1:3: parse error: unexpected identifier \"b\"" },
        { STR("a\n\xc3\xa9"), "2:1: parse error: unexpected character: '\xc3\xa9'" },
        { STR("a +\n# \xc3\xa9\n  b{'\xc3\xa9'='x', c} "),
          "3:16: parse error: unexpected \"}\" in label matching, expected label matching "
          "operator" },
        { STR("foo\0"), "1:4: parse error: unexpected character: '\\x00'" },
        { STR("foo{a=\"\xff\"}"), "1:7: parse error: invalid UTF-8 rune" },
        { STR("foo = bar"), "1:5: parse error: unexpected \"=\"" },
        { STR("on"), "1:1: parse error: unexpected <on>" },
        { STR("atan2"), "1:1: parse error: unexpected <op:atan2>" },
        { STR("fill(0)"), "1:5: parse error: unexpected \"(\"" },
        { STR("a:b(1)"), "1:4: parse error: unexpected \"(\"" },
        { STR("a - on(b) ignoring(c) d"), "1:11: parse error: unexpected <ignoring>" },
        { STR("a + group_left b"), "1:5: parse error: unexpected <group_left>" },
        { STR("a + fill_left(x) b"), "1:15: parse error: unexpected identifier \"x\"" },
        { STR("a + fill(0) fill_left(0) b"), "1:22: parse error: unexpected \"(\"" },
        { STR("1e400"), "1:1: parse error: error parsing number: strconv.ParseFloat: parsing "
                        "\"1e400\": value out of range" },
        { STR("1.5h"), "1:1: parse error: unknown unit \".\" in duration \"1.5h\"" },
    };

    (void)state;
    check_errors(cases, ARRAY_LEN(cases));
}

static void selectors_say_what_they_lack(void **state)
{
    const struct error_case cases[] = {
        { STR("foo{gibberish}"),
          "1:14: parse error: unexpected \"}\" in label matching, expected label matching "
          "operator" },
        { STR("some_metric{a=b}"),
          "1:15: parse error: unexpected identifier \"b\" in label matching, expected string" },
        { STR("foo{\"a\"=}"),
          "1:9: parse error: unexpected \"}\" in label matching, expected string" },
        { STR("foo{a=\"b\" c=\"d\"}"), "1:11: parse error: unexpected identifier \"c\" in label "
                                       "matching, expected \",\" or \"}\"" },
        { STR("foo{\"a\" \"b\"}"), "1:9: parse error: unexpected string \"\\\"b\\\"\" in label "
                                   "matching, expected \",\" or \"}\"" },
        { STR("foo{,}"), "1:5: parse error: unexpected \",\" in label matching, expected "
                         "identifier or \"}\"" },
        { STR("foo{a=\"b\",,}"), "1:11: parse error: unexpected \",\" in label matching, "
                                 "expected identifier or \"}\"" },
        { STR("foo{''='x'}"), "1:5: parse error: invalid label name for matching: \"\"" },
        { STR("foo{a=~'x', b=~'('}"),
          "1:13: parse error: error parsing regexp: missing closing ): `(`" },
    };

    (void)state;
    check_errors(cases, ARRAY_LEN(cases));
}

static void aggregations_and_calls_say_what_they_lack(void **state)
{
    const struct error_case cases[] = {
        { STR("sum without(==)(m)"),
          "1:13: parse error: unexpected <op:==> in grouping opts, expected label" },
        { STR("sum by x"),
          "1:8: parse error: unexpected identifier \"x\" in grouping opts, expected \"(\"" },
        { STR("sum by (a b) (x)"), "1:11: parse error: unexpected identifier \"b\" in grouping "
                                   "opts, expected \",\" or \")\"" },
        { STR("sum by (without) (x)"),
          "1:9: parse error: unexpected <without> in grouping opts, expected label" },
        { STR("sum by (a,,) (x)"),
          "1:11: parse error: unexpected \",\" in grouping opts, expected label" },
        { STR("sum by ('') (x)"), "1:9: parse error: invalid label name for grouping: \"\"" },
        { STR("sum by ('\\xff') (x)"),
          "1:9: parse error: invalid label name for grouping: \"\\xff\"" },
        { STR("sum by (a) x"), "1:12: parse error: unexpected identifier \"x\" in aggregation" },
        { STR("sum(a + )"), "1:9: parse error: unexpected \")\" in aggregation" },
        { STR("sum(rate(a) b)"), "1:13: parse error: unexpected identifier \"b\" in aggregation" },
        { STR("sum by (a) (x) by (b)"), "1:16: parse error: unexpected <by>" },
        { STR("sum x"), "1:5: parse error: unexpected identifier \"x\"" },
        { STR("sum()"), "1:1: parse error: no arguments for aggregate expression provided" },
        { STR("1 + topk(5)"), "1:5: parse error: wrong number of arguments for aggregate "
                              "expression provided, expected 2, got 1" },
        { STR("sum(a, b)"), "1:1: parse error: wrong number of arguments for aggregate "
                            "expression provided, expected 1, got 2" },
        { STR("sum(a,)"), "1:6: parse error: trailing commas not allowed in function call args" },
        { STR("clamp(a, )"),
          "1:8: parse error: trailing commas not allowed in function call args" },
        { STR("floor(,a)"), "1:7: parse error: unexpected \",\"" },
        { STR("nope(a)"), "1:1: parse error: unknown function with name \"nope\"" },
        { STR("Rate(a[5m])"), "1:1: parse error: unknown function with name \"Rate\"" },
        { STR("nope(a +)"), "1:9: parse error: unexpected \")\"" },
    };

    (void)state;
    check_errors(cases, ARRAY_LEN(cases));
}

#define WANTS_SELECTOR                                                                             \
    " modifier must be preceded by an instant vector selector or range vector selector or a "      \
    "subquery"

static void modifiers_are_refused_where_they_do_not_belong(void **state)
{
    const struct error_case cases[] = {
        { STR("1 offset 1d"), "1:1: parse error: offset" WANTS_SELECTOR },
        { STR("1 + sum(x) offset 5m"), "1:5: parse error: offset" WANTS_SELECTOR },
        { STR("(x) offset 5m"), "1:1: parse error: offset" WANTS_SELECTOR },
        { STR("rate(x[5m]) @ 1"), "1:1: parse error: @" WANTS_SELECTOR },
        { STR("x offset 1m offset 2m"), "1:1: parse error: offset may not be set multiple times" },
        { STR("x offset step() offset 2m"),
          "1:1: parse error: offset may not be set multiple times" },
        { STR("x @ 1 @ 2"), "1:1: parse error: @ <timestamp> may not be set multiple times" },
        { STR("x @ 0 @ end()"), "1:1: parse error: @ <timestamp> may not be set multiple times" },
        { STR("x offset 1m[5m]"), "1:12: parse error: no offset modifiers allowed before range" },
        { STR("x @ 1[5m]"), "1:6: parse error: no @ modifiers allowed before range" },
        { STR("(a+b)[5m]"), "1:6: parse error: ranges only allowed for vector selectors" },
        { STR("x[5m][5m]"), "1:6: parse error: ranges only allowed for vector selectors" },
        { STR("x @ Inf"), "1:1: parse error: timestamp out of bounds for @ modifier: +Inf" },
        { STR("x @ -Inf"), "1:1: parse error: timestamp out of bounds for @ modifier: -Inf" },
        { STR("x @ NaN"), "1:1: parse error: timestamp out of bounds for @ modifier: NaN" },
        { STR("x @ 1e19"), "1:1: parse error: timestamp out of bounds for @ modifier: "
                           "10000000000000000000.000000" },
        { STR("foo @ bar"),
          "1:7: parse error: unexpected identifier \"bar\" in @, expected timestamp" },
        { STR("foo @ (1)"), "1:7: parse error: unexpected \"(\" in @, expected timestamp" },
        { STR("x anchored smoothed"),
          "1:1: parse error: anchored and smoothed modifiers cannot be used together" },
        { STR("x[5m:] anchored"),
          "1:1: parse error: anchored modifier is not supported for subqueries" },
        { STR("sum(x) smoothed"), "1:1: parse error: smoothed modifier not implemented" },
    };

    (void)state;
    check_errors(cases, ARRAY_LEN(cases));
}

static void durations_are_refused_with_the_place(void **state)
{
    const struct error_case cases[] = {
        { STR("foo[]"), "1:5: parse error: unexpected \"]\" in subquery or range selector, "
                        "expected number, duration, step(), or range()" },
        { STR("foo[5m+]"), "1:8: parse error: unexpected \"]\" in subquery or range selector, "
                           "expected number, duration, step(), or range()" },
        { STR("foo[5m 5m]"), "1:8: parse error: unexpected duration \"5m\" in subquery or range, "
                             "expected \":\" or \"]\"" },
        { STR("foo[5m:+]"), "1:9: parse error: unexpected \"]\" in subquery selector, expected "
                            "number, duration, step(), range(), or \"]\"" },
        { STR("foo[5m:1m 1m]"), "1:11: parse error: unexpected duration \"1m\" in subquery "
                                "selector, expected \"]\"" },
        { STR("foo[5m1h]"), "1:5: parse error: not a valid duration string: \"5m1h\"" },
        { STR("foo[0]"), "1:5: parse error: duration must be greater than 0" },
        { STR("foo[(0s)]"), "1:6: parse error: duration must be greater than 0" },
        { STR("foo[-5m]"), "1:5: parse error: duration must be greater than 0" },
        { STR("foo[5m:0]"), "1:8: parse error: duration must be greater than 0" },
        { STR("foo[5/0]"), "1:6: parse error: division by zero" },
        { STR("foo[5%(0)]"), "1:6: parse error: modulo by zero" },
        { STR("foo[1e10]"), "1:5: parse error: duration out of range" },
        { STR("foo[400y]"), "1:5: parse error: duration out of range" },
        { STR("foo offset -1e10"), "1:13: parse error: duration out of range" },
        { STR("foo offset NaN"), "1:12: parse error: duration out of range" },
        { STR("foo offset bar"), "1:12: parse error: unexpected identifier \"bar\" in offset, "
                                 "expected number, duration, step(), or range()" },
        { STR("foo offset (1m) + bar"),
          "1:19: parse error: unexpected identifier \"bar\" in offset, expected number, duration, "
          "step(), or range()" },
        { STR("foo[min_of(1)]"), "1:13: parse error: unexpected \")\" in subquery or range "
                                 "selector, expected number, duration, step(), or range()" },
    };

    (void)state;
    check_errors(cases, ARRAY_LEN(cases));
}

static void nesting_is_bounded(void **state)
{
    static const struct {
        const char *head, *repeated, *tail;
        size_t most; /* repetitions that are still accepted */
    } cases[] = {
        { "", "(", NULL, 0 },
        { "", "-", "a", PARSE_MAX_DEPTH - 1 },
        { "a", "^a", "", PARSE_MAX_DEPTH - 1 },
        { "a", "+a", "", PARSE_MAX_HEIGHT - 1 },
        { "", "sum(", NULL, 0 },
        { "a[1+", "(", NULL, 0 },
        { "a offset ", "-", "1", PARSE_MAX_DEPTH - 1 },
        { "a[1", "+1", "]", PARSE_MAX_HEIGHT - 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const size_t lengths[] = { cases[i].most, cases[i].most + 1, 300000 };

        for (size_t k = cases[i].tail ? 0 : 2; k < ARRAY_LEN(lengths); k++) {
            struct arena *a = arena_new(0);
            struct err err = err_in(a);
            struct buf b = { 0 };
            struct node *n;

            buf_text(&b, cases[i].head);
            for (size_t r = 0; r < lengths[k] && b.len < PARSE_MAX_BYTES - 8; r++)
                buf_text(&b, cases[i].repeated);
            buf_text(&b, cases[i].tail ? cases[i].tail : "");
            assert_int_equal(parse_query(buf_as_str(&b), a, &n, &err), k == 0 ? OK : ERR_BAD_QUERY);
            if (k)
                assert_non_null(strstr(err.msg, "levels"));
            buf_free(&b);
            arena_free(a);
        }
    }
}

static void long_texts_are_refused(void **state)
{
    struct str text = { NULL, PARSE_MAX_BYTES + 1 };
    char *spaces = malloc(text.len);
    struct arena *a = arena_new(0);
    struct node *n;

    (void)state;
    assert_non_null(spaces);
    memset(spaces, ' ', text.len);
    text.ptr = spaces;
    assert_int_equal(parse_query(text, a, &n, NULL), ERR_TOO_LARGE);
    text.len--;
    assert_int_equal(parse_query(text, a, &n, NULL), ERR_BAD_QUERY);
    free(spaces);
    arena_free(a);
}

static const char *const long_query =
    "label_replace(topk by (a, 'b.c') (2, rate(x{a=~'y.*', b!~'z|w'}[5m] offset min_of(1m, "
    "step())) * on (a) group_left (d, e, f, g, h) fill (0) -y), 'a', '$1', \"\\u00e9\", '(.*)')";

static void a_full_arena_is_an_error_at_any_point(void **state)
{
    enum errc rc = ERR_LIMIT;
    size_t failures = 0;

    (void)state;
    for (size_t limit = 16; rc != OK; limit += 16, failures++) {
        struct arena *a = arena_new(limit);
        struct err err = err_in(NULL);
        struct node *n = NULL;

        assert_non_null(a);
        rc = parse_query(str_from(long_query), a, &n, &err);
        assert_true(rc == OK || rc == ERR_LIMIT);
        parse_free(n);
        arena_free(a);
    }
    assert_true(failures > 50);
}

/* Every prefix, and every prefix with one byte put in, gives a tree or an error inside the text. */
static void damaged_texts_do_no_harm(void **state)
{
    static const char bytes[] = "(){}[]'\"\\,:@-=~!#\n\xff";
    char text[512];
    size_t len = strlen(long_query);

    (void)state;
    for (size_t at = 0; at <= len; at++)
        for (size_t k = 0; k < sizeof bytes; k++) {
            struct arena *a = arena_new(0);
            struct err err = err_in(a);
            struct node *n;
            struct str s = { text, len };

            memcpy(text, long_query, len);
            if (k == sizeof bytes - 1)
                s.len = at;
            else if (at < len)
                text[at] = bytes[k];
            if (parse_query(s, a, &n, &err) == OK)
                parse_free(n);
            else
                assert_true(err.code == ERR_BAD_QUERY && err.pos <= s.len && *err.msg);
            arena_free(a);
        }
}

static void match_parameters_are_selectors_only(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* matchers; 0: refused */
        const char *error;
    } cases[] = {
        { "up", 1, NULL },
        { "sum{a='b'}", 2, NULL },
        { "{'up'}", 1, NULL },
        { "{a='', b=~'.+'}", 2, NULL },
        { "{}", 0, "match[] must contain at least one non-empty matcher" },
        { "{a=~'.*'}", 0, "match[] must contain at least one non-empty matcher" },
        { "up[5m]", 0, "1:3: parse error: unexpected \"[\"" },
        { "up offset 5m", 0, "1:4: parse error: unexpected <offset>" },
        { "rate(x)", 0, "1:5: parse error: unexpected \"(\"" },
        { "1", 0, "1:1: parse error: unexpected number \"1\"" },
        { "", 0, "unknown position: parse error: unexpected end of input" },
        { "{a=~'x', b=~'('}", 0,
          "1:10: parse error: error parsing regexp: missing closing ): `(`" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        struct matcher *m = NULL;
        struct buf b = { 0 };
        size_t n = 0;

        if (parse_selector(str_from(cases[i].text), a, &m, &n, &err) != OK) {
            parse_error_print(&b, str_from(cases[i].text), &err);
            buf_u8(&b, 0);
            assert_string_equal((char *)b.ptr, cases[i].error);
        }
        assert_int_equal(n, cases[i].n);
        for (size_t k = 0; k < n; k++)
            matcher_free(&m[k]);
        buf_free(&b);
        arena_free(a);
    }
}

static void positions_count_lines_and_bytes(void **state)
{
    static const struct {
        uint32_t pos;
        const char *text;
    } cases[] = { { 0, "1:1" }, { 1, "1:2" }, { 3, "1:4" }, { 4, "2:1" },
                  { 5, "3:1" }, { 6, "3:2" }, { 99, "3:2" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = { 0 };

        position_print(&b, STR("a\xc3\xa9\n\nb"), cases[i].pos);
        buf_u8(&b, 0);
        assert_string_equal((char *)b.ptr, cases[i].text);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_bind_as_documented),
        cmocka_unit_test(matching_is_kept_as_written),
        cmocka_unit_test(modifiers_reach_their_selector),
        cmocka_unit_test(subqueries_hold_range_and_step),
        cmocka_unit_test(the_outer_name_is_the_last_matcher),
        cmocka_unit_test(positions_cover_the_source),
        cmocka_unit_test(syntax_errors_say_what_and_where),
        cmocka_unit_test(selectors_say_what_they_lack),
        cmocka_unit_test(aggregations_and_calls_say_what_they_lack),
        cmocka_unit_test(modifiers_are_refused_where_they_do_not_belong),
        cmocka_unit_test(durations_are_refused_with_the_place),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(long_texts_are_refused),
        cmocka_unit_test(a_full_arena_is_an_error_at_any_point),
        cmocka_unit_test(damaged_texts_do_no_harm),
        cmocka_unit_test(match_parameters_are_selectors_only),
        cmocka_unit_test(positions_count_lines_and_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
