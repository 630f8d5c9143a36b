/* db_view.c -- reading: selecting series in head and days, joining them by labels, reading their
 * samples.
 *
 * A series of a select has a list of places: the day files first, by day and the oldest of a day
 * first, then the head, so that samples come nearly in time order, and of two samples for one time
 * the one logged first is met first.
 */
#include "storage/db_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/db_private.h"
#include "storage/postings.h"
#include "base/banned.h"

struct view_day {
    struct day_file *file;
    int64_t day;
    struct day_txn *txn; /* begun when first needed */
};

struct db_view {
    struct db *db;
    struct db_view *prev, *next; /* in db->views */
    int64_t min_t_ms, max_t_ms;
    uint64_t max_flush;
    struct day_files files; /* by day and then oldest first */
    struct view_day *days;  /* one for each */
    size_t n_days;
};

bool db_view_older_than(const struct db_view *list, uint64_t flush)
{
    for (; list; list = list->next)
        if (list->max_flush < flush)
            return true;
    return false;
}

uint64_t db_view_max_flush(const struct db_view *v)
{
    return v->max_flush;
}

struct db *db_view_db(const struct db_view *v)
{
    return v->db;
}

static enum errc list_days(struct db_view *v, struct err *err)
{
    enum errc rc = days_list(v->db->days, day_of(v->min_t_ms), day_of(v->max_t_ms), &v->files, err);

    if (rc == OK && !(v->days = calloc(v->files.n + 1, sizeof *v->days)))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for a view");
    if (rc != OK)
        return rc;
    v->n_days = v->files.n;
    for (size_t i = 0; i < v->n_days; i++) {
        v->days[i].file = v->files.items[i];
        v->days[i].day = day_file_id(v->files.items[i]).day;
    }
    return OK;
}

enum errc db_view_open(struct db *db, int64_t min_t_ms, int64_t max_t_ms, struct db_view **out,
                       struct err *err)
{
    struct db_view *v = calloc(1, sizeof *v);
    enum errc rc;

    if (!v)
        return err_set(err, ERR_NOMEM, 0, "no memory for a view");
    v->db = db;
    v->min_t_ms = min_t_ms;
    v->max_t_ms = max_t_ms;
    pthread_mutex_lock(&db->lock);
    v->max_flush = db->flushed;
    v->next = db->views;
    if (v->next)
        v->next->prev = v;
    db->views = v;
    pthread_mutex_unlock(&db->lock);
    rc = db->days ? list_days(v, err) : OK; /* after max_flush: every published day is listed */
    if (rc != OK) {
        db_view_close(v);
        return rc;
    }
    *out = v;
    return OK;
}

void db_view_close(struct db_view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->n_days; i++)
        day_txn_end(v->days[i].txn);
    day_files_free(&v->files);
    pthread_mutex_lock(&v->db->lock);
    if (v->prev)
        v->prev->next = v->next;
    else
        v->db->views = v->next;
    if (v->next)
        v->next->prev = v->prev;
    pthread_cond_broadcast(&v->db->views_changed);
    pthread_mutex_unlock(&v->db->lock);
    free(v->days);
    free(v);
}

static enum errc note(struct db *db, enum errc rc)
{
    if (rc == ERR_CORRUPT)
        atomic_fetch_add(&db->corruptions, 1);
    return rc;
}

static enum errc view_txn(struct db_view *v, struct view_day *d, struct day_txn **txn,
                          struct err *err)
{
    struct day *day;
    enum errc rc = OK;

    if (!d->txn) {
        rc = day_file_open(d->file, &day, err);
        if (rc == OK) {
            rc = day_txn_begin(day, v->max_flush, &d->txn, err);
            day_unref(day);
        }
    }
    *txn = d->txn;
    return note(v->db, rc);
}

/* ---- selecting ---- */

/* The series found so far, by labels. */
struct join {
    struct arena *arena;
    struct series *items;
    size_t n, cap;
    struct table by_labels;
    bool idle_too; /* series of the head without samples in the time range */
};

static bool series_is(const void *ctx, uint32_t id, const void *key)
{
    return labels_equal(((const struct join *)ctx)->items[id].labels, *(const struct labels *)key);
}

static uint64_t series_hash(const void *ctx, uint32_t id)
{
    return labels_hash(((const struct join *)ctx)->items[id].labels);
}

static enum errc join_add(struct join *j, struct labels ls, struct day_txn *txn, uint32_t id,
                          struct err *err)
{
    uint64_t hash = labels_hash(ls);
    uint32_t at = table_find(&j->by_labels, hash, series_is, j, &ls);
    struct place *place = ARENA_NEW(j->arena, struct place, 1);
    struct places *places;

