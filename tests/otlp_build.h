/* otlp_build.h -- requests of OTLP in tests: a resource, a scope, metrics, data points. */
#pragma once

#include "pb_build.h"

static inline void pb_put_fixed64(struct buf *b, uint32_t number, uint64_t v)
{
    pb_put_key(b, number, 1);
    buf_u64(b, v);
}

/* A KeyValue with a text as field number of b. */
static inline void otlp_put_attribute(struct buf *b, uint32_t number, const char *key,
                                      const char *value)
{
    struct buf any = { 0 }, pair = { 0 };

    pb_put_text(&any, 1, value);
    pb_put_text(&pair, 1, key);
    pb_put_message(&pair, 2, &any);
    pb_put_message(b, number, &pair);
    buf_free(&any);
    buf_free(&pair);
}

/* start and time of any data point. */
static inline void otlp_put_times(struct buf *point, int64_t start_ms, int64_t t_ms)
{
    if (start_ms)
        pb_put_fixed64(point, 2, (uint64_t)start_ms * 1000000);
    pb_put_fixed64(point, 3, (uint64_t)t_ms * 1000000);
}

static inline void otlp_put_packed_fixed64(struct buf *b, uint32_t number, const uint64_t *v,
                                           size_t n)
{
    pb_put_key(b, number, 2);
    buf_uvarint(b, 8 * n);
    for (size_t i = 0; i < n; i++)
        buf_u64(b, v[i]);
}

static inline void otlp_put_packed_double(struct buf *b, uint32_t number, const double *v, size_t n)
{
    pb_put_key(b, number, 2);
    buf_uvarint(b, 8 * n);
    for (size_t i = 0; i < n; i++)
        buf_u64(b, f64_bits(v[i]));
}

/* Adds a metric to a scope's metrics: data, of kind (5 gauge, 7 sum, 9 histogram, 10 exponential,
 * 11 summary), is emptied. */
static inline void otlp_put_metric(struct buf *scope, const char *name, const char *unit,
                                   uint32_t kind, struct buf *data)
{
    struct buf metric = { 0 };

    pb_put_text(&metric, 1, name);
    pb_put_text(&metric, 3, unit);
    pb_put_message(&metric, kind, data);
    pb_put_message(scope, 2, &metric);
    buf_free(&metric);
}

/* Adds metrics under a resource of attributes key, value, ..., NULL to the request. */
static inline void otlp_put_resource(struct buf *request, const char *const *attributes,
                                     struct buf *scope)
{
    struct buf resource = { 0 }, all = { 0 };

    for (; *attributes; attributes += 2)
        otlp_put_attribute(&resource, 1, attributes[0], attributes[1]);
    pb_put_message(&all, 1, &resource);
    pb_put_message(&all, 2, scope);
    pb_put_message(request, 1, &all);
    buf_free(&resource);
    buf_free(&all);
}
