/* value.h -- what expressions evaluate to: series with one sample per step, a float or a histogram.
 *
 * Evaluation is pushed: a node's evaluator calls a sink once for each series it yields, with the
 * values of all steps; the sink computes on or folds them and returns. So an aggregate over a
 * hundred thousand series holds one of them at a time. Where the absence of a sample must be told
 * from a value, v[i] holds the staleness marker's bits: a result never contains one, and no
 * arithmetic makes one, since every operation quiets a NaN.
 *
 * Most series are floats only and have no array of histograms, so that floats pay nothing for them:
 * code asks once per series, not once per sample.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/labels.h"
#include "storage/sample.h"

struct arena;
struct histogram;

/* The times start, start + step, … (n of them); step_ms is 1 for an instant query. */
struct steps {
    int64_t start_ms, step_ms;
    size_t n;
};

static inline int64_t step_time(const struct steps *s, size_t i)
{
    return s->start_ms + (int64_t)i * s->step_ms;
}

static inline bool is_absent(double v)
{
    return is_stale(v);
}

static inline double absent(void)
{
    return stale_nan();
}

/* One series over all steps. */
struct fseries {
    struct labels labels; /* canonical; lives as long as the query */
    bool drop_name;       /* __name__, __type__ and __unit__ go when the result is built */
    double *v;            /* n steps; scratch of the caller; the sink may write over it */
    /* NULL: floats only. Else n steps like v: where v[i] is not absent() and h[i] not NULL, the
     * sample of step i is that histogram and v[i] any number. The array is scratch too; what it
     * points to is never written and lives until the sink returns: who keeps a series copies it
     * (vector_add()). */
    const struct histogram **h;
};

static inline const struct histogram *series_histogram(const struct fseries *s, size_t step)
{
    return s->h && !is_absent(s->v[step]) ? s->h[step] : NULL;
}

/* Whether s has a histogram at some step. */
bool series_has_histogram(const struct fseries *s, size_t n_steps);

/* Leaves only the floats of s; false when there are none. */
bool series_keep_floats(struct fseries *s, size_t n_steps);

/* Leaves only the histograms of s, and h an array; false when there are none. */
bool series_keep_histograms(struct fseries *s, size_t n_steps);

/* Whether s has a value at some step. */
bool series_has_value(const struct fseries *s, size_t n_steps);

/* What a histogram counts as in samples: its size over that of a float with its time. */
uint64_t histogram_weight(const struct histogram *h);
/* The weights of n samples of which h says the kind (NULL: floats), absent ones included. */
uint64_t samples_weight(const struct histogram *const *h, size_t n);
/* That of a series' samples, absent ones as floats: what h has there may be gone. */
uint64_t series_weight(const struct fseries *s, size_t n_steps);

/* Receives one series; whatever is not OK ends the evaluation. */
typedef enum errc sink(void *ctx, struct fseries *s, struct err *err);

/* A sink for what is evaluated only for its errors and annotations. */
sink sink_discard;

/* Series kept for later, all in the query's arena. */
struct vector {
    struct fseries *items;
    size_t n, cap;
    uint64_t held; /* samples counted as held for it: vector_release() */
};
