/* duration_expr.h -- the value of durations that are written as expressions: [step() + 1m].
 *
 * Literals are checked and converted while parsing. Expressions may speak of the step and the range
 * of the outermost query, so they are evaluated when a query is prepared; their errors have no line
 * and column but start with the byte range START:END: of the expression.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "query/ast.h"

/* The NODE_NUMBER that expr is, maybe in parentheses; NULL for anything else. */
const struct node *duration_literal(const struct node *expr);

/* The value in seconds of a duration expression; step_s and range_s are 0 in an instant query.
 * ERR_BAD_QUERY without position: `division by zero`, `modulo by zero`. */
MUST_USE enum errc duration_eval(const struct node *expr, double step_s, double range_s,
                                 double *out_s, struct err *err);

/* Sets d->ms of an expression; literals and absent durations are left as they are. Ranges and steps
 * must be positive, offsets may be anything. What comes to less than a millisecond becomes absent,
 * so that a step which is there is never 0; only a range may be. ERR_BAD_QUERY without position. */
MUST_USE enum errc duration_prepare(struct duration *d, bool is_offset, double step_s,
                                    double range_s, struct err *err);

/* Whether seconds fit into 63 bits of nanoseconds, as a duration has to; false for NaN. */
bool duration_fits(double seconds);
