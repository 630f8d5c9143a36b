/* labelset.h -- choosing labels of a set, as by (…), without (…), on (…) and ignoring (…) do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"

struct query;

/* Zeroed: all labels. */
struct label_choice {
    const struct str *names; /* borrowed, any order */
    size_t n;
    bool keep;      /* only the names, else all but the names */
    bool drop_name; /* never __name__ */
};

bool label_choice_takes(const struct label_choice *c, struct str name);

/* The chosen labels of ls, in the arena; ls itself when that is all of them. ERR_LIMIT. */
MUST_USE enum errc labels_choose(struct query *q, struct labels ls, const struct label_choice *c,
                                 struct labels *out, struct err *err);

/* ERR_EXECUTION `invalid label name "X"` unless name is non-empty UTF-8. */
MUST_USE enum errc label_name_check(struct str name, uint32_t pos, struct err *err);
