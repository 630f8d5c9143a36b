/* otlp_names.h -- names of OpenTelemetry as names of Prometheus, as its otlptranslator does.
 *
 *   strategy                         characters                  unit, _total, _ratio
 *   UnderscoreEscapingWithSuffixes   others than [A-Za-z0-9_:]   added unless they are there
 *                                    become _
 *   UnderscoreEscapingWithoutSuffixes   as above                 not added
 *   NoUTF8EscapingWithSuffixes       kept                        added
 *   NoTranslation                    kept                        not added
 *
 *   gen_ai.client.operation.duration, "s"   gen_ai_client_operation_duration_seconds
 *   llm_cost_dollars, "", a counter         llm_cost_dollars_total
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

enum otlp_strategy {
    OTLP_UNDERSCORES_SUFFIXES,
    OTLP_UNDERSCORES,
    OTLP_UTF8_SUFFIXES,
    OTLP_UTF8,
    OTLP_STRATEGY_COUNT
};

/* "UnderscoreEscapingWithSuffixes", ...: as in the configuration. */
const char *otlp_strategy_name(enum otlp_strategy strategy);
bool otlp_strategy_parse(struct str name, enum otlp_strategy *out);

static inline bool otlp_keeps_utf8(enum otlp_strategy s)
{
    return s >= OTLP_UTF8_SUFFIXES;
}

static inline bool otlp_adds_suffixes(enum otlp_strategy s)
{
    return s == OTLP_UNDERSCORES_SUFFIXES || s == OTLP_UTF8_SUFFIXES;
}

/* What of a metric decides about its suffix. */
enum otlp_kind { OTLP_OTHER, OTLP_COUNTER, OTLP_GAUGE };

/* Appends a metric's name; nothing when it has no character that may be kept. */
void otlp_metric_name(struct buf *b, struct str name, struct str unit, enum otlp_kind kind,
                      enum otlp_strategy strategy);

/* Appends a unit in Prometheus' words, as metadata has it: "By/s" is bytes_per_second. */
void otlp_unit_name(struct buf *b, struct str unit);

/* How attribute names are changed besides their characters. */
struct otlp_label_rules {
    bool keep_utf8;      /* as they are */
    bool key_underscore; /* _x becomes key_x */
    bool keep_runs;      /* a__b stays, and does not become a_b */
};

/* Whether the name stands for itself under any rules: [A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*. */
bool otlp_label_is_plain(struct str name);

/* Appends the label for an attribute; false when it would have no letter or digit. */
MUST_USE bool otlp_label_name(struct buf *b, struct str name, const struct otlp_label_rules *rules);
