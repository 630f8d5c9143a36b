/* day_reader.c -- a transaction's view of a day: its index and samples.
 *
 * Everything is read from the file's map. A value that has passed its checksum once in a
 * transaction is not checked again as long as its address is remembered: the map does not change
 * under a transaction.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "storage/day_private.h"
#include "storage/exemplar_store.h"
#include "storage/pack.h"
#include "storage/pack_cache.h"
#include "storage/seal.h"

#include "base/banned.h"

enum { CACHE_BYTES = 2 << 20 };

/* ---- beginning and ending ---- */

enum errc day_txn_begin(struct day *d, uint64_t max_flush, struct day_txn **out, struct err *err)
{
    struct day_txn *t = calloc(1, sizeof *t);
    enum errc rc;

    if (!t)
        return err_set(err, ERR_NOMEM, 0, "read %s: out of memory", kv_path(d->kv));
    t->day = day_ref(d);
    t->deletions = day_deletions(d);
    rc = kv_begin_read(d->kv, &t->kv, err);
    if (rc == OK)
        rc = day_load_flushes(d, t->kv, max_flush, &t->flushes, &t->n_flushes, err);
    if (rc == OK)
        rc = kv_cursor_open(t->kv, DAY_DIRECTORY, &t->directory, err);
    if (rc == OK && !(t->cache = pack_cache_new(CACHE_BYTES)))
        rc = err_set(err, ERR_NOMEM, 0, "read %s: out of memory", kv_path(d->kv));
    if (rc != OK) {
        day_txn_end(t);
        return rc;
    }
    *out = t;
    return OK;
}

void day_txn_end(struct day_txn *t)
{
    if (!t)
        return;
    kv_cursor_close(&t->directory);
    kv_cursor_close(&t->exemplars);
    pack_cache_free(t->cache);
    kv_abort(t->kv);
    free(t->flushes);
    deletions_unref(t->deletions);
    day_unref(t->day);
    free(t);
}

static uint32_t last_series(const struct day_txn *t)
{
    return t->n_flushes ? t->flushes[t->n_flushes - 1].last_series : 0;
}

uint32_t day_txn_series(const struct day_txn *t)
{
    return last_series(t);
}

static uint64_t last_flush(const struct day_txn *t)
{
    return t->n_flushes ? t->flushes[t->n_flushes - 1].flush : 0;
}

/* Where the address of a value is remembered once it has been checked. */
static const uint8_t **checked_slot(struct day_txn *t, const uint8_t *p)
{
    uintptr_t a = (uintptr_t)p;

    return &t->checked[(a >> 3 ^ a >> 12) & (N_CHECKED - 1)];
}

/* Checks and cuts off the seal. */
static bool open_seal(struct day_txn *t, struct bytes *value, struct bytes key)
{
    const uint8_t **slot = checked_slot(t, value->ptr);

    if (*slot == value->ptr && value->len >= SEAL_BYTES) {
        value->len -= SEAL_BYTES;
        return true;
    }
    if (!seal_check(value, key))
        return false;
    *slot = value->ptr;
    return true;
}

/* A value that must be there, under the number that what names. */
static enum errc get_numbered(struct day_txn *t, unsigned table, uint32_t number, const char *what,
                              struct bytes *out, struct err *err)
{
    struct day_key key;
    struct bytes k = key_u32(&key, number);
    enum errc rc = kv_get(t->kv, table, k, out, err);

    if (rc == ERR_NOT_FOUND || (rc == OK && !open_seal(t, out, k)))
        return day_corrupt(t->day, what, number, err);
    return rc;
}

/* ---- labels ---- */

static enum errc symbol_text(struct day_txn *t, uint64_t id, struct str *out, struct err *err)
{
    struct bytes text;
    enum errc rc;

    if (id > UINT32_MAX)
        return day_corrupt(t->day, "symbol", id, err);
    rc = get_numbered(t, DAY_SYMBOLS, (uint32_t)id, "symbol", &text, err);
    if (rc == OK)
        *out = (struct str){ (const char *)text.ptr, text.len };
    return rc;
}

