/* db_verify.h -- looks at all of a data directory that no process uses: VERSION, MANIFEST, the day
 * files, state.mdb and the log.
 *
 * Nothing is changed. A log record that was cut off by a crash is no fault: nobody was told that it
 * was safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* One file that has been looked at. */
struct verify_file {
    const char *name; /* in the directory */
    uint64_t file_bytes;
    uint64_t values; /* of a day: values; of the log: records */
    uint64_t series, samples;
    uint64_t faults;
};

struct db_verify {
    const char *dir;
    size_t map_bytes;
    void (*fault)(void *ctx, const char *text);           /* one line for each fault */
    void (*file)(void *ctx, const struct verify_file *f); /* after each file; may be NULL */
    /* Now and then: how many bytes of a file have been looked at. False ends it with ERR_CANCELED.
     * May be NULL. */
    bool (*go_on)(void *ctx, const char *name, uint64_t bytes, uint64_t file_bytes);
    void *ctx;
};

struct verify_result {
    uint64_t files, faults, samples;
};

/* OK also when there are faults: see res. ERR_NOT_FOUND (no such directory, or no data in it),
 * ERR_UNSUPPORTED (a newer format), ERR_NOMEM, ERR_IO, ERR_CANCELED. */
MUST_USE enum errc db_verify(const struct db_verify *v, struct verify_result *res, struct err *err);
