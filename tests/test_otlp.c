#include "ingest/otlp.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "otlp_build.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { T = 1700000000 };
#define T_MS (T * 1000LL)

/* Every test has a reader, and a request under construction. */
struct fixture {
    struct otlp otlp;
    struct otlp_options options;
    struct arena *arena;
    struct err err;
    struct buf point, data, scope, request;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    if (!fx || !(fx->arena = arena_new(0)))
        return -1;
    fx->err = err_in(fx->arena);
    fx->options = otlp_options_default();
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    otlp_free(&fx->otlp);
    buf_free(&fx->point);
    buf_free(&fx->data);
    buf_free(&fx->scope);
    buf_free(&fx->request);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

static const char *const no_attributes[] = { NULL };

static void finish(struct fixture *fx, const char *const *resource)
{
    otlp_put_resource(&fx->request, resource, &fx->scope);
}

static void read_ok(struct fixture *fx)
{
    if (otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&fx->request), &fx->err) != OK)
        fail_msg("%s", err_text(&fx->err));
}

/* A number with one attribute. */
static void put_number(struct fixture *fx, const char *key, const char *value, int64_t start_ms,
                       int64_t t_ms, double v)
{
    if (key)
        otlp_put_attribute(&fx->point, 7, key, value);
    otlp_put_times(&fx->point, start_ms, t_ms);
    pb_put_double(&fx->point, 4, v);
    pb_put_message(&fx->data, 1, &fx->point);
}

static void put_sum_kind(struct fixture *fx, uint64_t temporality, bool monotonic)
{
    pb_put_varint(&fx->data, 2, temporality);
    pb_put_varint(&fx->data, 3, monotonic);
}

static void expect_series(const struct fixture *fx, size_t i, const char *want)
{
    const struct write_series *s = &fx->otlp.batch.series[i];
    struct buf b = { 0 };

    assert_true(i < fx->otlp.batch.n_series);
    labels_print_metric(&b, (struct labels){ s->labels, s->n_labels });
    if (!str_is(buf_as_str(&b), want))
        fail_msg("series %zu is %.*s, not %s", i, STR_ARG(buf_as_str(&b)), want);
    buf_free(&b);
    for (size_t k = 1; k < s->n_labels; k++) /* as db_append() recognises them fastest */
        assert_true(str_cmp(s->labels[k - 1].name, s->labels[k].name) < 0);
}

static struct sample sample_of(const struct fixture *fx, size_t i)
{
    assert_int_equal(fx->otlp.batch.series[i].n_samples, 1);
    return fx->otlp.batch.samples[fx->otlp.batch.series[i].first_sample];
}

static void expect_sample(const struct fixture *fx, size_t i, const char *series, double v)
{
    expect_series(fx, i, series);
    assert_true(sample_of(fx, i).v == v);
    assert_true(sample_of(fx, i).t_ms == T_MS);
}

static bool mentions(const struct fixture *fx, const char *text)
{
    return memmem(fx->otlp.text.ptr, fx->otlp.text.len, text, strlen(text)) != NULL;
}

/* ---- kinds of data ---- */

static void sums_and_gauges_become_one_series_each(void **state)
{
    struct fixture *fx = *state;

    put_number(fx, "gen_ai.request.model", "gpt-4o", T_MS - 5000, T_MS, 7);
    put_sum_kind(fx, 2, true);
    otlp_put_metric(&fx->scope, "llm.requests", "{request}", 7, &fx->data);
    put_number(fx, NULL, NULL, 0, T_MS, 1.5);
    put_sum_kind(fx, 2, false);
    otlp_put_metric(&fx->scope, "llm.active", "", 7, &fx->data);
    otlp_put_times(&fx->point, T_MS - 5000, T_MS);
    pb_put_fixed64(&fx->point, 6, (uint64_t)-3); /* an integer */
    pb_put_message(&fx->data, 1, &fx->point);
    otlp_put_metric(&fx->scope, "temperature", "Cel", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 3);
    assert_int_equal(fx->otlp.n_points, 3);
    expect_sample(fx, 0, "llm_requests_total{gen_ai_request_model=\"gpt-4o\"}", 7);
    assert_true(fx->otlp.batch.start_ms[0] == T_MS - 5000);
    expect_sample(fx, 1, "llm_active", 1.5);
    expect_sample(fx, 2, "temperature_celsius", -3);
    assert_true(fx->otlp.batch.start_ms[2] == 0); /* a gauge has none */
    assert_int_equal(fx->otlp.batch.n_metadata, 3);
    assert_int_equal(fx->otlp.batch.metadata[0].type, METRIC_COUNTER);
    assert_int_equal(fx->otlp.batch.metadata[1].type, METRIC_GAUGE);
    assert_int_equal(fx->otlp.batch.metadata[2].type, METRIC_GAUGE);
    assert_true(str_is(fx->otlp.batch.metadata[2].unit, "celsius"));
    assert_true(str_is(fx->otlp.batch.metadata[0].family, "llm_requests_total"));
}

