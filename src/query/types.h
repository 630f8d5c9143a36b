/* types.h -- what type an expression has, and whether its parts fit.
 *
 * Only the first fault is reported: children come before their parent's own checks. Texts are
 * Prometheus'.
 */
#pragma once

#include "base/err.h"
#include "query/ast.h"

/* The type of a node whose children have theirs. */
enum value_type node_natural_type(const struct node *n);

/* Checks a whole tree. Makes set operators many-to-many, and drops what was written about matching
 * where an operand is a scalar and no label was named. ERR_BAD_QUERY. */
MUST_USE enum errc types_check(struct node *n, struct err *err);
