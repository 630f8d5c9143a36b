/* grpc.c -- the life of a call
 *
 *   I/O thread                                         worker thread
 *   on_header     path, content type, encoding
 *   on_data       5 bytes: flag, length; then the message
 *   on_frame      end of the stream: queued
 *                                                      decode, handler, into s->done, wake
 *   finish_calls  HEADERS, DATA, HEADERS (trailers)
 *   on_close      freed; by finish_calls when the worker had it then
 *
 *   request   :path /package.Service/Method   content-type application/grpc[+proto]
 *             grpc-encoding identity | gzip   body: u8 compressed, u32 BE length, message
 *   answer    :status 200   content-type application/grpc   body as above
 *             trailers: grpc-status, grpc-message; of an error they come alone, with the headers
 *
 * The library is used by the I/O thread alone.
 */
#include "http/grpc.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/gzip.h"
#include "base/log.h"
#include "http/workers.h"

#include "base/banned.h"

enum {
    FRAME_HEADER = 5, /* of a message */
    TICK_MS = 1000,
    MAX_CANCELED = 1000, /* calls of one connection that were begun in vain */
    MAX_HEADERS = 16 << 10,
    WINDOW_BYTES = 1 << 20,
    ARENA_BYTES = 1 << 20,
    READ_BYTES = 64 << 10,
    MAX_TEXT = 1024, /* of grpc-message: it travels in a header */
};

struct conn;

struct call {
    struct grpc_server *server;
    struct conn *conn;        /* NULL once the stream is gone */
    struct call *next, *prev; /* of the connection */
    struct call *next_done;
    struct job job;
    int32_t id;
    const struct grpc_method *method;
    enum { NO_TYPE, BAD_TYPE, GRPC_TYPE } type;
    enum { IDENTITY, GZIP, OTHER_ENCODING } encoding;
    size_t header_bytes;
    struct buf body;
    bool too_large, refused, running;
    int64_t begun_ns;
    struct arena *arena;
    struct grpc_answer answer;
    struct buf out; /* the framed message */
    size_t sent;
};

struct conn {
    struct grpc_server *server;
    struct conn *next, *prev;
    int fd;
    nghttp2_session *session;
    struct call *calls;
    int64_t active_ns;  /* when bytes moved last */
    struct buf pending; /* from the library, not yet taken by the socket */
    size_t pending_at;
    unsigned canceled;
    bool writing; /* the socket is watched for room */
};

struct grpc_server {
    struct grpc_options o;
    int epoll, wake;
    pthread_t thread;
    struct workers *workers;
    struct conn *conns;
    size_t n_conns, bodies_bytes;
    bool accepting;
    bool pausing;         /* the listener is not watched until the next tick */
    pthread_mutex_t lock; /* guards the next three */
    struct call *done;
    size_t n_running;
    bool stopping;
    int64_t stop_ns; /* when what is left is closed */
};

/* ---- calls ---- */

static void drop_body(struct call *c)
{
    c->server->bodies_bytes -= c->body.len;
    buf_free(&c->body);
}

static void call_free(struct call *c)
{
    drop_body(c);
    arena_free(c->arena);
    buf_free(&c->answer.message);
    buf_free(&c->out);
    free(c);
}

static struct call *call_new(struct conn *conn, int32_t id)
{
    struct call *c = calloc(1, sizeof *c);

    if (!c || !(c->arena = arena_new(ARENA_BYTES))) {
        free(c);
        return NULL;
    }
    c->server = conn->server;
    c->conn = conn;
    c->id = id;
    c->begun_ns = clock_mono_ns(&clock_system);
    c->next = conn->calls;
    if (c->next)
        c->next->prev = c;
    conn->calls = c;
    return c;
}

/* The stream is gone; a worker that has the call gives it back later. */
static void call_leave(struct call *c)
{
    struct conn *conn = c->conn;

    if (c->prev)
        c->prev->next = c->next;
    else
        conn->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->conn = NULL;
    if (!c->running)
        call_free(c);
}

/* ---- answers ---- */

static nghttp2_nv pair(const char *name, const char *value, size_t n)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .value = (uint8_t *)(uintptr_t)value,
                         .namelen = strlen(name),
                         .valuelen = n };
}

