/* api_exemplars.c -- /api/v1/query_exemplars: the exemplars of the series that an expression selects.
 *
 * The expression is not evaluated: its selectors count, wherever they stand.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/json.h"
#include "http/api_private.h"
#include "http/params.h"
#include "query/ast.h"
#include "query/parse.h"
#include "storage/labels_json.h"

#include "base/banned.h"

/* What all selectors of an expression found. */
struct gather {
    struct db_view *view;
    struct arena *arena;
    int64_t min_t_ms, max_t_ms;
    struct exemplar_series *items; /* in the arena; a series once for each selector of it */
    size_t n;
    struct err *err;
};

static enum errc gather_selector(struct gather *g, const struct node *n)
{
    struct exemplar_list list;
    struct exemplar_series *grown;
    enum errc rc = db_exemplars(g->view, n->selector.matchers, n->selector.n_matchers, g->min_t_ms,
                                g->max_t_ms, g->arena, &list, g->err);

    if (rc != OK || list.n == 0)
        return rc;
    grown = arena_grow(g->arena, g->items, g->n * sizeof *grown, (g->n + list.n) * sizeof *grown);
    if (!grown)
        return err_set(g->err, ERR_LIMIT, 0, "the exemplars need more than %zu bytes of memory",
                       arena_limit(g->arena));
    memcpy(grown + g->n, list.items, list.n * sizeof *grown);
    g->items = grown;
    g->n += list.n;
    return OK;
}

/* A tree is at most PARSE_MAX_HEIGHT high. */
static enum errc gather_node(struct gather *g, const struct node *n)
{
    enum errc rc = OK;

    switch (n->kind) {
    case NODE_SELECTOR:
        return gather_selector(g, n);
    case NODE_MATRIX:
        return gather_node(g, n->matrix.selector);
    case NODE_SUBQUERY:
        return gather_node(g, n->subquery.expr);
    case NODE_CALL:
        for (size_t i = 0; i < n->call.n_args && rc == OK; i++)
            rc = gather_node(g, n->call.args[i]);
        return rc;
    case NODE_AGGREGATE:
        if (n->aggregate.param)
            rc = gather_node(g, n->aggregate.param);
        return rc == OK ? gather_node(g, n->aggregate.expr) : rc;
    case NODE_BINARY:
        rc = gather_node(g, n->binary.lhs);
        return rc == OK ? gather_node(g, n->binary.rhs) : rc;
    case NODE_UNARY:
        return gather_node(g, n->unary.expr);
    case NODE_PAREN:
        return gather_node(g, n->paren);
    default:
        return OK; /* numbers and strings */
    }
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const struct exemplar_series *)a)->labels,
                      ((const struct exemplar_series *)b)->labels);
}

static void write_series(struct buf *b, const struct exemplar_series *s)
{
    buf_text(b, "{\"seriesLabels\":");
    json_labels(b, s->labels);
    buf_text(b, ",\"exemplars\":[");
    for (size_t i = 0; i < s->n; i++) {
        const struct exemplar *e = &s->exemplars[i];

        buf_text(b, i ? ",{\"labels\":" : "{\"labels\":");
        json_labels(b, e->labels);
        buf_text(b, ",\"value\":");
        json_value(b, e->v);
        buf_text(b, ",\"timestamp\":");
        json_time(b, e->t_ms);
        buf_u8(b, '}');
    }
    buf_text(b, "]}");
}

static void write_all(struct buf *b, struct gather *g)
{
    if (g->n)
        qsort(g->items, g->n, sizeof *g->items, by_labels);
    buf_u8(b, '[');
    for (size_t i = 0; i < g->n; i++) {
        if (i > 0 && labels_equal(g->items[i - 1].labels, g->items[i].labels))
            continue;
        if (i > 0)
            buf_u8(b, ',');
        write_series(b, &g->items[i]);
    }
    buf_u8(b, ']');
}

static void answer(struct api *api, const struct node *n, struct gather *g,
                   struct http_response *rs)
{
    enum errc rc = db_view_open(api_db(api), g->min_t_ms, g->max_t_ms, &g->view, g->err);

    if (rc == OK)
        rc = gather_node(g, n);
    if (rc == OK) {
        api_begin(rs);
        write_all(&rs->body, g);
        api_end(&rs->body, &(struct api_notes){ 0 });
    } else {
        api_error(rs, rc, err_text(g->err));
    }
    db_view_close(g->view);
}

void api_query_exemplars(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct err err = err_in(rq->arena);
    struct gather g = { .err = &err };
    struct node *n;

    if (!api_time(rq, rs, "start", TIME_MIN_MS, &g.min_t_ms)
        || !api_time(rq, rs, "end", TIME_MAX_MS, &g.max_t_ms) || !(n = api_parse_only(rq, rs)))
        return;
    if (g.max_t_ms < g.min_t_ms)
        api_bad_param(rq, rs, "end", "end timestamp must not be before start timestamp");
    else if (!(g.arena = arena_new(API_MAX_META_BYTES)))
        api_error(rs, ERR_NOMEM, errc_text(ERR_NOMEM));
    else
        answer(ctx, n, &g, rs);
    arena_free(g.arena);
    parse_free(n);
}
