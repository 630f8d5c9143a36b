/* re2_class.c
 *
 * \d \s \w and [:name:] are ASCII sets. Under (?i) two non-ASCII letters fold into ASCII, U+017F to
 * s and U+212A to k (CaseFolding.txt), so a negated set loses them as well. \s has no \v, unlike
 * PCRE2's; [:space:] has.
 */
#include "base/re2_class.h"

#include "base/arena.h"
#include "base/banned.h"

enum { MAX_RUNE = 0x10ffff, LONG_S = 0x17f, KELVIN = 0x212a };

enum errc re2_fail(struct re2_text *t, const char *what, size_t from, size_t to)
{
    return err_set(t->err, ERR_BAD_QUERY, (uint32_t)from, "error parsing regexp: %s: `%.*s`", what,
                   (int)(to - from), t->src.ptr + from);
}

enum errc re2_no_memory(struct re2_text *t)
{
    return err_set(t->err, ERR_NOMEM, 0, "regular expression needs too much memory");
}

static struct str rest(const struct re2_text *t)
{
    return (struct str){ t->src.ptr + t->at, t->src.len - t->at };
}

static bool at_end(const struct re2_text *t)
{
    return t->at == t->src.len;
}

/* The byte n behind the position, '\0' past the end. */
static char peek(const struct re2_text *t, size_t n)
{
    return t->src.len - t->at > n ? t->src.ptr[t->at + n] : '\0';
}

uint32_t re2_next(struct re2_text *t)
{
    size_t n;
    uint32_t rune = utf8_decode(rest(t), &n);

    t->at += n;
    return rune;
}

/* --- escapes of one code point --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind \x: two digits, or any number of them in braces. What is read when it fails is part of the
 * message. */
static bool read_hex(struct re2_text *t, uint32_t *rune)
{
    bool braces = peek(t, 0) == '{';
    bool valid = true;

    *rune = 0;
    t->at += braces;
    for (size_t n = 0; braces || n < 2; n++) {
        int digit = hex_digit(peek(t, 0));

        if (at_end(t))
            return false;
        if (braces && n > 0 && peek(t, 0) == '}') {
            t->at++;
            return true;
        }
        (void)re2_next(t);
        valid = valid && digit >= 0;
        *rune = *rune * 16 + (uint32_t)digit;
        if (braces && (!valid || *rune > MAX_RUNE))
            return false;
    }
    return valid;
}

static void read_octal(struct re2_text *t, size_t max_digits, uint32_t *rune)
{
    *rune = 0;
    for (size_t n = 0; n < max_digits && peek(t, 0) >= '0' && peek(t, 0) <= '7'; n++)
        *rune = *rune * 8 + (uint32_t)(t->src.ptr[t->at++] - '0');
}

enum errc re2_escape(struct re2_text *t, uint32_t *rune)
{
    static const char names[] = "afnrtv", values[] = "\a\f\n\r\t\v";
    size_t start = t->at++;
    const char *named;
    char c = peek(t, 0);

