/* yaml.h -- a YAML document as a tree of nodes that know where they stand. libyaml is named in yaml.c only.
 *
 * Only the first document of a file is read (a second one is a warning). Anchors and aliases are resolved; depth, nodes
 * and expansion are bounded. A duplicate key is an error at its place. Scalars keep their text: what they mean (string,
 * number, bool) is decided by who reads them, so that `b: true` under labels is the text "true".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/err.h"

struct arena;

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    uint32_t line, col;       /* where it begins, from 1 */
    struct str text;          /* of a scalar */
    bool quoted;              /* 'x' or "x" */
    bool block;               /* | or >: the text begins on the line after */
    struct yaml_node **items; /* of a sequence; the values of a mapping */
    struct yaml_node **keys;  /* of a mapping: scalars */
    size_t n;
};

/* Reads text. Faults go to d under the name file; *out is NULL when the document is empty. ERR_BAD_CONFIG when there
 * were errors, ERR_NOMEM. Everything is in the arena. */
MUST_USE enum errc yaml_read(struct str text, const char *file, struct arena *a,
                             struct yaml_node **out, struct diags *d);

/* The value under a key of a mapping, or NULL; *key (may be NULL) becomes the key's node. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *name, struct yaml_node **key);

/* Whether a scalar is YAML's null: empty and plain, ~, null. */
bool yaml_is_null(const struct yaml_node *n);
