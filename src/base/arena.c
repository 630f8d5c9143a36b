/* arena.c -- chunks double from 4 KiB to 1 MiB; a larger request gets a chunk of its own. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#include "base/banned.h"

enum { ALIGN = 16, FIRST_CHUNK = 4096, MAX_CHUNK = 1 << 20 };

struct chunk {
    struct chunk *prev;
    size_t size; /* of data[] */
    size_t used;
    size_t pad;
    unsigned char data[];
};
_Static_assert(offsetof(struct chunk, data) % ALIGN == 0, "data is aligned like malloc's");

struct arena {
    struct chunk *last;
    size_t limit;
    size_t used; /* bytes handed out, rounded up */
};

static struct chunk *chunk_new(size_t size, struct chunk *prev)
{
    struct chunk *c = malloc(sizeof *c + size);

    if (!c)
        return NULL;
    c->prev = prev;
    c->size = size;
    c->used = 0;
    ASAN_POISON_MEMORY_REGION(c->data, size);
    return c;
}

static void chunk_free(struct chunk *c)
{
    ASAN_UNPOISON_MEMORY_REGION(c->data, c->size);
    free(c);
}

struct arena *arena_new(size_t limit_bytes)
{
    struct arena *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    a->limit = limit_bytes;
    a->last = chunk_new(FIRST_CHUNK, NULL);
    if (!a->last) {
        free(a);
        return NULL;
    }
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->last, *prev; c; c = prev) {
        prev = c->prev;
        chunk_free(c);
    }
    free(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct chunk *c = a->last;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + (size == 0) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (a->limit && (size > a->limit || a->used > a->limit - size))
        return NULL;
    if (size > c->size - c->used) {
        size_t want = c->size * 2 < MAX_CHUNK ? c->size * 2 : MAX_CHUNK;

        if (size > want)
            want = size;
        c = chunk_new(want, a->last);
        if (!c)
            return NULL;
        a->last = c;
    }
    void *p = c->data + c->used;

    ASAN_UNPOISON_MEMORY_REGION(p, size);
    c->used += size;
    a->used += size;
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t total;
    void *p;

    if (__builtin_mul_overflow(n, size, &total) || !(p = arena_alloc(a, total)))
        return NULL;
    return memset(p, 0, total);
}

void *arena_grow(struct arena *a, void *ptr, size_t old_size, size_t new_size)
{
    struct chunk *c = a->last;
    size_t rounded = (old_size + (old_size == 0) + ALIGN - 1) & ~(size_t)(ALIGN - 1);

    if (ptr && new_size <= rounded)
        return ptr;
    if (ptr && (unsigned char *)ptr + rounded == c->data + c->used && new_size < SIZE_MAX / 2) {
        size_t more = ((new_size + ALIGN - 1) & ~(size_t)(ALIGN - 1)) - rounded;

        if (more <= c->size - c->used
            && !(a->limit && (more > a->limit || a->used > a->limit - more))) {
            ASAN_UNPOISON_MEMORY_REGION(c->data + c->used, more);
            c->used += more;
            a->used += more;
            return ptr;
        }
    }
    void *p = arena_alloc(a, new_size);

    if (p && old_size)
        memcpy(p, ptr, old_size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);

    if (!p)
        return NULL;
    if (n)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *p;

    va_start(ap, fmt);
    p = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

void arena_reset(struct arena *a)
{
    while (a->last->prev) {
        struct chunk *prev = a->last->prev;

        chunk_free(a->last);
        a->last = prev;
    }
    a->last->used = 0;
    a->used = 0;
    ASAN_POISON_MEMORY_REGION(a->last->data, a->last->size);
}

size_t arena_limit(const struct arena *a)
{
    return a->limit;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
