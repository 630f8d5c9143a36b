/* config.h -- the file that --config.file names, in Prometheus' format.
 *
 *   global:          evaluation_interval, rule_query_offset, external_labels
 *   rule_files:      paths and patterns, relative to the file
 *   alerting:        alertmanagers with static_configs
 *   limits:          series_limit, label_limit, label_name_length_limit, label_value_length_limit;
 *                    0 switches one off. They count from the next start
 *   otlp:            how metrics of OpenTelemetry are named; ours: delta
 *
 * Keys of Prometheus that mean nothing here yet are warnings, other unknown ones errors. $NAME and
 * ${NAME} in external labels are environment variables, $$ a dollar sign.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notifier.h"
#include "base/bytes.h"
#include "base/diag.h"
#include "base/err.h"
#include "storage/labels.h"

struct arena;

struct config_texts {
    const struct str *items;
    size_t n;
};

/* How OTLP is translated: words as in the file, checked. */
struct config_otlp {
    const char *translation_strategy; /* "UnderscoreEscapingWithSuffixes" by default */
    const char *delta;                /* "convert" (by default), "reject" or "raw" */
    struct config_texts promote, ignore;
    bool promote_all, keep_identifying, promote_scope, convert_to_nhcb;
    bool label_underscore_sanitization, label_preserve_underscores; /* true by default */
};

struct config_otlp config_otlp_default(void);

struct config {
    struct arena *arena;            /* owns all */
    int64_t evaluation_interval_ms; /* 1 min by default */
    int64_t rule_query_offset_ms;   /* 0 by default */
    struct labels external_labels;  /* canonical */
    const char **rule_files;        /* those that were there; each once */
    size_t n_rule_files;
    struct alertmanager *alertmanagers;
    size_t n_alertmanagers;
    struct label_limits label_limits;
    uint64_t series_limit; /* 0: none */
    struct config_otlp otlp;
};

/* Reads a configuration file, and looks for the rule files that it names; those are not read. d
 * names what is wrong, a file that cannot be read too. ERR_BAD_CONFIG when there were errors,
 * ERR_NOMEM. */
MUST_USE enum errc config_load(const char *path, struct config **out, struct diags *d);

/* The same for a text. path: the file that it comes from, for faults and relative paths. */
MUST_USE enum errc config_read(struct str text, const char *path, struct config **out,
                               struct diags *d);

/* Appends c as YAML, with its defaults, variables and patterns resolved, and <secret> for every
 * password and credential. */
void config_print(struct buf *b, const struct config *c);

void config_free(struct config *c); /* NULL is fine */
