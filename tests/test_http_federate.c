#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alert/alerting.h"
#include "api_rig.h"
#include "http/server.h"
#include "storage/sample.h"
#include "temp_dir.h"

#include "base/banned.h"

#define TEXT_004 "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

static void newest_samples_are_listed_by_name(void **state)
{
    struct api_rig *rig = *state;

    rig_append(rig, "b job=x", 60000, 1);
    rig_append(rig, "b job=x", 30000, 2.5);
    rig_append(rig, "b job=x instance=i", 1000, 1e-7);
    rig_append(rig, "a zone=\"q\\", 500, 1e6);
    rig_append(rig, "a job=gone", 2000, 1);
    rig_append(rig, "a job=gone", 1000, stale_nan());
    rig_append(rig, "a job=old", 300000, 1); /* one lookback ago: just outside */
    rig_append(rig, "a job=just", 299999, 1);
    rig_get(rig, "/federate?match[]=%7B__name__=~%22a%7Cb%22%7D&match[]=b", 200, TEXT_004,
            "# TYPE a untyped\n"
            "a{job=\"just\",instance=\"\"} 1 1699999700001\n"
            "a{zone=\"\\\"q\\\\\",instance=\"\"} 1e+06 1699999999500\n"
            "# TYPE b untyped\n"
            "b{instance=\"i\",job=\"x\"} 1e-07 1699999999000\n"
            "b{job=\"x\",instance=\"\"} 2.5 1699999970000\n");
}

static void nothing_asked_is_an_empty_page(void **state)
{
    struct api_rig *rig = *state;

    rig_append(rig, "up", 0, 1);
    rig_get(rig, "/federate", 200, TEXT_004, "");
    rig_get(rig, "/federate?match[]=nothing", 200, TEXT_004, "");
}

static void faults_are_plain_texts(void **state)
{
    rig_get(*state, "/federate?match[]=%7B", 400, HTTP_TEXT,
            "invalid parameter \"match[]\": 1:2: parse error: unexpected end of input inside "
            "braces\n");
    rig_get(*state, "/federate?match[]=%7B%7D", 400, HTTP_TEXT,
            "invalid parameter \"match[]\": match[] must contain at least one non-empty "
            "matcher\n");
    rig_get(*state, "/federate?match[]=%zz", 400, HTTP_TEXT, "invalid URL escape \"%zz\"\n");
}

static void names_outside_the_classic_alphabet_depend_on_the_reader(void **state)
{
    struct api_rig *rig = *state;
    struct answer a;

    rig_append(rig, "my.metric l.x=1", 0, 1);
    rig_get(rig, "/federate?match[]=%7B%22my.metric%22%7D", 200, TEXT_004,
            "# TYPE my_metric untyped\nmy_metric{l_x=\"1\",instance=\"\"} 1 1700000000000\n");
    a = client_ask(rig->port,
                   "GET /federate?match[]=%7B%22my.metric%22%7D HTTP/1.1\r\n"
                   "Accept: text/plain;version=1.0.0;escaping=allow-utf-8",
                   (struct bytes){ 0 });
    assert_string_equal(answer_text(&a), "# TYPE \"my.metric\" untyped\n"
                                         "{\"my.metric\",\"l.x\"=\"1\",instance=\"\"} 1 "
                                         "1700000000000\n");
    answer_free(&a);
}

static void many_series_are_streamed(void **state)
{
    struct api_rig *rig = *state;
    struct answer a;
    size_t lines = 0;

    for (int i = 0; i < 3000; i++) {
        char series[64];

        snprintf(series, sizeof series, "many_%d job=x", i % 7);
        snprintf(series + strlen(series), 16, " n=%d", i);
        rig_append(rig, series, 0, i);
    }
    a = client_get(rig->port, "/federate?match[]=%7Bjob=%22x%22%7D");
    assert_true(a.chunked && a.complete);
    for (size_t i = 0; i < a.body.len; i++)
        lines += a.body.ptr[i] == '\n';
    assert_int_equal(lines, 3007);
    answer_free(&a);
}

static void external_labels_are_added_where_they_lack(void **state)
{
    struct api_rig *rig = *state;
    void *dir;
    char *config;
    struct alerting_options o = alerting_options_default(rig->db);
    struct alerting *alerting;
    FILE *f;

    assert_int_equal(temp_dir_make(&dir), 0);
    config = temp_dir_file(dir, "c.yml");
    f = fopen(config, "w");
    fputs("global:\n  external_labels: {zone: z, job: never, instance: e}\n", f);
    fclose(f);
    o.config_file = config;
    assert_int_equal(alerting_start(&o, &alerting, NULL), OK);
    api_set_alerting(rig->api, alerting);
    rig_append(rig, "up job=x", 0, 1);
    rig_get(rig, "/federate?match[]=up", 200, TEXT_004,
            "# TYPE up untyped\nup{job=\"x\",instance=\"e\",zone=\"z\"} 1 1700000000000\n");
    rig_get(rig, "/api/v1/status/config", 200, HTTP_JSON,
            RIG_SUCCESS("{\"yaml\":\"global:\\n  evaluation_interval: 1m\\n"
                        "  rule_query_offset: 0s\\n  external_labels:\\n"
                        "    \\\"instance\\\": \\\"e\\\"\\n    \\\"job\\\": \\\"never\\\"\\n"
                        "    \\\"zone\\\": \\\"z\\\"\\n\"}"));
    http_server_stop(rig->server, 5000); /* before what it shows */
    rig->server = NULL;
    alerting_stop(alerting, 0);
    free(config);
    assert_int_equal(temp_dir_remove(&dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
        WITH_RIG(newest_samples_are_listed_by_name),
        WITH_RIG(nothing_asked_is_an_empty_page),
        WITH_RIG(faults_are_plain_texts),
        WITH_RIG(names_outside_the_classic_alphabet_depend_on_the_reader),
        WITH_RIG(many_series_are_streamed),
        WITH_RIG(external_labels_are_added_where_they_lack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
