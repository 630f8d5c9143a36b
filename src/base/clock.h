/* clock.h -- time, replaceable in tests so that none of them sleeps. */
#pragma once

#include <stdint.h>

/* A clock; both functions may be called from any thread. */
struct clock {
    int64_t (*wall_ms)(void *ctx); /* milliseconds since the Unix epoch; may jump */
    int64_t (*mono_ns)(void *ctx); /* nanoseconds since some start; never goes back */
    void *ctx;
};

/* The system's clock. */
extern const struct clock clock_system;

int64_t clock_wall_ms(const struct clock *c);
int64_t clock_mono_ns(const struct clock *c);
