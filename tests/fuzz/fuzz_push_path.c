/* fuzz_push_path.c -- reads the input as the path of a group: its labels must be sorted, valid, and
 * have a job. */
#include "base/arena.h"
#include "http/api_push.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    char *path = arena_alloc(arena, size + 10);
    struct labels name;

    memcpy(path, "/metrics/", 9);
    if (size)
        memcpy(path + 9, data, size);
    if (api_push_path((struct str){ path, 9 + size }, arena, &name, &err) == OK) {
        ASSERT(labels_get(name, STR("job")).len > 0);
        for (size_t i = 0; i < name.n; i++) {
            ASSERT(name_is_legacy(name.items[i].name, false));
            ASSERT(utf8_valid(name.items[i].value) && name.items[i].value.len);
            ASSERT(i == 0 || str_cmp(name.items[i - 1].name, name.items[i].name) < 0);
        }
    }
    arena_free(arena);
    return 0;
}
