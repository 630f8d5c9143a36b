/* windows.c
 *
 * The cache has two places for each hash of a column of times; the one not used last gives way.
 */
#include "query/windows.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "query/range_functions.h"

#include "base/banned.h"

enum { MAX_SLOTS = 256, WAYS = 2 };

/* Bounds are compared with a little to spare for the rounding of what they stand for. */
static const double MARGIN = 1 + 1e-9;

struct window_slot {
    int64_t *t_ms; /* the times it is for */
    size_t n, cap;
    uint32_t *bounds; /* lo, then hi */
    double *terms;    /* factor, then bound */
    struct windows windows;
    bool newest; /* of the ways */
};

static void empty_slots(struct window_cache *c)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        free(c->slots[i].t_ms);
        free(c->slots[i].bounds);
        free(c->slots[i].terms);
        c->slots[i] = (struct window_slot){ 0 };
    }
    c->bytes = 0;
}

void window_cache_free(struct window_cache *c)
{
    empty_slots(c);
    free(c->slots);
    c->slots = NULL;
    c->n_slots = 0;
}

/* As many places as fit, a power of two. */
static enum errc make_slots(struct window_cache *c, size_t n_times, struct err *err)
{
    size_t bytes = n_times * sizeof(int64_t) + c->q->steps.n * 3 * sizeof(double);
    size_t n = MAX_SLOTS;

    while (n > WAYS && n * bytes > WINDOW_CACHE_BYTES)
        n /= 2;
    c->slots = calloc(n, sizeof *c->slots);
    if (!c->slots)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    c->n_slots = n;
    return OK;
}

/* Counts what is allocated. */
static void *counted_alloc(struct window_cache *c, size_t bytes)
{
    void *p = malloc(bytes);

    if (p)
        c->bytes += bytes;
    return p;
}

static bool reserve_times(struct window_cache *c, struct window_slot *slot, size_t n)
{
    if (n <= slot->cap)
        return true;
    free(slot->t_ms);
    c->bytes -= slot->cap * sizeof *slot->t_ms;
    slot->t_ms = counted_alloc(c, n * sizeof *slot->t_ms);
    slot->cap = slot->t_ms ? n : 0;
    return slot->t_ms != NULL;
}

/* The number of slots was made for series as long as the first one: longer ones empty the cache now
 * and then. */
static bool slot_reserve(struct window_cache *c, struct window_slot *slot, size_t n_times)
{
    size_t n = 2 * c->q->steps.n, more = 0;

    more += n_times > slot->cap ? (n_times - slot->cap) * sizeof *slot->t_ms : 0;
    more += !slot->bounds ? n * sizeof *slot->bounds : 0;
    more += c->growth && !slot->terms ? n * sizeof *slot->terms : 0;
    if (more > 0 && c->bytes + more > WINDOW_CACHE_BYTES)
        empty_slots(c);
    if (!reserve_times(c, slot, n_times))
        return false;
    if (!slot->bounds && !(slot->bounds = counted_alloc(c, n * sizeof *slot->bounds)))
        return false;
    return !c->growth || slot->terms
           || (slot->terms = counted_alloc(c, n * sizeof *slot->terms)) != NULL;
}

/* The terms of extrapolated() in range_functions.c that do not depend on values, computed in its
 * order. */
static void find_terms(const struct window_cache *c, struct window_slot *slot, size_t step,
                       const struct window_bounds *at)
{
    struct window w = { .t_ms = slot->t_ms + at->lo,
                        .n = at->hi - at->lo,
                        .start_ms = at->start_ms,
                        .end_ms = at->end_ms };
    struct extrapolation e;

    if (w.n < 2)
        return;
    extrapolation_of(&w, &e);
    slot->terms[step] = (e.sampled + e.to_start + e.to_end) / e.sampled;
    if (c->per_second)
        slot->terms[step] /= window_seconds(&w);
    slot->terms[c->q->steps.n + step] = e.to_start / e.sampled * MARGIN;
}

static void fill(const struct window_cache *c, struct window_slot *slot,
                 const struct range_series *s)
{
    size_t n_steps = c->q->steps.n;
    struct window_bounds at = { 0 };
    struct windows *w = &slot->windows;

    memcpy(slot->t_ms, s->t_ms, s->n * sizeof *s->t_ms);
    slot->n = s->n;
    *w = (struct windows){ .lo = slot->bounds, .hi = slot->bounds + n_steps };
    if (c->growth) {
        w->factor = slot->terms;
        w->bound = slot->terms + n_steps;
    }
    for (size_t i = 0; i < n_steps; i++) {
        size_t n;

        window_at(&at, c->q, c->range, s, i);
        n = at.hi - at.lo;
        slot->bounds[i] = (uint32_t)at.lo;
        slot->bounds[n_steps + i] = (uint32_t)at.hi;
        w->most = n > w->most ? n : w->most;
        w->total += n;
        if (c->growth)
            find_terms(c, slot, i, &at);
    }
}

static bool slot_is(const struct window_slot *slot, const struct range_series *s)
{
    return slot->n == s->n && memcmp(slot->t_ms, s->t_ms, s->n * sizeof *s->t_ms) == 0;
}

enum errc windows_of(struct window_cache *c, const struct range_series *s,
                     const struct windows **out, struct err *err)
{
    const int64_t key[] = { s->t_ms[0], s->t_ms[s->n - 1], (int64_t)s->n };
    struct window_slot *ways, *found = NULL;

    ASSERT(s->n > 0 && s->n < UINT32_MAX);
    if (!c->slots && make_slots(c, s->n, err) != OK)
        return ERR_NOMEM;
    ways = c->slots + (hash64(key, sizeof key) & (c->n_slots / WAYS - 1)) * WAYS;
    for (size_t i = 0; i < WAYS && !found; i++)
        if (slot_is(&ways[i], s))
            found = &ways[i];
    if (!found) {
        found = &ways[ways[0].newest ? 1 : 0];
        found->n = 0; /* nothing is found in it should it not be filled */
        if (!slot_reserve(c, found, s->n))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        fill(c, found, s);
    }
    for (size_t i = 0; i < WAYS; i++)
        ways[i].newest = &ways[i] == found;
    *out = &found->windows;
    return OK;
}
