#include "ingest/write_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/vec.h"

#include "base/banned.h"

enum { MAX_RESERVED_SCHEMA = 52 }; /* the finest that is known; those above 8 are not stored */

static const struct pb_field_spec span_fields[] = {
    { "offset", 1, PB_VARINT, false, NULL },
    { "length", 2, PB_VARINT, false, NULL },
};
static const struct pb_message span_message = PB_MESSAGE(span_fields);

static const struct pb_field_spec histogram_fields[] = {
    { "count_int", 1, PB_VARINT, false, NULL },
    { "count_float", 2, PB_FIXED64, false, NULL },
    { "sum", 3, PB_FIXED64, false, NULL },
    { "schema", 4, PB_VARINT, false, NULL },
    { "zero_threshold", 5, PB_FIXED64, false, NULL },
    { "zero_count_int", 6, PB_VARINT, false, NULL },
    { "zero_count_float", 7, PB_FIXED64, false, NULL },
    { "negative_spans", 8, PB_BYTES, true, &span_message },
    { "negative_deltas", 9, PB_VARINT, true, NULL },
    { "negative_counts", 10, PB_FIXED64, true, NULL },
    { "positive_spans", 11, PB_BYTES, true, &span_message },
    { "positive_deltas", 12, PB_VARINT, true, NULL },
    { "positive_counts", 13, PB_FIXED64, true, NULL },
    { "reset_hint", 14, PB_VARINT, false, NULL },
    { "timestamp", 15, PB_VARINT, false, NULL },
    { "custom_values", 16, PB_FIXED64, true, NULL },
    { "start_timestamp", 17, PB_VARINT, false, NULL },
};
const struct pb_message write_histogram_message = PB_MESSAGE(histogram_fields);

_Static_assert(HINT_UNKNOWN == 0 && HINT_RESET == 1 && HINT_NO_RESET == 2 && HINT_GAUGE == 3,
               "enum histogram_hint follows Histogram.ResetHint");

/* One histogram being read. After an error rc is set and the reader stopped. */
struct parse {
    struct write_values *v;
    struct pb_reader *r;
    struct write_histogram h;
    bool is_float; /* count_float was there, and no count_int after it */
    enum errc rc;
    struct err *err;
};

static enum errc too_many(struct err *err, int max, const char *what)
{
    return err_set(err, ERR_TOO_LARGE, 0, "remote write: more than %d %s in one request", max,
                   what);
}

static enum errc no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, 0, "remote write: out of memory");
}

static void give_up(struct parse *p, enum errc rc)
{
    p->rc = rc;
    pb_fail(p->r, PB_STOPPED);
}

/* Room for one more of n items. The scratch arrays are emptied with each histogram, so that what
 * counts against the request's limit is what was kept and what is in them. */
static bool reserve(struct parse *p, void *items, size_t *cap, size_t n, size_t size)
{
    if (p->v->n_numbers++ >= WRITE_MAX_NUMBERS)
        give_up(p, too_many(p->err, WRITE_MAX_NUMBERS, "buckets and spans"));
    else if (!vec_reserve(items, cap, n + 1, size))
        give_up(p, no_memory(p->err));
    return p->rc == OK;
}

static void add_number(struct parse *p, struct write_numbers *to, double v)
{
    if (reserve(p, &to->items, &to->cap, to->n, sizeof *to->items))
        to->items[to->n++] = v;
}