/* How many varints b holds: each ends with the one byte that has a clear top bit. */
static size_t count_varints(struct bytes b)
{
    size_t n = 0;

    for (size_t i = 0; i < b.len; i++)
        n += b.ptr[i] < 0x80;
    return n;
}

enum errc day_labels(struct day_txn *t, uint32_t id, struct arena *a, struct labels *out,
                     struct err *err)
{
    struct bytes value;
    struct label *items;
    struct reader r;
    size_t n;
    enum errc rc = get_numbered(t, DAY_SERIES, id, "series", &value, err);

    if (rc != OK)
        return rc;
    n = count_varints(value) / 2;
    items = arena_alloc(a, n * sizeof *items);
    if (!items)
        return err_set(err, ERR_LIMIT, 0, "reading series needs more than %zu bytes",
                       arena_limit(a));
    r = reader_on(value);
    for (size_t i = 0; i < n && rc == OK; i++) {
        rc = symbol_text(t, read_uvarint(&r), &items[i].name, err);
        if (rc == OK)
            rc = symbol_text(t, read_uvarint(&r), &items[i].value, err);
    }
    if (rc == OK && (r.overrun || reader_left(&r)))
        rc = day_corrupt(t->day, "series", id, err);
    *out = (struct labels){ items, n };
    return rc;
}

/* ---- postings ---- */

struct posting_key {
    uint32_t name, value;
    uint64_t flush;
};

static struct posting_key parse_posting_key(struct bytes key)
{
    if (key.len != 16)
        return (struct posting_key){ 0 };
    return (struct posting_key){ load_u32be(key.ptr), load_u32be(key.ptr + 4),
                                 load_u64be(key.ptr + 8) };
}

static enum errc postings_at(struct day_txn *t, uint32_t name, uint32_t value, struct kv_cursor *c,
                             struct err *err)
{
    struct day_key key;
    enum errc rc = kv_cursor_open(t->kv, DAY_POSTINGS, c, err);

    return rc == OK ? kv_seek(c, key_postings(&key, name, value, 0), err) : rc;
}

/* That an entry's key is the one it was written under. */
static enum errc check_posting(struct day_txn *t, const struct kv_cursor *c, struct err *err)
{
    struct bytes value = c->value;

    return open_seal(t, &value, c->key)
               ? OK
               : day_corrupt(t->day, "postings of name", parse_posting_key(c->key).name, err);
}

/* That the entries of a name, or of a pair, do not begin before the place where they were found:
 * damaged keys may hide some. */
static enum errc prove_first(struct day_txn *t, uint32_t name, uint32_t value, struct err *err)
{
    struct day_key key;

    return day_prove_first(t->day, t->kv, DAY_POSTINGS, key_postings(&key, name, value, 0), err);
}

/* The same for their end: the entry after them is what it says. */
static enum errc prove_end(struct day_txn *t, const struct kv_cursor *c, struct posting_key last,
                           struct err *err)
{
    struct posting_key key = parse_posting_key(c->key);
    struct bytes value = c->value;

    if (key.name < last.name || (key.name == last.name && key.value < last.value)
        || !open_seal(t, &value, c->key))
        return day_corrupt(t->day, "postings of name", last.name, err);
    return OK;
}

