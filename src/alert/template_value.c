/* template_value.c
 *
 * Go's rules on dynamic values, with one simplification: a value never remembers that it came out of
 * an interface, as $value does in Go, which only some messages show there.
 */
#include "alert/template_private.h"
#include "base/arena.h"

#include "base/banned.h"

const struct record_type tpl_sample_type = {
    .name = "*template.sample", .pointer = true, .n = 2, .fields = { "Labels", "Value" }
};
const char tpl_result_type[] = "template.queryResult";

const char *datum_type(struct datum d)
{
    static const char *const names[] = {
        [DATUM_NONE] = "<nil>",       [DATUM_NIL] = "<nil>",
        [DATUM_BOOL] = "bool",        [DATUM_INT] = "int",
        [DATUM_INT64] = "int64",      [DATUM_FLOAT] = "float64",
        [DATUM_STRING] = "string",    [DATUM_HTML] = "template.HTML",
        [DATUM_TIME] = "*time.Time",  [DATUM_DURATION] = "time.Duration",
        [DATUM_MONTH] = "time.Month", [DATUM_WEEKDAY] = "time.Weekday",
    };

    switch (d.kind) {
    case DATUM_MAP:
        return d.map->any ? "map[string]interface {}" : "map[string]string";
    case DATUM_LIST:
        return d.list->type;
    case DATUM_RECORD:
        return d.record->type->name;
    default:
        return names[d.kind];
    }
}

bool datum_truth(struct datum d)
{
    switch (d.kind) {
    case DATUM_NONE:
    case DATUM_NIL:
        return false;
    case DATUM_BOOL:
        return d.b;
    case DATUM_FLOAT:
        return d.f != 0;
    case DATUM_STRING:
    case DATUM_HTML:
        return d.s.len > 0;
    case DATUM_MAP:
        return d.map->n > 0;
    case DATUM_LIST:
        return d.list->n > 0;
    case DATUM_RECORD:
    case DATUM_TIME:
        return true;
    default:
        return d.i != 0;
    }
}

const struct datum *datum_field(struct datum record, struct str name)
{
    const struct record_type *type = record.record->type;

    for (size_t i = 0; i < type->n; i++)
        if (str_is(name, type->fields[i]))
            return &record.record->fields[i];
    return NULL;
}

const struct datum *datum_key(struct datum map, struct str key)
{
    for (size_t i = 0; i < map.map->n; i++)
        if (str_equal(map.map->keys[i], key))
            return &map.map->values[i];
    return NULL;
}

bool datum_labels(struct arena *a, struct labels ls, struct datum *out)
{
    struct datum_map *map = ARENA_NEW(a, struct datum_map, 1);
    struct str *keys = ARENA_NEW(a, struct str, ls.n);
    struct datum *values = ARENA_NEW(a, struct datum, ls.n);

    if (!map || !keys || !values)
        return false;
    for (size_t i = 0; i < ls.n; i++) {
        keys[i] = ls.items[i].name;
        values[i] = datum_str(ls.items[i].value);
    }
    *map = (struct datum_map){ .n = ls.n, .keys = keys, .values = values };
    *out = (struct datum){ .kind = DATUM_MAP, .map = map };
    return true;
}

/* --- comparison --- */

enum basic { BASIC_NONE, BASIC_BOOL, BASIC_INT, BASIC_FLOAT, BASIC_STRING };

static enum basic basic_kind(struct datum d)
{
    if (d.kind == DATUM_BOOL)
        return BASIC_BOOL;
    if (d.kind == DATUM_FLOAT)
        return BASIC_FLOAT;
    if (datum_is_text(d))
        return BASIC_STRING;
    return datum_is_int(d) ? BASIC_INT : BASIC_NONE;
}

/* -1, 0, 1; 2 when a NaN has no order. */
static int compare_floats(double a, double b)
{
    return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2;
}

