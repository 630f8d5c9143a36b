#include "ingest/remote_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db_tools.h"
#include "ingest/snappy.h"
#include "pb_build.h"

#include "base/banned.h"

/* Every test has a decoder that starts empty, and an arena for error texts. */
struct fixture {
    struct remote_write rw;
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

    remote_write_free(&fx->rw);
    buf_free(&fx->series);
    buf_free(&fx->sub);
    buf_free(&fx->msg);
    arena_free(fx->arena);
    free(fx);
    return 0;
}

static enum errc parse(struct fixture *fx)
{
    return remote_write_parse(&fx->rw, buf_as_bytes(&fx->msg), &fx->err);
}

static void assert_label(struct label l, const char *name, const char *value)
{
    assert_true(str_is(l.name, name));
    assert_true(str_is(l.value, value));
}

static void assert_empty(const struct remote_write *rw)
{
    assert_int_equal(rw->batch.n_series, 0);
    assert_int_equal(rw->batch.n_samples, 0);
    assert_int_equal(rw->batch.n_metadata, 0);
}

/* up{job="x"} 1 @1700000000000, by an independent encoder, as one Snappy literal. */
static const uint8_t vector[] = {
    0x2e, 0xb4, 0x0a, 0x2c, 0x0a, 0x0e, 0x0a, 0x08, 0x5f, 0x5f, 0x6e, 0x61, 0x6d, 0x65, 0x5f, 0x5f,
    0x12, 0x02, 0x75, 0x70, 0x0a, 0x08, 0x0a, 0x03, 0x6a, 0x6f, 0x62, 0x12, 0x01, 0x78, 0x12, 0x10,
    0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x3f, 0x10, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31,
};

static void a_known_request_decodes(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ vector, sizeof vector }, &fx->err),
                     OK);
    assert_int_equal(b->n_series, 1);
    assert_int_equal(b->n_samples, 1);
    assert_int_equal(b->n_metadata, 0);
    assert_int_equal(b->series[0].n_labels, 2);
    assert_label(b->series[0].labels[0], "__name__", "up");
    assert_label(b->series[0].labels[1], "job", "x");
    assert_int_equal(b->series[0].first_sample, 0);
    assert_int_equal(b->series[0].n_samples, 1);
    assert_true(b->samples[0].t_ms == 1700000000000);
    assert_true(b->samples[0].v == 1);
}

static void an_empty_request_is_nothing(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ (const uint8_t *)"", 1 }, NULL),
                     OK); /* the byte 00: an empty block */
    assert_empty(&fx->rw);
    assert_int_equal(remote_write_parse(&fx->rw, (struct bytes){ 0 }, NULL), OK);
    assert_empty(&fx->rw);
}

static void series_keep_their_labels_and_samples_apart(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;
    enum { N_SERIES = 300 }; /* enough for every array to have moved */
    char text[24];

    for (int i = 0; i < N_SERIES; i++) {
        snprintf(text, sizeof text, "m%d", i);
        for (int k = 0; k < i % 4; k++)
            pb_put_sample(&fx->series, i + k, 1000 * i + k);
        pb_put_label(&fx->series, "__name__", text);
        for (int k = 0; k < i % 3; k++) /* labels after samples: order does not matter */
            pb_put_label(&fx->series, "l", text);
        pb_put_message(&fx->msg, 1, &fx->series);
    }
    assert_int_equal(parse(fx), OK);
    assert_int_equal(b->n_series, N_SERIES);
    for (size_t i = 0, n = 0; i < N_SERIES; n += b->series[i++].n_samples) {
        const struct write_series *s = &b->series[i];

        snprintf(text, sizeof text, "m%zu", i);
        assert_int_equal(s->n_labels, 1 + i % 3);
        assert_label(s->labels[0], "__name__", text);
        for (size_t k = 1; k < s->n_labels; k++)
            assert_label(s->labels[k], "l", text); /* repeated names pass through */
        assert_int_equal(s->first_sample, n);
        assert_int_equal(s->n_samples, i % 4);
        for (size_t k = 0; k < s->n_samples; k++) {
            assert_true(b->samples[n + k].v == (double)(i + k));
            assert_true(b->samples[n + k].t_ms == (int64_t)(1000 * i + k));
        }
    }
}

