#include "ingest/otlp_delta.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db_tools.h"
#include "ingest/otlp.h"
#include "ingest/otlp_merge.h"
#include "ingest/otlp_writers.h"
#include "otlp_build.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { T0 = 1700000000 };

/* A store at a fixed time, and deltas that go into it. */
struct fixture {
    struct fake_clock clock;
    struct db *db;
    struct otlp_delta *delta;
    struct otlp otlp;
    struct otlp_options options;
    struct write_result res;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    struct db_options o = test_db_options(NULL);

    *state = fx;
    fake_clock_init(&fx->clock, T0 * 1000LL);
    o.clock = &fx->clock.clock;
    fx->db = open_db(&o);
    fx->delta = otlp_delta_new(1000);
    fx->options = otlp_options_default();
    return fx->delta ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    otlp_free(&fx->otlp);
    otlp_delta_free(fx->delta);
    db_close(fx->db);
    buf_free(&fx->res.text);
    free(fx);
    return 0;
}

static const char *const no_attributes[] = { NULL };

/* Reads one delta of a counter for (start, t] seconds from T0. */
static void read_delta(struct fixture *fx, const char *name, int start, int t, double v)
{
    struct buf point = { 0 }, data = { 0 }, scope = { 0 }, request = { 0 };

    otlp_put_times(&point, (T0 + start) * 1000LL, (T0 + t) * 1000LL);
    pb_put_double(&point, 4, v);
    pb_put_message(&data, 1, &point);
    pb_put_varint(&data, 2, 1);
    pb_put_varint(&data, 3, 1);
    otlp_put_metric(&scope, name, "", 7, &data);
    otlp_put_resource(&request, no_attributes, &scope);
    assert_int_equal(otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&request), NULL), OK);
    buf_free(&point);
    buf_free(&data);
    buf_free(&scope);
    /* the batch points into the request, so that it must live on */
    buf_free(&fx->res.text);
    fx->res = (struct write_result){ .text = request };
}

static void store(struct fixture *fx)
{
    struct write_result res = { 0 };

    assert_int_equal(otlp_delta_convert(fx->delta, &fx->otlp, fx->db, NULL), OK);
    assert_int_equal(db_append(fx->db, &fx->otlp.batch, &res, NULL), OK);
    otlp_delta_settle(fx->delta, &fx->otlp);
    buf_free(&res.text);
}

static void add(struct fixture *fx, int start, int t, double v)
{
    read_delta(fx, "d", start, t, v);
    store(fx);
}

static void expect_stored(struct fixture *fx, const double *want, size_t n)
{
    struct column c = read_series(fx->db, "d_total", INT64_MIN, INT64_MAX);

    assert_int_equal(c.n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(c.v[i] == want[i]);
    column_free(&c);
}

static void deltas_add_up_over_gaps(void **state)
{
    static const double want[] = { 5, 8, 18 };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    assert_true(fx->otlp.batch.start_ms[0] == T0 * 1000LL);
    add(fx, 10, 20, 3);
    assert_true(fx->otlp.batch.start_ms[0] == T0 * 1000LL); /* still that of the first */
    add(fx, 40, 50, 10);
    expect_stored(fx, want, 3);
}

static void a_restart_goes_on_with_what_is_stored(void **state)
{
    static const double want[] = { 5, 12 };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    otlp_delta_free(fx->delta);
    fx->delta = otlp_delta_new(1000);
    add(fx, 10, 20, 7);
    expect_stored(fx, want, 2);
}

static void a_delta_that_was_added_already_is_refused(void **state)
{
    static const double want[] = { 5, 8 };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    add(fx, 0, 10, 5); /* sent again */
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_OVERLAP], 1);
    assert_true(fx->otlp.points[0].dropped);
    add(fx, 5, 15, 100); /* another process */
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_OVERLAP], 1);
    assert_non_null(memmem(fx->otlp.text.ptr, fx->otlp.text.len, "service.instance.id", 19));
    add(fx, 10, 20, 3);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_OVERLAP], 0);
    expect_stored(fx, want, 2);
}

static void what_was_not_stored_is_added_when_it_comes_again(void **state)
{
    static const double want[] = { 5, 8 };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    read_delta(fx, "d", 10, 20, 3);
    assert_int_equal(otlp_delta_convert(fx->delta, &fx->otlp, fx->db, NULL), OK);
    otlp_delta_undo(fx->delta, &fx->otlp); /* the store said no */
    add(fx, 10, 20, 3);
    expect_stored(fx, want, 2);
}

static void totals_are_pushed_out_and_read_again(void **state)
{
    static const double want[] = { 5, 6 };
    struct fixture *fx = *state;
    char name[16];

    otlp_delta_free(fx->delta);
    fx->delta = otlp_delta_new(4);
    add(fx, 0, 10, 5);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "x%d", i);
        read_delta(fx, name, 0, 10, 1);
        store(fx);
        assert_true(otlp_delta_series(fx->delta) <= 4);
    }
    add(fx, 10, 20, 1);
    expect_stored(fx, want, 2);
}

