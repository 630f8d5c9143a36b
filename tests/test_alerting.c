#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alerting.h"
#include "alert/manager.h"
#include "alert/notifier.h"
#include "base/arena.h"
#include "base/fs.h"
#include "db_tools.h"

#include "base/banned.h"

/* Files in a folder, a store in memory. */
struct fixture {
    char *dir;
    char config[600], rules[600];
    struct arena *arena;
    struct err err;
    struct db *db;
    struct alerting_options options;
    struct alerting *alerting;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct db_options o = test_db_options(NULL);

    f->dir = test_folder_new();
    f->arena = arena_new(0);
    f->err = err_in(f->arena);
    snprintf(f->config, sizeof f->config, "%s/config.yml", f->dir);
    snprintf(f->rules, sizeof f->rules, "%s/rules.yml", f->dir);
    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    f->options = alerting_options_default(f->db);
    f->options.external_url = STR("http://me");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    alerting_stop(f->alerting, 0);
    db_close(f->db);
    test_folder_remove(f->dir);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
    struct str s = str_from(text);

    assert_int_equal(
        fs_write_atomic(f->dir, name, (struct bytes){ (const uint8_t *)s.ptr, s.len }, NULL), OK);
}

/* "group(rules)@interval ..." and the URLs of Alertmanagers. */
static void expect(struct fixture *f, const char *expected)
{
    struct arena *a = arena_new(0);
    struct buf b = { 0 };
    struct group_status *groups;
    struct alertmanager_status *alertmanagers;
    size_t n;

    assert_int_equal(rule_manager_status(alerting_rules(f->alerting), a, &groups, &n, NULL), OK);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s(%zu)@%d ", groups[i].name.ptr, groups[i].n_rules,
                   (int)groups[i].interval_ms / 1000);
    assert_int_equal(notifier_status(alerting_notifier(f->alerting), a, &alertmanagers, &n, NULL),
                     OK);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%.*s ", STR_ARG(alertmanagers[i].url));
    buf_u8(&b, 0);
    assert_string_equal((const char *)b.ptr, expected);
    buf_free(&b);
    arena_free(a);
}

static const char one_rule[] = "groups:\n- name: g\n  rules:\n  - {record: r, expr: vector(1)}\n";
static const char two_rules[] = "groups:\n- name: g\n  interval: 20s\n  rules:\n"
                                "  - {record: r, expr: vector(1)}\n"
                                "  - {alert: A, expr: vector(1)}\n";

static void without_files_there_is_nothing_to_do(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(alerting_start(&f->options, &f->alerting, &f->err), OK);
    expect(f, "");
    assert_int_equal(alerting_reload(f->alerting, &f->err), OK);
}

static void files_and_flags_add_up(void **state)
{
    struct fixture *f = *state;
    const char *const files[] = { f->rules, f->rules }, *const urls[] = { "http://127.0.0.1:1/b" };

    write_file(
        f, "config.yml",
        "global: {evaluation_interval: 40s}\n"
        "rule_files: [\"more*.yml\", rules.yml]\n"
        "alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['127.0.0.1:1']\n");
    write_file(f, "more1.yml", "groups:\n- {name: h, rules: [{record: q, expr: '2'}]}\n");
    write_file(f, "rules.yml", one_rule);
    f->options.config_file = f->config;
    f->options.rule_files = files;
    f->options.n_rule_files = 2;
    f->options.alertmanager_urls = urls;
    f->options.n_alertmanager_urls = 1;
    assert_int_equal(alerting_start(&f->options, &f->alerting, &f->err), OK);
    expect(f,
           "h(1)@40 g(1)@40 http://127.0.0.1:1/api/v2/alerts http://127.0.0.1:1/b/api/v2/alerts ");
}

static void a_bad_file_prevents_the_start(void **state)
{
    struct fixture *f = *state;
    const char *const files[] = { f->rules };

    write_file(f, "rules.yml",
               "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'sum('}\n"
               "  - {alert: A}\n");
    f->options.rule_files = files;
    f->options.n_rule_files = 1;
    assert_int_equal(alerting_start(&f->options, &f->alerting, &f->err), ERR_BAD_CONFIG);
    assert_non_null(strstr(err_text(&f->err), "rules.yml:4:"));
    assert_non_null(strstr(err_text(&f->err), "(and 1 more)"));
    assert_null(f->alerting);
}

static void a_bad_reload_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const char *const files[] = { f->rules };

    write_file(f, "config.yml", "global: {evaluation_interval: 40s}\n");
    write_file(f, "rules.yml", one_rule);
    f->options.config_file = f->config;
    f->options.rule_files = files;
    f->options.n_rule_files = 1;
    assert_int_equal(alerting_start(&f->options, &f->alerting, &f->err), OK);
    expect(f, "g(1)@40 ");
    write_file(f, "rules.yml", two_rules);
    write_file(f, "config.yml", "globl: {}\n");
    assert_int_equal(alerting_reload(f->alerting, &f->err), ERR_BAD_CONFIG);
    expect(f, "g(1)@40 ");
    write_file(f, "config.yml", "global: {evaluation_interval: 50s}\n");
    write_file(f, "rules.yml", "groups: 1\n");
    assert_int_equal(alerting_reload(f->alerting, &f->err), ERR_BAD_CONFIG);
    expect(f, "g(1)@40 ");
    write_file(f, "rules.yml", one_rule);
    assert_int_equal(alerting_reload(f->alerting, &f->err), OK);
    expect(f, "g(1)@50 ");
    write_file(f, "rules.yml", two_rules);
    assert_int_equal(alerting_reload(f->alerting, &f->err), OK);
    expect(f, "g(2)@20 ");
    assert_int_equal(fs_remove(f->rules, NULL), OK);
    assert_int_equal(alerting_reload(f->alerting, &f->err), ERR_BAD_CONFIG);
    expect(f, "g(2)@20 ");
}

#define ALERTING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALERTING_TEST(without_files_there_is_nothing_to_do),
        ALERTING_TEST(files_and_flags_add_up),
        ALERTING_TEST(a_bad_file_prevents_the_start),
        ALERTING_TEST(a_bad_reload_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
