#include "ingest/remote_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/hash.h"
#include "db_tools.h"
#include "ingest/pbwire.h"
#include "ingest/snappy.h"
#include "pb_build.h"
#include "xor_reader.h"

#include "base/banned.h"

enum { T0 = 1700000000 };
#define T0_MS (T0 * 1000LL)

struct fixture {
    struct db *db;
    struct arena *arena;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct db_options o = test_db_options(NULL);

    f->db = open_db(&o);
    f->arena = arena_new(0);
    f->err = err_in(f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    db_close(f->db);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void append(struct fixture *f, const char *series, int64_t t_ms, double v)
{
    struct sample s = { t_ms, v };

    assert_true(append_series(f->db, series, &s, 1, NULL));
}

/* ---- requests ---- */

static void put_matcher(struct buf *query, uint64_t type, const char *name, const char *value)
{
    struct buf m = { 0 };

    pb_put_varint(&m, 1, type);
    pb_put_text(&m, 2, name);
    pb_put_text(&m, 3, value);
    pb_put_message(query, 3, &m);
    buf_free(&m);
}

/* A query of one matcher over the whole time from T0 on. */
static void put_query(struct buf *request, uint64_t type, const char *name, const char *value)
{
    struct buf q = { 0 };

    pb_put_varint(&q, 1, T0_MS);
    pb_put_varint(&q, 2, T0_MS + 1000000000);
    put_matcher(&q, type, name, value);
    pb_put_message(request, 1, &q);
    buf_free(&q);
}

/* Parses a message, which is emptied. */
static enum errc parse(struct fixture *f, struct buf *message, struct remote_read *rr)
{
    struct buf packed = { 0 };
    enum errc rc;

    assert_int_equal(snappy_encode(buf_as_bytes(message), &packed, NULL), OK);
    rc = remote_read_parse(buf_as_bytes(&packed), rr, &f->err);
    buf_free(&packed);
    buf_free(message);
    *message = (struct buf){ 0 };
    return rc;
}

static void the_first_known_answer_is_chosen(void **state)
{
    static const struct {
        uint64_t wanted[3];
        size_t n;
        bool packed;
        enum remote_read_answer answer;
    } cases[] = {
        { { 0 }, 0, false, REMOTE_READ_SAMPLES },
        { { 1, 0 }, 2, true, REMOTE_READ_XOR_CHUNKS },
        { { 1, 0 }, 2, false, REMOTE_READ_XOR_CHUNKS },
        { { 0, 1 }, 2, true, REMOTE_READ_SAMPLES },
        { { 7, 1 }, 2, true, REMOTE_READ_XOR_CHUNKS },
    };
    struct remote_read rr;
    struct buf b = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf packed = { 0 };

        put_query(&b, 0, "a", "b");
        for (size_t k = 0; k < cases[i].n; k++)
            if (cases[i].packed)
                buf_uvarint(&packed, cases[i].wanted[k]);
            else
                pb_put_varint(&b, 2, cases[i].wanted[k]);
        if (packed.len)
            pb_put_message(&b, 2, &packed);
        buf_free(&packed);
        assert_int_equal(parse(*state, &b, &rr), OK);
        assert_int_equal(rr.answer, cases[i].answer);
        assert_int_equal(rr.n_queries, 1);
        assert_true(rr.queries[0].min_t_ms == T0_MS);
        remote_read_free(&rr);
    }
}

static void bad_requests_say_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    struct remote_read rr;
    struct buf b = { 0 };

