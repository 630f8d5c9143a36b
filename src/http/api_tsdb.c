/* api_tsdb.c -- /api/v1/status/tsdb: which metrics and labels make how many series.
 *
 * Counted are the series with samples in the last two hours, which is what Prometheus keeps in its
 * head. Each (name, value) pair is counted once in a table; the four lists come from it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/table.h"
#include "base/vec.h"
#include "http/api_private.h"

#include "base/banned.h"

enum { DEFAULT_LIMIT = 10, MAX_LIMIT = 10000, SPAN_MS = 2 * 3600 * 1000, AHEAD_MS = 600 * 1000 };

struct pair {
    struct str name, value;
    uint64_t n; /* series; in the lists: whatever is counted */
};

/* Every pair once; texts belong to the series' arena. */
struct census {
    struct arena *arena;
    struct table table;
    struct pair *pairs;
    size_t n, cap;
};

static void census_free(struct census *c)
{
    table_free(&c->table);
    free(c->pairs);
    arena_free(c->arena);
}

/* ---- counting ---- */

static uint64_t pair_hash(const struct pair *p)
{
    return hash64(p->name.ptr, p->name.len) * 31 + hash64(p->value.ptr, p->value.len);
}

static bool pair_eq(const void *ctx, uint32_t id, const void *key)
{
    const struct census *c = ctx;
    const struct pair *p = key;

    return str_equal(c->pairs[id].value, p->value) && str_equal(c->pairs[id].name, p->name);
}

static uint64_t pair_rehash(const void *ctx, uint32_t id)
{
    const struct census *c = ctx;

    return pair_hash(&c->pairs[id]);
}

static bool count_pair(struct census *c, const struct label *l)
{
    struct pair p = { l->name, l->value, 1 };
    uint64_t hash = pair_hash(&p);
    uint32_t id = table_find(&c->table, hash, pair_eq, c, &p);

    if (id != TABLE_NONE) {
        c->pairs[id].n++;
        return true;
    }
    if (c->n == TABLE_NONE || !vec_reserve(&c->pairs, &c->cap, c->n + 1, sizeof p))
        return false;
    c->pairs[c->n] = p;
    if (!table_add(&c->table, hash, (uint32_t)c->n, pair_rehash, c))
        return false;
    c->n++;
    return true;
}

static enum errc take_census(struct db *db, int64_t now_ms, struct census *c, struct err *err)
{
    struct db_view *v = NULL;
    struct series_list found = { 0 };
    enum errc rc = db_view_open(db, now_ms - SPAN_MS, now_ms + AHEAD_MS, &v, err);

    if (!rc)
        rc = db_select(v, NULL, 0, now_ms - SPAN_MS, now_ms + AHEAD_MS, c->arena, &found, err);
    for (size_t i = 0; !rc && i < found.n; i++)
        for (size_t k = 0; !rc && k < found.items[i].labels.n; k++)
            if (!count_pair(c, &found.items[i].labels.items[k]))
                rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    for (size_t i = 0; !rc && i < c->n; i++) { /* the view's texts end with it */
        c->pairs[i].name = str_copy(c->arena, c->pairs[i].name);
        c->pairs[i].value = str_copy(c->arena, c->pairs[i].value);
        if (!c->pairs[i].name.ptr || !c->pairs[i].value.ptr)
            rc = err_set(err, ERR_LIMIT, 0, "the result needs more than %d bytes",
                         API_MAX_META_BYTES);
    }
    db_view_close(v);
    return rc;
}

/* ---- the lists ---- */

static int by_name(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int names = str_cmp(x->name, y->name);

    return names ? names : str_cmp(x->value, y->value);
}

/* Most first. */
static int by_count(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    return x->n != y->n ? (x->n < y->n ? 1 : -1) : by_name(a, b);
}

static void print_list(struct buf *b, const char *key, struct pair *items, size_t n, uint64_t limit)
{
    if (n)
        qsort(items, n, sizeof *items, by_count);
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n && i < limit; i++) {
        struct buf text = { 0 };

        buf_str(&text, items[i].name);
        if (items[i].value.ptr) {
            buf_u8(&text, '=');
            buf_str(&text, items[i].value);
        }
        buf_text(b, i ? ",{\"name\":" : "{\"name\":");
        json_string(b, buf_as_str(&text));
        buf_printf(b, ",\"value\":%" PRIu64 "}", items[i].n);
        b->failed |= text.failed;
        buf_free(&text);
    }
    buf_u8(b, ']');
}

