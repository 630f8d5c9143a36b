/* diag.h -- what is wrong with a file that a person wrote: a list of places and texts.
 *
 *   rules.yml:12:13: group "g", rule 5, "a b": invalid field 'for' in recording rule
 *
 * Every fault is listed, not just the first. Texts and file names live in the list's arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"

struct arena;

struct diag {
    const char *file;
    uint32_t line, col; /* from 1, col in characters; 0: the file as a whole */
    bool warning;       /* worth saying, but the file is good */
    const char *text;
};

struct diags {
    struct arena *arena;
    struct diag *items;
    size_t n, cap;
    size_t n_errors; /* those that are no warnings */
    bool full;       /* some could not be kept for want of memory */
};

void diag_error(struct diags *d, const char *file, uint32_t line, uint32_t col, const char *fmt,
                ...) PRINTF_LIKE(5, 6);
void diag_warning(struct diags *d, const char *file, uint32_t line, uint32_t col, const char *fmt,
                  ...) PRINTF_LIKE(5, 6);

/* Adds "FILE:LINE:COL: TEXT\n" for each, or "FILE: TEXT\n" for a file as a whole, in order of file
 * names and places; "warning: " stands before the text of a warning. */
void diags_print(struct buf *b, const struct diags *d);
