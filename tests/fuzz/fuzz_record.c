/* fuzz_record.c -- reads the input as a log record and decodes what it says, as a replay would; twice,
 * with the same outcome. */
#include "base/arena.h"
#include "storage/record.h"

#include "base/banned.h"

struct seen {
    struct arena *arena;
    uint64_t n, sum; /* of calls, and of what they were given */
};

static bool note(struct seen *c, uint64_t a, uint64_t b, uint64_t d)
{
    c->n++;
    c->sum =
        (c->sum ^ a ^ (b << 17 | b >> 47) ^ (d << 31 | d >> 33)) * UINT64_C(0x9e3779b97f4a7c15);
    return c->n < 100000;
}

static bool define(void *ctx, uint32_t ref, struct bytes encoded)
{
    struct seen *c = ctx;
    struct labels ls;

    arena_reset(c->arena);
    (void)!labels_decode(encoded, c->arena, &ls, NULL);
    return note(c, ref, encoded.len, 1);
}

static bool sample(void *ctx, uint32_t ref, struct sample s, int64_t start_ms)
{
    return note(ctx, ref, (uint64_t)s.t_ms ^ f64_bits(s.v), (uint64_t)start_ms);
}

static bool histogram(void *ctx, uint32_t ref, int64_t t_ms, int64_t start_ms, struct bytes encoded)
{
    struct seen *c = ctx;
    struct reader r = reader_on(encoded);
    struct histogram h;

    arena_reset(c->arena);
    if (histogram_decode(&r, c->arena, &h, NULL) == OK && reader_left(&r) == 0) {
        struct buf again = { 0 };
        struct err err = err_in(c->arena);

        (void)!histogram_check(&h, &err);
        histogram_encode(&again, &h);
        ASSERT(again.len <= encoded.len); /* numbers may be padded in the input */
        buf_free(&again);
    }
    return note(c, ref, (uint64_t)t_ms, (uint64_t)start_ms);
}

static bool exemplar(void *ctx, uint32_t ref, int64_t t_ms, double v, struct bytes encoded)
{
    struct seen *c = ctx;
    struct labels ls;

    arena_reset(c->arena);
    (void)!labels_decode(encoded, c->arena, &ls, NULL);
    return note(c, ref, (uint64_t)t_ms, f64_bits(v));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first = { .arena = arena_new((size_t)64 << 20) }, second = first;
    struct record_handler h = { &first, define, sample, histogram, exemplar };
    struct err err = err_in(first.arena);
    enum errc rc = record_read((struct bytes){ data, size }, &h, &err);

    ASSERT(rc == OK || rc == ERR_CORRUPT || rc == ERR_CANCELED);
    h.ctx = &second;
    ASSERT(record_read((struct bytes){ data, size }, &h, NULL) == rc);
    ASSERT(first.n == second.n && first.sum == second.sum);
    arena_free(first.arena);
    return 0;
}
