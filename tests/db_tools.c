#include "db_tools.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"

char *test_folder_new(void)
{
    const char *base = getenv("TMPDIR");
    char path[512];

    snprintf(path, sizeof path, "%s/tidemark-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return strdup(path);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_folder_remove(char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

void copy_folder(const char *from, const char *to)
{
    char command[1200];

    snprintf(command, sizeof command, "cp -a '%s/.' '%s/' && rm -f '%s'/days/*-lock '%s'/*-lock",
             from, to, to, to);
    assert_int_equal(system(command), 0);
}

static int64_t fake_wall(void *ctx)
{
    return ((struct fake_clock *)ctx)->wall_ms;
}

static int64_t fake_mono(void *ctx)
{
    return ((struct fake_clock *)ctx)->mono_ns;
}

void fake_clock_init(struct fake_clock *c, int64_t wall_ms)
{
    *c = (struct fake_clock){ { fake_wall, fake_mono, c }, wall_ms, 0 };
}

struct db_options test_db_options(const char *dir)
{
    struct db_options o = db_options_default();

    o.dir = dir;
    o.map_bytes = (size_t)256 << 20;
    o.retention_ms = 200 * 365 * (int64_t)DAY_MS;
    return o;
}

/* Splits "name a=x b=y" in place. */
static size_t parse_labels(char *text, struct label *labels, size_t max)
{
    size_t n = 0;
    char *save = NULL;

    for (char *word = strtok_r(text, " ", &save); word && n < max;
         word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');

        if (equals) {
            *equals = '\0';
            labels[n++] = (struct label){ str_from(word), str_from(equals + 1) };
        } else {
            labels[n++] = (struct label){ METRIC_NAME, str_from(word) };
        }
    }
    return n;
}

bool append_series(struct db *db, const char *series, const struct sample *samples, size_t n,
                   struct write_result *res)
{
    struct label labels[16];
    char *text = strdup(series);
    struct write_result own = { 0 };
    struct write_series s = { .labels = labels,
                              .n_labels = parse_labels(text, labels, 16),
                              .n_samples = n };
    struct write_batch b = { .series = &s, .n_series = 1, .samples = samples, .n_samples = n };
    enum errc rc = db_append(db, &b, res ? res : &own, NULL);

    buf_free(&own.text);
    free(text);
    return rc == OK;
}

struct column read_series(struct db *db, const char *series, int64_t min_t_ms, int64_t max_t_ms)
{
    struct label labels[16];
    struct matcher matchers[16];
    char *text = strdup(series);
    size_t n = parse_labels(text, labels, 16);
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct column out = { 0 };
    struct series_list list;
    struct db_view *v;

    for (size_t i = 0; i < n; i++)
        assert_int_equal(
            matcher_init(&matchers[i], MATCH_EQ, labels[i].name, labels[i].value, a, &err), OK);
    assert_int_equal(db_view_open(db, min_t_ms, max_t_ms, &v, &err), OK);
    if (db_select(v, matchers, n, min_t_ms, max_t_ms, a, &list, &err) != OK)
        fail_msg("select: %s", err_text(&err));
    for (size_t i = 0; i < list.n; i++)
        if (list.items[i].labels.n == n
            && db_read(v, &list.items[i], min_t_ms, max_t_ms, &out, &err) != OK)
            fail_msg("read: %s", err_text(&err));
    db_view_close(v);
    for (size_t i = 0; i < n; i++)
        matcher_free(&matchers[i]);
    arena_free(a);
    free(text);
    return out;
}

struct db *open_db(const struct db_options *o)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct db *db;

    if (db_open(o, &db, &err) != OK)
        fail_msg("open: %s", err_text(&err));
    arena_free(a);
    return db;
}

void flush_db(struct db *db)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);

    if (db_flush(db, &err) != OK)
        fail_msg("flush: %s", err_text(&err));
    arena_free(a);
}
