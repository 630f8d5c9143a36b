#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/gzip.h"
#include "http/server.h"
#include "http_client.h"

#include "base/banned.h"

enum { LIMIT = 1 << 20, STREAM_LINES = 200000 };

/* What the test handlers and the tests share. */
struct fixture {
    struct http_server *server;
    uint16_t port;
    sem_t entered; /* posted by `block` when it runs */
    atomic_bool release, canceled;
    atomic_int counted, streams_freed;
};

/* Says what arrived: method, path argument, parameters with NUL shown as \0. */
static void echo(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    (void)ctx;
    rs->content_type = HTTP_TEXT;
    buf_printf(&rs->body, "%d %.*s", (int)rq->method, STR_ARG(rq->path_arg));
    for (size_t i = 0; i < rq->params.n; i++) {
        struct http_pair p = rq->params.items[i];

        buf_printf(&rs->body, " [%.*s=", STR_ARG(p.name));
        for (size_t k = 0; k < p.value.len; k++)
            buf_printf(&rs->body, p.value.ptr[k] ? "%c" : "\\0", p.value.ptr[k]);
        buf_text(&rs->body, "]");
    }
    if (rq->params_error)
        buf_printf(&rs->body, " error: %s", rq->params_error);
}

static void measure(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    uint64_t sum = 0;

    (void)ctx;
    for (size_t i = 0; i < rq->body.len; i++)
        sum += rq->body.ptr[i];
    http_response_text(rs, 200, "%zu %llu", rq->body.len, (unsigned long long)sum);
}

/* Runs until it is released or the client has left. */
static void block(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct fixture *f = ctx;

    sem_post(&f->entered);
    while (!atomic_load(&f->release)) {
        if (atomic_load(rq->cancel)) {
            atomic_store(&f->canceled, true);
            break;
        }
        sched_yield();
    }
    http_response_text(rs, 200, "released");
}

struct lines {
    struct fixture *f;
    size_t next;
};

static bool more_lines(void *ctx, struct buf *out)
{
    struct lines *l = ctx;

    for (size_t i = 0; i < 100; i++)
        buf_printf(out, "line %zu\n", l->next++);
    return l->next < STREAM_LINES;
}

static void free_lines(void *ctx)
{
    struct lines *l = ctx;

    atomic_fetch_add(&l->f->streams_freed, 1);
    free(l);
}

static void stream(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct lines *l = calloc(1, sizeof *l);

    (void)rq;
    l->f = ctx;
    rs->content_type = HTTP_TEXT;
    rs->next = more_lines;
    rs->done = free_lines;
    rs->ctx = l;
}

/* The same lines, each piece made where queries run. */
static bool more_slow_lines(void *ctx, struct buf *out)
{
    char name[16];

    assert_int_equal(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    assert_string_equal(name, "http query");
    for (int i = 0; i < 100; i++) /* larger than a piece */
        if (!more_lines(ctx, out))
            return false;
    return true;
}

static void slow_stream(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    stream(ctx, rq, rs);
    rs->next = more_slow_lines;
    rs->next_waits = true;
}

static void count(void *ctx, const struct route *route, unsigned status, int64_t took_ns)
{
    struct fixture *f = ctx;

    (void)route;
    assert_true(status >= 200 && took_ns >= 0);
    atomic_fetch_add(&f->counted, 1);
}

static const struct route routes[] = {
    { "/echo", HTTP_GET | HTTP_POST, HTTP_CHEAP, LIMIT, echo, 0 },
    { "/label/*/values", HTTP_GET, HTTP_CHEAP, LIMIT, echo, 0 },
    { "/write", HTTP_POST, HTTP_WRITE, LIMIT, measure, 0 },
    { "/block", HTTP_GET, HTTP_QUERY, LIMIT, block, 0 },
    { "/operate", HTTP_POST, HTTP_ADMIN, LIMIT, measure, 0 },
    { "/stream", HTTP_GET, HTTP_QUERY, LIMIT, stream, 0 },
    { "/slow_stream", HTTP_GET, HTTP_QUERY, LIMIT, slow_stream, 0 },
};

static struct http_service service = { .routes = routes,
                                       .n_routes = ARRAY_LEN(routes),
                                       .count = count };

static void start_with(struct fixture *f, struct http_server_options o)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    service.ctx = f;
    o.service = &service;
    assert_int_equal(listen_open("127.0.0.1:0", &o.listener, &err), OK);
    assert_int_equal(http_server_start(&o, &f->server, &err), OK);
    f->port = o.listener.port;
    arena_free(a);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    sem_init(&f->entered, 0, 0);
    start_with(f, http_server_options_default());
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->release, true);
    http_server_stop(f->server, 5000);
    sem_destroy(&f->entered);
    free(f);
    return 0;
}

