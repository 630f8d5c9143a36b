/* match.c
 *
 * Arithmetic and comparison of two vectors. The "one" side (right; left under group_right) is kept
 * and indexed by signature, the "many" side is streamed past it; results go out series by series.
 *
 *   signature  the labels under on (…), else all but the metric name and those under ignoring (…)
 *   partner    at each step, the sample of the one side with the same signature. Several series
 *              may share a signature as long as no two have a value at the same step: then the
 *              signature has an owner for each step.
 *   matched    the steps at which a signature has had a result: a second one is an error in
 *              one-to-one matching, and what is not matched is filled under fill_left/fill_right
 *
 * Rules hold step by step: what makes one step fail fails the query, and the earliest failing step
 * gives the text. So trouble is noted and the streams run to their end, without output.
 *
 * Under group_right the sides are swapped before filling: fill_right always supplies the one side
 * and fill_left the many side, as in Prometheus.
 */
#include "query/binop.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/vec.h"
#include "query/grouping.h"
#include "query/stepset.h"

#include "base/banned.h"

enum { NO_PARTNER = UINT32_MAX, ANY_PARTNER = UINT32_MAX - 1 };
enum { POLL_STEPS = 64 }; /* of histograms, between two polls */

/* In the order of their checks within a step. */
enum trouble { TROUBLE_ONE_SIDE, TROUBLE_EXPLICIT, TROUBLE_GROUPING, TROUBLE_LABELSET, NO_TROUBLE };

static const char *const trouble_texts[] = {
    [TROUBLE_ONE_SIDE] = NULL, /* names the series, see fail_one_side() */
    [TROUBLE_EXPLICIT] = "multiple matches for labels: many-to-one matching must be explicit "
                         "(group_left/group_right)",
    [TROUBLE_GROUPING] = "multiple matches for labels: grouping labels must ensure unique matches",
    [TROUBLE_LABELSET] = "vector cannot contain metrics with the same labelset",
};

struct signature {
    uint32_t first, last; /* of the one side's series, linked by next; NO_PARTNER without */
    uint32_t *owner;      /* by step, NO_PARTNER without; NULL with fewer than two series */
    uint64_t *matched;    /* a step set; NULL until needed */
};

/* Two series of the one side that have the same signature at a step. */
struct collision {
    uint32_t a, b; /* NO_PARTNER: none */
};

/* A label set of many-to-one results, and where it has been given. */
struct result {
    uint32_t signature;
    uint64_t *given;
};

struct match {
    struct query *q;
    const struct node *n;
    const struct matching *m;
    sink *to;
    void *ctx;
    bool one_is_left;
    bool fill_one, fill_many;
    double fill_one_value, fill_many_value;

    struct vector one;
    bool samples_differ; /* the one side has histograms, or the operator is for them */
    uint32_t *next;
    struct grouping by_signature;
    struct signature *signatures; /* by number in by_signature */
    size_t signatures_cap;
    struct collision *collisions; /* by step; NULL without any */

    struct grouping by_labels; /* results of many-to-one matching */
    struct result *results;    /* by number in by_labels */
    size_t results_cap;

    enum trouble trouble;
    size_t trouble_step;
    struct binary_notes notes;
    double *out;                    /* scratch: one column */
    const struct histogram **out_h; /* likewise, made when needed */
    bool has_out_h;                 /* whether out_h is in use for this series */
};

static void note_trouble(struct match *m, enum trouble what, size_t step)
{
    if (m->trouble != NO_TROUBLE && m->trouble_step <= step)
        return;
    m->trouble = what;
    m->trouble_step = step;
}

static enum errc out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, 0, "out of memory");
}

/* ---- the one side ---- */

static enum errc signature_of(struct match *m, struct labels ls, uint32_t *id, struct err *err)
{
    size_t n = m->by_signature.n;
    enum errc rc = grouping_add(&m->by_signature, ls, id, err);

    if (rc != OK || m->by_signature.n == n)
        return rc;
    if (!vec_reserve(&m->signatures, &m->signatures_cap, n + 1, sizeof *m->signatures))
        return out_of_memory(err);
    m->signatures[n] = (struct signature){ NO_PARTNER, NO_PARTNER, NULL, NULL };
    return OK;
}

