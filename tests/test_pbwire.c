#include "ingest/pbwire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pb_build.h"

#include "base/banned.h"

#define BYTES(literal) ((struct bytes){ (const uint8_t *)(literal), sizeof(literal) - 1 })

static void fields_of_every_wire_type_are_read(void **state)
{
    struct pb_field f;
    struct pb_reader r = pb_on(BYTES("\x08\x96\x01"                         /* 1: 150 */
                                     "\x11\x00\x00\x00\x00\x00\x00\xf0\x3f" /* 2: 1.0 */
                                     "\x1a\x03xyz"                          /* 3: "xyz" */
                                     "\x25\x01\x02\x03\x04"                 /* 4 */
                                     "\xf8\xff\xff\xff\x0f\x00"));          /* 2^29-1 */

    (void)state;
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.key, PB_KEY(1, PB_VARINT));
    assert_int_equal(f.value, 150);
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.key, PB_KEY(2, PB_FIXED64));
    assert_true(f64_from_bits(f.value) == 1.0);
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.key, PB_KEY(3, PB_BYTES));
    assert_true(str_is(pb_str(&f), "xyz"));
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.key, PB_KEY(4, PB_FIXED32));
    assert_int_equal(f.value, 0x04030201);
    assert_true(pb_next(&r, &f));
    assert_int_equal(pb_number(&f), (1 << 29) - 1);
    assert_false(pb_next(&r, &f));
    assert_int_equal(r.fault, PB_NO_FAULT);
}

static void varints_keep_64_bits_and_no_more(void **state)
{
    const struct {
        struct bytes in;
        uint64_t want;
        enum pb_fault fault;
    } cases[] = {
        { BYTES("\x00"), 0, PB_NO_FAULT },
        { BYTES("\x7f"), 127, PB_NO_FAULT },
        { BYTES("\x80\x01"), 128, PB_NO_FAULT },
        { BYTES("\x80\x00"), 0, PB_NO_FAULT }, /* longer than needed is legal */
        { BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), UINT64_MAX, PB_NO_FAULT },
        { BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), 0, PB_LONG_VARINT },
        { BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00"), 0, PB_LONG_VARINT },
        { BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), 0, PB_LONG_VARINT },
        { BYTES(""), 0, PB_TRUNCATED_VARINT },
        { BYTES("\xff"), 0, PB_TRUNCATED_VARINT },
        { BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 0, PB_TRUNCATED_VARINT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pb_reader r = pb_on(cases[i].in);

        assert_true(pb_varint(&r) == cases[i].want);
        assert_int_equal(r.fault, cases[i].fault);
        assert_false(pb_more(&r));
    }
}

static void bad_fields_are_faults(void **state)
{
    const struct {
        struct bytes in;
        enum pb_fault fault;
    } cases[] = {
        { BYTES("\x00\x00"), PB_BAD_KEY }, /* field number 0 */
        { BYTES("\x07"), PB_BAD_KEY },
        { BYTES("\x88\x80\x80\x80\x10\x00"), PB_BAD_KEY }, /* field number 2^29 + 1 */
        { BYTES("\x80"), PB_TRUNCATED_VARINT },            /* key */
        { BYTES("\x08"), PB_TRUNCATED_VARINT },            /* value */
        { BYTES("\x09\x01\x02\x03\x04\x05\x06\x07"), PB_TRUNCATED_FIXED },
        { BYTES("\x0d\x01\x02\x03"), PB_TRUNCATED_FIXED },
        { BYTES("\x0a"), PB_TRUNCATED_VARINT }, /* length */
        { BYTES("\x0a\x02x"), PB_TRUNCATED_BYTES },
        { BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), PB_TRUNCATED_BYTES },
        { BYTES("\x0b"), PB_BAD_WIRE }, /* group start */
        { BYTES("\x0c"), PB_BAD_WIRE }, /* group end */
        { BYTES("\x0e"), PB_BAD_WIRE },
        { BYTES("\x0f"), PB_BAD_WIRE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pb_reader r = pb_on(cases[i].in);
        struct pb_field f;

        assert_false(pb_next(&r, &f));
        assert_int_equal(r.fault, cases[i].fault);
        assert_ptr_equal(r.field_at, cases[i].in.ptr);
        assert_false(pb_next(&r, &f)); /* and it stays so */
        assert_true(pb_fixed64(&r) == 0);
        assert_int_equal(r.fault, cases[i].fault);
    }
}

static void sub_messages_end_where_they_say(void **state)
{
    struct bytes in = BYTES("\x0a\x02\x08\x05" /* 1: { 1: 5 } */
                            "\x0a\x01\x08"     /* 1: { 1: cut off } */
                            "\x10\x07");
    struct pb_reader r = pb_on(in);
    struct pb_field outer, inner;
    const uint8_t *end;

    (void)state;
    assert_true(pb_next(&r, &outer));
    end = pb_enter(&r, &outer);
    assert_true(pb_next(&r, &inner));
    assert_int_equal(inner.value, 5);
    assert_false(pb_next(&r, &inner));
    pb_leave(&r, end);
    assert_true(pb_next(&r, &outer));
    end = pb_enter(&r, &outer);
    assert_false(pb_next(&r, &inner)); /* does not read on into the next field */
    pb_leave(&r, end);
    assert_int_equal(r.fault, PB_TRUNCATED_VARINT);
    assert_ptr_equal(r.field_at, in.ptr + 6);
    assert_false(pb_next(&r, &outer));
}

