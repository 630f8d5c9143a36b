/* The store as a whole, in memory and on disk: what was appended is read back, whatever happens in
 * between. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/log.h"
#include "db_tools.h"
#include "storage/db.h"
#include "storage/db_private.h"
#include "storage/manifest.h"
#include "storage/wal_pool.h"

enum { T0 = 1700000000 }; /* seconds */

/* ---- a model: what the store must hold ---- */

enum { N_SERIES = 12, N_SLOTS = 4000, SLOT_MS = 60000 };

struct model {
    double v[N_SERIES][N_SLOTS];
    bool has[N_SERIES][N_SLOTS];
};

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

static const char *series_name(int i)
{
    static char name[32];

    snprintf(name, sizeof name, "m%d job=j%d", i % 3, i);
    return name;
}

static int64_t slot_time(int slot)
{
    return (int64_t)T0 * 1000 + (int64_t)slot * SLOT_MS;
}

/* Appends up to 50 samples in some order; sometimes one that is there already, with the same bits
 * or others. */
static void append_some(struct db *db, struct model *m)
{
    struct sample samples[50];
    int series = (int)rng(N_SERIES);
    size_t n = 0, count = 1 + rng(50);

    while (n < count) {
        int slot = (int)rng(N_SLOTS);
        double v = rng(20) == 0 ? stale_nan() : (double)rng(1000) / 7;

        if (m->has[series][slot])
            v = m->v[series][slot]; /* a repeat: the same bits */
        m->has[series][slot] = true;
        m->v[series][slot] = v;
        samples[n++] = (struct sample){ slot_time(slot), v };
    }
    assert_true(append_series(db, series_name(series), samples, n, NULL));
}

static void assert_equals_model(struct db *db, const struct model *m)
{
    for (int i = 0; i < N_SERIES; i++) {
        struct column c = read_series(db, series_name(i), INT64_MIN, INT64_MAX);
        size_t at = 0;

        for (int slot = 0; slot < N_SLOTS; slot++) {
            if (!m->has[i][slot])
                continue;
            assert_true(at < c.n);
            assert_int_equal(c.t_ms[at], slot_time(slot));
            assert_int_equal(f64_bits(c.v[at]), f64_bits(m->v[i][slot]));
            at++;
        }
        assert_int_equal(at, c.n);
        column_free(&c);
    }
}

static void samples_in_any_order_are_read_in_order(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 1;
    for (int i = 0; i < 300; i++)
        append_some(db, m);
    assert_equals_model(db, m);
    free(m);
    db_close(db);
}