    assert_int_equal(remote_read_parse((struct bytes){ (const uint8_t *)"x", 1 }, &rr, &f->err),
                     ERR_BAD_DATA);
    put_query(&b, 4, "a", "b");
    assert_int_equal(parse(f, &b, &rr), ERR_BAD_DATA);
    assert_string_equal(err_text(&f->err), "remote read: invalid matcher type 4");
    put_query(&b, MATCH_RE, "a", "(");
    assert_int_equal(parse(f, &b, &rr), ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&f->err), "missing"));
    put_query(&b, 0, "a", "b");
    pb_put_varint(&b, 2, 7);
    assert_int_equal(parse(f, &b, &rr), ERR_BAD_DATA);
    assert_string_equal(err_text(&f->err),
                        "server does not support any of the requested response types: [7]; "
                        "supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]");
    put_query(&b, 0, "a", "b");
    b.len--;
    assert_int_equal(parse(f, &b, &rr), ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&f->err), "queries[0]"));
    for (int i = 0; i <= REMOTE_READ_MAX_QUERIES; i++)
        put_query(&b, 0, "a", "b");
    assert_int_equal(parse(f, &b, &rr), ERR_TOO_LARGE);
}

/* ---- samples ---- */

static void samples_come_as_one_message(void **state)
{
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct buf b = { 0 }, out = { 0 }, series = { 0 }, result = { 0 }, want = { 0 };
    struct remote_read rr;

    append(f, "up job=a", T0_MS - 1, 9); /* before the query */
    append(f, "up job=a", T0_MS, 1);
    append(f, "up job=a", T0_MS + 15000, 2.5);
    append(f, "up job=b", T0_MS, stale_nan());
    put_query(&b, MATCH_EQ, "__name__", "nothing");
    put_query(&b, MATCH_RE, "job", "a|b");
    assert_int_equal(parse(f, &b, &rr), OK);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), OK);
    pb_put_message(&want, 1, &result);
    pb_put_label(&series, "__name__", "up");
    pb_put_label(&series, "job", "a");
    pb_put_sample(&series, 1, T0_MS);
    pb_put_sample(&series, 2.5, T0_MS + 15000);
    pb_put_message(&result, 1, &series);
    pb_put_label(&series, "__name__", "up");
    pb_put_label(&series, "job", "b");
    pb_put_sample(&series, stale_nan(), T0_MS);
    pb_put_message(&result, 1, &series);
    pb_put_message(&want, 1, &result);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.ptr, want.ptr, out.len);
    limits.max_samples = 2;
    buf_clear(&out);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), ERR_LIMIT);
    assert_string_equal(err_text(&f->err), "exceeded sample limit (2)");
    limits = remote_read_limits_default();
    limits.max_bytes = 50;
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), ERR_LIMIT);
    remote_read_free(&rr);
    buf_free(&out);
    buf_free(&want);
    buf_free(&series);
    buf_free(&result);
}

static void limits_are_of_all_queries_together(void **state)
{
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct buf b = { 0 }, out = { 0 };
    struct remote_read rr;
    size_t whole;

    append(f, "up job=a", T0_MS, 1);
    append(f, "up job=a", T0_MS + 15000, 2);
    put_query(&b, MATCH_EQ, "job", "a");
    put_query(&b, MATCH_EQ, "job", "a");
    assert_int_equal(parse(f, &b, &rr), OK);
    limits.max_samples = 4;
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), OK);
    whole = out.len;
    for (limits.max_samples = 1; limits.max_samples < 4; limits.max_samples++) {
        buf_clear(&out);
        assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), ERR_LIMIT);
    }
    for (limits.max_bytes = 1; limits.max_bytes < whole; limits.max_bytes++) {
        buf_clear(&out);
        assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), ERR_LIMIT);
    }
    buf_clear(&out);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), OK);
    assert_int_equal(out.len, whole);
    remote_read_free(&rr);
    buf_free(&out);
}

