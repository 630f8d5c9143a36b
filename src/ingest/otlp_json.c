/* otlp_json.c -- one pass over the text, a table for each message
 *
 * A message's length stands before it and is known only behind it: one byte is left free, and the
 * content moved when the length needs more. Contents are copied once for each level of nesting that
 * way, of which there are few.
 */
#include "ingest/otlp_json.h"

#include <math.h>

#include "base/json_reader.h"
#include "base/number.h"
#include "ingest/pbwire.h"

#include "base/banned.h"

enum { MAX_PATH = 64 };

enum json_type {
    J_STRING,
    J_HEX,    /* bytes */
    J_BASE64, /* bytes */
    J_FIXED,  /* 64-bit integers, signed or not */
    J_VARINT,
    J_ZIGZAG,
    J_DOUBLE,
    J_BOOL,
    J_TEMPORALITY,
    J_MESSAGE
};

struct json_message;

struct json_field {
    const char *name;
    uint32_t number;
    enum json_type type;
    bool repeated;
    const struct json_message *message;
};

struct json_message {
    const struct json_field *fields;
    size_t n;
};

#define MESSAGE(table)                                                                             \
    {                                                                                              \
        (table), ARRAY_LEN(table)                                                                  \
    }

static const struct json_message any_value_message, key_value_message; /* below */

static const struct json_field array_fields[] = {
    { "values", 1, J_MESSAGE, true, &any_value_message },
};
static const struct json_message array_message = MESSAGE(array_fields);

static const struct json_field map_fields[] = {
    { "values", 1, J_MESSAGE, true, &key_value_message },
};
static const struct json_message map_message = MESSAGE(map_fields);

static const struct json_field any_value_fields[] = {
    { "stringValue", 1, J_STRING, false, NULL },
    { "boolValue", 2, J_BOOL, false, NULL },
    { "intValue", 3, J_VARINT, false, NULL },
    { "doubleValue", 4, J_DOUBLE, false, NULL },
    { "arrayValue", 5, J_MESSAGE, false, &array_message },
    { "kvlistValue", 6, J_MESSAGE, false, &map_message },
    { "bytesValue", 7, J_BASE64, false, NULL },
};
static const struct json_message any_value_message = MESSAGE(any_value_fields);

static const struct json_field key_value_fields[] = {
    { "key", 1, J_STRING, false, NULL },
    { "value", 2, J_MESSAGE, false, &any_value_message },
};
static const struct json_message key_value_message = MESSAGE(key_value_fields);

static const struct json_field exemplar_fields[] = {
    { "timeUnixNano", 2, J_FIXED, false, NULL },
    { "asDouble", 3, J_DOUBLE, false, NULL },
    { "spanId", 4, J_HEX, false, NULL },
    { "traceId", 5, J_HEX, false, NULL },
    { "asInt", 6, J_FIXED, false, NULL },
    { "filteredAttributes", 7, J_MESSAGE, true, &key_value_message },
};
static const struct json_message exemplar_message = MESSAGE(exemplar_fields);

static const struct json_field number_fields[] = {
    { "attributes", 7, J_MESSAGE, true, &key_value_message },
    { "startTimeUnixNano", 2, J_FIXED, false, NULL },
    { "timeUnixNano", 3, J_FIXED, false, NULL },
    { "asDouble", 4, J_DOUBLE, false, NULL },
    { "asInt", 6, J_FIXED, false, NULL },
    { "exemplars", 5, J_MESSAGE, true, &exemplar_message },
    { "flags", 8, J_VARINT, false, NULL },
};
static const struct json_message number_message = MESSAGE(number_fields);

static const struct json_field histogram_point_fields[] = {
    { "attributes", 9, J_MESSAGE, true, &key_value_message },
    { "startTimeUnixNano", 2, J_FIXED, false, NULL },
    { "timeUnixNano", 3, J_FIXED, false, NULL },
    { "count", 4, J_FIXED, false, NULL },
    { "sum", 5, J_DOUBLE, false, NULL },
    { "bucketCounts", 6, J_FIXED, true, NULL },
    { "explicitBounds", 7, J_DOUBLE, true, NULL },
    { "exemplars", 8, J_MESSAGE, true, &exemplar_message },
    { "flags", 10, J_VARINT, false, NULL },
};
static const struct json_message histogram_point_message = MESSAGE(histogram_point_fields);

