/* regex.h -- regular expressions with RE2's syntax and meaning, matched by PCRE2.
 *
 * A pattern must match the whole subject, as if written ^(?s:PATTERN)$, but for the two functions
 * that search. What RE2 refuses
 * (back-references, look-around, possessive and atomic groups, recursion, \C, \G, \Z) is refused,
 * with Go's words: `error parsing regexp: missing closing
 * ): ...`. Matching is bounded; a pattern that reaches the bound is tried once more by PCRE2's DFA
 * matcher, which does not backtrack.
 *
 * Threads: a compiled pattern may be used by any number at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct regex;

enum { REGEX_MAX_PATTERN = 32768 };

/* Compiles a pattern. ERR_BAD_QUERY with Go's text; ERR_TOO_LARGE beyond REGEX_MAX_PATTERN bytes and
 * for what PCRE2 cannot hold; ERR_NOMEM. Free it with regex_free(). */
MUST_USE enum errc regex_compile(struct str pattern, struct regex **out, struct err *err);
void regex_free(struct regex *re); /* NULL is fine */

/* Whether all of s matches, in *matched. ERR_LIMIT when the match limit was reached (never "no
 * match"), ERR_NOMEM. */
MUST_USE enum errc regex_match(const struct regex *re, struct str s, bool *matched);

/* If all of s matches, appends template to out with $1, ${1}, $name, ${name} replaced by the groups
 * and $$ by $ (Go's Regexp.Expand: an unbraced name is the longest run of letters, digits and _; an
 * unknown group is empty). ERR_LIMIT, ERR_NOMEM; ERR_TOO_LARGE for a pattern that regex_match() does
 * without PCRE2, like a very long alternation of names, but that PCRE2 cannot hold. */
MUST_USE enum errc regex_replace(const struct regex *re, struct str s, struct str template,
                                 struct buf *out, bool *matched);

/* Compiles a pattern for the next two: to be found anywhere in a text. As in Go, '.' does not match \n
 * unless the pattern says (?s). Errors as of regex_compile(). */
MUST_USE enum errc regex_compile_search(struct str pattern, struct regex **out, struct err *err);

/* Whether some part of s matches, in *matched. ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum errc regex_search(const struct regex *re, struct str s, bool *matched);

/* Appends s to out with each match, from left to right, replaced by template as in regex_replace()
 * (Go's ReplaceAllString; an invalid byte of s becomes U+FFFD). At most max_bytes are appended.
 * ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum errc regex_replace_all(const struct regex *re, struct str s, struct str template,
                                     size_t max_bytes, struct buf *out);

/* When the pattern stands for a set of literal texts ("a|b|c", "a", "foo(bar|baz)", "[ab]c"), those
 * texts (borrowed, sorted, each once) and true. */
bool regex_literals(const struct regex *re, const struct str **texts, size_t *n);

/* A literal text that every match starts with; empty when unknown. */
struct str regex_prefix(const struct regex *re);
