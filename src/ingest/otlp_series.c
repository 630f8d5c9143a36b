/* otlp_series.c -- a data point as series
 *
 *   gauge, sum              name                                   1 float
 *   histogram               name_bucket{le}... name_sum name_count  floats, bounds cumulative
 *     or, with custom_buckets, name                                 1 native histogram, schema -53
 *   exponential histogram   name                                   1 native histogram
 *   summary                 name{quantile}... name_sum name_count   floats
 *
 *   HistogramDataPoint  8 Exemplar*     Exemplar  2 time  3 as_double  4 span_id  5 trace_id
 *   NumberDataPoint     5 Exemplar*               6 as_int  7 KeyValue*
 *   Exponential...     11 Exemplar*     Buckets   1 offset sint32  2 counts*
 *   SummaryDataPoint    6 Quantile*     Quantile  1 quantile  2 value
 */
#include <math.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/vec.h"
#include "ingest/otlp_private.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum {
    NO_RECORDED_VALUE = 1, /* a flag */
    MAX_TARGET_INFO = 500, /* samples for one resource */
    MAX_GAP = 2,           /* empty buckets that a span goes on over */
    MAX_EXEMPLAR_CHARS = 128
};

#define ZERO_THRESHOLD 1e-128 /* of histograms from OTLP, as in Prometheus */

/* ---- items of the batch ---- */

static void *grow(struct otlp *o, void *items, size_t *cap, size_t n, size_t size, size_t max,
                  const char *name)
{
    if (n > max)
        otlp_fail(o, ERR_TOO_LARGE, "the request makes more than %zu %s; send it in parts", max,
                  name);
    else if (!vec_reserve(items, cap, n, size))
        otlp_no_memory(o);
    else
        return items;
    return NULL;
}

/* A series with the labels of o->point; its name is the value of label name_at. NULL after an
 * error. */
static struct write_series *begin_series(struct otlp *o)
{
    size_t n = o->batch.n_series, n_labels = o->point.n;
    struct write_series *s;

    if (UNLIKELY(n == o->cap_series)
        && !grow(o, &o->series, &o->cap_series, n + 1, sizeof *o->series, OTLP_MAX_SERIES,
                 "series"))
        return NULL;
    if (UNLIKELY(o->n_labels + n_labels > o->cap_labels)
        && !grow(o, &o->labels, &o->cap_labels, o->n_labels + n_labels, sizeof *o->labels,
                 OTLP_MAX_LABELS, "labels"))
        return NULL;
    memcpy(o->labels + o->n_labels, o->point.items, n_labels * sizeof *o->labels);
    o->n_labels += n_labels;
    s = &o->series[n];
    *s = (struct write_series){ .n_labels = n_labels,
                                .first_sample = o->batch.n_samples,
                                .first_histogram = o->batch.n_histograms,
                                .first_exemplar = o->batch.n_exemplars };
    o->batch.n_series = n + 1;
    return s;
}

static void add_sample(struct otlp *o, struct write_series *s, int64_t start_ms, int64_t t_ms,
                       double v)
{
    size_t n = o->batch.n_samples;

    if (UNLIKELY(n == o->cap_samples || n == o->cap_starts)
        && (!grow(o, &o->samples, &o->cap_samples, n + 1, sizeof *o->samples, OTLP_MAX_SAMPLES,
                  "samples")
            || !grow(o, &o->starts, &o->cap_starts, n + 1, sizeof *o->starts, OTLP_MAX_SAMPLES,
                     "samples")))
        return;
    o->samples[n] = (struct sample){ t_ms, v };
    o->starts[n] = start_ms;
    o->batch.n_samples = n + 1;
    s->n_samples++;
}

struct times {
    int64_t start_ms, t_ms;
    bool stale; /* no recorded value */
};

/* A start after the sample's own time says nothing. */
static struct times times_of(const struct otlp_data_point *p)
{
    struct times t = { (int64_t)(p->start_ns / 1000000), (int64_t)(p->t_ns / 1000000),
                       p->flags & NO_RECORDED_VALUE };

    if (t.start_ms > t.t_ms)
        t.start_ms = 0;
    return t;
}

static void set_label(struct otlp_label_set *set, struct str name, struct str value)
{
    for (size_t i = 0; i < set->n; i++)
        if (str_equal(set->items[i].name, name))
            set->items[i].value = value;
}

