/* json_histogram.h -- native histograms in the JSON of query results:
 *
 *   {"count":"10","sum":"5.5","buckets":[[0,"0.5","1","2"],…]}
 *
 * A bucket is a rule, its bounds and its count; rules are 0 (lower,upper], 1 [lower,upper),
 * 2 (lower,upper), 3 [lower,upper]. Buckets come in the order of their values, empty ones left out.
 */
#pragma once

struct buf;
struct histogram;

void json_histogram(struct buf *b, const struct histogram *h);
