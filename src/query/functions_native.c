/* functions_native.c
 *
 * Functions of one native histogram: histogram_count, histogram_sum, histogram_avg,
 * histogram_stddev, histogram_stdvar. Floats have no such numbers and are left out.
 */
#include <math.h>

#include "query/eval.h"
#include "query/functions_impl.h"
#include "query/histogram_stats.h"

#include "base/banned.h"

struct numbers {
    struct query *q;
    double (*of)(const struct histogram *h);
    sink *to;
    void *ctx;
};

static enum errc number_series(void *ctx, struct fseries *s, struct err *err)
{
    const struct numbers *n = ctx;
    enum errc rc;

    if (!series_keep_histograms(s, n->q->steps.n))
        return OK;
    for (size_t i = 0; i < n->q->steps.n; i++) {
        if ((rc = query_poll_at(n->q, i, err)) != OK)
            return rc;
        if (is_absent(s->v[i]))
            continue;
        s->v[i] = n->of(s->h[i]);
        if (is_absent(s->v[i])) /* a sum may have any bits */
            s->v[i] = f64_from_bits(QUIET_NAN_BITS);
    }
    s->h = NULL;
    s->drop_name = true;
    return n->to(n->ctx, s, err);
}

static double count_of(const struct histogram *h)
{
    return h->count;
}

static double sum_of(const struct histogram *h)
{
    return h->sum;
}

static double avg_of(const struct histogram *h)
{
    return h->sum / h->count;
}

static double stddev_of(const struct histogram *h)
{
    return sqrt(histogram_variance(h));
}

enum errc call_histogram_count(struct query *q, const struct node *call, sink *to, void *ctx,
                               struct err *err)
{
    return eval_each(q, call->call.args[0], number_series,
                     &(struct numbers){ q, count_of, to, ctx }, err);
}

enum errc call_histogram_sum(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err)
{
    return eval_each(q, call->call.args[0], number_series, &(struct numbers){ q, sum_of, to, ctx },
                     err);
}

enum errc call_histogram_avg(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err)
{
    return eval_each(q, call->call.args[0], number_series, &(struct numbers){ q, avg_of, to, ctx },
                     err);
}

enum errc call_histogram_stddev(struct query *q, const struct node *call, sink *to, void *ctx,
                                struct err *err)
{
    return eval_each(q, call->call.args[0], number_series,
                     &(struct numbers){ q, stddev_of, to, ctx }, err);
}

enum errc call_histogram_stdvar(struct query *q, const struct node *call, sink *to, void *ctx,
                                struct err *err)
{
    return eval_each(q, call->call.args[0], number_series,
                     &(struct numbers){ q, histogram_variance, to, ctx }, err);
}