static const struct json_field buckets_fields[] = {
    { "offset", 1, J_ZIGZAG, false, NULL },
    { "bucketCounts", 2, J_VARINT, true, NULL },
};
static const struct json_message buckets_message = MESSAGE(buckets_fields);

static const struct json_field exponential_point_fields[] = {
    { "attributes", 1, J_MESSAGE, true, &key_value_message },
    { "startTimeUnixNano", 2, J_FIXED, false, NULL },
    { "timeUnixNano", 3, J_FIXED, false, NULL },
    { "count", 4, J_FIXED, false, NULL },
    { "sum", 5, J_DOUBLE, false, NULL },
    { "scale", 6, J_ZIGZAG, false, NULL },
    { "zeroCount", 7, J_FIXED, false, NULL },
    { "positive", 8, J_MESSAGE, false, &buckets_message },
    { "negative", 9, J_MESSAGE, false, &buckets_message },
    { "flags", 10, J_VARINT, false, NULL },
    { "exemplars", 11, J_MESSAGE, true, &exemplar_message },
};
static const struct json_message exponential_point_message = MESSAGE(exponential_point_fields);

static const struct json_field quantile_fields[] = {
    { "quantile", 1, J_DOUBLE, false, NULL },
    { "value", 2, J_DOUBLE, false, NULL },
};
static const struct json_message quantile_message = MESSAGE(quantile_fields);

static const struct json_field summary_point_fields[] = {
    { "attributes", 7, J_MESSAGE, true, &key_value_message },
    { "startTimeUnixNano", 2, J_FIXED, false, NULL },
    { "timeUnixNano", 3, J_FIXED, false, NULL },
    { "count", 4, J_FIXED, false, NULL },
    { "sum", 5, J_DOUBLE, false, NULL },
    { "quantileValues", 6, J_MESSAGE, true, &quantile_message },
    { "flags", 8, J_VARINT, false, NULL },
};
static const struct json_message summary_point_message = MESSAGE(summary_point_fields);

static const struct json_field gauge_fields[] = {
    { "dataPoints", 1, J_MESSAGE, true, &number_message },
};
static const struct json_message gauge_message = MESSAGE(gauge_fields);

static const struct json_field sum_fields[] = {
    { "dataPoints", 1, J_MESSAGE, true, &number_message },
    { "aggregationTemporality", 2, J_TEMPORALITY, false, NULL },
    { "isMonotonic", 3, J_BOOL, false, NULL },
};
static const struct json_message sum_message = MESSAGE(sum_fields);

static const struct json_field histogram_fields[] = {
    { "dataPoints", 1, J_MESSAGE, true, &histogram_point_message },
    { "aggregationTemporality", 2, J_TEMPORALITY, false, NULL },
};
static const struct json_message histogram_message = MESSAGE(histogram_fields);

static const struct json_field exponential_fields[] = {
    { "dataPoints", 1, J_MESSAGE, true, &exponential_point_message },
    { "aggregationTemporality", 2, J_TEMPORALITY, false, NULL },
};
static const struct json_message exponential_message = MESSAGE(exponential_fields);

static const struct json_field summary_fields[] = {
    { "dataPoints", 1, J_MESSAGE, true, &summary_point_message },
};
static const struct json_message summary_message = MESSAGE(summary_fields);

static const struct json_field metric_fields[] = {
    { "name", 1, J_STRING, false, NULL },
    { "description", 2, J_STRING, false, NULL },
    { "unit", 3, J_STRING, false, NULL },
    { "gauge", 5, J_MESSAGE, false, &gauge_message },
    { "sum", 7, J_MESSAGE, false, &sum_message },
    { "histogram", 9, J_MESSAGE, false, &histogram_message },
    { "exponentialHistogram", 10, J_MESSAGE, false, &exponential_message },
    { "summary", 11, J_MESSAGE, false, &summary_message },
};
static const struct json_message metric_message = MESSAGE(metric_fields);

