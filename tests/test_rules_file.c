#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "alert/rule.h"
#include "base/arena.h"
#include "base/fs.h"
#include "query/ast.h"
#include "temp_dir.h"

#include "base/banned.h"

struct loaded {
    struct rule_set *set;
    struct diags d;
    struct buf faults; /* NUL-terminated */
    enum errc rc;
};

static struct loaded read_rules(const char *text)
{
    struct loaded l = { .set = rule_set_new(), .d = { .arena = arena_new(0) } };

    l.rc = rules_read(str_from(text), "f", l.set, &l.d);
    if (l.rc == OK)
        assert_int_equal(rules_lint(l.set, &l.d), OK);
    diags_print(&l.faults, &l.d);
    buf_u8(&l.faults, 0);
    return l;
}

static void loaded_free(struct loaded *l)
{
    rule_set_free(l->set);
    arena_free(l->d.arena);
    buf_free(&l->faults);
}

static void assert_str(struct str got, const char *want)
{
    if (!str_is(got, want))
        print_error("got %.*s, want %s\n", STR_ARG(got), want);
    assert_true(str_is(got, want));
}

static void assert_labels(struct labels got, const char *want)
{
    struct buf b = { 0 };

    for (size_t i = 0; i < got.n; i++)
        buf_printf(&b, "%.*s=%.*s;", STR_ARG(got.items[i].name), STR_ARG(got.items[i].value));
    assert_str(buf_as_str(&b), want);
    buf_free(&b);
}

/* ---- good files ---- */

static void every_field_is_taken(void **state)
{
    struct loaded l = read_rules("groups:\n"
                                 "  - name: g\n"
                                 "    interval: 30s\n"
                                 "    query_offset: 0s\n"
                                 "    limit: 10\n"
                                 "    labels: { team: llm, severity: none }\n"
                                 "    rules:\n"
                                 "      - alert: High\n"
                                 "        expr: \"x  >   1\"\n"
                                 "        for: 5m\n"
                                 "        keep_firing_for: 1h30m\n"
                                 "        labels: { severity: page, n: 5, b: true, gone: null }\n"
                                 "        annotations: { z: '{{ $value }}', a: '' }\n"
                                 "      - record: a:b\n"
                                 "        expr: 1\n"
                                 "  - name: h\n");
    const struct rule_group *g;
    const struct rule *alert, *record;

    (void)state;
    assert_string_equal((char *)l.faults.ptr, "");
    assert_int_equal(l.rc, OK);
    assert_int_equal(l.set->n_groups, 2);
    g = &l.set->groups[0];
    assert_str(g->file, "f");
    assert_str(g->name, "g");
    assert_int_equal(g->interval_ms, 30000);
    assert_int_equal(g->query_offset_ms, 0);
    assert_int_equal(g->limit, 10);
    assert_int_equal(g->n_rules, 2);
    alert = &g->rules[0];
    assert_int_equal(alert->kind, RULE_ALERTING);
    assert_str(alert->name, "High");
    assert_str(alert->expr, "x > 1");
    assert_int_equal(alert->tree->end, 5); /* positions are those of the canonical text */
    assert_int_equal(alert->for_ms, 300000);
    assert_int_equal(alert->keep_firing_for_ms, 5400000);
    assert_labels(alert->labels, "b=true;gone=;n=5;severity=page;team=llm;");
    assert_labels(alert->annotations, "a=;z={{ $value }};");
    assert_int_equal(alert->line, 8);
    assert_int_equal(alert->col, 9);
    record = &g->rules[1];
    assert_int_equal(record->kind, RULE_RECORDING);
    assert_str(record->name, "a:b");
    assert_labels(record->labels, "severity=none;team=llm;");
    assert_int_equal(l.set->groups[1].query_offset_ms, -1);
    assert_int_equal(l.set->groups[1].interval_ms, 0);
    assert_int_equal(l.set->groups[1].n_rules, 0);
    loaded_free(&l);
}

