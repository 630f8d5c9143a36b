/* days.h -- the catalogue of day files: which exist, and the open ones.
 *
 * What the catalogue holds is what MANIFEST says; files in days/ that it does not name are left
 * from a crash and removed when the catalogue is opened. A day has one file, or several: a flush
 * adds to the newest, and begins another when that one is damaged or full. At most 64 files are kept open (views that
 * use more keep theirs); the least recently used is closed first.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/manifest.h"

struct day;
struct days;

/* Reads dir/MANIFEST, writing one when dir is new, and tidies dir/days. ERR_CORRUPT also when there
 * are day files but no MANIFEST. */
MUST_USE enum errc days_open(const char *dir, size_t map_bytes, struct days **out, struct err *err);
void days_close(struct days *d); /* NULL is fine */

/* The log generation up to which everything is in day files. */
uint64_t days_released(struct days *d);

/* The newest flush that was begun: day files may hold it, whether it was published or not. */
uint64_t days_begun(struct days *d);

/* Notes durably that a flush begins, before it writes to any day. */
MUST_USE enum errc days_begin_flush(struct days *d, uint64_t flush, struct err *err);

/* The published files of the days first..last, in manifest_day_cmp order, malloc'd. ERR_NOMEM. */
MUST_USE enum errc days_list(struct days *d, int64_t first, int64_t last, struct manifest_day **out,
                             size_t *n, struct err *err);

/* A reference to a listed file (day_unref it). ERR_NOT_FOUND when it was dropped meanwhile. */
MUST_USE enum errc days_get(struct days *d, struct manifest_day file, struct day **out,
                            struct err *err);

/* A reference to the file of a day that a flush adds to: the newest, or one that is created,
 * unpublished, when the day has none. */
MUST_USE enum errc days_get_newest(struct days *d, int64_t day, struct day **out, struct err *err);

/* Has days_get_newest() begin another file of a day whose newest one takes no more. ERR_CONFLICT
 * when that one is new itself, so that another would fare no better. */
MUST_USE enum errc days_begin_file(struct days *d, int64_t day, struct err *err);

/* Closes the newest file of a day, if nobody is using it: after a failed write LMDB refuses
 * everything until the file is opened again. */
void days_close_newest(struct days *d, int64_t day);

/* The newest flush number in a day's files, 0 for none; files that cannot be opened are left out. */
uint64_t days_last_flush(struct days *d, int64_t day);

/* Publishes all days and that everything up to the log generation is in them: MANIFEST is replaced.
 */
MUST_USE enum errc days_publish(struct days *d, uint64_t released, struct err *err);

/* Drops days before day: out of MANIFEST, then out of the folder. *dropped counts their files. */
MUST_USE enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err);

struct days_stats {
    uint64_t days, bytes;       /* of all files */
    int64_t min_t_ms, max_t_ms; /* of whole days; min > max without any */
};
void days_stats(struct days *d, struct days_stats *out);
