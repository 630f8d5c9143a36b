#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/hash.h"
#include "random.h"
#include "storage/byte_set.h"
#include "storage/histogram.h"
#include "storage/pack_cache.h"
#include "storage/pack_private.h"

#include "base/banned.h"

enum { T0 = 1700000000, MAX_N = PACK_MAX_SAMPLES };

/* The samples of one series: n at T0 + offset + i * step. */
static void fill(struct column *c, size_t n, int64_t first_ms, int64_t step_ms, double first_v)
{
    c->n = 0;
    for (size_t i = 0; i < n; i++)
        assert_true(column_add(c, first_ms + (int64_t)i * step_ms, first_v + (double)i));
}

static enum errc add(struct pack_writer *w, uint32_t id, const struct column *c)
{
    return pack_writer_add(w, id, (struct pack_times){ .t_ms = c->t_ms, .n = c->n },
                           (struct pack_values){ .kind = PACK_FLOAT, .floats = c->v });
}

static struct bytes must_finish(struct pack_writer *w)
{
    struct bytes data = { 0 };

    assert_int_equal(pack_writer_finish(w, &data), OK);
    return data;
}

static struct pack must_parse(struct bytes data)
{
    struct pack p;

    assert_int_equal(pack_open(data, false, &p, NULL), OK);
    return p;
}

static void assert_same_samples(const struct column *got, const struct column *want)
{
    assert_int_equal(got->n, want->n);
    assert_memory_equal(got->t_ms, want->t_ms, want->n * sizeof *want->t_ms);
    assert_memory_equal(got->v, want->v, want->n * sizeof *want->v);
}

static void round_trip(const struct column *c)
{
    struct pack_writer *w = pack_writer_new();
    struct column got = { 0 };

    assert_non_null(w);
    assert_int_equal(add(w, 7, c), OK);
    struct pack p = must_parse(must_finish(w));
    struct pack_chunk chunk = pack_chunk(&p, 0);

    assert_int_equal(p.n_chunks, 1);
    assert_int_equal(chunk.id, 7);
    assert_int_equal(chunk.min_t_ms, c->t_ms[0]);
    assert_int_equal(chunk.max_t_ms, c->t_ms[c->n - 1]);
    assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), OK);
    assert_same_samples(&got, c);
    column_free(&got);
    pack_writer_free(w);
}

