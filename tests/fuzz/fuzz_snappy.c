/* fuzz_snappy.c -- decodes the input as a block, and encodes it and decodes it again. */
#include "ingest/snappy.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes in = { data, size };
    const size_t max_decoded = 1 << 20;
    struct buf block = { 0 }, out = { 0 };
    enum errc rc = snappy_decode(in, max_decoded, &out, NULL);

    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    ASSERT(out.len <= (rc == OK ? max_decoded : 0));

    ASSERT(snappy_encode(in, &block, NULL) == OK);
    ASSERT(snappy_decode(buf_as_bytes(&block), size, &out, NULL) == OK);
    ASSERT(out.len == size && (size == 0 || memcmp(out.ptr, data, size) == 0));
    buf_free(&block);
    buf_free(&out);
    return 0;
}
