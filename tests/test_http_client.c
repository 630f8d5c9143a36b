#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/http_client.h"

#include "http_peer.h"

#include "base/banned.h"

/* One server, and what the last request to it was. The server's thread holds the lock while it is
 * here, and post() takes it before and after a request, so that each sees what the other wrote. */
struct rig {
    pthread_mutex_t lock;
    struct http_peer *peer;
    struct peer_reply reply;
    char *head, *body;
    unsigned connection;
    atomic_uint n_requests;
    char url[64];
    struct arena *arena;
    struct err err;
    struct buf answer;
    int status;
    int64_t retry_after_s;
};

static struct peer_reply record(void *ctx, const struct peer_request *r)
{
    struct rig *rig = ctx;
    struct peer_reply reply;

    pthread_mutex_lock(&rig->lock);
    free(rig->head);
    free(rig->body);
    rig->head = strdup(r->head);
    rig->body = strndup(r->body.ptr, r->body.len);
    rig->connection = r->connection;
    atomic_fetch_add(&rig->n_requests, 1);
    reply = rig->reply;
    pthread_mutex_unlock(&rig->lock);
    return reply;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    pthread_mutex_init(&rig->lock, NULL);
    rig->peer = http_peer_start(0, record, rig);
    snprintf(rig->url, sizeof rig->url, "http://127.0.0.1:%u/api?key=hidden",
             http_peer_port(rig->peer));
    rig->arena = arena_new(0);
    rig->err = err_in(rig->arena);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    http_peer_stop(rig->peer);
    free(rig->head);
    free(rig->body);
    buf_free(&rig->answer);
    arena_free(rig->arena);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

static enum errc post(struct rig *rig, struct http_client *c, const char *body)
{
    struct bytes bytes = { (const uint8_t *)body, strlen(body) };
    enum errc rc;

    rig->status = -1;
    rig->retry_after_s = -1;
    pthread_mutex_lock(&rig->lock);
    pthread_mutex_unlock(&rig->lock);
    rc = http_client_post(c, rig->url, "application/json", bytes, &rig->status, &rig->retry_after_s,
                          &rig->answer, &rig->err);
    pthread_mutex_lock(&rig->lock);
    pthread_mutex_unlock(&rig->lock);
    return rc;
}

static struct http_client *client(const struct http_client_options *options)
{
    struct http_client *c = http_client_new(options);

    assert_non_null(c);
    return c;
}

static void an_answer_of_any_status_is_given(void **state)
{
    static const struct {
        struct peer_reply reply;
        int64_t retry_after_s;
    } cases[] = {
        { { .status = 200, .body = "{}" }, 0 },
        { { .status = 204 }, 0 },
        { { .status = 301, .headers = "Location: /elsewhere\r\n" }, 0 },
        { { .status = 400, .body = "{\"message\":\"bad\"}" }, 0 },
        { { .status = 401, .headers = "WWW-Authenticate: Basic\r\n" }, 0 },
        { { .status = 429, .headers = "Retry-After: 17\r\n" }, 17 },
        { { .status = 503, .headers = "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n" }, 0 },
        { { .status = 503, .headers = "Retry-After: soon\r\n" }, 0 },
    };
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *body = cases[i].reply.body ? cases[i].reply.body : "";

        rig->reply = cases[i].reply;
        assert_int_equal(post(rig, c, "[1]"), OK);
        assert_int_equal(rig->status, cases[i].reply.status);
        assert_int_equal(rig->retry_after_s, cases[i].retry_after_s);
        assert_int_equal(rig->answer.len, strlen(body));
        assert_memory_equal(rig->answer.ptr ? (char *)rig->answer.ptr : "", body, strlen(body));
    }
    assert_int_equal(atomic_load(&rig->n_requests),
                     ARRAY_LEN(cases)); /* the redirect: not followed */
    http_client_free(c);
}

static void a_retry_after_date_is_seconds_from_now(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);
    time_t then = time(NULL) + 3600;
    char header[128];
    struct tm tm;

    strftime(header, sizeof header, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n",
             gmtime_r(&then, &tm));
    rig->reply = (struct peer_reply){ .status = 503, .headers = header };
    assert_int_equal(post(rig, c, "x"), OK);
    assert_in_range(rig->retry_after_s, 3500, 3601);
    http_client_free(c);
}

