/* head_index.h -- the head's series by labels, and its postings. Internal to the head, whose lock
 * guards it.
 *
 * Label texts are interned as (name, value) pairs: a series is the list of its pair ids in label
 * order, 4 bytes a label, and each pair carries the increasing list of refs that have it. Pairs that no
 * series has any more go with the last one; label names stay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "storage/labels.h"
#include "storage/postings.h"

struct arena;
struct head_index;

struct head_index *head_index_new(void);    /* NULL when out of memory */
void head_index_free(struct head_index *x); /* NULL is fine */

/* The ref of a canonical label set whose labels_hash() is hash, or HEAD_NO_SERIES. */
uint32_t head_index_find(const struct head_index *x, struct labels ls, uint64_t hash);

/* Whether ref is the series of a label set, which need not be canonical (and then is not). */
bool head_index_is(const struct head_index *x, uint32_t ref, struct labels ls);

/* If wire begins with the labels of ref, each as a field 1 of a protobuf message that has the name as
 * field 1 and the value as field 2 (a TimeSeries of remote write), in their order and followed by no
 * other, the number of their bytes; 0 if not. */
size_t head_index_follow(const struct head_index *x, uint32_t ref, struct bytes wire);

/* Asks for the memory that head_index_follow() will look at, or head_index_find() first. */
void head_index_prefetch(const struct head_index *x, uint32_t ref);
void head_index_prefetch_hash(const struct head_index *x, uint64_t hash);

/* Whether ref has not been removed. */
bool head_index_has(const struct head_index *x, uint32_t ref);

/* Adds a new one; refs come in order from 0. False when out of memory: nothing visible has changed.
 */
MUST_USE bool head_index_add(struct head_index *x, struct labels ls, uint64_t hash, uint32_t ref);

/* Removes n series, whose refs are not used again. The texts of pairs that go with them stay until the next
 * head_index_reap(). False when out of memory: nothing has changed. */
MUST_USE bool head_index_remove(struct head_index *x, const uint32_t *refs, size_t n);
void head_index_reap(struct head_index *x);

/* The labels of ref: items in the arena (NULL when it is full), texts in the index; none of a
 * removed one. */
struct labels head_index_labels(const struct head_index *x, uint32_t ref, struct arena *a);
uint64_t head_index_hash(const struct head_index *x, uint32_t ref);

/* The memory it takes, but for what the allocator adds. */
size_t head_index_bytes(const struct head_index *x);

/* Sorts refs by labels_cmp. */
void head_index_sort(const struct head_index *x, uint32_t *refs, size_t n);

struct index_source head_index_source(struct head_index *x);
void head_index_each_name(const struct head_index *x, bool (*fn)(void *ctx, struct str name),
                          void *ctx);
