#include "storage/day_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/vec.h"
#include "storage/day_private.h"
#include "storage/pack.h"
#include "storage/pack_cache.h"
#include "storage/seal.h"

#include "base/banned.h"

enum { PACE_BYTES = 64 << 10, CACHE_BYTES = 1 << 20, MAX_NAMED = 20 };

/* Where the directory says that a series is. */
struct location {
    uint32_t id, first, n;
};

struct check {
    const struct day_check *c;
    struct day_check_result *res;
    struct day *day;
    struct day_txn *txn;
    struct arena *texts, *reasons; /* of one fault */
    uint64_t told_bytes;           /* to go_on */
    uint64_t n_pairs;              /* name=value of all series */
    struct buf encoding;
    struct column column;
    struct pack_cache *cache;
    uint64_t flush;             /* that is looked at */
    struct location *locations; /* of one flush */
    size_t n_locations, cap_locations;
};

static uint32_t last_series(const struct check *k)
{
    return k->txn->n_flushes ? k->txn->flushes[k->txn->n_flushes - 1].last_series : 0;
}

static uint32_t last_symbol(const struct check *k)
{
    return k->txn->n_flushes ? k->txn->flushes[k->txn->n_flushes - 1].last_symbol : 0;
}

/* ---- telling ---- */

/* The first faults of a file are told, the others counted. */
static void PRINTF_LIKE(2, 3) fault(struct check *k, const char *fmt, ...)
{
    va_list ap;
    char *text;

    if (k->res->faults++ >= MAX_NAMED)
        return;
    va_start(ap, fmt);
    text = arena_vprintf(k->texts, fmt, ap);
    va_end(ap);
    k->c->fault(k->c->ctx, text ? text : fmt);
    arena_reset(k->texts);
}

/* Counts a value; ERR_CANCELED when the caller wants no more. */
static enum errc count(struct check *k, struct bytes key, struct bytes value, struct err *err)
{
    k->res->values++;
    k->res->bytes += key.len + value.len;
    if (!k->c->go_on || k->res->bytes - k->told_bytes < PACE_BYTES)
        return OK;
    k->told_bytes = k->res->bytes;
    if (k->c->go_on(k->c->ctx, k->res->bytes))
        return OK;
    return err_set(err, ERR_CANCELED, 0, "the check of %s was interrupted", day_path(k->day));
}

/* Damage that a call met is a fault, and the check goes on elsewhere. */
static enum errc note(struct check *k, enum errc rc, struct err *err)
{
    if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND || rc == ERR_UNSUPPORTED) {
        fault(k, "%s", err_text(err));
        arena_reset(k->reasons);
        return OK;
    }
    return rc;
}

/* ---- walking a table ---- */

/* Looks at an entry whose seal is sound and cut off. Faults it tells itself. */
typedef enum errc visit_fn(struct check *k, struct bytes key, struct bytes value, struct err *err);

static enum errc walk(struct check *k, unsigned table, const char *what, visit_fn *visit,
                      struct err *err)
{
    static const uint8_t lowest = 0;
    struct kv_cursor c = { 0 };
    enum errc rc = kv_cursor_open(k->txn->kv, table, &c, err);

    if (rc == OK)
        rc = kv_seek(&c, (struct bytes){ &lowest, 1 }, err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct bytes value = c.value;

        rc = count(k, c.key, value, err);
        if (rc != OK)
            break;
        if (!seal_check(&value, c.key))
            fault(k, "%s: the checksum of a value in table %s is wrong", day_path(k->day), what);
        else if ((rc = visit(k, c.key, value, err)) != OK)
            break;
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : note(k, rc, err);
}

/* The sum of what a table of hashes holds. */
static enum errc visit_hashes(struct check *k, struct bytes key, struct bytes value,
                              struct err *err)
{
    (void)err;
    if (key.len != 8 || value.len == 0 || value.len % 4)
        fault(k, "%s: an entry of hashes is malformed", day_path(k->day));
    return OK;
}

/* ---- symbols and series ---- */

static enum errc check_symbol(struct check *k, uint32_t id, struct err *err)
{
    struct day_key key;
    struct bytes text;
    uint32_t found = 0;
    enum errc rc = day_get(k->day, k->txn->kv, DAY_SYMBOLS, key_u32(&key, id), &text, err);

