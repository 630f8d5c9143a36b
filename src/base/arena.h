/* arena.h -- memory that is freed all at once, with a limit.
 *
 * A chunked bump allocator: a query or a request allocates from one arena and frees it whole.
 * Memory is aligned to 16 bytes, not zeroed unless asked for. Freed chunks are poisoned under
 * AddressSanitizer.
 *
 * Threads: one arena belongs to one thread at a time.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/compiler.h"

struct arena;

/* An arena that hands out at most limit_bytes (0: no limit), or NULL when out of memory. */
struct arena *arena_new(size_t limit_bytes);
void arena_free(struct arena *a); /* NULL is fine */

/* size bytes, or NULL over the limit or when out of memory. size 0 gives a unique pointer. */
MUST_USE void *arena_alloc(struct arena *a, size_t size);

/* The same, zeroed, for n items of size; NULL also when n * size overflows. */
MUST_USE void *arena_calloc(struct arena *a, size_t n, size_t size);

/* Room for at least new_size bytes with the first old_size of ptr kept; grows in place when ptr was
 * the last allocation. NULL leaves ptr as it was. */
MUST_USE void *arena_grow(struct arena *a, void *ptr, size_t old_size, size_t new_size);

/* A NUL-terminated copy of n bytes, or NULL. */
char *arena_strndup(struct arena *a, const char *s, size_t n);

/* A formatted, NUL-terminated text, or NULL. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

/* Gives everything back but the first chunk. */
void arena_reset(struct arena *a);

size_t arena_limit(const struct arena *a);
size_t arena_used(const struct arena *a);

#define ARENA_NEW(a, type, n) ((type *)arena_calloc((a), (n), sizeof(type)))
