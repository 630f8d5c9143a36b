/* api_parse.c -- queries that are only read: /api/v1/format_query and /api/v1/parse_query.
 *
 * The tree as JSON has the shape of Prometheus' (its own UI and Perses' explain draw it): an object
 * a node, keys in alphabetical order, null for what is absent.
 */
#include <inttypes.h>

#include "base/arena.h"
#include "base/number.h"
#include "http/api_private.h"
#include "query/functions.h"
#include "query/parse.h"

#include "base/banned.h"

struct node *api_parse_only(const struct http_request *rq, struct http_response *rs)
{
    struct err err = err_in(rq->arena);
    struct str text = http_param(rq, "query");
    struct node *n = NULL;
    enum errc rc = parse_query(text, rq->arena, &n, &err);

    if (rc == ERR_BAD_QUERY) {
        struct buf b = { 0 };

        parse_error_print(&b, text, &err);
        buf_u8(&b, 0);
        api_bad_param(rq, rs, "query", b.failed ? err_text(&err) : (const char *)b.ptr);
        buf_free(&b);
    } else if (rc == ERR_TOO_LARGE) {
        api_bad_param(rq, rs, "query", err_text(&err));
    } else if (rc) {
        api_error(rs, rc, err_text(&err));
    }
    return rc ? NULL : n;
}

void api_format_query(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct node *n = api_parse_only(rq, rs);
    struct buf text = { 0 };

    (void)ctx;
    if (!n)
        return;
    node_prettify(&text, n);
    api_begin(rs);
    json_text(&rs->body, buf_as_str(&text));
    api_end(&rs->body, &(struct api_notes){ 0 });
    rs->body.failed |= text.failed;
    buf_free(&text);
    parse_free(n);
}

/* ---- the tree ---- */

static void write_node(struct buf *b, const struct node *n);

static void write_key(struct buf *b, const char *key)
{
    if (b->len && b->ptr[b->len - 1] != '{')
        buf_u8(b, ',');
    buf_printf(b, "\"%s\":", key);
}

static void write_text(struct buf *b, const char *key, struct str value)
{
    write_key(b, key);
    json_string(b, value);
}

static void write_bool(struct buf *b, const char *key, bool value)
{
    write_key(b, key);
    buf_text(b, value ? "true" : "false");
}

static void write_number(struct buf *b, const char *key, int64_t value)
{
    write_key(b, key);
    buf_printf(b, "%" PRId64, value);
}

static void write_child(struct buf *b, const char *key, const struct node *n)
{
    write_key(b, key);
    if (n)
        write_node(b, n);
    else
        buf_text(b, "null");
}

static void write_names(struct buf *b, const char *key, const struct str *names, size_t n)
{
    write_key(b, key);
    buf_u8(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_u8(b, ',');
        json_string(b, names[i]);
    }
    buf_u8(b, ']');
}

static void write_matchers(struct buf *b, const struct matcher *matchers, size_t n)
{
    write_key(b, "matchers");
    buf_u8(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_text(b, i ? ",{" : "{");
        write_text(b, "name", matchers[i].name);
        write_text(b, "type", str_from(match_op_text(matchers[i].op)));
        write_text(b, "value", matchers[i].value);
        buf_u8(b, '}');
    }
    buf_u8(b, ']');
}

/* "timestamp" is that of `@ 10`, "startOrEnd" that of `@ start()`. */
static void write_at(struct buf *b, const struct modifiers *m)
{
    write_key(b, "startOrEnd");
    buf_text(b, m->at == AT_START ? "\"start\"" : m->at == AT_END ? "\"end\"" : "null");
}

static void write_time(struct buf *b, const struct modifiers *m)
{
    if (m->at == AT_TIME) {
        write_number(b, "timestamp", m->at_ms);
    } else {
        write_key(b, "timestamp");
        buf_text(b, "null");
    }
}

/* range_ms below 0: not a range. */
static void write_selector(struct buf *b, const struct node *n, const char *type, int64_t range_ms)
{
    const struct modifiers *m = &n->selector.mod;

    write_bool(b, "anchored", m->anchored);
    write_matchers(b, n->selector.matchers, n->selector.n_matchers);
    write_text(b, "name", n->selector.name);
    write_number(b, "offset", m->offset.ms);
    if (range_ms >= 0)
        write_number(b, "range", range_ms);
    write_bool(b, "smoothed", m->smoothed);
    write_at(b, m);
    write_time(b, m);
    write_text(b, "type", str_from(type));
}

static void write_subquery(struct buf *b, const struct node *n)
{
    const struct modifiers *m = &n->subquery.mod;

    write_child(b, "expr", n->subquery.expr);
    write_number(b, "offset", m->offset.ms);
    write_number(b, "range", n->subquery.range.ms);
    write_at(b, m);
    write_number(b, "step", n->subquery.step.ms);
    write_time(b, m);
    write_text(b, "type", STR("subquery"));
}

