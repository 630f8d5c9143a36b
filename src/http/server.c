/* server.c -- the life of a request, here called an exchange
 *
 *   library thread                          worker thread
 *   on_uri       request line is there
 *   on_request   headers: route, limits        NEW -> BODY or REFUSED
 *   on_request   pieces of the body
 *   on_request   end: suspend, queue           -> RUNNING
 *                                            run: admit, handler, first piece of the response
 *                                                 -> ANSWERED, resume
 *   on_request   send
 *   read_piece   further pieces; those that take long are made by a worker, as the first was
 *   on_completed freed
 *
 * A refused request (404, 405, 413, 503) has its body read and dropped up to a bound before it is
 * answered: closing a socket with unread bytes resets it, and the client would see that instead of
 * the answer. The library keeps no time for a suspended connection; watch.c does.
 */
#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "http/encoding.h"
#include "http/watch.h"
#include "http/workers.h"

#include "base/banned.h"

enum {
    FIRST_PIECE_BYTES = 64 << 10, /* made by the worker; smaller responses get a Content-Length */
    DROP_FACTOR = 4,              /* times the route's limit: how much of a refused body is read */
    RESERVE_BYTES = 1 << 20,      /* at most taken on trust in a Content-Length */
    ARENA_BYTES = 64 << 20,       /* parameters of one request, decoded */
    MAX_TICK_MS = 100,            /* how long a query runs before its client is watched */
};

struct http_server {
    struct http_server_options o;
    struct MHD_Daemon *daemon;
    struct watch *watch;
    struct workers *workers[HTTP_CLASS_COUNT];
    atomic_size_t bodies_bytes;
    atomic_size_t n_exchanges; /* between request line and end of the response */
    atomic_size_t n_running;   /* suspended */
    atomic_bool stopping;      /* responses close their connection */
    atomic_bool refusing;      /* nothing is queued any more */
    pthread_mutex_t lock;      /* only for waiting until a count is 0 */
    pthread_cond_t changed;
};

enum state { NEW, BODY, REFUSED, RUNNING, ANSWERED };

struct exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct watch_item *item; /* of the connection */
    enum state state;
    struct http_request request;
    struct http_response response;
    struct str query; /* of the URL, still encoded */
    const struct route *route;
    struct str path_arg; /* still encoded */
    struct buf body;
    size_t dropped;
    int64_t started_ns;
    atomic_bool left;
    struct job job;
    struct stream *stream; /* of which the job makes a piece */
};

/* ---- connections ---- */

static struct watch_item *item_of(struct MHD_Connection *c)
{
    return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = cls;
    struct watch_item *item = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        item = calloc(1, sizeof *item);
        *context = item;
        if (!item)
            return; /* on_uri() refuses to serve it */
        watch_add(s->watch, item,
                  MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
        watch_deadline(item, s->o.header_timeout_ms);
    } else if (item) {
        watch_remove(s->watch, item);
        free(item);
        *context = NULL;
    }
}

/* ---- an exchange begins and ends ---- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct http_server *s = cls;
    struct exchange *x = calloc(1, sizeof *x);
    const char *mark;

    if (!x || !item_of(c) || !(x->request.arena = arena_new(ARENA_BYTES))) {
        free(x);
        return NULL; /* on_request() closes the connection */
    }
    x->server = s;
    x->connection = c;
    x->item = item_of(c);
    x->started_ns = clock_mono_ns(&clock_system);
    x->request.path = str_copy(x->request.arena, str_from(uri));
    mark = x->request.path.len ? memchr(x->request.path.ptr, '?', x->request.path.len) : NULL;
    if (mark) {
        x->query.ptr = mark + 1;
        x->query.len = (size_t)(x->request.path.ptr + x->request.path.len - x->query.ptr);
        x->request.path.len = (size_t)(mark - x->request.path.ptr);
    }
    x->request.cancel = &x->left;
    watch_deadline(x->item, s->o.header_timeout_ms);
    atomic_fetch_add(&s->n_exchanges, 1);
    return x;
}

