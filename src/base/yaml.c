/* yaml.c -- libyaml's events put together as a tree.
 *
 * libyaml counts characters, not bytes; its marks only move forward, so one cursor (struct spot)
 * follows them through the text and finds the bytes of each scalar's source.
 *
 * Children of open collections wait on one stack (pending) and move into the arena, as one array,
 * when their collection ends. Aliases share nodes, so the tree is a graph without cycles; what
 * keeps a reader's walk through it short ("billion laughs") is that n_nodes counts shared nodes
 * again at each alias.
 */
#include "base/yaml.h"

#include <stdlib.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/suggest.h"
#include "base/table.h"
#include "base/vec.h"

#include "base/banned.h"

struct anchor {
    struct str name;
    struct yaml_node *node;
    size_t n_nodes;  /* in the tree below node, shared ones counted each time */
    unsigned height; /* of that tree: 0 for a scalar */
};

/* A character: how many stand before it, and where it is. */
struct spot {
    size_t index, byte;
};

struct composer {
    yaml_parser_t parser;
    struct str text; /* in the arena */
    const char *file;
    struct arena *a;
    struct diags *d;
    struct spot spot;
    struct yaml_node **pending;
    size_t n_pending, cap_pending;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
    struct table anchor_ids;
    size_t n_nodes;
};

/* ---- places ---- */

static uint32_t line_of(const yaml_mark_t *m)
{
    return (uint32_t)m->line + 1;
}

static uint32_t col_of(const yaml_mark_t *m)
{
    return (uint32_t)m->column + 1;
}

static struct spot spot_at(const struct composer *c, struct spot from, size_t index)
{
    if (index < from.index)
        from = (struct spot){ 0 };
    while (from.index < index && from.byte < c->text.len) {
        size_t n;

        utf8_decode((struct str){ c->text.ptr + from.byte, c->text.len - from.byte }, &n);
        from.byte += n;
        from.index++;
    }
    return from;
}

static void fault_at(struct composer *c, const yaml_mark_t *m, const char *what)
{
    diag_error(c->d, c->file, line_of(m), col_of(m), "%s", what);
}

/* Line and column of a byte of the text. */
static void byte_place(struct str text, size_t byte, uint32_t *line, uint32_t *col)
{
    *line = *col = 1;
    for (size_t i = 0, n; i < byte && i < text.len; i += n) {
        utf8_decode((struct str){ text.ptr + i, text.len - i }, &n);
        ++*col;
        if (text.ptr[i] == '\n') {
            ++*line;
            *col = 1;
        }
    }
}

static void syntax_fault(struct composer *c)
{
    const yaml_parser_t *p = &c->parser;
    const yaml_mark_t *m = &p->problem_mark, *from = &p->context_mark;
    uint32_t line, col;

    if (p->error == YAML_READER_ERROR) {
        byte_place(c->text, p->problem_offset, &line, &col);
        diag_error(c->d, c->file, line, col, "yaml: %s (U+%04X)", p->problem,
                   (unsigned)p->problem_value);
    } else if (!p->context) {
        diag_error(c->d, c->file, line_of(m), col_of(m), "yaml: %s", p->problem);
    } else if (from->line == m->line) {
        diag_error(c->d, c->file, line_of(m), col_of(m), "yaml: %s %s", p->problem, p->context);
    } else {
        diag_error(c->d, c->file, line_of(m), col_of(m), "yaml: %s %s that begins at line %u",
                   p->problem, p->context, line_of(from));
    }
}

static enum errc next_event(struct composer *c, yaml_event_t *e)
{
    if (yaml_parser_parse(&c->parser, e))
        return OK;
    if (c->parser.error == YAML_MEMORY_ERROR)
        return ERR_NOMEM;
    syntax_fault(c);
    return ERR_BAD_CONFIG;
}

/* ---- nodes ---- */

static enum errc count_nodes(struct composer *c, size_t n, const yaml_mark_t *m)
{
    c->n_nodes += n;
    if (c->n_nodes <= YAML_MAX_NODES)
        return OK;
    fault_at(c, m, "document has too many nodes, or excessive aliasing");
    return ERR_BAD_CONFIG;
}

