/* pack.c -- all numbers are little endian.
 *
 *   offset size  header
 *        0    4  magic "TMPK"
 *        4    1  version = 1
 *        5    3  zero
 *        8    4  bytes of the whole pack
 *       12    4  number of chunks, 1 or more
 *       16    4  CRC-32C of header and directory without this field
 *       20    4  zero
 *       24    n * 40  directory, sorted by (id, min time)
 *
 *   offset size  directory entry
 *        0    4  series id
 *        4    1  kind (enum pack_kind)
 *        5    3  zero
 *        8    4  number of samples, 1..1024
 *       12    4  offset of the column of times
 *       16    4  offset of the column of values
 *       20    4  offset of the column of start times, 0: none
 *       24    8  min time, ms
 *       32    8  max time, ms
 *
 *   offset size  column
 *        0    4  CRC-32C of the rest of the column
 *        4    4  bytes of payload
 *        8    1  codec
 *        9    3  zero
 *       12    n  payload
 *
 *   codecs of times   0  8 bytes each
 *                     1  zigzag LEB128 varints: first time, first step, then the difference of each
 *                        step to the one before
 *   codecs of floats  0  8 bytes each, bits of the double
 *                     1  codec_float.h
 *   codecs of         0  uvarint length, then the encoding of histogram.h, for each
 *     histograms
 *   codecs of starts  those of times; 0 is an unknown start time
 *
 * Differences are taken modulo 2^64, so that any two times have one. Columns follow the directory
 * in the order they were added; a column of times may be used by several chunks.
 */
#include "storage/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"
#include "storage/codec_float.h"
#include "storage/histogram.h"

#include "base/banned.h"

enum { AT_VERSION = 4, AT_BYTES = 8, AT_CHUNKS = 12, AT_CRC = 16, HEADER_BYTES = 24 };
enum {
    AT_KIND = 4,
    AT_COUNT = 8,
    AT_TIMES = 12,
    AT_VALUES = 16,
    AT_STARTS = 20,
    AT_MIN_T = 24,
    AT_MAX_T = 32,
    ENTRY_BYTES = 40
};
enum { AT_PAYLOAD_BYTES = 4, AT_CODEC = 8, COLUMN_HEADER_BYTES = 12 };
enum { VERSION = 1, CODEC_PLAIN = 0, CODEC_STEPS = 1, CODEC_FLOATS = 1 };
#define NO_STARTS UINT32_MAX /* at_starts in a writer, where 0 is a place */

static const char magic[4] = "TMPK";

struct pack_writer {
    struct pack_chunk *chunks; /* at_times, at_values, at_starts: from the start of columns */
    size_t n, cap;
    struct buf columns, scratch, one, out;
    int64_t times[PACK_MAX_SAMPLES]; /* of the last chunk */
    size_t n_times;
    struct floats_scratch floats;
};

/* ---- writing ---- */

struct pack_writer *pack_writer_new(void)
{
    return calloc(1, sizeof(struct pack_writer));
}

void pack_writer_free(struct pack_writer *w)
{
    if (!w)
        return;
    free(w->chunks);
    buf_free(&w->columns);
    buf_free(&w->scratch);
    buf_free(&w->one);
    buf_free(&w->out);
    free(w);
}

size_t pack_writer_count(const struct pack_writer *w)
{
    return w->n;
}

/* A column's header without its checksum and length, which end_column() fills in. */
static size_t begin_column(struct buf *b, uint8_t codec)
{
    const uint8_t header[COLUMN_HEADER_BYTES] = { [AT_CODEC] = codec };
    size_t start = b->len;

    buf_add(b, header, sizeof header);
    return start;
}

static void end_column(struct buf *b, size_t start)
{
    if (b->failed)
        return;
    store_u32le(b->ptr + start + AT_PAYLOAD_BYTES,
                (uint32_t)(b->len - start - COLUMN_HEADER_BYTES));
    store_u32le(b->ptr + start, crc32c(0, b->ptr + start + 4, b->len - start - 4));
}

