#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "query/range_kernels.h"
#include "query/value.h"

enum { MAX_SAMPLES = 300, MAX_STEPS = 200, ROUNDS = 400 };

/* Random samples, the windows of random steps over them, and one function. */
struct trial {
    over_function *over;
    size_t n, n_steps;
    int64_t t_ms[MAX_SAMPLES], start_ms, step_ms, range_ms;
    double v[MAX_SAMPLES], factor[MAX_STEPS], bound[MAX_STEPS];
    uint32_t lo[MAX_STEPS], hi[MAX_STEPS], scratch[MAX_SAMPLES];
    struct windows windows;
    size_t reset_at[MAX_SAMPLES];
    double reset_before[MAX_SAMPLES];
    struct resets resets;
};

static double some_value(unsigned kind, size_t i)
{
    switch (rand() % 40) {
    case 0:
        return f64_from_bits(QUIET_NAN_BITS);
    case 1:
        return kind == 3 ? INFINITY : 0;
    case 2:
        return kind == 3 ? -1.7e308 : -0.0;
    default:
        break;
    }
    switch (kind) {
    case 0: /* a counter that begins near zero, reset now and then */
        return (double)(i % 50) * 3 + (double)(rand() % 3);
    case 1: /* one that began long ago */
        return 1e6 + (double)i * 0.1;
    case 2: /* few values */
        return (double)(rand() % 3);
    default:
        return (double)(rand() - RAND_MAX / 2) * pow(10, rand() % 12 - 6);
    }
}

static void fill_samples(struct trial *t)
{
    unsigned kind = (unsigned)rand() % 4;
    bool gaps = rand() % 2;
    int64_t at_ms = 0;

    t->n = (size_t)(rand() % MAX_SAMPLES) + 1;
    for (size_t i = 0; i < t->n; i++) {
        at_ms += gaps && rand() % 20 == 0 ? 500000 : 15000 + rand() % 8;
        t->t_ms[i] = at_ms;
        t->v[i] = some_value(kind, i);
    }
    t->resets = (struct resets){ .at = t->reset_at, .before = t->reset_before };
    for (size_t i = 1; i < t->n; i++)
        if (t->v[i] < t->v[i - 1]) {
            t->reset_at[t->resets.n] = i;
            t->reset_before[t->resets.n++] = t->v[i - 1];
        }
}

static struct window window_of(const struct trial *t, size_t step)
{
    int64_t end_ms = t->start_ms + (int64_t)step * t->step_ms;
    struct window w = { .t_ms = t->t_ms + t->lo[step],
                        .v = t->v + t->lo[step],
                        .n = t->hi[step] - t->lo[step],
                        .start_ms = end_ms - t->range_ms,
                        .end_ms = end_ms,
                        .eval_ms = end_ms };

    for (size_t i = 0; i < t->resets.n; i++)
        if (t->reset_at[i] > t->lo[step] && t->reset_at[i] < t->hi[step]) {
            if (w.n_resets++ == 0)
                w.before_resets = &t->reset_before[i];
        }
    return w;
}

static void fill_windows(struct trial *t)
{
    bool per_second;
    bool growth = range_kernel_extrapolates(t->over, &per_second);

    t->n_steps = (size_t)(rand() % MAX_STEPS) + 1;
    t->step_ms = (int64_t[]){ 15000, 30000, 7001, 300000 }[rand() % 4];
    t->range_ms = (int64_t[]){ 20000, 60000, 300000, 1500000 }[rand() % 4];
    t->start_ms = rand() % 200000;
    t->windows = (struct windows){ .lo = t->lo, .hi = t->hi };
    for (size_t i = 0; i < t->n_steps; i++) {
        int64_t end_ms = t->start_ms + (int64_t)i * t->step_ms;
        struct extrapolation e;
        struct window w;

        t->lo[i] = t->hi[i] = 0;
        while (t->lo[i] < t->n && t->t_ms[t->lo[i]] <= end_ms - t->range_ms)
            t->lo[i]++;
        for (t->hi[i] = t->lo[i]; t->hi[i] < t->n && t->t_ms[t->hi[i]] <= end_ms;)
            t->hi[i]++;
        w = window_of(t, i);
        t->windows.most = w.n > t->windows.most ? w.n : t->windows.most;
        if (!growth || w.n < 2)
            continue;
        extrapolation_of(&w, &e);
        t->factor[i] = (e.sampled + e.to_start + e.to_end) / e.sampled;
        if (per_second)
            t->factor[i] /= window_seconds(&w);
        t->bound[i] = e.to_start / e.sampled * (1 + 1e-9);
    }
    t->windows.factor = t->factor;
    t->windows.bound = t->bound;
}

static double one_window(void *ctx, size_t step)
{
    const struct trial *t = ctx;
    struct window w = window_of(t, step);

    return t->over(&w);
}

static bool same(double a, double b)
{
    return f64_bits(a) == f64_bits(b) || (isnan(a) && isnan(b) && is_absent(a) == is_absent(b));
}

static void run(struct trial *t, const char *name)
{
    double out[MAX_STEPS];
    struct kernel_job job = { .w = &t->windows,
                              .v = t->v,
                              .resets = &t->resets,
                              .out = out,
                              .scratch = t->scratch,
                              .one = one_window,
                              .ctx = t };
    range_kernel *kernel = range_kernel_find(t->over);
    size_t cut;

    assert_non_null(kernel);
    fill_samples(t);
    fill_windows(t);
    cut = (size_t)rand() % t->n_steps;
    if (cut > 0)
        kernel(&job, 0, cut);
    kernel(&job, cut, t->n_steps);
    for (size_t i = 0; i < t->n_steps; i++) {
        double want = t->lo[i] == t->hi[i] ? absent() : one_window(t, i);

        if (!same(out[i], want))
            fail_msg("%s, step %zu of %zu, %zu samples in the window: %.17g, want %.17g", name, i,
                     t->n_steps, (size_t)(t->hi[i] - t->lo[i]), out[i], want);
    }
}

static void kernels_give_what_single_windows_give(void **state)
{
    static const struct {
        const char *name;
        over_function *over;
    } functions[] = {
        { "rate", rate_over },     { "increase", increase_over }, { "delta", delta_over },
        { "sum", sum_over },       { "avg", avg_over },           { "count", count_over },
        { "min", min_over },       { "max", max_over },           { "first", first_over },
        { "last", last_over },     { "present", present_over },   { "changes", changes_over },
        { "resets", resets_over },
    };
    static struct trial t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        for (int round = 0; round < ROUNDS; round++) {
            t.over = functions[i].over;
            run(&t, functions[i].name);
        }
}

static void functions_without_a_kernel_have_none(void **state)
{
    bool per_second;

    (void)state;
    assert_null(range_kernel_find(quantile_over));
    assert_false(range_kernel_extrapolates(quantile_over, &per_second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_give_what_single_windows_give),
        cmocka_unit_test(functions_without_a_kernel_have_none),
    };

    srand(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
