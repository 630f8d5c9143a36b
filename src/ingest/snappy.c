/* snappy.c
 *
 *   block   = uvarint(decoded length, 32 bits) element*
 *   element = tag byte, 0..4 bytes of length or offset, literal bytes
 *
 * The block has no checksum, so a damaged one may decode: what the bytes mean is checked by the
 * protobuf reader behind us.
 */
#include "ingest/snappy.h"

#include <snappy-c.h>

#include "base/banned.h"

/* A copy element makes at most 64 bytes of 3, and the length itself takes at least one byte, so a
 * block never grows by as much as this. */
enum { MAX_GROWTH = 22 };

static const uint8_t framing_magic[] = { 0xff, 0x06, 0x00, 0x00, 's', 'N', 'a', 'P', 'p', 'Y' };

static bool is_framed(struct bytes in)
{
    return in.len >= sizeof framing_magic
           && memcmp(in.ptr, framing_magic, sizeof framing_magic) == 0;
}

enum errc snappy_decode(struct bytes in, size_t max_decoded, struct buf *out, struct err *err)
{
    const char *data = (const char *)in.ptr;
    size_t announced = 0, n;
    uint8_t *to;

    buf_clear(out);
    if (is_framed(in))
        return err_set(err, ERR_BAD_DATA, 0,
                       "snappy: the body is in the framing format, the block format is needed");
    if (in.len == 0 || snappy_uncompressed_length(data, in.len, &announced) != SNAPPY_OK
        || announced / MAX_GROWTH > in.len)
        return err_set(err, ERR_BAD_DATA, 0, "snappy: corrupt input");
    if (announced > max_decoded)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "snappy: the body decodes to %zu bytes, at most %zu are allowed", announced,
                       max_decoded);
    to = buf_reserve(out, announced ? announced : 1); /* never NULL for an empty block */
    if (!to) {
        buf_clear(out);
        return err_set(err, ERR_NOMEM, 0, "snappy: no memory for %zu bytes", announced);
    }
    n = announced;
    if (snappy_uncompress(data, in.len, (char *)to, &n) != SNAPPY_OK || n != announced)
        return err_set(err, ERR_BAD_DATA, 0, "snappy: corrupt input");
    out->len = n;
    return OK;
}

enum errc snappy_encode(struct bytes in, struct buf *out, struct err *err)
{
    size_t n = snappy_max_compressed_length(in.len);
    uint8_t *to;

    buf_clear(out);
    to = buf_reserve(out, n);
    if (!to) {
        buf_clear(out);
        return err_set(err, ERR_NOMEM, 0, "snappy: no memory for %zu bytes", n);
    }
    snappy_status status = snappy_compress((const char *)in.ptr, in.len, (char *)to, &n);

    ASSERT(status == SNAPPY_OK); /* fails only when the output is too small */
    out->len = n;
    return OK;
}