    if (rc == ERR_NOT_FOUND)
        rc = day_corrupt(k->day, "symbol", id, err);
    if (rc == OK)
        rc = count(k, key_u32(&key, id), text, err);
    if (rc == OK)
        rc = day_find_symbol(k->day, k->txn->kv, (struct str){ (const char *)text.ptr, text.len },
                             &found, err);
    if (rc == OK && found != id)
        fault(k, "%s: symbol %u cannot be found by its text", day_path(k->day), id);
    return note(k, rc, err);
}

static bool holds_id(struct bytes ids, uint32_t id)
{
    for (size_t i = 0; i + 4 <= ids.len; i += 4)
        if (load_u32le(ids.ptr + i) == id)
            return true;
    return false;
}

static enum errc check_one_series(struct check *k, uint32_t id, struct err *err)
{
    struct arena *a = arena_new(0);
    struct labels labels;
    struct day_key key;
    struct bytes ids;
    enum errc rc = a ? day_labels(k->txn, id, a, &labels, err)
                     : err_set(err, ERR_NOMEM, 0, "check: out of memory");

    if (rc == OK) {
        struct bytes k8;

        buf_clear(&k->encoding);
        labels_encode(&k->encoding, labels);
        k8 = key_u64(&key, hash64(k->encoding.ptr, k->encoding.len));
        rc = k->encoding.failed ? err_set(err, ERR_NOMEM, 0, "check: out of memory")
                                : day_get(k->day, k->txn->kv, DAY_SERIES_HASHES, k8, &ids, err);
        if (rc == ERR_NOT_FOUND || (rc == OK && !holds_id(ids, id))) {
            fault(k, "%s: series %u cannot be found by its labels", day_path(k->day), id);
            rc = OK;
        }
        k->n_pairs += labels.n;
    }
    if (rc == OK)
        rc = count(k, (struct bytes){ 0 }, buf_as_bytes(&k->encoding), err);
    arena_free(a);
    return note(k, rc, err);
}

static enum errc check_names(struct check *k, struct err *err)
{
    enum errc rc = OK;

    for (uint32_t id = 1; rc == OK && id <= last_symbol(k); id++)
        rc = check_symbol(k, id, err);
    for (uint32_t id = 1; rc == OK && id <= last_series(k); id++)
        rc = check_one_series(k, id, err);
    k->res->series = last_series(k);
    if (rc == OK)
        rc = walk(k, DAY_SYMBOL_HASHES, "symbol_hashes", visit_hashes, err);
    return rc == OK ? walk(k, DAY_SERIES_HASHES, "series_hashes", visit_hashes, err) : rc;
}

/* ---- postings ---- */

/* Which series a flush was the first to bring. */
static bool brought_by(const struct check *k, uint64_t flush, uint32_t *first, uint32_t *last)
{
    uint32_t before = 0;

    for (size_t i = 0; i < k->txn->n_flushes; i++) {
        const struct flush_record *f = &k->txn->flushes[i];

        if (f->flush == flush) {
            *first = before + 1;
            *last = f->last_series;
            return true;
        }
        before = f->last_series;
    }
    return false;
}

static enum errc has_pair(struct check *k, uint32_t id, uint32_t name, uint32_t value, bool *has,
                          struct err *err)
{
    struct day_key key;
    struct bytes pairs;
    struct reader r;
    enum errc rc = day_get(k->day, k->txn->kv, DAY_SERIES, key_u32(&key, id), &pairs, err);

    *has = false;
    if (rc == ERR_NOT_FOUND)
        return day_corrupt(k->day, "series", id, err);
    if (rc != OK)
        return rc;
    r = reader_on(pairs);
    while (!*has && reader_left(&r) > 0) {
        uint64_t n = read_uvarint(&r), v = read_uvarint(&r);

        *has = n == name && v == value;
    }
    return OK;
}

static enum errc visit_postings(struct check *k, struct bytes key, struct bytes value,
                                struct err *err)
{
    struct reader r = reader_on(value);
    uint32_t name, v, first, last;
    uint64_t id = 0;
    enum errc rc = OK;

    if (key.len != 16 || !brought_by(k, load_u64be(key.ptr + 8), &first, &last)) {
        fault(k, "%s: there are postings of a flush that does not exist", day_path(k->day));
        return OK;
    }
    name = load_u32be(key.ptr);
    v = load_u32be(key.ptr + 4);
    while (rc == OK && reader_left(&r) > 0) {
        uint64_t delta = read_uvarint(&r);
        bool has;

        id += delta;
        if (r.overrun || delta == 0 || id < first || id > last) {
            fault(k, "%s: the postings of symbols %u and %u are malformed", day_path(k->day), name,
                  v);
            return OK;
        }
        rc = has_pair(k, (uint32_t)id, name, v, &has, err);
        if (rc == OK && !has)
            fault(k,
                  "%s: the postings of symbols %u and %u name series %" PRIu64
                  ", which has them not",
                  day_path(k->day), name, v, id);
        k->n_pairs--; /* what is left is missing */
    }
    return note(k, rc, err);
}

static enum errc check_postings(struct check *k, struct err *err)
{
    uint64_t faults = k->res->faults;
    enum errc rc = walk(k, DAY_POSTINGS, "postings", visit_postings, err);

