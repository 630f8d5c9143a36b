/* db_exemplars.c -- exemplars: what is stored of them, and reading them from days and memory. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/db_private.h"
#include "storage/db_view.h"
#include "base/banned.h"

enum { MAX_CODE_POINTS = 128 }; /* of names and values together (OpenMetrics 1.0, exemplars) */

/* ---- storing ---- */

/* Adds the code points of valid UTF-8 to *n; false when there are too many, or it is not valid. */
static bool count_code_points(struct str s, size_t *n)
{
    if (s.len > 4 * MAX_CODE_POINTS || !utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.len; i++)
        *n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return *n <= MAX_CODE_POINTS;
}

/* Puts a label among those before it, by name; false when its name is there. */
static bool insert_label(struct label *items, size_t n, struct label l)
{
    size_t at = n;

    while (at > 0 && str_cmp(l.name, items[at - 1].name) < 0)
        at--;
    if (at > 0 && str_equal(l.name, items[at - 1].name))
        return false;
    memmove(items + at + 1, items + at, (n - at) * sizeof *items);
    items[at] = l;
    return true;
}

bool db_exemplar_labels(const struct exemplar *e, struct arena *a, struct labels *out)
{
    struct label *items;
    size_t n_points = 0, n = 0;

    *out = (struct labels){ 0 };
    if (e->labels.n > MAX_CODE_POINTS || !(items = ARENA_NEW(a, struct label, e->labels.n)))
        return false;
    for (size_t i = 0; i < e->labels.n; i++) {
        struct label l = e->labels.items[i];

        if (!count_code_points(l.name, &n_points) || !count_code_points(l.value, &n_points))
            return false;
        if (l.value.len == 0)
            continue;
        if (l.name.len == 0 || !insert_label(items, n++, l))
            return false;
    }
    *out = (struct labels){ items, n };
    return true;
}

enum exemplar_result db_add_exemplar(struct db *db, uint32_t ref, int64_t t_ms, double v,
                                     struct bytes encoded_labels)
{
    struct stored_exemplar e = { t_ms, v, encoded_labels };
    enum exemplar_result result = exemplar_store_add(db->exemplars, ref, &e);

    if (result == EXEMPLAR_STORED)
        atomic_fetch_add(&db->exemplars_appended, 1);
    else if (result == EXEMPLAR_OUT_OF_ORDER)
        atomic_fetch_add(&db->exemplars_out_of_order, 1);
    return result;
}

/* ---- reading ---- */

/* The exemplars of one series being gathered. */
struct gather {
    struct arena *arena;
    int64_t min_t_ms, max_t_ms;
    struct exemplar *items; /* in the arena */
    size_t n, cap;
    enum errc rc;
};

static bool gather_one(void *ctx, const struct stored_exemplar *e)
{
    struct gather *g = ctx;
    struct labels ls;

    if (e->t_ms < g->min_t_ms || e->t_ms > g->max_t_ms)
        return true;
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        struct exemplar *grown =
            arena_grow(g->arena, g->items, g->n * sizeof *grown, cap * sizeof *grown);

        if (!grown) {
            g->rc = ERR_LIMIT;
            return false;
        }
        g->items = grown;
        g->cap = cap;
    }
    g->rc = labels_decode(e->labels, g->arena, &ls, NULL);
    if (g->rc != OK)
        return false;
    ls = labels_copy(g->arena, ls);
    if (!ls.items)
        g->rc = ERR_LIMIT;
    g->items[g->n++] = (struct exemplar){ .labels = ls, .v = e->v, .t_ms = e->t_ms };
    return g->rc == OK;
}

static int compare_exemplars(const void *a, const void *b)
{
    const struct exemplar *x = a, *y = b;
    uint64_t bits_x = f64_bits(x->v), bits_y = f64_bits(y->v);

    if (x->t_ms != y->t_ms)
        return x->t_ms < y->t_ms ? -1 : 1;
    if (bits_x != bits_y)
        return x->v < y->v ? -1 : x->v > y->v ? 1 : bits_x < bits_y ? -1 : 1;
    return labels_cmp(x->labels, y->labels);
}

/* By time, each once: a request sent again after a flush brings them a second time. */
static void tidy(struct gather *g)
{
    size_t n = 0;

    if (g->n)
        qsort(g->items, g->n, sizeof *g->items, compare_exemplars);
    for (size_t i = 0; i < g->n; i++)
        if (n == 0 || compare_exemplars(&g->items[n - 1], &g->items[i]) != 0)
            g->items[n++] = g->items[i];
    g->n = n;
}

static enum errc gather_series(struct db_view *v, const struct series *s, struct gather *g,
                               struct err *err)
{
    const struct selected *found = s->found;
    enum errc rc = OK;

    for (size_t i = 0; i < found->n_places && rc == OK && g->rc == OK; i++)
        rc = day_each_exemplar(s->txns[found->places[i].source], found->places[i].id, g->min_t_ms,
                               g->max_t_ms, gather_one, g, err);
    if (found->head_ref != HEAD_NO_SERIES && rc == OK && g->rc == OK)
        (void)exemplar_store_each(db_view_db(v)->exemplars, found->head_ref, db_view_max_flush(v),
                                  gather_one, g);
    if (rc == OK && g->rc == ERR_LIMIT)
        rc = err_set(err, ERR_LIMIT, 0, "the exemplars need more than %zu bytes of memory",
                     arena_limit(g->arena));
    else if (rc == OK && g->rc != OK)
        rc = err_set(err, g->rc, 0, "the labels of an exemplar are damaged");
    if (rc == ERR_CORRUPT)
        atomic_fetch_add(&db_view_db(v)->corruptions, 1);
    tidy(g);
    return rc;
}

enum errc db_exemplars(struct db_view *v, const struct matcher *matchers, size_t n,
                       int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                       struct exemplar_list *out, struct err *err)
{
    struct series_list series;
    enum errc rc = db_select_all(v, matchers, n, min_t_ms, max_t_ms, a, &series, err);

    *out = (struct exemplar_list){ 0 };
    if (rc == OK && !(out->items = ARENA_NEW(a, struct exemplar_series, series.n)))
        rc = err_set(err, ERR_LIMIT, 0, "the exemplars need more than %zu bytes of memory",
                     arena_limit(a));
    for (size_t i = 0; rc == OK && i < series.n; i++) {
        struct gather g = { .arena = a, .min_t_ms = min_t_ms, .max_t_ms = max_t_ms };

        rc = gather_series(v, &series.items[i], &g, err);
        if (rc == OK && g.n)
            out->items[out->n++] = (struct exemplar_series){ series.items[i].labels, g.items, g.n };
    }
    return rc;
}
