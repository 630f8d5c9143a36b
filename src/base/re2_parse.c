/* re2_parse.c
 *
 * An explicit stack of open groups, so that nesting costs no machine stack. A repetition operator
 * takes the node before it, whatever stands between that is no node: in `a*(?i)*` and `a*\Q\E*` the
 * second star repeats the first one's node, while `a**` is refused.
 */
#include "base/arena.h"
#include "base/re2_class.h"
#include "base/re2_syntax.h"

#include "base/banned.h"

enum flags { FOLD = 1, MULTI_LINE = 2, DOT_NL = 4, UNGREEDY = 8 };

/* A group that is still open, or the whole pattern. */
struct group {
    struct group *outer;
    struct re2_node *seq, **tail,
        **last; /* the branch being read; last: the link to its last node */
    struct re2_node *branches, **branch_tail;
    unsigned outer_flags;
    bool capture;
};

struct parser {
    struct re2_text text;
    struct group *group;
    unsigned depth; /* of groups */
    unsigned flags;
    size_t n_groups, cap_names;
    struct str *names;
    size_t repeat_at, last_repeat_at; /* where the operator just read, the one before it began */
};

enum { NONE = SIZE_MAX };

static bool at_end(const struct parser *p)
{
    return p->text.at == p->text.src.len;
}

static bool looking_at(const struct parser *p, const char *s)
{
    struct str rest = { p->text.src.ptr + p->text.at, p->text.src.len - p->text.at };

    return str_starts_with(rest, str_from(s));
}

static enum errc too_deep(struct parser *p)
{
    return re2_fail(&p->text, "expression nests too deeply", 0, p->text.src.len);
}

/* --- nodes --- */

static struct re2_node *new_node(struct parser *p, enum re2_op op)
{
    struct re2_node *node = ARENA_NEW(p->text.arena, struct re2_node, 1);

    if (node) {
        node->op = op;
        node->depth = 1;
    }
    return node;
}

static void append(struct group *g, struct re2_node *node)
{
    g->last = g->tail;
    *g->tail = node;
    g->tail = &node->next;
}

static enum errc add_op(struct parser *p, enum re2_op op)
{
    struct re2_node *node = new_node(p, op);

    if (!node)
        return re2_no_memory(&p->text);
    append(p->group, node);
    return OK;
}

static bool may_fold(uint32_t rune)
{
    return rune >= 0x80 || ((rune | 0x20) >= 'a' && (rune | 0x20) <= 'z');
}

static enum errc add_literal(struct parser *p, uint32_t rune)
{
    struct re2_node *node = new_node(p, RE2_LITERAL);

    if (!node)
        return re2_no_memory(&p->text);
    node->rune = rune;
    node->fold = (p->flags & FOLD) && may_fold(rune);
    append(p->group, node);
    return OK;
}

/* A node over a list of others; the list's only node when there is just one. */
static struct re2_node *join(struct parser *p, enum re2_op op, struct re2_node *list)
{
    struct re2_node *node;

    if (list && !list->next)
        return list;
    node = new_node(p, list ? op : RE2_EMPTY);
    if (!node)
        return NULL;
    node->child = list;
    for (const struct re2_node *c = list; c; c = c->next)
        if (node->depth < c->depth + 1)
            node->depth = c->depth + 1;
    return node;
}

/* --- groups --- */

static enum errc open_group(struct parser *p, bool capture, unsigned inner_flags)
{
    struct group *g = ARENA_NEW(p->text.arena, struct group, 1);

    if (!g)
        return re2_no_memory(&p->text);
    if (++p->depth > RE2_MAX_DEPTH)
        return too_deep(p);
    *g = (struct group){ .outer = p->group, .outer_flags = p->flags, .capture = capture };
    g->tail = &g->seq;
    g->branch_tail = &g->branches;
    p->group = g;
    p->flags = inner_flags;
    return OK;
}