/* One less; who waits for the last one is told. The order of count and stopping, here and in
 * http_server_stop(), is what makes sure of that. */
static void count_down(struct http_server *s, atomic_size_t *count)
{
    if (atomic_fetch_sub(count, 1) != 1 || !atomic_load(&s->stopping))
        return;
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void drop_body(struct exchange *x)
{
    atomic_fetch_sub(&x->server->bodies_bytes, x->body.len);
    buf_free(&x->body);
    x->request.body = (struct bytes){ 0 };
}

static void on_completed(void *cls, struct MHD_Connection *c, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *s = cls;
    struct exchange *x = *context;

    (void)c;
    (void)code;
    if (!x)
        return;
    *context = NULL;
    ASSERT(!x->item->left); /* it points into x */
    watch_deadline(x->item, s->o.idle_timeout_ms);
    drop_body(x);
    http_response_clear(&x->response);
    buf_free(&x->response.body);
    arena_free(x->request.arena);
    free(x);
    count_down(s, &s->n_exchanges);
}

/* ---- the response ---- */

/* A response that is made while it is sent. */
struct stream {
    struct http_response rs;
    size_t at;          /* in rs.body */
    struct exchange *x; /* ends before it, and then no more pieces are asked for */
};

static void stream_free(void *cls)
{
    struct stream *st = cls;

    http_response_clear(&st->rs);
    buf_free(&st->rs.body);
    free(st);
}

/* Appends the next piece to b; rs->next is NULL after the last. */
static void pull_piece(struct http_response *rs, struct buf *b)
{
    size_t before = b->len;

    if (!rs->next(rs->ctx, b))
        rs->next = NULL;
    ASSERT(!rs->next || b->len > before || b->failed); /* else this would never end */
}

static void next_piece(struct stream *st)
{
    buf_clear(&st->rs.body);
    st->at = 0;
    pull_piece(&st->rs, &st->rs.body);
}

/* On a worker thread: the next piece, then back to the library. */
static void run_piece(struct job *job)
{
    struct exchange *x = CONTAINER_OF(job, struct exchange, job);
    struct http_server *s = x->server;

    next_piece(x->stream);
    watch_client(s->watch, x->item, NULL);
    MHD_resume_connection(x->connection);
    count_down(s, &s->n_running);
}

/* Has the next piece made by a worker; false when the server is stopping. */
static bool order_piece(struct stream *st)
{
    struct exchange *x = st->x;
    struct http_server *s = x->server;

    watch_client(s->watch, x->item, &x->left); /* as in end() */
    atomic_fetch_add(&s->n_running, 1);
    if (atomic_load(&s->refusing)) {
        count_down(s, &s->n_running);
        watch_client(s->watch, x->item, NULL);
        return false;
    }
    x->stream = st;
    x->job.run = run_piece;
    MHD_suspend_connection(x->connection);
    workers_push_on(s->workers[x->route->class], &x->job);
    return true;
}

static ssize_t read_piece(void *cls, uint64_t pos, char *to, size_t max)
{
    struct stream *st = cls;
    struct buf *b = &st->rs.body;
    size_t n;

    (void)pos;
    while (st->at == b->len && st->rs.next && !b->failed) {
        if (st->rs.next_waits)
            return order_piece(st) ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
        next_piece(st);
    }
    if (b->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    n = b->len - st->at;
    if (n == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n > max)
        n = max;
    memcpy(to, b->ptr + st->at, n);
    st->at += n;
    return (ssize_t)n;
}

/* The library's response from ours, whose body is taken; NULL when out of memory. */
static struct MHD_Response *make_response(struct exchange *x)
{
    struct http_response *rs = &x->response;
    struct MHD_Response *r;
    struct stream *st;

    if (!rs->next) {
        if (rs->body.len == 0)
            return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
        r = MHD_create_response_from_buffer(rs->body.len, rs->body.ptr, MHD_RESPMEM_MUST_FREE);
        if (r)
            rs->body = (struct buf){ 0 };
        return r;
    }
    st = malloc(sizeof *st);
    if (!st)
        return NULL;
    *st = (struct stream){ .rs = *rs, .x = x };
    r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_PIECE_BYTES, read_piece, st,
                                          stream_free);
    if (!r) {
        free(st);
        return NULL;
    }
    rs->body = (struct buf){ 0 };
    rs->next = NULL;
    rs->done = NULL;
    return r;
}

/* Any page may read our answers: they carry no cookies, so this gives away nothing that the
 * network does not. */
static void add_cors(struct MHD_Response *r)
{
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            "Accept, Authorization, Content-Type, Origin");
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    MHD_add_response_header(r, "Access-Control-Allow-Origin", "*");
    MHD_add_response_header(r, "Access-Control-Expose-Headers", "Date");
    MHD_add_response_header(r, "Vary", "Origin");
}

