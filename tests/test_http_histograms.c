#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "db_tools.h"
#include "http/api.h"
#include "http/json_histogram.h"
#include "http/server.h"
#include "http_client.h"
#include "promql_histogram.h"
#include "promql_load.h"

#include "base/arena.h"
#include "base/banned.h"

static void buckets_have_rules_and_come_in_order(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        { "", "{\"count\":\"0\",\"sum\":\"0\"}" },
        { "schema:0 count:4 sum:5.5 z_bucket:1 z_bucket_w:0.001 buckets:[0 2] n_buckets:[1]",
          "{\"count\":\"4\",\"sum\":\"5.5\",\"buckets\":[[1,\"-1\",\"-0.5\",\"1\"],"
          "[3,\"-0.001\",\"0.001\",\"1\"],[0,\"1\",\"2\",\"2\"]]}" },
        { "schema:-53 count:3 sum:1e-7 custom_values:[1 2] buckets:[1 0 2]",
          "{\"count\":\"3\",\"sum\":\"1e-07\",\"buckets\":[[3,\"-Inf\",\"1\",\"1\"],"
          "[0,\"2\",\"+Inf\",\"2\"]]}" },
        { "schema:1 count:1 sum:NaN offset:-1 buckets:[0.5 0.5]",
          "{\"count\":\"1\",\"sum\":\"NaN\",\"buckets\":[[0,\"0.5\",\"0.7071067811865475\",\"0.5\"]"
          ","
          "[0,\"0.7071067811865475\",\"1\",\"0.5\"]]}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct buf b = { 0 };
        struct histogram h;

        assert_true(histogram_text_parse(str_from(cases[i].text), a, &h));
        json_histogram(&b, &h);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.ptr, cases[i].json);
        buf_free(&b);
        arena_free(a);
    }
}

/* ---- over HTTP ---- */

struct fixture {
    struct db *db;
    struct api *api;
    struct http_server *server;
    uint16_t port;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct db_options o = test_db_options(NULL);
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();

    assert_int_equal(db_open(&o, &f->db, NULL), OK);
    load_series(f->db, 60000,
                "mixed 1 {{schema:0 count:2 sum:3 buckets:[2]}} 2\n"
                "many{l=\"a\"} {{schema:8 count:99 sum:3 buckets:[9 9 9 9 9 9 9 9 9 9 9]}}x400\n"
                "many{l=\"b\"} 1x400\n");
    f->api = api_new(&ao);
    so.service = api_service(f->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &f->server, NULL), OK);
    f->port = so.listener.port;
    api_set_db(f->api, f->db);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 5000);
    db_close(f->db);
    api_free(f->api);
    free(f);
    return 0;
}

#define H      "{\"count\":\"2\",\"sum\":\"3\",\"buckets\":[[0,\"0.5\",\"1\",\"2\"]]}"
#define RESULT "{\"status\":\"success\",\"data\":{\"resultType\":"
#define NAME   "[{\"metric\":{\"__name__\":\"mixed\"},"

static void results_hold_both_kinds(void **state)
{
    static const struct {
        const char *target, *body;
    } cases[] = {
        { "query?query=mixed&time=60",
          RESULT "\"vector\",\"result\":" NAME "\"histogram\":[60," H "]}]}}" },
        { "query?query=mixed&time=120",
          RESULT "\"vector\",\"result\":" NAME "\"value\":[120,\"2\"]}]}}" },
        { "query?query=mixed%5B2m%5D&time=120",
          RESULT "\"matrix\",\"result\":" NAME "\"values\":[[120,\"2\"]],\"histograms\":[[60," H
                 "]]}]}}" },
        { "query?query=mixed%5B1m%5D&time=60",
          RESULT "\"matrix\",\"result\":" NAME "\"histograms\":[[60," H "]]}]}}" },
        { "query_range?query=mixed&start=0&end=120&step=60",
          RESULT "\"matrix\",\"result\":" NAME "\"values\":[[0,\"1\"],[120,\"2\"]],"
                 "\"histograms\":[[60," H "]]}]}}" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char target[256];
        struct answer a;

        snprintf(target, sizeof target, "/api/v1/%s", cases[i].target);
        a = client_get(f->port, target);
        assert_string_equal(answer_text(&a), cases[i].body);
        answer_free(&a);
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

static void long_results_are_whole(void **state) /* they are written in pieces */
{
    struct fixture *f = *state;
    struct answer a =
        client_get(f->port, "/api/v1/query_range?query=many&start=0&end=24000&step=60");
    const char *text = answer_text(&a);

    assert_int_equal(count_of(text, "\"count\":\"99\""), 401);
    assert_int_equal(count_of(text, ",\"1\"]"), 401);
    assert_int_equal(count_of(text, "\"metric\""), 2);
    assert_int_equal(count_of(text, "\"histograms\":["), 1);
    assert_int_equal(count_of(text, "\"values\":["), 1);
    assert_non_null(strstr(text, "]]}]}}"));
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_have_rules_and_come_in_order),
        cmocka_unit_test_setup_teardown(results_hold_both_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(long_results_are_whole, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