static const struct json_field scope_fields[] = {
    { "name", 1, J_STRING, false, NULL },
    { "version", 2, J_STRING, false, NULL },
    { "attributes", 3, J_MESSAGE, true, &key_value_message },
};
static const struct json_message scope_message = MESSAGE(scope_fields);

static const struct json_field scope_metrics_fields[] = {
    { "scope", 1, J_MESSAGE, false, &scope_message },
    { "metrics", 2, J_MESSAGE, true, &metric_message },
    { "schemaUrl", 3, J_STRING, false, NULL },
};
static const struct json_message scope_metrics_message = MESSAGE(scope_metrics_fields);

static const struct json_field resource_fields[] = {
    { "attributes", 1, J_MESSAGE, true, &key_value_message },
};
static const struct json_message resource_message = MESSAGE(resource_fields);

static const struct json_field resource_metrics_fields[] = {
    { "resource", 1, J_MESSAGE, false, &resource_message },
    { "scopeMetrics", 2, J_MESSAGE, true, &scope_metrics_message },
    { "schemaUrl", 3, J_STRING, false, NULL },
};
static const struct json_message resource_metrics_message = MESSAGE(resource_metrics_fields);

static const struct json_field request_fields[] = {
    { "resourceMetrics", 1, J_MESSAGE, true, &resource_metrics_message },
};
static const struct json_message request_message = MESSAGE(request_fields);

/* ---- the state of one translation ---- */

struct translation {
    struct json_reader r;
    struct buf *out;
    struct buf scratch; /* a string on its way to a number or to bytes */
    size_t max;
    struct {
        const char *name;
        size_t index; /* SIZE_MAX: not repeated */
    } path[MAX_PATH];
    size_t n_path;
};

static void put_varint(struct buf *b, uint64_t v)
{
    if (LIKELY(v < 0x80))
        buf_u8(b, (uint8_t)v);
    else
        buf_uvarint(b, v);
}

/* Begins something that has its length before it. */
static size_t begin_length(struct translation *t, uint32_t number)
{
    put_varint(t->out, PB_KEY(number, PB_BYTES));
    buf_u8(t->out, 0);
    if (t->out->len > t->max)
        json_fail(&t->r, "too large");
    return t->out->len;
}

static void end_length(struct translation *t, size_t at)
{
    size_t n = t->out->len - at, extra = 0;
    uint8_t *p;

    for (size_t rest = n >> 7; rest; rest >>= 7)
        extra++;
    if (t->out->failed || (extra && !buf_reserve(t->out, extra))) {
        t->out->failed = true;
        return;
    }
    p = t->out->ptr + at;
    if (extra)
        memmove(p + extra, p, n);
    t->out->len += extra;
    for (p--; n >= 0x80; n >>= 7)
        *p++ = (uint8_t)(n | 0x80);
    *p = (uint8_t)n;
}

/* ---- values ---- */

/* The text of a number, or of a string that should hold one. */
static struct str number_text(struct translation *t)
{
    if (json_peek(&t->r) != JSON_STRING)
        return json_read_number(&t->r);
    buf_clear(&t->scratch);
    return json_read_string(&t->r, &t->scratch) && t->scratch.len ? buf_as_str(&t->scratch)
                                                                  : STR(""); /* never NULL */
}

/* Digits without a sign, all 64 bits of them. */
static bool parse_u64(struct str s, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(uint8_t)s.ptr[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(*v, 10u, v) || __builtin_add_overflow(*v, digit, v))
            return false;
    }
    return s.len > 0;
}

