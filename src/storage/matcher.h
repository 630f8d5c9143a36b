/* matcher.h -- one condition on a label: =, !=, =~ or !~.
 *
 * A missing label has the empty value. A pattern must match the whole value (base/regex.h).
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"

struct arena;
struct regex;

enum match_op { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE };

struct matcher {
    enum match_op op;
    struct str name, value;
    struct regex *regex; /* of MATCH_RE and MATCH_NRE, else NULL */
};

/* "=", "!=", "=~", "!~" */
const char *match_op_text(enum match_op op);

/* Fills m, copying name and value into the arena; a pattern is compiled. ERR_BAD_QUERY with the
 * compiler's text. Free it with matcher_free(). */
MUST_USE enum errc matcher_init(struct matcher *m, enum match_op op, struct str name,
                                struct str value, struct arena *a, struct err *err);
void matcher_free(struct matcher *m); /* a zeroed one is fine */

/* Whether the value satisfies m. A pattern that exceeds its match limit gives ERR_LIMIT in *rc and
 * false; *rc is left alone otherwise. */
bool matcher_matches(const struct matcher *m, struct str value, enum errc *rc);

/* Whether m accepts a series that lacks the label. */
bool matcher_matches_empty(const struct matcher *m);

/* name="value", with the name quoted unless it is a legacy label name. */
void matcher_print(struct buf *b, const struct matcher *m);
