/* otlp_check.h -- what must be true of every request of OTLP that was read. */
#pragma once

#include "ingest/otlp.h"
#include "storage/histogram.h"

#include "base/banned.h"

/* All strings are read, so that a sanitizer sees one that points nowhere. */
static size_t sum_text(struct str s)
{
    size_t sum = 0;

    for (size_t i = 0; i < s.len; i++)
        sum += (uint8_t)s.ptr[i];
    return sum;
}

static void check_otlp(const struct otlp *o)
{
    const struct write_batch *b = &o->batch;
    size_t n_samples = 0, n_histograms = 0, n_exemplars = 0, next = 0, sum = 0;

    for (size_t i = 0; i < b->n_series; i++) {
        const struct write_series *s = &b->series[i];
        bool named = false;

        for (size_t k = 0; k < s->n_labels; k++) {
            ASSERT(k == 0 || str_cmp(s->labels[k - 1].name, s->labels[k].name) < 0);
            ASSERT(s->labels[k].value.len > 0);
            named |= str_is(s->labels[k].name, "__name__");
            sum += sum_text(s->labels[k].name) + sum_text(s->labels[k].value);
        }
        ASSERT(named && s->n_samples + s->n_histograms > 0);
        ASSERT(s->n_samples == 0 || s->first_sample == n_samples);
        n_samples += s->n_samples;
        n_histograms += s->n_histograms;
        n_exemplars += s->n_exemplars;
    }
    ASSERT(n_samples == b->n_samples && n_histograms == b->n_histograms);
    ASSERT(n_exemplars == b->n_exemplars);
    for (size_t i = 0; i < b->n_histograms; i++) /* it may contradict itself, but not its memory */
        (void)!histogram_check(&b->histograms[i].h, NULL);
    for (size_t i = 0; i < o->n_points; i++) {
        ASSERT(o->points[i].first_series >= next && o->points[i].n_series > 0);
        next = o->points[i].first_series + o->points[i].n_series;
        ASSERT(next <= b->n_series);
    }
    for (size_t i = 0; i < b->n_metadata; i++)
        sum += sum_text(b->metadata[i].family) + sum_text(b->metadata[i].help);
    ASSERT(sum != SIZE_MAX); /* uses it */
}
