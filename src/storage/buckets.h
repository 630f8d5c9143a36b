/* buckets.h -- finds the buckets that belong to one classic histogram among series in label order.
 *
 * A bucket is a series of a metric named ..._bucket with a label le that is a number, and with
 * values that count: whole numbers. Those of one histogram are equal in all labels but le. In label
 * order others come between them, as labels behind le differ, but what stands before le does not
 * change; so buckets are collected while it stays the same, and then told apart.
 *
 * Threads: for one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "storage/labels.h"
#include "storage/sample.h"

/* A collected bucket; a copy. */
struct bucket {
    uint32_t id;
    double le;
    struct str rest; /* what the other labels are, encoded */
    size_t n;
    const int64_t *t_ms;
    const double *v;
    const int64_t *start_ms; /* NULL: none is known */
};

struct buckets;

struct buckets *buckets_new(void);    /* NULL when out of memory */
void buckets_free(struct buckets *b); /* NULL is fine */

/* Whether a series is a bucket. */
bool buckets_want(struct labels labels, const struct column *samples);

/* Whether it has the same labels before le as those collected, and there is room: if not, they have
 * to be taken first. True when there are none. */
bool buckets_may_add(struct buckets *b, struct labels labels);

/* Collects a wanted series. False when out of memory. */
MUST_USE bool buckets_add(struct buckets *b, uint32_t id, struct labels labels,
                          const struct column *samples);

/* Gives the next buckets that are of one histogram and have the same times, by their bounds; a
 * single one if it has no such siblings. Returns how many, 0 when all were given: the next
 * buckets_add() then begins anew. Borrowed until then. */
size_t buckets_take(struct buckets *b, const struct bucket **out);