static struct write_series *add_float(struct otlp *o, struct str name, const struct times *t,
                                      double v)
{
    struct write_series *s;

    set_label(&o->point, METRIC_NAME, name);
    s = begin_series(o);
    if (s)
        add_sample(o, s, t->start_ms, t->t_ms, t->stale ? stale_nan() : v);
    return s;
}

/* ---- exemplars ---- */

/* Lower-case hexadecimal; nothing for an id of zeros. */
static struct str hex(struct otlp *o, struct bytes id)
{
    static const char digits[] = "0123456789abcdef";
    char *text = arena_alloc(o->arena, 2 * id.len);
    bool any = false;

    if (!text) {
        otlp_no_memory(o);
        return STR("");
    }
    for (size_t i = 0; i < id.len; i++) {
        any |= id.ptr[i] != 0;
        text[2 * i] = digits[id.ptr[i] >> 4];
        text[2 * i + 1] = digits[id.ptr[i] & 15];
    }
    return any ? (struct str){ text, 2 * id.len } : STR("");
}

static size_t set_chars(const struct otlp_label_set *set)
{
    size_t n = 0;

    for (size_t i = 0; i < set->n; i++)
        n += set->items[i].name.len + set->items[i].value.len;
    return n;
}

struct otlp_exemplar {
    double v;
    uint64_t t_ns;
    struct bytes span_id, trace_id, message;
};

static void read_exemplar(struct otlp *o, struct bytes message, struct otlp_exemplar *x)
{
    struct pb_reader r = pb_on(message);
    struct pb_field f;

    *x = (struct otlp_exemplar){ .message = message };
    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(2, PB_FIXED64):
            x->t_ns = f.value;
            break;
        case PB_KEY(3, PB_FIXED64):
            x->v = f64_from_bits(f.value);
            break;
        case PB_KEY(4, PB_BYTES):
            x->span_id = f.bytes;
            break;
        case PB_KEY(5, PB_BYTES):
            x->trace_id = f.bytes;
            break;
        case PB_KEY(6, PB_FIXED64):
            x->v = (double)(int64_t)f.value;
            break;
        case PB_KEY(7, PB_BYTES):
            break;
        default:
            if (pb_number(&f) != 1)
                pb_unknown(&r, &f, 7);
        }
}

/* The ids, and all other attributes or none: more than 128 characters are not allowed. */
static struct labels exemplar_labels(struct otlp *o, const struct otlp_exemplar *x)
{
    enum { MAX_ID = 16 };
    struct otlp_label_set set;
    struct pb_reader r = pb_on(x->message);
    struct label *items;
    struct pb_field f;
    struct otlp_label_set ids;

    set.n = 0;
    set.collided = set.bad = false;
    if (x->trace_id.len <= MAX_ID)
        otlp_set_add(o, &set, STR("trace_id"), hex(o, x->trace_id), RANK_OWN);
    if (x->span_id.len <= MAX_ID)
        otlp_set_add(o, &set, STR("span_id"), hex(o, x->span_id), RANK_OWN);
    ids = set;
    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(7, PB_BYTES))
            otlp_add_attribute(o, &set, f.bytes, RANK_ATTRIBUTE);
    if (set_chars(&set) > MAX_EXEMPLAR_CHARS)
        set = ids;
    items = ARENA_NEW(o->arena, struct label, set.n);
    if (!items) {
        otlp_no_memory(o);
        return (struct labels){ 0 };
    }
    memcpy(items, set.items, set.n * sizeof *items);
    return (struct labels){ items, set.n };
}

/* Room for all exemplars of a data point; false also when it has none. */
static bool reserve_exemplars(struct otlp *o, const struct otlp_data_point *p)
{
    return UNLIKELY(p->n_exemplars)
           && grow(o, &o->exemplars, &o->cap_exemplars, o->batch.n_exemplars + p->n_exemplars,
                   sizeof *o->exemplars, OTLP_MAX_EXEMPLARS, "exemplars");
}

/* Adds one, for which there is room, to s, the newest series. */
static void add_exemplar(struct otlp *o, struct write_series *s, const struct otlp_exemplar *x)
{
    o->exemplars[o->batch.n_exemplars++] = (struct exemplar){
        .labels = exemplar_labels(o, x), .v = x->v, .t_ms = (int64_t)(x->t_ns / 1000000)
    };
    s->n_exemplars++;
}

