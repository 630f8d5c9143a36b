/* gzip.h -- the gzip format (RFC 1952): what clients send, decoded within limits, and what we answer,
 * encoded piece by piece. zlib is named in gzip.c only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

/* Beyond its first megabyte a body may not decode to more than this times its size: real ones stay
 * far below, and a bomb (up to 1,032 times) would make us work for nothing. */
enum { GZIP_MAX_RATIO = 200 };

/* Replaces the content of out by the decoded bytes of one or more gzip members; the zlib format
 * (RFC 1950, HTTP's "deflate") is taken too. Memory grows with what has been decoded, never with
 * what a body claims.
 *   ERR_TOO_LARGE  more than max_decoded bytes, or over the ratio; the text names the limit
 *   ERR_BAD_DATA   not gzip, damaged, or cut short
 *   ERR_NOMEM
 * After an error out is empty. */
MUST_USE enum errc gzip_decode(struct bytes in, size_t max_decoded, struct buf *out,
                               struct err *err);

/* Replaces the content of out by in as one gzip member. ERR_NOMEM leaves out empty. */
MUST_USE enum errc gzip_encode(struct bytes in, struct buf *out, struct err *err);

/* An encoder of one member. It holds about 130 KB. */
struct gzip_writer;

struct gzip_writer *gzip_writer_new(void);    /* NULL when out of memory */
void gzip_writer_free(struct gzip_writer *w); /* NULL is fine */

/* Appends to out what follows from in; perhaps nothing yet, unless last is true: then all. After
 * the last piece nothing may be added. Sets out->failed when out of memory. */
void gzip_writer_add(struct gzip_writer *w, struct bytes in, bool last, struct buf *out);
