/* eval_private.h -- what query.c, prepare.c, eval.c and the selectors share beyond eval.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "query/eval.h"

struct db_view;

/* The part of a query's context that nested evaluations share. */
struct query_shared {
    struct db_view *view;
    int64_t start_ms, end_ms, step_ms; /* of the outermost query; step_ms is 0 for an instant one */
    int64_t deadline_ns;
    uint64_t samples; /* read so far */
    uint64_t held, peak;
};

/* Times far out saturate instead of wrapping round. */
static inline int64_t time_add(int64_t a, int64_t b)
{
    int64_t sum;

    return !__builtin_add_overflow(a, b, &sum) ? sum : b < 0 ? INT64_MIN : INT64_MAX;
}

static inline int64_t time_sub(int64_t a, int64_t b)
{
    int64_t difference;

    return !__builtin_sub_overflow(a, b, &difference) ? difference : b > 0 ? INT64_MIN : INT64_MAX;
}

/* The time a selector or subquery looks at, at one step: offset and @ applied. */
static inline int64_t ref_time(const struct steps *steps, const struct modifiers *m, size_t step)
{
    return time_sub(m->at == AT_NONE ? step_time(steps, step) : m->at_ms, m->offset.ms);
}

/* The steps of a subquery inside an evaluation that has these steps; n is 0 when there are none. */
struct steps subquery_steps(const struct node *n, const struct steps *outer);

/* ---- prepare.c ---- */

/* Times from min_ms to max_ms, both included; empty when min_ms > max_ms. */
struct time_span {
    int64_t min_ms, max_ms;
};

/* Rewrites the tree for one evaluation: start(), end(), range() and step() become numbers, duration
 * expressions values, @ start() and @ end() times; parentheses around arguments go, parts with the
 * same value at every step are marked. *span becomes the times of all samples the query may read.
 * ERR_BAD_QUERY for a bad duration. */
MUST_USE enum errc query_prepare(struct query *q, struct node *root, struct time_span *span,
                                 struct err *err);

/* ---- selector.c ---- */

/* What a selector's values are: the samples', or their times in seconds; of start times 0 stands for
 * an unknown one. With PICK_SAMPLE_TIMES, times too, histograms are there beside them. */
enum pick { PICK_VALUES, PICK_TIMES, PICK_START_TIMES, PICK_SAMPLE_TIMES };

/* Evaluates an instant vector selector. */
MUST_USE enum errc eval_selector(struct query *q, const struct node *n, enum pick pick, sink *to,
                                 void *ctx, struct err *err);

/* The samples of one series over all windows of a range, staleness markers removed. As in struct
 * column, h is NULL when all are floats, since_ms when no start time is known. */
struct range_series {
    struct labels labels;
    bool drop_name;
    const int64_t *t_ms;
    const double *v;
    const struct histogram *const *h;
    const int64_t *since_ms; /* when each sample's counter began at zero; 0: unknown */
    size_t n;
};

typedef enum errc range_sink(void *ctx, const struct range_series *s, struct err *err);

/* Calls to for each series of a range selector or subquery, label sets unique. A series may be
 * without samples. */
MUST_USE enum errc range_each(struct query *q, const struct node *n, range_sink *to, void *ctx,
                              struct err *err);

/* The modifiers and the length of a range selector or subquery. */
const struct modifiers *range_modifiers(const struct node *n);
int64_t range_length_ms(const struct node *n);

/* Walks the windows of one series. Zeroed at first, moved by window_at() with rising steps. */
struct window_bounds {
    int64_t start_ms, end_ms; /* (start, end] */
    size_t lo, hi; /* the samples in it, lo <= i < hi; widened when anchored or smoothed */
};

void window_at(struct window_bounds *w, struct query *q, const struct node *range,
               const struct range_series *s, size_t step);

/* ---- range.c ---- */

/* Evaluates a call of a function with .over. */
MUST_USE enum errc eval_over(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err);

/* ---- eval.c ---- */

/* One vector of v's series with equal labels joined. Those that overlap in time are ERR_EXECUTION,
 * as in eval_check_duplicates(). */
MUST_USE enum errc vector_join(struct query *q, struct vector *v, struct err *err);
