/* byte_set.h -- distinct byte strings, numbered from 0 in the order they came. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"

/* Zero-initialise it; fields are private but for n. */
struct byte_set {
    size_t n;
    struct buf bytes; /* one after the other */
    size_t *ends;
    uint64_t *hashes;
    size_t cap_ends, cap_hashes;
    struct table table;
};

void byte_set_free(struct byte_set *s);

/* The number of a string, which is copied when it is new; UINT32_MAX when out of memory. */
uint32_t byte_set_add(struct byte_set *s, struct bytes string);

/* String i < n. Borrowed until the next byte_set_add(). */
struct bytes byte_set_get(const struct byte_set *s, size_t i);
