/* head.h -- recent samples in memory, and the index of the series they belong to.
 *
 * Every series that was written lately has a ref (u32, given out in order, never reused).
 * Its labels are kept as ids of interned (name, value) pairs, so that each text is stored once;
 * each pair has the list of refs that carry it.
 *
 * Samples of a series are in two parts: the open run takes appends; head_freeze() moves all open
 * runs aside as frozen ones, which the flusher reads and head_drop_frozen() frees. A run is
 * compressed (head_run.h); samples that arrive after newer ones lie beside it, as they are, and are
 * put in order when they are read. So do histograms, and start times (head_extra.h).
 *
 * Threads: the index is guarded by one reader-writer lock, taken once per request; samples by one
 * mutex per shard of series. Samples are appended by one thread at a time (the log's committer), so
 * a reader waits for a few hundred appends at most, and appenders for a reader while it copies some
 * hundred bytes; decoding needs no lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"
#include "storage/postings.h"
#include "storage/sample.h"

struct arena;
struct head;

/* An empty head, or NULL when out of memory. */
struct head *head_new(void);
void head_free(struct head *h); /* NULL is fine */

/* ---- series ---- */

#define HEAD_NO_SERIES UINT32_MAX

/* Finds known series, under head_lock_index(), in the order in which a sender gives them: a series
 * remembers which one followed it, so that those that come in the order of last time cost one
 * comparison of labels each. *last is the series before, HEAD_NO_SERIES at the beginning.
 *
 * head_follow: whether wire begins with the labels of the series expected next, see
 * head_index_follow(): its ref becomes *last, and the number of bytes is returned; 0 if not.
 * head_recognise: the ref of a label set as a sender wrote it, if it is canonical and known, which
 * becomes *last; if not HEAD_NO_SERIES. key is scratch. */
size_t head_follow(struct head *h, uint32_t *last, struct bytes wire);
uint32_t head_recognise(struct head *h, uint32_t *last, struct labels ls, struct buf *key);

/* Fills refs[i] for the n canonical label sets where it is HEAD_NO_SERIES on entry and the set has
 * labels. Unknown series are created as long as there are fewer than max_series in all, and stay
 * HEAD_NO_SERIES from then on. ERR_NOMEM, ERR_LIMIT (2^32 - 2 series). */
MUST_USE enum errc head_resolve(struct head *h, const struct labels *sets, size_t n,
                                uint64_t max_series, uint32_t *refs, struct err *err);

/* The ref of one canonical label set that comes with its encoding, as in the log; it is created when
 * it is unknown. Errors as above. */
MUST_USE enum errc head_define(struct head *h, struct labels ls, struct bytes encoded,
                               uint32_t *ref, struct err *err);

/* How many refs have been handed out: from 0 to that, exclusive. */
uint32_t head_n_series(const struct head *h);

/* The labels of a series, under head_lock_index(); items are in the arena, the texts live as long
 * as the series, and then until the second sweep. */
MUST_USE enum errc head_labels(struct head *h, uint32_t ref, struct arena *a, struct labels *out,
                               struct err *err);
uint64_t head_labels_hash(const struct head *h,
                          uint32_t ref); /* labels_hash(), under head_lock_index() */

/* The log generation whose records define ref, 0 for none: later records of that generation need
 * not repeat the labels. Set by the committer, read by appenders. */
uint64_t head_defined_in(const struct head *h, uint32_t ref);
void head_set_defined_in(struct head *h, uint32_t ref, uint64_t generation);

/* Holds the index still (for reading) while an index_source made from it is in use. Not twice at a
 * time by one thread. */
void head_lock_index(struct head *h);
void head_unlock_index(struct head *h);
struct index_source head_index(struct head *h);
/* ---- series that have ended ----
 *
 * A series that nobody has found since the last sweep but one, and that has no samples in memory, is removed from
 * the index by the next sweep. Its ref stays unused, and reads as a series without samples and labels, until the
 * sweep after that one, which gives back its memory and the texts of its labels: a sweep must not come before
 * all are gone who have got refs or labels before the last.
 *
 * Whoever appends keeps its series by holding a ticket from before head_keep() to the end: no sweep removes what
 * was found under a ticket that is held, or later. */

