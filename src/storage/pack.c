/* pack.c -- reading packs; drawn in pack_private.h. */
#include "storage/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/codec_float.h"
#include "storage/codec_histogram.h"
#include "storage/histogram.h"
#include "storage/kernels.h"
#include "storage/pack_cache.h"
#include "storage/pack_private.h"

#include "base/banned.h"

/* ---- the directory ---- */

static size_t n_blocks(const struct pack *p)
{
    return (p->n_chunks + PACK_BLOCK_CHUNKS - 1) / PACK_BLOCK_CHUNKS;
}

static const uint8_t *times_entry(const struct pack *p, size_t i)
{
    return p->data.ptr + PACK_AT_TABLES + i * PACK_TIMES_BYTES;
}

static const uint8_t *group_entry(const struct pack *p, size_t i)
{
    return times_entry(p, p->n_times) + i * PACK_GROUP_BYTES;
}

static const uint8_t *block_entry(const struct pack *p, size_t i)
{
    return group_entry(p, p->n_groups) + i * PACK_BLOCK_BYTES;
}

static uint16_t load_u16le(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* The column with its checksum from offset at to end, both counted from the end of the directory.
 * {0} when there is none. */
static struct pack_span span_between(const struct pack *p, size_t at, size_t end)
{
    if (at > end || end - at < PACK_CRC_BYTES || end > p->data.len - p->at_columns)
        return (struct pack_span){ 0 };
    return (struct pack_span){ (uint32_t)(p->at_columns + at + PACK_CRC_BYTES),
                               (uint32_t)(end - at - PACK_CRC_BYTES) };
}

/* Where the columns of chunks begin. */
static uint32_t first_values(const struct pack *p)
{
    return load_u32le(block_entry(p, 0) + 6);
}

static struct pack_span group_span(const struct pack *p, size_t i)
{
    return span_between(p, load_u32le(group_entry(p, i)),
                        i + 1 < p->n_groups ? load_u32le(group_entry(p, i + 1)) : first_values(p));
}

static struct pack_span times_span(const struct pack *p, const uint8_t *entry)
{
    uint32_t at = load_u32le(entry + 14), len = load_u32le(entry + 18);

    if (len > UINT32_MAX - PACK_CRC_BYTES - at)
        return (struct pack_span){ 0 };
    return span_between(p, at, (size_t)at + PACK_CRC_BYTES + len);
}

/* At the first entry of a block. */
static struct pack_iter walk_block(const struct pack *p, size_t block)
{
    const uint8_t *e = block_entry(p, block);
    size_t from = PACK_HEADER_BYTES + load_u16le(e + 4);
    struct pack_iter w = {
        .pack = p, .i = block * PACK_BLOCK_CHUNKS, .id = load_u32le(e), .at = load_u32le(e + 6)
    };

    w.bad = from > p->at_columns;
    w.entries = reader_on(w.bad ? (struct bytes){ 0 }
                                : (struct bytes){ p->data.ptr + from, p->at_columns - from });
    return w;
}

/* The next column of this length. */
static struct pack_span take_column(struct pack_iter *w, uint64_t len)
{
    size_t left = w->pack->data.len - w->pack->at_columns;
    struct pack_span span = { 0 };

    if (w->at <= left && len <= left - w->at && PACK_CRC_BYTES <= left - w->at - len)
        span = span_between(w->pack, w->at, w->at + len + PACK_CRC_BYTES);
    w->bad |= !span.at;
    w->at += span.len + PACK_CRC_BYTES;
    return span;
}

static void take_times(struct pack_iter *w, struct pack_chunk *c)
{
    const uint8_t *e;
    uint32_t at;

    if (w->times >= w->pack->n_times) {
        w->bad = true;
        return;
    }
    e = times_entry(w->pack, w->times);
    c->min_t_ms = (int64_t)load_u64le(e);
    c->max_t_ms = (int64_t)((uint64_t)c->min_t_ms + load_u32le(e + 8));
    c->n = load_u16le(e + 12);
    at = load_u32le(e + 14);
    c->times_are_aside = at & PACK_ASIDE;
    if (c->times_are_aside) {
        c->times = (struct pack_span){ PACK_ASIDE, load_u32le(e + 18) };
        c->run_n = at >> PACK_RUN_SHIFT & PACK_RUN_MASK;
        c->run_from = at & PACK_RUN_MASK;
    } else {
        c->times = times_span(w->pack, e);
        c->run_n = c->n;
    }
    w->bad |= !c->times.at || c->run_n > PACK_MAX_SAMPLES || c->run_from + c->n > c->run_n;
}

static void take_values(struct pack_iter *w, struct pack_chunk *c, uint8_t head)
{
    if (c->content == PACK_BUCKET) {
        uint64_t group = read_uvarint(&w->entries);

        c->rank = read_u8(&w->entries);
        if (group < w->pack->n_groups)
            c->values = group_span(w->pack, group);
    } else {
        uint64_t len = read_uvarint(&w->entries);

        c->is_inline = head & PACK_INLINE;
        if (c->is_inline) {
            struct bytes here = read_bytes(&w->entries, len);

            if (here.ptr)
                c->values = (struct pack_span){ (uint32_t)(here.ptr - w->pack->data.ptr),
                                                (uint32_t)here.len };
        } else {
            c->values = take_column(w, len);
        }
    }
    w->bad |= !c->values.at;
}

static enum pack_kind kind_of(uint8_t content)
{
    static const enum pack_kind kinds[PACK_CONTENT_COUNT] = {
        [PACK_FLOATS] = PACK_FLOAT,
        [PACK_INT_ROWS] = PACK_INT_HISTOGRAM,
        [PACK_FLOAT_ROWS] = PACK_FLOAT_HISTOGRAM,
        [PACK_BUCKET] = PACK_FLOAT,
        [PACK_INT_COLUMNS] = PACK_INT_HISTOGRAM,
        [PACK_FLOAT_COLUMNS] = PACK_FLOAT_HISTOGRAM,
    };

    return content < PACK_CONTENT_COUNT ? kinds[content] : PACK_KIND_COUNT;
}

/* The next entry; sets bad when it makes no sense. */
static struct pack_chunk walk_next(struct pack_iter *w)
{
    uint8_t head = read_u8(&w->entries);
    struct pack_chunk c = { .content = head & PACK_CONTENT_MASK };
    uint64_t step = head & PACK_NEXT_ID ? 1 : read_uvarint(&w->entries);

    w->bad |= step > UINT32_MAX - w->id || head & 128;
    c.id = w->id += (uint32_t)step;
    if (!(head & PACK_SAME_TIMES)) {
        uint64_t number = read_uvarint(&w->entries);

        w->times = number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
    }
    take_times(w, &c);
    c.kind = kind_of(c.content);
    take_values(w, &c, head);
    if (head & PACK_HAS_STARTS)
        c.starts = take_column(w, read_uvarint(&w->entries));
    w->bad |= w->entries.overrun;
    return c;
}

struct pack_iter pack_iter_at(const struct pack *p, size_t i)
{
    struct pack_iter it = { .pack = p, .i = i };

    if (p->at_columns == 0 || i >= p->n_chunks)
        return it;
    it = walk_block(p, i / PACK_BLOCK_CHUNKS);
    for (; it.i < i && !it.bad; it.i++)
        (void)walk_next(&it);
    it.i = i;
    return it;
}

struct pack_chunk pack_iter_next(struct pack_iter *it)
{
    struct pack_chunk c = { 0 };

    ASSERT(it->i < it->pack->n_chunks);
    if (it->pack->at_columns == 0)
        return pack_v1_chunk(it->pack, it->i++);
    if (it->i % PACK_BLOCK_CHUNKS == 0)
        *it = walk_block(it->pack, it->i / PACK_BLOCK_CHUNKS);
    it->i++;
    if (!it->bad)
        c = walk_next(it);
    if (it->bad)
        c.times.at = 0; /* pack_read() refuses it */
    return c;
}

struct pack_chunk pack_chunk(const struct pack *p, size_t i)
{
    struct pack_iter it = pack_iter_at(p, i);

    return pack_iter_next(&it);
}

size_t pack_find(const struct pack *p, uint32_t id)
{
    size_t low = 0, high = n_blocks(p);
    struct pack_iter w = { 0 };

    if (!p->at_columns)
        return pack_v1_find(p, id);
    while (low < high) { /* the first block that begins with id or more */
        size_t mid = low + (high - low) / 2;

        if (load_u32le(block_entry(p, mid)) < id)
            low = mid + 1;
        else
            high = mid;
    }
    for (size_t i = low ? (low - 1) * PACK_BLOCK_CHUNKS : 0; i < p->n_chunks; i++) {
        struct pack_chunk c;

        if (i % PACK_BLOCK_CHUNKS == 0)
            w = walk_block(p, i / PACK_BLOCK_CHUNKS);
        c = walk_next(&w);
        if (w.bad || c.id > id)
            break;
        if (c.id == id)
            return i;
    }
    return p->n_chunks;
}

/* ---- opening ---- */

static uint32_t directory_crc(const struct pack *p)
{
    const uint8_t *b = p->data.ptr;

    return crc32c(crc32c(0, b, PACK_AT_CRC), b + PACK_AT_CRC + 4, p->at_columns - PACK_AT_CRC - 4);
}

static bool is_sound_chunk(const struct pack_chunk *c, const struct pack_chunk *last)
{
    return c->n >= 1 && c->n <= PACK_MAX_SAMPLES && c->min_t_ms <= c->max_t_ms
           && (!last || pack_compare(last->id, last->min_t_ms, c->id, c->min_t_ms) <= 0);
}

/* Whether blocks and entries agree with each other and with the pack's size. */
static bool directory_is_sound(const struct pack *p)
{
    struct pack_chunk last = { 0 };
    struct pack_iter w = { 0 };

    for (size_t i = 0; i < p->n_chunks; i++) {
        struct pack_chunk c;
        uint32_t begins_with;

        if (i % PACK_BLOCK_CHUNKS == 0) {
            struct pack_iter next = walk_block(p, i / PACK_BLOCK_CHUNKS);

            if (i > 0 && (next.entries.p != w.entries.p || next.at != w.at))
                return false;
            w = next;
        }
        begins_with = w.id;
        c = walk_next(&w);
        if (w.bad || !is_sound_chunk(&c, i ? &last : NULL)
            || (i % PACK_BLOCK_CHUNKS == 0 && c.id != begins_with)) /* or pack_find() would err */
            return false;
        last = c;
    }
    return reader_left(&w.entries) == 0 && w.at == p->data.len - p->at_columns;
}

/* Whether the fixed tables fit into the directory. */
static bool tables_fit(struct pack *p)
{
    size_t room = p->at_columns - PACK_HEADER_BYTES;

    if (room < PACK_AT_TABLES - PACK_HEADER_BYTES)
        return false;
    p->n_times = load_u16le(p->data.ptr + PACK_HEADER_BYTES);
    p->n_groups = load_u16le(p->data.ptr + PACK_HEADER_BYTES + 2);
    return p->n_chunks >= 1 && p->n_chunks <= room
           && (size_t)(block_entry(p, n_blocks(p)) - p->data.ptr) <= p->at_columns;
}

enum errc pack_open(struct bytes data, bool trusted, struct pack *out, struct err *err)
{
    struct pack p = { .data = data };

    if (data.len < PACK_HEADER_BYTES || memcmp(data.ptr, pack_magic, sizeof pack_magic) != 0)
        return err_set(err, ERR_CORRUPT, 0, "not a pack");
    if (data.ptr[PACK_AT_VERSION] > PACK_VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0, "pack version %d is newer than this program",
                       data.ptr[PACK_AT_VERSION]);
    if (data.ptr[PACK_AT_VERSION] < PACK_VERSION)
        return pack_v1_open(data, trusted, out, err);
    p.n_chunks = load_u32le(data.ptr + PACK_AT_CHUNKS);
    if (load_u32le(data.ptr + PACK_AT_BYTES) != data.len
        || load_u32le(data.ptr + PACK_AT_DIRECTORY_BYTES) > data.len - PACK_HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, 0, "pack header is damaged");
    p.at_columns = PACK_HEADER_BYTES + load_u32le(data.ptr + PACK_AT_DIRECTORY_BYTES);
    if (!trusted && load_u32le(data.ptr + PACK_AT_CRC) != directory_crc(&p))
        return err_set(err, ERR_CORRUPT, 0, "checksum of pack directory is wrong");
    if (!tables_fit(&p) || (!trusted && !directory_is_sound(&p)))
        return err_set(err, ERR_CORRUPT, 0, "pack directory is damaged");
    *out = p;
    return OK;
}

/* ---- reading ---- */

/* The payload of a column, its checksum checked. */
static enum errc open_column(const struct pack *p, struct pack_span span, struct bytes *payload,
                             struct err *err)
{
    *payload = (struct bytes){ p->data.ptr + span.at, span.len };
    if (load_u32le(payload->ptr - PACK_CRC_BYTES) != crc32c(0, payload->ptr, payload->len))
        return err_set(err, ERR_CORRUPT, 0, "checksum of pack column at %u is wrong", span.at);
    return OK;
}

static enum errc damaged(const char *what, struct pack_span span, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0, "pack column of %s at %u is damaged", what, span.at);
}

