#include "alert/alerting.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alert/config.h"
#include "alert/manager.h"
#include "alert/notifier.h"
#include "alert/rule.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/log.h"

#include "base/banned.h"

enum { DEFAULT_INTERVAL_MS = 60000, DEFAULT_RESEND_MS = 60000, ALERTMANAGER_TIMEOUT_MS = 10000 };

struct alerting {
    struct alerting_options options;
    pthread_mutex_t lock; /* held by a reload */
    struct notifier *notifier;
    struct rule_manager *rules;
    pthread_mutex_t shown;     /* guards all below, for a moment only */
    struct config *config;     /* in force; NULL without a file */
    struct reload_status last; /* of reloads */
};

struct alerting_options alerting_options_default(struct db *db)
{
    return (struct alerting_options){
        .db = db,
        .query = query_options_default(db),
        .resend_delay_ms = DEFAULT_RESEND_MS,
    };
}

/* ---- reading the files ---- */

/* What the files say. */
struct wanted {
    struct arena *arena;
    struct diags diags;
    struct config *config; /* NULL without a file */
    struct rule_settings settings;
    struct notifier_options notifier;
    struct rule_set *rules;
};

static void wanted_free(struct wanted *w)
{
    rule_set_free(w->rules);
    config_free(w->config);
    arena_free(w->arena);
}

static void log_diags(const struct diags *d)
{
    for (size_t i = 0; i < d->n; i++)
        log_line(d->items[i].warning ? LOG_WARN : LOG_ERROR, d->items[i].text,
                 "file=\"%s\" line=%u col=%u", d->items[i].file, d->items[i].line, d->items[i].col);
}

/* The first fault, and how many more there are. */
static enum errc bad_config(const struct diags *d, struct err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct diag *x = &d->items[i];

        if (x->warning)
            continue;
        if (d->n_errors > 1)
            return err_set(err, ERR_BAD_CONFIG, 0, "%s:%u:%u: %s (and %zu more)", x->file, x->line,
                           x->col, x->text, d->n_errors - 1);
        return err_set(err, ERR_BAD_CONFIG, 0, "%s:%u:%u: %s", x->file, x->line, x->col, x->text);
    }
    return err_set(err, ERR_BAD_CONFIG, 0, "the files are bad");
}

static enum errc read_config(struct wanted *w, const struct alerting_options *o)
{
    enum errc rc = OK;

    w->settings = (struct rule_settings){ .interval_ms = DEFAULT_INTERVAL_MS,
                                          .external_url = o->external_url };
    if (o->config_file)
        rc = config_load(o->config_file, &w->config, &w->diags);
    if (rc == OK && w->config) {
        w->settings.interval_ms = w->config->evaluation_interval_ms;
        w->settings.query_offset_ms = w->config->rule_query_offset_ms;
        w->settings.external_labels = w->config->external_labels;
    }
    return rc;
}

static enum errc list_alertmanagers(struct wanted *w, const struct alerting_options *o)
{
    size_t n = w->config ? w->config->n_alertmanagers : 0;
    struct alertmanager *items =
        ARENA_NEW(w->arena, struct alertmanager, n + o->n_alertmanager_urls);

    if (!items)
        return ERR_NOMEM;
    if (n)
        memcpy(items, w->config->alertmanagers, n * sizeof *items);
    for (size_t i = 0; i < o->n_alertmanager_urls; i++)
        items[n++] = (struct alertmanager){ .url = str_from(o->alertmanager_urls[i]),
                                            .timeout_ms = ALERTMANAGER_TIMEOUT_MS };
    w->notifier = notifier_options_default();
    w->notifier.alertmanagers = items;
    w->notifier.n_alertmanagers = n;
    w->notifier.external_labels = w->settings.external_labels;
    return OK;
}

/* Adds a path unless it is there: a group evaluated twice would write everything twice. */
static size_t add_path(const char **paths, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(paths[i], path) == 0)
            return n;
    paths[n] = path;
    return n + 1;
}

static enum errc read_rules(struct wanted *w, const struct alerting_options *o)
{
    size_t n_config = w->config ? w->config->n_rule_files : 0, n = 0;
    const char **paths = ARENA_NEW(w->arena, const char *, n_config + o->n_rule_files);

    if (!paths)
        return ERR_NOMEM;
    for (size_t i = 0; i < n_config; i++)
        n = add_path(paths, n, w->config->rule_files[i]);
    for (size_t i = 0; i < o->n_rule_files; i++)
        n = add_path(paths, n, o->rule_files[i]);
    return rules_load(paths, n, &w->rules, &w->diags);
}

static enum errc read_all(struct wanted *w, const struct alerting_options *o, struct err *err)
{
    enum errc rc;

