#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/compiler.h"
#include "query/functions.h"

static void the_table_is_sorted_and_consistent(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_funcs; i++) {
        const struct func *f = &funcs[i];

        if (i > 0)
            assert_true(str_cmp(str_from(funcs[i - 1].name), str_from(f->name)) < 0);
        assert_true(f->min_args <= f->n_args && f->n_args <= FUNC_MAX_ARGS);
        assert_true(f->variadic || f->max_args == 0);
        for (size_t a = 0; a < f->n_args; a++)
            assert_int_not_equal(f->args[a], TYPE_NONE);
        assert_true(!!f->each + !!f->over + !!f->eval <= 1);
        assert_true(!f->check || f->over);
    }
}

static void every_function_is_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_funcs; i++)
        assert_ptr_equal(func_find(str_from(funcs[i].name)), &funcs[i]);
    assert_null(func_find(STR("holt_winters")));
    assert_null(func_find(STR("Rate")));
    assert_null(func_find(STR("")));
    assert_null(func_find(STR("zzz")));
}

static void one_float_functions_follow_prometheus(void **state)
{
    static const struct {
        const char *name;
        double in, out;
    } cases[] = {
        { "log2", 8, 3 },         { "log2", 0.125, -3 },
        { "log2", 0, -INFINITY }, { "log2", INFINITY, INFINITY },
        { "log2", -1, NAN },      { "log10", 1000, 3 },
        { "sgn", -3, -1 },        { "sgn", 7, 1 },
        { "sgn", NAN, NAN },      { "deg", M_PI, 180 },
        { "rad", 180, M_PI },     { "abs", -2, 2 },
        { "ceil", -0.5, -0.0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double got = func_find(str_from(cases[i].name))->each(cases[i].in);

        assert_true(got == cases[i].out || (isnan(got) && isnan(cases[i].out)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sorted_and_consistent),
        cmocka_unit_test(every_function_is_found_by_name),
        cmocka_unit_test(one_float_functions_follow_prometheus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
