/* api_metrics_rules.c -- metrics of rules and notifications, under the names that existing alert
 * packs ask for. */
#include <inttypes.h>

#include "alert/manager.h"
#include "alert/notifier.h"
#include "base/arena.h"
#include "http/api_private.h"

#include "base/banned.h"

/* A label value: \, " and line ends escaped. */
static void add_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n') {
            buf_text(b, "\\n");
            continue;
        }
        if (s.ptr[i] == '\\' || s.ptr[i] == '"')
            buf_u8(b, '\\');
        buf_u8(b, (uint8_t)s.ptr[i]);
    }
}

/* ---- groups ---- */

enum kind { COUNT, SECONDS, MILLISECONDS, SIZE };

static const struct {
    const char *name, *type, *help;
    enum kind kind; /* uint64_t, double, int64_t (shown in seconds), size_t */
    size_t at;      /* in struct group_status */
} group_rows[] = {
    { "prometheus_rule_evaluations_total", "counter", "Evaluations of rules.", COUNT,
      offsetof(struct group_status, evaluations) },
    { "prometheus_rule_evaluation_failures_total", "counter", "Evaluations of rules that failed.",
      COUNT, offsetof(struct group_status, failures) },
    { "prometheus_rule_group_iterations_total", "counter",
      "Times a group was due, missed ones included.", COUNT,
      offsetof(struct group_status, iterations) },
    { "prometheus_rule_group_iterations_missed_total", "counter",
      "Times a group was due and not evaluated.", COUNT, offsetof(struct group_status, missed) },
    { "prometheus_rule_group_interval_seconds", "gauge", "Time between evaluations.", MILLISECONDS,
      offsetof(struct group_status, interval_ms) },
    { "prometheus_rule_group_last_evaluation_timestamp_seconds", "gauge",
      "When the last evaluation began.", MILLISECONDS,
      offsetof(struct group_status, last_evaluation_ms) },
    { "prometheus_rule_group_last_duration_seconds", "gauge", "How long the last evaluation took.",
      SECONDS, offsetof(struct group_status, evaluation_seconds) },
    { "prometheus_rule_group_last_rule_duration_sum_seconds", "gauge",
      "How long its rules took, added up.", SECONDS, offsetof(struct group_status, rule_seconds) },
    { "prometheus_rule_group_last_restore_duration_seconds", "gauge",
      "How long reading back the states of alerts took.", SECONDS,
      offsetof(struct group_status, restore_seconds) },
    { "prometheus_rule_group_rules", "gauge", "Rules in the group.", SIZE,
      offsetof(struct group_status, n_rules) },
    { "prometheus_rule_group_last_evaluation_samples", "gauge",
      "Samples that the last evaluation yielded.", COUNT, offsetof(struct group_status, samples) },
};

static double field(const struct group_status *g, enum kind kind, size_t at)
{
    const char *p = (const char *)g + at;
    uint64_t count;
    int64_t ms;
    size_t size;
    double seconds;

    switch (kind) {
    case COUNT:
        memcpy(&count, p, sizeof count);
        return (double)count;
    case SECONDS:
        memcpy(&seconds, p, sizeof seconds);
        return seconds;
    case MILLISECONDS:
        memcpy(&ms, p, sizeof ms);
        return (double)ms / 1000;
    case SIZE:
        memcpy(&size, p, sizeof size);
        return (double)size;
    }
    return 0;
}

static void add_groups(struct buf *b, const struct group_status *groups, size_t n)
{
    uint64_t expansions = 0, failures = 0;

    for (size_t i = 0; i < ARRAY_LEN(group_rows); i++) {
        metric_family(b, group_rows[i].name, group_rows[i].type, group_rows[i].help);
        for (size_t k = 0; k < n; k++) {
            buf_printf(b, "%s{rule_group=\"", group_rows[i].name);
            add_escaped(b, groups[k].file);
            buf_u8(b, ';');
            add_escaped(b, groups[k].name);
            buf_text(b, "\"}");
            metric_value(b, field(&groups[k], group_rows[i].kind, group_rows[i].at));
        }
    }
    for (size_t k = 0; k < n; k++) {
        expansions += groups[k].expansions;
        failures += groups[k].expansion_failures;
    }
    metric_single(b, "prometheus_template_text_expansions_total", "counter",
                  "Templates of alerts expanded.", (double)expansions);
    metric_single(b, "prometheus_template_text_expansion_failures_total", "counter",
                  "Templates of alerts that failed.", (double)failures);
}

/* ---- notifications ---- */

static const struct {
    const char *name, *type, *help;
    size_t at; /* of a uint64_t in struct alertmanager_status */
} notifier_rows[] = {
    { "prometheus_notifications_sent_total", "counter", "Alerts sent.",
      offsetof(struct alertmanager_status, sent) },
    { "prometheus_notifications_errors_total", "counter", "Alerts whose sending failed.",
      offsetof(struct alertmanager_status, errors) },
    { "prometheus_notifications_dropped_total", "counter", "Alerts given up.",
      offsetof(struct alertmanager_status, dropped) },
    { "prometheus_notifications_queue_length", "gauge", "Alerts that wait to be sent.",
      offsetof(struct alertmanager_status, queue_length) },
    { "prometheus_notifications_latency_seconds_count", NULL, NULL,
      offsetof(struct alertmanager_status, requests) },
};

static void add_alertmanager(struct buf *b, const char *name, struct str url)
{
    buf_printf(b, "%s{alertmanager=\"", name);
    add_escaped(b, url);
    buf_text(b, "\"}");
}

static void add_notifications(struct buf *b, const struct alertmanager_status *items, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(notifier_rows); i++) {
        if (notifier_rows[i].type)
            metric_family(b, notifier_rows[i].name, notifier_rows[i].type, notifier_rows[i].help);
        else
            metric_family(b, "prometheus_notifications_latency_seconds", "summary",
                          "How long an Alertmanager took to answer.");
        for (size_t k = 0; k < n; k++) {
            uint64_t v;

            memcpy(&v, (const char *)&items[k] + notifier_rows[i].at, sizeof v);
            add_alertmanager(b, notifier_rows[i].name, items[k].url);
            metric_value(b, (double)v);
        }
    }
    for (size_t k = 0; k < n; k++) {
        add_alertmanager(b, "prometheus_notifications_latency_seconds_sum", items[k].url);
        metric_value(b, items[k].latency_seconds_sum);
    }
    metric_single(b, "prometheus_notifications_queue_capacity", "gauge",
                  "Alerts that may wait for each Alertmanager.",
                  (double)notifier_options_default().max_queued);
    metric_single(b, "prometheus_notifications_alertmanagers_discovered", "gauge",
                  "Alertmanagers that are told.", (double)n);
}

void api_metrics_rules(struct buf *b, const struct api *api)
{
    struct rule_manager *rules = atomic_load(&api->rules);
    struct notifier *notifier = atomic_load(&api->notifier);
    struct arena *arena = arena_new(API_MAX_RULES_BYTES);
    struct alertmanager_status *alertmanagers = NULL;
    struct group_status *groups = NULL;
    size_t n;

    if (arena && rules && rule_manager_status(rules, arena, &groups, &n, NULL) == OK)
        add_groups(b, groups, n);
    if (arena && notifier && notifier_status(notifier, arena, &alertmanagers, &n, NULL) == OK)
        add_notifications(b, alertmanagers, n);
    arena_free(arena);
}