    if (place && at == TABLE_NONE && (places = ARENA_NEW(j->arena, struct places, 1))
        && vec_reserve(&j->items, &j->cap, j->n + 1, sizeof *j->items)) {
        places->end = &places->first;
        j->items[j->n] = (struct series){ ls, places };
        if (table_add(&j->by_labels, hash, (uint32_t)j->n, series_hash, j))
            at = (uint32_t)j->n++;
    }
    if (!place || at == TABLE_NONE)
        return err_set(err, ERR_LIMIT, 0, "the selected series need more than %zu bytes of memory",
                       arena_limit(j->arena));
    places = j->items[at].sources;
    *place = (struct place){ NULL, txn, id };
    *places->end = place;
    places->end = &place->next;
    return OK;
}

static enum errc select_day(struct join *j, struct day_txn *txn, const struct matcher *matchers,
                            size_t n, struct err *err)
{
    struct index_source index = day_index(txn);
    struct postings ids;
    enum errc rc = postings_select(&index, matchers, n, j->arena, &ids, err);

    for (size_t i = 0; rc == OK && i < ids.n; i++) {
        struct labels ls;

        rc = day_labels(txn, ids.ids[i], j->arena, &ls, err);
        if (rc == OK)
            rc = join_add(j, ls, txn, ids.ids[i], err);
    }
    return rc;
}

static enum errc select_head(struct db_view *v, struct join *j, const struct matcher *matchers,
                             size_t n, int64_t min_t_ms, int64_t max_t_ms, struct err *err)
{
    struct head *h = v->db->head;
    struct index_source index;
    struct postings refs;
    enum errc rc;

    head_lock_index(h);
    index = head_index(h);
    rc = postings_select(&index, matchers, n, j->arena, &refs, err);
    for (size_t i = 0; rc == OK && i < refs.n; i++) {
        struct labels ls;

        if (!j->idle_too && !head_has_samples(h, refs.ids[i], min_t_ms, max_t_ms, v->max_flush))
            continue;
        rc = head_labels(h, refs.ids[i], j->arena, &ls, err);
        if (rc == OK)
            rc = join_add(j, ls, NULL, refs.ids[i], err);
    }
    head_unlock_index(h);
    return rc;
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const struct series *)a)->labels, ((const struct series *)b)->labels);
}

static enum errc select_series(struct db_view *v, const struct matcher *matchers, size_t n,
                               int64_t min_t_ms, int64_t max_t_ms, struct join j,
                               struct series_list *out, struct err *err)
{
    struct arena *a = j.arena;
    enum errc rc = OK;

    *out = (struct series_list){ 0 };
    min_t_ms = min_t_ms > v->min_t_ms ? min_t_ms : v->min_t_ms;
    max_t_ms = max_t_ms < v->max_t_ms ? max_t_ms : v->max_t_ms;
    for (size_t i = 0; rc == OK && i < v->n_days; i++) {
        struct day_txn *txn;

        if (v->days[i].day < day_of(min_t_ms) || v->days[i].day > day_of(max_t_ms))
            continue;
        rc = view_txn(v, &v->days[i], &txn, err);
        if (rc == OK)
            rc = note(v->db, select_day(&j, txn, matchers, n, err));
    }
    if (rc == OK)
        rc = select_head(v, &j, matchers, n, min_t_ms, max_t_ms, err);
    if (rc == OK && j.n) {
        qsort(j.items, j.n, sizeof *j.items, by_labels);
        out->items = arena_alloc(a, j.n * sizeof *out->items);
        if (out->items)
            memcpy(out->items, j.items, j.n * sizeof *out->items);
        else
            rc = err_set(err, ERR_LIMIT, 0,
                         "the selected series need more than %zu bytes of memory", arena_limit(a));
        out->n = j.n;
    }
    table_free(&j.by_labels);
    free(j.items);
    return rc;
}

enum errc db_select(struct db_view *v, const struct matcher *matchers, size_t n, int64_t min_t_ms,
                    int64_t max_t_ms, struct arena *a, struct series_list *out, struct err *err)
{
    return select_series(v, matchers, n, min_t_ms, max_t_ms, (struct join){ .arena = a }, out, err);
}

enum errc db_select_all(struct db_view *v, const struct matcher *matchers, size_t n,
                        int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                        struct series_list *out, struct err *err)
{
    return select_series(v, matchers, n, min_t_ms, max_t_ms,
                         (struct join){ .arena = a, .idle_too = true }, out, err);
}

enum errc db_read(struct db_view *v, const struct series *s, int64_t min_t_ms, int64_t max_t_ms,
                  struct column *out, struct err *err)
{
    const struct places *places = s->sources;
    bool overlaps = false;
    enum errc rc = OK;