static void any_times_survive(void **state)
{
    static const struct {
        int64_t t_ms[4];
        size_t n;
    } cases[] = {
        { { 0 }, 1 },
        { { -1 }, 1 },
        { { INT64_MIN }, 1 },
        { { INT64_MAX }, 1 },
        { { INT64_MIN, INT64_MIN + UINT32_MAX }, 2 },
        { { INT64_MAX - UINT32_MAX, INT64_MAX - 1, INT64_MAX }, 3 },
        { { -1000000, -1, 0, 1 }, 4 },
        { { 1700000000000, 1700000015000, 1700000030001, 1700000044999 }, 4 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct column c = { 0 };

        for (size_t j = 0; j < cases[i].n; j++)
            assert_true(column_add(&c, cases[i].t_ms[j], (double)j));
        round_trip(&c);
        column_free(&c);
    }
}

static void every_bit_of_a_value_survives(void **state)
{
    static const uint64_t bits[] = {
        STALE_NAN_BITS,      QUIET_NAN_BITS, 0x7ff0000000000001u, /* a signalling NaN */
        0xfff8dead0000beefu, /* a negative NaN with a payload */
        0x8000000000000000u, /* -0.0 */
        0x7ff0000000000000u, /* infinity */
        0x0000000000000001u, /* the smallest denormal */
    };
    struct column c = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        assert_true(column_add(&c, (int64_t)i, f64_from_bits(bits[i])));
    round_trip(&c);
    column_free(&c);
}

static void the_largest_chunk_survives(void **state)
{
    struct column c = { 0 };

    (void)state;
    fill(&c, MAX_N, T0, 15000, 0);
    round_trip(&c);
    column_free(&c);
}

static void chunks_are_found_by_series_in_time_order(void **state)
{
    static const struct {
        uint32_t id;
        int64_t t_ms;
    } added[] = { { 9, 100 }, { 3, 100 }, { 9, 300 }, { 9, 200 }, { 4, 100 } };
    static const uint32_t absent[] = { 0, 1, 5, 10, UINT32_MAX };
    struct pack_writer *w = pack_writer_new();
    struct column c = { 0 };

    (void)state;
    assert_non_null(w);
    for (size_t i = 0; i < ARRAY_LEN(added); i++) {
        fill(&c, 2, added[i].t_ms, 10, 0);
        assert_int_equal(add(w, added[i].id, &c), OK);
    }
    assert_int_equal(pack_writer_count(w), ARRAY_LEN(added));
    struct pack p = must_parse(must_finish(w));

    assert_int_equal(pack_find(&p, 3), 0);
    assert_int_equal(pack_find(&p, 4), 1);
    assert_int_equal(pack_find(&p, 9), 2);
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(pack_chunk(&p, i).min_t_ms, 100 * ((int64_t)i - 1));
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_int_equal(pack_find(&p, absent[i]), p.n_chunks);
    column_free(&c);
    pack_writer_free(w);
}

static void equal_times_are_stored_once(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column c = { 0 };
    size_t bytes[2];

    (void)state;
    assert_non_null(w);
    for (int64_t shift = 0; shift < 2; shift++) {
        for (uint32_t id = 1; id <= 10; id++) {
            fill(&c, 100, T0 + shift * id, 15000, id);
            assert_int_equal(add(w, id, &c), OK);
        }
        struct pack p = must_parse(must_finish(w));
        struct column got = { 0 };
        struct pack_chunk last = pack_chunk(&p, 9);

        assert_int_equal(pack_read(&p, &last, NULL, &got, NULL), OK);
        assert_same_samples(&got, &c);
        column_free(&got);
        bytes[shift] = p.data.len;
    }
    assert_true(bytes[1] - bytes[0] >= 9 * 30);
    column_free(&c);
    pack_writer_free(w);
}

static void a_pack_is_full_at_its_target_size(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column c = { 0 };
    uint32_t n = 0;

    (void)state;
    assert_non_null(w);
    fill(&c, 50, T0, 15000, 0);
    for (size_t i = 0; i < c.n; i++)
        c.v[i] = sqrt((double)i + 2); /* nothing to be gained */
    while (add(w, n + 1, &c) == OK)
        n++;
    assert_int_equal(pack_writer_count(w), n);
    struct pack p = must_parse(must_finish(w));

    assert_true(p.data.len <= PACK_TARGET_BYTES);
    assert_true(p.data.len > PACK_TARGET_BYTES - 500);
    assert_int_equal(p.n_chunks, n);
    assert_int_equal(add(w, 1, &c), OK); /* a new pack has begun */
    column_free(&c);
    pack_writer_free(w);
}

/* A histogram of n buckets that depends on i. */
static struct histogram *example_histogram(struct arena *a, uint32_t n, int i, bool is_integer)
{
    struct histogram *h = ARENA_NEW(a, struct histogram, 1);
    struct histogram_span *span = ARENA_NEW(a, struct histogram_span, 1);
    double *counts = ARENA_NEW(a, double, n);

    *span = (struct histogram_span){ -3, n };
    *h = (struct histogram){ .schema = 3,
                             .is_integer = is_integer,
                             .sum = 0.1 * i,
                             .zero_threshold = 1e-128,
                             .positive = { span, counts, 1, n } };
    for (uint32_t k = 0; k < n; k++) {
        counts[k] = is_integer ? (double)k + i : k + i + 0.5;
        h->count += counts[k];
    }
    return h;
}

/* Writes a chunk of histograms with start times and gives what is read back. */
static struct column store_histograms(struct arena *a, bool is_integer, struct column *in)
{
    struct pack_writer *w = pack_writer_new();
    struct column out = { 0 };
    struct bytes data;
    struct pack p;

    for (int i = 0; i < 100; i++) {
        assert_true(
            column_add_histogram(in, T0 + i * 15000, example_histogram(a, 20, i, is_integer)));
        assert_true(column_set_start(in, i < 10 ? 0 : i < 50 ? T0 - 5 : T0 + i * 15000 + 7));
    }
    assert_int_equal(
        pack_writer_add(
            w, 1, (struct pack_times){ .t_ms = in->t_ms, .n = in->n },
            (struct pack_values){ .kind = is_integer ? PACK_INT_HISTOGRAM : PACK_FLOAT_HISTOGRAM,
                                  .histograms = in->h,
                                  .start_ms = in->start_ms }),
        OK);
    assert_int_equal(pack_writer_finish(w, &data), OK);
    assert_int_equal(pack_open(data, false, &p, NULL), OK);

    struct pack_chunk c = pack_chunk(&p, 0);

    assert_int_equal(pack_read(&p, &c, NULL, &out, NULL), OK);
    pack_writer_free(w);
    return out;
}

static void histograms_and_start_times_survive(void **state)
{
    struct arena *a = arena_new(0);

    (void)state;
    for (int is_integer = 0; is_integer <= 1; is_integer++) {
        struct column in = { 0 }, out = store_histograms(a, is_integer, &in);

        assert_int_equal(out.n, in.n);
        for (size_t i = 0; i < in.n; i++) {
            assert_true(out.t_ms[i] == in.t_ms[i] && out.start_ms[i] == in.start_ms[i]);
            assert_true(histogram_identical(out.h[i], in.h[i]));
            assert_true(f64_bits(out.v[i]) == f64_bits(in.h[i]->sum));
        }
        column_free(&in);
        column_free(&out);
    }
    arena_free(a);
}

static void histograms_of_changing_layout_survive(void **state)
{
    static const int change_every[] = { 1, 3, 20, 1000 };
    struct arena *a = arena_new(0);
    size_t bytes[ARRAY_LEN(change_every)];

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(change_every); k++) {
        struct pack_writer *w = pack_writer_new();
        struct column in = { 0 }, got = { 0 };

        for (int i = 0; i < 200; i++) {
            struct histogram *h =
                example_histogram(a, 10 + (uint32_t)(i / change_every[k] % 7), i, true);

            h->hint = i % 50 ? HINT_NO_RESET : HINT_RESET;
            if (i == 150)
                *h = (struct histogram){ .is_integer = true, .sum = stale_nan() };
            assert_true(column_add_histogram(&in, T0 + i, h));
        }
        assert_int_equal(
            pack_writer_add(w, 1, (struct pack_times){ .t_ms = in.t_ms, .n = in.n },
                            (struct pack_values){ .kind = PACK_INT_HISTOGRAM, .histograms = in.h }),
            OK);
        struct pack p = must_parse(must_finish(w));
        struct pack_chunk chunk = pack_chunk(&p, 0);

        assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), OK);
        assert_int_equal(got.n, in.n);
        for (size_t i = 0; i < in.n; i++)
            assert_true(histogram_identical(got.h[i], in.h[i]));
        bytes[k] = p.data.len;
        column_free(&in);
        column_free(&got);
        pack_writer_free(w);
    }
    assert_true(bytes[3] * 3 < bytes[0]);
    arena_free(a);
}

