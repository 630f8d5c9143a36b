#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/banned.h"

static const char *const texts[] = {
    [OK] = "no error",
    [ERR_NOMEM] = "out of memory",
    [ERR_IO] = "input/output error",
    [ERR_CORRUPT] = "stored data is corrupt",
    [ERR_NOT_FOUND] = "not found",
    [ERR_OUT_OF_ORDER] = "out of order",
    [ERR_FULL] = "full",
    [ERR_LIMIT] = "limit reached",
    [ERR_TOO_LARGE] = "too large",
    [ERR_TIMEOUT] = "timed out",
    [ERR_CANCELED] = "canceled",
    [ERR_UNAVAILABLE] = "unavailable",
    [ERR_CONFLICT] = "conflict",
    [ERR_EXECUTION] = "execution failed",
    [ERR_BAD_QUERY] = "bad query",
    [ERR_BAD_DATA] = "bad data",
    [ERR_BAD_CONFIG] = "bad configuration",
    [ERR_UNSUPPORTED] = "not supported",
};
_Static_assert(ARRAY_LEN(texts) == ERR_COUNT, "every code has a text");

void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

struct err err_in(struct arena *arena)
{
    return (struct err){ .arena = arena };
}

enum errc err_setv(struct err *err, enum errc code, uint32_t pos, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    err->code = code;
    err->pos = pos;
    err->msg = err->arena ? arena_vprintf(err->arena, fmt, ap) : NULL;
    if (!err->msg)
        err->msg = texts[code];
    return code;
}

enum errc err_set(struct err *err, enum errc code, uint32_t pos, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    code = err_setv(err, code, pos, fmt, ap);
    va_end(ap);
    return code;
}

const char *err_text(const struct err *err)
{
    return err->msg ? err->msg : texts[err->code];
}

const char *errc_text(enum errc code)
{
    ASSERT(code < ERR_COUNT);
    return texts[code];
}
