/* pack.h -- columns of several series in one block of bytes, the unit in which samples are stored.
 *
 * A pack holds chunks: runs of at most PACK_MAX_SAMPLES samples of one series, each a column of
 * times and a column of values of some kind, and perhaps a column of start times. How values are
 * encoded is named by a number for each chunk, so that codecs can change while old packs stay
 * readable. Chunks of a pack that have the same times share one column. The buckets of a classic
 * histogram may be stored as a group, each as what it counts beyond the bucket below it. A pack is
 * immutable once finished and self-contained, but for times that its writer stored beside it; the bytes are drawn in pack_private.h and pinned by
 * tests/golden/pack_v*.bin.
 *
 * One checksum covers the header and directory, small columns included, and each other column has
 * its own: damage to a column is an error for the series that use it, and for no other.
 *
 * Threads: a writer belongs to one thread; finished bytes may be read by any number.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/sample.h"

enum {
    PACK_TARGET_BYTES = 8 * 4096 - 16, /* eight pages, less the header LMDB puts before them */
    PACK_MAX_SAMPLES = 5760,           /* a day at 15 s */
    PACK_MAX_BUCKETS = 64,
};

enum pack_kind { PACK_FLOAT, PACK_INT_HISTOGRAM, PACK_FLOAT_HISTOGRAM, PACK_KIND_COUNT };

/* n times in milliseconds, strictly increasing, 1 <= n <= PACK_MAX_SAMPLES, the last at most
 * UINT32_MAX after the first. */
struct pack_times {
    const int64_t *t_ms;
    size_t n;
    /* So many more times lie before and behind them: chunks that are pieces of equal runs, of at
     * most PACK_MAX_SAMPLES in all, can share the times of the run. */
    size_t before, behind;
};

/* As many values as there are times. */
struct pack_values {
    enum pack_kind kind;
    const double *floats;                      /* PACK_FLOAT */
    const struct histogram *const *histograms; /* the other kinds; all in the form of the kind */
    const int64_t *start_ms;                   /* start times, 0 unknown; NULL: none is known */
};

/* One series of a histogram: it counts what is at most its bound, so that each next bucket of a
 * group counts at least as much as the one before, unless a scrape was torn. */
struct pack_bucket {
    uint32_t id;
    const double *floats;
    const int64_t *start_ms; /* as above */
};

/* ---- writing ---- */

struct pack_writer; /* opaque */

struct pack_writer *pack_writer_new(void); /* NULL when out of memory */
void pack_writer_free(struct pack_writer *w);

/* Has columns of times stored beside packs, where many share them: store takes what
 * pack_source.times gives back and numbers it; it returns UINT32_MAX when out of memory. Small
 * columns stay in their packs, as all do without this. */
void pack_writer_share_times(struct pack_writer *w,
                             uint32_t (*store)(void *ctx, struct bytes column), void *ctx);

/* Adds a chunk of series id. Nothing has changed after an error.
 *   ERR_FULL         the pack would exceed PACK_TARGET_BYTES: finish it first. A pack without
 *                    chunks takes one of any size
 *   ERR_NOMEM */
MUST_USE enum errc pack_writer_add(struct pack_writer *w, uint32_t id, struct pack_times times,
                                   struct pack_values values);

/* Whether buckets with these values can be a group: whole numbers up to 2^53, but for what is no
 * finite number. */
bool pack_are_counts(const double *v, size_t n);

/* Adds a chunk for each of 2..PACK_MAX_BUCKETS buckets, sorted by their bounds. Errors as above, and
 *   ERR_UNSUPPORTED  the values are no counts: add them one by one */
MUST_USE enum errc pack_writer_add_buckets(struct pack_writer *w, struct pack_times times,
                                           const struct pack_bucket *buckets, size_t n);

/* Chunks added since the last pack_writer_finish(). */
size_t pack_writer_count(const struct pack_writer *w);

/* The finished pack (one chunk or more), borrowed until the next call on w, which begins a new
 * pack. ERR_NOMEM. */
MUST_USE enum errc pack_writer_finish(struct pack_writer *w, struct bytes *out);

/* ---- reading ---- */

struct pack_cache; /* pack_cache.h */

/* What reading packs may need besides their bytes; all of it may be missing. */
struct pack_source {
    struct pack_cache *cache; /* saves decoding what chunks have in common once more for each */
    /* The column of times that was stored beside packs under this number: as long as the cache
     * lives always at the same place. */
    enum errc (*times)(void *ctx, uint32_t number, struct bytes *column, struct err *err);
    void *ctx;
};

/* An opened pack. Fields are private but for n_chunks. It borrows the bytes. */
struct pack {
    struct bytes data;
    size_t n_chunks;
    uint32_t n_times, n_groups;
    uint32_t at_columns; /* 0: version 1 */
};

/* Where a column is; private. */
struct pack_span {
    uint32_t at, len; /* of the payload */
};

struct pack_chunk {
    uint32_t id;
    enum pack_kind kind;
    size_t n;
    int64_t min_t_ms, max_t_ms;
    struct pack_span times, values, starts; /* private, as is the rest; at 0: none */
    uint8_t content, rank;
    bool is_inline;         /* the values are in the directory */
    bool times_are_aside;   /* times.len is their number */
    size_t run_n, run_from; /* of the run of times, and where the chunk begins in it */
};

/* Checks the header and directory. trusted skips the checksum of bytes that have passed this check
 * before. ERR_CORRUPT, ERR_UNSUPPORTED (newer version). */
MUST_USE enum errc pack_open(struct bytes data, bool trusted, struct pack *out, struct err *err);

/* Chunk i < n_chunks. Chunks are sorted by (id, min_t_ms). */
struct pack_chunk pack_chunk(const struct pack *p, size_t i);

/* The index of the first chunk of series id, or n_chunks when it has none here. */
size_t pack_find(const struct pack *p, uint32_t id);

/* Walks over chunks in order: what pack_chunk() gives, without beginning anew for each. Private. */
struct pack_iter {
    const struct pack *pack;
    size_t i; /* the chunk that comes next */
    struct reader entries;
    uint32_t id, times;
    size_t at; /* the next column of values or starts */
    bool bad;
};

/* Before chunk i <= n_chunks of a pack, which outlives the walk. */
struct pack_iter pack_iter_at(const struct pack *p, size_t i);

/* The chunk that comes next; there is one. */
struct pack_chunk pack_iter_next(struct pack_iter *it);

/* Appends the chunk's samples to out; source may be NULL. ERR_CORRUPT: a checksum fails, or times do
 * not increase within the chunk's bounds; out is unchanged. ERR_UNSUPPORTED: a kind or codec of a
 * newer version, or times that the source does not give. ERR_NOMEM. */
MUST_USE enum errc pack_read(const struct pack *p, const struct pack_chunk *chunk,
                             const struct pack_source *source, struct column *out, struct err *err);