/* Adds to s, the newest series, the exemplars of a data point that is this series only. */
static void add_exemplars(struct otlp *o, struct write_series *s, const struct otlp_data_point *p,
                          uint32_t number)
{
    struct pb_reader r = pb_on(p->message);
    struct otlp_exemplar x;
    struct pb_field f;

    if (!s || !reserve_exemplars(o, p))
        return;
    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(number, PB_BYTES)) {
            read_exemplar(o, f.bytes, &x);
            add_exemplar(o, s, &x);
        }
}

/* ---- numbers ---- */

void otlp_add_number(struct otlp *o, const struct otlp_metric *m, const struct otlp_data_point *p)
{
    struct times t = times_of(p);
    struct write_series *s;

    if (!p->has_value && !t.stale) {
        otlp_reject(o, OTLP_REJECT_NO_VALUE, 1, "metric \"%.*s\": a data point has no value",
                    STR_ARG(m->name));
        return;
    }
    if (m->data == OTLP_GAUGE_DATA)
        t.start_ms = 0;
    s = add_float(o, m->family, &t, p->value);
    add_exemplars(o, s, p, 5);
}

/* ---- explicit histograms ---- */

static struct str suffixed(struct otlp *o, struct str name, const char *suffix)
{
    const char *text = arena_printf(o->arena, "%.*s%s", STR_ARG(name), suffix);

    if (!text)
        otlp_no_memory(o);
    return str_from(text);
}

static void name_parts(struct otlp *o, struct otlp_metric *m)
{
    if (m->sum.len)
        return;
    m->sum = suffixed(o, m->family, "_sum");
    m->count = suffixed(o, m->family, "_count");
    m->bucket = suffixed(o, m->family, "_bucket");
}

static double bound_at(const struct otlp_data_point *p, size_t i)
{
    return f64_from_bits(load_u64le(p->explicit_bounds.ptr + 8 * i));
}

static uint64_t count_at(const struct otlp_data_point *p, size_t i)
{
    return load_u64le(p->bucket_counts.ptr + 8 * i);
}

static bool check_bounds(struct otlp *o, const struct otlp_metric *m,
                         const struct otlp_data_point *p)
{
    size_t n_counts = p->bucket_counts.len / 8, n_bounds = p->explicit_bounds.len / 8;

    if (p->bucket_counts.len % 8 || p->explicit_bounds.len % 8) {
        otlp_fail(o, ERR_BAD_DATA, "metric \"%.*s\": packed numbers of a histogram are cut short",
                  STR_ARG(m->name));
        return false;
    }
    if (n_counts && n_counts != n_bounds + 1) {
        otlp_reject(o, OTLP_REJECT_INVALID, 1,
                    "metric \"%.*s\": a histogram has %zu bucket counts for %zu bounds, and needs "
                    "one more than bounds",
                    STR_ARG(m->name), n_counts, n_bounds);
        return false;
    }
    for (size_t i = 0; i < n_bounds; i++)
        if (!(i == 0 || bound_at(p, i) > bound_at(p, i - 1)) || isnan(bound_at(p, i))) {
            otlp_reject(o, OTLP_REJECT_INVALID, 1,
                        "metric \"%.*s\": the bounds of a histogram do not increase",
                        STR_ARG(m->name));
            return false;
        }
    return true;
}

static struct str format_bound(struct otlp *o, double v)
{
    char text[NUMBER_MAX];

    return otlp_keep(o, (struct str){ text, number_format(v, NUMBER_PLAIN, text) });
}

/* The text of a bound. Data points of one metric have the same bounds, so that the last ones are
 * kept. */
static struct str le_text(struct otlp *o, size_t i, double bound)
{
    if (i >= OTLP_CACHED_BOUNDS)
        return format_bound(o, bound);
    if (i < o->bounds.n && f64_bits(o->bounds.bounds[i]) == f64_bits(bound))
        return o->bounds.le[i];
    if (i <= o->bounds.n) {
        o->bounds.bounds[i] = bound;
        o->bounds.le[i] = format_bound(o, bound);
        o->bounds.n = i + 1;
        return o->bounds.le[i];
    }
    return format_bound(o, bound);
}

/* Where a label stands in the set, after it was put there. */
static struct label *own_label(struct otlp *o, struct str name)
{
    otlp_set_add(o, &o->point, name, STR("?"), RANK_OWN);
    for (size_t i = 0; i < o->point.n; i++)
        if (str_equal(o->point.items[i].name, name))
            return &o->point.items[i];
    ASSERT(!"a label of our own always has room");
    return NULL;
}

