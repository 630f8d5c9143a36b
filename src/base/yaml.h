/* yaml.h -- a YAML document as a tree of nodes that know where they stand. libyaml is named in
 * yaml.c only.
 *
 * YAML 1.1. Only the first document of a file is read (a second one is a warning). Anchors,
 * aliases and merge keys (<<) are resolved: an aliased node is shared and stands where its anchor
 * does. Depth, nodes and expansion are bounded. A duplicate key is an error at its place. Scalars
 * keep their text: what they mean (string, number, bool) is decided by who reads them, so that `b:
 * true` under labels is the text "true".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/err.h"

struct arena;

/* YAML_MAX_NODES counts a node once for every alias that leads to it; YAML_MAX_MERGED is the
 * number of keys in a mapping that has a merge key. */
enum { YAML_MAX_DEPTH = 100, YAML_MAX_NODES = 1000000, YAML_MAX_MERGED = 1000 };

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    uint32_t line, col; /* where it begins, from 1 */
    struct str text;    /* of a scalar */
    struct str source;  /* of a scalar: as it stands in the file, quotes and all */
    bool string;        /* of a scalar: surely a string, since quoted, a block (| >) or tagged */
    struct yaml_node **items; /* of a sequence; the values of a mapping */
    struct yaml_node **keys;  /* of a mapping: scalars */
    size_t n;
};

/* Reads text. Faults go to d under the name file; *out is NULL when the document is empty or null.
 * ERR_BAD_CONFIG when there were errors; *out is set then if repeated keys were the only ones, so
 * that other faults can be looked for. ERR_NOMEM. Everything is in the arena, a copy of text too.
 */
MUST_USE enum errc yaml_read(struct str text, const char *file, struct arena *a,
                             struct yaml_node **out, struct diags *d);

/* The value under a key of a mapping, or NULL; *key (may be NULL) becomes the key's node. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *name, struct yaml_node **key);

/* Whether n is YAML's null: a plain scalar that is empty, ~ or null. */
bool yaml_is_null(const struct yaml_node *n);

/* An error at each key of a mapping that is not among names (which ends with NULL): `field fro not
 * found in type rulefmt.Rule; did you mean "for"?`. */
void yaml_check_keys(const struct yaml_node *map, const char *const *names, const char *type,
                     const char *file, struct diags *d);

/* Where byte offset of a scalar's text stands in the file, through quotes, escapes, folded lines
 * and indentation. At the end of the text or in white space: behind the last character before it. */
void yaml_place(const struct yaml_node *n, size_t offset, uint32_t *line, uint32_t *col);
