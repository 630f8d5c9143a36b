/* otlp_private.h -- what the files otlp*.c share. */
#pragma once

#include "base/arena.h"
#include "ingest/otlp.h"
#include "ingest/pbwire.h"

/* Which label wins when two have one name: the higher rank. */
enum otlp_rank { RANK_PROMOTED, RANK_ATTRIBUTE, RANK_SCOPE, RANK_TARGET, RANK_OWN };

/* Ends the reading with an error; the first one stays. */
void otlp_fail(struct otlp *o, enum errc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same when there was no memory, or the request would take too much of it. */
void otlp_no_memory(struct otlp *o);

/* Ends the whole reading when the reader of a part has a fault. Always false. */
bool otlp_fault(struct otlp *o, const struct pb_reader *r);

/* pb_next() that does so at the end of its message. A fault noted later (pb_unknown) ends the loop,
 * and is seen by the same call. */
static inline bool otlp_next(struct otlp *o, struct pb_reader *r, struct pb_field *f)
{
    return LIKELY(pb_next(r, f)) || otlp_fault(o, r);
}

/* A copy in the request's arena; empty when out of memory, which o knows then. */
struct str otlp_keep(struct otlp *o, struct str s);

/* ---- labels (otlp_labels.c) ---- */

/* Puts a label into a set, at its place. An empty value is no label. */
void otlp_set_add(struct otlp *o, struct otlp_label_set *set, struct str name, struct str value,
                  enum otlp_rank rank);

/* The label name for an attribute; false when it cannot be one. */
bool otlp_label_of(struct otlp *o, struct str key, struct str *name);

/* Adds a KeyValue to a set. */
void otlp_add_attribute(struct otlp *o, struct otlp_label_set *set, struct bytes key_value,
                        enum otlp_rank rank);

/* The labels of a data point: begins with those of the scope, takes one attribute after the other,
 * and in the end looks at the message again when they were others than the last time. number: the
 * field of the message that attributes stand in. */
void otlp_point_begin(struct otlp *o);
void otlp_point_attribute(struct otlp *o, struct bytes key_value);
void otlp_point_end(struct otlp *o, struct bytes message, uint32_t number);

/* Reads a KeyValue, its value as text. */
void otlp_read_attribute(struct otlp *o, struct bytes key_value, struct str *key,
                         struct str *value);

/* Makes o->base of a resource and a scope (field messages, may be empty), and target_info's labels
 * in o->point; false when there is nothing to tell in target_info. */
void otlp_base_labels(struct otlp *o, struct bytes resource, struct bytes scope,
                      struct str scope_schema);
bool otlp_target_labels(struct otlp *o, struct bytes resource);

/* ---- series (otlp_series.c) ---- */

enum otlp_data {
    OTLP_NO_DATA = 0,
    OTLP_GAUGE_DATA = 5, /* the field numbers of Metric */
    OTLP_SUM_DATA = 7,
    OTLP_HISTOGRAM_DATA = 9,
    OTLP_EXPONENTIAL_DATA = 10,
    OTLP_SUMMARY_DATA = 11
};

struct otlp_metric {
    struct str name, unit, help; /* as sent */
    enum otlp_data data;
    struct bytes message; /* Gauge, Sum, ... */
    uint64_t temporality; /* 0 unspecified, 1 delta, 2 cumulative */
    bool monotonic;
    struct str family, bucket, sum, count; /* translated; the last three when first needed */
};

/* A data point of any kind, as it was read. */
struct otlp_data_point {
    struct bytes message;
    uint64_t start_ns, t_ns, flags;
    double value; /* of a number */
    bool has_value;
    uint64_t count;
    double sum;
    bool has_sum;
    struct bytes bucket_counts, explicit_bounds; /* packed; unpacked ones are copied together */
    int32_t scale;
    uint64_t zero_count;
    struct bytes positive, negative; /* Buckets */
    size_t n_exemplars, n_quantiles;
};

/* Adds the series of one data point, whose labels are in o->point. */
void otlp_add_number(struct otlp *o, const struct otlp_metric *m, const struct otlp_data_point *p);
void otlp_add_histogram(struct otlp *o, struct otlp_metric *m, const struct otlp_data_point *p);
void otlp_add_exponential(struct otlp *o, const struct otlp_metric *m,
                          const struct otlp_data_point *p);
void otlp_add_summary(struct otlp *o, struct otlp_metric *m, const struct otlp_data_point *p);

/* Adds target_info from the first to the last data point of the resource; labels are in o->point. */
void otlp_add_target_info(struct otlp *o);
