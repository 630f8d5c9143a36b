/* postings.c
 *
 * A matcher that refuses the empty value can only be satisfied by series that have the label: the
 * union of the lists of the values it accepts is intersected. One that accepts the empty value is
 * satisfied by all others too: the union of the lists of the values it refuses is subtracted. So
 * every matcher becomes a union of lists, kept or removed:
 *
 *   name="v"    keep v                     name!="v"   remove v
 *   name=""     remove every value         name!=""    keep every value
 *   name=~"p"   keep values that match     name!~"p"   remove values that match
 *               or, when p matches "":                 or, when p matches "":
 *               remove values that do not              keep values that do not
 */
#include "storage/postings.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/regex.h"

#include "base/banned.h"

enum { GALLOP_RATIO = 16 }; /* of the lengths of two lists, from which on searching beats merging */

/* ---- sets ---- */

static enum errc alloc_ids(struct arena *a, size_t n, struct postings *out)
{
    out->ids = arena_alloc(a, n * sizeof *out->ids);
    out->n = 0;
    return out->ids ? OK : ERR_LIMIT;
}

/* The first index >= from with p.ids[index] >= id: doubling steps, then halving. */
static size_t gallop(struct postings p, size_t from, uint32_t id)
{
    size_t step = 1, low = from, high;

    while (low + step < p.n && p.ids[low + step] < id) {
        low += step;
        step *= 2;
    }
    high = low + step < p.n ? low + step : p.n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (p.ids[mid] < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The first index >= from with p.ids[index] >= id: in lists of like length it is near. */
static size_t step_to(struct postings p, size_t from, uint32_t id)
{
    while (from < p.n && p.ids[from] < id)
        from++;
    return from;
}

/* The ids of x that are (keep) or are not (!keep) in y. */
static enum errc filter(struct postings x, struct postings y, bool keep, struct arena *a,
                        struct postings *out)
{
    size_t (*advance)(struct postings, size_t, uint32_t) =
        y.n / GALLOP_RATIO > x.n ? gallop : step_to;
    struct postings kept;

    if (alloc_ids(a, x.n, &kept) != OK)
        return ERR_LIMIT;
    for (size_t i = 0, j = 0; i < x.n; i++) {
        j = advance(y, j, x.ids[i]);
        if ((j < y.n && y.ids[j] == x.ids[i]) == keep)
            kept.ids[kept.n++] = x.ids[i];
    }
    *out = kept;
    return OK;
}

enum errc postings_and(struct postings x, struct postings y, struct arena *a, struct postings *out)
{
    return x.n <= y.n ? filter(x, y, true, a, out) : filter(y, x, true, a, out);
}

enum errc postings_minus(struct postings x, struct postings y, struct arena *a,
                         struct postings *out)
{
    if (x.n == 0 || y.n == 0) {
        *out = x;
        return OK;
    }
    return filter(x, y, false, a, out);
}

/* The union of x and y into to, which has room for both. */
static size_t merge(struct postings x, struct postings y, uint32_t *to)
{
    size_t i = 0, j = 0, n = 0;

    while (i < x.n && j < y.n) {
        uint32_t a = x.ids[i], b = y.ids[j];

        to[n++] = a < b ? a : b;
        i += a <= b;
        j += b <= a;
    }
    for (; i < x.n; i++)
        to[n++] = x.ids[i];
    for (; j < y.n; j++)
        to[n++] = y.ids[j];
    return n;
}

/* Merges neighbours until one list is left, between two buffers that each have room for all. */
enum errc postings_or(const struct postings *lists, size_t n, struct arena *a, struct postings *out)
{
    struct postings *runs, buffers[2];
    size_t total = 0, filled = 0;

    for (size_t i = 0; i < n; i++)
        total += lists[i].n;
    if (n <= 1) {
        *out = n ? lists[0] : (struct postings){ 0 };
        return OK;
    }
    runs = arena_alloc(a, n * sizeof *runs);
    if (!runs || alloc_ids(a, total, &buffers[0]) != OK || alloc_ids(a, total, &buffers[1]) != OK)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++)
        if (lists[i].n > 0)
            runs[filled++] = lists[i];
    for (unsigned round = 0; filled > 1; round++) {
        uint32_t *to = buffers[round % 2].ids;
        size_t made = 0;

        for (size_t i = 0; i < filled; i += 2) {
            struct postings second = i + 1 < filled ? runs[i + 1] : (struct postings){ 0 };
            size_t merged = merge(runs[i], second, to);

            runs[made++] = (struct postings){ to, merged };
            to += merged;
        }
        filled = made;
    }
    *out = filled ? runs[0] : (struct postings){ 0 };
    return OK;
}

/* ---- selecting ---- */

/* The values of a label that one matcher is about. */
struct value_set {
    struct arena *arena;
    const struct matcher *matcher;
    bool wanted; /* collect the values that match, or those that do not */
    struct str *values;
    size_t n, cap;
    enum errc rc;
};

static bool collect_value(void *ctx, struct str value)
{
    struct value_set *set = ctx;

    if (matcher_matches(set->matcher, value, &set->rc) != set->wanted || set->rc != OK)
        return set->rc == OK;
    if (set->n == set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 16;
        struct str *grown = arena_grow(set->arena, set->values, set->n * sizeof *set->values,
                                       cap * sizeof *set->values);

        if (!grown) {
            set->rc = ERR_LIMIT;
            return false;
        }
        set->values = grown;
        set->cap = cap;
    }
    set->values[set->n] = str_copy(set->arena, value);
    if (!set->values[set->n].ptr)
        set->rc = ERR_LIMIT;
    set->n++;
    return set->rc == OK;
}

static enum errc limit_error(const struct matcher *m, struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "selecting series by label \"%.*s\" exceeds a limit",
                   STR_ARG(m->name));
}