static void flushes_and_restarts_change_nothing(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 2;
    for (int i = 0; i < 400; i++) {
        append_some(db, m);
        if (rng(40) == 0)
            flush_db(db);
        if (rng(60) == 0) {
            db_close(db);
            db = open_db(&o);
        }
        if (rng(100) == 0)
            assert_equals_model(db, m);
    }
    assert_equals_model(db, m);
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

static void a_copy_taken_at_any_time_recovers(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct model *m = calloc(1, sizeof *m);

    (void)state;
    rng_state = 3;
    for (int i = 0; i < 12; i++) {
        char *copy = test_folder_new();
        struct db_options other = test_db_options(copy);
        struct db *recovered;

        for (int k = 0; k < 10; k++)
            append_some(db, m);
        if (i % 3 == 1)
            flush_db(db);
        copy_folder(dir, copy);
        recovered = open_db(&other);
        assert_equals_model(recovered, m);
        append_some(recovered, m); /* and goes on */
        db_close(recovered);
        recovered = open_db(&other);
        assert_equals_model(recovered, m);
        db_close(recovered);
        /* the original has not seen the last append */
        db_close(db);
        test_folder_remove(dir);
        dir = copy;
        o = other;
        db = open_db(&o);
    }
    db_close(db);
    free(m);
    test_folder_remove(dir);
}

/* Puts dir in the state of a process that died after its flush had written the days, before it was published: the days
 * of flushed, the log of before, and a MANIFEST that only notes that the flush had begun. */
static void die_unpublished(const char *dir, const char *before, const char *flushed)
{
    struct manifest old = { 0 }, m = { 0 };
    char command[2048];

    copy_folder(flushed, dir);
    snprintf(command, sizeof command, "rm -rf '%s/log' && cp -a '%s/log' '%s/log'", dir, before,
             dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(manifest_load(before, &old, NULL), OK);
    assert_int_equal(manifest_load(flushed, &m, NULL), OK);
    m.released = old.released;
    assert_int_equal(manifest_save(dir, &m, NULL), OK);
    manifest_free(&old);
    manifest_free(&m);
}

static void assert_holds(const struct db_options *o, const struct sample *samples, size_t n)
{
    struct db *db = open_db(o);
    struct column c = read_series(db, "m", INT64_MIN, INT64_MAX);

    assert_int_equal(c.n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(c.t_ms[i] == samples[i].t_ms && c.v[i] == samples[i].v);
    column_free(&c);
    db_close(db);
}

/* The flush that died was of a generation without records: the restart had only replayed. Its number must not be given to
 * a generation again, whose samples would pass for flushed ones. */
static void a_flush_that_died_unpublished_hides_no_later_sample(void **state)
{
    char *first = test_folder_new(), *before = test_folder_new(), *flushed = test_folder_new();
    char *died = test_folder_new(), *last = test_folder_new();
    struct db_options o_first = test_db_options(first), o_flushed = test_db_options(flushed);
    struct db_options o_died = test_db_options(died), o_last = test_db_options(last);
    struct sample s[] = { { T0 * 1000LL, 1 }, { T0 * 1000LL + 1, 2 }, { T0 * 1000LL + 2, 3 } };
    struct db *db = open_db(&o_first);

    (void)state;
    assert_true(append_series(db, "m", &s[0], 1, NULL));
    flush_db(db);
    assert_true(append_series(db, "m", &s[1], 1, NULL));
    copy_folder(first, before);
    copy_folder(first, flushed);
    db_close(db);
    db = open_db(&o_flushed);
    flush_db(db);
    db_close(db);
    die_unpublished(died, before, flushed);

    db = open_db(&o_died);
    assert_true(append_series(db, "m", &s[2], 1, NULL));
    copy_folder(died, last);
    db_close(db);
    assert_holds(&o_died, s, 3);
    assert_holds(&o_last, s, 3);
    test_folder_remove(first);
    test_folder_remove(before);
    test_folder_remove(flushed);
    test_folder_remove(died);
    test_folder_remove(last);
}

static void a_view_keeps_seeing_each_sample_once_across_a_flush(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sample before[] = { { T0 * 1000LL, 1 }, { T0 * 1000LL + 1, 2 } };
    struct sample after[] = { { T0 * 1000LL + 2, 3 } };
    struct column c;

    (void)state;
    assert_true(append_series(db, "m", before, 2, NULL));
    flush_db(db);
    assert_true(append_series(db, "m", after, 1, NULL));
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 3);
    column_free(&c);
    flush_db(db);
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 3);
    column_free(&c);
    c = read_series(db, "m", T0 * 1000LL + 1, T0 * 1000LL + 1);
    assert_int_equal(c.n, 1);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

/* The disk after a crash between the commit of a day and the publishing of its flush: the log and
 * MANIFEST of before, the day file of after. */
static void a_day_committed_by_an_unpublished_flush_is_seen_at_once(void **state)
{
    char *dir = test_folder_new(), *crashed = test_folder_new(), *copied = NULL;
    struct db_options o = test_db_options(dir), other = test_db_options(crashed);
    struct db *db = open_db(&o);
    struct column c;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sample s = { T0 * 1000LL + i, i };

        assert_true(append_series(db, "m", &s, 1, NULL));
        if (i == 0)
            flush_db(db);
    }
    copy_folder(dir, crashed);
    flush_db(db);
    assert_true(asprintf(&copied, "cp -a '%s'/days/*.mdb '%s'/days/", dir, crashed) > 0);
    assert_int_equal(system(copied), 0);
    db_close(db);
    db = open_db(&other);
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 2);
    column_free(&c);
    db_close(db);
    free(copied);
    test_folder_remove(crashed);
    test_folder_remove(dir);
}

/* ---- a log that fails ---- */

struct bad_disk {
    struct wal_io io;
    atomic_bool fails;
};

static int sync_unless_bad(void *ctx, int fd)
{
    struct bad_disk *disk = ctx;

    if (!atomic_load(&disk->fails))
        return wal_io_system.fdatasync(wal_io_system.ctx, fd);
    errno = EIO;
    return -1;
}

