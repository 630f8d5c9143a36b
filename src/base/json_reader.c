#include "base/json_reader.h"

#include "base/banned.h"

struct json_reader json_reader_on(struct str text)
{
    const char *begin = text.len ? text.ptr : "";

    return (struct json_reader){ .begin = begin, .p = begin, .end = begin + text.len };
}

void json_reader_free(struct json_reader *r)
{
    buf_free(&r->key);
}

size_t json_offset(const struct json_reader *r)
{
    return (size_t)(r->p - r->begin);
}

/* After a fault nothing moves any more. */
void json_fail(struct json_reader *r, const char *fault)
{
    if (!r->fault)
        r->fault = fault;
}

static void skip_blanks(struct json_reader *r)
{
    while (r->p != r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

/* The next character that is not blank; 0 at the end and after a fault. */
static char next_char(struct json_reader *r)
{
    if (UNLIKELY(r->fault != NULL))
        return 0;
    skip_blanks(r);
    return r->p == r->end ? 0 : *r->p;
}

static bool take(struct json_reader *r, char c, const char *fault)
{
    if (next_char(r) != c) {
        json_fail(r, r->p == r->end ? "unexpected end" : fault);
        return false;
    }
    r->p++;
    return true;
}

enum json_kind json_peek(struct json_reader *r)
{
    char c = next_char(r);

    switch (c) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? JSON_NUMBER : JSON_NONE;
    }
}

static bool begin(struct json_reader *r, char c, const char *fault)
{
    if (!take(r, c, fault))
        return false;
    if (r->depth == JSON_MAX_DEPTH) {
        json_fail(r, "nested too deeply");
        return false;
    }
    r->depth++;
    r->first = true;
    return true;
}

bool json_begin_object(struct json_reader *r)
{
    return begin(r, '{', "expected an object");
}

bool json_begin_array(struct json_reader *r)
{
    return begin(r, '[', "expected an array");
}

/* Whether another item follows, the comma before it read. */
static bool next(struct json_reader *r, char close, const char *fault)
{
    char c = next_char(r);

    if (c == close && c != 0) {
        r->p++;
        r->depth--;
        r->first = false;
        return false;
    }
    if (!r->first && !take(r, ',', fault))
        return false;
    r->first = false;
    return !r->fault;
}

bool json_next_item(struct json_reader *r)
{
    return next(r, ']', "expected , or ]");
}

/* ---- strings ---- */

static uint32_t hex4(struct json_reader *r)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        char c = r->p != r->end ? *r->p : 0;

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            v = v << 4 | (uint32_t)((c | 32) - 'a' + 10);
        else {
            json_fail(r, "invalid \\u escape");
            return 0;
        }
        r->p++;
    }
    return v;
}

/* A code point behind \u; a surrogate without its other half is U+FFFD. */
static uint32_t escaped_code_point(struct json_reader *r)
{
    uint32_t high = hex4(r), low;

    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
        return 0xfffd;
    r->p += 2;
    low = hex4(r);
    if (low < 0xdc00 || low > 0xdfff) {
        r->p -= 6; /* not its half: read it again on its own */
        return 0xfffd;
    }
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static void read_escape(struct json_reader *r, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char utf8[4], c = r->p != r->end ? *r->p++ : 0;
    const char *at = c ? strchr(from, c) : NULL;

    if (at)
        buf_u8(out, (uint8_t)to[at - from]);
    else if (c == 'u')
        buf_add(out, utf8, utf8_encode(escaped_code_point(r), utf8));
    else
        json_fail(r, "invalid escape in a string");
}

/* Behind the characters that stand for themselves. */
static inline const char *plain_end(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u;

    for (; end - p >= 8; p += 8) { /* eight at once; the lowest high bit that is set is right */
        uint64_t v = load_u64le(p), quote = v ^ ones * '"', backslash = v ^ ones * '\\';
        uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)
                         | ((v - ones * 0x20) & ~v);

        found &= ones << 7;
        if (found)
            return p + __builtin_ctzll(found) / 8;
    }
    while (p != end && *p != '"' && *p != '\\' && (uint8_t)*p >= 0x20)
        p++;
    return p;
}

