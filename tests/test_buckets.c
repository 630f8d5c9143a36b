#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/buckets.h"

#include "base/banned.h"

static struct label items[4];

/* {__name__=name, instance=instance, le=le, model=model}; le NULL: without it */
static struct labels labels_of(const char *name, const char *instance, const char *le,
                               const char *model)
{
    size_t n = 0;

    items[n++] = (struct label){ METRIC_NAME, str_from(name) };
    items[n++] = (struct label){ STR("instance"), str_from(instance) };
    if (le)
        items[n++] = (struct label){ STR("le"), str_from(le) };
    items[n++] = (struct label){ STR("model"), str_from(model) };
    return (struct labels){ items, n };
}

static struct column column_of(double v, int64_t first_ms)
{
    struct column c = { 0 };

    for (int i = 0; i < 5; i++)
        assert_true(column_add(&c, first_ms + i, v + i));
    return c;
}

static void add(struct buckets *b, uint32_t id, struct labels labels, int64_t first_ms)
{
    struct column c = column_of(id, first_ms);

    assert_true(buckets_want(labels, &c));
    assert_true(buckets_add(b, id, labels, &c));
    column_free(&c);
}

static void buckets_are_known_by_name_bound_and_values(void **state)
{
    static const struct {
        const char *name, *le;
        double v;
        bool want;
    } cases[] = {
        { "a_bucket", "0.5", 1, true },    { "a_bucket", "+Inf", 1, true },
        { "a_bucket", "1e3", NAN, true },  { "a_bucket", "0.5", 1.5, false },
        { "a_bucket", "0.5", -10, false }, { "a_bucket", "x", 1, false },
        { "a_bucket", "NaN", 1, false },   { "a_bucket", NULL, 1, false },
        { "a_buckets", "0.5", 1, false },  { "a_bucket", "0.5", 0x1p60, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct column c = column_of(cases[i].v, 0);

        assert_int_equal(buckets_want(labels_of(cases[i].name, "i", cases[i].le, "m"), &c),
                         cases[i].want);
        column_free(&c);
    }
}

static void siblings_come_together_by_bound(void **state)
{
    static const char *const les[] = { "+Inf", "0.05", "1", "10", "2" };
    static const uint32_t want[] = { 1, 2, 4, 3, 0 }; /* indexes in les by bound */
    struct buckets *b = buckets_new();
    const struct bucket *got;

    (void)state;
    assert_non_null(b);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 5; i++) {
            assert_true(buckets_may_add(b, labels_of("a_bucket", "i", les[i], "m1")));
            add(b, i, labels_of("a_bucket", "i", les[i], "m1"), 0);
            add(b, 10 + i, labels_of("a_bucket", "i", les[i], "m2"), i == 4 ? 1 : 0);
        }
        assert_false(buckets_may_add(b, labels_of("a_bucket", "j", "1", "m1")));
        assert_false(buckets_may_add(b, labels_of("b_bucket", "i", "1", "m1")));

        assert_int_equal(buckets_take(b, &got), 5);
        for (size_t i = 0; i < 5; i++)
            assert_true(got[i].id == want[i] && got[i].v[4] == want[i] + 4 && got[i].t_ms[0] == 0);
        size_t n = buckets_take(b, &got); /* of m2 one has other times: 4 and 1, in any order */
        assert_true(n == 4 || n == 1);
        assert_int_equal(buckets_take(b, &got), 5 - n);
        assert_int_equal(buckets_take(b, &got), 0);
    }
    buckets_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_known_by_name_bound_and_values),
        cmocka_unit_test(siblings_come_together_by_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
