/* params.h -- times, durations and limits as the HTTP API takes them.
 *
 * Errors are ERR_BAD_DATA with Prometheus' text, without the parameter's name.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

/* The ends of time: what Prometheus' clients send for "since ever" and "for ever". Their seconds
 * are +-9223309901257974. */
#define TIME_MIN_MS (-9223309901257974000)
#define TIME_MAX_MS 9223309901257974999

/* Seconds since the epoch as a number, rounded to milliseconds; or RFC 3339 with up to nine digits
 * of fraction, rounded down; or the RFC 3339 renderings of the ends of time, whose years have nine
 * digits. */
MUST_USE enum errc param_time(struct str s, int64_t *t_ms, struct err *err);

/* Seconds as a number, perhaps negative, or 1h30m; cut to milliseconds. */
MUST_USE enum errc param_duration(struct str s, int64_t *ms, struct err *err);

/* A number of items; empty and 0 mean no limit: UINT64_MAX. */
MUST_USE enum errc param_limit(struct str s, uint64_t *n, struct err *err);

/* The label name in the path of /api/v1/label/<name>/values: U__ names are those with a byte
 * outside [a-zA-Z0-9_:], `_` doubled and other code points as _HEX_ (Prometheus' value encoding). A
 * malformed one stands for itself. ptr is NULL when the arena is full. */
struct str param_label_name(struct str s, struct arena *a);
