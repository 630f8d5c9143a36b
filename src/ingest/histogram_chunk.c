/* histogram_chunk.c
 *
 *   be16   number of samples
 *   u8     11000000 gauges, 0 otherwise: whether the first was a reset is not known
 *   layout of all: zero threshold, schema, spans of both sides, custom bounds
 *   for each sample        integer                        float
 *     time                 int, delta of deltas           the same
 *     count, zero count    uint, then delta of deltas     64 bits, then xor
 *     sum                  64 bits, then xor              the same
 *     buckets              int of the difference to the   64 bits, then xor
 *                          bucket before, then delta of
 *                          deltas of that
 *   zeros up to a whole byte
 *
 * The delta before sample 1 counts as 0. int and uint are the variable numbers of the table below;
 * xor is in bit_writer.h. A staleness marker has no buckets.
 */
#include "ingest/histogram_chunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/bit_writer.h"
#include "storage/sample.h"

#include "base/banned.h"

/* ---- variable numbers ---- */

static const struct {
    uint64_t prefix;
    unsigned prefix_bits, bits;
} sizes[] = {
    { 0x00, 1, 0 },  { 0x02, 2, 3 },  { 0x06, 3, 6 },  { 0x0e, 4, 9 },  { 0x1e, 5, 12 },
    { 0x3e, 6, 18 }, { 0x7e, 7, 25 }, { 0xfe, 8, 56 }, { 0xff, 8, 64 },
};

static void put_sized(struct bit_writer *w, size_t size, uint64_t v)
{
    put_bits(w, sizes[size].prefix, sizes[size].prefix_bits);
    if (sizes[size].bits)
        put_bits(w, v, sizes[size].bits);
}

/* Of n bits, the pattern 100..0 is the positive end of the range. */
static void put_int(struct bit_writer *w, int64_t v)
{
    size_t i = 0;

    if (v != 0)
        for (i = 1; sizes[i].bits < 64; i++) {
            int64_t half = 1ll << (sizes[i].bits - 1);

            if (v > -half && v <= half)
                break;
        }
    put_sized(w, i, (uint64_t)v);
}

static void put_uint(struct bit_writer *w, uint64_t v)
{
    size_t i = 0;

    while (sizes[i].bits < 64 && v >> sizes[i].bits)
        i++;
    put_sized(w, i, v);
}

/* ---- layout ---- */

static bool is_stale_histogram(const struct histogram *h)
{
    return is_stale(h->sum);
}

/* Powers of two from 2^-243 to 2^10 take a byte. */
static void put_threshold(struct bit_writer *w, double v)
{
    int exponent = 0;

    if (v == 0) {
        put_bits(w, 0, 8);
    } else if (frexp(v, &exponent) == 0.5 && exponent >= -242 && exponent <= 11) {
        put_bits(w, (uint64_t)(exponent + 243), 8);
    } else {
        put_bits(w, 255, 8);
        put_bits(w, f64_bits(v), 64);
    }
}

static void put_spans(struct bit_writer *w, const struct histogram_side *side)
{
    put_uint(w, side->n_spans);
    for (uint32_t i = 0; i < side->n_spans; i++) {
        put_uint(w, side->spans[i].length);
        put_int(w, side->spans[i].offset);
    }
}

/* A bound with three decimals at most takes fewer bits. */
static void put_bound(struct bit_writer *w, double v)
{
    double thousandth = v * 1000;

    if (thousandth >= 0 && thousandth <= 33554430 && round(thousandth) / 1000 == v) {
        put_uint(w, (uint64_t)round(thousandth) + 1);
    } else {
        put_bits(w, 0, 1);
        put_bits(w, f64_bits(v), 64);
    }
}

static void put_layout(struct bit_writer *w, const struct histogram *h)
{
    static const struct histogram none = { 0 };

    if (is_stale_histogram(h))
        h = &none;
    put_threshold(w, h->zero_threshold);
    put_int(w, h->schema);
    put_spans(w, &h->positive);
    put_spans(w, &h->negative);
    if (h->schema != HISTOGRAM_CUSTOM_SCHEMA)
        return;
    put_uint(w, h->n_custom);
    for (uint32_t i = 0; i < h->n_custom; i++)
        put_bound(w, h->custom[i]);
}

/* ---- samples ---- */

/* A number with its delta, or a float with its window. */
struct track {
    int64_t value, delta;
    struct xor_window window;
};

static void put_track_int(struct bit_writer *w, struct track *t, int64_t v)
{
    int64_t delta = (int64_t)((uint64_t)v - (uint64_t)t->value);

    put_int(w, (int64_t)((uint64_t)delta - (uint64_t)t->delta));
    t->value = v;
    t->delta = delta;
}

