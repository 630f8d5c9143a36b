/* notify_queue.c -- a list of alerts in order, and a hash table that finds them by id. The table is
 * sized for one state per alert, which is as full as a queue usually gets. */
#include "alert/notify_queue.h"

#include <stdlib.h>
#include <string.h>

#include "alert/notify_message.h"

#include "base/banned.h"

enum {
    MAX_STATES = 4,
    MAX_BYTES = 64 << 20,
    MAX_BATCH_BYTES = 1 << 20, /* what a proxy in front of the server usually accepts */
    MAX_BUCKETS = 1 << 16,
};

struct entry {
    uint64_t id;
    struct entry *before, *after; /* in the order of arrival */
    struct entry *next;           /* in the bucket */
    size_t n;
    struct notify_message *states[MAX_STATES]; /* oldest first */
    bool on_its_way;                           /* states[0] */
};

struct notify_queue {
    size_t max_messages;
    size_t n_messages, n_on_their_way, n_bytes;
    struct entry *first, *last;
    size_t n_buckets; /* a power of two */
    struct entry *buckets[];
};

struct notify_queue *notify_queue_new(size_t max_messages)
{
    struct notify_queue *q;
    size_t n_buckets = 16;

    ASSERT(max_messages > 0);
    while (n_buckets < max_messages && n_buckets < MAX_BUCKETS)
        n_buckets *= 2;
    q = calloc(1, sizeof *q + n_buckets * sizeof *q->buckets);
    if (!q)
        return NULL;
    q->n_buckets = n_buckets;
    q->max_messages = max_messages;
    return q;
}

void notify_queue_set_max(struct notify_queue *q, size_t max_messages)
{
    ASSERT(max_messages > 0);
    q->max_messages = max_messages;
}

/* ---- entries ---- */

/* Ids need not be well mixed: multiplying spreads them (Knuth, TAOCP 6.4), the high bits are used. */
static struct entry **bucket_of(const struct notify_queue *q, uint64_t id)
{
    uint64_t mixed = id * UINT64_C(0x9e3779b97f4a7c15);

    return (struct entry **)&q->buckets[(mixed >> 32) & (q->n_buckets - 1)];
}

static struct entry *find(const struct notify_queue *q, uint64_t id)
{
    struct entry *e = *bucket_of(q, id);

    while (e && e->id != id)
        e = e->next;
    return e;
}

static struct entry *add_entry(struct notify_queue *q, uint64_t id)
{
    struct entry **bucket = bucket_of(q, id);
    struct entry *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    e->id = id;
    e->next = *bucket;
    *bucket = e;
    e->before = q->last;
    *(q->last ? &q->last->after : &q->first) = e;
    q->last = e;
    return e;
}

static void remove_entry(struct notify_queue *q, struct entry *e)
{
    struct entry **in_bucket = bucket_of(q, e->id);

    while (*in_bucket != e)
        in_bucket = &(*in_bucket)->next;
    *in_bucket = e->next;
    *(e->before ? &e->before->after : &q->first) = e->after;
    *(e->after ? &e->after->before : &q->last) = e->before;
    free(e);
}

/* Frees the entry when it was its last state. */
static void remove_state(struct notify_queue *q, struct entry *e, size_t i)
{
    ASSERT(i < e->n);
    q->n_messages--;
    q->n_bytes -= notify_message_size(e->states[i]);
    notify_message_release(e->states[i]);
    e->n--;
    memmove(&e->states[i], &e->states[i + 1], (e->n - i) * sizeof *e->states);
    if (e->n == 0)
        remove_entry(q, e);
}

static void add_state(struct notify_queue *q, struct entry *e, struct notify_message *m)
{
    ASSERT(e->n < MAX_STATES);
    e->states[e->n++] = notify_message_share(m);
    q->n_messages++;
    q->n_bytes += notify_message_size(m);
}

/* ---- the queue ---- */

void notify_queue_free(struct notify_queue *q)
{
    if (!q)
        return;
    ASSERT(q->n_on_their_way == 0);
    while (q->first)
        remove_state(q, q->first, 0);
    free(q);
}

static void drop_oldest(struct notify_queue *q)
{
    struct entry *e = q->first;

    while (e->on_its_way && e->n == 1)
        e = e->after;
    remove_state(q, e, e->on_its_way);
}

static size_t enforce_bounds(struct notify_queue *q)
{
    size_t n_dropped = 0;

    while (q->n_messages - q->n_on_their_way > q->max_messages
           || (q->n_bytes > MAX_BYTES && q->n_messages > q->n_on_their_way)) {
        drop_oldest(q);
        n_dropped++;
    }
    return n_dropped;
}

/* The last state gives way to m when it tells the same, unless it is on its way. */
static bool replaces_last(const struct entry *e, const struct notify_message *m)
{
    return e->n > (e->on_its_way ? 1 : 0) && e->states[e->n - 1]->resolved == m->resolved;
}

size_t notify_queue_put(struct notify_queue *q, struct notify_message *m)
{
    struct entry *e = find(q, m->id);
    size_t n_dropped = 0;

    if (!e && !(e = add_entry(q, m->id)))
        return 1;
    if (replaces_last(e, m)) {
        q->n_bytes -= notify_message_size(e->states[e->n - 1]);
        q->n_bytes += notify_message_size(m);
        notify_message_release(e->states[e->n - 1]);
        e->states[e->n - 1] = notify_message_share(m);
    } else {
        if (e->n == MAX_STATES)
            for (; n_dropped < 2; n_dropped++)
                remove_state(q, e, e->on_its_way);
        add_state(q, e, m);
    }
    return n_dropped + enforce_bounds(q);
}

size_t notify_queue_take(struct notify_queue *q, struct notify_message **out, size_t max)
{
    size_t n = 0, bytes = 0;

    ASSERT(q->n_on_their_way == 0);
    for (struct entry *e = q->first; e && n < max; e = e->after) {
        bytes += notify_message_size(e->states[0]);
        if (n > 0 && bytes > MAX_BATCH_BYTES)
            break;
        e->on_its_way = true;
        out[n++] = e->states[0];
    }
    q->n_on_their_way = n;
    return n;
}

size_t notify_queue_settle(struct notify_queue *q, struct notify_message *const *taken,
                           const bool *done, size_t n)
{
    ASSERT(n == q->n_on_their_way);
    q->n_on_their_way = 0;
    for (size_t i = 0; i < n; i++) {
        struct entry *e = find(q, taken[i]->id);
        bool is_old;

        ASSERT(e && e->on_its_way && e->states[0] == taken[i]);
        e->on_its_way = false;
        is_old = e->n > 1 && e->states[1]->resolved == e->states[0]->resolved;
        if (done[i] || is_old)
            remove_state(q, e, 0);
    }
    return enforce_bounds(q);
}

size_t notify_queue_length(const struct notify_queue *q)
{
    return q->n_messages;
}

bool notify_queue_has(const struct notify_queue *q, uint64_t id)
{
    return find(q, id);
}