static bool is_anchor_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'
           || c == '-';
}

/* Moves the place of a node, and the source, past &anchor and !tag and the white space and
 * comments behind them. */
static void skip_properties(struct yaml_node *n, struct str *source)
{
    enum { NOTHING, ANCHOR, TAG, COMMENT } in = NOTHING;
    size_t i = 0, width;

    for (; i < source->len; i += width) {
        char c = source->ptr[i];
        bool line_end = c == '\n' || c == '\r';

        if (in == ANCHOR && !is_anchor_character(c))
            in = NOTHING; /* `&a:b` is the text ":b" for libyaml */
        if (c == ' ' || c == '\t' || line_end)
            in = in == COMMENT && !line_end ? COMMENT : NOTHING;
        else if (in == NOTHING && c == '#')
            in = COMMENT;
        else if (in == NOTHING && (c == '&' || c == '!'))
            in = c == '&' ? ANCHOR : TAG;
        else if (in == NOTHING)
            break;
        utf8_decode((struct str){ source->ptr + i, source->len - i }, &width);
        n->line += line_end && !(c == '\n' && i > 0 && source->ptr[i - 1] == '\r');
        n->col = line_end ? 1 : n->col + 1;
    }
    *source = (struct str){ source->ptr + i, source->len - i };
}

/* A node where event e begins. */
static enum errc node_new(struct composer *c, enum yaml_kind kind, const yaml_event_t *e,
                          struct yaml_node **out)
{
    struct yaml_node *n = ARENA_NEW(c->a, struct yaml_node, 1);
    const yaml_mark_t *m = &e->start_mark;
    struct str source;
    size_t end = c->text.len; /* a collection's properties end somewhere before */

    if (!n)
        return ERR_NOMEM;
    c->spot = spot_at(c, c->spot, m->index);
    if (kind == YAML_SCALAR)
        end = spot_at(c, c->spot, e->end_mark.index).byte;
    n->kind = kind;
    n->line = line_of(m);
    n->col = col_of(m);
    source = (struct str){ c->text.ptr + c->spot.byte, end - c->spot.byte };
    if (source.len > 0 && (*source.ptr == '&' || *source.ptr == '!'))
        skip_properties(n, &source);
    if (kind == YAML_SCALAR)
        n->source = source;
    *out = n;
    return count_nodes(c, 1, m);
}

static enum errc push_pending(struct composer *c, struct yaml_node *n)
{
    if (!vec_reserve(&c->pending, &c->cap_pending, c->n_pending + 1, sizeof(struct yaml_node *)))
        return ERR_NOMEM;
    c->pending[c->n_pending++] = n;
    return OK;
}

/* ---- anchors ---- */

static bool anchor_is(const void *ctx, uint32_t id, const void *key)
{
    const struct composer *c = ctx;

    return str_equal(c->anchors[id].name, *(const struct str *)key);
}

static uint64_t anchor_hash(const void *ctx, uint32_t id)
{
    const struct composer *c = ctx;

    return hash64(c->anchors[id].name.ptr, c->anchors[id].name.len);
}

/* Remembers an anchor; a later one of the same name replaces it. */
static enum errc add_anchor(struct composer *c, const char *text, struct anchor anchor)
{
    struct str name = str_from(text);
    uint64_t hash = hash64(name.ptr, name.len);
    uint32_t id = table_find(&c->anchor_ids, hash, anchor_is, c, &name);

    anchor.name = str_copy(c->a, name);
    if (!anchor.name.ptr)
        return ERR_NOMEM;
    if (id == TABLE_NONE) {
        id = (uint32_t)c->n_anchors;
        if (!vec_reserve(&c->anchors, &c->cap_anchors, c->n_anchors + 1, sizeof anchor))
            return ERR_NOMEM;
        c->anchors[c->n_anchors++] = anchor;
        if (!table_add(&c->anchor_ids, hash, id, anchor_hash, c))
            return ERR_NOMEM;
    }
    c->anchors[id] = anchor;
    return OK;
}

