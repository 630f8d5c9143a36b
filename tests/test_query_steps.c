/* A range query is the instant query repeated: random series with gaps, and for each expression the
 * two ways of asking compared at every step, failures included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "query/query.h"
#include "storage/db.h"

#include "promql_load.h"

#include "base/banned.h"

enum { STEP_MS = 60000, N_STEPS = 40 };

static const char *const expressions[] = {
    "a",
    "-a",
    "a + 1",
    "2 ^ a",
    "a > 3",
    "3 > bool a",
    "a + b",
    "a + ignoring(n) group_left b{n=\"0\"}",
    "a * on(g) group_left(n) b{n=\"1\"}",
    "b{n=\"0\"} - on(g) group_right a",
    "a == b",
    "a > bool b",
    "a > on(g, n) b",
    "a + on(g) b",
    "a + fill(7) b",
    "a + fill_left(7) b",
    "a / fill_right(7) b",
    "a + on(g) group_left fill(3) b{n=\"0\"}",
    "a + on(g) fill(3) b",
    "a and b",
    "a or b",
    "a unless b",
    "a and on(g) b{n=\"2\"}",
    "a{n=\"0\"} or on(g) b",
    "a unless on(g) b{n=\"1\"}",
    "sum(a)",
    "sum by (g) (a)",
    "sum without (g) ({__name__=~\"a|b\"})",
    "avg by (g) (a)",
    "avg by (__name__) (-a or b)",
    "min by (g) (a)",
    "max(b)",
    "count by (n) (a)",
    "group by (n) (a)",
    "stddev(a)",
    "stdvar by (g) (a)",
    "topk(2, a)",
    "topk by (g) (1, a)",
    "bottomk(3, b)",
    "topk(scalar(count(b)) - 3, a)",
    "limitk by (g) (2, a)",
    "limit_ratio(0.5, a)",
    "quantile(0.3, a)",
    "quantile by (g) (scalar(a{g=\"x\", n=\"0\"}) / 10, b)",
    "count_values(\"v\", a)",
    "count_values by (g) (\"v\", b)",
    "scalar(a{g=\"x\", n=\"0\"})",
    "vector(scalar(sum(a)))",
    "absent(a{g=\"x\", n=\"0\"})",
    "absent(a and b)",
    "round(a / 3, 0.5)",
    "clamp(a, scalar(min(b)), scalar(max(b)))",
    "label_replace(a, \"n\", \"\", \"n\", \"[12]\")",
    "label_join(a, \"g\", \"-\", \"g\", \"n\")",
    "histogram_quantile(0.5, label_replace(a, \"le\", \"$1\", \"n\", \"(.*)\"))",
    "histogram_quantile(0.5, label_replace(label_replace(a, \"le\", \"$1\", \"n\", \"(.*)\"), "
    "\"le\", \"+Inf\", \"n\", \"2\"))",
    "histogram_fraction(0, 1, label_replace(label_replace(a, \"le\", \"$1\", \"n\", \"(.*)\"), "
    "\"le\", \"+Inf\", \"n\", \"2\"))",
    "hour(a * 3600)",
    "count_over_time((a + b)[3m:1m])",
};

/* Repeatable, and the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void print_random_series(struct buf *b, const char *name, uint64_t *random)
{
    for (int g = 0; g < 2; g++)
        for (int n = 0; n < 3; n++) {
            buf_printf(b, "%s{g=\"%c\", n=\"%d\"} ", name, 'x' + g, n);
            for (int i = 0; i < N_STEPS; i++) {
                uint32_t r = next_random(random) % 16;

                if (r < 4)
                    buf_text(b, "stale ");
                else
                    buf_printf(b, "%u ", r - 4);
            }
            buf_text(b, "\n");
        }
}

static struct db *random_db(uint64_t seed)
{
    struct db_options o = db_options_default();
    struct buf lines = { 0 };
    struct db *db;

    o.retention_ms = INT64_MAX / 4;
    assert_int_equal(db_open(&o, &db, NULL), OK);
    print_random_series(&lines, "a", &seed);
    print_random_series(&lines, "b", &seed);
    buf_u8(&lines, 0);
    load_series(db, STEP_MS, (const char *)lines.ptr);
    buf_free(&lines);
    return db;
}

/* The value that a matrix has for labels at a time, or NULL. */
static const struct point *find_point(const struct query_result *r, struct labels ls, int64_t t_ms)
{
    for (size_t i = 0; i < r->n_series; i++) {
        if (!labels_equal(r->series[i].labels, ls))
            continue;
        for (size_t j = 0; j < r->series[i].n_points; j++)
            if (r->series[i].points[j].t_ms == t_ms)
                return &r->series[i].points[j];
    }
    return NULL;
}