/* Percent-encoded: a header is printable ASCII. */
static void encode_text(struct buf *b, const char *text)
{
    for (size_t n = 0; text[n] && n < MAX_TEXT; n++) {
        uint8_t c = (uint8_t)text[n];

        if (c >= 0x20 && c < 0x7f && c != '%')
            buf_u8(b, c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct call *c = source->ptr;
    size_t n = c->out.len - c->sent;
    nghttp2_nv trailer = pair("grpc-status", "0", 1);

    (void)user;
    if (n > max)
        n = max;
    memcpy(to, c->out.ptr + c->sent, n);
    c->sent += n;
    if (c->sent == c->out.len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, &trailer, 1) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static void send_error(struct call *c)
{
    struct buf text = { 0 };
    char status[12];
    int n = snprintf(status, sizeof status, "%d", c->answer.code);

    encode_text(&text, c->answer.text ? c->answer.text : "");
    nghttp2_nv headers[] = {
        pair(":status", "200", 3),
        pair("content-type", "application/grpc", 16),
        pair("grpc-status", status, (size_t)n),
        pair("grpc-message", text.len ? (char *)text.ptr : "", text.len),
        pair("grpc-accept-encoding", "identity,gzip", 13),
    };

    (void)nghttp2_submit_response(c->conn->session, c->id, headers, ARRAY_LEN(headers), NULL);
    buf_free(&text);
}

static void send_answer(struct call *c)
{
    const struct buf *m = &c->answer.message;
    nghttp2_data_provider body = { .source.ptr = c, .read_callback = read_answer };
    nghttp2_nv headers[] = {
        pair(":status", "200", 3),
        pair("content-type", "application/grpc", 16),
        pair("grpc-accept-encoding", "identity,gzip", 13),
    };

    buf_u8(&c->out, 0);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_u8(&c->out, (uint8_t)(m->len >> shift));
    buf_add(&c->out, m->ptr, m->len);
    if (c->out.failed || m->failed) {
        c->answer.code = RPC_UNAVAILABLE;
        c->answer.text = "out of memory";
        send_error(c);
        return;
    }
    (void)nghttp2_submit_response(c->conn->session, c->id, headers, ARRAY_LEN(headers), &body);
}

static void fail(struct call *c, enum rpc_code code, const char *text)
{
    c->answer.code = code;
    c->answer.text = text;
}

/* ---- on a worker thread ---- */

static void take_message(struct call *c, struct bytes message)
{
    struct err err = err_in(c->arena);
    struct buf decoded = { 0 };
    enum errc rc = OK;

    if (c->body.ptr[0] == 1) {
        rc = gzip_decode(message, c->server->o.max_message_bytes, &decoded, &err);
        message = buf_as_bytes(&decoded);
    }
    if (rc != OK)
        fail(c,
             rc == ERR_TOO_LARGE  ? RPC_RESOURCE_EXHAUSTED
             : rc == ERR_BAD_DATA ? RPC_INVALID_ARGUMENT
                                  : RPC_UNAVAILABLE,
             err_text(&err));
    else
        c->method->handler(c->server->o.ctx, message, c->arena, &c->answer);
    buf_free(&decoded);
}

static void run(struct job *job)
{
    struct call *c = CONTAINER_OF(job, struct call, job);
    struct grpc_server *s = c->server;
    uint64_t one = 1;

    take_message(c, (struct bytes){ c->body.ptr + FRAME_HEADER, c->body.len - FRAME_HEADER });
    pthread_mutex_lock(&s->lock);
    c->next_done = s->done;
    s->done = c;
    pthread_mutex_unlock(&s->lock);
    if (write(s->wake, &one, sizeof one) < 0)
        ASSERT(errno == EAGAIN); /* it is awake already */
}

/* ---- what arrives ---- */

static uint32_t message_length(const struct call *c)
{
    return load_u32be(c->body.ptr + 1);
}

/* Why a call that has arrived completely cannot be run. */
static bool check_call(struct call *c)
{
    if (c->too_large)
        fail(c, RPC_RESOURCE_EXHAUSTED, "the message is larger than the limit");
    else if (c->refused)
        fail(c, RPC_UNAVAILABLE, "too many calls at once");
    else if (!c->method)
        fail(c, RPC_UNIMPLEMENTED, "there is no such method; metrics can be exported here");
    else if (c->body.len < FRAME_HEADER || message_length(c) != c->body.len - FRAME_HEADER)
        fail(c, RPC_INVALID_ARGUMENT, "the body is not one message");
    else if (c->body.ptr[0] > 1 || (c->body.ptr[0] == 1 && c->encoding != GZIP))
        fail(c, RPC_UNIMPLEMENTED, "the message is compressed in a way that is not known; gzip is");
    else
        return true;
    return false;
}

static void begin_call(struct call *c)
{
    struct grpc_server *s = c->server;
    nghttp2_nv not_grpc[] = { pair(":status", "415", 3) };

    if (c->type != GRPC_TYPE) {
        (void)nghttp2_submit_response(c->conn->session, c->id, not_grpc, 1, NULL);
        return;
    }
    if (!check_call(c)) {
        send_error(c);
        return;
    }
    c->running = true;
    c->job.run = run;
    pthread_mutex_lock(&s->lock);
    s->n_running++;
    pthread_mutex_unlock(&s->lock);
    if (workers_push(s->workers, &c->job))
        return;
    pthread_mutex_lock(&s->lock);
    s->n_running--;
    pthread_mutex_unlock(&s->lock);
    c->running = false;
    fail(c, RPC_UNAVAILABLE, "too many calls are waiting");
    send_error(c);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct conn *conn = user;
    struct call *c;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    c = call_new(conn, frame->hd.stream_id);
    if (!c)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, c);
    return 0;
}

static const struct grpc_method *find_method(const struct grpc_server *s, struct str path)
{
    for (size_t i = 0; i < s->o.n_methods; i++)
        if (str_is(path, s->o.methods[i].path))
            return &s->o.methods[i];
    return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct call *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct str n = { (const char *)name, name_len }, v = { (const char *)value, value_len };

    (void)flags, (void)user;
    if (!c)
        return 0;
    c->header_bytes += name_len + value_len + 32;
    if (c->header_bytes > MAX_HEADERS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
    if (str_is(n, ":path"))
        c->method = find_method(c->server, v);
    else if (str_is(n, "content-type"))
        c->type = str_is(v, "application/grpc") || str_starts_with(v, STR("application/grpc+"))
                          || str_starts_with(v, STR("application/grpc;"))
                      ? GRPC_TYPE
                      : BAD_TYPE;
    else if (str_is(n, "grpc-encoding"))
        c->encoding = str_is(v, "identity") ? IDENTITY : str_is(v, "gzip") ? GZIP : OTHER_ENCODING;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *user)
{
    struct call *c = nghttp2_session_get_stream_user_data(session, id);
    struct grpc_server *s = ((struct conn *)user)->server;

    (void)flags;
    if (!c || c->too_large || c->refused)
        return 0;
    if (c->body.len + n > s->o.max_message_bytes + FRAME_HEADER) {
        c->too_large = true;
        drop_body(c);
    } else if (s->bodies_bytes + n > s->o.max_bodies_bytes) {
        c->refused = true;
        drop_body(c);
    } else {
        buf_add(&c->body, data, n);
        if (c->body.failed) {
            c->refused = true;
            drop_body(c);
        } else {
            s->bodies_bytes += n;
        }
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct call *c;

    (void)user;
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (c && !c->running)
        begin_call(c);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct call *c = nghttp2_session_get_stream_user_data(session, id);
    struct conn *conn = user;

    conn->canceled += code != NGHTTP2_NO_ERROR;
    if (c)
        call_leave(c);
    return 0;
}

/* ---- connections ---- */

static void conn_close(struct conn *conn)
{
    struct grpc_server *s = conn->server;

    while (conn->calls) {
        struct call *c = conn->calls;

        nghttp2_session_set_stream_user_data(conn->session, c->id, NULL);
        call_leave(c);
    }
    nghttp2_session_del(conn->session);
    close(conn->fd);
    buf_free(&conn->pending);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        s->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    s->n_conns--;
    free(conn);
}

static bool session_new(struct conn *conn)
{
    const struct grpc_options *o = &conn->server->o;
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)o->max_streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADERS },
    };
    nghttp2_session_callbacks *callbacks;
    int rc;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    rc = nghttp2_session_server_new(&conn->session, callbacks, conn);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0)
        return false;
    if (nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings))
            == 0
        && nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES)
               == 0)
        return true;
    nghttp2_session_del(conn->session);
    return false;
}

