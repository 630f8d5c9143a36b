/* notify_message.h -- one state of an alert, written for Alertmanager when it was queued.
 *
 * Only endsAt is left open until the message is sent. For a resolved alert it is when it resolved.
 * For a firing one it is until when Alertmanager may believe it without hearing more: a message that
 * waited for a server that was away could be past that time already and would arrive as resolved. It
 * is therefore as far ahead of the time of sending as it was of the time of queueing.
 *
 * Threads: a message never changes, and any number of threads share it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notifier.h"
#include "base/bytes.h"
#include "storage/labels.h"

struct notify_message {
    uint64_t id; /* of the alert */
    bool resolved;
    atomic_uint n_owners;
    int64_t starts_ms, ends_ms;
    int64_t validity_ms; /* of a firing alert: how far ends_ms was ahead when it was queued */
    size_t labels_at, labels_bytes, text_bytes;
    char text[]; /* the JSON object up to the value of endsAt */
};

/* A message with one owner, as of now_ms. External labels are added where the alert has none of that
 * name. NULL when out of memory. */
struct notify_message *notify_message_new(const struct notification *item, struct labels external,
                                          int64_t now_ms);

struct notify_message *
notify_message_share(struct notify_message *m);        /* one more owner; returns m */
void notify_message_release(struct notify_message *m); /* the last one frees it */

/* Bytes of memory. */
size_t notify_message_size(const struct notify_message *m);

/* Appends the JSON object as it is to be sent at now_ms. */
void notify_message_print(struct buf *b, const struct notify_message *m, int64_t now_ms);

/* Its labels as a JSON object; borrowed from m. */
struct str notify_message_labels(const struct notify_message *m);
