#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/manager.h"
#include "alert/notifier.h"
#include "base/arena.h"
#include "db_tools.h"
#include "http/api.h"
#include "http/server.h"
#include "http_client.h"

#include "base/banned.h"

/* A whole server over a store in memory, and rules that were evaluated once, at a fixed time. */
struct fixture {
    struct fake_clock clock;
    struct api *api;
    struct db *db;
    struct rule_manager *rules;
    struct notifier *notifier;
    struct http_server *server;
    uint16_t port;
    int n_reloads;
    bool reload_fails;
};

static const char yaml[] = "groups:\n"
                           "- name: g1\n"
                           "  interval: 30s\n"
                           "  limit: 7\n"
                           "  rules:\n"
                           "  - record: job:m:sum\n"
                           "    expr: sum by(job) (m)\n"
                           "    labels: {team: x}\n"
                           "  - alert: High\n"
                           "    expr: m > 1\n"
                           "    for: 5m\n"
                           "    keep_firing_for: 1m30s\n"
                           "    labels: {severity: page, t: '{{ $value }}'}\n"
                           "    annotations: {summary: '{{ $labels.job }} & co'}\n"
                           "- name: g2\n"
                           "  rules:\n"
                           "  - alert: Broken\n"
                           "    expr: m * on() m\n"
                           "- name: g3\n"
                           "  rules:\n"
                           "  - alert: Now\n"
                           "    expr: m == 0.5\n";

static enum errc reload(void *ctx, struct err *err)
{
    struct fixture *f = ctx;

    f->n_reloads++;
    return f->reload_fails ? err_set(err, ERR_BAD_CONFIG, 0, "rules.yml: bad") : OK;
}

static void load_rules(struct fixture *f)
{
    const struct rule_settings settings = { .interval_ms = 60000,
                                            .external_url = STR("http://me") };
    struct arena *a = arena_new(0);
    struct diags d = { .arena = a };
    struct rule_set *set = rule_set_new();

    assert_int_equal(rules_read(str_from(yaml), "rules.yml", set, &d), OK);
    assert_int_equal(rule_manager_load(f->rules, set, &settings, NULL), OK);
    arena_free(a);
}

static void start_rules(struct fixture *f)
{
    struct db_options o = test_db_options(NULL);
    struct rule_manager_options mo;
    struct sample a = { f->clock.wall_ms, 2 }, b = { f->clock.wall_ms, 0.5 };

    o.clock = &f->clock.clock;
    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    api_set_db(f->api, f->db);
    mo = rule_manager_options_default(f->db);
    mo.clock = &f->clock.clock;
    mo.n_threads = 0;
    assert_int_equal(rule_manager_new(&mo, &f->rules, NULL), OK);
    assert_true(append_series(f->db, "m job=a", &a, 1, NULL));
    assert_true(append_series(f->db, "m job=b", &b, 1, NULL));
    load_rules(f);
    api_set_rules(f->api, f->rules, f->notifier);
}

static int setup_with(void **state, bool lifecycle)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();

    fake_clock_init(&f->clock, 1700000000000);
    ao.clock = &f->clock.clock;
    ao.enable_lifecycle = lifecycle;
    ao.reload = reload;
    ao.reload_ctx = f;
    f->api = api_new(&ao);
    so.service = api_service(f->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &f->server, NULL), OK);
    f->port = so.listener.port;
    *state = f;
    return 0;
}

static int setup_empty(void **state)
{
    return setup_with(state, false);
}

static int setup_lifecycle(void **state)
{
    return setup_with(state, true);
}

static int setup(void **state)
{
    const struct alertmanager unreachable = { .url = STR("http://127.0.0.1:1/am"),
                                              .timeout_ms = 1000 };
    struct notifier_options no = notifier_options_default();
    struct fixture *f;

    setup_empty(state);
    f = *state;
    no.alertmanagers = &unreachable;
    no.n_alertmanagers = 1;
    assert_int_equal(notifier_new(&no, &f->notifier, NULL), OK);
    start_rules(f);
    return 0;
}

static int setup_evaluated(void **state)
{
    struct fixture *f;

    setup(state);
    f = *state;
    rule_manager_evaluate_at(f->rules, f->clock.wall_ms);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 5000);
    rule_manager_free(f->rules);
    notifier_free(f->notifier, 0);
    db_close(f->db);
    api_free(f->api);
    free(f);
    return 0;
}

