/* template_verbs.c
 *
 * Which verbs a value takes and what flags, width and precision do to it, as in Go's package fmt.
 * Flags hold for each part of a map, list or record.
 */
#include "alert/template_verbs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { DEFAULT_PRECISION = 6, SHORTEST = -1, MANTISSA_BITS = 52 };

static void print_value(struct printer *p, struct datum d, uint32_t verb);

/* --- text --- */

bool printer_is_full(const struct printer *p)
{
    return p->b->failed || p->b->len > TPL_MAX_OUTPUT;
}

static size_t count_runes(struct str s)
{
    size_t n = 0, width;

    for (size_t at = 0; at < s.len; at += width, n++)
        utf8_decode((struct str){ s.ptr + at, s.len - at }, &width);
    return n;
}

static void write_padding(struct printer *p, size_t n, char c)
{
    uint8_t *to = printer_is_full(p) ? NULL : buf_reserve(p->b, n);

    if (to) {
        memset(to, c, n);
        p->b->len += n;
    }
}

void printer_text(struct printer *p, const char *s)
{
    if (!printer_is_full(p))
        buf_text(p->b, s);
}

void printer_rune(struct printer *p, uint32_t rune)
{
    char text[4];

    if (!printer_is_full(p))
        buf_add(p->b, text, utf8_encode(rune, text));
}

static void write_padded(struct printer *p, struct str s)
{
    size_t n = p->spec.has_width ? count_runes(s) : 0;
    size_t missing = (size_t)p->spec.width > n && p->spec.has_width ? (size_t)p->spec.width - n : 0;

    if (printer_is_full(p))
        return;
    if (!p->spec.minus)
        write_padding(p, missing, p->spec.zero ? '0' : ' ');
    buf_str(p->b, s);
    if (p->spec.minus)
        write_padding(p, missing, ' ');
}

static struct str truncated(const struct printer *p, struct str s)
{
    size_t at = 0, width;

    if (!p->spec.has_precision)
        return s;
    for (int n = p->spec.precision; n > 0 && at < s.len; n--, at += width)
        utf8_decode((struct str){ s.ptr + at, s.len - at }, &width);
    return (struct str){ s.ptr, at };
}

/* %x of a text: its bytes. */
static void print_hex(struct printer *p, struct str s, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t n = s.len;
    struct buf b = { 0 };

    if (p->spec.has_precision && (size_t)p->spec.precision < n)
        n = (size_t)p->spec.precision;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (p->spec.space && i > 0)
            buf_u8(&b, ' ');
        if (p->spec.sharp && (p->spec.space || i == 0))
            buf_printf(&b, "0%c", upper ? 'X' : 'x');
        buf_u8(&b, (uint8_t)digits[c >> 4]);
        buf_u8(&b, (uint8_t)digits[c & 15]);
    }
    write_padded(p, buf_as_str(&b));
    p->b->failed |= b.failed;
    buf_free(&b);
}

/* Whether a raw string can hold s. */
static bool fits_backquotes(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c < ' ' && c != '\t') || c == '`' || c == 0x7f)
            return false;
    }
    return utf8_valid(s) && !(s.len > 2 && memmem(s.ptr, s.len, "\xef\xbb\xbf", 3));
}

/* s in quotes, beyond ASCII as \u escapes if so wanted. */
static void quote(struct buf *b, struct str s, bool ascii)
{
    struct buf plain = { 0 };
    size_t width;

    print_quoted(&plain, s);
    for (size_t at = 0; ascii && at < plain.len; at += width) {
        uint32_t rune = utf8_decode((struct str){ (char *)plain.ptr + at, plain.len - at }, &width);

        if (rune < 0x80)
            buf_u8(b, (uint8_t)rune);
        else
            buf_printf(b, rune > 0xffff ? "\\U%08x" : "\\u%04x", rune);
    }
    if (!ascii)
        buf_str(b, buf_as_str(&plain));
    b->failed |= plain.failed;
    buf_free(&plain);
}

static void print_quote(struct printer *p, struct str s)
{
    struct buf b = { 0 };

    if (p->spec.sharp && fits_backquotes(s))
        buf_printf(&b, "`%.*s`", STR_ARG(s));
    else
        quote(&b, s, p->spec.plus);
    write_padded(p, buf_as_str(&b));
    p->b->failed |= b.failed;
    buf_free(&b);
}

