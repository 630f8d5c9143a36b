#include "ingest/remote_write2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ingest/snappy.h"
#include "pb_build.h"

#include "base/banned.h"

/* Every test has a decoder that starts empty, and an arena for error texts. */
struct fixture {
    struct remote_write2 rw;
    struct arena *arena;
    struct err err;
    struct buf series, sub, msg; /* under construction */
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

    remote_write2_free(&fx->rw);
    buf_free(&fx->series);
    buf_free(&fx->sub);
    buf_free(&fx->msg);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

static enum errc parse(struct fixture *fx)
{
    return remote_write2_parse(&fx->rw, buf_as_bytes(&fx->msg), &fx->err);
}

static const char *const symbols[] = { "",    "__name__", "up",      "job",   "x",       "trace_id",
                                       "abc", "help!",    "seconds", "a_sum", "a_bucket" };
enum { EMPTY, NAME, UP, JOB, X, TRACE_ID, ABC, HELP, SECONDS, A_SUM, A_BUCKET };

static void put_symbols(struct fixture *fx)
{
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        pb_put_text(&fx->msg, 4, symbols[i]);
}

static void put_refs(struct fixture *fx, struct buf *to, size_t n, const uint64_t *refs)
{
    struct buf packed = { 0 };

    (void)fx;
    for (size_t i = 0; i < n; i++)
        buf_uvarint(&packed, refs[i]);
    pb_put_message(to, 1, &packed);
    buf_free(&packed);
}

#define REFS(...)                                                                                  \
    sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t), (const uint64_t[])                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void put_sample(struct fixture *fx, double v, int64_t t_ms, int64_t start_ms)
{
    pb_put_double(&fx->sub, 1, v);
    pb_put_varint(&fx->sub, 2, (uint64_t)t_ms);
    if (start_ms)
        pb_put_varint(&fx->sub, 3, (uint64_t)start_ms);
    pb_put_message(&fx->series, 2, &fx->sub);
}

static void put_series(struct fixture *fx)
{
    pb_put_message(&fx->msg, 5, &fx->series);
}

static void assert_label(struct label l, const char *name, const char *value)
{
    assert_true(str_is(l.name, name));
    assert_true(str_is(l.value, value));
}

static void assert_text(struct fixture *fx, const char *expected)
{
    if (!str_is(buf_as_str(&fx->rw.text), expected))
        fail_msg("%.*s", STR_ARG(buf_as_str(&fx->rw.text)));
}

static void a_series_has_labels_samples_and_start_times(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP, JOB, X));
    put_sample(fx, 1.5, 1700000000000, 0);
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 2, 1700000000001, 1600000000000);
    put_sample(fx, 3, -5, -7);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_true(b->n_series == 2 && b->n_samples == 3 && fx->rw.n_left_out == 0);
    assert_int_equal(b->series[0].n_labels, 2);
    assert_label(b->series[0].labels[0], "__name__", "up");
    assert_label(b->series[0].labels[1], "job", "x");
    assert_true(b->series[1].first_sample == 1 && b->series[1].n_samples == 2);
    assert_int_equal(b->series[1].n_labels, 1);
    assert_true(b->samples[0].v == 1.5 && b->samples[0].t_ms == 1700000000000);
    assert_true(b->samples[2].v == 3 && b->samples[2].t_ms == -5);
    assert_true(b->start_ms[0] == 0 && b->start_ms[1] == 1600000000000 && b->start_ms[2] == -7);
}

static void a_draft_had_one_start_time_for_a_series(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1000, 0);
    put_sample(fx, 2, 2000, 900);
    pb_put_varint(&fx->sub, 15, 3000);
    pb_put_message(&fx->series, 3, &fx->sub);
    pb_put_varint(&fx->series, 6, 500);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_true(b->start_ms[0] == 500 && b->start_ms[1] == 900);
    assert_true(b->histograms[0].start_ms == 500);
}

static void nothing_pays_for_start_times_that_are_not_there(void **state)
{
    struct fixture *fx = *state;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 0);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_null(fx->rw.batch.start_ms);
}

static void order_and_packing_do_not_matter(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_sample(fx, 1, 1, 0);
    pb_put_varint(&fx->series, 1, NAME); /* one by one, and behind the samples */
    pb_put_varint(&fx->series, 1, UP);
    put_refs(fx, &fx->series, REFS(JOB, X));
    pb_put_varint(&fx->series, 7, 1); /* of a later version */
    put_series(fx);
    pb_put_text(&fx->msg, 1, "reserved");
    put_symbols(fx); /* behind the series */
    pb_put_text(&fx->msg, 99, "of a later version");
    assert_int_equal(parse(fx), OK);
    assert_int_equal(b->n_series, 1);
    assert_int_equal(b->series[0].n_labels, 2);
    assert_label(b->series[0].labels[1], "job", "x");
}

