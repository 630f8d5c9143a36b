#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "db_tools.h"
#include "promql_load.h"
#include "query/histogram_ops.h"
#include "query/query.h"
#include "query/value.h"

enum { SECOND = 1000, MINUTE = 60000 };

struct fixture {
    struct db *db;
    struct query_options options;
    struct arena *arena; /* of error texts */
};

static int set_up(void **state)
{
    static struct fixture f;
    struct db_options o = test_db_options(NULL);

    assert_int_equal(db_open(&o, &f.db, NULL), OK);
    f.options = query_options_default(f.db);
    f.arena = arena_new(0);
    load_series(
        f.db, 30 * SECOND,
        "requests_total{path=\"/a\", code=\"200\"} 0+10x40 3+7x20\n"
        "requests_total{path=\"/a\", code=\"500\"} 0+1x9 _x5 20+2x9 stale _x3 0.5+0.25x20\n"
        "requests_total{path=\"/b\", code=\"200\"} 5 _ 7 _ _ 12 NaN 14 Inf 16 17+0.1x40\n"
        "temperature{room=\"north\"} 20-0.5x30 -Inf 4+1x12 stale 9\n"
        "temperature{room=\"south\"} 1e300+1e307x40 -3 -4x10\n"
        "limits{path=\"/a\"} 100x60\n"
        "limits{path=\"/b\"} 50x10 stale _x10 70x20\n"
        "q 0.5x60\n"
        "lat@st -10s -40s -70s -100s _x16 -5s -35s -65s\n"
        "lat{p=\"a\"} {{schema:2 z_bucket:1 z_bucket_w:0.01 count:9 sum:3.7 buckets:[1 2 3] "
        "n_buckets:[2]}}+{{schema:2 count:3 sum:1.1 buckets:[1 1 1]}}x18 _x3 "
        "{{schema:0 z_bucket:3 z_bucket_w:0.1 count:4 sum:9 offset:-1 buckets:[1]}}+"
        "{{schema:0 z_bucket_w:0.1 count:2 sum:3 buckets:[1 0 1]}}x9 stale "
        "{{schema:1 count:2 sum:3 buckets:[1 0 1]}}x9\n"
        "lat{p=\"b\"} {{schema:-53 count:3 sum:4 custom_values:[1 2 5] buckets:[1 1 1]}}+"
        "{{schema:-53 count:2 sum:3 custom_values:[1 2 5] buckets:[1 0 1]}}x11 "
        "{{schema:-53 count:4 sum:4 custom_values:[1 3 5] buckets:[1 1 1 1]}}x9 "
        "{{count:5 sum:5 buckets:[5]}}+{{count:1 sum:2 buckets:[0 1]}}x14 1 2+1x6\n"
        "lat{p=\"g\"} {{count:5 sum:5 buckets:[5] counter_reset_hint:gauge}}-"
        "{{count:0.5 sum:2 buckets:[0.5] counter_reset_hint:gauge}}x9 7x20\n"
        "target_info{p=\"x\", job=\"\", instance=\"i\", v=\"1\"} 1x20 stale\n"
        "target_info{p=\"x\", instance=\"i\", v=\"2\"} _x25 2x20\n"
        "app{instance=\"i\"} 1x50\n");
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    db_close(f->db);
    arena_free(f->arena);
    return 0;
}

/* {a="1"} 5 @60 6 @120; — one series a line; a string as itself */
static const char *result_text(struct fixture *f, const struct query_result *r)
{
    struct buf b = { 0 };
    const char *text;

    buf_str(&b, r->string);
    for (size_t i = 0; i < r->n_series; i++) {
        labels_print(&b, r->series[i].labels);
        for (size_t p = 0; p < r->series[i].n_points; p++)
            buf_printf(&b, " %.10g @%g", r->series[i].points[p].v,
                       (double)r->series[i].points[p].t_ms / 1000);
        buf_text(&b, "; ");
    }
    text = arena_strndup(f->arena, b.len ? (const char *)b.ptr : "", b.len);
    buf_free(&b);
    return text;
}