/* The exemplars of a histogram by bucket, each read once. */
struct placed {
    size_t bucket, position; /* in the message */
    struct otlp_exemplar x;
};

struct placed_list {
    struct placed *items;
    size_t n, next; /* next: the first that no series has yet */
};

static int by_bucket(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

/* The bucket of a value: the first whose bound is not below it; the first of all for a NaN. */
static size_t bucket_of(const struct otlp_data_point *p, double v)
{
    size_t low = 0, high = p->explicit_bounds.len / 8;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (v > bound_at(p, mid))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void place_exemplars(struct otlp *o, const struct otlp_data_point *p,
                            struct placed_list *out)
{
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;

    *out = (struct placed_list){ 0 };
    if (!reserve_exemplars(o, p))
        return;
    out->items = ARENA_NEW(o->arena, struct placed, p->n_exemplars);
    if (!out->items) {
        otlp_no_memory(o);
        return;
    }
    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(8, PB_BYTES)) {
            struct placed *item = &out->items[out->n];

            read_exemplar(o, f.bytes, &item->x);
            item->bucket = bucket_of(p, item->x.v);
            item->position = out->n++;
        }
    qsort(out->items, out->n, sizeof *out->items, by_bucket);
}

/* One bucket's series, with its exemplars. */
static void add_bucket(struct otlp *o, const struct otlp_metric *m, const struct times *t,
                       size_t bucket, uint64_t count, struct placed_list *exemplars)
{
    struct write_series *s = add_float(o, m->bucket, t, (double)count);

    for (; s && exemplars->next < exemplars->n; exemplars->next++) {
        if (exemplars->items[exemplars->next].bucket > bucket)
            break;
        add_exemplar(o, s, &exemplars->items[exemplars->next].x);
    }
}

static void add_buckets(struct otlp *o, const struct otlp_metric *m,
                        const struct otlp_data_point *p, const struct times *t)
{
    size_t n_bounds = p->explicit_bounds.len / 8, n_counts = p->bucket_counts.len / 8, i;
    struct label *le = own_label(o, STR("le"));
    struct placed_list exemplars;
    uint64_t sum = 0;

    place_exemplars(o, p, &exemplars);
    for (i = 0; i < n_bounds && bound_at(p, i) < INFINITY && o->rc == OK; i++) {
        sum += i < n_counts ? count_at(p, i) : 0;
        le->value = le_text(o, i, bound_at(p, i));
        add_bucket(o, m, t, i, sum, &exemplars);
    }
    le->value = STR("+Inf");
    add_bucket(o, m, t, i, p->count, &exemplars);
}

static void add_native(struct otlp *o, struct str name, const struct times *t,
                       const struct histogram *h, const struct otlp_data_point *p, uint32_t number)
{
    struct write_series *s;
    size_t n = o->batch.n_histograms;

    set_label(&o->point, METRIC_NAME, name);
    s = begin_series(o);
    if (!s
        || !grow(o, &o->histograms, &o->cap_histograms, n + 1, sizeof *o->histograms,
                 OTLP_MAX_SAMPLES, "histograms"))
        return;
    o->histograms[n] =
        (struct write_histogram){ .t_ms = t->t_ms, .start_ms = t->start_ms, .h = *h };
    if (t->stale || is_stale(h->sum))
        o->histograms[n].h =
            (struct histogram){ .schema = h->schema, .is_integer = true, .sum = stale_nan() };
    o->batch.n_histograms = n + 1;
    s->n_histograms = 1;
    add_exemplars(o, s, p, number);
}

static bool side_from(struct otlp *o, int32_t first, const double *counts, size_t n,
                      struct histogram_side *side);

static void add_custom(struct otlp *o, const struct otlp_metric *m, const struct otlp_data_point *p,
                       const struct times *t)
{
    size_t n_bounds = p->explicit_bounds.len / 8, n_counts = p->bucket_counts.len / 8;
    struct histogram h = { .schema = HISTOGRAM_CUSTOM_SCHEMA,
                           .is_integer = true,
                           .count = (double)p->count,
                           .sum = p->has_sum ? p->sum : 0 };
    double *bounds = ARENA_NEW(o->arena, double, n_bounds);
    double *counts = ARENA_NEW(o->arena, double, n_counts);

    if (!bounds || !counts) {
        otlp_no_memory(o);
        return;
    }
    for (size_t i = 0; i < n_counts; i++)
        counts[i] = (double)count_at(p, i);
    for (h.n_custom = 0; h.n_custom < n_bounds && bound_at(p, h.n_custom) < INFINITY; h.n_custom++)
        bounds[h.n_custom] = bound_at(p, h.n_custom);
    h.custom = bounds;
    if (side_from(o, 0, counts, n_counts, &h.positive))
        add_native(o, m->family, t, &h, p, 8);
}

void otlp_add_histogram(struct otlp *o, struct otlp_metric *m, const struct otlp_data_point *p)
{
    struct times t = times_of(p);

    if (!check_bounds(o, m, p))
        return;
    if (o->options->custom_buckets) {
        add_custom(o, m, p, &t);
        return;
    }
    name_parts(o, m);
    if (p->has_sum || t.stale)
        add_float(o, m->sum, &t, p->sum);
    add_float(o, m->count, &t, (double)p->count);
    add_buckets(o, m, p, &t);
}

/* ---- exponential histograms ---- */

struct spans {
    struct histogram_span *items;
    uint32_t n, cap;
};

static bool add_span(struct otlp *o, struct spans *s, int32_t offset)
{
    uint32_t cap = s->cap ? 2 * s->cap : 4;

    if (s->n == s->cap) {
        s->items =
            arena_grow(o->arena, s->items, s->cap * sizeof *s->items, cap * sizeof *s->items);
        if (!s->items) {
            otlp_no_memory(o);
            return false;
        }
        s->cap = cap;
    }
    s->items[s->n++] = (struct histogram_span){ .offset = offset, .length = 0 };
    return true;
}

/* The populated buckets of n counts of which the first has index first; short gaps are kept. */
static bool side_from(struct otlp *o, int32_t first, const double *counts, size_t n,
                      struct histogram_side *side)
{
    double *kept = ARENA_NEW(o->arena, double, n);
    struct spans s = { 0 };
    size_t last = 0, n_kept = 0; /* last: behind the last bucket that was kept */

    if (!kept) {
        otlp_no_memory(o);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (counts[i] == 0)
            continue;
        if (s.n == 0 || i - last > MAX_GAP) {
            if (!add_span(o, &s, s.n ? (int32_t)(i - last) : (int32_t)(first + (int64_t)i)))
                return false;
        } else {
            for (; last < i; last++) {
                kept[n_kept++] = 0;
                s.items[s.n - 1].length++;
            }
        }
        kept[n_kept++] = counts[i];
        s.items[s.n - 1].length++;
        last = i + 1;
    }
    *side = (struct histogram_side){
        .spans = s.items, .counts = kept, .n_spans = s.n, .n_counts = (uint32_t)n_kept
    };
    return true;
}

struct buckets {
    int32_t offset;
    struct bytes counts; /* packed varints */
    size_t n;
};

static void read_buckets(struct otlp *o, struct bytes message, struct buckets *out)
{
    struct pb_reader r = pb_on(message);
    struct pb_field f;
    struct buf loose = { 0 };

    *out = (struct buckets){ 0 };
    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            out->offset = (int32_t)unzigzag(f.value);
            break;
        case PB_KEY(2, PB_BYTES):
            if (out->counts.len == 0 && loose.len == 0)
                out->counts = f.bytes;
            else
                buf_add(&loose, f.bytes.ptr, f.bytes.len);
            break;
        case PB_KEY(2, PB_VARINT):
            buf_uvarint(&loose, f.value);
            break;
        default:
            pb_unknown(&r, &f, 2);
        }
    if (loose.failed)
        otlp_no_memory(o);
    if (loose.len && o->rc == OK) { /* given in parts: put together */
        struct buf whole = { 0 };

        buf_add(&whole, out->counts.ptr, out->counts.len);
        buf_add(&whole, loose.ptr, loose.len);
        out->counts.ptr = (const uint8_t *)otlp_keep(o, buf_as_str(&whole)).ptr;
        out->counts.len = whole.len;
        buf_free(&whole);
    }
    buf_free(&loose);
    for (size_t i = 0; i < out->counts.len; i++)
        out->n += out->counts.ptr[i] < 0x80;
}

