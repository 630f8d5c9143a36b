/* test_http_grafana.c -- what Grafana's Prometheus data source asks, in the order and form in which
 * it does: each test is one thing that a person does there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "alert/alerting.h"
#include "api_rig.h"
#include "db_tools.h"
#include "http/server.h"
#include "temp_dir.h"

#include "base/banned.h"

#define NOW_MS (RIG_NOW_S * 1000LL)

static void append_histogram(struct api_rig *rig, const char *model)
{
    static const char *const bounds[] = { "0.5", "1", "+Inf" };

    for (size_t b = 0; b < ARRAY_LEN(bounds); b++)
        for (int i = 0; i < 3; i++) {
            char series[128];

            snprintf(series, sizeof series, "llm_latency_seconds_bucket model=%s le=%s", model,
                     bounds[b]);
            rig_append(rig, series, 120000 - 60000 * i, 10 * (double)(b + 1) * i);
        }
}

static void append_exemplar(struct api_rig *rig)
{
    struct label labels[] = { { METRIC_NAME, STR("llm_latency_seconds_bucket") },
                              { STR("le"), STR("1") },
                              { STR("model"), STR("a") } };
    struct label trace[] = { { STR("trace_id"), STR("abc") } };
    struct exemplar e = { { trace, 1 }, 0.7, NOW_MS - 1500 };
    struct write_series series = { .labels = labels,
                                   .n_labels = ARRAY_LEN(labels),
                                   .n_exemplars = 1 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .exemplars = &e, .n_exemplars = 1
    };
    struct write_result res = { 0 };

    assert_int_equal(db_append(rig->db, &batch, &res, NULL), OK);
    buf_free(&res.text);
}

static void append_metadata(struct api_rig *rig)
{
    static const struct metric_metadata items[] = {
        { { "llm_latency_seconds", 19 }, METRIC_HISTOGRAM, { "Latency.", 8 }, { "seconds", 7 } },
        { { "llm_requests_total", 18 }, METRIC_COUNTER, { "Requests.", 9 }, { "", 0 } },
    };
    struct write_batch batch = { .metadata = items, .n_metadata = ARRAY_LEN(items) };
    struct write_result res = { 0 };

    assert_int_equal(db_append(rig->db, &batch, &res, NULL), OK);
    buf_free(&res.text);
}

static int setup(void **state)
{
    rig_setup(state);
    append_histogram(*state, "a");
    append_histogram(*state, "b");
    append_exemplar(*state);
    append_metadata(*state);
    for (int i = 0; i < 3; i++)
        rig_append(*state, "llm_requests_total model=a", 120000 - 60000 * i, 60 * i);
    rig_append(*state, "my.gauge l.x=1", 0, 4);
    return 0;
}

/* A POST of a form, as the data source does by default. */
static void assert_form(struct api_rig *rig, const char *target, const char *form, int status,
                        const char *body)
{
    struct answer a = client_form(rig->port, target, form);

    assert_string_equal(answer_text(&a), body);
    assert_int_equal(a.status, status);
    assert_string_equal(answer_header(&a, "Content-Type"), HTTP_JSON);
    answer_free(&a);
}

static void assert_contains(struct api_rig *rig, const char *target, const char *part)
{
    struct answer a = client_get(rig->port, target);

    assert_int_equal(a.status, 200);
    if (!strstr(answer_text(&a), part))
        fail_msg("%s: %s lacks %s", target, answer_text(&a), part);
    answer_free(&a);
}

#define GET_JSON(target, body) rig_get(rig, target, 200, HTTP_JSON, body)

static void save_and_test_succeeds(void **state)
{
    struct api_rig *rig = *state;
    struct answer a;

    assert_form(rig, "/api/v1/query", "query=1%2B1&time=4", 200,
                RIG_SUCCESS("{\"resultType\":\"scalar\",\"result\":[4,\"2\"]}"));
    a = client_form(rig->port, "/api/v1/status/buildinfo", "");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(answer_text(&a), "\"version\":\"3.14.0\""));
    assert_null(strstr(answer_text(&a), "features")); /* which would mean Mimir */
    answer_free(&a);
}

