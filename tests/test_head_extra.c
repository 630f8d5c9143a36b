#include "storage/head_extra.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/histogram.h"

#include "base/banned.h"

enum { REF = 7 };

/* What a test knows, and checks reading against: one sample for each of many times. */
enum { N_TIMES = 500 };
struct model {
    bool has[N_TIMES], is_histogram[N_TIMES];
    int64_t start_ms[N_TIMES];
    int64_t newest_float;
};

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

static struct buf encode(double count)
{
    struct histogram h = { .is_integer = true, .count = count, .zero_count = count };
    struct buf b = { 0 };

    histogram_encode(&b, &h);
    return b;
}

static void add(struct extra_set *s, struct model *m, int64_t t, bool is_histogram,
                int64_t start_ms)
{
    bool newest = t > m->newest_float;
    uint64_t bytes = 0;

    if (is_histogram) {
        struct buf b = encode((double)t);

        assert_true(extra_add_histogram(s, REF, t, start_ms, buf_as_bytes(&b), &newest, &bytes));
        buf_free(&b);
    } else {
        assert_true(extra_note_float(s, REF, t, start_ms, newest, &bytes));
        m->newest_float = newest ? t : m->newest_float;
    }
    m->has[t] = true;
    m->is_histogram[t] = is_histogram;
    m->start_ms[t] = start_ms;
}

/* Reads all: the floats, which lie elsewhere, are put in first. */
static void check(const struct extra_set *s, const struct model *m)
{
    struct column c = { 0 };
    bool overlaps = false;
    size_t at = 0;

    for (int64_t t = 0; t < N_TIMES; t++)
        if (m->has[t] && !m->is_histogram[t])
            assert_true(column_add(&c, t, 1));
    assert_true(extra_read(s, REF, INT64_MIN, INT64_MAX, &c, 0, &overlaps));
    assert_true(column_normalise(&c));
    for (int64_t t = 0; t < N_TIMES; t++) {
        if (!m->has[t])
            continue;
        assert_true(at < c.n && c.t_ms[at] == t);
        assert_int_equal(c.h && c.h[at], m->is_histogram[t]);
        if (m->is_histogram[t])
            assert_true(c.h[at]->count == (double)t);
        assert_true((c.start_ms ? c.start_ms[at] : 0) == m->start_ms[t]);
        at++;
    }
    assert_int_equal(at, c.n);
    column_free(&c);
}

/* Whatever the order, and whether the start time changes or is missing for a while. */
static void start_times_stay_with_their_samples(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 200; seed++) {
        struct model *m = calloc(1, sizeof *m);
        struct extra_set s = { 0 };
        uint32_t late = seed % 4 == 0 ? 0 : 1 + seed % 7, kinds = 1 + seed % 3;
        int64_t t = 0, start_ms = 5;

        rng_state = seed;
        m->newest_float = -1;
        add(&s, m, t, seed % 2, start_ms);
        for (int i = 0; i < 150; i++) {
            int64_t when = t;

            if (rng(10) == 0)
                start_ms = rng(3) ? 0 : 1 + (int64_t)rng(4);
            if (rng(10) < late)
                when = (int64_t)rng((uint32_t)t + 1);
            else
                when = t = t + 1 + rng(3);
            if (when < N_TIMES && !m->has[when])
                add(&s, m, when, rng(kinds) == 1, start_ms);
        }
        check(&s, m);
        extra_set_free(&s);
        free(m);
    }
}

static void histograms_are_found_by_their_time(void **state)
{
    struct extra_set s = { 0 };
    struct model *m = calloc(1, sizeof *m);
    struct buf b = encode(30);
    struct bytes found;

    (void)state;
    m->newest_float = -1;
    add(&s, m, 10, true, 0);
    add(&s, m, 30, true, 0);
    add(&s, m, 20, true, 0); /* late */
    found = extra_find(&s, REF, 30);
    assert_int_equal(found.len, b.len);
    assert_memory_equal(found.ptr, b.ptr, b.len);
    assert_non_null(extra_find(&s, REF, 20).ptr);
    assert_null(extra_find(&s, REF, 15).ptr);
    assert_null(extra_find(&s, REF + 1, 30).ptr);
    assert_true(extra_has(&s, REF, 0, 100));
    assert_false(extra_has(&s, REF + 1, 0, 100));
    buf_free(&b);
    extra_set_free(&s);
    free(m);
}

static void a_start_time_that_stays_costs_no_memory(void **state)
{
    struct extra_set s = { 0 };
    uint64_t bytes = 0, after_one;

    (void)state;
    assert_true(extra_note_float(&s, REF, 0, 77, true, &bytes));
    after_one = bytes;
    for (int64_t t = 1; t < 100000; t++)
        assert_true(extra_note_float(&s, REF, t, 77, true, &bytes));
    assert_int_equal(bytes, after_one);
    assert_true(extra_note_float(&s, REF + 1, 5, 0, true, &bytes)); /* nothing to note */
    assert_int_equal(bytes, after_one);
    extra_set_free(&s);
}

static void what_is_no_histogram_is_left_out_and_counted(void **state)
{
    struct extra_set s = { 0 };
    struct model m = { .newest_float = -1 };
    struct bytes none = { (const uint8_t *)"\xff\xff", 2 };
    struct column c = { 0 };
    bool newest = true, overlaps = false;
    uint64_t bytes = 0;

    (void)state;
    add(&s, &m, 1, true, 0);
    assert_true(extra_add_histogram(&s, REF, 2, 0, none, &newest, &bytes));
    add(&s, &m, 3, true, 0);
    assert_true(extra_read(&s, REF, 0, N_TIMES, &c, 0, &overlaps));
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_unreadable, 1);
    assert_true(c.t_ms[1] == 3 && c.h[1]->count == 3 && !overlaps);
    column_clear(&c);
    assert_int_equal(c.n_unreadable, 0);
    column_free(&c);
    extra_set_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_times_stay_with_their_samples),
        cmocka_unit_test(histograms_are_found_by_their_time),
        cmocka_unit_test(a_start_time_that_stays_costs_no_memory),
        cmocka_unit_test(what_is_no_histogram_is_left_out_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
