/* parse.c -- entry points of the parser, its errors and its nodes. The grammar is in parse_expr.c,
 * parse_selector.c and parse_duration.c. */
#include "query/parse.h"

#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "query/parser.h"
#include "query/types.h"
#include "storage/labels.h"

#include "base/banned.h"

/* ---- tokens and errors ---- */

void parser_advance(struct parser *p)
{
    p->prev_end = p->tok.end;
    p->tok = lex_next(&p->lexer);
}

struct token parser_take(struct parser *p)
{
    struct token t = p->tok;

    parser_advance(p);
    return t;
}

bool parser_at_sign(const struct parser *p)
{
    return p->tok.kind == TOK_OPERATOR && (p->tok.value == OP_ADD || p->tok.value == OP_SUB);
}

bool parser_expect(struct parser *p, enum token_kind kind)
{
    if (p->tok.kind != kind) {
        parser_unexpected(p);
        return false;
    }
    parser_advance(p);
    return true;
}

void parser_fail(struct parser *p, uint32_t pos, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    p->rc = err_setv(p->err, ERR_BAD_QUERY, pos, fmt, ap);
    va_end(ap);
}

void parser_fail_quoted(struct parser *p, uint32_t pos, const char *before, struct str quoted)
{
    struct buf b = { 0 };

    print_quoted(&b, quoted);
    parser_fail(p, pos, "%s%.*s", before, STR_ARG(buf_as_str(&b)));
    buf_free(&b);
}

void parser_out_of_memory(struct parser *p)
{
    p->rc = err_set(p->err, ERR_LIMIT, 0, "query needs more than %zu bytes", arena_limit(p->arena));
}

void parser_unexpected_in(struct parser *p, const char *where, const char *wanted)
{
    struct buf b = { 0 };

    if (p->tok.kind == TOK_ERROR) {
        if (p->tok.error)
            parser_fail(p, p->tok.pos, "%s", p->tok.error);
        else
            parser_out_of_memory(p);
        return;
    }
    buf_text(&b, "unexpected ");
    token_describe(&b, p->text, &p->tok);
    if (where)
        buf_printf(&b, " in %s", where);
    if (wanted)
        buf_printf(&b, ", expected %s", wanted);
    parser_fail(p, p->tok.pos, "%.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
}

void parser_unexpected(struct parser *p)
{
    parser_unexpected_in(p, p->context ? p->context->where : NULL,
                         p->context ? p->context->wanted : NULL);
}

bool parser_enter(struct parser *p)
{
    if (p->depth == PARSE_MAX_DEPTH) {
        parser_fail(p, p->tok.pos, "expression is nested more than %d levels deep",
                    (int)PARSE_MAX_DEPTH);
        return false;
    }
    p->depth++;
    return true;
}

void parser_leave(struct parser *p)
{
    ASSERT(p->depth > 0);
    p->depth--;
}

/* ---- building ---- */

struct node *parser_node(struct parser *p, enum node_kind kind, uint32_t pos)
{
    struct node *n = ARENA_NEW(p->arena, struct node, 1);

    if (!n) {
        parser_out_of_memory(p);
        return NULL;
    }
    n->kind = kind;
    n->pos = pos;
    return n;
}

static unsigned higher(unsigned height, const struct node *child)
{
    return child && child->height > height ? child->height : height;
}

static unsigned height_of_children(const struct node *n)
{
    unsigned h = 0;

    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
    case NODE_SELECTOR:
        break;
    case NODE_MATRIX:
        return n->matrix.selector->height;
    case NODE_SUBQUERY:
        return n->subquery.expr->height;
    case NODE_CALL:
        for (size_t i = 0; i < n->call.n_args; i++)
            h = higher(h, n->call.args[i]);
        break;
    case NODE_AGGREGATE:
        return higher(n->aggregate.expr->height, n->aggregate.param);
    case NODE_BINARY:
        return higher(n->binary.lhs->height, n->binary.rhs);
    case NODE_UNARY:
        return n->unary.expr->height;
    case NODE_PAREN:
        return n->paren->height;
    }
    return h;
}

struct node *parser_finish(struct parser *p, struct node *n)
{
    unsigned height = height_of_children(n) + 1;

    if (height > PARSE_MAX_HEIGHT) {
        parser_fail(p, n->pos, "expression has more than %d levels of operations",
                    (int)PARSE_MAX_HEIGHT);
        return NULL;
    }
    n->height = (uint16_t)height;
    n->end = p->prev_end;
    n->type = node_natural_type(n);
    return n;
}

