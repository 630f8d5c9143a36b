/* fleet.h -- made-up data shaped like that of a company's LLM services, for measuring.
 *
 * A fleet is a number of pods; each belongs to one of 12 services, serves 2 of 10 models on 3
 * endpoints and exposes POD_SERIES series with 6 to 9 labels, scraped every 15 s:
 *
 *   llm_request_duration_seconds_bucket   14 le    integer counters      84
 *   llm_time_to_first_token_seconds_bucket 12 le   integer counters      72
 *   the _sum and _count of both                    noisy floats, counters 24
 *   llm_requests_total{status}                     integer counters      18
 *   llm_tokens_total{type}                         integer counters      18
 *   llm_cost_dollars_total                         float sums             6
 *   llm_active_requests, llm_output_tokens_per_second   gauges           12
 *   process_*, gpu_*, queue, up, llm_build_info    gauges, one counter   16
 *
 * Request rates are log-normal over (pod, model, endpoint), a few busy and many nearly idle, and
 * follow a daily curve; so about two samples in three repeat the one before, as in real life. All
 * series of a pod share a timestamp. A pod has its own phase in the interval, and one scrape in
 * five is 1 to 8 ms late. One pod in twenty restarts once: its counters begin again.
 *
 * Everything follows from the options: the same ones give the same bits, whoever reads in whatever
 * number of threads.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

enum { POD_SERIES = 250, FLEET_STEP_MS = 15000 };

struct fleet_options {
    uint64_t seed;
    int64_t start_ms; /* of the first scrape, rounded to the interval by the caller */
    uint32_t n_steps; /* scrapes of each pod */
};

struct pod;

/* Pod number index of a fleet, before its first scrape; NULL when out of memory. */
struct pod *pod_new(const struct fleet_options *o, uint32_t index);
void pod_free(struct pod *p); /* NULL is fine */

/* The labels of series i, sorted by name, as the repeated field 1 of a remote-write TimeSeries. */
struct bytes pod_labels(const struct pod *p, uint32_t i);

/* The next scrape: fills values, one for each series, and returns its time. */
int64_t pod_scrape(struct pod *p, double values[POD_SERIES]);
