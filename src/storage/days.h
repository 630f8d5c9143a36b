/* days.h -- the catalogue of day files: which exist, and the open ones.
 *
 * What the catalogue holds is what MANIFEST says; files in days/ that it does not name are left
 * from a crash and removed when the catalogue is opened. At most 64 files are kept open (views that
 * use more keep theirs); the least recently used is closed first.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <stdbool.h>

#include "base/err.h"

struct day;
struct days;

/* Reads dir/MANIFEST (a missing one is an empty catalogue) and tidies dir/days. */
MUST_USE enum errc days_open(const char *dir, size_t map_bytes, struct days **out, struct err *err);
void days_close(struct days *d); /* NULL is fine */

/* The log generation up to which everything is in day files. */
uint64_t days_released(struct days *d);

/* The day numbers in the catalogue within first..last, increasing, malloc'd. ERR_NOMEM. */
MUST_USE enum errc days_list(struct days *d, int64_t first, int64_t last, int64_t **out, size_t *n,
                             struct err *err);

/* A reference to a day (day_unref it); a missing one is created, unpublished, when create is true,
 * else ERR_NOT_FOUND. */
MUST_USE enum errc days_get(struct days *d, int64_t day, bool create, struct day **out,
                            struct err *err);

/* The newest flush number in a day's file, 0 for none (or when it cannot be opened). */
uint64_t days_last_flush(struct days *d, int64_t day);

/* Publishes all days and that everything up to the log generation is in them: MANIFEST is replaced.
 */
MUST_USE enum errc days_publish(struct days *d, uint64_t released, struct err *err);

/* Drops days before day: out of MANIFEST, then out of the folder. *dropped counts them. */
MUST_USE enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err);

struct days_stats {
    uint64_t days, bytes;
    int64_t min_t_ms, max_t_ms; /* of whole days; min > max without any */
};
void days_stats(struct days *d, struct days_stats *out);
