/* annotations.h -- warnings and infos of a query: de-duplicated by text, counted, capped for
 * output.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct annotations;
struct arena;
struct query;

enum annotation_kind { ANNOTATION_WARNING, ANNOTATION_INFO };

struct annotations *annotations_new(struct arena *a); /* NULL when the arena is full */

/* Adds `PromQL warning: TEXT (LINE:COL)` (or info) for the node at byte pos of the query text. The
 * same text twice is one annotation. Memory trouble is ignored: an annotation is never worth an
 * error. */
void annotate(struct query *q, enum annotation_kind kind, uint32_t pos, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The same, and the text tells how often when that is more than once. */
void annotate_occurrence(struct query *q, enum annotation_kind kind, uint32_t pos, const char *fmt,
                         ...) PRINTF_LIKE(4, 5);

/* The texts of one kind: at most 10, then one that counts the rest. In the arena. */
MUST_USE enum errc annotations_texts(const struct annotations *an, enum annotation_kind kind,
                                     struct arena *a, struct str **out, size_t *n);
