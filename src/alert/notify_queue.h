/* notify_queue.h -- what one Alertmanager has not heard yet.
 *
 * For each alert a short run of states, in which firing and resolved take turns: a newer state of
 * the same kind replaces the last one. So an alert that fired and resolved while the server was away
 * is told as firing, then as resolved. A run has at most 4 states: of an alert that goes on and off
 * while nobody listens, the oldest pair is dropped.
 *
 * Alerts are in the order of their first arrival. Bounded by a number of messages and by 64 MiB of
 * them, beyond which the oldest is dropped.
 *
 * One batch at a time is on its way. What is on its way stays in the queue, is not counted against
 * the bound, and is not dropped or replaced until notify_queue_settle() says what became of it.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct notify_message;
struct notify_queue;

/* max_messages is at least 1. NULL when out of memory. */
struct notify_queue *notify_queue_new(size_t max_messages);
void notify_queue_free(struct notify_queue *q); /* NULL is fine; nothing may be on its way */

void notify_queue_set_max(struct notify_queue *q,
                          size_t max_messages); /* holds from the next put */

/* Shares m. Returns how many messages were dropped; m itself when out of memory. */
MUST_USE size_t notify_queue_put(struct notify_queue *q, struct notify_message *m);

/* Puts the oldest state of up to max alerts, and of up to 1 MiB in all but at least one, on its way:
 * lends them in out, and returns how many. */
size_t notify_queue_take(struct notify_queue *q, struct notify_message **out, size_t max);

/* Ends the way of everything taken: what is done leaves the queue, the rest waits again where it
 * was. Returns how many messages were dropped because of the bound. */
MUST_USE size_t notify_queue_settle(struct notify_queue *q, struct notify_message *const *taken,
                                    const bool *done, size_t n);

size_t notify_queue_length(const struct notify_queue *q);         /* in messages */
bool notify_queue_has(const struct notify_queue *q, uint64_t id); /* any state of the alert */
