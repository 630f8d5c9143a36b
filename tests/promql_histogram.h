/* promql_histogram.h -- native histograms in the notation of promqltest:
 * `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`. They are float histograms. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "storage/histogram.h"

struct arena;

/* Reads what stands between {{ and }}; false when it is not in the notation. */
bool histogram_text_parse(struct str text, struct arena *a, struct histogram *out);

/* sign 1: x + y, sign -1: x - y, in the resolution of x, which must not be the finer one; zero
 * thresholds or custom bounds that differ are not supported: false. */
bool histogram_text_add(struct arena *a, const struct histogram *x, const struct histogram *y,
                        int sign, struct histogram *out);
