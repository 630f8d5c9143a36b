#include "storage/days.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/days_private.h"
#include "storage/kv.h"
#include "storage/sample.h"
#include "base/banned.h"

/* ---- finding files; the lock is held ---- */

/* The place of the first file that is not before id. */
static size_t find(const struct days *d, struct manifest_day id)
{
    size_t lo = 0, hi = d->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (manifest_day_cmp(d->files[mid]->id, id) < 0)
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

static struct day_file *file_of(struct days *d, struct manifest_day id)
{
    size_t i = find(d, id);

    return i < d->n && manifest_day_cmp(d->files[i]->id, id) == 0 ? d->files[i] : NULL;
}

static struct day_file *newest_file(struct days *d, int64_t day)
{
    size_t end = find(d, (struct manifest_day){ day, UINT64_MAX });

    return end > 0 && d->files[end - 1]->id.day == day ? d->files[end - 1] : NULL;
}

/* The generation of a day's next file: above all there are or may still be on the disk. */
static uint64_t next_generation(struct days *d, int64_t day)
{
    const struct day_file *f = newest_file(d, day);
    uint64_t generation = f ? f->id.generation + 1 : d->first_generation;

    if (generation < d->next_generation)
        generation = d->next_generation;
    if (d->rewriting && d->rewritten.day == day && d->rewritten.generation >= generation)
        generation = d->rewritten.generation + 1;
    return generation;
}

/* ---- the list; the lock is held ---- */

static enum errc insert(struct days *d, struct day_file *f, struct err *err)
{
    size_t at = find(d, f->id);

    if (!vec_reserve(&d->files, &d->cap, d->n + 1, sizeof(struct day_file *)))
        return err_set(err, ERR_NOMEM, 0, "no memory for another day");
    memmove(d->files + at + 1, d->files + at, (d->n - at) * sizeof *d->files);
    d->files[at] = f;
    d->n++;
    return OK;
}

static enum errc add_file(struct days *d, struct manifest_day id, struct day_file **out,
                          struct err *err)
{
    struct day_file *f = day_file_new(d, id);
    enum errc rc = f ? insert(d, f, err) : err_set(err, ERR_NOMEM, 0, "no memory for another day");

    if (rc == OK)
        *out = f;
    else
        day_file_free(f, false);
    return rc;
}

/* Takes a file out of the list and puts it, with a reference, on the list of those gone. */
static void take_out(struct days *d, struct day_file *f, struct day_file **gone)
{
    size_t i = find(d, f->id);

    ASSERT(d->files[i] == f);
    memmove(d->files + i, d->files + i + 1, (d->n - i - 1) * sizeof *d->files);
    d->n--;
    day_file_use(f)->dropped = true;
    if (f->made && f->id.generation >= d->first_generation)
        d->first_generation = f->id.generation + 1;
    f->next_dropped = d->dropped;
    d->dropped = f;
    f->next_gone = *gone;
    *gone = f;
}

/* The lock is not held. */
static size_t release_all(struct day_file *gone)
{
    size_t n = 0;

    for (struct day_file *next; gone; gone = next, n++) {
        next = gone->next_gone;
        day_file_release(gone);
    }
    return n;
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

    if (!parse_name(name, &file, &temporary) || (!temporary && file_of(t->days, file)))
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
    for (size_t i = 0; i < m.n_days && rc == OK; i++) {
        struct day_file *f = NULL;

        rc = add_file(d, m.days[i], &f, err);
        if (rc == OK)
            f->published = f->made = true;
    }
    d->begun = m.begun;
    d->released = m.released;
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
    pthread_mutex_init(&d->change, NULL);
    pthread_mutex_init(&d->lock, NULL);
    d->map_bytes = map_bytes;
    d->first_generation = 1;
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
    ASSERT(!d->dropped);
    for (size_t i = 0; i < d->n; i++)
        day_file_free(d->files[i], false);
    free(d->files);
    free(d->dropped);
    free(d->dir);
    free(d->folder);
    pthread_mutex_destroy(&d->change);
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

/* ---- listing ---- */

static enum errc list(struct days *d, int64_t first, int64_t last, bool all, struct day_files *out,
                      struct err *err)
{
    enum errc rc = OK;

    *out = (struct day_files){ 0 };
    pthread_mutex_lock(&d->lock);
    out->items = calloc(d->n + 1, sizeof *out->items);
    if (!out->items)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a list of days");
    for (size_t i = find_day(d, first); rc == OK && i < d->n && d->files[i]->id.day <= last; i++)
        if (all || d->files[i]->published)
            out->items[out->n++] = day_file_use(d->files[i]);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

enum errc days_list(struct days *d, int64_t first, int64_t last, struct day_files *out,
                    struct err *err)
{
    return list(d, first, last, false, out, err);
}

enum errc days_get(struct days *d, struct manifest_day id, struct day **out, struct err *err)
{
    struct day_file *f;
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    f = file_of(d, id);
    if (f)
        day_file_use(f);
    pthread_mutex_unlock(&d->lock);
    if (!f)
        return err_set(err, ERR_NOT_FOUND, 0, "no data for day %lld", (long long)id.day);
    rc = day_file_open(f, out, err);
    day_file_release(f);
    return rc;
}

void days_stats(struct days *d, struct days_stats *out)
{
    struct day_files files;

    *out = (struct days_stats){ .min_t_ms = INT64_MAX, .max_t_ms = INT64_MIN };
    if (list(d, INT64_MIN, INT64_MAX, true, &files, NULL) != OK)
        return;
    for (size_t i = 0; i < files.n; i++) {
        out->bytes += fs_size(files.items[i]->path);
        out->days += i == 0 || files.items[i]->id.day != files.items[i - 1]->id.day;
    }
    out->files = files.n;
    if (files.n) {
        out->min_t_ms = day_first_ms(files.items[0]->id.day);
        out->max_t_ms = day_last_ms(files.items[files.n - 1]->id.day);
    }
    day_files_free(&files);
}

/* ---- for the flusher ---- */

/* The file that flushes of the day go to, with a reference. The lock is held. */
static enum errc use_newest(struct days *d, int64_t day, struct day_file **out, struct err *err)
{
    struct day_file *f = newest_file(d, day);
    enum errc rc = OK;

    if (!f
        || (d->rewriting && manifest_day_cmp(f->id, d->rewritten) <= 0 && day == d->rewritten.day))
        rc = add_file(d, (struct manifest_day){ day, next_generation(d, day) }, &f, err);
    if (rc == OK)
        *out = day_file_use(f);
    return rc;
}

/* Nothing is in a file that could not be created, and nothing must be published. */
static void take_back(struct days *d, struct day_file *f)
{
    struct day_file *gone = NULL;

    pthread_mutex_lock(&d->lock);
    if (!f->published && !f->open && !f->dropped)
        take_out(d, f, &gone);
    pthread_mutex_unlock(&d->lock);
    release_all(gone);
}

enum errc days_get_newest(struct days *d, int64_t day, struct day **out, struct err *err)
{
    struct day_file *f = NULL;
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    rc = use_newest(d, day, &f, err);
    pthread_mutex_unlock(&d->lock);
    if (rc != OK)
        return rc;
    rc = day_file_open(f, out, err);
    if (rc != OK)
        take_back(d, f);
    day_file_release(f);
    return rc;
}

enum errc days_begin_file(struct days *d, int64_t day, struct err *err)
{
    struct day_file *f;
    enum errc rc;

    pthread_mutex_lock(&d->lock);
    f = newest_file(d, day);
    if (!f || !f->published)
        rc = err_set(err, ERR_CONFLICT, 0, "day %lld has a new file already", (long long)day);
    else
        rc = add_file(d, (struct manifest_day){ day, next_generation(d, day) }, &f, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

void days_close_newest(struct days *d, int64_t day)
{
    struct day_file *f;

    pthread_mutex_lock(&d->lock);
    f = newest_file(d, day);
    if (f)
        day_file_use(f);
    pthread_mutex_unlock(&d->lock);
    if (!f)
        return;
    day_file_close(f);
    day_file_release(f);
}

uint64_t days_last_flush(struct days *d, int64_t day)
{
    struct day_files files;
    uint64_t newest = 0;

    if (list(d, day, day, true, &files, NULL) != OK)
        return 0;
    for (size_t i = 0; i < files.n; i++) {
        struct day *found;

        if (day_file_open(files.items[i], &found, NULL) != OK)
            continue;
        newest = day_last_flush(found) > newest ? day_last_flush(found) : newest;
        day_unref(found);
    }
    day_files_free(&files);
    return newest;
}

/* ---- MANIFEST; change is held, and the lock is not ---- */

/* What MANIFEST is to say. */
struct wanted {
    bool all;                          /* also files that were made and are not published yet */
    int64_t from;                      /* the first day to keep */
    const struct day_rewrite *rewrite; /* without its files, but with its new one if made */
    bool made;
    uint64_t begun, released;
};

static bool is_replaced(const struct wanted *w, const struct day_file *f)
{
    for (size_t i = 0; w->rewrite && i < w->rewrite->files.n; i++)
        if (w->rewrite->files.items[i] == f)
            return true;
    return false;
}

/* The new file comes after those it replaces and before any that was begun meanwhile. */
static bool fill(struct days *d, const struct wanted *w, struct manifest *m)
{
    bool pending = w->made;

    for (size_t i = find_day(d, w->from); i < d->n; i++) {
        const struct day_file *f = d->files[i];

        if (pending && manifest_day_cmp(w->rewrite->id, f->id) < 0) {
            pending = false;
            if (!manifest_add(m, w->rewrite->id))
                return false;
        }
        if ((f->published || (w->all && f->made)) && !is_replaced(w, f) && !manifest_add(m, f->id))
            return false;
    }
    return !pending || manifest_add(m, w->rewrite->id);
}

static enum errc save(struct days *d, const struct wanted *w, struct err *err)
{
    struct manifest m = { .begun = w->begun, .released = w->released };
    enum errc rc = OK;
    bool filled;

    pthread_mutex_lock(&d->lock);
    filled = fill(d, w, &m);
    pthread_mutex_unlock(&d->lock);
    rc = filled ? manifest_save(d->dir, &m, err)
                : err_set(err, ERR_NOMEM, 0, "no memory for MANIFEST");
    manifest_free(&m);
    return rc;
}

/* As things are. Only who holds change alters begun and released. */
static struct wanted as_is(const struct days *d)
{
    return (struct wanted){ .from = INT64_MIN, .begun = d->begun, .released = d->released };
}

enum errc days_begin_flush(struct days *d, uint64_t flush, struct err *err)
{
    struct wanted w;
    enum errc rc;

    pthread_mutex_lock(&d->change);
    w = as_is(d);
    w.begun = flush;
    rc = save(d, &w, err);
    if (rc == OK) {
        pthread_mutex_lock(&d->lock);
        d->begun = flush;
        pthread_mutex_unlock(&d->lock);
    }
    pthread_mutex_unlock(&d->change);
    return rc;
}

enum errc days_publish(struct days *d, uint64_t released, struct err *err)
{
    struct wanted w;
    enum errc rc;

    pthread_mutex_lock(&d->change);
    w = as_is(d);
    w.all = true;
    w.released = released;
    rc = save(d, &w, err);
    if (rc == OK) {
        pthread_mutex_lock(&d->lock);
        d->released = released;
        for (size_t i = 0; i < d->n; i++)
            d->files[i]->published |= d->files[i]->made;
        pthread_mutex_unlock(&d->lock);
    }
    pthread_mutex_unlock(&d->change);
    return rc;
}

/* ---- rewriting ---- */

/* Lists the files of the day, all published. The lock is held. */
static enum errc list_for_rewrite(struct days *d, int64_t day, struct day_rewrite *out,
                                  struct err *err)
{
    size_t from = find_day(d, day), end = from;

    for (; end < d->n && d->files[end]->id.day == day; end++)
        if (!d->files[end]->published)
            return err_set(err, ERR_CONFLICT, 0, "%s is being written", d->files[end]->path);
    if (d->rewriting)
        return err_set(err, ERR_CONFLICT, 0, "another day is being rewritten");
    if (from == end)
        return err_set(err, ERR_NOT_FOUND, 0, "no data for day %lld", (long long)day);
    out->files.items = calloc(end - from, sizeof *out->files.items);
    if (!out->files.items)
        return err_set(err, ERR_NOMEM, 0, "no memory to rewrite a day");
    while (from < end)
        out->files.items[out->files.n++] = day_file_use(d->files[from++]);
    return OK;
}

enum errc days_begin_rewrite(struct days *d, int64_t day, struct day_rewrite *out, struct err *err)
{
    enum errc rc;

    *out = (struct day_rewrite){ 0 };
    pthread_mutex_lock(&d->change);
    pthread_mutex_lock(&d->lock);
    rc = list_for_rewrite(d, day, out, err);
    if (rc == OK) {
        out->id = (struct manifest_day){ day, next_generation(d, day) };
        d->rewritten = out->id;
        d->rewriting = true;
    }
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_unlock(&d->change);
    if (rc == OK && !(out->path = malloc(PATH_MAX)))
        rc = err_set(err, ERR_NOMEM, 0, "no memory to rewrite a day");
    if (rc == OK) {
        char name[DAY_NAME_MAX];

        day_file_name(day, out->id.generation, name);
        snprintf(out->path, PATH_MAX, "%s/%s", d->folder, name);
        rc = kv_remove(out->path, err); /* what an earlier attempt may have left */
    }
    if (rc != OK && out->files.n)
        days_abort_rewrite(d, out);
    return rc;
}

static void end_rewrite(struct days *d, struct day_rewrite *r)
{
    pthread_mutex_lock(&d->lock);
    d->rewriting = false;
    pthread_mutex_unlock(&d->lock);
    day_files_free(&r->files);
    free(r->path);
    *r = (struct day_rewrite){ 0 };
}

void days_abort_rewrite(struct days *d, struct day_rewrite *r)
{
    if (r->path && kv_remove(r->path, NULL) != OK)
        log_warn("an unfinished day file could not be removed; the next start tries again",
                 "file=\"%s\"", r->path);
    end_rewrite(d, r);
}

/* Puts the new file, if there is one, in the place of the old ones. False: the retention has
 * dropped those meanwhile, and nothing has changed. */
static bool replace(struct days *d, const struct day_rewrite *r, struct day_file *f)
{
    struct day_file *gone = NULL;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < r->files.n; i++)
        if (!r->files.items[i]->dropped)
            take_out(d, r->files.items[i], &gone);
    if (f && gone) {
        enum errc rc = insert(d, f, NULL);

        ASSERT(rc == OK); /* in the place of those taken out */
        f->published = f->made = f->open = true;
        d->n_open++;
    }
    pthread_mutex_unlock(&d->lock);
    return release_all(gone) > 0;
}

enum errc days_finish_rewrite(struct days *d, struct day_rewrite *r, struct day *made,
                              struct err *err)
{
    struct day_file *f = made ? day_file_new(d, r->id) : NULL;
    struct wanted w;
    enum errc rc = OK;

    pthread_mutex_lock(&d->change);
    if (f)
        f->day = made;
    else
        day_unref(made);
    if (made && !f)
        rc = err_set(err, ERR_NOMEM, 0, "no memory to replace the files of a day");
    w = as_is(d);
    w.rewrite = r;
    w.made = made && !r->files.items[0]->dropped;
    if (rc == OK)
        rc = save(d, &w, err);
    if (rc != OK) {
        /* A MANIFEST that names it may have reached the disk: its name is not used again. */
        pthread_mutex_lock(&d->lock);
        d->next_generation = r->id.generation + 1;
        pthread_mutex_unlock(&d->lock);
        day_file_free(f, false);
    } else if (!replace(d, r, f)) {
        day_file_free(f, true);
    }
    pthread_mutex_unlock(&d->change);
    end_rewrite(d, r);
    return rc;
}

/* ---- dropping ---- */

/* A file that cannot be removed is tried again at the next start, being a stray then. */
static enum errc drop(struct days *d, int64_t day, size_t *dropped, struct err *err)
{
    struct wanted w = as_is(d);
    struct day_file *gone = NULL;
    enum errc rc;
    bool any;

    pthread_mutex_lock(&d->lock);
    any = d->n > 0 && d->files[0]->id.day < day;
    pthread_mutex_unlock(&d->lock);
    if (!any)
        return OK;
    w.from = day;
    rc = save(d, &w, err);
    if (rc != OK)
        return rc;
    pthread_mutex_lock(&d->lock);
    while (d->n > 0 && d->files[0]->id.day < day)
        take_out(d, d->files[0], &gone);
    pthread_mutex_unlock(&d->lock);
    *dropped = release_all(gone);
    return OK;
}

enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err)
{
    enum errc rc;

    *dropped = 0;
    pthread_mutex_lock(&d->change);
    rc = drop(d, day, dropped, err);
    pthread_mutex_unlock(&d->change);
    return rc;
}
