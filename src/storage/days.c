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
    struct manifest_day file;
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
    struct slot *slots; /* in manifest_day_cmp order */
    size_t n, cap;
    size_t n_open;
    uint64_t begun, released, tick;
};

static void slot_path(const struct days *d, const struct slot *s, char path[PATH_MAX])
{
    char name[DAY_NAME_MAX];

    day_file_name(s->file.day, s->file.generation, name);
    snprintf(path, PATH_MAX, "%s/%s", d->folder, name);
}

/* ---- finding files; the lock is held ---- */

/* The place of the first slot that is not before file. */
static size_t find(const struct days *d, struct manifest_day file)
{
    size_t lo = 0, hi = d->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (manifest_day_cmp(d->slots[mid].file, file) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t find_day(const struct days *d, int64_t day)
{
    return find(d, (struct manifest_day){ day, 0 });
}

static struct slot *slot_of(struct days *d, struct manifest_day file)
{
    size_t i = find(d, file);

    return i < d->n && manifest_day_cmp(d->slots[i].file, file) == 0 ? &d->slots[i] : NULL;
}

static struct slot *newest_slot(struct days *d, int64_t day)
{
    size_t end = find(d, (struct manifest_day){ day, UINT64_MAX });

    return end > 0 && d->slots[end - 1].file.day == day ? &d->slots[end - 1] : NULL;
}

/* ---- opening ---- */

struct tidy {
    struct days *days;
    size_t removed;
};

/* Reads the name of a day file, or of what LMDB keeps beside it: "-lock", and ".tmp" while the file
 * is being made. */
static bool parse_name(const char *name, struct manifest_day *file, bool *temporary)
{
    struct str s = str_from(name);

    if (str_ends_with(s, STR("-lock")))
        s.len -= 5;
    *temporary = str_ends_with(s, STR(".tmp"));
    if (*temporary)
        s.len -= 4;
    return day_file_parse(s, file);
}

/* A day file that MANIFEST does not name was not finished when the process died: the log has its
 * samples. */
static bool remove_stray(void *ctx, const char *name)
{
    struct tidy *t = ctx;
    struct manifest_day file;
    char path[PATH_MAX];
    bool temporary;

    if (!parse_name(name, &file, &temporary) || (!temporary && slot_of(t->days, file)))
        return true;
    snprintf(path, sizeof path, "%s/%s", t->days->folder, name);
    if (fs_remove(path, NULL) == OK)
        t->removed++;
    return true;
}

static bool count_file(void *ctx, const char *name)
{
    struct manifest_day file;

    *(size_t *)ctx += day_file_parse(str_from(name), &file);
    return true;
}

/* A new store begins with a MANIFEST, so that a lost one is not taken for an empty catalogue, whose
 * day files would all be strays. */
static enum errc begin(struct days *d, struct err *err)
{
    struct manifest none = { 0 };
    size_t n_files = 0;
    enum errc rc = fs_each(d->folder, count_file, &n_files, err);

    if (rc == OK && n_files > 0)
        rc = err_set(err, ERR_CORRUPT, 0,
                     "%s/MANIFEST is missing, but %s has %zu day files: restore it from a backup, "
                     "or move the data directory away to begin anew",
                     d->dir, d->folder, n_files);
    return rc == OK ? manifest_save(d->dir, &none, err) : rc;
}

static enum errc load(struct days *d, struct err *err)
{
    struct manifest m = { 0 };
    enum errc rc = manifest_load(d->dir, &m, err);

    if (rc == ERR_NOT_FOUND)
        return begin(d, err);
    if (rc == OK && !vec_reserve(&d->slots, &d->cap, m.n_days + 1, sizeof *d->slots))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for the list of days");
    if (rc == OK) {
        d->begun = m.begun;
        d->released = m.released;
        for (size_t i = 0; i < m.n_days; i++)
            d->slots[d->n++] = (struct slot){ .file = m.days[i], .published = true };
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

uint64_t days_begun(struct days *d)
{
    uint64_t begun;

    pthread_mutex_lock(&d->lock);
    begun = d->begun;
    pthread_mutex_unlock(&d->lock);
    return begun;
}

/* ---- open files; the lock is held ---- */

static void close_slot(struct days *d, struct slot *s)
{
    if (s->day)
        d->n_open--;
    day_unref(s->day);
    s->day = NULL;
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
        close_slot(d, oldest);
    }
}

static enum errc open_slot(struct days *d, struct slot *s, struct err *err)
{
    char path[PATH_MAX];
    enum errc rc;

    slot_path(d, s, path);
    rc = day_open(path, s->file.day, d->map_bytes, !s->published, &s->day, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, 0, "%s is missing, although MANIFEST names it", path);
    if (rc == OK)
        d->n_open++;
    return rc;
}

static enum errc add_slot(struct days *d, struct manifest_day file, struct err *err)
{
    size_t at = find(d, file);

    if (!vec_reserve(&d->slots, &d->cap, d->n + 1, sizeof *d->slots))
        return err_set(err, ERR_NOMEM, 0, "no memory for another day");
    memmove(d->slots + at + 1, d->slots + at, (d->n - at) * sizeof *d->slots);
    d->slots[at] = (struct slot){ .file = file };
    d->n++;
    return OK;
}

static void remove_slot(struct days *d, size_t i)
{
    close_slot(d, &d->slots[i]);
    memmove(d->slots + i, d->slots + i + 1, (d->n - i - 1) * sizeof *d->slots);
    d->n--;
}

static enum errc use_slot(struct days *d, struct slot *s, struct day **out, struct err *err)
{
    enum errc rc = s->day ? OK : open_slot(d, s, err);

    if (rc != OK)
        return rc;
    s->last_used = ++d->tick;
    *out = day_ref(s->day);
    close_unused(d);
    return OK;
}

static enum errc get_newest(struct days *d, int64_t day, struct day **out, struct err *err)
{
    struct slot *s = newest_slot(d, day);
    enum errc rc = OK;

    if (!s) {
        rc = add_slot(d, (struct manifest_day){ day, 1 }, err);
        s = newest_slot(d, day);
    }
    if (rc == OK)
        rc = use_slot(d, s, out, err);
    if (rc != OK && s && !s->published && !s->day)
        remove_slot(d,
                    (size_t)(s - d->slots)); /* nothing is in it, and nothing must be published */
    return rc;
}

static enum errc begin_file(struct days *d, int64_t day, struct err *err)
{
    struct slot *s = newest_slot(d, day);

    if (!s || !s->published)
        return err_set(err, ERR_CONFLICT, 0, "day %lld has a new file already", (long long)day);
    return add_slot(d, (struct manifest_day){ day, s->file.generation + 1 }, err);
}

/* ---- the same, for callers ---- */

enum errc days_get(struct days *d, struct manifest_day file, struct day **out, struct err *err)
{
    struct slot *s;
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    s = slot_of(d, file);
    rc = s ? use_slot(d, s, out, err)
           : err_set(err, ERR_NOT_FOUND, 0, "no data for day %lld", (long long)file.day);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

enum errc days_get_newest(struct days *d, int64_t day, struct day **out, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    rc = get_newest(d, day, out, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

enum errc days_begin_file(struct days *d, int64_t day, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    rc = begin_file(d, day, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

void days_close_newest(struct days *d, int64_t day)
{
    struct slot *s;

    pthread_mutex_lock(&d->lock);
    s = newest_slot(d, day);
    if (s && s->day && day_is_idle(s->day))
        close_slot(d, s);
    pthread_mutex_unlock(&d->lock);
}

uint64_t days_last_flush(struct days *d, int64_t day)
{
    uint64_t newest = 0;

    pthread_mutex_lock(&d->lock);
    for (size_t i = find_day(d, day); i < d->n && d->slots[i].file.day == day; i++) {
        struct day *found;

        if (use_slot(d, &d->slots[i], &found, NULL) != OK)
            continue;
        newest = day_last_flush(found) > newest ? day_last_flush(found) : newest;
        day_unref(found);
    }
    pthread_mutex_unlock(&d->lock);
    return newest;
}

enum errc days_list(struct days *d, int64_t first, int64_t last, struct manifest_day **out,
                    size_t *n, struct err *err)
{
    enum errc rc = OK;

    *n = 0;
    pthread_mutex_lock(&d->lock);
    *out = malloc((d->n + 1) * sizeof **out);
    if (!*out)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a list of days");
    for (size_t i = find_day(d, first); rc == OK && i < d->n && d->slots[i].file.day <= last; i++)
        if (d->slots[i].published)
            (*out)[(*n)++] = d->slots[i].file;
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* ---- changing the catalogue; the lock is held ---- */

/* Writes MANIFEST with the slots from first on, published ones or all, as of log generation
 * released. */
static enum errc save(struct days *d, size_t first, bool all, uint64_t released, struct err *err)
{
    struct manifest m = { .begun = d->begun, .released = released };
    enum errc rc = OK;

    for (size_t i = first; i < d->n && rc == OK; i++)
        if ((all || d->slots[i].published) && !manifest_add(&m, d->slots[i].file))
            rc = err_set(err, ERR_NOMEM, 0, "no memory for MANIFEST");
    if (rc == OK)
        rc = manifest_save(d->dir, &m, err);
    manifest_free(&m);
    return rc;
}

enum errc days_begin_flush(struct days *d, uint64_t flush, struct err *err)
{
    uint64_t before;
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    before = d->begun;
    d->begun = flush;
    rc = save(d, 0, false, d->released, err);
    if (rc != OK)
        d->begun = before;
    pthread_mutex_unlock(&d->lock);
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

/* A file that cannot be removed is tried again at the next start, being a stray then. */
static enum errc drop_locked(struct days *d, size_t n, struct err *err)
{
    enum errc rc = save(d, n, false, d->released, err);
    enum errc first = rc;

    for (size_t i = 0; rc == OK && i < n; i++) {
        char path[PATH_MAX];
        enum errc removed;

        slot_path(d, &d->slots[0], path);
        remove_slot(d, 0);
        removed = kv_remove(path, first == OK ? err : NULL);
        first = first == OK ? removed : first;
    }
    return first;
}

enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err)
{
    size_t n_before;
    enum errc rc = OK;

    pthread_mutex_lock(&d->lock);
    n_before = d->n;
    if (find_day(d, day) > 0)
        rc = drop_locked(d, find_day(d, day), err);
    *dropped = n_before - d->n;
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
        out->days += i == 0 || d->slots[i].file.day != d->slots[i - 1].file.day;
    }
    if (d->n) {
        out->min_t_ms = day_first_ms(d->slots[0].file.day);
        out->max_t_ms = day_last_ms(d->slots[d->n - 1].file.day);
    }
    pthread_mutex_unlock(&d->lock);
}
