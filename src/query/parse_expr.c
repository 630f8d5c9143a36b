/* parse_expr.c -- expressions: operators, postfix forms, calls and aggregations.
 *
 *   1 or                      left
 *   2 and unless              left
 *   3 == != <= < >= > </ >/   left
 *   4 + -                     left
 *   5 * / % atan2, sign       left
 *   6 ^                       right
 *   7 offset @ anchored smoothed [...]   postfix, to the nearest operand
 */
#include <math.h>

#include "base/arena.h"
#include "query/duration_expr.h"
#include "query/functions.h"
#include "query/literal.h"
#include "query/parser.h"

#include "base/banned.h"

static const uint8_t precedences[] = {
    [OP_OR] = PREC_OR,
    [OP_AND] = PREC_AND,
    [OP_UNLESS] = PREC_AND,
    [OP_EQ] = PREC_COMPARE,
    [OP_NE] = PREC_COMPARE,
    [OP_LT] = PREC_COMPARE,
    [OP_LE] = PREC_COMPARE,
    [OP_GT] = PREC_COMPARE,
    [OP_GE] = PREC_COMPARE,
    [OP_TRIM_UPPER] = PREC_COMPARE,
    [OP_TRIM_LOWER] = PREC_COMPARE,
    [OP_ADD] = PREC_ADD,
    [OP_SUB] = PREC_ADD,
    [OP_MUL] = PREC_MUL,
    [OP_DIV] = PREC_MUL,
    [OP_MOD] = PREC_MUL,
    [OP_ATAN2] = PREC_MUL,
    [OP_POW] = PREC_POW,
};
_Static_assert(ARRAY_LEN(precedences) == OP_COUNT, "every operator has a precedence");

int operator_precedence(enum binary_op op)
{
    ASSERT(op < OP_COUNT);
    return precedences[op];
}

/* ---- literals ---- */

struct node *parse_number(struct parser *p)
{
    struct token t = parser_take(p);
    struct str text = token_text(p->text, &t);
    struct node *n = parser_node(p, NODE_NUMBER, t.pos);

    if (!n)
        return NULL;
    n->number.is_duration = t.kind == TOK_DURATION;
    p->rc = n->number.is_duration ? literal_duration(text, t.pos, &n->number.value, p->err)
                                  : literal_number(text, t.pos, &n->number.value, p->err);
    return p->rc == OK ? parser_finish(p, n) : NULL;
}

static bool at_number(const struct parser *p)
{
    return p->tok.kind == TOK_NUMBER || p->tok.kind == TOK_DURATION;
}

/* [+-] number */
static bool signed_number(struct parser *p, double *out)
{
    bool minus = parser_at_sign(p) && p->tok.value == OP_SUB;
    struct node *n;

    if (parser_at_sign(p))
        parser_advance(p);
    if (!at_number(p)) {
        parser_unexpected(p);
        return false;
    }
    n = parse_number(p);
    if (n)
        *out = minus ? -n->number.value : n->number.value;
    return n != NULL;
}

static struct node *string_literal(struct parser *p)
{
    struct node *n = parser_node(p, NODE_STRING, p->tok.pos);

    if (!n || !parse_string(p, &p->tok, &n->string))
        return NULL;
    parser_advance(p);
    return parser_finish(p, n);
}

/* ---- calls and aggregations ---- */

struct node_list {
    struct node **items;
    size_t n, cap;
};

static bool starts_expr(const struct parser *p)
{
    switch (p->tok.kind) {
    case TOK_LEFT_PAREN:
    case TOK_LEFT_BRACE:
    case TOK_STRING:
    case TOK_NUMBER:
    case TOK_DURATION:
        return true;
    default:
        return parser_at_sign(p) || token_is_metric_name(p->text, &p->tok);
    }
}

