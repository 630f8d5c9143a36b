#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "storage/head_run.h"

/* A run, and the samples it must give back. */
struct rig {
    struct run_pool *pool;
    struct run run;
    struct sample *expected;
    size_t n;
    uint64_t random;
};

enum { MAX_EXPECTED = 20000 };

static struct rig rig_new(uint64_t seed)
{
    struct rig g = { .pool = run_pool_new(), .random = seed };

    assert_non_null(g.pool);
    g.expected = malloc(MAX_EXPECTED * sizeof *g.expected);
    assert_non_null(g.expected);
    return g;
}

static void rig_free(struct rig *g)
{
    run_pool_free(g->pool);
    free(g->expected);
}

static uint64_t next_random(struct rig *g) /* xorshift64* */
{
    g->random ^= g->random >> 12;
    g->random ^= g->random << 25;
    g->random ^= g->random >> 27;
    return g->random * 0x2545f4914f6cdd1du;
}

static void add(struct rig *g, int64_t t_ms, uint64_t bits)
{
    struct sample s = { t_ms, f64_from_bits(bits) };

    assert_true(g->n < MAX_EXPECTED);
    assert_true(run_add(g->pool, &g->run, s));
    g->expected[g->n++] = s;
}

static void add_value(struct rig *g, int64_t t_ms, double v)
{
    add(g, t_ms, f64_bits(v));
}

static void assert_range(const struct rig *g, int64_t min_t_ms, int64_t max_t_ms)
{
    struct column c = { 0 };
    struct run_tail tail;
    size_t at = 0;

    assert_true(column_add(&c, 7, 7)); /* what was there stays */
    run_tail_copy(g->pool, g->run.end, &tail);
    assert_true(run_read(g->pool, &tail, min_t_ms, max_t_ms, &c));
    assert_true(c.t_ms[0] == 7 && c.v[0] == 7);
    for (size_t i = 0; i < g->n; i++) {
        struct sample s = g->expected[i];

        if (s.t_ms < min_t_ms || s.t_ms > max_t_ms)
            continue;
        assert_true(++at < c.n);
        assert_true(c.t_ms[at] == s.t_ms && f64_bits(c.v[at]) == f64_bits(s.v));
    }
    assert_int_equal(at + 1, c.n);
    column_free(&c);
}

static void assert_all(const struct rig *g)
{
    assert_range(g, INT64_MIN, INT64_MAX);
    assert_int_equal(g->run.newest_t_ms, g->expected[g->n - 1].t_ms);
    assert_true(g->run.last_bits == f64_bits(g->expected[g->n - 1].v));
}

/* ---- */

static void every_kind_of_value_comes_back_bit_for_bit(void **state)
{
    static const uint64_t bits[] = {
        0,
        0x8000000000000000, /* -0.0 */
        STALE_NAN_BITS,
        QUIET_NAN_BITS,
        0x7ff4dead0000beef, /* a signalling NaN with a payload */
        0x7ff0000000000000, /* infinities */
        0xfff0000000000000,
        1, /* denormals */
        0x800fffffffffffff,
        0x3ff0000000000000, /* 1, and what lies beside it */
        0x3ff0000000000001,
        0x3fefffffffffffff,
        0x433fffffffffffff, /* 2^53 - 1, 2^53, 2^53 + 2, and their negatives */
        0x4340000000000000,
        0x4340000000000001,
        0xc33fffffffffffff,
        0xc340000000000000,
        0x43e0000000000000, /* 2^63 */
        0xc3e0000000000000,
        0x7fefffffffffffff,
        0xffffffffffffffff,
    };
    struct rig g = rig_new(1);
    int64_t t_ms = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        for (size_t k = 0; k < ARRAY_LEN(bits); k++) {
            add(&g, t_ms += 15000, bits[i]);
            add(&g, t_ms += 15000, bits[k]);
        }
    assert_all(&g);
    rig_free(&g);
}

static void every_kind_of_time_comes_back(void **state)
{
    static const int64_t steps[] = { 1,     2,     7,     127,      128,        255,        256,
                                     15000, 14999, 15001, 15127,    15128,      15129,      32767,
                                     32768, 47767, 47768, 3600000,  2147483647, 2147483648, 1,
                                     15000, 15000, 15000, 86400000, 15000,      15000 };
    struct rig g = rig_new(1);
    int64_t t_ms = INT64_MIN;

    (void)state;
    add_value(&g, t_ms, 1);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            add_value(&g, t_ms += steps[i], 1);
            add_value(&g, t_ms += steps[k], (double)k);
        }
    add_value(&g, INT64_MAX - 1, 1); /* so far that the difference overflows */
    add_value(&g, INT64_MAX, 1);
    assert_all(&g);
    rig_free(&g);
}

/* One pattern of values and times, for some hundred samples. */
static void add_random_phase(struct rig *g, int64_t *t_ms, uint64_t *bits)
{
    uint64_t times = next_random(g) % 6, values = next_random(g) % 7;
    size_t n = 1 + next_random(g) % 400;
    double base = (double)(next_random(g) % 100000);

    for (size_t i = 0; i < n; i++) {
        uint64_t r = next_random(g);

        *t_ms += times == 0   ? 15000
                 : times == 1 ? 15000 + (r % 5 ? 0 : (int64_t)(r >> 8) % 9)
                 : times == 2 ? 15003
                 : times == 3 ? 1 + (int64_t)(r % 100000)
                 : times == 4 ? 14900 + (int64_t)(r % 200)
                              : 1 + (int64_t)(r % ((uint64_t)1 << (r >> 60) * 3));
        r = next_random(g);
        *bits = values == 0   ? r
                : values == 1 ? *bits
                : values == 2 ? f64_bits(base += (double)(r % 5))
                : values == 3 ? f64_bits(base += (double)(int64_t)r / 1e6)
                : values == 4 ? *bits ^ (r >> (r % 64))
                : values == 5 ? *bits ^ (r << (r % 64))
                              : f64_bits((double)(int64_t)(r >> (r % 64)));
        add(g, *t_ms, *bits);
    }
}

