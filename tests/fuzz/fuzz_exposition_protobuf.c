/* fuzz_exposition_protobuf.c -- reads the input as protobuf metrics: the text that it becomes must be
 * readable up to the names that it was given. */
#include "ingest/exposition.h"
#include "ingest/exposition_protobuf.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct exposition_options o = { 0 };
    struct buf text = { 0 };
    struct exposition x = { 0 };
    enum errc rc = exposition_from_protobuf((struct bytes){ data, size }, 1 << 20, &text, NULL);

    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    ASSERT(rc == OK || text.len == 0);
    ASSERT(exposition_begin(&x, &o, buf_as_str(&text), NULL) == OK);
    ASSERT(exposition_next(&x, SIZE_MAX, NULL) == OK);
    exposition_free(&x);
    buf_free(&text);
    return 0;
}
