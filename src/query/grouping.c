/* grouping.c
 *
 * A group's key is the chosen labels, hashed over their lengths and bytes without making a label
 * set of them; equality compares the chosen labels of the candidate with those the group keeps,
 * both in name order.
 */
#include "query/grouping.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/vec.h"

#include "base/banned.h"

void grouping_free(struct grouping *g)
{
    table_free(&g->table);
    buf_free(&g->key);
    free(g->groups);
    g->groups = NULL;
    g->n = g->cap = 0;
}

static enum errc hash_chosen(struct grouping *g, struct labels ls, uint64_t *hash, struct err *err)
{
    buf_clear(&g->key);
    for (size_t i = 0; i < ls.n; i++) {
        const struct label *l = &ls.items[i];

        if (!label_choice_takes(&g->choice, l->name))
            continue;
        buf_uvarint(&g->key, l->name.len);
        buf_str(&g->key, l->name);
        buf_uvarint(&g->key, l->value.len);
        buf_str(&g->key, l->value);
    }
    if (g->key.failed)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    *hash = hash64(g->key.ptr, g->key.len);
    return OK;
}

static bool has_labels(const void *ctx, uint32_t id, const void *key)
{
    const struct grouping *g = ctx;
    const struct labels *ls = key, group = g->groups[id].labels;
    size_t at = 0;

    for (size_t i = 0; i < ls->n; i++) {
        const struct label *l = &ls->items[i];

        if (!label_choice_takes(&g->choice, l->name))
            continue;
        if (at == group.n || !str_equal(group.items[at].name, l->name)
            || !str_equal(group.items[at].value, l->value))
            return false;
        at++;
    }
    return at == group.n;
}

static uint64_t hash_again(const void *ctx, uint32_t id)
{
    const struct grouping *g = ctx;

    return g->groups[id].hash;
}

enum errc grouping_find(struct grouping *g, struct labels ls, uint32_t *id, struct err *err)
{
    uint64_t hash;
    enum errc rc = hash_chosen(g, ls, &hash, err);

    if (rc == OK)
        *id = table_find(&g->table, hash, has_labels, g, &ls);
    return rc;
}

enum errc grouping_add(struct grouping *g, struct labels ls, uint32_t *id, struct err *err)
{
    struct label_group new = { 0 };
    enum errc rc = hash_chosen(g, ls, &new.hash, err);

    if (rc != OK)
        return rc;
    *id = table_find(&g->table, new.hash, has_labels, g, &ls);
    if (*id != TABLE_NONE)
        return OK;
    if ((rc = labels_choose(g->q, ls, &g->choice, &new.labels, err)) != OK)
        return rc;
    if (!vec_reserve(&g->groups, &g->cap, g->n + 1, sizeof *g->groups))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    g->groups[g->n] = new;
    if (!table_add(&g->table, new.hash, (uint32_t)g->n, hash_again, g))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    *id = (uint32_t)g->n++;
    return OK;
}