/* Times, or start times. */
static void encode_times(struct buf *b, const int64_t *t_ms, size_t n)
{
    size_t start = begin_column(b, CODEC_STEPS);
    uint64_t last = 0, step = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t t = (uint64_t)t_ms[i], next_step = t - last;

        buf_varint(b, (int64_t)(i < 2 ? next_step : next_step - step));
        last = t;
        step = next_step;
    }
    end_column(b, start);
}

static void encode_floats(struct pack_writer *w, const double *v, size_t n)
{
    size_t start = begin_column(&w->scratch, CODEC_FLOATS);

    floats_encode(&w->scratch, v, n, &w->floats);
    end_column(&w->scratch, start);
}

static void encode_histograms(struct pack_writer *w, enum pack_kind kind,
                              const struct histogram *const *h, size_t n)
{
    size_t start = begin_column(&w->scratch, CODEC_PLAIN);

    for (size_t i = 0; i < n; i++) {
        ASSERT(h[i]->is_integer == (kind == PACK_INT_HISTOGRAM));
        buf_clear(&w->one);
        histogram_encode(&w->one, h[i]);
        w->scratch.failed |= w->one.failed;
        buf_uvarint(&w->scratch, w->one.len);
        buf_add(&w->scratch, w->one.ptr, w->one.len);
    }
    end_column(&w->scratch, start);
}

static bool any_start(const int64_t *start_ms, size_t n)
{
    for (size_t i = 0; start_ms && i < n; i++)
        if (start_ms[i])
            return true;
    return false;
}

static bool same_times(const struct pack_writer *w, struct pack_times times)
{
    return w->n > 0 && times.n == w->n_times
           && memcmp(times.t_ms, w->times, times.n * sizeof *w->times) == 0;
}

static void check_times(struct pack_times times)
{
    ASSERT(times.n >= 1 && times.n <= PACK_MAX_SAMPLES);
    for (size_t i = 1; i < times.n; i++)
        ASSERT(times.t_ms[i] > times.t_ms[i - 1]); /* a pack that breaks this cannot be read */
}

enum errc pack_writer_add(struct pack_writer *w, uint32_t id, struct pack_times times,
                          struct pack_values values)
{
    bool shared = same_times(w, times);
    struct pack_chunk chunk = { .id = id,
                                .kind = values.kind,
                                .n = times.n,
                                .min_t_ms = times.t_ms[0],
                                .max_t_ms = times.t_ms[times.n - 1] };

    check_times(times);
    buf_clear(&w->scratch);
    w->scratch.failed = false;
    if (!shared)
        encode_times(&w->scratch, times.t_ms, times.n);
    chunk.at_times = shared ? w->chunks[w->n - 1].at_times : (uint32_t)w->columns.len;
    chunk.at_values = (uint32_t)(w->columns.len + w->scratch.len);
    if (values.kind == PACK_FLOAT)
        encode_floats(w, values.floats, times.n);
    else
        encode_histograms(w, values.kind, values.histograms, times.n);
    chunk.at_starts = NO_STARTS;
    if (any_start(values.start_ms, times.n)) {
        chunk.at_starts = (uint32_t)(w->columns.len + w->scratch.len);
        encode_times(&w->scratch, values.start_ms, times.n);
    }
    if (w->n > 0
        && HEADER_BYTES + (w->n + 1) * ENTRY_BYTES + w->columns.len + w->scratch.len
               > PACK_TARGET_BYTES)
        return ERR_FULL;
    if (w->scratch.failed || !buf_reserve(&w->columns, w->scratch.len)
        || !vec_reserve(&w->chunks, &w->cap, w->n + 1, sizeof *w->chunks)) {
        w->columns.failed = false;
        return ERR_NOMEM;
    }
    buf_add(&w->columns, w->scratch.ptr, w->scratch.len);
    w->chunks[w->n++] = chunk;
    memcpy(w->times, times.t_ms, times.n * sizeof *w->times);
    w->n_times = times.n;
    return OK;
}

