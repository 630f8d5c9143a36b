/* day.c -- opening a day file, its format version and the records of its flushes; day_private.h
 * draws the tables. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/vec.h"
#include "storage/day_private.h"
#include "storage/seal.h"

#include "base/banned.h"

enum { FORMAT_VERSION = 2 }; /* 1 had no deletions */

const struct bytes day_format_key = { (const uint8_t *)"format", 6 };

static const char *const tables[DAY_TABLES] = {
    [DAY_META] = "meta",           [DAY_FLUSHES] = "flushes",
    [DAY_SYMBOLS] = "symbols",     [DAY_SYMBOL_HASHES] = "symbol_hashes",
    [DAY_SERIES] = "series",       [DAY_SERIES_HASHES] = "series_hashes",
    [DAY_POSTINGS] = "postings",   [DAY_DIRECTORY] = "directory",
    [DAY_PACKS] = "packs",         [DAY_EXEMPLARS] = "exemplars",
    [DAY_DELETIONS] = "deletions", [DAY_TIMES] = "times",
};

/* ---- keys and values ---- */

struct bytes key_u32(struct day_key *k, uint32_t v)
{
    store_u32be(k->bytes, v);
    return (struct bytes){ k->bytes, 4 };
}

struct bytes key_u64(struct day_key *k, uint64_t v)
{
    store_u64be(k->bytes, v);
    return (struct bytes){ k->bytes, 8 };
}

struct bytes key_u64_u32(struct day_key *k, uint64_t a, uint32_t b)
{
    store_u64be(k->bytes, a);
    store_u32be(k->bytes + 8, b);
    return (struct bytes){ k->bytes, 12 };
}

struct bytes key_exemplars(struct day_key *k, uint32_t series, uint64_t flush)
{
    store_u32be(k->bytes, series);
    store_u64be(k->bytes + 4, flush);
    return (struct bytes){ k->bytes, 12 };
}

struct bytes key_postings(struct day_key *k, uint32_t name, uint32_t value, uint64_t flush)
{
    store_u32be(k->bytes, name);
    store_u32be(k->bytes + 4, value);
    store_u64be(k->bytes + 8, flush);
    return (struct bytes){ k->bytes, 16 };
}

enum errc day_corrupt(const struct day *d, const char *what, uint64_t number, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0, "%s: %s %" PRIu64 " is damaged or missing", kv_path(d->kv),
                   what, number);
}

static uint64_t key_number(struct bytes key)
{
    return key.len == 4 ? load_u32be(key.ptr) : key.len >= 8 ? load_u64be(key.ptr) : 0;
}

enum errc day_get(struct day *d, struct kv_txn *t, unsigned table, struct bytes key,
                  struct bytes *value, struct err *err)
{
    enum errc rc = kv_get(t, table, key, value, err);

    if (rc == OK && !seal_check(value, key))
        return day_corrupt(d, tables[table], key_number(key), err);
    return rc;
}

/* As LMDB orders keys. */
static int compare_keys(struct bytes a, struct bytes b)
{
    return str_cmp((struct str){ (const char *)a.ptr, a.len },
                   (struct str){ (const char *)b.ptr, b.len });
}

/* Whether the entry at the place lies on the given side (-1 before, 1 after) of the key, and is
 * what was written under its own. */
static enum errc check_neighbour(struct day *d, const struct kv_cursor *c, unsigned table,
                                 struct bytes key, int side, struct err *err)
{
    struct bytes value = c->value;
    int order = compare_keys(c->key, key);

    if ((side < 0 ? order >= 0 : order <= 0) || !seal_check(&value, c->key))
        return day_corrupt(d, tables[table], key_number(key), err);
    return OK;
}

enum errc day_prove_first(struct day *d, struct kv_txn *t, unsigned table, struct bytes key,
                          struct err *err)
{
    struct kv_cursor c = { 0 };
    enum errc rc = kv_cursor_open(t, table, &c, err);

