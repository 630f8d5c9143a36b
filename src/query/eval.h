/* eval.h -- evaluating a checked tree: the query's context and the calls its parts share. Internal
 * to src/query.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "query/annotations.h"
#include "query/ast.h"
#include "query/query.h"
#include "query/value.h"

struct arena;
struct db_view;

/* One evaluation: the whole query, or the inside of a subquery, which has its own steps and shares
 * the rest. */
struct query {
    const struct query_options *options;
    struct arena *arena;
    /* Histograms of the one series that is on its way through the sinks, made by what it has passed.
     * Who emits series one after the other empties it before each (query_next_series()), so that a
     * thread that evaluates a part of a query needs both of its own. */
    struct arena *scratch;
    struct arena *temp; /* for the parts of one operation on histograms, which empties it */
    struct str text;
    struct steps steps;
    struct query_shared *shared; /* deadline, counters, view: the same for all nested evaluations */
    struct annotations *annotations;
};

/* Evaluates a vector expression: calls to once for each series that has a value at some step, in no
 * promised order. A scalar expression yields one series without labels. Label sets may repeat only
 * where they do not overlap in time; the root and the operators that need it check
 * (eval_check_duplicates). */
MUST_USE enum errc eval_each(struct query *q, const struct node *n, sink *to, void *ctx,
                             struct err *err);

/* The same, kept in the arena. */
MUST_USE enum errc eval_vector(struct query *q, const struct node *n, struct vector *out,
                               struct err *err);

/* A scalar expression: its value at every step, in the arena. */
MUST_USE enum errc eval_scalar(struct query *q, const struct node *n, double **out,
                               struct err *err);

/* The text of a string expression (literal, maybe in parentheses). */
struct str eval_string(const struct node *n);

/* A deep copy of s appended to v, in the arena: what a collecting sink does. Its samples count as
 * held until vector_release(). ERR_LIMIT. */
MUST_USE enum errc vector_add(struct query *q, struct vector *v, const struct fseries *s,
                              struct err *err);

/* Stops counting the samples of v. */
void vector_release(struct query *q, struct vector *v);

/* Gives up the histograms of the series emitted before. */
void query_next_series(struct query *q);

/* n_steps pointers set to NULL, in the arena. ERR_LIMIT. */
MUST_USE enum errc histograms_new(struct query *q, const struct histogram ***out, struct err *err);

/* n_steps values set to absent, in the arena. ERR_LIMIT. */
MUST_USE enum errc values_new(struct query *q, double **out, struct err *err);

/* To be called in inner loops, about every ten thousand samples: ERR_TIMEOUT, ERR_CANCELED. */
MUST_USE enum errc query_poll(struct query *q, struct err *err);
/* The same at step i of a loop over histograms, where each may be large: every 64th time. */
MUST_USE enum errc query_poll_at(struct query *q, size_t i, struct err *err);

/* Counts samples held in memory: ERR_LIMIT `query processing would load too many samples into
 * memory in query execution`. query_release gives them back. */
MUST_USE enum errc query_hold(struct query *q, uint64_t samples, struct err *err);
void query_release(struct query *q, uint64_t samples);

/* ERR_EXECUTION `vector cannot contain metrics with the same labelset` when two series of v have
 * the same labels (as they stand: a dropped name still counts) and a value at the same step. */
MUST_USE enum errc eval_check_duplicates(struct query *q, const struct vector *v, struct err *err);

/* ERR_LIMIT `query needs more than N bytes`: what to return when the arena is full. */
MUST_USE enum errc eval_arena_full(const struct query *q, struct err *err);

/* ---- the parts, one file each ---- */

MUST_USE enum errc eval_binary(struct query *q, const struct node *n, sink *to, void *ctx,
                               struct err *err);
MUST_USE enum errc eval_aggregate(struct query *q, const struct node *n, sink *to, void *ctx,
                                  struct err *err);

/* One arithmetic, comparison (1 or 0) or atan2 operation on floats. */
double binary_arith(enum binary_op op, double l, double r);

/* ---- labels of results (query/labelset.c) ---- */

/* A growing label set in the arena: start from base, change, read. Results are canonical and share
 * base's texts. */
MUST_USE enum errc labels_without_metadata(struct query *q, struct labels ls, struct labels *out,
                                           struct err *err);
MUST_USE enum errc labels_keep(struct query *q, struct labels ls, const struct str *names, size_t n,
                               struct labels *out, struct err *err);
/* Drops the given names, and __name__ too when drop_name is true. */
MUST_USE enum errc labels_drop(struct query *q, struct labels ls, const struct str *names, size_t n,
                               bool drop_name, struct labels *out, struct err *err);
/* Sets one label (an empty value removes it). */
MUST_USE enum errc labels_set(struct query *q, struct labels ls, struct str name, struct str value,
                              struct labels *out, struct err *err);
