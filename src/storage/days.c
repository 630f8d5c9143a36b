#include "storage/days.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/kv.h"
#include "storage/manifest.h"
#include "storage/sample.h"
#include "base/banned.h"

enum { MAX_OPEN = 64 };

struct slot {
    int64_t number;
    uint64_t generation;
    bool published;     /* in MANIFEST */
    struct day *day;    /* NULL while closed */
    uint64_t last_used; /* in ticks of the catalogue */
};

struct days {
    char *dir;    /* of MANIFEST */
    char *folder; /* of the day files */
    size_t map_bytes;
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct slot *slots; /* by number */
    size_t n, cap;
    size_t n_open;
    uint64_t released, tick;
};

static void slot_path(const struct days *d, const struct slot *s, char path[PATH_MAX])
{
    char name[DAY_NAME_MAX];

    day_file_name(s->number, s->generation, name);
    snprintf(path, PATH_MAX, "%s/%s", d->folder, name);
}

/* ---- opening ---- */

struct tidy {
    struct days *days;
    size_t removed;
};

/* A day file that MANIFEST does not name was not finished when the process died: the log has its
 * samples. */
static bool remove_stray(void *ctx, const char *name)
{
    struct tidy *t = ctx;
    struct manifest_day file;
    char path[PATH_MAX];

    if (!day_file_parse(str_from(name), &file))
        return true;
    for (size_t i = 0; i < t->days->n; i++)
        if (t->days->slots[i].number == file.day && t->days->slots[i].generation == file.generation)
            return true;
    snprintf(path, sizeof path, "%s/%s", t->days->folder, name);
    if (kv_remove(path, NULL) == OK)
        t->removed++;
    return true;
}

static enum errc load(struct days *d, struct err *err)
{
    struct manifest m = { 0 };
    enum errc rc = manifest_load(d->dir, &m, err);

    if (rc == ERR_NOT_FOUND)
        return OK;
    if (rc == OK && !vec_reserve(&d->slots, &d->cap, m.n_days + 1, sizeof *d->slots))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for the list of days");
    if (rc == OK) {
        d->released = m.released;
        for (size_t i = 0; i < m.n_days; i++)
            d->slots[d->n++] = (struct slot){ m.days[i].day, m.days[i].generation, true, NULL, 0 };
    }
    manifest_free(&m);
    return rc;
}

enum errc days_open(const char *dir, size_t map_bytes, struct days **out, struct err *err)
{
    struct days *d = calloc(1, sizeof *d);
    struct tidy tidy = { .days = d };
    enum errc rc = OK;

    if (!d)
        return err_set(err, ERR_NOMEM, 0, "no memory for the list of days");
    pthread_mutex_init(&d->lock, NULL);
    d->map_bytes = map_bytes;
    d->dir = strdup(dir);
    d->folder = malloc(strlen(dir) + sizeof "/days");
    if (!d->dir || !d->folder)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for the list of days");
    if (rc == OK) {
        snprintf(d->folder, strlen(dir) + sizeof "/days", "%s/days", dir);
        rc = fs_make_dirs(d->folder, err);
    }
    if (rc == OK)
        rc = load(d, err);
    if (rc == OK)
        rc = fs_each(d->folder, remove_stray, &tidy, err);
    if (rc != OK) {
        days_close(d);
        return rc;
    }
    if (tidy.removed)
        log_info("unfinished day files removed", "files=%zu", tidy.removed);
    *out = d;
    return OK;
}

