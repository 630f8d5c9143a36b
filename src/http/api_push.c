/* api_push.c -- what is common to everything that is pushed: memory, settings, metrics. */
#include "http/api_push.h"

#include <inttypes.h>
#include <stdlib.h>

#include "alert/config.h"
#include "base/arena.h"
#include "collect/push_groups.h"
#include "ingest/otlp_delta.h"
#include "ingest/otlp_writers.h"

#include "base/banned.h"

/* ---- settings: shared by the requests that began with them ---- */

struct otlp_settings {
    struct otlp_options options; /* its lists are in the arena */
    struct arena *arena;
    size_t n_users; /* under push.lock */
};

static void settings_free(struct otlp_settings *s)
{
    if (!s)
        return;
    arena_free(s->arena);
    free(s);
}

static bool copy_list(struct arena *a, const struct str **list, size_t n)
{
    struct str *copy = ARENA_NEW(a, struct str, n);

    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = str_copy(a, (*list)[i]);
        if (!copy[i].ptr)
            return false;
    }
    *list = copy;
    return copy != NULL;
}

static struct otlp_settings *settings_new(const struct otlp_options *options)
{
    struct otlp_settings *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->options = *options;
    s->n_users = 1;
    s->arena = arena_new(0);
    if (s->arena && copy_list(s->arena, &s->options.promote, s->options.n_promote)
        && copy_list(s->arena, &s->options.ignore, s->options.n_ignore))
        return s;
    settings_free(s);
    return NULL;
}

static struct otlp_settings *settings_take(struct api_push *push)
{
    struct otlp_settings *s;

    pthread_mutex_lock(&push->lock);
    s = push->settings;
    s->n_users++;
    pthread_mutex_unlock(&push->lock);
    return s;
}

static void settings_give(struct api_push *push, struct otlp_settings *s)
{
    bool last;

    pthread_mutex_lock(&push->lock);
    last = --s->n_users == 0;
    pthread_mutex_unlock(&push->lock);
    if (last)
        settings_free(s);
}

bool api_set_otlp(struct api *api, const struct otlp_options *options)
{
    struct otlp_settings *fresh = settings_new(options), *old;

    if (!fresh)
        return false;
    pthread_mutex_lock(&api->push->lock);
    old = api->push->settings;
    api->push->settings = fresh;
    pthread_mutex_unlock(&api->push->lock);
    settings_give(api->push, old);
    return true;
}

bool api_set_otlp_config(struct api *api, const struct config_otlp *c)
{
    struct otlp_options o = otlp_options_default();
    bool known = otlp_strategy_parse(str_from(c->translation_strategy), &o.strategy);

    ASSERT(known); /* the configuration has been checked */
    o.delta = strcmp(c->delta, "raw") == 0      ? OTLP_DELTA_RAW
              : strcmp(c->delta, "reject") == 0 ? OTLP_DELTA_REJECT
                                                : OTLP_DELTA_CONVERT;
    o.promote = c->promote.items;
    o.n_promote = c->promote.n;
    o.ignore = c->ignore.items;
    o.n_ignore = c->ignore.n;
    o.promote_all = c->promote_all;
    o.keep_identifying = c->keep_identifying;
    o.promote_scope = c->promote_scope;
    o.custom_buckets = c->convert_to_nhcb;
    o.keep_label_underscore = !c->label_underscore_sanitization;
    o.collapse_underscores = !c->label_preserve_underscores;
    o.lookback_ms = api->o.lookback_ms;
    return api_set_otlp(api, &o);
}

/* ---- memory for decoding, reused ---- */

struct push_scratch *push_scratch_take(struct api_push *push)
{
    struct push_scratch *s;

    pthread_mutex_lock(&push->lock);
    s = push->scratch;
    if (s)
        push->scratch = s->next;
    pthread_mutex_unlock(&push->lock);
    return s ? s : calloc(1, sizeof *s);
}

void push_scratch_give(struct api_push *push, struct push_scratch *s)
{
    if (!s)
        return;
    exposition_recycle(&s->text);
    otlp_recycle(&s->otlp);
    pthread_mutex_lock(&push->lock);
    s->next = push->scratch;
    push->scratch = s;
    pthread_mutex_unlock(&push->lock);
}

struct api_push *api_push_new(void)
{
    struct otlp_options defaults = otlp_options_default();
    struct api_push *push = calloc(1, sizeof *push);

    if (!push)
        return NULL;
    pthread_mutex_init(&push->lock, NULL);
    push->delta = otlp_delta_new(OTLP_DELTA_SERIES);
    push->writers = otlp_writers_new();
    push->settings = settings_new(&defaults);
    if (push->delta && push->writers && push->settings)
        return push;
    api_push_free(push);
    return NULL;
}

void api_push_free(struct api_push *push)
{
    if (!push)
        return;
    while (push->scratch) {
        struct push_scratch *s = push->scratch;

        push->scratch = s->next;
        otlp_free(&s->otlp);
        exposition_free(&s->text);
        free(s);
    }
    settings_free(push->settings);
    otlp_delta_free(push->delta);
    otlp_writers_free(push->writers);
    pthread_mutex_destroy(&push->lock);
    free(push);
}

/* ---- OTLP ---- */

