/* re2_wildcard.c
 *
 * Matchers of dashboards are mostly alternations of names and `name.*`: as wildcard texts they need
 * no regular expression at all. A tree is expanded bottom up into the list of texts it stands for;
 * a sequence is the product of its parts' lists, which is bounded.
 */
#include "base/arena.h"
#include "base/re2_syntax.h"

#include "base/banned.h"

enum {
    MAX_PRODUCT = 256, /* texts that come from multiplying alternatives, not from writing them */
    MAX_CLASS = 16     /* code points of a class that is taken as alternatives */
};

/* Texts a subtree stands for. */
struct texts {
    struct str *items;
    size_t n, cap;
};

/* What lies beside a subtree: whether ^ or $ would have nothing to say there. */
struct edges {
    bool start, end;
};

static bool push(struct arena *a, struct texts *t, struct str s)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 2;
        void *p = arena_grow(a, t->items, t->cap * sizeof s, cap * sizeof s);

        if (!p)
            return false;
        t->items = p;
        t->cap = cap;
    }
    t->items[t->n++] = s;
    return true;
}

static bool push_copy(struct arena *a, struct texts *t, const char *p, size_t n)
{
    struct str copy = str_copy(a, (struct str){ p, n });

    return copy.ptr && push(a, t, copy);
}

/* Nodes that stand for one text: writes it and returns its length, 0 when node is another. */
static size_t single_text(const struct re2_node *node, char out[4])
{
    if (node->op == RE2_LITERAL && !node->fold && (node->rune < 0xd800 || node->rune > 0xdfff))
        return utf8_encode(node->rune, out);
    if (node->op == RE2_ANY) {
        out[0] = (char)WILDCARD_ONE;
        return 1;
    }
    if (node->op == RE2_REPEAT && node->child->op == RE2_ANY && node->max == RE2_NO_MAX
        && node->min <= 1) {
        out[0] = (char)WILDCARD_ONE;
        out[node->min] = (char)WILDCARD_RUN;
        return (size_t)node->min + 1;
    }
    return 0;
}

static bool expand(const struct re2_node *node, struct edges at, struct arena *a,
                   struct texts *out);

static bool expand_class(const struct re2_node *node, struct arena *a, struct texts *out)
{
    size_t n = 0;

    if (node->fold || node->negated)
        return false;
    for (size_t i = 0; i < node->n_items; i++) {
        const struct re2_item *item = &node->items[i];

        if (item->property.len || item->hi >= 0xd800 || (n += item->hi - item->lo + 1) > MAX_CLASS)
            return false;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        for (uint32_t c = node->items[i].lo; c <= node->items[i].hi; c++) {
            char text[4];

            if (!push_copy(a, out, text, utf8_encode(c, text)))
                return false;
        }
    }
    return n > 0;
}

/* *left becomes every text of left followed by every text of right. */
static bool multiply(struct texts *left, const struct texts *right, struct arena *a)
{
    struct texts product = { 0 };

    if (left->n > 1 && right->n > 1 && left->n * right->n > MAX_PRODUCT)
        return false;
    for (size_t i = 0; i < left->n; i++) {
        for (size_t j = 0; j < right->n; j++) {
            struct str l = left->items[i], r = right->items[j];
            char *p = arena_alloc(a, l.len + r.len + 1);

            if (!p)
                return false;
            memcpy(p, l.ptr, l.len);
            memcpy(p + l.len, r.ptr, r.len);
            if (!push(a, &product, (struct str){ p, l.len + r.len }))
                return false;
        }
    }
    *left = product;
    return true;
}

/* The longest run of nodes from *node on that stand for one text each, as a list of that text. */
static bool collect_run(const struct re2_node **node, struct arena *a, struct texts *out)
{
    const struct re2_node *first = *node, *c;
    size_t n = 0, len;
    char piece[4], *p;

    for (c = first; c && (len = single_text(c, piece)) > 0; c = c->next)
        n += len;
    p = arena_alloc(a, n + 1);
    if (!p)
        return false;
    struct str run = { p, n };

    for (c = first; c && (len = single_text(c, piece)) > 0; c = c->next, p += len)
        memcpy(p, piece, len);
    *node = c;
    return push(a, out, run);
}

static bool expand_concat(const struct re2_node *node, struct edges at, struct arena *a,
                          struct texts *out)
{
    const struct re2_node *c = node->child;
    struct texts product = { 0 };
    char piece[4];

    if (!push(a, &product, STR("")))
        return false;
    while (c) {
        struct texts part = { 0 };

        if (single_text(c, piece)) {
            if (!collect_run(&c, a, &part))
                return false;
        } else {
            struct edges inner = { at.start && c == node->child, at.end && !c->next };

            if (!expand(c, inner, a, &part))
                return false;
            c = c->next;
        }
        if (!multiply(&product, &part, a))
            return false;
    }
    for (size_t i = 0; i < product.n; i++)
        if (!push(a, out, product.items[i]))
            return false;
    return true;
}

