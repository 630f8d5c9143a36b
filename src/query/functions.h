/* functions.h -- the table of PromQL functions: one row adds a function to the parser, the type
 * checker and the evaluator.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "query/ast.h"
#include "query/value.h"

struct node;
struct query;

/* A window of samples of one series, staleness markers removed: what a range function sees at one
 * step. */
struct window {
    const int64_t *t_ms;
    const double *v;
    const struct histogram *const *h; /* NULL: floats only, as .over always sees them */
    const int64_t *since_ms;  /* NULL, or when each sample's counter began at zero; 0: unknown */
    size_t n;                 /* at least 1 */
    int64_t start_ms, end_ms; /* (start, end] after offset and @ */
    int64_t eval_ms;          /* the step's own time */
    const double
        *args;       /* the scalar arguments at this step, in order, the range argument left out */
    double *scratch; /* room for n values */
    /* For functions that want a counter: the value before each reset in the window, in order. */
    const double *before_resets;
    size_t n_resets;
    bool anchored, smoothed; /* the samples reach beyond (start, end]: by the lookback before the
                              * start, when smoothed also after the end */
};

/* Where a range function is called, and for which series. */
struct over_site {
    struct query *q;
    const struct node *call;
    struct labels labels; /* of the input, name included */
};

/* What a range function gives at one step: absent(), a float, or a histogram in the scratch arena or
 * of the window, v then being any number. */
struct outcome {
    double v;
    const struct histogram *h;
};

/* *out is absent() before. */
typedef enum errc over_histograms(const struct over_site *site, const struct window *w,
                                  struct outcome *out, struct err *err);

/* What .over makes of histograms in a window when there is no .histograms. */
enum over_kind {
    OVER_FLOATS, /* it sees the floats alone, with an info; nothing comes of histograms alone */
    OVER_SAMPLES /* it looks at times only, so histograms are samples like others */
};

enum { FUNC_MAX_ARGS = 8 };

struct func {
    const char *name;
    enum value_type returns;
    enum value_type args[FUNC_MAX_ARGS]; /* of the fixed arguments */
    uint8_t min_args, n_args;            /* of the fixed ones */
    bool variadic;                       /* the last type may repeat */
    uint8_t max_args; /* of a variadic one: how many arguments at most, 0 for any number */
    bool keeps_name;
    bool wants_counter; /* gets window.before_resets; an info when the metric's name does not look
                         * like a counter's */
    bool wants_starts;  /* gets window.since_ms when there are any */
    enum over_kind over_kind;
    /* At most one of these; start(), end(), range() and step() have none: preparation makes numbers
     * of them. */
    double (*each)(double v); /* instant vector, sample by sample */
    double (*over)(
        const struct window *w); /* range vector: the result at one step, stale_nan() for none */
    enum errc (*eval)(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err);
    /* With .over, may be NULL: called in its place for windows with histograms. */
    over_histograms *histograms;
    /* With .over, may be NULL: called before it with the scalar arguments of each step at which
     * some series has a window; refuses them or annotates. */
    enum errc (*check)(struct query *q, const struct node *call, const double *args,
                       struct err *err);
};

/* The function of that name, or NULL. */
const struct func *func_find(struct str name);

/* All of them, sorted by name. */
extern const struct func funcs[];
extern const size_t n_funcs;
