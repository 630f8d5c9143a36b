/* api_graph.c -- GET /graph?g0.expr=...: what links in alerts and Grafana's "Explore in Prometheus"
 * lead to. A page without scripts: the expression, and what it yields now as a table.
 */
#include <inttypes.h>

#include "base/number.h"
#include "http/api_private.h"
#include "query/histogram_buckets.h"
#include "query/parse.h"
#include "query/query.h"

#include "base/banned.h"

enum { MAX_ROWS = 1000 };

/* Text that is safe in an element and in a quoted attribute. */
static void add_text(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            buf_text(b, "&amp;");
            break;
        case '<':
            buf_text(b, "&lt;");
            break;
        case '>':
            buf_text(b, "&gt;");
            break;
        case '"':
            buf_text(b, "&quot;");
            break;
        case '\'':
            buf_text(b, "&#39;");
            break;
        default:
            if ((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\n' && s.ptr[i] != '\t')
                buf_text(b, "\xef\xbf\xbd"); /* U+FFFD: a page has no control characters */
            else
                buf_u8(b, (uint8_t)s.ptr[i]);
        }
    }
}

/* Percent-encoded for a query string. */
static void add_encoded(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
            || strchr("-._~", c ? c : ' '))
            buf_u8(b, c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static void begin_page(struct buf *b, struct str expr)
{
    buf_text(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<title>Tidemark</title></head><body>\n"
                "<form action=\"graph\"><p><textarea name=\"g0.expr\" rows=\"4\" cols=\"100\">\n");
    add_text(b, expr);
    buf_text(b, "</textarea></p>\n<p><input type=\"submit\" value=\"Execute\"></p></form>\n");
}

static void add_row(struct buf *b, struct labels ls, struct str value)
{
    struct buf metric = { 0 };

    labels_print_metric(&metric, ls);
    buf_text(b, "<tr><td>");
    add_text(b, buf_as_str(&metric));
    buf_text(b, "</td><td>");
    add_text(b, value);
    buf_text(b, "</td></tr>\n");
    b->failed |= metric.failed;
    buf_free(&metric);
}

/* A series as a row: its last point, or how many there are. */
static void add_series(struct buf *b, const struct query_result *r, const struct result_series *s)
{
    struct buf value = { 0 };

    if (r->type == TYPE_MATRIX)
        buf_printf(&value, "%zu points", s->n_points);
    else if (s->n_points && result_histogram(s, s->n_points - 1))
        histogram_print(&value, s->h[s->n_points - 1]);
    else if (s->n_points)
        number_print(&value, s->points[s->n_points - 1].v, NUMBER_JSON);
    add_row(b, s->labels, buf_as_str(&value));
    b->failed |= value.failed;
    buf_free(&value);
}

static void add_notes(struct buf *b, const struct str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_text(b, "<p>");
        add_text(b, texts[i]);
        buf_text(b, "</p>\n");
    }
}

static void add_result(struct buf *b, const struct query_result *r)
{
    size_t n = r->n_series < MAX_ROWS ? r->n_series : MAX_ROWS;

    add_notes(b, r->warnings, r->n_warnings);
    add_notes(b, r->infos, r->n_infos);
    buf_printf(b, "<p>%zu series</p>\n<table>\n", r->n_series);
    for (size_t i = 0; i < n; i++)
        add_series(b, r, &r->series[i]);
    if (r->type == TYPE_STRING)
        add_row(b, (struct labels){ 0 }, r->string);
    buf_text(b, "</table>\n");
    if (n < r->n_series)
        buf_printf(b, "<p>Only the first %zu are shown.</p>\n", n);
}

static void add_answer(struct buf *b, const struct api *api, const struct http_request *rq,
                       struct str expr)
{
    struct query_options o = api_query_options(api, rq);
    struct err err = err_in(rq->arena);
    struct query_result *r = NULL;

    if (query_instant(&o, expr, clock_wall_ms(api->o.clock), &r, &err) == OK) {
        add_result(b, r);
        buf_text(b, "<p><a href=\"api/v1/query?query=");
        add_encoded(b, expr);
        buf_text(b, "\">JSON</a></p>\n");
    } else {
        buf_text(b, "<p>Error: ");
        add_text(b, str_from(err_text(&err)));
        buf_text(b, "</p>\n");
    }
    query_result_free(r);
}

void api_graph(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct str expr = http_param(rq, "g0.expr");

    rs->content_type = "text/html; charset=utf-8";
    http_response_header(rs, "Content-Security-Policy", "default-src 'none'; form-action 'self'");
    begin_page(&rs->body, expr);
    if (expr.len)
        add_answer(&rs->body, api, rq, expr);
    buf_text(&rs->body, "</body></html>\n");
}
