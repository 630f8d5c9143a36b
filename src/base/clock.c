#include "base/clock.h"

#include <stddef.h>
#include <time.h>

#include "base/banned.h"

static int64_t system_wall_ms(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_mono_ns(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

const struct clock clock_system = { system_wall_ms, system_mono_ns, NULL };

int64_t clock_wall_ms(const struct clock *c)
{
    return c->wall_ms(c->ctx);
}

int64_t clock_mono_ns(const struct clock *c)
{
    return c->mono_ns(c->ctx);
}
