/* db_flush.c -- moving the head's samples to the day files, and dropping days that are too old.
 *
 * A flush: cut the log, which freezes the head between two records; write each day touched, one
 * transaction a file; publish the flush in MANIFEST; wait until no view older than it is left; drop
 * the frozen runs and release the log. Each step may fail or the process may die: a day that was
 * committed is known by its flush number and is not written again, everything else is still in the
 * log and in the frozen runs, and the next flush goes on where this one stopped.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/db_private.h"
#include "storage/db_view.h"
#include "base/banned.h"

enum {
    KEEPER_PERIOD_S = 5,
    SWEEP_INTERVAL_MS = 3600000,
    LOG_SLACK_BYTES = 64 << 20, /* a segment */
};

void db_cut(void *ctx, uint64_t new_generation)
{
    struct db *db = ctx;

    head_freeze(db->head, new_generation - 1);
    exemplar_store_freeze(db->exemplars, new_generation - 1);
}

/* ---- writing the days ---- */

struct day_set {
    int64_t *days; /* increasing */
    size_t n, cap;
};

static bool day_set_add(struct day_set *s, int64_t day)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->days[mid] < day)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < s->n && s->days[lo] == day)
        return true;
    if (!vec_reserve(&s->days, &s->cap, s->n + 1, sizeof *s->days))
        return false;
    memmove(s->days + lo + 1, s->days + lo, (s->n - lo) * sizeof *s->days);
    s->days[lo] = day;
    s->n++;
    return true;
}

/* The exemplars of one series and day. Their labels live as long as the frozen ones. */
struct gather {
    struct stored_exemplar *items;
    size_t n, cap;
    int64_t day;
};

/* What one flush works on. */
struct flush {
    struct db *db;
    uint32_t *refs; /* series with frozen samples, sorted by labels */
    size_t n;
    struct day_set days;
    struct column column;
    struct arena *arena;
    uint32_t *exemplar_refs; /* increasing: series with exemplars to be written */
    size_t n_exemplar_refs;
    struct gather exemplars; /* of one series */
};

