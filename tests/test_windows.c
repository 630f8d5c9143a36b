#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/compiler.h"
#include "query/windows.h"

enum { SECOND = 1000, MINUTE = 60000, N_STEPS = 10, MOST_TIMES = 600000 };

struct fixture {
    struct query_options options;
    struct query q;
    struct node selector, range;
    struct window_cache cache;
    int64_t *t_ms;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){ .t_ms = malloc(MOST_TIMES * sizeof *f.t_ms) };
    assert_non_null(f.t_ms);
    f.q.options = &f.options;
    f.q.steps = (struct steps){ .step_ms = MINUTE, .n = N_STEPS };
    f.selector.kind = NODE_SELECTOR;
    f.range.kind = NODE_MATRIX;
    f.range.matrix.selector = &f.selector;
    f.range.matrix.range.ms = 5 * MINUTE;
    f.cache = (struct window_cache){ .q = &f.q, .range = &f.range, .growth = true };
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    window_cache_free(&f->cache);
    free(f->t_ms);
    return 0;
}

/* The windows of n samples, one a second from first_ms on. */
static const struct windows *look_up(struct fixture *f, int64_t first_ms, size_t n)
{
    const struct range_series s = { .t_ms = f->t_ms, .n = n };
    const struct windows *w = NULL;

    for (size_t i = 0; i < n; i++)
        f->t_ms[i] = first_ms + (int64_t)i * SECOND;
    assert_int_equal(windows_of(&f->cache, &s, &w, NULL), OK);
    return w;
}

static void windows_have_the_samples_of_their_range(void **state)
{
    struct fixture *f = *state;
    const struct windows *w = NULL;

    for (int round = 0; round < 2; round++) { /* made, then found */
        w = look_up(f, 0, 3600);
        for (size_t i = 0; i < N_STEPS; i++) {
            assert_int_equal(w->lo[i], i <= 4 ? 0 : (i - 5) * 60 + 1);
            assert_int_equal(w->hi[i], i * 60 + 1);
        }
        assert_int_equal(w->most, 300);
    }
}

static void long_series_after_a_short_one_stay_within_the_limit(void **state)
{
    struct fixture *f = *state;

    (void)look_up(f, 0, 2);
    for (int i = 1; i < 150; i++) {
        const struct windows *w = look_up(f, -i * MINUTE, 10000 + (size_t)i);

        assert_true(f->cache.bytes > 0 && f->cache.bytes <= WINDOW_CACHE_BYTES);
        assert_int_equal(w->hi[0], i * 60 + 1);
    }
}

static void a_series_above_the_limit_has_windows(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 5; i++) {
        const struct windows *w = look_up(f, -i, MOST_TIMES);

        assert_int_equal(w->hi[1], 61);
        assert_in_range(f->cache.bytes, WINDOW_CACHE_BYTES, 2 * WINDOW_CACHE_BYTES);
    }
    (void)look_up(f, 0, 100);
    assert_true(f->cache.bytes < WINDOW_CACHE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(windows_have_the_samples_of_their_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_series_after_a_short_one_stay_within_the_limit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_series_above_the_limit_has_windows, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
