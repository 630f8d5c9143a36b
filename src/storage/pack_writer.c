/* pack_writer.c -- collects encoded columns, and lays them out when the pack is finished. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/vec.h"
#include "storage/codec_float.h"
#include "storage/codec_histogram.h"
#include "storage/histogram.h"
#include "storage/pack_private.h"

#include "base/banned.h"

const char pack_magic[4] = "TMPK";

/* A column of times, and where its times and their encoding are in the writer's buffers. */
struct times_column {
    int64_t min_t_ms, max_t_ms;
    uint64_t hash; /* of the run */
    size_t n, before, run_n, at_raw;
    struct pack_span encoded; /* with PACK_ASIDE in at: as it goes to the directory */
};

struct chunk {
    uint32_t id;
    int64_t min_t_ms;
    uint32_t times, group;           /* numbers */
    struct pack_span values, starts; /* in columns; len 0: none */
    uint8_t content, rank;
};

struct pack_writer {
    struct chunk *chunks;
    size_t n, cap;
    struct times_column *times;
    size_t n_times, cap_times;
    struct pack_span *groups; /* in group_columns */
    size_t n_groups, cap_groups;
    struct buf raw_times;                            /* as given, to know equal ones again */
    struct buf time_columns, group_columns, columns; /* payloads */
    struct buf one, directory, out;
    size_t entry_bytes;                                      /* of the chunks so far, at most */
    uint32_t (*store_times)(void *ctx, struct bytes column); /* NULL: all times go into the pack */
    void *store_ctx;
    struct floats_scratch floats;
    int64_t work[PACK_MAX_SAMPLES];
    double difference[PACK_MAX_SAMPLES], sum[PACK_MAX_SAMPLES];
};

_Static_assert((int)PACK_MAX_SAMPLES <= (int)INTS_MAX, "codecs take a chunk at a time");

struct pack_writer *pack_writer_new(void)
{
    return calloc(1, sizeof(struct pack_writer));
}

void pack_writer_free(struct pack_writer *w)
{
    if (!w)
        return;
    free(w->chunks);
    free(w->times);
    free(w->groups);
    buf_free(&w->raw_times);
    buf_free(&w->time_columns);
    buf_free(&w->group_columns);
    buf_free(&w->columns);
    buf_free(&w->one);
    buf_free(&w->directory);
    buf_free(&w->out);
    free(w);
}

size_t pack_writer_count(const struct pack_writer *w)
{
    return w->n;
}

void pack_writer_share_times(struct pack_writer *w,
                             uint32_t (*store)(void *ctx, struct bytes column), void *ctx)
{
    w->store_times = store;
    w->store_ctx = ctx;
}

/* ---- adding ---- */

/* What a writer grows back to when something does not fit. */
struct mark {
    size_t n, n_times, n_groups, raw, times, groups, columns, entry_bytes;
};

static struct mark mark(const struct pack_writer *w)
{
    return (struct mark){ w->n,
                          w->n_times,
                          w->n_groups,
                          w->raw_times.len,
                          w->time_columns.len,
                          w->group_columns.len,
                          w->columns.len,
                          w->entry_bytes };
}

static void cut_to(struct buf *b, size_t len)
{
    b->len = len;
    b->failed = false;
}

static void go_back(struct pack_writer *w, const struct mark *m)
{
    w->n = m->n;
    w->n_times = m->n_times;
    w->n_groups = m->n_groups;
    cut_to(&w->raw_times, m->raw);
    cut_to(&w->time_columns, m->times);
    cut_to(&w->group_columns, m->groups);
    cut_to(&w->columns, m->columns);
    w->entry_bytes = m->entry_bytes;
}

static size_t directory_bytes(size_t n_times, size_t n_groups, size_t n_chunks)
{
    size_t blocks = (n_chunks + PACK_BLOCK_CHUNKS - 1) / PACK_BLOCK_CHUNKS;

    return PACK_AT_TABLES - PACK_HEADER_BYTES + n_times * PACK_TIMES_BYTES
           + n_groups * PACK_GROUP_BYTES + blocks * PACK_BLOCK_BYTES;
}

/* The finished pack is not larger. */
static size_t finished_bytes(const struct pack_writer *w)
{
    return PACK_HEADER_BYTES + directory_bytes(w->n_times, w->n_groups, w->n) + w->entry_bytes
           + w->time_columns.len + w->n_times * PACK_CRC_BYTES + w->group_columns.len
           + w->n_groups * PACK_CRC_BYTES + w->columns.len;
}