    min_t_ms = min_t_ms > v->min_t_ms ? min_t_ms : v->min_t_ms;
    max_t_ms = max_t_ms < v->max_t_ms ? max_t_ms : v->max_t_ms;
    column_clear(out);
    for (const struct place *p = places->first; p && rc == OK; p = p->next) {
        if (p->txn)
            rc = note(v->db, day_read(p->txn, p->id, min_t_ms, max_t_ms, out, &overlaps, err));
        else if (head_read(v->db->head, p->id, min_t_ms, max_t_ms, v->max_flush, out, &overlaps)
                 != OK)
            rc = err_set(err, ERR_NOMEM, 0, "no memory for samples");
    }
    if (rc == OK && overlaps && !column_normalise(out))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for samples");
    return rc;
}

/* ---- label names and values ---- */

/* A set of texts in the making. */
struct text_set {
    struct arena *arena;
    struct str *items;
    size_t n, cap;
    struct table by_text;
    bool failed;
};

static bool text_is(const void *ctx, uint32_t id, const void *key)
{
    return str_equal(((const struct text_set *)ctx)->items[id], *(const struct str *)key);
}

static uint64_t text_hash(const void *ctx, uint32_t id)
{
    struct str s = ((const struct text_set *)ctx)->items[id];

    return hash64(s.ptr, s.len);
}

static bool text_set_add(void *ctx, struct str text)
{
    struct text_set *set = ctx;
    uint64_t hash = hash64(text.ptr, text.len);
    struct str copy;

    if (table_find(&set->by_text, hash, text_is, set, &text) != TABLE_NONE)
        return true;
    copy = str_copy(set->arena, text);
    if (!copy.ptr || !vec_reserve(&set->items, &set->cap, set->n + 1, sizeof *set->items)) {
        set->failed = true;
        return false;
    }
    set->items[set->n] = copy;
    if (!table_add(&set->by_text, hash, (uint32_t)set->n, text_hash, set)) {
        set->failed = true;
        return false;
    }
    set->n++;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static enum errc text_set_finish(struct text_set *set, enum errc rc, struct str_list *out,
                                 struct err *err)
{
    *out = (struct str_list){ 0 };
    if (rc == OK && !set->failed
        && (out->items = arena_alloc(set->arena, set->n * sizeof *out->items))) {
        if (set->n)
            memcpy(out->items, set->items, set->n * sizeof *out->items);
        out->n = set->n;
        qsort(out->items, out->n, sizeof *out->items, by_text);
    } else if (rc == OK) {
        rc = err_set(err, ERR_LIMIT, 0, "label names or values need more than %zu bytes of memory",
                     arena_limit(set->arena));
    }
    table_free(&set->by_text);
    free(set->items);
    return rc;
}

/* Names (name NULL) or values of the selected series. */
static enum errc collect_selected(struct db_view *v, const struct str *name,
                                  const struct matcher *matchers, size_t n, struct text_set *set,
                                  struct err *err)
{
    struct series_list list;
    enum errc rc = db_select(v, matchers, n, v->min_t_ms, v->max_t_ms, set->arena, &list, err);

    for (size_t i = 0; rc == OK && i < list.n; i++) {
        struct labels ls = list.items[i].labels;

        for (size_t k = 0; k < ls.n; k++)
            if (!name)
                (void)text_set_add(set, ls.items[k].name);
            else if (str_equal(ls.items[k].name, *name))
                (void)text_set_add(set, ls.items[k].value);
    }
    return rc;
}

/* Names or values straight from the indexes, without looking at series. */
static enum errc collect_all(struct db_view *v, const struct str *name, struct text_set *set,
                             struct err *err)
{
    struct head *h = v->db->head;
    struct index_source index;
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < v->n_days; i++) {
        struct day_txn *txn;

        rc = view_txn(v, &v->days[i], &txn, err);
        if (rc != OK)
            break;
        index = day_index(txn);
        rc = note(v->db, name ? index.each_value(index.ctx, *name, text_set_add, set, err)
                              : day_each_name(txn, text_set_add, set, err));
    }
    if (rc != OK)
        return rc;
    head_lock_index(h);
    index = head_index(h);
    if (name)
        rc = index.each_value(index.ctx, *name, text_set_add, set, err);
    else
        head_each_name(h, text_set_add, set);
    head_unlock_index(h);
    return rc;
}

enum errc db_label_names(struct db_view *v, const struct matcher *matchers, size_t n,
                         struct arena *a, struct str_list *out, struct err *err)
{
    struct text_set set = { .arena = a };
    enum errc rc =
        n ? collect_selected(v, NULL, matchers, n, &set, err) : collect_all(v, NULL, &set, err);

    return text_set_finish(&set, rc, out, err);
}

enum errc db_label_values(struct db_view *v, struct str name, const struct matcher *matchers,
                          size_t n, struct arena *a, struct str_list *out, struct err *err)
{
    struct text_set set = { .arena = a };
    enum errc rc =
        n ? collect_selected(v, &name, matchers, n, &set, err) : collect_all(v, &name, &set, err);

    return text_set_finish(&set, rc, out, err);
}
