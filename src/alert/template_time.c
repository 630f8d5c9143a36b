/* template_time.c -- Go's time.Time (always UTC here) and time.Duration, as far as templates need
 * them: nanoseconds in an int64.
 *
 * Dates: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. Layouts are
 * those of Go's time.Format: a text that shows 2006-01-02 15:04:05.
 */
#include <stdio.h>
#include <string.h>

#include "alert/template_private.h"

#include "base/banned.h"

#define NS_PER_S 1000000000LL

enum {
    S_PER_MINUTE = 60,
    S_PER_HOUR = 3600,
    S_PER_DAY = 86400,
    DAYS_PER_ERA = 146097,      /* 400 years */
    DAYS_0000_TO_1970 = 719468, /* from 0000-03-01 */
    THURSDAY = 4                /* 1970-01-01 */
};

struct moment {
    int64_t year;
    int month, day, hour, minute, second; /* month from 1 */
    int ns, weekday, yearday;             /* Sunday 0; from 1 */
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void fill_date(struct moment *m, int64_t days)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t z = days + DAYS_0000_TO_1970;
    int64_t era = floor_div(z, DAYS_PER_ERA);
    int64_t day_of_era = z - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day + 2) / 153; /* 0 is March */

    m->day = (int)(day - (153 * march_month + 2) / 5 + 1);
    m->month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    m->year = year_of_era + era * 400 + (m->month <= 2);
    m->yearday = before[m->month - 1] + m->day + (m->month > 2 && is_leap(m->year));
    m->weekday = (int)(((days + THURSDAY) % 7 + 7) % 7);
}

static struct moment moment_of(int64_t ns)
{
    struct moment m = { 0 };
    int64_t s = floor_div(ns, NS_PER_S);
    int64_t days = floor_div(s, S_PER_DAY);
    int of_day = (int)(s - days * S_PER_DAY);

    m.ns = (int)(ns - s * NS_PER_S);
    m.hour = of_day / S_PER_HOUR;
    m.minute = of_day / S_PER_MINUTE % 60;
    m.second = of_day % 60;
    fill_date(&m, days);
    return m;
}

struct str tpl_month_name(int64_t month)
{
    static const char *const names[] = { "January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December" };

    return str_from(names[month - 1]);
}

struct str tpl_weekday_name(int64_t day)
{
    static const char *const names[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday" };

    return str_from(names[day]);
}

/* --- printing --- */

/* A fraction of n digits, cut, with its separator; trailing zeros go when trim, and all of it then
 * if nothing is left. */
static void print_fraction(struct buf *b, int ns, size_t n, char separator, bool trim)
{
    char digits[16];

    snprintf(digits, sizeof digits, "%09d", ns);
    if (n > 9)
        n = 9;
    while (trim && n > 0 && digits[n - 1] == '0')
        n--;
    if (n > 0)
        buf_printf(b, "%c%.*s", separator, (int)n, digits);
}

void tpl_time_print(struct buf *b, int64_t ns)
{
    struct moment m = moment_of(ns);

    buf_printf(b, "%04lld-%02d-%02d %02d:%02d:%02d", (long long)m.year, m.month, m.day, m.hour,
               m.minute, m.second);
    print_fraction(b, m.ns, 9, '.', true);
    buf_text(b, " +0000 UTC");
}

/* 1h2m3.5s, 1.5ms, 0s: Go's Duration.String(). */
void tpl_duration_print(struct buf *b, int64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
        int digits;
    } units[] = { { 1000000, "ms", 6 }, { 1000, "\xc2\xb5s", 3 }, { 1, "ns", 0 } };
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, s = u / NS_PER_S;
    size_t i = 0;

    buf_text(b, ns < 0 ? "-" : "");
    if (u == 0) {
        buf_text(b, "0s");
    } else if (s == 0) {
        while (u < units[i].ns)
            i++;
        buf_printf(b, "%llu", (unsigned long long)(u / units[i].ns));
        for (int k = units[i].digits; k < 9; k++)
            u *= 10; /* the fraction as if it were of a second */
        print_fraction(b, (int)(u % NS_PER_S), 9, '.', true);
        buf_text(b, units[i].name);
    } else {
        if (s >= S_PER_HOUR)
            buf_printf(b, "%lluh", (unsigned long long)(s / S_PER_HOUR));
        if (s >= S_PER_MINUTE)
            buf_printf(b, "%um", (unsigned)(s / S_PER_MINUTE % 60));
        buf_printf(b, "%u", (unsigned)(s % 60));
        print_fraction(b, (int)(u % NS_PER_S), 9, '.', true);
        buf_u8(b, 's');
    }
}

