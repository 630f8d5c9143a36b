/* rule_eval.h -- running a rule's query and giving the result the labels and annotations the rule
 * says.
 *
 * What comes out is not stored and changes no state: group.c does that.
 *
 * Threads: any; nothing is shared.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alert/alert_state.h"
#include "alert/rule.h"
#include "base/err.h"
#include "query/query.h"
#include "storage/labels.h"

struct arena;
struct rule_settings;

struct rule_context {
    const struct query_options *query;
    const struct rule_settings *settings;
    int64_t t_ms;            /* of the evaluation */
    int64_t query_offset_ms; /* the query looks this far back */
    struct arena *arena;     /* for everything that comes out */
};

/* Zero-initialise it; free it with rule_output_free(), before the arena. */
struct rule_output {
    /* By hash, then labels, each label set once; of a recording rule without annotations. */
    struct alert_input *items;
    size_t n;
    uint64_t expansions, expansion_failures; /* of templates */
    struct query_result *result;             /* private: owns texts of the labels */
};
void rule_output_free(struct rule_output *out);

/* Evaluates. A template that fails becomes `<error expanding template: …>`, and is logged once a
 * rule. Errors as query_instant(), and ERR_EXECUTION `rule result is not a vector or scalar`,
 * `vector contains metrics with the same labelset after applying rule labels` (or `alert labels`);
 * ERR_LIMIT when the arena is full. */
MUST_USE enum errc rule_eval(const struct rule *rule, const struct rule_context *c,
                             struct rule_output *out, struct err *err);

/* base with the pairs of over in it; an empty value of over deletes. In the arena, sharing texts.
 * ERR_LIMIT. */
MUST_USE enum errc labels_merge(struct labels base, struct labels over, struct arena *a,
                                struct labels *out);
