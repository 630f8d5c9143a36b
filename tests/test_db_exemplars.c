/* Exemplars: what is kept of them, in memory, on disk and after a crash, and how they are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db_tools.h"
#include "storage/exemplar_store.h"

/* Appends an exemplar to series name{}, with the label trace_id if it is not NULL, and nothing
 * else. */
static struct write_result append_exemplar(struct db *db, const char *name, int64_t t_ms, double v,
                                           const char *trace_id)
{
    struct label label = { METRIC_NAME, str_from(name) };
    struct label own = { STR("trace_id"), str_from(trace_id) };
    struct exemplar e = { { &own, trace_id != NULL }, v, t_ms };
    struct write_series series = { .labels = &label, .n_labels = 1, .n_exemplars = 1 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .exemplars = &e, .n_exemplars = 1
    };
    struct write_result res = { 0 };

    assert_int_equal(db_append(db, &batch, &res, NULL), OK);
    buf_free(&res.text);
    return res;
}

/* "name: t=v trace_id, ..." for all series whose name matches the pattern. */
static char *read_exemplars(struct db *db, const char *pattern, int64_t min_t_ms, int64_t max_t_ms)
{
    static char text[4096];
    struct arena *a = arena_new(0);
    struct exemplar_list list;
    struct matcher m;
    struct db_view *v;
    size_t at = 0;

    text[0] = '\0';
    assert_int_equal(matcher_init(&m, MATCH_RE, METRIC_NAME, str_from(pattern), a, NULL), OK);
    assert_int_equal(db_view_open(db, min_t_ms, max_t_ms, &v, NULL), OK);
    assert_int_equal(db_exemplars(v, &m, 1, min_t_ms, max_t_ms, a, &list, NULL), OK);
    for (size_t i = 0; i < list.n; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s:", i ? "; " : "",
                               STR_ARG(labels_get(list.items[i].labels, METRIC_NAME)));
        for (size_t k = 0; k < list.items[i].n; k++) {
            const struct exemplar *e = &list.items[i].exemplars[k];

            at += (size_t)snprintf(text + at, sizeof text - at, " %lld=%g %.*s", (long long)e->t_ms,
                                   e->v, STR_ARG(labels_get(e->labels, STR("trace_id"))));
        }
    }
    db_view_close(v);
    matcher_free(&m);
    arena_free(a);
    return text;
}

static void exemplars_are_found_in_memory_on_disk_and_after_a_crash(void **state)
{
    static const char expected[] = "a: 1000=1 x 2000=2 y 86400001=3 z; b: 1500=0.5 ";
    char *dir = test_folder_new(), *crashed = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sample s = { 1000, 7 };

    (void)state;
    assert_true(append_series(db, "a", &s, 1, NULL));
    assert_int_equal(append_exemplar(db, "a", 1000, 1, "x").stored_exemplars, 1);
    append_exemplar(db, "a", 2000, 2, "y");
    append_exemplar(db, "b", 1500, 0.5, NULL);
    append_exemplar(db, "a", 86400001, 3, "z"); /* the next day */
    assert_string_equal(read_exemplars(db, "a|b", INT64_MIN, INT64_MAX), expected);
    assert_string_equal(read_exemplars(db, "a", 1500, 2500), "a: 2000=2 y");
    assert_string_equal(read_exemplars(db, "c", INT64_MIN, INT64_MAX), "");
    copy_folder(dir, crashed);
    flush_db(db);
    assert_string_equal(read_exemplars(db, "a|b", INT64_MIN, INT64_MAX), expected);
    assert_string_equal(read_exemplars(db, "a", 1500, 2500), "a: 2000=2 y");
    append_exemplar(db, "a", 86400002, 4, "w");
    append_exemplar(db, "b", 1500, 0.5, NULL); /* sent again after the flush */
    for (int rewritten = 0; rewritten < 2; rewritten++) {
        db_close(db);
        db = open_db(&o);
        assert_string_equal(read_exemplars(db, "a|b", INT64_MIN, INT64_MAX),
                            "a: 1000=1 x 2000=2 y 86400001=3 z 86400002=4 w; b: 1500=0.5 ");
        assert_int_equal(db_compact(db, NULL, NULL), OK);
    }
    assert_string_equal(read_exemplars(db, "a|b", INT64_MIN, INT64_MAX),
                        "a: 1000=1 x 2000=2 y 86400001=3 z 86400002=4 w; b: 1500=0.5 ");
    db_close(db);
    o = test_db_options(crashed);
    db = open_db(&o);
    assert_string_equal(read_exemplars(db, "a|b", INT64_MIN, INT64_MAX), expected);
    db_close(db);
    test_folder_remove(dir);
    test_folder_remove(crashed);
}

