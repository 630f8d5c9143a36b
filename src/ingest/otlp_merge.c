/* otlp_merge.c -- buckets as a list of (index, count), which is merged, thinned out, and made spans
 * again.
 */
#include "ingest/otlp_merge.h"

#include <stdlib.h>

#include "base/arena.h"
#include "storage/histogram.h"

#include "base/banned.h"

struct bucket {
    int64_t index;
    double count;
};

/* ---- on the heap: one block of memory holds all ---- */

static size_t side_bytes(const struct histogram_side *s)
{
    return s->n_counts * sizeof *s->counts + s->n_spans * sizeof *s->spans;
}

static uint8_t *copy_side(struct histogram_side *s, uint8_t *at)
{
    double *counts = (double *)(void *)at;
    struct histogram_span *spans = (void *)(at + s->n_counts * sizeof *s->counts);

    if (s->n_counts)
        memcpy(counts, s->counts, s->n_counts * sizeof *s->counts);
    if (s->n_spans)
        memcpy(spans, s->spans, s->n_spans * sizeof *s->spans);
    s->counts = counts;
    s->spans = spans;
    return at + side_bytes(s);
}

struct histogram *otlp_merged_new(const struct histogram *h)
{
    size_t custom = h->n_custom * sizeof *h->custom;
    uint8_t *block =
        malloc(sizeof *h + custom + side_bytes(&h->positive) + side_bytes(&h->negative));
    struct histogram *copy = (void *)block;
    uint8_t *at = block + sizeof *h;

    if (!block)
        return NULL;
    *copy = *h;
    if (custom)
        memcpy(at, h->custom, custom);
    copy->custom = (double *)(void *)at;
    copy_side(&copy->negative, copy_side(&copy->positive, at + custom));
    return copy;
}

void otlp_merged_free(struct histogram *h)
{
    free(h);
}

/* ---- adding ---- */

/* Buckets at a schema lowered by shift: index i becomes ((i - 1) >> shift) + 1. */
static size_t list_side(const struct histogram_side *s, uint32_t shift, struct bucket *out)
{
    int64_t index = 0;
    size_t n = 0, at = 0;

    for (uint32_t i = 0; i < s->n_spans; i++) {
        index += s->spans[i].offset;
        for (uint32_t k = 0; k < s->spans[i].length; k++, index++) {
            int64_t coarse = shift ? ((index - 1) >> shift) + 1 : index;

            if (n && out[n - 1].index == coarse)
                out[n - 1].count += s->counts[at++];
            else
                out[n++] = (struct bucket){ coarse, s->counts[at++] };
        }
    }
    return n;
}

static size_t merge_lists(const struct bucket *a, size_t na, const struct bucket *b, size_t nb,
                          struct bucket *out)
{
    size_t i = 0, k = 0, n = 0;

    while (i < na || k < nb)
        if (k == nb || (i < na && a[i].index < b[k].index))
            out[n++] = a[i++];
        else if (i == na || b[k].index < a[i].index)
            out[n++] = b[k++];
        else {
            out[n++] = (struct bucket){ a[i].index, a[i].count + b[k].count };
            i++;
            k++;
        }
    return n;
}

static bool side_of(const struct bucket *list, size_t n, struct arena *a,
                    struct histogram_side *out)
{
    double *counts = ARENA_NEW(a, double, n);
    struct histogram_span *spans = ARENA_NEW(a, struct histogram_span, n);
    int64_t next = 0; /* behind the bucket before */
    uint32_t n_spans = 0;

    if (!counts || !spans)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || list[i].index != next)
            spans[n_spans++] = (struct histogram_span){ (int32_t)(list[i].index - next), 0 };
        spans[n_spans - 1].length++;
        counts[i] = list[i].count;
        next = list[i].index + 1;
    }
    *out = (struct histogram_side){ spans, counts, n_spans, (uint32_t)n };
    return true;
}

