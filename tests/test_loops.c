#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "query/compensated.h"
#include "query/loops.h"
#include "query/value.h"

enum { N = 403, ROUNDS = 200 };

/* Now and then something special. */
static double some_value(void)
{
    static const double special[] = { 0, -0.0, INFINITY, -INFINITY, 1e308, -1e308, 5e-324 };
    int kind = rand() % 10;

    if (kind == 0)
        return absent();
    if (kind == 1)
        return special[(size_t)rand() % ARRAY_LEN(special)];
    if (kind == 2)
        return f64_from_bits(QUIET_NAN_BITS);
    return (rand() - RAND_MAX / 2) * pow(10, rand() % 30 - 15);
}

static void fill(double *v)
{
    for (size_t i = 0; i < N; i++)
        v[i] = some_value();
}

static void same(const double *a, const double *b)
{
    for (size_t i = 0; i < N; i++)
        if (f64_bits(a[i]) != f64_bits(b[i]) && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("element %zu: %.17g, want %.17g", i, a[i], b[i]);
        else if (is_absent(a[i]) != is_absent(b[i]))
            fail_msg("element %zu: absent or not", i);
}

static void sums_are_those_of_one_addition_after_the_other(void **state)
{
    const struct loops *variants[] = { &loops_portable, loops() };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(variants); k++) {
        double sum[N], c[N] = { 0 }, want[N], want_c[N] = { 0 }, v[N];

        for (size_t i = 0; i < N; i++)
            sum[i] = want[i] = absent();
        for (int round = 0; round < ROUNDS; round++) {
            fill(v);
            variants[k]->add(sum, c, v, N - (size_t)(round % 5));
            for (size_t i = 0; i < N - (size_t)(round % 5); i++)
                if (is_absent(v[i]))
                    continue;
                else if (is_absent(want[i]))
                    want[i] = v[i];
                else
                    compensated_add(v[i], &want[i], &want_c[i]);
            same(sum, want);
            same(c, want_c);
        }
    }
}

static void counts_leave_out_what_is_absent(void **state)
{
    const struct loops *variants[] = { &loops_portable, loops() };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(variants); k++) {
        double counts[N], want[N], v[N];

        for (size_t i = 0; i < N; i++)
            counts[i] = want[i] = absent();
        for (int round = 0; round < 3; round++) {
            fill(v);
            variants[k]->count(counts, v, N);
            for (size_t i = 0; i < N; i++)
                if (!is_absent(v[i]))
                    want[i] = is_absent(want[i]) ? 1 : want[i] + 1;
            same(counts, want);
        }
    }
}

static void searches_find_the_first_one_wherever_it_is(void **state)
{
    const struct loops *variants[] = { &loops_portable, loops() };
    double v[N];

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(variants); k++)
        for (size_t at = 1; at <= N; at++) {
            for (size_t i = 0; i < N; i++)
                v[i] = i == at ? -1 : (double)i;
            assert_int_equal(variants[k]->find_decrease(v, 1, N), at);
            assert_int_equal(variants[k]->find_decrease(v, at < N ? at : N, N), at);
            if (at < N)
                v[at] = absent();
            assert_int_equal(variants[k]->find_marker(v, N), at);
        }
}

static void no_value_but_the_marker_is_one(void **state)
{
    const double v[] = { NAN, f64_from_bits(QUIET_NAN_BITS), -f64_from_bits(STALE_NAN_BITS) };

    (void)state;
    assert_int_equal(loops()->find_marker(v, ARRAY_LEN(v)), ARRAY_LEN(v));
    assert_int_equal(loops()->find_decrease(v, 1, ARRAY_LEN(v)), ARRAY_LEN(v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_one_addition_after_the_other),
        cmocka_unit_test(counts_leave_out_what_is_absent),
        cmocka_unit_test(searches_find_the_first_one_wherever_it_is),
        cmocka_unit_test(no_value_but_the_marker_is_one),
    };

    srand(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
