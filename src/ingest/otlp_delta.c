#include "ingest/otlp_delta.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/vec.h"
#include "ingest/otlp.h"
#include "ingest/otlp_merge.h"
#include "storage/histogram.h"
#include "storage/matcher.h"

#include "base/banned.h"

enum { LOOK_BACK_MS = DAY_MS };

/* What is known of a series. */
struct total {
    uint64_t hash;
    uint8_t *labels; /* encoded, on the heap */
    size_t n_labels;
    double v;
    struct histogram *h; /* of a native histogram, on the heap */
    int64_t start_ms;    /* 0: unknown */
    int64_t end_ms;      /* of the last delta */
    uint64_t used;       /* number of the request that used it last */
    bool known;          /* false: to be read from the store again */
};

struct otlp_delta {
    pthread_mutex_t lock; /* guards all */
    size_t max;
    struct table table; /* of ids in totals, by hash of the labels */
    struct total *totals;
    size_t n, cap;
    uint64_t request;
};

struct otlp_delta *otlp_delta_new(size_t max_series)
{
    struct otlp_delta *d = calloc(1, sizeof *d);

    if (d) {
        pthread_mutex_init(&d->lock, NULL);
        d->max = max_series;
    }
    return d;
}

static void total_free(struct total *t)
{
    free(t->labels);
    otlp_merged_free(t->h);
}

