#include "http/route.h"

#include "base/banned.h"

/* The text up to the next '/', which is skipped. */
static struct str next_segment(struct str *rest)
{
    const char *slash = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
    struct str segment = *rest;

    if (!slash) {
        rest->len = 0;
        return segment;
    }
    segment.len = (size_t)(slash - segment.ptr);
    rest->ptr = slash + 1;
    rest->len -= segment.len + 1;
    return segment;
}

static size_t count_slashes(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == '/';
    return n;
}

static bool matches(const char *pattern, struct str path, struct str *arg)
{
    struct str want = str_from(pattern);
    size_t n = count_slashes(want);

    if (count_slashes(path) != n && !str_ends_with(want, STR("/**")))
        return false;
    for (size_t i = 0; i <= n; i++) {
        struct str w = next_segment(&want), all = path, p = next_segment(&path);

        if (str_is(w, "**") && all.len > 0)
            *arg = all;
        else if (str_is(w, "*") && p.len > 0)
            *arg = p;
        else if (!str_equal(w, p))
            return false;
    }
    return true;
}

const struct route *route_find(const struct http_service *service, struct str path, struct str *arg)
{
    *arg = (struct str){ "", 0 };
    for (size_t i = 0; i < service->n_routes; i++)
        if (matches(service->routes[i].pattern, path, arg))
            return &service->routes[i];
    return NULL;
}

unsigned route_methods(const struct route *route)
{
    return route->methods | HTTP_OPTIONS | (route->methods & HTTP_GET ? HTTP_HEAD : 0u);
}