static bool decode_ints(struct bytes payload, int64_t *out, size_t n)
{
    struct reader r = reader_on(payload);

    return ints_decode(&r, out, n) && reader_left(&r) == 0;
}

static bool decode_floats(struct bytes payload, double *out, size_t n)
{
    struct reader r = reader_on(payload);

    return floats_decode(&r, out, n) && reader_left(&r) == 0;
}

static bool decode_run(struct bytes payload, int64_t *run, size_t n)
{
    bool sound = decode_ints(payload, run, n);

    for (size_t i = 1; sound && i < n; i++)
        sound = run[i] > run[i - 1];
    return sound;
}

/* Opens what a chunk shares with others. */
static enum errc open_times(const struct pack *p, const struct pack_chunk *chunk,
                            const struct pack_source *source, struct bytes *payload,
                            struct err *err)
{
    if (!chunk->times_are_aside)
        return open_column(p, chunk->times, payload, err);
    if (!source || !source->times)
        return err_set(err, ERR_UNSUPPORTED, 0, "times beside the pack are not given");
    return source->times(source->ctx, chunk->times.len, payload, err);
}

static enum errc times_damaged(const struct pack_chunk *chunk, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0, "the times of a chunk of series %u are damaged", chunk->id);
}

/* The run that a chunk's times are part of: borrowed from the cache, or in alone without one. */
static enum errc find_run(const struct pack_chunk *chunk, struct bytes payload,
                          struct pack_cache *cache, int64_t alone[PACK_MAX_SAMPLES],
                          const int64_t **out, struct err *err)
{
    size_t n = chunk->run_n;
    int64_t *run = alone;

    *out = cache ? pack_cache_get(cache, payload.ptr, n) : NULL;
    if (*out)
        return OK;
    if (cache && !(run = pack_cache_put(cache, payload.ptr, n, n * sizeof *run)))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    *out = run;
    if (decode_run(payload, run, n))
        return OK;
    if (cache)
        pack_cache_drop(cache, payload.ptr, n);
    return times_damaged(chunk, err);
}

