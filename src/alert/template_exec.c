/* template_exec.c
 *
 * A walk over the tree. Functions that can fail return false (or WALK_STOP) once x->rc is set.
 *
 * x->at is the node an error names, so it is set in the same places as in Go: the text and the
 * position in messages depend on it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/template_private.h"
#include "base/arena.h"

#include "base/banned.h"

enum { NODE_BYTES_SHOWN = 500 };

enum walk { WALK_ON, WALK_BREAK, WALK_CONTINUE, WALK_STOP };

/* What a command gets from the command before it, if any. */
struct final {
    bool present;
    struct datum value;
};

/* Arguments as nodes: of a command behind its first word, or none. */
struct operands {
    const struct tpl_node *first;
    struct final final;
};

static bool eval_pipeline(struct tpl_exec *x, struct datum dot, const struct tpl_node *pipe,
                          struct datum *out);
static enum walk walk_list(struct tpl_exec *x, struct datum dot, const struct tpl_node *list);

/* --- errors and limits --- */

/* Line and column of a position, both as Go counts: the column from 0, in bytes. */
static void locate(struct str text, uint32_t pos, uint32_t *line, uint32_t *col)
{
    uint32_t start = 0;

    *line = 1;
    for (uint32_t i = 0; i < pos && i < text.len; i++)
        if (text.ptr[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *col = pos - start;
}

bool tpl_fail(struct tpl_exec *x, enum errc code, const char *fmt, ...)
{
    struct buf what = { 0 };
    uint32_t line, col;
    char *text;
    va_list ap;

    if (x->rc != OK)
        return false;
    va_start(ap, fmt);
    text = arena_vprintf(x->arena, fmt, ap);
    va_end(ap);
    tpl_node_print(&what, x->at);
    if (what.len > NODE_BYTES_SHOWN)
        what.len = NODE_BYTES_SHOWN;
    locate(x->tree->text, x->at->pos, &line, &col);
    x->rc = err_set(x->err, code, x->at->pos,
                    "error executing template %.*s: template: %.*s:%u:%u: executing \"%.*s\" at "
                    "<%.*s>: %s",
                    STR_ARG(x->tree->name), STR_ARG(x->tree->name), line, col, STR_ARG(x->name),
                    STR_ARG(buf_as_str(&what)), text ? text : errc_text(code));
    buf_free(&what);
    return false;
}

bool tpl_no_memory(struct tpl_exec *x)
{
    return tpl_fail(x, ERR_LIMIT, "needs more than %zu bytes", arena_limit(x->arena));
}

bool tpl_spend(struct tpl_exec *x, size_t steps)
{
    if (steps > TPL_MAX_STEPS - x->steps)
        return tpl_fail(x, ERR_LIMIT, "more than %d steps", TPL_MAX_STEPS);
    x->steps += steps;
    return true;
}

bool call_fail(struct tpl_call *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    c->error = arena_vprintf(c->x->arena, fmt, ap);
    va_end(ap);
    if (!c->error)
        c->error = "out of memory";
    return false;
}

static const char *node_text(struct tpl_exec *x, const struct tpl_node *n)
{
    struct buf b = { 0 };
    char *text;

    tpl_node_print(&b, n);
    text = arena_strndup(x->arena, (const char *)b.ptr, b.len);
    buf_free(&b);
    return text ? text : "";
}

static bool enter(struct tpl_exec *x)
{
    if (x->depth == TPL_MAX_DEPTH)
        return tpl_fail(x, ERR_LIMIT, "nested deeper than %d levels", TPL_MAX_DEPTH);
    x->depth++;
    return true;
}

/* --- variables --- */

static bool push_var(struct tpl_exec *x, struct str name, struct datum value)
{
    if (x->n_vars == x->cap_vars) {
        size_t cap = x->cap_vars ? 2 * x->cap_vars : 16;
        struct tpl_variable *grown =
            arena_grow(x->arena, x->vars, x->cap_vars * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return tpl_no_memory(x);
        x->vars = grown;
        x->cap_vars = cap;
    }
    x->vars[x->n_vars++] = (struct tpl_variable){ name, value };
    return true;
}

static struct tpl_variable *find_var(struct tpl_exec *x, struct str name)
{
    for (size_t i = x->n_vars; i > x->first_var; i--)
        if (str_equal(x->vars[i - 1].name, name))
            return &x->vars[i - 1];
    (void)tpl_fail(x, ERR_EXECUTION, "undefined variable: %.*s", STR_ARG(name));
    return NULL;
}

static bool set_var(struct tpl_exec *x, struct str name, struct datum value)
{
    struct tpl_variable *v = find_var(x, name);

    if (v)
        v->value = value;
    return v;
}

/* --- arguments --- */

static const char *param_type(enum tpl_param param)
{
    static const char *const names[] = {
        [PARAM_ANY] = "interface {}",        [PARAM_STRING] = "string",
        [PARAM_SAMPLE] = "*template.sample", [PARAM_RESULT] = tpl_result_type,
        [PARAM_TIME] = "time.Time",          [PARAM_DURATION] = "time.Duration",
    };

    return names[param];
}

static bool has_type(struct datum d, enum tpl_param param)
{
    switch (param) {
    case PARAM_ANY:
        return true;
    case PARAM_STRING:
        return d.kind == DATUM_STRING;
    case PARAM_SAMPLE:
        return d.kind == DATUM_RECORD && d.record->type == &tpl_sample_type;
    case PARAM_RESULT:
        return d.kind == DATUM_LIST && strcmp(d.list->type, tpl_result_type) == 0;
    case PARAM_TIME:
        return d.kind == DATUM_TIME;
    case PARAM_DURATION:
        return d.kind == DATUM_DURATION;
    }
    return false;
}

static bool check_type(struct tpl_exec *x, struct datum *d, enum tpl_param param)
{
    static const struct datum_list no_samples = { .type = tpl_result_type };

    if (d->kind == DATUM_NONE && param == PARAM_ANY)
        d->kind = DATUM_NIL;
    if (datum_is_nil(*d) && param == PARAM_RESULT)
        *d = (struct datum){ .kind = DATUM_LIST, .list = &no_samples }; /* Go's nil slice */
    if (has_type(*d, param))
        return true;
    if (datum_is_nil(*d))
        return tpl_fail(x, ERR_EXECUTION, "invalid value; expected %s", param_type(param));
    return tpl_fail(x, ERR_EXECUTION, "wrong type for value; expected %s; got %s",
                    param_type(param), datum_type(*d));
}

static bool eval_command(struct tpl_exec *x, struct datum dot, const struct tpl_node *command,
                         struct final final, struct datum *out);
static bool eval_operand(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                         struct operands operands, struct datum *out);

static bool eval_arg(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                     enum tpl_param param, struct datum *out)
{
    x->at = n;
    if (n->kind == NODE_TPL_NIL) {
        *out = (struct datum){ .kind = DATUM_NIL };
        return param == PARAM_ANY || (param == PARAM_RESULT && check_type(x, out, param))
               || tpl_fail(x, ERR_EXECUTION, "cannot assign nil to %s", param_type(param));
    }
    if (n->kind == NODE_TPL_CONSTANT) {
        *out = n->constant;
        if (param == PARAM_DURATION && out->kind == DATUM_INT)
            out->kind = DATUM_DURATION; /* an untyped constant */
        if (has_type(*out, param))
            return true;
        return param == PARAM_STRING
                   ? tpl_fail(x, ERR_EXECUTION, "expected string; found %.*s", STR_ARG(n->text))
                   : tpl_fail(x, ERR_EXECUTION, "can't handle %.*s for arg of type %s",
                              STR_ARG(n->text), param_type(param));
    }
    return eval_operand(x, dot, n, (struct operands){ 0 }, out) && check_type(x, out, param);
}

/* --- functions --- */

static size_t count_operands(struct operands o)
{
    size_t n = o.final.present;

    for (const struct tpl_node *a = o.first; a; a = a->next)
        n++;
    return n;
}

static enum tpl_param param_of(const struct tpl_func *f, size_t i)
{
    size_t last = ARRAY_LEN(f->params) - 1;

    if (f->variadic && i >= f->n_fixed)
        i = f->n_fixed;
    return f->params[i < last ? i : last];
}

/* and, or: the first argument that decides, the last one otherwise. */
static bool eval_logic(struct tpl_exec *x, struct datum dot, bool is_or, struct operands o,
                       struct datum *out)
{
    for (const struct tpl_node *n = o.first; n; n = n->next) {
        if (!eval_arg(x, dot, n, PARAM_ANY, out))
            return false;
        if (datum_truth(*out) == is_or)
            return true;
    }
    if (o.final.present)
        *out = o.final.value;
    return true;
}

static bool finish_call(struct tpl_call *c, bool ok, const char *name, const struct tpl_node *node)
{
    struct tpl_exec *x = c->x;

    if (x->rc != OK)
        return false;
    if (!ok) {
        x->at = node;
        return tpl_fail(x, ERR_EXECUTION, "error calling %s: %s", name, c->error);
    }
    if (x->scratch.failed)
        return tpl_no_memory(x);
    if (x->scratch.len > TPL_MAX_OUTPUT)
        return tpl_fail(x, ERR_LIMIT, "text of more than %d bytes", TPL_MAX_OUTPUT);
    if (c->out->kind == DATUM_NONE) {
        struct str text = str_copy(x->arena, buf_as_str(&x->scratch));

        if (!text.ptr)
            return tpl_no_memory(x);
        *c->out = datum_str(text);
    }
    return tpl_spend(x, x->scratch.len / TPL_BYTES_PER_STEP);
}

/* node is what an error of the function names; receiver (NULL: none) comes first in args. */
static bool eval_call(struct tpl_exec *x, struct datum dot, const struct tpl_func *f,
                      const struct tpl_node *node, const struct datum *receiver, struct operands o,
                      struct datum *out)
{
    size_t n = count_operands(o), i = 0;
    struct datum *args;
    struct tpl_call c;

    if (f->variadic && n < f->n_fixed)
        return tpl_fail(x, ERR_EXECUTION, "wrong number of args for %s: want at least %d got %zu",
                        f->name, f->n_fixed, n - o.final.present);
    if (!f->variadic && n != f->n_fixed)
        return tpl_fail(x, ERR_EXECUTION, "wrong number of args for %s: want %d got %zu", f->name,
                        f->n_fixed, n);
    if (!f->fn)
        return eval_logic(x, dot, f->name[0] == 'o', o, out);
    args = ARENA_NEW(x->arena, struct datum, n + 1);
    if (!args)
        return tpl_no_memory(x);
    if (receiver)
        *args++ = *receiver;
    for (const struct tpl_node *a = o.first; a; a = a->next, i++)
        if (!eval_arg(x, dot, a, param_of(f, i), &args[i]))
            return false;
    if (o.final.present) {
        args[i] = o.final.value;
        if (!check_type(x, &args[i], param_of(f, i)))
            return false;
    }
    buf_clear(&x->scratch);
    *out = (struct datum){ 0 };
    c = (struct tpl_call){ .x = x,
                           .args = receiver ? args - 1 : args,
                           .n = receiver ? n + 1 : n,
                           .text = &x->scratch,
                           .out = out };
    return finish_call(&c, f->fn(&c), f->name, node);
}

/* --- fields --- */

static bool missing_key(struct tpl_exec *x, struct datum map, struct str name, struct datum *out)
{
    *out = (struct datum){ 0 };
    if (x->missing == TPL_MISSING_ERROR)
        return tpl_fail(x, ERR_EXECUTION, "map has no entry for key \"%.*s\"", STR_ARG(name));
    if (x->missing == TPL_MISSING_ZERO)
        *out = map.map->any ? (struct datum){ .kind = DATUM_NIL } : datum_str(STR(""));
    return true;
}

/* receiver.name, a method called with the operands, a field or a key. */
static bool eval_field(struct tpl_exec *x, struct datum dot, struct str name,
                       const struct tpl_node *node, struct operands o, struct datum *value)
{
    struct datum receiver = *value;
    bool has_args = o.first || o.final.present;
    const struct tpl_func *method = tpl_method_find(receiver.kind, name);
    const struct datum *found = NULL;

    if (method)
        return eval_call(x, dot, method, node, &receiver, o, value);
    if (receiver.kind == DATUM_NONE && x->missing != TPL_MISSING_ERROR)
        return true;
    if (receiver.kind == DATUM_NONE)
        return tpl_fail(x, ERR_EXECUTION, "nil data; no entry for key \"%.*s\"", STR_ARG(name));
    if (receiver.kind == DATUM_NIL)
        return tpl_fail(x, ERR_EXECUTION, "nil pointer evaluating interface {}.%.*s",
                        STR_ARG(name));
    if (receiver.kind == DATUM_RECORD)
        found = datum_field(receiver, name);
    else if (receiver.kind == DATUM_MAP)
        found = datum_key(receiver, name);
    if (!found && receiver.kind != DATUM_MAP)
        return tpl_fail(x, ERR_EXECUTION, "can't evaluate field %.*s in type %s", STR_ARG(name),
                        datum_type(receiver));
    if (has_args)
        return tpl_fail(x, ERR_EXECUTION,
                        receiver.kind == DATUM_MAP
                            ? "%.*s is not a method but has arguments"
                            : "%.*s has arguments but cannot be invoked as function",
                        STR_ARG(name));
    if (!found)
        return missing_key(x, receiver, name, value);
    *value = *found;
    return true;
}

/* The fields of node, from *value on; the last may take the operands. */
static bool eval_fields(struct tpl_exec *x, struct datum dot, const struct tpl_node *node,
                        struct operands o, struct datum *value)
{
    for (size_t i = 0; i < node->n_fields; i++) {
        bool last = i + 1 == node->n_fields;

        if (!tpl_spend(x, 1)
            || !eval_field(x, dot, node->fields[i], node, last ? o : (struct operands){ 0 }, value))
            return false;
    }
    return true;
}

/* --- operands --- */

static bool refuse_args(struct tpl_exec *x, const struct tpl_node *n, struct operands o)
{
    if (!o.first && !o.final.present)
        return true;
    return tpl_fail(x, ERR_EXECUTION, "can't give argument to non-function %s", node_text(x, n));
}

static bool eval_chain(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                       struct operands o, struct datum *out)
{
    x->at = n;
    if (n->child->kind == NODE_TPL_NIL)
        return tpl_fail(x, ERR_EXECUTION, "indirection through explicit nil in %s",
                        node_text(x, n));
    x->at = n->child;
    return eval_operand(x, dot, n->child, (struct operands){ 0 }, out)
           && eval_fields(x, dot, n, o, out);
}

static bool eval_variable(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                          struct operands o, struct datum *out)
{
    struct tpl_variable *v;

    x->at = n;
    v = find_var(x, n->text);
    if (!v)
        return false;
    *out = v->value;
    return n->n_fields ? eval_fields(x, dot, n, o, out) : refuse_args(x, n, o);
}

/* A function in a command is named with its arguments in errors, elsewhere by itself: node. */
static bool eval_function(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                          const struct tpl_node *node, struct operands o, struct datum *out)
{
    const struct tpl_func *f = tpl_func_find(n->text);

    ASSERT(f); /* the parser has checked */
    x->at = n;
    return eval_call(x, dot, f, node, NULL, o, out);
}

static bool eval_operand(struct tpl_exec *x, struct datum dot, const struct tpl_node *n,
                         struct operands o, struct datum *out)
{
    if (!tpl_spend(x, 1))
        return false;
    switch (n->kind) {
    case NODE_TPL_FIELD:
        x->at = n;
        *out = dot;
        return eval_fields(x, dot, n, o, out);
    case NODE_TPL_CHAIN:
        return eval_chain(x, dot, n, o, out);
    case NODE_TPL_FUNCTION:
        return eval_function(x, dot, n, n, o, out);
    case NODE_TPL_PIPE:
        return refuse_args(x, n, o) && eval_pipeline(x, dot, n, out);
    case NODE_TPL_VARIABLE:
        return eval_variable(x, dot, n, o, out);
    case NODE_TPL_NIL:
        x->at = n;
        return refuse_args(x, n, o) && tpl_fail(x, ERR_EXECUTION, "nil is not a command");
    default:
        x->at = n;
        *out = n->kind == NODE_TPL_DOT ? dot : n->constant;
        return refuse_args(x, n, o);
    }
}

static bool eval_command(struct tpl_exec *x, struct datum dot, const struct tpl_node *command,
                         struct final final, struct datum *out)
{
    const struct tpl_node *first = command->child;
    struct operands o = { first->next, final };

    if (first->kind == NODE_TPL_FUNCTION)
        return tpl_spend(x, 1) && eval_function(x, dot, first, command, o, out);
    return eval_operand(x, dot, first, o, out);
}

static bool eval_pipeline(struct tpl_exec *x, struct datum dot, const struct tpl_node *pipe,
                          struct datum *out)
{
    struct final final = { 0 };

    x->at = pipe;
    if (!enter(x))
        return false;
    for (const struct tpl_node *c = pipe->child; c; c = c->next) {
        if (!eval_command(x, dot, c, final, out))
            return false;
        if (out->kind == DATUM_NIL)
            out->kind = DATUM_NONE; /* the nil has been taken out of its interface */
        final = (struct final){ true, *out };
    }
    x->depth--;
    for (size_t i = 0; i < pipe->n_decl; i++)
        if (pipe->assign ? !set_var(x, pipe->decl[i], *out) : !push_var(x, pipe->decl[i], *out))
            return false;
    return true;
}

/* --- statements --- */

static enum walk emit(struct tpl_exec *x, struct str text)
{
    if (x->out->len - x->out_start + text.len > TPL_MAX_OUTPUT)
        return tpl_fail(x, ERR_LIMIT, "output of more than %d bytes", TPL_MAX_OUTPUT), WALK_STOP;
    buf_str(x->out, text);
    if (x->out->failed)
        return tpl_no_memory(x), WALK_STOP;
    return tpl_spend(x, text.len / TPL_BYTES_PER_STEP) ? WALK_ON : WALK_STOP;
}

static enum walk walk_action(struct tpl_exec *x, struct datum dot, const struct tpl_node *n)
{
    struct datum value;

    if (!eval_pipeline(x, dot, n->child, &value))
        return WALK_STOP;
    if (n->child->n_decl)
        return WALK_ON;
    x->at = n;
    buf_clear(&x->scratch);
    tpl_print_actions(&x->scratch, &value, 1);
    if (x->scratch.failed)
        return tpl_no_memory(x), WALK_STOP;
    return emit(x, buf_as_str(&x->scratch));
}

static enum walk walk_condition(struct tpl_exec *x, struct datum dot, const struct tpl_node *n)
{
    size_t mark = x->n_vars;
    struct datum value;
    enum walk walk = WALK_STOP;

    if (eval_pipeline(x, dot, n->child, &value)) {
        bool truth = datum_truth(value);

        walk = walk_list(x, truth && n->kind == NODE_TPL_WITH ? value : dot,
                         truth ? n->body : n->otherwise);
    }
    x->n_vars = mark;
    return walk;
}

/* Sets the variables of a range, whose places are those below mark. */
static bool set_range_vars(struct tpl_exec *x, const struct tpl_node *pipe, size_t mark,
                           struct datum index, struct datum item)
{
    bool both = pipe->n_decl > 1;

    if (pipe->n_decl == 0)
        return true;
    if (pipe->assign)
        return set_var(x, pipe->decl[0], both ? index : item)
               && (!both || set_var(x, pipe->decl[1], item));
    x->vars[mark - 1].value = item;
    if (both)
        x->vars[mark - 2].value = index;
    return true;
}

static bool range_length(struct tpl_exec *x, const struct tpl_node *n, struct datum over,
                         size_t *length)
{
    *length = 0;
    switch (over.kind) {
    case DATUM_NONE:
    case DATUM_NIL:
        return true;
    case DATUM_MAP:
        *length = over.map->n;
        return true;
    case DATUM_LIST:
        *length = over.list->n;
        return true;
    case DATUM_INT:
    case DATUM_INT64:
        *length = over.i > 0 ? (size_t)over.i : 0;
        return n->child->n_decl < 2
               || tpl_fail(x, ERR_EXECUTION,
                           "can't use %lld to iterate over more than one variable",
                           (long long)over.i);
    default:
        buf_clear(&x->scratch);
        tpl_print(&x->scratch, &over, 1);
        return tpl_fail(
            x, ERR_EXECUTION, "range can't iterate over %.*s",
            (int)(x->scratch.len < NODE_BYTES_SHOWN ? x->scratch.len : NODE_BYTES_SHOWN),
            (const char *)x->scratch.ptr);
    }
}

static enum walk walk_range(struct tpl_exec *x, struct datum dot, const struct tpl_node *n)
{
    size_t before = x->n_vars, mark, length = 0;
    enum walk walk = WALK_ON;
    struct datum over;

    if (!eval_pipeline(x, dot, n->child, &over) || !range_length(x, n, over, &length))
        return WALK_STOP;
    mark = x->n_vars;
    for (size_t i = 0; i < length && (walk == WALK_ON || walk == WALK_CONTINUE); i++) {
        bool map = over.kind == DATUM_MAP;
        struct datum index = map ? datum_str(over.map->keys[i]) : datum_int((int64_t)i);
        struct datum item = map                       ? over.map->values[i]
                            : over.kind == DATUM_LIST ? over.list->items[i]
                                                      : index;

        if (!tpl_spend(x, 1) || !set_range_vars(x, n->child, mark, index, item))
            return WALK_STOP;
        walk = walk_list(x, item, n->body);
        x->n_vars = mark;
    }
    if (walk == WALK_BREAK || walk == WALK_CONTINUE)
        walk = WALK_ON;
    if (length == 0)
        walk = walk_list(x, dot, n->otherwise);
    x->n_vars = before;
    return walk;
}

/* The called template sees no variables but "$". */
static enum walk walk_template(struct tpl_exec *x, struct datum dot, const struct tpl_node *n)
{
    const struct tpl_define *d = x->tree->defines;
    size_t first_var = x->first_var, n_vars;
    struct str name = x->name;
    struct datum value = { 0 };
    enum walk walk = WALK_STOP;

    x->at = n;
    while (d && !str_equal(d->name, n->text))
        d = d->next;
    if (!d)
        return tpl_fail(x, ERR_EXECUTION, "template \"%.*s\" not defined", STR_ARG(n->text)), walk;
    if (n->child && !eval_pipeline(x, dot, n->child, &value))
        return walk;
    n_vars = x->n_vars;
    x->first_var = n_vars;
    x->name = d->name;
    if (push_var(x, STR("$"), value))
        walk = walk_list(x, value, d->body);
    x->first_var = first_var;
    x->n_vars = n_vars;
    x->name = name;
    return walk;
}

static enum walk walk_node(struct tpl_exec *x, struct datum dot, const struct tpl_node *n)
{
    x->at = n;
    if (!tpl_spend(x, 1))
        return WALK_STOP;
    switch (n->kind) {
    case NODE_TPL_TEXT:
        return emit(x, n->text);
    case NODE_TPL_IF:
    case NODE_TPL_WITH:
        return walk_condition(x, dot, n);
    case NODE_TPL_RANGE:
        return walk_range(x, dot, n);
    case NODE_TPL_TEMPLATE:
        return walk_template(x, dot, n);
    case NODE_TPL_BREAK:
        return WALK_BREAK;
    case NODE_TPL_CONTINUE:
        return WALK_CONTINUE;
    default:
        ASSERT(n->kind == NODE_TPL_ACTION);
        return walk_action(x, dot, n);
    }
}

static enum walk walk_list(struct tpl_exec *x, struct datum dot, const struct tpl_node *list)
{
    enum walk walk = WALK_ON;

    if (!enter(x))
        return WALK_STOP;
    for (const struct tpl_node *n = list; n && walk == WALK_ON; n = n->next)
        walk = walk_node(x, dot, n);
    x->depth--;
    return walk;
}

/* --- entry --- */

static const struct record_type alert_type = {
    .name = "struct { Labels map[string]string; ExternalLabels map[string]string; "
            "ExternalURL string; Value interface {} }",
    .n = 4,
    .fields = { "Labels", "ExternalLabels", "ExternalURL", "Value" }
};

static const char *const alert_vars[] = { "$labels", "$externalLabels", "$externalURL", "$value",
                                          NULL };

/* What an alert's template sees: `.` with four fields, and each as a variable. */
static bool push_alert(struct tpl_exec *x, struct datum *dot)
{
    const struct template_data *data = x->data;
    struct datum_record *record = ARENA_NEW(x->arena, struct datum_record, 1);
    struct datum *fields = ARENA_NEW(x->arena, struct datum, ARRAY_LEN(alert_vars));

    if (!record || !fields || !datum_labels(x->arena, data->labels, &fields[0])
        || !datum_labels(x->arena, data->external_labels, &fields[1]))
        return tpl_no_memory(x);
    fields[2] = datum_str(data->external_url);
    fields[3] = data->histogram.len ? datum_str(data->histogram) : datum_float(data->value);
    *record = (struct datum_record){ &alert_type, fields };
    *dot = (struct datum){ .kind = DATUM_RECORD, .record = record };
    if (!push_var(x, STR("$"), *dot))
        return false;
    for (size_t i = 0; alert_vars[i]; i++)
        if (!push_var(x, str_from(alert_vars[i]), fields[i]))
            return false;
    return true;
}

enum errc tpl_execute(struct tpl_exec *x, const struct datum *dot)
{
    static const struct tpl_node start = { .kind = NODE_TPL_TEXT };
    struct datum root;

    x->rc = OK;
    x->name = x->tree->name;
    x->out_start = x->out->len;
    x->at = &start;
    if (dot) {
        root = *dot;
        if (!push_var(x, STR("$"), root))
            goto done;
    } else if (!push_alert(x, &root)) {
        goto done;
    }
    (void)walk_list(x, root, x->tree->root);
done:
    buf_free(&x->scratch);
    return x->rc;
}

enum errc template_check(struct str name, struct str text, struct arena *a, struct err *err)
{
    struct tpl_tree tree = { .name = name, .text = text };

    return tpl_parse(&tree, alert_vars, a, err);
}

enum errc template_expand(struct str name, struct str text, const struct template_data *data,
                          struct arena *a, struct buf *out, struct err *err)
{
    struct tpl_tree tree = { .name = name, .text = text };
    struct tpl_exec x = { .tree = &tree, .data = data, .arena = a, .out = out, .err = err };
    struct err parse_err = err_in(a);
    size_t start = out->len;
    enum errc rc = tpl_parse(&tree, alert_vars, a, &parse_err);

    if (rc != OK)
        return err_set(err, rc, parse_err.pos, "error parsing template %.*s: %s", STR_ARG(name),
                       err_text(&parse_err));
    rc = tpl_execute(&x, NULL);
    if (rc != OK)
        out->len = start;
    return rc;
}
