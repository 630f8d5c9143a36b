/* otlp.c -- the messages of a request, down to data points
 *
 *   Request          1 ResourceMetrics*
 *   ResourceMetrics  1 Resource {1 KeyValue*}  2 ScopeMetrics*
 *   ScopeMetrics     1 Scope {1 name  2 version  3 KeyValue*}  2 Metric*  3 schema_url
 *   Metric           1 name  2 description  3 unit  5 Gauge  7 Sum  9 Histogram
 *                    10 ExponentialHistogram  11 Summary
 *   Gauge, ...       1 data point*  2 temporality  3 is_monotonic
 *
 * Fields come in any order, so that a message is looked through for what its parts need before
 * these are read; skipping a part costs nothing, it has its length before it.
 */
#include "ingest/otlp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_private.h"

#include "base/banned.h"

enum { NAMED = 10, TEMPORALITY_DELTA = 1, TEMPORALITY_CUMULATIVE = 2, ARENA_BYTES = 256 << 20 };

static const char *const reject_names[] = {
    [OTLP_REJECT_NAME] = "name",
    [OTLP_REJECT_ATTRIBUTES] = "attributes",
    [OTLP_REJECT_TEMPORALITY] = "temporality",
    [OTLP_REJECT_DELTA] = "delta",
    [OTLP_REJECT_OVERLAP] = "overlap",
    [OTLP_REJECT_NO_VALUE] = "no_value",
    [OTLP_REJECT_INVALID] = "invalid",
    [OTLP_REJECT_STORE] = "store",
};
_Static_assert(ARRAY_LEN(reject_names) == OTLP_REJECT_COUNT, "every reason has a name");

const char *otlp_reject_name(enum otlp_reject reason)
{
    ASSERT(reason < OTLP_REJECT_COUNT);
    return reject_names[reason];
}

struct otlp_options otlp_options_default(void)
{
    return (struct otlp_options){ .lookback_ms = 300000 };
}

/* ---- trouble ---- */

void otlp_fail(struct otlp *o, enum errc rc, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    if (o->rc != OK)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->rc = err_set(o->err, rc, 0, "OTLP: %s", text);
}

void otlp_no_memory(struct otlp *o)
{
    if (arena_used(o->arena) > ARENA_BYTES / 2)
        otlp_fail(o, ERR_TOO_LARGE,
                  "the request needs more than %d MiB of memory; send it in parts",
                  ARENA_BYTES >> 20);
    else
        otlp_fail(o, ERR_NOMEM, "out of memory");
}

/* What was being read is named with it, since "byte 812" tells a sender nothing. */
bool otlp_fault(struct otlp *o, const struct pb_reader *r)
{
    size_t at;

    if (!r->fault || o->rc != OK)
        return false;
    at = (size_t)(r->field_at - o->body.ptr);
    if (o->at.name.len)
        o->rc =
            err_set(o->err, ERR_BAD_DATA, (uint32_t)at,
                    "OTLP: resource_metrics[%zu].scope_metrics[%zu].metrics[%zu] \"%.*s\": %s at "
                    "byte %zu",
                    o->at.resource, o->at.scope, o->at.metric, STR_ARG(o->at.name),
                    pb_fault_text(r->fault), at);
    else
        o->rc = err_set(o->err, ERR_BAD_DATA, (uint32_t)at, "OTLP: %s at byte %zu",
                        pb_fault_text(r->fault), at);
    return false;
}

void otlp_reject(struct otlp *o, enum otlp_reject reason, uint64_t n, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (n == 0)
        return;
    o->rejected[reason] += n;
    if (o->n_named++ >= NAMED)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_printf(&o->text, "%s\n", text);
}

struct str otlp_keep(struct otlp *o, struct str s)
{
    struct str kept = str_copy(o->arena, s);

    if (kept.ptr)
        return kept;
    otlp_no_memory(o);
    return STR("");
}

/* ---- data points ---- */

static void add_packed(struct otlp *o, struct bytes *to, const void *p, size_t n)
{
    uint8_t *grown =
        arena_grow(o->arena, to->len ? (void *)(uintptr_t)to->ptr : NULL, to->len, to->len + n);

    if (!grown) {
        otlp_no_memory(o);
        return;
    }
    memcpy(grown + to->len, p, n);
    *to = (struct bytes){ grown, to->len + n };
}

