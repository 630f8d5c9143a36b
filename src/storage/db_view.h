/* db_view.h -- what other parts of the db must know of views. Internal to the db. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "storage/db.h"

/* db_select() with the series of the head that have no samples in the time range too. */
MUST_USE enum errc db_select_all(struct db_view *v, const struct matcher *matchers, size_t n,
                                 int64_t min_t_ms, int64_t max_t_ms, struct arena *a,
                                 struct series_list *out, struct err *err);

uint64_t db_view_max_flush(const struct db_view *v); /* day files are read up to it */
struct db *db_view_db(const struct db_view *v);

/* Whether any view of the list (under db.lock) was opened before the flush was published. */
bool db_view_older_than(const struct db_view *list, uint64_t flush);