/* One side at a scale lowered by shift. OTLP's bucket i is (base^i, base^(i+1)], ours is called by
 * its upper end, i + 1. */
static bool read_side(struct otlp *o, const struct otlp_metric *m, struct bytes message,
                      uint32_t shift, struct histogram_side *side)
{
    struct buckets b;
    struct pb_reader r;
    double *counts;
    int64_t first, last;

    read_buckets(o, message, &b);
    if (o->rc != OK)
        return false;
    first = (int64_t)b.offset >> shift;
    last = b.n ? ((int64_t)b.offset + (int64_t)b.n - 1) >> shift : first;
    if (b.n > HISTOGRAM_MAX_BUCKETS || last >= INT32_MAX) {
        otlp_reject(o, OTLP_REJECT_INVALID, 1,
                    "metric \"%.*s\": an exponential histogram with %zu buckets from %d on",
                    STR_ARG(m->name), b.n, b.offset);
        return false;
    }
    counts = ARENA_NEW(o->arena, double, (size_t)(last - first + 1));
    if (!counts) {
        otlp_no_memory(o);
        return false;
    }
    r = pb_on(b.counts);
    for (int64_t i = b.offset; pb_more(&r); i++) {
        uint64_t count = pb_varint(&r);

        if (r.fault) /* one that is cut short is none of the b.n */
            break;
        counts[(i >> shift) - first] += (double)count;
    }
    otlp_fault(o, &r);
    return o->rc == OK
           && side_from(o, (int32_t)(first + 1), counts, b.n ? (size_t)(last - first + 1) : 0,
                        side);
}

