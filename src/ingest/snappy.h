/* snappy.h -- the Snappy block format (google/snappy, format_description.txt), which remote write
 * and remote read bodies are in.
 *
 * The block format only: a body in the framing format (framing_format.txt) is refused with a text
 * that says so, because clients mix the two up.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

/* Replaces the content of out by the decoded bytes. Nothing is allocated before the announced
 * length is known to be possible and allowed.
 *   ERR_TOO_LARGE  more than max_decoded bytes are announced; the text names both numbers
 *   ERR_BAD_DATA   not a Snappy block
 *   ERR_NOMEM
 * After an error out is empty. */
MUST_USE enum errc snappy_decode(struct bytes in, size_t max_decoded, struct buf *out,
                                 struct err *err);

/* Replaces the content of out by in, encoded; in may be empty. ERR_NOMEM leaves out empty. */
MUST_USE enum errc snappy_encode(struct bytes in, struct buf *out, struct err *err);
