/* pack_v1.c -- reading packs of version 1, which nothing writes any more; little endian.
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
 * Differences are taken modulo 2^64.
 */
#include <string.h>

#include "base/hash.h"
#include "storage/codec_float.h"
#include "storage/pack_private.h"

#include "base/banned.h"

enum {
    AT_CHUNKS = 12,
    AT_CRC = 16,
    HEADER_BYTES = 24,
    AT_KIND = 4,
    AT_COUNT = 8,
    AT_TIMES = 12,
    AT_VALUES = 16,
    AT_STARTS = 20,
    AT_MIN_T = 24,
    AT_MAX_T = 32,
    ENTRY_BYTES = 40,
    AT_PAYLOAD_BYTES = 4,
    AT_CODEC = 8,
    COLUMN_HEADER_BYTES = 12,
    MAX_SAMPLES = 1024,
};
enum { CODEC_PLAIN = 0, CODEC_STEPS = 1, CODEC_FLOATS = 1 };

struct pack_chunk pack_v1_chunk(const struct pack *p, size_t i)
{
    const uint8_t *e = p->data.ptr + HEADER_BYTES + i * ENTRY_BYTES;

    return (struct pack_chunk){ .id = load_u32le(e),
                                .kind = (enum pack_kind)e[AT_KIND],
                                .n = load_u32le(e + AT_COUNT),
                                .min_t_ms = (int64_t)load_u64le(e + AT_MIN_T),
                                .max_t_ms = (int64_t)load_u64le(e + AT_MAX_T),
                                .times.at = load_u32le(e + AT_TIMES),
                                .values.at = load_u32le(e + AT_VALUES),
                                .starts.at = load_u32le(e + AT_STARTS) };
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
        struct pack_chunk c = pack_v1_chunk(p, i);

        if (c.n < 1 || c.n > MAX_SAMPLES || c.min_t_ms > c.max_t_ms
            || (i > 0 && pack_compare(last.id, last.min_t_ms, c.id, c.min_t_ms) > 0))
            return false;
        last = c;
    }
    return true;
}

/* Over header and directory, their own field left out. */
static uint32_t directory_crc(const uint8_t *p, size_t n_chunks)
{
    return crc32c(crc32c(0, p, AT_CRC), p + AT_CRC + 4,
                  HEADER_BYTES + n_chunks * ENTRY_BYTES - AT_CRC - 4);
}

enum errc pack_v1_open(struct bytes data, bool trusted, struct pack *out, struct err *err)
{
    struct pack p = { .data = data, .n_chunks = load_u32le(data.ptr + AT_CHUNKS) };

    if (load_u32le(data.ptr + PACK_AT_BYTES) != data.len || p.n_chunks < 1
        || p.n_chunks > (data.len - HEADER_BYTES) / ENTRY_BYTES)
        return err_set(err, ERR_CORRUPT, 0, "pack header is damaged");
    if (!trusted && load_u32le(data.ptr + AT_CRC) != directory_crc(data.ptr, p.n_chunks))
        return err_set(err, ERR_CORRUPT, 0, "checksum of pack directory is wrong");
    if (!trusted && !directory_is_sound(&p))
        return err_set(err, ERR_CORRUPT, 0, "pack directory is damaged");
    *out = p;
    return OK;
}

size_t pack_v1_find(const struct pack *p, uint32_t id)
{
    size_t low = 0, high = p->n_chunks;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (load_u32le(p->data.ptr + HEADER_BYTES + mid * ENTRY_BYTES) < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->n_chunks && pack_v1_chunk(p, low).id == id ? low : p->n_chunks;
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
    return err_set(err, ERR_CORRUPT, 0, "pack column of values at %u is damaged", chunk->values.at);
}

static enum errc open_values(const struct pack *p, const struct pack_chunk *chunk,
                             uint8_t max_codec, uint8_t *codec, struct bytes *payload,
                             struct err *err)
{
    enum errc rc = open_column(p, chunk->values.at, codec, payload, err);

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

    if (rc != OK)
        return rc;
    rc = pack_decode_rows(payload, t_ms, chunk->n, chunk->kind == PACK_INT_HISTOGRAM, out);
    if (rc == ERR_CORRUPT)
        rc = values_damaged(chunk, err);
    return rc == ERR_NOMEM ? err_set(err, ERR_NOMEM, 0, "out of memory") : rc;
}

static enum errc read_starts(const struct pack *p, const struct pack_chunk *chunk,
                             struct column *out, struct err *err)
{
    int64_t start_ms[MAX_SAMPLES];
    enum errc rc = read_times(p, chunk->starts.at, start_ms, chunk->n, err);

    for (size_t i = 0; rc == OK && i < chunk->n; i++)
        if (!column_set_start_at(out, out->n - chunk->n + i, start_ms[i]))
            rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    return rc;
}

enum errc pack_v1_read(const struct pack *p, const struct pack_chunk *chunk, struct column *out,
                       struct err *err)
{
    int64_t t_ms[MAX_SAMPLES];
    enum errc rc = read_times(p, chunk->times.at, t_ms, chunk->n, err);

    if (rc == OK && !times_are_sound(chunk, t_ms))
        rc = err_set(err, ERR_CORRUPT, 0, "pack column of times at %u is damaged", chunk->times.at);
    if (rc == OK)
        rc = chunk->kind == PACK_FLOAT ? read_floats(p, chunk, out, t_ms, err)
                                       : read_histograms(p, chunk, out, t_ms, err);
    if (rc == OK && chunk->starts.at)
        rc = read_starts(p, chunk, out, err);
    return rc;
}
