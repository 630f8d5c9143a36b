/* pbwire.h -- reading the protobuf wire format (protobuf.dev, "Encoding") without copying.
 *
 * A reader yields the fields of one message after another; a sub-message is entered and left, so
 * that one reader walks the whole body:
 *
 *   while (pb_next(&r, &f))
 *       switch (f.key) {
 *       case PB_KEY(1, PB_FIXED64):
 *           s.v = f64_from_bits(f.value);
 *           break;
 *       case PB_KEY(2, PB_BYTES):
 *           outer = pb_enter(&r, &f);
 *           read_label(&r);
 *           pb_leave(&r, outer);
 *           break;
 *       default:
 *           pb_unknown(&r, &f, 2);           (fields 1 and 2 are ours: this one has a wrong type)
 *       }
 *   if (r.fault)
 *       ...
 *
 * Reading is total: after a fault every loop ends, reads yield zero, and the first fault stays to
 * be looked at once. Unknown fields are skipped by their wire type; groups (deprecated in 2008),
 * wire types 6 and 7 and field number 0 are faults. What is faulty is named by pb_locate(), which
 * walks the body a second time with a table of field names; so the reader keeps no path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

/* Field number and wire type, as on the wire. */
#define PB_KEY(number, wire) ((uint32_t)(number) << 3 | (uint32_t)(wire))

enum pb_fault {
    PB_NO_FAULT,
    PB_TRUNCATED_VARINT,
    PB_LONG_VARINT,
    PB_TRUNCATED_FIXED,
    PB_TRUNCATED_BYTES, /* a length beyond what is left */
    PB_BAD_KEY,         /* field number 0, or beyond 2^29-1 */
    PB_BAD_WIRE,        /* a group, or wire types 6 and 7 */
    PB_WRONG_WIRE,      /* a known field with another type than it has */
    PB_STOPPED,         /* the caller gave up: pb_fail() */
    PB_FAULT_COUNT
};

/* "truncated varint" */
const char *pb_fault_text(enum pb_fault fault);

struct pb_reader {
    const uint8_t *p, *end;  /* private */
    const uint8_t *field_at; /* the key of the field read last; of the faulty one after a fault */
    enum pb_fault fault;
};

struct pb_field {
    uint32_t key;       /* PB_KEY(); 0 when not even the key could be read */
    uint64_t value;     /* of PB_VARINT; the bits of PB_FIXED64 and PB_FIXED32 */
    struct bytes bytes; /* of PB_BYTES, points into the body */
};

static inline uint32_t pb_number(const struct pb_field *f)
{
    return f->key >> 3;
}

static inline struct str pb_str(const struct pb_field *f)
{
    return (struct str){ (const char *)f->bytes.ptr, f->bytes.len };
}

static inline struct pb_reader pb_on(struct bytes body)
{
    const uint8_t *end = body.len ? body.ptr + body.len : body.ptr; /* NULL + 0 is undefined */

    return (struct pb_reader){ .p = body.ptr, .end = end, .field_at = body.ptr };
}

/* Ends all reading with a fault; a fault met earlier stays. */
void pb_fail(struct pb_reader *r, enum pb_fault fault);

/* For pb_varint only: more than one byte, or none left. */
uint64_t pb_varint_rest(struct pb_reader *r);

/* One bare varint: an element of a packed field, or 0 after a fault. */
static inline uint64_t pb_varint(struct pb_reader *r)
{
    if (LIKELY(r->p != r->end && *r->p < 0x80))
        return *r->p++;
    return pb_varint_rest(r);
}

/* Eight or four bare bytes, little endian; 0 after a fault. */
static inline uint64_t pb_fixed64(struct pb_reader *r)
{
    if (UNLIKELY(r->end - r->p < 8)) {
        pb_fail(r, PB_TRUNCATED_FIXED);
        return 0;
    }
    r->p += 8;
    return load_u64le(r->p - 8);
}

