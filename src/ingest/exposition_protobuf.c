/* exposition_protobuf.c
 *
 *   body          (uvarint length, MetricFamily)*
 *   MetricFamily  1 name  2 help  3 type  4 Metric*  5 unit
 *   Metric        1 LabelPair*  2 Gauge  3 Counter  4 Summary  5 Untyped  6 timestamp_ms  7 Histogram
 *   Gauge, Counter, Untyped   1 value       LabelPair  1 name  2 value
 *   Summary       1 count  2 sum  3 Quantile* {1 quantile  2 value}
 *   Histogram     1 count  2 sum  3 Bucket* {1 cumulative count  2 upper bound  4 count as a float}
 *                 4 count as a float
 */
#include "ingest/exposition_protobuf.h"

#include <math.h>

#include "base/number.h"
#include "ingest/pbwire.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM };

static const char *const type_names[] = {
    [COUNTER] = "counter", [GAUGE] = "gauge",         [SUMMARY] = "summary",
    [UNTYPED] = "untyped", [HISTOGRAM] = "histogram", [GAUGE_HISTOGRAM] = "histogram",
};

struct family {
    struct str name, help;
    uint64_t type;
};

struct metric {
    struct bytes value; /* Gauge, ..., Histogram: the last one counts */
    uint32_t kind;      /* its field number, 0: none */
    uint64_t t_ms;
};

struct printing {
    struct buf *out;
    size_t max;
    struct bytes in;
    const struct family *family;
    struct buf labels; /* of the metric, as they stand in each of its lines */
    const char *fault;
    size_t fault_at;
};

/* pb_next() that notes what ends a message too early. */
static bool next(struct printing *p, struct pb_reader *r, struct pb_field *f)
{
    if (!p->fault && p->out->len <= p->max && pb_next(r, f))
        return true;
    if (r->fault && !p->fault) {
        p->fault = pb_fault_text(r->fault);
        p->fault_at = (size_t)(r->field_at - p->in.ptr);
    }
    return false;
}

/* ---- text ---- */

static void put_escaped(struct buf *b, struct str s, bool quotes)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '\n')
            buf_text(b, "\\n");
        else if (c == '\\' || (quotes && c == '"'))
            buf_printf(b, "\\%c", c);
        else
            buf_u8(b, (uint8_t)c);
    }
}

static void put_name(struct buf *b, struct str name, const char *suffix, bool colon)
{
    bool plain = name_is_legacy(name, colon);

    if (!plain)
        buf_u8(b, '"');
    put_escaped(b, name, true);
    buf_text(b, suffix);
    if (!plain)
        buf_u8(b, '"');
}

static void put_pair(struct buf *b, struct str name, struct str value, bool *first)
{
    if (!*first)
        buf_u8(b, ',');
    *first = false;
    put_name(b, name, "", false);
    buf_text(b, "=\"");
    put_escaped(b, value, true);
    buf_u8(b, '"');
}

/* Once for all lines of a metric: what else a message holds may be long. */
static void print_labels(struct printing *p, struct bytes message)
{
    struct pb_reader r = pb_on(message);
    struct pb_field f;
    bool first = true;

    buf_clear(&p->labels);
    while (p->labels.len <= p->max && next(p, &r, &f)) {
        struct str name = STR(""), value = STR("");
        struct pb_reader pair;

        if (f.key != PB_KEY(1, PB_BYTES))
            continue;
        for (pair = pb_on(f.bytes); next(p, &pair, &f);)
            if (f.key == PB_KEY(1, PB_BYTES))
                name = pb_str(&f);
            else if (f.key == PB_KEY(2, PB_BYTES))
                value = pb_str(&f);
        put_pair(&p->labels, name, value, &first);
    }
}

/* One line: name and suffix, labels, one label more (or NULL), the value, the time. */
static void put_line(struct printing *p, const struct metric *m, const char *suffix,
                     const char *label, double bound, double v)
{
    struct buf *b = p->out;
    bool plain = name_is_legacy(p->family->name, true), first = plain;
    char text[NUMBER_MAX];

    if (plain)
        put_name(b, p->family->name, suffix, true);
    buf_u8(b, '{');
    if (!plain)
        put_name(b, p->family->name, suffix, true);
    if (p->labels.len) {
        if (!first)
            buf_u8(b, ',');
        buf_str(b, buf_as_str(&p->labels));
        first = false;
    }
    if (label)
        put_pair(b, str_from(label), (struct str){ text, number_format(bound, NUMBER_G, text) },
                 &first);
    buf_text(b, "} ");
    number_print(b, v, NUMBER_G);
    if (m->t_ms)
        buf_printf(b, " %lld", (long long)m->t_ms);
    buf_u8(b, '\n');
}

/* ---- values ---- */

static void put_single(struct printing *p, const struct metric *m)
{
    struct pb_reader r = pb_on(m->value);
    struct pb_field f;
    double v = 0;

    while (next(p, &r, &f))
        if (f.key == PB_KEY(1, PB_FIXED64))
            v = f64_from_bits(f.value);
    put_line(p, m, "", NULL, 0, v);
}

/* Two numbers of a message: the fields a and b, the latter as a count or as doubles only. */
struct point {
    double bound, v;
};

static struct point read_quantile(struct printing *p, struct bytes message)
{
    struct pb_reader r = pb_on(message);
    struct point q = { 0 };
    struct pb_field f;

