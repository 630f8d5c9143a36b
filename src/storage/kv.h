/* kv.h -- LMDB environments, each a single file with a few named tables.
 *
 * Every commit is synced before it returns. A value that was read points into the file's map: it is
 * valid until the transaction ends, and in a write transaction until the next change. Tables are
 * numbered as in kv_options.tables.
 *
 * LMDB has no checksums: values must carry their own (seal.h, pack.h).
 *
 * Threads: one write transaction at a time (a second one waits), begun and ended on one thread; any
 * number of read transactions, each used by one thread at a time. The same file must not be open
 * twice in a process: closing one would drop the other's locks. That is the caller's to prevent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct kv;
struct kv_txn;

enum { KV_MAX_KEY = 511, KV_MAX_READERS = 1024 };

struct kv_options {
    const char *path;
    size_t map_bytes; /* address space to reserve: the file cannot outgrow it */
    bool create;      /* create the file, and tables it lacks */
    bool read_only;   /* change nothing, no lock file either: nobody may be writing. Tables among
                       * n_added that are missing are empty then */
    const char *const *tables;
    size_t n_tables;
    size_t n_added; /* so many of the last tables are younger than some files, which get them */
};

/* Opens the file. A new one appears under its name only when it is complete and durable.
 *   ERR_NOT_FOUND    there is none and create is false
 *   ERR_CORRUPT      not such a file, a table is missing, or shorter than its header says
 *   ERR_IO, ERR_NOMEM, ERR_UNAVAILABLE (no space left)
 */
MUST_USE enum errc kv_open(const struct kv_options *options, struct kv **out, struct err *err);
void kv_close(struct kv *kv); /* all transactions have ended; NULL is fine */

/* Removes the file and its lock file, durably. It is not open. OK when there is none. */
MUST_USE enum errc kv_remove(const char *path, struct err *err);

const char *kv_path(const struct kv *kv);
uint64_t kv_file_bytes(const struct kv *kv);

/* Copying a file as it is at one moment, while others go on writing to it. */
struct kv_copy;
MUST_USE enum errc kv_copy_begin(struct kv *kv, struct kv_copy **out, struct err *err);
uint64_t kv_copy_bytes(const struct kv_copy *c);
/* Writes it to path, which must not exist, and syncs it. go_on (NULL: none) is told now and then how
 * many bytes have been copied; false ends it with ERR_CANCELED. ERR_UNAVAILABLE: no space. */
MUST_USE enum errc kv_copy_run(struct kv_copy *c, const char *path,
                               bool (*go_on)(void *ctx, uint64_t bytes), void *ctx,
                               struct err *err);
void kv_copy_end(struct kv_copy *c); /* NULL is fine */

/* ERR_UNAVAILABLE when KV_MAX_READERS are active, ERR_IO after a failed commit has made the
 * environment unusable. */
MUST_USE enum errc kv_begin_read(struct kv *kv, struct kv_txn **out, struct err *err);
MUST_USE enum errc kv_begin_write(struct kv *kv, struct kv_txn **out, struct err *err);

/* Makes the changes durable, all or none. Ends the transaction either way.
 *   ERR_FULL         the map is full
 *   ERR_UNAVAILABLE  the device is full
 *   ERR_IO           the outcome of a failed sync is unknown: close the file */
MUST_USE enum errc kv_commit(struct kv_txn *t, struct err *err);

/* Ends a transaction without changes; NULL is fine. */
void kv_abort(struct kv_txn *t);

/* ERR_NOT_FOUND (err is left alone: it is an answer), ERR_CORRUPT. */
MUST_USE enum errc kv_get(struct kv_txn *t, unsigned table, struct bytes key, struct bytes *value,
                          struct err *err);

/* Adds or replaces. Errors as kv_commit; the transaction can only be aborted then. */
MUST_USE enum errc kv_put(struct kv_txn *t, unsigned table, struct bytes key, struct bytes value,
                          struct err *err);

/* Adds at the end of the table, filling pages completely: the key must be above all others
 * (ERR_CONFLICT otherwise). */
MUST_USE enum errc kv_append(struct kv_txn *t, unsigned table, struct bytes key, struct bytes value,
                             struct err *err);

/* A place in a table. key and value are those at the place, to be read only. */
struct kv_cursor {
    struct bytes key, value;
    struct kv_txn *txn; /* private, as is the next */
    void *mdb;
};

MUST_USE enum errc kv_cursor_open(struct kv_txn *t, unsigned table, struct kv_cursor *c,
                                  struct err *err);
void kv_cursor_close(struct kv_cursor *c); /* before its transaction ends; a zeroed one is fine */

/* Moves to the first key that is not below key, the next, the one before, or the last. Past either
 * end: ERR_NOT_FOUND, with err left alone. kv_next and kv_prev follow a successful move. */
MUST_USE enum errc kv_seek(struct kv_cursor *c, struct bytes key, struct err *err);
MUST_USE enum errc kv_next(struct kv_cursor *c, struct err *err);
MUST_USE enum errc kv_prev(struct kv_cursor *c, struct err *err);
MUST_USE enum errc kv_last(struct kv_cursor *c, struct err *err);

/* Deletes the entry at the place; move with kv_seek afterwards. */
MUST_USE enum errc kv_delete_at(struct kv_cursor *c, struct err *err);
