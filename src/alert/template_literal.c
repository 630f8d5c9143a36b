/* template_literal.c -- strings, characters and numbers in Go's notation. */
#include <string.h>

#include "alert/template_private.h"
#include "base/arena.h"
#include "base/number.h"

#include "base/banned.h"

enum { MAX_RUNE = 0x10ffff, FIRST_SURROGATE = 0xd800, LAST_SURROGATE = 0xdfff };

static unsigned digit_value(char c)
{
    char lower = (char)(c | 0x20);

    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a' + 10) : 16;
}

/* n digits at s. */
static bool read_digits(struct str s, size_t n, unsigned base, uint32_t *value)
{
    *value = 0;
    if (s.len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = digit_value(s.ptr[i]);

        if (digit >= base)
            return false;
        *value = *value * base + digit;
    }
    return true;
}

/* The escape sequence behind a backslash: its value, how much of s it is (0: malformed), and whether
 * it is a single byte rather than a code point. */
static size_t read_escape(struct str s, char quote, uint32_t *value, bool *byte)
{
    static const char letters[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
    char c = s.len ? s.ptr[0] : '\0';
    const char *letter = c ? strchr(letters, c) : NULL;
    size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;

    *byte = c == 'x';
    if (letter || (c && c == quote)) {
        *value = letter ? (uint32_t)values[letter - letters] : (uint32_t)c;
        return 1;
    }
    if (n > 0) {
        bool ok = read_digits((struct str){ s.ptr + 1, s.len - 1 }, n, 16, value);

        ok = ok && (*byte || *value <= MAX_RUNE)
             && !(*value >= FIRST_SURROGATE && *value <= LAST_SURROGATE);
        return ok ? 1 + n : 0;
    }
    *byte = true;
    return read_digits(s, 3, 8, value) && *value <= UINT8_MAX ? 3 : 0;
}

bool tpl_unquote(struct str quoted, struct arena *a, struct str *out)
{
    struct str s = { quoted.ptr + 1, quoted.len - 2 };
    char *p = arena_alloc(a, s.len + 1);
    size_t n = 0, used;

    if (!p)
        return false;
    for (size_t i = 0; i < s.len; i += used) {
        bool raw = quoted.ptr[0] == '`', byte;
        uint32_t value;

        used = 1;
        if (raw || s.ptr[i] != '\\') {
            if (!raw || s.ptr[i] != '\r') /* as in Go, raw strings have no carriage returns */
                p[n++] = s.ptr[i];
            continue;
        }
        used = read_escape((struct str){ s.ptr + i + 1, s.len - i - 1 }, '"', &value, &byte);
        if (used++ == 0)
            return false;
        if (byte)
            p[n++] = (char)value;
        else
            n += utf8_encode(value, p + n);
    }
    *out = (struct str){ p, n };
    return true;
}

const char *tpl_read_char(struct str quoted, struct datum *out)
{
    struct str s = { quoted.ptr + 1, quoted.len - 2 };
    size_t used = 0;
    uint32_t rune;
    bool byte;

    if (s.len > 0 && s.ptr[0] == '\\') {
        used = read_escape((struct str){ s.ptr + 1, s.len - 1 }, '\'', &rune, &byte);
        used += used > 0;
    } else if (s.len > 0) {
        rune = utf8_decode(s, &used);
    }
    if (used == 0)
        return "invalid syntax";
    *out = datum_int(rune);
    return used == s.len ? NULL : "malformed character constant";
}

enum integer { NO_INTEGER, INTEGER, TOO_LARGE_INTEGER };

/* 12, 0x1f, 0o17, 017, 0b1, 1_000. */
static enum integer read_integer(struct str s, int64_t *v)
{
    bool negative = s.len && s.ptr[0] == '-';
    size_t i = s.len && (negative || s.ptr[0] == '+');
    char prefix = i + 1 < s.len && s.ptr[i] == '0' ? (char)(s.ptr[i + 1] | 0x20) : '\0';
    unsigned base = prefix == '\0' ? 10 : prefix == 'x' ? 16 : prefix == 'b' ? 2 : 8;
    bool digit = prefix != '\0'; /* an underscore may follow the prefix */
    bool overflow = false;
    uint64_t n = 0;

    if (prefix)
        i += prefix == 'x' || prefix == 'b' || prefix == 'o' ? 2 : 1;
    if (i >= s.len)
        return NO_INTEGER;
    for (; i < s.len; i++) {
        if (s.ptr[i] == '_' ? !digit : digit_value(s.ptr[i]) >= base)
            return NO_INTEGER;
        digit = s.ptr[i] != '_';
        if (digit)
            overflow |= __builtin_mul_overflow(n, base, &n)
                        || __builtin_add_overflow(n, digit_value(s.ptr[i]), &n);
    }
    if (!digit)
        return NO_INTEGER;
    *v = (int64_t)(negative ? 0 - n : n);
    return overflow || n > (uint64_t)INT64_MAX + negative ? TOO_LARGE_INTEGER : INTEGER;
}

static bool looks_like_float(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (memchr(".eEpP", s.ptr[i], 5))
            return true;
    return false;
}

const char *tpl_read_number(struct str text, struct datum *out)
{
    enum integer integer = read_integer(text, &out->i);
    bool out_of_range;

    if (integer == TOO_LARGE_INTEGER)
        return "integer overflow";
    if (integer == INTEGER) {
        out->kind = DATUM_INT;
        return NULL;
    }
    out->kind = DATUM_FLOAT;
    if (!number_parse(text, true, &out->f, &out_of_range) || out_of_range)
        return "illegal number syntax";
    return looks_like_float(text) ? NULL : "integer overflow";
}
