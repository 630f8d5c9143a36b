#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { MAX_LABELS = 200 };

/* A label set written as name, value, name, value ... NULL. */
struct set {
    const char *words[12];
};

struct storage {
    struct label items[MAX_LABELS];
};

static struct labels labels_of(const struct set *s, struct storage *to)
{
    size_t n = 0;

    for (; s->words[2 * n]; n++)
        to->items[n] = (struct label){ str_from(s->words[2 * n]), str_from(s->words[2 * n + 1]) };
    return (struct labels){ to->items, n };
}

static int setup(void **state)
{
    *state = arena_new(0);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static void canonical_form_is_sorted_without_empty_values(void **state)
{
    struct storage from, to;
    static const struct {
        struct set given, canonical;
    } cases[] = {
        { { { "__name__", "up" } }, { { "__name__", "up" } } },
        { { { "job", "a", "__name__", "up" } }, { { "__name__", "up", "job", "a" } } },
        { { { "z", "1", "__name__", "up", "a", "", "B", "2" } },
          { { "B", "2", "__name__", "up", "z", "1" } } },
        { { { "\xc3\xa9", "1", "__name__", "http.requests", "a.b", "x" } },
          { { "__name__", "http.requests", "a.b", "x", "\xc3\xa9", "1" } } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct labels given = labels_of(&cases[i].given, &from);
        size_t n = given.n;

        assert_int_equal(labels_canonicalise(from.items, &n, &label_limits_default, NULL), OK);
        assert_true(
            labels_equal((struct labels){ from.items, n }, labels_of(&cases[i].canonical, &to)));
    }
}

static void faults_name_the_label_and_the_series(void **state)
{
    static const struct {
        struct set set;
        enum errc code;
        const char *text;
    } cases[] = {
        { { { "job", "a" } },
          ERR_BAD_DATA,
          "missing metric name (label __name__) in series {job=\"a\"}" },
        { { { "__name__", "", "job", "a" } },
          ERR_BAD_DATA,
          "missing metric name (label __name__) in series {job=\"a\"}" },
        { { { NULL } }, ERR_BAD_DATA, "missing metric name (label __name__) in series {}" },
        { { { "__name__", "up", "job", "a", "job", "b" } },
          ERR_BAD_DATA,
          "duplicate label name \"job\" in series up{job=\"a\", job=\"b\"}" },
        { { { "__name__", "up", "", "b" } },
          ERR_BAD_DATA,
          "empty label name in series up{\"\"=\"b\"}" },
        { { { "__name__", "up", "a\xff", "b" } },
          ERR_BAD_DATA,
          "label name is not valid UTF-8: \"a\\xff\" in series up{\"a\\xff\"=\"b\"}" },
        { { { "__name__", "up", "a", "\xc3" } },
          ERR_BAD_DATA,
          "value is not valid UTF-8 for label \"a\" in series up{a=\"\\xc3\"}" },
        { { { "__name__", "up", "ninebytes", "b" } },
          ERR_LIMIT,
          "label name longer than label_name_length_limit (8) \"ninebytes\" in series "
          "up{ninebytes=\"b\"}" },
        { { { "__name__", "up", "a", "123456" } },
          ERR_LIMIT,
          "value longer than label_value_length_limit (5) \"a\" in series up{a=\"123456\"}" },
        { { { "__name__", "up", "a", "1", "b", "2", "c", "3" } },
          ERR_LIMIT,
          "more labels than label_limit (3) in series up{a=\"1\", b=\"2\", c=\"3\"}" },
    };
    const struct label_limits limits = { 8, 5, 3 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct storage s;
        struct err err = err_in(*state);
        size_t n = labels_of(&cases[i].set, &s).n;

        assert_int_equal(labels_canonicalise(s.items, &n, &limits, &err), cases[i].code);
        assert_string_equal(err_text(&err), cases[i].text);
    }
}

static void limits_are_inclusive_and_can_be_switched_off(void **state)
{
    static char long_text[5000];
    const struct label_limits off = { 0 };
    struct storage s;
    size_t n;

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    for (int over = 0; over <= 1; over++) {
        const size_t name_len = label_limits_default.max_name_bytes + (size_t)over;
        const size_t value_len = label_limits_default.max_value_bytes + (size_t)over;
        const struct label pairs[] = {
            { { long_text, name_len }, STR("v") },
            { STR("l"), { long_text, value_len } },
        };

        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
            s.items[0] = (struct label){ METRIC_NAME, STR("up") };
            s.items[1] = pairs[i];
            n = 2;
            assert_int_equal(labels_canonicalise(s.items, &n, &label_limits_default, NULL),
                             over ? ERR_LIMIT : OK);
            n = 2;
            assert_int_equal(labels_canonicalise(s.items, &n, &off, NULL), OK);
        }
    }
}

static void the_number_of_labels_is_limited(void **state)
{
    const size_t max = label_limits_default.max_labels;
    char names[MAX_LABELS][24];
    struct storage s;

    (void)state;
    for (size_t count = max; count <= max + 1; count++) {
        size_t n = count;

        s.items[0] = (struct label){ METRIC_NAME, STR("up") };
        for (size_t i = 1; i < n; i++) {
            snprintf(names[i], sizeof names[i], "l%zu", i);
            s.items[i] = (struct label){ str_from(names[i]), STR("v") };
        }
        assert_int_equal(labels_canonicalise(s.items, &n, &label_limits_default, NULL),
                         count > max ? ERR_LIMIT : OK);
    }
}

static void a_fault_of_a_series_with_very_many_labels_is_told_in_few_words(void **state)
{
    enum { N = 100000 };
    struct label *items = calloc(N, sizeof *items);
    char(*names)[16] = calloc(N, sizeof *names);
    struct err err = err_in(*state);
    size_t n = N;

    assert_true(items && names);
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "l%zu", i);
        items[i] = (struct label){ i ? str_from(names[i]) : METRIC_NAME, STR("v") };
    }
    assert_int_equal(labels_canonicalise(items, &n, &label_limits_default, &err), ERR_LIMIT);
    assert_non_null(strstr(err_text(&err), "more labels than label_limit (128) in series v{"));
    assert_non_null(strstr(err_text(&err), " and 99968 more labels"));
    assert_true(strlen(err_text(&err)) < 1000);
    free(items);
    free(names);
}

