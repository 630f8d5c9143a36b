/* api_query.c -- /api/v1/query and query_range.
 *
 * A result is formatted while it is sent: the writer below remembers the next series and point. The
 * result owns its memory and needs no view of the store, so that a client may take its time.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "http/api_private.h"
#include "http/json_histogram.h"
#include "http/params.h"
#include "query/parse.h"
#include "query/query.h"

#include "base/banned.h"

enum { MAX_POINTS = 11000 };

/* ---- the result ---- */

struct result_writer {
    struct query_result *result;
    size_t n_series;      /* to write, the limit applied */
    size_t series, point; /* the next ones */
    bool named;           /* the labels of that series have been written */
    bool histograms;      /* of that series floats are written first, then histograms */
    bool begun;           /* the list of one kind has been opened */
    bool truncated;
    struct buf stats; /* ,"stats":{…} or nothing */
};

static void writer_free(void *ctx)
{
    struct result_writer *w = ctx;

    query_result_free(w->result);
    buf_free(&w->stats);
    free(w);
}

static void write_point(struct buf *b, const struct result_series *s, size_t i)
{
    const struct histogram *h = result_histogram(s, i);

    if (!h) {
        json_sample(b, s->points[i].t_ms, s->points[i].v);
        return;
    }
    buf_u8(b, '[');
    json_time(b, s->points[i].t_ms);
    buf_u8(b, ',');
    json_histogram(b, h);
    buf_u8(b, ']');
}

static void begin_series(struct buf *b, const struct result_series *s, size_t i)
{
    buf_text(b, i ? ",{\"metric\":" : "{\"metric\":");
    json_labels(b, s->labels);
}

static void write_vector(struct result_writer *w, struct buf *b)
{
    size_t end = b->len + HTTP_PIECE_BYTES;

    for (; w->series < w->n_series && b->len < end; w->series++) {
        const struct result_series *s = &w->result->series[w->series];

        begin_series(b, s, w->series);
        buf_text(b, result_histogram(s, 0) ? ",\"histogram\":" : ",\"value\":");
        write_point(b, s, 0);
        buf_u8(b, '}');
    }
}

/* Writes points of the kind that w is at; false when there is no room for the rest. */
static bool write_points(struct result_writer *w, struct buf *b, const struct result_series *s,
                         size_t end)
{
    for (; w->point < s->n_points; w->point++) {
        if ((result_histogram(s, w->point) != NULL) != w->histograms)
            continue;
        if (b->len >= end)
            return false;
        if (w->begun)
            buf_u8(b, ',');
        else
            buf_text(b, w->histograms ? ",\"histograms\":[" : ",\"values\":[");
        w->begun = true;
        write_point(b, s, w->point);
    }
    if (w->begun)
        buf_u8(b, ']');
    w->begun = false;
    w->point = 0;
    return true;
}

static void write_matrix(struct result_writer *w, struct buf *b)
{
    size_t end = b->len + HTTP_PIECE_BYTES;

    while (w->series < w->n_series && b->len < end) {
        const struct result_series *s = &w->result->series[w->series];

        if (!w->named)
            begin_series(b, s, w->series);
        w->named = true;
        if (!write_points(w, b, s, end))
            return;
        if (s->h && !w->histograms) {
            w->histograms = true; /* the same points again, for the other kind */
            continue;
        }
        buf_u8(b, '}');
        w->series++;
        w->named = w->histograms = false;
    }
}

static bool write_more(void *ctx, struct buf *b)
{
    struct result_writer *w = ctx;
    const struct query_result *r = w->result;
    struct api_notes notes = {
        .warnings = r->warnings,
        .n_warnings = r->n_warnings,
        .infos = r->infos,
        .n_infos = r->n_infos,
        .warning = w->truncated ? API_TRUNCATED : NULL,
    };

    (r->type == TYPE_MATRIX ? write_matrix : write_vector)(w, b);
    if (w->series < w->n_series)
        return true;
    buf_u8(b, ']');
    buf_add(b, w->stats.ptr, w->stats.len);
    buf_u8(b, '}');
    api_end(b, &notes);
    return false;
}

