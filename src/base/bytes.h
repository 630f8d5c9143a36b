/* bytes.h -- views of memory, growable buffers, and explicit little- and big-endian loads and
 * stores.
 *
 * Readers past the end yield zero and set overrun, which is checked once per record, so that
 * decoding reads like the format. A buffer that could not grow sets failed and ignores what
 * follows; check it once at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

struct arena;

/* Text that somebody else owns; not NUL-terminated. ptr may be NULL when len is 0. */
struct str {
    const char *ptr;
    size_t len;
};

/* Bytes that somebody else owns. */
struct bytes {
    const uint8_t *ptr;
    size_t len;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_ARG(s)   (int)(s).len, (s).ptr ? (s).ptr : "" /* for "%.*s" */

struct str str_from(const char *s); /* NULL is the empty text */
bool str_equal(struct str a, struct str b);
int str_cmp(struct str a, struct str b); /* bytewise, a prefix is smaller */
bool str_starts_with(struct str s, struct str prefix);
bool str_ends_with(struct str s, struct str suffix);
struct str str_copy(struct arena *a,
                    struct str s); /* NUL-terminated copy; ptr NULL when the arena is full */

static inline bool str_is(struct str s, const char *literal)
{
    return s.len == strlen(literal) && (s.len == 0 || memcmp(s.ptr, literal, s.len) == 0);
}

/* Whether s is valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool utf8_valid(struct str s);

/* One code point at s (s.len > 0): its value and length in *n; an invalid byte is U+FFFD with *n
 * = 1. */
uint32_t utf8_decode(struct str s, size_t *n);

/* Writes a code point as 1 to 4 bytes, returns how many. */
size_t utf8_encode(uint32_t c, char out[4]);

/* A growable byte buffer on the heap. Zero-initialise it; free it with buf_free(). */
struct buf {
    uint8_t *ptr;
    size_t len, cap;
    bool failed;
};

void buf_free(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
MUST_USE uint8_t *
buf_reserve(struct buf *b,
            size_t n); /* n writable bytes at the end, or NULL; does not change len */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_text(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little endian, as are the next two */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_uvarint(struct buf *b, uint64_t v); /* LEB128 */
void buf_varint(struct buf *b, int64_t v);   /* zigzag, then LEB128 */
struct str buf_as_str(const struct buf *b);
struct bytes buf_as_bytes(const struct buf *b);

/* A cursor over bytes. Fields are private. */
struct reader {
    const uint8_t *p, *end;
    bool overrun;
};

struct reader reader_on(struct bytes b);
size_t reader_left(const struct reader *r);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
uint64_t read_uvarint(struct reader *r); /* more than 10 bytes, or bits beyond 64, overrun too */
int64_t read_varint(struct reader *r);
struct bytes read_bytes(struct reader *r, size_t n);
struct str read_str(struct reader *r, size_t n);

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t u)
{
    return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
}

static inline uint64_t f64_bits(double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    return u;
}

static inline double f64_from_bits(uint64_t u)
{
    double v;

    memcpy(&v, &u, sizeof v);
    return v;
}

static inline uint32_t load_u32le(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v; /* both targets, x86-64 and arm64, are little endian; bytes.c asserts it */
}

static inline uint64_t load_u64le(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_u32le(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void store_u64le(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline uint32_t load_u32be(const void *p)
{
    return __builtin_bswap32(load_u32le(p));
}

static inline uint64_t load_u64be(const void *p)
{
    return __builtin_bswap64(load_u64le(p));
}

static inline void store_u32be(void *p, uint32_t v)
{
    store_u32le(p, __builtin_bswap32(v));
}

static inline void store_u64be(void *p, uint64_t v)
{
    store_u64le(p, __builtin_bswap64(v));
}
