/* bench_codec.c -- how many bytes a sample takes, and how long its encoding and decoding, for the
 * kinds of columns that LLM services have. Every column is compared bit by bit after decoding.
 *
 * Usage: bench_codec [SAMPLES-A-CHUNK] (default 480: two hours at 15 s)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/codec_float.h"
#include "storage/sample.h"

#include "base/banned.h"

enum { SERIES = 12, SAMPLES = 11520, ROUNDS = 20, STEPS_A_DAY = 5760 };

/* ---- chance ---- */

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t random_u64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In (0, 1). */
static double uniform(uint64_t *rng)
{
    return ((double)(random_u64(rng) >> 12) + 0.5) * 0x1p-52;
}

static double normal(uint64_t *rng)
{
    double radius = sqrt(-2 * log(uniform(rng)));

    return radius * cos(2 * M_PI * uniform(rng));
}

static double poisson(uint64_t *rng, double mean)
{
    double n = 0;

    for (double left = exp(-mean), product = uniform(rng); product > left; product *= uniform(rng))
        n++;
    return n;
}

/* ---- columns ---- */

/* One series; busy says whether anything happens at this step: spells of half an hour or so. */
struct series {
    uint64_t rng;
    size_t step;
    bool busy;
    double v, hidden;
};

static double requests(struct series *s)
{
    double daily = 1 - 0.7 * cos(2 * M_PI * (double)(s->step % STEPS_A_DAY) / STEPS_A_DAY);

    return s->busy ? poisson(&s->rng, 1.5 * daily) : 0;
}

static double request_counter(struct series *s)
{
    return s->v + requests(s);
}

static double token_counter(struct series *s)
{
    double n = requests(s), v = s->v;

    for (; n > 0; n--)
        v += floor(300 * exp(0.7 * normal(&s->rng)));
    return v;
}

static double busy_token_counter(struct series *s)
{
    s->busy = true;
    return token_counter(s);
}

static double cost_counter(struct series *s)
{
    double n = requests(s), v = s->v;

    for (; n > 0; n--)
        v += floor(900 * exp(0.5 * normal(&s->rng))) * 2.5e-6;
    return v;
}

static double rounded_cost(struct series *s)
{
    return round(cost_counter(s) * 1e6) / 1e6;
}

static double latency_sum_ns(struct series *s)
{
    double n = requests(s), v = s->v;

    for (; n > 0; n--)
        v += round(2e9 * exp(0.6 * normal(&s->rng))) / 1e9;
    return v;
}

static double latency_sum(struct series *s)
{
    double n = requests(s), v = s->v;

    for (; n > 0; n--)
        v += 2 * exp(0.6 * normal(&s->rng));
    return v;
}

static double in_flight(struct series *s)
{
    double way = uniform(&s->rng);

    return s->busy && way < 0.2 ? s->v + 1 : s->busy && way > 0.8 && s->v > 0 ? s->v - 1 : s->v;
}

static double utilisation(struct series *s)
{
    return round((55 + 15 * normal(&s->rng)) * 100) / 100;
}

static double memory_bytes(struct series *s)
{
    return s->busy ? s->v + 4096 * floor(20 * normal(&s->rng)) : s->v + (s->v == 0) * 2e9;
}

static double full_double(struct series *s)
{
    return uniform(&s->rng);
}

static double temperature(struct series *s)
{
    s->hidden = 0.99 * s->hidden + normal(&s->rng) * 0.3;
    return 60 + round(s->hidden);
}

static double constant(struct series *s)
{
    (void)s;
    return 1;
}

static double restarting_counter(struct series *s)
{
    if (s->step % 1500 == 1499)
        return stale_nan();
    return s->step % 1500 == 0 ? 0 : (is_stale(s->v) ? 0 : s->v) + requests(s);
}

static const struct kind {
    const char *name;
    double (*next)(struct series *s);
} kinds[] = {
    { "request counter, idle and busy", request_counter },
    { "token counter, idle and busy", token_counter },
    { "token counter, always busy", busy_token_counter },
    { "cost counter, accumulated", cost_counter },
    { "cost counter, rounded to 1e-6", rounded_cost },
    { "latency sum, whole ns accumulated", latency_sum_ns },
    { "latency sum, full doubles", latency_sum },
    { "requests in flight", in_flight },
    { "utilisation, two decimals", utilisation },
    { "memory in pages", memory_bytes },
    { "ratio, full doubles", full_double },
    { "temperature", temperature },
    { "constant", constant },
    { "counter with restarts and markers", restarting_counter },
};