/* ( a, b, ... ) */
static bool arguments(struct parser *p, struct node_list *list)
{
    if (!parser_expect(p, TOK_LEFT_PAREN))
        return false;
    while (p->tok.kind != TOK_RIGHT_PAREN) {
        struct node *arg = parse_expr(p, PREC_OR);
        struct token comma = p->tok;

        if (!arg || !parser_grow(p, &list->items, list->n, &list->cap, sizeof *list->items))
            return false;
        list->items[list->n++] = arg;
        if (comma.kind != TOK_COMMA)
            break;
        parser_advance(p);
        if (!starts_expr(p) && p->tok.kind != TOK_ERROR) {
            parser_fail(p, comma.pos, "trailing commas not allowed in function call args");
            return false;
        }
        if (p->tok.kind == TOK_ERROR) {
            parser_unexpected(p);
            return false;
        }
    }
    return parser_expect(p, TOK_RIGHT_PAREN);
}

static struct node *call(struct parser *p, const struct token *name)
{
    struct node *n = parser_node(p, NODE_CALL, name->pos);
    struct node_list list = { 0 };

    if (!n || !arguments(p, &list))
        return NULL;
    n->call.name = str_copy(p->arena, token_text(p->text, name));
    n->call.args = list.items;
    n->call.n_args = list.n;
    if (!n->call.name.ptr) {
        parser_out_of_memory(p);
        return NULL;
    }
    n->call.func = func_find(n->call.name);
    if (!n->call.func) {
        parser_fail_quoted(p, name->pos, "unknown function with name ", n->call.name);
        return NULL;
    }
    return parser_finish(p, n);
}

static bool at_grouping(const struct parser *p)
{
    return p->tok.kind == TOK_BY || p->tok.kind == TOK_WITHOUT;
}

static bool grouping(struct parser *p, struct node *n)
{
    n->aggregate.grouped = true;
    n->aggregate.without = parser_take(p).kind == TOK_WITHOUT;
    return parse_labels(p, &n->aggregate.labels, &n->aggregate.n_labels);
}

/* Sorts the arguments of an aggregation into parameter and operand. */
static bool aggregate_arguments(struct parser *p, struct node *n, const struct node_list *list)
{
    bool has_param = aggregate_op_has_param(n->aggregate.op);
    size_t want = has_param ? 2 : 1;

    if (list->n != want && p->tok.kind == TOK_ERROR) {
        parser_unexpected(p);
        return false;
    }
    if (list->n == 0) {
        parser_fail(p, n->pos, "no arguments for aggregate expression provided");
        return false;
    }
    if (list->n != want) {
        parser_fail(p, n->pos,
                    "wrong number of arguments for aggregate expression provided, expected %zu, "
                    "got %zu",
                    want, list->n);
        return false;
    }
    n->aggregate.param = has_param ? list->items[0] : NULL;
    n->aggregate.expr = list->items[want - 1];
    return true;
}

static struct node *aggregation(struct parser *p, const struct token *name)
{
    static const struct syntax_context in_aggregation = { "aggregation", NULL };
    const struct syntax_context *outer = p->context;
    struct node *n = parser_node(p, NODE_AGGREGATE, name->pos);
    struct node_list list = { 0 };

    if (!n)
        return NULL;
    n->aggregate.op = (enum aggregate_op)name->value;
    p->context = &in_aggregation;
    if ((at_grouping(p) && !grouping(p, n)) || !arguments(p, &list))
        return NULL;
    if (at_grouping(p) && !n->aggregate.grouped && !grouping(p, n))
        return NULL;
    p->context = outer;
    return aggregate_arguments(p, n, &list) ? parser_finish(p, n) : NULL;
}

/* ---- operands ---- */

static struct node *paren(struct parser *p)
{
    struct node *n = parser_node(p, NODE_PAREN, p->tok.pos);

    if (!n)
        return NULL;
    parser_advance(p);
    n->paren = parse_expr(p, PREC_OR);
    if (!n->paren || !parser_expect(p, TOK_RIGHT_PAREN))
        return NULL;
    return parser_finish(p, n);
}