/* A packed field, nearly always there once; several parts are copied together. */
static void take_packed(struct otlp *o, struct bytes *to, struct bytes part)
{
    struct bytes first = *to;

    if (to->len == 0) {
        *to = part;
        return;
    }
    *to = (struct bytes){ 0 };
    add_packed(o, to, first.ptr, first.len);
    if (o->rc == OK)
        add_packed(o, to, part.ptr, part.len);
}

/* One value of a packed field that came on its own. */
static void take_unpacked(struct otlp *o, struct bytes *to, uint64_t v)
{
    uint8_t bytes[8];

    store_u64le(bytes, v);
    take_packed(o, to, (struct bytes){ bytes, sizeof bytes });
    if (to->ptr == bytes) { /* the first: it must outlive this call */
        *to = (struct bytes){ 0 };
        add_packed(o, to, bytes, sizeof bytes);
    }
}

static void read_number(struct otlp *o, struct otlp_data_point *p)
{
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(2, PB_FIXED64):
            p->start_ns = f.value;
            break;
        case PB_KEY(3, PB_FIXED64):
            p->t_ns = f.value;
            break;
        case PB_KEY(4, PB_FIXED64):
            p->value = f64_from_bits(f.value);
            p->has_value = true;
            break;
        case PB_KEY(5, PB_BYTES):
            p->n_exemplars++;
            break;
        case PB_KEY(6, PB_FIXED64):
            p->value = (double)(int64_t)f.value;
            p->has_value = true;
            break;
        case PB_KEY(7, PB_BYTES):
            otlp_point_attribute(o, f.bytes);
            break;
        case PB_KEY(8, PB_VARINT):
            p->flags = f.value;
            break;
        default:
            if (pb_number(&f) != 1) /* labels, long gone */
                pb_unknown(&r, &f, 8);
        }
}

static void read_histogram(struct otlp *o, struct otlp_data_point *p)
{
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(2, PB_FIXED64):
            p->start_ns = f.value;
            break;
        case PB_KEY(3, PB_FIXED64):
            p->t_ns = f.value;
            break;
        case PB_KEY(4, PB_FIXED64):
            p->count = f.value;
            break;
        case PB_KEY(5, PB_FIXED64):
            p->sum = f64_from_bits(f.value);
            p->has_sum = true;
            break;
        case PB_KEY(6, PB_BYTES):
            take_packed(o, &p->bucket_counts, f.bytes);
            break;
        case PB_KEY(6, PB_FIXED64):
            take_unpacked(o, &p->bucket_counts, f.value);
            break;
        case PB_KEY(7, PB_BYTES):
            take_packed(o, &p->explicit_bounds, f.bytes);
            break;
        case PB_KEY(7, PB_FIXED64):
            take_unpacked(o, &p->explicit_bounds, f.value);
            break;
        case PB_KEY(8, PB_BYTES):
            p->n_exemplars++;
            break;
        case PB_KEY(9, PB_BYTES):
            otlp_point_attribute(o, f.bytes);
            break;
        case PB_KEY(10, PB_VARINT):
            p->flags = f.value;
            break;
        case PB_KEY(11, PB_FIXED64): /* min and max are not kept */
        case PB_KEY(12, PB_FIXED64):
            break;
        default:
            if (pb_number(&f) != 1)
                pb_unknown(&r, &f, 12);
        }
}

static void read_exponential(struct otlp *o, struct otlp_data_point *p)
{
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            otlp_point_attribute(o, f.bytes);
            break;
        case PB_KEY(2, PB_FIXED64):
            p->start_ns = f.value;
            break;
        case PB_KEY(3, PB_FIXED64):
            p->t_ns = f.value;
            break;
        case PB_KEY(4, PB_FIXED64):
            p->count = f.value;
            break;
        case PB_KEY(5, PB_FIXED64):
            p->sum = f64_from_bits(f.value);
            p->has_sum = true;
            break;
        case PB_KEY(6, PB_VARINT):
            p->scale = (int32_t)unzigzag(f.value);
            break;
        case PB_KEY(7, PB_FIXED64):
            p->zero_count = f.value;
            break;
        case PB_KEY(8, PB_BYTES):
            p->positive = f.bytes;
            break;
        case PB_KEY(9, PB_BYTES):
            p->negative = f.bytes;
            break;
        case PB_KEY(10, PB_VARINT):
            p->flags = f.value;
            break;
        case PB_KEY(11, PB_BYTES):
            p->n_exemplars++;
            break;
        case PB_KEY(12, PB_FIXED64): /* min, max and zero_threshold are not kept */
        case PB_KEY(13, PB_FIXED64):
        case PB_KEY(14, PB_FIXED64):
            break;
        default:
            pb_unknown(&r, &f, 14);
        }
}

