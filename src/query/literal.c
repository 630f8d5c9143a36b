/* literal.c
 *
 * Numbers are read as Go's ParseInt with base detection does and, where that refuses (a dot, an
 * exponent, a digit 8 after a leading 0, more than 63 bits), as ParseFloat does. So 010 is 8, but
 * 08 is 8 as well.
 */
#include "query/literal.h"

#include <string.h>

#include "base/arena.h"
#include "base/duration.h"
#include "base/number.h"

#include "base/banned.h"

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Decodes the escape sequence after a backslash at s (checked by the lexer) to out. Returns the
 * bytes written, the bytes read in *used. */
static size_t decode_escape(const char *s, char *out, size_t *used)
{
    static const char letters[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
    const char *letter = strchr(letters, *s);
    unsigned digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 3, from = *s >= 'U';
    uint32_t x = 0;

    *used = 1;
    if (letter && *letter) {
        *out = values[letter - letters];
        return 1;
    }
    if (digits == 3 && digit_value(*s) > 7) {
        *out = *s; /* a quote or a backslash */
        return 1;
    }
    for (unsigned i = from; i < from + digits; i++)
        x = x * (digits == 3 ? 8 : 16) + (uint32_t)digit_value(s[i]);
    *used = from + digits;
    if (*s == 'u' || *s == 'U')
        return utf8_encode(x, out);
    *out = (char)x;
    return 1;
}

enum errc literal_string(struct str quoted, struct arena *a, struct str *out)
{
    struct str s = { quoted.ptr + 1, quoted.len - 2 };
    char *p = arena_alloc(a, s.len + 4);
    size_t n = 0;

    if (!p)
        return ERR_LIMIT;
    for (size_t i = 0; i < s.len;) {
        size_t used;

        if (s.ptr[i] != '\\' || quoted.ptr[0] == '`') {
            p[n++] = s.ptr[i++];
            continue;
        }
        n += decode_escape(s.ptr + i + 1, p + n, &used);
        i += 1 + used;
    }
    *out = (struct str){ p, n };
    return OK;
}

/* An integer as Go's ParseInt(text, 0, 64) reads it. */
static bool parse_integer(struct str s, int64_t *v)
{
    bool zero = s.len > 1 && s.ptr[0] == '0';
    bool hex = zero && (s.ptr[1] == 'x' || s.ptr[1] == 'X');
    int base = hex ? 16 : zero ? 8 : 10;
    int64_t n = 0;

    for (size_t i = hex ? 2 : 0; i < s.len; i++) {
        int digit = digit_value(s.ptr[i]);

        if (s.ptr[i] == '_')
            continue;
        if (digit >= base || __builtin_mul_overflow(n, (int64_t)base, &n)
            || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *v = n;
    return s.len > (hex ? 2 : 0) && s.ptr[s.len - 1] != '_';
}

enum errc literal_number(struct str text, uint32_t pos, double *out, struct err *err)
{
    const char *trouble = NULL;
    bool out_of_range;
    int64_t i;

    if (parse_integer(text, &i)) {
        *out = (double)i;
        return OK;
    }
    bool named = text.len && (digit_value(text.ptr[0]) > 9 && text.ptr[0] != '.');

    if (!number_parse(text, true, out, &out_of_range))
        trouble = "invalid syntax";
    else if (out_of_range && !named)
        trouble = "value out of range";
    if (!trouble)
        return OK;
    return err_set(err, ERR_BAD_QUERY, pos,
                   "error parsing number: strconv.ParseFloat: parsing \"%.*s\": %s", STR_ARG(text),
                   trouble);
}

enum errc literal_duration(struct str text, uint32_t pos, double *seconds, struct err *err)
{
    int64_t ms;

    if (duration_parse(text, &ms, err) != OK) {
        if (!err)
            return ERR_BAD_QUERY;
        err->code = ERR_BAD_QUERY;
        err->pos = pos;
        return ERR_BAD_QUERY;
    }
    /* In two parts, as Go's Duration.Seconds(): the sum is not always the quotient's double. */
    *seconds = (double)(ms / 1000) + (double)(ms % 1000 * 1000000) / 1e9;
    return OK;
}
