/* fuzz_template.c -- any bytes as a template. It is checked and expanded; whatever happens must
 * respect the limits, and a fault must lie inside the text. */
#include "alert/template.h"
#include "base/arena.h"

#include "base/banned.h"

enum { ARENA_BYTES = 256 << 20, MAX_OUTPUT = 1 << 20 };

static const struct label metric[] = { { { "__name__", 8 }, { "m", 1 } },
                                       { { "instance", 8 }, { "h.example.com:9100", 18 } } };

static enum errc any_query(void *ctx, struct str text, struct arena *a,
                           struct template_sample **out, size_t *n, struct err *err)
{
    struct template_sample *s = ARENA_NEW(a, struct template_sample, 2);

    (void)ctx;
    if (!s || text.len == 0)
        return err_set(err, ERR_BAD_QUERY, 0, "no query");
    s[0] = (struct template_sample){ .labels = { metric, 2 }, .v = 1.5 };
    *out = s;
    *n = text.len % 3;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size }, name = STR("T");
    struct template_data alert = { .labels = { metric, 2 },
                                   .value = 42.5,
                                   .external_url = STR("http://host/path"),
                                   .now_ms = 1353755652000,
                                   .query = any_query };
    struct arena *a = arena_new(ARENA_BYTES);
    struct buf out = { 0 };
    struct err err;
    enum errc checked, expanded;

    if (!a)
        return 0;
    err = err_in(a);
    checked = template_check(name, text, a, &err);
    ASSERT(checked == OK || err.pos <= size);
    arena_reset(a);
    err = err_in(a);
    expanded = template_expand(name, text, &alert, a, &out, &err);
    ASSERT(checked == OK || expanded == checked);
    ASSERT(expanded == OK || (err.pos <= size && out.len == 0 && *err_text(&err)));
    ASSERT(expanded == OK || expanded == ERR_LIMIT
           || expanded == (checked == OK ? ERR_EXECUTION : ERR_BAD_CONFIG));
    ASSERT(out.len <= MAX_OUTPUT);
    buf_free(&out);
    arena_free(a);
    return 0;
}
