#include "ingest/snappy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

#include "base/banned.h"

#define BYTES(literal) ((struct bytes){ (const uint8_t *)(literal), sizeof(literal) - 1 })

enum { MAX = 1 << 20 };

static void blocks_of_every_kind_of_element_decode(void **state)
{
    const struct {
        struct bytes in;
        const char *want;
    } cases[] = {
        { BYTES("\x00"), "" },
        { BYTES("\x03\x08"
                "abc"),
          "abc" },                                   /* literal */
        { BYTES("\x05\xf0\x04hello"), "hello" },     /* literal, length in one further byte */
        { BYTES("\x05\xf4\x04\x00hello"), "hello" }, /* and in two */
        { BYTES("\x08\x0c"
                "abcd\x01\x04"),
          "abcdabcd" }, /* copy, 11-bit offset */
        { BYTES("\x06\x00"
                "a\x12\x01\x00"),
          "aaaaaa" }, /* overlapping copy, 16-bit offset */
        { BYTES("\x06\x00"
                "a\x13\x01\x00\x00\x00"),
          "aaaaaa" }, /* and 32-bit offset */
    };
    struct buf out = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(snappy_decode(cases[i].in, MAX, &out, NULL), OK);
        assert_non_null(out.ptr);
        assert_int_equal(out.len, strlen(cases[i].want));
        assert_memory_equal(out.ptr, cases[i].want, out.len);
    }
    buf_free(&out);
}

static void damaged_blocks_are_refused(void **state)
{
    const struct bytes cases[] = {
        BYTES(""),                         /* not even a length */
        BYTES("\x80"),                     /* unfinished length */
        BYTES("\xff\xff\xff\xff\xff\x01"), /* length beyond 32 bits */
        BYTES("\x05\x10hell"),             /* literal cut short */
        BYTES("\x05\x0chell"),             /* less than announced */
        BYTES("\x03\x10hello"),            /* more than announced */
        BYTES("\x04\x0dhello"),            /* copy from before the start */
        BYTES("\x06\x00"
              "a\x12\x00\x00"), /* copy from offset 0 */
        BYTES("\x00\x00"
              "a"), /* surplus input */
        BYTES("\xff\xff\x7f\x00"
              "a"), /* 2 MiB from four bytes: impossible */
    };
    struct buf out = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = err_in(*state);

        assert_int_equal(snappy_decode(cases[i], MAX, &out, &err), ERR_BAD_DATA);
        assert_string_equal(err_text(&err), "snappy: corrupt input");
        assert_int_equal(out.len, 0);
    }
    buf_free(&out);
}

static void impossible_growth_is_refused_before_allocating(void **state)
{
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(snappy_decode(BYTES("\xff\xff\xff\x07\x00"), 1 << 30, &out, NULL),
                     ERR_BAD_DATA);
    assert_null(out.ptr);
}

static void too_large_a_body_names_both_numbers(void **state)
{
    struct err err = err_in(*state);
    struct buf zeros = { 0 }, block = { 0 }, out = { 0 };
    uint8_t *p = buf_reserve(&zeros, 5000);

    assert_non_null(p);
    memset(p, 0, 5000);
    zeros.len = 5000;
    assert_int_equal(snappy_encode(buf_as_bytes(&zeros), &block, NULL), OK);
    assert_int_equal(snappy_decode(buf_as_bytes(&block), 5000, &out, NULL), OK);
    assert_int_equal(out.len, 5000);
    assert_int_equal(snappy_decode(buf_as_bytes(&block), 4999, &out, &err), ERR_TOO_LARGE);
    assert_string_equal(err_text(&err),
                        "snappy: the body decodes to 5000 bytes, at most 4999 are allowed");
    assert_int_equal(out.len, 0);
    buf_free(&zeros);
    buf_free(&block);
    buf_free(&out);
}

static void the_framing_format_is_named(void **state)
{
    struct err err = err_in(*state);
    struct buf out = { 0 };

    assert_int_equal(
        snappy_decode(BYTES("\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00xxxxx"), MAX, &out, &err),
        ERR_BAD_DATA);
    assert_non_null(strstr(err_text(&err), "framing format"));
    buf_free(&out);
}

static void encoding_round_trips_at_every_size(void **state)
{
    const size_t sizes[] = { 0, 1, 59, 60, 61, 255, 256, 65535, 65536, 65537, 200000 };
    struct buf in = { 0 }, block = { 0 }, out = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t x = 1;

        buf_clear(&in);
        for (size_t k = 0; k < sizes[i]; k++) { /* half noise, half repetition */
            x = x * 6364136223846793005u + 1442695040888963407u;
            buf_u8(&in, k & 64 ? (uint8_t)(x >> 56) : 'a');
        }
        assert_int_equal(snappy_encode(buf_as_bytes(&in), &block, NULL), OK);
        assert_int_equal(snappy_decode(buf_as_bytes(&block), MAX, &out, NULL), OK);
        assert_int_equal(out.len, in.len);
        if (in.len)
            assert_memory_equal(out.ptr, in.ptr, in.len);
    }
    buf_free(&in);
    buf_free(&block);
    buf_free(&out);
}

static int make_arena(void **state)
{
    *state = arena_new(0);
    return *state ? 0 : -1;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_every_kind_of_element_decode),
        cmocka_unit_test(damaged_blocks_are_refused),
        cmocka_unit_test(impossible_growth_is_refused_before_allocating),
        cmocka_unit_test(too_large_a_body_names_both_numbers),
        cmocka_unit_test(the_framing_format_is_named),
        cmocka_unit_test(encoding_round_trips_at_every_size),
    };

    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