static struct query_result *instant(struct fixture *f, const char *query, int64_t t_ms)
{
    struct err err = err_in(f->arena);
    struct query_result *r = NULL;

    if (query_instant(&f->options, str_from(query), t_ms, &r, &err) != OK)
        fail_msg("%s: %s", query, err_text(&err));
    return r;
}

static void instant_queries_give(void **state)
{
    static const struct {
        const char *query;
        int64_t t_ms;
        enum value_type type;
        const char *want;
    } cases[] = {
        { "1 + 2", 5500, TYPE_SCALAR, "{} 3 @5.5; " },
        { "'text'", 5500, TYPE_STRING, "text" },
        { "((\"te\\nxt\"))", 0, TYPE_STRING, "te\nxt" },
        { "limits", 0, TYPE_VECTOR,
          "{__name__=\"limits\", path=\"/a\"} 100 @0; {__name__=\"limits\", path=\"/b\"} 50 @0; " },
        /* the newest sample counts while it is younger than the lookback */
        { "requests_total{code=\"500\"}", 11 * MINUTE + 59999, TYPE_VECTOR,
          "{__name__=\"requests_total\", code=\"500\", path=\"/a\"} 36 @719.999; " },
        { "requests_total{code=\"500\"}", 12 * MINUTE + 30 * SECOND, TYPE_VECTOR, "" },
        /* a selector may begin before 1970 */
        { "limits{path=\"/a\"} offset -1m", -30 * SECOND, TYPE_VECTOR,
          "{__name__=\"limits\", path=\"/a\"} 100 @-30; " },
        { "limits{path=\"/a\"} @ 60", -MINUTE, TYPE_VECTOR,
          "{__name__=\"limits\", path=\"/a\"} 100 @-60; " },
        /* ranges leave out their start */
        { "limits{path=\"/a\"}[1m]", MINUTE, TYPE_MATRIX,
          "{__name__=\"limits\", path=\"/a\"} 100 @30 100 @60; " },
        { "requests_total{code=\"500\"}[2m] @ 750", 0, TYPE_MATRIX,
          "{__name__=\"requests_total\", code=\"500\", path=\"/a\"} 34 @660 36 @690 38 @720; " },
        /* subqueries are aligned to multiples of their step */
        { "q[2m:50s]", 130 * SECOND, TYPE_MATRIX, "{__name__=\"q\"} 0.5 @50 0.5 @100; " },
        { "(q * 2)[1m:30s] offset 1s", MINUTE, TYPE_MATRIX, "{} 1 @0 1 @30; " },
        { "sum_over_time(vector(1)[10m:])", 20 * MINUTE, TYPE_VECTOR, "{} 10 @1200; " },
        { "timestamp(limits{path=\"/a\"})", 70 * SECOND, TYPE_VECTOR, "{path=\"/a\"} 60 @70; " },
        { "timestamp(limits{path=\"/a\"} + 0)", 70 * SECOND, TYPE_VECTOR,
          "{path=\"/a\"} 70 @70; " },
        { "timestamp(limits{path=\"/a\"} @ 45)", 70 * SECOND, TYPE_VECTOR,
          "{path=\"/a\"} 30 @70; " },
        { "-limits{path=\"/a\"}", 0, TYPE_VECTOR, "{path=\"/a\"} -100 @0; " },
        { "+limits{path=\"/a\"}", 0, TYPE_VECTOR, "{__name__=\"limits\", path=\"/a\"} 100 @0; " },
        { "last_over_time(abs(q)[1m:30s])", MINUTE, TYPE_VECTOR, "{} 0.5 @60; " },
        { "last_over_time(q[1m])", MINUTE, TYPE_VECTOR, "{__name__=\"q\"} 0.5 @60; " },
        { "absent(nothing{a=\"b\", c!=\"d\"})", 0, TYPE_VECTOR, "{a=\"b\"} 1 @0; " },
        { "absent_over_time(nothing{a=\"b\"}[5m])", 0, TYPE_VECTOR, "{a=\"b\"} 1 @0; " },
        { "absent_over_time(q[5m])", 0, TYPE_VECTOR, "" },
        { "quantile_over_time(scalar(q), requests_total{code=\"500\"}[2m])", 2 * MINUTE,
          TYPE_VECTOR, "{code=\"500\", path=\"/a\"} 2.5 @120; " },
        { "histogram_count(q)", 0, TYPE_VECTOR, "" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_result *r = instant(f, cases[i].query, cases[i].t_ms);

        assert_int_equal(r->type, cases[i].type);
        assert_string_equal(result_text(f, r), cases[i].want);
        query_result_free(r);
    }
}

static void failures_say_what_is_wrong(void **state)
{
    static const struct {
        const char *query;
        enum errc code;
        const char *text;
    } cases[] = {
        { "1+", ERR_BAD_QUERY, "1:3: parse error: unexpected end of input" },
        { "", ERR_BAD_QUERY, "unknown position: parse error: no expression found in input" },
        { "q[1s - step() - 1s]", ERR_BAD_QUERY, "2:18: duration must be greater than 0" },
        { "double_exponential_smoothing(q[5m], 1, 0.5)", ERR_EXECUTION,
          "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000" },
        { "double_exponential_smoothing(q[5m], 0.5, -Inf)", ERR_EXECUTION,
          "invalid trend factor. Expected: 0 < tf < 1, got: -Inf" },
        { "deriv(q[5m] anchored)", ERR_EXECUTION,
          "anchored modifier can only be used with: changes, delta, increase, rate, resets - not "
          "with deriv" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = err_in(f->arena);
        struct query_result *r = NULL;

        assert_int_equal(
            query_instant(&f->options, str_from(cases[i].query), 10 * MINUTE, &r, &err),
            cases[i].code);
        assert_string_equal(err_text(&err), cases[i].text);
        assert_null(r);
    }
}

static void a_range_query_needs_values(void **state)
{
    struct fixture *f = *state;
    struct err err = err_in(f->arena);
    struct query_result *r;

    assert_int_equal(query_range(&f->options, STR("q[5m]"), 0, MINUTE, MINUTE, &r, &err),
                     ERR_BAD_QUERY);
    assert_string_equal(err_text(&err), "invalid expression type \"range vector\" for range query, "
                                        "must be Scalar or instant Vector");
}

/* (168 + 8 * (1 span + 3 buckets) + 8) / 16 samples, of which the reader lets go before the result takes them. */
static void histograms_count_by_their_size(void **state)
{
    static const struct {
        uint64_t max_samples;
        enum errc code;
    } cases[] = { { 12, ERR_LIMIT }, { 13, OK } };
    struct fixture *f = *state;

    load_series(f->db, MINUTE, "sized {{count:3 sum:3 buckets:[1 1 1]}}\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_options o = f->options;
        struct err err = err_in(f->arena);
        struct query_result *r = NULL;

        o.max_samples = cases[i].max_samples;
        assert_int_equal(query_instant(&o, STR("sized"), 0, &r, &err), cases[i].code);
        if (r)
            assert_int_equal(r->samples, 13);
        query_result_free(r);
    }
}

/* ---- a range query is the instant query repeated ---- */

static const char *const repeated[] = {
    "requests_total",
    "requests_total offset 45s",
    "requests_total @ 300 + on (code, path) requests_total",
    "temperature smoothed",
    "-temperature",
    "abs(temperature) > 4",
    "rate(requests_total[2m])",
    "increase(requests_total[90s])",
    "increase(requests_total[90s] anchored)",
    "rate(requests_total[90s] smoothed)",
    "delta(temperature[3m])",
    "irate(requests_total[2m])",
    "idelta(temperature[2m])",
    "resets(requests_total[10m])",
    "changes(temperature[4m] anchored)",
    "deriv(temperature[5m])",
    "predict_linear(temperature[5m], 600)",
    "predict_linear(temperature[5m] @ 400, 600)",
    "double_exponential_smoothing(temperature[5m], 0.3, 0.7)",
    "quantile_over_time(scalar(q), temperature[4m])",
    "mad_over_time(temperature[4m])",
    "stddev_over_time(temperature[4m])",
    "avg_over_time(temperature[7m])",
    "sum_over_time(requests_total[7m])",
    "ts_of_max_over_time(temperature[7m])",
    "first_over_time(requests_total[1m]) - last_over_time(requests_total[1m])",
    "present_over_time(limits[1m])",
    "absent_over_time(limits{path=\"/b\"}[1m])",
    "absent(limits{path=\"/b\"})",
    "max_over_time(rate(requests_total[1m])[5m:30s])",
    "sum_over_time((requests_total or limits)[3m:1m])",
    "sum_over_time(sum by (code) (requests_total)[3m:45s] offset 10s)",
    "min_over_time(max_over_time(temperature[2m:20s])[3m:40s])",
    "last_over_time(requests_total[2m:30s] @ 500)",
    "timestamp(requests_total)",
    "timestamp(requests_total @ 100)",
    "timestamp(-requests_total)",
    "sum by (code) (rate(requests_total[5m]))",
    "topk(2, requests_total)",
    "requests_total / on (path) group_left limits",
    "requests_total unless limits * 100",
    "time() - timestamp(q)",
    "vector(1) + q @ 60",
    "label_replace(requests_total, \"x\", \"$1\", \"path\", \"/(.)\") or q",
    "scalar(requests_total{code=\"500\"}) + 1",
    "histogram_quantile(0.9, requests_total)",
    "day_of_week(temperature * 1e5)",
    "lat",
    "lat smoothed",
    "-lat * 2",
    "lat - lat offset 1m",
    "lat / on (p) group_left lat == lat",
    "lat and on (p) lat offset 7m",
    "lat </ 1.5",
    "lat >/ scalar(q)",
    "lat * on () group_left q",
    "sum(lat{p!=\"b\"})",
    "avg by (p) (lat)",
    "count(lat)",
    "max(lat)",
    "topk(2, lat)",
    "limit_ratio(0.7, lat)",
    "count_values(\"v\", lat)",
    "rate(lat[2m])",
    "increase(lat[5m])",
    "increase(lat[90s] anchored)",
    "rate(lat[90s] smoothed)",
    "delta(lat{p=\"g\"}[3m])",
    "irate(lat[2m])",
    "idelta(lat[2m])",
    "resets(lat[10m])",
    "resets(lat[4m] anchored)",
    "changes(lat[4m])",
    "sum_over_time(lat[3m])",
    "avg_over_time(lat[4m])",
    "count_over_time(lat[4m])",
    "last_over_time(lat[4m])",
    "first_over_time(lat[4m])",
    "max_over_time(lat[4m])",
    "quantile_over_time(0.3, lat[4m])",
    "rate(lat[3m:45s])",
    "sum_over_time((lat or q)[2m:20s])",
    "histogram_count(rate(lat[2m]))",
    "histogram_sum(sum_over_time(lat[3m]))",
    "histogram_avg(lat)",
    "histogram_stddev(lat)",
    "histogram_quantile(scalar(q) / 2, lat)",
    "histogram_quantile(0.7, sum by (p) (rate(lat[4m])))",
    "histogram_quantiles(lat, \"q\", 0.1, 0.9)",
    "histogram_fraction(0.3, 1.7, lat)",
    "timestamp(lat)",
    "start_timestamp(lat)",
    "start_timestamp(requests_total)",
    "absent(lat{p=\"g\"})",
    "info(app)",
    "info(app offset 2m, {v=~\".+\"})",
    "label_replace(lat, \"x\", \"$1\", \"p\", \"(.)\") or q",
};

static const struct result_series *series_of(const struct query_result *r, struct labels ls)
{
    for (size_t i = 0; i < r->n_series; i++)
        if (labels_equal(r->series[i].labels, ls))
            return &r->series[i];
    return NULL;
}

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || f64_bits(a) == f64_bits(b);
}

static bool same_point(const struct result_series *a, size_t i, const struct result_series *b,
                       size_t j)
{
    const struct histogram *x = result_histogram(a, i), *y = result_histogram(b, j);

    if (a->points[i].t_ms != b->points[j].t_ms || !x != !y)
        return false;
    return x ? histogram_equal(x, y) : same_bits(a->points[i].v, b->points[j].v);
}

/* Every point of the instant result is in the range result, bit for bit; gives how many. */
static size_t expect_contained(const char *query, const struct query_result *at,
                               const struct query_result *range)
{
    for (size_t i = 0; i < at->n_series; i++) {
        const struct point *p = &at->series[i].points[0];
        const struct result_series *s = series_of(range, at->series[i].labels);
        bool found = false;

        for (size_t k = 0; s && k < s->n_points; k++)
            found = found || same_point(&at->series[i], 0, s, k);
        if (!found)
            fail_msg("%s at %g: %.17g is not in the range result", query, (double)p->t_ms / 1000,
                     p->v);
    }
    return at->n_series;
}

static void a_range_query_repeats_the_instant_query(void **state)
{
    static const struct {
        int64_t start_ms, end_ms, step_ms;
    } ranges[] = { { 0, 31 * MINUTE, MINUTE },
                   { 7 * SECOND, 25 * MINUTE, 17 * SECOND },
                   { -3 * MINUTE, 40 * MINUTE, 7 * MINUTE },
                   { 5 * MINUTE, 5 * MINUTE, 1 } };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(repeated) * ARRAY_LEN(ranges); i++) {
        const char *query = repeated[i / ARRAY_LEN(ranges)];
        int64_t start = ranges[i % ARRAY_LEN(ranges)].start_ms;
        int64_t end = ranges[i % ARRAY_LEN(ranges)].end_ms;
        int64_t step = ranges[i % ARRAY_LEN(ranges)].step_ms;
        struct err err = err_in(f->arena);
        struct query_result *range = NULL;
        size_t n_expected = 0, n_points = 0;

        if (query_range(&f->options, str_from(query), start, end, step, &range, &err) != OK)
            fail_msg("%s: %s", query, err_text(&err));
        assert_int_equal(range->type, TYPE_MATRIX);
        for (int64_t t = start; t <= end; t += step) {
            struct query_result *at = instant(f, query, t);

            n_expected += expect_contained(query, at, range);
            query_result_free(at);
        }
        for (size_t s = 0; s < range->n_series; s++) {
            n_points += range->series[s].n_points;
            assert_true(s == 0
                        || labels_cmp(range->series[s - 1].labels, range->series[s].labels) < 0);
        }
        if (n_points != n_expected)
            fail_msg("%s: %zu points, want %zu", query, n_points, n_expected);
        query_result_free(range);
    }
}

