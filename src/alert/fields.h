/* fields.h -- taking fields out of a mapping that an operator wrote, with every fault told at its
 * place.
 *
 * Each field_... call gives its default for a field that is absent or null, and for one with a
 * fault. Whether there were faults is asked once, of the diagnostics.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "base/yaml.h"
#include "storage/labels.h"

struct arena;
struct diags;

struct fields {
    const char *file;
    struct diags *d;
    const char *prefix; /* stands before every text: `group "g", rule 1, "a": `, or "" */
};

/* A fault at the place where a node begins. */
void fields_fault(const struct fields *f, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* A fault at a byte of a scalar's text. */
void fields_fault_in(const struct fields *f, const struct yaml_node *at, size_t offset,
                     const char *fmt, ...) PRINTF_LIKE(4, 5);

void fields_warn(const struct fields *f, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Whether n is of the kind; a fault that calls it what ("each rule") when it is not. */
bool fields_is(const struct fields *f, const struct yaml_node *n, enum yaml_kind kind,
               const char *what);

/* The value of a field, NULL when it is absent or null. */
struct yaml_node *field_any(const struct yaml_node *map, const char *name);

/* The same for a value that must be of a kind; NULL also when it is not. */
struct yaml_node *field_of(const struct fields *f, const struct yaml_node *map, const char *name,
                           enum yaml_kind kind);

/* A scalar's text, empty by default; borrowed from the tree. */
struct str field_str(const struct fields *f, const struct yaml_node *map, const char *name);

/* A duration, fallback_ms by default. */
int64_t field_duration(const struct fields *f, const struct yaml_node *map, const char *name,
                       int64_t fallback_ms);

/* A whole number, 0 by default. */
int64_t field_integer(const struct fields *f, const struct yaml_node *map, const char *name);

/* The pairs of a mapping of scalars, sorted, copied into the arena; null is an empty value. what is
 * "label" or "annotation": names that are none of these are faults. False when out of memory. */
MUST_USE bool field_pairs(const struct fields *f, const struct yaml_node *map, const char *what,
                          struct arena *a, struct labels *out);

/* Sorts labels by name. */
void fields_sort(struct label *items, size_t n);
