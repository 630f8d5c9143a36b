/* fuzz_otlp_json.c -- reads the input as OTLP's JSON: what it becomes must be a message that can be
 * read as protobuf, unless its lengths or nesting are over a limit. */
#include "base/arena.h"
#include "base/json_reader.h"
#include "ingest/otlp_answer.h"
#include "ingest/otlp_json.h"
#include "otlp_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct otlp_options options = otlp_options_default();
    const struct bytes in = { data, size };
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    struct json_reader r = json_reader_on((struct str){ (const char *)data, size });
    struct buf message = { 0 };
    struct otlp o = { 0 };
    enum errc rc = otlp_json_to_protobuf(in, 1 << 20, &message, &err);
    bool valid;

    json_skip(&r);
    json_end(&r);
    valid = r.fault == NULL;
    json_reader_free(&r);
    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    ASSERT(rc != OK || valid);
    if (rc == OK) {
        rc = otlp_read(&o, &options, buf_as_bytes(&message), &err);
        if (rc == ERR_BAD_DATA) /* the two bound the nesting of values differently */
            ASSERT(strstr(err_text(&err), "nested deeper"));
    }
    check_otlp(&o);
    otlp_free(&o);
    buf_free(&message);
    (void)otlp_count_items(in, true, OTLP_LOGS);
    arena_free(arena);
    return 0;
}
