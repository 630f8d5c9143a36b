/* functions_time.c
 *
 * Time and calendar, and the functions between scalars and vectors: time pi vector scalar absent,
 * minute hour day_of_week day_of_month day_of_year days_in_month month year.
 *
 * Calendar functions take seconds since the epoch, truncated, as UTC. A value that is no time
 * (NaN, or beyond what a year can count) gives NaN.
 */
#include <math.h>
#include <time.h>

#include "base/arena.h"
#include "query/eval.h"
#include "query/functions_impl.h"
#include "query/stepset.h"

#include "base/banned.h"

/* ---- scalars and vectors ---- */

enum errc call_time(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    struct fseries s = { 0 };
    enum errc rc = values_new(q, &s.v, err);

    (void)call;
    for (size_t i = 0; rc == OK && i < q->steps.n; i++)
        s.v[i] = (double)step_time(&q->steps, i) / 1000;
    return rc == OK ? to(ctx, &s, err) : rc;
}

enum errc call_pi(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    struct fseries s = { 0 };
    enum errc rc = values_new(q, &s.v, err);

    (void)call;
    for (size_t i = 0; rc == OK && i < q->steps.n; i++)
        s.v[i] = M_PI;
    return rc == OK ? to(ctx, &s, err) : rc;
}

enum errc call_vector(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    struct fseries s = { 0 };
    enum errc rc = eval_scalar(q, call->call.args[0], &s.v, err);

    return rc == OK ? to(ctx, &s, err) : rc;
}

/* The value of the only sample of each step: absent with none so far, NaN with several. */
struct only_value {
    size_t n_steps;
    double *v;
};

static enum errc note_only_value(void *ctx, struct fseries *s, struct err *err)
{
    struct only_value *o = ctx;

    (void)err;
    (void)series_keep_floats(s, o->n_steps);
    for (size_t i = 0; i < o->n_steps; i++)
        if (!is_absent(s->v[i]))
            o->v[i] = is_absent(o->v[i]) ? s->v[i] : f64_from_bits(QUIET_NAN_BITS);
    return OK;
}

enum errc call_scalar(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    struct only_value o = { .n_steps = q->steps.n };
    enum errc rc = values_new(q, &o.v, err);

    if (rc != OK || (rc = eval_each(q, call->call.args[0], note_only_value, &o, err)) != OK)
        return rc;
    for (size_t i = 0; i < o.n_steps; i++)
        if (is_absent(o.v[i]))
            o.v[i] = f64_from_bits(QUIET_NAN_BITS);
    return to(ctx, &(struct fseries){ .v = o.v }, err);
}

/* ---- absent ---- */

enum errc absent_labels(struct query *q, const struct node *arg, struct labels *out,
                        struct err *err)
{
    const struct node *selector = arg->kind == NODE_MATRIX ? arg->matrix.selector : arg;
    const struct matcher *m;
    enum errc rc = OK;

    *out = (struct labels){ 0 };
    if (selector->kind != NODE_SELECTOR)
        return OK;
    m = selector->selector.matchers;
    for (size_t i = 0; rc == OK && i < selector->selector.n_matchers; i++) {
        bool seen = false;

        if (str_equal(m[i].name, METRIC_NAME))
            continue;
        for (size_t j = 0; j < i; j++)
            seen |= m[j].op == MATCH_EQ && str_equal(m[j].name, m[i].name);
        rc = labels_set(q, *out, m[i].name,
                        m[i].op == MATCH_EQ && !seen ? m[i].value : (struct str){ 0 }, out, err);
    }
    return rc;
}

struct presence {
    size_t n_steps;
    uint64_t *steps;
};

static enum errc note_presence(void *ctx, struct fseries *s, struct err *err)
{
    struct presence *p = ctx;

    (void)err;
    stepset_add_series(p->steps, s, p->n_steps);
    return OK;
}