static enum errc append_one(struct db *db, int64_t t_ms, struct err *err)
{
    struct label name = { METRIC_NAME, STR("m") };
    struct write_series s = { .labels = &name, .n_labels = 1, .n_samples = 1 };
    struct sample sample = { t_ms, 1 };
    struct write_batch b = { .series = &s, .n_series = 1, .samples = &sample, .n_samples = 1 };
    struct write_result res = { 0 };
    enum errc rc = db_append(db, &b, &res, err);

    assert_int_equal(res.stored, rc == OK);
    buf_free(&res.text);
    return rc;
}

static void after_a_failed_sync_writes_are_refused_until_a_restart_and_reads_go_on(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct bad_disk disk = { .io = wal_io_system };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct db_stats stats;
    struct column c;
    struct db *db;

    (void)state;
    disk.io.fdatasync = sync_unless_bad;
    disk.io.ctx = &disk;
    o.log_io = &disk.io;
    db = open_db(&o);
    assert_int_equal(append_one(db, T0 * 1000LL, &err), OK);
    disk.fails = true;
    assert_int_equal(append_one(db, T0 * 1000LL + 1, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err_text(&err), "the log has failed"));
    disk.fails = false; /* the pages may be gone: the log must not trust the disk again */
    assert_int_equal(append_one(db, T0 * 1000LL + 2, &err), ERR_UNAVAILABLE);
    db_stats(db, &stats);
    assert_true(stats.write_failed);
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 1);
    column_free(&c);
    db_close(db);
    db = open_db(&o);
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_true(c.n >= 1 && c.t_ms[0] == T0 * 1000LL); /* the refused one may have been written */
    column_free(&c);
    assert_int_equal(append_one(db, T0 * 1000LL + 3, &err), OK);
    db_close(db);
    arena_free(a);
    test_folder_remove(dir);
}

static void a_view_shows_its_time_range_and_nothing_else(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct sample s[] = {
        { -1, 1 }, { 0, 2 }, { DAY_MS - 1, 3 }, { DAY_MS, 4 }, { DAY_MS + 1, 5 }
    };
    static const struct {
        int64_t min_t_ms, max_t_ms;
        size_t n, all;
    } cases[] = {
        { INT64_MIN, INT64_MAX, 5, 1 }, { 0, DAY_MS - 1, 2, 1 }, { 1, 1, 0, 0 },
        { DAY_MS, -1, 0, 0 },           { 5, 4, 0, 0 },          { INT64_MAX, INT64_MIN, 0, 0 },
    };
    struct fake_clock clock;
    struct db *db;

    (void)state;
    fake_clock_init(&clock, 2 * DAY_MS);
    o.clock = &clock.clock;
    o.retention_ms = INT64_MAX;
    db = open_db(&o);
    assert_true(append_series(db, "m", s, 5, NULL));
    for (int flushed = 0; flushed < 2; flushed++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct arena *a = arena_new(0);
            struct column c = { 0 };
            struct series_list list;
            struct matcher m;
            struct db_view *v;

            assert_int_equal(matcher_init(&m, MATCH_EQ, METRIC_NAME, STR("m"), a, NULL), OK);
            assert_int_equal(db_view_open(db, cases[i].min_t_ms, cases[i].max_t_ms, &v, NULL), OK);
            assert_int_equal(db_select(v, &m, 1, INT64_MIN, INT64_MAX, a, &list, NULL), OK);
            assert_true(list.n >= cases[i].all);
            for (size_t k = 0; k < list.n; k++)
                assert_int_equal(db_read(v, &list.items[k], INT64_MIN, INT64_MAX, &c, NULL), OK);
            assert_int_equal(c.n, cases[i].n);
            db_view_close(v);
            matcher_free(&m);
            column_free(&c);
            arena_free(a);
        }
        flush_db(db);
    }
    db_close(db);
    test_folder_remove(dir);
}

