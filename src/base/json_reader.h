/* json_reader.h -- reading JSON (RFC 8259) from front to back, without building a tree.
 *
 *   if (json_begin_object(&r))
 *       while (json_next_member(&r, &key))
 *           if (str_is(key, "name"))
 *               json_read_string(&r, &name);
 *           else
 *               json_skip(&r);
 *   json_end(&r);
 *   if (r.fault)
 *       ... json_offset(&r) tells where
 *
 * Reading is total: after a fault everything reads as nothing, every loop ends, and the first fault
 * stays. Texts need not be valid UTF-8; who keeps them checks that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { JSON_MAX_DEPTH = 128 };

enum json_kind {
    JSON_NONE,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_BOOL,
    JSON_NULL
};

struct json_reader {
    const char *fault; /* "unexpected character", ...; NULL: none */

    /* private */
    const char *begin, *p, *end;
    struct buf key; /* an unescaped key */
    unsigned depth;
    bool first; /* the object or array has just begun */
};

/* Free it with json_reader_free(). */
struct json_reader json_reader_on(struct str text);
void json_reader_free(struct json_reader *r);

/* Where it stands, or the fault is: a byte offset. */
size_t json_offset(const struct json_reader *r);

/* Notes a fault that the caller has found. */
void json_fail(struct json_reader *r, const char *fault);

/* What comes next; JSON_NONE at the end and after a fault. */
enum json_kind json_peek(struct json_reader *r);

/* Begins an object or array; false (a fault) when something else is there. */
bool json_begin_object(struct json_reader *r);
bool json_begin_array(struct json_reader *r);

/* Goes to the next member, whose value is to be read or skipped then; false at the end. The key is
 * valid until the next call. */
bool json_next_member(struct json_reader *r, struct str *key);
bool json_next_item(struct json_reader *r);

/* Reads a string: what it means is appended to out. False after a fault. */
bool json_read_string(struct json_reader *r, struct buf *out);

/* The text of a number as it stands there, of the grammar of RFC 8259; empty after a fault. */
struct str json_read_number(struct json_reader *r);

/* true, false and null. */
bool json_read_bool(struct json_reader *r);
void json_read_null(struct json_reader *r);

/* Skips a value of any kind. */
void json_skip(struct json_reader *r);

/* A fault unless nothing follows. */
void json_end(struct json_reader *r);
