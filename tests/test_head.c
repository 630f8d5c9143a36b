#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/head.h"
#include "storage/head_run.h"

static uint32_t resolve(struct head *h, const char *instance)
{
    struct label items[2] = { { METRIC_NAME, { "up", 2 } },
                              { { "instance", 8 }, str_from(instance) } };
    struct labels ls = { items, 2 };
    uint32_t ref = HEAD_NO_SERIES;

    assert_int_equal(head_resolve(h, &ls, 1, UINT64_MAX, &ref, NULL), OK);
    return ref;
}

static void a_label_set_has_one_ref(void **state)
{
    struct head *h = head_new();
    uint32_t a = resolve(h, "a"), b = resolve(h, "b");

    (void)state;
    assert_int_not_equal(a, b);
    assert_int_equal(resolve(h, "a"), a);
    assert_int_equal(resolve(h, "b"), b);
    head_free(h);
}

static void the_same_new_series_twice_in_a_request_is_one(void **state)
{
    struct head *h = head_new();
    struct label items[1] = { { METRIC_NAME, { "up", 2 } } };
    struct labels sets[3] = { { items, 1 }, { NULL, 0 }, { items, 1 } };
    uint32_t refs[3] = { HEAD_NO_SERIES, HEAD_NO_SERIES, HEAD_NO_SERIES };

    (void)state;
    assert_int_equal(head_resolve(h, sets, 3, UINT64_MAX, refs, NULL), OK);
    assert_int_equal(refs[0], refs[2]);
    assert_int_equal(refs[1], HEAD_NO_SERIES);
    head_free(h);
}

static void no_series_is_created_when_none_may_be(void **state)
{
    struct head *h = head_new();
    uint32_t known = resolve(h, "a"), refs[2] = { HEAD_NO_SERIES, HEAD_NO_SERIES };
    struct label a[2] = { { METRIC_NAME, STR("up") }, { STR("instance"), STR("a") } };
    struct label b[2] = { { METRIC_NAME, STR("up") }, { STR("instance"), STR("b") } };
    struct labels sets[2] = { { b, 2 }, { a, 2 } };
    struct head_stats before, after;

    (void)state;
    head_stats(h, &before);
    assert_int_equal(head_resolve(h, sets, 2, 0, refs, NULL), OK);
    assert_int_equal(refs[0], HEAD_NO_SERIES);
    assert_int_equal(refs[1], known);
    head_stats(h, &after);
    assert_int_equal(after.series, 1);
    assert_true(before.index_bytes > 0 && after.index_bytes == before.index_bytes);
    head_free(h);
}

/* Whatever followed before: in another order, with gaps, and with sets that are not canonical. */
static void known_series_are_recognised_in_any_order(void **state)
{
    enum { N = 4, UNKNOWN = N, UNSORTED, EMPTY };
    static const int orders[][6] = {
        { 0, 1, 2, 3, 0, 1 },       { 0, 1, 2, 3, 0, 1 }, { 3, 2, 1, 0, 3, 3 },
        { 0, UNKNOWN, 1, 2, 3, 0 }, { 0, 1, 2, 3, 0, 1 }, { UNSORTED, 0, EMPTY, 1, UNSORTED, 1 },
    };
    static const char *const instances[] = { "a", "b", "c", "d", "e" };
    struct head *h = head_new();
    struct label items[UNSORTED + 1][2];
    uint32_t known[N];
    struct buf key = { 0 };

    (void)state;
    for (int i = 0; i < N; i++)
        known[i] = resolve(h, instances[i]);
    for (int i = 0; i <= UNKNOWN; i++) {
        items[i][0] = (struct label){ METRIC_NAME, STR("up") };
        items[i][1] = (struct label){ STR("instance"), str_from(instances[i]) };
    }
    items[UNSORTED][0] = items[0][1];
    items[UNSORTED][1] = items[0][0];
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        struct labels sets[6];
        uint32_t refs[6], last = HEAD_NO_SERIES;

        for (size_t i = 0; i < 6; i++)
            sets[i] = orders[o][i] == EMPTY ? (struct labels){ 0 }
                                            : (struct labels){ items[orders[o][i]], 2 };
        head_lock_index(h);
        for (size_t i = 0; i < 6; i++)
            refs[i] = head_recognise(h, &last, sets[i], &key);
        head_unlock_index(h);
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(refs[i], orders[o][i] < N ? known[orders[o][i]] : HEAD_NO_SERIES);
    }
    buf_free(&key);
    head_free(h);
}

