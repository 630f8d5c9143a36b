#include "storage/histogram.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "storage/sample.h"
#include "base/banned.h"

#define MAX_WHOLE 9007199254740992.0 /* 2^53: every whole number up to it is a double */

/* ---- checking ---- */

static enum errc bad(struct err *err, const char *side, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "SIDE: text", or the text alone. */
static enum errc bad(struct err *err, const char *side, const char *fmt, ...)
{
    va_list ap;
    char text[256];

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_BAD_DATA, 0, "%s%s%s", side, *side ? ": " : "", text);
}

static enum errc check_spans(const struct histogram_side *s, bool custom, const char *side,
                             struct err *err)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < s->n_spans; i++) {
        if (s->spans[i].offset < 0 && (i > 0 || custom))
            return bad(err, side,
                       "span number %u with offset %d: histogram has a span whose offset is "
                       "negative",
                       i + 1, s->spans[i].offset);
        n += s->spans[i].length;
    }
    if (n != s->n_counts)
        return bad(err, side,
                   "spans need %llu buckets, have %u buckets: histogram spans specify different "
                   "number of buckets than provided",
                   (unsigned long long)n, s->n_counts);
    return OK;
}

/* Whether a count of an integer histogram is one. */
static bool is_whole(double v)
{
    return v >= 0 && v <= MAX_WHOLE && v == floor(v);
}

/* Adds the counts of a side to *total. */
static enum errc check_counts(const struct histogram *h, const struct histogram_side *s,
                              const char *side, double *total, struct err *err)
{
    for (uint32_t i = 0; i < s->n_counts; i++) {
        if (s->counts[i] < 0)
            return bad(err, side,
                       "bucket number %u has observation count of %g: histogram has a bucket "
                       "whose observation count is negative",
                       i + 1, s->counts[i]);
        if (h->is_integer && !is_whole(s->counts[i]))
            return bad(err, side, "bucket number %u has observation count of %g, above 2^53", i + 1,
                       s->counts[i]);
        *total += s->counts[i];
    }
    return OK;
}

static enum errc check_bounds(const struct histogram *h, struct err *err)
{
    uint64_t need = 0;

    for (uint32_t i = 0; i < h->n_custom; i++) {
        if (isnan(h->custom[i]))
            return bad(err, "custom buckets", "histogram custom bounds must not be NaN");
        if (i > 0 && h->custom[i] <= h->custom[i - 1])
            return bad(err, "custom buckets",
                       "histogram custom bounds must be in strictly increasing order: bound %u is "
                       "%g after %g",
                       i + 1, h->custom[i], h->custom[i - 1]);
    }
    if (h->n_custom > 0 && isinf(h->custom[h->n_custom - 1]) && h->custom[h->n_custom - 1] > 0)
        return bad(err, "custom buckets", "histogram custom bounds must be finite");
    for (uint32_t i = 0; i < h->positive.n_spans; i++)
        need += (uint64_t)(uint32_t)h->positive.spans[i].offset + h->positive.spans[i].length;
    if (need > (uint64_t)h->n_custom + 1)
        return bad(err, "custom buckets",
                   "only %u custom bounds defined which is insufficient to cover total span "
                   "length of %llu: histogram custom bounds are too few",
                   h->n_custom, (unsigned long long)need);
    return OK;
}

static enum errc check_custom(const struct histogram *h, struct err *err)
{
    enum errc rc = check_spans(&h->positive, true, "positive side", err);

    if (rc == OK)
        rc = check_bounds(h, err);
    if (rc != OK)
        return rc;
    if (h->zero_count != 0)
        return bad(err, "custom buckets", "must have zero count of 0");
    if (h->zero_threshold != 0)
        return bad(err, "custom buckets", "must have zero threshold of 0");
    if (h->negative.n_spans > 0)
        return bad(err, "custom buckets", "must not have negative spans");
    if (h->negative.n_counts > 0)
        return bad(err, "custom buckets", "must not have negative buckets");
    return OK;
}

static enum errc check_exponential(const struct histogram *h, struct err *err)
{
    enum errc rc;

    if (h->schema < HISTOGRAM_MIN_SCHEMA || h->schema > HISTOGRAM_MAX_SCHEMA)
        return bad(err, "",
                   "histogram has an invalid schema, which must be between -4 and 8 for "
                   "exponential buckets, or -53 for custom buckets, got schema %d",
                   h->schema);
    if (h->n_custom > 0)
        return bad(err, "", "histogram with exponential schema must not have custom bounds");
    if (!(h->zero_threshold >= 0))
        return bad(err, "", "zero threshold is %g: it must not be negative", h->zero_threshold);
    rc = check_spans(&h->negative, false, "negative side", err);
    return rc == OK ? check_spans(&h->positive, false, "positive side", err) : rc;
}