static void put_histogram_point(struct fixture *fx, const uint64_t *counts, size_t n_counts,
                                const double *bounds, size_t n_bounds, uint64_t count)
{
    otlp_put_times(&fx->point, T_MS - 1000, T_MS);
    pb_put_fixed64(&fx->point, 4, count);
    pb_put_double(&fx->point, 5, 12.5);
    otlp_put_packed_fixed64(&fx->point, 6, counts, n_counts);
    otlp_put_packed_double(&fx->point, 7, bounds, n_bounds);
    otlp_put_attribute(&fx->point, 9, "model", "a");
}

static void end_histogram(struct fixture *fx, const char *name)
{
    pb_put_message(&fx->data, 1, &fx->point);
    pb_put_varint(&fx->data, 2, 2);
    otlp_put_metric(&fx->scope, name, "s", 9, &fx->data);
}

static const uint64_t counts[] = { 1, 2, 4 };
static const double bounds[] = { 0.01, 5 };

static void a_histogram_becomes_cumulative_buckets_sum_and_count(void **state)
{
    struct fixture *fx = *state;
    struct buf exemplar = { 0 };

    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    pb_put_fixed64(&exemplar, 2, (uint64_t)(T_MS - 3) * 1000000);
    pb_put_double(&exemplar, 3, 5); /* belongs to le="5" */
    pb_put_bytes(&exemplar, 5,
                 (struct bytes){ (const uint8_t *)"\x0f\xa0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16 });
    pb_put_bytes(&exemplar, 4, (struct bytes){ (const uint8_t *)"\0\0\0\0\0\0\0\0", 8 });
    otlp_put_attribute(&exemplar, 7, "user", "u1");
    pb_put_message(&fx->point, 8, &exemplar);
    buf_free(&exemplar);
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 5);
    assert_int_equal(fx->otlp.n_points, 1);
    expect_sample(fx, 0, "latency_seconds_sum{model=\"a\"}", 12.5);
    expect_sample(fx, 1, "latency_seconds_count{model=\"a\"}", 7);
    expect_sample(fx, 2, "latency_seconds_bucket{le=\"0.01\", model=\"a\"}", 1);
    expect_sample(fx, 3, "latency_seconds_bucket{le=\"5\", model=\"a\"}", 3);
    expect_sample(fx, 4, "latency_seconds_bucket{le=\"+Inf\", model=\"a\"}", 7);
    assert_int_equal(fx->otlp.batch.n_exemplars, 1);
    assert_int_equal(fx->otlp.batch.series[3].n_exemplars, 1);
    assert_true(fx->otlp.batch.exemplars[0].v == 5);
    assert_true(fx->otlp.batch.exemplars[0].t_ms == T_MS - 3);
    assert_int_equal(fx->otlp.batch.exemplars[0].labels.n, 2); /* no span id: all zeros */
    assert_true(str_is(fx->otlp.batch.exemplars[0].labels.items[0].value,
                       "0fa00000000000000000000000000001"));
}

static void put_exemplar(struct fixture *fx, double v, int64_t t_ms)
{
    struct buf exemplar = { 0 };

    pb_put_fixed64(&exemplar, 2, (uint64_t)t_ms * 1000000);
    pb_put_double(&exemplar, 3, v);
    pb_put_message(&fx->point, 8, &exemplar);
    buf_free(&exemplar);
}

static void exemplars_go_to_their_buckets_in_the_order_they_came(void **state)
{
    static const double values[] = { 9, 0.01, 2, 5, 0, (double)NAN, 1 };
    static const struct {
        size_t series;
        double v[3];
    } want[] = { { 2, { 0.01, 0, (double)NAN } }, { 3, { 2, 5, 1 } }, { 4, { 9 } } };
    struct fixture *fx = *state;
    size_t at = 0;

    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        put_exemplar(fx, values[i], T_MS);
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_exemplars, ARRAY_LEN(values));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct write_series *s = &fx->otlp.batch.series[want[i].series];

        assert_int_equal(s->first_exemplar, at);
        assert_int_equal(s->n_exemplars, i < 2 ? 3 : 1);
        for (size_t k = 0; k < s->n_exemplars; k++, at++)
            assert_true(f64_bits(fx->otlp.batch.exemplars[at].v) == f64_bits(want[i].v[k]));
    }
}

