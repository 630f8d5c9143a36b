#include "base/vec.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

bool vec_reserve(void *items, size_t *cap, size_t need, size_t size)
{
    void *old, *p;
    size_t n = *cap;

    if (need <= n)
        return true;
    if (need > SIZE_MAX / 4 / size)
        return false;
    while (n < need)
        n = n ? n * 2 : 8;
    memcpy(&old, items, sizeof old);
    p = realloc(old, n * size);
    if (!p)
        return false;
    memcpy(items, &p, sizeof p);
    *cap = n;
    return true;
}

void vec_shrink(void *items, size_t *cap, size_t size, size_t keep_bytes)
{
    void *old, *none = NULL;

    if (*cap * size <= keep_bytes)
        return;
    memcpy(&old, items, sizeof old);
    free(old);
    memcpy(items, &none, sizeof none);
    *cap = 0;
}
