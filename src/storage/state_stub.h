#pragma once
#include <stdbool.h>
#include "base/err.h"
#include "storage/db.h"
struct state;
enum errc state_open(const char *path, size_t map_bytes, struct state **out, struct err *err);
void state_close(struct state *s);
enum errc state_put_metadata(struct state *s, const struct metric_metadata *m, size_t n, struct err *err);
enum errc state_each_metadata(struct state *s, bool (*fn)(void *ctx, const struct metric_metadata *m), void *ctx, struct err *err);