static enum errc note_collision(struct match *m, size_t step, uint32_t a, uint32_t b,
                                struct err *err)
{
    size_t n = m->q->steps.n;

    if (!m->collisions) {
        m->collisions = ARENA_NEW(m->q->arena, struct collision, n);
        if (!m->collisions)
            return eval_arena_full(m->q, err);
        for (size_t i = 0; i < n; i++)
            m->collisions[i] = (struct collision){ NO_PARTNER, NO_PARTNER };
    }
    if (m->collisions[step].a == NO_PARTNER)
        m->collisions[step] = (struct collision){ a, b };
    return OK;
}

/* Makes series item the owner of its steps. */
static enum errc take_ownership(struct match *m, struct signature *s, uint32_t item,
                                struct err *err)
{
    const double *v = m->one.items[item].v;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < m->q->steps.n; i++) {
        if (is_absent(v[i]))
            continue;
        if (s->owner[i] == NO_PARTNER)
            s->owner[i] = item;
        else
            rc = note_collision(m, i, s->owner[i], item, err);
    }
    return rc;
}

static enum errc add_to_signature(struct match *m, uint32_t id, uint32_t item, struct err *err)
{
    struct signature *s = &m->signatures[id];
    enum errc rc = OK;

    m->next[item] = NO_PARTNER;
    if (s->first == NO_PARTNER) {
        s->first = s->last = item;
        return OK;
    }
    if (!s->owner) {
        s->owner = ARENA_NEW(m->q->arena, uint32_t, m->q->steps.n);
        if (!s->owner)
            return eval_arena_full(m->q, err);
        for (size_t i = 0; i < m->q->steps.n; i++)
            s->owner[i] = NO_PARTNER;
        rc = take_ownership(m, s, s->first, err);
    }
    m->next[s->last] = item;
    s->last = item;
    return rc == OK ? take_ownership(m, s, item, err) : rc;
}

static enum errc index_one_side(struct match *m, struct err *err)
{
    enum errc rc = OK;
    uint32_t id;

    if (!(m->next = ARENA_NEW(m->q->arena, uint32_t, m->one.n)))
        return eval_arena_full(m->q, err);
    for (size_t i = 0; rc == OK && i < m->one.n; i++) {
        if (i % 1024 == 0 && (rc = query_poll(m->q, err)) != OK)
            return rc;
        if ((rc = signature_of(m, m->one.items[i].labels, &id, err)) == OK)
            rc = add_to_signature(m, id, (uint32_t)i, err);
    }
    /* With a fill the one side is looked at even where the many side is empty. */
    for (size_t i = 0; rc == OK && m->collisions && i < m->q->steps.n; i++)
        if (m->collisions[i].a != NO_PARTNER && (m->fill_one || m->fill_many))
            note_trouble(m, TROUBLE_ONE_SIDE, i);
    return rc;
}

static uint32_t partner_at(const struct match *m, const struct signature *s, size_t step)
{
    if (s->owner)
        return s->owner[step];
    if (s->first == NO_PARTNER || is_absent(m->one.items[s->first].v[step]))
        return NO_PARTNER;
    return s->first;
}

/* ---- results ---- */

static enum errc result_labels(struct match *m, struct labels many, struct labels one,
                               struct labels *out, struct err *err)
{
    const struct matching *matching = m->m;
    const struct label_choice choice = { matching->labels, matching->n_labels, matching->on,
                                         false };
    enum errc rc = OK;

    *out = many;
    if (binary_op_is_arithmetic(m->n->binary.op))
        rc = labels_without_metadata(m->q, *out, out, err);
    if (rc == OK && matching->card == CARD_ONE_TO_ONE)
        rc = labels_choose(m->q, *out, &choice, out, err);
    for (size_t i = 0; rc == OK && i < matching->n_include; i++)
        rc = labels_set(m->q, *out, matching->include[i], labels_get(one, matching->include[i]),
                        out, err);
    return rc;
}

