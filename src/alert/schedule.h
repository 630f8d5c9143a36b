/* schedule.h -- when groups are due.
 *
 * Each group has its own place in the interval, so that not all are evaluated at once, and the same
 * one always: after a restart its samples stand at the same times. The times are those of the wall
 * clock, but the passing of time is measured with the monotonic one: a wall clock that jumps and
 * comes back moves nothing and misses nothing.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The newest slot that is not after t_ms: place + k * interval. */
int64_t slot_before(int64_t t_ms, int64_t interval_ms, int64_t place_ms);

/* A group's place, 0 <= place < interval, from its key. */
int64_t slot_place(uint64_t key, int64_t interval_ms);

/* Time that does not jump. Fields are private. */
struct steady_time {
    int64_t wall_ms, mono_ns; /* were true at one moment */
    int64_t jumped_ns; /* since when, on the monotonic clock, the wall clock tells another time */
    bool jumped;
};

enum steady_event { STEADY_RUNS, STEADY_JUMPED, STEADY_RETURNED, STEADY_MOVED };

struct steady_time steady_time_start(int64_t wall_ms, int64_t mono_ns);

/* The time now, in *now_ms. It follows a wall clock that drifts. One that jumps by more than a
 * second is not believed at first (STEADY_JUMPED, once); if it has not come back (STEADY_RETURNED)
 * within a minute, it is (STEADY_MOVED). To be called every few seconds. */
enum steady_event steady_time_now(struct steady_time *s, int64_t wall_ms, int64_t mono_ns,
                                  int64_t *now_ms);