static inline uint32_t pb_fixed32(struct pb_reader *r)
{
    if (UNLIKELY(r->end - r->p < 4)) {
        pb_fail(r, PB_TRUNCATED_FIXED);
        return 0;
    }
    r->p += 4;
    return load_u32le(r->p - 4);
}

/* Whether a message or packed field has more to read; false after a fault. */
static inline bool pb_more(const struct pb_reader *r)
{
    return r->p != r->end;
}

/* For pb_next only: the value of a field that has a length. */
static inline struct bytes pb_length_delimited(struct pb_reader *r)
{
    uint64_t n = pb_varint(r);
    const uint8_t *start = r->p;

    if (UNLIKELY(n > (uint64_t)(r->end - start))) {
        pb_fail(r, PB_TRUNCATED_BYTES);
        return (struct bytes){ start, 0 };
    }
    r->p += n;
    return (struct bytes){ start, (size_t)n };
}

/* The next field of the message, unknown ones included; false at its end and after a fault. */
static inline bool pb_next(struct pb_reader *r, struct pb_field *f)
{
    if (!pb_more(r))
        return false;
    r->field_at = r->p;

    uint64_t key = pb_varint(r);

    if (UNLIKELY(key < 8 || key > UINT32_MAX)) {
        f->key = 0;
        pb_fail(r, PB_BAD_KEY);
        return false;
    }
    *f = (struct pb_field){ .key = (uint32_t)key };
    switch (key & 7) {
    case PB_VARINT:
        f->value = pb_varint(r);
        break;
    case PB_FIXED64:
        f->value = pb_fixed64(r);
        break;
    case PB_BYTES:
        f->bytes = pb_length_delimited(r);
        break;
    case PB_FIXED32:
        f->value = pb_fixed32(r);
        break;
    default:
        pb_fail(r, PB_BAD_WIRE);
    }
    return !r->fault;
}

/* Goes on reading inside the value of f, the PB_BYTES field that was read last; give what is
 * returned to pb_leave(), which goes on behind it. */
static inline const uint8_t *pb_enter(struct pb_reader *r, const struct pb_field *f)
{
    const uint8_t *outer = r->end;

    r->p = f->bytes.ptr;
    r->end = f->bytes.ptr + f->bytes.len;
    return outer;
}

static inline void pb_leave(struct pb_reader *r, const uint8_t *outer)
{
    r->p = r->fault ? outer : r->end;
    r->end = outer;
}

/* For the default of a message whose fields up to n_known are all handled: skips a field beyond
 * them, and makes one of ours, which must then have a type that it should not have, a fault. */
static inline void pb_unknown(struct pb_reader *r, const struct pb_field *f, uint32_t n_known)
{
    if (pb_number(f) <= n_known)
        pb_fail(r, PB_WRONG_WIRE);
}

/* ---- messages as tables: for what is only checked, and for naming what is wrong ---- */

struct pb_message;

struct pb_field_spec {
    const char *name;
    uint32_t number;
    enum pb_wire wire; /* of one value; repeated numbers may come packed too */
    bool repeated;
    const struct pb_message *message; /* of a sub-message, otherwise NULL */
};

enum { PB_MAX_FIELDS = 20 }; /* in one table */

struct pb_message {
    const struct pb_field_spec *fields;
    size_t n_fields;
};

#define PB_MESSAGE(table)                                                                          \
    {                                                                                              \
        (table), ARRAY_LEN(table)                                                                  \
    }

/* Reads the rest of the message that r stands in, for faults only. Tables do not refer to
 * themselves, so their nesting bounds the recursion. */
void pb_check(struct pb_reader *r, const struct pb_message *message);

/* Writes to path, which is empty, the path of the field whose key is at body + offset:
 * "timeseries[3].samples[0].value". Fields without a name in the table leave no step. */
void pb_locate(const struct pb_message *message, struct bytes body, size_t offset,
               struct buf *path);
