/* db_append.c -- from a request's batch to durable, visible samples.
 *
 * Check labels and times, resolve refs, make one log record, wait until it is durable and applied.
 * The committer applies records in log order, so that of two values for one time the first logged
 * wins, live and after a replay alike.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"
#include "storage/db_private.h"
#include "storage/record.h"
#include "base/banned.h"

enum {
    NAMED = 10, /* rejections described in the answer; the rest is counted */
};

struct duplicate {
    uint32_t ref;
    int64_t t_ms;
};

/* One db_append under way. */
struct append {
    struct db *db;
    const struct write_batch *batch;
    struct write_result *res;
    struct arena *arena;
    int64_t min_t_ms, max_t_ms; /* samples outside are refused */
    struct labels *sets;        /* of the series that are to be resolved */
    uint32_t *refs;
    bool *kept;                     /* something of this series is stored */
    bool *bad_histograms;           /* of the batch's histograms */
    struct labels *exemplar_labels; /* of its exemplars; items NULL: it is not stored */
    size_t n_named;
    /* written by the committer while we wait */
    size_t duplicate_at; /* the series that had the last one */
    struct duplicate duplicates[NAMED];
    uint64_t n_duplicates, n_stored, n_stored_histograms;
    uint64_t n_stored_exemplars, n_exemplars_out_of_order;
    bool nomem;
};

const char *db_reject_name(enum db_reject reason)
{
    static const char *const names[] = { "labels",    "too_old",   "too_new",
                                         "duplicate", "histogram", "series_limit" };

    _Static_assert(ARRAY_LEN(names) == DB_REJECT_COUNT, "every reason has a name");
    ASSERT(reason < DB_REJECT_COUNT);
    return names[reason];
}

const char *metric_type_name(enum metric_type type)
{
    static const char *const names[] = { "unknown",        "counter", "gauge", "histogram",
                                         "gaugehistogram", "summary", "info",  "stateset" };

    _Static_assert(ARRAY_LEN(names) == METRIC_TYPE_COUNT, "every type has a name");
    ASSERT(type < METRIC_TYPE_COUNT);
    return names[type];
}

/* ---- what is refused, and how it is said ---- */

static void reject(struct append *a, enum db_reject reason, uint64_t n)
{
    a->res->rejected[reason] += n;
    atomic_fetch_add(&a->db->rejected[reason], n);
}

static void reject_of(struct append *a, struct write_series *s, enum db_reject reason, uint64_t n)
{
    s->n_rejected += n;
    reject(a, reason, n);
}

/* Where a check may say what is wrong, NULL once enough has been said: a request can have a million
 * faults. */
static struct err *may_explain(const struct append *a, struct err *err)
{
    return a->n_named < NAMED ? err : NULL;
}

/* Room for another line? The first NAMED are written out. */
static bool may_name(struct append *a)
{
    return a->n_named++ < NAMED;
}

/* What is known of a recognised series stands in the head. */
static struct labels labels_of(struct append *a, const struct write_series *s)
{
    struct labels ls = { s->labels, s->n_labels };

    if (s->known && s->n_labels == 0) {
        head_lock_index(a->db->head);
        if (head_labels(a->db->head, s->known - 1, a->arena, &ls, NULL) != OK)
            ls = (struct labels){ 0 };
        head_unlock_index(a->db->head);
    }
    return ls;
}

static void name_labels(struct append *a, struct labels ls)
{
    labels_print_metric(&a->res->text, ls);
    buf_u8(&a->res->text, '\n');
}

static void name_series(struct append *a, const struct write_series *s)
{
    name_labels(a, labels_of(a, s));
}

static void name_time(struct append *a, int64_t t_ms, const struct write_series *s)
{
    if (!may_name(a))
        return;
    if (t_ms < a->min_t_ms)
        buf_printf(&a->res->text,
                   "too old sample: time %lld ms is before the retention, which begins at %lld ms, "
                   "in series ",
                   (long long)t_ms, (long long)a->min_t_ms);
    else
        buf_printf(&a->res->text,
                   "out of bounds: timestamp is too far in the future: time %lld ms, at most %lld "
                   "ms is accepted, in series ",
                   (long long)t_ms, (long long)a->max_t_ms);
    name_series(a, s);
}