/* A ticket, given back by head_leave(). */
uint32_t head_enter(struct head *h);
void head_leave(struct head *h, uint32_t ticket);

/* With a ticket: whether series that were found when head_tick() was found_at are still there, and stay. */
uint32_t head_tick(const struct head *h);
bool head_keep(struct head *h, const uint32_t *refs, size_t n, uint32_t found_at);

/* Removes those that have ended, and returns how many. For the flusher alone, between flushes. It is put off
 * while an append of long ago is under way. */
size_t head_sweep(struct head *h);

/* Grows with each sweep that has removed any. */
uint64_t head_removals(const struct head *h);

/* Calls fn for each distinct label name, under head_lock_index(). */
void head_each_name(struct head *h, bool (*fn)(void *ctx, struct str name), void *ctx);

/* ---- samples ---- */

enum append_result {
    APPEND_STORED,
    APPEND_REPEAT /* same time, same bits */,
    APPEND_DUPLICATE,
    APPEND_NOMEM
};

/* Adds one sample of a known series. One thread at a time. */
enum append_result head_append(struct head *h, uint32_t ref, struct sample s);

struct shard;

/* The same for many: begin with { .head = h }, end with head_appender_done(). Between the calls it
 * holds the lock of one shard, so the thread must call nothing else here meanwhile but
 * head_set_defined_in(). */
struct head_appender {
    struct head *head;
    struct shard *locked;                  /* private, as is n_locked */
    uint32_t n_locked;                     /* samples added since it was locked */
    uint64_t late_floats, late_histograms; /* out: stored behind newer ones of their series */
};
enum append_result head_appender_add(struct head_appender *a, uint32_t ref, struct sample s);
/* The same for a sample whose start time is known; 0 says that it is not. */
enum append_result head_appender_add_started(struct head_appender *a, uint32_t ref, struct sample s,
                                             int64_t start_ms);
/* The same for a histogram in its encoding (histogram.h). A float and a histogram at one time are
 * duplicates. */
enum append_result head_appender_add_histogram(struct head_appender *a, uint32_t ref, int64_t t_ms,
                                               int64_t start_ms, struct bytes encoding);
void head_appender_done(struct head_appender *a);

/* Moves all open runs aside, as those of a log generation. The frozen ones of before must have been
 * dropped. One thread at a time, the appending one. */
void head_freeze(struct head *h, uint64_t generation);
/* Frees them. No head_read() whose after is below their generation may be under way or come. */
void head_drop_frozen(struct head *h);

/* Appends the samples of ref in min_t_ms..max_t_ms to out: the frozen ones if their generation is
 * above after, then the open ones, each in order of arrival; *overlaps becomes true when they are
 * not strictly increasing after what out held. ERR_NOMEM. */
MUST_USE enum errc head_read(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                             uint64_t after, struct column *out, bool *overlaps);

/* The newest sample of all that ref ever got, day files included, when it lies in the time range and is at
 * hand; false: all must be asked. That is known of samples that are newer than everything that ever
 * left the head, which head_note_flushed() tells about what did before it was there. */
void head_note_flushed(struct head *h, int64_t t_ms);
bool head_newest(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                 struct sample *out);

/* Whether ref may have samples in the time range, frozen ones counted as in head_read. */
bool head_has_samples(struct head *h, uint32_t ref, int64_t min_t_ms, int64_t max_t_ms,
                      uint64_t after);

/* All refs with frozen samples, in labels_cmp order, malloc'd. Puts the frozen samples of each in
 * order, of equal times the first. For the flusher alone. ERR_NOMEM. */
MUST_USE enum errc head_settle_frozen(struct head *h, uint32_t **refs, size_t *n);

/* Replaces out by the settled samples of ref in min_t_ms..max_t_ms, at the cost of those. Settled
 * runs do not change, so this stops nobody. ERR_NOMEM. */
MUST_USE enum errc head_read_frozen(struct head *h, uint32_t ref, int64_t min_t_ms,
                                    int64_t max_t_ms, struct column *out);

struct head_stats {
    uint64_t series; /* that have not been removed */
    uint64_t samples, bytes;
    uint64_t index_bytes;       /* of the series' labels and postings, not in bytes */
    int64_t min_t_ms, max_t_ms; /* of what it holds; min > max when empty */
};
void head_stats(struct head *h, struct head_stats *out);
