#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "random.h"
#include "storage/codec_histogram.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { N = 120, MAX_SPANS = 3, MAX_COUNTS = 12 };

struct rig {
    struct arena *arena;
    struct floats_scratch *scratch;
    const struct histogram *h[N];
    int64_t t_ms[N];
    struct buf b;
};

static void fill_side(struct arena *a, uint64_t *rng, uint64_t layout, double scale,
                      struct histogram_side *side)
{
    struct histogram_span *spans = ARENA_NEW(a, struct histogram_span, MAX_SPANS);
    double *counts = ARENA_NEW(a, double, MAX_SPANS *MAX_COUNTS);

    side->n_spans = (uint32_t)random_below(&layout, MAX_SPANS + 1);
    for (uint32_t i = 0; i < side->n_spans; i++) {
        spans[i].offset = (int32_t)random_below(&layout, 5) - (i ? 0 : 2);
        spans[i].length = (uint32_t)random_below(&layout, MAX_COUNTS);
        side->n_counts += spans[i].length;
    }
    for (uint32_t i = 0; i < side->n_counts; i++)
        counts[i] = (double)random_below(rng, 1000) * scale;
    side->spans = spans;
    side->counts = counts;
}

/* Histograms whose layout changes now and then. */
static void fill(struct rig *rig, uint64_t *rng, bool is_integer, size_t change_every)
{
    arena_reset(rig->arena);
    for (size_t i = 0; i < N; i++) {
        struct histogram *h = ARENA_NEW(rig->arena, struct histogram, 1);
        uint64_t layout = i / change_every;
        double scale = is_integer ? 1 : 0.37;

        *h = (struct histogram){ .schema = (int32_t)random_below(&layout, 8) - 4,
                                 .hint = (enum histogram_hint)random_below(rng, HINT_COUNT),
                                 .is_integer = is_integer,
                                 .count = (double)random_u64(rng) * 0x1p-20,
                                 .sum = f64_from_bits(random_u64(rng)),
                                 .zero_threshold = 1e-128,
                                 .zero_count = (double)random_below(rng, 9) * scale };
        if (is_integer)
            h->count = (double)(int64_t)h->count;
        fill_side(rig->arena, rng, layout + 1, scale, &h->positive);
        fill_side(rig->arena, rng, layout + 2, scale, &h->negative);
        rig->h[i] = h;
        rig->t_ms[i] = (int64_t)i;
    }
}

static int rig_new(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    *state = rig;
    if (!rig)
        return -1;
    rig->arena = arena_new(0);
    rig->scratch = malloc(sizeof *rig->scratch);
    return rig->arena && rig->scratch ? 0 : -1;
}

static int rig_free(void **state)
{
    struct rig *rig = *state;

    arena_free(rig->arena);
    free(rig->scratch);
    buf_free(&rig->b);
    free(rig);
    return 0;
}

static void every_field_survives(void **state)
{
    struct rig *rig = *state;
    uint64_t rng = 1;

    for (size_t round = 0; round < 100; round++) {
        bool is_integer = round % 2;
        struct column out = { 0 };

        fill(rig, &rng, is_integer, 1 + random_below(&rng, N));
        buf_clear(&rig->b);
        histograms_encode(&rig->b, rig->h, N, rig->scratch);
        struct reader r = reader_on(buf_as_bytes(&rig->b));

        assert_int_equal(histograms_decode(&r, is_integer, rig->t_ms, N, &out), OK);
        assert_int_equal(reader_left(&r), 0);
        assert_int_equal(out.n, N);
        for (size_t i = 0; i < N; i++)
            assert_true(histogram_identical(out.h[i], rig->h[i]) && out.t_ms[i] == (int64_t)i);
        column_free(&out);
    }
}

static void columns_suit_when_layouts_last(void **state)
{
    struct rig *rig = *state;
    uint64_t rng = 2;

    fill(rig, &rng, true, 1);
    assert_false(histograms_suit(rig->h, N));
    fill(rig, &rng, true, 30);
    assert_true(histograms_suit(rig->h, N));
    assert_false(histograms_suit(rig->h, 3)); /* so few are better one by one */
}

static void damaged_columns_are_refused_or_read(void **state)
{
    struct rig *rig = *state;
    uint64_t rng = 3;

    for (unsigned round = 0; round < 3000; round++) {
        struct column out = { 0 };

        if (round % 100 == 0)
            fill(rig, &rng, round % 200, 40);
        buf_clear(&rig->b);
        histograms_encode(&rig->b, rig->h, N, rig->scratch);
        rig->b.ptr[random_below(&rng, rig->b.len)] ^= (uint8_t)(1u << random_below(&rng, 8));
        struct reader r =
            reader_on((struct bytes){ rig->b.ptr, random_below(&rng, rig->b.len + 1) });
        enum errc rc = histograms_decode(&r, round % 200 >= 100, rig->t_ms, N, &out);

        assert_true(rc == OK || rc == ERR_CORRUPT);
        column_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(columns_suit_when_layouts_last),
        cmocka_unit_test(damaged_columns_are_refused_or_read),
    };

    return cmocka_run_group_tests(tests, rig_new, rig_free);
}