static enum errc read_times(const struct pack *p, const struct pack_chunk *chunk,
                            const struct pack_source *source, int64_t *out, struct err *err)
{
    int64_t alone[PACK_MAX_SAMPLES];
    struct bytes payload;
    const int64_t *run = NULL;
    enum errc rc = open_times(p, chunk, source, &payload, err);

    if (rc == OK)
        rc = find_run(chunk, payload, source ? source->cache : NULL, alone, &run, err);
    if (rc != OK)
        return rc;
    memcpy(out, run + chunk->run_from, chunk->n * sizeof *out);
    return out[0] == chunk->min_t_ms && out[chunk->n - 1] == chunk->max_t_ms
               ? OK
               : times_damaged(chunk, err);
}

/* ---- groups ---- */

/* A group's column, opened. */
struct group {
    size_t m;
    uint64_t lengths[PACK_MAX_BUCKETS];
    struct reader columns;
};

static enum errc open_group(const struct pack *p, const struct pack_chunk *chunk, struct group *g,
                            struct err *err)
{
    struct bytes payload;
    enum errc rc = open_column(p, chunk->values, &payload, err);

    if (rc != OK)
        return rc;
    g->columns = reader_on(payload);
    g->m = read_u8(&g->columns);
    if (g->m > PACK_MAX_BUCKETS || chunk->rank >= g->m)
        return damaged("buckets", chunk->values, err);
    for (size_t i = 0; i < g->m; i++)
        g->lengths[i] = read_uvarint(&g->columns);
    return OK;
}

