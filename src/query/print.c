/* print.c -- trees as text: on one line, and broken into indented lines.
 *
 * The prettifier asks of every node whether its text fits into MAX_LINE bytes. A printer with a
 * limit stops soon after it, so that asking costs the same for small and huge nodes.
 *
 * "x offset (5m) * 2" reads the product as the offset. Where an offset that starts with a
 * parenthesis comes before an arithmetic operator of its own expression (from "x offset (5m) @ 1 *
 * 2", say) a plus keeps them apart: "x @ 1.000 offset +(5m) * 2".
 */
#include <math.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/number.h"
#include "query/duration_expr.h"
#include "query/functions.h"
#include "query/parse.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { MAX_LINE = 100, INDENT = 2 };

struct printer {
    struct buf *b;
    size_t limit;    /* no need to print beyond this length of b */
    bool full;       /* the text is longer than that */
    bool arithmetic; /* an arithmetic operator comes next */
};

static void print(struct printer *p, const struct node *n);

/* What stands in parentheses: no operator follows it. */
static void print_inside(struct printer *p, const struct node *n)
{
    bool outer = p->arithmetic;

    p->arithmetic = false;
    print(p, n);
    p->arithmetic = outer;
}

/* ---- small parts ---- */

/* (a, b, "c.d") */
static void print_labels(struct buf *b, const struct str *labels, size_t n)
{
    buf_u8(b, '(');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_text(b, ", ");
        if (name_is_legacy(labels[i], false))
            buf_str(b, labels[i]);
        else
            print_quoted(b, labels[i]);
    }
    buf_u8(b, ')');
}

static void print_number(struct buf *b, const struct node *n)
{
    double v = n->number.value;

    if (n->number.is_duration)
        duration_print(b, (int64_t)round(v * 1e9) / 1000000);
    else
        number_print(b, v, NUMBER_PLAIN);
}

/* A part of a duration expression. */
static void print_duration_part(struct buf *b, const struct node *n)
{
    switch (n->kind) {
    case NODE_NUMBER:
        print_number(b, n);
        break;
    case NODE_PAREN:
        buf_u8(b, '(');
        print_duration_part(b, n->paren);
        buf_u8(b, ')');
        break;
    case NODE_UNARY:
        if (n->unary.minus)
            buf_u8(b, '-');
        print_duration_part(b, n->unary.expr);
        break;
    case NODE_BINARY:
        print_duration_part(b, n->binary.lhs);
        buf_printf(b, " %s ", binary_op_text(n->binary.op));
        print_duration_part(b, n->binary.rhs);
        break;
    default:
        ASSERT(n->kind == NODE_CALL);
        buf_str(b, n->call.name);
        buf_u8(b, '(');
        for (size_t i = 0; i < n->call.n_args; i++) {
            if (i)
                buf_text(b, ", ");
            print_duration_part(b, n->call.args[i]);
        }
        buf_u8(b, ')');
    }
}

static void print_duration(struct buf *b, const struct duration *d)
{
    /* Below a millisecond "0s" would not be read again. */
    if (d->expr && d->expr->kind == NODE_NUMBER && d->ms != 0)
        duration_print(b, d->ms);
    else if (d->expr)
        print_duration_part(b, d->expr);
}

static void print_at(struct buf *b, const struct modifiers *m)
{
    switch (m->at) {
    case AT_NONE:
        break;
    case AT_TIME:
        buf_printf(b, " @ %s%llu.%03u", m->at_ms < 0 ? "-" : "",
                   (unsigned long long)llabs(m->at_ms) / 1000, (unsigned)(llabs(m->at_ms) % 1000));
        break;
    case AT_START:
        buf_text(b, " @ start()");
        break;
    case AT_END:
        buf_text(b, " @ end()");
        break;
    }
}

static void print_extension(struct buf *b, const struct modifiers *m)
{
    if (m->anchored)
        buf_text(b, " anchored");
    if (m->smoothed)
        buf_text(b, " smoothed");
}

