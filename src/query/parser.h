/* parser.h -- what the files of the parser share. Internal to src/query.
 *
 * Functions that make a node return NULL on error, those that fill something in return false; the
 * reason is then in p->rc and *p->err. Whoever sees a failure returns at once.
 *
 * Precedence climbing with one token of look-ahead. Wording of syntax errors follows the error
 * productions of Prometheus' grammar: the innermost construct that has words for a failure inside
 * it provides them (p->context).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "query/ast.h"
#include "query/lex.h"

struct arena;
struct err;
struct owned_matcher;

/* `unexpected TOKEN in WHERE, expected WANTED`; either may be NULL. */
struct syntax_context {
    const char *where, *wanted;
};

struct parser {
    struct str text;
    struct lexer lexer;
    struct token tok;  /* the next one, not yet taken */
    uint32_t prev_end; /* of the token taken last */
    struct arena *arena;
    const struct syntax_context *context; /* NULL at the top */
    unsigned depth;
    struct owned_matcher *matchers; /* all made so far: freed when parsing fails */
    enum errc rc;
    struct err *err;
};

/* Binding strength of operators; higher binds tighter, 0 binds nothing. */
enum {
    PREC_OR = 1,
    PREC_AND,
    PREC_COMPARE,
    PREC_ADD,
    PREC_MUL,
    PREC_POW,
};
int operator_precedence(enum binary_op op);

/* ---- tokens and errors (parse.c) ---- */

void parser_advance(struct parser *p);
struct token parser_take(struct parser *p);  /* the next token, and advances */
bool parser_at_sign(const struct parser *p); /* + or - */

/* Takes a token of this kind, or reports it as unexpected. */
bool parser_expect(struct parser *p, enum token_kind kind);

/* Reports the next token, in the words of the context. */
void parser_unexpected(struct parser *p);
void parser_unexpected_in(struct parser *p, const char *where, const char *wanted);

void parser_fail(struct parser *p, uint32_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
void parser_fail_quoted(struct parser *p, uint32_t pos, const char *before, struct str quoted);
void parser_out_of_memory(struct parser *p);

/* Bounds recursion. False: too deep. */
bool parser_enter(struct parser *p);
void parser_leave(struct parser *p);

/* ---- building (parse.c) ---- */

struct node *parser_node(struct parser *p, enum node_kind kind, uint32_t pos);

/* Completes a node that ends with the token taken last and whose children are in place. */
struct node *parser_finish(struct parser *p, struct node *n);

/* Makes room for one more item in an array of n items in the arena. */
bool parser_grow(struct parser *p, void *items, size_t n, size_t *cap, size_t size);

/* ---- the grammar ---- */

struct node *parse_expr(struct parser *p, int min_precedence); /* parse_expr.c */

struct node *parse_number(struct parser *p); /* at a number or duration token */

/* A selector whose name token, or NULL, has been taken. (parse_selector.c) */
struct node *parse_vector_selector(struct parser *p, const struct token *name);

/* What stands in parentheses after by, without, on, ignoring, group_left, group_right. */
bool parse_labels(struct parser *p, struct str **labels, size_t *n);

/* The text of a string token, in the arena. */
bool parse_string(struct parser *p, const struct token *t, struct str *out);

void parser_free_matchers(struct parser *p);

/* The duration in brackets, which must be positive. (parse_duration.c) */
bool parse_range_duration(struct parser *p, struct duration *out);

/* What follows offset. */
bool parse_offset_duration(struct parser *p, struct duration *out);