/* Three series, of which the first two share their times; too long for the directory. */
static void fill_example(struct column *c, uint32_t id)
{
    c->n = 0;
    for (size_t i = 0; i < 12; i++)
        assert_true(column_add(c, 1700000000000 + (int64_t)(i * i * (id < 3 ? 15001 : 10000)),
                               i == 3              ? -0.0
                               : i == 5 && id == 2 ? stale_nan()
                                                   : sqrt((double)(i + id) + 0.5)));
}

static struct bytes make_example(struct pack_writer *w)
{
    struct column c = { 0 };

    for (uint32_t id = 1; id <= 3; id++) {
        fill_example(&c, id);
        assert_int_equal(add(w, id, &c), OK);
    }
    column_free(&c);
    return must_finish(w);
}

static void packs_of_plain_values_stay_readable(void **state)
{
    struct buf golden = { 0 };
    struct column got = { 0 };

    (void)state;
    assert_int_equal(fs_read_file(TEST_DIR "/golden/pack_v1.bin", 1 << 20, &golden, NULL), OK);
    struct pack p = must_parse(buf_as_bytes(&golden));
    struct pack_chunk chunk = pack_chunk(&p, pack_find(&p, 2));

    assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), OK);
    assert_int_equal(got.n, 3);
    assert_int_equal(got.t_ms[2], 1700000030000);
    assert_true(got.v[0] == 2 && f64_bits(got.v[1]) == 0x8000000000000000u && is_stale(got.v[2]));
    column_free(&got);
    buf_free(&golden);
}

