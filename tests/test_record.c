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
        cmocka_unit_test(a_handler_can_stop_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