/* --- layouts --- */

enum element {
    LONG_MONTH,
    MONTH_NAME,
    MONTH,
    LONG_WEEKDAY,
    WEEKDAY,
    DAY,
    PADDED_YEARDAY,
    HOUR,
    HOUR_12,
    MINUTE,
    SECOND,
    LONG_YEAR,
    YEAR,
    UPPER_PM,
    LOWER_PM,
    ZONE,
    Z,
    OFFSET_SECONDS_COLON,
    OFFSET_SECONDS,
    OFFSET_COLON,
    OFFSET,
    OFFSET_HOURS
};

/* How elements are written in a layout; the longer of two with one start comes first. */
static const struct {
    const char *text;
    enum element element;
    int width; /* of a number: 0 as it is, 2 or 3 with zeros; negative with spaces */
} elements[] = {
    { "January", LONG_MONTH, 0 },
    { "Jan", MONTH_NAME, 0 },
    { "Monday", LONG_WEEKDAY, 0 },
    { "Mon", WEEKDAY, 0 },
    { "MST", ZONE, 0 },
    { "01", MONTH, 2 },
    { "02", DAY, 2 },
    { "03", HOUR_12, 2 },
    { "04", MINUTE, 2 },
    { "05", SECOND, 2 },
    { "06", YEAR, 2 },
    { "002", PADDED_YEARDAY, 3 },
    { "15", HOUR, 2 },
    { "1", MONTH, 0 },
    { "2006", LONG_YEAR, 0 },
    { "2", DAY, 0 },
    { "__2", PADDED_YEARDAY, -3 },
    { "_2", DAY, -2 },
    { "3", HOUR_12, 0 },
    { "4", MINUTE, 0 },
    { "5", SECOND, 0 },
    { "PM", UPPER_PM, 0 },
    { "pm", LOWER_PM, 0 },
    { "-07:00:00", OFFSET_SECONDS_COLON, 0 },
    { "-070000", OFFSET_SECONDS, 0 },
    { "-07:00", OFFSET_COLON, 0 },
    { "-0700", OFFSET, 0 },
    { "-07", OFFSET_HOURS, 0 },
    { "Z07:00:00", Z, 0 },
    { "Z070000", Z, 0 },
    { "Z07:00", Z, 0 },
    { "Z0700", Z, 0 },
    { "Z07", Z, 0 },
};

static void print_number(struct buf *b, int v, int width)
{
    if (width < 0)
        buf_printf(b, "%*d", -width, v);
    else
        buf_printf(b, "%0*d", width, v);
}

static void print_short(struct buf *b, struct str name)
{
    buf_add(b, name.ptr, 3);
}

static void print_element(struct buf *b, const struct moment *m, enum element element, int width)
{
    switch (element) {
    case LONG_MONTH:
        buf_str(b, tpl_month_name(m->month));
        break;
    case MONTH_NAME:
        print_short(b, tpl_month_name(m->month));
        break;
    case MONTH:
        print_number(b, m->month, width);
        break;
    case LONG_WEEKDAY:
        buf_str(b, tpl_weekday_name(m->weekday));
        break;
    case WEEKDAY:
        print_short(b, tpl_weekday_name(m->weekday));
        break;
    case DAY:
        print_number(b, m->day, width);
        break;
    case PADDED_YEARDAY:
        print_number(b, m->yearday, width);
        break;
    case HOUR:
        print_number(b, m->hour, width);
        break;
    case HOUR_12:
        print_number(b, m->hour % 12 ? m->hour % 12 : 12, width);
        break;
    case MINUTE:
        print_number(b, m->minute, width);
        break;
    case SECOND:
        print_number(b, m->second, width);
        break;
    case LONG_YEAR:
        buf_printf(b, "%04lld", (long long)m->year);
        break;
    case YEAR:
        print_number(b, (int)(m->year % 100), width);
        break;
    case UPPER_PM:
        buf_text(b, m->hour >= 12 ? "PM" : "AM");
        break;
    case LOWER_PM:
        buf_text(b, m->hour >= 12 ? "pm" : "am");
        break;
    case ZONE:
        buf_text(b, "UTC");
        break;
    case Z:
        buf_u8(b, 'Z');
        break;
    case OFFSET_SECONDS_COLON:
        buf_text(b, "+00:00:00");
        break;
    case OFFSET_SECONDS:
        buf_text(b, "+000000");
        break;
    case OFFSET_COLON:
        buf_text(b, "+00:00");
        break;
    case OFFSET:
        buf_text(b, "+0000");
        break;
    case OFFSET_HOURS:
        buf_text(b, "+00");
        break;
    }
}

