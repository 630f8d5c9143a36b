#include "ingest/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/banned.h"

enum { NOW = 1000 };

struct fixture {
    struct exposition x;
    struct exposition_options o;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    if (fx)
        fx->o.default_t_ms = NOW;
    return fx ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    exposition_free(&fx->x);
    free(fx);
    return 0;
}

static void read_all(struct fixture *fx, const char *text)
{
    assert_int_equal(exposition_begin(&fx->x, &fx->o, str_from(text), NULL), OK);
    assert_int_equal(exposition_next(&fx->x, 1000000, NULL), OK);
}

static void expect(const struct fixture *fx, size_t i, const char *series, double v, int64_t t_ms)
{
    struct buf b = { 0 };
    const struct write_series *s = &fx->x.batch.series[i];

    if (i >= fx->x.batch.n_series)
        fail_msg("no series %zu, %s: %.*s", i, series, STR_ARG(buf_as_str(&fx->x.text)));
    labels_print_metric(&b, (struct labels){ s->labels, s->n_labels });
    if (!str_is(buf_as_str(&b), series))
        fail_msg("series %zu is %.*s, not %s", i, STR_ARG(buf_as_str(&b)), series);
    buf_free(&b);
    assert_true(f64_bits(fx->x.batch.samples[s->first_sample].v) == f64_bits(v));
    assert_true(fx->x.batch.samples[s->first_sample].t_ms == t_ms);
}

static void lines_of_every_shape_are_read(void **state)
{
    static const struct {
        const char *line, *series;
        double v;
        int64_t t_ms;
    } cases[] = {
        { "a 1", "a", 1, NOW },
        { "a 1\n", "a", 1, NOW },
        { " \ta\t 1.5e3  ", "a", 1500, NOW },
        { "a:b_9{} -2 77", "a:b_9", -2, 77 },
        { "a -2 -77", "a", -2, -77 },
        { "a { x = \"1\" , y=\"2\", } 3 4 ", "a{x=\"1\", y=\"2\"}", 3, 4 },
        { "a{y=\"2\",x=\"1\"} 3", "a{x=\"1\", y=\"2\"}", 3, NOW },
        { "a{x=\"\"} 3", "a", 3, NOW },
        { "a{x=\"a\\\\b\\\"c\\nd\\q\"} 3", "a{x=\"a\\\\b\\\"c\\nd\\\\q\"}", 3, NOW },
        { "a{x=\"}, 1\"} 3", "a{x=\"}, 1\"}", 3, NOW },
        { "{\"my.metric\"} 3", "{__name__=\"my.metric\"}", 3, NOW },
        { "{\"my.metric\",\"l.x\"=\"v\"} 3", "{__name__=\"my.metric\", \"l.x\"=\"v\"}", 3, NOW },
        { "a +Inf", "a", 1 / 0.0, NOW },
        { "a -inf", "a", -1 / 0.0, NOW },
        { "a .5", "a", 0.5, NOW },
        { "a 1e-400", "a", 0, NOW },
        { "a 0.30000000000000004", "a", 0.30000000000000004, NOW },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        read_all(fx, cases[i].line);
        expect(fx, 0, cases[i].series, cases[i].v, cases[i].t_ms);
        assert_int_equal(fx->x.n_bad_lines, 0);
        assert_int_equal(fx->x.batch.n_series, 1);
    }
    read_all(fx, "a NaN");
    assert_true(f64_bits(fx->x.batch.samples[0].v) == QUIET_NAN_BITS);
}