/* With work that grows by buckets times exemplars this test would take minutes. */
static void many_buckets_with_many_exemplars_are_read(void **state)
{
    enum { N = 100000 };
    struct fixture *fx = *state;
    double *many = calloc(N, sizeof *many);

    assert_non_null(many);
    for (int i = 0; i < N; i++)
        many[i] = i;
    put_histogram_point(fx, counts, 0, many, N, 7);
    for (int i = 0; i < N; i++)
        put_exemplar(fx, N - 1 - i, T_MS);
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_exemplars, N);
    for (int i = 0; i < N; i++)
        assert_true(fx->otlp.batch.exemplars[i].v == i);
    assert_int_equal(fx->otlp.batch.series[2 + N - 1].n_exemplars, 1);
    free(many);
}

static void numbers_that_are_not_packed_are_read_too(void **state)
{
    struct fixture *fx = *state;

    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_fixed64(&fx->point, 4, 7);
    for (size_t i = 0; i < 3; i++)
        pb_put_fixed64(&fx->point, 6, counts[i]);
    pb_put_double(&fx->point, 7, bounds[0]);
    otlp_put_packed_double(&fx->point, 7, bounds + 1, 1); /* and both ways mixed */
    end_histogram(fx, "h");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 4); /* no sum was given */
    expect_sample(fx, 1, "h_seconds_bucket{le=\"0.01\"}", 1);
    expect_sample(fx, 2, "h_seconds_bucket{le=\"5\"}", 3);
}

static void a_histogram_may_be_kept_native_with_its_bounds(void **state)
{
    struct fixture *fx = *state;
    const struct histogram *h;

    fx->options.custom_buckets = true;
    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 1);
    expect_series(fx, 0, "latency_seconds{model=\"a\"}");
    h = &fx->otlp.batch.histograms[0].h;
    assert_int_equal(histogram_check(h, NULL), OK);
    assert_int_equal(h->schema, HISTOGRAM_CUSTOM_SCHEMA);
    assert_int_equal(h->n_custom, 2);
    assert_true(h->custom[1] == 5 && h->count == 7 && h->positive.counts[2] == 4);
}

static void put_side(struct buf *point, uint32_t number, int32_t offset, const char *bucket_counts)
{
    struct buf side = { 0 };

    pb_put_varint(&side, 1, zigzag(offset));
    pb_put_text(&side, 2, bucket_counts); /* each byte a varint */
    pb_put_message(point, number, &side);
    buf_free(&side);
}

static void end_exponential(struct fixture *fx, int32_t scale, uint64_t count)
{
    otlp_put_times(&fx->point, T_MS - 1000, T_MS);
    pb_put_fixed64(&fx->point, 4, count);
    pb_put_double(&fx->point, 5, 4.5);
    pb_put_varint(&fx->point, 6, zigzag(scale));
    pb_put_message(&fx->data, 1, &fx->point);
    pb_put_varint(&fx->data, 2, 2);
    otlp_put_metric(&fx->scope, "e", "", 10, &fx->data);
}

