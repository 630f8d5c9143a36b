#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/pack_cache.h"

#include "base/banned.h"

static const uint8_t bytes[100]; /* places to know entries by */

static void put(struct pack_cache *c, size_t i, size_t size)
{
    void *data = pack_cache_put(c, bytes + i, 7, size);

    assert_non_null(data);
    memset(data, (int)i, size);
}

static bool has(struct pack_cache *c, size_t i)
{
    const uint8_t *data = pack_cache_get(c, bytes + i, 7);

    assert_true(!data || data[0] == i);
    return data;
}

static void what_was_used_longest_ago_makes_room(void **state)
{
    struct pack_cache *c = pack_cache_new(1000);

    (void)state;
    assert_non_null(c);
    put(c, 1, 400);
    put(c, 2, 400);
    assert_true(has(c, 1));
    put(c, 3, 400);
    assert_true(has(c, 1) && !has(c, 2) && has(c, 3));
    assert_null(pack_cache_get(c, bytes + 1, 8)); /* of another length */
    put(c, 4, 5000);                              /* one is always kept */
    assert_true(!has(c, 1) && !has(c, 3) && has(c, 4));
    pack_cache_free(c);
}

static void entries_are_limited_and_may_be_dropped(void **state)
{
    struct pack_cache *c = pack_cache_new(1 << 20);

    (void)state;
    assert_non_null(c);
    for (size_t i = 0; i < sizeof bytes; i++)
        put(c, i, 1);
    assert_true(!has(c, 0) && has(c, 99));
    pack_cache_drop(c, bytes + 99, 7);
    pack_cache_drop(c, bytes, 7); /* is not there */
    assert_true(!has(c, 99) && has(c, 98));
    pack_cache_free(c);
    pack_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_used_longest_ago_makes_room),
        cmocka_unit_test(entries_are_limited_and_may_be_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
