#include "alert/ended.h"

#include <stdlib.h>

#include "alert/group.h"
#include "base/arena.h"
#include "base/log.h"

#include "base/banned.h"

struct ended *ended_new(struct group *g, int64_t t_ms, int64_t due_ns)
{
    struct ended *e = calloc(1, sizeof *e);

    if (e)
        e->sets = calloc(group_n_rules(g) + 1, sizeof *e->sets);
    if (e && e->sets)
        e->n_sets = group_take_series(g, e->sets);
    if (!e || !e->sets || e->n_sets == 0) {
        ended_free(e);
        return NULL;
    }
    e->t_ms = t_ms;
    e->due_ns = due_ns;
    return e;
}

void ended_free(struct ended *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->n_sets; i++)
        series_set_free(&e->sets[i]);
    free(e->sets);
    free(e);
}

void ended_drop(struct ended *list)
{
    size_t n = 0;

    while (list) {
        struct ended *next = list->next;

        for (size_t i = 0; i < list->n_sets; i++)
            n += list->sets[i].n;
        ended_free(list);
        list = next;
    }
    log_warn("no memory to mark series of rules that are gone as ended", "series=%zu", n);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static enum errc add_markers(struct rule_writer *w, const struct ended *e, const uint64_t *taken,
                             size_t n)
{
    enum errc rc = OK;

    for (size_t i = 0; i < e->n_sets; i++)
        for (size_t k = 0; rc == OK && k < e->sets[i].n; k++) {
            const struct series_id *id = &e->sets[i].items[k];

            if (n == 0 || !bsearch(&id->hash, taken, n, sizeof *taken, compare))
                rc = rule_writer_add(w, id->labels, (struct sample){ e->t_ms, stale_nan() });
        }
    return rc;
}

void ended_mark(struct ended *list, struct db *db, uint64_t *taken, size_t n)
{
    struct rule_writer *w = rule_writer_new();
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    enum errc rc = w ? OK : ERR_NOMEM;

    if (n > 1)
        qsort(taken, n, sizeof *taken, compare);
    while (list) {
        struct ended *e = list;

        if (rc == OK)
            rc = add_markers(w, e, taken, n);
        list = e->next;
        ended_free(e);
    }
    if (rc == OK)
        rc = rule_writer_flush(w, db, &err);
    if (rc != OK)
        log_warn("series of rules that are gone not marked as ended", "err=\"%s\"",
                 err.code ? err_text(&err) : errc_text(rc));
    rule_writer_free(w);
    arena_free(arena);
}
