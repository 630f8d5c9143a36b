#include "storage/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/banned.h"

const struct label_limits label_limits_default = { 1024, 4096, 128 };

enum { /* of what comes from outside, in an error text */
       SHOWN_BYTES = 200,
       SHOWN_LABELS = 32,
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static void sort_labels(struct label *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (by_name(&items[i - 1], &items[i]) > 0) { /* senders sort already: usually never taken */
            qsort(items, n, sizeof *items, by_name);
            return;
        }
    }
}

static struct str shown(struct str s)
{
    return s.len > SHOWN_BYTES ? (struct str){ s.ptr, SHOWN_BYTES } : s;
}

/* An error text: what is wrong, with which label, of which series. */
static enum errc bad_label(struct err *err, enum errc code, struct labels ls, const char *what,
                           struct str which)
{
    struct labels first = { ls.items, ls.n < SHOWN_LABELS ? ls.n : SHOWN_LABELS };
    struct buf b = { 0 };
    enum errc rc;

    buf_text(&b, what);
    if (which.ptr) {
        buf_u8(&b, ' ');
        print_quoted(&b, shown(which));
    }
    buf_text(&b, " in series ");
    labels_print_metric(&b, first);
    if (ls.n > first.n)
        buf_printf(&b, " and %zu more labels", ls.n - first.n);
    rc = err_set(err, code, 0, "%.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
    return rc;
}

/* The same for a limit that has a name and is max. */
static enum errc over_limit(struct err *err, struct labels all, const char *what, const char *limit,
                            size_t max, struct str name)
{
    char text[128];

    snprintf(text, sizeof text, "%s %s (%zu)", what, limit, max);
    return bad_label(err, ERR_LIMIT, all, text, name);
}

static enum errc check_label(const struct label *l, struct labels all,
                             const struct label_limits *limits, struct err *err)
{
    if (l->name.len == 0)
        return bad_label(err, ERR_BAD_DATA, all, "empty label name", (struct str){ 0 });
    if (limits->max_name_bytes && l->name.len > limits->max_name_bytes)
        return over_limit(err, all, "label name longer than", "label_name_length_limit",
                          limits->max_name_bytes, l->name);
    if (limits->max_value_bytes && l->value.len > limits->max_value_bytes)
        return over_limit(err, all, "value longer than", "label_value_length_limit",
                          limits->max_value_bytes, l->name);
    if (!utf8_valid(l->name))
        return bad_label(err, ERR_BAD_DATA, all, "label name is not valid UTF-8:", l->name);
    if (!utf8_valid(l->value))
        return bad_label(err, ERR_BAD_DATA, all, "value is not valid UTF-8 for label", l->name);
    return OK;
}

enum errc labels_canonicalise(struct label *items, size_t *n, const struct label_limits *limits,
                              struct err *err)
{
    size_t kept = 0;
    bool named = false;

