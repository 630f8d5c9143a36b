#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/yaml.h"

#include "base/banned.h"

struct doc {
    struct arena *a;
    struct diags d;
    struct yaml_node *root;
    enum errc rc;
    struct buf faults; /* NUL-terminated */
};

static struct doc read_text(struct str text)
{
    struct doc doc = { .a = arena_new(0) };

    doc.d.arena = doc.a;
    doc.rc = yaml_read(text, "f", doc.a, &doc.root, &doc.d);
    diags_print(&doc.faults, &doc.d);
    buf_u8(&doc.faults, 0);
    return doc;
}

static void doc_free(struct doc *doc)
{
    buf_free(&doc->faults);
    arena_free(doc->a);
}

/* A tree in one line: "text" for scalars, with a place each. */
static void print(struct buf *b, const struct yaml_node *n)
{
    if (n->kind == YAML_SCALAR) {
        buf_printf(b, "%u:%u%s%.*s", n->line, n->col, n->string ? "=" : "~", STR_ARG(n->text));
        return;
    }
    buf_printf(b, "%u:%u%c", n->line, n->col, n->kind == YAML_MAPPING ? '{' : '[');
    for (size_t i = 0; i < n->n; i++) {
        buf_text(b, i > 0 ? " " : "");
        if (n->kind == YAML_MAPPING) {
            print(b, n->keys[i]);
            buf_text(b, ": ");
        }
        print(b, n->items[i]);
    }
    buf_text(b, n->kind == YAML_MAPPING ? "}" : "]");
}

