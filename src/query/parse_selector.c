/* parse_selector.c -- selectors, their matchers, and lists of label names. */
#include "base/arena.h"
#include "query/literal.h"
#include "query/parser.h"

#include "base/banned.h"

/* A matcher made while parsing. Its copy in the tree shares the compiled pattern. */
struct owned_matcher {
    struct matcher matcher;
    struct owned_matcher *next;
};

struct matcher_list {
    struct matcher *items;
    size_t n, cap;
};

void parser_free_matchers(struct parser *p)
{
    for (struct owned_matcher *m = p->matchers; m; m = m->next)
        matcher_free(&m->matcher);
    p->matchers = NULL;
}

bool parse_string(struct parser *p, const struct token *t, struct str *out)
{
    if (literal_string(token_text(p->text, t), p->arena, out) == OK)
        return true;
    parser_out_of_memory(p);
    return false;
}

static bool add_matcher(struct parser *p, struct matcher_list *list, uint32_t pos,
                        const struct matcher *wanted)
{
    struct owned_matcher *m = ARENA_NEW(p->arena, struct owned_matcher, 1);

    if (!m || !parser_grow(p, &list->items, list->n, &list->cap, sizeof *list->items)) {
        parser_out_of_memory(p);
        return false;
    }
    p->rc = matcher_init(&m->matcher, wanted->op, wanted->name, wanted->value, p->arena, p->err);
    if (p->rc != OK) {
        if (p->err)
            p->err->pos = pos;
        return false;
    }
    m->next = p->matchers;
    p->matchers = m;
    list->items[list->n++] = m->matcher;
    return true;
}

/* False when the token is no match operator. */
static bool match_operator(const struct token *t, enum match_op *op)
{
    switch (t->kind) {
    case TOK_EQUAL:
        *op = MATCH_EQ;
        return true;
    case TOK_MATCH_REGEX:
        *op = MATCH_RE;
        return true;
    case TOK_NOT_MATCH_REGEX:
        *op = MATCH_NRE;
        return true;
    default:
        *op = MATCH_NE;
        return t->kind == TOK_OPERATOR && t->value == OP_NE;
    }
}

/* name OP "value", "name" OP "value", or "metric name". */
static bool parse_matcher(struct parser *p, struct matcher_list *list)
{
    static const char where[] = "label matching";
    struct token name = p->tok;
    struct matcher m = { .name = token_text(p->text, &name) };
    bool quoted = name.kind == TOK_STRING;

    if (!quoted && name.kind != TOK_IDENTIFIER) {
        parser_unexpected_in(p, where, "identifier or \"}\"");
        return false;
    }
    if (quoted && !parse_string(p, &name, &m.name))
        return false;
    parser_advance(p);
    if (!match_operator(&p->tok, &m.op)) {
        if (!quoted) {
            parser_unexpected_in(p, where, "label matching operator");
            return false;
        }
        m = (struct matcher){ .op = MATCH_EQ, .name = STR("__name__"), .value = m.name };
        return add_matcher(p, list, name.pos, &m);
    }
    parser_advance(p);
    if (p->tok.kind != TOK_STRING) {
        parser_unexpected_in(p, where, "string");
        return false;
    }
    if (!parse_string(p, &p->tok, &m.value))
        return false;
    if (quoted && (m.name.len == 0 || !utf8_valid(m.name))) {
        parser_fail_quoted(p, name.pos, "invalid label name for matching: ", m.name);
        return false;
    }
    parser_advance(p);
    return add_matcher(p, list, name.pos, &m);
}

/* { m, m, ... }, at the brace. */
static bool parse_matchers(struct parser *p, struct matcher_list *list)
{
    parser_advance(p);
    while (p->tok.kind != TOK_RIGHT_BRACE) {
        if (!parse_matcher(p, list))
            return false;
        if (p->tok.kind == TOK_COMMA) {
            parser_advance(p);
        } else if (p->tok.kind != TOK_RIGHT_BRACE) {
            parser_unexpected_in(p, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    parser_advance(p);
    return true;
}

struct node *parse_vector_selector(struct parser *p, const struct token *name)
{
    struct node *n = parser_node(p, NODE_SELECTOR, name ? name->pos : p->tok.pos);
    struct matcher_list list = { 0 };

    if (!n)
        return NULL;
    if (p->tok.kind == TOK_LEFT_BRACE && !parse_matchers(p, &list))
        return NULL;
    if (name) {
        struct matcher m = { .op = MATCH_EQ,
                             .name = STR("__name__"),
                             .value = token_text(p->text, name) };

        if (!add_matcher(p, &list, name->pos, &m))
            return NULL;
        n->selector.name = list.items[list.n - 1].value;
    }
    n->selector.matchers = list.items;
    n->selector.n_matchers = list.n;
    return parser_finish(p, n);
}

static bool parse_label(struct parser *p, struct str *out)
{
    struct token t = p->tok;

    if (t.kind == TOK_STRING) {
        if (!parse_string(p, &t, out))
            return false;
        if (out->len == 0 || !utf8_valid(*out)) {
            parser_fail_quoted(p, t.pos, "invalid label name for grouping: ", *out);
            return false;
        }
    } else if (token_is_label_name(p->text, &t)) {
        *out = str_copy(p->arena, token_text(p->text, &t));
        if (!out->ptr) {
            parser_out_of_memory(p);
            return false;
        }
    } else {
        parser_unexpected_in(p, "grouping opts", "label");
        return false;
    }
    parser_advance(p);
    return true;
}

bool parse_labels(struct parser *p, struct str **labels, size_t *n)
{
    size_t cap = 0;

    if (p->tok.kind != TOK_LEFT_PAREN) {
        parser_unexpected_in(p, "grouping opts", "\"(\"");
        return false;
    }
    parser_advance(p);
    while (p->tok.kind != TOK_RIGHT_PAREN) {
        if (!parser_grow(p, labels, *n, &cap, sizeof **labels) || !parse_label(p, &(*labels)[*n]))
            return false;
        ++*n;
        if (p->tok.kind == TOK_COMMA) {
            parser_advance(p);
        } else if (p->tok.kind != TOK_RIGHT_PAREN) {
            parser_unexpected_in(p, "grouping opts", "\",\" or \")\"");
            return false;
        }
    }
    parser_advance(p);
    return true;
}
