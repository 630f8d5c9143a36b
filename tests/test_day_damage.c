/* A day file with one bit turned over: every answer is the right one or an error, and nothing
 * crashes. FLIPS=n tries n places instead of the usual few hundred, SEED=n begins elsewhere. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/log.h"
#include "storage/day.h"
#include "storage/day_check.h"
#include "temp_dir.h"

#include "base/banned.h"

enum { MAP_BYTES = 64 << 20, DAY = 20000, N_SERIES = 300, N_FLUSHES = 3, N_SAMPLES = 40 };
enum { DEFAULT_FLIPS = 400 };
static const int64_t T0 = (int64_t)DAY * DAY_MS;

/* ---- the day ---- */

/* Series i: m{i="00017",parity="odd",shard="3"}. */
static struct labels labels_of(struct arena *a, unsigned i)
{
    struct label *items = ARENA_NEW(a, struct label, 4);

    assert_non_null(items);
    items[0] = (struct label){ METRIC_NAME, STR("m") };
    items[1] = (struct label){ STR("i"), str_from(arena_printf(a, "%05u", i)) };
    items[2] = (struct label){ STR("parity"), i % 2 ? STR("odd") : STR("even") };
    items[3] = (struct label){ STR("shard"), str_from(arena_printf(a, "%u", i % 7)) };
    return (struct labels){ items, 4 };
}

/* Which series a flush has: all, but for some that come first with a later one. */
static bool has(unsigned i, int flush)
{
    return (int)(i % 5) <= flush + 2;
}

static double value_of(unsigned i, int flush, int k)
{
    return i % 3 == 0 ? (double)(k * (int)i) : (double)(i * 7 + (unsigned)k) / (3 + flush);
}

static int64_t time_of(int flush, int k)
{
    return T0 + flush * 10000000 + k * 15000;
}

static void write_flush(struct day *day, int flush)
{
    struct arena *a = arena_new(0);
    struct column c = { 0 };
    struct day_writer *w;

    assert_int_equal(day_writer_begin(day, (uint64_t)flush + 1, &w, NULL), OK);
    for (unsigned i = 0; i < N_SERIES; i++) {
        if (!has(i, flush))
            continue;
        column_clear(&c);
        for (int k = 0; k < N_SAMPLES; k++)
            assert_true(column_add(&c, time_of(flush, k), value_of(i, flush, k)));
        assert_int_equal(day_writer_add(w, labels_of(a, i), &c, NULL), OK);
    }
    assert_int_equal(day_writer_commit(w, NULL), OK);
    column_free(&c);
    arena_free(a);
}

/* Series 7's first ten samples of each of the two first flushes are deleted. */
static bool is_deleted(unsigned i, int flush, int k)
{
    return i == 7 && flush < 2 && k < 10;
}

static void delete_some(struct day *day, int flush)
{
    struct arena *a = arena_new(0);
    struct day_txn *t;
    struct postings p;

    assert_int_equal(day_txn_begin(day, UINT64_MAX, &t, NULL), OK);
    struct index_source index = day_index(t);

    assert_int_equal(index.postings(t, STR("i"), STR("00007"), a, &p, NULL), OK);
    day_txn_end(t);
    assert_int_equal(p.n, 1);
    assert_int_equal(day_delete(day, time_of(flush, 0), time_of(flush, 9), p.ids, 1, NULL), OK);
    arena_free(a);
}

static void make_day(const char *path)
{
    struct day *day;

    assert_int_equal(day_open(path, DAY, MAP_BYTES, true, &day, NULL), OK);
    for (int flush = 0; flush < N_FLUSHES; flush++) {
        write_flush(day, flush);
        if (flush < 2)
            delete_some(day, flush);
    }
    day_unref(day);
}

/* ---- answers ---- */

enum verdict { RIGHT, WRONG, MISSING };

static enum verdict judge_samples(struct day_txn *t, uint32_t id, unsigned i, struct err *err)
{
    struct column c = { 0 };
    enum verdict v = RIGHT;
    bool overlaps = false;
    size_t at = 0;

    if (day_read(t, id, INT64_MIN, INT64_MAX, &c, &overlaps, err) == OK) {
        for (int flush = 0; flush < N_FLUSHES; flush++)
            for (int k = 0; has(i, flush) && k < N_SAMPLES; k++) {
                if (is_deleted(i, flush, k))
                    continue;
                if (at >= c.n || c.t_ms[at] != time_of(flush, k)
                    || c.v[at] != value_of(i, flush, k))
                    v = WRONG;
                at++;
            }
        if (at != c.n)
            v = WRONG;
    }
    column_free(&c);
    return v;
}

