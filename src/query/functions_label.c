/* functions_label.c
 *
 * label_replace and label_join give series new labels, one by one. Two series that come to have the
 * same labels are an error at once when they share a step, and one series otherwise: for each new
 * label set the steps it has had are noted.
 *
 * The sorts order the one step of an instant query. Natural order, which sort_by_label uses, is not
 * transitive for all texts, so the sort is a merge sort, which any comparison suits.
 */
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/regex.h"
#include "base/vec.h"
#include "query/eval.h"
#include "query/functions_impl.h"
#include "query/grouping.h"
#include "query/stepset.h"

#include "base/banned.h"

/* ---- label_replace, label_join ---- */

struct relabel {
    struct query *q;
    const struct node *call;
    struct str dst;
    /* label_replace */
    struct regex *regex;
    struct str src, replacement;
    /* label_join */
    struct str separator;

    struct buf text; /* scratch */
    struct grouping by_labels;
    uint64_t **given; /* by number in by_labels: the steps with a value */
    size_t cap;
    sink *to;
    void *ctx;
};

static bool is_label_name(struct str s)
{
    return s.len > 0 && utf8_valid(s);
}

static enum errc check_overlap(struct relabel *r, const struct fseries *s, struct err *err)
{
    size_t n = r->by_labels.n;
    uint32_t id;
    enum errc rc = grouping_add(&r->by_labels, s->labels, &id, err);

    if (rc != OK)
        return rc;
    if (r->by_labels.n > n) {
        if (!vec_reserve(&r->given, &r->cap, n + 1, sizeof(uint64_t *)))
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        if ((rc = stepset_new(r->q, &r->given[n], err)) != OK)
            return rc;
    }
    for (size_t i = 0; i < r->q->steps.n; i++) {
        if (is_absent(s->v[i]))
            continue;
        if (stepset_has(r->given[id], i))
            return err_set(err, ERR_EXECUTION, r->call->pos,
                           "vector cannot contain metrics with the same labelset");
        stepset_add(r->given[id], i);
    }
    return OK;
}

/* Gives s the label dst with the text in r->text. */
static enum errc set_label(struct relabel *r, struct fseries *s, struct err *err)
{
    struct str value;
    enum errc rc;

    if (r->text.failed)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    value = str_copy(r->q->arena, buf_as_str(&r->text));
    if (!value.ptr)
        return eval_arena_full(r->q, err);
    if ((rc = labels_set(r->q, s->labels, r->dst, value, &s->labels, err)) != OK)
        return rc;
    if (str_equal(r->dst, METRIC_NAME))
        s->drop_name = false;
    return OK;
}

static enum errc replace_series(void *ctx, struct fseries *s, struct err *err)
{
    struct relabel *r = ctx;
    bool matched;
    enum errc rc;

    buf_clear(&r->text);
    rc = regex_replace(r->regex, labels_get(s->labels, r->src), r->replacement, &r->text, &matched);
    if (rc != OK)
        return err_set(err, rc, r->call->pos, "label_replace(): %s", errc_text(rc));
    if (matched && (rc = set_label(r, s, err)) != OK)
        return rc;
    if ((rc = check_overlap(r, s, err)) != OK)
        return rc;
    return r->to(r->ctx, s, err);
}

static enum errc join_series(void *ctx, struct fseries *s, struct err *err)
{
    struct relabel *r = ctx;
    enum errc rc;

    buf_clear(&r->text);
    for (size_t i = 3; i < r->call->call.n_args; i++) {
        if (i > 3)
            buf_str(&r->text, r->separator);
        buf_str(&r->text, labels_get(s->labels, eval_string(r->call->call.args[i])));
    }
    if ((rc = set_label(r, s, err)) != OK || (rc = check_overlap(r, s, err)) != OK)
        return rc;
    return r->to(r->ctx, s, err);
}

static void relabel_free(struct relabel *r)
{
    regex_free(r->regex);
    buf_free(&r->text);
    grouping_free(&r->by_labels);
    free(r->given);
}

static enum errc compile(struct relabel *r, struct str pattern, struct err *err)
{
    struct err why = err_in(NULL);
    enum errc rc = regex_compile(pattern, &r->regex, &why);

    if (rc == ERR_BAD_QUERY)
        return err_set(err, ERR_EXECUTION, r->call->pos,
                       "invalid regular expression in label_replace(): %.*s", STR_ARG(pattern));
    return rc == OK ? OK : err_set(err, rc, r->call->pos, "label_replace(): %s", err_text(&why));
}

enum errc call_label_replace(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err)
{
    struct node *const *args = call->call.args;
    struct relabel r = { .q = q,
                         .call = call,
                         .dst = eval_string(args[1]),
                         .replacement = eval_string(args[2]),
                         .src = eval_string(args[3]),
                         .by_labels = { .q = q },
                         .to = to,
                         .ctx = ctx };
    enum errc rc = compile(&r, eval_string(args[4]), err);

    if (rc == OK && !is_label_name(r.dst))
        rc = err_set(err, ERR_EXECUTION, call->pos,
                     "invalid destination label name in label_replace(): %.*s", STR_ARG(r.dst));
    if (rc == OK)
        rc = eval_each(q, args[0], replace_series, &r, err);
    relabel_free(&r);
    return rc;
}

enum errc call_label_join(struct query *q, const struct node *call, sink *to, void *ctx,
                          struct err *err)
{
    struct node *const *args = call->call.args;
    struct relabel r = { .q = q,
                         .call = call,
                         .dst = eval_string(args[1]),
                         .separator = eval_string(args[2]),
                         .by_labels = { .q = q },
                         .to = to,
                         .ctx = ctx };
    enum errc rc;

