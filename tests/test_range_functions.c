#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/bytes.h"
#include "query/functions.h"
#include "query/range_functions.h"
#include "query/value.h"

enum { MAX_SAMPLES = 8 };

/* One function over one window (0, 60 s], samples given in seconds. */
struct over_case {
    const char *func;
    size_t n;
    double t_s[MAX_SAMPLES], v[MAX_SAMPLES];
    double args[2];
    double want;
    bool none;
};

static double call(const struct over_case *c, bool anchored, bool smoothed)
{
    int64_t t_ms[MAX_SAMPLES];
    double scratch[MAX_SAMPLES], before_resets[MAX_SAMPLES];
    struct window w = { .t_ms = t_ms,
                        .v = c->v,
                        .n = c->n,
                        .start_ms = 0,
                        .end_ms = 60000,
                        .eval_ms = 60000,
                        .args = c->args,
                        .scratch = scratch,
                        .before_resets = before_resets,
                        .anchored = anchored,
                        .smoothed = smoothed };

    for (size_t i = 0; i < c->n; i++)
        t_ms[i] = (int64_t)(c->t_s[i] * 1000);
    for (size_t i = 1; i < c->n; i++)
        if (c->v[i] < c->v[i - 1])
            before_resets[w.n_resets++] = c->v[i - 1];
    return func_find(str_from(c->func))->over(&w);
}

/* Bit for bit, but for the bits of a NaN. */
static void check(const struct over_case *c, double got)
{
    bool same = c->none
                    ? is_absent(got)
                    : !is_absent(got)
                          && (f64_bits(got) == f64_bits(c->want) || (isnan(got) && isnan(c->want)));

    if (!same)
        fail_msg("%s of %zu samples: got %.17g, want %.17g", c->func, c->n, got, c->want);
}