static void read_summary(struct otlp *o, struct otlp_data_point *p)
{
    struct pb_reader r = pb_on(p->message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(2, PB_FIXED64):
            p->start_ns = f.value;
            break;
        case PB_KEY(3, PB_FIXED64):
            p->t_ns = f.value;
            break;
        case PB_KEY(4, PB_FIXED64):
            p->count = f.value;
            break;
        case PB_KEY(5, PB_FIXED64):
            p->sum = f64_from_bits(f.value);
            p->has_sum = true;
            break;
        case PB_KEY(6, PB_BYTES):
            p->n_quantiles++;
            break;
        case PB_KEY(7, PB_BYTES):
            otlp_point_attribute(o, f.bytes);
            break;
        case PB_KEY(8, PB_VARINT):
            p->flags = f.value;
            break;
        default:
            if (pb_number(&f) != 1)
                pb_unknown(&r, &f, 8);
        }
}

/* How data points of each kind are read. */
static const struct data_kind {
    const char *type; /* for error texts */
    enum metric_type metadata;
    void (*read)(struct otlp *o, struct otlp_data_point *p);
    uint32_t attributes; /* the field they stand in */
    bool temporal;
} kinds[] = {
    [OTLP_GAUGE_DATA] = { "gauge", METRIC_GAUGE, read_number, 7, false },
    [OTLP_SUM_DATA] = { "sum", METRIC_COUNTER, read_number, 7, true },
    [OTLP_HISTOGRAM_DATA] = { "histogram", METRIC_HISTOGRAM, read_histogram, 9, true },
    [OTLP_EXPONENTIAL_DATA] = { "exponential histogram", METRIC_HISTOGRAM, read_exponential, 1,
                                true },
    [OTLP_SUMMARY_DATA] = { "summary", METRIC_SUMMARY, read_summary, 7, false },
};

/* ---- a data point ---- */

static void add_series(struct otlp *o, struct otlp_metric *m, const struct otlp_data_point *p)
{
    switch (m->data) {
    case OTLP_HISTOGRAM_DATA:
        otlp_add_histogram(o, m, p);
        break;
    case OTLP_EXPONENTIAL_DATA:
        otlp_add_exponential(o, m, p);
        break;
    case OTLP_SUMMARY_DATA:
        otlp_add_summary(o, m, p);
        break;
    default:
        otlp_add_number(o, m, p);
    }
}

/* Notes the point that the series since first_series belong to. */
static void end_point(struct otlp *o, const struct otlp_metric *m, const struct otlp_data_point *p,
                      size_t first_series)
{
    struct otlp_point *point;
    bool temporal = kinds[m->data].temporal;

    if (!vec_reserve(&o->points, &o->cap_points, o->n_points + 1, sizeof *o->points)) {
        otlp_no_memory(o);
        return;
    }
    point = &o->points[o->n_points++];
    *point = (struct otlp_point){
        .first_series = (uint32_t)first_series,
        .n_series = (uint32_t)(o->batch.n_series - first_series),
        .start_ms = (int64_t)(p->start_ns / 1000000),
        .t_ms = (int64_t)(p->t_ns / 1000000),
        .delta = temporal && m->temporality == TEMPORALITY_DELTA
                 && o->options->delta == OTLP_DELTA_CONVERT,
        .anonymous = temporal && m->temporality == TEMPORALITY_CUMULATIVE && o->anonymous,
    };
    if (point->t_ms < o->min_t_ms)
        o->min_t_ms = point->t_ms;
    if (point->t_ms > o->max_t_ms)
        o->max_t_ms = point->t_ms;
}

