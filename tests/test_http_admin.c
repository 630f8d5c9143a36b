/* The endpoints of operators, over a store on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "db_tools.h"
#include "http/api.h"
#include "http/server.h"
#include "http_client.h"
#include "storage/db.h"

#include "base/banned.h"

enum { NOW_S = 1700000000 };

struct fixture {
    char *dir;
    struct fake_clock clock;
    struct api *api;
    struct db *db;
    struct http_server *server;
    uint16_t port;
};

static int start(void **state, bool admin)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct api_options ao = api_options_default();
    struct http_server_options so = http_server_options_default();
    struct db_options o;

    f->dir = test_folder_new();
    fake_clock_init(&f->clock, NOW_S * 1000LL);
    o = test_db_options(f->dir);
    o.clock = &f->clock.clock;
    f->db = open_db(&o);
    ao.clock = &f->clock.clock;
    ao.enable_admin = admin;
    f->api = api_new(&ao);
    api_set_db(f->api, f->db);
    so.service = api_service(f->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &f->server, NULL), OK);
    f->port = so.listener.port;
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return start(state, true);
}

static int set_up_off(void **state)
{
    return start(state, false);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 5000);
    db_close(f->db);
    api_free(f->api);
    test_folder_remove(f->dir);
    free(f);
    return 0;
}

static struct answer post(struct fixture *f, const char *target)
{
    char head[512];

    snprintf(head, sizeof head, "POST %s HTTP/1.1", target);
    return client_ask(f->port, head, (struct bytes){ 0 });
}

static void assert_post(struct fixture *f, const char *target, int status, const char *body)
{
    struct answer a = post(f, target);

    assert_string_equal(answer_text(&a), body);
    assert_int_equal(a.status, status);
    answer_free(&a);
}

static void add(struct fixture *f, const char *series, int64_t t_ms, double v)
{
    struct sample s = { t_ms, v };

    assert_true(append_series(f->db, series, &s, 1, NULL));
}

#define ADMIN          "/api/v1/admin/tsdb/"
#define BAD_DATA(text) "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"

static void nothing_is_done_unless_the_flag_is_set(void **state)
{
    static const char *const targets[] = { ADMIN "flush", ADMIN "flush?compact=true",
                                           ADMIN "delete_series?match[]=m",
                                           ADMIN "clean_tombstones", ADMIN "snapshot" };
    struct db_stats s;
    struct fixture *f = *state;

    add(f, "m", NOW_S * 1000LL, 1);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        assert_post(f, targets[i], 500,
                    "{\"status\":\"error\",\"errorType\":\"unavailable\",\"error\":"
                    "\"admin APIs disabled\"}");
    db_stats(f->db, &s);
    assert_int_equal(s.head_samples, 1);
}

static void flush_empties_memory_and_compacts_on_request(void **state)
{
    struct fixture *f = *state;
    struct db_stats s;

    for (int i = 0; i < 3; i++) {
        add(f, "m", NOW_S * 1000LL - i, 1);
        assert_post(f, ADMIN "flush", 204, "");
    }
    db_stats(f->db, &s);
    assert_int_equal(s.head_samples, 0);
    assert_int_equal(s.flushes, 3);
    assert_int_equal(s.compactions, 0);
    assert_post(f, ADMIN "flush?compact=1", 204, "");
    db_stats(f->db, &s);
    assert_int_equal(s.compactions, 1);
    assert_post(f, ADMIN "flush?compact=yes", 400,
                BAD_DATA("invalid parameter \\\"compact\\\": unable to parse boolean \\\"yes\\\" "
                         "(true or false)"));
}

static void only_post_and_put_are_taken(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, ADMIN "flush");

    assert_int_equal(a.status, 405);
    answer_free(&a);
}

static size_t n_samples(struct fixture *f, const char *series)
{
    struct column c = read_series(f->db, series, INT64_MIN, INT64_MAX);
    size_t n = c.n;

    column_free(&c);
    return n;
}

static void series_are_deleted_within_a_range(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        add(f, "m job=a", (NOW_S - i) * 1000LL, 1);
        add(f, "m job=b", (NOW_S - i) * 1000LL, 1);
        add(f, "n job=b", (NOW_S - i) * 1000LL, 1);
    }
    assert_post(f, ADMIN "delete_series?match[]=m{job=\"a\"}&end=1699999998", 204, "");
    assert_int_equal(n_samples(f, "m job=a"), 2);
    assert_post(f, ADMIN "delete_series?match[]={job=\"a\"}&match[]=n&start=1699999999.5", 204, "");
    assert_int_equal(n_samples(f, "m job=a"), 1);
    assert_int_equal(n_samples(f, "m job=b"), 3);
    assert_int_equal(n_samples(f, "n job=b"), 2);
    assert_post(f, ADMIN "clean_tombstones", 204, "");
    assert_int_equal(n_samples(f, "n job=b"), 2);
}

static void a_snapshot_answers_with_its_name(void **state)
{
    static const char before[] = "{\"status\":\"success\",\"data\":{\"name\":\"20231114T221320Z-";
    struct fixture *f = *state;
    struct answer a;

    add(f, "m", NOW_S * 1000LL, 1);
    a = post(f, ADMIN "snapshot?skip_head=false");
    assert_int_equal(a.status, 200);
    assert_int_equal(strncmp(answer_text(&a), before, strlen(before)), 0);
    assert_int_equal(strlen(answer_text(&a)), strlen(before) + 16 + 3);
    answer_free(&a);
    assert_post(f, ADMIN "snapshot?skip_head=x", 400,
                BAD_DATA("invalid parameter \\\"skip_head\\\": unable to parse boolean \\\"x\\\" "
                         "(true or false)"));
}

static void a_bad_request_deletes_nothing(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    add(f, "m", NOW_S * 1000LL, 1);
    assert_post(f, ADMIN "delete_series", 400, BAD_DATA("no match[] parameter provided"));
    a = post(f, ADMIN "delete_series?match[]=m&match[]={");
    assert_int_equal(a.status, 400);
    answer_free(&a);
    a = post(f, ADMIN "delete_series?match[]=m&start=x");
    assert_int_equal(a.status, 400);
    answer_free(&a);
    assert_int_equal(n_samples(f, "m"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_done_unless_the_flag_is_set, set_up_off,
                                        tear_down),
        TEST(flush_empties_memory_and_compacts_on_request),
        TEST(only_post_and_put_are_taken),
        TEST(series_are_deleted_within_a_range),
        TEST(a_snapshot_answers_with_its_name),
        TEST(a_bad_request_deletes_nothing),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
