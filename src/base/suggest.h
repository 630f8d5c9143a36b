/* suggest.h -- "did you mean": the known name that a mistyped one is nearest to.
 *
 *   struct suggest s = suggest_for(STR("fro"));
 *   for each known name: suggest_consider(&s, name);
 *   suggest_nearest(&s)                                  "for"
 *
 * Distance: letters added, removed, changed, or swapped with their neighbour (optimal string
 * alignment; Damerau, "A technique for computer detection and correction of spelling errors", CACM
 * 1964).
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"

/* Fields are private. */
struct suggest {
    struct str text;
    const char *nearest;
    size_t distance;
};

/* text is borrowed. */
struct suggest suggest_for(struct str text);

/* Looks at one name; names longer than 63 bytes are no suggestions. */
void suggest_consider(struct suggest *s, const char *name);

/* The nearest name, the first of several; NULL when none is near enough to be meant. */
const char *suggest_nearest(const struct suggest *s);