static bool time_fits(const struct append *a, int64_t t_ms)
{
    return t_ms >= a->min_t_ms && t_ms <= a->max_t_ms;
}

/* Whether the time of a sample fits; one that does not is named. */
static bool check_time(struct append *a, struct write_series *s, int64_t t_ms)
{
    if (time_fits(a, t_ms))
        return true;
    reject_of(a, s, t_ms < a->min_t_ms ? DB_REJECT_TOO_OLD : DB_REJECT_TOO_NEW, 1);
    name_time(a, t_ms, s);
    return false;
}

/* Counts the floats of a series that fit, names those that do not. */
static size_t check_floats(struct append *a, struct write_series *s)
{
    size_t fit = 0;

    for (size_t i = 0; i < s->n_samples; i++)
        fit += check_time(a, s, a->batch->samples[s->first_sample + i].t_ms);
    return fit;
}

static void refuse_histogram(struct append *a, struct write_series *s, const struct err *why,
                             int64_t t_ms)
{
    reject_of(a, s, DB_REJECT_HISTOGRAM, 1);
    if (!may_name(a))
        return;
    buf_printf(&a->res->text, "%s, at time %lld ms in series ", err_text(why), (long long)t_ms);
    name_series(a, s);
}

/* The same for its histograms, which must be sound as well. */
static size_t check_histograms(struct append *a, struct write_series *s)
{
    size_t fit = 0;

    for (size_t i = s->first_histogram; i < s->first_histogram + s->n_histograms; i++) {
        const struct write_histogram *h = &a->batch->histograms[i];
        struct err err = err_in(a->arena);

        a->bad_histograms[i] = true;
        if (!check_time(a, s, h->t_ms)) {
            atomic_fetch_add(&a->db->too_old_histograms, h->t_ms < a->min_t_ms);
            continue;
        }
        if (histogram_check(&h->h, may_explain(a, &err)) != OK) {
            refuse_histogram(a, s, &err, h->t_ms);
            continue;
        }
        a->bad_histograms[i] = false;
        fit++;
    }
    return fit;
}

/* The same for its exemplars, which are refused without a word: they never fail a request. */
static size_t check_exemplars(struct append *a, const struct write_series *s)
{
    size_t fit = 0;

    for (size_t i = s->first_exemplar; i < s->first_exemplar + s->n_exemplars; i++) {
        const struct exemplar *e = &a->batch->exemplars[i];

        if (time_fits(a, e->t_ms) && db_exemplar_labels(e, a->arena, &a->exemplar_labels[i]))
            fit++;
    }
    a->res->exemplars_refused += s->n_exemplars - fit;
    return fit;
}

/* Leaves out series i when nothing of it can be stored. Labels that were recognised as they came
 * are canonical. */
static void check_series(struct append *a, size_t i)
{
    struct write_series *s = &a->batch->series[i];
    struct err err = err_in(a->arena);

    ASSERT(s->first_sample + s->n_samples <= a->batch->n_samples);
    ASSERT(s->first_histogram + s->n_histograms <= a->batch->n_histograms);
    ASSERT(s->first_exemplar + s->n_exemplars <= a->batch->n_exemplars);
    s->n_rejected = 0;
    if (a->refs[i] == HEAD_NO_SERIES
        && labels_canonicalise(s->labels, &s->n_labels, &a->db->options.label_limits,
                               may_explain(a, &err))
               != OK) {
        size_t lost = s->n_samples + s->n_histograms;

        reject_of(a, s, DB_REJECT_LABELS, lost ? lost : 1);
        a->res->exemplars_refused += s->n_exemplars;
        if (may_name(a))
            buf_printf(&a->res->text, "%s\n", err_text(&err));
        return;
    }
    a->kept[i] = check_floats(a, s) + check_histograms(a, s) + check_exemplars(a, s) > 0;
    if (a->kept[i] && a->refs[i] == HEAD_NO_SERIES)
        a->sets[i] = (struct labels){ s->labels, s->n_labels };
}

/* The start time of a float of the batch, 0 unknown. */
static int64_t start_of(const struct append *a, size_t i)
{
    return a->batch->start_ms ? a->batch->start_ms[i] : 0;
}

