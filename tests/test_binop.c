/* One operation on two floats, and the order of names that contain numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "query/eval.h"
#include "query/functions_impl.h"

#include "base/banned.h"

static void operators_follow_ieee(void **state)
{
    const struct {
        enum binary_op op;
        double l, r, want;
    } cases[] = {
        { OP_ADD, 0.1, 0.2, 0.30000000000000004 },
        { OP_SUB, INFINITY, INFINITY, NAN },
        { OP_MUL, 0, INFINITY, NAN },
        { OP_DIV, 1, 0, INFINITY },
        { OP_DIV, -1, 0, -INFINITY },
        { OP_DIV, 0, 0, NAN },
        { OP_MOD, -7, 3, -1 }, /* the sign of the dividend */
        { OP_MOD, 7, -3, 1 },
        { OP_MOD, 5.5, 2, 1.5 },
        { OP_MOD, 1, 0, NAN },
        { OP_POW, 2, 10, 1024 },
        { OP_POW, NAN, 0, 1 },
        { OP_ATAN2, -0.0, -1, -M_PI },
        { OP_EQ, 0, -0.0, 1 },
        { OP_EQ, NAN, NAN, 0 },
        { OP_NE, NAN, NAN, 1 },
        { OP_LT, NAN, 1, 0 },
        { OP_GE, NAN, 1, 0 },
        { OP_GT, INFINITY, 1, 1 },
        { OP_LE, 1, 1, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double got = binary_arith(cases[i].op, cases[i].l, cases[i].r);

        if (!(got == cases[i].want || (isnan(got) && isnan(cases[i].want))))
            fail_msg("case %zu: got %.17g, want %.17g", i, got, cases[i].want);
    }
}

/* The marker of an absent value is a signalling NaN; so may be a stored value. */
static void no_operation_makes_a_staleness_marker(void **state)
{
    const uint64_t bits[] = { 0x7ff0000000000002, 0xfff0000000000002, 0x7ff8000000000002,
                              0x0000000000000000, 0x8000000000000000, 0x7ff0000000000000,
                              0x3ff0000000000000 };

    (void)state;
    for (int op = OP_ADD; op <= OP_GE; op++)
        for (size_t i = 0; i < ARRAY_LEN(bits); i++)
            for (size_t j = 0; j < ARRAY_LEN(bits); j++)
                assert_false(is_absent(binary_arith((enum binary_op)op, f64_from_bits(bits[i]),
                                                    f64_from_bits(bits[j]))));
}

static void natural_order_compares_runs_of_digits_as_numbers(void **state)
{
    static const char *const rising[] = { "1", "2", "10", "a", "a1", "a2", "a2b1", "a10", "b" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rising); i++)
        for (size_t j = i + 1; j < ARRAY_LEN(rising); j++) {
            assert_true(natural_before(str_from(rising[i]), str_from(rising[j])));
            assert_false(natural_before(str_from(rising[j]), str_from(rising[i])));
        }
}

static void numbers_beyond_64_bits_compare_as_text(void **state)
{
    (void)state;
    assert_true(natural_before(STR("100000000000000000000"), STR("5")));
    assert_false(natural_before(STR("5"), STR("100000000000000000000")));
    assert_true(natural_before(STR("99999999999999999999a"), STR("99999999999999999999b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_follow_ieee),
        cmocka_unit_test(no_operation_makes_a_staleness_marker),
        cmocka_unit_test(natural_order_compares_runs_of_digits_as_numbers),
        cmocka_unit_test(numbers_beyond_64_bits_compare_as_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
