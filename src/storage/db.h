/* db.h -- the store: everything the rest of the program may ask of samples on disk and in memory.
 *
 * A db is a data directory (log/, days/, MANIFEST, state.mdb; docs/storage_format.md), or lives in
 * memory only, with the same behaviour, when dir is NULL (unit tests, rule tests).
 *
 * Promise: db_append() returns OK only when every stored sample is on stable storage and visible to
 * the next db_view.
 *
 * Threads: every function may be called from any thread, except that one db_view belongs to one
 * thread at a time and is closed before its db.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "storage/histogram.h"
#include "storage/labels.h"
#include "storage/matcher.h"
#include "storage/sample.h"

struct arena;
struct db;
struct day_txn;
struct db_view;
struct head;
struct selected;
struct wal_io;

struct db_options {
    const char *dir;          /* NULL: memory only */
    int64_t retention_ms;     /* 15 days by default */
    uint64_t retention_bytes; /* of day files and log; 0 (default): any */
    size_t map_bytes;         /* of each LMDB file; 16 GiB by default, 256 MiB in tests */
    size_t head_bytes;        /* flush when the head's samples take more; 512 MiB by default */
    uint64_t series_limit;    /* refuse new series when so many are known; 0, the default: none */
    size_t index_bytes; /* refuse new series when the labels of those known take more; 4 GiB */
    int64_t flush_interval_ms; /* and at least this often; 2 h by default */
    struct label_limits label_limits;
    const struct clock *clock;   /* NULL: clock_system */
    const struct wal_io *log_io; /* NULL: the system's; tests make it fail (wal_pool.h) */
};

/* The defaults, in memory only. */
struct db_options db_options_default(void);

/* Opens (creating what is missing) and recovers every acknowledged sample; progress goes to the
 * log. ERR_CONFLICT when another process has the directory, ERR_UNSUPPORTED for a newer format,
 * ERR_IO, ERR_CORRUPT, ERR_NOMEM. */
MUST_USE enum errc db_open(const struct db_options *options, struct db **out, struct err *err);

/* Flushes what is in memory and closes. NULL is fine. */
void db_close(struct db *db);

/* ---- writing ---- */

/* Why a sample or series was not stored; DB_REJECT_COUNT reasons, named by db_reject_name(). */
enum db_reject {
    DB_REJECT_LABELS,       /* malformed labels or over a label limit: the whole series */
    DB_REJECT_TOO_OLD,      /* before the retention */
    DB_REJECT_TOO_NEW,      /* more than 10 minutes ahead of the clock */
    DB_REJECT_DUPLICATE,    /* another value at a time that has one already */
    DB_REJECT_HISTOGRAM,    /* a histogram that contradicts itself: histogram_check() */
    DB_REJECT_SERIES_LIMIT, /* a new series, when there is no memory for more */
    DB_REJECT_COUNT
};
const char *
db_reject_name(enum db_reject reason); /* "labels", "too_old", ...: a metric label value */

/* One series of a request. Its labels need not be canonical: db_append sorts and checks them, in
 * place. A series that db_recognise_*() knew needs none. */
struct write_series {
    struct label *labels;
    size_t n_labels;
    uint32_t known;                       /* what db_recognise_*() returned, 0 without */
    size_t first_sample, n_samples;       /* in write_batch.samples */
    size_t first_histogram, n_histograms; /* in write_batch.histograms */
    size_t first_exemplar, n_exemplars;   /* in write_batch.exemplars */
    size_t n_rejected; /* out: floats and histograms of it that db_append() did not store; 1 for a
                        * series without any whose labels are bad */
};

/* A native histogram of a series, as its sender wrote it: db_append checks it. */
struct write_histogram {
    int64_t t_ms;
    int64_t start_ms; /* when it began at zero; 0 unknown */
    struct histogram h;
};

/* One observation that a series counted, with labels of its own, such as a trace id. Names and
 * values of the labels have at most 128 code points together. */
struct exemplar {
    struct labels labels;
    double v;
    int64_t t_ms;
};

enum metric_type {
    METRIC_UNKNOWN,
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_GAUGEHISTOGRAM,
    METRIC_SUMMARY,
    METRIC_INFO,
    METRIC_STATESET,
    METRIC_TYPE_COUNT
};
const char *metric_type_name(enum metric_type type); /* "unknown", "counter", ... */

struct metric_metadata {
    struct str family;
    enum metric_type type;
    struct str help, unit;
};

/* One request: arrays that the caller owns and keeps until db_append returns. */
struct write_batch {
    struct write_series *series;
    size_t n_series;
    const struct sample *samples;
    const int64_t *start_ms; /* of each sample, when its counter began at zero; 0 unknown. NULL:
                                of none */
    size_t n_samples;
    const struct write_histogram *histograms;
    size_t n_histograms;
    const struct exemplar *exemplars;
    size_t n_exemplars;
    const struct metric_metadata *metadata;
    size_t n_metadata;
    bool recognised;   /* db_recognise_*() has been asked about every series, */
    uint32_t found_at; /* when: db_recogniser.found_at */
};

