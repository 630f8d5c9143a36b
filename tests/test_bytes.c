#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/bytes.h"

#include "base/banned.h"

static void texts_compare_by_bytes(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        { "", "", 0 },    { "", "a", -1 },         { "a", "", 1 },
        { "a", "a", 0 },  { "a", "b", -1 },        { "a", "aa", -1 },
        { "b", "aa", 1 }, { "a", "\xc3\xa9", -1 }, { "Z", "a", -1 },
    };
    struct str empty = { NULL, 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str a = str_from(cases[i].a), b = str_from(cases[i].b);
        int c = str_cmp(a, b);

        assert_int_equal((c > 0) - (c < 0), cases[i].order);
        assert_int_equal(str_equal(a, b), cases[i].order == 0);
    }
    assert_true(str_equal(empty, STR("")));
    assert_int_equal(str_cmp(empty, STR("")), 0);
    assert_int_equal(str_from(NULL).len, 0);
    assert_true(str_starts_with(STR("foobar"), STR("foo")));
    assert_false(str_starts_with(STR("fo"), STR("foo")));
    assert_true(str_starts_with(empty, empty));
    assert_true(str_ends_with(STR("foobar"), STR("bar")));
    assert_false(str_ends_with(STR("ar"), STR("bar")));
}

static void utf8_follows_rfc_3629(void **state)
{
    static const struct {
        const char *text;
        uint32_t rune; /* of the first sequence, 0xfffd when it is none */
    } cases[] = {
        { "a", 'a' },
        { "\x7f", 0x7f },
        { "\xc2\x80", 0x80 },
        { "\xdf\xbf", 0x7ff },
        { "\xe0\xa0\x80", 0x800 },
        { "\xed\x9f\xbf", 0xd7ff },
        { "\xee\x80\x80", 0xe000 },
        { "\xef\xbf\xbf", 0xffff },
        { "\xf0\x90\x80\x80", 0x10000 },
        { "\xf4\x8f\xbf\xbf", 0x10ffff },
        { "\x80", 0xfffd }, /* a continuation alone */
        { "\xbf", 0xfffd },
        { "\xc0\x80", 0xfffd }, /* overlong */
        { "\xc1\xbf", 0xfffd },
        { "\xe0\x9f\xbf", 0xfffd },
        { "\xf0\x8f\xbf\xbf", 0xfffd },
        { "\xed\xa0\x80", 0xfffd }, /* surrogates */
        { "\xed\xbf\xbf", 0xfffd },
        { "\xf4\x90\x80\x80", 0xfffd }, /* beyond U+10FFFF */
        { "\xf5\x80\x80\x80", 0xfffd },
        { "\xff", 0xfffd },
        { "\xc3", 0xfffd }, /* cut short */
        { "\xe4\xb8", 0xfffd },
        { "\xf0\x9f\x98", 0xfffd },
        { "\xe4\xb8-", 0xfffd },
        { "\xf0\x9f\x98-", 0xfffd },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = str_from(cases[i].text);
        size_t n;

        assert_int_equal(utf8_decode(s, &n), cases[i].rune);
        assert_int_equal(n, cases[i].rune == 0xfffd ? 1 : s.len);
        assert_int_equal(utf8_valid(s), cases[i].rune != 0xfffd);
    }
    assert_true(utf8_valid(STR("")));
    assert_true(utf8_valid(STR("a\0b")));
}

static void every_code_point_survives_encoding(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char text[4];
        size_t n = utf8_encode(c, text), used;
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        struct str s = { text, n };

        if (utf8_valid(s) == surrogate)
            fail_msg("U+%04X", c);
        if (!surrogate && (utf8_decode(s, &used) != c || used != n))
            fail_msg("U+%04X", c);
    }
}

/* utf8_valid() steps eight bytes at a time over ASCII: a bad byte must be found at any place. */
static void a_bad_byte_is_found_anywhere(void **state)
{
    char text[40];

    (void)state;
    for (size_t len = 1; len <= sizeof text; len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, 'x', sizeof text);
            assert_true(utf8_valid((struct str){ text, len }));
            text[at] = (char)0x80;
            assert_false(utf8_valid((struct str){ text, len }));
        }
    }
}

static void buffers_keep_what_is_added(void **state)
{
    struct buf b = { 0 };

    (void)state;
    buf_text(&b, "a");
    buf_str(&b, STR("bc"));
    buf_printf(&b, "%d-%s", 42, "x");
    buf_u8(&b, 1);
    buf_u16(&b, 0x0302);
    buf_u32(&b, 0x07060504);
    buf_u64(&b, 0x0f0e0d0c0b0a0908);
    assert_int_equal(b.len, 22);
    assert_memory_equal(b.ptr, "abc42-x\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 22);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    for (int i = 0; i < 10000; i++)
        buf_u8(&b, (uint8_t)i);
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.ptr[i], (uint8_t)i);
    buf_free(&b);
    assert_null(b.ptr);
}

static void a_buffer_that_cannot_grow_ignores_the_rest(void **state)
{
    struct buf b = { 0 };

    (void)state;
    buf_text(&b, "abc");
    assert_null(buf_reserve(&b, SIZE_MAX / 2));
    assert_true(b.failed);
    buf_text(&b, "def");
    buf_printf(&b, "%d", 1);
    buf_uvarint(&b, 1);
    assert_int_equal(b.len, 3);
    buf_clear(&b);
    buf_text(&b, "def");
    assert_true(!b.failed && b.len == 3);
    buf_free(&b);
}

