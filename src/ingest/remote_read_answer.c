/* remote_read_answer.c
 *
 *   ReadResponse         1 results*                                  as many as queries, in order
 *   QueryResult          1 timeseries*
 *   TimeSeries           1 labels*  2 samples*  4 histograms*
 *   ChunkedReadResponse  1 chunked_series* (one)  2 query_index
 *   ChunkedSeries        1 labels*  2 chunks*
 *   Chunk                1 min_time_ms  2 max_time_ms  3 type enum  4 data
 *   Label                1 name  2 value
 *   Sample               1 value double  2 timestamp
 *   Histogram            1 count_int or 2 count_float  3 sum  4 schema  5 zero_threshold
 *                        6 zero_count_int or 7 zero_count_float
 *                        8 negative_spans*  9 negative_deltas* or 10 negative_counts*
 *                        11 positive_spans*  12 positive_deltas* or 13 positive_counts*
 *                        14 reset_hint  15 timestamp  16 custom_values*
 *   BucketSpan           1 offset sint32  2 length
 *
 *   frame                uvarint length, big-endian CRC-32C of the message, ChunkedReadResponse
 *
 * Series are sorted by their labels as they are sent, external ones among them: readers merge by
 * that order.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "ingest/histogram_chunk.h"
#include "ingest/remote_read.h"
#include "ingest/xor_chunk.h"
#include "storage/db.h"
#include "storage/sample.h"

#include "base/banned.h"

enum { BYTES = 2, FIXED64 = 1, VARINT = 0 };

/* ---- protobuf ---- */

static void put_key(struct buf *b, unsigned number, unsigned wire)
{
    buf_u8(b, (uint8_t)(number << 3 | wire));
}

static void put_varint(struct buf *b, unsigned number, uint64_t v)
{
    put_key(b, number, VARINT);
    buf_uvarint(b, v);
}

static void put_bytes(struct buf *b, unsigned number, const void *p, size_t n)
{
    put_key(b, number, BYTES);
    buf_uvarint(b, n);
    buf_add(b, p, n);
}

