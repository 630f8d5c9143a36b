#include "http/params.h"

#include <math.h>

#include "base/arena.h"
#include "base/duration.h"
#include "base/number.h"
#include "storage/labels.h"

#include "base/banned.h"

/* Quoted: a NUL or a quote in it shows. */
static enum errc cannot_parse(struct str s, const char *what, struct err *err)
{
    struct buf quoted = { 0 };
    enum errc rc;

    print_quoted(&quoted, s);
    rc = err_set(err, ERR_BAD_DATA, 0, "cannot parse %.*s to a valid %s",
                 STR_ARG(buf_as_str(&quoted)), what);
    buf_free(&quoted);
    return rc;
}

/* ---- time ---- */

static const double max_seconds = 9223309901257974.0;

static bool time_from_number(double t, int64_t *t_ms)
{
    double seconds, fraction = modf(t, &seconds);

    if (isnan(t) || fabs(seconds) > max_seconds)
        return false;
    *t_ms = (int64_t)seconds * 1000 + lround(fraction * 1000);
    return true;
}

/* A cursor over text of fixed form. Once something is not as expected it stays false. */
struct form {
    struct str rest;
    bool ok;
};

static int take_digits(struct form *f, size_t n)
{
    int v = 0;

    for (size_t i = 0; f->ok && i < n; i++) {
        if (i == f->rest.len || f->rest.ptr[i] < '0' || f->rest.ptr[i] > '9')
            f->ok = false;
        else
            v = v * 10 + (f->rest.ptr[i] - '0');
    }
    if (f->ok)
        f->rest = (struct str){ f->rest.ptr + n, f->rest.len - n };
    return v;
}

static bool take_if(struct form *f, char c)
{
    if (!f->ok || f->rest.len == 0 || f->rest.ptr[0] != c)
        return false;
    f->rest = (struct str){ f->rest.ptr + 1, f->rest.len - 1 };
    return true;
}

static void take(struct form *f, char c)
{
    f->ok = take_if(f, c);
}

/* .123456789 as milliseconds; any number of digits. */
static int take_fraction(struct form *f)
{
    int ms = 0, weight = 100;

    if (!take_if(f, '.'))
        return 0;
    do {
        ms += weight * take_digits(f, 1);
        weight /= 10;
    } while (f->ok && f->rest.len && f->rest.ptr[0] >= '0' && f->rest.ptr[0] <= '9');
    return ms;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, years 0 to 9999. */
static int64_t days_from_date(int year, int month, int day)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int past = year - 1; /* whole years since year 1; -1 for year 0 */
    int leaps = year > 0 ? past / 4 - past / 100 + past / 400 : -1; /* year 0 was one */

    return 365LL * past + leaps + before[month - 1] + (month > 2 && is_leap(year)) + day - 1
           - 719162; /* 0001-01-01 to 1970-01-01 */
}

static bool time_from_rfc3339(struct str s, int64_t *t_ms)
{
    struct form f = { s, true };
    int year, month, day, hour, minute, second, ms, zone = 0, sign;

    year = take_digits(&f, 4);
    take(&f, '-');
    month = take_digits(&f, 2);
    take(&f, '-');
    day = take_digits(&f, 2);
    take(&f, 'T');
    hour = take_digits(&f, 2);
    take(&f, ':');
    minute = take_digits(&f, 2);
    take(&f, ':');
    second = take_digits(&f, 2);
    ms = take_fraction(&f);
    if (f.ok && !take_if(&f, 'Z')) {
        sign = take_if(&f, '-') ? -1 : 1;
        if (sign > 0)
            take(&f, '+');
        zone = take_digits(&f, 2) * 60;
        take(&f, ':');
        zone = sign * (zone + take_digits(&f, 2));
    }
    if (!f.ok || f.rest.len || month < 1 || month > 12 || day < 1
        || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59
        || zone > 24 * 60 || zone < -24 * 60)
        return false;
    *t_ms = ((days_from_date(year, month, day) * 24 + hour) * 60 + minute - zone) * 60000
            + second * 1000 + ms;
    return true;
}

enum errc param_time(struct str s, int64_t *t_ms, struct err *err)
{
    double t;

    if (number_parse(s, true, &t, NULL) ? time_from_number(t, t_ms) : time_from_rfc3339(s, t_ms))
        return OK;
    if (str_is(s, "-292273086-05-16T16:47:06Z")) {
        *t_ms = TIME_MIN_MS;
        return OK;
    }
    if (str_is(s, "292277025-08-18T07:12:54.999999999Z")) {
        *t_ms = TIME_MAX_MS;
        return OK;
    }
    return cannot_parse(s, "timestamp", err);
}

/* ---- the rest ---- */

enum errc param_duration(struct str s, int64_t *ms, struct err *err)
{
    double seconds;

    if (number_parse(s, true, &seconds, NULL)) {
        double ns = seconds * 1e9;

        if (!(fabs(ns) < 0x1p63))
            return cannot_parse(s, "duration. It overflows int64", err);
        *ms = (int64_t)ns / 1000000;
        return OK;
    }
    if (duration_parse(s, ms, NULL) != OK)
        return cannot_parse(s, "duration", err);
    return OK;
}

enum errc param_limit(struct str s, uint64_t *n, struct err *err)
{
    int64_t v = 0;

    if (s.len && !number_parse_i64(s, &v))
        return err_set(err, ERR_BAD_DATA, 0, "\"%.*s\" is not a number of items", STR_ARG(s));
    if (v < 0)
        return err_set(err, ERR_BAD_DATA, 0, "limit must be non-negative");
    *n = v ? (uint64_t)v : UINT64_MAX;
    return OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads HEX_ at s, which stands for a code point: how many bytes that were, 0 when it is not. */
static size_t read_escape(struct str s, uint32_t *c)
{
    *c = 0;
    for (size_t i = 0; i < s.len && i <= 6; i++) {
        int digit = hex_digit(s.ptr[i]);

        if (s.ptr[i] == '_') /* not a surrogate, which UTF-8 cannot hold */
            return i > 0 && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff) ? i + 1 : 0;
        if (digit < 0)
            return 0;
        *c = *c << 4 | (uint32_t)digit;
    }
    return 0;
}

struct str param_label_name(struct str s, struct arena *a)
{
    char *to;
    size_t n = 0;

    if (!str_starts_with(s, STR("U__")))
        return s;
    to = arena_alloc(a, s.len); /* an escape is never shorter than what it stands for */
    if (!to)
        return (struct str){ NULL, 0 };
    for (size_t i = 3; i < s.len;) {
        uint32_t c;
        size_t used;

        if (s.ptr[i] != '_') {
            to[n++] = s.ptr[i++];
        } else if (i + 1 < s.len && s.ptr[i + 1] == '_') {
            to[n++] = '_';
            i += 2;
        } else {
            used = read_escape((struct str){ s.ptr + i + 1, s.len - i - 1 }, &c);
            if (used == 0)
                return s;
            n += utf8_encode(c, to + n);
            i += 1 + used;
        }
    }
    return (struct str){ to, n };
}
