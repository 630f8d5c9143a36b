#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"

#include "base/banned.h"

static void memory_is_aligned_and_separate(void **state)
{
    struct arena *a = arena_new(0);
    unsigned char *p[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = arena_alloc(a, i);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, i);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(p[i], p[j]);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(p[i][j], i);
    arena_free(a);
}

static void large_requests_are_met(void **state)
{
    static const size_t sizes[] = { 1, 5000, 100000, 3 << 20, 10, 8 << 20, 1 };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned char *p = arena_alloc(a, sizes[i]);

        assert_non_null(p);
        p[0] = p[sizes[i] - 1] = 1;
    }
    arena_free(a);
}

static void the_limit_holds(void **state)
{
    struct arena *a = arena_new(1024);

    (void)state;
    assert_int_equal(arena_limit(a), 1024);
    assert_null(arena_alloc(a, 1025));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_int_equal(arena_used(a), 0);
    for (int i = 0; i < 64; i++)
        assert_non_null(arena_alloc(a, 16));
    assert_int_equal(arena_used(a), 1024);
    assert_null(arena_alloc(a, 0));
    assert_null(arena_strndup(a, "", 0));
    assert_null(arena_printf(a, "x"));
    arena_reset(a);
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_alloc(a, 1024));
    arena_free(a);
}

static void calloc_zeroes_and_refuses_overflow(void **state)
{
    struct arena *a = arena_new(0);
    unsigned char *p = arena_alloc(a, 100);

    (void)state;
    memset(p, 0xff, 100);
    arena_reset(a);
    p = arena_calloc(a, 10, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    assert_null(arena_calloc(a, SIZE_MAX / 2, 3));
    assert_non_null(arena_calloc(a, 0, 8));
    arena_free(a);
}

static void growing_the_last_allocation_keeps_its_place(void **state)
{
    struct arena *a = arena_new(0);
    char *p = arena_grow(a, NULL, 0, 10);

    (void)state;
    memset(p, 'x', 10);
    for (size_t n = 10; n < 1000; n += 7) {
        assert_ptr_equal(arena_grow(a, p, n, n + 7), p);
        memset(p + n, 'x', 7);
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(p[i], 'x');
    arena_free(a);
}

static void growing_an_older_allocation_moves_it(void **state)
{
    struct arena *a = arena_new(0);
    char *p = arena_alloc(a, 16), *other = arena_alloc(a, 16), *q;

    (void)state;
    memset(p, 'p', 16);
    memset(other, 'o', 16);
    q = arena_grow(a, p, 16, 64);
    assert_ptr_not_equal(q, p);
    memset(q + 16, 'q', 48);
    assert_memory_equal(q, "pppppppppppppppp", 16);
    assert_memory_equal(other, "oooooooooooooooo", 16);
    assert_ptr_equal(arena_grow(a, other, 16, 8), other); /* never smaller */
    arena_free(a);
}

static void growing_respects_the_limit(void **state)
{
    struct arena *a = arena_new(256);
    char *p = arena_alloc(a, 128);

    (void)state;
    memset(p, 'x', 128);
    assert_null(arena_grow(a, p, 128, 257));
    assert_null(arena_grow(a, p, 128, SIZE_MAX));
    assert_int_equal(arena_used(a), 128);
    assert_ptr_equal(arena_grow(a, p, 128, 256), p);
    assert_int_equal(p[127], 'x');
    arena_free(a);
}

static void growing_crosses_chunks(void **state)
{
    struct arena *a = arena_new(0);
    size_t n = 16;
    char *p = arena_alloc(a, n);

    (void)state;
    memset(p, 'x', n);
    for (; n < 1 << 20; n *= 2) {
        p = arena_grow(a, p, n, 2 * n);
        assert_non_null(p);
        memset(p + n, 'x', n);
    }
    for (size_t i = 0; i < n; i++)
        if (p[i] != 'x')
            fail_msg("byte %zu is lost", i);
    arena_free(a);
}

static void texts_are_nul_terminated(void **state)
{
    struct arena *a = arena_new(0);

    (void)state;
    assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
    assert_int_equal(strlen(arena_printf(a, "%10000d", 1)), 10000);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_separate),
        cmocka_unit_test(large_requests_are_met),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(calloc_zeroes_and_refuses_overflow),
        cmocka_unit_test(growing_the_last_allocation_keeps_its_place),
        cmocka_unit_test(growing_an_older_allocation_moves_it),
        cmocka_unit_test(growing_respects_the_limit),
        cmocka_unit_test(growing_crosses_chunks),
        cmocka_unit_test(texts_are_nul_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