static enum verdict judge_series(struct day_txn *t, unsigned i)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct index_source index = day_index(t);
    struct labels want = labels_of(a, i), got;
    struct postings p;
    enum verdict v = RIGHT;

    if (index.postings(t, STR("i"), want.items[1].value, a, &p, &err) == OK) {
        if (p.n == 0)
            v = MISSING;
        else if (p.n > 1)
            v = WRONG;
        else if (day_labels(t, p.ids[0], a, &got, &err) == OK)
            v = labels_equal(got, want) ? judge_samples(t, p.ids[0], i, &err) : WRONG;
    }
    arena_free(a);
    return v;
}

/* All series of one parity, and all values of a label. */
static enum verdict judge_lists(struct day_txn *t)
{
    struct arena *a = arena_new(0);
    struct index_source index = day_index(t);
    struct postings p;
    enum verdict v = RIGHT;

    if (index.postings(t, STR("parity"), STR("odd"), a, &p, NULL) == OK && p.n != N_SERIES / 2)
        v = p.n < N_SERIES / 2 ? MISSING : WRONG;
    if (index.all(t, a, &p, NULL) == OK && p.n != N_SERIES)
        v = WRONG;
    arena_free(a);
    return v;
}

static enum verdict judge(const char *path)
{
    struct day *day;
    struct day_txn *t;
    enum verdict v = RIGHT;

    if (day_open(path, DAY, MAP_BYTES, false, &day, NULL) != OK)
        return RIGHT; /* an error */
    if (day_txn_begin(day, UINT64_MAX, &t, NULL) == OK) {
        for (unsigned i = 0; v == RIGHT && i < N_SERIES; i++)
            v = judge_series(t, i);
        if (v == RIGHT)
            v = judge_lists(t);
        day_txn_end(t);
    }
    day_unref(day);
    return v;
}

static void ignore_fault(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

/* The whole check must not crash either. */
static bool check_finds_fault(const char *path)
{
    struct day_check c = { .fault = ignore_fault };
    struct day_check_result res;
    struct day *day;
    bool found = true;

    if (day_open_read_only(path, DAY, MAP_BYTES, &day, NULL) != OK)
        return true;
    if (day_check(day, &c, &res, NULL) == OK)
        found = res.faults > 0;
    day_unref(day);
    return found;
}

/* ---- tests ---- */

static uint64_t rng_state;

static uint64_t rng(void) /* splitmix64 (Steele, Lea, Flood 2014) */
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* In a process of its own, whose end tells of a crash. */
static int run_child(const char *path)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        enum verdict v = judge(path);
        bool found = check_finds_fault(path);

        _exit(v == RIGHT && found ? 3 : (int)v);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Opening a damaged file may write to it. */
static void restore(const char *path, const struct buf *sound)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(sound->ptr, 1, sound->len, f), sound->len);
    assert_int_equal(fclose(f), 0);
}

static void a_bit_turned_over_is_noticed_or_does_not_matter(void **state)
{
    char *path = temp_dir_file(*state, "day.mdb");
    uint64_t seed = from_env("SEED", 1), flips = from_env("FLIPS", DEFAULT_FLIPS);
    size_t n_found = 0, n_bad = 0;
    struct buf sound = { 0 };

    make_day(path);
    assert_int_equal(fs_read_file(path, 64 << 20, &sound, NULL), OK);
    assert_int_equal(run_child(path), RIGHT);
    for (uint64_t i = 0; i < flips; i++) {
        size_t offset;
        uint8_t mask;
        int result;

        rng_state = seed + i;
        offset = (size_t)(rng() % sound.len);
        mask = (uint8_t)(1u << rng() % 8);
        assert_true(flip_in_file(path, offset, mask));
        result = run_child(path);
        restore(path, &sound);
        n_found += result == 3;
        if (result != RIGHT && result != 3) {
            n_bad++;
            printf("seed %llu, offset %zu, mask %02x: %s\n", (unsigned long long)(seed + i), offset,
                   mask,
                   result == WRONG     ? "a wrong answer"
                   : result == MISSING ? "something was not found"
                                       : "a crash");
        }
    }
    printf("%llu flips from seed %llu in %zu bytes: %zu found by the check\n",
           (unsigned long long)flips, (unsigned long long)seed, sound.len, n_found);
    assert_int_equal(n_bad, 0);
    buf_free(&sound);
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_bit_turned_over_is_noticed_or_does_not_matter),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