static void external_labels_are_added_and_asked_for(void **state)
{
    const struct label external[] = { { STR("a"), STR("first") },
                                      { STR("job"), STR("never") },
                                      { STR("zone"), STR("z") } };
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct buf b = { 0 }, q = { 0 }, out = { 0 }, series = { 0 }, result = { 0 }, want = { 0 };
    struct remote_read rr;

    append(f, "up job=x", T0_MS, 1);
    append(f, "up zone=other", T0_MS, 1);
    pb_put_varint(&q, 1, T0_MS);
    pb_put_varint(&q, 2, T0_MS);
    put_matcher(&q, MATCH_EQ, "__name__", "up");
    put_matcher(&q, MATCH_EQ, "zone", "z");
    pb_put_message(&b, 1, &q);
    buf_free(&q);
    assert_int_equal(parse(f, &b, &rr), OK);
    rr.external = (struct labels){ external, ARRAY_LEN(external) };
    assert_int_equal(remote_read_apply_external(&rr, &f->err), OK);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), OK);
    pb_put_label(&series, "__name__", "up");
    pb_put_label(&series, "a", "first");
    pb_put_label(&series, "job", "x");
    pb_put_label(&series, "zone", "z");
    pb_put_sample(&series, 1, T0_MS);
    pb_put_message(&result, 1, &series);
    pb_put_message(&want, 1, &result);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.ptr, want.ptr, out.len);
    remote_read_free(&rr);
    buf_free(&out);
    buf_free(&want);
    buf_free(&series);
    buf_free(&result);
}

/* ---- frames ---- */

/* What a stream says, put together. */
struct received {
    struct column column; /* of one series: floats */
    struct buf labels;    /* of it, as sent */
    size_t n_series, n_samples, n_frames, n_histograms;
    uint64_t query;
    int64_t last_ms;
};

static void receive_chunk(struct received *got, struct bytes chunk)
{
    struct pb_reader r = pb_on(chunk);
    struct pb_field f;
    uint64_t first_ms = 0, last_ms = 0, type = 0;
    struct bytes data = { 0 };

    while (pb_next(&r, &f)) {
        if (f.key == PB_KEY(1, PB_VARINT))
            first_ms = f.value;
        else if (f.key == PB_KEY(2, PB_VARINT))
            last_ms = f.value;
        else if (f.key == PB_KEY(3, PB_VARINT))
            type = f.value;
        else
            data = f.bytes;
    }
    assert_int_equal(r.fault, PB_NO_FAULT);
    if (type != 1) {
        got->n_histograms += (size_t)data.ptr[0] << 8 | data.ptr[1];
        return;
    }
    struct xor_reader x = xor_read(data);

    assert_true(x.n > 0 && x.n <= 120);
    for (size_t i = 0; i < x.n; i++) {
        xor_next(&x);
        assert_true(i > 0 || x.t_ms == (int64_t)first_ms);
        assert_true(x.t_ms > got->last_ms);
        got->last_ms = x.t_ms;
        assert_true(column_add(&got->column, x.t_ms, x.v));
    }
    assert_true(x.t_ms == (int64_t)last_ms && xor_at_end(&x));
    got->n_samples += x.n;
}

static void receive_series(struct received *got, struct bytes series)
{
    struct pb_reader r = pb_on(series);
    struct pb_field f;
    struct buf labels = { 0 };
    bool begun = false;

    while (pb_next(&r, &f)) {
        if (f.key == PB_KEY(1, PB_BYTES)) {
            buf_add(&labels, f.bytes.ptr, f.bytes.len);
            continue;
        }
        if (!begun
            && (labels.len != got->labels.len || got->n_series == 0
                || memcmp(labels.ptr, got->labels.ptr, labels.len) != 0)) {
            got->n_series++;
            got->last_ms = INT64_MIN;
            column_clear(&got->column);
            buf_clear(&got->labels);
            buf_add(&got->labels, labels.ptr, labels.len);
        }
        begun = true;
        receive_chunk(got, f.bytes);
    }
    assert_int_equal(r.fault, PB_NO_FAULT);
    buf_free(&labels);
}

