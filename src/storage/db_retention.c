/* db_retention.c -- dropping days that are too old or take too much room.
 *
 * Dropping needs a little room itself, since MANIFEST is replaced first. On a full disk the room
 * comes from the ballast: a file of no use but to be removed then, which is made again when there
 * is space.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "storage/db_private.h"
#include "base/banned.h"

enum { BALLAST_MIN_BYTES = 64 << 10, BALLAST_MAX_BYTES = 64 << 20, BALLAST_SHARE = 100 };

/* ---- the ballast ---- */

static char *ballast_path(const struct db *db)
{
    size_t n = strlen(db->dir) + sizeof "/ballast";
    char *path = malloc(n);

    if (path)
        snprintf(path, n, "%s/ballast", db->dir);
    return path;
}

static uint64_t wanted_bytes(uint64_t data_bytes)
{
    uint64_t want = data_bytes / BALLAST_SHARE & ~(uint64_t)4095;

    return want < BALLAST_MIN_BYTES   ? BALLAST_MIN_BYTES
           : want > BALLAST_MAX_BYTES ? BALLAST_MAX_BYTES
                                      : want;
}

/* Whether so much is free that a ballast does not take what others need at once. */
static bool disk_has(const struct db *db, uint64_t bytes)
{
    struct statvfs fs;

    return statvfs(db->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize / 4 > bytes;
}

/* Reserves the bytes for real: a sparse file would give nothing back. */
static bool reserve(const char *path, uint64_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0;

    if (fd >= 0)
        close(fd);
    if (!ok)
        (void)!unlink(path);
    return ok;
}

/* Grows with the data. No ballast at all is no failure. */
static void keep_ballast(struct db *db, uint64_t data_bytes)
{
    char *path = ballast_path(db);
    uint64_t want = wanted_bytes(data_bytes);

    if (path && fs_size(path) < want && disk_has(db, want))
        (void)!reserve(path, want);
    free(path);
}

/* Makes room; false when there was no ballast. */
static bool drop_ballast(struct db *db)
{
    char *path = ballast_path(db);
    bool dropped = path && fs_size(path) > 0 && unlink(path) == 0;

    free(path);
    return dropped;
}

/* ---- retention ---- */

static bool drop_before(struct db *db, int64_t day)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    size_t dropped = 0;
    enum errc rc = days_drop_before(db->days, day, &dropped, &err);

    if (rc != OK && drop_ballast(db))
        rc = days_drop_before(db->days, day, &dropped, &err);
    if (rc != OK)
        log_error("retention failed", "reason=\"%s\"", err_text(&err));
    if (dropped)
        log_info("days left the retention", "files=%zu", dropped);
    atomic_fetch_add(&db->retired, dropped);
    arena_free(a);
    return rc == OK && dropped > 0;
}

/* The first day that fits when the newest ones may take so many bytes; the newest always does. */
static bool first_fitting(struct db *db, uint64_t bytes, int64_t *day)
{
    struct day_files files;
    uint64_t taken = 0;
    bool full = false;

    if (days_list(db->days, INT64_MIN, INT64_MAX, &files, NULL) != OK)
        return false;
    for (size_t i = files.n; i-- > 0 && !full;) {
        int64_t number = day_file_id(files.items[i]).day;

        taken += fs_size(day_file_path(files.items[i]));
        full = taken > bytes && number != day_file_id(files.items[files.n - 1]).day;
        if (full)
            *day = number + 1;
    }
    day_files_free(&files);
    return full;
}

/* Late samples of days that were dropped are refused: they would bring them back. */
static void raise_oldest(struct db *db, int64_t t_ms)
{
    if (t_ms > atomic_load(&db->oldest_t_ms))
        atomic_store(&db->oldest_t_ms, t_ms);
}

void db_retire(struct db *db)
{
    uint64_t limit = db->options.retention_bytes, log_bytes;
    struct wal_stats log;
    struct days_stats days;
    int64_t day;

    drop_before(db, day_of(db_horizon(db)));
    wal_stats(db->wal, &log);
    log_bytes = log.segment_bytes < limit ? log.segment_bytes : limit;
    if (limit > 0 && first_fitting(db, limit - log_bytes, &day) && drop_before(db, day)) {
        raise_oldest(db, day_first_ms(day));
        atomic_fetch_add(&db->size_retentions, 1);
    }
    days_stats(db->days, &days);
    keep_ballast(db, days.bytes + log.segment_bytes);
}
