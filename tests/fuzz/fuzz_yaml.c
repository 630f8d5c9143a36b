/* fuzz_yaml.c -- any bytes as YAML. A character of a scalar's text, but for escaped ones, must be
 * the one that stands at its place in the file. */
#include "base/arena.h"
#include "base/yaml.h"

#include "base/banned.h"

enum { MAX_NODES = 2000, MAX_OFFSETS = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The character at a place, 0 beyond the end. */
static unsigned char char_at(struct str text, uint32_t line, uint32_t col)
{
    uint32_t l = 1, c = 1;

    for (size_t i = 0, n; i < text.len; i += n) {
        bool crlf = i + 1 < text.len && text.ptr[i] == '\r' && text.ptr[i + 1] == '\n';

        if (l == line && c == col)
            return (unsigned char)text.ptr[i];
        utf8_decode((struct str){ text.ptr + i, text.len - i }, &n);
        n += crlf;
        c++;
        if (crlf || text.ptr[i] == '\n' || text.ptr[i] == '\r') {
            l++;
            c = 1;
        }
    }
    return 0;
}

static void check_scalar(const struct yaml_node *n, struct str text)
{
    uint32_t line, col;

    for (size_t i = 0; i < n->text.len && i < MAX_OFFSETS; i++) {
        unsigned char c = (unsigned char)n->text.ptr[i];

        yaml_place(n, i, &line, &col);
        ASSERT(line >= n->line && (line > n->line || col >= n->col));
        if (c > ' ' && c < 0x7f && n->source.len > 0 && *n->source.ptr != '"')
            ASSERT(char_at(text, line, col) == c);
    }
}

static void check_nodes(const struct yaml_node *n, struct str text, size_t *left)
{
    if (*left == 0)
        return;
    --*left;
    if (n->kind == YAML_SCALAR)
        check_scalar(n, text);
    for (size_t i = 0; n->kind != YAML_SCALAR && i < n->n; i++) {
        if (n->kind == YAML_MAPPING)
            check_nodes(n->keys[i], text, left);
        check_nodes(n->items[i], text, left);
    }
}

/* Line breaks of Unicode, which editors do not count and libyaml does. */
static bool has_unicode_breaks(struct str s)
{
    return memmem(s.ptr, s.len, "\xC2\x85", 2) || memmem(s.ptr, s.len, "\xE2\x80\xA8", 3)
           || memmem(s.ptr, s.len, "\xE2\x80\xA9", 3) || memmem(s.ptr, s.len, "\xEF\xBB\xBF", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena *a = arena_new(0);
    struct diags d = { .arena = a };
    struct yaml_node *root = NULL;
    size_t left = MAX_NODES;
    enum errc rc;

    if (a && size < 8192) {
        rc = yaml_read(text, "f", a, &root, &d);
        ASSERT((rc == ERR_BAD_CONFIG) == (d.n_errors > 0));
        if (root && !has_unicode_breaks(text))
            check_nodes(root, text, &left);
    }
    arena_free(a);
    return 0;
}
