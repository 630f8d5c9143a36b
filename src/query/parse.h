/* parse.h -- PromQL text to tree: lexer, precedence climbing, type check.
 *
 * Errors are ERR_BAD_QUERY; err.msg has Prometheus' wording without position, err.pos the byte
 * offset; parse_error_print() adds the position the way Prometheus does. Nesting is bounded, as is
 * the length of the text.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "query/ast.h"

struct arena;

/* Depth counts brackets, signs and right operands of ^ while reading; height counts nodes from root
 * to leaf, which a long chain a + b + c + … makes as well. */
enum { PARSE_MAX_BYTES = 1 << 20, PARSE_MAX_DEPTH = 200, PARSE_MAX_HEIGHT = 500 };

/* err.pos of an ERR_BAD_QUERY that has no place in the text: printed without one. */
#define PARSE_NO_POSITION UINT32_MAX

/* The tree of a whole query, type-checked; everything in the arena (but compiled patterns: free
 * with parse_free()). ERR_BAD_QUERY, ERR_TOO_LARGE, ERR_LIMIT (arena full). */
MUST_USE enum errc parse_query(struct str text, struct arena *a, struct node **out,
                               struct err *err);

/* One series selector without modifiers: the API's match[] parameter. ERR_BAD_QUERY also when every
 * matcher accepts the empty value ("match[] must contain at least one non-empty matcher", without a
 * position). The caller frees each of the n matchers with matcher_free(). */
MUST_USE enum errc parse_selector(struct str text, struct arena *a, struct matcher **out, size_t *n,
                                  struct err *err);

/* Frees the compiled patterns of a tree. NULL is fine. */
void parse_free(struct node *n);

/* Adds `1:5: parse error: TEXT` (or `unknown position: parse error: …` for an empty query, or TEXT
 * alone without a position). */
void parse_error_print(struct buf *b, struct str text, const struct err *err);

/* LINE:COL of a byte offset, both from 1, COL in bytes. */
void position_print(struct buf *b, struct str text, uint32_t pos);

/* The canonical text of a tree. */
void node_print(struct buf *b, const struct node *n);

/* The tree's text broken into indented lines of about 100 bytes (/api/v1/format_query). */
void node_prettify(struct buf *b, const struct node *n);