static void repeats_are_told_from_duplicates(void **state)
{
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a");
    static const struct {
        struct sample s;
        enum append_result expected;
    } cases[] = {
        { { 10, 1 }, APPEND_STORED },     { { 10, 1 }, APPEND_REPEAT },
        { { 10, 2 }, APPEND_DUPLICATE },  { { 20, 2 }, APPEND_STORED },
        { { 15, 3 }, APPEND_STORED },     { { 15, 3 }, APPEND_REPEAT },
        { { 15, 4 }, APPEND_DUPLICATE },  { { 10, 1 }, APPEND_REPEAT },
        { { 10, -1 }, APPEND_DUPLICATE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(head_append(h, ref, cases[i].s), cases[i].expected);
    head_free(h);
}

static void freezing_keeps_every_sample_readable_once(void **state)
{
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a");
    struct column c = { 0 };
    bool overlaps = false;

    (void)state;
    assert_int_equal(head_append(h, ref, (struct sample){ 10, 1 }), APPEND_STORED);
    head_freeze(h, 5);
    assert_int_equal(head_append(h, ref, (struct sample){ 10, 1 }), APPEND_REPEAT);
    assert_int_equal(head_append(h, ref, (struct sample){ 20, 2 }), APPEND_STORED);
    assert_int_equal(head_read(h, ref, 0, 100, 4, &c, &overlaps), OK);
    assert_int_equal(c.n, 2);
    c.n = 0;
    assert_int_equal(head_read(h, ref, 0, 100, 5, &c, &overlaps),
                     OK); /* flush 5 is read from disk */
    assert_int_equal(c.n, 1);
    assert_false(overlaps);
    head_drop_frozen(h);
    c.n = 0;
    assert_int_equal(head_read(h, ref, 0, 100, 4, &c, &overlaps), OK);
    assert_int_equal(c.n, 1);
    column_free(&c);
    head_free(h);
}

static void frozen_samples_are_settled_with_the_first_of_equal_times(void **state)
{
    enum { N_LATE = 100 }; /* more than are looked through for repeats */
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a"), *refs;
    struct column c = { 0 };
    struct head_stats stats;
    bool overlaps = false;
    size_t n;

    (void)state;
    assert_int_equal(head_append(h, ref, (struct sample){ 1000, 1 }), APPEND_STORED);
    for (int round = 0; round < 2; round++)
        for (int i = N_LATE; i > 0; i--)
            assert_int_equal(head_append(h, ref, (struct sample){ i, round }), APPEND_STORED);
    head_freeze(h, 5);
    assert_int_equal(head_settle_frozen(h, &refs, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(head_read_frozen(h, ref, 90, 1000, &c), OK);
    assert_int_equal(c.n, 12);
    for (size_t i = 0; i < 11; i++)
        assert_true(c.t_ms[i] == 90 + (int64_t)i && c.v[i] == 0);
    c.n = 0;
    assert_int_equal(head_read(h, ref, 0, 2000, 4, &c, &overlaps), OK);
    assert_int_equal(c.n, N_LATE + 1);
    assert_false(overlaps);
    head_stats(h, &stats);
    assert_int_equal(stats.samples, N_LATE + 1);
    assert_int_equal(stats.bytes, RUN_FRAGMENT_BYTES + (N_LATE + 1) * sizeof(struct sample));
    assert_int_equal(head_append(h, ref, (struct sample){ 1, 7 }), APPEND_DUPLICATE);
    head_drop_frozen(h);
    head_stats(h, &stats);
    assert_int_equal(stats.bytes, 0);
    free(refs);
    column_free(&c);
    head_free(h);
}

/* After a freeze the open run is empty, but the frozen one is still known. */
static void older_samples_than_the_frozen_ones_are_late(void **state)
{
    static const struct {
        struct sample s;
        enum append_result expected;
    } cases[] = {
        { { 30, 3 }, APPEND_REPEAT },    { { 30, 4 }, APPEND_DUPLICATE },
        { { 20, 9 }, APPEND_DUPLICATE }, { { 15, 5 }, APPEND_STORED },
        { { 15, 5 }, APPEND_REPEAT },    { { 40, 4 }, APPEND_STORED },
        { { 10, 1 }, APPEND_REPEAT },    { { 35, 5 }, APPEND_STORED },
    };
    static const int all_t_ms[] = { 10, 15, 20, 30, 35, 40 };
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a");
    struct column c = { 0 };
    bool overlaps = false;

    (void)state;
    for (int i = 1; i <= 3; i++)
        assert_int_equal(head_append(h, ref, (struct sample){ i * 10, i }), APPEND_STORED);
    head_freeze(h, 5);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(head_append(h, ref, cases[i].s), cases[i].expected);
    assert_true(head_has_samples(h, ref, 15, 15, 5));
    assert_int_equal(head_read(h, ref, 0, 100, 4, &c, &overlaps), OK);
    assert_true(overlaps);
    assert_true(column_normalise(&c));
    assert_int_equal(c.n, 6);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(c.t_ms[i], all_t_ms[i]);
    head_drop_frozen(h);
    column_clear(&c);
    assert_int_equal(head_read(h, ref, 0, 100, 4, &c, &overlaps), OK);
    assert_int_equal(c.n, 3);
    column_free(&c);
    head_free(h);
}

/* The whole open run is late ones: the next freeze has them all the same. */
static void a_run_of_late_samples_alone_is_frozen_and_read(void **state)
{
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a"), *refs;
    struct column c = { 0 };
    size_t n;

    (void)state;
    assert_int_equal(head_append(h, ref, (struct sample){ 1000, 1 }), APPEND_STORED);
    head_freeze(h, 5);
    assert_int_equal(head_append(h, ref, (struct sample){ 500, 2 }), APPEND_STORED);
    head_drop_frozen(h);
    assert_int_equal(head_append(h, ref, (struct sample){ 700, 3 }), APPEND_STORED);
    head_freeze(h, 6);
    assert_int_equal(head_settle_frozen(h, &refs, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(head_read_frozen(h, ref, 0, 2000, &c), OK);
    assert_int_equal(c.n, 2);
    assert_true(c.t_ms[0] == 500 && c.t_ms[1] == 700);
    head_drop_frozen(h);
    free(refs);
    column_free(&c);
    head_free(h);
}

static void frozen_series_come_sorted_by_labels(void **state)
{
    struct head *h = head_new();
    struct arena *a = arena_new(0);
    struct labels last = { 0 };
    uint32_t *refs;
    size_t n;

    (void)state;
    for (int i = 0; i < 300; i++) {
        char name[16];

        snprintf(name, sizeof name, "i%d", i * 7919 % 300);
        assert_int_equal(head_append(h, resolve(h, name), (struct sample){ 1, 1 }), APPEND_STORED);
    }
    head_freeze(h, 1);
    assert_int_equal(head_settle_frozen(h, &refs, &n), OK);
    assert_int_equal(n, 300);
    for (size_t i = 0; i < n; i++) {
        struct labels ls;

        assert_int_equal(head_labels(h, refs[i], a, &ls, NULL), OK);
        assert_true(i == 0 || labels_cmp(last, ls) < 0);
        last = ls;
    }
    free(refs);
    arena_free(a);
    head_free(h);
}

static void a_read_includes_both_ends(void **state)
{
    static const struct {
        int64_t min_t_ms, max_t_ms;
        size_t n;
    } cases[] = {
        { INT64_MIN, INT64_MAX, 10 },
        { 10, 100, 10 },
        { 11, 99, 8 },
        { 20, 20, 1 },
        { 21, 29, 0 },
        { 30, 20, 0 },
        { 101, INT64_MAX, 0 },
        { INT64_MIN, 9, 0 },
        { 90, INT64_MAX, 2 },
        { INT64_MIN, INT64_MIN, 0 },
    };
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a"), none = resolve(h, "b");
    struct column c = { 0 };

    (void)state;
    for (int i = 1; i <= 10; i++)
        assert_int_equal(head_append(h, ref, (struct sample){ i * 10, i }), APPEND_STORED);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool overlaps = false;

        c.n = 0;
        assert_int_equal(head_read(h, ref, cases[i].min_t_ms, cases[i].max_t_ms, 0, &c, &overlaps),
                         OK);
        assert_int_equal(c.n, cases[i].n);
        for (size_t k = 0; k < c.n; k++)
            assert_true(c.t_ms[k] == (int64_t)c.v[k] * 10 && c.t_ms[k] >= cases[i].min_t_ms);
        assert_false(overlaps);
        assert_int_equal(head_read(h, none, cases[i].min_t_ms, cases[i].max_t_ms, 0, &c, &overlaps),
                         OK);
        assert_int_equal(c.n, cases[i].n);
        assert_int_equal(head_read(h, ref, cases[i].min_t_ms, cases[i].max_t_ms, 0, &c, &overlaps),
                         OK);
        assert_int_equal(overlaps, cases[i].n > 0); /* the same again is not after itself */
    }
    column_free(&c);
    head_free(h);
}

/* More series than one round of shards, and more samples of one than are added under one lock. */
static void an_appender_reaches_every_shard_and_freezing_too(void **state)
{
    enum { N_SERIES = 4500, N_SAMPLES = 1000 };
    struct head *h = head_new();
    struct head_appender a = { .head = h };
    uint32_t *refs;
    struct column c = { 0 };
    struct head_stats stats;
    bool overlaps = false;
    size_t n;

    (void)state;
    for (int i = 0; i < N_SERIES; i++) {
        char name[16];

        snprintf(name, sizeof name, "i%d", i);
        assert_int_equal(resolve(h, name), i);
    }
    for (uint32_t i = 0; i < N_SERIES; i++)
        assert_int_equal(head_appender_add(&a, i, (struct sample){ 1, i }), APPEND_STORED);
    for (int i = 2; i <= N_SAMPLES; i++)
        assert_int_equal(head_appender_add(&a, 77, (struct sample){ i, 7 }), APPEND_STORED);
    head_appender_done(&a);
    head_freeze(h, 5);
    for (uint32_t i = 0; i < N_SERIES; i++) {
        c.n = 0;
        assert_int_equal(head_read(h, i, 0, 1, 5, &c, &overlaps), OK);
        assert_int_equal(c.n, 0);
        assert_int_equal(head_read(h, i, 0, 1, 4, &c, &overlaps), OK);
        assert_true(c.n == 1 && c.v[0] == i);
    }
    assert_int_equal(head_settle_frozen(h, &refs, &n), OK);
    assert_int_equal(n, N_SERIES);
    head_drop_frozen(h);
    free(refs);
    assert_int_equal(head_settle_frozen(h, &refs, &n), OK);
    assert_int_equal(n, 0);
    head_stats(h, &stats);
    assert_true(stats.samples == 0 && stats.bytes == 0);
    free(refs);
    column_free(&c);
    head_free(h);
}

static void the_index_knows_each_pair(void **state)
{
    struct head *h = head_new();
    struct arena *a = arena_new(0);
    struct index_source x;
    struct postings p;
    uint32_t ref;

    (void)state;
    resolve(h, "a");
    ref = resolve(h, "b");
    head_lock_index(h);
    x = head_index(h);
    assert_int_equal(x.postings(x.ctx, STR("instance"), STR("b"), a, &p, NULL), OK);
    assert_true(p.n == 1 && p.ids[0] == ref);
    assert_int_equal(x.postings(x.ctx, STR("__name__"), STR("up"), a, &p, NULL), OK);
    assert_int_equal(p.n, 2);
    assert_int_equal(x.postings(x.ctx, STR("instance"), STR("up"), a, &p, NULL), OK);
    assert_int_equal(p.n, 0);
    head_unlock_index(h);
    arena_free(a);
    head_free(h);
}

/* ---- series that have ended ---- */

static bool is_known(struct head *h, const char *instance)
{
    struct label items[2] = { { METRIC_NAME, { "up", 2 } },
                              { { "instance", 8 }, str_from(instance) } };
    struct labels ls = { items, 2 };
    uint32_t last = HEAD_NO_SERIES, ref;
    struct buf key = { 0 };

    head_lock_index(h);
    ref = head_recognise(h, &last, ls, &key);
    head_unlock_index(h);
    buf_free(&key);
    return ref != HEAD_NO_SERIES;
}

static bool count_value(void *ctx, struct str value)
{
    (void)value;
    ++*(size_t *)ctx;
    return true;
}

static size_t count_instances(struct head *h)
{
    struct index_source index;
    size_t n = 0;

    head_lock_index(h);
    index = head_index(h);
    assert_int_equal(index.each_value(index.ctx, STR("instance"), count_value, &n, NULL), OK);
    head_unlock_index(h);
    return n;
}

static void series_without_samples_leave_when_nobody_finds_them(void **state)
{
    struct head *h = head_new();
    uint32_t a = resolve(h, "a");

    (void)state;
    resolve(h, "b");
    resolve(h, "c");
    assert_int_equal(head_append(h, a, (struct sample){ 1, 1 }), APPEND_STORED);
    assert_int_equal(head_sweep(h), 0);
    assert_true(is_known(h, "c"));
    assert_int_equal(head_sweep(h), 1); /* b: a has samples, and c was found */
    assert_int_equal(head_removals(h), 1);
    assert_int_equal(count_instances(h), 2);
    head_freeze(h, 1);
    assert_int_equal(head_sweep(h), 1); /* c; a's are only frozen */
    head_drop_frozen(h);
    assert_int_equal(head_sweep(h), 1);
    assert_int_equal(count_instances(h), 0);
    assert_false(is_known(h, "a") || is_known(h, "b") || is_known(h, "c"));
    assert_int_not_equal(resolve(h, "a"), a);
    assert_int_equal(count_instances(h), 1);
    head_free(h);
}

/* Refs of removed ones read as empty until the sweep after. */
static void a_removed_series_reads_as_empty(void **state)
{
    struct head *h = head_new();
    struct arena *a = arena_new(0);
    uint32_t ref = resolve(h, "a");
    struct column c = { 0 };
    bool overlaps = false;
    struct labels ls, before;

    (void)state;
    assert_int_equal(head_labels(h, ref, a, &before, NULL), OK);
    head_sweep(h);
    assert_int_equal(head_sweep(h), 1);
    assert_int_equal(head_labels(h, ref, a, &ls, NULL), OK);
    assert_int_equal(ls.n, 0);
    assert_true(str_is(before.items[1].value, "a")); /* may still be printed */
    assert_false(head_has_samples(h, ref, INT64_MIN, INT64_MAX, 0));
    assert_int_equal(head_read(h, ref, INT64_MIN, INT64_MAX, 0, &c, &overlaps), OK);
    assert_int_equal(c.n, 0);
    column_free(&c);
    arena_free(a);
    head_free(h);
}

static void an_append_under_way_keeps_its_series(void **state)
{
    struct head *h = head_new();
    uint32_t ref = resolve(h, "a"), found_at = head_tick(h), ticket;

    (void)state;
    assert_int_equal(head_sweep(h), 0);
    ticket = head_enter(h);
    assert_true(head_keep(h, &ref, 1, found_at));
    for (int i = 0; i < 5; i++)
        assert_int_equal(head_sweep(h), 0);
    head_leave(h, ticket);
    assert_int_equal(head_sweep(h), 1);
    ticket = head_enter(h);
    assert_false(head_keep(h, &ref, 1, found_at)); /* too long ago */
    head_leave(h, ticket);
    head_free(h);
}

/* Of very many, the memory goes, and what stays is found by every pair. */
static void memory_of_removed_series_is_given_back(void **state)
{
    enum { N = 5000 };
    struct head *h = head_new();
    struct arena *a = arena_new(0);
    struct head_stats full, swept, again;
    struct index_source index;
    struct postings p;
    char name[16];

    (void)state;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < N; i++) {
            snprintf(name, sizeof name, "r%d-%d", round, i);
            resolve(h, name);
        }
        resolve(h, "stays");
        if (round == 1)
            head_stats(h, &full);
        head_sweep(h);
        assert_true(is_known(h, "stays"));
    }
    head_stats(h, &again);
    assert_int_equal(again.series, N + 1);
    assert_in_range(again.index_bytes, 0, full.index_bytes);
    for (int i = 0; i < 3; i++) {
        head_sweep(h);
        assert_true(is_known(h, "stays"));
    }
    head_stats(h, &swept);
    assert_int_equal(swept.series, 1);
    assert_in_range(swept.index_bytes, 0, full.index_bytes * 3 / 4);
    head_lock_index(h);
    index = head_index(h);
    assert_int_equal(index.postings(index.ctx, METRIC_NAME, STR("up"), a, &p, NULL), OK);
    assert_int_equal(p.n, 1);
    assert_int_equal(index.all(index.ctx, a, &p, NULL), OK);
    assert_int_equal(p.n, 1);
    head_unlock_index(h);
    arena_free(a);
    head_free(h);
}

/* Behind what was flushed there may be newer samples on disk. */
static void the_newest_sample_is_known_when_none_can_be_newer(void **state)
{
    struct head *h = head_new();
    uint32_t a = resolve(h, "a"), b = resolve(h, "b");
    struct sample s = { 0 };

    (void)state;
    assert_false(head_newest(h, a, 0, 1000, &s));
    assert_int_equal(head_append(h, a, (struct sample){ 100, 1 }), APPEND_STORED);
    assert_true(head_newest(h, a, 0, 1000, &s) && s.t_ms == 100 && s.v == 1);
    assert_false(head_newest(h, a, 0, 99, &s));
    assert_false(head_newest(h, a, 101, 1000, &s));
    head_freeze(h, 1);
    head_drop_frozen(h);
    assert_int_equal(head_append(h, a, (struct sample){ 50, 2 }), APPEND_STORED);
    assert_false(head_newest(h, a, 0, 1000, &s)); /* 100 is on disk */
    assert_int_equal(head_append(h, b, (struct sample){ 110, 3 }), APPEND_STORED);
    assert_true(head_newest(h, b, 0, 1000, &s) && s.v == 3);
    head_note_flushed(h, 500);
    assert_false(head_newest(h, b, 0, 1000, &s));
    head_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_set_has_one_ref),
        cmocka_unit_test(the_same_new_series_twice_in_a_request_is_one),
        cmocka_unit_test(no_series_is_created_when_none_may_be),
        cmocka_unit_test(known_series_are_recognised_in_any_order),
        cmocka_unit_test(repeats_are_told_from_duplicates),
        cmocka_unit_test(freezing_keeps_every_sample_readable_once),
        cmocka_unit_test(frozen_samples_are_settled_with_the_first_of_equal_times),
        cmocka_unit_test(older_samples_than_the_frozen_ones_are_late),
        cmocka_unit_test(a_run_of_late_samples_alone_is_frozen_and_read),
        cmocka_unit_test(frozen_series_come_sorted_by_labels),
        cmocka_unit_test(a_read_includes_both_ends),
        cmocka_unit_test(an_appender_reaches_every_shard_and_freezing_too),
        cmocka_unit_test(the_index_knows_each_pair),
        cmocka_unit_test(series_without_samples_leave_when_nobody_finds_them),
        cmocka_unit_test(a_removed_series_reads_as_empty),
        cmocka_unit_test(an_append_under_way_keeps_its_series),
        cmocka_unit_test(memory_of_removed_series_is_given_back),
        cmocka_unit_test(the_newest_sample_is_known_when_none_can_be_newer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