    sort_labels(items, *n);
    for (size_t i = 1; i < *n; i++)
        if (str_equal(items[i - 1].name, items[i].name))
            return bad_label(err, ERR_BAD_DATA, (struct labels){ items, *n },
                             "duplicate label name", items[i].name);
    for (size_t i = 0; i < *n; i++) {
        enum errc rc = check_label(&items[i], (struct labels){ items, *n }, limits, err);

        if (rc != OK)
            return rc;
    }
    for (size_t i = 0; i < *n; i++) {
        if (items[i].value.len == 0)
            continue;
        named |= str_equal(items[i].name, METRIC_NAME);
        items[kept++] = items[i];
    }
    *n = kept;
    if (!named)
        return bad_label(err, ERR_BAD_DATA, (struct labels){ items, kept },
                         "missing metric name (label __name__)", (struct str){ 0 });
    if (limits->max_labels && kept > limits->max_labels)
        return over_limit(err, (struct labels){ items, kept }, "more labels than", "label_limit",
                          limits->max_labels, (struct str){ 0 });
    return OK;
}

struct str labels_get(struct labels ls, struct str name)
{
    for (size_t i = 0; i < ls.n; i++)
        if (str_equal(ls.items[i].name, name))
            return ls.items[i].value;
    return (struct str){ 0 };
}

int labels_cmp(struct labels a, struct labels b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        int c = str_cmp(a.items[i].name, b.items[i].name);

        if (c == 0)
            c = str_cmp(a.items[i].value, b.items[i].value);
        if (c != 0)
            return c;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool labels_equal(struct labels a, struct labels b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (!str_equal(a.items[i].name, b.items[i].name)
            || !str_equal(a.items[i].value, b.items[i].value))
            return false;
    return true;
}

struct labels labels_copy(struct arena *a, struct labels ls)
{
    size_t bytes = 0;
    struct label *items;
    char *text;

    for (size_t i = 0; i < ls.n; i++)
        bytes += ls.items[i].name.len + ls.items[i].value.len;
    items = arena_alloc(a, ls.n * sizeof *items + bytes);
    if (!items)
        return (struct labels){ 0 };
    text = (char *)(items + ls.n);
    for (size_t i = 0; i < ls.n; i++) {
        const struct label *from = &ls.items[i];

        memcpy(text, from->name.ptr, from->name.len);
        items[i].name = (struct str){ text, from->name.len };
        text += from->name.len;
        memcpy(text, from->value.ptr, from->value.len);
        items[i].value = (struct str){ text, from->value.len };
        text += from->value.len;
    }
    return (struct labels){ items, ls.n };
}

static uint8_t *put_text(uint8_t *to, struct str text)
{
    size_t n = text.len;

    for (; n >= 0x80; n >>= 7)
        *to++ = (uint8_t)(n | 0x80);
    *to++ = (uint8_t)n;
    if (text.len)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

void labels_encode(struct buf *b, struct labels ls)
{
    enum { MAX_LENGTH_BYTES = 10 };
    size_t most = 0;
    uint8_t *begin, *to;

    for (size_t i = 0; i < ls.n; i++)
        most += ls.items[i].name.len + ls.items[i].value.len + (size_t)2 * MAX_LENGTH_BYTES;
    begin = to = buf_reserve(b, most);
    for (size_t i = 0; begin && i < ls.n; i++)
        to = put_text(put_text(to, ls.items[i].name), ls.items[i].value);
    if (begin)
        b->len += (size_t)(to - begin);
}

static size_t count_labels(struct bytes data)
{
    struct reader r = reader_on(data);
    size_t n = 0;

    while (reader_left(&r) > 0 && !r.overrun) {
        (void)read_bytes(&r, read_uvarint(&r));
        (void)read_bytes(&r, read_uvarint(&r));
        n++;
    }
    return r.overrun ? SIZE_MAX : n;
}

static size_t uvarint_size(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

enum errc labels_decode(struct bytes data, struct arena *a, struct labels *out, struct err *err)
{
    size_t n = count_labels(data);
    struct reader r = reader_on(data);
    struct label *items;
    size_t size = 0; /* of the canonical encoding */

    if (n == SIZE_MAX)
        return err_set(err, ERR_CORRUPT, 0, "encoded labels are cut short");
    items = ARENA_NEW(a, struct label, n);
    if (!items)
        return err_set(err, ERR_LIMIT, 0, "labels need more than %zu bytes of memory",
                       arena_limit(a));
    for (size_t i = 0; i < n; i++) {
        items[i].name = read_str(&r, read_uvarint(&r));
        items[i].value = read_str(&r, read_uvarint(&r));
        size += uvarint_size(items[i].name.len) + items[i].name.len
                + uvarint_size(items[i].value.len) + items[i].value.len;
        if (items[i].name.len == 0 || items[i].value.len == 0
            || (i > 0 && str_cmp(items[i - 1].name, items[i].name) >= 0))
            return err_set(err, ERR_CORRUPT, 0, "encoded labels are not canonical");
    }
    if (size != data.len)
        return err_set(err, ERR_CORRUPT, 0, "encoded labels are not canonical");
    *out = (struct labels){ items, n };
    return OK;
}

uint64_t labels_hash(struct labels ls)
{
    struct buf b = { 0 };
    uint64_t hash;

    labels_encode(&b, ls);
    hash = hash64(b.ptr, b.len);
    buf_free(&b);
    return hash;
}

bool name_is_legacy(struct str s, bool colon)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');

        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return s.len > 0;
}

static void print_pairs(struct buf *b, struct labels ls, bool skip_name)
{
    const char *separator = "";

    buf_u8(b, '{');
    for (size_t i = 0; i < ls.n; i++) {
        if (skip_name && str_equal(ls.items[i].name, METRIC_NAME))
            continue;
        buf_text(b, separator);
        if (name_is_legacy(ls.items[i].name, false))
            buf_str(b, shown(ls.items[i].name));
        else
            print_quoted(b, shown(ls.items[i].name));
        buf_u8(b, '=');
        print_quoted(b, shown(ls.items[i].value));
        separator = ", ";
    }
    buf_u8(b, '}');
}

void labels_print(struct buf *b, struct labels ls)
{
    print_pairs(b, ls, false);
}

void labels_print_metric(struct buf *b, struct labels ls)
{
    struct str name = labels_get(ls, METRIC_NAME);
    bool bare = name_is_legacy(name, true) && name.len <= SHOWN_BYTES;

    if (bare)
        buf_str(b, name);
    if (!bare || ls.n > 1)
        print_pairs(b, ls, bare);
}

/* Printable as Go's strconv.IsPrint sees it, close enough for messages: no control, format,
 * surrogate, private use or non-character code points, no spaces but U+0020. */
static bool printable(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } refused[] = {
        { 0x00, 0x1f },     { 0x7f, 0xa0 },        { 0xad, 0xad },     { 0x1680, 0x1680 },
        { 0x180e, 0x180e }, { 0x2000, 0x200f },    { 0x2028, 0x202f }, { 0x205f, 0x206f },
        { 0x3000, 0x3000 }, { 0xd800, 0xf8ff },    { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb },
        { 0xfffe, 0xffff }, { 0xe0000, 0x10ffff },
    };

    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (c >= refused[i].from && c <= refused[i].to)
            return false;
    return true;
}

static void print_rune(struct buf *b, struct str s, size_t *used)
{
    static const char escapes[] = {
        ['\a'] = 'a', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
        ['\t'] = 't', ['\v'] = 'v', ['"'] = '"',  ['\\'] = '\\'
    };
    uint32_t c = utf8_decode(s, used);
    uint8_t first = (uint8_t)s.ptr[0];

    if (c == 0xfffd && *used == 1)
        buf_printf(b, "\\x%02x", first);
    else if (c < sizeof escapes && escapes[c])
        buf_printf(b, "\\%c", escapes[c]);
    else if (printable(c))
        buf_add(b, s.ptr, *used);
    else if (c < 0x80)
        buf_printf(b, "\\x%02x", first);
    else
        buf_printf(b, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

void print_quoted(struct buf *b, struct str s)
{
    buf_u8(b, '"');
    while (s.len) {
        size_t used;

        print_rune(b, s, &used);
        s.ptr += used;
        s.len -= used;
    }
    buf_u8(b, '"');
}