    for (size_t i = 3; i < call->call.n_args; i++) {
        struct str src = eval_string(args[i]);

        if (!is_label_name(src))
            return err_set(err, ERR_EXECUTION, call->pos,
                           "invalid source label name in label_join(): %.*s", STR_ARG(src));
    }
    if (!is_label_name(r.dst))
        return err_set(err, ERR_EXECUTION, call->pos,
                       "invalid destination label name in label_join(): %.*s", STR_ARG(r.dst));
    rc = eval_each(q, args[0], join_series, &r, err);
    relabel_free(&r);
    return rc;
}

/* ---- natural order ---- */

/* The run of digits or of other bytes that s starts with; s is moved past it. */
static struct str take_run(struct str *s)
{
    struct str run = { s->ptr, 0 };

    while (run.len < s->len
           && (s->ptr[run.len] >= '0' && s->ptr[run.len] <= '9')
                  == (s->ptr[0] >= '0' && s->ptr[0] <= '9'))
        run.len++;
    *s = (struct str){ s->ptr + run.len, s->len - run.len };
    return run;
}

bool natural_before(struct str a, struct str b)
{
    while (a.len > 0 && b.len > 0) {
        struct str x = take_run(&a), y = take_run(&b);
        int64_t i, j;

        if (number_parse_i64(x, &i) && number_parse_i64(y, &j)) {
            if (i != j)
                return i < j;
        } else if (!str_equal(x, y)) {
            return str_cmp(x, y) < 0;
        }
        if (a.len == 0)
            return true;
    }
    return false;
}

/* ---- sorting ---- */

struct order {
    struct query *q;
    const struct node *call;
    bool descending;
    int (*compare)(const struct order *o, const struct fseries *a, const struct fseries *b);
};

static int compare_values(const struct order *o, const struct fseries *a, const struct fseries *b)
{
    double x = a->v[0], y = b->v[0];

    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return o->descending ? (x < y) - (x > y) : (x > y) - (x < y);
}

static int compare_labels(const struct order *o, const struct fseries *a, const struct fseries *b)
{
    int sign = o->descending ? -1 : 1;

    for (size_t i = 1; i < o->call->call.n_args; i++) {
        struct str name = eval_string(o->call->call.args[i]);
        struct str x = labels_get(a->labels, name), y = labels_get(b->labels, name);

        if (str_equal(x, y))
            continue;
        if (x.len == 0 || y.len == 0)
            return x.len == 0 ? 1 : -1;
        return natural_before(x, y) ? -sign : sign;
    }
    return sign * labels_cmp(a->labels, b->labels);
}

/* Merges the sorted runs from..middle and middle..to. */
static void merge(const struct order *o, const struct fseries *in, struct fseries *out,
                  const size_t bounds[3])
{
    size_t i = bounds[0], j = bounds[1];

    for (size_t k = bounds[0]; k < bounds[2]; k++)
        if (j == bounds[2] || (i < bounds[1] && o->compare(o, &in[i], &in[j]) <= 0))
            out[k] = in[i++];
        else
            out[k] = in[j++];
}

/* A stable merge sort, bottom up, between v's items and a second array. */
static enum errc sort_vector(const struct order *o, struct vector *v, struct err *err)
{
    struct fseries *from = v->items, *to = ARENA_NEW(o->q->arena, struct fseries, v->n);

    if (!to)
        return eval_arena_full(o->q, err);
    for (size_t width = 1; width < v->n; width *= 2) {
        struct fseries *swap = from;

        for (size_t i = 0; i < v->n; i += 2 * width) {
            size_t middle = i + width < v->n ? i + width : v->n;
            size_t end = middle + width < v->n ? middle + width : v->n;

            merge(o, from, to, (const size_t[]){ i, middle, end });
        }
        from = to;
        to = swap;
    }
    v->items = from;
    return OK;
}

struct floats {
    struct query *q;
    sink *to;
    void *ctx;
};

static enum errc floats_only(void *ctx, struct fseries *s, struct err *err)
{
    const struct floats *f = ctx;

    return series_keep_floats(s, f->q->steps.n) ? f->to(f->ctx, s, err) : OK;
}

static enum errc sorted(const struct order *o, sink *to, void *ctx, struct err *err)
{
    struct floats floats = { o->q, to, ctx };
    struct vector v = { 0 };
    enum errc rc;

    if (o->q->steps.n > 1) {
        annotate(o->q, ANNOTATION_WARNING, o->call->pos,
                 "sort is ineffective for range queries since results are always ordered by "
                 "labels");
        return eval_each(o->q, o->call->call.args[0],
                         o->compare == compare_values ? floats_only : to,
                         o->compare == compare_values ? &floats : ctx, err);
    }
    if ((rc = eval_vector(o->q, o->call->call.args[0], &v, err)) == OK)
        rc = sort_vector(o, &v, err);
    for (size_t i = 0; rc == OK && i < v.n; i++) {
        query_next_series(o->q);
        if (o->compare == compare_labels || series_keep_floats(&v.items[i], 1))
            rc = to(ctx, &v.items[i], err);
    }
    vector_release(o->q, &v);
    return rc;
}

enum errc call_sort(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return sorted(&(struct order){ q, call, false, compare_values }, to, ctx, err);
}

enum errc call_sort_desc(struct query *q, const struct node *call, sink *to, void *ctx,
                         struct err *err)
{
    return sorted(&(struct order){ q, call, true, compare_values }, to, ctx, err);
}

enum errc call_sort_by_label(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err)
{
    return sorted(&(struct order){ q, call, false, compare_labels }, to, ctx, err);
}

enum errc call_sort_by_label_desc(struct query *q, const struct node *call, sink *to, void *ctx,
                                  struct err *err)
{
    return sorted(&(struct order){ q, call, true, compare_labels }, to, ctx, err);
}
