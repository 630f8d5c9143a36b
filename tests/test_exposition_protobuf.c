#include "ingest/exposition_protobuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pb_build.h"

#include "base/banned.h"

/* Bodies under construction. */
struct fixture {
    struct buf point, value, metric, family, body, text;
};

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    buf_free(&fx->point);
    buf_free(&fx->value);
    buf_free(&fx->metric);
    buf_free(&fx->family);
    buf_free(&fx->body);
    buf_free(&fx->text);
    free(fx);
    return 0;
}

static void begin_family(struct fixture *fx, const char *name, const char *help, uint64_t type)
{
    pb_put_text(&fx->family, 1, name);
    pb_put_text(&fx->family, 2, help);
    pb_put_varint(&fx->family, 3, type);
}

static void put_label(struct fixture *fx, const char *name, const char *value)
{
    pb_put_text(&fx->point, 1, name);
    pb_put_text(&fx->point, 2, value);
    pb_put_message(&fx->metric, 1, &fx->point);
}

static void end_metric(struct fixture *fx, uint32_t kind)
{
    pb_put_message(&fx->metric, kind, &fx->value);
    pb_put_message(&fx->family, 4, &fx->metric);
}

static void end_family(struct fixture *fx)
{
    buf_uvarint(&fx->body, fx->family.len);
    buf_add(&fx->body, fx->family.ptr, fx->family.len);
    buf_clear(&fx->family);
}

static void expect(struct fixture *fx, const char *want)
{
    assert_int_equal(exposition_from_protobuf(buf_as_bytes(&fx->body), 1 << 20, &fx->text, NULL),
                     OK);
    if (!str_is(buf_as_str(&fx->text), want))
        fail_msg("\n%.*s\nnot\n%s", STR_ARG(buf_as_str(&fx->text)), want);
}

static void single_values_become_lines(void **state)
{
    struct fixture *fx = *state;

    begin_family(fx, "c_total", "Help \\ and\nmore \"", 0);
    put_label(fx, "a", "x\"y\\z\n");
    put_label(fx, "b.c", "2");
    pb_put_double(&fx->value, 1, 1.5);
    end_metric(fx, 3);
    pb_put_varint(&fx->metric, 6, 1700000000000);
    end_metric(fx, 3); /* a counter of zero at some time */
    end_family(fx);
    begin_family(fx, "my.gauge", "", 1);
    pb_put_double(&fx->value, 1, -1);
    end_metric(fx, 2);
    end_family(fx);
    begin_family(fx, "u", "", 3);
    pb_put_double(&fx->value, 1, 1 / 0.0);
    end_metric(fx, 5);
    end_family(fx);
    expect(fx, "# HELP c_total Help \\\\ and\\nmore \"\n# TYPE c_total counter\n"
               "c_total{a=\"x\\\"y\\\\z\\n\",\"b.c\"=\"2\"} 1.5\n"
               "c_total{} 0 1700000000000\n"
               "# HELP \"my.gauge\" \n# TYPE \"my.gauge\" gauge\n"
               "{\"my.gauge\"} -1\n"
               "# HELP u \n# TYPE u untyped\n"
               "u{} +Inf\n");
}

static void histograms_and_summaries_become_their_series(void **state)
{
    struct fixture *fx = *state;

    begin_family(fx, "h", "", 4);
    put_label(fx, "a", "1");
    pb_put_varint(&fx->value, 1, 3);
    pb_put_double(&fx->value, 2, 4.5);
    pb_put_varint(&fx->point, 1, 2);
    pb_put_double(&fx->point, 2, 0.5);
    pb_put_message(&fx->value, 3, &fx->point);
    end_metric(fx, 7);
    end_family(fx);
    begin_family(fx, "s", "", 2);
    pb_put_varint(&fx->value, 1, 3);
    pb_put_double(&fx->value, 2, 4.5);
    pb_put_double(&fx->point, 1, 0.9);
    pb_put_double(&fx->point, 2, 2);
    pb_put_message(&fx->value, 3, &fx->point);
    end_metric(fx, 4);
    end_family(fx);
    expect(fx, "# HELP h \n# TYPE h histogram\n"
               "h_bucket{a=\"1\",le=\"0.5\"} 2\n"
               "h_bucket{a=\"1\",le=\"+Inf\"} 3\n"
               "h_sum{a=\"1\"} 4.5\n"
               "h_count{a=\"1\"} 3\n"
               "# HELP s \n# TYPE s summary\n"
               "s{quantile=\"0.9\"} 2\n"
               "s_sum{} 4.5\n"
               "s_count{} 3\n");
}

