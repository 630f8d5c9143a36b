/* write_values.h -- the native histograms and exemplars of a remote write request, of either version.
 *
 * Both are few in most requests. They are checked for their encoding only: db_append() judges what
 * they say. A histogram of the schemas 9..52, which are too fine to be stored, is reduced to schema
 * 8, as Prometheus does.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ingest/pbwire.h"
#include "storage/db.h"

struct arena;

/* Limits of one request: two bytes of it can ask for an item. */
enum {
    WRITE_MAX_HISTOGRAMS = 200000,
    WRITE_MAX_EXEMPLARS = 200000,
    WRITE_MAX_NUMBERS = 4000000 /* spans, buckets and bounds of all histograms, exemplars' labels */
};

/* A growing array of one field of the histogram being read. */
struct write_numbers {
    double *items;
    size_t n, cap;
};

struct write_spans {
    struct histogram_span *items;
    size_t n, cap;
};

/* Zero-initialise it; free it with write_values_free(). The arrays may move as they grow; what they
 * point to stays until write_values_forget(). */
struct write_values {
    struct write_histogram *histograms;
    struct exemplar *exemplars;
    size_t n_histograms, n_exemplars;

    /* private from here on */
    size_t cap_histograms, cap_exemplars;
    size_t n_numbers;
    struct arena *arena;
    struct write_spans positive_spans, negative_spans;
    struct write_numbers positive_deltas, positive_counts, negative_deltas, negative_counts, custom;
};

/* The message io.prometheus.write.v2.Histogram, of which 1.0's lacks start_timestamp. */
extern const struct pb_message write_histogram_message;

/* Reads the Histogram message that r stands in. A fault stays in r, and nothing is added. ERR_TOO_LARGE
 * over a limit, ERR_NOMEM. */
MUST_USE enum errc write_values_read_histogram(struct write_values *v, struct pb_reader *r,
                                               struct err *err);

/* Adds an exemplar with a copy of the labels; the texts stay the caller's. Errors as above. */
MUST_USE enum errc write_values_add_exemplar(struct write_values *v, struct labels labels,
                                             double value, int64_t t_ms, struct err *err);

/* Empties it; keeps memory for a request of a usual size. */
void write_values_forget(struct write_values *v);
void write_values_free(struct write_values *v); /* leaves it zeroed */
