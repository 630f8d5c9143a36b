#include "alert/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/diag.h"
#include "base/duration.h"
#include "base/number.h"

#include "base/banned.h"

/* As an operator would call it. */
static const char *const kinds[] = {
    [YAML_SCALAR] = "a single value",
    [YAML_SEQUENCE] = "a list",
    [YAML_MAPPING] = "a mapping",
};

struct place {
    uint32_t line, col;
};

static void tell(const struct fields *f, struct place at, bool warning, const char *fmt, va_list ap)
    PRINTF_LIKE(4, 0);

static void tell(const struct fields *f, struct place at, bool warning, const char *fmt, va_list ap)
{
    const char *text = arena_vprintf(f->d->arena, fmt, ap);

    if (!text)
        text = "(no memory for the text)";
    if (warning)
        diag_warning(f->d, f->file, at.line, at.col, "%s%s", f->prefix, text);
    else
        diag_error(f->d, f->file, at.line, at.col, "%s%s", f->prefix, text);
}

void fields_fault(const struct fields *f, const struct yaml_node *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tell(f, (struct place){ at->line, at->col }, false, fmt, ap);
    va_end(ap);
}

void fields_fault_in(const struct fields *f, const struct yaml_node *at, size_t offset,
                     const char *fmt, ...)
{
    struct place p;
    va_list ap;

    yaml_place(at, offset, &p.line, &p.col);
    va_start(ap, fmt);
    tell(f, p, false, fmt, ap);
    va_end(ap);
}

void fields_warn(const struct fields *f, const struct yaml_node *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tell(f, (struct place){ at->line, at->col }, true, fmt, ap);
    va_end(ap);
}

bool fields_is(const struct fields *f, const struct yaml_node *n, enum yaml_kind kind,
               const char *what)
{
    if (n->kind == kind)
        return true;
    fields_fault(f, n, "%s must be %s, not %s", what, kinds[kind], kinds[n->kind]);
    return false;
}

struct yaml_node *field_any(const struct yaml_node *map, const char *name)
{
    struct yaml_node *n = yaml_get(map, name, NULL);

    return n && !yaml_is_null(n) ? n : NULL;
}

struct yaml_node *field_of(const struct fields *f, const struct yaml_node *map, const char *name,
                           enum yaml_kind kind)
{
    struct yaml_node *n = field_any(map, name);
    char what[80];

    snprintf(what, sizeof what, "field '%s'", name);
    return n && fields_is(f, n, kind, what) ? n : NULL;
}

struct str field_str(const struct fields *f, const struct yaml_node *map, const char *name)
{
    struct yaml_node *n = field_of(f, map, name, YAML_SCALAR);

    return n ? n->text : (struct str){ 0 };
}

int64_t field_duration(const struct fields *f, const struct yaml_node *map, const char *name,
                       int64_t fallback_ms)
{
    struct yaml_node *n = field_of(f, map, name, YAML_SCALAR);
    struct err err = err_in(f->d->arena);
    int64_t ms;

    if (!n)
        return fallback_ms;
    if (duration_parse(n->text, &ms, &err) == OK)
        return ms;
    fields_fault(f, n, "invalid field '%s': %s", name, err_text(&err));
    return fallback_ms;
}

int64_t field_integer(const struct fields *f, const struct yaml_node *map, const char *name)
{
    struct yaml_node *n = field_of(f, map, name, YAML_SCALAR);
    int64_t v;

    if (!n)
        return 0;
    if (number_parse_i64(n->text, &v))
        return v;
    fields_fault(f, n, "invalid field '%s': \"%.*s\" is not a whole number", name,
                 STR_ARG(n->text));
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct label *x = a, *y = b;

    return str_cmp(x->name, y->name);
}

void fields_sort(struct label *items, size_t n)
{
    if (n > 0)
        qsort(items, n, sizeof *items, by_name);
}

bool field_pairs(const struct fields *f, const struct yaml_node *map, const char *what,
                 struct arena *a, struct labels *out)
{
    struct label *items = ARENA_NEW(a, struct label, map->n);
    bool label = strcmp(what, "label") == 0;
    size_t n = 0;

    if (!items)
        return false;
    for (size_t i = 0; i < map->n; i++) {
        struct str name = map->keys[i]->text, value = map->items[i]->text;

        if (name.len == 0 || (label && str_equal(name, METRIC_NAME)))
            fields_fault(f, map->keys[i], "invalid %s name: %.*s", what, STR_ARG(name));
        if (!fields_is(f, map->items[i], YAML_SCALAR, what))
            continue;
        if (yaml_is_null(map->items[i]))
            value = (struct str){ 0 };
        items[n] = (struct label){ str_copy(a, name), str_copy(a, value) };
        if (!items[n].name.ptr || !items[n].value.ptr)
            return false;
        n++;
    }
    fields_sort(items, n);
    *out = (struct labels){ items, n };
    return true;
}
