/* err.h -- one error code always, words where a person will read them.
 *
 * A function that can fail returns an enum errc and, where the reason is worth words, fills a
 * struct err. The text lives in the arena the caller put there (any length); without an arena, or
 * when it is full, the code's fixed text is used.
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>

#include "base/compiler.h"

enum errc {
    OK,
    ERR_NOMEM,   /* the system has no memory */
    ERR_IO,      /* a file or socket failed */
    ERR_CORRUPT, /* stored bytes do not match their checksum or format */
    ERR_NOT_FOUND,
    ERR_OUT_OF_ORDER,
    ERR_FULL,      /* a bounded container has no room: close it, open the next */
    ERR_LIMIT,     /* a configured limit was reached */
    ERR_TOO_LARGE, /* one input is larger than allowed */
    ERR_TIMEOUT,
    ERR_CANCELED,
    ERR_UNAVAILABLE, /* not now: try again later */
    ERR_CONFLICT,    /* the state changed meanwhile */
    ERR_EXECUTION,   /* a well-formed query cannot be evaluated */
    ERR_BAD_QUERY,   /* PromQL text is wrong; pos tells where */
    ERR_BAD_DATA,    /* bytes or parameters from outside are wrong */
    ERR_BAD_CONFIG,
    ERR_UNSUPPORTED, /* valid, but not built yet: never answered wrongly */
    ERR_COUNT
};

struct arena;

struct err {
    enum errc code;
    uint32_t pos;    /* byte offset in the text being read */
    const char *msg; /* never NULL after err_set() */
    struct arena *arena;
};

/* An empty error whose texts will be kept in arena (may be NULL). */
struct err err_in(struct arena *arena);

/* Fills err (NULL is fine) and returns code, so that a failure is one statement. */
MUST_USE enum errc err_set(struct err *err, enum errc code, uint32_t pos, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The same with a va_list. */
MUST_USE enum errc err_setv(struct err *err, enum errc code, uint32_t pos, const char *fmt,
                            va_list ap) PRINTF_LIKE(4, 0);

/* The text of err, or the fixed text of its code. Never NULL. */
const char *err_text(const struct err *err);

/* A short fixed text of a code: "out of memory". */
const char *errc_text(enum errc code);