/* [t,"v"] of a scalar or string. */
static void write_single(struct buf *b, const struct query_result *r)
{
    buf_u8(b, '[');
    json_time_shortest(b, r->t_ms);
    buf_u8(b, ',');
    if (r->type == TYPE_SCALAR)
        json_scalar(b, r->series[0].points[0].v);
    else
        json_string(b, r->string);
}

/* Fills rs with w's result, which rs owns from now on. */
static void respond(struct http_response *rs, struct result_writer *w)
{
    const struct query_result *r = w->result;

    api_begin(rs);
    buf_printf(&rs->body, "{\"resultType\":\"%s\",\"result\":", value_type_name(r->type));
    if (r->type == TYPE_SCALAR || r->type == TYPE_STRING)
        write_single(&rs->body, r);
    else
        buf_u8(&rs->body, '[');
    rs->next = write_more; /* the end of a single value too */
    rs->done = writer_free;
    rs->ctx = w;
}

/* ---- parameters of both kinds of queries ---- */

struct query_params {
    struct query_options options;
    struct str text;
    uint64_t limit;
    bool stats;
    int64_t queued_ns;
};

/* The timeout: what the request asks for, at most the server's, less the time in the queue. */
static bool read_timeout(const struct api *api, const struct http_request *rq,
                         struct http_response *rs, struct query_params *p)
{
    struct err err = err_in(rq->arena);
    struct str text = http_param(rq, "timeout");
    int64_t timeout_ms = api->o.query_timeout_ms;

    if (text.len) {
        int64_t asked_ms;

        if (param_duration(text, &asked_ms, &err)) {
            api_bad_param(rq, rs, "timeout", err_text(&err));
            return false;
        }
        if (asked_ms < timeout_ms)
            timeout_ms = asked_ms;
    }
    p->queued_ns = clock_mono_ns(&clock_system) - rq->complete_ns;
    p->options.timeout_ms = timeout_ms - p->queued_ns / 1000000;
    if (p->options.timeout_ms > 0)
        return true;
    api_error(rs, ERR_TIMEOUT, "query timed out in query queue");
    return false;
}

static bool read_lookback(const struct http_request *rq, struct http_response *rs,
                          struct query_params *p)
{
    struct err err = err_in(rq->arena);
    struct str text = http_param(rq, "lookback_delta");
    int64_t ms = 0;
    const char *why;

    if (text.len && param_duration(text, &ms, &err)) {
        why = arena_printf(rq->arena, "error parsing lookback delta duration: %s", err_text(&err));
        api_error(rs, ERR_BAD_DATA, why ? why : err_text(&err));
        return false;
    }
    if (ms > 0)
        p->options.lookback_ms = ms;
    return true;
}

struct query_options api_query_options(const struct api *api, const struct http_request *rq)
{
    struct query_options o = query_options_default(api_db(api));

    o.lookback_ms = api->o.lookback_ms;
    o.timeout_ms = api->o.query_timeout_ms;
    o.max_samples = api->o.query_max_samples;
    o.clock = api->o.clock;
    o.cancel = rq->cancel;
    return o;
}

static bool read_common(const struct api *api, const struct http_request *rq,
                        struct http_response *rs, struct query_params *p)
{
    p->options = api_query_options(api, rq);
    p->text = http_param(rq, "query");
    p->stats = http_param(rq, "stats").len > 0;
    return read_timeout(api, rq, rs, p) && read_lookback(rq, rs, p);
}

/* ---- running ---- */

static void query_error(const struct http_request *rq, struct http_response *rs, enum errc rc,
                        const struct err *err)
{
    if (rc == ERR_BAD_QUERY || rc == ERR_TOO_LARGE)
        api_bad_param(rq, rs, "query", err_text(err));
    else
        api_error(rs, rc, err_text(err));
}

