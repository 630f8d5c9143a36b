#include "base/gzip.h"

#include <limits.h>
#include <zlib.h>

#include "base/banned.h"

enum {
    FIRST_FACTOR = 4, /* what is first made room for, as a multiple of the input */
    ANY_FORMAT = 32,  /* for inflateInit2(): gzip or zlib, by its header */
    GZIP_FORMAT = 16, /* for deflateInit2() */
    MEMORY_LEVEL = 8,
};

/* Makes room behind what has been decoded; at most one byte more than is allowed, so that being
 * over the limit shows. */
static bool more_room(z_stream *z, struct buf *out, size_t max_decoded, size_t in_len)
{
    size_t want = out->len ? 2 * out->len : FIRST_FACTOR * in_len + 64;
    uint8_t *to;

    if (want > max_decoded + 1)
        want = max_decoded + 1;
    to = buf_reserve(out, want - out->len);
    if (!to)
        return false;
    z->next_out = to;
    z->avail_out = (uInt)(want - out->len);
    return true;
}

static enum errc inflate_all(z_stream *z, size_t in_len, size_t max_decoded, struct buf *out,
                             struct err *err)
{
    int rc = Z_OK;

    while (rc != Z_STREAM_END || z->avail_in > 0) {
        size_t room;

        if (rc == Z_STREAM_END && inflateReset(z) != Z_OK)
            break;
        if (out->len > max_decoded)
            return err_set(err, ERR_TOO_LARGE, 0,
                           "gzip: the body decodes to more than the %zu bytes that are allowed",
                           max_decoded);
        if (!more_room(z, out, max_decoded, in_len))
            return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
        room = z->avail_out;
        rc = inflate(z, Z_NO_FLUSH);
        out->len += room - z->avail_out;
        if (rc == Z_MEM_ERROR)
            return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
        if (rc == Z_BUF_ERROR || (rc == Z_OK && z->avail_in == 0 && z->avail_out > 0))
            return err_set(err, ERR_BAD_DATA, 0, "gzip: the body ends too early");
        if (rc != Z_OK && rc != Z_STREAM_END)
            return err_set(err, ERR_BAD_DATA, 0, "gzip: %s", z->msg ? z->msg : "corrupt input");
    }
    if (out->len > max_decoded)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "gzip: the body decodes to more than the %zu bytes that are allowed",
                       max_decoded);
    return OK;
}

enum errc gzip_decode(struct bytes in, size_t max_decoded, struct buf *out, struct err *err)
{
    z_stream z = { 0 };
    enum errc rc;

    ASSERT(max_decoded < UINT_MAX / 2);
    buf_clear(out);
    if (in.len > UINT_MAX / (2 * FIRST_FACTOR))
        return err_set(err, ERR_TOO_LARGE, 0, "gzip: a body of %zu bytes", in.len);
    if (inflateInit2(&z, MAX_WBITS + ANY_FORMAT) != Z_OK)
        return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
    z.next_in = (z_const Bytef *)in.ptr;
    z.avail_in = (uInt)in.len;
    rc = in.len ? inflate_all(&z, in.len, max_decoded, out, err)
                : err_set(err, ERR_BAD_DATA, 0, "gzip: the body is empty");
    inflateEnd(&z);
    if (rc != OK)
        buf_clear(out);
    return rc;
}

enum errc gzip_encode(struct bytes in, struct buf *out, struct err *err)
{
    z_stream z = { 0 };
    uint8_t *to;
    size_t bound;

    ASSERT(in.len < UINT_MAX / 2);
    buf_clear(out);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP_FORMAT, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY)
        != Z_OK)
        return err_set(err, ERR_NOMEM, 0, "gzip: out of memory");
    bound = deflateBound(&z, in.len);
    to = buf_reserve(out, bound);
    if (to) {
        int rc;

        z.next_in = (z_const Bytef *)in.ptr;
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
