/* push_groups.c
 *
 * A group lives in an arena of its own, which a push makes anew: what it keeps of the old one is
 * copied, so that a push that fails leaves the old one whole.
 *
 * Record of the store, integers little endian, varints LEB128, texts with their length before them:
 *
 *   key     'P', u64 BE id
 *   value   u8 version (1)   i64 push time   i64 failure time   bytes labels (labels_encode())
 *           uvarint families, each:  text name   u8 type   text help   uvarint samples, each:
 *             bytes labels   u64 bits of the value
 */
#include "collect/push_groups.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/number.h"
#include "base/table.h"
#include "base/vec.h"
#include "ingest/exposition.h"
#include "storage/db.h"
#include "storage/state.h"

#include "base/banned.h"

enum { KIND = 'P', KEY_BYTES = 9, VERSION = 1, BATCH_SERIES = 10000, MAX_NAME_LABELS = 64 };

#define PUSH_TIME    STR("push_time_seconds")
#define FAILURE_TIME STR("push_failure_time_seconds")

struct pushed {
    struct labels labels; /* canonical */
    double v;
};

struct family {
    struct str name, help;
    enum metric_type type;
    struct pushed *items; /* sorted by labels */
    size_t n;
};

struct group {
    uint64_t id;
    struct arena *arena; /* owns all */
    struct labels name;
    struct family *families; /* sorted by name */
    size_t n_families;
    int64_t push_ms, failure_ms; /* 0: never */
    int64_t stored_ms;           /* when it was stored last */
    size_t bytes;                /* of the record */
};

struct push_groups {
    struct push_groups_options o;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct group **groups; /* sorted by name */
    size_t n, cap, bytes;
    uint64_t next_id;
    int64_t due_ns; /* on the monotonic clock */
    struct push_groups_stats stats;
    bool stopping, running;
    pthread_t thread;
};

struct push_groups_options push_groups_options_default(struct db *db)
{
    return (struct push_groups_options){
        .db = db,
        .clock = &clock_system,
        .interval_ms = 60000,
        .ttl_ms = 90LL * DAY_MS,
        .max_groups = 100000,
        .max_group_bytes = 4 << 20,
        .max_bytes = 64 << 20,
    };
}

static void group_free(struct group *g)
{
    if (!g)
        return;
    arena_free(g->arena);
    free(g);
}

static struct group *group_new(struct labels name)
{
    struct group *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->arena = arena_new(0);
    if (g->arena)
        g->name = labels_copy(g->arena, name);
    if (!g->arena || (!g->name.items && name.n)) {
        group_free(g);
        return NULL;
    }
    return g;
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
    const struct label *x = a, *y = b;

    return str_cmp(x->name, y->name);
}

enum errc push_group_name(struct label *labels, size_t n, struct labels *name, struct err *err)
{
    size_t kept = 0;
    bool job = false;

    if (n > MAX_NAME_LABELS)
        return err_set(err, ERR_BAD_DATA, 0, "more than %d labels name the group", MAX_NAME_LABELS);
    qsort(labels, n, sizeof *labels, by_name);
    for (size_t i = 0; i < n; i++) {
        struct str s = labels[i].name;

        if (!name_is_legacy(s, false) || str_starts_with(s, STR("__")))
            return err_set(err, ERR_BAD_DATA, 0, "improper label name \"%.*s\"", STR_ARG(s));
        if (i && str_equal(s, labels[i - 1].name))
            return err_set(err, ERR_BAD_DATA, 0, "label \"%.*s\" is given twice", STR_ARG(s));
        if (!utf8_valid(labels[i].value)
            || labels[i].value.len > label_limits_default.max_value_bytes
            || s.len > label_limits_default.max_name_bytes)
            return err_set(err, ERR_BAD_DATA, 0, "label \"%.*s\": not UTF-8, or too long",
                           (int)(s.len < 100 ? s.len : 100), s.ptr);
    }
    for (size_t i = 0; i < n; i++) {
        job |= str_is(labels[i].name, "job") && labels[i].value.len;
        if (labels[i].value.len)
            labels[kept++] = labels[i];
    }
    if (!job)
        return err_set(err, ERR_BAD_DATA, 0, "job name is required");
    *name = (struct labels){ labels, kept };
    return OK;
}

