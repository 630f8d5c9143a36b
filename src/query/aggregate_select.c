/* aggregate_select.c
 *
 * topk and bottomk keep, for each group and step, a binary heap of at most k samples with the worst
 * at the root (Williams, "Algorithm 232: Heapsort", CACM 7, 1964), so that of the input only what
 * may be in the result is held. Keys are negated for bottomk, which makes it topk; NaN is the worst
 * key. A sample displaces the root only when it is strictly better: of equal samples the earlier
 * series stay.
 *
 * limitk and limit_ratio need no memory of samples: each series is masked and passed on.
 */
#include "query/aggregate.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/vec.h"

#include "base/banned.h"

/* Go's bounds for a conversion to int64 that cannot overflow. */
static const double k_underflow = -9223372036854775808.0, k_overflow = 9223372036854774784.0;

/* The parameter of topk and limitk at each step; *empty when it selects nothing at all. */
static enum errc eval_k(struct query *q, const struct node *n, double **k, bool *empty,
                        struct err *err)
{
    const struct node *param = n->aggregate.param;
    struct param_range r;
    char text[NUMBER_MAX];
    double bad;
    enum errc rc = eval_scalar(q, param, k, err);

    if (rc != OK)
        return rc;
    r = param_range(*k, q->steps.n);
    *empty = !r.has_nan && r.max < 1;
    if (*empty)
        return OK;
    if (r.has_nan)
        return err_set(err, ERR_EXECUTION, param->pos, "Parameter value is NaN");
    if (r.min > k_underflow && r.max < k_overflow)
        return OK;
    bad = r.min <= k_underflow ? r.min : r.max;
    return err_set(err, ERR_EXECUTION, param->pos, "Scalar value %.*s %s int64",
                   (int)number_format(bad, NUMBER_G, text), text,
                   r.min <= k_underflow ? "underflows" : "overflows");
}

/* ---- topk, bottomk ---- */

struct candidate {
    double key;      /* the greater the better */
    uint32_t series; /* number in order of arrival */
};

struct heap {
    struct candidate *items;
    uint32_t n, cap;
};

struct input {
    struct labels labels;
    bool drop_name;
    size_t n_kept; /* candidates in all heaps, at the end */
};

struct topk {
    struct query *q;
    const struct node *n;
    const double *k; /* by step */
    bool negate;
    struct grouping by;
    struct heap **heaps; /* by group: one for each step */
    size_t heaps_cap;
    struct input *inputs;
    size_t n_inputs, inputs_cap;
    uint64_t held;
    sink *to;
    void *ctx;
};

static bool is_worse(double a, double b)
{
    return isnan(a) || a < b;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate t = *a;

    *a = *b;
    *b = t;
}