static void read_point(struct otlp *o, struct otlp_metric *m, struct bytes message)
{
    struct otlp_data_point p = { .message = message };
    size_t first_series = o->batch.n_series;

    otlp_point_begin(o);
    kinds[m->data].read(o, &p);
    otlp_point_end(o, message, kinds[m->data].attributes);
    if (o->rc != OK)
        return;
    if (o->point.bad) {
        otlp_reject(o, OTLP_REJECT_ATTRIBUTES, 1,
                    "metric \"%.*s\": a data point has more than %d attributes, or one whose name "
                    "has no letter or digit",
                    STR_ARG(m->name), OTLP_MAX_POINT_LABELS);
        return;
    }
    add_series(o, m, &p);
    if (o->rc == OK && o->batch.n_series > first_series)
        end_point(o, m, &p, first_series);
}

/* ---- a metric ---- */

static uint64_t count_points(struct otlp *o, const struct otlp_metric *m)
{
    struct pb_reader r = pb_on(m->message);
    struct pb_field f;
    uint64_t n = 0;

    while (otlp_next(o, &r, &f))
        n += f.key == PB_KEY(1, PB_BYTES);
    return n;
}

static void read_data_fields(struct otlp *o, struct otlp_metric *m)
{
    struct pb_reader r = pb_on(m->message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(2, PB_VARINT))
            m->temporality = f.value;
        else if (f.key == PB_KEY(3, PB_VARINT))
            m->monotonic = f.value != 0;
        else if (f.key != PB_KEY(1, PB_BYTES))
            pb_unknown(&r, &f, 3);
}

/* Whether the metric's temporality is one that can be stored; all its points are rejected if not. */
static bool check_temporality(struct otlp *o, const struct otlp_metric *m)
{
    const char *type = kinds[m->data].type;

    if (!kinds[m->data].temporal || m->temporality == TEMPORALITY_CUMULATIVE)
        return true;
    if (m->temporality != TEMPORALITY_DELTA) {
        otlp_reject(o, OTLP_REJECT_TEMPORALITY, count_points(o, m),
                    "metric \"%.*s\": a %s needs an aggregation temporality, 1 (delta) or 2 "
                    "(cumulative), not %" PRIu64,
                    STR_ARG(m->name), type, m->temporality);
        return false;
    }
    if (o->options->delta != OTLP_DELTA_REJECT)
        return true;
    otlp_reject(o, OTLP_REJECT_DELTA, count_points(o, m),
                "metric \"%.*s\": a %s with delta temporality is refused by the configuration; "
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative makes the sender use "
                "the other",
                STR_ARG(m->name), type);
    return false;
}

static bool translate_name(struct otlp *o, struct otlp_metric *m)
{
    enum otlp_kind kind = m->data == OTLP_GAUGE_DATA                 ? OTLP_GAUGE
                          : m->data == OTLP_SUM_DATA && m->monotonic ? OTLP_COUNTER
                                                                     : OTLP_OTHER;
    struct buf b = { 0 };

    otlp_metric_name(&b, m->name, m->unit, kind, o->options->strategy);
    if (b.failed)
        otlp_no_memory(o);
    else if (b.len)
        m->family = otlp_keep(o, buf_as_str(&b));
    else
        otlp_reject(o, OTLP_REJECT_NAME, count_points(o, m),
                    "metric \"%.*s\": the name has no character that can stay", STR_ARG(m->name));
    buf_free(&b);
    return o->rc == OK && m->family.len;
}

static void add_metadata(struct otlp *o, const struct otlp_metric *m)
{
    enum metric_type type = kinds[m->data].metadata;
    struct buf unit = { 0 };

    if (o->batch.n_metadata == OTLP_MAX_METADATA || !utf8_valid(m->family) || !utf8_valid(m->help)
        || !utf8_valid(m->unit))
        return;
    if (!vec_reserve(&o->metadata, &o->cap_metadata, o->batch.n_metadata + 1,
                     sizeof *o->metadata)) {
        otlp_no_memory(o);
        return;
    }
    if (m->data == OTLP_SUM_DATA && !m->monotonic)
        type = METRIC_GAUGE;
    if (kinds[m->data].temporal && m->temporality == TEMPORALITY_DELTA
        && o->options->delta == OTLP_DELTA_RAW)
        type = METRIC_UNKNOWN;
    otlp_unit_name(&unit, m->unit);
    o->metadata[o->batch.n_metadata++] = (struct metric_metadata){
        .family = m->family, .type = type, .help = m->help, .unit = otlp_keep(o, buf_as_str(&unit))
    };
    buf_free(&unit);
}

