/* The checks of types.h, through the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "query/functions.h"
#include "query/parse.h"
#include "query/types.h"

#include "base/banned.h"

/* The error of text, or the name of its type. In the arena. */
static const char *outcome(const char *text, struct arena *a)
{
    struct err err = err_in(a);
    struct buf b = { 0 };
    struct node *n;
    const char *result;

    if (parse_query(str_from(text), a, &n, &err) == OK) {
        buf_text(&b, value_type_name(n->type));
        parse_free(n);
    } else {
        parse_error_print(&b, str_from(text), &err);
    }
    result = str_copy(a, buf_as_str(&b)).ptr;
    buf_free(&b);
    return result;
}

struct type_case {
    const char *text, *outcome;
};

static void check_cases(const struct type_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena *a = arena_new(0);

        assert_string_equal(outcome(cases[i].text, a), cases[i].outcome);
        arena_free(a);
    }
}

static void every_expression_has_a_type(void **state)
{
    static const struct type_case cases[] = {
        { "1", "scalar" },
        { "5m", "scalar" },
        { "'x'", "string" },
        { "('x')", "string" },
        { "a", "vector" },
        { "a[5m]", "matrix" },
        { "(a[5m])", "matrix" },
        { "a[5m:]", "matrix" },
        { "1 + 2", "scalar" },
        { "-(1)", "scalar" },
        { "1 + a", "vector" },
        { "a > bool 1", "vector" },
        { "1 > bool 1", "scalar" },
        { "1 </ 2", "scalar" },
        { "a or b", "vector" },
        { "-a", "vector" },
        { "sum(a)", "vector" },
        { "time()", "scalar" },
        { "step() + range()", "scalar" },
        { "rate(a[5m:1m])", "vector" },
        { "scalar(a) / 2", "scalar" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void operators_want_fitting_operands(void **state)
{
    static const char operands[] =
        "1:5: parse error: binary expression must contain only scalar and instant vector types";
    static const struct type_case cases[] = {
        { "'a' + 1", "1:1: parse error: binary expression must contain only scalar and instant "
                     "vector types" },
        { "1 + 'a'", operands },
        { "a + b[5m]", operands },
        { "a + b[5m:]", operands },
        { "1 ==  2", "1:3: parse error: comparisons between scalars must use BOOL modifier" },
        { "1\n\n\n\n == 2",
          "5:2: parse error: comparisons between scalars must use BOOL modifier" },
        { "foo + bool bar",
          "1:5: parse error: bool modifier can only be used on comparison operators" },
        { "a and bool b",
          "1:3: parse error: bool modifier can only be used on comparison operators" },
        { "a + on(i, j) group_left(k, j) b",
          "1:3: parse error: label \"j\" must not occur in ON and GROUP clause at once" },
        { "a + ignoring(j) group_left(j) b", "vector" },
        { "1 + on(a) b", "1:1: parse error: vector matching only allowed between instant vectors" },
        { "a + ignoring(b) 1",
          "1:1: parse error: vector matching only allowed between instant vectors" },
        { "1 + on() b", "vector" },
        { "1 + fill(0) b", "1:1: parse error: filling in missing series only allowed between "
                           "instant vectors" },
        { "a and fill(0) b",
          "1:1: parse error: filling in missing series not allowed for set operators" },
        { "a and on(x) group_left b",
          "1:1: parse error: no grouping allowed for \"and\" operation" },
        { "a and 1",
          "1:1: parse error: set operator \"and\" not allowed in binary scalar expression" },
        { "1 or 2",
          "1:1: parse error: set operator \"or\" not allowed in binary scalar expression" },
        { "-'x'", "1:1: parse error: unary expression only allowed on expressions of type scalar "
                  "or instant vector, got \"string\"" },
        { "1 + -a[5m]", "1:5: parse error: unary expression only allowed on expressions of type "
                        "scalar or instant vector, got \"range vector\"" },
        { "a[5m][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix "
                        "instead" },
        { "1 + time()[5m:]", "1:5: parse error: subquery is only allowed on instant vector, got "
                             "scalar instead" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void calls_and_aggregations_want_fitting_arguments(void **state)
{
    static const struct type_case cases[] = {
        { "sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, "
                    "got scalar" },
        { "sum(a[5m])", "1:5: parse error: expected type instant vector in aggregation "
                        "expression, got range vector" },
        { "topk(x, y)", "1:6: parse error: expected type scalar in aggregation parameter, got "
                        "instant vector" },
        { "quantile('x', y)",
          "1:10: parse error: expected type scalar in aggregation parameter, got string" },
        { "count_values(1, x)",
          "1:14: parse error: expected type string in aggregation parameter, got scalar" },
        { "floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0" },
        { "floor(a, b)", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 2" },
        { "time(1)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1" },
        { "round()",
          "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0" },
        { "round(a, 1, 2)",
          "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3" },
        { "label_join(a, 'b')",
          "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2" },
        { "label_join(a, 'b', 'c', 'd', 'e', 'f')", "vector" },
        { "label_join(a, 'b', 'c', 'd', 'e', f)",
          "1:35: parse error: expected type string in call to function \"label_join\", got "
          "instant vector" },
        { "histogram_quantiles(a, 'q')", "1:1: parse error: expected at least 3 argument(s) in "
                                         "call to \"histogram_quantiles\", got 2" },
        { "histogram_quantiles(a,'q',1,2,3,4,5,6,7,8,9,10,11)",
          "1:1: parse error: expected at most 12 argument(s) in call to \"histogram_quantiles\", "
          "got 13" },
        { "rate(avg)", "1:6: parse error: expected type range vector in call to function "
                       "\"rate\", got instant vector" },
        { "floor(1)", "1:7: parse error: expected type instant vector in call to function "
                      "\"floor\", got scalar" },
        { "floor(rate(1))", "1:12: parse error: expected type range vector in call to function "
                            "\"rate\", got scalar" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void selectors_want_a_restricting_matcher(void **state)
{
    static const char empty[] =
        "1:1: parse error: vector selector must contain at least one non-empty matcher";
    static const struct type_case cases[] = {
        { "{}", empty },
        { "{x=''}", empty },
        { "{x=~'.*'}", empty },
        { "{x!='a'}", empty },
        { "{x!~'.+'}", empty },
        { "{x=~'a|'}", empty },
        { "{}[5m]", empty },
        { "{x=~'.+'}", "vector" },
        { "{x!=''}", "vector" },
        { "foo{x=''}", "vector" },
        { "1 + foo{'bar'}",
          "1:5: parse error: metric name must not be set twice: \"foo\" or \"bar\"" },
        { "foo{__name__=~'bar'}",
          "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\"" },
        { "{'a', x='y', __name__='b'}",
          "1:1: parse error: metric name must not be set twice: \"a\" or \"b\"" },
        { "{__name__=~'a.+', __name__!='b'}", "vector" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void info_takes_bare_matchers(void **state)
{
    static const struct type_case cases[] = {
        { "info(a)", "vector" },
        { "info(a, {})", "vector" },
        { "info(a, {x=~'.*'})", "vector" },
        { "info({}, {x='y'})",
          "1:6: parse error: vector selector must contain at least one non-empty matcher" },
        { "info(a, b)",
          "1:9: parse error: expected label selectors only, got vector selector instead" },
        { "info(a, b + c)", "1:9: parse error: expected label selectors only" },
        { "info(a, 1)", "1:9: parse error: expected type instant vector in call to function "
                        "\"info\", got scalar" },
        { "info(a, {x='y'}, {})",
          "1:1: parse error: expected at most 2 argument(s) in call to \"info\", got 3" },
    };

    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static const char *argument(const struct func *f, size_t i)
{
    if (strcmp(f->name, "info") == 0 && i == 1)
        return "{x=\"y\"}";
    if (f->n_args == 0)
        return "1";
    switch (f->args[i < f->n_args ? i : f->n_args - 1u]) {
    case TYPE_SCALAR:
        return "1";
    case TYPE_STRING:
        return "\"s\"";
    case TYPE_MATRIX:
        return "m[5m]";
    default:
        return "v";
    }
}

static void print_call(struct buf *b, const struct func *f, size_t n_args)
{
    buf_clear(b);
    buf_printf(b, "%s(", f->name);
    for (size_t i = 0; i < n_args; i++)
        buf_printf(b, "%s%s", i ? ", " : "", argument(f, i));
    buf_u8(b, ')');
    buf_u8(b, 0);
}

/* With the fewest and the most arguments, but not with one less or more. */
static void every_function_can_be_called(void **state)
{
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < n_funcs; i++) {
        const struct func *f = &funcs[i];
        size_t most = f->variadic && f->max_args ? f->max_args : f->n_args;
        struct arena *a = arena_new(0);

        for (size_t n = f->min_args; n <= most; n++) {
            print_call(&b, f, n);
            assert_string_equal(outcome((char *)b.ptr, a), value_type_name(f->returns));
        }
        print_call(&b, f, most + 1);
        if (f->variadic && !f->max_args)
            assert_string_equal(outcome((char *)b.ptr, a), value_type_name(f->returns));
        else
            assert_non_null(strstr(outcome((char *)b.ptr, a), "argument(s) in call to"));
        if (f->min_args) {
            print_call(&b, f, f->min_args - 1u);
            assert_non_null(strstr(outcome((char *)b.ptr, a), "argument(s) in call to"));
        }
        arena_free(a);
    }
    buf_free(&b);
}

static void every_operator_and_aggregation_is_known(void **state)
{
    struct buf b = { 0 };
    struct arena *a = arena_new(0);

    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        struct node *n;

        buf_clear(&b);
        buf_printf(&b, "a %s b", binary_op_text((enum binary_op)op));
        assert_int_equal(parse_query(buf_as_str(&b), a, &n, NULL), OK);
        assert_int_equal(n->binary.op, op);
    }
    for (int op = 0; op < AGG_OP_COUNT; op++) {
        const char *param = !aggregate_op_has_param((enum aggregate_op)op) ? ""
                            : op == AGG_COUNT_VALUES                       ? "'l', "
                                                                           : "1, ";
        struct node *n;

        buf_clear(&b);
        buf_printf(&b, "%s(%sa)", aggregate_op_text((enum aggregate_op)op), param);
        assert_int_equal(parse_query(buf_as_str(&b), a, &n, NULL), OK);
        assert_int_equal(n->aggregate.op, op);
        assert_int_equal(n->aggregate.param != NULL, *param != 0);
    }
    buf_free(&b);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expression_has_a_type),
        cmocka_unit_test(operators_want_fitting_operands),
        cmocka_unit_test(calls_and_aggregations_want_fitting_arguments),
        cmocka_unit_test(selectors_want_a_restricting_matcher),
        cmocka_unit_test(info_takes_bare_matchers),
        cmocka_unit_test(every_function_can_be_called),
        cmocka_unit_test(every_operator_and_aggregation_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