static enum errc resolve_alias(struct composer *c, const yaml_event_t *e, unsigned depth,
                               struct anchor *out)
{
    struct str name = str_from((const char *)e->data.alias.anchor);
    uint32_t id = table_find(&c->anchor_ids, hash64(name.ptr, name.len), anchor_is, c, &name);
    const yaml_mark_t *m = &e->start_mark;

    if (id == TABLE_NONE) {
        diag_error(c->d, c->file, line_of(m), col_of(m),
                   "yaml: unknown anchor '%.*s' referenced (or one that would contain itself)",
                   STR_ARG(name));
        return ERR_BAD_CONFIG;
    }
    *out = c->anchors[id];
    if (depth + out->height > YAML_MAX_DEPTH) {
        fault_at(c, m, "yaml: nested too deeply");
        return ERR_BAD_CONFIG;
    }
    return count_nodes(c, out->n_nodes, m);
}

/* ---- mappings ---- */

static int by_text(const void *a, const void *b)
{
    const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
    int cmp = str_cmp(x->text, y->text);

    if (cmp != 0)
        return cmp;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->col < y->col ? -1 : x->col > y->col;
}

static enum errc check_unique(struct composer *c, const struct yaml_node *map)
{
    struct yaml_node **keys = malloc((map->n + 1) * sizeof *keys);

    if (!keys)
        return ERR_NOMEM;
    for (size_t i = 0; i < map->n; i++)
        keys[i] = map->keys[i];
    qsort(keys, map->n, sizeof *keys, by_text);
    for (size_t i = 1; i < map->n; i++) {
        if (keys[i]->kind == YAML_SCALAR && keys[i - 1]->kind == YAML_SCALAR
            && str_equal(keys[i]->text, keys[i - 1]->text))
            diag_error(c->d, c->file, keys[i]->line, keys[i]->col,
                       "mapping key \"%.*s\" already defined at line %u", STR_ARG(keys[i]->text),
                       keys[i - 1]->line);
    }
    free(keys);
    return OK;
}

static bool is_merge(const struct yaml_node *key)
{
    return !key->string && str_is(key->text, "<<");
}

/* The mappings that a merge key's value names: itself, or those of a list. NULL when it is
 * neither. */
static struct yaml_node *const *merged(struct yaml_node *const *value, size_t *n)
{
    *n = 1;
    if ((*value)->kind == YAML_MAPPING)
        return value;
    if ((*value)->kind == YAML_SCALAR)
        return NULL;
    *n = (*value)->n;
    for (size_t i = 0; i < *n; i++) {
        if ((*value)->items[i]->kind != YAML_MAPPING)
            return NULL;
    }
    return (*value)->items;
}

/* Adds the pairs of from that map does not have. */
static void add_missing(struct yaml_node *map, const struct yaml_node *from)
{
    for (size_t i = 0; i < from->n; i++) {
        bool have = false;

        for (size_t k = 0; k < map->n && !have; k++)
            have = str_equal(map->keys[k]->text, from->keys[i]->text);
        if (have)
            continue;
        map->keys[map->n] = from->keys[i];
        map->items[map->n++] = from->items[i];
    }
}

/* Replaces the merge key of a mapping by the pairs of what it names; own pairs and earlier
 * mappings win. */
static enum errc merge(struct composer *c, struct yaml_node *map)
{
    struct yaml_node old = *map;
    struct yaml_node *const *from;
    size_t at = 0, n_from, n = map->n;

    while (at < map->n && !is_merge(map->keys[at]))
        at++;
    if (at == map->n)
        return OK;
    from = merged(&map->items[at], &n_from);
    for (size_t i = 0; from && i < n_from; i++)
        n += from[i]->n;
    if (!from || n > YAML_MAX_MERGED) {
        diag_error(c->d, c->file, old.keys[at]->line, old.keys[at]->col,
                   from ? "mapping has too many keys to be merged"
                        : "map merge requires a mapping or a list of mappings as the value");
        return ERR_BAD_CONFIG;
    }
    map->keys = ARENA_NEW(c->a, struct yaml_node *, n);
    map->items = ARENA_NEW(c->a, struct yaml_node *, n);
    if (!map->keys || !map->items)
        return ERR_NOMEM;
    map->n = 0;
    for (size_t i = 0; i < old.n; i++) {
        if (i == at)
            continue;
        map->keys[map->n] = old.keys[i];
        map->items[map->n++] = old.items[i];
    }
    for (size_t i = 0; i < n_from; i++)
        add_missing(map, from[i]);
    return OK;
}

