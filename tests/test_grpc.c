#include "http/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <nghttp2/nghttp2.h>

#include "base/arena.h"
#include "base/gzip.h"
#include "http_client.h"

#include "base/banned.h"

/* ---- a server that answers what it is sent ---- */

static void echo(void *ctx, struct bytes message, struct arena *arena, struct grpc_answer *answer)
{
    (void)ctx, (void)arena;
    buf_add(&answer->message, message.ptr, message.len);
}

static void refuse(void *ctx, struct bytes message, struct arena *arena, struct grpc_answer *answer)
{
    (void)ctx, (void)message, (void)arena;
    answer->code = RPC_INVALID_ARGUMENT;
    answer->text = "100% wrong\n";
}

static const struct grpc_method methods[] = { { "/test.Test/Echo", echo },
                                              { "/test.Test/Refuse", refuse } };

struct fixture {
    struct grpc_options options;
    struct grpc_server *server;
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);

    *state = fx;
    fx->options = grpc_options_default();
    fx->options.methods = methods;
    fx->options.n_methods = ARRAY_LEN(methods);
    fx->options.max_message_bytes = 100000;
    assert_int_equal(listen_open("127.0.0.1:0", &fx->options.listener, NULL), OK);
    assert_int_equal(grpc_server_start(&fx->options, &fx->server, NULL), OK);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;

    grpc_server_stop(fx->server, 5000);
    free(fx);
    return 0;
}

/* ---- a client of one call ---- */

struct client {
    int status, grpc_status; /* -1: none came */
    char text[256];          /* grpc-message */
    struct buf body;
    struct bytes to_send;
    size_t sent;
    bool closed;
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct client *c = user;
    struct str n = { (const char *)name, name_len };
    char text[256];

    (void)session, (void)frame, (void)flags;
    snprintf(text, sizeof text, "%.*s", (int)value_len, (const char *)value);
    if (str_is(n, ":status"))
        c->status = (int)strtol(text, NULL, 10);
    else if (str_is(n, "grpc-status"))
        c->grpc_status = (int)strtol(text, NULL, 10);
    else if (str_is(n, "grpc-message"))
        snprintf(c->text, sizeof c->text, "%s", text);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *user)
{
    struct client *c = user;

    (void)session, (void)flags, (void)id;
    buf_add(&c->body, data, n);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct client *c = user;

    (void)session, (void)id, (void)code;
    c->closed = true;
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct client *c = source->ptr;
    size_t n = c->to_send.len - c->sent;

    (void)session, (void)id, (void)user;
    n = n < max ? n : max;
    if (n)
        memcpy(to, c->to_send.ptr + c->sent, n);
    c->sent += n;
    if (c->sent == c->to_send.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .value = (uint8_t *)(uintptr_t)value,
                         .namelen = strlen(name),
                         .valuelen = strlen(value) };
}

static nghttp2_session *client_session(struct client *c)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;

    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    assert_int_equal(nghttp2_session_client_new(&session, callbacks, c), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(session, 0, NULL, 0), 0);
    return session;
}

/* Moves bytes until the call is over, or the server has closed the connection. */
static void run_client(int fd, nghttp2_session *session, const struct client *c)
{
    uint8_t in[16384];

    while (!c->closed) {
        const uint8_t *out;
        ssize_t n;

        while ((n = nghttp2_session_mem_send(session, &out)) > 0)
            if (!client_send(fd, out, (size_t)n))
                return;
        n = recv(fd, in, sizeof in, 0);
        if (n <= 0 || nghttp2_session_mem_recv(session, in, (size_t)n) < 0)
            return;
    }
}

/* One call on a connection of its own; NULL leaves a header out. Free body. */
static struct client call(struct fixture *fx, const char *path, const char *type,
                          const char *encoding, struct bytes body)
{
    struct client c = { .status = -1, .grpc_status = -1, .to_send = body };
    nghttp2_session *session = client_session(&c);
    nghttp2_data_provider provider = { .source.ptr = &c, .read_callback = read_body };
    int fd = client_connect(fx->options.listener.port);
    nghttp2_nv headers[8];
    size_t n = 0;

    headers[n++] = pair(":method", "POST");
    headers[n++] = pair(":scheme", "http");
    headers[n++] = pair(":path", path);
    headers[n++] = pair(":authority", "localhost");
    if (type)
        headers[n++] = pair("content-type", type);
    if (encoding)
        headers[n++] = pair("grpc-encoding", encoding);
    assert_true(nghttp2_submit_request(session, NULL, headers, n, &provider, NULL) > 0);
    run_client(fd, session, &c);
    nghttp2_session_del(session);
    close(fd);
    return c;
}

