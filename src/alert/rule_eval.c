#include "alert/rule_eval.h"

#include <stdlib.h>
#include <string.h>

#include "alert/manager.h"
#include "alert/template.h"
#include "base/arena.h"
#include "base/log.h"

#include "query/histogram_buckets.h"

#include "base/banned.h"

static enum errc arena_full(const struct rule_context *c, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "the rule's result needs more than %zu bytes",
                   arena_limit(c->arena));
}

/* ---- labels ---- */

enum errc labels_merge(struct labels base, struct labels over, struct arena *a, struct labels *out)
{
    struct label *items = ARENA_NEW(a, struct label, base.n + over.n);
    size_t n = 0, i = 0, k = 0;

    if (!items)
        return ERR_LIMIT;
    while (i < base.n || k < over.n) {
        int order = i == base.n   ? 1
                    : k == over.n ? -1
                                  : str_cmp(base.items[i].name, over.items[k].name);

        if (order < 0)
            items[n++] = base.items[i];
        else if (over.items[k].value.len > 0)
            items[n++] = over.items[k];
        i += order <= 0;
        k += order >= 0;
    }
    *out = (struct labels){ items, n };
    return OK;
}

/* base with one label set, or deleted when value is empty. */
static enum errc set_label(const struct rule_context *c, struct labels *ls, struct str name,
                           struct str value, struct err *err)
{
    const struct label one = { name, value };

    return labels_merge(*ls, (struct labels){ &one, 1 }, c->arena, ls) == OK ? OK
                                                                             : arena_full(c, err);
}

/* ---- templates ---- */

/* One series whose templates are being expanded. */
struct expansion {
    const struct rule *rule;
    const struct rule_context *c;
    struct rule_output *out;
    struct str name; /* of the template, in errors */
    struct template_data data;
    struct buf text;
};

/* A native histogram as text; nothing for a float. */
static enum errc histogram_text(const struct histogram *h, struct arena *a, struct str *out,
                                struct err *err)
{
    struct buf b = { 0 };

    *out = (struct str){ 0 };
    if (!h)
        return OK;
    histogram_print(&b, h);
    *out = str_copy(a, buf_as_str(&b));
    buf_free(&b);
    return out->ptr ? OK : err_set(err, ERR_LIMIT, 0, "out of memory");
}

/* The query() of templates. */
static enum errc query_for_template(void *ctx, struct str text, struct arena *a,
                                    struct template_sample **out, size_t *n, struct err *err)
{
    const struct rule_context *c = ctx;
    struct query_result *r = NULL;
    struct template_sample *items;
    enum errc rc = query_instant(c->query, text, c->t_ms, &r, err);

    if (rc != OK)
        return rc;
    items = ARENA_NEW(a, struct template_sample, r->n_series);
    if (r->type != TYPE_VECTOR && r->type != TYPE_SCALAR)
        rc = err_set(err, ERR_EXECUTION, 0, "query result is not a vector or scalar");
    else if (!items)
        rc = err_set(err, ERR_LIMIT, 0, "out of memory");
    for (size_t i = 0; rc == OK && i < r->n_series; i++) {
        items[i].labels = labels_copy(a, r->series[i].labels);
        items[i].v = result_histogram(&r->series[i], 0) ? 0 : r->series[i].points[0].v;
        rc = histogram_text(result_histogram(&r->series[i], 0), a, &items[i].histogram, err);
        if (r->series[i].labels.n > 0 && !items[i].labels.items)
            rc = err_set(err, ERR_LIMIT, 0, "out of memory");
    }
    *out = items;
    *n = r->n_series;
    query_result_free(r);
    return rc;
}

static bool is_template(struct str text)
{
    return text.len >= 2 && memmem(text.ptr, text.len, "{{", 2) != NULL;
}

/* The first failure of an evaluation is logged; an alert shows its own. */
static void on_failure(struct expansion *e, const struct err *err)
{
    if (e->out->expansion_failures++ == 0)
        log_warn("template of an alert failed", "alert=\"%.*s\" err=\"%s\"", STR_ARG(e->rule->name),
                 err_text(err));
    buf_clear(&e->text);
    buf_printf(&e->text, "<error expanding template: %s>", err_text(err));
}

static enum errc expand(struct expansion *e, struct str text, struct str *out, struct err *err)
{
    struct err fault = err_in(e->c->arena);

    *out = text;
    if (!is_template(text))
        return OK;
    buf_clear(&e->text);
    e->out->expansions++;
    if (template_expand(e->name, text, &e->data, e->c->arena, &e->text, &fault) != OK)
        on_failure(e, &fault);
    if (e->text.failed)
        return err_set(err, ERR_NOMEM, 0, "no memory to expand a template");
    *out = str_copy(e->c->arena, buf_as_str(&e->text));
    return out->ptr ? OK : arena_full(e->c, err);
}

