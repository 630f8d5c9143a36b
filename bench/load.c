/* load.c -- sends a fleet's samples to a server by remote write 1.0, as fast as it takes them.
 *
 * Each sender is a thread with one keep-alive connection and its own pods, so the samples of a
 * series arrive in order. No sender is more than MAX_LEAD scrapes ahead of the slowest one, since
 * servers treat samples far behind the newest as late. A request is sent once: any answer but 2xx
 * is an error, counted and not repeated.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "bodies.h"

#include "base/banned.h"

enum { MAX_LEAD = 20, MAX_RESPONSE_BYTES = 1 << 16, EXIT_USAGE = 2 };

struct settings {
    const char *url, *folder;
    char host[256], port[8], path[1024]; /* of the url */
    struct bodies_options bodies;
    bool json;
};

/* How far each sender is. */
struct pace {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint32_t steps[MAX_SENDERS]; /* guarded by lock, as is the next */
    uint32_t n;
};

struct sender {
    const struct settings *settings;
    const struct bodies *bodies;
    struct pace *pace;
    uint32_t number;
    int fd; /* -1: not connected */
    char response[MAX_RESPONSE_BYTES];
    int64_t *took_ns; /* of each request */
    size_t n_errors;
    char first_error[512];
};

/* ---- pace ---- */

static uint32_t slowest(const struct pace *p)
{
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < p->n; i++)
        least = p->steps[i] < least ? p->steps[i] : least;
    return least;
}

