#include "http/workers.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

struct workers {
    pthread_mutex_t lock; /* guards all below but threads */
    pthread_cond_t wake;
    struct job *first, **last;
    size_t n_queued, max_queued;
    size_t n_idle; /* waiting for a job, or woken for one */
    bool stopping;
    size_t n_threads;
    pthread_t threads[];
};

/* The next job, or NULL when there will be none. */
static struct job *take(struct workers *w)
{
    struct job *job;

    pthread_mutex_lock(&w->lock);
    w->n_idle++;
    while (!w->first && !w->stopping)
        pthread_cond_wait(&w->wake, &w->lock);
    w->n_idle--;
    job = w->first;
    if (job) {
        w->first = job->next;
        if (!w->first)
            w->last = &w->first;
        w->n_queued--;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void *work(void *arg)
{
    struct workers *w = arg;
    struct job *job;

    while ((job = take(w)))
        job->run(job);
    return NULL;
}

enum errc workers_start(const char *name, size_t n_threads, size_t max_queued, struct workers **out,
                        struct err *err)
{
    struct workers *w = calloc(1, sizeof *w + n_threads * sizeof w->threads[0]);
    char short_name[16];

    if (!w)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->last = &w->first;
    w->max_queued = max_queued;
    snprintf(short_name, sizeof short_name, "%s", name);
    for (; w->n_threads < n_threads; w->n_threads++) {
        int e = pthread_create(&w->threads[w->n_threads], NULL, work, w);

        if (e) {
            workers_stop(w);
            return err_set(err, ERR_LIMIT, 0, "cannot start a thread: %s", strerror(e));
        }
        pthread_setname_np(w->threads[w->n_threads], short_name);
    }
    *out = w;
    return OK;
}

static bool push(struct workers *w, struct job *job, size_t max_queued)
{
    bool room, wake = false;

    pthread_mutex_lock(&w->lock);
    ASSERT(!w->stopping);
    room = w->n_queued < max_queued;
    if (room) {
        job->next = NULL;
        *w->last = job;
        w->last = &job->next;
        w->n_queued++;
        wake = w->n_idle > 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (wake) /* outside, or the woken thread would wait for the lock at once */
        pthread_cond_signal(&w->wake);
    return room;
}

bool workers_push(struct workers *w, struct job *job)
{
    return push(w, job, w->max_queued);
}

void workers_push_on(struct workers *w, struct job *job)
{
    ASSERT(push(w, job, SIZE_MAX));
}

void workers_stop(struct workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