static void rule_editor_is_not_offered(void **state)
{
    static const char *const probes[] = { "/rules", "/rules/test/test",
                                          "/config/v1/rules/test/test", "/api/prom/rules/test/test",
                                          "/prometheus/rules" };

    for (size_t i = 0; i < ARRAY_LEN(probes); i++)
        rig_get(*state, probes[i], 404, HTTP_TEXT, "404 page not found\n");
}

static void start_of_a_page_finds_names_types_and_exemplars(void **state)
{
    struct api_rig *rig = *state;

    assert_form(rig, "/api/v1/rules", "", 200, RIG_SUCCESS("{\"groups\":[]}"));
    GET_JSON("/api/v1/query_exemplars?query=test&start=1700000000000&end=1700003600000",
             RIG_SUCCESS("[]")); /* milliseconds where seconds are meant */
    GET_JSON("/api/v1/label/__name__/values?limit=40000&start=1699995600&end=1700000400",
             RIG_SUCCESS("[\"llm_latency_seconds_bucket\",\"llm_requests_total\",\"my.gauge\"]"));
    assert_form(rig, "/api/v1/labels", "start=1699995600&end=1700000400&limit=40000", 200,
                RIG_SUCCESS("[\"__name__\",\"l.x\",\"le\",\"model\"]"));
    GET_JSON("/api/v1/metadata?limit=40000",
             RIG_SUCCESS("{\"llm_latency_seconds\":[{\"type\":\"histogram\",\"help\":\"Latency.\","
                         "\"unit\":\"seconds\"}],\"llm_requests_total\":[{\"type\":\"counter\","
                         "\"help\":\"Requests.\",\"unit\":\"\"}]}"));
}

static void explore_asks_range_and_instant(void **state)
{
    struct api_rig *rig = *state;

    assert_form(rig, "/api/v1/query_range",
                "end=1700000000&query=sum+by+%28model%29+%28rate%28llm_requests_total%5B2m%5D%29%29"
                "&start=1699999970&step=15&timeout=60s",
                200,
                RIG_SUCCESS("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"model\":\"a\"},"
                            "\"values\":[[1699999970,\"0.75\"],[1699999985,\"0.875\"],"
                            "[1700000000,\"1\"]]}]}"));
    assert_form(rig, "/api/v1/query", "query=llm_requests_total&time=1700000000.123", 200,
                RIG_SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":"
                            "\"llm_requests_total\",\"model\":\"a\"},"
                            "\"value\":[1700000000.123,\"120\"]}]}"));
    GET_JSON("/api/v1/query_exemplars?query=histogram_quantile(0.9,sum%20by(le)(rate("
             "llm_latency_seconds_bucket%5B5m%5D)))&start=1699999000&end=1700000000",
             RIG_SUCCESS("[{\"seriesLabels\":{\"__name__\":\"llm_latency_seconds_bucket\","
                         "\"le\":\"1\",\"model\":\"a\"},\"exemplars\":[{\"labels\":{"
                         "\"trace_id\":\"abc\"},\"value\":\"0.7\","
                         "\"timestamp\":1699999998.500}]}]"));
    GET_JSON("/api/v1/query_exemplars?query=1%2B1", RIG_SUCCESS("[]"));
    rig_get(rig, "/api/v1/query_exemplars?query=up&start=2&end=1", 400, HTTP_JSON,
            RIG_BAD_DATA("invalid parameter \\\"end\\\": end timestamp must not be before start "
                         "timestamp"));
}

