#include "ingest/otlp_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/banned.h"

static void expect(const struct buf *b, const char *want)
{
    if (!str_is(buf_as_str(b), want))
        fail_msg("\"%.*s\", not \"%s\"", STR_ARG(buf_as_str(b)), want);
}

static void metrics_are_named_as_by_prometheus(void **state)
{
    static const struct {
        const char *name, *unit;
        enum otlp_kind kind;
        const char *want[OTLP_STRATEGY_COUNT]; /* NULL: as the one before */
    } cases[] = {
        { "gen_ai.client.token.usage",
          "{token}",
          OTLP_OTHER,
          { "gen_ai_client_token_usage", "gen_ai_client_token_usage", "gen_ai.client.token.usage",
            "gen_ai.client.token.usage" } },
        { "gen_ai.client.token.usage",
          "token",
          OTLP_OTHER,
          { "gen_ai_client_token_usage", "gen_ai_client_token_usage",
            "gen_ai.client.token.usage_token", "gen_ai.client.token.usage" } },
        { "gen_ai.client.operation.duration",
          "s",
          OTLP_OTHER,
          { "gen_ai_client_operation_duration_seconds", "gen_ai_client_operation_duration",
            "gen_ai.client.operation.duration_seconds", "gen_ai.client.operation.duration" } },
        { "gen_ai.client.generation.choices",
          "choice",
          OTLP_COUNTER,
          { "gen_ai_client_generation_choices_choice_total", "gen_ai_client_generation_choices",
            "gen_ai.client.generation.choices_choice_total", "gen_ai.client.generation.choices" } },
        { "llm.openai.chat_completions.exceptions",
          "time",
          OTLP_COUNTER,
          { "llm_openai_chat_completions_exceptions_time_total",
            "llm_openai_chat_completions_exceptions",
            "llm.openai.chat_completions.exceptions_time_total",
            "llm.openai.chat_completions.exceptions" } },
        { "gen_ai.usage.cost",
          "USD",
          OTLP_OTHER,
          { "gen_ai_usage_cost_USD", "gen_ai_usage_cost", "gen_ai.usage.cost_USD",
            "gen_ai.usage.cost" } },
        { "llm_cost_dollars",
          "",
          OTLP_COUNTER,
          { "llm_cost_dollars_total", "llm_cost_dollars", "llm_cost_dollars_total",
            "llm_cost_dollars" } },
        { "llm_cost_dollars",
          "USD",
          OTLP_COUNTER,
          { "llm_cost_dollars_USD_total", "llm_cost_dollars", "llm_cost_dollars_USD_total",
            "llm_cost_dollars" } },
        { "http.total.requests",
          "1",
          OTLP_COUNTER,
          { "http_requests_total", "http_total_requests", "http.total.requests_total",
            "http.total.requests" } },
        { "llm_requests_total",
          "",
          OTLP_COUNTER,
          { "llm_requests_total", "llm_requests_total", "llm_requests_total",
            "llm_requests_total" } },
        { "cpu.utilization",
          "1",
          OTLP_GAUGE,
          { "cpu_utilization_ratio", "cpu_utilization", "cpu.utilization_ratio",
            "cpu.utilization" } },
        { "network.io",
          "By/s",
          OTLP_GAUGE,
          { "network_io_bytes_per_second", "network_io", "network.io_bytes_per_second",
            "network.io" } },
        { "disk.bytes.read",
          "By",
          OTLP_COUNTER,
          { "disk_bytes_read_total", "disk_bytes_read", "disk.bytes.read_bytes_total",
            "disk.bytes.read" } },
        { "2xx  responses!",
          "",
          OTLP_OTHER,
          { "_2xx_responses", "_2xx_responses", "2xx  responses!", "2xx  responses!" } },
        { "a__b::c", "", OTLP_OTHER, { "a_b::c", "a__b::c", "a__b::c", "a__b::c" } },
        { "spans",
          "{span}/m",
          OTLP_OTHER,
          { "spans_per_minute", "spans", "spans_per_minute", "spans" } },
        { "price",
          "USD per-token",
          OTLP_OTHER,
          { "price_USD_per_token", "price", "price_USD per-token", "price" } },
        { "...", "", OTLP_OTHER, { "", "", "...", "..." } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < OTLP_STRATEGY_COUNT; k++) {
            struct buf b = { 0 };

            otlp_metric_name(&b, str_from(cases[i].name), str_from(cases[i].unit), cases[i].kind,
                             (enum otlp_strategy)k);
            expect(&b, cases[i].want[k]);
            buf_free(&b);
        }
}

static void labels_are_named_as_by_prometheus(void **state)
{
    static const struct {
        const char *name;
        struct otlp_label_rules rules;
        const char *want; /* NULL: cannot be a label */
    } cases[] = {
        { "gen_ai.request.model", { false, true, true }, "gen_ai_request_model" },
        { "model", { false, true, true }, "model" },
        { "2nd", { false, true, true }, "key_2nd" },
        { "_x", { false, true, true }, "key_x" },
        { "_x", { false, false, true }, "_x" },
        { ".x", { false, true, true }, "key_x" },
        { "__x", { false, true, true }, "__x" },
        { "__x", { false, true, false }, "key_x" },
        { "a..b", { false, true, true }, "a__b" },
        { "a..b", { false, true, false }, "a_b" },
        { "k\xc3\xa4se", { false, true, true }, "k_se" },
        { "k\xc3\xa4se.x", { true, true, true }, "k\xc3\xa4se.x" },
        { "...", { false, true, true }, NULL },
        { "", { false, true, true }, NULL },
        { "__", { true, true, true }, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = { 0 };
        bool ok = otlp_label_name(&b, str_from(cases[i].name), &cases[i].rules);

        assert_int_equal(ok, cases[i].want != NULL);
        if (ok)
            expect(&b, cases[i].want);
        buf_free(&b);
    }
}

static void plain_labels_are_those_that_no_rule_changes(void **state)
{
    static const char *const plain[] = { "a", "model", "gen_ai_x", "A9_b" };
    static const char *const others[] = { "", "9a", "_a", "a_", "a__b", "a.b", "a:b", "\xc3\xa4" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        assert_true(otlp_label_is_plain(str_from(plain[i])));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(otlp_label_is_plain(str_from(others[i])));
}

static void units_are_words(void **state)
{
    static const char *const cases[][2] = {
        { "s", "seconds" }, { "By/s", "bytes_per_second" }, { "{token}", "" },          { "1", "" },
        { "USD", "USD" },   { "{x}/h", "per_hour" },        { " ms ", "milliseconds" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = { 0 };

        otlp_unit_name(&b, str_from(cases[i][0]));
        expect(&b, cases[i][1]);
        buf_free(&b);
    }
}

static void strategies_have_the_names_of_the_configuration(void **state)
{
    enum otlp_strategy s;

    (void)state;
    for (size_t i = 0; i < OTLP_STRATEGY_COUNT; i++) {
        assert_true(otlp_strategy_parse(str_from(otlp_strategy_name((enum otlp_strategy)i)), &s));
        assert_int_equal(s, i);
    }
    assert_false(otlp_strategy_parse(STR("notranslation"), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_named_as_by_prometheus),
        cmocka_unit_test(labels_are_named_as_by_prometheus),
        cmocka_unit_test(plain_labels_are_those_that_no_rule_changes),
        cmocka_unit_test(units_are_words),
        cmocka_unit_test(strategies_have_the_names_of_the_configuration),
    };

    return cmocka_run_group_tests_name("otlp_names", tests, NULL, NULL);
}