static void nodes_have_their_text_and_place(void **state)
{
    static const struct {
        const char *text, *tree;
    } cases[] = {
        { "a: 1\nb:\n  - x\n  - 'y z'\n", "1:1{1:1~a: 1:4~1 2:1~b: 3:3[3:5~x 4:5=y z]}" },
        { "\xEF\xBB\xBF"
          "a: b",
          "1:1{1:1~a: 1:4~b}" },
        { "k: |\n  one\n   two\n", "1:1{1:1~k: 1:4=one\n two\n}" },
        { "ü: {x: [1,2]}", "1:1{1:1~ü: 1:4{1:5~x: 1:8[1:9~1 1:11~2]}}" },
        { "a:\nb: ~", "1:1{1:1~a: 1:3~ 2:1~b: 2:4~~}" },
        { "a: !!str 5\nb: &x !t # c\n  k: v", "1:1{1:1~a: 1:10=5 2:1~b: 3:3{3:3~k: 3:6~v}}" },
        { "- &a\n  x: 1\n- *a\n- &b y\n- *b",
          "1:1[2:3{2:3~x: 2:6~1} 2:3{2:3~x: 2:6~1} 4:6~y 4:6~y]" },
        { "&a a: *a", "1:4{1:4~a: 1:4~a}" },
        { "- &a 1\n- &a 2\n- *a", "1:1[1:6~1 2:6~2 2:6~2]" },
        { "- &a:b c", "1:1[1:5~:b c]" }, /* libyaml ends an anchor there */
        { "- &a # x\r y", "1:1[2:2~y]" },
        { "- &a # x\r\n y", "1:1[2:2~y]" },
        { "{}", "1:1{}" },
        { "- a\r\n- b\r\n", "1:1[1:3~a 2:3~b]" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct doc doc = read_text(str_from(cases[i].text));
        struct buf b = { 0 };

        assert_string_equal((char *)doc.faults.ptr, "");
        assert_int_equal(doc.rc, OK);
        print(&b, doc.root);
        buf_u8(&b, 0);
        assert_string_equal((char *)b.ptr, cases[i].tree);
        buf_free(&b);
        doc_free(&doc);
    }
}

static void merge_keys_add_what_is_missing(void **state)
{
    static const char *const texts[] = {
        "- &a {x: 1, y: 2}\n- <<: *a\n  y: 3",
        "- &a {x: 1}\n- &b {x: 2, z: 3}\n- {<<: [*a, *b], w: 4}",
        "- {'<<': 1}",
    };
    struct doc doc;
    const struct yaml_node *last;

    (void)state;
    doc = read_text(str_from(texts[0]));
    assert_int_equal(doc.rc, OK);
    last = doc.root->items[1];
    assert_int_equal(last->n, 2);
    assert_true(str_is(yaml_get(last, "x", NULL)->text, "1"));
    assert_true(str_is(yaml_get(last, "y", NULL)->text, "3"));
    doc_free(&doc);
    doc = read_text(str_from(texts[1]));
    assert_int_equal(doc.rc, OK);
    last = doc.root->items[2];
    assert_int_equal(last->n, 3);
    assert_true(str_is(yaml_get(last, "x", NULL)->text, "1")); /* the earlier mapping wins */
    assert_true(str_is(yaml_get(last, "z", NULL)->text, "3"));
    assert_true(str_is(yaml_get(last, "w", NULL)->text, "4"));
    doc_free(&doc);
    doc = read_text(str_from(texts[2]));
    assert_int_equal(doc.rc, OK);
    assert_non_null(yaml_get(doc.root->items[0], "<<", NULL)); /* quoted: an ordinary key */
    doc_free(&doc);
}

static void empty_documents_have_no_root(void **state)
{
    static const char *const texts[] = { "", "\n", "# c\n", "---\n", "~", "--- null\n...\n" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct doc doc = read_text(str_from(texts[i]));

        assert_int_equal(doc.rc, OK);
        assert_null(doc.root);
        doc_free(&doc);
    }
}

static void faults_are_told_with_their_place(void **state)
{
    static const struct {
        const char *text, *faults;
    } cases[] = {
        { "a: 1\nb: 2\na: 3\n", "f:3:1: mapping key \"a\" already defined at line 1\n" },
        { "a: 1\n'a': 2\nb: {c: 1, c: 2, c: 3}\n",
          "f:2:1: mapping key \"a\" already defined at line 1\n"
          "f:3:11: mapping key \"c\" already defined at line 3\n"
          "f:3:17: mapping key \"c\" already defined at line 3\n" },
        { "a:\n  b: 1\n c: 2\n", "f:3:2: yaml: did not find expected key while parsing a block "
                                 "mapping that begins at line "
                                 "1\n" },
        { "a: [1, 2\nb: 3\n", "f:2:2: yaml: did not find expected ',' or ']' while parsing a flow "
                              "sequence that begins at "
                              "line 1\n" },
        { "a: 'x\n", "f:2:1: yaml: found unexpected end of stream while scanning a quoted scalar "
                     "that begins at "
                     "line 1\n" },
        { "a: b: c\n", "f:1:5: yaml: mapping values are not allowed in this context\n" },
        { "\ta: b\n",
          "f:1:1: yaml: found character that cannot start any token while scanning for the next "
          "token\n" },
        { "a: \x01\n", "f:1:4: yaml: control characters are not allowed (U+0001)\n" },
        { "ü: \xff\n", "f:1:4: yaml: invalid UTF-8\n" },
        { "a: 1\nb: x\xc3\n", "f:2:5: yaml: invalid UTF-8\n" },
        { "a: *x\n",
          "f:1:4: yaml: unknown anchor 'x' referenced (or one that would contain itself)\n" },
        { "&a [*a]\n",
          "f:1:5: yaml: unknown anchor 'a' referenced (or one that would contain itself)\n" },
        { "? [a]\n: b\n", "f:1:3: yaml: a mapping's key must be a scalar; a text that begins with "
                          "{ or [ must be in quotes\n" },
        { "<<: x\n", "f:1:1: map merge requires a mapping or a list of mappings as the value\n" },
        { "<<: [x]\n", "f:1:1: map merge requires a mapping or a list of mappings as the value\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct doc doc = read_text(str_from(cases[i].text));

        assert_string_equal((char *)doc.faults.ptr, cases[i].faults);
        assert_int_equal(doc.rc, ERR_BAD_CONFIG);
        doc_free(&doc);
    }
}

static void a_second_document_is_a_warning(void **state)
{
    struct doc doc = read_text(STR("a: 1\n---\nb: [\n"));

    (void)state;
    assert_int_equal(doc.rc, OK);
    assert_string_equal((char *)doc.faults.ptr,
                        "f:2:1: warning: only the first YAML document of a file is read\n");
    assert_non_null(yaml_get(doc.root, "a", NULL));
    doc_free(&doc);
}

/* n times text, then m times end. */
static struct buf repeated(const char *begin, size_t n, const char *end)
{
    struct buf b = { 0 };

    for (size_t i = 0; i < n; i++)
        buf_text(&b, begin);
    for (size_t i = 0; i < n; i++)
        buf_text(&b, end);
    return b;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    for (size_t n = YAML_MAX_DEPTH - 1; n <= YAML_MAX_DEPTH + 1; n++) {
        struct buf b = repeated("[", n, "]");
        struct doc doc = read_text(buf_as_str(&b));

        assert_int_equal(doc.rc, n <= YAML_MAX_DEPTH ? OK : ERR_BAD_CONFIG);
        if (doc.rc)
            assert_string_equal((char *)doc.faults.ptr, "f:1:101: yaml: nested too deeply\n");
        doc_free(&doc);
        buf_free(&b);
    }
}

static void depth_is_bounded_through_aliases(void **state)
{
    struct buf b = { 0 };
    struct doc doc;

    (void)state;
    buf_text(&b, "- &a ");
    for (int i = 0; i < 60; i++)
        buf_text(&b, "[");
    for (int i = 0; i < 60; i++)
        buf_text(&b, "]");
    buf_text(&b, "\n- ");
    for (int i = 0; i < 60; i++)
        buf_text(&b, "[");
    buf_text(&b, "*a");
    for (int i = 0; i < 60; i++)
        buf_text(&b, "]");
    doc = read_text(buf_as_str(&b));
    assert_int_equal(doc.rc, ERR_BAD_CONFIG);
    assert_string_equal((char *)doc.faults.ptr, "f:2:63: yaml: nested too deeply\n");
    doc_free(&doc);
    buf_free(&b);
}

static void aliases_cannot_multiply_without_end(void **state)
{
    struct buf b = { 0 };
    struct doc doc;

    (void)state;
    buf_text(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        buf_printf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
        buf_text(&b, "]\n");
    }
    doc = read_text(buf_as_str(&b));
    assert_int_equal(doc.rc, ERR_BAD_CONFIG);
    assert_string_equal((char *)doc.faults.ptr,
                        "f:6:38: document has too many nodes, or excessive aliasing\n");
    doc_free(&doc);
    buf_free(&b);
}

static void unknown_keys_are_named_with_the_nearest(void **state)
{
    static const char *const names[] = { "for", "expr", NULL };
    struct doc doc = read_text(STR("fro: 1\nexpr: 2\nowner: x\n"));

    (void)state;
    yaml_check_keys(doc.root, names, "rulefmt.Rule", "f", &doc.d);
    buf_clear(&doc.faults);
    diags_print(&doc.faults, &doc.d);
    buf_u8(&doc.faults, 0);
    assert_string_equal((char *)doc.faults.ptr,
                        "f:1:1: field fro not found in type rulefmt.Rule; did you mean \"for\"?\n"
                        "f:3:1: field owner not found in type rulefmt.Rule\n");
    doc_free(&doc);
}

static void nulls_are_plain(void **state)
{
    static const struct {
        const char *text;
        bool null;
    } cases[] = {
        { "k:", true },      { "k: ~", true },       { "k: null", true }, { "k: NULL", true },
        { "k: ''", false },  { "k: 'null'", false }, { "k: nil", false }, { "k: !!str", false },
        { "k: |\n", false }, { "k: []", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct doc doc = read_text(str_from(cases[i].text));

        assert_int_equal(yaml_is_null(yaml_get(doc.root, "k", NULL)), cases[i].null);
        doc_free(&doc);
    }
}

/* ---- places in scalars ---- */

static void places_of(const char *source, const char *sought, char out[32])
{
    struct doc doc = read_text(str_from(source));
    struct yaml_node *k = doc.root ? yaml_get(doc.root, "k", NULL) : NULL;
    char *text = k ? (char *)k->text.ptr : NULL, *at;
    uint32_t line, col;

    assert_non_null(text);
    at = strstr(text, sought);
    assert_non_null(at);
    yaml_place(k, (size_t)(at - text), &line, &col);
    snprintf(out, 32, "%u:%u", line, col);
    doc_free(&doc);
}

static void places_are_found_in_every_style(void **state)
{
    static const struct {
        const char *source, *sought, *place;
    } cases[] = {
        { "k: a X", "X", "1:6" },
        { "k: a\n   b\n\n   X", "X", "4:4" },
        { "k: ü X", "X", "1:6" },
        { "k: a\n  b X", "b X", "2:3" },
        { "k: 'a X'", "X", "1:7" },
        { "k: 'it''s X'", "X", "1:11" },
        { "k: '''X'", "X", "1:7" },
        { "k: 'a\n\n\n  b X'", "X", "4:5" },
        { "k: \"a \\\"b\\\" X\"", "X", "1:13" },
        { "k: \"\\u00e9\\x41\\U0001F600 X\"", "X", "1:26" },
        { "k: \"a\\\n     b X\"", "b", "2:6" },
        { "k: \"a\\\n     b X\"", "X", "2:8" },
        { "k: \"a\\n\\tX\"", "X", "1:10" },
        { "k: \"\\N\\_\\L\\P\\0\\eX\"", "\xc2\x85", "1:5" },
        { "k: |\n  a\n  X\n", "X", "3:3" },
        { "k: |  # comment\n\n  a\n     b  X\n", "X", "4:9" },
        { "k: |2-\n    a\n  X\n", "X", "3:3" },
        { "k: |\n  X\n", "X", "2:3" },
        { "k: >\n  a b\n  c X\n", "X", "3:5" },
        { "k: >-\n\n  a\n\n\n    more\n  X\n", "X", "7:3" },
        { "k: >-\n  a\n    more X\n", "more", "3:5" },
        { "k: |\r\n  a\r\n  X\r\n", "X", "3:3" },
        { "k: &anchor !tag X", "X", "1:17" },
        { "k: &anchor\n  'X'", "X", "2:4" },
        /* the end of the text is behind its last character */
        { "k: |\n  sum(\n  a\n\n", "\n", "2:7" },
        { "k: ab", "", "1:4" },
        { "k: ''", "", "1:4" },
    };
    char got[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        places_of(cases[i].source, cases[i].sought, got);
        if (strcmp(got, cases[i].place) != 0)
            print_message("%s, sought %s\n", cases[i].source, cases[i].sought);
        assert_string_equal(got, cases[i].place);
    }
}

static void ends_are_behind_the_last_character(void **state)
{
    static const struct {
        const char *source, *place;
    } cases[] = {
        { "k: a\n", "1:5" },        { "k: 'a b'\n", "1:8" },     { "k: \"a\\n\\n\"", "1:6" },
        { "k: |\n  a\n\n", "2:4" }, { "k: |+\n  a\n\n", "2:4" }, { "k: >\n  a\n  b\n", "3:4" },
        { "k: |\n", "1:4" },
    };
    char got[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct doc doc = read_text(str_from(cases[i].source));
        struct yaml_node *k = yaml_get(doc.root, "k", NULL);
        uint32_t line, col;

        yaml_place(k, SIZE_MAX, &line, &col);
        snprintf(got, sizeof got, "%u:%u", line, col);
        assert_string_equal(got, cases[i].place);
        doc_free(&doc);
    }
}

static void a_long_run_of_spaces_takes_no_time(void **state)
{
    struct buf b = { 0 };
    struct doc doc;
    uint32_t line, col;

    (void)state;
    buf_text(&b, "k: '");
    for (int i = 0; i < 1000000; i++)
        buf_text(&b, " ");
    buf_text(&b, "X'");
    doc = read_text(buf_as_str(&b));
    yaml_place(yaml_get(doc.root, "k", NULL), 1000000, &line, &col);
    assert_int_equal(col, 1000005);
    doc_free(&doc);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_have_their_text_and_place),
        cmocka_unit_test(merge_keys_add_what_is_missing),
        cmocka_unit_test(empty_documents_have_no_root),
        cmocka_unit_test(faults_are_told_with_their_place),
        cmocka_unit_test(a_second_document_is_a_warning),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(depth_is_bounded_through_aliases),
        cmocka_unit_test(aliases_cannot_multiply_without_end),
        cmocka_unit_test(unknown_keys_are_named_with_the_nearest),
        cmocka_unit_test(nulls_are_plain),
        cmocka_unit_test(places_are_found_in_every_style),
        cmocka_unit_test(ends_are_behind_the_last_character),
        cmocka_unit_test(a_long_run_of_spaces_takes_no_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
