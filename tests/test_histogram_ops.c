#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "promql_histogram.h"
#include "query/histogram_buckets.h"
#include "query/histogram_ops.h"

#include "base/banned.h"

static struct histogram *parse(struct arena *a, const char *text)
{
    struct histogram *h = ARENA_NEW(a, struct histogram, 1);

    assert_true(histogram_text_parse(str_from(text), a, h));
    return h;
}

/* `{count:4, sum:5, (1,2]:2} schema 0 zeros 0.001`, and custom bounds */
static char *describe(const struct histogram *h)
{
    struct buf b = { 0 };

    histogram_print(&b, h);
    buf_printf(&b, " schema %d", h->schema);
    if (h->zero_threshold != 0)
        buf_printf(&b, " zeros %g", h->zero_threshold);
    if (h->hint != HINT_UNKNOWN)
        buf_printf(&b, " hint %d", h->hint);
    for (uint32_t i = 0; i < h->n_custom; i++)
        buf_printf(&b, " %g", h->custom[i]);
    buf_u8(&b, 0);
    assert_false(b.failed);
    return (char *)b.ptr;
}

static void assert_histogram(const struct histogram *h, const char *expected)
{
    char *text = describe(h);

    assert_string_equal(text, expected);
    free(text);
}

/* ---- bounds ---- */

static void bounds_are_the_nearest_doubles_but_for_known_ones(void **state)
{
    static const char differences[] =
        "4444443444344444443244333333333344344434433344334433453344334433"
        "4444443333223423443444344443444444434544342244334333443434223333"
        "3434332233233433333333232322232244334434332234223322343323223323"
        "3312332322122212222222111100120133233222231133222312332222012211";
    const struct histogram h = { .schema = 8 };

    (void)state;
    for (int k = 0; k < 256; k++) {
        double nearest = (double)exp2l((long double)k / 256 - 1);

        assert_true(histogram_bound(&h, k)
                    == 2 * (nearest + (differences[k] - '4') * DBL_EPSILON / 2));
    }
}

static void bounds_go_from_schema_to_schema(void **state)
{
    static const struct {
        int32_t schema;
        int64_t index;
        double bound;
    } cases[] = {
        { 0, 0, 1 },
        { 0, 3, 8 },
        { 0, -1, 0.5 },
        { 1, 1, 2 * 0.7071067811865475 },
        { 1, -1, 0.7071067811865475 },
        { -1, 1, 4 },
        { -4, 1, 65536 },
        { 0, 1023, 0x1p1023 },
        { 0, 1024, DBL_MAX },
        { 0, 1025, INFINITY },
        { -4, 64, DBL_MAX },
        { -4, 65, INFINITY },
        { 8, 262144, DBL_MAX },
        { 0, -1074, 0x1p-1074 },
        { 0, -1075, 0 },
        { 8, INT64_C(1) << 40, INFINITY },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct histogram h = { .schema = cases[i].schema };

        assert_true(histogram_bound(&h, cases[i].index) == cases[i].bound);
    }
}

static void walks_go_both_ways(void **state)
{
    const struct histogram_span positive[] = { { -1, 2 }, { 2, 0 }, { 1, 1 } };
    const struct histogram_span negative[] = { { 0, 1 }, { 3, 1 } };
    const double counts[] = { 1, 2, 3 }, below[] = { 4, 5 };
    const struct histogram h = { .zero_threshold = 0.75,
                                 .zero_count = 9,
                                 .positive = { positive, counts, 3, 3 },
                                 .negative = { negative, below, 2, 2 } };
    /* the positive bucket (0.25,0.5] lies inside the zero bucket, (0.5,1] reaches into it */
    static const double upwards[][3] = {
        { -16, -8, 5 },   { -1, -0.75, 4 }, { -0.75, 0.75, 9 },
        { 0.75, 0.5, 1 }, { 0.75, 1, 2 },   { 8, 16, 3 },
    };
    struct bucket_walk up = bucket_walk(&h, false), down = bucket_walk(&h, true);
    struct histogram_bucket b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(upwards); i++) {
        assert_true(bucket_walk_next(&up, &b));
        assert_true(b.lower == upwards[i][0] && b.upper == upwards[i][1]
                    && b.count == upwards[i][2]);
    }
    assert_false(bucket_walk_next(&up, &b));
    for (size_t i = 0; i < ARRAY_LEN(upwards); i++) {
        size_t at = ARRAY_LEN(upwards) - 1 - i;

        assert_true(bucket_walk_next(&down, &b));
        assert_true(b.lower == upwards[at][0] && b.count == upwards[at][2]);
    }
    assert_false(bucket_walk_next(&down, &b));
}

