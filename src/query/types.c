/* types.c -- one check_<kind>() for each kind of node, in the order in which Prometheus reports: the
 * children first, the number of a call's arguments before their types. */
#include "query/types.h"

#include <string.h>

#include "query/functions.h"
#include "storage/labels.h"

#include "base/banned.h"

enum value_type node_natural_type(const struct node *n)
{
    switch (n->kind) {
    case NODE_NUMBER:
        return TYPE_SCALAR;
    case NODE_STRING:
        return TYPE_STRING;
    case NODE_SELECTOR:
    case NODE_AGGREGATE:
        return TYPE_VECTOR;
    case NODE_MATRIX:
    case NODE_SUBQUERY:
        return TYPE_MATRIX;
    case NODE_CALL:
        return n->call.func ? n->call.func->returns : TYPE_SCALAR;
    case NODE_BINARY:
        return n->binary.lhs->type == TYPE_SCALAR && n->binary.rhs->type == TYPE_SCALAR
                   ? TYPE_SCALAR
                   : TYPE_VECTOR;
    case NODE_UNARY:
        return n->unary.expr->type;
    case NODE_PAREN:
        return n->paren->type;
    }
    return TYPE_NONE;
}

/* An error about a name, shown as Go's %q does. */
static enum errc fail_named(struct err *err, uint32_t pos, const char *before, struct str name,
                            const char *after)
{
    struct buf b = { 0 };
    enum errc rc;

    print_quoted(&b, name);
    rc = err_set(err, ERR_BAD_QUERY, pos, "%s%.*s%s", before, STR_ARG(buf_as_str(&b)), after);
    buf_free(&b);
    return rc;
}

static enum errc wrong_type(const struct node *n, enum value_type want, struct str function,
                            const char *context, struct err *err)
{
    if (function.len)
        return err_set(err, ERR_BAD_QUERY, n->pos,
                       "expected type %s in call to function \"%.*s\", got %s",
                       value_type_doc(want), STR_ARG(function), value_type_doc(n->type));
    return err_set(err, ERR_BAD_QUERY, n->pos, "expected type %s in %s, got %s",
                   value_type_doc(want), context, value_type_doc(n->type));
}

/* ---- selectors ---- */

static enum errc set_twice(const struct node *n, struct str a, struct str b, struct err *err)
{
    struct buf text = { 0 };
    enum errc rc;

    print_quoted(&text, a);
    buf_text(&text, " or ");
    print_quoted(&text, b);
    rc = err_set(err, ERR_BAD_QUERY, n->pos, "metric name must not be set twice: %.*s",
                 STR_ARG(buf_as_str(&text)));
    buf_free(&text);
    return rc;
}

static bool accepts_empty(const struct node *n)
{
    for (size_t i = 0; i < n->selector.n_matchers; i++)
        if (!matcher_matches_empty(&n->selector.matchers[i]))
            return false;
    return true;
}

/* Outside the braces a name may stand once and nothing may be said about it inside; inside, any
 * number of conditions may, but one equality. */
static enum errc check_selector(const struct node *n, bool may_be_empty, struct err *err)
{
    const struct matcher *m = n->selector.matchers, *first = NULL;
    bool outside = n->selector.name.len > 0;
    size_t n_inside = n->selector.n_matchers - outside;

    for (size_t i = 0; i < n_inside; i++) {
        if (!str_is(m[i].name, "__name__"))
            continue;
        if (outside)
            return set_twice(n, n->selector.name, m[i].value, err);
        if (m[i].op != MATCH_EQ)
            continue;
        if (first)
            return set_twice(n, first->value, m[i].value, err);
        first = &m[i];
    }
    if (!outside && !may_be_empty && accepts_empty(n))
        return err_set(err, ERR_BAD_QUERY, n->pos,
                       "vector selector must contain at least one non-empty matcher");
    return OK;
}

/* ---- operators ---- */

static bool is_operand(const struct node *n)
{
    return n->type == TYPE_SCALAR || n->type == TYPE_VECTOR;
}

static enum errc check_group_labels(const struct node *n, struct err *err)
{
    const struct matching *m = &n->binary.matching;

    for (size_t i = 0; m->on && i < m->n_labels; i++)
        for (size_t k = 0; k < m->n_include; k++)
            if (str_equal(m->labels[i], m->include[k]))
                return fail_named(err, n->binary.op_pos, "label ", m->labels[i],
                                  " must not occur in ON and GROUP clause at once");
    return OK;
}

static enum errc check_matching(struct node *n, struct err *err)
{
    enum binary_op op = n->binary.op;
    struct matching *m = &n->binary.matching;
    bool fill = m->fill_left || m->fill_right;
    bool vectors = n->binary.lhs->type == TYPE_VECTOR && n->binary.rhs->type == TYPE_VECTOR;

    if (!vectors) {
        if (m->n_labels)
            return err_set(err, ERR_BAD_QUERY, n->pos,
                           "vector matching only allowed between instant vectors");
        if (fill)
            return err_set(err, ERR_BAD_QUERY, n->pos,
                           "filling in missing series only allowed between instant vectors");
        if (binary_op_is_set(op))
            return err_set(err, ERR_BAD_QUERY, n->pos,
                           "set operator \"%s\" not allowed in binary scalar expression",
                           binary_op_text(op));
        *m = (struct matching){ 0 };
        return OK;
    }
    if (!binary_op_is_set(op))
        return OK;
    if (m->card != CARD_ONE_TO_ONE)
        return err_set(err, ERR_BAD_QUERY, n->pos, "no grouping allowed for \"%s\" operation",
                       binary_op_text(op));
    if (fill)
        return err_set(err, ERR_BAD_QUERY, n->pos,
                       "filling in missing series not allowed for set operators");
    m->card = CARD_MANY_TO_MANY;
    return OK;
}

