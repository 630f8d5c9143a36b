/* range_functions.c -- see the header. Windows hold ordinary samples only; comparisons with NaN are
 * false, as in Prometheus.
 */
#include "query/range_functions.h"

#include <math.h>

#include "base/number.h"
#include "query/compensated.h"
#include "query/eval.h"
#include "query/quantile.h"

#include "base/banned.h"

static double seconds(int64_t from_ms, int64_t to_ms)
{
    return (double)(to_ms - from_ms) / 1000;
}

/* As Go's Duration.Seconds(): whole seconds and the rest apart. */
double window_seconds(const struct window *w)
{
    int64_t ms = w->end_ms - w->start_ms;

    return (double)(ms / 1000) + (double)(ms % 1000 * 1000000) / 1e9;
}

/* ---- rate and kin ---- */

/* How much a counter grew: last - first, and what each reset hid. */
static double counter_increase(const struct window *w)
{
    double result = w->v[w->n - 1] - w->v[0];

    for (size_t i = 0; i < w->n_resets; i++)
        result += w->before_resets[i];
    return result;
}

/* To the window's borders where samples are close to them, else by half a gap. */
void extrapolation_of(const struct window *w, struct extrapolation *out)
{
    size_t n = w->n;
    double gap;

    out->to_start = seconds(w->start_ms, w->t_ms[0]);
    out->to_end = seconds(w->t_ms[n - 1], w->end_ms);
    out->sampled = seconds(w->t_ms[0], w->t_ms[n - 1]);
    gap = out->sampled / (double)(n - 1);
    if (out->to_start >= gap * 1.1)
        out->to_start = gap / 2;
    if (out->to_end >= gap * 1.1)
        out->to_end = gap / 2;
}

bool window_is_born_inside(const struct window *w)
{
    int64_t since = w->since_ms ? w->since_ms[0] : 0;

    return since != 0 && since > w->start_ms && since < w->t_ms[0];
}

bool window_start_reset(const struct window *w, size_t i)
{
    int64_t before = w->t_ms[i - 1], since, since_before;

    if (!w->since_ms)
        return false;
    since = w->since_ms[i];
    since_before = w->since_ms[i - 1];
    if (since == 0 || since >= w->t_ms[i] || since < before)
        return false;
    return since > before
           || (since_before <= before && since_before != 0 && since_before != before);
}

void window_cut_to_last(struct window *w, size_t n)
{
    size_t skip = w->n - n;

    w->t_ms += skip;
    w->v += skip;
    w->h += w->h ? skip : 0;
    w->since_ms += w->since_ms ? skip : 0;
    w->n = n;
}

/* The factor for a series that begins in the window: there is nothing before to stretch to. */
static double factor_since_birth(const struct window *w)
{
    double sampled = seconds(w->since_ms[0], w->t_ms[w->n - 1]), to_end = 0;
    struct extrapolation e;

    if (w->n > 1) {
        extrapolation_of(w, &e);
        to_end = e.to_end;
    }
    return sampled != 0 ? (sampled + to_end) / sampled : 1;
}

static double factor_between(const struct window *w, double first, double growth, bool is_counter)
{
    struct extrapolation e;

    extrapolation_of(w, &e);
    if (is_counter && growth > 0 && first >= 0) {
        double to_zero = e.sampled * (first / growth);

        if (to_zero < e.to_start)
            e.to_start = to_zero;
    }
    return (e.sampled + e.to_start + e.to_end) / e.sampled;
}

double growth_factor(const struct window *w, double first, double growth, bool is_counter,
                     bool is_rate)
{
    double factor = is_counter && window_is_born_inside(w)
                        ? factor_since_birth(w)
                        : factor_between(w, first, growth, is_counter);

    return is_rate ? factor / window_seconds(w) : factor;
}

/* Stretches what was seen between the first and the last sample to the window. windows.c prepares
 * the same for all series with these times. */
