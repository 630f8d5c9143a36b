/* watch.c -- epoll reports hang-ups by an item's id, not its address: an event that was fetched
 * just before the item went away finds nothing. The list is as long as the connection limit allows
 * and walked for each hang-up and each tick only. */
#include "http/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#include "base/banned.h"

struct watch {
    pthread_mutex_t lock; /* guards items, their fields, and last_id */
    struct watch_item *items;
    uint64_t last_id;
    int epoll_fd, stop_fd; /* stop_fd is known to epoll as id 0 */
    int tick_ms;
    pthread_t thread;
};

/* A deadline that is moved just now is not taken for one that has passed. */
static void close_if_overdue(struct watch_item *i, int64_t now_ns)
{
    int64_t deadline_ns = atomic_load(&i->deadline_ns);

    if (deadline_ns && deadline_ns <= now_ns
        && atomic_compare_exchange_strong(&i->deadline_ns, &deadline_ns, 0))
        shutdown(i->fd, SHUT_RDWR);
}

static void arm(struct watch *w, struct watch_item *i)
{
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = i->id };

    /* when it fails the request only runs longer */
    i->armed = epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, i->fd, &event) == 0;
}

static void tick(struct watch *w, int64_t now_ns)
{
    int64_t tick_ns = (int64_t)w->tick_ms * 1000000;

    pthread_mutex_lock(&w->lock);
    for (struct watch_item *i = w->items; i; i = i->next) {
        close_if_overdue(i, now_ns);
        if (i->left && !i->armed && now_ns - i->since_ns >= tick_ns)
            arm(w, i);
    }
    pthread_mutex_unlock(&w->lock);
}

static void client_left(struct watch *w, uint64_t id)
{
    pthread_mutex_lock(&w->lock);
    for (struct watch_item *i = w->items; i; i = i->next)
        if (i->id == id && i->left)
            atomic_store(i->left, true);
    pthread_mutex_unlock(&w->lock);
}

static void *watch_thread(void *arg)
{
    struct watch *w = arg;
    int64_t tick_ns = (int64_t)w->tick_ms * 1000000;
    int64_t next_ns = clock_mono_ns(&clock_system) + tick_ns;

    for (;;) {
        struct epoll_event events[16];
        int n = epoll_wait(w->epoll_fd, events, ARRAY_LEN(events), w->tick_ms);
        int64_t now_ns = clock_mono_ns(&clock_system);

        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == 0)
                return NULL;
            client_left(w, events[i].data.u64);
        }
        if (now_ns >= next_ns || n == 0) {
            tick(w, now_ns);
            next_ns = now_ns + tick_ns;
        }
    }
}

static void watch_free(struct watch *w)
{
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
    if (w->stop_fd >= 0)
        close(w->stop_fd);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

enum errc watch_start(int tick_ms, struct watch **out, struct err *err)
{
    struct watch *w = calloc(1, sizeof *w);
    struct epoll_event stop = { .events = EPOLLIN };
    int e;

    if (!w)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    w->tick_ms = tick_ms;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (w->epoll_fd < 0 || w->stop_fd < 0
        || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->stop_fd, &stop) != 0)
        e = errno;
    else
        e = pthread_create(&w->thread, NULL, watch_thread, w);
    if (e) {
        watch_free(w);
        return err_set(err, ERR_IO, 0, "cannot watch connections: %s", strerror(e));
    }
    pthread_setname_np(w->thread, "http watch");
    *out = w;
    return OK;
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    ASSERT(eventfd_write(w->stop_fd, 1) == 0);
    pthread_join(w->thread, NULL);
    ASSERT(!w->items);
    watch_free(w);
}

void watch_add(struct watch *w, struct watch_item *item, int fd)
{
    pthread_mutex_lock(&w->lock);
    item->id = ++w->last_id;
    item->fd = fd;
    item->prev = NULL;
    item->next = w->items;
    if (w->items)
        w->items->prev = item;
    w->items = item;
    pthread_mutex_unlock(&w->lock);
}

void watch_remove(struct watch *w, struct watch_item *item)
{
    pthread_mutex_lock(&w->lock);
    if (item->prev)
        item->prev->next = item->next;
    else
        w->items = item->next;
    if (item->next)
        item->next->prev = item->prev;
    pthread_mutex_unlock(&w->lock);
}

void watch_deadline(struct watch_item *item, int64_t timeout_ms)
{
    int64_t now_ns = clock_mono_ns(&clock_system);

    atomic_store(&item->deadline_ns, timeout_ms ? now_ns + timeout_ms * 1000000 : 0);
}

void watch_client(struct watch *w, struct watch_item *item, atomic_bool *left)
{
    pthread_mutex_lock(&w->lock);
    if (item->armed) {
        (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, item->fd, NULL);
        item->armed = false;
    }
    item->left = left;
    item->since_ns = left ? clock_mono_ns(&clock_system) : 0;
    pthread_mutex_unlock(&w->lock);
}

void watch_cancel_all(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    for (struct watch_item *i = w->items; i; i = i->next)
        if (i->left)
            atomic_store(i->left, true);
    pthread_mutex_unlock(&w->lock);
}
