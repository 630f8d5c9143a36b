/* day_check.h -- looks at every value of a day file: checksums, and that the tables agree.
 *
 * Symbols and series are numbered without gaps and can be found by their hashes; series consist of
 * symbols that exist; postings hold exactly the series that have the pair; the directory of each
 * flush covers exactly its packs; packs decode, and hold as many samples as the flush says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct day;

struct day_check {
    void (*fault)(void *ctx, const char *text); /* called for each fault, with one line of text */
    /* Told now and then how many bytes of values have been looked at; false ends the check with
     * ERR_CANCELED. NULL: never called. */
    bool (*go_on)(void *ctx, uint64_t bytes);
    void *ctx;
};

struct day_check_result {
    uint64_t values, bytes, samples, series, faults;
};

/* OK also when there are faults: see res. ERR_NOMEM, ERR_CANCELED, ERR_UNAVAILABLE (too many
 * readers). It reads the file within one transaction. */
MUST_USE enum errc day_check(struct day *d, const struct day_check *c, struct day_check_result *res,
                             struct err *err);
