/* functions_info.c
 *
 * info(v, {…}) gives series the labels of info series: those of the metrics that the second argument
 * names (else target_info) with the same `instance` and `job`.
 *
 * The base series are kept; what they have for instance and job says which info series are looked
 * up. Info series are told apart by signature: metric name, instance and job. At each step a
 * signature has at most one winner, that with the newest sample. A base series comes out once for
 * each set of winners it meets, so it may be split over time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/vec.h"
#include "query/eval_private.h"
#include "query/functions_impl.h"
#include "query/grouping.h"
#include "query/stepset.h"

#include "base/banned.h"

enum { NO_INFO = UINT32_MAX };

static const struct str identifying[] = { { "instance", 8 }, { "job", 3 } };
static const struct str signature_labels[] = { { "__name__", 8 }, { "instance", 8 }, { "job", 3 } };

/* The info series of one metric name that share instance and job. */
struct signature {
    uint32_t next;    /* signature with the same instance and job, NO_INFO ends */
    uint32_t *winner; /* by step: number in infos, NO_INFO without */
};

struct info {
    struct query *q;
    const struct node *call;
    struct matcher *matchers; /* of names, then of data labels: what info series must satisfy */
    size_t n_matchers, n_names;
    struct matcher added[2]; /* those of the matchers that are made here */
    size_t n_added;
    bool may_be_missing; /* all data matchers accept a label that is not there */

    struct vector base;
    struct grouping values[2];   /* of the identifying labels among the base series */
    struct grouping by_identity; /* instance and job */
    uint32_t *first;             /* by identity: its first signature, NO_INFO without */
    size_t n_first, first_cap;
    struct grouping by_signature;
    struct signature *signatures; /* by number in by_signature */
    size_t signatures_cap;
    struct vector infos;             /* values are the times of samples */
    const struct histogram **part_h; /* of what is emitted, made when needed */
    sink *to;
    void *ctx;
};

/* ---- what is looked up ---- */

static bool is_positive(const struct matcher *m)
{
    return m->op == MATCH_EQ || m->op == MATCH_RE;
}

static enum errc add_name_matcher(struct info *in, enum match_op op, struct str value,
                                  struct err *err)
{
    struct matcher *m = &in->added[in->n_added];
    enum errc rc = matcher_init(m, op, METRIC_NAME, value, in->q->arena, err);

    if (rc == OK) {
        in->n_added++;
        in->matchers[in->n_matchers++] = *m;
    }
    return rc;
}

/* Sorts the second argument's matchers: those of the name first, completed by what is meant. */
static enum errc read_matchers(struct info *in, struct err *err)
{
    const struct node *arg = in->call->call.n_args > 1 ? in->call->call.args[1] : NULL;
    size_t n = arg ? arg->selector.n_matchers : 0;
    bool positive = false;
    enum errc rc = OK;

    in->may_be_missing = true;
    if (!(in->matchers = ARENA_NEW(in->q->arena, struct matcher, n + 2)))
        return eval_arena_full(in->q, err);
    for (size_t i = 0; i < n; i++) {
        const struct matcher *m = &arg->selector.matchers[i];

        if (!str_equal(m->name, METRIC_NAME))
            continue;
        in->matchers[in->n_matchers++] = *m;
        positive |= is_positive(m);
    }
    if (in->n_matchers == 0)
        rc = add_name_matcher(in, MATCH_EQ, STR("target_info"), err);
    else if (!positive)
        rc = add_name_matcher(in, MATCH_RE, STR(".+_info"), err);
    in->n_names = in->n_matchers;
    for (size_t i = 0; i < n; i++) {
        const struct matcher *m = &arg->selector.matchers[i];

        if (str_equal(m->name, METRIC_NAME))
            continue;
        in->matchers[in->n_matchers++] = *m;
        in->may_be_missing = in->may_be_missing && matcher_matches_empty(m);
    }
    return rc;
}

/* Whether the labels that are added are restricted to those with matchers, and l is not one. */
static bool is_left_out(const struct info *in, struct str label)
{
    for (size_t i = in->n_names; i < in->n_matchers; i++)
        if (str_equal(in->matchers[i].name, label))
            return false;
    return in->n_names < in->n_matchers;
}

