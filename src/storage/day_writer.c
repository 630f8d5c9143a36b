/* day_writer.c -- one flush.
 *
 * Packs stream into the file while series arrive; every WRITE_BYTES of them are committed, so that
 * LMDB, which keeps the pages of a transaction in memory, needs no more. What an aborted flush
 * leaves that way is invisible without its record and removed by the next writer. The index of what
 * is new (symbols, series, postings) and the directory collect in memory and are written at the end
 * in key order.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "storage/buckets.h"
#include "storage/byte_set.h"
#include "storage/day_private.h"
#include "storage/exemplar_store.h"
#include "storage/histogram.h"
#include "storage/pack.h"
#include "storage/seal.h"

#include "base/banned.h"

enum {
    WRITE_BYTES = 8 << 20,
    CHUNK_SAMPLES = 960, /* four hours at 15 s */
    SPLIT_SAMPLES = 256,
};

/* A text met in this flush. Those whose id is above the file's last symbol are new. */
struct symbol {
    uint64_t hash;
    struct str text;
    uint32_t id;
};

/* The series added to one name=value: a chain of links, in increasing order. */
struct posting_list {
    uint64_t pair; /* symbol of the name << 32 | symbol of the value */
    uint32_t first, last;
};

struct link {
    uint32_t id, next;
};

/* An id under its hash, on the way to one of the tables of hashes. */
struct hashed {
    uint64_t hash;
    uint32_t id;
};

struct location {
    uint32_t id, first_pack, n_packs;
};

/* The value of a series in the table of exemplars, in w->exemplars. */
struct exemplar_value {
    uint32_t id;
    size_t at, len;
};

struct day_writer {
    struct day *day;
    struct kv_txn *txn; /* NULL after an error: nothing but an abort is possible */
    struct flush_record before, record;
    struct pack_writer *pack;
    struct buckets *buckets; /* not written yet */
    struct byte_set times;   /* columns of times that packs share */
    size_t n_times_written;
    size_t uncommitted; /* bytes of packs */

    struct arena *arena; /* texts of symbols */
    struct symbol *symbols;
    size_t n_symbols, cap_symbols;
    struct table symbol_table; /* index in symbols */

    struct buf series; /* values of the new series, one after the other */
    size_t *series_ends;
    size_t n_new, cap_ends;
    struct hashed *series_hashes;
    size_t cap_hashes;

    struct posting_list *lists;
    size_t n_lists, cap_lists;
    struct table list_table; /* index in lists */
    struct link *links;
    size_t n_links, cap_links;

    struct location *locations;
    size_t n_locations, cap_locations;

    struct buf exemplars;
    struct exemplar_value *exemplar_values;
    size_t n_exemplar_values, cap_exemplar_values;

    uint32_t last_id;                   /* of this series */
    struct buf encoding, last_encoding; /* of the labels of this series and the one before */
    struct buf pairs;                   /* the value of this series */
    struct buf value;                   /* what is being written */
};

static enum errc no_memory(const struct day_writer *w, struct err *err)
{
    return err_set(err, ERR_NOMEM, 0, "write %s: out of memory", kv_path(w->day->kv));
}

/* ---- beginning and ending ---- */

static void writer_free(struct day_writer *w)
{
    kv_abort(w->txn);
    pack_writer_free(w->pack);
    buckets_free(w->buckets);
    byte_set_free(&w->times);
    arena_free(w->arena);
    free(w->symbols);
    table_free(&w->symbol_table);
    buf_free(&w->series);
    free(w->series_ends);
    free(w->series_hashes);
    free(w->lists);
    table_free(&w->list_table);
    free(w->links);
    free(w->locations);
    free(w->exemplar_values);
    buf_free(&w->exemplars);
    buf_free(&w->encoding);
    buf_free(&w->last_encoding);
    buf_free(&w->pairs);
    buf_free(&w->value);
    day_unref(w->day);
    free(w);
}