static enum MHD_Result send_response(struct exchange *x)
{
    struct http_server *s = x->server;
    struct http_response *rs = &x->response;
    struct MHD_Response *r;
    enum MHD_Result sent;
    unsigned status;

    if (rs->body.failed) {
        rs->n_headers = 0; /* which spoke of another body */
        http_response_text(rs, 500, "out of memory");
    }
    r = make_response(x);
    if (!r)
        return MHD_NO;
    if (rs->content_type)
        MHD_add_response_header(r, "Content-Type", rs->content_type);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < rs->n_headers; i++)
        MHD_add_response_header(r, rs->headers[i].name, rs->headers[i].value);
    if (http_header(&x->request, "Origin").len || x->request.method == HTTP_OPTIONS)
        add_cors(r);
    if (atomic_load(&s->stopping))
        MHD_add_response_header(r, "Connection", "close");
    status = rs->status;
    watch_deadline(x->item, s->o.response_timeout_ms);
    sent = MHD_queue_response(x->connection, status, r);
    MHD_destroy_response(r);
    if (s->o.service->count)
        s->o.service->count(s->o.service->ctx, x->route, status,
                            clock_mono_ns(&clock_system) - x->started_ns);
    return sent;
}

/* ---- on a worker thread ---- */

/* Those of a form, then those of the URL. */
static void read_params(struct http_request *rq, struct str form, struct str query)
{
    struct err err = err_in(rq->arena);
    enum errc rc = OK;

    if (form.len)
        rc = http_pairs_parse(form, rq->arena, &rq->params, &err);
    if (!rc)
        rc = http_pairs_parse(query, rq->arena, &rq->params, &err);
    if (rc)
        rq->params_error = err_text(&err);
}

static bool is_form(const struct route *route, const struct http_request *rq)
{
    return !(route->flags & ROUTE_NO_FORM) && rq->method & (HTTP_POST | HTTP_PUT)
           && http_is_token(http_media_type(http_header(rq, "Content-Type")),
                            "application/x-www-form-urlencoded");
}

/* False: rs has the error. */
static bool read_request(struct exchange *x)
{
    struct http_request *rq = &x->request;
    struct err err = err_in(rq->arena);
    struct buf decoded = { 0 };
    struct bytes form = { 0 };
    bool ok = !is_form(x->route, rq)
              || http_body_decode(rq, x->route->max_body_bytes, &decoded, &form, &x->response);

    if (ok)
        read_params(rq, (struct str){ (const char *)form.ptr, form.len }, x->query);
    buf_free(&decoded); /* the parameters are copies */
    if (ok && x->path_arg.len
        && http_unescape(x->path_arg, false, rq->arena, &rq->path_arg, &err) != OK) {
        http_response_text(&x->response, 400, "%s", err_text(&err));
        ok = false;
    }
    return ok;
}

static void answer(struct exchange *x)
{
    const struct http_service *service = x->server->o.service;
    struct http_request *rq = &x->request;
    struct http_response *rs = &x->response;

    rs->status = 200;
    if (atomic_load(&x->left)) {
        http_response_text(rs, 499, "the client has left");
        return;
    }
    if (!read_request(x) || (service->admit && !service->admit(service->ctx, x->route, rq, rs)))
        return;
    x->route->handler(service->ctx, rq, rs);
    http_response_compress(rq, rs);
    while (rs->next && rs->body.len < FIRST_PIECE_BYTES && !rs->body.failed)
        pull_piece(rs, &rs->body);
}

