#include "storage/buckets.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/vec.h"
#include "storage/pack.h"

#include "base/banned.h"

enum { MAX_SAMPLES = 1 << 20 }; /* to be held in memory */

struct buckets {
    struct arena *arena;
    struct bucket *items;
    size_t n, cap;
    size_t taken; /* of the items */
    size_t n_samples;
    struct buf before, encoding; /* the labels before le; what is being compared with them */
};

struct buckets *buckets_new(void)
{
    struct buckets *b = calloc(1, sizeof *b);

    if (b && !(b->arena = arena_new(0))) {
        free(b);
        return NULL;
    }
    return b;
}

void buckets_free(struct buckets *b)
{
    if (!b)
        return;
    arena_free(b->arena);
    free(b->items);
    buf_free(&b->before);
    buf_free(&b->encoding);
    free(b);
}

/* The index of label le, or labels.n. */
static size_t find_le(struct labels labels)
{
    size_t i = 0;

    while (i < labels.n && !str_is(labels.items[i].name, "le"))
        i++;
    return i;
}

bool buckets_want(struct labels labels, const struct column *samples)
{
    size_t at = find_le(labels);
    double le;

    return at < labels.n && str_ends_with(labels_get(labels, METRIC_NAME), STR("_bucket"))
           && number_parse(labels.items[at].value, false, &le, NULL) && le == le && !samples->h
           && samples->n <= MAX_SAMPLES && pack_are_counts(samples->v, samples->n);
}

bool buckets_may_add(struct buckets *b, struct labels labels)
{
    if (b->n == 0)
        return true;
    if (b->n_samples >= MAX_SAMPLES)
        return false;
    buf_clear(&b->encoding);
    labels_encode(&b->encoding, (struct labels){ labels.items, find_le(labels) });
    return !b->encoding.failed && str_equal(buf_as_str(&b->encoding), buf_as_str(&b->before));
}

/* The labels but le, in the arena. */
static bool encode_rest(struct buckets *b, struct labels labels, size_t at_le, struct str *out)
{
    buf_clear(&b->encoding);
    labels_encode(&b->encoding, (struct labels){ labels.items, at_le });
    labels_encode(&b->encoding, (struct labels){ labels.items + at_le + 1, labels.n - at_le - 1 });
    if (b->encoding.failed)
        return false;
    *out = str_copy(b->arena, buf_as_str(&b->encoding));
    return out->ptr;
}

static void *copy(struct buckets *b, const void *p, size_t size)
{
    void *to = arena_alloc(b->arena, size);

    if (to)
        memcpy(to, p, size);
    return to;
}

/* Times are mostly those of the bucket before. */
static const int64_t *copy_times(struct buckets *b, const struct column *samples)
{
    const struct bucket *last = b->n ? &b->items[b->n - 1] : NULL;
    size_t size = samples->n * sizeof *samples->t_ms;

    if (last && last->n == samples->n && memcmp(last->t_ms, samples->t_ms, size) == 0)
        return last->t_ms;
    return copy(b, samples->t_ms, size);
}

bool buckets_add(struct buckets *b, uint32_t id, struct labels labels, const struct column *samples)
{
    size_t at_le = find_le(labels), size = samples->n * sizeof *samples->v;
    struct bucket *item;

    ASSERT(b->taken == 0 && at_le < labels.n);
    if (b->n == 0) {
        arena_reset(b->arena);
        buf_clear(&b->before);
        labels_encode(&b->before, (struct labels){ labels.items, at_le });
    }
    if (b->before.failed || !vec_reserve(&b->items, &b->cap, b->n + 1, sizeof *b->items))
        return false;
    item = &b->items[b->n];
    *item = (struct bucket){ .id = id, .n = samples->n };
    if (!number_parse(labels.items[at_le].value, false, &item->le, NULL))
        return false;
    item->t_ms = copy_times(b, samples);
    item->v = copy(b, samples->v, size);
    item->start_ms = samples->start_ms ? copy(b, samples->start_ms, size) : NULL;
    if (!item->t_ms || !item->v || (samples->start_ms && !item->start_ms)
        || !encode_rest(b, labels, at_le, &item->rest))
        return false;
    b->n++;
    b->n_samples += samples->n;
    return true;
}

/* By histogram, times and bound; those of the same times are neighbours. */
static int compare_times(const struct bucket *x, const struct bucket *y)
{
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->t_ms == y->t_ms ? 0 : memcmp(x->t_ms, y->t_ms, x->n * sizeof *x->t_ms);
}

static int compare_buckets(const void *a, const void *b)
{
    const struct bucket *x = a, *y = b;
    int order = str_cmp(x->rest, y->rest);

    if (order == 0)
        order = compare_times(x, y);
    return order ? order : (x->le > y->le) - (x->le < y->le);
}

size_t buckets_take(struct buckets *b, const struct bucket **out)
{
    size_t from = b->taken, end = from + 1;

    if (from == b->n) {
        b->n = b->taken = b->n_samples = 0;
        return 0;
    }
    if (from == 0)
        qsort(b->items, b->n, sizeof *b->items, compare_buckets);
    while (end < b->n && end - from < PACK_MAX_BUCKETS
           && str_equal(b->items[end].rest, b->items[from].rest)
           && compare_times(&b->items[end], &b->items[from]) == 0)
        end++;
    *out = &b->items[from];
    b->taken = end;
    return end - from;
}
