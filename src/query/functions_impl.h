/* functions_impl.h -- the functions that rows of functions.c name but other files define. Internal
 * to src/query.
 *
 * A function is added in three places: its definition in a file of its kind, its line here, and its
 * row's field in functions.c.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "query/ast.h"
#include "query/functions.h"
#include "query/value.h"

struct node;
struct query;

/* What every .eval is. */
typedef enum errc func_eval(struct query *q, const struct node *call, sink *to, void *ctx,
                            struct err *err);

/* functions_math.c */
func_eval call_round, call_clamp, call_clamp_min, call_clamp_max, call_min_of, call_max_of;

/* functions_time.c */
func_eval call_time, call_pi, call_vector, call_scalar, call_absent;
func_eval call_minute, call_hour, call_day_of_week, call_day_of_month, call_day_of_year,
    call_days_in_month, call_month, call_year;

/* The labels that absent() and absent_over_time() give: those the selector arg asks for by `=`,
 * when arg is one. ERR_LIMIT. */
MUST_USE enum errc absent_labels(struct query *q, const struct node *arg, struct labels *out,
                                 struct err *err);

/* functions_label.c */
func_eval call_label_replace, call_label_join;
func_eval call_sort, call_sort_desc, call_sort_by_label, call_sort_by_label_desc;

/* Natural order: runs of digits compare as numbers, other runs as bytes. */
bool natural_before(struct str a, struct str b);

/* functions_histogram.c */
func_eval call_histogram_quantile, call_histogram_quantiles, call_histogram_fraction;

/* functions_native.c */
func_eval call_histogram_count, call_histogram_sum, call_histogram_avg, call_histogram_stddev,
    call_histogram_stdvar;

/* functions_info.c */
func_eval call_info;

/* Where a call of info() looks up info series: at the offset and @ of its first argument. After
 * preparation of the arguments. */
struct modifiers info_modifiers(const struct node *call);

/* range.c, eval.c */
func_eval call_absent_over_time, call_timestamp, call_start_timestamp;