static int compare_refs(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static bool add_day_of(void *ctx, const struct stored_exemplar *e)
{
    return day_set_add(ctx, day_of(e->t_ms));
}

/* Finds the series with exemplars, and their days. Those without samples go to the end. */
static enum errc find_exemplars(struct flush *f, struct err *err)
{
    uint32_t *sorted = malloc((f->n + 1) * sizeof *sorted), *grown;
    size_t n = f->n;
    bool ok =
        sorted
        && exemplar_store_frozen_refs(f->db->exemplars, &f->exemplar_refs, &f->n_exemplar_refs)
        && (grown = realloc(f->refs, (n + f->n_exemplar_refs + 1) * sizeof *grown));

    if (ok) {
        f->refs = grown;
        if (n) {
            memcpy(sorted, f->refs, n * sizeof *sorted);
            qsort(sorted, n, sizeof *sorted, compare_refs);
        }
    }
    for (size_t i = 0; ok && i < f->n_exemplar_refs; i++) {
        uint32_t ref = f->exemplar_refs[i];

        ok = exemplar_store_each_frozen(f->db->exemplars, ref, add_day_of, &f->days);
        if (!n || !bsearch(&ref, sorted, n, sizeof *sorted, compare_refs))
            f->refs[f->n++] = ref;
    }
    free(sorted);
    return ok ? OK : err_set(err, ERR_NOMEM, 0, "no memory to flush");
}

static enum errc find_days(struct flush *f, struct err *err)
{
    size_t n_unreadable = 0;

    for (size_t i = 0; i < f->n; i++) {
        int64_t last = 0;

        if (head_read_frozen(f->db->head, f->refs[i], INT64_MIN, INT64_MAX, &f->column) != OK)
            return err_set(err, ERR_NOMEM, 0, "no memory to flush");
        n_unreadable += f->column.n_unreadable;
        for (size_t k = 0; k < f->column.n; k++) {
            int64_t day = day_of(f->column.t_ms[k]);

            if (k > 0 && day == last)
                continue;
            last = day;
            if (!day_set_add(&f->days, day))
                return err_set(err, ERR_NOMEM, 0, "no memory to flush");
        }
    }
    if (n_unreadable)
        log_error("histograms that cannot be decoded are left out of the flush", "histograms=%zu",
                  n_unreadable);
    return OK;
}

static bool gather_one(void *ctx, const struct stored_exemplar *e)
{
    struct gather *g = ctx;

    if (day_of(e->t_ms) != g->day)
        return true;
    if (!vec_reserve(&g->items, &g->cap, g->n + 1, sizeof *g->items))
        return false;
    g->items[g->n++] = *e;
    return true;
}

/* The exemplars of a series and day. Frozen ones do not change, so they may be kept. */
static enum errc gather_exemplars(struct flush *f, uint32_t ref, int64_t day, struct err *err)
{
    f->exemplars.n = 0;
    f->exemplars.day = day;
    if (!f->n_exemplar_refs
        || !bsearch(&ref, f->exemplar_refs, f->n_exemplar_refs, sizeof ref, compare_refs)
        || exemplar_store_each_frozen(f->db->exemplars, ref, gather_one, &f->exemplars))
        return OK;
    return err_set(err, ERR_NOMEM, 0, "no memory to flush");
}

static enum errc write_series(struct flush *f, struct day_writer *w, uint32_t ref, int64_t day,
                              struct err *err)
{
    struct labels ls;
    enum errc rc;

    if (head_read_frozen(f->db->head, ref, day_first_ms(day), day_last_ms(day), &f->column) != OK)
        return err_set(err, ERR_NOMEM, 0, "no memory to flush");
    rc = gather_exemplars(f, ref, day, err);
    if (rc != OK || (f->column.n == 0 && f->exemplars.n == 0))
        return rc;
    arena_reset(f->arena);
    head_lock_index(f->db->head);
    rc = head_labels(f->db->head, ref, f->arena, &ls, err);
    head_unlock_index(f->db->head);
    if (rc == OK)
        rc = day_writer_add(w, ls, &f->column, err);
    if (rc == OK && f->exemplars.n)
        rc = day_writer_add_exemplars(w, ls, f->exemplars.items, f->exemplars.n, err);
    return rc;
}

static enum errc add_to_newest(struct flush *f, int64_t number, uint64_t flush, struct err *err)
{
    struct day_writer *w = NULL;
    struct day *day = NULL;
    enum errc rc = days_get_newest(f->db->days, number, &day, err);

    if (rc != OK)
        return rc;
    if (day_last_flush(day) < flush) {
        rc = day_writer_begin(day, flush, &w, err);
        for (size_t i = 0; rc == OK && i < f->n; i++)
            rc = write_series(f, w, f->refs[i], number, err);
        if (rc == OK) {
            rc = day_writer_commit(w, err);
            w = NULL;
        }
        day_writer_abort(w);
    }
    day_unref(day);
    return rc;
}

/* A file that is damaged or full must not keep samples from the disk: another one is begun beside
 * it. */
static enum errc write_day(struct flush *f, int64_t number, uint64_t flush, struct err *err)
{
    for (;;) {
        enum errc rc = add_to_newest(f, number, flush, err);

        if (rc == OK)
            return OK;
        days_close_newest(f->db->days, number);
        if ((rc != ERR_CORRUPT && rc != ERR_FULL)
            || days_begin_file(f->db->days, number, NULL) != OK)
            return rc;
        atomic_fetch_add(&f->db->corruptions, rc == ERR_CORRUPT);
        log_error("a day file takes no more samples; beginning another for its day",
                  "reason=\"%s\"", err_text(err));
    }
}

static enum errc write_days(struct db *db, uint64_t flush, struct err *err)
{
    struct flush f = { .db = db, .arena = arena_new(0) };
    int64_t first = day_of(db_horizon(db));
    enum errc rc = f.arena && head_settle_frozen(db->head, &f.refs, &f.n) == OK
                       ? OK
                       : err_set(err, ERR_NOMEM, 0, "no memory to flush");

    if (rc == OK)
        rc = find_days(&f, err);
    if (rc == OK)
        rc = find_exemplars(&f, err);
    for (size_t i = 0; rc == OK && i < f.days.n; i++)
        if (f.days.days[i]
            >= first) /* what has left the retention meanwhile is not written any more */
            rc = write_day(&f, f.days.days[i], flush, err);
    free(f.refs);
    free(f.exemplar_refs);
    free(f.exemplars.items);
    free(f.days.days);
    column_free(&f.column);
    arena_free(f.arena);
    return rc;
}

/* ---- publishing ---- */

/* Views opened from now on read the day files; waits for those that read the frozen runs. */
static void publish(struct db *db, uint64_t flush)
{
    pthread_mutex_lock(&db->lock);
    db->flushed = flush;
    while (db_view_older_than(db->views, flush))
        pthread_cond_wait(&db->views_changed, &db->lock);
    pthread_mutex_unlock(&db->lock);
}

/* Lets the head forget series that have ended, now that all views from before the flush are gone. */
static void sweep(struct db *db)
{
    int64_t now_ns = clock_mono_ns(db->clock);
    size_t removed;

    if ((now_ns - db->last_sweep_ns) / 1000000 < SWEEP_INTERVAL_MS)
        return;
    db->last_sweep_ns = now_ns;
    removed = head_sweep(db->head);
    if (removed)
        log_info("series that have ended left memory", "series=%zu", removed);
}

static enum errc flush_locked(struct db *db, struct err *err)
{
    struct head_stats head;
    struct exemplar_stats exemplars;
    enum errc rc = OK;

    head_stats(db->head, &head);
    exemplar_store_stats(db->exemplars, &exemplars);
    if (db->frozen == 0 && head.samples == 0 && exemplars.exemplars == 0
        && days_released(db->days) + 1 >= wal_generation(db->wal)) /* nothing is to be published */
        return OK;
    if (db->frozen == 0)
        rc = wal_cut(db->wal, &db->frozen, err);
    if (rc == OK)
        rc = days_begin_flush(db->days, db->frozen, err);
    if (rc == OK)
        rc = write_days(db, db->frozen, err);
    if (rc == OK)
        rc = days_publish(db->days, db->frozen, err);
    if (rc != OK)
        return rc;
    publish(db, db->frozen);
    head_drop_frozen(db->head);
    exemplar_store_drop_frozen(db->exemplars);
    sweep(db);
    rc = wal_release(db->wal, db->frozen, err);
    db->frozen = 0;
    return rc;
}

enum errc db_flush_locked(struct db *db, struct err *err)
{
    bool resumed = db->frozen != 0;
    enum errc rc = flush_locked(db, err);

    if (rc == OK && resumed) /* what came after the flush that failed */
        rc = flush_locked(db, err);
    if (rc == OK)
        db->last_flush_ns = clock_mono_ns(db->clock);
    atomic_fetch_add(rc == OK ? &db->flushes : &db->flush_failures, 1);
    return rc;
}

enum errc db_flush(struct db *db, struct err *err)
{
    enum errc rc;

    if (!db->dir)
        return OK;
    pthread_mutex_lock(&db->flush_lock);
    rc = db_flush_locked(db, err);
    pthread_mutex_unlock(&db->flush_lock);
    return rc;
}

/* ---- the keeper: a thread that flushes when it is time and retires old days ---- */

/* Repeated samples fill the log and not the head, so the log counts as well. */
static bool flush_is_due(struct db *db)
{
    struct head_stats head;
    struct wal_stats log;
    int64_t age_ms;

    pthread_mutex_lock(&db->flush_lock);
    age_ms = (clock_mono_ns(db->clock) - db->last_flush_ns) / 1000000;
    pthread_mutex_unlock(&db->flush_lock);
    head_stats(db->head, &head);
    wal_stats(db->wal, &log);
    return head.bytes > db->options.head_bytes || age_ms > db->options.flush_interval_ms
           || log.segment_bytes / 2 > db->options.head_bytes + LOG_SLACK_BYTES;
}

bool db_keep(struct db *db)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    bool ok = true;

    if (flush_is_due(db) && db_flush(db, &err) != OK) {
        log_error("flush failed; the samples stay in the log and in memory", "reason=\"%s\"",
                  err_text(&err));
        ok = false;
    }
    db_retire(db);
    arena_free(a);
    return ok;
}

