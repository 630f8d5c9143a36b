/* What the store does with native histograms and start times: beside floats, flushed, replayed. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db_tools.h"
#include "promql_load.h"

static const char lines[] =
    "mixed@st _ -1s -1s _ 1s -2s -3s\n"
    "mixed 1 2 {{sum:5 count:4 buckets:[1 2 1]}} 4 stale "
    "{{schema:-53 sum:1 count:1 custom_values:[5 10] buckets:[1]}} 7\n"
    "plain 1+1x6\n"
    "latency {{schema:3 sum:0.1 count:3 z_bucket:1 z_bucket_w:0.5 "
    "buckets:[1 1]}}+{{schema:3 sum:1 count:1 z_bucket_w:0.5 buckets:[1]}}x6\n";

/* Checks what db says of lines; the first value is at 0. */
static void check_lines(struct db *db)
{
    struct column c = read_series(db, "mixed", INT64_MIN, INT64_MAX);
    static const int64_t starts[] = { 0, 14000, 29000, 0, 61000, 73000, 87000 };

    assert_int_equal(c.n, 7);
    assert_non_null(c.h);
    assert_non_null(c.start_ms);
    for (size_t i = 0; i < c.n; i++) {
        assert_true(c.t_ms[i] == (int64_t)i * 15000);
        assert_int_equal(c.start_ms[i], starts[i]);
        assert_int_equal(c.h[i] != NULL, i == 2 || i == 5);
    }
    assert_true(c.v[2] == 5 && c.h[2]->count == 4 && c.h[2]->positive.counts[1] == 2);
    assert_true(is_stale(c.v[4]));
    assert_int_equal(c.h[5]->schema, HISTOGRAM_CUSTOM_SCHEMA);
    assert_true(c.h[5]->n_custom == 2 && c.h[5]->custom[1] == 10);
    column_free(&c);

    c = read_series(db, "plain", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 7);
    assert_true(!c.h && !c.start_ms);
    column_free(&c);

    c = read_series(db, "latency", 15000, 75000);
    assert_int_equal(c.n, 5);
    assert_true(c.h[4]->count == 8 && c.h[4]->positive.counts[0] == 6 && c.h[4]->zero_count == 1);
    column_free(&c);
}

static void kinds_live_together_in_memory_and_on_disk(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);

    (void)state;
    load_series(db, 15000, lines);
    check_lines(db);
    flush_db(db);
    check_lines(db);
    db_close(db);
    db = open_db(&o);
    check_lines(db);
    db_close(db);
    test_folder_remove(dir);
}

static void the_log_brings_them_back(void **state)
{
    char *dir = test_folder_new(), *crashed = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);

    (void)state;
    load_series(db, 15000, lines);
    copy_folder(dir, crashed);
    db_close(db);
    o = test_db_options(crashed);
    db = open_db(&o);
    check_lines(db);
    flush_db(db);
    check_lines(db);
    db_close(db);
    test_folder_remove(dir);
    test_folder_remove(crashed);
}

/* Appends one histogram to series h{}, whose only bucket has count observations. */
static bool append_histogram(struct db *db, int64_t t_ms, double count, struct write_result *res)
{
    struct label label = { METRIC_NAME, STR("h") };
    struct histogram_span span = { 0, 1 };
    struct write_histogram h = {
        .t_ms = t_ms,
        .h = { .is_integer = true, .count = count, .sum = 1, .positive = { &span, &count, 1, 1 } }
    };
    struct write_series series = { .labels = &label, .n_labels = 1, .n_histograms = 1 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = &h, .n_histograms = 1
    };

    *res = (struct write_result){ 0 };
    return db_append(db, &batch, res, NULL) == OK;
}

static void late_histograms_are_read_in_order(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct sample s = { (i * 77) % 200 * 10, i };
        struct write_result res;

        if (i % 2)
            assert_true(append_series(db, "h", &s, 1, NULL));
        else
            assert_true(append_histogram(db, s.t_ms, i, &res));
        if (i == 60)
            flush_db(db);
    }
    for (int flushed = 0; flushed < 2; flushed++) {
        struct column c = read_series(db, "h", INT64_MIN, INT64_MAX);

        assert_int_equal(c.n, 200);
        for (int i = 0; i < 200; i++) {
            size_t at = (size_t)((i * 77) % 200);

            assert_true(c.t_ms[at] == (int64_t)at * 10);
            assert_true(i % 2 ? !c.h[at] && c.v[at] == i : c.h[at]->count == i);
        }
        column_free(&c);
        flush_db(db);
    }
    db_close(db);
    test_folder_remove(dir);
}

static void a_time_has_one_sample_of_either_kind(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct sample s = { 1000, 1 };
    struct write_result res = { 0 };

    (void)state;
    assert_true(append_histogram(db, 1000, 5, &res));
    assert_true(res.stored == 1 && res.stored_histograms == 1);
    assert_true(append_histogram(db, 1000, 5, &res)); /* the same again */
    assert_true(res.stored == 1 && res.rejected[DB_REJECT_DUPLICATE] == 0);
    assert_true(append_histogram(db, 1000, 6, &res));
    assert_true(res.stored == 0 && res.rejected[DB_REJECT_DUPLICATE] == 1);
    buf_free(&res.text);

    res = (struct write_result){ 0 };
    assert_true(append_series(db, "h", &s, 1, &res));
    assert_int_equal(res.rejected[DB_REJECT_DUPLICATE], 1);
    buf_free(&res.text);
    s.t_ms = 2000;
    assert_true(append_series(db, "h", &s, 1, NULL));
    assert_true(append_histogram(db, 2000, 6, &res));
    assert_int_equal(res.rejected[DB_REJECT_DUPLICATE], 1);
    buf_free(&res.text);
    db_close(db);
}

