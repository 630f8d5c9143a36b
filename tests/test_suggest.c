#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/suggest.h"

#include "base/banned.h"

static const char *nearest(const char *text)
{
    static const char *const names[] = { "alert",           "annotations", "expr",  "for",
                                         "keep_firing_for", "labels",      "record" };
    struct suggest s = suggest_for(str_from(text));

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        suggest_consider(&s, names[i]);
    return suggest_nearest(&s);
}

static void near_names_are_suggested_and_far_ones_are_not(void **state)
{
    static const struct {
        const char *text, *nearest;
    } cases[] = {
        { "fro", "for" },
        { "fo", "for" },
        { "exprr", "expr" },
        { "lables", "labels" },
        { "anotation", "annotations" },
        { "keep_fireing_for", "keep_firing_for" },
        { "recrod", "record" },
        { "", NULL },
        { "x", NULL },
        { "namespace", NULL },
        { "For_too_long_a_text_that_nobody_would_take_for_any_name_that_is_known", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = nearest(cases[i].text);

        if (!cases[i].nearest)
            assert_null(got);
        else
            assert_string_equal(got, cases[i].nearest);
    }
}

static void a_swap_of_neighbours_is_one_change(void **state)
{
    struct suggest s = suggest_for(STR("ba"));

    (void)state;
    suggest_consider(&s, "ab");
    assert_string_equal(suggest_nearest(&s), "ab");
    s = suggest_for(STR("ca"));
    suggest_consider(&s, "abc"); /* optimal string alignment: 3, where unrestricted distance is 2 */
    assert_null(suggest_nearest(&s));
}

static void without_names_nothing_is_suggested(void **state)
{
    struct suggest s = suggest_for(STR("x"));

    (void)state;
    assert_null(suggest_nearest(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_names_are_suggested_and_far_ones_are_not),
        cmocka_unit_test(a_swap_of_neighbours_is_one_change),
        cmocka_unit_test(without_names_nothing_is_suggested),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