/* ---- sums ---- */

static void sums_reconcile_layouts(void **state)
{
    static const struct {
        const char *x, *y, *sum, *difference;
        unsigned notes;
    } cases[] = {
        { "count:3 sum:4 buckets:[1 2]", "count:5 sum:1 offset:1 buckets:[2 0 3]",
          "{count:8, sum:5, (0.5,1]:1, (1,2]:4, (4,8]:3} schema 0",
          "{count:-2, sum:3, (0.5,1]:1, (4,8]:-3} schema 0", 0 },
        /* buckets 1 and 2 of schema 1 are bucket 1 of schema 0 */
        { "schema:1 count:10 sum:1 buckets:[1 2 3 4]", "schema:0 count:1 sum:1 buckets:[1]",
          "{count:11, sum:2, (0.5,1]:2, (1,2]:5, (2,4]:4} schema 0",
          "{count:9, sum:0, (1,2]:5, (2,4]:4} schema 0", 0 },
        { "schema:0 count:1 sum:1 buckets:[1]",
          "schema:1 count:10 sum:1 offset:-3 buckets:[1 2 3 4]",
          "{count:11, sum:2, (0.25,0.5]:3, (0.5,1]:8} schema 0",
          "{count:-9, sum:0, (0.25,0.5]:-3, (0.5,1]:-6} schema 0", 0 },
        /* the narrower zero bucket takes in what lies below the wider one's border, ... */
        { "z_bucket:1 z_bucket_w:0.001 count:4 sum:0 offset:-2 buckets:[1 1 1]",
          "z_bucket:2 z_bucket_w:0.5 count:2 sum:0",
          "{count:6, sum:0, [-0.5,0.5]:5, (0.5,1]:1} schema 0 zeros 0.5",
          "{count:2, sum:0, [-0.5,0.5]:1, (0.5,1]:1} schema 0 zeros 0.5", 0 },
        { "z_bucket:2 z_bucket_w:0.5 count:2 sum:0",
          "z_bucket:1 z_bucket_w:0.001 count:4 sum:0 offset:-2 buckets:[1 1 1]",
          "{count:6, sum:0, [-0.5,0.5]:5, (0.5,1]:1} schema 0 zeros 0.5",
          "{count:-2, sum:0, [-0.5,0.5]:-1, (0.5,1]:-1} schema 0 zeros 0.5", 0 },
        /* ... and a bucket that the border cuts whole, on either side, which widens the other */
        { "z_bucket:1 z_bucket_w:0.3 count:3 sum:0 n_offset:1 n_buckets:[2]",
          "z_bucket:1 z_bucket_w:1.5 count:1 sum:0", "{count:4, sum:0, [-2,2]:4} schema 0 zeros 2",
          "{count:2, sum:0, [-2,2]:2} schema 0 zeros 2", 0 },
        { "schema:-53 count:6 sum:1 custom_values:[1 2 3] buckets:[1 2 3]",
          "schema:-53 count:6 sum:1 custom_values:[1 2 3] buckets:[0 1 0 5]",
          "{count:12, sum:2, [-Inf,1]:1, (1,2]:3, (2,3]:3, (3,+Inf]:5} schema -53 1 2 3",
          "{count:0, sum:0, [-Inf,1]:1, (1,2]:1, (2,3]:3, (3,+Inf]:-5} schema -53 1 2 3", 0 },
        { "schema:-53 count:10 sum:1 custom_values:[1 2 3] buckets:[1 2 3 4]",
          "schema:-53 count:10 sum:1 custom_values:[1 2.5 3 4] buckets:[1 2 3 4]",
          "{count:20, sum:2, [-Inf,1]:2, (1,3]:10, (3,+Inf]:8} schema -53 1 3",
          "{count:0, sum:0} schema -53 1 3", HISTOGRAMS_RECONCILED },
        { "schema:-53 count:1 sum:1 custom_values:[1] buckets:[1]",
          "schema:-53 count:1 sum:1 custom_values:[2] buckets:[1]",
          "{count:2, sum:2, [-Inf,+Inf]:2} schema -53", "{count:0, sum:0} schema -53",
          HISTOGRAMS_RECONCILED },
        { "count:1 sum:1 buckets:[1]", "schema:-53 count:1 sum:1 custom_values:[2] buckets:[1]",
          "{count:1, sum:1, (0.5,1]:1} schema 0", "{count:1, sum:1, (0.5,1]:1} schema 0",
          HISTOGRAMS_INCOMPATIBLE },
        { "count:1 counter_reset_hint:gauge", "count:1 counter_reset_hint:reset",
          "{count:2, sum:0} schema 0 hint 3", "{count:0, sum:0} schema 0 hint 3", 0 },
        { "count:1 counter_reset_hint:reset", "count:1", "{count:2, sum:0} schema 0",
          "{count:0, sum:0} schema 0", 0 },
        { "count:1 counter_reset_hint:not_reset", "count:1 counter_reset_hint:reset",
          "{count:2, sum:0} schema 0", "{count:0, sum:0} schema 0", HISTOGRAMS_COLLIDING },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        const struct histogram *x = parse(a, cases[i].x), *y = parse(a, cases[i].y);
        unsigned notes = 0;

        assert_histogram(histogram_added(a, x, y, true, &notes), cases[i].sum);
        assert_int_equal(notes, cases[i].notes);
        notes = 0;
        assert_histogram(histogram_subtracted(a, x, y, true, &notes), cases[i].difference);
        assert_int_equal(notes, cases[i].notes);
        arena_free(a);
    }
}