static size_t uvarint_size(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static size_t text_size(struct str s)
{
    return 1 + uvarint_size(s.len) + s.len;
}

static void put_labels(struct buf *b, struct labels ls)
{
    for (size_t i = 0; i < ls.n; i++) {
        const struct label *l = &ls.items[i];

        put_key(b, 1, BYTES);
        buf_uvarint(b, text_size(l->name) + text_size(l->value));
        put_bytes(b, 1, l->name.ptr, l->name.len);
        put_bytes(b, 2, l->value.ptr, l->value.len);
    }
}

static void put_sample(struct buf *b, int64_t t_ms, double v)
{
    put_key(b, 2, BYTES);
    buf_u8(b, (uint8_t)(10 + uvarint_size((uint64_t)t_ms)));
    put_key(b, 1, FIXED64);
    buf_u64(b, f64_bits(v));
    put_varint(b, 2, (uint64_t)t_ms);
}

static void put_double(struct buf *b, unsigned number, double v)
{
    put_key(b, number, FIXED64);
    buf_u64(b, f64_bits(v));
}

/* Field numbers above 15 take a second byte of key. */
static void put_doubles(struct buf *b, unsigned number, const double *v, size_t n)
{
    if (n == 0)
        return;
    buf_uvarint(b, number << 3 | BYTES);
    buf_uvarint(b, n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        buf_u64(b, f64_bits(v[i]));
}

static void put_deltas(struct buf *b, unsigned number, const double *counts, size_t n)
{
    int64_t before = 0;
    size_t bytes = 0;

    if (n == 0)
        return;
    for (size_t i = 0; i < n; before = (int64_t)counts[i++])
        bytes += uvarint_size(zigzag((int64_t)counts[i] - before));
    put_key(b, number, BYTES);
    buf_uvarint(b, bytes);
    before = 0;
    for (size_t i = 0; i < n; before = (int64_t)counts[i++])
        buf_varint(b, (int64_t)counts[i] - before);
}

static void put_side(struct buf *b, unsigned spans_number, const struct histogram_side *side,
                     bool is_integer)
{
    for (uint32_t i = 0; i < side->n_spans; i++) {
        put_key(b, spans_number, BYTES);
        buf_uvarint(b, 2 + uvarint_size(zigzag(side->spans[i].offset))
                           + uvarint_size(side->spans[i].length));
        put_varint(b, 1, zigzag(side->spans[i].offset));
        put_varint(b, 2, side->spans[i].length);
    }
    if (is_integer)
        put_deltas(b, spans_number + 1, side->counts, side->n_counts);
    else
        put_doubles(b, spans_number + 2, side->counts, side->n_counts);
}

static void put_histogram(struct buf *b, int64_t t_ms, const struct histogram *h)
{
    if (h->is_integer) {
        put_varint(b, 1, (uint64_t)h->count);
        put_varint(b, 6, (uint64_t)h->zero_count);
    } else {
        put_double(b, 2, h->count);
        put_double(b, 7, h->zero_count);
    }
    put_double(b, 3, h->sum);
    put_varint(b, 4, zigzag(h->schema));
    put_double(b, 5, h->zero_threshold);
    put_side(b, 8, &h->negative, h->is_integer);
    put_side(b, 11, &h->positive, h->is_integer);
    put_varint(b, 14, h->hint);
    put_varint(b, 15, (uint64_t)t_ms);
    put_doubles(b, 16, h->custom, h->n_custom);
}

/* ---- selecting ---- */

/* A series as it is sent: with the external labels that it lacks. */
struct found {
    const struct series *series;
    struct labels labels;
};

struct selection {
    struct arena *arena;
    struct db_view *view;
    struct found *items; /* sorted by labels */
    size_t n;
};

static void selection_close(struct selection *s)
{
    db_view_close(s->view);
    arena_free(s->arena);
    *s = (struct selection){ 0 };
}

/* The union of both sets, ls winning; items NULL when the arena is full. */
static struct labels merge_labels(struct arena *a, struct labels ls, struct labels external)
{
    struct label *items = arena_alloc(a, (ls.n + external.n) * sizeof *items);
    size_t n = 0, i = 0, k = 0;

    while (items && (i < ls.n || k < external.n)) {
        int order = i == ls.n         ? 1
                    : k == external.n ? -1
                                      : str_cmp(ls.items[i].name, external.items[k].name);

        items[n++] = order <= 0 ? ls.items[i] : external.items[k];
        i += order <= 0;
        k += order >= 0;
    }
    return (struct labels){ items, n };
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const struct found *)a)->labels, ((const struct found *)b)->labels);
}

static enum errc too_many_series(const struct remote_read_limits *limits, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "remote read: the selected series need more than %zu bytes",
                   limits->max_series_bytes);
}

static enum errc merge_all(struct selection *s, const struct series_list *list,
                           struct labels external, const struct remote_read_limits *limits,
                           struct err *err)
{
    s->items = ARENA_NEW(s->arena, struct found, list->n + 1);
    if (!s->items)
        return too_many_series(limits, err);
    for (s->n = 0; s->n < list->n; s->n++) {
        struct found *f = &s->items[s->n];

        f->series = &list->items[s->n];
        f->labels =
            external.n ? merge_labels(s->arena, f->series->labels, external) : f->series->labels;
        if (!f->labels.items && f->labels.n)
            return too_many_series(limits, err);
    }
    if (external.n && s->n)
        qsort(s->items, s->n, sizeof *s->items, by_labels);
    return OK;
}

/* The series of a query. Close it after an error too. */
static enum errc selection_open(struct db *db, const struct remote_read_query *q,
                                struct labels external, const struct remote_read_limits *limits,
                                struct selection *s, struct err *err)
{
    struct series_list list = { 0 };
    enum errc rc = OK;

    *s = (struct selection){ .arena = arena_new(limits->max_series_bytes) };
    if (!s->arena)
        return err_set(err, ERR_NOMEM, 0, "remote read: out of memory");
    if (q->min_t_ms <= q->max_t_ms)
        rc = db_view_open(db, q->min_t_ms, q->max_t_ms, &s->view, err);
    if (!rc && s->view)
        rc = db_select(s->view, q->matchers, q->n, q->min_t_ms, q->max_t_ms, s->arena, &list, err);
    return rc ? rc : merge_all(s, &list, external, limits, err);
}