static void histograms_that_contradict_themselves_are_refused_and_named(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct label label = { METRIC_NAME, STR("h") };
    struct write_histogram h[2] = { { .t_ms = 5, .h = { .schema = 9 } }, { .t_ms = 7 } };
    struct write_series series = { .labels = &label, .n_labels = 1, .n_histograms = 2 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = h, .n_histograms = 2
    };
    struct write_result res = { 0 };

    (void)state;
    assert_int_equal(db_append(db, &batch, &res, NULL), OK);
    assert_true(res.stored == 1 && res.rejected[DB_REJECT_HISTOGRAM] == 1);
    assert_int_equal(series.n_rejected, 1);
    buf_u8(&res.text, 0);
    assert_non_null(strstr((const char *)res.text.ptr, "invalid schema"));
    assert_non_null(strstr((const char *)res.text.ptr, "at time 5 ms in series h"));
    buf_free(&res.text);
    db_close(db);
}

static void a_staleness_marker_with_observations_does_not_stop_the_flush(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct label label = { METRIC_NAME, STR("h") };
    struct write_histogram h = { .t_ms = 2000,
                                 .h = { .is_integer = true, .count = 0x1p60, .sum = stale_nan() } };
    struct write_series series = { .labels = &label, .n_labels = 1, .n_histograms = 1 };
    struct write_batch batch = {
        .series = &series, .n_series = 1, .histograms = &h, .n_histograms = 1
    };
    struct write_result res = { 0 };
    struct column c;

    (void)state;
    assert_true(append_histogram(db, 1000, 5, &res));
    assert_int_equal(db_append(db, &batch, &res, NULL), OK);
    assert_true(res.stored == 1 && res.rejected[DB_REJECT_HISTOGRAM] == 1);
    buf_free(&res.text);
    assert_true(append_histogram(db, 3000, 7, &res));
    flush_db(db);
    c = read_series(db, "h", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 2);
    assert_true(c.h[1]->count == 7);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

/* ---- several senders ---- */

enum { N_SENDERS = 4, N_EACH = 300 };

struct sender {
    pthread_t thread;
    struct db *db;
    int number;
    uint64_t stored, duplicates;
};

/* Sends floats and histograms of a series that all senders share, each at times of its own, with some
 * late and some repeated; and at time 0 what all disagree about. */
static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (int i = 0; i < N_EACH; i++) {
        int at = i % 3 == 2 ? i - 2 : i; /* every third again */
        int64_t t_ms = (int64_t)((at * 37) % N_EACH * N_SENDERS + s->number) * 10 + 10;
        struct sample sample = { t_ms, at };
        struct write_result res = { 0 };

        if (at % 2)
            assert_true(append_series(s->db, "h", &sample, 1, &res));
        else
            assert_true(append_histogram(s->db, t_ms, at, &res));
        s->stored += res.stored;
        buf_free(&res.text);
    }
    for (int i = 0; i < 2; i++) {
        struct write_result res = { 0 };

        assert_true(append_histogram(s->db, 0, s->number, &res));
        s->stored += res.stored;
        s->duplicates += res.rejected[DB_REJECT_DUPLICATE];
        buf_free(&res.text);
    }
    return NULL;
}

static void several_senders_write_one_series(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sender senders[N_SENDERS];
    uint64_t stored = 0, duplicates = 0;
    struct db_stats stats;
    struct column c;

    (void)state;
    for (int i = 0; i < N_SENDERS; i++) {
        senders[i] = (struct sender){ .db = db, .number = i };
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    flush_db(db);
    for (int i = 0; i < N_SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        stored += senders[i].stored;
        duplicates += senders[i].duplicates;
    }
    db_stats(db, &stats);
    assert_int_equal(stats.samples_appended, stored);
    assert_int_equal(stats.samples_rejected[DB_REJECT_DUPLICATE], duplicates);
    /* of the four values at time 0 the first that was logged is read */
    c = read_series(db, "h", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 1 + N_SENDERS * N_EACH * 2 / 3);
    for (size_t i = 1; i < c.n; i++)
        assert_true(c.t_ms[i - 1] < c.t_ms[i]);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_live_together_in_memory_and_on_disk),
        cmocka_unit_test(the_log_brings_them_back),
        cmocka_unit_test(late_histograms_are_read_in_order),
        cmocka_unit_test(a_time_has_one_sample_of_either_kind),
        cmocka_unit_test(histograms_that_contradict_themselves_are_refused_and_named),
        cmocka_unit_test(a_staleness_marker_with_observations_does_not_stop_the_flush),
        cmocka_unit_test(several_senders_write_one_series),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
