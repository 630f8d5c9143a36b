#include "promql_nhcb.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"

#include "base/banned.h"

enum { MAX_BUCKETS = 256 };

enum part { PART_NONE, PART_BUCKET, PART_COUNT, PART_SUM };

static const struct str part_suffixes[] = {
    [PART_BUCKET] = { "_bucket", 7 }, [PART_COUNT] = { "_count", 6 }, [PART_SUM] = { "_sum", 4 }
};

/* What part of a classic histogram a series is, and the labels of the whole. */
static enum part part_of(const struct series_line *s, struct arena *a, struct labels *whole,
                         double *le)
{
    struct str name = labels_get(s->labels, METRIC_NAME);
    struct label *items = ARENA_NEW(a, struct label, s->labels.n);
    enum part part = PART_BUCKET;
    size_t n = 0;

    while (part <= PART_SUM && !str_ends_with(name, part_suffixes[part]))
        part++;
    if (part > PART_SUM)
        return PART_NONE;
    for (size_t i = 0; i < s->labels.n; i++) {
        items[n] = s->labels.items[i];
        if (str_equal(items[n].name, METRIC_NAME))
            items[n].value.len -= part_suffixes[part].len;
        n += !str_is(items[n].name, "le");
    }
    *whole = (struct labels){ items, n };
    if (part == PART_BUCKET && !number_parse(labels_get(s->labels, STR("le")), true, le, NULL))
        return PART_NONE;
    return part;
}

struct classic {
    struct labels labels;
    struct {
        double le;
        const struct series_line *counts;
    } buckets[MAX_BUCKETS]; /* by rising le */
    size_t n_buckets;
    const struct series_line *count, *sum;
};

static bool add_bucket(struct classic *c, double le, const struct series_line *counts)
{
    size_t at = c->n_buckets;

    for (size_t i = 0; i < c->n_buckets; i++)
        if (c->buckets[i].le == le)
            return true;
    if (c->n_buckets == MAX_BUCKETS)
        return false;
    for (; at > 0 && c->buckets[at - 1].le > le; at--)
        c->buckets[at] = c->buckets[at - 1];
    c->buckets[at].le = le;
    c->buckets[at].counts = counts;
    c->n_buckets++;
    return true;
}

static bool value_at(const struct series_line *s, size_t i, double *v)
{
    if (!s || i >= s->n || s->values[i].kind != VALUE_FLOAT)
        return false;
    *v = s->values[i].v;
    return true;
}

/* The histogram at index i; NULL where there is none. */
static const struct histogram *histogram_at(const struct classic *c, size_t i, struct arena *a)
{
    struct histogram *h = ARENA_NEW(a, struct histogram, 1);
    double *bounds = ARENA_NEW(a, double, MAX_BUCKETS + 1),
           *counts = ARENA_NEW(a, double, MAX_BUCKETS + 1);
    struct histogram_span *span = ARENA_NEW(a, struct histogram_span, 1);
    double last = 0, v;
    bool has_count = value_at(c->count, i, &h->count), any = has_count;
    uint32_t n = 0;

    any |= value_at(c->sum, i, &h->sum);
    for (size_t b = 0; b < c->n_buckets; b++) {
        if (!value_at(c->buckets[b].counts, i, &v))
            continue;
        if (v < last)
            return NULL;
        if (!isinf(c->buckets[b].le))
            bounds[h->n_custom++] = c->buckets[b].le;
        counts[n++] = v - last;
        last = v;
        any = true;
    }
    if (!any)
        return NULL;
    if (!has_count)
        h->count = last;
    if (n == h->n_custom)
        counts[n++] = h->count - last;
    *span = (struct histogram_span){ 0, n };
    h->schema = HISTOGRAM_CUSTOM_SCHEMA;
    h->custom = bounds;
    h->positive = (struct histogram_side){ span, counts, 1, n };
    return h;
}

static struct series_line native_series(const struct classic *c, struct arena *a)
{
    struct series_line s = { .labels = c->labels, .has_histograms = true };

    for (size_t b = 0; b < c->n_buckets; b++)
        s.n = c->buckets[b].counts->n > s.n ? c->buckets[b].counts->n : s.n;
    s.n = c->count && c->count->n > s.n ? c->count->n : s.n;
    s.n = c->sum && c->sum->n > s.n ? c->sum->n : s.n;
    s.values = ARENA_NEW(a, struct series_value, s.n);
    for (size_t i = 0; i < s.n; i++) {
        s.values[i].h = histogram_at(c, i, a);
        s.values[i].kind = s.values[i].h ? VALUE_HISTOGRAM : VALUE_GAP;
    }
    return s;
}

static struct classic *find(struct classic *all, size_t *n, struct labels ls)
{
    for (size_t i = 0; i < *n; i++)
        if (labels_equal(all[i].labels, ls))
            return &all[i];
    all[*n].labels = ls;
    return &all[(*n)++];
}

bool nhcb_from_classic(const struct series_line *series, size_t n, struct arena *a,
                       struct series_line *out, size_t max, size_t *n_out)
{
    struct classic *all = ARENA_NEW(a, struct classic, n);
    size_t n_all = 0;

    for (size_t i = 0; i < n; i++) {
        struct classic *c;
        struct labels whole;
        double le = 0;
        enum part part = part_of(&series[i], a, &whole, &le);

        if (part == PART_NONE)
            continue;
        c = find(all, &n_all, whole);
        if (part == PART_COUNT)
            c->count = &series[i];
        else if (part == PART_SUM)
            c->sum = &series[i];
        else if (!add_bucket(c, le, &series[i]))
            return false;
    }
    *n_out = 0;
    for (size_t i = 0; i < n_all; i++) {
        if (all[i].n_buckets == 0)
            continue;
        if (*n_out == max)
            return false;
        out[(*n_out)++] = native_series(&all[i], a);
    }
    return true;
}