static int compare_chunks(const void *a, const void *b)
{
    const struct pack_chunk *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->min_t_ms > y->min_t_ms) - (x->min_t_ms < y->min_t_ms);
}

static void write_entry(struct buf *b, const struct pack_chunk *c, size_t columns_at)
{
    buf_u32(b, c->id);
    buf_u32(b, (uint32_t)c->kind); /* the kind's byte and three zeros */
    buf_u32(b, (uint32_t)c->n);
    buf_u32(b, (uint32_t)(columns_at + c->at_times));
    buf_u32(b, (uint32_t)(columns_at + c->at_values));
    buf_u32(b, c->at_starts == NO_STARTS ? 0 : (uint32_t)(columns_at + c->at_starts));
    buf_u64(b, (uint64_t)c->min_t_ms);
    buf_u64(b, (uint64_t)c->max_t_ms);
}

/* Over header and directory, their own field left out. */
static uint32_t directory_crc(const uint8_t *p, size_t n_chunks)
{
    return crc32c(crc32c(0, p, AT_CRC), p + AT_CRC + 4,
                  HEADER_BYTES + n_chunks * ENTRY_BYTES - AT_CRC - 4);
}

enum errc pack_writer_finish(struct pack_writer *w, struct bytes *out)
{
    size_t columns_at = HEADER_BYTES + w->n * ENTRY_BYTES;

    ASSERT(w->n > 0);
    qsort(w->chunks, w->n, sizeof *w->chunks, compare_chunks);
    buf_clear(&w->out);
    buf_add(&w->out, magic, sizeof magic);
    buf_u32(&w->out, VERSION);
    buf_u32(&w->out, (uint32_t)(columns_at + w->columns.len));
    buf_u32(&w->out, (uint32_t)w->n);
    buf_u64(&w->out, 0);
    for (size_t i = 0; i < w->n; i++)
        write_entry(&w->out, &w->chunks[i], columns_at);
    buf_add(&w->out, w->columns.ptr, w->columns.len);
    if (w->out.failed)
        return ERR_NOMEM;
    store_u32le(w->out.ptr + AT_CRC, directory_crc(w->out.ptr, w->n));
    w->n = 0;
    buf_clear(&w->columns);
    *out = buf_as_bytes(&w->out);
    return OK;
}

/* ---- reading ---- */

struct pack_chunk pack_chunk(const struct pack *p, size_t i)
{
    const uint8_t *e = p->data.ptr + HEADER_BYTES + i * ENTRY_BYTES;

    DEBUG_ASSERT(i < p->n_chunks);
    return (struct pack_chunk){ .id = load_u32le(e),
                                .kind = (enum pack_kind)e[AT_KIND],
                                .n = load_u32le(e + AT_COUNT),
                                .min_t_ms = (int64_t)load_u64le(e + AT_MIN_T),
                                .max_t_ms = (int64_t)load_u64le(e + AT_MAX_T),
                                .at_times = load_u32le(e + AT_TIMES),
                                .at_values = load_u32le(e + AT_VALUES),
                                .at_starts = load_u32le(e + AT_STARTS) };
}

/* Whether a whole column lies at offset, behind the directory. */
static bool column_fits(const struct pack *p, uint32_t at)
{
    return at >= HEADER_BYTES + p->n_chunks * ENTRY_BYTES && at <= p->data.len
           && p->data.len - at >= COLUMN_HEADER_BYTES
           && load_u32le(p->data.ptr + at + AT_PAYLOAD_BYTES)
                  <= p->data.len - at - COLUMN_HEADER_BYTES;
}

static bool directory_is_sound(const struct pack *p)
{
    struct pack_chunk last = { 0 };

    for (size_t i = 0; i < p->n_chunks; i++) {
        struct pack_chunk c = pack_chunk(p, i);

        if (c.n < 1 || c.n > PACK_MAX_SAMPLES || c.min_t_ms > c.max_t_ms
            || (i > 0 && compare_chunks(&last, &c) > 0))
            return false;
        last = c;
    }
    return true;
}

