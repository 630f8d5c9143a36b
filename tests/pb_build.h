/* pb_build.h -- writing protobuf messages in tests, a field at a time. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

static inline void pb_put_key(struct buf *b, uint32_t number, uint32_t wire)
{
    buf_uvarint(b, (uint64_t)number << 3 | wire);
}

static inline void pb_put_varint(struct buf *b, uint32_t number, uint64_t v)
{
    pb_put_key(b, number, 0);
    buf_uvarint(b, v);
}

static inline void pb_put_double(struct buf *b, uint32_t number, double v)
{
    pb_put_key(b, number, 1);
    buf_u64(b, f64_bits(v));
}

static inline void pb_put_bytes(struct buf *b, uint32_t number, struct bytes v)
{
    pb_put_key(b, number, 2);
    buf_uvarint(b, v.len);
    buf_add(b, v.ptr, v.len);
}

static inline void pb_put_text(struct buf *b, uint32_t number, const char *text)
{
    pb_put_bytes(b, number, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

/* Adds sub as a field and empties it for its next use. */
static inline void pb_put_message(struct buf *b, uint32_t number, struct buf *sub)
{
    pb_put_bytes(b, number, buf_as_bytes(sub));
    buf_clear(sub);
}

/* Label and Sample of remote write 1.0, as fields of a TimeSeries. */
static inline void pb_put_label(struct buf *series, const char *name, const char *value)
{
    struct buf label = { 0 };

    pb_put_text(&label, 1, name);
    pb_put_text(&label, 2, value);
    pb_put_message(series, 1, &label);
    buf_free(&label);
}

static inline void pb_put_sample(struct buf *series, double v, int64_t t_ms)
{
    struct buf sample = { 0 };

    pb_put_double(&sample, 1, v);
    pb_put_varint(&sample, 2, (uint64_t)t_ms);
    pb_put_message(series, 2, &sample);
    buf_free(&sample);
}