static void watch(struct conn *conn, bool writing)
{
    struct epoll_event event = { .events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0u),
                                 .data.ptr = conn };

    if (writing == conn->writing)
        return;
    conn->writing = writing;
    (void)epoll_ctl(conn->server->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

/* Gives the socket what the library has to send; false: the connection is over. */
static bool flush(struct conn *conn)
{
    for (;;) {
        const uint8_t *data;
        ssize_t n;

        if (conn->pending_at == conn->pending.len) {
            buf_clear(&conn->pending);
            conn->pending_at = 0;
            n = nghttp2_session_mem_send(conn->session, &data);
            if (n < 0)
                return false;
            buf_add(&conn->pending, data, (size_t)n);
            if (n == 0 || conn->pending.failed)
                break;
        }
        n = send(conn->fd, conn->pending.ptr + conn->pending_at,
                 conn->pending.len - conn->pending_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            watch(conn, true);
            return true;
        }
        if (n <= 0)
            return false;
        conn->pending_at += (size_t)n;
        conn->active_ns = clock_mono_ns(&clock_system);
    }
    watch(conn, false);
    return !conn->pending.failed
           && (nghttp2_session_want_read(conn->session)
               || nghttp2_session_want_write(conn->session));
}

/* Takes what has arrived; false: the connection is over. */
static bool receive(struct conn *conn)
{
    uint8_t data[READ_BYTES];
    ssize_t n = recv(conn->fd, data, sizeof data, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    conn->active_ns = clock_mono_ns(&clock_system);
    return nghttp2_session_mem_recv(conn->session, data, (size_t)n) >= 0
           && conn->canceled <= MAX_CANCELED;
}

/* The listener stays readable while nothing can be accepted, for want of descriptors or memory:
 * waiting for it would not wait. */
static void pause_accepting(struct grpc_server *s)
{
    s->pausing = epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->o.listener.fd, NULL) == 0;
}

static void resume_accepting(struct grpc_server *s)
{
    struct epoll_event listener = { .events = EPOLLIN, .data.ptr = s };

    if (s->pausing && s->accepting)
        s->pausing = epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->o.listener.fd, &listener) != 0;
}

