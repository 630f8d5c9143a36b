/* functions_impl.h -- the functions that rows of functions.c name but other files define. Internal
 * to src/query.
 *
 * A function is added in three places: its definition in a file of its kind, its line here, and its
 * row's field in functions.c.
 */
#pragma once

#include "base/err.h"
#include "query/functions.h"
#include "query/value.h"

struct node;
struct query;

/* What every .eval is. */
typedef enum errc func_eval(struct query *q, const struct node *call, sink *to, void *ctx,
                            struct err *err);