static void read_span(struct parse *p, const struct pb_field *in, struct write_spans *to)
{
    const uint8_t *outer = pb_enter(p->r, in);
    struct histogram_span span = { 0 };
    struct pb_field f;

    while (pb_next(p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            span.offset = (int32_t)unzigzag((uint32_t)f.value);
            break;
        case PB_KEY(2, PB_VARINT):
            span.length = (uint32_t)f.value;
            break;
        default:
            pb_unknown(p->r, &f, 2);
        }
    pb_leave(p->r, outer);
    if (reserve(p, &to->items, &to->cap, to->n, sizeof *to->items))
        to->items[to->n++] = span;
}

/* Appends a bucket, of which the difference to the one before is given. What overflows is no count,
 * and wraps to something that is none either. */
static void add_delta(struct parse *p, struct write_numbers *to, uint64_t wire)
{
    int64_t last = to->n ? (int64_t)to->items[to->n - 1] : 0;
    int64_t delta = unzigzag(wire), count;

    if (__builtin_add_overflow(last, delta, &count))
        count = -1;
    add_number(p, to, (double)count);
}

static void read_packed_deltas(struct parse *p, const struct pb_field *f, struct write_numbers *to)
{
    const uint8_t *outer = pb_enter(p->r, f);

    while (pb_more(p->r))
        add_delta(p, to, pb_varint(p->r));
    pb_leave(p->r, outer);
}

static void read_packed_doubles(struct parse *p, const struct pb_field *f, struct write_numbers *to)
{
    const uint8_t *outer = pb_enter(p->r, f);

    while (pb_more(p->r))
        add_number(p, to, f64_from_bits(pb_fixed64(p->r)));
    pb_leave(p->r, outer);
}

/* The fields that are lists; false for all others. */
static bool read_list(struct parse *p, const struct pb_field *f)
{
    struct write_values *v = p->v;

    switch (f->key) {
    case PB_KEY(8, PB_BYTES):
        read_span(p, f, &v->negative_spans);
        return true;
    case PB_KEY(11, PB_BYTES):
        read_span(p, f, &v->positive_spans);
        return true;
    case PB_KEY(9, PB_VARINT):
        add_delta(p, &v->negative_deltas, f->value);
        return true;
    case PB_KEY(9, PB_BYTES):
        read_packed_deltas(p, f, &v->negative_deltas);
        return true;
    case PB_KEY(12, PB_VARINT):
        add_delta(p, &v->positive_deltas, f->value);
        return true;
    case PB_KEY(12, PB_BYTES):
        read_packed_deltas(p, f, &v->positive_deltas);
        return true;
    case PB_KEY(10, PB_FIXED64):
        add_number(p, &v->negative_counts, f64_from_bits(f->value));
        return true;
    case PB_KEY(10, PB_BYTES):
        read_packed_doubles(p, f, &v->negative_counts);
        return true;
    case PB_KEY(13, PB_FIXED64):
        add_number(p, &v->positive_counts, f64_from_bits(f->value));
        return true;
    case PB_KEY(13, PB_BYTES):
        read_packed_doubles(p, f, &v->positive_counts);
        return true;
    case PB_KEY(16, PB_FIXED64):
        add_number(p, &v->custom, f64_from_bits(f->value));
        return true;
    case PB_KEY(16, PB_BYTES):
        read_packed_doubles(p, f, &v->custom);
        return true;
    default:
        return false;
    }
}

static void read_field(struct parse *p, const struct pb_field *f)
{
    struct histogram *h = &p->h.h;

    switch (f->key) {
    case PB_KEY(1, PB_VARINT):
    case PB_KEY(2, PB_FIXED64):
        p->is_float = pb_number(f) == 2;
        h->count = p->is_float ? f64_from_bits(f->value) : (double)f->value;
        break;
    case PB_KEY(3, PB_FIXED64):
        h->sum = f64_from_bits(f->value);
        break;
    case PB_KEY(4, PB_VARINT):
        h->schema = (int32_t)unzigzag((uint32_t)f->value);
        break;
    case PB_KEY(5, PB_FIXED64):
        h->zero_threshold = f64_from_bits(f->value);
        break;
    case PB_KEY(6, PB_VARINT):
        h->zero_count = (double)f->value;
        break;
    case PB_KEY(7, PB_FIXED64):
        h->zero_count = f64_from_bits(f->value);
        break;
    case PB_KEY(14, PB_VARINT):
        h->hint = f->value < HINT_COUNT ? (enum histogram_hint)f->value : HINT_UNKNOWN;
        break;
    case PB_KEY(15, PB_VARINT):
        p->h.t_ms = (int64_t)f->value;
        break;
    case PB_KEY(17, PB_VARINT):
        p->h.start_ms = (int64_t)f->value;
        break;
    default:
        if (!read_list(p, f))
            pb_unknown(p->r, f, 17);
    }
}

/* ---- reducing the resolution ---- */

/* Whether the spans are those of the counts, and reach no further than indexes do. */
static bool spans_fit(const struct write_spans *spans, const struct write_numbers *counts)
{
    uint64_t n = 0;
    int64_t at = 0;

    for (size_t i = 0; i < spans->n; i++) {
        if (i > 0 && spans->items[i].offset < 0)
            return false;
        n += spans->items[i].length;
        at += (int64_t)spans->items[i].offset + spans->items[i].length;
    }
    return n == counts->n && at <= INT32_MAX;
}

/* Merges buckets as if the schema were k lower, in place: neither list gets longer. */
static void reduce_side(struct write_spans *spans, struct write_numbers *counts, int k)
{
    struct write_spans in = *spans;
    size_t n = 0, n_spans = 0, next = 0;
    int64_t at = 0, last = 0;

    for (size_t i = 0; i < in.n; i++) {
        struct histogram_span span = in.items[i];

        at += span.offset;
        for (uint32_t j = 0; j < span.length; j++, at++) {
            int64_t index = ((at - 1) >> k) + 1;
            double count = counts->items[next++];

            if (n > 0 && index == last) {
                counts->items[n - 1] += count;
                continue;
            }
            if (n > 0 && index == last + 1)
                spans->items[n_spans - 1].length++;
            else
                spans->items[n_spans++] =
                    (struct histogram_span){ (int32_t)(n ? index - last - 1 : index), 1 };
            counts->items[n++] = count;
            last = index;
        }
    }
    counts->n = n;
    spans->n = n_spans;
}

/* One whose spans make no sense keeps its schema, and is refused for it. */
static void reduce(struct write_values *v, struct histogram *h, struct write_numbers *positive,
                   struct write_numbers *negative)
{
    if (h->schema <= HISTOGRAM_MAX_SCHEMA || h->schema > MAX_RESERVED_SCHEMA
        || !spans_fit(&v->positive_spans, positive) || !spans_fit(&v->negative_spans, negative))
        return;
    reduce_side(&v->positive_spans, positive, h->schema - HISTOGRAM_MAX_SCHEMA);
    reduce_side(&v->negative_spans, negative, h->schema - HISTOGRAM_MAX_SCHEMA);
    h->schema = HISTOGRAM_MAX_SCHEMA;
}

/* ---- keeping ---- */

static void *keep(struct write_values *v, const void *items, size_t size)
{
    void *copy = arena_alloc(v->arena, size);

    if (copy && size)
        memcpy(copy, items, size);
    return copy;
}

static bool keep_side(struct write_values *v, const struct write_spans *spans,
                      const struct write_numbers *counts, struct histogram_side *out)
{
    *out = (struct histogram_side){
        .spans = keep(v, spans->items, spans->n * sizeof *spans->items),
        .counts = keep(v, counts->items, counts->n * sizeof *counts->items),
        .n_spans = (uint32_t)spans->n,
        .n_counts = (uint32_t)counts->n,
    };
    return out->spans && out->counts;
}

/* Of a staleness marker only the form and the sum count. */
static bool keep_histogram(struct parse *p)
{
    struct write_values *v = p->v;
    struct histogram *h = &p->h.h;
    struct write_numbers *positive = p->is_float ? &v->positive_counts : &v->positive_deltas;
    struct write_numbers *negative = p->is_float ? &v->negative_counts : &v->negative_deltas;

    h->is_integer = !p->is_float;
    if (is_stale(h->sum)) {
        *h = (struct histogram){ .is_integer = h->is_integer, .sum = h->sum };
        return true;
    }
    reduce(v, h, positive, negative);
    h->n_custom = (uint32_t)v->custom.n;
    h->custom = keep(v, v->custom.items, v->custom.n * sizeof *v->custom.items);
    return h->custom && keep_side(v, &v->positive_spans, positive, &h->positive)
           && keep_side(v, &v->negative_spans, negative, &h->negative);
}

static void empty_scratch(struct write_values *v)
{
    v->positive_spans.n = v->negative_spans.n = 0;
    v->positive_deltas.n = v->positive_counts.n = 0;
    v->negative_deltas.n = v->negative_counts.n = 0;
    v->custom.n = 0;
}

enum errc write_values_read_histogram(struct write_values *v, struct pb_reader *r, struct err *err)
{
    struct parse p = { .v = v, .r = r, .rc = OK, .err = err };
    struct pb_field f;

    if (v->n_histograms == WRITE_MAX_HISTOGRAMS)
        return too_many(err, WRITE_MAX_HISTOGRAMS, "histograms");
    if ((!v->arena && !(v->arena = arena_new(0)))
        || !vec_reserve(&v->histograms, &v->cap_histograms, v->n_histograms + 1,
                        sizeof *v->histograms))
        return no_memory(err);
    empty_scratch(v);
    while (pb_next(r, &f))
        read_field(&p, &f);
    if (p.rc != OK || r->fault)
        return p.rc;
    if (!keep_histogram(&p))
        return no_memory(err);
    v->histograms[v->n_histograms++] = p.h;
    return OK;
}

enum errc write_values_add_exemplar(struct write_values *v, struct labels labels, double value,
                                    int64_t t_ms, struct err *err)
{
    struct label *kept;

    if (v->n_exemplars == WRITE_MAX_EXEMPLARS)
        return too_many(err, WRITE_MAX_EXEMPLARS, "exemplars");
    if (labels.n > WRITE_MAX_NUMBERS - v->n_numbers)
        return too_many(err, WRITE_MAX_NUMBERS, "labels of exemplars");
    v->n_numbers += labels.n;
    if ((!v->arena && !(v->arena = arena_new(0)))
        || !vec_reserve(&v->exemplars, &v->cap_exemplars, v->n_exemplars + 1, sizeof *v->exemplars)
        || !(kept = keep(v, labels.items, labels.n * sizeof *labels.items)))
        return no_memory(err);
    v->exemplars[v->n_exemplars++] = (struct exemplar){ { kept, labels.n }, value, t_ms };
    return OK;
}

void write_values_forget(struct write_values *v)
{
    enum { KEEP = 4096 };

    if (v->cap_histograms > KEEP || v->cap_exemplars > KEEP || v->n_numbers > 16 * KEEP)
        write_values_free(v);
    v->n_histograms = v->n_exemplars = v->n_numbers = 0;
    if (v->arena)
        arena_reset(v->arena);
}

void write_values_free(struct write_values *v)
{
    free(v->histograms);
    free(v->exemplars);
    arena_free(v->arena);
    free(v->positive_spans.items);
    free(v->negative_spans.items);
    free(v->positive_deltas.items);
    free(v->positive_counts.items);
    free(v->negative_deltas.items);
    free(v->negative_counts.items);
    free(v->custom.items);
    *v = (struct write_values){ 0 };
}
