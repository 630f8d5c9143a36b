#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/shortest.h"

#include "base/banned.h"

enum { RANDOM = 300000 };

static double value_of(struct shortest s)
{
    char text[64];

    snprintf(text, sizeof text, "%llue%d", (unsigned long long)s.digits, s.exp10);
    return strtod(text, NULL);
}

static int count_digits(uint64_t digits)
{
    int n = 0;

    while (digits && digits % 10 == 0)
        digits /= 10;
    for (; digits; digits /= 10)
        n++;
    return n;
}

/* The fewest digits by which the C library's texts read back. */
static int fewest_digits(double v, double *closest)
{
    char text[64];

    for (int n = 1; n <= 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, v);
        *closest = strtod(text, NULL);
        if (f64_bits(*closest) == f64_bits(v))
            return n;
    }
    fail_msg("17 digits are always enough");
    return 0;
}

static void check(double v)
{
    struct shortest s = shortest_decimal(v);
    double closest;
    int n = count_digits(s.digits), fewest = fewest_digits(v, &closest);
    char text[64], want[64];

    if (f64_bits(value_of(s)) != f64_bits(v))
        fail_msg("%.17g became %llue%d", v, (unsigned long long)s.digits, s.exp10);
    /* next to a power of two a number of fewer digits can be in the interval that is not the nearest */
    if (n > fewest)
        fail_msg("%.17g has %d digits, %d are enough", v, n, fewest);
    if (n < fewest)
        return;
    while (s.digits % 10 == 0) {
        s.digits /= 10;
        s.exp10++;
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)s.digits);
    snprintf(want, sizeof want, "%.*e", fewest - 1, v);
    for (size_t i = 0, k = 0; text[i]; i++, k++) {
        if (want[k] == '.')
            k++;
        if (text[i] != want[k])
            fail_msg("%.17g: digits %s, want those of %s", v, text, want);
    }
}

static void digits_are_the_fewest_and_the_closest(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOM; i++) {
        uint64_t bits = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
        double v = f64_from_bits(bits & INT64_MAX);

        if (isfinite(v) && v > 0)
            check(v);
        check(((double)(random() % 1000000) + 1) / ((double)(random() % 1000) + 1));
    }
}

static void borders_are_right(void **state)
{
    static const double cases[] = { 5e-324,
                                    1e-323,
                                    2.2250738585072014e-308,
                                    2.225073858507201e-308,
                                    1.7976931348623157e308,
                                    1,
                                    1e23,
                                    9e15,
                                    9007199254740992.0,
                                    2e-44,
                                    123456789012345680000.0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i]);
    for (int e = -1074; e < 1024; e++) {
        double v = ldexp(1, e);

        check(v);
        check(nextafter(v, INFINITY));
        if (v > 5e-324)
            check(nextafter(v, 0));
    }
    for (int k = -307; k < 309; k++) {
        char text[16];

        snprintf(text, sizeof text, "1e%d", k);
        check(strtod(text, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_the_fewest_and_the_closest),
        cmocka_unit_test(borders_are_right),
    };

    srandom(3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