/* Says that sender i has come to a scrape; waits while it is too far ahead. */
static void keep_pace(struct pace *p, uint32_t i, uint32_t step)
{
    pthread_mutex_lock(&p->lock);
    if (p->steps[i] != step) {
        p->steps[i] = step;
        pthread_cond_broadcast(&p->moved);
    }
    while (step != UINT32_MAX && step > MAX_LEAD && slowest(p) < step - MAX_LEAD)
        pthread_cond_wait(&p->moved, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ---- HTTP ---- */

static int connect_to(const struct settings *s)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int fd = -1, one = 1;

    if (getaddrinfo(s->host, s->port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void disconnect(struct sender *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static bool send_request(struct sender *s, struct bytes body)
{
    const struct settings *o = s->settings;
    char head[2048];
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/x-protobuf\r\n"
                     "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
                     "User-Agent: bench_load\r\nContent-Length: %zu\r\n\r\n",
                     o->path, o->host, o->port, body.len);
    struct iovec parts[] = { { head, (size_t)n }, { (void *)body.ptr, body.len } };
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts) };

    while (msg.msg_iovlen > 0) {
        ssize_t sent = sendmsg(s->fd, &msg, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        while (msg.msg_iovlen > 0 && (size_t)sent >= msg.msg_iov->iov_len) {
            sent -= (ssize_t)msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + sent;
            msg.msg_iov->iov_len -= (size_t)sent;
        }
    }
    return true;
}

/* Receives until the response holds need bytes; false at the end of the connection. */
static bool receive(struct sender *s, size_t *have, size_t need)
{
    while (*have < need) {
        ssize_t n = need < sizeof s->response
                        ? recv(s->fd, s->response + *have, sizeof s->response - 1 - *have, 0)
                        : -1;

        if (n < 0 && errno == EINTR && need < sizeof s->response)
            continue;
        if (n <= 0)
            return false;
        *have += (size_t)n;
        s->response[*have] = 0;
    }
    return true;
}

/* The status of the answer, 0 when there is none. The body, if any, is left at *text. A connection
 * that cannot go on is closed. */
static int receive_response(struct sender *s, const char **text)
{
    size_t have = 0, body_bytes = 0;
    const char *end = NULL, *length;
    int status;

    while (!end) {
        if (!receive(s, &have, have + 1)) {
            disconnect(s);
            return 0;
        }
        end = strstr(s->response, "\r\n\r\n");
    }
    end += 4;
    *text = end;
    status = have > 12 ? (int)strtol(s->response + 9, NULL, 10) : 0;
    length = strcasestr(s->response, "\r\nContent-Length:");
    if (length && length < end)
        body_bytes = strtoull(length + 17, NULL, 10);
    if ((!length && status != 204) || strcasestr(s->response, "\r\nConnection: close")
        || !receive(s, &have, (size_t)(end - s->response) + body_bytes))
        disconnect(s);
    return status;
}

static void note_error(struct sender *s, int status, const char *text)
{
    if (s->n_errors++ == 0)
        snprintf(s->first_error, sizeof s->first_error, "status %d: %.400s", status,
                 status ? text : "no answer");
}

static void *send_all(void *arg)
{
    struct sender *s = arg;
    const struct sender_bodies *mine = &s->bodies->senders[s->number];

    for (size_t i = 0; i < mine->n; i++) {
        int64_t start_ns;
        const char *text = "";
        int status = 0;

        keep_pace(s->pace, s->number, mine->items[i].step);
        start_ns = clock_mono_ns(&clock_system);
        if (s->fd < 0)
            s->fd = connect_to(s->settings);
        if (s->fd >= 0 && send_request(s, body_bytes(s->bodies, &mine->items[i])))
            status = receive_response(s, &text);
        else
            disconnect(s);
        s->took_ns[i] = clock_mono_ns(&clock_system) - start_ns;
        if (status < 200 || status > 299)
            note_error(s, status, text);
    }
    keep_pace(s->pace, s->number, UINT32_MAX);
    disconnect(s);
    return NULL;
}

/* ---- the whole, and its figures ---- */

struct figures {
    int64_t *took_ns; /* sorted */
    size_t n_requests, n_errors;
    double encode_s, send_s, cpu_s; /* cpu_s: ours, while sending */
    char first_error[512];
};

static double cpu_seconds(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec)
           + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double at_quantile_ms(const struct figures *f, double q)
{
    return (double)f->took_ns[(size_t)(q * (double)(f->n_requests - 1))] / 1e6;
}

static bool prepare(struct sender *senders, const struct settings *o, const struct bodies *b,
                    struct pace *pace, struct figures *f)
{
    for (uint32_t i = 0; i < o->bodies.n_senders; i++)
        f->n_requests += b->senders[i].n;
    f->took_ns = calloc(f->n_requests, sizeof *f->took_ns);
    if (!f->took_ns)
        return false;
    for (size_t i = 0, at = 0; i < o->bodies.n_senders; at += b->senders[i].n, i++) {
        senders[i].settings = o;
        senders[i].bodies = b;
        senders[i].pace = pace;
        senders[i].number = (uint32_t)i;
        senders[i].fd = -1;
        senders[i].took_ns = f->took_ns + at;
    }
    return true;
}

static bool load(const struct settings *o, const struct bodies *b, struct figures *f)
{
    uint32_t n = o->bodies.n_senders;
    struct pace pace = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, { 0 }, n };
    struct sender *senders = calloc(n, sizeof *senders);
    pthread_t threads[MAX_SENDERS];
    double cpu_before_s = cpu_seconds();
    int64_t start_ns = clock_mono_ns(&clock_system);

    if (!senders || !prepare(senders, o, b, &pace, f)) {
        free(senders);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, send_all, &senders[i]) != 0)
            abort();
    for (uint32_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        if (senders[i].n_errors && !f->n_errors)
            memcpy(f->first_error, senders[i].first_error, sizeof f->first_error);
        f->n_errors += senders[i].n_errors;
    }
    f->send_s = (double)(clock_mono_ns(&clock_system) - start_ns) / 1e9;
    f->cpu_s = cpu_seconds() - cpu_before_s;
    qsort(f->took_ns, f->n_requests, sizeof *f->took_ns, by_value);
    free(senders);
    return true;
}

/* What is told, for both ways of printing. */
struct line {
    const char *key, *title, *unit;
    double value;
    int decimals;
};

static void report(const struct bodies *b, const struct figures *f, bool json)
{
    double millions = (double)b->n_samples / 1e6;
    const struct line lines[] = {
        { "series", "series", "", (double)b->n_series, 0 },
        { "samples", "samples", "", (double)b->n_samples, 0 },
        { "requests", "requests", "", (double)f->n_requests, 0 },
        { "errors", "answers other than 2xx", "", (double)f->n_errors, 0 },
        { "seconds", "time to send", "s", f->send_s, 3 },
        { "samples_per_s", "rate", "samples/s", (double)b->n_samples / f->send_s, 0 },
        { "bytes", "bytes sent", "B", (double)b->n_bytes, 0 },
        { "bytes_per_sample", "of each sample", "B", (double)b->n_bytes / millions / 1e6, 2 },
        { "decoded_bytes_per_sample", "decompressed", "B",
          (double)b->n_decoded_bytes / millions / 1e6, 1 },
        { "p50_ms", "latency, median", "ms", at_quantile_ms(f, 0.5), 3 },
        { "p99_ms", "latency, 99th percentile", "ms", at_quantile_ms(f, 0.99), 3 },
        { "max_ms", "latency, largest", "ms", at_quantile_ms(f, 1), 3 },
        { "loader_cpu_s_per_million", "loader's CPU per million samples", "s", f->cpu_s / millions,
          3 },
        { "encode_s", "time to encode, before", "s", f->encode_s, 1 },
    };

    if (json)
        printf("{");
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct line *l = &lines[i];

        if (json)
            printf("%s\"%s\":%.*f", i ? "," : "", l->key, l->decimals, l->value);
        else
            printf("%-34s %14.*f %s\n", l->title, l->decimals, l->value, l->unit);
    }
    if (json)
        printf("}\n");
    if (f->n_errors)
        fprintf(stderr, "bench_load: the first error: %s\n", f->first_error);
}

/* ---- options ---- */

