#include "storage/head_extra.h"

#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "base/banned.h"

enum { LATE_LOOKBACK = 32 }; /* late histograms compared with a new sample to find repeats */

/* A histogram: where its encoding is in the run's bytes. */
struct item {
    int64_t t_ms;
    uint32_t at, len;
};

struct items {
    struct item *items;
    size_t n, cap;
};

/* Samples of first_t_ms..last_t_ms, all of them, have this start time. */
struct range {
    int64_t first_t_ms, last_t_ms, start_ms;
};

struct ranges {
    struct range *items;
    size_t n, cap;
};

struct extra_run {
    uint32_t ref;
    int64_t newest_t_ms;       /* of the histograms, and floats noted, in order */
    struct items sorted, late; /* histograms */
    struct ranges starts;      /* increasing */
    struct ranges late_starts; /* of one sample each; they win over starts */
    struct buf bytes;
};

/* ---- the set ---- */

static uint64_t hash_ref(uint32_t ref)
{
    return ref * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_run(const void *ctx, uint32_t i)
{
    return hash_ref(((const struct extra_set *)ctx)->runs[i].ref);
}

static bool run_is(const void *ctx, uint32_t i, const void *key)
{
    return ((const struct extra_set *)ctx)->runs[i].ref == *(const uint32_t *)key;
}

static struct extra_run *find_run(const struct extra_set *s, uint32_t ref)
{
    uint32_t i = table_find(&s->by_ref, hash_ref(ref), run_is, s, &ref);

    return i == TABLE_NONE ? NULL : &s->runs[i];
}

/* The run of a series, made when it has none; NULL when out of memory. */
static struct extra_run *get_run(struct extra_set *s, uint32_t ref, uint64_t *bytes)
{
    struct extra_run *r = find_run(s, ref);

    if (r)
        return r;
    if (!vec_reserve(&s->runs, &s->cap, s->n + 1, sizeof *s->runs))
        return NULL;
    s->runs[s->n] = (struct extra_run){ .ref = ref, .newest_t_ms = INT64_MIN };
    if (!table_add(&s->by_ref, hash_ref(ref), (uint32_t)s->n, hash_run, s))
        return NULL;
    *bytes += sizeof *r;
    return &s->runs[s->n++];
}

void extra_set_free(struct extra_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->runs[i].sorted.items);
        free(s->runs[i].late.items);
        free(s->runs[i].starts.items);
        free(s->runs[i].late_starts.items);
        buf_free(&s->runs[i].bytes);
    }
    free(s->runs);
    table_free(&s->by_ref);
    *s = (struct extra_set){ 0 };
}

/* ---- start times ---- */

