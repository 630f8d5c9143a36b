#include "base/suggest.h"

#include <stdint.h>

#include "base/banned.h"

enum { MAX_NAME = 64 };

struct suggest suggest_for(struct str text)
{
    return (struct suggest){ .text = text, .distance = SIZE_MAX };
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Three rows of the table of distances between beginnings of a and b. */
static size_t distance(struct str a, struct str b)
{
    size_t rows[3][MAX_NAME], *before = rows[0], *above = rows[1], *row = rows[2];

    ASSERT(b.len < MAX_NAME);
    for (size_t k = 0; k <= b.len; k++)
        row[k] = k;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *reuse = before;

        before = above;
        above = row;
        row = reuse;
        row[0] = i;
        for (size_t k = 1; k <= b.len; k++) {
            row[k] = above[k - 1] + (a.ptr[i - 1] != b.ptr[k - 1]);
            row[k] = min(row[k], min(above[k], row[k - 1]) + 1);
            if (i > 1 && k > 1 && a.ptr[i - 1] == b.ptr[k - 2] && a.ptr[i - 2] == b.ptr[k - 1])
                row[k] = min(row[k], before[k - 2] + 1);
        }
    }
    return row[b.len];
}

void suggest_consider(struct suggest *s, const char *name)
{
    struct str n = str_from(name);
    size_t d;

    if (n.len >= MAX_NAME || s->text.len >= MAX_NAME)
        return;
    d = distance(s->text, n);
    if (d < s->distance) {
        s->distance = d;
        s->nearest = name;
    }
}

const char *suggest_nearest(const struct suggest *s)
{
    return s->nearest && s->distance <= 1 + strlen(s->nearest) / 4 ? s->nearest : NULL;
}
