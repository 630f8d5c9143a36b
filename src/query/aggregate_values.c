/* aggregate_values.c
 *
 * quantile keeps all series of a group and sorts the values of one step after the other.
 *
 * count_values turns values into labels, so its groups are found sample by sample. A count lives
 * under (group, value, step) in one hash table; the counts are sorted at the end, and each run of
 * the same group and value is a series. Values that print alike are one: all NaN, but not 0 and -0.
 */
#include "query/aggregate.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/vec.h"
#include "query/histogram_buckets.h"
#include "query/quantile.h"

#include "base/banned.h"

/* ---- quantile ---- */

struct quantile_group {
    struct vector series;
    struct name_loss name;
};

struct quantile {
    struct query *q;
    const struct node *n;
    struct grouping by;
    struct quantile_group *groups; /* by number in by */
    size_t n_groups, cap;
    const double *param; /* by step */
    sink *to;
    void *ctx;
};

static enum errc keep_series(void *ctx, struct fseries *s, struct err *err)
{
    struct quantile *k = ctx;
    size_t n = k->by.n, n_steps = k->q->steps.n;
    uint32_t id;
    enum errc rc;

    if (series_has_histogram(s, n_steps))
        annotate_ignored_histogram(k->q, AGG_QUANTILE, k->n->aggregate.expr->pos);
    if (s->h && !series_keep_floats(s, n_steps))
        return OK;
    if ((rc = grouping_add(&k->by, s->labels, &id, err)) != OK)
        return rc;
    if (k->by.n > n) {
        if (!vec_reserve(&k->groups, &k->cap, n + 1, sizeof *k->groups))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        k->groups[k->n_groups++] = (struct quantile_group){ 0 };
    }
    note_name_loss(&k->groups[id].name, s, n_steps);
    return vector_add(k->q, &k->groups[id].series, s, err);
}

static enum errc emit_quantile(const struct quantile *k, size_t id, struct err *err)
{
    const struct quantile_group *g = &k->groups[id];
    double *values = ARENA_NEW(k->q->arena, double, g->series.n), *v;
    enum errc rc = values ? values_new(k->q, &v, err) : eval_arena_full(k->q, err);

    query_next_series(k->q);
    for (size_t i = 0; rc == OK && i < k->q->steps.n; i++) {
        size_t n = 0;

        for (size_t j = 0; j < g->series.n; j++)
            if (!is_absent(g->series.items[j].v[i]))
                values[n++] = g->series.items[j].v[i];
        if (n > 0)
            v[i] = quantile_of(k->param[i], values, n);
        rc = query_poll(k->q, err);
    }
    if (rc != OK)
        return rc;
    return k->to(k->ctx, &(struct fseries){ k->by.groups[id].labels, g->name.drop_name, v, NULL },
                 err);
}

static void warn_about_quantile(struct query *q, const double *param, uint32_t pos)
{
    struct param_range r = param_range(param, q->steps.n);

    if (r.has_nan) {
        annotate_quantile(q, NAN, pos);
        return;
    }
    if (r.max > 1)
        annotate_quantile(q, r.max, pos);
    if (r.min < 0)
        annotate_quantile(q, r.min, pos);
}

enum errc eval_quantile(struct query *q, const struct node *n, sink *to, void *ctx, struct err *err)
{
    struct quantile k = { .q = q, .n = n, .by = aggregate_grouping(q, n), .to = to, .ctx = ctx };
    double *param;
    enum errc rc = eval_scalar(q, n->aggregate.param, &param, err);

    if (rc != OK)
        return rc;
    k.param = param;
    warn_about_quantile(q, param, n->aggregate.param->pos);
    rc = eval_each(q, n->aggregate.expr, keep_series, &k, err);
    for (size_t i = 0; rc == OK && i < k.by.n; i++)
        rc = emit_quantile(&k, i, err);
    for (size_t i = 0; i < k.n_groups; i++)
        vector_release(q, &k.groups[i].series);
    grouping_free(&k.by);
    free(k.groups);
    return rc;
}

/* ---- count_values ---- */

struct value_key {
    uint32_t group, step;
    uint64_t bits;         /* of a float, or the number of a histogram's text */
    uint64_t is_histogram; /* no padding: keys are compared as bytes */
};

struct value_count {
    struct value_key key;
    double count;
};

struct value_counts {
    struct query *q;
    struct str label;
    bool drops_label; /* without (…) takes the new label away again: values make no difference */
    struct grouping by;
    struct value_count *items; /* by number in table */
    size_t n, cap;
    struct table table;
    struct grouping texts; /* of histograms, each as the value of a label without a name */
    struct buf text;       /* scratch */
};

static bool has_key(const void *ctx, uint32_t id, const void *key)
{
    const struct value_counts *c = ctx;

    return memcmp(&c->items[id].key, key, sizeof(struct value_key)) == 0;
}

static uint64_t hash_key(const void *ctx, uint32_t id)
{
    const struct value_counts *c = ctx;

    return hash64(&c->items[id].key, sizeof(struct value_key));
}

static enum errc add_key(struct value_counts *c, const struct value_key *key, struct err *err)
{
    enum errc rc = query_hold(c->q, 1, err);

    if (rc != OK)
        return rc;
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct value_count *grown =
            arena_grow(c->q->arena, c->items, c->cap * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return eval_arena_full(c->q, err);
        c->items = grown;
        c->cap = cap;
    }
    c->items[c->n++] = (struct value_count){ *key, 1 };
    if (!table_add(&c->table, hash64(key, sizeof *key), (uint32_t)(c->n - 1), hash_key, c))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    return OK;
}