/* The same server with other limits. */
static void restart_with(struct fixture *f, struct http_server_options o)
{
    http_server_stop(f->server, 5000);
    start_with(f, o);
}

static void answers_by_path_and_method(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *body, *header, *value;
    } cases[] = {
        { "GET /echo HTTP/1.1", 200, "1 ", "Content-Type", "text/plain; charset=utf-8" },
        { "GET /echo?a=1&b=x+y%21&a=2&&c HTTP/1.1", 200, "1  [a=1] [b=x y!] [a=2] [c=]",
          "X-Content-Type-Options", "nosniff" },
        { "GET /echo?a=%zz HTTP/1.1", 200, "1  [a=] error: invalid URL escape \"%zz\"", NULL,
          NULL },
        { "GET /echo?q=a%00b HTTP/1.1", 200, "1  [q=a\\0b]", NULL, NULL },
        { "HEAD /echo HTTP/1.1", 200, "", "Content-Length", "2" },
        { "GET /label/a%2Fb%20c/values HTTP/1.1", 200, "1 a/b c", NULL, NULL },
        { "GET /label/a%2/values HTTP/1.1", 400, "invalid URL escape \"%2\"\n", NULL, NULL },
        { "GET /label//values HTTP/1.1", 404, "404 page not found\n", NULL, NULL },
        { "GET /nowhere HTTP/1.1", 404, "404 page not found\n", "Content-Type",
          "text/plain; charset=utf-8" },
        { "DELETE /echo HTTP/1.1", 405, "Method Not Allowed\n", "Allow",
          "GET, HEAD, POST, OPTIONS" },
        { "GET /write HTTP/1.1", 405, "Method Not Allowed\n", "Allow", "POST, OPTIONS" },
        { "BREW /echo HTTP/1.1", 405, "Method Not Allowed\n", NULL, NULL },
        { "OPTIONS /echo HTTP/1.1", 204, "", "Access-Control-Allow-Methods", "GET, POST, OPTIONS" },
        { "GET /echo HTTP/1.1\r\nOrigin: http://x", 200, "1 ", "Access-Control-Allow-Origin", "*" },
        { "GET /echo HTTP/1.1", 200, "1 ", "Access-Control-Allow-Origin", NULL },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = client_ask(f->port, cases[i].head, (struct bytes){ 0 });

        assert_int_equal(a.status, cases[i].status);
        assert_string_equal(answer_text(&a), cases[i].body);
        if (cases[i].value)
            assert_string_equal(answer_header(&a, cases[i].header), cases[i].value);
        else if (cases[i].header)
            assert_null(answer_header(&a, cases[i].header));
        answer_free(&a);
    }
    assert_int_equal(atomic_load(&f->counted), ARRAY_LEN(cases));
}

static void form_values_come_before_those_of_the_url(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_form(f->port, "/echo?q=url&m=3", "q=form&m=1&m=2");

    assert_string_equal(answer_text(&a), "4  [q=form] [m=1] [m=2] [q=url] [m=3]");
    answer_free(&a);
    a = client_ask(f->port, "POST /echo?q=url HTTP/1.1\r\nContent-Type: application/json",
                   (struct bytes){ (const uint8_t *)"q=form", 6 });
    assert_string_equal(answer_text(&a), "4  [q=url]");
    answer_free(&a);
}

