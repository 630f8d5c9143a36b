#include "storage/db_verify.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/day_check.h"
#include "storage/manifest.h"
#include "storage/record.h"
#include "storage/state.h"
#include "storage/wal_segment.h"
#include "base/banned.h"

enum { MAX_SEGMENT_BYTES = 1 << 30, MAX_VERSION_BYTES = 64 };

struct verify {
    const struct db_verify *v;
    struct verify_result *res;
    struct arena *arena; /* reasons of faults */
    struct manifest manifest;
    struct verify_file file; /* being looked at */
};

/* ---- telling ---- */

static void fault(void *ctx, const char *text)
{
    struct verify *k = ctx;

    k->file.faults++;
    k->v->fault(k->v->ctx, text);
}

static void begin_file(struct verify *k, const char *name, const char *path)
{
    k->file = (struct verify_file){ .name = name, .file_bytes = fs_size(path) };
}

/* Damage is a fault of the file, and the check goes on with the next. */
static enum errc end_file(struct verify *k, enum errc rc, const struct err *err)
{
    if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND || rc == ERR_TOO_LARGE) {
        fault(k, err_text(err));
        rc = OK;
    }
    k->res->files++;
    k->res->faults += k->file.faults;
    k->res->samples += k->file.samples;
    if (rc == OK && k->v->file)
        k->v->file(k->v->ctx, &k->file);
    if (rc == OK)
        arena_reset(k->arena);
    return rc;
}

static void path_of(const struct verify *k, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", k->v->dir, name);
}

/* ---- VERSION and MANIFEST ---- */

static enum errc verify_version(struct verify *k, struct err *err)
{
    struct err own = err_in(k->arena);
    struct buf text = { 0 };
    char path[PATH_MAX];
    enum errc rc;

    path_of(k, "VERSION", path);
    begin_file(k, "VERSION", path);
    rc = fs_read_file(path, MAX_VERSION_BYTES, &text, &own);
    if (rc == ERR_NOT_FOUND) {
        buf_free(&text);
        return err_set(err, ERR_NOT_FOUND, 0, "%s is not a data directory: it has no VERSION",
                       k->v->dir);
    }
    if (rc == OK && !str_is(buf_as_str(&text), "1\n"))
        rc = err_set(&own, ERR_CORRUPT, 0, "%s: unknown data format \"%.*s\"", path,
                     (int)(text.len < 20 ? text.len : 20), (const char *)text.ptr);
    buf_free(&text);
    k->file.values = 1;
    rc = end_file(k, rc, &own);
    return rc == OK ? OK : err_set(err, rc, 0, "%s", err_text(&own));
}

static enum errc verify_manifest(struct verify *k, struct err *err)
{
    struct err own = err_in(k->arena);
    char path[PATH_MAX];
    enum errc rc;

    path_of(k, "MANIFEST", path);
    begin_file(k, "MANIFEST", path);
    rc = manifest_load(k->v->dir, &k->manifest, &own);
    k->file.values = k->manifest.n_days;
    if (rc == ERR_UNSUPPORTED)
        return err_set(err, rc, 0, "%s", err_text(&own));
    rc = end_file(k, rc, &own);
    return rc == OK ? OK : err_set(err, rc, 0, "%s", err_text(&own));
}

/* ---- day files ---- */

static bool go_on(void *ctx, uint64_t bytes)
{
    struct verify *k = ctx;

    return !k->v->go_on || k->v->go_on(k->v->ctx, k->file.name, bytes, k->file.file_bytes);
}

static enum errc verify_day(struct verify *k, struct manifest_day id, struct err *err)
{
    struct err own = err_in(k->arena);
    struct day_check check = { .fault = fault, .go_on = go_on, .ctx = k };
    struct day_check_result res = { 0 };
    struct day *day = NULL;
    char file[DAY_NAME_MAX], name[DAY_NAME_MAX + 8], path[PATH_MAX];
    enum errc rc;

    day_file_name(id.day, id.generation, file);
    snprintf(name, sizeof name, "days/%s", file);
    path_of(k, name, path);
    begin_file(k, name, path);
    rc = day_open_read_only(path, id.day, k->v->map_bytes, &day, &own);
    if (rc == OK)
        rc = day_check(day, &check, &res, &own);
    day_unref(day);
    k->file.values = res.values;
    k->file.series = res.series;
    k->file.samples = res.samples;
    if (res.faults > k->file.faults) /* not all are told */
        k->file.faults = res.faults;
    rc = end_file(k, rc, &own);
    return rc == OK ? OK : err_set(err, rc, 0, "%s", err_text(&own));
}