static int compare_basic(enum basic kind, struct datum a, struct datum b)
{
    int order;

    switch (kind) {
    case BASIC_BOOL:
        return a.b - b.b;
    case BASIC_INT:
        return a.i < b.i ? -1 : a.i > b.i;
    case BASIC_FLOAT:
        return compare_floats(a.f, b.f);
    default:
        order = str_cmp(a.s, b.s);
        return order < 0 ? -1 : order > 0;
    }
}

static bool incompatible(struct tpl_call *c, struct datum a, struct datum b)
{
    return call_fail(c, "incompatible types for comparison: %s and %s", datum_type(a),
                     datum_type(b));
}

static bool equal(struct tpl_call *c, struct datum a, struct datum b, bool *result)
{
    enum basic kind = basic_kind(a);

    *result = datum_is_nil(a) && datum_is_nil(b);
    if (datum_is_nil(a) || datum_is_nil(b))
        return true;
    if (kind != basic_kind(b))
        return incompatible(c, a, b);
    if (kind != BASIC_NONE) {
        *result = compare_basic(kind, a, b) == 0;
        return true;
    }
    if (a.kind != b.kind || a.kind == DATUM_MAP || a.kind == DATUM_LIST)
        return call_fail(c, "non-comparable types %s and %s", datum_type(a), datum_type(b));
    *result = a.kind == DATUM_RECORD && a.record == b.record; /* pointers */
    return true;
}

/* Whether the first argument is less than the second. */
static bool ordered(struct tpl_call *c, bool *less)
{
    enum basic kind = basic_kind(c->args[0]), other = basic_kind(c->args[1]);

    if (kind == BASIC_NONE || other == BASIC_NONE || (kind == other && kind == BASIC_BOOL))
        return call_fail(c, "invalid type for comparison");
    if (kind != other)
        return incompatible(c, c->args[0], c->args[1]);
    *less = compare_basic(kind, c->args[0], c->args[1]) == -1;
    return true;
}

bool fn_eq(struct tpl_call *c)
{
    bool result = false;

    if (c->n < 2)
        return call_fail(c, "missing argument for comparison");
    for (size_t i = 1; i < c->n && !result; i++)
        if (!equal(c, c->args[0], c->args[i], &result))
            return false;
    return call_return(c, datum_bool(result));
}

bool fn_ne(struct tpl_call *c)
{
    bool result;

    return equal(c, c->args[0], c->args[1], &result) && call_return(c, datum_bool(!result));
}

bool fn_lt(struct tpl_call *c)
{
    bool less;

    return ordered(c, &less) && call_return(c, datum_bool(less));
}

bool fn_le(struct tpl_call *c)
{
    bool less, same = false;

    return ordered(c, &less) && equal(c, c->args[0], c->args[1], &same)
           && call_return(c, datum_bool(less || same));
}

/* Go has "greater" as "not less or equal", so with a NaN it is true. */
bool fn_gt(struct tpl_call *c)
{
    if (!fn_le(c))
        return false;
    c->out->b = !c->out->b;
    return true;
}

bool fn_ge(struct tpl_call *c)
{
    if (!fn_lt(c))
        return false;
    c->out->b = !c->out->b;
    return true;
}

bool fn_not(struct tpl_call *c)
{
    return call_return(c, datum_bool(!datum_truth(c->args[0])));
}

/* --- parts --- */

bool fn_len(struct tpl_call *c)
{
    struct datum d = c->args[0];

    if (datum_is_nil(d))
        return call_fail(c, "len of nil pointer");
    if (datum_is_text(d))
        return call_return(c, datum_int((int64_t)d.s.len));
    if (d.kind == DATUM_MAP)
        return call_return(c, datum_int((int64_t)d.map->n));
    if (d.kind == DATUM_LIST)
        return call_return(c, datum_int((int64_t)d.list->n));
    return call_fail(c, "len of type %s", datum_type(d));
}

