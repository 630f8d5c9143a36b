#include "query/value.h"

#include "storage/histogram.h"

#include "base/banned.h"

enum errc sink_discard(void *ctx, struct fseries *s, struct err *err)
{
    (void)ctx;
    (void)s;
    (void)err;
    return OK;
}

bool series_has_value(const struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; i < n_steps; i++)
        if (!is_absent(s->v[i]))
            return true;
    return false;
}

bool series_has_histogram(const struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; s->h && i < n_steps; i++)
        if (series_histogram(s, i))
            return true;
    return false;
}

bool series_keep_floats(struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; s->h && i < n_steps; i++)
        if (s->h[i])
            s->v[i] = absent();
    s->h = NULL;
    return series_has_value(s, n_steps);
}

bool series_keep_histograms(struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; s->h && i < n_steps; i++)
        if (!s->h[i])
            s->v[i] = absent();
    return s->h && series_has_value(s, n_steps);
}

uint64_t series_weight(const struct fseries *s, size_t n_steps)
{
    uint64_t weight = n_steps;

    for (size_t i = 0; s->h && i < n_steps; i++)
        if (series_histogram(s, i))
            weight += histogram_weight(s->h[i]) - 1;
    return weight;
}

/* The sizes are those of Prometheus' structures, so that its limits mean the same. */
uint64_t histogram_weight(const struct histogram *h)
{
    uint64_t words = (uint64_t)h->positive.n_spans + h->negative.n_spans + h->positive.n_counts
                     + h->negative.n_counts + h->n_custom;

    return (168 + 8 * words + 8) / 16;
}

uint64_t samples_weight(const struct histogram *const *h, size_t n)
{
    uint64_t weight = n;

    for (size_t i = 0; h && i < n; i++)
        if (h[i])
            weight += histogram_weight(h[i]) - 1;
    return weight;
}