/* An integer in two's complement; 1.5e3 is one too. */
static uint64_t read_integer(struct translation *t)
{
    struct str s = number_text(t);
    bool minus = s.len && *s.ptr == '-';
    uint64_t v = 0;
    double d;

    if (t->r.fault)
        return 0;
    if (parse_u64((struct str){ s.ptr + minus, s.len - minus }, &v)
        && (!minus || v <= (uint64_t)INT64_MAX + 1))
        return minus ? -v : v;
    if (number_parse(s, false, &d, NULL) && d == trunc(d) && d >= -0x1p63 && d < 0x1p64)
        return d < 0 ? (uint64_t)(int64_t)d : (uint64_t)d;
    json_fail(&t->r, "expected an integer of 64 bits");
    return 0;
}

static uint64_t read_double(struct translation *t)
{
    struct str s = number_text(t);
    bool out_of_range;
    double d;

    if (t->r.fault)
        return 0;
    if (number_parse(s, false, &d, &out_of_range) && !out_of_range)
        return f64_bits(d);
    json_fail(&t->r, "expected a number");
    return 0;
}

static uint64_t read_temporality(struct translation *t)
{
    if (json_peek(&t->r) != JSON_STRING)
        return read_integer(t);
    buf_clear(&t->scratch);
    (void)json_read_string(&t->r, &t->scratch);
    if (str_is(buf_as_str(&t->scratch), "AGGREGATION_TEMPORALITY_DELTA"))
        return 1;
    if (str_is(buf_as_str(&t->scratch), "AGGREGATION_TEMPORALITY_CUMULATIVE"))
        return 2;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

static void put_hex(struct translation *t, struct str s)
{
    for (size_t i = 0; i + 1 < s.len; i += 2) {
        int high = hex_digit(s.ptr[i]), low = hex_digit(s.ptr[i + 1]);

        if (high < 0 || low < 0) {
            json_fail(&t->r, "expected hexadecimal digits");
            return;
        }
        buf_u8(t->out, (uint8_t)(high << 4 | low));
    }
    if (s.len % 2)
        json_fail(&t->r, "expected an even number of hexadecimal digits");
}

/* Both alphabets, with and without padding. */
static void put_base64(struct translation *t, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0, n = 0;

    for (size_t i = 0; i < s.len && s.ptr[i] != '='; i++) {
        char c = s.ptr[i] == '-' ? '+' : s.ptr[i] == '_' ? '/' : s.ptr[i];
        const char *at = c ? strchr(digits, c) : NULL;

        if (!at) {
            json_fail(&t->r, "expected base64");
            return;
        }
        bits = bits << 6 | (uint32_t)(at - digits);
        n += 6;
        if (n >= 8)
            buf_u8(t->out, (uint8_t)(bits >> (n -= 8)));
    }
}

static void read_message(struct translation *t, const struct json_message *m);

static void read_text(struct translation *t, const struct json_field *f)
{
    size_t at = begin_length(t, f->number);

    if (f->type == J_STRING) {
        (void)json_read_string(&t->r, t->out);
    } else {
        buf_clear(&t->scratch);
        if (json_read_string(&t->r, &t->scratch))
            (f->type == J_HEX ? put_hex : put_base64)(t, buf_as_str(&t->scratch));
    }
    end_length(t, at);
}

/* The bytes of a number without its key. */
static void read_scalar(struct translation *t, enum json_type type)
{
    switch (type) {
    case J_FIXED:
        buf_u64(t->out, read_integer(t));
        break;
    case J_DOUBLE:
        buf_u64(t->out, read_double(t));
        break;
    case J_VARINT:
        put_varint(t->out, read_integer(t));
        break;
    case J_ZIGZAG:
        put_varint(t->out, zigzag((int64_t)read_integer(t)));
        break;
    case J_BOOL:
        buf_u8(t->out, json_read_bool(&t->r));
        break;
    default:
        put_varint(t->out, read_temporality(t));
    }
}

static enum pb_wire wire_of(enum json_type type)
{
    return type == J_FIXED || type == J_DOUBLE     ? PB_FIXED64
           : type <= J_BASE64 || type == J_MESSAGE ? PB_BYTES
                                                   : PB_VARINT;
}

static void read_value(struct translation *t, const struct json_field *f)
{
    size_t at;

    if (f->type == J_MESSAGE) {
        at = begin_length(t, f->number);
        read_message(t, f->message);
        end_length(t, at);
    } else if (wire_of(f->type) == PB_BYTES) {
        read_text(t, f);
    } else {
        put_varint(t->out, PB_KEY(f->number, wire_of(f->type)));
        read_scalar(t, f->type);
    }
}

/* ---- messages ---- */

static void read_repeated(struct translation *t, const struct json_field *f)
{
    size_t *index = &t->path[t->n_path - 1].index, at = 0;
    bool packed = wire_of(f->type) != PB_BYTES;

    if (!json_begin_array(&t->r))
        return;
    if (packed)
        at = begin_length(t, f->number);
    for (*index = 0; json_next_item(&t->r); *index += !t->r.fault)
        if (packed)
            read_scalar(t, f->type);
        else
            read_value(t, f);
    if (packed && !t->r.fault)
        end_length(t, at);
}

static void read_member(struct translation *t, const struct json_field *f)
{
    if (json_peek(&t->r) == JSON_NULL) {
        json_read_null(&t->r);
        return;
    }
    if (t->n_path == MAX_PATH) {
        json_fail(&t->r, "nested too deeply");
        return;
    }
    t->path[t->n_path].name = f->name;
    t->path[t->n_path++].index = SIZE_MAX;
    if (f->repeated)
        read_repeated(t, f);
    else
        read_value(t, f);
    if (!t->r.fault) /* else the path names where */
        t->n_path--;
}

/* Members mostly come in the order of the table, so that the search goes on where it was. */
static const struct json_field *find_field(const struct json_message *m, struct str key, size_t *at)
{
    for (size_t i = 0; i < m->n; i++) {
        size_t k = *at + i < m->n ? *at + i : *at + i - m->n;

        if (str_is(key, m->fields[k].name)) {
            *at = k;
            return &m->fields[k];
        }
    }
    return NULL;
}

static void read_message(struct translation *t, const struct json_message *m)
{
    struct str key;
    size_t at = 0;

    if (!json_begin_object(&t->r))
        return;
    while (json_next_member(&t->r, &key)) {
        const struct json_field *f = find_field(m, key, &at);

        if (f)
            read_member(t, f);
        else
            json_skip(&t->r);
    }
}

/* ---- the whole ---- */

static enum errc report(const struct translation *t, struct err *err)
{
    struct buf path = { 0 };
    size_t at = json_offset(&t->r);
    enum errc rc;

    if (t->out->failed || t->scratch.failed || t->r.key.failed)
        return err_set(err, ERR_NOMEM, 0, "OTLP JSON: out of memory");
    if (t->out->len > t->max)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "OTLP JSON: the request takes more than the %zu bytes that are allowed",
                       t->max);
    for (size_t i = 0; i < t->n_path; i++) {
        buf_printf(&path, "%s%s", i ? "." : "", t->path[i].name);
        if (t->path[i].index != SIZE_MAX)
            buf_printf(&path, "[%zu]", t->path[i].index);
    }
    rc = err_set(err, ERR_BAD_DATA, (uint32_t)at, "OTLP JSON: %.*s%s%s at byte %zu",
                 STR_ARG(buf_as_str(&path)), path.len ? ": " : "", t->r.fault, at);
    buf_free(&path);
    return rc;
}

enum errc otlp_json_to_protobuf(struct bytes json, size_t max, struct buf *out, struct err *err)
{
    struct translation t = { .r = json_reader_on((struct str){ (const char *)json.ptr, json.len }),
                             .out = out,
                             .max = max };
    enum errc rc = OK;

    buf_clear(out);
    read_message(&t, &request_message);
    json_end(&t.r);
    if (t.r.fault || out->failed || t.scratch.failed || out->len > max)
        rc = report(&t, err);
    if (rc != OK)
        buf_clear(out);
    json_reader_free(&t.r);
    buf_free(&t.scratch);
    return rc;
}