static void print_offset(const struct printer *p, const struct modifiers *m)
{
    const struct node *expr = m->offset.expr, *first = expr;

    if (!expr)
        return;
    while (first->kind == NODE_BINARY)
        first = first->binary.lhs;
    buf_text(p->b, " offset ");
    if (!p->arithmetic || first->kind != NODE_PAREN) {
        print_duration(p->b, &m->offset);
        return;
    }
    buf_text(p->b, first == expr ? "+" : "+(");
    print_duration_part(p->b, expr);
    buf_text(p->b, first == expr ? "" : ")");
}

/* ---- selectors ---- */

static int compare_texts(const void *a, const void *b)
{
    const struct buf *x = a, *y = b;

    return str_cmp(buf_as_str(x), buf_as_str(y));
}

static bool is_outer_name(const struct node *n, const struct matcher *m)
{
    return n->selector.name.len && m->op == MATCH_EQ && str_is(m->name, "__name__")
           && str_equal(m->value, n->selector.name);
}

/* The matchers of n, sorted as texts; the name outside the braces is not among them. */
static void print_matchers(struct buf *b, const struct node *n)
{
    size_t n_texts = 0;
    struct buf *texts = calloc(n->selector.n_matchers + 1, sizeof *texts);

    if (!texts) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < n->selector.n_matchers; i++)
        if (!is_outer_name(n, &n->selector.matchers[i]))
            matcher_print(&texts[n_texts++], &n->selector.matchers[i]);
    qsort(texts, n_texts, sizeof *texts, compare_texts);
    if (n_texts || !n->selector.name.len)
        buf_u8(b, '{');
    for (size_t i = 0; i < n_texts; i++) {
        if (i)
            buf_u8(b, ',');
        buf_str(b, buf_as_str(&texts[i]));
        b->failed |= texts[i].failed;
        buf_free(&texts[i]);
    }
    if (n_texts || !n->selector.name.len)
        buf_u8(b, '}');
    free(texts);
}

static void print_selector_body(struct buf *b, const struct node *n)
{
    buf_str(b, n->selector.name);
    print_matchers(b, n);
}

static void print_selector(const struct printer *p, const struct node *n)
{
    print_selector_body(p->b, n);
    print_at(p->b, &n->selector.mod);
    print_extension(p->b, &n->selector.mod);
    print_offset(p, &n->selector.mod);
}

static void print_matrix(const struct printer *p, const struct node *n)
{
    const struct modifiers *mod = &n->matrix.selector->selector.mod;
    struct buf *b = p->b;

    print_selector_body(b, n->matrix.selector);
    buf_u8(b, '[');
    print_duration(b, &n->matrix.range);
    buf_u8(b, ']');
    print_extension(b, mod);
    print_at(b, mod);
    print_offset(p, mod);
}

static void print_subquery_suffix(const struct printer *p, const struct node *n)
{
    struct buf *b = p->b;

    buf_u8(b, '[');
    print_duration(b, &n->subquery.range);
    buf_u8(b, ':');
    print_duration(b, &n->subquery.step);
    buf_u8(b, ']');
    print_at(b, &n->subquery.mod);
    print_offset(p, &n->subquery.mod);
}

/* ---- operators, calls, aggregations ---- */

static void print_fill(struct buf *b, const struct matching *m)
{
    const char *left = m->fill_left ? " fill_left (" : NULL;
    const char *right = m->fill_right ? " fill_right (" : NULL;

    if (left && right && f64_bits(m->fill_left_value) == f64_bits(m->fill_right_value)) {
        left = " fill (";
        right = NULL;
    }
    if (left) {
        buf_text(b, left);
        number_print(b, m->fill_left_value, NUMBER_G);
        buf_u8(b, ')');
    }
    if (right) {
        buf_text(b, right);
        number_print(b, m->fill_right_value, NUMBER_G);
        buf_u8(b, ')');
    }
}

/* OP[ bool][ on (a)][ group_left (b)][ fill (0)] */
static void print_operator(struct buf *b, const struct node *n)
{
    const struct matching *m = &n->binary.matching;
    bool grouped = m->card == CARD_MANY_TO_ONE || m->card == CARD_ONE_TO_MANY;

    buf_text(b, binary_op_text(n->binary.op));
    if (n->binary.return_bool)
        buf_text(b, " bool");
    if (m->on || m->n_labels || grouped) {
        buf_text(b, m->on ? " on " : " ignoring ");
        print_labels(b, m->labels, m->n_labels);
    }
    if (grouped) {
        buf_text(b, m->card == CARD_MANY_TO_ONE ? " group_left " : " group_right ");
        print_labels(b, m->include, m->n_include);
    }
    print_fill(b, m);
}