static void *keeper_main(void *arg)
{
    struct db *db = arg;
    bool ok = true;

    pthread_mutex_lock(&db->keeper_lock);
    while (!db->stopping) {
        struct timespec until;
        int waited = 0;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += KEEPER_PERIOD_S;
        while (!db->stopping && waited == 0 && !(ok && db->flush_wanted))
            waited = pthread_cond_timedwait(&db->keeper_wakes, &db->keeper_lock, &until);
        db->flush_wanted = false;
        if (db->stopping)
            break;
        pthread_mutex_unlock(&db->keeper_lock);
        ok = db_keep(db);
        pthread_mutex_lock(&db->keeper_lock);
    }
    pthread_mutex_unlock(&db->keeper_lock);
    return NULL;
}

void db_keeper_wake(struct db *db)
{
    pthread_mutex_lock(&db->keeper_lock);
    db->flush_wanted = true;
    pthread_cond_signal(&db->keeper_wakes);
    pthread_mutex_unlock(&db->keeper_lock);
}

enum errc db_keeper_start(struct db *db, struct err *err)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&db->keeper_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&db->keeper_wakes, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&db->keeper, NULL, keeper_main, db) != 0)
        return err_set(err, ERR_NOMEM, 0, "cannot start the storage thread");
    db->keeper_runs = true;
    return OK;
}

void db_keeper_stop(struct db *db)
{
    pthread_mutex_lock(&db->keeper_lock);
    db->stopping = true;
    pthread_cond_signal(&db->keeper_wakes);
    pthread_mutex_unlock(&db->keeper_lock);
    pthread_join(db->keeper, NULL);
    pthread_mutex_destroy(&db->keeper_lock);
    pthread_cond_destroy(&db->keeper_wakes);
}
