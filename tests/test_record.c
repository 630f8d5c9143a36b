#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/record.h"

struct seen {
    size_t definitions, samples;
    uint32_t refs[8];
    struct sample values[8];
    struct labels labels;
    struct arena *arena;
};

static bool see_definition(void *ctx, uint32_t ref, struct bytes encoded)
{
    struct seen *s = ctx;

    s->definitions++;
    assert_int_equal(ref, 7);
    return labels_decode(encoded, s->arena, &s->labels, NULL) == OK;
}

static bool see_sample(void *ctx, uint32_t ref, struct sample v, int64_t start_ms)
{
    struct seen *s = ctx;

    (void)start_ms;
    if (s->samples < 8) {
        s->refs[s->samples] = ref;
        s->values[s->samples] = v;
    }
    s->samples++;
    return true;
}

static const struct label labels[] = { { { "__name__", 8 }, { "up", 2 } },
                                       { { "job", 3 }, { "x", 1 } } };

static void make(struct buf *out)
{
    struct record_writer w = { 0 };

    record_define(&w, 7, (struct labels){ labels, 2 });
    record_series(&w, 7, (struct record_counts){ .n_floats = 3 });
    record_float(&w, (struct sample){ 1700000000000, 1.5 }, 0);
    record_float(&w, (struct sample){ INT64_MIN, stale_nan() }, 0);
    record_float(&w, (struct sample){ INT64_MAX, -0.0 }, 0);
    record_series(&w, 2, (struct record_counts){ .n_floats = 1 });
    record_float(&w, (struct sample){ 5, 9 }, 0);
    assert_int_equal(record_finish(&w, out), OK);
    record_writer_free(&w);
}

static void record_reads_back_bit_by_bit(void **state)
{
    struct seen s = { .arena = arena_new(0) };
    struct record_handler h = { .ctx = &s, .define = see_definition, .sample = see_sample };
    struct buf b = { 0 };

    (void)state;
    make(&b);
    assert_int_equal(record_read(buf_as_bytes(&b), &h, NULL), OK);
    assert_int_equal(s.definitions, 1);
    assert_true(labels_equal(s.labels, (struct labels){ labels, 2 }));
    assert_int_equal(s.samples, 4);
    assert_int_equal(s.refs[2], 7);
    assert_int_equal(s.refs[3], 2);
    assert_true(s.values[1].t_ms == INT64_MIN && is_stale(s.values[1].v));
    assert_true(s.values[2].t_ms == INT64_MAX && f64_bits(s.values[2].v) == f64_bits(-0.0));
    assert_true(s.values[3].t_ms == 5 && s.values[3].v == 9);
    buf_free(&b);
    arena_free(s.arena);
}

static void cut_or_padded_records_are_corrupt(void **state)
{
    struct seen s = { .arena = arena_new(0) };
    struct record_handler h = { .ctx = &s, .sample = see_sample };
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
    arena_free(s.arena);
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
        cmocka_unit_test(cut_or_padded_records_are_corrupt),
        cmocka_unit_test(values_keep_every_bit),
        cmocka_unit_test(a_handler_can_stop_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
