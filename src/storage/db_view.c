/* db_view.c -- reading: selecting series in head and days, joining them by labels, reading their
 * samples.
 *
 * A series is read from its day files first, by day and the oldest of a day first, then from the
 * head, so that samples come nearly in time order, and of two samples for one time the one logged
 * first is met first.
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
    struct selection **selections; /* that its series belong to */
    size_t n_selections, cap_selections;
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
    for (size_t i = 0; i < v->n_selections; i++)
        selection_unref(v->db->selections, v->selections[i]);
    free(v->selections);
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

static enum errc select_full(const struct arena *a, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "the selected series need more than %zu bytes of memory",
                   arena_limit(a));
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

/* The days that may have samples in the range; at most n_days of them. */
static enum errc open_sources(struct db_view *v, int64_t min_t_ms, int64_t max_t_ms,
                              struct selection_source *sources, size_t *n, struct err *err)
{
    enum errc rc = OK;

    *n = 0;
    for (size_t i = 0; rc == OK && i < v->n_days; i++) {
        struct manifest_day id = day_file_id(v->days[i].file);
        struct day_txn *txn;

        if (id.day < day_of(min_t_ms) || id.day > day_of(max_t_ms))
            continue;
        rc = view_txn(v, &v->days[i], &txn, err);
        if (rc == OK)
            sources[(*n)++] = (struct selection_source){ id, day_txn_series(txn), txn };
    }
    return rc;
}

/* Keeps a reference to a selection as long as the view is open. */
static enum errc hold_selection(struct db_view *v, struct selection *s, struct err *err)
{
    if (!vec_reserve(&v->selections, &v->cap_selections, v->n_selections + 1,
                     sizeof(struct selection *))) {
        selection_unref(v->db->selections, s);
        return err_set(err, ERR_NOMEM, 0, "no memory for a view");
    }
    v->selections[v->n_selections++] = s;
    return OK;
}

/* The selection of the matchers over the days of the range, and the transactions of its sources, in
 * the arena. */
static enum errc find_selection(struct db_view *v, const struct matcher *matchers, size_t n,
                                int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                                const struct selection **out, struct day_txn *const **txns,
                                struct err *err)
{
    struct selection_source *sources = arena_alloc(a, v->n_days * sizeof *sources);
    struct day_txn **of = arena_alloc(a, v->n_days * sizeof(struct day_txn *));
    struct selection *s;
    size_t n_sources;
    enum errc rc;

    if (!sources || !of)
        return select_full(a, err);
    rc = open_sources(v, min_t_ms, max_t_ms, sources, &n_sources, err);
    if (rc == OK)
        rc = note(v->db, selection_get(v->db->selections, v->db->head, sources, n_sources, matchers,
                                       n, arena_limit(a), &s, err));
    if (rc == OK)
        rc = hold_selection(v, s, err);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < n_sources; i++)
        of[i] = sources[i].txn;
    *txns = of;
    *out = s;
    return OK;
}

/* Whether a series may have samples in the range: a day does not say when, unless all of them have
 * been deleted. */
static bool may_have_samples(struct db_view *v, const struct selected *s,
                             struct day_txn *const *txns, int64_t min_t_ms, int64_t max_t_ms)
{
    for (size_t i = 0; i < s->n_places; i++)
        if (!day_is_deleted(txns[s->places[i].source], s->places[i].id, min_t_ms, max_t_ms))
            return true;
    return s->head_ref != HEAD_NO_SERIES
           && head_has_samples(v->db->head, s->head_ref, min_t_ms, max_t_ms, v->max_flush);
}

/* With idle_too also series of the head without samples in the time range. */
static enum errc select_series(struct db_view *v, const struct matcher *matchers, size_t n,
                               int64_t min_t_ms, int64_t max_t_ms, bool idle_too, struct arena *a,
                               struct series_list *out, struct err *err)
{
    const struct selection *s;
    struct day_txn *const *txns;
    enum errc rc;

    *out = (struct series_list){ 0 };
    min_t_ms = min_t_ms > v->min_t_ms ? min_t_ms : v->min_t_ms;
    max_t_ms = max_t_ms < v->max_t_ms ? max_t_ms : v->max_t_ms;
    if ((rc = find_selection(v, matchers, n, min_t_ms, max_t_ms, a, &s, &txns, err)) != OK)
        return rc;
    if (!(out->items = arena_alloc(a, s->n * sizeof *out->items)))
        return select_full(a, err);
    for (size_t i = 0; i < s->n; i++) {
        const struct selected *found = &s->items[i];

        if (may_have_samples(v, found, txns, min_t_ms, max_t_ms)
            || (idle_too && found->head_ref != HEAD_NO_SERIES))
            out->items[out->n++] = (struct series){ found->labels, found, txns };
    }
    return OK;
}

