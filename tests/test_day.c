#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>

#include "base/arena.h"
#include "random.h"
#include "storage/codec_float.h"
#include "storage/day.h"
#include "storage/kv.h"
#include "temp_dir.h"

#include "base/banned.h"

enum { MAP_BYTES = 256 << 20, DAY = 20000 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

struct fixture {
    char *path;
    struct day *day;
    struct arena *arena;
    struct err err;
};

static void assert_ok(const struct fixture *f, enum errc rc)
{
    if (rc != OK)
        fail_msg("%s", err_text(&f->err));
}

static void reopen(struct fixture *f)
{
    day_unref(f->day);
    f->day = NULL;
    assert_ok(f, day_open(f->path, DAY, MAP_BYTES, false, &f->day, &f->err));
}

static struct fixture *open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->path = temp_dir_file(*state, "day.mdb");
    f->arena = arena_new(0);
    assert_non_null(f->arena);
    f->err = err_in(f->arena);
    assert_ok(f, day_open(f->path, DAY, MAP_BYTES, true, &f->day, &f->err));
    return f;
}

static void close_fixture(struct fixture *f)
{
    day_unref(f->day);
    arena_free(f->arena);
    free(f->path);
    free(f);
}

/* Series i has labels {__name__="m", i="<i>", parity="<i % 2>"}. */
static struct labels labels_of(struct fixture *f, unsigned i)
{
    struct label *items = ARENA_NEW(f->arena, struct label, 3);

    assert_non_null(items);
    items[0] = (struct label){ METRIC_NAME, STR("m") };
    items[1] = (struct label){ STR("i"), str_from(arena_printf(f->arena, "%05u", i)) };
    items[2] = (struct label){ STR("parity"), i % 2 ? STR("odd") : STR("even") };
    return (struct labels){ items, 3 };
}

static struct day_writer *must_begin(struct fixture *f, uint64_t flush)
{
    struct day_writer *w = NULL;

    assert_ok(f, day_writer_begin(f->day, flush, &w, &f->err));
    return w;
}

/* Samples at T0 + from_ms + k * step_ms with values first_v + k. */
struct run {
    int64_t from_ms, step_ms;
    size_t n;
    double first_v;
};

static void add_run(struct fixture *f, struct day_writer *w, unsigned i, struct run run)
{
    struct column c = { 0 };

    for (size_t k = 0; k < run.n; k++)
        assert_true(
            column_add(&c, T0 + run.from_ms + (int64_t)k * run.step_ms, run.first_v + (double)k));
    assert_ok(f, day_writer_add(w, labels_of(f, i), &c, &f->err));
    column_free(&c);
}

static void must_commit(struct fixture *f, struct day_writer *w)
{
    assert_ok(f, day_writer_commit(w, &f->err));
}

static struct day_txn *must_read(struct fixture *f, uint64_t max_flush)
{
    struct day_txn *t = NULL;

    assert_ok(f, day_txn_begin(f->day, max_flush, &t, &f->err));
    return t;
}

/* The id of series i, 0 when it is not there. */
static uint32_t find(struct fixture *f, struct day_txn *t, unsigned i)
{
    struct index_source index = day_index(t);
    struct postings p;

    assert_ok(f,
              index.postings(t, STR("i"), labels_of(f, i).items[1].value, f->arena, &p, &f->err));
    assert_true(p.n <= 1);
    return p.n ? p.ids[0] : 0;
}

static void read_series(struct fixture *f, struct day_txn *t, unsigned i, struct column *out)
{
    bool overlaps = false;

    out->n = 0;
    assert_ok(f, day_read(t, find(f, t, i), INT64_MIN, INT64_MAX, out, &overlaps, &f->err));
    if (overlaps)
        assert_true(column_normalise(out));
}

