/* loops.c
 *
 * The bodies are written without branches, so that the compiler turns them into vector code where
 * the processor has selects. Searches look at blocks, and into a block only when it has a hit.
 */
#include "query/loops.h"

#include <math.h>
#include <stdint.h>

#include "base/compiler.h"
#include "query/value.h"

#include "base/banned.h"

enum { BLOCK = 64 };

#define BODY static inline __attribute__((always_inline))

BODY void add_body(double *restrict sum, double *restrict c, const double *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = v[i], s = sum[i], k = c[i], t = s + x, high, low, next;
        bool none = f64_bits(x) == STALE_NAN_BITS, first = f64_bits(s) == STALE_NAN_BITS;
        bool keep = fabs(s) >= fabs(x);

        high = keep ? s : x;
        low = keep ? x : s;
        next = k + ((high - t) + low);
        next = fabs(t) == (double)INFINITY ? 0 : next;
        next = first ? k : next;
        t = first ? x : t;
        c[i] = none ? k : next;
        sum[i] = none ? s : t;
    }
}

BODY void count_body(double *restrict counts, const double *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double old = counts[i], one = f64_bits(old) == STALE_NAN_BITS ? 1 : old + 1;

        counts[i] = f64_bits(v[i]) == STALE_NAN_BITS ? old : one;
    }
}

BODY size_t find_decrease_body(const double *v, size_t from, size_t n)
{
    size_t i = from;

    for (; i + BLOCK <= n; i += BLOCK) {
        uint64_t found = 0;

        for (size_t k = 0; k < BLOCK; k++)
            found |= v[i + k] < v[i + k - 1] ? 1 : 0;
        if (found)
            break;
    }
    while (i < n && !(v[i] < v[i - 1]))
        i++;
    return i;
}

BODY size_t find_marker_body(const double *v, size_t n)
{
    size_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK) {
        uint64_t found = 0;

        for (size_t k = 0; k < BLOCK; k++)
            found |= f64_bits(v[i + k]) == STALE_NAN_BITS ? 1 : 0;
        if (found)
            break;
    }
    while (i < n && f64_bits(v[i]) != STALE_NAN_BITS)
        i++;
    return i;
}

#define LOOPS(name, attributes)                                                                    \
    attributes static void add_##name(double *sum, double *c, const double *v, size_t n)           \
    {                                                                                              \
        add_body(sum, c, v, n);                                                                    \
    }                                                                                              \
    attributes static void count_##name(double *counts, const double *v, size_t n)                 \
    {                                                                                              \
        count_body(counts, v, n);                                                                  \
    }                                                                                              \
    attributes static size_t find_decrease_##name(const double *v, size_t from, size_t n)          \
    {                                                                                              \
        return find_decrease_body(v, from, n);                                                     \
    }                                                                                              \
    attributes static size_t find_marker_##name(const double *v, size_t n)                         \
    {                                                                                              \
        return find_marker_body(v, n);                                                             \
    }

LOOPS(portable, )

const struct loops loops_portable = { add_portable, count_portable, find_decrease_portable,
                                      find_marker_portable };

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
LOOPS(avx2, __attribute__((target("avx2"), optimize("O3"))))

static const struct loops loops_avx2 = { add_avx2, count_avx2, find_decrease_avx2,
                                         find_marker_avx2 };

const struct loops *loops(void)
{
    return __builtin_cpu_supports("avx2") ? &loops_avx2 : &loops_portable;
}
#else
const struct loops *loops(void)
{
    return &loops_portable;
}
#endif