/* Short labels in the usual order are read by another way than others. */
static void labels_of_every_length_and_order_are_read(void **state)
{
    const size_t lengths[] = { 0, 1, 126, 127, 128, 129, 300, 20000 };
    struct fixture *fx = *state;
    static char text[20001];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (size_t k = 0; k < ARRAY_LEN(lengths); k++)
            for (uint32_t reverse = 0; reverse < 2; reverse++) {
                const struct label *l;

                memset(text, 'x', sizeof text);
                pb_put_bytes(&fx->sub, 1 + reverse, (struct bytes){ (uint8_t *)text, lengths[i] });
                pb_put_bytes(&fx->sub, 2 - reverse, (struct bytes){ (uint8_t *)text, lengths[k] });
                pb_put_message(&fx->series, 1, &fx->sub);
                buf_clear(&fx->msg);
                pb_put_message(&fx->msg, 1, &fx->series);
                assert_int_equal(parse(fx), OK);
                assert_int_equal(fx->rw.batch.series[0].n_labels, 1);
                l = &fx->rw.batch.series[0].labels[0];
                assert_int_equal(l->name.len, lengths[reverse ? k : i]);
                assert_int_equal(l->value.len, lengths[reverse ? i : k]);
                assert_memory_equal(l->name.ptr, text, l->name.len);
                assert_memory_equal(l->value.ptr, text, l->value.len);
            }
}

static void strings_are_not_copied(void **state)
{
    struct fixture *fx = *state;
    const char *from, *end;

    pb_put_label(&fx->series, "__name__", "up");
    pb_put_message(&fx->msg, 1, &fx->series);
    assert_int_equal(parse(fx), OK);
    from = (const char *)fx->msg.ptr;
    end = from + fx->msg.len;
    assert_true(fx->rw.batch.series[0].labels[0].value.ptr > from);
    assert_true(fx->rw.batch.series[0].labels[0].value.ptr < end);
}

static void values_keep_every_bit(void **state)
{
    const uint64_t bits[] = { STALE_NAN_BITS,     QUIET_NAN_BITS,     0x8000000000000000,
                              0x0000000000000001, 0xfff0000000000000, 0xffffffffffffffff };
    const int64_t times[] = { INT64_MIN, -1, 0, 1, 1700000000000, INT64_MAX };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        pb_put_sample(&fx->series, f64_from_bits(bits[i]), times[i]);
    pb_put_message(&fx->msg, 1, &fx->series);
    assert_int_equal(parse(fx), OK);
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        assert_true(f64_bits(fx->rw.batch.samples[i].v) == bits[i]);
        assert_true(fx->rw.batch.samples[i].t_ms == times[i]);
    }
}

static void scalars_default_to_zero_and_the_last_wins(void **state)
{
    struct fixture *fx = *state;
    const struct sample *s;

    pb_put_message(&fx->series, 2, &fx->sub); /* no bytes at all: 0 at time 0 */
    pb_put_varint(&fx->sub, 2, 7);
    pb_put_message(&fx->series, 2, &fx->sub); /* a time only */
    pb_put_double(&fx->sub, 1, 1);
    pb_put_varint(&fx->sub, 2, 1);
    pb_put_double(&fx->sub, 1, 2);
    pb_put_varint(&fx->sub, 2, 3);
    pb_put_message(&fx->series, 2, &fx->sub);
    pb_put_text(&fx->sub, 1, "first");
    pb_put_text(&fx->sub, 1, "second");
    pb_put_message(&fx->series, 1, &fx->sub); /* a label without value */
    pb_put_message(&fx->msg, 1, &fx->series);
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.batch.n_samples, 3);
    s = fx->rw.batch.samples;
    assert_true(s[0].v == 0 && s[0].t_ms == 0);
    assert_true(s[1].v == 0 && s[1].t_ms == 7);
    assert_true(s[2].v == 2 && s[2].t_ms == 3);
    assert_label(fx->rw.batch.series[0].labels[0], "second", "");
}

static void unknown_fields_are_skipped_at_every_level(void **state)
{
    struct fixture *fx = *state;

    pb_put_varint(&fx->msg, 2, 1); /* reserved */
    pb_put_text(&fx->msg, 15, "x");
    pb_put_varint(&fx->series, 1000, 1);
    pb_put_double(&fx->sub, 3, 5);
    pb_put_double(&fx->sub, 1, 5);
    pb_put_message(&fx->series, 2, &fx->sub);
    pb_put_text(&fx->sub, 2, "value");
    pb_put_text(&fx->sub, 3, "more");
    pb_put_text(&fx->sub, 1, "name");
    pb_put_message(&fx->series, 1, &fx->sub);
    pb_put_message(&fx->msg, 1, &fx->series);
    pb_put_text(&fx->sub, 2, "family");
    pb_put_varint(&fx->sub, 3, 1); /* unused by the message */
    pb_put_varint(&fx->sub, 6, 1);
    pb_put_message(&fx->msg, 3, &fx->sub);
    assert_int_equal(parse(fx), OK);
    assert_true(fx->rw.batch.samples[0].v == 5);
    assert_label(fx->rw.batch.series[0].labels[0], "name", "value");
    assert_true(str_is(fx->rw.batch.metadata[0].family, "family"));
}

