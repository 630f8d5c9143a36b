/* Changing the labels of results, and numbering label sets by some of their labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "query/eval.h"
#include "query/grouping.h"

#include "base/banned.h"

#define L(n, v)                                                                                    \
    {                                                                                              \
        { n, sizeof(n) - 1 },                                                                      \
        {                                                                                          \
            v, sizeof(v) - 1                                                                       \
        }                                                                                          \
    }
#define N(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct label up[] = { L("__name__", "up"), L("__type__", "gauge"), L("a", "1"),
                                   L("b", "2"), L("c", "3") };
static const struct labels all = { up, ARRAY_LEN(up) };

static int make_query(void **state)
{
    static struct query q;

    q = (struct query){ .arena = arena_new(0) };
    *state = &q;
    return q.arena ? 0 : -1;
}

static int free_query(void **state)
{
    struct query *q = *state;

    arena_free(q->arena);
    return 0;
}

static void assert_labels(struct labels ls, const char *want)
{
    struct buf b = { 0 };

    labels_print(&b, ls);
    buf_u8(&b, 0);
    assert_string_equal(b.ptr, want);
    buf_free(&b);
}

static void keep_and_drop_choose_by_name(void **state)
{
    const struct str names[] = { N("c"), N("a"), N("missing") };
    struct labels out;

    assert_int_equal(labels_keep(*state, all, names, 3, &out, NULL), OK);
    assert_labels(out, "{a=\"1\", c=\"3\"}");
    assert_int_equal(labels_drop(*state, all, names, 3, false, &out, NULL), OK);
    assert_labels(out, "{__name__=\"up\", __type__=\"gauge\", b=\"2\"}");
    assert_int_equal(labels_drop(*state, all, names, 3, true, &out, NULL), OK);
    assert_labels(out, "{__type__=\"gauge\", b=\"2\"}");
    assert_int_equal(labels_keep(*state, all, NULL, 0, &out, NULL), OK);
    assert_int_equal(out.n, 0);
    assert_int_equal(labels_without_metadata(*state, all, &out, NULL), OK);
    assert_labels(out, "{a=\"1\", b=\"2\", c=\"3\"}");
}

static void set_inserts_replaces_and_removes(void **state)
{
    const struct label two[] = { L("b", "2"), L("d", "4") };
    const struct labels ls = { two, 2 };
    const struct {
        struct str name, value;
        const char *want;
    } cases[] = {
        { N("a"), N("x"), "{a=\"x\", b=\"2\", d=\"4\"}" },
        { N("c"), N("x"), "{b=\"2\", c=\"x\", d=\"4\"}" },
        { N("e"), N("x"), "{b=\"2\", d=\"4\", e=\"x\"}" },
        { N("b"), N("x"), "{b=\"x\", d=\"4\"}" },
        { N("d"), N("x"), "{b=\"2\", d=\"x\"}" },
        { N("b"), N(""), "{d=\"4\"}" },
        { N("x"), N(""), "{b=\"2\", d=\"4\"}" },
    };
    struct labels out;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(labels_set(*state, ls, cases[i].name, cases[i].value, &out, NULL), OK);
        assert_labels(out, cases[i].want);
    }
}

static void a_full_arena_is_a_limit(void **state)
{
    struct query q = { .arena = arena_new(1) };
    struct err err = err_in(NULL);
    struct labels out;

    (void)state;
    assert_int_equal(labels_set(&q, all, STR("x"), STR("y"), &out, &err), ERR_LIMIT);
    arena_free(q.arena);
}

static void series_that_agree_in_the_chosen_labels_share_a_number(void **state)
{
    const struct label one[] = { L("__name__", "up"), L("a", "1"), L("b", "1") };
    const struct label two[] = { L("__name__", "down"), L("a", "1"), L("b", "2") };
    const struct label three[] = { L("b", "3") };
    const struct str names[] = { N("a") };
    struct grouping by = { .q = *state, .choice = { names, 1, true, false } };
    uint32_t id;

    assert_int_equal(grouping_add(&by, (struct labels){ one, 3 }, &id, NULL), OK);
    assert_int_equal(id, 0);
    assert_int_equal(grouping_find(&by, (struct labels){ three, 1 }, &id, NULL), OK);
    assert_int_equal(id, TABLE_NONE);
    assert_int_equal(grouping_add(&by, (struct labels){ three, 1 }, &id, NULL), OK);
    assert_int_equal(id, 1);
    assert_int_equal(grouping_add(&by, (struct labels){ two, 3 }, &id, NULL), OK);
    assert_int_equal(id, 0);
    assert_labels(by.groups[0].labels, "{a=\"1\"}");
    assert_int_equal(by.groups[1].labels.n, 0);
    grouping_free(&by);
}

/* More groups than the table starts with, so that it grows and hashes again. */
static void many_groups_stay_apart(void **state)
{
    struct grouping by = { .q = *state };

    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 1000; i++) {
            char *text = arena_printf(by.q->arena, "%u", i);
            struct label l = { N("x"), str_from(text) };
            uint32_t id;

            assert_int_equal(
                grouping_add(&by, labels_copy(by.q->arena, (struct labels){ &l, 1 }), &id, NULL),
                OK);
            assert_int_equal(id, i);
        }
    assert_int_equal(by.n, 1000);
    grouping_free(&by);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keep_and_drop_choose_by_name, make_query, free_query),
        cmocka_unit_test_setup_teardown(set_inserts_replaces_and_removes, make_query, free_query),
        cmocka_unit_test(a_full_arena_is_a_limit),
        cmocka_unit_test_setup_teardown(series_that_agree_in_the_chosen_labels_share_a_number,
                                        make_query, free_query),
        cmocka_unit_test_setup_teardown(many_groups_stay_apart, make_query, free_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