static enum errc check_binary(struct node *n, struct err *err)
{
    static const char operands[] =
        "binary expression must contain only scalar and instant vector types";
    struct node *lhs = n->binary.lhs, *rhs = n->binary.rhs;
    bool comparison = binary_op_is_comparison(n->binary.op);
    enum errc rc;

    if ((rc = types_check(lhs, err)) != OK || (rc = types_check(rhs, err)) != OK)
        return rc;
    if (n->binary.return_bool && !comparison)
        return err_set(err, ERR_BAD_QUERY, n->binary.op_pos,
                       "bool modifier can only be used on comparison operators");
    if (comparison && !n->binary.return_bool && lhs->type == TYPE_SCALAR
        && rhs->type == TYPE_SCALAR)
        return err_set(err, ERR_BAD_QUERY, n->binary.op_pos,
                       "comparisons between scalars must use BOOL modifier");
    if ((rc = check_group_labels(n, err)) != OK)
        return rc;
    if (!is_operand(lhs))
        return err_set(err, ERR_BAD_QUERY, lhs->pos, "%s", operands);
    if (!is_operand(rhs))
        return err_set(err, ERR_BAD_QUERY, rhs->pos, "%s", operands);
    return check_matching(n, err);
}

static enum errc check_unary(struct node *n, struct err *err)
{
    enum errc rc = types_check(n->unary.expr, err);

    if (rc == OK && !is_operand(n->unary.expr))
        return err_set(err, ERR_BAD_QUERY, n->pos,
                       "unary expression only allowed on expressions of type scalar or instant "
                       "vector, got \"%s\"",
                       value_type_doc(n->unary.expr->type));
    return rc;
}

/* ---- aggregations and calls ---- */

static enum errc check_aggregate(struct node *n, struct err *err)
{
    struct node *expr = n->aggregate.expr, *param = n->aggregate.param;
    enum value_type want = n->aggregate.op == AGG_COUNT_VALUES ? TYPE_STRING : TYPE_SCALAR;
    struct str none = { 0 };
    enum errc rc = types_check(expr, err);

    if (rc != OK)
        return rc;
    if (expr->type != TYPE_VECTOR)
        return wrong_type(expr, TYPE_VECTOR, none, "aggregation expression", err);
    if (!param)
        return OK;
    if ((rc = types_check(param, err)) != OK)
        return rc;
    if (param->type != want)
        return wrong_type(param, want, none, "aggregation parameter", err);
    return OK;
}

static enum errc check_arity(const struct node *n, struct err *err)
{
    const struct func *f = n->call.func;
    size_t got = n->call.n_args, most = f->variadic ? f->max_args : f->n_args;
    const char *bound = f->min_args == f->n_args && !f->variadic ? "" : "at least ";
    size_t want = f->min_args;

    if (got >= f->min_args && (got <= most || (f->variadic && most == 0)))
        return OK;
    if (got > f->min_args) {
        bound = *bound ? "at most " : "";
        want = most;
    }
    return err_set(err, ERR_BAD_QUERY, n->pos,
                   "expected %s%zu argument(s) in call to \"%s\", got %zu", bound, want, f->name,
                   got);
}

/* info() reads its second argument as a list of conditions on labels, not as a selector. */
static enum errc check_info_labels(const struct node *n, struct err *err)
{
    const struct node *labels = n->call.args[1];

    if (labels->type != TYPE_VECTOR)
        return wrong_type(labels, TYPE_VECTOR, STR("info"), NULL, err);
    if (labels->kind != NODE_SELECTOR)
        return err_set(err, ERR_BAD_QUERY, labels->pos, "expected label selectors only");
    if (labels->selector.name.len)
        return err_set(err, ERR_BAD_QUERY, labels->pos,
                       "expected label selectors only, got vector selector instead");
    return OK;
}

static enum errc check_call(struct node *n, struct err *err)
{
    const struct func *f = n->call.func;
    bool info = strcmp(f->name, "info") == 0;
    enum errc rc = check_arity(n, err);

    if (rc == OK && info && n->call.n_args > 1)
        rc = check_info_labels(n, err);
    for (size_t i = 0; rc == OK && i < n->call.n_args; i++) {
        struct node *arg = n->call.args[i];
        enum value_type want = f->args[i < f->n_args ? i : f->n_args - 1u];

        rc = info && i == 1 ? check_selector(arg, true, err) : types_check(arg, err);
        if (rc == OK && arg->type != want)
            rc = wrong_type(arg, want, n->call.name, NULL, err);
    }
    return rc;
}

static enum errc check_subquery(struct node *n, struct err *err)
{
    enum errc rc = types_check(n->subquery.expr, err);

    if (rc == OK && n->subquery.expr->type != TYPE_VECTOR)
        return err_set(err, ERR_BAD_QUERY, n->pos,
                       "subquery is only allowed on instant vector, got %s instead",
                       value_type_name(n->subquery.expr->type));
    return rc;
}

enum errc types_check(struct node *n, struct err *err)
{
    switch (n->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        return OK;
    case NODE_SELECTOR:
        return check_selector(n, false, err);
    case NODE_MATRIX:
        return check_selector(n->matrix.selector, false, err);
    case NODE_SUBQUERY:
        return check_subquery(n, err);
    case NODE_CALL:
        return check_call(n, err);
    case NODE_AGGREGATE:
        return check_aggregate(n, err);
    case NODE_BINARY:
        return check_binary(n, err);
    case NODE_UNARY:
        return check_unary(n, err);
    case NODE_PAREN:
        return types_check(n->paren, err);
    }
    return OK;
}