static enum errc check_canceled(const struct remote_read_limits *limits, struct err *err)
{
    if (limits->cancel && atomic_load_explicit(limits->cancel, memory_order_relaxed))
        return err_set(err, ERR_CANCELED, 0, "remote read: the client has left");
    return OK;
}

struct remote_read_limits remote_read_limits_default(void)
{
    return (struct remote_read_limits){
        .max_samples = 50000000,
        .max_bytes = 256 << 20,
        .max_series_bytes = 512 << 20,
    };
}

/* ---- all samples as one message ---- */

struct whole {
    const struct remote_read_limits *limits;
    struct buf *out;   /* the QueryResult */
    struct buf series; /* a TimeSeries */
    struct buf histogram;
    struct column column;
    uint64_t *n_samples; /* of the whole answer */
    size_t before;       /* bytes of the results before */
};

static bool is_too_large(const struct whole *w)
{
    return w->before + w->out->len + w->series.len > w->limits->max_bytes;
}

/* Ends early when the answer is too large. */
static void put_samples(struct whole *w)
{
    const struct column *c = &w->column;

    for (size_t i = 0; i < c->n && !is_too_large(w); i++) {
        if (!c->h || !c->h[i]) {
            put_sample(&w->series, c->t_ms[i], c->v[i]);
            continue;
        }
        buf_clear(&w->histogram);
        put_histogram(&w->histogram, c->t_ms[i], c->h[i]);
        put_bytes(&w->series, 4, w->histogram.ptr, w->histogram.len);
        w->series.failed |= w->histogram.failed;
    }
}

static enum errc add_series(struct whole *w, const struct selection *s, const struct found *f,
                            const struct remote_read_query *q, struct err *err)
{
    enum errc rc = check_canceled(w->limits, err);

    if (!rc)
        rc = db_read(s->view, f->series, q->min_t_ms, q->max_t_ms, &w->column, err);
    if (rc || w->column.n == 0)
        return rc;
    *w->n_samples += w->column.n;
    if (*w->n_samples > w->limits->max_samples)
        return err_set(err, ERR_LIMIT, 0, "exceeded sample limit (%llu)",
                       (unsigned long long)w->limits->max_samples);
    buf_clear(&w->series);
    put_labels(&w->series, f->labels);
    put_samples(w);
    if (is_too_large(w))
        return err_set(err, ERR_LIMIT, 0,
                       "the answer needs more than %zu bytes; ask for less, or for "
                       "STREAMED_XOR_CHUNKS",
                       w->limits->max_bytes);
    put_bytes(w->out, 1, w->series.ptr, w->series.len);
    return w->out->failed || w->series.failed
               ? err_set(err, ERR_NOMEM, 0, "remote read: out of memory")
               : OK;
}

static enum errc add_result(const struct remote_read *rr, struct db *db,
                            const struct remote_read_query *q,
                            const struct remote_read_limits *limits, uint64_t *n_samples,
                            struct buf *out, struct err *err)
{
    struct buf result = { 0 };
    struct whole w = {
        .limits = limits, .out = &result, .n_samples = n_samples, .before = out->len
    };
    struct selection s;
    enum errc rc = selection_open(db, q, rr->external, limits, &s, err);

    for (size_t i = 0; !rc && i < s.n; i++)
        rc = add_series(&w, &s, &s.items[i], q, err);
    selection_close(&s);
    if (!rc)
        put_bytes(out, 1, result.ptr, result.len);
    if (!rc && out->len > limits->max_bytes)
        rc = err_set(err, ERR_LIMIT, 0, "the answer needs more than %zu bytes", limits->max_bytes);
    buf_free(&result);
    buf_free(&w.series);
    buf_free(&w.histogram);
    column_free(&w.column);
    return rc;
}

enum errc remote_read_samples(const struct remote_read *rr, struct db *db,
                              const struct remote_read_limits *limits, struct buf *out,
                              struct err *err)
{
    uint64_t n_samples = 0;
    enum errc rc = OK;

    for (size_t i = 0; !rc && i < rr->n_queries; i++)
        rc = add_result(rr, db, &rr->queries[i], limits, &n_samples, out, err);
    return !rc && out->failed ? err_set(err, ERR_NOMEM, 0, "remote read: out of memory") : rc;
}

/* ---- frames ---- */