/* --- wrong verbs --- */

static void print_bad_verb(struct printer *p, struct datum d, uint32_t verb)
{
    printer_text(p, "%!");
    printer_rune(p, verb);
    printer_text(p, "(");
    printer_text(p, datum_type(d));
    if (!datum_is_nil(d)) {
        printer_text(p, "=");
        p->erring = true;
        print_value(p, d, 'v');
        p->erring = false;
    }
    printer_text(p, ")");
}

static void print_text(struct printer *p, struct datum d, struct str s, uint32_t verb)
{
    switch (verb) {
    case 'v':
        if (p->spec.sharp_v)
            print_quote(p, s);
        else
            write_padded(p, truncated(p, s));
        break;
    case 's':
        write_padded(p, truncated(p, s));
        break;
    case 'x':
    case 'X':
        print_hex(p, s, verb == 'X');
        break;
    case 'q':
        print_quote(p, truncated(p, s));
        break;
    default:
        print_bad_verb(p, d, verb);
    }
}

/* --- numbers --- */

/* Digits of u in a base to the end of text; returns where they start. */
static size_t digits_of(uint64_t u, unsigned base, bool upper, char text[65])
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t at = 64;

    do {
        text[--at] = digits[u % base];
        u /= base;
    } while (u);
    return at;
}

static void print_based(struct printer *p, int64_t i, unsigned base, uint32_t verb)
{
    struct spec spec = p->spec;
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const char *sign = i < 0 ? "-" : spec.plus ? "+" : spec.space ? " " : "";
    char text[65];
    size_t at = digits_of(u, base, verb == 'X', text), n = 64 - at, zeros = 0;
    struct buf b = { 0 };

    p->spec.zero = false;
    if (spec.has_precision && spec.precision == 0 && i == 0) {
        write_padding(p, spec.has_width ? (size_t)spec.width : 0, ' ');
        return;
    }
    if (spec.has_precision)
        zeros = (size_t)spec.precision;
    else if (spec.zero && !spec.minus && spec.has_width)
        zeros = (size_t)spec.width > strlen(sign) ? (size_t)spec.width - strlen(sign) : 0;
    buf_text(&b, sign);
    if (verb == 'O')
        buf_text(&b, "0o");
    if (spec.sharp && base != 10)
        buf_text(&b, base == 2                      ? "0b"
                     : base == 16                   ? verb == 'X' ? "0X" : "0x"
                     : text[at] == '0' || zeros > n ? ""
                                                    : "0");
    for (; zeros > n; zeros--)
        buf_u8(&b, '0');
    buf_add(&b, text + at, n);
    write_padded(p, buf_as_str(&b));
    p->b->failed |= b.failed;
    buf_free(&b);
}

/* %c, %q, %U of a number: the code point. */
static void print_as_rune(struct printer *p, int64_t i, uint32_t verb)
{
    bool valid = i >= 0 && i <= 0x10ffff && !(i >= 0xd800 && i <= 0xdfff);
    uint32_t rune = valid ? (uint32_t)i : 0xfffd;
    char utf8[4];
    struct str s = { utf8, utf8_encode(rune, utf8) };
    struct buf b = { 0 };

    if (verb == 'c') {
        buf_str(&b, s);
    } else if (verb == 'U') {
        buf_printf(&b, "U+%04llX", (unsigned long long)i);
        if (p->spec.sharp && valid)
            buf_printf(&b, " '%.*s'", STR_ARG(s));
    } else if (rune == '\'' || rune == '"') {
        buf_text(&b, rune == '"' ? "'\"'" : "'\\''");
    } else {
        quote(&b, s, p->spec.plus);
        if (!b.failed)
            b.ptr[0] = b.ptr[b.len - 1] = '\'';
    }
    write_padded(p, buf_as_str(&b));
    p->b->failed |= b.failed;
    buf_free(&b);
}

static void print_int(struct printer *p, struct datum d, uint32_t verb)
{
    switch (verb) {
    case 'v':
    case 'd':
        print_based(p, d.i, 10, verb);
        break;
    case 'b':
        print_based(p, d.i, 2, verb);
        break;
    case 'o':
    case 'O':
        print_based(p, d.i, 8, verb);
        break;
    case 'x':
    case 'X':
        print_based(p, d.i, 16, verb);
        break;
    case 'c':
    case 'q':
    case 'U':
        print_as_rune(p, d.i, verb);
        break;
    default:
        print_bad_verb(p, d, verb);
    }
}