/* Decodes the next bucket of a group. */
static bool next_bucket(struct group *g, size_t i, double *sum, double *out, size_t n)
{
    struct bytes column = read_bytes(&g->columns, g->lengths[i]);

    if (g->columns.overrun || !decode_floats(column, out, n))
        return false;
    kernel_accumulate(sum, out, n);
    return true;
}

/* All buckets, one after the other. */
static enum errc decode_group(const struct pack *p, const struct pack_chunk *chunk, double *out,
                              struct err *err)
{
    double sum[PACK_MAX_SAMPLES];
    struct group g;
    enum errc rc = open_group(p, chunk, &g, err);

    memset(sum, 0, chunk->n * sizeof *sum);
    for (size_t i = 0; rc == OK && i < g.m; i++)
        if (!next_bucket(&g, i, sum, out + i * chunk->n, chunk->n))
            rc = damaged("buckets", chunk->values, err);
    return rc;
}

/* One bucket without a cache: those below it are decoded for nothing. */
static enum errc decode_bucket(const struct pack *p, const struct pack_chunk *chunk, double *out,
                               struct err *err)
{
    double sum[PACK_MAX_SAMPLES];
    struct group g;
    enum errc rc = open_group(p, chunk, &g, err);

    memset(sum, 0, chunk->n * sizeof *sum);
    for (size_t i = 0; rc == OK && i <= chunk->rank; i++)
        if (!next_bucket(&g, i, sum, out, chunk->n))
            rc = damaged("buckets", chunk->values, err);
    return rc;
}

