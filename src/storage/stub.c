#include "base/bytes.h"
#include "storage/days.h"
#include "storage/day.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"
void day_unref(struct day *d) { }
uint64_t day_last_flush(const struct day *d) { return 0; }
enum errc day_writer_begin(struct day *d, uint64_t flush, struct day_writer **out, struct err *err) { return ERR_UNSUPPORTED; }
enum errc day_writer_add(struct day_writer *w, struct labels labels, const struct column *samples, struct err *err) { return ERR_UNSUPPORTED; }
enum errc day_writer_commit(struct day_writer *w, struct err *err) { return ERR_UNSUPPORTED; }
void day_writer_abort(struct day_writer *w) { }
enum errc day_txn_begin(struct day *d, uint64_t max_flush, struct day_txn **out, struct err *err) { return ERR_UNSUPPORTED; }
void day_txn_end(struct day_txn *t) { }
struct index_source day_index(struct day_txn *t) { return (struct index_source){ 0 }; }
enum errc day_labels(struct day_txn *t, uint32_t id, struct arena *a, struct labels *out, struct err *err) { return ERR_UNSUPPORTED; }
enum errc day_read(struct day_txn *t, uint32_t id, int64_t min_t_ms, int64_t max_t_ms, struct column *out, bool *overlaps, struct err *err) { return ERR_UNSUPPORTED; }
enum errc day_each_name(struct day_txn *t, bool (*fn)(void *ctx, struct str name), void *ctx, struct err *err) { return ERR_UNSUPPORTED; }

bool day_is_idle(const struct day *d) { return false; }
enum errc day_open(const char *path, int64_t day, size_t map_bytes, bool create, struct day **out, struct err *err) { return ERR_UNSUPPORTED; }
struct day *day_ref(struct day *d) { return d; }
