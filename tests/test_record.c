#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fs.h"
#include "storage/record.h"

/* What a reading was told, as text. */
struct seen {
    struct buf text;
    struct labels labels;
    struct arena *arena;
};

static bool see_definition(void *ctx, uint32_t ref, struct bytes encoded)
{
    struct seen *s = ctx;

    buf_printf(&s->text, "define %u\n", ref);
    return labels_decode(encoded, s->arena, &s->labels, NULL) == OK;
}

static bool see_sample(void *ctx, uint32_t ref, struct sample v, int64_t start_ms)
{
    struct seen *s = ctx;

    buf_printf(&s->text, "%u float %lld %llx %lld\n", ref, (long long)v.t_ms,
               (unsigned long long)f64_bits(v.v), (long long)start_ms);
    return true;
}

static bool see_histogram(void *ctx, uint32_t ref, int64_t t_ms, int64_t start_ms,
                          struct bytes encoded)
{
    struct seen *s = ctx;
    struct reader r = reader_on(encoded);
    struct histogram h;

    assert_int_equal(histogram_decode(&r, s->arena, &h, NULL), OK);
    assert_int_equal(reader_left(&r), 0);
    buf_printf(&s->text, "%u histogram %lld %g %lld\n", ref, (long long)t_ms, h.count,
               (long long)start_ms);
    return true;
}

static bool see_exemplar(void *ctx, uint32_t ref, int64_t t_ms, double v, struct bytes encoded)
{
    struct seen *s = ctx;
    struct labels ls;

    assert_int_equal(labels_decode(encoded, s->arena, &ls, NULL), OK);
    buf_printf(&s->text, "%u exemplar %lld %g %zu\n", ref, (long long)t_ms, v, ls.n);
    return true;
}

static const struct label labels[] = { { { "__name__", 8 }, { "up", 2 } },
                                       { { "job", 3 }, { "x", 1 } } };

static void make(struct buf *out)
{
    struct record_writer w = { 0 };
    struct histogram h = { .is_integer = true, .count = 3, .zero_count = 3 };
    struct histogram stale = { .sum = stale_nan() };

    record_define(&w, 7, (struct labels){ labels, 2 });
    record_series(&w, 7, (struct record_counts){ .n_floats = 3 });
    record_float(&w, (struct sample){ 1700000000000, 1.5 }, 0);
    record_float(&w, (struct sample){ INT64_MIN, stale_nan() }, 0);
    record_float(&w, (struct sample){ INT64_MAX, -0.0 }, 0);
    record_series(&w, 2,
                  (struct record_counts){
                      .n_floats = 2, .n_histograms = 2, .n_exemplars = 2, .has_starts = true });
    record_float(&w, (struct sample){ 5, 9 }, -7);
    record_float(&w, (struct sample){ 6, 9 }, 0);
    record_histogram(&w, 7, INT64_MAX, &h);
    record_histogram(&w, 8, INT64_MIN, &stale);
    record_exemplar(&w, 9, 0.5, (struct labels){ labels, 1 });
    record_exemplar(&w, 3, 0.25, (struct labels){ 0 });
    record_series(&w, 9, (struct record_counts){ .n_exemplars = 1 });
    record_exemplar(&w, 4, 1, (struct labels){ labels, 2 });
    assert_int_equal(record_finish(&w, out), OK);
    record_writer_free(&w);
}

static const char floats[] = "define 7\n"
                             "7 float 1700000000000 3ff8000000000000 0\n"
                             "7 float -9223372036854775808 7ff0000000000002 0\n"
                             "7 float 9223372036854775807 8000000000000000 0\n"
                             "2 float 5 4022000000000000 ";
static const char others[] = "-7\n"
                             "2 float 6 4022000000000000 0\n"
                             "2 histogram 7 3 9223372036854775807\n"
                             "2 histogram 8 0 -9223372036854775808\n"
                             "2 exemplar 9 0.5 1\n"
                             "2 exemplar 3 0.25 0\n"
                             "9 exemplar 4 1 2\n";

/* Reads a record, which must say what expected says, and a text after it. */
static void assert_says(struct bytes record, const char *expected, const char *more)
{
    struct seen s = { .arena = arena_new(0) };
    struct record_handler h = { &s, see_definition, see_sample, see_histogram, see_exemplar };
    struct buf want = { 0 };

    assert_int_equal(record_read(record, &h, NULL), OK);
    assert_true(labels_equal(s.labels, (struct labels){ labels, 2 }));
    buf_printf(&want, "%s%s", expected, more);
    buf_u8(&want, 0);
    buf_u8(&s.text, 0);
    assert_string_equal((const char *)s.text.ptr, (const char *)want.ptr);
    buf_free(&want);
    buf_free(&s.text);
    arena_free(s.arena);
}

static void record_reads_back_bit_by_bit(void **state)
{
    struct buf b = { 0 };

    (void)state;
    make(&b);
    assert_says(buf_as_bytes(&b), floats, others);
    buf_free(&b);
}

