/* ast.c -- the spellings of types, operators and aggregations. */
#include "query/ast.h"

#include "base/compiler.h"

#include "base/banned.h"

static const char *const type_docs[] = {
    [TYPE_NONE] = "none",           [TYPE_SCALAR] = "scalar",
    [TYPE_STRING] = "string",       [TYPE_VECTOR] = "instant vector",
    [TYPE_MATRIX] = "range vector",
};

static const char *const type_names[] = {
    [TYPE_NONE] = "none",     [TYPE_SCALAR] = "scalar", [TYPE_STRING] = "string",
    [TYPE_VECTOR] = "vector", [TYPE_MATRIX] = "matrix",
};

static const char *const op_texts[] = {
    [OP_ADD] = "+", [OP_SUB] = "-",         [OP_MUL] = "*",         [OP_DIV] = "/",
    [OP_MOD] = "%", [OP_POW] = "^",         [OP_ATAN2] = "atan2",   [OP_EQ] = "==",
    [OP_NE] = "!=", [OP_LT] = "<",          [OP_LE] = "<=",         [OP_GT] = ">",
    [OP_GE] = ">=", [OP_TRIM_UPPER] = "</", [OP_TRIM_LOWER] = ">/", [OP_AND] = "and",
    [OP_OR] = "or", [OP_UNLESS] = "unless",
};
_Static_assert(ARRAY_LEN(op_texts) == OP_COUNT, "every operator has a text");

static const struct {
    const char *text;
    bool has_param;
} aggregates[] = {
    [AGG_SUM] = { "sum", false },
    [AGG_AVG] = { "avg", false },
    [AGG_COUNT] = { "count", false },
    [AGG_MIN] = { "min", false },
    [AGG_MAX] = { "max", false },
    [AGG_GROUP] = { "group", false },
    [AGG_STDDEV] = { "stddev", false },
    [AGG_STDVAR] = { "stdvar", false },
    [AGG_TOPK] = { "topk", true },
    [AGG_BOTTOMK] = { "bottomk", true },
    [AGG_COUNT_VALUES] = { "count_values", true },
    [AGG_QUANTILE] = { "quantile", true },
    [AGG_LIMITK] = { "limitk", true },
    [AGG_LIMIT_RATIO] = { "limit_ratio", true },
};
_Static_assert(ARRAY_LEN(aggregates) == AGG_OP_COUNT, "every aggregation has a row");

const char *value_type_doc(enum value_type t)
{
    ASSERT(t < ARRAY_LEN(type_docs));
    return type_docs[t];
}

const char *value_type_name(enum value_type t)
{
    ASSERT(t < ARRAY_LEN(type_names));
    return type_names[t];
}

const char *binary_op_text(enum binary_op op)
{
    ASSERT(op < OP_COUNT);
    return op_texts[op];
}

bool binary_op_is_comparison(enum binary_op op)
{
    return op >= OP_EQ && op <= OP_GE;
}

bool binary_op_is_set(enum binary_op op)
{
    return op == OP_AND || op == OP_OR || op == OP_UNLESS;
}

const char *aggregate_op_text(enum aggregate_op op)
{
    ASSERT(op < AGG_OP_COUNT);
    return aggregates[op].text;
}

bool aggregate_op_has_param(enum aggregate_op op)
{
    ASSERT(op < AGG_OP_COUNT);
    return aggregates[op].has_param;
}