static void a_label_is_found_by_name(void **state)
{
    static const struct set set = { { "__name__", "up", "a", "1", "b", "2" } };
    struct storage s;
    struct labels ls = labels_of(&set, &s);

    (void)state;
    assert_true(str_is(labels_get(ls, METRIC_NAME), "up"));
    assert_true(str_is(labels_get(ls, STR("b")), "2"));
    assert_int_equal(labels_get(ls, STR("")).len, 0);
    assert_int_equal(labels_get(ls, STR("aa")).len, 0);
    assert_int_equal(labels_get((struct labels){ 0 }, STR("a")).len, 0);
}

/* In ascending order. */
static const struct set ordered[] = {
    { { NULL } },
    { { "__name__", "up" } },
    { { "__name__", "up", "a", "1" } },
    { { "__name__", "up", "a", "1", "b", "1" } },
    { { "__name__", "up", "a", "11" } },
    { { "__name__", "up", "a", "2" } },
    { { "__name__", "up", "ab", "1" } },
    { { "__name__", "up", "b", "1" } },
    { { "__name__", "up\xc3\xa9" } },
    { { "a", "1" } },
    { { "aa", "1" } },
};

static void label_sets_are_ordered_pairwise(void **state)
{
    struct storage s, t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ordered); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ordered); j++) {
            struct labels a = labels_of(&ordered[i], &s), b = labels_of(&ordered[j], &t);
            int c = labels_cmp(a, b);

            assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
            assert_int_equal(labels_equal(a, b), i == j);
            assert_int_equal(labels_hash(a) == labels_hash(b), i == j);
        }
    }
}

