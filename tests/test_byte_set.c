#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/byte_set.h"

#include "base/banned.h"

static void equal_strings_have_one_number(void **state)
{
    struct byte_set s = { 0 };

    (void)state;
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 1000; i++) {
            uint8_t string[8];
            size_t len = 1 + i % 7;

            memset(string, 0, sizeof string);
            store_u32le(string, i + 1);
            len = i >= 255 && len < 2 ? 2 : len;
            assert_int_equal(byte_set_add(&s, (struct bytes){ string, len }), i);
            struct bytes back = byte_set_get(&s, i);

            assert_int_equal(back.len, len);
            assert_memory_equal(back.ptr, string, len);
        }
    assert_int_equal(s.n, 1000);
    byte_set_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(equal_strings_have_one_number) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