static void functions_of_a_window_give(void **state)
{
    static const struct over_case cases[] = {
        { "sum_over_time", 4, { 1, 2, 3, 4 }, { 1, 1e100, 1, -1e100 }, { 0 }, .want = 2 },
        { "sum_over_time", 2, { 1, 2 }, { INFINITY, -INFINITY }, { 0 }, .want = NAN },
        { "sum_over_time", 2, { 1, 2 }, { INFINITY, 1 }, { 0 }, .want = INFINITY },
        { "avg_over_time", 4, { 1, 2, 3, 4 }, { 1, 1e100, 1, -1e100 }, { 0 }, .want = 0.5 },
        { "avg_over_time", 2, { 1, 2 }, { 1.7e308, 1.7e308 }, { 0 }, .want = 1.7e308 },
        { "avg_over_time", 2, { 1, 2 }, { INFINITY, -INFINITY }, { 0 }, .want = NAN },
        { "avg_over_time", 3, { 1, 2, 3 }, { INFINITY, 0, INFINITY }, { 0 }, .want = INFINITY },
        { "count_over_time", 3, { 1, 2, 3 }, { 7, 7, NAN }, { 0 }, .want = 3 },
        { "present_over_time", 1, { 1 }, { NAN }, { 0 }, .want = 1 },
        { "min_over_time", 3, { 1, 2, 3 }, { NAN, 3, 2 }, { 0 }, .want = 2 },
        { "max_over_time", 3, { 1, 2, 3 }, { NAN, 3, NAN }, { 0 }, .want = 3 },
        { "max_over_time", 1, { 1 }, { NAN }, { 0 }, .want = NAN },
        { "ts_of_min_over_time", 4, { 1, 2.5, 3, 4 }, { NAN, 2, 2, 5 }, { 0 }, .want = 3 },
        { "ts_of_max_over_time", 4, { 1, 2.5, 3, 4 }, { 6, 2, NAN, 5 }, { 0 }, .want = 1 },
        { "ts_of_first_over_time", 2, { 1.5, 2 }, { 6, 2 }, { 0 }, .want = 1.5 },
        { "ts_of_last_over_time", 2, { 1.5, 2 }, { 6, 2 }, { 0 }, .want = 2 },
        { "first_over_time", 2, { 1, 2 }, { 6, 2 }, { 0 }, .want = 6 },
        { "last_over_time", 2, { 1, 2 }, { 6, 2 }, { 0 }, .want = 2 },
        { "stdvar_over_time", 4, { 1, 2, 3, 4 }, { 2, 4, 4, 6 }, { 0 }, .want = 2 },
        { "stddev_over_time", 2, { 1, 2 }, { -3, 3 }, { 0 }, .want = 3 },
        { "stdvar_over_time", 2, { 1, 2 }, { 1, INFINITY }, { 0 }, .want = NAN },
        { "mad_over_time", 5, { 1, 2, 3, 4, 5 }, { 9, 1, 2, 4, 3 }, { 0 }, .want = 1 },
        { "mad_over_time", 2, { 1, 2 }, { 1, NAN }, { 0 }, .want = NAN },
        { "quantile_over_time", 3, { 1, 2, 3 }, { 3, 1, 2 }, { 0.25 }, .want = 1.5 },
        { "quantile_over_time", 3, { 1, 2, 3 }, { 3, 1, 2 }, { -1 }, .want = -INFINITY },
        { "quantile_over_time", 3, { 1, 2, 3 }, { 3, 1, 2 }, { 1.1 }, .want = INFINITY },
        { "quantile_over_time", 3, { 1, 2, 3 }, { 3, NAN, 2 }, { 1 }, .want = 3 },
        { "changes", 5, { 1, 2, 3, 4, 5 }, { 1, 1, NAN, NAN, 2 }, { 0 }, .want = 2 },
        { "changes", 1, { 1 }, { 1 }, { 0 }, .want = 0 },
        { "resets", 5, { 1, 2, 3, 4, 5 }, { 3, 2, NAN, 1, 0 }, { 0 }, .want = 2 },
        { "resets", 1, { 1 }, { 1 }, { 0 }, .want = 0 },
        { "idelta", 3, { 1, 2, 4 }, { 1, 5, 2 }, { 0 }, .want = -3 },
        { "idelta", 1, { 1 }, { 1 }, { 0 }, .none = true },
        { "irate", 3, { 1, 2, 4 }, { 1, 5, 11 }, { 0 }, .want = 3 },
        { "irate", 3, { 1, 2, 4 }, { 1, 5, 4 }, { 0 }, .want = 2 },
        { "irate", 1, { 1 }, { 1 }, { 0 }, .none = true },
        { "deriv", 3, { 10, 20, 30 }, { 1, 2, 3 }, { 0 }, .want = 0.1 },
        { "deriv", 2, { 10, 20 }, { 5, 5 }, { 0 }, .want = 0 },
        { "deriv", 2, { 10, 20 }, { INFINITY, INFINITY }, { 0 }, .want = NAN },
        { "deriv", 1, { 10 }, { 5 }, { 0 }, .none = true },
        { "predict_linear", 2, { 40, 50 }, { 4, 5 }, { 40 }, .want = 10 },
        { "predict_linear", 2, { 40, 50 }, { 4, 4 }, { 40 }, .want = 4 },
        { "double_exponential_smoothing", 3, { 1, 2, 3 }, { 1, 2, 3 }, { 0.5, 0.5 }, .want = 3 },
        { "double_exponential_smoothing", 1, { 1 }, { 1 }, { 0.5, 0.5 }, .none = true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i], call(&cases[i], false, false));
}