static void a_delta_that_the_store_refuses_is_not_in_the_total(void **state)
{
    static const double want[] = { 5, 8 };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    add(fx, 10, 10 * 86400, 100); /* too far ahead */
    assert_true(fx->otlp.batch.series[0].n_rejected > 0);
    add(fx, 10, 20, 3);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_OVERLAP], 0);
    expect_stored(fx, want, 2);
}

static void a_delta_that_is_not_finite_is_refused(void **state)
{
    static const double want[] = { 5, 8 };
    static const double bad[] = { (double)NAN, (double)INFINITY, -(double)INFINITY };
    struct fixture *fx = *state;

    add(fx, 0, 10, 5);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        add(fx, 10, 15, bad[i]);
        assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 1);
        assert_non_null(
            memmem(fx->otlp.text.ptr, fx->otlp.text.len, "not a finite number: d_total", 28));
    }
    add(fx, 10, 20, 3);
    expect_stored(fx, want, 2);
}

/* ---- histograms ---- */

/* A delta of an exponential histogram with n observations in one bucket, count of them told. */
static void add_exponential(struct fixture *fx, int start, int t, uint8_t n, uint64_t count,
                            double sum)
{
    struct buf point = { 0 }, side = { 0 }, data = { 0 }, scope = { 0 }, request = { 0 };

    otlp_put_times(&point, (T0 + start) * 1000LL, (T0 + t) * 1000LL);
    pb_put_fixed64(&point, 4, count);
    pb_put_double(&point, 5, sum);
    pb_put_bytes(&side, 2, (struct bytes){ &n, 1 });
    pb_put_message(&point, 8, &side);
    pb_put_message(&data, 1, &point);
    pb_put_varint(&data, 2, 1);
    otlp_put_metric(&scope, "e", "", 10, &data);
    otlp_put_resource(&request, no_attributes, &scope);
    assert_int_equal(otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&request), NULL), OK);
    store(fx);
    buf_free(&point);
    buf_free(&side);
    buf_free(&data);
    buf_free(&scope);
    buf_free(&request);
}

static void a_histogram_that_contradicts_itself_is_not_in_the_total(void **state)
{
    struct fixture *fx = *state;
    struct column c;

    add_exponential(fx, 0, 10, 3, 3, 1);
    add_exponential(fx, 10, 20, 3, 9, 1);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 1);
    add_exponential(fx, 10, 20, 3, 3, (double)NAN);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 1);
    add_exponential(fx, 10, 20, 4, 4, 1);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 0);
    c = read_series(fx->db, "e", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 2);
    assert_true(c.h[1]->count == 7 && c.h[1]->sum == 2 && c.h[1]->positive.counts[0] == 7);
    column_free(&c);
}

static void totals_with_many_buckets_get_coarser(void **state)
{
    enum { N = 300 };
    struct histogram_span span = { 0, N };
    double counts[N];
    struct histogram *total = NULL, h;
    struct arena *a = arena_new(0), *scratch = arena_new(0);

    (void)state;
    for (size_t i = 0; i < N; i++)
        counts[i] = 1;
    for (int i = 0; i < 50; i++) {
        span.offset = i * 1000 - 25000;
        h = (struct histogram){ .schema = 8,
                                .is_integer = true,
                                .count = N,
                                .zero_threshold = 1e-128,
                                .positive = { &span, counts, 1, N } };
        assert_true(otlp_can_merge(&h));
        assert_true(otlp_merge(&total, &h, scratch, a));
        assert_int_equal(histogram_check(&h, NULL), OK);
        assert_true(histogram_identical(total, &h));
        assert_true(h.positive.n_counts <= OTLP_MERGED_BUCKETS);
        assert_true(h.count == (i + 1) * N);
    }
    assert_true(total->schema < 8 && total->schema > HISTOGRAM_MIN_SCHEMA);
    assert_true(arena_used(a) < 50 * 6000); /* what merging needed is not kept */
    h = (struct histogram){ .schema = HISTOGRAM_MIN_SCHEMA, .positive = { &span, counts, 1, N } };
    assert_false(otlp_can_merge(&h)); /* beyond the largest double */
    otlp_merged_free(total);
    arena_free(scratch);
    arena_free(a);
}

static struct histogram two_buckets(int32_t schema, const struct histogram_span *span,
                                    const double *counts)
{
    return (struct histogram){ .schema = schema,
                               .is_integer = true,
                               .count = counts[0] + counts[1],
                               .sum = 1.5,
                               .zero_threshold = 1e-128,
                               .positive = { span, counts, 1, 2 } };
}

static void histograms_add_up_at_the_coarser_scale(void **state)
{
    static const struct histogram_span span = { 1, 2 }, other = { 2, 2 };
    static const double counts[] = { 1, 2 };
    struct histogram *total = NULL, h = two_buckets(1, &span, counts);
    struct arena *a = arena_new(0), *scratch = arena_new(0);

    (void)state;
    assert_true(otlp_merge(&total, &h, scratch, a));
    h = two_buckets(0, &other, counts); /* buckets 2, 3; the total's 1, 2 become 1 */
    assert_true(otlp_merge(&total, &h, scratch, a));
    assert_true(histogram_identical(total, &h));
    assert_int_equal(histogram_check(&h, NULL), OK);
    assert_int_equal(h.schema, 0);
    assert_true(h.count == 6 && h.sum == 3);
    assert_int_equal(h.positive.n_spans, 1);
    assert_int_equal(h.positive.spans[0].offset, 1);
    assert_int_equal(h.positive.n_counts, 3);
    assert_true(h.positive.counts[0] == 3 && h.positive.counts[2] == 2);
    otlp_merged_free(total);
    arena_free(scratch);
    arena_free(a);
}