    if (rc == OK) {
        rc = kv_seek(&c, key, err);
        rc = rc == OK ? kv_prev(&c, err) : rc == ERR_NOT_FOUND ? kv_last(&c, err) : rc;
    }
    if (rc == OK)
        rc = check_neighbour(d, &c, table, key, -1, err);
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum errc day_prove_absent(struct day *d, struct kv_txn *t, unsigned table, struct bytes key,
                           struct err *err)
{
    struct kv_cursor c = { 0 };
    enum errc rc = kv_cursor_open(t, table, &c, err);

    if (rc == OK)
        rc = kv_seek(&c, key, err);
    if (rc == OK)
        rc = check_neighbour(d, &c, table, key, 1, err);
    kv_cursor_close(&c);
    return rc == OK || rc == ERR_NOT_FOUND ? day_prove_first(d, t, table, key, err) : rc;
}

enum errc day_find_symbol(struct day *d, struct kv_txn *t, struct str text, uint32_t *out,
                          struct err *err)
{
    struct day_key hash_key, symbol_key;
    uint64_t hash = hash64(text.ptr, text.len);
    struct bytes ids, found;
    enum errc rc = day_get(d, t, DAY_SYMBOL_HASHES, key_u64(&hash_key, hash), &ids, err);

    *out = 0;
    if (rc == ERR_NOT_FOUND)
        return day_prove_absent(d, t, DAY_SYMBOL_HASHES, key_u64(&hash_key, hash), err);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i + 4 <= ids.len; i += 4) {
        uint32_t id = load_u32le(ids.ptr + i);

        rc = day_get(d, t, DAY_SYMBOLS, key_u32(&symbol_key, id), &found, err);
        if (rc == ERR_NOT_FOUND)
            return day_corrupt(d, "symbol", id, err);
        if (rc != OK)
            return rc;
        if (str_equal((struct str){ (const char *)found.ptr, found.len }, text)) {
            *out = id;
            return OK;
        }
    }
    return OK;
}

/* ---- flushes ---- */

void flush_record_encode(struct buf *b, const struct flush_record *r)
{
    buf_u64(b, (uint64_t)r->min_t_ms);
    buf_u64(b, (uint64_t)r->max_t_ms);
    buf_u64(b, r->n_samples);
    buf_u32(b, r->n_packs);
    buf_u32(b, r->n_series);
    buf_u32(b, r->highest);
    buf_u32(b, r->last_symbol);
    buf_u32(b, r->last_series);
}

static enum errc decode_record(struct day *d, struct bytes key, struct bytes value,
                               struct flush_record *out, struct err *err)
{
    struct reader r;

    if (key.len != 8 || !seal_check(&value, key))
        return day_corrupt(d, "flush", key_number(key), err);
    r = reader_on(value);
    out->flush = load_u64be(key.ptr);
    out->min_t_ms = (int64_t)read_u64(&r);
    out->max_t_ms = (int64_t)read_u64(&r);
    out->n_samples = read_u64(&r);
    out->n_packs = read_u32(&r);
    out->n_series = read_u32(&r);
    out->highest = read_u32(&r);
    out->last_symbol = read_u32(&r);
    out->last_series = read_u32(&r);
    return r.overrun ? day_corrupt(d, "flush", out->flush, err) : OK;
}

enum errc day_load_flushes(struct day *d, struct kv_txn *t, uint64_t max_flush,
                           struct flush_record **out, size_t *n, struct err *err)
{
    struct flush_record *records = NULL;
    struct kv_cursor c = { 0 };
    struct day_key key;
    size_t cap = 0;
    enum errc rc = kv_cursor_open(t, DAY_FLUSHES, &c, err);