/* The sum in any order is the same, when borders of zero buckets are borders of all schemas. */
static void sums_do_not_depend_on_the_order(void **state)
{
    static const char *const parts[] = {
        "schema:3 count:15 sum:1 z_bucket:1 z_bucket_w:0.0625 offset:-20 buckets:[1 2 3 0 0 0 7 1]",
        "schema:0 count:14 sum:2 z_bucket:2 z_bucket_w:0.25 offset:3 buckets:[1 2] n_buckets:[4 5]",
        "schema:2 count:10 sum:3 z_bucket:0 z_bucket_w:0 n_offset:-9 n_buckets:[1 0 0 6 2 1]",
        "schema:-1 count:4 sum:4 buckets:[1 1 1 1]",
    };
    struct arena *a = arena_new(0);
    char *expected = NULL;

    (void)state;
    for (unsigned order = 0; order < 24; order++) {
        struct histogram_sum s = { .arena = a };
        unsigned left = 0xf, code = order;
        char *text;

        for (unsigned n = 4; n > 0; code /= n, n--) {
            unsigned nth = code % n, at = 0;

            for (unsigned seen = 0;; at++)
                if ((left >> at & 1) && seen++ == nth)
                    break;
            left &= ~(1u << at);
            assert_true(histogram_sum_add(&s, parse(a, parts[at]), 1));
        }
        text = describe(histogram_sum_result(&s, a, true));
        if (!expected)
            expected = text;
        assert_string_equal(text, expected);
        if (text != expected)
            free(text);
    }
    free(expected);
    arena_free(a);
}