/* Whether a base series is an info series itself. */
static bool is_info(const struct info *in, struct labels ls, enum errc *rc)
{
    for (size_t i = 0; i < in->n_names; i++)
        if (!matcher_matches(&in->matchers[i], labels_get(ls, METRIC_NAME), rc))
            return false;
    return true;
}

/* Where the first selector inside n looks: adds its offset and those of the subqueries around it, up
 * to one with an @. False without a selector. */
static bool first_modifiers(const struct node *n, struct modifiers *out)
{
    const struct modifiers *m;

    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        return false;
    case NODE_PAREN:
        return first_modifiers(n->paren, out);
    case NODE_UNARY:
        return first_modifiers(n->unary.expr, out);
    case NODE_AGGREGATE:
        return first_modifiers(n->aggregate.expr, out)
               || (n->aggregate.param && first_modifiers(n->aggregate.param, out));
    case NODE_BINARY:
        return first_modifiers(n->binary.lhs, out) || first_modifiers(n->binary.rhs, out);
    case NODE_CALL:
        for (size_t i = 0; i < n->call.n_args; i++)
            if (first_modifiers(n->call.args[i], out))
                return true;
        return false;
    case NODE_MATRIX:
        return first_modifiers(n->matrix.selector, out);
    case NODE_SELECTOR:
        m = &n->selector.mod;
        break;
    case NODE_SUBQUERY:
        if (!first_modifiers(n->subquery.expr, out))
            return false;
        m = &n->subquery.mod;
        break;
    default:
        return false;
    }
    if (out->at != AT_NONE)
        return true;
    out->offset.ms = time_add(out->offset.ms, m->offset.ms);
    out->at = m->at;
    out->at_ms = m->at_ms;
    return true;
}

struct modifiers info_modifiers(const struct node *call)
{
    struct modifiers m = { 0 };

    (void)first_modifiers(call->call.args[0], &m);
    return m;
}

/* ---- base series ---- */

static enum errc keep_base(void *ctx, struct fseries *s, struct err *err)
{
    struct info *in = ctx;
    enum errc rc = vector_add(in->q, &in->base, s, err), matching = OK;

    if (rc != OK || is_info(in, s->labels, &matching))
        return rc != OK ? rc : matching;
    for (size_t i = 0; rc == OK && i < ARRAY_LEN(identifying); i++) {
        uint32_t id;

        if (labels_get(s->labels, identifying[i]).len > 0)
            rc = grouping_add(&in->values[i], s->labels, &id, err);
    }
    return rc;
}

/* Whether an info series can belong to a base series at all. */
static enum errc is_wanted(struct info *in, struct labels ls, bool *wanted, struct err *err)
{
    enum errc rc = OK;

    *wanted = true;
    for (size_t i = 0; rc == OK && *wanted && i < ARRAY_LEN(identifying); i++) {
        uint32_t id = 0;

        if (in->values[i].n > 0)
            rc = grouping_find(&in->values[i], ls, &id, err);
        *wanted = id != TABLE_NONE;
    }
    return rc;
}

/* ---- info series ---- */

static enum errc identity_of(struct info *in, struct labels ls, uint32_t *id, struct err *err)
{
    enum errc rc = grouping_add(&in->by_identity, ls, id, err);

    if (rc != OK || in->by_identity.n == in->n_first)
        return rc;
    if (!vec_reserve(&in->first, &in->first_cap, in->n_first + 1, sizeof *in->first))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    in->first[in->n_first++] = NO_INFO;
    return OK;
}

static enum errc signature_of(struct info *in, struct labels ls, struct signature **out,
                              struct err *err)
{
    size_t n = in->by_signature.n;
    uint32_t id, identity;
    struct signature *s;
    enum errc rc = grouping_add(&in->by_signature, ls, &id, err);

