/* db_delete.c -- deleting samples.
 *
 * The head is flushed first, so that all there is to delete is in day files; each of those notes
 * what was deleted of its own series. Flushes that come later are not affected. Rewriting a day
 * drops what was deleted for good.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "storage/day.h"
#include "storage/db_private.h"
#include "storage/postings.h"
#include "base/banned.h"

enum { MAX_ARENA_BYTES = 1 << 30 };

struct delete
{
    const struct db_selector *selectors;
    size_t n;
    int64_t min_t_ms, max_t_ms;
};

/* The series of a day that one of the selectors selects. */
static enum errc select_series(const struct delete *what, struct day_txn *t, struct arena *a,
                               struct postings *out, struct err *err)
{
    struct index_source index = day_index(t);
    struct postings *lists = ARENA_NEW(a, struct postings, what->n);
    enum errc rc = OK;

    if (!lists)
        return err_set(err, ERR_LIMIT, 0, "no memory to delete");
    for (size_t i = 0; rc == OK && i < what->n; i++)
        rc = postings_select(&index, what->selectors[i].matchers, what->selectors[i].n, a,
                             &lists[i], err);
    if (rc == OK && postings_or(lists, what->n, a, out) != OK)
        rc = err_set(err, ERR_LIMIT, 0, "no memory to delete");
    return rc;
}

static enum errc delete_in(const struct delete *what, struct day *day, struct err *err)
{
    struct arena *a = arena_new(MAX_ARENA_BYTES);
    struct day_txn *t = NULL;
    struct postings ids = { 0 };
    enum errc rc = a ? day_txn_begin(day, UINT64_MAX, &t, err)
                     : err_set(err, ERR_NOMEM, 0, "no memory to delete");

    if (rc == OK)
        rc = select_series(what, t, a, &ids, err);
    day_txn_end(t);
    if (rc == OK && ids.n > 0)
        rc = day_delete(day, what->min_t_ms, what->max_t_ms, ids.ids, ids.n, err);
    arena_free(a);
    return rc;
}

static enum errc delete_in_days(struct db *db, const struct delete *what, struct err *err)
{
    struct day_files files;
    enum errc rc = days_list(db->days, day_of(what->min_t_ms), day_of(what->max_t_ms), &files, err);

    for (size_t i = 0; rc == OK && i < files.n; i++) {
        struct day *day;

        rc = day_file_open(files.items[i], &day, err);
        if (rc != OK)
            break;
        rc = delete_in(what, day, err);
        day_unref(day);
    }
    day_files_free(&files);
    return rc;
}

enum errc db_delete(struct db *db, const struct db_selector *selectors, size_t n, int64_t min_t_ms,
                    int64_t max_t_ms, struct err *err)
{
    struct delete what = { selectors, n, min_t_ms, max_t_ms };
    enum errc rc;

    if (!db->dir)
        return err_set(err, ERR_UNSUPPORTED, 0, "a store in memory cannot delete");
    if (min_t_ms > max_t_ms)
        return OK;
    db_upkeep_lock(db);
    pthread_mutex_lock(&db->flush_lock);
    rc = db_flush_locked(db, err);
    if (rc == OK)
        rc = delete_in_days(db, &what, err);
    pthread_mutex_unlock(&db->flush_lock);
    db_upkeep_unlock(db);
    return rc;
}
