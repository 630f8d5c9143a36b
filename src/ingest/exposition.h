/* exposition.h -- the text formats in which programs expose metrics, to batches for db_append():
 * Prometheus' text format (0.0.4, and 1.0.0 with quoted names) and OpenMetrics 1.0.
 *
 *   # TYPE llm_requests_total counter
 *   llm_requests_total{model="gpt-4o",status="ok"} 17 1700000000000
 *
 * Read in parts, so that a text of any size takes the memory of a part only:
 *
 *   exposition_begin(&x, &options, text);
 *   while (!(rc = exposition_next(&x, 10000, &err)) && x.batch.n_series)
 *       db_append(... &x.batch ...);
 *
 * A line that is wrong costs itself only: it is counted and named with its number, and what is wrong
 * with it. White space is taken freely in both formats, and empty lines too; OpenMetrics must end
 * with # EOF, by which a text that was cut short is told from a whole one.
 *
 * As Prometheus does since 3.0, le and quantile of histograms and summaries are written as floats
 * ("1.0"), so that the same series comes from every client. OpenMetrics' _created samples become
 * start times. No text can carry a staleness marker: every NaN is the same.
 *
 * Texts are not copied where they can stand as they came: a batch points into the text and into
 * memory of struct exposition.
 *
 * Threads: one struct exposition belongs to one text at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "storage/db.h"

struct arena;

enum {
    EXPOSITION_MAX_LABELS = 256, /* of a line; the store has a lower limit of its own */
    EXPOSITION_SHAPE_LABELS = 32,
    EXPOSITION_MAX_NAMED = 10 /* lines described in text; the rest is counted */
};

struct exposition_options {
    bool openmetrics;
    bool refuse_times;         /* a line with a timestamp is wrong */
    int64_t default_t_ms;      /* of a line without one */
    const struct label *extra; /* put into every series, in place of a label of that name; legacy
                                  names, sorted; an empty value removes the label */
    size_t n_extra;
};

/* Zero-initialise it; free it with exposition_free(). */
struct exposition {
    struct write_batch batch; /* after OK; valid until the next call */
    uint32_t *families;       /* of each series: index into metadata, UINT32_MAX for none */
    uint64_t n_bad_lines;     /* since exposition_begin() */
    uint64_t n_samples;       /* the same */
    struct buf text;          /* a line for each of the first bad ones */

    /* private from here on */
    const struct exposition_options *options;
    const char *begin, *p, *end;
    size_t line;
    bool ended; /* # EOF was read */
    const char *fault;
    struct str fault_at; /* what stands there */
    struct arena *arena; /* unescaped texts, of the part */
    struct arena *kept;  /* of the whole text: metadata */
    struct label *labels;
    struct write_series *series;
    struct sample *samples;
    int64_t *starts;
    struct exemplar *exemplars;
    struct metric_metadata *metadata;
    size_t n_labels, cap_labels, cap_series, cap_samples, cap_starts, cap_exemplars, cap_metadata,
        cap_families, n_metadata, n_written_metadata;
    uint32_t family;                             /* of the last TYPE, HELP or UNIT line */
    struct label set[EXPOSITION_MAX_LABELS + 2]; /* of the line */
    size_t n_set;
    struct { /* the labels of the line before: the next one mostly has the same names in the same
              * order, so that its values go straight to their places */
        struct label set[EXPOSITION_SHAPE_LABELS + 1];
        struct str names[EXPOSITION_SHAPE_LABELS]; /* as they stand in the text, with =" */
        uint8_t at[EXPOSITION_SHAPE_LABELS];       /* where in set the value of each belongs */
        size_t n, name_at;                         /* name_at: that of the metric */
        bool known;
    } shape;
    struct {
        struct str text, number;
    } bounds[64]; /* le and quantile values that were seen */
};

/* Begins a text, which must stay until the end. ERR_NOMEM. */
MUST_USE enum errc exposition_begin(struct exposition *x, const struct exposition_options *options,
                                    struct str text, struct err *err);

/* Reads lines until there are max samples. At the end of the text the batch has no series (and the
 * metadata that came last). ERR_NOMEM. */
MUST_USE enum errc exposition_next(struct exposition *x, size_t max, struct err *err);

/* The family that a series of the batch belongs to, by name and TYPE lines: llm_latency_seconds for
 * llm_latency_seconds_bucket. Without a TYPE line the series' own name. */
struct str exposition_family(const struct exposition *x, size_t series);

/* Forgets the text; keeps memory for one of a usual size and gives the rest back. */
void exposition_recycle(struct exposition *x);

void exposition_free(struct exposition *x); /* leaves it zeroed */
