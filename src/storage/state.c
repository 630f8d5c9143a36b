/* state.c -- tables; every value ends with its seal (seal.h).
 *
 *   meta      "format"                            u32 format version
 *   metadata  u64 BE hash64(family), u8 slot      u8 type; family, help, unit: each a uvarint
 *                                                 length and the text
 *   records   the owner's key                     the owner's value
 *
 * Families can be longer than an LMDB key may be, hence the hash; families of equal hash take the
 * next slot.
 */
#include "storage/state.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "storage/kv.h"
#include "storage/seal.h"

#include "base/banned.h"

enum { META, METADATA, RECORDS, N_TABLES };
static const char *const tables[N_TABLES] = {
    [META] = "meta", [METADATA] = "metadata", [RECORDS] = "records"
};

enum { FORMAT_VERSION = 1, KEY_BYTES = 9, AT_SLOT = 8, MAX_SLOTS = 256 };
static const struct bytes format_key = { (const uint8_t *)"format", 6 };

struct state {
    struct kv *kv;
};

/* ---- opening ---- */

static enum errc put_format(struct kv_txn *t, struct err *err)
{
    struct buf value = { 0 };
    enum errc rc;

    buf_u32(&value, FORMAT_VERSION);
    seal_add(&value, format_key);
    rc = value.failed ? err_set(err, ERR_NOMEM, 0, "out of memory")
                      : kv_put(t, META, format_key, buf_as_bytes(&value), err);
    buf_free(&value);
    return rc;
}

static enum errc check_format(struct kv *kv, struct bytes value, struct err *err)
{
    if (!seal_check(&value, format_key) || value.len < 4)
        return err_set(err, ERR_CORRUPT, 0, "%s: checksum of its format version is wrong",
                       kv_path(kv));
    if (load_u32le(value.ptr) > FORMAT_VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0, "%s: format version %u is newer than this program",
                       kv_path(kv), load_u32le(value.ptr));
    return OK;
}

static enum errc prepare(struct kv *kv, struct err *err)
{
    struct kv_txn *t = NULL;
    struct bytes value;
    enum errc rc = kv_begin_write(kv, &t, err);

    if (rc != OK)
        return rc;
    rc = kv_get(t, META, format_key, &value, err);
    if (rc == OK)
        rc = check_format(kv, value, err);
    else if (rc == ERR_NOT_FOUND)
        rc = put_format(t, err);
    if (rc == OK)
        return kv_commit(t, err);
    kv_abort(t);
    return rc;
}

enum errc state_open(const char *path, size_t map_bytes, struct state **out, struct err *err)
{
    struct state *s = calloc(1, sizeof *s);
    struct kv_options options = {
        .path = path, .map_bytes = map_bytes, .create = true, .tables = tables, .n_tables = N_TABLES
    };
    enum errc rc = s ? kv_open(&options, &s->kv, err)
                     : err_set(err, ERR_NOMEM, 0, "open %s: out of memory", path);

    if (rc == OK)
        rc = prepare(s->kv, err);
    if (rc != OK) {
        state_close(s);
        return rc;
    }
    *out = s;
    return OK;
}

void state_close(struct state *s)
{
    if (!s)
        return;
    kv_close(s->kv);
    free(s);
}

/* ---- metadata ---- */

static void add_text(struct buf *b, struct str s)
{
    buf_uvarint(b, s.len);
    buf_str(b, s);
}

static void encode(struct buf *b, const struct metric_metadata *m)
{
    buf_u8(b, (uint8_t)m->type);
    add_text(b, m->family);
    add_text(b, m->help);
    add_text(b, m->unit);
}

static struct str read_text(struct reader *r)
{
    return read_str(r, read_uvarint(r));
}

/* A type of a newer version reads as unknown. */
static bool decode(struct bytes key, struct bytes value, struct metric_metadata *m)
{
    struct reader r;
    uint8_t type;

    if (!seal_check(&value, key))
        return false;
    r = reader_on(value);
    type = read_u8(&r);
    m->type = type < METRIC_TYPE_COUNT ? (enum metric_type)type : METRIC_UNKNOWN;
    m->family = read_text(&r);
    m->help = read_text(&r);
    m->unit = read_text(&r);
    return !r.overrun;
}