    if (rc == OK && faults == k->res->faults && k->n_pairs != 0)
        fault(k, "%s: %" PRIu64 " labels of series are missing from the postings", day_path(k->day),
              k->n_pairs);
    return rc;
}

/* ---- samples ---- */

static bool add_entries(struct check *k, const struct flush_record *f, struct bytes block)
{
    size_t n = block.len / DIRECTORY_ENTRY_BYTES;
    uint32_t last = k->n_locations ? k->locations[k->n_locations - 1].id : 0;

    if (block.len != DIRECTORY_HEADER_BYTES + n * DIRECTORY_ENTRY_BYTES || n == 0
        || load_u32le(block.ptr) != last
        || !vec_reserve(&k->locations, &k->cap_locations, k->n_locations + n, sizeof *k->locations))
        return false;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = block.ptr + DIRECTORY_HEADER_BYTES + i * DIRECTORY_ENTRY_BYTES;
        struct location l = { load_u32le(p), load_u32le(p + 4), load_u32le(p + 8) };

        if (l.id <= last || l.n == 0 || l.first > f->n_packs || l.n > f->n_packs - l.first)
            return false;
        k->locations[k->n_locations++] = l;
        last = l.id;
    }
    return true;
}

/* Loads the directory of a flush; *sound says whether it can be trusted. */
static enum errc load_directory(struct check *k, const struct flush_record *f, bool *sound,
                                struct err *err)
{
    struct kv_cursor c = { 0 };
    struct day_key key;
    enum errc rc = kv_cursor_open(k->txn->kv, DAY_DIRECTORY, &c, err);

    k->n_locations = 0;
    *sound = true;
    if (rc == OK)
        rc = kv_seek(&c, key_u64_u32(&key, f->flush, 0), err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct bytes block = c.value;

        if (c.key.len != 12 || load_u64be(c.key.ptr) != f->flush)
            break;
        rc = count(k, c.key, block, err);
        if (rc != OK)
            break;
        *sound = *sound && seal_check(&block, c.key) && add_entries(k, f, block);
    }
    kv_cursor_close(&c);
    if (rc != OK && rc != ERR_NOT_FOUND)
        *sound = false;
    if (k->n_locations != f->n_series
        || (f->n_series && k->locations[k->n_locations - 1].id != f->highest))
        *sound = false;
    if (!*sound && rc != ERR_CANCELED)
        fault(k, "%s: the directory of flush %" PRIu64 " is damaged", day_path(k->day), f->flush);
    return rc == ERR_CANCELED ? rc : OK;
}