/* What of a series is stored. */
static struct record_counts count_fitting(const struct append *a, const struct write_series *s)
{
    struct record_counts c = { 0 };

    for (size_t k = s->first_sample; k < s->first_sample + s->n_samples; k++) {
        c.n_floats += time_fits(a, a->batch->samples[k].t_ms);
        c.has_starts |= start_of(a, k) != 0;
    }
    for (size_t k = s->first_histogram; k < s->first_histogram + s->n_histograms; k++) {
        c.n_histograms += !a->bad_histograms[k];
        c.has_starts |= a->batch->histograms[k].start_ms != 0;
    }
    for (size_t k = s->first_exemplar; k < s->first_exemplar + s->n_exemplars; k++)
        c.n_exemplars += a->exemplar_labels[k].items != NULL;
    return c;
}

static void name_limit(struct append *a, const struct write_series *s)
{
    const struct db_options *o = &a->db->options;
    struct head_stats head;

    if (!may_name(a))
        return;
    head_stats(a->db->head, &head);
    if (o->series_limit && head.series >= o->series_limit)
        buf_printf(&a->res->text, "series_limit: %llu series are known, no new one is accepted: ",
                   (unsigned long long)o->series_limit);
    else
        buf_printf(&a->res->text,
                   "the labels of all series take %zu bytes of memory, no new series is accepted: ",
                   o->index_bytes);
    name_series(a, s);
}

/* Leaves out the series that could not be resolved; false when no others are left. */
static bool leave_out_unknown(struct append *a)
{
    bool any = false;

    for (size_t i = 0; i < a->batch->n_series; i++) {
        if (a->kept[i] && a->refs[i] == HEAD_NO_SERIES) {
            struct record_counts lost = count_fitting(a, &a->batch->series[i]);

            reject_of(a, &a->batch->series[i], DB_REJECT_SERIES_LIMIT,
                      lost.n_floats + lost.n_histograms);
            a->res->exemplars_refused += lost.n_exemplars;
            name_limit(a, &a->batch->series[i]);
            a->kept[i] = false;
        }
        any |= a->kept[i];
    }
    return any;
}

/* ---- the record ---- */

static void write_samples(const struct append *a, struct record_writer *w, uint32_t ref,
                          const struct write_series *s)
{
    record_series(w, ref, count_fitting(a, s));
    for (size_t k = s->first_sample; k < s->first_sample + s->n_samples; k++)
        if (time_fits(a, a->batch->samples[k].t_ms))
            record_float(w, a->batch->samples[k], start_of(a, k));
    for (size_t k = s->first_histogram; k < s->first_histogram + s->n_histograms; k++) {
        const struct write_histogram *h = &a->batch->histograms[k];

        if (!a->bad_histograms[k])
            record_histogram(w, h->t_ms, h->start_ms, &h->h);
    }
    for (size_t k = s->first_exemplar; k < s->first_exemplar + s->n_exemplars; k++) {
        const struct exemplar *e = &a->batch->exemplars[k];

        if (a->exemplar_labels[k].items)
            record_exemplar(w, e->t_ms, e->v, a->exemplar_labels[k]);
    }
}

/* False when out of memory. */
static bool write_record(struct append *a, struct record_writer *w, uint64_t generation)
{
    for (size_t i = 0; i < a->batch->n_series; i++) {
        const struct write_series *s = &a->batch->series[i];

        if (!a->kept[i])
            continue;
        if (head_defined_in(a->db->head, a->refs[i]) != generation) {
            struct labels ls = labels_of(a, s);

            if (ls.n == 0)
                return false;
            record_define(w, a->refs[i], ls);
        }
        write_samples(a, w, a->refs[i], s);
    }
    return true;
}

/* Makes the record for the log's generation and waits for it; again when the log has moved on
 * meanwhile. */
static enum errc commit(struct append *a, struct err *err)
{
    struct record_writer w = { 0 };
    struct buf record = { 0 };
    enum errc rc;

