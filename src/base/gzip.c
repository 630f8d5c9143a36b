#include "base/gzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/banned.h"

enum {
    STEP_BYTES = 64 << 10, /* output is grown by at least this much */
    FREE_BYTES = 1 << 20,  /* what may come of any input, however small */
    GZIP_BITS = 16,        /* added to the window's bits: gzip and not zlib */
    ANY_BITS = 32,         /* the same for reading: gzip or zlib, by its header */
    LEVEL = 1,             /* JSON of samples: level 6 takes four times as long for a tenth less */
    WINDOW_BITS = 14,
    MEMORY_LEVEL = 7,
    WHOLE_MEMORY_LEVEL = 8 /* of what is encoded at once and has no client waiting */
};

/* ---- decoding ---- */

struct decoder {
    z_stream z;
    size_t limit; /* of out */
    bool by_ratio;
};

static enum errc too_large(const struct decoder *d, struct err *err)
{
    if (d->by_ratio)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "gzip: the body decodes to more than %d times its size", GZIP_MAX_RATIO);
    return err_set(err, ERR_TOO_LARGE, 0,
                   "gzip: the body decodes to more than the %zu bytes that are allowed", d->limit);
}

/* Makes room for more output, one byte beyond the limit at most, by which an excess shows. */
static enum errc make_room(struct decoder *d, struct buf *out, struct err *err)
{
    size_t n = d->limit + 1 - out->len;

    if (out->len > d->limit)
        return too_large(d, err);
    if (n > STEP_BYTES)
        n = STEP_BYTES;
    d->z.next_out = buf_reserve(out, n);
    d->z.avail_out = (uInt)n;
    if (!d->z.next_out)
        return err_set(err, ERR_NOMEM, 0, "gzip: no memory for the decoded body");
    return OK;
}

/* Decodes up to the end of the input. */
static enum errc decode_members(struct decoder *d, struct buf *out, struct err *err)
{
    int z = Z_OK;

    while (d->z.avail_in > 0 || z != Z_STREAM_END) {
        enum errc rc = make_room(d, out, err);
        uInt room = d->z.avail_out;

        if (rc)
            return rc;
        if (z == Z_STREAM_END && inflateReset(&d->z) != Z_OK) /* a further member begins */
            return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
        z = inflate(&d->z, Z_NO_FLUSH);
        out->len += room - d->z.avail_out;
        if (z == Z_MEM_ERROR)
            return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
        if (z == Z_BUF_ERROR)
            return err_set(err, ERR_BAD_DATA, 0, "gzip: the body is cut short");
        if (z != Z_OK && z != Z_STREAM_END)
            return err_set(err, ERR_BAD_DATA, 0, "gzip: %s", d->z.msg ? d->z.msg : "corrupt input");
    }
    return out->len > d->limit ? too_large(d, err) : OK;
}

enum errc gzip_decode(struct bytes in, size_t max_decoded, struct buf *out, struct err *err)
{
    struct decoder d = { .limit = max_decoded };
    size_t by_ratio = in.len * GZIP_MAX_RATIO;
    enum errc rc;

    buf_clear(out);
    if (in.len > UINT32_MAX || max_decoded > SIZE_MAX / 2)
        return err_set(err, ERR_TOO_LARGE, 0, "gzip: a body of %zu bytes is too large", in.len);
    if (by_ratio < FREE_BYTES)
        by_ratio = FREE_BYTES;
    if (by_ratio < max_decoded) {
        d.limit = by_ratio;
        d.by_ratio = true;
    }
    d.z.next_in = (Bytef *)in.ptr; /* zlib only reads it */
    d.z.avail_in = (uInt)in.len;
    if (inflateInit2(&d.z, MAX_WBITS + ANY_BITS) != Z_OK)
        return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
    rc = decode_members(&d, out, err);
    inflateEnd(&d.z);
    if (rc)
        buf_clear(out);
    return rc;
}

/* ---- encoding ---- */

enum errc gzip_encode(struct bytes in, struct buf *out, struct err *err)
{
    z_stream z = { 0 };
    uint8_t *to;
    size_t bound;

    ASSERT(in.len < UINT_MAX / 2);
    buf_clear(out);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP_BITS,
                     WHOLE_MEMORY_LEVEL, Z_DEFAULT_STRATEGY)
        != Z_OK)
        return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
    bound = deflateBound(&z, in.len);
    to = buf_reserve(out, bound);
    if (to) {
        int rc;

        z.next_in = (Bytef *)in.ptr;
        z.avail_in = (uInt)in.len;
        z.next_out = to;
        z.avail_out = (uInt)bound;
        rc = deflate(&z, Z_FINISH);
        ASSERT(rc == Z_STREAM_END); /* the bound is enough */
        out->len = z.total_out;
    }
    deflateEnd(&z);
    return to ? OK : err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
}

struct gzip_writer {
    z_stream z;
};

struct gzip_writer *gzip_writer_new(void)
{
    struct gzip_writer *w = calloc(1, sizeof *w);

    if (w
        && deflateInit2(&w->z, LEVEL, Z_DEFLATED, WINDOW_BITS + GZIP_BITS, MEMORY_LEVEL,
                        Z_DEFAULT_STRATEGY)
               != Z_OK) {
        free(w);
        return NULL;
    }
    return w;
}

void gzip_writer_free(struct gzip_writer *w)
{
    if (!w)
        return;
    deflateEnd(&w->z);
    free(w);
}

void gzip_writer_add(struct gzip_writer *w, struct bytes in, bool last, struct buf *out)
{
    int z = Z_OK;

    ASSERT(in.len <= UINT32_MAX);
    w->z.next_in = (Bytef *)in.ptr; /* zlib only reads it */
    w->z.avail_in = (uInt)in.len;
    while (w->z.avail_in > 0 || (last && z != Z_STREAM_END)) {
        size_t n = 256 + w->z.avail_in / 4;
        uInt room = n < STEP_BYTES ? (uInt)n : STEP_BYTES;

        w->z.next_out = buf_reserve(out, room);
        w->z.avail_out = room;
        if (!w->z.next_out)
            return;
        z = deflate(&w->z, last ? Z_FINISH : Z_NO_FLUSH);
        ASSERT(z == Z_OK || z == Z_STREAM_END);
        out->len += room - w->z.avail_out;
    }
}
