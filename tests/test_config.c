#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alert/config.h"
#include "base/arena.h"
#include "temp_dir.h"

#include "base/banned.h"

struct loaded {
    struct config *c;
    struct diags d;
    struct buf faults; /* NUL-terminated */
    enum errc rc;
};

static struct loaded read_config(const char *text, const char *path)
{
    struct loaded l = { .d = { .arena = arena_new(0) } };

    l.rc = config_read(str_from(text), path, &l.c, &l.d);
    diags_print(&l.faults, &l.d);
    buf_u8(&l.faults, 0);
    return l;
}

static void loaded_free(struct loaded *l)
{
    config_free(l->c);
    arena_free(l->d.arena);
    buf_free(&l->faults);
}

static void assert_str(struct str got, const char *want)
{
    if (!str_is(got, want))
        print_error("got %.*s, want %s\n", STR_ARG(got), want);
    assert_true(str_is(got, want));
}

static void assert_file(const char *got, const struct temp_dir *dir, const char *name)
{
    char *want = temp_dir_file(dir, name);

    assert_string_equal(got, want);
    free(want);
}

static void write_file(const struct temp_dir *dir, const char *name, const char *text)
{
    struct bytes b = { (const uint8_t *)text, strlen(text) };

    assert_int_equal(fs_write_atomic(dir->path, name, b, NULL), OK);
}

static void an_empty_file_has_the_defaults(void **state)
{
    static const char *const texts[] = { "", "global:\n", "rule_files: []\nalerting: {}\n" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct loaded l = read_config(texts[i], "f");

        assert_string_equal((char *)l.faults.ptr, "");
        assert_int_equal(l.rc, OK);
        assert_int_equal(l.c->evaluation_interval_ms, 60000);
        assert_int_equal(l.c->rule_query_offset_ms, 0);
        assert_int_equal(l.c->external_labels.n, 0);
        assert_int_equal(l.c->n_rule_files, 0);
        assert_int_equal(l.c->n_alertmanagers, 0);
        loaded_free(&l);
    }
}

static void global_settings_are_taken(void **state)
{
    struct loaded l;

    (void)state;
    assert_int_equal(setenv("TIDEMARK_TEST_REGION", "eu-1", 1), 0);
    l = read_config("global:\n"
                    "  evaluation_interval: 15s\n"
                    "  rule_query_offset: 1m\n"
                    "  external_labels:\n"
                    "    zone: a${TIDEMARK_TEST_REGION}b\n"
                    "    region: $TIDEMARK_TEST_REGION-x\n"
                    "    price: $$5\n"
                    "    empty: ''\n",
                    "f");
    assert_string_equal((char *)l.faults.ptr, "");
    assert_int_equal(l.c->evaluation_interval_ms, 15000);
    assert_int_equal(l.c->rule_query_offset_ms, 60000);
    assert_int_equal(l.c->external_labels.n, 3);
    assert_str(labels_get(l.c->external_labels, STR("zone")), "aeu-1b");
    assert_str(labels_get(l.c->external_labels, STR("region")), "eu-1-x");
    assert_str(labels_get(l.c->external_labels, STR("price")), "$5");
    loaded_free(&l);
}

static void alertmanagers_are_taken(void **state)
{
    struct loaded l = read_config("alerting:\n"
                                  "  alertmanagers:\n"
                                  "    - static_configs:\n"
                                  "        - targets: [a:9093, '[::1]:9093']\n"
                                  "        - targets: [c]\n"
                                  "    - scheme: https\n"
                                  "      path_prefix: /am/x/\n"
                                  "      timeout: 3s\n"
                                  "      api_version: v2\n"
                                  "      basic_auth: { username: u, password: 'p w' }\n"
                                  "      static_configs: [{ targets: [d:1] }]\n"
                                  "    - authorization: { credentials: secret }\n"
                                  "      static_configs: [{ targets: [e:1] }]\n"
                                  "    - authorization: { type: Token, credentials: secret }\n"
                                  "      static_configs: [{ targets: [f:1] }]\n",
                                  "f");
    static const struct {
        const char *url;
        int64_t timeout_ms;
        const char *user, *password, *authorization;
    } want[] = {
        { "http://a:9093", 10000, "", "", "" },
        { "http://[::1]:9093", 10000, "", "", "" },
        { "http://c", 10000, "", "", "" },
        { "https://d:1/am/x", 3000, "u", "p w", "" },
        { "http://e:1", 10000, "", "", "Bearer secret" },
        { "http://f:1", 10000, "", "", "Token secret" },
    };

    (void)state;
    assert_string_equal((char *)l.faults.ptr, "");
    assert_int_equal(l.c->n_alertmanagers, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct alertmanager *am = &l.c->alertmanagers[i];

        assert_str(am->url, want[i].url);
        assert_int_equal(am->timeout_ms, want[i].timeout_ms);
        assert_str(am->user, want[i].user);
        assert_str(am->password, want[i].password);
        assert_str(am->authorization, want[i].authorization);
    }
    loaded_free(&l);
}