/* Of an integer histogram count and buckets must agree; a float one may say what it likes. */
static enum errc check_total(const struct histogram *h, double in_buckets, struct err *err)
{
    if (h->count < 0)
        return bad(err, "", "observation count is  %g: histogram's observation count is negative",
                   h->count);
    if (h->zero_count < 0)
        return bad(err, "",
                   "zero bucket has observation count of %g: histogram has a bucket whose "
                   "observation count is negative",
                   h->zero_count);
    if (!h->is_integer)
        return OK;
    if (!is_whole(h->count) || !is_whole(h->zero_count))
        return bad(err, "", "an observation count is above 2^53");
    if (isnan(h->sum) ? in_buckets > h->count : in_buckets != h->count)
        return bad(err, "",
                   "%.0f observations found in buckets, but the Count field is %.0f: histogram's "
                   "observation count should %s the number of observations found in the buckets%s",
                   in_buckets, h->count, isnan(h->sum) ? "be at least" : "equal",
                   isnan(h->sum) ? "" : " (in absence of NaN)");
    return OK;
}

static bool is_empty(const struct histogram *h)
{
    return h->count == 0 && h->zero_count == 0 && h->n_custom == 0 && h->positive.n_spans == 0
           && h->positive.n_counts == 0 && h->negative.n_spans == 0 && h->negative.n_counts == 0;
}

enum errc histogram_check(const struct histogram *h, struct err *err)
{
    double in_buckets = h->zero_count;
    enum errc rc;

    if (h->hint >= HINT_COUNT)
        return bad(err, "", "%d is not a counter reset hint", h->hint);
    if (is_stale(h->sum))
        return is_empty(h) ? OK : bad(err, "", "a staleness marker has observations or buckets");
    if ((uint64_t)h->positive.n_counts + h->negative.n_counts > HISTOGRAM_MAX_BUCKETS
        || (uint64_t)h->positive.n_spans + h->negative.n_spans > HISTOGRAM_MAX_BUCKETS
        || h->n_custom > HISTOGRAM_MAX_BUCKETS)
        return err_set(err, ERR_LIMIT, 0,
                       "histogram has more than %d buckets, spans or custom bounds",
                       HISTOGRAM_MAX_BUCKETS);
    rc = h->schema == HISTOGRAM_CUSTOM_SCHEMA ? check_custom(h, err) : check_exponential(h, err);
    if (rc == OK)
        rc = check_counts(h, &h->negative, "negative side", &in_buckets, err);
    if (rc == OK)
        rc = check_counts(h, &h->positive, "positive side", &in_buckets, err);
    return rc == OK ? check_total(h, in_buckets, err) : rc;
}

/* ---- comparing and copying ---- */