/* An operator that could go on with a duration expression. */
static bool is_arithmetic(enum binary_op op)
{
    return op <= OP_POW;
}

static void print_binary(struct printer *p, const struct node *n)
{
    bool outer = p->arithmetic;

    p->arithmetic = is_arithmetic(n->binary.op);
    print(p, n->binary.lhs);
    p->arithmetic = outer;
    buf_u8(p->b, ' ');
    print_operator(p->b, n);
    buf_u8(p->b, ' ');
    print(p, n->binary.rhs);
}

/* sum by (a) , without the parentheses of the operand */
static void print_aggregate_head(struct buf *b, const struct node *n)
{
    buf_text(b, aggregate_op_text(n->aggregate.op));
    if (!n->aggregate.without && n->aggregate.n_labels == 0)
        return;
    buf_text(b, n->aggregate.without ? " without " : " by ");
    print_labels(b, n->aggregate.labels, n->aggregate.n_labels);
    buf_u8(b, ' ');
}

static void print_aggregate(struct printer *p, const struct node *n)
{
    print_aggregate_head(p->b, n);
    buf_u8(p->b, '(');
    if (n->aggregate.param) {
        print_inside(p, n->aggregate.param);
        buf_text(p->b, ", ");
    }
    print_inside(p, n->aggregate.expr);
    buf_u8(p->b, ')');
}

static void print_call(struct printer *p, const struct node *n)
{
    buf_str(p->b, n->call.name);
    buf_u8(p->b, '(');
    for (size_t i = 0; i < n->call.n_args; i++) {
        if (i)
            buf_text(p->b, ", ");
        print_inside(p, n->call.args[i]);
    }
    buf_u8(p->b, ')');
}

/* A lower bound of the length of a leaf's text. */
static size_t leaf_bytes(const struct node *n)
{
    size_t bytes = 0;

    if (n->kind == NODE_STRING)
        return n->string.len;
    if (n->kind == NODE_MATRIX)
        return leaf_bytes(n->matrix.selector);
    if (n->kind == NODE_SELECTOR)
        for (size_t i = 0; i < n->selector.n_matchers; i++)
            bytes += n->selector.matchers[i].value.len;
    return bytes;
}

static void print(struct printer *p, const struct node *n)
{
    p->full |= p->b->len > p->limit || leaf_bytes(n) > p->limit;
    if (p->full)
        return;
    switch (n->kind) {
    case NODE_NUMBER:
        print_number(p->b, n);
        break;
    case NODE_STRING:
        print_quoted(p->b, n->string);
        break;
    case NODE_SELECTOR:
        print_selector(p, n);
        break;
    case NODE_MATRIX:
        print_matrix(p, n);
        break;
    case NODE_SUBQUERY:
        print_inside(p, n->subquery.expr);
        print_subquery_suffix(p, n);
        break;
    case NODE_CALL:
        print_call(p, n);
        break;
    case NODE_AGGREGATE:
        print_aggregate(p, n);
        break;
    case NODE_BINARY:
        print_binary(p, n);
        break;
    case NODE_UNARY:
        buf_u8(p->b, n->unary.minus ? '-' : '+');
        print(p, n->unary.expr);
        break;
    case NODE_PAREN:
        buf_u8(p->b, '(');
        print_inside(p, n->paren);
        buf_u8(p->b, ')');
        break;
    }
}

void node_print(struct buf *b, const struct node *n)
{
    print(&(struct printer){ .b = b, .limit = SIZE_MAX }, n);
}

/* ---- several lines ---- */

struct layout {
    struct buf *b;
    bool arithmetic; /* as in struct printer */
};

static void pretty(const struct layout *l, const struct node *n, size_t level);

static void indent(struct buf *b, size_t level)
{
    for (size_t i = 0; i < level * INDENT; i++)
        buf_u8(b, ' ');
}