static void histograms_belong_to_their_series(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    pb_put_varint(&fx->sub, 1, 7);
    pb_put_varint(&fx->sub, 15, 1000);
    pb_put_varint(&fx->sub, 17, 500);
    pb_put_message(&fx->series, 3, &fx->sub);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_true(b->n_histograms == 1 && b->series[0].n_histograms == 1);
    assert_true(b->histograms[0].h.count == 7 && b->histograms[0].t_ms == 1000);
    assert_true(b->histograms[0].start_ms == 500);
}

static void put_exemplar(struct fixture *fx, uint64_t name, uint64_t value)
{
    put_refs(fx, &fx->sub, REFS(name, value));
    pb_put_double(&fx->sub, 2, 0.5);
    pb_put_varint(&fx->sub, 3, 9);
    pb_put_message(&fx->series, 4, &fx->sub);
}

static void a_series_may_have_exemplars_alone(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_symbols(fx);
    put_exemplar(fx, TRACE_ID, ABC); /* its numbers do not mix with those of the series */
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_true(b->n_series == 1 && b->n_exemplars == 1 && fx->rw.n_left_out == 0);
    assert_int_equal(b->series[0].n_labels, 1);
    assert_int_equal(b->series[0].n_exemplars, 1);
    assert_label(b->exemplars[0].labels.items[0], "trace_id", "abc");
    assert_true(b->exemplars[0].v == 0.5 && b->exemplars[0].t_ms == 9);
}

static void put_metadata(struct fixture *fx, uint64_t type, uint64_t help, uint64_t unit)
{
    pb_put_varint(&fx->sub, 1, type);
    pb_put_varint(&fx->sub, 3, help);
    pb_put_varint(&fx->sub, 4, unit);
    pb_put_message(&fx->series, 5, &fx->sub);
}

static void metadata_is_told_once_a_family(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;
    static const uint64_t names[] = { UP, UP, A_SUM, A_BUCKET };

    put_symbols(fx);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        put_refs(fx, &fx->series, REFS(NAME, names[i]));
        put_sample(fx, 1, 1, 0);
        put_metadata(fx, i < 2 ? METRIC_GAUGE : METRIC_HISTOGRAM, HELP, i < 2 ? EMPTY : SECONDS);
        put_series(fx);
    }
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 0);
    pb_put_text(&fx->series, 5, ""); /* as some senders write it when there is none */
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_int_equal(b->n_series, 5);
    assert_int_equal(b->n_metadata, 3); /* "a" twice, by two series names */
    assert_true(str_is(b->metadata[0].family, "up") && b->metadata[0].type == METRIC_GAUGE);
    assert_true(str_is(b->metadata[0].help, "help!") && b->metadata[0].unit.len == 0);
    assert_true(str_is(b->metadata[1].family, "a") && str_is(b->metadata[2].family, "a"));
    assert_true(str_is(b->metadata[2].unit, "seconds"));
}

static void bad_series_are_left_out_and_named(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP, JOB));
    put_sample(fx, 1, 1, 0);
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, 11));
    put_sample(fx, 1, 1, 0);
    put_sample(fx, 1, 2, 0);
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UINT64_MAX));
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP, JOB, X));
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 0);
    put_metadata(fx, METRIC_GAUGE, 99, 0);
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP)); /* a good one */
    put_sample(fx, 7, 3, 0);
    put_exemplar(fx, TRACE_ID, 55);
    put_exemplar(fx, TRACE_ID, ABC);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_true(b->n_series == 1 && b->n_samples == 1 && b->samples[0].v == 7);
    assert_int_equal(b->n_exemplars, 1);
    assert_int_equal(fx->rw.n_left_out, 1 + 2 + 1 + 1 + 1);
    assert_int_equal(fx->rw.n_bad_exemplars, 1);
    assert_text(fx, "invalid labelRefs length 3\n"
                    "labelRefs 1 (name) = 11 (value) outside of symbols table (size 11)\n"
                    "labelRefs 1 (name) = 4294967295 (value) outside of symbols table (size 11)\n"
                    "TimeSeries must contain at least one sample or histogram for series "
                    "up{job=\"x\"}\n"
                    "metadata refs 99 (help) and 0 (unit) outside of symbols table (size 11)\n"
                    "labelRefs 5 (name) = 55 (value) outside of symbols table (size 11)\n");
}

