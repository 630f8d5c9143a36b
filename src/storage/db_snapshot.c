/* db_snapshot.c -- a verified copy of the store, made while it goes on.
 *
 * Between two flushes the moment is fixed for every file: a read transaction keeps LMDB from
 * writing to what it can reach. The bytes are copied afterwards, at leisure. The log is left out:
 * what a flush has not moved to day files yet is not part of a snapshot.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "storage/day.h"
#include "storage/db_private.h"
#include "storage/db_verify.h"
#include "storage/kv.h"
#include "base/banned.h"

enum { PATH_BYTES = PATH_MAX };

struct snapshot {
    struct db *db;
    const atomic_bool *cancel;
    struct day_files files;
    struct day **days; /* open, one for each file */
    struct kv_copy **copies;
    struct kv_copy *state;
    uint64_t flushed, begun;
    char dir[PATH_BYTES];   /* while it is made ... */
    char final[PATH_BYTES]; /* ... and when it is complete */
    struct arena *arena;
    const char *first_fault;
};

/* ---- the folder of snapshots ---- */

static bool remove_entry(void *ctx, const char *name)
{
    char path[PATH_BYTES];

    if (snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name) < (int)sizeof path)
        (void)!unlink(path);
    return true;
}

/* Removes a directory as a snapshot has it, whatever is there of it. */
static void remove_dir(const char *dir)
{
    char days[PATH_BYTES];

    if (snprintf(days, sizeof days, "%s/days", dir) >= (int)sizeof days)
        return;
    (void)!fs_each(days, remove_entry, days, NULL);
    (void)!rmdir(days);
    (void)!fs_each(dir, remove_entry, (void *)(uintptr_t)dir, NULL);
    (void)!rmdir(dir);
}

static bool remove_unfinished(void *ctx, const char *name)
{
    char path[PATH_BYTES];

    if (str_ends_with(str_from(name), STR(".tmp"))
        && snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name) < (int)sizeof path)
        remove_dir(path);
    return true;
}

void db_tidy_snapshots(struct db *db)
{
    char dir[PATH_BYTES];

    if (snprintf(dir, sizeof dir, "%s/snapshots", db->dir) < (int)sizeof dir)
        (void)!fs_each(dir, remove_unfinished, dir, NULL);
}

/* Time and chance, as in Prometheus: "20171210T211224Z-2be650b6d019eb54". */
static enum errc make_name(struct db *db, char name[DB_SNAPSHOT_NAME_MAX], struct err *err)
{
    time_t now = (time_t)(clock_wall_ms(db->clock) / 1000);
    uint64_t chance;
    struct tm tm;
    size_t n;

    if (getrandom(&chance, sizeof chance, 0) != sizeof chance || !gmtime_r(&now, &tm))
        return err_set(err, ERR_IO, 0, "cannot name a snapshot: %s", strerror(errno));
    n = strftime(name, DB_SNAPSHOT_NAME_MAX, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(name + n, DB_SNAPSHOT_NAME_MAX - n, "-%016" PRIx64, chance);
    return OK;
}

/* ---- fixing the moment ---- */

static enum errc fix_files(struct snapshot *s, struct err *err)
{
    enum errc rc = days_list(s->db->days, INT64_MIN, INT64_MAX, &s->files, err);

    if (rc != OK)
        return rc;
    s->days = calloc(s->files.n + 1, sizeof *s->days);
    s->copies = calloc(s->files.n + 1, sizeof *s->copies);
    if (!s->days || !s->copies)
        return err_set(err, ERR_NOMEM, 0, "no memory for a snapshot");
    for (size_t i = 0; rc == OK && i < s->files.n; i++) {
        rc = day_file_open(s->files.items[i], &s->days[i], err);
        if (rc == OK)
            rc = day_copy_begin(s->days[i], &s->copies[i], err);
    }
    return rc == OK ? state_copy_begin(s->db->state, &s->state, err) : rc;
}

static enum errc fix_moment(struct snapshot *s, bool skip_head, struct err *err)
{
    struct db *db = s->db;
    enum errc rc = OK;

    db_upkeep_lock(db);
    pthread_mutex_lock(&db->flush_lock);
    if (!skip_head)
        rc = db_flush_locked(db, err);
    else if (db->frozen)
        rc = err_set(err, ERR_UNAVAILABLE, 0, "a flush is to be finished first");
    if (rc == OK)
        rc = fix_files(s, err);
    pthread_mutex_lock(&db->lock);
    s->flushed = db->flushed;
    pthread_mutex_unlock(&db->lock);
    s->begun = days_begun(db->days);
    pthread_mutex_unlock(&db->flush_lock);
    db_upkeep_unlock(db);
    return rc;
}

static void let_go(struct snapshot *s)
{
    for (size_t i = 0; i < s->files.n; i++) {
        if (s->copies)
            kv_copy_end(s->copies[i]);
        if (s->days)
            day_unref(s->days[i]);
    }
    kv_copy_end(s->state);
    free(s->copies);
    free(s->days);
    day_files_free(&s->files);
}

/* ---- copying ---- */

static enum errc check_space(const struct snapshot *s, struct err *err)
{
    uint64_t need = kv_copy_bytes(s->state), available;

    for (size_t i = 0; i < s->files.n; i++)
        need += kv_copy_bytes(s->copies[i]);
    if (fs_has_room(s->db->dir, need, &available))
        return OK;
    return err_set(err, ERR_UNAVAILABLE, 0,
                   "a snapshot needs %" PRIu64 " bytes, and only %" PRIu64 " are free on the disk",
                   need, available);
}

static bool go_on(void *ctx, uint64_t bytes)
{
    const struct snapshot *s = ctx;

    (void)bytes;
    return !(s->cancel && atomic_load(s->cancel));
}

static enum errc copy_file(struct snapshot *s, struct kv_copy *c, const char *name, struct err *err)
{
    char path[PATH_BYTES];

