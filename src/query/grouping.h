/* grouping.h -- numbers for label sets.
 *
 * by (…), without (…), on (…), ignoring (…) and the grouping of histogram buckets all ask which
 * series agree in some of their labels. A grouping gives such series the same number, 0, 1, …, and
 * materialises the chosen labels once for each number.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/table.h"
#include "query/labelset.h"

struct label_group {
    struct labels labels; /* as chosen; in the query's arena */
    uint64_t hash;
};

/* Set q and choice, zero the rest. groups and n may be read. */
struct grouping {
    struct query *q;
    struct label_choice choice;
    struct label_group *groups; /* by number */
    size_t n, cap;
    struct table table;
    struct buf key;             /* scratch */
    struct grouping_memo *memo; /* private, as is the next: see grouping.c */
    size_t n_added;
};

void grouping_free(struct grouping *g);

/* The number of the group ls belongs to, a new one if need be. ERR_NOMEM, ERR_LIMIT. */
MUST_USE enum errc grouping_add(struct grouping *g, struct labels ls, uint32_t *id,
                                struct err *err);

/* The number of the group ls belongs to, or TABLE_NONE in *id. ERR_NOMEM. */
MUST_USE enum errc grouping_find(struct grouping *g, struct labels ls, uint32_t *id,
                                 struct err *err);