static void assert_run(const struct column *c, size_t from, struct run run)
{
    assert_true(c->n >= from + run.n);
    for (size_t k = 0; k < run.n; k++) {
        assert_int_equal(c->t_ms[from + k], T0 + run.from_ms + (int64_t)k * run.step_ms);
        assert_true(c->v[from + k] == run.first_v + (double)k);
    }
}

static void an_empty_day_has_nothing(void **state)
{
    struct fixture *f = open_fixture(state);
    int64_t min_t, max_t;

    reopen(f);
    day_time_range(f->day, &min_t, &max_t);
    assert_true(min_t > max_t);
    assert_int_equal(day_last_flush(f->day), 0);
    assert_int_equal(day_number(f->day), DAY);

    struct day_txn *t = must_read(f, UINT64_MAX);
    struct index_source index = day_index(t);
    struct postings p;

    assert_ok(f, index.all(t, f->arena, &p, &f->err));
    assert_int_equal(p.n, 0);
    assert_int_equal(find(f, t, 1), 0);
    day_txn_end(t);
    close_fixture(f);
}

static void samples_are_read_back_after_reopening(void **state)
{
    static const struct run runs[] = {
        { 0, 15000, 1, 5 },      { 1, 15000, 480, 0 },    { 86399999, 1, 1, -1 },
        { 0, 1000, 86400, 1e9 }, { 7, 15001, 1023, 0.5 }, { 7, 15001, 1024, 0.5 },
        { 7, 15001, 1025, 0.5 }, { 0, 1, 40000, 0 },      { 0, 60000, 1440, 3 },
    };
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 7);
    struct column c = { 0 };
    int64_t min_t, max_t;

    for (unsigned i = 0; i < ARRAY_LEN(runs); i++)
        add_run(f, w, i, runs[i]);
    must_commit(f, w);
    reopen(f);
    assert_int_equal(day_last_flush(f->day), 7);
    day_time_range(f->day, &min_t, &max_t);
    assert_int_equal(min_t, T0);
    assert_int_equal(max_t, T0 + 86399999);

    struct day_txn *t = must_read(f, UINT64_MAX);

    for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
        read_series(f, t, i, &c);
        assert_int_equal(c.n, runs[i].n);
        assert_run(&c, 0, runs[i]);
    }
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

static void a_read_is_narrowed_to_its_range(void **state)
{
    static const struct {
        int64_t min_ms, max_ms; /* from T0 */
        size_t n;
        int64_t first_ms;
    } cases[] = {
        { 0, 29990, 3000, 0 },
        { -5, 0, 1, 0 },
        { 1, 9, 0, 0 },
        { 10, 10, 1, 10 },
        { 29990, 99999, 1, 29990 },
        { 29991, 99999, 0, 0 },
        { 5005, 15004, 1000, 5010 },
        { -10, -1, 0, 0 },
    };
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    add_run(f, w, 1, (struct run){ 0, 10, 3000, 0 });
    must_commit(f, w);
    struct day_txn *t = must_read(f, UINT64_MAX);
    uint32_t id = find(f, t, 1);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool overlaps = false;

        c.n = 0;
        assert_ok(
            f, day_read(t, id, T0 + cases[i].min_ms, T0 + cases[i].max_ms, &c, &overlaps, &f->err));
        assert_false(overlaps);
        assert_int_equal(c.n, cases[i].n);
        if (c.n)
            assert_int_equal(c.t_ms[0], T0 + cases[i].first_ms);
    }
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