    if (at_end(t))
        return re2_fail(t, "trailing backslash at end of expression", start, start);
    if (c == '0' || (c >= '1' && c <= '7' && peek(t, 1) >= '0' && peek(t, 1) <= '7')) {
        read_octal(t, 3, rune);
        return OK;
    }
    *rune = re2_next(t);
    if (c == 'x' && read_hex(t, rune))
        return OK;
    if (c != '\0' && (named = strchr(names, c))) {
        *rune = (uint32_t)values[named - names];
        return OK;
    }
    if (*rune < 0x80 && c != 'x' && !(c >= '0' && c <= '9')
        && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return OK;
    return re2_fail(t, "invalid escape sequence", start, t->at);
}

/* --- members of a class --- */

static enum errc add_item(struct re2_text *t, struct re2_node *node, struct re2_item item)
{
    if (node->n_items == node->cap_items) {
        size_t cap = node->cap_items ? node->cap_items * 2 : 4;
        void *p =
            arena_grow(t->arena, node->items, node->cap_items * sizeof item, cap * sizeof item);

        if (!p)
            return re2_no_memory(t);
        node->items = p;
        node->cap_items = cap;
    }
    node->items[node->n_items++] = item;
    return OK;
}

static enum errc add_range(struct re2_text *t, struct re2_node *node, uint32_t lo, uint32_t hi)
{
    return add_item(t, node, (struct re2_item){ .lo = lo, .hi = hi });
}

/* A range of a set that holds all cases of its letters. */
static enum errc add_folded(struct re2_text *t, struct re2_node *node, uint32_t lo, uint32_t hi)
{
    return add_item(t, node, (struct re2_item){ .lo = lo, .hi = hi, .folded = true });
}

/* Everything but the sorted code points in out[0..n), which are above ASCII, and the ASCII set. */
static enum errc add_complement(struct re2_text *t, struct re2_node *node, const bool set[128],
                                const uint32_t *out, size_t n)
{
    enum errc rc = OK;
    uint32_t lo = 0;

    for (uint32_t c = 0; c < 128 && rc == OK; c++) {
        if (!set[c])
            continue;
        if (lo < c)
            rc = add_folded(t, node, lo, c - 1);
        lo = c + 1;
    }
    for (size_t i = 0; i < n && rc == OK; i++) {
        rc = add_folded(t, node, lo, out[i] - 1);
        lo = out[i] + 1;
    }
    return rc == OK ? add_folded(t, node, lo, MAX_RUNE) : rc;
}

/* An ASCII set as pairs of bounds: "09AZ". */
struct ascii_set {
    const char *name;
    const char *ranges;
    size_t n; /* bytes of ranges */
};
#define SET(name, ranges)                                                                          \
    {                                                                                              \
        name, ranges, sizeof(ranges) - 1                                                           \
    }

static const struct ascii_set posix_sets[] = {
    SET("alnum", "09AZaz"),
    SET("alpha", "AZaz"),
    SET("ascii", "\0\x7f"),
    SET("blank", "\t\t  "),
    SET("cntrl", "\0\x1f\x7f\x7f"),
    SET("digit", "09"),
    SET("graph", "!~"),
    SET("lower", "az"),
    SET("print", " ~"),
    SET("punct", "!/:@[`{~"),
    SET("space", "\t\r  "),
    SET("upper", "AZ"),
    SET("word", "09AZ__az"),
    SET("xdigit", "09AFaf"),
};

static const struct ascii_set perl_sets[] = {
    SET("d", "09"),
    SET("s", "\t\n\f\r  "),
    SET("w", "09AZ__az"),
};

static enum errc add_ascii_set(struct re2_text *t, struct re2_node *node, const struct ascii_set *s,
                               bool negated)
{
    bool set[128] = { false };
    uint32_t folded[2];
    size_t n = 0;
    enum errc rc = OK;

    for (size_t i = 0; i < s->n && rc == OK; i += 2) {
        if (!negated)
            rc = add_range(t, node, (uint32_t)s->ranges[i], (uint32_t)s->ranges[i + 1]);
        for (int c = s->ranges[i]; c <= s->ranges[i + 1]; c++)
            set[c] = true;
    }
    if (!negated || rc != OK)
        return rc;
    for (int c = 'a'; node->fold && c <= 'z'; c++)
        set[c] = set[c & ~0x20] = set[c] || set[c & ~0x20];
    if (node->fold && set['s'])
        folded[n++] = LONG_S;
    if (node->fold && set['k'])
        folded[n++] = KELVIN;
    return add_complement(t, node, set, folded, n);
}

/* [:name:] or [:^name:] at the position; not found when there is no ":]". */
static enum errc read_posix(struct re2_text *t, struct re2_node *node, bool *found)
{
    struct str all = rest(t);
    const char *end = all.len > 2 ? memmem(all.ptr + 2, all.len - 2, ":]", 2) : NULL;
    bool negated = peek(t, 2) == '^';
    size_t start = t->at;

    *found = end != NULL;
    if (!end)
        return OK;
    struct str name = { all.ptr + 2 + negated, (size_t)(end - all.ptr) - 2 - negated };

    t->at += (size_t)(end - all.ptr) + 2;
    for (size_t i = 0; i < ARRAY_LEN(posix_sets); i++)
        if (str_is(name, posix_sets[i].name))
            return add_ascii_set(t, node, &posix_sets[i], negated);
    return re2_fail(t, "invalid character class range", start, t->at);
}

/* --- Unicode properties --- */

/* \pL, \PL, \p{Name}, \p{^Name} at the position. */
static enum errc read_property(struct re2_text *t, struct re2_node *node)
{
    size_t start = t->at, name_at = t->at + 2;
    bool without = peek(t, 1) == 'P';
    struct re2_item item;
    struct str name;

    t->at = name_at;
    if (peek(t, 0) == '{') {
        const char *end = memchr(t->src.ptr + t->at, '}', t->src.len - t->at);

        if (!end)
            return re2_fail(t, "invalid character class range", start, t->src.len);
        name = (struct str){ t->src.ptr + name_at + 1, (size_t)(end - t->src.ptr) - name_at - 1 };
        t->at = (size_t)(end - t->src.ptr) + 1;
        if (name.len && name.ptr[0] == '^') {
            without = !without;
            name = (struct str){ name.ptr + 1, name.len - 1 };
        }
    } else {
        if (!at_end(t))
            (void)re2_next(t);
        name = (struct str){ t->src.ptr + name_at, t->at - name_at };
    }
    if (!re2_property_find(name, without, node->fold, &item))
        return re2_fail(t, "invalid character class range", start, t->at);
    return add_item(t, node, item);
}

/* \d \D \s \S \w \W and properties. */
static enum errc read_escaped_set(struct re2_text *t, struct re2_node *node, bool *found)
{
    char c = peek(t, 1), lower = (char)(c | 0x20);

