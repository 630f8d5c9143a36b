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
 * kernel may have dropped the dirty pages, so trying again would lie. The one failure that heals is
 * a lack of disk space, memory or file descriptors when a new segment is needed: no acknowledged
 * data is in doubt then, so the append gets ERR_UNAVAILABLE and the next one tries again, while cut
 * and release, which need no room, go on.
 *
 * A record that fails its checksum is skipped and counted; good ones after it still count.
 *
 * Threads: wal_append, wal_generation and wal_stats from any; the rest from one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct wal;
struct wal_io;

struct wal_options {
    const char *dir;          /* created when missing */
    size_t min_segment_bytes; /* 1 MiB: the first segment; doubles as load asks ... */
    size_t max_segment_bytes; /* ... to 64 MiB; a larger record gets a segment of its own */
    size_t max_record_bytes;  /* 64 MiB, at most 1 GiB; larger ones are refused */
    uint64_t released; /* generations up to this one are stored elsewhere: segments are reused */
    uint64_t used;     /* generations up to this one have been, though no record may tell */
    void *ctx;
    /* Called by wal_open for each good record of a generation after released, in log order. Any
     * result but OK ends wal_open with it. NULL: nothing is replayed. */
    enum errc (*replay)(void *ctx, uint64_t generation, struct bytes record, struct err *err);
    /* Called by the committer for each record once it is durable, in log order; user is
     * wal_append's. May be NULL. */
    void (*apply)(void *ctx, uint64_t generation, struct bytes record, void *user);
    /* Called by the committer between two records when wal_cut() has begun a new generation; all
     * records of earlier generations have been applied, none of the new one. Whoever sees the new
     * number from wal_generation() also sees what cut() has done. May be NULL. */
    void (*cut)(void *ctx, uint64_t new_generation);
    const struct wal_io *io; /* NULL: the system's calls; tests make them fail (wal_pool.h) */
};

struct wal_options wal_options_default(void);

/* Opens the log, replays, starts the committer. The generation appended to is one above the highest
 * found, released or used. A full disk does not hinder it: the first segment is made by the first append.
 *   ERR_UNSUPPORTED  a segment was written by a newer program
 *   ERR_IO           the folder cannot be made, listed or written
 * A segment whose header is damaged is counted as skipped and renamed to <number>.bad. */
MUST_USE enum errc wal_open(const struct wal_options *options, struct wal **out, struct err *err);

/* Waits for the queued appends, stops the committer and closes. NULL is fine. */
void wal_close(struct wal *w);

/* The generation that records must be made for now. */
uint64_t wal_generation(const struct wal *w);

/* Appends one record (not empty) made for generation and waits until it is durable and applied.
 * On an error it was not applied; whether it will be replayed after ERR_UNAVAILABLE is open.
 *   ERR_CONFLICT     the log has moved to a newer generation, which wal_generation() already
 *                    tells: make the record again for it
 *   ERR_UNAVAILABLE  the log has failed, or the disk is full
 *   ERR_TOO_LARGE    over max_record_bytes */
MUST_USE enum errc wal_append(struct wal *w, uint64_t generation, struct bytes record, void *user,
                              struct err *err);

/* Ends the current generation and returns once cut() has been called: *ended is the generation that
 * is complete now. ERR_UNAVAILABLE when the log has failed. */
MUST_USE enum errc wal_cut(struct wal *w, uint64_t *ended, struct err *err);

/* Everything up to this generation, an ended one, is stored elsewhere, and the caller will say so
 * in released when it opens the log again. */
MUST_USE enum errc wal_release(struct wal *w, uint64_t generation, struct err *err);

struct wal_stats {
    uint64_t bytes_written, records, syncs; /* since open */
    uint64_t replayed;                      /* good records met on open */
    uint64_t skipped; /* bad records met on open that had once been durable: data was lost */
    uint64_t torn;    /* others, cut off by a crash before anybody was told they were safe */
    uint64_t segments, segment_bytes; /* that hold unreleased records */
    bool failed;                      /* for good */
    bool stalled;                     /* the last append found no room for a segment */
};
void wal_stats(struct wal *w, struct wal_stats *out);
