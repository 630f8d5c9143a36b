/* gzip.h -- the gzip format (RFC 1952), which bodies are compressed with. zlib is named in gzip.c
 * only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

/* Replaces the content of out by the decoded bytes of in, one or more gzip members; the zlib format
 * (RFC 1950, HTTP's "deflate") is taken too. Memory grows with what has been decoded, never with
 * what a body claims, and never beyond max_decoded.
 *   ERR_TOO_LARGE  it decodes to more than max_decoded bytes
 *   ERR_BAD_DATA   not gzip, cut short, or a checksum that does not match
 *   ERR_NOMEM
 * After an error out is empty. */
MUST_USE enum errc gzip_decode(struct bytes in, size_t max_decoded, struct buf *out,
                               struct err *err);

/* Replaces the content of out by in as one gzip member. ERR_NOMEM leaves out empty. */
MUST_USE enum errc gzip_encode(struct bytes in, struct buf *out, struct err *err);