    if (rc != OK || (rc = identity_of(in, ls, &identity, err)) != OK)
        return rc;
    if (in->by_signature.n > n) {
        if (!vec_reserve(&in->signatures, &in->signatures_cap, n + 1, sizeof *in->signatures))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        s = &in->signatures[n];
        *s = (struct signature){ in->first[identity],
                                 ARENA_NEW(in->q->arena, uint32_t, in->q->steps.n) };
        if (!s->winner)
            return eval_arena_full(in->q, err);
        for (size_t i = 0; i < in->q->steps.n; i++)
            s->winner[i] = NO_INFO;
        in->first[identity] = (uint32_t)n;
    }
    *out = &in->signatures[id];
    return OK;
}

static enum errc fail_duplicate(const struct info *in, const struct fseries *a,
                                const struct fseries *b, double seconds, struct err *err)
{
    struct buf x = { 0 }, y = { 0 };
    int64_t t_ms = (int64_t)(seconds * 1000 + (seconds < 0 ? -0.5 : 0.5));
    enum errc rc;

    labels_print(&x, a->labels);
    labels_print(&y, b->labels);
    rc = err_set(err, ERR_EXECUTION, in->call->pos,
                 "found duplicate series for info metric: existing %.*s @ %" PRId64
                 ", new %.*s @ %" PRId64,
                 STR_ARG(buf_as_str(&x)), t_ms, STR_ARG(buf_as_str(&y)), t_ms);
    buf_free(&x);
    buf_free(&y);
    return rc;
}

static enum errc fail_histogram(const struct info *in, struct labels ls, struct err *err)
{
    struct buf b = { 0 };
    enum errc rc;

    labels_print(&b, ls);
    rc =
        err_set(err, ERR_EXECUTION, in->call->pos,
                "this should be an info metric, with float samples: %.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
    return rc;
}

/* One info series, with the times of its samples for values. */
static enum errc keep_info(void *ctx, struct fseries *s, struct err *err)
{
    struct info *in = ctx;
    uint32_t number = (uint32_t)in->infos.n;
    struct signature *signature;
    bool wanted;
    enum errc rc = is_wanted(in, s->labels, &wanted, err);

    if (rc != OK || !wanted)
        return rc;
    if (series_has_histogram(s, in->q->steps.n))
        return fail_histogram(in, s->labels, err);
    s->h = NULL;
    if ((rc = vector_add(in->q, &in->infos, s, err)) != OK
        || (rc = signature_of(in, s->labels, &signature, err)) != OK)
        return rc;
    for (size_t i = 0; i < in->q->steps.n; i++) {
        uint32_t *winner = &signature->winner[i];
        const struct fseries *old = *winner == NO_INFO ? NULL : &in->infos.items[*winner];

        if (is_absent(s->v[i]))
            continue;
        if (old && old->v[i] == s->v[i])
            return fail_duplicate(in, old, s, s->v[i], err);
        if (!old || old->v[i] < s->v[i])
            *winner = number;
    }
    return OK;
}

static enum errc look_up(struct info *in, struct err *err)
{
    struct node selector = { .kind = NODE_SELECTOR, .pos = in->call->pos };

    if (in->values[0].n + in->values[1].n == 0)
        return OK;
    selector.selector.matchers = in->matchers;
    selector.selector.n_matchers = in->n_matchers;
    selector.selector.mod = info_modifiers(in->call);
    return eval_selector(in->q, &selector, PICK_SAMPLE_TIMES, keep_info, in, err);
}

/* ---- results ---- */

/* Adds the labels of an info series to those of a base series. */
static enum errc add_labels(const struct info *in, struct labels base, const struct fseries *info,
                            struct labels *out, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < info->labels.n; i++) {
        struct label l = info->labels.items[i];
        struct str has = labels_get(*out, l.name);

        if (str_equal(l.name, METRIC_NAME) || labels_get(base, l.name).len > 0
            || is_left_out(in, l.name))
            continue;
        if (has.len > 0 && !str_equal(has, l.value))
            return err_set(err, ERR_EXECUTION, in->call->pos, "conflicting label: %.*s",
                           STR_ARG(l.name));
        if (has.len == 0)
            rc = labels_set(in->q, *out, l.name, l.value, out, err);
    }
    return rc;
}