static bool expand(const struct re2_node *node, struct edges at, struct arena *a, struct texts *out)
{
    char piece[4];
    size_t len = single_text(node, piece);

    if (len)
        return push_copy(a, out, piece, len);
    switch (node->op) {
    case RE2_EMPTY:
        return push(a, out, STR(""));
    case RE2_BEGIN_TEXT:
        return at.start && push(a, out, STR(""));
    case RE2_END_TEXT:
        return at.end && push(a, out, STR(""));
    case RE2_CLASS:
        return expand_class(node, a, out);
    case RE2_CAPTURE:
        return expand(node->child, at, a, out);
    case RE2_REPEAT: /* x? */
        return node->min == 0 && node->max == 1 && push(a, out, STR(""))
               && expand(node->child, (struct edges){ false, false }, a, out);
    case RE2_CONCAT:
        return expand_concat(node, at, a, out);
    case RE2_ALTERNATE:
        for (const struct re2_node *c = node->child; c; c = c->next)
            if (!expand(c, at, a, out))
                return false;
        return true;
    default:
        return false;
    }
}

bool re2_expand(const struct re2_node *root, struct arena *a, const struct str **texts, size_t *n)
{
    struct texts all = { 0 };

    if (!expand(root, (struct edges){ true, true }, a, &all))
        return false;
    *texts = all.items;
    *n = all.n;
    return true;
}

/* --- matching --- */

static size_t rune_length(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The next place at or behind from where what follows the run at text.ptr[w - 1] may start. */
static size_t next_candidate(struct str text, size_t w, struct str s, size_t from)
{
    const char *hit;

    if (w == text.len || (unsigned char)text.ptr[w] >= WILDCARD_ONE)
        return from;
    hit = memchr(s.ptr + from, text.ptr[w], s.len - from);
    return hit ? (size_t)(hit - s.ptr) : s.len;
}

bool re2_wildcard_match(struct str text, struct str s)
{
    size_t w = 0, i = 0, retry_w = SIZE_MAX, retry_i = 0;

    while (i < s.len) {
        unsigned char c = w < text.len ? (unsigned char)text.ptr[w] : 0;

        if (w < text.len && c == WILDCARD_RUN) { /* the shortest run that lets the rest match */
            retry_w = ++w;
            if (w == text.len)
                return true;
            i = retry_i = next_candidate(text, w, s, i);
        } else if (w < text.len && c == WILDCARD_ONE) {
            w++;
            i += rune_length((unsigned char)s.ptr[i]);
        } else if (w < text.len && c == (unsigned char)s.ptr[i]) {
            w++;
            i++;
        } else if (retry_w == SIZE_MAX) {
            return false;
        } else {
            retry_i += rune_length((unsigned char)s.ptr[retry_i]);
            i = retry_i = next_candidate(text, w = retry_w, s, retry_i);
        }
    }
    while (w < text.len && (unsigned char)text.ptr[w] == WILDCARD_RUN)
        w++;
    return w == text.len;
}

/* --- prefixes --- */

static bool add_prefix(const struct re2_node *node, struct buf *out);

/* What the branches' prefixes have in common. */
static void add_common_prefix(const struct re2_node *node, struct buf *out)
{
    size_t start = out->len, common = SIZE_MAX;
    struct buf one = { 0 };

    for (const struct re2_node *c = node->child; c && common > 0; c = c->next) {
        size_t n = 0;

        buf_clear(&one);
        add_prefix(c, &one);
        if (c == node->child)
            buf_str(out, buf_as_str(&one));
        if (out->failed || one.failed)
            break;
        common = common < one.len ? common : one.len;
        while (n < common && one.ptr[n] == out->ptr[start + n])
            n++;
        common = n;
    }
    if (!out->failed)
        out->len = start + (one.failed ? 0 : common);
    buf_free(&one);
}

/* Appends the prefix of node; true when node is nothing but that text. */
static bool add_prefix(const struct re2_node *node, struct buf *out)
{
    char text[4];

    switch (node->op) {
    case RE2_EMPTY:
    case RE2_BEGIN_TEXT:
        return true;
    case RE2_LITERAL:
        if (node->fold || (node->rune >= 0xd800 && node->rune <= 0xdfff))
            return false;
        buf_add(out, text, utf8_encode(node->rune, text));
        return true;
    case RE2_CAPTURE:
        return add_prefix(node->child, out);
    case RE2_REPEAT:
        return node->min >= 1 && add_prefix(node->child, out) && node->min == 1 && node->max == 1;
    case RE2_CONCAT:
        for (const struct re2_node *c = node->child; c; c = c->next)
            if (!add_prefix(c, out))
                return false;
        return true;
    case RE2_ALTERNATE:
        add_common_prefix(node, out);
        return false;
    default:
        return false;
    }
}

void re2_prefix(const struct re2_node *root, struct buf *out)
{
    add_prefix(root, out);
}