static double extrapolated(const struct window *w, bool is_counter, bool is_rate)
{
    bool born = is_counter && window_is_born_inside(w);
    double result;

    if (w->n < 2 && !born)
        return absent();
    result = is_counter ? counter_increase(w) : w->v[w->n - 1] - w->v[0];
    if (born)
        result += w->v[0];
    return result * growth_factor(w, w->v[0], result, is_counter, is_rate);
}

/* The value at t_ms on the line from sample i to the next; a counter that was reset between them
 * starts from zero. */
static double interpolate(const struct window *w, size_t i, int64_t t_ms, bool is_counter)
{
    double y1 = w->v[i], y2 = w->v[i + 1];

    if (is_counter && y2 < y1)
        y1 = 0;
    return y1 + (y2 - y1) * (double)(t_ms - w->t_ms[i]) / (double)(w->t_ms[i + 1] - w->t_ms[i]);
}

bool window_borders(const struct window *w, bool is_counter, struct borders *out)
{
    size_t newest = w->n - 1, first = 0, last = newest;

    while (first < newest && w->t_ms[first] <= w->start_ms)
        first++;
    if (first > 0)
        first--;
    if (w->smoothed)
        for (last = 0; last < newest && w->t_ms[last] < w->end_ms;)
            last++;
    if (w->t_ms[last] <= w->start_ms)
        return false;
    out->first = first;
    out->last = last;
    out->left = w->smoothed && w->t_ms[first] < w->start_ms
                    ? interpolate(w, first, w->start_ms, is_counter)
                    : w->v[first];
    out->right = w->smoothed && last > 0 && w->t_ms[last] > w->end_ms
                     ? interpolate(w, last - 1, w->end_ms, is_counter)
                     : w->v[last];
    return true;
}

/* What resets hid on the way from the left border over the samples inside to the right one. */
static double hidden_by_resets(const struct window *w, const struct borders *b)
{
    size_t first = b->first, end = b->last; /* visited: first <= i < end */
    double prev = b->left, hidden = 0;

    if (w->t_ms[first] <= w->start_ms)
        first++;
    if (w->t_ms[end] < w->end_ms)
        end++; /* a sample at the end is the right border itself */
    for (size_t i = first; i < end; i++) {
        if (w->v[i] < prev)
            hidden += prev;
        prev = w->v[i];
    }
    return b->right < prev ? hidden + prev : hidden;
}

static double between_borders(const struct window *w, bool is_counter, bool is_rate)
{
    struct borders b;
    double result;

    if (!window_borders(w, is_counter, &b) || (w->smoothed && w->t_ms[b.first] > w->end_ms))
        return absent();
    result = b.right - b.left;
    if (is_counter)
        result += hidden_by_resets(w, &b);
    return is_rate ? result / window_seconds(w) : result;
}

static double growth(const struct window *w, bool is_counter, bool is_rate)
{
    return w->anchored || w->smoothed ? between_borders(w, is_counter, is_rate)
                                      : extrapolated(w, is_counter, is_rate);
}

double rate_over(const struct window *w)
{
    return growth(w, true, true);
}

double increase_over(const struct window *w)
{
    return growth(w, true, false);
}

double delta_over(const struct window *w)
{
    return growth(w, false, false);
}

double idelta_over(const struct window *w)
{
    return w->n < 2 ? absent() : w->v[w->n - 1] - w->v[w->n - 2];
}

double irate_over(const struct window *w)
{
    double prev, last;

    if (w->n < 2)
        return absent();
    prev = w->v[w->n - 2];
    last = w->v[w->n - 1];
    return (last < prev || window_start_reset(w, w->n - 1) ? last : last - prev)
           / seconds(w->t_ms[w->n - 2], w->t_ms[w->n - 1]);
}

size_t window_count_from(const struct window *w)
{
    size_t i = 0;

    if (!w->anchored)
        return 0;
    if (w->t_ms[w->n - 1] <= w->start_ms)
        return w->n;
    while (w->t_ms[i] <= w->start_ms)
        i++;
    return i > 0 ? i - 1 : 0;
}