/* Go writes an exponent of two with two digits at least, C does not. */
static void hex_float(struct buf *b, double v, int precision, bool upper)
{
    enum { MAX_PRECISION = 20 };
    char text[64];
    char *exponent;

    if (precision == SHORTEST)
        snprintf(text, sizeof text, "%a", v);
    else
        snprintf(text, sizeof text, "%.*a", precision < MAX_PRECISION ? precision : MAX_PRECISION,
                 v);
    exponent = strchr(text, 'p');
    ASSERT(exponent);
    for (char *c = text; upper && *c; c++)
        *c = (char)(*c >= 'a' ? *c - 'a' + 'A' : *c);
    buf_add(b, text, (size_t)(exponent + 2 - text));
    buf_text(b, exponent[3] ? "" : "0");
    buf_text(b, exponent + 2);
}

/* mantissap±exponent, both decimal, of powers of two. */
static void binary_float(struct buf *b, double v)
{
    uint64_t bits = f64_bits(v), mantissa = bits & ((1ULL << MANTISSA_BITS) - 1);
    int exponent = (int)(bits >> MANTISSA_BITS & 0x7ff);

    if (exponent)
        mantissa |= 1ULL << MANTISSA_BITS;
    else
        exponent = 1;
    buf_printf(b, "%llup%+d", (unsigned long long)mantissa, exponent - 1023 - MANTISSA_BITS);
}

/* A finite v >= 0. */
static void unsigned_float(struct buf *b, double v, uint32_t verb, const struct spec *spec)
{
    bool shortest = !spec->has_precision && !spec->sharp;
    int precision = spec->has_precision ? spec->precision : DEFAULT_PRECISION;

    switch (verb) {
    case 'e':
        buf_printf(b, spec->sharp ? "%#.*e" : "%.*e", precision, v);
        break;
    case 'E':
        buf_printf(b, spec->sharp ? "%#.*E" : "%.*E", precision, v);
        break;
    case 'f':
    case 'F':
        buf_printf(b, spec->sharp ? "%#.*f" : "%.*f", precision, v);
        break;
    case 'b':
        binary_float(b, v);
        break;
    case 'x':
    case 'X':
        hex_float(b, v, spec->has_precision ? precision : SHORTEST, verb == 'X');
        break;
    default: /* v g G */
        if (shortest)
            number_print(b, v, NUMBER_G);
        else
            buf_printf(b, spec->sharp ? "%#.*g" : "%.*g", precision, v);
        for (size_t i = 0; verb == 'G' && i < b->len; i++)
            if (b->ptr[i] == 'e')
                b->ptr[i] = 'E';
    }
}

static void print_float(struct printer *p, struct datum d, uint32_t verb)
{
    struct spec spec = p->spec;
    const char *sign = signbit(d.f) && !isnan(d.f) ? "-" : spec.plus ? "+" : spec.space ? " " : "";
    struct buf b = { 0 };

    if (!memchr("vgGeEfFbxX", (int)verb, 10) || verb > 'z') {
        print_bad_verb(p, d, verb);
        return;
    }
    if (isinf(d.f) && !*sign)
        sign = "+";
    if (!isfinite(d.f)) {
        p->spec.zero = false;
        buf_printf(&b, "%s%s", sign, isnan(d.f) ? "NaN" : "Inf");
    } else {
        size_t n;

        unsigned_float(&b, fabs(d.f), verb, &spec);
        n = b.len + strlen(sign);
        if (*sign && spec.zero && !spec.minus && spec.has_width && (size_t)spec.width > n) {
            printer_text(p, sign);
            write_padding(p, (size_t)spec.width - n, '0');
            p->spec.has_width = false;
            sign = "";
        }
    }
    if (isfinite(d.f) && *sign) {
        struct buf whole = { 0 };

        buf_text(&whole, sign);
        buf_str(&whole, buf_as_str(&b));
        write_padded(p, buf_as_str(&whole));
        p->b->failed |= whole.failed;
        buf_free(&whole);
    } else {
        write_padded(p, buf_as_str(&b));
    }
    p->b->failed |= b.failed;
    buf_free(&b);
}

/* --- values with parts --- */

