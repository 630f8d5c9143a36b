/* template_parse.c
 *
 *   list     = { text | "{{" action "}}" }
 *   action   = pipeline
 *            | ("if" | "with" | "range") pipeline list [ "else" list ] "end"
 *            | "define" name list "end" | "block" name pipeline list "end"
 *            | "template" name [ pipeline ] | "break" | "continue"
 *   pipeline = [ $x [ "," $y ] ( ":=" | "=" ) ] command { "|" command }
 *   command  = operand { space operand }
 *   operand  = ( constant | function | "." | $x | .field | "(" pipeline ")" ) { .field }
 *
 * By recursive descent. Functions return NULL (or false) once p->rc is set. As in Go an error names
 * the line of the furthest token looked at.
 */
#include <stdarg.h>
#include <string.h>

#include "alert/template_private.h"
#include "base/arena.h"
#include "storage/labels.h"

#include "base/banned.h"

struct parser {
    struct tpl_tree *tree;
    struct arena *arena;
    struct err *err;
    enum errc rc;
    const struct tpl_token *tokens;
    size_t n, at;
    size_t furthest;
    uint32_t action_line; /* of the action being read, 0 outside */
    struct str *vars;     /* names that may be used here */
    size_t n_vars, cap_vars, first_var;
    unsigned ranges; /* around this place, in this definition */
    unsigned depth;
};

/* --- errors --- */

