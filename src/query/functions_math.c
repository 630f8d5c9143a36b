/* functions_math.c
 *
 * Functions of a vector with scalar parameters are a formula of the value and the parameters of its
 * step, streamed.
 */
#include <math.h>

#include "query/eval.h"
#include "query/functions_impl.h"

#include "base/banned.h"

enum { MAX_PARAMS = 2 };

/* The result for v, or absent(). */
typedef double formula(double v, const double *params);

struct mapping {
    struct query *q;
    formula *formula;
    const double *params[MAX_PARAMS]; /* by step; NULL: not given */
    sink *to;
    void *ctx;
};

static enum errc map_series(void *ctx, struct fseries *s, struct err *err)
{
    const struct mapping *m = ctx;
    double params[MAX_PARAMS] = { 0 };
    bool any = false;

    if (s->h && !series_keep_floats(s, m->q->steps.n))
        return OK;
    for (size_t i = 0; i < m->q->steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        for (size_t j = 0; j < MAX_PARAMS; j++)
            params[j] = m->params[j] ? m->params[j][i] : 1;
        s->v[i] = m->formula(s->v[i], params);
        any |= !is_absent(s->v[i]);
    }
    s->drop_name = true;
    return any ? m->to(m->ctx, s, err) : OK;
}

/* Evaluates call's scalar arguments, then streams its first one through the formula. */
static enum errc map(struct mapping *m, const struct node *call, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 1; rc == OK && i < call->call.n_args; i++) {
        double *v;

        if ((rc = eval_scalar(m->q, call->call.args[i], &v, err)) == OK)
            m->params[i - 1] = v;
    }
    return rc == OK ? eval_each(m->q, call->call.args[0], map_series, m, err) : rc;
}

/* The greater as Go has it: +Inf beats NaN, NaN the rest, and 0 is greater than -0. */
static double float_max(double a, double b)
{
    if (a == INFINITY || b == INFINITY)
        return INFINITY;
    if (isnan(a) || isnan(b))
        return f64_from_bits(QUIET_NAN_BITS);
    if (a == 0 && b == 0)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

static double float_min(double a, double b)
{
    return -float_max(-a, -b);
}

static double round_to(double v, const double *params)
{
    double inverse = 1 / params[0];

    return floor(v * inverse + 0.5) / inverse;
}

static double clamp(double v, const double *params)
{
    double min = params[0], max = params[1];

    return max < min ? absent() : float_max(min, float_min(max, v));
}

static double clamp_min(double v, const double *params)
{
    return clamp(v, (const double[]){ params[0], INFINITY });
}

static double clamp_max(double v, const double *params)
{
    return clamp(v, (const double[]){ -INFINITY, params[0] });
}

enum errc call_round(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return map(&(struct mapping){ .q = q, .formula = round_to, .to = to, .ctx = ctx }, call, err);
}

enum errc call_clamp(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return map(&(struct mapping){ .q = q, .formula = clamp, .to = to, .ctx = ctx }, call, err);
}

enum errc call_clamp_min(struct query *q, const struct node *call, sink *to, void *ctx,
                         struct err *err)
{
    return map(&(struct mapping){ .q = q, .formula = clamp_min, .to = to, .ctx = ctx }, call, err);
}

enum errc call_clamp_max(struct query *q, const struct node *call, sink *to, void *ctx,
                         struct err *err)
{
    return map(&(struct mapping){ .q = q, .formula = clamp_max, .to = to, .ctx = ctx }, call, err);
}

static enum errc of_two_scalars(struct query *q, const struct node *call,
                                double (*f)(double, double), sink *to, void *ctx, struct err *err)
{
    double *a, *b;
    enum errc rc;

    if ((rc = eval_scalar(q, call->call.args[0], &a, err)) != OK
        || (rc = eval_scalar(q, call->call.args[1], &b, err)) != OK)
        return rc;
    for (size_t i = 0; i < q->steps.n; i++)
        a[i] = f(a[i], b[i]);
    return to(ctx, &(struct fseries){ .v = a }, err);
}

enum errc call_min_of(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    return of_two_scalars(q, call, float_min, to, ctx, err);
}

enum errc call_max_of(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    return of_two_scalars(q, call, float_max, to, ctx, err);
}
