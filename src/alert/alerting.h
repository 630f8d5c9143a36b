/* alerting.h -- rules, their manager and the notifier as one: started from files, reloaded,
 * stopped.
 *
 * A reload reads all files first: when one of them is bad, everything goes on as before.
 *
 * Threads: any; reloads wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "query/query.h"
#include "storage/labels.h"

struct alerting;
struct config;
struct arena;
struct db;
struct notifier;
struct rule_manager;

/* Texts are borrowed until alerting_stop(). */
struct alerting_options {
    struct db *db;
    struct query_options query;
    const char *config_file;       /* NULL: none */
    const char *const *rule_files; /* beside those that the configuration names */
    size_t n_rule_files;
    const char *const *alertmanager_urls; /* beside those that the configuration names */
    size_t n_alertmanager_urls;
    struct str external_url;
    int64_t resend_delay_ms; /* 1 min */

    /* Called whenever files have come into force, with what they say for others (NULL: there is no
     * configuration file). False when out of memory. May be NULL. */
    bool (*on_config)(void *ctx, const struct config *c);
    void *on_config_ctx;
};

struct alerting_options alerting_options_default(struct db *db);

/* Reads the files and begins. What is wrong with them is logged, all of it; ERR_BAD_CONFIG has the
 * first fault. ERR_NOMEM, and what rule_manager_load() says. */
MUST_USE enum errc alerting_start(const struct alerting_options *options, struct alerting **out,
                                  struct err *err);

/* Reads the files again. Errors as above: nothing has changed then. */
MUST_USE enum errc alerting_reload(struct alerting *a, struct err *err);

/* Ends evaluations, then tries for grace_ms to deliver what Alertmanagers have not heard. NULL is
 * fine. */
void alerting_stop(struct alerting *a, int64_t grace_ms);

/* How the last reload went, and when the files in force were read. */
struct reload_status {
    bool ok;
    int64_t loaded_ms;
};
struct reload_status alerting_reload_status(struct alerting *a);

/* Appends the configuration in force as YAML without secrets (config_print()); nothing without a
 * file. */
void alerting_print_config(struct alerting *a, struct buf *b);

/* A copy of the external labels in force, in the arena. ERR_LIMIT. */
MUST_USE enum errc alerting_external_labels(struct alerting *a, struct arena *arena,
                                            struct labels *out, struct err *err);

struct rule_manager *alerting_rules(struct alerting *a);
struct notifier *alerting_notifier(struct alerting *a);
