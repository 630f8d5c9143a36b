/* value.h -- what expressions evaluate to: series with one value per step.
 *
 * Evaluation is pushed: a node's evaluator calls a sink once for each series it yields, with the
 * values of all steps; the sink computes on or folds them and returns. So an aggregate over a
 * hundred thousand series holds one of them at a time. Where the absence of a sample must be told
 * from a value, v[i] holds the staleness marker's bits: a result never contains one, and no
 * arithmetic makes one, since every operation quiets a NaN.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/labels.h"
#include "storage/sample.h"

struct arena;

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
};

/* Receives one series; whatever is not OK ends the evaluation. */
typedef enum errc sink(void *ctx, struct fseries *s, struct err *err);

/* A sink for what is evaluated only for its errors and annotations. */
sink sink_discard;

/* Series kept for later, all in the query's arena. */
struct vector {
    struct fseries *items;
    size_t n, cap;
};