/* ---- names ---- */

static void series_that_lose_their_names_are_joined_or_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = err_in(f->arena);
    struct query_result *r;

    load_series(f->db, MINUTE, "old_name{x=\"1\"} 1 2 stale\nnew_name{x=\"1\"} _ _ 3 4\n");
    assert_int_equal(query_range(&f->options, STR("{__name__=~\"(old|new)_name\"} * 1"), 0,
                                 3 * MINUTE, MINUTE, &r, &err),
                     OK);
    assert_string_equal(result_text(f, r), "{x=\"1\"} 1 @0 2 @60 3 @120 4 @180; ");
    query_result_free(r);

    load_series(f->db, MINUTE, "other_name{x=\"1\"} 1 2 3\n");
    assert_int_equal(query_range(&f->options, STR("{__name__=~\"(old|other)_name\"} * 1"), 0,
                                 3 * MINUTE, MINUTE, &r, &err),
                     ERR_EXECUTION);
    assert_string_equal(err_text(&err), "vector cannot contain metrics with the same labelset");
    assert_null(r);
}

static void results_outlive_the_store(void **state)
{
    struct fixture *f = *state;
    struct db_options o = test_db_options(NULL);
    struct query_options options;
    struct query_result *r;
    struct db *db;

    assert_int_equal(db_open(&o, &db, NULL), OK);
    load_series(db, MINUTE, "m{label=\"a value of some length\"} 1\n");
    options = query_options_default(db);
    assert_int_equal(query_instant(&options, STR("rate(m[5m]) or m"), 0, &r, NULL), OK);
    db_close(db);
    assert_string_equal(result_text(f, r),
                        "{__name__=\"m\", label=\"a value of some length\"} 1 @0; ");
    query_result_free(r);
}