static enum errc open_capture(struct parser *p, struct str name)
{
    if (p->n_groups == p->cap_names) {
        size_t cap = p->cap_names ? p->cap_names * 2 : 8;
        void *names =
            arena_grow(p->text.arena, p->names, p->cap_names * sizeof name, cap * sizeof name);

        if (!names)
            return re2_no_memory(&p->text);
        p->names = names;
        p->cap_names = cap;
    }
    p->names[p->n_groups++] = name;
    return open_group(p, true, p->flags);
}

static enum errc end_branch(struct parser *p)
{
    struct group *g = p->group;
    struct re2_node *branch = join(p, RE2_CONCAT, g->seq);

    if (!branch)
        return re2_no_memory(&p->text);
    *g->branch_tail = branch;
    g->branch_tail = &branch->next;
    g->seq = NULL;
    g->tail = &g->seq;
    g->last = NULL;
    return OK;
}

/* Ends the innermost group; *out is what it stands for. */
static enum errc close_group(struct parser *p, struct re2_node **out)
{
    struct group *g = p->group;
    enum errc rc = end_branch(p);
    struct re2_node *node;

    if (rc != OK)
        return rc;
    node = join(p, RE2_ALTERNATE, g->branches);
    if (node && g->capture) {
        struct re2_node *capture = new_node(p, RE2_CAPTURE);

        if (!capture)
            return re2_no_memory(&p->text);
        capture->child = node;
        capture->depth = node->depth + 1;
        node = capture;
    }
    if (!node)
        return re2_no_memory(&p->text);
    if (node->depth > RE2_MAX_DEPTH)
        return too_deep(p);
    p->depth--;
    p->flags = g->outer_flags;
    p->group = g->outer;
    *out = node;
    return OK;
}

static enum errc read_close(struct parser *p)
{
    struct re2_node *node;
    enum errc rc;

    if (!p->group->outer)
        return re2_fail(&p->text, "unexpected )", 0, p->text.src.len);
    p->text.at++;
    rc = close_group(p, &node);
    if (rc == OK)
        append(p->group, node);
    return rc;
}

static bool name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (c != '_' && !(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
            return false;
    }
    return name.len > 0;
}

/* (?P<name> or (?<name>, whose prefix has skip bytes. */
static enum errc read_named_group(struct parser *p, size_t skip)
{
    struct str src = p->text.src;
    size_t start = p->text.at, name_at = start + skip;
    const char *end = memchr(src.ptr + name_at, '>', src.len - name_at);
    struct str name;

    if (!end)
        return re2_fail(&p->text, "invalid named capture", start, src.len);
    name = (struct str){ src.ptr + name_at, (size_t)(end - src.ptr) - name_at };
    p->text.at = name_at + name.len + 1;
    if (!name_is_valid(name))
        return re2_fail(&p->text, "invalid named capture", start, p->text.at);
    return open_capture(p, name);
}

static unsigned flag_of(uint32_t rune)
{
    switch (rune) {
    case 'i':
        return FOLD;
    case 'm':
        return MULTI_LINE;
    case 's':
        return DOT_NL;
    case 'U':
        return UNGREEDY;
    default:
        return 0;
    }
}

/* (?flags) and (?flags:...  */
static enum errc read_flags(struct parser *p)
{
    size_t start = p->text.at;
    unsigned flags = p->flags;
    bool off = false, any = false; /* any flag behind the '-' */

    p->text.at += 2;
    while (!at_end(p)) {
        uint32_t c = re2_next(&p->text);
        unsigned flag = flag_of(c);

        if (flag) {
            flags = off ? flags & ~flag : flags | flag;
            any = true;
        } else if (c == '-' && !off) {
            off = true;
            any = false;
        } else if ((c == ':' || c == ')') && (any || !off)) {
            if (c == ':')
                return open_group(p, false, flags);
            p->flags = flags;
            return OK;
        } else {
            break;
        }
    }
    return re2_fail(&p->text, "invalid or unsupported Perl syntax", start, p->text.at);
}

static enum errc read_open(struct parser *p)
{
    size_t left = p->text.src.len - p->text.at;