static void an_exponential_histogram_becomes_a_native_one(void **state)
{
    struct fixture *fx = *state;
    const struct histogram *h;

    pb_put_fixed64(&fx->point, 7, 2); /* in the zero bucket */
    put_side(&fx->point, 8, -2, "\1\2\3");
    put_side(&fx->point, 9, 4, "\5");
    end_exponential(fx, 3, 13);
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_histograms, 1);
    h = &fx->otlp.batch.histograms[0].h;
    assert_int_equal(histogram_check(h, NULL), OK);
    assert_int_equal(h->schema, 3);
    assert_true(h->is_integer && h->count == 13 && h->sum == 4.5 && h->zero_count == 2);
    assert_int_equal(h->positive.n_spans, 1);
    assert_int_equal(h->positive.spans[0].offset, -1); /* called by the upper end */
    assert_int_equal(h->positive.n_counts, 3);
    assert_int_equal(h->negative.spans[0].offset, 5);
    assert_true(fx->otlp.batch.histograms[0].start_ms == T_MS - 1000);
}

static void scales_beyond_ours_are_made_coarser(void **state)
{
    struct fixture *fx = *state;
    const struct histogram *h;

    put_side(&fx->point, 8, -3, "\1\1\1\1\1\1"); /* -3..2 at 10 are -1, 0 at 8 */
    end_exponential(fx, 10, 6);
    end_exponential(fx, -5, 0);
    finish(fx, no_attributes);
    read_ok(fx);
    h = &fx->otlp.batch.histograms[0].h;
    assert_int_equal(h->schema, 8);
    assert_int_equal(h->positive.n_counts, 2);
    assert_int_equal(h->positive.spans[0].offset, 0);
    assert_true(h->positive.counts[0] == 3 && h->positive.counts[1] == 3);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 1);
    assert_true(mentions(fx, "scale -5"));
}

static void empty_buckets_end_spans(void **state)
{
    struct fixture *fx = *state;
    const struct histogram *h;
    struct buf side = { 0 };

    pb_put_varint(&side, 1, zigzag(0));
    pb_put_bytes(&side, 2, (struct bytes){ (const uint8_t *)"\0\1\0\0\1\0\0\0\1", 9 });
    pb_put_message(&fx->point, 8, &side);
    buf_free(&side);
    end_exponential(fx, 0, 3);
    finish(fx, no_attributes);
    read_ok(fx);
    h = &fx->otlp.batch.histograms[0].h;
    assert_int_equal(histogram_check(h, NULL), OK);
    assert_int_equal(h->positive.n_spans, 2);
    assert_int_equal(h->positive.spans[0].offset, 2);
    assert_int_equal(h->positive.spans[0].length, 4);
    assert_int_equal(h->positive.spans[1].offset, 3);
    assert_int_equal(h->positive.spans[1].length, 1);
}

static void a_summary_becomes_its_quantiles_sum_and_count(void **state)
{
    struct fixture *fx = *state;
    struct buf quantile = { 0 };

    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_fixed64(&fx->point, 4, 3);
    pb_put_double(&fx->point, 5, 6);
    pb_put_double(&quantile, 1, 0.99);
    pb_put_double(&quantile, 2, 4);
    pb_put_message(&fx->point, 6, &quantile);
    buf_free(&quantile);
    pb_put_message(&fx->data, 1, &fx->point);
    otlp_put_metric(&fx->scope, "s", "", 11, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 3);
    expect_sample(fx, 0, "s_sum", 6);
    expect_sample(fx, 1, "s_count", 3);
    expect_sample(fx, 2, "s{quantile=\"0.99\"}", 4);
}

static void no_recorded_value_is_a_staleness_marker(void **state)
{
    struct fixture *fx = *state;

    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_varint(&fx->point, 8, 1);
    pb_put_message(&fx->data, 1, &fx->point);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_varint(&fx->point, 10, 1);
    end_histogram(fx, "h");
    pb_put_varint(&fx->point, 10, 1);
    end_exponential(fx, 0, 0);
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 5); /* g, h's sum, count and +Inf, e */
    for (size_t i = 0; i < 4; i++)
        assert_true(is_stale(sample_of(fx, i).v));
    assert_true(is_stale(fx->otlp.batch.histograms[0].h.sum));
}