double resets_over(const struct window *w)
{
    size_t first = window_count_from(w), n = 0;

    if (first == w->n)
        return absent();
    for (size_t i = first + 1; i < w->n; i++)
        n += w->v[i] < w->v[i - 1] || window_start_reset(w, i);
    return (double)n;
}

double changes_over(const struct window *w)
{
    size_t first = window_count_from(w), n = 0;

    if (first == w->n)
        return absent();
    for (size_t i = first + 1; i < w->n; i++)
        n += w->v[i] != w->v[i - 1] && !(isnan(w->v[i]) && isnan(w->v[i - 1]));
    return (double)n;
}

/* ---- regression and smoothing ---- */

/* Least squares over the window with x in seconds from origin_ms. */
static void linear_regression(const struct window *w, int64_t origin_ms, double *slope,
                              double *intercept)
{
    double sx = 0, cx = 0, sy = 0, cy = 0, sxy = 0, cxy = 0, sxx = 0, cxx = 0;
    double n = (double)w->n, covariance, variance;
    bool constant = true;

    for (size_t i = 0; i < w->n; i++) {
        double x = seconds(origin_ms, w->t_ms[i]), y = w->v[i];

        constant = constant && (i == 0 || y == w->v[0]);
        compensated_add(x, &sx, &cx);
        compensated_add(y, &sy, &cy);
        compensated_add(x * y, &sxy, &cxy);
        compensated_add(x * x, &sxx, &cxx);
    }
    if (constant) {
        *slope = isinf(w->v[0]) ? NAN : 0;
        *intercept = isinf(w->v[0]) ? NAN : w->v[0];
        return;
    }
    sx += cx;
    sy += cy;
    sxy += cxy;
    sxx += cxx;
    covariance = sxy - sx * sy / n;
    variance = sxx - sx * sx / n;
    *slope = covariance / variance;
    *intercept = sy / n - *slope * sx / n;
}

double deriv_over(const struct window *w)
{
    double slope, intercept;

    if (w->n < 2)
        return absent();
    linear_regression(w, w->t_ms[0], &slope, &intercept);
    return slope;
}

double predict_linear_over(const struct window *w)
{
    double slope, intercept;

    if (w->n < 2)
        return absent();
    linear_regression(w, w->eval_ms, &slope, &intercept);
    return slope * w->args[0] + intercept;
}

/* Holt's linear method: C. C. Holt, "Forecasting seasonals and trends by exponentially weighted
 * averages", 1957. */
double double_exponential_smoothing_over(const struct window *w)
{
    double sf = w->args[0], tf = w->args[1], s0 = 0, s1 = w->v[0], trend;

    if (w->n < 2)
        return absent();
    trend = w->v[1] - w->v[0];
    for (size_t i = 1; i < w->n; i++) {
        double x = sf * w->v[i], y;

        if (i > 1)
            trend = tf * (s1 - s0) + (1 - tf) * trend;
        y = (1 - sf) * (s1 + trend);
        s0 = s1;
        s1 = x + y;
    }
    return s1;
}

static enum errc check_factor(const struct node *call, const char *what, const char *name, double v,
                              struct err *err)
{
    if (!(v <= 0 || v >= 1))
        return OK;
    if (isinf(v))
        return err_set(err, ERR_EXECUTION, call->pos,
                       "invalid %s factor. Expected: 0 < %s < 1, got: %s", what, name,
                       v > 0 ? "+Inf" : "-Inf");
    return err_set(err, ERR_EXECUTION, call->pos,
                   "invalid %s factor. Expected: 0 < %s < 1, got: %f", what, name, v);
}

enum errc check_smoothing(struct query *q, const struct node *call, const double *args,
                          struct err *err)
{
    enum errc rc = check_factor(call, "smoothing", "sf", args[0], err);

    (void)q;
    return rc != OK ? rc : check_factor(call, "trend", "tf", args[1], err);
}

/* ---- over all samples ---- */

double sum_over(const struct window *w)
{
    double sum = 0, c = 0;

    for (size_t i = 0; i < w->n; i++)
        compensated_add(w->v[i], &sum, &c);
    return isinf(sum) ? sum : sum + c;
}