/* ERR_NOMEM or ERR_FULL when what was added since the mark has to go; it is gone then. */
static enum errc settle(struct pack_writer *w, const struct mark *m)
{
    enum errc rc = OK;

    if (w->raw_times.failed || w->time_columns.failed || w->group_columns.failed
        || w->columns.failed)
        rc = ERR_NOMEM;
    else if (m->n > 0 && finished_bytes(w) > PACK_TARGET_BYTES)
        rc = ERR_FULL;
    if (rc != OK)
        go_back(w, m);
    return rc;
}

static void check_times(struct pack_times times)
{
    ASSERT(times.n >= 1 && times.before + times.n + times.behind <= PACK_MAX_SAMPLES);
    for (size_t i = 1; i < times.n; i++)
        ASSERT(times.t_ms[i] > times.t_ms[i - 1]); /* a pack that breaks this cannot be read */
    ASSERT((uint64_t)times.t_ms[times.n - 1] - (uint64_t)times.t_ms[0] <= UINT32_MAX);
}

/* Appends n encoded times to the columns; false when out of memory. */
static bool encode_times(struct pack_writer *w, const int64_t *t_ms, size_t n,
                         struct pack_span *out)
{
    size_t at = w->time_columns.len;

    memcpy(w->work, t_ms, n * sizeof *w->work);
    ints_encode(&w->time_columns, w->work, n);
    *out = (struct pack_span){ (uint32_t)at, (uint32_t)(w->time_columns.len - at) };
    return !w->time_columns.failed;
}

/* Puts the run's times beside the pack if they are long enough for that, else the chunk's into it;
 * false when out of memory. */
static bool place_times(struct pack_writer *w, struct pack_times times, struct pack_span *out)
{
    size_t run_n = times.before + times.n + times.behind;
    uint32_t number;

    if (!w->store_times)
        return encode_times(w, times.t_ms, times.n, out);
    if (!encode_times(w, times.t_ms - times.before, run_n, out))
        return false;
    if (out->len <= PACK_MAX_INLINE && run_n == times.n)
        return true;
    w->time_columns.len = out->at;
    if (out->len <= PACK_MAX_INLINE)
        return encode_times(w, times.t_ms, times.n, out);
    number =
        w->store_times(w->store_ctx, (struct bytes){ w->time_columns.ptr + out->at, out->len });
    *out =
        (struct pack_span){ PACK_ASIDE | (uint32_t)run_n << PACK_RUN_SHIFT | (uint32_t)times.before,
                            number };
    return number != UINT32_MAX;
}

/* The number of the column of these times, in which a new one is added if need be; UINT32_MAX when
 * out of memory. */
static uint32_t intern_times(struct pack_writer *w, struct pack_times times)
{
    size_t run_n = times.before + times.n + times.behind, bytes = run_n * sizeof *times.t_ms;
    const int64_t *run = times.t_ms - times.before;
    struct times_column c = { .min_t_ms = times.t_ms[0],
                              .max_t_ms = times.t_ms[times.n - 1],
                              .hash = hash64(run, bytes),
                              .n = times.n,
                              .before = times.before,
                              .run_n = run_n,
                              .at_raw = w->raw_times.len };

    for (size_t i = w->n_times; i-- > 0;) {
        const struct times_column *t = &w->times[i];

        if (t->hash == c.hash && t->n == c.n && t->before == c.before && t->run_n == run_n
            && memcmp(w->raw_times.ptr + t->at_raw, run, bytes) == 0)
            return (uint32_t)i;
    }
    check_times(times);
    buf_add(&w->raw_times, run, bytes);
    if (w->raw_times.failed
        || !vec_reserve(&w->times, &w->cap_times, w->n_times + 1, sizeof *w->times)
        || !place_times(w, times, &c.encoded))
        return UINT32_MAX;
    w->times[w->n_times] = c;
    return (uint32_t)w->n_times++;
}

static size_t uvarint_bytes(uint64_t v)
{
    size_t n = 1;

    while (v >>= 7)
        n++;
    return n;
}

/* Sorted by id, a chunk never follows a smaller one at a greater distance than here. */
static size_t id_bytes(const struct pack_writer *w, uint32_t id)
{
    uint32_t last = w->n ? w->chunks[w->n - 1].id : id;

    return id >= last ? uvarint_bytes(id - last) : uvarint_bytes(UINT32_MAX);
}