/* The entry of a label set among the results of many-to-one matching. */
static enum errc result_of(struct match *m, struct labels ls, uint32_t signature,
                           struct result **out, struct err *err)
{
    size_t n = m->by_labels.n;
    uint32_t id;
    enum errc rc = grouping_add(&m->by_labels, ls, &id, err);

    if (rc != OK)
        return rc;
    if (m->by_labels.n > n) {
        if (!vec_reserve(&m->results, &m->results_cap, n + 1, sizeof *m->results))
            return out_of_memory(err);
        m->results[n] = (struct result){ .signature = signature };
        rc = stepset_new(m->q, &m->results[n].given, err);
    }
    *out = &m->results[id];
    return rc;
}

/* Notes that a pair matched at a step, and what that breaks. */
static void note_pair(struct match *m, uint32_t signature, struct result *result, size_t step)
{
    struct signature *s = &m->signatures[signature];

    if (!result && stepset_has(s->matched, step))
        note_trouble(m, TROUBLE_EXPLICIT, step);
    if (result && stepset_has(result->given, step)) {
        if (result->signature == signature)
            note_trouble(m, TROUBLE_GROUPING, step);
        else if (m->q->steps.n > 1) /* an instant query looks at the end only */
            note_trouble(m, TROUBLE_LABELSET, step);
    }
    if (result)
        stepset_add(result->given, step);
    stepset_add(s->matched, step);
}

static double pair_value(const struct match *m, double many, double one)
{
    double l = m->one_is_left ? one : many, r = m->one_is_left ? many : one;

    return binary_value(m->n, l, r, l);
}

/* The histogram of the one side's sample, where p is one of its series. */
static const struct histogram *histogram_of_one(const struct match *m, uint32_t p, size_t step)
{
    return p == NO_PARTNER ? NULL : series_histogram(&m->one.items[p], step);
}

/* Computes one pair into m->out; *fits is false when the operands do not go together. */
static enum errc pair_samples(struct match *m, struct operand many, struct operand one, size_t step,
                              bool *fits, struct err *err)
{
    struct operand l = m->one_is_left ? one : many, r = m->one_is_left ? many : one, out;
    enum binary_note note;
    enum errc rc = binary_samples(m->q, m->n, l, r, l, &out, &note, err);

    if (rc != OK || (rc = binary_notes_add(m->q, &m->notes, step, note, err)) != OK)
        return rc;
    *fits = !binary_note_drops(note);
    if (!*fits)
        return OK;
    m->out[step] = out.v;
    if (!out.h)
        return OK;
    if (!m->out_h && (rc = histograms_new(m->q, &m->out_h, err)) != OK)
        return rc;
    if (!m->has_out_h)
        memset(m->out_h, 0, m->q->steps.n * sizeof *m->out_h);
    m->has_out_h = true;
    m->out_h[step] = out.h;
    return OK;
}

static enum errc pass_on(struct match *m, struct labels ls, struct err *err)
{
    struct fseries s = { .labels = ls, .drop_name = m->n->binary.return_bool, .v = m->out };

    if (m->has_out_h)
        s.h = m->out_h;
    m->has_out_h = false;
    if (m->trouble != NO_TROUBLE || !series_has_value(&s, m->q->steps.n))
        return OK;
    return m->to(m->ctx, &s, err);
}

/* One series on its way past its partners. */
struct pairing {
    const struct fseries *s;
    uint32_t signature;
    uint32_t
        partner; /* the one to pair with, NO_PARTNER: the fill value, ANY_PARTNER: who is there */
    struct result *result;
};

/* Who s meets at a step, NO_PARTNER for the fill value; false when it does not take part. */
static bool meets(const struct match *m, const struct pairing *p, size_t step, uint32_t *partner)
{
    if (is_absent(p->s->v[step]))
        return false;
    *partner = partner_at(m, &m->signatures[p->signature], step);
    if (p->partner != ANY_PARTNER && *partner != p->partner)
        return false;
    return *partner != NO_PARTNER || m->fill_one;
}

static double value_of_one(const struct match *m, uint32_t partner, size_t step)
{
    return partner == NO_PARTNER ? m->fill_one_value : m->one.items[partner].v[step];
}