static void assert_get(struct fixture *f, const char *target, int status, const char *body)
{
    struct answer a = client_get(f->port, target);

    assert_string_equal(answer_text(&a), body);
    assert_int_equal(a.status, status);
    answer_free(&a);
}

#define SUCCESS(data)  "{\"status\":\"success\",\"data\":" data "}"
#define BAD_DATA(text) "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"
#define GROUPS(list)   SUCCESS("{\"groups\":[" list "]}")
#define DONE                                                                                       \
    "\"health\":\"ok\",\"evaluationTime\":0,\"lastEvaluation\":\"2023-11-14T22:13:20.000Z\","
#define RECORD                                                                                     \
    "{\"name\":\"job:m:sum\",\"query\":\"sum by (job) (m)\",\"labels\":{\"team\":\"x\"}," DONE     \
    "\"type\":\"recording\"}"
#define HIGH_ALERT                                                                                 \
    "{\"labels\":{\"alertname\":\"High\",\"job\":\"a\",\"severity\":\"page\",\"t\":\"2\"},"        \
    "\"annotations\":{\"summary\":\"a & co\"},\"state\":\"pending\","                              \
    "\"activeAt\":\"2023-11-14T22:13:20.000Z\",\"value\":\"2e+00\"}"
#define HIGH(alerts)                                                                               \
    "{\"state\":\"pending\",\"name\":\"High\",\"query\":\"m > 1\",\"duration\":300,"               \
    "\"keepFiringFor\":90,\"labels\":{\"severity\":\"page\",\"t\":\"{{ $value }}\"},"              \
    "\"annotations\":{\"summary\":\"{{ $labels.job }} & co\"},\"alerts\":" alerts "," DONE         \
    "\"type\":\"alerting\"}"
#define NOW_ALERT                                                                                  \
    "{\"labels\":{\"alertname\":\"Now\",\"job\":\"b\"},\"annotations\":{},\"state\":\"firing\","   \
    "\"activeAt\":\"2023-11-14T22:13:20.000Z\",\"value\":\"5e-01\"}"
#define NOW(alerts)                                                                                \
    "{\"state\":\"firing\",\"name\":\"Now\",\"query\":\"m == 0.5\",\"duration\":0,"                \
    "\"keepFiringFor\":0,\"labels\":{},\"annotations\":{},\"alerts\":" alerts "," DONE             \
    "\"type\":\"alerting\"}"
#define GROUP(name, rules, interval, limit)                                                        \
    "{\"name\":\"" name "\",\"file\":\"rules.yml\",\"rules\":[" rules "],\"interval\":" interval   \
    ",\"limit\":" limit ",\"evaluationTime\":0,"                                                   \
    "\"lastEvaluation\":\"2023-11-14T22:13:20.000Z\"}"

/* ---- listing ---- */

static void rules_are_listed_exactly(void **state)
{
    static const struct {
        const char *query, *body;
    } cases[] = {
        { "rule_group[]=g1", GROUPS(GROUP("g1", RECORD "," HIGH("[" HIGH_ALERT "]"), "30", "7")) },
        { "rule_group[]=g1&type=record", GROUPS(GROUP("g1", RECORD, "30", "7")) },
        { "rule_group[]=g1&type=alert&exclude_alerts=true",
          GROUPS(GROUP("g1", HIGH("null"), "30", "7")) },
        { "type=record&rule_group[]=g2&rule_group[]=g3", GROUPS("") },
        { "rule_name[]=Now", GROUPS(GROUP("g3", NOW("[" NOW_ALERT "]"), "60", "0")) },
        { "rule_name[]=Now&file[]=rules.yml&exclude_alerts=1",
          GROUPS(GROUP("g3", NOW("null"), "60", "0")) },
        { "file[]=other.yml", GROUPS("") },
        { "match[]=%7Bteam%3D%22x%22%7D", GROUPS(GROUP("g1", RECORD, "30", "7")) },
        { "match[]=%7Bseverity%3D~%22pa.*%22%7D&match[]=%7Bteam%3D%22y%22%7D&exclude_alerts=t",
          GROUPS(GROUP("g1", HIGH("null"), "30", "7")) },
        { "match[]=%7Bt%3D~%22.%2B%22%7D", GROUPS("") }, /* a template has no value */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];

        snprintf(target, sizeof target, "/api/v1/rules?%s", cases[i].query);
        assert_get(*state, target, 200, cases[i].body);
    }
}