static void good_files_are_good(void **state)
{
    static const struct {
        const char *text;
        size_t n_groups;
    } cases[] = {
        { "", 0 },
        { "# nothing\n", 0 },
        { "groups:\n", 0 },
        { "groups: []\n", 0 },
        { "groups: [{ name: g, rules: ~ }]\n", 1 },
        { "groups: [{ name: ü ☃, rules: [{ record: 'a b', expr: 1, for: 0s, annotations: {} }] }]",
          1 },
        { "groups: [{ name: g, limit: -1, rules: [{ record: r, expr: '1', labels: { a-b: '{{' } }] "
          "}]",
          1 },
        { "groups:\n"
          "  - &g { name: a, rules: &r [{ record: x, expr: 1, labels: &l { a: b } }] }\n"
          "  - { <<: *g, name: b, labels: { x: y } }\n"
          "  - { name: c, labels: { <<: *l, a: z, y: z }, rules: *r }\n",
          3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l = read_rules(cases[i].text);

        assert_string_equal((char *)l.faults.ptr, "");
        assert_int_equal(l.rc, OK);
        assert_int_equal(l.set->n_groups, cases[i].n_groups);
        loaded_free(&l);
    }
}

/* ---- faults ---- */

#define GROUP "groups:\n- name: g\n  rules:\n"

static void faults_of_files_and_groups(void **state)
{
    static const struct {
        const char *text, *faults;
    } cases[] = {
        { "groups: [\n",
          "f:2:1: yaml: did not find expected node content while parsing a flow node\n" },
        { "- a\n", "f:1:1: a rules file must be a mapping, not a list\n" },
        { "grops: []\n",
          "f:1:1: field grops not found in type rulefmt.RuleGroups; did you mean \"groups\"?\n" },
        { "groups: { a: 1 }\n", "f:1:9: field 'groups' must be a list, not a mapping\n" },
        { "groups: [x]\n", "f:1:10: a group must be a mapping, not a single value\n" },
        { "groups:\n- name: yolo\n- name: yolo\n",
          "f:3:9: groupname: \"yolo\" is repeated in the same file\n" },
        { "groups:\n- interval: 1m\n- name: ''\n",
          "f:2:3: Groupname must not be empty\nf:3:9: Groupname must not be empty\n" },
        { "groups:\n- name: g\n  intervall: 1m\n  foo: 1\n",
          "f:3:3: field intervall not found in type rulefmt.RuleGroup; did you mean "
          "\"interval\"?\n"
          "f:4:3: field foo not found in type rulefmt.RuleGroup\n" },
        { "groups:\n- { name: g, interval: 5x, query_offset: '', limit: many, rules: { a: b } }\n",
          "f:2:24: group \"g\": invalid field 'interval': unknown unit \"x\" in duration \"5x\"\n"
          "f:2:42: group \"g\": invalid field 'query_offset': empty duration string\n"
          "f:2:53: group \"g\": invalid field 'limit': \"many\" is not a whole number\n"
          "f:2:66: group \"g\": field 'rules' must be a list, not a mapping\n" },
        { "groups:\n- { name: g, limit: 4294967296, labels: { __name__: a, b: [c] } }\n",
          "f:2:21: group \"g\": field 'limit' is above 4294967295\n"
          "f:2:43: group \"g\": invalid label name: __name__\n"
          "f:2:59: group \"g\": label must be a single value, not a list\n" },
        { "groups:\n- name: g\n  name: h\n  rules: [{ expr: 1 }]\n",
          "f:3:3: mapping key \"name\" already defined at line 2\n"
          "f:4:11: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set\n" },
        { "groups:\n- name: [a]\n", "f:2:9: field 'name' must be a single value, not a list\n"
                                    "f:2:9: Groupname must not be empty\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l = read_rules(cases[i].text);

        assert_string_equal((char *)l.faults.ptr, cases[i].faults);
        assert_int_equal(l.rc, ERR_BAD_CONFIG);
        loaded_free(&l);
    }
}

static void faults_of_rules(void **state)
{
    static const struct {
        const char *rules, *faults; /* rules begin on line 4 */
    } cases[] = {
        { "  - record: r\n    alert: A\n    expr: 1\n",
          "f:5:5: group \"g\", rule 1, \"A\": only one of 'record' and 'alert' must be set\n" },
        { "  - expr: 1\n  - record: ''\n    expr: 1\n",
          "f:4:5: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set\n"
          "f:5:5: group \"g\", rule 2, \"\": one of 'record' or 'alert' must be set\n" },
        { "  - record: r\n  - alert: a\n    expr:\n  - alert: b\n    expr: ''\n",
          "f:4:5: group \"g\", rule 1, \"r\": field 'expr' must be set in rule\n"
          "f:5:5: group \"g\", rule 2, \"a\": field 'expr' must be set in rule\n"
          "f:8:11: group \"g\", rule 3, \"b\": field 'expr' must be set in rule\n" },
        { "  - record: a b\n    expr: 1\n    for: 1m\n    keep_firing_for: 1m\n    annotations: "
          "{a: b}\n",
          "f:6:5: group \"g\", rule 1, \"a b\": invalid field 'for' in recording rule\n"
          "f:7:5: group \"g\", rule 1, \"a b\": invalid field 'keep_firing_for' in recording rule\n"
          "f:8:5: group \"g\", rule 1, \"a b\": invalid field 'annotations' in recording rule\n" },
        { "  - record: up{a=\"b\"}\n    expr: 1\n",
          "f:4:15: group \"g\", rule 1, \"up{a=\\\"b\\\"}\": braces present in the recording rule "
          "name; "
          "should it be in expr?: up{a=\"b\"}\n" },
        { "  - alert: A\n    expr: 1\n    fro: 1m\n    For: 2m\n",
          "f:6:5: field fro not found in type rulefmt.Rule; did you "
          "mean "
          "\"for\"?\n"
          "f:7:5: field For not found in type rulefmt.Rule; did you "
          "mean "
          "\"for\"?\n" },
        { "  - alert: A\n    expr: 1\n    for: 5\n    keep_firing_for: 1m1h\n",
          "f:6:10: group \"g\", rule 1, \"A\": invalid field 'for': not a valid duration string: "
          "\"5\"\n"
          "f:7:22: group \"g\", rule 1, \"A\": invalid field 'keep_firing_for': not a valid "
          "duration "
          "string: \"1m1h\"\n" },
        { "  - alert: A\n    expr: 1\n    labels: {__name__: x, '': y}\n    annotations: {'': z, "
          "b: []}\n",
          "f:6:14: group \"g\", rule 1, \"A\": invalid label name: __name__\n"
          "f:6:27: group \"g\", rule 1, \"A\": invalid label name: \n"
          "f:7:19: group \"g\", rule 1, \"A\": invalid annotation name: \n"
          "f:7:29: group \"g\", rule 1, \"A\": annotation must be a single value, not a list\n" },
        { "  - x\n  -\n", "f:4:5: group \"g\": a rule must be a mapping, not a single value\n"
                          "f:5:4: group \"g\": a rule must be a mapping, not a single value\n" },
        { "  - alert: A\n    expr: {a: 1}\n    labels: b\n",
          "f:5:11: group \"g\", rule 1, \"A\": field 'expr' must be a single value, not a mapping\n"
          "f:6:13: group \"g\", rule 1, \"A\": field 'labels' must be a mapping, not a single "
          "value\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[1024];
        struct loaded l;

        snprintf(text, sizeof text, GROUP "%s", cases[i].rules);
        l = read_rules(text);
        assert_string_equal((char *)l.faults.ptr, cases[i].faults);
        assert_int_equal(l.rc, ERR_BAD_CONFIG);
        loaded_free(&l);
    }
}

static void faults_in_expressions_have_their_place_in_the_file(void **state)
{
    static const struct {
        const char *expr, *fault; /* "    expr: " stands before, on line 5 */
    } cases[] = {
        { "sum(x", "5:16: could not parse expression: parse error: unclosed left parenthesis" },
        { "'a{b=''c''} ! d'", "5:23: could not parse expression: parse error: unexpected character "
                              "after '!': ' '" },
        { "|\n      sum by (a) (\n        rate(x[5m])\n      ) >> 1\n",
          "8:10: could not parse expression: parse error: unexpected <op:>>" },
        { "|\n      sum(\n        x\n\n",
          "7:10: could not parse expression: parse error: unclosed left parenthesis" },
        { ">-\n      sum(x)\n      + + )\n",
          "7:12: could not parse expression: parse error: unexpected right parenthesis ')'" },
        { "rate(hi)",
          "5:16: could not parse expression: parse error: expected type range vector in "
          "call to function \"rate\", got instant vector" },
        { "\"\\u0073um(x))\"",
          "5:24: could not parse expression: parse error: unexpected right parenthesis ')'" },
        { "' '", "5:11: could not parse expression: parse error: no expression found in input" },
        { "'\"text\"'", "5:12: expression is a string: rule result is not a vector or scalar" },
        { "x[5m]", "5:11: expression is a range vector: rule result is not a vector or scalar" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512], want[512];
        struct loaded l;
        const char *rest = strchr(strchr(cases[i].fault, ':') + 1, ':') + 1;

        snprintf(text, sizeof text, GROUP "  - record: r\n    expr: %s\n", cases[i].expr);
        snprintf(want, sizeof want, "f:%.*s: group \"g\", rule 1, \"r\":%s\n",
                 (int)(rest - 1 - cases[i].fault), cases[i].fault, rest);
        l = read_rules(text);
        assert_string_equal((char *)l.faults.ptr, want);
        assert_int_equal(l.rc, ERR_BAD_CONFIG);
        loaded_free(&l);
    }
}

static void faults_in_templates_have_their_place_in_the_file(void **state)
{
    struct loaded l = read_rules("groups:\n"
                                 "- name: g\n"
                                 "  labels:\n"
                                 "    team: \"{{ nosuch }}\"\n"
                                 "  rules:\n"
                                 "  - record: r\n"
                                 "    expr: 1\n"
                                 "    labels: { literal: '{{ nosuch }}' }\n"
                                 "  - alert: A\n"
                                 "    expr: 1\n"
                                 "    labels: { a: '{{ nosuch }}' }\n"
                                 "    annotations:\n"
                                 "      s: |\n"
                                 "        fine\n"
                                 "          and {{ nosuch }}\n"
                                 "  - alert: B\n"
                                 "    expr: 1\n");
    static const char *const starts[] = {
        "f:4:",
        " group \"g\": label \"team\": template: __alert_A:1: function \"nosuch\" not defined\n",
        "f:11:",
        " group \"g\", rule 2, \"A\": label \"a\": template: __alert_A:1: function \"nosuch\" not "
        "defined\n",
        "f:15:",
        " group \"g\", rule 2, \"A\": annotation \"s\": template: __alert_A:2: function "
        "\"nosuch\" not defined\n",
    };
    const char *at = (const char *)l.faults.ptr;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        at = strstr(at, starts[i]);
        assert_non_null(at);
        at += strlen(starts[i]);
    }
    assert_int_equal(*at, '\0');
    assert_int_equal(l.d.n_errors, 3);
    loaded_free(&l);
}

static void unknown_fields_can_be_ignored(void **state)
{
    struct rule_set *set = rule_set_new();
    struct diags d = { .arena = arena_new(0) };

    (void)state;
    set->ignore_unknown = true;
    assert_int_equal(
        rules_read(STR("x: 1\ngroups: [{ name: g, y: 2, rules: [{ record: r, z: 3, expr: "
                       "1 }] }]"),
                   "f", set, &d),
        OK);
    assert_int_equal(d.n, 0);
    assert_int_equal(set->groups[0].n_rules, 1);
    rule_set_free(set);
    arena_free(d.arena);
}

/* ---- lint ---- */

static void duplicates_are_warnings(void **state)
{
    struct loaded l = read_rules("groups:\n"
                                 "- name: g\n"
                                 "  rules:\n"
                                 "  - { record: r, expr: 1, labels: { a: x, b: y } }\n"
                                 "  - { record: r, expr: 2, labels: { b: y, a: x } }\n"
                                 "  - { alert: r, expr: 1, labels: { a: x, b: y } }\n"
                                 "  - { record: r, expr: 1 }\n"
                                 "- name: h\n"
                                 "  labels: { b: y }\n"
                                 "  rules: [{ record: r, expr: 1, labels: { a: x } }]\n");

    (void)state;
    assert_int_equal(l.rc, OK);
    assert_string_equal((char *)l.faults.ptr,
                        "f:5:5: warning: duplicate rule(s) found, first at line 4: Metric: r "
                        "Label(s): a: x, b: y; might cause inconsistency while recording "
                        "expressions\n"
                        "f:10:11: warning: duplicate rule(s) found, first at line 4: Metric: r "
                        "Label(s): a: x, b: y; might cause inconsistency while recording "
                        "expressions\n");
    loaded_free(&l);
}

/* ---- several files ---- */

static void write_file(const char *dir, const char *name, const char *text)
{
    struct str s = str_from(text);

    assert_int_equal(
        fs_write_atomic(dir, name, (struct bytes){ (const uint8_t *)s.ptr, s.len }, NULL), OK);
}

static void files_are_loaded_together(void **state)
{
    struct temp_dir *dir = *state;
    char *a = temp_dir_file(dir, "a.yml"), *b = temp_dir_file(dir, "b.yml");
    char *missing = temp_dir_file(dir, "missing.yml");
    struct diags d = { .arena = arena_new(0) };
    struct rule_set *set = NULL;
    struct buf faults = { 0 };

    write_file(dir->path, "a.yml", "groups: [{ name: g, rules: [{ record: r, expr: x }] }]");
    write_file(dir->path, "b.yml", "groups: [{ name: g, rules: [{ record: r, expr: x }] }]");
    assert_int_equal(rules_load((const char *const[]){ a, b }, 2, &set, &d), OK);
    assert_int_equal(d.n, 0); /* neither names nor rules clash across files */
    assert_int_equal(set->n_groups, 2);
    assert_str(set->groups[1].file, b);
    rule_set_free(set);
    set = NULL;
    write_file(dir->path, "a.yml", "groups: [{ name: '' }]");
    assert_int_equal(rules_load((const char *const[]){ missing, a, b }, 3, &set, &d),
                     ERR_BAD_CONFIG);
    assert_null(set);
    assert_int_equal(d.n_errors, 2);
    diags_print(&faults, &d);
    assert_non_null(memmem(faults.ptr, faults.len, "missing.yml", 11));
    assert_non_null(memmem(faults.ptr, faults.len, "Groupname must not be empty", 27));
    assert_int_equal(rules_load(NULL, 0, &set, &d), OK);
    assert_int_equal(set->n_groups, 0);
    rule_set_free(set);
    buf_free(&faults);
    arena_free(d.arena);
    free(a);
    free(b);
    free(missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_taken),
        cmocka_unit_test(good_files_are_good),
        cmocka_unit_test(faults_of_files_and_groups),
        cmocka_unit_test(faults_of_rules),
        cmocka_unit_test(faults_in_expressions_have_their_place_in_the_file),
        cmocka_unit_test(faults_in_templates_have_their_place_in_the_file),
        cmocka_unit_test(unknown_fields_can_be_ignored),
        cmocka_unit_test(duplicates_are_warnings),
        cmocka_unit_test_setup_teardown(files_are_loaded_together, temp_dir_make, temp_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
