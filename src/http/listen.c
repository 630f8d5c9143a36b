#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/number.h"

#include "base/banned.h"

enum { BACKLOG = 511 };

struct host_port {
    char host[256]; /* empty: all addresses */
    char port[8];
};

static enum errc split(const char *address, struct host_port *out, struct err *err)
{
    const char *colon = strrchr(address, ':');
    const char *host = address;
    size_t n = colon ? (size_t)(colon - address) : 0;
    int64_t port;

    if (colon && n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    } else if (colon && memchr(host, ':', n)) {
        return err_set(err, ERR_BAD_CONFIG, 0,
                       "\"%s\": write an IPv6 address in brackets: [::1]:9420", address);
    }
    if (!colon || n >= sizeof out->host || !number_parse_i64(str_from(colon + 1), &port) || port < 0
        || port > 65535)
        return err_set(err, ERR_BAD_CONFIG, 0,
                       "\"%s\" is not HOST:PORT, such as 127.0.0.1:9420 or :9420", address);
    memcpy(out->host, host, n);
    out->host[n] = '\0';
    snprintf(out->port, sizeof out->port, "%d", (int)port);
    return OK;
}

enum errc listen_check(const char *address, struct err *err)
{
    struct host_port hp;

    return split(address, &hp, err);
}

/* A listening socket on one address, or -1 with errno set. */
static int open_one(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    int on = 1, off = 0;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) /* [::] takes IPv4 too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int e = errno;

        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static void describe(struct listener *out, const char *host)
{
    struct sockaddr_storage at = { 0 };
    socklen_t len = sizeof at;
    bool any = !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;

    ASSERT(getsockname(out->fd, (struct sockaddr *)&at, &len) == 0);
    out->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                               : ((struct sockaddr_in *)&at)->sin_port);
    if (any)
        host = "127.0.0.1";
    snprintf(out->url, sizeof out->url, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host,
             out->port);
}

enum errc listen_open(const char *address, struct listener *out, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *found = NULL;
    struct host_port hp;
    enum errc rc = split(address, &hp, err);
    int e;

    if (rc)
        return rc;
    e = getaddrinfo(*hp.host ? hp.host : NULL, hp.port, &hints, &found);
    if (e)
        return err_set(err, ERR_BAD_CONFIG, 0, "cannot listen on %s: %s", address, gai_strerror(e));
    /* Of all addresses, [::] comes second but serves both families. */
    out->fd = -1;
    for (int family = *hp.host ? AF_UNSPEC : AF_INET6; out->fd < 0; family = AF_UNSPEC) {
        for (struct addrinfo *a = found; a && out->fd < 0; a = a->ai_next)
            if (family == AF_UNSPEC || a->ai_family == family)
                out->fd = open_one(a);
        if (family == AF_UNSPEC || errno == EADDRINUSE)
            break;
    }
    e = errno;
    freeaddrinfo(found);
    if (out->fd < 0)
        return err_set(err, e == EADDRINUSE ? ERR_CONFLICT : ERR_IO, 0, "cannot listen on %s: %s",
                       address, strerror(e));
    describe(out, hp.host);
    return OK;
}