    do {
        uint64_t generation = a->db->wal ? wal_generation(a->db->wal) : 1;

        buf_clear(&record);
        rc = write_record(a, &w, generation) ? record_finish(&w, &record) : ERR_NOMEM;
        if (rc != OK) {
            rc = err_set(err, rc, 0, "no memory for a log record");
        } else if (a->db->wal) {
            rc = wal_append(a->db->wal, generation, buf_as_bytes(&record), a, err);
        } else {
            pthread_mutex_lock(&a->db->append_lock);
            db_apply(a->db, generation, buf_as_bytes(&record), a);
            pthread_mutex_unlock(&a->db->append_lock);
        }
    } while (rc == ERR_CONFLICT);
    record_writer_free(&w);
    buf_free(&record);
    return rc;
}

/* ---- applying ---- */

struct apply {
    struct db *db;
    struct append *append; /* NULL on replay */
    struct head_appender head;
    uint64_t generation;
    int64_t newest_t_ms;
    uint64_t stored, stored_histograms, repeated;
};

static bool apply_define(void *ctx, uint32_t ref, struct bytes labels)
{
    struct apply *p = ctx;

    (void)labels;
    head_set_defined_in(p->db->head, ref, p->generation);
    return true;
}

/* Finds whose duplicate it is: samples are applied in the order of the batch. */
static void blame_series(struct append *a, uint32_t ref)
{
    size_t n = a->batch->n_series;

    for (size_t k = 0; k < n; k++) {
        size_t i = (a->duplicate_at + k) % n;
        struct write_series *s = &a->batch->series[i];

        if (a->refs[i] != ref || !a->kept[i] || s->n_rejected >= s->n_samples + s->n_histograms)
            continue;
        s->n_rejected++;
        a->duplicate_at = i;
        return;
    }
}

/* Notes what became of a sample. */
static void note_result(struct apply *p, uint32_t ref, int64_t t_ms, enum append_result result)
{
    struct append *a = p->append;

    switch (result) {
    case APPEND_STORED:
        p->stored++;
        p->newest_t_ms = t_ms > p->newest_t_ms ? t_ms : p->newest_t_ms;
        break;
    case APPEND_REPEAT:
        p->stored++;
        p->repeated++;
        break;
    case APPEND_DUPLICATE:
        if (a->n_duplicates < NAMED)
            a->duplicates[a->n_duplicates] = (struct duplicate){ ref, t_ms };
        a->n_duplicates++;
        blame_series(a, ref);
        break;
    case APPEND_NOMEM:
        a->nomem = true;
        break;
    }
}

static bool apply_sample(void *ctx, uint32_t ref, struct sample s, int64_t start_ms)
{
    struct apply *p = ctx;

    note_result(p, ref, s.t_ms, head_appender_add_started(&p->head, ref, s, start_ms));
    return true;
}

static bool apply_histogram(void *ctx, uint32_t ref, int64_t t_ms, int64_t start_ms,
                            struct bytes encoded)
{
    struct apply *p = ctx;
    uint64_t before = p->stored;

    note_result(p, ref, t_ms, head_appender_add_histogram(&p->head, ref, t_ms, start_ms, encoded));
    p->stored_histograms += p->stored - before;
    return true;
}

static bool apply_exemplar(void *ctx, uint32_t ref, int64_t t_ms, double v, struct bytes labels)
{
    struct apply *p = ctx;
    struct append *a = p->append;

    switch (db_add_exemplar(p->db, ref, t_ms, v, labels)) {
    case EXEMPLAR_STORED:
    case EXEMPLAR_REPEAT:
        a->n_stored_exemplars++;
        break;
    case EXEMPLAR_OUT_OF_ORDER:
        a->n_exemplars_out_of_order++;
        break;
    case EXEMPLAR_NOMEM:
        a->nomem = true;
        break;
    }
    return true;
}

static void raise_newest(struct db *db, int64_t t_ms)
{
    int64_t known = atomic_load(&db->newest_t_ms);

    while (t_ms > known && !atomic_compare_exchange_weak(&db->newest_t_ms, &known, t_ms))
        ;
}

/* Most records have none of the rare kinds. */
static void add_any(_Atomic uint64_t *to, uint64_t n)
{
    if (n)
        atomic_fetch_add(to, n);
}

static void count_applied(struct db *db, const struct apply *p)
{
    atomic_fetch_add(&db->appended, p->stored);
    add_any(&db->histograms_appended, p->stored_histograms);
    add_any(&db->repeated, p->repeated);
    add_any(&db->late_floats, p->head.late_floats);
    add_any(&db->late_histograms, p->head.late_histograms);
}

