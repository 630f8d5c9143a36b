/* push_groups.h -- what batch jobs push and then go away: groups of metrics, as in Prometheus'
 * Pushgateway.
 *
 * A group is named by its labels (job and any others), and holds the metrics that were pushed under
 * that name last. They are stored at the time of the push, and again at every interval while the
 * group lives, so that an instant query finds them; a staleness marker ends a series that was
 * replaced or deleted, or whose group was not pushed to for the time to live. push_time_seconds and
 * push_failure_time_seconds tell of each group when it was pushed to, and when in vain.
 *
 * Groups are durable: records of the store (db_write_records()), read again at the start.
 *
 * Threads: any; pushes wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "storage/labels.h"

struct db;
struct exposition;
struct push_groups; /* opaque */

struct push_groups_options {
    struct db *db;
    const struct clock *clock;
    int64_t interval_ms;    /* 1 min: how often everything is stored again */
    int64_t ttl_ms;         /* 90 d since the last push; 0: for ever */
    size_t max_groups;      /* 100,000 */
    size_t max_group_bytes; /* 4 MiB: a group, encoded */
    size_t max_bytes;       /* 64 MiB: all groups */
};

struct push_groups_options push_groups_options_default(struct db *db);

/* Reads the groups that are stored. ERR_NOMEM, ERR_IO, ERR_CORRUPT. */
MUST_USE enum errc push_groups_new(const struct push_groups_options *options,
                                   struct push_groups **out, struct err *err);
void push_groups_free(struct push_groups *g); /* after push_groups_stop(); NULL is fine */

/* Runs a thread that calls push_groups_tick() in time. ERR_LIMIT when there is no thread to be had. */
MUST_USE enum errc push_groups_start(struct push_groups *g, struct err *err);
void push_groups_stop(struct push_groups *g);

/* Checks the labels that name a group and sorts them, in place: a job, legacy names that do not
 * begin with __, each once, no more than the store takes. ERR_BAD_DATA. */
MUST_USE enum errc push_group_name(struct label *labels, size_t n, struct labels *name,
                                   struct err *err);

/* Stores what x has read (exposition_next(), one part, without timestamps) as the metrics of a
 * group: all of them (replace), or those of the families in x only. Labels of the name stand in
 * place of others. Nothing has changed after an error:
 *   ERR_BAD_DATA   two equal series, or a series whose labels the store does not take
 *   ERR_TOO_LARGE, ERR_LIMIT   over a limit of the options
 *   ERR_UNAVAILABLE, ERR_IO, ERR_NOMEM, ...   what the store said */
MUST_USE enum errc push_groups_push(struct push_groups *g, struct labels name,
                                    const struct exposition *x, bool replace, struct err *err);

/* Notes that somebody pushed to the group in vain. Errors as above. */
MUST_USE enum errc push_groups_failed(struct push_groups *g, struct labels name, struct err *err);

/* Deletes a group; one that is not there is deleted already. Errors as above. */
MUST_USE enum errc push_groups_delete(struct push_groups *g, struct labels name, struct err *err);

/* Stores all groups again when that is due, and ends those whose time is over. Returns how many
 * milliseconds it is until the next time. */
int64_t push_groups_tick(struct push_groups *g);

/* Appends all groups in the JSON of Pushgateway's /api/v1/metrics: an array. */
void push_groups_json(struct push_groups *g, struct buf *b);

struct push_groups_stats {
    size_t groups, bytes;
    uint64_t pushes, failures, expired, store_failures;
};
void push_groups_stats(struct push_groups *g, struct push_groups_stats *out);
