/* otlp_delta.h -- delta temporality made cumulative, which is what PromQL's functions expect.
 *
 * The cumulative value of every series that arrives as deltas is kept here. It is a copy of what is
 * stored: a series that is not known (after a restart, or pushed out for want of room) begins with
 * its newest stored value, when that is not older than a day. A gap between two deltas changes
 * nothing. A delta that begins before the last one ended is refused: it has been added already, or
 * two processes write the series without a service.instance.id.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct otlp;
struct otlp_delta; /* opaque */

enum { OTLP_DELTA_SERIES = 1000000 }; /* how many are kept at most, by default */

struct otlp_delta *otlp_delta_new(size_t max_series); /* NULL when out of memory */
void otlp_delta_free(struct otlp_delta *d);           /* NULL is fine */

/* Replaces the values of delta points in o's batch by cumulative ones, and their start times by
 * that of the first delta. Points that cannot be added (the time was added already, a value that is
 * not finite, a histogram that contradicts itself) are marked as dropped, their series emptied.
 * ERR_TOO_LARGE when the totals of the request's histograms take too much memory, ERR_NOMEM, or what reading the store said: nothing of the request may be appended then. */
MUST_USE enum errc otlp_delta_convert(struct otlp_delta *d, struct otlp *o, struct db *db,
                                      struct err *err);

/* After a batch that was not stored: forgets its series, so that they begin with what is stored. */
void otlp_delta_undo(struct otlp_delta *d, const struct otlp *o);

/* After a batch that was: does the same for the points of which the store refused something. */
void otlp_delta_settle(struct otlp_delta *d, const struct otlp *o);

/* How many series are kept. */
size_t otlp_delta_series(struct otlp_delta *d);