static bool is_lower(struct str s, size_t at)
{
    return at < s.len && s.ptr[at] >= 'a' && s.ptr[at] <= 'z';
}

/* The element that s starts with: its row, or ARRAY_LEN(elements). */
static size_t find_element(struct str s)
{
    size_t i = 0;

    for (; i < ARRAY_LEN(elements); i++) {
        size_t n = strlen(elements[i].text);
        enum element e = elements[i].element;

        if (!str_starts_with(s, str_from(elements[i].text)))
            continue;
        if ((e == MONTH_NAME || e == WEEKDAY) && is_lower(s, n))
            continue; /* "Month", "Money" */
        if (e == DAY && elements[i].width < 0
            && str_starts_with((struct str){ s.ptr + 1, s.len - 1 }, STR("2006")))
            continue; /* "_2006" is an underscore and a year */
        break;
    }
    return i;
}

/* .000 or ,999 and the like, of any length, not followed by a further digit: its length, or 0. */
static size_t fraction_length(struct str s)
{
    size_t n = 1;

    if (s.len < 2 || (s.ptr[0] != '.' && s.ptr[0] != ',') || (s.ptr[1] != '0' && s.ptr[1] != '9'))
        return 0;
    while (n < s.len && s.ptr[n] == s.ptr[1])
        n++;
    return n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9' ? 0 : n;
}

static bool fn_format(struct tpl_call *c)
{
    struct moment m = moment_of(c->args[0].i);
    struct str s = c->args[1].s;

    while (s.len) {
        size_t fraction = fraction_length(s);
        size_t i = find_element(s), used = 1;

        if (fraction) {
            print_fraction(c->text, m.ns, fraction - 1, s.ptr[0], s.ptr[1] == '9');
            used = fraction;
        } else if (i < ARRAY_LEN(elements)) {
            print_element(c->text, &m, elements[i].element, elements[i].width);
            used = strlen(elements[i].text);
        } else {
            buf_u8(c->text, (uint8_t)s.ptr[0]);
        }
        s = (struct str){ s.ptr + used, s.len - used };
    }
    return true;
}

/* --- methods --- */

static bool return_int(struct tpl_call *c, int64_t v)
{
    return call_return(c, datum_int(v));
}

static bool return_kind(struct tpl_call *c, enum datum_kind kind, int64_t v)
{
    return call_return(c, (struct datum){ .kind = kind, .i = v });
}

static bool fn_time_string(struct tpl_call *c)
{
    tpl_time_print(c->text, c->args[0].i);
    return true;
}

static bool fn_unix(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, floor_div(c->args[0].i, NS_PER_S));
}

static bool fn_unix_milli(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, floor_div(c->args[0].i, 1000000));
}

static bool fn_unix_micro(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, floor_div(c->args[0].i, 1000));
}

static bool fn_unix_nano(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, c->args[0].i);
}

static bool fn_year(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).year);
}

static bool fn_month(struct tpl_call *c)
{
    return return_kind(c, DATUM_MONTH, moment_of(c->args[0].i).month);
}

static bool fn_day(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).day);
}

static bool fn_hour(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).hour);
}

static bool fn_minute(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).minute);
}

static bool fn_second(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).second);
}

static bool fn_nanosecond(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).ns);
}

static bool fn_weekday(struct tpl_call *c)
{
    return return_kind(c, DATUM_WEEKDAY, moment_of(c->args[0].i).weekday);
}

static bool fn_yearday(struct tpl_call *c)
{
    return return_int(c, moment_of(c->args[0].i).yearday);
}

static bool fn_same(struct tpl_call *c) /* UTC: all times are */
{
    return call_return(c, c->args[0]);
}

/* Where Go's Time would leave our range, the end of it. */
static bool fn_add(struct tpl_call *c)
{
    int64_t ns;

    if (__builtin_add_overflow(c->args[0].i, c->args[1].i, &ns))
        ns = c->args[1].i < 0 ? INT64_MIN : INT64_MAX;
    return return_kind(c, DATUM_TIME, ns);
}

static bool fn_sub(struct tpl_call *c)
{
    int64_t ns;

    if (__builtin_sub_overflow(c->args[0].i, c->args[1].i, &ns))
        ns = c->args[0].i < 0 ? INT64_MIN : INT64_MAX;
    return return_kind(c, DATUM_DURATION, ns);
}