static void every_bit_of_a_value_survives(void **state)
{
    static const uint64_t bits[] = { STALE_NAN_BITS, QUIET_NAN_BITS, 0xfff8dead0000beefu,
                                     0x8000000000000000u, 0x7ff0000000000000u };
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        assert_true(column_add(&c, T0 + (int64_t)i, f64_from_bits(bits[i])));
    assert_ok(f, day_writer_add(w, labels_of(f, 1), &c, &f->err));
    must_commit(f, w);
    reopen(f);
    struct day_txn *t = must_read(f, UINT64_MAX);

    read_series(f, t, 1, &c);
    assert_int_equal(c.n, ARRAY_LEN(bits));
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        assert_true(f64_bits(c.v[i]) == bits[i]);
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

/* Old series keep their ids, new ones come between them in labels order. */
static void flushes_add_up_and_are_seen_up_to_a_number(void **state)
{
    struct fixture *f = open_fixture(state);
    struct column c = { 0 };
    struct day_writer *w = must_begin(f, 10);

    add_run(f, w, 4, (struct run){ 0, 1000, 100, 0 });
    add_run(f, w, 8, (struct run){ 0, 1000, 100, 0 });
    must_commit(f, w);
    w = must_begin(f, 11);
    for (unsigned i = 2; i <= 9; i++) /* late samples too: 50 s of overlap */
        add_run(f, w, i, (struct run){ 50000, 1000, 100, 1000 });
    must_commit(f, w);
    w = must_begin(f, 15);
    add_run(f, w, 4, (struct run){ 500000, 1000, 5, 7 });
    must_commit(f, w);
    reopen(f);

    static const struct {
        uint64_t max_flush;
        size_t n_series, n_samples; /* n_samples of series 4 */
    } cases[] = { { 9, 0, 0 },    { 10, 2, 100 }, { 11, 8, 150 },
                  { 14, 8, 150 }, { 15, 8, 155 }, { UINT64_MAX, 8, 155 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct day_txn *t = must_read(f, cases[i].max_flush);
        struct index_source index = day_index(t);
        struct postings all, m;

        assert_ok(f, index.all(t, f->arena, &all, &f->err));
        assert_int_equal(all.n, cases[i].n_series);
        assert_ok(f, index.postings(t, METRIC_NAME, STR("m"), f->arena, &m, &f->err));
        assert_int_equal(m.n, cases[i].n_series);
        if (m.n)
            assert_memory_equal(m.ids, all.ids, m.n * sizeof *m.ids);
        if (cases[i].n_samples) {
            read_series(f, t, 4, &c);
            assert_int_equal(c.n, cases[i].n_samples);
            assert_run(&c, 0, (struct run){ 0, 1000, 100, 0 }); /* the first flush wins */
        }
        assert_true((find(f, t, 5) != 0) == (cases[i].max_flush >= 11));
        day_txn_end(t);
    }
    column_free(&c);
    close_fixture(f);
}

static void late_runs_are_told(void **state)
{
    static const struct {
        struct run first, second;
        bool overlaps;
    } cases[] = {
        { { 0, 10, 5, 0 }, { 50, 10, 5, 0 }, false },
        { { 0, 10, 5, 0 }, { 40, 10, 5, 0 }, true },
        { { 100, 10, 5, 0 }, { 0, 10, 5, 0 }, true },
        { { 0, 1000, 5, 0 }, { 500, 1, 5, 0 }, true },
    };
    struct fixture *f = open_fixture(state);
    struct column c = { 0 };

    for (unsigned flush = 1; flush <= 2; flush++) {
        struct day_writer *w = must_begin(f, flush);

        for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
            add_run(f, w, i, flush == 1 ? cases[i].first : cases[i].second);
        must_commit(f, w);
    }
    struct day_txn *t = must_read(f, UINT64_MAX);

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        bool overlaps = false;

        c.n = 0;
        assert_ok(f, day_read(t, find(f, t, i), INT64_MIN, INT64_MAX, &c, &overlaps, &f->err));
        assert_int_equal(c.n, 10);
        assert_true(overlaps == cases[i].overlaps);
    }
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

static void labels_are_read_back(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);

    for (unsigned i = 0; i < 2000; i++)
        add_run(f, w, i, (struct run){ 0, 10, 2, 0 });
    must_commit(f, w);
    w = must_begin(f, 2);
    for (unsigned i = 1000; i < 3000; i++)
        add_run(f, w, i, (struct run){ 100, 10, 2, 0 });
    must_commit(f, w);
    struct day_txn *t = must_read(f, UINT64_MAX);
    struct index_source index = day_index(t);
    struct postings all, odd;

    assert_ok(f, index.all(t, f->arena, &all, &f->err));
    assert_int_equal(all.n, 3000);
    for (unsigned i = 0; i < 3000; i++) {
        struct labels got;

        assert_ok(f, day_labels(t, find(f, t, i), f->arena, &got, &f->err));
        assert_true(labels_equal(got, labels_of(f, i)));
    }
    assert_ok(f, index.postings(t, STR("parity"), STR("odd"), f->arena, &odd, &f->err));
    assert_int_equal(odd.n, 1500);
    for (size_t i = 1; i < odd.n; i++)
        assert_true(odd.ids[i] > odd.ids[i - 1]);
    day_txn_end(t);
    close_fixture(f);
}

struct texts {
    struct buf joined; /* each text and a comma, in the order given */
    size_t n, stop_at;
};

static bool note_text(void *ctx, struct str s)
{
    struct texts *texts = ctx;

    buf_str(&texts->joined, s);
    buf_u8(&texts->joined, ',');
    return ++texts->n != texts->stop_at;
}

static void assert_texts(struct texts *got, const char *want)
{
    assert_true(str_is(buf_as_str(&got->joined), want));
    buf_clear(&got->joined);
    got->n = 0;
}

static void names_and_values_are_those_of_visible_flushes(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct texts texts = { 0 };
    const struct label extra[] = { { METRIC_NAME, STR("n") }, { STR("zone"), STR("a") } };
    const int64_t t_ms = T0;
    const double v = 1;
    struct column one = {
        .t_ms = (int64_t *)(uintptr_t)&t_ms, .v = (double *)(uintptr_t)&v, .n = 1, .cap = 1
    };

    add_run(f, w, 2, (struct run){ 0, 10, 2, 0 });
    must_commit(f, w);
    w = must_begin(f, 2);
    add_run(f, w, 3, (struct run){ 0, 10, 2, 0 });
    assert_ok(f, day_writer_add(w, (struct labels){ extra, 2 }, &one, &f->err));
    must_commit(f, w);

    for (uint64_t max_flush = 0; max_flush <= 2; max_flush++) {
        static const char *const names[] = { "", "__name__,i,parity,", "__name__,i,parity,zone," };
        static const char *const values[] = { "", "even,", "even,odd," };
        struct day_txn *t = must_read(f, max_flush);
        struct index_source index = day_index(t);

        assert_ok(f, day_each_name(t, note_text, &texts, &f->err));
        assert_texts(&texts, names[max_flush]);
        assert_ok(f, index.each_value(t, STR("parity"), note_text, &texts, &f->err));
        assert_texts(&texts, values[max_flush]);
        assert_ok(f, index.each_value(t, STR("absent"), note_text, &texts, &f->err));
        assert_texts(&texts, "");
        day_txn_end(t);
    }
    struct day_txn *t = must_read(f, 2);
    struct index_source index = day_index(t);

    texts.stop_at = 1;
    assert_ok(f, day_each_name(t, note_text, &texts, &f->err));
    assert_texts(&texts, "__name__,");
    assert_ok(f, index.each_value(t, STR("i"), note_text, &texts, &f->err));
    assert_texts(&texts, "00002,");
    day_txn_end(t);
    buf_free(&texts.joined);
    close_fixture(f);
}

static void an_aborted_flush_leaves_nothing_and_can_be_repeated(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    add_run(f, w, 1, (struct run){ 0, 10, 50, 0 });
    must_commit(f, w);
    w = must_begin(f, 2);
    for (unsigned i = 1; i < 100; i++) /* over 64 MiB: packs that are committed ahead */
        add_run(f, w, i, (struct run){ 1000, 1, 86000, 0.1 });
    day_writer_abort(w);
    reopen(f);
    assert_int_equal(day_last_flush(f->day), 1);
    struct day_txn *t = must_read(f, UINT64_MAX);

    read_series(f, t, 1, &c);
    assert_int_equal(c.n, 50);
    assert_int_equal(find(f, t, 2), 0);
    day_txn_end(t);

    w = must_begin(f, 2);
    add_run(f, w, 2, (struct run){ 0, 10, 70, 3 });
    must_commit(f, w);
    t = must_read(f, UINT64_MAX);
    read_series(f, t, 2, &c);
    assert_int_equal(c.n, 70);
    assert_run(&c, 0, (struct run){ 0, 10, 70, 3 });
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

static void a_large_flush_spans_transactions(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    for (unsigned i = 0; i < 100; i++)
        add_run(f, w, i, (struct run){ 1000, 1, 86000, i });
    must_commit(f, w);
    struct day_txn *t = must_read(f, UINT64_MAX);

    for (unsigned i = 0; i < 100; i += 9) {
        read_series(f, t, i, &c);
        assert_int_equal(c.n, 86000);
        assert_run(&c, 0, (struct run){ 1000, 1, 86000, i });
    }
    day_txn_end(t);
    column_free(&c);
    close_fixture(f);
}

static void an_empty_flush_counts_as_done(void **state)
{
    struct fixture *f = open_fixture(state);
    struct column none = { 0 };
    struct day_writer *w = must_begin(f, 3);
    int64_t min_t, max_t;

    assert_ok(f, day_writer_add(w, labels_of(f, 1), &none, &f->err));
    must_commit(f, w);
    reopen(f);
    assert_int_equal(day_last_flush(f->day), 3);
    day_time_range(f->day, &min_t, &max_t);
    assert_true(min_t > max_t);
    close_fixture(f);
}

static void a_transaction_keeps_its_view_and_its_day(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    add_run(f, w, 1, (struct run){ 0, 10, 5, 0 });
    must_commit(f, w);
    struct day_txn *t = must_read(f, UINT64_MAX);

    w = must_begin(f, 2);
    add_run(f, w, 1, (struct run){ 1000, 10, 5, 0 });
    must_commit(f, w);
    day_unref(f->day);
    read_series(f, t, 1, &c);
    assert_int_equal(c.n, 5);
    day_txn_end(t); /* the last reference: closes the file */
    f->day = NULL;
    column_free(&c);
    close_fixture(f);
}

static void files_that_are_not_this_day_are_refused(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct day *other = NULL;

    for (unsigned i = 0; i < 50; i++)
        add_run(f, w, i, (struct run){ 0, 10, 500, 0 });
    must_commit(f, w);
    day_unref(f->day);
    f->day = NULL;
    assert_int_equal(day_open(f->path, DAY + 1, MAP_BYTES, false, &other, &f->err), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "day 20000"));
    assert_int_equal(truncate(f->path, (off_t)fs_size(f->path) / 2), 0);
    assert_int_equal(day_open(f->path, DAY, MAP_BYTES, false, &other, &f->err), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(day_open(f->path, DAY, MAP_BYTES, true, &other, &f->err), ERR_CORRUPT);
    assert_ok(f, kv_remove(f->path, &f->err));
    assert_int_equal(day_open(f->path, DAY, MAP_BYTES, false, &other, &f->err), ERR_NOT_FOUND);
    close_fixture(f);
}

/* ---- buckets of histograms ---- */

enum { HISTOGRAM_BUCKETS = 12, HISTOGRAM_MODELS = 3 };

/* {__name__="m_bucket", i="<i>", le="<bound>", model="<model>"} with le before model. */
static struct labels bucket_labels(struct fixture *f, unsigned i, unsigned le, unsigned model)
{
    struct label *items = ARENA_NEW(f->arena, struct label, 4);

    assert_non_null(items);
    items[0] = (struct label){ METRIC_NAME, STR("m_bucket") };
    items[1] = (struct label){ STR("i"), str_from(arena_printf(f->arena, "%05u", i)) };
    items[2] = (struct label){ STR("le"), str_from(arena_printf(f->arena, "%02u", le)) };
    items[3] = (struct label){ STR("model"), str_from(arena_printf(f->arena, "%u", model)) };
    return (struct labels){ items, 4 };
}

/* Counts at most le of n observations that follow from i and model; one series has other times. */
static void fill_bucket(struct column *c, unsigned i, unsigned le, unsigned model, size_t n)
{
    uint64_t rng = i * 100 + model;
    double count = 0;

    column_clear(c);
    for (size_t k = 0; k < n; k++) {
        count += random_below(&rng, HISTOGRAM_BUCKETS) <= le;
        if (k % 1000 == 999)
            count = 0;
        assert_true(column_add(c, T0 + (int64_t)k * 2000 + (i + model + le == 0),
                               k == 77 ? stale_nan() : count));
    }
    if (model == 1)
        assert_true(column_set_start(c, T0 - le));
}

static void buckets_of_histograms_come_back(void **state)
{
    struct fixture *f = open_fixture(state);
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 }, got = { 0 };
    const size_t n[] = { 300, 20000, 1 };
    struct postings all;

    for (unsigned i = 0; i < ARRAY_LEN(n); i++)
        for (unsigned le = 0; le < HISTOGRAM_BUCKETS; le++)
            for (unsigned model = 0; model < HISTOGRAM_MODELS; model++) {
                fill_bucket(&c, i, le, model, n[i]);
                assert_ok(f, day_writer_add(w, bucket_labels(f, i, le, model), &c, &f->err));
            }
    must_commit(f, w);
    reopen(f);

    struct day_txn *t = must_read(f, UINT64_MAX);
    struct index_source index = day_index(t);

    assert_ok(f, index.all(t, f->arena, &all, &f->err));
    assert_int_equal(all.n, ARRAY_LEN(n) * HISTOGRAM_BUCKETS * HISTOGRAM_MODELS);
    for (size_t k = 0; k < all.n; k++) {
        unsigned i = (unsigned)k / (HISTOGRAM_BUCKETS * HISTOGRAM_MODELS);
        bool overlaps = false;

        column_clear(&got);
        fill_bucket(&c, i, (unsigned)k / HISTOGRAM_MODELS % HISTOGRAM_BUCKETS,
                    (unsigned)k % HISTOGRAM_MODELS, n[i]);
        assert_ok(f, day_read(t, all.ids[k], INT64_MIN, INT64_MAX, &got, &overlaps, &f->err));
        assert_false(overlaps);
        assert_int_equal(got.n, c.n);
        assert_memory_equal(got.t_ms, c.t_ms, c.n * sizeof *c.t_ms);
        assert_memory_equal(got.v, c.v, c.n * sizeof *c.v);
        assert_int_equal(got.start_ms ? got.start_ms[c.n - 1] : 0,
                         c.start_ms ? c.start_ms[c.n - 1] : 0);
    }
    day_txn_end(t);
    column_free(&c);
    column_free(&got);
    close_fixture(f);
}

/* ---- damage ---- */

enum { N_DAMAGED = 40 };

/* Times and values of series i that are not to be compressed much. */
static void fill_irregular(struct column *c, unsigned i)
{
    c->n = 0;
    for (unsigned k = 0; k < 100; k++)
        assert_true(
            column_add(c, T0 + i + (int64_t)k * 977 + k * k % 89, i * 1000 + k * k * k % 97 / 7.0));
}

static void write_damage_example(struct fixture *f)
{
    struct day_writer *w = must_begin(f, 1);
    struct column c = { 0 };

    for (unsigned i = 0; i < N_DAMAGED; i++) {
        fill_irregular(&c, i);
        assert_ok(f, day_writer_add(w, labels_of(f, i), &c, &f->err));
    }
    must_commit(f, w);
    column_free(&c);
}

/* Where the n bytes at p are in the file; they must be there once. */
static size_t find_in_file(const char *path, const void *p, size_t n)
{
    struct buf file = { 0 };
    size_t at = SIZE_MAX;

    assert_int_equal(fs_read_file(path, MAP_BYTES, &file, NULL), OK);
    for (size_t i = 0; i + n <= file.len; i++)
        if (memcmp(file.ptr + i, p, n) == 0) {
            assert_true(at == SIZE_MAX);
            at = i;
        }
    assert_true(at != SIZE_MAX);
    buf_free(&file);
    return at;
}

static void a_flipped_bit_of_a_value_refuses_that_series_only(void **state)
{
    struct fixture *f = open_fixture(state);
    struct floats_scratch *scratch = malloc(sizeof *scratch);
    struct column c = { 0 };
    struct buf stored = { 0 };

    assert_non_null(scratch);
    fill_irregular(&c, 7);
    floats_encode(&stored, c.v, c.n, scratch);
    write_damage_example(f);
    day_unref(f->day);
    f->day = NULL;
    assert_true(flip_in_file(f->path, find_in_file(f->path, stored.ptr, stored.len) + 3, 0x10));
    assert_ok(f, day_open(f->path, DAY, MAP_BYTES, false, &f->day, &f->err));
    struct day_txn *t = must_read(f, UINT64_MAX);

    for (unsigned i = 0; i < N_DAMAGED; i++) {
        bool overlaps = false;

        c.n = 0;
        enum errc rc = day_read(t, find(f, t, i), INT64_MIN, INT64_MAX, &c, &overlaps, &f->err);

        assert_int_equal(rc, i == 7 ? ERR_CORRUPT : OK);
        assert_int_equal(c.n, i == 7 ? 0 : 100);
        if (i == 7) {
            assert_non_null(strstr(f->err.msg, f->path));
            assert_non_null(strstr(f->err.msg, "m{i=\"00007\""));
        }
    }
    day_txn_end(t);
    free(scratch);
    buf_free(&stored);
    column_free(&c);
    close_fixture(f);
}

/* Reads everything there is: OK with exactly what was written, or ERR_CORRUPT. */
static enum errc read_everything(struct fixture *f, struct day_txn *t)
{
    struct index_source index = day_index(t);
    struct column c = { 0 }, irregular = { 0 };
    enum errc rc = OK;

    for (unsigned i = 0; i < N_DAMAGED && rc == OK; i++) {
        struct labels want = labels_of(f, i), got;
        bool overlaps = false;
        struct postings p;

        rc = index.postings(t, STR("i"), want.items[1].value, f->arena, &p, &f->err);
        if (rc != OK)
            break;
        assert_int_equal(p.n, 1);
        rc = day_labels(t, p.ids[0], f->arena, &got, &f->err);
        if (rc != OK)
            break;
        assert_true(labels_equal(want, got));
        c.n = 0;
        rc = day_read(t, p.ids[0], INT64_MIN, INT64_MAX, &c, &overlaps, &f->err);
        if (rc == OK) {
            fill_irregular(&irregular, i);
            assert_int_equal(c.n, 100);
            assert_memory_equal(c.t_ms, irregular.t_ms, 100 * sizeof *c.t_ms);
            assert_memory_equal(c.v, irregular.v, 100 * sizeof *c.v);
        }
    }
    column_free(&c);
    column_free(&irregular);
    return rc;
}

/* The bytes of the value at the place of a cursor, in the file. */
struct target {
    size_t offset, len;
};

/* Finds all sealed values of a table. Of values this small the bytes with their seal are unique,
 * save in pages that are no longer in use, where damage does no harm. */
static size_t find_targets(struct fixture *f, const char *table, struct target *out, size_t max)
{
    const char *const tables[] = { table };
    struct kv_options options = {
        .path = f->path, .map_bytes = MAP_BYTES, .tables = tables, .n_tables = 1
    };
    static const uint8_t first[1] = { 0 };
    struct kv_cursor c;
    struct kv_txn *t;
    struct buf file = { 0 };
    struct kv *kv;
    size_t n = 0;
    enum errc rc;

    assert_ok(f, fs_read_file(f->path, MAP_BYTES, &file, &f->err));
    assert_ok(f, kv_open(&options, &kv, &f->err));
    assert_ok(f, kv_begin_read(kv, &t, &f->err));
    assert_ok(f, kv_cursor_open(t, 0, &c, &f->err));
    for (rc = kv_seek(&c, (struct bytes){ first, 1 }, &f->err); rc == OK && n < max;
         rc = kv_next(&c, &f->err)) {
        const uint8_t *at = memmem(file.ptr, file.len, c.value.ptr, c.value.len);

        assert_non_null(at);
        out[n++] = (struct target){ (size_t)(at - file.ptr), c.value.len };
    }
    kv_cursor_close(&c);
    kv_abort(t);
    kv_close(kv);
    buf_free(&file);
    return n;
}

static void damage_to_the_index_is_an_error_never_a_wrong_answer(void **state)
{
    static const char *const tables[] = { "meta",      "flushes",       "symbols",
                                          "series",    "symbol_hashes", "postings",
                                          "directory", "packs",         "times" };
    struct fixture *f = open_fixture(state);

    write_damage_example(f);
    for (size_t k = 0; k < ARRAY_LEN(tables); k++) {
        struct target targets[8];
        size_t detected = 0, n;

        day_unref(f->day);
        f->day = NULL;
        n = find_targets(f, tables[k], targets, ARRAY_LEN(targets));
        assert_true(n > 0);
        for (size_t i = 0; i < n * 3; i++) {
            const struct target *target = &targets[i / 3];
            size_t offset = target->offset + i % 3 * (target->len - 1) / 2;
            enum errc rc;

            assert_true(flip_in_file(f->path, offset, 0x20));
            rc = day_open(f->path, DAY, MAP_BYTES, false, &f->day, &f->err);
            if (rc == OK) {
                struct day_txn *t = must_read(f, UINT64_MAX);

                rc = read_everything(f, t);
                day_txn_end(t);
            }
            assert_true(rc == OK || rc == ERR_CORRUPT);
            detected += rc == ERR_CORRUPT;
            day_unref(f->day);
            f->day = NULL;
            assert_true(flip_in_file(f->path, offset, 0x20));
        }
        if (detected == 0)
            fail_msg("no damage to %s was detected", tables[k]);
    }
    assert_ok(f, day_open(f->path, DAY, MAP_BYTES, false, &f->day, &f->err));
    struct day_txn *t = must_read(f, UINT64_MAX);

    assert_ok(f, read_everything(f, t));
    day_txn_end(t);
    close_fixture(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_empty_day_has_nothing),
        CASE(samples_are_read_back_after_reopening),
        CASE(a_read_is_narrowed_to_its_range),
        CASE(every_bit_of_a_value_survives),
        CASE(flushes_add_up_and_are_seen_up_to_a_number),
        CASE(late_runs_are_told),
        CASE(labels_are_read_back),
        CASE(names_and_values_are_those_of_visible_flushes),
        CASE(an_aborted_flush_leaves_nothing_and_can_be_repeated),
        CASE(a_large_flush_spans_transactions),
        CASE(an_empty_flush_counts_as_done),
        CASE(a_transaction_keeps_its_view_and_its_day),
        CASE(files_that_are_not_this_day_are_refused),
        CASE(buckets_of_histograms_come_back),
        CASE(a_flipped_bit_of_a_value_refuses_that_series_only),
        CASE(damage_to_the_index_is_an_error_never_a_wrong_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
