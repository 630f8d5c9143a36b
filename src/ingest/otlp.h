/* otlp.h -- OTLP metrics (opentelemetry-proto, collector/metrics/v1): bytes of an
 * ExportMetricsServiceRequest to a batch for db_append(), as Prometheus translates them.
 *
 * A data point becomes one series or several: a histogram _bucket, _sum and _count, or one native
 * histogram. What is wrong with a metric or a data point costs that one only: it is counted by
 * reason and named, the others are in the batch. Bytes that are no protobuf or JSON message at all
 * are ERR_BAD_DATA for the whole.
 *
 * Texts are not copied where they can stand as they came: the batch points into the body and into
 * memory of struct otlp. Arrays are kept from one request to the next.
 *
 * Threads: one struct otlp belongs to one request at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "ingest/otlp_names.h"
#include "storage/db.h"

struct arena;

/* Limits of one request. A few bytes may ask for several series of many labels each, so that the
 * size of a body does not bound what it makes. */
enum {
    OTLP_MAX_BYTES = 32 << 20, /* decoded */
    OTLP_MAX_SERIES = 500000,
    OTLP_MAX_SAMPLES = 500000,
    OTLP_MAX_LABELS = 4000000, /* of all series */
    OTLP_MAX_POINT_LABELS = 256,
    OTLP_MAX_METADATA = 100000,
    OTLP_MAX_EXEMPLARS = 500000
};

/* What becomes of delta temporality. */
enum otlp_delta_mode { OTLP_DELTA_CONVERT, OTLP_DELTA_REJECT, OTLP_DELTA_RAW };

/* The `otlp` section of the configuration. Lists are borrowed. */
struct otlp_options {
    enum otlp_strategy strategy;
    enum otlp_delta_mode delta;
    bool keep_label_underscore; /* _x stays _x, and does not become key_x */
    bool collapse_underscores;  /* in labels: a__b becomes a_b */
    bool promote_all;           /* all resource attributes but those in ignore become labels */
    bool keep_identifying;      /* service.name and kin stay in target_info */
    bool promote_scope;
    bool custom_buckets; /* explicit histograms become native ones with custom buckets */
    const struct str *promote, *ignore;
    size_t n_promote, n_ignore;
    int64_t lookback_ms; /* target_info is repeated twice as often; 5 min */
};

struct otlp_options otlp_options_default(void);

/* Why a data point is not in the batch. */
enum otlp_reject {
    OTLP_REJECT_NAME,        /* no character of the metric's name can stay */
    OTLP_REJECT_ATTRIBUTES,  /* one cannot be a label, or there are too many */
    OTLP_REJECT_TEMPORALITY, /* not given */
    OTLP_REJECT_DELTA,       /* refused by the configuration */
    OTLP_REJECT_OVERLAP,     /* delta for a time that has been added already */
    OTLP_REJECT_NO_VALUE,
    OTLP_REJECT_INVALID, /* a histogram that contradicts itself */
    OTLP_REJECT_STORE,   /* refused by db_append() */
    OTLP_REJECT_COUNT
};
const char *otlp_reject_name(enum otlp_reject reason); /* "name", ...: a metric label value */

/* A data point: consecutive series of the batch. */
struct otlp_point {
    uint32_t first_series, n_series;
    int64_t start_ms, t_ms; /* start 0: unknown */
    bool delta;             /* to be converted before the batch is appended */
    bool anonymous;         /* cumulative, of a resource without service.instance.id */
    bool dropped;           /* rejected after it was read: its series hold nothing any more */
};

struct otlp_label_set {
    struct label items[OTLP_MAX_POINT_LABELS + 2];
    uint8_t ranks[OTLP_MAX_POINT_LABELS + 2];
    size_t n;
    bool collided; /* two attributes became one label */
    bool bad;      /* one cannot be a label, or there are too many */
};

enum { OTLP_CACHED_NAMES = 256, OTLP_CACHED_BOUNDS = 64, OTLP_SHAPE_KEYS = 32 };

/* The attributes of the data point before: the next one mostly has the same keys in the same order,
 * so that its values go straight to their places among the labels. */
struct otlp_shape {
    struct str keys[OTLP_SHAPE_KEYS];
    uint8_t at[OTLP_SHAPE_KEYS]; /* where in set the value of each belongs */
    size_t n, next;              /* next: the attribute that is expected now */
    bool known, fits;            /* fits: the data point being read has had no other so far */
    struct otlp_label_set set;
};

/* Zero-initialise it; free it with otlp_free(). */
struct otlp {
    struct write_batch batch; /* after OK; valid until the next call */
    struct otlp_point *points;
    size_t n_points;
    uint64_t rejected[OTLP_REJECT_COUNT]; /* data points */
    struct buf text;                      /* a line for each of the first rejections */
    uint64_t n_ignored;                   /* metrics of a kind that is not known */

    /* private from here on */
    const struct otlp_options *options;
    struct otlp_label_rules rules;
    struct arena *arena; /* texts that had to be made */
    struct buf json;     /* a JSON body as protobuf */
    struct label *labels;
    struct write_series *series;
    struct sample *samples;
    int64_t *starts;
    struct write_histogram *histograms;
    struct exemplar *exemplars;
    struct metric_metadata *metadata;
    size_t n_labels, cap_labels, cap_series, cap_samples, cap_starts, cap_histograms, cap_exemplars,
        cap_metadata, cap_points, n_named;
    struct otlp_label_set base, point; /* of the scope, of the data point being read */
    struct otlp_shape shape;
    bool anonymous; /* the resource has no instance id */
    struct {
        struct str key, name;
    } names[OTLP_CACHED_NAMES];
    struct {
        double bounds[OTLP_CACHED_BOUNDS];
        struct str le[OTLP_CACHED_BOUNDS];
        size_t n;
    } bounds;                   /* those of the last histogram as text */
    int64_t min_t_ms, max_t_ms; /* of the resource's data points */
    struct {
        size_t resource, scope, metric;
        struct str name;
    } at;
    struct bytes body;
    enum errc rc;
    struct err *err;
};

/* Reads a request. After an error the batch is empty.
 *   ERR_BAD_DATA   not such a message: the text names what and where
 *   ERR_TOO_LARGE  over one of the limits above
 *   ERR_NOMEM */
MUST_USE enum errc otlp_read(struct otlp *o, const struct otlp_options *options, struct bytes body,
                             struct err *err);

/* The same for a body of JSON. */
MUST_USE enum errc otlp_read_json(struct otlp *o, const struct otlp_options *options,
                                  struct bytes body, struct err *err);

/* Counts and names a data point that is not stored after all. */
void otlp_reject(struct otlp *o, enum otlp_reject reason, uint64_t n, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* After db_append(): counts the data points of which something was not stored. */
void otlp_count_unstored(struct otlp *o);

/* Forgets the request; keeps memory for one of a usual size and gives the rest back. */
void otlp_recycle(struct otlp *o);

void otlp_free(struct otlp *o); /* leaves it zeroed */