static void count_points(struct api_push *push, const struct otlp *o, uint64_t *rejected)
{
    uint64_t dropped = 0;

    *rejected = 0;
    for (size_t i = 0; i < OTLP_REJECT_COUNT; i++) {
        *rejected += o->rejected[i];
        atomic_fetch_add(&push->rejected[i], o->rejected[i]);
    }
    for (size_t i = 0; i < o->n_points; i++)
        dropped += o->points[i].dropped;
    atomic_fetch_add(&push->points, o->n_points - dropped - o->rejected[OTLP_REJECT_STORE]);
    atomic_fetch_add(&push->ignored, o->n_ignored);
}

/* What the sender is told: what was refused, then what it should know. */
static void compose_message(struct otlp *o, const struct write_result *res, const struct buf *hints,
                            struct buf *message)
{
    buf_str(message, buf_as_str(&o->text));
    buf_str(message, buf_as_str(&res->text));
    if (o->n_ignored)
        buf_printf(message, "%" PRIu64 " metrics have no data of a known kind\n", o->n_ignored);
    buf_str(message, buf_as_str(hints));
    if (message->len && message->ptr[message->len - 1] == '\n')
        message->len--;
}

static enum errc store(struct api *api, struct otlp *o, uint64_t *rejected, struct buf *message,
                       struct err *err)
{
    struct write_result res = { 0 };
    struct buf hints = { 0 };
    size_t two = otlp_writers_check(api->push->writers, o, &hints);
    enum errc rc = otlp_delta_convert(api->push->delta, o, api_db(api), err);

    atomic_fetch_add(&api->push->two_writers, two);
    if (rc == OK) {
        rc = db_append(api_db(api), &o->batch, &res, err);
        if (rc != OK)
            otlp_delta_undo(api->push->delta, o);
    }
    if (rc == OK) {
        otlp_delta_settle(api->push->delta, o);
        otlp_count_unstored(o);
        count_points(api->push, o, rejected);
        compose_message(o, &res, &hints, message);
    }
    buf_free(&res.text);
    buf_free(&hints);
    return rc;
}

enum errc api_otlp_store(struct api *api, struct bytes body, bool json, uint64_t *rejected,
                         struct buf *message, struct err *err)
{
    struct push_scratch *s = push_scratch_take(api->push);
    struct otlp_settings *settings;
    enum errc rc;

    if (!s)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    settings = settings_take(api->push);
    rc = (json ? otlp_read_json : otlp_read)(&s->otlp, &settings->options, body, err);
    if (rc == OK)
        rc = store(api, &s->otlp, rejected, message, err);
    settings_give(api->push, settings);
    push_scratch_give(api->push, s);
    return rc;
}

/* ---- metrics ---- */

static void add_groups(struct buf *b, struct push_groups *groups)
{
    struct push_groups_stats s;

    push_groups_stats(groups, &s);
    metric_single(b, "tidemark_push_groups", "gauge", "Groups of pushed metrics.",
                  (double)s.groups);
    metric_single(b, "tidemark_push_group_bytes", "gauge", "Size of all groups, encoded.",
                  (double)s.bytes);
    metric_single(b, "tidemark_pushes_total", "counter", "Pushes to groups.", (double)s.pushes);
    metric_single(b, "tidemark_push_failures_total", "counter", "Pushes that were refused.",
                  (double)s.failures);
    metric_single(b, "tidemark_push_groups_expired_total", "counter",
                  "Groups that were not pushed to for their time to live.", (double)s.expired);
    metric_single(b, "tidemark_push_store_failures_total", "counter",
                  "Times that groups could not be stored again.", (double)s.store_failures);
}

void api_metrics_push(struct buf *b, const struct api *api)
{
    const struct api_push *push = api->push;

    metric_single(b, "tidemark_otlp_data_points_total", "counter",
                  "Data points of OTLP that were stored.", (double)atomic_load(&push->points));
    metric_family(b, "tidemark_otlp_data_points_rejected_total", "counter",
                  "Data points of OTLP that were not stored, by reason.");
    for (size_t i = 0; i < OTLP_REJECT_COUNT; i++)
        buf_printf(b, "tidemark_otlp_data_points_rejected_total{reason=\"%s\"} %" PRIu64 "\n",
                   otlp_reject_name((enum otlp_reject)i),
                   (uint64_t)atomic_load(&push->rejected[i]));
    metric_single(b, "tidemark_otlp_metrics_ignored_total", "counter",
                  "Metrics of OTLP without data of a known kind.",
                  (double)atomic_load(&push->ignored));
    metric_single(b, "tidemark_otlp_two_writers_total", "counter",
                  "Data points that show that two processes write one series.",
                  (double)atomic_load(&push->two_writers));
    metric_single(b, "tidemark_otlp_delta_series", "gauge",
                  "Series with delta temporality whose totals are kept.",
                  (double)otlp_delta_series(push->delta));
    metric_single(b, "tidemark_import_samples_total", "counter", "Samples read from imported text.",
                  (double)atomic_load(&push->lines));
    metric_single(b, "tidemark_import_bad_lines_total", "counter",
                  "Lines of imported text that could not be read.",
                  (double)atomic_load(&push->bad_lines));
    if (atomic_load(&push->groups))
        add_groups(b, atomic_load(&push->groups));
}

void api_set_push_groups(struct api *api, struct push_groups *groups)
{
    atomic_store(&api->push->groups, groups);
}
