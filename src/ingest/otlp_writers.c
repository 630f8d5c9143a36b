#include "ingest/otlp_writers.h"

#include <pthread.h>
#include <stdlib.h>

#include "ingest/otlp.h"

#include "base/banned.h"

enum { PLACES = 1 << 14, MAX_CHECKED = 1000 }; /* data points of one request */

struct place {
    uint64_t hash;
    int64_t start_ms, t_ms; /* of the newest point */
};

struct otlp_writers {
    pthread_mutex_t lock; /* guards places */
    struct place places[PLACES];
};

struct otlp_writers *otlp_writers_new(void)
{
    struct otlp_writers *w = calloc(1, sizeof *w);

    if (w)
        pthread_mutex_init(&w->lock, NULL);
    return w;
}

void otlp_writers_free(struct otlp_writers *w)
{
    if (!w)
        return;
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* Whether the point came from another writer than a newer one before it. */
static bool changes_turns(struct otlp_writers *w, uint64_t hash, const struct otlp_point *p)
{
    struct place *at = &w->places[hash % PLACES];
    bool known = at->hash == hash && at->t_ms != 0;

    if (known && p->t_ms <= at->t_ms)
        return false; /* late, or the same again */
    if (known && p->start_ms < at->start_ms) {
        at->t_ms = p->t_ms; /* keep the later start: the next turn shows again */
        return true;
    }
    *at = (struct place){ hash, p->start_ms, p->t_ms };
    return false;
}

static void describe(const struct write_series *s, struct buf *text)
{
    buf_text(text, "two processes seem to write one series, each with a start time of its own; set "
                   "service.instance.id (OTEL_RESOURCE_ATTRIBUTES) for each: ");
    labels_print_metric(text, (struct labels){ s->labels, s->n_labels });
    buf_u8(text, '\n');
}

size_t otlp_writers_check(struct otlp_writers *w, const struct otlp *o, struct buf *text)
{
    size_t found = 0, checked = 0;

    for (size_t i = 0; i < o->n_points && checked < MAX_CHECKED; i++) {
        const struct otlp_point *p = &o->points[i];
        const struct write_series *s = &o->batch.series[p->first_series];
        bool turns;
        uint64_t hash;

        if (!p->anonymous || p->start_ms <= 0)
            continue;
        checked++;
        hash = labels_hash((struct labels){ s->labels, s->n_labels });
        pthread_mutex_lock(&w->lock);
        turns = changes_turns(w, hash, p);
        pthread_mutex_unlock(&w->lock);
        if (turns && found++ == 0)
            describe(s, text);
    }
    return found;
}