struct write_result {
    uint64_t stored; /* floats and histograms stored, silent repeats of the same bits included */
    uint64_t stored_histograms; /* of these */
    uint64_t stored_exemplars;  /* repeats included */
    uint64_t
        exemplars_refused; /* bad labels, or a time or series that samples cannot have either */
    uint64_t exemplars_out_of_order;
    uint64_t
        rejected[DB_REJECT_COUNT]; /* samples (or series without samples) not stored, by reason */
    struct buf text; /* one line for each of the first rejections, naming the series; the caller
                      * frees it with buf_free() */
};

/* Whoever reads a request may ask, series by series, which of them the store knows: those it does are
 * recognised by one comparison if they come in the order of last time, and their labels need not be
 * read at all. The batch is appended after the end of it. Between begin and end the thread calls
 * nothing else of the store. */
struct db_recogniser {
    struct head *head; /* private, all of it; NULL: nothing is recognised */
    uint32_t last, found_at;
    struct buf key;
};
void db_recognise_begin(struct db_recogniser *r, struct db *db);
void db_recognise_end(struct db_recogniser *r);

/* If wire, the inside of a TimeSeries message of remote write, begins with the labels of the series
 * expected now: *n is the number of their bytes and the result its write_series.known; 0 if not. Another
 * label further on in wire makes it void. */
uint32_t db_recognise_wire(struct db_recogniser *r, struct bytes wire, size_t *n);
/* The same for labels that have been read; 0 for a series that is not known or not canonical. */
uint32_t db_recognise_labels(struct db_recogniser *r, struct labels ls);

/* Stores a batch and waits until it is durable and visible. OK also when some of it was rejected:
 * see res, which the caller zeroes first. Otherwise nothing was acknowledged: ERR_UNAVAILABLE (the
 * log failed; writes stay refused until a restart), ERR_TOO_LARGE, ERR_NOMEM. */
MUST_USE enum errc db_append(struct db *db, const struct write_batch *batch,
                             struct write_result *res, struct err *err);

/* ---- reading ---- */

/* A consistent view of all acknowledged samples with min_t_ms <= t <= max_t_ms. Close it with
 * db_view_close(). */
MUST_USE enum errc db_view_open(struct db *db, int64_t min_t_ms, int64_t max_t_ms,
                                struct db_view **out, struct err *err);
void db_view_close(struct db_view *v); /* NULL is fine */

/* A series found by db_select. In the select's arena; valid, with its labels, until the view is
 * closed. */
struct series {
    struct labels labels;
    /* private to the store from here on */
    const struct selected *found;
    struct day_txn *const *txns; /* of the places of found */
};

struct series_list {
    struct series *items; /* sorted by labels_cmp, each label set once */
    size_t n;
};

/* The series that satisfy all matchers and may have samples in the view's time range, narrowed to
 * min_t_ms..max_t_ms. ERR_LIMIT when the arena is full or a pattern exceeds its match limit,
 * ERR_CORRUPT, ERR_IO. */
MUST_USE enum errc db_select(struct db_view *v, const struct matcher *matchers, size_t n,
                             int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                             struct series_list *out, struct err *err);

/* Replaces out's samples by those of s with min_t_ms <= t <= max_t_ms, staleness markers included,
 * times strictly increasing. ERR_CORRUPT when a checksum fails: nothing wrong is ever returned. */
MUST_USE enum errc db_read(struct db_view *v, const struct series *s, int64_t min_t_ms,
                           int64_t max_t_ms, struct column *out, struct err *err);

struct exemplar_series {
    struct labels labels;
    struct exemplar *exemplars; /* in order of time, none twice */
    size_t n;
};

struct exemplar_list {
    struct exemplar_series *items; /* in labels_cmp order */
    size_t n;
};

/* The exemplars with min_t_ms <= t <= max_t_ms of all series that satisfy all matchers, whether they
 * have samples or not; series without any are left out. Everything is in the arena or lives as long
 * as the view. Of each flush a series keeps its newest 100 and all together the newest 100,000, and a
 * day that was rewritten keeps 1,000 of a series. ERR_LIMIT when the arena is full, ERR_CORRUPT. */
MUST_USE enum errc db_exemplars(struct db_view *v, const struct matcher *matchers, size_t n,
                                int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                                struct exemplar_list *out, struct err *err);

/* The same, but of the samples only the newest has to be there: often it can be had much cheaper. */
MUST_USE enum errc db_read_newest(struct db_view *v, const struct series *s, int64_t min_t_ms,
                                  int64_t max_t_ms, struct column *out, struct err *err);

struct str_list {
    struct str *items; /* sorted bytewise, each once */
    size_t n;
};

/* The label names, or the values of one label, of the series that satisfy all matchers (n 0: of
 * all). Texts are copied into the arena. */
