/* api_admin.c -- what an operator may ask of the store: /api/v1/admin/tsdb/..., which answer only
 * with --web.enable-admin-api. They are POST or PUT, so that no link or image makes a browser call
 * them. */
#include "base/arena.h"
#include "base/number.h"
#include "http/api_private.h"

#include "base/banned.h"

/* False: rs says that these endpoints are off. Clients know Prometheus' text and status for it. */
static bool is_enabled(const struct api *api, const struct http_request *rq,
                       struct http_response *rs)
{
    if (!api->o.enable_admin) {
        api_error(rs, ERR_UNAVAILABLE, "admin APIs disabled");
        rs->status = 500;
        return false;
    }
    if (api_is_foreign(rq)) {
        api_error(rs, ERR_UNAVAILABLE, "requests from other sites are not allowed");
        rs->status = 403;
        return false;
    }
    return true;
}

/* A parameter as Go's ParseBool reads it; false when it is absent. */
static bool read_switch(const struct http_request *rq, struct http_response *rs, const char *name,
                        bool *on)
{
    static const char *const words[2][6] = { { "0", "f", "F", "false", "FALSE", "False" },
                                             { "1", "t", "T", "true", "TRUE", "True" } };
    struct str text = http_param(rq, name);
    const char *why;

    *on = false;
    if (text.len == 0)
        return true;
    for (size_t i = 0; i < 2 * ARRAY_LEN(words[0]); i++)
        if (str_is(text, words[i % 2][i / 2])) {
            *on = i % 2;
            return true;
        }
    why =
        arena_printf(rq->arena, "unable to parse boolean \"%.*s\" (true or false)", STR_ARG(text));
    api_bad_param(rq, rs, name, why ? why : "true or false is expected");
    return false;
}

static void respond(struct http_response *rs, enum errc rc, const struct err *err)
{
    if (rc == OK)
        rs->status = 204;
    else
        api_error(rs, rc, err_text(err));
    if (rc == ERR_UNAVAILABLE)
        http_response_header(rs, "Retry-After", "5");
}

void api_admin_flush(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    bool compact;
    enum errc rc;

    if (!is_enabled(api, rq, rs) || !read_switch(rq, rs, "compact", &compact))
        return;
    rc = db_flush(api_db(api), &err);
    if (rc == OK && compact)
        rc = db_compact(api_db(api), rq->cancel, &err);
    respond(rs, rc, &err);
}

static enum errc delete_selected(const struct http_request *rq, struct db *db,
                                 const struct api_selectors *s, int64_t min_t_ms, int64_t max_t_ms,
                                 struct err *err)
{
    struct db_selector *selectors = ARENA_NEW(rq->arena, struct db_selector, s->n);

    if (!selectors)
        return err_set(err, ERR_LIMIT, 0, "request too large");
    for (size_t i = 0; i < s->n; i++)
        selectors[i] = (struct db_selector){ s->items[i].matchers, s->items[i].n };
    return db_delete(db, selectors, s->n, min_t_ms, max_t_ms, err);
}

void api_admin_delete(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    struct api_selectors selectors;
    int64_t min_t_ms, max_t_ms;

    if (!is_enabled(api, rq, rs))
        return;
    if (http_param(rq, "match[]").len == 0) {
        api_error(rs, ERR_BAD_DATA, "no match[] parameter provided");
        return;
    }
    if (!api_time(rq, rs, "start", INT64_MIN, &min_t_ms)
        || !api_time(rq, rs, "end", INT64_MAX, &max_t_ms)
        || !api_selectors_read(rq, rs, &selectors))
        return;
    respond(rs, delete_selected(rq, api_db(api), &selectors, min_t_ms, max_t_ms, &err), &err);
    api_selectors_free(&selectors);
}

void api_admin_clean(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);

    if (is_enabled(api, rq, rs))
        respond(rs, db_clean(api_db(api), rq->cancel, &err), &err);
}

void api_admin_snapshot(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct api *api = ctx;
    struct err err = err_in(rq->arena);
    char name[DB_SNAPSHOT_NAME_MAX];
    bool skip_head;
    enum errc rc;

    if (!is_enabled(api, rq, rs) || !read_switch(rq, rs, "skip_head", &skip_head))
        return;
    rc = db_snapshot(api_db(api), skip_head, rq->cancel, name, &err);
    if (rc != OK) {
        respond(rs, rc, &err);
        return;
    }
    api_begin(rs);
    buf_printf(&rs->body, "{\"name\":\"%s\"}", name);
    api_end(&rs->body, &(struct api_notes){ 0 });
}
