/* alert_store.h -- the states of alerts as records of the store, so that a restart forgets none.
 *
 * One record an alert; the bytes are drawn in alert_store.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alert_state.h"
#include "base/bytes.h"
#include "base/err.h"

struct arena;
struct db;

enum { ALERT_KEY_BYTES = 25, ALERT_MAX_PAIRS = 1024 };

/* Whose alert it is: hashes of its group and its rule (group.h), and alert.hash. */
struct alert_key {
    uint64_t group, rule, labels;
};

/* Changes that are to become durable together. Zero-initialise it; free it with
 * alert_changes_free(). */
struct alert_changes {
    struct buf bytes; /* keys and values */
    struct alert_span {
        size_t key_at, value_at, n_value; /* in bytes */
    } * spans;
    size_t n, cap;
    bool failed; /* for want of memory */
};
void alert_changes_free(struct alert_changes *c);

void alert_changes_put(struct alert_changes *c, const struct alert_key *key, const struct alert *a);
void alert_changes_delete(struct alert_changes *c, const struct alert_key *key);

/* Adds what has changed in a set since alert_set_saved(); with all, the removal of everything that
 * was ever saved of it. */
void alert_changes_of(struct alert_changes *c, uint64_t group, uint64_t rule,
                      const struct alert_set *set, bool all);

/* Makes the changes, all or none; of several for one key the last counts. */
MUST_USE enum errc alert_changes_commit(const struct alert_changes *c, struct db *db,
                                        struct err *err);

struct stored_alert {
    struct alert_key key;
    struct alert alert;
    bool taken; /* the reader's own mark */
};

/* All alerts of the store, by key, in the arena. A record that makes no sense is left out with a
 * warning in the log. */
MUST_USE enum errc alert_store_read(struct db *db, struct arena *a, struct stored_alert **out,
                                    size_t *n, struct err *err);

/* One record, copied into the arena. ERR_CORRUPT, ERR_LIMIT, ERR_UNSUPPORTED (a newer version). */
MUST_USE enum errc alert_record_decode(struct bytes key, struct bytes value, struct arena *a,
                                       struct stored_alert *out, struct err *err);