static enum errc read_bucket(const struct pack *p, const struct pack_chunk *chunk,
                             struct pack_cache *cache, double *out, struct err *err)
{
    const uint8_t *key = p->data.ptr + chunk->values.at;
    size_t m = chunk->values.len ? *key : 0, n = m * chunk->n;
    const double *all;
    double *fresh;
    enum errc rc;

    if (!cache || chunk->rank >= m)
        return decode_bucket(p, chunk, out, err);
    all = pack_cache_get(cache, key, n);
    if (!all) {
        all = fresh = pack_cache_put(cache, key, n, n * sizeof *fresh);
        if (!fresh)
            return err_set(err, ERR_NOMEM, 0, "out of memory");
        rc = decode_group(p, chunk, fresh, err);
        if (rc != OK) {
            pack_cache_drop(cache, key, n);
            return rc;
        }
    }
    memcpy(out, all + chunk->rank * chunk->n, chunk->n * sizeof *out);
    return OK;
}

/* ---- chunks ---- */

static enum errc read_floats(const struct pack *p, const struct pack_chunk *chunk, double *out,
                             struct err *err)
{
    struct bytes payload = { p->data.ptr + chunk->values.at, chunk->values.len };
    enum errc rc = chunk->is_inline ? OK : open_column(p, chunk->values, &payload, err);

    if (rc == OK && !decode_floats(payload, out, chunk->n))
        rc = damaged("values", chunk->values, err);
    return rc;
}

enum errc pack_decode_rows(struct bytes payload, const int64_t *t_ms, size_t n, bool is_integer,
                           struct column *out)
{
    struct reader r = reader_on(payload);
    enum errc rc = OK;

