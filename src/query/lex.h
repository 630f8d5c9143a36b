/* lex.h -- PromQL text to tokens.
 *
 * The lexer tells three kinds of place apart, as Prometheus' does: plain text, inside braces (where
 * every word is a label name), and the start of a duration in brackets. What it cannot read becomes
 * one TOK_ERROR that carries the message; the parser reports it when it reaches it.
 *
 * Positions are byte offsets; a token covers [pos, end). A TOK_ERROR's pos is the place to report.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct arena;

enum token_kind {
    TOK_END,
    TOK_ERROR,
    TOK_IDENTIFIER,        /* no colon in it */
    TOK_METRIC_IDENTIFIER, /* with a colon */
    TOK_STRING,
    TOK_NUMBER,
    TOK_DURATION,
    TOK_LEFT_PAREN,
    TOK_RIGHT_PAREN,
    TOK_LEFT_BRACE,
    TOK_RIGHT_BRACE,
    TOK_LEFT_BRACKET,
    TOK_RIGHT_BRACKET,
    TOK_COMMA,
    TOK_COLON,
    TOK_EQUAL,           /* = */
    TOK_OPERATOR,        /* value: enum binary_op */
    TOK_MATCH_REGEX,     /* =~ */
    TOK_NOT_MATCH_REGEX, /* !~ */
    TOK_AT,
    TOK_AGGREGATOR, /* value: enum aggregate_op */
    TOK_OFFSET,     /* the words from here on */
    TOK_ANCHORED,
    TOK_SMOOTHED,
    TOK_BY,
    TOK_WITHOUT,
    TOK_ON,
    TOK_IGNORING,
    TOK_GROUP_LEFT,
    TOK_GROUP_RIGHT,
    TOK_BOOL,
    TOK_FILL,
    TOK_FILL_LEFT,
    TOK_FILL_RIGHT,
    TOK_START,
    TOK_FINISH, /* the word "end" */
    TOK_STEP,
    TOK_RANGE,
    TOK_MIN_OF,
    TOK_MAX_OF,
    TOK_COUNT
};

struct token {
    enum token_kind kind;
    uint8_t value; /* of operators and aggregators */
    uint32_t pos, end;
    const char *error; /* of TOK_ERROR; NULL when the arena was full */
};

/* Fields are private. */
struct lexer {
    struct str text;
    struct arena *arena;
    uint32_t pos, start;
    uint32_t paren_depth;
    bool in_braces, in_brackets;
    bool expect_duration; /* in brackets, nothing but operators and parentheses so far */
    bool had_duration, had_colon;
};

/* A lexer on text (shorter than 4 GiB), which must stay; messages go to the arena. */
struct lexer lexer_on(struct str text, struct arena *a);

/* The next token. After TOK_END and TOK_ERROR there is nothing to ask for. */
struct token lex_next(struct lexer *lx);

/* The source text of a token. */
struct str token_text(struct str text, const struct token *t);

/* Appends the token as "unexpected …" names it: end of input, <op:*>, identifier "foo", "]". */
void token_describe(struct buf *b, struct str text, const struct token *t);

/* Whether the token may be a metric name: a name, or a keyword the grammar allows there. */
bool token_is_metric_name(struct str text, const struct token *t);

/* Whether the token may be a label name in by (…), on (…) and kin, quoted ones left aside. */
bool token_is_label_name(struct str text, const struct token *t);