static void histograms_belong_to_their_series(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    pb_put_label(&fx->series, "__name__", "float");
    pb_put_sample(&fx->series, 1, 1);
    pb_put_message(&fx->msg, 1, &fx->series);

    pb_put_label(&fx->series, "__name__", "native");
    for (uint64_t i = 0; i < 2; i++) {
        pb_put_varint(&fx->sub, 1, 10 + i);
        pb_put_varint(&fx->sub, 15, 1700000000000);
        pb_put_message(&fx->series, 4, &fx->sub);
    }
    pb_put_sample(&fx->series, 2, 2);
    pb_put_message(&fx->msg, 1, &fx->series);

    assert_int_equal(parse(fx), OK);
    assert_int_equal(b->n_histograms, 2);
    assert_int_equal(b->series[0].n_histograms, 0);
    assert_true(b->series[1].first_histogram == 0 && b->series[1].n_histograms == 2);
    assert_int_equal(b->series[1].n_samples, 1);
    assert_true(b->samples[1].v == 2);
    assert_true(b->histograms[1].h.count == 11 && b->histograms[1].t_ms == 1700000000000);
}

static void exemplars_belong_to_their_series(void **state)
{
    struct fixture *fx = *state;
    const struct write_batch *b = &fx->rw.batch;

    for (int i = 0; i < 2; i++) {
        pb_put_label(&fx->sub, "trace_id", i ? "def" : "abc");
        pb_put_label(&fx->sub, "span_id", "1");
        pb_put_double(&fx->sub, 2, 1.5 + i);
        pb_put_varint(&fx->sub, 3, 5);
        pb_put_message(&fx->series, 3, &fx->sub);
        pb_put_label(&fx->series, "__name__", "m"); /* a series' labels have the same number */
        pb_put_message(&fx->msg, 1, &fx->series);
    }
    assert_int_equal(parse(fx), OK);
    assert_int_equal(b->n_exemplars, 2);
    assert_int_equal(b->n_samples, 0);
    for (size_t i = 0; i < 2; i++) {
        const struct exemplar *e = &b->exemplars[i];

        assert_true(b->series[i].first_exemplar == i && b->series[i].n_exemplars == 1);
        assert_int_equal(b->series[i].n_labels, 1);
        assert_label(b->series[i].labels[0], "__name__", "m");
        assert_int_equal(e->labels.n, 2);
        assert_label(e->labels.items[0], "trace_id", i ? "def" : "abc");
        assert_true(e->t_ms == 5 && e->v == 1.5 + (double)i);
    }
}

static void metadata_is_read(void **state)
{
    const struct {
        uint64_t type;
        const char *family, *help;
        enum metric_type want;
    } cases[] = {
        { 0, "a", "", METRIC_UNKNOWN },         { 1, "b_total", "Help.", METRIC_COUNTER },
        { 2, "c", "x", METRIC_GAUGE },          { 3, "d", "x", METRIC_HISTOGRAM },
        { 4, "e", "x", METRIC_GAUGEHISTOGRAM }, { 5, "f", "x", METRIC_SUMMARY },
        { 6, "g", "x", METRIC_INFO },           { 7, "h", "x", METRIC_STATESET },
        { 8, "i", "x", METRIC_UNKNOWN },        { (uint64_t)-1, "j", "x", METRIC_UNKNOWN },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pb_put_varint(&fx->sub, 1, cases[i].type);
        pb_put_text(&fx->sub, 2, cases[i].family);
        pb_put_text(&fx->sub, 4, cases[i].help);
        pb_put_text(&fx->sub, 5, "seconds");
        pb_put_message(&fx->msg, 3, &fx->sub);
    }
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.batch.n_metadata, ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct metric_metadata *m = &fx->rw.batch.metadata[i];

        assert_int_equal(m->type, cases[i].want);
        assert_true(str_is(m->family, cases[i].family));
        assert_true(str_is(m->help, cases[i].help));
        assert_true(str_is(m->unit, "seconds"));
    }
}