static void add_stats(struct buf *b, const struct query_params *p, const struct query_result *r,
                      int64_t took_ns)
{
    double seconds = (double)took_ns / 1e9, queued = (double)p->queued_ns / 1e9;

    buf_printf(b,
               ",\"stats\":{\"timings\":{\"evalTotalTime\":%.9f,\"resultSortTime\":0,"
               "\"queryPreparationTime\":0,\"innerEvalTime\":%.9f,\"execQueueTime\":%.9f,"
               "\"execTotalTime\":%.9f},\"samples\":{\"totalQueryableSamples\":%" PRIu64
               ",\"peakSamples\":%" PRIu64 ",\"samplesRead\":%" PRIu64 "}}",
               seconds, seconds, queued, seconds + queued, r->samples, r->peak_samples, r->samples);
}

/* Answers with the result of a query, or its error. */
static void finish(const struct http_request *rq, struct http_response *rs,
                   const struct query_params *p, enum errc rc, const struct err *err,
                   struct query_result *r, int64_t took_ns)
{
    struct result_writer *w;

    if (rc) {
        query_error(rq, rs, rc, err);
        return;
    }
    w = calloc(1, sizeof *w);
    if (!w) {
        query_result_free(r);
        api_error(rs, ERR_NOMEM, errc_text(ERR_NOMEM));
        return;
    }
    w->result = r;
    if (r->type == TYPE_VECTOR || r->type == TYPE_MATRIX) {
        w->truncated = r->n_series > p->limit;
        w->n_series = w->truncated ? p->limit : r->n_series;
    }
    if (p->stats)
        add_stats(&w->stats, p, r, took_ns);
    respond(rs, w);
}

void api_query(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct query_params p = { 0 };
    struct query_result *r = NULL;
    int64_t t_ms, begun_ns;
    enum errc rc;

    if (!api_limit(rq, rs, &p.limit)
        || !api_time(rq, rs, "time", clock_wall_ms(api->o.clock), &t_ms)
        || !read_common(api, rq, rs, &p))
        return;
    begun_ns = clock_mono_ns(&clock_system);
    rc = query_instant(&p.options, p.text, t_ms, &r, &err);
    finish(rq, rs, &p, rc, &err, r, clock_mono_ns(&clock_system) - begun_ns);
}

struct range_params {
    int64_t start_ms, end_ms, step_ms;
};

static bool read_bound(const struct http_request *rq, struct http_response *rs, const char *name,
                       int64_t *t_ms)
{
    struct err err = err_in(rq->arena);

    if (param_time(http_param(rq, name), t_ms, &err) == OK)
        return true;
    api_bad_param(rq, rs, name, err_text(&err));
    return false;
}

static bool read_range(const struct http_request *rq, struct http_response *rs,
                       struct range_params *p)
{
    struct err err = err_in(rq->arena);

    if (!read_bound(rq, rs, "start", &p->start_ms) || !read_bound(rq, rs, "end", &p->end_ms))
        return false;
    if (p->end_ms < p->start_ms) {
        api_bad_param(rq, rs, "end", "end timestamp must not be before start time");
        return false;
    }
    if (param_duration(http_param(rq, "step"), &p->step_ms, &err)) {
        api_bad_param(rq, rs, "step", err_text(&err));
        return false;
    }
    if (p->step_ms <= 0) {
        api_bad_param(rq, rs, "step",
                      "zero or negative query resolution step widths are not accepted. "
                      "Try a positive integer");
        return false;
    }
    if (((uint64_t)p->end_ms - (uint64_t)p->start_ms) / (uint64_t)p->step_ms > MAX_POINTS) {
        api_error(rs, ERR_BAD_DATA,
                  "exceeded maximum resolution of 11,000 points per timeseries. "
                  "Try decreasing the query resolution (?step=XX)");
        return false;
    }
    return true;
}

void api_query_range(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct query_params p = { 0 };
    struct range_params range;
    struct query_result *r = NULL;
    int64_t begun_ns;
    enum errc rc;

    if (!api_limit(rq, rs, &p.limit) || !read_range(rq, rs, &range)
        || !read_common(api, rq, rs, &p))
        return;
    begun_ns = clock_mono_ns(&clock_system);
    rc = query_range(&p.options, p.text, range.start_ms, range.end_ms, range.step_ms, &r, &err);
    finish(rq, rs, &p, rc, &err, r, clock_mono_ns(&clock_system) - begun_ns);
}