void db_apply(void *ctx, uint64_t generation, struct bytes record, void *user)
{
    struct db *db = ctx;
    struct apply p = { .db = db,
                       .append = user,
                       .head = { .head = db->head },
                       .generation = generation,
                       .newest_t_ms = INT64_MIN };
    struct record_handler handler = { .ctx = &p,
                                      .define = apply_define,
                                      .sample = apply_sample,
                                      .histogram = apply_histogram,
                                      .exemplar = apply_exemplar };
    enum errc rc = record_read(record, &handler, NULL);

    head_appender_done(&p.head);
    ASSERT(rc == OK); /* our own record, just encoded */
    p.append->n_stored = p.stored;
    p.append->n_stored_histograms = p.stored_histograms;
    raise_newest(db, p.newest_t_ms);
    count_applied(db, &p);
}

static void name_duplicates(struct append *a)
{
    reject(a, DB_REJECT_DUPLICATE, a->n_duplicates);
    head_lock_index(a->db->head);
    for (size_t i = 0; i < a->n_duplicates && i < NAMED; i++) {
        struct labels ls;

        if (!may_name(a)
            || head_labels(a->db->head, a->duplicates[i].ref, a->arena, &ls, NULL) != OK)
            continue;
        buf_printf(&a->res->text,
                   "duplicate sample for timestamp %lld ms with another value, in series ",
                   (long long)a->duplicates[i].t_ms);
        name_labels(a, ls);
    }
    head_unlock_index(a->db->head);
    if (a->n_duplicates > NAMED)
        a->n_named += a->n_duplicates - NAMED;
}

/* ---- the whole ---- */

/* What could not be written is tried again when it is sent again, and keeps no samples out. */
static enum errc store_metadata(struct append *a, struct err *err)
{
    const struct write_batch *b = a->batch;
    bool *unsaved = ARENA_NEW(a->arena, bool, b->n_metadata);
    struct metric_metadata *fresh = ARENA_NEW(a->arena, struct metric_metadata, b->n_metadata);
    struct err cause = err_in(a->arena);
    size_t n = 0;
    enum errc rc;

    if (!unsaved || !fresh)
        return err_set(err, ERR_NOMEM, 0, "no memory for metric metadata");
    rc = metadata_map_put(a->db->metadata, b->metadata, b->n_metadata, unsaved, err);
    for (size_t i = 0; i < b->n_metadata; i++)
        if (unsaved[i])
            fresh[n++] = b->metadata[i];
    if (rc != OK || n == 0 || !a->db->state)
        return rc;
    rc = state_put_metadata(a->db->state, fresh, n, &cause);
    if (rc == OK)
        metadata_map_saved(a->db->metadata, fresh, n);
    else
        log_warn("metadata of metrics is in memory only, until it is sent again", "reason=\"%s\"",
                 err_text(&cause));
    return OK;
}

/* Has the samples flushed in time. They may take four times the flush size: beyond that the disk is
 * not keeping up. */
static enum errc check_memory(struct db *db, struct err *err)
{
    struct head_stats head;

    if (!db->dir)
        return OK;
    head_stats(db->head, &head);
    if (head.bytes > db->options.head_bytes)
        db_keeper_wake(db);
    if (head.bytes / 4 > db->options.head_bytes)
        return err_set(err, ERR_UNAVAILABLE, 0,
                       "unflushed samples take %llu bytes of memory: the disk is not keeping up",
                       (unsigned long long)head.bytes);
    return OK;
}

void db_recognise_begin(struct db_recogniser *r, struct db *db)
{
    *r = (struct db_recogniser){ .head = db->head,
                                 .last = HEAD_NO_SERIES,
                                 .found_at = head_tick(db->head) };
    head_lock_index(db->head);
}

void db_recognise_end(struct db_recogniser *r)
{
    if (r->head)
        head_unlock_index(r->head);
    buf_free(&r->key);
    r->head = NULL;
}

uint32_t db_recognise_wire(struct db_recogniser *r, struct bytes wire, size_t *n)
{
    *n = r->head ? head_follow(r->head, &r->last, wire) : 0;
    return *n ? r->last + 1 : 0;
}

