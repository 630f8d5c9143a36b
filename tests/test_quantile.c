/* Quantiles of samples and of classic histograms, checked by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "query/quantile.h"

#include "base/banned.h"

static void assert_same(double got, double want)
{
    if (!(got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= 1e-12 * fabs(want)))
        fail_msg("got %.17g, want %.17g", got, want);
}

static void quantile_interpolates_between_ranks(void **state)
{
    const struct {
        double q, v[4];
        size_t n;
        double want;
    } cases[] = {
        { 0.5, { 3, 1, 2 }, 3, 2 },     { 0.5, { 4, 1, 2, 3 }, 4, 2.5 },
        { 0, { 3, 1, 2 }, 3, 1 },       { 1, { 3, 1, 2 }, 3, 3 },
        { 0.75, { 7 }, 1, 7 },          { -0.1, { 1, 2 }, 2, -INFINITY },
        { 1.1, { 1, 2 }, 2, INFINITY }, { NAN, { 1, 2 }, 2, NAN },
        { 0, { 1, NAN, 2 }, 3, NAN }, /* NaN is the smallest */
        { 1, { 1, NAN, 2 }, 3, 2 },     { 0.5, { 0 }, 0, NAN },
        { 0, { INFINITY, 1 }, 2, NAN }, /* 0 * Inf, as in Prometheus */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v[4];

        memcpy(v, cases[i].v, sizeof v);
        assert_same(quantile_of(cases[i].q, v, cases[i].n), cases[i].want);
    }
}

enum { MAX_BUCKETS = 5 };

static void bucket_quantile_interpolates_within_a_bucket(void **state)
{
    const struct {
        double q;
        struct bucket b[MAX_BUCKETS];
        size_t n;
        double want;
    } cases[] = {
        { 0.5, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 1 },
        { 0.75, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 1.5 },
        { 0.25, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 0.5 },
        { 0.25, { { INFINITY, 4 }, { 2, 4 }, { 1, 2 } }, 3, 0.5 },        /* any order */
        { 1, { { 1, 2 }, { 2, 3 }, { INFINITY, 4 } }, 3, 2 },             /* in the +Inf bucket */
        { 0.1, { { -1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, -1 },         /* no lower bound */
        { 0.5, { { 1, 1 }, { 1, 1 }, { 2, 4 }, { INFINITY, 4 } }, 4, 1 }, /* equal bounds add up */
        { 0.5, { { 1, 2 }, { 2, 4 } }, 2, NAN },                          /* no +Inf bucket */
        { 0.5, { { INFINITY, 4 } }, 1, NAN },                             /* nothing else */
        { 0.5, { { 1, 0 }, { INFINITY, 0 } }, 2, NAN },                   /* no observations */
        { -1, { { 1, 2 }, { INFINITY, 4 } }, 2, -INFINITY },
        { 2, { { 1, 2 }, { INFINITY, 4 } }, 2, INFINITY },
        { NAN, { { 1, 2 }, { INFINITY, 4 } }, 2, NAN },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bucket b[MAX_BUCKETS];
        struct bucket_repair repair;

        memcpy(b, cases[i].b, sizeof b);
        assert_same(bucket_quantile(cases[i].q, b, cases[i].n, &repair), cases[i].want);
        assert_false(repair.done);
    }
}

static void decreasing_counts_are_repaired_and_told(void **state)
{
    struct bucket b[] = { { 0.1, 10 }, { 0.5, 8 }, { 1, 12 }, { 2, 7 }, { INFINITY, 20 } };
    struct bucket_repair repair;

    (void)state;
    assert_same(bucket_quantile(0.5, b, ARRAY_LEN(b), &repair), 0.1);
    assert_true(repair.done);
    assert_same(repair.min_le, 0.5);
    assert_same(repair.max_le, 2);
    assert_same(repair.max_difference, 5);
    assert_same(b[1].count, 10);
    assert_same(b[3].count, 12);
}

static void differences_of_rounding_are_repaired_silently(void **state)
{
    struct bucket b[] = { { 1, 1 }, { 2, 1 - 1e-13 }, { INFINITY, 1 + 1e-13 } };
    struct bucket_repair repair;

    (void)state;
    assert_same(bucket_quantile(0.5, b, ARRAY_LEN(b), &repair), 0.5);
    assert_false(repair.done);
    assert_same(b[1].count, 1);
    assert_same(b[2].count, 1);
}

static void bucket_fraction_is_the_share_between_two_bounds(void **state)
{
    const struct {
        double lower, upper;
        struct bucket b[MAX_BUCKETS];
        size_t n;
        double want;
    } cases[] = {
        { 0, 1, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 0.5 },
        { 0.5, 1.5, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 0.5 },
        { -1, 0, { { 1, 2 }, { 2, 4 }, { INFINITY, 4 } }, 3, 0 },
        { 3, 4, { { 1, 2 }, { 2, 4 }, { INFINITY, 8 } }, 3, 0 }, /* inside the +Inf bucket */
        { 1, INFINITY, { { 1, 2 }, { 2, 4 }, { INFINITY, 8 } }, 3, 0.75 },
        { -INFINITY, INFINITY, { { -1, 2 }, { 2, 4 }, { INFINITY, 8 } }, 3, 1 },
        { -2, 2, { { -1, 2 }, { 2, 4 }, { INFINITY, 8 } }, 3, 0.25 }, /* none of the first */
        { 2, 1, { { 1, 2 }, { INFINITY, 4 } }, 2, 0 },
        { NAN, 1, { { 1, 2 }, { INFINITY, 4 } }, 2, NAN },
        { 0, 1, { { 1, 2 }, { 2, 4 } }, 2, NAN },
        { 0, 1, { { 1, 0 }, { INFINITY, 0 } }, 2, NAN },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bucket b[MAX_BUCKETS];

        memcpy(b, cases[i].b, sizeof b);
        assert_same(bucket_fraction(cases[i].lower, cases[i].upper, b, cases[i].n), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantile_interpolates_between_ranks),
        cmocka_unit_test(bucket_quantile_interpolates_within_a_bucket),
        cmocka_unit_test(decreasing_counts_are_repaired_and_told),
        cmocka_unit_test(differences_of_rounding_are_repaired_silently),
        cmocka_unit_test(bucket_fraction_is_the_share_between_two_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