static void a_request_is_what_was_asked_for(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);
    struct peer_request r = { 0 };
    char value[128];

    rig->reply.status = 200;
    assert_int_equal(post(rig, c, "[{\"a\":1}]"), OK);
    r.head = rig->head;
    assert_non_null(strstr(rig->head, "POST /api?key=hidden HTTP/1.1\r\n"));
    assert_string_equal(rig->body, "[{\"a\":1}]");
    assert_string_equal(peer_header(&r, "Content-Type", value, sizeof value), "application/json");
    assert_string_equal(peer_header(&r, "User-Agent", value, sizeof value), "Tidemark");
    assert_null(peer_header(&r, "Authorization", value, sizeof value));
    assert_int_equal(post(rig, c, ""), OK);
    assert_string_equal(rig->body, "");
    http_client_free(c);
}

static void credentials_are_sent(void **state)
{
    static const struct {
        const char *user, *password, *authorization, *header;
    } cases[] = {
        { "ann", "s3:cret", "", "Basic YW5uOnMzOmNyZXQ=" },
        { "ann", "", "", "Basic YW5uOg==" },
        { "", "", "Bearer abc.def", "Bearer abc.def" },
    };
    struct rig *rig = *state;

    rig->reply.status = 200;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_client_options options = http_client_options_default();
        struct peer_request r = { 0 };
        struct http_client *c;
        char value[128];

        options.user = str_from(cases[i].user);
        options.password = str_from(cases[i].password);
        options.authorization = str_from(cases[i].authorization);
        c = client(&options);
        assert_int_equal(post(rig, c, "x"), OK);
        r.head = rig->head;
        assert_string_equal(peer_header(&r, "Authorization", value, sizeof value), cases[i].header);
        http_client_free(c);
    }
}

static void the_connection_is_kept(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);

    rig->reply = (struct peer_reply){ .status = 200, .body = "{}" };
    for (int i = 0; i < 5; i++)
        assert_int_equal(post(rig, c, "x"), OK);
    assert_int_equal(rig->connection, 1);
    http_client_free(c);
}

static void a_server_that_came_back_is_connected_to_again(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);
    uint16_t port = http_peer_port(rig->peer);

    rig->reply.status = 200;
    assert_int_equal(post(rig, c, "x"), OK);
    http_peer_stop(rig->peer);
    rig->peer = NULL;
    assert_int_equal(post(rig, c, "x"), ERR_UNAVAILABLE);
    assert_non_null(strstr(rig->err.msg, "/api: "));
    assert_null(strstr(rig->err.msg, "hidden"));
    rig->peer = http_peer_start(port, record, rig);
    assert_int_equal(post(rig, c, "x"), OK);
    http_client_free(c);
}

static void a_long_answer_is_cut(void **state)
{
    static const struct {
        size_t max, filler, kept;
    } cases[] = {
        { 10, 0, 4 }, { 4, 0, 4 }, { 3, 0, 3 }, { 0, 0, 0 }, { 1000, 64 << 20, 1000 },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_client_options options = http_client_options_default();
        struct http_client *c;

        options.max_answer_bytes = cases[i].max;
        rig->reply =
            (struct peer_reply){ .status = 500, .body = "oops", .filler_bytes = cases[i].filler };
        c = client(&options);
        assert_int_equal(post(rig, c, "x"), OK);
        assert_int_equal(rig->status, 500);
        assert_int_equal(rig->answer.len, cases[i].kept);
        rig->reply.filler_bytes = 0;
        assert_int_equal(post(rig, c, "x"), OK); /* and the client goes on */
        http_client_free(c);
    }
}

static void an_answer_that_breaks_off_is_none(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c = client(&options);

    rig->reply = (struct peer_reply){ .status = 200, .body = "half", .break_off = true };
    assert_int_equal(post(rig, c, "x"), ERR_UNAVAILABLE);
    http_client_free(c);
}

static void a_server_that_hangs_times_out(void **state)
{
    struct rig *rig = *state;
    struct http_client_options options = http_client_options_default();
    struct http_client *c;

    options.timeout_ms = 50;
    c = client(&options);
    rig->reply.hang = true;
    assert_int_equal(post(rig, c, "x"), ERR_TIMEOUT);
    assert_non_null(strstr(rig->err.msg, "timed out"));
    assert_null(strstr(rig->err.msg, "hidden"));
    http_client_free(c);
}

struct canceler {
    struct rig *rig;
    atomic_bool cancel;
};

static void *cancel_when_asked(void *arg)
{
    struct canceler *c = arg;

    while (atomic_load(&c->rig->n_requests) == 0)
        sched_yield();
    atomic_store(&c->cancel, true);
    return NULL;
}

