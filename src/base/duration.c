#include "base/duration.h"

#include "base/banned.h"

static const struct unit {
    const char *name;
    int64_t ms;
    bool exact_only; /* printed only when it divides the rest */
} units[] = {
    { "y", 365LL * 86400000, true },
    { "w", 7LL * 86400000, true },
    { "d", 86400000, false },
    { "h", 3600000, false },
    { "m", 60000, false },
    { "s", 1000, false },
    { "ms", 1, false },
};

static const int64_t max_ms = INT64_MAX / 1000000;

static enum errc invalid(struct str s, struct err *err)
{
    return err_set(err, ERR_BAD_DATA, 0, "not a valid duration string: \"%.*s\"", STR_ARG(s));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at *at, which moves behind them; false when there are none or too many. */
static bool read_number(struct str s, size_t *at, int64_t *n)
{
    size_t start = *at;

    *n = 0;
    for (; *at < s.len && is_digit(s.ptr[*at]); ++*at)
        if (__builtin_mul_overflow(*n, (int64_t)10, n)
            || __builtin_add_overflow(*n, s.ptr[*at] - '0', n))
            return false;
    return *at > start;
}

/* Everything up to the next digit. */
static struct str read_unit(struct str s, size_t *at)
{
    size_t start = *at;

    while (*at < s.len && !is_digit(s.ptr[*at]))
        ++*at;
    return (struct str){ s.ptr + start, *at - start };
}

enum errc duration_parse(struct str s, int64_t *ms, struct err *err)
{
    size_t at = 0, smaller = 0; /* units[smaller] is the largest that may still come */
    int64_t total = 0;

    if (s.len == 0)
        return err_set(err, ERR_BAD_DATA, 0, "empty duration string");
    if (str_is(s, "0")) {
        *ms = 0;
        return OK;
    }
    while (at < s.len) {
        struct str unit;
        int64_t n;
        size_t u = 0;

        if (!read_number(s, &at, &n))
            return invalid(s, err);
        unit = read_unit(s, &at);
        if (unit.len == 0)
            return invalid(s, err);
        while (u < ARRAY_LEN(units) && !str_is(unit, units[u].name))
            u++;
        if (u == ARRAY_LEN(units))
            return err_set(err, ERR_BAD_DATA, 0, "unknown unit \"%.*s\" in duration \"%.*s\"",
                           STR_ARG(unit), STR_ARG(s));
        if (u < smaller)
            return invalid(s, err);
        smaller = u + 1;
        if (__builtin_mul_overflow(n, units[u].ms, &n) || __builtin_add_overflow(total, n, &total)
            || total > max_ms)
            return err_set(err, ERR_BAD_DATA, 0, "duration out of range");
    }
    *ms = total;
    return OK;
}

void duration_print(struct buf *b, int64_t ms)
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;

    if (left == 0) {
        buf_text(b, "0s");
        return;
    }
    if (ms < 0)
        buf_u8(b, '-');
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t unit = (uint64_t)units[i].ms;

        if (left < unit || (units[i].exact_only && left % unit != 0))
            continue;
        buf_printf(b, "%llu%s", (unsigned long long)(left / unit), units[i].name);
        left %= unit;
    }
}