/* What may run for long ends when its client leaves. */
static bool is_watched(const struct exchange *x)
{
    return x->route->class == HTTP_QUERY || x->route->class == HTTP_ADMIN;
}

/* Gives the exchange back to the library, which may free it at once. */
static void finish(struct exchange *x)
{
    struct http_server *s = x->server;

    drop_body(x);
    if (is_watched(x))
        watch_client(s->watch, x->item, NULL);
    x->state = ANSWERED;
    MHD_resume_connection(x->connection);
    count_down(s, &s->n_running);
}

static void run(struct job *job)
{
    struct exchange *x = CONTAINER_OF(job, struct exchange, job);

    answer(x);
    finish(x);
}

/* ---- receiving ---- */

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct http_pairs *headers = cls;

    (void)kind;
    headers->items[headers->n++] = (struct http_pair){
        .name = { name, name_len },
        .value = { value, value_len },
    };
    return MHD_YES;
}

static bool read_headers(struct exchange *x)
{
    struct http_pairs *h = &x->request.headers;
    int n = MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, NULL, NULL);

    h->items = ARENA_NEW(x->request.arena, struct http_pair, n > 0 ? (size_t)n : 1);
    if (!h->items)
        return false;
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, add_header, h);
    return true;
}

static void refuse(struct exchange *x, unsigned status, const char *text)
{
    x->state = REFUSED;
    http_response_text(&x->response, status, "%s", text);
}

static void refuse_too_large(struct exchange *x)
{
    x->state = REFUSED;
    http_response_text(&x->response, 413, "request body is larger than the limit of %zu bytes",
                       x->route->max_body_bytes);
}

static void refuse_busy(struct exchange *x, const char *text)
{
    refuse(x, 503, text);
    http_response_header(&x->response, "Retry-After", "1");
}

static void answer_options(struct exchange *x, const char *allow)
{
    x->state = REFUSED;
    x->response.status = 204;
    http_response_header(&x->response, "Allow", allow);
}

static void refuse_method(struct exchange *x, const char *allow)
{
    refuse(x, 405, "Method Not Allowed");
    http_response_header(&x->response, "Allow", allow);
}

/* What can be said before the body has arrived. */
static void choose(struct exchange *x, int64_t length)
{
    struct http_request *rq = &x->request;
    unsigned allowed;
    struct buf allow = { 0 };
    const char *allow_text;

    x->state = BODY;
    x->route = route_find(x->server->o.service, rq->path, &x->path_arg);
    if (!x->route) {
        refuse(x, 404, "404 page not found");
        return;
    }
    allowed = route_methods(x->route);
    if (rq->method == HTTP_OPTIONS || !(rq->method & allowed)) {
        http_methods_print(&allow, allowed);
        allow_text = allow.failed ? NULL : str_copy(rq->arena, buf_as_str(&allow)).ptr;
        buf_free(&allow);
        (rq->method == HTTP_OPTIONS ? answer_options : refuse_method)(x, allow_text ? allow_text
                                                                                    : "OPTIONS");
    } else if (length > 0 && (uint64_t)length > x->route->max_body_bytes) {
        refuse_too_large(x);
    } else if (length > 0
               && !buf_reserve(&x->body, length < RESERVE_BYTES ? (size_t)length : RESERVE_BYTES)) {
        refuse_busy(x, "out of memory");
    }
}

static size_t drop_limit(const struct exchange *x)
{
    return DROP_FACTOR * (x->route ? x->route->max_body_bytes : (size_t)RESERVE_BYTES);
}

static enum MHD_Result begin(struct exchange *x, const char *method)
{
    int64_t length = 0;
    bool waits;

