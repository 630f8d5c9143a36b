/* encoding.h -- Content-Encoding of requests and responses: gzip, or none.
 *
 * Nothing else is answered: of deflate there are two kinds, and zstd and br Grafana's proxy cannot
 * read. A request's deflate is taken when it has the zlib header it should have.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "http/message.h"

/* The body of rq without its Content-Encoding, at most max_decoded bytes: rq's own bytes when it
 * has none, else decoded into storage, which the caller zeroes first and frees with buf_free().
 * False: rs has the error as a text: 415 for another encoding than gzip, 413, 400 or 503. */
bool http_body_decode(const struct http_request *rq, size_t max_decoded, struct buf *storage,
                      struct bytes *body, struct http_response *rs);

/* Whether rq accepts coding ("gzip") in its answer: named in Accept-Encoding, or *, and not with
 * q=0. */
bool http_accepts_coding(const struct http_request *rq, const char *coding);

/* Compresses rs, whose next() need not have been called yet, when rq accepts that and it is worth
 * it: JSON and text of at least a kilobyte that has no Content-Encoding yet. A streamed response is
 * compressed while it is made. Out of memory leaves it as it is. */
void http_response_compress(const struct http_request *rq, struct http_response *rs);