/* ---- annotations ---- */

static void annotations_reach_the_result(void **state)
{
    static const struct {
        const char *query;
        const char *warning, *info;
    } cases[] = {
        { "rate(temperature[5m])", NULL,
          "PromQL info: metric might not be a counter, name does not end in "
          "_total/_sum/_count/_bucket: \"temperature\" (1:6)" },
        { "rate(requests_total[5m])", NULL, NULL },
        { "delta(temperature[5m])", NULL, NULL },
        { "rate(temperature[1s])", NULL, NULL },
        { "quantile_over_time(\n2, q[5m])",
          "PromQL warning: quantile value should be between 0 and 1, got 2 (2:1)", NULL },
        { "quantile_over_time(2, nothing[5m])", NULL, NULL },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_result *r = instant(f, cases[i].query, 10 * MINUTE);

        assert_int_equal(r->n_warnings, cases[i].warning != NULL);
        assert_int_equal(r->n_infos, cases[i].info != NULL);
        if (cases[i].warning)
            assert_string_equal(r->warnings[0].ptr, cases[i].warning);
        if (cases[i].info)
            assert_string_equal(r->infos[0].ptr, cases[i].info);
        query_result_free(r);
    }
}

/* ---- limits ---- */

static enum errc run_range(struct fixture *f, const struct query_options *o, const char *query,
                           const char **text)
{
    struct err err = err_in(f->arena);
    struct query_result *r = NULL;
    enum errc rc = query_range(o, str_from(query), 0, 30 * MINUTE, 30 * SECOND, &r, &err);

    assert_true(rc == OK || !r);
    *text = rc == OK ? "" : err_text(&err);
    query_result_free(r);
    return rc;
}