/* What reading a whole pack gives: series that are refused, and that none is wrong. */
static unsigned refused_series(struct bytes data, struct column want[3])
{
    struct pack p;
    unsigned refused = 0;

    if (pack_open(data, false, &p, NULL) != OK)
        return 7;
    for (uint32_t id = 1; id <= 3; id++) {
        struct column got = { 0 };
        size_t at = pack_find(&p, id);

        assert_true(at < p.n_chunks);
        struct pack_chunk chunk = pack_chunk(&p, at);
        enum errc rc = pack_read(&p, &chunk, NULL, &got, NULL);

        if (rc == OK)
            assert_same_samples(&got, &want[id - 1]);
        else
            refused |= 1u << (id - 1);
        column_free(&got);
    }
    return refused;
}

static void each_flipped_bit_refuses_only_the_series_it_touches(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column want[3] = { 0 };
    unsigned seen[8] = { 0 };

    (void)state;
    assert_non_null(w);
    struct bytes data = make_example(w);
    uint8_t *copy = malloc(data.len);
    struct pack p = must_parse(data);

    assert_non_null(copy);
    for (size_t i = 0; i < 3; i++) {
        struct pack_chunk chunk = pack_chunk(&p, i);

        assert_int_equal(pack_read(&p, &chunk, NULL, &want[i], NULL), OK);
    }
    memcpy(copy, data.ptr, data.len);
    for (size_t bit = 0; bit < data.len * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        unsigned refused = refused_series((struct bytes){ copy, data.len }, want);

        assert_true(refused != 0);
        seen[refused]++;
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* values of one series; the times of the third; the shared times of the first two */
    assert_true(seen[1] > 0 && seen[2] > 0 && seen[4] > 0 && seen[3] > 0);
    assert_int_equal(seen[5] + seen[6], 0);
    assert_int_equal(seen[7], p.at_columns * 8); /* header and directory: all */
    for (size_t i = 0; i < 3; i++)
        column_free(&want[i]);
    free(copy);
    pack_writer_free(w);
}

static void a_cut_pack_is_refused(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct pack p;

    (void)state;
    assert_non_null(w);
    struct bytes data = make_example(w);

    for (size_t n = 0; n < data.len; n++) {
        uint8_t *copy = malloc(n + 1); /* of its own, so that sanitizers see reads past it */

        assert_non_null(copy);
        memcpy(copy, data.ptr, n);
        assert_int_equal(pack_open((struct bytes){ copy, n }, false, &p, NULL), ERR_CORRUPT);
        free(copy);
    }
    pack_writer_free(w);
}

static void mend_directory(uint8_t *p)
{
    size_t len = PACK_HEADER_BYTES + load_u32le(p + PACK_AT_DIRECTORY_BYTES);

    store_u32le(p + PACK_AT_CRC,
                crc32c(crc32c(0, p, PACK_AT_CRC), p + PACK_AT_CRC + 4, len - PACK_AT_CRC - 4));
}

static void newer_formats_are_told_from_damage(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column got = { 0 };
    struct pack p;

    (void)state;
    assert_non_null(w);
    struct bytes data = make_example(w);
    uint8_t *bytes = (uint8_t *)(uintptr_t)data.ptr;
    size_t entries = PACK_AT_TABLES + 2 * PACK_TIMES_BYTES + PACK_BLOCK_BYTES;

    bytes[entries] |= PACK_CONTENT_MASK;
    mend_directory(bytes);
    p = must_parse(data);
    for (uint32_t i = 0; i < 3; i++) {
        struct pack_chunk chunk = pack_chunk(&p, i);

        assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), i ? OK : ERR_UNSUPPORTED);
        assert_int_equal(got.n, i * 12);
    }
    bytes[PACK_AT_VERSION] = PACK_VERSION + 1;
    assert_int_equal(pack_open(data, false, &p, NULL), ERR_UNSUPPORTED);
    column_free(&got);
    pack_writer_free(w);
}

