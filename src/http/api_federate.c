/* api_federate.c -- GET /federate: the newest sample of each series, as a page to be scraped.
 *
 * The text format only (Prometheus exposition format 0.0.4): every series is untyped and keeps its
 * own time; a series whose newest sample is a staleness marker is left out, as is a native
 * histogram, which text cannot hold. Sorted by name. External labels are added to series that lack
 * them, and an empty instance label to those without one, so that the scraper's own does not
 * replace it.
 *
 * The newest samples are copied while the view of the store is open; the page is then written as
 * the client takes it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "alert/alerting.h"
#include "base/arena.h"
#include "base/number.h"
#include "http/api_private.h"

#include "base/banned.h"

struct newest {
    struct labels labels; /* in the page's arena */
    int64_t t_ms;
    double v;
};

struct page {
    struct arena *arena;
    struct newest *items; /* sorted by name, each series once */
    size_t n, cap, next;
    struct labels external;
    bool utf8; /* names may be written as they are, in quotes */
};

static void page_free(void *ctx)
{
    struct page *p = ctx;

    if (p)
        arena_free(p->arena);
    free(p);
}

/* ---- names ---- */

/* A name for readers of the classic alphabet: what it lacks becomes _. */
static void print_escaped(struct buf *b, struct str name, bool colon)
{
    for (size_t i = 0; i < name.len;) {
        struct str rest = { name.ptr + i, name.len - i };
        char c = name.ptr[i];
        size_t n;

        (void)utf8_decode(rest, &n);
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':')
            || (i > 0 && c >= '0' && c <= '9'))
            buf_u8(b, (uint8_t)c);
        else
            buf_u8(b, '_');
        i += n;
    }
}

/* A value between its quotes: the format knows three escapes. */
static void print_value(struct buf *b, struct str s)
{
    size_t plain = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c != '\\' && c != '"' && c != '\n')
            continue;
        buf_add(b, s.ptr + plain, i - plain);
        buf_text(b, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\\\");
        plain = i + 1;
    }
    if (s.len > plain)
        buf_add(b, s.ptr + plain, s.len - plain);
}

static void print_name(const struct page *p, struct buf *b, struct str name, bool colon)
{
    if (name_is_legacy(name, colon)) {
        buf_str(b, name);
    } else if (p->utf8) {
        buf_u8(b, '"');
        print_value(b, name);
        buf_u8(b, '"');
    } else {
        print_escaped(b, name, colon);
    }
}

/* ---- a line ---- */

static void print_label(const struct page *p, struct buf *b, bool *first, struct label l)
{
    if (!*first)
        buf_u8(b, ',');
    *first = false;
    print_name(p, b, l.name, false);
    buf_text(b, "=\"");
    print_value(b, l.value);
    buf_u8(b, '"');
}

static void print_labels(const struct page *p, struct buf *b, struct labels ls, bool first)
{
    for (size_t i = 0; i < ls.n; i++)
        if (!str_equal(ls.items[i].name, METRIC_NAME))
            print_label(p, b, &first, ls.items[i]);
    for (size_t i = 0; i < p->external.n; i++)
        if (labels_get(ls, p->external.items[i].name).len == 0)
            print_label(p, b, &first, p->external.items[i]);
    if (labels_get(ls, STR("instance")).len == 0
        && labels_get(p->external, STR("instance")).len == 0)
        print_label(p, b, &first, (struct label){ STR("instance"), STR("") });
}

static void print_line(const struct page *p, struct buf *b, const struct newest *s, bool new_name)
{
    struct str name = labels_get(s->labels, METRIC_NAME);
    bool quoted = p->utf8 && !name_is_legacy(name, true);

    if (new_name) {
        buf_text(b, "# TYPE ");
        print_name(p, b, name, true);
        buf_text(b, " untyped\n");
    }
    if (!quoted)
        print_name(p, b, name, true);
    buf_u8(b, '{');
    if (quoted)
        print_name(p, b, name, true);
    print_labels(p, b, s->labels, !quoted);
    buf_text(b, "} ");
    number_print(b, s->v, NUMBER_G);
    buf_printf(b, " %" PRId64 "\n", s->t_ms);
}

static bool page_more(void *ctx, struct buf *b)
{
    struct page *p = ctx;
    size_t end = b->len + HTTP_PIECE_BYTES;

    for (; p->next < p->n && b->len < end; p->next++) {
        const struct newest *s = &p->items[p->next];
        bool new_name = p->next == 0
                        || !str_equal(labels_get(s->labels, METRIC_NAME),
                                      labels_get(s[-1].labels, METRIC_NAME));

        print_line(p, b, s, new_name);
    }
    return p->next < p->n;
}

/* ---- collecting ---- */

