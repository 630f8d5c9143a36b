/* state.h -- state.mdb: what belongs to the store as a whole and is small.
 *
 * Type, help and unit of metric families, and small records that others keep here (the states of
 * alerts). Every change is durable when the call returns; every
 * value carries a CRC-32C.
 *
 * Threads: any; writers wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "storage/db.h"

struct state; /* opaque */

/* Opens the file at path, creating it when there is none. ERR_CORRUPT, ERR_UNSUPPORTED (newer
 * format), ERR_IO, ERR_NOMEM, ERR_UNAVAILABLE (no space left). */
MUST_USE enum errc state_open(const char *path, size_t map_bytes, struct state **out,
                              struct err *err);
void state_close(struct state *s); /* NULL is fine */

/* Adds or replaces the metadata of n families, all or none; of equal families the last counts.
 * ERR_FULL, ERR_UNAVAILABLE, ERR_IO, ERR_NOMEM. */
MUST_USE enum errc state_put_metadata(struct state *s, const struct metric_metadata *m, size_t n,
                                      struct err *err);

/* Calls fn for each family, in no order, with texts that are valid during the call; false stops. A
 * damaged entry is left out with a warning in the log: senders repeat their metadata. */
MUST_USE enum errc state_each_metadata(struct state *s,
                                       bool (*fn)(void *ctx, const struct metric_metadata *m),
                                       void *ctx, struct err *err);

/* Opens for reading only, and looks at every value: fault is called with a line of text for each that
 * is damaged. ERR_CORRUPT (it cannot be opened), ERR_UNSUPPORTED, ERR_IO, ERR_NOMEM. */
MUST_USE enum errc state_check(const char *path, size_t map_bytes,
                               void (*fault)(void *ctx, const char *text), void *ctx,
                               struct err *err);

/* The file as it is now, to be copied while others go on (kv.h). */
struct kv_copy;
MUST_USE enum errc state_copy_begin(struct state *s, struct kv_copy **out, struct err *err);

/* A record of somebody else's: any bytes under a key of 1 to STATE_MAX_KEY bytes. */
enum { STATE_MAX_KEY = 256 };
struct state_record {
    struct bytes key, value; /* when writing, an empty value deletes */
};

/* Writes and deletes n records, all or none. Errors as state_put_metadata(). */
MUST_USE enum errc state_write_records(struct state *s, const struct state_record *records,
                                       size_t n, struct err *err);

/* Calls fn for each record in order of keys, with bytes that are valid during the call; false
 * stops. A damaged one is left out with a warning in the log. */
MUST_USE enum errc state_each_record(struct state *s,
                                     bool (*fn)(void *ctx, const struct state_record *r), void *ctx,
                                     struct err *err);
