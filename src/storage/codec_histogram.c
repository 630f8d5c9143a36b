#include "storage/codec_histogram.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "storage/histogram.h"

#include "base/banned.h"

#define MAX_WHOLE 0x1p53

/* ---- layouts ---- */

static bool same_side(const struct histogram_side *a, const struct histogram_side *b)
{
    bool same = a->n_spans == b->n_spans && a->n_counts == b->n_counts;

    for (uint32_t i = 0; same && i < a->n_spans; i++)
        same = a->spans[i].offset == b->spans[i].offset && a->spans[i].length == b->spans[i].length;
    return same;
}

static bool same_layout(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema && f64_bits(a->zero_threshold) == f64_bits(b->zero_threshold)
           && a->n_custom == b->n_custom
           && (a->n_custom == 0
               || memcmp(a->custom, b->custom, a->n_custom * sizeof *a->custom) == 0)
           && same_side(&a->positive, &b->positive) && same_side(&a->negative, &b->negative);
}

static size_t run_length(const struct histogram *const *h, size_t n)
{
    size_t run = 1;

    while (run < n && (h[run] == h[0] || same_layout(h[run], h[0])))
        run++;
    return run;
}

static uint32_t n_buckets(const struct histogram *h)
{
    return h->positive.n_counts + h->negative.n_counts;
}

/* ---- encoding ---- */

/* A field of a histogram, or bucket number bucket. */
typedef double number_of(const struct histogram *h, uint32_t bucket);

static double count_of(const struct histogram *h, uint32_t bucket)
{
    (void)bucket;
    return h->count;
}

static double zero_count_of(const struct histogram *h, uint32_t bucket)
{
    (void)bucket;
    return h->zero_count;
}

static double bucket_of(const struct histogram *h, uint32_t bucket)
{
    uint32_t n = h->positive.n_counts;

    return bucket < n ? h->positive.counts[bucket] : h->negative.counts[bucket - n];
}

static double sum_of(const struct histogram *h, uint32_t bucket)
{
    (void)bucket;
    return h->sum;
}

static bool is_whole(double v)
{
    return v >= 0 && v <= MAX_WHOLE && f64_bits((double)(int64_t)v) == f64_bits(v);
}

static bool all_whole(const struct histogram *h)
{
    bool whole = is_whole(h->count) && is_whole(h->zero_count);

    for (uint32_t i = 0; whole && i < n_buckets(h); i++)
        whole = is_whole(bucket_of(h, i));
    return whole;
}

bool histograms_suit(const struct histogram *const *h, size_t n)
{
    size_t runs = 0, counts = 0;

    for (size_t i = 0, run; i < n; i += run, runs++) {
        run = run_length(h + i, n - i);
        counts += run * n_buckets(h[i]);
    }
    if (n < 4 || runs > n / 4 || counts > HISTOGRAMS_MAX_COUNTS)
        return false;
    for (size_t i = 0; i < n; i++)
        if (h[i]->is_integer && !all_whole(h[i]))
            return false;
    return true;
}

static void encode_floats(struct buf *b, const struct histogram *const *h, size_t n,
                          number_of *number, uint32_t bucket, struct floats_scratch *s)
{
    double v[INTS_MAX];

    for (size_t i = 0; i < n; i++)
        v[i] = number(h[i], bucket);
    floats_encode(b, v, n, s);
}

static void encode_numbers(struct buf *b, const struct histogram *const *h, size_t n,
                           number_of *number, uint32_t bucket, struct floats_scratch *s)
{
    if (!h[0]->is_integer) {
        encode_floats(b, h, n, number, bucket, s);
        return;
    }
    for (size_t i = 0; i < n; i++)
        s->work[i] = (int64_t)number(h[i], bucket);
    ints_encode(b, s->work, n);
}

/* h without its numbers. */
static void encode_layout(struct buf *b, const struct histogram *h)
{
    double *zeros = calloc(n_buckets(h) + 1, sizeof *zeros);
    struct histogram layout = *h;
    struct buf encoding = { 0 };

    if (!zeros) {
        b->failed = true;
        return;
    }
    layout.is_integer = true;
    layout.hint = HINT_UNKNOWN;
    layout.count = layout.sum = layout.zero_count = 0;
    layout.positive.counts = layout.negative.counts = zeros;
    histogram_encode(&encoding, &layout);
    b->failed |= encoding.failed;
    buf_uvarint(b, encoding.len);
    buf_add(b, encoding.ptr, encoding.len);
    buf_free(&encoding);
    free(zeros);
}

static void encode_run(struct buf *b, const struct histogram *const *h, size_t n,
                       struct floats_scratch *s)
{
    buf_uvarint(b, n);
    encode_layout(b, h[0]);
    for (uint32_t i = 0; i < n_buckets(h[0]); i++)
        encode_numbers(b, h, n, bucket_of, i, s);
}

void histograms_encode(struct buf *b, const struct histogram *const *h, size_t n,
                       struct floats_scratch *s)
{
    size_t runs = 0;

