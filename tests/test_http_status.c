#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api_rig.h"

#include "base/banned.h"

static void census_counts_metrics_labels_and_pairs(void **state)
{
    struct api_rig *rig = *state;

    rig_append(rig, "a job=x", 0, 1);
    rig_append(rig, "a job=yy", 0, 1);
    rig_append(rig, "b job=x", 1000, 1);
    rig_get(rig, "/api/v1/status/tsdb?limit=2", 200, "application/json",
            RIG_SUCCESS("{\"headStats\":{\"numSeries\":3,\"numLabelPairs\":4,\"chunkCount\":3,"
                        "\"minTime\":1699999999000,\"maxTime\":1700000000000},"
                        "\"seriesCountByMetricName\":[{\"name\":\"a\",\"value\":2},"
                        "{\"name\":\"b\",\"value\":1}],"
                        "\"labelValueCountByLabelName\":[{\"name\":\"__name__\",\"value\":2},"
                        "{\"name\":\"job\",\"value\":2}],"
                        "\"memoryInBytesByLabelName\":[{\"name\":\"job\",\"value\":4},"
                        "{\"name\":\"__name__\",\"value\":3}],"
                        "\"seriesCountByLabelValuePair\":[{\"name\":\"__name__=a\",\"value\":2},"
                        "{\"name\":\"job=x\",\"value\":2}]}"));
    rig_get(rig, "/api/v1/status/tsdb?limit=0", 400, "application/json",
            RIG_BAD_DATA("invalid parameter \\\"limit\\\": limit must be a positive number"));
    rig_get(rig, "/api/v1/status/tsdb?limit=10001", 400, "application/json",
            RIG_BAD_DATA("invalid parameter \\\"limit\\\": limit must not exceed 10000"));
}

static void empty_store_has_an_empty_census(void **state)
{
    rig_get(*state, "/api/v1/status/tsdb", 200, "application/json",
            RIG_SUCCESS("{\"headStats\":{\"numSeries\":0,\"numLabelPairs\":0,\"chunkCount\":0,"
                        "\"minTime\":0,\"maxTime\":0},\"seriesCountByMetricName\":[],"
                        "\"labelValueCountByLabelName\":[],\"memoryInBytesByLabelName\":[],"
                        "\"seriesCountByLabelValuePair\":[]}"));
}

static void replay_is_shown_before_the_store_is_there(void **state)
{
    struct api_options o = rig_options();
    struct api_rig *starting = rig_new(&o, false);

    rig_get(starting, "/api/v1/status/walreplay", 200, "application/json",
            RIG_SUCCESS("{\"min\":0,\"max\":0,\"current\":0,\"state\":\"in progress\"}"));
    rig_get(starting, "/-/ready", 503, HTTP_TEXT, "Service Unavailable\n");
    rig_get(starting, "/-/healthy", 200, HTTP_TEXT, NULL);
    rig_get(starting, "/federate?match[]=up", 503, HTTP_TEXT, "Service Unavailable\n");
    rig_free(starting);
    rig_get(*state, "/api/v1/status/walreplay", 200, "application/json",
            RIG_SUCCESS("{\"min\":0,\"max\":0,\"current\":0,\"state\":\"done\"}"));
}

static void graph_shows_what_a_link_asks_for(void **state)
{
    struct api_rig *rig = *state;
    struct answer a;

    rig_append(rig, "up job=<b>", 0, 1.5);
    a = client_get(rig->port, "/graph?g0.expr=up&g0.tab=1");
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Type"), "text/html; charset=utf-8");
    assert_non_null(answer_header(&a, "Content-Security-Policy"));
    assert_non_null(strstr(answer_text(&a), "<td>up{job=&quot;&lt;b&gt;&quot;}</td><td>1.5</td>"));
    assert_non_null(strstr(answer_text(&a), "href=\"api/v1/query?query=up\""));
    answer_free(&a);
    a = client_get(rig->port, "/graph?g0.expr=%3Cscript%3E");
    assert_null(strstr(answer_text(&a), "<script>"));
    assert_non_null(strstr(answer_text(&a), "parse error"));
    answer_free(&a);
    rig_get(rig, "/graph", 200, "text/html; charset=utf-8", NULL);
}

