#include "http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

enum { MAX_CONNECTIONS = 32, READ_BYTES = 64 << 10 };

struct connection {
    int fd;
    unsigned number;
    struct buf in; /* what came and was not answered yet */
};

struct http_peer {
    peer_handler *handler;
    void *ctx;
    int listen_fd, stop_fd;
    uint16_t port;
    pthread_t thread;
    unsigned n_accepted;
    size_t n;
    struct connection connections[MAX_CONNECTIONS];
};

const char *peer_header(const struct peer_request *r, const char *name, char *buffer, size_t size)
{
    size_t n = strlen(name);

    for (const char *line = r->head; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            snprintf(buffer, size, "%.*s", (int)strcspn(line + n + 2, "\r\n"), line + n + 2);
            return buffer;
        }
    }
    return NULL;
}

static bool send_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* False: the connection is over. */
static bool reply(int fd, const struct peer_reply *r)
{
    static const char filler[4096] = { 'x' };
    const char *body = r->body ? r->body : "";
    size_t body_bytes = strlen(body), left = r->filler_bytes;
    struct buf out = { 0 };
    bool ok;

    buf_printf(&out, "HTTP/1.1 %d Reply\r\nContent-Length: %zu\r\n%s\r\n", r->status,
               body_bytes + left + r->break_off, r->headers ? r->headers : "");
    buf_add(&out, body, body_bytes);
    ok = send_all(fd, out.ptr, out.len);
    buf_free(&out);
    for (size_t n; ok && left > 0; left -= n) {
        n = left < sizeof filler ? left : sizeof filler;
        ok = send_all(fd, filler, n);
    }
    return ok && !r->break_off;
}

/* The bytes of the first request in c->in, 0 when it is not complete. */
static size_t request_size(struct connection *c, size_t *head_bytes)
{
    const char *end = c->in.len ? memmem(c->in.ptr, c->in.len, "\r\n\r\n", 4) : NULL;
    struct peer_request r = { 0 };
    char length[32], *head;
    size_t n;

    if (!end)
        return 0;
    *head_bytes = (size_t)(end - (const char *)c->in.ptr) + 4;
    head = strndup((const char *)c->in.ptr, *head_bytes);
    r.head = head;
    n = *head_bytes;
    if (peer_header(&r, "Content-Length", length, sizeof length))
        n += strtoul(length, NULL, 10);
    free(head);
    return n <= c->in.len ? n : 0;
}

static bool answer_requests(struct http_peer *p, struct connection *c)
{
    size_t head_bytes, n;
    bool ok = true;

    while (ok && (n = request_size(c, &head_bytes)) > 0) {
        char *head = strndup((const char *)c->in.ptr, head_bytes);
        struct peer_request r = { .head = head, .connection = c->number };
        struct peer_reply answer;

        r.body = (struct str){ (const char *)c->in.ptr + head_bytes, n - head_bytes };
        answer = p->handler(p->ctx, &r);
        free(head);
        ok = answer.hang || reply(c->fd, &answer);
        memmove(c->in.ptr, c->in.ptr + n, c->in.len - n);
        c->in.len -= n;
    }
    return ok;
}

static bool read_some(struct connection *c)
{
    uint8_t *to = buf_reserve(&c->in, READ_BYTES);
    ssize_t got = to ? recv(c->fd, to, READ_BYTES, 0) : -1;

    if (got <= 0)
        return false;
    c->in.len += (size_t)got;
    return true;
}

static void close_connection(struct http_peer *p, size_t i)
{
    close(p->connections[i].fd);
    buf_free(&p->connections[i].in);
    p->connections[i] = p->connections[--p->n];
}

static void accept_one(struct http_peer *p)
{
    int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (p->n == MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    p->connections[p->n++] = (struct connection){ .fd = fd, .number = ++p->n_accepted };
}

static void *peer_thread(void *arg)
{
    struct http_peer *p = arg;

    for (;;) {
        struct pollfd fds[MAX_CONNECTIONS + 2] = { { p->stop_fd, POLLIN, 0 },
                                                   { p->listen_fd, POLLIN, 0 } };
        size_t n = p->n;

        for (size_t i = 0; i < n; i++)
            fds[i + 2] = (struct pollfd){ p->connections[i].fd, POLLIN, 0 };
        if (poll(fds, n + 2, -1) < 0)
            continue;
        if (fds[0].revents)
            return NULL;
        for (size_t i = n; i-- > 0;) /* backwards: closing moves the last one here */
            if (fds[i + 2].revents
                && !(read_some(&p->connections[i]) && answer_requests(p, &p->connections[i])))
                close_connection(p, i);
        if (fds[1].revents)
            accept_one(p);
    }
}

struct http_peer *http_peer_start(uint16_t port, peer_handler *handler, void *ctx)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct http_peer *p = calloc(1, sizeof *p);
    socklen_t size = sizeof at;
    int yes = 1;

    assert_non_null(p);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->handler = handler;
    p->ctx = ctx;
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(p->listen_fd >= 0 && p->stop_fd >= 0);
    setsockopt(p->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(p->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->listen_fd, 64), 0);
    assert_int_equal(getsockname(p->listen_fd, (struct sockaddr *)&at, &size), 0);
    p->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_thread, p), 0);
    return p;
}

uint16_t http_peer_port(const struct http_peer *p)
{
    return p->port;
}

void http_peer_stop(struct http_peer *p)
{
    if (!p)
        return;
    eventfd_write(p->stop_fd, 1);
    pthread_join(p->thread, NULL);
    while (p->n > 0)
        close_connection(p, p->n - 1);
    close(p->listen_fd);
    close(p->stop_fd);
    free(p);
}
