/* range_functions.h -- functions over one window of one series: what rows of functions.c name.
 *
 * Each gives the function's value, or stale_nan() for none. The order of operations is Prometheus',
 * so that results agree to the last bit. rate, increase, delta, resets and changes know the windows
 * of anchored and smoothed selectors, which reach beyond (start, end].
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "query/functions.h"

struct node;
struct query;

typedef double over_function(const struct window *w);

over_function rate_over, increase_over, delta_over, irate_over, idelta_over;
over_function resets_over, changes_over;
over_function deriv_over, predict_linear_over, double_exponential_smoothing_over;
over_function sum_over, avg_over, count_over, min_over, max_over, stddev_over, stdvar_over;
over_function mad_over, quantile_over, first_over, last_over, present_over;
over_function ts_of_min_over, ts_of_max_over, ts_of_first_over, ts_of_last_over;

/* How far the growth seen between the first and the last sample of a window (n >= 2) is stretched:
 * seconds. A counter that would pass zero on the way to the start is stretched less. */
struct extrapolation {
    double sampled, to_start, to_end;
};
void extrapolation_of(const struct window *w, struct extrapolation *out);

/* Whether the counter of sample i (1 or later) was reset after the sample before: its start time
 * says so. False when that is not known. */
bool window_start_reset(const struct window *w, size_t i);

/* Whether the counter of the first sample began inside the window, before that sample. */
bool window_is_born_inside(const struct window *w);

/* What the growth of a window is multiplied by: stretched to the window's borders, a counter (whose
 * first sample and growth are given) no further than to zero, and per second if is_rate. */
double growth_factor(const struct window *w, double first, double growth, bool is_counter,
                     bool is_rate);

/* The sample to start counting from: the newest at or before the start of an anchored window, whose
 * samples reach further back; w->n when the window itself has none. */
size_t window_count_from(const struct window *w);

/* Leaves the last n samples. */
void window_cut_to_last(struct window *w, size_t n);

/* The length of a window. */
double window_seconds(const struct window *w);

/* The values at both ends of a window of an anchored or smoothed range: those of the nearest
 * samples (anchored) or interpolated (smoothed; is_counter: from zero after a reset). False when
 * nothing happened after the window's start. */
struct borders {
    size_t first, last; /* the samples used, inside the borders or just beyond */
    double left, right;
};
bool window_borders(const struct window *w, bool is_counter, struct borders *out);

/* The .check of double_exponential_smoothing and quantile_over_time. */
MUST_USE enum errc check_smoothing(struct query *q, const struct node *call, const double *args,
                                   struct err *err);
MUST_USE enum errc check_quantile_over(struct query *q, const struct node *call, const double *args,
                                       struct err *err);
