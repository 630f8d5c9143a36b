#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/metadata.h"

static struct metadata_list list(struct metadata_map *m, struct arena *a)
{
    struct metadata_list out;

    assert_int_equal(metadata_map_list(m, a, &out, NULL), OK);
    return out;
}

static bool put(struct metadata_map *m, struct metric_metadata entry)
{
    bool unsaved;

    assert_int_equal(metadata_map_put(m, &entry, 1, &unsaved, NULL), OK);
    return unsaved;
}

static void an_entry_is_unsaved_until_it_is_said_to_be_saved(void **state)
{
    struct metadata_map *m = metadata_map_new(METADATA_MAX_BYTES);
    struct metric_metadata first = { STR("a"), METRIC_GAUGE, STR("help"), STR("s") };
    struct metric_metadata second = { STR("a"), METRIC_GAUGE, STR("other"), STR("s") };

    (void)state;
    assert_true(put(m, first));
    assert_true(put(m, first)); /* as when the disk was full */
    metadata_map_saved(m, &first, 1);
    assert_false(put(m, first));
    assert_true(put(m, second));
    metadata_map_saved(m, &first, 1); /* too late: it says something else meanwhile */
    assert_true(put(m, second));
    metadata_map_saved(m, &second, 1);
    assert_false(put(m, second));
    metadata_map_free(m);
}

static void of_equal_families_the_last_counts_and_all_come_sorted(void **state)
{
    struct metadata_map *m = metadata_map_new(METADATA_MAX_BYTES);
    struct arena *a = arena_new(0);
    struct metric_metadata entries[] = {
        { STR("b"), METRIC_GAUGE, STR("1"), STR("") },
        { STR("a"), METRIC_COUNTER, STR("2"), STR("") },
        { STR("b"), METRIC_SUMMARY, STR("3"), STR("bytes") },
    };
    bool unsaved[ARRAY_LEN(entries)];
    struct metadata_list l;

    (void)state;
    assert_int_equal(metadata_map_put(m, entries, ARRAY_LEN(entries), unsaved, NULL), OK);
    l = list(m, a);
    assert_int_equal(l.n, 2);
    assert_true(str_is(l.items[0].family, "a") && str_is(l.items[1].family, "b"));
    assert_int_equal(l.items[1].type, METRIC_SUMMARY);
    assert_true(str_is(l.items[1].help, "3") && str_is(l.items[1].unit, "bytes"));
    arena_free(a);
    metadata_map_free(m);
}

static void what_is_too_long_or_not_text_is_left_out(void **state)
{
    static char x[4097];
    struct metadata_map *m = metadata_map_new(METADATA_MAX_BYTES);
    struct arena *a = arena_new(0);
    const struct {
        struct metric_metadata entry;
        bool kept;
    } cases[] = {
        { { { x, 1024 }, METRIC_GAUGE, STR(""), STR("") }, true },
        { { { x, 1025 }, METRIC_GAUGE, STR(""), STR("") }, false },
        { { STR("h1"), METRIC_GAUGE, { x, 4096 }, STR("") }, true },
        { { STR("h2"), METRIC_GAUGE, { x, 4097 }, STR("") }, false },
        { { STR("u1"), METRIC_GAUGE, STR(""), { x, 4096 } }, true },
        { { STR("u2"), METRIC_GAUGE, STR(""), { x, 4097 } }, false },
        { { STR(""), METRIC_GAUGE, STR(""), STR("") }, false },
        { { STR("\xff"), METRIC_GAUGE, STR(""), STR("") }, false },
        { { STR("h3"), METRIC_GAUGE, STR("\xc3"), STR("") }, false },
        { { STR("u3"), METRIC_GAUGE, STR(""), STR("\x80") }, false },
        { { STR("t"), METRIC_TYPE_COUNT, STR(""), STR("") }, false },
    };
    size_t n = 0;

    (void)state;
    memset(x, 'x', sizeof x);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(put(m, cases[i].entry), cases[i].kept);
        n += cases[i].kept;
    }
    assert_int_equal(list(m, a).n, n);
    arena_free(a);
    metadata_map_free(m);
}

static void a_full_map_takes_no_new_families_but_changes_of_old_ones(void **state)
{
    enum { BYTES = 100000 };
    struct metadata_map *m = metadata_map_new(BYTES);
    struct arena *a = arena_new(0);
    struct metadata_list l;
    char name[32];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < BYTES / 10; i++) {
        snprintf(name, sizeof name, "family_%d", i);
        n += put(m, (struct metric_metadata){ str_from(name), METRIC_GAUGE, STR("h"), STR("") });
    }
    l = list(m, a);
    assert_int_equal(l.n, n);
    assert_true(n > BYTES / 200 && n < BYTES / 50);
    assert_true(
        put(m, (struct metric_metadata){ STR("family_0"), METRIC_COUNTER, STR("h"), STR("") }));
    assert_int_equal(list(m, a).items[0].type, METRIC_COUNTER);
    arena_free(a);
    metadata_map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_unsaved_until_it_is_said_to_be_saved),
        cmocka_unit_test(of_equal_families_the_last_counts_and_all_come_sorted),
        cmocka_unit_test(what_is_too_long_or_not_text_is_left_out),
        cmocka_unit_test(a_full_map_takes_no_new_families_but_changes_of_old_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