static void a_copy_owns_its_text(void **state)
{
    char name[] = "job", value[] = "api";
    struct label item = { str_from(name), str_from(value) };
    struct labels copy = labels_copy(*state, (struct labels){ &item, 1 });
    struct arena *small = arena_new(32);

    name[0] = value[0] = '!';
    assert_int_equal(copy.n, 1);
    assert_true(str_is(copy.items[0].name, "job"));
    assert_true(str_is(copy.items[0].value, "api"));
    assert_null(labels_copy(small, copy).items);
    assert_int_equal(labels_copy(*state, (struct labels){ 0 }).n, 0);
    arena_free(small);
}

static void an_encoding_reads_back(void **state)
{
    static char long_text[300];
    const struct label pairs[] = { { METRIC_NAME, STR("up") },
                                   { STR("a"), { long_text, sizeof long_text } },
                                   { { long_text, 128 }, STR("\0") } };
    const struct labels ls = { pairs, ARRAY_LEN(pairs) };
    struct buf b = { 0 };
    struct labels back;

    memset(long_text, 'x', sizeof long_text);
    labels_encode(&b, ls);
    assert_int_equal(b.len, (1 + 8 + 1 + 2) + (1 + 1 + 2 + 300) + (2 + 128 + 1 + 1));
    assert_memory_equal(b.ptr, "\10__name__\2up\1a\xac\2xxx", 19);
    assert_int_equal(labels_decode(buf_as_bytes(&b), *state, &back, NULL), OK);
    assert_true(labels_equal(ls, back));
    assert_int_equal(labels_hash(ls), hash64(b.ptr, b.len));
    assert_ptr_equal(back.items[0].name.ptr, b.ptr + 1); /* borrowed */
    assert_int_equal(labels_decode((struct bytes){ 0 }, *state, &back, NULL), OK);
    assert_int_equal(back.n, 0);
    buf_free(&b);
}

static void corrupt_encodings_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        { "\1a", 2 }, /* no value */
        { "\1", 1 },
        { "\2a", 2 },    /* name cut short */
        { "\1a\5b", 4 }, /* value cut short */
        { "\1a\1b\1", 5 },
        { "\1a\0", 3 },                                            /* empty value */
        { "\0\1b", 3 },                                            /* empty name */
        { "\1b\1x\1a\1x", 8 },                                     /* not sorted */
        { "\1a\1x\1a\1y", 8 },                                     /* twice */
        { "\x81\0a\1b", 5 },                                       /* a longer way to write 1 */
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1a", 11 },         /* 2^64 - 1 bytes */
        { "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1a", 13 }, /* beyond 64 bits */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes data = { (const uint8_t *)cases[i].bytes, cases[i].n };
        struct labels out;

        if (labels_decode(data, *state, &out, NULL) != ERR_CORRUPT)
            fail_msg("case %zu is accepted", i);
    }
}

static void every_truncation_is_refused(void **state)
{
    static const struct set set = { { "__name__", "up", "a", "12", "b", "3" } };
    struct storage s;
    struct buf b = { 0 };
    struct labels out;

    labels_encode(&b, labels_of(&set, &s));
    for (size_t n = 0; n < b.len; n++) {
        enum errc rc = labels_decode((struct bytes){ b.ptr, n }, *state, &out, NULL);
        bool whole_labels = n == 0 || n == 12 || n == 17;

        assert_int_equal(rc, whole_labels ? OK : ERR_CORRUPT);
    }
    buf_free(&b);
}

static void decoding_respects_the_arena(void **state)
{
    struct arena *small = arena_new(16);
    struct labels out;

    (void)state;
    assert_int_equal(
        labels_decode((struct bytes){ (const uint8_t *)"\1a\1b", 4 }, small, &out, NULL),
        ERR_LIMIT);
    arena_free(small);
}