enum errc pack_open(struct bytes data, bool trusted, struct pack *out, struct err *err)
{
    struct pack p = { .data = data };

    if (data.len < HEADER_BYTES || memcmp(data.ptr, magic, sizeof magic) != 0)
        return err_set(err, ERR_CORRUPT, 0, "not a pack");
    if (data.ptr[AT_VERSION] > VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0, "pack version %d is newer than this program",
                       data.ptr[AT_VERSION]);
    p.n_chunks = load_u32le(data.ptr + AT_CHUNKS);
    if (load_u32le(data.ptr + AT_BYTES) != data.len || p.n_chunks < 1
        || p.n_chunks > (data.len - HEADER_BYTES) / ENTRY_BYTES)
        return err_set(err, ERR_CORRUPT, 0, "pack header is damaged");
    if (!trusted && load_u32le(data.ptr + AT_CRC) != directory_crc(data.ptr, p.n_chunks))
        return err_set(err, ERR_CORRUPT, 0, "checksum of pack directory is wrong");
    if (!trusted && !directory_is_sound(&p))
        return err_set(err, ERR_CORRUPT, 0, "pack directory is damaged");
    *out = p;
    return OK;
}

size_t pack_find(const struct pack *p, uint32_t id)
{
    size_t low = 0, high = p->n_chunks;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (load_u32le(p->data.ptr + HEADER_BYTES + mid * ENTRY_BYTES) < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->n_chunks && pack_chunk(p, low).id == id ? low : p->n_chunks;
}

/* The codec and payload of the column at offset. */
static enum errc open_column(const struct pack *p, uint32_t at, uint8_t *codec,
                             struct bytes *payload, struct err *err)
{
    const uint8_t *c = p->data.ptr + at;

    if (!column_fits(p, at))
        return err_set(err, ERR_CORRUPT, 0, "pack column at %u is outside its pack", at);
    *payload = (struct bytes){ c + COLUMN_HEADER_BYTES, load_u32le(c + AT_PAYLOAD_BYTES) };
    if (load_u32le(c) != crc32c(0, c + 4, COLUMN_HEADER_BYTES - 4 + payload->len))
        return err_set(err, ERR_CORRUPT, 0, "checksum of pack column at %u is wrong", at);
    *codec = c[AT_CODEC];
    return OK;
}

static bool decode_steps(struct bytes payload, int64_t *t_ms, size_t n)
{
    struct reader r = reader_on(payload);
    uint64_t t = 0, step = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t delta = (uint64_t)read_varint(&r);

        step = i < 2 ? delta : step + delta;
        t += step;
        t_ms[i] = (int64_t)t;
    }
    return !r.overrun && reader_left(&r) == 0;
}

static bool decode_plain(struct bytes payload, void *out, size_t n)
{
    if (payload.len != n * 8)
        return false;
    memcpy(out, payload.ptr, payload.len);
    return true;
}

static bool decode_floats(struct bytes payload, double *v, size_t n)
{
    struct reader r = reader_on(payload);

    return floats_decode(&r, v, n) && reader_left(&r) == 0;
}

static bool times_are_sound(const struct pack_chunk *chunk, const int64_t *t_ms)
{
    bool sound = t_ms[0] == chunk->min_t_ms && t_ms[chunk->n - 1] == chunk->max_t_ms;

    for (size_t i = 1; i < chunk->n; i++)
        sound &= t_ms[i] > t_ms[i - 1];
    return sound;
}

/* Reads a column of times, or of start times. */
static enum errc read_times(const struct pack *p, uint32_t at, int64_t *t_ms, size_t n,
                            struct err *err)
{
    struct bytes payload;
    uint8_t codec;
    enum errc rc = open_column(p, at, &codec, &payload, err);

    if (rc != OK)
        return rc;
    if (codec > CODEC_STEPS)
        return err_set(err, ERR_UNSUPPORTED, 0, "codec %d of times is not known", codec);
    if (!(codec == CODEC_STEPS ? decode_steps(payload, t_ms, n) : decode_plain(payload, t_ms, n)))
        return err_set(err, ERR_CORRUPT, 0, "pack column of times at %u is damaged", at);
    return OK;
}