static void metric_browser_narrows_by_words_and_labels(void **state)
{
    struct api_rig *rig = *state;

    GET_JSON("/api/v1/label/__name__/values?match[]=%7B__name__%3D~%22.*latency.*%22%7D&limit=1000",
             RIG_SUCCESS("[\"llm_latency_seconds_bucket\"]"));
    GET_JSON("/api/v1/label/model/values?match[]=llm_latency_seconds_bucket",
             RIG_SUCCESS("[\"a\",\"b\"]"));
    GET_JSON("/api/v1/label/U__l_2e_x/values?match[]=%7B%22my.gauge%22%7D", RIG_SUCCESS("[\"1\"]"));
    GET_JSON("/api/v1/label/__name__/values?limit=1",
             "{\"status\":\"success\",\"data\":[\"llm_latency_seconds_bucket\"],"
             "\"warnings\":[\"results truncated due to limit\"]}");
}

static void template_variables_are_filled(void **state)
{
    struct api_rig *rig = *state;

    /* label_values(sel, l), label_names(re), metrics(re), query_result(q), a bare selector */
    GET_JSON("/api/v1/label/model/values?limit=40000&start=1699996400&end=1700000000"
             "&match[]=llm_requests_total",
             RIG_SUCCESS("[\"a\"]"));
    assert_form(rig, "/api/v1/labels", "match[]=%7B__name__%3D~%22.*requests.*%22%7D", 200,
                RIG_SUCCESS("[\"__name__\",\"model\"]"));
    GET_JSON("/api/v1/label/__name__/values?match[]=%7B__name__%3D~%22llm_r.*%22%7D",
             RIG_SUCCESS("[\"llm_requests_total\"]"));
    assert_form(rig, "/api/v1/query", "query=count%28llm_requests_total%29&time=1700000000", 200,
                RIG_SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},"
                            "\"value\":[1700000000,\"1\"]}]}"));
    assert_form(rig, "/api/v1/series", "match[]=llm_requests_total&start=1699996400&end=1700000000",
                200, RIG_SUCCESS("[{\"__name__\":\"llm_requests_total\",\"model\":\"a\"}]"));
    /* ad hoc filters and scoped ones: everything in the URL of a POST with an empty form */
    assert_form(rig,
                "/api/v1/labels?match[]=%7B__name__%3D~%22llm_requests_total%22,model%3D%22a"
                "%22%7D",
                "", 200, RIG_SUCCESS("[\"__name__\",\"model\"]"));
    assert_form(rig,
                "/api/v1/label/model/values?match[]=llm_latency_seconds_bucket"
                "&match[]=llm_requests_total",
                "", 200, RIG_SUCCESS("[\"a\",\"b\"]"));
}

static void drilldown_asks_with_everything_in_the_url(void **state)
{
    struct api_rig *rig = *state;

    assert_form(
        rig,
        "/api/v1/query?query=group%20by%20(__name__)%20(%7B__name__!=%22%22%7D)%20unless%20("
        "group%20by%20(__name__)%20(%7B__name__!=%22%22%7D%20offset%201h))",
        "", 200,
        RIG_SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":"
                    "\"llm_latency_seconds_bucket\"},\"value\":[1700000000,\"1\"]},"
                    "{\"metric\":{\"__name__\":\"llm_requests_total\"},"
                    "\"value\":[1700000000,\"1\"]},{\"metric\":{\"__name__\":\"my.gauge\"},"
                    "\"value\":[1700000000,\"1\"]}]}"));
    GET_JSON("/api/v1/metadata?metric=llm_requests_total",
             RIG_SUCCESS("{\"llm_requests_total\":[{\"type\":\"counter\",\"help\":\"Requests.\","
                         "\"unit\":\"\"}]}"));
    GET_JSON("/api/v1/metadata?metric=unknown", RIG_SUCCESS("{}"));
    assert_form(rig, "/api/v1/query",
                "query=%7B%22my.gauge%22%2C__ignore_usage__%3D%22%22%7D+and+"
                "%7B%22my.gauge%22%7D+%3E+-Inf&time=1700000000",
                200,
                RIG_SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":"
                            "\"my.gauge\",\"l.x\":\"1\"},\"value\":[1700000000,\"4\"]}]}"));
    assert_contains(
        rig,
        "/api/v1/query_range?query=sum%20by%20(le)%20(rate(llm_latency_seconds_bucket"
        "%7B__ignore_usage__=%22%22%7D%5B2m%5D))&start=1700000000&end=1700000000&step=15",
        "{\"metric\":{\"le\":\"+Inf\"},\"values\":[[1700000000,\"1\"]]}");
}