static void gzipped_form_is_decoded(void **state)
{
    struct fixture *f = *state;
    struct gzip_writer *w = gzip_writer_new();
    struct buf packed = { 0 };
    struct answer a;

    gzip_writer_add(w, (struct bytes){ (const uint8_t *)"q=form", 6 }, true, &packed);
    gzip_writer_free(w);
    a = client_ask(f->port,
                   "POST /echo HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                   "Content-Encoding: gzip",
                   buf_as_bytes(&packed));
    assert_string_equal(answer_text(&a), "4  [q=form]");
    answer_free(&a);
    a = client_ask(f->port,
                   "POST /echo HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                   "Content-Encoding: br",
                   buf_as_bytes(&packed));
    assert_int_equal(a.status, 415);
    answer_free(&a);
    buf_free(&packed);
}

static void stream_is_compressed_while_it_is_made(void **state)
{
    struct fixture *f = *state;
    struct answer plain = client_get(f->port, "/stream");
    struct answer a =
        client_ask(f->port, "GET /stream HTTP/1.1\r\nAccept-Encoding: gzip", (struct bytes){ 0 });
    struct buf out = { 0 };

    assert_true(a.chunked && a.complete);
    assert_string_equal(answer_header(&a, "Content-Encoding"), "gzip");
    assert_string_equal(answer_header(&a, "Vary"), "Accept-Encoding");
    assert_true(a.body.len < plain.body.len / 3);
    assert_int_equal(gzip_decode(buf_as_bytes(&a.body), 64 << 20, &out, NULL), OK);
    assert_int_equal(out.len, plain.body.len);
    assert_memory_equal(out.ptr, plain.body.ptr, out.len);
    buf_free(&out);
    answer_free(&a);
    answer_free(&plain);
}

static void connection_is_kept_for_further_requests(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);

    for (int i = 0; i < 3; i++) { /* two at once: pipelined */
        struct answer a;

        assert_true(client_text(fd, "GET /echo?n=1 HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"));
        a = client_read(fd, false);
        assert_int_equal(a.status, 200);
        answer_free(&a);
        a = client_read(fd, false);
        assert_int_equal(a.status, 404);
        answer_free(&a);
    }
    close(fd);
}

