/* seal.h -- the checksum that every stored value ends with.
 *
 *   payload, then u32 LE: CRC-32C of the key's bytes followed by the payload
 *
 * The key is part of it, so that a value which turns up under another key does not pass.
 */
#pragma once

#include "base/bytes.h"

enum { SEAL_BYTES = 4 };

/* Appends the seal to a value. */
void seal_add(struct buf *value, struct bytes key);

/* Checks the seal and cuts it off; false when the value is damaged. */
MUST_USE bool seal_check(struct bytes *value, struct bytes key);