    x->request.method = http_method_parse(method);
    watch_deadline(x->item, x->server->o.request_timeout_ms);
    if (!x->request.path.ptr || !read_headers(x))
        return MHD_NO;
    waits = http_header(&x->request, "Expect").len > 0;
    (void)number_parse_i64(http_header(&x->request, "Content-Length"), &length);
    choose(x, length);
    /* A client that waits to be asked for its body, or would send too much to be read and dropped,
     * is told at once; the library closes the connection then. */
    if (x->state == REFUSED && (waits || (length > 0 && (uint64_t)length > drop_limit(x))))
        return send_response(x);
    return MHD_YES;
}

/* Keeps n bytes of the body, or refuses the request. */
static void keep_body(struct exchange *x, const char *data, size_t n)
{
    struct http_server *s = x->server;

    if (n > x->route->max_body_bytes - x->body.len) {
        refuse_too_large(x);
    } else if (atomic_fetch_add(&s->bodies_bytes, n) + n > s->o.max_bodies_bytes) {
        atomic_fetch_sub(&s->bodies_bytes, n);
        refuse_busy(x, "too many requests at once");
    } else {
        buf_add(&x->body, data, n);
        if (x->body.failed) {
            atomic_fetch_sub(&s->bodies_bytes, n);
            refuse_busy(x, "out of memory");
        }
    }
    if (x->state == REFUSED)
        drop_body(x);
}

static enum MHD_Result add_body(struct exchange *x, const char *data, size_t n)
{
    if (x->state == BODY)
        keep_body(x, data, n);
    if (x->state == BODY)
        return MHD_YES;
    x->dropped += n;
    return x->dropped <= drop_limit(x) ? MHD_YES : MHD_NO;
}

/* The whole request is there: to the workers with it. */
static enum MHD_Result end(struct exchange *x)
{
    struct http_server *s = x->server;

    if (x->state == REFUSED)
        return send_response(x);
    x->request.body = buf_as_bytes(&x->body);
    x->request.complete_ns = clock_mono_ns(&clock_system);
    if (is_watched(x)) /* before it counts as running, so that a stop cancels it for sure */
        watch_client(s->watch, x->item, &x->left);
    atomic_fetch_add(&s->n_running, 1);
    if (atomic_load(&s->refusing)) {
        count_down(s, &s->n_running);
        watch_client(s->watch, x->item, NULL);
        refuse_busy(x, "Service Unavailable");
        return send_response(x);
    }
    x->state = RUNNING;
    x->job.run = run;
    watch_deadline(x->item, 0);
    MHD_suspend_connection(x->connection);
    if (!workers_push(s->workers[x->route->class], &x->job)) {
        refuse_busy(x, "too many requests are waiting");
        finish(x);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **context)
{
    struct exchange *x = *context;
    enum MHD_Result taken;

    (void)cls, (void)c, (void)url, (void)version;
    if (!x)
        return MHD_NO;
    switch (x->state) {
    case NEW:
        return begin(x, method);
    case BODY:
    case REFUSED:
        if (*n == 0)
            return end(x);
        taken = add_body(x, data, *n);
        *n = 0;
        return taken;
    case ANSWERED:
        return send_response(x);
    case RUNNING:
        break;
    }
    ASSERT(x->state != RUNNING); /* suspended connections are not called */
    return MHD_NO;
}

/* ---- start and stop ---- */

static void PRINTF_LIKE(2, 0) on_log(void *cls, const char *fmt, va_list ap)
{
    char text[256];
    int n;

    (void)cls;
    n = vsnprintf(text, sizeof text, fmt, ap);
    if (n > 0 && (size_t)n < sizeof text && text[n - 1] == '\n')
        text[n - 1] = '\0';
    log_debug("http", "text=\"%s\"", text);
}

struct http_server_options http_server_options_default(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    return (struct http_server_options){
        .listener.fd = -1,
        .n_io_threads = 2,
        .n_workers = { [HTTP_CHEAP] = 2,
                       [HTTP_QUERY] = cpus > 0 ? 2 * (size_t)cpus : 4,
                       [HTTP_WRITE] = 16,
                       [HTTP_ADMIN] = 1 },
        .max_queued = { [HTTP_CHEAP] = 256,
                        [HTTP_QUERY] = 128,
                        [HTTP_WRITE] = 256,
                        [HTTP_ADMIN] = 8 },
        .max_connections = 512,
        .max_header_bytes = 64 << 10,
        .max_bodies_bytes = 256 << 20,
        .header_timeout_ms = 10000,
        .request_timeout_ms = 60000,
        .response_timeout_ms = 300000,
        .idle_timeout_ms = 300000,
    };
}

static int tick_ms(const struct http_server_options *o)
{
    int64_t shortest = MAX_TICK_MS * 4;

    if (o->header_timeout_ms < shortest)
        shortest = o->header_timeout_ms;
    if (o->request_timeout_ms < shortest)
        shortest = o->request_timeout_ms;
    if (o->response_timeout_ms < shortest)
        shortest = o->response_timeout_ms;
    if (o->idle_timeout_ms < shortest)
        shortest = o->idle_timeout_ms;
    return shortest < 40 ? 10 : (int)(shortest / 4);
}

static enum errc start_daemon(struct http_server *s, struct err *err)
{
    const struct http_server_options *o = &s->o;
    struct MHD_OptionItem pool[] = {
        { MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)o->n_io_threads, NULL },
        { MHD_OPTION_END, 0, NULL },
    };

