#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/hash.h"

#include "base/banned.h"

static void crc32c_matches_rfc_3720(void **state)
{
    uint8_t zeros[32] = { 0 }, ones[32], up[32], down[32];

    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, down, 32), 0x113fdb5c);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void hardware_and_table_agree_at_every_length_and_offset(void **state)
{
    uint8_t data[100];
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
    for (size_t offset = 0; offset < 9; offset++)
        for (size_t n = 0; n <= sizeof data - offset; n++)
            assert_int_equal(crc32c(x, data + offset, n), crc32c_portable(x, data + offset, n));
}

static void a_crc_can_be_continued(void **state)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog";
    size_t n = sizeof text - 1;

    (void)state;
    for (size_t cut = 0; cut <= n; cut++)
        assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, n - cut), crc32c(0, text, n));
}

/* Stored on disk, or part of PromQL's definition: a change of the library must not go unnoticed. */
static void hashes_never_change(void **state)
{
    (void)state;
    assert_int_equal(hash64("", 0), 0x2d06800538d394c2);
    assert_int_equal(hash64("a", 1), 0xe6c632b61e964e1f);
    assert_int_equal(hash64("abc", 3), 0x78af5f94892f3950);
    assert_int_equal(hash_xxh64("", 0), 0xef46db3751d8e999);
    assert_int_equal(hash_xxh64("a", 1), 0xd24ec4f1a98c6e5b);
    assert_int_equal(hash_xxh64("abc", 3), 0x44bc2cf5ad770999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_matches_rfc_3720),
        cmocka_unit_test(hardware_and_table_agree_at_every_length_and_offset),
        cmocka_unit_test(a_crc_can_be_continued),
        cmocka_unit_test(hashes_never_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
