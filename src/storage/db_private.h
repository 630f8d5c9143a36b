/* db_private.h -- the inside of a db, shared by the db_*.c files only.
 *
 *   db_append ── record ── log (wal.h) ── committer ──▶ head        db_append.c
 *                                                        │
 *                       freeze the head, write each day, │
 *                       publish, drop the frozen runs    ▼           db_flush.c
 *                                                        day files
 *
 *   db_view ◀── frozen and open runs of the head, day files up to    db_view.c
 *               its flush number
 *
 * A flush takes the number of the log generation it empties. A view notes the newest published
 * flush (max_flush) and sees day files up to it, and of the head everything of later generations:
 * each sample exactly once. Frozen runs are dropped when no view older than their flush is left.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/days.h"
#include "storage/db.h"
#include "storage/exemplar_store.h"
#include "storage/head.h"
#include "storage/metadata.h"
#include "storage/selection.h"
#include "storage/state.h"
#include "storage/wal.h"

enum { DB_MAX_AHEAD_MS = 600000 }; /* samples further in the future are refused */

/* The state of a replay between two records. */
struct replay {
    uint64_t generation;
    struct arena *arena; /* for one definition at a time */
    uint32_t *refs; /* of this generation's refs in the log to the head's; HEAD_NO_SERIES unknown */
    size_t n_refs, cap_refs;
    int64_t day; /* of the last sample, and the newest flush its file has */
    bool day_known;
    uint64_t day_flushed;
    uint64_t samples, unknown,
        malformed; /* recovered; of series whose definition is lost; records skipped */
};

/* When a day may be rewritten again. */
struct day_pause {
    int64_t day, until_ns;
};

/* The rewriting, deleting and checking of day files (db_compact.c). */
struct upkeep {
    pthread_mutex_t work;     /* one at a time; taken before flush_lock */
    atomic_uint waiting;      /* requests that want it: what runs in the background steps back */
    struct day_pause *pauses; /* guarded by work */
    size_t n_pauses, cap_pauses;

    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    pthread_cond_t wakes;
    bool stopping; /* guarded by lock */

    /* of the scrubber, in the thread alone: */
    bool in_pass;                 /* some files have been scrubbed ... */
    struct manifest_day scrubbed; /* ... up to this one */
    int64_t scrub_at_ns;          /* when the next pass begins; 0 before it is known */
    struct manifest_day *damaged; /* files whose faults have been logged */
    size_t n_damaged, cap_damaged;

    _Atomic uint64_t compactions, failures, took_ns, bytes_read, bytes_written;
    _Atomic uint64_t scrub_passes, scrub_values, scrub_bytes, scrub_faults;
};

struct db {
    struct db_options options;
    const struct clock *clock;
    char *dir;   /* NULL: memory only, as are wal, days and state */
    int lock_fd; /* of dir/LOCK, -1 without */
    struct head *head;
    struct exemplar_store *exemplars;
    struct selection_cache *selections;
    struct metadata_map *metadata;
    struct wal *wal;
    struct days *days;
    struct state *state;
    struct replay *replay; /* while the log is replayed */

    pthread_mutex_t append_lock; /* memory only: appliers one at a time */

    pthread_mutex_t lock;
    pthread_cond_t views_changed;
    /* guarded by lock: */
    uint64_t flushed;      /* newest published flush number */
    struct db_view *views; /* open ones */

    pthread_mutex_t flush_lock; /* one flush at a time */
    uint64_t frozen;       /* generation of the frozen runs, 0 without; guarded by flush_lock */
    int64_t last_flush_ns; /* guarded by flush_lock, as is the next */
    int64_t last_sweep_ns;

    struct upkeep upkeep;

    pthread_t keeper; /* flushes and retires days in the background */
    bool keeper_runs;
    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_wakes;
    bool stopping, flush_wanted; /* guarded by keeper_lock */

    _Atomic int64_t oldest_t_ms; /* days before it have been dropped for want of room */
    _Atomic int64_t newest_t_ms; /* newest sample ever seen; INT64_MIN without one */
    _Atomic uint64_t appended, rejected[DB_REJECT_COUNT], flushes, flush_failures, corruptions;
    _Atomic uint64_t exemplars_appended, exemplars_out_of_order;
    _Atomic uint64_t histograms_appended, repeated, late_floats, late_histograms,
        too_old_histograms;
    _Atomic uint64_t retired, size_retentions;
};

/* The oldest time that is kept: retention counts from the earlier of clock and newest sample, so
 * that a clock that jumps ahead deletes nothing. */
int64_t db_horizon(const struct db *db);

/* Applies a durable record to the head: wal_options.apply. user is a struct append or NULL. */
void db_apply(void *ctx, uint64_t generation, struct bytes record, void *user);

/* wal_options.cut. */
void db_cut(void *ctx, uint64_t new_generation);

/* wal_options.replay. */
MUST_USE enum errc db_replay(void *ctx, uint64_t generation, struct bytes record, struct err *err);

/* The labels of an exemplar as they are stored, in the arena: sorted, without empty ones. False when
 * they are too long, not UTF-8, have no name or one name twice, or the arena is full. */
bool db_exemplar_labels(const struct exemplar *e, struct arena *a, struct labels *out);

/* Adds an exemplar that the log has. */
enum exemplar_result db_add_exemplar(struct db *db, uint32_t ref, int64_t t_ms, double v,
                                     struct bytes encoded_labels);

/* What the keeper does every few seconds: flushes when it is time, retires days. False when a flush
 * failed: it is tried again after a pause. */
bool db_keep(struct db *db);

/* Removes what snapshots that were not finished have left. */
void db_tidy_snapshots(struct db *db);

/* db_flush() for who holds flush_lock. */
MUST_USE enum errc db_flush_locked(struct db *db, struct err *err);

/* Drops the days that are beyond the retention, by time and by size (db_retention.c). */
void db_retire(struct db *db);

/* Starts and stops the keeper, the thread that does so. */
MUST_USE enum errc db_keeper_start(struct db *db, struct err *err);
void db_keeper_stop(struct db *db);
/* Asks it to see at once whether a flush is due. */
void db_keeper_wake(struct db *db);

/* Rewrites one day that is due, gently; false when there is none. What the thread of upkeep does
 * every few seconds. */
bool db_upkeep_step(struct db *db);

/* Sleeps so long; false as soon as the thread is to stop. */
bool db_upkeep_rest(struct upkeep *u, int64_t ns);

/* Scrubs the next day file when it is time (db_scrub.c); false when there was nothing to do. */
bool db_scrub_step(struct db *db);

void db_upkeep_init(struct upkeep *u);
void db_upkeep_destroy(struct upkeep *u);
MUST_USE enum errc db_upkeep_start(struct db *db, struct err *err);
void db_upkeep_stop(struct db *db);

/* Takes upkeep.work for a request, which what runs in the background makes way for. */
void db_upkeep_lock(struct db *db);
void db_upkeep_unlock(struct db *db);
