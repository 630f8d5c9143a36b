/* re2_emit.c
 *
 * What differs between RE2 and PCRE2, beyond what the parser has refused or resolved:
 *
 *   RE2              PCRE2
 *   (?i)             tracked along the text as PCRE2 does: to the end of the group, across |
 *   ^ $ (with m)     (?<![^\n]) (?![^\n]): PCRE2's ^ does not match after a final newline
 *   ^* \b+           (?:\A)*: PCRE2 takes no quantifier on an assertion
 *   \x{D800}         (?!): a surrogate is in no text, and PCRE2 refuses it
 *   \p{Greek}        \p{sc:Greek}: PCRE2's default is Script_Extensions
 */
#include <stdio.h>

#include "base/re2_syntax.h"

#include "base/banned.h"

enum { FIRST_SURROGATE = 0xd800, LAST_SURROGATE = 0xdfff };

struct emitter {
    struct buf *out;
    bool folding; /* what PCRE2 would do at this point */
};

static bool is_surrogate(uint32_t c)
{
    return c >= FIRST_SURROGATE && c <= LAST_SURROGATE;
}

static void set_folding(struct emitter *e, bool fold)
{
    if (e->folding != fold)
        buf_text(e->out, fold ? "(?i)" : "(?-i)");
    e->folding = fold;
}

static void emit_rune(struct buf *out, uint32_t rune)
{
    bool plain = (rune >= '0' && rune <= '9') || ((rune | 0x20) >= 'a' && (rune | 0x20) <= 'z');

    if (plain && rune < 0x80)
        buf_u8(out, (uint8_t)rune);
    else if (rune < 0x100)
        buf_printf(out, "\\x%02x", rune);
    else
        buf_printf(out, "\\x{%x}", rune);
}

static void emit_item(struct buf *out, const struct re2_item *item)
{
    uint32_t lo = is_surrogate(item->lo) ? LAST_SURROGATE + 1 : item->lo;
    uint32_t hi = is_surrogate(item->hi) ? FIRST_SURROGATE - 1 : item->hi;

    if (item->property.len) {
        buf_printf(out, "\\%c{%s%.*s}", item->without ? 'P' : 'p', item->script ? "sc:" : "",
                   STR_ARG(item->property));
        return;
    }
    if (lo > hi)
        return;
    emit_rune(out, lo);
    if (lo < hi) {
        buf_u8(out, '-');
        emit_rune(out, hi);
    }
}

static void emit_class(struct emitter *e, const struct re2_node *node)
{
    size_t open;

    set_folding(e, node->fold);
    open = e->out->len;
    buf_text(e->out, node->negated ? "[^" : "[");
    size_t empty = e->out->len;

    for (size_t i = 0; i < node->n_items; i++)
        emit_item(e->out, &node->items[i]);
    if (e->out->len > empty) {
        buf_u8(e->out, ']');
        return;
    }
    e->out->len = open < e->out->len ? open : e->out->len;
    buf_text(e->out, node->negated ? "(?s:.)" : "(?:(?!))");
}

static void emit_literal(struct emitter *e, const struct re2_node *node)
{
    if (is_surrogate(node->rune)) {
        buf_text(e->out, "(?:(?!))");
        return;
    }
    set_folding(e, node->fold);
    emit_rune(e->out, node->rune);
}

static void emit_node(struct emitter *e, const struct re2_node *node);

/* The children in a group that starts with open; PCRE2 forgets (?i) at its end. */
static void emit_group(struct emitter *e, const char *open, const struct re2_node *node)
{
    bool folding = e->folding;

    buf_text(e->out, open);
    emit_node(e, node);
    buf_u8(e->out, ')');
    e->folding = folding;
}

static void emit_repeat(struct emitter *e, const struct re2_node *node)
{
    enum re2_op op = node->child->op;

    if (op == RE2_LITERAL || op == RE2_CLASS || op == RE2_ANY || op == RE2_CAPTURE)
        emit_node(e, node->child);
    else
        emit_group(e, "(?:", node->child);
    if (node->max == RE2_NO_MAX && node->min <= 1)
        buf_u8(e->out, node->min ? '+' : '*');
    else if (node->max == RE2_NO_MAX)
        buf_printf(e->out, "{%d,}", node->min);
    else if (node->min == 0 && node->max == 1)
        buf_u8(e->out, '?');
    else
        buf_printf(e->out, "{%d,%d}", node->min, node->max);
    if (node->lazy)
        buf_u8(e->out, '?');
}

static void emit_children(struct emitter *e, const struct re2_node *node)
{
    for (const struct re2_node *c = node->child; c; c = c->next) {
        if (node->op == RE2_ALTERNATE && c != node->child)
            buf_u8(e->out, '|');
        if (node->op == RE2_CONCAT && c->op == RE2_ALTERNATE)
            emit_group(e, "(?:", c);
        else
            emit_node(e, c);
    }
}

static void emit_node(struct emitter *e, const struct re2_node *node)
{
    static const char *const fixed[] = {
        [RE2_EMPTY] = "",
        [RE2_ANY] = ".",
        [RE2_ANY_BUT_NL] = "[^\\n]",
        [RE2_BEGIN_TEXT] = "\\A",
        [RE2_END_TEXT] = "\\z",
        [RE2_BEGIN_LINE] = "(?<![^\\n])",
        [RE2_END_LINE] = "(?![^\\n])",
        [RE2_WORD_EDGE] = "\\b",
        [RE2_NO_EDGE] = "\\B",
    };

    switch (node->op) {
    case RE2_LITERAL:
        emit_literal(e, node);
        break;
    case RE2_CLASS:
        emit_class(e, node);
        break;
    case RE2_CAPTURE:
        emit_group(e, "(", node->child);
        break;
    case RE2_REPEAT:
        emit_repeat(e, node);
        break;
    case RE2_CONCAT:
    case RE2_ALTERNATE:
        emit_children(e, node);
        break;
    default:
        buf_text(e->out, fixed[node->op]);
        break;
    }
}

void re2_emit(const struct re2_node *root, struct buf *out)
{
    struct emitter e = { .out = out };

    emit_group(&e, "\\A(?:", root);
    buf_text(out, "\\z");
}

void re2_emit_search(const struct re2_node *root, struct buf *out)
{
    struct emitter e = { .out = out };

    emit_group(&e, "(?:", root);
}