static bool same_winners(const struct info *in, uint32_t first, size_t a, size_t b)
{
    for (uint32_t s = first; s != NO_INFO; s = in->signatures[s].next)
        if (in->signatures[s].winner[a] != in->signatures[s].winner[b])
            return false;
    return true;
}

/* The labels that base has at a step; *found tells whether any info series gave some. */
static enum errc labels_at(const struct info *in, struct labels base, uint32_t first, size_t step,
                           struct labels *out, bool *found, struct err *err)
{
    enum errc rc = OK;

    *out = base;
    *found = false;
    for (uint32_t s = first; rc == OK && s != NO_INFO; s = in->signatures[s].next) {
        uint32_t winner = in->signatures[s].winner[step];

        if (winner == NO_INFO)
            continue;
        *found = true;
        rc = add_labels(in, base, &in->infos.items[winner], out, err);
    }
    return rc;
}

/* Emits one base series, in parts with the same info series. Each part has its own array of
 * histograms too: the sink may put its own into it, which live until the next part. */
static enum errc emit_parts(struct info *in, const struct fseries *base, uint32_t first,
                            struct fseries *out, struct err *err)
{
    size_t n = in->q->steps.n;
    uint64_t *done;
    enum errc rc = stepset_new(in->q, &done, err);

    if (rc == OK && base->h && !in->part_h)
        rc = histograms_new(in->q, &in->part_h, err);
    for (size_t i = 0; rc == OK && i < n; i++) {
        bool found;

        if (stepset_has(done, i) || is_absent(base->v[i]))
            continue;
        for (size_t j = 0; j < n; j++) {
            bool same = j >= i && !stepset_has(done, j) && same_winners(in, first, i, j);

            out->v[j] = same ? base->v[j] : absent();
            if (base->h)
                in->part_h[j] = same ? base->h[j] : NULL;
            if (same)
                stepset_add(done, j);
        }
        if ((rc = query_poll(in->q, err)) != OK
            || (rc = labels_at(in, base->labels, first, i, &out->labels, &found, err)) != OK)
            break;
        query_next_series(in->q);
        out->h = base->h ? in->part_h : NULL;
        if (found || in->may_be_missing)
            rc = in->to(in->ctx, out, err);
    }
    return rc;
}

static enum errc emit(struct info *in, struct err *err)
{
    struct fseries out = { 0 };
    enum errc rc = values_new(in->q, &out.v, err);

    for (size_t i = 0; rc == OK && i < in->base.n; i++) {
        struct fseries *base = &in->base.items[i];
        uint32_t id;

        out.drop_name = base->drop_name;
        if (is_info(in, base->labels, &rc)) {
            query_next_series(in->q);
            rc = in->to(in->ctx, base, err);
        } else if (rc == OK
                   && (rc = grouping_find(&in->by_identity, base->labels, &id, err)) == OK) {
            rc = emit_parts(in, base, id == TABLE_NONE ? NO_INFO : in->first[id], &out, err);
        }
    }
    return rc;
}

enum errc call_info(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    struct info in = {
        .q = q,
        .call = call,
        .values = { { .q = q, .choice = { .names = &identifying[0], .n = 1, .keep = true } },
                    { .q = q, .choice = { .names = &identifying[1], .n = 1, .keep = true } } },
        .by_identity = { .q = q, .choice = { .names = identifying, .n = 2, .keep = true } },
        .by_signature = { .q = q, .choice = { .names = signature_labels, .n = 3, .keep = true } },
        .to = to,
        .ctx = ctx,
    };
    enum errc rc = read_matchers(&in, err);

    if (rc == OK && (rc = eval_each(q, call->call.args[0], keep_base, &in, err)) == OK
        && (rc = look_up(&in, err)) == OK)
        rc = emit(&in, err);
    for (size_t i = 0; i < in.n_added; i++)
        matcher_free(&in.added[i]);
    vector_release(q, &in.base);
    vector_release(q, &in.infos);
    grouping_free(&in.values[0]);
    grouping_free(&in.values[1]);
    grouping_free(&in.by_identity);
    grouping_free(&in.by_signature);
    free(in.first);
    free(in.signatures);
    return rc;
}