static void random_runs_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rig g = rig_new(seed);
        int64_t t_ms = (int64_t)next_random(&g) / 4;
        uint64_t bits = 0;

        for (int phase = 0; phase < 20; phase++) {
            add_random_phase(&g, &t_ms, &bits);
            if (phase % 7 == 0)
                assert_all(&g);
        }
        assert_all(&g);
        for (int i = 0; i < 20; i++) {
            int64_t from = g.expected[next_random(&g) % g.n].t_ms;
            int64_t to = g.expected[next_random(&g) % g.n].t_ms;

            assert_range(&g, from, to);
            assert_range(&g, from + 1, to - 1);
        }
        assert_range(&g, INT64_MIN, g.expected[0].t_ms - 1);
        assert_range(&g, g.run.newest_t_ms + 1, INT64_MAX);
        rig_free(&g);
    }
}

static void a_sample_is_found_by_its_time(void **state)
{
    struct rig g = rig_new(3);
    int64_t t_ms = 1000;
    uint64_t bits = 0;

    (void)state;
    assert_false(run_find(g.pool, g.run.end, 0, &bits));
    for (int phase = 0; phase < 5; phase++)
        add_random_phase(&g, &t_ms, &bits);
    for (size_t i = 0; i < g.n; i++) {
        bool free_after = i + 1 == g.n || g.expected[i + 1].t_ms > g.expected[i].t_ms + 1;

        assert_true(run_find(g.pool, g.run.end, g.expected[i].t_ms, &bits));
        assert_true(bits == f64_bits(g.expected[i].v));
        assert_int_equal(run_find(g.pool, g.run.end, g.expected[i].t_ms + 1, &bits), !free_after);
    }
    assert_false(run_find(g.pool, g.run.end, g.expected[0].t_ms - 1, &bits));
    assert_true(run_begins_by(g.pool, g.run.end, g.expected[0].t_ms));
    assert_false(run_begins_by(g.pool, g.run.end, g.expected[0].t_ms - 1));
    rig_free(&g);
}

static void what_repeats_takes_next_to_nothing(void **state)
{
    static const struct {
        const char *what;
        double step;
        uint64_t max_bytes; /* for 480 samples */
    } cases[] = {
        { "constant", 0, 64 },
        { "a counter of small steps", 3, 1280 },
        { "a sum of fractions", 0.125, 4480 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g = rig_new(1);

        for (int k = 0; k < 480; k++)
            add_value(&g, k * 15000, k * cases[i].step);
        assert_all(&g);
        assert_in_range(run_pool_bytes(g.pool), 0, cases[i].max_bytes + RUN_FRAGMENT_BYTES);
        rig_free(&g);
    }
}

static void a_steady_step_is_learnt_whatever_the_first_was(void **state)
{
    struct rig g = rig_new(1);
    uint64_t before;

    (void)state;
    add_value(&g, 5, 1); /* late */
    for (int k = 1; k < 4; k++)
        add_value(&g, k * 15000, 1);
    before = run_pool_bytes(g.pool);
    for (int k = 4; k < 1000; k++)
        add_value(&g, k * 15000, 1);
    assert_int_equal(run_pool_bytes(g.pool), before);
    assert_all(&g);
    rig_free(&g);
}

static void a_tail_stays_as_it_was_when_the_run_grows(void **state)
{
    struct rig g = rig_new(9);
    struct column c = { 0 };
    struct run_tail tail;
    int64_t t_ms = 0;
    uint64_t bits = 0;
    size_t n;

    (void)state;
    add_random_phase(&g, &t_ms, &bits);
    n = g.n;
    run_tail_copy(g.pool, g.run.end, &tail);
    for (int phase = 0; phase < 5; phase++)
        add_random_phase(&g, &t_ms, &bits);
    assert_true(run_read(g.pool, &tail, INT64_MIN, INT64_MAX, &c));
    assert_int_equal(c.n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(c.t_ms[i] == g.expected[i].t_ms
                    && f64_bits(c.v[i]) == f64_bits(g.expected[i].v));
    column_free(&c);
    rig_free(&g);
}

static void a_run_that_was_cut_begins_anew(void **state)
{
    struct rig g = rig_new(1);
    struct run_end end;

    (void)state;
    for (int k = 0; k < 300; k++)
        add_value(&g, k * 15000, k);
    end = run_cut(&g.run);
    assert_true(run_is_empty(g.run.end) && !run_is_empty(end));
    run_pool_clear(g.pool);
    assert_int_equal(run_pool_bytes(g.pool), 0);
    g.n = 0;
    for (int k = 0; k < 300; k++) /* older than what was cut off */
        add_value(&g, k * 1000, k);
    assert_all(&g);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_comes_back_bit_for_bit),
        cmocka_unit_test(every_kind_of_time_comes_back),
        cmocka_unit_test(random_runs_come_back),
        cmocka_unit_test(a_sample_is_found_by_its_time),
        cmocka_unit_test(what_repeats_takes_next_to_nothing),
        cmocka_unit_test(a_steady_step_is_learnt_whatever_the_first_was),
        cmocka_unit_test(a_tail_stays_as_it_was_when_the_run_grows),
        cmocka_unit_test(a_run_that_was_cut_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
