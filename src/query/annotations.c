/* annotations.c -- texts are kept without position in a small hash table of chains, in the order
 * they came.
 */
#include "query/annotations.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/hash.h"
#include "query/eval.h"
#include "query/parse.h"

#include "base/banned.h"

enum { N_CHAINS = 64, MAX_SHOWN = 10, SHORT_TEXT = 512 };

struct annotation {
    struct annotation *next_in_chain, *next;
    enum annotation_kind kind;
    struct str text;
    uint32_t pos;
    uint64_t occurrences; /* 0: not counted */
};

struct annotations {
    struct arena *arena;
    struct str query_text; /* for positions */
    struct annotation *chains[N_CHAINS];
    struct annotation *first, **end;
    size_t count[2]; /* by kind */
};

struct annotations *annotations_new(struct arena *a)
{
    struct annotations *an = ARENA_NEW(a, struct annotations, 1);

    if (an) {
        an->arena = a;
        an->end = &an->first;
    }
    return an;
}

static void add(struct annotations *an, enum annotation_kind kind, uint32_t pos, struct str text,
                bool count)
{
    struct annotation **chain = &an->chains[hash64(text.ptr, text.len) % N_CHAINS];
    struct annotation *item;

    for (item = *chain; item; item = item->next_in_chain)
        if (item->kind == kind && str_equal(item->text, text)) {
            item->occurrences += count;
            return;
        }
    item = ARENA_NEW(an->arena, struct annotation, 1);
    if (!item || !(item->text = str_copy(an->arena, text)).ptr)
        return;
    item->kind = kind;
    item->pos = pos;
    item->occurrences = count;
    item->next_in_chain = *chain;
    *chain = item;
    *an->end = item;
    an->end = &item->next;
    an->count[kind]++;
}

static void annotate_va(struct query *q, enum annotation_kind kind, uint32_t pos, bool count,
                        const char *fmt, va_list ap) PRINTF_LIKE(5, 0);

static void annotate_va(struct query *q, enum annotation_kind kind, uint32_t pos, bool count,
                        const char *fmt, va_list ap)
{
    char text[SHORT_TEXT], *p = text; /* most calls repeat a text: only new ones are kept */
    struct buf whole = { 0 };
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(text, sizeof text, fmt, ap);
    if (n >= (int)sizeof text && (p = (char *)buf_reserve(&whole, (size_t)n + 1)) != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    if (n >= 0 && p) {
        q->annotations->query_text = q->text;
        add(q->annotations, kind, pos, (struct str){ p, (size_t)n }, count);
    }
    buf_free(&whole);
}

void annotate(struct query *q, enum annotation_kind kind, uint32_t pos, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    annotate_va(q, kind, pos, false, fmt, ap);
    va_end(ap);
}

void annotate_occurrence(struct query *q, enum annotation_kind kind, uint32_t pos, const char *fmt,
                         ...)
{
    va_list ap;

    va_start(ap, fmt);
    annotate_va(q, kind, pos, true, fmt, ap);
    va_end(ap);
}

static void print(struct buf *b, const struct annotations *an, const struct annotation *item)
{
    buf_text(b, item->kind == ANNOTATION_WARNING ? "PromQL warning: " : "PromQL info: ");
    buf_str(b, item->text);
    if (item->occurrences > 1)
        buf_printf(b, " (%" PRIu64 " occurrences)", item->occurrences);
    buf_text(b, " (");
    position_print(b, an->query_text, item->pos);
    buf_text(b, ")");
}

enum errc annotations_texts(const struct annotations *an, enum annotation_kind kind,
                            struct arena *a, struct str **out, size_t *n)
{
    size_t count = an->count[kind], shown = count < MAX_SHOWN ? count : MAX_SHOWN;
    struct str *texts = ARENA_NEW(a, struct str, MAX_SHOWN + 1);
    const struct annotation *item = an->first;
    struct buf b = { 0 };
    enum errc rc = OK;

    if (!texts)
        return ERR_LIMIT;
    *n = 0;
    for (; item && *n < shown && rc == OK; item = item->next) {
        if (item->kind != kind)
            continue;
        buf_clear(&b);
        print(&b, an, item);
        texts[*n] = str_copy(a, buf_as_str(&b));
        if (b.failed || !texts[(*n)++].ptr)
            rc = ERR_LIMIT;
    }
    if (count > shown && rc == OK) {
        const char *more = arena_printf(a, "%zu more %s annotations omitted", count - shown,
                                        kind == ANNOTATION_WARNING ? "warning" : "info");

        texts[(*n)++] = str_from(more);
        if (!more)
            rc = ERR_LIMIT;
    }
    buf_free(&b);
    *out = texts;
    return rc;
}
