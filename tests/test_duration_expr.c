/* Durations written as expressions: their values and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/arena.h"
#include "query/duration_expr.h"
#include "query/parse.h"

#include "base/banned.h"

/* A selector with its range or, if is_offset, its offset. */
static struct duration *parse_duration(const char *text, bool is_offset, struct arena *a)
{
    struct err err = err_in(a);
    struct buf b = { 0 };
    struct node *n;

    buf_printf(&b, "%s%s%s", is_offset ? "x offset " : "x[", text, is_offset ? "" : "]");
    if (parse_query(buf_as_str(&b), a, &n, &err) != OK)
        fail_msg("%s: %s", text, err_text(&err));
    buf_free(&b);
    return is_offset ? &n->selector.mod.offset : &n->matrix.range;
}

static void expressions_are_evaluated_in_seconds(void **state)
{
    static const struct {
        const char *text;
        double seconds; /* step 10 s, range 100 s */
    } cases[] = {
        { "5m", 300 },
        { "26m + 4m", 1800 },
        { "60 * 30", 1800 },
        { "1h / 2", 1800 },
        { "30m1s - 30m1s % 1m", 1800 },
        { "((((8 - 2) / 3) * 7s) % 4) + 8000ms", 10 },
        { "2 ^ 3 ^ 2", 512 },
        { "10 - 2 - 3", 5 },
        { "20 - -2 ^ 2", 24 },
        { "step()", 10 },
        { "1 + (STEP() - 5) * 2", 11 },
        { "RANGE() / step()", 10 },
        { "min_of(step() + 1, 1h)", 11 },
        { "max_of(min_of(step(), 1s), 3s)", 3 },
        { "200 - min_of(-step() ^ +step(), 1)", 1e10 + 200 },
        { "+step()", 10 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        double v;

        assert_int_equal(
            duration_eval(parse_duration(cases[i].text, false, a)->expr, 10, 100, &v, &err), OK);
        assert_true(v == cases[i].seconds);
        arena_free(a);
    }
}

static void preparing_checks_the_result(void **state)
{
    static const struct {
        const char *text;
        bool is_offset;
        int64_t ms; /* in an instant query, where step and range are 0 */
        const char *error;
    } cases[] = {
        { "step() + 1ms", false, 1, NULL },
        { "(step()) + 1.0019", false, 1001, NULL },
        { "300", false, 300000, NULL },
        { "(300)", false, 300000, NULL },
        { "-(5m)", true, -300000, NULL },
        { "(1m - 2m)", true, -60000, NULL },
        { "step()", true, 0, NULL },
        { "step()", false, 0, "2:8: duration must be greater than 0" },
        { "(1m - 2m)", false, 0, "3:10: duration must be greater than 0" },
        { "1 / step()", false, 0, "2:12: division by zero" },
        { "2 + 1 % range()", false, 0, "6:17: modulo by zero" },
        { "(10 ^ 1000)", true, 0, "10:19: duration is NaN or infinite" },
        { "(-1) ^ 0.5", false, 0, "2:12: duration is NaN or infinite" },
        { "10 ^ 10", false, 0, "2:9: duration is out of range" },
        { "(-10 ^ 11)", true, 0, "10:18: duration is out of range" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        struct duration *d;
        enum errc rc;

        d = parse_duration(cases[i].text, cases[i].is_offset, a);
        rc = duration_prepare(d, cases[i].is_offset, 0, 0, &err);
        if (cases[i].error) {
            assert_int_equal(rc, ERR_BAD_QUERY);
            assert_int_equal(err.pos, PARSE_NO_POSITION);
            assert_string_equal(err.msg, cases[i].error);
        } else {
            assert_int_equal(rc, OK);
            assert_int_equal(d->ms, cases[i].ms);
        }
        arena_free(a);
    }
}

static void extremes_follow_ieee_minimum(void **state)
{
    static const struct {
        const char *text;
        double v; /* with a step of -0 and a range of NaN */
    } cases[] = {
        { "min_of(0, step())", -0.0 },
        { "max_of(step(), 0)", 0.0 },
        { "min_of(1, range())", NAN },
        { "max_of(range(), 1)", NAN },
        { "min_of(range(), -(10 ^ 1000))", -INFINITY },
        { "max_of(10 ^ 1000, range())", INFINITY },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        double v;

        assert_int_equal(
            duration_eval(parse_duration(cases[i].text, false, a)->expr, -0.0, NAN, &v, NULL), OK);
        assert_true(isnan(cases[i].v) ? isnan(v)
                                      : v == cases[i].v && !signbit(v) == !signbit(cases[i].v));
        arena_free(a);
    }
}

static void absent_and_literal_durations_are_left_alone(void **state)
{
    struct arena *a = arena_new(0);
    struct duration absent = { 0 };
    struct duration *literal = parse_duration("1001ms", false, a);

    (void)state;
    assert_int_equal(duration_prepare(&absent, false, 10, 100, NULL), OK);
    assert_int_equal(absent.ms, 0);
    assert_int_equal(duration_prepare(literal, false, 10, 100, NULL), OK);
    assert_int_equal(literal->ms, 1001);
    arena_free(a);
}

/* Nobody may divide by a step of 0. */
static void a_step_below_a_millisecond_is_absent(void **state)
{
    static const char *const texts[] = { "x[5m:0.0001]", "x[5m:(1e-9)]", "x[5m:1 / 1e4]",
                                         "x[5m:step() / 1e6]" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct arena *a = arena_new(0);
        struct node *n;

        assert_int_equal(parse_query(str_from(texts[i]), a, &n, NULL), OK);
        assert_int_equal(duration_prepare(&n->subquery.step, false, 15, 100, NULL), OK);
        assert_null(n->subquery.step.expr);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_evaluated_in_seconds),
        cmocka_unit_test(preparing_checks_the_result),
        cmocka_unit_test(extremes_follow_ieee_minimum),
        cmocka_unit_test(a_step_below_a_millisecond_is_absent),
        cmocka_unit_test(absent_and_literal_durations_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
