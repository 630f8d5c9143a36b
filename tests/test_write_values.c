/* Every field of the Histogram message, and its limits. */
#include "ingest/write_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "pb_build.h"

#include "base/banned.h"

struct fixture {
    struct write_values values;
    struct buf msg, sub; /* under construction */
    struct arena *arena;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    if (!fx || !(fx->arena = arena_new(0)))
        return -1;
    fx->err = err_in(fx->arena);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    write_values_free(&fx->values);
    buf_free(&fx->msg);
    buf_free(&fx->sub);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

/* Reads what is under construction and gives the histogram. */
static const struct write_histogram *read(struct fixture *fx)
{
    struct pb_reader r = pb_on(buf_as_bytes(&fx->msg));

    assert_int_equal(write_values_read_histogram(&fx->values, &r, &fx->err), OK);
    assert_int_equal(r.fault, PB_NO_FAULT);
    buf_clear(&fx->msg);
    return &fx->values.histograms[fx->values.n_histograms - 1];
}

static void put_span(struct fixture *fx, uint32_t field, int32_t offset, uint32_t length)
{
    pb_put_varint(&fx->sub, 1, (uint32_t)zigzag(offset));
    pb_put_varint(&fx->sub, 2, length);
    pb_put_message(&fx->msg, field, &fx->sub);
}

static void put_deltas(struct fixture *fx, uint32_t field, size_t n, const int64_t *deltas)
{
    for (size_t i = 0; i < n; i++)
        buf_uvarint(&fx->sub, zigzag(deltas[i]));
    pb_put_message(&fx->msg, field, &fx->sub);
}

static void put_doubles(struct fixture *fx, uint32_t field, size_t n, const double *v)
{
    for (size_t i = 0; i < n; i++)
        buf_u64(&fx->sub, f64_bits(v[i]));
    pb_put_message(&fx->msg, field, &fx->sub);
}

static void assert_side(const struct histogram_side *s, size_t n_spans,
                        const struct histogram_span *spans, size_t n, const double *counts)
{
    assert_int_equal(s->n_spans, n_spans);
    assert_int_equal(s->n_counts, n);
    for (size_t i = 0; i < n_spans; i++)
        assert_true(s->spans[i].offset == spans[i].offset && s->spans[i].length == spans[i].length);
    for (size_t i = 0; i < n; i++)
        assert_true(s->counts[i] == counts[i]);
}

static void an_integer_histogram_has_all_its_fields(void **state)
{
    struct fixture *fx = *state;
    const struct write_histogram *h;

    pb_put_varint(&fx->msg, 1, 21);
    pb_put_double(&fx->msg, 3, 18.4);
    pb_put_varint(&fx->msg, 4, zigzag(-2));
    pb_put_double(&fx->msg, 5, 1e-128);
    pb_put_varint(&fx->msg, 6, 2);
    put_span(fx, 8, 5, 1);
    pb_put_varint(&fx->msg, 9, zigzag(4)); /* not packed */
    put_span(fx, 11, -3, 2);
    put_span(fx, 11, 7, 2);
    put_deltas(fx, 12, 3, (const int64_t[]){ 1, 2, -1 });
    pb_put_varint(&fx->msg, 12, zigzag(7)); /* both in one list */
    pb_put_varint(&fx->msg, 14, 2);
    pb_put_varint(&fx->msg, 15, 1700000000000);
    pb_put_varint(&fx->msg, 17, 1600000000000);
    pb_put_varint(&fx->msg, 99, 1); /* of a later version */
    h = read(fx);

    assert_true(h->t_ms == 1700000000000 && h->start_ms == 1600000000000);
    assert_true(h->h.is_integer && h->h.schema == -2 && h->h.hint == HINT_NO_RESET);
    assert_true(h->h.count == 21 && h->h.sum == 18.4);
    assert_true(h->h.zero_threshold == 1e-128 && h->h.zero_count == 2);
    assert_side(&h->h.negative, 1, (const struct histogram_span[]){ { 5, 1 } }, 1,
                (const double[]){ 4 });
    assert_side(&h->h.positive, 2, (const struct histogram_span[]){ { -3, 2 }, { 7, 2 } }, 4,
                (const double[]){ 1, 3, 2, 9 });
    assert_int_equal(histogram_check(&h->h, &fx->err), OK);
}

static void presence_of_count_float_makes_a_float_histogram(void **state)
{
    struct fixture *fx = *state;
    const struct write_histogram *h;

    pb_put_double(&fx->msg, 2, 0);
    pb_put_double(&fx->msg, 7, 0.5);
    put_span(fx, 11, 0, 3);
    put_doubles(fx, 13, 2, (const double[]){ 0.25, 1.5 });
    pb_put_double(&fx->msg, 13, 3);
    put_deltas(fx, 12, 1, (const int64_t[]){ 9 }); /* of the other form: ignored */
    put_span(fx, 8, 1, 1);
    pb_put_double(&fx->msg, 10, 7);
    pb_put_varint(&fx->msg, 14, 3);
    h = read(fx);
    assert_true(!h->h.is_integer && h->h.count == 0 && h->h.zero_count == 0.5);
    assert_int_equal(h->h.hint, HINT_GAUGE);
    assert_side(&h->h.positive, 1, (const struct histogram_span[]){ { 0, 3 } }, 3,
                (const double[]){ 0.25, 1.5, 3 });
    assert_side(&h->h.negative, 1, (const struct histogram_span[]){ { 1, 1 } }, 1,
                (const double[]){ 7 });

    pb_put_double(&fx->msg, 2, 3);
    pb_put_varint(&fx->msg, 1, 4); /* of a oneof the last member counts */
    h = read(fx);
    assert_true(h->h.is_integer && h->h.count == 4);
}

static void custom_buckets_are_read(void **state)
{
    struct fixture *fx = *state;
    const struct write_histogram *h;

    pb_put_varint(&fx->msg, 1, 3);
    pb_put_varint(&fx->msg, 4, zigzag(-53));
    put_span(fx, 11, 0, 2);
    put_deltas(fx, 12, 2, (const int64_t[]){ 1, 1 });
    put_doubles(fx, 16, 1, (const double[]){ 5 });
    pb_put_double(&fx->msg, 16, 10);
    h = read(fx);
    assert_int_equal(h->h.schema, HISTOGRAM_CUSTOM_SCHEMA);
    assert_true(h->h.n_custom == 2 && h->h.custom[0] == 5 && h->h.custom[1] == 10);
    assert_int_equal(histogram_check(&h->h, &fx->err), OK);
}

static void a_staleness_marker_has_nothing_but_its_sum(void **state)
{
    struct fixture *fx = *state;
    const struct write_histogram *h;

    pb_put_double(&fx->msg, 3, stale_nan());
    pb_put_varint(&fx->msg, 4, zigzag(99));
    put_span(fx, 11, 0, 2);
    pb_put_varint(&fx->msg, 15, 7);
    h = read(fx);
    assert_true(is_stale(h->h.sum) && h->t_ms == 7 && h->h.positive.n_spans == 0);
    assert_int_equal(h->h.schema, 0);
    assert_int_equal(histogram_check(&h->h, &fx->err), OK);
}

/* Schema 10 to 8: index i becomes ceil(i / 4). */
static void too_fine_schemas_are_reduced(void **state)
{
    struct fixture *fx = *state;
    const struct write_histogram *h;

    pb_put_varint(&fx->msg, 1, 28);
    pb_put_varint(&fx->msg, 4, zigzag(10));
    put_span(fx, 11, -5, 2); /* -5 -4: -1 -1 */
    put_span(fx, 11, 3, 3);  /* 0 1 2: 0 1 1 */
    put_span(fx, 11, 6, 2);  /* 9 10: 3 3 */
    put_deltas(fx, 12, 7, (const int64_t[]){ 1, 1, 1, 1, 1, 1, 1 });
    h = read(fx);
    assert_int_equal(h->h.schema, 8);
    assert_side(&h->h.positive, 2, (const struct histogram_span[]){ { -1, 3 }, { 1, 1 } }, 4,
                (const double[]){ 3, 3, 9, 13 });
    assert_int_equal(histogram_check(&h->h, &fx->err), OK);

    pb_put_varint(&fx->msg, 4, zigzag(53)); /* beyond what is known */
    assert_int_equal(read(fx)->h.schema, 53);
    pb_put_varint(&fx->msg, 4, (uint32_t)zigzag(INT32_MIN));
    assert_true(read(fx)->h.schema == INT32_MIN);
    pb_put_varint(&fx->msg, 4, zigzag(9));
    put_span(fx, 11, 0, 2); /* without buckets */
    assert_int_equal(read(fx)->h.schema, 9);
}

static void counts_that_overflow_are_no_counts(void **state)
{
    struct fixture *fx = *state;

    pb_put_varint(&fx->msg, 1, 1);
    put_span(fx, 11, 0, 2);
    put_deltas(fx, 12, 2, (const int64_t[]){ INT64_MAX, INT64_MAX });
    assert_int_equal(histogram_check(&read(fx)->h, &fx->err), ERR_BAD_DATA);
}

static void faults_leave_nothing_behind(void **state)
{
    struct fixture *fx = *state;
    struct pb_reader r;

    pb_put_varint(&fx->msg, 3, 1); /* sum is a double */
    r = pb_on(buf_as_bytes(&fx->msg));
    assert_int_equal(write_values_read_histogram(&fx->values, &r, &fx->err), OK);
    assert_int_equal(r.fault, PB_WRONG_WIRE);
    assert_int_equal(fx->values.n_histograms, 0);
}

static void a_request_may_not_have_more_than_so_many_buckets(void **state)
{
    struct fixture *fx = *state;
    struct pb_reader r;

    for (int i = 0; i <= WRITE_MAX_NUMBERS; i++)
        buf_u8(&fx->sub, 0);
    pb_put_message(&fx->msg, 12, &fx->sub);
    r = pb_on(buf_as_bytes(&fx->msg));
    assert_int_equal(write_values_read_histogram(&fx->values, &r, &fx->err), ERR_TOO_LARGE);
    assert_string_equal(err_text(&fx->err),
                        "remote write: more than 4000000 buckets and spans in one request");
    write_values_forget(&fx->values);
    buf_clear(&fx->msg);
    assert_true(read(fx)->h.is_integer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_integer_histogram_has_all_its_fields),
        CASE(presence_of_count_float_makes_a_float_histogram),
        CASE(custom_buckets_are_read),
        CASE(a_staleness_marker_has_nothing_but_its_sum),
        CASE(too_fine_schemas_are_reduced),
        CASE(counts_that_overflow_are_no_counts),
        CASE(faults_leave_nothing_behind),
        CASE(a_request_may_not_have_more_than_so_many_buckets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
