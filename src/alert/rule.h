/* rule.h -- rules and groups as a rules file defines them (Prometheus' format), and reading such
 * files.
 *
 * A set of groups is immutable once loaded; it owns its memory. Every fault of a file is listed
 * with file, line and column, the place inside a PromQL expression or template included.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/err.h"
#include "storage/labels.h"

struct arena;
struct node;

enum rule_kind { RULE_RECORDING, RULE_ALERTING };

struct rule {
    enum rule_kind kind;
    struct str name;   /* record or alert */
    struct str expr;   /* canonical text: what the API shows and what is evaluated */
    struct node *tree; /* of expr, checked: a scalar or an instant vector; owned by the set */
    int64_t for_ms, keep_firing_for_ms;
    struct labels labels;      /* the group's merged under the rule's, sorted; templates of alerts
                             unexpanded; an empty value removes a label */
    struct labels annotations; /* templates; sorted by name, an empty value is kept */
    uint32_t line, col;        /* of the rule in its file */
};

struct rule_group {
    struct str file, name;
    int64_t interval_ms;     /* 0: the configuration's default */
    int64_t query_offset_ms; /* -1: the configuration's default */
    uint32_t limit;          /* 0: none */
    struct rule *rules;
    size_t n_rules;
};

struct rule_set {
    struct arena *arena; /* owns all */
    struct rule_group *groups;
    size_t n_groups, cap_groups;
    bool ignore_unknown; /* set it before reading: fields that are not known are no faults */
};

/* Reads one file's text and adds its groups to the set. ERR_BAD_CONFIG when it had errors (the set
 * must only be freed then), ERR_NOMEM. */
MUST_USE enum errc rules_read(struct str text, const char *file, struct rule_set *set,
                              struct diags *d);

/* Warns of what is legal but surely not meant: rules of one file with the same name and labels. */
MUST_USE enum errc rules_lint(const struct rule_set *set, struct diags *d);

/* Reads files (paths as given, no globs) and lints them. d names what is wrong, a file that cannot
 * be read too. */
MUST_USE enum errc rules_load(const char *const *paths, size_t n, struct rule_set **out,
                              struct diags *d);

struct rule_set *rule_set_new(void);      /* NULL when out of memory */
void rule_set_free(struct rule_set *set); /* NULL is fine */
