/* binop_histogram.c
 *
 *   left       right      operators with a result
 *   histogram  float      * /  </ >/
 *   float      histogram  *
 *   histogram  histogram  + -  == !=
 */
#include "query/binop.h"

#include <string.h>

#include "base/arena.h"
#include "query/histogram_ops.h"
#include "query/histogram_stats.h"

#include "base/banned.h"

/* Gives a histogram that was made in the arena for parts, which is emptied. */
static enum errc made(struct query *q, const struct histogram *h, struct operand *out,
                      struct err *err)
{
    if (h)
        h = histogram_copy(q->scratch, h);
    arena_reset(q->temp);
    if (!h)
        return eval_arena_full(q, err);
    *out = (struct operand){ 0, h };
    return OK;
}

static enum errc scaled(struct query *q, const struct histogram *h, double factor, double divisor,
                        struct operand *out, struct err *err)
{
    const struct histogram *product = histogram_scaled(q->temp, h, factor, divisor);

    return made(q, product ? histogram_compacted(q->temp, product) : NULL, out, err);
}

static enum errc histogram_with_float(struct query *q, enum binary_op op, const struct histogram *l,
                                      double r, struct operand *out, enum binary_note *note,
                                      struct err *err)
{
    switch (op) {
    case OP_MUL:
        return scaled(q, l, r, 1, out, err);
    case OP_DIV:
        return scaled(q, l, 1, r, out, err);
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
        return made(q, histogram_trimmed(q->temp, l, r, op == OP_TRIM_LOWER), out, err);
    default:
        *note = NOTE_HISTOGRAM_FLOAT;
        return OK;
    }
}

static enum errc added(struct query *q, enum binary_op op, const struct histogram *l,
                       const struct histogram *r, struct operand *out, enum binary_note *note,
                       struct err *err)
{
    unsigned notes = 0;
    struct histogram *h = op == OP_ADD ? histogram_added(q->temp, l, r, true, &notes)
                                       : histogram_subtracted(q->temp, l, r, true, &notes);

    if (h && op == OP_SUB)
        h->hint = HINT_GAUGE;
    if (notes & HISTOGRAMS_RECONCILED)
        *note = NOTE_RECONCILED;
    if (notes & HISTOGRAMS_COLLIDING)
        *note = NOTE_COLLISION;
    if (notes & HISTOGRAMS_INCOMPATIBLE)
        *note = NOTE_LAYOUT;
    return made(q, h, out, err);
}

static enum errc histogram_with_histogram(struct query *q, const struct node *n, struct operand l,
                                          struct operand r, struct operand kept,
                                          struct operand *out, enum binary_note *note,
                                          struct err *err)
{
    enum binary_op op = n->binary.op;
    bool holds;

    switch (op) {
    case OP_ADD:
    case OP_SUB:
        return added(q, op, l.h, r.h, out, note, err);
    case OP_EQ:
    case OP_NE:
        holds = histogram_equal(l.h, r.h) == (op == OP_EQ);
        if (n->binary.return_bool)
            *out = (struct operand){ holds, NULL };
        else
            *out = holds ? kept : (struct operand){ absent(), NULL };
        return OK;
    default:
        *note = NOTE_HISTOGRAM_HISTOGRAM;
        return OK;
    }
}

enum errc binary_samples(struct query *q, const struct node *n, struct operand l, struct operand r,
                         struct operand kept, struct operand *out, enum binary_note *note,
                         struct err *err)
{
    enum binary_op op = n->binary.op;

    *note = NOTE_NONE;
    *out = (struct operand){ absent(), NULL };
    if (l.h && r.h)
        return histogram_with_histogram(q, n, l, r, kept, out, note, err);
    if (l.h)
        return histogram_with_float(q, op, l.h, r.v, out, note, err);
    if (r.h && op == OP_MUL)
        return scaled(q, r.h, l.v, 1, out, err);
    if (r.h)
        *note = NOTE_FLOAT_HISTOGRAM;
    else if (binary_op_is_trim(op))
        *note = NOTE_FLOAT_FLOAT;
    else
        out->v = binary_value(n, l.v, r.v, kept.v);
    return OK;
}

/* ---- notes ---- */

enum errc binary_notes_add(struct query *q, struct binary_notes *notes, size_t step,
                           enum binary_note note, struct err *err)
{
    if (note == NOTE_NONE)
        return OK;
    if (!notes->by_step && !(notes->by_step = ARENA_NEW(q->arena, uint8_t, q->steps.n)))
        return eval_arena_full(q, err);
    notes->by_step[step] = (uint8_t)note;
    return OK;
}

static void tell(struct query *q, enum binary_note note, const struct node *n)
{
    static const char *const operands[][2] = {
        [NOTE_FLOAT_FLOAT] = { "float", "float" },
        [NOTE_FLOAT_HISTOGRAM] = { "float", "histogram" },
        [NOTE_HISTOGRAM_FLOAT] = { "histogram", "float" },
        [NOTE_HISTOGRAM_HISTOGRAM] = { "histogram", "histogram" },
    };
    const char *op = binary_op_text(n->binary.op);
    const char *what = n->binary.op == OP_SUB ? "subtraction" : "addition";

    switch (note) {
    case NOTE_NONE:
        return;
    case NOTE_LAYOUT:
        annotate(q, ANNOTATION_WARNING, n->pos,
                 "incompatible bucket layout encountered for binary operator %s", op);
        return;
    case NOTE_COLLISION:
        annotate(q, ANNOTATION_WARNING, n->pos, "conflicting counter resets during histogram %s",
                 what);
        return;
    case NOTE_RECONCILED:
        annotate(q, ANNOTATION_INFO, n->pos, "mismatched custom buckets were reconciled during %s",
                 what);
        return;
    default:
        annotate(q, ANNOTATION_INFO, n->pos,
                 "incompatible sample types encountered for binary operator \"%s\": %s %s %s", op,
                 operands[note][0], op, operands[note][1]);
    }
}

void binary_notes_tell(struct query *q, const struct binary_notes *notes, const struct node *n)
{
    bool told[NOTE_RECONCILED + 1] = { 0 };

    for (size_t i = 0; notes->by_step && i < q->steps.n; i++) {
        if (!told[notes->by_step[i]])
            tell(q, notes->by_step[i], n);
        told[notes->by_step[i]] = true;
    }
}
