/* promql_load.h -- series in the notation of promqltest: `metric{label="x"} 1 2+3x4 _ stale`.
 *
 * The n-th value belongs to the time n * step. A line `metric@st OFFSETS` before a series gives the
 * start times of its samples, each relative to its sample.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "storage/histogram.h"
#include "storage/labels.h"

struct arena;
struct db;

enum series_value_kind { VALUE_GAP, VALUE_FLOAT, VALUE_HISTOGRAM };

struct series_value {
    enum series_value_kind kind;
    double v;                  /* may be a staleness marker */
    const struct histogram *h; /* of VALUE_HISTOGRAM */
    bool has_start;
    int64_t start_offset_ms; /* from the sample's time */
};

struct series_line {
    struct labels labels;
    struct series_value *values;
    size_t n;
    bool has_histograms;
};

/* Reads a line into the arena; false when it is not in the notation. */
bool series_line_parse(struct str line, struct arena *a, struct series_line *out);

/* Reads a line of start times into the values of the series it stands before; false when it is not
 * in the notation. */
bool series_line_starts(struct series_line *s, struct str line);

/* Appends the samples of a line; false when one was refused. */
bool series_line_store(struct db *db, const struct series_line *s, int64_t step_ms);

/* For unit tests: stores newline-separated lines, asserting that it works. */
void load_series(struct db *db, int64_t step_ms, const char *lines);
