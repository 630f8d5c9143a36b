/* re2_class.h -- the part of the RE2 parser that reads escapes and character classes.
 *
 * Only base/re2_*.c use this header.
 */
#pragma once

#include "base/re2_syntax.h"

/* A position in the pattern being parsed. */
struct re2_text {
    struct str src;
    size_t at;
    struct arena *arena;
    struct err *err;
};

/* ERR_BAD_QUERY "error parsing regexp: WHAT: `src[from..to)`". */
MUST_USE enum errc re2_fail(struct re2_text *t, const char *what, size_t from, size_t to);
MUST_USE enum errc re2_no_memory(struct re2_text *t);

/* The code point at t->at, which must not be the end, and moves behind it. */
uint32_t re2_next(struct re2_text *t);

/* The class member that \p{name} stands for, or without it \P{name}; false when there is no such
 * name. fold asks for all cases of the letters. A range with lo > hi has no members. */
bool re2_property_find(struct str name, bool without, bool fold, struct re2_item *out);

/* Reads an escape of one code point; t->at is at the backslash. */
MUST_USE enum errc re2_escape(struct re2_text *t, uint32_t *rune);

/* Reads \d \D \s \S \w \W \pL \PL \p{Name} into the class node, if one is at t->at; *found tells.
 */
MUST_USE enum errc re2_class_escape(struct re2_text *t, struct re2_node *node, bool *found);

/* Reads [...] into the class node; t->at is at the bracket. */
MUST_USE enum errc re2_class(struct re2_text *t, struct re2_node *node);