static void what_prometheus_knows_and_we_do_not_is_a_warning(void **state)
{
    struct loaded l = read_config("global: { scrape_interval: 15s, query_log_file: x }\n"
                                  "scrape_configs: [{ job_name: j }]\n"
                                  "remote_write: []\n"
                                  "tracing: {}\n"
                                  "alerting:\n"
                                  "  alert_relabel_configs: []\n"
                                  "  alertmanagers:\n"
                                  "    - dns_sd_configs: []\n"
                                  "      tls_config: {}\n",
                                  "f");

    (void)state;
    assert_int_equal(l.rc, OK);
    assert_string_equal(
        (char *)l.faults.ptr,
        "f:1:11: warning: scrape_interval is ignored: nothing is scraped\n"
        "f:1:33: warning: query_log_file is ignored: not supported\n"
        "f:2:1: warning: scrape_configs is ignored: nothing is scraped\n"
        "f:3:1: warning: remote_write is ignored: not supported\n"
        "f:4:1: warning: tracing is ignored: not supported\n"
        "f:6:3: warning: alert_relabel_configs is ignored: alerts are sent with the labels they "
        "have\n"
        "f:8:7: warning: dns_sd_configs is ignored: only static_configs are supported\n"
        "f:8:7: warning: an Alertmanager without static_configs is nobody\n"
        "f:9:7: warning: tls_config is ignored: not supported\n");
    loaded_free(&l);
}