/* Divides the sum while it is finite; goes on with a running mean once it would overflow. */
double avg_over(const struct window *w)
{
    double sum = w->v[0], c = 0, mean = 0, n = 1;
    size_t i = 1;

    for (; i < w->n; i++) {
        double next = sum, next_c = c;

        compensated_add(w->v[i], &next, &next_c);
        if (isinf(next))
            break;
        sum = next;
        c = next_c;
        n++;
    }
    if (i == w->n)
        return sum / n + c / n;
    mean = sum / n;
    c /= n;
    for (; i < w->n; i++) {
        double q = n / (n + 1);

        n++;
        mean *= q;
        c *= q;
        compensated_add(w->v[i] / n, &mean, &c);
    }
    return mean + c;
}

double count_over(const struct window *w)
{
    return (double)w->n;
}

double present_over(const struct window *w)
{
    (void)w;
    return 1;
}

double min_over(const struct window *w)
{
    double min = w->v[0];

    for (size_t i = 1; i < w->n; i++)
        if (w->v[i] < min || isnan(min))
            min = w->v[i];
    return min;
}

double max_over(const struct window *w)
{
    double max = w->v[0];

    for (size_t i = 1; i < w->n; i++)
        if (w->v[i] > max || isnan(max))
            max = w->v[i];
    return max;
}

/* Welford's method, B. P. Welford, Technometrics 4 (1962), with compensated sums. */
double stdvar_over(const struct window *w)
{
    double n = 0, mean = 0, c_mean = 0, m2 = 0, c_m2 = 0;

    for (size_t i = 0; i < w->n; i++) {
        double delta = w->v[i] - (mean + c_mean);

        n++;
        compensated_add(delta / n, &mean, &c_mean);
        compensated_add(delta * (w->v[i] - (mean + c_mean)), &m2, &c_m2);
    }
    return (m2 + c_m2) / n;
}

double stddev_over(const struct window *w)
{
    return sqrt(stdvar_over(w));
}

double quantile_over(const struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->scratch[i] = w->v[i];
    return quantile_of(w->args[0], w->scratch, w->n);
}

enum errc check_quantile_over(struct query *q, const struct node *call, const double *args,
                              struct err *err)
{
    char text[NUMBER_MAX];

    (void)err;
    if (!(args[0] >= 0 && args[0] <= 1))
        annotate(q, ANNOTATION_WARNING, call->call.args[0]->pos,
                 "quantile value should be between 0 and 1, got %.*s",
                 (int)number_format(args[0], NUMBER_G, text), text);
    return OK;
}

/* The median absolute deviation from the median. */
double mad_over(const struct window *w)
{
    double median;

    for (size_t i = 0; i < w->n; i++) {
        if (isnan(w->v[i]))
            return NAN;
        w->scratch[i] = w->v[i];
    }
    median = quantile_of(0.5, w->scratch, w->n);
    for (size_t i = 0; i < w->n; i++)
        w->scratch[i] = fabs(w->v[i] - median);
    return quantile_of(0.5, w->scratch, w->n);
}

/* ---- one sample ---- */

double first_over(const struct window *w)
{
    return w->v[0];
}

double last_over(const struct window *w)
{
    return w->v[w->n - 1];
}

double ts_of_first_over(const struct window *w)
{
    return seconds(0, w->t_ms[0]);
}

double ts_of_last_over(const struct window *w)
{
    return seconds(0, w->t_ms[w->n - 1]);
}

double ts_of_min_over(const struct window *w)
{
    size_t at = 0;

    for (size_t i = 1; i < w->n; i++)
        if (w->v[i] <= w->v[at] || isnan(w->v[at]))
            at = i;
    return seconds(0, w->t_ms[at]);
}

double ts_of_max_over(const struct window *w)
{
    size_t at = 0;

    for (size_t i = 1; i < w->n; i++)
        if (w->v[i] >= w->v[at] || isnan(w->v[at]))
            at = i;
    return seconds(0, w->t_ms[at]);
}