static const struct pb_field_spec point_fields[] = {
    { "x", 1, PB_VARINT, false, NULL },
    { "weights", 2, PB_FIXED64, true, NULL },
    { "steps", 3, PB_VARINT, true, NULL },
    { "marks", 5, PB_FIXED32, true, NULL },
};
static const struct pb_message point = PB_MESSAGE(point_fields);
static const struct pb_field_spec line_fields[] = {
    { "name", 1, PB_BYTES, false, NULL },
    { "points", 2, PB_BYTES, true, &point },
    { "origin", 7, PB_BYTES, false, &point },
};
static const struct pb_message line = PB_MESSAGE(line_fields);

static void check_accepts_packed_unpacked_and_unknown(void **state)
{
    const struct bytes cases[] = {
        BYTES(""),
        BYTES("\x0a\x02hi"),
        BYTES("\x12\x02\x08\x01"),
        BYTES("\x12\x0a\x18\x01\x18\x02\x1a\x04\x03\x80\x01\x04"), /* steps, both ways */
        BYTES("\x12\x0a\x12\x08\0\0\0\0\0\0\0\0"),
        BYTES("\x12\x06\x2a\x04\0\0\0\0"),
        BYTES("\x12\x02\x1a\x00"), /* packed, none */
        BYTES("\x22\x02\x0b\x0b"), /* unknown field 4: not looked into */
        BYTES("\x20\x01\x25\x01\x02\x03\x04"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pb_reader r = pb_on(cases[i]);

        pb_check(&r, &line);
        assert_int_equal(r.fault, PB_NO_FAULT);
    }
}

static void check_finds_faults_and_locate_names_them(void **state)
{
    const struct {
        struct bytes in;
        enum pb_fault fault;
        const char *path;
    } cases[] = {
        { BYTES("\x08\x01"), PB_WRONG_WIRE, "name" },
        { BYTES("\x10\x01"), PB_WRONG_WIRE, "points[0]" },
        { BYTES("\x12\x02\x0a\x00"), PB_WRONG_WIRE, "points[0].x" }, /* x is not repeated */
        { BYTES("\x12\x00\x12\x02\x18\x80"), PB_TRUNCATED_VARINT, "points[1].steps[0]" },
        { BYTES("\x12\x04\x18\x01\x1a\x00\x12\x07\x18\x01\x18\x02\x1a\x01\x80"),
          PB_TRUNCATED_VARINT, "points[1].steps[2]" },
        { BYTES("\x12\x05\x12\x03\x01\x02\x03"), PB_TRUNCATED_FIXED, "points[0].weights[0]" },
        { BYTES("\x12\x05\x2a\x03\x01\x02\x03"), PB_TRUNCATED_FIXED, "points[0].marks[0]" },
        { BYTES("\x3a\x02\x08\x80"), PB_TRUNCATED_VARINT, "origin.x" },
        { BYTES("\x3a\x01\x08\x12\x00"), PB_TRUNCATED_VARINT, "origin.x" },
        { BYTES("\x12\x02\x0b\x00"), PB_BAD_WIRE, "points[0].x" },
        { BYTES("\x12\x02\x00\x00"), PB_BAD_KEY, "points[0]" },
        { BYTES("\x12\x05\x08"), PB_TRUNCATED_BYTES, "points[0]" },
        { BYTES("\x22\x05\x08"), PB_TRUNCATED_BYTES, "" }, /* in a field without a name */
        { BYTES("\x80"), PB_TRUNCATED_VARINT, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pb_reader r = pb_on(cases[i].in);
        struct buf path = { 0 };

        pb_check(&r, &line);
        assert_int_equal(r.fault, cases[i].fault);
        pb_locate(&line, cases[i].in, (size_t)(r.field_at - cases[i].in.ptr), &path);
        buf_u8(&path, 0);
        assert_string_equal((char *)path.ptr, cases[i].path);
        buf_free(&path);
    }
}

static void built_messages_read_back(void **state)
{
    struct buf sub = { 0 }, b = { 0 };
    struct pb_field f;
    struct pb_reader r;

    (void)state;
    pb_put_varint(&sub, 1, (uint64_t)-1);
    pb_put_message(&b, 2, &sub);
    pb_put_text(&b, 1, "name");
    pb_put_double(&b, 9, -0.0);
    r = pb_on(buf_as_bytes(&b));
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.bytes.len, 11); /* negative numbers take ten bytes */
    assert_true(pb_next(&r, &f));
    assert_true(str_is(pb_str(&f), "name"));
    assert_true(pb_next(&r, &f));
    assert_true(f.value == 1ull << 63);
    assert_false(pb_next(&r, &f));
    buf_free(&sub);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_every_wire_type_are_read),
        cmocka_unit_test(varints_keep_64_bits_and_no_more),
        cmocka_unit_test(bad_fields_are_faults),
        cmocka_unit_test(sub_messages_end_where_they_say),
        cmocka_unit_test(check_accepts_packed_unpacked_and_unknown),
        cmocka_unit_test(check_finds_faults_and_locate_names_them),
        cmocka_unit_test(built_messages_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
