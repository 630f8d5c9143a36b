/* day_private.h -- what day.c, day_writer.c and day_reader.c share; not for others.
 *
 * Tables of a day file. Numbers in keys are big endian, in values little endian; every value but a
 * pack ends with its seal (seal.h), a pack has checksums of its own (pack.h).
 *
 *   table          key                            value
 *   meta           "format"                       u32 format version, i64 day number, u32 deletions
 *   flushes        u64 flush                      struct flush_record, in its order
 *   symbols        u32 symbol                     a label name or value
 *   symbol_hashes  u64 hash64(text)               u32 symbols whose text has this hash
 *   series         u32 series                     uvarint symbols of name and value, for each label
 *   series_hashes  u64 labels_hash()              u32 series whose labels have this hash
 *   postings       u32 name, u32 value, u64 flush the series which this flush added to name=value:
 *                                                 uvarint differences, the first from 0
 *   directory      u64 flush, u32 last series     u32 last series of the block before (0: none), then
 *                                                 u32 series, u32 first pack, u32 packs for each
 *                                                 series of the block, increasing
 *   packs          u64 flush, u32 number          a pack; numbers count from 0
 *   times          u64 flush, u32 number          a column of times that packs of the flush share
 *   exemplars      u32 series, u64 flush          uvarint number of them, then for each, by time: varint
 *                                                 time - time before, u64 bits of the value,
 *                                                 uvarint length and encoded labels (labels.h)
 *
 *   deletions      u32 number                     i64 first time, i64 last time, u64 newest flush that it
 *                                                 applies to; the series, as in postings
 *
 * Deletions are numbered from 1 and counted in "format" (from version 2 on), so that one which
 * cannot be found is noticed: what was deleted must not come back.
 *
 * Symbols and series are numbered from 1 in the order they came, so series 1..n are those of the
 * flushes that end with n. Packs are written in the order samples arrive, which is by labels, not
 * by series number (old series keep theirs): so the directory says where a series is. A series lies
 * in consecutive packs.
 *
 * A flush exists when its record does. Packs and times are written ahead of it by several transactions, so
 * that no transaction has to hold all of a flush in memory; all the rest comes with the record in
 * the last one. Packs without a record are from a flush that failed: the next writer removes them.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "storage/day.h"
#include "storage/kv.h"

enum {
    DAY_META,
    DAY_FLUSHES,
    DAY_SYMBOLS,
    DAY_SYMBOL_HASHES,
    DAY_SERIES,
    DAY_SERIES_HASHES,
    DAY_POSTINGS,
    DAY_DIRECTORY,
    DAY_PACKS,
    DAY_EXEMPLARS, /* files of older programs get it when they are opened */
    DAY_DELETIONS, /* this one too */
    DAY_TIMES,     /* and this one */
    DAY_TABLES
};

/* A block of the directory fills one page: 16 bytes of LMDB's header, the seal, then these. */
enum {
    DIRECTORY_HEADER_BYTES = 4,
    DIRECTORY_ENTRY_BYTES = 12,
    DIRECTORY_MAX_ENTRIES = (4096 - 16 - 4 - DIRECTORY_HEADER_BYTES) / DIRECTORY_ENTRY_BYTES
};

struct flush_record {
    uint64_t flush;             /* the key */
    int64_t min_t_ms, max_t_ms; /* min > max when it has no samples */
    uint64_t n_samples;
    uint32_t n_packs;
    uint32_t n_series;    /* that have samples in this flush */
    uint32_t highest;     /* of their numbers: the last key in the directory */
    uint32_t last_symbol; /* the highest numbers given out so far */
    uint32_t last_series;
};

/* A time range of some series that was deleted: what flushes up to this one brought. */
struct deletion {
    int64_t min_t_ms, max_t_ms;
    uint64_t flush;
    const uint32_t *ids; /* increasing */
    size_t n;
};

/* Those of a file; immutable and reference counted. */
struct deletions {
    atomic_uint refs;
    struct arena *arena;
    struct deletion *items;
    size_t n;
};

