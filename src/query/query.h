/* query.h -- PromQL queries from text to result: what http and alert use.
 *
 * A query_result owns its memory (one arena with a byte limit) and stays valid after the store's
 * view is closed. Limits: samples in memory, bytes, a deadline, and a cancel flag, all checked
 * while evaluating.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "query/ast.h"
#include "storage/labels.h"

struct db;
struct histogram;

struct query_options {
    struct db *db;
    int64_t lookback_ms;       /* 5 min */
    int64_t subquery_step_ms;  /* 1 min: of subqueries that name none */
    int64_t timeout_ms;        /* 2 min */
    uint64_t max_samples;      /* 50,000,000 */
    size_t max_bytes;          /* of the query's arena: 1 GiB */
    const struct clock *clock; /* NULL: clock_system */
    const atomic_bool *cancel; /* becomes true when the client has left; may be NULL */
};

struct query_options query_options_default(struct db *db);

/* A point of a matrix. */
struct point {
    int64_t t_ms;
    double v;
};

struct result_series {
    struct labels labels;
    struct point *points;
    /* NULL: floats only. Else as long as points: the histogram that is there in place of v. */
    const struct histogram **h;
    size_t n_points;
};

static inline const struct histogram *result_histogram(const struct result_series *s, size_t point)
{
    return s->h ? s->h[point] : NULL;
}

/* A vector has one point a series; a scalar is one series without labels, a string has neither. */
struct query_result {
    enum value_type type;
    struct result_series *series;
    size_t n_series;
    struct str string;
    int64_t t_ms;                 /* of a scalar or string */
    struct str *warnings, *infos; /* full texts, at most 10 each and one that counts the rest */
    size_t n_warnings, n_infos;
    uint64_t samples, peak_samples; /* read in all; most held at once */
    struct arena *arena;            /* private: owns all of the above */
};

/* Evaluates text at t_ms. ERR_BAD_QUERY: err.msg is the full `1:3: parse error: …`; ERR_EXECUTION,
 * ERR_LIMIT, ERR_TIMEOUT, ERR_CANCELED, ERR_CORRUPT, ERR_IO. The texts of err live
 * in err->arena. */
MUST_USE enum errc query_instant(const struct query_options *o, struct str text, int64_t t_ms,
                                 struct query_result **out, struct err *err);

/* Evaluates text at start, start + step, … <= end. The caller has checked step > 0, end >= start
 * and the number of steps.
 */
MUST_USE enum errc query_range(const struct query_options *o, struct str text, int64_t start_ms,
                               int64_t end_ms, int64_t step_ms, struct query_result **out,
                               struct err *err);

void query_result_free(struct query_result *r); /* NULL is fine */
