/* manifest.h -- which files make up the store.
 *
 * MANIFEST is replaced as a whole, atomically, whenever day files appear, are rewritten or dropped:
 * a file in days/ that it does not name is left from a crash and is not part of the store. It is
 * text, so that an operator can read it; manifest.c draws it.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* A published file: days/<YYYY-MM-DD>.<generation>.mdb. A day has several when one of them is
 * damaged or full: the samples that come then go to the next generation. */
struct manifest_day {
    int64_t day; /* day_of() */
    uint64_t generation;
};

/* Zero-initialise it: an empty store. Free it with manifest_free(). */
struct manifest {
    struct manifest_day *days; /* sorted by day and generation, each once */
    size_t n_days, cap;
    uint64_t begun;    /* the newest flush that may have written to a day file */
    uint64_t released; /* everything up to this generation of the log is in day files */
};

/* Reads dir/MANIFEST into m, which is empty.
 *   ERR_NOT_FOUND    there is none
 *   ERR_CORRUPT      names the file and says what to do
 *   ERR_UNSUPPORTED  written by a newer version
 *   ERR_IO, ERR_NOMEM */
MUST_USE enum errc manifest_load(const char *dir, struct manifest *m, struct err *err);

/* Replaces dir/MANIFEST, durably. After an error the old one is still there. */
MUST_USE enum errc manifest_save(const char *dir, const struct manifest *m, struct err *err);

void manifest_free(struct manifest *m);

/* Negative, 0 or positive: the order of the list. */
int manifest_day_cmp(struct manifest_day a, struct manifest_day b);

/* Adds a file, after those that are there; false when out of memory: nothing has changed. */
MUST_USE bool manifest_add(struct manifest *m, struct manifest_day file);

/* The name of a day's file, without folder: "2026-11-21.1.mdb". NUL-terminated. */
enum { DAY_NAME_MAX = 64 };
void day_file_name(int64_t day, uint64_t generation, char out[DAY_NAME_MAX]);

/* Whether name is such a name and nothing else, and of which file. */
bool day_file_parse(struct str name, struct manifest_day *out);
