/* fuzz_http_params.c -- query strings, times, durations, limits, label names and media types. */
#include <stdlib.h>

#include "base/arena.h"
#include "http/message.h"
#include "http/params.h"
#include "http/route.h"
#include "storage/labels_json.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_value(struct str s, struct arena *a, struct buf *json)
{
    struct err err = err_in(a);
    int64_t v;
    uint64_t n;
    struct str name = param_label_name(s, a);

    if (param_time(s, &v, &err) == OK) {
        ASSERT(v >= TIME_MIN_MS && v <= TIME_MAX_MS);
        json_time(json, v);
    } else {
        json_text(json, str_from(err_text(&err)));
    }
    if (param_duration(s, &v, &err) != OK)
        ASSERT(err.msg);
    if (param_limit(s, &n, &err) == OK)
        ASSERT(n > 0);
    ASSERT(name.len <= s.len);
    ASSERT(http_media_type(s).len <= s.len && http_media_param(s, "proto").len <= s.len);
    json_string(json, s);
    ASSERT(json->failed || utf8_valid(buf_as_str(json)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct route routes[] = { { .pattern = "/a/*/b" }, { .pattern = "/" } };
    const struct http_service service = { .routes = routes, .n_routes = ARRAY_LEN(routes) };
    struct str text = { (const char *)data, size }, arg;
    struct arena *a = arena_new(16 << 20);
    struct http_pairs pairs = { 0 };
    struct buf json = { 0 };

    if (!a)
        return 0;
    if (http_pairs_parse(text, a, &pairs, NULL) == OK)
        for (size_t i = 0; i < pairs.n; i++)
            try_value(pairs.items[i].value, a, &json);
    try_value(text, a, &json);
    (void)route_find(&service, text, &arg);
    buf_free(&json);
    arena_free(a);
    return 0;
}