    *found = true;
    if (peek(t, 0) == '\\' && lower == 'p')
        return read_property(t, node);
    for (size_t i = 0; peek(t, 0) == '\\' && i < ARRAY_LEN(perl_sets); i++) {
        if (lower == perl_sets[i].name[0]) {
            t->at += 2;
            return add_ascii_set(t, node, &perl_sets[i], c != lower);
        }
    }
    *found = false;
    return OK;
}

/* --- [...] --- */

static enum errc read_bound(struct re2_text *t, size_t class_at, uint32_t *rune)
{
    if (at_end(t))
        return re2_fail(t, "missing closing ]", class_at, t->src.len);
    if (peek(t, 0) == '\\')
        return re2_escape(t, rune);
    *rune = re2_next(t);
    return OK;
}

static enum errc read_range(struct re2_text *t, size_t class_at, struct re2_node *node)
{
    size_t start = t->at;
    uint32_t lo, hi;
    enum errc rc = read_bound(t, class_at, &lo);

    if (rc != OK)
        return rc;
    hi = lo;
    if (peek(t, 0) == '-' && t->at + 1 < t->src.len && peek(t, 1) != ']') {
        t->at++;
        rc = read_bound(t, class_at, &hi);
        if (rc != OK)
            return rc;
        if (hi < lo)
            return re2_fail(t, "invalid character class range", start, t->at);
    }
    return add_range(t, node, lo, hi);
}

/* --- ignoring case --- */

/* The part of the item between first and last, moved by offset, and what else folds into it. */
static enum errc add_other_case(struct re2_text *t, struct re2_node *node, struct re2_item item,
                                uint32_t first, uint32_t last, int offset)
{
    uint32_t lo = item.lo > first ? item.lo : first, hi = item.hi < last ? item.hi : last;
    uint32_t k = first + ('k' - 'a'), s = first + ('s' - 'a');
    enum errc rc;

    if (lo > hi)
        return OK;
    rc = add_folded(t, node, lo + (uint32_t)offset, hi + (uint32_t)offset);
    if (rc == OK && lo <= k && k <= hi)
        rc = add_folded(t, node, KELVIN, KELVIN);
    if (rc == OK && lo <= s && s <= hi)
        rc = add_folded(t, node, LONG_S, LONG_S);
    return rc;
}

/* Adds the other cases of the class's letters and ends its fold flag, unless it names letters
 * beyond ASCII. */
static enum errc fold_class(struct re2_text *t, struct re2_node *node)
{
    size_t n = node->n_items;
    enum errc rc = OK;

    for (size_t i = 0; i < n; i++) {
        struct re2_item *item = &node->items[i];

        item->folded |= item->property.len > 0 || (item->lo <= 'A' && item->hi == MAX_RUNE);
        if (!item->folded && item->hi >= 0x80)
            return OK;
    }
    for (size_t i = 0; i < n && rc == OK; i++) {
        struct re2_item item = node->items[i];

        if (!item.folded)
            rc = add_other_case(t, node, item, 'a', 'z', 'A' - 'a');
        if (rc == OK && !item.folded)
            rc = add_other_case(t, node, item, 'A', 'Z', 'a' - 'A');
    }
    node->fold = false;
    return rc;
}

enum errc re2_class_escape(struct re2_text *t, struct re2_node *node, bool *found)
{
    enum errc rc = read_escaped_set(t, node, found);

    return rc == OK && *found && node->fold ? fold_class(t, node) : rc;
}

enum errc re2_class(struct re2_text *t, struct re2_node *node)
{
    size_t class_at = t->at++, first;
    enum errc rc = OK;

    node->negated = peek(t, 0) == '^';
    t->at += node->negated;
    first = t->at;
    while (at_end(t) || peek(t, 0) != ']' || t->at == first) {
        bool found = false;

        if (peek(t, 0) == '[' && peek(t, 1) == ':')
            rc = read_posix(t, node, &found);
        if (rc == OK && !found)
            rc = read_escaped_set(t, node, &found);
        if (rc == OK && !found)
            rc = read_range(t, class_at, node);
        if (rc != OK)
            return rc;
    }
    t->at++;
    return node->fold ? fold_class(t, node) : OK;
}
