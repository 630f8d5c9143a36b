#include "alert/write.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "query/ast.h"
#include "storage/db.h"
#include "storage/histogram.h"

#include "base/banned.h"

/* Series in one append: keeps a record of the log well below its limit. */
enum { BATCH_SERIES = 10000 };

/* ---- the writer ---- */

struct rule_writer *rule_writer_new(void)
{
    struct rule_writer *w = calloc(1, sizeof *w);

    if (w)
        w->arena = arena_new(0);
    if (w && !w->arena) {
        free(w);
        return NULL;
    }
    return w;
}

void rule_writer_free(struct rule_writer *w)
{
    if (!w)
        return;
    arena_free(w->arena);
    free(w->series);
    free(w->samples);
    free(w->histograms);
    free(w->names);
    free(w);
}

enum errc rule_writer_add(struct rule_writer *w, struct labels ls, struct sample s)
{
    struct labels copy = labels_copy(w->arena, ls);
    struct str name = labels_get(copy, METRIC_NAME);

    if ((ls.n > 0 && !copy.items)
        || !vec_reserve(&w->series, &w->cap_series, w->n + 1, sizeof *w->series)
        || !vec_reserve(&w->samples, &w->cap_samples, w->n + 1, sizeof *w->samples)
        || !vec_reserve(&w->names, &w->cap_names, w->n_names + 1, sizeof *w->names))
        return ERR_NOMEM;
    /* the copy is ours: the store may sort it in place */
    w->series[w->n] = (struct write_series){ .labels = (struct label *)copy.items,
                                             .n_labels = copy.n,
                                             .first_sample = w->n,
                                             .n_samples = 1 };
    w->samples[w->n++] = s;
    if (w->n_names == 0 || !str_equal(w->names[w->n_names - 1], name))
        w->names[w->n_names++] = name;
    return OK;
}

enum errc rule_writer_add_histogram(struct rule_writer *w, struct labels ls, int64_t t_ms,
                                    const struct histogram *h)
{
    const struct histogram *copy = histogram_copy(w->arena, h);
    struct write_series *s;

    if (!copy
        || !vec_reserve(&w->histograms, &w->cap_histograms, w->n_histograms + 1,
                        sizeof *w->histograms)
        || rule_writer_add(w, ls, (struct sample){ .t_ms = t_ms }) != OK)
        return ERR_NOMEM;
    s = &w->series[w->n - 1];
    s->n_samples = 0;
    s->first_histogram = w->n_histograms;
    s->n_histograms = 1;
    w->histograms[w->n_histograms++] = (struct write_histogram){ .t_ms = t_ms, .h = *copy };
    return OK;
}

static void warn_rejected(const struct write_result *res)
{
    struct str text = buf_as_str(&res->text);
    const char *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
    uint64_t n = 0;

    for (int i = 0; i < DB_REJECT_COUNT; i++)
        n += res->rejected[i];
    if (end)
        text.len = (size_t)(end - text.ptr);
    if (n)
        log_warn("samples of rules not stored", "samples=%llu first=\"%.*s\"",
                 (unsigned long long)n, STR_ARG(text));
}

enum errc rule_writer_flush(struct rule_writer *w, struct db *db, struct err *err)
{
    enum errc rc = OK;

    for (size_t at = 0; rc == OK && at < w->n; at += BATCH_SERIES) {
        struct write_result res = { 0 };
        struct write_batch batch = {
            .series = w->series + at,
            .n_series = w->n - at < BATCH_SERIES ? w->n - at : BATCH_SERIES,
            .samples = w->samples,
            .n_samples = w->n,
            .histograms = w->histograms,
            .n_histograms = w->n_histograms,
        };

        rc = db_append(db, &batch, &res, err);
        warn_rejected(&res);
        buf_free(&res.text);
    }
    w->n = w->n_histograms = w->n_names = 0;
    arena_reset(w->arena);
    return rc;
}

/* ---- what an expression reads ---- */

static bool selector_reads(const struct node *n, const struct rule_writer *w)
{
    for (size_t i = 0; i < n->selector.n_matchers; i++) {
        const struct matcher *m = &n->selector.matchers[i];

        if (m->op != MATCH_EQ || !str_equal(m->name, METRIC_NAME))
            continue;
        for (size_t k = 0; k < w->n_names; k++)
            if (str_equal(w->names[k], m->value))
                return true;
        return false;
    }
    return true; /* any name */
}

static bool reads(const struct node *n, const struct rule_writer *w)
{
    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        return false;
    case NODE_SELECTOR:
        return selector_reads(n, w);
    case NODE_MATRIX:
        return selector_reads(n->matrix.selector, w);
    case NODE_SUBQUERY:
        return reads(n->subquery.expr, w);
    case NODE_CALL:
        for (size_t i = 0; i < n->call.n_args; i++)
            if (reads(n->call.args[i], w))
                return true;
        return false;
    case NODE_AGGREGATE:
        return reads(n->aggregate.expr, w) || (n->aggregate.param && reads(n->aggregate.param, w));
    case NODE_BINARY:
        return reads(n->binary.lhs, w) || reads(n->binary.rhs, w);
    case NODE_UNARY:
        return reads(n->unary.expr, w);
    case NODE_PAREN:
        return reads(n->paren, w);
    }
    return true;
}