static void samples_held_are_limited(void **state)
{
    static const struct {
        const char *query;
        uint64_t max;
        enum errc want;
    } cases[] = {
        { "requests_total", 1000, OK },
        { "requests_total", 100, ERR_LIMIT }, /* three series of the result */
        { "sum(requests_total)", 300, OK },   /* one series at a time, and the result */
        { "sum_over_time(q[1y:1s])", 1000000, ERR_LIMIT }, /* refused before any step */
        { "sum_over_time(nothing[1y:1s])", 1000000, ERR_LIMIT },
        { "q[10m]", 10, ERR_BAD_QUERY },
    };
    struct fixture *f = *state;
    const char *text;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_options o = f->options;

        o.max_samples = cases[i].max;
        assert_int_equal(run_range(f, &o, cases[i].query, &text), cases[i].want);
        if (cases[i].want == ERR_LIMIT)
            assert_string_equal(
                text,
                "query processing would load too many samples into memory in query execution");
    }
}

static void memory_is_limited(void **state)
{
    struct fixture *f = *state;
    struct query_options o = f->options;
    enum errc rc = ERR_LIMIT;
    const char *text;

    /* whatever the limit is, the query either fails so or works */
    for (o.max_bytes = 64; rc != OK; o.max_bytes += 512) {
        rc = run_range(f, &o, "sum by (code) (rate(requests_total[5m])) or q", &text);
        assert_true(rc == OK || rc == ERR_LIMIT);
        assert_true(o.max_bytes < 1 << 20);
    }
}

