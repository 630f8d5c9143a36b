/* functions.c -- the table, and the functions of one float.
 *
 * Library functions follow Prometheus' own definitions where those differ from the C library's in
 * the last bits: log2 is exact for powers of two, log10 is a multiple of log2.
 */
#include "query/functions.h"

#include <math.h>
#include <string.h>

#include "query/functions_impl.h"
#include "query/range_functions.h"
#include "query/range_histograms.h"

#include "base/banned.h"

static double log2_each(double v)
{
    int exponent;
    double fraction = frexp(v, &exponent);

    if (!isfinite(v))
        return log(v);
    if (fraction == 0.5)
        return exponent - 1;
    return log(fraction) * M_LOG2E + exponent;
}

static double log10_each(double v)
{
    return log2_each(v) * 0.30102999566398119521; /* ln 2 / ln 10, rounded once */
}

static double deg_each(double v)
{
    return v * 180 / M_PI;
}

static double rad_each(double v)
{
    return v * M_PI / 180;
}

static double sgn_each(double v)
{
    return v < 0 ? -1 : v > 0 ? 1 : v;
}

/* start() and kin are numbers before a query is evaluated. */
/* clang-format off */
#define V TYPE_VECTOR
#define R TYPE_MATRIX
#define S TYPE_SCALAR
#define T TYPE_STRING