/* How many ranges begin at or before t_ms. */
static size_t ranges_up_to(const struct ranges *r, int64_t t_ms)
{
    size_t low = 0, high = r->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (r->items[mid].first_t_ms <= t_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int64_t start_at(const struct ranges *r, int64_t t_ms)
{
    size_t n = ranges_up_to(r, t_ms);

    return n > 0 && r->items[n - 1].last_t_ms >= t_ms ? r->items[n - 1].start_ms : 0;
}

/* Room for one more; false when out of memory. */
static bool ranges_reserve(struct ranges *r, uint64_t *bytes)
{
    size_t before = r->cap;

    if (!vec_reserve(&r->items, &r->cap, r->n + 1, sizeof *r->items))
        return false;
    *bytes += (r->cap - before) * sizeof *r->items;
    return true;
}

/* Room for the start time of one more sample. */
static bool starts_reserve(struct extra_run *r, int64_t start_ms, bool newest, uint64_t *bytes)
{
    if (!newest)
        return ranges_reserve(&r->late_starts, bytes);
    return start_ms == 0 || ranges_reserve(&r->starts, bytes);
}

/* Notes the start time of one more sample, for which there is room. */
static void starts_add(struct extra_run *r, int64_t t_ms, int64_t start_ms, bool newest)
{
    struct ranges *to = newest ? &r->starts : &r->late_starts;
    struct range *last = r->starts.n ? &r->starts.items[r->starts.n - 1] : NULL;

    if (start_ms == (newest ? 0 : start_at(&r->starts, t_ms)))
        return;
    if (newest && last && last->start_ms == start_ms && last->last_t_ms == r->newest_t_ms)
        last->last_t_ms = t_ms;
    else
        to->items[to->n++] = (struct range){ t_ms, t_ms, start_ms };
}

bool extra_note_float(struct extra_set *s, uint32_t ref, int64_t t_ms, int64_t start_ms,
                      bool newest, uint64_t *bytes)
{
    struct extra_run *r = start_ms ? get_run(s, ref, bytes) : find_run(s, ref);

    if (!r)
        return start_ms == 0;
    newest = newest && t_ms > r->newest_t_ms;
    if (!starts_reserve(r, start_ms, newest, bytes))
        return false;
    starts_add(r, t_ms, start_ms, newest);
    if (newest)
        r->newest_t_ms = t_ms;
    return true;
}

/* ---- histograms ---- */

bool extra_add_histogram(struct extra_set *s, uint32_t ref, int64_t t_ms, int64_t start_ms,
                         struct bytes encoding, bool *newest, uint64_t *bytes)
{
    struct extra_run *r = get_run(s, ref, bytes);
    struct items *to;
    size_t items_before, bytes_before;

    if (!r || encoding.len > UINT32_MAX - r->bytes.len)
        return false;
    *newest = *newest && t_ms > r->newest_t_ms;
    to = *newest ? &r->sorted : &r->late;
    items_before = to->cap;
    bytes_before = r->bytes.cap;
    if (!vec_reserve(&to->items, &to->cap, to->n + 1, sizeof *to->items)
        || !buf_reserve(&r->bytes, encoding.len) || !starts_reserve(r, start_ms, *newest, bytes)) {
        r->bytes.failed = false;
        return false;
    }
    *bytes += (to->cap - items_before) * sizeof *to->items + r->bytes.cap - bytes_before;
    to->items[to->n++] = (struct item){ t_ms, (uint32_t)r->bytes.len, (uint32_t)encoding.len };
    buf_add(&r->bytes, encoding.ptr, encoding.len);
    starts_add(r, t_ms, start_ms, *newest);
    if (*newest)
        r->newest_t_ms = t_ms;
    return true;
}

/* The position of the first item at or after t_ms. */
static size_t lower_bound(const struct items *s, int64_t t_ms)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (s->items[mid].t_ms < t_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct bytes encoding_of(const struct extra_run *r, const struct item *item)
{
    return (struct bytes){ r->bytes.ptr + item->at, item->len };
}

struct bytes extra_find(const struct extra_set *s, uint32_t ref, int64_t t_ms)
{
    const struct extra_run *r = find_run(s, ref);
    size_t i;

    if (!r)
        return (struct bytes){ 0 };
    i = lower_bound(&r->sorted, t_ms);
    if (i < r->sorted.n && r->sorted.items[i].t_ms == t_ms)
        return encoding_of(r, &r->sorted.items[i]);
    for (size_t k = 0; k < LATE_LOOKBACK && k < r->late.n; k++)
        if (r->late.items[r->late.n - 1 - k].t_ms == t_ms)
            return encoding_of(r, &r->late.items[r->late.n - 1 - k]);
    return (struct bytes){ 0 };
}

bool extra_has(const struct extra_set *s, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms)
{
    const struct extra_run *r = find_run(s, ref);

    if (!r)
        return false;
    if (r->late.n)
        return true; /* may */
    return r->sorted.n && r->sorted.items[0].t_ms <= max_t_ms
           && r->sorted.items[r->sorted.n - 1].t_ms >= min_t_ms;
}

/* ---- reading ---- */

/* False when out of memory. What is no encoding (an old log may hold such) is counted and left out:
 * it must not keep all the others from being read and flushed. */
static bool read_item(const struct extra_run *r, const struct item *item, struct column *out,
                      bool *overlaps)
{
    bool late = out->n && item->t_ms <= out->t_ms[out->n - 1];
    enum errc rc = column_add_encoded(out, item->t_ms, encoding_of(r, item));

    *overlaps |= rc == OK && late;
    out->n_unreadable += rc == ERR_CORRUPT;
    return rc == OK || rc == ERR_CORRUPT;
}

static bool read_items(const struct extra_run *r, int64_t min_t_ms, int64_t max_t_ms,
                       struct column *out, bool *overlaps)
{
    for (size_t i = lower_bound(&r->sorted, min_t_ms);
         i < r->sorted.n && r->sorted.items[i].t_ms <= max_t_ms; i++)
        if (!read_item(r, &r->sorted.items[i], out, overlaps))
            return false;
    for (size_t i = 0; i < r->late.n; i++)
        if (r->late.items[i].t_ms >= min_t_ms && r->late.items[i].t_ms <= max_t_ms
            && !read_item(r, &r->late.items[i], out, overlaps))
            return false;
    return true;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct range *)a)->first_t_ms, y = ((const struct range *)b)->first_t_ms;

    return (x > y) - (x < y);
}

/* The late start times by time. Each is of one sample, and a sample is stored once. */
static bool sort_late_starts(const struct extra_run *r, struct ranges *out)
{
    size_t size = r->late_starts.n * sizeof *out->items;

    *out = (struct ranges){ .n = r->late_starts.n };
    if (size == 0)
        return true;
    out->items = malloc(size);
    if (!out->items)
        return false;
    memcpy(out->items, r->late_starts.items, size);
    qsort(out->items, out->n, sizeof *out->items, by_time);
    return true;
}

static bool read_starts(const struct extra_run *r, struct column *c, size_t from)
{
    struct ranges late;
    bool ok = sort_late_starts(r, &late);

    for (size_t i = from; ok && i < c->n; i++) {
        size_t n = ranges_up_to(&late, c->t_ms[i]);
        bool is_late = n > 0 && late.items[n - 1].first_t_ms == c->t_ms[i];

        ok = column_set_start_at(
            c, i, is_late ? late.items[n - 1].start_ms : start_at(&r->starts, c->t_ms[i]));
    }
    free(late.items);
    return ok;
}

bool extra_read(const struct extra_set *s, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                struct column *out, size_t from, bool *overlaps)
{
    const struct extra_run *r = find_run(s, ref);

    if (!r)
        return true;
    return read_items(r, min_t_ms, max_t_ms, out, overlaps)
           && ((r->starts.n == 0 && r->late_starts.n == 0) || read_starts(r, out, from));
}
