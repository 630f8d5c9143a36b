/* parse_duration.c -- durations in brackets and after offset.
 *
 *   place       reads                                       example
 *   [ ... ]     a whole expression                          [2 * step() + 1m]
 *   offset      a literal or call, maybe with one sign      offset -5m, offset step()
 *   offset (    a whole expression that starts with (...)   offset (5m) * 2
 *   offset -(   what the parentheses hold                   offset -(5m)
 *
 * That an unsigned parenthesis goes on to the operators behind it and a signed one does not is how
 * Prometheus' grammar resolves its conflicts.
 */
#include <math.h>

#include "query/duration_expr.h"
#include "query/parser.h"

#include "base/banned.h"

static struct node *duration_expr(struct parser *p, int min_precedence);

/* Where a check needs the next token before Prometheus' parser would get to it, a lexical error
 * there comes first. */
static bool lexer_failed(struct parser *p)
{
    if (p->tok.kind != TOK_ERROR)
        return false;
    parser_unexpected(p);
    return true;
}

/* 2^63 ns is about 292 years. */
static bool check_literal(struct parser *p, const struct node *n)
{
    if (duration_fits(n->number.value))
        return true;
    parser_fail(p, n->pos, "duration out of range");
    return false;
}

/* n behind a sign: a literal takes it in, and plus changes nothing else. */
static struct node *with_sign(struct parser *p, const struct token *sign, struct node *n)
{
    bool minus = sign->value == OP_SUB;
    struct node *unary;

    if (!n)
        return NULL;
    if (n->kind == NODE_NUMBER) {
        if (minus)
            n->number.value = -n->number.value;
        n->pos = sign->pos;
        return n;
    }
    if (!minus)
        return n;
    unary = parser_node(p, NODE_UNARY, sign->pos);
    if (!unary)
        return NULL;
    unary->unary.minus = true;
    unary->unary.expr = n;
    return parser_finish(p, unary);
}

/* step() range() min_of(a, b) max_of(a, b); their names are keywords, stored in lower case. */
static struct node *duration_call(struct parser *p)
{
    static const struct {
        struct str name;
        unsigned n_args;
    } calls[] = {
        [TOK_STEP - TOK_STEP] = { { "step", 4 }, 0 },
        [TOK_RANGE - TOK_STEP] = { { "range", 5 }, 0 },
        [TOK_MIN_OF - TOK_STEP] = { { "min_of", 6 }, 2 },
        [TOK_MAX_OF - TOK_STEP] = { { "max_of", 6 }, 2 },
    };
    unsigned which = p->tok.kind - TOK_STEP, n_args = calls[which].n_args;
    struct node *n = parser_node(p, NODE_CALL, p->tok.pos);
    size_t cap = 0;

    if (!n)
        return NULL;
    n->call.name = calls[which].name;
    parser_advance(p);
    if (!parser_expect(p, TOK_LEFT_PAREN))
        return NULL;
    for (unsigned i = 0; i < n_args; i++) {
        if (i > 0 && !parser_expect(p, TOK_COMMA))
            return NULL;
        struct node *arg = duration_expr(p, PREC_OR);

        if (!arg || !parser_grow(p, &n->call.args, n->call.n_args, &cap, sizeof(struct node *)))
            return NULL;
        n->call.args[n->call.n_args++] = arg;
    }
    return parser_expect(p, TOK_RIGHT_PAREN) ? parser_finish(p, n) : NULL;
}

static struct node *duration_paren(struct parser *p)
{
    struct node *n = parser_node(p, NODE_PAREN, p->tok.pos);

    if (!n)
        return NULL;
    parser_advance(p);
    n->paren = duration_expr(p, PREC_OR);
    return n->paren && parser_expect(p, TOK_RIGHT_PAREN) ? parser_finish(p, n) : NULL;
}

static struct node *duration_operand(struct parser *p)
{
    struct token sign;
    struct node *n;

