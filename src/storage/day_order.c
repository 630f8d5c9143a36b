/* day_order.c -- the series of a day in the order of their labels.
 *
 * Sorting by text would decode and compare the same label texts over and over. So the symbols are
 * sorted once, and a series is compared as the ranks of its symbols, read from the file's map: for
 * a million series that takes 4 bytes for each symbol and 16 for each series beside the map.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/day_private.h"
#include "storage/seal.h"

#include "base/banned.h"

/* A sealed value of a table that is numbered from 1 without gaps. */
struct row {
    const uint8_t *ptr;
    uint32_t len;
    uint32_t id;
};

/* All rows of such a table, checked, malloc'd. */
static enum errc read_rows(struct day_txn *t, unsigned table, const char *what, uint32_t n,
                           struct row **out, struct err *err)
{
    struct row *rows = malloc(((size_t)n + 1) * sizeof *rows);
    struct kv_cursor c = { 0 };
    struct day_key first;
    enum errc rc = rows ? kv_cursor_open(t->kv, table, &c, err)
                        : err_set(err, ERR_NOMEM, 0, "sort %s: out of memory", day_path(t->day));

    for (uint32_t i = 0; rc == OK && i < n; i++) {
        rc = i == 0 ? kv_seek(&c, key_u32(&first, 1), err) : kv_next(&c, err);
        struct bytes value = c.value;

        if (rc == ERR_NOT_FOUND
            || (rc == OK
                && (c.key.len != 4 || load_u32be(c.key.ptr) != i + 1 || !seal_check(&value, c.key)
                    || value.len > UINT32_MAX)))
            rc = day_corrupt(t->day, what, i + 1, err);
        rows[i] = (struct row){ value.ptr, (uint32_t)value.len, i + 1 };
    }
    kv_cursor_close(&c);
    if (rc == OK)
        *out = rows;
    else
        free(rows);
    return rc;
}

static int compare_texts(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return str_cmp((struct str){ (const char *)x->ptr, x->len },
                   (struct str){ (const char *)y->ptr, y->len });
}

/* The place of each symbol among all, sorted; ranks[0] is not used. malloc'd. */
static enum errc rank_symbols(struct day_txn *t, uint32_t n, uint32_t **out, struct err *err)
{
    uint32_t *ranks = malloc(((size_t)n + 1) * sizeof *ranks);
    struct row *rows = NULL;
    enum errc rc = ranks ? read_rows(t, DAY_SYMBOLS, "symbol", n, &rows, err)
                         : err_set(err, ERR_NOMEM, 0, "sort %s: out of memory", day_path(t->day));

    if (rc != OK) {
        free(ranks);
        return rc;
    }
    qsort(rows, n, sizeof *rows, compare_texts);
    for (uint32_t i = 0; i < n; i++)
        ranks[rows[i].id] = i;
    free(rows);
    *out = ranks;
    return OK;
}

static enum errc check_series(struct day_txn *t, const struct row *rows, uint32_t n,
                              uint32_t n_symbols, struct err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        struct reader r = reader_on((struct bytes){ rows[i].ptr, rows[i].len });
        size_t symbols = 0;

        for (; reader_left(&r) > 0; symbols++) {
            uint64_t symbol = read_uvarint(&r);

            if (symbol == 0 || symbol > n_symbols)
                return day_corrupt(t->day, "series", i + 1, err);
        }
        if (r.overrun || symbols == 0 || symbols % 2)
            return day_corrupt(t->day, "series", i + 1, err);
    }
    return OK;
}

/* labels_cmp() of two series, by the ranks of their symbols. */
static int compare_series(const void *a, const void *b, void *ctx)
{
    const struct row *x = a, *y = b;
    const uint32_t *ranks = ctx;
    struct reader p = reader_on((struct bytes){ x->ptr, x->len });
    struct reader q = reader_on((struct bytes){ y->ptr, y->len });

    while (reader_left(&p) > 0 && reader_left(&q) > 0) {
        uint32_t i = ranks[read_uvarint(&p)], k = ranks[read_uvarint(&q)];

        if (i != k)
            return i < k ? -1 : 1;
    }
    return (reader_left(&p) > 0) - (reader_left(&q) > 0);
}

enum errc day_order(struct day_txn *t, uint32_t **ids, size_t *n, struct err *err)
{
    const struct flush_record none = { 0 };
    const struct flush_record *last = t->n_flushes ? &t->flushes[t->n_flushes - 1] : &none;
    uint32_t *ranks = NULL, *sorted = NULL;
    struct row *rows = NULL;
    enum errc rc = rank_symbols(t, last->last_symbol, &ranks, err);

    if (rc == OK)
        rc = read_rows(t, DAY_SERIES, "series", last->last_series, &rows, err);
    if (rc == OK)
        rc = check_series(t, rows, last->last_series, last->last_symbol, err);
    if (rc == OK && !(sorted = malloc(((size_t)last->last_series + 1) * sizeof *sorted)))
        rc = err_set(err, ERR_NOMEM, 0, "sort %s: out of memory", day_path(t->day));
    if (rc == OK) {
        qsort_r(rows, last->last_series, sizeof *rows, compare_series, ranks);
        for (uint32_t i = 0; i < last->last_series; i++)
            sorted[i] = rows[i].id;
        *ids = sorted;
        *n = last->last_series;
    }
    free(ranks);
    free(rows);
    return rc;
}