/* What starts with a name: a call, an aggregation or a selector. */
static struct node *named(struct parser *p)
{
    struct token name = parser_take(p);
    bool opens = p->tok.kind == TOK_LEFT_PAREN;

    if (name.kind == TOK_AGGREGATOR && (opens || at_grouping(p)))
        return aggregation(p, &name);
    if (opens && (name.kind == TOK_IDENTIFIER || name.kind >= TOK_START))
        return call(p, &name);
    return parse_vector_selector(p, &name);
}

static struct node *primary(struct parser *p)
{
    switch (p->tok.kind) {
    case TOK_LEFT_PAREN:
        return paren(p);
    case TOK_LEFT_BRACE:
        return parse_vector_selector(p, NULL);
    case TOK_STRING:
        return string_literal(p);
    case TOK_NUMBER:
    case TOK_DURATION:
        return parse_number(p);
    default:
        if (token_is_metric_name(p->text, &p->tok))
            return named(p);
        parser_unexpected(p);
        return NULL;
    }
}

/* ---- postfix forms ---- */

static struct modifiers *modifiers_of(struct node *n)
{
    switch (n->kind) {
    case NODE_SELECTOR:
        return &n->selector.mod;
    case NODE_MATRIX:
        return &n->matrix.selector->selector.mod;
    case NODE_SUBQUERY:
        return &n->subquery.mod;
    default:
        return NULL;
    }
}

static bool offset(struct parser *p, struct node *n)
{
    static const struct syntax_context in_offset = { "offset",
                                                     "number, duration, step(), or range()" };
    const struct syntax_context *outer = p->context;
    struct modifiers *mod = modifiers_of(n);
    struct duration d;

    p->context = &in_offset;
    parser_advance(p);
    if (!parse_offset_duration(p, &d))
        return false;
    p->context = outer;
    if (!mod) {
        parser_fail(p, n->pos,
                    "offset modifier must be preceded by an instant vector selector or range "
                    "vector selector or a subquery");
        return false;
    }
    if (mod->offset.expr) {
        parser_fail(p, n->pos, "offset may not be set multiple times");
        return false;
    }
    mod->offset = d;
    return true;
}

/* Seconds to milliseconds, cut off where adding a range could overflow. */
static bool at_time(struct parser *p, const struct node *n, double seconds, int64_t *out_ms)
{
    const double most = 0x1p62;

    if (!(seconds > -0x1p63 && seconds < 0x1p63)) {
        if (isfinite(seconds))
            parser_fail(p, n->pos, "timestamp out of bounds for @ modifier: %f", seconds);
        else
            parser_fail(p, n->pos, "timestamp out of bounds for @ modifier: %s",
                        isnan(seconds) ? "NaN"
                        : seconds < 0  ? "-Inf"
                                       : "+Inf");
        return false;
    }
    seconds = round(seconds * 1000);
    *out_ms = (int64_t)(seconds > most ? most : seconds < -most ? -most : seconds);
    return true;
}

/* start() or end() or a signed number after @. */
static bool at_value(struct parser *p, const struct node *n, struct modifiers *value)
{
    double seconds;

    if (p->tok.kind == TOK_START || p->tok.kind == TOK_FINISH) {
        value->at = parser_take(p).kind == TOK_START ? AT_START : AT_END;
        return parser_expect(p, TOK_LEFT_PAREN) && parser_expect(p, TOK_RIGHT_PAREN);
    }
    value->at = AT_TIME;
    return signed_number(p, &seconds) && at_time(p, n, seconds, &value->at_ms);
}

static bool at(struct parser *p, struct node *n)
{
    static const struct syntax_context in_at = { "@", "timestamp" };
    const struct syntax_context *outer = p->context;
    struct modifiers *mod = modifiers_of(n), value = { 0 };

    p->context = &in_at;
    parser_advance(p);
    if (!at_value(p, n, &value))
        return false;
    p->context = outer;
    if (!mod) {
        parser_fail(p, n->pos,
                    "@ modifier must be preceded by an instant vector selector or range vector "
                    "selector or a subquery");
        return false;
    }
    if (mod->at != AT_NONE) {
        parser_fail(p, n->pos, "@ <timestamp> may not be set multiple times");
        return false;
    }
    mod->at = value.at;
    mod->at_ms = value.at_ms;
    return true;
}