void otlp_add_exponential(struct otlp *o, const struct otlp_metric *m,
                          const struct otlp_data_point *p)
{
    struct times t = times_of(p);
    int32_t scale = p->scale > HISTOGRAM_MAX_SCHEMA ? HISTOGRAM_MAX_SCHEMA : p->scale;
    uint32_t shift = p->scale - scale > 31 ? 31 : (uint32_t)(p->scale - scale);
    struct histogram h = { .schema = scale,
                           .is_integer = true,
                           .count = (double)p->count,
                           .sum = p->has_sum ? p->sum : 0,
                           .zero_threshold = ZERO_THRESHOLD,
                           .zero_count = (double)p->zero_count };

    if (scale < HISTOGRAM_MIN_SCHEMA) {
        otlp_reject(o, OTLP_REJECT_INVALID, 1,
                    "metric \"%.*s\": an exponential histogram of scale %d, at least %d is needed",
                    STR_ARG(m->name), scale, HISTOGRAM_MIN_SCHEMA);
        return;
    }
    if (read_side(o, m, p->positive, shift, &h.positive)
        && read_side(o, m, p->negative, shift, &h.negative))
        add_native(o, m->family, &t, &h, p, 11);
}

/* ---- summaries ---- */

static void add_quantile(struct otlp *o, const struct otlp_metric *m, struct label *label,
                         struct bytes message, const struct times *t)
{
    struct pb_reader r = pb_on(message);
    double quantile = 0, value = 0;
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(1, PB_FIXED64))
            quantile = f64_from_bits(f.value);
        else if (f.key == PB_KEY(2, PB_FIXED64))
            value = f64_from_bits(f.value);
        else
            pb_unknown(&r, &f, 2);
    label->value = format_bound(o, quantile);
    add_float(o, m->family, t, value);
}

void otlp_add_summary(struct otlp *o, struct otlp_metric *m, const struct otlp_data_point *p)
{
    struct times t = times_of(p);
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;
    struct label *quantile;

    name_parts(o, m);
    add_float(o, m->sum, &t, p->sum);
    add_float(o, m->count, &t, (double)p->count);
    if (p->n_quantiles == 0)
        return;
    quantile = own_label(o, STR("quantile"));
    while (o->rc == OK && otlp_next(o, &r, &f))
        if (f.key == PB_KEY(6, PB_BYTES))
            add_quantile(o, m, quantile, f.bytes, &t);
}

/* ---- target_info ---- */

/* Twice as often as a query looks back, so that it is seen at any time in between. The newest times
 * count when the data points are far apart. */
void otlp_add_target_info(struct otlp *o)
{
    int64_t step = o->options->lookback_ms / 2 > 0 ? o->options->lookback_ms / 2 : 1;
    int64_t from = o->min_t_ms;
    struct write_series *s = begin_series(o);

    if (o->max_t_ms - from > step * MAX_TARGET_INFO) /* both come from unsigned ns: no overflow */
        from = o->max_t_ms - step * MAX_TARGET_INFO;
    for (int64_t t = from; s && o->rc == OK && t < o->max_t_ms; t += step)
        add_sample(o, s, 0, t, 1);
    if (s && o->rc == OK)
        add_sample(o, s, 0, o->max_t_ms, 1);
}
