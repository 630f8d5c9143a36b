/* template_humanize.c -- numbers for people, as Prometheus' template functions write them. */
#include <math.h>
#include <stdlib.h>

#include "alert/template_private.h"
#include "base/arena.h"
#include "base/duration.h"
#include "base/number.h"
#include "storage/labels.h"

#include "base/banned.h"

static const double NS_PER_S = 1e9;
enum { NS_PER_MS = 1000000, MS_PER_S = 1000 };

static bool bad_number(struct tpl_call *c, struct str text, const char *what)
{
    struct buf quoted = { 0 };

    print_quoted(&quoted, text);
    (void)call_fail(c, "strconv.ParseFloat: parsing %.*s: %s", STR_ARG(buf_as_str(&quoted)), what);
    buf_free(&quoted);
    return false;
}

/* The number that a number, a text or a duration is. */
static bool read_number(struct tpl_call *c, double *v)
{
    struct datum d = c->args[0];
    bool out_of_range;

    switch (d.kind) {
    case DATUM_FLOAT:
        *v = d.f;
        return true;
    case DATUM_INT:
    case DATUM_INT64:
        *v = (double)d.i;
        return true;
    case DATUM_DURATION:
        *v = (double)d.i / NS_PER_S;
        return true;
    case DATUM_STRING:
        if (!number_parse(d.s, true, v, &out_of_range))
            return bad_number(c, d.s, "invalid syntax");
        return !out_of_range || bad_number(c, d.s, "value out of range");
    default:
        return call_fail(c, "can't convert %s to float", datum_type(d));
    }
}

/* Go's %.4g. */
static void print_4g(struct buf *b, double v)
{
    if (isfinite(v))
        buf_printf(b, "%.4g", v);
    else
        number_print(b, v, NUMBER_G);
}

/* Multiplies v until it is 1 or more. */
static const char *scale_small(double *v)
{
    static const char *const prefixes[] = { "", "m", "u", "n", "p", "f", "a", "z", "y" };
    size_t i = 0;

    for (; i + 1 < ARRAY_LEN(prefixes) && fabs(*v) < 1; i++)
        *v *= 1000;
    return prefixes[i];
}

bool fn_humanize(struct tpl_call *c)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E", "Z", "Y" };
    const char *prefix = "";
    double v;

    if (!read_number(c, &v))
        return false;
    if (isfinite(v) && v != 0 && fabs(v) < 1) {
        prefix = scale_small(&v);
    } else if (isfinite(v)) {
        size_t i = 0;

        for (; i + 1 < ARRAY_LEN(prefixes) && fabs(v) >= 1000; i++)
            v /= 1000;
        prefix = prefixes[i];
    }
    print_4g(c->text, v);
    buf_text(c->text, prefix);
    return true;
}

bool fn_humanize1024(struct tpl_call *c)
{
    static const char *const prefixes[] = { "", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi" };
    size_t i = 0;
    double v;

    if (!read_number(c, &v))
        return false;
    for (; isfinite(v) && i + 1 < ARRAY_LEN(prefixes) && fabs(v) >= 1024; i++)
        v /= 1024;
    print_4g(c->text, v);
    buf_text(c->text, prefixes[i]);
    return true;
}

/* Whole seconds split up; false when they are less than a minute. */
static bool print_long(struct buf *b, double v)
{
    int64_t s = v < 0x1p63 ? (int64_t)v : INT64_MAX;
    long long days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60, seconds = s % 60;

    if (days)
        buf_printf(b, "%lldd %lldh %lldm %llds", days, hours, minutes, seconds);
    else if (hours)
        buf_printf(b, "%lldh %lldm %llds", hours, minutes, seconds);
    else if (minutes)
        buf_printf(b, "%lldm %llds", minutes, seconds);
    return s >= 60;
}

bool fn_humanize_duration(struct tpl_call *c)
{
    const char *prefix = "";
    double v;

    if (!read_number(c, &v))
        return false;
    if (isfinite(v) && fabs(v) >= 1) {
        buf_text(c->text, v < 0 ? "-" : "");
        v = fabs(v);
        if (print_long(c->text, v))
            return true;
    } else if (isfinite(v) && v != 0) {
        prefix = scale_small(&v);
    }
    print_4g(c->text, v);
    if (isfinite(v))
        buf_printf(c->text, "%ss", prefix);
    return true;
}

bool fn_humanize_percentage(struct tpl_call *c)
{
    double v;

    if (!read_number(c, &v))
        return false;
    print_4g(c->text, v * 100);
    buf_u8(c->text, '%');
    return true;
}

static bool overflow(struct tpl_call *c, double v, const char *what)
{
    char text[NUMBER_MAX];
    size_t n = number_format(v, NUMBER_G, text);

    return call_fail(c, "%.*s cannot be represented as a nanoseconds %s since it overflows int64",
                     (int)n, text, what);
}

static bool read_ns(struct tpl_call *c, double v, const char *what, int64_t *ns)
{
    double scaled = v * NS_PER_S;

    if (!isfinite(v))
        return call_fail(c, "value is NaN or Inf");
    if (scaled > 0x1p63 || scaled < -0x1p63)
        return overflow(c, v, what);
    *ns = scaled < 0x1p63 ? (int64_t)scaled : INT64_MAX;
    return true;
}

/* Times keep whole milliseconds. */
static bool read_time(struct tpl_call *c, double v, int64_t *ns)
{
    if (!read_ns(c, v, "timestamp", ns))
        return false;
    *ns = *ns / NS_PER_MS * NS_PER_MS;
    return true;
}

bool fn_humanize_timestamp(struct tpl_call *c)
{
    int64_t ns;
    double v;

    if (!read_number(c, &v))
        return false;
    if (!isfinite(v)) {
        print_4g(c->text, v);
        return true;
    }
    if (!read_time(c, v, &ns))
        return false;
    tpl_time_print(c->text, ns);
    return true;
}

bool fn_to_time(struct tpl_call *c)
{
    int64_t ns;
    double v;

    return read_number(c, &v) && read_time(c, v, &ns)
           && call_return(c, (struct datum){ .kind = DATUM_TIME, .i = ns });
}

bool fn_to_duration(struct tpl_call *c)
{
    int64_t ns;
    double v;

    return read_number(c, &v) && read_ns(c, v, "duration", &ns)
           && call_return(c, (struct datum){ .kind = DATUM_DURATION, .i = ns });
}

bool fn_parse_duration(struct tpl_call *c)
{
    struct str s = c->args[0].s;
    bool negative = s.len && s.ptr[0] == '-';
    struct err err = err_in(c->x->arena);
    int64_t ms;
    double v;

    if (negative)
        s = (struct str){ s.ptr + 1, s.len - 1 };
    if (duration_parse(s, &ms, &err) != OK)
        return call_fail(c, "%s", err_text(&err));
    v = (double)(ms * NS_PER_MS) / NS_PER_S;
    return call_return(c, datum_float(negative ? -v : v));
}