static void the_oldest_time_there_is_can_be_stored(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct sample s[] = { { INT64_MIN, 1 }, { INT64_MIN + 1, 2 }, { INT64_MIN + DAY_MS, 3 } };
    struct fake_clock clock;
    struct db *db;

    (void)state;
    fake_clock_init(&clock, -1);
    o.clock = &clock.clock;
    o.retention_ms = INT64_MAX;
    db = open_db(&o);
    assert_true(append_series(db, "m", s, 3, NULL));
    for (int i = 0; i < 3; i++) {
        struct column c = read_series(db, "m", INT64_MIN, INT64_MAX);

        assert_int_equal(c.n, 3);
        assert_true(c.t_ms[0] == INT64_MIN && c.t_ms[2] == INT64_MIN + DAY_MS);
        column_free(&c);
        assert_true(db_keep(db));
        if (i == 0) {
            flush_db(db);
        } else {
            db_close(db);
            db = open_db(&o);
        }
    }
    db_close(db);
    test_folder_remove(dir);
}

/* ---- what is refused ---- */

static void bad_samples_are_refused_and_named_and_the_good_ones_stored(void **state)
{
    struct fake_clock clock;
    struct db_options o = test_db_options(NULL);
    struct write_result res = { 0 };
    int64_t now = T0 * 1000LL;
    struct sample samples[] = {
        { now - 2 * DAY_MS, 1 }, { now, 2 }, { now + 600001, 3 }, { now + 600000, 4 }, { now, 5 }
    };
    struct db *db;
    struct column c;

    (void)state;
    fake_clock_init(&clock, now);
    o.clock = &clock.clock;
    o.retention_ms = DAY_MS;
    db = open_db(&o);
    assert_true(append_series(db, "m a=b", samples, 5, &res));
    assert_int_equal(res.stored, 2);
    assert_int_equal(res.rejected[DB_REJECT_TOO_OLD], 1);
    assert_int_equal(res.rejected[DB_REJECT_TOO_NEW], 1);
    assert_int_equal(res.rejected[DB_REJECT_DUPLICATE], 1);
    buf_u8(&res.text, 0);
    assert_non_null(strstr((char *)res.text.ptr, "too old sample"));
    assert_non_null(strstr((char *)res.text.ptr, "too far in the future"));
    assert_non_null(strstr((char *)res.text.ptr, "duplicate sample for timestamp"));
    assert_non_null(strstr((char *)res.text.ptr, "m{a=\"b\"}"));
    c = read_series(db, "m a=b", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 2);
    column_free(&c);
    buf_free(&res.text);
    db_close(db);
}

/* Who sent more than samples, such as data points of several series, must know which were lost. */
static void each_series_is_told_how_much_of_it_was_refused(void **state)
{
    struct fake_clock clock;
    struct db_options o = test_db_options(NULL);
    struct write_result res = { 0 };
    int64_t now = T0 * 1000LL;
    struct sample samples[] = {
        { now, 1 }, { now + 600001, 2 }, { now, 3 }, { now, 4 }, { now, 5 }
    };
    struct label labels[][2] = {
        { { METRIC_NAME, STR("a") }, { STR("x"), STR("1") } },
        { { METRIC_NAME, STR("b") }, { STR("x"), STR("1") } },
        { { STR("y"), STR("1") }, { STR("x"), STR("1") } },
        { { METRIC_NAME, STR("a") }, { STR("x"), STR("1") } },
    };
    struct write_series series[] = {
        { .labels = labels[0], .n_labels = 2, .first_sample = 0, .n_samples = 2 }, /* too new */
        { .labels = labels[1], .n_labels = 2, .first_sample = 2, .n_samples = 1, .n_rejected = 9 },
        { .labels = labels[2], .n_labels = 2, .first_sample = 3, .n_samples = 1 }, /* no name */
        { .labels = labels[3], .n_labels = 2, .first_sample = 4, .n_samples = 1 }, /* twice */
    };
    const size_t refused[] = { 1, 0, 1, 1 };
    struct write_batch b = { .series = series, .n_series = 4, .samples = samples, .n_samples = 5 };
    struct db *db;

    (void)state;
    fake_clock_init(&clock, now);
    o.clock = &clock.clock;
    db = open_db(&o);
    assert_int_equal(db_append(db, &b, &res, NULL), OK);
    assert_int_equal(res.stored, 2);
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(series[i].n_rejected, refused[i]);
    assert_int_equal(series[0].n_rejected + series[3].n_rejected, refused[0] + refused[3]);
    buf_free(&res.text);
    db_close(db);
}

static void a_series_without_a_name_is_refused_alone(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct sample s = { T0 * 1000LL, 1 };
    struct write_result res = { 0 };

    (void)state;
    assert_true(append_series(db, "a=b", &s, 1, &res));
    assert_int_equal(res.rejected[DB_REJECT_LABELS], 1);
    assert_int_equal(res.stored, 0);
    buf_free(&res.text);
    db_close(db);
}