/* The window is (0, 60 s]. */
static void growth_is_extrapolated_to_the_window(void **state)
{
    static const struct over_case cases[] = {
        /* to both borders, where samples are close to them */
        { "increase",
          6,
          { 5, 15, 25, 35, 45, 55 },
          { 100, 110, 120, 130, 140, 150 },
          { 0 },
          .want = 60 },
        { "delta",
          6,
          { 5, 15, 25, 35, 45, 55 },
          { 100, 110, 120, 130, 140, 150 },
          { 0 },
          .want = 60 },
        { "rate",
          6,
          { 5, 15, 25, 35, 45, 55 },
          { 100, 110, 120, 130, 140, 150 },
          { 0 },
          .want = 1 },
        /* by half a gap where the border is far: 20 s seen, 5 s added on each side */
        { "increase", 3, { 20, 30, 40 }, { 100, 110, 120 }, { 0 }, .want = 30 },
        /* a gap of exactly 1.1 gaps is far */
        { "increase", 3, { 11, 21, 31 }, { 100, 110, 120 }, { 0 }, .want = 30 },
        /* never below zero, even if that is closer than half a gap */
        { "increase", 3, { 20, 30, 40 }, { 1, 11, 21 }, { 0 }, .want = 26 },
        { "delta", 3, { 20, 30, 40 }, { 1, 11, 21 }, { 0 }, .want = 30 },
        /* resets add what was there before */
        { "increase", 4, { 15, 30, 45, 60 }, { 90, 100, 10, 5 }, { 0 }, .want = 25 * (60. / 45) },
        { "delta", 3, { 20, 40, 60 }, { 30, 20, 10 }, { 0 }, .want = -30 },
        { "increase", 2, { 20, 40 }, { 7, 7 }, { 0 }, .want = 0 },
        { "rate", 1, { 30 }, { 7 }, { 0 }, .none = true },
        { "increase", 2, { 20, 40 }, { NAN, 7 }, { 0 }, .want = NAN },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i], call(&cases[i], false, false));
}

static void anchored_windows_start_at_the_last_sample_before(void **state)
{
    static const struct over_case cases[] = {
        { "increase", 4, { -20, -10, 20, 50 }, { 1, 2, 5, 9 }, { 0 }, .want = 7 },
        { "rate", 3, { -10, 20, 50 }, { 2, 5, 62 }, { 0 }, .want = 1 },
        { "delta", 3, { -10, 20, 50 }, { 9, 5, 2 }, { 0 }, .want = -7 },
        { "increase", 3, { -10, 20, 50 }, { 9, 5, 6 }, { 0 }, .want = 6 },
        { "increase", 1, { 20 }, { 9 }, { 0 }, .want = 0 },
        { "increase", 2, { -20, -10 }, { 9, 10 }, { 0 }, .none = true },
        { "resets", 4, { -20, -10, 20, 50 }, { 9, 5, 3, 1 }, { 0 }, .want = 2 },
        { "changes", 4, { -20, -10, 20, 50 }, { 9, 5, 3, 3 }, { 0 }, .want = 1 },
        { "changes", 2, { -20, -10 }, { 9, 5 }, { 0 }, .none = true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i], call(&cases[i], true, false));
}

static void smoothed_windows_interpolate_at_the_borders(void **state)
{
    static const struct over_case cases[] = {
        { "delta", 4, { -10, 10, 50, 70 }, { 0, 10, 30, 50 }, { 0 }, .want = 35 },
        { "increase", 4, { -10, 10, 50, 70 }, { 0, 10, 30, 50 }, { 0 }, .want = 35 },
        /* a counter starts from zero where it was reset beyond the border */
        { "increase", 4, { -10, 10, 50, 70 }, { 90, 10, 30, 50 }, { 0 }, .want = 35 },
        { "increase", 4, { -10, 10, 50, 70 }, { 0, 10, 30, 4 }, { 0 }, .want = 27 },
        { "rate", 4, { -10, 10, 50, 70 }, { 0, 10, 40, 80 }, { 0 }, .want = 55. / 60 },
        { "delta", 2, { 70, 80 }, { 1, 2 }, { 0 }, .none = true },
        { "delta", 2, { -20, -10 }, { 1, 2 }, { 0 }, .none = true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i], call(&cases[i], false, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_a_window_give),
        cmocka_unit_test(growth_is_extrapolated_to_the_window),
        cmocka_unit_test(anchored_windows_start_at_the_last_sample_before),
        cmocka_unit_test(smoothed_windows_interpolate_at_the_borders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
