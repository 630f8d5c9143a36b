/* template.h -- the templates of alert labels and annotations: Go's text/template with Prometheus' functions.
 *
 * Results are byte by byte those of Prometheus (missingkey=zero), but for what is undefined or odd
 * there: the result of query() is sorted by its labels and prints as values, not as addresses; a
 * duration beyond 2^63 s is cut to that. Errors have Go's words, with lines and columns (from 0, in
 * bytes) in the text itself. As there, {{define}} sees none of the variables but "$".
 *
 * An expansion has limits on nesting, steps and output, so that a template can neither hang nor
 * exhaust the server: 256 KiB of text, 1 MiB of output, 100 levels (500 when templates call each
 * other), 200,000 steps.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/labels.h"

struct arena;

/* A sample that query() yields. */
struct template_sample {
    struct labels labels;
    double v;
    struct str histogram; /* the text of a native histogram, which stands in place of v */
};

struct template_data {
    struct labels labels;          /* $labels: of the series, with __name__ */
    double value;                  /* $value */
    struct str histogram;          /* $value when it is a native histogram: its text; else empty */
    struct labels external_labels; /* $externalLabels */
    struct str external_url;       /* $externalURL */
    int64_t now_ms;                /* the evaluation's time */
    /* Runs a PromQL query at now_ms; results in the arena. NULL: query() is an error. */
    enum errc (*query)(void *ctx, struct str text, struct arena *a, struct template_sample **out,
                       size_t *n, struct err *err);
    void *query_ctx;
};

/* Whether text parses. ERR_BAD_CONFIG with Prometheus' wording (`template: NAME:LINE: function "x" not defined`), err->pos
 * the byte offset of the fault in text. */
MUST_USE enum errc template_check(struct str name, struct str text, struct arena *a,
                                  struct err *err);

/* Appends the expansion of text to out. ERR_BAD_CONFIG (does not parse), ERR_EXECUTION (`error executing template NAME:
 * template: NAME:1:10: executing "NAME" at <…>: …`), ERR_LIMIT. */
MUST_USE enum errc template_expand(struct str name, struct str text,
                                   const struct template_data *data, struct arena *a,
                                   struct buf *out, struct err *err);
