/* wal.h -- the log that makes an acknowledgement true.
 *
 * Records are opaque to this module. Appenders hand in a record and wait; one committer thread
 * takes all that have queued up, writes them with one call, syncs once, applies them in log order
 * and wakes their appenders: the sync itself is the batching window. A record belongs to a
 * generation; wal_cut() starts the next one, and when everything up to a generation is stored
 * elsewhere, wal_release() lets its segments be reused. On open, all records of unreleased
 * generations are replayed in order.
 *
 * After a failed write or sync nothing more is acknowledged until the log is opened again: the
 * kernel may have dropped the dirty pages, so trying again would lie. A record that fails its
 * checksum is skipped and counted; good ones after it still count.
 *
 * Threads: wal_append and wal_stats from any; the rest from one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct wal;

struct wal_options {
    const char *dir;          /* created when missing */
    size_t min_segment_bytes; /* 1 MiB: the first segment; doubles as load asks ... */
    size_t max_segment_bytes; /* ... to 64 MiB */
    size_t max_record_bytes;  /* 64 MiB; larger ones are refused with ERR_TOO_LARGE */
    uint64_t
        released; /* generations up to this one are stored elsewhere: their segments are reused */
    void *ctx;
    /* Called by wal_open for each good record of a generation after released, in log order. */
    enum errc (*replay)(void *ctx, uint64_t generation, struct bytes record, struct err *err);
    /* Called by the committer for each record once it is durable, in log order; user is
     * wal_append's. */
    void (*apply)(void *ctx, uint64_t generation, struct bytes record, void *user);
    /* Called by the committer between two records when wal_cut() has begun a new generation; all
     * records of earlier generations have been applied, none of the new one. */
    void (*cut)(void *ctx, uint64_t new_generation);
};

struct wal_options wal_options_default(void);

/* Opens the log, replays, starts the committer. The generation appended to is one above the highest
 * found or released. */
MUST_USE enum errc wal_open(const struct wal_options *options, struct wal **out, struct err *err);

/* Waits for the queued appends, stops the committer and closes. NULL is fine. */
void wal_close(struct wal *w);

/* The generation that records must be made for now. */
uint64_t wal_generation(const struct wal *w);

/* Appends one record made for generation and waits until it is durable and applied.
 *   ERR_CONFLICT     the log has moved to a newer generation: make the record again for it
 *   ERR_UNAVAILABLE  the log has failed
 *   ERR_TOO_LARGE    over max_record_bytes */
MUST_USE enum errc wal_append(struct wal *w, uint64_t generation, struct bytes record, void *user,
                              struct err *err);

/* Ends the current generation and returns once cut() has been called: *ended is the generation that
 * is complete now. */
MUST_USE enum errc wal_cut(struct wal *w, uint64_t *ended, struct err *err);

/* Everything up to this generation is stored elsewhere. */
MUST_USE enum errc wal_release(struct wal *w, uint64_t generation, struct err *err);

struct wal_stats {
    uint64_t bytes_written, records, syncs, replayed,
        skipped; /* skipped: bad records met on open */
    uint64_t segments, segment_bytes;
    bool failed;
};
void wal_stats(struct wal *w, struct wal_stats *out);