static struct buf framed(uint8_t flag, struct bytes message)
{
    struct buf b = { 0 };

    buf_u8(&b, flag);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_u8(&b, (uint8_t)(message.len >> shift));
    buf_add(&b, message.ptr, message.len);
    return b;
}

#define GRPC "application/grpc"
#define ECHO "/test.Test/Echo"

static void a_message_is_answered_whatever_its_size(void **state)
{
    const size_t sizes[] = { 0, 1, 1000, 16384, 70000, 100000 };
    struct fixture *fx = *state;
    static uint8_t data[100000];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf body = framed(0, (struct bytes){ data, sizes[i] });
        struct client c = call(fx, ECHO, GRPC "+proto", NULL, buf_as_bytes(&body));

        assert_int_equal(c.status, 200);
        assert_int_equal(c.grpc_status, RPC_OK);
        assert_int_equal(c.body.len, body.len);
        assert_memory_equal(c.body.ptr, body.ptr, body.len);
        buf_free(&c.body);
        buf_free(&body);
    }
}

static void a_message_may_be_compressed(void **state)
{
    struct fixture *fx = *state;
    struct buf packed = { 0 }, body;
    struct client c;

    assert_int_equal(gzip_encode((struct bytes){ (const uint8_t *)"hello", 5 }, &packed, NULL), OK);
    body = framed(1, buf_as_bytes(&packed));
    c = call(fx, ECHO, GRPC, "gzip", buf_as_bytes(&body));
    assert_int_equal(c.grpc_status, RPC_OK);
    assert_int_equal(c.body.len, 10);
    assert_memory_equal(c.body.ptr + 5, "hello", 5);
    buf_free(&c.body);
    c = call(fx, ECHO, GRPC, "snappy", buf_as_bytes(&body));
    assert_int_equal(c.grpc_status, RPC_UNIMPLEMENTED);
    buf_free(&body);
    buf_clear(&packed);
    buf_text(&packed, "not gzip");
    body = framed(1, buf_as_bytes(&packed));
    c = call(fx, ECHO, GRPC, "gzip", buf_as_bytes(&body));
    assert_int_equal(c.grpc_status, RPC_INVALID_ARGUMENT);
    buf_free(&body);
    buf_free(&packed);
}

static void errors_have_their_code_and_text(void **state)
{
    static const struct {
        const char *path, *type;
        const char *body;
        size_t n;
        int status, grpc_status;
    } cases[] = {
        { "/test.Test/Refuse", GRPC, "\0\0\0\0\0", 5, 200, RPC_INVALID_ARGUMENT },
        { "/test.Test/None", GRPC, "\0\0\0\0\0", 5, 200, RPC_UNIMPLEMENTED },
        { ECHO, GRPC, "\0\0\0\0", 4, 200, RPC_INVALID_ARGUMENT },
        { ECHO, GRPC, "\0\0\0\0\1", 5, 200, RPC_INVALID_ARGUMENT },
        { ECHO, GRPC, "\0\0\0\0\0\0\0\0\0\0", 10, 200, RPC_INVALID_ARGUMENT }, /* two */
        { ECHO, GRPC, "\2\0\0\0\0", 5, 200, RPC_UNIMPLEMENTED },
        { ECHO, GRPC, "", 0, 200, RPC_INVALID_ARGUMENT },
        { ECHO, "application/json", "\0\0\0\0\0", 5, 415, -1 },
        { ECHO, NULL, "\0\0\0\0\0", 5, 415, -1 },
    };
    struct fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c = call(fx, cases[i].path, cases[i].type, NULL,
                               (struct bytes){ (const uint8_t *)cases[i].body, cases[i].n });

        assert_int_equal(c.status, cases[i].status);
        assert_int_equal(c.grpc_status, cases[i].grpc_status);
        if (i == 0)
            assert_string_equal(c.text, "100%25 wrong%0A");
        buf_free(&c.body);
    }
}

static void messages_are_bounded_as_sent_and_decoded(void **state)
{
    struct fixture *fx = *state;
    struct buf zeros = { 0 }, packed = { 0 }, body;
    struct client c;

    assert_non_null(buf_reserve(&zeros, 1 << 20));
    memset(zeros.ptr, 0, 1 << 20);
    zeros.len = 1 << 20;
    body = framed(0, buf_as_bytes(&zeros));
    c = call(fx, ECHO, GRPC, NULL, buf_as_bytes(&body));
    assert_int_equal(c.grpc_status, RPC_RESOURCE_EXHAUSTED);
    buf_free(&body);
    assert_int_equal(gzip_encode(buf_as_bytes(&zeros), &packed, NULL), OK);
    body = framed(1, buf_as_bytes(&packed));
    c = call(fx, ECHO, GRPC, "gzip", buf_as_bytes(&body));
    assert_int_equal(c.grpc_status, RPC_RESOURCE_EXHAUSTED);
    buf_free(&body);
    buf_free(&packed);
    buf_free(&zeros);
}