static void no_more_than_some_are_described(void **state)
{
    struct fixture *fx = *state;

    for (int i = 0; i < REMOTE_WRITE2_NAMED + 5; i++) {
        put_refs(fx, &fx->series, REFS(1));
        put_series(fx);
    }
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.n_left_out, REMOTE_WRITE2_NAMED + 5);
    assert_true(str_ends_with(buf_as_str(&fx->rw.text), STR("and 5 more\n")));
}

static void symbol_0_is_empty_without_a_table(void **state)
{
    struct fixture *fx = *state;

    put_refs(fx, &fx->series, REFS(0, 0));
    put_sample(fx, 1, 1, 0);
    put_metadata(fx, METRIC_GAUGE, 0, 0);
    put_series(fx);
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.batch.n_series, 1); /* for the store to refuse */
    assert_int_equal(fx->rw.batch.n_metadata, 0);
}

static void faults_are_named_by_field_and_place(void **state)
{
    struct fixture *fx = *state;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 0);
    put_series(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    pb_put_varint(&fx->sub, 1, 1); /* value is a double */
    pb_put_message(&fx->series, 2, &fx->sub);
    put_series(fx);
    assert_int_equal(parse(fx), ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&fx->err), "timeseries[1].samples[0].value: "));
    assert_int_equal(fx->rw.batch.n_series, 0);

    buf_clear(&fx->msg);
    pb_put_varint(&fx->msg, 4, 1); /* a symbol is a text */
    assert_int_equal(parse(fx), ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&fx->err), "symbols[0]: "));
}

static void every_cut_is_noticed_or_a_whole_message(void **state)
{
    struct fixture *fx = *state;

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 2);
    put_exemplar(fx, TRACE_ID, ABC);
    put_metadata(fx, METRIC_GAUGE, HELP, SECONDS);
    pb_put_varint(&fx->sub, 1, 7);
    pb_put_message(&fx->series, 3, &fx->sub);
    put_series(fx);
    for (size_t n = 0; n < fx->msg.len; n++) {
        enum errc rc = remote_write2_parse(&fx->rw, (struct bytes){ fx->msg.ptr, n }, &fx->err);

        assert_true(rc == OK || rc == ERR_BAD_DATA);
        assert_int_equal(fx->rw.batch.n_series, 0);
    }
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.batch.n_series, 1);
}

static void bodies_are_snappy_blocks(void **state)
{
    struct fixture *fx = *state;
    struct buf block = { 0 };

    put_symbols(fx);
    put_refs(fx, &fx->series, REFS(NAME, UP));
    put_sample(fx, 1, 1, 0);
    put_series(fx);
    assert_int_equal(snappy_encode(buf_as_bytes(&fx->msg), &block, NULL), OK);
    assert_int_equal(remote_write2_read(&fx->rw, buf_as_bytes(&block), &fx->err), OK);
    assert_int_equal(fx->rw.batch.n_samples, 1);
    remote_write2_recycle(&fx->rw);
    assert_int_equal(remote_write2_read(&fx->rw, buf_as_bytes(&fx->msg), &fx->err), ERR_BAD_DATA);
    buf_free(&block);
}

static void limits_hold(void **state)
{
    struct fixture *fx = *state;

    for (int i = 0; i <= REMOTE_WRITE2_MAX_SYMBOLS; i++)
        pb_put_text(&fx->msg, 4, "");
    assert_int_equal(parse(fx), ERR_TOO_LARGE);
    assert_string_equal(err_text(&fx->err),
                        "remote write: more than 1000000 symbols in one request");
    buf_clear(&fx->msg);
    for (int i = 0; i <= REMOTE_WRITE2_MAX_SERIES; i++) {
        pb_put_text(&fx->series, 2, "");
        put_series(fx);
    }
    assert_int_equal(parse(fx), ERR_TOO_LARGE);
    assert_string_equal(err_text(&fx->err), "remote write: more than 250000 series in one request");
    assert_int_equal(fx->rw.batch.n_series, 0);
    remote_write2_recycle(&fx->rw);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_series_has_labels_samples_and_start_times),
        CASE(a_draft_had_one_start_time_for_a_series),
        CASE(nothing_pays_for_start_times_that_are_not_there),
        CASE(order_and_packing_do_not_matter),
        CASE(histograms_belong_to_their_series),
        CASE(a_series_may_have_exemplars_alone),
        CASE(metadata_is_told_once_a_family),
        CASE(bad_series_are_left_out_and_named),
        CASE(no_more_than_some_are_described),
        CASE(symbol_0_is_empty_without_a_table),
        CASE(faults_are_named_by_field_and_place),
        CASE(every_cut_is_noticed_or_a_whole_message),
        CASE(bodies_are_snappy_blocks),
        CASE(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