static bool same_bits(const double *a, const double *b, uint32_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static bool same_side(const struct histogram_side *a, const struct histogram_side *b)
{
    return a->n_spans == b->n_spans && a->n_counts == b->n_counts
           && (a->n_spans == 0 || memcmp(a->spans, b->spans, a->n_spans * sizeof *a->spans) == 0)
           && same_bits(a->counts, b->counts, a->n_counts);
}

bool histogram_identical(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema && a->hint == b->hint && a->is_integer == b->is_integer
           && same_bits(&a->count, &b->count, 1) && same_bits(&a->sum, &b->sum, 1)
           && same_bits(&a->zero_threshold, &b->zero_threshold, 1)
           && same_bits(&a->zero_count, &b->zero_count, 1) && a->n_custom == b->n_custom
           && same_bits(a->custom, b->custom, a->n_custom) && same_side(&a->positive, &b->positive)
           && same_side(&a->negative, &b->negative);
}

/* A copy of size bytes; NULL when the arena is full. */
static void *copy(struct arena *a, const void *from, size_t size)
{
    void *to = arena_alloc(a, size);

    if (to && size)
        memcpy(to, from, size);
    return to;
}

static bool copy_side(struct arena *a, struct histogram_side *s)
{
    s->spans = copy(a, s->spans, s->n_spans * sizeof *s->spans);
    s->counts = copy(a, s->counts, s->n_counts * sizeof *s->counts);
    return s->spans && s->counts;
}

struct histogram *histogram_copy(struct arena *a, const struct histogram *h)
{
    struct histogram *to = copy(a, h, sizeof *h);

    if (!to || !copy_side(a, &to->positive) || !copy_side(a, &to->negative)
        || !(to->custom = copy(a, h->custom, h->n_custom * sizeof *h->custom)))
        return NULL;
    return to;
}

/* ---- the encoding ---- */

static void encode_number(struct buf *b, bool is_integer, double v)
{
    if (is_integer)
        buf_uvarint(b, (uint64_t)v);
    else
        buf_u64(b, f64_bits(v));
}

static void encode_side(struct buf *b, bool is_integer, const struct histogram_side *s)
{
    int64_t last = 0;

    buf_uvarint(b, s->n_spans);
    for (uint32_t i = 0; i < s->n_spans; i++) {
        buf_varint(b, s->spans[i].offset);
        buf_uvarint(b, s->spans[i].length);
    }
    for (uint32_t i = 0; i < s->n_counts; i++) {
        if (!is_integer) {
            buf_u64(b, f64_bits(s->counts[i]));
            continue;
        }
        buf_varint(b, (int64_t)s->counts[i] - last);
        last = (int64_t)s->counts[i];
    }
}

void histogram_encode(struct buf *b, const struct histogram *h)
{
    buf_u8(b, (uint8_t)(!h->is_integer + 2 * h->hint));
    buf_varint(b, h->schema);
    buf_u64(b, f64_bits(h->sum));
    buf_u64(b, f64_bits(h->zero_threshold));
    encode_number(b, h->is_integer, h->count);
    encode_number(b, h->is_integer, h->zero_count);
    buf_uvarint(b, h->n_custom);
    for (uint32_t i = 0; i < h->n_custom; i++)
        buf_u64(b, f64_bits(h->custom[i]));
    encode_side(b, h->is_integer, &h->positive);
    encode_side(b, h->is_integer, &h->negative);
}

/* What a read that fails remembers, so that decoding reads like the format. */
struct decoder {
    struct reader *r;
    struct arena *a;
    bool is_integer, malformed, full;
};

/* A number of items that the rest of the input can hold, at least one byte each. */
static uint32_t decode_length(struct decoder *d)
{
    uint64_t n = read_uvarint(d->r);

    if (n > HISTOGRAM_MAX_BUCKETS || n > reader_left(d->r)) {
        d->malformed = true;
        return 0;
    }
    return (uint32_t)n;
}

static double whole(struct decoder *d, int64_t v)
{
    if (v < 0 || (double)v > MAX_WHOLE)
        d->malformed = true;
    return (double)v;
}

static double decode_number(struct decoder *d)
{
    if (d->is_integer) {
        uint64_t v = read_uvarint(d->r);

        return whole(d, v > INT64_MAX ? -1 : (int64_t)v);
    }
    return f64_from_bits(read_u64(d->r));
}

static double *decode_counts(struct decoder *d, uint32_t n)
{
    double *counts = arena_alloc(d->a, n * sizeof *counts);
    int64_t last = 0;

    for (uint32_t i = 0; counts && i < n; i++) {
        if (!d->is_integer)
            counts[i] = f64_from_bits(read_u64(d->r));
        else if (__builtin_add_overflow(last, read_varint(d->r), &last))
            d->malformed = true;
        else
            counts[i] = whole(d, last);
    }
    d->full |= !counts;
    return counts;
}

static void decode_side(struct decoder *d, struct histogram_side *s)
{
    uint32_t n = decode_length(d);
    struct histogram_span *spans = arena_alloc(d->a, n * sizeof *spans);
    uint64_t n_counts = 0;

    d->full |= !spans;
    for (uint32_t i = 0; spans && i < n; i++) {
        int64_t offset = read_varint(d->r);
        uint64_t length = read_uvarint(d->r);

        if (offset < INT32_MIN || offset > INT32_MAX || length > HISTOGRAM_MAX_BUCKETS)
            d->malformed = true;
        spans[i] = (struct histogram_span){ (int32_t)offset, (uint32_t)length };
        n_counts += length;
    }
    if (d->malformed || n_counts > HISTOGRAM_MAX_BUCKETS || n_counts > reader_left(d->r)) {
        d->malformed = true;
        return;
    }
    s->spans = spans;
    s->n_spans = n;
    s->n_counts = (uint32_t)n_counts;
    s->counts = decode_counts(d, s->n_counts);
}

static void decode_custom(struct decoder *d, struct histogram *h)
{
    uint32_t n = decode_length(d);
    double *custom = arena_alloc(d->a, n * sizeof *custom);

    for (uint32_t i = 0; custom && i < n; i++)
        custom[i] = f64_from_bits(read_u64(d->r));
    d->full |= !custom;
    h->custom = custom;
    h->n_custom = n;
}

enum errc histogram_decode(struct reader *r, struct arena *a, struct histogram *out,
                           struct err *err)
{
    struct decoder d = { .r = r, .a = a };
    struct histogram h = { 0 };
    uint8_t form = read_u8(r);
    int64_t schema = read_varint(r);

    d.is_integer = h.is_integer = !(form & 1);
    h.hint = form >> 1;
    h.schema = (int32_t)schema;
    d.malformed = form >> 1 >= HINT_COUNT || schema < INT32_MIN || schema > INT32_MAX;
    h.sum = f64_from_bits(read_u64(r));
    h.zero_threshold = f64_from_bits(read_u64(r));
    h.count = decode_number(&d);
    h.zero_count = decode_number(&d);
    decode_custom(&d, &h);
    decode_side(&d, &h.positive);
    decode_side(&d, &h.negative);
    if (r->overrun || d.malformed)
        return err_set(err, ERR_CORRUPT, 0, "malformed histogram");
    if (d.full)
        return err_set(err, ERR_NOMEM, 0, "no memory for a histogram");
    *out = h;
    return OK;
}