    *w = (struct wanted){ .arena = arena_new(0) };
    w->diags.arena = w->arena;
    if (!w->arena)
        return err_set(err, ERR_NOMEM, 0, "no memory for the rules");
    if ((rc = read_config(w, o)) == OK && (rc = list_alertmanagers(w, o)) == OK)
        rc = read_rules(w, o);
    log_diags(&w->diags);
    if (rc == ERR_BAD_CONFIG)
        return bad_config(&w->diags, err);
    return rc == OK ? OK : err_set(err, rc, 0, "no memory for the rules");
}

/* ---- starting, reloading, stopping ---- */

static enum errc start_rules(struct alerting *a, struct err *err)
{
    struct rule_manager_options o = rule_manager_options_default(a->options.db);

    o.query = a->options.query;
    o.notifier = a->notifier;
    o.resend_delay_ms = a->options.resend_delay_ms;
    return rule_manager_new(&o, &a->rules, err);
}

/* From now on w's configuration is the one in force. */
static void show(struct alerting *a, struct wanted *w)
{
    struct config *old;

    pthread_mutex_lock(&a->shown);
    old = a->config;
    a->config = w->config;
    a->last = (struct reload_status){ true, clock_wall_ms(&clock_system) };
    pthread_mutex_unlock(&a->shown);
    w->config = NULL;
    config_free(old);
}

/* Makes it so. The manager is the last to be asked: it fails for want of memory only. */
static enum errc apply(struct alerting *a, struct wanted *w, struct err *err)
{
    enum errc rc = a->notifier ? notifier_reload(a->notifier, &w->notifier, err)
                               : notifier_new(&w->notifier, &a->notifier, err);
    struct rule_set *set = w->rules;
    size_t n_groups = set->n_groups;

    if (rc == OK && !a->rules)
        rc = start_rules(a, err);
    if (rc == OK) {
        w->rules = NULL;
        rc = rule_manager_load(a->rules, set, &w->settings, err);
    }
    if (rc == OK && a->options.on_config
        && !a->options.on_config(a->options.on_config_ctx, w->config))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for the configuration");
    if (rc == OK)
        show(a, w);
    if (rc == OK)
        log_info("rules loaded", "groups=%zu alertmanagers=%zu", n_groups,
                 w->notifier.n_alertmanagers);
    return rc;
}

enum errc alerting_reload(struct alerting *a, struct err *err)
{
    struct wanted w;
    enum errc rc;

    pthread_mutex_lock(&a->lock);
    rc = read_all(&w, &a->options, err);
    if (rc == OK)
        rc = apply(a, &w, err);
    wanted_free(&w);
    if (rc) {
        pthread_mutex_lock(&a->shown);
        a->last.ok = false;
        pthread_mutex_unlock(&a->shown);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

enum errc alerting_start(const struct alerting_options *options, struct alerting **out,
                         struct err *err)
{
    struct alerting *a = calloc(1, sizeof *a);
    enum errc rc;

    if (!a)
        return err_set(err, ERR_NOMEM, 0, "no memory for the rules");
    a->options = *options;
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->shown, NULL);
    rc = alerting_reload(a, err);
    if (rc != OK) {
        alerting_stop(a, 0);
        return rc;
    }
    *out = a;
    return OK;
}

void alerting_stop(struct alerting *a, int64_t grace_ms)
{
    if (!a)
        return;
    rule_manager_free(a->rules);
    notifier_free(a->notifier, grace_ms);
    config_free(a->config);
    pthread_mutex_destroy(&a->shown);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- looking at it ---- */

struct reload_status alerting_reload_status(struct alerting *a)
{
    struct reload_status last;

    pthread_mutex_lock(&a->shown);
    last = a->last;
    pthread_mutex_unlock(&a->shown);
    return last;
}

void alerting_print_config(struct alerting *a, struct buf *b)
{
    pthread_mutex_lock(&a->shown);
    if (a->config)
        config_print(b, a->config);
    pthread_mutex_unlock(&a->shown);
}

enum errc alerting_external_labels(struct alerting *a, struct arena *arena, struct labels *out,
                                   struct err *err)
{
    bool full;

    *out = (struct labels){ 0 };
    pthread_mutex_lock(&a->shown);
    if (a->config)
        *out = labels_copy(arena, a->config->external_labels);
    full = a->config && out->n < a->config->external_labels.n;
    pthread_mutex_unlock(&a->shown);
    return full ? err_set(err, ERR_LIMIT, 0, "no memory for the external labels") : OK;
}

struct rule_manager *alerting_rules(struct alerting *a)
{
    return a->rules;
}

struct notifier *alerting_notifier(struct alerting *a)
{
    return a->notifier;
}