static void a_sum_that_is_the_staleness_marker_leaves_nothing_else(void **state)
{
    struct fixture *fx = *state;
    double stale = stale_nan();

    fx->options.custom_buckets = true;
    put_side(&fx->point, 8, 0, "\1\2");
    pb_put_double(&fx->point, 5, stale);
    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_fixed64(&fx->point, 4, UINT64_C(1) << 60);
    pb_put_message(&fx->data, 1, &fx->point);
    pb_put_varint(&fx->data, 2, 2);
    otlp_put_metric(&fx->scope, "e", "", 10, &fx->data);
    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    pb_put_double(&fx->point, 5, stale); /* the last one counts */
    end_histogram(fx, "h");
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_histograms, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct histogram *h = &fx->otlp.batch.histograms[i].h;

        assert_true(is_stale(h->sum) && h->count == 0);
        assert_int_equal(h->positive.n_spans + h->positive.n_counts + h->n_custom, 0);
        assert_int_equal(histogram_check(h, NULL), OK);
    }
}

static void bucket_counts_that_are_cut_short_are_bad_data(void **state)
{
    struct fixture *fx = *state;
    struct buf side = { 0 };

    pb_put_bytes(&side, 2, (struct bytes){ (const uint8_t *)"\1\2\200", 3 });
    pb_put_message(&fx->point, 8, &side);
    buf_free(&side);
    end_exponential(fx, 0, 1);
    finish(fx, no_attributes);
    assert_int_equal(otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&fx->request), &fx->err),
                     ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&fx->err), "truncated varint"));
}

/* ---- labels ---- */

static void a_resource_gives_job_instance_and_target_info(void **state)
{
    static const char *const resource[] = { "service.name",
                                            "api",
                                            "service.namespace",
                                            "shop",
                                            "service.instance.id",
                                            "i-1",
                                            "cloud.region",
                                            "eu",
                                            NULL };
    struct fixture *fx = *state;

    put_number(fx, "job", "mine", 0, T_MS - 400000, 1); /* the resource's wins */
    put_number(fx, NULL, NULL, 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, resource);
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 3);
    assert_int_equal(fx->otlp.n_points, 2);
    expect_series(fx, 0, "g{instance=\"i-1\", job=\"shop/api\"}");
    expect_series(fx, 2, "target_info{cloud_region=\"eu\", instance=\"i-1\", job=\"shop/api\"}");
    assert_int_equal(fx->otlp.batch.series[2].n_samples, 4); /* every 150 s, and at the end */
    assert_true(fx->otlp.batch.samples[2].t_ms == T_MS - 400000);
    assert_true(fx->otlp.batch.samples[5].t_ms == T_MS);
    assert_false(fx->otlp.points[0].anonymous);
}

static void target_info_needs_an_identity_and_something_to_tell(void **state)
{
    static const char *const resources[][5] = {
        { "service.name", "api", NULL },
        { "cloud.region", "eu", NULL },
        { "service.namespace", "x", "cloud.region", "eu", NULL },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        put_number(fx, NULL, NULL, 0, T_MS, 1);
        otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
        buf_clear(&fx->request);
        finish(fx, resources[i]);
        read_ok(fx);
        assert_int_equal(fx->otlp.batch.n_series, 1);
    }
}

/* Times far apart must not ask for a sample for every few minutes between them. */
static void target_info_is_bounded(void **state)
{
    static const char *const resource[] = { "service.name", "api", "cloud.region", "eu", NULL };
    struct fixture *fx = *state;

    put_number(fx, NULL, NULL, 0, 0, 1);
    put_number(fx, NULL, NULL, 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, resource);
    read_ok(fx);
    assert_true(fx->otlp.batch.series[2].n_samples < 1000);
}

static void resource_attributes_can_be_promoted(void **state)
{
    static const char *const resource[] = {
        "service.name", "api", "cloud.region", "eu", "host.name", "h1", NULL
    };
    static const struct str promote[] = { { "cloud.region", 12 } };
    static const struct str ignore[] = { { "host.name", 9 } };
    struct fixture *fx = *state;

    put_number(fx, NULL, NULL, 0, T_MS, 1);
    put_number(fx, "cloud.region", "us", 0, T_MS, 1); /* a data point's own wins */
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, resource);
    fx->options.promote = promote;
    fx->options.n_promote = 1;
    read_ok(fx);
    expect_series(fx, 0, "g{cloud_region=\"eu\", job=\"api\"}");
    expect_series(fx, 1, "g{cloud_region=\"us\", job=\"api\"}");
    fx->options.promote_all = true;
    fx->options.ignore = ignore;
    fx->options.n_ignore = 1;
    read_ok(fx);
    expect_series(fx, 0, "g{cloud_region=\"eu\", job=\"api\", service_name=\"api\"}");
}

