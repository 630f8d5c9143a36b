/* number.c
 *
 * Shortest digits: integers and values of up to three decimals, which nearly all metric values are,
 * take a fast path; the rest goes to shortest.h.
 */
#include "base/number.h"

#include <math.h>
#include <stdlib.h>

#include "base/shortest.h"

#include "base/banned.h"

/* digits[0..n) as d.ddd * 10^exp10 */
struct decimal {
    char digits[20];
    int n;
    int exp10;
};

static void decimal_from_int(struct decimal *d, uint64_t m, int scale)
{
    char rev[20];
    int n = 0;

    do {
        rev[n++] = (char)('0' + m % 10);
        m /= 10;
    } while (m);
    d->exp10 = n - 1 - scale;
    int skip = 0;

    while (skip < n - 1 && rev[skip] == '0')
        skip++;
    d->n = n - skip;
    for (int i = 0; i < d->n; i++)
        d->digits[i] = rev[n - 1 - i];
}

/* Integers and what has few decimals, with less work: a division that gives v back proves it. */
static bool shortest_fast(double v, struct decimal *d)
{
    static const double pow10[] = { 1e0, 1e1, 1e2, 1e3 };

    if (v >= 1e12 || v < 1e-3) /* up to 15 digits only: a shorter text of 16 might read back too */
        return false;
    for (size_t k = 0; k < ARRAY_LEN(pow10); k++) {
        double m = nearbyint(v * pow10[k]);

        if (m / pow10[k] == v) {
            decimal_from_int(d, (uint64_t)m, (int)k);
            return true;
        }
    }
    return false;
}

static void shortest(double v, struct decimal *d)
{
    struct shortest s;

    if (shortest_fast(v, d))
        return;
    s = shortest_decimal(v);
    decimal_from_int(d, s.digits, -s.exp10);
}

static size_t write_plain(const struct decimal *d, char *out)
{
    char *p = out;

    if (d->exp10 < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = -1; i > d->exp10; i--)
            *p++ = '0';
        memcpy(p, d->digits, (size_t)d->n);
        return (size_t)(p + d->n - out);
    }
    for (int i = 0; i <= d->exp10 || i < d->n; i++) {
        if (i == d->exp10 + 1)
            *p++ = '.';
        *p++ = i < d->n ? d->digits[i] : '0';
    }
    return (size_t)(p - out);
}

static size_t write_exponent(const struct decimal *d, char *out)
{
    char *p = out;
    int e = d->exp10 < 0 ? -d->exp10 : d->exp10;

    *p++ = d->digits[0];
    if (d->n > 1) {
        *p++ = '.';
        memcpy(p, d->digits + 1, (size_t)d->n - 1);
        p += d->n - 1;
    }
    *p++ = 'e';
    *p++ = d->exp10 < 0 ? '-' : '+';
    if (e >= 100)
        *p++ = (char)('0' + e / 100);
    *p++ = (char)('0' + e / 10 % 10);
    *p++ = (char)('0' + e % 10);
    return (size_t)(p - out);
}

static bool wants_exponent(const struct decimal *d, double v, enum number_form form)
{
    switch (form) {
    case NUMBER_JSON:
        return v < 1e-6 || v >= 1e21;
    case NUMBER_G:
        return d->exp10 < -4 || d->exp10 >= 6;
    case NUMBER_E:
        return true;
    case NUMBER_PLAIN:
        break;
    }
    return false;
}

size_t number_format(double v, enum number_form form, char out[NUMBER_MAX])
{
    struct decimal d = { .digits = "0", .n = 1 };
    size_t sign = 0;

    if (isnan(v)) {
        memcpy(out, "NaN", 3);
        return 3;
    }
    if (isinf(v)) {
        memcpy(out, v > 0 ? "+Inf" : "-Inf", 4);
        return 4;
    }
    if (signbit(v)) {
        out[sign++] = '-';
        v = -v;
    }
    if (v == 0)
        return sign
               + (form == NUMBER_E ? write_exponent(&d, out + sign) : write_plain(&d, out + sign));
    shortest(v, &d);
    return sign
           + (wants_exponent(&d, v, form) ? write_exponent(&d, out + sign)
                                          : write_plain(&d, out + sign));
}

