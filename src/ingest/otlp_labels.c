/* otlp_labels.c -- attributes to labels.
 *
 *   KeyValue   1 key  2 value
 *   AnyValue   1 string  2 bool  3 int64  4 double  5 ArrayValue {1 values*}
 *              6 KeyValueList {1 values*}  7 bytes
 *
 * A set is kept sorted while it grows, since senders give few attributes. Of two labels with one
 * name the rank decides; two attributes are joined in order of their keys, which needs all of them
 * sorted first, so that the set only notes that it happened and is made anew.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/number.h"
#include "ingest/otlp_private.h"

#include "base/banned.h"

enum { MAX_VALUE_DEPTH = 16, MAX_SORTED = 2 * OTLP_MAX_POINT_LABELS };

/* ---- sets ---- */

/* str_cmp() for names, which are never empty and mostly begin with different letters. */
static inline int compare(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = (uint8_t)*a.ptr - (uint8_t)*b.ptr;

    if (LIKELY(c != 0))
        return c;
    c = memcmp(a.ptr, b.ptr, n);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

void otlp_set_add(struct otlp *o, struct otlp_label_set *set, struct str name, struct str value,
                  enum otlp_rank rank)
{
    size_t at = set->n;
    int c = 1;

    (void)o;
    if (value.len == 0)
        return;
    while (at > 0 && (c = compare(set->items[at - 1].name, name)) > 0)
        at--;
    if (at > 0 && c == 0) {
        if (rank == RANK_ATTRIBUTE && set->ranks[at - 1] == RANK_ATTRIBUTE)
            set->collided = true;
        else if (rank > set->ranks[at - 1])
            set->items[at - 1].value = value, set->ranks[at - 1] = (uint8_t)rank;
        return;
    }
    if (set->n == OTLP_MAX_POINT_LABELS + 2 - (rank != RANK_OWN) * 2) {
        set->bad = true;
        return;
    }
    memmove(&set->items[at + 1], &set->items[at], (set->n - at) * sizeof *set->items);
    memmove(&set->ranks[at + 1], &set->ranks[at], set->n - at);
    set->items[at] = (struct label){ name, value };
    set->ranks[at] = (uint8_t)rank;
    set->n++;
}

/* ---- names ---- */

/* Most attributes have dots, and the same ones come with every data point. */
bool otlp_label_of(struct otlp *o, struct str key, struct str *name)
{
    struct buf b = { 0 };
    size_t slot;
    bool ok;

    if (key.len == 0)
        return false;
    slot = (key.len * 31 + (uint8_t)key.ptr[key.len - 1] * 7u + (uint8_t)key.ptr[key.len / 2])
           % OTLP_CACHED_NAMES;
    if (o->names[slot].key.len == key.len
        && memcmp(o->names[slot].key.ptr, key.ptr, key.len) == 0) {
        *name = o->names[slot].name;
        return true;
    }
    if (otlp_label_is_plain(key)) {
        *name = key;
    } else {
        ok = otlp_label_name(&b, key, &o->rules);
        if (b.failed)
            otlp_no_memory(o);
        *name = ok && !b.failed ? otlp_keep(o, buf_as_str(&b)) : STR("");
        buf_free(&b);
        if (name->len == 0)
            return false;
    }
    o->names[slot].key = key;
    o->names[slot].name = *name;
    return true;
}

/* ---- values ---- */

static void base64(struct buf *b, struct bytes in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.ptr[i] << 16;

        if (n > 1)
            v |= (uint32_t)in.ptr[i + 1] << 8;
        if (n > 2)
            v |= in.ptr[i + 2];
        for (size_t k = 0; k < 4; k++)
            buf_u8(b, k > n ? (uint8_t)'=' : (uint8_t)digits[v >> (18 - 6 * k) & 63]);
    }
}

static void print_value(struct otlp *o, struct buf *b, struct bytes any, unsigned depth,
                        bool as_json);

