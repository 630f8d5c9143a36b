#include "alert/notify_message.h"

#include <stdlib.h>

#include "base/json.h"
#include "storage/labels_json.h"

#include "base/banned.h"

/* A firing alert is believed for this long at least: who queued it was late, but it does fire. */
static const int64_t min_validity_ms = 60000;

static void add_member(struct buf *b, const struct label *l, bool first)
{
    if (!first)
        buf_u8(b, ',');
    json_string(b, l->name);
    buf_u8(b, ':');
    json_string(b, l->value);
}

static void add_labels(struct buf *b, struct labels own, struct labels external)
{
    bool first = true;

    buf_u8(b, '{');
    for (size_t i = 0; i < own.n; i++, first = false)
        add_member(b, &own.items[i], first);
    for (size_t i = 0; i < external.n; i++) {
        if (labels_get(own, external.items[i].name).len == 0) {
            add_member(b, &external.items[i], first);
            first = false;
        }
    }
    buf_u8(b, '}');
}

/* Adds {"labels":{...},"annotations":{...},"generatorURL":"...","startsAt":"...","endsAt": */
static void add_text(struct buf *b, const struct notification *item, struct labels external,
                     struct notify_message *m)
{
    buf_text(b, "{\"labels\":");
    m->labels_at = b->len;
    add_labels(b, item->labels, external);
    m->labels_bytes = b->len - m->labels_at;
    buf_text(b, ",\"annotations\":");
    json_labels(b, item->annotations);
    buf_text(b, ",\"generatorURL\":");
    json_string(b, item->generator_url);
    buf_text(b, ",\"startsAt\":");
    json_rfc3339(b, item->starts_ms);
    buf_text(b, ",\"endsAt\":");
    m->text_bytes = b->len;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct notify_message *notify_message_new(const struct notification *item, struct labels external,
                                          int64_t now_ms)
{
    struct notify_message head = {
        .id = item->id,
        .resolved = item->resolved,
        .n_owners = 1,
        .starts_ms = item->starts_ms,
        .ends_ms = item->ends_ms,
        .validity_ms = later(item->ends_ms - now_ms, min_validity_ms),
    };
    struct notify_message *m = NULL;
    struct buf b = { 0 };

    add_text(&b, item, external, &head);
    if (!b.failed && (m = malloc(sizeof *m + b.len))) {
        memcpy(m, &head, sizeof head);
        memcpy(m->text, b.ptr, b.len);
    }
    buf_free(&b);
    return m;
}

struct notify_message *notify_message_share(struct notify_message *m)
{
    atomic_fetch_add(&m->n_owners, 1);
    return m;
}

void notify_message_release(struct notify_message *m)
{
    if (atomic_fetch_sub(&m->n_owners, 1) == 1)
        free(m);
}

size_t notify_message_size(const struct notify_message *m)
{
    return sizeof *m + m->text_bytes;
}

/* Alertmanager refuses an alert that ends before it starts, which a clock that was set back could
 * make of it. */
static int64_t ends_at_ms(const struct notify_message *m, int64_t now_ms)
{
    int64_t end_ms = m->resolved ? m->ends_ms : later(m->ends_ms, now_ms + m->validity_ms);

    return later(end_ms, m->starts_ms);
}

void notify_message_print(struct buf *b, const struct notify_message *m, int64_t now_ms)
{
    buf_add(b, m->text, m->text_bytes);
    json_rfc3339(b, ends_at_ms(m, now_ms));
    buf_u8(b, '}');
}

struct str notify_message_labels(const struct notify_message *m)
{
    return (struct str){ m->text + m->labels_at, m->labels_bytes };
}