static void bad_metadata_does_not_lose_the_rest(void **state)
{
    struct fixture *fx = *state;

    pb_put_text(&fx->sub, 4, "no name");
    pb_put_message(&fx->msg, 3, &fx->sub);
    pb_put_text(&fx->sub, 2, "m");
    pb_put_text(&fx->sub, 4, "caf\xe9");
    pb_put_message(&fx->msg, 3, &fx->sub);
    pb_put_text(&fx->sub, 2, "good");
    pb_put_message(&fx->msg, 3, &fx->sub);
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.n_bad_metadata, 2);
    assert_int_equal(fx->rw.batch.n_metadata, 1);
    assert_true(str_is(fx->rw.batch.metadata[0].family, "good"));
}

static void faults_are_named_with_path_and_offset(void **state)
{
    const struct {
        const char *bytes;
        size_t n;
        uint32_t pos;
        const char *text;
    } cases[] = {
#define CASE(bytes, pos, text) { (bytes), sizeof(bytes) - 1, (pos), (text) }
        CASE("\x0a\x02\x12\x00\x0a\x06\x12\x00\x12\x02\x10\x80", 10,
             "remote write: timeseries[1].samples[1].timestamp: truncated varint at byte 10"),
        CASE("\x0a\x04\x12\x02\x08\x01", 4,
             "remote write: timeseries[0].samples[0].value: wrong wire type for this field at "
             "byte 4"),
        CASE("\x0a\x05\x0a\x03\x0a\x05x", 4,
             "remote write: timeseries[0].labels[0].name: length beyond the end of the message "
             "at byte 4"),
        CASE("\x0a\x04\x0a\x02\x18\x80", 4,
             "remote write: timeseries[0].labels[0]: truncated varint at byte 4"),
        CASE("\x0a\x04\x22\x02\x09\x00", 4,
             "remote write: timeseries[0].histograms[0].count_int: truncated fixed-size number at "
             "byte 4"),
        CASE("\x0a\x06\x22\x04\x5a\x02\x0a\x00", 6,
             "remote write: timeseries[0].histograms[0].positive_spans[0].offset: wrong wire type "
             "for this field at byte 6"),
        CASE("\x0a\x04\x1a\x02\x08\x00", 4,
             "remote write: timeseries[0].exemplars[0].labels[0]: wrong wire type for this field "
             "at byte 4"),
        CASE("\x1a\x00\x1a\x02\x0a\x00", 4,
             "remote write: metadata[1].type: wrong wire type for this field at byte 4"),
        CASE("\x08\x01", 0,
             "remote write: timeseries[0]: wrong wire type for this field at byte 0"),
        CASE("\x0b", 0, "remote write: timeseries[0]: invalid wire type at byte 0"),
        CASE("\x00", 0, "remote write: invalid field number at byte 0"),
#undef CASE
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes in = { (const uint8_t *)cases[i].bytes, cases[i].n };

        assert_int_equal(remote_write_parse(&fx->rw, in, &fx->err), ERR_BAD_DATA);
        assert_string_equal(err_text(&fx->err), cases[i].text);
        assert_int_equal(fx->err.pos, cases[i].pos);
        assert_empty(&fx->rw);
    }
}

/* Where a cut request is still valid, it holds the series before the cut, whole. */
static void every_truncation_is_an_error_or_a_whole_prefix(void **state)
{
    struct fixture *fx = *state;
    size_t ends[4] = { 0 }, n_ends = 1, n_valid = 0;

    for (int i = 0; i < 3; i++) {
        pb_put_label(&fx->series, "__name__", "some_metric_total");
        pb_put_label(&fx->series, "job", "x");
        pb_put_sample(&fx->series, 1.5, 1700000000000 + i);
        pb_put_message(&fx->msg, 1, &fx->series);
        ends[n_ends++] = fx->msg.len;
    }
    for (size_t cut = 0; cut <= fx->msg.len; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees one byte too many */
        enum errc rc;

        assert_non_null(exact);
        memcpy(exact, fx->msg.ptr, cut);
        rc = remote_write_parse(&fx->rw, (struct bytes){ exact, cut }, &fx->err);
        if (n_valid < n_ends && cut == ends[n_valid]) {
            assert_int_equal(rc, OK);
            assert_int_equal(fx->rw.batch.n_series, n_valid);
            assert_int_equal(fx->rw.batch.n_samples, n_valid);
            n_valid++;
        } else {
            assert_int_equal(rc, ERR_BAD_DATA);
            assert_empty(&fx->rw);
        }
        free(exact);
    }
    assert_int_equal(n_valid, n_ends);
}

