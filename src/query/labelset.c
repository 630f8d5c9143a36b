/* labelset.c
 *
 * Results are new arrays of (name, value) views in the query's arena; the texts stay where they
 * are. A change that changes nothing gives the input back, so that unlabelled work costs nothing.
 * Lists of names come from the query's text and are short: they are searched linearly.
 */
#include "query/eval.h"

#include "base/arena.h"
#include "query/labelset.h"

#include "base/banned.h"

enum errc eval_arena_full(const struct query *q, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "query needs more than %zu bytes", arena_limit(q->arena));
}

static bool is_listed(const struct str *names, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(names[i], name))
            return true;
    return false;
}

bool label_choice_takes(const struct label_choice *c, struct str name)
{
    if (c->drop_name && str_equal(name, METRIC_NAME))
        return false;
    return is_listed(c->names, c->n, name) == c->keep;
}

enum errc labels_choose(struct query *q, struct labels ls, const struct label_choice *c,
                        struct labels *out, struct err *err)
{
    size_t n = 0;
    struct label *items;

    for (size_t i = 0; i < ls.n; i++)
        n += label_choice_takes(c, ls.items[i].name);
    if (n == ls.n) {
        *out = ls;
        return OK;
    }
    if (!(items = ARENA_NEW(q->arena, struct label, n)))
        return eval_arena_full(q, err);
    n = 0;
    for (size_t i = 0; i < ls.n; i++)
        if (label_choice_takes(c, ls.items[i].name))
            items[n++] = ls.items[i];
    *out = (struct labels){ items, n };
    return OK;
}

enum errc labels_without_metadata(struct query *q, struct labels ls, struct labels *out,
                                  struct err *err)
{
    static const struct str metadata[] = { { "__name__", 8 },
                                           { "__type__", 8 },
                                           { "__unit__", 8 } };
    const struct label_choice c = { .names = metadata, .n = ARRAY_LEN(metadata) };

    return labels_choose(q, ls, &c, out, err);
}

enum errc labels_keep(struct query *q, struct labels ls, const struct str *names, size_t n,
                      struct labels *out, struct err *err)
{
    const struct label_choice c = { .names = names, .n = n, .keep = true };

    return labels_choose(q, ls, &c, out, err);
}

enum errc labels_drop(struct query *q, struct labels ls, const struct str *names, size_t n,
                      bool drop_name, struct labels *out, struct err *err)
{
    const struct label_choice c = { .names = names, .n = n, .drop_name = drop_name };

    return labels_choose(q, ls, &c, out, err);
}

enum errc labels_set(struct query *q, struct labels ls, struct str name, struct str value,
                     struct labels *out, struct err *err)
{
    size_t at = 0, after;
    struct label *items;

    if (value.len == 0)
        return labels_drop(q, ls, &name, 1, false, out, err);
    while (at < ls.n && str_cmp(ls.items[at].name, name) < 0)
        at++;
    after = at + (at < ls.n && str_equal(ls.items[at].name, name));
    if (!(items = ARENA_NEW(q->arena, struct label, ls.n + 1)))
        return eval_arena_full(q, err);
    for (size_t i = 0; i < at; i++)
        items[i] = ls.items[i];
    items[at] = (struct label){ name, value };
    for (size_t i = after; i < ls.n; i++)
        items[at + 1 + i - after] = ls.items[i];
    *out = (struct labels){ items, ls.n - after + at + 1 };
    return OK;
}

enum errc label_name_check(struct str name, uint32_t pos, struct err *err)
{
    struct buf quoted = { 0 };
    enum errc rc;

    if (name.len > 0 && utf8_valid(name))
        return OK;
    print_quoted(&quoted, name);
    rc = err_set(err, ERR_EXECUTION, pos, "invalid label name %.*s", STR_ARG(buf_as_str(&quoted)));
    buf_free(&quoted);
    return rc;
}
