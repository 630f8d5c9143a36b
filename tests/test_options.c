#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "options.h"

#include "base/banned.h"

enum { MAX_ARGS = 4 };

static enum errc parse(const char *const args[MAX_ARGS], struct options *o, struct err *err)
{
    char *argv[MAX_ARGS + 2] = { "tidemark" };
    int argc = 1;

    for (size_t i = 0; i < MAX_ARGS && args[i]; i++)
        argv[argc++] = (char *)args[i];
    return options_parse(argc, argv, o, err);
}

static void defaults_are_safe_ones(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(parse((const char *const[MAX_ARGS]){ 0 }, &o, NULL), OK);
    assert_int_equal(o.command, COMMAND_SERVE);
    assert_string_equal(o.listen_address, "127.0.0.1:9420");
    assert_string_equal(o.data_dir, "./data");
    assert_int_equal(o.retention_ms, 15LL * 86400000);
    assert_int_equal(o.query_timeout_ms, 120000);
    assert_int_equal(o.query_max_samples, 50000000);
    assert_int_equal(o.lookback_ms, 300000);
    assert_true(o.query_max_concurrency >= 2);
    assert_int_equal(o.max_connections, 512);
    assert_int_equal(o.head_bytes, 512 << 20);
    assert_int_equal(o.map_bytes, 16LL << 30);
    assert_int_equal(o.flush_interval_ms, 7200000);
    assert_int_equal(o.log_level, LOG_INFO);
}

static void values_are_taken_in_either_form(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(parse((const char *const[MAX_ARGS]){ "serve", "--web.listen-address=:1234",
                                                          "--storage.tsdb.path", "/x y" },
                           &o, NULL),
                     OK);
    assert_string_equal(o.listen_address, ":1234");
    assert_string_equal(o.data_dir, "/x y");
    assert_int_equal(parse((const char *const[MAX_ARGS]){ "--storage.tsdb.retention.time=200y",
                                                          "--storage.head-size=64MB",
                                                          "--log.level=debug", "serve" },
                           &o, NULL),
                     OK);
    assert_int_equal(o.retention_ms, 200LL * 365 * 86400000);
    assert_int_equal(o.head_bytes, 64 << 20);
    assert_int_equal(o.log_level, LOG_DEBUG);
    assert_string_equal(o.flags[2].name, "storage.tsdb.retention.time");
    assert_string_equal(o.flags[2].value, "200y");
}

static void flags_of_rules_may_be_repeated(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(parse((const char *const[MAX_ARGS]){ 0 }, &o, NULL), OK);
    assert_int_equal(o.rule_files.n + o.alertmanager_urls.n, 0);
    assert_null(o.config_file);
    assert_null(o.external_url);
    assert_false(o.enable_lifecycle);
    assert_int_equal(o.resend_delay_ms, 60000);
    assert_int_equal(parse((const char *const[MAX_ARGS]){ "--rules=a.yml", "--rules=b.yml",
                                                          "--alertmanager=http://am:9093",
                                                          "--web.enable-lifecycle" },
                           &o, NULL),
                     OK);
    assert_int_equal(o.rule_files.n, 2);
    assert_string_equal(o.rule_files.items[1], "b.yml");
    assert_int_equal(o.alertmanager_urls.n, 1);
    assert_true(o.enable_lifecycle);
    assert_int_equal(parse((const char *const[MAX_ARGS]){ "--web.enable-lifecycle=false",
                                                          "--web.external-url=https://x/y/",
                                                          "--config.file=c.yml" },
                           &o, NULL),
                     OK);
    assert_false(o.enable_lifecycle);
    assert_string_equal(o.external_url, "https://x/y/");
    assert_string_equal(o.config_file, "c.yml");
}

static void commands_are_recognised(void **state)
{
    static const struct {
        const char *arg;
        enum command command;
    } cases[] = {
        { "serve", COMMAND_SERVE },       { "help", COMMAND_HELP },
        { "--help", COMMAND_HELP },       { "-h", COMMAND_HELP },
        { "--version", COMMAND_VERSION }, { "version", COMMAND_VERSION },
    };
    struct options o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse((const char *const[MAX_ARGS]){ cases[i].arg }, &o, NULL), OK);
        assert_int_equal(o.command, cases[i].command);
    }
}

static void errors_name_flag_value_and_expectation(void **state)
{
    static const struct {
        const char *args[MAX_ARGS];
        const char *text;
    } cases[] = {
        { { "--query.timeout=abc" },
          "--query.timeout: \"abc\" is not a duration above 0 and up to 292y, such as 15d or "
          "1h30m" },
        { { "--storage.tsdb.retention.time", "300y" },
          "--storage.tsdb.retention.time: \"300y\" is not a duration above 0 and up to 292y, such "
          "as 15d or 1h30m" },
        { { "--query.lookback-delta=0s" },
          "--query.lookback-delta: \"0s\" is not a duration above 0 and up to 292y, such as 15d "
          "or 1h30m" },
        { { "--query.max-samples=-1" },
          "--query.max-samples: \"-1\" is not a whole number above 0" },
        { { "--storage.head-size=10" },
          "--storage.head-size: \"10\" is not a size such as 512MiB or 16GiB" },
        { { "--storage.map-size=9999999999TiB" },
          "--storage.map-size: \"9999999999TiB\" is not a size such as 512MiB or 16GiB" },
        { { "--log.level=loud" }, "--log.level: \"loud\" is not debug, info, warn or error" },
        { { "--web.listen-address=9420" },
          "--web.listen-address: \"9420\" is not HOST:PORT, :PORT or [IPv6]:PORT" },
        { { "--alertmanager=am:9093" }, "--alertmanager: \"am:9093\" is not an http or https URL" },
        { { "--web.enable-lifecycle=x" }, "--web.enable-lifecycle: \"x\" is not true or false" },
        { { "--storage.tsdb.path=" }, "--storage.tsdb.path: \"\" is not a directory" },
        { { "--web.listen-adress=:1" },
          "unknown flag --web.listen-adress; did you mean --web.listen-address?" },
        { { "--query.timeuot", "5s" },
          "unknown flag --query.timeuot; did you mean --query.timeout?" },
        { { "--nonsense" }, "unknown flag --nonsense; tidemark --help lists them" },
        { { "-x" }, "unknown flag -x; tidemark --help lists them" },
        { { "serve", "--log.level" }, "--log.level needs a value" },
        { { "sevre" },
          "unknown command \"sevre\"; there is: serve, check, verify, backup, restore" },
        { { "serve", "twice" }, "unexpected argument \"twice\"" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = err_in(a);
        struct options o;

        assert_int_equal(parse(cases[i].args, &o, &err), ERR_BAD_CONFIG);
        assert_string_equal(err_text(&err), cases[i].text);
    }
    arena_free(a);
}

static void help_lists_every_flag_with_its_default(void **state)
{
    struct options o;
    struct buf b = { 0 };

    (void)state;
    assert_int_equal(parse((const char *const[MAX_ARGS]){ "--help" }, &o, NULL), OK);
    options_print_help(&b);
    buf_u8(&b, 0);
    for (size_t i = 0; i < o.n_flags; i++) {
        assert_non_null(strstr((char *)b.ptr, o.flags[i].name));
        assert_non_null(strstr((char *)b.ptr, o.flags[i].value));
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_safe_ones),
        cmocka_unit_test(values_are_taken_in_either_form),
        cmocka_unit_test(flags_of_rules_may_be_repeated),
        cmocka_unit_test(commands_are_recognised),
        cmocka_unit_test(errors_name_flag_value_and_expectation),
        cmocka_unit_test(help_lists_every_flag_with_its_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