static void corrupt_blocks_are_refused(void **state)
{
    struct fixture *fx = *state;

    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ vector, sizeof vector }, NULL), OK);
    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ 0 }, &fx->err), ERR_BAD_DATA);
    assert_string_equal(err_text(&fx->err), "snappy: corrupt input");
    assert_empty(&fx->rw); /* nothing is left of the request before */
}

/* A few bytes ask for an item: the limits are what keeps memory in bounds. */
static void limits_are_named(void **state)
{
    const struct {
        struct str item;
        bool in_series;
        size_t max;
        const char *text;
    } cases[] = {
        { STR("\x0a\x00"), false, REMOTE_WRITE_MAX_SERIES,
          "remote write: more than 250000 series in one request" },
        { STR("\x0a\x00"), true, REMOTE_WRITE_MAX_LABELS,
          "remote write: more than 4000000 labels in one request" },
        { STR("\x12\x00"), true, REMOTE_WRITE_MAX_SAMPLES,
          "remote write: more than 2000000 samples in one request" },
        { STR("\x1a\x03\x12\x01m"), false, REMOTE_WRITE_MAX_METADATA,
          "remote write: more than 100000 metadata entries in one request" },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t more = 0; more < 2; more++) {
            size_t n = cases[i].max + more;

            buf_clear(&fx->msg);
            if (cases[i].in_series) {
                pb_put_key(&fx->msg, 1, 2);
                buf_uvarint(&fx->msg, n * cases[i].item.len);
            }
            for (size_t k = 0; k < n; k++)
                buf_str(&fx->msg, cases[i].item);
            assert_int_equal(parse(fx), more ? ERR_TOO_LARGE : OK);
            if (more) {
                assert_string_equal(err_text(&fx->err), cases[i].text);
                assert_empty(&fx->rw);
            }
        }
}

static void a_body_over_the_limit_is_refused(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t one[1];

    assert_int_equal(
        remote_write_parse(&fx->rw, (struct bytes){ one, REMOTE_WRITE_MAX_BYTES + 1 }, &fx->err),
        ERR_TOO_LARGE);
    assert_string_equal(err_text(&fx->err),
                        "remote write: a request of 33554433 bytes, at most 33554432 are allowed");
}

static void memory_is_reused_and_the_surplus_given_back(void **state)
{
    struct fixture *fx = *state;
    const struct write_series *kept;

    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ vector, sizeof vector }, NULL), OK);
    kept = fx->rw.batch.series;
    remote_write_recycle(&fx->rw);
    assert_empty(&fx->rw);
    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ vector, sizeof vector }, NULL), OK);
    assert_ptr_equal(fx->rw.batch.series, kept);

    for (int i = 0; i < 200000; i++)
        buf_add(&fx->series, "\x12", 2); /* an empty sample */
    pb_put_message(&fx->msg, 1, &fx->series);
    assert_int_equal(parse(fx), OK);
    assert_int_equal(fx->rw.batch.n_samples, 200000);
    remote_write_recycle(&fx->rw);
    assert_int_equal(fx->rw.cap_samples, 0);
    assert_null(fx->rw.samples);
    assert_int_equal(remote_write_read(&fx->rw, (struct bytes){ vector, sizeof vector }, NULL), OK);
    assert_true(fx->rw.batch.samples[0].v == 1);
}

/* ---- with a store that knows the series ---- */

static void open_store(struct fixture *fx)
{
    struct db_options o = test_db_options(NULL);

    fx->rw.db = open_db(&o);
}

static void build_series(struct fixture *fx, const char *const (*labels)[2], size_t n, double v)
{
    for (size_t i = 0; i < n; i++)
        pb_put_label(&fx->series, labels[i][0], labels[i][1]);
    pb_put_sample(&fx->series, v, 1000);
    pb_put_message(&fx->msg, 1, &fx->series);
}

/* Sends what is built, and checks whether the labels of each series were left out. */
static void send(struct fixture *fx, const char *left_out)
{
    const struct write_batch *b = &fx->rw.batch;
    struct write_result res = { 0 };

    assert_int_equal(parse(fx), OK);
    assert_true(b->recognised);
    assert_int_equal(b->n_series, strlen(left_out));
    for (size_t i = 0; i < b->n_series; i++) {
        assert_int_equal(b->series[i].n_labels == 0, left_out[i] == 'y');
        assert_true(left_out[i] == 'n' || b->series[i].known);
        assert_int_equal(b->series[i].n_samples, 1);
    }
    assert_int_equal(db_append(fx->rw.db, b, &res, &fx->err), OK);
    assert_int_equal(res.stored, b->n_series);
    buf_free(&res.text);
    buf_clear(&fx->msg);
}