static enum errc too_much(struct err *err)
{
    return err_set(err, ERR_LIMIT, 0, "the result needs more than %d bytes", API_MAX_META_BYTES);
}

/* Keeps the newest sample of a series, unless the series has ended or has no name. */
static enum errc keep(struct page *p, struct labels ls, const struct column *c, struct err *err)
{
    size_t last = c->n - 1;
    struct newest *s;

    if (c->n == 0 || is_stale(c->v[last]) || (c->h && c->h[last])
        || labels_get(ls, METRIC_NAME).len == 0)
        return OK;
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct newest *grown =
            arena_grow(p->arena, p->items, p->cap * sizeof *grown, cap * sizeof *grown);

        if (!grown)
            return too_much(err);
        p->items = grown;
        p->cap = cap;
    }
    s = &p->items[p->n];
    *s = (struct newest){ labels_copy(p->arena, ls), c->t_ms[last], c->v[last] };
    if (s->labels.n < ls.n)
        return too_much(err);
    p->n++;
    return OK;
}

static enum errc collect_selector(struct page *p, struct db_view *v, const struct api_selector *s,
                                  int64_t min_t_ms, int64_t max_t_ms, struct err *err)
{
    struct arena *a = arena_new(API_MAX_META_BYTES);
    struct series_list found = { 0 };
    struct column column = { 0 };
    enum errc rc = a ? db_select(v, s->matchers, s->n, min_t_ms, max_t_ms, a, &found, err)
                     : err_set(err, ERR_NOMEM, 0, "out of memory");

    for (size_t i = 0; !rc && i < found.n; i++) {
        rc = db_read(v, &found.items[i], min_t_ms, max_t_ms, &column, err);
        if (!rc)
            rc = keep(p, found.items[i].labels, &column, err);
    }
    column_free(&column);
    arena_free(a);
    return rc;
}

static int compare(const void *a, const void *b)
{
    const struct newest *x = a, *y = b;
    int names = str_cmp(labels_get(x->labels, METRIC_NAME), labels_get(y->labels, METRIC_NAME));

    return names ? names : labels_cmp(x->labels, y->labels);
}

static enum errc collect(struct api *api, const struct api_selectors *selectors, struct page *p,
                         struct err *err)
{
    int64_t now_ms = clock_wall_ms(api->o.clock), min_t_ms = now_ms - api->o.lookback_ms + 1;
    struct db_view *v = NULL;
    size_t unique = 0;
    enum errc rc = db_view_open(api_db(api), min_t_ms, now_ms, &v, err);

    for (size_t i = 0; !rc && i < selectors->n; i++)
        rc = collect_selector(p, v, &selectors->items[i], min_t_ms, now_ms, err);
    db_view_close(v);
    if (p->n)
        qsort(p->items, p->n, sizeof *p->items, compare);
    for (size_t i = 0; i < p->n; i++)
        if (unique == 0 || !labels_equal(p->items[unique - 1].labels, p->items[i].labels))
            p->items[unique++] = p->items[i];
    p->n = unique;
    return rc;
}

/* ---- the endpoint ---- */

/* Errors are plain texts here, as scrapers expect. */
static void text_error(struct http_response *rs, enum errc rc, const char *text)
{
    http_response_text(rs, rc == ERR_BAD_QUERY || rc == ERR_BAD_DATA ? 400 : 500, "%s", text);
}

static enum errc external_labels(const struct api *api, struct page *p, struct err *err)
{
    struct alerting *alerting = atomic_load(&api->alerting);

    return alerting ? alerting_external_labels(alerting, p->arena, &p->external, err) : OK;
}

static bool accepts_utf8(const struct http_request *rq)
{
    struct str accept = http_header(rq, "Accept");

    return accept.len && memmem(accept.ptr, accept.len, "escaping=allow-utf-8", 20) != NULL;
}

void api_federate(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct api_selectors selectors = { 0 };
    struct page *p = calloc(1, sizeof *p);
    enum errc rc = OK;

    if (!p || !(p->arena = arena_new(API_MAX_META_BYTES))) {
        page_free(p);
        text_error(rs, ERR_NOMEM, errc_text(ERR_NOMEM));
        return;
    }
    p->utf8 = accepts_utf8(rq);
    rc = rq->params_error ? err_set(&err, ERR_BAD_DATA, 0, "%s", rq->params_error)
                          : api_selectors_parse(rq, &selectors, &err);
    if (!rc)
        rc = external_labels(api, p, &err);
    if (!rc)
        rc = collect(api, &selectors, p, &err);
    api_selectors_free(&selectors);
    if (rc) {
        text_error(rs, rc, err_text(&err));
        page_free(p);
        return;
    }
    rs->content_type = p->utf8 ? "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
                               : "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    rs->next = p->n ? page_more : NULL;
    rs->done = page_free;
    rs->ctx = p;
}