static void a_query_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct query_options o = f->options;
    const char *text;

    o.timeout_ms = 0;
    assert_int_equal(run_range(f, &o, "q", &text), ERR_TIMEOUT);
    assert_string_equal(text, "query timed out in expression evaluation");
    o.timeout_ms = INT64_MAX;
    assert_int_equal(run_range(f, &o, "q", &text), OK);
}

static int64_t count_look(void *ctx)
{
    int64_t *looks = ctx;

    return ++*looks;
}

static void the_clock_is_looked_at_among_histograms(void **state)
{
    static const char *const queries[] = { "histogram_count(lat)", "histogram_quantile(0.5, lat)" };
    struct fixture *f = *state;
    struct query_options o = f->options;
    int64_t looks;
    const struct clock clock = { .mono_ns = count_look, .ctx = &looks };

    o.clock = &clock;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct err err = err_in(f->arena);
        struct query_result *r;

        looks = 0;
        assert_int_equal(query_range(&o, str_from(queries[i]), 0, 10 * MINUTE, 60, &r, &err), OK);
        assert_true(looks > 3 * 10000 / 64);
        query_result_free(r);
    }
}

static void a_query_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    struct query_options o = f->options;
    atomic_bool cancel = true;
    const char *text;

    o.cancel = &cancel;
    assert_int_equal(run_range(f, &o, "q", &text), ERR_CANCELED);
    assert_string_equal(text, "query was canceled in expression evaluation");
}

