#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/banned.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads and stores assume little endian");

struct str str_from(const char *s)
{
    return (struct str){ s, s ? strlen(s) : 0 };
}

bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_ends_with(struct str s, struct str suffix)
{
    return s.len >= suffix.len
           && (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

struct str str_copy(struct arena *a, struct str s)
{
    char *p = arena_strndup(a, s.ptr, s.len);

    return (struct str){ p, p ? s.len : 0 };
}

/* The length of the well-formed sequence at p, 0 when there is none (Unicode 15, table 3-7). */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    uint8_t lo = 0x80, hi = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_valid(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;

    for (size_t i = 0; i < s.len;) {
        uint64_t eight;

        if (s.len - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        size_t n = utf8_length(p + i, s.len - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

uint32_t utf8_decode(struct str s, size_t *n)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t len = utf8_length(p, s.len);
    static const uint8_t mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t c;

    *n = len ? len : 1;
    if (len == 0)
        return 0xfffd;
    c = p[0] & mask[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

void buf_free(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return NULL;
    }
    if (!b->ptr || b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        uint8_t *p;

        while (cap < b->len + n)
            cap *= 2;
        p = realloc(b->ptr, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->ptr = p;
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = n ? buf_reserve(b, n) : NULL;

    if (to) {
        memcpy(to, p, n);
        b->len += n;
    }
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.ptr, s.len);
}

void buf_text(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    uint8_t *to;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    to = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1);
    if (to) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
    buf_add(b, &v, sizeof v);
}

void buf_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}

void buf_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof v);
}

void buf_uvarint(struct buf *b, uint64_t v)
{
    uint8_t *to = buf_reserve(b, 10);
    size_t n = 0;

    if (!to)
        return;
    while (v >= 0x80) {
        to[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    to[n++] = (uint8_t)v;
    b->len += n;
}

void buf_varint(struct buf *b, int64_t v)
{
    buf_uvarint(b, zigzag(v));
}

struct str buf_as_str(const struct buf *b)
{
    return (struct str){ (const char *)b->ptr, b->len };
}

struct bytes buf_as_bytes(const struct buf *b)
{
    return (struct bytes){ b->ptr, b->len };
}

struct reader reader_on(struct bytes b)
{
    return (struct reader){ .p = b.ptr, .end = b.len ? b.ptr + b.len : b.ptr };
}

size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

static const uint8_t *take(struct reader *r, size_t n)
{
    static const uint8_t zeros[8];
    const uint8_t *p = r->p;

    if (r->overrun || reader_left(r) < n) {
        r->overrun = true;
        return zeros;
    }
    r->p += n;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    return *take(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    uint16_t v;

    memcpy(&v, take(r, sizeof v), sizeof v);
    return v;
}

uint32_t read_u32(struct reader *r)
{
    return load_u32le(take(r, 4));
}

uint64_t read_u64(struct reader *r)
{
    return load_u64le(take(r, 8));
}

uint64_t read_uvarint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = read_u8(r);

        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return r->overrun ? 0 : v;
    }
    r->overrun = true;
    return 0;
}

int64_t read_varint(struct reader *r)
{
    return unzigzag(read_uvarint(r));
}

struct bytes read_bytes(struct reader *r, size_t n)
{
    if (r->overrun || reader_left(r) < n) {
        r->overrun = true;
        return (struct bytes){ 0 };
    }
    struct bytes b = { r->p, n };

    r->p += n;
    return b;
}

struct str read_str(struct reader *r, size_t n)
{
    struct bytes b = read_bytes(r, n);

    return (struct str){ (const char *)b.ptr, b.len };
}