static void print_array(struct otlp *o, struct buf *b, struct bytes array, unsigned depth)
{
    struct pb_reader r = pb_on(array);
    struct pb_field f;
    bool first = true;

    buf_u8(b, '[');
    while (otlp_next(o, &r, &f)) {
        if (f.key != PB_KEY(1, PB_BYTES)) {
            pb_unknown(&r, &f, 1);
            continue;
        }
        if (!first)
            buf_u8(b, ',');
        first = false;
        print_value(o, b, f.bytes, depth, true);
    }
    buf_u8(b, ']');
}

static void split_pair(struct otlp *o, struct bytes pair, struct str *key, struct bytes *value)
{
    struct pb_reader r = pb_on(pair);
    struct pb_field f;

    *key = STR("");
    *value = (struct bytes){ 0 };
    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            *key = pb_str(&f);
            break;
        case PB_KEY(2, PB_BYTES):
            *value = f.bytes;
            break;
        default:
            pb_unknown(&r, &f, 2);
        }
}

static void print_map(struct otlp *o, struct buf *b, struct bytes map, unsigned depth)
{
    struct pb_reader r = pb_on(map);
    struct pb_field f;
    bool first = true;

    buf_u8(b, '{');
    while (otlp_next(o, &r, &f)) {
        struct str key;
        struct bytes value;

        if (f.key != PB_KEY(1, PB_BYTES)) {
            pb_unknown(&r, &f, 1);
            continue;
        }
        split_pair(o, f.bytes, &key, &value);
        if (!first)
            buf_u8(b, ',');
        first = false;
        json_string(b, key);
        buf_u8(b, ':');
        print_value(o, b, value, depth, true);
    }
    buf_u8(b, '}');
}

static void print_text(struct buf *b, struct str s, bool as_json)
{
    if (as_json)
        json_string(b, s);
    else
        buf_str(b, s);
}

static void print_bytes(struct buf *b, struct bytes bytes, bool as_json)
{
    if (as_json)
        buf_u8(b, '"');
    base64(b, bytes);
    if (as_json)
        buf_u8(b, '"');
}

/* An AnyValue as text; inside of arrays and maps as JSON. Of several members the last counts. */
static void print_value(struct otlp *o, struct buf *b, struct bytes any, unsigned depth,
                        bool as_json)
{
    struct pb_reader r = pb_on(any);
    struct pb_field f;
    size_t at = b->len;

    while (otlp_next(o, &r, &f)) {
        if (pb_number(&f) >= 1 && pb_number(&f) <= 7 && !b->failed)
            b->len = at;
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            print_text(b, pb_str(&f), as_json);
            break;
        case PB_KEY(2, PB_VARINT):
            buf_text(b, f.value ? "true" : "false");
            break;
        case PB_KEY(3, PB_VARINT):
            buf_printf(b, "%" PRId64, (int64_t)f.value);
            break;
        case PB_KEY(4, PB_FIXED64):
            number_print(b, f64_from_bits(f.value), NUMBER_JSON);
            break;
        case PB_KEY(5, PB_BYTES):
        case PB_KEY(6, PB_BYTES):
            if (depth == MAX_VALUE_DEPTH)
                otlp_fail(o, ERR_BAD_DATA, "an attribute value is nested deeper than %d",
                          MAX_VALUE_DEPTH);
            else
                (pb_number(&f) == 5 ? print_array : print_map)(o, b, f.bytes, depth + 1);
            break;
        case PB_KEY(7, PB_BYTES):
            print_bytes(b, f.bytes, as_json);
            break;
        default:
            pb_unknown(&r, &f, 7);
        }
    }
    if (b->len == at && as_json)
        buf_text(b, "null");
}

static struct str value_text(struct otlp *o, struct bytes any)
{
    struct buf b = { 0 };
    struct str text;

    if (any.len >= 2 && any.ptr[0] == PB_KEY(1, PB_BYTES) && any.ptr[1] < 0x80
        && any.ptr[1] == any.len - 2)
        return (struct str){ (const char *)any.ptr + 2, any.len - 2 };
    print_value(o, &b, any, 0, false);
    if (b.failed)
        otlp_no_memory(o);
    text = o->rc == OK ? otlp_keep(o, buf_as_str(&b)) : STR("");
    buf_free(&b);
    return text;
}

