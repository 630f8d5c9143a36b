#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/postings.h"

#include "base/banned.h"

/* ---- sets ---- */

/* A generator of its own, so that a failure can be repeated: Marsaglia, "Xorshift RNGs", 2003. */
static uint32_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)(*seed >> 16);
}

enum { UNIVERSE = 4000 };

/* A random set with about one in sparsity of all ids. */
static struct postings random_set(uint64_t *seed, uint32_t sparsity, struct arena *a)
{
    struct postings p = { arena_alloc(a, UNIVERSE * sizeof(uint32_t)), 0 };

    assert_non_null(p.ids);
    for (uint32_t id = 1; id < UNIVERSE; id++)
        if (next_random(seed) % sparsity == 0)
            p.ids[p.n++] = id;
    return p;
}

static void mark(struct postings p, bool *in)
{
    memset(in, 0, UNIVERSE * sizeof *in);
    for (size_t i = 0; i < p.n; i++)
        in[p.ids[i]] = true;
}

static void assert_set(struct postings got, const bool *want)
{
    size_t at = 0;

    for (uint32_t id = 0; id < UNIVERSE; id++)
        if (want[id]) {
            assert_true(at < got.n);
            assert_int_equal(got.ids[at++], id);
        }
    assert_int_equal(at, got.n);
}

static void set_operations_agree_with_naive_ones(void **state)
{
    static const uint32_t sparsities[] = { 1, 2, 30, 1000, UINT32_MAX };
    struct arena *a = arena_new(0);
    uint64_t seed = 88172645463325252u;
    bool in_x[UNIVERSE], in_y[UNIVERSE], want[UNIVERSE];
    struct postings got;

    (void)state;
    assert_non_null(a);
    for (size_t i = 0; i < ARRAY_LEN(sparsities) * ARRAY_LEN(sparsities) * 4; i++) {
        struct postings x = random_set(&seed, sparsities[i % 5], a);
        struct postings y = random_set(&seed, sparsities[i / 5 % 5], a);
        struct postings both[] = { x, y };

        mark(x, in_x);
        mark(y, in_y);
        assert_int_equal(postings_and(x, y, a, &got), OK);
        for (size_t id = 0; id < UNIVERSE; id++)
            want[id] = in_x[id] && in_y[id];
        assert_set(got, want);
        assert_int_equal(postings_minus(x, y, a, &got), OK);
        for (size_t id = 0; id < UNIVERSE; id++)
            want[id] = in_x[id] && !in_y[id];
        assert_set(got, want);
        assert_int_equal(postings_or(both, 2, a, &got), OK);
        for (size_t id = 0; id < UNIVERSE; id++)
            want[id] = in_x[id] || in_y[id];
        assert_set(got, want);
        arena_reset(a);
    }
    arena_free(a);
}

static void a_union_takes_any_number_of_lists(void **state)
{
    struct arena *a = arena_new(0);
    uint64_t seed = 1234567;
    struct postings lists[40], got;
    bool in[UNIVERSE];

    (void)state;
    assert_non_null(a);
    for (size_t n = 0; n <= ARRAY_LEN(lists); n++) {
        bool want[UNIVERSE] = { false };

        for (size_t i = 0; i < n; i++) {
            lists[i] = random_set(&seed, i % 3 ? 100 : UINT32_MAX, a);
            mark(lists[i], in);
            for (size_t id = 0; id < UNIVERSE; id++)
                want[id] |= in[id];
        }
        assert_int_equal(postings_or(lists, n, a, &got), OK);
        assert_set(got, want);
        arena_reset(a);
    }
    arena_free(a);
}

static void a_full_arena_is_told(void **state)
{
    struct arena *plenty = arena_new(0), *tiny = arena_new(64);
    uint64_t seed = 7;
    struct postings x, y, got;

    (void)state;
    assert_true(plenty && tiny);
    x = random_set(&seed, 2, plenty);
    y = random_set(&seed, 2, plenty);
    assert_int_equal(postings_and(x, y, tiny, &got), ERR_LIMIT);
    assert_int_equal(postings_minus(x, y, tiny, &got), ERR_LIMIT);
    assert_int_equal(postings_or((struct postings[]){ x, y }, 2, tiny, &got), ERR_LIMIT);
    arena_free(plenty);
    arena_free(tiny);
}

/* ---- selecting ---- */

enum { N_SERIES = 300 };
static const char *const names[] = { "job", "env", "path" };

