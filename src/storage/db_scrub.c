/* db_scrub.c -- looking at every value of the day files, slowly, again and again: damage is to be
 * known before the other copy of the data is gone. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/day_check.h"
#include "storage/db_private.h"
#include "base/banned.h"

enum {
    BYTES_PER_S = 16 << 20,
    FIRST_AFTER_S = 600, /* after the start */
    EVERY_S = 24 * 3600, /* from the end of a pass to the beginning of the next */
};

struct scrub {
    struct db *db;
    int64_t began_ns;
    bool told; /* the faults of this file were logged by an earlier pass */
};

/* Rests until the bytes so far are no more than what may have been read by now. */
static bool go_on(void *ctx, uint64_t bytes)
{
    struct scrub *s = ctx;
    int64_t due_ns = (int64_t)((double)bytes / BYTES_PER_S * 1e9);
    int64_t ahead_ns = due_ns - (clock_mono_ns(&clock_system) - s->began_ns);

    return db_upkeep_rest(&s->db->upkeep, ahead_ns > 0 ? ahead_ns : 0);
}

static void on_fault(void *ctx, const char *text)
{
    struct scrub *s = ctx;

    if (!s->told)
        log_error("the scrubber has found damage", "reason=\"%s\"", text);
}

static bool was_told(const struct upkeep *u, struct manifest_day id)
{
    for (size_t i = 0; i < u->n_damaged; i++)
        if (manifest_day_cmp(u->damaged[i], id) == 0)
            return true;
    return false;
}

static void note_damaged(struct upkeep *u, struct manifest_day id)
{
    if (!was_told(u, id)
        && vec_reserve(&u->damaged, &u->cap_damaged, u->n_damaged + 1, sizeof *u->damaged))
        u->damaged[u->n_damaged++] = id;
}

/* False when it was interrupted. */
static bool scrub_file(struct db *db, struct day_file *f)
{
    struct upkeep *u = &db->upkeep;
    struct scrub s = { .db = db,
                       .began_ns = clock_mono_ns(&clock_system),
                       .told = was_told(u, day_file_id(f)) };
    struct day_check check = { .fault = on_fault, .go_on = go_on, .ctx = &s };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct day_check_result res = { 0 };
    struct day *day = NULL;
    enum errc rc = day_file_open(f, &day, &err);

    if (rc == OK)
        rc = day_check(day, &check, &res, &err);
    day_unref(day);
    if (rc == ERR_CORRUPT) { /* it cannot be opened */
        on_fault(&s, err_text(&err));
        res.faults = 1;
    } else if (rc != OK && rc != ERR_CANCELED) {
        log_warn("a day file could not be scrubbed", "reason=\"%s\"", err_text(&err));
    }
    atomic_fetch_add(&u->scrub_values, res.values);
    atomic_fetch_add(&u->scrub_bytes, res.bytes);
    atomic_fetch_add(&u->scrub_faults, res.faults);
    if (res.faults)
        note_damaged(u, day_file_id(f));
    arena_free(a);
    return rc != ERR_CANCELED;
}

/* The first file after the one that was scrubbed last, with a reference in *files. */
static struct day_file *next_file(struct db *db, struct day_files *files)
{
    if (days_list(db->days, INT64_MIN, INT64_MAX, files, NULL) != OK)
        return NULL;
    for (size_t i = 0; i < files->n; i++)
        if (!db->upkeep.in_pass
            || manifest_day_cmp(day_file_id(files->items[i]), db->upkeep.scrubbed) > 0)
            return files->items[i];
    return NULL;
}

bool db_scrub_step(struct db *db)
{
    struct upkeep *u = &db->upkeep;
    struct day_files files = { 0 };
    struct day_file *f;
    int64_t now_ns = clock_mono_ns(db->clock);
    bool more = false;

    if (u->scrub_at_ns == 0)
        u->scrub_at_ns = now_ns + FIRST_AFTER_S * 1000000000LL;
    if (now_ns < u->scrub_at_ns)
        return false;
    f = next_file(db, &files);
    if (f) {
        more = scrub_file(db, f);
        if (more)
            u->scrubbed = day_file_id(f);
        u->in_pass |= more;
    } else {
        u->in_pass = false;
        u->scrub_at_ns = now_ns + EVERY_S * 1000000000LL;
        atomic_fetch_add(&u->scrub_passes, 1);
    }
    day_files_free(&files);
    return more;
}
