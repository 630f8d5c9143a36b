#include "storage/record.h"

#include "base/banned.h"

enum { VERSION = 1 };

void record_define(struct record_writer *w, uint32_t ref, struct labels ls)
{
    struct buf key = { 0 };

    labels_encode(&key, ls);
    buf_uvarint(&w->definitions, ref);
    buf_uvarint(&w->definitions, key.len);
    buf_add(&w->definitions, key.ptr, key.len);
    w->definitions.failed |= key.failed;
    w->n_definitions++;
    buf_free(&key);
}

void record_series(struct record_writer *w, uint32_t ref, uint64_t n_samples)
{
    buf_varint(&w->series, (int64_t)ref - w->last_ref);
    buf_uvarint(&w->series, n_samples);
    w->last_ref = ref;
    w->n_series++;
}

void record_sample(struct record_writer *w, struct sample s)
{
    /* wraps for times 2^63 apart, and unwraps on reading */
    buf_varint(&w->series, (int64_t)((uint64_t)s.t_ms - (uint64_t)w->last_t_ms));
    buf_u64(&w->series, f64_bits(s.v));
    w->last_t_ms = s.t_ms;
}

enum errc record_finish(struct record_writer *w, struct buf *out)
{
    bool failed = w->definitions.failed || w->series.failed;

    buf_u8(out, VERSION);
    buf_uvarint(out, w->n_definitions);
    buf_add(out, w->definitions.ptr, w->definitions.len);
    buf_uvarint(out, w->n_series);
    buf_add(out, w->series.ptr, w->series.len);
    buf_clear(&w->definitions);
    buf_clear(&w->series);
    w->n_definitions = w->n_series = 0;
    w->last_ref = 0;
    w->last_t_ms = 0;
    return failed || out->failed ? ERR_NOMEM : OK;
}

void record_writer_free(struct record_writer *w)
{
    buf_free(&w->definitions);
    buf_free(&w->series);
}

static bool read_definitions(struct reader *r, const struct record_handler *h)
{
    uint64_t n = read_uvarint(r);

    for (uint64_t i = 0; i < n && !r->overrun; i++) {
        uint64_t ref = read_uvarint(r);
        struct bytes labels = read_bytes(r, read_uvarint(r));

        if (ref >= UINT32_MAX)
            r->overrun = true;
        if (!r->overrun && h->define && !h->define(h->ctx, (uint32_t)ref, labels))
            return false;
    }
    return true;
}

static bool read_series(struct reader *r, const struct record_handler *h)
{
    uint64_t n = read_uvarint(r);
    int64_t ref = 0, t_ms = 0;

    for (uint64_t i = 0; i < n && !r->overrun; i++) {
        uint64_t n_samples;

        ref = (int64_t)((uint64_t)ref + (uint64_t)read_varint(r));
        n_samples = read_uvarint(r);
        if (ref < 0 || ref >= UINT32_MAX)
            r->overrun = true;
        for (uint64_t k = 0; k < n_samples && !r->overrun; k++) {
            t_ms = (int64_t)((uint64_t)t_ms + (uint64_t)read_varint(r));
            struct sample s = { t_ms, f64_from_bits(read_u64(r)) };

            if (!r->overrun && !h->sample(h->ctx, (uint32_t)ref, s))
                return false;
        }
    }
    return true;
}

enum errc record_read(struct bytes record, const struct record_handler *h, struct err *err)
{
    struct reader r = reader_on(record);
    uint8_t version = read_u8(&r);

    if (!r.overrun && version != VERSION)
        return err_set(err, ERR_CORRUPT, 0, "log record has version %u, expected %u", version,
                       VERSION);
    if (!read_definitions(&r, h) || !read_series(&r, h))
        return err_set(err, ERR_CANCELED, 0, "reading of a log record was stopped");
    if (r.overrun || reader_left(&r) > 0)
        return err_set(err, ERR_CORRUPT, 0, "log record of %zu bytes is malformed", record.len);
    return OK;
}
