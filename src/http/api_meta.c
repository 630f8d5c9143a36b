/* api_meta.c -- /api/v1/labels, label/<name>/values, series and metadata.
 *
 * A listing is copied into an arena of its own while the view of the store is open, the view is
 * closed, and the listing is then formatted as the client takes it.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "http/api_private.h"
#include "http/params.h"

#include "base/banned.h"

/* ---- a listing ---- */

struct listing {
    struct arena *arena; /* owns the items */
    size_t n, next;
    const void *items;
    size_t (*print)(const struct listing *l, struct buf *b, size_t i); /* returns the next i */
    char close;
    bool truncated;
    uint64_t per_item; /* of metadata: entries of a metric */
};

static void listing_free(void *ctx)
{
    struct listing *l = ctx;

    if (l)
        arena_free(l->arena);
    free(l);
}

static struct listing *listing_new(struct http_response *rs)
{
    struct listing *l = calloc(1, sizeof *l);

    if (l && (l->arena = arena_new(API_MAX_META_BYTES)))
        return l;
    free(l);
    api_error(rs, ERR_NOMEM, errc_text(ERR_NOMEM));
    return NULL;
}

static bool list_more(void *ctx, struct buf *b)
{
    struct listing *l = ctx;
    size_t end = b->len + HTTP_PIECE_BYTES;
    struct api_notes notes = { .warning = l->truncated ? API_TRUNCATED : NULL };

    while (l->next < l->n && b->len < end) {
        if (l->next)
            buf_u8(b, ',');
        l->next = l->print(l, b, l->next);
    }
    if (l->next < l->n)
        return true;
    buf_u8(b, (uint8_t)l->close);
    api_end(b, &notes);
    return false;
}

/* rs owns l from now on. */
static void respond(struct http_response *rs, struct listing *l, const char *brackets)
{
    api_begin(rs);
    buf_u8(&rs->body, (uint8_t)brackets[0]);
    l->close = brackets[1];
    rs->next = list_more;
    rs->done = listing_free;
    rs->ctx = l;
}

static void cut_at(struct listing *l, uint64_t limit)
{
    l->truncated = l->n > limit;
    if (l->truncated)
        l->n = (size_t)limit;
}

/* ---- parameters ---- */

struct meta_params {
    int64_t min_t_ms, max_t_ms;
    uint64_t limit;
    struct api_selectors selectors;
};

/* False: rs has the error, and there is nothing to free. */
static bool read_meta(const struct http_request *rq, struct http_response *rs,
                      struct meta_params *p)
{
    if (!api_limit(rq, rs, &p->limit) || !api_time(rq, rs, "start", TIME_MIN_MS, &p->min_t_ms)
        || !api_time(rq, rs, "end", TIME_MAX_MS, &p->max_t_ms))
        return false;
    return api_selectors_read(rq, rs, &p->selectors);
}

/* ---- names and values ---- */

