/* otlp_writers.h -- noticing that two processes write one series.
 *
 * A counter of a process begins when the process does, and OTLP sends that start time with every
 * data point. Two processes without service.instance.id have the same labels; their points take
 * turns, so that a point with an earlier start follows, in time, one with a later start. One process
 * that is started again never does that. The store cannot tell the two apart, and rate() takes every
 * change of turns for a reset.
 *
 * A bounded memory: series that share a place in it push each other out, which hides a pair of
 * writers at worst.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct otlp;
struct otlp_writers; /* opaque */

struct otlp_writers *otlp_writers_new(void);    /* NULL when out of memory */
void otlp_writers_free(struct otlp_writers *w); /* NULL is fine */

/* Looks at the points of a request, and returns how many of them show that their series has two
 * writers; appends a line about the first to text. */
size_t otlp_writers_check(struct otlp_writers *w, const struct otlp *o, struct buf *text);