/* The slot of a family: its own, else the first that is free or damaged. */
static enum errc find_slot(struct kv_txn *t, struct str family, uint8_t key[KEY_BYTES],
                           struct err *err)
{
    store_u64be(key, hash64(family.ptr, family.len));
    for (int slot = 0; slot < MAX_SLOTS; slot++) {
        struct bytes k = { key, KEY_BYTES }, value;
        struct metric_metadata there;

        key[AT_SLOT] = (uint8_t)slot;
        enum errc rc = kv_get(t, METADATA, k, &value, err);

        if (rc == ERR_NOT_FOUND)
            return OK;
        if (rc != OK)
            return rc;
        if (!decode(k, value, &there) || str_equal(there.family, family))
            return OK;
    }
    return err_set(err, ERR_LIMIT, 0, "too many metric families of one hash");
}

enum errc state_put_metadata(struct state *s, const struct metric_metadata *m, size_t n,
                             struct err *err)
{
    struct kv_txn *t = NULL;
    struct buf value = { 0 };
    enum errc rc = kv_begin_write(s->kv, &t, err);

    if (rc != OK)
        return rc;
    for (size_t i = 0; i < n && rc == OK; i++) {
        uint8_t key[KEY_BYTES];
        struct bytes k = { key, sizeof key };

        rc = find_slot(t, m[i].family, key, err);
        if (rc != OK)
            break;
        buf_clear(&value);
        encode(&value, &m[i]);
        seal_add(&value, k);
        rc = value.failed ? err_set(err, ERR_NOMEM, 0, "out of memory")
                          : kv_put(t, METADATA, k, buf_as_bytes(&value), err);
    }
    buf_free(&value);
    if (rc == OK)
        return kv_commit(t, err);
    kv_abort(t);
    return rc;
}

/* ---- walking a table ---- */

enum visit { VISIT_ON, VISIT_STOP, VISIT_DAMAGED };