static void sift_up(struct candidate *items, size_t i)
{
    while (i > 0 && is_worse(items[i].key, items[(i - 1) / 2].key)) {
        swap(&items[i], &items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

static void sift_down(struct candidate *items, size_t n)
{
    for (size_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_worse(items[child + 1].key, items[child].key))
            child++;
        if (!is_worse(items[child].key, items[i].key))
            return;
        swap(&items[i], &items[child]);
    }
}

static enum errc heap_add(struct topk *t, struct heap *h, struct candidate c, struct err *err)
{
    enum errc rc = query_hold(t->q, 1, err);

    if (rc != OK)
        return rc;
    t->held++;
    if (h->n == h->cap) {
        uint32_t cap = h->cap ? h->cap * 2 : 4;
        struct candidate *grown =
            arena_grow(t->q->arena, h->items, h->cap * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return eval_arena_full(t->q, err);
        h->items = grown;
        h->cap = cap;
    }
    h->items[h->n] = c;
    sift_up(h->items, h->n++);
    return OK;
}

static enum errc heap_offer(struct topk *t, struct heap *h, double k, struct candidate c,
                            struct err *err)
{
    if (h->n < trunc(k))
        return heap_add(t, h, c, err);
    if (h->n == 0)
        return OK;
    if (h->items[0].key < c.key || (isnan(h->items[0].key) && !isnan(c.key))) {
        h->items[0] = c;
        sift_down(h->items, h->n);
    }
    return OK;
}

static enum errc topk_group(struct topk *t, struct labels ls, struct heap **out, struct err *err)
{
    size_t n = t->by.n;
    uint32_t id;
    enum errc rc = grouping_add(&t->by, ls, &id, err);

    if (rc != OK)
        return rc;
    if (t->by.n > n) {
        if (!vec_reserve(&t->heaps, &t->heaps_cap, n + 1, sizeof(struct heap *)))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        if (!(t->heaps[n] = ARENA_NEW(t->q->arena, struct heap, t->q->steps.n)))
            return eval_arena_full(t->q, err);
    }
    *out = t->heaps[id];
    return OK;
}

static enum errc offer_series(void *ctx, struct fseries *s, struct err *err)
{
    struct topk *t = ctx;
    struct heap *heaps;
    enum errc rc;

    if (series_has_histogram(s, t->q->steps.n))
        annotate_ignored_histogram(t->q, t->n->aggregate.op, t->n->pos);
    if (s->h && !series_keep_floats(s, t->q->steps.n))
        return OK;
    if ((rc = topk_group(t, s->labels, &heaps, err)) != OK)
        return rc;
    if (!vec_reserve(&t->inputs, &t->inputs_cap, t->n_inputs + 1, sizeof *t->inputs))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    t->inputs[t->n_inputs] = (struct input){ .labels = s->labels, .drop_name = s->drop_name };
    for (size_t i = 0; rc == OK && i < t->q->steps.n; i++) {
        struct candidate c = { t->negate ? -s->v[i] : s->v[i], (uint32_t)t->n_inputs };

        if (!is_absent(s->v[i]))
            rc = heap_offer(t, &heaps[i], t->k[i], c, err);
    }
    t->n_inputs++;
    return rc;
}

static int best_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    if (x->key > y->key || x->key < y->key)
        return x->key > y->key ? -1 : 1;
    return x->series < y->series ? -1 : x->series > y->series;
}

/* The one step of an instant query: group by group, each from its best sample to its worst. */
static enum errc emit_ordered(struct topk *t, struct err *err)
{
    enum errc rc = OK;

    for (size_t g = 0; g < t->by.n; g++) {
        struct heap *h = t->heaps[g];

        if (h->n > 0)
            qsort(h->items, h->n, sizeof *h->items, best_first);
        for (size_t i = 0; rc == OK && i < h->n; i++) {
            const struct input *in = &t->inputs[h->items[i].series];
            double v = t->negate ? -h->items[i].key : h->items[i].key;

            query_next_series(t->q);
            rc = t->to(t->ctx, &(struct fseries){ in->labels, in->drop_name, &v, NULL }, err);
        }
    }
    return rc;
}

struct kept {
    uint32_t step;
    double v;
};

/* All candidates by series: the first of input i is at first[i]. */
static enum errc kept_by_series(struct topk *t, struct kept **out, size_t **first, struct err *err)
{
    size_t n = 0, *at = ARENA_NEW(t->q->arena, size_t, t->n_inputs + 1);
    struct kept *kept;

    if (!at)
        return eval_arena_full(t->q, err);
    for (size_t g = 0; g < t->by.n; g++)
        for (size_t i = 0; i < t->q->steps.n; i++)
            for (size_t j = 0; j < t->heaps[g][i].n; j++, n++)
                t->inputs[t->heaps[g][i].items[j].series].n_kept++;
    for (size_t i = 0; i < t->n_inputs; i++)
        at[i + 1] = at[i] + t->inputs[i].n_kept;
    if (!(kept = ARENA_NEW(t->q->arena, struct kept, n)))
        return eval_arena_full(t->q, err);
    for (size_t g = 0; g < t->by.n; g++)
        for (size_t i = 0; i < t->q->steps.n; i++)
            for (size_t j = 0; j < t->heaps[g][i].n; j++) {
                const struct candidate *c = &t->heaps[g][i].items[j];

                kept[at[c->series + 1] - t->inputs[c->series].n_kept--] =
                    (struct kept){ (uint32_t)i, t->negate ? -c->key : c->key };
            }
    *out = kept;
    *first = at;
    return OK;
}

static enum errc emit_by_series(struct topk *t, struct err *err)
{
    struct kept *kept;
    size_t *first;
    double *v;
    enum errc rc = kept_by_series(t, &kept, &first, err);

    if (rc != OK || (rc = values_new(t->q, &v, err)) != OK)
        return rc;
    for (size_t i = 0; rc == OK && i < t->n_inputs; i++) {
        if (first[i] == first[i + 1])
            continue;
        query_next_series(t->q);
        for (size_t j = 0; j < t->q->steps.n; j++)
            v[j] = absent();
        for (size_t j = first[i]; j < first[i + 1]; j++)
            v[kept[j].step] = kept[j].v;
        if ((rc = query_poll(t->q, err)) == OK)
            rc = t->to(t->ctx,
                       &(struct fseries){ t->inputs[i].labels, t->inputs[i].drop_name, v, NULL },
                       err);
    }
    return rc;
}

enum errc eval_topk(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    struct topk t = { .q = q,
                      .n = n,
                      .negate = n->aggregate.op == AGG_BOTTOMK,
                      .by = aggregate_grouping(q, n),
                      .to = to,
                      .ctx = ctx };
    bool empty;
    double *k;
    enum errc rc = eval_k(q, n, &k, &empty, err);

    if (rc != OK)
        return rc;
    t.k = k;
    rc = eval_each(q, n->aggregate.expr, empty ? sink_discard : offer_series, &t, err);
    if (rc == OK)
        rc = q->steps.n == 1 ? emit_ordered(&t, err) : emit_by_series(&t, err);
    query_release(q, t.held);
    grouping_free(&t.by);
    free(t.heaps);
    free(t.inputs);
    return rc;
}

/* ---- limitk ---- */

struct limitk {
    struct query *q;
    const double *k;
    struct grouping by;
    uint32_t **taken; /* by group: for each step, how many series have been passed on */
    size_t cap;
    sink *to;
    void *ctx;
};

static enum errc limit_series(void *ctx, struct fseries *s, struct err *err)
{
    struct limitk *l = ctx;
    size_t n = l->by.n;
    bool any = false;
    uint32_t id;
    enum errc rc = grouping_add(&l->by, s->labels, &id, err);

    if (rc != OK)
        return rc;
    if (l->by.n > n) {
        if (!vec_reserve(&l->taken, &l->cap, n + 1, sizeof(uint32_t *)))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        if (!(l->taken[n] = ARENA_NEW(l->q->arena, uint32_t, l->q->steps.n)))
            return eval_arena_full(l->q, err);
    }
    for (size_t i = 0; i < l->q->steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        if (l->taken[id][i] < trunc(l->k[i]))
            l->taken[id][i]++, any = true;
        else
            s->v[i] = absent();
    }
    return any ? l->to(l->ctx, s, err) : OK;
}

enum errc eval_limitk(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    struct limitk l = { .q = q, .by = aggregate_grouping(q, n), .to = to, .ctx = ctx };
    bool empty;
    double *k;
    enum errc rc = eval_k(q, n, &k, &empty, err);

    if (rc != OK)
        return rc;
    l.k = k;
    rc = eval_each(q, n->aggregate.expr, empty ? sink_discard : limit_series, &l, err);
    grouping_free(&l.by);
    free(l.taken);
    return rc;
}

/* ---- limit_ratio ---- */

struct limit_ratio {
    struct query *q;
    const double *ratio;
    struct buf packed; /* scratch */
    sink *to;
    void *ctx;
};

/* A length as Prometheus packs it into label sets: one byte below 255, else 255 and three. */
static void pack_text(struct buf *b, struct str s)
{
    if (s.len < 255) {
        buf_u8(b, (uint8_t)s.len);
    } else {
        buf_u8(b, 255);
        buf_u8(b, (uint8_t)s.len);
        buf_u8(b, (uint8_t)(s.len >> 8));
        buf_u8(b, (uint8_t)(s.len >> 16));
    }
    buf_str(b, s);
}

/* Where a label set stands in 0..1. */
static double ratio_offset(struct buf *b, struct labels ls)
{
    buf_clear(b);
    for (size_t i = 0; i < ls.n; i++) {
        pack_text(b, ls.items[i].name);
        pack_text(b, ls.items[i].value);
    }
    return (double)hash_xxh64(b->ptr, b->len) / 18446744073709551616.0;
}

static enum errc sample_series(void *ctx, struct fseries *s, struct err *err)
{
    struct limit_ratio *l = ctx;
    double offset = ratio_offset(&l->packed, s->labels);
    bool any = false;

    if (l->packed.failed)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    for (size_t i = 0; i < l->q->steps.n; i++) {
        double r = fmax(-1, fmin(1, l->ratio[i]));

        if (r >= 0 ? offset >= r : offset < 1 + r)
            s->v[i] = absent();
        any |= !is_absent(s->v[i]);
    }
    return any ? l->to(l->ctx, s, err) : OK;
}

static void annotate_ratio(struct query *q, double value, uint32_t pos)
{
    char text[NUMBER_MAX];
    int n = (int)number_format(value, NUMBER_G, text);

    annotate(q, ANNOTATION_WARNING, pos,
             "ratio value should be between -1 and 1, got %.*s, capping to %d", n, text,
             value > 0 ? 1 : -1);
}

enum errc eval_limit_ratio(struct query *q, const struct node *n, sink *to, void *ctx,
                           struct err *err)
{
    const struct node *param = n->aggregate.param;
    struct limit_ratio l = { .q = q, .to = to, .ctx = ctx };
    struct param_range r;
    double *ratio;
    enum errc rc = eval_scalar(q, param, &ratio, err);

    if (rc != OK)
        return rc;
    r = param_range(ratio, q->steps.n);
    if (r.has_nan)
        return err_set(err, ERR_EXECUTION, param->pos, "Ratio value is NaN");
    if (r.max > 1)
        annotate_ratio(q, r.max, param->pos);
    if (r.min < -1)
        annotate_ratio(q, r.min, param->pos);
    l.ratio = ratio;
    rc = eval_each(q, n->aggregate.expr, sample_series, &l, err);
    buf_free(&l.packed);
    return rc;
}
