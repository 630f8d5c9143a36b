/* duration_expr.c -- a small evaluator of its own: a duration knows neither series nor steps, only
 * the step and range of the whole query. */
#include "query/duration_expr.h"

#include <math.h>
#include <string.h>

#include "query/parse.h"

#include "base/banned.h"

struct duration_env {
    double step_s, range_s;
    struct err *err;
};

static enum errc eval(const struct duration_env *env, const struct node *n, double *out);

/* 2^63 ns, about 292 years. */
bool duration_fits(double seconds)
{
    return fabs(seconds) * 1e9 < 0x1p63;
}

const struct node *duration_literal(const struct node *expr)
{
    while (expr->kind == NODE_PAREN)
        expr = expr->paren;
    return expr->kind == NODE_NUMBER ? expr : NULL;
}

static enum errc fail(struct err *err, const struct node *n, const char *msg)
{
    while (n->kind == NODE_PAREN)
        n = n->paren;
    return err_set(err, ERR_BAD_QUERY, PARSE_NO_POSITION, "%u:%u: %s", n->pos, n->end, msg);
}

/* As IEEE 754-2019 minimum: NaN wins except over -Inf, -0 is less than +0. */
static double min_of(double a, double b)
{
    if (a == -INFINITY || b == -INFINITY)
        return -INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double max_of(double a, double b)
{
    return -min_of(-a, -b);
}

static enum errc eval_call(const struct duration_env *env, const struct node *n, double *out)
{
    double a, b;
    enum errc rc;

    if (n->call.n_args == 0) {
        *out = n->call.name.ptr[0] == 's' ? env->step_s : env->range_s;
        return OK;
    }
    ASSERT(n->call.n_args == 2);
    if ((rc = eval(env, n->call.args[0], &a)) != OK || (rc = eval(env, n->call.args[1], &b)) != OK)
        return rc;
    *out = str_is(n->call.name, "min_of") ? min_of(a, b) : max_of(a, b);
    return OK;
}

static enum errc eval_binary_op(const struct duration_env *env, const struct node *n, double *out)
{
    double l, r;
    enum errc rc;

    if ((rc = eval(env, n->binary.lhs, &l)) != OK || (rc = eval(env, n->binary.rhs, &r)) != OK)
        return rc;
    switch (n->binary.op) {
    case OP_ADD:
        *out = l + r;
        return OK;
    case OP_SUB:
        *out = l - r;
        return OK;
    case OP_MUL:
        *out = l * r;
        return OK;
    case OP_DIV:
        if (r == 0)
            return fail(env->err, n, "division by zero");
        *out = l / r;
        return OK;
    case OP_MOD:
        if (r == 0)
            return fail(env->err, n, "modulo by zero");
        *out = fmod(l, r);
        return OK;
    default:
        ASSERT(n->binary.op == OP_POW);
        *out = pow(l, r);
        return OK;
    }
}

static enum errc eval(const struct duration_env *env, const struct node *n, double *out)
{
    enum errc rc;

    switch (n->kind) {
    case NODE_NUMBER:
        *out = n->number.value;
        return OK;
    case NODE_PAREN:
        return eval(env, n->paren, out);
    case NODE_UNARY:
        rc = eval(env, n->unary.expr, out);
        if (n->unary.minus)
            *out = -*out;
        return rc;
    case NODE_BINARY:
        return eval_binary_op(env, n, out);
    default:
        ASSERT(n->kind == NODE_CALL);
        return eval_call(env, n, out);
    }
}

enum errc duration_eval(const struct node *expr, double step_s, double range_s, double *out_s,
                        struct err *err)
{
    struct duration_env env = { step_s, range_s, err };

    *out_s = 0;
    return eval(&env, expr, out_s);
}

enum errc duration_prepare(struct duration *d, bool is_offset, double step_s, double range_s,
                           struct err *err)
{
    double seconds;
    enum errc rc;

    if (!d->expr || duration_literal(d->expr))
        return OK;
    if ((rc = duration_eval(d->expr, step_s, range_s, &seconds, err)) != OK)
        return rc;
    if (!isfinite(seconds))
        return fail(err, d->expr, "duration is NaN or infinite");
    if (seconds <= 0 && !is_offset)
        return fail(err, d->expr, "duration must be greater than 0");
    if (!duration_fits(seconds))
        return fail(err, d->expr, "duration is out of range");
    d->ms = (int64_t)(seconds * 1000);
    if (d->ms == 0)
        d->expr = NULL;
    return OK;
}