/* Calls fn for each value of the name that a visible flush has. */
static enum errc each_value(void *ctx, struct str name, bool (*fn)(void *fn_ctx, struct str value),
                            void *fn_ctx, struct err *err)
{
    struct day_txn *t = ctx;
    struct kv_cursor c = { 0 };
    uint32_t name_id, last_value = 0;
    enum errc rc = day_find_symbol(t->day, t->kv, name, &name_id, err);

    if (rc != OK || name_id == 0)
        return rc;
    rc = prove_first(t, name_id, 0, err);
    if (rc == OK)
        rc = postings_at(t, name_id, 0, &c, err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct posting_key key = parse_posting_key(c.key);
        struct str text;

        if (key.name != name_id) {
            rc = prove_end(t, &c, (struct posting_key){ name_id, UINT32_MAX, 0 }, err);
            break;
        }
        rc = check_posting(t, &c, err);
        if (rc != OK)
            break;
        if (key.value == last_value || key.flush > last_flush(t))
            continue;
        last_value = key.value;
        rc = symbol_text(t, key.value, &text, err);
        if (rc != OK || !fn(fn_ctx, text))
            break;
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

/* Appends the ids of one value to out, which must stay increasing. */
static enum errc decode_postings(struct day_txn *t, const struct kv_cursor *c, struct arena *a,
                                 struct postings *out, struct err *err)
{
    struct bytes value = c->value;
    uint64_t number = load_u64be(c->key.ptr), id = 0;
    struct reader r;
    uint32_t *ids;
    size_t n;

    if (!open_seal(t, &value, c->key))
        return day_corrupt(t->day, "postings", number, err);
    n = count_varints(value);
    ids = arena_grow(a, out->ids, out->n * sizeof *ids, (out->n + n) * sizeof *ids);
    if (!ids)
        return err_set(err, ERR_LIMIT, 0, "selecting series needs more than %zu bytes",
                       arena_limit(a));
    out->ids = ids;
    r = reader_on(value);
    for (size_t i = 0; i < n; i++) {
        uint64_t delta = read_uvarint(&r);

        if (delta == 0 || delta > UINT32_MAX || id + delta > last_series(t)
            || (out->n > 0 && id + delta <= ids[out->n - 1]))
            return day_corrupt(t->day, "postings", number, err);
        id += delta;
        ids[out->n++] = (uint32_t)id;
    }
    return r.overrun ? day_corrupt(t->day, "postings", number, err) : OK;
}

static enum errc find_postings(void *ctx, struct str name, struct str value, struct arena *a,
                               struct postings *out, struct err *err)
{
    struct day_txn *t = ctx;
    struct kv_cursor c = { 0 };
    uint32_t name_id, value_id = 0;
    enum errc rc = day_find_symbol(t->day, t->kv, name, &name_id, err);

    *out = (struct postings){ 0 };
    if (rc == OK && name_id)
        rc = day_find_symbol(t->day, t->kv, value, &value_id, err);
    if (rc != OK || !value_id)
        return rc;
    rc = prove_first(t, name_id, value_id, err);
    if (rc == OK)
        rc = postings_at(t, name_id, value_id, &c, err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct posting_key key = parse_posting_key(c.key);

        if (key.name != name_id || key.value != value_id || key.flush > last_flush(t)) {
            rc = prove_end(t, &c, (struct posting_key){ name_id, value_id, 0 }, err);
            break;
        }
        rc = decode_postings(t, &c, a, out, err);
        if (rc != OK)
            break;
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static enum errc all_postings(void *ctx, struct arena *a, struct postings *out, struct err *err)
{
    struct day_txn *t = ctx;
    uint32_t n = last_series(t);

    *out = (struct postings){ arena_alloc(a, n * sizeof *out->ids), n };
    if (!out->ids)
        return err_set(err, ERR_LIMIT, 0, "selecting series needs more than %zu bytes",
                       arena_limit(a));
    for (uint32_t i = 0; i < n; i++)
        out->ids[i] = i + 1;
    return OK;
}

struct index_source day_index(struct day_txn *t)
{
    return (struct index_source){
        .ctx = t, .each_value = each_value, .postings = find_postings, .all = all_postings
    };
}

enum errc day_each_name(struct day_txn *t, bool (*fn)(void *ctx, struct str name), void *ctx,
                        struct err *err)
{
    struct kv_cursor c = { 0 };
    enum errc rc = postings_at(t, 0, 0, &c, err);

    while (rc == OK) {
        struct posting_key key = parse_posting_key(c.key);
        struct day_key next;
        struct str text;

        rc = check_posting(t, &c, err);
        if (rc != OK)
            break;
        if (key.flush > last_flush(t)) {
            rc = kv_next(&c, err);
            continue;
        }
        rc = symbol_text(t, key.name, &text, err);
        if (rc != OK || !fn(ctx, text) || key.name == UINT32_MAX)
            break;
        rc = kv_seek(&c, key_postings(&next, key.name + 1, 0, 0), err);
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ---- samples ---- */

/* One read of a series. */
struct day_read {
    struct day_txn *txn;
    uint32_t id;
    int64_t min_t_ms, max_t_ms;
    uint64_t flush; /* that is being read */
    struct column *out;
    bool overlaps;
};

/* Where a series is in a flush; n_packs is 0 when it is not. */
struct location {
    uint32_t first_pack, n_packs;
};

/* Looks a series up in a block of the directory. The block knows where the one before it ends, so
 * that one which cannot be found any more is not taken for one that never was. */
static bool search_block(struct bytes block, uint32_t id, struct location *out)
{
    size_t n = block.len / DIRECTORY_ENTRY_BYTES, low = 0, high = n;
    const uint8_t *entries = block.ptr + DIRECTORY_HEADER_BYTES;

    if (block.len != DIRECTORY_HEADER_BYTES + n * DIRECTORY_ENTRY_BYTES
        || id <= load_u32le(block.ptr))
        return false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (load_u32le(entries + mid * DIRECTORY_ENTRY_BYTES) < id)
            low = mid + 1;
        else
            high = mid;
    }
    const uint8_t *entry = entries + low * DIRECTORY_ENTRY_BYTES;

    if (low < n && load_u32le(entry) == id)
        *out = (struct location){ load_u32le(entry + 4), load_u32le(entry + 8) };
    return true;
}

static enum errc locate(struct day_txn *t, const struct flush_record *f, uint32_t id,
                        struct location *out, struct err *err)
{
    struct kv_cursor *c = &t->directory;
    struct day_key key;
    enum errc rc;

    *out = (struct location){ 0 };
    if (id > f->highest)
        return OK;
    rc = kv_seek(c, key_u64_u32(&key, f->flush, id), err);
    if (rc != OK && rc != ERR_NOT_FOUND)
        return rc;
    if (rc == ERR_NOT_FOUND || c->key.len != 12 || load_u64be(c->key.ptr) != f->flush)
        return day_corrupt(t->day, "directory of flush", f->flush, err);
    struct bytes block = c->value;

    if (!open_seal(t, &block, c->key) || !search_block(block, id, out)
        || out->first_pack > f->n_packs || out->n_packs > f->n_packs - out->first_pack)
        return day_corrupt(t->day, "directory of flush", f->flush, err);
    return OK;
}

/* The first of the times from lo to end, which increase, that is not before t_ms. */
static size_t lower_bound(const int64_t *times, size_t lo, size_t end, int64_t t_ms)
{
    while (lo < end) {
        size_t mid = lo + (end - lo) / 2;

        if (times[mid] < t_ms)
            lo = mid + 1;
        else
            end = mid;
    }
    return lo;
}

/* Cuts what was appended at from to the time range and notes whether it goes on after the rest. */
static void trim(struct day_read *r, size_t from)
{
    struct column *c = r->out;
    size_t first = lower_bound(c->t_ms, from, c->n, r->min_t_ms);

    if (r->max_t_ms < INT64_MAX)
        c->n = lower_bound(c->t_ms, first, c->n, r->max_t_ms + 1);
    if (first > from)
        column_cut(c, from, first);
    r->overlaps |= from > 0 && c->n > from && c->t_ms[from] <= c->t_ms[from - 1];
}

/* Finds a column of times that packs of a flush share. */
static enum errc find_times(void *ctx, uint32_t number, struct bytes *column, struct err *err)
{
    const struct day_read *r = ctx;
    struct day_key key;
    struct bytes k = key_u64_u32(&key, r->flush, number);
    enum errc rc = kv_get(r->txn->kv, DAY_TIMES, k, column, err);

    if (rc == ERR_NOT_FOUND || (rc == OK && !open_seal(r->txn, column, k)))
        return err_set(err, ERR_CORRUPT, 0, "the seal of times %u is wrong", number);
    return rc;
}

static enum errc read_pack(struct day_read *r, struct bytes data, struct err *err)
{
    const struct pack_source source = { .cache = r->txn->cache, .times = find_times, .ctx = r };
    const uint8_t **slot = checked_slot(r->txn, data.ptr);
    struct pack pack;
    enum errc rc = pack_open(data, *slot == data.ptr, &pack, err);

    if (rc != OK)
        return rc;
    *slot = data.ptr;
    struct pack_iter it = pack_iter_at(&pack, pack_find(&pack, r->id));

    if (it.i == pack.n_chunks)
        return err_set(err, ERR_CORRUPT, 0, "the series is not in it");
    while (it.i < pack.n_chunks && rc == OK) {
        struct pack_chunk chunk = pack_iter_next(&it);
        size_t from = r->out->n;

        if (chunk.id != r->id)
            break;
        if (chunk.max_t_ms < r->min_t_ms || chunk.min_t_ms > r->max_t_ms)
            continue;
        rc = pack_read(&pack, &chunk, &source, r->out, err);
        if (rc == OK)
            trim(r, from);
    }
    return rc;
}

/* Takes out what was deleted of the samples of a flush, which begin at from. */
static void cut_deleted(struct day_read *r, const struct flush_record *f, size_t from)
{
    const struct deletions *d = r->txn->deletions;

    for (size_t i = 0; d && i < d->n; i++) {
        if (!deletion_covers(&d->items[i], r->id, f->flush))
            continue;
        for (size_t k = from; k < r->out->n;) {
            size_t end = k;

            while (end < r->out->n && r->out->t_ms[end] >= d->items[i].min_t_ms
                   && r->out->t_ms[end] <= d->items[i].max_t_ms)
                end++;
            if (end > k)
                column_cut(r->out, k, end);
            else
                k++;
        }
    }
}

/* Names the file, pack and series in front of what went wrong. */
static enum errc pack_failed(struct day_read *r, const struct flush_record *f, uint32_t number,
                             const struct err *cause, struct err *err)
{
    struct labels labels = { 0 };
    struct buf text = { 0 };
    enum errc rc;

    if (err && err->arena && day_labels(r->txn, r->id, err->arena, &labels, NULL) == OK)
        labels_print_metric(&text, labels);
    rc = err_set(err, cause->code, 0, "%s: flush %" PRIu64 ", pack %u, series %u %.*s: %s",
                 kv_path(r->txn->day->kv), f->flush, number, r->id, STR_ARG(buf_as_str(&text)),
                 err_text(cause));
    buf_free(&text);
    return rc;
}

static enum errc read_flush(struct day_read *r, const struct flush_record *f, struct err *err)
{
    struct location where;
    size_t from = r->out->n;
    enum errc rc = locate(r->txn, f, r->id, &where, err);

    r->flush = f->flush;
    for (uint32_t i = 0; rc == OK && i < where.n_packs; i++) {
        uint32_t number = where.first_pack + i;
        struct err cause = err_in(err ? err->arena : NULL);
        struct day_key key;
        struct bytes data;

        rc = kv_get(r->txn->kv, DAY_PACKS, key_u64_u32(&key, f->flush, number), &data, &cause);
        if (rc == OK)
            rc = read_pack(r, data, &cause);
        else if (rc == ERR_NOT_FOUND)
            rc = err_set(&cause, ERR_CORRUPT, 0, "the pack is missing");
        if (rc != OK)
            rc = pack_failed(r, f, number, &cause, err);
    }
    if (rc == OK)
        cut_deleted(r, f, from);
    return rc;
}

enum errc day_read(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms,
                   struct column *out, bool *overlaps, struct err *err)
{
    struct day_read r = {
        .txn = t, .id = id, .min_t_ms = min_t_ms, .max_t_ms = max_t_ms, .out = out
    };
    size_t n_before = out->n;
    enum errc rc = OK;

    for (size_t i = 0; i < t->n_flushes && rc == OK; i++) {
        const struct flush_record *f = &t->flushes[i];

        if (f->max_t_ms >= min_t_ms && f->min_t_ms <= max_t_ms)
            rc = read_flush(&r, f, err);
    }
    if (rc != OK)
        out->n = n_before;
    *overlaps |= rc == OK && r.overlaps;
    return rc;
}

bool day_is_deleted(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms)
{
    const struct deletions *d = t->deletions;
    int64_t first = day_first_ms(t->day->number), last = day_last_ms(t->day->number);

    for (size_t i = 0; d && i < d->n; i++)
        if (deletion_covers(&d->items[i], id, last_flush(t))
            && d->items[i].min_t_ms <= (min_t_ms > first ? min_t_ms : first)
            && d->items[i].max_t_ms >= (max_t_ms < last ? max_t_ms : last))
            return true;
    return false;
}

/* ---- exemplars ---- */

static bool is_deleted(const struct day_txn *t, uint32_t id, uint64_t flush, int64_t t_ms)
{
    const struct deletions *d = t->deletions;

    for (size_t i = 0; d && i < d->n; i++)
        if (t_ms >= d->items[i].min_t_ms && t_ms <= d->items[i].max_t_ms
            && deletion_covers(&d->items[i], id, flush))
            return true;
    return false;
}

/* Gives those of one value that lie in the time range. ERR_CORRUPT with err left alone;
 * ERR_CANCELED when fn stopped it. */
static enum errc each_exemplar(struct day_read *range, uint64_t flush, struct bytes value,
                               bool (*fn)(void *ctx, const struct stored_exemplar *e), void *ctx)
{
    struct reader r = reader_on(value);
    uint64_t n = read_uvarint(&r);
    int64_t t_ms = 0;

    for (uint64_t i = 0; i < n && !r.overrun; i++) {
        t_ms = (int64_t)((uint64_t)t_ms + (uint64_t)read_varint(&r));

        struct stored_exemplar e = { .t_ms = t_ms, .v = f64_from_bits(read_u64(&r)) };

        e.labels = read_bytes(&r, read_uvarint(&r));
        if (!r.overrun && t_ms >= range->min_t_ms && t_ms <= range->max_t_ms
            && !is_deleted(range->txn, range->id, flush, t_ms) && !fn(ctx, &e))
            return ERR_CANCELED;
    }
    return r.overrun ? ERR_CORRUPT : OK;
}

/* Most files have none, or few series with any: the others are told without a look-up. */
static enum errc open_exemplars(struct day_txn *t, struct err *err)
{
    enum errc rc;

    if (t->exemplars_open)
        return OK;
    rc = kv_cursor_open(t->kv, DAY_EXEMPLARS, &t->exemplars, err);
    if (rc != OK)
        return rc;
    t->exemplars_open = true;
    rc = kv_last(&t->exemplars, err);
    if (rc == OK && t->exemplars.key.len == 12)
        t->last_exemplar = load_u32be(t->exemplars.key.ptr);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum errc day_each_exemplar(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms,
                            bool (*fn)(void *ctx, const struct stored_exemplar *e), void *ctx,
                            struct err *err)
{
    struct day_read range = { .txn = t, .id = id, .min_t_ms = min_t_ms, .max_t_ms = max_t_ms };
    struct kv_cursor *c = &t->exemplars;
    struct day_key key;
    enum errc rc = open_exemplars(t, err);

    if (rc != OK || id > t->last_exemplar)
        return rc;
    for (rc = kv_seek(c, key_exemplars(&key, id, 0), err); rc == OK; rc = kv_next(c, err)) {
        struct bytes value = c->value;

        if (c->key.len != 12 || load_u32be(c->key.ptr) != id
            || load_u64be(c->key.ptr + 4) > last_flush(t))
            break;
        rc = open_seal(t, &value, c->key)
                 ? each_exemplar(&range, load_u64be(c->key.ptr + 4), value, fn, ctx)
                 : ERR_CORRUPT;
        if (rc == ERR_CORRUPT)
            rc = day_corrupt(t->day, "exemplars of series", id, err);
        if (rc != OK)
            break;
    }
    return rc == ERR_NOT_FOUND || rc == ERR_CANCELED ? OK : rc;
}
