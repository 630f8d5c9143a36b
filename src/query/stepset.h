/* stepset.h -- a set of a query's steps, one bit each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "query/eval.h"

/* An empty set for all steps of q, in the arena. ERR_LIMIT. */
MUST_USE enum errc stepset_new(struct query *q, uint64_t **out, struct err *err);

/* Adds the steps at which s has a value. */
void stepset_add_series(uint64_t *set, const struct fseries *s, size_t n_steps);

static inline bool stepset_has(const uint64_t *set, size_t step)
{
    return set[step / 64] >> (step % 64) & 1;
}

static inline void stepset_add(uint64_t *set, size_t step)
{
    set[step / 64] |= UINT64_C(1) << (step % 64);
}