/* The lines of a metric are made without reading its message again for each. */
static void long_metrics_have_their_labels_in_every_line(void **state)
{
    enum { BUCKETS = 5000, UNKNOWN = 100000 };
    struct fixture *fx = *state;
    struct buf want = { 0 };

    begin_family(fx, "my.h", "", 4);
    put_label(fx, "a", "1");
    for (int i = 0; i < UNKNOWN; i++)
        pb_put_varint(&fx->metric, 15, 0);
    put_label(fx, "b", "2");
    buf_text(&want, "# HELP \"my.h\" \n# TYPE \"my.h\" histogram\n");
    for (int i = 0; i < BUCKETS; i++) {
        pb_put_double(&fx->point, 2, i + 0.5);
        pb_put_message(&fx->value, 3, &fx->point);
        buf_printf(&want, "{\"my.h_bucket\",a=\"1\",b=\"2\",le=\"%d.5\"} 0\n", i);
    }
    end_metric(fx, 7);
    end_metric(fx, 7);
    end_family(fx);
    buf_text(&want, "{\"my.h_bucket\",a=\"1\",b=\"2\",le=\"+Inf\"} 0\n"
                    "{\"my.h_sum\",a=\"1\",b=\"2\"} 0\n{\"my.h_count\",a=\"1\",b=\"2\"} 0\n"
                    "{\"my.h_bucket\",le=\"+Inf\"} 0\n{\"my.h_sum\"} 0\n{\"my.h_count\"} 0\n");
    buf_u8(&want, 0);
    expect(fx, (const char *)want.ptr);
    buf_free(&want);
}

static void what_is_cut_short_is_bad_data(void **state)
{
    struct fixture *fx = *state;

    begin_family(fx, "g", "Help", 1);
    put_label(fx, "a", "1");
    pb_put_double(&fx->value, 1, 1);
    end_metric(fx, 2);
    end_family(fx);
    for (size_t n = 1; n < fx->body.len; n++) {
        assert_int_equal(
            exposition_from_protobuf((struct bytes){ fx->body.ptr, n }, 1 << 20, &fx->text, NULL),
            ERR_BAD_DATA);
        assert_int_equal(fx->text.len, 0);
    }
    fx->body.ptr[2] = 0x7f; /* the family's name is longer than the family */
    assert_int_equal(exposition_from_protobuf(buf_as_bytes(&fx->body), 1 << 20, &fx->text, NULL),
                     ERR_BAD_DATA);
}

static void the_text_is_bounded(void **state)
{
    struct fixture *fx = *state;

    begin_family(fx, "a_name_of_some_length", "", 1);
    for (int i = 0; i < 1000; i++)
        end_metric(fx, 2);
    end_family(fx);
    assert_int_equal(exposition_from_protobuf(buf_as_bytes(&fx->body), 10000, &fx->text, NULL),
                     ERR_TOO_LARGE);
    assert_true(fx->text.cap < 40000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(single_values_become_lines),
        TEST(histograms_and_summaries_become_their_series),
        TEST(long_metrics_have_their_labels_in_every_line),
        TEST(what_is_cut_short_is_bad_data),
        TEST(the_text_is_bounded),
    };

    return cmocka_run_group_tests_name("exposition_protobuf", tests, NULL, NULL);
}
