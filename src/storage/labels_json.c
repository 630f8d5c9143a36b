#include "storage/labels_json.h"

#include "base/banned.h"

void json_labels(struct buf *b, struct labels ls)
{
    buf_u8(b, '{');
    for (size_t i = 0; i < ls.n; i++) {
        if (i)
            buf_u8(b, ',');
        json_string(b, ls.items[i].name);
        buf_u8(b, ':');
        json_string(b, ls.items[i].value);
    }
    buf_u8(b, '}');
}