/* ---- lifecycle ---- */

struct calls {
    int reloads, quits;
};

static enum errc on_reload(void *ctx, struct err *err)
{
    struct calls *c = ctx;

    if (++c->reloads > 1)
        return err_set(err, ERR_BAD_CONFIG, 0, "rules.yml:3:5: bad");
    return OK;
}

static void on_quit(void *ctx)
{
    struct calls *c = ctx;

    c->quits++;
}

static struct answer post(struct api_rig *rig, const char *path_and_headers)
{
    struct buf head = { 0 };
    struct answer a;

    buf_printf(&head, "POST %s", path_and_headers);
    buf_u8(&head, 0);
    a = client_ask(rig->port, (char *)head.ptr, (struct bytes){ (const uint8_t *)"", 0 });
    buf_free(&head);
    return a;
}

static void lifecycle_is_off_by_default(void **state)
{
    static const char *const paths[] = { "/-/reload", "/-/quit" };
    struct api_rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct buf head = { 0 };
        struct answer a;

        buf_printf(&head, "%s HTTP/1.1", paths[i]);
        buf_u8(&head, 0);
        a = post(rig, (char *)head.ptr);
        assert_int_equal(a.status, 403);
        assert_string_equal(answer_text(&a), "Lifecycle API is not enabled.\n");
        answer_free(&a);
        rig_get(rig, paths[i], 405, HTTP_TEXT, NULL);
        buf_free(&head);
    }
}

static void lifecycle_obeys_its_own_site_only(void **state)
{
    struct calls calls = { 0 };
    struct api_options o = rig_options();
    static const struct {
        const char *head;
        int status, reloads, quits;
    } cases[] = {
        { "/-/reload HTTP/1.1\r\nOrigin: http://evil.example", 403, 0, 0 },
        { "/-/reload HTTP/1.1\r\nOrigin: http://notlocalhost", 403, 0, 0 },
        { "/-/reload HTTP/1.1\r\nSec-Fetch-Site: cross-site", 403, 0, 0 },
        { "/-/reload HTTP/1.1\r\nOrigin: http://localhost", 200, 1, 0 },
        { "/-/reload HTTP/1.1", 500, 2, 0 },
        { "/-/quit HTTP/1.1\r\nSec-Fetch-Site: same-site", 403, 2, 0 },
        { "/-/quit HTTP/1.1\r\nSec-Fetch-Site: same-origin", 200, 2, 1 },
    };
    struct api_rig *rig;

    (void)state;
    o.enable_lifecycle = true;
    o.reload = on_reload;
    o.quit = on_quit;
    o.reload_ctx = &calls;
    rig = rig_new(&o, true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = post(rig, cases[i].head);

        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(calls.reloads, cases[i].reloads);
        assert_int_equal(calls.quits, cases[i].quits);
        if (a.status == 500)
            assert_string_equal(answer_text(&a), "failed to reload config: rules.yml:3:5: bad\n");
        answer_free(&a);
    }
    rig_free(rig);
}

static void administration_obeys_its_own_site_only(void **state)
{
    struct api_options o = rig_options();
    struct api_rig *rig;
    struct answer a;

    (void)state;
    o.enable_admin = true;
    rig = rig_new(&o, true);
    a = post(rig, "/api/v1/admin/tsdb/delete_series?match[]=up HTTP/1.1\r\n"
                  "Origin: http://evil.example");
    assert_int_equal(a.status, 403);
    answer_free(&a);
    a = post(rig, "/api/v1/admin/tsdb/delete_series?match[]=up HTTP/1.1");
    assert_int_equal(a.status, 422); /* which a store in memory cannot do */
    answer_free(&a);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
        WITH_RIG(census_counts_metrics_labels_and_pairs),
        WITH_RIG(empty_store_has_an_empty_census),
        WITH_RIG(replay_is_shown_before_the_store_is_there),
        WITH_RIG(graph_shows_what_a_link_asks_for),
        WITH_RIG(lifecycle_is_off_by_default),
        WITH_RIG(lifecycle_obeys_its_own_site_only),
        WITH_RIG(administration_obeys_its_own_site_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