static enum errc values_damaged(const struct pack_chunk *chunk, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0, "pack column of values at %u is damaged", chunk->at_values);
}

static enum errc open_values(const struct pack *p, const struct pack_chunk *chunk,
                             uint8_t max_codec, uint8_t *codec, struct bytes *payload,
                             struct err *err)
{
    enum errc rc = open_column(p, chunk->at_values, codec, payload, err);

    if (rc == OK && *codec > max_codec)
        rc = err_set(err, ERR_UNSUPPORTED, 0, "codec %d of values is not known", *codec);
    return rc;
}

static enum errc read_floats(const struct pack *p, const struct pack_chunk *chunk,
                             struct column *out, const int64_t *t_ms, struct err *err)
{
    struct bytes payload;
    uint8_t codec;
    enum errc rc = open_values(p, chunk, CODEC_FLOATS, &codec, &payload, err);

    if (rc != OK)
        return rc;
    if (!(codec == CODEC_FLOATS ? decode_floats(payload, out->v + out->n, chunk->n)
                                : decode_plain(payload, out->v + out->n, chunk->n)))
        return values_damaged(chunk, err);
    memcpy(out->t_ms + out->n, t_ms, chunk->n * sizeof *t_ms);
    column_filled(out, chunk->n);
    return OK;
}

static enum errc read_histograms(const struct pack *p, const struct pack_chunk *chunk,
                                 struct column *out, const int64_t *t_ms, struct err *err)
{
    struct bytes payload;
    uint8_t codec;
    enum errc rc = open_values(p, chunk, CODEC_PLAIN, &codec, &payload, err);
    struct reader r = reader_on(payload);

    for (size_t i = 0; rc == OK && i < chunk->n; i++) {
        rc = column_add_encoded(out, t_ms[i], read_bytes(&r, read_uvarint(&r)));
        if (rc == OK && out->h[out->n - 1]->is_integer != (chunk->kind == PACK_INT_HISTOGRAM))
            rc = ERR_CORRUPT;
        if (rc == ERR_CORRUPT)
            rc = values_damaged(chunk, err);
        else if (rc == ERR_NOMEM)
            rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    }
    if (rc == OK && reader_left(&r) > 0)
        rc = values_damaged(chunk, err);
    return rc;
}

static enum errc read_starts(const struct pack *p, const struct pack_chunk *chunk,
                             struct column *out, struct err *err)
{
    int64_t start_ms[PACK_MAX_SAMPLES];
    enum errc rc = read_times(p, chunk->at_starts, start_ms, chunk->n, err);

    for (size_t i = 0; rc == OK && i < chunk->n; i++)
        if (!column_set_start_at(out, out->n - chunk->n + i, start_ms[i]))
            rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    return rc;
}

enum errc pack_read(const struct pack *p, const struct pack_chunk *chunk, struct column *out,
                    struct err *err)
{
    int64_t t_ms[PACK_MAX_SAMPLES];
    size_t n_before = out->n;
    enum errc rc;

    if (chunk->kind >= PACK_KIND_COUNT)
        return err_set(err, ERR_UNSUPPORTED, 0, "values of kind %d cannot be read", chunk->kind);
    if (!column_reserve(out, out->n + chunk->n))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    rc = read_times(p, chunk->at_times, t_ms, chunk->n, err);
    if (rc == OK && !times_are_sound(chunk, t_ms))
        rc = err_set(err, ERR_CORRUPT, 0, "pack column of times at %u is damaged", chunk->at_times);
    if (rc == OK)
        rc = chunk->kind == PACK_FLOAT ? read_floats(p, chunk, out, t_ms, err)
                                       : read_histograms(p, chunk, out, t_ms, err);
    if (rc == OK && chunk->at_starts)
        rc = read_starts(p, chunk, out, err);
    if (rc != OK)
        out->n = n_before;
    return rc;
}
