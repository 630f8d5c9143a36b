/* grouping.c
 *
 * A group's key is the chosen labels, hashed over their lengths and bytes without making a label
 * set of them; equality compares the chosen labels of the candidate with those the group keeps,
 * both in name order.
 *
 * Thousands of series share few values, and stored series share their texts too. So for few chosen
 * labels a memo finds the group by where its values lie, without reading them.
 */
#include "query/grouping.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/vec.h"

#include "base/banned.h"

enum {
    MEMO_LABELS = 3,  /* more of them are hashed as text */
    MEMO_SLOTS = 512, /* a power of two */
    MEMO_AFTER = 32,  /* sets added before it is worth its memory */
};

struct memo_slot {
    struct str values[MEMO_LABELS];
    uint32_t id_plus_1; /* 0: free */
};

struct grouping_memo {
    struct memo_slot slots[MEMO_SLOTS];
    size_t at[MEMO_LABELS]; /* where the labels were in the last set: series are alike */
};

void grouping_free(struct grouping *g)
{
    free(g->memo);
    g->memo = NULL;
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

/* ---- the memo ---- */

static struct str value_near(struct labels ls, struct str name, size_t *at)
{
    if (*at < ls.n && str_equal(ls.items[*at].name, name))
        return ls.items[*at].value;
    for (size_t i = 0; i < ls.n; i++)
        if (str_equal(ls.items[i].name, name)) {
            *at = i;
            return ls.items[i].value;
        }
    return (struct str){ 0 };
}

/* The slot for the chosen values of ls, which it holds or not; NULL when there is no memo. */
static struct memo_slot *memo_slot(struct grouping *g, struct labels ls,
                                   struct str values[MEMO_LABELS])
{
    const struct label_choice *choice = &g->choice;
    uint64_t hash = 0;

    if (!choice->keep || choice->n > MEMO_LABELS || ++g->n_added <= MEMO_AFTER)
        return NULL;
    if (!g->memo && !(g->memo = calloc(1, sizeof *g->memo)))
        return NULL; /* it does without */
    for (size_t i = 0; i < choice->n; i++) {
        values[i] = value_near(ls, choice->names[i], &g->memo->at[i]);
        hash = (hash ^ (uintptr_t)values[i].ptr) * 0x9e3779b97f4a7c15u;
    }
    return &g->memo->slots[hash >> 32 & (MEMO_SLOTS - 1)];
}

static bool slot_has(const struct memo_slot *slot, const struct str *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slot->values[i].ptr != values[i].ptr || slot->values[i].len != values[i].len)
            return false;
    return slot->id_plus_1 > 0;
}

static enum errc add_by_text(struct grouping *g, struct labels ls, uint32_t *id, struct err *err)
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

enum errc grouping_add(struct grouping *g, struct labels ls, uint32_t *id, struct err *err)
{
    struct str values[MEMO_LABELS];
    struct memo_slot *slot = memo_slot(g, ls, values);
    enum errc rc;

    if (slot && slot_has(slot, values, g->choice.n)) {
        *id = slot->id_plus_1 - 1;
        return OK;
    }
    rc = add_by_text(g, ls, id, err);
    if (slot && rc == OK) {
        for (size_t i = 0; i < g->choice.n; i++)
            slot->values[i] = values[i];
        slot->id_plus_1 = *id + 1;
    }
    return rc;
}