static void the_format_is_pinned(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column got = { 0 }, want = { 0 };
    struct buf golden = { 0 };

    (void)state;
    assert_non_null(w);
    assert_int_equal(fs_read_file(TEST_DIR "/golden/pack_v2.bin", 1 << 20, &golden, NULL), OK);
    struct pack p = must_parse(buf_as_bytes(&golden));

    for (uint32_t id = 1; id <= 3; id++) { /* the encoder may change, what bytes mean may not */
        struct pack_chunk chunk = pack_chunk(&p, pack_find(&p, id));

        got.n = 0;
        fill_example(&want, id);
        assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), OK);
        assert_same_samples(&got, &want);
    }
    struct bytes data = make_example(w);

    assert_int_equal(data.len, golden.len);
    assert_memory_equal(data.ptr, golden.ptr, golden.len);
    column_free(&got);
    column_free(&want);
    buf_free(&golden);
    pack_writer_free(w);
}

static void many_small_chunks_are_all_found(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct column c = { 0 }, got = { 0 };
    uint32_t n = 0;

    (void)state;
    assert_non_null(w);
    for (;; n++) { /* ids 3, 6, ... two chunks of each third one; constants */
        fill(&c, 480, T0 + n % 7, 15000, 0);
        for (size_t i = 0; i < c.n; i++)
            c.v[i] = n;
        if (add(w, 3 * n + 3, &c) != OK)
            break;
    }
    struct pack p = must_parse(must_finish(w));

    assert_in_range(p.data.len, PACK_TARGET_BYTES - 200, PACK_TARGET_BYTES);
    assert_in_range(p.n_chunks, 3000, n); /* about ten bytes each */
    for (uint32_t i = 0; i < n; i++) {
        size_t at = pack_find(&p, 3 * i + 3);
        struct pack_chunk chunk = pack_chunk(&p, at);

        assert_int_equal(at, i);
        assert_int_equal(chunk.id, 3 * i + 3);
        assert_int_equal(pack_find(&p, 3 * i + 2), p.n_chunks);
        got.n = 0;
        assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), OK);
        assert_true(got.n == 480 && got.v[479] == i && got.t_ms[0] == T0 + i % 7);
    }
    column_free(&c);
    column_free(&got);
    pack_writer_free(w);
}

/* ---- times beside packs ---- */

static uint32_t store_aside(void *ctx, struct bytes column)
{
    return byte_set_add(ctx, column);
}

static enum errc find_aside(void *ctx, uint32_t number, struct bytes *column, struct err *err)
{
    const struct byte_set *set = ctx;

    if (number >= set->n)
        return err_set(err, ERR_CORRUPT, 0, "no such times");
    *column = byte_set_get(set, number);
    return OK;
}