struct remote_read_stream {
    struct remote_read rr;
    struct db *db;
    struct remote_read_limits limits;
    struct arena *arena;      /* of the external labels */
    size_t query;             /* the one that is being answered */
    struct arena *last_arena; /* of last */
    struct labels last;       /* the series that the last batch ended in or with */
    bool resumes;             /* last is set */
    int64_t next_t_ms;        /* its first sample that was not sent */
    bool last_done;           /* it was sent whole */
    struct column column;
    struct buf head, series, chunk, message;
};

struct remote_read_stream *remote_read_stream_new(struct remote_read *rr, struct db *db,
                                                  const struct remote_read_limits *limits)
{
    struct remote_read_stream *s = calloc(1, sizeof *s);

    if (!s || !(s->arena = arena_new(0)) || !(s->last_arena = arena_new(0)))
        goto done;
    *s = (struct remote_read_stream){
        .rr = *rr, .db = db, .limits = *limits, .arena = s->arena, .last_arena = s->last_arena
    };
    s->rr.external = labels_copy(s->arena, rr->external);
    if (s->rr.external.n < rr->external.n) {
        s->rr = (struct remote_read){ 0 };
        goto done;
    }
    *rr = (struct remote_read){ 0 };
    return s;
done:
    remote_read_stream_free(s);
    return NULL;
}

void remote_read_stream_free(struct remote_read_stream *s)
{
    if (!s)
        return;
    remote_read_free(&s->rr);
    arena_free(s->arena);
    arena_free(s->last_arena);
    column_free(&s->column);
    buf_free(&s->head);
    buf_free(&s->series);
    buf_free(&s->chunk);
    buf_free(&s->message);
    free(s);
}

/* Appends s->series as a frame. */
static void add_frame(struct remote_read_stream *s, struct buf *out)
{
    uint8_t crc[4];

    buf_clear(&s->message);
    put_bytes(&s->message, 1, s->series.ptr, s->series.len);
    if (s->query)
        put_varint(&s->message, 2, s->query);
    buf_uvarint(out, s->message.len);
    store_u32be(crc, crc32c(0, s->message.ptr, s->message.len));
    buf_add(out, crc, sizeof crc);
    buf_add(out, s->message.ptr, s->message.len);
    out->failed |= s->series.failed || s->message.failed || s->chunk.failed;
}

static const struct histogram *histogram_at(const struct column *c, size_t i)
{
    return c->h ? c->h[i] : NULL;
}

/* How many samples from i on go into one chunk: all of one kind. */
static size_t chunk_length(const struct column *c, size_t i)
{
    const struct histogram *h = histogram_at(c, i);
    size_t n = 1;

    while (i + n < c->n && n < (h ? HISTOGRAM_CHUNK_SAMPLES : XOR_CHUNK_SAMPLES)) {
        const struct histogram *next = histogram_at(c, i + n);

        if (!h != !next || (h && !histogram_chunk_goes_on(histogram_at(c, i + n - 1), next)))
            break;
        n++;
    }
    return n;
}

/* Puts the samples into s->chunk; returns the encoding. */
static uint64_t encode_chunk(struct remote_read_stream *s, size_t i, size_t n)
{
    enum { XOR = 1, HISTOGRAM = 2, FLOAT_HISTOGRAM = 3 };
    const struct column *c = &s->column;

    buf_clear(&s->chunk);
    if (!histogram_at(c, i)) {
        xor_chunk_encode(&s->chunk, c->t_ms + i, c->v + i, n);
        return XOR;
    }
    histogram_chunk_encode(&s->chunk, c->t_ms + i, c->h + i, n);
    return c->h[i]->is_integer ? HISTOGRAM : FLOAT_HISTOGRAM;
}

static void add_chunk(struct remote_read_stream *s, size_t i, size_t n)
{
    uint64_t first_ms = (uint64_t)s->column.t_ms[i], last_ms = (uint64_t)s->column.t_ms[i + n - 1];
    uint64_t encoding = encode_chunk(s, i, n);

    put_key(&s->series, 2, BYTES);
    buf_uvarint(&s->series, 1 + uvarint_size(first_ms) + 1 + uvarint_size(last_ms) + 2
                                + text_size((struct str){ NULL, s->chunk.len }));
    put_varint(&s->series, 1, first_ms);
    put_varint(&s->series, 2, last_ms);
    put_varint(&s->series, 3, encoding);
    put_bytes(&s->series, 4, s->chunk.ptr, s->chunk.len);
}

