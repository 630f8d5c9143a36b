/* day_deletions.c -- what has been deleted of a day's samples. It is decoded when the file is
 * opened; day_private.h draws the table. */
#include <stdlib.h>

#include "base/arena.h"
#include "storage/day_private.h"
#include "storage/seal.h"

#include "base/banned.h"

/* ---- in memory ---- */

void deletions_unref(struct deletions *d)
{
    if (!d || atomic_fetch_sub(&d->refs, 1) > 1)
        return;
    arena_free(d->arena);
    free(d);
}

static struct deletions *deletions_new(size_t n)
{
    struct deletions *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    atomic_init(&d->refs, 1);
    d->arena = arena_new(0);
    d->items = d->arena ? ARENA_NEW(d->arena, struct deletion, n) : NULL;
    if (!d->items) {
        deletions_unref(d);
        return NULL;
    }
    return d;
}

struct deletions *day_deletions(struct day *d)
{
    struct deletions *known;

    pthread_mutex_lock(&d->lock);
    known = d->deletions;
    if (known)
        atomic_fetch_add(&known->refs, 1);
    pthread_mutex_unlock(&d->lock);
    return known;
}

static void make_known(struct day *d, struct deletions *fresh)
{
    struct deletions *before;

    pthread_mutex_lock(&d->lock);
    before = d->deletions;
    d->deletions = fresh;
    d->summary.deletions = fresh ? fresh->n : 0;
    pthread_mutex_unlock(&d->lock);
    deletions_unref(before);
}

bool deletion_covers(const struct deletion *d, uint32_t id, uint64_t flush)
{
    size_t lo = 0, hi = d->n;

    if (flush > d->flush)
        return false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (d->ids[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < d->n && d->ids[lo] == id;
}

/* ---- reading ---- */

/* ERR_CORRUPT with err left alone, ERR_NOMEM. */
static enum errc decode(struct bytes value, struct arena *a, struct deletion *out)
{
    struct reader r = reader_on(value);
    uint32_t *ids = arena_alloc(a, value.len * sizeof *ids); /* a byte or more each */
    uint64_t id = 0;

    if (!ids)
        return ERR_NOMEM;
    out->min_t_ms = (int64_t)read_u64(&r);
    out->max_t_ms = (int64_t)read_u64(&r);
    out->flush = read_u64(&r);
    out->ids = ids;
    while (reader_left(&r) > 0) {
        uint64_t delta = read_uvarint(&r);

        if (delta == 0 || delta > UINT32_MAX || id + delta > UINT32_MAX)
            return ERR_CORRUPT;
        id += delta;
        ids[out->n++] = (uint32_t)id;
    }
    return r.overrun ? ERR_CORRUPT : OK;
}

static enum errc read_one(struct day *d, struct kv_txn *t, uint32_t number, struct deletions *to,
                          struct err *err)
{
    struct day_key key;
    struct bytes value;
    enum errc rc = day_get(d, t, DAY_DELETIONS, key_u32(&key, number), &value, err);

    if (rc == ERR_NOT_FOUND)
        return day_corrupt(d, "deletion", number, err);
    if (rc == OK)
        rc = decode(value, to->arena, &to->items[to->n++]);
    else
        return rc;
    if (rc == ERR_CORRUPT)
        return day_corrupt(d, "deletion", number, err);
    return rc == OK ? OK : err_set(err, rc, 0, "read %s: out of memory", day_path(d));
}

enum errc day_load_deletions(struct day *d, struct kv_txn *t, uint32_t n, struct err *err)
{
    struct deletions *fresh;
    enum errc rc = OK;

    if (n == 0)
        return OK;
    if (n > DAY_MAX_DELETIONS)
        return day_corrupt(d, "number of deletions", n, err);
    fresh = deletions_new(n);
    if (!fresh)
        return err_set(err, ERR_NOMEM, 0, "read %s: out of memory", day_path(d));
    for (uint32_t i = 1; rc == OK && i <= n; i++)
        rc = read_one(d, t, i, fresh, err);
    if (rc == OK)
        make_known(d, fresh);
    else
        deletions_unref(fresh);
    return rc;
}

/* ---- writing ---- */

static enum errc put(struct day *d, struct kv_txn *t, uint32_t number, const struct deletion *what,
                     struct err *err)
{
    struct buf value = { 0 };
    struct day_key key;
    struct bytes k = key_u32(&key, number);
    uint32_t last = 0;
    enum errc rc;

    buf_u64(&value, (uint64_t)what->min_t_ms);
    buf_u64(&value, (uint64_t)what->max_t_ms);
    buf_u64(&value, what->flush);
    for (size_t i = 0; i < what->n; i++) {
        ASSERT(what->ids[i] > last);
        buf_uvarint(&value, what->ids[i] - last);
        last = what->ids[i];
    }
    seal_add(&value, k);
    rc = value.failed ? err_set(err, ERR_NOMEM, 0, "write %s: out of memory", day_path(d))
                      : kv_put(t, DAY_DELETIONS, k, buf_as_bytes(&value), err);
    buf_free(&value);
    return rc;
}

enum errc day_delete(struct day *d, int64_t min_t_ms, int64_t max_t_ms, const uint32_t *ids,
                     size_t n, struct err *err)
{
    struct deletion what = { min_t_ms, max_t_ms, day_last_flush(d), ids, n };
    uint32_t number = (uint32_t)day_summary(d).deletions + 1;
    struct kv_txn *t = NULL;
    enum errc rc;

    if (number > DAY_MAX_DELETIONS)
        return err_set(err, ERR_LIMIT, 0,
                       "%s has %d deletions, which is the limit: clean_tombstones makes room",
                       day_path(d), DAY_MAX_DELETIONS);
    rc = kv_begin_write(d->kv, &t, err);
    if (rc != OK)
        return rc;
    rc = put(d, t, number, &what, err);
    if (rc == OK)
        rc = day_put_format(d, t, number, err);
    if (rc != OK) {
        kv_abort(t);
        return rc;
    }
    rc = kv_commit(t, err);
    if (rc == OK)
        rc = kv_begin_read(d->kv, &t, err);
    if (rc != OK)
        return rc;
    rc = day_load_deletions(d, t, number, err);
    kv_abort(t);
    return rc;
}
