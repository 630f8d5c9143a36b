#include "storage/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "storage/db_private.h"
#include "base/banned.h"

#define FORMAT_VERSION "1"

enum { SELECTION_CACHE_BYTES = 16 << 20 };

struct db_options db_options_default(void)
{
    return (struct db_options){
        .retention_ms = 15 * (int64_t)DAY_MS,
        .map_bytes = (size_t)16 << 30,
        .head_bytes = (size_t)512 << 20,
        .index_bytes = (size_t)4 << 30,
        .flush_interval_ms = 2 * 3600 * 1000,
        .label_limits = label_limits_default,
        .clock = &clock_system,
    };
}

int64_t db_horizon(const struct db *db)
{
    int64_t now = clock_wall_ms(db->clock), newest = atomic_load(&db->newest_t_ms), horizon;
    int64_t oldest = atomic_load(&db->oldest_t_ms);

    if (newest != INT64_MIN && newest < now)
        now = newest;
    if (__builtin_sub_overflow(now, db->options.retention_ms, &horizon))
        horizon = INT64_MIN;
    return horizon > oldest ? horizon : oldest;
}

/* ---- opening ---- */

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = malloc(n);

    if (path)
        snprintf(path, n, "%s/%s", dir, name);
    return path;
}

/* VERSION is written once; a newer one means a newer tidemark has been here. */
static enum errc check_version(const char *dir, struct err *err)
{
    char *path = join(dir, "VERSION");
    struct buf text = { 0 };
    enum errc rc = path ? fs_read_file(path, 64, &text, err)
                        : err_set(err, ERR_NOMEM, 0, "no memory for a path");

    if (rc == ERR_NOT_FOUND) {
        rc = fs_write_atomic(dir, "VERSION",
                             (struct bytes){ (const uint8_t *)FORMAT_VERSION "\n", 2 }, err);
    } else if (rc == OK) {
        struct str found = buf_as_str(&text);

        while (found.len && (found.ptr[found.len - 1] == '\n' || found.ptr[found.len - 1] == ' '))
            found.len--;
        if (!str_is(found, FORMAT_VERSION))
            rc = err_set(err, ERR_UNSUPPORTED, 0,
                         "%s: data format \"%.*s\" is not known to this version, which writes "
                         "format %s; run a newer tidemark",
                         path, STR_ARG(found), FORMAT_VERSION);
    }
    buf_free(&text);
    free(path);
    return rc;
}

static enum errc lock_dir(struct db *db, struct err *err)
{
    char *path = join(db->dir, "LOCK");
    enum errc rc = path ? fs_lock(path, &db->lock_fd, err)
                        : err_set(err, ERR_NOMEM, 0, "no memory for a path");

    free(path);
    return rc;
}

/* Opens the log, which replays what no day file has. */
static enum errc open_log(struct db *db, struct err *err)
{
    struct wal_options w = wal_options_default();
    struct replay replay = { .arena = arena_new(0) };
    char *dir = join(db->dir, "log");
    int64_t start_ns = clock_mono_ns(db->clock);
    enum errc rc;

    if (!dir || !replay.arena) {
        free(dir);
        arena_free(replay.arena);
        return err_set(err, ERR_NOMEM, 0, "no memory to open the log");
    }
    w.dir = dir;
    w.released = days_released(db->days);
    w.used = days_begun(db->days);
    w.ctx = db;
    db->replay = &replay;
    w.replay = db_replay;
    w.apply = db_apply;
    w.cut = db_cut;
    w.io = db->options.log_io;
    rc = wal_open(&w, &db->wal, err);
    if (rc == OK)
        log_info("log replayed",
                 "samples=%llu seconds=%.3f unknown_series_samples=%llu malformed_records=%llu",
                 (unsigned long long)replay.samples,
                 (double)(clock_mono_ns(db->clock) - start_ns) / 1e9,
                 (unsigned long long)replay.unknown, (unsigned long long)replay.malformed);
    db->replay = NULL;
    free(replay.refs);
    arena_free(replay.arena);
    free(dir);
    return rc;
}

