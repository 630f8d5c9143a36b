/* binop.h -- what the binary operators' files share: binop.c (scalars), match.c (vector with
 * vector), setop.c (and, or, unless).
 */
#pragma once

#include <stdbool.h>

#include "query/eval.h"

/* + - * / % ^ atan2: results lose the metric name. */
bool binary_op_is_arithmetic(enum binary_op op);
/* </ and >/, which work on native histograms only. */
bool binary_op_is_trim(enum binary_op op);

/* The operator of binary expression n applied to two floats: the number, or with a comparison
 * that filters, kept or absent(). Not for set and trim operators. */
double binary_value(const struct node *n, double l, double r, double kept);

/* Says that a trim operator met floats. */
void annotate_float_trim(struct query *q, const struct node *n);

MUST_USE enum errc eval_match(struct query *q, const struct node *n, sink *to, void *ctx,
                              struct err *err);
MUST_USE enum errc eval_set_operation(struct query *q, const struct node *n, sink *to, void *ctx,
                                      struct err *err);