static bool append_chunk(struct pack_writer *w, const struct chunk *c)
{
    if (!vec_reserve(&w->chunks, &w->cap, w->n + 1, sizeof *w->chunks))
        return false;
    w->entry_bytes += 1 + id_bytes(w, c->id) + uvarint_bytes(c->times);
    if (c->content == PACK_BUCKET)
        w->entry_bytes += uvarint_bytes(c->group) + 1;
    else
        w->entry_bytes +=
            uvarint_bytes(c->values.len) + (c->values.len > PACK_MAX_INLINE ? PACK_CRC_BYTES : 0);
    if (c->starts.len)
        w->entry_bytes += uvarint_bytes(c->starts.len) + PACK_CRC_BYTES;
    w->chunks[w->n++] = *c;
    return true;
}

static void encode_rows(struct pack_writer *w, bool is_integer, const struct histogram *const *h,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ASSERT(h[i]->is_integer == is_integer);
        buf_clear(&w->one);
        histogram_encode(&w->one, h[i]);
        w->columns.failed |= w->one.failed;
        buf_uvarint(&w->columns, w->one.len);
        buf_add(&w->columns, w->one.ptr, w->one.len);
    }
}

static void encode_values(struct pack_writer *w, const struct pack_values *v, size_t n,
                          struct chunk *c)
{
    bool is_integer = v->kind == PACK_INT_HISTOGRAM;
    size_t at = w->columns.len;

    if (v->kind == PACK_FLOAT) {
        c->content = PACK_FLOATS;
        floats_encode(&w->columns, v->floats, n, &w->floats);
    } else if (histograms_suit(v->histograms, n)) {
        c->content = is_integer ? PACK_INT_COLUMNS : PACK_FLOAT_COLUMNS;
        histograms_encode(&w->columns, v->histograms, n, &w->floats);
    } else {
        c->content = is_integer ? PACK_INT_ROWS : PACK_FLOAT_ROWS;
        encode_rows(w, is_integer, v->histograms, n);
    }
    c->values = (struct pack_span){ (uint32_t)at, (uint32_t)(w->columns.len - at) };
}

static struct pack_span encode_starts(struct pack_writer *w, const int64_t *start_ms, size_t n)
{
    size_t at = w->columns.len;
    bool any = false;

    for (size_t i = 0; start_ms && i < n; i++)
        any |= start_ms[i] != 0;
    if (!any)
        return (struct pack_span){ 0 };
    memcpy(w->work, start_ms, n * sizeof *w->work);
    ints_encode(&w->columns, w->work, n);
    return (struct pack_span){ (uint32_t)at, (uint32_t)(w->columns.len - at) };
}

enum errc pack_writer_add(struct pack_writer *w, uint32_t id, struct pack_times times,
                          struct pack_values values)
{
    struct mark before = mark(w);
    struct chunk chunk = { .id = id, .min_t_ms = times.t_ms[0], .times = intern_times(w, times) };

    if (chunk.times != UINT32_MAX) {
        encode_values(w, &values, times.n, &chunk);
        chunk.starts = encode_starts(w, values.start_ms, times.n);
    }
    if (chunk.times == UINT32_MAX || !append_chunk(w, &chunk))
        w->columns.failed = true;
    return settle(w, &before);
}

/* ---- groups of buckets ---- */

/* What is no finite number stands for itself. */
static bool is_number(double v)
{
    return isfinite(v);
}

static bool is_count(double v)
{
    return v >= 0 && v <= 0x1p53 && f64_bits((double)(int64_t)v) == f64_bits(v);
}

bool pack_are_counts(const double *v, size_t n)
{
    bool are = true;

    for (size_t i = 0; are && i < n; i++)
        are = is_count(v[i]) || !is_number(v[i]);
    return are;
}

/* Fills w->difference with what this bucket counts beyond w->sum, which it is added to; false when
 * the reader's sums would not be these values bit by bit. */
static bool subtract(struct pack_writer *w, const double *v, size_t n)
{
    bool exact = true;

    for (size_t i = 0; i < n; i++) {
        double sum;

        if (!is_number(v[i])) {
            w->difference[i] = v[i];
            continue;
        }
        w->difference[i] = v[i] - w->sum[i];
        sum = w->sum[i] + w->difference[i];
        exact &= is_count(v[i]) && f64_bits(sum) == f64_bits(v[i]);
        w->sum[i] = sum;
    }
    return exact;
}