/* Flags hold for each part; widths that a number used up are restored. */
static void print_part(struct printer *p, struct datum d, uint32_t verb)
{
    struct spec spec = p->spec;

    if (datum_is_nil(d))
        printer_text(p, "<nil>");
    else
        print_value(p, d, verb);
    p->spec = spec;
}

static void print_map(struct printer *p, struct datum d, uint32_t verb)
{
    bool go = p->spec.sharp_v;

    printer_text(p, go ? datum_type(d) : "map");
    printer_text(p, go ? "{" : "[");
    for (size_t i = 0; i < d.map->n && !printer_is_full(p); i++) {
        if (i > 0)
            printer_text(p, go ? ", " : " ");
        print_part(p, datum_str(d.map->keys[i]), verb);
        printer_text(p, ":");
        print_part(p, d.map->values[i], verb);
    }
    printer_text(p, go ? "}" : "]");
}

static void print_list(struct printer *p, struct datum d, uint32_t verb)
{
    bool go = p->spec.sharp_v;

    printer_text(p, go ? datum_type(d) : "");
    printer_text(p, go ? "{" : "[");
    for (size_t i = 0; i < d.list->n && !printer_is_full(p); i++) {
        if (i > 0)
            printer_text(p, go ? ", " : " ");
        print_part(p, d.list->items[i], verb);
    }
    printer_text(p, go ? "}" : "]");
}

static void print_record(struct printer *p, struct datum d, uint32_t verb)
{
    const struct record_type *type = d.record->type;
    bool go = p->spec.sharp_v;

    printer_text(p, type->pointer && !p->bare ? "&" : "");
    if (go)
        printer_text(p, type->name + type->pointer);
    printer_text(p, "{");
    for (size_t i = 0; i < type->n && !printer_is_full(p); i++) {
        if (i > 0)
            printer_text(p, go ? ", " : " ");
        if (go || p->spec.plus_v) {
            printer_text(p, type->fields[i]);
            printer_text(p, ":");
        }
        print_part(p, d.record->fields[i], verb);
    }
    printer_text(p, "}");
}

/* --- any value --- */

/* Values with a String(): times, durations, months. False when d has none, or verb wants the number. */
static bool print_stringer(struct printer *p, struct datum d, uint32_t verb)
{
    struct buf b = { 0 };

    if (p->erring || verb > 'z' || !memchr("vsxXq", (int)verb, 5))
        return false;
    switch (d.kind) {
    case DATUM_TIME:
        tpl_time_print(&b, d.i);
        break;
    case DATUM_DURATION:
        tpl_duration_print(&b, d.i);
        break;
    case DATUM_MONTH:
        buf_str(&b, tpl_month_name(d.i));
        break;
    case DATUM_WEEKDAY:
        buf_str(&b, tpl_weekday_name(d.i));
        break;
    default:
        return false;
    }
    print_text(p, d, buf_as_str(&b), verb);
    p->b->failed |= b.failed;
    buf_free(&b);
    return true;
}

/* d is not nil. */
static void print_value(struct printer *p, struct datum d, uint32_t verb)
{
    if (printer_is_full(p) || print_stringer(p, d, verb))
        return;
    switch (d.kind) {
    case DATUM_NONE:
    case DATUM_NIL:
        break;
    case DATUM_BOOL:
        if (verb == 't' || verb == 'v')
            write_padded(p, d.b ? STR("true") : STR("false"));
        else
            print_bad_verb(p, d, verb);
        break;
    case DATUM_FLOAT:
        print_float(p, d, verb);
        break;
    case DATUM_STRING:
    case DATUM_HTML:
        print_text(p, d, d.s, verb);
        break;
    case DATUM_MAP:
        print_map(p, d, verb);
        break;
    case DATUM_LIST:
        print_list(p, d, verb);
        break;
    case DATUM_RECORD:
        print_record(p, d, verb);
        break;
    case DATUM_TIME:
        if (p->erring)
            tpl_time_print(p->b, d.i);
        else
            print_bad_verb(p, d, verb);
        break;
    default:
        print_int(p, d, verb);
    }
}

void printer_arg(struct printer *p, struct datum d, uint32_t verb)
{
    if (verb == 'T' || (verb == 'v' && datum_is_nil(d)))
        write_padded(p, str_from(datum_type(d)));
    else if (datum_is_nil(d) || verb == 'p')
        print_bad_verb(p, d, verb);
    else
        print_value(p, d, verb);
}