static void read_metric_fields(struct otlp *o, struct bytes message, struct otlp_metric *m)
{
    struct pb_reader r = pb_on(message);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            m->name = pb_str(&f);
            break;
        case PB_KEY(2, PB_BYTES):
            m->help = pb_str(&f);
            break;
        case PB_KEY(3, PB_BYTES):
            m->unit = pb_str(&f);
            break;
        case PB_KEY(OTLP_GAUGE_DATA, PB_BYTES):
        case PB_KEY(OTLP_SUM_DATA, PB_BYTES):
        case PB_KEY(OTLP_HISTOGRAM_DATA, PB_BYTES):
        case PB_KEY(OTLP_EXPONENTIAL_DATA, PB_BYTES):
        case PB_KEY(OTLP_SUMMARY_DATA, PB_BYTES):
            m->data = (enum otlp_data)pb_number(&f);
            m->message = f.bytes;
            break;
        case PB_KEY(12, PB_BYTES): /* metadata of its own */
            break;
        default:
            if (pb_number(&f) != 4 && pb_number(&f) != 6 && pb_number(&f) != 8)
                pb_unknown(&r, &f, 12);
        }
}

static void read_metric(struct otlp *o, struct bytes message)
{
    struct otlp_metric m = { .name = STR(""), .unit = STR(""), .help = STR("") };
    struct pb_reader r;
    struct pb_field f;

    o->at.name = STR("");
    read_metric_fields(o, message, &m);
    o->at.name = m.name;
    if (o->rc == OK && m.data == OTLP_NO_DATA) {
        o->n_ignored++;
        return;
    }
    read_data_fields(o, &m);
    if (o->rc != OK || !translate_name(o, &m) || !check_temporality(o, &m))
        return;
    add_metadata(o, &m);
    r = pb_on(m.message);
    while (o->rc == OK && otlp_next(o, &r, &f))
        if (f.key == PB_KEY(1, PB_BYTES))
            read_point(o, &m, f.bytes);
}

/* ---- scopes, resources, the request ---- */

static void read_scope_metrics(struct otlp *o, struct bytes resource, struct bytes message)
{
    struct pb_reader r = pb_on(message);
    struct bytes scope = { 0 };
    struct str schema = STR("");
    struct pb_field f;

    o->at.name = STR("");
    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(1, PB_BYTES))
            scope = f.bytes;
        else if (f.key == PB_KEY(3, PB_BYTES))
            schema = pb_str(&f);
        else if (f.key != PB_KEY(2, PB_BYTES))
            pb_unknown(&r, &f, 3);
    otlp_base_labels(o, resource, scope, schema);
    o->at.metric = 0;
    for (r = pb_on(message); o->rc == OK && otlp_next(o, &r, &f);)
        if (f.key == PB_KEY(2, PB_BYTES)) {
            read_metric(o, f.bytes);
            o->at.metric++;
        }
}

static void read_resource_metrics(struct otlp *o, struct bytes message)
{
    struct pb_reader r = pb_on(message);
    struct bytes resource = { 0 };
    struct pb_field f;

    o->at.name = STR("");
    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(1, PB_BYTES))
            resource = f.bytes;
        else if (f.key != PB_KEY(2, PB_BYTES) && f.key != PB_KEY(3, PB_BYTES))
            pb_unknown(&r, &f, 3);
    o->min_t_ms = INT64_MAX;
    o->max_t_ms = INT64_MIN;
    o->at.scope = 0;
    for (r = pb_on(message); o->rc == OK && otlp_next(o, &r, &f);)
        if (f.key == PB_KEY(2, PB_BYTES)) {
            read_scope_metrics(o, resource, f.bytes);
            o->at.scope++;
        }
    if (o->rc == OK && o->min_t_ms <= o->max_t_ms && otlp_target_labels(o, resource))
        otlp_add_target_info(o);
}

static void read_request(struct otlp *o, struct bytes body)
{
    struct pb_reader r = pb_on(body);
    struct pb_field f;

    while (o->rc == OK && otlp_next(o, &r, &f)) {
        if (f.key != PB_KEY(1, PB_BYTES)) {
            pb_unknown(&r, &f, 1);
            continue;
        }
        read_resource_metrics(o, f.bytes);
        o->at.resource++;
        o->at.name = STR("");
    }
}

