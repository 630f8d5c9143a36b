#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "query/annotations.h"
#include "query/eval.h"

struct fixture {
    struct query q;
    struct str *texts;
    size_t n;
};

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){ .q.arena = arena_new(0), .q.text = STR("rate(\n  x[5m])") };
    f.q.annotations = annotations_new(f.q.arena);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    arena_free(f->q.arena);
    return 0;
}

static void read_texts(struct fixture *f, enum annotation_kind kind)
{
    assert_int_equal(annotations_texts(f->q.annotations, kind, f->q.arena, &f->texts, &f->n), OK);
}

static void texts_have_a_prefix_and_a_position(void **state)
{
    struct fixture *f = *state;

    annotate(&f->q, ANNOTATION_WARNING, 0, "odd %s", "thing");
    annotate(&f->q, ANNOTATION_INFO, 8, "on line %d", 2);
    read_texts(f, ANNOTATION_WARNING);
    assert_int_equal(f->n, 1);
    assert_string_equal(f->texts[0].ptr, "PromQL warning: odd thing (1:1)");
    read_texts(f, ANNOTATION_INFO);
    assert_int_equal(f->n, 1);
    assert_string_equal(f->texts[0].ptr, "PromQL info: on line 2 (2:3)");
}

static void the_same_text_counts_once_per_kind(void **state)
{
    struct fixture *f = *state;

    for (uint32_t pos = 0; pos < 5; pos++) {
        annotate(&f->q, ANNOTATION_WARNING, pos, "same");
        annotate(&f->q, ANNOTATION_INFO, pos, "same");
    }
    read_texts(f, ANNOTATION_WARNING);
    assert_int_equal(f->n, 1);
    read_texts(f, ANNOTATION_INFO);
    assert_int_equal(f->n, 1);
}

static void ten_are_shown_and_the_rest_counted(void **state)
{
    static const struct {
        int total;
        size_t shown;
        const char *last;
    } cases[] = {
        { 10, 10, "PromQL info: number 9 (1:1)" },
        { 11, 11, "1 more info annotations omitted" },
        { 300, 11, "290 more info annotations omitted" },
    };
    struct fixture *f = *state;
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (; n < cases[i].total; n++)
            annotate(&f->q, ANNOTATION_INFO, 0, "number %d", n);
        read_texts(f, ANNOTATION_INFO);
        assert_int_equal(f->n, cases[i].shown);
        assert_string_equal(f->texts[f->n - 1].ptr, cases[i].last);
    }
    read_texts(f, ANNOTATION_WARNING);
    assert_int_equal(f->n, 0);
}

static void a_long_text_is_kept_whole_and_once(void **state)
{
    struct fixture *f = *state;
    char name[2000];
    size_t used;

    memset(name, 'n', sizeof name);
    annotate(&f->q, ANNOTATION_INFO, 0, "%.*s", (int)sizeof name, name);
    used = arena_used(f->q.arena);
    for (int i = 0; i < 100; i++)
        annotate(&f->q, ANNOTATION_INFO, 0, "%.*s", (int)sizeof name, name);
    assert_int_equal(arena_used(f->q.arena), used);
    read_texts(f, ANNOTATION_INFO);
    assert_int_equal(f->texts[0].len, strlen("PromQL info: ") + sizeof name + strlen(" (1:1)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_have_a_prefix_and_a_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_text_counts_once_per_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ten_are_shown_and_the_rest_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_text_is_kept_whole_and_once, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
