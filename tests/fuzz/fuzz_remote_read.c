/* fuzz_remote_read.c -- remote read requests, as they are sent and as plain protobuf. */
#include <stdlib.h>

#include "ingest/remote_read.h"
#include "ingest/snappy.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(struct bytes body)
{
    struct remote_read rr;

    if (remote_read_parse(body, &rr, NULL) == OK)
        ASSERT(rr.n_queries <= REMOTE_READ_MAX_QUERIES);
    else
        ASSERT(!rr.arena);
    remote_read_free(&rr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = { data, size };
    struct buf packed = { 0 };

    try(in);
    if (snappy_encode(in, &packed, NULL) == OK)
        try(buf_as_bytes(&packed));
    buf_free(&packed);
    return 0;
}