static void put_track_float(struct bit_writer *w, struct track *t, double v, bool first)
{
    if (!first) {
        put_xor(w, &t->window, v);
        return;
    }
    put_bits(w, f64_bits(v), 64);
    t->window.last = f64_bits(v);
}

struct encoder {
    struct bit_writer w;
    struct track time, count, zero, sum, *buckets;
    bool first;
};

static void put_side(struct encoder *e, const struct histogram_side *side, struct track *buckets,
                     bool is_integer)
{
    int64_t before = 0;

    for (uint32_t i = 0; i < side->n_counts; i++) {
        double v = side->counts[i];
        int64_t diff = is_integer ? (int64_t)v - before : 0;

        if (!is_integer) {
            put_track_float(&e->w, &buckets[i], v, e->first);
        } else if (e->first) {
            put_int(&e->w, diff);
            buckets[i].value = diff;
        } else {
            put_track_int(&e->w, &buckets[i], diff);
        }
        before += diff;
    }
}

static void put_integer(struct encoder *e, const struct histogram *h)
{
    if (e->first) {
        e->count.value = (int64_t)h->count;
        e->zero.value = (int64_t)h->zero_count;
        put_uint(&e->w, (uint64_t)h->count);
        put_uint(&e->w, (uint64_t)h->zero_count);
    } else {
        put_track_int(&e->w, &e->count, (int64_t)h->count);
        put_track_int(&e->w, &e->zero, (int64_t)h->zero_count);
    }
}

static void put_sample(struct encoder *e, int64_t t_ms, const struct histogram *h, bool is_integer)
{
    bool stale = is_stale_histogram(h);

    if (e->first) {
        put_int(&e->w, t_ms);
        e->time.value = t_ms;
    } else {
        put_track_int(&e->w, &e->time, t_ms);
    }
    if (is_integer && stale) { /* nothing, whatever the numbers before were */
        put_bits(&e->w, 0, 2);
    } else if (is_integer) {
        put_integer(e, h);
    } else {
        put_track_float(&e->w, &e->count, stale ? 0 : h->count, e->first);
        put_track_float(&e->w, &e->zero, stale ? 0 : h->zero_count, e->first);
    }
    put_track_float(&e->w, &e->sum, h->sum, e->first);
    if (!stale) {
        put_side(e, &h->positive, e->buckets, is_integer);
        put_side(e, &h->negative, e->buckets + h->positive.n_counts, is_integer);
    }
    e->first = false;
}

void histogram_chunk_encode(struct buf *out, const int64_t *t_ms, const struct histogram *const *h,
                            size_t n)
{
    size_t n_buckets =
        is_stale_histogram(h[0]) ? 0 : (size_t)h[0]->positive.n_counts + h[0]->negative.n_counts;
    struct encoder e = { .w = { .out = out },
                         .buckets = calloc(n_buckets + 1, sizeof *e.buckets),
                         .first = true };

    ASSERT(n > 0 && n <= UINT16_MAX);
    if (!e.buckets) {
        out->failed = true;
        return;
    }
    put_bits(&e.w, n, 16);
    put_bits(&e.w, h[0]->hint == HINT_GAUGE ? 0xc0 : 0, 8);
    put_layout(&e.w, h[0]);
    for (size_t i = 0; i < n; i++)
        put_sample(&e, t_ms[i], h[i], h[0]->is_integer);
    end_bits(&e.w);
    free(e.buckets);
}

/* ---- what may follow ---- */

static bool same_side(const struct histogram_side *a, const struct histogram_side *b, bool gauge)
{
    if (a->n_spans != b->n_spans || a->n_counts != b->n_counts)
        return false;
    for (uint32_t i = 0; i < a->n_spans; i++)
        if (a->spans[i].offset != b->spans[i].offset || a->spans[i].length != b->spans[i].length)
            return false;
    for (uint32_t i = 0; !gauge && i < a->n_counts; i++)
        if (!(b->counts[i] >= a->counts[i]))
            return false;
    return true;
}

bool histogram_chunk_goes_on(const struct histogram *a, const struct histogram *b)
{
    bool gauge = a->hint == HINT_GAUGE;

    if (a->is_integer != b->is_integer)
        return false;
    if (is_stale_histogram(a) || is_stale_histogram(b))
        return is_stale_histogram(b);
    if (gauge != (b->hint == HINT_GAUGE) || b->hint == HINT_RESET || a->schema != b->schema
        || a->zero_threshold != b->zero_threshold || a->n_custom != b->n_custom)
        return false;
    if (!gauge && !(b->count >= a->count && b->zero_count >= a->zero_count))
        return false;
    return (a->n_custom == 0 || memcmp(a->custom, b->custom, a->n_custom * sizeof *a->custom) == 0)
           && same_side(&a->positive, &b->positive, gauge)
           && same_side(&a->negative, &b->negative, gauge);
}