    ASSERT(n >= 1 && n <= INTS_MAX);
    for (size_t i = 0; i < n; i++) {
        ASSERT(h[i]->is_integer == h[0]->is_integer);
        s->work[i] = h[i]->hint;
    }
    ints_encode(b, s->work, n);
    encode_floats(b, h, n, sum_of, 0, s);
    encode_numbers(b, h, n, count_of, 0, s);
    encode_numbers(b, h, n, zero_count_of, 0, s);
    for (size_t i = 0; i < n; i += run_length(h + i, n - i))
        runs++;
    buf_uvarint(b, runs);
    for (size_t i = 0, run; i < n; i += run) {
        run = run_length(h + i, n - i);
        encode_run(b, h + i, run, s);
    }
}

/* ---- decoding ---- */

/* What is decoded, beside the buckets: INTS_MAX of each. */
struct fields {
    int64_t hint[INTS_MAX];
    double sum[INTS_MAX], count[INTS_MAX], zero_count[INTS_MAX];
};

struct decoder {
    struct reader *r;
    bool is_integer;
    const int64_t *t_ms;
    size_t n, done;
    struct fields *fields;
    struct arena *arena; /* of a run */
    size_t n_counts;     /* of all buckets so far */
    struct column *out;
};

static bool decode_numbers(struct decoder *d, double *out, size_t n)
{
    bool sound = true;

    if (!d->is_integer)
        return floats_decode(d->r, out, n);
    if (!ints_decode(d->r, (int64_t *)(void *)out, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        int64_t v = (int64_t)f64_bits(out[i]);

        sound &= v >= 0 && v <= (int64_t)MAX_WHOLE;
        out[i] = (double)v;
    }
    return sound;
}

static bool decode_fields(struct decoder *d)
{
    struct fields *f = d->fields;
    bool sound = ints_decode(d->r, f->hint, d->n) && floats_decode(d->r, f->sum, d->n)
                 && decode_numbers(d, f->count, d->n) && decode_numbers(d, f->zero_count, d->n);

    for (size_t i = 0; sound && i < d->n; i++)
        sound = f->hint[i] >= 0 && f->hint[i] < HINT_COUNT;
    return sound;
}

/* Adds the run's samples; columns holds run numbers for each bucket. */
static enum errc add_run(struct decoder *d, struct histogram *layout, size_t run,
                         const double *columns, double *counts)
{
    uint32_t n_positive = layout->positive.n_counts, n = n_buckets(layout);

    layout->is_integer = d->is_integer;
    layout->positive.counts = counts;
    layout->negative.counts = counts + n_positive;
    for (size_t i = 0; i < run; i++, d->done++) {
        layout->hint = (enum histogram_hint)d->fields->hint[d->done];
        layout->sum = d->fields->sum[d->done];
        layout->count = d->fields->count[d->done];
        layout->zero_count = d->fields->zero_count[d->done];
        for (uint32_t k = 0; k < n; k++)
            counts[k] = columns[k * run + i];
        if (!column_add_histogram(d->out, d->t_ms[d->done], layout))
            return ERR_NOMEM;
    }
    return OK;
}

static enum errc decode_layout(struct decoder *d, struct histogram *out)
{
    struct reader r = reader_on(read_bytes(d->r, read_uvarint(d->r)));
    enum errc rc = histogram_decode(&r, d->arena, out, NULL);

    if (rc == OK && (reader_left(&r) > 0 || !out->is_integer))
        rc = ERR_CORRUPT;
    return rc;
}

static enum errc decode_run(struct decoder *d)
{
    uint64_t run = read_uvarint(d->r);
    struct histogram layout;
    double *columns, *counts;
    enum errc rc;
    uint32_t n;

    if (run < 1 || run > d->n - d->done)
        return ERR_CORRUPT;
    arena_reset(d->arena);
    rc = decode_layout(d, &layout);
    if (rc != OK)
        return rc;
    n = n_buckets(&layout);
    d->n_counts += n * run;
    if (d->n_counts > HISTOGRAMS_MAX_COUNTS)
        return ERR_CORRUPT;
    columns = arena_alloc(d->arena, n * run * sizeof *columns);
    counts = arena_alloc(d->arena, n * sizeof *counts);
    if (!columns || !counts)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        if (!decode_numbers(d, columns + i * run, run))
            return ERR_CORRUPT;
    return add_run(d, &layout, run, columns, counts);
}

enum errc histograms_decode(struct reader *r, bool is_integer, const int64_t *t_ms, size_t n,
                            struct column *out)
{
    struct decoder d = { .r = r,
                         .is_integer = is_integer,
                         .t_ms = t_ms,
                         .n = n,
                         .fields = malloc(sizeof *d.fields),
                         .arena = arena_new(0),
                         .out = out };
    enum errc rc = d.fields && d.arena ? OK : ERR_NOMEM;
    uint64_t runs = 0;

    if (rc == OK)
        rc = decode_fields(&d) ? OK : ERR_CORRUPT;
    if (rc == OK)
        runs = read_uvarint(r);
    for (uint64_t i = 0; rc == OK && i < runs; i++)
        rc = decode_run(&d);
    if (rc == OK && (d.done != n || r->overrun))
        rc = ERR_CORRUPT;
    free(d.fields);
    arena_free(d.arena);
    return rc;
}
