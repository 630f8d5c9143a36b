/* head_extra.h -- what few series of the head have beside their floats: samples that are histograms,
 * and start times.
 *
 * Histograms are kept in their encoding (histogram.h). Start times change rarely, so they are kept
 * as ranges of samples that have the same one. Both come in order of time, but for late ones, which
 * lie apart in order of arrival, as the head's floats do.
 *
 * Threads: none of its own; the head locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "storage/sample.h"

struct extra_run;

/* The extras of many series. Zero-initialise it. */
struct extra_set {
    struct extra_run *runs; /* private, all of it */
    size_t n, cap;
    struct table by_ref;
};

void extra_set_free(struct extra_set *s); /* leaves it zeroed */

/* Adds a histogram at a time that has no sample, and its start time, 0 for none. *newest: no float
 * of the series is as new; afterwards: no histogram either. *bytes grows by the memory it took. False
 * when out of memory: nothing has changed. */
MUST_USE bool extra_add_histogram(struct extra_set *s, uint32_t ref, int64_t t_ms, int64_t start_ms,
                                  struct bytes encoding, bool *newest, uint64_t *bytes);

/* Notes the start time of a float just added, 0 for none, which is worth a note when the series has
 * others. newest: no float of the series is as new. The rest as above. */
MUST_USE bool extra_note_float(struct extra_set *s, uint32_t ref, int64_t t_ms, int64_t start_ms,
                               bool newest, uint64_t *bytes);

/* The encoding of the series' histogram at t_ms, ptr NULL when none is known: late ones are only
 * looked for among the last few. */
struct bytes extra_find(const struct extra_set *s, uint32_t ref, int64_t t_ms);

/* Whether the series may have histograms in the time range. */
bool extra_has(const struct extra_set *s, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms);

/* Appends to out the series' histograms in the time range, *overlaps becoming true when they are
 * not strictly increasing after what out held; then gives the samples from position from on their
 * start times. Those that cannot be decoded are left out, out->n_unreadable growing.
 * False when out of memory. */
MUST_USE bool extra_read(const struct extra_set *s, uint32_t ref, int64_t min_t_ms,
                         int64_t max_t_ms, struct column *out, size_t from, bool *overlaps);
