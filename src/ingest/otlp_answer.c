/* otlp_answer.c
 *
 *   Export...Response      1 partial_success {1 rejected int64  2 error_message}
 *   Status                 1 code int32  2 message
 *   Export...Request       1 Resource... {2 Scope... {2 item*}*}*
 */
#include "ingest/otlp_answer.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/json_reader.h"
#include "ingest/pbwire.h"

#include "base/banned.h"

static const struct signal {
    const char *rejected;                /* the field's name in JSON */
    const char *resource, *scope, *item; /* the same in a request */
} signals[] = {
    [OTLP_METRICS] = { "rejectedDataPoints", "resourceMetrics", "scopeMetrics", "metrics" },
    [OTLP_TRACES] = { "rejectedSpans", "resourceSpans", "scopeSpans", "spans" },
    [OTLP_LOGS] = { "rejectedLogRecords", "resourceLogs", "scopeLogs", "logRecords" },
};

static void put_valid_utf8(struct buf *b, struct str s)
{
    while (s.len) {
        size_t n;
        uint32_t c = utf8_decode(s, &n);
        char utf8[4];

        buf_add(b, utf8, utf8_encode(c, utf8));
        s = (struct str){ s.ptr + n, s.len - n };
    }
}

/* number and text, as fields 1 and 2. */
static void put_number_and_text(struct buf *b, uint64_t number, struct str text)
{
    if (number) {
        buf_u8(b, PB_KEY(1, PB_VARINT));
        buf_uvarint(b, number);
    }
    if (text.len) {
        struct buf valid = { 0 };

        put_valid_utf8(&valid, text);
        buf_u8(b, PB_KEY(2, PB_BYTES));
        buf_uvarint(b, valid.len);
        buf_add(b, valid.ptr, valid.len);
        b->failed |= valid.failed;
        buf_free(&valid);
    }
}

void otlp_answer(struct buf *b, bool json, enum otlp_signal signal, uint64_t rejected,
                 struct str message)
{
    struct buf partial = { 0 };

    if (json) {
        buf_u8(b, '{');
        if (rejected || message.len) /* 64-bit integers are strings */
            buf_printf(b, "\"partialSuccess\":{\"%s\":\"%" PRIu64 "\",\"errorMessage\":",
                       signals[signal].rejected, rejected);
        if (rejected || message.len) {
            json_string(b, message);
            buf_u8(b, '}');
        }
        buf_u8(b, '}');
        return;
    }
    put_number_and_text(&partial, rejected, message);
    if (partial.len) {
        buf_u8(b, PB_KEY(1, PB_BYTES));
        buf_uvarint(b, partial.len);
        buf_add(b, partial.ptr, partial.len);
    }
    b->failed |= partial.failed;
    buf_free(&partial);
}

void otlp_status(struct buf *b, bool json, enum rpc_code code, struct str message)
{
    if (!json) {
        put_number_and_text(b, code, message);
        return;
    }
    buf_printf(b, "{\"code\":%d,\"message\":", code);
    json_string(b, message);
    buf_u8(b, '}');
}

/* ---- counting what is not kept ---- */

enum { LEVELS = 3 };

static uint64_t count_protobuf(struct bytes message, unsigned level)
{
    struct pb_reader r = pb_on(message);
    uint32_t number = level == 0 ? 1 : 2;
    struct pb_field f;
    uint64_t n = 0;

    while (pb_next(&r, &f))
        if (f.key == PB_KEY(number, PB_BYTES))
            n += level == LEVELS - 1 ? 1 : count_protobuf(f.bytes, level + 1);
    return n;
}

static uint64_t count_json(struct json_reader *r, const struct signal *s, unsigned level)
{
    const char *name = level == 0 ? s->resource : level == 1 ? s->scope : s->item;
    struct str key;
    uint64_t n = 0;

    if (!json_begin_object(r))
        return 0;
    while (json_next_member(r, &key)) {
        if (!str_is(key, name) || json_peek(r) != JSON_ARRAY) {
            json_skip(r);
            continue;
        }
        if (!json_begin_array(r))
            break;
        while (json_next_item(r)) {
            n += level < LEVELS - 1 ? count_json(r, s, level + 1) : 1;
            if (level == LEVELS - 1)
                json_skip(r);
        }
    }
    return n;
}

uint64_t otlp_count_items(struct bytes body, bool json, enum otlp_signal signal)
{
    struct json_reader r;
    uint64_t n;

    if (!json)
        return count_protobuf(body, 0);
    r = json_reader_on((struct str){ (const char *)body.ptr, body.len });
    n = count_json(&r, &signals[signal], 0);
    json_reader_free(&r);
    return n;
}