const struct func funcs[] = {
    /* name, returns, arguments, least, fixed arguments */
    { "abs", V, { V }, 1, 1, .each = fabs },
    { "absent", V, { V }, 1, 1, .eval = call_absent },
    { "absent_over_time", V, { R }, 1, 1, .eval = call_absent_over_time },
    { "acos", V, { V }, 1, 1, .each = acos },
    { "acosh", V, { V }, 1, 1, .each = acosh },
    { "asin", V, { V }, 1, 1, .each = asin },
    { "asinh", V, { V }, 1, 1, .each = asinh },
    { "atan", V, { V }, 1, 1, .each = atan },
    { "atanh", V, { V }, 1, 1, .each = atanh },
    { "avg_over_time", V, { R }, 1, 1, .over = avg_over, .histograms = avg_histograms },
    { "ceil", V, { V }, 1, 1, .each = ceil },
    { "changes", V, { R }, 1, 1, .over = changes_over, .histograms = changes_histograms },
    { "clamp", V, { V, S, S }, 3, 3, .eval = call_clamp },
    { "clamp_max", V, { V, S }, 2, 2, .eval = call_clamp_max },
    { "clamp_min", V, { V, S }, 2, 2, .eval = call_clamp_min },
    { "cos", V, { V }, 1, 1, .each = cos },
    { "cosh", V, { V }, 1, 1, .each = cosh },
    { "count_over_time", V, { R }, 1, 1, .over = count_over, .over_kind = OVER_SAMPLES },
    { "day_of_month", V, { V }, 0, 1, .eval = call_day_of_month },
    { "day_of_week", V, { V }, 0, 1, .eval = call_day_of_week },
    { "day_of_year", V, { V }, 0, 1, .eval = call_day_of_year },
    { "days_in_month", V, { V }, 0, 1, .eval = call_days_in_month },
    { "deg", V, { V }, 1, 1, .each = deg_each },
    { "delta", V, { R }, 1, 1, .over = delta_over, .histograms = delta_histograms },
    { "deriv", V, { R }, 1, 1, .over = deriv_over },
    { "double_exponential_smoothing", V, { R, S, S }, 3, 3, .over = double_exponential_smoothing_over, .check = check_smoothing },
    { "end", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "exp", V, { V }, 1, 1, .each = exp },
    { "first_over_time", V, { R }, 1, 1, .over = first_over, .keeps_name = true, .histograms = first_histograms },
    { "floor", V, { V }, 1, 1, .each = floor },
    { "histogram_avg", V, { V }, 1, 1, .eval = call_histogram_avg },
    { "histogram_count", V, { V }, 1, 1, .eval = call_histogram_count },
    { "histogram_fraction", V, { S, S, V }, 3, 3, .eval = call_histogram_fraction },
    { "histogram_quantile", V, { S, V }, 2, 2, .eval = call_histogram_quantile },
    { "histogram_quantiles", V, { V, T, S }, 3, 3, .eval = call_histogram_quantiles, .variadic = true, .max_args = 12 },
    { "histogram_stddev", V, { V }, 1, 1, .eval = call_histogram_stddev },
    { "histogram_stdvar", V, { V }, 1, 1, .eval = call_histogram_stdvar },
    { "histogram_sum", V, { V }, 1, 1, .eval = call_histogram_sum },
    { "hour", V, { V }, 0, 1, .eval = call_hour },
    { "idelta", V, { R }, 1, 1, .over = idelta_over, .histograms = idelta_histograms },
    { "increase", V, { R }, 1, 1, .over = increase_over, .wants_counter = true, .histograms = increase_histograms, .wants_starts = true },
    { "info", V, { V, V }, 1, 2, .eval = call_info, .keeps_name = true },
    { "irate", V, { R }, 1, 1, .over = irate_over, .histograms = irate_histograms, .wants_starts = true },
    { "label_join", V, { V, T, T, T }, 3, 4, .eval = call_label_join, .keeps_name = true, .variadic = true },
    { "label_replace", V, { V, T, T, T, T }, 5, 5, .eval = call_label_replace, .keeps_name = true },
    { "last_over_time", V, { R }, 1, 1, .over = last_over, .keeps_name = true, .histograms = last_histograms },
    { "ln", V, { V }, 1, 1, .each = log },
    { "log10", V, { V }, 1, 1, .each = log10_each },
    { "log2", V, { V }, 1, 1, .each = log2_each },
    { "mad_over_time", V, { R }, 1, 1, .over = mad_over },
    { "max_of", S, { S, S }, 2, 2, .eval = call_max_of },
    { "max_over_time", V, { R }, 1, 1, .over = max_over },
    { "min_of", S, { S, S }, 2, 2, .eval = call_min_of },
    { "min_over_time", V, { R }, 1, 1, .over = min_over },
    { "minute", V, { V }, 0, 1, .eval = call_minute },
    { "month", V, { V }, 0, 1, .eval = call_month },
    { "pi", S, { TYPE_NONE }, 0, 0, .eval = call_pi },
    { "predict_linear", V, { R, S }, 2, 2, .over = predict_linear_over },
    { "present_over_time", V, { R }, 1, 1, .over = present_over, .over_kind = OVER_SAMPLES },
    { "quantile_over_time", V, { S, R }, 2, 2, .over = quantile_over, .check = check_quantile_over },
    { "rad", V, { V }, 1, 1, .each = rad_each },
    { "range", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "rate", V, { R }, 1, 1, .over = rate_over, .wants_counter = true, .histograms = rate_histograms, .wants_starts = true },
    { "resets", V, { R }, 1, 1, .over = resets_over, .histograms = resets_histograms, .wants_starts = true },
    { "round", V, { V, S }, 1, 2, .eval = call_round },
    { "scalar", S, { V }, 1, 1, .eval = call_scalar },
    { "sgn", V, { V }, 1, 1, .each = sgn_each },
    { "sin", V, { V }, 1, 1, .each = sin },
    { "sinh", V, { V }, 1, 1, .each = sinh },
    { "sort", V, { V }, 1, 1, .eval = call_sort, .keeps_name = true },
    { "sort_by_label", V, { V, T }, 1, 2, .eval = call_sort_by_label, .keeps_name = true, .variadic = true },
    { "sort_by_label_desc", V, { V, T }, 1, 2, .eval = call_sort_by_label_desc, .keeps_name = true, .variadic = true },
    { "sort_desc", V, { V }, 1, 1, .eval = call_sort_desc, .keeps_name = true },
    { "sqrt", V, { V }, 1, 1, .each = sqrt },
    { "start", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "start_timestamp", V, { V }, 1, 1, .eval = call_start_timestamp },
    { "stddev_over_time", V, { R }, 1, 1, .over = stddev_over },
    { "stdvar_over_time", V, { R }, 1, 1, .over = stdvar_over },
    { "step", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "sum_over_time", V, { R }, 1, 1, .over = sum_over, .histograms = sum_histograms },
    { "tan", V, { V }, 1, 1, .each = tan },
    { "tanh", V, { V }, 1, 1, .each = tanh },
    { "time", S, { TYPE_NONE }, 0, 0, .eval = call_time },
    { "timestamp", V, { V }, 1, 1, .eval = call_timestamp },
    { "ts_of_first_over_time", V, { R }, 1, 1, .over = ts_of_first_over, .over_kind = OVER_SAMPLES },
    { "ts_of_last_over_time", V, { R }, 1, 1, .over = ts_of_last_over, .over_kind = OVER_SAMPLES },
    { "ts_of_max_over_time", V, { R }, 1, 1, .over = ts_of_max_over },
    { "ts_of_min_over_time", V, { R }, 1, 1, .over = ts_of_min_over },
    { "vector", V, { S }, 1, 1, .eval = call_vector },
    { "year", V, { V }, 0, 1, .eval = call_year },
};
/* clang-format on */

const size_t n_funcs = ARRAY_LEN(funcs);

const struct func *func_find(struct str name)
{
    size_t lo = 0, hi = n_funcs;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(name, str_from(funcs[mid].name));

        if (c == 0)
            return &funcs[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