    if (o->n_io_threads < 2)
        pool[0].option = MHD_OPTION_END;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        o->listener.fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)o->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->max_header_bytes,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    if (!s->daemon)
        return err_set(err, ERR_IO, 0, "cannot start the HTTP server: %s", strerror(errno));
    return OK;
}

static void server_free(struct http_server *s)
{
    for (size_t i = 0; i < HTTP_CLASS_COUNT; i++)
        workers_stop(s->workers[i]);
    watch_stop(s->watch);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

enum errc http_server_start(const struct http_server_options *options, struct http_server **out,
                            struct err *err)
{
    static const char *const names[] = {
        [HTTP_CHEAP] = "http cheap",
        [HTTP_QUERY] = "http query",
        [HTTP_WRITE] = "http write",
        [HTTP_ADMIN] = "http admin",
    };
    struct http_server *s = calloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    enum errc rc;

    if (!s)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    s->o = *options;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = watch_start(tick_ms(options), &s->watch, err);
    for (size_t i = 0; !rc && i < HTTP_CLASS_COUNT; i++)
        rc = workers_start(names[i], options->n_workers[i], options->max_queued[i], &s->workers[i],
                           err);
    if (!rc)
        rc = start_daemon(s, err);
    if (rc) {
        server_free(s);
        return rc;
    }
    *out = s;
    return OK;
}

/* Waits until *count is 0, at most until end (on the monotonic clock) unless that is NULL. The
 * caller holds the lock. */
static void wait_for_zero(struct http_server *s, atomic_size_t *count, const struct timespec *end)
{
    while (atomic_load(count) > 0) {
        if (!end)
            pthread_cond_wait(&s->changed, &s->lock);
        else if (pthread_cond_timedwait(&s->changed, &s->lock, end) == ETIMEDOUT)
            return;
    }
}

void http_server_stop(struct http_server *s, int64_t grace_ms)
{
    struct timespec end;
    int64_t end_ns;
    int fd;

    if (!s)
        return;
    fd = MHD_quiesce_daemon(s->daemon);
    end_ns = clock_mono_ns(&clock_system) + grace_ms * 1000000;
    end = (struct timespec){ end_ns / 1000000000, end_ns % 1000000000 };
    atomic_store(&s->stopping, true);
    pthread_mutex_lock(&s->lock);
    wait_for_zero(s, &s->n_exchanges, &end);
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->refusing, true);
    watch_cancel_all(s->watch); /* queries end soon; writes are short */
    pthread_mutex_lock(&s->lock);
    wait_for_zero(s, &s->n_running, NULL); /* the library must not be stopped before */
    pthread_mutex_unlock(&s->lock);
    MHD_stop_daemon(s->daemon);
    if (fd >= 0)
        close(fd);
    server_free(s);
}
