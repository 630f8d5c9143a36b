/* postings.h -- sorted lists of series ids, and finding the series that satisfy matchers.
 *
 * The head and each day file have an index of the same shape: for each (label name, value) the ids
 * of the series that have it. This module combines such lists; an index only has to answer the
 * questions of struct index_source.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/matcher.h"

struct arena;

/* Ids in increasing order, each once; in the arena of the call that made it, or borrowed from the
 * index as long as that holds still: not to be written. */
struct postings {
    uint32_t *ids;
    size_t n;
};

struct index_source {
    void *ctx;
    /* Calls fn for each value that the label name has, in any order; fn returns false to stop (its
     * error is its own). ERR_CORRUPT, ERR_IO when the index cannot be read. The text is valid
     * during the call only. */
    enum errc (*each_value)(void *ctx, struct str name, bool (*fn)(void *fn_ctx, struct str value),
                            void *fn_ctx, struct err *err);
    /* The ids of the series with name="value"; empty when there are none. */
    enum errc (*postings)(void *ctx, struct str name, struct str value, struct arena *a,
                          struct postings *out, struct err *err);
    /* The ids of all series. */
    enum errc (*all)(void *ctx, struct arena *a, struct postings *out, struct err *err);
};

/* The ids that satisfy all n matchers. Smallest lists first, patterns over distinct values only,
 * matchers that accept the empty value are subtracted last. ERR_LIMIT when the arena is full or a
 * pattern exceeds its match limit. */
MUST_USE enum errc postings_select(const struct index_source *index, const struct matcher *matchers,
                                   size_t n, struct arena *a, struct postings *out,
                                   struct err *err);

/* Set operations; the results are in the arena (or one of the arguments). ERR_LIMIT when it is
 * full. */
MUST_USE enum errc postings_and(struct postings x, struct postings y, struct arena *a,
                                struct postings *out);
MUST_USE enum errc postings_or(const struct postings *lists, size_t n, struct arena *a,
                               struct postings *out);
MUST_USE enum errc postings_minus(struct postings x, struct postings y, struct arena *a,
                                  struct postings *out);
