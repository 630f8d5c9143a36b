/* days.h -- the catalogue of day files: which exist, and the open ones.
 *
 * What the catalogue holds is what MANIFEST says; files in days/ that it does not name are left
 * from a crash and removed when the catalogue is opened. A day has one file, or several: a flush
 * adds to the newest, and begins another when that one is damaged, full or being rewritten. At most
 * 64 files are kept open (those in use stay); the least recently used is closed first.
 *
 * A file is reference counted: one that was dropped or replaced is removed from the disk when its
 * last user has let go of it, so that a view reads to its end what it began with.
 *
 * Threads: any. Listing files never waits for the disk: MANIFEST is written and files are opened
 * while others go on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/manifest.h"

struct day;
struct days;
struct day_file; /* one file of the catalogue */

/* Reads dir/MANIFEST, writing one when dir is new, and tidies dir/days. ERR_CORRUPT also when there
 * are day files but no MANIFEST. */
MUST_USE enum errc days_open(const char *dir, size_t map_bytes, struct days **out, struct err *err);
void days_close(struct days *d); /* all references are gone; NULL is fine */

/* The log generation up to which everything is in day files. */
uint64_t days_released(struct days *d);

/* The newest flush that was begun: day files may hold it, whether it was published or not. */
uint64_t days_begun(struct days *d);

/* Notes durably that a flush begins, before it writes to any day. */
MUST_USE enum errc days_begin_flush(struct days *d, uint64_t flush, struct err *err);

/* ---- files ---- */

/* The published files of the days first..last, in manifest_day_cmp order, with a reference to each;
 * give it to day_files_free(). ERR_NOMEM. */
struct day_files {
    struct day_file **items;
    size_t n;
};
MUST_USE enum errc days_list(struct days *d, int64_t first, int64_t last, struct day_files *out,
                             struct err *err);
void day_files_free(struct day_files *files); /* a zeroed one is fine */

struct manifest_day day_file_id(const struct day_file *f);
const char *day_file_path(const struct day_file *f);

/* A reference to the open file (day_unref it), opening it when it is closed. */
MUST_USE enum errc day_file_open(struct day_file *f, struct day **out, struct err *err);

/* day_summary() of the file, opening it only when it has not been open since the start. */
struct day_summary;
MUST_USE enum errc day_file_summary(struct day_file *f, struct day_summary *out, struct err *err);

/* The same as day_file_open() by name. ERR_NOT_FOUND when the catalogue has no such file (any more). */
MUST_USE enum errc days_get(struct days *d, struct manifest_day file, struct day **out,
                            struct err *err);

/* ---- for the flusher, one thread at a time ---- */

/* A reference to the file of a day that a flush adds to: the newest, or one that is created,
 * unpublished, when the day has none or its files are being rewritten. */
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

/* ---- rewriting a day ---- */

/* Begins the rewriting of a day, one at a time: lists its files, which no flush adds to from now
 * on, and says under which name the new one is to be made. No flush is under way.
 *   ERR_CONFLICT   a file is not published yet, or a day is being rewritten
 *   ERR_NOT_FOUND  the day has no file */
struct day_rewrite {
    struct day_files files;
    struct manifest_day id; /* of the new file ... */
    char *path;             /* ... and where it goes */
};
MUST_USE enum errc days_begin_rewrite(struct days *d, int64_t day, struct day_rewrite *out,
                                      struct err *err);

/* Ends it: made, which is complete and durable, takes the place of the files; NULL (nothing is left
 * of the day) only drops them. The catalogue takes over the caller's reference to made, and ends
 * the rewriting, also after an error: then the old files stay. */
MUST_USE enum errc days_finish_rewrite(struct days *d, struct day_rewrite *rewrite,
                                       struct day *made, struct err *err);

/* Ends it without a change, and removes what was made; the caller has closed it. */
void days_abort_rewrite(struct days *d, struct day_rewrite *rewrite);

/* ---- dropping ---- */

/* Drops days before day: out of MANIFEST, then, as their users let go, out of the folder. *dropped
 * counts their files. */
MUST_USE enum errc days_drop_before(struct days *d, int64_t day, size_t *dropped, struct err *err);

struct days_stats {
    uint64_t days, bytes; /* of all files */
    uint64_t files;
    int64_t min_t_ms, max_t_ms; /* of whole days; min > max without any */
};
void days_stats(struct days *d, struct days_stats *out);
