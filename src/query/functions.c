/* functions.c -- the table, and the functions of one float.
 *
 * Library functions follow Prometheus' own definitions where those differ from the C library's in
 * the last bits: log2 is exact for powers of two, log10 is a multiple of log2.
 */
#include "query/functions.h"

#include <math.h>
#include <string.h>

#include "query/functions_impl.h"

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

/* clang-format off */
#define V TYPE_VECTOR
#define R TYPE_MATRIX
#define S TYPE_SCALAR
#define T TYPE_STRING

const struct func funcs[] = {
    /* name, returns, arguments, least, fixed arguments */
    { "abs", V, { V }, 1, 1, .each = fabs },
    { "absent", V, { V }, 1, 1, .eval = NULL },
    { "absent_over_time", V, { R }, 1, 1, .eval = NULL },
    { "acos", V, { V }, 1, 1, .each = acos },
    { "acosh", V, { V }, 1, 1, .each = acosh },
    { "asin", V, { V }, 1, 1, .each = asin },
    { "asinh", V, { V }, 1, 1, .each = asinh },
    { "atan", V, { V }, 1, 1, .each = atan },
    { "atanh", V, { V }, 1, 1, .each = atanh },
    { "avg_over_time", V, { R }, 1, 1, .eval = NULL },
    { "ceil", V, { V }, 1, 1, .each = ceil },
    { "changes", V, { R }, 1, 1, .eval = NULL },
    { "clamp", V, { V, S, S }, 3, 3, .eval = NULL },
    { "clamp_max", V, { V, S }, 2, 2, .eval = NULL },
    { "clamp_min", V, { V, S }, 2, 2, .eval = NULL },
    { "cos", V, { V }, 1, 1, .each = cos },
    { "cosh", V, { V }, 1, 1, .each = cosh },
    { "count_over_time", V, { R }, 1, 1, .eval = NULL },
    { "day_of_month", V, { V }, 0, 1, .eval = NULL },
    { "day_of_week", V, { V }, 0, 1, .eval = NULL },
    { "day_of_year", V, { V }, 0, 1, .eval = NULL },
    { "days_in_month", V, { V }, 0, 1, .eval = NULL },
    { "deg", V, { V }, 1, 1, .each = deg_each },
    { "delta", V, { R }, 1, 1, .eval = NULL },
    { "deriv", V, { R }, 1, 1, .eval = NULL },
    { "double_exponential_smoothing", V, { R, S, S }, 3, 3, .eval = NULL },
    { "end", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "exp", V, { V }, 1, 1, .each = exp },
    { "first_over_time", V, { R }, 1, 1, .keeps_name = true },
    { "floor", V, { V }, 1, 1, .each = floor },
    { "histogram_avg", V, { V }, 1, 1, .eval = NULL },
    { "histogram_count", V, { V }, 1, 1, .eval = NULL },
    { "histogram_fraction", V, { S, S, V }, 3, 3, .eval = NULL },
    { "histogram_quantile", V, { S, V }, 2, 2, .eval = NULL },
    { "histogram_quantiles", V, { V, T, S }, 3, 3, .variadic = true, .max_args = 12 },
    { "histogram_stddev", V, { V }, 1, 1, .eval = NULL },
    { "histogram_stdvar", V, { V }, 1, 1, .eval = NULL },
    { "histogram_sum", V, { V }, 1, 1, .eval = NULL },
    { "hour", V, { V }, 0, 1, .eval = NULL },
    { "idelta", V, { R }, 1, 1, .eval = NULL },
    { "increase", V, { R }, 1, 1, .wants_counter = true },
    { "info", V, { V, V }, 1, 2, .keeps_name = true },
    { "irate", V, { R }, 1, 1, .eval = NULL },
    { "label_join", V, { V, T, T, T }, 3, 4, .keeps_name = true, .variadic = true },
    { "label_replace", V, { V, T, T, T, T }, 5, 5, .keeps_name = true },
    { "last_over_time", V, { R }, 1, 1, .keeps_name = true },
    { "ln", V, { V }, 1, 1, .each = log },
    { "log10", V, { V }, 1, 1, .each = log10_each },
    { "log2", V, { V }, 1, 1, .each = log2_each },
    { "mad_over_time", V, { R }, 1, 1, .eval = NULL },
    { "max_of", S, { S, S }, 2, 2, .eval = NULL },
    { "max_over_time", V, { R }, 1, 1, .eval = NULL },
    { "min_of", S, { S, S }, 2, 2, .eval = NULL },
    { "min_over_time", V, { R }, 1, 1, .eval = NULL },
    { "minute", V, { V }, 0, 1, .eval = NULL },
    { "month", V, { V }, 0, 1, .eval = NULL },
    { "pi", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "predict_linear", V, { R, S }, 2, 2, .eval = NULL },
    { "present_over_time", V, { R }, 1, 1, .eval = NULL },
    { "quantile_over_time", V, { S, R }, 2, 2, .eval = NULL },
    { "rad", V, { V }, 1, 1, .each = rad_each },
    { "range", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "rate", V, { R }, 1, 1, .wants_counter = true },
    { "resets", V, { R }, 1, 1, .eval = NULL },
    { "round", V, { V, S }, 1, 2, .eval = NULL },
    { "scalar", S, { V }, 1, 1, .eval = NULL },
    { "sgn", V, { V }, 1, 1, .each = sgn_each },
    { "sin", V, { V }, 1, 1, .each = sin },
    { "sinh", V, { V }, 1, 1, .each = sinh },
    { "sort", V, { V }, 1, 1, .keeps_name = true },
    { "sort_by_label", V, { V, T }, 1, 2, .keeps_name = true, .variadic = true },
    { "sort_by_label_desc", V, { V, T }, 1, 2, .keeps_name = true, .variadic = true },
    { "sort_desc", V, { V }, 1, 1, .keeps_name = true },
    { "sqrt", V, { V }, 1, 1, .each = sqrt },
    { "start", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "start_timestamp", V, { V }, 1, 1, .eval = NULL },
    { "stddev_over_time", V, { R }, 1, 1, .eval = NULL },
    { "stdvar_over_time", V, { R }, 1, 1, .eval = NULL },
    { "step", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "sum_over_time", V, { R }, 1, 1, .eval = NULL },
    { "tan", V, { V }, 1, 1, .each = tan },
    { "tanh", V, { V }, 1, 1, .each = tanh },
    { "time", S, { TYPE_NONE }, 0, 0, .eval = NULL },
    { "timestamp", V, { V }, 1, 1, .eval = NULL },
    { "ts_of_first_over_time", V, { R }, 1, 1, .eval = NULL },
    { "ts_of_last_over_time", V, { R }, 1, 1, .eval = NULL },
    { "ts_of_max_over_time", V, { R }, 1, 1, .eval = NULL },
    { "ts_of_min_over_time", V, { R }, 1, 1, .eval = NULL },
    { "vector", V, { S }, 1, 1, .eval = NULL },
    { "year", V, { V }, 0, 1, .eval = NULL },
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