/* The values that are kept, or removed when the matcher accepts the empty value. Where the matcher
 * names them they need not exist. */
static enum errc find_values(const struct index_source *index, const struct matcher *m,
                             bool accepts_empty, struct value_set *set, struct err *err)
{
    bool negated = m->op == MATCH_NE || m->op == MATCH_NRE;
    const struct str *texts;
    size_t n;
    enum errc rc;

    if (accepts_empty == negated) { /* the values are those that = or =~ would accept */
        if (m->op == MATCH_EQ || m->op == MATCH_NE) {
            set->values = (struct str *)(uintptr_t)&m->value;
            set->n = 1;
            return OK;
        }
        if (regex_literals(m->regex, &texts, &n)) {
            set->values = (struct str *)(uintptr_t)texts;
            set->n = n;
            return OK;
        }
    }
    set->wanted = !accepts_empty;
    rc = index->each_value(index->ctx, m->name, collect_value, set, err);
    if (rc == OK && set->rc != OK)
        rc = set->rc == ERR_LIMIT ? limit_error(m, err) : err_set(err, set->rc, 0, "match failed");
    return rc;
}

/* The series that m keeps, or removes when accepts_empty. */
static enum errc matcher_postings(const struct index_source *index, const struct matcher *m,
                                  bool accepts_empty, struct arena *a, struct postings *out,
                                  struct err *err)
{
    struct value_set set = { .arena = a, .matcher = m };
    struct postings *lists;
    enum errc rc = find_values(index, m, accepts_empty, &set, err);

    if (rc != OK)
        return rc;
    lists = arena_alloc(a, set.n * sizeof *lists);
    if (!lists)
        return limit_error(m, err);
    for (size_t i = 0; i < set.n && rc == OK; i++)
        rc = index->postings(index->ctx, m->name, set.values[i], a, &lists[i], err);
    if (rc == OK && postings_or(lists, set.n, a, out) != OK)
        rc = limit_error(m, err);
    return rc;
}

static int compare_lengths(const void *a, const void *b)
{
    const struct postings *x = a, *y = b;

    return (x->n > y->n) - (x->n < y->n);
}

/* Intersects n > 0 lists, the smallest first. */
static enum errc intersect(struct postings *lists, size_t n, struct arena *a, struct postings *out)
{
    enum errc rc = OK;

    qsort(lists, n, sizeof *lists, compare_lengths);
    *out = lists[0];
    for (size_t i = 1; i < n && rc == OK && out->n > 0; i++)
        rc = postings_and(*out, lists[i], a, out);
    return rc;
}

/* One postings_select(). */
struct selection {
    const struct index_source *index;
    const struct matcher *matchers;
    size_t n;
    bool *accepts_empty;    /* of each matcher */
    struct postings *lists; /* of the matchers that keep */
    size_t n_lists;
    struct arena *arena;
};

/* Finds the lists to intersect; those of matchers that name a single value first, because an empty
 * list ends the search. */
static enum errc find_lists(struct selection *s, struct err *err)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < s->n; i++) {
            struct postings *list = &s->lists[s->n_lists];
            enum errc rc;

            if (s->accepts_empty[i] || (s->matchers[i].op == MATCH_EQ) != (pass == 0))
                continue;
            rc = matcher_postings(s->index, &s->matchers[i], false, s->arena, list, err);
            if (rc != OK)
                return rc;
            s->n_lists++;
            if (list->n == 0)
                return OK;
        }
    }
    return OK;
}

static enum errc subtract_lists(const struct selection *s, struct postings *from, struct err *err)
{
    for (size_t i = 0; i < s->n && from->n > 0; i++) {
        struct postings list;
        enum errc rc;

        if (!s->accepts_empty[i])
            continue;
        rc = matcher_postings(s->index, &s->matchers[i], true, s->arena, &list, err);
        if (rc == OK && postings_minus(*from, list, s->arena, from) != OK)
            rc = limit_error(&s->matchers[i], err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

enum errc postings_select(const struct index_source *index, const struct matcher *matchers,
                          size_t n, struct arena *a, struct postings *out, struct err *err)
{
    struct selection s = { .index = index,
                           .matchers = matchers,
                           .n = n,
                           .accepts_empty = arena_calloc(a, n, sizeof(bool)),
                           .lists = arena_calloc(a, n, sizeof(struct postings)),
                           .arena = a };
    enum errc rc;

    *out = (struct postings){ 0 };
    if (!s.accepts_empty || !s.lists)
        return err_set(err, ERR_LIMIT, 0, "selecting series exceeds a limit");
    for (size_t i = 0; i < n; i++)
        s.accepts_empty[i] = matcher_matches_empty(&matchers[i]);
    rc = find_lists(&s, err);
    if (rc != OK)
        return rc;
    if (s.n_lists == 0)
        rc = index->all(index->ctx, a, out, err);
    else if (intersect(s.lists, s.n_lists, a, out) != OK)
        rc = err_set(err, ERR_LIMIT, 0, "selecting series exceeds a limit");
    return rc == OK ? subtract_lists(&s, out, err) : rc;
}