bool rule_writer_feeds(const struct rule_writer *w, const struct node *tree)
{
    return w->n > 0 && (!tree || reads(tree, w));
}

/* ---- series that end ---- */

void series_set_free(struct series_set *set)
{
    free(set->items);
    *set = (struct series_set){ 0 };
}

static int compare_ids(const struct series_id *a, const struct series_id *b)
{
    return a->hash != b->hash ? (a->hash > b->hash) - (a->hash < b->hash)
                              : labels_cmp(a->labels, b->labels);
}

static int compare_values(const void *a, const void *b)
{
    return compare_ids(&((const struct series_value *)a)->id,
                       &((const struct series_value *)b)->id);
}

static bool is_same(const struct series_set *set, const struct series_value *values, size_t n)
{
    bool same = set->n == n;

    for (size_t i = 0; same && i < n; i++)
        same = compare_ids(&set->items[i], &values[i].id) == 0;
    return same;
}

static size_t text_bytes(struct labels ls)
{
    size_t bytes = 0;

    for (size_t i = 0; i < ls.n; i++)
        bytes += ls.items[i].name.len + ls.items[i].value.len;
    return bytes;
}

static struct str take_text(char **to, struct str s)
{
    struct str copy = { *to, s.len };

    if (s.len)
        memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return copy;
}

/* A set of sorted values, in one block: series, then their labels, then texts. False when out of
 * memory. */
static bool make_set(struct series_set *set, const struct series_value *values, size_t n)
{
    size_t n_labels = 0, bytes = 0;
    struct label *labels;
    char *text;

    *set = (struct series_set){ 0 };
    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        n_labels += values[i].id.labels.n;
        bytes += text_bytes(values[i].id.labels);
    }
    set->items = malloc(n * sizeof *set->items + n_labels * sizeof *labels + bytes);
    if (!set->items)
        return false;
    labels = (struct label *)(set->items + n);
    text = (char *)(labels + n_labels);
    for (; set->n < n; set->n++) {
        struct labels from = values[set->n].id.labels;

        set->items[set->n] = (struct series_id){ values[set->n].id.hash, { labels, from.n } };
        for (size_t k = 0; k < from.n; k++, labels++) {
            labels->name = take_text(&text, from.items[k].name);
            labels->value = take_text(&text, from.items[k].value);
        }
    }
    return true;
}

/* Markers for what is in the set but not among the sorted values. */
static enum errc add_markers(const struct series_set *set, const struct series_value *values,
                             size_t n, int64_t t_ms, struct rule_writer *w)
{
    enum errc rc = OK;
    size_t at = 0;

    for (size_t i = 0; rc == OK && i < set->n; i++) {
        while (at < n && compare_ids(&values[at].id, &set->items[i]) < 0)
            at++;
        if (at == n || compare_ids(&values[at].id, &set->items[i]) != 0)
            rc = rule_writer_add(w, set->items[i].labels, (struct sample){ t_ms, stale_nan() });
    }
    return rc;
}

enum errc series_set_assign(struct series_set *set, struct series_value *values, size_t n)
{
    struct series_set fresh;

    if (n > 1)
        qsort(values, n, sizeof *values, compare_values);
    if (!make_set(&fresh, values, n))
        return ERR_NOMEM;
    series_set_free(set);
    *set = fresh;
    return OK;
}

enum errc series_set_write(struct series_set *set, struct series_value *values, size_t n,
                           int64_t t_ms, struct rule_writer *w, struct err *err)
{
    size_t n_before = w->n, n_names = w->n_names, n_histograms = w->n_histograms;
    struct series_set fresh = { 0 };
    enum errc rc = OK;
    bool same;

    if (n > 1)
        qsort(values, n, sizeof *values, compare_values);
    same = is_same(set, values, n);
    if (!same && !make_set(&fresh, values, n))
        return err_set(err, ERR_NOMEM, 0, "no memory for the series of a rule");
    for (size_t i = 0; rc == OK && i < n; i++)
        rc = values[i].h
                 ? rule_writer_add_histogram(w, values[i].id.labels, t_ms, values[i].h)
                 : rule_writer_add(w, values[i].id.labels, (struct sample){ t_ms, values[i].v });
    if (rc == OK && !same)
        rc = add_markers(set, values, n, t_ms, w);
    if (rc != OK) {
        w->n = n_before;
        w->n_names = n_names;
        w->n_histograms = n_histograms;
        series_set_free(&fresh);
        return err_set(err, rc, 0, "no memory for the samples of a rule");
    }
    if (!same) {
        series_set_free(set);
        *set = fresh;
    }
    return OK;
}
