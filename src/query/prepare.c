/* prepare.c
 *
 * One walk over the tree, with the steps that each part will be evaluated at: those of the query,
 * or inside a subquery its own. Whether a part is invariant is known on the way back. An invariant
 * part is evaluated at the first step only, but the span of times is computed for all steps: it
 * only has to contain what is read.
 */
#include "query/eval_private.h"

#include <string.h>

#include "query/duration_expr.h"
#include "query/functions_impl.h"

#include "base/banned.h"

struct prepare {
    struct query *q;
    bool stats_only; /* inside histogram_count() and kin, with nothing between that sees buckets */
    struct time_span *span;
    struct err *err;
};

/* Calls whose value depends on the step, whatever their arguments are. */
static const char *const varying[] = {
    "days_in_month", "day_of_month", "day_of_week",    "day_of_year", "hour",      "minute",
    "month",         "year",         "predict_linear", "time",        "timestamp",
};

static enum errc prepare(struct prepare *p, struct node *n, const struct steps *steps);
static enum errc prepare_node(struct prepare *p, struct node *n, const struct steps *steps);

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, names[i]))
            return true;
    return false;
}

static bool is_varying(struct str name)
{
    return is_one_of(name, varying, ARRAY_LEN(varying));
}

/* start(), end(), range() and step() in seconds; false for anything else. */
static bool constant_of_query(const struct query *q, const struct node *n, double *v)
{
    const struct query_shared *s = q->shared;

    if (str_is(n->call.name, "start"))
        *v = (double)s->start_ms / 1000;
    else if (str_is(n->call.name, "end"))
        *v = (double)s->end_ms / 1000;
    else if (str_is(n->call.name, "range"))
        *v = (double)time_sub(s->end_ms, s->start_ms) / 1000;
    else if (str_is(n->call.name, "step"))
        *v = (double)s->step_ms / 1000;
    else
        return false;
    return true;
}

/* Replaces a pointer to a node in parentheses by the node. The parentheses stay reachable from
 * nowhere: what they held is still in the tree, so that parse_free() frees it. */
static void strip_parens(struct node **n)
{
    while (*n && (*n)->kind == NODE_PAREN)
        *n = (*n)->paren;
}

static enum errc duration(struct prepare *p, struct duration *d, bool is_offset)
{
    const struct query_shared *s = p->q->shared;

    return duration_prepare(d, is_offset, (double)s->step_ms / 1000,
                            (double)time_sub(s->end_ms, s->start_ms) / 1000, p->err);
}

static enum errc modifiers(struct prepare *p, struct modifiers *m)
{
    if (m->at == AT_START)
        m->at_ms = p->q->shared->start_ms;
    else if (m->at == AT_END)
        m->at_ms = p->q->shared->end_ms;
    return duration(p, &m->offset, true);
}

/* Widens the span by what a selector reads: from some time before its first (that one left out) to
 * after its last. Before a range the histogram that its first one went on from is looked for. */
static void widen(struct prepare *p, const struct modifiers *m, const struct steps *steps,
                  int64_t range_ms)
{
    int64_t lookback = p->q->options->lookback_ms;
    bool extended = m->anchored || m->smoothed;
    int64_t before = range_ms ? time_add(range_ms, extended ? 2 * lookback : lookback) : lookback;
    int64_t first = time_add(time_sub(ref_time(steps, m, 0), before), 1);
    int64_t last = time_add(ref_time(steps, m, steps->n - 1), m->smoothed ? lookback : 0);

    if (first < p->span->min_ms)
        p->span->min_ms = first;
    if (last > p->span->max_ms)
        p->span->max_ms = last;
}

static enum errc prepare_matrix(struct prepare *p, struct node *n, const struct steps *steps)
{
    struct node *selector = n->matrix.selector;
    enum errc rc;

    selector->selector.stats_only = p->stats_only;
    if ((rc = duration(p, &n->matrix.range, false)) != OK
        || (rc = modifiers(p, &selector->selector.mod)) != OK)
        return rc;
    widen(p, &selector->selector.mod, steps, n->matrix.range.ms);
    n->invariant = selector->selector.mod.at != AT_NONE;
    return OK;
}

static enum errc prepare_subquery(struct prepare *p, struct node *n, const struct steps *steps)
{
    struct steps inner;
    enum errc rc;

    if ((rc = duration(p, &n->subquery.range, false)) != OK
        || (n->subquery.step.expr && (rc = duration(p, &n->subquery.step, false)) != OK)
        || (rc = modifiers(p, &n->subquery.mod)) != OK)
        return rc;
    if (!n->subquery.step.expr)
        n->subquery.step.ms = p->q->options->subquery_step_ms;
    n->invariant = n->subquery.mod.at != AT_NONE;
    inner = subquery_steps(n, steps);
    p->stats_only = false;
    if (inner.n > 0)
        return prepare(p, n->subquery.expr, &inner);
    return OK;
}

static enum errc prepare_call(struct prepare *p, struct node *n, const struct steps *steps)
{
    bool invariant = !is_varying(n->call.name);
    double v;

