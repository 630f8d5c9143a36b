/* write.h -- what rules yield, on its way into the store.
 *
 * Samples wait in a writer, so that a group syncs the log once and not once a rule; who is about to
 * read one of them flushes first (rule_writer_feeds). A rule remembers which series it wrote last:
 * those it does not write again have ended, and get a staleness marker.
 *
 * Threads: none of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/labels.h"
#include "storage/sample.h"

struct arena;
struct db;
struct node;
struct histogram;
struct write_histogram;
struct write_series;

struct rule_writer {
    struct arena *arena; /* labels of what waits */
    struct write_series *series;
    struct sample *samples; /* one a series, of no use to those with a histogram */
    size_t n, cap_series, cap_samples;
    struct write_histogram *histograms;
    size_t n_histograms, cap_histograms;
    struct str *names; /* metric names of what waits; neighbours differ */
    size_t n_names, cap_names;
};

/* NULL when out of memory. */
struct rule_writer *rule_writer_new(void);
void rule_writer_free(struct rule_writer *w); /* NULL is fine */

/* Adds a sample of a series; the labels are copied. ERR_NOMEM: nothing has changed. */
MUST_USE enum errc rule_writer_add(struct rule_writer *w, struct labels ls, struct sample s);

/* The same with a histogram, which is copied too. */
MUST_USE enum errc rule_writer_add_histogram(struct rule_writer *w, struct labels ls, int64_t t_ms,
                                             const struct histogram *h);

/* Whether an expression may read something that waits. A NULL tree reads everything. */
bool rule_writer_feeds(const struct rule_writer *w, const struct node *tree);

/* Stores what waits; the writer is empty afterwards, also on error. What the store refuses (a time
 * too old, or another value there) is logged and no error. Errors as db_append(). */
MUST_USE enum errc rule_writer_flush(struct rule_writer *w, struct db *db, struct err *err);

/* ---- the series a rule wrote last ---- */

struct series_id {
    uint64_t hash; /* labels_hash() */
    struct labels labels;
};

/* Zero-initialise it; free it with series_set_free(). */
struct series_set {
    struct series_id *items; /* by hash, then labels; the block owns their texts */
    size_t n;
};
void series_set_free(struct series_set *set);

struct series_value {
    struct series_id id;
    double v;
    const struct histogram *h; /* in place of v; NULL: a float */
};

/* Adds the samples of n series, in any order, label sets unique, to w as of t_ms, and a staleness
 * marker for each series of the set that is not among them; the set becomes these series. Reorders
 * values. ERR_NOMEM: nothing has changed. */
MUST_USE enum errc series_set_write(struct series_set *set, struct series_value *values, size_t n,
                                    int64_t t_ms, struct rule_writer *w, struct err *err);

/* Makes the set n series, without writing. ERR_NOMEM: nothing has changed. */
MUST_USE enum errc series_set_assign(struct series_set *set, struct series_value *values, size_t n);
