/* config_private.h -- what the files config*.c share. */
#pragma once

#include <stdbool.h>

#include "alert/config.h"
#include "alert/fields.h"

struct config_reading {
    struct fields f;
    struct config *c;
    enum errc rc; /* ERR_NOMEM once memory ran out: nothing goes on then */
};

/* A key of a mapping. Tables of them end with a NULL name. */
struct config_key {
    const char *name;
    const char *ignored; /* why a key that Prometheus knows is a warning; NULL: it is supported */
};

/* What Prometheus knows and we do not do, without a particular reason. */
#define CONFIG_UNSUPPORTED "not supported"

/* An error for each unknown key, a warning for each that is ignored. */
void config_check_keys(const struct config_reading *r, const struct yaml_node *map,
                       const struct config_key *keys, const char *type);

/* A copy in the configuration's arena; NULL when out of memory, which r knows then. */
const char *config_keep(struct config_reading *r, struct str s);

/* A path as the file means it: relative to the file's folder. NULL as config_keep(). */
const char *config_path(struct config_reading *r, struct str path);

/* The value of `otlp`, and the same as text (config_otlp.c). */
void config_read_otlp(struct config_reading *r, const struct yaml_node *map);
void config_print_otlp(struct buf *b, const struct config_otlp *o);

/* The value of `alerting`. */
void config_read_alerting(struct config_reading *r, const struct yaml_node *map);