/* What is not HTTP/2 is disconnected, and hurts nobody else. */
static void garbage_is_disconnected(void **state)
{
    struct fixture *fx = *state;
    uint8_t in[1024];
    struct client c;
    int fd = client_connect(fx->options.listener.port);

    assert_true(client_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    while (recv(fd, in, sizeof in, 0) > 0)
        ;
    close(fd);
    c = call(fx, ECHO, GRPC, NULL, (struct bytes){ (const uint8_t *)"\0\0\0\0\0", 5 });
    assert_int_equal(c.grpc_status, RPC_OK);
    buf_free(&c.body);
}

/* The attack that is called rapid reset: calls are begun and canceled at once. */
static void who_only_cancels_is_disconnected(void **state)
{
    struct fixture *fx = *state;
    struct client c = { .to_send = { (const uint8_t *)"", 0 } };
    nghttp2_session *session = client_session(&c);
    int fd = client_connect(fx->options.listener.port);
    nghttp2_nv headers[] = { pair(":method", "POST"), pair(":scheme", "http"), pair(":path", ECHO),
                             pair(":authority", "x"), pair("content-type", GRPC) };
    bool alive = true;

    for (int i = 0; i < 5000 && alive; i++) {
        const uint8_t *out;
        int32_t id =
            nghttp2_submit_headers(session, 0, -1, NULL, headers, ARRAY_LEN(headers), NULL);
        ssize_t n;

        assert_true(id > 0);
        while (alive && (n = nghttp2_session_mem_send(session, &out)) > 0)
            alive = client_send(fd, out, (size_t)n);
        assert_int_equal(nghttp2_submit_rst_stream(session, 0, id, NGHTTP2_CANCEL), 0);
        while (alive && (n = nghttp2_session_mem_send(session, &out)) > 0)
            alive = client_send(fd, out, (size_t)n);
    }
    if (alive) { /* all of it fitted into the socket's buffers */
        uint8_t in[16384];
        ssize_t n;

        while ((n = recv(fd, in, sizeof in, 0)) > 0)
            ;
        assert_true(n <= 0);
    }
    nghttp2_session_del(session);
    close(fd);
}

/* The client has the last descriptor; the server can accept it once there are more. */
static void who_comes_without_a_descriptor_left_is_served_later(void **state)
{
    struct fixture *fx = *state;
    struct rlimit before, tight;
    struct client c = { .status = -1, .grpc_status = -1 };
    struct buf message = framed(0, (struct bytes){ (const uint8_t *)"hi", 2 });
    nghttp2_session *session = client_session(&c);
    nghttp2_data_provider provider = { .source.ptr = &c, .read_callback = read_body };
    nghttp2_nv headers[] = { pair(":method", "POST"), pair(":scheme", "http"), pair(":path", ECHO),
                             pair(":authority", "x"), pair("content-type", GRPC) };
    struct timeval brief = { .tv_usec = 100000 };
    int last = dup(0), fd;
    char byte;

    assert_true(last >= 0);
    close(last);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){ (rlim_t)last + 1, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    fd = client_connect(fx->options.listener.port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    assert_int_equal(recv(fd, &byte, 1, 0), -1); /* a server's first words are its settings */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 20 }, sizeof brief);
    c.to_send = buf_as_bytes(&message);
    assert_true(nghttp2_submit_request(session, NULL, headers, ARRAY_LEN(headers), &provider, NULL)
                > 0);
    run_client(fd, session, &c);
    assert_int_equal(c.grpc_status, 0);
    assert_int_equal(c.body.len, 7);
    nghttp2_session_del(session);
    close(fd);
    buf_free(&c.body);
    buf_free(&message);
}

static void a_stop_waits_for_nobody_who_is_idle(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->options.listener.port);

    grpc_server_stop(fx->server, 60000);
    fx->server = NULL;
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_answered_whatever_its_size),
        TEST(a_message_may_be_compressed),
        TEST(errors_have_their_code_and_text),
        TEST(messages_are_bounded_as_sent_and_decoded),
        TEST(garbage_is_disconnected),
        TEST(who_only_cancels_is_disconnected),
        TEST(who_comes_without_a_descriptor_left_is_served_later),
        TEST(a_stop_waits_for_nobody_who_is_idle),
    };

    return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