static void samples_are_counted(void **state)
{
    struct fixture *f = *state;
    struct query_result *r =
        instant(f, "sum(rate(q[5m])) + sum(rate(q[5m] offset 5m))", 10 * MINUTE);

    assert_int_equal(r->samples, 20);
    assert_true(r->peak_samples >= 10 && r->peak_samples < 20);
    query_result_free(r);
}

/* ---- NaNs ---- */

/* Stores it at 0 as odd, and as the sum of odd_h. */
static void store_nan(struct db *db, double nan)
{
    struct label name = { STR("__name__"), STR("odd_h") };
    const struct write_histogram h = { .h = { .count = 1, .zero_count = 1, .sum = nan } };
    struct write_series series = { .labels = &name, .n_labels = 1, .n_histograms = 1 };
    const struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = &h, .n_histograms = 1
    };
    struct write_result res = { 0 };

    assert_true(append_series(db, "odd", &(struct sample){ 0, nan }, 1, NULL));
    assert_int_equal(db_append(db, &batch, &res, NULL), OK);
    assert_int_equal(res.stored, 1);
    buf_free(&res.text);
}

/* The NaN is the staleness marker but for its sign. */
static void a_negated_nan_is_a_value(void **state)
{
    static const char *const queries[] = {
        "time() + -scalar(odd @ 0)",
        "-odd",
        "- - odd",
        "count(-odd)",
        "abs(odd)",
        "-histogram_sum(odd_h)",
        "histogram_sum(-odd_h)",
    };
    struct fixture *f = *state;
    const double nan = f64_from_bits(f64_bits(stale_nan()) | UINT64_C(1) << 63);

    store_nan(f->db, nan);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct query_result *r = instant(f, queries[i], 0);
        struct err err = err_in(f->arena);

        if (r->n_series != 1)
            fail_msg("%s: %zu series", queries[i], r->n_series);
        query_result_free(r);
        assert_int_equal(
            query_range(&f->options, str_from(queries[i]), 0, MINUTE, SECOND, &r, &err), OK);
        assert_int_equal(r->series[0].n_points, 61);
        query_result_free(r);
    }
}

/* ---- times far out ---- */

static void extreme_times_do_not_wrap(void **state)
{
    static const char *const queries[] = {
        "q offset 290y",
        "q offset -290y",
        "q @ 9e15",
        "q @ -9e15",
        "sum_over_time(q[290y] @ -9e15)",
        "sum_over_time(q[290y] @ 9e15 offset -290y)",
        "sum_over_time(q[290y:100y] @ -9.2e15 offset 290y)",
        "sum_over_time(q[290y:290y] @ 9.2e15 offset -290y)",
        "rate(q[290y] smoothed)",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        query_result_free(instant(f, queries[i], 10 * MINUTE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(instant_queries_give, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_say_what_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_query_needs_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(histograms_count_by_their_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_query_repeats_the_instant_query, set_up, tear_down),
        cmocka_unit_test_setup_teardown(series_that_lose_their_names_are_joined_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(results_outlive_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(annotations_reach_the_result, set_up, tear_down),
        cmocka_unit_test_setup_teardown(samples_held_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_is_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_ends_at_its_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_clock_is_looked_at_among_histograms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_can_be_canceled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(samples_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_negated_nan_is_a_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(extreme_times_do_not_wrap, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
