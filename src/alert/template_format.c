/* template_format.c
 *
 * print, println and printf of Go's package fmt. A verb has flags (+ - # space 0), width, precision,
 * `*` for either, and argument indexes [n]. Faults are written into the text, as in Go:
 *
 *   %!d(float64=42)   wrong verb         %!d(MISSING)   too few arguments
 *   %!(NOVERB)        a % at the end     %!(EXTRA ...)  too many
 *   %!d(BADINDEX)     no such argument   %!(BADWIDTH)   `*` of no small integer
 */
#include <string.h>

#include "alert/template_verbs.h"

#include "base/banned.h"

struct format {
    struct printer p;
    struct str text;
    size_t at;
    const struct datum *args;
    size_t n, arg;
    bool reordered; /* by an index, so that unused arguments are no fault */
    bool bad_index; /* in this % */
};

static char peek(const struct format *f)
{
    return f->at < f->text.len ? f->text.ptr[f->at] : '\0';
}

/* A number up to end; a huge one is none and uses up the text. */
static bool read_number(struct format *f, size_t end, int *out)
{
    bool any = false;
    int n = 0;

    while (f->at < end && peek(f) >= '0' && peek(f) <= '9') {
        n = n * 10 + (peek(f) - '0');
        any = true;
        f->at++;
        if (n > TPL_MAX_FORMAT) {
            f->at = end;
            *out = 0;
            return false;
        }
    }
    *out = n;
    return any;
}

/* [n]: the next argument is the nth. True when there was one that could be read. */
static bool read_index(struct format *f)
{
    const char *bracket;
    size_t end;
    int index;
    bool ok;

    if (peek(f) != '[')
        return false;
    f->reordered = true;
    bracket = memchr(f->text.ptr + f->at, ']', f->text.len - f->at);
    if (!bracket || f->text.len - f->at < 3) {
        f->at++;
        f->bad_index = true;
        return false;
    }
    end = (size_t)(bracket - f->text.ptr);
    f->at++;
    ok = read_number(f, end, &index) && f->at == end;
    f->at = end + 1;
    if (ok && index >= 1 && (size_t)index <= f->n)
        f->arg = (size_t)index - 1;
    else
        f->bad_index = true;
    return ok;
}

/* The width or precision that a * takes from the arguments. */
static bool take_int(struct format *f, int *out)
{
    struct datum d = { 0 };

    if (f->arg < f->n)
        d = f->args[f->arg++];
    if (!datum_is_int(d) || d.i > TPL_MAX_FORMAT || d.i < -TPL_MAX_FORMAT)
        return false;
    *out = (int)d.i;
    return true;
}

static void read_flags(struct format *f)
{
    struct spec *spec = &f->p.spec;

    for (;; f->at++) {
        switch (peek(f)) {
        case '#':
            spec->sharp = true;
            break;
        case '0':
            spec->zero = true;
            break;
        case '+':
            spec->plus = true;
            break;
        case '-':
            spec->minus = true;
            break;
        case ' ':
            spec->space = true;
            break;
        default:
            return;
        }
    }
}

/* Whether an index came last: then it belongs to the verb. */
static bool read_width(struct format *f, bool indexed)
{
    struct spec *spec = &f->p.spec;

    if (peek(f) == '*') {
        f->at++;
        spec->has_width = take_int(f, &spec->width);
        if (!spec->has_width)
            printer_text(&f->p, "%!(BADWIDTH)");
        if (spec->width < 0) {
            spec->width = -spec->width;
            spec->minus = true;
        }
        return false;
    }
    spec->has_width = read_number(f, f->text.len, &spec->width);
    f->bad_index |= indexed && spec->has_width;
    return indexed;
}

