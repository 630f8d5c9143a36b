#include "storage/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "storage/histogram.h"
#include "base/banned.h"

/* Grows one array to cap items; false leaves it as it was. */
static bool grow(void *array, size_t cap, size_t item)
{
    void *p, *old;

    memcpy(&old, array, sizeof old);
    p = realloc(old, cap * item);
    if (!p)
        return false;
    memcpy(array, &p, sizeof p);
    return true;
}

bool column_reserve(struct column *c, size_t n)
{
    size_t cap = c->cap ? c->cap : 64;

    if (n <= c->cap)
        return true;
    if (n > SIZE_MAX / 4 / sizeof *c->t_ms)
        return false;
    while (cap < n)
        cap *= 2;
    /* After a failure some arrays are larger than cap says, which is harmless. */
    if (!grow(&c->t_ms, cap, sizeof *c->t_ms) || !grow(&c->v, cap, sizeof *c->v)
        || (c->h && !grow(&c->h, cap, sizeof *c->h))
        || (c->start_ms && !grow(&c->start_ms, cap, sizeof *c->start_ms)))
        return false;
    c->cap = cap;
    return true;
}

void column_filled(struct column *c, size_t n)
{
    DEBUG_ASSERT(n <= c->cap - c->n);
    if (c->h)
        memset(c->h + c->n, 0, n * sizeof *c->h);
    if (c->start_ms)
        memset(c->start_ms + c->n, 0, n * sizeof *c->start_ms);
    c->n += n;
}

bool column_add(struct column *c, int64_t t_ms, double v)
{
    if (UNLIKELY(c->n == c->cap) && !column_reserve(c, c->n + 1))
        return false;
    c->t_ms[c->n] = t_ms;
    c->v[c->n] = v;
    column_filled(c, 1);
    return true;
}

/* Room for one more histogram; false when out of memory. */
static bool reserve_histogram(struct column *c)
{
    if (!c->h && !(c->h = calloc(c->cap ? c->cap : 1, sizeof *c->h)))
        return false;
    if (!c->histograms && !(c->histograms = arena_new(0)))
        return false;
    return column_reserve(c, c->n + 1);
}

static void put_histogram(struct column *c, int64_t t_ms, const struct histogram *h)
{
    c->t_ms[c->n] = t_ms;
    c->v[c->n] = h->sum;
    column_filled(c, 1);
    c->h[c->n - 1] = h;
}

bool column_add_histogram(struct column *c, int64_t t_ms, const struct histogram *h)
{
    const struct histogram *copy;

    if (!reserve_histogram(c) || !(copy = histogram_copy(c->histograms, h)))
        return false;
    put_histogram(c, t_ms, copy);
    return true;
}

enum errc column_add_encoded(struct column *c, int64_t t_ms, struct bytes encoding)
{
    struct reader r = reader_on(encoding);
    struct histogram *h;
    enum errc rc;

    if (!reserve_histogram(c) || !(h = arena_alloc(c->histograms, sizeof *h)))
        return ERR_NOMEM;
    rc = histogram_decode(&r, c->histograms, h, NULL);
    if (rc == OK && reader_left(&r) > 0)
        rc = ERR_CORRUPT;
    if (rc == OK)
        put_histogram(c, t_ms, h);
    return rc;
}

bool column_set_start_at(struct column *c, size_t i, int64_t start_ms)
{
    DEBUG_ASSERT(i < c->n);
    if (start_ms == 0)
        return true;
    if (!c->start_ms && !(c->start_ms = calloc(c->cap, sizeof *c->start_ms)))
        return false;
    c->start_ms[i] = start_ms;
    return true;
}

bool column_set_start(struct column *c, int64_t start_ms)
{
    ASSERT(c->n > 0);
    return column_set_start_at(c, c->n - 1, start_ms);
}

void column_cut(struct column *c, size_t from, size_t to)
{
    size_t left = c->n - to;

    ASSERT(from <= to && to <= c->n);
    memmove(c->t_ms + from, c->t_ms + to, left * sizeof *c->t_ms);
    memmove(c->v + from, c->v + to, left * sizeof *c->v);
    if (c->h)
        memmove(c->h + from, c->h + to, left * sizeof *c->h);
    if (c->start_ms)
        memmove(c->start_ms + from, c->start_ms + to, left * sizeof *c->start_ms);
    c->n = from + left;
}

void column_clear(struct column *c)
{
    c->n = c->n_unreadable = 0;
    free(c->h);
    c->h = NULL;
    free(c->start_ms);
    c->start_ms = NULL;
    if (c->histograms)
        arena_reset(c->histograms);
}

void column_free(struct column *c)
{
    column_clear(c);
    free(c->t_ms);
    free(c->v);
    arena_free(c->histograms);
    *c = (struct column){ 0 };
}

struct entry {
    int64_t t_ms;
    size_t at; /* where in the column */
};

/* Stable bottom-up merge sort: of equal times the first stays first. from and to swap roles each
 * pass. */
static struct entry *merge_sort(struct entry *from, struct entry *to, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n;
            size_t hi = mid + width < n ? mid + width : n;
            size_t i = lo, j = mid, k = lo;

            while (i < mid && j < hi)
                to[k++] = from[j].t_ms < from[i].t_ms ? from[j++] : from[i++];
            while (i < mid)
                to[k++] = from[i++];
            while (j < hi)
                to[k++] = from[j++];
        }
        struct entry *swap = from;

        from = to;
        to = swap;
    }
    return from;
}

/* Puts the samples that keep names in its order in place of those that are there. */
static void rearrange(struct column *c, const struct entry *keep, size_t n, uint64_t *scratch)
{
    for (size_t i = 0; i < n; i++)
        memcpy(&scratch[i], &c->v[keep[i].at], sizeof *scratch);
    memcpy(c->v, scratch, n * sizeof *c->v);
    for (size_t i = 0; c->h && i < n; i++)
        memcpy(&scratch[i], &c->h[keep[i].at], sizeof *scratch);
    if (c->h)
        memcpy(c->h, scratch, n * sizeof *c->h);
    for (size_t i = 0; c->start_ms && i < n; i++)
        memcpy(&scratch[i], &c->start_ms[keep[i].at], sizeof *scratch);
    if (c->start_ms)
        memcpy(c->start_ms, scratch, n * sizeof *c->start_ms);
    for (size_t i = 0; i < n; i++)
        c->t_ms[i] = keep[i].t_ms;
    c->n = n;
}

_Static_assert(sizeof(struct histogram *) == sizeof(uint64_t), "rearrange() moves pointers as u64");

bool column_normalise(struct column *c)
{
    struct entry *entries, *sorted;
    size_t n = 0, i = 1;

    while (i < c->n && c->t_ms[i - 1] < c->t_ms[i])
        i++;
    if (i >= c->n)
        return true;
    entries = malloc(c->n * (2 * sizeof *entries + sizeof(uint64_t)));
    if (!entries)
        return false;
    for (i = 0; i < c->n; i++)
        entries[i] = (struct entry){ c->t_ms[i], i };
    sorted = merge_sort(entries, entries + c->n, c->n);
    for (i = 0; i < c->n; i++)
        if (n == 0 || sorted[n - 1].t_ms != sorted[i].t_ms)
            sorted[n++] = sorted[i];
    rearrange(c, sorted, n, (uint64_t *)(entries + 2 * c->n));
    free(entries);
    return true;
}