static void fill(const struct kind *kind, uint64_t seed, double *v)
{
    struct series s = { .rng = seed };

    for (s.step = 0; s.step < SAMPLES; s.step++) {
        if (uniform(&s.rng) < 1.0 / 140)
            s.busy = !s.busy;
        v[s.step] = s.v = kind->next(&s);
    }
}

/* ---- measuring ---- */

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct rig {
    double v[SERIES][SAMPLES], decoded[INTS_MAX];
    struct floats_scratch scratch;
    struct buf encoded;
    size_t ends[SERIES * SAMPLES];
};

static size_t part(size_t from, size_t chunk)
{
    return SAMPLES - from < chunk ? SAMPLES - from : chunk;
}

static void encode_all(struct rig *rig, size_t chunk)
{
    size_t k = 0;

    buf_clear(&rig->encoded);
    for (size_t i = 0; i < SERIES; i++)
        for (size_t from = 0; from < SAMPLES; from += chunk) {
            floats_encode(&rig->encoded, rig->v[i] + from, part(from, chunk), &rig->scratch);
            rig->ends[k++] = rig->encoded.len;
        }
}

static void decode_all(struct rig *rig, size_t chunk, bool compare)
{
    size_t k = 0, at = 0;

    for (size_t i = 0; i < SERIES; i++)
        for (size_t from = 0; from < SAMPLES; from += chunk) {
            size_t n = part(from, chunk);
            struct reader r = reader_on((struct bytes){ rig->encoded.ptr + at, rig->ends[k] - at });

            if (!floats_decode(&r, rig->decoded, n)
                || (compare && memcmp(rig->decoded, rig->v[i] + from, n * sizeof(double)) != 0)) {
                fprintf(stderr, "a column does not come back\n");
                exit(1);
            }
            at = rig->ends[k++];
        }
}

/* The least of some rounds, in ns a sample: what others do on the machine only adds. */
static void measure(struct rig *rig, const struct kind *kind, size_t chunk, double sums[3])
{
    double encode_s = INFINITY, decode_s = INFINITY, n = SERIES * SAMPLES;

    for (uint64_t i = 0; i < SERIES; i++)
        fill(kind, i + 1, rig->v[i]);
    for (int round = 0; round < ROUNDS; round++) {
        double start = cpu_s(), middle, end;

        encode_all(rig, chunk);
        middle = cpu_s();
        decode_all(rig, chunk, false);
        end = cpu_s();
        encode_s = fmin(encode_s, middle - start);
        decode_s = fmin(decode_s, end - middle);
    }
    decode_all(rig, chunk, true);
    printf("| %s | %.3f | %.1f | %.2f |\n", kind->name, (double)rig->encoded.len / n,
           encode_s / n * 1e9, decode_s / n * 1e9);
    sums[0] += (double)rig->encoded.len / n;
    sums[1] += encode_s / n * 1e9;
    sums[2] += decode_s / n * 1e9;
}

int main(int argc, char **argv)
{
    size_t chunk = argc > 1 ? strtoul(argv[1], NULL, 10) : 480;
    struct rig *rig = calloc(1, sizeof *rig);
    double sums[3] = { 0 }, n = ARRAY_LEN(kinds);

    if (!rig || chunk < 1 || chunk > INTS_MAX) {
        fprintf(stderr, "usage: bench_codec [SAMPLES-A-CHUNK], 1 to %d\n", INTS_MAX);
        return 2;
    }
    printf("chunks of %zu samples\n\n", chunk);
    printf("| kind | bytes/sample | encode, ns/sample | decode, ns/sample |\n");
    printf("| --- | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        measure(rig, &kinds[i], chunk, sums);
    printf("| mean | %.3f | %.1f | %.2f |\n", sums[0] / n, sums[1] / n, sums[2] / n);
    buf_free(&rig->encoded);
    free(rig);
    return 0;
}
