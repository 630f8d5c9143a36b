#include "alert/schedule.h"

#include "base/compiler.h"

#include "base/banned.h"

enum { TOLERANCE_MS = 1000, NS_PER_MS = 1000000 };
static const int64_t patience_ns = 60000LL * NS_PER_MS;

int64_t slot_before(int64_t t_ms, int64_t interval_ms, int64_t place_ms)
{
    int64_t since = (t_ms - place_ms) % interval_ms;

    ASSERT(interval_ms > 0);
    return t_ms - (since < 0 ? since + interval_ms : since);
}

int64_t slot_place(uint64_t key, int64_t interval_ms)
{
    ASSERT(interval_ms > 0);
    return (int64_t)(key % (uint64_t)interval_ms);
}

struct steady_time steady_time_start(int64_t wall_ms, int64_t mono_ns)
{
    return (struct steady_time){ .wall_ms = wall_ms, .mono_ns = mono_ns };
}

enum steady_event steady_time_now(struct steady_time *s, int64_t wall_ms, int64_t mono_ns,
                                  int64_t *now_ms)
{
    int64_t expected_ms = s->wall_ms + (mono_ns - s->mono_ns) / NS_PER_MS;
    int64_t off_ms = wall_ms - expected_ms;
    bool believed = off_ms >= -TOLERANCE_MS && off_ms <= TOLERANCE_MS;
    bool was_off = s->jumped;

    *now_ms = believed ? wall_ms : expected_ms;
    if (believed) {
        *s = steady_time_start(wall_ms, mono_ns);
        return was_off ? STEADY_RETURNED : STEADY_RUNS;
    }
    if (!was_off) {
        s->jumped = true;
        s->jumped_ns = mono_ns;
        return STEADY_JUMPED;
    }
    if (mono_ns - s->jumped_ns < patience_ns)
        return STEADY_RUNS;
    *s = steady_time_start(wall_ms, mono_ns);
    *now_ms = wall_ms;
    return STEADY_MOVED;
}
