#include "base/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/banned.h"

static struct buf packed, plain, in;

static int set_up(void **state)
{
    (void)state;
    packed = plain = in = (struct buf){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&packed);
    buf_free(&plain);
    buf_free(&in);
    return 0;
}

static void what_is_packed_comes_out_again(void **state)
{
    const size_t sizes[] = { 0, 1, 1000, 100000, 3000000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        buf_clear(&in);
        for (size_t k = 0; k < sizes[i]; k++)
            buf_u8(&in, (uint8_t)(k * k >> 7));
        assert_int_equal(gzip_encode(buf_as_bytes(&in), &packed, NULL), OK);
        assert_int_equal(gzip_decode(buf_as_bytes(&packed), sizes[i], &plain, NULL), OK);
        assert_int_equal(plain.len, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(plain.ptr, in.ptr, sizes[i]) == 0);
    }
}

static void members_one_behind_another_are_one_text(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gzip_encode((struct bytes){ (const uint8_t *)"half", 4 }, &packed, NULL),
                         OK);
        buf_add(&in, packed.ptr, packed.len);
    }
    assert_int_equal(gzip_decode(buf_as_bytes(&in), 100, &plain, NULL), OK);
    assert_true(str_is(buf_as_str(&plain), "halfhalf"));
}

/* 30 MB of zeros in 30 kB: memory must follow the limit, not the body. */
static void a_bomb_stops_at_the_limit(void **state)
{
    (void)state;
    assert_non_null(buf_reserve(&in, 30 << 20));
    memset(in.ptr, 0, 30 << 20);
    in.len = 30 << 20;
    assert_int_equal(gzip_encode(buf_as_bytes(&in), &packed, NULL), OK);
    assert_true(packed.len < 40000);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), 1 << 20, &plain, NULL), ERR_TOO_LARGE);
    assert_int_equal(plain.len, 0);
    assert_true(plain.cap <= 4 << 20);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), (30 << 20) - 1, &plain, NULL),
                     ERR_TOO_LARGE);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), 30 << 20, &plain, NULL), OK);
}

static void damage_is_bad_data(void **state)
{
    struct bytes whole;

    (void)state;
    assert_int_equal(gzip_encode((struct bytes){ (const uint8_t *)"some text", 9 }, &packed, NULL),
                     OK);
    whole = buf_as_bytes(&packed);
    for (size_t n = 0; n < whole.len; n++) {
        assert_int_equal(gzip_decode((struct bytes){ whole.ptr, n }, 100, &plain, NULL),
                         ERR_BAD_DATA);
        assert_int_equal(plain.len, 0);
    }
    packed.ptr[whole.len - 6] ^= 1; /* its checksum */
    assert_int_equal(gzip_decode(whole, 100, &plain, NULL), ERR_BAD_DATA);
    assert_int_equal(
        gzip_decode((struct bytes){ (const uint8_t *)"plain text", 10 }, 100, &plain, NULL),
        ERR_BAD_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_packed_comes_out_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(members_one_behind_another_are_one_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bomb_stops_at_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_bad_data, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("gzip", tests, NULL, NULL);
}