static size_t print_text(const struct listing *l, struct buf *b, size_t i)
{
    json_string(b, ((const struct str *)l->items)[i]);
    return i + 1;
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* What one selector (NULL: none) finds: names, or the values of label. */
static enum errc find_texts(struct db_view *v, const struct str *label,
                            const struct api_selector *s, struct arena *a, struct str_list *out,
                            struct err *err)
{
    const struct matcher *matchers = s ? s->matchers : NULL;
    size_t n = s ? s->n : 0;

    return label ? db_label_values(v, *label, matchers, n, a, out, err)
                 : db_label_names(v, matchers, n, a, out, err);
}

/* Adds more to all, which stays sorted and without repeats. */
static enum errc merge_texts(struct str_list *all, struct str_list more, struct arena *a,
                             struct err *err)
{
    size_t n = 0;
    struct str *items;

    if (all->n == 0) {
        *all = more;
        return OK;
    }
    items = ARENA_NEW(a, struct str, all->n + more.n);
    if (!items)
        return err_set(err, ERR_LIMIT, 0, "the result needs more than %d bytes",
                       API_MAX_META_BYTES);
    memcpy(items, all->items, all->n * sizeof *items);
    if (more.n)
        memcpy(items + all->n, more.items, more.n * sizeof *items);
    qsort(items, all->n + more.n, sizeof *items, compare_texts);
    for (size_t i = 0; i < all->n + more.n; i++)
        if (n == 0 || !str_equal(items[n - 1], items[i]))
            items[n++] = items[i];
    *all = (struct str_list){ items, n };
    return OK;
}

static enum errc collect_texts(struct db *db, const struct str *label, const struct meta_params *p,
                               struct listing *l, struct err *err)
{
    struct db_view *v = NULL;
    struct str_list all = { 0 };
    enum errc rc = db_view_open(db, p->min_t_ms, p->max_t_ms, &v, err);

    for (size_t i = 0; !rc && i < (p->selectors.n ? p->selectors.n : 1); i++) {
        struct str_list found = { 0 };

        rc = find_texts(v, label, p->selectors.n ? &p->selectors.items[i] : NULL, l->arena, &found,
                        err);
        if (!rc)
            rc = merge_texts(&all, found, l->arena, err);
    }
    db_view_close(v);
    l->items = all.items;
    l->n = all.n;
    return rc;
}

static void list_texts(struct api *api, const struct http_request *rq, struct http_response *rs,
                       const struct str *label)
{
    struct err err = err_in(rq->arena);
    struct meta_params p = { 0 };
    struct listing *l;
    enum errc rc = OK;

    if (!read_meta(rq, rs, &p))
        return;
    l = listing_new(rs);
    if (l && p.min_t_ms <= p.max_t_ms)
        rc = collect_texts(api_db(api), label, &p, l, &err);
    if (rc) {
        api_error(rs, rc, err_text(&err));
        listing_free(l);
    } else if (l) {
        l->print = print_text;
        cut_at(l, p.limit);
        respond(rs, l, "[]");
    }
    api_selectors_free(&p.selectors);
}

void api_labels(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    list_texts(ctx, rq, rs, NULL);
}

void api_label_values(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct str name = param_label_name(rq->path_arg, rq->arena);
    struct buf text = { 0 };

    if (name.ptr && name.len && utf8_valid(name)) {
        list_texts(ctx, rq, rs, &name);
        return;
    }
    buf_text(&text, "invalid label name: ");
    print_quoted(&text, rq->path_arg);
    buf_u8(&text, 0);
    api_error(rs, ERR_BAD_DATA, text.failed ? "invalid label name" : (const char *)text.ptr);
    buf_free(&text);
}

/* ---- series ---- */

static size_t print_series(const struct listing *l, struct buf *b, size_t i)
{
    json_labels(b, ((const struct labels *)l->items)[i]);
    return i + 1;
}

static int compare_labels(const void *a, const void *b)
{
    return labels_cmp(*(const struct labels *)a, *(const struct labels *)b);
}

/* Adds copies of the label sets of found to the n in *all. */
static enum errc add_series(struct labels **all, size_t *n, const struct series_list *found,
                            struct arena *a, struct err *err)
{
    struct labels *grown = arena_grow(a, *all, *n * sizeof *grown, (*n + found->n) * sizeof *grown);

    for (size_t i = 0; grown && i < found->n; i++) {
        struct labels copy = labels_copy(a, found->items[i].labels);

        if (found->items[i].labels.n && !copy.items)
            grown = NULL;
        else
            grown[*n + i] = copy;
    }
    if (!grown)
        return err_set(err, ERR_LIMIT, 0, "the result needs more than %d bytes",
                       API_MAX_META_BYTES);
    *all = grown;
    *n += found->n;
    return OK;
}

static enum errc collect_series(struct db *db, const struct meta_params *p, struct listing *l,
                                struct err *err)
{
    struct db_view *v = NULL;
    struct labels *all = NULL;
    size_t n = 0, unique = 0;
    enum errc rc = db_view_open(db, p->min_t_ms, p->max_t_ms, &v, err);

    for (size_t i = 0; !rc && i < p->selectors.n; i++) {
        const struct api_selector *s = &p->selectors.items[i];
        struct series_list found = { 0 };

        rc = db_select(v, s->matchers, s->n, p->min_t_ms, p->max_t_ms, l->arena, &found, err);
        if (!rc)
            rc = add_series(&all, &n, &found, l->arena, err);
    }
    db_view_close(v);
    if (p->selectors.n > 1 && n)
        qsort(all, n, sizeof *all, compare_labels);
    for (size_t i = 0; i < n; i++)
        if (unique == 0 || !labels_equal(all[unique - 1], all[i]))
            all[unique++] = all[i];
    l->items = all;
    l->n = unique;
    return rc;
}

void api_series(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct meta_params p = { 0 };
    struct listing *l;
    enum errc rc = OK;

    if (!read_meta(rq, rs, &p))
        return;
    if (p.selectors.n == 0) {
        api_error(rs, ERR_BAD_DATA, "no match[] parameter provided");
        return;
    }
    l = listing_new(rs);
    if (l && p.min_t_ms <= p.max_t_ms)
        rc = collect_series(api_db(api), &p, l, &err);
    if (rc) {
        api_error(rs, rc, err_text(&err));
        listing_free(l);
    } else if (l) {
        l->print = print_series;
        cut_at(l, p.limit);
        respond(rs, l, "[]");
    }
    api_selectors_free(&p.selectors);
}

/* ---- metadata ---- */

/* One family with its entries (at least one: Grafana reads the first unasked). */
static size_t print_metadata(const struct listing *l, struct buf *b, size_t i)
{
    const struct metric_metadata *all = l->items;
    size_t first = i;

    json_string(b, all[i].family);
    buf_text(b, ":[");
    for (; i < l->n && str_equal(all[i].family, all[first].family); i++) {
        if (i - first >= l->per_item)
            continue;
        buf_printf(b, "%s{\"type\":\"%s\",\"help\":", i > first ? "," : "",
                   metric_type_name(all[i].type));
        json_string(b, all[i].help);
        buf_text(b, ",\"unit\":");
        json_string(b, all[i].unit);
        buf_u8(b, '}');
    }
    buf_u8(b, ']');
    return i;
}

/* A limit of this endpoint; unlike elsewhere a negative one means none. */
static bool read_count(const struct http_request *rq, struct http_response *rs, const char *name,
                       uint64_t *n)
{
    struct str text = http_param(rq, name);
    const char *why;
    int64_t v = 0;

    if (text.len == 0 || number_parse_i64(text, &v)) {
        *n = v > 0 ? (uint64_t)v : UINT64_MAX;
        return true;
    }
    why = arena_printf(rq->arena, "%s must be a number", name);
    api_error(rs, ERR_BAD_DATA, why ? why : errc_text(ERR_BAD_DATA));
    return false;
}

/* Narrows the listing to one family, or to the first limit ones. */
static void choose_families(struct listing *l, struct str metric, uint64_t limit)
{
    const struct metric_metadata *all = l->items;
    size_t first = 0, end = 0;

    if (metric.len) {
        while (first < l->n && !str_equal(all[first].family, metric))
            first++;
        for (end = first; end < l->n && str_equal(all[end].family, metric);)
            end++;
        l->items = all + first;
        l->n = end - first;
        return;
    }
    for (uint64_t families = 0; end < l->n; end++) {
        families += end == 0 || !str_equal(all[end].family, all[end - 1].family);
        if (families > limit)
            break;
    }
    l->n = end;
}

void api_metadata(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    uint64_t limit, per_metric;
    struct metadata_list found = { 0 };
    struct listing *l;
    enum errc rc;

    if (!read_count(rq, rs, "limit", &limit) || !read_count(rq, rs, "limit_per_metric", &per_metric)
        || !(l = listing_new(rs)))
        return;
    rc = db_metadata(api_db(api), l->arena, &found, &err);
    if (rc) {
        api_error(rs, rc, err_text(&err));
        listing_free(l);
        return;
    }
    l->items = found.items;
    l->n = found.n;
    l->print = print_metadata;
    l->per_item = per_metric;
    choose_families(l, http_param(rq, "metric"), limit);
    respond(rs, l, "{}");
}