static void receive(struct received *got, struct bytes batch)
{
    struct reader r = reader_on(batch);

    while (reader_left(&r)) {
        size_t n = (size_t)read_uvarint(&r);
        uint32_t crc = load_u32be(read_bytes(&r, 4).ptr);
        struct bytes message = read_bytes(&r, n);
        struct pb_reader m = pb_on(message);
        struct pb_field f;
        uint64_t query = 0;

        assert_false(r.overrun);
        assert_int_equal(crc, crc32c(0, message.ptr, message.len));
        while (pb_next(&m, &f)) {
            if (f.key == PB_KEY(1, PB_BYTES))
                receive_series(got, f.bytes);
            else
                query = f.value;
        }
        assert_true(query >= got->query);
        got->query = query;
        got->n_frames++;
    }
}

static void received_free(struct received *got)
{
    column_free(&got->column);
    buf_free(&got->labels);
}

/* Random values, which hardly compress: n of them a millisecond apart. */
static void append_noise(struct fixture *f, const char *series, size_t n)
{
    struct sample *samples = malloc(n * sizeof *samples);
    uint64_t x = n;

    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        samples[i] = (struct sample){ T0_MS + (int64_t)i, (double)(x >> 11) };
    }
    assert_true(append_series(f->db, series, samples, n, NULL));
    free(samples);
}

static void long_answer_comes_in_batches_and_whole(void **state)
{
    enum { LONG = 900000, SHORT = 1000 };
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct received got = { 0 };
    struct remote_read_stream *s;
    struct remote_read rr;
    struct buf b = { 0 }, out = { 0 };
    size_t batches = 0, total = 0;
    bool more = true;

    append_noise(f, "a n=1", SHORT);
    append_noise(f, "b n=1", LONG);
    append_noise(f, "c n=1", SHORT);
    put_query(&b, MATCH_EQ, "n", "1");
    put_query(&b, MATCH_EQ, "__name__", "a");
    assert_int_equal(parse(f, &b, &rr), OK);
    s = remote_read_stream_new(&rr, f->db, &limits);
    assert_non_null(s);
    while (more) {
        struct column whole;

        buf_clear(&out);
        assert_int_equal(remote_read_stream_next(s, &out, &more, &f->err), OK);
        assert_true(out.len < REMOTE_READ_BATCH_BYTES + 2 * REMOTE_READ_FRAME_BYTES);
        receive(&got, buf_as_bytes(&out));
        batches++;
        total += out.len;
        if (got.n_series == 2 && got.column.n == LONG) {
            whole = read_series(f->db, "b n=1", T0_MS, T0_MS + LONG);
            assert_memory_equal(got.column.v, whole.v, LONG * sizeof *whole.v);
            assert_memory_equal(got.column.t_ms, whole.t_ms, LONG * sizeof *whole.t_ms);
            column_free(&whole);
        }
    }
    assert_true(batches > 1 && got.n_frames > total / (2 * REMOTE_READ_FRAME_BYTES));
    assert_int_equal(got.n_series, 4);
    assert_int_equal(got.n_samples, LONG + 3 * SHORT);
    assert_int_equal(got.query, 1);
    remote_read_stream_free(s);
    received_free(&got);
    buf_free(&out);
}

static void empty_answer_has_no_frames(void **state)
{
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct remote_read_stream *s;
    struct remote_read rr;
    struct buf b = { 0 }, out = { 0 };
    bool more = true;

    put_query(&b, MATCH_EQ, "n", "1");
    assert_int_equal(parse(f, &b, &rr), OK);
    s = remote_read_stream_new(&rr, f->db, &limits);
    assert_int_equal(remote_read_stream_next(s, &out, &more, &f->err), OK);
    assert_true(!more && out.len == 0);
    remote_read_stream_free(s);
}

static void client_that_has_left_ends_the_reading(void **state)
{
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    atomic_bool left = true;
    struct remote_read rr;
    struct buf b = { 0 }, out = { 0 };

    append(f, "up job=a", T0_MS, 1);
    limits.cancel = &left;
    put_query(&b, MATCH_EQ, "job", "a");
    assert_int_equal(parse(f, &b, &rr), OK);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), ERR_CANCELED);
    remote_read_free(&rr);
    buf_free(&out);
}