/* The frames of the series in s->column; returns how many samples went into out before it was
 * full. */
static size_t add_frames(struct remote_read_stream *s, struct labels ls, struct buf *out)
{
    size_t i = 0;

    buf_clear(&s->head);
    put_labels(&s->head, ls);
    while (i < s->column.n && out->len < REMOTE_READ_BATCH_BYTES && !out->failed) {
        buf_clear(&s->series);
        buf_add(&s->series, s->head.ptr, s->head.len);
        while (i < s->column.n && s->series.len < REMOTE_READ_FRAME_BYTES) {
            size_t n = chunk_length(&s->column, i);

            add_chunk(s, i, n);
            i += n;
        }
        add_frame(s, out);
    }
    return i;
}

/* Where the next batch goes on: behind the series, or within it. */
static enum errc remember(struct remote_read_stream *s, struct labels ls, bool done,
                          int64_t next_t_ms, struct err *err)
{
    arena_reset(s->last_arena);
    s->last = labels_copy(s->last_arena, ls);
    s->resumes = true;
    s->last_done = done;
    s->next_t_ms = next_t_ms;
    return s->last.n < ls.n ? err_set(err, ERR_NOMEM, 0, "remote read: out of memory") : OK;
}

/* The first series that was not sent whole. */
static size_t first_unsent(const struct remote_read_stream *s, const struct selection *sel)
{
    size_t low = 0, high = s->resumes ? sel->n : 0;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = labels_cmp(sel->items[mid].labels, s->last);

        if (order < 0 || (order == 0 && s->last_done))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static enum errc send_series(struct remote_read_stream *s, const struct selection *sel,
                             const struct found *f, struct buf *out, struct err *err)
{
    const struct remote_read_query *q = &s->rr.queries[s->query];
    bool goes_on = s->resumes && !s->last_done && labels_equal(f->labels, s->last);
    int64_t min_t_ms = goes_on ? s->next_t_ms : q->min_t_ms;
    enum errc rc = check_canceled(&s->limits, err);
    size_t sent;

    if (!rc)
        rc = db_read(sel->view, f->series, min_t_ms, q->max_t_ms, &s->column, err);
    if (rc)
        return rc;
    sent = add_frames(s, f->labels, out);
    if (out->failed)
        return err_set(err, ERR_NOMEM, 0, "remote read: out of memory");
    if (out->len < REMOTE_READ_BATCH_BYTES)
        return OK;
    return remember(s, f->labels, sent == s->column.n,
                    sent < s->column.n ? s->column.t_ms[sent] : 0, err);
}

/* Answers the query as far as out has room; *done when all of it was sent. */
static enum errc send_query(struct remote_read_stream *s, struct buf *out, bool *done,
                            struct err *err)
{
    struct selection sel;
    enum errc rc =
        selection_open(s->db, &s->rr.queries[s->query], s->rr.external, &s->limits, &sel, err);
    size_t i = rc ? 0 : first_unsent(s, &sel);

    for (; !rc && i < sel.n && out->len < REMOTE_READ_BATCH_BYTES; i++)
        rc = send_series(s, &sel, &sel.items[i], out, err);
    *done = out->len < REMOTE_READ_BATCH_BYTES;
    selection_close(&sel);
    return rc;
}

enum errc remote_read_stream_next(struct remote_read_stream *s, struct buf *out, bool *more,
                                  struct err *err)
{
    size_t before = out->len;
    struct buf batch = { 0 };
    enum errc rc = OK;

    while (!rc && s->query < s->rr.n_queries && batch.len < REMOTE_READ_BATCH_BYTES) {
        bool done;

        rc = send_query(s, &batch, &done, err);
        if (done) {
            s->query++;
            s->resumes = false;
        }
    }
    buf_add(out, batch.ptr, batch.len);
    if (batch.failed || (out->failed && out->len == before))
        rc = err_set(err, ERR_NOMEM, 0, "remote read: out of memory");
    buf_free(&batch);
    *more = !rc && s->query < s->rr.n_queries;
    return rc;
}