    *n = 0;
    if (rc == OK)
        rc = kv_seek(&c, key_u64(&key, 0), err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct flush_record r;

        rc = decode_record(d, c.key, c.value, &r, err);
        if (rc != OK || r.flush > max_flush)
            break;
        if (!vec_reserve(&records, &cap, *n + 1, sizeof *records)) {
            rc = err_set(err, ERR_NOMEM, 0, "read %s: out of memory", kv_path(d->kv));
            break;
        }
        records[(*n)++] = r;
    }
    kv_cursor_close(&c);
    if (rc == OK || rc == ERR_NOT_FOUND) {
        *out = records;
        return OK;
    }
    free(records);
    return rc;
}

enum errc day_last_record(struct day *d, struct kv_txn *t, struct flush_record *out,
                          struct err *err)
{
    struct kv_cursor c = { 0 };
    enum errc rc = kv_cursor_open(t, DAY_FLUSHES, &c, err);

    *out = (struct flush_record){ 0 };
    if (rc == OK)
        rc = kv_last(&c, err);
    if (rc == OK)
        rc = decode_record(d, c.key, c.value, out, err);
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

void day_note_flush(struct day *d, const struct flush_record *r)
{
    pthread_mutex_lock(&d->lock);
    d->last_flush = r->flush;
    d->summary.flushes++;
    d->summary.samples += r->n_samples;
    if (r->n_samples > d->summary.largest)
        d->summary.largest = r->n_samples;
    if (r->min_t_ms <= r->max_t_ms) {
        d->min_t_ms = r->min_t_ms < d->min_t_ms ? r->min_t_ms : d->min_t_ms;
        d->max_t_ms = r->max_t_ms > d->max_t_ms ? r->max_t_ms : d->max_t_ms;
    }
    pthread_mutex_unlock(&d->lock);
}

/* ---- opening ---- */

static enum errc check_format(struct day *d, struct bytes value, uint32_t *n_deletions,
                              struct err *err)
{
    struct reader r;
    uint32_t version;
    int64_t number;

    if (!seal_check(&value, day_format_key))
        return err_set(err, ERR_CORRUPT, 0, "%s: its format version is damaged", kv_path(d->kv));
    r = reader_on(value);
    version = read_u32(&r);
    number = (int64_t)read_u64(&r);
    *n_deletions = version > 1 ? read_u32(&r) : 0;
    if (version > FORMAT_VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0,
                       "%s: format version %u is newer than this program knows (%d)",
                       kv_path(d->kv), version, FORMAT_VERSION);
    if (r.overrun || number != d->number)
        return err_set(err, ERR_CORRUPT, 0, "%s: it holds day %" PRId64 ", not day %" PRId64,
                       kv_path(d->kv), number, d->number);
    return OK;
}

enum errc day_put_format(struct day *d, struct kv_txn *t, uint32_t n_deletions, struct err *err)
{
    struct buf value = { 0 };
    enum errc rc;

    buf_u32(&value, FORMAT_VERSION);
    buf_u64(&value, (uint64_t)d->number);
    buf_u32(&value, n_deletions);
    seal_add(&value, day_format_key);
    rc = value.failed ? err_set(err, ERR_NOMEM, 0, "out of memory")
                      : kv_put(t, DAY_META, day_format_key, buf_as_bytes(&value), err);
    buf_free(&value);
    return rc;
}

static enum errc write_format(struct day *d, struct err *err)
{
    struct kv_txn *t = NULL;
    enum errc rc = kv_begin_write(d->kv, &t, err);

    if (rc != OK)
        return rc;
    rc = day_put_format(d, t, 0, err);
    if (rc == OK)
        return kv_commit(t, err);
    kv_abort(t);
    return rc;
}

/* Reads what struct day remembers of the file; a file that has just been created gets its format
 * version. */
static enum errc load(struct day *d, bool create, struct err *err)
{
    struct flush_record *flushes = NULL;
    struct kv_txn *t = NULL;
    struct bytes value;
    size_t n = 0;
    uint32_t n_deletions = 0;
    enum errc rc = kv_begin_read(d->kv, &t, err);