/* The arrays have stopped moving: lets the batch point into them. */
static void finish_batch(struct otlp *o)
{
    size_t at = 0;

    for (size_t i = 0; i < o->batch.n_series; i++) {
        o->series[i].labels = o->labels + at;
        at += o->series[i].n_labels;
    }
    o->batch.series = o->series;
    o->batch.samples = o->samples;
    o->batch.start_ms = o->starts;
    o->batch.histograms = o->histograms;
    o->batch.exemplars = o->exemplars;
    o->batch.metadata = o->metadata;
}

static void forget(struct otlp *o)
{
    o->batch = (struct write_batch){ 0 };
    o->n_points = o->n_labels = o->n_named = 0;
    o->n_ignored = 0;
    memset(o->rejected, 0, sizeof o->rejected);
    memset(o->names, 0, sizeof o->names);
    o->bounds.n = 0;
    o->at.resource = o->at.scope = o->at.metric = 0;
    o->at.name = STR("");
    buf_clear(&o->text);
    if (o->arena)
        arena_reset(o->arena);
}

enum errc otlp_read(struct otlp *o, const struct otlp_options *options, struct bytes body,
                    struct err *err)
{
    forget(o);
    if (body.len > OTLP_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "OTLP: a request of %zu bytes, at most %d are allowed", body.len,
                       OTLP_MAX_BYTES);
    if (!o->arena && !(o->arena = arena_new(ARENA_BYTES)))
        return err_set(err, ERR_NOMEM, 0, "OTLP: out of memory");
    o->options = options;
    o->rules = (struct otlp_label_rules){ .keep_utf8 = otlp_keeps_utf8(options->strategy),
                                          .key_underscore = !options->keep_label_underscore,
                                          .keep_runs = !options->collapse_underscores };
    o->body = body;
    o->rc = OK;
    o->err = err;
    read_request(o, body);
    if (o->rc == OK)
        finish_batch(o);
    else
        forget(o);
    return o->rc;
}

enum errc otlp_read_json(struct otlp *o, const struct otlp_options *options, struct bytes body,
                         struct err *err)
{
    enum errc rc;

    forget(o);
    rc = otlp_json_to_protobuf(body, OTLP_MAX_BYTES, &o->json, err);
    return rc ? rc : otlp_read(o, options, buf_as_bytes(&o->json), err);
}

void otlp_count_unstored(struct otlp *o)
{
    for (size_t i = 0; i < o->n_points; i++) {
        const struct otlp_point *p = &o->points[i];
        bool lost = false;

        for (size_t k = 0; k < p->n_series && !p->dropped; k++)
            lost |= o->series[p->first_series + k].n_rejected > 0;
        o->rejected[OTLP_REJECT_STORE] += lost;
    }
}

/* What is kept of each array for the next request. */
enum { KEEP_BYTES = 1 << 20 };

void otlp_recycle(struct otlp *o)
{
    forget(o);
    buf_clear(&o->json);
    vec_shrink(&o->json.ptr, &o->json.cap, 1, KEEP_BYTES);
    vec_shrink(&o->labels, &o->cap_labels, sizeof *o->labels, KEEP_BYTES);
    vec_shrink(&o->series, &o->cap_series, sizeof *o->series, KEEP_BYTES);
    vec_shrink(&o->samples, &o->cap_samples, sizeof *o->samples, KEEP_BYTES);
    vec_shrink(&o->starts, &o->cap_starts, sizeof *o->starts, KEEP_BYTES);
    vec_shrink(&o->histograms, &o->cap_histograms, sizeof *o->histograms, KEEP_BYTES);
    vec_shrink(&o->exemplars, &o->cap_exemplars, sizeof *o->exemplars, KEEP_BYTES);
    vec_shrink(&o->metadata, &o->cap_metadata, sizeof *o->metadata, KEEP_BYTES);
    vec_shrink(&o->points, &o->cap_points, sizeof *o->points, KEEP_BYTES);
}

void otlp_free(struct otlp *o)
{
    arena_free(o->arena);
    buf_free(&o->json);
    buf_free(&o->text);
    free(o->labels);
    free(o->series);
    free(o->samples);
    free(o->starts);
    free(o->histograms);
    free(o->exemplars);
    free(o->metadata);
    free(o->points);
    *o = (struct otlp){ 0 };
}
