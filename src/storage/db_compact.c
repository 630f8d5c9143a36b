/* db_compact.c -- rewriting day files.
 *
 * A day is filled by many flushes and perhaps in several files. Once its time has passed it is
 * rewritten as one file with one flush, whose number is the newest that it holds; again when enough
 * late samples have come. It begins when no flush is unfinished, so that all its files hold is
 * published and no view is older; flushes that come meanwhile begin another file beside the new
 * one. The new file takes the place of the old ones with one replacement of MANIFEST. Before that
 * the old files are the store's and the new one is a stray, afterwards it is the other way round:
 * whenever the process dies, nothing is lost and nothing is there twice.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/day_merge.h"
#include "storage/db_private.h"
#include "storage/kv.h"
#include "base/banned.h"

enum {
    UPKEEP_PERIOD_S = 10,
    NICENESS = 10,
    SLICE_MS = 10,                /* works so long, then rests as long */
    GRACE_MS = 3600 * 1000,       /* after the end of a day, in the time of samples ... */
    LONG_GRACE_MS = 6 * GRACE_MS, /* ... also when some of it is still in memory */
    PAUSE_MS = 3600 * 1000,       /* between two rewritings of a day */
    LATE_SHARE = 20,              /* 1/20 of the samples may have come apart from the others */
    MAX_FLUSHES = 64,             /* each costs a look-up when a series is read */
    SPARE_BYTES = 64 << 20,       /* to be left on the disk */
};

/* ---- pacing ---- */

struct pace {
    struct db *db;
    bool gentle;               /* rests between slices and steps back when a request waits */
    const atomic_bool *cancel; /* NULL: never */
    int64_t since_ns;          /* the last rest */
};

static int64_t mono_ns(void)
{
    return clock_mono_ns(&clock_system);
}

bool db_upkeep_rest(struct upkeep *u, int64_t ns)
{
    struct timespec until;
    bool go_on;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec += ns % 1000000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&u->lock);
    while (!u->stopping && pthread_cond_timedwait(&u->wakes, &u->lock, &until) == 0)
        ;
    go_on = !u->stopping;
    pthread_mutex_unlock(&u->lock);
    return go_on;
}

static bool is_stopping(struct upkeep *u)
{
    bool stopping;

    pthread_mutex_lock(&u->lock);
    stopping = u->stopping;
    pthread_mutex_unlock(&u->lock);
    return stopping;
}

static bool go_on(void *ctx)
{
    struct pace *p = ctx;
    int64_t worked_ns = mono_ns() - p->since_ns;
    bool ok;

    if (worked_ns < SLICE_MS * 1000000LL)
        return true;
    if (p->gentle)
        ok = atomic_load(&p->db->upkeep.waiting) == 0 && db_upkeep_rest(&p->db->upkeep, worked_ns);
    else
        ok = !is_stopping(&p->db->upkeep) && !(p->cancel && atomic_load(p->cancel));
    p->since_ns = mono_ns();
    return ok;
}

/* ---- one day ---- */

struct rewrite {
    struct db *db;
    struct day_rewrite r;
    struct day **sources;
    uint64_t flush, bytes;
};

/* Begins between two flushes. */
static enum errc begin_rewrite(struct rewrite *w, int64_t day, struct err *err)
{
    struct db *db = w->db;
    enum errc rc;

    pthread_mutex_lock(&db->flush_lock);
    rc = db->frozen ? err_set(err, ERR_CONFLICT, 0, "a flush is to be finished first")
                    : days_begin_rewrite(db->days, day, &w->r, err);
    pthread_mutex_unlock(&db->flush_lock);
    return rc;
}

static enum errc open_sources(struct rewrite *w, struct err *err)
{
    enum errc rc = OK;

    w->sources = calloc(w->r.files.n + 1, sizeof *w->sources);
    if (!w->sources)
        return err_set(err, ERR_NOMEM, 0, "no memory to rewrite a day");
    for (size_t i = 0; rc == OK && i < w->r.files.n; i++) {
        rc = day_file_open(w->r.files.items[i], &w->sources[i], err);
        if (rc != OK)
            return rc;
        if (day_last_flush(w->sources[i]) > w->flush)
            w->flush = day_last_flush(w->sources[i]);
        w->bytes += day_file_bytes(w->sources[i]);
    }
    return OK;
}

/* A rewriting that filled the disk would stop the log. */
static enum errc check_space(const struct rewrite *w, struct err *err)
{
    uint64_t available;

    if (fs_has_room(w->db->dir, w->bytes, &available))
        return OK;
    return err_set(err, ERR_UNAVAILABLE, 0,
                   "%s: %llu bytes are to be rewritten, and only %llu are free on the disk",
                   w->r.path, (unsigned long long)w->bytes, (unsigned long long)available);
}

static enum errc write_target(struct rewrite *w, struct pace *pace, struct day **out,
                              struct err *err)
{
    struct day_merge m = {
        .sources = w->sources, .n = w->r.files.n, .flush = w->flush, .go_on = go_on, .ctx = pace
    };
    uint64_t n_samples = 0;
    enum errc rc = day_open(w->r.path, w->r.id.day, w->db->options.map_bytes, true, &m.target, err);

