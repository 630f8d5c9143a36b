/* alert_store.c
 *
 *   key     'A', then big endian: u64 group, u64 rule, u64 labels
 *   value   u8      version 1
 *           u8      state: 0 inactive, 1 pending, 2 firing
 *           u64     value, the bits of a double
 *           varint  active at, fired at, resolved at, keep firing since: ms
 *           labels, annotations: each a uvarint that counts pairs, and for each pair two texts:
 *                   uvarint length, bytes
 *
 * The store adds a checksum. Annotations are kept for alerts that resolved, which no evaluation
 * expands again.
 */
#include "alert/alert_store.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/db.h"
#include "storage/state.h"

#include "base/banned.h"

enum { KIND = 'A', AT_GROUP = 1, AT_RULE = 9, AT_LABELS = 17, VERSION = 1 };
_Static_assert(AT_LABELS + sizeof(uint64_t) == ALERT_KEY_BYTES, "labels are the last field");

/* ---- writing ---- */

static void add_text(struct buf *b, struct str s)
{
    buf_uvarint(b, s.len);
    buf_str(b, s);
}

static void add_pairs(struct buf *b, struct labels ls)
{
    buf_uvarint(b, ls.n);
    for (size_t i = 0; i < ls.n; i++) {
        add_text(b, ls.items[i].name);
        add_text(b, ls.items[i].value);
    }
}

static void encode(struct buf *b, const struct alert *a)
{
    buf_u8(b, VERSION);
    buf_u8(b, (uint8_t)a->state);
    buf_u64(b, f64_bits(a->value));
    buf_varint(b, a->active_at_ms);
    buf_varint(b, a->fired_at_ms);
    buf_varint(b, a->resolved_at_ms);
    buf_varint(b, a->keep_firing_since_ms);
    add_pairs(b, a->labels);
    add_pairs(b, a->annotations);
}

void alert_changes_free(struct alert_changes *c)
{
    buf_free(&c->bytes);
    free(c->spans);
    *c = (struct alert_changes){ 0 };
}

/* A change without a value: a deletion, until one is added. */
static struct alert_span *add_change(struct alert_changes *c, const struct alert_key *key)
{
    uint8_t bytes[ALERT_KEY_BYTES] = { KIND };
    struct alert_span *s;

    if (!vec_reserve(&c->spans, &c->cap, c->n + 1, sizeof *c->spans)) {
        c->failed = true;
        return NULL;
    }
    store_u64be(bytes + AT_GROUP, key->group);
    store_u64be(bytes + AT_RULE, key->rule);
    store_u64be(bytes + AT_LABELS, key->labels);
    s = &c->spans[c->n++];
    *s = (struct alert_span){ .key_at = c->bytes.len };
    buf_add(&c->bytes, bytes, sizeof bytes);
    return s;
}

void alert_changes_put(struct alert_changes *c, const struct alert_key *key, const struct alert *a)
{
    struct alert_span *s = add_change(c, key);

    if (!s)
        return;
    s->value_at = c->bytes.len;
    encode(&c->bytes, a);
    s->n_value = c->bytes.len - s->value_at;
}

void alert_changes_delete(struct alert_changes *c, const struct alert_key *key)
{
    (void)add_change(c, key);
}

/* What went comes first: an alert with the same labels may have come since. */
void alert_changes_of(struct alert_changes *c, uint64_t group, uint64_t rule,
                      const struct alert_set *set, bool all)
{
    struct alert_key key = { group, rule, 0 };

    for (size_t i = 0; i < set->n_removed; i++) {
        key.labels = set->removed[i];
        alert_changes_delete(c, &key);
    }
    for (size_t i = 0; i < set->n; i++) {
        key.labels = set->items[i]->hash;
        if (all)
            alert_changes_delete(c, &key);
        else if (set->items[i]->changed)
            alert_changes_put(c, &key, set->items[i]);
    }
}

enum errc alert_changes_commit(const struct alert_changes *c, struct db *db, struct err *err)
{
    struct state_record *records;
    enum errc rc;

    if (c->n == 0 && !c->failed)
        return OK;
    records = c->failed || c->bytes.failed ? NULL : calloc(c->n, sizeof *records);
    if (!records)
        return err_set(err, ERR_NOMEM, 0, "no memory to store the states of alerts");
    for (size_t i = 0; i < c->n; i++) {
        const struct alert_span *s = &c->spans[i];

        records[i].key = (struct bytes){ c->bytes.ptr + s->key_at, ALERT_KEY_BYTES };
        records[i].value = (struct bytes){ c->bytes.ptr + s->value_at, s->n_value };
    }
    rc = db_write_records(db, records, c->n, err);
    free(records);
    return rc;
}

