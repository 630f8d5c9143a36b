/* db_view.h -- what a flush must know of views. Internal to the db. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct db_view;

/* Whether any view of the list (under db.lock) was opened before the flush was published. */
bool db_view_older_than(const struct db_view *list, uint64_t flush);