void otlp_delta_free(struct otlp_delta *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        total_free(&d->totals[i]);
    free(d->totals);
    table_free(&d->table);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

size_t otlp_delta_series(struct otlp_delta *d)
{
    size_t n;

    pthread_mutex_lock(&d->lock);
    n = d->n;
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* ---- finding ---- */

static bool same_labels(const void *ctx, uint32_t id, const void *key)
{
    const struct otlp_delta *d = ctx;
    const struct buf *labels = key;
    const struct total *t = &d->totals[id];

    return t->n_labels == labels->len && memcmp(t->labels, labels->ptr, labels->len) == 0;
}

static uint64_t hash_of(const void *ctx, uint32_t id)
{
    return ((const struct otlp_delta *)ctx)->totals[id].hash;
}

/* Makes room by forgetting the half that was not used for longest: they can be read again. */
static bool make_room(struct otlp_delta *d)
{
    uint64_t oldest = UINT64_MAX, middle;
    size_t kept = 0;

    for (size_t i = 0; i < d->n; i++)
        oldest = d->totals[i].used < oldest ? d->totals[i].used : oldest;
    middle = oldest + (d->request - oldest) / 2;
    if (middle == d->request)
        return false; /* all of them belong to this request */
    table_free(&d->table);
    for (size_t i = 0; i < d->n; i++)
        if (d->totals[i].used > middle)
            d->totals[kept++] = d->totals[i];
        else
            total_free(&d->totals[i]);
    d->n = kept;
    for (size_t i = 0; i < kept; i++)
        if (!table_add(&d->table, d->totals[i].hash, (uint32_t)i, hash_of, d)) {
            d->n = i;
            for (; i < kept; i++)
                total_free(&d->totals[i]);
            return false;
        }
    return true;
}

/* The total of a series, made when it is not there; NULL when out of memory. */
static struct total *find(struct otlp_delta *d, const struct buf *labels)
{
    uint64_t hash = hash64(labels->ptr, labels->len);
    uint32_t id = table_find(&d->table, hash, same_labels, d, labels);
    struct total *t;

    if (id != TABLE_NONE)
        return &d->totals[id];
    if ((d->n >= d->max && !make_room(d))
        || !vec_reserve(&d->totals, &d->cap, d->n + 1, sizeof *d->totals))
        return NULL;
    t = &d->totals[d->n];
    *t = (struct total){ .hash = hash, .labels = malloc(labels->len), .n_labels = labels->len };
    if (!t->labels)
        return NULL;
    memcpy(t->labels, labels->ptr, labels->len);
    d->n++;
    if (!table_add(&d->table, hash, (uint32_t)(d->n - 1), hash_of, d)) {
        d->n--;
        free(t->labels);
        return NULL;
    }
    return t;
}

/* ---- one request ---- */

struct conversion {
    struct otlp_delta *d;
    struct otlp *o;
    struct db *db;
    struct db_view *view; /* opened when first needed */
    struct arena *arena;
    struct column column;
    struct buf labels; /* encoded, of the series at hand */
    int64_t min_t_ms, max_t_ms;
    struct err *err;
};

/* The last sample of a series that is a value. */
static void take_last(struct total *t, const struct column *c)
{
    for (size_t i = c->n; i-- > 0;)
        if (!is_stale(c->v[i])) {
            t->v = c->v[i];
            t->end_ms = c->t_ms[i];
            t->start_ms = c->start_ms ? c->start_ms[i] : 0;
            otlp_merged_free(t->h);
            t->h = c->h && c->h[i] ? otlp_merged_new(c->h[i]) : NULL;
            return;
        }
}

static enum errc open_view(struct conversion *c)
{
    if (c->view)
        return OK;
    return db_view_open(c->db, c->min_t_ms - LOOK_BACK_MS, c->max_t_ms, &c->view, c->err);
}

static enum errc read_matching(struct conversion *c, struct labels ls,
                               const struct matcher *matchers, struct total *t)
{
    struct series_list list;
    enum errc rc = db_select(c->view, matchers, ls.n, c->min_t_ms - LOOK_BACK_MS, c->max_t_ms,
                             c->arena, &list, c->err);

    for (size_t i = 0; rc == OK && i < list.n; i++) {
        if (!labels_equal(list.items[i].labels, ls))
            continue;
        rc = db_read(c->view, &list.items[i], c->min_t_ms - LOOK_BACK_MS, c->max_t_ms, &c->column,
                     c->err);
        if (rc == OK)
            take_last(t, &c->column);
    }
    return rc;
}

/* Begins with what is stored of the series. */
static enum errc recover(struct conversion *c, const struct write_series *s, struct total *t)
{
    struct labels ls = { s->labels, s->n_labels };
    struct matcher *matchers;
    enum errc rc = open_view(c);

    if (rc != OK)
        return rc;
    arena_reset(c->arena);
    matchers = ARENA_NEW(c->arena, struct matcher, ls.n);
    if (!matchers)
        return err_set(c->err, ERR_NOMEM, 0, "no memory for a series with delta temporality");
    for (size_t i = 0; i < ls.n && rc == OK; i++)
        rc = matcher_init(&matchers[i], MATCH_EQ, ls.items[i].name, ls.items[i].value, c->arena,
                          c->err);
    if (rc == OK)
        rc = read_matching(c, ls, matchers, t);
    for (size_t i = 0; i < ls.n; i++)
        matcher_free(&matchers[i]);
    t->known = rc == OK;
    return rc;
}

/* The total of series number i, read from the store when it is not known. */
static enum errc total_of(struct conversion *c, size_t i, struct total **out)
{
    const struct write_series *s = &c->o->batch.series[i];

    buf_clear(&c->labels);
    labels_encode(&c->labels, (struct labels){ s->labels, s->n_labels });
    *out = c->labels.failed ? NULL : find(c->d, &c->labels);
    if (!*out)
        return err_set(c->err, ERR_NOMEM, 0, "no memory for a series with delta temporality");
    (*out)->used = c->d->request;
    return (*out)->known ? OK : recover(c, s, *out);
}

static void drop(struct otlp *o, struct otlp_point *p)
{
    p->dropped = true;
    for (size_t i = 0; i < p->n_series; i++) {
        struct write_series *s = &o->batch.series[p->first_series + i];

        s->n_samples = s->n_histograms = s->n_exemplars = 0;
    }
}

static void refuse(struct conversion *c, struct otlp_point *p, const struct total *t)
{
    const struct write_series *s = &c->o->batch.series[p->first_series];
    struct buf text = { 0 };

    labels_print_metric(&text, (struct labels){ s->labels, s->n_labels });
    otlp_reject(c->o, OTLP_REJECT_OVERLAP, 1,
                "a delta from %" PRId64 " to %" PRId64 " ms begins before %" PRId64
                " ms, up to which deltas have been added; two senders need a service.instance.id "
                "each: %.*s",
                p->start_ms, p->t_ms, t->end_ms, STR_ARG(buf_as_str(&text)));
    buf_free(&text);
    drop(c->o, p);
}

/* What stands in the way of adding a histogram to a total, as text; empty for nothing. */
static struct str fault_of_histogram(struct conversion *c, const struct histogram *h)
{
    struct err err = err_in(c->arena);

    if (is_stale(h->sum))
        return STR("");
    if (!isfinite(h->sum))
        return STR("a delta's sum is not a finite number");
    if (histogram_check(h, &err) != OK)
        return str_from(err_text(&err));
    return otlp_can_merge(h) ? STR("") : STR("a delta has buckets beyond the largest number");
}

/* The same for the values of one series. */
static struct str fault_of_series(struct conversion *c, const struct write_series *s)
{
    struct str fault = STR("");

    for (size_t k = 0; k < s->n_samples; k++) {
        double v = c->o->samples[s->first_sample + k].v;

        if (!isfinite(v) && !is_stale(v))
            return STR("a delta is not a finite number");
    }
    for (size_t k = 0; k < s->n_histograms && fault.len == 0; k++)
        fault = fault_of_histogram(c, &c->o->histograms[s->first_histogram + k].h);
    return fault;
}

/* Whether a point is sound: what the store would refuse, or what no later delta could make good,
 * must not get into a total. */
static bool check_point(struct conversion *c, struct otlp_point *p)
{
    for (size_t i = 0; i < p->n_series; i++) {
        const struct write_series *s = &c->o->batch.series[p->first_series + i];
        struct str fault = fault_of_series(c, s);
        struct buf text = { 0 };

        if (fault.len == 0)
            continue;
        labels_print_metric(&text, (struct labels){ s->labels, s->n_labels });
        otlp_reject(c->o, OTLP_REJECT_INVALID, 1, "%.*s: %.*s", STR_ARG(fault),
                    STR_ARG(buf_as_str(&text)));
        buf_free(&text);
        drop(c->o, p);
        return false;
    }
    return true;
}

static enum errc add_histogram(struct conversion *c, struct total *t, struct write_histogram *w)
{
    struct arena *a = c->o->arena;

    if (is_stale(w->h.sum))
        return OK;
    if (!otlp_merge(&t->h, &w->h, c->arena, a)) {
        if (arena_used(a) > arena_limit(a) / 2)
            return err_set(c->err, ERR_TOO_LARGE, 0,
                           "the request has too many histograms with delta temporality; send it in "
                           "parts");
        return err_set(c->err, ERR_NOMEM, 0, "no memory for a histogram with delta temporality");
    }
    w->start_ms = t->start_ms;
    return OK;
}

/* Adds what a series brings to its total, and puts the total in its place. */
static enum errc add_series(struct conversion *c, size_t i, const struct otlp_point *p)
{
    struct write_series *s = &c->o->batch.series[i];
    struct total *t;
    enum errc rc = total_of(c, i, &t);

    if (rc != OK)
        return rc;
    if (t->end_ms == 0)
        t->start_ms = p->start_ms;
    for (size_t k = 0; k < s->n_samples; k++) {
        struct sample *sample = &c->o->samples[s->first_sample + k];

        if (is_stale(sample->v))
            continue;
        t->v += sample->v;
        sample->v = t->v;
        c->o->starts[s->first_sample + k] = t->start_ms;
    }
    for (size_t k = 0; k < s->n_histograms && rc == OK; k++)
        rc = add_histogram(c, t, &c->o->histograms[s->first_histogram + k]);
    t->end_ms = p->t_ms;
    return rc;
}

static enum errc convert_point(struct conversion *c, struct otlp_point *p)
{
    struct total *t;
    enum errc rc;

    if (!check_point(c, p))
        return OK;
    rc = total_of(c, p->first_series, &t);
    if (rc != OK)
        return rc;
    if (t->end_ms != 0 && (p->t_ms <= t->end_ms || (p->start_ms && p->start_ms < t->end_ms))) {
        refuse(c, p, t);
        return OK;
    }
    for (size_t i = 0; i < p->n_series && rc == OK; i++)
        rc = add_series(c, p->first_series + i, p);
    return rc;
}

static bool find_range(struct conversion *c)
{
    bool any = false;

    c->min_t_ms = INT64_MAX;
    c->max_t_ms = INT64_MIN;
    for (size_t i = 0; i < c->o->n_points; i++) {
        const struct otlp_point *p = &c->o->points[i];

        if (!p->delta)
            continue;
        any = true;
        c->min_t_ms = p->t_ms < c->min_t_ms ? p->t_ms : c->min_t_ms;
        c->max_t_ms = p->t_ms > c->max_t_ms ? p->t_ms : c->max_t_ms;
    }
    return any;
}

enum errc otlp_delta_convert(struct otlp_delta *d, struct otlp *o, struct db *db, struct err *err)
{
    struct conversion c = { .d = d, .o = o, .db = db, .err = err };
    enum errc rc = OK;

    if (!find_range(&c))
        return OK;
    c.arena = arena_new(0);
    if (!c.arena)
        return err_set(err, ERR_NOMEM, 0, "no memory for delta temporality");
    pthread_mutex_lock(&d->lock);
    d->request++;
    for (size_t i = 0; i < o->n_points && rc == OK; i++)
        if (o->points[i].delta)
            rc = convert_point(&c, &o->points[i]);
    pthread_mutex_unlock(&d->lock);
    db_view_close(c.view);
    column_free(&c.column);
    arena_free(c.arena);
    buf_free(&c.labels);
    if (rc != OK)
        otlp_delta_undo(d, o);
    return rc;
}

/* ---- taking back ---- */

/* Forgets the total of a series, so that it is read from the store again. */
static void forget_series(struct otlp_delta *d, const struct write_series *s, struct buf *labels)
{
    struct total *t;
    uint32_t id;

    buf_clear(labels);
    labels_encode(labels, (struct labels){ s->labels, s->n_labels });
    id = table_find(&d->table, hash64(labels->ptr, labels->len), same_labels, d, labels);
    if (id == TABLE_NONE)
        return;
    t = &d->totals[id];
    t->known = false;
    t->v = 0;
    t->end_ms = t->start_ms = 0;
    otlp_merged_free(t->h);
    t->h = NULL;
}

static bool is_stored(const struct otlp *o, const struct otlp_point *p)
{
    for (size_t i = 0; i < p->n_series; i++)
        if (o->batch.series[p->first_series + i].n_rejected)
            return false;
    return true;
}

static void forget(struct otlp_delta *d, const struct otlp *o, bool unstored_only)
{
    struct buf labels = { 0 };

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < o->n_points; i++) {
        const struct otlp_point *p = &o->points[i];

        if (!p->delta || p->dropped || (unstored_only && is_stored(o, p)))
            continue;
        for (size_t k = 0; k < p->n_series; k++)
            forget_series(d, &o->batch.series[p->first_series + k], &labels);
    }
    pthread_mutex_unlock(&d->lock);
    buf_free(&labels);
}

void otlp_delta_undo(struct otlp_delta *d, const struct otlp *o)
{
    forget(d, o, false);
}

void otlp_delta_settle(struct otlp_delta *d, const struct otlp *o)
{
    forget(d, o, true);
}