static void a_scope_can_be_promoted(void **state)
{
    struct fixture *fx = *state;
    struct buf scope = { 0 };

    pb_put_text(&scope, 1, "openai");
    pb_put_text(&scope, 2, "1.2");
    otlp_put_attribute(&scope, 3, "a.b", "c");
    pb_put_message(&fx->scope, 1, &scope);
    buf_free(&scope);
    put_number(fx, NULL, NULL, 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    expect_series(fx, 0, "g");
    fx->options.promote_scope = true;
    read_ok(fx);
    expect_series(
        fx, 0, "g{otel_scope_a_b=\"c\", otel_scope_name=\"openai\", otel_scope_version=\"1.2\"}");
}

/* Values of every type, written by hand as AnyValue. */
static void attribute_values_become_text(void **state)
{
    static const struct {
        const char *any;
        size_t n;
        const char *want;
    } cases[] = {
        { "\x10\x01", 2, "true" },
        { "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "-1" },
        { "\x21\0\0\0\0\0\0\xf8\x3f", 9, "1.5" },
        { "\x2a\x08\x0a\x02\x18\x05\x0a\x02\x10\x00", 10, "[5,false]" },
        { "\x32\x0a\x0a\x08\x0a\x01k\x12\x03\x0a\x01v", 12, "{\"k\":\"v\"}" },
        { "\x3a\x04\0\1\2\3", 6, "AAECAw==" },
        { "\x0a\x01\x61\x0a\x01\x62", 6, "b" }, /* the last member counts */
    };
    struct fixture *fx = *state;
    struct buf pair = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pb_put_text(&pair, 1, "k");
        pb_put_bytes(&pair, 2, (struct bytes){ (const uint8_t *)cases[i].any, cases[i].n });
        pb_put_message(&fx->point, 7, &pair);
        put_number(fx, NULL, NULL, 0, T_MS, 1);
    }
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct write_series *s = &fx->otlp.batch.series[i];

        assert_int_equal(s->n_labels, 2);
        assert_true(str_is(s->labels[1].value, cases[i].want));
    }
    buf_free(&pair);
}

static void attributes_that_become_one_label_are_joined_by_key(void **state)
{
    struct fixture *fx = *state;

    otlp_put_attribute(&fx->point, 7, "a_b", "3");
    otlp_put_attribute(&fx->point, 7, "a.b", "2");
    otlp_put_attribute(&fx->point, 7, "a-b", "1");
    put_number(fx, "z", "9", 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    expect_series(fx, 0, "g{a_b=\"1;2;3\", z=\"9\"}");
    fx->options.strategy = OTLP_UTF8;
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.series[0].n_labels, 5);
}