uint32_t db_recognise_labels(struct db_recogniser *r, struct labels ls)
{
    uint32_t ref = r->head ? head_recognise(r->head, &r->last, ls, &r->key) : HEAD_NO_SERIES;

    return ref == HEAD_NO_SERIES ? 0 : ref + 1;
}

/* Fills refs[] with the series that are known; asks about those that have not been asked about. False when so
 * much has happened since they were that they may have ended. */
static bool recognise(struct append *a)
{
    const struct write_batch *b = a->batch;
    struct db_recogniser r = { .head = NULL };

    if (!b->recognised)
        db_recognise_begin(&r, a->db);
    for (size_t i = 0; i < b->n_series; i++) {
        uint32_t known = b->recognised
                             ? b->series[i].known
                             : db_recognise_labels(
                                 &r, (struct labels){ b->series[i].labels, b->series[i].n_labels });

        a->refs[i] = known ? known - 1 : HEAD_NO_SERIES;
    }
    db_recognise_end(&r);
    return !b->recognised || head_keep(a->db->head, a->refs, b->n_series, b->found_at);
}

/* How many series there may be. */
static uint64_t max_series(const struct append *a, const struct head_stats *head)
{
    const struct db_options *o = &a->db->options;

    if (head->index_bytes >= o->index_bytes)
        return 0;
    return o->series_limit ? o->series_limit : UINT64_MAX;
}

static enum errc append_samples(struct append *a, struct err *err)
{
    struct head_stats head;
    enum errc rc;
    bool any = false;

    a->sets = ARENA_NEW(a->arena, struct labels, a->batch->n_series);
    a->refs = ARENA_NEW(a->arena, uint32_t, a->batch->n_series);
    a->kept = ARENA_NEW(a->arena, bool, a->batch->n_series);
    a->bad_histograms = ARENA_NEW(a->arena, bool, a->batch->n_histograms);
    a->exemplar_labels = ARENA_NEW(a->arena, struct labels, a->batch->n_exemplars);
    if (!a->sets || !a->refs || !a->kept || !a->bad_histograms || !a->exemplar_labels)
        return err_set(err, ERR_NOMEM, 0, "no memory for a request of %zu series",
                       a->batch->n_series);
    if (!recognise(a))
        return err_set(err, ERR_UNAVAILABLE, 0, "the request took too long");
    for (size_t i = 0; i < a->batch->n_series; i++) {
        check_series(a, i);
        any |= a->kept[i];
    }
    if (!any)
        return OK;
    head_stats(a->db->head, &head);
    rc = head_resolve(a->db->head, a->sets, a->batch->n_series, max_series(a, &head), a->refs, err);
    if (rc != OK || !leave_out_unknown(a))
        return rc;
    rc = commit(a, err);
    if (rc != OK)
        return rc;
    a->res->stored += a->n_stored;
    a->res->stored_histograms += a->n_stored_histograms;
    a->res->stored_exemplars += a->n_stored_exemplars;
    a->res->exemplars_out_of_order += a->n_exemplars_out_of_order;
    if (a->nomem)
        return err_set(err, ERR_NOMEM, 0, "no memory for samples");
    if (a->n_duplicates)
        name_duplicates(a);
    return OK;
}

enum errc db_append(struct db *db, const struct write_batch *batch, struct write_result *res,
                    struct err *err)
{
    int64_t now_ms = clock_wall_ms(db->clock);
    struct append a = { .db = db,
                        .batch = batch,
                        .res = res,
                        .min_t_ms = db_horizon(db),
                        .max_t_ms = now_ms + DB_MAX_AHEAD_MS };
    enum errc rc = check_memory(db, err);

    if (rc != OK)
        return rc;
    a.arena = arena_new(0);
    if (!a.arena)
        return err_set(err, ERR_NOMEM, 0, "no memory for a request");
    if (batch->n_metadata)
        rc = store_metadata(&a, err);
    if (rc == OK && batch->n_series) {
        uint32_t ticket = head_enter(db->head);

        rc = append_samples(&a, err);
        head_leave(db->head, ticket);
    }
    if (a.n_named > NAMED)
        buf_printf(&res->text, "and %zu more\n", a.n_named - NAMED);
    arena_free(a.arena);
    return rc;
}

