/* fuzz_gzip.c -- gzip bodies as clients send them; and what we encode reads back. */
#include <stdlib.h>

#include "base/gzip.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 3 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = { data, size };
    struct buf out = { 0 }, packed = { 0 };
    struct gzip_writer *w = gzip_writer_new();

    if (!w)
        return 0;
    if (gzip_decode(in, MAX, &out, NULL) == OK)
        ASSERT(out.len <= MAX);
    else
        ASSERT(out.len == 0);
    gzip_writer_add(w, (struct bytes){ data, size / 2 }, false, &packed);
    gzip_writer_add(w, (struct bytes){ data + size / 2, size - size / 2 }, true, &packed);
    ASSERT(gzip_decode(buf_as_bytes(&packed), MAX, &out, NULL) == OK);
    ASSERT(out.len == size && (size == 0 || memcmp(out.ptr, data, size) == 0));
    gzip_writer_free(w);
    buf_free(&packed);
    buf_free(&out);
    return 0;
}
