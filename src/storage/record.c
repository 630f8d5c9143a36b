#include "storage/record.h"

#include "base/banned.h"

enum { VERSION = 2, VERSION_OF_FLOATS = 1 };
enum { HAS_STARTS = 1, HAS_OTHERS = 2, FLAG_BITS = 2 };

/* ---- writing ---- */

enum { MAX_UVARINT = 10, MAX_VALUE = 9 };

/* For many small numbers at a time, where the room has been reserved. */
static uint8_t *put_uvarint(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

static uint8_t *put_difference(uint8_t *to, int64_t v, int64_t *last)
{
    int64_t difference = (int64_t)((uint64_t)v - (uint64_t)*last);

    *last = v;
    return put_uvarint(to, zigzag(difference));
}

/* Writes up to 8 bytes more than it uses. */
static uint8_t *put_value(uint8_t *to, double v)
{
    uint64_t bits = f64_bits(v);
    unsigned n;
    int64_t i;

    if (is_integer(v, &i))
        return put_uvarint(to, zigzag(i) << 1);
    n = 8 - (unsigned)__builtin_ctzll(bits) / 8;
    *to++ = (uint8_t)(n << 1 | 1);
    store_u64le(to, bits >> (64 - 8 * n));
    return to + n;
}

/* Moves what is in scratch behind its length. */
static void add_scratch(struct record_writer *w, struct buf *to)
{
    buf_uvarint(to, w->scratch.len);
    buf_add(to, w->scratch.ptr, w->scratch.len);
    to->failed |= w->scratch.failed;
    buf_clear(&w->scratch);
}

void record_define(struct record_writer *w, uint32_t ref, struct labels ls)
{
    buf_uvarint(&w->definitions, ref);
    labels_encode(&w->scratch, ls);
    add_scratch(w, &w->definitions);
    w->n_definitions++;
}

/* Differences wrap for numbers 2^63 apart, and unwrap on reading. */
static void add_difference(struct buf *b, int64_t v, int64_t *last)
{
    buf_varint(b, (int64_t)((uint64_t)v - (uint64_t)*last));
    *last = v;
}

void record_series(struct record_writer *w, uint32_t ref, struct record_counts counts)
{
    bool others = counts.n_histograms > 0 || counts.n_exemplars > 0;
    uint8_t *to = buf_reserve(&w->series, 4 * MAX_UVARINT);

    if (!to)
        return;
    to = put_difference(to, ref, &w->last_ref);
    to = put_uvarint(to, counts.n_floats << FLAG_BITS | (counts.has_starts ? HAS_STARTS : 0)
                             | (others ? HAS_OTHERS : 0));
    if (others) {
        to = put_uvarint(to, counts.n_histograms);
        to = put_uvarint(to, counts.n_exemplars);
    }
    w->series.len = (size_t)(to - w->series.ptr);
    w->has_starts = counts.has_starts;
    w->n_series++;
}

static void add_time(struct record_writer *w, int64_t t_ms, int64_t start_ms)
{
    add_difference(&w->series, t_ms, &w->last_t_ms);
    if (w->has_starts)
        add_difference(&w->series, start_ms, &w->last_start_ms);
}

void record_float(struct record_writer *w, struct sample s, int64_t start_ms)
{
    uint8_t *to = buf_reserve(&w->series, 2 * MAX_UVARINT + MAX_VALUE + 8);

    if (!to)
        return;
    to = put_difference(to, s.t_ms, &w->last_t_ms);
    if (w->has_starts)
        to = put_difference(to, start_ms, &w->last_start_ms);
    to = put_value(to, s.v);
    w->series.len = (size_t)(to - w->series.ptr);
}

void record_histogram(struct record_writer *w, int64_t t_ms, int64_t start_ms,
                      const struct histogram *h)
{
    add_time(w, t_ms, start_ms);
    histogram_encode(&w->scratch, h);
    add_scratch(w, &w->series);
}

void record_exemplar(struct record_writer *w, int64_t t_ms, double v, struct labels ls)
{
    uint8_t *to;

    add_difference(&w->series, t_ms, &w->last_t_ms);
    to = buf_reserve(&w->series, MAX_VALUE + 8);
    if (!to)
        return;
    w->series.len = (size_t)(put_value(to, v) - w->series.ptr);
    labels_encode(&w->scratch, ls);
    add_scratch(w, &w->series);
}

enum errc record_finish(struct record_writer *w, struct buf *out)
{
    bool failed = w->definitions.failed || w->series.failed;

    buf_u8(out, VERSION);
    buf_uvarint(out, w->n_definitions);
    buf_add(out, w->definitions.ptr, w->definitions.len);
    buf_uvarint(out, w->n_series);
    buf_add(out, w->series.ptr, w->series.len);
    buf_clear(&w->definitions);
    buf_clear(&w->series);
    *w = (struct record_writer){ .definitions = w->definitions,
                                 .series = w->series,
                                 .scratch = w->scratch };
    return failed || out->failed ? ERR_NOMEM : OK;
}

void record_writer_free(struct record_writer *w)
{
    buf_free(&w->definitions);
    buf_free(&w->series);
    buf_free(&w->scratch);
}

/* ---- reading ---- */

/* A record being read, and the numbers that differences count from. */
struct read {
    struct reader r;
    const struct record_handler *h;
    uint8_t version;
    uint32_t ref;
    bool has_starts; /* the series */
    int64_t t_ms, start_ms;
};

static bool read_definitions(struct read *in)
{
    struct reader *r = &in->r;
    uint64_t n = read_uvarint(r);

    for (uint64_t i = 0; i < n && !r->overrun; i++) {
        uint64_t ref = read_uvarint(r);
        struct bytes labels = read_bytes(r, read_uvarint(r));

        if (ref >= UINT32_MAX)
            r->overrun = true;
        if (!r->overrun && in->h->define && !in->h->define(in->h->ctx, (uint32_t)ref, labels))
            return false;
    }
    return true;
}

/* read_uvarint(), of which most are one byte. */
static uint64_t read_small(struct reader *r)
{
    if (LIKELY(r->p < r->end && *r->p < 0x80))
        return *r->p++;
    return read_uvarint(r);
}

static void read_difference(struct reader *r, int64_t *v)
{
    *v = (int64_t)((uint64_t)*v + (uint64_t)unzigzag(read_small(r)));
}

static double read_bits(struct reader *r, unsigned n)
{
    struct bytes b;
    uint64_t bits = 0;

    if (n < 1 || n > 8) {
        r->overrun = true;
        return 0;
    }
    b = read_bytes(r, n);
    for (size_t i = 0; i < b.len; i++)
        bits |= (uint64_t)b.ptr[i] << (8 * (8 - n + i));
    return f64_from_bits(bits);
}

static double read_value(struct read *in)
{
    struct reader *r = &in->r;

    if (in->version == VERSION_OF_FLOATS)
        return f64_from_bits(read_u64(r));
    if (r->p < r->end && *r->p & 1)
        return read_bits(r, read_u8(r) >> 1);
    return (double)unzigzag(read_small(r) >> 1);
}

/* The time in in->t_ms; returns the start time. */
static int64_t read_time(struct read *in)
{
    read_difference(&in->r, &in->t_ms);
    if (!in->has_starts)
        return 0;
    read_difference(&in->r, &in->start_ms);
    return in->start_ms;
}

static bool read_floats(struct read *in, uint64_t n)
{
    for (uint64_t i = 0; i < n && !in->r.overrun; i++) {
        int64_t start_ms = read_time(in);
        struct sample s = { in->t_ms, read_value(in) };

        if (!in->r.overrun && in->h->sample && !in->h->sample(in->h->ctx, in->ref, s, start_ms))
            return false;
    }
    return true;
}

static bool read_histograms(struct read *in, uint64_t n)
{
    for (uint64_t i = 0; i < n && !in->r.overrun; i++) {
        int64_t start_ms = read_time(in);
        struct bytes encoded = read_bytes(&in->r, read_uvarint(&in->r));

        if (!in->r.overrun && in->h->histogram
            && !in->h->histogram(in->h->ctx, in->ref, in->t_ms, start_ms, encoded))
            return false;
    }
    return true;
}

static bool read_exemplars(struct read *in, uint64_t n)
{
    for (uint64_t i = 0; i < n && !in->r.overrun; i++) {
        read_difference(&in->r, &in->t_ms);

        double v = read_value(in);
        struct bytes labels = read_bytes(&in->r, read_uvarint(&in->r));

        if (!in->r.overrun && in->h->exemplar
            && !in->h->exemplar(in->h->ctx, in->ref, in->t_ms, v, labels))
            return false;
    }
    return true;
}

static struct record_counts read_counts(struct read *in)
{
    struct record_counts c = { .n_floats = read_small(&in->r) };
    uint64_t flags = c.n_floats;

    if (in->version == VERSION_OF_FLOATS)
        return c;
    c.n_floats >>= FLAG_BITS;
    c.has_starts = flags & HAS_STARTS;
    if (flags & HAS_OTHERS) {
        c.n_histograms = read_uvarint(&in->r);
        c.n_exemplars = read_uvarint(&in->r);
    }
    return c;
}

static bool read_series(struct read *in)
{
    uint64_t n = read_uvarint(&in->r);
    int64_t ref = 0;

    for (uint64_t i = 0; i < n && !in->r.overrun; i++) {
        struct record_counts c;

        read_difference(&in->r, &ref);
        c = read_counts(in);
        if (ref < 0 || ref >= UINT32_MAX)
            in->r.overrun = true;
        in->ref = (uint32_t)ref;
        in->has_starts = c.has_starts;
        if (!read_floats(in, c.n_floats) || !read_histograms(in, c.n_histograms)
            || !read_exemplars(in, c.n_exemplars))
            return false;
    }
    return true;
}

enum errc record_read(struct bytes record, const struct record_handler *h, struct err *err)
{
    struct read in = { .r = reader_on(record), .h = h };

    in.version = read_u8(&in.r);
    if (!in.r.overrun && (in.version < VERSION_OF_FLOATS || in.version > VERSION))
        return err_set(err, ERR_CORRUPT, 0, "log record has version %u, expected %u at most",
                       in.version, VERSION);
    if (!read_definitions(&in) || !read_series(&in))
        return err_set(err, ERR_CANCELED, 0, "reading of a log record was stopped");
    if (in.r.overrun || reader_left(&in.r) > 0)
        return err_set(err, ERR_CORRUPT, 0, "log record of %zu bytes is malformed", record.len);
    return OK;
}