/* A short key before a value: what nearly every sender writes. */
static bool split_plain_pair(struct bytes b, struct str *key, struct bytes *value)
{
    size_t n;

    if (b.len < 4 || b.ptr[0] != PB_KEY(1, PB_BYTES) || (n = b.ptr[1]) >= 0x80 || b.len < 4 + n
        || b.ptr[2 + n] != PB_KEY(2, PB_BYTES) || b.ptr[3 + n] >= 0x80
        || b.len != 4 + n + b.ptr[3 + n])
        return false;
    *key = (struct str){ (const char *)b.ptr + 2, n };
    *value = (struct bytes){ b.ptr + 4 + n, b.len - 4 - n };
    return true;
}

void otlp_read_attribute(struct otlp *o, struct bytes key_value, struct str *key, struct str *value)
{
    struct bytes any;

    if (!split_plain_pair(key_value, key, &any))
        split_pair(o, key_value, key, &any);
    *value = value_text(o, any);
}

void otlp_add_attribute(struct otlp *o, struct otlp_label_set *set, struct bytes key_value,
                        enum otlp_rank rank)
{
    struct str key, value, name;

    otlp_read_attribute(o, key_value, &key, &value);
    if (value.len == 0)
        return;
    if (otlp_label_of(o, key, &name))
        otlp_set_add(o, set, name, value, rank);
    else
        set->bad = true;
}

/* ---- attributes that become one label ---- */

static int by_key(const void *a, const void *b)
{
    const struct label *x = a, *y = b;

    return str_cmp(x->name, y->name);
}

static struct str join(struct otlp *o, struct str a, struct str b)
{
    const char *text = arena_printf(o->arena, "%.*s;%.*s", STR_ARG(a), STR_ARG(b));

    if (!text)
        otlp_no_memory(o);
    return str_from(text);
}

/* The label of a set that was made of an attribute, or NULL. */
static struct label *attribute_called(struct otlp_label_set *set, struct str name)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->ranks[i] == RANK_ATTRIBUTE && str_equal(set->items[i].name, name))
            return &set->items[i];
    return NULL;
}

/* Adds the attributes that stand in message under a field number, in order of their keys, values
 * that get one label joined by ';'. */
static void add_sorted_attributes(struct otlp *o, struct otlp_label_set *set, struct bytes message,
                                  uint32_t number)
{
    struct label sorted[MAX_SORTED];
    struct pb_reader r = pb_on(message);
    struct pb_field f;
    size_t n = 0;

    while (otlp_next(o, &r, &f))
        if (f.key == PB_KEY(number, PB_BYTES) && n < MAX_SORTED) {
            otlp_read_attribute(o, f.bytes, &sorted[n].name, &sorted[n].value);
            n += sorted[n].value.len > 0;
        }
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n && o->rc == OK; i++) {
        struct label *same;
        struct str name;

        if (!otlp_label_of(o, sorted[i].name, &name)) {
            set->bad = true;
            continue;
        }
        same = attribute_called(set, name);
        if (same)
            same->value = join(o, same->value, sorted[i].value);
        else
            otlp_set_add(o, set, name, sorted[i].value, RANK_ATTRIBUTE);
    }
    set->collided = false;
}

/* ---- data points ---- */

static void copy_set(struct otlp_label_set *to, const struct otlp_label_set *from)
{
    memcpy(to->items, from->items, from->n * sizeof *to->items);
    memcpy(to->ranks, from->ranks, from->n);
    to->n = from->n;
    to->collided = false;
    to->bad = from->bad;
}

void otlp_point_begin(struct otlp *o)
{
    o->shape.fits = o->shape.known;
    o->shape.next = 0;
    copy_set(&o->point, o->shape.known ? &o->shape.set : &o->base);
}