static bool fn_before(struct tpl_call *c)
{
    return call_return(c, datum_bool(c->args[0].i < c->args[1].i));
}

static bool fn_after(struct tpl_call *c)
{
    return call_return(c, datum_bool(c->args[0].i > c->args[1].i));
}

static bool fn_equal(struct tpl_call *c)
{
    return call_return(c, datum_bool(c->args[0].i == c->args[1].i));
}

/* The parameters are those behind the receiver. */
const struct tpl_func tpl_time_methods[] = {
    { "Add", fn_add, 1, false, { PARAM_DURATION } },
    { "After", fn_after, 1, false, { PARAM_TIME } },
    { "Before", fn_before, 1, false, { PARAM_TIME } },
    { "Day", fn_day, 0, false, { PARAM_ANY } },
    { "Equal", fn_equal, 1, false, { PARAM_TIME } },
    { "Format", fn_format, 1, false, { PARAM_STRING } },
    { "Hour", fn_hour, 0, false, { PARAM_ANY } },
    { "Minute", fn_minute, 0, false, { PARAM_ANY } },
    { "Month", fn_month, 0, false, { PARAM_ANY } },
    { "Nanosecond", fn_nanosecond, 0, false, { PARAM_ANY } },
    { "Second", fn_second, 0, false, { PARAM_ANY } },
    { "String", fn_time_string, 0, false, { PARAM_ANY } },
    { "Sub", fn_sub, 1, false, { PARAM_TIME } },
    { "UTC", fn_same, 0, false, { PARAM_ANY } },
    { "Unix", fn_unix, 0, false, { PARAM_ANY } },
    { "UnixMicro", fn_unix_micro, 0, false, { PARAM_ANY } },
    { "UnixMilli", fn_unix_milli, 0, false, { PARAM_ANY } },
    { "UnixNano", fn_unix_nano, 0, false, { PARAM_ANY } },
    { "Weekday", fn_weekday, 0, false, { PARAM_ANY } },
    { "Year", fn_year, 0, false, { PARAM_ANY } },
    { "YearDay", fn_yearday, 0, false, { PARAM_ANY } },
};
const size_t tpl_n_time_methods = ARRAY_LEN(tpl_time_methods);

static bool fn_duration_string(struct tpl_call *c)
{
    tpl_duration_print(c->text, c->args[0].i);
    return true;
}

/* As Go adds them: the whole units, and the rest as a fraction. */
static bool return_units(struct tpl_call *c, int64_t unit_ns)
{
    int64_t ns = c->args[0].i;

    return call_return(
        c, datum_float((double)(ns / unit_ns) + (double)(ns % unit_ns) / (double)unit_ns));
}

static bool fn_hours(struct tpl_call *c)
{
    return return_units(c, S_PER_HOUR * NS_PER_S);
}

static bool fn_minutes(struct tpl_call *c)
{
    return return_units(c, S_PER_MINUTE * NS_PER_S);
}

static bool fn_seconds(struct tpl_call *c)
{
    return return_units(c, NS_PER_S);
}

static bool fn_milliseconds(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, c->args[0].i / 1000000);
}

static bool fn_microseconds(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, c->args[0].i / 1000);
}

static bool fn_nanoseconds(struct tpl_call *c)
{
    return return_kind(c, DATUM_INT64, c->args[0].i);
}

const struct tpl_func tpl_duration_methods[] = {
    { "Hours", fn_hours, 0, false, { PARAM_ANY } },
    { "Microseconds", fn_microseconds, 0, false, { PARAM_ANY } },
    { "Milliseconds", fn_milliseconds, 0, false, { PARAM_ANY } },
    { "Minutes", fn_minutes, 0, false, { PARAM_ANY } },
    { "Nanoseconds", fn_nanoseconds, 0, false, { PARAM_ANY } },
    { "Seconds", fn_seconds, 0, false, { PARAM_ANY } },
    { "String", fn_duration_string, 0, false, { PARAM_ANY } },
};
const size_t tpl_n_duration_methods = ARRAY_LEN(tpl_duration_methods);

static bool fn_name(struct tpl_call *c)
{
    struct datum d = c->args[0];

    return call_return(
        c, datum_str(d.kind == DATUM_MONTH ? tpl_month_name(d.i) : tpl_weekday_name(d.i)));
}

const struct tpl_func tpl_name_method = { "String", fn_name, 0, false, { PARAM_ANY } };