static void a_failing_rule_says_why(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/api/v1/rules?rule_name[]=Broken");

    assert_int_equal(a.status, 200);
    assert_non_null(strstr(answer_text(&a), "\"state\":\"inactive\""));
    assert_non_null(strstr(answer_text(&a),
                           "\"alerts\":[],\"health\":\"err\",\"lastError\":\"found duplicate "
                           "series for the match group {} on the right hand-side"));
    answer_free(&a);
}

static void before_the_first_evaluation_health_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/api/v1/rules?rule_name[]=Now");

    assert_non_null(strstr(answer_text(&a), "\"state\":\"inactive\",\"name\":\"Now\""));
    assert_non_null(strstr(answer_text(&a),
                           "\"health\":\"unknown\",\"evaluationTime\":0,"
                           "\"lastEvaluation\":\"0001-01-01T00:00:00Z\",\"type\":\"alerting\"}]"));
    answer_free(&a);
}

/* Follows the tokens; returns the names of the groups. */
static void pages(struct fixture *f, const char *query, char *names, size_t size)
{
    char token[64] = "";

    names[0] = '\0';
    for (int n = 0; n < 10; n++) {
        char target[256];
        struct answer a;
        const char *next;

        snprintf(target, sizeof target, "/api/v1/rules?%s%s%s", query,
                 token[0] ? "&group_next_token=" : "", token);
        a = client_get(f->port, target);
        assert_int_equal(a.status, 200);
        for (const char *p = answer_text(&a); (p = strstr(p, "\"name\":\"g")); p++)
            snprintf(names + strlen(names), size - strlen(names), "%.2s ", p + 8);
        next = strstr(answer_text(&a), "\"groupNextToken\":\"");
        if (next)
            snprintf(token, sizeof token, "%.16s", next + strlen("\"groupNextToken\":\""));
        answer_free(&a);
        snprintf(names + strlen(names), size - strlen(names), "| ");
        if (!next)
            return;
    }
    fail_msg("pages without end");
}

static void groups_come_in_pages(void **state)
{
    char names[64];

    pages(*state, "group_limit=1", names, sizeof names);
    assert_string_equal(names, "g1 | g2 | g3 | ");
    pages(*state, "group_limit=2", names, sizeof names);
    assert_string_equal(names, "g1 g2 | g3 | ");
    pages(*state, "group_limit=3", names, sizeof names);
    assert_string_equal(names, "g1 g2 g3 | ");
    pages(*state, "group_limit=1&type=alert&rule_group[]=g1&rule_group[]=g3", names, sizeof names);
    assert_string_equal(names, "g1 | g3 | ");
}

static void bad_parameters_are_named(void **state)
{
    static const struct {
        const char *query, *body;
    } cases[] = {
        { "type=x", BAD_DATA("invalid parameter \\\"type\\\": not supported value \\\"x\\\"") },
        { "exclude_alerts=yes",
          BAD_DATA("invalid parameter \\\"exclude_alerts\\\": must be true or false") },
        { "group_limit=0",
          BAD_DATA("invalid parameter \\\"group_limit\\\": group_limit needs to be a "
                   "number greater than 0") },
        { "group_next_token=x",
          BAD_DATA(
              "invalid parameter \\\"group_next_token\\\": group_limit needs to be specified in "
              "order to paginate over the groups") },
        { "group_limit=1&group_next_token=x",
          BAD_DATA("invalid parameter \\\"group_next_token\\\": no group has this token. were rule "
                   "groups changed?") },
        { "match[]=%7B%7D",
          BAD_DATA("invalid parameter \\\"match[]\\\": match[] must contain at least one non-empty "
                   "matcher") },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];

        snprintf(target, sizeof target, "/api/v1/rules?%s", cases[i].query);
        assert_get(*state, target, 400, cases[i].body);
    }
}