static bool add_side(const struct histogram_side *x, uint32_t shift_x,
                     const struct histogram_side *y, uint32_t shift_y, struct arena *a,
                     struct histogram_side *out)
{
    size_t n = x->n_counts + y->n_counts;
    struct bucket *lists = ARENA_NEW(a, struct bucket, 2 * n);
    size_t nx, ny;

    if (!lists)
        return false;
    nx = list_side(x, shift_x, lists);
    ny = list_side(y, shift_y, lists + nx);
    n = merge_lists(lists, nx, lists + nx, ny, lists + n);
    return side_of(lists + x->n_counts + y->n_counts, n, a, out);
}

static bool can_add(const struct histogram *x, const struct histogram *y)
{
    bool custom = x->schema == HISTOGRAM_CUSTOM_SCHEMA;

    if (custom != (y->schema == HISTOGRAM_CUSTOM_SCHEMA))
        return false;
    return !custom
           || (x->n_custom == y->n_custom
               && (x->n_custom == 0
                   || memcmp(x->custom, y->custom, x->n_custom * sizeof *x->custom) == 0));
}

/* *sum, which is a copy of delta, becomes before and delta together. */
static bool add(const struct histogram *before, const struct histogram *delta, struct arena *a,
                struct histogram *sum)
{
    int32_t schema = before->schema < delta->schema ? before->schema : delta->schema;
    uint32_t down = (uint32_t)(before->schema - schema);
    uint32_t down_delta = (uint32_t)(delta->schema - schema);

    sum->schema = schema;
    sum->count += before->count;
    sum->sum += before->sum;
    sum->zero_count += before->zero_count;
    return add_side(&before->positive, down, &delta->positive, down_delta, a, &sum->positive)
           && add_side(&before->negative, down, &delta->negative, down_delta, a, &sum->negative);
}

/* ---- a bound for totals ---- */

/* Whether a side of exponential buckets covers too many even at the coarsest schema. */
static bool is_wide(const struct histogram_side *s, int32_t schema)
{
    int64_t n = 0;

    for (uint32_t i = 0; i < s->n_spans; i++)
        n += (i > 0 ? s->spans[i].offset : 0) + (int64_t)s->spans[i].length;
    /* two more when both ends lie inside a coarse bucket */
    return (n >> (schema - HISTOGRAM_MIN_SCHEMA)) + 2 > OTLP_MERGED_BUCKETS;
}

bool otlp_can_merge(const struct histogram *h)
{
    return h->schema == HISTOGRAM_CUSTOM_SCHEMA
           || (!is_wide(&h->positive, h->schema) && !is_wide(&h->negative, h->schema));
}

static bool has_many(const struct histogram *h)
{
    return h->schema != HISTOGRAM_CUSTOM_SCHEMA
           && (h->positive.n_counts > OTLP_MERGED_BUCKETS
               || h->negative.n_counts > OTLP_MERGED_BUCKETS);
}

/* Makes h coarser while it has too many buckets. */
static bool thin_out(struct histogram *h, struct arena *a)
{
    const struct histogram_side none = { 0 };

    for (; has_many(h) && h->schema > HISTOGRAM_MIN_SCHEMA; h->schema--)
        if (!add_side(&h->positive, 1, &none, 0, a, &h->positive)
            || !add_side(&h->negative, 1, &none, 0, a, &h->negative))
            return false;
    return true;
}

bool otlp_merge(struct histogram **total, struct histogram *delta, struct arena *scratch,
                struct arena *a)
{
    struct histogram sum = *delta, *copy, *out;

    arena_reset(scratch);
    if (*total && can_add(*total, delta) && !add(*total, delta, scratch, &sum))
        return false;
    if (!thin_out(&sum, scratch))
        return false;
    if (has_many(&sum)) {
        sum = *delta;
        if (!thin_out(&sum, scratch))
            return false;
    }
    copy = otlp_merged_new(&sum);
    out = copy ? histogram_copy(a, &sum) : NULL;
    if (!out) {
        otlp_merged_free(copy);
        return false;
    }
    otlp_merged_free(*total);
    *total = copy;
    *delta = *out;
    return true;
}