/* Adds an attribute in the general way, and notes it for the next data point. */
static void add_and_note(struct otlp *o, struct bytes key_value)
{
    struct otlp_shape *shape = &o->shape;
    struct str value;

    otlp_add_attribute(o, &o->point, key_value, RANK_ATTRIBUTE);
    if (shape->next < OTLP_SHAPE_KEYS)
        otlp_read_attribute(o, key_value, &shape->keys[shape->next], &value);
    shape->next++;
}

void otlp_point_attribute(struct otlp *o, struct bytes key_value)
{
    struct otlp_shape *shape = &o->shape;
    struct str key, value;

    if (!shape->known) {
        add_and_note(o, key_value);
        return;
    }
    if (!shape->fits)
        return; /* otlp_point_end() reads all of them again */
    otlp_read_attribute(o, key_value, &key, &value);
    shape->fits = shape->next < shape->n && value.len && str_equal(key, shape->keys[shape->next]);
    if (shape->fits)
        o->point.items[shape->at[shape->next++]].value = value;
}

/* Where the label of an attribute stands among those of the point; false when there is none. */
static bool find_place(struct otlp *o, struct str key, uint8_t *at)
{
    struct str name;

    if (!otlp_label_of(o, key, &name))
        return false;
    for (size_t i = 0; i < o->point.n; i++)
        if (o->point.ranks[i] == RANK_ATTRIBUTE && str_equal(o->point.items[i].name, name)) {
            *at = (uint8_t)i;
            return i <= UINT8_MAX;
        }
    return false;
}

/* Attributes without value, or in whose place others stand, make no shape. */
static void learn_shape(struct otlp *o)
{
    struct otlp_shape *shape = &o->shape;

    shape->n = shape->next;
    shape->known = shape->n <= OTLP_SHAPE_KEYS && !o->point.bad;
    for (size_t i = 0; i < shape->n && shape->known; i++)
        shape->known = find_place(o, shape->keys[i], &shape->at[i]);
    if (shape->known)
        copy_set(&shape->set, &o->point);
}

void otlp_point_end(struct otlp *o, struct bytes message, uint32_t number)
{
    struct otlp_shape *shape = &o->shape;
    struct pb_reader r = pb_on(message);
    struct pb_field f;

    if (o->rc != OK || (shape->known && shape->fits && shape->next == shape->n))
        return;
    if (shape->known) {
        shape->known = false;
        otlp_point_begin(o);
        while (otlp_next(o, &r, &f))
            if (f.key == PB_KEY(number, PB_BYTES))
                add_and_note(o, f.bytes);
    }
    if (o->point.collided) {
        copy_set(&o->point, &o->base);
        add_sorted_attributes(o, &o->point, message, number);
    } else if (o->rc == OK) {
        learn_shape(o);
    }
}

/* ---- resources and scopes ---- */

static bool is_listed(struct str key, const struct str *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(key, list[i]))
            return true;
    return false;
}

static bool is_promoted(const struct otlp_options *options, struct str key)
{
    if (options->promote_all)
        return !is_listed(key, options->ignore, options->n_ignore);
    return is_listed(key, options->promote, options->n_promote);
}

static bool is_identifying(struct str key)
{
    return str_is(key, "service.name") || str_is(key, "service.namespace")
           || str_is(key, "service.instance.id");
}

struct target {
    struct str name, space, instance;
};

static void note_target(struct target *t, struct str key, struct str value)
{
    if (str_is(key, "service.name"))
        t->name = value;
    else if (str_is(key, "service.namespace"))
        t->space = value;
    else if (str_is(key, "service.instance.id"))
        t->instance = value;
}

static void add_target(struct otlp *o, struct otlp_label_set *set, const struct target *t)
{
    struct str job = t->name;

    if (job.len && t->space.len) {
        const char *text = arena_printf(o->arena, "%.*s/%.*s", STR_ARG(t->space), STR_ARG(t->name));

        if (!text)
            otlp_no_memory(o);
        job = str_from(text);
    }
    otlp_set_add(o, set, STR("job"), job, RANK_TARGET);
    otlp_set_add(o, set, STR("instance"), t->instance, RANK_TARGET);
}