    while (next(p, &r, &f))
        if (f.key == PB_KEY(1, PB_FIXED64))
            q.bound = f64_from_bits(f.value);
        else if (f.key == PB_KEY(2, PB_FIXED64))
            q.v = f64_from_bits(f.value);
    return q;
}

/* A count as a float stands in place of one as an integer when it is above zero. */
static struct point read_bucket(struct printing *p, struct bytes message)
{
    struct pb_reader r = pb_on(message);
    double as_float = 0;
    struct point b = { 0 };
    struct pb_field f;

    while (next(p, &r, &f))
        if (f.key == PB_KEY(1, PB_VARINT))
            b.v = (double)f.value;
        else if (f.key == PB_KEY(2, PB_FIXED64))
            b.bound = f64_from_bits(f.value);
        else if (f.key == PB_KEY(4, PB_FIXED64))
            as_float = f64_from_bits(f.value);
    if (as_float > 0)
        b.v = as_float;
    return b;
}

/* Summaries and histograms have the same numbers for count, sum and points. */
static void put_distribution(struct printing *p, const struct metric *m, bool histogram)
{
    struct pb_reader r = pb_on(m->value);
    double count = 0, as_float = 0, sum = 0;
    bool infinite = !histogram;
    struct pb_field f;

    while (next(p, &r, &f)) {
        struct point at;

        if (f.key == PB_KEY(1, PB_VARINT))
            count = (double)f.value;
        else if (f.key == PB_KEY(2, PB_FIXED64))
            sum = f64_from_bits(f.value);
        else if (histogram && f.key == PB_KEY(4, PB_FIXED64))
            as_float = f64_from_bits(f.value);
        if (f.key != PB_KEY(3, PB_BYTES))
            continue;
        at = histogram ? read_bucket(p, f.bytes) : read_quantile(p, f.bytes);
        infinite |= at.bound == INFINITY;
        put_line(p, m, histogram ? "_bucket" : "", histogram ? "le" : "quantile", at.bound, at.v);
    }
    if (as_float > 0)
        count = as_float;
    if (!infinite)
        put_line(p, m, "_bucket", "le", INFINITY, count);
    put_line(p, m, "_sum", NULL, 0, sum);
    put_line(p, m, "_count", NULL, 0, count);
}

/* ---- messages ---- */

static void put_metric(struct printing *p, struct bytes message)
{
    struct metric m = { .kind = 0 };
    struct pb_reader r = pb_on(message);
    struct pb_field f;

    print_labels(p, message);
    while (next(p, &r, &f))
        if (f.key == PB_KEY(6, PB_VARINT)) {
            m.t_ms = f.value;
        } else if ((f.key & 7) == PB_BYTES && pb_number(&f) >= 2 && pb_number(&f) <= 7) {
            m.kind = pb_number(&f);
            m.value = f.bytes;
        }
    if (m.kind == 4 || m.kind == 7)
        put_distribution(p, &m, m.kind == 7);
    else if (m.kind)
        put_single(p, &m);
}

static void put_family(struct printing *p, struct bytes message)
{
    struct family family = { .name = STR(""), .help = STR("") };
    struct pb_reader r = pb_on(message);
    struct pb_field f;

    p->family = &family;
    while (next(p, &r, &f))
        if (f.key == PB_KEY(1, PB_BYTES))
            family.name = pb_str(&f);
        else if (f.key == PB_KEY(2, PB_BYTES))
            family.help = pb_str(&f);
        else if (f.key == PB_KEY(3, PB_VARINT))
            family.type = f.value;
    buf_text(p->out, "# HELP ");
    put_name(p->out, family.name, "", true);
    buf_u8(p->out, ' ');
    put_escaped(p->out, family.help, false);
    buf_text(p->out, "\n# TYPE ");
    put_name(p->out, family.name, "", true);
    buf_printf(p->out, " %s\n",
               type_names[family.type < ARRAY_LEN(type_names) ? family.type : UNTYPED]);
    for (r = pb_on(message); next(p, &r, &f);)
        if (f.key == PB_KEY(4, PB_BYTES))
            put_metric(p, f.bytes);
}

static void put_families(struct printing *p)
{
    struct pb_reader r = pb_on(p->in);

    while (!p->fault && p->out->len <= p->max && pb_more(&r)) {
        uint64_t n;

        r.field_at = r.p;
        n = pb_varint(&r);
        if (!r.fault && n > (uint64_t)(r.end - r.p))
            pb_fail(&r, PB_TRUNCATED_BYTES);
        if (r.fault) {
            p->fault = pb_fault_text(r.fault);
            p->fault_at = (size_t)(r.field_at - p->in.ptr);
            return;
        }
        put_family(p, (struct bytes){ r.p, (size_t)n });
        r.p += n;
    }
}

enum errc exposition_from_protobuf(struct bytes in, size_t max, struct buf *out, struct err *err)
{
    struct printing p = { .out = out, .max = max, .in = in };
    enum errc rc = OK;

    buf_clear(out);
    put_families(&p);
    out->failed |= p.labels.failed;
    buf_free(&p.labels);
    if (out->failed)
        rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    else if (out->len > max)
        rc = err_set(err, ERR_TOO_LARGE, 0, "the metrics take more than %zu bytes as text", max);
    else if (p.fault)
        rc = err_set(err, ERR_BAD_DATA, (uint32_t)p.fault_at, "protobuf metrics: %s at byte %zu",
                     p.fault, p.fault_at);
    if (rc != OK)
        buf_clear(out);
    return rc;
}