static bool load_metadata_entry(void *ctx, const struct metric_metadata *m)
{
    bool unsaved;

    if (metadata_map_put(ctx, m, 1, &unsaved, NULL) != OK)
        return false;
    metadata_map_saved(ctx, m, 1);
    return true;
}

static enum errc open_state(struct db *db, struct err *err)
{
    char *path = join(db->dir, "state.mdb");
    enum errc rc = path ? state_open(path, db->options.map_bytes, &db->state, err)
                        : err_set(err, ERR_NOMEM, 0, "no memory for a path");

    if (rc == OK)
        rc = state_each_metadata(db->state, load_metadata_entry, db->metadata, err);
    free(path);
    return rc;
}

/* Not before the newest sample of the day files: those are told by whole days, but none was more
 * than so far ahead of the clock, unless that has been set back by days. */
static int64_t newest_in_days(const struct db *db, const struct days_stats *days)
{
    int64_t ahead_ms = clock_wall_ms(db->clock) + DB_MAX_AHEAD_MS;

    if (days->days == 0)
        return INT64_MIN;
    return day_of(days->max_t_ms) > day_of(ahead_ms) || days->max_t_ms < ahead_ms ? days->max_t_ms
                                                                                  : ahead_ms;
}

static enum errc open_dir(struct db *db, struct err *err)
{
    struct days_stats days;
    enum errc rc = fs_make_dirs(db->dir, err);

    if (rc == OK)
        rc = lock_dir(db, err);
    if (rc == OK)
        rc = check_version(db->dir, err);
    if (rc == OK)
        rc = open_state(db, err);
    if (rc == OK)
        rc = days_open(db->dir, db->options.map_bytes, &db->days, err);
    if (rc != OK)
        return rc;
    days_stats(db->days, &days);
    if (days.days) /* the last day's start is the safe side: a day may be kept a day longer */
        db->newest_t_ms = day_first_ms(day_of(days.max_t_ms));
    head_note_flushed(db->head, newest_in_days(db, &days));
    rc = open_log(db, err);
    if (rc != OK)
        return rc;
    /* Not what MANIFEST has released: a day may have been committed by a flush that never came to
     * be published, and its samples were left out of the replay. */
    db->flushed = wal_generation(db->wal) - 1;
    db_tidy_snapshots(db);
    rc = db_keeper_start(db, err);
    return rc == OK ? db_upkeep_start(db, err) : rc;
}

enum errc db_open(const struct db_options *options, struct db **out, struct err *err)
{
    struct db *db = calloc(1, sizeof *db);
    enum errc rc = OK;

    if (!db)
        return err_set(err, ERR_NOMEM, 0, "no memory for a store");
    db->options = *options;
    db->clock = options->clock ? options->clock : &clock_system;
    db->newest_t_ms = db->oldest_t_ms = INT64_MIN;
    db->lock_fd = -1;
    pthread_mutex_init(&db->append_lock, NULL);
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->views_changed, NULL);
    pthread_mutex_init(&db->flush_lock, NULL);
    db_upkeep_init(&db->upkeep);
    db->last_flush_ns = db->last_sweep_ns = clock_mono_ns(db->clock);
    db->head = head_new();
    db->exemplars = exemplar_store_new();
    db->selections = selection_cache_new(SELECTION_CACHE_BYTES);
    db->metadata = metadata_map_new(METADATA_MAX_BYTES);
    db->dir = options->dir ? strdup(options->dir) : NULL;
    if (!db->head || !db->exemplars || !db->selections || !db->metadata
        || (options->dir && !db->dir))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a store");
    if (rc == OK && db->dir)
        rc = open_dir(db, err);
    if (rc != OK) {
        db_close(db);
        return rc;
    }
    *out = db;
    return OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_upkeep_stop(db);
    if (db->keeper_runs) {
        struct arena *texts = arena_new(0);
        struct err err = err_in(texts);

        db_keeper_stop(db);
        if (db_flush(db, &err) != OK)
            log_warn("the last flush failed; the log keeps its samples", "reason=\"%s\"",
                     err_text(&err));
        arena_free(texts);
    }
    ASSERT(!db->views);
    wal_close(db->wal);
    days_close(db->days);
    state_close(db->state);
    selection_cache_free(db->selections);
    head_free(db->head);
    exemplar_store_free(db->exemplars);
    metadata_map_free(db->metadata);
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    pthread_mutex_destroy(&db->append_lock);
    pthread_mutex_destroy(&db->lock);
    pthread_cond_destroy(&db->views_changed);
    pthread_mutex_destroy(&db->flush_lock);
    db_upkeep_destroy(&db->upkeep);
    free(db->dir);
    free(db);
}