enum errc call_absent(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    struct presence p = { .n_steps = q->steps.n };
    struct fseries s = { 0 };
    bool any = false;
    enum errc rc;

    if ((rc = stepset_new(q, &p.steps, err)) != OK || (rc = values_new(q, &s.v, err)) != OK
        || (rc = eval_each(q, call->call.args[0], note_presence, &p, err)) != OK
        || (rc = absent_labels(q, call->call.args[0], &s.labels, err)) != OK)
        return rc;
    for (size_t i = 0; i < q->steps.n; i++)
        if (!stepset_has(p.steps, i)) {
            s.v[i] = 1;
            any = true;
        }
    return any ? to(ctx, &s, err) : OK;
}

/* ---- the calendar ---- */

static int minute_of(const struct tm *t)
{
    return t->tm_min;
}

static int hour_of(const struct tm *t)
{
    return t->tm_hour;
}

static int day_of_week_of(const struct tm *t)
{
    return t->tm_wday;
}

static int day_of_month_of(const struct tm *t)
{
    return t->tm_mday;
}

static int day_of_year_of(const struct tm *t)
{
    return t->tm_yday + 1;
}

static int month_of(const struct tm *t)
{
    return t->tm_mon + 1;
}

static int year_of(const struct tm *t)
{
    return t->tm_year + 1900;
}

static int days_in_month_of(const struct tm *t)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year = year_of(t);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[t->tm_mon] + (t->tm_mon == 1 && leap);
}

struct calendar {
    struct query *q;
    int (*field)(const struct tm *t);
    sink *to;
    void *ctx;
};

static double calendar_field(const struct calendar *c, double seconds)
{
    struct tm t;
    time_t when;

    if (!(fabs(seconds) < 6e16)) /* NaN too; years up to 1.9e9 fit struct tm */
        return f64_from_bits(QUIET_NAN_BITS);
    when = (time_t)seconds;
    return gmtime_r(&when, &t) ? c->field(&t) : f64_from_bits(QUIET_NAN_BITS);
}

static enum errc calendar_series(void *ctx, struct fseries *s, struct err *err)
{
    const struct calendar *c = ctx;

    if (s->h && !series_keep_floats(s, c->q->steps.n))
        return OK;
    for (size_t i = 0; i < c->q->steps.n; i++)
        if (!is_absent(s->v[i]))
            s->v[i] = calendar_field(c, s->v[i]);
    s->drop_name = true;
    return c->to(c->ctx, s, err);
}

static enum errc calendar(struct calendar *c, const struct node *call, struct err *err)
{
    if (call->call.n_args == 0)
        return call_time(c->q, call, calendar_series, c, err);
    return eval_each(c->q, call->call.args[0], calendar_series, c, err);
}

enum errc call_minute(struct query *q, const struct node *call, sink *to, void *ctx,
                      struct err *err)
{
    return calendar(&(struct calendar){ q, minute_of, to, ctx }, call, err);
}

enum errc call_hour(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return calendar(&(struct calendar){ q, hour_of, to, ctx }, call, err);
}

enum errc call_day_of_week(struct query *q, const struct node *call, sink *to, void *ctx,
                           struct err *err)
{
    return calendar(&(struct calendar){ q, day_of_week_of, to, ctx }, call, err);
}

enum errc call_day_of_month(struct query *q, const struct node *call, sink *to, void *ctx,
                            struct err *err)
{
    return calendar(&(struct calendar){ q, day_of_month_of, to, ctx }, call, err);
}

enum errc call_day_of_year(struct query *q, const struct node *call, sink *to, void *ctx,
                           struct err *err)
{
    return calendar(&(struct calendar){ q, day_of_year_of, to, ctx }, call, err);
}

enum errc call_days_in_month(struct query *q, const struct node *call, sink *to, void *ctx,
                             struct err *err)
{
    return calendar(&(struct calendar){ q, days_in_month_of, to, ctx }, call, err);
}

enum errc call_month(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return calendar(&(struct calendar){ q, month_of, to, ctx }, call, err);
}

enum errc call_year(struct query *q, const struct node *call, sink *to, void *ctx, struct err *err)
{
    return calendar(&(struct calendar){ q, year_of, to, ctx }, call, err);
}