static void add_promoted(struct otlp *o, struct str key, struct str value)
{
    struct str name;

    if (is_promoted(o->options, key) && value.len && otlp_label_of(o, key, &name))
        otlp_set_add(o, &o->base, name, value, RANK_PROMOTED);
}

static void read_resource(struct otlp *o, struct bytes resource, struct target *t)
{
    struct pb_reader r = pb_on(resource);
    struct pb_field f;

    while (otlp_next(o, &r, &f)) {
        struct str key, value;

        if (f.key != PB_KEY(1, PB_BYTES)) {
            pb_unknown(&r, &f, 1);
            continue;
        }
        otlp_read_attribute(o, f.bytes, &key, &value);
        note_target(t, key, value);
        add_promoted(o, key, value);
    }
}

static void add_scope_attribute(struct otlp *o, struct bytes key_value)
{
    struct str key, value, name;
    const char *full;

    otlp_read_attribute(o, key_value, &key, &value);
    full = arena_printf(o->arena, "otel_scope_%.*s", STR_ARG(key));
    if (!full)
        otlp_no_memory(o);
    else if (otlp_label_of(o, str_from(full), &name))
        otlp_set_add(o, &o->base, name, value, RANK_SCOPE);
}

static void read_scope(struct otlp *o, struct bytes scope, struct str schema)
{
    struct str name = STR(""), version = STR("");
    struct pb_reader r = pb_on(scope);
    struct pb_field f;

    while (otlp_next(o, &r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            name = otlp_keep(o, pb_str(&f));
            break;
        case PB_KEY(2, PB_BYTES):
            version = pb_str(&f);
            break;
        case PB_KEY(3, PB_BYTES):
            break;
        default:
            pb_unknown(&r, &f, 3);
        }
    if (name.len == 0)
        return;
    otlp_set_add(o, &o->base, STR("otel_scope_name"), name, RANK_SCOPE);
    otlp_set_add(o, &o->base, STR("otel_scope_version"), version, RANK_SCOPE);
    otlp_set_add(o, &o->base, STR("otel_scope_schema_url"), schema, RANK_SCOPE);
    for (r = pb_on(scope); otlp_next(o, &r, &f);)
        if (f.key == PB_KEY(3, PB_BYTES))
            add_scope_attribute(o, f.bytes);
}

void otlp_base_labels(struct otlp *o, struct bytes resource, struct bytes scope,
                      struct str scope_schema)
{
    struct target t = { STR(""), STR(""), STR("") };

    o->base.n = 0;
    o->base.collided = o->base.bad = false;
    o->shape.known = false;
    otlp_set_add(o, &o->base, METRIC_NAME, STR("?"), RANK_OWN); /* the value is put in later */
    read_resource(o, resource, &t);
    add_target(o, &o->base, &t);
    if (o->options->promote_scope)
        read_scope(o, scope, scope_schema);
    o->anonymous = t.instance.len == 0;
}

bool otlp_target_labels(struct otlp *o, struct bytes resource)
{
    struct otlp_label_set *set = &o->point;
    struct target t = { STR(""), STR(""), STR("") };
    struct pb_reader r = pb_on(resource);
    struct pb_field f;
    size_t n = 0;

    set->n = 0;
    set->collided = set->bad = false;
    otlp_set_add(o, set, METRIC_NAME, STR("target_info"), RANK_OWN);
    while (otlp_next(o, &r, &f)) {
        struct str key, value, name;

        if (f.key != PB_KEY(1, PB_BYTES))
            continue;
        otlp_read_attribute(o, f.bytes, &key, &value);
        note_target(&t, key, value);
        n += !is_identifying(key);
        if ((o->options->keep_identifying || !is_identifying(key)) && otlp_label_of(o, key, &name))
            otlp_set_add(o, set, name, value, RANK_ATTRIBUTE);
    }
    add_target(o, set, &t);
    return n > 0 && !set->bad && (t.name.len || t.instance.len);
}
