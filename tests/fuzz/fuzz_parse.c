/* fuzz_parse.c -- any bytes as PromQL. What parses must print, and its text must read back to the
 * same text, on one line and prettified. */
#include "base/arena.h"
#include "query/duration_expr.h"
#include "query/parse.h"

#include "base/banned.h"

enum { ARENA_BYTES = 64 << 20 };

static struct node *parse_again(const struct buf *text, struct arena *a)
{
    struct err err = err_in(a);
    struct node *n = NULL;
    enum errc rc = parse_query(buf_as_str(text), a, &n, &err);

    /* Canonical forms may be longer than the limits on length and nesting allow. */
    ASSERT(rc == OK || text->len > PARSE_MAX_BYTES || strstr(err_text(&err), "levels"));
    return n;
}

static void check_texts(const struct node *n, struct arena *a)
{
    struct buf text = { 0 }, pretty = { 0 }, again = { 0 };
    struct node *read, *read_pretty;

    node_print(&text, n);
    node_prettify(&pretty, n);
    read = parse_again(&text, a);
    read_pretty = parse_again(&pretty, a);
    if (read) {
        node_print(&again, read);
        ASSERT(str_equal(buf_as_str(&again), buf_as_str(&text)));
    }
    if (read_pretty) {
        buf_clear(&again);
        node_print(&again, read_pretty);
        ASSERT(str_equal(buf_as_str(&again), buf_as_str(&text)));
    }
    parse_free(read);
    parse_free(read_pretty);
    buf_free(&text);
    buf_free(&pretty);
    buf_free(&again);
}

static void read_selector(struct str text, struct arena *a)
{
    struct err err = err_in(a);
    struct matcher *m;
    size_t n;

    if (parse_selector(text, a, &m, &n, &err) == OK)
        for (size_t i = 0; i < n; i++)
            matcher_free(&m[i]);
    else
        ASSERT(err.code != ERR_BAD_QUERY || err.pos == PARSE_NO_POSITION || err.pos <= text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena *a = arena_new(ARENA_BYTES);
    struct err err = err_in(a);
    struct node *n;

    if (!a)
        return 0;
    if (parse_query(text, a, &n, &err) == OK) {
        if (n->kind == NODE_MATRIX)
            (void)!duration_prepare(&n->matrix.range, false, 15, 3600, &err);
        check_texts(n, a);
        parse_free(n);
    } else {
        struct buf b = { 0 };

        ASSERT(err.pos <= size);
        parse_error_print(&b, text, &err);
        buf_free(&b);
    }
    read_selector(text, a);
    arena_free(a);
    return 0;
}