static void wrong_lines_cost_themselves_only(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        { "a", "expected a value" },
        { "a x", "expected a value, found \"x\"" },
        { "a 1_000", "expected a value" },
        { "a 0x10", "expected a value" },
        { "a 1e400", "expected a value" },
        { "a +nan", "expected a value" },
        { "a 1\r", "lines end with CR LF" },
        { "a 1 1.5", "expected a time in milliseconds, found \"1.5\"" },
        { "a 1 2 3", "expected the end of the line, found \"3\"" },
        { "9a 1", "expected the name of a metric, found \"9a 1\"" },
        { "{x=\"1\"} 1", "expected the name of a metric" },
        { "a{x=1} 1", "expected the value of a label in double quotes" },
        { "a{x} 1", "expected = behind the name of a label" },
        { "a{9=\"1\"} 1", "expected the name of a label" },
        { "a{x=\"1\" y=\"2\"} 1", "expected , or } behind a label" },
        { "a{x=\"1\",x=\"2\"} 1", "a label stands there twice" },
        { "a{x=\"1} 1", "a quote is not closed on its line" },
        { "a{x=\"1\\", "a quote is not closed on its line" },
        { "a{", "expected the name of a label" },
        { "# TYPE a thing", "unknown type of a metric, found \"thing\"" },
        { "# TYPE", "expected the name of a metric" },
    };
    struct fixture *fx = *state;
    char text[256], want[256];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "first 1\n\n%s\nlast 2\n", cases[i].line);
        snprintf(want, sizeof want, "line 3: %s", cases[i].why);
        read_all(fx, text);
        assert_int_equal(fx->x.n_bad_lines, 1);
        buf_u8(&fx->x.text, 0);
        if (strncmp((char *)fx->x.text.ptr, want, strlen(want)) != 0)
            fail_msg("\"%s\" is \"%s\", not \"%s\"", cases[i].line, (char *)fx->x.text.ptr, want);
        assert_int_equal(fx->x.batch.n_series, 2);
        expect(fx, 1, "last", 2, NOW);
    }
}

static const char exposition[] = "# HELP h_seconds How \\\\ long\\n it takes\n"
                                 "# TYPE h_seconds histogram\n"
                                 "# just a comment\n"
                                 "h_seconds_bucket{le=\"1\"} 1\n"
                                 "h_seconds_bucket{le=\"+Inf\"} 2\n"
                                 "h_seconds_sum 3\n"
                                 "h_seconds_count 2\n"
                                 "# TYPE s summary\n"
                                 "s{quantile=\"0.5\"} 1\n"
                                 "s{quantile=\"1\"} 1\n"
                                 "# TYPE c counter\n"
                                 "c{le=\"1\"} 5\n"
                                 "other 6\n";

static void families_know_their_series(void **state)
{
    static const char *const families[] = { "h_seconds", "h_seconds", "h_seconds", "h_seconds",
                                            "s",         "s",         "c",         "other" };
    struct fixture *fx = *state;

    read_all(fx, exposition);
    assert_int_equal(fx->x.n_bad_lines, 0);
    assert_int_equal(fx->x.batch.n_metadata, 3);
    assert_true(str_is(fx->x.batch.metadata[0].family, "h_seconds"));
    assert_int_equal(fx->x.batch.metadata[0].type, METRIC_HISTOGRAM);
    assert_true(str_is(fx->x.batch.metadata[0].help, "How \\ long\n it takes"));
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        assert_true(str_is(exposition_family(&fx->x, i), families[i]));
}

static void bounds_are_written_as_floats(void **state)
{
    struct fixture *fx = *state;

    read_all(fx, exposition);
    expect(fx, 0, "h_seconds_bucket{le=\"1.0\"}", 1, NOW);
    expect(fx, 1, "h_seconds_bucket{le=\"+Inf\"}", 2, NOW);
    expect(fx, 4, "s{quantile=\"0.5\"}", 1, NOW);
    expect(fx, 5, "s{quantile=\"1.0\"}", 1, NOW);
    expect(fx, 6, "c{le=\"1\"}", 5, NOW); /* neither a histogram nor a summary */
}

static void a_text_is_read_in_parts(void **state)
{
    struct fixture *fx = *state;
    size_t n = 0, n_metadata = 0, parts = 0;

    assert_int_equal(exposition_begin(&fx->x, &fx->o, str_from(exposition), NULL), OK);
    do {
        assert_int_equal(exposition_next(&fx->x, 3, NULL), OK);
        n += fx->x.batch.n_series;
        n_metadata += fx->x.batch.n_metadata;
        parts++;
    } while (fx->x.batch.n_series);
    assert_int_equal(n, 8);
    assert_int_equal(fx->x.n_samples, 8);
    assert_int_equal(n_metadata, 3); /* each once */
    assert_int_equal(parts, 4);
}