/* ---- replay ---- */

static bool replay_define(void *ctx, uint32_t ref, struct bytes encoded)
{
    struct db *db = ctx;
    struct replay *p = db->replay;
    struct labels ls;

    if (!vec_reserve(&p->refs, &p->cap_refs, (size_t)ref + 1, sizeof *p->refs))
        return false;
    while (p->n_refs <= ref)
        p->refs[p->n_refs++] = HEAD_NO_SERIES;
    arena_reset(p->arena);
    switch (labels_decode(encoded, p->arena, &ls, NULL)) {
    case OK:
        return head_define(db->head, ls, encoded, &p->refs[ref], NULL) == OK;
    case ERR_CORRUPT:
        return true; /* its samples count as unknown */
    default:
        return false;
    }
}

/* Whether the day file has this generation already: the crash came between its commit and the end
 * of the flush. */
static bool already_flushed(struct db *db, int64_t t_ms)
{
    struct replay *p = db->replay;
    int64_t day = day_of(t_ms);

    if (!p->day_known || day != p->day) {
        p->day = day;
        p->day_known = true;
        p->day_flushed = days_last_flush(db->days, day);
    }
    return p->day_flushed >= p->generation;
}

/* The head's ref of a sample in the log; HEAD_NO_SERIES when it is not to be added. */
static uint32_t replayed_ref(struct db *db, uint32_t ref, int64_t t_ms)
{
    struct replay *p = db->replay;

    if (ref >= p->n_refs || p->refs[ref] == HEAD_NO_SERIES) {
        p->unknown++; /* the record that named the series was damaged */
        return HEAD_NO_SERIES;
    }
    raise_newest(db, t_ms);
    if (already_flushed(db, t_ms))
        return HEAD_NO_SERIES;
    p->samples++;
    return p->refs[ref];
}

static bool replay_sample(void *ctx, uint32_t ref, struct sample s, int64_t start_ms)
{
    struct db *db = ctx;
    struct head_appender to = { .head = db->head };
    enum append_result result = APPEND_STORED;

    ref = replayed_ref(db, ref, s.t_ms);
    if (ref != HEAD_NO_SERIES)
        result = head_appender_add_started(&to, ref, s, start_ms);
    head_appender_done(&to);
    return result != APPEND_NOMEM;
}

static bool replay_histogram(void *ctx, uint32_t ref, int64_t t_ms, int64_t start_ms,
                             struct bytes encoded)
{
    struct db *db = ctx;
    struct head_appender to = { .head = db->head };
    enum append_result result = APPEND_STORED;

    ref = replayed_ref(db, ref, t_ms);
    if (ref != HEAD_NO_SERIES)
        result = head_appender_add_histogram(&to, ref, t_ms, start_ms, encoded);
    head_appender_done(&to);
    return result != APPEND_NOMEM;
}

static bool replay_exemplar(void *ctx, uint32_t ref, int64_t t_ms, double v, struct bytes labels)
{
    struct db *db = ctx;
    struct replay *p = db->replay;

    if (ref >= p->n_refs || p->refs[ref] == HEAD_NO_SERIES || already_flushed(db, t_ms))
        return true;
    return db_add_exemplar(db, p->refs[ref], t_ms, v, labels) != EXEMPLAR_NOMEM;
}

enum errc db_replay(void *ctx, uint64_t generation, struct bytes record, struct err *err)
{
    struct db *db = ctx;
    struct replay *p = db->replay;
    struct record_handler handler = { .ctx = db,
                                      .define = replay_define,
                                      .sample = replay_sample,
                                      .histogram = replay_histogram,
                                      .exemplar = replay_exemplar };
    enum errc rc;

    if (generation != p->generation) {
        p->generation = generation;
        p->n_refs = 0;
        p->day_known = false;
    }
    rc = record_read(record, &handler, err);
    if (rc == ERR_CANCELED)
        return err_set(err, ERR_NOMEM, 0, "no memory to recover the log");
    if (rc == ERR_CORRUPT) {
        log_warn("log record skipped", "generation=%llu bytes=%zu", (unsigned long long)generation,
                 record.len);
        p->malformed++;
    }
    return OK;
}