/* Whatever the borders, no observation is lost or counted twice. */
static void sums_have_all_observations(void **state)
{
    static const char *const parts[] = {
        "schema:3 count:15 sum:1 z_bucket:1 z_bucket_w:0.01 offset:-20 buckets:[1 2 3 0 0 0 7 1]",
        "schema:0 count:14 sum:2 z_bucket:2 z_bucket_w:0.3 offset:3 buckets:[1 2] n_buckets:[4 5]",
        "schema:2 count:10 sum:3 z_bucket:0 z_bucket_w:0.001 n_offset:-9 n_buckets:[1 0 0 6 2 1]",
        "schema:-1 count:4 sum:4 buckets:[1 1 1 1]",
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (size_t j = 0; j < ARRAY_LEN(parts); j++) {
            unsigned notes = 0;
            const struct histogram *sum =
                histogram_added(a, parse(a, parts[i]), parse(a, parts[j]), true, &notes);
            struct bucket_walk w = bucket_walk(sum, false);
            struct histogram_bucket b;
            double total = 0;

            while (bucket_walk_next(&w, &b))
                total += b.count;
            if (total != sum->count)
                fail_msg("%zu and %zu: %s, not %g", i, j, describe(sum), total);
        }
    arena_free(a);
}

static void sums_keep_what_cancels(void **state)
{
    static const char *const parts[] = { "count:1e100 sum:1e100 buckets:[1e100]",
                                         "count:3 sum:2 buckets:[5]",
                                         "count:-1e100 sum:-1e100 buckets:[-1e100]" };
    struct arena *a = arena_new(0);
    struct histogram_sum s = { .arena = a };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_true(histogram_sum_add(&s, parse(a, parts[i]), 1));
    assert_histogram(histogram_sum_result(&s, a, true), "{count:3, sum:2, (0.5,1]:5} schema 0");
    arena_free(a);
}

static void a_sum_of_one_has_all_its_buckets(void **state)
{
    struct arena *a = arena_new(0);
    const struct histogram *h =
        parse(a, "count:9 z_bucket:1 z_bucket_w:1 offset:-1 buckets:[1 2 3] n_buckets:[2]");
    struct histogram_sum s = { .arena = a };

    (void)state;
    assert_true(histogram_sum_add(&s, h, 1));
    assert_true(histogram_equal(histogram_sum_result(&s, a, false), h));
    assert_true(histogram_equal(histogram_compacted(a, h), h));
    arena_free(a);
}

static void other_bounds_take_no_memory_each_time(void **state)
{
    static const char *const others[] = {
        "schema:-53 count:3 sum:1 custom_values:[1 2 3 4] buckets:[1 1 0 0 1]",
        "schema:-53 count:3 sum:1 custom_values:[0.5 1 3 4 5] buckets:[0 1 1 0 0 1]",
        "schema:-53 count:3 sum:1 custom_values:[1 4] buckets:[1 1 1]",
    };
    struct arena *texts = arena_new(0), *a = arena_new(0);
    const struct histogram *h[ARRAY_LEN(others)];
    struct histogram_sum s = { .arena = a };
    size_t used = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        h[i] = parse(texts, others[i]);
        assert_true(histogram_sum_add(&s, h[i], 1));
        used = i < 2 ? arena_used(a) : used; /* with room for two sets of bounds */
    }
    for (size_t i = 0; i < 300; i++)
        assert_true(histogram_sum_add(&s, h[i % ARRAY_LEN(others)], 1));
    assert_int_equal(arena_used(a), used);
    assert_int_equal(s.notes, HISTOGRAMS_RECONCILED);
    assert_histogram(histogram_sum_result(&s, a, true),
                     "{count:909, sum:303, [-Inf,1]:303, (1,4]:303, (4,+Inf]:303} schema -53 1 4");
    arena_free(texts);
    arena_free(a);
}

static void means_do_not_overflow(void **state)
{
    struct arena *a = arena_new(0);
    const struct histogram *huge = parse(a, "count:1e308 sum:-1e308 buckets:[1.5e308]");
    struct histogram_mean m = { .sum.arena = a };

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(histogram_mean_add(&m, huge, a));
    assert_histogram(histogram_mean_result(&m, a, true),
                     "{count:1e+308, sum:-1e+308, (0.5,1]:1.5e+308} schema 0");
    arena_free(a);
}

static void wide_gaps_survive(void **state)
{
    const struct histogram_span far[] = { { INT32_MAX, 1 }, { INT32_MAX, 1 }, { 7, 1 } };
    const struct histogram_span near[] = { { -900, 1 } };
    const double counts[] = { 1, 2, 3 };
    const struct histogram x = { .positive = { far, counts, 3, 3 } },
                           y = { .positive = { near, counts, 1, 1 } };
    struct arena *a = arena_new(0);
    unsigned notes = 0;
    const struct histogram *sum = histogram_added(a, &x, &y, true, &notes);
    struct bucket_cursor c = bucket_cursor(&sum->positive, false);
    const int64_t indices[] = { -900, INT32_MAX, 2LL * INT32_MAX + 1, 2LL * INT32_MAX + 9 };
    int64_t index;
    double count;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(indices); i++) {
        assert_true(bucket_next(&c, &index, &count));
        assert_int_equal(index, indices[i]);
        assert_true(count == (i == 0 ? 1 : (double)i));
    }
    assert_false(bucket_next(&c, &index, &count));
    arena_free(a);
}