static enum errc histogram_key(struct value_counts *c, const struct histogram *h,
                               struct value_key *key, struct err *err)
{
    struct label label = { 0 };
    uint32_t id;
    enum errc rc;

    buf_clear(&c->text);
    histogram_print(&c->text, h);
    if (c->text.failed)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    label.value = buf_as_str(&c->text);
    if ((rc = grouping_find(&c->texts, (struct labels){ &label, 1 }, &id, err)) != OK)
        return rc;
    if (id == TABLE_NONE) { /* the group keeps what it is given */
        struct label *kept = ARENA_NEW(c->q->arena, struct label, 1);

        if (!kept || !(kept->value = str_copy(c->q->arena, label.value)).ptr)
            return eval_arena_full(c->q, err);
        if ((rc = grouping_add(&c->texts, (struct labels){ kept, 1 }, &id, err)) != OK)
            return rc;
    }
    key->bits = id;
    key->is_histogram = true;
    return OK;
}

static enum errc count_series(void *ctx, struct fseries *s, struct err *err)
{
    struct value_counts *c = ctx;
    struct value_key key;
    enum errc rc = grouping_add(&c->by, s->labels, &key.group, err);

    for (size_t i = 0; rc == OK && i < c->q->steps.n; i++) {
        uint32_t id;

        if (is_absent(s->v[i]))
            continue;
        key.step = (uint32_t)i;
        key.is_histogram = false;
        key.bits = isnan(s->v[i]) ? QUIET_NAN_BITS : f64_bits(s->v[i]);
        if (c->drops_label)
            key.bits = 0;
        else if (series_histogram(s, i) && (rc = histogram_key(c, s->h[i], &key, err)) != OK)
            break;
        id = table_find(&c->table, hash64(&key, sizeof key), has_key, c, &key);
        if (id != TABLE_NONE)
            c->items[id].count++;
        else
            rc = add_key(c, &key, err);
    }
    return rc;
}

static int by_series_and_step(const void *a, const void *b)
{
    const struct value_key *x = &((const struct value_count *)a)->key;
    const struct value_key *y = &((const struct value_count *)b)->key;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->is_histogram != y->is_histogram)
        return x->is_histogram < y->is_histogram ? -1 : 1;
    if (x->bits != y->bits)
        return x->bits < y->bits ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

static bool same_value(const struct value_key *a, const struct value_key *b)
{
    return a->group == b->group && a->bits == b->bits && a->is_histogram == b->is_histogram;
}

static enum errc value_labels(const struct value_counts *c, const struct value_key *key,
                              struct labels *out, struct err *err)
{
    char text[NUMBER_MAX];
    struct str value = { text, 0 };

    *out = c->by.groups[key->group].labels;
    if (c->drops_label)
        return OK;
    if (key->is_histogram)
        return labels_set(c->q, *out, c->label, c->texts.groups[key->bits].labels.items[0].value,
                          out, err);
    value.len = number_format(f64_from_bits(key->bits), NUMBER_PLAIN, text);
    value = str_copy(c->q->arena, value);
    if (!value.ptr)
        return eval_arena_full(c->q, err);
    return labels_set(c->q, *out, c->label, value, out, err);
}

static enum errc emit_counts(const struct value_counts *c, sink *to, void *ctx, struct err *err)
{
    struct fseries s = { 0 };
    enum errc rc = values_new(c->q, &s.v, err);

    if (c->n > 0)
        qsort(c->items, c->n, sizeof *c->items, by_series_and_step);
    for (size_t i = 0; rc == OK && i < c->n;) {
        const struct value_key first = c->items[i].key;

        query_next_series(c->q);
        for (size_t j = 0; j < c->q->steps.n; j++)
            s.v[j] = absent();
        for (; i < c->n && same_value(&c->items[i].key, &first); i++)
            s.v[c->items[i].key.step] = c->items[i].count;
        if ((rc = query_poll(c->q, err)) == OK
            && (rc = value_labels(c, &first, &s.labels, err)) == OK)
            rc = to(ctx, &s, err);
    }
    return rc;
}

/* The groups before values are told apart: the new label replaces one of the same name, so that one
 * never takes part. */
static enum errc value_grouping(struct value_counts *c, const struct node *n, struct err *err)
{
    struct str *names = ARENA_NEW(c->q->arena, struct str, n->aggregate.n_labels + 1);
    size_t n_names = 0;

    if (!names)
        return eval_arena_full(c->q, err);
    c->by = aggregate_grouping(c->q, n);
    c->texts = (struct grouping){ .q = c->q };
    for (size_t i = 0; i < n->aggregate.n_labels; i++) {
        if (!str_equal(n->aggregate.labels[i], c->label))
            names[n_names++] = n->aggregate.labels[i];
        else if (n->aggregate.without)
            c->drops_label = true;
    }
    if (n->aggregate.without) {
        names[n_names++] = c->label;
        c->drops_label |= str_equal(c->label, METRIC_NAME);
    }
    c->by.choice.names = names;
    c->by.choice.n = n_names;
    return OK;
}

enum errc eval_count_values(struct query *q, const struct node *n, sink *to, void *ctx,
                            struct err *err)
{
    struct value_counts c = { .q = q, .label = eval_string(n->aggregate.param) };
    enum errc rc = label_name_check(c.label, n->aggregate.param->pos, err);

    if (rc != OK)
        return rc;
    if ((rc = value_grouping(&c, n, err)) == OK)
        rc = eval_each(q, n->aggregate.expr, count_series, &c, err);
    if (rc == OK)
        rc = emit_counts(&c, to, ctx, err);
    query_release(q, c.n);
    grouping_free(&c.by);
    grouping_free(&c.texts);
    buf_free(&c.text);
    table_free(&c.table);
    return rc;
}