/* Prints n on one line, if it fits. */
static bool print_short(const struct layout *l, const struct node *n)
{
    struct buf line = { 0 };
    struct printer p = { .b = &line, .limit = MAX_LINE, .arithmetic = l->arithmetic };

    print(&p, n);
    bool fits = !p.full && line.len <= MAX_LINE;

    if (fits)
        buf_str(l->b, buf_as_str(&line));
    l->b->failed |= line.failed;
    buf_free(&line);
    return fits;
}

static void pretty_closed(struct buf *b, size_t level)
{
    buf_u8(b, '\n');
    indent(b, level);
    buf_u8(b, ')');
}

static void pretty_call(const struct layout *l, const struct node *n, size_t level)
{
    struct layout inside = { l->b, false };

    buf_str(l->b, n->call.name);
    buf_text(l->b, "(\n");
    for (size_t i = 0; i < n->call.n_args; i++) {
        if (i)
            buf_text(l->b, ",\n");
        pretty(&inside, n->call.args[i], level + 1);
    }
    pretty_closed(l->b, level);
}

static void pretty_aggregate(const struct layout *l, const struct node *n, size_t level)
{
    struct layout inside = { l->b, false };

    print_aggregate_head(l->b, n);
    buf_text(l->b, "(\n");
    if (n->aggregate.param) {
        pretty(&inside, n->aggregate.param, level + 1);
        buf_text(l->b, ",\n");
    }
    pretty(&inside, n->aggregate.expr, level + 1);
    pretty_closed(l->b, level);
}

static void pretty_paren(const struct layout *l, const struct node *n, size_t level)
{
    struct layout inside = { l->b, false };

    buf_text(l->b, "(\n");
    pretty(&inside, n->paren, level + 1);
    pretty_closed(l->b, level);
}

static void pretty_binary(const struct layout *l, const struct node *n, size_t level)
{
    struct layout left = { l->b, is_arithmetic(n->binary.op) };

    pretty(&left, n->binary.lhs, level + 1);
    buf_u8(l->b, '\n');
    indent(l->b, level);
    print_operator(l->b, n);
    buf_u8(l->b, '\n');
    pretty(l, n->binary.rhs, level + 1);
}

/* The operand's text follows the sign at once. */
static void pretty_unary(const struct layout *l, const struct node *n, size_t level)
{
    struct buf operand = { 0 };
    struct str s;

    pretty(&(struct layout){ &operand, l->arithmetic }, n->unary.expr, level);
    for (s = buf_as_str(&operand); s.len && *s.ptr == ' '; s.len--)
        s.ptr++;
    indent(l->b, level);
    buf_u8(l->b, n->unary.minus ? '-' : '+');
    buf_str(l->b, s);
    l->b->failed |= operand.failed;
    buf_free(&operand);
}

/* The suffix goes on the operand's last line. */
static void pretty_subquery(const struct layout *l, const struct node *n, size_t level)
{
    struct printer suffix = { .b = l->b, .limit = SIZE_MAX, .arithmetic = l->arithmetic };

    pretty(&(struct layout){ l->b, false }, n->subquery.expr, level);
    print_subquery_suffix(&suffix, n);
}

static void pretty_long(const struct layout *l, const struct node *n, size_t level)
{
    struct printer whole = { .b = l->b, .limit = SIZE_MAX, .arithmetic = l->arithmetic };

    if (n->kind == NODE_BINARY) {
        pretty_binary(l, n, level);
        return;
    }
    if (n->kind == NODE_SUBQUERY) {
        pretty_subquery(l, n, level);
        return;
    }
    indent(l->b, level);
    switch (n->kind) {
    case NODE_CALL:
        pretty_call(l, n, level);
        break;
    case NODE_AGGREGATE:
        pretty_aggregate(l, n, level);
        break;
    case NODE_PAREN:
        pretty_paren(l, n, level);
        break;
    default:
        print(&whole, n);
    }
}

static void pretty(const struct layout *l, const struct node *n, size_t level)
{
    size_t from = l->b->len;

    if (n->kind == NODE_UNARY) {
        pretty_unary(l, n, level);
        return;
    }
    if (n->kind != NODE_SUBQUERY) /* Prometheus prints a short one without indent */
        indent(l->b, level);
    if (print_short(l, n))
        return;
    l->b->len = from;
    pretty_long(l, n, level);
}

void node_prettify(struct buf *b, const struct node *n)
{
    pretty(&(struct layout){ b, false }, n, 0);
}