static void faults_are_told_with_their_place(void **state)
{
    static const struct {
        const char *text, *faults;
    } cases[] = {
        { "[]", "f:1:1: a configuration must be a mapping, not a list\n" },
        { "rule_file: [a]\nfoo: 1\n",
          "f:1:1: field rule_file not found in type config.Config; did you mean \"rule_files\"?\n"
          "f:2:1: field foo not found in type config.Config\n" },
        { "global:\n  evaluation_intervall: 1m\n",
          "f:2:3: field evaluation_intervall not found in type config.GlobalConfig; did you mean "
          "\"evaluation_interval\"?\n" },
        { "global: { evaluation_interval: soon, external_labels: { __name__: x, a: [b] } }\n",
          "f:1:32: invalid field 'evaluation_interval': not a valid duration string: \"soon\"\n"
          "f:1:57: invalid label name: __name__\n"
          "f:1:73: label must be a single value, not a list\n" },
        { "rule_files: [a/*/b.yml, '', nosuch.yml, [x]]\n",
          "f:1:14: invalid rule file path \"a/*/b.yml\"\n"
          "f:1:25: invalid rule file path \"\"\n"
          "f:1:29: \"nosuch.yml\" does not point to an existing file\n"
          "f:1:41: a rule file must be a single value, not a list\n" },
        { "alerting:\n  alertmanager: []\n",
          "f:2:3: field alertmanager not found in type config.AlertingConfig; did you mean "
          "\"alertmanagers\"?\n" },
        { "alerting:\n  alertmanagers:\n    - scheme: ftp\n      path_prefix: a?b\n      timeout: "
          "0s\n"
          "      api_version: v1\n      static_configs: [{ targets: ['http://x', ''] }]\n",
          "f:3:15: field 'scheme' must be http or https\n"
          "f:4:20: field 'path_prefix' is no path\n"
          "f:5:16: field 'timeout' must be above 0\n"
          "f:6:20: expected Alertmanager api version to be one of [v2] but got v1\n"
          "f:7:36: \"http://x\" is not a valid hostname\n"
          "f:7:48: \"\" is not a valid hostname\n" },
        { "alerting:\n  alertmanagers:\n    - basic_auth: { usrname: x, password: y, "
          "password_file: "
          "/nosuch }\n"
          "      authorization: { type: BASIC, credentials: x }\n"
          "      static_configs: [{ targets: [a], target: b }]\n",
          "f:3:19: basic_auth needs a username\n"
          "f:3:21: field usrname not found in type config.BasicAuth; did you mean \"username\"?\n"
          "f:3:61: at most one of password & password_file must be configured\n"
          "f:3:61: open /nosuch: No such file or directory\n"
          "f:4:22: at most one of basic_auth & authorization must be configured\n"
          "f:4:22: authorization type cannot be set to \"basic\", use \"basic_auth\" instead\n"
          "f:5:40: field target not found in type targetgroup.Group; did you mean \"targets\"?\n" },
        { "global: {}\nglobal: {}\nfoo: 1\n",
          "f:2:1: mapping key \"global\" already defined at line 1\n"
          "f:3:1: field foo not found in type config.Config\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l = read_config(cases[i].text, "f");

        assert_string_equal((char *)l.faults.ptr, cases[i].faults);
        assert_int_equal(l.rc, ERR_BAD_CONFIG);
        assert_null(l.c);
        loaded_free(&l);
    }
}

static void limits_are_taken(void **state)
{
    struct loaded l = read_config("limits:\n"
                                  "  series_limit: 1000000\n"
                                  "  label_limit: 0\n"
                                  "  label_value_length_limit: 100\n",
                                  "c.yml");

    (void)state;
    assert_int_equal(l.rc, OK);
    assert_int_equal(l.c->series_limit, 1000000);
    assert_int_equal(l.c->label_limits.max_labels, 0);
    assert_int_equal(l.c->label_limits.max_value_bytes, 100);
    assert_int_equal(l.c->label_limits.max_name_bytes, label_limits_default.max_name_bytes);
    loaded_free(&l);
    l = read_config("limits:\n  label_limit: -1\n", "c.yml");
    assert_int_equal(l.rc, ERR_BAD_CONFIG);
    loaded_free(&l);
}

static void variables_that_are_not_set_are_warnings(void **state)
{
    struct loaded l;

    (void)state;
    assert_int_equal(unsetenv("TIDEMARK_TEST_UNSET"), 0);
    l = read_config("global: { external_labels: { a: 'x$TIDEMARK_TEST_UNSET', b: 'c$', d: '${' } }",
                    "f");
    assert_int_equal(l.rc, OK);
    assert_string_equal(
        (char *)l.faults.ptr,
        "f:1:33: warning: environment variable TIDEMARK_TEST_UNSET is not set\n"
        "f:1:61: warning: a dollar sign without the name of a variable; write $$ for "
        "itself\n"
        "f:1:70: warning: a dollar sign without the name of a variable; write $$ for "
        "itself\n");
    assert_str(labels_get(l.c->external_labels, STR("a")), "x");
    assert_str(labels_get(l.c->external_labels, STR("b")), "c$");
    assert_str(labels_get(l.c->external_labels, STR("d")), "${");
    loaded_free(&l);
}

static void paths_are_relative_to_the_file(void **state)
{
    const struct temp_dir *dir = *state;
    char *path = temp_dir_file(dir, "tidemark.yml");
    struct diags d = { .arena = arena_new(0) };
    struct config *c = NULL;

    write_file(dir, "tidemark.yml",
               "rule_files: [z.yml, '*.rules', 'b.*', nothing-*.yml]\n"
               "alerting:\n"
               "  alertmanagers:\n"
               "    - basic_auth: { username: u, password_file: password }\n"
               "      static_configs: [{ targets: [a] }]\n");
    write_file(dir, "z.yml", "");
    write_file(dir, "b.rules", "");
    write_file(dir, "a.rules", "");
    write_file(dir, "password", "secret\n");
    assert_int_equal(config_load(path, &c, &d), OK);
    assert_int_equal(c->n_rule_files, 3);
    assert_file(c->rule_files[0], dir, "z.yml");
    assert_file(c->rule_files[1], dir, "a.rules");
    assert_file(c->rule_files[2], dir, "b.rules"); /* named by two patterns */
    assert_str(c->alertmanagers[0].password, "secret");
    assert_int_equal(d.n, 1); /* nothing-*.yml */
    assert_true(d.items[0].warning);
    config_free(c);
    arena_free(d.arena);
    free(path);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct diags d = { .arena = arena_new(0) };
    struct config *c = NULL;

    (void)state;
    assert_int_equal(config_load("/nosuch/tidemark.yml", &c, &d), ERR_BAD_CONFIG);
    assert_int_equal(d.n_errors, 1);
    assert_string_equal(d.items[0].file, "/nosuch/tidemark.yml");
    assert_int_equal(d.items[0].line, 0);
    arena_free(d.arena);
}

static void printed_configuration_reads_back_and_keeps_its_secrets(void **state)
{
    static const char text[] = "global:\n"
                               "  evaluation_interval: 30s\n"
                               "  external_labels: {site: \"a \\\"b\\\"\", zone: 1}\n"
                               "alerting:\n"
                               "  alertmanagers:\n"
                               "  - scheme: https\n"
                               "    path_prefix: /am\n"
                               "    timeout: 5s\n"
                               "    basic_auth: {username: u, password: hidden}\n"
                               "    static_configs: [{targets: ['h:1']}]\n"
                               "  - authorization: {credentials: hidden}\n"
                               "    static_configs: [{targets: ['h:2']}]\n";
    struct loaded l = read_config(text, "c.yml"), again;
    struct buf printed = { 0 };

    (void)state;
    assert_int_equal(l.rc, OK);
    config_print(&printed, l.c);
    buf_u8(&printed, 0);
    assert_null(strstr((char *)printed.ptr, "hidden"));
    again = read_config((char *)printed.ptr, "c.yml");
    if (again.rc)
        print_error("%s\n%s\n", (char *)again.faults.ptr, (char *)printed.ptr);
    assert_int_equal(again.rc, OK);
    assert_int_equal(again.c->evaluation_interval_ms, 30000);
    assert_true(labels_equal(again.c->external_labels, l.c->external_labels));
    assert_int_equal(again.c->n_alertmanagers, 2);
    assert_str(again.c->alertmanagers[0].url, "https://h:1/am");
    assert_str(again.c->alertmanagers[0].user, "u");
    assert_str(again.c->alertmanagers[0].password, "<secret>");
    assert_int_equal(again.c->alertmanagers[0].timeout_ms, 5000);
    assert_str(again.c->alertmanagers[1].url, "http://h:2");
    buf_free(&printed);
    loaded_free(&again);
    loaded_free(&l);
}

static void otlp_is_read_and_checked(void **state)
{
    struct loaded l = read_config("otlp:\n"
                                  "  translation_strategy: NoTranslation\n"
                                  "  promote_resource_attributes: [service.name, \"a b\"]\n"
                                  "  keep_identifying_resource_attributes: true\n"
                                  "  label_name_underscore_sanitization: false\n"
                                  "  delta: raw\n",
                                  "f");
    struct buf printed = { 0 };

    (void)state;
    assert_string_equal((char *)l.faults.ptr, "");
    assert_string_equal(l.c->otlp.translation_strategy, "NoTranslation");
    assert_string_equal(l.c->otlp.delta, "raw");
    assert_int_equal(l.c->otlp.promote.n, 2);
    assert_str(l.c->otlp.promote.items[1], "a b");
    assert_true(l.c->otlp.keep_identifying);
    assert_false(l.c->otlp.label_underscore_sanitization);
    assert_true(l.c->otlp.label_preserve_underscores);
    config_print(&printed, l.c);
    assert_non_null(
        memmem(printed.ptr, printed.len, "  translation_strategy: NoTranslation\n", 38));
    buf_free(&printed);
    loaded_free(&l);

    l = read_config("otlp:\n"
                    "  translation_strategy: None\n"
                    "  promote_all_resource_attributes: maybe\n"
                    "  promote_resource_attributes: [a, a]\n"
                    "  ignore_resource_attributes: [b]\n"
                    "  deltas: convert\n",
                    "f");
    assert_int_equal(l.rc, ERR_BAD_CONFIG);
    assert_string_equal(
        (char *)l.faults.ptr,
        "f:2:25: translation_strategy is \"None\", not one of "
        "UnderscoreEscapingWithSuffixes, "
        "UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes, NoTranslation\n"
        "f:3:36: promote_all_resource_attributes is \"maybe\", not true or false\n"
        "f:4:36: attribute \"a\" stands twice in promote_resource_attributes\n"
        "f:5:31: ignore_resource_attributes needs promote_all_resource_attributes\n"
        "f:6:3: field deltas not found in type config.OTLPConfig; did you mean "
        "\"delta\"?\n");
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_has_the_defaults),
        cmocka_unit_test(otlp_is_read_and_checked),
        cmocka_unit_test(global_settings_are_taken),
        cmocka_unit_test(alertmanagers_are_taken),
        cmocka_unit_test(what_prometheus_knows_and_we_do_not_is_a_warning),
        cmocka_unit_test(faults_are_told_with_their_place),
        cmocka_unit_test(variables_that_are_not_set_are_warnings),
        cmocka_unit_test(limits_are_taken),
        cmocka_unit_test_setup_teardown(paths_are_relative_to_the_file, temp_dir_make,
                                        temp_dir_remove),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(printed_configuration_reads_back_and_keeps_its_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
