/* duration.h -- Prometheus durations: 1h30m, 15d, 54s321ms.
 *
 * Units y w d h m s ms, each at most once, from large to small; y = 365 d, w = 7 d. "0" alone is
 * allowed.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Reads s as milliseconds. ERR_BAD_DATA with one of: `empty duration string`, `not a valid duration
 * string: "5m1h"`, `unknown unit "x" in duration "5x"`, `duration out of range` (beyond 2^63 ns,
 * about 292 years, as in Prometheus). */
MUST_USE enum errc duration_parse(struct str s, int64_t *ms, struct err *err);

/* Adds the canonical form: y and w only where they divide the rest exactly (7d is 1w, 90d stays
 * 90d), zero is 0s, a negative duration gets a '-' in front. */
void duration_print(struct buf *b, int64_t ms);
