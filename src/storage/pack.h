/* pack.h -- columns of several series in one block of bytes, the unit in which samples are stored.
 *
 * A pack holds chunks: runs of at most PACK_MAX_SAMPLES samples of one series, each a column of
 * times, a column of values of some kind, and perhaps a column of start times. A column names
 * its codec, so that codecs can change while old packs stay readable. Chunks of a pack that have
 * the same times share one column. A pack is self-contained, and immutable once finished; the bytes
 * are drawn in pack.c and pinned by tests/golden/pack_v1.bin.
 *
 * One checksum covers the header and directory, and each column has its own: damage to a column is
 * an error for the series that use it, and for no other.
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
    PACK_MAX_SAMPLES = 1024
};

enum pack_kind { PACK_FLOAT, PACK_INT_HISTOGRAM, PACK_FLOAT_HISTOGRAM, PACK_KIND_COUNT };

/* n times in milliseconds, strictly increasing, 1 <= n <= PACK_MAX_SAMPLES. */
struct pack_times {
    const int64_t *t_ms;
    size_t n;
};

/* As many values as there are times. */
struct pack_values {
    enum pack_kind kind;
    const double *floats;                      /* PACK_FLOAT */
    const struct histogram *const *histograms; /* the other kinds; all in the form of the kind */
    const int64_t *start_ms;                   /* start times, 0 unknown; NULL: none is known */
};

/* ---- writing ---- */

struct pack_writer; /* opaque */

struct pack_writer *pack_writer_new(void); /* NULL when out of memory */
void pack_writer_free(struct pack_writer *w);

/* Adds a chunk of series id. Nothing has changed after an error.
 *   ERR_FULL         the pack would exceed PACK_TARGET_BYTES: finish it first. A pack without
 *                    chunks takes one of any size
 *   ERR_NOMEM */
MUST_USE enum errc pack_writer_add(struct pack_writer *w, uint32_t id, struct pack_times times,
                                   struct pack_values values);

/* Chunks added since the last pack_writer_finish(). */
size_t pack_writer_count(const struct pack_writer *w);

/* The finished pack (one chunk or more), borrowed until the next call on w, which begins a new
 * pack. ERR_NOMEM. */
MUST_USE enum errc pack_writer_finish(struct pack_writer *w, struct bytes *out);

/* ---- reading ---- */

/* An opened pack. Fields are private but for n_chunks. It borrows the bytes. */
struct pack {
    struct bytes data;
    size_t n_chunks;
};

struct pack_chunk {
    uint32_t id;
    enum pack_kind kind;
    size_t n;
    int64_t min_t_ms, max_t_ms;
    uint32_t at_times, at_values, at_starts; /* private: where the columns are */
};

/* Checks the header and directory. trusted skips the checksum of bytes that have passed this check
 * before; every offset is checked all the same. ERR_CORRUPT, ERR_UNSUPPORTED (newer version). */
MUST_USE enum errc pack_open(struct bytes data, bool trusted, struct pack *out, struct err *err);

/* Chunk i < n_chunks. Chunks are sorted by (id, min_t_ms). */
struct pack_chunk pack_chunk(const struct pack *p, size_t i);

/* The index of the first chunk of series id, or n_chunks when it has none here. */
size_t pack_find(const struct pack *p, uint32_t id);

/* Appends the chunk's samples to out. ERR_CORRUPT: a checksum fails, or times do not increase
 * within the chunk's bounds; out is unchanged. ERR_UNSUPPORTED: a kind or codec of a newer version.
 * ERR_NOMEM. */
MUST_USE enum errc pack_read(const struct pack *p, const struct pack_chunk *chunk,
                             struct column *out, struct err *err);