static enum errc expand_all(struct expansion *e, struct labels from, struct labels *out,
                            struct err *err)
{
    struct label *items = ARENA_NEW(e->c->arena, struct label, from.n);
    enum errc rc = items ? OK : arena_full(e->c, err);

    for (size_t i = 0; rc == OK && i < from.n; i++) {
        items[i].name = from.items[i].name;
        rc = expand(e, from.items[i].value, &items[i].value, err);
    }
    *out = (struct labels){ items, from.n };
    return rc;
}

/* ---- one series of the result ---- */

static enum errc record_series(const struct rule *rule, const struct rule_context *c,
                               struct alert_input *item, struct err *err)
{
    enum errc rc = set_label(c, &item->labels, METRIC_NAME, rule->name, err);

    if (rc == OK && labels_merge(item->labels, rule->labels, c->arena, &item->labels) != OK)
        rc = arena_full(c, err);
    return rc;
}

static enum errc alert_series(struct expansion *e, struct alert_input *item, struct err *err)
{
    const struct rule_context *c = e->c;
    struct labels labels = { 0 };
    enum errc rc;

    e->data.labels = item->labels;
    e->data.value = item->value;
    if ((rc = histogram_text(item->h, c->arena, &e->data.histogram, err)) != OK
        || (rc = expand_all(e, e->rule->labels, &labels, err)) != OK
        || (rc = expand_all(e, e->rule->annotations, &item->annotations, err)) != OK
        || (rc = set_label(c, &item->labels, METRIC_NAME, (struct str){ 0 }, err)) != OK)
        return rc;
    if (labels_merge(item->labels, labels, c->arena, &item->labels) != OK)
        return arena_full(c, err);
    return set_label(c, &item->labels, STR("alertname"), e->rule->name, err);
}

/* ---- the whole result ---- */

static enum errc record_all(const struct rule *rule, const struct rule_context *c,
                            struct rule_output *out, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < out->n; i++)
        rc = record_series(rule, c, &out->items[i], err);
    return rc;
}

static enum errc alert_all(const struct rule *rule, const struct rule_context *c,
                           struct rule_output *out, struct err *err)
{
    struct expansion e = { .rule = rule,
                           .c = c,
                           .out = out,
                           .data = { .external_labels = c->settings->external_labels,
                                     .external_url = c->settings->external_url,
                                     .now_ms = c->t_ms,
                                     .query = query_for_template,
                                     .query_ctx = (void *)c } };
    const char *name = arena_printf(c->arena, "__alert_%.*s", STR_ARG(rule->name));
    enum errc rc = name ? OK : arena_full(c, err);

    e.name = str_from(name);
    for (size_t i = 0; rc == OK && i < out->n; i++)
        rc = alert_series(&e, &out->items[i], err);
    buf_free(&e.text);
    return rc;
}

static int compare_items(const void *pa, const void *pb)
{
    const struct alert_input *a = pa, *b = pb;

    return a->hash != b->hash ? (a->hash > b->hash) - (a->hash < b->hash)
                              : labels_cmp(a->labels, b->labels);
}

static enum errc put_in_order(const struct rule *rule, struct rule_output *out, struct err *err)
{
    for (size_t i = 0; i < out->n; i++)
        out->items[i].hash = labels_hash(out->items[i].labels);
    if (out->n > 1)
        qsort(out->items, out->n, sizeof *out->items, compare_items);
    for (size_t i = 1; i < out->n; i++)
        if (compare_items(&out->items[i - 1], &out->items[i]) == 0)
            return err_set(err, ERR_EXECUTION, 0,
                           "vector contains metrics with the same labelset after applying %s "
                           "labels",
                           rule->kind == RULE_ALERTING ? "alert" : "rule");
    return OK;
}

enum errc rule_eval(const struct rule *rule, const struct rule_context *c, struct rule_output *out,
                    struct err *err)
{
    const struct query_result *r;
    enum errc rc =
        query_instant(c->query, rule->expr, c->t_ms - c->query_offset_ms, &out->result, err);

    if (rc != OK)
        return rc;
    r = out->result;
    if (r->type != TYPE_VECTOR && r->type != TYPE_SCALAR)
        return err_set(err, ERR_EXECUTION, 0, "rule result is not a vector or scalar");
    out->items = ARENA_NEW(c->arena, struct alert_input, r->n_series);
    if (!out->items)
        return arena_full(c, err);
    for (; out->n < r->n_series; out->n++) {
        out->items[out->n].labels = r->series[out->n].labels;
        out->items[out->n].h = result_histogram(&r->series[out->n], 0);
        out->items[out->n].value = out->items[out->n].h ? 0 : r->series[out->n].points[0].v;
    }
    rc = rule->kind == RULE_ALERTING ? alert_all(rule, c, out, err) : record_all(rule, c, out, err);
    return rc == OK ? put_in_order(rule, out, err) : rc;
}

void rule_output_free(struct rule_output *out)
{
    query_result_free(out->result);
    *out = (struct rule_output){ 0 };
}