/* Removes what flushes that were never finished have left in a table. */
static enum errc remove_leftovers(struct day_writer *w, unsigned table, struct err *err)
{
    struct kv_cursor c = { 0 };
    struct day_key key;
    enum errc rc = kv_cursor_open(w->txn, table, &c, err);

    while (rc == OK) {
        rc = kv_seek(&c, key_u64_u32(&key, w->before.flush + 1, 0), err);
        if (rc == OK)
            rc = kv_delete_at(&c, err);
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static uint32_t store_times(void *ctx, struct bytes column)
{
    return byte_set_add(&((struct day_writer *)ctx)->times, column);
}

static enum errc begin(struct day_writer *w, uint64_t flush, struct err *err)
{
    enum errc rc;

    w->pack = pack_writer_new();
    w->buckets = buckets_new();
    w->arena = arena_new(0);
    if (!w->pack || !w->buckets || !w->arena)
        return no_memory(w, err);
    pack_writer_share_times(w->pack, store_times, w);
    rc = kv_begin_write(w->day->kv, &w->txn, err);
    if (rc == OK)
        rc = day_last_record(w->day, w->txn, &w->before, err);
    if (rc != OK)
        return rc;
    ASSERT(flush > w->before.flush);
    w->record = (struct flush_record){ .flush = flush,
                                       .min_t_ms = INT64_MAX,
                                       .max_t_ms = INT64_MIN,
                                       .last_symbol = w->before.last_symbol,
                                       .last_series = w->before.last_series };
    rc = remove_leftovers(w, DAY_PACKS, err);
    return rc == OK ? remove_leftovers(w, DAY_TIMES, err) : rc;
}

enum errc day_writer_begin(struct day *d, uint64_t flush, struct day_writer **out, struct err *err)
{
    struct day_writer *w = calloc(1, sizeof *w);
    enum errc rc;

    if (!w)
        return err_set(err, ERR_NOMEM, 0, "write %s: out of memory", kv_path(d->kv));
    w->day = day_ref(d);
    rc = begin(w, flush, err);
    if (rc != OK) {
        writer_free(w);
        return rc;
    }
    *out = w;
    return OK;
}

void day_writer_abort(struct day_writer *w)
{
    if (w)
        writer_free(w);
}

/* ---- symbols ---- */

static bool symbol_is(const void *ctx, uint32_t i, const void *key)
{
    return str_equal(((const struct day_writer *)ctx)->symbols[i].text, *(const struct str *)key);
}

static uint64_t symbol_hash(const void *ctx, uint32_t i)
{
    return ((const struct day_writer *)ctx)->symbols[i].hash;
}

/* The symbol of a text: met before in this flush, in the file, or new. */
static enum errc intern(struct day_writer *w, struct str text, uint32_t *id, struct err *err)
{
    uint64_t hash = hash64(text.ptr, text.len);
    uint32_t i = table_find(&w->symbol_table, hash, symbol_is, w, &text);
    struct str copy;
    enum errc rc;

    if (i != TABLE_NONE) {
        *id = w->symbols[i].id;
        return OK;
    }
    rc = day_find_symbol(w->day, w->txn, text, id, err);
    if (rc != OK)
        return rc;
    copy = str_copy(w->arena, text);
    if (!copy.ptr
        || !vec_reserve(&w->symbols, &w->cap_symbols, w->n_symbols + 1, sizeof *w->symbols)
        || !table_add(&w->symbol_table, hash, (uint32_t)w->n_symbols, symbol_hash, w))
        return no_memory(w, err);
    if (*id == 0) {
        if (w->record.last_symbol == UINT32_MAX)
            return err_set(err, ERR_LIMIT, 0, "%s: too many label texts", kv_path(w->day->kv));
        *id = ++w->record.last_symbol;
    }
    w->symbols[w->n_symbols++] = (struct symbol){ hash, copy, *id };
    return OK;
}

/* ---- series ---- */

static bool list_is(const void *ctx, uint32_t i, const void *key)
{
    return ((const struct day_writer *)ctx)->lists[i].pair == *(const uint64_t *)key;
}

static uint64_t list_hash(const void *ctx, uint32_t i)
{
    return hash64(&((const struct day_writer *)ctx)->lists[i].pair, sizeof(uint64_t));
}

/* Adds a new series to the list of name=value. */
static enum errc add_posting(struct day_writer *w, uint32_t name, uint32_t value, uint32_t id,
                             struct err *err)
{
    uint64_t pair = (uint64_t)name << 32 | value, hash = hash64(&pair, sizeof pair);
    uint32_t i = table_find(&w->list_table, hash, list_is, w, &pair);
    uint32_t link = (uint32_t)w->n_links;

    if (w->n_links >= UINT32_MAX - 1
        || !vec_reserve(&w->links, &w->cap_links, w->n_links + 1, sizeof *w->links))
        return no_memory(w, err);
    if (i == TABLE_NONE) {
        if (!vec_reserve(&w->lists, &w->cap_lists, w->n_lists + 1, sizeof *w->lists)
            || !table_add(&w->list_table, hash, (uint32_t)w->n_lists, list_hash, w))
            return no_memory(w, err);
        w->lists[w->n_lists++] = (struct posting_list){ pair, link, link };
    } else {
        w->links[w->lists[i].last].next = link;
        w->lists[i].last = link;
    }
    w->links[w->n_links++] = (struct link){ id, UINT32_MAX };
    return OK;
}

/* The number of the series whose value is w->pairs, 0 when the file does not have it. */
static enum errc find_series(struct day_writer *w, uint64_t hash, uint32_t *id, struct err *err)
{
    struct day_key hash_key, series_key;
    struct bytes ids, found;
    enum errc rc = day_get(w->day, w->txn, DAY_SERIES_HASHES, key_u64(&hash_key, hash), &ids, err);

    *id = 0;
    if (rc != OK)
        return rc == ERR_NOT_FOUND ? OK : rc;
    for (size_t i = 0; i + 4 <= ids.len; i += 4) {
        uint32_t candidate = load_u32le(ids.ptr + i);

        rc = day_get(w->day, w->txn, DAY_SERIES, key_u32(&series_key, candidate), &found, err);
        if (rc == ERR_NOT_FOUND)
            return day_corrupt(w->day, "series", candidate, err);
        if (rc != OK)
            return rc;
        if (found.len == w->pairs.len && memcmp(found.ptr, w->pairs.ptr, found.len) == 0) {
            *id = candidate;
            return OK;
        }
    }
    return OK;
}

static enum errc add_series(struct day_writer *w, uint64_t hash, uint32_t *id, struct err *err)
{
    struct reader r = reader_on(buf_as_bytes(&w->pairs));

    if (w->record.last_series == UINT32_MAX - 1)
        return err_set(err, ERR_LIMIT, 0, "%s: too many series", kv_path(w->day->kv));
    buf_add(&w->series, w->pairs.ptr, w->pairs.len);
    if (w->series.failed
        || !vec_reserve(&w->series_ends, &w->cap_ends, w->n_new + 1, sizeof *w->series_ends)
        || !vec_reserve(&w->series_hashes, &w->cap_hashes, w->n_new + 1, sizeof *w->series_hashes))
        return no_memory(w, err);
    *id = ++w->record.last_series;
    w->series_ends[w->n_new] = w->series.len;
    w->series_hashes[w->n_new] = (struct hashed){ hash, *id };
    w->n_new++;
    while (reader_left(&r) > 0) {
        uint32_t name = (uint32_t)read_uvarint(&r), value = (uint32_t)read_uvarint(&r);
        enum errc rc = add_posting(w, name, value, *id, err);

        if (rc != OK)
            return rc;
    }
    return OK;
}

static enum errc identify(struct day_writer *w, struct labels labels, uint32_t *id, struct err *err)
{
    struct buf swap = w->last_encoding;
    uint64_t hash;
    enum errc rc = OK;

    w->last_encoding = w->encoding;
    w->encoding = swap;
    buf_clear(&w->encoding);
    buf_clear(&w->pairs);
    labels_encode(&w->encoding, labels);
    for (size_t i = 0; i < labels.n && rc == OK; i++) {
        uint32_t name, value = 0;

        rc = intern(w, labels.items[i].name, &name, err);
        if (rc == OK)
            rc = intern(w, labels.items[i].value, &value, err);
        if (rc == OK) {
            buf_uvarint(&w->pairs, name);
            buf_uvarint(&w->pairs, value);
        }
    }
    if (rc != OK)
        return rc;
    if (w->encoding.failed || w->pairs.failed)
        return no_memory(w, err);
    ASSERT(!str_equal(buf_as_str(&w->encoding), buf_as_str(&w->last_encoding))); /* each once */
    hash = hash64(w->encoding.ptr, w->encoding.len);
    rc = find_series(w, hash, id, err);
    return rc == OK && *id == 0 ? add_series(w, hash, id, err) : rc;
}

/* ---- samples ---- */

/* Begins the next transaction of the flush. */
static enum errc commit_packs(struct day_writer *w, struct err *err)
{
    struct kv_txn *t = w->txn;
    enum errc rc;

    w->txn = NULL;
    w->uncommitted = 0;
    rc = kv_commit(t, err);
    return rc == OK ? kv_begin_write(w->day->kv, &w->txn, err) : rc;
}

/* Seals w->value and writes it. */
static enum errc write_value(struct day_writer *w, unsigned table, struct bytes key, bool append,
                             struct err *err)
{
    seal_add(&w->value, key);
    if (w->value.failed)
        return no_memory(w, err);
    return append ? kv_append(w->txn, table, key, buf_as_bytes(&w->value), err)
                  : kv_put(w->txn, table, key, buf_as_bytes(&w->value), err);
}

/* Writes the columns of times that packs have come to share. */
static enum errc write_times(struct day_writer *w, struct err *err)
{
    enum errc rc = OK;

    for (; rc == OK && w->n_times_written < w->times.n; w->n_times_written++) {
        struct bytes column = byte_set_get(&w->times, w->n_times_written);
        struct day_key key;

        buf_clear(&w->value);
        buf_add(&w->value, column.ptr, column.len);
        rc = write_value(w, DAY_TIMES,
                         key_u64_u32(&key, w->record.flush, (uint32_t)w->n_times_written), true,
                         err);
        w->uncommitted += column.len;
    }
    return rc;
}

static enum errc finish_pack(struct day_writer *w, struct err *err)
{
    struct bytes pack;
    struct day_key key;
    enum errc rc;

    if (pack_writer_finish(w->pack, &pack) != OK)
        return no_memory(w, err);
    rc = kv_append(w->txn, DAY_PACKS, key_u64_u32(&key, w->record.flush, w->record.n_packs), pack,
                   err);
    if (rc == OK)
        rc = write_times(w, err);
    if (rc != OK)
        return rc;
    w->record.n_packs++;
    w->uncommitted += pack.len;
    return w->uncommitted >= WRITE_BYTES ? commit_packs(w, err) : OK;
}

static enum pack_kind kind_of(const struct column *c, size_t i)
{
    if (!c->h || !c->h[i])
        return PACK_FLOAT;
    return c->h[i]->is_integer ? PACK_INT_HISTOGRAM : PACK_FLOAT_HISTOGRAM;
}

/* The run of times that sample from lies in: PACK_MAX_SAMPLES, or what is left at the end. */
static struct pack_times times_at(const int64_t *t_ms, size_t n, size_t from, size_t chunk_n)
{
    size_t before = from % PACK_MAX_SAMPLES, left = n - (from - before);
    size_t run_n = left < PACK_MAX_SAMPLES ? left : PACK_MAX_SAMPLES;

    return (struct pack_times){ t_ms + from, chunk_n, before, run_n - before - chunk_n };
}

/* How many samples from from on lie in pieces of max samples, or of what is left at the end. */
static size_t left_of(size_t max, size_t n, size_t from)
{
    max -= from % max;
    return n - from < max ? n - from : max;
}

static bool is_constant(const double *v, size_t n)
{
    return n < 2 || memcmp(v, v + 1, (n - 1) * sizeof *v) == 0;
}

/* How many samples from from on one chunk takes. A chunk is decoded whole, also for its last sample,
 * so it is kept short, unless there is nothing to decode. */
static size_t most_samples(const double *v, size_t n, size_t from)
{
    size_t most = left_of(PACK_MAX_SAMPLES, n, from);

    return is_constant(v + from, most) ? most : left_of(CHUNK_SAMPLES, n, from);
}

/* How many samples from from on are of its kind, at most as many as a chunk takes. */
static size_t run_length(const struct column *c, size_t from)
{
    size_t max = most_samples(c->v, c->n, from), n = 1;

    if (!c->h)
        return max;
    while (n < max && kind_of(c, from + n) == kind_of(c, from))
        n++;
    return n;
}

static enum errc try_chunk(struct day_writer *w, uint32_t id, const struct column *c, size_t from,
                           size_t n)
{
    struct pack_values values = { .kind = kind_of(c, from),
                                  .floats = c->v + from,
                                  .histograms = c->h ? c->h + from : NULL,
                                  .start_ms = c->start_ms ? c->start_ms + from : NULL };

    return pack_writer_add(w->pack, id, times_at(c->t_ms, c->n, from, n), values);
}

/* Adds one chunk from the front of the column, less than fits when that fills the pack well. *n is
 * how many samples it took. */
static enum errc add_chunk(struct day_writer *w, uint32_t id, const struct column *c, size_t from,
                           size_t *n, struct err *err)
{
    *n = run_length(c, from);
    for (;;) {
        enum errc rc = try_chunk(w, id, c, from, *n);

        if (rc != ERR_FULL)
            return rc == OK ? OK : no_memory(w, err);
        if (*n >= SPLIT_SAMPLES) {
            *n /= 2;
            continue;
        }
        rc = finish_pack(w, err);
        if (rc != OK)
            return rc;
        *n = run_length(c, from);
    }
}

/* Notes that a series lies in the packs from first_pack to the one that is open. */
static enum errc add_location(struct day_writer *w, uint32_t id, uint32_t first_pack,
                              struct err *err)
{
    if (!vec_reserve(&w->locations, &w->cap_locations, w->n_locations + 1, sizeof *w->locations))
        return no_memory(w, err);
    w->locations[w->n_locations++] =
        (struct location){ id, first_pack, w->record.n_packs - first_pack + 1 };
    return OK;
}

static enum errc write_samples(struct day_writer *w, uint32_t id, const struct column *c,
                               struct err *err)
{
    uint32_t first_pack = 0;

    for (size_t from = 0, n = 0; from < c->n; from += n) {
        enum errc rc = add_chunk(w, id, c, from, &n, err);

        if (rc != OK)
            return rc;
        if (from == 0)
            first_pack = w->record.n_packs; /* the number of the pack that is open */
    }
    return add_location(w, id, first_pack, err);
}

/* ---- buckets of one histogram ---- */

static enum errc try_buckets(struct day_writer *w, const struct bucket *buckets, size_t m,
                             size_t from, size_t n)
{
    struct pack_bucket parts[PACK_MAX_BUCKETS];

    for (size_t i = 0; i < m; i++)
        parts[i] =
            (struct pack_bucket){ .id = buckets[i].id,
                                  .floats = buckets[i].v + from,
                                  .start_ms =
                                      buckets[i].start_ms ? buckets[i].start_ms + from : NULL };
    return pack_writer_add_buckets(w->pack, times_at(buckets->t_ms, buckets->n, from, n), parts, m);
}

/* Adds a chunk of each bucket, as add_chunk() does. */
static enum errc add_bucket_chunks(struct day_writer *w, const struct bucket *buckets, size_t m,
                                   size_t from, size_t *n, struct err *err)
{
    size_t max = 0;

    for (size_t i = 0; i < m; i++) {
        size_t most = most_samples(buckets[i].v, buckets[i].n, from);

        max = i == 0 || most < max ? most : max;
    }
    for (*n = max;;) {
        enum errc rc = try_buckets(w, buckets, m, from, *n);

        ASSERT(rc != ERR_UNSUPPORTED); /* buckets_want() has seen the values */
        if (rc != ERR_FULL)
            return rc == OK ? OK : no_memory(w, err);
        if (*n >= SPLIT_SAMPLES) {
            *n /= 2;
            continue;
        }
        rc = finish_pack(w, err);
        if (rc != OK)
            return rc;
        *n = max;
    }
}

static enum errc write_histogram(struct day_writer *w, const struct bucket *buckets, size_t m,
                                 struct err *err)
{
    uint32_t first_pack = 0;
    enum errc rc = OK;

    for (size_t from = 0, n = 0; rc == OK && from < buckets->n; from += n) {
        rc = add_bucket_chunks(w, buckets, m, from, &n, err);
        if (from == 0)
            first_pack = w->record.n_packs;
    }
    for (size_t i = 0; rc == OK && i < m; i++)
        rc = add_location(w, buckets[i].id, first_pack, err);
    return rc;
}

/* The column is only read. */
static struct column column_of(const struct bucket *b)
{
    return (struct column){ .t_ms = (int64_t *)(uintptr_t)b->t_ms,
                            .v = (double *)(uintptr_t)b->v,
                            .start_ms = (int64_t *)(uintptr_t)b->start_ms,
                            .n = b->n,
                            .cap = b->n };
}

/* Writes the buckets that have been collected. */
static enum errc write_buckets(struct day_writer *w, struct err *err)
{
    const struct bucket *buckets;
    enum errc rc = OK;
    size_t m;

    while (rc == OK && (m = buckets_take(w->buckets, &buckets)) > 0) {
        struct column single = column_of(buckets);

        rc = m > 1 ? write_histogram(w, buckets, m, err)
                   : write_samples(w, buckets->id, &single, err);
    }
    return rc;
}

/* Buckets wait for their siblings, everything else is written. */
static enum errc write_or_collect(struct day_writer *w, uint32_t id, struct labels labels,
                                  const struct column *samples, struct err *err)
{
    bool is_bucket = buckets_want(labels, samples);
    enum errc rc = OK;

    if (!is_bucket || !buckets_may_add(w->buckets, labels))
        rc = write_buckets(w, err);
    if (rc != OK)
        return rc;
    if (!is_bucket)
        return write_samples(w, id, samples, err);
    return buckets_add(w->buckets, id, labels, samples) ? OK : no_memory(w, err);
}

enum errc day_writer_add(struct day_writer *w, struct labels labels, const struct column *samples,
                         struct err *err)
{
    uint32_t id = 0;
    enum errc rc;

    ASSERT(w->txn);
    if (samples->n == 0)
        return OK;
    int64_t first = samples->t_ms[0], last = samples->t_ms[samples->n - 1];

    ASSERT(labels.n > 0 && day_of(first) == w->day->number && day_of(last) == w->day->number);
    rc = identify(w, labels, &id, err);
    if (rc == OK)
        rc = write_or_collect(w, id, labels, samples, err);
    if (rc != OK)
        return rc;
    w->last_id = id;
    w->record.min_t_ms = first < w->record.min_t_ms ? first : w->record.min_t_ms;
    w->record.max_t_ms = last > w->record.max_t_ms ? last : w->record.max_t_ms;
    w->record.n_samples += samples->n;
    w->record.n_series++;
    w->record.highest = id > w->record.highest ? id : w->record.highest;
    return OK;
}

/* ---- exemplars ---- */

/* Whether labels are those of the series added last, whose encoding is kept. */
static bool is_last(struct day_writer *w, struct labels labels)
{
    buf_clear(&w->value);
    labels_encode(&w->value, labels);
    return w->last_id && !w->value.failed
           && str_equal(buf_as_str(&w->value), buf_as_str(&w->encoding));
}

static void encode_exemplars(struct buf *b, const struct stored_exemplar *e, size_t n)
{
    int64_t last = 0;

    buf_uvarint(b, n);
    for (size_t i = 0; i < n; i++) {
        buf_varint(b, e[i].t_ms - last);
        buf_u64(b, f64_bits(e[i].v));
        buf_uvarint(b, e[i].labels.len);
        buf_add(b, e[i].labels.ptr, e[i].labels.len);
        last = e[i].t_ms;
    }
}

enum errc day_writer_add_exemplars(struct day_writer *w, struct labels labels,
                                   const struct stored_exemplar *exemplars, size_t n,
                                   struct err *err)
{
    struct exemplar_value *value;
    size_t at = w->exemplars.len;

    ASSERT(w->txn && labels.n > 0 && n > 0 && day_of(exemplars[0].t_ms) == w->day->number);
    if (!is_last(w, labels)) {
        enum errc rc = identify(w, labels, &w->last_id, err);

        if (rc != OK)
            return rc;
    }
    encode_exemplars(&w->exemplars, exemplars, n);
    if (w->exemplars.failed
        || !vec_reserve(&w->exemplar_values, &w->cap_exemplar_values, w->n_exemplar_values + 1,
                        sizeof *w->exemplar_values))
        return no_memory(w, err);
    value = &w->exemplar_values[w->n_exemplar_values++];
    *value = (struct exemplar_value){ w->last_id, at, w->exemplars.len - at };
    return OK;
}

/* ---- the index ---- */

/* Then tables are empty, so that what comes in key order can be appended, which fills pages. */
static bool is_first_flush(const struct day_writer *w)
{
    return w->before.last_series == 0 && w->before.last_symbol == 0;
}

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Adds n ids to the lists under their hashes. */
static enum errc write_hashes(struct day_writer *w, unsigned table, struct hashed *items, size_t n,
                              struct err *err)
{
    enum errc rc = OK;

    if (n)
        qsort(items, n, sizeof *items, compare_hashed);
    for (size_t i = 0; i < n && rc == OK; i++) {
        struct day_key key;
        struct bytes k = key_u64(&key, items[i].hash), there = { 0 };

        rc = day_get(w->day, w->txn, table, k, &there, err);
        if (rc != OK && rc != ERR_NOT_FOUND)
            return rc;
        bool append = rc == ERR_NOT_FOUND && is_first_flush(w);

        buf_clear(&w->value);
        if (rc == OK)
            buf_add(&w->value, there.ptr, there.len);
        buf_u32(&w->value, items[i].id);
        rc = write_value(w, table, k, append, err);
    }
    return rc;
}

static enum errc write_symbols(struct day_writer *w, struct err *err)
{
    struct hashed *hashes = malloc((w->n_symbols + 1) * sizeof *hashes);
    struct day_key key;
    size_t n = 0;
    enum errc rc = hashes ? OK : no_memory(w, err);

    for (size_t i = 0; i < w->n_symbols && rc == OK; i++) {
        const struct symbol *s = &w->symbols[i];

        if (s->id <= w->before.last_symbol)
            continue;
        buf_clear(&w->value);
        buf_str(&w->value, s->text);
        rc = write_value(w, DAY_SYMBOLS, key_u32(&key, s->id), true, err);
        hashes[n++] = (struct hashed){ s->hash, s->id };
    }
    if (rc == OK)
        rc = write_hashes(w, DAY_SYMBOL_HASHES, hashes, n, err);
    free(hashes);
    return rc;
}

static enum errc write_series(struct day_writer *w, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0, from = 0; i < w->n_new && rc == OK; i++) {
        struct day_key key;

        buf_clear(&w->value);
        buf_add(&w->value, w->series.ptr + from, w->series_ends[i] - from);
        rc = write_value(w, DAY_SERIES, key_u32(&key, w->before.last_series + 1 + (uint32_t)i),
                         true, err);
        from = w->series_ends[i];
    }
    return rc == OK ? write_hashes(w, DAY_SERIES_HASHES, w->series_hashes, w->n_new, err) : rc;
}

static int compare_lists(const void *a, const void *b)
{
    const struct posting_list *x = a, *y = b;

    return (x->pair > y->pair) - (x->pair < y->pair);
}

static enum errc write_postings(struct day_writer *w, struct err *err)
{
    enum errc rc = OK;