static void the_bytes_of_version_2_stay(void **state)
{
    struct buf b = { 0 }, golden = { 0 };

    (void)state;
    make(&b);
    assert_int_equal(fs_read_file(TEST_DIR "/golden/record_v2.bin", 1 << 20, &golden, NULL), OK);
    assert_says(buf_as_bytes(&golden), floats, others);
    assert_int_equal(b.len, golden.len);
    assert_memory_equal(b.ptr, golden.ptr, b.len);
    buf_free(&golden);
    buf_free(&b);
}

/* Written by hand: version 1 had nothing but floats. */
static void records_of_version_1_are_read(void **state)
{
    struct buf b = { 0 }, key = { 0 };

    (void)state;
    labels_encode(&key, (struct labels){ labels, 2 });
    buf_u8(&b, 1);
    buf_uvarint(&b, 1);
    buf_uvarint(&b, 7);
    buf_uvarint(&b, key.len);
    buf_add(&b, key.ptr, key.len);
    buf_uvarint(&b, 1);
    buf_varint(&b, 7);
    buf_uvarint(&b, 2);
    buf_varint(&b, 1000);
    buf_u64(&b, f64_bits(1));
    buf_varint(&b, 15);
    buf_u64(&b, f64_bits(2));
    assert_says(buf_as_bytes(&b), "define 7\n7 float 1000 3ff0000000000000 0\n",
                "7 float 1015 4000000000000000 0\n");
    buf_free(&key);
    buf_free(&b);
}

static void plain_floats_cost_no_more_than_their_time_and_value(void **state)
{
    struct record_writer w = { 0 };
    struct buf b = { 0 };

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        record_series(&w, i, (struct record_counts){ .n_floats = 1 });
        record_float(&w, (struct sample){ 1000 + i % 2, 1.5 }, 0);
    }
    assert_int_equal(record_finish(&w, &b), OK);
    assert_true(b.len <= 1000 * 11 + 8); /* ref, count, time: a byte each */
    record_writer_free(&w);
    buf_free(&b);
}

static void cut_or_padded_records_are_corrupt(void **state)
{
    struct record_handler h = { 0 };
    struct buf b = { 0 };

    (void)state;
    make(&b);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(record_read((struct bytes){ b.ptr, n }, &h, NULL), ERR_CORRUPT);
    buf_u8(&b, 0);
    assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), ERR_CORRUPT);
    b.ptr[0] = 9;
    assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), ERR_CORRUPT);
    buf_free(&b);
}

static bool see_value(void *ctx, uint32_t ref, struct sample s, int64_t start_ms)
{
    struct buf *bits = ctx;

    (void)ref;
    (void)start_ms;
    buf_u64(bits, f64_bits(s.v));
    return true;
}

/* Integers, short and long fractions, and what is neither: each in as many bytes as its kind needs. */
static void values_keep_every_bit(void **state)
{
    static const struct {
        uint64_t bits;
        size_t bytes;
    } cases[] = {
        { 0, 1 },
        { 0x8000000000000000, 2 },
        { 0x3ff0000000000000, 1 }, /* 1 */
        { 0xbff0000000000000, 1 },
        { 0x404f000000000000, 2 }, /* 62 */
        { 0x3ff8000000000000, 3 }, /* 1.5 */
        { 0x3fb999999999999a, 9 }, /* 0.1 */
        { STALE_NAN_BITS, 9 },
        { QUIET_NAN_BITS, 9 },
        { 0x7ff0000000000000, 3 },
        { 0x433fffffffffffff, 8 },
        { 0xc33fffffffffffff, 8 },
        { 0x4340000000000000, 3 },
        { 1, 9 },
        { UINT64_MAX, 9 },
        { 0x0100000000000000, 2 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct record_writer w = { 0 };
        struct buf b = { 0 }, seen = { 0 };
        struct record_handler h = { .ctx = &seen, .sample = see_value };

        record_series(&w, 1, (struct record_counts){ .n_floats = 1 });
        record_float(&w, (struct sample){ 0, f64_from_bits(cases[i].bits) }, 0);
        assert_int_equal(record_finish(&w, &b), OK);
        assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), OK);
        assert_int_equal(seen.len, 8);
        assert_true(load_u64le(seen.ptr) == cases[i].bits);
        assert_int_equal(b.len, 6 + cases[i].bytes);
        b.ptr[6] = 9 << 1 | 1; /* more bytes than a value has */
        assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), ERR_CORRUPT);
        buf_free(&seen);
        buf_free(&b);
        record_writer_free(&w);
    }
}

static bool refuse(void *ctx, uint32_t ref, struct sample s, int64_t start_ms)
{
    (void)ctx;
    (void)ref;
    (void)s;
    (void)start_ms;
    return false;
}

static void a_handler_can_stop_the_reading(void **state)
{
    struct record_handler h = { .sample = refuse };
    struct buf b = { 0 };

    (void)state;
    make(&b);
    assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), ERR_CANCELED);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_reads_back_bit_by_bit),
        cmocka_unit_test(the_bytes_of_version_2_stay),
        cmocka_unit_test(records_of_version_1_are_read),
        cmocka_unit_test(plain_floats_cost_no_more_than_their_time_and_value),
        cmocka_unit_test(cut_or_padded_records_are_corrupt),
        cmocka_unit_test(values_keep_every_bit),
        cmocka_unit_test(a_handler_can_stop_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