static void times_may_be_stored_beside_packs(void **state)
{
    struct pack_cache *cache = pack_cache_new(1 << 20);
    struct pack_writer *w = pack_writer_new();
    struct column c = { 0 }, got = { 0 };
    struct byte_set aside = { 0 };
    const struct pack_source source = { .cache = cache, .times = find_aside, .ctx = &aside };
    uint64_t rng = 1;

    (void)state;
    assert_true(w && cache);
    pack_writer_share_times(w, store_aside, &aside);
    fill(&c, 100, T0, 15000, 0);
    assert_int_equal(add(w, 1, &c), OK); /* so regular that they stay */
    for (size_t i = 0; i < c.n; i++)
        c.t_ms[i] += (int64_t)random_below(&rng, 10000);
    assert_int_equal(add(w, 2, &c), OK);
    assert_int_equal(add(w, 3, &c), OK);
    assert_int_equal(aside.n, 1);
    (void)must_finish(w);
    assert_int_equal(add(w, 4, &c), OK); /* another pack, the same times */
    struct pack p = must_parse(must_finish(w));
    struct pack_chunk chunk = pack_chunk(&p, 0);

    assert_int_equal(aside.n, 1);
    assert_int_equal(pack_read(&p, &chunk, NULL, &got, NULL), ERR_UNSUPPORTED);
    for (int i = 0; i < 2; i++) {
        got.n = 0;
        assert_int_equal(pack_read(&p, &chunk, &source, &got, NULL), OK);
        assert_same_samples(&got, &c);
    }
    for (size_t from = 0; from < c.n; from += 25) { /* pieces of the same run */
        assert_int_equal(
            pack_writer_add(w, 5, (struct pack_times){ c.t_ms + from, 25, from, 75 - from },
                            (struct pack_values){ .kind = PACK_FLOAT, .floats = c.v + from }),
            OK);
    }
    assert_int_equal(aside.n, 1);
    p = must_parse(must_finish(w));
    got.n = 0;
    for (size_t i = 0; i < 4; i++) {
        chunk = pack_chunk(&p, i);
        assert_int_equal(
            pack_read(&p, &chunk, &(struct pack_source){ NULL, find_aside, &aside }, &got, NULL),
            OK);
    }
    assert_same_samples(&got, &c);
    pack_cache_free(cache);
    byte_set_free(&aside);
    column_free(&c);
    column_free(&got);
    pack_writer_free(w);
}

/* ---- buckets ---- */

enum { N_BUCKETS = 14, N_SCRAPES = 480 };

struct buckets {
    int64_t t_ms[N_SCRAPES];
    double v[N_BUCKETS][N_SCRAPES];
};

/* Cumulative counts of few observations, a restart, a staleness marker and a torn scrape. */
static void observe(struct buckets *b)
{
    uint64_t rng = 1, counts[N_BUCKETS] = { 0 };

    for (size_t i = 0; i < N_SCRAPES; i++) {
        double sum = 0;

        b->t_ms[i] = T0 + (int64_t)i * 15000;
        if (i == 300)
            memset(counts, 0, sizeof counts);
        for (uint64_t n = random_below(&rng, 3); n > 0; n--)
            counts[random_below(&rng, N_BUCKETS)]++;
        for (size_t k = 0; k < N_BUCKETS; k++)
            b->v[k][i] = i == 200 ? stale_nan() : (sum += (double)counts[k]);
    }
    b->v[7][400] -= 1;
    b->v[2][401] = INFINITY;
}

static enum errc add_buckets(struct pack_writer *w, const struct buckets *b, size_t n)
{
    struct pack_bucket buckets[N_BUCKETS];

    for (size_t k = 0; k < N_BUCKETS; k++)
        buckets[k] = (struct pack_bucket){ .id = 100 - (uint32_t)k * 3, .floats = b->v[k] };
    return pack_writer_add_buckets(w, (struct pack_times){ .t_ms = b->t_ms, .n = n }, buckets,
                                   N_BUCKETS);
}