    if (w->n_lists)
        qsort(w->lists, w->n_lists, sizeof *w->lists, compare_lists);
    for (size_t i = 0; i < w->n_lists && rc == OK; i++) {
        uint64_t pair = w->lists[i].pair;
        uint32_t last = 0;
        struct day_key key;

        buf_clear(&w->value);
        for (uint32_t at = w->lists[i].first; at != UINT32_MAX; at = w->links[at].next) {
            buf_uvarint(&w->value, w->links[at].id - last);
            last = w->links[at].id;
        }
        rc =
            write_value(w, DAY_POSTINGS,
                        key_postings(&key, (uint32_t)(pair >> 32), (uint32_t)pair, w->record.flush),
                        is_first_flush(w), err);
    }
    return rc;
}

static int compare_locations(const void *a, const void *b)
{
    const struct location *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static enum errc write_directory(struct day_writer *w, struct err *err)
{
    uint32_t last = 0;
    enum errc rc = OK;

    if (w->n_locations)
        qsort(w->locations, w->n_locations, sizeof *w->locations, compare_locations);
    for (size_t from = 0; from < w->n_locations && rc == OK; from += DIRECTORY_MAX_ENTRIES) {
        size_t left = w->n_locations - from;
        size_t n = left < DIRECTORY_MAX_ENTRIES ? left : DIRECTORY_MAX_ENTRIES;
        struct day_key key;

        buf_clear(&w->value);
        buf_u32(&w->value, last);
        for (size_t i = from; i < from + n; i++) {
            ASSERT(w->locations[i].id > last); /* each series once */
            last = w->locations[i].id;
            buf_u32(&w->value, last);
            buf_u32(&w->value, w->locations[i].first_pack);
            buf_u32(&w->value, w->locations[i].n_packs);
        }
        rc = write_value(w, DAY_DIRECTORY, key_u64_u32(&key, w->record.flush, last), true, err);
    }
    return rc;
}

static enum errc write_exemplars(struct day_writer *w, struct err *err)
{
    enum errc rc = OK;

    for (size_t i = 0; i < w->n_exemplar_values && rc == OK; i++) {
        const struct exemplar_value *v = &w->exemplar_values[i];
        struct day_key key;

        buf_clear(&w->value);
        buf_add(&w->value, w->exemplars.ptr + v->at, v->len);
        rc = write_value(w, DAY_EXEMPLARS, key_exemplars(&key, v->id, w->record.flush), false, err);
    }
    return rc;
}

static enum errc write_index(struct day_writer *w, struct err *err)
{
    struct day_key key;
    enum errc rc = write_buckets(w, err);

    if (rc == OK && pack_writer_count(w->pack))
        rc = finish_pack(w, err);
    if (rc == OK)
        rc = write_symbols(w, err);
    if (rc == OK)
        rc = write_series(w, err);
    if (rc == OK)
        rc = write_postings(w, err);
    if (rc == OK)
        rc = write_directory(w, err);
    if (rc == OK)
        rc = write_exemplars(w, err);
    if (rc != OK)
        return rc;
    buf_clear(&w->value);
    flush_record_encode(&w->value, &w->record);
    return write_value(w, DAY_FLUSHES, key_u64(&key, w->record.flush), true, err);
}

enum errc day_writer_commit(struct day_writer *w, struct err *err)
{
    enum errc rc;

    ASSERT(w->txn);
    rc = write_index(w, err);
    if (rc == OK) {
        struct kv_txn *t = w->txn;

        w->txn = NULL;
        rc = kv_commit(t, err);
    }
    if (rc == OK)
        day_note_flush(w->day, &w->record);
    writer_free(w);
    return rc;
}