/* What failed for the client's sake, or for nothing, is no reason to wait. */
static bool is_short_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void accept_one(struct grpc_server *s)
{
    int fd = accept4(s->o.listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct conn *conn;
    struct epoll_event event;

    if (fd < 0) {
        if (is_short_of_something(errno))
            pause_accepting(s);
        return;
    }
    conn = s->n_conns < s->o.max_connections ? calloc(1, sizeof *conn) : NULL;
    if (conn) {
        conn->server = s;
        conn->fd = fd;
        conn->active_ns = clock_mono_ns(&clock_system);
    }
    if (!conn || !session_new(conn)) {
        free(conn);
        close(fd); /* the client tries again */
        return;
    }
    conn->next = s->conns;
    if (conn->next)
        conn->next->prev = conn;
    s->conns = conn;
    s->n_conns++;
    event = (struct epoll_event){ .events = EPOLLIN, .data.ptr = conn };
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0 || !flush(conn))
        conn_close(conn);
}

/* ---- the I/O thread ---- */

static void finish_calls(struct grpc_server *s)
{
    struct call *list;
    uint64_t ignored;

    if (read(s->wake, &ignored, sizeof ignored) < 0)
        ASSERT(errno == EAGAIN);
    pthread_mutex_lock(&s->lock);
    list = s->done;
    s->done = NULL;
    for (struct call *c = list; c; c = c->next_done)
        s->n_running--;
    pthread_mutex_unlock(&s->lock);
    while (list) {
        struct call *c = list;
        struct conn *conn = c->conn;

        list = c->next_done;
        c->running = false;
        drop_body(c);
        if (!conn) {
            call_free(c);
            continue;
        }
        (c->answer.code == RPC_OK ? send_answer : send_error)(c);
        if (!flush(conn))
            conn_close(conn);
    }
}

/* Whether a call has been arriving for too long. */
static bool has_late_call(const struct conn *conn, int64_t now_ns)
{
    for (const struct call *c = conn->calls; c; c = c->next)
        if (!c->running && c->out.len == 0
            && now_ns - c->begun_ns > conn->server->o.request_timeout_ms * 1000000)
            return true;
    return false;
}

static void close_idle(struct grpc_server *s)
{
    int64_t now_ns = clock_mono_ns(&clock_system);

    for (struct conn *conn = s->conns, *next; conn; conn = next) {
        int64_t limit_ms =
            conn->writing || conn->calls ? s->o.request_timeout_ms : s->o.idle_timeout_ms;
        bool running = false;

        next = conn->next;
        for (const struct call *c = conn->calls; c; c = c->next)
            running |= c->running;
        if ((now_ns - conn->active_ns > limit_ms * 1000000 && !running)
            || has_late_call(conn, now_ns))
            conn_close(conn);
    }
}