/* Calls visit for each entry in order of keys; what is damaged is left out with a warning. */
static enum errc walk(struct state *s, unsigned table,
                      enum visit (*visit)(void *ctx, struct bytes key, struct bytes value),
                      void *ctx, struct err *err)
{
    static const uint8_t first[1] = { 0 };
    struct kv_txn *t = NULL;
    struct kv_cursor c = { 0 };
    enum visit last = VISIT_ON;
    size_t damaged = 0;
    enum errc rc = kv_begin_read(s->kv, &t, err);

    if (rc != OK)
        return rc;
    rc = kv_cursor_open(t, table, &c, err);
    if (rc == OK)
        rc = kv_seek(&c, (struct bytes){ first, sizeof first }, err);
    for (; rc == OK && last != VISIT_STOP; rc = kv_next(&c, err)) {
        last = visit(ctx, c.key, c.value);
        damaged += last == VISIT_DAMAGED;
    }
    if (damaged)
        log_warn("entries left out: their checksum is wrong", "file=%s table=%s entries=%zu",
                 kv_path(s->kv), tables[table], damaged);
    kv_cursor_close(&c);
    kv_abort(t);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

struct metadata_visitor {
    bool (*fn)(void *ctx, const struct metric_metadata *m);
    void *ctx;
};

static enum visit visit_metadata(void *ctx, struct bytes key, struct bytes value)
{
    const struct metadata_visitor *v = ctx;
    struct metric_metadata m;

    if (!decode(key, value, &m))
        return VISIT_DAMAGED;
    return v->fn(v->ctx, &m) ? VISIT_ON : VISIT_STOP;
}

enum errc state_each_metadata(struct state *s,
                              bool (*fn)(void *ctx, const struct metric_metadata *m), void *ctx,
                              struct err *err)
{
    struct metadata_visitor v = { fn, ctx };

    return walk(s, METADATA, visit_metadata, &v, err);
}

/* ---- records of others ---- */

static enum errc delete_record(struct kv_txn *t, struct bytes key, struct err *err)
{
    struct kv_cursor c = { 0 };
    enum errc rc = kv_cursor_open(t, RECORDS, &c, err);

    if (rc == OK)
        rc = kv_seek(&c, key, err);
    if (rc == OK && c.key.len == key.len && memcmp(c.key.ptr, key.ptr, key.len) == 0)
        rc = kv_delete_at(&c, err);
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static enum errc put_record(struct kv_txn *t, const struct state_record *r, struct buf *value,
                            struct err *err)
{
    buf_clear(value);
    buf_add(value, r->value.ptr, r->value.len);
    seal_add(value, r->key);
    return value->failed ? err_set(err, ERR_NOMEM, 0, "out of memory")
                         : kv_put(t, RECORDS, r->key, buf_as_bytes(value), err);
}

enum errc state_write_records(struct state *s, const struct state_record *records, size_t n,
                              struct err *err)
{
    struct kv_txn *t = NULL;
    struct buf value = { 0 };
    enum errc rc = kv_begin_write(s->kv, &t, err);

    if (rc != OK)
        return rc;
    for (size_t i = 0; i < n && rc == OK; i++) {
        ASSERT(records[i].key.len > 0 && records[i].key.len <= STATE_MAX_KEY);
        rc = records[i].value.len ? put_record(t, &records[i], &value, err)
                                  : delete_record(t, records[i].key, err);
    }
    buf_free(&value);
    if (rc == OK)
        return kv_commit(t, err);
    kv_abort(t);
    return rc;
}

struct record_visitor {
    bool (*fn)(void *ctx, const struct state_record *r);
    void *ctx;
};

static enum visit visit_record(void *ctx, struct bytes key, struct bytes value)
{
    const struct record_visitor *v = ctx;
    struct state_record r = { key, value };

    if (!seal_check(&r.value, key))
        return VISIT_DAMAGED;
    return v->fn(v->ctx, &r) ? VISIT_ON : VISIT_STOP;
}

enum errc state_each_record(struct state *s, bool (*fn)(void *ctx, const struct state_record *r),
                            void *ctx, struct err *err)
{
    struct record_visitor v = { fn, ctx };

    return walk(s, RECORDS, visit_record, &v, err);
}

/* ---- checking and copying ---- */

static enum errc check_table(struct kv_txn *t, const char *path, unsigned table,
                             void (*fault)(void *ctx, const char *text), void *ctx, struct err *err)
{
    static const uint8_t lowest = 0;
    struct kv_cursor c = { 0 };
    char text[PATH_MAX + 64];
    enum errc rc = kv_cursor_open(t, table, &c, err);

    if (rc == OK)
        rc = kv_seek(&c, (struct bytes){ &lowest, 1 }, err);
    for (; rc == OK; rc = kv_next(&c, err)) {
        struct bytes value = c.value;

        if (seal_check(&value, c.key))
            continue;
        snprintf(text, sizeof text, "%s: the checksum of a value in table %s is wrong", path,
                 tables[table]);
        fault(ctx, text);
    }
    kv_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum errc state_check(const char *path, size_t map_bytes,
                      void (*fault)(void *ctx, const char *text), void *ctx, struct err *err)
{
    struct kv_options options = { .path = path,
                                  .map_bytes = map_bytes,
                                  .read_only = true,
                                  .tables = tables,
                                  .n_tables = N_TABLES };
    struct kv_txn *t = NULL;
    struct bytes value;
    struct kv *kv = NULL;
    enum errc rc = kv_open(&options, &kv, err);

    if (rc == OK)
        rc = kv_begin_read(kv, &t, err);
    if (rc == OK)
        rc = kv_get(t, META, format_key, &value, err);
    if (rc == ERR_NOT_FOUND)
        rc = err_set(err, ERR_CORRUPT, 0, "%s: it has no format version", path);
    if (rc == OK)
        rc = check_format(kv, value, err);
    for (unsigned table = 0; rc == OK && table < N_TABLES; table++)
        rc = check_table(t, path, table, fault, ctx, err);
    kv_abort(t);
    kv_close(kv);
    return rc;
}

enum errc state_copy_begin(struct state *s, struct kv_copy **out, struct err *err)
{
    return kv_copy_begin(s->kv, out, err);
}
