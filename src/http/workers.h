/* workers.h -- a fixed number of threads and a bounded queue of jobs for them.
 *
 * Threads: every function may be called from any thread; workers_stop() once, when nobody pushes
 * any more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct workers;

/* Embedded in what is to be done; belongs to the workers from push until run is called. */
struct job {
    struct job *next; /* private */
    void (*run)(struct job *job);
};

/* Starts n_threads threads called name (15 characters at most are shown by the system). ERR_NOMEM,
 * ERR_LIMIT when the system gives no more threads. */
MUST_USE enum errc workers_start(const char *name, size_t n_threads, size_t max_queued,
                                 struct workers **out, struct err *err);

/* Queues a job; false when max_queued are waiting already. */
MUST_USE bool workers_push(struct workers *w, struct job *job);

/* The same whatever is waiting: for the rest of what has been begun. */
void workers_push_on(struct workers *w, struct job *job);

/* Runs what is queued, ends the threads, frees w. NULL is fine. */
void workers_stop(struct workers *w);