static void errors_are_shown_as_prometheus_shapes_them(void **state)
{
    struct api_rig *rig = *state;

    assert_form(rig, "/api/v1/query_range", "query=up&start=0&end=11001&step=1", 400,
                RIG_BAD_DATA("exceeded maximum resolution of 11,000 points per timeseries. Try "
                             "decreasing the query resolution (?step=XX)"));
    assert_form(rig, "/api/v1/query", "query=sum%28&time=1", 400,
                RIG_BAD_DATA("invalid parameter \\\"query\\\": 1:5: parse error: unclosed left "
                             "parenthesis"));
    rig_get(rig,
            "/api/v1/query?query=llm_latency_seconds_bucket/on(model)llm_latency_seconds_bucket",
            422, HTTP_JSON, NULL);
}

/* ---- alerts ---- */

static void alert_list_and_annotations_are_filled(void **state)
{
    static const char rules[] = "groups:\n- name: g\n  interval: 1h\n  rules:\n"
                                "  - record: r\n    expr: sum(llm_requests_total)\n"
                                "  - alert: A\n    expr: llm_requests_total > 1\n    for: 1h\n"
                                "    labels: {severity: page}\n";
    struct api_rig *rig = *state;
    struct alerting_options o = alerting_options_default(rig->db);
    struct alerting *alerting;
    const char *files[1];
    void *dir;
    char *path;
    FILE *f;

    assert_int_equal(temp_dir_make(&dir), 0);
    path = temp_dir_file(dir, "rules.yml");
    f = fopen(path, "w");
    fputs(rules, f);
    fclose(f);
    files[0] = path;
    o.rule_files = files;
    o.n_rule_files = 1;
    assert_int_equal(alerting_start(&o, &alerting, NULL), OK);
    api_set_alerting(rig->api, alerting);
    assert_contains(rig, "/api/v1/rules?group_limit=100&rule_name=x&file=y&rule_group=z&type=alert",
                    "\"name\":\"A\",\"query\":\"llm_requests_total > 1\"");
    assert_contains(rig, "/api/v1/rules?group_limit=1&exclude_alerts=true", "\"alerts\":null");
    assert_contains(rig, "/api/v1/rules?type=record", "\"type\":\"recording\"");
    assert_contains(rig, "/api/v1/alerts", "{\"alerts\":[");
    rig_append(rig, "ALERTS alertname=A alertstate=firing", 30000, 1);
    assert_form(
        rig, "/api/v1/query_range",
        "query=ALERTS%7Balertstate%3D%22firing%22%7D&start=1699999940&end=1700000000&step=60", 200,
        RIG_SUCCESS("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"__name__\":"
                    "\"ALERTS\",\"alertname\":\"A\",\"alertstate\":\"firing\"},"
                    "\"values\":[[1700000000,\"1\"]]}]}"));
    http_server_stop(rig->server, 5000); /* before what it shows */
    rig->server = NULL;
    alerting_stop(alerting, 0);
    free(path);
    assert_int_equal(temp_dir_remove(&dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
        WITH_RIG(save_and_test_succeeds),
        WITH_RIG(rule_editor_is_not_offered),
        WITH_RIG(start_of_a_page_finds_names_types_and_exemplars),
        WITH_RIG(explore_asks_range_and_instant),
        WITH_RIG(metric_browser_narrows_by_words_and_labels),
        WITH_RIG(template_variables_are_filled),
        WITH_RIG(drilldown_asks_with_everything_in_the_url),
        WITH_RIG(errors_are_shown_as_prometheus_shapes_them),
        WITH_RIG(alert_list_and_annotations_are_filled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