static void repeats_are_ignored_and_older_ones_refused(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct write_result res;

    (void)state;
    append_exemplar(db, "a", 1000, 1, "x");
    res = append_exemplar(db, "a", 1000, 1, "x");
    assert_true(res.stored_exemplars == 1 && res.exemplars_out_of_order == 0);
    res = append_exemplar(db, "a", 1000, 0.5, "y");
    assert_true(res.stored_exemplars == 0 && res.exemplars_out_of_order == 1);
    res = append_exemplar(db, "a", 999, 2, "y");
    assert_true(res.stored_exemplars == 0 && res.exemplars_out_of_order == 1);
    res = append_exemplar(db, "a", 1000, 1, "y");
    assert_true(res.stored_exemplars == 1);
    assert_string_equal(read_exemplars(db, "a", INT64_MIN, INT64_MAX), "a: 1000=1 x 1000=1 y");
    db_close(db);
}

static void labels_have_at_most_128_code_points(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    char id[512] = "";

    (void)state;
    for (int i = 0; i < 120; i++) /* with trace_id 128 */
        strcat(id, "ä");
    assert_int_equal(append_exemplar(db, "a", 1000, 1, id).stored_exemplars, 1);
    strcat(id, "x");
    assert_int_equal(append_exemplar(db, "a", 2000, 1, id).exemplars_refused, 1);
    assert_int_equal(append_exemplar(db, "a", 2000, 1, "\xff").exemplars_refused, 1);
    assert_int_equal(append_exemplar(db, "a", 2000, 1, "y").stored_exemplars, 1);
    db_close(db);
}

/* ---- the bounds ---- */

static bool count(void *ctx, const struct stored_exemplar *e)
{
    int64_t *seen = ctx; /* how many, the time of the first and the last */

    if (seen[0]++ == 0)
        seen[1] = e->t_ms;
    seen[2] = e->t_ms;
    return true;
}

static void a_series_keeps_its_newest(void **state)
{
    struct exemplar_store *s = exemplar_store_new();
    int64_t seen[3] = { 0 };

    (void)state;
    for (int i = 0; i < 3 * EXEMPLARS_PER_SERIES; i++) {
        struct stored_exemplar e = { i, i, { (const uint8_t *)"abc", 3 } };

        assert_int_equal(exemplar_store_add(s, 7, &e), EXEMPLAR_STORED);
    }
    assert_true(exemplar_store_each(s, 7, 0, count, seen));
    assert_int_equal(seen[0], EXEMPLARS_PER_SERIES);
    assert_int_equal(seen[1], 2 * EXEMPLARS_PER_SERIES);
    assert_int_equal(seen[2], 3 * EXEMPLARS_PER_SERIES - 1);
    exemplar_store_free(s);
}

static void all_together_keep_the_newest_and_a_busy_series_drives_out_no_other(void **state)
{
    struct exemplar_store *s = exemplar_store_new();
    struct exemplar_stats stats;

    (void)state;
    for (int i = 0; i < EXEMPLARS_MAX + 500; i++) {
        struct stored_exemplar quiet = { 1, i, { 0 } }, busy = { i, i, { 0 } };

        assert_int_equal(exemplar_store_add(s, 1000000, &busy), EXEMPLAR_STORED);
        assert_int_equal(exemplar_store_add(s, (uint32_t)i, &quiet), EXEMPLAR_STORED);
    }
    exemplar_store_stats(s, &stats);
    assert_int_equal(stats.exemplars, EXEMPLARS_MAX);
    assert_int_equal(stats.newest_t_ms, EXEMPLARS_MAX + 499);
    for (uint32_t ref = 0; ref < EXEMPLARS_MAX + 500; ref++) {
        int64_t seen[3] = { 0 };

        assert_true(exemplar_store_each(s, ref, 0, count, seen));
        assert_int_equal(seen[0], ref >= 500 + EXEMPLARS_PER_SERIES);
    }
    exemplar_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exemplars_are_found_in_memory_on_disk_and_after_a_crash),
        cmocka_unit_test(repeats_are_ignored_and_older_ones_refused),
        cmocka_unit_test(labels_have_at_most_128_code_points),
        cmocka_unit_test(a_series_keeps_its_newest),
        cmocka_unit_test(all_together_keep_the_newest_and_a_busy_series_drives_out_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
