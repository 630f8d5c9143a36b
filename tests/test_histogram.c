#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "storage/histogram.h"
#include "storage/sample.h"

#include "base/banned.h"

static const struct histogram_span two_spans[] = { { -2, 2 }, { 3, 1 } };
static const struct histogram_span one_span[] = { { 0, 3 } };
static const double counts[] = { 1, 5, 2 }, fractions[] = { 0.5, 0, 1e300 };
static const double bounds[] = { 0.1, 1 };

static struct histogram integer_histogram(void)
{
    return (struct histogram){ .schema = 3,
                               .hint = HINT_RESET,
                               .is_integer = true,
                               .count = 18,
                               .sum = -3.25,
                               .zero_threshold = 0.001,
                               .zero_count = 2,
                               .positive = { two_spans, counts, 2, 3 },
                               .negative = { one_span, counts, 1, 3 } };
}

static struct histogram custom_histogram(void)
{
    return (struct histogram){ .schema = HISTOGRAM_CUSTOM_SCHEMA,
                               .hint = HINT_GAUGE,
                               .count = 7,
                               .sum = 1e9,
                               .positive = { one_span, fractions, 1, 3 },
                               .custom = bounds,
                               .n_custom = 2 };
}

static void encodings_come_back(void **state)
{
    struct histogram cases[] = { integer_histogram(),
                                 custom_histogram(),
                                 { .sum = stale_nan(), .is_integer = true } };
    struct arena *a = arena_new(0);
    struct buf b = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        histogram_encode(&b, &cases[i]);
    assert_false(b.failed);
    struct reader r = reader_on(buf_as_bytes(&b));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct histogram h;

        assert_int_equal(histogram_decode(&r, a, &h, NULL), OK);
        assert_true(histogram_identical(&h, &cases[i]));
    }
    assert_int_equal(reader_left(&r), 0);
    buf_free(&b);
    arena_free(a);
}

static void cut_encodings_are_corrupt(void **state)
{
    struct histogram h = integer_histogram(), out;
    struct arena *a = arena_new(0);
    struct buf b = { 0 };

    (void)state;
    histogram_encode(&b, &h);
    for (size_t n = 0; n < b.len; n++) {
        struct reader r = reader_on((struct bytes){ b.ptr, n });

        assert_int_equal(histogram_decode(&r, a, &out, NULL), ERR_CORRUPT);
    }
    buf_free(&b);
    arena_free(a);
}

static void checks_say_what_prometheus_says(void **state)
{
    static const struct histogram_span negative_gap[] = { { 0, 1 }, { -1, 2 } };
    static const double minus[] = { 1, -5, 2 }, falling[] = { 1, 0.5 };
    const struct {
        struct histogram h;
        const char *text;
    } cases[] = {
        { { .schema = 9 },
          "histogram has an invalid schema, which must be between -4 and 8 for exponential "
          "buckets, or -53 for custom buckets, got schema 9" },
        { { .positive = { negative_gap, counts, 2, 3 } },
          "positive side: span number 2 with offset -1: histogram has a span whose offset is "
          "negative" },
        { { .negative = { one_span, counts, 1, 2 } },
          "negative side: spans need 3 buckets, have 2 buckets: histogram spans specify different "
          "number of buckets than provided" },
        { { .positive = { one_span, minus, 1, 3 } },
          "positive side: bucket number 2 has observation count of -5: histogram has a bucket "
          "whose observation count is negative" },
        { { .is_integer = true, .count = 9, .positive = { one_span, counts, 1, 3 } },
          "8 observations found in buckets, but the Count field is 9: histogram's observation "
          "count should equal the number of observations found in the buckets (in absence of "
          "NaN)" },
        { { .schema = -53, .custom = falling, .n_custom = 2 },
          "custom buckets: histogram custom bounds must be in strictly increasing order: bound 2 "
          "is 0.5 after 1" },
        { { .schema = -53,
            .custom = bounds,
            .n_custom = 1,
            .positive = { one_span, counts, 1, 3 } },
          "custom buckets: only 1 custom bounds defined which is insufficient to cover total span "
          "length of 3: histogram custom bounds are too few" },
        { { .custom = bounds, .n_custom = 1 },
          "histogram with exponential schema must not have custom bounds" },
        { { .sum = stale_nan(), .is_integer = true, .count = 0x1p60 },
          "a staleness marker has observations or buckets" },
        { { .sum = stale_nan(), .positive = { one_span, counts, 1, 3 } },
          "a staleness marker has observations or buckets" },
        { { .sum = stale_nan(), .schema = -53, .custom = bounds, .n_custom = 2 },
          "a staleness marker has observations or buckets" },
        { { .sum = stale_nan(), .hint = HINT_COUNT }, "4 is not a counter reset hint" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = err_in(a);

        assert_int_equal(histogram_check(&cases[i].h, &err), ERR_BAD_DATA);
        assert_string_equal(err_text(&err), cases[i].text);
    }
    arena_free(a);
}

static void good_histograms_pass(void **state)
{
    struct histogram cases[] = { integer_histogram(),
                                 custom_histogram(),
                                 { .sum = stale_nan(), .schema = 99 },
                                 { .is_integer = true,
                                   .sum = f64_from_bits(QUIET_NAN_BITS),
                                   .count = 9,
                                   .positive = { one_span, counts, 1, 3 } } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(histogram_check(&cases[i], NULL), OK);
}

static void columns_keep_histograms_beside_floats(void **state)
{
    struct histogram h = integer_histogram(), stale = { .sum = stale_nan() };
    struct column c = { 0 };

    (void)state;
    assert_true(column_add(&c, 3, 0.5));
    assert_true(column_add_histogram(&c, 2, &h));
    assert_true(column_set_start(&c, 1));
    for (int64_t t = 4; t < 200; t++)
        assert_true(column_add(&c, t, 1));
    assert_true(column_add_histogram(&c, 200, &stale));
    assert_true(column_add(&c, 2, 9)); /* not the first at its time */
    assert_true(column_normalise(&c));
    assert_int_equal(c.n, 199);
    assert_true(histogram_identical(c.h[0], &h));
    assert_int_equal(c.start_ms[0], 1);
    assert_true(c.v[0] == -3.25 && !c.h[1] && c.v[1] == 0.5 && c.start_ms[1] == 0);
    assert_true(is_stale(c.v[198]) && c.h[198]);
    column_clear(&c);
    assert_true(column_add(&c, 1, 1));
    assert_null(c.h);
    column_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodings_come_back),
        cmocka_unit_test(cut_encodings_are_corrupt),
        cmocka_unit_test(checks_say_what_prometheus_says),
        cmocka_unit_test(good_histograms_pass),
        cmocka_unit_test(columns_keep_histograms_beside_floats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
