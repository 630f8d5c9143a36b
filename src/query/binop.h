/* binop.h -- what the binary operators' files share: binop.c (scalars), binop_histogram.c (pairs of
 * samples with histograms), match.c (vector with vector), setop.c (and, or, unless).
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

/* ---- with histograms ---- */

struct operand {
    double v;
    const struct histogram *h; /* NULL: a float */
};

/* What the operator had to say at a step. Of several only the last is told, as in Prometheus. */
enum binary_note {
    NOTE_NONE,
    NOTE_FLOAT_FLOAT, /* operands that do not go together: no result */
    NOTE_FLOAT_HISTOGRAM,
    NOTE_HISTOGRAM_FLOAT,
    NOTE_HISTOGRAM_HISTOGRAM,
    NOTE_LAYOUT,    /* exponential with custom buckets: no result */
    NOTE_COLLISION, /* of counter resets: no result */
    NOTE_RECONCILED /* custom bounds: a result all the same */
};

/* The operator of n applied to two samples of which one is a histogram, or which a trim operator
 * is applied to. What is made lies in the scratch arena. out->v is absent() when a filter drops the
 * pair; *fits is false when there is no result since the operands do not go together. kept: as in
 * binary_value(). ERR_LIMIT. */
MUST_USE enum errc binary_samples(struct query *q, const struct node *n, struct operand l,
                                  struct operand r, struct operand kept, struct operand *out,
                                  enum binary_note *note, struct err *err);

static inline bool binary_note_drops(enum binary_note note)
{
    return note != NOTE_NONE && note != NOTE_RECONCILED;
}

/* The last note of each step; made when the first comes up. */
struct binary_notes {
    uint8_t *by_step;
};

MUST_USE enum errc binary_notes_add(struct query *q, struct binary_notes *notes, size_t step,
                                    enum binary_note note, struct err *err);
/* Annotates what the steps are left with. */
void binary_notes_tell(struct query *q, const struct binary_notes *notes, const struct node *n);

MUST_USE enum errc eval_match(struct query *q, const struct node *n, sink *to, void *ctx,
                              struct err *err);
MUST_USE enum errc eval_set_operation(struct query *q, const struct node *n, sink *to, void *ctx,
                                      struct err *err);
