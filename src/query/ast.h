/* ast.h -- the syntax tree of PromQL.
 *
 * Made by parse.h in the query's arena, checked and typed by types.h, printed by print.h, evaluated
 * by eval.h. The tree covers the whole language of Prometheus 3.x, including what the evaluator
 * does not know yet.
 *
 * Positions are byte offsets into the query text, [pos, end).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "storage/matcher.h"

enum value_type { TYPE_NONE, TYPE_SCALAR, TYPE_STRING, TYPE_VECTOR, TYPE_MATRIX };

/* "scalar", "string", "instant vector", "range vector": as in messages. */
const char *value_type_doc(enum value_type t);
/* "scalar", "string", "vector", "matrix": as in API results. */
const char *value_type_name(enum value_type t);

enum node_kind {
    NODE_NUMBER, /* number; also a duration literal */
    NODE_STRING,
    NODE_SELECTOR, /* instant vector selector */
    NODE_MATRIX,   /* a selector with [range] */
    NODE_SUBQUERY, /* expr[range:step] */
    NODE_CALL, /* function call; in a duration expression also step() range() min_of() max_of() */
    NODE_AGGREGATE,
    NODE_BINARY,
    NODE_UNARY,
    NODE_PAREN,
};

enum binary_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_POW,
    OP_ATAN2,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_TRIM_UPPER, /* </ keeps observations below */
    OP_TRIM_LOWER, /* >/ keeps observations above */
    OP_AND,
    OP_OR,
    OP_UNLESS,
    OP_COUNT
};
const char *binary_op_text(enum binary_op op);
bool binary_op_is_comparison(enum binary_op op); /* == != < <= > >= */
bool binary_op_is_set(enum binary_op op);        /* and or unless */

enum aggregate_op {
    AGG_SUM,
    AGG_AVG,
    AGG_COUNT,
    AGG_MIN,
    AGG_MAX,
    AGG_GROUP,
    AGG_STDDEV,
    AGG_STDVAR,
    AGG_TOPK,
    AGG_BOTTOMK,
    AGG_COUNT_VALUES,
    AGG_QUANTILE,
    AGG_LIMITK,
    AGG_LIMIT_RATIO,
    AGG_OP_COUNT
};
const char *aggregate_op_text(enum aggregate_op op);
bool aggregate_op_has_param(enum aggregate_op op);

struct node;
struct func; /* functions.h */

/* A duration as written: a literal (expr is a NODE_NUMBER, maybe in parentheses), or an expression
 * that duration_prepare() (duration_expr.h) evaluates before the query runs. An offset or a
 * step below a millisecond counts as absent. */
struct duration {
    struct node *expr; /* NULL: absent (an omitted subquery step, no offset) */
    int64_t ms; /* the value: known after parsing for literals, after preparation otherwise */
};

enum at_kind { AT_NONE, AT_TIME, AT_START, AT_END };

/* What may follow a selector or subquery. */
struct modifiers {
    struct duration offset;
    enum at_kind at;
    int64_t at_ms; /* of AT_TIME; after preparation of AT_START and AT_END too */
    bool anchored, smoothed;
};

enum card {
    CARD_ONE_TO_ONE,
    CARD_MANY_TO_ONE /* group_left */,
    CARD_ONE_TO_MANY /* group_right */,
    CARD_MANY_TO_MANY
};

struct matching {
    bool on;        /* labels came with on(...), else with ignoring(...) or not at all */
    bool given;     /* on or ignoring was written */
    enum card card; /* CARD_MANY_TO_MANY for set operators */
    struct str *labels;
    size_t n_labels;
    struct str *include; /* group_left(...) / group_right(...) */
    size_t n_include;
    bool fill_left, fill_right;
    double fill_left_value, fill_right_value;
};

struct node {
    enum node_kind kind;
    enum value_type type; /* known from the day the node is made */
    uint32_t pos, end;
    uint16_t height; /* 1 for a leaf; at most PARSE_MAX_HEIGHT, so recursion is safe */
    bool invariant;  /* same value at every step; set by preparation */
    union {
        struct {
            double value;
            bool is_duration; /* written as one: prints as one */
        } number;
        struct str string;
        struct {
            struct str name; /* written outside the braces, else empty; then the last matcher too */
            struct matcher *matchers;
            size_t n_matchers;
            struct modifiers mod;
            bool stats_only; /* of histograms the counts and sums; set by preparation */
        } selector;
        struct {
            struct node *selector; /* NODE_SELECTOR; modifiers are kept there */
            struct duration range;
        } matrix;
        struct {
            struct node *expr;
            struct duration range, step;
            struct modifiers mod;
        } subquery;
        struct {
            struct str name;
            const struct func *func; /* NULL for the calls of duration expressions */
            struct node **args;
            size_t n_args;
        } call;
        struct {
            enum aggregate_op op;
            struct node *expr;
            struct node *param; /* NULL without one */
            bool without;
            bool grouped; /* by or without was written */
            struct str *labels;
            size_t n_labels;
        } aggregate;
        struct {
            enum binary_op op;
            uint32_t op_pos;
            struct node *lhs, *rhs;
            bool return_bool;
            struct matching matching;
        } binary;
        struct {
            bool minus;
            struct node *expr;
        } unary;
        struct node *paren;
    };
};