    switch (p->tok.kind) {
    case TOK_NUMBER:
    case TOK_DURATION:
        n = parse_number(p);
        return n && check_literal(p, n) ? n : NULL;
    case TOK_STEP:
    case TOK_RANGE:
    case TOK_MIN_OF:
    case TOK_MAX_OF:
        return duration_call(p);
    case TOK_LEFT_PAREN:
        return duration_paren(p);
    default:
        break;
    }
    if (!parser_at_sign(p)) {
        parser_unexpected(p);
        return NULL;
    }
    sign = parser_take(p);
    return with_sign(p, &sign, duration_expr(p, PREC_MUL + 1));
}

static bool is_duration_operator(const struct token *t)
{
    return t->kind == TOK_OPERATOR && t->value <= OP_POW;
}

static struct node *binary(struct parser *p, struct node *lhs, const struct token *op,
                           struct node *rhs)
{
    bool divides = op->value == OP_DIV || op->value == OP_MOD;
    const struct node *divisor = divides && rhs ? duration_literal(rhs) : NULL;
    struct node *n;

    if (!rhs)
        return NULL;
    if (divisor && divisor->number.value == 0) {
        if (!lexer_failed(p))
            parser_fail(p, op->pos, "%s by zero", op->value == OP_DIV ? "division" : "modulo");
        return NULL;
    }
    n = parser_node(p, NODE_BINARY, lhs->pos);
    if (!n)
        return NULL;
    n->binary.op = (enum binary_op)op->value;
    n->binary.op_pos = op->pos;
    n->binary.lhs = lhs;
    n->binary.rhs = rhs;
    return parser_finish(p, n);
}

/* The operators after an operand. */
static struct node *duration_tail(struct parser *p, struct node *n, int min_precedence)
{
    while (n && is_duration_operator(&p->tok)) {
        int precedence = operator_precedence((enum binary_op)p->tok.value);

        if (precedence < min_precedence)
            break;
        struct token op = parser_take(p);

        n = binary(p, n, &op, duration_expr(p, precedence + (precedence != PREC_POW)));
    }
    return n;
}

static struct node *duration_expr(struct parser *p, int min_precedence)
{
    struct node *n;

    if (!parser_enter(p))
        return NULL;
    n = duration_tail(p, duration_operand(p), min_precedence);
    parser_leave(p);
    return n;
}

/* Rounded to nanoseconds, as Prometheus keeps durations; cut to milliseconds in use. */
static int64_t literal_ns(const struct node *literal)
{
    return (int64_t)round(literal->number.value * 1e9);
}

bool parse_range_duration(struct parser *p, struct duration *out)
{
    struct node *n = duration_expr(p, PREC_OR);
    const struct node *literal = n ? duration_literal(n) : NULL;

    if (!n)
        return false;
    *out = (struct duration){ .expr = n };
    if (!literal)
        return true;
    if (literal->number.value <= 0) {
        if (!lexer_failed(p))
            parser_fail(p, literal->pos, "duration must be greater than 0");
        return false;
    }
    out->ms = literal_ns(literal) / 1000000;
    return true;
}

/* Two signs make a whole expression of what follows; in parentheses it stays one when printed. */
static struct node *offset_after_signs(struct parser *p, const struct token *sign)
{
    struct node *n = with_sign(p, sign, duration_expr(p, PREC_MUL + 1)), *whole;

    n = duration_tail(p, n, PREC_OR);
    if (!n || n->kind != NODE_BINARY)
        return n;
    whole = parser_node(p, NODE_PAREN, n->pos);
    if (!whole)
        return NULL;
    whole->paren = n;
    return parser_finish(p, whole);
}

static struct node *offset_value(struct parser *p)
{
    struct token sign = p->tok;

    if (p->tok.kind == TOK_LEFT_PAREN)
        return duration_expr(p, PREC_OR);
    if (!parser_at_sign(p))
        return duration_operand(p);
    parser_advance(p);
    if (parser_at_sign(p))
        return offset_after_signs(p, &sign);
    return with_sign(p, &sign, duration_operand(p));
}

bool parse_offset_duration(struct parser *p, struct duration *out)
{
    struct node *n = offset_value(p);
    const struct node *literal = n ? duration_literal(n) : NULL;

    if (!n)
        return false;
    *out = (struct duration){ .expr = n };
    if (literal) {
        out->ms = literal_ns(literal) / 1000000;
        if (out->ms == 0)
            out->expr = NULL;
    }
    return true;
}
