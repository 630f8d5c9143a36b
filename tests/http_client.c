#include "http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/banned.h"

void answer_free(struct answer *a)
{
    buf_free(&a->head);
    buf_free(&a->body);
    *a = (struct answer){ 0 };
}

const char *answer_text(const struct answer *a)
{
    return a->body.ptr ? (const char *)a->body.ptr : "";
}

int client_connect(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval limit = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

bool client_send(int fd, const void *data, size_t n)
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

bool client_text(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

/* One byte at a time is slow but never reads into the next answer. */
bool client_line(int fd, struct buf *out)
{
    char c = 0;

    while (c != '\n') {
        if (recv(fd, &c, 1, 0) != 1)
            return false;
        buf_u8(out, (uint8_t)c);
    }
    return true;
}

static bool client_bytes(int fd, struct buf *out, size_t n)
{
    while (n > 0) {
        uint8_t *to = buf_reserve(out, n);
        ssize_t got = to ? recv(fd, to, n, 0) : -1;

        if (got <= 0)
            return false;
        out->len += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

const char *answer_header(const struct answer *a, const char *name)
{
    static char value[512];
    const char *line = (const char *)a->head.ptr;
    size_t n = strlen(name);

    for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + n + 2, "\r\n"), line + n + 2);
            return value;
        }
    }
    return NULL;
}

static bool client_chunks(int fd, struct buf *body)
{
    for (;;) {
        struct buf line = { 0 };
        size_t n;
        bool ok = client_line(fd, &line);

        buf_u8(&line, 0);
        n = ok ? strtoul((char *)line.ptr, NULL, 16) : 0;
        buf_clear(&line);
        ok = ok && client_bytes(fd, body, n) && client_line(fd, &line);
        buf_free(&line);
        if (!ok || n == 0)
            return ok;
    }
}

struct answer client_read(int fd, bool no_body)
{
    struct answer a = { 0 };
    const char *length, *te;
    size_t start = 0;

    do {
        start = a.head.len;
        if (!client_line(fd, &a.head)) {
            buf_u8(&a.head, 0);
            return a;
        }
    } while (a.head.len - start > 2);
    buf_u8(&a.head, 0);
    a.status = (int)strtol((char *)a.head.ptr + strlen("HTTP/1.1 "), NULL, 10);
    te = answer_header(&a, "Transfer-Encoding");
    a.chunked = te && strcmp(te, "chunked") == 0;
    length = answer_header(&a, "Content-Length");
    if (no_body || a.status == 204 || a.status == 100)
        a.complete = true;
    else if (a.chunked)
        a.complete = client_chunks(fd, &a.body);
    else if (length)
        a.complete = client_bytes(fd, &a.body, strtoul(length, NULL, 10));
    buf_u8(&a.body, 0);
    a.body.len--;
    return a;
}

struct answer client_ask(uint16_t port, const char *head, struct bytes body)
{
    int fd = client_connect(port);
    struct buf text = { 0 };
    struct answer a;

    buf_printf(&text, "%s\r\nHost: localhost\r\n", head);
    if (body.ptr)
        buf_printf(&text, "Content-Length: %zu\r\n", body.len);
    buf_text(&text, "\r\n");
    client_send(fd, text.ptr, text.len);
    client_send(fd, body.ptr, body.len);
    a = client_read(fd, strncmp(head, "HEAD", 4) == 0);
    buf_free(&text);
    close(fd);
    return a;
}

struct answer client_get(uint16_t port, const char *target)
{
    char head[4096];

    snprintf(head, sizeof head, "GET %s HTTP/1.1", target);
    return client_ask(port, head, (struct bytes){ 0 });
}

struct answer client_form(uint16_t port, const char *target, const char *form)
{
    char head[4096];

    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", target);
    return client_ask(port, head, (struct bytes){ (const uint8_t *)form, strlen(form) });
}
