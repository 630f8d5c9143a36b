#include "query/stepset.h"

#include "base/arena.h"

#include "base/banned.h"

enum errc stepset_new(struct query *q, uint64_t **out, struct err *err)
{
    *out = ARENA_NEW(q->arena, uint64_t, (q->steps.n + 63) / 64);
    return *out ? OK : eval_arena_full(q, err);
}

void stepset_add_series(uint64_t *set, const struct fseries *s, size_t n_steps)
{
    for (size_t i = 0; i < n_steps; i++)
        if (!is_absent(s->v[i]))
            stepset_add(set, i);
}
