#include "storage/day_merge.h"

#include <stdlib.h>

#include <string.h>

#include "base/arena.h"
#include "base/vec.h"
#include "storage/day.h"
#include "storage/exemplar_store.h"
#include "base/banned.h"

/* A file that is being read, and its next series. */
struct source {
    struct day_txn *txn;
    uint32_t *ids; /* in order of labels */
    size_t n, at;
    struct arena *arena; /* of labels */
    struct labels labels;
    bool has; /* the series that is being copied */
};

/* The exemplars of a series. Their labels point into the files. */
struct exemplars {
    struct stored_exemplar *items;
    size_t n, cap;
    bool nomem;
};

struct merge {
    const struct day_merge *m;
    struct source *sources;
    struct day_writer *writer;
    struct column column;
    struct exemplars exemplars;
    uint64_t n_stored;
};

static enum errc no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, 0, "no memory to rewrite a day");
}

static bool at_end(const struct source *s)
{
    return s->at == s->n;
}

static enum errc load_labels(struct source *s, struct err *err)
{
    arena_reset(s->arena);
    return at_end(s) ? OK : day_labels(s->txn, s->ids[s->at], s->arena, &s->labels, err);
}

static enum errc open_source(struct merge *g, size_t i, struct err *err)
{
    struct source *s = &g->sources[i];
    enum errc rc;

    s->arena = arena_new(0);
    if (!s->arena)
        return no_memory(err);
    rc = day_txn_begin(g->m->sources[i], g->m->flush, &s->txn, err);
    if (rc == OK)
        rc = day_order(s->txn, &s->ids, &s->n, err);
    return rc == OK ? load_labels(s, err) : rc;
}

static void close_sources(struct merge *g)
{
    for (size_t i = 0; g->sources && i < g->m->n; i++) {
        day_txn_end(g->sources[i].txn);
        free(g->sources[i].ids);
        arena_free(g->sources[i].arena);
    }
    free(g->sources);
}

/* The first source whose next series comes first of all, NULL at the end. */
static const struct source *next_source(const struct merge *g)
{
    const struct source *first = NULL;

    for (size_t i = 0; i < g->m->n; i++) {
        const struct source *s = &g->sources[i];

        if (!at_end(s) && (!first || labels_cmp(s->labels, first->labels) < 0))
            first = s;
    }
    return first;
}

/* Collects the samples of a series from all sources that have it. */
static enum errc read_series(struct merge *g, struct labels labels, struct err *err)
{
    bool overlaps = false;
    enum errc rc = OK;

    column_clear(&g->column);
    for (size_t i = 0; rc == OK && i < g->m->n; i++) {
        struct source *s = &g->sources[i];

        s->has = !at_end(s) && labels_equal(s->labels, labels);
        if (s->has)
            rc = day_read(s->txn, s->ids[s->at], INT64_MIN, INT64_MAX, &g->column, &overlaps, err);
    }
    if (rc == OK && overlaps && !column_normalise(&g->column))
        rc = no_memory(err);
    return rc;
}

static bool gather_one(void *ctx, const struct stored_exemplar *e)
{
    struct exemplars *all = ctx;

    all->nomem = !vec_reserve(&all->items, &all->cap, all->n + 1, sizeof *all->items);
    if (all->nomem)
        return false;
    all->items[all->n++] = *e;
    return true;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct stored_exemplar *)a)->t_ms;
    int64_t y = ((const struct stored_exemplar *)b)->t_ms;

    return (x > y) - (x < y);
}

/* Copies the newest exemplars of the series, of which all sources that have it were noted. */
static enum errc copy_exemplars(struct merge *g, struct labels labels, struct err *err)
{
    struct exemplars *all = &g->exemplars;
    enum errc rc = OK;
    size_t skip;

    all->n = 0;
    for (size_t i = 0; rc == OK && i < g->m->n; i++) {
        struct source *s = &g->sources[i];

        if (s->has)
            rc = day_each_exemplar(s->txn, s->ids[s->at], INT64_MIN, INT64_MAX, gather_one, all,
                                   err);
    }
    if (rc == OK && all->nomem)
        rc = no_memory(err);
    if (rc != OK || all->n == 0)
        return rc;
    qsort(all->items, all->n, sizeof *all->items, by_time);
    g->n_stored += all->n;
    skip = all->n > EXEMPLARS_PER_DAY ? all->n - EXEMPLARS_PER_DAY : 0;
    return day_writer_add_exemplars(g->writer, labels, all->items + skip, all->n - skip, err);
}

static enum errc move_on(struct merge *g, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < g->m->n; i++) {
        struct source *s = &g->sources[i];

        if (!s->has)
            continue;
        s->at++;
        rc = load_labels(s, err);
    }
    return rc;
}

static enum errc copy_series(struct merge *g, struct labels labels, struct err *err)
{
    enum errc rc = read_series(g, labels, err);

    if (rc == OK && g->column.n > 0) {
        rc = day_writer_add(g->writer, labels, &g->column, err);
        g->n_stored += g->column.n;
    }
    if (rc == OK)
        rc = copy_exemplars(g, labels, err);
    return rc == OK ? move_on(g, err) : rc;
}

static enum errc copy_all(struct merge *g, struct err *err)
{
    const struct source *first;
    enum errc rc = OK;

    while (rc == OK && (first = next_source(g))) {
        if (g->m->go_on && !g->m->go_on(g->m->ctx))
            return err_set(err, ERR_CANCELED, 0, "the rewriting of a day was interrupted");
        rc = copy_series(g, first->labels, err);
    }
    return rc;
}

enum errc day_merge(const struct day_merge *m, uint64_t *n_stored, struct err *err)
{
    struct merge g = { .m = m, .sources = calloc(m->n + 1, sizeof *g.sources) };
    enum errc rc = g.sources ? OK : no_memory(err);

    for (size_t i = 0; rc == OK && i < m->n; i++)
        rc = open_source(&g, i, err);
    if (rc == OK)
        rc = day_writer_begin(m->target, m->flush, &g.writer, err);
    if (rc == OK)
        rc = copy_all(&g, err);
    if (rc == OK && g.n_stored > 0) {
        struct day_writer *w = g.writer;

        g.writer = NULL;
        rc = day_writer_commit(w, err);
    }
    day_writer_abort(g.writer);
    close_sources(&g);
    column_free(&g.column);
    free(g.exemplars.items);
    *n_stored = g.n_stored;
    return rc;
}