static void attributes_without_value_are_no_labels(void **state)
{
    struct fixture *fx = *state;

    put_number(fx, "a", "", 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    expect_series(fx, 0, "g");
}

/* The keys of the data point before are tried first; whatever comes, labels are the same as without
 * that. */
static void every_data_point_has_its_own_labels(void **state)
{
    static const char *const resource[] = { "service.name", "api", NULL };
    static const struct {
        const char *pairs[7]; /* key, value, ..., NULL */
        const char *want;
    } cases[] = {
        { { "a.b", "1", "c", "2", NULL }, "g{a_b=\"1\", c=\"2\", job=\"api\"}" },
        { { "a.b", "3", "c", "4", NULL }, "g{a_b=\"3\", c=\"4\", job=\"api\"}" },
        { { "c", "5", "a.b", "6", NULL }, "g{a_b=\"6\", c=\"5\", job=\"api\"}" },
        { { "c", "7", NULL }, "g{c=\"7\", job=\"api\"}" },
        { { "c", "8", "z", "9", NULL }, "g{c=\"8\", job=\"api\", z=\"9\"}" },
        { { "c", "", "z", "9", NULL }, "g{job=\"api\", z=\"9\"}" },
        { { "c", "1", "job", "x", NULL }, "g{c=\"1\", job=\"api\"}" },
        { { "c", "1", "job", "x", NULL }, "g{c=\"1\", job=\"api\"}" },
        { { "a.b", "1", "a-b", "2", NULL }, "g{a_b=\"2;1\", job=\"api\"}" },
        { { "a.b", "1", "a-b", "3", NULL }, "g{a_b=\"3;1\", job=\"api\"}" },
        { { NULL }, "g{job=\"api\"}" },
        { { "a.b", "1", "c", "2", "d", "3", NULL }, "g{a_b=\"1\", c=\"2\", d=\"3\", job=\"api\"}" },
        { { "a.b", "1", "c", "2", NULL }, "g{a_b=\"1\", c=\"2\", job=\"api\"}" },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; cases[i].pairs[k]; k += 2)
            otlp_put_attribute(&fx->point, 7, cases[i].pairs[k], cases[i].pairs[k + 1]);
        put_number(fx, NULL, NULL, 0, T_MS, 1);
    }
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, resource);
    read_ok(fx);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_series(fx, i, cases[i].want);
}

/* ---- what is refused ---- */

static void a_bad_metric_costs_the_others_nothing(void **state)
{
    static const double not_increasing[] = { 5, 5 };
    struct fixture *fx = *state;

    put_number(fx, NULL, NULL, 0, T_MS, 1);
    put_number(fx, NULL, NULL, 0, T_MS, 2);
    put_sum_kind(fx, 0, true);
    otlp_put_metric(&fx->scope, "no_temporality", "", 7, &fx->data);
    put_number(fx, NULL, NULL, 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "...", "", 5, &fx->data);
    put_number(fx, "...", "x", 0, T_MS, 1);
    put_number(fx, NULL, NULL, 0, T_MS, 4); /* good */
    otlp_put_times(&fx->point, 0, T_MS);
    pb_put_message(&fx->data, 1, &fx->point);
    otlp_put_metric(&fx->scope, "some_bad", "", 5, &fx->data);
    put_histogram_point(fx, counts, 2, bounds, 2, 7);
    end_histogram(fx, "wrong_number");
    put_histogram_point(fx, counts, 3, not_increasing, 2, 7);
    end_histogram(fx, "wrong_order");
    put_number(fx, NULL, NULL, 0, T_MS, 5);
    otlp_put_metric(&fx->scope, "good", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_TEMPORALITY], 2);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_NAME], 1);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_ATTRIBUTES], 1);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_NO_VALUE], 1);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_INVALID], 2);
    assert_int_equal(fx->otlp.n_points, 2);
    expect_sample(fx, 0, "some_bad", 4);
    expect_sample(fx, 1, "good", 5);
    assert_true(mentions(fx, "metric \"no_temporality\""));
    assert_true(mentions(fx, "metric \"wrong_number\""));
    assert_true(mentions(fx, "bounds of a histogram do not increase"));
}

static void delta_can_be_refused_or_kept_raw(void **state)
{
    struct fixture *fx = *state;

    put_number(fx, NULL, NULL, 0, T_MS, 1);
    put_sum_kind(fx, 1, true);
    otlp_put_metric(&fx->scope, "d", "", 7, &fx->data);
    finish(fx, no_attributes);
    fx->options.delta = OTLP_DELTA_REJECT;
    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 0);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_DELTA], 1);
    assert_true(mentions(fx, "TEMPORALITY_PREFERENCE"));
    fx->options.delta = OTLP_DELTA_RAW;
    read_ok(fx);
    assert_false(fx->otlp.points[0].delta);
    assert_int_equal(fx->otlp.batch.metadata[0].type, METRIC_UNKNOWN);
    fx->options.delta = OTLP_DELTA_CONVERT;
    read_ok(fx);
    assert_true(fx->otlp.points[0].delta);
}