    if (constant_of_query(p->q, n, &v)) {
        n->kind = NODE_NUMBER;
        n->number.value = v;
        n->number.is_duration = false;
        n->invariant = true;
        return OK;
    }
    for (size_t i = 0; i < n->call.n_args; i++) {
        enum errc rc;

        strip_parens(&n->call.args[i]);
        rc = prepare(p, n->call.args[i], steps);
        if (rc != OK)
            return rc;
        invariant = invariant && n->call.args[i]->invariant;
    }
    if (str_is(n->call.name, "info")) { /* reads more than its arguments do */
        struct modifiers m = info_modifiers(n);

        widen(p, &m, steps, 0);
    }
    if (str_is(n->call.name, "timestamp") && n->call.args[0]->kind == NODE_SELECTOR)
        invariant = n->call.args[0]->invariant;
    n->invariant = invariant;
    return OK;
}

static enum errc prepare_two(struct prepare *p, struct node *n, struct node *a, struct node *b,
                             const struct steps *steps)
{
    enum errc rc = prepare(p, a, steps);

    if (rc == OK && b)
        rc = prepare(p, b, steps);
    n->invariant = rc == OK && a->invariant && (!b || b->invariant);
    return rc;
}

/* Whether the histograms that n works on need no buckets, when outside it none are asked for (or
 * whatever is outside, for functions that give numbers of their own). */
static bool needs_stats_only(const struct node *n, bool outside)
{
    static const char *const stats[] = { "histogram_count", "histogram_sum", "histogram_avg" };
    static const char *const passing[] = {
        "rate",          "increase",      "delta",          "irate",           "idelta",
        "sum_over_time", "avg_over_time", "last_over_time", "first_over_time", "sort_by_label",
        "label_replace", "label_join",
    };

    switch (n->kind) {
    case NODE_CALL:
        return is_one_of(n->call.name, stats, ARRAY_LEN(stats))
               || (outside && is_one_of(n->call.name, passing, ARRAY_LEN(passing)));
    case NODE_AGGREGATE:
        return outside && n->aggregate.op != AGG_COUNT_VALUES;
    case NODE_BINARY:
        return outside && n->binary.op <= OP_ATAN2;
    default:
        return outside;
    }
}

static enum errc prepare(struct prepare *p, struct node *n, const struct steps *steps)
{
    bool outside = p->stats_only;
    enum errc rc;

    p->stats_only = needs_stats_only(n, outside);
    rc = prepare_node(p, n, steps);
    p->stats_only = outside;
    return rc;
}

static enum errc prepare_node(struct prepare *p, struct node *n, const struct steps *steps)
{
    enum errc rc;

    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        n->invariant = true;
        return OK;
    case NODE_SELECTOR:
        n->selector.stats_only = p->stats_only;
        if ((rc = modifiers(p, &n->selector.mod)) != OK)
            return rc;
        widen(p, &n->selector.mod, steps, 0);
        n->invariant = n->selector.mod.at != AT_NONE;
        return OK;
    case NODE_MATRIX:
        return prepare_matrix(p, n, steps);
    case NODE_SUBQUERY:
        return prepare_subquery(p, n, steps);
    case NODE_CALL:
        return prepare_call(p, n, steps);
    case NODE_AGGREGATE:
        strip_parens(&n->aggregate.expr);
        strip_parens(&n->aggregate.param);
        return prepare_two(p, n, n->aggregate.expr, n->aggregate.param, steps);
    case NODE_BINARY:
        return prepare_two(p, n, n->binary.lhs, n->binary.rhs, steps);
    case NODE_UNARY:
        return prepare_two(p, n, n->unary.expr, NULL, steps);
    case NODE_PAREN:
        return prepare_two(p, n, n->paren, NULL, steps);
    }
    ASSERT(false && "a kind of node");
    return OK;
}

enum errc query_prepare(struct query *q, struct node *root, struct time_span *span, struct err *err)
{
    struct prepare p = { .q = q, .span = span, .err = err };

    *span = (struct time_span){ INT64_MAX, INT64_MIN };
    return prepare(&p, root, &q->steps);
}

/* The multiples of the subquery's step from the first window's start, left out, to the last
 * window's end. Division rounds towards zero, as in Prometheus: a start before 1970 may be followed
 * by the step after the next multiple. */
struct steps subquery_steps(const struct node *n, const struct steps *outer)
{
    const struct modifiers *m = &n->subquery.mod;
    int64_t step = n->subquery.step.ms, end = ref_time(outer, m, outer->n - 1);
    int64_t start = time_sub(ref_time(outer, m, 0), n->subquery.range.ms);
    int64_t first = step * (start / step);
    struct steps s = { .step_ms = step };

    if (first <= start)
        first = time_add(first, step);
    s.start_ms = first;
    if (first <= end)
        s.n = (size_t)(((uint64_t)end - (uint64_t)first) / (uint64_t)step) + 1;
    return s;
}