    if (rc == OK && w->flush > 0)
        rc = day_merge(&m, &n_samples, err);
    if (rc == OK && n_samples > 0) {
        *out = m.target;
        return OK;
    }
    day_unref(m.target);
    *out = NULL; /* nothing is left of the day */
    return rc == OK ? kv_remove(w->r.path, err) : rc;
}

static enum errc rewrite(struct rewrite *w, struct pace *pace, struct err *err)
{
    struct day *made = NULL;
    char name[DAY_NAME_MAX];
    uint64_t bytes;
    enum errc rc = open_sources(w, err);

    if (rc == OK)
        rc = check_space(w, err);
    if (rc == OK)
        rc = write_target(w, pace, &made, err);
    for (size_t i = 0; w->sources && i < w->r.files.n; i++)
        day_unref(w->sources[i]);
    free(w->sources);
    if (rc != OK) {
        days_abort_rewrite(w->db->days, &w->r);
        return rc;
    }
    bytes = made ? day_file_bytes(made) : 0;
    day_file_name(w->r.id.day, w->r.id.generation, name);
    rc = days_finish_rewrite(w->db->days, &w->r, made, err);
    if (rc == OK) {
        atomic_fetch_add(&w->db->upkeep.bytes_read, w->bytes);
        atomic_fetch_add(&w->db->upkeep.bytes_written, bytes);
        log_info("day rewritten", "file=%s bytes_before=%llu bytes=%llu", name,
                 (unsigned long long)w->bytes, (unsigned long long)bytes);
    }
    return rc;
}

/* The caller has upkeep.work. */
static enum errc rewrite_day(struct db *db, int64_t day, struct pace *pace, struct err *err)
{
    struct rewrite w = { .db = db };
    int64_t began_ns = mono_ns();
    enum errc rc = begin_rewrite(&w, day, err);

    if (rc != OK)
        return rc;
    pace->since_ns = mono_ns();
    rc = rewrite(&w, pace, err);
    if (rc == OK)
        atomic_fetch_add(&db->upkeep.compactions, 1);
    else if (rc != ERR_CANCELED)
        atomic_fetch_add(&db->upkeep.failures, 1);
    atomic_fetch_add(&db->upkeep.took_ns, (uint64_t)(mono_ns() - began_ns));
    return rc;
}

/* ---- which day ---- */

enum reason { WORTHWHILE, ANYTHING, DELETIONS };

/* Whether a day, files i..end - 1 of the list, is to be rewritten: when it is worth while, when it
 * is not compact, or when something was deleted. */
static enum errc is_loose(const struct day_files *files, size_t i, size_t end, enum reason reason,
                          bool *loose, struct err *err)
{
    struct day_summary s = { 0 };
    uint64_t deletions = 0;
    enum errc rc = OK;

    for (size_t k = i; rc == OK && k < end; k++) {
        rc = day_file_summary(files->items[k], &s, err);
        deletions += s.deletions;
    }
    if (rc != OK)
        return rc;
    *loose = deletions > 0;
    if (reason == DELETIONS || *loose)
        return OK;
    *loose = end - i > 1
             || (s.flushes > 1
                 && (reason == ANYTHING || s.samples - s.largest > s.samples / LATE_SHARE
                     || s.flushes > MAX_FLUSHES));
    return OK;
}

static bool is_older(int64_t t_ms, int64_t than_ms, int64_t by_ms)
{
    int64_t difference;

    return t_ms < than_ms
           && (__builtin_sub_overflow(than_ms, t_ms, &difference) || difference > by_ms);
}

/* Whether the time of a day has passed: when the last of it has been flushed, or long after. */
static bool is_closed(struct db *db, int64_t day)
{
    int64_t newest = atomic_load(&db->newest_t_ms), last = day_last_ms(day);
    struct head_stats head;

    if (!is_older(last, newest, GRACE_MS))
        return false;
    head_stats(db->head, &head);
    return head.min_t_ms > last || is_older(last, newest, LONG_GRACE_MS);
}

static struct day_pause *find_pause(struct upkeep *u, int64_t day)
{
    for (size_t i = 0; i < u->n_pauses; i++)
        if (u->pauses[i].day == day)
            return &u->pauses[i];
    return NULL;
}

/* A day that cannot be read or has no room stays as it is until a restart. */
static void pause_day(struct db *db, int64_t day, enum errc rc)
{
    struct upkeep *u = &db->upkeep;
    struct day_pause *p = find_pause(u, day);
    int64_t until = rc == ERR_CORRUPT || rc == ERR_FULL
                        ? INT64_MAX
                        : clock_mono_ns(db->clock) + PAUSE_MS * 1000000LL;

    if (!p && vec_reserve(&u->pauses, &u->cap_pauses, u->n_pauses + 1, sizeof *u->pauses))
        p = &u->pauses[u->n_pauses++];
    if (p)
        *p = (struct day_pause){ day, until };
}

static bool is_paused(struct db *db, int64_t day)
{
    const struct day_pause *p = find_pause(&db->upkeep, day);

    return p && clock_mono_ns(db->clock) < p->until_ns;
}

