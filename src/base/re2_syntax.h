/* re2_syntax.h -- regular expressions in RE2's syntax as a tree, and what can be told from the
 * tree.
 *
 * The syntax is that of https://github.com/google/re2/wiki/Syntax as Go's regexp/syntax reads it
 * with the Perl flags and `s` set; the error texts are Go's. What RE2 does not have (look-around,
 * back-references, possessive and atomic groups, \C \G \Z) is an error.
 *
 * Only base/regex.c uses this header. A tree lives in the arena it was parsed into.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

enum re2_op {
    RE2_EMPTY,
    RE2_LITERAL,    /* rune */
    RE2_CLASS,      /* items */
    RE2_ANY,        /* any code point */
    RE2_ANY_BUT_NL, /* any but \n */
    RE2_BEGIN_TEXT, /* \A, or ^ without m */
    RE2_END_TEXT,   /* \z, or $ without m */
    RE2_BEGIN_LINE, /* ^ with m */
    RE2_END_LINE,   /* $ with m */
    RE2_WORD_EDGE,  /* \b */
    RE2_NO_EDGE,    /* \B */
    RE2_CAPTURE,    /* child */
    RE2_REPEAT,     /* child, min, max, lazy */
    RE2_CONCAT,     /* children */
    RE2_ALTERNATE   /* children */
};

enum {
    RE2_MAX_DEPTH = 200,   /* of nested groups, and of the tree */
    RE2_MAX_REPEAT = 1000, /* of one counter, and of the product of nested ones */
    RE2_NO_MAX = -1
};

/* One member of a class: a range of code points, or those with (or without) a Unicode property. */
struct re2_item {
    uint32_t lo, hi;
    struct str property; /* in PCRE2's spelling ("Lu", "Greek"); empty for a range */
    bool script;         /* property is the name of a script */
    bool without;        /* the code points that lack the property */
    bool folded;         /* ignoring case adds nothing */
};

struct re2_node {
    enum re2_op op;
    bool fold;    /* LITERAL, CLASS: ignoring case */
    bool negated; /* CLASS: what is not in items */
    bool lazy;    /* REPEAT: as few as possible */
    int min, max; /* REPEAT: max may be RE2_NO_MAX */
    unsigned depth;
    uint32_t rune; /* LITERAL; may be a surrogate, which matches nothing */
    struct re2_item *items;
    size_t n_items, cap_items;
    struct re2_node *child; /* the first of them */
    struct re2_node *next;  /* sibling */
};

struct re2_tree {
    struct re2_node *root;
    size_t n_groups;
    struct str *group_names; /* [n_groups]: of group 1, 2 ...; empty when it has none */
};

/* Parses a pattern. The names point into it. ERR_BAD_QUERY with Go's text ("error parsing regexp:
 * missing closing ): `(a`"), ERR_NOMEM when the arena is full. */
MUST_USE enum errc re2_parse(struct str pattern, struct arena *a, struct re2_tree *out,
                             struct err *err);

/* Appends the tree as a PCRE2 pattern that matches the whole subject only: meant for the options
 * UTF and DOTALL, without UCP, EXTENDED, MULTILINE or CASELESS. Groups keep their numbers. */
void re2_emit(const struct re2_node *root, struct buf *out);

/* The same for a program that looks for matches anywhere in the subject. */
void re2_emit_search(const struct re2_node *root, struct buf *out);

/* Simple patterns ("a|b", "foo(bar|baz).*", ".+x") are a set of wildcard texts: UTF-8 with two more
 * bytes that no UTF-8 holds. */
enum {
    WILDCARD_ONE = 0xfe, /* one code point */
    WILDCARD_RUN = 0xff  /* any number of code points, 0 too */
};

/* The wildcard texts that together match exactly what the tree matches as a whole, in the order
 * written; false when the tree is not so simple, or the arena is full. */
bool re2_expand(const struct re2_node *root, struct arena *a, const struct str **texts, size_t *n);

/* Whether a wildcard text matches all of s, which must be valid UTF-8. */
bool re2_wildcard_match(struct str text, struct str s);

/* Appends bytes that every match of the whole tree starts with; perhaps none. */
void re2_prefix(const struct re2_node *root, struct buf *out);