static void beyond_the_memory_for_labels_only_new_series_are_refused(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct sample s = { T0 * 1000LL, 1 };
    struct write_result res = { 0 };
    struct db_stats stats;
    struct db *db;
    char name[32];
    int n = 0;

    (void)state;
    o.index_bytes = 100000;
    db = open_db(&o);
    while (res.rejected[DB_REJECT_SERIES_LIMIT] == 0 && n < 10000) {
        snprintf(name, sizeof name, "m i=%d", n++);
        assert_true(append_series(db, name, &s, 1, &res));
    }
    assert_in_range(n, 100, 1000);
    assert_int_equal(res.stored, n - 1);
    buf_u8(&res.text, 0);
    assert_non_null(strstr((char *)res.text.ptr, "no new series is accepted: m{i="));
    s.t_ms++;
    assert_true(append_series(db, "m i=0", &s, 1, &res));
    assert_int_equal(res.stored, n);
    db_stats(db, &stats);
    assert_int_equal(stats.samples_rejected[DB_REJECT_SERIES_LIMIT], 1);
    assert_int_equal(stats.head_series, n - 1);
    buf_free(&res.text);
    db_close(db);
}

static void only_the_first_rejections_are_written_out(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct sample samples[50];
    struct write_result res = { 0 };
    size_t lines = 0;

    (void)state;
    for (int i = 0; i < 50; i++)
        samples[i] = (struct sample){ INT64_MAX - i, 1 };
    assert_true(append_series(db, "m", samples, 50, &res));
    for (size_t i = 0; i < res.text.len; i++)
        lines += res.text.ptr[i] == '\n';
    assert_int_equal(lines, 11);
    assert_int_equal(res.rejected[DB_REJECT_TOO_NEW], 50);
    buf_free(&res.text);
    db_close(db);
}

/* ---- labels, metadata, retention, the folder ---- */

static void label_names_and_values_come_from_head_and_disk(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct arena *a = arena_new(0);
    struct sample s = { T0 * 1000LL, 1 };
    struct str_list list;
    struct db_view *v;
    struct matcher m;

    (void)state;
    assert_true(append_series(db, "up job=x zone=1", &s, 1, NULL));
    flush_db(db);
    assert_true(append_series(db, "up job=y", &s, 1, NULL));
    assert_int_equal(db_view_open(db, INT64_MIN, INT64_MAX, &v, NULL), OK);
    assert_int_equal(db_label_names(v, NULL, 0, a, &list, NULL), OK);
    assert_int_equal(list.n, 3);
    assert_true(str_is(list.items[0], "__name__") && str_is(list.items[1], "job")
                && str_is(list.items[2], "zone"));
    assert_int_equal(db_label_values(v, STR("job"), NULL, 0, a, &list, NULL), OK);
    assert_true(list.n == 2 && str_is(list.items[0], "x") && str_is(list.items[1], "y"));
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("zone"), STR("1"), a, NULL), OK);
    assert_int_equal(db_label_values(v, STR("job"), &m, 1, a, &list, NULL), OK);
    assert_true(list.n == 1 && str_is(list.items[0], "x"));
    matcher_free(&m);
    db_view_close(v);
    arena_free(a);
    db_close(db);
    test_folder_remove(dir);
}

static void metadata_survives_a_restart(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct metric_metadata m[] = { { STR("b"), METRIC_GAUGE, STR("helps"), STR("seconds") },
                                   { STR("a_total"), METRIC_COUNTER, STR(""), STR("") } };
    struct write_batch batch = { .metadata = m, .n_metadata = 2 };
    struct write_result res = { 0 };
    struct arena *a = arena_new(0);
    struct metadata_list list;

    (void)state;
    assert_int_equal(db_append(db, &batch, &res, NULL), OK);
    db_close(db);
    db = open_db(&o);
    assert_int_equal(db_metadata(db, a, &list, NULL), OK);
    assert_int_equal(list.n, 2);
    assert_true(str_is(list.items[0].family, "a_total") && list.items[0].type == METRIC_COUNTER);
    assert_true(str_is(list.items[1].help, "helps") && str_is(list.items[1].unit, "seconds"));
    arena_free(a);
    db_close(db);
    test_folder_remove(dir);
}