/* ---- scaling ---- */

static void scaling_by_a_negative_makes_a_gauge(void **state)
{
    struct arena *a = arena_new(0);
    const struct histogram *h = parse(
        a, "count:4 sum:6 z_bucket:2 z_bucket_w:1 offset:2 buckets:[1 1] counter_reset_hint:reset");

    (void)state;
    assert_histogram(histogram_scaled(a, h, 3, 2),
                     "{count:6, sum:9, [-1,1]:3, (2,4]:1.5, (4,8]:1.5} schema 0 zeros 1 hint 1");
    assert_histogram(histogram_scaled(a, h, -1, 1),
                     "{count:-4, sum:-6, [-1,1]:-2, (2,4]:-1, (4,8]:-1} schema 0 zeros 1 hint 3");
    assert_histogram(histogram_scaled(a, h, 1, 0),
                     "{count:+Inf, sum:+Inf, [-1,1]:+Inf} schema 0 zeros 1 hint 1");
    arena_free(a);
}

/* ---- comparing ---- */

static void equality_ignores_empty_spans_and_hints(void **state)
{
    const double counts[] = { 1, 2 };
    const struct histogram_span one[] = { { 3, 0 }, { 1, 1 }, { 2, 1 } };
    const struct histogram_span two[] = { { 4, 1 }, { 1, 0 }, { 1, 0 }, { 0, 1 }, { 9, 0 } };
    struct histogram x = { .count = 1, .sum = NAN, .positive = { one, counts, 3, 2 } };
    struct histogram y = {
        .count = 1, .sum = NAN, .positive = { two, counts, 5, 2 }, .hint = HINT_GAUGE
    };

    (void)state;
    assert_true(histogram_equal(&x, &y));
    y.sum = 0;
    x.sum = -0.0;
    assert_false(histogram_equal(&x, &y));
    x.sum = 0;
    assert_true(histogram_equal(&x, &y));
    x.zero_threshold = 1;
    assert_false(histogram_equal(&x, &y));
}

static void resets_are_found(void **state)
{
    static const struct {
        const char *prev, *cur;
        bool is_reset;
    } cases[] = {
        { "count:3 buckets:[1 2]", "count:3 buckets:[1 2]", false },
        { "count:3 buckets:[1 2]", "count:4 buckets:[1 2 1]", false },
        { "count:3 buckets:[1 2]", "count:2 buckets:[1 1]", true },
        { "count:3 buckets:[1 2]", "count:4 buckets:[2 1 1]", true },
        { "count:3 buckets:[1 2]", "count:4 buckets:[4]", true }, /* a bucket has gone */
        { "count:1 buckets:[1 0]", "count:4 buckets:[4]", false },
        { "count:9 buckets:[1]", "count:9 buckets:[1] counter_reset_hint:reset", true },
        { "count:9 buckets:[1]", "count:1 counter_reset_hint:not_reset", false },
        { "count:9 buckets:[1]", "count:1 counter_reset_hint:gauge", true },
        { "sum:5", "sum:1", false }, /* the sum is no counter */
        /* a coarser schema may follow, a finer one not */
        { "schema:1 count:3 buckets:[1 1 1]", "schema:0 count:3 buckets:[1 2]", false },
        { "schema:1 count:4 buckets:[1 1 2]", "schema:0 count:4 buckets:[2 2]", true },
        { "schema:0 count:1 buckets:[1]", "schema:1 count:1 buckets:[1]", true },
        /* a wider zero bucket may follow, that takes in whole buckets */
        { "count:3 z_bucket:1 z_bucket_w:0.1 offset:-1 buckets:[1 1]",
          "count:3 z_bucket:2 z_bucket_w:0.5 buckets:[1]", false },
        { "count:3 z_bucket:1 z_bucket_w:0.1 offset:-1 buckets:[1 1]",
          "count:3 z_bucket:2 z_bucket_w:0.6 buckets:[1]", true },
        { "count:3 z_bucket:1 z_bucket_w:0.1 offset:-1 buckets:[1 1]",
          "count:3 z_bucket:1 z_bucket_w:0.5 buckets:[2]", true },
        { "count:1 z_bucket:1 z_bucket_w:0.5", "count:2 z_bucket:1 z_bucket_w:0.1 buckets:[1]",
          true },
        { "count:1 n_buckets:[1]", "count:1 buckets:[1]", true },
        { "count:1 buckets:[1]", "schema:-53 count:1 custom_values:[1] buckets:[1]", true },
        { "schema:-53 count:1 custom_values:[1] buckets:[1]", "count:1 buckets:[1]", true },
        { "schema:-53 count:3 custom_values:[1 2] buckets:[1 1 1]",
          "schema:-53 count:3 custom_values:[2] buckets:[2 1]", false },
        { "schema:-53 count:3 custom_values:[1 2] buckets:[1 1 1]",
          "schema:-53 count:3 custom_values:[2] buckets:[1 2]", true },
        { "schema:-53 count:3 custom_values:[2] buckets:[1 2]",
          "schema:-53 count:3 custom_values:[2 3] buckets:[1 1 1]", false },
        { "schema:-53 count:3 custom_values:[2] buckets:[1 2]",
          "schema:-53 count:3 custom_values:[2] buckets:[2 1]", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);

        if (histogram_is_reset(parse(a, cases[i].prev), parse(a, cases[i].cur))
            != cases[i].is_reset)
            fail_msg("%s then %s", cases[i].prev, cases[i].cur);
        arena_free(a);
    }
}