    if (looking_at(p, "(?P<") && left > 4)
        return read_named_group(p, 4);
    if (looking_at(p, "(?<") && left > 3)
        return read_named_group(p, 3);
    if (looking_at(p, "(?"))
        return read_flags(p);
    p->text.at++;
    return open_capture(p, (struct str){ 0 });
}

/* --- repetition --- */

/* Digits without a leading zero; huge numbers become something beyond RE2_MAX_REPEAT. */
static bool read_count(struct parser *p, int *out)
{
    struct str src = p->text.src;
    size_t start = p->text.at;
    int n = 0;

    for (; !at_end(p) && src.ptr[p->text.at] >= '0' && src.ptr[p->text.at] <= '9'; p->text.at++)
        if (n <= RE2_MAX_REPEAT)
            n = n * 10 + (src.ptr[p->text.at] - '0');
    *out = n;
    return p->text.at > start && !(src.ptr[start] == '0' && p->text.at - start > 1);
}

/* {n}, {n,} or {n,m}; false, and the position as it was, when it is not one. */
static bool read_braces(struct parser *p, int *min, int *max)
{
    size_t start = p->text.at++;

    if (read_count(p, min)) {
        *max = *min;
        if (looking_at(p, ",}")) {
            p->text.at++;
            *max = RE2_NO_MAX;
        } else if (looking_at(p, ",")) {
            p->text.at++;
            if (!read_count(p, max))
                *min = -1;
        }
        if (*min >= 0 && looking_at(p, "}")) {
            p->text.at++;
            return true;
        }
    }
    p->text.at = start;
    return false;
}

/* Whether counters nested in node multiply to at most n. */
static bool repeats_fit(const struct re2_node *node, int n)
{
    if (node->op == RE2_REPEAT) {
        int times = node->max == RE2_NO_MAX ? node->min : node->max;

        if (node->max == 0)
            return true;
        if (times > n)
            return false;
        if (times > 0)
            n /= times;
    }
    for (const struct re2_node *c = node->child; c; c = c->next)
        if (!repeats_fit(c, n))
            return false;
    return true;
}

static enum errc add_repeat(struct parser *p, int min, int max)
{
    struct re2_node *node, *sub;
    size_t start = p->repeat_at;
    bool lazy = looking_at(p, "?");

    p->text.at += lazy;
    if (p->last_repeat_at != NONE)
        return re2_fail(&p->text, "invalid nested repetition operator", p->last_repeat_at,
                        p->text.at);
    if (!p->group->last)
        return re2_fail(&p->text, "missing argument to repetition operator", start, p->text.at);
    node = new_node(p, RE2_REPEAT);
    if (!node)
        return re2_no_memory(&p->text);
    sub = *p->group->last;
    node->min = min;
    node->max = max;
    node->lazy = lazy != ((p->flags & UNGREEDY) != 0);
    node->child = sub;
    node->depth = sub->depth + 1;
    *p->group->last = node;
    p->group->tail = &node->next;
    if (node->depth > RE2_MAX_DEPTH)
        return too_deep(p);
    if ((min >= 2 || max >= 2) && !repeats_fit(node, RE2_MAX_REPEAT))
        return re2_fail(&p->text, "invalid repeat count", start, p->text.at);
    return OK;
}

static enum errc read_repeat(struct parser *p, char op)
{
    p->repeat_at = p->text.at++;
    return add_repeat(p, op == '+', op == '?' ? 1 : RE2_NO_MAX);
}

static enum errc read_brace(struct parser *p)
{
    size_t start = p->text.at;
    int min, max;

    if (!read_braces(p, &min, &max)) {
        p->text.at++;
        return add_literal(p, '{');
    }
    p->repeat_at = start;
    if (min > RE2_MAX_REPEAT || max > RE2_MAX_REPEAT || (max != RE2_NO_MAX && min > max))
        return re2_fail(&p->text, "invalid repeat count", start, p->text.at);
    return add_repeat(p, min, max);
}

/* --- the rest --- */

static enum errc read_class(struct parser *p)
{
    struct re2_node *node = new_node(p, RE2_CLASS);
    enum errc rc;