    if (snprintf(path, sizeof path, "%s/%s", s->dir, name) >= (int)sizeof path)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s/%s", s->dir, name);
    return kv_copy_run(c, path, go_on, s, err);
}

static enum errc write_manifest(struct snapshot *s, struct err *err)
{
    struct manifest m = { .begun = s->begun > s->flushed ? s->begun : s->flushed,
                          .released = s->flushed };
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < s->files.n; i++)
        if (!manifest_add(&m, day_file_id(s->files.items[i])))
            rc = err_set(err, ERR_NOMEM, 0, "no memory for a snapshot");
    if (rc == OK)
        rc = manifest_save(s->dir, &m, err);
    manifest_free(&m);
    return rc;
}

static enum errc copy_version(struct snapshot *s, struct err *err)
{
    struct buf text = { 0 };
    char path[PATH_BYTES];
    enum errc rc;

    snprintf(path, sizeof path, "%s/VERSION", s->db->dir);
    rc = fs_read_file(path, 64, &text, err);
    if (rc == OK)
        rc = fs_write_atomic(s->dir, "VERSION", buf_as_bytes(&text), err);
    buf_free(&text);
    return rc;
}

static enum errc copy_all(struct snapshot *s, struct err *err)
{
    char days[PATH_BYTES];
    enum errc rc = check_space(s, err);

    if (rc != OK)
        return rc;
    if (snprintf(days, sizeof days, "%s/days", s->dir) >= (int)sizeof days)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s/days", s->dir);
    rc = fs_make_dirs(days, err);
    for (size_t i = 0; rc == OK && i < s->files.n; i++) {
        struct manifest_day id = day_file_id(s->files.items[i]);
        char file[DAY_NAME_MAX], name[DAY_NAME_MAX + 8];

        day_file_name(id.day, id.generation, file);
        snprintf(name, sizeof name, "days/%s", file);
        rc = copy_file(s, s->copies[i], name, err);
    }
    if (rc == OK)
        rc = fs_sync_dir(days, err);
    if (rc == OK)
        rc = copy_file(s, s->state, "state.mdb", err);
    if (rc == OK)
        rc = write_manifest(s, err);
    return rc == OK ? copy_version(s, err) : rc;
}

/* ---- verifying ---- */

static void note_fault(void *ctx, const char *text)
{
    struct snapshot *s = ctx;

    if (!s->first_fault)
        s->first_fault = arena_printf(s->arena, "%s", text);
}

static bool go_on_verifying(void *ctx, const char *name, uint64_t bytes, uint64_t file_bytes)
{
    (void)name;
    (void)file_bytes;
    return go_on(ctx, bytes);
}

static enum errc verify(struct snapshot *s, struct err *err)
{
    struct db_verify v = { .dir = s->dir,
                           .map_bytes = s->db->options.map_bytes,
                           .fault = note_fault,
                           .go_on = go_on_verifying,
                           .ctx = s };
    struct verify_result res = { 0 };
    enum errc rc = db_verify(&v, &res, err);

    if (rc == OK && res.faults)
        rc = err_set(err, ERR_CORRUPT, 0, "the snapshot has %" PRIu64 " faults, the first: %s",
                     res.faults, s->first_fault ? s->first_fault : "not told");
    return rc;
}

static enum errc publish(const struct snapshot *s, struct err *err)
{
    char parent[PATH_BYTES];

    if (rename(s->dir, s->final) != 0)
        return err_set(err, ERR_IO, 0, "rename %s: %s", s->dir, strerror(errno));
    snprintf(parent, sizeof parent, "%s/snapshots", s->db->dir);
    return fs_sync_dir(parent, err);
}

static enum errc make(struct snapshot *s, bool skip_head, const char *name, struct err *err)
{
    enum errc rc;

    if (snprintf(s->final, sizeof s->final, "%s/snapshots/%s", s->db->dir, name)
            >= (int)sizeof s->final
        || snprintf(s->dir, sizeof s->dir, "%s/snapshots/%s.tmp", s->db->dir, name)
               >= (int)sizeof s->dir)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s/snapshots", s->db->dir);
    rc = fix_moment(s, skip_head, err);
    if (rc == OK)
        rc = copy_all(s, err);
    let_go(s);
    if (rc == OK)
        rc = verify(s, err);
    if (rc == OK)
        rc = publish(s, err);
    if (rc != OK)
        remove_dir(s->dir);
    return rc;
}

enum errc db_snapshot(struct db *db, bool skip_head, const atomic_bool *cancel,
                      char name[DB_SNAPSHOT_NAME_MAX], struct err *err)
{
    struct snapshot *s;
    enum errc rc;

    if (!db->dir)
        return err_set(err, ERR_UNSUPPORTED, 0, "a store in memory has no snapshots");
    s = calloc(1, sizeof *s);
    if (!s || !(s->arena = arena_new(0))) {
        free(s);
        return err_set(err, ERR_NOMEM, 0, "no memory for a snapshot");
    }
    s->db = db;
    s->cancel = cancel;
    rc = make_name(db, name, err);
    if (rc == OK)
        rc = make(s, skip_head, name, err);
    if (rc == OK)
        log_info("snapshot made", "name=%s", name);
    arena_free(s->arena);
    free(s);
    return rc;
}