static void a_second_process_is_kept_out(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o), *other;
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    (void)state;
    assert_int_equal(db_open(&o, &other, &err), ERR_CONFLICT);
    assert_non_null(strstr(err_text(&err), "LOCK"));
    db_close(db);
    arena_free(a);
    test_folder_remove(dir);
}

static void a_newer_format_is_refused(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db;

    (void)state;
    assert_int_equal(
        fs_write_atomic(dir, "VERSION", (struct bytes){ (const uint8_t *)"99\n", 3 }, NULL), OK);
    assert_int_equal(db_open(&o, &db, NULL), ERR_UNSUPPORTED);
    test_folder_remove(dir);
}

static void a_late_sample_lands_in_its_old_day(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sample now = { T0 * 1000LL, 1 }, old = { T0 * 1000LL - 9 * (int64_t)DAY_MS, 2 };
    struct db_stats stats;
    struct column c;

    (void)state;
    assert_true(append_series(db, "m", &now, 1, NULL));
    flush_db(db);
    assert_true(append_series(db, "m", &old, 1, NULL));
    flush_db(db);
    db_stats(db, &stats);
    assert_int_equal(stats.days, 2);
    assert_int_equal(stats.head_samples, 0);
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_true(c.n == 2 && c.v[0] == 2 && c.v[1] == 1);
    column_free(&c);
    db_close(db);
    test_folder_remove(dir);
}

/* ---- the keeper ---- */

static uint64_t n_days(struct db *db)
{
    struct db_stats stats;

    db_stats(db, &stats);
    return stats.days;
}

static uint64_t n_in_head(struct db *db)
{
    struct db_stats stats;

    db_stats(db, &stats);
    return stats.head_samples;
}

static void days_leave_with_the_retention_but_not_for_a_clock_that_jumps(void **state)
{
    char *dir = test_folder_new();
    struct db_options o = test_db_options(dir);
    struct fake_clock clock;
    struct column c;
    struct db *db;

    (void)state;
    fake_clock_init(&clock, T0 * 1000LL);
    o.clock = &clock.clock;
    o.retention_ms = 2 * DAY_MS;
    db = open_db(&o);
    for (int i = 0; i < 5; i++) {
        struct sample s = { clock.wall_ms, i };

        assert_true(append_series(db, "m", &s, 1, NULL));
        flush_db(db);
        assert_true(db_keep(db));
        assert_int_equal(n_days(db), i < 3 ? i + 1 : 3);
        clock.wall_ms += DAY_MS;
    }
    c = read_series(db, "m", INT64_MIN, INT64_MAX);
    assert_true(c.n == 3 && c.v[0] == 2);
    column_free(&c);
    clock.wall_ms += 400LL * DAY_MS;
    for (int i = 0; i < 2; i++) {
        assert_true(db_keep(db));
        assert_int_equal(n_days(db), 3);
        db_close(db);
        db = open_db(&o);
    }
    /* A sample of that time says that it is true. */
    assert_true(append_series(db, "m", &(struct sample){ clock.wall_ms, 9 }, 1, NULL));
    flush_db(db);
    assert_true(db_keep(db));
    assert_int_equal(n_days(db), 1);
    db_close(db);
    test_folder_remove(dir);
}

/* Of two days the second cannot be written at first. */
static void a_flush_comes_when_it_is_time_and_again_when_it_failed(void **state)
{
    char *dir = test_folder_new(), *obstacle = NULL;
    struct db_options o = test_db_options(dir);
    struct sample s[] = { { T0 * 1000LL - DAY_MS, 1 }, { T0 * 1000LL, 2 }, { T0 * 1000LL + 1, 3 } };
    struct fake_clock clock;
    struct column c;
    struct db *db;

    (void)state;
    assert_true(asprintf(&obstacle, "%s/days/2023-11-14.1.mdb.tmp", dir) > 0);
    fake_clock_init(&clock, T0 * 1000LL);
    o.clock = &clock.clock;
    db = open_db(&o);
    assert_true(append_series(db, "m", s, 2, NULL));
    assert_true(db_keep(db));
    assert_int_equal(n_in_head(db), 2);
    clock.mono_ns += (o.flush_interval_ms + 1) * 1000000;
    assert_int_equal(mkdir(obstacle, 0700), 0);
    assert_false(db_keep(db));
    assert_true(append_series(db, "m", s + 2, 1, NULL)); /* and appends go on */
    for (int i = 0; i < 2; i++) {
        c = read_series(db, "m", INT64_MIN, INT64_MAX);
        assert_int_equal(c.n, 3);
        column_free(&c);
        if (i == 0) {
            assert_int_equal(rmdir(obstacle), 0);
            assert_true(db_keep(db));
            assert_int_equal(n_in_head(db), 0); /* also what came after the flush that failed */
        }
    }
    db_close(db);
    free(obstacle);
    test_folder_remove(dir);
}