static void assert_buckets(const struct pack *p, const struct buckets *b, struct pack_cache *cache)
{
    struct column got = { 0 };

    for (size_t k = 0; k < N_BUCKETS; k++) {
        struct pack_chunk chunk = pack_chunk(p, pack_find(p, 100 - (uint32_t)k * 3));

        const struct pack_source source = { .cache = cache };

        got.n = 0;
        assert_int_equal(pack_read(p, &chunk, &source, &got, NULL), OK);
        assert_int_equal(got.n, N_SCRAPES);
        assert_memory_equal(got.t_ms, b->t_ms, sizeof b->t_ms);
        assert_memory_equal(got.v, b->v[k], sizeof b->v[k]);
    }
    column_free(&got);
}

static void buckets_of_a_histogram_survive(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct pack_cache *cache = pack_cache_new(1 << 20), *tiny = pack_cache_new(1);
    struct buckets *b = calloc(1, sizeof *b);

    (void)state;
    assert_true(w && b && cache && tiny);
    observe(b);
    assert_int_equal(add_buckets(w, b, N_SCRAPES), OK);
    assert_int_equal(pack_writer_count(w), N_BUCKETS);
    struct pack p = must_parse(must_finish(w));

    assert_in_range(p.data.len, 1, N_BUCKETS * N_SCRAPES / 6);
    assert_buckets(&p, b, NULL);
    assert_buckets(&p, b, cache);
    assert_buckets(&p, b, cache);
    assert_buckets(&p, b, tiny);
    pack_cache_free(cache);
    pack_cache_free(tiny);
    pack_writer_free(w);
    free(b);
}

static void what_is_no_bucket_is_refused(void **state)
{
    static const double not_whole[] = { 0.5, -1, -0.0, 0x1p53 + 2, 1e300 };
    struct pack_writer *w = pack_writer_new();
    struct buckets *b = calloc(1, sizeof *b);

    (void)state;
    assert_true(w && b);
    for (size_t i = 0; i < ARRAY_LEN(not_whole); i++) {
        observe(b);
        b->v[5][100] = not_whole[i];
        assert_int_equal(add_buckets(w, b, N_SCRAPES), ERR_UNSUPPORTED);
        assert_int_equal(pack_writer_count(w), 0);
    }
    pack_writer_free(w);
    free(b);
}

static void buckets_that_do_not_fit_leave_no_trace(void **state)
{
    struct pack_writer *w = pack_writer_new();
    struct buckets *b = calloc(1, sizeof *b);
    size_t n = 0;

    (void)state;
    assert_true(w && b);
    observe(b);
    while (add_buckets(w, b, N_SCRAPES - n % 2) == OK)
        n++;
    assert_int_equal(pack_writer_count(w), n * N_BUCKETS);
    struct pack p = must_parse(must_finish(w));

    assert_int_equal(p.n_chunks, n * N_BUCKETS);
    assert_int_equal(p.n_groups, n);
    assert_int_equal(p.n_times, 2);
    assert_in_range(p.data.len, PACK_TARGET_BYTES - 3000, PACK_TARGET_BYTES);
    pack_writer_free(w);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_times_survive),
        cmocka_unit_test(every_bit_of_a_value_survives),
        cmocka_unit_test(the_largest_chunk_survives),
        cmocka_unit_test(chunks_are_found_by_series_in_time_order),
        cmocka_unit_test(equal_times_are_stored_once),
        cmocka_unit_test(a_pack_is_full_at_its_target_size),
        cmocka_unit_test(histograms_and_start_times_survive),
        cmocka_unit_test(histograms_of_changing_layout_survive),
        cmocka_unit_test(packs_of_plain_values_stay_readable),
        cmocka_unit_test(each_flipped_bit_refuses_only_the_series_it_touches),
        cmocka_unit_test(a_cut_pack_is_refused),
        cmocka_unit_test(newer_formats_are_told_from_damage),
        cmocka_unit_test(the_format_is_pinned),
        cmocka_unit_test(many_small_chunks_are_all_found),
        cmocka_unit_test(times_may_be_stored_beside_packs),
        cmocka_unit_test(buckets_of_a_histogram_survive),
        cmocka_unit_test(what_is_no_bucket_is_refused),
        cmocka_unit_test(buckets_that_do_not_fit_leave_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
