#include "base/diag.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/arena.h"

#include "base/banned.h"

/* A copy of a file name, the last item's when it is the same: faults come file by file. */
static const char *keep_file(struct diags *d, const char *file)
{
    if (d->n > 0 && strcmp(d->items[d->n - 1].file, file) == 0)
        return d->items[d->n - 1].file;
    return arena_strndup(d->arena, file, strlen(file));
}

static bool make_room(struct diags *d)
{
    size_t cap = d->cap ? 2 * d->cap : 8;
    struct diag *items;

    if (d->n < d->cap)
        return true;
    items = arena_grow(d->arena, d->items, d->cap * sizeof *items, cap * sizeof *items);
    if (!items)
        return false;
    d->items = items;
    d->cap = cap;
    return true;
}

static void add(struct diags *d, struct diag item, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);

/* item has place and kind; an error counts even when there is no room for its words. */
static void add(struct diags *d, struct diag item, const char *fmt, va_list ap)
{
    d->n_errors += !item.warning;
    item.text = arena_vprintf(d->arena, fmt, ap);
    item.file = keep_file(d, item.file);
    if (!item.text || !item.file || !make_room(d)) {
        d->full = true;
        return;
    }
    d->items[d->n++] = item;
}

void diag_error(struct diags *d, const char *file, uint32_t line, uint32_t col, const char *fmt,
                ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(d, (struct diag){ .file = file, .line = line, .col = col }, fmt, ap);
    va_end(ap);
}

void diag_warning(struct diags *d, const char *file, uint32_t line, uint32_t col, const char *fmt,
                  ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(d, (struct diag){ .file = file, .line = line, .col = col, .warning = true }, fmt, ap);
    va_end(ap);
}

/* By file, place, and the order in which they were found. */
static int order(const void *a, const void *b)
{
    const struct diag *x = *(const struct diag *const *)a, *y = *(const struct diag *const *)b;
    int by_file = strcmp(x->file, y->file);

    if (by_file != 0)
        return by_file;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->col != y->col)
        return x->col < y->col ? -1 : 1;
    return x < y ? -1 : x > y;
}

void diags_print(struct buf *b, const struct diags *d)
{
    const struct diag **sorted = malloc((d->n + 1) * sizeof *sorted);

    if (!sorted) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < d->n; i++)
        sorted[i] = &d->items[i];
    qsort(sorted, d->n, sizeof *sorted, order);
    for (size_t i = 0; i < d->n; i++) {
        buf_text(b, sorted[i]->file);
        if (sorted[i]->line > 0)
            buf_printf(b, ":%u:%u", sorted[i]->line, sorted[i]->col);
        buf_printf(b, ": %s%s\n", sorted[i]->warning ? "warning: " : "", sorted[i]->text);
    }
    if (d->full)
        buf_text(b, "further faults are not shown for want of memory\n");
    free(sorted);
}