static void pair_floats(struct match *m, const struct pairing *p)
{
    for (size_t i = 0; i < m->q->steps.n; i++) {
        uint32_t partner;

        m->out[i] = absent();
        if (!meets(m, p, i, &partner))
            continue;
        m->out[i] = pair_value(m, p->s->v[i], value_of_one(m, partner, i));
        note_pair(m, p->signature, p->result, i);
    }
}

static enum errc pair_all_samples(struct match *m, const struct pairing *p, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < m->q->steps.n; i++) {
        struct operand many = { p->s->v[i], series_histogram(p->s, i) }, one;
        uint32_t partner;
        bool fits;

        m->out[i] = absent();
        if (!meets(m, p, i, &partner))
            continue;
        one = (struct operand){ value_of_one(m, partner, i), histogram_of_one(m, partner, i) };
        if ((rc = pair_samples(m, many, one, i, &fits, err)) == OK && fits)
            note_pair(m, p->signature, p->result, i);
        if (rc == OK && i % POLL_STEPS == 0)
            rc = query_poll(m->q, err);
    }
    return rc;
}

/* Pairs s with one partner (NO_PARTNER: the fill value), or at each step with whatever is there. */
static enum errc pair_with(struct match *m, const struct fseries *s, uint32_t signature,
                           uint32_t partner, struct err *err)
{
    struct pairing p = { s, signature, partner, NULL };
    struct labels one = m->by_signature.groups[signature].labels, ls;
    enum errc rc = OK;

    if (partner != NO_PARTNER && partner != ANY_PARTNER)
        one = m->one.items[partner].labels;
    if ((rc = result_labels(m, s->labels, one, &ls, err)) != OK)
        return rc;
    if (m->m->card != CARD_ONE_TO_ONE && (rc = result_of(m, ls, signature, &p.result, err)) != OK)
        return rc;
    if (m->samples_differ || s->h)
        rc = pair_all_samples(m, &p, err);
    else
        pair_floats(m, &p);
    return rc == OK ? pass_on(m, ls, err) : rc;
}

static void check_one_side(struct match *m, const struct fseries *s)
{
    for (size_t i = 0; m->collisions && i < m->q->steps.n; i++)
        if (!is_absent(s->v[i]) && m->collisions[i].a != NO_PARTNER) {
            /* this check comes first within its step */
            if (m->trouble != NO_TROUBLE && m->trouble_step == i)
                m->trouble = TROUBLE_ONE_SIDE;
            note_trouble(m, TROUBLE_ONE_SIDE, i);
        }
}

/* One series of the many side. */
static enum errc match_series(void *ctx, struct fseries *s, struct err *err)
{
    struct match *m = ctx;
    struct signature *sig;
    uint32_t id;
    enum errc rc;

    check_one_side(m, s);
    if (m->fill_one)
        rc = signature_of(m, s->labels, &id, err);
    else
        rc = grouping_find(&m->by_signature, s->labels, &id, err);
    if (rc != OK || id == TABLE_NONE)
        return rc;
    sig = &m->signatures[id];
    if (!sig->matched && (rc = stepset_new(m->q, &sig->matched, err)) != OK)
        return rc;
    /* The partner's labels matter only when some of them are included. */
    if (m->m->n_include == 0)
        return pair_with(m, s, id, ANY_PARTNER, err);
    for (uint32_t p = sig->first; rc == OK && p != NO_PARTNER; p = m->next[p])
        rc = pair_with(m, s, id, p, err);
    return rc == OK && m->fill_one ? pair_with(m, s, id, NO_PARTNER, err) : rc;
}

/* One series of the one side, where the many side had nothing for it. */
static enum errc fill_series(struct match *m, const struct fseries *s, struct err *err)
{
    const struct signature *sig;
    uint32_t id;
    struct labels ls;
    enum errc rc = grouping_find(&m->by_signature, s->labels, &id, err);