static const char usage[] =
    "Usage: bench_load --url URL [OPTION...]\n"
    "Sends made-up metrics of an LLM fleet by remote write 1.0 and tells how fast they were "
    "taken.\n"
    "\n"
    "  --url URL               http://HOST:PORT/PATH to send to\n"
    "  --series N              10000; rounded up to pods of 250 series\n"
    "  --samples-per-series N  240, or\n"
    "  --hours H               the same at 15 s a sample\n"
    "  --churn PERCENT         0; of the pods replaced by new ones in the course of it\n"
    "  --senders N             4; connections, each with a thread and its own pods\n"
    "  --seed N                1; the same options give the same bytes\n"
    "  --start MS              time of the first sample; by default such that the last is recent\n"
    "  --folder PATH           /var/tmp; for the encoded requests, 28 bytes a sample\n"
    "  --json                  figures as one JSON object\n";

static bool split_url(struct settings *o)
{
    const char *rest, *colon, *slash;

    if (!o->url || strncmp(o->url, "http://", 7) != 0)
        return false;
    rest = o->url + 7;
    slash = strchr(rest, '/');
    colon = strchr(rest, ':');
    if (!slash)
        slash = rest + strlen(rest);
    if (!colon || colon > slash)
        colon = slash;
    snprintf(o->host, sizeof o->host, "%.*s", (int)(colon - rest), rest);
    snprintf(o->port, sizeof o->port, "%.*s", colon < slash ? (int)(slash - colon - 1) : 2,
             colon < slash ? colon + 1 : "80");
    snprintf(o->path, sizeof o->path, "%s", *slash ? slash : "/");
    return o->host[0] != 0;
}

static bool read_number(const char *text, double max, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return *end == 0 && end != text && *out >= 0 && *out <= max;
}

static bool read_options(int argc, char **argv, struct settings *o)
{
    static const struct option known[] = {
        { "url", 1, NULL, 'u' },
        { "series", 1, NULL, 'n' },
        { "samples-per-series", 1, NULL, 's' },
        { "hours", 1, NULL, 'h' },
        { "churn", 1, NULL, 'x' },
        { "senders", 1, NULL, 'c' },
        { "seed", 1, NULL, 'r' },
        { "start", 1, NULL, 't' },
        { "folder", 1, NULL, 'f' },
        { "json", 0, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    double series = 10000, steps = 240, senders = 4, seed = 1, start = -1, churn = 0, hours;
    bool ok = true;

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case 'u':
            o->url = optarg;
            break;
        case 'n':
            ok &= read_number(optarg, 1e8, &series);
            break;
        case 's':
            ok &= read_number(optarg, 1e7, &steps);
            break;
        case 'h':
            ok &= read_number(optarg, 1e5, &hours);
            steps = hours * 3600e3 / FLEET_STEP_MS;
            break;
        case 'x':
            ok &= read_number(optarg, 100, &churn);
            break;
        case 'c':
            ok &= read_number(optarg, MAX_SENDERS, &senders);
            break;
        case 'r':
            ok &= read_number(optarg, 1e15, &seed);
            break;
        case 't':
            ok &= read_number(optarg, 1e15, &start);
            break;
        case 'f':
            o->folder = optarg;
            break;
        case 'j':
            o->json = true;
            break;
        default:
            ok = false;
        }
    if (start < 0)
        start = (double)clock_wall_ms(&clock_system) - (steps + 1) * FLEET_STEP_MS;
    o->bodies = (struct bodies_options){
        .fleet = { .seed = (uint64_t)seed,
                   .start_ms = (int64_t)start / FLEET_STEP_MS * FLEET_STEP_MS,
                   .n_steps = (uint32_t)steps },
        .n_pods = ((uint32_t)series + POD_SERIES - 1) / POD_SERIES,
        .n_senders = (uint32_t)senders,
        .churn_percent = (uint32_t)churn,
    };
    return ok && optind == argc && series >= 1 && steps >= 1 && senders >= 1 && split_url(o);
}

int main(int argc, char **argv)
{
    struct settings o = { .folder = "/var/tmp" };
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct bodies b = { 0 };
    struct figures f = { 0 };
    int status = EXIT_FAILURE;
    int64_t start_ns = clock_mono_ns(&clock_system);

    if (!read_options(argc, argv, &o)) {
        fputs(usage, stderr);
        status = EXIT_USAGE;
        goto done;
    }
    if (bodies_make(&o.bodies, o.folder, &b, &err) != OK) {
        fprintf(stderr, "bench_load: %s\n", err_text(&err));
        goto done;
    }
    f.encode_s = (double)(clock_mono_ns(&clock_system) - start_ns) / 1e9;
    if (!load(&o, &b, &f)) {
        fprintf(stderr, "bench_load: out of memory\n");
        goto done;
    }
    report(&b, &f, o.json);
    status = f.n_errors ? EXIT_FAILURE : EXIT_SUCCESS;
done:
    free(f.took_ns);
    bodies_free(&b);
    arena_free(arena);
    return status;
}
