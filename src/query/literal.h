/* literal.h -- the values of string, number and duration tokens.
 *
 * The texts are those of tokens that lex.h delivered. Messages are Prometheus'; positions are the
 * caller's to add (pos).
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

/* The text a quoted string stands for, in the arena. ERR_LIMIT. */
MUST_USE enum errc literal_string(struct str quoted, struct arena *a, struct str *out);

/* A number: decimal, octal after a leading 0, hexadecimal, Inf, NaN. ERR_BAD_QUERY. */
MUST_USE enum errc literal_number(struct str text, uint32_t pos, double *out, struct err *err);

/* A duration in seconds. ERR_BAD_QUERY. */
MUST_USE enum errc literal_duration(struct str text, uint32_t pos, double *seconds,
                                    struct err *err);