    if (rc != OK)
        return rc;
    ASSERT(id != TABLE_NONE); /* every series of the one side was indexed */
    sig = &m->signatures[id];
    if ((rc = result_labels(m, m->by_signature.groups[id].labels, s->labels, &ls, err)) != OK)
        return rc;
    for (size_t i = 0; rc == OK && i < m->q->steps.n; i++) {
        bool fits;

        m->out[i] = absent();
        if (is_absent(s->v[i]) || (sig->matched && stepset_has(sig->matched, i)))
            continue;
        if (m->samples_differ)
            rc = pair_samples(m, (struct operand){ m->fill_many_value, NULL },
                              (struct operand){ s->v[i], series_histogram(s, i) }, i, &fits, err);
        else
            m->out[i] = pair_value(m, m->fill_many_value, s->v[i]);
    }
    return rc == OK ? pass_on(m, ls, err) : rc;
}

/* ---- the whole ---- */

static enum errc fail_one_side(struct match *m, struct err *err)
{
    struct collision c = m->collisions[m->trouble_step];
    const struct labels *a = &m->one.items[c.a].labels, *b = &m->one.items[c.b].labels;
    struct buf first = { 0 }, second = { 0 }, group = { 0 };
    struct labels ls;
    enum errc rc = labels_choose(m->q, *a, &m->by_signature.choice, &ls, err);

    if (rc != OK)
        return rc;
    labels_print(&group, ls);
    labels_print(&first, *a);
    labels_print(&second, *b);
    if (str_cmp(buf_as_str(&first), buf_as_str(&second)) > 0) {
        struct buf swap = first;

        first = second;
        second = swap;
    }
    rc = err_set(err, ERR_EXECUTION, m->n->pos,
                 "found duplicate series for the match group %.*s on the %s hand-side of the "
                 "operation: [%.*s, %.*s];many-to-many matching not allowed: matching labels must "
                 "be unique on one side",
                 STR_ARG(buf_as_str(&group)), m->one_is_left ? "left" : "right",
                 STR_ARG(buf_as_str(&first)), STR_ARG(buf_as_str(&second)));
    buf_free(&first);
    buf_free(&second);
    buf_free(&group);
    return rc;
}

static bool vector_has_histograms(const struct vector *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->items[i].h)
            return true;
    return false;
}

static enum errc run(struct match *m, struct err *err)
{
    const struct node *lhs = m->n->binary.lhs, *rhs = m->n->binary.rhs;
    enum errc rc = values_new(m->q, &m->out, err);

    if (rc != OK || (rc = eval_vector(m->q, m->one_is_left ? lhs : rhs, &m->one, err)) != OK)
        return rc;
    m->samples_differ = binary_op_is_trim(m->n->binary.op) || vector_has_histograms(&m->one);
    if ((rc = index_one_side(m, err)) != OK
        || (rc = eval_each(m->q, m->one_is_left ? rhs : lhs, match_series, m, err)) != OK)
        return rc;
    for (size_t i = 0; m->fill_many && rc == OK && i < m->one.n; i++) {
        query_next_series(m->q);
        rc = fill_series(m, &m->one.items[i], err);
    }
    if (rc != OK)
        return rc;
    binary_notes_tell(m->q, &m->notes, m->n);
    if (m->trouble == TROUBLE_ONE_SIDE)
        return fail_one_side(m, err);
    if (m->trouble != NO_TROUBLE)
        return err_set(err, ERR_EXECUTION, m->n->pos, "%s", trouble_texts[m->trouble]);
    return OK;
}

enum errc eval_match(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    const struct matching *matching = &n->binary.matching;
    struct match m = {
        .q = q,
        .n = n,
        .m = matching,
        .to = to,
        .ctx = ctx,
        .one_is_left = matching->card == CARD_ONE_TO_MANY,
        .fill_one = matching->fill_right,
        .fill_many = matching->fill_left,
        .fill_one_value = matching->fill_right_value,
        .fill_many_value = matching->fill_left_value,
        .by_signature = { .q = q,
                          .choice = { matching->labels, matching->n_labels, matching->on,
                                      !matching->on } },
        .by_labels = { .q = q },
        .trouble = NO_TROUBLE,
    };
    enum errc rc = run(&m, err);

    vector_release(q, &m.one);
    grouping_free(&m.by_signature);
    grouping_free(&m.by_labels);
    free(m.signatures);
    free(m.results);
    return rc;
}