static void openmetrics_has_seconds_exemplars_and_an_end(void **state)
{
    struct fixture *fx = *state;

    fx->o.openmetrics = true;
    read_all(fx,
             "# TYPE c counter\n# UNIT c seconds\n# HELP c Help\n"
             "c_total{a=\"b\"} 5 1700000000.123 # {trace_id=\"x\",span_id=\"y\"} 0.5 1700000000\n"
             "c_created{a=\"b\"} 1690000000.5\n"
             "c_total{a=\"c\"} 6 -1.5\n"
             "# EOF\n");
    assert_int_equal(fx->x.n_bad_lines, 0);
    assert_int_equal(fx->x.batch.n_series, 2);
    expect(fx, 0, "c_total{a=\"b\"}", 5, 1700000000123);
    expect(fx, 1, "c_total{a=\"c\"}", 6, -1500);
    assert_true(fx->x.batch.start_ms[0] == 1690000000500);
    assert_true(fx->x.batch.start_ms[1] == 0);
    assert_int_equal(fx->x.batch.n_exemplars, 1);
    assert_int_equal(fx->x.batch.series[0].n_exemplars, 1);
    assert_true(fx->x.batch.exemplars[0].v == 0.5);
    assert_true(fx->x.batch.exemplars[0].t_ms == 1700000000000);
    assert_int_equal(fx->x.batch.exemplars[0].labels.n, 2);
    assert_true(str_is(fx->x.batch.metadata[0].unit, "seconds"));
    assert_true(str_is(exposition_family(&fx->x, 0), "c"));
}

static void a_histogram_has_one_start_for_all_its_series(void **state)
{
    struct fixture *fx = *state;

    fx->o.openmetrics = true;
    read_all(fx,
             "# TYPE h histogram\nh_bucket{le=\"1.0\",m=\"a\"} 1\nh_bucket{le=\"+Inf\",m=\"a\"} 1\n"
             "h_count{m=\"a\"} 1\nh_sum{m=\"a\"} 1\nh_created{m=\"a\"} 7\n"
             "h_count{m=\"b\"} 1\nh_created{m=\"b\"} 8\n# EOF");
    assert_int_equal(fx->x.batch.n_series, 5);
    for (size_t i = 0; i < 4; i++)
        assert_true(fx->x.batch.start_ms[i] == 7000);
    assert_true(fx->x.batch.start_ms[4] == 8000);
}

/* Neither those that repeat the start nor those that say none look at all buckets again. */
static void the_first_of_many_starts_counts(void **state)
{
    enum { N = 30000 };
    struct fixture *fx = *state;
    struct buf b = { 0 };

    buf_text(&b, "# TYPE h histogram\n");
    for (int i = 0; i < N; i++)
        buf_printf(&b, "h_bucket{le=\"%d.5\"} 1\n", i);
    for (int i = 0; i < 2 * N; i++)
        buf_text(&b, i < N ? "h_created 0\n" : "h_created 7\n");
    buf_text(&b, "h_created 8\nh_count 1\nh_created 9\n# EOF\n");
    buf_u8(&b, 0);
    fx->o.openmetrics = true;
    read_all(fx, (const char *)b.ptr);
    assert_int_equal(fx->x.n_bad_lines, 0);
    assert_int_equal(fx->x.batch.n_series, N + 1);
    assert_true(fx->x.batch.start_ms[0] == 7000);
    assert_true(fx->x.batch.start_ms[N - 1] == 7000);
    assert_true(fx->x.batch.start_ms[N] == 9000);
    buf_free(&b);
}

static void openmetrics_that_was_cut_short_is_noticed(void **state)
{
    struct fixture *fx = *state;

    fx->o.openmetrics = true;
    read_all(fx, "a 1\n");
    assert_int_equal(fx->x.n_bad_lines, 1);
    assert_int_equal(fx->x.batch.n_series, 1);
    read_all(fx, "a 1\n# EOF\nb 2\nc 3\n");
    assert_int_equal(fx->x.n_bad_lines, 1);
    assert_int_equal(fx->x.batch.n_series, 1);
    read_all(fx, "a 1 2 # {x=\"y\"}\n# EOF\n"); /* an exemplar without a value */
    assert_int_equal(fx->x.n_bad_lines, 1);
}