/* Cut anywhere, the text names what was being read. */
static void a_request_that_is_cut_short_is_bad_data(void **state)
{
    struct fixture *fx = *state;
    struct bytes whole;

    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    whole = buf_as_bytes(&fx->request);
    for (size_t n = 1; n < whole.len; n++) {
        assert_int_equal(
            otlp_read(&fx->otlp, &fx->options, (struct bytes){ whole.ptr, n }, &fx->err),
            ERR_BAD_DATA);
        assert_int_equal(fx->otlp.batch.n_series, 0);
    }
    buf_clear(&fx->request);
    pb_put_varint(&fx->point, 4, 1); /* count with a wrong type */
    end_histogram(fx, "latency");
    finish(fx, no_attributes);
    assert_int_equal(otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&fx->request), &fx->err),
                     ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&fx->err), "metrics[0] \"latency\": wrong wire type"));
}

static void an_empty_request_is_nothing(void **state)
{
    struct fixture *fx = *state;

    read_ok(fx);
    assert_int_equal(fx->otlp.batch.n_series, 0);
    assert_int_equal(fx->otlp.n_points, 0);
}

/* Two bytes ask for three series with all labels of the resource. */
static void a_small_body_cannot_ask_for_too_much(void **state)
{
    static const char *const resource[] = { "service.name", "api", NULL };
    struct fixture *fx = *state;

    for (size_t i = 0; i < OTLP_MAX_SERIES; i++)
        pb_put_message(&fx->data, 1, &fx->point); /* empty */
    otlp_put_metric(&fx->scope, "s", "", 11, &fx->data);
    finish(fx, resource);
    assert_int_equal(otlp_read(&fx->otlp, &fx->options, buf_as_bytes(&fx->request), &fx->err),
                     ERR_TOO_LARGE);
    otlp_recycle(&fx->otlp);
    assert_null(fx->otlp.series); /* such a request does not keep its memory */
}

static void points_with_something_unstored_are_counted_once(void **state)
{
    struct fixture *fx = *state;

    put_histogram_point(fx, counts, 3, bounds, 2, 7);
    end_histogram(fx, "latency");
    put_number(fx, NULL, NULL, 0, T_MS, 1);
    otlp_put_metric(&fx->scope, "g", "", 5, &fx->data);
    finish(fx, no_attributes);
    read_ok(fx);
    fx->otlp.batch.series[1].n_rejected = fx->otlp.batch.series[2].n_rejected = 1;
    otlp_count_unstored(&fx->otlp);
    assert_int_equal(fx->otlp.rejected[OTLP_REJECT_STORE], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sums_and_gauges_become_one_series_each),
        TEST(a_histogram_becomes_cumulative_buckets_sum_and_count),
        TEST(exemplars_go_to_their_buckets_in_the_order_they_came),
        TEST(many_buckets_with_many_exemplars_are_read),
        TEST(numbers_that_are_not_packed_are_read_too),
        TEST(a_histogram_may_be_kept_native_with_its_bounds),
        TEST(an_exponential_histogram_becomes_a_native_one),
        TEST(scales_beyond_ours_are_made_coarser),
        TEST(empty_buckets_end_spans),
        TEST(a_summary_becomes_its_quantiles_sum_and_count),
        TEST(no_recorded_value_is_a_staleness_marker),
        TEST(a_sum_that_is_the_staleness_marker_leaves_nothing_else),
        TEST(bucket_counts_that_are_cut_short_are_bad_data),
        TEST(a_resource_gives_job_instance_and_target_info),
        TEST(target_info_needs_an_identity_and_something_to_tell),
        TEST(target_info_is_bounded),
        TEST(resource_attributes_can_be_promoted),
        TEST(a_scope_can_be_promoted),
        TEST(attribute_values_become_text),
        TEST(attributes_that_become_one_label_are_joined_by_key),
        TEST(attributes_without_value_are_no_labels),
        TEST(every_data_point_has_its_own_labels),
        TEST(a_bad_metric_costs_the_others_nothing),
        TEST(delta_can_be_refused_or_kept_raw),
        TEST(a_request_that_is_cut_short_is_bad_data),
        TEST(an_empty_request_is_nothing),
        TEST(a_small_body_cannot_ask_for_too_much),
        TEST(points_with_something_unstored_are_counted_once),
    };

    return cmocka_run_group_tests_name("otlp", tests, NULL, NULL);
}