/* ---- collections ---- */

/* Gives a collection its children, which wait from first on. */
static enum errc take_children(struct composer *c, struct yaml_node *n, size_t first)
{
    size_t count = c->n_pending - first, stride = n->kind == YAML_MAPPING ? 2 : 1;

    n->n = count / stride;
    n->items = ARENA_NEW(c->a, struct yaml_node *, n->n);
    n->keys = stride == 2 ? ARENA_NEW(c->a, struct yaml_node *, n->n) : NULL;
    if (!n->items || (stride == 2 && !n->keys))
        return ERR_NOMEM;
    for (size_t i = 0; i < n->n; i++) {
        if (stride == 2)
            n->keys[i] = c->pending[first + 2 * i];
        n->items[i] = c->pending[first + stride * i + stride - 1];
    }
    c->n_pending = first;
    if (n->kind == YAML_SEQUENCE)
        return OK;
    return check_unique(c, n) == OK ? merge(c, n) : ERR_NOMEM;
}

static enum errc compose(struct composer *c, const yaml_event_t *e, unsigned depth,
                         struct anchor *out);

/* Reads children up to the event that ends the collection out->node. */
static enum errc compose_children(struct composer *c, unsigned depth, struct anchor *out)
{
    bool mapping = out->node->kind == YAML_MAPPING;
    size_t first = c->n_pending;

    for (;;) {
        yaml_event_t e;
        struct anchor child;
        enum errc rc = next_event(c, &e);
        bool end, key = mapping && (c->n_pending - first) % 2 == 0;

        if (rc)
            return rc;
        end = e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT;
        rc = end ? take_children(c, out->node, first) : compose(c, &e, depth + 1, &child);
        if (!end && rc == OK && key && child.node->kind != YAML_SCALAR) {
            fault_at(c, &e.start_mark,
                     "yaml: a mapping's key must be a scalar; a text that begins with { or [ "
                     "must be in quotes");
            rc = ERR_BAD_CONFIG;
        }
        yaml_event_delete(&e);
        if (end || rc)
            return rc;
        if (child.height >= out->height)
            out->height = child.height + 1;
        rc = push_pending(c, child.node);
        if (rc)
            return rc;
    }
}

static enum errc compose_scalar(struct composer *c, const yaml_event_t *e, struct yaml_node **out)
{
    enum errc rc = node_new(c, YAML_SCALAR, e, out);

    if (rc)
        return rc;
    (*out)->string =
        !e->data.scalar.plain_implicit || e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    (*out)->text =
        str_copy(c->a, (struct str){ (const char *)e->data.scalar.value, e->data.scalar.length });
    return (*out)->text.ptr ? OK : ERR_NOMEM;
}

/* The node that begins with e, at depth levels below the root. */
static enum errc compose(struct composer *c, const yaml_event_t *e, unsigned depth,
                         struct anchor *out)
{
    size_t n_before = c->n_nodes;
    const yaml_char_t *anchor = NULL;
    enum errc rc;

    *out = (struct anchor){ 0 };
    if (e->type == YAML_ALIAS_EVENT)
        return resolve_alias(c, e, depth, out);
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        rc = compose_scalar(c, e, &out->node);
    } else if (depth == YAML_MAX_DEPTH) {
        fault_at(c, &e->start_mark, "yaml: nested too deeply");
        rc = ERR_BAD_CONFIG;
    } else {
        bool mapping = e->type == YAML_MAPPING_START_EVENT;

        anchor = mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
        rc = node_new(c, mapping ? YAML_MAPPING : YAML_SEQUENCE, e, &out->node);
        if (rc == OK)
            rc = compose_children(c, depth, out);
    }
    out->n_nodes = c->n_nodes - n_before;
    if (rc == OK && anchor)
        rc = add_anchor(c, (const char *)anchor, *out);
    return rc;
}

