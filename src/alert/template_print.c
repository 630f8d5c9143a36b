/* template_print.c -- a node as Go's text/template shows it in messages: rewritten from the tree,
 * one space between the words. */
#include "alert/template_private.h"

#include "base/banned.h"

static void print_pipe(struct buf *b, const struct tpl_node *pipe);

static void print_operand(struct buf *b, const struct tpl_node *n)
{
    bool pipe = n->kind == NODE_TPL_PIPE;

    buf_text(b, pipe ? "(" : "");
    tpl_node_print(b, n);
    buf_text(b, pipe ? ")" : "");
}

static void print_command(struct buf *b, const struct tpl_node *command)
{
    for (const struct tpl_node *n = command->child; n; n = n->next) {
        print_operand(b, n);
        if (n->next)
            buf_u8(b, ' ');
    }
}

static void print_pipe(struct buf *b, const struct tpl_node *pipe)
{
    for (size_t i = 0; i < pipe->n_decl; i++) {
        buf_text(b, i ? ", " : "");
        buf_str(b, pipe->decl[i]);
    }
    if (pipe->n_decl)
        buf_text(b, pipe->assign ? " = " : " := ");
    for (const struct tpl_node *n = pipe->child; n; n = n->next) {
        print_command(b, n);
        buf_text(b, n->next ? " | " : "");
    }
}

static void print_action(struct buf *b, const char *word, const struct tpl_node *pipe)
{
    buf_printf(b, "{{%s", word);
    if (pipe)
        print_pipe(b, pipe);
    buf_text(b, "}}");
}

void tpl_node_print(struct buf *b, const struct tpl_node *n)
{
    switch (n->kind) {
    case NODE_TPL_TEXT:
    case NODE_TPL_CONSTANT:
    case NODE_TPL_FUNCTION:
        buf_str(b, n->text);
        return;
    case NODE_TPL_ACTION:
        print_action(b, "", n->child);
        return;
    case NODE_TPL_IF:
        print_action(b, "if ", n->child);
        return;
    case NODE_TPL_WITH:
        print_action(b, "with ", n->child);
        return;
    case NODE_TPL_RANGE:
        print_action(b, "range ", n->child);
        return;
    case NODE_TPL_TEMPLATE:
        buf_text(b, "{{template ");
        print_quoted(b, n->text);
        buf_text(b, n->child ? " " : "");
        if (n->child)
            print_pipe(b, n->child);
        buf_text(b, "}}");
        return;
    case NODE_TPL_BREAK:
        print_action(b, "break", NULL);
        return;
    case NODE_TPL_CONTINUE:
        print_action(b, "continue", NULL);
        return;
    case NODE_TPL_ELSE:
        print_action(b, "else", NULL);
        return;
    case NODE_TPL_END:
        print_action(b, "end", NULL);
        return;
    case NODE_TPL_PIPE:
        print_pipe(b, n);
        return;
    case NODE_TPL_COMMAND:
        print_command(b, n);
        return;
    case NODE_TPL_DOT:
        buf_u8(b, '.');
        return;
    case NODE_TPL_NIL:
        buf_text(b, "nil");
        return;
    case NODE_TPL_VARIABLE:
        buf_str(b, n->text);
        break;
    case NODE_TPL_CHAIN:
        print_operand(b, n->child);
        break;
    case NODE_TPL_FIELD:
        break;
    }
    for (size_t i = 0; i < n->n_fields; i++)
        buf_printf(b, ".%.*s", STR_ARG(n->fields[i]));
}