static const struct location *find_location(const struct check *k, uint32_t id)
{
    size_t lo = 0, hi = k->n_locations;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (k->locations[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < k->n_locations && k->locations[lo].id == id ? &k->locations[lo] : NULL;
}

/* What the packs of a flush hold in all. */
struct totals {
    uint64_t samples, places; /* of series in packs */
};

/* A column of times that packs of the flush share. */
static enum errc find_times(void *ctx, uint32_t number, struct bytes *column, struct err *err)
{
    struct check *k = ctx;
    struct day_key key;
    enum errc rc =
        day_get(k->day, k->txn->kv, DAY_TIMES, key_u64_u32(&key, k->flush, number), column, err);

    return rc == ERR_NOT_FOUND ? day_corrupt(k->day, "times", number, err) : rc;
}

/* Decodes every chunk of a pack. */
static enum errc check_pack(struct check *k, const struct flush_record *f, uint32_t number,
                            struct bytes data, bool sound, struct totals *t, struct err *err)
{
    const struct pack_source source = { .cache = k->cache, .times = find_times, .ctx = k };
    struct pack pack;
    uint32_t last = 0;
    enum errc rc = pack_open(data, false, &pack, err);

    for (size_t i = 0; rc == OK && i < pack.n_chunks; i++) {
        struct pack_chunk chunk = pack_chunk(&pack, i);
        const struct location *l = sound ? find_location(k, chunk.id) : NULL;

        if (sound && (!l || number < l->first || number - l->first >= l->n))
            fault(k, "%s: flush %" PRIu64 ", pack %u holds series %u against the directory",
                  day_path(k->day), f->flush, number, chunk.id);
        t->places += i == 0 || chunk.id != last;
        last = chunk.id;
        column_clear(&k->column);
        rc = pack_read(&pack, &chunk, &source, &k->column, err);
        t->samples += k->column.n;
    }
    if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
        fault(k, "%s: flush %" PRIu64 ", pack %u: %s", day_path(k->day), f->flush, number,
              err_text(err));
        arena_reset(k->reasons);
        return OK;
    }
    return rc;
}

static enum errc check_flush(struct check *k, const struct flush_record *f, struct err *err)
{
    struct totals t = { 0 };
    uint64_t places = 0, faults;
    bool sound = false;
    enum errc rc = load_directory(k, f, &sound, err);

    faults = k->res->faults;
    k->flush = f->flush;
    for (uint32_t number = 0; rc == OK && number < f->n_packs; number++) {
        struct day_key key;
        struct bytes data, name = key_u64_u32(&key, f->flush, number);

        rc = kv_get(k->txn->kv, DAY_PACKS, name, &data, err);
        if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) {
            fault(k, "%s: flush %" PRIu64 ", pack %u is missing", day_path(k->day), f->flush,
                  number);
            rc = OK;
            continue;
        }
        if (rc == OK)
            rc = count(k, name, data, err);
        if (rc == OK)
            rc = check_pack(k, f, number, data, sound, &t, err);
    }
    for (size_t i = 0; i < k->n_locations; i++)
        places += k->locations[i].n;
    if (rc == OK && faults == k->res->faults && sound
        && (t.samples != f->n_samples || t.places != places))
        fault(k,
              "%s: flush %" PRIu64 " has %" PRIu64 " samples in its packs, and should have "
              "%" PRIu64,
              day_path(k->day), f->flush, t.samples, f->n_samples);
    k->res->samples += t.samples;
    return rc;
}

/* ---- the rest ---- */

static bool take_exemplar(void *ctx, const struct stored_exemplar *e)
{
    (void)ctx;
    (void)e;
    return true;
}

static enum errc visit_exemplars(struct check *k, struct bytes key, struct bytes value,
                                 struct err *err)
{
    (void)value;
    if (key.len != 12 || load_u32be(key.ptr) == 0 || load_u32be(key.ptr) > last_series(k)) {
        fault(k, "%s: there are exemplars of a series that does not exist", day_path(k->day));
        return OK;
    }
    return note(k,
                day_each_exemplar(k->txn, load_u32be(key.ptr), INT64_MIN, INT64_MAX, take_exemplar,
                                  NULL, err),
                err);
}

/* Nothing but their seal can be wrong here: packs that use times decode them, and deletions were
 * decoded when the file was opened. */
static enum errc visit_sealed(struct check *k, struct bytes key, struct bytes value,
                              struct err *err)
{
    (void)k;
    (void)key;
    (void)value;
    (void)err;
    return OK;
}

static enum errc check_all(struct check *k, struct err *err)
{
    enum errc rc = check_names(k, err);

    if (rc == OK)
        rc = check_postings(k, err);
    for (size_t i = 0; rc == OK && i < k->txn->n_flushes; i++)
        rc = check_flush(k, &k->txn->flushes[i], err);
    if (rc == OK)
        rc = walk(k, DAY_EXEMPLARS, "exemplars", visit_exemplars, err);
    if (rc == OK)
        rc = walk(k, DAY_TIMES, "times", visit_sealed, err);
    return rc == OK ? walk(k, DAY_DELETIONS, "deletions", visit_sealed, err) : rc;
}

enum errc day_check(struct day *d, const struct day_check *c, struct day_check_result *res,
                    struct err *err)
{
    struct check k = {
        .c = c, .res = res, .day = d, .texts = arena_new(0), .reasons = arena_new(0)
    };
    struct err own = err_in(k.reasons);
    enum errc rc;

    *res = (struct day_check_result){ 0 };
    k.cache = pack_cache_new(CACHE_BYTES);
    rc = k.texts && k.reasons && k.cache ? day_txn_begin(d, UINT64_MAX, &k.txn, &own)
                                         : err_set(&own, ERR_NOMEM, 0, "check: out of memory");
    if (rc == OK)
        rc = check_all(&k, &own);
    else if (rc == ERR_CORRUPT)
        rc = note(&k, rc, &own);
    if (rc != OK)
        rc = err_set(err, rc, 0, "%s", err_text(&own));
    day_txn_end(k.txn);
    pack_cache_free(k.cache);
    arena_free(k.texts);
    arena_free(k.reasons);
    buf_free(&k.encoding);
    column_free(&k.column);
    free(k.locations);
    return rc;
}