enum errc db_select(struct db_view *v, const struct matcher *matchers, size_t n, int64_t min_t_ms,
                    int64_t max_t_ms, struct arena *a, struct series_list *out, struct err *err)
{
    return select_series(v, matchers, n, min_t_ms, max_t_ms, false, a, out, err);
}

enum errc db_select_all(struct db_view *v, const struct matcher *matchers, size_t n,
                        int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                        struct series_list *out, struct err *err)
{
    return select_series(v, matchers, n, min_t_ms, max_t_ms, true, a, out, err);
}

enum errc db_read(struct db_view *v, const struct series *s, int64_t min_t_ms, int64_t max_t_ms,
                  struct column *out, struct err *err)
{
    const struct selected *found = s->found;
    bool overlaps = false;
    enum errc rc = OK;

    min_t_ms = min_t_ms > v->min_t_ms ? min_t_ms : v->min_t_ms;
    max_t_ms = max_t_ms < v->max_t_ms ? max_t_ms : v->max_t_ms;
    column_clear(out);
    for (size_t i = 0; rc == OK && i < found->n_places; i++)
        rc = note(v->db, day_read(s->txns[found->places[i].source], found->places[i].id, min_t_ms,
                                  max_t_ms, out, &overlaps, err));
    if (rc == OK && found->head_ref != HEAD_NO_SERIES
        && head_read(v->db->head, found->head_ref, min_t_ms, max_t_ms, v->max_flush, out, &overlaps)
               != OK)
        rc = err_set(err, ERR_NOMEM, 0, "no memory for samples");
    if (rc == OK && overlaps && !column_normalise(out))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for samples");
    return rc;
}

enum errc db_read_newest(struct db_view *v, const struct series *s, int64_t min_t_ms,
                         int64_t max_t_ms, struct column *out, struct err *err)
{
    uint32_t ref = s->found->head_ref;
    int64_t max = max_t_ms < v->max_t_ms ? max_t_ms : v->max_t_ms;
    int64_t min = min_t_ms > v->min_t_ms ? min_t_ms : v->min_t_ms;
    struct sample newest;

    if (ref == HEAD_NO_SERIES || !head_newest(v->db->head, ref, min, max, &newest))
        return db_read(v, s, min_t_ms, max_t_ms, out, err);
    column_clear(out);
    return column_add(out, newest.t_ms, newest.v)
               ? OK
               : err_set(err, ERR_NOMEM, 0, "no memory for samples");
}

/* ---- label names and values ---- */

enum { RECENT_TEXTS = 256 }; /* a power of two */

/* A set of texts in the making. */
struct text_set {
    struct arena *arena;
    struct str *items;
    size_t n, cap;
    struct table by_text;
    bool failed;
    struct str recent[RECENT_TEXTS]; /* by address: stored series share their texts */
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

/* The same for a text that many series have, at one place in memory as long as the set lives. */
static void text_set_add_shared(struct text_set *set, struct str text)
{
    uintptr_t address = (uintptr_t)text.ptr;
    struct str *recent = &set->recent[(address >> 3 ^ address >> 11) & (RECENT_TEXTS - 1)];

    if (recent->ptr == text.ptr && recent->len == text.len)
        return;
    *recent = text;
    (void)text_set_add(set, text);
}

/* Where a label is, looked for first where it was in the series before; ls.n when it is not. */
static size_t label_near(struct labels ls, struct str name, size_t at)
{
    if (at < ls.n && str_equal(ls.items[at].name, name))
        return at;
    for (at = 0; at < ls.n && !str_equal(ls.items[at].name, name);)
        at++;
    return at;
}

/* Names (name NULL) or values of the selected series. */
static enum errc collect_selected(struct db_view *v, const struct str *name,
                                  const struct matcher *matchers, size_t n, struct text_set *set,
                                  struct err *err)
{
    struct series_list list;
    enum errc rc = db_select(v, matchers, n, v->min_t_ms, v->max_t_ms, set->arena, &list, err);

    for (size_t i = 0, at = 0; rc == OK && i < list.n; i++) {
        struct labels ls = list.items[i].labels;

        if (name && (at = label_near(ls, *name, at)) < ls.n)
            text_set_add_shared(set, ls.items[at].value);
        for (size_t k = 0; !name && k < ls.n; k++)
            text_set_add_shared(set, ls.items[k].name);
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