/* An index of at most max. */
static bool read_index(struct tpl_call *c, struct datum d, size_t max, size_t *out)
{
    if (datum_is_nil(d))
        return call_fail(c, "cannot index slice/array with nil");
    if (!datum_is_int(d))
        return call_fail(c, "cannot index slice/array with type %s", datum_type(d));
    if (d.i < 0 || (uint64_t)d.i > max)
        return call_fail(c, "index out of range: %lld", (long long)d.i);
    *out = (size_t)d.i;
    return true;
}

static bool index_map(struct tpl_call *c, struct datum *item, struct datum key)
{
    const struct datum *value;

    if (!datum_is_text(key))
        return datum_is_nil(key)
                   ? call_fail(c, "value is nil; should be of type string")
                   : call_fail(c, "value has type %s; should be string", datum_type(key));
    value = datum_key(*item, key.s);
    if (value)
        *item = *value;
    else
        *item = item->map->any ? (struct datum){ .kind = DATUM_NIL } : datum_str(STR(""));
    return true;
}

static bool index_once(struct tpl_call *c, struct datum *item, struct datum key)
{
    size_t at, n;

    if (datum_is_nil(*item))
        return call_fail(c, "index of nil pointer");
    if (item->kind == DATUM_MAP)
        return index_map(c, item, key);
    if (!datum_is_text(*item) && item->kind != DATUM_LIST)
        return call_fail(c, "can't index item of type %s", datum_type(*item));
    n = item->kind == DATUM_LIST ? item->list->n : item->s.len;
    if (!read_index(c, key, n, &at))
        return false;
    if (at == n)
        return call_fail(c, "index out of range: %zu", at);
    *item = item->kind == DATUM_LIST ? item->list->items[at]
                                     : datum_int((unsigned char)item->s.ptr[at]);
    return true;
}

bool fn_index(struct tpl_call *c)
{
    struct datum item = c->args[0];

    if (datum_is_nil(item))
        return call_fail(c, "index of untyped nil");
    for (size_t i = 1; i < c->n; i++)
        if (!index_once(c, &item, c->args[i]))
            return false;
    return call_return(c, item);
}

static bool slice_list(struct tpl_call *c, size_t from, size_t to)
{
    const struct datum_list *list = c->args[0].list;
    struct datum_list *part = ARENA_NEW(c->x->arena, struct datum_list, 1);

    if (!part)
        return tpl_no_memory(c->x);
    *part = (struct datum_list){ list->type, to - from, list->items + from };
    return call_return(c, (struct datum){ .kind = DATUM_LIST, .list = part });
}

bool fn_slice(struct tpl_call *c)
{
    struct datum item = c->args[0];
    size_t at[3] = { 0 }, n;

    if (datum_is_nil(item))
        return call_fail(c, "slice of untyped nil");
    if (c->n - 1 > ARRAY_LEN(at))
        return call_fail(c, "too many slice indexes: %zu", c->n - 1);
    if (datum_is_text(item) && c->n - 1 == ARRAY_LEN(at))
        return call_fail(c, "cannot 3-index slice a string");
    if (!datum_is_text(item) && item.kind != DATUM_LIST)
        return call_fail(c, "can't slice item of type %s", datum_type(item));
    n = item.kind == DATUM_LIST ? item.list->n : item.s.len;
    at[1] = at[2] = n;
    for (size_t i = 1; i < c->n; i++)
        if (!read_index(c, c->args[i], n, &at[i - 1]))
            return false;
    for (size_t i = 0; i < 2; i++)
        if (at[i] > at[i + 1])
            return call_fail(c, "invalid slice index: %zu > %zu", at[i], at[i + 1]);
    if (item.kind == DATUM_LIST)
        return slice_list(c, at[0], at[1]);
    item.s = (struct str){ item.s.ptr ? item.s.ptr + at[0] : NULL, at[1] - at[0] };
    return call_return(c, item);
}