/* ---- histograms ---- */

static void append_histograms(struct fixture *f, bool is_integer)
{
    static const struct histogram_span spans[] = { { -1, 2 } };
    struct label labels[] = { { METRIC_NAME, STR("h") } };
    struct write_histogram items[3];
    struct write_series series = { .labels = labels, .n_labels = 1, .n_histograms = 3 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = items, .n_histograms = 3
    };
    struct write_result res = { 0 };
    double counts[3][2];

    for (int i = 0; i < 3; i++) {
        counts[i][0] = 3 + i;
        counts[i][1] = 1 + i;
        items[i] = (struct write_histogram){
            .t_ms = T0_MS + i,
            .h = { .schema = 1,
                   .is_integer = is_integer,
                   .zero_threshold = 0.001,
                   .count = 4 + 2 * i,
                   .sum = 1.5,
                   .positive = { spans, counts[i], 1, 2 } },
        };
    }
    assert_int_equal(db_append(f->db, &batch, &res, &f->err), OK);
    assert_int_equal(res.stored, 3);
    buf_free(&res.text);
}

static void put_want_histogram(struct buf *series, int i)
{
    struct buf h = { 0 }, sub = { 0 };

    pb_put_varint(&h, 1, (uint64_t)(4 + 2 * i));
    pb_put_varint(&h, 6, 0);
    pb_put_double(&h, 3, 1.5);
    pb_put_varint(&h, 4, 2); /* 1, zigzag */
    pb_put_double(&h, 5, 0.001);
    pb_put_varint(&sub, 1, 1); /* -1, zigzag */
    pb_put_varint(&sub, 2, 2);
    pb_put_message(&h, 11, &sub);
    buf_varint(&sub, 3 + i);
    buf_varint(&sub, -2);
    pb_put_message(&h, 12, &sub);
    pb_put_varint(&h, 14, 0);
    pb_put_varint(&h, 15, (uint64_t)(T0_MS + i));
    pb_put_message(series, 4, &h);
    buf_free(&h);
    buf_free(&sub);
}

static void histograms_are_sent_both_ways(void **state)
{
    struct fixture *f = *state;
    struct remote_read_limits limits = remote_read_limits_default();
    struct buf b = { 0 }, out = { 0 }, series = { 0 }, result = { 0 }, want = { 0 };
    struct received got = { 0 };
    struct remote_read_stream *s;
    struct remote_read rr;
    bool more = true;

    append_histograms(f, true);
    put_query(&b, MATCH_EQ, "__name__", "h");
    assert_int_equal(parse(f, &b, &rr), OK);
    assert_int_equal(remote_read_samples(&rr, f->db, &limits, &out, &f->err), OK);
    pb_put_label(&series, "__name__", "h");
    for (int i = 0; i < 3; i++)
        put_want_histogram(&series, i);
    pb_put_message(&result, 1, &series);
    pb_put_message(&want, 1, &result);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.ptr, want.ptr, out.len);
    buf_clear(&out);
    s = remote_read_stream_new(&rr, f->db, &limits);
    assert_int_equal(remote_read_stream_next(s, &out, &more, &f->err), OK);
    receive(&got, buf_as_bytes(&out));
    assert_int_equal(got.n_histograms, 3);
    assert_int_equal(got.n_frames, 1);
    remote_read_stream_free(s);
    received_free(&got);
    buf_free(&out);
    buf_free(&want);
    buf_free(&series);
    buf_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_DB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        WITH_DB(the_first_known_answer_is_chosen),
        WITH_DB(bad_requests_say_what_is_wrong),
        WITH_DB(samples_come_as_one_message),
        WITH_DB(limits_are_of_all_queries_together),
        WITH_DB(external_labels_are_added_and_asked_for),
        WITH_DB(long_answer_comes_in_batches_and_whole),
        WITH_DB(empty_answer_has_no_frames),
        WITH_DB(client_that_has_left_ends_the_reading),
        WITH_DB(histograms_are_sent_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
