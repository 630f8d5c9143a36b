#include "storage/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

bool column_reserve(struct column *c, size_t n)
{
    size_t cap = c->cap ? c->cap : 64;
    int64_t *t;
    double *v;

    if (n <= c->cap)
        return true;
    if (n > SIZE_MAX / 4 / sizeof *t)
        return false;
    while (cap < n)
        cap *= 2;
    t = realloc(c->t_ms, cap * sizeof *t);
    if (!t)
        return false;
    c->t_ms = t;
    v = realloc(c->v, cap * sizeof *v);
    if (!v)
        return false; /* t_ms is larger than it says, which is harmless */
    c->v = v;
    c->cap = cap;
    return true;
}

bool column_add(struct column *c, int64_t t_ms, double v)
{
    if (UNLIKELY(c->n == c->cap) && !column_reserve(c, c->n + 1))
        return false;
    c->t_ms[c->n] = t_ms;
    c->v[c->n] = v;
    c->n++;
    return true;
}

void column_free(struct column *c)
{
    free(c->t_ms);
    free(c->v);
    *c = (struct column){ 0 };
}

struct entry {
    int64_t t_ms;
    double v;
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

bool column_normalise(struct column *c)
{
    struct entry *entries, *sorted;
    size_t n = 0, i = 1;

    while (i < c->n && c->t_ms[i - 1] < c->t_ms[i])
        i++;
    if (i >= c->n)
        return true;
    entries = malloc(2 * c->n * sizeof *entries);
    if (!entries)
        return false;
    for (i = 0; i < c->n; i++)
        entries[i] = (struct entry){ c->t_ms[i], c->v[i] };
    sorted = merge_sort(entries, entries + c->n, c->n);
    for (i = 0; i < c->n; i++) {
        if (n > 0 && c->t_ms[n - 1] == sorted[i].t_ms)
            continue;
        c->t_ms[n] = sorted[i].t_ms;
        c->v[n++] = sorted[i].v;
    }
    c->n = n;
    free(entries);
    return true;
}
