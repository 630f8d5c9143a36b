#include "storage/seal.h"

#include "base/hash.h"

#include "base/banned.h"

void seal_add(struct buf *value, struct bytes key)
{
    buf_u32(value, crc32c(crc32c(0, key.ptr, key.len), value->ptr, value->len));
}

bool seal_check(struct bytes *value, struct bytes key)
{
    if (value->len < SEAL_BYTES)
        return false;
    value->len -= SEAL_BYTES;
    return load_u32le(value->ptr + value->len)
           == crc32c(crc32c(0, key.ptr, key.len), value->ptr, value->len);
}
