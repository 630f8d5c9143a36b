/* binop.c
 *
 *   left    right    file     how
 *   scalar  scalar   here     two columns to one
 *   vector  scalar   here     streamed: each series is computed in place and passed on
 *   vector  vector   match.c  arithmetic and comparison: one side is indexed, the other streamed
 *   vector  vector   setop.c  and, or, unless
 *
 * Filtering comparisons keep the vector's value, whichever side it stands on.
 */
#include "query/binop.h"

#include <math.h>

#include "base/banned.h"

enum { POLL_STEPS = 64 }; /* of histograms, between two polls */

double binary_arith(enum binary_op op, double l, double r)
{
    switch (op) {
    case OP_ADD:
        return l + r;
    case OP_SUB:
        return l - r;
    case OP_MUL:
        return l * r;
    case OP_DIV:
        return l / r;
    case OP_MOD:
        return fmod(l, r);
    case OP_POW:
        return pow(l, r);
    case OP_ATAN2:
        return atan2(l, r);
    case OP_EQ:
        return l == r;
    case OP_NE:
        return l != r;
    case OP_LT:
        return l < r;
    case OP_LE:
        return l <= r;
    case OP_GT:
        return l > r;
    case OP_GE:
        return l >= r;
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
    case OP_AND:
    case OP_OR:
    case OP_UNLESS:
    case OP_COUNT:
        break;
    }
    ASSERT(!"an operator on floats");
    return 0;
}

bool binary_op_is_arithmetic(enum binary_op op)
{
    return op <= OP_ATAN2;
}

bool binary_op_is_trim(enum binary_op op)
{
    return op == OP_TRIM_UPPER || op == OP_TRIM_LOWER;
}

double binary_value(const struct node *n, double l, double r, double kept)
{
    double v = binary_arith(n->binary.op, l, r);

    if (binary_op_is_arithmetic(n->binary.op) || n->binary.return_bool)
        return v;
    return v != 0 ? kept : absent();
}

static enum errc eval_scalars(struct query *q, const struct node *n, sink *to, void *ctx,
                              struct err *err)
{
    double *l, *r;
    enum errc rc;

    if (binary_op_is_trim(n->binary.op))
        return err_set(err, ERR_EXECUTION, n->pos,
                       "operator \"%s\" not allowed for Scalar operations",
                       binary_op_text(n->binary.op));
    if ((rc = eval_scalar(q, n->binary.lhs, &l, err)) != OK
        || (rc = eval_scalar(q, n->binary.rhs, &r, err)) != OK)
        return rc;
    for (size_t i = 0; i < q->steps.n; i++)
        l[i] = binary_arith(n->binary.op, l[i], r[i]);
    return to(ctx, &(struct fseries){ .v = l }, err);
}

struct with_scalar {
    struct query *q;
    const struct node *n;
    const double *scalar; /* by step */
    bool scalar_is_left;
    struct binary_notes notes;
    sink *to;
    void *ctx;
};

static void apply_to_floats(const struct with_scalar *w, struct fseries *s)
{
    for (size_t i = 0; i < w->q->steps.n; i++) {
        double v = s->v[i];

        if (is_absent(v))
            continue;
        if (w->scalar_is_left)
            s->v[i] = binary_value(w->n, w->scalar[i], v, v);
        else
            s->v[i] = binary_value(w->n, v, w->scalar[i], v);
    }
}

static enum errc apply_to_samples(struct with_scalar *w, struct fseries *s, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < w->q->steps.n; i++) {
        struct operand sample = { s->v[i], series_histogram(s, i) },
                       scalar = { w->scalar[i], NULL };
        struct operand out;
        enum binary_note note;

        if (is_absent(s->v[i]))
            continue;
        if (w->scalar_is_left)
            rc = binary_samples(w->q, w->n, scalar, sample, sample, &out, &note, err);
        else
            rc = binary_samples(w->q, w->n, sample, scalar, sample, &out, &note, err);
        if (rc == OK)
            rc = binary_notes_add(w->q, &w->notes, i, note, err);
        s->v[i] = out.v;
        if (s->h)
            s->h[i] = out.h;
        if (rc == OK && i % POLL_STEPS == 0)
            rc = query_poll(w->q, err);
    }
    return rc;
}

static enum errc apply_scalar(void *ctx, struct fseries *s, struct err *err)
{
    struct with_scalar *w = ctx;
    enum errc rc = OK;

    if (s->h || binary_op_is_trim(w->n->binary.op))
        rc = apply_to_samples(w, s, err);
    else
        apply_to_floats(w, s);
    if (binary_op_is_arithmetic(w->n->binary.op) || w->n->binary.return_bool)
        s->drop_name = true;
    return rc == OK && series_has_value(s, w->q->steps.n) ? w->to(w->ctx, s, err) : rc;
}

static enum errc eval_with_scalar(struct query *q, const struct node *n, sink *to, void *ctx,
                                  struct err *err)
{
    bool left = n->binary.lhs->type == TYPE_SCALAR;
    const struct node *vector = left ? n->binary.rhs : n->binary.lhs;
    struct with_scalar w = { .q = q, .n = n, .scalar_is_left = left, .to = to, .ctx = ctx };
    double *scalar;
    enum errc rc = eval_scalar(q, left ? n->binary.lhs : n->binary.rhs, &scalar, err);

    if (rc != OK)
        return rc;
    w.scalar = scalar;
    rc = eval_each(q, vector, apply_scalar, &w, err);
    binary_notes_tell(q, &w.notes, n);
    return rc;
}

enum errc eval_binary(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    bool l = n->binary.lhs->type == TYPE_SCALAR, r = n->binary.rhs->type == TYPE_SCALAR;

    if (l && r)
        return eval_scalars(q, n, to, ctx, err);
    if (l || r)
        return eval_with_scalar(q, n, to, ctx, err);
    if (binary_op_is_set(n->binary.op))
        return eval_set_operation(q, n, to, ctx, err);
    return eval_match(q, n, to, ctx, err);
}