/* Tells all clients that no more calls are taken. */
static void say_goodbye(struct grpc_server *s)
{
    s->accepting = false;
    (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->o.listener.fd, NULL);
    for (struct conn *conn = s->conns, *next; conn; conn = next) {
        next = conn->next;
        (void)nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(conn->session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
        if (!flush(conn))
            conn_close(conn);
    }
}

static bool has_calls(const struct grpc_server *s)
{
    for (const struct conn *conn = s->conns; conn; conn = conn->next)
        if (conn->calls || conn->writing)
            return true;
    return false;
}

/* Whether the thread is to go on. */
static bool goes_on(struct grpc_server *s)
{
    bool stopping;
    int64_t stop_ns;
    size_t n_running;

    pthread_mutex_lock(&s->lock);
    stopping = s->stopping;
    stop_ns = s->stop_ns;
    n_running = s->n_running;
    pthread_mutex_unlock(&s->lock);
    if (!stopping)
        return true;
    if (s->accepting)
        say_goodbye(s);
    return n_running > 0 || (has_calls(s) && clock_mono_ns(&clock_system) < stop_ns);
}

static bool is_open(const struct grpc_server *s, const struct conn *conn)
{
    for (const struct conn *c = s->conns; c; c = c->next)
        if (c == conn)
            return true;
    return false;
}

static void serve_conn(struct grpc_server *s, struct conn *conn, uint32_t events)
{
    if (!is_open(s, conn))
        return; /* closed by what came before it */
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(conn)) || !flush(conn))
        conn_close(conn);
}

static void *io_thread(void *arg)
{
    struct grpc_server *s = arg;
    struct epoll_event events[64];
    int64_t swept_ns = clock_mono_ns(&clock_system);

    while (goes_on(s)) {
        int n = epoll_wait(s->epoll, events, ARRAY_LEN(events), TICK_MS);

        for (int i = 0; i < n; i++)
            if (events[i].data.ptr == s)
                accept_one(s);
            else if (events[i].data.ptr == &s->wake)
                finish_calls(s);
            else
                serve_conn(s, events[i].data.ptr, events[i].events);
        if (clock_mono_ns(&clock_system) - swept_ns > (int64_t)TICK_MS * 1000000) {
            close_idle(s);
            resume_accepting(s);
            swept_ns = clock_mono_ns(&clock_system);
        }
    }
    while (s->conns)
        conn_close(s->conns);
    return NULL;
}

/* ---- start and stop ---- */

struct grpc_options grpc_options_default(void)
{
    return (struct grpc_options){
        .listener.fd = -1,
        .n_workers = 4,
        .max_queued = 256,
        .max_connections = 256,
        .max_streams = 64,
        .max_message_bytes = 32 << 20,
        .max_bodies_bytes = 128 << 20,
        .request_timeout_ms = 60000,
        .idle_timeout_ms = 300000,
    };
}

static void server_free(struct grpc_server *s)
{
    workers_stop(s->workers);
    if (s->epoll >= 0)
        close(s->epoll);
    if (s->wake >= 0)
        close(s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static enum errc open_events(struct grpc_server *s, struct err *err)
{
    struct epoll_event wake = { .events = EPOLLIN, .data.ptr = &s->wake };
    struct epoll_event listener = { .events = EPOLLIN, .data.ptr = s };

    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &wake) != 0
        || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->o.listener.fd, &listener) != 0)
        return err_set(err, ERR_IO, 0, "cannot start the gRPC server: %s", strerror(errno));
    return OK;
}

enum errc grpc_server_start(const struct grpc_options *options, struct grpc_server **out,
                            struct err *err)
{
    struct grpc_server *s = calloc(1, sizeof *s);
    enum errc rc;

    if (!s)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    s->o = *options;
    s->epoll = s->wake = -1;
    s->accepting = true;
    pthread_mutex_init(&s->lock, NULL);
    rc = open_events(s, err);
    if (rc == OK)
        rc = workers_start("grpc", options->n_workers, options->max_queued, &s->workers, err);
    if (rc == OK && pthread_create(&s->thread, NULL, io_thread, s) != 0)
        rc = err_set(err, ERR_LIMIT, 0, "no thread for the gRPC server");
    if (rc != OK) {
        server_free(s);
        return rc;
    }
    *out = s;
    return OK;
}

void grpc_server_stop(struct grpc_server *s, int64_t grace_ms)
{
    uint64_t one = 1;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    s->stop_ns = clock_mono_ns(&clock_system) + grace_ms * 1000000;
    pthread_mutex_unlock(&s->lock);
    if (write(s->wake, &one, sizeof one) < 0)
        ASSERT(errno == EAGAIN);
    pthread_join(s->thread, NULL);
    close(s->o.listener.fd);
    server_free(s);
}