static size_t count_series(const struct fixture *fx)
{
    struct db_stats stats;

    db_stats(fx->rw.db, &stats);
    return stats.head_series;
}

static const char *const a_labels[][2] = { { "__name__", "up" }, { "job", "a" } };
static const char *const b_labels[][2] = { { "__name__", "up" }, { "job", "b" }, { "x", "y" } };
static const char *const c_labels[][2] = { { "__name__", "up" }, { "job", "b" }, { "x", "yy" } };

static void series_in_the_order_of_last_time_need_no_labels(void **state)
{
    struct fixture *fx = *state;

    open_store(fx);
    for (int round = 0; round < 3; round++) {
        build_series(fx, a_labels, 2, 1);
        build_series(fx, b_labels, 3, 2);
        build_series(fx, c_labels, 3, 3);
        send(fx, round < 2 ? "nnn" : "nyy"); /* the second time the order is learnt */
    }
    build_series(fx, b_labels, 3, 2); /* another order: found by their labels */
    build_series(fx, a_labels, 2, 1);
    build_series(fx, c_labels, 3, 3);
    send(fx, "nnn");
    assert_int_equal(count_series(fx), 3);
    db_close(fx->rw.db);
}

/* Sets that begin with the labels of the series expected are others all the same. */
static void more_labels_than_expected_are_another_series(void **state)
{
    static const char *const more[][2] = {
        { "__name__", "up" }, { "job", "b" }, { "x", "y" }, { "z", "" }
    };
    struct fixture *fx = *state;

    open_store(fx);
    for (int round = 0; round < 2; round++) {
        build_series(fx, a_labels, 2, 1);
        build_series(fx, b_labels, 3, 2);
        send(fx, "nn");
    }
    build_series(fx, a_labels, 2, 1);
    build_series(fx, more, 4, 2); /* an empty label is none */
    send(fx, "nn");
    assert_int_equal(count_series(fx), 2);
    build_series(fx, a_labels, 2, 1);
    for (size_t i = 0; i < 3; i++)
        pb_put_label(&fx->series, b_labels[i][0], b_labels[i][1]);
    pb_put_sample(&fx->series, 7, 1000);
    pb_put_label(&fx->series, "y", "behind the sample");
    pb_put_message(&fx->msg, 1, &fx->series);
    send(fx, "nn");
    assert_int_equal(count_series(fx), 3);
    db_close(fx->rw.db);
}

/* Lengths of one and two bytes. */
static void long_labels_are_recognised_too(void **state)
{
    struct fixture *fx = *state;

    open_store(fx);
    for (int round = 0; round < 3; round++) {
        for (size_t n = 100; n < 140; n++) {
            char text[200];

            memset(text, 'v', n);
            text[n] = 0;
            pb_put_label(&fx->series, "__name__", "up");
            pb_put_label(&fx->series, "l", text);
            pb_put_sample(&fx->series, 1, 1000);
            pb_put_message(&fx->msg, 1, &fx->series);
        }
        send(fx, round < 2 ? "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                           : "nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
    }
    db_close(fx->rw.db);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_known_request_decodes),
        TEST(an_empty_request_is_nothing),
        TEST(series_keep_their_labels_and_samples_apart),
        TEST(labels_of_every_length_and_order_are_read),
        TEST(strings_are_not_copied),
        TEST(values_keep_every_bit),
        TEST(scalars_default_to_zero_and_the_last_wins),
        TEST(unknown_fields_are_skipped_at_every_level),
        TEST(histograms_belong_to_their_series),
        TEST(exemplars_belong_to_their_series),
        TEST(metadata_is_read),
        TEST(bad_metadata_does_not_lose_the_rest),
        TEST(faults_are_named_with_path_and_offset),
        TEST(every_truncation_is_an_error_or_a_whole_prefix),
        TEST(corrupt_blocks_are_refused),
        TEST(limits_are_named),
        TEST(a_body_over_the_limit_is_refused),
        TEST(memory_is_reused_and_the_surplus_given_back),
        TEST(series_in_the_order_of_last_time_need_no_labels),
        TEST(more_labels_than_expected_are_another_series),
        TEST(long_labels_are_recognised_too),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