/* The names of the line before are tried first; whatever comes, labels are the same as without that. */
static void every_line_has_its_own_labels(void **state)
{
    static const struct {
        const char *line, *want; /* NULL: wrong */
    } cases[] = {
        { "m{b=\"1\",a=\"2\"} 1", "m{a=\"2\", b=\"1\"}" },
        { "m{b=\"3\",a=\"4\"} 1", "m{a=\"4\", b=\"3\"}" },
        { "n{b=\"a long value, of more than eight\",a=\"4\"} 1",
          "n{a=\"4\", b=\"a long value, of more than eight\"}" },
        { "m{a=\"4\",b=\"3\"} 1", "m{a=\"4\", b=\"3\"}" },
        { "m{a=\"4\",b=\"3\",} 1", "m{a=\"4\", b=\"3\"}" },
        { "m{a=\"4\",b=\"\"} 1", "m{a=\"4\"}" },
        { "m{a=\"5\"} 1", "m{a=\"5\"}" },
        { "m{a=\"6\",c=\"1\"} 1", "m{a=\"6\", c=\"1\"}" },
        { "m{a=\"\\\"\",c=\"1\"} 1", "m{a=\"\\\"\", c=\"1\"}" },
        { "m{a=\"7\",c=\"1\"", NULL },
        { "m{a=\"8\",c=\"1} 1", NULL },
        { "m{a=\"9\",c=\"1\"} 1", "m{a=\"9\", c=\"1\"}" },
        { "m 1", "m" },
        { "m{a=\"9\",c=\"2\"} 1", "m{a=\"9\", c=\"2\"}" },
        { "{\"m\",a=\"9\",c=\"3\"} 1", "m{a=\"9\", c=\"3\"}" },
        { "{a=\"9\",c=\"3\"} 1", NULL },
        { "m{ a=\"9\",c=\"4\"} 1", "m{a=\"9\", c=\"4\"}" },
    };
    struct fixture *fx = *state;
    struct buf b = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        buf_printf(&b, "%s\n", cases[i].line);
    buf_u8(&b, 0);
    read_all(fx, (char *)b.ptr);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (cases[i].want)
            expect(fx, n++, cases[i].want, 1, NOW);
    assert_int_equal(fx->x.batch.n_series, n);
    assert_int_equal(fx->x.n_bad_lines, ARRAY_LEN(cases) - n);
    buf_free(&b);
}

static void extra_labels_stand_in_place_of_others(void **state)
{
    static const struct label extra[] = { { { "job", 3 }, { "j", 1 } },
                                          { { "drop", 4 }, { "", 0 } } };
    struct fixture *fx = *state;

    fx->o.extra = extra;
    fx->o.n_extra = ARRAY_LEN(extra);
    read_all(fx, "a{job=\"own\",drop=\"x\",z=\"1\"} 1\nb 2\n");
    expect(fx, 0, "a{job=\"j\", z=\"1\"}", 1, NOW);
    expect(fx, 1, "b{job=\"j\"}", 2, NOW);
}

static void times_can_be_refused(void **state)
{
    struct fixture *fx = *state;

    fx->o.refuse_times = true;
    read_all(fx, "a 1 5\nb 2\n");
    assert_int_equal(fx->x.n_bad_lines, 1);
    assert_int_equal(fx->x.batch.n_series, 1);
}

static void many_bad_lines_are_counted_and_the_first_named(void **state)
{
    struct fixture *fx = *state;
    struct buf b = { 0 };

    for (int i = 0; i < 1000; i++)
        buf_text(&b, "bad\n");
    buf_u8(&b, 0);
    read_all(fx, (char *)b.ptr);
    assert_int_equal(fx->x.n_bad_lines, 1000);
    assert_true(fx->x.text.len < 1000);
    buf_free(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_of_every_shape_are_read),
        TEST(wrong_lines_cost_themselves_only),
        TEST(families_know_their_series),
        TEST(bounds_are_written_as_floats),
        TEST(a_text_is_read_in_parts),
        TEST(openmetrics_has_seconds_exemplars_and_an_end),
        TEST(a_histogram_has_one_start_for_all_its_series),
        TEST(the_first_of_many_starts_counts),
        TEST(openmetrics_that_was_cut_short_is_noticed),
        TEST(every_line_has_its_own_labels),
        TEST(extra_labels_stand_in_place_of_others),
        TEST(times_can_be_refused),
        TEST(many_bad_lines_are_counted_and_the_first_named),
    };

    return cmocka_run_group_tests_name("exposition", tests, NULL, NULL);
}