static size_t end_of_day(const struct day_files *files, size_t i)
{
    int64_t day = day_file_id(files->items[i]).day;

    while (i < files->n && day_file_id(files->items[i]).day == day)
        i++;
    return i;
}

/* The oldest day that is due. A file that cannot be opened is passed over. */
static bool find_due(struct db *db, int64_t *day)
{
    struct day_files files;
    bool found = false;

    if (days_list(db->days, INT64_MIN, INT64_MAX, &files, NULL) != OK)
        return false;
    for (size_t i = 0, end; !found && i < files.n; i = end) {
        end = end_of_day(&files, i);
        *day = day_file_id(files.items[i]).day;
        if (!is_closed(db, *day) || is_paused(db, *day))
            continue;
        if (is_loose(&files, i, end, WORTHWHILE, &found, NULL) != OK) {
            pause_day(db, *day, ERR_CORRUPT);
            found = false;
        }
    }
    day_files_free(&files);
    return found;
}

bool db_upkeep_step(struct db *db)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    int64_t day;
    enum errc rc;
    bool found;

    pthread_mutex_lock(&db->upkeep.work);
    found = find_due(db, &day);
    if (found) {
        rc = rewrite_day(db, day, &(struct pace){ .db = db, .gentle = true }, &err);
        if (rc != ERR_CANCELED && rc != ERR_CONFLICT)
            pause_day(db, day, rc);
        if (rc != OK && rc != ERR_CANCELED && rc != ERR_CONFLICT)
            log_error("a day could not be rewritten and stays as it is", "reason=\"%s\"",
                      err_text(&err));
        found = rc == OK;
    }
    pthread_mutex_unlock(&db->upkeep.work);
    arena_free(a);
    return found;
}

/* ---- on request ---- */

void db_upkeep_lock(struct db *db)
{
    atomic_fetch_add(&db->upkeep.waiting, 1);
    pthread_mutex_lock(&db->upkeep.work);
    atomic_fetch_sub(&db->upkeep.waiting, 1);
}

void db_upkeep_unlock(struct db *db)
{
    pthread_mutex_unlock(&db->upkeep.work);
}

static enum errc compact_listed(struct db *db, const struct day_files *files, enum reason reason,
                                const atomic_bool *cancel, struct err *err)
{
    struct pace pace = { .db = db, .cancel = cancel };
    enum errc rc = OK;
    bool loose;

    for (size_t i = 0, end; rc == OK && i < files->n; i = end) {
        end = end_of_day(files, i);
        rc = is_loose(files, i, end, reason, &loose, err);
        if (rc == OK && loose)
            rc = rewrite_day(db, day_file_id(files->items[i]).day, &pace, err);
        if (rc == ERR_NOT_FOUND) /* dropped meanwhile */
            rc = OK;
    }
    return rc;
}

static enum errc compact(struct db *db, enum reason reason, const atomic_bool *cancel,
                         struct err *err)
{
    struct day_files files;
    enum errc rc;

    if (!db->dir)
        return OK;
    db_upkeep_lock(db);
    rc = days_list(db->days, INT64_MIN, INT64_MAX, &files, err);
    if (rc == OK)
        rc = compact_listed(db, &files, reason, cancel, err);
    day_files_free(&files);
    db_upkeep_unlock(db);
    return rc;
}

enum errc db_compact(struct db *db, const atomic_bool *cancel, struct err *err)
{
    return compact(db, ANYTHING, cancel, err);
}

enum errc db_clean(struct db *db, const atomic_bool *cancel, struct err *err)
{
    return compact(db, DELETIONS, cancel, err);
}

/* ---- the thread ---- */

static void *upkeep_main(void *arg)
{
    struct db *db = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* of this thread, on Linux */
    while (db_upkeep_rest(&db->upkeep, UPKEEP_PERIOD_S * 1000000000LL))
        while (!is_stopping(&db->upkeep) && (db_upkeep_step(db) || db_scrub_step(db)))
            ;
    return NULL;
}

void db_upkeep_init(struct upkeep *u)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&u->work, NULL);
    pthread_mutex_init(&u->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&u->wakes, &attr);
    pthread_condattr_destroy(&attr);
}

void db_upkeep_destroy(struct upkeep *u)
{
    pthread_mutex_destroy(&u->work);
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->wakes);
    free(u->pauses);
    free(u->damaged);
}

enum errc db_upkeep_start(struct db *db, struct err *err)
{
    if (pthread_create(&db->upkeep.thread, NULL, upkeep_main, db) != 0)
        return err_set(err, ERR_NOMEM, 0, "cannot start the thread of storage upkeep");
    db->upkeep.runs = true;
    return OK;
}

void db_upkeep_stop(struct db *db)
{
    if (!db->upkeep.runs)
        return;
    pthread_mutex_lock(&db->upkeep.lock);
    db->upkeep.stopping = true;
    pthread_cond_signal(&db->upkeep.wakes);
    pthread_mutex_unlock(&db->upkeep.lock);
    pthread_join(db->upkeep.thread, NULL);
    db->upkeep.runs = false;
}