/* An index of series 1..N_SERIES that finds everything by looking at everything. */
struct naive_index {
    struct str values[N_SERIES + 1][ARRAY_LEN(names)]; /* empty: no such label */
    size_t n_values, n_postings;                       /* calls */
};

static struct str value_of(const struct naive_index *x, uint32_t id, struct str name)
{
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        if (str_is(name, names[k]))
            return x->values[id][k];
    return (struct str){ 0 };
}

static enum errc naive_each_value(void *ctx, struct str name,
                                  bool (*fn)(void *fn_ctx, struct str value), void *fn_ctx,
                                  struct err *err)
{
    struct naive_index *x = ctx;

    (void)err;
    x->n_values++;
    for (uint32_t id = 1; id <= N_SERIES; id++) {
        struct str value = value_of(x, id, name);
        bool seen = value.len == 0;

        for (uint32_t before = 1; before < id && !seen; before++)
            seen = str_equal(value_of(x, before, name), value);
        if (!seen) {
            char *brief = strndup(value.ptr, value.len); /* valid during the call only */
            bool go_on = fn(fn_ctx, (struct str){ brief, value.len });

            free(brief);
            if (!go_on)
                break;
        }
    }
    return OK;
}

static enum errc naive_postings(void *ctx, struct str name, struct str value, struct arena *a,
                                struct postings *out, struct err *err)
{
    struct naive_index *x = ctx;

    (void)err;
    x->n_postings++;
    *out = (struct postings){ arena_alloc(a, N_SERIES * sizeof(uint32_t)), 0 };
    assert_non_null(out->ids);
    for (uint32_t id = 1; id <= N_SERIES; id++)
        if (value.len > 0 && str_equal(value_of(x, id, name), value))
            out->ids[out->n++] = id;
    return OK;
}

static enum errc naive_all(void *ctx, struct arena *a, struct postings *out, struct err *err)
{
    (void)ctx;
    (void)err;
    *out = (struct postings){ arena_alloc(a, N_SERIES * sizeof(uint32_t)), N_SERIES };
    assert_non_null(out->ids);
    for (uint32_t id = 1; id <= N_SERIES; id++)
        out->ids[id - 1] = id;
    return OK;
}

static struct index_source source_of(struct naive_index *x)
{
    return (struct index_source){
        .ctx = x, .each_value = naive_each_value, .postings = naive_postings, .all = naive_all
    };
}

static void fill_index(struct naive_index *x, uint64_t *seed)
{
    static const char *const values[] = { "", "a", "b", "ab", "a.b", "prod", "production" };

    memset(x, 0, sizeof *x);
    for (uint32_t id = 1; id <= N_SERIES; id++)
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            x->values[id][k] = str_from(values[next_random(seed) % ARRAY_LEN(values)]);
}

static struct matcher must_match(enum match_op op, const char *name, const char *value,
                                 struct arena *a)
{
    struct err err = err_in(a);
    struct matcher m = { 0 };

    if (matcher_init(&m, op, str_from(name), str_from(value), a, &err) != OK)
        fail_msg("%s", err_text(&err));
    return m;
}

static struct matcher random_matcher(uint64_t *seed, struct arena *a)
{
    static const char *const texts[] = { "", "a", "b", "prod", "absent" };
    static const char *const patterns[] = { "",       "a",      "a|b",   "a|b|absent",
                                            "a|",     ".*",     ".+",    "a.*b",
                                            "prod.*", "(a|b)+", "[^a]*", "absent|b|b" };
    enum match_op op = (enum match_op)(next_random(seed) % 4);
    const char *name = next_random(seed) % 8 ? names[next_random(seed) % 3] : "unknown";

    return must_match(op, name,
                      op == MATCH_EQ || op == MATCH_NE
                          ? texts[next_random(seed) % ARRAY_LEN(texts)]
                          : patterns[next_random(seed) % ARRAY_LEN(patterns)],
                      a);
}