static bool read_precision(struct format *f, bool indexed)
{
    struct spec *spec = &f->p.spec;

    if (peek(f) != '.')
        return indexed;
    f->at++;
    f->bad_index |= indexed;
    indexed = read_index(f);
    if (peek(f) == '*') {
        f->at++;
        spec->has_precision = take_int(f, &spec->precision);
        if (!spec->has_precision)
            printer_text(&f->p, "%!(BADPREC)");
        if (spec->precision < 0) {
            spec->precision = 0;
            spec->has_precision = false;
        }
        return false;
    }
    (void)read_number(f, f->text.len, &spec->precision);
    spec->has_precision = true;
    return indexed;
}

static void print_verb(struct format *f, uint32_t verb)
{
    struct spec *spec = &f->p.spec;
    const char *fault = f->bad_index ? "(BADINDEX)" : f->arg >= f->n ? "(MISSING)" : NULL;

    if (verb == '%') {
        printer_text(&f->p, "%");
    } else if (fault) {
        printer_text(&f->p, "%!");
        printer_rune(&f->p, verb);
        printer_text(&f->p, fault);
    } else {
        if (verb == 'v') {
            spec->sharp_v = spec->sharp;
            spec->plus_v = spec->plus;
            spec->sharp = spec->plus = false;
        }
        printer_arg(&f->p, f->args[f->arg++], verb);
    }
}

/* What stands behind a %. */
static void print_directive(struct format *f)
{
    size_t width;
    bool indexed;
    uint32_t verb;

    f->p.spec = (struct spec){ 0 };
    f->bad_index = false;
    read_flags(f);
    indexed = read_width(f, read_index(f));
    indexed = read_precision(f, indexed);
    if (!indexed)
        (void)read_index(f);
    f->p.spec.zero &= !f->p.spec.minus;
    if (f->at >= f->text.len) {
        printer_text(&f->p, "%!(NOVERB)");
        return;
    }
    verb = utf8_decode((struct str){ f->text.ptr + f->at, f->text.len - f->at }, &width);
    f->at += width;
    print_verb(f, verb);
}

static void print_extra(struct format *f)
{
    f->p.spec = (struct spec){ 0 };
    printer_text(&f->p, "%!(EXTRA ");
    for (size_t i = f->arg; i < f->n; i++) {
        if (i > f->arg)
            printer_text(&f->p, ", ");
        printer_text(&f->p, datum_type(f->args[i]));
        if (!datum_is_nil(f->args[i])) {
            printer_text(&f->p, "=");
            printer_arg(&f->p, f->args[i], 'v');
        }
    }
    printer_text(&f->p, ")");
}

void tpl_printf(struct buf *b, struct str format, const struct datum *args, size_t n)
{
    struct format f = { .p = { .b = b }, .text = format, .args = args, .n = n };

    while (f.at < format.len && !printer_is_full(&f.p)) {
        const char *percent = memchr(format.ptr + f.at, '%', format.len - f.at);
        size_t end = percent ? (size_t)(percent - format.ptr) : format.len;

        buf_add(b, format.ptr + f.at, end - f.at);
        f.at = end + 1;
        if (percent)
            print_directive(&f);
    }
    if (!f.reordered && f.arg < n)
        print_extra(&f);
}

static void print_all(struct printer *p, const struct datum *args, size_t n)
{
    bool text_before = true;

    for (size_t i = 0; i < n; i++) {
        bool no_value = p->bare && datum_is_nil(args[i]);
        bool text = no_value || datum_is_text(args[i]);

        printer_text(p, text || text_before ? "" : " ");
        text_before = text;
        if (no_value)
            printer_text(p, "<no value>");
        else
            printer_arg(p, args[i], 'v');
    }
}

void tpl_print(struct buf *b, const struct datum *args, size_t n)
{
    print_all(&(struct printer){ .b = b }, args, n);
}

void tpl_print_actions(struct buf *b, const struct datum *args, size_t n)
{
    print_all(&(struct printer){ .b = b, .bare = true }, args, n);
}

void tpl_println(struct buf *b, const struct datum *args, size_t n)
{
    struct printer p = { .b = b };

    for (size_t i = 0; i < n; i++) {
        printer_text(&p, i > 0 ? " " : "");
        printer_arg(&p, args[i], 'v');
    }
    printer_text(&p, "\n");
}