    for (size_t i = 0; rc == OK && i < n; i++) {
        rc = column_add_encoded(out, t_ms[i], read_bytes(&r, read_uvarint(&r)));
        if (rc == OK && out->h[out->n - 1]->is_integer != is_integer)
            rc = ERR_CORRUPT;
    }
    return rc == OK && reader_left(&r) > 0 ? ERR_CORRUPT : rc;
}

static enum errc decode_columns(struct bytes payload, const int64_t *t_ms, size_t n,
                                bool is_integer, struct column *out)
{
    struct reader r = reader_on(payload);
    enum errc rc = histograms_decode(&r, is_integer, t_ms, n, out);

    return rc == OK && reader_left(&r) > 0 ? ERR_CORRUPT : rc;
}

static enum errc read_histograms(const struct pack *p, const struct pack_chunk *chunk,
                                 const int64_t *t_ms, struct column *out, struct err *err)
{
    struct bytes payload = { p->data.ptr + chunk->values.at, chunk->values.len };
    bool is_integer = chunk->kind == PACK_INT_HISTOGRAM;
    enum errc rc = chunk->is_inline ? OK : open_column(p, chunk->values, &payload, err);

    if (rc != OK)
        return rc;
    rc = chunk->content == PACK_INT_ROWS || chunk->content == PACK_FLOAT_ROWS
             ? pack_decode_rows(payload, t_ms, chunk->n, is_integer, out)
             : decode_columns(payload, t_ms, chunk->n, is_integer, out);
    if (rc == ERR_CORRUPT)
        rc = damaged("values", chunk->values, err);
    return rc == ERR_NOMEM ? err_set(err, ERR_NOMEM, 0, "out of memory") : rc;
}

static enum errc read_starts(const struct pack *p, const struct pack_chunk *chunk,
                             struct column *out, struct err *err)
{
    int64_t start_ms[PACK_MAX_SAMPLES];
    struct bytes payload;
    enum errc rc = open_column(p, chunk->starts, &payload, err);

    if (rc == OK && !decode_ints(payload, start_ms, chunk->n))
        rc = damaged("start times", chunk->starts, err);
    for (size_t i = 0; rc == OK && i < chunk->n; i++)
        if (!column_set_start_at(out, out->n - chunk->n + i, start_ms[i]))
            rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    return rc;
}

/* Times and floats go where the column has room for them and become part of it at the end. */
static enum errc read_values(const struct pack *p, const struct pack_chunk *chunk,
                             const struct pack_source *source, struct column *out, struct err *err)
{
    int64_t t_ms[PACK_MAX_SAMPLES];
    double *v = out->v + out->n;
    enum errc rc;

    if (chunk->kind != PACK_FLOAT) { /* appended one by one, which writes the times as well */
        rc = read_times(p, chunk, source, t_ms, err);
        return rc == OK ? read_histograms(p, chunk, t_ms, out, err) : rc;
    }
    rc = read_times(p, chunk, source, out->t_ms + out->n, err);
    if (rc == OK)
        rc = chunk->content == PACK_BUCKET
                 ? read_bucket(p, chunk, source ? source->cache : NULL, v, err)
                 : read_floats(p, chunk, v, err);
    if (rc == OK)
        column_filled(out, chunk->n);
    return rc;
}

enum errc pack_read(const struct pack *p, const struct pack_chunk *chunk,
                    const struct pack_source *source, struct column *out, struct err *err)
{
    size_t n_before = out->n;
    enum errc rc;

    if (chunk->kind >= PACK_KIND_COUNT)
        return err_set(err, ERR_UNSUPPORTED, 0, "values of kind %d cannot be read", chunk->kind);
    if (!chunk->times.at)
        return err_set(err, ERR_CORRUPT, 0, "pack directory is damaged");
    if (!column_reserve(out, out->n + chunk->n))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    if (!p->at_columns)
        rc = pack_v1_read(p, chunk, out, err);
    else
        rc = read_values(p, chunk, source, out, err);
    if (rc == OK && p->at_columns && chunk->starts.at)
        rc = read_starts(p, chunk, out, err);
    if (rc != OK)
        out->n = n_before;
    return rc;
}
