/* rules_lint.c -- rules that are legal and surely not meant.
 *
 * Rules are looked up by the bytes of what names them: file, kind, name and labels.
 */
#include <stdlib.h>

#include "alert/rule.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"

#include "base/banned.h"

struct seen {
    const struct rule_group *group;
    const struct rule *rule;
};

struct seen_rules {
    struct seen *items;
    size_t n, cap;
    struct table ids;
};

static bool same(const void *ctx, uint32_t id, const void *key)
{
    const struct seen *a = &((const struct seen_rules *)ctx)->items[id], *b = key;

    return a->rule->kind == b->rule->kind && str_equal(a->group->file, b->group->file)
           && str_equal(a->rule->name, b->rule->name)
           && labels_equal(a->rule->labels, b->rule->labels);
}

static uint64_t hash_of(const struct seen *s)
{
    return hash64(s->rule->name.ptr, s->rule->name.len) ^ labels_hash(s->rule->labels);
}

static uint64_t rehash(const void *ctx, uint32_t id)
{
    return hash_of(&((const struct seen_rules *)ctx)->items[id]);
}

static void warn(const struct seen *s, const struct seen *first, struct diags *d)
{
    struct buf b = { 0 };

    for (size_t i = 0; i < s->rule->labels.n; i++)
        buf_printf(&b, "%s%.*s: %.*s",
                   i > 0 ? ", " : " Label(s): ", STR_ARG(s->rule->labels.items[i].name),
                   STR_ARG(s->rule->labels.items[i].value));
    buf_u8(&b, 0);
    diag_warning(d, (const char *)s->group->file.ptr, s->rule->line, s->rule->col,
                 "duplicate rule(s) found, first at line %u: Metric: %.*s%s; might cause "
                 "inconsistency while recording expressions",
                 first->rule->line, STR_ARG(s->rule->name), b.failed ? "" : (const char *)b.ptr);
    buf_free(&b);
}

static enum errc check(struct seen_rules *seen, struct seen s, struct diags *d)
{
    uint64_t hash = hash_of(&s);
    uint32_t id = table_find(&seen->ids, hash, same, seen, &s);

    if (id != TABLE_NONE) {
        warn(&s, &seen->items[id], d);
        return OK;
    }
    if (!vec_reserve(&seen->items, &seen->cap, seen->n + 1, sizeof s))
        return ERR_NOMEM;
    seen->items[seen->n++] = s;
    if (!table_add(&seen->ids, hash, (uint32_t)(seen->n - 1), rehash, seen))
        return ERR_NOMEM;
    return OK;
}

enum errc rules_lint(const struct rule_set *set, struct diags *d)
{
    struct seen_rules seen = { 0 };
    enum errc rc = OK;

    for (size_t i = 0; i < set->n_groups; i++) {
        const struct rule_group *g = &set->groups[i];

        for (size_t k = 0; k < g->n_rules && rc == OK; k++)
            rc = check(&seen, (struct seen){ g, &g->rules[k] }, d);
    }
    table_free(&seen.ids);
    free(seen.items);
    return rc;
}