enum errc db_metadata(struct db *db, struct arena *a, struct metadata_list *out, struct err *err)
{
    return metadata_map_list(db->metadata, a, out, err);
}

enum errc db_write_records(struct db *db, const struct state_record *records, size_t n,
                           struct err *err)
{
    return db->state ? state_write_records(db->state, records, n, err) : OK;
}

enum errc db_each_record(struct db *db, bool (*fn)(void *ctx, const struct state_record *r),
                         void *ctx, struct err *err)
{
    return db->state ? state_each_record(db->state, fn, ctx, err) : OK;
}

void db_stats(struct db *db, struct db_stats *out)
{
    struct head_stats head;
    struct days_stats days = { .min_t_ms = INT64_MAX, .max_t_ms = INT64_MIN };
    struct wal_stats log = { 0 };
    struct exemplar_stats exemplars;

    head_stats(db->head, &head);
    exemplar_store_stats(db->exemplars, &exemplars);
    if (db->days)
        days_stats(db->days, &days);
    if (db->wal)
        wal_stats(db->wal, &log);
    *out = (struct db_stats){
        .samples_appended = db->appended,
        .histograms_appended = db->histograms_appended,
        .samples_repeated = db->repeated,
        .late_floats = db->late_floats,
        .late_histograms = db->late_histograms,
        .too_old_histograms = db->too_old_histograms,
        .exemplars_appended = db->exemplars_appended,
        .exemplars_out_of_order = db->exemplars_out_of_order,
        .exemplars = exemplars.exemplars,
        .series_with_exemplars = exemplars.series,
        .exemplars_newest_t_ms = exemplars.newest_t_ms,
        .head_series = head.series,
        .head_samples = head.samples,
        .head_bytes = head.bytes,
        .min_t_ms = head.min_t_ms < days.min_t_ms ? head.min_t_ms : days.min_t_ms,
        .max_t_ms = head.max_t_ms > days.max_t_ms ? head.max_t_ms : days.max_t_ms,
        .log_bytes = log.segment_bytes,
        .log_syncs = log.syncs,
        .log_records_skipped = log.skipped,
        .flushes = db->flushes,
        .flush_failures = db->flush_failures,
        .days = days.days,
        .disk_bytes = days.bytes + log.segment_bytes,
        .corruptions = db->corruptions,
        .write_failed = log.failed,
        .retired = db->retired,
        .size_retentions = db->size_retentions,
        .retention_bytes = db->options.retention_bytes,
        .compactions = db->upkeep.compactions,
        .compaction_failures = db->upkeep.failures,
        .scrub_passes = db->upkeep.scrub_passes,
        .scrub_values = db->upkeep.scrub_values,
        .scrub_bytes = db->upkeep.scrub_bytes,
        .scrub_faults = db->upkeep.scrub_faults,
        .compaction_seconds = (double)db->upkeep.took_ns / 1e9,
        .compaction_bytes_read = db->upkeep.bytes_read,
        .compaction_bytes_written = db->upkeep.bytes_written,
    };
    for (int i = 0; i < DB_REJECT_COUNT; i++)
        out->samples_rejected[i] = db->rejected[i];
}