static bool extension(struct parser *p, struct node *n)
{
    bool anchored = parser_take(p).kind == TOK_ANCHORED;
    const char *word = anchored ? "anchored" : "smoothed";
    struct modifiers *mod = modifiers_of(n);

    if (n->kind == NODE_SUBQUERY)
        parser_fail(p, n->pos, "%s modifier is not supported for subqueries", word);
    else if (!mod)
        parser_fail(p, n->pos, "%s modifier not implemented", word);
    else if (anchored ? mod->smoothed : mod->anchored)
        parser_fail(p, n->pos, "anchored and smoothed modifiers cannot be used together");
    if (p->rc != OK)
        return false;
    mod->anchored |= anchored;
    mod->smoothed |= !anchored;
    return true;
}

static struct node *matrix(struct parser *p, struct node *of, uint32_t bracket,
                           const struct duration *range)
{
    const char *trouble = NULL;
    struct node *n;

    if (of->kind != NODE_SELECTOR)
        trouble = "ranges only allowed for vector selectors";
    else if (of->selector.mod.offset.expr)
        trouble = "no offset modifiers allowed before range";
    else if (of->selector.mod.at != AT_NONE)
        trouble = "no @ modifiers allowed before range";
    if (trouble) {
        parser_fail(p, bracket, "%s", trouble);
        return NULL;
    }
    n = parser_node(p, NODE_MATRIX, of->pos);
    if (!n)
        return NULL;
    n->matrix.selector = of;
    n->matrix.range = *range;
    return parser_finish(p, n);
}

/* [range], [range:step] or [range:] behind of. */
static struct node *brackets(struct parser *p, struct node *of)
{
    static const struct syntax_context stages[] = {
        { "subquery or range selector", "number, duration, step(), or range()" },
        { "subquery or range", "\":\" or \"]\"" },
        { "subquery selector", "number, duration, step(), range(), or \"]\"" },
        { "subquery selector", "\"]\"" },
    };
    const struct syntax_context *outer = p->context;
    uint32_t bracket = parser_take(p).pos;
    struct duration range, step = { 0 };
    struct node *n;

    p->context = &stages[0];
    if (!parse_range_duration(p, &range))
        return NULL;
    p->context = &stages[1];
    if (p->tok.kind != TOK_COLON) {
        if (!parser_expect(p, TOK_RIGHT_BRACKET))
            return NULL;
        p->context = outer;
        return matrix(p, of, bracket, &range);
    }
    parser_advance(p);
    p->context = &stages[2];
    if (p->tok.kind != TOK_RIGHT_BRACKET && !parse_range_duration(p, &step))
        return NULL;
    p->context = &stages[3];
    if (!parser_expect(p, TOK_RIGHT_BRACKET))
        return NULL;
    p->context = outer;
    n = parser_node(p, NODE_SUBQUERY, of->pos);
    if (!n)
        return NULL;
    n->subquery.expr = of;
    n->subquery.range = range;
    if (step.expr && duration_literal(step.expr) && step.ms == 0)
        step.expr = NULL; /* below a millisecond is no step, as in Prometheus */
    n->subquery.step = step;
    return parser_finish(p, n);
}

static struct node *postfix(struct parser *p, struct node *n)
{
    while (n) {
        bool ok;

        switch (p->tok.kind) {
        case TOK_LEFT_BRACKET:
            n = brackets(p, n);
            continue;
        case TOK_OFFSET:
            ok = offset(p, n);
            break;
        case TOK_AT:
            ok = at(p, n);
            break;
        case TOK_ANCHORED:
        case TOK_SMOOTHED:
            ok = extension(p, n);
            break;
        default:
            return n;
        }
        if (!ok)
            return NULL;
        n->end = p->prev_end;
    }
    return n;
}