static size_t count_points(const struct query_result *r, int64_t t_ms)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_series; i++)
        for (size_t j = 0; j < r->series[i].n_points; j++)
            n += r->series[i].points[j].t_ms == t_ms;
    return n;
}

static bool same_value(double a, double b)
{
    return a == b || (a != a && b != b);
}

static void compare_step(const char *text, const struct query_result *range,
                         const struct query_result *instant, int64_t t_ms)
{
    if (count_points(range, t_ms) != instant->n_series)
        fail_msg("%s at %lld: %zu series, in the range %zu", text, (long long)t_ms,
                 instant->n_series, count_points(range, t_ms));
    for (size_t i = 0; i < instant->n_series; i++) {
        const struct point *p = find_point(range, instant->series[i].labels, t_ms);

        if (!p || !same_value(p->v, instant->series[i].points[0].v))
            fail_msg("%s at %lld: series %zu is missing or differs in the range", text,
                     (long long)t_ms, i);
    }
}

static void compare_expression(struct db *db, const char *text)
{
    const struct query_options o = query_options_default(db);
    struct query_result *range = NULL;
    enum errc range_rc, first = OK;

    range_rc = query_range(&o, str_from(text), 0, (N_STEPS - 1) * STEP_MS, STEP_MS, &range, NULL);
    for (int64_t i = 0; i < N_STEPS; i++) {
        struct query_result *instant = NULL;
        enum errc rc = query_instant(&o, str_from(text), i * STEP_MS, &instant, NULL);

        if (rc == OK && range_rc == OK)
            compare_step(text, range, instant, i * STEP_MS);
        if (rc != OK && first == OK)
            first = rc;
        query_result_free(instant);
    }
    if (range_rc != first)
        fail_msg("%s: the range query gives %s, instant queries %s", text, errc_text(range_rc),
                 errc_text(first));
    assert_true(first == OK || first == ERR_EXECUTION);
    query_result_free(range);
}

static void a_range_query_repeats_the_instant_query(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct db *db = random_db(seed);

        for (size_t i = 0; i < ARRAY_LEN(expressions); i++)
            compare_expression(db, expressions[i]);
        db_close(db);
    }
}

static enum errc range_over_seconds(const struct query_options *o, const char *text, uint64_t *peak)
{
    struct query_result *r = NULL;
    enum errc rc = query_range(o, str_from(text), 0, 2400000, 1000, &r, NULL);

    if (rc == OK)
        *peak = r->peak_samples;
    query_result_free(r);
    return rc;
}

/* The peak is what is held at once: as a limit it lets the query pass, one less does not. */
static void the_sample_limit_is_the_peak(void **state)
{
    struct db *db = random_db(1);
    size_t n_checked = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expressions); i++) {
        struct query_options o = query_options_default(db);
        uint64_t peak;

        if (range_over_seconds(&o, expressions[i], &peak) != OK || peak < 2401)
            continue; /* fewer samples than steps are refused in any case */
        o.max_samples = peak;
        assert_int_equal(range_over_seconds(&o, expressions[i], &peak), OK);
        o.max_samples = peak - 1;
        assert_int_equal(range_over_seconds(&o, expressions[i], &peak), ERR_LIMIT);
        n_checked++;
    }
    assert_true(n_checked > ARRAY_LEN(expressions) / 2);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_query_repeats_the_instant_query),
        cmocka_unit_test(the_sample_limit_is_the_peak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