/* Encodes all columns of a group; false when they cannot be one. */
static bool encode_group(struct pack_writer *w, const struct pack_bucket *buckets, size_t m,
                         size_t n)
{
    size_t lengths[PACK_MAX_BUCKETS];

    memset(w->sum, 0, n * sizeof *w->sum);
    buf_clear(&w->one);
    for (size_t i = 0; i < m; i++) {
        size_t at = w->one.len;

        if (!subtract(w, buckets[i].floats, n))
            return false;
        floats_encode(&w->one, w->difference, n, &w->floats);
        lengths[i] = w->one.len - at;
    }
    w->group_columns.failed |= w->one.failed;
    buf_u8(&w->group_columns, (uint8_t)m);
    for (size_t i = 0; i < m; i++)
        buf_uvarint(&w->group_columns, lengths[i]);
    buf_add(&w->group_columns, w->one.ptr, w->one.len);
    return true;
}

static bool append_buckets(struct pack_writer *w, struct pack_times times,
                           const struct pack_bucket *buckets, size_t m, size_t at_group)
{
    uint32_t number = intern_times(w, times);

    if (number == UINT32_MAX
        || !vec_reserve(&w->groups, &w->cap_groups, w->n_groups + 1, sizeof *w->groups))
        return false;
    w->groups[w->n_groups] =
        (struct pack_span){ (uint32_t)at_group, (uint32_t)(w->group_columns.len - at_group) };
    for (size_t i = 0; i < m; i++) {
        struct chunk chunk = { .id = buckets[i].id,
                               .min_t_ms = times.t_ms[0],
                               .content = PACK_BUCKET,
                               .times = number,
                               .group = (uint32_t)w->n_groups,
                               .rank = (uint8_t)i,
                               .starts = encode_starts(w, buckets[i].start_ms, times.n) };

        if (!append_chunk(w, &chunk))
            return false;
    }
    w->n_groups++;
    return true;
}

enum errc pack_writer_add_buckets(struct pack_writer *w, struct pack_times times,
                                  const struct pack_bucket *buckets, size_t n)
{
    struct mark before = mark(w);

    ASSERT(n >= 2 && n <= PACK_MAX_BUCKETS && times.n <= PACK_MAX_SAMPLES);
    if (!encode_group(w, buckets, n, times.n))
        return ERR_UNSUPPORTED;
    if (!append_buckets(w, times, buckets, n, before.groups))
        w->columns.failed = true;
    return settle(w, &before);
}

/* ---- finishing ---- */

static int compare_chunks(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;

    return pack_compare(x->id, x->min_t_ms, y->id, y->min_t_ms);
}

static bool is_inline(const struct chunk *c)
{
    return c->content != PACK_BUCKET && c->values.len <= PACK_MAX_INLINE;
}

/* The entry of a chunk; last is the one before it in its block, NULL for the first. */
static void write_entry(struct pack_writer *w, const struct chunk *c, const struct chunk *last)
{
    struct buf *b = &w->directory;
    uint32_t id = last ? last->id : c->id;
    bool next_id = last && c->id == id + 1, same_times = last && last->times == c->times;

    buf_u8(b, (uint8_t)(c->content | (c->starts.len ? PACK_HAS_STARTS : 0)
                        | (same_times ? PACK_SAME_TIMES : 0) | (next_id ? PACK_NEXT_ID : 0)
                        | (is_inline(c) ? PACK_INLINE : 0)));
    if (!next_id)
        buf_uvarint(b, c->id - id);
    if (!same_times)
        buf_uvarint(b, c->times);
    if (c->content == PACK_BUCKET) {
        buf_uvarint(b, c->group);
        buf_u8(b, c->rank);
    } else {
        buf_uvarint(b, c->values.len);
        if (is_inline(c))
            buf_add(b, w->columns.ptr + c->values.at, c->values.len);
    }
    if (c->starts.len)
        buf_uvarint(b, c->starts.len);
}

static void write_column(struct buf *b, const struct buf *from, struct pack_span span)
{
    const uint8_t *payload = from->ptr + span.at;

    buf_u32(b, crc32c(0, payload, span.len));
    buf_add(b, payload, span.len);
}

/* Bytes of the columns that a chunk has for itself. */
static size_t own_bytes(const struct chunk *c)
{
    bool has_values = c->content != PACK_BUCKET && !is_inline(c);

    return (has_values ? PACK_CRC_BYTES + c->values.len : 0)
           + (c->starts.len ? PACK_CRC_BYTES + c->starts.len : 0);
}

