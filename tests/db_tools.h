/* db_tools.h -- what tests of the store share: temporary folders, small batches, reading back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "storage/db.h"

/* A fresh folder under $TMPDIR or /tmp; free the path with test_folder_remove(), which removes the
 * folder and its files. */
char *test_folder_new(void);
void test_folder_remove(char *dir);

/* Copies an open store's folder as a crash would leave it: nothing was closed. */
void copy_folder(const char *from, const char *to);

/* A clock that a test sets. */
struct fake_clock {
    struct clock clock;
    _Atomic int64_t wall_ms, mono_ns; /* the store's own thread reads them */
};
void fake_clock_init(struct fake_clock *c, int64_t wall_ms);

/* Options for tests: small maps, a retention of 200 years. */
struct db_options test_db_options(const char *dir);

/* Opens, or flushes; the test fails with the reason when that fails. */
struct db *open_db(const struct db_options *o);
void flush_db(struct db *db);

/* Appends samples of one series, "name a=x b=y"; false when the store said no. res may be NULL. */
bool append_series(struct db *db, const char *series, const struct sample *samples, size_t n,
                   struct write_result *res);

/* The samples of the series that exactly matches "name a=x b=y"; n = 0 when there is none. Free
 * with column_free(). */
struct column read_series(struct db *db, const char *series, int64_t min_t_ms, int64_t max_t_ms);