void number_print(struct buf *b, double v, enum number_form form)
{
    uint8_t *to = buf_reserve(b, NUMBER_MAX);

    if (to)
        b->len += number_format(v, form, (char *)to);
}

static bool is_digit(char c, bool hex)
{
    return (c >= '0' && c <= '9') || (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

static bool equal_fold(struct str s, const char *lower)
{
    if (s.len != strlen(lower))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] | 0x20) != lower[i])
            return false;
    return true;
}

/* Checks the grammar and copies s without underscores to text; strtod alone accepts too much. */
static bool copy_checked(struct str s, bool underscores, char *text)
{
    bool hex = s.len > 2 && s.ptr[0] == '0' && (s.ptr[1] | 0x20) == 'x';
    bool digits = false, dot = false, exponent = false;
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '_') {
            bool before = i > 0 && (is_digit(s.ptr[i - 1], hex) || (hex && i == 2));
            bool after = i + 1 < s.len && is_digit(s.ptr[i + 1], hex);

            if (!underscores || !before || !after)
                return false;
            continue;
        }
        if (hex && i == 1) {
            /* the x */
        } else if (is_digit(c, hex && !exponent)) {
            digits |= !exponent && !(hex && i == 0);
        } else if (c == '.' && !dot && !exponent) {
            dot = true;
        } else if ((c | 0x20) == (hex ? 'p' : 'e') && digits && !exponent) {
            exponent = true;
            if (i + 1 < s.len && (s.ptr[i + 1] == '+' || s.ptr[i + 1] == '-'))
                text[n++] = c, c = s.ptr[++i];
            if (i + 1 >= s.len || !is_digit(s.ptr[i + 1], false))
                return false;
        } else {
            return false;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    return digits && (!hex || exponent);
}

/* Digits with at most one dot: with up to 15 of them the number is an integer below 2^53 divided by
 * a power of ten that a double holds exactly, so that one division rounds correctly. False: asks
 * for the general way. */
static bool parse_fast(struct str s, double *v)
{
    static const double pow10[] = { 1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
    size_t negative = s.len && s.ptr[0] == '-', n_digits = 0, n_fraction = 0;
    uint64_t m = 0;
    bool dot = false;

    if (s.len > 17)
        return false;
    for (size_t i = negative; i < s.len; i++) {
        unsigned digit = (unsigned)(uint8_t)s.ptr[i] - '0';

        if (digit <= 9) {
            m = 10 * m + digit;
            n_digits++;
            n_fraction += dot;
        } else if (s.ptr[i] == '.' && !dot) {
            dot = true;
        } else {
            return false;
        }
    }
    if (n_digits == 0 || n_digits > 15)
        return false;
    *v = (double)m / pow10[n_fraction];
    if (negative)
        *v = -*v;
    return true;
}

bool number_parse(struct str s, bool underscores, double *v, bool *out_of_range)
{
    bool negative = s.len && s.ptr[0] == '-';
    char small[128], *text = small;
    bool ok;

    if (out_of_range)
        *out_of_range = false;
    if (parse_fast(s, v))
        return true;
    if (equal_fold(s, "nan")) { /* it takes no sign */
        *v = f64_from_bits(0x7ff8000000000001);
        return true;
    }
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        s = (struct str){ s.ptr + 1, s.len - 1 };
    if (equal_fold(s, "inf") || equal_fold(s, "infinity")) {
        *v = negative ? -INFINITY : INFINITY;
        return true;
    }
    if (s.len + 1 > sizeof small && !(text = malloc(s.len + 1)))
        return false;
    ok = copy_checked(s, underscores, text);
    if (ok) {
        *v = strtod(text, NULL);
        if (out_of_range)
            *out_of_range = isinf(*v);
        if (negative)
            *v = -*v;
    }
    if (text != small)
        free(text);
    return ok;
}

bool number_parse_i64(struct str s, int64_t *v)
{
    bool negative = s.len && s.ptr[0] == '-';
    size_t i = negative || (s.len && s.ptr[0] == '+');
    int64_t n = 0;

    if (i == s.len)
        return false;
    for (; i < s.len; i++) {
        int digit = s.ptr[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(n, (int64_t)10, &n)
            || (negative ? __builtin_sub_overflow(n, digit, &n)
                         : __builtin_add_overflow(n, digit, &n)))
            return false;
    }
    *v = n;
    return true;
}