/* Tables of times and groups; returns where the columns of chunks begin. */
static size_t write_tables(struct pack_writer *w)
{
    struct buf *b = &w->directory;
    size_t at = 0;

    buf_u16(b, (uint16_t)w->n_times);
    buf_u16(b, (uint16_t)w->n_groups);
    for (size_t i = 0; i < w->n_times; i++) {
        const struct times_column *t = &w->times[i];

        buf_u64(b, (uint64_t)t->min_t_ms);
        buf_u32(b, (uint32_t)((uint64_t)t->max_t_ms - (uint64_t)t->min_t_ms));
        buf_u16(b, (uint16_t)t->n);
        buf_u32(b, t->encoded.at & PACK_ASIDE ? t->encoded.at : (uint32_t)at);
        buf_u32(b, t->encoded.len);
        at += t->encoded.at & PACK_ASIDE ? 0 : PACK_CRC_BYTES + t->encoded.len;
    }
    for (size_t i = 0; i < w->n_groups; i++) {
        buf_u32(b, (uint32_t)at);
        at += PACK_CRC_BYTES + w->groups[i].len;
    }
    return at;
}

static void write_directory(struct pack_writer *w)
{
    struct buf *b = &w->directory;
    size_t at_block, at_column;

    buf_clear(b);
    at_column = write_tables(w);
    at_block = b->len;
    for (size_t i = 0; i < w->n; i += PACK_BLOCK_CHUNKS) {
        buf_u32(b, w->chunks[i].id);
        buf_u16(b, 0);
        buf_u32(b, 0);
    }
    for (size_t i = 0; i < w->n && !b->failed; i++) {
        bool first = i % PACK_BLOCK_CHUNKS == 0;

        if (first) {
            uint8_t *block = b->ptr + at_block + i / PACK_BLOCK_CHUNKS * PACK_BLOCK_BYTES;

            ASSERT(b->len <= UINT16_MAX);
            block[4] = (uint8_t)b->len;
            block[5] = (uint8_t)(b->len >> 8);
            store_u32le(block + 6, (uint32_t)at_column);
        }
        write_entry(w, &w->chunks[i], first ? NULL : &w->chunks[i - 1]);
        at_column += own_bytes(&w->chunks[i]);
    }
}

static void write_columns(struct pack_writer *w)
{
    for (size_t i = 0; i < w->n_times; i++)
        if (!(w->times[i].encoded.at & PACK_ASIDE))
            write_column(&w->out, &w->time_columns, w->times[i].encoded);
    for (size_t i = 0; i < w->n_groups; i++)
        write_column(&w->out, &w->group_columns, w->groups[i]);
    for (size_t i = 0; i < w->n; i++) {
        const struct chunk *c = &w->chunks[i];

        if (c->content != PACK_BUCKET && !is_inline(c))
            write_column(&w->out, &w->columns, c->values);
        if (c->starts.len)
            write_column(&w->out, &w->columns, c->starts);
    }
}

static uint32_t directory_crc(const uint8_t *p, size_t directory_len)
{
    return crc32c(crc32c(0, p, PACK_AT_CRC), p + PACK_AT_CRC + 4,
                  PACK_HEADER_BYTES + directory_len - PACK_AT_CRC - 4);
}

enum errc pack_writer_finish(struct pack_writer *w, struct bytes *out)
{
    static const struct mark nothing;
    size_t limit = finished_bytes(w);

    ASSERT(w->n > 0);
    qsort(w->chunks, w->n, sizeof *w->chunks, compare_chunks);
    write_directory(w);
    buf_clear(&w->out);
    buf_add(&w->out, pack_magic, sizeof pack_magic);
    buf_u32(&w->out, PACK_VERSION);
    buf_u32(&w->out, 0);
    buf_u32(&w->out, (uint32_t)w->n);
    buf_u32(&w->out, 0);
    buf_u32(&w->out, (uint32_t)w->directory.len);
    buf_add(&w->out, w->directory.ptr, w->directory.len);
    write_columns(w);
    if (w->out.failed || w->directory.failed)
        return ERR_NOMEM;
    ASSERT(w->out.len <= limit);
    store_u32le(w->out.ptr + PACK_AT_BYTES, (uint32_t)w->out.len);
    store_u32le(w->out.ptr + PACK_AT_CRC, directory_crc(w->out.ptr, w->directory.len));
    go_back(w, &nothing);
    *out = buf_as_bytes(&w->out);
    return OK;
}