struct day {
    struct kv *kv;
    int64_t number;
    atomic_uint refs;
    pthread_mutex_t lock; /* guards the rest */
    uint64_t last_flush;
    int64_t min_t_ms, max_t_ms;
    struct day_summary summary;
    struct deletions *deletions; /* NULL: none */
};

enum { N_CHECKED = 1024 }; /* a power of two */

struct day_txn {
    struct day *day;
    struct kv_txn *kv;
    struct flush_record *flushes; /* those it may see */
    size_t n_flushes;
    struct kv_cursor directory;
    struct kv_cursor exemplars; /* opened when first needed */
    bool exemplars_open;
    uint32_t last_exemplar;   /* the last series that has any */
    struct pack_cache *cache; /* of times and buckets that series share */
    struct deletions *deletions;
    const uint8_t *checked[N_CHECKED];
};

/* Keys, in a buffer of their own: struct day_key k; kv_get(t, table, key_u32(&k, id), ...). */
struct day_key {
    uint8_t bytes[16];
};
struct bytes key_u32(struct day_key *k, uint32_t v);
struct bytes key_u64(struct day_key *k, uint64_t v);
struct bytes key_u64_u32(struct day_key *k, uint64_t a, uint32_t b); /* directory, packs */
struct bytes key_exemplars(struct day_key *k, uint32_t series, uint64_t flush);
struct bytes key_postings(struct day_key *k, uint32_t name, uint32_t value, uint64_t flush);

/* ERR_CORRUPT: "path: the seal of WHAT NUMBER is wrong". */
MUST_USE enum errc day_corrupt(const struct day *d, const char *what, uint64_t number,
                               struct err *err);

/* A value with its seal checked and cut off. ERR_NOT_FOUND leaves err alone. */
MUST_USE enum errc day_get(struct day *d, struct kv_txn *t, unsigned table, struct bytes key,
                           struct bytes *value, struct err *err);

/* Whether a key is not in a table for sure: a damaged key may hide an entry, but then one of the two
 * that should be its neighbours does not fit. ERR_CORRUPT says that it is not sure. */
MUST_USE enum errc day_prove_absent(struct day *d, struct kv_txn *t, unsigned table,
                                    struct bytes key, struct err *err);
/* The same for all keys before key, from the one that is found next to it on. */
MUST_USE enum errc day_prove_first(struct day *d, struct kv_txn *t, unsigned table,
                                   struct bytes key, struct err *err);

/* The symbol of a text, 0 when the file has none. */
MUST_USE enum errc day_find_symbol(struct day *d, struct kv_txn *t, struct str text, uint32_t *out,
                                   struct err *err);

/* The flushes up to max_flush in order, malloc'd. */
MUST_USE enum errc day_load_flushes(struct day *d, struct kv_txn *t, uint64_t max_flush,
                                    struct flush_record **out, size_t *n, struct err *err);

/* The newest flush; a zeroed record when there is none. */
MUST_USE enum errc day_last_record(struct day *d, struct kv_txn *t, struct flush_record *out,
                                   struct err *err);

/* The value that stands for r, without seal. */
void flush_record_encode(struct buf *b, const struct flush_record *r);

/* The first value of DAY_META. */
extern const struct bytes day_format_key;
MUST_USE enum errc day_put_format(struct day *d, struct kv_txn *t, uint32_t n_deletions,
                                  struct err *err);

/* Reads the n deletions of the file (day_deletions.c) and makes them known. */
MUST_USE enum errc day_load_deletions(struct day *d, struct kv_txn *t, uint32_t n, struct err *err);
/* A reference to those known, NULL for none. */
struct deletions *day_deletions(struct day *d);
void deletions_unref(struct deletions *d); /* NULL is fine */

/* Whether it applies to what a flush brought of a series. */
bool deletion_covers(const struct deletion *d, uint32_t id, uint64_t flush);

/* Makes a committed flush known. */
void day_note_flush(struct day *d, const struct flush_record *r);