static void selection_agrees_with_looking_at_every_series(void **state)
{
    static struct naive_index x;
    struct arena *a = arena_new(0);
    uint64_t seed = 424242;

    (void)state;
    assert_non_null(a);
    fill_index(&x, &seed);
    for (int round = 0; round < 1500; round++) {
        struct index_source index = source_of(&x);
        struct matcher matchers[4];
        size_t n = next_random(&seed) % (ARRAY_LEN(matchers) + 1), at = 0;
        struct postings got;
        struct err err = err_in(a);

        for (size_t i = 0; i < n; i++)
            matchers[i] = random_matcher(&seed, a);
        assert_int_equal(postings_select(&index, matchers, n, a, &got, &err), OK);
        for (uint32_t id = 1; id <= N_SERIES; id++) {
            bool want = true;
            enum errc rc = OK;

            for (size_t i = 0; i < n; i++)
                want &= matcher_matches(&matchers[i], value_of(&x, id, matchers[i].name), &rc);
            assert_int_equal(rc, OK);
            assert_int_equal(at < got.n && got.ids[at] == id, want);
            at += want;
        }
        assert_int_equal(at, got.n);
        for (size_t i = 0; i < n; i++)
            matcher_free(&matchers[i]);
        arena_reset(a);
    }
    arena_free(a);
}

static void values_are_walked_only_when_needed(void **state)
{
    static const struct {
        enum match_op op;
        const char *value;
        size_t n_values; /* walks */
    } cases[] = {
        { MATCH_EQ, "a", 0 },   { MATCH_NE, "a", 0 },    { MATCH_EQ, "", 1 },
        { MATCH_NE, "", 1 },    { MATCH_RE, "a|b", 0 },  { MATCH_NRE, "a|b", 0 },
        { MATCH_RE, "a.*", 1 }, { MATCH_NRE, "a.*", 1 }, { MATCH_RE, "a|", 1 },
    };
    static struct naive_index x;
    struct arena *a = arena_new(0);
    uint64_t seed = 5;

    (void)state;
    assert_non_null(a);
    fill_index(&x, &seed);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct index_source index = source_of(&x);
        struct matcher m = must_match(cases[i].op, "job", cases[i].value, a);
        struct postings got;

        x.n_values = 0;
        assert_int_equal(postings_select(&index, &m, 1, a, &got, NULL), OK);
        assert_int_equal(x.n_values, cases[i].n_values);
        matcher_free(&m);
    }
    arena_free(a);
}

static void an_empty_list_ends_the_search(void **state)
{
    static struct naive_index x;
    struct arena *a = arena_new(0);
    struct index_source index = source_of(&x);
    uint64_t seed = 5;
    struct postings got;

    (void)state;
    assert_non_null(a);
    fill_index(&x, &seed);
    struct matcher matchers[] = { must_match(MATCH_RE, "env", "pro.*", a),
                                  must_match(MATCH_NE, "path", "a", a),
                                  must_match(MATCH_EQ, "job", "absent", a) };

    assert_int_equal(postings_select(&index, matchers, 3, a, &got, NULL), OK);
    assert_int_equal(got.n, 0);
    assert_int_equal(x.n_values, 0);
    assert_int_equal(x.n_postings, 1);
    for (size_t i = 0; i < ARRAY_LEN(matchers); i++)
        matcher_free(&matchers[i]);
    arena_free(a);
}

static enum errc broken_postings(void *ctx, struct str name, struct str value, struct arena *a,
                                 struct postings *out, struct err *err)
{
    (void)ctx;
    (void)name;
    (void)value;
    (void)a;
    (void)out;
    return err_set(err, ERR_CORRUPT, 0, "postings are damaged");
}

static void errors_of_the_index_are_handed_on(void **state)
{
    static struct naive_index x;
    struct arena *a = arena_new(0), *tiny = arena_new(100);
    struct index_source index = source_of(&x);
    uint64_t seed = 5;
    struct postings got;
    struct err err;

    (void)state;
    assert_true(a && tiny);
    fill_index(&x, &seed);
    err = err_in(a);
    struct matcher every = must_match(MATCH_NE, "job", "", a),
                   one = must_match(MATCH_NE, "job", "a", a);

    index.postings = broken_postings;
    assert_int_equal(postings_select(&index, &every, 1, a, &got, &err), ERR_CORRUPT);
    assert_string_equal(err.msg, "postings are damaged");
    assert_int_equal(postings_select(&index, &one, 1, a, &got, &err), ERR_CORRUPT);
    assert_int_equal(postings_select(&index, &every, 1, tiny, &got, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "job"));
    matcher_free(&every);
    matcher_free(&one);
    arena_free(a);
    arena_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_operations_agree_with_naive_ones),
        cmocka_unit_test(a_union_takes_any_number_of_lists),
        cmocka_unit_test(a_full_arena_is_told),
        cmocka_unit_test(selection_agrees_with_looking_at_every_series),
        cmocka_unit_test(values_are_walked_only_when_needed),
        cmocka_unit_test(an_empty_list_ends_the_search),
        cmocka_unit_test(errors_of_the_index_are_handed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