static void a_running_request_is_canceled(void **state)
{
    struct rig *rig = *state;
    struct canceler canceler = { .rig = rig };
    struct http_client_options options = http_client_options_default();
    int64_t start_ns = clock_mono_ns(&clock_system);
    struct http_client *c;
    pthread_t thread;

    options.timeout_ms = 600000;
    options.cancel = &canceler.cancel;
    c = client(&options);
    rig->reply.hang = true;
    pthread_create(&thread, NULL, cancel_when_asked, &canceler);
    assert_int_equal(post(rig, c, "x"), ERR_CANCELED);
    pthread_join(thread, NULL);
    assert_in_range(clock_mono_ns(&clock_system) - start_ns, 0, INT64_C(20000000000));
    assert_int_equal(post(rig, c, "x"), ERR_CANCELED); /* before it has begun, too */
    assert_int_equal(atomic_load(&rig->n_requests), 1);
    http_client_free(c);
}

static void urls_are_checked(void **state)
{
    static const struct {
        struct str url;
        enum errc rc;
        const char *text;
    } cases[] = {
        { { "http://a", 8 }, OK, "" },
        { { "http://alertmanager:9093/prefix", 31 }, OK, "" },
        { { "https://[::1]:9093/", 19 }, OK, "" },
        { { "HTTP://10.0.0.1/x?y=z", 21 }, OK, "" },
        { { "", 0 }, ERR_BAD_CONFIG, "no http:// or https:// URL" },
        { { "alertmanager:9093", 17 }, ERR_BAD_CONFIG, "" },
        { { "/api", 4 }, ERR_BAD_CONFIG, "no http:// or https:// URL" },
        { { "http://", 7 }, ERR_BAD_CONFIG, "host" },
        { { "http:///x", 9 }, ERR_BAD_CONFIG, "host" },
        { { "http:/a", 7 }, ERR_BAD_CONFIG, "no http:// or https:// URL" },
        { { "ftp://a/x", 9 }, ERR_BAD_CONFIG, "only http:// and https://" },
        { { "file:///etc/passwd", 18 }, ERR_BAD_CONFIG, "no http:// or https:// URL" },
        { { "http://ann:secret@a/", 20 }, ERR_BAD_CONFIG, "user or password" },
        { { "http://ann@a/", 13 }, ERR_BAD_CONFIG, "user or password" },
        { { "http://a/#x", 11 }, ERR_BAD_CONFIG, "fragment" },
        { { "http://a:99999/", 15 }, ERR_BAD_CONFIG, "ort" },
        { { "http://a b/", 11 }, ERR_BAD_CONFIG, "" },
        { { "http://a/\r\nX: y", 15 }, ERR_BAD_CONFIG, "" },
        { { "http://a/\0b", 11 }, ERR_BAD_CONFIG, "NUL" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum errc rc = http_url_check(cases[i].url, &rig->err);

        if (rc != cases[i].rc || (rc && !strstr(rig->err.msg, cases[i].text)))
            fail_msg("%.*s: %s", STR_ARG(cases[i].url), rc ? rig->err.msg : "accepted");
        assert_true(!rc || !strstr(rig->err.msg, "secret"));
    }
}

static void long_urls_are_refused(void **state)
{
    struct rig *rig = *state;
    struct buf url = { 0 };

    buf_text(&url, "http://a/");
    while (url.len < 2048)
        buf_u8(&url, 'a');
    assert_int_equal(http_url_check(buf_as_str(&url), &rig->err), OK);
    buf_u8(&url, 'a');
    assert_int_equal(http_url_check(buf_as_str(&url), &rig->err), ERR_BAD_CONFIG);
    assert_non_null(strstr(rig->err.msg, "2049"));
    buf_free(&url);
}

static void header_values_are_checked(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(http_authorization_check(STR(""), &rig->err), OK);
    assert_int_equal(http_authorization_check(STR("Bearer x\xc3\xa9"), &rig->err), OK);
    assert_int_equal(http_authorization_check(STR("Bearer s3cret\r\nX: y"), &rig->err),
                     ERR_BAD_CONFIG);
    assert_null(strstr(rig->err.msg, "s3cret"));
    assert_int_equal(http_authorization_check(STR("x\x7f"), &rig->err), ERR_BAD_CONFIG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(an_answer_of_any_status_is_given),
        TEST(a_retry_after_date_is_seconds_from_now),
        TEST(a_request_is_what_was_asked_for),
        TEST(credentials_are_sent),
        TEST(the_connection_is_kept),
        TEST(a_server_that_came_back_is_connected_to_again),
        TEST(a_long_answer_is_cut),
        TEST(an_answer_that_breaks_off_is_none),
        TEST(a_server_that_hangs_times_out),
        TEST(a_running_request_is_canceled),
        TEST(urls_are_checked),
        TEST(long_urls_are_refused),
        TEST(header_values_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