static void between_goes_from_one_to_the_other(void **state)
{
    struct arena *a = arena_new(0);
    const struct histogram *x = parse(a, "count:2 sum:1 buckets:[2]"),
                           *y = parse(a, "count:6 sum:9 buckets:[4 2]");
    unsigned notes = 0;

    (void)state;
    assert_histogram(histogram_between(a, x, y, 0.25, false, &notes),
                     "{count:3, sum:3, (0.5,1]:2.5, (1,2]:0.5} schema 0");
    assert_histogram(histogram_between(a, x, y, 0.25, true, &notes),
                     "{count:1.5, sum:2.25, (0.5,1]:1, (1,2]:0.5} schema 0");
    arena_free(a);
}

static void full_arenas_are_noticed(void **state)
{
    struct arena *big = arena_new(0);
    const struct histogram *x = parse(big, "schema:1 count:3 sum:4 buckets:[1 2 3 4 5 6 7 8]"),
                           *y = parse(big, "count:3 z_bucket_w:1 n_buckets:[1 2 3 4 5 6 7 8]");
    const struct histogram *sum = NULL;

    (void)state;
    for (size_t limit = 64; !sum; limit += 64) {
        struct arena *a = arena_new(limit);
        unsigned notes = 0;

        sum = histogram_added(a, x, y, true, &notes);
        if (sum)
            assert_histogram(sum, "{count:6, sum:4, [-128,-64):8, [-64,-32):7, [-32,-16):6, "
                                  "[-16,-8):5, [-8,-4):4, [-4,-2):3, [-2,-1):2, [-1,1]:1, (1,2]:5, "
                                  "(2,4]:9, (4,8]:13, (8,16]:8} schema 0 zeros 1");
        arena_free(a);
    }
    arena_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_the_nearest_doubles_but_for_known_ones),
        cmocka_unit_test(bounds_go_from_schema_to_schema),
        cmocka_unit_test(walks_go_both_ways),
        cmocka_unit_test(sums_reconcile_layouts),
        cmocka_unit_test(sums_do_not_depend_on_the_order),
        cmocka_unit_test(sums_have_all_observations),
        cmocka_unit_test(sums_keep_what_cancels),
        cmocka_unit_test(a_sum_of_one_has_all_its_buckets),
        cmocka_unit_test(other_bounds_take_no_memory_each_time),
        cmocka_unit_test(means_do_not_overflow),
        cmocka_unit_test(wide_gaps_survive),
        cmocka_unit_test(scaling_by_a_negative_makes_a_gauge),
        cmocka_unit_test(equality_ignores_empty_spans_and_hints),
        cmocka_unit_test(resets_are_found),
        cmocka_unit_test(between_goes_from_one_to_the_other),
        cmocka_unit_test(full_arenas_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
