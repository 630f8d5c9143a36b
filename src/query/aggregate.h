/* aggregate.h -- what the aggregations' files share.
 *
 *   aggregate.c         sum avg count min max group stddev stdvar: folded as series arrive
 *   aggregate_select.c  topk bottomk limitk limit_ratio: some of the input series
 *   aggregate_values.c  quantile count_values: all values of a group and step
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "query/eval.h"
#include "query/grouping.h"

/* Zeroed but for q and the labels of by (…) or without (…). Free it with grouping_free(). */
struct grouping aggregate_grouping(struct query *q, const struct node *n);

/* Whether a group's result loses its name: when any of its samples at the last step that has one
 * has lost it. Zero-initialise it. */
struct name_loss {
    size_t last_step;
    bool drop_name;
};

void note_name_loss(struct name_loss *loss, const struct fseries *s, size_t n_steps);

/* The extremes of a parameter over all steps, NaN left out. */
struct param_range {
    double min, max; /* of no number: +Inf, -Inf */
    bool has_nan;
};

struct param_range param_range(const double *v, size_t n);

/* Says that an aggregation has no use for histograms. */
void annotate_ignored_histogram(struct query *q, enum aggregate_op op, uint32_t pos);

/* Adds the warning about a quantile outside 0..1 that is written at pos. */
void annotate_quantile(struct query *q, double value, uint32_t pos);

MUST_USE enum errc eval_topk(struct query *q, const struct node *n, sink *to, void *ctx,
                             struct err *err);
MUST_USE enum errc eval_limitk(struct query *q, const struct node *n, sink *to, void *ctx,
                               struct err *err);
MUST_USE enum errc eval_limit_ratio(struct query *q, const struct node *n, sink *to, void *ctx,
                                    struct err *err);
MUST_USE enum errc eval_quantile(struct query *q, const struct node *n, sink *to, void *ctx,
                                 struct err *err);
MUST_USE enum errc eval_count_values(struct query *q, const struct node *n, sink *to, void *ctx,
                                     struct err *err);