/* Flips a bit wherever the text stands in a file. */
static void damage_text(const char *path, const char *text)
{
    struct buf file = { 0 };
    size_t len = strlen(text), found = 0;
    FILE *f;

    assert_int_equal(fs_read_file(path, 1 << 24, &file, NULL), OK);
    for (size_t i = 0; i + len <= file.len; i++) {
        if (memcmp(file.ptr + i, text, len) == 0) {
            file.ptr[i] ^= 1;
            found++;
        }
    }
    assert_true(found > 0);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file.ptr, 1, file.len, f), file.len);
    assert_int_equal(fclose(f), 0);
    buf_free(&file);
}

static void a_damaged_day_file_keeps_no_later_sample_from_the_disk(void **state)
{
    char *dir = test_folder_new(), *file = NULL;
    struct db_options o = test_db_options(dir);
    struct db *db = open_db(&o);
    struct sample samples[] = { { T0 * 1000LL, 1 },
                                { T0 * 1000LL + 1, 2 },
                                { (T0 - 100000) * 1000LL, 3 } };
    struct db_stats stats;
    struct column c;

    (void)state;
    assert_true(append_series(db, "sound", samples, 1, NULL));
    assert_true(append_series(db, "unreadable", samples, 1, NULL));
    db_close(db);
    assert_true(asprintf(&file, "%s/days/2023-11-14.1.mdb", dir) > 0);
    damage_text(file, "unreadable");
    db = open_db(&o);
    assert_true(append_series(db, "sound", samples + 1, 2, NULL));
    assert_true(append_series(db, "unreadable", samples + 1, 2, NULL));
    flush_db(db);
    for (int i = 0; i < 2; i++) {
        db_stats(db, &stats);
        assert_int_equal(stats.head_samples, 0);
        assert_int_equal(stats.days, 2);
        c = read_series(db, "sound", INT64_MIN, INT64_MAX);
        assert_int_equal(c.n, 3);
        column_free(&c);
        c = read_series(db, "unreadable", (T0 - 100000) * 1000LL, (T0 - 100000) * 1000LL);
        assert_int_equal(c.n, 1);
        column_free(&c);
        db_close(db);
        db = open_db(&o);
    }
    db_close(db);
    free(file);
    test_folder_remove(dir);
}

static void a_full_day_file_is_followed_by_another(void **state)
{
    enum { N_FLUSHES = 8, N = 20000 };
    char *dir = test_folder_new(), *second = NULL;
    struct db_options o = test_db_options(dir);
    struct sample *samples = calloc(N, sizeof *samples);
    struct stat st;
    struct db *db;

    (void)state;
    o.map_bytes = 512 << 10;
    rng_state = 5;
    db = open_db(&o);
    assert_non_null(samples);
    for (int k = 0; k < N_FLUSHES; k++) {
        for (int i = 0; i < N; i++)
            samples[i] = (struct sample){ (T0 - 40000) * 1000LL + i * N_FLUSHES + k,
                                          rng(UINT32_MAX) * 1e-3 / (1 + rng(1000)) };
        assert_true(append_series(db, "m", samples, N, NULL));
        flush_db(db);
    }
    assert_true(asprintf(&second, "%s/days/2023-11-14.2.mdb", dir) > 0);
    assert_int_equal(stat(second, &st), 0);
    for (int i = 0; i < 2; i++) {
        struct column c = read_series(db, "m", INT64_MIN, INT64_MAX);

        assert_int_equal(c.n, (size_t)N * N_FLUSHES);
        column_free(&c);
        assert_int_equal(n_days(db), 1);
        db_close(db);
        db = open_db(&o);
    }
    db_close(db);
    free(samples);
    free(second);
    test_folder_remove(dir);
}