static void nothing_can_be_added_to_an_empty_buffer(void **state)
{
    struct buf b = { 0 };

    (void)state;
    buf_add(&b, NULL, 0);
    buf_str(&b, (struct str){ 0 });
    assert_non_null(buf_reserve(&b, 0));
    assert_true(!b.failed && b.len == 0);
    buf_free(&b);
}

static void varints_read_back(void **state)
{
    static const uint64_t values[] = { 0,          1,          127,        128,
                                       300,        16383,      16384,      UINT32_MAX,
                                       1ULL << 62, 1ULL << 63, UINT64_MAX, UINT64_MAX - 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b = { 0 };
        struct reader r;

        buf_uvarint(&b, values[i]);
        buf_varint(&b, (int64_t)values[i]);
        buf_varint(&b, -(int64_t)(values[i] / 2));
        r = reader_on(buf_as_bytes(&b));
        assert_int_equal(read_uvarint(&r), values[i]);
        assert_int_equal(read_varint(&r), (int64_t)values[i]);
        assert_int_equal(read_varint(&r), -(int64_t)(values[i] / 2));
        assert_int_equal(reader_left(&r), 0);
        assert_false(r.overrun);
        buf_free(&b);
    }
}

static void bad_varints_overrun(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        { "", 0 },
        { "\x80", 1 },
        { "\xff\xff", 2 },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },     /* bit 64 */
        { "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11 }, /* eleven bytes */
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_on((struct bytes){ (const uint8_t *)cases[i].bytes, cases[i].n });

        assert_int_equal(read_uvarint(&r), 0);
        assert_true(r.overrun);
    }
}

static void a_reader_past_the_end_yields_zero_for_ever(void **state)
{
    static const uint8_t data[] = { 1, 2, 3 };
    struct reader r = reader_on((struct bytes){ data, sizeof data });

    (void)state;
    assert_int_equal(read_u16(&r), 0x0201);
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.overrun);
    assert_int_equal(read_u8(&r), 0); /* although one byte is left */
    assert_int_equal(read_u64(&r), 0);
    assert_int_equal(read_bytes(&r, 1).len, 0);
    assert_int_equal(read_str(&r, SIZE_MAX).len, 0);
    assert_true(r.overrun);
}

static void reading_all_is_no_overrun(void **state)
{
    static const uint8_t data[] = { 1, 2, 3 };
    struct reader r = reader_on((struct bytes){ data, sizeof data });
    struct reader none = reader_on((struct bytes){ 0 });

    (void)state;
    assert_int_equal(read_bytes(&r, 3).len, 3);
    assert_int_equal(read_bytes(&r, 0).len, 0);
    assert_false(r.overrun);
    assert_int_equal(read_bytes(&none, 0).len, 0);
    assert_false(none.overrun);
}

static void loads_and_stores_have_their_byte_order(void **state)
{
    uint8_t b[8];

    (void)state;
    store_u32le(b, 0x04030201);
    assert_memory_equal(b, "\1\2\3\4", 4);
    assert_int_equal(load_u32le(b), 0x04030201);
    assert_int_equal(load_u32be(b), 0x01020304);
    store_u64be(b, 0x0102030405060708);
    assert_memory_equal(b, "\1\2\3\4\5\6\7\x08", 8);
    assert_int_equal(load_u64be(b), 0x0102030405060708);
    assert_int_equal(load_u64le(b), 0x0807060504030201);
    store_u32be(b, 0x01020304);
    assert_memory_equal(b, "\1\2\3\4", 4);
    store_u64le(b, 0x0807060504030201);
    assert_memory_equal(b, "\1\2\3\4\5\6\7\x08", 8);
}

static void zigzag_puts_small_magnitudes_first(void **state)
{
    static const int64_t values[] = { 0, -1, 1, -2, 2, INT64_MAX, INT64_MIN };
    static const uint64_t codes[] = { 0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(zigzag(values[i]), codes[i]);
        assert_int_equal(unzigzag(codes[i]), values[i]);
    }
}

static void copies_end_with_nul(void **state)
{
    struct arena *a = arena_new(64);
    struct str copy = str_copy(a, (struct str){ "abcdef", 3 });

    (void)state;
    assert_string_equal(copy.ptr, "abc");
    assert_int_equal(copy.len, 3);
    assert_non_null(str_copy(a, (struct str){ 0 }).ptr);
    assert_null(str_copy(a, STR("a text that is too long for what is left of the arena")).ptr);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_compare_by_bytes),
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(every_code_point_survives_encoding),
        cmocka_unit_test(a_bad_byte_is_found_anywhere),
        cmocka_unit_test(buffers_keep_what_is_added),
        cmocka_unit_test(a_buffer_that_cannot_grow_ignores_the_rest),
        cmocka_unit_test(nothing_can_be_added_to_an_empty_buffer),
        cmocka_unit_test(varints_read_back),
        cmocka_unit_test(bad_varints_overrun),
        cmocka_unit_test(a_reader_past_the_end_yields_zero_for_ever),
        cmocka_unit_test(reading_all_is_no_overrun),
        cmocka_unit_test(loads_and_stores_have_their_byte_order),
        cmocka_unit_test(zigzag_puts_small_magnitudes_first),
        cmocka_unit_test(copies_end_with_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
