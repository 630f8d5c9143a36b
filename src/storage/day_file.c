/* day_file.c -- the files of the catalogue: references, opening and closing. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/day.h"
#include "storage/days_private.h"
#include "storage/kv.h"
#include "base/banned.h"

enum { MAX_OPEN = 64 };

/* ---- a file's life ---- */

struct day_file *day_file_new(struct days *d, struct manifest_day id)
{
    struct day_file *f = calloc(1, sizeof *f);
    char name[DAY_NAME_MAX];
    size_t n;

    if (!f)
        return NULL;
    day_file_name(id.day, id.generation, name);
    n = strlen(d->folder) + strlen(name) + 2;
    f->days = d;
    f->id = id;
    f->path = malloc(n);
    pthread_mutex_init(&f->opening, NULL);
    if (!f->path) {
        day_file_free(f, false);
        return NULL;
    }
    snprintf(f->path, n, "%s/%s", d->folder, name);
    return f;
}

void day_file_free(struct day_file *f, bool remove)
{
    if (!f)
        return;
    ASSERT(f->users == 0);
    if (f->open) {
        pthread_mutex_lock(&f->days->lock);
        f->days->n_open--;
        pthread_mutex_unlock(&f->days->lock);
    }
    day_unref(f->day);
    if (remove && kv_remove(f->path, NULL) != OK)
        log_warn("a day file that is not needed any more could not be removed; the next start "
                 "tries again",
                 "file=\"%s\"", f->path);
    pthread_mutex_destroy(&f->opening);
    free(f->path);
    free(f);
}

struct day_file *day_file_use(struct day_file *f)
{
    f->users++;
    return f;
}

/* Takes a dropped file off the list of those that are still used. */
static void forget_dropped(struct days *d, const struct day_file *f)
{
    struct day_file **at = &d->dropped;

    while (*at && *at != f)
        at = &(*at)->next_dropped;
    ASSERT(*at);
    *at = f->next_dropped;
}

void day_file_release(struct day_file *f)
{
    struct days *d = f->days;
    bool last;

    pthread_mutex_lock(&d->lock);
    ASSERT(f->users > 0);
    last = --f->users == 0 && f->dropped;
    if (last)
        forget_dropped(d, f);
    pthread_mutex_unlock(&d->lock);
    if (last)
        day_file_free(f, true);
}

void day_files_free(struct day_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        day_file_release(files->items[i]);
    free(files->items);
    *files = (struct day_files){ 0 };
}

struct manifest_day day_file_id(const struct day_file *f)
{
    return f->id;
}

const char *day_file_path(const struct day_file *f)
{
    return f->path;
}

/* ---- opening and closing ---- */

bool day_file_close(struct day_file *f)
{
    struct day *day = NULL;

    pthread_mutex_lock(&f->opening);
    if (f->day && day_is_idle(f->day)) {
        day = f->day;
        f->day = NULL;
        f->summary = day_summary(day);
        f->known = true;
        day_unref(day); /* before another can open the file: twice would break LMDB's locks */
        pthread_mutex_lock(&f->days->lock);
        f->open = false;
        f->days->n_open--;
        pthread_mutex_unlock(&f->days->lock);
    }
    pthread_mutex_unlock(&f->opening);
    return day != NULL;
}

/* A reference to the least recently used open file that was not used after tick, or NULL. */
static struct day_file *oldest_open(struct days *d, uint64_t tick)
{
    struct day_file *oldest = NULL;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; d->n_open > MAX_OPEN && i < d->n; i++) {
        struct day_file *f = d->files[i];

        if (f->open && f->last_used <= tick && (!oldest || f->last_used < oldest->last_used))
            oldest = f;
    }
    if (oldest)
        day_file_use(oldest);
    pthread_mutex_unlock(&d->lock);
    return oldest;
}

/* Closes files that nobody reads until at most MAX_OPEN are open. One that is being read stays, and
 * counts as just used. */
static void close_unused(struct days *d, uint64_t tick)
{
    struct day_file *f;

    while ((f = oldest_open(d, tick))) {
        if (!day_file_close(f)) {
            pthread_mutex_lock(&d->lock);
            f->last_used = ++d->tick;
            pthread_mutex_unlock(&d->lock);
        }
        day_file_release(f);
    }
}

enum errc day_file_open(struct day_file *f, struct day **out, struct err *err)
{
    struct days *d = f->days;
    uint64_t tick;
    enum errc rc = OK;
    bool opened = false, create;

    pthread_mutex_lock(&d->lock);
    create = !f->published;
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_lock(&f->opening);
    if (!f->day) {
        rc = day_open(f->path, f->id.day, d->map_bytes, create, &f->day, err);
        opened = rc == OK;
    }
    if (rc == OK)
        *out = day_ref(f->day);
    pthread_mutex_lock(&d->lock);
    tick = f->last_used = ++d->tick;
    if (opened) {
        f->open = true;
        f->made = true;
        d->n_open++;
    }
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_unlock(&f->opening);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, 0, "%s is missing, although MANIFEST names it", f->path);
    if (opened)
        close_unused(d, tick - 1);
    return rc;
}

enum errc day_file_summary(struct day_file *f, struct day_summary *out, struct err *err)
{
    struct day *day;
    enum errc rc;
    bool known;

    pthread_mutex_lock(&f->opening);
    known = f->day || f->known;
    if (known)
        *out = f->day ? day_summary(f->day) : f->summary;
    pthread_mutex_unlock(&f->opening);
    if (known)
        return OK;
    rc = day_file_open(f, &day, err);
    if (rc != OK)
        return rc;
    *out = day_summary(day);
    day_unref(day);
    return OK;
}