    if (rc != OK)
        return rc;
    rc = kv_get(t, DAY_META, day_format_key, &value, err);
    if (rc == ERR_NOT_FOUND) {
        kv_abort(t);
        if (create)
            return write_format(d, err);
        return err_set(err, ERR_CORRUPT, 0, "%s: not a day file", kv_path(d->kv));
    }
    if (rc == OK)
        rc = check_format(d, value, &n_deletions, err);
    if (rc == OK)
        rc = day_load_deletions(d, t, n_deletions, err);
    if (rc == OK)
        rc = day_load_flushes(d, t, UINT64_MAX, &flushes, &n, err);
    for (size_t i = 0; rc == OK && i < n; i++)
        day_note_flush(d, &flushes[i]);
    free(flushes);
    kv_abort(t);
    return rc;
}

static enum errc open_day(const struct kv_options *o, int64_t day, struct day **out,
                          struct err *err)
{
    struct day *d = calloc(1, sizeof *d);
    enum errc rc;

    if (!d)
        return err_set(err, ERR_NOMEM, 0, "open %s: out of memory", o->path);
    d->number = day;
    d->min_t_ms = INT64_MAX;
    d->max_t_ms = INT64_MIN;
    atomic_init(&d->refs, 1);
    pthread_mutex_init(&d->lock, NULL);
    rc = kv_open(o, &d->kv, err);
    if (rc == OK)
        rc = load(d, o->create, err);
    if (rc != OK) {
        day_unref(d);
        return rc;
    }
    *out = d;
    return OK;
}

static struct kv_options options_of(const char *path, size_t map_bytes)
{
    return (struct kv_options){ .path = path,
                                .map_bytes = map_bytes,
                                .tables = tables,
                                .n_tables = DAY_TABLES,
                                .n_added = DAY_TABLES - DAY_EXEMPLARS };
}

enum errc day_open(const char *path, int64_t day, size_t map_bytes, bool create, struct day **out,
                   struct err *err)
{
    struct kv_options o = options_of(path, map_bytes);

    o.create = create;
    return open_day(&o, day, out, err);
}

enum errc day_open_read_only(const char *path, int64_t day, size_t map_bytes, struct day **out,
                             struct err *err)
{
    struct kv_options o = options_of(path, map_bytes);

    o.read_only = true;
    return open_day(&o, day, out, err);
}

enum errc day_copy_begin(struct day *d, struct kv_copy **out, struct err *err)
{
    return kv_copy_begin(d->kv, out, err);
}

struct day *day_ref(struct day *d)
{
    atomic_fetch_add(&d->refs, 1);
    return d;
}

void day_unref(struct day *d)
{
    if (!d || atomic_fetch_sub(&d->refs, 1) > 1)
        return;
    kv_close(d->kv);
    deletions_unref(d->deletions);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

bool day_is_idle(const struct day *d)
{
    return atomic_load(&d->refs) == 1;
}

/* ---- answers ---- */

int64_t day_number(const struct day *d)
{
    return d->number;
}

const char *day_path(const struct day *d)
{
    return kv_path(d->kv);
}

uint64_t day_file_bytes(const struct day *d)
{
    return kv_file_bytes(d->kv);
}

/* Locking changes no more than the lock. */
static pthread_mutex_t *lock_of(const struct day *d)
{
    return &((struct day *)(uintptr_t)d)->lock;
}

uint64_t day_last_flush(const struct day *d)
{
    uint64_t flush;

    pthread_mutex_lock(lock_of(d));
    flush = d->last_flush;
    pthread_mutex_unlock(lock_of(d));
    return flush;
}

struct day_summary day_summary(const struct day *d)
{
    struct day_summary s;

    pthread_mutex_lock(lock_of(d));
    s = d->summary;
    pthread_mutex_unlock(lock_of(d));
    return s;
}

void day_time_range(const struct day *d, int64_t *min_t_ms, int64_t *max_t_ms)
{
    pthread_mutex_lock(lock_of(d));
    *min_t_ms = d->min_t_ms;
    *max_t_ms = d->max_t_ms;
    pthread_mutex_unlock(lock_of(d));
}