/* t: the token at fault. */
static void *fail_at(struct parser *p, const struct tpl_token *t, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void *fail_at(struct parser *p, const struct tpl_token *t, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = arena_vprintf(p->arena, fmt, ap);
    va_end(ap);
    if (p->rc == OK)
        p->rc =
            err_set(p->err, ERR_BAD_CONFIG, t->pos, "template: %.*s:%u: %s", STR_ARG(p->tree->name),
                    p->tokens[p->furthest].line, text ? text : "out of memory");
    return NULL;
}

#define fail(p, ...) fail_at((p), &(p)->tokens[(p)->furthest], __VA_ARGS__)

static void *no_memory(struct parser *p)
{
    if (p->rc == OK)
        p->rc = err_set(p->err, ERR_LIMIT, p->tokens ? p->tokens[p->furthest].pos : 0,
                        "template %.*s: parsing needs more than %zu bytes", STR_ARG(p->tree->name),
                        arena_limit(p->arena));
    return NULL;
}

static const char *quoted(struct parser *p, struct str s)
{
    struct buf b = { 0 };
    char *text;

    print_quoted(&b, s);
    text = arena_strndup(p->arena, (char *)b.ptr, b.len);
    buf_free(&b);
    return text ? text : "";
}

static const char *node_text(struct parser *p, const struct tpl_node *n)
{
    struct buf b = { 0 };
    char *text;

    tpl_node_print(&b, n);
    text = arena_strndup(p->arena, (char *)b.ptr, b.len);
    buf_free(&b);
    return text ? text : "";
}

static struct str first_runes(struct str s, size_t n)
{
    size_t at = 0, width;

    while (n-- && at < s.len) {
        utf8_decode((struct str){ s.ptr + at, s.len - at }, &width);
        at += width;
    }
    return (struct str){ s.ptr, at };
}

static const char *token_text(struct parser *p, const struct tpl_token *t)
{
    enum { SHOWN_RUNES = 10 };
    char *text;

    if (t->kind == TPL_EOF)
        return "EOF";
    if (t->kind > TPL_KEYWORD)
        text = arena_printf(p->arena, "<%.*s>", STR_ARG(t->text));
    else if (t->text.len > SHOWN_RUNES)
        text = arena_printf(p->arena, "%s...", quoted(p, first_runes(t->text, SHOWN_RUNES)));
    else
        return quoted(p, t->text);
    return text ? text : "";
}

static void *unexpected(struct parser *p, const struct tpl_token *t, const char *context)
{
    bool elsewhere = p->action_line && p->action_line != t->line;

    if (t->kind != TPL_ERROR)
        return fail_at(p, t, "unexpected %s in %s", token_text(p, t), context);
    if (!elsewhere)
        return fail_at(p, t, "%.*s", STR_ARG(t->text));
    return fail_at(p, t, "%.*s%s started at %.*s:%u", STR_ARG(t->text),
                   str_ends_with(t->text, STR(" action")) ? "" : " in action",
                   STR_ARG(p->tree->name), p->action_line);
}

/* --- tokens --- */

static const struct tpl_token *peek(struct parser *p)
{
    if (p->at > p->furthest)
        p->furthest = p->at;
    return &p->tokens[p->at];
}

/* The last token, an end or an error, is never passed. */
static const struct tpl_token *next(struct parser *p)
{
    const struct tpl_token *t = peek(p);

    if (p->at + 1 < p->n)
        p->at++;
    return t;
}

static const struct tpl_token *peek_word(struct parser *p)
{
    while (peek(p)->kind == TPL_SPACE)
        next(p);
    return peek(p);
}

static const struct tpl_token *next_word(struct parser *p)
{
    peek_word(p);
    return next(p);
}

static bool expect(struct parser *p, enum tpl_token_kind kind, const char *context)
{
    const struct tpl_token *t = next_word(p);

    if (t->kind == kind)
        return true;
    unexpected(p, t, context);
    return false;
}

static bool enter(struct parser *p)
{
    if (p->rc != OK)
        return false;
    if (p->depth == TPL_MAX_NESTING) {
        p->rc = err_set(p->err, ERR_LIMIT, peek(p)->pos,
                        "template: %.*s:%u: nested deeper than %d levels", STR_ARG(p->tree->name),
                        peek(p)->line, TPL_MAX_NESTING);
        return false;
    }
    p->depth++;
    return true;
}

static struct tpl_node *new_node(struct parser *p, enum tpl_node_kind kind, uint32_t pos)
{
    struct tpl_node *n = p->rc == OK ? ARENA_NEW(p->arena, struct tpl_node, 1) : NULL;

    if (!n)
        return no_memory(p);
    n->kind = kind;
    n->pos = pos;
    return n;
}

/* --- variables --- */

static bool add_var(struct parser *p, struct str name)
{
    if (p->n_vars == p->cap_vars) {
        size_t cap = p->cap_vars ? 2 * p->cap_vars : 16;
        struct str *grown =
            arena_grow(p->arena, p->vars, p->cap_vars * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return no_memory(p);
        p->vars = grown;
        p->cap_vars = cap;
    }
    p->vars[p->n_vars++] = name;
    return true;
}

static bool has_var(const struct parser *p, struct str name)
{
    for (size_t i = p->first_var; i < p->n_vars; i++)
        if (str_equal(p->vars[i], name))
            return true;
    return false;
}

/* --- constants --- */

static struct tpl_node *number_node(struct parser *p, const struct tpl_token *t)
{
    struct tpl_node *n = new_node(p, NODE_TPL_CONSTANT, t->pos);
    const char *trouble = n ? tpl_read_number(t->text, &n->constant) : NULL;

    if (trouble)
        return fail_at(p, t, "%s: %s", trouble, quoted(p, t->text));
    if (n)
        n->text = t->text;
    return n;
}

static struct tpl_node *char_node(struct parser *p, const struct tpl_token *t)
{
    struct tpl_node *n = new_node(p, NODE_TPL_CONSTANT, t->pos);
    const char *trouble = n ? tpl_read_char(t->text, &n->constant) : NULL;

    if (trouble)
        return fail_at(p, t, "%s: %.*s", trouble, STR_ARG(t->text));
    if (n)
        n->text = t->text;
    return n;
}

static struct tpl_node *string_node(struct parser *p, const struct tpl_token *t)
{
    struct tpl_node *n = new_node(p, NODE_TPL_CONSTANT, t->pos);
    struct str text;

    if (!n)
        return NULL;
    if (!tpl_unquote(t->text, p->arena, &text))
        return fail_at(p, t, "invalid syntax"); /* Go's words for a bad escape */
    n->text = t->text;
    n->constant = datum_str(text);
    return n;
}

/* --- pipelines --- */

static struct tpl_node *parse_pipeline(struct parser *p, const char *context,
                                       enum tpl_token_kind end);

/* Takes all fields that follow, .a.b, as names without their dots, behind the ones n has. */
static bool take_fields(struct parser *p, struct tpl_node *n)
{
    size_t n_new = 0;
    struct str *fields;

    while (p->tokens[p->at + n_new].kind == TPL_FIELD)
        n_new++;
    fields = ARENA_NEW(p->arena, struct str, n->n_fields + n_new);
    if (!fields)
        return no_memory(p);
    for (size_t i = 0; i < n->n_fields; i++)
        fields[i] = n->fields[i];
    for (size_t i = 0; i < n_new; i++) {
        struct str text = next(p)->text;

        fields[n->n_fields + i] = (struct str){ text.ptr + 1, text.len - 1 };
    }
    peek(p);
    n->fields = fields;
    n->n_fields += n_new;
    return true;
}

static struct tpl_node *named_node(struct parser *p, const struct tpl_token *t)
{
    bool function = t->kind == TPL_IDENTIFIER;
    struct tpl_node *n = new_node(p, function ? NODE_TPL_FUNCTION : NODE_TPL_VARIABLE, t->pos);

    if (!n)
        return NULL;
    if (function && !tpl_func_find(t->text))
        return fail_at(p, t, "function %s not defined", quoted(p, t->text));
    if (!function && !has_var(p, t->text))
        return fail_at(p, t, "undefined variable %s", quoted(p, t->text));
    n->text = t->text;
    return n;
}

static struct tpl_node *parenthesised(struct parser *p)
{
    struct tpl_node *n;

    if (!enter(p))
        return NULL;
    n = parse_pipeline(p, "parenthesized pipeline", TPL_RIGHT_PAREN);
    p->depth--;
    return n;
}

/* An operand without the fields behind it; NULL with rc OK: what follows is none. */
static struct tpl_node *parse_term(struct parser *p)
{
    const struct tpl_token *t = peek_word(p);
    struct tpl_node *n;

    if (t->kind == TPL_FIELD) {
        n = new_node(p, NODE_TPL_FIELD, t->pos);
        if (n && p->tokens[p->at + 1].kind == TPL_FIELD)
            n->pos = p->tokens[p->at + 1].pos; /* as in Go, where the chain begins */
        return n && take_fields(p, n) ? n : NULL;
    }
    next(p);
    switch (t->kind) {
    case TPL_IDENTIFIER:
    case TPL_VARIABLE:
        return named_node(p, t);
    case TPL_DOT:
        return new_node(p, NODE_TPL_DOT, t->pos);
    case TPL_NIL:
        return new_node(p, NODE_TPL_NIL, t->pos);
    case TPL_BOOL:
        n = new_node(p, NODE_TPL_CONSTANT, t->pos);
        if (n) {
            n->text = t->text;
            n->constant = datum_bool(str_is(t->text, "true"));
        }
        return n;
    case TPL_CHAR_CONSTANT:
        return char_node(p, t);
    case TPL_NUMBER:
        return number_node(p, t);
    case TPL_STRING:
    case TPL_RAW_STRING:
        return string_node(p, t);
    case TPL_LEFT_PAREN:
        return parenthesised(p);
    default:
        p->at = (size_t)(t - p->tokens);
        return NULL;
    }
}

static struct tpl_node *parse_operand(struct parser *p)
{
    struct tpl_node *n = parse_term(p), *chain;

    if (!n || peek(p)->kind != TPL_FIELD)
        return n;
    switch (n->kind) {
    case NODE_TPL_CONSTANT:
    case NODE_TPL_NIL:
    case NODE_TPL_DOT:
        return fail(p, "unexpected . after term %s", quoted(p, str_from(node_text(p, n))));
    case NODE_TPL_VARIABLE:
        n->pos = peek(p)->pos;
        return take_fields(p, n) ? n : NULL;
    default:
        chain = new_node(p, NODE_TPL_CHAIN, peek(p)->pos);
        if (!chain || !take_fields(p, chain))
            return NULL;
        chain->child = n;
        return chain;
    }
}

/* Leaves the end of the pipeline, takes a '|'. */
static struct tpl_node *parse_command(struct parser *p)
{
    struct tpl_node *command = new_node(p, NODE_TPL_COMMAND, peek_word(p)->pos);
    struct tpl_node **tail = command ? &command->child : NULL;
    const struct tpl_token *t;

    while (p->rc == OK) {
        struct tpl_node *operand = parse_operand(p);

        if (p->rc != OK)
            return NULL;
        if (operand) {
            *tail = operand;
            tail = &operand->next;
        }
        t = peek(p);
        if (t->kind == TPL_SPACE) {
            next(p);
            continue;
        }
        if (t->kind == TPL_PIPE)
            next(p);
        else if (t->kind != TPL_RIGHT_DELIM && t->kind != TPL_RIGHT_PAREN)
            return unexpected(p, t, "operand");
        return command->child ? command : fail(p, "empty command");
    }
    return NULL;
}

static bool declare(struct parser *p, struct tpl_node *pipe, struct str name)
{
    pipe->decl[pipe->n_decl++] = name;
    return add_var(p, name);
}

/* `$x :=`, `$x =`, and for range also `$i, $x :=`. A variable that is not set stays unread. */
static bool parse_declarations(struct parser *p, struct tpl_node *pipe, const char *context)
{
    bool range = strcmp(context, "range") == 0;

    while (peek_word(p)->kind == TPL_VARIABLE) {
        size_t start = p->at;
        struct str name = next(p)->text;
        const struct tpl_token *t = peek_word(p);

        if (t->kind == TPL_ASSIGN || t->kind == TPL_DECLARE) {
            pipe->assign = t->kind == TPL_ASSIGN;
            next(p);
            return declare(p, pipe, name);
        }
        if (t->kind != TPL_CHAR || t->text.ptr[0] != ',') {
            p->at = start;
            return true;
        }
        next(p);
        if (!range || pipe->n_decl > 0) {
            fail(p, "too many declarations in %s", context);
            return false;
        }
        if (!declare(p, pipe, name))
            return false;
        t = peek_word(p);
        if (t->kind != TPL_VARIABLE && t->kind != TPL_RIGHT_DELIM && t->kind != TPL_RIGHT_PAREN) {
            fail(p, "range can only initialize variables");
            return false;
        }
    }
    return true;
}

static bool starts_operand(enum tpl_token_kind kind)
{
    switch (kind) {
    case TPL_BOOL:
    case TPL_CHAR_CONSTANT:
    case TPL_DOT:
    case TPL_FIELD:
    case TPL_IDENTIFIER:
    case TPL_NUMBER:
    case TPL_NIL:
    case TPL_RAW_STRING:
    case TPL_STRING:
    case TPL_VARIABLE:
    case TPL_LEFT_PAREN:
        return true;
    default:
        return false;
    }
}

/* A constant can take no argument, so it can only come first. */
static struct tpl_node *check_pipeline(struct parser *p, struct tpl_node *pipe, const char *context)
{
    int stage = 2;

    if (!pipe->child)
        return fail(p, "missing value for %s", context);
    for (const struct tpl_node *c = pipe->child->next; c; c = c->next, stage++) {
        enum tpl_node_kind kind = c->child->kind;

        if (kind == NODE_TPL_CONSTANT || kind == NODE_TPL_DOT || kind == NODE_TPL_NIL)
            return fail(p, "non executable command in pipeline stage %d", stage);
    }
    return pipe;
}

static struct tpl_node *parse_pipeline(struct parser *p, const char *context,
                                       enum tpl_token_kind end)
{
    struct tpl_node *pipe = new_node(p, NODE_TPL_PIPE, peek_word(p)->pos);
    struct tpl_node **tail = pipe ? &pipe->child : NULL;

    if (!pipe || !parse_declarations(p, pipe, context))
        return NULL;
    for (;;) {
        const struct tpl_token *t = peek_word(p);

        if (t->kind == end) {
            next(p);
            return check_pipeline(p, pipe, context);
        }
        if (!starts_operand(t->kind))
            return unexpected(p, t, context);
        *tail = parse_command(p);
        if (!*tail)
            return NULL;
        tail = &(*tail)->next;
    }
}

/* --- actions --- */

static struct tpl_node *parse_list(struct parser *p, struct tpl_node **list);
static struct tpl_node *parse_control(struct parser *p, enum tpl_node_kind kind);

static struct tpl_node *empty_action(struct parser *p, enum tpl_node_kind kind, const char *context)
{
    const struct tpl_token *t = next(p); /* the word */
    struct tpl_node *n = new_node(p, kind, t->pos);

    return n && expect(p, TPL_RIGHT_DELIM, context) ? n : NULL;
}

static struct tpl_node *parse_jump(struct parser *p, enum tpl_node_kind kind, const char *context)
{
    struct tpl_node *n = empty_action(p, kind, context);

    return n && p->ranges == 0 ? fail(p, "%s outside {{range}}", context) : n;
}

/* `{{else if` and `{{else with` leave the second word. */
static struct tpl_node *parse_else(struct parser *p)
{
    struct tpl_node *n = new_node(p, NODE_TPL_ELSE, next(p)->pos);
    const struct tpl_token *t = peek_word(p);

    if (!n || t->kind == TPL_IF || t->kind == TPL_WITH)
        return n;
    return expect(p, TPL_RIGHT_DELIM, "else") ? n : NULL;
}

static bool parse_name(struct parser *p, const char *context, struct str *name)
{
    const struct tpl_token *t = next_word(p);

    if (t->kind != TPL_STRING && t->kind != TPL_RAW_STRING) {
        unexpected(p, t, context);
        return false;
    }
    if (tpl_unquote(t->text, p->arena, name))
        return true;
    fail_at(p, t, "invalid syntax");
    return false;
}

static bool is_empty(const struct tpl_node *list)
{
    for (const struct tpl_node *n = list; n; n = n->next) {
        if (n->kind != NODE_TPL_TEXT)
            return false;
        for (size_t i = 0; i < n->text.len; i++)
            if (!strchr(" \t\r\n\v\f", n->text.ptr[i]) || !n->text.ptr[i])
                return false;
    }
    return true;
}

/* Of two definitions with one name, at most one may hold anything. */
static bool add_define(struct parser *p, struct str name, struct tpl_node *body)
{
    struct tpl_define *d = p->tree->defines;

    while (d && !str_equal(d->name, name))
        d = d->next;
    if (d && !is_empty(d->body)) {
        if (!is_empty(body))
            fail(p, "template: multiple definition of template %s", quoted(p, name));
        return p->rc == OK;
    }
    if (!d) {
        d = ARENA_NEW(p->arena, struct tpl_define, 1);
        if (!d)
            return no_memory(p);
        d->next = p->tree->defines;
        p->tree->defines = d;
    }
    d->name = name;
    d->body = body;
    return true;
}

/* The body of a definition: it sees no variables but its own "$". */
static bool parse_body(struct parser *p, struct str name, const char *context)
{
    size_t first_var = p->first_var, n_vars = p->n_vars;
    unsigned ranges = p->ranges;
    struct tpl_node *body = NULL, *end;

    if (!enter(p))
        return false;
    p->first_var = p->n_vars;
    p->ranges = 0;
    end = add_var(p, STR("$")) ? parse_list(p, &body) : NULL;
    p->first_var = first_var;
    p->n_vars = n_vars;
    p->ranges = ranges;
    p->depth--;
    if (end && end->kind != NODE_TPL_END)
        fail(p, "unexpected %s in %s", node_text(p, end), context);
    return p->rc == OK && add_define(p, name, body);
}

static bool parse_define(struct parser *p)
{
    static const char context[] = "define clause";
    struct str name;

    next(p);
    return parse_name(p, context, &name) && expect(p, TPL_RIGHT_DELIM, context)
           && parse_body(p, name, context);
}

/* template "name" pipeline, and block, which defines the template as well. */
static struct tpl_node *parse_template(struct parser *p, bool block)
{
    const char *context = block ? "block clause" : "template clause";
    struct tpl_node *n;
    struct str name;

    next(p);
    n = new_node(p, NODE_TPL_TEMPLATE, peek_word(p)->pos);
    if (!n || !parse_name(p, context, &name))
        return NULL;
    n->text = name;
    if (!block && peek_word(p)->kind == TPL_RIGHT_DELIM)
        next(p);
    else
        n->child = parse_pipeline(p, context, TPL_RIGHT_DELIM);
    return p->rc == OK && (!block || parse_body(p, name, context)) ? n : NULL;
}

static struct tpl_node *parse_action(struct parser *p)
{
    const struct tpl_token *t = peek_word(p);
    struct tpl_node *n;

    switch (t->kind) {
    case TPL_BLOCK:
        return parse_template(p, true);
    case TPL_TEMPLATE:
        return parse_template(p, false);
    case TPL_BREAK:
        return parse_jump(p, NODE_TPL_BREAK, "{{break}}");
    case TPL_CONTINUE:
        return parse_jump(p, NODE_TPL_CONTINUE, "{{continue}}");
    case TPL_ELSE:
        return parse_else(p);
    case TPL_END:
        return empty_action(p, NODE_TPL_END, "end");
    case TPL_IF:
        return parse_control(p, NODE_TPL_IF);
    case TPL_WITH:
        return parse_control(p, NODE_TPL_WITH);
    case TPL_RANGE:
        return parse_control(p, NODE_TPL_RANGE);
    default:
        n = new_node(p, NODE_TPL_ACTION, t->pos);
        if (n)
            n->child = parse_pipeline(p, "command", TPL_RIGHT_DELIM);
        return p->rc == OK ? n : NULL;
    }
}

/* What stands behind {{else}}; after `else if` the {{end}} ends both. */
static bool parse_otherwise(struct parser *p, struct tpl_node *n)
{
    enum tpl_token_kind kind = peek(p)->kind;
    struct tpl_node *end;

    if ((n->kind == NODE_TPL_IF && kind == TPL_IF)
        || (n->kind == NODE_TPL_WITH && kind == TPL_WITH)) {
        n->otherwise = parse_control(p, n->kind);
        return n->otherwise;
    }
    end = parse_list(p, &n->otherwise);
    if (end && end->kind != NODE_TPL_END)
        fail(p, "expected end; found %s", node_text(p, end));
    return p->rc == OK;
}

/* if, with, range: pipeline, list, perhaps an other list. */
static struct tpl_node *parse_control(struct parser *p, enum tpl_node_kind kind)
{
    const char *context = kind == NODE_TPL_IF ? "if" : kind == NODE_TPL_WITH ? "with" : "range";
    size_t n_vars = p->n_vars;
    struct tpl_node *n, *end;

    next(p); /* the word */
    if (!enter(p))
        return NULL;
    n = new_node(p, kind, 0);
    if (!n || !(n->child = parse_pipeline(p, context, TPL_RIGHT_DELIM)))
        return NULL;
    n->pos = n->child->pos;
    p->ranges += kind == NODE_TPL_RANGE;
    end = parse_list(p, &n->body);
    p->ranges -= kind == NODE_TPL_RANGE;
    if (end && end->kind == NODE_TPL_ELSE)
        (void)parse_otherwise(p, n);
    p->n_vars = n_vars;
    p->depth--;
    return p->rc == OK ? n : NULL;
}

static struct tpl_node *parse_item(struct parser *p)
{
    const struct tpl_token *t = next_word(p);
    struct tpl_node *n;

    if (t->kind == TPL_TEXT) {
        n = new_node(p, NODE_TPL_TEXT, t->pos);
        if (n)
            n->text = t->text;
        return n;
    }
    if (t->kind != TPL_LEFT_DELIM)
        return unexpected(p, t, "input");
    p->action_line = t->line;
    n = parse_action(p);
    p->action_line = 0;
    return n;
}

/* Up to {{end}} or {{else}}, which is returned. */
static struct tpl_node *parse_list(struct parser *p, struct tpl_node **list)
{
    struct tpl_node **tail = list;

    while (peek_word(p)->kind != TPL_EOF) {
        struct tpl_node *n = parse_item(p);

        if (!n || n->kind == NODE_TPL_END || n->kind == NODE_TPL_ELSE)
            return n;
        *tail = n;
        tail = &n->next;
    }
    return fail(p, "unexpected EOF");
}

/* {{define}} is known at the top only. */
static bool at_define(struct parser *p)
{
    size_t at = p->at + 1;

    if (peek(p)->kind != TPL_LEFT_DELIM)
        return false;
    while (p->tokens[at].kind == TPL_SPACE)
        at++;
    if (p->tokens[at].kind != TPL_DEFINE)
        return false;
    p->at = at;
    return true;
}

static void parse_top(struct parser *p)
{
    struct tpl_node **tail = &p->tree->root;

    while (p->rc == OK && peek(p)->kind != TPL_EOF) {
        struct tpl_node *n;

        if (at_define(p)) {
            (void)parse_define(p);
            continue;
        }
        n = parse_item(p);
        if (!n)
            return;
        if (n->kind == NODE_TPL_END || n->kind == NODE_TPL_ELSE) {
            fail(p, "unexpected %s", node_text(p, n));
            return;
        }
        *tail = n;
        tail = &n->next;
    }
    if (p->rc == OK)
        (void)add_define(p, p->tree->name, p->tree->root);
}

enum errc tpl_parse(struct tpl_tree *tree, const char *const *predefined, struct arena *a,
                    struct err *err)
{
    struct parser p = { .tree = tree, .arena = a, .err = err };

    tree->root = NULL;
    tree->defines = NULL;
    if (tree->text.len > TPL_MAX_BYTES)
        return err_set(err, ERR_LIMIT, TPL_MAX_BYTES, "template %.*s is longer than %d bytes",
                       STR_ARG(tree->name), TPL_MAX_BYTES);
    p.tokens = tpl_lex(tree->text, a, &p.n);
    if (!p.tokens) {
        no_memory(&p);
        return p.rc;
    }
    (void)add_var(&p, STR("$"));
    for (size_t i = 0; p.rc == OK && predefined && predefined[i]; i++)
        (void)add_var(&p, str_from(predefined[i]));
    parse_top(&p);
    return p.rc;
}
