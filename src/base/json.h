/* json.h -- writing JSON (RFC 8259) the way Prometheus does.
 *
 * A buffer that could not grow sets failed and ignores the rest (base/bytes.h): check it once, at
 * the end.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

/* "s" in quotes. Bytes that are not UTF-8 become U+FFFD, one for each. */
void json_string(struct buf *b, struct str s);

/* The same with <, > and & as \u003c, \u003e and \u0026: for error and warning texts. */
void json_text(struct buf *b, struct str s);

/* A sample's time in seconds: an integer, or with exactly three digits: 1435781451.781. */
void json_time(struct buf *b, int64_t t_ms);

/* The time of a scalar or string: the shortest decimal of t_ms / 1000. */
void json_time_shortest(struct buf *b, int64_t t_ms);

/* A sample value, a string in quotes: "1e-07", "NaN", "+Inf". */
void json_value(struct buf *b, double v);

/* A sample: [1435781451.781,"1e-07"] */
void json_sample(struct buf *b, int64_t t_ms, double v);

/* A scalar's value: in quotes and never with an exponent. */
void json_scalar(struct buf *b, double v);

/* "2026-11-21T09:30:00.123Z" in quotes (RFC 3339). Times outside of the years 1970 to 9999, which
 * RFC 3339 and its readers do not share, become the nearest one inside. */
void json_rfc3339(struct buf *b, int64_t t_ms);