void days_close(struct days *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        day_unref(d->slots[i].day);
    free(d->slots);
    free(d->dir);
    free(d->folder);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

uint64_t days_released(struct days *d)
{
    uint64_t released;

    pthread_mutex_lock(&d->lock);
    released = d->released;
    pthread_mutex_unlock(&d->lock);
    return released;
}

/* ---- finding days; the lock is held ---- */

/* The place of the first slot whose number is not below day. */
static size_t find(const struct days *d, int64_t day)
{
    size_t lo = 0, hi = d->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (d->slots[mid].number < day)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct slot *slot_of(struct days *d, int64_t day)
{
    size_t i = find(d, day);

    return i < d->n && d->slots[i].number == day ? &d->slots[i] : NULL;
}

/* Closes the least recently used files that nobody reads until at most MAX_OPEN are open. One that
 * a view still reads must stay: opening a file a second time in a process breaks LMDB's locks. */
static void close_unused(struct days *d)
{
    while (d->n_open > MAX_OPEN) {
        struct slot *oldest = NULL;

        for (size_t i = 0; i < d->n; i++) {
            struct slot *s = &d->slots[i];

            if (s->day && day_is_idle(s->day) && (!oldest || s->last_used < oldest->last_used))
                oldest = s;
        }
        if (!oldest)
            return;
        day_unref(oldest->day);
        oldest->day = NULL;
        d->n_open--;
    }
}

static enum errc open_slot(struct days *d, struct slot *s, bool create, struct err *err)
{
    char path[PATH_MAX];
    enum errc rc;

    slot_path(d, s, path);
    rc = day_open(path, s->number, d->map_bytes, create, &s->day, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, 0, "%s is missing, although MANIFEST names it", path);
    if (rc == OK)
        d->n_open++;
    return rc;
}

static enum errc add_slot(struct days *d, int64_t day, struct slot **out, struct err *err)
{
    size_t at = find(d, day);

    if (!vec_reserve(&d->slots, &d->cap, d->n + 1, sizeof *d->slots))
        return err_set(err, ERR_NOMEM, 0, "no memory for another day");
    memmove(d->slots + at + 1, d->slots + at, (d->n - at) * sizeof *d->slots);
    d->slots[at] = (struct slot){ .number = day, .generation = 1 };
    d->n++;
    *out = &d->slots[at];
    return OK;
}

static void remove_slot(struct days *d, size_t i)
{
    if (d->slots[i].day)
        d->n_open--;
    day_unref(d->slots[i].day);
    memmove(d->slots + i, d->slots + i + 1, (d->n - i - 1) * sizeof *d->slots);
    d->n--;
}

static enum errc get_locked(struct days *d, int64_t day, bool create, struct day **out,
                            struct err *err)
{
    struct slot *s = slot_of(d, day);
    bool fresh = !s;
    enum errc rc = OK;

    if (fresh && !create)
        return err_set(err, ERR_NOT_FOUND, 0, "no data for day %lld", (long long)day);
    if (fresh)
        rc = add_slot(d, day, &s, err);
    if (rc == OK && !s->day)
        rc = open_slot(d, s, !s->published, err);
    if (rc != OK) {
        if (fresh && s)
            remove_slot(d, (size_t)(s - d->slots));
        return rc;
    }
    s->last_used = ++d->tick;
    *out = day_ref(s->day);
    close_unused(d);
    return OK;
}

enum errc days_get(struct days *d, int64_t day, bool create, struct day **out, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    rc = get_locked(d, day, create, out, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

uint64_t days_last_flush(struct days *d, int64_t day)
{
    struct day *found;
    uint64_t flush;

    if (days_get(d, day, false, &found, NULL) != OK)
        return 0;
    flush = day_last_flush(found);
    day_unref(found);
    return flush;
}

enum errc days_list(struct days *d, int64_t first, int64_t last, int64_t **out, size_t *n,
                    struct err *err)
{
    enum errc rc = OK;

    *n = 0;
    pthread_mutex_lock(&d->lock);
    *out = malloc((d->n + 1) * sizeof **out);
    if (!*out)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a list of days");
    for (size_t i = find(d, first); rc == OK && i < d->n && d->slots[i].number <= last; i++)
        if (d->slots[i].published)
            (*out)[(*n)++] = d->slots[i].number;
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* ---- changing the catalogue; the lock is held ---- */

/* Writes MANIFEST with the slots from first on, published ones or all, as of log generation
 * released. */
static enum errc save(struct days *d, size_t first, bool all, uint64_t released, struct err *err)
{
    struct manifest m = { .released = released };
    enum errc rc = OK;

    for (size_t i = first; i < d->n && rc == OK; i++)
        if ((all || d->slots[i].published)
            && !manifest_set(&m, d->slots[i].number, d->slots[i].generation))
            rc = err_set(err, ERR_NOMEM, 0, "no memory for MANIFEST");
    if (rc == OK)
        rc = manifest_save(d->dir, &m, err);
    manifest_free(&m);
    return rc;
}

enum errc days_publish(struct days *d, uint64_t released, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    rc = save(d, 0, true, released, err);
    if (rc == OK) {
        d->released = released;
        for (size_t i = 0; i < d->n; i++)
            d->slots[i].published = true;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static enum errc drop_locked(struct days *d, size_t n, struct err *err)
{
    enum errc rc = save(d, n, false, d->released, err);

    for (size_t i = 0; rc == OK && i < n; i++) {
        char path[PATH_MAX];

        slot_path(d, &d->slots[0], path);
        remove_slot(d, 0);
        rc = kv_remove(path, err); /* left over on an error: removed at the next start */
    }
    return rc;
}

enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err)
{
    enum errc rc = OK;

    pthread_mutex_lock(&d->lock);
    *dropped = find(d, day);
    if (*dropped)
        rc = drop_locked(d, *dropped, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

void days_stats(struct days *d, struct days_stats *out)
{
    *out = (struct days_stats){ .min_t_ms = INT64_MAX, .max_t_ms = INT64_MIN };
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n; i++) {
        char path[PATH_MAX];

        slot_path(d, &d->slots[i], path);
        out->bytes += fs_size(path);
    }
    out->days = d->n;
    if (d->n) {
        out->min_t_ms = d->slots[0].number * DAY_MS;
        out->max_t_ms = (d->slots[d->n - 1].number + 1) * DAY_MS - 1;
    }
    pthread_mutex_unlock(&d->lock);
}
