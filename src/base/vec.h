/* vec.h -- growing an array on the heap. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* Makes room for need items of size bytes in the array at *items (malloc'd, or NULL) with capacity
 * *cap, by doubling. False when out of memory: nothing has changed. The caller frees *items. */
MUST_USE bool vec_reserve(void *items, size_t *cap, size_t need, size_t size);

/* Frees the array when its capacity takes more than keep_bytes, so that one large use is not paid
 * for ever: *items becomes NULL and *cap 0. Otherwise it stays as it is. */
void vec_shrink(void *items, size_t *cap, size_t size, size_t keep_bytes);
