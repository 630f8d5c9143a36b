#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"

#include "base/banned.h"

/* The keys under test are numbers, kept beside the table as its users do. */
struct numbers {
    uint64_t *items;
    size_t n, cap;
    uint64_t (*hash)(uint64_t);
    struct table table;
};

static bool is_number(const void *ctx, uint32_t id, const void *key)
{
    return ((const struct numbers *)ctx)->items[id] == *(const uint64_t *)key;
}

static uint64_t hash_of(const void *ctx, uint32_t id)
{
    const struct numbers *n = ctx;

    return n->hash(n->items[id]);
}

static uint32_t find(const struct numbers *n, uint64_t key)
{
    return table_find(&n->table, n->hash(key), is_number, n, &key);
}

static void add(struct numbers *n, uint64_t key)
{
    assert_true(vec_reserve(&n->items, &n->cap, n->n + 1, sizeof *n->items));
    n->items[n->n++] = key;
    assert_true(table_add(&n->table, n->hash(key), (uint32_t)n->n - 1, hash_of, n));
}

static void clear(struct numbers *n)
{
    table_free(&n->table);
    free(n->items);
}

static uint64_t good_hash(uint64_t key)
{
    return hash64(&key, sizeof key);
}

static uint64_t no_hash(uint64_t key)
{
    (void)key;
    return 7;
}

static uint64_t low_bits_equal(uint64_t key)
{
    return key << 32;
}

static uint64_t high_bits_equal(uint64_t key)
{
    return key & UINT32_MAX;
}

static void an_empty_table_finds_nothing(void **state)
{
    struct numbers n = { .hash = good_hash };

    (void)state;
    assert_int_equal(find(&n, 1), TABLE_NONE);
    clear(&n);
}

/* Against a linear search, with hashes good and bad. */
static void every_key_is_found_and_no_other(void **state)
{
    static uint64_t (*const hashes[])(uint64_t) = { good_hash, no_hash, low_bits_equal,
                                                    high_bits_equal };

    (void)state;
    for (size_t h = 0; h < ARRAY_LEN(hashes); h++) {
        struct numbers n = { .hash = hashes[h] };
        uint64_t x = 88172645463325252U;

        for (size_t i = 0; i < 600; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            if (find(&n, x % 1000) == TABLE_NONE)
                add(&n, x % 1000);
        }
        for (uint64_t key = 0; key < 1000; key++) {
            uint32_t expected = TABLE_NONE;

            for (uint32_t i = 0; i < n.n; i++)
                if (n.items[i] == key)
                    expected = i;
            assert_int_equal(find(&n, key), expected);
        }
        assert_int_equal(n.table.n, n.n);
        clear(&n);
    }
}

static void a_table_grows_before_it_is_full(void **state)
{
    struct numbers n = { .hash = good_hash };

    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        add(&n, i);
        assert_true(n.table.n * 8 <= (n.table.mask + 1) * 7);
    }
    for (uint64_t i = 0; i < 100000; i++)
        assert_int_equal(find(&n, i), i);
    assert_int_equal(find(&n, 100000), TABLE_NONE);
    clear(&n);
}

static void vectors_grow_by_doubling(void **state)
{
    uint32_t *items = NULL;
    size_t cap = 0;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(vec_reserve(&items, &cap, i + 1, sizeof *items));
        assert_true(cap > i && cap < 2 * (i + 8));
        items[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    free(items);
}

static void a_vector_too_large_changes_nothing(void **state)
{
    uint32_t *items = NULL;
    size_t cap = 0;

    (void)state;
    assert_true(vec_reserve(&items, &cap, 3, sizeof *items));
    items[2] = 42;
    assert_false(vec_reserve(&items, &cap, SIZE_MAX, sizeof *items));
    assert_false(vec_reserve(&items, &cap, SIZE_MAX / 8, sizeof *items));
    assert_int_equal(items[2], 42);
    assert_int_equal(cap, 8);
    free(items);
}

static uint64_t few_homes(uint64_t key)
{
    return key % 5 | key << 40; /* long clusters, which wrap around */
}

static void what_is_removed_is_gone_and_the_rest_stays(void **state)
{
    enum { N = 700 };
    static uint64_t (*const hashes[])(uint64_t) = { few_homes, good_hash };

    (void)state;
    for (size_t h = 0; h < ARRAY_LEN(hashes); h++) {
        struct numbers n = { .hash = hashes[h] };
        bool there[N];

        for (uint64_t i = 0; i < N; i++) {
            add(&n, i);
            there[i] = true;
        }
        for (uint64_t round = 0; round < N; round++) {
            uint64_t i = round * 7919 % N;

            if (i % 3) {
                table_remove(&n.table, n.hash(i), (uint32_t)i, hash_of, &n);
                there[i] = false;
            }
            if (round % 50 == 0)
                for (uint64_t k = 0; k < N; k++)
                    assert_int_equal(find(&n, k), there[k] ? k : TABLE_NONE);
        }
        for (uint64_t i = 0; i < N; i++)
            if (!there[i])
                assert_true(table_add(&n.table, n.hash(i), (uint32_t)i, hash_of, &n));
        for (uint64_t i = 0; i < N; i++)
            assert_int_equal(find(&n, i), i);
        table_free(&n.table);
        free(n.items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing),
        cmocka_unit_test(every_key_is_found_and_no_other),
        cmocka_unit_test(a_table_grows_before_it_is_full),
        cmocka_unit_test(vectors_grow_by_doubling),
        cmocka_unit_test(a_vector_too_large_changes_nothing),
        cmocka_unit_test(what_is_removed_is_gone_and_the_rest_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