bool parser_grow(struct parser *p, void *items, size_t n, size_t *cap, size_t size)
{
    void *old, *grown;
    size_t want = *cap ? *cap * 2 : 4;

    if (n < *cap)
        return true;
    memcpy(&old, items, sizeof old);
    grown = old ? arena_grow(p->arena, old, *cap * size, want * size)
                : arena_alloc(p->arena, want * size);
    if (!grown) {
        parser_out_of_memory(p);
        return false;
    }
    memcpy(items, &grown, sizeof grown);
    *cap = want;
    return true;
}

/* ---- entry points ---- */

/* Reads the first token. */
static enum errc start(struct parser *p, struct str text, struct arena *a, struct err *err)
{
    if (text.len > PARSE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0, "query text is longer than %d bytes",
                       (int)PARSE_MAX_BYTES);
    *p = (struct parser){ .text = text, .lexer = lexer_on(text, a), .arena = a, .err = err };
    parser_advance(p);
    return OK;
}

static struct node *whole(struct parser *p)
{
    struct node *n;

    if (p->tok.kind == TOK_END) {
        parser_fail(p, 0, "no expression found in input");
        return NULL;
    }
    n = parse_expr(p, PREC_OR);
    if (n && p->tok.kind != TOK_END) {
        parser_unexpected(p);
        return NULL;
    }
    return n;
}

enum errc parse_query(struct str text, struct arena *a, struct node **out, struct err *err)
{
    struct parser p;
    enum errc rc = start(&p, text, a, err);
    struct node *n;

    if (rc != OK)
        return rc;
    n = whole(&p);
    rc = n ? types_check(n, err) : p.rc;
    if (rc != OK)
        parser_free_matchers(&p);
    else
        *out = n;
    ASSERT(rc != OK || n);
    return rc;
}

/* Names may be keywords here as well. */
static struct node *whole_selector(struct parser *p)
{
    struct token name = p->tok;
    bool named = token_is_metric_name(p->text, &name);
    struct node *n;

    if (!named && name.kind != TOK_LEFT_BRACE) {
        parser_unexpected(p);
        return NULL;
    }
    if (named)
        parser_advance(p);
    n = parse_vector_selector(p, named ? &name : NULL);
    if (n && p->tok.kind != TOK_END) {
        parser_unexpected(p);
        return NULL;
    }
    return n;
}

enum errc parse_selector(struct str text, struct arena *a, struct matcher **out, size_t *n,
                         struct err *err)
{
    struct parser p;
    enum errc rc = start(&p, text, a, err);
    struct node *node;
    bool selective = false;

    if (rc != OK)
        return rc;
    node = whole_selector(&p);
    if (!node) {
        parser_free_matchers(&p);
        return p.rc;
    }
    for (size_t i = 0; i < node->selector.n_matchers; i++)
        selective |= !matcher_matches_empty(&node->selector.matchers[i]);
    if (!selective) {
        parser_free_matchers(&p);
        return err_set(err, ERR_BAD_QUERY, PARSE_NO_POSITION,
                       "match[] must contain at least one non-empty matcher");
    }
    *out = node->selector.matchers;
    *n = node->selector.n_matchers;
    return OK;
}

void parse_free(struct node *n)
{
    if (!n)
        return;
    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        break;
    case NODE_SELECTOR:
        for (size_t i = 0; i < n->selector.n_matchers; i++)
            matcher_free(&n->selector.matchers[i]);
        n->selector.n_matchers = 0;
        break;
    case NODE_MATRIX:
        parse_free(n->matrix.selector);
        break;
    case NODE_SUBQUERY:
        parse_free(n->subquery.expr);
        break;
    case NODE_CALL:
        for (size_t i = 0; i < n->call.n_args; i++)
            parse_free(n->call.args[i]);
        break;
    case NODE_AGGREGATE:
        parse_free(n->aggregate.expr);
        parse_free(n->aggregate.param);
        break;
    case NODE_BINARY:
        parse_free(n->binary.lhs);
        parse_free(n->binary.rhs);
        break;
    case NODE_UNARY:
        parse_free(n->unary.expr);
        break;
    case NODE_PAREN:
        parse_free(n->paren);
        break;
    }
}

/* ---- where an error is ---- */

void position_print(struct buf *b, struct str text, uint32_t pos)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < pos && i < text.len; i++) {
        column++;
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        }
    }
    buf_printf(b, "%zu:%zu", line, column);
}

void parse_error_print(struct buf *b, struct str text, const struct err *err)
{
    if (err->code == ERR_BAD_QUERY && err->pos != PARSE_NO_POSITION) {
        if (text.len)
            position_print(b, text, err->pos);
        else
            buf_text(b, "unknown position");
        buf_text(b, ": parse error: ");
    }
    buf_text(b, err_text(err));
}
