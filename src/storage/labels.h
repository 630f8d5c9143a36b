/* labels.h -- the identity of a series: a set of name=value pairs.
 *
 * Canonical form: sorted by name bytes, names unique, no empty value (an empty value is an absent
 * label). The metric name is the label __name__. A label set's encoding (labels_encode) is unique
 * to it: equal sets have equal bytes, so bytes are hashed and compared in place of pairs.
 *
 *   encoding  for each label: uvarint name length, name, uvarint value length, value
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

struct label {
    struct str name, value;
};

struct labels {
    const struct label *items;
    size_t n;
};

#define METRIC_NAME STR("__name__")

/* Limits on labels that come from outside; 0 switches one off. */
struct label_limits {
    size_t max_name_bytes;  /* 1,024 by default */
    size_t max_value_bytes; /* 4,096 */
    size_t max_labels;      /* 128 */
};

extern const struct label_limits label_limits_default;

/* Brings n labels into canonical form in place (sorts, drops empty values) and checks them: at
 * least __name__, valid UTF-8, non-empty unique names, the limits. *n becomes the number left.
 * ERR_BAD_DATA or ERR_LIMIT with a text that names the label and the series. */
MUST_USE enum errc labels_canonicalise(struct label *items, size_t *n,
                                       const struct label_limits *limits, struct err *err);

/* The value of a label, empty when absent. */
struct str labels_get(struct labels ls, struct str name);

/* Orders label sets as Prometheus does: name and value strings pairwise, a prefix is smaller. */
int labels_cmp(struct labels a, struct labels b);
bool labels_equal(struct labels a, struct labels b);

/* A deep copy in the arena; items is NULL (with n > 0 in ls) when the arena is full. */
struct labels labels_copy(struct arena *a, struct labels ls);

/* The unique encoding, see above. */
void labels_encode(struct buf *b, struct labels ls);

/* Reads an encoding; the strings point into data. ERR_CORRUPT when it is not one, ERR_LIMIT. */
MUST_USE enum errc labels_decode(struct bytes data, struct arena *a, struct labels *out,
                                 struct err *err);

/* hash64() of the encoding. */
uint64_t labels_hash(struct labels ls);

/* {__name__="up", job="x"}: as in error texts. */
void labels_print(struct buf *b, struct labels ls);

/* up{job="x"}: as in series listings and messages that name a series. */
void labels_print_metric(struct buf *b, struct labels ls);

/* Whether s is a legacy name: [a-zA-Z_][a-zA-Z0-9_]*, with ':' too when colon is true. */
bool name_is_legacy(struct str s, bool colon);

/* Appends s in double quotes with Go's escapes (%q). */
void print_quoted(struct buf *b, struct str s);
