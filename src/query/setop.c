/* setop.c
 *
 *   L and R      R noted, L passed on where its signature is noted
 *   L unless R   R noted, L passed on where it is not
 *   L or R       L noted and passed on, R passed on where it is not
 *
 * Noted is one bit for each signature and step, so neither side is kept in memory. A signature is
 * the labels under on (…), else all but the metric name and those under ignoring (…).
 */
#include "query/binop.h"

#include "base/arena.h"
#include "query/grouping.h"
#include "query/stepset.h"

#include "base/banned.h"

struct set_operation {
    struct query *q;
    struct grouping signatures;
    uint64_t **noted; /* a step set by signature */
    size_t cap;
    bool pass_noted; /* the filtered side: keep what is noted, else what is not */
    sink *to;
    void *ctx;
};

static enum errc note(void *ctx, struct fseries *s, struct err *err)
{
    struct set_operation *o = ctx;
    size_t n = o->signatures.n;
    uint32_t id;
    enum errc rc = grouping_add(&o->signatures, s->labels, &id, err);

    if (rc != OK)
        return rc;
    if (o->signatures.n > o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 16;
        uint64_t **grown = arena_grow(o->q->arena, o->noted, o->cap * sizeof(uint64_t *),
                                      cap * sizeof(uint64_t *));

        if (!grown)
            return eval_arena_full(o->q, err);
        o->noted = grown;
        o->cap = cap;
    }
    if (o->signatures.n > n && (rc = stepset_new(o->q, &o->noted[id], err)) != OK)
        return rc;
    stepset_add_series(o->noted[id], s, o->q->steps.n);
    return OK;
}

static enum errc note_and_pass(void *ctx, struct fseries *s, struct err *err)
{
    struct set_operation *o = ctx;
    enum errc rc = note(o, s, err);

    return rc == OK ? o->to(o->ctx, s, err) : rc;
}

static enum errc filter(void *ctx, struct fseries *s, struct err *err)
{
    struct set_operation *o = ctx;
    bool any = false;
    uint32_t id;
    enum errc rc = grouping_find(&o->signatures, s->labels, &id, err);

    if (rc != OK)
        return rc;
    if (id == TABLE_NONE)
        return o->pass_noted ? OK : o->to(o->ctx, s, err);
    for (size_t i = 0; i < o->q->steps.n; i++) {
        if (stepset_has(o->noted[id], i) != o->pass_noted)
            s->v[i] = absent();
        any |= !is_absent(s->v[i]);
    }
    return any ? o->to(o->ctx, s, err) : OK;
}

enum errc eval_set_operation(struct query *q, const struct node *n, sink *to, void *ctx,
                             struct err *err)
{
    const struct matching *m = &n->binary.matching;
    bool or = n->binary.op == OP_OR;
    const struct node *noted = or ? n->binary.lhs : n->binary.rhs;
    const struct node *filtered = or ? n->binary.rhs : n->binary.lhs;
    struct set_operation o = {
        .q = q,
        .signatures = { .q = q,
                        .choice = { .names = m->labels,
                                    .n = m->n_labels,
                                    .keep = m->on,
                                    .drop_name = !m->on } },
        .pass_noted = n->binary.op == OP_AND,
        .to = to,
        .ctx = ctx,
    };
    enum errc rc = eval_each(q, noted, or ? note_and_pass : note, &o, err);

    if (rc == OK)
        rc = eval_each(q, filtered, filter, &o, err);
    grouping_free(&o.signatures);
    return rc;
}