static void alerts_and_alertmanagers_are_listed(void **state)
{
    assert_get(*state, "/api/v1/alerts", 200,
               SUCCESS("{\"alerts\":[" HIGH_ALERT "," NOW_ALERT "]}"));
    assert_get(
        *state, "/api/v1/alertmanagers", 200,
        SUCCESS("{\"activeAlertmanagers\":[{\"url\":\"http://127.0.0.1:1/am/api/v2/alerts\"}],"
                "\"droppedAlertmanagers\":[]}"));
}

static void without_rules_everything_is_empty(void **state)
{
    assert_get(*state, "/api/v1/rules", 200, GROUPS(""));
    assert_get(*state, "/api/v1/alerts", 200, SUCCESS("{\"alerts\":[]}"));
    assert_get(*state, "/api/v1/alertmanagers", 200,
               SUCCESS("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}"));
}

static void metrics_have_the_usual_names(void **state)
{
    static const char *const lines[] = {
        "\nprometheus_rule_evaluations_total{rule_group=\"rules.yml;g1\"} 2\n",
        "\nprometheus_rule_evaluation_failures_total{rule_group=\"rules.yml;g2\"} 1\n",
        "\nprometheus_rule_group_iterations_total{rule_group=\"rules.yml;g1\"} 1\n",
        "\nprometheus_rule_group_iterations_missed_total{rule_group=\"rules.yml;g1\"} 0\n",
        "\nprometheus_rule_group_interval_seconds{rule_group=\"rules.yml;g1\"} 30\n",
        "\nprometheus_rule_group_last_evaluation_timestamp_seconds{rule_group=\"rules.yml;g1\"} "
        "1.7e+09\n",
        "\nprometheus_rule_group_rules{rule_group=\"rules.yml;g1\"} 2\n",
        "\nprometheus_rule_group_last_evaluation_samples{rule_group=\"rules.yml;g1\"} 4\n",
        "\nprometheus_template_text_expansions_total 2\n",
        "\nprometheus_notifications_sent_total{alertmanager=\"http://127.0.0.1:1/am/api/v2/"
        "alerts\"} "
        "0\n",
        "\nprometheus_notifications_queue_length{alertmanager=\"http://127.0.0.1:1/am/api/v2/"
        "alerts\"} ",
        "\nprometheus_notifications_queue_capacity 10000\n",
        "\nprometheus_notifications_alertmanagers_discovered 1\n",
    };
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/metrics");

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(answer_text(&a), lines[i]))
            fail_msg("missing: %s", lines[i]);
    answer_free(&a);
}

/* ---- reloading ---- */

static int post_reload(struct fixture *f, const char *method, const char *text)
{
    char head[64];
    struct answer a;
    int status;

    snprintf(head, sizeof head, "%s /-/reload HTTP/1.1", method);
    a = client_ask(f->port, head, (struct bytes){ 0 });
    status = a.status;
    if (text)
        assert_string_equal(answer_text(&a), text);
    answer_free(&a);
    return status;
}

static void reloading_is_forbidden_by_default(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(post_reload(f, "POST", "Lifecycle API is not enabled.\n"), 403);
    assert_int_equal(f->n_reloads, 0);
}

static void a_reload_is_done_and_its_failure_told(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(post_reload(f, "GET", NULL), 405);
    assert_int_equal(f->n_reloads, 0);
    assert_int_equal(post_reload(f, "POST", ""), 200);
    assert_int_equal(post_reload(f, "PUT", ""), 200);
    assert_int_equal(f->n_reloads, 2);
    f->reload_fails = true;
    assert_int_equal(post_reload(f, "POST", "failed to reload config: rules.yml: bad\n"), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_are_listed_exactly, setup_evaluated, teardown),
        cmocka_unit_test_setup_teardown(a_failing_rule_says_why, setup_evaluated, teardown),
        cmocka_unit_test_setup_teardown(before_the_first_evaluation_health_is_unknown, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(groups_come_in_pages, setup_evaluated, teardown),
        cmocka_unit_test_setup_teardown(bad_parameters_are_named, setup_evaluated, teardown),
        cmocka_unit_test_setup_teardown(alerts_and_alertmanagers_are_listed, setup_evaluated,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_rules_everything_is_empty, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(metrics_have_the_usual_names, setup_evaluated, teardown),
        cmocka_unit_test_setup_teardown(reloading_is_forbidden_by_default, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(a_reload_is_done_and_its_failure_told, setup_lifecycle,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