MUST_USE enum errc db_label_names(struct db_view *v, const struct matcher *matchers, size_t n,
                                  struct arena *a, struct str_list *out, struct err *err);
MUST_USE enum errc db_label_values(struct db_view *v, struct str name,
                                   const struct matcher *matchers, size_t n, struct arena *a,
                                   struct str_list *out, struct err *err);

/* All metadata, sorted by family, copied into the arena. */
struct metadata_list {
    struct metric_metadata *items;
    size_t n;
};
MUST_USE enum errc db_metadata(struct db *db, struct arena *a, struct metadata_list *out,
                               struct err *err);

/* ---- small durable records: the states of rules ---- */

/* state.h's record; declared there. A store in memory keeps none. */
struct state_record;

/* Writes and deletes n records, durably, all or none. */
MUST_USE enum errc db_write_records(struct db *db, const struct state_record *records, size_t n,
                                    struct err *err);
/* Calls fn for each record in order of keys; false stops. */
MUST_USE enum errc db_each_record(struct db *db,
                                  bool (*fn)(void *ctx, const struct state_record *r), void *ctx,
                                  struct err *err);

/* ---- upkeep ---- */

/* Moves what the head holds to the day files, now. It waits until the views that are open now have
 * been closed, so the caller must not have one. */
MUST_USE enum errc db_flush(struct db *db, struct err *err);

/* Deletes the samples in min_t_ms..max_t_ms of the series that one of the selectors selects, durably:
 * later reads do not find them, and the rewriting of a day frees their space. Samples that are
 * appended after the call are kept, whatever their time. Flushes the head first; the caller must not
 * have a view. After an error some of it may be deleted already. ERR_UNSUPPORTED in memory,
 * ERR_LIMIT, and as db_flush() and db_select(). */
struct db_selector {
    const struct matcher *matchers;
    size_t n;
};
MUST_USE enum errc db_delete(struct db *db, const struct db_selector *selectors, size_t n,
                             int64_t min_t_ms, int64_t max_t_ms, struct err *err);

/* Copies the store, consistent as of one moment, while it goes on: into a directory of its own under
 * snapshots/ that opens as a data directory, has been verified, and is durable. The head is flushed
 * first, or left out with skip_head. name is the directory's. ERR_UNSUPPORTED in memory,
 * ERR_UNAVAILABLE when there is no room for it, ERR_CANCELED, ERR_CORRUPT when something of the
 * store is damaged (nothing is left of the copy then), and as db_flush(). */
enum { DB_SNAPSHOT_NAME_MAX = 40 };
MUST_USE enum errc db_snapshot(struct db *db, bool skip_head, const atomic_bool *cancel,
                               char name[DB_SNAPSHOT_NAME_MAX], struct err *err);

/* Rewrites the days that have something deleted, so that its space is free. Errors as db_compact().
 */
MUST_USE enum errc db_clean(struct db *db, const atomic_bool *cancel, struct err *err);

/* Rewrites every day, today's included, that is not one file written in one go: late samples are
 * folded in, deleted ones left out. Closed days are rewritten so in the background anyway. It may
 * take minutes; it ends with ERR_CANCELED soon after *cancel (NULL: never) has become true. Errors as
 * db_flush(); ERR_CORRUPT when something of a day cannot be read: that day stays as it is. */
MUST_USE enum errc db_compact(struct db *db, const atomic_bool *cancel, struct err *err);

/* Counters and gauges for /metrics and /-/healthy. */
struct db_stats {
    uint64_t samples_appended, samples_rejected[DB_REJECT_COUNT];
    uint64_t histograms_appended;          /* of samples_appended */
    uint64_t samples_repeated;             /* the same: there already, bit for bit */
    uint64_t late_floats, late_histograms; /* the same: older than others of their series */
    uint64_t too_old_histograms;           /* of samples_rejected[DB_REJECT_TOO_OLD] */
    uint64_t exemplars_appended, exemplars_out_of_order;
    uint64_t exemplars, series_with_exemplars; /* not yet in day files */
    int64_t exemplars_newest_t_ms;             /* of these; INT64_MIN without */
    uint64_t head_series, head_samples, head_bytes;
    int64_t min_t_ms, max_t_ms; /* of all samples; min > max when there are none */
    uint64_t log_bytes, log_syncs, log_records_skipped;
    uint64_t flushes, flush_failures;
    uint64_t days, disk_bytes;
    uint64_t corruptions;                      /* checksum failures met while reading */
    uint64_t compactions, compaction_failures; /* of single days */
    uint64_t compaction_bytes_read, compaction_bytes_written;
    double compaction_seconds;
    uint64_t scrub_passes, scrub_values, scrub_bytes, scrub_faults;
    uint64_t retired;         /* day files dropped ... */
    uint64_t size_retentions; /* ... and how often some of them for want of room */
    uint64_t retention_bytes;
    bool write_failed; /* the log could not be synced: writes are refused until a restart */
};
void db_stats(struct db *db, struct db_stats *out);