/* Appends one sample to series name{}. */
static uint64_t refused_by_limit(struct db *db, const char *name, char *why, size_t size)
{
    struct sample s = { 1000, 1 };
    struct write_result res = { 0 };
    uint64_t refused;

    assert_true(append_series(db, name, &s, 1, &res));
    snprintf(why, size, "%.*s", STR_ARG(buf_as_str(&res.text)));
    refused = res.rejected[DB_REJECT_SERIES_LIMIT];
    buf_free(&res.text);
    return refused;
}

static void no_more_series_than_the_limit_are_accepted(void **state)
{
    struct db_options o = test_db_options(NULL);
    struct db *db;
    char why[256];

    (void)state;
    o.series_limit = 2;
    db = open_db(&o);
    assert_int_equal(refused_by_limit(db, "a", why, sizeof why), 0);
    assert_int_equal(refused_by_limit(db, "b", why, sizeof why), 0);
    assert_int_equal(refused_by_limit(db, "c", why, sizeof why), 1);
    assert_string_equal(why, "series_limit: 2 series are known, no new one is accepted: c\n");
    assert_int_equal(refused_by_limit(db, "a", why, sizeof why), 0);
    db_close(db);
}

static void what_comes_late_or_again_is_counted(void **state)
{
    static const struct sample samples[] = { { 1000, 1 }, { 3000, 3 }, { 2000, 2 },
                                             { 3000, 3 }, { 3000, 4 }, { 500, 5 } };
    struct db_options o = test_db_options(NULL);
    struct db *db = open_db(&o);
    struct write_result res = { 0 };
    struct db_stats s;
    struct column c;

    (void)state;
    assert_true(append_series(db, "a", samples, 6, &res));
    assert_true(res.stored == 5 && res.rejected[DB_REJECT_DUPLICATE] == 1);
    db_stats(db, &s);
    assert_int_equal(s.samples_appended, 5);
    assert_int_equal(s.late_floats, 2);
    assert_int_equal(s.samples_repeated, 1);
    assert_int_equal(s.samples_rejected[DB_REJECT_DUPLICATE], 1);
    c = read_series(db, "a", INT64_MIN, INT64_MAX);
    assert_int_equal(c.n, 4);
    for (size_t i = 1; i < c.n; i++)
        assert_true(c.t_ms[i - 1] < c.t_ms[i]);
    column_free(&c);
    buf_free(&res.text);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_series_than_the_limit_are_accepted),
        cmocka_unit_test(what_comes_late_or_again_is_counted),
        cmocka_unit_test(samples_in_any_order_are_read_in_order),
        cmocka_unit_test(flushes_and_restarts_change_nothing),
        cmocka_unit_test(a_copy_taken_at_any_time_recovers),
        cmocka_unit_test(a_flush_that_died_unpublished_hides_no_later_sample),
        cmocka_unit_test(a_view_keeps_seeing_each_sample_once_across_a_flush),
        cmocka_unit_test(a_day_committed_by_an_unpublished_flush_is_seen_at_once),
        cmocka_unit_test(after_a_failed_sync_writes_are_refused_until_a_restart_and_reads_go_on),
        cmocka_unit_test(a_view_shows_its_time_range_and_nothing_else),
        cmocka_unit_test(the_oldest_time_there_is_can_be_stored),
        cmocka_unit_test(bad_samples_are_refused_and_named_and_the_good_ones_stored),
        cmocka_unit_test(each_series_is_told_how_much_of_it_was_refused),
        cmocka_unit_test(a_series_without_a_name_is_refused_alone),
        cmocka_unit_test(beyond_the_memory_for_labels_only_new_series_are_refused),
        cmocka_unit_test(only_the_first_rejections_are_written_out),
        cmocka_unit_test(label_names_and_values_come_from_head_and_disk),
        cmocka_unit_test(metadata_survives_a_restart),
        cmocka_unit_test(a_second_process_is_kept_out),
        cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(days_leave_with_the_retention_but_not_for_a_clock_that_jumps),
        cmocka_unit_test(a_flush_comes_when_it_is_time_and_again_when_it_failed),
        cmocka_unit_test(a_damaged_day_file_keeps_no_later_sample_from_the_disk),
        cmocka_unit_test(a_full_day_file_is_followed_by_another),
        cmocka_unit_test(a_late_sample_lands_in_its_old_day),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