static void histograms_with_other_bounds_begin_anew(void **state)
{
    static const struct histogram_span span = { 0, 2 };
    static const double counts[] = { 1, 2 }, bounds[] = { 1, 2, 3 };
    struct histogram *total = NULL, h = two_buckets(HISTOGRAM_CUSTOM_SCHEMA, &span, counts);
    struct arena *a = arena_new(0), *scratch = arena_new(0);

    (void)state;
    h.zero_threshold = 0;
    h.custom = bounds;
    h.n_custom = 2;
    assert_true(otlp_merge(&total, &h, scratch, a));
    assert_true(otlp_merge(&total, &h, scratch, a));
    assert_true(total->count == 6);
    h = two_buckets(HISTOGRAM_CUSTOM_SCHEMA, &span, counts);
    h.zero_threshold = 0;
    h.custom = bounds;
    h.n_custom = 3;
    assert_true(otlp_merge(&total, &h, scratch, a));
    assert_true(total->count == 3);
    otlp_merged_free(total);
    arena_free(scratch);
    arena_free(a);
}

/* ---- two writers ---- */

/* A cumulative point as one of the processes sends it. */
static size_t write_as(struct otlp_writers *w, int start, int t, const char *instance,
                       struct buf *text)
{
    struct buf point = { 0 }, data = { 0 }, scope = { 0 }, request = { 0 };
    const char *with[] = { "service.instance.id", instance, NULL };
    struct otlp_options options = otlp_options_default();
    struct otlp o = { 0 };
    size_t found;

    otlp_put_times(&point, (T0 + start) * 1000LL, (T0 + t) * 1000LL);
    pb_put_double(&point, 4, 1);
    pb_put_message(&data, 1, &point);
    pb_put_varint(&data, 2, 2);
    otlp_put_metric(&scope, "c", "", 7, &data);
    otlp_put_resource(&request, instance ? with : no_attributes, &scope);
    assert_int_equal(otlp_read(&o, &options, buf_as_bytes(&request), NULL), OK);
    found = otlp_writers_check(w, &o, text);
    otlp_free(&o);
    buf_free(&point);
    buf_free(&data);
    buf_free(&scope);
    buf_free(&request);
    return found;
}

static void processes_that_take_turns_are_noticed(void **state)
{
    struct otlp_writers *w = otlp_writers_new();
    struct buf text = { 0 };

    (void)state;
    assert_int_equal(write_as(w, 0, 10, NULL, &text), 0);
    assert_int_equal(write_as(w, 5, 15, NULL, &text), 0); /* maybe started again */
    assert_int_equal(write_as(w, 0, 20, NULL, &text), 1); /* but here is the first one again */
    assert_non_null(memmem(text.ptr, text.len, "service.instance.id", 19));
    assert_int_equal(write_as(w, 5, 25, NULL, &text), 0);
    assert_int_equal(write_as(w, 0, 30, NULL, &text), 1);
    buf_free(&text);
    otlp_writers_free(w);
}

static void restarts_and_late_points_are_no_second_writer(void **state)
{
    struct otlp_writers *w = otlp_writers_new();
    struct buf text = { 0 };

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(write_as(w, 10 * i, 10 * i + 5, NULL, &text), 0);
    assert_int_equal(write_as(w, 80, 85, NULL, &text), 0); /* sent again, late */
    assert_int_equal(write_as(w, 0, 200, "a", &text), 0);  /* named apart */
    assert_int_equal(write_as(w, 100, 210, "a", &text), 0);
    assert_int_equal(write_as(w, 0, 220, "a", &text), 0);
    assert_int_equal(text.len, 0);
    otlp_writers_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deltas_add_up_over_gaps),
        TEST(a_restart_goes_on_with_what_is_stored),
        TEST(a_delta_that_was_added_already_is_refused),
        TEST(what_was_not_stored_is_added_when_it_comes_again),
        TEST(totals_are_pushed_out_and_read_again),
        TEST(a_delta_that_the_store_refuses_is_not_in_the_total),
        TEST(a_delta_that_is_not_finite_is_refused),
        TEST(a_histogram_that_contradicts_itself_is_not_in_the_total),
        cmocka_unit_test(totals_with_many_buckets_get_coarser),
        cmocka_unit_test(histograms_add_up_at_the_coarser_scale),
        cmocka_unit_test(histograms_with_other_bounds_begin_anew),
        cmocka_unit_test(processes_that_take_turns_are_noticed),
        cmocka_unit_test(restarts_and_late_points_are_no_second_writer),
    };

    return cmocka_run_group_tests_name("otlp_delta", tests, NULL, NULL);
}