static void legacy_names(void **state)
{
    static const struct {
        const char *name;
        bool label, metric;
    } cases[] = {
        { "a", true, true },          { "_", true, true },     { "A9_z", true, true },
        { "a:b", false, true },       { ":", false, true },    { "9a", false, false },
        { "", false, false },         { "a.b", false, false }, { "a-b", false, false },
        { "\xc3\xa9", false, false }, { "a b", false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(name_is_legacy(str_from(cases[i].name), false), cases[i].label);
        assert_int_equal(name_is_legacy(str_from(cases[i].name), true), cases[i].metric);
    }
}

static void series_print_as_prometheus_writes_them(void **state)
{
    static const struct {
        struct set set;
        const char *pairs, *metric;
    } cases[] = {
        { { { NULL } }, "{}", "{}" },
        { { { "__name__", "up" } }, "{__name__=\"up\"}", "up" },
        { { { "__name__", "up", "job", "x" } }, "{__name__=\"up\", job=\"x\"}", "up{job=\"x\"}" },
        { { { "__name__", "a:b" } }, "{__name__=\"a:b\"}", "a:b" },
        { { { "__name__", "a.b", "c.d", "x" } },
          "{__name__=\"a.b\", \"c.d\"=\"x\"}",
          "{__name__=\"a.b\", \"c.d\"=\"x\"}" },
        { { { "job", "a\"b\\\n" } }, "{job=\"a\\\"b\\\\\\n\"}", "{job=\"a\\\"b\\\\\\n\"}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct storage s;
        struct labels ls = labels_of(&cases[i].set, &s);
        struct buf b = { 0 };

        labels_print(&b, ls);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].pairs);
        buf_clear(&b);
        labels_print_metric(&b, ls);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].metric);
        buf_free(&b);
    }
}

static void quoting_is_gos(void **state)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        { "", "\"\"" },
        { "abc \xc3\xa9 \xe4\xb8\x96 \xf0\x9f\x98\x80",
          "\"abc \xc3\xa9 \xe4\xb8\x96 \xf0\x9f\x98\x80\"" },
        { "\"\\'`", "\"\\\"\\\\'`\"" },
        { "\a\b\f\n\r\t\v", "\"\\a\\b\\f\\n\\r\\t\\v\"" },
        { "\x01\x1f\x7f", "\"\\x01\\x1f\\x7f\"" },
        { "\xff\xc3", "\"\\xff\\xc3\"" },
        { "\xef\xbf\xbd", "\"\xef\xbf\xbd\"" },       /* U+FFFD itself is printable */
        { "\xc2\xa0\xc2\xad", "\"\\u00a0\\u00ad\"" }, /* no-break space, soft hyphen */
        { "\xe2\x80\x8b\xef\xbb\xbf", "\"\\u200b\\ufeff\"" },
        { "\xf3\xa0\x80\x81\xf4\x8f\xbf\xbf", "\"\\U000e0001\\U0010ffff\"" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = { 0 };

        print_quoted(&b, str_from(cases[i].text));
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].quoted);
        buf_free(&b);
    }
}

static void a_hash_never_changes(void **state)
{
    static const struct set set = { { "__name__", "up", "job", "api" } };
    struct storage s;

    (void)state;
    assert_int_equal(labels_hash(labels_of(&set, &s)), 0x455e9d47d8480df4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(canonical_form_is_sorted_without_empty_values, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(faults_name_the_label_and_the_series, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_are_inclusive_and_can_be_switched_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_number_of_labels_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_fault_of_a_series_with_very_many_labels_is_told_in_few_words, setup, teardown),
        cmocka_unit_test_setup_teardown(a_label_is_found_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(label_sets_are_ordered_pairwise, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_owns_its_text, setup, teardown),
        cmocka_unit_test_setup_teardown(an_encoding_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(corrupt_encodings_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(decoding_respects_the_arena, setup, teardown),
        cmocka_unit_test_setup_teardown(legacy_names, setup, teardown),
        cmocka_unit_test_setup_teardown(series_print_as_prometheus_writes_them, setup, teardown),
        cmocka_unit_test_setup_teardown(quoting_is_gos, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hash_never_changes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
