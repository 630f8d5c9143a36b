/* bodies.c
 *
 *   WriteRequest  1 timeseries*        TimeSeries  1 labels* (from the fleet)  2 samples
 *   Sample        1 value double  2 timestamp int64, ms
 *
 * (Remote-Write 1.0 specification.) The file is the requests behind one another, in the order in
 * which the threads finish them; the list of them stays in memory.
 */
#include "bodies.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/vec.h"
#include "ingest/snappy.h"

#include "base/banned.h"

struct encoder {
    struct bodies *bodies;
    struct sender_bodies *list;
    uint32_t first_pod, end_pod;
    atomic_uint_fast64_t *file_end;
    struct buf message, packed;
    uint32_t n_samples, step; /* in message; step of the first */
    uint32_t n_replaced;
    uint64_t decoded_bytes;
    enum errc rc;
};

static size_t uvarint_size(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static void add_sample(struct buf *b, struct bytes labels, int64_t t_ms, double v)
{
    size_t sample = 9 + 1 + uvarint_size((uint64_t)t_ms);

    buf_u8(b, 1 << 3 | 2);
    buf_uvarint(b, labels.len + 2 + sample);
    buf_add(b, labels.ptr, labels.len);
    buf_u8(b, 2 << 3 | 2);
    buf_u8(b, (uint8_t)sample);
    buf_u8(b, 1 << 3 | 1);
    buf_u64(b, f64_bits(v));
    buf_u8(b, 2 << 3 | 0);
    buf_uvarint(b, (uint64_t)t_ms);
}

static enum errc write_all(int fd, struct bytes data, uint64_t offset)
{
    while (data.len > 0) {
        ssize_t n = pwrite(fd, data.ptr, data.len, (off_t)offset);

        if (n <= 0)
            return ERR_IO;
        data.ptr += n;
        data.len -= (size_t)n;
        offset += (size_t)n;
    }
    return OK;
}

static enum errc finish_body(struct encoder *e)
{
    struct sender_bodies *l = e->list;
    struct body body = { .n_samples = e->n_samples, .step = e->step };

    if (e->n_samples == 0)
        return OK;
    if (e->message.failed || snappy_encode(buf_as_bytes(&e->message), &e->packed, NULL) != OK
        || !vec_reserve(&l->items, &l->cap, l->n + 1, sizeof *l->items))
        return ERR_NOMEM;
    body.bytes = (uint32_t)e->packed.len;
    body.offset = atomic_fetch_add(e->file_end, e->packed.len);
    l->items[l->n++] = body;
    e->decoded_bytes += e->message.len;
    e->n_samples = 0;
    buf_clear(&e->message);
    return write_all(e->bodies->fd, buf_as_bytes(&e->packed), body.offset);
}

static enum errc encode_scrape(struct encoder *e, struct pod *p, uint32_t step)
{
    double values[POD_SERIES];
    int64_t t_ms = pod_scrape(p, values);

    for (uint32_t i = 0; i < POD_SERIES; i++) {
        if (e->n_samples == 0)
            e->step = step;
        add_sample(&e->message, pod_labels(p, i), t_ms, values[i]);
        if (++e->n_samples == BODY_SAMPLES) {
            enum errc rc = finish_body(e);

            if (rc != OK)
                return rc;
        }
    }
    return OK;
}

/* The step from which another pod stands in place i; n_steps for none. Places are taken in an order
 * that spreads them over all senders. */
static uint32_t replaced_at(const struct bodies_options *o, uint32_t i)
{
    uint32_t n = (uint32_t)((uint64_t)o->n_pods * o->churn_percent / 100);
    uint32_t place = (uint32_t)((uint64_t)i * n / o->n_pods);
    bool chosen = (uint64_t)(i + 1) * n / o->n_pods > place;

    return chosen ? 1 + (uint32_t)((uint64_t)place * 7919 % n * (o->fleet.n_steps - 1) / n)
                  : o->fleet.n_steps;
}

/* A pod that nobody has seen, from a step on. */
static struct pod *replacement(const struct bodies_options *o, uint32_t i, uint32_t step)
{
    struct fleet_options fleet = o->fleet;

    fleet.start_ms += (int64_t)step * FLEET_STEP_MS;
    fleet.n_steps -= step;
    return pod_new(&fleet, o->n_pods + i);
}

static enum errc encode_step(struct encoder *e, struct pod **pods, uint32_t step)
{
    const struct bodies_options *o = &e->bodies->options;
    enum errc rc = OK;

    for (uint32_t i = 0; i < e->end_pod - e->first_pod && rc == OK; i++) {
        if (replaced_at(o, e->first_pod + i) == step) {
            pod_free(pods[i]);
            if (!(pods[i] = replacement(o, e->first_pod + i, step)))
                return ERR_NOMEM;
            e->n_replaced++;
        }
        rc = encode_scrape(e, pods[i], step);
    }
    return rc;
}

static void *encode(void *arg)
{
    struct encoder *e = arg;
    const struct bodies_options *o = &e->bodies->options;
    uint32_t n = e->end_pod - e->first_pod;
    struct pod **pods = calloc(n ? n : 1, sizeof *pods);

    e->rc = pods ? OK : ERR_NOMEM;
    for (uint32_t i = 0; i < n && e->rc == OK; i++)
        if (!(pods[i] = pod_new(&o->fleet, e->first_pod + i)))
            e->rc = ERR_NOMEM;
    for (uint32_t step = 0; step < o->fleet.n_steps && e->rc == OK; step++)
        e->rc = encode_step(e, pods, step);
    if (e->rc == OK)
        e->rc = finish_body(e);
    for (uint32_t i = 0; pods && i < n; i++)
        pod_free(pods[i]);
    free(pods);
    buf_free(&e->message);
    buf_free(&e->packed);
    return NULL;
}

static enum errc encode_all(struct bodies *b)
{
    const struct bodies_options *o = &b->options;
    struct encoder encoders[MAX_SENDERS] = { 0 };
    pthread_t threads[MAX_SENDERS];
    atomic_uint_fast64_t file_end = 0;
    enum errc rc = OK;

    for (uint32_t i = 0; i < o->n_senders; i++) {
        encoders[i] = (struct encoder){ .bodies = b,
                                        .list = &b->senders[i],
                                        .first_pod = o->n_pods * i / o->n_senders,
                                        .end_pod = o->n_pods * (i + 1) / o->n_senders,
                                        .file_end = &file_end };
        if (pthread_create(&threads[i], NULL, encode, &encoders[i]) != 0)
            abort(); /* a tool: nothing to save */
    }
    for (uint32_t i = 0; i < o->n_senders; i++) {
        pthread_join(threads[i], NULL);
        rc = rc ? rc : encoders[i].rc;
        b->n_decoded_bytes += encoders[i].decoded_bytes;
        b->n_series += (uint64_t)encoders[i].n_replaced * POD_SERIES;
    }
    b->n_series += (uint64_t)o->n_pods * POD_SERIES;
    b->n_bytes = file_end;
    b->n_samples = (uint64_t)o->n_pods * POD_SERIES * o->fleet.n_steps;
    return rc;
}

enum errc bodies_make(const struct bodies_options *o, const char *folder, struct bodies *out,
                      struct err *err)
{
    enum errc rc;
    void *map;

    ASSERT(o->n_senders >= 1 && o->n_senders <= MAX_SENDERS && o->n_pods && o->fleet.n_steps);
    *out = (struct bodies){ .options = *o };
    out->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (out->fd < 0)
        return err_set(err, ERR_IO, 0, "cannot make a file in %s", folder);
    rc = encode_all(out);
    if (rc != OK)
        return err_set(err, rc, 0, "cannot encode into a file in %s: %s", folder,
                       rc == ERR_NOMEM ? "out of memory" : "is the disk full?");
    map = mmap(NULL, out->n_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, out->fd, 0);
    if (map == MAP_FAILED)
        return err_set(err, ERR_IO, 0, "cannot map %llu bytes", (unsigned long long)out->n_bytes);
    out->map = map;
    out->map_bytes = out->n_bytes;
    return OK;
}

void bodies_free(struct bodies *b)
{
    for (size_t i = 0; i < MAX_SENDERS; i++)
        free(b->senders[i].items);
    if (b->map)
        munmap((void *)b->map, b->map_bytes);
    if (b->fd > 0)
        close(b->fd);
    *b = (struct bodies){ 0 };
}