/* ---- operators ---- */

/* A sign binds like *, so -a^b is -(a^b). Before a mere number it becomes part of it. */
static struct node *unary(struct parser *p)
{
    struct token sign = parser_take(p);
    struct node *expr = parse_expr(p, PREC_MUL + 1), *n;

    if (!expr)
        return NULL;
    if (expr->kind == NODE_NUMBER) {
        if (sign.value == OP_SUB)
            expr->number.value = -expr->number.value;
        expr->pos = sign.pos;
        return expr;
    }
    n = parser_node(p, NODE_UNARY, sign.pos);
    if (!n)
        return NULL;
    n->unary.minus = sign.value == OP_SUB;
    n->unary.expr = expr;
    return parser_finish(p, n);
}

/* ( [+-] number ) */
static bool fill_value(struct parser *p, bool *given, double *value)
{
    *given = true;
    parser_advance(p);
    return parser_expect(p, TOK_LEFT_PAREN) && signed_number(p, value)
           && parser_expect(p, TOK_RIGHT_PAREN);
}

static bool fill(struct parser *p, struct matching *m)
{
    if (p->tok.kind == TOK_FILL) {
        if (!fill_value(p, &m->fill_left, &m->fill_left_value))
            return false;
        m->fill_right = true;
        m->fill_right_value = m->fill_left_value;
        return true;
    }
    for (;;) {
        if (p->tok.kind == TOK_FILL_LEFT && !m->fill_left) {
            if (!fill_value(p, &m->fill_left, &m->fill_left_value))
                return false;
        } else if (p->tok.kind == TOK_FILL_RIGHT && !m->fill_right) {
            if (!fill_value(p, &m->fill_right, &m->fill_right_value))
                return false;
        } else {
            return true;
        }
    }
}

/* What stands between an operator and its right operand. */
static bool binary_modifiers(struct parser *p, struct node *n)
{
    struct matching *m = &n->binary.matching;

    if (p->tok.kind == TOK_BOOL) {
        n->binary.return_bool = true;
        parser_advance(p);
    }
    if (p->tok.kind == TOK_ON || p->tok.kind == TOK_IGNORING) {
        m->given = true;
        m->on = parser_take(p).kind == TOK_ON;
        if (!parse_labels(p, &m->labels, &m->n_labels))
            return false;
        if (p->tok.kind == TOK_GROUP_LEFT || p->tok.kind == TOK_GROUP_RIGHT) {
            m->card = parser_take(p).kind == TOK_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
            if (p->tok.kind == TOK_LEFT_PAREN && !parse_labels(p, &m->include, &m->n_include))
                return false;
        }
    }
    return fill(p, m);
}

static struct node *binary(struct parser *p, struct node *lhs, int precedence)
{
    struct token op = parser_take(p);
    struct node *n = parser_node(p, NODE_BINARY, lhs->pos);

    if (!n)
        return NULL;
    n->binary.op = (enum binary_op)op.value;
    n->binary.op_pos = op.pos;
    n->binary.lhs = lhs;
    if (!binary_modifiers(p, n))
        return NULL;
    n->binary.rhs = parse_expr(p, precedence + (precedence != PREC_POW));
    return n->binary.rhs ? parser_finish(p, n) : NULL;
}

struct node *parse_expr(struct parser *p, int min_precedence)
{
    struct node *n;

    if (!parser_enter(p))
        return NULL;
    n = parser_at_sign(p) ? unary(p) : postfix(p, primary(p));
    while (n && p->tok.kind == TOK_OPERATOR) {
        int precedence = operator_precedence((enum binary_op)p->tok.value);

        if (precedence < min_precedence)
            break;
        n = binary(p, n, precedence);
    }
    parser_leave(p);
    return n;
}