    if (!node)
        return re2_no_memory(&p->text);
    node->fold = (p->flags & FOLD) != 0;
    rc = re2_class(&p->text, node);
    if (rc == OK)
        append(p->group, node);
    return rc;
}

/* \Q...\E, or up to the end. */
static enum errc read_quoted(struct parser *p)
{
    enum errc rc = OK;

    p->text.at += 2;
    while (rc == OK && !at_end(p) && !looking_at(p, "\\E"))
        rc = add_literal(p, re2_next(&p->text));
    if (!at_end(p))
        p->text.at += 2;
    return rc;
}

static enum errc read_backslash(struct parser *p)
{
    static const struct {
        const char *text;
        enum re2_op op;
    } ops[] = {
        { "\\A", RE2_BEGIN_TEXT },
        { "\\z", RE2_END_TEXT },
        { "\\b", RE2_WORD_EDGE },
        { "\\B", RE2_NO_EDGE },
    };
    struct re2_node *node;
    uint32_t rune;
    bool found;
    enum errc rc;

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (looking_at(p, ops[i].text)) {
            p->text.at += 2;
            return add_op(p, ops[i].op);
        }
    }
    if (looking_at(p, "\\Q"))
        return read_quoted(p);
    node = new_node(p, RE2_CLASS);
    if (!node)
        return re2_no_memory(&p->text);
    node->fold = (p->flags & FOLD) != 0;
    rc = re2_class_escape(&p->text, node, &found);
    if (rc == OK && found)
        append(p->group, node);
    if (rc != OK || found)
        return rc;
    rc = re2_escape(&p->text, &rune);
    return rc == OK ? add_literal(p, rune) : rc;
}

static enum errc read_anchor(struct parser *p, enum re2_op text, enum re2_op line)
{
    p->text.at++;
    return add_op(p, p->flags & MULTI_LINE ? line : text);
}

static enum errc read_one(struct parser *p)
{
    char c = p->text.src.ptr[p->text.at];

    switch (c) {
    case '(':
        return read_open(p);
    case ')':
        return read_close(p);
    case '|':
        p->text.at++;
        return end_branch(p);
    case '*':
    case '+':
    case '?':
        return read_repeat(p, c);
    case '{':
        return read_brace(p);
    case '[':
        return read_class(p);
    case '\\':
        return read_backslash(p);
    case '^':
        return read_anchor(p, RE2_BEGIN_TEXT, RE2_BEGIN_LINE);
    case '$':
        return read_anchor(p, RE2_END_TEXT, RE2_END_LINE);
    case '.':
        p->text.at++;
        return add_op(p, p->flags & DOT_NL ? RE2_ANY : RE2_ANY_BUT_NL);
    default:
        return add_literal(p, re2_next(&p->text));
    }
}

/* Everything from the first byte on that is no UTF-8. */
static enum errc check_utf8(struct re2_text *t)
{
    for (size_t at = 0, n; at < t->src.len; at += n) {
        struct str rest = { t->src.ptr + at, t->src.len - at };

        if (utf8_decode(rest, &n) == 0xfffd && n == 1)
            return re2_fail(t, "invalid UTF-8", at, t->src.len);
    }
    return OK;
}

enum errc re2_parse(struct str pattern, struct arena *a, struct re2_tree *out, struct err *err)
{
    struct str src = pattern.ptr ? pattern : STR("");
    struct parser p = { .text = { .src = src, .arena = a, .err = err },
                        .flags = DOT_NL,
                        .repeat_at = NONE };
    enum errc rc = check_utf8(&p.text);

    if (rc == OK)
        rc = open_group(&p, false, p.flags);
    while (rc == OK && !at_end(&p)) {
        p.last_repeat_at = p.repeat_at;
        p.repeat_at = NONE;
        rc = read_one(&p);
    }
    if (rc != OK)
        return rc;
    if (p.group->outer)
        return re2_fail(&p.text, "missing closing )", 0, pattern.len);
    out->n_groups = p.n_groups;
    out->group_names = p.names;
    return close_group(&p, &out->root);
}