static enum errc verify_days(struct verify *k, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < k->manifest.n_days; i++)
        rc = verify_day(k, k->manifest.days[i], err);
    return rc;
}

/* ---- state.mdb ---- */

static enum errc verify_state(struct verify *k, struct err *err)
{
    struct err own = err_in(k->arena);
    char path[PATH_MAX];
    enum errc rc;

    path_of(k, "state.mdb", path);
    begin_file(k, "state.mdb", path);
    rc = state_check(path, k->v->map_bytes, fault, k, &own);
    rc = end_file(k, rc, &own);
    return rc == OK ? OK : err_set(err, rc, 0, "%s", err_text(&own));
}

/* ---- the log ---- */

struct segment_list {
    uint64_t *numbers;
    size_t n, cap;
    bool failed;
};

static bool note_segment(void *ctx, const char *name)
{
    struct segment_list *l = ctx;
    uint64_t number;
    int end = 0;

    if (sscanf(name, "%20" SCNu64 ".log%n", &number, &end) != 1 || end == 0 || name[end] != '\0')
        return true;
    l->failed |= !vec_reserve(&l->numbers, &l->cap, l->n + 1, sizeof *l->numbers);
    if (!l->failed)
        l->numbers[l->n++] = number;
    return !l->failed;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* How much of the segment before is known to be durable, from the header of the one after. */
struct known_end {
    uint64_t number, bytes;
};

static void read_segment(struct verify *k, struct bytes file, const struct wal_header *h,
                         uint64_t durable)
{
    static const struct record_handler nothing = { 0 };
    struct wal_reader r = wal_reader_on(file, h, durable);
    struct bytes record;
    uint64_t malformed = 0;
    char text[PATH_MAX];

    while (wal_reader_next(&r, &record)) {
        k->file.values++;
        malformed += record_read(record, &nothing, NULL) != OK;
    }
    if (r.skipped + malformed == 0)
        return;
    snprintf(text, sizeof text, "%s/%s: %" PRIu64 " records are damaged", k->v->dir, k->file.name,
             r.skipped + malformed);
    fault(k, text);
}

/* Segments whose records are all in day files are about to be used again: nothing in them counts. */
static enum errc verify_segment(struct verify *k, uint64_t number, struct known_end *after,
                                struct err *err)
{
    struct err own = err_in(k->arena);
    struct wal_header h = { 0 };
    struct buf file = { 0 };
    char name[40], path[PATH_MAX];
    enum errc rc;

    snprintf(name, sizeof name, "log/%010" PRIu64 ".log", number);
    path_of(k, name, path);
    begin_file(k, name, path);
    rc = fs_read_file(path, MAX_SEGMENT_BYTES, &file, &own);
    if (rc == OK && (rc = wal_header_decode(buf_as_bytes(&file), &h)) != OK)
        rc = err_set(&own, rc, 0, "%s: the header is damaged", path);
    if (rc == OK && h.generation > k->manifest.released)
        read_segment(k, buf_as_bytes(&file), &h, after->number == number ? after->bytes : 0);
    *after = (struct known_end){ h.previous, h.previous_end };
    buf_free(&file);
    if (rc == ERR_UNSUPPORTED)
        return err_set(err, rc, 0, "%s", err_text(&own));
    rc = end_file(k, rc, &own);
    return rc == OK ? OK : err_set(err, rc, 0, "%s", err_text(&own));
}

static enum errc verify_log(struct verify *k, struct err *err)
{
    struct segment_list l = { 0 };
    struct known_end after = { 0 };
    char path[PATH_MAX];
    enum errc rc;

    path_of(k, "log", path);
    rc = fs_each(path, note_segment, &l, err);
    if (rc == ERR_NOT_FOUND) /* as in a snapshot */
        rc = OK;
    if (rc == OK && l.failed)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a list of segments");
    if (l.n)
        qsort(l.numbers, l.n, sizeof *l.numbers, compare_numbers);
    for (size_t i = l.n; rc == OK && i-- > 0;)
        rc = verify_segment(k, l.numbers[i], &after, err);
    free(l.numbers);
    return rc;
}

enum errc db_verify(const struct db_verify *v, struct verify_result *res, struct err *err)
{
    struct verify k = { .v = v, .res = res, .arena = arena_new(0) };
    enum errc rc =
        k.arena ? verify_version(&k, err) : err_set(err, ERR_NOMEM, 0, "no memory to verify");

    if (rc == OK)
        rc = verify_manifest(&k, err);
    if (rc == OK)
        rc = verify_days(&k, err);
    if (rc == OK)
        rc = verify_state(&k, err);
    if (rc == OK)
        rc = verify_log(&k, err);
    manifest_free(&k.manifest);
    arena_free(k.arena);
    return rc;
}