/* ---- reading ---- */

static struct str read_text(struct reader *r, struct arena *a)
{
    struct str s = read_str(r, read_uvarint(r));
    struct str copy = r->overrun ? (struct str){ 0 } : str_copy(a, s);

    r->overrun |= !copy.ptr;
    return copy;
}

/* No memory counts as overrun: the record is left out either way. */
static struct labels read_pairs(struct reader *r, struct arena *a)
{
    uint64_t n = read_uvarint(r);
    struct label *items;

    if (r->overrun || n > ALERT_MAX_PAIRS) {
        r->overrun = true;
        return (struct labels){ 0 };
    }
    items = ARENA_NEW(a, struct label, n);
    r->overrun |= !items;
    for (size_t i = 0; i < n && !r->overrun; i++) {
        items[i].name = read_text(r, a);
        items[i].value = read_text(r, a);
        if (i > 0 && str_cmp(items[i - 1].name, items[i].name) >= 0)
            r->overrun = true;
    }
    return (struct labels){ items, r->overrun ? 0 : n };
}

enum errc alert_record_decode(struct bytes key, struct bytes value, struct arena *a,
                              struct stored_alert *out, struct err *err)
{
    struct reader r = reader_on(value);
    struct alert *alert = &out->alert;
    uint8_t version, state;

    if (key.len != ALERT_KEY_BYTES || key.ptr[0] != KIND)
        return err_set(err, ERR_CORRUPT, 0, "a key of %zu bytes is not an alert's", key.len);
    *out = (struct stored_alert){ .key = { load_u64be(key.ptr + AT_GROUP),
                                           load_u64be(key.ptr + AT_RULE),
                                           load_u64be(key.ptr + AT_LABELS) } };
    version = read_u8(&r);
    if (version > VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0, "version %u is newer than this program", version);
    state = read_u8(&r);
    alert->value = f64_from_bits(read_u64(&r));
    alert->active_at_ms = read_varint(&r);
    alert->fired_at_ms = read_varint(&r);
    alert->resolved_at_ms = read_varint(&r);
    alert->keep_firing_since_ms = read_varint(&r);
    alert->labels = read_pairs(&r, a);
    alert->annotations = read_pairs(&r, a);
    if (r.overrun || reader_left(&r) > 0 || version == 0 || state > ALERT_FIRING)
        return err_set(err, ERR_CORRUPT, 0, "the record is malformed");
    alert->state = (enum alert_state)state;
    alert->hash = labels_hash(alert->labels);
    if (alert->hash != out->key.labels)
        return err_set(err, ERR_CORRUPT, 0, "the labels are not those of the key");
    return OK;
}

struct reading {
    struct arena *arena;
    struct stored_alert *items;
    size_t n, cap, n_bad;
    struct err bad;
    bool nomem;
};

static bool read_one(void *ctx, const struct state_record *record)
{
    struct reading *r = ctx;
    struct stored_alert *items;
    size_t cap = r->cap ? 2 * r->cap : 64;

    if (record->key.len == 0 || record->key.ptr[0] != KIND)
        return true;
    if (r->n == r->cap) {
        items = arena_grow(r->arena, r->items, r->cap * sizeof *items, cap * sizeof *items);
        r->nomem = !items;
        if (!items)
            return false;
        r->items = items;
        r->cap = cap;
    }
    if (alert_record_decode(record->key, record->value, r->arena, &r->items[r->n], &r->bad) == OK)
        r->n++;
    else
        r->n_bad++;
    return true;
}

enum errc alert_store_read(struct db *db, struct arena *a, struct stored_alert **out, size_t *n,
                           struct err *err)
{
    struct reading r = { .arena = a, .bad = err_in(a) };
    enum errc rc = db_each_record(db, read_one, &r, err);

    if (rc == OK && r.nomem)
        rc = err_set(err, ERR_NOMEM, 0, "no memory to read the states of alerts");
    if (r.n_bad)
        log_warn("states of alerts left out", "alerts=%zu err=\"%s\"", r.n_bad, err_text(&r.bad));
    *out = r.items;
    *n = r.n;
    return rc;
}
