/* day.h -- one UTC day of samples in one self-contained LMDB file.
 *
 * The file holds its own series, symbols, postings and packs, so that it can be copied, dropped or
 * damaged alone. Series ids are the file's own, u32, given out once and never reused. Each flush of
 * the head adds packs and postings under its flush number (the log generation it empties), and all
 * of it becomes visible with one commit. A reader says up to which flush number it wants to see.
 * day_private.h draws the keys and values; every value carries a CRC-32C that is checked on read.
 *
 * Threads: one writer at a time; readers from any thread, each with its own day_txn. A day is
 * reference counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"
#include "storage/matcher.h"
#include "storage/postings.h"
#include "storage/sample.h"

struct arena;
struct day;
struct day_txn;
struct day_writer;
struct stored_exemplar;

/* Opens the file at path for day number day (day_of()), creating it when create is true.
 * ERR_NOT_FOUND, ERR_CORRUPT (not such a file, or shorter than it says), ERR_UNSUPPORTED (newer
 * format), ERR_IO. The caller has one reference. */
MUST_USE enum errc day_open(const char *path, int64_t day, size_t map_bytes, bool create,
                            struct day **out, struct err *err);
/* The same for reading only: nothing is changed, and nobody may be writing to it. */
MUST_USE enum errc day_open_read_only(const char *path, int64_t day, size_t map_bytes,
                                      struct day **out, struct err *err);
struct day *day_ref(struct day *d);
void day_unref(struct day *d); /* closes the file with the last reference; NULL is fine */

bool day_is_idle(const struct day *d); /* whether the only reference is the caller's */

int64_t day_number(const struct day *d);
uint64_t day_last_flush(const struct day *d); /* the highest flush number committed, 0 for none */
uint64_t day_file_bytes(const struct day *d);
void day_time_range(const struct day *d, int64_t *min_t_ms,
                    int64_t *max_t_ms); /* min > max when empty */
const char *day_path(const struct day *d);

/* How the samples came into the file. */
struct day_summary {
    uint64_t flushes;
    uint64_t deletions;
    uint64_t samples;
    uint64_t largest; /* samples of the flush that has most: the others came late, or early */
};
struct day_summary day_summary(const struct day *d);

/* The file as it is now, to be copied while others go on (kv.h). */
struct kv_copy;
MUST_USE enum errc day_copy_begin(struct day *d, struct kv_copy **out, struct err *err);

/* ---- writing: one flush ---- */

/* Begins flush number flush, which must be above day_last_flush(). The writer belongs to the thread
 * that began it, and keeps a reference to the day. */
MUST_USE enum errc day_writer_begin(struct day *d, uint64_t flush, struct day_writer **out,
                                    struct err *err);

/* Adds the samples of one series: canonical labels, times strictly increasing and inside the day.
 * Series come in labels_cmp order, each once, so that neighbours share packs. After an error only
 * day_writer_abort() is left: ERR_CORRUPT (the file's index is damaged), ERR_FULL (its map is
 * full), ERR_UNAVAILABLE (no space left), ERR_IO, ERR_NOMEM. */
MUST_USE enum errc day_writer_add(struct day_writer *w, struct labels labels,
                                  const struct column *samples, struct err *err);

/* Adds n > 0 exemplars of a series, in order of time and inside the day: of the one added last, or
 * of one that has no samples in this flush. Errors as above. */
MUST_USE enum errc day_writer_add_exemplars(struct day_writer *w, struct labels labels,
                                            const struct stored_exemplar *exemplars, size_t n,
                                            struct err *err);

/* Commits durably, or drops everything; frees the writer either way. Errors as above. */
MUST_USE enum errc day_writer_commit(struct day_writer *w, struct err *err);
void day_writer_abort(struct day_writer *w); /* NULL is fine */

/* Deletes, durably, the samples in min_t_ms..max_t_ms of n series (ids increasing) that are in the
 * file now: later reads leave them out, and a rewriting of the day drops them for good. Samples that
 * come later are not affected. ERR_LIMIT beyond DAY_MAX_DELETIONS, and as day_writer_commit(). */
enum { DAY_MAX_DELETIONS = 1000 };
MUST_USE enum errc day_delete(struct day *d, int64_t min_t_ms, int64_t max_t_ms,
                              const uint32_t *ids, size_t n, struct err *err);

/* ---- reading ---- */

/* A read transaction that sees flushes up to max_flush. It keeps a reference to the day. */
MUST_USE enum errc day_txn_begin(struct day *d, uint64_t max_flush, struct day_txn **out,
                                 struct err *err);
void day_txn_end(struct day_txn *t); /* NULL is fine */

/* How many series the transaction sees: numbers 1 to that. */
uint32_t day_txn_series(const struct day_txn *t);

/* The day's index, for postings_select(). Valid as long as the transaction. */
struct index_source day_index(struct day_txn *t);

/* The labels of a series; the texts point into the file's map (valid until day_txn_end) or the
 * arena. */
MUST_USE enum errc day_labels(struct day_txn *t, uint32_t id, struct arena *a, struct labels *out,
                              struct err *err);

/* Appends to out the samples of series id with min_t_ms <= t <= max_t_ms: runs in flush order, each
 * run increasing. *overlaps becomes true when out has to be normalised (a run, or what out held
 * before, overlaps the next or comes after it) and is left alone otherwise.
 * ERR_CORRUPT names file, pack and series; out is as it was after an error. */
MUST_USE enum errc day_read(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms,
                            struct column *out, bool *overlaps, struct err *err);

/* Whether all samples of a series in the time range have been deleted by one deletion. */
bool day_is_deleted(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms);

/* All visible series in labels_cmp order, malloc'd. Every symbol and series of the file is checked.
 * ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
MUST_USE enum errc day_order(struct day_txn *t, uint32_t **ids, size_t *n, struct err *err);

/* Calls fn for each exemplar of series id with min_t_ms <= t <= max_t_ms, flush by flush, each in
 * order of time; false stops. ERR_CORRUPT names file and series. */
MUST_USE enum errc day_each_exemplar(struct day_txn *t, uint32_t id, int64_t min_t_ms,
                                     int64_t max_t_ms,
                                     bool (*fn)(void *ctx, const struct stored_exemplar *e),
                                     void *ctx, struct err *err);

/* Calls fn for each distinct label name; false stops. */
MUST_USE enum errc day_each_name(struct day_txn *t, bool (*fn)(void *ctx, struct str name),
                                 void *ctx, struct err *err);