/* ---- documents ---- */

/* Reads the events of the first document; it ends with the beginning of the second, or of nothing. */
static enum errc compose_document(struct composer *c, struct yaml_node **out)
{
    yaml_event_type_t type = YAML_NO_EVENT;
    unsigned n_documents = 0;

    while (type != YAML_STREAM_END_EVENT && n_documents < 2) {
        yaml_event_t e;
        struct anchor root;
        enum errc rc = next_event(c, &e);

        if (rc)
            return rc;
        type = e.type;
        n_documents += type == YAML_DOCUMENT_START_EVENT;
        if (n_documents == 2)
            diag_warning(c->d, c->file, line_of(&e.start_mark), col_of(&e.start_mark),
                         "only the first YAML document of a file is read");
        if (type >= YAML_ALIAS_EVENT) {
            rc = compose(c, &e, 0, &root);
            if (rc == OK)
                *out = yaml_is_null(root.node) ? NULL : root.node;
        }
        yaml_event_delete(&e);
        if (rc)
            return rc;
    }
    return OK;
}

static enum errc check_utf8(struct str text, const char *file, struct diags *d)
{
    uint32_t line, col;
    size_t n, i = 0;

    if (utf8_valid(text))
        return OK;
    for (; i < text.len; i += n) { /* an invalid byte is a U+FFFD of one byte */
        if (utf8_decode((struct str){ text.ptr + i, text.len - i }, &n) == 0xFFFD && n == 1)
            break;
    }
    byte_place(text, i, &line, &col);
    diag_error(d, file, line, col, "yaml: invalid UTF-8");
    return ERR_BAD_CONFIG;
}

enum errc yaml_read(struct str text, const char *file, struct arena *a, struct yaml_node **out,
                    struct diags *d)
{
    struct composer c = { .file = file, .a = a, .d = d };
    size_t n_errors = d->n_errors;
    enum errc rc;

    *out = NULL;
    if (str_starts_with(text, STR("\xEF\xBB\xBF")))
        text = (struct str){ text.ptr + 3, text.len - 3 };
    rc = check_utf8(text, file, d);
    if (rc)
        return rc;
    c.text = str_copy(a, text);
    if (!c.text.ptr || !yaml_parser_initialize(&c.parser))
        return ERR_NOMEM;
    yaml_parser_set_encoding(&c.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&c.parser, (const unsigned char *)c.text.ptr, c.text.len);
    rc = compose_document(&c, out);
    if (rc == OK && d->n_errors > n_errors)
        rc = ERR_BAD_CONFIG;
    yaml_parser_delete(&c.parser);
    table_free(&c.anchor_ids);
    free(c.anchors);
    free(c.pending);
    return rc;
}

/* ---- looking at nodes ---- */

struct yaml_node *yaml_get(const struct yaml_node *map, const char *name, struct yaml_node **key)
{
    for (size_t i = 0; map->kind == YAML_MAPPING && i < map->n; i++) {
        if (!str_is(map->keys[i]->text, name))
            continue;
        if (key)
            *key = map->keys[i];
        return map->items[i];
    }
    return NULL;
}

bool yaml_is_null(const struct yaml_node *n)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

    for (size_t i = 0; n->kind == YAML_SCALAR && !n->string && i < ARRAY_LEN(nulls); i++) {
        if (str_is(n->text, nulls[i]))
            return true;
    }
    return false;
}

static void check_key(const struct yaml_node *key, const char *const *names, const char *type,
                      const char *file, struct diags *d)
{
    struct suggest s = suggest_for(key->text);
    const char *nearest;

    for (; *names; names++) {
        if (str_is(key->text, *names))
            return;
        suggest_consider(&s, *names);
    }
    nearest = suggest_nearest(&s);
    diag_error(d, file, key->line, key->col, "field %.*s not found in type %s%s%s%s",
               STR_ARG(key->text), type, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
               nearest ? "\"?" : "");
}

void yaml_check_keys(const struct yaml_node *map, const char *const *names, const char *type,
                     const char *file, struct diags *d)
{
    for (size_t i = 0; i < map->n; i++)
        check_key(map->keys[i], names, type, file, d);
}