static void chunked_upload_is_put_together(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    struct answer a;

    assert_true(client_text(fd,
                            "POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "3\r\nabc\r\n"));
    assert_true(client_text(fd, "2;name=value\r\nde\r\n0\r\n\r\n"));
    a = client_read(fd, false);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_text(&a), "5 495\n");
    answer_free(&a);
    close(fd);
}

static void body_over_the_limit_gets_413(void **state)
{
    struct fixture *f = *state;
    static uint8_t body[LIMIT + 1];
    struct answer a = client_ask(f->port, "POST /write HTTP/1.1", (struct bytes){ body, LIMIT });
    int fd;

    assert_int_equal(a.status, 200);
    answer_free(&a);
    a = client_ask(f->port, "POST /write HTTP/1.1", (struct bytes){ body, LIMIT + 1 });
    assert_int_equal(a.status, 413);
    assert_string_equal(answer_text(&a),
                        "request body is larger than the limit of 1048576 bytes\n");
    answer_free(&a);

    fd = client_connect(f->port); /* of unknown length */
    client_text(fd,
                "POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
    client_send(fd, body, sizeof body);
    client_text(fd, "\r\n0\r\n\r\n");
    a = client_read(fd, false);
    assert_int_equal(a.status, 413);
    answer_free(&a);
    close(fd);

    fd = client_connect(f->port); /* one that asks first is told before it sends */
    client_text(fd, "POST /write HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    "Content-Length: 2000000\r\n\r\n");
    a = client_read(fd, false);
    assert_int_equal(a.status, 413);
    answer_free(&a);
    close(fd);

    fd = client_connect(f->port); /* and one that would never end is cut off */
    client_text(fd, "POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 64 && client_text(fd, "100001\r\n") && client_send(fd, body, sizeof body)
                    && client_text(fd, "\r\n");
         i++)
        assert_true(i < 63);
    close(fd);
}

static void bodies_together_are_limited(void **state)
{
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();
    static uint8_t body[LIMIT];
    struct answer a;

    o.max_bodies_bytes = LIMIT / 2;
    restart_with(f, o);
    a = client_ask(f->port, "POST /write HTTP/1.1", (struct bytes){ body, LIMIT });
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    answer_free(&a);
    for (int i = 0; i < 4; i++) { /* what was taken is given back */
        a = client_ask(f->port, "POST /write HTTP/1.1", (struct bytes){ body, LIMIT / 2 });
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
}

static void large_response_is_streamed_whole(void **state)
{
    struct fixture *f = *state;
    struct answer a = client_get(f->port, "/stream");
    char last[32];
    size_t n = (size_t)snprintf(last, sizeof last, "line %d\n", STREAM_LINES - 1);

    assert_true(a.chunked && a.complete);
    assert_memory_equal(a.body.ptr, "line 0\nline 1\n", 14);
    assert_memory_equal(a.body.ptr + a.body.len - n, last, n);
    answer_free(&a);
    a = client_ask(f->port, "HEAD /stream HTTP/1.1", (struct bytes){ 0 });
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void pieces_that_take_long_are_made_by_workers(void **state)
{
    static const char *const heads[] = { "GET /slow_stream HTTP/1.1",
                                         "GET /slow_stream HTTP/1.1\r\nAccept-Encoding: gzip" };
    struct fixture *f = *state;
    struct answer plain = client_get(f->port, "/stream");

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct answer a = client_ask(f->port, heads[i], (struct bytes){ 0 });
        struct buf out = { 0 };

        assert_true(a.chunked && a.complete);
        if (i)
            assert_int_equal(gzip_decode(buf_as_bytes(&a.body), 64 << 20, &out, NULL), OK);
        else
            buf_add(&out, a.body.ptr, a.body.len);
        assert_int_equal(out.len, plain.body.len);
        assert_memory_equal(out.ptr, plain.body.ptr, out.len);
        buf_free(&out);
        answer_free(&a);
    }
    answer_free(&plain);
}

static void readers_of_slow_streams_may_leave_or_outlive_the_server(void **state)
{
    struct fixture *f = *state;
    int fds[6];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        struct buf line = { 0 };

        fds[i] = client_connect(f->port);
        client_text(fds[i], "GET /slow_stream HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(client_line(fds[i], &line));
        buf_free(&line);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds) / 2; i++)
        close(fds[i]);
    while (atomic_load(&f->streams_freed) < (int)ARRAY_LEN(fds) / 2)
        sched_yield();
    http_server_stop(f->server, 1);
    f->server = NULL;
    assert_int_equal(atomic_load(&f->streams_freed), ARRAY_LEN(fds));
    for (size_t i = ARRAY_LEN(fds) / 2; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

/* 400 connections that send a byte now and then, or nothing, or take nothing of what they asked
 * for, beside one normal client. */
static void slow_connections_delay_nobody(void **state)
{
    enum { N = 400 };
    static const char *const parts[] = { "", "GET /echo HTTP/1.1\r\nX: ",
                                         "POST /write HTTP/1.1\r\nHost: x\r\n"
                                         "Content-Length: 1000\r\n\r\n",
                                         "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" };
    struct fixture *f = *state;
    static int fds[N];

    for (size_t i = 0; i < N; i++) {
        fds[i] = client_connect(f->port);
        client_text(fds[i], parts[i % ARRAY_LEN(parts)]);
    }
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < N; i++)
            if (i % ARRAY_LEN(parts) != 3)
                client_text(fds[i], "a");
        for (int i = 0; i < 10; i++) {
            struct answer a = client_get(f->port, "/echo?n=1");

            assert_int_equal(a.status, 200);
            answer_free(&a);
        }
    }
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
}

/* A byte now and then keeps no connection: the time for a whole request is limited. */
static void trickling_request_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();
    struct timeval brief = { .tv_usec = 10000 };
    char c;
    int fd;

    o.header_timeout_ms = 100;
    restart_with(f, o);
    fd = client_connect(f->port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    client_text(fd, "GET /echo HTTP/1.1\r\nX: ");
    while (client_text(fd, "a") && recv(fd, &c, 1, 0) < 0) /* waits a moment for nothing */
        ;
    close(fd);
}

static void slow_readers_and_blocked_queries_hold_up_nobody(void **state)
{
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();
    int slow[8], blocked[2];
    static uint8_t body[1000];

    o.n_workers[HTTP_QUERY] = 2;
    restart_with(f, o);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) { /* take the head of a large answer, no more */
        struct buf line = { 0 };

        slow[i] = client_connect(f->port);
        client_text(slow[i], "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(client_line(slow[i], &line));
        buf_free(&line);
    }
    for (size_t i = 0; i < ARRAY_LEN(blocked); i++) { /* all query workers */
        blocked[i] = client_connect(f->port);
        client_text(blocked[i], "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
        sem_wait(&f->entered);
    }
    for (int i = 0; i < 20; i++) {
        struct answer a = client_get(f->port, "/echo");

        assert_int_equal(a.status, 200);
        answer_free(&a);
        a = client_ask(f->port, "POST /write HTTP/1.1", (struct bytes){ body, sizeof body });
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    atomic_store(&f->release, true);
    for (size_t i = 0; i < ARRAY_LEN(blocked); i++) {
        struct answer a = client_read(blocked[i], false);

        assert_string_equal(answer_text(&a), "released\n");
        answer_free(&a);
        close(blocked[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        close(slow[i]);
}

static void client_that_leaves_cancels_its_query(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    struct answer a;

    client_text(fd, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    sem_wait(&f->entered);
    close(fd);
    while (!atomic_load(&f->canceled))
        sched_yield();
    a = client_get(f->port, "/echo");
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void queue_has_an_end(void **state)
{
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();
    int running, queued;
    struct answer a;

    o.n_workers[HTTP_QUERY] = 1;
    o.max_queued[HTTP_QUERY] = 1;
    restart_with(f, o);
    running = client_connect(f->port);
    client_text(running, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    sem_wait(&f->entered);
    queued = client_connect(f->port);
    client_text(queued, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    do { /* until the one before has reached the queue, this one may take its place */
        int fd = client_connect(f->port);
        struct timeval brief = { .tv_usec = 50000 };

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
        client_text(fd, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
        a = client_read(fd, false);
        close(fd);
        if (a.status != 503)
            answer_free(&a);
    } while (!a.status);
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    answer_free(&a);
    atomic_store(&f->release, true);
    close(queued);
    close(running);
}

static void request_that_never_ends_is_cut_off(void **state)
{
    static const char *const beginnings[] = {
        "",
        "GE",
        "GET /echo HTTP/1.1\r\nHost: x\r\nX-A",
        "POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    };
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();

    o.header_timeout_ms = o.request_timeout_ms = 60;
    restart_with(f, o);
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        int fd = client_connect(f->port);
        struct answer a;

        client_text(fd, beginnings[i]);
        a = client_read(fd, false);
        assert_int_equal(a.status, 0);
        answer_free(&a);
        close(fd);
    }
}

static void idle_connection_and_stuck_reader_are_closed(void **state)
{
    struct fixture *f = *state;
    struct http_server_options o = http_server_options_default();
    struct answer a;
    int fd;

    o.idle_timeout_ms = 60;
    o.response_timeout_ms = 60;
    restart_with(f, o);
    fd = client_connect(f->port);
    client_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    a = client_read(fd, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    a = client_read(fd, false);
    assert_int_equal(a.status, 0);
    answer_free(&a);
    close(fd);

    fd = client_connect(f->port); /* nothing is read: the sockets' buffers fill up */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int));
    client_text(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    while (atomic_load(&f->streams_freed) == 0)
        sched_yield();
    close(fd);
}

static void headers_are_limited(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    struct answer a;
    bool sent = client_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n");

    for (int i = 0; i < 1000 && sent; i++) {
        char line[256];

        snprintf(line, sizeof line, "X-%d: %0200d\r\n", i, i);
        sent = client_text(fd, line);
    }
    client_text(fd, "\r\n");
    a = client_read(fd, false);
    assert_true(a.status == 431 || a.status == 413 || a.status == 0);
    answer_free(&a);
    close(fd);
    a = client_get(f->port, "/echo");
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void *stop(void *arg)
{
    struct fixture *f = arg;

    http_server_stop(f->server, 20000);
    return NULL;
}

static void stopping_lets_running_requests_finish(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    struct answer a;
    pthread_t thread;

    client_text(fd, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    sem_wait(&f->entered);
    assert_int_equal(pthread_create(&thread, NULL, stop, f), 0);
    atomic_store(&f->release, true);
    a = client_read(fd, false);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_text(&a), "released\n");
    answer_free(&a);
    close(fd);
    pthread_join(thread, NULL);
    f->server = NULL;
}

static void stopping_cancels_what_outlives_the_grace(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);

    client_text(fd, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    sem_wait(&f->entered);
    http_server_stop(f->server, 1);
    f->server = NULL;
    assert_true(atomic_load(&f->canceled));
    close(fd);
}

/* What a stop would cancel has gone; the connections over which it was asked are still there. */
static void stopping_touches_no_request_that_has_ended(void **state)
{
    static const char *const targets[] = { "POST /operate", "GET /echo", "GET /stream" };
    struct fixture *f = *state;
    int fds[ARRAY_LEN(targets)];

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char head[64];
        struct answer a;

        fds[i] = client_connect(f->port);
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
        client_text(fds[i], head);
        a = client_read(fds[i], false);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    http_server_stop(f->server, 20000);
    f->server = NULL;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        close(fds[i]);
}

static void busy_port_is_named(void **state)
{
    struct fixture *f = *state;
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct listener l;
    char address[64];

    snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
    assert_int_equal(listen_open(address, &l, &err), ERR_CONFLICT);
    assert_non_null(strstr(err_text(&err), address));
    arena_free(arena);
}

static void addresses_are_read_as_users_write_them(void **state)
{
    static const struct {
        const char *address;
        bool good;
    } cases[] = {
        { "127.0.0.1:9420", true },
        { ":9420", true },
        { "0.0.0.0:0", true },
        { "[::1]:9420", true },
        { "[::]:9420", true },
        { "localhost:80", true },
        { "9420", false },
        { "127.0.0.1", false },
        { "127.0.0.1:", false },
        { "127.0.0.1:70000", false },
        { "::1:9420", false },
        { "a:b", false },
        { "", false },
        { "127.0.0.1:-1", false },
    };
    struct listener l;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(listen_check(cases[i].address, NULL), cases[i].good ? OK : ERR_BAD_CONFIG);
    assert_int_equal(listen_open(":0", &l, NULL), OK);
    assert_memory_equal(l.url, "http://127.0.0.1:", 17);
    assert_true(l.port != 0);
    close(l.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        WITH_SERVER(answers_by_path_and_method),
        WITH_SERVER(form_values_come_before_those_of_the_url),
        WITH_SERVER(gzipped_form_is_decoded),
        WITH_SERVER(stream_is_compressed_while_it_is_made),
        WITH_SERVER(connection_is_kept_for_further_requests),
        WITH_SERVER(chunked_upload_is_put_together),
        WITH_SERVER(body_over_the_limit_gets_413),
        WITH_SERVER(bodies_together_are_limited),
        WITH_SERVER(large_response_is_streamed_whole),
        WITH_SERVER(pieces_that_take_long_are_made_by_workers),
        WITH_SERVER(readers_of_slow_streams_may_leave_or_outlive_the_server),
        WITH_SERVER(slow_connections_delay_nobody),
        WITH_SERVER(trickling_request_is_cut_off),
        WITH_SERVER(slow_readers_and_blocked_queries_hold_up_nobody),
        WITH_SERVER(client_that_leaves_cancels_its_query),
        WITH_SERVER(queue_has_an_end),
        WITH_SERVER(request_that_never_ends_is_cut_off),
        WITH_SERVER(idle_connection_and_stuck_reader_are_closed),
        WITH_SERVER(headers_are_limited),
        WITH_SERVER(stopping_lets_running_requests_finish),
        WITH_SERVER(stopping_cancels_what_outlives_the_grace),
        WITH_SERVER(stopping_touches_no_request_that_has_ended),
        WITH_SERVER(busy_port_is_named),
        cmocka_unit_test(addresses_are_read_as_users_write_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
