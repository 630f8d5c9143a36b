/* api_lifecycle.c -- POST /-/reload and /-/quit, when --web.enable-lifecycle allows them.
 *
 * A browser sends such a request for any page that asks it to (a form needs no permission), so one
 * that comes from another site is refused, by the headers that only browsers set.
 */
#include "base/log.h"
#include "http/api_private.h"

#include "base/banned.h"

bool api_is_foreign(const struct http_request *rq)
{
    struct str site = http_header(rq, "Sec-Fetch-Site"), origin = http_header(rq, "Origin");
    struct str host = http_header(rq, "Host");

    if (site.len)
        return !str_is(site, "same-origin") && !str_is(site, "none");
    if (origin.len == 0)
        return false;
    return !str_ends_with(origin, host) || origin.len < host.len + 3
           || memcmp(origin.ptr + origin.len - host.len - 3, "://", 3) != 0;
}

/* False: rs has the error. */
static bool is_allowed(const struct api *api, const struct http_request *rq,
                       struct http_response *rs)
{
    if (!api->o.enable_lifecycle)
        http_response_text(rs, 403, "Lifecycle API is not enabled.");
    else if (api_is_foreign(rq))
        http_response_text(rs, 403, "Requests from other sites are not allowed.");
    else
        return true;
    return false;
}

void api_reload(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct err err = err_in(rq->arena);

    if (is_allowed(api, rq, rs) && api->o.reload && api->o.reload(api->o.reload_ctx, &err) != OK)
        http_response_text(rs, 500, "failed to reload config: %s", err_text(&err));
}

void api_quit(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;

    if (!is_allowed(api, rq, rs))
        return;
    log_info("asked to stop by a request", "path=\"/-/quit\"");
    http_response_text(rs, 200, "Requesting termination... Goodbye!");
    if (api->o.quit)
        api->o.quit(api->o.reload_ctx);
}