/* What is to be counted of a pair: names of metrics for themselves, others under their label. */
struct list {
    const char *key;
    bool (*take)(const struct pair *from, struct pair *to); /* to->value.ptr NULL: not shown */
};

static bool take_metric(const struct pair *from, struct pair *to)
{
    *to = (struct pair){ .name = from->value, .n = from->n };
    return str_equal(from->name, METRIC_NAME);
}

static bool take_value(const struct pair *from, struct pair *to)
{
    *to = (struct pair){ .name = from->name, .n = 1 };
    return true;
}

static bool take_bytes(const struct pair *from, struct pair *to)
{
    *to = (struct pair){ .name = from->name, .n = from->value.len * from->n };
    return true;
}

static bool take_pair(const struct pair *from, struct pair *to)
{
    *to = *from;
    return true;
}

static const struct list lists[] = {
    { "seriesCountByMetricName", take_metric },
    { "labelValueCountByLabelName", take_value },
    { "memoryInBytesByLabelName", take_bytes },
    { "seriesCountByLabelValuePair", take_pair },
};

/* c's pairs are sorted by name, so what falls together stands together. */
static void add_list(struct buf *b, const struct census *c, const struct list *list,
                     struct pair *scratch, uint64_t limit)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        struct pair *to = &scratch[n];

        if (!list->take(&c->pairs[i], to))
            continue;
        if (n > 0 && !to->value.ptr && str_equal(to[-1].name, to->name))
            to[-1].n += to->n;
        else
            n++;
    }
    print_list(b, list->key, scratch, n, limit);
}

static void add_lists(struct buf *b, struct census *c, uint64_t limit)
{
    struct pair *scratch = calloc(c->n + 1, sizeof *scratch);

    if (!scratch) {
        b->failed = true;
        return;
    }
    if (c->n)
        qsort(c->pairs, c->n, sizeof *c->pairs, by_name);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        add_list(b, c, &lists[i], scratch, limit);
    free(scratch);
}

/* ---- the endpoint ---- */

static bool read_limit(const struct http_request *rq, struct http_response *rs, uint64_t *limit)
{
    struct str text = http_param(rq, "limit");
    int64_t n = DEFAULT_LIMIT;

    if (text.len && (!number_parse_i64(text, &n) || n < 1)) {
        api_bad_param(rq, rs, "limit", "limit must be a positive number");
        return false;
    }
    if (n > MAX_LIMIT) {
        api_bad_param(rq, rs, "limit", "limit must not exceed 10000");
        return false;
    }
    *limit = (uint64_t)n;
    return true;
}

/* There are no chunks; every series has its samples in one piece. */
static void add_head(struct buf *b, const struct db_stats *s, size_t n_pairs)
{
    bool any = s->min_t_ms <= s->max_t_ms;

    buf_printf(
        b,
        "{\"headStats\":{\"numSeries\":%" PRIu64 ",\"numLabelPairs\":%zu,\"chunkCount\":%" PRIu64
        ",\"minTime\":%" PRId64 ",\"maxTime\":%" PRId64 "}",
        s->head_series, n_pairs, s->head_series, any ? s->min_t_ms : 0, any ? s->max_t_ms : 0);
}

void api_tsdb(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct census c = { .arena = arena_new(API_MAX_META_BYTES) };
    struct db_stats stats;
    uint64_t limit;
    enum errc rc;

    if (!read_limit(rq, rs, &limit)) {
        census_free(&c);
        return;
    }
    db_stats(api_db(api), &stats);
    rc = c.arena ? take_census(api_db(api), clock_wall_ms(api->o.clock), &c, &err)
                 : err_set(&err, ERR_NOMEM, 0, "out of memory");
    if (rc) {
        api_error(rs, rc, err_text(&err));
    } else {
        api_begin(rs);
        add_head(&rs->body, &stats, c.n);
        add_lists(&rs->body, &c, limit);
        buf_u8(&rs->body, '}');
        api_end(&rs->body, &(struct api_notes){ 0 });
    }
    census_free(&c);
}