/* Prometheus' number of optional arguments: -1 for any. */
static int variadic(const struct func *f)
{
    if (!f->variadic)
        return f->n_args - f->min_args;
    return f->max_args ? f->max_args - f->min_args : -1;
}

static void write_func(struct buf *b, const struct func *f)
{
    write_key(b, "func");
    buf_u8(b, '{');
    write_key(b, "argTypes");
    buf_u8(b, '[');
    for (size_t i = 0; i < f->n_args; i++)
        buf_printf(b, "%s\"%s\"", i ? "," : "", value_type_name(f->args[i]));
    buf_u8(b, ']');
    write_text(b, "name", str_from(f->name));
    write_text(b, "returnType", str_from(value_type_name(f->returns)));
    write_number(b, "variadic", variadic(f));
    buf_u8(b, '}');
}

static void write_call(struct buf *b, const struct node *n)
{
    write_key(b, "args");
    buf_u8(b, '[');
    for (size_t i = 0; i < n->call.n_args; i++) {
        if (i)
            buf_u8(b, ',');
        write_node(b, n->call.args[i]);
    }
    buf_u8(b, ']');
    write_func(b, n->call.func);
    write_text(b, "type", STR("call"));
}

static void write_aggregation(struct buf *b, const struct node *n)
{
    write_child(b, "expr", n->aggregate.expr);
    write_names(b, "grouping", n->aggregate.labels, n->aggregate.n_labels);
    write_text(b, "op", str_from(aggregate_op_text(n->aggregate.op)));
    write_child(b, "param", n->aggregate.param);
    write_text(b, "type", STR("aggregation"));
    write_bool(b, "without", n->aggregate.without);
}

static void write_fill(struct buf *b, const char *key, bool given, double value)
{
    write_key(b, key);
    if (given)
        json_value(b, value);
    else
        buf_text(b, "null");
}

static void write_matching(struct buf *b, const struct matching *m)
{
    static const char *const cards[] = {
        [CARD_ONE_TO_ONE] = "one-to-one",
        [CARD_MANY_TO_ONE] = "many-to-one",
        [CARD_ONE_TO_MANY] = "one-to-many",
        [CARD_MANY_TO_MANY] = "many-to-many",
    };

    buf_u8(b, '{');
    write_text(b, "card", str_from(cards[m->card]));
    write_key(b, "fillValues");
    buf_u8(b, '{');
    write_fill(b, "lhs", m->fill_left, m->fill_left_value);
    write_fill(b, "rhs", m->fill_right, m->fill_right_value);
    buf_u8(b, '}');
    write_names(b, "include", m->include, m->n_include);
    write_names(b, "labels", m->labels, m->n_labels);
    write_bool(b, "on", m->on);
    buf_u8(b, '}');
}

/* Only two vectors are matched. */
static void write_binary(struct buf *b, const struct node *n)
{
    const struct node *lhs = n->binary.lhs, *rhs = n->binary.rhs;

    write_bool(b, "bool", n->binary.return_bool);
    write_child(b, "lhs", lhs);
    write_key(b, "matching");
    if (lhs->type == TYPE_VECTOR && rhs->type == TYPE_VECTOR)
        write_matching(b, &n->binary.matching);
    else
        buf_text(b, "null");
    write_text(b, "op", str_from(binary_op_text(n->binary.op)));
    write_child(b, "rhs", rhs);
    write_text(b, "type", STR("binaryExpr"));
}

static void write_node(struct buf *b, const struct node *n)
{
    buf_u8(b, '{');
    switch (n->kind) {
    case NODE_NUMBER:
        write_text(b, "type", STR("numberLiteral"));
        write_key(b, "val");
        json_scalar(b, n->number.value);
        break;
    case NODE_STRING:
        write_text(b, "type", STR("stringLiteral"));
        write_text(b, "val", n->string);
        break;
    case NODE_SELECTOR:
        write_selector(b, n, "vectorSelector", -1);
        break;
    case NODE_MATRIX:
        write_selector(b, n->matrix.selector, "matrixSelector", n->matrix.range.ms);
        break;
    case NODE_SUBQUERY:
        write_subquery(b, n);
        break;
    case NODE_CALL:
        write_call(b, n);
        break;
    case NODE_AGGREGATE:
        write_aggregation(b, n);
        break;
    case NODE_BINARY:
        write_binary(b, n);
        break;
    case NODE_UNARY:
        write_child(b, "expr", n->unary.expr);
        write_text(b, "op", n->unary.minus ? STR("-") : STR("+"));
        write_text(b, "type", STR("unaryExpr"));
        break;
    case NODE_PAREN:
        write_child(b, "expr", n->paren);
        write_text(b, "type", STR("parenExpr"));
        break;
    }
    buf_u8(b, '}');
}

void api_parse_query(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct node *n = api_parse_only(rq, rs);

    (void)ctx;
    if (!n)
        return;
    api_begin(rs);
    write_node(&rs->body, n);
    api_end(&rs->body, &(struct api_notes){ 0 });
    parse_free(n);
}