/* The rest of a string, behind its first quote. */
static bool read_rest(struct json_reader *r, struct buf *out)
{
    while (!r->fault) {
        const char *plain = plain_end(r->p, r->end);

        buf_add(out, r->p, (size_t)(plain - r->p));
        r->p = plain;
        if (r->p == r->end)
            json_fail(r, "unexpected end of a string");
        else if (*r->p == '"') {
            r->p++;
            return true;
        } else if (*r->p == '\\') {
            r->p++;
            read_escape(r, out);
        } else
            json_fail(r, "control character in a string");
    }
    return false;
}

bool json_read_string(struct json_reader *r, struct buf *out)
{
    return take(r, '"', "expected a string") && read_rest(r, out);
}

bool json_next_member(struct json_reader *r, struct str *key)
{
    const char *plain;

    if (!next(r, '}', "expected , or }") || !take(r, '"', "expected a key"))
        return false;
    plain = plain_end(r->p, r->end);
    if (LIKELY(plain != r->end && *plain == '"')) {
        *key = (struct str){ r->p, (size_t)(plain - r->p) };
        r->p = plain + 1;
    } else {
        buf_clear(&r->key);
        if (!read_rest(r, &r->key))
            return false;
        if (r->key.failed)
            json_fail(r, "out of memory");
        *key = buf_as_str(&r->key);
    }
    return take(r, ':', "expected :");
}

/* ---- the rest ---- */

static const char *skip_digits(const char *p, const char *end)
{
    while (p != end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* number = "-"? ("0" | [1-9] digits) ("." digits+)? ([eE] [+-]? digits+)? */
struct str json_read_number(struct json_reader *r)
{
    const char *start, *p, *q;

    if (json_peek(r) != JSON_NUMBER) {
        json_fail(r, "expected a number");
        return STR("");
    }
    start = p = r->p;
    p += *p == '-';
    q = skip_digits(p, r->end);
    if (q == p || (*p == '0' && q - p > 1))
        goto done;
    p = q;
    if (p != r->end && *p == '.') {
        q = skip_digits(p + 1, r->end);
        if (q == p + 1)
            goto done;
        p = q;
    }
    if (p != r->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p != r->end && (*p == '+' || *p == '-');
        q = skip_digits(p, r->end);
        if (q == p)
            goto done;
        p = q;
    }
    r->p = p;
    return (struct str){ start, (size_t)(p - start) };
done:
    json_fail(r, "invalid number");
    return STR("");
}

static bool take_word(struct json_reader *r, const char *word)
{
    size_t n = strlen(word);

    if (r->fault || (size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

bool json_read_bool(struct json_reader *r)
{
    next_char(r);
    if (take_word(r, "true"))
        return true;
    if (!take_word(r, "false"))
        json_fail(r, "expected true or false");
    return false;
}

void json_read_null(struct json_reader *r)
{
    next_char(r);
    if (!take_word(r, "null"))
        json_fail(r, "expected null");
}

static void skip_string(struct json_reader *r)
{
    struct buf unused = { 0 };

    (void)json_read_string(r, &unused);
    buf_free(&unused);
}

void json_skip(struct json_reader *r)
{
    struct str key;

    switch (json_peek(r)) {
    case JSON_OBJECT:
        if (json_begin_object(r))
            while (json_next_member(r, &key))
                json_skip(r);
        break;
    case JSON_ARRAY:
        if (json_begin_array(r))
            while (json_next_item(r))
                json_skip(r);
        break;
    case JSON_STRING:
        skip_string(r);
        break;
    case JSON_NUMBER:
        (void)json_read_number(r);
        break;
    case JSON_BOOL:
        (void)json_read_bool(r);
        break;
    case JSON_NULL:
        json_read_null(r);
        break;
    case JSON_NONE:
        json_fail(r, r->p == r->end ? "unexpected end" : "unexpected character");
    }
}

void json_end(struct json_reader *r)
{
    if (!r->fault && next_char(r) != 0)
        json_fail(r, "more text after the value");
    else if (!r->fault && r->p != r->end)
        json_fail(r, "unexpected character");
}
