/* exposition_protobuf.h -- the exposition format as protobuf (io.prometheus.client.MetricFamily, each
 * with its length before it), which Prometheus' client for Go pushes, as the text that says the same.
 *
 * Classic histograms and summaries only: of a native histogram count and sum are left. Start times
 * and exemplars are left out.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

/* Replaces the content of out by the text (ingest/exposition.h). After an error out is empty.
 *   ERR_BAD_DATA   not such messages: the text names the family and byte
 *   ERR_TOO_LARGE  the text would be longer than max bytes
 *   ERR_NOMEM */
MUST_USE enum errc exposition_from_protobuf(struct bytes in, size_t max, struct buf *out,
                                            struct err *err);