/* Where a group stands, or would stand. */
static size_t find(const struct push_groups *p, struct labels name, bool *found)
{
    size_t low = 0, high = p->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (labels_cmp(p->groups[mid]->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *found = low < p->n && labels_equal(p->groups[low]->name, name);
    return low;
}

static struct group *get(const struct push_groups *p, struct labels name)
{
    bool found;
    size_t at = find(p, name, &found);

    return found ? p->groups[at] : NULL;
}

/* Puts fresh (NULL: nothing) in the place of the group called so. There is room for it. */
static void replace_group(struct push_groups *p, struct labels name, struct group *fresh)
{
    bool found;
    size_t at = find(p, name, &found);
    struct group *old = found ? p->groups[at] : NULL;

    p->bytes += (fresh ? fresh->bytes : 0) - (old ? old->bytes : 0);
    if (!found && fresh) {
        memmove(&p->groups[at + 1], &p->groups[at], (p->n - at) * sizeof *p->groups);
        p->n++;
    } else if (found && !fresh) {
        memmove(&p->groups[at], &p->groups[at + 1], (p->n - at - 1) * sizeof *p->groups);
        p->n--;
    }
    if (fresh)
        p->groups[at] = fresh;
    group_free(old);
}

/* ---- the record ---- */

static void put_text(struct buf *b, struct str s)
{
    buf_uvarint(b, s.len);
    buf_str(b, s);
}

static void put_labels(struct buf *b, struct labels ls, struct buf *scratch)
{
    buf_clear(scratch);
    labels_encode(scratch, ls);
    put_text(b, buf_as_str(scratch));
    b->failed |= scratch->failed;
}

static void encode(const struct group *g, struct buf *b)
{
    struct buf scratch = { 0 };

    buf_u8(b, VERSION);
    buf_u64(b, (uint64_t)g->push_ms);
    buf_u64(b, (uint64_t)g->failure_ms);
    put_labels(b, g->name, &scratch);
    buf_uvarint(b, g->n_families);
    for (size_t i = 0; i < g->n_families; i++) {
        const struct family *f = &g->families[i];

        put_text(b, f->name);
        buf_u8(b, (uint8_t)f->type);
        put_text(b, f->help);
        buf_uvarint(b, f->n);
        for (size_t k = 0; k < f->n; k++) {
            put_labels(b, f->items[k].labels, &scratch);
            buf_u64(b, f64_bits(f->items[k].v));
        }
    }
    buf_free(&scratch);
}

static struct str take_text(struct reader *r, struct arena *a)
{
    return str_copy(a, read_str(r, read_uvarint(r)));
}

static bool take_labels(struct reader *r, struct arena *a, struct labels *out)
{
    struct str encoded = take_text(r, a);

    return encoded.ptr
           && labels_decode((struct bytes){ (const uint8_t *)encoded.ptr, encoded.len }, a, out,
                            NULL)
                  == OK;
}

static bool decode_family(struct reader *r, struct arena *a, struct family *f)
{
    uint8_t type;
    uint64_t n;

    f->name = take_text(r, a);
    type = read_u8(r);
    f->type = type < METRIC_TYPE_COUNT ? (enum metric_type)type : METRIC_UNKNOWN;
    f->help = take_text(r, a);
    n = read_uvarint(r);
    if (r->overrun || n > reader_left(r) || !f->name.ptr || !f->help.ptr)
        return false;
    f->items = ARENA_NEW(a, struct pushed, n);
    if (!f->items)
        return false;
    for (f->n = 0; f->n < n; f->n++) {
        if (!take_labels(r, a, &f->items[f->n].labels))
            return false;
        f->items[f->n].v = f64_from_bits(read_u64(r));
    }
    return !r->overrun;
}

static struct group *decode(struct bytes key, struct bytes value)
{
    struct reader r = reader_on(value);
    struct group *g = group_new((struct labels){ 0 });
    uint64_t n;

    if (!g)
        return NULL;
    g->id = load_u64be(key.ptr + 1);
    g->bytes = value.len;
    if (read_u8(&r) != VERSION)
        goto done;
    g->push_ms = (int64_t)read_u64(&r);
    g->failure_ms = (int64_t)read_u64(&r);
    if (!take_labels(&r, g->arena, &g->name))
        goto done;
    n = read_uvarint(&r);
    if (r.overrun || n > reader_left(&r) || !(g->families = ARENA_NEW(g->arena, struct family, n)))
        goto done;
    for (; g->n_families < n; g->n_families++)
        if (!decode_family(&r, g->arena, &g->families[g->n_families]))
            goto done;
    if (!r.overrun && reader_left(&r) == 0)
        return g;
done:
    group_free(g);
    return NULL;
}

/* Writes the group's record, or with fresh NULL deletes that of id. */
static enum errc write_record(struct push_groups *p, uint64_t id, const struct buf *value,
                              struct err *err)
{
    uint8_t key[KEY_BYTES] = { KIND };
    struct state_record record = { .key = { key, sizeof key } };

    store_u64be(key + 1, id);
    if (value)
        record.value = buf_as_bytes(value);
    return db_write_records(p->o.db, &record, 1, err);
}

struct loading {
    struct push_groups *p;
    enum errc rc;
};

static bool load_one(void *ctx, const struct state_record *record)
{
    struct loading *l = ctx;
    struct group *g;

    if (record->key.len != KEY_BYTES || record->key.ptr[0] != KIND)
        return true;
    g = decode(record->key, record->value);
    if (!g) {
        log_warn("a pushed group cannot be read and is left out", "id=%" PRIu64,
                 load_u64be(record->key.ptr + 1));
        return true;
    }
    if (!vec_reserve(&l->p->groups, &l->p->cap, l->p->n + 1, sizeof *l->p->groups)) {
        group_free(g);
        l->rc = ERR_NOMEM;
        return false;
    }
    if (g->id >= l->p->next_id)
        l->p->next_id = g->id + 1;
    replace_group(l->p, g->name, g);
    return true;
}

/* ---- storing ---- */

/* Series on their way to the store. */
struct outgoing {
    struct push_groups *p;
    struct write_series *series;
    struct sample *samples;
    struct label *labels;
    size_t n, cap_series, cap_samples, n_labels, cap_labels;
    const struct metric_metadata *metadata;
    size_t n_metadata;
    uint64_t refused;
    struct buf text;
    enum errc rc;
    struct err *err;
};

static void outgoing_free(struct outgoing *o)
{
    free(o->series);
    free(o->samples);
    free(o->labels);
    buf_free(&o->text);
}

static void send(struct outgoing *o)
{
    struct write_result res = { 0 };
    struct write_batch b = { .series = o->series,
                             .n_series = o->n,
                             .samples = o->samples,
                             .n_samples = o->n,
                             .metadata = o->metadata,
                             .n_metadata = o->n_metadata };
    size_t at = 0;

    for (size_t i = 0; i < o->n; i++) {
        o->series[i].labels = o->labels + at;
        at += o->series[i].n_labels;
    }
    if (o->rc == OK && o->n)
        o->rc = db_append(o->p->o.db, &b, &res, o->err);
    for (size_t i = 0; i < DB_REJECT_COUNT; i++)
        o->refused += res.rejected[i];
    buf_str(&o->text, buf_as_str(&res.text));
    buf_free(&res.text);
    o->n = o->n_labels = 0;
}

static void put_sample(struct outgoing *o, struct labels ls, int64_t t_ms, double v)
{
    if (o->rc != OK)
        return;
    if (!vec_reserve(&o->series, &o->cap_series, o->n + 1, sizeof *o->series)
        || !vec_reserve(&o->samples, &o->cap_samples, o->n + 1, sizeof *o->samples)
        || !vec_reserve(&o->labels, &o->cap_labels, o->n_labels + ls.n, sizeof *o->labels)) {
        o->rc = err_set(o->err, ERR_NOMEM, 0, "no memory for pushed metrics");
        return;
    }
    memcpy(o->labels + o->n_labels, ls.items, ls.n * sizeof *ls.items);
    o->n_labels += ls.n;
    o->series[o->n] =
        (struct write_series){ .n_labels = ls.n, .first_sample = o->n, .n_samples = 1 };
    o->samples[o->n++] = (struct sample){ t_ms, v };
}

/* A series that tells about the group itself. */
static void put_own(struct outgoing *o, const struct group *g, struct str metric, int64_t t_ms,
                    double v)
{
    struct label labels[1 + MAX_NAME_LABELS];
    size_t n = 0;

    labels[n++] = (struct label){ METRIC_NAME, metric };
    for (size_t i = 0; i < g->name.n; i++)
        labels[n++] = g->name.items[i];
    qsort(labels, n, sizeof *labels, by_name);
    put_sample(o, (struct labels){ labels, n }, t_ms, v);
}

static void put_own_times(struct outgoing *o, const struct group *g, int64_t t_ms, bool stale)
{
    put_own(o, g, PUSH_TIME, t_ms, stale ? stale_nan() : (double)g->push_ms / 1000);
    put_own(o, g, FAILURE_TIME, t_ms, stale ? stale_nan() : (double)g->failure_ms / 1000);
}

static void put_group(struct outgoing *o, const struct group *g, int64_t t_ms, bool stale)
{
    for (size_t i = 0; i < g->n_families; i++)
        for (size_t k = 0; k < g->families[i].n; k++)
            put_sample(o, g->families[i].items[k].labels, t_ms,
                       stale ? stale_nan() : g->families[i].items[k].v);
    put_own_times(o, g, t_ms, stale);
}

static int by_family(const void *a, const void *b)
{
    const struct family *x = a, *y = b;

    return str_cmp(x->name, y->name);
}

/* Among the first n families, which are sorted; NULL: it is not there. */
static struct family *family_among(const struct group *g, size_t n, struct str name)
{
    struct family key = { .name = name };

    return n ? bsearch(&key, g->families, n, sizeof key, by_family) : NULL;
}

static int by_labels(const void *a, const void *b)
{
    const struct pushed *x = a, *y = b;

    return labels_cmp(x->labels, y->labels);
}

/* Markers for the series of old that fresh has not. */
static void put_markers(struct outgoing *o, const struct group *old, const struct group *fresh,
                        int64_t t_ms)
{
    for (size_t i = 0; i < old->n_families; i++) {
        const struct family *was = &old->families[i];
        const struct family *now = family_among(fresh, fresh->n_families, was->name);

        for (size_t k = 0; k < was->n; k++)
            if (!now
                || (now->n
                    && !bsearch(&was->items[k], now->items, now->n, sizeof *now->items, by_labels)))
                put_sample(o, was->items[k].labels, t_ms, stale_nan());
    }
}

/* After all that was stored of the group, so that no time is used twice. */
static int64_t time_for(const struct push_groups *p, const struct group *old)
{
    int64_t now = clock_wall_ms(p->o.clock);

    return old && now <= old->stored_ms ? old->stored_ms + 1 : now;
}

/* ---- making a group ---- */

/* A pushed series with the group's labels in place of its own. */
static enum errc grouped_labels(struct group *g, const struct write_series *s, struct labels *out,
                                struct err *err)
{
    struct label *items = ARENA_NEW(g->arena, struct label, s->n_labels + g->name.n);
    size_t n = 0;

    if (!items)
        return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    for (size_t i = 0; i < s->n_labels; i++)
        if (labels_get(g->name, s->labels[i].name).len == 0)
            items[n++] = s->labels[i];
    for (size_t i = 0; i < g->name.n; i++)
        items[n++] = g->name.items[i];
    if (labels_canonicalise(items, &n, &label_limits_default, err) != OK)
        return ERR_BAD_DATA;
    *out = labels_copy(g->arena, (struct labels){ items, n });
    return out->items ? OK : err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
}

static bool is_called(const void *ctx, uint32_t id, const void *key)
{
    const struct group *g = ctx;
    const struct str *name = key;

    return str_equal(g->families[id].name, *name);
}

static uint64_t hash_name(const void *ctx, uint32_t id)
{
    const struct group *g = ctx;

    return hash64(g->families[id].name.ptr, g->families[id].name.len);
}

/* The family of fresh called name, added when it is not there; there is room. Families are not
 * sorted yet: ids has them by name. */
static struct family *family_in(struct group *g, struct table *ids, struct str name, uint32_t *last)
{
    uint64_t hash;

    if (*last < g->n_families && str_equal(g->families[*last].name, name))
        return &g->families[*last]; /* lines of a family stand together */
    hash = hash64(name.ptr, name.len);
    *last = table_find(ids, hash, is_called, g, &name);
    if (*last == TABLE_NONE) {
        *last = (uint32_t)g->n_families;
        g->families[*last] = (struct family){ .name = str_copy(g->arena, name), .help = STR("") };
        if (!g->families[*last].name.ptr || !table_add(ids, hash, *last, hash_name, g))
            return NULL;
        g->n_families++;
    }
    return &g->families[*last];
}

static void take_metadata(struct group *g, const struct exposition *x)
{
    for (size_t i = 0; i < x->batch.n_metadata; i++) {
        const struct metric_metadata *m = &x->batch.metadata[i];
        struct family *f = family_among(g, g->n_families, m->family);

        if (f) {
            f->type = m->type;
            f->help = str_copy(g->arena, m->help);
        }
    }
}

static enum errc add_item(struct group *g, struct family *f, const struct write_series *s, double v,
                          struct err *err)
{
    size_t cap = f->n && (f->n & (f->n - 1)) == 0 ? 2 * f->n : f->n ? 0 : 1;

    if (cap) { /* full: the capacity is the next power of two */
        f->items = arena_grow(g->arena, f->items, f->n * sizeof *f->items, cap * sizeof *f->items);
        if (!f->items)
            return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    }
    f->items[f->n].v = v;
    return grouped_labels(g, s, &f->items[f->n++].labels, err);
}

/* The families that x names, sorted, and their series. */
static enum errc take_series(struct group *g, const struct exposition *x, struct err *err)
{
    struct table ids = { 0 };
    uint32_t last = 0;
    enum errc rc = OK;

    for (size_t i = 0; i < x->batch.n_series && rc == OK; i++) {
        struct family *f = family_in(g, &ids, exposition_family(x, i), &last);

        rc = f ? add_item(g, f, &x->batch.series[i], x->batch.samples[i].v, err)
               : err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    }
    table_free(&ids);
    qsort(g->families, g->n_families, sizeof *g->families, by_family);
    return rc;
}

static enum errc check_series(struct group *g, struct err *err)
{
    for (size_t i = 0; i < g->n_families; i++) {
        struct family *f = &g->families[i];

        if (str_equal(f->name, PUSH_TIME) || str_equal(f->name, FAILURE_TIME))
            return err_set(err, ERR_BAD_DATA, 0, "%.*s tells about the group and cannot be pushed",
                           STR_ARG(f->name));
        qsort(f->items, f->n, sizeof *f->items, by_labels);
        for (size_t k = 1; k < f->n; k++)
            if (labels_equal(f->items[k].labels, f->items[k - 1].labels)) {
                struct buf b = { 0 };
                enum errc rc;

                labels_print_metric(&b, f->items[k].labels);
                rc = err_set(err, ERR_BAD_DATA, 0, "a series was pushed twice: %.*s",
                             STR_ARG(buf_as_str(&b)));
                buf_free(&b);
                return rc;
            }
    }
    return OK;
}

/* Copies the families of old that were not pushed. */
static enum errc keep_others(struct group *g, const struct group *old, struct err *err)
{
    size_t n_pushed = g->n_families;

    for (size_t i = 0; i < old->n_families; i++) {
        const struct family *from = &old->families[i];
        struct family *to;

        if (family_among(g, n_pushed, from->name))
            continue;
        to = &g->families[g->n_families++];
        *to = (struct family){ .name = str_copy(g->arena, from->name),
                               .help = str_copy(g->arena, from->help),
                               .type = from->type,
                               .items = ARENA_NEW(g->arena, struct pushed, from->n),
                               .n = from->n };
        for (size_t k = 0; to->items && k < from->n; k++) {
            to->items[k].v = from->items[k].v;
            to->items[k].labels = labels_copy(g->arena, from->items[k].labels);
            if (!to->items[k].labels.items)
                to->items = NULL;
        }
        if (!to->items || !to->name.ptr || !to->help.ptr)
            return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    }
    qsort(g->families, g->n_families, sizeof *g->families, by_family);
    return OK;
}

/* A family has a series at least, except those that TYPE lines alone name, which do not count. */
static enum errc make_group(struct group *g, const struct group *old, const struct exposition *x,
                            bool replace, struct err *err)
{
    enum errc rc;

    g->families = ARENA_NEW(g->arena, struct family,
                            (x ? x->batch.n_series : 0) + (old ? old->n_families : 0));
    if (!g->families)
        return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    rc = x ? take_series(g, x, err) : OK;
    if (rc == OK && x)
        take_metadata(g, x);
    if (rc == OK)
        rc = check_series(g, err);
    if (rc == OK && old && !replace)
        rc = keep_others(g, old, err);
    return rc;
}

/* ---- changing groups ---- */

static enum errc check_room(struct push_groups *p, const struct group *old, size_t bytes,
                            struct err *err)
{
    if (bytes > p->o.max_group_bytes)
        return err_set(err, ERR_TOO_LARGE, 0, "the group takes %zu bytes, at most %zu are allowed",
                       bytes, p->o.max_group_bytes);
    if (p->bytes - (old ? old->bytes : 0) + bytes > p->o.max_bytes)
        return err_set(err, ERR_LIMIT, 0, "all pushed groups take more than %zu bytes",
                       p->o.max_bytes);
    if (!old && p->n >= p->o.max_groups)
        return err_set(err, ERR_LIMIT, 0, "there are %zu pushed groups, no more are allowed", p->n);
    if (!vec_reserve(&p->groups, &p->cap, p->n + 1, sizeof *p->groups))
        return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    return OK;
}

/* Stores what fresh (NULL: the group is deleted) has and what only old had, then the record. */
static enum errc commit(struct push_groups *p, struct group *old, struct group *fresh,
                        const struct exposition *x, const struct buf *record, struct err *err)
{
    struct outgoing o = { .p = p,
                          .metadata = x ? x->batch.metadata : NULL,
                          .n_metadata = x ? x->batch.n_metadata : 0,
                          .err = err };
    int64_t t_ms = time_for(p, old);
    enum errc rc;

    if (fresh) {
        fresh->stored_ms = t_ms;
        put_group(&o, fresh, t_ms, false);
        if (old)
            put_markers(&o, old, fresh, t_ms);
    } else {
        put_group(&o, old, t_ms, true);
    }
    send(&o);
    rc = o.rc;
    if (rc == OK && o.refused)
        log_warn("the store refused pushed metrics", "samples=%" PRIu64 " first=\"%.*s\"",
                 o.refused, STR_ARG(buf_as_str(&o.text)));
    outgoing_free(&o);
    return rc == OK ? write_record(p, fresh ? fresh->id : old->id, record, err) : rc;
}

/* What push_groups_push() and push_groups_failed() share; x is NULL for the latter. */
static enum errc change(struct push_groups *p, struct labels name, const struct exposition *x,
                        bool replace, struct err *err)
{
    struct group *old = get(p, name), *fresh = group_new(name);
    int64_t now = clock_wall_ms(p->o.clock);
    struct buf record = { 0 };
    enum errc rc;

    if (!fresh)
        return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    fresh->id = old ? old->id : p->next_id;
    fresh->push_ms = x ? now : old ? old->push_ms : 0;
    fresh->failure_ms = !x ? now : old ? old->failure_ms : 0;
    rc = make_group(fresh, old, x, replace, err);
    if (rc == OK) {
        encode(fresh, &record);
        fresh->bytes = record.len;
        rc = record.failed ? err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics")
                           : check_room(p, old, record.len, err);
    }
    if (rc == OK)
        rc = commit(p, old, fresh, x, &record, err);
    if (rc == OK) {
        p->next_id += !old;
        replace_group(p, fresh->name, fresh);
        fresh = NULL;
    }
    group_free(fresh);
    buf_free(&record);
    return rc;
}

enum errc push_groups_push(struct push_groups *p, struct labels name, const struct exposition *x,
                           bool replace, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&p->lock);
    rc = change(p, name, x, replace, err);
    p->stats.pushes += rc == OK;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

enum errc push_groups_failed(struct push_groups *p, struct labels name, struct err *err)
{
    enum errc rc;

    pthread_mutex_lock(&p->lock);
    p->stats.failures++;
    rc = change(p, name, NULL, false, err);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static enum errc end_group(struct push_groups *p, struct group *g, struct err *err)
{
    enum errc rc = commit(p, g, NULL, NULL, NULL, err);

    if (rc == OK)
        replace_group(p, g->name, NULL);
    return rc;
}

enum errc push_groups_delete(struct push_groups *p, struct labels name, struct err *err)
{
    struct group *g;
    enum errc rc;

    pthread_mutex_lock(&p->lock);
    g = get(p, name);
    rc = g ? end_group(p, g, err) : OK;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* ---- in time ---- */

static void expire(struct push_groups *p, int64_t now)
{
    for (size_t i = 0; p->o.ttl_ms && i < p->n;) {
        struct group *g = p->groups[i];
        int64_t last = g->push_ms > g->failure_ms ? g->push_ms : g->failure_ms;

        if (now - last < p->o.ttl_ms) {
            i++;
            continue;
        }
        if (end_group(p, g, NULL) != OK)
            return; /* the next time, then */
        p->stats.expired++;
    }
}

static void store_all(struct push_groups *p)
{
    struct outgoing o = { .p = p };

    for (size_t i = 0; i < p->n && o.rc == OK; i++) {
        struct group *g = p->groups[i];

        g->stored_ms = time_for(p, g);
        put_group(&o, g, g->stored_ms, false);
        if (o.n >= BATCH_SERIES)
            send(&o);
    }
    send(&o);
    if (o.rc != OK) {
        p->stats.store_failures++;
        log_warn("pushed metrics could not be stored again", "err=\"%s\"", errc_text(o.rc));
    }
    outgoing_free(&o);
}

int64_t push_groups_tick(struct push_groups *p)
{
    int64_t now_ns = clock_mono_ns(p->o.clock), left_ms;

    pthread_mutex_lock(&p->lock);
    if (now_ns >= p->due_ns) {
        expire(p, clock_wall_ms(p->o.clock));
        store_all(p);
        p->due_ns = now_ns + p->o.interval_ms * 1000000;
    }
    left_ms = (p->due_ns - now_ns + 999999) / 1000000;
    pthread_mutex_unlock(&p->lock);
    return left_ms;
}

static void *run(void *arg)
{
    struct push_groups *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        struct timespec until;
        int64_t left_ms, at_ns;

        pthread_mutex_unlock(&p->lock);
        left_ms = push_groups_tick(p);
        pthread_mutex_lock(&p->lock);
        at_ns = clock_mono_ns(&clock_system) + left_ms * 1000000;
        until = (struct timespec){ at_ns / 1000000000, at_ns % 1000000000 };
        if (!p->stopping)
            pthread_cond_timedwait(&p->wake, &p->lock, &until);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- life ---- */

enum errc push_groups_new(const struct push_groups_options *options, struct push_groups **out,
                          struct err *err)
{
    struct push_groups *p = calloc(1, sizeof *p);
    struct loading l = { p, OK };
    pthread_condattr_t monotonic;
    enum errc rc;

    if (!p)
        return err_set(err, ERR_NOMEM, 0, "no memory for pushed metrics");
    p->o = *options;
    p->next_id = 1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = db_each_record(p->o.db, load_one, &l, err);
    if (rc == OK && l.rc != OK)
        rc = err_set(err, l.rc, 0, "no memory for pushed metrics");
    if (rc != OK) {
        push_groups_free(p);
        return rc;
    }
    p->due_ns = clock_mono_ns(p->o.clock);
    *out = p;
    return OK;
}

enum errc push_groups_start(struct push_groups *p, struct err *err)
{
    if (pthread_create(&p->thread, NULL, run, p) != 0)
        return err_set(err, ERR_LIMIT, 0, "no thread for pushed metrics");
    p->running = true;
    return OK;
}

void push_groups_stop(struct push_groups *p)
{
    if (!p || !p->running)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    p->running = false;
}

void push_groups_free(struct push_groups *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        group_free(p->groups[i]);
    free(p->groups);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void push_groups_stats(struct push_groups *p, struct push_groups_stats *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->stats;
    out->groups = p->n;
    out->bytes = p->bytes;
    pthread_mutex_unlock(&p->lock);
}

/* ---- listing ---- */

static void json_labels(struct buf *b, struct labels ls)
{
    size_t n = 0;

    buf_u8(b, '{');
    for (size_t i = 0; i < ls.n; i++) {
        if (str_is(ls.items[i].name, "__name__"))
            continue;
        if (n++)
            buf_u8(b, ',');
        json_string(b, ls.items[i].name);
        buf_u8(b, ':');
        json_string(b, ls.items[i].value);
    }
    buf_u8(b, '}');
}

static void json_family(struct buf *b, const struct family *f)
{
    buf_u8(b, ',');
    json_string(b, f->name);
    buf_printf(b, ":{\"type\":\"%s\",\"help\":",
               f->type == METRIC_UNKNOWN ? "untyped" : metric_type_name(f->type));
    json_string(b, f->help);
    buf_text(b, ",\"metrics\":[");
    for (size_t i = 0; i < f->n; i++) {
        struct str name = labels_get(f->items[i].labels, METRIC_NAME);

        buf_text(b, i ? ",{\"labels\":" : "{\"labels\":");
        json_labels(b, f->items[i].labels);
        if (!str_equal(name, f->name)) { /* a part of a histogram or summary */
            buf_text(b, ",\"name\":");
            json_string(b, name);
        }
        buf_text(b, ",\"value\":\"");
        number_print(b, f->items[i].v, NUMBER_G);
        buf_text(b, "\"}");
    }
    buf_text(b, "]}");
}

void push_groups_json(struct push_groups *p, struct buf *b)
{
    pthread_mutex_lock(&p->lock);
    buf_u8(b, '[');
    for (size_t i = 0; i < p->n; i++) {
        const struct group *g = p->groups[i];

        buf_text(b, i ? ",{\"labels\":" : "{\"labels\":");
        json_labels(b, g->name);
        buf_printf(b, ",\"last_push_successful\":%s,\"push_time_seconds\":\"",
                   g->push_ms >= g->failure_ms ? "true" : "false");
        number_print(b, (double)g->push_ms / 1000, NUMBER_G);
        buf_text(b, "\",\"push_failure_time_seconds\":\"");
        number_print(b, (double)g->failure_ms / 1000, NUMBER_G);
        buf_u8(b, '"');
        for (size_t k = 0; k < g->n_families; k++)
            json_family(b, &g->families[k]);
        buf_u8(b, '}');
    }
    buf_u8(b, ']');
    pthread_mutex_unlock(&p->lock);
}
